//! The U-Net of OpenAI's consistency models and guided diffusion.
//!
//! # Source
//! openai/consistency_models, `cm/unet.py` and `cm/nn.py`; parameter names are those of the published checkpoints.
//! Differences: attention runs in `f32`; `patch_size` folds space into channels before the network (1 for OpenAI's own).
//! Only the variant whose residual blocks do the resampling (`resblock_updown`) is implemented.

use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Conv, Linear, average_pool_2x2, nearest_upsample_2x, pixel_shuffle, pixel_unshuffle, tensor};
use crate::checkpoint::{CheckpointError, UnetManifest, Weights};

/// Groups of every group norm.
const GROUPS: usize = 32;
/// PyTorch's default.
const GROUP_NORM_EPS: f64 = 1e-5;
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

/// The network `F(x, t, y)`.
#[derive(Debug)]
pub struct Unet {
    config: UnetConfig,
    time_embed: [Linear; 2],
    /// `[K, 4 * model_channels]`
    label_emb: Option<Tensor<2>>,
    stem: Conv,
    input_blocks: Vec<Block>,
    middle: [Layer; 3],
    output_blocks: Vec<Block>,
    out_norm: GroupNorm,
    out_conv: Conv,
}

type Block = Vec<Layer>;

#[derive(Debug)]
enum Layer {
    Res(Box<ResBlock>),
    Attention(Attention),
}

impl Unet {
    /// Reads the weights, by the published names.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    ///
    /// # Panics
    /// Never: every output block has its skip by construction.
    pub fn load(config: UnetConfig, weights: &mut Weights<'_>, device: &Device) -> Result<Self, CheckpointError> {
        let arch = &config.arch;
        let base = arch.model_channels;
        let emb = 4 * base;
        let picture = config.channels * arch.patch_size * arch.patch_size;
        let mut load = Loader { weights, device, arch, emb };

        let time_embed = [load.linear("time_embed.0", [base, emb])?, load.linear("time_embed.2", [emb, emb])?];
        let label_emb = match config.num_classes {
            Some(k) => Some(tensor(load.weights.take("label_emb.weight", &[k, emb])?, [k, emb], device)),
            None => None,
        };
        let stem = load.conv("input_blocks.0.0", [picture, base, 3])?;

        // The walk of the original constructor: every input block leaves a skip.
        let mut skips = vec![base];
        let mut input_blocks = Vec::new();
        let (mut channels, mut factor) = (base, 1);
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
                input_blocks.push(vec![load.res(&name, channels, channels, Resample::Down)?]);
                skips.push(channels);
                factor *= 2;
            }
        }
        let middle = [
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
                    block.push(load.res(&format!("{name}.{}", block.len()), channels, channels, Resample::Up)?);
                    factor /= 2;
                }
                output_blocks.push(block);
            }
        }
        let out_norm = load.norm("out.0", channels)?;
        let out_conv = load.conv("out.2", [channels, picture, 3])?;
        Ok(Self { config, time_embed, label_emb, stem, input_blocks, middle, output_blocks, out_norm, out_conv })
    }

    /// Evaluates the network.
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
        pixel_shuffle(self.out_conv.forward(silu(self.out_norm.forward(h))), p)
    }

    /// `SiLU` of the embedding that every residual block starts from, `[N, 4 * model_channels]`.
    fn embed(&self, times: &[f32], labels: Option<&[usize]>, device: &Device) -> Tensor<2> {
        let base = self.config.arch.model_channels;
        let sinusoid = tensor(time_embedding(times, base), [times.len(), base], device);
        let [first, second] = &self.time_embed;
        let mut emb = second.forward(silu(first.forward(sinusoid)));
        match (&self.label_emb, labels) {
            (Some(table), Some(labels)) => {
                let [classes, _] = table.dims();
                assert!(labels.iter().all(|label| *label < classes), "labels below {classes}");
                assert_eq!(labels.len(), times.len(), "one label per sample");
                let indices: Vec<i32> = labels.iter().map(|label| i32::try_from(*label).expect("small")).collect();
                let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [labels.len()]), device);
                emb = emb + table.clone().select(0, indices);
            }
            (None, None) => {}
            (table, _) => panic!("labels must be given exactly for class-conditional networks ({})", table.is_some()),
        }
        silu(emb)
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
    block.iter().fold(x, |h, layer| match layer {
        Layer::Res(block) => block.forward(h, emb),
        Layer::Attention(attention) => attention.forward(h),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resample {
    None,
    Down,
    Up,
}

/// Residual block with FiLM or additive conditioning.
#[derive(Debug)]
struct ResBlock {
    in_norm: GroupNorm,
    in_conv: Conv,
    emb: Linear,
    out_norm: GroupNorm,
    out_conv: Conv,
    skip: Option<Conv>,
    resample: Resample,
    scale_shift: bool,
}

impl ResBlock {
    /// `x`: `[N, C_in, H, W]`, `emb` (after `SiLU`): `[N, E]`.
    fn forward(&self, x: Tensor<4>, emb: &Tensor<2>) -> Tensor<4> {
        let mut h = silu(self.in_norm.forward(x.clone()));
        let mut x = x;
        match self.resample {
            Resample::None => {}
            Resample::Down => (h, x) = (average_pool_2x2(h), average_pool_2x2(x)),
            Resample::Up => (h, x) = (nearest_upsample_2x(h), nearest_upsample_2x(x)),
        }
        h = self.in_conv.forward(h);
        let [n, c, _, _] = h.dims();
        let emb = self.emb.forward(emb.clone());
        h = if self.scale_shift {
            let scale = emb.clone().narrow(1, 0, c).reshape([n, c, 1, 1]);
            let shift = emb.narrow(1, c, c).reshape([n, c, 1, 1]);
            self.out_norm.forward(h) * (scale + 1.0) + shift
        } else {
            self.out_norm.forward(h + emb.reshape([n, c, 1, 1]))
        };
        h = self.out_conv.forward(silu(h));
        let skip = match &self.skip {
            Some(conv) => conv.forward(x),
            None => x,
        };
        skip + h
    }
}

/// Self-attention over pixels. `qkv` is laid out `[Q | K | V]`, each `[head, d]`: the newer of OpenAI's two orders.
#[derive(Debug)]
struct Attention {
    norm: GroupNorm,
    qkv: Conv,
    proj_out: Conv,
    heads: usize,
}

impl Attention {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let (heads, d) = (self.heads, c / self.heads);
        let qkv = self.qkv.forward(self.norm.forward(x.clone())).reshape([n, 3 * heads, d, h * w]);
        let part = |i: usize| qkv.clone().narrow(1, i * heads, heads); // [N, heads, d, HW]
        // d^-1/4 on both sides, as in the original.
        let scale = (d as f64).powf(-0.25);
        let query = (part(0) * scale).swap_dims(2, 3); // [N, heads, HW, d]
        let scores = softmax(query.matmul(part(1) * scale), 3); // [N, heads, HW, HW]
        let attended = part(2).matmul(scores.swap_dims(2, 3)).reshape([n, c, h, w]);
        x + self.proj_out.forward(attended)
    }
}

/// Group norm, 32 groups.
#[derive(Debug)]
struct GroupNorm {
    /// `[1, C, 1, 1]`
    gamma: Tensor<4>,
    /// `[1, C, 1, 1]`
    beta: Tensor<4>,
}

impl GroupNorm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let grouped = x.reshape([n, GROUPS, c / GROUPS * h * w]);
        let centred = grouped.clone() - grouped.mean_dim(2);
        let std = (centred.clone().square().mean_dim(2) + GROUP_NORM_EPS).sqrt();
        (centred / std).reshape([n, c, h, w]) * self.gamma.clone() + self.beta.clone()
    }
}

