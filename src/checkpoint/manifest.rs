//! The TOML record beside a checkpoint: what it holds and where it comes from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CheckpointError;

/// One model: its file, its network, and its origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Short name, used on the command line.
    pub name: String,
    /// Name in the window.
    pub title: String,
    /// File of the weights, relative to the manifest.
    pub file: String,
    /// SHA-256 of that file; checked when present.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Height and width of the pictures, in pixels.
    pub resolution: usize,
    /// Colour channels.
    #[serde(default = "three")]
    pub channels: usize,
    /// Class names in the order of the labels; empty for an unconditional generator.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Where the weights come from and how they were made.
    pub source: String,
    /// Terms of use.
    pub licence: String,
    /// What the model is for.
    #[serde(flatten)]
    pub kind: ManifestKind,
}

/// Levels of a U-Net, and the factor of each.
const MAX_LEVELS: usize = 16;
/// Channels of a layer, and blocks of a level or stage.
const MAX_WIDTH: usize = 16_384;

const fn three() -> usize {
    3
}

/// What a model does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ManifestKind {
    /// Makes pictures.
    Generator(GeneratorManifest),
    /// Judges pictures.
    Classifier(ClassifierManifest),
}

/// A generator's network and how it is preconditioned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorManifest {
    /// The network.
    pub unet: UnetManifest,
    /// Noise levels and preconditioning.
    pub diffusion: DiffusionManifest,
}

/// A classifier's network and its input normalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassifierManifest {
    /// The network.
    pub resnet: ResnetManifest,
    /// Mean per channel, subtracted from `[0, 1]` input.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, which the difference is divided by.
    pub std: Vec<f32>,
}

/// Constructor arguments of OpenAI's U-Net, by their original names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetManifest {
    /// Width of the first level.
    pub model_channels: usize,
    /// Residual blocks per level.
    pub num_res_blocks: usize,
    /// Width of each level as a multiple of `model_channels`.
    pub channel_mult: Vec<usize>,
    /// Downsample factors at which attention is used.
    pub attention_downsample: Vec<usize>,
    /// Channels per attention head.
    pub num_head_channels: usize,
    /// FiLM conditioning (scale and shift) instead of addition.
    #[serde(default = "yes")]
    pub use_scale_shift_norm: bool,
    /// Side of the blocks that are folded into channels before the network; 1 for OpenAI's own.
    #[serde(default = "one")]
    pub patch_size: usize,
}

const fn yes() -> bool {
    true
}

const fn one() -> usize {
    1
}

/// Which preconditioning the network was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreconditioningName {
    /// Consistency models: `f(x, sigma_min) = x`.
    Consistency,
    /// Karras et al. 2022.
    Edm,
}

/// Noise levels and preconditioning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionManifest {
    /// Which formulas.
    pub preconditioning: PreconditioningName,
    /// Standard deviation of the data, in `[-1, 1]` units.
    #[serde(default = "half")]
    pub sigma_data: f64,
    /// Smallest noise level.
    #[serde(default = "sigma_min")]
    pub sigma_min: f64,
    /// Largest noise level.
    #[serde(default = "sigma_max")]
    pub sigma_max: f64,
    /// Exponent of the Karras schedule.
    #[serde(default = "rho")]
    pub rho: f64,
    /// Intermediate noise level of two-step sampling.
    #[serde(default = "two_step_sigma")]
    pub two_step_sigma: f64,
}

const fn half() -> f64 {
    0.5
}
const fn sigma_min() -> f64 {
    0.002
}
const fn sigma_max() -> f64 {
    80.0
}
const fn rho() -> f64 {
    7.0
}
/// ts 0,22,39 of 40, the published two-step setting of consistency distillation on ImageNet-64.
const fn two_step_sigma() -> f64 {
    1.382_367_96
}

/// How a stage that changes size shortens its shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Strided 1x1 convolution, batch norm (torchvision): `downsample.0`, `downsample.1`.
    Conv,
    /// Average pool, 1x1 convolution, batch norm: `downsample.1`, `downsample.2`.
    Pool,
}

/// A residual network of basic blocks, with torchvision's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetManifest {
    /// Blocks per stage.
    pub blocks: Vec<usize>,
    /// Channels per stage.
    pub widths: Vec<usize>,
    /// Shortcut of stages that change size.
    pub shortcut: Shortcut,
    /// Side of the first convolution's kernel (3, stride 1, for small pictures).
    pub stem_kernel: usize,
    /// Stride of the first convolution.
    pub stem_stride: usize,
}

