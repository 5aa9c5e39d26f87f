//! Samplers as step functions: the caller owns the loop, so it can stop, count and show progress.
//!
//! # Source
//! openai/consistency_models, `cm/karras_diffusion.py`; every denoised picture is clamped to `[-1, 1]` there, and so it
//! is here (`clip_denoised`).

use burn::tensor::{Device, Tensor, TensorData};

use super::plan::Plan;
use super::settings::SamplerKind;
use super::{GenerateError, Generator};
use crate::image::ImageBatch;

/// One batch on its way from noise to pictures.
#[derive(Debug)]
pub struct Sampling {
    /// State, `[N, C, H, W]`, generator units.
    x: Tensor<4>,
    labels: Vec<usize>,
    plan: Plan,
    position: usize,
}

impl Sampling {
    /// Starts from unit noise `[N, C, H, W]`, which is scaled by the first level.
    ///
    /// # Panics
    /// When the plan has no step or the noise does not fit the generator.
    #[must_use]
    pub fn new(generator: &Generator, noise: Vec<f32>, labels: Vec<usize>, mut plan: Plan, device: &Device) -> Self {
        plan.sampler = plan.sampler.resolve(generator.preconditioning());
        assert!(plan.steps() > 0, "at least one step");
        let [c, h, w] = generator.sample_shape();
        let n = noise.len() / (c * h * w);
        let x = Tensor::from_data(TensorData::new(noise, [n, c, h, w]), device) * plan.sigmas[0];
        Self { x, labels, plan, position: 0 }
    }

    /// Number of steps in all.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.plan.steps()
    }

    /// Takes one step; returns true when it was the last.
    ///
    /// `noise` is asked for the unit noise of a step, `[N, C, H, W]` row-major, when the sampler needs some; the first
    /// step's has the number 1, because 0 is the initial noise.
    pub fn step(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) -> bool {
        match self.plan.sampler {
            SamplerKind::Auto | SamplerKind::Multistep => self.multistep(generator, noise),
            SamplerKind::Heun => self.heun(generator, noise),
            SamplerKind::Dpm => self.dpm(generator, noise),
            SamplerKind::Euler | SamplerKind::Progdist => self.euler(generator),
            SamplerKind::Ancestral => self.ancestral(generator, noise),
        }
        self.position += 1;
        self.position == self.steps()
    }

    /// Multistep consistency sampling (Song et al. 2023, Algorithm 1); with one level, one-step sampling.
    fn multistep(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) {
        self.x = generator.denoise_clamped(self.x.clone(), self.plan.sigmas[self.position], &self.labels);
        if let Some(next) = self.plan.sigmas.get(self.position + 1).copied() {
            self.add_noise(noise, renoising(generator, next));
        }
    }

    /// Karras et al. 2022, Algorithm 2 (Heun's method, with churn); Euler on an interval that ends at 0.
    fn heun(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) {
        let sigma = self.churn(noise);
        let next = self.next_level();
        let first = self.slope(generator, &self.x, sigma);
        let euler = self.x.clone() + first.clone() * (next - sigma);
        self.x = if next > 0.0 {
            let second = self.slope(generator, &euler, next);
            self.x.clone() + (first + second) * (0.5 * (next - sigma))
        } else {
            euler
        };
    }

    /// DPM-Solver-2 with churn: the slope at the middle of the interval, which is the middle of a Karras schedule with
    /// exponent 3, also when the interval ends at 0.
    fn dpm(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) {
        let sigma = self.churn(noise);
        let next = self.next_level();
        let middle = (0.5 * (sigma.cbrt() + next.cbrt())).powi(3);
        let first = self.slope(generator, &self.x, sigma);
        let x = self.x.clone() + first * (middle - sigma);
        self.x = self.x.clone() + self.slope(generator, &x, middle) * (next - sigma);
    }

    /// Euler's method.
    fn euler(&mut self, generator: &Generator) {
        let (sigma, next) = (self.plan.sigmas[self.position], self.next_level());
        self.x = self.x.clone() + self.slope(generator, &self.x, sigma) * (next - sigma);
    }

    /// Ancestral sampling with Euler's method: down to below the next level, then noise up to it.
    fn ancestral(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) {
        let (sigma, next) = (self.plan.sigmas[self.position], self.next_level());
        let (down, up) = ancestral_levels(sigma, next);
        self.x = self.x.clone() + self.slope(generator, &self.x, sigma) * (down - sigma);
        self.add_noise(noise, up);
    }

    /// Level at which the current step ends.
    fn next_level(&self) -> f64 {
        self.plan.sigmas[self.position + 1]
    }

    /// `dx / d sigma`, the direction of the probability-flow ODE.
    fn slope(&self, generator: &Generator, x: &Tensor<4>, sigma: f64) -> Tensor<4> {
        (x.clone() - generator.denoise_clamped(x.clone(), sigma, &self.labels)) / sigma
    }

    /// Adds the noise of the plan's churn; returns the level that the state then has.
    fn churn(&mut self, noise: &mut dyn FnMut(u32) -> Vec<f32>) -> f64 {
        let sigma = self.plan.sigmas[self.position];
        let gamma = self.plan.churn.gamma(sigma, self.steps());
        let raised = sigma * (1.0 + gamma);
        self.add_noise(noise, self.plan.churn.noise * (raised * raised - sigma * sigma).sqrt());
        raised
    }

    /// Adds the current step's noise times `scale`; asks for none when that is 0.
    fn add_noise(&mut self, noise: &mut dyn FnMut(u32) -> Vec<f32>, scale: f64) {
        self.x = add_noise(self.x.clone(), self.position, noise, scale);
    }

    /// The state, `[N, C, H, W]` in generator units; neither clamped nor copied to the host.
    #[must_use]
    pub const fn state(&self) -> &Tensor<4> {
        &self.x
    }

    /// The state as pictures in `[0, 1]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn images(&self) -> Result<ImageBatch, GenerateError> {
        to_images(&self.x)
    }
}

