//! What `lapidary train` is told.

use std::path::PathBuf;

use crate::worker::DeviceChoice;
use crate::worker::train::{Role, TrainSettings};

/// Folder of a training, unless `--out` names another.
pub const DEFAULT_OUT: &str = "lapidary-train";

/// What `lapidary train` runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainOptions {
    /// What is trained.
    pub role: Role,
    /// The file that describes it; without it that in the folder.
    pub config: Option<PathBuf>,
    /// The folder of the training.
    pub out: PathBuf,
    /// Whether one that was begun goes on.
    pub resume: bool,
    /// Where it computes.
    pub device: DeviceChoice,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Say nothing but warnings and errors.
    pub quiet: bool,
}

impl TrainOptions {
    /// What the compute thread is asked for.
    pub(super) fn settings(&self) -> TrainSettings {
        let Self { role, config, out, resume, device, .. } = self.clone();
        TrainSettings { role: Some(role), config, out, resume, device, samples: 0 }
    }
}
