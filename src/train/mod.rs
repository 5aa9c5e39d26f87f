//! How networks come to be: losses, schedules, optimisers, and one step of training at a time.
//!
//! Everything random in a step follows from the seed of the training, the number of the step and the place of the sample in its
//! batch ([`crate::noise`]), so a step is the same whatever came before it: a training that is stopped and resumed goes on to
//! the identical next step. There is no loop here, no file and no clock: whoever trains brings pictures and keeps what comes
//! out.

pub mod attack;
mod classifier;
mod generator;
mod initial;
mod learner;
pub mod levels;
pub mod loss;
pub mod metric;
mod objective;
mod optimiser;
mod order;
#[cfg(test)]
mod tests;
mod validation;

pub use self::classifier::{ClassifierObjective, ClassifierPlan, ClassifierTrainer, Fakes, Terms};
pub use self::generator::{GeneratorPlan, GeneratorTrainer};
pub use self::initial::Initial;
pub use self::learner::{Course, Keeper, Kept, Learned, Trainer};
pub use self::objective::Objective;
pub use self::optimiser::{OptimiserSettings, Rule};
pub use self::order::{Order, Variety};
pub use self::validation::Validation;

/// A value that cannot be, in words, and what is expected.
pub type Problem = Option<(String, &'static str)>;

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device failed.
    #[error("the compute device failed while training: choose another device, a smaller batch or more parts of it")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The training has left what numbers can say.
    #[error(
        "the loss or its gradient at step {step} is no finite number: go on from the last checkpoint with a lower rate, or with clip = 1.0 in [optimiser]"
    )]
    NotFinite {
        /// Steps that were done before.
        step: u64,
    },
}

impl TrainError {
    fn device(cause: impl std::fmt::Debug) -> Self {
        Self::Device(format!("{cause:?}").into())
    }
}
