//! The gradient of a convolution's filter: for every tap a product of the pictures' channels with those of the result's
//! gradient, summed over all pixels.
//!
//! The pixels come in blocks that the shapes alone decide, and every weight is summed by one thread, block by block: the
//! bits depend neither on the number of threads nor on the length of vectors. Short sums of sums also round less.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::tiles;
use crate::net::plan::{GROUP, Geometry, Interleave, by_width, lanes};

/// Pixels of a block, about: its gradient fits a core's cache.
const BLOCK: usize = 256;

/// Pixels of the pictures that are laid out together, about: they stay in a cache.
const PICTURES: usize = 1 << 12;

/// Planes in bundles of `width` channels, the channels of a bundle beside each other.
struct Bundles {
    /// `[bundle][picture][row][column][width]`
    values: Vec<f32>,
    channels: usize,
    width: usize,
    /// Zeros before the first pixel.
    before: usize,
    /// Rows and columns of a picture, zeros around it included.
    size: [usize; 2],
    /// Values of a bundle, for as many pictures as there is room for.
    each: usize,
}

impl Bundles {
    /// Room for pictures of some channels, height and width, with zeros before the first pixel and behind the last.
    fn new(pictures: usize, (channels, width): (usize, usize), size: [usize; 2], [before, behind]: [usize; 2]) -> Self {
        let size = size.map(|side| before + side + behind);
        let each = pictures * size[0] * size[1] * width;
        Self { values: vec![0.0; channels.div_ceil(width) * each], channels, width, before, size, each }
    }

    /// Takes the values of pictures `[N, C, H, W]`.
    fn fill(&mut self, arch: Arch, planes: &[f32], [height, wide]: [usize; 2]) {
        let (channels, width, [_, columns]) = (self.channels, self.width, self.size);
        let picture = self.size[0] * columns * width;
        let room = self.each / picture;
        let (first, steps) = ((columns + 1) * self.before * width, [columns * width, width]);
        self.values.par_chunks_mut(picture).enumerate().for_each(|(i, to)| {
            let (bundle, picture) = (i / room * width, i % room);
            let from = (picture * channels + bundle) * height * wide;
            if from < planes.len() {
                let planes = &planes[from..][..width.min(channels - bundle) * height * wide];
                arch.dispatch(Interleave { planes, size: [height, wide], to, first, steps });
            }
        });
    }

    /// A bundle of all pictures.
    fn of(&self, bundle: usize) -> &[f32] {
        &self.values[bundle * self.each..][..self.each]
    }
}

/// The gradient `[C_out, C_in, k, k]` from pictures `[N, C_in, H, W]` and the gradient of their convolution.
pub(in crate::net) fn gradient(
    arch: Arch,
    geometry: Geometry,
    (x, size): (&[f32], [usize; 2]),
    gradient: &[f32],
) -> Vec<f32> {
    if tiles::fit(geometry, size) {
        return tiles::gradient(arch, geometry, (x, size), gradient);
    }
    let [c_out, c_in, k] = geometry.dims;
    let groups = panel(c_out.div_ceil(GROUP), lanes(arch));
    let rows = arch.dispatch(Rows { groups });
    let width = groups * GROUP;
    let (bundles, panels) = (c_in.div_ceil(rows), c_out.div_ceil(width));
    // What one unit sums up: a row of the kernel for a bundle of channels in and one of channels out.
    let (unit, units) = (k * rows * width, panels * bundles * k);
    let each = units.div_ceil(4 * rayon::current_num_threads());
    let mut sums = vec![0.0; units * unit];
    let (output, planes) = (geometry.output(size), [size, geometry.output(size)].map(|[h, w]| h * w));
    let all = gradient.len() / (c_out * planes[1]);
    let together = PICTURES.div_ceil(planes[0].max(planes[1])).min(all.max(1));
    let mut from = Bundles::new(together, (c_in, rows), size, geometry.padding);
    let mut to = Bundles::new(together, (c_out, width), output, [0; 2]);
    for (x, y) in x.chunks(together * c_in * planes[0]).zip(gradient.chunks(together * c_out * planes[1])) {
        from.fill(arch, x, size);
        to.fill(arch, y, output);
        let n = y.len() / (c_out * planes[1]);
        sums.par_chunks_mut(each * unit).enumerate().for_each(|(i, sums)| {
            let units = i * each..units.min((i + 1) * each);
            arch.dispatch(Job { geometry, x: &from, y: &to, n, groups, bundles, units, sums });
        });
    }
    let mut weights = vec![0.0; c_out * c_in * k * k];
    weights.par_chunks_mut(c_in * k * k).enumerate().for_each(|(o, weights)| {
        for (i, weights) in weights.chunks_exact_mut(k * k).enumerate() {
            let first = (o / width * bundles + i / rows) * k * unit + i % rows * width + o % width;
            for (ky, weights) in weights.chunks_exact_mut(k).enumerate() {
                for (kx, weight) in weights.iter_mut().enumerate() {
                    *weight = sums[first + ky * unit + kx * rows * width];
                }
            }
        }
    });
    weights
}

