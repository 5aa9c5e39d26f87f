//! Residual networks of basic or bottleneck blocks with torchvision's parameter names, and their pre-activation form.
//!
//! # Source
//! He et al. 2016, Zagoruyko and Komodakis 2016 (wide); names and order of torchvision `models/resnet.py`, whose
//! bottlenecks carry the stride in their 3x3 convolution. Pre-activation: RobustBench `model_zoo/architectures/`,
//! `wide_resnet.py`, `resnet.py` (PreActResNet) and `dm_wide_resnet.py`, under the names that torchvision would give their
//! tensors: the norm before the last layer is `bn1`, the convolution of a shortcut `downsample.0`.

mod arch;
mod block;

use burn::module::Module;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

pub use self::arch::{Activation, BlockKind, OddSize, Padding, Preactivation, ResnetManifest, Shortcut};
use self::block::Block;
use super::build::{Build, Shapes, Source};
use super::check;
use super::footprint::{self, Ledger, len};
use super::layer::{ConvNorm, Linear, Norm};
use super::plan::{self, Plan, Sketch};
use crate::checkpoint::CheckpointError;

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

impl ResnetConfig {
    /// Names and shapes of the network's tensors, in the order of construction.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes::default();
        let _built = Resnet::build(self, &mut shapes, &Device::flex());
        shapes.0
    }
}

/// The network, from normalised pictures to logits.
#[derive(Module, Debug)]
pub struct Resnet {
    stem: ConvNorm,
    /// Whether a 3x3 max-pool with stride 2 follows the stem.
    stem_pool: bool,
    /// Stage by stage.
    stages: Vec<Vec<Block>>,
    /// Before the last layer of a pre-activation network.
    last_norm: Option<Norm>,
    /// Whether norms and activations stand before the convolutions.
    preactivated: bool,
    #[module(skip)]
    activation: Activation,
    fc: Linear,
}

