//! The gradient of a 3x3 filter by a fourth of the products: tiles of 4x4 of the result's gradient, and the 6x6 inputs that
//! they saw, are turned to 36 sums each and multiplied; only the sums over all tiles are turned back.
//!
//! Every sum is made by one thread, tile by tile in blocks that the shapes alone decide: the bits depend neither on the
//! number of threads nor on the length of vectors.
//!
//! # Source
//! The transpose, with respect to the filter, of F(4x4, 3x3) of Lavin and Gray 2016, "Fast algorithms for convolutional
//! neural networks".

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::weight::{Rows, panel, pixel};
use crate::net::plan::{GROUP, Geometry, Interleave, by_width, lanes, turn_line, zeros};

/// Outputs of a tile, in one direction.
const M: usize = 4;
/// Inputs that they see, and sums.
const SIDE: usize = M + 2;
const SUMS: usize = SIDE * SIDE;

/// Tiles that are turned before their products are summed, about: their sums of one kind fit a core's cache.
const TILES: usize = 256;

/// Whether a convolution is one of tiles, and large enough for them to pay.
pub(super) fn fit(geometry: Geometry, size: [usize; 2]) -> bool {
    let [c_out, c_in, k] = geometry.dims;
    let is_plain = k == 3 && geometry.stride == 1 && geometry.padding == [1, 1];
    is_plain && size.iter().all(|side| *side >= M) && c_out.min(c_in) >= 2 * GROUP
}

thread_local! {
    /// What [`Turned`] lies in, kept from call to call: every value is written before it is read.
    static ROOMS: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Pictures whose tiles are turned.
struct Turned {
    /// `[picture][sum][tile][channel]`, and perhaps more.
    values: Vec<f32>,
    /// In memory, zeros included.
    channels: usize,
    tiles: usize,
}

impl Turned {
    /// Room for `n` pictures, in what was used before.
    fn new(mut values: Vec<f32>, n: usize, channels: usize, tiles: usize) -> Self {
        let channels = channels.next_multiple_of(GROUP);
        values.resize(values.len().max(n * SUMS * tiles * channels), 0.0);
        Self { values, channels, tiles }
    }

    /// The values of a picture for one of the sums.
    fn of(&self, picture: usize, sum: usize) -> &[f32] {
        let len = self.tiles * self.channels;
        &self.values[(picture * SUMS + sum) * len..][..len]
    }

    /// Takes `n` pictures `[N, C, H, W]`: their inputs with a pixel of zeros around them, or the gradients behind them.
    fn fill(
        &mut self,
        arch: Arch,
        (planes, n): (&[f32], usize),
        (size, tiles): ([usize; 2], [usize; 2]),
        is_input: bool,
    ) {
        let halo = usize::from(is_input);
        let row = (tiles[1] * M + 2 * halo) * self.channels;
        let (channels, steps) = (self.channels, [row, self.channels]);
        let len = SUMS * self.tiles * channels;
        // What lies beyond a picture stays zero.
        let scratch = || vec![0.0; (tiles[0] * M + 2 * halo) * row];
        let each = planes.len() / n;
        let pairs = self.values[..n * len].par_chunks_mut(len).enumerate();
        pairs.for_each_init(scratch, |scratch, (i, values)| {
            let planes = &planes[i * each..][..each];
            arch.dispatch(Interleave { planes, size, to: scratch, first: halo * (row + channels), steps });
            arch.dispatch(Turn { from: scratch, tiles, channels, to: values, is_input });
        });
    }
}

/// The gradient `[C_out, C_in, 3, 3]` from pictures `[N, C_in, H, W]` and the gradient of their convolution.
pub(super) fn gradient(arch: Arch, geometry: Geometry, (x, size): (&[f32], [usize; 2]), gradient: &[f32]) -> Vec<f32> {
    let [c_out, c_in, _] = geometry.dims;
    let groups = panel(c_out.div_ceil(GROUP), lanes(arch));
    let rows = arch.dispatch(Rows { groups });
    let width = groups * GROUP;
    let (bundles, panels) = (c_in.div_ceil(rows), c_out.div_ceil(width));
    let unit = rows * width;
    let units = SUMS * panels * bundles;
    let each = units.div_ceil(4 * rayon::current_num_threads());
    let tiles = size.map(|side| side.div_ceil(M));
    let (count, plane) = (tiles[0] * tiles[1], size[0] * size[1]);
    let together = TILES.div_ceil(count);
    let mut sums = zeros(units * unit);
    // Taken, not borrowed: while this thread waits for others it may begin another gradient.
    let [from, to] = ROOMS.take();
    let n = together.min(x.len() / (c_in * plane));
    let mut from = Turned::new(from, n, bundles * rows, count);
    let mut to = Turned::new(to, n, panels * width, count);
    for (x, y) in x.chunks(together * c_in * plane).zip(gradient.chunks(together * c_out * plane)) {
        let n = y.len() / (c_out * plane);
        from.fill(arch, (x, n), (size, tiles), true);
        to.fill(arch, (y, n), (size, tiles), false);
        let (from, to) = (&from, &to);
        sums.par_chunks_mut(each * unit).enumerate().for_each(|(i, sums)| {
            let units = i * each..units.min((i + 1) * each);
            arch.dispatch(Products { x: from, y: to, n, groups, counts: [panels, bundles], units, sums });
        });
    }
    ROOMS.set([from.values, to.values]);
    let mut turned = vec![0.0; panels * bundles * 9 * unit];
    turned.par_chunks_mut(9 * unit).enumerate().for_each(|(i, taps)| {
        arch.dispatch(TurnBack { sums: &sums[i * unit..], step: panels * bundles * unit, taps });
    });
    let mut weights = vec![0.0; c_out * c_in * 9];
    weights.par_chunks_mut(c_in * 9).enumerate().for_each(|(o, weights)| {
        for (i, weights) in weights.chunks_exact_mut(9).enumerate() {
            let first = (o / width * bundles + i / rows) * 9 * unit + i % rows * width + o % width;
            for (tap, weight) in weights.iter_mut().enumerate() {
                *weight = turned[first + tap * unit];
            }
        }
    });
    weights
}

/// A picture of channels beside each other, turned tile by tile.
struct Turn<'a> {
    from: &'a [f32],
    tiles: [usize; 2],
    channels: usize,
    /// `[sum][tile][channel]`
    to: &'a mut [f32],
    is_input: bool,
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, tiles, channels, to, is_input } = self;
        let vectors = channels / S::F32_LANES;
        let (from, to) = (S::as_simd_f32s(from).0, S::as_mut_simd_f32s(to).0);
        let step = tiles[0] * tiles[1] * vectors;
        for ty in 0..tiles[0] {
            for tx in 0..tiles[1] {
                let to = &mut to[(ty * tiles[1] + tx) * vectors..];
                if is_input {
                    let row = (tiles[1] * M + 2) * vectors;
                    turn_tile::<S, SIDE>(simd, &from[ty * M * row + tx * M * vectors..], [row, vectors], (to, step));
                } else {
                    let row = tiles[1] * M * vectors;
                    turn_tile::<S, M>(simd, &from[ty * M * row + tx * M * vectors..], [row, vectors], (to, step));
                }
            }
        }
    }
}

