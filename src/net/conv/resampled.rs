//! Maps of twice and of half the size as operations of burn: each the other's gradient, but for a factor.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use super::device::processor;
use crate::net::plan::{flex_tensor, with_values, zeros};

/// How a map is resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Every pixel twice in both directions.
    Double,
    /// The mean of every 2x2 pixels.
    Halve,
}

/// The way, and the input's shape.
type How = (Way, [usize; 4]);

#[backend_extension(Flex, Autodiff)]
trait Resampled: Backend {
    fn resampled(x: FloatTensor<Self>, how: How) -> FloatTensor<Self>;
}

impl Resampled for Flex {
    fn resampled(x: FlexTensor, (way, [n, c, h, w]): How) -> FlexTensor {
        with_values(&x, |x| match way {
            Way::Double => flex_tensor(double(x, [h, w], 1.0), [n, c, 2 * h, 2 * w]),
            Way::Halve => flex_tensor(halve(x, [h / 2, w / 2], 0.25), [n, c, h / 2, w / 2]),
        })
    }
}

impl<C: CheckpointStrategy> Resampled for Autodiff<Flex, C> {
    fn resampled(x: FloatTensor<Self>, how: How) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Vjp;
        impl Backward<Flex, 1> for Vjp {
            type State = How;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (way, shape @ [_, _, h, w]) = ops.state;
                unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                    let dx = with_values(&gradient, |gradient| match way {
                        Way::Double => halve(gradient, [h, w], 1.0),
                        Way::Halve => double(gradient, [h / 2, w / 2], 0.25),
                    });
                    flex_tensor(dx, shape)
                });
            }
        }
        let (x, node) = x.into_parts();
        let y = <Flex as Resampled>::resampled(x, how);
        match Vjp.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(how, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// Every pixel of planes of `[h, w]` four times, multiplied.
fn double(x: &[f32], [h, w]: [usize; 2], factor: f32) -> Vec<f32> {
    let mut y = zeros(4 * x.len());
    y.par_chunks_exact_mut(4 * h * w).zip(x.par_chunks_exact(h * w)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(4 * w).zip(x.chunks_exact(w)) {
            let (one, other) = y.split_at_mut(2 * w);
            for (pair, value) in one.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                *pair = [value * factor; 2];
            }
            other.copy_from_slice(one);
        }
    });
    y
}

/// The sums of every 2x2 pixels, in planes of `[h, w]`, multiplied.
fn halve(x: &[f32], [h, w]: [usize; 2], factor: f32) -> Vec<f32> {
    let mut y = zeros(x.len() / 4);
    y.par_chunks_exact_mut(h * w).zip(x.par_chunks_exact(4 * h * w)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(w).zip(x.chunks_exact(4 * w)) {
            let (one, other) = x.split_at(2 * w);
            let pairs = one.as_chunks::<2>().0.iter().zip(other.as_chunks::<2>().0);
            for (y, ([a, b], [c, d])) in y.iter_mut().zip(pairs) {
                *y = ((a + b) + (c + d)) * factor;
            }
        }
    });
    y
}

fn resampled(x: &Tensor<4>, way: Way) -> Option<Tensor<4>> {
    let shape = x.dims();
    // A side that is not even is refused by whoever knows why.
    processor(x.device()).filter(|_| way == Way::Double || shape[2..].iter().all(|side| side.is_multiple_of(2)))?;
    Some(Tensor::from_dispatch(<Dispatch as Resampled>::resampled(x.clone().into_dispatch(), (way, shape))))
}

/// Every pixel of `[N, C, H, W]` twice in both directions; `None` where burn's operations are to be taken.
pub(in crate::net) fn doubled(x: &Tensor<4>) -> Option<Tensor<4>> {
    resampled(x, Way::Double)
}

/// The means of every 2x2 pixels of `[N, C, H, W]`, whose sides are even; `None` where burn's operations are to be taken.
pub(in crate::net) fn halved(x: &Tensor<4>) -> Option<Tensor<4>> {
    resampled(x, Way::Halve)
}
