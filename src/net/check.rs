//! Whether a device computes a network's layers as another one does.
//!
//! Kernels of a GPU are compiled on the spot, and which of several is taken is decided by timing them, so a wrong one may
//! hide behind any shape. What runs inside [`record`] leaves the layers that it called, each once per shape; [`Call::differs`]
//! then computes one of them on both devices, in the shape in which it was called, and, where the network was differentiated,
//! backwards too. Only one layer's weights are on the second device at a time.
//!
//! Layers are compared one by one because a network hides what a layer does: behind a ReLU that turned by rounding the
//! whole gradient is another, so a network's end can be compared ten times more coarsely only.

use std::cell::RefCell;
use std::mem;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, Transaction};

use crate::noise::{Purpose, normal_noise};

/// Difference in shares of the largest value of a layer that no order of summing explains.
pub const TOLERANCE: f32 = 1e-3;
/// What a planted fault makes of every value.
const WRONG: f32 = 1.01;

/// How the networks of this thread compute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mode {
    /// On a GPU convolutions and linear layers take one plain kernel instead of the fastest of several.
    pub untuned: bool,
    /// A fault to test the check with: part of the names of layers that are computed wrongly while kernels are tuned, or
    /// always with a `!` before it.
    pub wrong: Option<String>,
}

#[derive(Default)]
struct Thread {
    mode: Mode,
    calls: Option<Vec<Call>>,
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

/// Sets how the networks of this thread compute from now on.
pub fn set_mode(mode: Mode) {
    THREAD.with_borrow_mut(|thread| thread.mode = mode);
}

/// Computes what others are compared with: with no fault.
pub fn reference<T>(work: impl FnOnce() -> T) -> T {
    let mode = THREAD.with_borrow_mut(|thread| mem::take(&mut thread.mode));
    let done = work();
    set_mode(mode);
    done
}

/// Whether the networks of this thread take plain kernels.
pub(super) fn is_untuned() -> bool {
    THREAD.with_borrow(|thread| thread.mode.untuned)
}

/// Does something with networks on this thread; returns the layers that were called, each once per shape.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<Call>) {
    THREAD.with_borrow_mut(|thread| thread.calls = Some(Vec::new()));
    let done = work();
    (done, THREAD.with_borrow_mut(|thread| thread.calls.take().unwrap_or_default()))
}

/// Calls a layer, which is written down where that is asked for.
pub(super) fn call<M: Module + 'static, const D: usize>(
    module: &M,
    x: Tensor<D>,
    name: impl Fn(&M) -> String,
    forward: fn(&M, Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    THREAD.with_borrow_mut(|thread| {
        let Some(calls) = &mut thread.calls else { return };
        let (name, shape, tracked) = (name(module), x.dims(), x.is_tracked());
        let is_known = |known: &Call| (&*known.name, &*known.shape, known.tracked) == (&*name, &shape, tracked);
        if !calls.iter().any(is_known) {
            let layer = Layer { name: name.clone(), module: module.clone(), shape, forward };
            calls.push(Call { name, shape: shape.to_vec(), tracked, layer: Box::new(layer) });
        }
    });
    spoiled(forward(module, x), || name(module))
}

/// What a layer gives, but for a planted fault.
fn spoiled<const D: usize>(y: Tensor<D>, name: impl FnOnce() -> String) -> Tensor<D> {
    let is_wrong = THREAD.with_borrow(|Thread { mode: Mode { untuned, wrong }, .. }| {
        let Some(wrong) = wrong else { return false };
        let always = wrong.strip_prefix('!');
        (always.is_some() || !untuned) && name().contains(always.unwrap_or(wrong))
    });
    if is_wrong { y * WRONG } else { y }
}

/// A layer as it was called.
pub struct Call {
    name: String,
    shape: Vec<usize>,
    /// Whether its gradient was asked for.
    tracked: bool,
    layer: Box<dyn Run>,
}

impl std::fmt::Display for Call {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name)?;
        if let [_, _, h, w] = &*self.shape { write!(out, " at {h}x{w}") } else { Ok(()) }
    }
}

impl Call {
    /// The largest difference between the values of a device and those of a reference, or between their gradients, in
    /// shares of the largest; infinite where one is not a number, or where the device gives none.
    ///
    /// The device computes as many samples as the network had, taking turns between two; the reference computes the two.
    #[must_use]
    pub fn differs(&self, device: &Device, reference: &Device) -> f32 {
        let n = self.shape[0];
        let found = self.layer.run(n, self.tracked, device);
        let expected = self::reference(|| self.layer.run(n.min(2), self.tracked, reference));
        match (found, expected) {
            (Some(found), Some(expected)) => {
                let pairs = found.iter().zip(&expected);
                pairs.map(|(found, expected)| difference(found, expected)).fold(0.0, larger)
            }
            _ => f32::INFINITY,
        }
    }
}

/// The largest difference between values and those expected, which repeat, in shares of the largest that is expected.
#[must_use]
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    let scale = expected.iter().fold(1e-12_f32, |max, value| max.max(value.abs()));
    let differences = found.iter().zip(expected.iter().cycle()).map(|(a, b)| (a - b).abs() / scale);
    let worst = differences.fold(0.0, larger);
    if found.is_empty() == expected.is_empty() { worst } else { f32::INFINITY }
}

/// The larger of two; infinite where one is not a number, which `f32::max` would pass over.
const fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::INFINITY } else { a.max(b) }
}

