//! The U-Net of OpenAI's consistency models and guided diffusion.
//!
//! # Source
//! openai/consistency_models, `cm/unet.py` and `cm/nn.py`; openai/guided-diffusion, `guided_diffusion/unet.py`, for
//! resampling by convolutions, the older order of attention and learned variances. Parameter names are those of the
//! published checkpoints. Differences: attention runs in `f32`; `patch_size` folds space into channels before the
//! network (1 for OpenAI's own); learned variances are left out, because no sampler here uses them.

mod arch;
mod layers;

use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor, TensorData};

pub use self::arch::{AttentionOrder, UnetManifest};
use self::layers::{GroupNorm, Layer, Layers, Resample};
use super::build::{Build, Shapes, Source};
use super::footprint::{self, Ledger, len};
use super::layer::{Conv, Linear};
use super::plan::Curve;
use super::{pixel_shuffle, pixel_unshuffle, tensor};
use crate::checkpoint::CheckpointError;

/// Longest period of the time embedding.
const MAX_PERIOD: f64 = 10_000.0;

/// Constructor arguments that the weights follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnetConfig {
    /// Widths, levels, attention.
    pub arch: UnetManifest,
    /// Colour channels of the pictures.
    pub channels: usize,
    /// Number of classes; `None` for an unconditional network.
    pub num_classes: Option<usize>,
}

impl UnetConfig {
    /// Names and shapes of the network's tensors, in the order of construction.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes::default();
        let _built = Unet::build(self.clone(), &mut shapes, &Device::flex());
        shapes.0
    }

    /// Channels that the network takes, and gives if it gives no variances.
    const fn picture(&self) -> usize {
        self.channels * self.arch.patch_size * self.arch.patch_size
    }
}

/// The network `F(x, t, y)`.
#[derive(Module, Debug)]
pub struct Unet {
    #[module(skip)]
    config: UnetConfig,
    time_embed: [Linear; 2],
    /// `[K, 4 * model_channels]`
    label_emb: Option<Param<Tensor<2>>>,
    stem: Conv,
    input_blocks: Vec<Block>,
    middle: Block,
    output_blocks: Vec<Block>,
    out_norm: GroupNorm,
    out_conv: Conv,
}

type Block = Vec<Layer>;

impl Unet {
    /// Reads the weights, by the published names; the network is ready for inference.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    ///
    /// # Panics
    /// Never: every output block has its skip by construction.
    pub fn load(config: UnetConfig, source: &mut dyn Source, device: &Device) -> Result<Self, CheckpointError> {
        Ok(Self::build(config, source, device)?.valid())
    }

    /// The walk of the original constructor.
    fn build(config: UnetConfig, source: &mut dyn Source, device: &Device) -> Result<Self, CheckpointError> {
        let arch = &config.arch;
        let base = arch.model_channels;
        let emb = 4 * base;
        let picture = config.picture();
        let mut load = Layers { build: Build { source, device }, arch, emb };

        let time_embed =
            [load.build.linear("time_embed.0", [base, emb])?, load.build.linear("time_embed.2", [emb, emb])?];
        let label_emb = match config.num_classes {
            Some(k) => Some(load.build.param("label_emb.weight", [k, emb])?),
            None => None,
        };
        // Every input block leaves a skip.
        let (mut channels, mut factor) = (arch.channel_mult[0] * base, 1);
        let stem = load.build.conv("input_blocks.0.0", [picture, channels, 3], true)?;
        let mut skips = vec![channels];
        let mut input_blocks = Vec::new();
        let levels = arch.channel_mult.len();
        for (level, mult) in arch.channel_mult.iter().enumerate() {
            for _ in 0..arch.num_res_blocks {
                let name = format!("input_blocks.{}", input_blocks.len() + 1);
                let mut block = vec![load.res(&format!("{name}.0"), channels, mult * base, Resample::None)?];
                channels = mult * base;
                if arch.attention_downsample.contains(&factor) {
                    block.push(load.attention(&format!("{name}.1"), channels)?);
                }
                input_blocks.push(block);
                skips.push(channels);
            }
            if level + 1 < levels {
                let name = format!("input_blocks.{}.0", input_blocks.len() + 1);
                input_blocks.push(vec![load.down(&name, channels)?]);
                skips.push(channels);
                factor *= 2;
            }
        }
        let middle = vec![
            load.res("middle_block.0", channels, channels, Resample::None)?,
            load.attention("middle_block.1", channels)?,
            load.res("middle_block.2", channels, channels, Resample::None)?,
        ];
        let mut output_blocks = Vec::new();
        for (level, mult) in arch.channel_mult.iter().enumerate().rev() {
            for i in 0..=arch.num_res_blocks {
                let skip = skips.pop().expect("one skip per output block");
                let name = format!("output_blocks.{}", output_blocks.len());
                let mut block = vec![load.res(&format!("{name}.0"), channels + skip, mult * base, Resample::None)?];
                channels = mult * base;
                if arch.attention_downsample.contains(&factor) {
                    block.push(load.attention(&format!("{name}.{}", block.len()), channels)?);
                }
                if level > 0 && i == arch.num_res_blocks {
                    block.push(load.up(&format!("{name}.{}", block.len()), channels)?);
                    factor /= 2;
                }
                output_blocks.push(block);
            }
        }
        let out_norm = load.norm("out.0", channels)?;
        // A network with learned variances puts them out behind the mean.
        let out_channels = if arch.learn_sigma { 2 * picture } else { picture };
        let out_conv = load.build.conv("out.2", [channels, out_channels, 3], true)?;
        Ok(Self { config, time_embed, label_emb, stem, input_blocks, middle, output_blocks, out_norm, out_conv })
    }

