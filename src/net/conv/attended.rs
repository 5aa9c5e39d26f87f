//! Attention as an operation of burn.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::attend::Attend;
use super::device::processor;
use crate::net::plan::{GROUP, flex_tensor, with_values};

/// Kind, and the answer's shape.
type How = (Attend, [usize; 4]);

#[backend_extension(Flex, Autodiff)]
trait Attended: Backend {
    fn attended(x: FloatTensor<Self>, how: How) -> FloatTensor<Self>;
}

impl Attended for Flex {
    fn attended(x: FlexTensor, (attend, shape): How) -> FlexTensor {
        flex_tensor(with_values(&x, |x| attend.forward(x)), shape)
    }
}

impl<C: CheckpointStrategy> Attended for Autodiff<Flex, C> {
    fn attended(x: FloatTensor<Self>, how: How) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Vjp;
        impl Backward<Flex, 1> for Vjp {
            type State = (FlexTensor, How);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (x, (attend, [n, c, h, w])) = ops.state;
                unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                    let dx = with_values(&x, |x| with_values(&gradient, |gradient| attend.backward(x, gradient)));
                    flex_tensor(dx, [n, 3 * c, h, w])
                });
            }
        }
        let (x, node) = x.into_parts();
        let y = <Flex as Attended>::attended(x.clone(), how);
        match Vjp.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, how), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// The answers `[N, C, H, W]` to queries, keys and values `[N, 3 C, H, W]` of so many heads; with `by_heads` every head has
/// its own `[q | k | v]`, else the channels are `[Q | K | V]`. `None` where burn's operations are to be taken.
pub(in crate::net) fn attention(x: &Tensor<4>, heads: usize, by_heads: bool) -> Option<Tensor<4>> {
    let [n, c, h, w] = x.dims();
    let arch = processor(x.device()).filter(|_| (h * w).is_multiple_of(GROUP))?;
    let attend = Attend { arch, heads, channels: c / (3 * heads), pixels: h * w, by_heads };
    let y = <Dispatch as Attended>::attended(x.clone().into_dispatch(), (attend, [n, c / 3, h, w]));
    Some(Tensor::from_dispatch(y))
}
