//! What networks are built of: convolutions and linear layers in PyTorch's layout, and batch norms that can be folded away.

use burn::module::{Module, Param, ParamId};
use burn::nn::BatchNorm;
use burn::tensor::activation::{relu, silu};
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Tensor};

use super::plan::{Curve, Filter};
use super::{check, conv, tensor, untuned};

/// A 2-d convolution, padded by half its kernel: a stride of 1 keeps the size, one of 2 halves it, rounding up.
#[derive(Module, Debug)]
pub(super) struct Conv {
    /// `[C_out, C_in, k, k]`
    pub(super) weight: Param<Tensor<4>>,
    /// `[C_out]`
    pub(super) bias: Option<Param<Tensor<1>>>,
    stride: usize,
    /// Whether the padding of a stride lies at the right and the bottom only.
    behind: bool,
}

impl Conv {
    pub(super) const fn new(weight: Param<Tensor<4>>, bias: Option<Param<Tensor<1>>>) -> Self {
        Self { weight, bias, stride: 1, behind: false }
    }

    /// The same with another stride.
    pub(super) fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same with TensorFlow's padding `SAME`: where a stride of 2 meets an even side, nothing is padded before it.
    pub(super) fn padded_behind(self) -> Self {
        let behind = self.stride > 1 && self.dims()[2] > 1;
        Self { behind, ..self }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        check::call(self, x, Self::name, Self::compute)
    }

    /// In words.
    fn name(&self) -> String {
        let ([c_out, c_in, kernel, _], stride) = (self.dims(), self.stride);
        let by = if stride == 1 { String::new() } else { format!(" by {stride}") };
        format!("convolution {kernel}x{kernel}{by}, {c_in} to {c_out} channels")
    }

    fn compute(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, kernel, _] = self.dims();
        let [before, behind] = if self.behind { [0, kernel - self.stride] } else { [kernel / 2; 2] };
        let (weight, bias) = (self.weight.val(), self.bias.as_ref().map(Param::val));
        if let Some(arch) = conv::processor(weight.device()) {
            return conv::conv2d(x, weight, bias, (arch, self.stride, [before, behind]));
        }
        let x = if before == behind { x } else { x.pad((0, behind, 0, behind), PadMode::Constant(0.0)) };
        let options = ConvOptions::new([self.stride; 2], [before; 2], [1; 2], 1);
        if untuned::is_asked_for(&x) {
            return untuned::conv2d(x, weight, bias, options);
        }
        conv2d(x, weight, bias, options)
    }

    /// `[C_out, C_in, k, k]`, known before there are values.
    pub(super) fn dims(&self) -> [usize; 4] {
        self.weight.lazy_shape().dims()
    }

    pub(super) const fn stride(&self) -> usize {
        self.stride
    }

    /// Whether its input is copied to be padded.
    pub(super) const fn is_padded_behind(&self) -> bool {
        self.behind
    }

    /// `[C_out, H', W']` that `[C_in, H, W]` becomes.
    pub(super) fn output(&self, [_, h, w]: [usize; 3]) -> [usize; 3] {
        let [c_out, _, kernel, _] = self.dims();
        // Padding by half an odd kernel makes the size ceil(size / stride).
        debug_assert!(kernel % 2 == 1, "kernels are odd");
        [c_out, h.div_ceil(self.stride), w.div_ceil(self.stride)]
    }

    /// For a plan: weights and padding. They are moved, not copied, where nobody else holds them.
    pub(super) fn filter(self) -> Filter {
        let [c_out, c_in, kernel, _] = self.dims();
        let before = if self.behind { 0 } else { kernel / 2 };
        let (weight, bias) = (moved(self.weight), self.bias.map(moved));
        Filter { weight, bias, dims: [c_out, c_in, kernel], stride: self.stride, before }
    }

    /// The first `count` of its output channels only.
    pub(super) fn first(self, count: usize) -> Self {
        let weight = self.weight.map(|weight| weight.narrow(0, 0, count));
        let bias = self.bias.map(|bias| bias.map(|bias| bias.narrow(0, 0, count)));
        Self { weight, bias, ..self }
    }
}

/// A linear layer.
#[derive(Module, Debug)]
pub(super) struct Linear {
    /// `[d_out, d_in]`
    pub(super) weight: Param<Tensor<2>>,
    /// `[d_out]`
    pub(super) bias: Param<Tensor<1>>,
}

impl Linear {
    /// For a plan: a convolution of one pixel.
    pub(super) fn filter(self) -> Filter {
        let [d_out, d_in] = self.weight.lazy_shape().dims();
        let (weight, bias) = (moved(self.weight), Some(moved(self.bias)));
        Filter { weight, bias, dims: [d_out, d_in, 1], stride: 1, before: 0 }
    }

    /// `[N, d_in]` to `[N, d_out]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        check::call(self, x, Self::name, Self::compute)
    }

    /// In words.
    fn name(&self) -> String {
        let [d_out, d_in] = self.weight.lazy_shape().dims();
        format!("linear layer, {d_in} to {d_out} channels")
    }

    fn compute(&self, x: Tensor<2>) -> Tensor<2> {
        if untuned::is_asked_for(&x) {
            return untuned::linear(x, self.weight.val()) + self.bias.val().unsqueeze();
        }
        x.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }
}

