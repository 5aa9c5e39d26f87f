//! `lapidary train`: makes a generator or a classifier from pictures.
//!
//! The folder of a training holds everything that it depends on, so that after whatever ended the program the same command with
//! `--resume` goes on to the identical next step.

mod boosted;
mod classifier;
mod config;
mod error;
mod events;
mod folder;
mod generator;
mod options;
mod work;

pub use self::error::TrainingError;
pub use self::options::{DEFAULT_OUT, Role, TrainOptions};
use super::Outcome;
use crate::session::host::Folders;

/// Trains until all steps are done or a signal comes.
///
/// # Errors
/// The chain from what failed to why; what was kept before stays.
pub fn run(options: &TrainOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    match options.role {
        Role::Generator | Role::Boosted => generator::run(options, folders),
        Role::Classifier => classifier::run(options, folders),
    }
}
