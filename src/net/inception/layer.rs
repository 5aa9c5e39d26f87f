//! Convolutions of any kernel with the batch norm and the ReLU behind them, and a matrix without a bias.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::arch::Filter;
use crate::checkpoint::CheckpointError;
use crate::net::build::Source;
use crate::net::layer::values;
use crate::net::plan::{self, Window};
use crate::net::{check, numbers, tensor, untuned};

/// Of the batch norms, instead of PyTorch's default.
const EPSILON: f32 = 1e-3;

/// Where the weights come from, and where they go.
pub(super) struct Origin<'a> {
    pub(super) source: &'a mut dyn Source,
    pub(super) device: &'a Device,
    /// Whether norms have factors.
    pub(super) scaled: bool,
}

impl Origin<'_> {
    /// A parameter of these values, left open where there are none.
    fn param<const D: usize>(&self, name: &str, shape: [usize; D], values: Option<Vec<f32>>) -> Param<Tensor<D>> {
        let id = numbers::id(name);
        match values {
            Some(values) => Param::initialized(id, tensor(values, shape, self.device)),
            None => {
                let zeros = move |device: &Device, _: bool| Tensor::zeros(shape, device);
                Param::uninitialized(id, zeros, self.device.clone(), false, shape.into())
            }
        }
    }

    /// Factor and summand per channel that a batch norm amounts to; `None` where the values are left open.
    fn norm(&mut self, name: &str, channels: usize) -> Result<Option<[Vec<f32>; 2]>, CheckpointError> {
        let mut of = |leaf: &str| self.source.values(&format!("{name}.{leaf}"), &[channels]);
        let gamma = if self.scaled { of("weight")? } else { Some(vec![1.0; channels]) };
        let (beta, mean, var) = (of("bias")?, of("running_mean")?, of("running_var")?);
        let (Some(gamma), Some(beta), Some(mean), Some(var)) = (gamma, beta, mean, var) else { return Ok(None) };
        let scale: Vec<f32> = gamma.iter().zip(&var).map(|(gamma, var)| gamma / (var + EPSILON).sqrt()).collect();
        let shift = beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
        Ok(Some([scale, shift]))
    }
}

/// A convolution with a bias, and a ReLU.
#[derive(Module, Debug)]
pub(super) struct Layer {
    /// `[C_out, C_in, h, w]`
    weight: Param<Tensor<4>>,
    /// `[C_out]`
    bias: Param<Tensor<1>>,
    stride: usize,
    /// Above and below the map.
    rows: usize,
    /// Before and behind it.
    columns: usize,
}

impl Layer {
    /// `<name>.conv.weight` and the norm `<name>.bn`, which is folded into it.
    pub(super) fn load(
        from: &mut Origin<'_>,
        name: &str,
        channels: usize,
        filter: Filter,
    ) -> Result<Self, CheckpointError> {
        let Filter { width, kernel: [h, w], stride, padding: [rows, columns], .. } = filter;
        let (name_of, shape) = (format!("{name}.conv.weight"), [width, channels, h, w]);
        let mut weight = from.source.values(&name_of, &shape)?;
        let norm = from.norm(&format!("{name}.bn"), width)?;
        if let (Some(weight), Some([scale, _])) = (&mut weight, &norm) {
            for (weights, scale) in weight.chunks_mut(channels * h * w).zip(scale) {
                for weight in weights {
                    *weight *= scale;
                }
            }
        }
        let weight = from.param(&name_of, shape, weight);
        let bias = from.param(&format!("{name}.bn.bias"), [width], norm.map(|[_, shift]| shift));
        Ok(Self { weight, bias, stride, rows, columns })
    }

    /// For a plan.
    pub(super) fn window(&self) -> Window {
        let dims = self.weight.lazy_shape().dims();
        let (weight, bias) = (values(self.weight.val()), values(self.bias.val()));
        Window { weight, bias, dims, stride: self.stride, padding: [self.rows, self.columns] }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        relu(check::call(self, x, Self::name, Self::compute))
    }

    /// In words.
    fn name(&self) -> String {
        let ([c_out, c_in, h, w], stride) = (self.weight.lazy_shape().dims(), self.stride);
        let by = if stride == 1 { String::new() } else { format!(" by {stride}") };
        format!("convolution {h}x{w}{by}, {c_in} to {c_out} channels")
    }

    fn compute(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([self.stride; 2], [self.rows, self.columns], [1; 2], 1);
        let (weight, bias) = (self.weight.val(), Some(self.bias.val()));
        if untuned::is_asked_for(&x) {
            return untuned::conv2d(x, weight, bias, options);
        }
        conv2d(x, weight, bias, options)
    }
}

/// A linear layer without a bias.
#[derive(Module, Debug)]
pub(super) struct Matrix {
    /// `[d_out, d_in]`
    weight: Param<Tensor<2>>,
}

impl Matrix {
    pub(super) fn load(from: &mut Origin<'_>, name: &str, shape: [usize; 2]) -> Result<Self, CheckpointError> {
        let values = from.source.values(name, &shape)?;
        Ok(Self { weight: from.param(name, shape, values) })
    }

    /// Where it lies.
    pub(super) fn device(&self) -> Device {
        self.weight.device()
    }

    /// For a plan: a convolution of one pixel.
    pub(super) fn filter(&self) -> plan::Filter {
        let [d_out, d_in] = self.weight.lazy_shape().dims();
        plan::Filter { weight: values(self.weight.val()), bias: None, dims: [d_out, d_in, 1], stride: 1, before: 0 }
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
            untuned::linear(x, self.weight.val())
        } else {
            x.matmul(self.weight.val().transpose())
        }
    }
}