/// A convolution and the batch norm behind it, if there is one.
#[derive(Module, Debug)]
pub(super) struct ConvNorm {
    pub(super) conv: Conv,
    pub(super) norm: Option<BatchNorm>,
}

impl ConvNorm {
    /// Convolution and norm of `x`, something added, and an activation.
    pub(super) fn forward(&self, x: Tensor<4>, add: Option<Tensor<4>>, curve: Option<Curve>) -> Tensor<4> {
        let h = self.conv.forward(x);
        match &self.norm {
            Some(norm) => normed(norm, h, add, curve),
            None => finished(h, add, curve),
        }
    }

    /// For a plan, which knows no norms: `None` until it is folded.
    pub(super) fn filter(&self) -> Option<Filter> {
        self.norm.is_none().then(|| self.conv.clone().filter())
    }

    /// The norm's factor becomes part of the kernel, the rest a bias.
    pub(super) fn fold(self) -> Self {
        let Some(norm) = &self.norm else { return self };
        let (scale, mut shift) = affine(norm);
        let shape = self.conv.dims();
        let mut weight = values(self.conv.weight.val());
        let fan = weight.len() / scale.len();
        for (channel, weights) in weight.chunks_mut(fan).enumerate() {
            for weight in weights {
                *weight *= scale[channel];
            }
        }
        if let Some(bias) = &self.conv.bias {
            let bias = values(bias.val());
            shift.iter_mut().zip(bias).zip(&scale).for_each(|((shift, bias), scale)| *shift += bias * scale);
        }
        let device = self.conv.weight.device();
        let (weight, bias) = (constant(weight, shape, &device), constant(shift, [shape[0]], &device));
        Self { conv: Conv { weight, bias: Some(bias), ..self.conv }, norm: None }
    }
}

/// A batch norm that stands alone.
#[derive(Module, Debug)]
pub(super) enum Norm {
    Batch(BatchNorm),
    Folded(Affine),
}

/// What is left of it: a factor and a summand per channel.
#[derive(Module, Debug)]
pub(super) struct Affine {
    /// `[C]`
    scale: Param<Tensor<1>>,
    /// `[C]`
    shift: Param<Tensor<1>>,
}

impl Norm {
    /// The norm of `x`, and an activation.
    pub(super) fn forward(&self, x: Tensor<4>, curve: Curve) -> Tensor<4> {
        match self {
            Self::Batch(norm) => normed(norm, x, None, Some(curve)),
            Self::Folded(Affine { scale, shift }) => {
                let [_, c, _, _] = x.dims();
                let column = |param: &Param<Tensor<1>>| param.val().reshape([1, c, 1, 1]);
                curved(x * column(scale) + column(shift), curve)
            }
        }
    }

    /// For a plan: factor and summand per channel, `None` until it is folded.
    pub(super) fn affine(&self) -> Option<[Vec<f32>; 2]> {
        match self {
            Self::Batch(_) => None,
            Self::Folded(Affine { scale, shift }) => Some([values(scale.val()), values(shift.val())]),
        }
    }

    pub(super) fn fold(self) -> Self {
        let Self::Batch(norm) = self else { return self };
        let (scale, shift) = affine(&norm);
        let (shape, device) = ([scale.len()], norm.gamma.device());
        Self::Folded(Affine { scale: constant(scale, shape, &device), shift: constant(shift, shape, &device) })
    }
}

/// A batch norm, something added, and an activation.
fn normed(norm: &BatchNorm, x: Tensor<4>, add: Option<Tensor<4>>, curve: Option<Curve>) -> Tensor<4> {
    match conv::batch_norm(&x, norm, add.as_ref(), curve) {
        Some(y) => y,
        None => finished(norm.forward(x), add, curve),
    }
}

fn finished(x: Tensor<4>, add: Option<Tensor<4>>, curve: Option<Curve>) -> Tensor<4> {
    let sum = if let Some(add) = add { x + add } else { x };
    if let Some(curve) = curve { curved(sum, curve) } else { sum }
}

/// An activation by burn's operations.
pub(super) fn curved(x: Tensor<4>, curve: Curve) -> Tensor<4> {
    match curve {
        Curve::Relu => relu(x),
        Curve::Silu => silu(x),
    }
}

/// Factor and summand per channel that a batch norm amounts to with its stored statistics.
///
/// Computed on the host, so that they are the same on every device.
fn affine(norm: &BatchNorm) -> (Vec<f32>, Vec<f32>) {
    let (gamma, mut shift) = (values(norm.gamma.val()), values(norm.beta.val()));
    let (mean, var) = (values(norm.running_mean.value_sync()), values(norm.running_var.value_sync()));
    let epsilon = norm.epsilon as f32;
    let scale: Vec<f32> = gamma.iter().zip(&var).map(|(gamma, var)| gamma / (var + epsilon).sqrt()).collect();
    for (channel, shift) in shift.iter_mut().enumerate() {
        *shift -= mean[channel] * scale[channel];
    }
    (scale, shift)
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("weights are of single precision")
}

/// The values of a parameter that is given up.
fn moved<const D: usize>(param: Param<Tensor<D>>) -> Vec<f32> {
    values(param.into_value())
}

/// A parameter of a folded network.
fn constant<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), tensor(values, shape, device))
}