impl Resnet {
    /// Reads the weights, by torchvision's names; the network is ready for inference, its batch norms as they are in the
    /// file.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    pub fn load(config: &ResnetConfig, source: &mut dyn Source, device: &Device) -> Result<Self, CheckpointError> {
        Ok(Self::build(config, source, device)?.valid())
    }

    /// The walk of torchvision's constructor.
    fn build(config: &ResnetConfig, source: &mut dyn Source, device: &Device) -> Result<Self, CheckpointError> {
        let arch = &config.arch;
        let mut build = Build { source, device };
        let pre = arch.preactivation;
        let mut channels = arch.stem_width();
        let conv = build.conv("conv1", [config.channels, channels, arch.stem_kernel], false)?;
        let norm = if pre.is_some() { None } else { Some(build.batch_norm("bn1", channels)?) };
        let stem = ConvNorm { conv: conv.with_stride(arch.stem_stride), norm };
        let mut stages = Vec::new();
        for (stage, (count, width)) in arch.blocks.iter().zip(&arch.widths).enumerate() {
            let mut blocks = Vec::new();
            for block in 0..*count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                let (block, c_out) = Block::build(&mut build, arch, &name, [channels, *width, stride])?;
                blocks.push(block);
                channels = c_out;
            }
            stages.push(blocks);
        }
        let last_norm = match pre {
            Some(Preactivation { final_norm: true, .. }) => Some(Norm::Batch(build.batch_norm("bn1", channels)?)),
            _ => None,
        };
        let fc = build.linear("fc", [channels, config.num_classes])?;
        let activation = pre.map_or_else(Activation::default, |pre| pre.activation);
        let (stem_pool, preactivated) = (arch.stem_pool, pre.is_some());
        Ok(Self { stem, stem_pool, stages, last_norm, preactivated, activation, fc })
    }

    /// The same function for inference, with fewer passes over memory forwards and backwards: every batch norm, with its
    /// stored statistics, becomes part of the convolution before it, or a factor and a summand where there is none.
    ///
    /// # Panics
    /// When the device fails.
    #[must_use]
    pub fn fold(self) -> Self {
        let net = self.valid();
        let stage = |blocks: Vec<Block>| blocks.into_iter().map(Block::fold).collect();
        Self {
            stem: net.stem.fold(),
            stages: net.stages.into_iter().map(stage).collect(),
            last_norm: net.last_norm.map(Norm::fold),
            ..net
        }
    }

    /// The same for training with dropout of this probability before the last convolution of every block (Zagoruyko and
    /// Komodakis 2016).
    ///
    /// # Panics
    /// When `prob` is not in `[0, 1)`.
    #[must_use]
    pub fn with_dropout(self, prob: f64) -> Self {
        let stage = |blocks: Vec<Block>| blocks.into_iter().map(|block| block.with_dropout(prob)).collect();
        Self { stages: self.stages.into_iter().map(stage).collect(), ..self }
    }

    /// Logits of a batch.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]`, normalised, of any height and width that [`ResnetManifest::check_size`] accepts; returns `[N, K]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(x))
    }

    /// The logits of features.
    ///
    /// # Shapes
    /// `features`: `[N, D]`; returns `[N, K]`.
    #[must_use]
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }

    /// What the last layer sees of a batch: the means of the last maps.
    ///
    /// # Shapes
    /// As [`Self::forward`]; returns `[N, D]`.
    #[must_use]
    pub fn features(&self, x: Tensor<4>) -> Tensor<2> {
        let curve = self.activation.curve();
        let mut h = self.stem.forward(x, None, (!self.preactivated).then_some(curve));
        if self.stem_pool {
            h = check::call(
                &3_usize,
                h,
                |side| format!("max-pool {side}x{side}"),
                |side, h| max_pool2d(h, MaxPoolOptions::new([*side; 2]).with_stride([2; 2]).with_padding([1; 2])),
            );
        }
        for block in self.stages.iter().flatten() {
            h = block.forward(h);
        }
        if let Some(norm) = &self.last_norm {
            h = norm.forward(h, curve);
        }
        let [n, c, height, width] = h.dims();
        let h = h.reshape([n, c, height * width]);
        check::call(&c, h, |c| format!("mean of {c} channels"), |_, h| h.mean_dim(2)).reshape([n, c])
    }

    /// The same function of pictures that are not normalised yet, compiled for this processor. `None` when the network is
    /// not folded or not on the CPU, or when there is nothing to compile it for.
    ///
    /// `mean` and `std`: one per colour channel. It takes pictures of any size and is fastest for `size`, height and width.
    #[must_use]
    pub fn plan(&self, [mean, std]: [&[f32]; 2], size: [usize; 2]) -> Option<Plan> {
        let arch = plan::processor().filter(|_| plan::runs_on(&self.fc.weight.device()))?;
        let mut sketch = Sketch::new(mean.len(), size, plan::lanes(arch));
        let curve = Some(self.activation.curve());
        let mut x = sketch.conv(0, &self.stem.filter()?, None, curve.filter(|_| !self.preactivated));
        if self.stem_pool {
            x = sketch.max_pool(x);
        }
        for block in self.stages.iter().flatten() {
            x = block.sketch(&mut sketch, x)?;
        }
        if let Some(norm) = &self.last_norm {
            x = sketch.affine(x, norm.affine()?, curve);
        }
        x = sketch.mean(x);
        sketch.conv(x, &self.fc.clone().filter(), None, None);
        Some(Plan::new(sketch, arch, mean, std))
    }

    /// Likewise of a network as it is now in its training, for inference; nothing is done where there is nothing to compile it
    /// for.
    #[must_use]
    pub fn compiled(&self, normalisation: [&[f32]; 2], size: [usize; 2]) -> Option<Plan> {
        let device = self.fc.weight.device().without_autodiff();
        plan::processor().filter(|_| plan::runs_on(&device))?;
        self.valid().fold().plan(normalisation, size)
    }

    /// Bytes that one picture of `[H, W]` pixels needs at the peak of a forward pass and the backward pass to its
    /// input, when the network is folded.
    ///
    /// Counted are the picture and its normalised copy, what stays for the backward pass (of every convolution the
    /// result and what the activation makes of it; the max-pool's indices) and, where it is largest, the working set of a
    /// layer. The backward pass frees a layer's share when it has passed it, so both passes work on top of the layers
    /// before. The weights are not counted.
    #[must_use]
    pub fn activation_bytes(&self, [h, w]: [usize; 2]) -> u64 {
        let mut ledger = Ledger::default();
        let [_, c_in, ..] = self.stem.conv.dims();
        let picture = [c_in, h, w];
        ledger.hold(2 * len(picture));
        let mut map = if self.preactivated {
            block::work(&mut ledger, &self.stem.conv, picture, 0);
            let map = self.stem.conv.output(picture);
            ledger.hold(len(map));
            map
        } else {
            block::activated(&mut ledger, (&self.stem.conv, self.activation), picture, 0)
        };
        if self.stem_pool {
            let before = map;
            map = pooled(before);
            ledger.hold(3 * len(map)); // The maxima, and indices of 64 bits.
            ledger.work(len(map) + len(before)); // Both gradients.
        }
        for block in self.stages.iter().flatten() {
            map = block.account(&mut ledger, map);
        }
        if self.last_norm.is_some() {
            ledger.hold(self.activation.kept() * len(map));
        }
        ledger.peak_bytes()
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        footprint::weight_bytes(self)
    }
}

