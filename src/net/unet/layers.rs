//! What the U-Net is built of: residual blocks, attention, and resampling by convolutions.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn::tensor::module::layer_norm;

use super::arch::{AttentionOrder, UnetManifest};
use crate::checkpoint::CheckpointError;
use crate::net::build::Build;
use crate::net::check;
use crate::net::footprint::{self, Ledger, len};
use crate::net::layer::{Conv, Linear, curved, values};
pub(super) use crate::net::plan::Resample;
use crate::net::plan::{self, Curve, Film, Filter, Norm, Sketch, Value};
use crate::net::{average_pool_2x2, conv, nearest_upsample_2x};

/// Groups of every group norm.
const GROUPS: usize = 32;
/// PyTorch's default.
const GROUP_NORM_EPS: f64 = 1e-5;

/// One entry of a block.
#[derive(Module, Debug)]
pub(super) enum Layer {
    Res(ResBlock),
    Attention(Attention),
    /// A 3x3 convolution with stride 2.
    Down(Conv),
    /// Every pixel twice in both directions, then a 3x3 convolution.
    Up(Conv),
}

impl Layer {
    /// `x`: `[N, C, H, W]`, `emb` (after `SiLU`): `[N, E]`.
    pub(super) fn forward(&self, x: Tensor<4>, emb: &Tensor<2>) -> Tensor<4> {
        match self {
            Self::Res(block) => check::call(
                &(block.clone(), emb.clone()),
                x,
                |(block, _)| block.name(),
                |(block, emb), x| {
                    let (n, known) = (x.dims()[0], emb.dims()[0]);
                    block.forward(x, &if n < known { emb.clone().narrow(0, 0, n) } else { emb.clone() })
                },
            ),
            Self::Attention(attention) => check::call(attention, x, Attention::name, Attention::forward),
            Self::Down(conv) => conv.forward(x),
            Self::Up(conv) => conv.forward(nearest_upsample_2x(x)),
        }
    }

    /// Accounts for the layer's working set beside its input, which is held; returns the result's shape.
    pub(super) fn account(&self, ledger: &mut Ledger, input: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Res(block) => block.account(ledger, input),
            Self::Attention(attention) => {
                attention.account(ledger, input);
                input
            }
            Self::Down(conv) => {
                ledger.work(footprint::forward(conv, input));
                conv.output(input)
            }
            Self::Up(conv) => {
                let larger = Resample::Up.output(input);
                ledger.work(footprint::forward(conv, larger));
                conv.output(larger)
            }
        }
    }

    /// Writes the layer down for a plan; its weights are given up, so that nobody holds them twice.
    ///
    /// `x` with the channels that lie behind its own, `emb` after `SiLU`.
    pub(super) fn sketch(self, sketch: &mut Sketch, x: (Value, Option<Value>), emb: Value) -> Value {
        match self {
            Self::Res(block) => block.sketch(sketch, x, emb),
            Self::Attention(attention) => attention.sketch(sketch, x.0),
            Self::Down(conv) => sketch.conv(x.0, &conv.filter(), None, None),
            Self::Up(conv) => {
                let x = sketch.upsample(x.0);
                sketch.conv(x, &conv.filter(), None, None)
            }
        }
    }

    /// Whether a plan can give it an input in two parts.
    pub(super) const fn joins(&self) -> bool {
        matches!(self, Self::Res(ResBlock { skip: Some(_), resample: Resample::None, .. }))
    }

    /// The same with dropout in its residual block, if it is one.
    pub(super) fn with_dropout(self, prob: f64) -> Self {
        match self {
            Self::Res(block) => Self::Res(ResBlock { dropout: DropoutConfig::new(prob).init(), ..block }),
            other => other,
        }
    }
}

impl Resample {
    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None => x,
            Self::Down => average_pool_2x2(x),
            Self::Up => nearest_upsample_2x(x),
        }
    }

    const fn output(self, [c, h, w]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::None => [c, h, w],
            Self::Down => [c, h / 2, w / 2],
            Self::Up => [c, 2 * h, 2 * w],
        }
    }
}

