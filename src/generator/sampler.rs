//! Samplers as step functions: the caller owns the loop, so it can stop, count and show progress.

use burn::tensor::{Device, Tensor, TensorData};

use super::Generator;
use super::noise::{Purpose, normal_noise};
use crate::checkpoint::PreconditioningName;
use crate::image::ImageBatch;

/// One batch on its way from noise to pictures.
#[derive(Debug)]
pub struct Sampling {
    /// State, `[N, C, H, W]`, generator units.
    x: Tensor<4>,
    labels: Vec<usize>,
    sigmas: Vec<f64>,
    position: usize,
}

impl Sampling {
    /// Starts from unit noise `[N, C, H, W]`, which is scaled by the first level.
    ///
    /// `sigmas` are the levels at which the network is called; for EDM models they end with 0.
    ///
    /// # Panics
    /// When `sigmas` is empty or the noise does not fit the generator.
    #[must_use]
    pub fn new(generator: &Generator, noise: Vec<f32>, labels: Vec<usize>, sigmas: Vec<f64>, device: &Device) -> Self {
        assert!(!sigmas.is_empty(), "at least one noise level");
        let [c, h, w] = generator.sample_shape();
        let n = noise.len() / (c * h * w);
        let x = Tensor::from_data(TensorData::new(noise, [n, c, h, w]), device) * sigmas[0];
        Self { x, labels, sigmas, position: 0 }
    }

    /// Number of steps in all.
    #[must_use]
    pub fn steps(&self, generator: &Generator) -> usize {
        match generator.preconditioning() {
            PreconditioningName::Consistency => self.sigmas.len(),
            PreconditioningName::Edm => self.sigmas.len() - 1,
        }
    }

    /// Takes one step; returns true when it was the last.
    ///
    /// `noise` is asked for the unit noise of a step, `[N, C, H, W]` row-major, when the sampler needs some.
    pub fn step(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) -> bool {
        match generator.preconditioning() {
            PreconditioningName::Consistency => self.consistency_step(generator, noise),
            PreconditioningName::Edm => self.heun_step(generator),
        }
        self.position += 1;
        self.position == self.steps(generator)
    }

    /// Multistep consistency sampling (Song et al. 2023, Algorithm 1); with one level, one-step sampling.
    fn consistency_step(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) {
        let denoised = self.denoise(generator, self.x.clone(), self.sigmas[self.position]);
        self.x = match self.sigmas.get(self.position + 1) {
            None => denoised,
            Some(next) => {
                let sigma_min = generator.diffusion().sigma_min;
                let scale = (next * next - sigma_min * sigma_min).max(0.0).sqrt();
                let step = u32::try_from(self.position + 1).expect("few steps");
                let noise = TensorData::new(noise(step), self.x.dims());
                denoised + Tensor::from_data(noise, &self.x.device()) * scale
            }
        };
    }

    /// Karras et al. 2022, Algorithm 1 (Heun without churn); Euler on the last interval.
    fn heun_step(&mut self, generator: &Generator) {
        let (sigma, next) = (self.sigmas[self.position], self.sigmas[self.position + 1]);
        let slope = |x: &Tensor<4>, denoised: Tensor<4>, sigma: f64| (x.clone() - denoised) / sigma;
        let first = slope(&self.x, self.denoise(generator, self.x.clone(), sigma), sigma);
        let euler = self.x.clone() + first.clone() * (next - sigma);
        self.x = if next > 0.0 {
            let second = slope(&euler, self.denoise(generator, euler.clone(), next), next);
            self.x.clone() + (first + second) * (0.5 * (next - sigma))
        } else {
            euler
        };
    }

    /// The denoised pictures, clamped to `[-1, 1]` as the original's `clip_denoised` does.
    fn denoise(&self, generator: &Generator, x: Tensor<4>, sigma: f64) -> Tensor<4> {
        let n = self.labels.len();
        generator.denoise(x, &vec![sigma; n], &self.labels).clamp(-1.0, 1.0)
    }

    /// The state as pictures in `[0, 1]`: the one place where generator units end.
    ///
    /// # Errors
    /// When the device fails.
    pub fn images(&self) -> Result<ImageBatch, super::GenerateError> {
        let shape = self.x.dims();
        let data = self.x.clone().clamp(-1.0, 1.0).try_into_data().map_err(super::GenerateError::device)?;
        let mut pixels =
            data.try_into_vec::<f32>().map_err(|cause| super::GenerateError::Device(format!("{cause:?}")))?;
        for value in &mut pixels {
            *value = (*value + 1.0) * 0.5;
        }
        Ok(ImageBatch::new(shape, pixels))
    }
}

/// Samples a whole batch from seeds, calling `progress(done, all)` after every step; `None` when that returns false.
///
/// # Errors
/// [`super::GenerateError`] when the device fails.
pub fn sample(
    generator: &Generator,
    seeds: &[u64],
    labels: &[usize],
    sigmas: &[f64],
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<ImageBatch>, super::GenerateError> {
    let [c, h, w] = generator.sample_shape();
    let initial = normal_noise(seeds, Purpose::Sampling(0), c * h * w);
    let mut sampling = Sampling::new(generator, initial, labels.to_vec(), sigmas.to_vec(), device);
    let all = sampling.steps(generator);
    for done in 1..=all {
        sampling.step(generator, &mut |step| normal_noise(seeds, Purpose::Sampling(step), c * h * w));
        if !progress(done, all) {
            return Ok(None);
        }
    }
    sampling.images().map(Some)
}