/// What the max-pool behind the stem makes of a map.
const fn pooled([c, h, w]: [usize; 3]) -> [usize; 3] {
    [c, h.div_ceil(2), w.div_ceil(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arch(block: BlockKind, blocks: &[usize], widths: &[usize], stem: usize) -> ResnetManifest {
        ResnetManifest {
            block,
            blocks: blocks.to_vec(),
            widths: widths.to_vec(),
            width_per_group: 64,
            shortcut: Shortcut::Conv,
            stem_kernel: stem,
            stem_stride: if stem > 3 { 2 } else { 1 },
            stem_pool: stem > 3,
            preactivation: None,
        }
    }

    /// Without values, folded.
    fn skeleton(arch: ResnetManifest) -> Resnet {
        let config = ResnetConfig { arch, channels: 3, num_classes: 5 };
        Resnet::load(&config, &mut Shapes::default(), &Device::flex()).unwrap().fold()
    }

    fn net() -> Resnet {
        skeleton(arch(BlockKind::Bottleneck, &[1, 1], &[8, 16], 7))
    }

    #[test]
    fn stem_pool_and_stride_round_odd_sizes_up() {
        let net = net();
        for side in [64, 61, 1] {
            let h = net.stem.forward(Tensor::zeros([1, 3, side, side], &Device::flex()), None, None);
            assert_eq!(h.dims()[1..], net.stem.conv.output([3, side, side]));
        }
        assert_eq!(net.forward(Tensor::zeros([2, 3, 37, 20], &Device::flex())).dims(), [2, 5]);
        assert_eq!(arch(BlockKind::Bottleneck, &[1, 1], &[8, 16], 7).check_size([37, 20]), Ok(()));
    }

    #[test]
    fn the_stems_working_set_is_the_peak_of_a_short_net() {
        // At 32x32: the picture three times (leaf, normalised, channels last), weights, columns, result.
        let values = 3 * 3 * 1024 + (3 * 49 + 1) * 8 + 256 * (3 * 49 + 8) + 8 * 256;
        let short = skeleton(arch(BlockKind::Basic, &[1], &[8], 7));
        assert_eq!(short.activation_bytes([32, 32]), 4 * values);
    }

    #[test]
    fn every_block_adds_what_its_backward_pass_keeps() {
        let added = |pre: Option<Preactivation>| {
            let deep = |count: usize| {
                let basic = arch(BlockKind::Basic, &[count], &[8], 3);
                skeleton(ResnetManifest { preactivation: pre, ..basic }).activation_bytes([16, 16])
            };
            deep(41) - deep(40)
        };
        // Two convolutions' results and what the ReLUs make of them, 8 channels at 16x16.
        assert_eq!(added(None), 4 * 4 * 8 * 256);
        // What both norms make of the map, and what the activations make of that; SiLU keeps its sigmoid, too.
        let mut pre = Preactivation {
            stem_width: 8,
            final_norm: true,
            activated_shortcut: true,
            activation: Activation::Relu,
            padding: Padding::Around,
        };
        assert_eq!(added(Some(pre)), 4 * 4 * 8 * 256);
        pre.activation = Activation::Silu;
        assert_eq!(added(Some(pre)), 4 * 6 * 8 * 256);
    }

    #[test]
    fn weights_are_counted_with_their_biases() {
        let first = (8 + 1) * 8 + (9 * 8 + 1) * 8 + (8 + 1) * 32 + (8 + 1) * 32;
        let second = (32 + 1) * 16 + (9 * 16 + 1) * 16 + (16 + 1) * 64 + (32 + 1) * 64;
        assert_eq!(net().weight_bytes(), 4 * ((3 * 49 + 1) * 8 + first + second + (64 + 1) * 5));
    }

    #[test]
    fn sides_that_a_pooled_shortcut_cannot_halve_are_named() {
        let pool = ResnetManifest { shortcut: Shortcut::Pool, ..arch(BlockKind::Basic, &[1, 1, 1], &[8, 8, 8], 3) };
        let net = skeleton(pool.clone());
        assert_eq!(pool.check_size([32, 48]), Ok(()));
        assert_eq!(net.forward(Tensor::zeros([1, 3, 12, 20], &Device::flex())).dims(), [1, 5]);
        let odd = pool.check_size([30, 48]).unwrap_err();
        assert_eq!(odd, OddSize { size: [30, 48], at: [15, 24], stage: 3, multiple: 4 });
        let text = odd.to_string();
        assert!(text.starts_with("pictures of 30×48 reach stage 3 of the classifier with 15×24 pixels"), "{text}");
        assert!(text.ends_with("multiples of 4"), "{text}");
    }
}