/// Residual block with FiLM or additive conditioning.
#[derive(Module, Debug)]
pub(super) struct ResBlock {
    in_norm: GroupNorm,
    in_conv: Conv,
    emb: Linear,
    out_norm: GroupNorm,
    dropout: Dropout,
    out_conv: Conv,
    skip: Option<Conv>,
    #[module(skip)]
    resample: Resample,
    scale_shift: bool,
}

impl ResBlock {
    /// In words.
    fn name(&self) -> String {
        let [c_out, c_in, ..] = self.in_conv.dims();
        let shortcut = if self.skip.is_some() { " with a 1x1 shortcut" } else { "" };
        format!("residual block{shortcut}, {c_in} to {c_out} channels")
    }

    /// `x`: `[N, C_in, H, W]`, `emb` (after `SiLU`): `[N, E]`.
    fn forward(&self, x: Tensor<4>, emb: &Tensor<2>) -> Tensor<4> {
        let h = self.resample.forward(self.in_norm.forward(x.clone(), Some(Curve::Silu)));
        let x = self.resample.forward(x);
        let h = self.in_conv.forward(h);
        let [n, c, _, _] = h.dims();
        let emb = self.emb.forward(emb.clone());
        let h = if self.scale_shift {
            let scale = emb.clone().narrow(1, 0, c).reshape([n, c, 1, 1]);
            let shift = emb.narrow(1, c, c).reshape([n, c, 1, 1]);
            self.out_norm.forward_film(h, scale + 1.0, shift, Some(Curve::Silu))
        } else {
            self.out_norm.forward(h + emb.reshape([n, c, 1, 1]), Some(Curve::Silu))
        };
        let h = self.out_conv.forward(self.dropout.forward(h));
        let skip = match &self.skip {
            Some(conv) => conv.forward(x),
            None => x,
        };
        skip + h
    }

    fn sketch(self, sketch: &mut Sketch, (x, behind): (Value, Option<Value>), emb: Value) -> Value {
        let curve = Some(Curve::Silu);
        let film = if self.scale_shift { Film::Scale } else { Film::Add };
        let h = sketch.norm(self.in_norm.planned(film, self.resample), (x, behind), None, curve);
        let h = sketch.conv(h, &self.in_conv.filter(), None, None);
        let emb = sketch.conv(emb, &self.emb.filter(), None, None);
        let h = sketch.norm(self.out_norm.planned(film, Resample::None), (h, None), Some(emb), curve);
        let x = match self.resample {
            Resample::None => x,
            Resample::Down => sketch.average_pool(x),
            Resample::Up => sketch.upsample(x),
        };
        let skip = match (self.skip.map(Conv::filter), behind) {
            (None, _) => x,
            (Some(filter), None) => sketch.conv(x, &filter, None, None),
            (Some(filter), Some(behind)) => {
                // A sum over both parts, instead of a copy of them.
                let (first, all) = (sketch.channels(x), filter.dims[1]);
                let part = |channels: std::ops::Range<usize>| filter.inputs(&channels.map(Some).collect::<Vec<_>>());
                let sum = sketch.conv(x, &Filter { bias: None, ..part(0..first) }, None, None);
                sketch.conv(behind, &part(first..all), Some(sum), None)
            }
        };
        sketch.conv(h, &self.out_conv.filter(), Some(skip), None)
    }

    fn account(&self, ledger: &mut Ledger, input: [usize; 3]) -> [usize; 3] {
        ledger.work(norm_values(input));
        let resampled = self.resample.output(input);
        // The input is held by the caller, its resampled copy is not.
        let x = if self.resample == Resample::None { 0 } else { len(resampled) };
        ledger.work(len(input) + 2 * len(resampled));
        ledger.work(x + footprint::forward(&self.in_conv, resampled));
        let output = self.in_conv.output(resampled);
        ledger.work(x + len(output) + norm_values(output));
        ledger.work(x + footprint::forward(&self.out_conv, output));
        if let Some(conv) = &self.skip {
            ledger.work(len(output) + footprint::forward(conv, resampled));
        }
        output
    }
}

