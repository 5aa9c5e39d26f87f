//! What `lapidary train` is told.

use std::path::PathBuf;

use crate::worker::DeviceChoice;

/// Folder of a training, unless `--out` names another.
pub const DEFAULT_OUT: &str = "lapidary-train";

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A network that makes pictures.
    Generator,
    /// A network that judges them.
    Classifier,
    /// A generator that gives in one call what refinement gave.
    Boosted,
}

impl Role {
    /// As it is typed.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Classifier => "classifier",
            Self::Boosted => "boosted",
        }
    }
}

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
