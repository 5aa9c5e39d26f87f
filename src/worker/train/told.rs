//! What a training is asked for and what it tells: plain values that cross the border of the compute thread.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::image::ImageBatch;
use crate::train::{Learned, Validation};
use crate::worker::device::{DeviceChoice, DeviceInfo};

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Classifier => "classifier",
            Self::Boosted => "boosted",
        }
    }
}

/// Which training, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// What is trained; without it what the file describes.
    pub role: Option<Role>,
    /// The file that describes it; without it that in the folder.
    pub config: Option<PathBuf>,
    /// The folder of the training.
    pub out: PathBuf,
    /// Whether one that was begun there goes on.
    pub resume: bool,
    /// Where it computes.
    pub device: DeviceChoice,
    /// Pictures that a generator makes at every checkpoint, to be looked at: always with the same seeds.
    pub samples: u32,
}

/// What a training is, known before anything is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// What is trained.
    pub role: Role,
    /// Name of what is trained.
    pub name: String,
    /// What it is trained for, in words.
    pub objective: String,
    /// What was read and left out, one line each.
    pub data: Vec<String>,
    /// Pictures to learn from, and those that are held out.
    pub pictures: (usize, usize),
    /// `[C, H, W]` of a picture.
    pub shape: [usize; 3],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Numbers that the network learns.
    pub weights: u64,
    /// Steps that are done, and how many there are to be.
    pub steps: (u64, u64),
    /// Pictures of a step.
    pub batch: usize,
    /// What it computes on.
    pub device: DeviceInfo,
    /// The configuration with every value.
    pub config: String,
    /// Steps and losses of those that are done, as far as the folder tells.
    pub losses: Vec<(u64, f64)>,
    /// Checkpoints that are there, in order of their steps.
    pub kept: Vec<Snapshot>,
}

/// A whole checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Steps that were done.
    pub step: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// Its networks: that of the last step is `model`, averages over the steps are `ema_` with what they keep of themselves.
    pub networks: Vec<String>,
    /// What it was worth then, on what it did not learn from.
    pub judged: Option<Validation>,
}

/// What a training tells while it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// Pictures are read: so many of so many.
    Reading(usize, usize),
    /// All is ready: nothing is written yet.
    Ready(Box<TrainReport>),
    /// Pictures of its own are refined before the first step: so many of so many.
    Refining(usize, usize),
    /// A step was done.
    Learned {
        /// Steps that are done now.
        step: u64,
        /// What it came to.
        learned: Learned,
        /// Seconds that it took.
        secs: f64,
    },
    /// A checkpoint was kept.
    Kept(Snapshot),
    /// What a generator makes after so many steps.
    Samples {
        /// Steps that were done.
        step: u64,
        /// The pictures.
        images: ImageBatch,
    },
}
