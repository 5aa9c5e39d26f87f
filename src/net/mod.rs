//! Networks, one folder per architecture, as functions of their input.
//!
//! A network is a [`burn::module::Module`]: its weights are parameters in PyTorch's layout, its batch norms stand where the
//! checkpoint has them. One walk over an architecture ([`Source`]) gives its weights, the names and shapes of its tensors,
//! and with them its counts and its footprint. What is loaded is meant for inference ([`burn::module::Module::valid`]): no
//! forward pass changes it, and gradients reach the input only. `fold` makes of it the same function in fewer passes over
//! memory, which cannot be trained any more; [`burn::module::Module::train`] turns the unfolded network to training, where
//! batch norms use and update the statistics of the batch. On the CPU a network is compiled to a [`Plan`] (a U-Net as
//! [`unet::Frozen`]), which is several times as fast and sums the same way for any batch; networks that train there have
//! convolutions and norms of our own (`conv`), and whoever trains one finds its numbers in [`numbers`].
//!
//! A network knows neither value ranges nor noise levels, and one naming of tensors: OpenAI's for U-Nets, torchvision's for
//! residual networks and for Inception; whoever opens a file of other names translates them.

mod build;
pub mod check;
mod conv;
mod footprint;
pub mod inception;
#[cfg(test)]
mod laws;
mod layer;
pub mod lpips;
pub mod numbers;
mod plan;
pub mod resnet;
pub mod unet;
mod untuned;

use burn::tensor::{Device, Tensor, TensorData};

pub use self::build::{Shapes, Source};
pub use self::plan::{Plan, Roofline, StepTime};

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Average over 2x2 blocks.
fn average_pool_2x2(x: Tensor<4>) -> Tensor<4> {
    check::call(
        &2_usize,
        x,
        |side| format!("average over {side}x{side}"),
        |_, x| {
            if let Some(halved) = conv::halved(&x) {
                return halved;
            }
            let [n, c, h, w] = x.dims();
            x.reshape([n, c, h / 2, 2, w / 2, 2]).mean_dim(5).mean_dim(3).reshape([n, c, h / 2, w / 2])
        },
    )
}

/// Every pixel twice in both directions.
fn nearest_upsample_2x(x: Tensor<4>) -> Tensor<4> {
    check::call(
        &2_usize,
        x,
        |side| format!("upsampling to {side}x{side}"),
        |_, x| {
            if let Some(doubled) = conv::doubled(&x) {
                return doubled;
            }
            let [n, c, h, w] = x.dims();
            x.reshape([n, c, h, 1, w, 1]).expand([n, c, h, 2, w, 2]).reshape([n, c, 2 * h, 2 * w])
        },
    )
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