/// Self-attention over pixels.
#[derive(Module, Debug)]
pub(super) struct Attention {
    norm: GroupNorm,
    qkv: Conv,
    proj_out: Conv,
    heads: usize,
    #[module(skip)]
    order: AttentionOrder,
}

impl Attention {
    /// In words.
    fn name(&self) -> String {
        format!("attention of {} heads, {} channels", self.heads, self.proj_out.dims()[0])
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let qkv = self.qkv.forward(self.norm.forward(x.clone(), None));
        let attended = conv::attention(&qkv, self.heads, self.order == AttentionOrder::Legacy);
        x + self.proj_out.forward(attended.unwrap_or_else(|| self.attend(qkv)))
    }

    /// By burn's operations.
    fn attend(&self, qkv: Tensor<4>) -> Tensor<4> {
        let [n, channels, h, w] = qkv.dims();
        let [query, key, value] = self.split(qkv);
        // d^-1/4 on both sides, as in the original.
        let scale = ((channels / (3 * self.heads)) as f64).powf(-0.25);
        let query = (query * scale).swap_dims(2, 3); // [N, heads, HW, d]
        let scores = softmax(query.matmul(key * scale), 3); // [N, heads, HW, HW]
        value.matmul(scores.swap_dims(2, 3)).reshape([n, channels / 3, h, w])
    }

    /// Queries, keys and values of every head, each `[N, heads, d, HW]`, from `[N, 3 C, H, W]`.
    ///
    /// The newer order of channels is `[Q | K | V]`, each `[head, d]`; in the legacy one every head has its own
    /// `[q | k | v]`.
    fn split(&self, qkv: Tensor<4>) -> [Tensor<4>; 3] {
        let [n, channels, h, w] = qkv.dims();
        let heads = self.heads;
        let d = channels / (3 * heads);
        match self.order {
            AttentionOrder::New => {
                let parts = qkv.reshape([n, 3 * heads, d, h * w]);
                [0, 1, 2].map(|i| parts.clone().narrow(1, i * heads, heads))
            }
            AttentionOrder::Legacy => {
                let parts = qkv.reshape([n, heads, 3 * d, h * w]);
                [0, 1, 2].map(|i| parts.clone().narrow(2, i * d, d))
            }
        }
    }

    fn sketch(self, sketch: &mut Sketch, x: Value) -> Value {
        let (qkv, proj_out, heads) = (self.qkv.filter(), self.proj_out.filter(), self.heads);
        let d = proj_out.dims[1] / heads;
        // A head's channels are filled up with zeros to whole vectors.
        let attention = plan::Attention::new(heads, d);
        let channel = |part: usize, head: usize, i: usize| match self.order {
            AttentionOrder::New => (part * heads + head) * d + i,
            AttentionOrder::Legacy => (head * 3 + part) * d + i,
        };
        let slots = |part: usize| {
            (0..heads * attention.width).map(move |slot| (part, slot / attention.width, slot % attention.width))
        };
        let real = |(part, head, i)| (i < d).then(|| channel(part, head, i));
        let mut qkv = qkv.outputs(&(0..3).flat_map(slots).map(real).collect::<Vec<_>>());
        // d^-1/4 on both sides, all of it on the queries'.
        let scale = (d as f64).powf(-0.5) as f32;
        let queries = heads * attention.width;
        let fan = qkv.weight.len() / qkv.dims[0];
        let bias = qkv.bias.iter_mut().flat_map(|bias| &mut bias[..queries]);
        qkv.weight[..queries * fan].iter_mut().chain(bias).for_each(|value| *value *= scale);
        let columns: Vec<_> = slots(0).map(|(_, head, i)| (i < d).then_some(head * d + i)).collect();

        let h = sketch.norm(self.norm.planned(Film::Add, Resample::None), (x, None), None, None);
        let h = sketch.conv(h, &qkv, None, None);
        let h = sketch.attention(h, attention);
        sketch.conv(h, &proj_out.inputs(&columns), Some(x), None)
    }

