//! Convolutions of 3x3 with stride 1 by fewer products: tiles of m by m outputs, for each of which the input and the filter
//! are turned to (m + 2)² sums, multiplied, and turned back.
//!
//! # Source
//! Lavin and Gray 2016, "Fast algorithms for convolutional neural networks": F(2x2, 3x3) with a 2.25th of the products and
//! F(4x4, 3x3) with a fourth. Filters are turned in double precision. Errors relative to the largest output are those of a
//! plain convolution for the former, and about ten times as large, some 1e-6, for the latter.

#![expect(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "only what is inlined is compiled for the vectors that are there, and iterators over several arrays are not unrolled"
)]

use std::cell::RefCell;

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::conv::Maps;
use super::finish::{Finish, finish};
use super::kernel::{Runs, by_width, tile};
use super::map::{Block, GROUP};
use super::pack::{Filter, LARGE, Panel, pack};

/// A filter turned for tiles of `m` by `m`.
#[derive(Debug)]
pub(super) struct Winograd {
    /// 2 or 4.
    pub(super) m: usize,
    /// Weights `[(m + 2)²][channels in][groups][GROUP]`.
    pub(super) panels: Vec<Panel>,
}

/// Values of tiles that go through together, turned, before and behind the products.
const SCRATCH: usize = 1 << 16;

