//! Generators: a network, its preconditioning, its noise levels; pictures in `[0, 1]` come out.
//!
//! Inside, pictures live in `[-1, 1]`: [`editing::Editing::new`] takes them there, `sampler.rs` alone takes them back.

pub mod edit_settings;
pub mod editing;
pub mod interpolation;
pub mod making;
pub mod mask;
pub mod plan;
pub mod preconditioning;
pub mod sampler;
pub mod schedule;
pub mod settings;
pub mod time_steps;

use burn::tensor::{Device, Tensor};

pub use self::edit_settings::{EditSettings, EditTask};
pub use self::making::{EditInput, Making};
pub use self::mask::{Mask, MaskError};
pub use self::plan::{Churn, Plan};
use self::preconditioning::Preconditioning;
pub use self::settings::{Classes, GenerateSettings, SamplerKind};
pub use self::time_steps::{TS_PRESETS, TimeSteps, TimeStepsError, TsPreset};
use crate::checkpoint::{CheckpointError, LoadReport, Weights};
use crate::net::unet::{Frozen, Unet};
use crate::net::{Roofline, StepTime};
use crate::zoo::{DiffusionManifest, Manifest, ManifestKind, PreconditioningName};

/// Why pictures could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The device failed.
    #[error("the compute device failed while generating: choose another device or fewer samples at once")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The network's values are no numbers.
    #[error(
        "the generator makes values that are not finite numbers in {broken} of {count} pictures: its weights are broken, so fetch its file again or choose another generator; on a GPU try --device cpu too"
    )]
    NotFinite {
        /// Pictures with such a value.
        broken: usize,
        /// Pictures in all.
        count: usize,
    },
    /// A sampler that does not fit the model.
    #[error("the sampler multistep needs a consistency model, which this is not: choose auto or heun")]
    Sampler,
    /// An edit without a picture.
    #[error("there is no picture to edit: open one, or generate some")]
    NoPicture,
    /// Inpainting without a mask.
    #[error("inpainting needs a mask, but there is none: paint one over the pixels to be generated")]
    NoMask,
    /// A picture of another size than the generator's.
    #[error(
        "the picture is {}, but the generator makes {}: open a picture of that size, or choose another generator",
        size(found),
        size(expected)
    )]
    PictureSize {
        /// `[C, H, W]` of the picture.
        found: [usize; 3],
        /// `[C, H, W]` of the generator's pictures.
        expected: [usize; 3],
    },
    /// Patches that do not tile the picture.
    #[error(
        "patches of {patch} x {patch} pixels do not tile a picture of {width} x {height}: choose a side that divides both"
    )]
    Patch {
        /// Side of a patch.
        patch: usize,
        /// Rows of the picture.
        height: usize,
        /// Columns of the picture.
        width: usize,
    },
    /// Colours that are not red, green and blue.
    #[error(
        "colorization needs 3 colour channels, but the generator makes pictures with {channels} colour channels: choose another generator"
    )]
    Colour {
        /// Channels of the generator's pictures.
        channels: usize,
    },
}

/// "64 x 64 with 3 channels".
fn size([c, h, w]: &[usize; 3]) -> String {
    format!("{w} x {h} with {c} channels")
}

impl GenerateError {
    fn device(cause: impl std::fmt::Debug) -> Self {
        Self::Device(format!("{cause:?}").into())
    }
}

/// A generator, ready to denoise.
#[derive(Debug)]
pub struct Generator {
    net: Frozen,
    preconditioning: Preconditioning,
    sample_shape: [usize; 3],
    classes: Vec<String>,
}

impl Generator {
    /// Reads a generator's weights as its manifest describes them.
    ///
    /// # Errors
    /// [`CheckpointError`] when the manifest is a classifier's, the weights do not fit it, or their watch cancels.
    pub fn read(
        manifest: &Manifest,
        mut weights: Weights<'_>,
        device: &Device,
    ) -> Result<(Self, LoadReport), CheckpointError> {
        let (ManifestKind::Generator(spec), Some(config)) = (&manifest.kind, manifest.unet()) else {
            return Err(CheckpointError::Role {
                name: manifest.name.clone(),
                expected: "generator",
                found: manifest.role(),
            });
        };
        let net = Unet::load(config, &mut weights, device)?;
        let generator = Self::of(net, &spec.diffusion, manifest.shape(), manifest.classes.clone());
        Ok((generator, weights.report()))
    }

    /// A network as a generator of pictures of `[C, H, W]`, with names for its classes.
    #[must_use]
    pub fn of(net: Unet, diffusion: &DiffusionManifest, shape: [usize; 3], classes: Vec<String>) -> Self {
        let [_, height, width] = shape;
        let net = net.freeze([height, width]);
        Self { net, preconditioning: Preconditioning::new(diffusion), sample_shape: shape, classes }
    }

    /// `[C, H, W]` of a picture.
    #[must_use]
    pub const fn sample_shape(&self) -> [usize; 3] {
        self.sample_shape
    }

    /// Names of the classes; none for an unconditional generator.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What every step of the network takes with `n` pictures, where it is compiled ([`Frozen::profile`]).
    #[must_use]
    pub fn profile(&self, n: usize, rounds: usize, machine: &Roofline<'_>) -> Option<Vec<StepTime>> {
        let [_, height, width] = self.sample_shape;
        self.net.profile(n, [height, width], rounds, machine)
    }

    /// Whether a picture is the same to the last bit whatever is made beside it, so that several may go through in one.
    #[must_use]
    pub const fn sums_the_same_for_any_batch(&self) -> bool {
        self.net.sums_the_same_for_any_batch()
    }

    /// Bytes that one picture needs at the peak of a network call ([`Frozen::activation_bytes`]).
    #[must_use]
    pub fn activation_bytes(&self) -> u64 {
        let [_, h, w] = self.sample_shape;
        self.net.activation_bytes([h, w])
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.net.weight_bytes()
    }

    /// Noise levels and data scale.
    #[must_use]
    pub const fn diffusion(&self) -> &DiffusionManifest {
        self.preconditioning.diffusion()
    }

    /// Which preconditioning.
    #[must_use]
    pub const fn preconditioning(&self) -> PreconditioningName {
        self.diffusion().preconditioning
    }

    /// The preconditioned network `D(x, sigma, y)`, not clamped.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]` in generator units; one noise level and one label per sample (labels are ignored by an
    /// unconditional generator).
    #[must_use]
    pub fn denoise(&self, x: Tensor<4>, sigmas: &[f64], labels: &[usize]) -> Tensor<4> {
        let labels = (!self.classes.is_empty()).then_some(labels);
        self.preconditioning.apply(x, sigmas, |x, times| self.net.forward(x, times, labels))
    }

    /// The denoised pictures at one noise level, clamped to `[-1, 1]` as the original's `clip_denoised` does.
    fn denoise_clamped(&self, x: Tensor<4>, sigma: f64, labels: &[usize]) -> Tensor<4> {
        let denoised = self.denoise(x, &vec![sigma; labels.len()], labels);
        // An infinite value would be clamped to one that looks right; 0 times it is none, and nothing to every other.
        (denoised.clone() + denoised * 0.0).clamp(-1.0, 1.0)
    }
}
