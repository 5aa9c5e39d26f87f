//! A convolution that stands alone, for networks whose weights change: packed at every call, its pictures turned to
//! channels last and back, one picture after the other so that both copies stay in a cache.

#![expect(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "only what is inlined is compiled for the vectors that are there, and iterators over several arrays are not unrolled"
)]

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use super::conv::{Maps, conv};
use super::finish::Finish;
use super::lanes;
use super::map::{Block, GROUP, Map, split};
use super::method::Method;
use super::pack::{Filter, pack, picture_channels};
use super::winograd::Winograd;

/// What a convolution is, but for its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Geometry {
    /// Channels out and in, side of the kernel.
    pub(in crate::net) dims: [usize; 3],
    pub(in crate::net) stride: usize,
    /// Zeros before the first pixel and behind the last, in both directions.
    pub(in crate::net) padding: [usize; 2],
}

/// Pictures of `channels` whose copies lie as `map` says.
#[derive(Clone, Copy)]
struct Side {
    channels: usize,
    map: Map,
}

impl Side {
    /// Values of a picture.
    const fn len(self) -> usize {
        self.channels * self.plane()
    }

    const fn plane(self) -> usize {
        self.map.height * self.map.width
    }
}

impl Geometry {
    /// `[H', W']` that `[H, W]` becomes.
    pub(in crate::net) fn output(self, size: [usize; 2]) -> [usize; 2] {
        let ([_, _, k], [before, behind]) = (self.dims, self.padding);
        size.map(|side| (side + before + behind - k) / self.stride + 1)
    }

    /// The convolution of pictures `[N, C_in, H, W]` with a filter `[C_out, C_in, k, k]`, and a bias per channel.
    pub(in crate::net) fn forward(
        self,
        arch: Arch,
        (weight, bias): (&[f32], &[f32]),
        (x, size): (&[f32], [usize; 2]),
    ) -> Vec<f32> {
        let [c_out, c_in, _] = self.dims;
        // Tiles are turned in whole vectors.
        let tile = self.tile(size);
        let channels = if tile.is_some() { c_in.next_multiple_of(GROUP) } else { picture_channels(c_in) };
        let from = side(c_in, channels, size, self.padding[0].max(self.padding[1]));
        let to = side(c_out, c_out.next_multiple_of(GROUP), self.output(size), 0);
        let method = match tile {
            Some(m) => Method::Winograd(self.tiles(m, arch, weight, false)),
            None => Method::Direct(self.filter(weight).forward(lanes(arch), from.map.channels)),
        };
        let mut bias = bias.to_vec();
        bias.resize(to.map.channels, 0.0);
        run(arch, (&method, &bias), (x, from), to)
    }

    /// The gradient of the pictures, which were of `size`, that follows from the result's.
    pub(in crate::net) fn backward(self, arch: Arch, weight: &[f32], gradient: &[f32], size: [usize; 2]) -> Vec<f32> {
        let ([c_out, c_in, k], [before, _], s) = (self.dims, self.padding, self.stride);
        let output = self.output(size);
        // The first input's last tap, and the last input's first.
        let beyond = [0, 1].map(|i| ((size[i] - 1 + before) / s + 1).saturating_sub(output[i]));
        let halo = (k - 1).saturating_sub(before).div_ceil(s).max(beyond[0]).max(beyond[1]);
        let from = side(c_out, c_out.next_multiple_of(GROUP), output, halo);
        let to = side(c_in, c_in.next_multiple_of(GROUP), size, 0);
        let method = match self.tile(size) {
            Some(m) => Method::Winograd(self.tiles(m, arch, weight, true)),
            None => Method::Direct(self.filter(weight).backward(lanes(arch))),
        };
        run(arch, (&method, &vec![0.0; to.map.channels]), (gradient, from), to)
    }

    /// The tiles that take fewer products, where there are any; what it costs to turn them, both ways, pays from some width
    /// on. They are chosen by shapes alone.
    fn tile(self, size: [usize; 2]) -> Option<usize> {
        let [c_out, c_in, k] = self.dims;
        let is_plain = k == 3 && self.stride == 1 && self.padding == [1, 1];
        let pays = c_out.min(c_in) >= 2 * GROUP;
        (is_plain && pays).then(|| if size.iter().all(|side| *side >= 4) { 4 } else { 2 })
    }

    /// A filter turned for tiles of `m` by `m`, in single precision: it is used once.
    fn tiles(self, m: usize, arch: Arch, weight: &[f32], transposed: bool) -> Winograd {
        let [c_out, c_in, _] = self.dims;
        let (outputs, inputs) = if transposed { (c_in, c_out) } else { (c_out, c_in) };
        // Of the input in memory.
        let padded = inputs.next_multiple_of(GROUP);
        let panels = pack(outputs, lanes(arch), |first_group, groups| {
            let width = groups * GROUP;
            let mut weights = vec![0.0; (m + 2) * (m + 2) * padded * width];
            let lanes = first_group * GROUP..outputs.min((first_group + groups) * GROUP);
            let mut taps = [[0.0; LANES]; 9];
            for input in 0..inputs {
                for (lane, output) in lanes.clone().enumerate() {
                    let at = if transposed { input * c_in + output } else { output * c_in + input };
                    for (tap, weight) in weight[9 * at..][..9].iter().enumerate() {
                        taps[if transposed { 8 - tap } else { tap }][lane] = *weight;
                    }
                }
                let (from, step) = (input * width, padded * width);
                arch.dispatch(Turn { m, taps: &taps, weights: &mut weights, from, step, width });
            }
            weights
        });
        Winograd { m, panels }
    }