    /// The same function for inference, with less to compute: learned variances are left out.
    #[must_use]
    pub fn fold(self) -> Self {
        let net = self.valid();
        let picture = net.config.picture();
        let out_conv = if net.out_conv.dims()[0] > picture { net.out_conv.first(picture) } else { net.out_conv };
        Self { out_conv, ..net }
    }

    /// The same for training with dropout of this probability before the second convolution of every residual block.
    ///
    /// # Panics
    /// When `prob` is not in `[0, 1)`.
    #[must_use]
    pub fn with_dropout(self, prob: f64) -> Self {
        let block = |layers: Vec<Layer>| layers.into_iter().map(|layer| layer.with_dropout(prob)).collect();
        Self {
            input_blocks: self.input_blocks.into_iter().map(block).collect(),
            middle: block(self.middle),
            output_blocks: self.output_blocks.into_iter().map(block).collect(),
            ..self
        }
    }

    /// Evaluates the network; variances are left out.
    ///
    /// `labels` must be given exactly when the network is class-conditional.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]`, `times` and `labels`: `N` values; returns `[N, C, H, W]`.
    ///
    /// # Panics
    /// When the numbers of samples differ or a label is out of range.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, times: &[f32], labels: Option<&[usize]>) -> Tensor<4> {
        let [n, ..] = x.dims();
        assert_eq!(times.len(), n, "one time per sample");
        let emb = self.embed(times, labels, &x.device());
        let p = self.config.arch.patch_size;

