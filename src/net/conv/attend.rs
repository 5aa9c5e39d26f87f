//! Attention between the pixels of a map, forwards and backwards: `V softmax(K^T Q / √d)` of every head, whose scores are
//! made again for the gradient instead of kept.
//!
//! Every picture goes through on one thread, and sums are chains in one order: the bits depend neither on threads nor on
//! the length of vectors.

#![expect(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "only what is inlined is compiled for the vectors that are there, and iterators over several arrays are not unrolled"
)]

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use crate::net::plan::{exp, zeros};

/// Attention but for its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attend {
    pub(super) arch: Arch,
    pub(super) heads: usize,
    /// Channels of a head.
    pub(super) channels: usize,
    /// Pixels, a multiple of 16.
    pub(super) pixels: usize,
    /// Whether every head has its own `[q | k | v]`; otherwise the channels are `[Q | K | V]`, each `[head]`.
    pub(super) by_heads: bool,
}

/// What is made for one head after another.
struct Scratch {
    /// `[key][query]`
    shares: Vec<f32>,
    /// Their gradients.
    gradients: Vec<f32>,
    /// `[query][key]`
    turned: Vec<f32>,
}

impl Attend {
    /// Values of a picture's answer.
    const fn len(self) -> usize {
        self.heads * self.channels * self.pixels
    }

    /// Where the queries, keys or values of a head begin.
    const fn at(self, part: usize, head: usize) -> usize {
        let place = if self.by_heads { head * 3 + part } else { part * self.heads + head };
        place * self.channels * self.pixels
    }

    fn parts(self, x: &[f32], head: usize) -> [&[f32]; 3] {
        [0, 1, 2].map(|part| &x[self.at(part, head)..][..self.channels * self.pixels])
    }

    fn scratch(self) -> Scratch {
        let [shares, gradients, turned] = [(); 3].map(|()| vec![0.0; self.pixels * self.pixels]);
        Scratch { shares, gradients, turned }
    }

    /// `[N, heads channels, pixels]` from queries, keys and values `[N, 3 heads channels, pixels]`.
    pub(super) fn forward(self, x: &[f32]) -> Vec<f32> {
        let mut y = zeros(x.len() / 3);
        let pictures = y.par_chunks_exact_mut(self.len()).zip(x.par_chunks_exact(3 * self.len()));
        pictures.for_each_init(
            || self.scratch(),
            |scratch, (y, x)| {
                for (head, y) in y.chunks_exact_mut(self.channels * self.pixels).enumerate() {
                    let [_, _, values] = self.parts(x, head);
                    self.share(x, head, &mut scratch.shares);
                    self.product(values, [self.pixels, 1], &scratch.shares, y);
                }
            },
        );
        y
    }

    /// The gradient of `x` that follows from the answer's.
    pub(super) fn backward(self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let mut dx = zeros(x.len());
        let pictures = x.par_chunks_exact(3 * self.len()).zip(gradient.par_chunks_exact(self.len()));
        dx.par_chunks_exact_mut(3 * self.len()).zip(pictures).for_each_init(
            || self.scratch(),
            |scratch, (dx, (x, gradient))| {
                let len = self.channels * self.pixels;
                for (head, gradient) in gradient.chunks_exact(len).enumerate() {
                    let [queries, keys, values] = self.parts(x, head);
                    let mut to = |part: usize, factors: &[f32], matrix: &[f32]| {
                        let to = &mut dx[self.at(part, head)..][..len];
                        self.product(factors, [self.pixels, 1], matrix, to);
                    };
                    let Scratch { shares, gradients, turned } = scratch;
                    self.share(x, head, shares);
                    transpose(shares, turned, self.pixels);
                    to(2, gradient, turned);
                    self.product(values, [1, self.pixels], gradient, gradients);
                    let scale = 1.0 / (self.channels as f32).sqrt();
                    self.arch.dispatch(Slope { shares, gradients, pixels: self.pixels, scale });
                    to(0, keys, gradients);
                    transpose(gradients, turned, self.pixels);
                    to(1, queries, turned);
                }
            },
        );
        dx
    }

    /// What every query takes of every value.
    fn share(self, x: &[f32], head: usize, shares: &mut [f32]) {
        let [queries, keys, _] = self.parts(x, head);
        self.product(keys, [1, self.pixels], queries, shares);
        let scale = 1.0 / (self.channels as f32).sqrt();
        self.arch.dispatch(Softmax { scores: shares, pixels: self.pixels, scale });
    }