thread_local! {
    /// Both, kept from block to block.
    static TURNED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Rows of the matrix that turns a filter.
const G4: [[f64; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
const G2: [[f64; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

impl Winograd {
    /// Of a 3x3 filter, or with `transposed` of the map back from its output's gradient; `padded` are the channels that are
    /// read in memory.
    pub(super) fn new(m: usize, filter: &Filter, transposed: bool, padded: usize, lanes: usize) -> Self {
        let [c_out, c_in, _] = filter.dims;
        let outputs = if transposed { c_in } else { c_out };
        let rows: &[[f64; 3]] = if m == 4 { &G4 } else { &G2 };
        let side = m + 2;
        let panels = pack(outputs, lanes, |first_group, groups| {
            let width = groups * GROUP;
            let mut weights = vec![0.0; side * side * padded * width];
            // Of all outputs of the panel side by side: taps, and a row of them turned in one direction.
            let (mut taps, mut half) = (vec![0.0; 9 * width], vec![0.0; 3 * width]);
            filter.each_input(transposed, (first_group * GROUP, width), |input, values| {
                for (tap, values) in values.chunks_exact(width).enumerate() {
                    let tap = if transposed { 8 - tap } else { tap };
                    let taps = &mut taps[tap * width..][..width];
                    taps.iter_mut().zip(values).for_each(|(tap, value)| *tap = f64::from(*value));
                }
                for (r, row) in rows.iter().enumerate() {
                    for (x, half) in half.chunks_exact_mut(width).enumerate() {
                        turn_taps([x, 3 + x, 6 + x].map(|tap| &taps[tap * width..][..width]), row, half, |sum| sum);
                    }
                    for (c, column) in rows.iter().enumerate() {
                        let turned = &mut weights[((r * side + c) * padded + input) * width..][..width];
                        turn_taps([0, 1, 2].map(|x| &half[x * width..][..width]), column, turned, |sum| sum as f32);
                    }
                }
            });
            weights
        });
        Self { m, panels }
    }

    /// `finish(conv(x) + bias + add)` for the outputs of a block, which begins at a tile's first row.
    ///
    /// `by_panels`: the panels on all cores, for few tiles of many weights.
    pub(super) fn run(
        &self,
        arch: Arch,
        (bias, by_panels): (&[f32], bool),
        block: &Block,
        maps: &mut Maps<'_>,
        how: &mut Finish<'_>,
    ) {
        let tiles = self.tiles(block, maps);
        let values = (self.m + 2).pow(2) * maps.from.channels.max(maps.to.channels);
        // Whole tiles of the products' kernel. Many where reading weights costs more than what no longer fits a core's cache.
        let weights: usize = self.panels.iter().map(|panel| panel.weights.len()).sum();
        let together = (SCRATCH / values / 24 * 24).max(if weights > LARGE { 96 } else { 24 });
        // Taken, not borrowed: while a thread waits for panels it may begin another block.
        let [mut turned, mut products] = TURNED.take();
        for tiles in tiles.chunks(together) {
            turned.resize(turned.len().max(tiles.len() * values), 0.0);
            products.resize(products.len().max(tiles.len() * values), 0.0);
            let (stage, turned, products) = (Stage::All, &mut *turned, &mut *products);
            let job = Job { winograd: self, bias, block, tiles, maps, how, turned, products, stage };
            if by_panels {
                job.by_panels(arch);
            } else {
                arch.dispatch(job);
            }
        }
        TURNED.set([turned, products]);
    }

    /// The first pixels of a block's tiles: picture, row, column.
    fn tiles(&self, block: &Block, maps: &Maps<'_>) -> Vec<[usize; 3]> {
        let mut tiles = Vec::new();
        for picture in block.pictures.clone() {
            for y in block.rows.clone().step_by(self.m) {
                tiles.extend((0..maps.to.width).step_by(self.m).map(|x| [picture, y, x]));
            }
        }
        tiles
    }
}

/// Three taps of every output, times a row of the matrix.
fn turn_taps<T>(taps: [&[f64]; 3], row: &[f64; 3], turned: &mut [T], rounded: impl Fn(f64) -> T) {
    for (((turned, first), second), third) in turned.iter_mut().zip(taps[0]).zip(taps[1]).zip(taps[2]) {
        *turned = rounded(row[0] * first + row[1] * second + row[2] * third);
    }
}

/// How much is done in one go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    All,
    Turn,
    TurnBack,
}

struct Job<'a, 'b, 'c> {
    winograd: &'a Winograd,
    bias: &'a [f32],
    block: &'a Block,
    tiles: &'a [[usize; 3]],
    maps: &'a mut Maps<'b>,
    how: &'a mut Finish<'c>,
    /// `[tile][(m + 2)²][channels in]`
    turned: &'a mut [f32],
    /// `[tile][(m + 2)²][channels out]`
    products: &'a mut [f32],
    stage: Stage,
}

impl WithSimd for Job<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        let is_large = this.winograd.m == 4;
        if this.stage != Stage::TurnBack {
            if is_large { this.turn::<S, 6>(simd) } else { this.turn::<S, 4>(simd) }
        }
        if this.stage == Stage::All {
            for panel in &this.winograd.panels {
                let products =
                    Products { side: this.side(), channels: this.maps.from.channels, turned: this.turned, panel };
                let row = (this.maps.to.channels, panel.first_group * GROUP);
                by_width!(S, panel.groups, products.run(simd, row, this.tiles.len(), this.products));
            }
        }
        if this.stage != Stage::Turn {
            if is_large { this.turn_back::<S, 6, 4>(simd) } else { this.turn_back::<S, 4, 2>(simd) }
        }
    }
}

impl Job<'_, '_, '_> {
    const fn side(&self) -> usize {
        self.winograd.m + 2
    }

    /// All stages, the products of every panel on a core of its own.
    fn by_panels(self, arch: Arch) {
        let (count, squares) = (self.tiles.len(), self.side() * self.side());
        let Job { winograd, bias, block, tiles, maps, how, turned, products, .. } = self;
        let stage = Stage::Turn;
        let (m, h, t, p) = (&mut *maps, &mut *how, &mut *turned, &mut *products);
        arch.dispatch(Job { winograd, bias, block, tiles, maps: m, how: h, turned: t, products: p, stage });
        let (side, channels) = (winograd.m + 2, maps.from.channels);
        let turned_there: &[f32] = turned;
        let one = |panel: &Panel| {
            let mut found = vec![0.0; count * squares * panel.groups * GROUP];
            let products = Products { side, channels, turned: turned_there, panel };
            arch.dispatch(Alone { products, count, found: &mut found });
            found
        };
        let found: Vec<Vec<f32>> = winograd.panels.par_iter().map(one).collect();
        for (panel, found) in winograd.panels.iter().zip(found) {
            let (from, width) = (panel.first_group * GROUP, panel.groups * GROUP);
            let rows = products.chunks_exact_mut(maps.to.channels);
            rows.zip(found.chunks_exact(width)).for_each(|(row, found)| row[from..from + width].copy_from_slice(found));
        }
        arch.dispatch(Job { winograd, bias, block, tiles, maps, how, turned, products, stage: Stage::TurnBack });
    }

    #[inline(always)]
    fn turn<S: Simd, const SIDE: usize>(&mut self, simd: S) {
        let from = self.maps.from;
        // Vectors of a pixel; every pixel begins with a whole one.
        let vectors = from.channels / S::F32_LANES;
        let (source, _) = S::as_simd_f32s(self.maps.x);
        let (turned, _) = S::as_mut_simd_f32s(self.turned);
        for ([picture, top, left], turned) in self.tiles.iter().zip(turned.chunks_exact_mut(SIDE * SIDE * vectors)) {
            let mut starts = [[0; SIDE]; SIDE];
            for y in 0..SIDE {
                for x in 0..SIDE {
                    // What lies beyond the halo meets no output; the halo's first pixel is as good a zero as any.
                    let inside = top + y <= from.height + 1 && left + x <= from.width + 1;
                    let (y_at, x_at) = if inside { (top + y, left + x) } else { (0, 0) };
                    starts[y][x] =
                        (picture * from.len() + from.at(y_at as isize - 1, x_at as isize - 1)) / S::F32_LANES;
                }
            }
            for vector in 0..vectors {
                let mut half = [[simd.splat_f32s(0.0); SIDE]; SIDE];
                for y in 0..SIDE {
                    let mut row = [simd.splat_f32s(0.0); SIDE];
                    for x in 0..SIDE {
                        row[x] = source[starts[y][x] + vector];
                    }
                    half[y] = turn_line(simd, row);
                }
                for x in 0..SIDE {
                    let mut column = [simd.splat_f32s(0.0); SIDE];
                    for y in 0..SIDE {
                        column[y] = half[y][x];
                    }
                    let column = turn_line(simd, column);
                    for y in 0..SIDE {
                        turned[(y * SIDE + x) * vectors + vector] = column[y];
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn turn_back<S: Simd, const SIDE: usize, const M: usize>(&mut self, simd: S) {
        let to = self.maps.to;
        let vectors = to.channels / S::F32_LANES;
        let (products, _) = S::as_simd_f32s(self.products);
        let (bias, _) = S::as_simd_f32s(self.bias);
        let (out, _) = S::as_mut_simd_f32s(self.maps.y);
        let row = to.row() / S::F32_LANES;
        for ([picture, top, left], products) in self.tiles.iter().zip(products.chunks_exact(SIDE * SIDE * vectors)) {
            let (top, left) = (*top, *left);
            let rows = M.min(self.block.rows.end - top);
            let columns = M.min(to.width - left);
            let first = (picture - self.block.pictures.start) * to.height + top - self.block.rows.start;
            let group = (first * to.width + left) * to.groups();
            let start = (picture * to.len() + to.at(top as isize, left as isize) - self.maps.start) / S::F32_LANES;
            for vector in 0..vectors {
                let mut half = [[simd.splat_f32s(0.0); M]; SIDE];
                for y in 0..SIDE {
                    let mut line = [simd.splat_f32s(0.0); SIDE];
                    for x in 0..SIDE {
                        line[x] = products[(y * SIDE + x) * vectors + vector];
                    }
                    half[y] = turn_line_back(simd, line);
                }
                for x in 0..columns {
                    let mut column = [simd.splat_f32s(0.0); SIDE];
                    for y in 0..SIDE {
                        column[y] = half[y][x];
                    }
                    let column: [S::f32s; M] = turn_line_back(simd, column);
                    for y in 0..rows {
                        out[start + y * row + x * vectors + vector] = simd.add_f32s(column[y], bias[vector]);
                    }
                }
            }
            for y in 0..rows {
                for x in 0..columns {
                    let at = start + y * row + x * vectors;
                    let values = &mut out[at..at + vectors];
                    if let Some((add, map)) = self.maps.add {
                        let at = picture * map.len() + map.at((top + y) as isize, (left + x) as isize);
                        let (add, _) = S::as_simd_f32s(&add[at..at + to.channels]);
                        for (value, add) in values.iter_mut().zip(add) {
                            *value = simd.add_f32s(*value, *add);
                        }
                    }
                    finish(simd, self.how, values, group + (y * to.width + x) * to.groups());
                }
            }
        }
    }
}

/// The products of a panel with tiles that are turned.
#[derive(Clone, Copy)]
struct Products<'a> {
    side: usize,
    /// Channels in.
    channels: usize,
    turned: &'a [f32],
    panel: &'a Panel,
}

impl Products<'_> {
    /// For `count` tiles, to rows of so many values, from one of them on.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(
        self,
        simd: S,
        (row, from): (usize, usize),
        count: usize,
        products: &mut [f32],
    ) {
        let Self { side, channels: c, turned, panel } = self;
        let runs = Runs { count: 1, len: c, row: 0 };
        let width = panel.groups * GROUP;
        for xi in 0..side * side {
            let weights = &panel.weights[xi * c * width..(xi + 1) * c * width];
            let mut first = 0;
            while first < count {
                let mut starts = [0; MR];
                for m in 0..MR {
                    starts[m] = ((first + m).min(count - 1) * side * side + xi) * c;
                }
                let sums = tile::<S, MR, NV>(simd, turned, &starts, runs, weights);
                for m in 0..MR.min(count - first) {
                    let at = ((first + m) * side * side + xi) * row + from;
                    let out = &mut S::as_mut_simd_f32s(&mut products[at..at + width]).0[..NV];
                    for (out, sum) in out.iter_mut().zip(sums[m]) {
                        *out = sum;
                    }
                }
                first += MR;
            }
        }
    }
}

/// The same, `[tile][(m + 2)²][channels of the panel]`.
struct Alone<'a> {
    products: Products<'a>,
    count: usize,
    found: &'a mut [f32],
}

impl WithSimd for Alone<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (products, groups) = (self.products, self.products.panel.groups);
        by_width!(S, groups, products.run(simd, (groups * GROUP, 0), self.count, self.found));
    }
}

