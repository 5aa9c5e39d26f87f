//! What this machine could do at most: products from registers, values from memory (Williams, Waterman, Patterson 2009).

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

/// Chains of fused multiply-adds that do not wait for each other: more than a core has under way.
const CHAINS: usize = 12;
/// Links of every chain.
const LINKS: usize = 4_000_000;
/// Values of each of three arrays, 64 MiB: more than caches hold.
const VALUES: usize = 16 << 20;
/// Values that a thread copies before it asks for more.
const PART: usize = 1 << 18;
/// The best of so many: others use the machine too.
const TRIES: usize = 5;

/// Limits that were measured, with all threads, and the clock that they were measured by.
#[derive(Clone, Copy)]
pub struct Roofline<'a> {
    /// Floating-point operations per second; a fused multiply-add is two.
    pub flops: f64,
    /// Bytes per second that are read and written by `a = b + s c` (McCalpin's triad).
    pub bytes: f64,
    pub(super) clock: &'a dyn Fn() -> f64,
}

impl std::fmt::Debug for Roofline<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Roofline").field("flops", &self.flops).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<'a> Roofline<'a> {
    /// Measures for about a second by a clock of seconds.
    #[must_use]
    pub fn measure(clock: &'a dyn Fn() -> f64) -> Self {
        let best = |work: &mut dyn FnMut() -> f64| (0..TRIES).map(|_| work()).fold(0.0, f64::max);
        Self { flops: best(&mut || products(clock)), bytes: triads(clock), clock }
    }

    /// The least seconds for so many operations and bytes.
    #[must_use]
    pub fn seconds(self, flops: f64, bytes: f64) -> f64 {
        (flops / self.flops).max(bytes / self.bytes)
    }
}

fn products(clock: &dyn Fn() -> f64) -> f64 {
    let (arch, start) = (Arch::new(), clock());
    let flops: f64 = rayon::broadcast(|_| arch.dispatch(Chains)).iter().sum();
    flops / (clock() - start)
}

struct Chains;

impl WithSimd for Chains {
    type Output = f64;

    /// How many operations were done.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let mut sums = [simd.splat_f32s(1.0); CHAINS];
        let (factor, summand) =
            (simd.splat_f32s(std::hint::black_box(0.5)), simd.splat_f32s(std::hint::black_box(0.25)));
        for _ in 0..LINKS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, summand);
            }
        }
        std::hint::black_box(&mut sums);
        (2 * CHAINS * LINKS * S::F32_LANES) as f64
    }
}

fn triads(clock: &dyn Fn() -> f64) -> f64 {
    let mut arrays = [vec![0.0_f32; VALUES], vec![1.0; VALUES], vec![2.0; VALUES]];
    let [a, b, c] = &mut arrays;
    let mut best = 0.0_f64;
    for _ in 0..TRIES {
        let start = clock();
        let parts = a.par_chunks_mut(PART).zip(b.par_chunks(PART).zip(c.par_chunks(PART)));
        parts.for_each(|(a, (b, c))| {
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = b + 3.0 * c;
            }
        });
        best = best.max((3 * size_of::<f32>() * VALUES) as f64 / (clock() - start));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_sums_and_memory_limits() {
        let machine = Roofline { flops: 100.0, bytes: 10.0, clock: &|| 0.0 };
        assert_eq!((machine.seconds(200.0, 1.0), machine.seconds(1.0, 40.0)), (2.0, 4.0));
    }
}