/// The gradient of a bias from `[N, C, H, W]`, of `plane` values each.
pub(in crate::net) fn bias_gradient(gradient: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    sums.par_chunks_mut(1).enumerate().for_each(|(c, sum)| {
        for plane in gradient.chunks_exact(plane).skip(c).step_by(channels) {
            let mut parts = [0.0_f32; GROUP];
            for values in plane.chunks(GROUP) {
                for (part, value) in parts.iter_mut().zip(values) {
                    *part += value;
                }
            }
            sum[0] += parts.iter().sum::<f32>();
        }
    });
    sums
}

/// How many groups of channels out are summed together.
pub(super) fn panel(groups: usize, lanes: usize) -> usize {
    let widths: &[usize] = if lanes < GROUP { &[1] } else { &[3, 4, 2, 1] };
    widths.iter().copied().find(|width| groups.is_multiple_of(*width)).unwrap_or(1)
}

/// How many channels in are summed together with so many groups of channels out.
pub(super) struct Rows {
    pub(super) groups: usize,
}

impl WithSimd for Rows {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        let this = self;
        by_width!(S, this.groups, this.count())
    }
}

impl Rows {
    fn count<S: Simd, const MR: usize, const NV: usize>(&self) -> usize {
        debug_assert_eq!(NV * S::F32_LANES, self.groups * GROUP, "a panel's groups fill its vectors");
        MR
    }
}

struct Job<'a> {
    geometry: Geometry,
    x: &'a Bundles,
    y: &'a Bundles,
    n: usize,
    groups: usize,
    /// Of channels in.
    bundles: usize,
    /// `[panel][bundle][row of the kernel]`
    units: Range<usize>,
    /// `[unit][column of the kernel][channel in][channel out]`
    sums: &'a mut [f32],
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        by_width!(S, this.groups, this.units(simd));
    }
}

impl Job<'_> {
    #[inline(always)]
    fn units<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S) {
        let [_, _, k] = self.geometry.dims;
        let [height, width] = self.y.size;
        let n = self.n;
        let tile = MR * NV * S::F32_LANES;
        let rows = n * height;
        let step = BLOCK.div_ceil(width);
        let mut from = 0;
        while from < rows {
            let block = from..rows.min(from + step);
            for (unit, sums) in self.units.clone().zip(self.sums.chunks_exact_mut(k * tile)) {
                let (panel, bundle, ky) = (unit / k / self.bundles, unit / k % self.bundles, unit % k);
                for (kx, sums) in sums.chunks_exact_mut(tile).enumerate() {
                    let lines = Lines {
                        x: self.x.of(bundle),
                        y: self.y.of(panel),
                        size: self.x.size,
                        output: [height, width],
                        stride: self.geometry.stride,
                        tap: [ky, kx],
                    };
                    lines.add::<S, MR, NV>(simd, block.clone(), sums);
                }
            }
            from += step;
        }
    }
}

/// A bundle of channels in and one of channels out, of all pictures, and a tap.
struct Lines<'a> {
    x: &'a [f32],
    y: &'a [f32],
    size: [usize; 2],
    output: [usize; 2],
    stride: usize,
    tap: [usize; 2],
}

impl Lines<'_> {
    /// Adds the sums over some rows of the result, counted through all pictures.
    #[inline(always)]
    fn add<S: Simd, const MR: usize, const NV: usize>(&self, simd: S, rows: Range<usize>, sums: &mut [f32]) {
        let ([height, width], [ky, kx], stride) = (self.output, self.tap, self.stride);
        let mut parts = [[simd.splat_f32s(0.0); NV]; MR];
        let (mut picture, mut row) = (rows.start / height, rows.start % height);
        for at in rows {
            let first = (picture * self.size[0] + row * stride + ky) * self.size[1] + kx;
            let (x, _) = self.x[first * MR..][..((width - 1) * stride + 1) * MR].as_chunks::<MR>();
            let y = &self.y[at * width * NV * S::F32_LANES..][..width * NV * S::F32_LANES];
            let (y, _) = S::as_simd_f32s(y).0.as_chunks::<NV>();
            if stride == 1 {
                for (x, y) in x.iter().zip(y) {
                    pixel(simd, x, y, &mut parts);
                }
            } else {
                for (x, y) in x.iter().step_by(stride).zip(y) {
                    pixel(simd, x, y, &mut parts);
                }
            }
            row += 1;
            if row == height {
                (picture, row) = (picture + 1, 0);
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

#[inline(always)]
pub(super) fn pixel<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    x: &[f32; MR],
    y: &[S::f32s; NV],
    parts: &mut [[S::f32s; NV]; MR],
) {
    for m in 0..MR {
        let value = simd.splat_f32s(x[m]);
        for v in 0..NV {
            parts[m][v] = simd.mul_add_f32s(value, y[v], parts[m][v]);
        }
    }
}
