//! A convolution of a block of pixels, without a copy of its input.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::{Arch, Simd, WithSimd};

use super::finish::{Finish, finish};
use super::kernel::{Runs, by_width, tile};
use super::map::{Block, GROUP, Map};
use super::pack::Pass;

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
        for panel in 0..this.pass.panels.len() {
            by_width!(S, this.pass.panels[panel].groups, this.panel(simd, panel));
        }
    }
}

impl OnePass<'_, '_, '_> {
    /// `NV` vectors are the panel's groups.
    #[inline(always)]
    fn panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, panel: usize) {
        let (panel, from) = (&self.pass.panels[panel], self.maps.from);
        let [count, columns] = self.pass.taps;
        let runs = Runs { count: if columns == 0 { 0 } else { count }, len: columns * from.channels, row: from.row() };
        let (channel, width) = (panel.first_group * GROUP, panel.groups * GROUP);
        let (bias, _) = S::as_simd_f32s(&self.bias[channel..channel + width]);
        let bias = &bias[..NV];
        let mut at = 0;
        while at < self.pixels.len() {
            let pixels = &self.pixels[at..];
            let mut starts = [0; MR];
            for m in 0..MR {
                // What is missing in the last tile is computed twice and thrown away.
                starts[m] = pixels[m.min(pixels.len() - 1)].from;
            }
            let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
            if pixels.len() == 1 {
                // A vector that goes through alone.
                [sums[0]] = tile::<S, 1, NV>(simd, self.maps.x, &[starts[0]], runs, &panel.weights);
            } else {
                sums = tile::<S, MR, NV>(simd, self.maps.x, &starts, runs, &panel.weights);
            }
            for (pixel, sums) in pixels.iter().zip(sums) {
                let mut values = sums;
                for v in 0..NV {
                    values[v] = simd.add_f32s(values[v], bias[v]);
                }
                if let Some((add, _)) = self.maps.add {
                    let add = &S::as_simd_f32s(&add[pixel.add + channel..][..width]).0[..NV];
                    for v in 0..NV {
                        values[v] = simd.add_f32s(values[v], add[v]);
                    }
                }
                finish(simd, self.how, &mut values, pixel.group + panel.first_group);
                let to = pixel.to + channel;
                let out = &mut S::as_mut_simd_f32s(&mut self.maps.y[to..to + width]).0[..NV];
                for (out, value) in out.iter_mut().zip(values) {
                    *out = value;
                }
            }
            at += MR;
        }
    }
}
