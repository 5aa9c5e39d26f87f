//! Networks, one file per architecture, as pure functions of their input.
//!
//! Weights are plain tensors outside autodiff, so gradients reach the input only; there is no training mode, hence
//! nothing that a forward pass could change. A network knows neither value ranges nor noise levels, and one naming of
//! tensors: OpenAI's for U-Nets, torchvision's for residual networks; [`crate::checkpoint`] translates all others.

mod footprint;
pub mod resnet;
pub mod unet;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use crate::checkpoint::{CheckpointError, Weights};

/// A 2-d convolution with its weights, padded by half its kernel: a stride of 1 keeps the size, one of 2 halves it.
#[derive(Debug, Clone)]
struct Conv {
    /// `[C_out, C_in, k, k]`
    weight: Tensor<4>,
    /// `[C_out]`
    bias: Option<Tensor<1>>,
    stride: usize,
}

impl Conv {
    /// Reads `<name>.weight` and `<name>.bias`.
    fn load(weights: &mut Weights<'_>, name: &str, dims: [usize; 3], device: &Device) -> Result<Self, CheckpointError> {
        let [_, c_out, _] = dims;
        Self::load_first(weights, name, dims, c_out, device)
    }

    /// As [`Conv::load`], but keeps only the first `keep` of the `C_out` channels that are in the file.
    fn load_first(
        weights: &mut Weights<'_>,
        name: &str,
        [c_in, c_out, kernel]: [usize; 3],
        keep: usize,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let mut weight = weights.take(&format!("{name}.weight"), &[c_out, c_in, kernel, kernel])?;
        let mut bias = weights.take(&format!("{name}.bias"), &[c_out])?;
        weight.truncate(keep * c_in * kernel * kernel);
        bias.truncate(keep);
        let weight = tensor(weight, [keep, c_in, kernel, kernel], device);
        Ok(Self { weight, bias: Some(tensor(bias, [keep], device)), stride: 1 })
    }

    /// The same with another stride.
    fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, kernel, _] = self.weight.dims();
        let pad = kernel / 2;
        let options = ConvOptions::new([self.stride; 2], [pad; 2], [1; 2], 1);
        conv2d(x, self.weight.clone(), self.bias.clone(), options)
    }

    /// `[C_out, H', W']` that `[C_in, H, W]` becomes.
    fn output(&self, [_, h, w]: [usize; 3]) -> [usize; 3] {
        let [c_out, _, kernel, _] = self.weight.dims();
        // Padding by half an odd kernel makes the size ceil(size / stride).
        debug_assert!(kernel % 2 == 1, "kernels are odd");
        [c_out, h.div_ceil(self.stride), w.div_ceil(self.stride)]
    }

    /// Number of weights.
    fn len(&self) -> usize {
        let [c_out, c_in, h, w] = self.weight.dims();
        c_out * (c_in * h * w + usize::from(self.bias.is_some()))
    }
}

/// A linear layer.
#[derive(Debug, Clone)]
struct Linear {
    /// `[d_in, d_out]`, the transpose of PyTorch's.
    weight: Tensor<2>,
    /// `[1, d_out]`
    bias: Tensor<2>,
}

impl Linear {
    /// Reads `<name>.weight` `[d_out, d_in]` and `<name>.bias`.
    fn load(
        weights: &mut Weights<'_>,
        name: &str,
        [d_in, d_out]: [usize; 2],
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let weight = weights.take(&format!("{name}.weight"), &[d_out, d_in])?;
        let bias = weights.take(&format!("{name}.bias"), &[d_out])?;
        Ok(Self {
            weight: tensor::<2>(weight, [d_out, d_in], device).transpose(),
            bias: tensor(bias, [1, d_out], device),
        })
    }

    /// `[N, d_in]` to `[N, d_out]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone()) + self.bias.clone()
    }

    /// Number of weights.
    fn len(&self) -> usize {
        let [d_in, d_out] = self.weight.dims();
        (d_in + 1) * d_out
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Average over 2x2 blocks.
fn average_pool_2x2(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h / 2, 2, w / 2, 2]).mean_dim(5).mean_dim(3).reshape([n, c, h / 2, w / 2])
}

/// Every pixel twice in both directions.
fn nearest_upsample_2x(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h, 1, w, 1]).expand([n, c, h, 2, w, 2]).reshape([n, c, 2 * h, 2 * w])
}

/// PyTorch's `pixel_unshuffle`: `[N, C, H, W]` to `[N, C p², H/p, W/p]`.
///
/// # Panics
/// When `p` does not divide height and width.
#[must_use]
pub fn pixel_unshuffle(x: Tensor<4>, p: usize) -> Tensor<4> {
    if p == 1 {
        return x;
    }
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h / p, p, w / p, p]).permute([0, 1, 3, 5, 2, 4]).reshape([n, c * p * p, h / p, w / p])
}

/// PyTorch's `pixel_shuffle`, the inverse of [`pixel_unshuffle`].
///
/// # Panics
/// When `p²` does not divide the channels.
#[must_use]
pub fn pixel_shuffle(x: Tensor<4>, p: usize) -> Tensor<4> {
    if p == 1 {
        return x;
    }
    let [n, cpp, h, w] = x.dims();
    let c = cpp / (p * p);
    x.reshape([n, c, p, p, h, w]).permute([0, 1, 4, 2, 5, 3]).reshape([n, c, h * p, w * p])
}