    fn filter(self, weight: &[f32]) -> Filter {
        Filter { weight: weight.to_vec(), bias: None, dims: self.dims, stride: self.stride, before: self.padding[0] }
    }
}

fn side(channels: usize, padded: usize, [height, width]: [usize; 2], halo: usize) -> Side {
    Side { channels, map: Map { channels: padded, height, width, halo } }
}

/// Channels of the widest panel.
const LANES: usize = 4 * GROUP;

/// The taps of a channel in, turned.
struct Turn<'a> {
    m: usize,
    taps: &'a [[f32; LANES]; 9],
    weights: &'a mut [f32],
    from: usize,
    /// From one of the sums to the next.
    step: usize,
    width: usize,
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        if this.m == 4 { this.run::<S, 6>(simd) } else { this.run::<S, 4>(simd) }
    }
}

impl Turn<'_> {
    #[inline(always)]
    fn run<S: Simd, const SIDE: usize>(&mut self, simd: S) {
        for v in 0..self.width / S::F32_LANES {
            let mut rows = [[simd.splat_f32s(0.0); 3]; SIDE];
            for x in 0..3 {
                let mut column = [simd.splat_f32s(0.0); 3];
                for y in 0..3 {
                    column[y] = S::as_simd_f32s(&self.taps[3 * y + x]).0[v];
                }
                let turned: [S::f32s; SIDE] = turn(simd, column);
                for y in 0..SIDE {
                    rows[y][x] = turned[y];
                }
            }
            for y in 0..SIDE {
                let row: [S::f32s; SIDE] = turn(simd, rows[y]);
                for x in 0..SIDE {
                    let at = self.from + (SIDE * y + x) * self.step + v * S::F32_LANES;
                    S::as_mut_simd_f32s(&mut self.weights[at..at + S::F32_LANES]).0[0] = row[x];
                }
            }
        }
    }
}

/// A line of taps, turned.
#[inline(always)]
fn turn<S: Simd, const SIDE: usize>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; SIDE] {
    let mut out = [a; SIDE];
    out[SIDE - 1] = c;
    let ends = simd.add_f32s(a, c);
    if SIDE == 4 {
        let half = simd.splat_f32s(0.5);
        let (ends, middle) = (simd.mul_f32s(half, ends), simd.mul_f32s(half, b));
        out[1] = simd.add_f32s(ends, middle);
        out[2] = simd.sub_f32s(ends, middle);
        return out;
    }
    let (quarter, sixth) = (simd.splat_f32s(0.25), simd.splat_f32s(1.0 / 6.0));
    // Rows that differ in the sign of the middle share their ends.
    let (ends2, middle2) = (simd.mul_add_f32s(quarter, a, c), simd.mul_f32s(simd.splat_f32s(0.5), b));
    out[0] = simd.mul_f32s(quarter, a);
    out[1] = simd.neg_f32s(simd.mul_f32s(sixth, simd.add_f32s(ends, b)));
    out[2] = simd.mul_f32s(sixth, simd.sub_f32s(b, ends));
    out[3] = simd.mul_f32s(sixth, simd.add_f32s(ends2, middle2));
    out[4] = simd.mul_f32s(sixth, simd.sub_f32s(ends2, middle2));
    out
}

/// Zeros; many of them are written by all threads, for clearing large results takes a part of every step of a training.
pub(in crate::net) fn zeros(len: usize) -> Vec<f32> {
    const PAGE: usize = 1 << 10;
    if len < 64 * PAGE {
        return vec![0.0; len];
    }
    let pages: Vec<[f32; PAGE]> = (0..len.div_ceil(PAGE)).into_par_iter().map(|_| [0.0; PAGE]).collect();
    let mut values = pages.into_flattened();
    values.truncate(len);
    values
}

