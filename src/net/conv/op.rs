//! The convolution as an operation of burn.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use pulp::Arch;

use super::weight;
use crate::net::plan::{Geometry, flex_tensor, with_values};

#[backend_extension(Flex, Autodiff)]
trait Convolved: Backend {
    fn convolved(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: (Arch, Geometry),
    ) -> FloatTensor<Self>;
}

impl Convolved for Flex {
    fn convolved(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        (arch, geometry): (Arch, Geometry),
    ) -> FlexTensor {
        let ([n, _, h, w], [c_out, ..]) = (shape(&x), geometry.dims);
        let [out_h, out_w] = geometry.output([h, w]);
        let y = with_values(&x, |x| {
            with_values(&weight, |weight| {
                with_values(&bias, |bias| geometry.forward(arch, (weight, bias), (x, [h, w])))
            })
        });
        flex_tensor(y, [n, c_out, out_h, out_w])
    }
}

impl<C: CheckpointStrategy> Convolved for Autodiff<Flex, C> {
    fn convolved(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: (Arch, Geometry),
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Vjp;
        impl Backward<Flex, 3> for Vjp {
            type State = (FlexTensor, FlexTensor, (Arch, Geometry));

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (x, weight, (arch, geometry)) = ops.state;
                let gradient = grads.consume::<Flex>(&ops.node);
                let [of_x, of_weight, of_bias] = ops.parents;
                let ([n, c_in, h, w], [c_out, _, k]) = (shape(&x), geometry.dims);
                with_values(&gradient, |gradient| {
                    if let Some(node) = of_x {
                        let dx = with_values(&weight, |weight| geometry.backward(arch, weight, gradient, [h, w]));
                        grads.register::<Flex>(node.id, flex_tensor(dx, [n, c_in, h, w]));
                    }
                    if let Some(node) = of_weight {
                        let dw = with_values(&x, |x| weight::gradient(arch, geometry, (x, [h, w]), gradient));
                        grads.register::<Flex>(node.id, flex_tensor(dw, [c_out, c_in, k, k]));
                    }
                    if let Some(node) = of_bias {
                        let [out_h, out_w] = geometry.output([h, w]);
                        let db = weight::bias_gradient(gradient, c_out, out_h * out_w);
                        grads.register::<Flex>(node.id, flex_tensor(db, [c_out]));
                    }
                });
            }
        }
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let y = <Flex as Convolved>::convolved(x.clone(), weight.clone(), bias, how);
        match Vjp.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, weight, how), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// The convolution of `x` `[N, C_in, H, W]` with `weight` `[C_out, C_in, k, k]`, plus `bias` `[C_out]`, on the CPU.
///
/// # Panics
/// On another device.
pub(in crate::net) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    (arch, stride, padding): (Arch, usize, [usize; 2]),
) -> Tensor<4> {
    let [c_out, c_in, k, _] = weight.dims();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([c_out], &weight.device()));
    let how = (arch, Geometry { dims: [c_out, c_in, k], stride, padding });
    Tensor::from_dispatch(<Dispatch as Convolved>::convolved(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        how,
    ))
}

fn shape(tensor: &FlexTensor) -> [usize; 4] {
    let mut sides = tensor.layout().shape().iter().copied();
    std::array::from_fn(|_| sides.next().unwrap_or(1))
}
