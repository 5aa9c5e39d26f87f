//! Attention between the pixels of a map, head by head: `softmax(Q K^T) V` for a few pixels at a time, so that there are
//! never more scores than theirs.

#![expect(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "only what is inlined is compiled for the vectors that are there, and iterators over several arrays are not unrolled"
)]

use std::cell::RefCell;

use pulp::{Arch, Simd, WithSimd};

use super::finish::exp;
use super::kernel::{Runs, by_width, tile};
use super::lanes;
use super::map::{Block, GROUP, Map};
use super::pack::widths;

/// Pixels whose answers a thread computes in one go: enough for the packing of keys and values not to count.
pub(super) const BLOCK: usize = 1 << 10;
/// Pixels whose scores are held at once: whole tiles of the products' kernel.
const QUERIES: usize = 24;

/// Which channels are whose, in a map of queries, keys and values: `[Q | K | V]`, each `[heads][width]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct Attention {
    heads: usize,
    /// Channels of a head, whole groups.
    pub(in crate::net) width: usize,
}

thread_local! {
    /// Keys, values and scores, kept from block to block.
    static SCRATCH: RefCell<[Vec<f32>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

impl Attention {
    /// Of so many heads of so many channels, whose queries are scaled already.
    pub(in crate::net) const fn new(heads: usize, channels: usize) -> Self {
        Self { heads, width: channels.next_multiple_of(GROUP) }
    }

    /// Channels of the answer.
    pub(super) const fn channels(self) -> usize {
        self.heads * self.width
    }

    /// The answers to the pixels of a block; `y` is its part, which begins at `start`.
    pub(super) fn run(
        self,
        arch: Arch,
        block: &Block,
        (x, from): (&[f32], Map),
        (y, to, start): (&mut [f32], Map, usize),
    ) {
        let padded = (from.height * from.width).next_multiple_of(GROUP);
        let panels = |groups: usize| -> Vec<[usize; 2]> {
            let mut first = 0;
            let panels = widths(groups, lanes(arch)).into_iter().map(|groups| {
                first += groups;
                [first - groups, groups]
            });
            panels.collect()
        };
        let (key_panels, value_panels) = (panels(padded / GROUP), panels(self.width / GROUP));
        SCRATCH.with_borrow_mut(|[keys, values, scores]| {
            keys.resize(self.width * padded, 0.0);
            values.resize(self.width * padded, 0.0);
            scores.resize(QUERIES * padded, 0.0);
            for picture in block.pictures.clone() {
                for head in 0..self.heads {
                    let at = |pixel: usize, part: usize| {
                        let pixel = from.at((pixel / from.width) as isize, (pixel % from.width) as isize);
                        picture * from.len() + pixel + (part * self.heads + head) * self.width
                    };
                    self.pack(
                        (x, &at),
                        (from.height * from.width, padded),
                        [&key_panels, &value_panels],
                        [keys, values],
                    );
                    let (rows, columns) = (block.rows.clone(), from.width);
                    let queries: Vec<usize> = (rows.start * columns..rows.end * columns).collect();
                    let to_at = |pixel: usize| {
                        let pixel = to.at((pixel / columns) as isize, (pixel % columns) as isize);
                        picture * to.len() + pixel + head * self.width - start
                    };
                    for queries in queries.chunks(QUERIES) {
                        let (mut from_at, mut out_at) = ([0; QUERIES], [0; QUERIES]);
                        for (i, query) in queries.iter().enumerate() {
                            (from_at[i], out_at[i]) = (at(*query, 0), to_at(*query));
                        }
                        arch.dispatch(Job {
                            x,
                            queries: &from_at[..queries.len()],
                            width: self.width,
                            pixels: from.height * from.width,
                            keys: (keys, &key_panels),
                            values: (values, &value_panels),
                            scores,
                            y,
                            answers: &out_at,
                        });
                    }
                }
            }
        });
    }

    /// The keys as panels `[width][keys]`, the values as panels `[keys][width]`, as filters are.
    fn pack(
        self,
        (x, at): (&[f32], &dyn Fn(usize, usize) -> usize),
        (pixels, padded): (usize, usize),
        [key_panels, value_panels]: [&[[usize; 2]]; 2],
        [keys, values]: [&mut [f32]; 2],
    ) {
        for [first, groups] in key_panels {
            let (first, wide) = (first * GROUP, groups * GROUP);
            let panel = &mut keys[first * self.width..(first + wide) * self.width];
            for lane in 0..wide {
                if first + lane < pixels {
                    let start = at(first + lane, 1);
                    for (key, line) in x[start..start + self.width].iter().zip(panel.chunks_exact_mut(wide)) {
                        line[lane] = *key;
                    }
                } else {
                    panel.chunks_exact_mut(wide).for_each(|line| line[lane] = 0.0);
                }
            }
        }
        for pixel in 0..padded {
            let start = if pixel < pixels { Some(at(pixel, 2)) } else { None };
            for [first, groups] in value_panels {
                let (first, wide) = (first * GROUP, groups * GROUP);
                let line = &mut values[first * padded + pixel * wide..][..wide];
                match start {
                    Some(start) => line.copy_from_slice(&x[start + first..start + first + wide]),
                    None => line.fill(0.0),
                }
            }
        }
    }
}

/// The answers to a few pixels for one head.
struct Job<'a> {
    x: &'a [f32],
    /// Where their queries lie.
    queries: &'a [usize],
    width: usize,
    /// How many keys there are, without those that fill up a group.
    pixels: usize,
    keys: (&'a [f32], &'a [[usize; 2]]),
    values: (&'a [f32], &'a [[usize; 2]]),
    /// `[query][keys, padded]`
    scores: &'a mut [f32],
    y: &'a mut [f32],
    /// Where their answers are put.
    answers: &'a [usize],
}

impl WithSimd for Job<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        for panel in 0..this.keys.1.len() {
            by_width!(S, this.keys.1[panel][1], this.score(simd, panel));
        }
        let mut shares = [0.0; QUERIES];
        let padded = this.scores.len() / QUERIES;
        for (scores, share) in this.scores.chunks_exact_mut(padded).zip(&mut shares).take(this.queries.len()) {
            *share = 1.0 / exponentials(simd, scores, this.pixels);
        }
        for panel in 0..this.values.1.len() {
            by_width!(S, this.values.1[panel][1], this.mix(simd, panel, &shares));
        }
    }
}