/// `sigma_down` and `sigma_up`, with `sigma_up² = next² (sigma² - next²) / sigma²`, `sigma_down² = next² - sigma_up²`.
fn ancestral_levels(sigma: f64, next: f64) -> (f64, f64) {
    let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).max(0.0).sqrt();
    ((next * next - up * up).max(0.0).sqrt(), up)
}

/// Noise that takes a clean picture of a consistency model to level `next`: `sqrt(next² - sigma_min²)`.
pub(super) fn renoising(generator: &Generator, next: f64) -> f64 {
    let sigma_min = generator.diffusion().sigma_min;
    (next * next - sigma_min * sigma_min).max(0.0).sqrt()
}

/// `x` plus the noise of the step at `position` times `scale`; asks for none when that is 0.
pub(super) fn add_noise(
    x: Tensor<4>,
    position: usize,
    noise: &mut dyn FnMut(u32) -> Vec<f32>,
    scale: f64,
) -> Tensor<4> {
    if scale == 0.0 {
        return x;
    }
    let step = u32::try_from(position + 1).expect("few steps");
    let draw = TensorData::new(noise(step), x.dims());
    let draw = Tensor::from_data(draw, &x.device());
    x + draw * scale
}

/// Generator units as pictures in `[0, 1]`, clamped: the one place where generator units end.
pub(super) fn to_images(x: &Tensor<4>) -> Result<ImageBatch, GenerateError> {
    let shape = x.dims();
    let data = x.clone().clamp(-1.0, 1.0).try_into_data().map_err(GenerateError::device)?;
    let mut pixels = data.try_into_vec::<f32>().map_err(GenerateError::device)?;
    for value in &mut pixels {
        *value = (*value + 1.0) * 0.5;
    }
    Ok(ImageBatch::new(shape, pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestral_levels_add_up_to_the_next_level() {
        for (sigma, next) in [(80.0, 24.4), (1.0, 0.999), (0.5, 0.002)] {
            let (down, up) = ancestral_levels(sigma, next);
            assert!(((down * down + up * up).sqrt() - next).abs() < 1e-12, "{sigma}, {next}");
            // Both roots written out: down = next² / sigma.
            assert!((down - next * next / sigma).abs() < 1e-9, "{sigma}, {next}: {down}");
        }
        assert_eq!(ancestral_levels(0.5, 0.0), (0.0, 0.0));
    }
}
