//! Where a network's tensors come from: its constructor, the only walk over its architecture, asks for every one of them by
//! name and shape and gets a parameter.

use burn::module::{Param, RunningState};
use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor};

use super::layer::{Conv, Linear};
use super::{numbers, tensor};
use crate::checkpoint::{CheckpointError, Weights};

/// PyTorch's default.
const BATCH_NORM_EPS: f64 = 1e-5;
/// PyTorch's default: how much of a batch's statistics is taken over.
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// Answers the questions of a network's constructor.
pub trait Source {
    /// The values of a tensor, row-major; `None` leaves them open, zero until something else is loaded.
    ///
    /// # Errors
    /// [`CheckpointError`] when the tensor is not to be had.
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError>;
}

impl Source for Weights<'_> {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
        self.take(name, shape).map(Some)
    }
}

/// Writes down what is asked for, in the order of construction; no values are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shapes(pub Vec<(String, Vec<usize>)>);

impl Source for Shapes {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
        self.0.push((name.to_owned(), shape.to_vec()));
        Ok(None)
    }
}

/// Makes the parts of a network on a device.
pub(super) struct Build<'a> {
    pub(super) source: &'a mut dyn Source,
    pub(super) device: &'a Device,
}

impl Build<'_> {
    /// A parameter that training may change.
    pub(super) fn param<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, CheckpointError> {
        let id = numbers::id(name);
        let Some(values) = self.source.values(name, &shape)? else {
            let zeros = move |device: &Device, tracked: bool| Tensor::zeros(shape, device).set_require_grad(tracked);
            return Ok(Param::uninitialized(id, zeros, self.device.clone(), true, shape.into()));
        };
        Ok(Param::initialized(id, tensor(values, shape, self.device)).set_require_grad(true))
    }

    /// `<name>.weight` `[C_out, C_in, k, k]`, and `<name>.bias` if there is one.
    pub(super) fn conv(
        &mut self,
        name: &str,
        [c_in, c_out, kernel]: [usize; 3],
        bias: bool,
    ) -> Result<Conv, CheckpointError> {
        let weight = self.param(&format!("{name}.weight"), [c_out, c_in, kernel, kernel])?;
        let bias = if bias { Some(self.param(&format!("{name}.bias"), [c_out])?) } else { None };
        Ok(Conv::new(weight, bias))
    }

    /// `<name>.weight` `[d_out, d_in]` and `<name>.bias`.
    pub(super) fn linear(&mut self, name: &str, [d_in, d_out]: [usize; 2]) -> Result<Linear, CheckpointError> {
        let weight = self.param(&format!("{name}.weight"), [d_out, d_in])?;
        Ok(Linear { weight, bias: self.param(&format!("{name}.bias"), [d_out])? })
    }

    /// Scales, shifts and statistics.
    pub(super) fn batch_norm(&mut self, name: &str, channels: usize) -> Result<BatchNorm, CheckpointError> {
        Ok(BatchNorm {
            gamma: self.param(&format!("{name}.weight"), [channels])?,
            beta: self.param(&format!("{name}.bias"), [channels])?,
            training: Param::from_bool(true),
            running_mean: self.statistic(&format!("{name}.running_mean"), channels)?,
            running_var: self.statistic(&format!("{name}.running_var"), channels)?,
            momentum: BATCH_NORM_MOMENTUM,
            epsilon: BATCH_NORM_EPS,
        })
    }

    fn statistic(&mut self, name: &str, channels: usize) -> Result<RunningState<Tensor<1>>, CheckpointError> {
        let values = self.source.values(name, &[channels])?;
        let values = tensor(values.unwrap_or_else(|| vec![0.0; channels]), [channels], self.device);
        Ok(RunningState::with_id(numbers::id(name), values))
    }
}
