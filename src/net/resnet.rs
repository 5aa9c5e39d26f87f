//! Residual networks of basic or bottleneck blocks with torchvision's parameter names.
//!
//! # Source
//! He et al. 2016, Zagoruyko and Komodakis 2016 (wide); names and order of torchvision `models/resnet.py`, whose
//! bottlenecks carry the stride in their 3x3 convolution. Batch norm always uses its stored statistics, so it is folded
//! into the convolution before it when the weights are read: fewer passes over memory, forwards and backwards, and no
//! statistics that refinement could disturb.

use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::footprint::{self, Ledger, len};
use super::{Conv, Linear, average_pool_2x2, tensor};
use crate::checkpoint::{BlockKind, CheckpointError, ResnetManifest, Shortcut, Weights};

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
    /// Whether a 3x3 max-pool with stride 2 follows the stem.
    stem_pool: bool,
    blocks: Vec<Block>,
    fc: Linear,
}

impl Resnet {
    /// Reads the weights, by torchvision's names.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    pub fn load(config: &ResnetConfig, weights: &mut Weights<'_>, device: &Device) -> Result<Self, CheckpointError> {
        let arch = &config.arch;
        let mut load = Loader { weights, device, arch };
        let mut channels = arch.widths[0];
        let stem = load.conv_bn("conv1", "bn1", [config.channels, channels, arch.stem_kernel], arch.stem_stride)?;
        let mut blocks = Vec::new();
        for (stage, (count, width)) in arch.blocks.iter().zip(&arch.widths).enumerate() {
            for block in 0..*count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let (block, c_out) = load.block(&format!("layer{}.{block}", stage + 1), channels, *width, stride)?;
                blocks.push(block);
                channels = c_out;
            }
        }
        let fc = Linear::load(load.weights, "fc", [channels, config.num_classes], device)?;
        Ok(Self { stem, stem_pool: arch.stem_pool, blocks, fc })
    }

    /// Logits of a batch.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]`, normalised, of any height and width; returns `[N, K]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let mut h = relu(self.stem.forward(x));
        if self.stem_pool {
            h = max_pool2d(h, MaxPoolOptions::new([3; 2]).with_stride([2; 2]).with_padding([1; 2]));
        }
        for block in &self.blocks {
            h = block.forward(h);
        }
        let [n, c, height, width] = h.dims();
        let pooled = h.reshape([n, c, height * width]).mean_dim(2).reshape([n, c]);
        self.fc.forward(pooled)
    }

    /// Bytes that one picture of `[H, W]` pixels needs at the peak of a forward pass and the backward pass to its
    /// input.
    ///
    /// Counted are the picture and its normalised copy, what stays for the backward pass (of every convolution the
    /// result and what the ReLU makes of it; the max-pool's indices) and, where it is largest, the working set of a
    /// layer. The backward pass frees a layer's share when it has passed it, so both passes work on top of the layers
    /// before. The weights are not counted.
    #[must_use]
    pub fn activation_bytes(&self, [h, w]: [usize; 2]) -> u64 {
        let mut ledger = Ledger::default();
        let [_, c_in, ..] = self.stem.weight.dims();
        let picture = [c_in, h, w];
        ledger.hold(2 * len(picture));
        let mut map = activated(&mut ledger, &self.stem, picture, 0);
        if self.stem_pool {
            let [c, h, w] = map;
            map = [c, h.div_ceil(2), w.div_ceil(2)];
            ledger.hold(3 * len(map)); // The maxima, and indices of 64 bits.
            ledger.work(len(map) + len([c, h, w])); // Both gradients.
        }
        for block in &self.blocks {
            map = block.account(&mut ledger, map);
        }
        ledger.peak_bytes()
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let shortcuts = self.blocks.iter().filter_map(|block| block.downsample.as_ref().map(|(_, conv)| conv));
        let convs = self.blocks.iter().flat_map(|block| &block.convs).chain(shortcuts).chain([&self.stem]);
        footprint::bytes(convs.map(Conv::len).sum::<usize>() + self.fc.len())
    }
}

/// Accounts for a convolution and the ReLU behind it; `beside` values are in use meanwhile. Returns the result's shape.
fn activated(ledger: &mut Ledger, conv: &Conv, input: [usize; 3], beside: usize) -> [usize; 3] {
    // What comes in is held already.
    let forward = footprint::forward(conv, input) - len(input);
    ledger.work(beside + forward.max(footprint::backward(conv, input)));
    let output = conv.output(input);
    ledger.hold(2 * len(output));
    output
}

