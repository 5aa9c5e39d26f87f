//! Convolutions and linear layers of a GPU by one plain kernel each, for devices whose fastest kernels compute wrongly.
//!
//! burn chooses kernels by timing them, which cannot be switched off in a program; what it chooses from can be called by
//! name. Pools, means and attention have no such way around: where those are wrong, the device is of no use.
//!
//! # Source
//! burn-cubecl 0.22.1, `kernel/conv/base.rs`; the gradient as `backend/ops/modules/conv.rs` of burn-backend has it.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::ops::conv::calculate_padding_out;
use burn::backend::ops::{ConvOptions, ConvTransposeOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Cube, Dispatch, DispatchDevice, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_cubecl::kernel::conv::{ConvStrategy, ConvTranspose2dStrategy, conv_forward, conv_transpose2d};

use super::check;

/// Set up for shapes that convolutions have had before.
const FITS: &str = "the plain kernels take every shape";

#[backend_extension(Cube, Autodiff)]
trait Untuned: Backend {
    /// Without a bias; the gradient reaches `x` only, for networks whose weights are fixed.
    fn plain(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self>;
}

impl Untuned for Cube {
    fn plain(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        conv_forward(x, weight, None, options, ConvStrategy::Direct).expect(FITS)
    }
}

impl<C: CheckpointStrategy> Untuned for Autodiff<Cube, C> {
    fn plain(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Vjp;
        impl Backward<Cube, 1> for Vjp {
            /// Weights, height and width of the input.
            type State = (FloatTensor<Cube>, [usize; 2], ConvOptions<2>);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (weight, size, options) = ops.state;
                unary::<Cube, _>(ops.parents, ops.node, grads, |gradient| back(gradient, weight, size, &options));
            }
        }
        let (x, guard) = x.into_parts();
        let (weight, _) = weight.into_parts();
        let shape = x.shape();
        match Vjp.prepare::<C>([guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let state = (weight.clone(), [shape[2], shape[3]], options.clone());
                prep.finish(state, Cube::plain(x, weight, options))
            }
            OpsKind::UnTracked(prep) => prep.finish(Cube::plain(x, weight, options)),
        }
    }
}

/// The gradient with respect to the input.
fn back(
    gradient: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    size: [usize; 2],
    options: &ConvOptions<2>,
) -> FloatTensor<Cube> {
    let ConvOptions { stride, dilation, groups, .. } = *options;
    let pad = options.padding_begin();
    let (kernel, out) = (weight.shape(), gradient.shape());
    let more =
        [0, 1].map(|i| calculate_padding_out(kernel[2 + i], stride[i], pad[i], dilation[i], size[i], out[2 + i]));
    let options = ConvTransposeOptions::new(stride, pad, more, dilation, groups);
    conv_transpose2d(gradient, weight, None, options, ConvTranspose2dStrategy::Direct).expect(FITS)
}

/// Whether layers of the device where `x` lies take plain kernels.
pub(super) fn is_asked_for<const D: usize>(x: &Tensor<D>) -> bool {
    check::is_untuned() && matches!(x.device().as_dispatch(), DispatchDevice::Cube(_))
}

/// A convolution with plain kernels.
pub(super) fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    let y = <Dispatch as Untuned>::plain(x.into_dispatch(), weight.into_dispatch(), options);
    let y = Tensor::<4>::from_dispatch(y);
    match bias {
        Some(bias) => {
            let channels = y.dims()[1];
            y + bias.reshape([1, channels, 1, 1])
        }
        None => y,
    }
}

/// `x` times the transposed weights, as a convolution of one pixel.
pub(super) fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let ([n, d_in], [d_out, _]) = (x.dims(), weight.dims());
    let options = ConvOptions::new([1; 2], [0; 2], [1; 2], 1);
    conv2d(x.reshape([n, d_in, 1, 1]), weight.reshape([d_out, d_in, 1, 1]), None, options).reshape([n, d_out])
}