    fn account(&self, ledger: &mut Ledger, input @ [_, h, w]: [usize; 3]) {
        ledger.work(norm_values(input));
        ledger.work(footprint::forward(&self.qkv, input));
        // Queries, keys and values, scaled copies of the first two; scores before and after the softmax.
        ledger.work(5 * len(input) + 2 * self.heads * (h * w).pow(2));
    }
}

/// Group norm, 32 groups.
#[derive(Module, Debug)]
pub(super) struct GroupNorm {
    /// `[C]`
    gamma: Param<Tensor<1>>,
    /// `[C]`
    beta: Param<Tensor<1>>,
}

impl GroupNorm {
    /// The norm, and an activation.
    pub(super) fn forward(&self, x: Tensor<4>, curve: Option<Curve>) -> Tensor<4> {
        let (gamma, beta) = self.columns();
        affine([x, gamma, beta], curve)
    }

    /// The norm, times `scale`, plus `shift`, both `[N, C, 1, 1]`: joined into one factor and one summand per channel,
    /// so that the map is passed over less often. And an activation.
    fn forward_film(&self, x: Tensor<4>, scale: Tensor<4>, shift: Tensor<4>, curve: Option<Curve>) -> Tensor<4> {
        let (gamma, beta) = self.columns();
        affine([x, gamma * scale.clone(), beta * scale + shift], curve)
    }

    /// For a plan.
    pub(super) fn planned(&self, film: Film, resample: Resample) -> Norm {
        let (gamma, beta) = (values(self.gamma.val()), values(self.beta.val()));
        Norm { gamma, beta, groups: GROUPS, film, resample }
    }

    /// Both as `[1, C, 1, 1]`.
    fn columns(&self) -> (Tensor<4>, Tensor<4>) {
        let column = |param: &Param<Tensor<1>>| {
            let [channels] = param.lazy_shape().dims();
            param.val().reshape([1, channels, 1, 1])
        };
        (column(&self.gamma), column(&self.beta))
    }
}

/// Every group normalised, times a factor, plus a summand, and an activation.
fn affine([x, factor, summand]: [Tensor<4>; 3], curve: Option<Curve>) -> Tensor<4> {
    if let Some(y) = conv::group_norm([&x, &factor, &summand], (GROUPS, GROUP_NORM_EPS), curve) {
        return y;
    }
    let y = normalise(x) * factor + summand;
    if let Some(curve) = curve { curved(y, curve) } else { y }
}

/// Every group to mean 0 and variance 1: a layer norm over the values of a group, which the CPU backend computes in one
/// pass over memory.
fn normalise(x: Tensor<4>) -> Tensor<4> {
    let channels = x.dims()[1];
    check::call(
        &channels,
        x,
        |channels| format!("group norm of {channels} channels"),
        |_, x| {
            let [n, c, h, w] = x.dims();
            let values = c / GROUPS * h * w;
            let ones = Tensor::ones([values], &x.device());
            layer_norm(x.reshape([n, GROUPS, values]), ones, None, GROUP_NORM_EPS).reshape([n, c, h, w])
        },
    )
}

/// Values in use beside the input while it is normalised and activated: the result, and its sigmoid.
pub(super) const fn norm_values(input: [usize; 3]) -> usize {
    2 * len(input)
}

/// Makes layers by the published names.
pub(super) struct Layers<'a> {
    pub(super) build: Build<'a>,
    pub(super) arch: &'a UnetManifest,
    /// Length of the embedding.
    pub(super) emb: usize,
}

