//! How networks come to be: losses, schedules, optimisers, and one step of training at a time.
//!
//! Everything random in a step follows from the seed of the training, the number of the step and the place of the sample in its
//! batch ([`crate::noise`]), so a step is the same whatever came before it: a training that is stopped and resumed goes on to
//! the identical next step. There is no loop here, no file and no clock: whoever trains brings pictures and keeps what comes
//! out.

pub mod attack;
mod boosting;
mod classifier;
mod error;
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

pub use self::boosting::{Bank, Booster, Boosting, Refined, Shelf};
pub use self::classifier::{ClassifierObjective, ClassifierPlan, ClassifierTrainer, Fakes, Terms};
pub use self::error::{Problem, TrainError};
pub use self::generator::{GeneratorPlan, GeneratorTrainer, Helpers};
pub use self::initial::Initial;
pub use self::learner::{Course, Keeper, Kept, Learned, Trainer};
pub use self::objective::Objective;
pub use self::optimiser::{OptimiserSettings, Rule};
pub use self::order::{Order, Variety};
pub use self::validation::Validation;