/// A line of an input tile, turned.
#[inline(always)]
pub(in crate::net) fn turn_line<S: Simd, const SIDE: usize>(simd: S, d: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let mut out = d;
    if SIDE == 4 {
        out[0] = simd.sub_f32s(d[0], d[2]);
        out[1] = simd.add_f32s(d[1], d[2]);
        out[2] = simd.sub_f32s(d[2], d[1]);
        out[3] = simd.sub_f32s(d[1], d[3]);
        return out;
    }
    // Pairs that differ in the sign of odd terms share their even ones.
    let even = simd.mul_add_f32s(simd.splat_f32s(-4.0), d[2], d[4]);
    let odd = simd.mul_add_f32s(simd.splat_f32s(-4.0), d[1], d[3]);
    let even2 = simd.sub_f32s(d[4], d[2]);
    let odd2 = simd.sub_f32s(d[3], d[1]);
    out[0] = simd.mul_add_f32s(simd.splat_f32s(4.0), d[0], simd.mul_add_f32s(simd.splat_f32s(-5.0), d[2], d[4]));
    out[1] = simd.add_f32s(even, odd);
    out[2] = simd.sub_f32s(even, odd);
    out[3] = simd.mul_add_f32s(simd.splat_f32s(2.0), odd2, even2);
    out[4] = simd.mul_add_f32s(simd.splat_f32s(-2.0), odd2, even2);
    out[5] = simd.mul_add_f32s(simd.splat_f32s(4.0), d[1], simd.mul_add_f32s(simd.splat_f32s(-5.0), d[3], d[5]));
    out
}

/// A line of a tile's products, turned back to outputs.
#[inline(always)]
fn turn_line_back<S: Simd, const SIDE: usize, const M: usize>(simd: S, p: [S::f32s; SIDE]) -> [S::f32s; M] {
    let mut out = [simd.splat_f32s(0.0); M];
    let plus = simd.add_f32s(p[1], p[2]);
    let minus = simd.sub_f32s(p[1], p[2]);
    if M == 2 {
        out[0] = simd.add_f32s(p[0], plus);
        out[1] = simd.sub_f32s(minus, p[3]);
        return out;
    }
    let plus2 = simd.add_f32s(p[3], p[4]);
    let minus2 = simd.sub_f32s(p[3], p[4]);
    out[0] = simd.add_f32s(simd.add_f32s(p[0], plus), plus2);
    out[1] = simd.mul_add_f32s(simd.splat_f32s(2.0), minus2, minus);
    out[2] = simd.mul_add_f32s(simd.splat_f32s(4.0), plus2, plus);
    out[3] = simd.add_f32s(simd.mul_add_f32s(simd.splat_f32s(8.0), minus2, minus), p[5]);
    out
}
