//! The plan as one operation of burn, so that automatic differentiation sees one node instead of the network.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchDevice, Flex, backend_extension};
use burn::tensor::{Device, Tensor, TensorData};

use super::{Plan, Tape};

#[backend_extension(Flex, Autodiff)]
trait Planned: Backend {
    fn planned(x: FloatTensor<Self>, plan: Arc<Plan>) -> FloatTensor<Self>;
}

impl Planned for Flex {
    fn planned(x: FlexTensor, plan: Arc<Plan>) -> FlexTensor {
        plan.pass(&x, false).0
    }
}

impl<C: CheckpointStrategy> Planned for Autodiff<Flex, C> {
    fn planned(x: FloatTensor<Self>, plan: Arc<Plan>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Vjp;
        impl Backward<Flex, 1> for Vjp {
            type State = (Arc<Plan>, Arc<Tape>);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (plan, tape) = ops.state;
                unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| plan.gradient(&tape, &gradient));
            }
        }
        let (x, guard) = x.into_parts();
        match Vjp.prepare::<C>([guard]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (logits, tape) = plan.pass(&x, true);
                prep.finish((plan, Arc::new(tape)), logits)
            }
            OpsKind::UnTracked(prep) => prep.finish(plan.pass(&x, false).0),
        }
    }
}

impl Plan {
    /// Logits of a batch on the CPU.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]` of single precision, not normalised; returns `[N, K]`.
    ///
    /// # Panics
    /// On another device than the one that it was compiled for.
    #[must_use]
    pub fn logits(self: &Arc<Self>, x: Tensor<4>) -> Tensor<2> {
        let [n, ..] = x.dims();
        let logits = <Dispatch as Planned>::planned(x.into_dispatch(), Arc::clone(self));
        Tensor::<4>::from_dispatch(logits).reshape([n, self.classes()])
    }

    /// The last map of a batch on the CPU, without a gradient.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]` of single precision, `vectors`: what else the sketch takes, `[N, ..]` each; returns
    /// `[N, C', H, W]`.
    pub(in crate::net) fn map(&self, x: Tensor<4>, vectors: &[&[f32]]) -> Tensor<4> {
        let ([n, _, h, w], device) = (x.dims(), x.device());
        let x = x.into_data().try_into_vec::<f32>().expect("networks compute in single precision");
        let (map, _) = self.evaluate(&x, vectors, (n, [h, w]), false);
        Tensor::from_data(TensorData::new(map, [n, self.classes(), h, w]), &device)
    }

    /// What the last step sees of a batch on the CPU, and the logits that it makes of it, without a gradient.
    ///
    /// # Shapes
    /// `x`: as in [`Self::logits`]; returns `[N, D]` and `[N, K]`.
    ///
    /// # Panics
    /// On another device than the one that it was compiled for.
    #[must_use]
    pub fn features(&self, x: Tensor<4>) -> [Tensor<2>; 2] {
        let ([n, _, h, w], device) = (x.dims(), x.device());
        let x = x.into_data().try_into_vec::<f32>().expect("networks compute in single precision");
        self.evaluate_last(&x, (n, [h, w])).map(|values| {
            let width = values.len() / n.max(1);
            Tensor::from_data(TensorData::new(values, [n, width]), &device)
        })
    }

    /// Likewise, and the first `channels` of the map that is kept, those of a pixel beside each other: `[N, H * W * channels]`.
    ///
    /// # Panics
    /// On another device than the one that it was compiled for.
    pub(in crate::net) fn seen(&self, x: Tensor<4>, channels: usize) -> [Tensor<2>; 3] {
        let ([n, _, h, w], device) = (x.dims(), x.device());
        let x = x.into_data().try_into_vec::<f32>().expect("networks compute in single precision");
        self.evaluate_kept(&x, (n, [h, w]), channels).map(|values| {
            let width = values.len() / n.max(1);
            Tensor::from_data(TensorData::new(values, [n, width]), &device)
        })
    }

    /// Logits `[N, K, 1, 1]`, and what their gradient needs when that is asked for.
    fn pass(&self, x: &FlexTensor, keep: bool) -> (FlexTensor, Tape) {
        let shape: Vec<usize> = x.layout().shape().iter().copied().collect();
        let (n, size) = (shape[0], [shape[2], shape[3]]);
        let (logits, tape) = with_values(x, |x| self.forward(x, n, size, keep));
        (flex_tensor(logits, [n, self.classes(), 1, 1]), tape)
    }

    fn gradient(&self, tape: &Tape, gradient: &FlexTensor) -> FlexTensor {
        let ([n, h, w], c) = (tape.shape(), self.channels());
        flex_tensor(with_values(gradient, |gradient| self.backward(tape, gradient)), [n, c, h, w])
    }
}

/// Whether plans are made for a device.
pub(in crate::net) fn runs_on(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Row-major values.
pub(in crate::net) fn with_values<T>(tensor: &FlexTensor, read: impl FnOnce(&[f32]) -> T) -> T {
    read(tensor.to_contiguous().as_slice::<f32>().expect("networks compute in single precision"))
}

pub(in crate::net) fn flex_tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