/// A tile of `N` by `N` pixels, inputs or gradients: all its sums, `step` vectors from one to the next.
#[inline(always)]
fn turn_tile<S: Simd, const N: usize>(
    simd: S,
    from: &[S::f32s],
    [row, vectors]: [usize; 2],
    (to, step): (&mut [S::f32s], usize),
) {
    for vector in 0..vectors {
        let mut half = [[simd.splat_f32s(0.0); N]; SIDE];
        for x in 0..N {
            let mut column = [simd.splat_f32s(0.0); N];
            for y in 0..N {
                column[y] = from[y * row + x * vectors + vector];
            }
            let column = line(simd, column);
            for y in 0..SIDE {
                half[y][x] = column[y];
            }
        }
        for y in 0..SIDE {
            for (x, value) in line(simd, half[y]).into_iter().enumerate() {
                to[(y * SIDE + x) * step + vector] = value;
            }
        }
    }
}

/// Of 6 inputs, or of 4 gradients.
#[inline(always)]
fn line<S: Simd, const N: usize>(simd: S, line: [S::f32s; N]) -> [S::f32s; SIDE] {
    let mut all = [simd.splat_f32s(0.0); SIDE];
    if N == SIDE {
        all.copy_from_slice(&line);
        return turn_line(simd, all);
    }
    let [a, b, c, d] = [line[0], line[1], line[2], line[3]];
    // Pairs that differ in the sign of odd terms share their even ones.
    let (even, odd) = (simd.add_f32s(a, c), simd.add_f32s(b, d));
    let even2 = simd.mul_add_f32s(simd.splat_f32s(4.0), c, a);
    let odd2 = simd.mul_f32s(simd.splat_f32s(2.0), simd.mul_add_f32s(simd.splat_f32s(4.0), d, b));
    let pairs =
        [simd.add_f32s(even, odd), simd.sub_f32s(even, odd), simd.add_f32s(even2, odd2), simd.sub_f32s(even2, odd2)];
    all[0] = a;
    all[1..5].copy_from_slice(&pairs);
    all[5] = d;
    all
}