        let mut h = self.stem.forward(pixel_unshuffle(x, p));
        let mut skips = vec![h.clone()];
        for block in &self.input_blocks {
            h = forward_block(block, h, &emb);
            skips.push(h.clone());
        }
        h = forward_block(&self.middle, h, &emb);
        for block in &self.output_blocks {
            let skip = skips.pop().expect("one skip per output block");
            h = forward_block(block, Tensor::cat(vec![h, skip], 1), &emb);
        }
        let out = self.out_conv.forward(self.out_norm.forward(h, Some(Curve::Silu)));
        let picture = self.config.picture();
        pixel_shuffle(if out.dims()[1] > picture { out.narrow(1, 0, picture) } else { out }, p)
    }

    /// `SiLU` of the embedding that every residual block starts from, `[N, 4 * model_channels]`.
    fn embed(&self, times: &[f32], labels: Option<&[usize]>, device: &Device) -> Tensor<2> {
        let base = self.config.arch.model_channels;
        let sinusoid = tensor(time_embedding(times, base), [times.len(), base], device);
        let [first, second] = &self.time_embed;
        let mut emb = second.forward(silu(first.forward(sinusoid)));
        match (&self.label_emb, labels) {
            (Some(table), Some(labels)) => {
                let [classes, _] = table.lazy_shape().dims();
                assert!(labels.iter().all(|label| *label < classes), "labels below {classes}");
                assert_eq!(labels.len(), times.len(), "one label per sample");
                let indices: Vec<i32> = labels.iter().map(|label| i32::try_from(*label).expect("small")).collect();
                let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [labels.len()]), device);
                emb = emb + table.val().select(0, indices);
            }
            (None, None) => {}
            (table, _) => panic!("labels must be given exactly for class-conditional networks ({})", table.is_some()),
        }
        silu(emb)
    }

    /// Bytes that one picture of `[H, W]` pixels needs at the peak of a forward pass without autodiff.
    ///
    /// Counted are the noisy picture and its scaled copy, the skips that wait for their output block, the map on its
    /// way, and the working set of the layer in hand: its intermediate maps, a convolution's copies and tiles,
    /// attention's scores. The embedding and the weights are not counted.
    ///
    /// # Panics
    /// Never: every output block has its skip by construction.
    #[must_use]
    pub fn activation_bytes(&self, [h, w]: [usize; 2]) -> u64 {
        let p = self.config.arch.patch_size;
        let picture = [self.config.channels * p * p, h / p, w / p];
        let mut ledger = Ledger::default();
        ledger.hold(2 * len(picture));
        ledger.work(footprint::forward(&self.stem, picture));
        let mut map = self.stem.output(picture);
        ledger.hold(len(map));
        let mut skips = vec![map];
        for block in &self.input_blocks {
            map = account_block(&mut ledger, block, map);
            skips.push(map);
        }
        map = account_block(&mut ledger, &self.middle, map);
        for block in &self.output_blocks {
            let skip = skips.pop().expect("one skip per output block");
            let joined = [map[0] + skip[0], map[1], map[2]];
            ledger.hold(len(joined));
            ledger.release(len(map) + len(skip));
            map = account_block(&mut ledger, block, joined);
            ledger.release(len(joined));
        }
        ledger.work(layers::norm_values(map));
        ledger.work(footprint::forward(&self.out_conv, map));
        ledger.peak_bytes()
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        footprint::weight_bytes(self)
    }
}

/// Sinusoids of the time, cosines first: `[N, dim]` row-major.
///
/// In `f32` like the original: the rounding of `t * frequency` is part of what the network was trained with.
fn time_embedding(times: &[f32], dim: usize) -> Vec<f32> {
    let half = dim / 2;
    let frequencies: Vec<f32> = (0..half).map(|j| (-MAX_PERIOD.ln() as f32 * j as f32 / half as f32).exp()).collect();
    let mut values = Vec::with_capacity(times.len() * dim);
    for t in times {
        values.extend(frequencies.iter().map(|f| (t * f).cos()));
        values.extend(frequencies.iter().map(|f| (t * f).sin()));
        values.resize(values.len() + dim % 2, 0.0);
    }
    values
}

fn forward_block(block: &[Layer], x: Tensor<4>, emb: &Tensor<2>) -> Tensor<4> {
    block.iter().fold(x, |h, layer| layer.forward(h, emb))
}

/// Accounts for a block whose input is held, and holds its result too; returns the result's shape.
fn account_block(ledger: &mut Ledger, block: &[Layer], input: [usize; 3]) -> [usize; 3] {
    let mut map = input;
    for (i, layer) in block.iter().enumerate() {
        let output = layer.account(ledger, map);
        ledger.hold(len(output));
        if i > 0 {
            ledger.release(len(map));
        }
        map = output;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_shuffling_follows_pytorch_and_is_undone() {
        let device = Device::flex();
        let x = Tensor::<1, Int>::arange(0..32, &device).float().reshape([1, 2, 4, 4]);
        let folded = pixel_unshuffle(x.clone(), 2);
        assert_eq!(folded.dims(), [1, 8, 2, 2]);
        // torch.nn.functional.pixel_unshuffle(torch.arange(32.).view(1, 2, 4, 4), 2)[0, :2]
        let head: Vec<f32> = folded.clone().narrow(1, 0, 2).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(head, [0.0, 2.0, 8.0, 10.0, 1.0, 3.0, 9.0, 11.0]);
        pixel_shuffle(folded, 2).into_data().assert_eq(&x.into_data(), true);
    }

    #[test]
    fn the_time_embedding_has_cosines_first() {
        let values = time_embedding(&[0.0, 2.0], 4);
        let expected = [1.0, 1.0, 0.0, 0.0, 2.0_f32.cos(), 0.02_f32.cos(), 2.0_f32.sin(), 0.02_f32.sin()];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }
}
