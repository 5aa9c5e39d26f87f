//! The norms as operations of burn.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use pulp::Arch;

use super::device::processor;
use super::norm::{Inputs, Norm, Statistics};
use crate::net::plan::{Curve, GROUP, flex_tensor, with_values};

/// Kind, and whether something is added; otherwise that input is not read.
type How = (Norm, bool);

#[backend_extension(Flex, Autodiff)]
trait Normed: Backend {
    /// The result, and mean and variance of every group.
    fn normed(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        add: FloatTensor<Self>,
        how: How,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Reads all inputs.
fn with_inputs<T>([x, scale, shift, add]: [&FlexTensor; 4], adds: bool, read: impl FnOnce(Inputs<'_>) -> T) -> T {
    with_values(x, |x| {
        with_values(scale, |scale| {
            with_values(shift, |shift| {
                with_values(add, |add| read(Inputs { x, scale, shift, add: adds.then_some(add) }))
            })
        })
    })
}

fn forward(inputs: [&FlexTensor; 4], (norm, adds): How) -> (FlexTensor, Statistics) {
    let (y, statistics) = with_inputs(inputs, adds, |inputs| norm.forward(inputs));
    (like(y, inputs[0]), statistics)
}

/// Values in the shape of another tensor.
fn like(values: Vec<f32>, other: &FlexTensor) -> FlexTensor {
    let shape: Vec<usize> = other.layout().shape().iter().copied().collect();
    FlexTensor::from_data(burn::tensor::TensorData::new(values, shape))
}

/// Means and variances.
fn columns(Statistics(values): &Statistics) -> [FlexTensor; 2] {
    [0, 1].map(|i| flex_tensor(values.iter().map(|value| value[i]).collect(), [values.len()]))
}

impl Normed for Flex {
    fn normed(
        x: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        add: FlexTensor,
        how: How,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (y, statistics) = forward([&x, &scale, &shift, &add], how);
        let [mean, variance] = columns(&statistics);
        (y, mean, variance)
    }
}

impl<C: CheckpointStrategy> Normed for Autodiff<Flex, C> {
    fn normed(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        add: FloatTensor<Self>,
        how: How,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Vjp;
        impl Backward<Flex, 4> for Vjp {
            type State = ([FlexTensor; 4], Statistics, How);

            fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
                let (inputs, statistics, (norm, adds)) = ops.state;
                let gradient = grads.consume::<Flex>(&ops.node);
                let found = with_values(&gradient, |gradient| {
                    with_inputs(inputs.each_ref(), adds, |inputs| norm.backward(inputs, &statistics, gradient))
                });
                let found = [Some(found.x), Some(found.scale), Some(found.shift), found.add];
                for ((node, values), input) in ops.parents.into_iter().zip(found).zip(&inputs) {
                    if let (Some(node), Some(values)) = (node, values) {
                        grads.register::<Flex>(node.id, like(values, input));
                    }
                }
            }
        }
        let parts = [x, scale, shift, add].map(FloatTensor::<Self>::into_parts);
        let inputs = parts.each_ref().map(|(values, _)| values.clone());
        let nodes = parts.map(|(_, node)| node);
        let (y, statistics) = forward(inputs.each_ref(), how);
        let [mean, variance] = columns(&statistics).map(Self::from_inner);
        let y = match Vjp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((inputs, statistics, how), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        };
        (y, mean, variance)
    }
}

/// What there is to a norm beside its values.
fn norm(x: &Tensor<4>, groups: Option<usize>, epsilon: f64, curve: Option<Curve>) -> Option<Norm> {
    let [n, c, h, w] = x.dims();
    let arch: Arch = processor(x.device()).filter(|_| (h * w).is_multiple_of(GROUP))?;
    Some(Norm { arch, groups, epsilon: epsilon as f32, curve, shape: [n, c, h * w] })
}

/// The result, and mean and variance of every group.
fn normed(norm: Norm, [x, scale, shift]: [Tensor<4>; 3], add: Option<Tensor<4>>) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let adds = add.is_some();
    let add = add.unwrap_or_else(|| shift.clone().detach());
    let [x, scale, shift, add] = [x, scale, shift, add].map(Tensor::into_dispatch);
    let (y, mean, variance) = <Dispatch as Normed>::normed(x, scale, shift, add, (norm, adds));
    (Tensor::from_dispatch(y), Tensor::from_dispatch(mean), Tensor::from_dispatch(variance))
}

/// `curve(norm(x) · scale + shift)` with `groups` of channels of every picture; `scale` and `shift` are `[1, C, 1, 1]` or
/// `[N, C, 1, 1]`. `None` where burn's operations are to be taken.
pub(in crate::net) fn group_norm(
    inputs: [&Tensor<4>; 3],
    (groups, epsilon): (usize, f64),
    curve: Option<Curve>,
) -> Option<Tensor<4>> {
    let norm = norm(inputs[0], Some(groups), epsilon, curve)?;
    let (y, _, _) = normed(norm, inputs.map(Clone::clone), None);
    Some(y)
}

/// `curve(batch_norm(x) + add)` in training: takes part in the batch's statistics. `None` where burn's operations are to be
/// taken, in inference among others.
pub(in crate::net) fn batch_norm(
    x: &Tensor<4>,
    layer: &BatchNorm,
    add: Option<&Tensor<4>>,
    curve: Option<Curve>,
) -> Option<Tensor<4>> {
    if !x.device().is_autodiff() || !layer.training.is_enabled() {
        return None;
    }
    let norm = norm(x, None, layer.epsilon, curve)?;
    let [_, c, _, _] = x.dims();
    let [scale, shift] = [&layer.gamma, &layer.beta].map(|param| param.val().reshape([1, c, 1, 1]));
    let (y, mean, variance) = normed(norm, [x.clone(), scale, shift], add.cloned());
    for (running, batch) in [(&layer.running_mean, mean), (&layer.running_var, variance)] {
        let before = running.value_sync().to_device(&x.device());
        running.update((before * (1.0 - layer.momentum) + batch.detach() * layer.momentum).detach());
    }
    Some(y)
}