/// A residual block: convolutions with a ReLU behind each; the last ReLU comes after the sum with the shortcut.
#[derive(Debug)]
struct Block {
    /// Two (basic) or three (bottleneck).
    convs: Vec<Conv>,
    /// Whether to average 2x2 before the convolution, and the convolution.
    downsample: Option<(bool, Conv)>,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (last, inner) = self.convs.split_last().expect("a block has convolutions");
        let h = inner.iter().fold(x.clone(), |h, conv| relu(conv.forward(h)));
        let h = last.forward(h);
        let shortcut = match &self.downsample {
            None => x,
            Some((true, conv)) => conv.forward(average_pool_2x2(x)),
            Some((false, conv)) => conv.forward(x),
        };
        relu(h + shortcut)
    }

    /// Accounts for the block; returns the result's shape.
    fn account(&self, ledger: &mut Ledger, input: [usize; 3]) -> [usize; 3] {
        let output = self.convs.iter().fold(input, |map, conv| conv.output(map));
        // Forwards the shortcut, backwards its gradient.
        let shortcut = len(input).max(len(output));
        let inner = self.convs.iter().fold(input, |map, conv| activated(ledger, conv, map, shortcut));
        debug_assert_eq!(inner, output, "the same walk twice");
        if let Some((pooled, conv)) = &self.downsample {
            let [c, h, w] = input;
            let input = if *pooled { [c, h / 2, w / 2] } else { input };
            if *pooled {
                ledger.hold(len(input));
            }
            ledger.work(footprint::forward(conv, input).max(footprint::backward(conv, input)));
        }
        output
    }
}

struct Loader<'a, 'w> {
    weights: &'a mut Weights<'w>,
    device: &'a Device,
    arch: &'a ResnetManifest,
}

impl Loader<'_, '_> {
    /// Reads a block of a stage of `width` channels; returns it with the number of its output channels.
    fn block(
        &mut self,
        name: &str,
        c_in: usize,
        width: usize,
        stride: usize,
    ) -> Result<(Block, usize), CheckpointError> {
        // Channels in and out, kernel, stride.
        let layers = match self.arch.block {
            BlockKind::Basic => vec![([c_in, width, 3], stride), ([width, width, 3], 1)],
            BlockKind::Bottleneck => {
                let (inner, out) = (self.arch.inner_width(width), self.arch.out_width(width));
                vec![([c_in, inner, 1], 1), ([inner, inner, 3], stride), ([inner, out, 1], 1)]
            }
        };
        let mut convs = Vec::new();
        let mut c_out = c_in;
        for (i, (dims, stride)) in layers.into_iter().enumerate() {
            convs.push(self.conv_bn(&format!("{name}.conv{}", i + 1), &format!("{name}.bn{}", i + 1), dims, stride)?);
            c_out = dims[1];
        }
        let downsample = if stride == 1 && c_in == c_out {
            None
        } else {
            let prefix = format!("{name}.downsample");
            let dims = [c_in, c_out, 1];
            Some(match self.arch.shortcut {
                Shortcut::Conv => (false, self.conv_bn(&format!("{prefix}.0"), &format!("{prefix}.1"), dims, stride)?),
                Shortcut::Pool => (stride == 2, self.conv_bn(&format!("{prefix}.1"), &format!("{prefix}.2"), dims, 1)?),
            })
        };
        Ok((Block { convs, downsample }, c_out))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(c_in: usize, c_out: usize, kernel: usize, stride: usize) -> Conv {
        let device = Device::flex();
        let weight = Tensor::zeros([c_out, c_in, kernel, kernel], &device);
        Conv { weight, bias: Some(Tensor::zeros([c_out], &device)), stride }
    }

    fn net() -> Resnet {
        let device = Device::flex();
        let block = Block {
            convs: vec![conv(8, 4, 1, 1), conv(4, 4, 3, 2), conv(4, 16, 1, 1)],
            downsample: Some((false, conv(8, 16, 1, 2))),
        };
        let fc = Linear { weight: Tensor::zeros([16, 5], &device), bias: Tensor::zeros([1, 5], &device) };
        Resnet { stem: conv(3, 8, 7, 2), stem_pool: true, blocks: vec![block], fc }
    }

    #[test]
    fn stem_pool_and_stride_round_odd_sizes_up() {
        let net = net();
        for side in [64, 61, 1] {
            let h = net.stem.forward(Tensor::zeros([1, 3, side, side], &Device::flex()));
            assert_eq!(h.dims()[1..], net.stem.output([3, side, side]));
        }
        assert_eq!(net.forward(Tensor::zeros([2, 3, 37, 20], &Device::flex())).dims(), [2, 5]);
    }

    #[test]
    fn the_stems_working_set_is_the_peak_of_a_short_net() {
        // At 32x32: the picture three times (leaf, normalised, channels last), weights, columns, result.
        let values = 3 * 3 * 1024 + (3 * 49 + 1) * 8 + 256 * (3 * 49 + 8) + 8 * 256;
        assert_eq!(net().activation_bytes([32, 32]), 4 * values);
    }

    #[test]
    fn every_block_adds_what_its_backward_pass_keeps() {
        let deep = |count: usize| {
            let block = || Block { convs: vec![conv(8, 8, 3, 1), conv(8, 8, 3, 1)], downsample: None };
            Resnet { blocks: (0..count).map(|_| block()).collect(), stem_pool: false, ..net() }
        };
        let bytes = |count: usize| deep(count).activation_bytes([32, 32]);
        // Two convolutions' results and what the ReLUs make of them, 8 channels at 16x16.
        assert_eq!(bytes(41) - bytes(40), 4 * 4 * 8 * 256);
    }

    #[test]
    fn weights_are_counted_with_their_biases() {
        let convs = (3 * 49 + 1) * 8 + (8 + 1) * 4 + (36 + 1) * 4 + (4 + 1) * 16 + (8 + 1) * 16;
        assert_eq!(net().weight_bytes(), 4 * (convs + (16 + 1) * 5));
    }
}