    /// `to[r] = Σ factors[r, s] matrix[s]` for rows of pixels; `strides` from one `r`, and one `s`, to the next.
    fn product(self, factors: &[f32], strides: [usize; 2], matrix: &[f32], to: &mut [f32]) {
        self.arch.dispatch(Product { factors, strides, matrix, to, pixels: self.pixels });
    }
}

/// `[a][b]` to `[b][a]`, square by square so that both stay in a cache.
fn transpose(from: &[f32], to: &mut [f32], side: usize) {
    const SQUARE: usize = 16;
    for top in (0..side).step_by(SQUARE) {
        for left in (0..side).step_by(SQUARE) {
            for y in top..top + SQUARE {
                for x in left..left + SQUARE {
                    to[x * side + y] = from[y * side + x];
                }
            }
        }
    }
}

struct Product<'a> {
    factors: &'a [f32],
    strides: [usize; 2],
    matrix: &'a [f32],
    to: &'a mut [f32],
    pixels: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        let (vectors, rows) = (this.pixels / S::F32_LANES, this.to.len() / this.pixels);
        let mut row = 0;
        while row < rows {
            let mut at = 0;
            while at < vectors {
                match (rows - row, vectors - at) {
                    (4.., 4..) => this.block::<S, 4, 4>(simd, row, at),
                    (4.., _) => this.block::<S, 4, 1>(simd, row, at),
                    (_, 4..) => this.block::<S, 1, 4>(simd, row, at),
                    _ => this.block::<S, 1, 1>(simd, row, at),
                }
                at += if vectors - at >= 4 { 4 } else { 1 };
            }
            row += if rows - row >= 4 { 4 } else { 1 };
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn block<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, row: usize, at: usize) {
        let vectors = self.pixels / S::F32_LANES;
        let [by_row, by_sum] = self.strides;
        let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
        let lines = S::as_simd_f32s(self.matrix).0.chunks_exact(vectors);
        for (s, line) in lines.enumerate() {
            let line = &line[at..at + NV];
            for m in 0..MR {
                let factor = simd.splat_f32s(self.factors[(row + m) * by_row + s * by_sum]);
                for v in 0..NV {
                    sums[m][v] = simd.mul_add_f32s(factor, line[v], sums[m][v]);
                }
            }
        }
        for m in 0..MR {
            let to = &mut self.to[(row + m) * self.pixels..][..self.pixels];
            S::as_mut_simd_f32s(to).0[at..at + NV].copy_from_slice(&sums[m]);
        }
    }
}

/// Every column of scores to shares of one.
struct Softmax<'a> {
    scores: &'a mut [f32],
    pixels: usize,
    scale: f32,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.pixels / S::F32_LANES;
        let (scores, scale) = (S::as_mut_simd_f32s(self.scores).0, simd.splat_f32s(self.scale));
        for at in 0..vectors {
            let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
            for line in scores.chunks_exact(vectors) {
                largest = simd.max_f32s(largest, line[at]);
            }
            let mut sum = simd.splat_f32s(0.0);
            for line in scores.chunks_exact_mut(vectors) {
                let [value, power] = exp(simd, simd.mul_f32s(scale, simd.sub_f32s(line[at], largest)));
                line[at] = simd.mul_f32s(value, power);
                sum = simd.add_f32s(sum, line[at]);
            }
            let share = simd.div_f32s(simd.splat_f32s(1.0), sum);
            for line in scores.chunks_exact_mut(vectors) {
                line[at] = simd.mul_f32s(line[at], share);
            }
        }
    }
}

/// Gradients of shares to those of scores, column by column.
struct Slope<'a> {
    shares: &'a [f32],
    gradients: &'a mut [f32],
    pixels: usize,
    scale: f32,
}

impl WithSimd for Slope<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.pixels / S::F32_LANES;
        let (shares, scale) = (S::as_simd_f32s(self.shares).0, simd.splat_f32s(self.scale));
        let gradients = S::as_mut_simd_f32s(self.gradients).0;
        for at in 0..vectors {
            let mut mean = simd.splat_f32s(0.0);
            for (share, gradient) in shares.chunks_exact(vectors).zip(gradients.chunks_exact(vectors)) {
                mean = simd.mul_add_f32s(share[at], gradient[at], mean);
            }
            for (share, gradient) in shares.chunks_exact(vectors).zip(gradients.chunks_exact_mut(vectors)) {
                let apart = simd.sub_f32s(gradient[at], mean);
                gradient[at] = simd.mul_f32s(simd.mul_f32s(share[at], scale), apart);
            }
        }
    }
}