impl Job<'_> {
    /// Queries times keys.
    #[inline(always)]
    fn score<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, panel: usize) {
        let [first, groups] = self.keys.1[panel];
        let weights = &self.keys.0[first * GROUP * self.width..(first + groups) * GROUP * self.width];
        let runs = Runs { count: 1, len: self.width, row: 0 };
        let padded = self.scores.len() / QUERIES;
        let mut at = 0;
        while at < self.queries.len() {
            let mut starts = [0; MR];
            for m in 0..MR {
                starts[m] = self.queries[(at + m).min(self.queries.len() - 1)];
            }
            let sums = tile::<S, MR, NV>(simd, self.x, &starts, runs, weights);
            for m in 0..MR.min(self.queries.len() - at) {
                let to = (at + m) * padded + first * GROUP;
                let out = &mut S::as_mut_simd_f32s(&mut self.scores[to..to + groups * GROUP]).0[..NV];
                for (out, sum) in out.iter_mut().zip(sums[m]) {
                    *out = sum;
                }
            }
            at += MR;
        }
    }

    /// Scores times values.
    #[inline(always)]
    fn mix<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, panel: usize, shares: &[f32; QUERIES]) {
        let [first, groups] = self.values.1[panel];
        let padded = self.scores.len() / QUERIES;
        let weights = &self.values.0[first * GROUP * padded..(first + groups) * GROUP * padded];
        let runs = Runs { count: 1, len: padded, row: 0 };
        let mut at = 0;
        while at < self.queries.len() {
            let mut starts = [0; MR];
            for m in 0..MR {
                starts[m] = (at + m).min(self.queries.len() - 1) * padded;
            }
            let sums = tile::<S, MR, NV>(simd, self.scores, &starts, runs, weights);
            for m in 0..MR.min(self.queries.len() - at) {
                let (to, share) = (self.answers[at + m] + first * GROUP, simd.splat_f32s(shares[at + m]));
                let out = &mut S::as_mut_simd_f32s(&mut self.y[to..to + groups * GROUP]).0[..NV];
                for (out, sum) in out.iter_mut().zip(sums[m]) {
                    *out = simd.mul_f32s(sum, share);
                }
            }
            at += MR;
        }
    }
}

/// Turns scores to exponentials of what they are less than the largest, of the first `count`; the rest become 0. Returns
/// their sum.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, scores: &mut [f32], count: usize) -> f32 {
    scores[count..].fill(f32::NEG_INFINITY);
    let (vectors, _) = S::as_mut_simd_f32s(scores);
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    for vector in &*vectors {
        largest = simd.max_f32s(largest, *vector);
    }
    let largest = simd.splat_f32s(simd.reduce_max_f32s(largest));
    for vector in vectors {
        let [sum, scale] = exp(simd, simd.sub_f32s(*vector, largest));
        *vector = simd.mul_f32s(sum, scale);
    }
    scores[count..].fill(0.0);
    let (vectors, _) = S::as_simd_f32s(scores);
    // As many sums on every processor, put together in one order.
    let mut sums = [0.0; GROUP];
    let (partial, _) = S::as_mut_simd_f32s(&mut sums);
    for group in vectors.chunks_exact(partial.len()) {
        for (sum, value) in partial.iter_mut().zip(group) {
            *sum = simd.add_f32s(*sum, *value);
        }
    }
    let mut sum = 0.0;
    for part in sums {
        sum += part;
    }
    sum
}
