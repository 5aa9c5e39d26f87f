//! Random numbers that depend on the sample's seed alone: not on the batch, the device, or the release.
//!
//! The stream is `ChaCha20` (RFC 8439; the crate fixes its output): the key is the seed as little-endian 64-bit integer,
//! zero-padded to 32 bytes; the 64-bit nonce is the [`Purpose`]. A uniform number is the upper 53 bits of a 64-bit word,
//! divided by 2^53. Normal numbers come in pairs by Box-Muller in `f64` with libm's functions, then rounded to `f32`:
//! `r = sqrt(-2 ln(1 - u1))`, `r cos(2π u2)`, `r sin(2π u2)`.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What random numbers are for; every purpose has a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Noise of sampling step `n`; 0 is the initial noise.
    Sampling(u32),
    /// The class of a sample, when drawn at random.
    Label,
    /// The start inside the ball.
    RandomStart,
    /// Noise of the Langevin step that follows iteration `k`.
    Langevin(u32),
    /// The start of the `r`-th further try inside the ball, counted from 1.
    Restart(u32),
    /// Everything about one sample of one step of training.
    Training {
        /// The step, counted from 0.
        step: u32,
        /// The sample's place in the step's batch.
        sample: u16,
    },
    /// The order in which a training sees its pictures for the `e`-th time, counted from 0.
    Epoch(u32),
    /// The first values of the `i`-th tensor of a network.
    Weights(u32),
    /// Which pictures of a set are drawn, to see how a number of it varies.
    Resample,
}

impl Purpose {
    const fn nonce(self) -> u64 {
        match self {
            Self::Sampling(step) => step as u64,
            Self::Label => 1 << 32,
            Self::RandomStart => 2 << 32,
            Self::Langevin(iteration) => (3 << 32) | iteration as u64,
            Self::Restart(restart) => (4 << 32) | restart as u64,
            Self::Training { step, sample } => (1 << 48) | (step as u64) << 16 | sample as u64,
            Self::Epoch(epoch) => (2 << 48) | epoch as u64,
            Self::Weights(tensor) => (3 << 48) | tensor as u64,
            Self::Resample => 4 << 48,
        }
    }
}

/// The random numbers of one sample for one purpose.
#[derive(Debug)]
pub struct Stream(ChaCha20Rng);

impl Stream {
    /// The stream of `seed` for `purpose`, at its beginning.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha20Rng::from_seed(key);
        rng.set_stream(purpose.nonce());
        Self(rng)
    }

    /// Uniform in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
            let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
            values.push((radius * cos) as f32);
            values.push((radius * sin) as f32);
        }
        values.truncate(count);
        values
    }
}

/// Standard normal noise for a batch, `sample_len` values per seed.
#[must_use]
pub fn normal_noise(seeds: &[u64], purpose: Purpose, sample_len: usize) -> Vec<f32> {
    seeds.iter().flat_map(|seed| Stream::new(*seed, purpose).normal(sample_len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_same_noise_in_every_batch() {
        let batch = normal_noise(&[16, 17, 18], Purpose::Sampling(0), 10);
        assert_eq!(batch[10..20], normal_noise(&[17], Purpose::Sampling(0), 10));
        assert_ne!(batch[..10], batch[10..20]);
        assert_ne!(batch[..10], normal_noise(&[16], Purpose::Sampling(1), 10), "another step, another stream");
    }

    #[test]
    fn the_first_values_never_change() {
        // Computed once with an independent implementation of RFC 8439; see tests/golden/noise/README.md.
        let expected = include!("../tests/golden/noise/seed17.in");
        let values = Stream::new(17, Purpose::Sampling(0)).normal(expected.len());
        for (value, expected) in values.iter().zip(expected) {
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn moments_are_those_of_a_normal_distribution() {
        let values = Stream::new(0, Purpose::Sampling(0)).normal(100_000);
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / 1e5;
        let var = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.02, "{mean} {var}");
    }
}
