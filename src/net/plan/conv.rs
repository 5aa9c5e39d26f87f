//! A convolution of a block of pixels, without a copy of its input.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::finish::{Finish, finish};
use super::kernel::{Runs, by_width, tile};
use super::map::{Block, GROUP, Map};
use super::pack::{Panel, Pass};

/// Where an output pixel's values lie.
#[derive(Debug, Clone, Copy)]
struct Pixel {
    /// Its first tap in the input.
    from: usize,
    /// In the block's part of the output.
    to: usize,
    add: usize,
    /// Its first group in what the block keeps.
    group: usize,
}

/// What is read and written.
#[derive(Debug)]
pub(super) struct Maps<'a> {
    /// All pictures.
    pub(super) x: &'a [f32],
    pub(super) from: Map,
    /// All pictures of a map of the output's shape, but for the halo.
    pub(super) add: Option<(&'a [f32], Map)>,
    /// The block's part.
    pub(super) y: &'a mut [f32],
    pub(super) to: Map,
    /// Where that part begins in the output.
    pub(super) start: usize,
}

/// `finish(conv(x) + bias + add)` for the outputs of a block.
pub(super) fn conv(
    arch: Arch,
    (passes, bias): (&[Pass], &[f32]),
    block: &Block,
    maps: &mut Maps<'_>,
    how: &mut Finish<'_>,
) {
    for pass in passes {
        let pixels = pixels(pass, block, maps);
        arch.dispatch(OnePass { pass, bias, pixels: &pixels, maps, how });
    }
}

/// The outputs of a pass in a block.
fn pixels(pass: &Pass, block: &Block, maps: &Maps<'_>) -> Vec<Pixel> {
    let Maps { from, to, add, start, .. } = maps;
    let step = pass.out_step;
    let add = add.map(|(_, map)| map);
    let mut pixels = Vec::new();
    for picture in block.pictures.clone() {
        let first = block.rows.start + (pass.out_from[0] + step - block.rows.start % step) % step;
        for y in (first..block.rows.end).step_by(step) {
            let row = ((picture - block.pictures.start) * to.height + y - block.rows.start) * to.width;
            let top = (y / step * pass.step) as isize + pass.origin[0];
            for x in (pass.out_from[1]..to.width).step_by(step) {
                let left = (x / step * pass.step) as isize + pass.origin[1];
                let here = |map: Map| picture * map.len() + map.at(y as isize, x as isize);
                pixels.push(Pixel {
                    from: if pass.taps.contains(&0) { 0 } else { picture * from.len() + from.at(top, left) },
                    to: here(*to) - start,
                    add: add.map_or(0, here),
                    group: (row + x) * to.groups(),
                });
            }
        }
    }
    pixels
}

/// The same with the panels on all cores, for few pixels of many weights: every core reads its own part of them.
pub(super) fn conv_by_panels(
    arch: Arch,
    (passes, bias): (&[Pass], &[f32]),
    block: &Block,
    maps: &mut Maps<'_>,
    how: &mut Finish<'_>,
) {
    for pass in passes {
        let pixels = pixels(pass, block, maps);
        let source = Source { pass, pixels: &pixels, x: maps.x, from: maps.from };
        let sums = |panel: &Panel| {
            let mut sums = vec![0.0; pixels.len() * panel.groups * GROUP];
            arch.dispatch(Sums { source, panel, to: &mut sums });
            sums
        };
        let sums: Vec<Vec<f32>> = pass.panels.par_iter().map(sums).collect();
        arch.dispatch(Ends { pass, bias, pixels: &pixels, sums: &sums, maps, how });
    }
}

/// What a pass reads.
#[derive(Clone, Copy)]
struct Source<'a> {
    pass: &'a Pass,
    pixels: &'a [Pixel],
    x: &'a [f32],
    from: Map,
}

impl Source<'_> {
    /// Sums for the pixels from `at` on. What is missing in the last tile is computed twice, to be thrown away.
    #[inline(always)]
    fn sums<S: Simd, const MR: usize, const NV: usize>(self, simd: S, panel: &Panel, at: usize) -> [[S::f32s; NV]; MR] {
        let [count, columns] = self.pass.taps;
        let len = columns * self.from.channels;
        let runs = Runs { count: if columns == 0 { 0 } else { count }, len, row: self.from.row() };
        let pixels = &self.pixels[at..];
        let mut starts = [0; MR];
        for m in 0..MR {
            starts[m] = pixels[m.min(pixels.len() - 1)].from;
        }
        let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
        if pixels.len() == 1 {
            // A vector that goes through alone.
            [sums[0]] = tile::<S, 1, NV>(simd, self.x, &[starts[0]], runs, &panel.weights);
        } else {
            sums = tile::<S, MR, NV>(simd, self.x, &starts, runs, &panel.weights);
        }
        sums
    }
}

