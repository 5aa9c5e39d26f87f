//! Generators: a network, its preconditioning, its noise levels; pictures in `[0, 1]` come out.
//!
//! Inside, pictures live in `[-1, 1]`; [`sampler::Sampling::images`] is the only place that converts.

pub mod noise;
pub mod preconditioning;
pub mod sampler;
pub mod schedule;
pub mod settings;

use burn::tensor::{Device, Tensor, TensorData};

pub use self::settings::{Classes, GenerateSettings};
use crate::checkpoint::{
    Checkpoint, CheckpointError, DiffusionManifest, LoadReport, Manifest, ManifestKind, PreconditioningName, Weights,
};
use crate::net::unet::{Unet, UnetConfig};

/// Why pictures could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The device failed.
    #[error("the compute device failed while generating: choose another device or fewer samples at once ({0})")]
    Device(String),
}

impl GenerateError {
    fn device(cause: impl std::fmt::Debug) -> Self {
        Self::Device(format!("{cause:?}"))
    }
}

/// A generator, ready to denoise.
#[derive(Debug)]
pub struct Generator {
    net: Unet,
    diffusion: DiffusionManifest,
    sample_shape: [usize; 3],
    num_classes: Option<usize>,
}

impl Generator {
    /// Reads a generator's weights as its manifest describes them.
    ///
    /// # Errors
    /// [`CheckpointError`] when the manifest is a classifier's or the weights do not fit it.
    pub fn load(
        manifest: &Manifest,
        checkpoint: &Checkpoint,
        device: &Device,
    ) -> Result<(Self, LoadReport), CheckpointError> {
        let ManifestKind::Generator(spec) = &manifest.kind else {
            return Err(CheckpointError::Role {
                name: manifest.name.clone(),
                expected: "generator",
                found: manifest.role(),
            });
        };
        let num_classes = (!manifest.classes.is_empty()).then_some(manifest.classes.len());
        let config = UnetConfig { arch: spec.unet.clone(), channels: manifest.channels, num_classes };
        let mut weights = Weights::new(checkpoint);
        let net = Unet::load(config, &mut weights, device)?;
        let sample_shape = [manifest.channels, manifest.resolution, manifest.resolution];
        Ok((Self { net, diffusion: spec.diffusion.clone(), sample_shape, num_classes }, weights.report()))
    }

    /// `[C, H, W]` of a picture.
    #[must_use]
    pub const fn sample_shape(&self) -> [usize; 3] {
        self.sample_shape
    }

    /// Number of classes; `None` for an unconditional generator.
    #[must_use]
    pub const fn num_classes(&self) -> Option<usize> {
        self.num_classes
    }

    /// Noise levels and data scale.
    #[must_use]
    pub const fn diffusion(&self) -> &DiffusionManifest {
        &self.diffusion
    }

    /// Which preconditioning, and so which sampler.
    #[must_use]
    pub const fn preconditioning(&self) -> PreconditioningName {
        self.diffusion.preconditioning
    }

    /// The preconditioned network `D(x, sigma, y)`, not clamped.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]` in generator units; one noise level and one label per sample (labels are ignored by an
    /// unconditional generator).
    #[must_use]
    pub fn denoise(&self, x: Tensor<4>, sigmas: &[f64], labels: &[usize]) -> Tensor<4> {
        let device = x.device();
        let coefficients: Vec<_> =
            sigmas.iter().map(|sigma| preconditioning::coefficients(&self.diffusion, *sigma)).collect();
        let column = |value: &dyn Fn(&preconditioning::Coefficients) -> f64| {
            let values: Vec<f32> = coefficients.iter().map(|c| value(c) as f32).collect();
            Tensor::<4>::from_data(TensorData::new(values, [sigmas.len(), 1, 1, 1]), &device)
        };
        let times: Vec<f32> = coefficients.iter().map(|c| c.time).collect();
        let labels = self.num_classes.map(|_| labels);
        let raw = self.net.forward(x.clone() * column(&|c| c.c_in), &times, labels);
        raw * column(&|c| c.c_out) + x * column(&|c| c.c_skip)
    }
}