/// Turns every picture, convolves it and turns it back.
fn run(arch: Arch, (method, bias): (&Method, &[f32]), (x, from): (&[f32], Side), to: Side) -> Vec<f32> {
    let n = x.len() / from.len();
    let mut y = zeros(n * to.len());
    let [pixels, rows] = method.block();
    // A picture is cut only where there are too few for all threads.
    let pixels = if n < rayon::current_num_threads() { pixels } else { usize::MAX };
    let blocks = Block::cut(1, to.map, pixels, rows);
    let part = |block: &Block| block.part(to.map.len(), to.map.row(), 0, to.map.height);
    let scratch = || (vec![0.0; from.map.len()], vec![0.0; to.map.len()]);
    y.par_chunks_mut(to.len()).zip(x.par_chunks(from.len())).for_each_init(scratch, |(last, sums), (y, x)| {
        let Map { height, width, channels, .. } = from.map;
        let (first, steps) = (from.map.at(0, 0), [from.map.row(), channels]);
        arch.dispatch(Interleave { planes: x, size: [height, width], to: last, first, steps });
        let tasks: Vec<_> = blocks.iter().zip(split(sums, blocks.iter().map(part))).collect();
        tasks.into_par_iter().for_each(|(block, y)| {
            let mut maps = Maps { x: last, from: from.map, add: None, y, to: to.map, start: part(block).start };
            match method {
                Method::Direct(passes) => conv(arch, (passes, bias), block, &mut maps, &mut Finish::Nothing),
                Method::Winograd(winograd) => winograd.run(arch, (bias, false), block, &mut maps, &mut Finish::Nothing),
            }
        });
        arch.dispatch(Separate { from: sums, pixel: to.map.channels, planes: y, plane: to.plane() });
    });
    y
}

/// Planes of a picture, of which every pixel's values are laid beside each other.
pub(in crate::net) struct Interleave<'a> {
    pub(in crate::net) planes: &'a [f32],
    /// Height and width.
    pub(in crate::net) size: [usize; 2],
    pub(in crate::net) to: &'a mut [f32],
    /// Where the first pixel's values go.
    pub(in crate::net) first: usize,
    /// From one row, and from one pixel, to the next.
    pub(in crate::net) steps: [usize; 2],
}

impl WithSimd for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [height, width] = self.size;
        let [row, pixel] = self.steps;
        for y in 0..height {
            let mut first = 0;
            let mut left = self.planes;
            let to = &mut self.to[self.first + y * row..];
            while !left.is_empty() {
                let planes = left.len() / (height * width);
                let taken = match planes {
                    16.. => interleave::<16>(left, (height, width, y), (&mut to[first..], pixel)),
                    8.. => interleave::<8>(left, (height, width, y), (&mut to[first..], pixel)),
                    6.. => interleave::<6>(left, (height, width, y), (&mut to[first..], pixel)),
                    4.. => interleave::<4>(left, (height, width, y), (&mut to[first..], pixel)),
                    _ => interleave::<1>(left, (height, width, y), (&mut to[first..], pixel)),
                };
                (first, left) = (first + taken, &left[taken * height * width..]);
            }
        }
    }
}

/// Columns that are turned together: loops of known length need no checks.
const TURNED: usize = 8;

/// Row `y` of the first `C` planes; returns `C`.
#[inline(always)]
fn interleave<const C: usize>(
    planes: &[f32],
    (height, width, y): (usize, usize, usize),
    (to, step): (&mut [f32], usize),
) -> usize {
    let line = |c: usize| &planes[(c * height + y) * width..][..width];
    let whole = width / TURNED * TURNED;
    for x in (0..whole).step_by(TURNED) {
        let mut block = [[0.0; TURNED]; C];
        for (c, values) in block.iter_mut().enumerate() {
            values.copy_from_slice(&line(c)[x..x + TURNED]);
        }
        for (i, values) in transposed(&block).iter().enumerate() {
            to[(x + i) * step..][..C].copy_from_slice(values);
        }
    }
    for c in 0..C {
        for (x, value) in line(c).iter().enumerate().skip(whole) {
            to[x * step + c] = *value;
        }
    }
    C
}

#[inline(always)]
fn transposed<const R: usize, const C: usize>(block: &[[f32; C]; R]) -> [[f32; R]; C] {
    let mut turned = [[0.0; R]; C];
    for r in 0..R {
        for c in 0..C {
            turned[c][r] = block[r][c];
        }
    }
    turned
}

/// The way back: `from` has groups of channels of `pixel` values a pixel.
struct Separate<'a> {
    from: &'a [f32],
    pixel: usize,
    planes: &'a mut [f32],
    plane: usize,
}

impl WithSimd for Separate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { from, pixel, planes, plane } = self;
        let whole = plane / TURNED * TURNED;
        for (group, planes) in planes.chunks_mut(GROUP * plane).enumerate() {
            let values = |p: usize| &from[p * pixel + group * GROUP..][..GROUP];
            for p in (0..whole).step_by(TURNED) {
                let mut block = [[0.0; GROUP]; TURNED];
                for (i, block) in block.iter_mut().enumerate() {
                    block.copy_from_slice(values(p + i));
                }
                for (plane, values) in planes.chunks_exact_mut(plane).zip(&transposed(&block)) {
                    plane[p..p + TURNED].copy_from_slice(values);
                }
            }
            for (c, plane) in planes.chunks_exact_mut(plane).enumerate() {
                for (p, value) in plane.iter_mut().enumerate().skip(whole) {
                    *value = values(p)[c];
                }
            }
        }
    }
}