/// A pixel's sums of a panel, on their way to memory.
#[inline(always)]
fn end<S: Simd, const NV: usize>(
    simd: S,
    (pixel, panel): (&Pixel, &Panel),
    sums: [S::f32s; NV],
    bias: &[f32],
    maps: &mut Maps<'_>,
    how: &mut Finish<'_>,
) {
    let (channel, width) = (panel.first_group * GROUP, panel.groups * GROUP);
    let bias = &S::as_simd_f32s(&bias[channel..channel + width]).0[..NV];
    let mut values = sums;
    for v in 0..NV {
        values[v] = simd.add_f32s(values[v], bias[v]);
    }
    if let Some((add, _)) = maps.add {
        let add = &S::as_simd_f32s(&add[pixel.add + channel..][..width]).0[..NV];
        for v in 0..NV {
            values[v] = simd.add_f32s(values[v], add[v]);
        }
    }
    finish(simd, how, &mut values, pixel.group + panel.first_group);
    let to = pixel.to + channel;
    let out = &mut S::as_mut_simd_f32s(&mut maps.y[to..to + width]).0[..NV];
    for (out, value) in out.iter_mut().zip(values) {
        *out = value;
    }
}

struct OnePass<'a, 'b, 'c> {
    pass: &'a Pass,
    bias: &'a [f32],
    pixels: &'a [Pixel],
    maps: &'a mut Maps<'b>,
    how: &'a mut Finish<'c>,
}

impl WithSimd for OnePass<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        for panel in &this.pass.panels {
            by_width!(S, panel.groups, this.panel(simd, panel));
        }
    }
}

impl OnePass<'_, '_, '_> {
    /// `NV` vectors are the panel's groups.
    #[inline(always)]
    fn panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, panel: &Panel) {
        let source = Source { pass: self.pass, pixels: self.pixels, x: self.maps.x, from: self.maps.from };
        let mut at = 0;
        while at < self.pixels.len() {
            let sums: [[S::f32s; NV]; MR] = source.sums(simd, panel, at);
            for (pixel, sums) in self.pixels[at..].iter().zip(sums) {
                end(simd, (pixel, panel), sums, self.bias, self.maps, self.how);
            }
            at += MR;
        }
    }
}

/// The sums of a panel, `[pixels][channels]`.
struct Sums<'a> {
    source: Source<'a>,
    panel: &'a Panel,
    to: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        by_width!(S, this.panel.groups, this.panel(simd));
    }
}

impl Sums<'_> {
    #[inline(always)]
    fn panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S) {
        let (out, _) = S::as_mut_simd_f32s(self.to);
        let (out, _) = out.as_chunks_mut::<NV>();
        let mut at = 0;
        while at < out.len() {
            let sums: [[S::f32s; NV]; MR] = self.source.sums(simd, self.panel, at);
            for (out, sums) in out[at..].iter_mut().zip(sums) {
                *out = sums;
            }
            at += MR;
        }
    }
}

/// What is left to do for sums of panels.
struct Ends<'a, 'b, 'c> {
    pass: &'a Pass,
    bias: &'a [f32],
    pixels: &'a [Pixel],
    sums: &'a [Vec<f32>],
    maps: &'a mut Maps<'b>,
    how: &'a mut Finish<'c>,
}

impl WithSimd for Ends<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        for (panel, sums) in this.pass.panels.iter().zip(this.sums) {
            by_width!(S, panel.groups, this.panel(simd, panel, sums));
        }
    }
}

impl Ends<'_, '_, '_> {
    #[inline(always)]
    fn panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, panel: &Panel, sums: &[f32]) {
        let (sums, _) = S::as_simd_f32s(sums);
        let (sums, _) = sums.as_chunks::<NV>();
        for (pixel, sums) in self.pixels.iter().zip(sums) {
            end(simd, (pixel, panel), *sums, self.bias, self.maps, self.how);
        }
    }
}