impl Layers<'_> {
    fn conv(&mut self, name: &str, dims: [usize; 3]) -> Result<Conv, CheckpointError> {
        self.build.conv(name, dims, true)
    }

    pub(super) fn norm(&mut self, name: &str, channels: usize) -> Result<GroupNorm, CheckpointError> {
        let mut param = |leaf: &str| self.build.param(&format!("{name}.{leaf}"), [channels]);
        Ok(GroupNorm { gamma: param("weight")?, beta: param("bias")? })
    }

    pub(super) fn res(
        &mut self,
        name: &str,
        c_in: usize,
        c_out: usize,
        resample: Resample,
    ) -> Result<Layer, CheckpointError> {
        let scale_shift = self.arch.use_scale_shift_norm;
        let emb_out = if scale_shift { 2 * c_out } else { c_out };
        let skip =
            if c_in == c_out { None } else { Some(self.conv(&format!("{name}.skip_connection"), [c_in, c_out, 1])?) };
        Ok(Layer::Res(ResBlock {
            in_norm: self.norm(&format!("{name}.in_layers.0"), c_in)?,
            in_conv: self.conv(&format!("{name}.in_layers.2"), [c_in, c_out, 3])?,
            emb: self.build.linear(&format!("{name}.emb_layers.1"), [self.emb, emb_out])?,
            out_norm: self.norm(&format!("{name}.out_layers.0"), c_out)?,
            dropout: DropoutConfig::new(0.0).init(),
            out_conv: self.conv(&format!("{name}.out_layers.3"), [c_out, c_out, 3])?,
            skip,
            resample,
            scale_shift,
        }))
    }

    /// Halves the size: a residual block or a convolution.
    pub(super) fn down(&mut self, name: &str, channels: usize) -> Result<Layer, CheckpointError> {
        if self.arch.resblock_updown {
            return self.res(name, channels, channels, Resample::Down);
        }
        Ok(Layer::Down(self.conv(&format!("{name}.op"), [channels, channels, 3])?.with_stride(2)))
    }

    /// Doubles the size: a residual block or a convolution behind an upsampling.
    pub(super) fn up(&mut self, name: &str, channels: usize) -> Result<Layer, CheckpointError> {
        if self.arch.resblock_updown {
            return self.res(name, channels, channels, Resample::Up);
        }
        Ok(Layer::Up(self.conv(&format!("{name}.conv"), [channels, channels, 3])?))
    }

    pub(super) fn attention(&mut self, name: &str, channels: usize) -> Result<Layer, CheckpointError> {
        Ok(Layer::Attention(Attention {
            norm: self.norm(&format!("{name}.norm"), channels)?,
            qkv: self.conv(&format!("{name}.qkv"), [channels, 3 * channels, 1])?,
            proj_out: self.conv(&format!("{name}.proj_out"), [channels, channels, 1])?,
            heads: self.arch.heads(channels),
            order: self.arch.attention_order,
        }))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn film_joins_two_affine_maps() {
        let device = Device::flex();
        let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
        let param = || Param::initialized(ParamId::new(), random([1, 64, 1, 1]).reshape([64]));
        let norm = GroupNorm { gamma: param(), beta: param() };
        let (x, scale, shift) = (random([2, 64, 3, 5]), random([2, 64, 1, 1]), random([2, 64, 1, 1]));
        let joined = norm.forward_film(x.clone(), scale.clone(), shift.clone(), None);
        let apart = joined - (norm.forward(x, None) * scale + shift);
        assert!(apart.abs().max().into_scalar::<f32>() < 1e-5);
    }

    #[test]
    fn groups_are_normalised_sample_by_sample() {
        let device = Device::flex();
        let x = Tensor::<4>::random([2, 64, 4, 4], Distribution::Normal(3.0, 2.0), &device);
        let groups = normalise(x).reshape([2, 32, 32]);
        let (variance, mean) = groups.var_mean_bias(2);
        assert!(mean.abs().max().into_scalar::<f32>() < 1e-5);
        assert!((variance - 1.0).abs().max().into_scalar::<f32>() < 1e-4);
    }
}