struct Products<'a> {
    x: &'a Turned,
    y: &'a Turned,
    n: usize,
    groups: usize,
    /// Panels of channels out, bundles of channels in.
    counts: [usize; 2],
    /// `[sum][panel][bundle]`
    units: Range<usize>,
    /// `[unit][channel in][channel out]`
    sums: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        by_width!(S, this.groups, this.units(simd));
    }
}

impl Products<'_> {
    #[inline(always)]
    fn units<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S) {
        let [panels, bundles] = self.counts;
        let unit = MR * NV * S::F32_LANES;
        for (i, sums) in self.units.clone().zip(self.sums.chunks_exact_mut(unit)) {
            let (sum, panel, bundle) = (i / bundles / panels, i / bundles % panels, i % bundles);
            let mut parts = [[simd.splat_f32s(0.0); NV]; MR];
            for picture in 0..self.n {
                let x = self.x.of(picture, sum)[bundle * MR..].chunks(self.x.channels);
                let y = S::as_simd_f32s(self.y.of(picture, sum)).0;
                let y = y[panel * NV..].chunks(self.y.channels / S::F32_LANES);
                for (x, y) in x.zip(y) {
                    if let (Some(x), Some(y)) = (x.first_chunk::<MR>(), y.first_chunk::<NV>()) {
                        pixel(simd, x, y, &mut parts);
                    }
                }
            }
            let (sums, _) = S::as_mut_simd_f32s(sums).0.as_chunks_mut::<NV>();
            for (sums, parts) in sums.iter_mut().zip(parts) {
                for v in 0..NV {
                    sums[v] = simd.add_f32s(sums[v], parts[v]);
                }
            }
        }
    }
}

/// A unit's sums, turned back to the taps of the filter.
struct TurnBack<'a> {
    sums: &'a [f32],
    /// From a sum to the next.
    step: usize,
    /// `[tap][channel in][channel out]`
    taps: &'a mut [f32],
}

impl WithSimd for TurnBack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let unit = self.taps.len() / 9;
        let (sums, step) = (S::as_simd_f32s(self.sums).0, self.step / S::F32_LANES);
        let (taps, unit) = (S::as_mut_simd_f32s(self.taps).0, unit / S::F32_LANES);
        for vector in 0..unit {
            let mut half = [[simd.splat_f32s(0.0); 3]; SIDE];
            for y in 0..SIDE {
                let mut line = [simd.splat_f32s(0.0); SIDE];
                for x in 0..SIDE {
                    line[x] = sums[(y * SIDE + x) * step + vector];
                }
                half[y] = line_back(simd, line);
            }
            for x in 0..3 {
                let mut column = [simd.splat_f32s(0.0); SIDE];
                for y in 0..SIDE {
                    column[y] = half[y][x];
                }
                for (y, value) in line_back(simd, column).into_iter().enumerate() {
                    taps[(3 * y + x) * unit + vector] = value;
                }
            }
        }
    }
}

/// A line of sums, turned back to taps.
#[inline(always)]
fn line_back<S: Simd>(simd: S, p: [S::f32s; SIDE]) -> [S::f32s; 3] {
    let sixth = simd.splat_f32s(1.0 / 6.0);
    let (plus, minus) = (simd.add_f32s(p[1], p[2]), simd.sub_f32s(p[2], p[1]));
    let (plus2, minus2) = (simd.add_f32s(p[3], p[4]), simd.sub_f32s(p[3], p[4]));
    let ends = simd.mul_add_f32s(simd.splat_f32s(0.25), plus2, simd.neg_f32s(plus));
    let first = simd.mul_add_f32s(simd.splat_f32s(0.25), p[0], simd.mul_f32s(sixth, ends));
    let middle = simd.mul_f32s(sixth, simd.mul_add_f32s(simd.splat_f32s(0.5), minus2, minus));
    let last = simd.mul_add_f32s(sixth, simd.sub_f32s(plus2, plus), p[5]);
    [first, middle, last]
}
