//! Residual networks of basic blocks with torchvision's parameter names.
//!
//! # Source
//! He et al. 2016; names and order of torchvision `models/resnet.py`. Batch norm always uses its stored statistics, so it
//! is folded into the convolution before it when the weights are read: fewer passes over memory, forwards and backwards,
//! and no statistics that refinement could disturb. The stem has no max-pool (small pictures).

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::{Conv, Linear, average_pool_2x2, tensor};
use crate::checkpoint::{CheckpointError, ResnetManifest, Shortcut, Weights};

/// torchvision's default.
const BATCH_NORM_EPS: f32 = 1e-5;

/// Constructor arguments that the weights follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResnetConfig {
    /// Stem, stages and shortcuts.
    pub arch: ResnetManifest,
    /// Colour channels.
    pub channels: usize,
    /// Number of classes.
    pub num_classes: usize,
}

/// The network, from normalised pictures to logits.
#[derive(Debug)]
pub struct Resnet {
    stem: Conv,
    blocks: Vec<BasicBlock>,
    fc: Linear,
}

impl Resnet {
    /// Reads the weights, by torchvision's names.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    pub fn load(config: &ResnetConfig, weights: &mut Weights<'_>, device: &Device) -> Result<Self, CheckpointError> {
        let arch = &config.arch;
        let mut load = Loader { weights, device, shortcut: arch.shortcut };
        let mut width = arch.widths[0];
        let stem = load.conv_bn("conv1", "bn1", [config.channels, width, arch.stem_kernel], arch.stem_stride)?;
        let mut blocks = Vec::new();
        for (stage, (count, stage_width)) in arch.blocks.iter().zip(&arch.widths).enumerate() {
            for block in 0..*count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(load.block(&format!("layer{}.{block}", stage + 1), [width, *stage_width], stride)?);
                width = *stage_width;
            }
        }
        let fc = Linear::load(load.weights, "fc", [width, config.num_classes], device)?;
        Ok(Self { stem, blocks, fc })
    }

    /// Logits of a batch.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]`, normalised; returns `[N, K]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut h = relu(self.stem.forward(x));
        for block in &self.blocks {
            h = block.forward(h);
        }
        let [n, c, height, width] = h.dims();
        let pooled = h.reshape([n, c, height * width]).mean_dim(2).reshape([n, c]);
        self.fc.forward(pooled)
    }
}

#[derive(Debug)]
struct BasicBlock {
    conv1: Conv,
    conv2: Conv,
    /// Whether to average 2x2 before the convolution, and the convolution.
    downsample: Option<(bool, Conv)>,
}

impl BasicBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.conv2.forward(relu(self.conv1.forward(x.clone())));
        let shortcut = match &self.downsample {
            None => x,
            Some((true, conv)) => conv.forward(average_pool_2x2(x)),
            Some((false, conv)) => conv.forward(x),
        };
        relu(h + shortcut)
    }
}

struct Loader<'a, 'w> {
    weights: &'a mut Weights<'w>,
    device: &'a Device,
    shortcut: Shortcut,
}

impl Loader<'_, '_> {
    fn block(&mut self, name: &str, [c_in, c_out]: [usize; 2], stride: usize) -> Result<BasicBlock, CheckpointError> {
        let conv1 = self.conv_bn(&format!("{name}.conv1"), &format!("{name}.bn1"), [c_in, c_out, 3], stride)?;
        let conv2 = self.conv_bn(&format!("{name}.conv2"), &format!("{name}.bn2"), [c_out, c_out, 3], 1)?;
        let downsample = if stride == 1 && c_in == c_out {
            None
        } else {
            let prefix = format!("{name}.downsample");
            let dims = [c_in, c_out, 1];
            Some(match self.shortcut {
                Shortcut::Conv => (false, self.conv_bn(&format!("{prefix}.0"), &format!("{prefix}.1"), dims, stride)?),
                Shortcut::Pool => (stride == 2, self.conv_bn(&format!("{prefix}.1"), &format!("{prefix}.2"), dims, 1)?),
            })
        };
        Ok(BasicBlock { conv1, conv2, downsample })
    }

    /// A bias-free convolution with the batch norm behind it folded in.
    fn conv_bn(
        &mut self,
        conv: &str,
        norm: &str,
        [c_in, c_out, kernel]: [usize; 3],
        stride: usize,
    ) -> Result<Conv, CheckpointError> {
        let shape = [c_out, c_in, kernel, kernel];
        let mut weight = self.weights.take(&format!("{conv}.weight"), &shape)?;
        let mut read = |leaf: &str| self.weights.take(&format!("{norm}.{leaf}"), &[c_out]);
        let (gamma, mut bias) = (read("weight")?, read("bias")?);
        let (mean, var) = (read("running_mean")?, read("running_var")?);
        let fan = c_in * kernel * kernel;
        for channel in 0..c_out {
            let scale = gamma[channel] / (var[channel] + BATCH_NORM_EPS).sqrt();
            weight[channel * fan..(channel + 1) * fan].iter_mut().for_each(|w| *w *= scale);
            bias[channel] -= mean[channel] * scale;
        }
        Ok(Conv { weight: tensor(weight, shape, self.device), bias: Some(tensor(bias, [c_out], self.device)), stride })
    }
}