impl Manifest {
    /// Parses and checks a manifest; `path` only names it in errors.
    ///
    /// # Errors
    /// [`CheckpointError::Manifest`] for bad TOML, [`CheckpointError::ManifestValue`] for values that cannot be.
    pub fn parse(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let manifest: Self = toml::from_str(text)
            .map_err(|source| CheckpointError::Manifest { path: path.to_owned(), source: Box::new(source) })?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// "generator" or "classifier".
    #[must_use]
    pub const fn role(&self) -> &'static str {
        match self.kind {
            ManifestKind::Generator(_) => "generator",
            ManifestKind::Classifier(_) => "classifier",
        }
    }

    fn check(&self, path: &Path) -> Result<(), CheckpointError> {
        let fail = |what: String, expected: &str| {
            Err(CheckpointError::ManifestValue { path: path.to_owned(), what, expected: expected.to_owned() })
        };
        if !(1..=4096).contains(&self.resolution) {
            return fail(format!("resolution = {}", self.resolution), "it must be from 1 to 4096");
        }
        if !(1..=4).contains(&self.channels) {
            return fail(format!("channels = {}", self.channels), "it must be from 1 to 4");
        }
        if Path::new(&self.file).is_absolute() || self.file.contains("..") {
            return fail(format!("file = {:?}", self.file), "it must be a name beside the manifest");
        }
        match &self.kind {
            ManifestKind::Generator(generator) => generator.check(self.resolution, &fail),
            ManifestKind::Classifier(classifier) => {
                if classifier.mean.len() != self.channels || classifier.std.len() != self.channels {
                    return fail("a mean or std of another length".to_owned(), "there must be one value per channel");
                }
                if classifier.std.iter().any(|std| !std.is_finite() || *std <= 0.0) {
                    return fail(format!("std = {:?}", classifier.std), "every value must be positive");
                }
                let net = &classifier.resnet;
                if self.classes.is_empty() {
                    return fail("no classes".to_owned(), "a classifier needs the names of its classes");
                }
                let sizes = net.widths.iter().chain(&net.blocks).chain([&net.stem_kernel, &net.stem_stride]);
                if sizes.into_iter().any(|size| *size > MAX_WIDTH) || net.blocks.len() > MAX_LEVELS {
                    return fail("an enormous network".to_owned(), "sizes above 16384 are not accepted");
                }
                if net.blocks.is_empty() || net.blocks.len() != net.widths.len() || net.blocks.contains(&0) {
                    return fail(
                        format!("blocks = {:?} and widths = {:?}", net.blocks, net.widths),
                        "both need one positive number per stage",
                    );
                }
                if net.stem_kernel % 2 == 0 || net.stem_stride == 0 {
                    return fail(
                        format!("stem_kernel = {}", net.stem_kernel),
                        "it must be odd, and the stride positive",
                    );
                }
                Ok(())
            }
        }
    }
}

impl GeneratorManifest {
    fn check(
        &self,
        resolution: usize,
        fail: &dyn Fn(String, &str) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        let net = &self.unet;
        let levels = net.channel_mult.len();
        if !(1..=MAX_LEVELS).contains(&levels) || net.channel_mult.iter().any(|mult| !(1..=MAX_LEVELS).contains(mult)) {
            return fail(
                format!("channel_mult = {:?}", net.channel_mult),
                "it needs 1 to 16 factors, each from 1 to 16",
            );
        }
        let sizes = [net.model_channels, net.num_res_blocks, net.patch_size];
        if sizes.iter().any(|size| *size > MAX_WIDTH) {
            return fail(format!("a size of {sizes:?}"), "sizes above 16384 are not accepted");
        }
        let shrink = net.patch_size.max(1) << (net.channel_mult.len() - 1);
        if net.patch_size == 0 || !resolution.is_multiple_of(shrink) {
            return fail(
                format!(
                    "resolution = {resolution} with patch_size = {} and {} levels",
                    net.patch_size,
                    net.channel_mult.len()
                ),
                "the resolution must be divisible by patch_size * 2^(levels - 1)",
            );
        }
        if net.model_channels == 0 || !net.model_channels.is_multiple_of(32) {
            return fail(
                format!("model_channels = {}", net.model_channels),
                "it must be a multiple of 32 (group norm)",
            );
        }
        let heads = net.num_head_channels;
        if heads == 0 || net.channel_mult.iter().any(|mult| !(mult * net.model_channels).is_multiple_of(heads)) {
            return fail(format!("num_head_channels = {heads}"), "it must divide the channels of every level");
        }
        let noise = &self.diffusion;
        let ordered = 0.0 < noise.sigma_min && noise.sigma_min < noise.sigma_max && noise.sigma_max.is_finite();
        if !ordered || noise.sigma_data.is_nan() || noise.sigma_data <= 0.0 || noise.rho.is_nan() || noise.rho <= 0.0 {
            return fail("impossible noise levels".to_owned(), "0 < sigma_min < sigma_max, sigma_data > 0 and rho > 0");
        }
        Ok(())
    }
}