/// A layer of any kind.
trait Run {
    /// Its values, and the gradient of their sum with random factors, for so many samples, two of which take turns; `None`
    /// where the device fails.
    fn run(&self, n: usize, gradient: bool, device: &Device) -> Option<Vec<Vec<f32>>>;
}

struct Layer<M, const D: usize> {
    name: String,
    module: M,
    shape: [usize; D],
    forward: fn(&M, Tensor<D>) -> Tensor<D>,
}

impl<M: Module + 'static, const D: usize> Run for Layer<M, D> {
    fn run(&self, n: usize, gradient: bool, device: &Device) -> Option<Vec<Vec<f32>>> {
        let module = self.module.clone().to_device(device);
        let mut shape = self.shape;
        shape[0] = n;
        let forward = |x| spoiled((self.forward)(&module, x), || self.name.clone());
        let x = random(shape, 0, device);
        let asked = if gradient {
            let x = x.autodiff().require_grad();
            let y = forward(x.clone());
            let mut gradients = (y.clone() * random(y.dims(), 2, device)).backward();
            Transaction::default().register(y.without_autodiff()).register(x.grad_remove(&mut gradients)?)
        } else {
            Transaction::default().register(forward(x))
        };
        let read = asked.try_execute().inspect_err(|error| tracing::warn!(?error, "a layer could not be computed"));
        read.ok()?.into_iter().map(|data| data.try_into_vec::<f32>().ok()).collect()
    }
}

/// Normal numbers, the same on every device: two samples, which take turns.
fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
    let samples = normal_noise(&[seed, seed + 1], Purpose::RandomStart, shape[1..].iter().product());
    let values = samples.iter().copied().cycle().take(shape.iter().product()).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::conv::BURN;
    use crate::net::laws::{device, pictures, resnets, unet};

    /// The layers of every kind of network, the residual ones differentiated; of burn's operations, as on a GPU.
    fn calls() -> Vec<Call> {
        BURN.set(true);
        let mut all = Vec::new();
        for net in resnets() {
            let (_, calls) = record(|| net.clone().fold().forward(pictures(3, 3).autodiff().require_grad()));
            all.extend(calls);
        }
        let net = unet(false);
        all.extend(record(|| net.forward(pictures(2, 2), &[0.3, 0.4], Some(&[1, 2]))).1);
        all
    }

    #[test]
    fn every_kind_of_layer_is_written_down_once_per_shape_and_agrees_with_itself() {
        let calls = calls();
        let names: Vec<String> = calls.iter().map(ToString::to_string).collect();
        for kind in [
            "convolution 3x3, 3 to 8 channels at 8x16",
            "convolution 3x3 by 2, 8 to 16 channels at 8x16",
            "convolution 1x1, 64 to 192 channels at 4x8",
            "linear layer, 16 to 5 channels",
            "max-pool 3x3 at 8x16",
            "average over 2x2 at 4x8",
            "mean of 16 channels",
            "group norm of 64 channels at 4x8",
            "attention of 4 heads, 64 channels at 4x8",
            "residual block with a 1x1 shortcut, 96 to 32 channels at 8x16",
            "upsampling to 2x2 at 4x8",
        ] {
            let found = names.iter().any(|name| name == kind);
            assert!(found, "{kind} is none of {names:#?}");
        }
        let deepest = resnets()[1].clone().fold();
        let again = record(|| (deepest.forward(pictures(3, 3)), deepest.forward(pictures(3, 3)))).1;
        let once = record(|| deepest.forward(pictures(3, 3))).1;
        assert_eq!(again.len(), once.len(), "the second pass adds nothing");
        for call in &calls {
            assert_eq!(call.differs(&device(), &device()), 0.0, "{call}");
        }
        assert!(calls.iter().any(|call| call.tracked) && calls.iter().any(|call| !call.tracked));
    }

    #[test]
    fn a_planted_fault_is_found_where_it_is_and_nowhere_else_and_is_healed_without_tuning() {
        let calls = calls();
        let wrong = || Some("1x1".to_owned());
        set_mode(Mode { untuned: false, wrong: wrong() });
        let mut faults = 0;
        for call in &calls {
            // Attention holds convolutions of one pixel.
            let is_hit = ["1x1", "attention"].iter().any(|part| call.name.contains(part));
            let difference = call.differs(&device(), &device());
            assert_eq!(difference > TOLERANCE, is_hit, "{call}: {difference}");
            faults += usize::from(is_hit);
        }
        assert!(faults > 5, "{faults}");
        set_mode(Mode { untuned: true, wrong: wrong() });
        assert!(calls.iter().all(|call| call.differs(&device(), &device()) == 0.0));
        set_mode(Mode::default());
    }

    #[test]
    fn what_is_no_number_or_is_missing_differs() {
        assert_eq!(difference(&[1.0, -2.0, 1.0, -2.5], &[1.0, -2.0]), 0.25, "what is expected repeats");
        assert_eq!(difference(&[1.0, f32::NAN, 2.0], &[1.0, 2.0, 2.0]), f32::INFINITY);
        assert_eq!(difference(&[1.0], &[f32::NAN]), f32::INFINITY);
        assert_eq!(difference(&[], &[1.0]), f32::INFINITY);
        assert_eq!(difference(&[0.0], &[0.0]), 0.0);
    }
}
