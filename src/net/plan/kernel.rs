//! The product that everything is made of: `MR` pixels by `NV` vectors of output channels.
//!
//! Every output is one chain of fused multiply-adds over taps and channels, in an order that the layer alone decides. So
//! its bits depend neither on the vectors' length nor on what else is computed beside it.
//!
//! No closures here: a closure inside [`pulp::WithSimd`] loses the instructions that it is compiled for.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::Simd;

/// Where the inputs of a tile lie: `runs` stretches of `run` values, each `row` values after the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    /// How many: rows of the kernel.
    pub(super) count: usize,
    /// Values of each, a multiple of 4: taps of a row times channels.
    pub(super) len: usize,
    /// From one to the next.
    pub(super) row: usize,
}

/// Sums of products for `MR` pixels, whose inputs begin at `from`, with `NV` vectors of output channels.
///
/// `weights`: `[count][len][NV]` vectors.
#[inline(always)]
pub(super) fn tile<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    x: &[f32],
    from: &[usize; MR],
    runs: Runs,
    weights: &[f32],
) -> [[S::f32s; NV]; MR] {
    let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
    let panel = runs.len * NV * S::F32_LANES;
    for run in 0..runs.count {
        let (weights, _) = S::as_simd_f32s(&weights[run * panel..(run + 1) * panel]);
        let (weights, _) = weights.as_chunks::<NV>();
        let (weights, _) = weights.as_chunks::<4>();
        let mut rows: [&[[f32; 4]]; MR] = [&[]; MR];
        for m in 0..MR {
            let start = from[m] + run * runs.row;
            rows[m] = &x[start..start + runs.len].as_chunks::<4>().0[..weights.len()];
        }
        for (j, weights) in weights.iter().enumerate() {
            for (k, weights) in weights.iter().enumerate() {
                for m in 0..MR {
                    let value = simd.splat_f32s(rows[m][j][k]);
                    for v in 0..NV {
                        sums[m][v] = simd.mul_add_f32s(value, weights[v], sums[m][v]);
                    }
                }
            }
        }
    }
    sums
}

/// Calls a method with the pixels and vectors of a tile for a panel of so many groups: sums fill the registers, 32 of 16
/// lanes, 16 of 8, 32 of 4.
macro_rules! by_width {
    ($simd:ty, $groups:expr, $this:ident.$method:ident($($argument:expr),*)) => {
        match (<$simd>::F32_LANES, $groups) {
            (16, 4) => $this.$method::<$simd, 6, 4>($($argument),*),
            (16, 3) => $this.$method::<$simd, 8, 3>($($argument),*),
            (16, 2) => $this.$method::<$simd, 10, 2>($($argument),*),
            (16, _) => $this.$method::<$simd, 8, 1>($($argument),*),
            (8, _) => $this.$method::<$simd, 6, 2>($($argument),*),
            (4, _) => $this.$method::<$simd, 6, 4>($($argument),*),
            _ => $this.$method::<$simd, 1, 16>($($argument),*),
        }
    };
}
pub(in crate::net) use by_width;
