//! What can be wrong with a training.

use crate::checkpoint::CheckpointError;
use crate::generator::GenerateError;
use crate::refiner::RefineError;

/// A value that cannot be, in words, and what is expected.
pub type Problem = Option<(String, &'static str)>;

/// Refuses what is no positive number.
pub(super) fn positive(what: &str, value: f64) -> Problem {
    (!(value > 0.0 && value.is_finite())).then(|| (format!("{what} = {value}"), "it is a positive number"))
}

/// Refuses what is no number, or a negative one.
pub(super) fn not_negative(what: &str, value: f64) -> Problem {
    (!(value >= 0.0 && value.is_finite())).then(|| (format!("{what} = {value}"), "it is a number that is not negative"))
}

/// Refuses what no numbers are spread by.
pub(super) fn spread(mean: f64, deviation: f64) -> Problem {
    let endless = (!mean.is_finite()).then(|| (format!("mean = {mean}"), "it is a number"));
    endless.or_else(|| not_negative("deviation", deviation))
}

/// Refuses a number of none.
pub(super) fn some(what: &str, value: u64) -> Problem {
    (value == 0).then(|| (format!("{what} = 0"), "it is at least 1"))
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device failed.
    #[error(
        "the compute device failed while training: choose another device, or go on with more parts of a batch (parts in [course])"
    )]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A generator could not make what the training wants.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Pictures could not be refined.
    #[error(transparent)]
    Refine(#[from] RefineError),
    /// What is made once could not be kept.
    #[error(transparent)]
    Keep(#[from] CheckpointError),
    /// The training has left what numbers can say.
    #[error(
        "the loss or its gradient at step {step} is no finite number: take a lower rate, or clip = 1.0 in [optimiser], and go on from the last checkpoint, if there is one, or begin anew"
    )]
    NotFinite {
        /// Steps that were done before.
        step: u64,
    },
}

impl TrainError {
    pub(super) fn device(cause: impl std::fmt::Debug) -> Self {
        Self::Device(format!("{cause:?}").into())
    }
}