struct Loader<'a, 'w> {
    weights: &'a mut Weights<'w>,
    device: &'a Device,
    arch: &'a UnetManifest,
    emb: usize,
}

impl Loader<'_, '_> {
    fn linear(&mut self, name: &str, dims: [usize; 2]) -> Result<Linear, CheckpointError> {
        Linear::load(self.weights, name, dims, self.device)
    }

    fn conv(&mut self, name: &str, dims: [usize; 3]) -> Result<Conv, CheckpointError> {
        Conv::load(self.weights, name, dims, self.device)
    }

    fn norm(&mut self, name: &str, channels: usize) -> Result<GroupNorm, CheckpointError> {
        let mut read = |leaf: &str| self.weights.take(&format!("{name}.{leaf}"), &[channels]);
        let (gamma, beta) = (read("weight")?, read("bias")?);
        let shape = [1, channels, 1, 1];
        Ok(GroupNorm { gamma: tensor(gamma, shape, self.device), beta: tensor(beta, shape, self.device) })
    }

    fn res(&mut self, name: &str, c_in: usize, c_out: usize, resample: Resample) -> Result<Layer, CheckpointError> {
        let scale_shift = self.arch.use_scale_shift_norm;
        let emb_out = if scale_shift { 2 * c_out } else { c_out };
        let skip =
            if c_in == c_out { None } else { Some(self.conv(&format!("{name}.skip_connection"), [c_in, c_out, 1])?) };
        Ok(Layer::Res(Box::new(ResBlock {
            in_norm: self.norm(&format!("{name}.in_layers.0"), c_in)?,
            in_conv: self.conv(&format!("{name}.in_layers.2"), [c_in, c_out, 3])?,
            emb: self.linear(&format!("{name}.emb_layers.1"), [self.emb, emb_out])?,
            out_norm: self.norm(&format!("{name}.out_layers.0"), c_out)?,
            out_conv: self.conv(&format!("{name}.out_layers.3"), [c_out, c_out, 3])?,
            skip,
            resample,
            scale_shift,
        })))
    }

    fn attention(&mut self, name: &str, channels: usize) -> Result<Layer, CheckpointError> {
        Ok(Layer::Attention(Attention {
            norm: self.norm(&format!("{name}.norm"), channels)?,
            qkv: self.conv(&format!("{name}.qkv"), [channels, 3 * channels, 1])?,
            proj_out: self.conv(&format!("{name}.proj_out"), [channels, channels, 1])?,
            heads: channels / self.arch.num_head_channels,
        }))
    }
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
