//! Training: a generator or a classifier comes from pictures, step by step, as a task beside what the user asks for.
//!
//! The folder of a training holds everything that it depends on, so that after whatever ended the program it goes on to the
//! identical next step.

mod boosted;
mod classifier;
mod config;
mod error;
mod events;
mod folder;
mod generator;
mod kind;
mod reading;
mod record;
mod room;
mod samples;
mod tables;
mod task;
mod told;
mod work;

pub use self::error::TrainingError;
pub(super) use self::task::Train;
pub use self::told::{Role, Snapshot, Told, TrainReport, TrainSettings};
