//! What crosses the border between the compute thread and the rest: plain, serialisable values.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::device::{DeviceChoice, DeviceInfo};
use crate::checkpoint::LoadReport;
use crate::generator::GenerateSettings;
use crate::image::ImageBatch;
use crate::refiner::{RefineSettings, State};
use crate::trace::{RunId, StateId};

/// Where and how to compute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComputeSettings {
    /// The device.
    pub device: DeviceChoice,
    /// Samples that go through a network together.
    pub batch: u32,
}

impl Default for ComputeSettings {
    fn default() -> Self {
        Self { device: DeviceChoice::Auto, batch: 64 }
    }
}

/// Names one piece of work; results of older work are ignored by whoever asked for newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// The pictures that everything starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origins {
    /// x_0, the centre of the ball for ever.
    pub images: ImageBatch,
    /// Target class of every picture.
    pub labels: Vec<usize>,
    /// Seed of every picture.
    pub seeds: Vec<u64>,
    /// File name of every picture that was opened; empty for generated ones.
    pub names: Vec<String>,
    /// How they were generated; none for opened pictures.
    pub made_by: Option<GenerateSettings>,
}

impl Origins {
    /// Whether all lists belong together; data from files may lie.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let [n, c, h, w] = self.images.shape();
        let names = self.names.is_empty() || self.names.len() == n;
        n > 0 && (1..=4).contains(&c) && h > 0 && w > 0 && self.labels.len() == n && self.seeds.len() == n && names
    }
}

/// What the compute thread is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Make pictures.
    Generate {
        /// Name of this work.
        job: JobId,
        /// What to make.
        settings: GenerateSettings,
        /// Where.
        compute: ComputeSettings,
    },
    /// Begin a run: evaluate its first state, then iterate `iterations` times (0: wait, `None`: until stopped).
    Refine {
        /// Name of this work.
        job: JobId,
        /// Name of the run.
        run: RunId,
        /// Centre of the ball, labels, seeds.
        origins: Arc<Origins>,
        /// Iterations behind the start and the start itself, when it is not the origin.
        from: Option<(StateId, ImageBatch)>,
        /// How.
        settings: RefineSettings,
        /// How many iterations to do now.
        iterations: Option<u32>,
        /// Where.
        compute: ComputeSettings,
    },
    /// New settings for the run, from the next iteration on; a newer update replaces one that still waits.
    Update {
        /// The run.
        run: RunId,
        /// The settings.
        settings: RefineSettings,
    },
    /// Iterate on: so many iterations from now, or until stopped.
    Continue {
        /// The run.
        run: RunId,
        /// How many.
        iterations: Option<NonZeroU32>,
    },
    /// Hold after the current iteration; what is left of the plan is kept.
    Pause,
    /// End the current work after the current iteration; everything done is kept.
    Stop,
    /// Break on purpose, so that the crash path can be tested.
    Panic,
}

/// Facts about a loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Bundled name or path, as asked for.
    pub reference: String,
    /// Title of its manifest.
    pub title: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Class names.
    pub classes: Vec<String>,
    /// `[C, H, W]`.
    pub sample_shape: [usize; 3],
    /// What was loaded.
    pub report: LoadReport,
}

/// Why iterating ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    /// All planned iterations are done.
    Finished,
    /// Asked to pause; the plan goes on with `Continue`.
    Paused,
    /// Asked to stop.
    Stopped,
    /// No sample can move any more.
    NothingMoves,
}

/// What the compute thread reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Device opened.
    Device(DeviceInfo),
    /// Something slow goes on before the real work: step `step` of `of`, counted from 1.
    Preparing {
        /// The work it belongs to.
        job: JobId,
        /// What goes on, as a sentence without full stop.
        what: String,
        /// Current step.
        step: u32,
        /// Steps in all.
        of: u32,
    },
    /// A generator is loaded.
    Generator(ModelInfo),
    /// A classifier is loaded.
    Classifier(ModelInfo),
    /// Sampling goes on.
    Generating {
        /// The work.
        job: JobId,
        /// Sampling steps done, over all chunks.
        done: u32,
        /// Sampling steps in all.
        of: u32,
    },
    /// Pictures are there.
    Generated {
        /// The work.
        job: JobId,
        /// The pictures.
        origins: Arc<Origins>,
        /// Seconds that it took.
        secs: f64,
    },
    /// A state of a run is there.
    State {
        /// The work.
        job: JobId,
        /// The run.
        run: RunId,
        /// The state.
        state: Arc<State>,
        /// Seconds that it took.
        secs: f64,
    },
    /// New settings are in force from state `iteration` on.
    Updated {
        /// The run.
        run: RunId,
        /// The last state under the old settings.
        iteration: u32,
        /// The settings.
        settings: RefineSettings,
    },
    /// Work is at rest.
    Resting {
        /// The work.
        job: JobId,
        /// Why.
        rest: Rest,
    },
    /// Work failed; the chain goes from what failed to why.
    Failed {
        /// The work.
        job: JobId,
        /// Message and causes.
        chain: Vec<String>,
    },
    /// Something the user should know, in one sentence.
    Warning(String),
}
