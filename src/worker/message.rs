//! What crosses the border between the compute thread and the rest: plain, serialisable values.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compute::ComputeSettings;
use super::device::DeviceInfo;
use super::train::{Told, TrainSettings};
use crate::checkpoint::LoadReport;
use crate::generator::{EditSettings, GenerateSettings, Mask};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{RefineSettings, State};
use crate::trace::{RunId, StateId, Tag};
use crate::units::bytes;
use crate::zoo::InceptionDialect;

/// Names one piece of work; results of older work are ignored by whoever asked for newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// The files of LPIPS, whose weights are not Lapidary's to ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LpipsFiles {
    /// Torchvision's file of `vgg16`.
    pub vgg: PathBuf,
    /// The file of the weights behind it, `vgg.pth` of richzhang/PerceptualSimilarity.
    pub linear: PathBuf,
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
    /// Make pictures from pictures.
    Edit {
        /// Name of this work.
        job: JobId,
        /// Which generator, seeds and classes.
        settings: GenerateSettings,
        /// What to do.
        edit: EditSettings,
        /// The pictures to edit, none for interpolation.
        reference: Option<Arc<Origins>>,
        /// Pixels to generate, for inpainting.
        mask: Option<Mask>,
        /// Where.
        compute: ComputeSettings,
        /// Whether the pictures are told of while they are on their way.
        #[serde(default)]
        previews: bool,
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
        /// Real pictures that early stopping compares with, paired by index.
        references: Option<ImageBatch>,
        /// How.
        settings: RefineSettings,
        /// How many iterations to do now.
        iterations: Option<u32>,
        /// Where.
        compute: ComputeSettings,
        /// Samples that a GPU takes at once, also when the batch has fewer: the batches of a stream are all of one size, but
        /// for the last, and every other size would be another shape to tune kernels for.
        #[serde(default)]
        chunk: Option<NonZeroU32>,
        /// What the run is called, and which runs it belongs to.
        #[serde(default)]
        tag: Tag,
    },
    /// Look at pictures as a classifier or an extractor does.
    Measure {
        /// Name of this work.
        job: JobId,
        /// A bundled classifier's name, or the path of a classifier or an extractor.
        classifier: String,
        /// The way that pictures take to an extractor; none for that of its file.
        #[serde(default)]
        dialect: Option<InceptionDialect>,
        /// The pictures.
        images: ImageBatch,
        /// Where.
        compute: ComputeSettings,
        /// Pictures that a GPU takes at once, as in [`Self::Refine`].
        chunk: Option<NonZeroU32>,
    },
    /// Compare pictures with their partners by LPIPS.
    Compare {
        /// Name of this work.
        job: JobId,
        /// The network.
        lpips: LpipsFiles,
        /// The pictures, and their partners in the same order.
        pairs: [ImageBatch; 2],
        /// Where.
        compute: ComputeSettings,
        /// Pairs that a GPU takes at once, as in [`Self::Refine`].
        chunk: Option<NonZeroU32>,
    },
    /// New settings for the run, from the next iteration on; a newer update replaces one that still waits.
    Update {
        /// The run.
        run: RunId,
        /// The settings.
        settings: RefineSettings,
    },
    /// Go on with what is held or has done its plan: so many iterations from now, or until stopped.
    Continue {
        /// Name of this work from now on: what still comes under the old name was before.
        job: JobId,
        /// The run; none for pictures whose making was paused.
        run: Option<RunId>,
        /// How many; of pictures that are made, sampling steps.
        iterations: Option<NonZeroU32>,
    },
    /// Train a network, beside everything else: whatever else is asked for comes first.
    Train {
        /// Name of this work.
        job: JobId,
        /// Which training, and how.
        settings: TrainSettings,
        /// Whether it waits before its first step, when it is ready.
        waits: bool,
    },
    /// Hold the training after its current step, go on with it, or end it with a checkpoint.
    Steer(Steer),
    /// Models that are in use: a training that keeps only its newest checkpoints does not remove these.
    InUse(Vec<PathBuf>),
    /// Hold after the current step; nothing is lost.
    Pause,
    /// End the current work after the current step; everything done is kept.
    Stop,
    /// Break on purpose, so that the crash path can be tested.
    Panic,
}

/// What becomes of the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    /// It is held after its current step.
    Pause,
    /// It goes on.
    GoOn,
    /// It keeps a checkpoint after its current step, and ends.
    Stop,
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

/// Memory that network calls need, in bytes; known before the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEstimate {
    /// Whether it is a refinement step (else a call of the generator).
    pub refines: bool,
    /// The network's weights.
    pub weights: u64,
    /// Activations of one sample, forwards and, for refinement, backwards.
    pub per_sample: u64,
    /// Samples that are computed at once.
    pub at_once: u32,
    /// What may be used, weights included.
    pub budget: u64,
}

impl MemoryEstimate {
    /// Weights and the activations of all samples that are computed at once.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.weights + self.per_sample * self.at_once as u64
    }
}

impl std::fmt::Display for MemoryEstimate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} step needs about {}: weights {} + {} × {} per picture; {} may be used",
            if self.refines { "A refinement" } else { "A sampling" },
            bytes(self.total()),
            bytes(self.weights),
            self.at_once,
            bytes(self.per_sample),
            bytes(self.budget),
        )
    }
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
    Device {
        /// The work that it was opened for.
        job: JobId,
        /// Which it is.
        info: DeviceInfo,
    },
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
    Generator {
        /// The work that it was loaded for.
        job: JobId,
        /// What it is.
        info: ModelInfo,
    },
    /// A classifier is loaded.
    Classifier {
        /// The work that it was loaded for.
        job: JobId,
        /// What it is.
        info: ModelInfo,
    },
    /// A file is read: `done` of `of` bytes.
    Loading {
        /// The work it belongs to.
        job: JobId,
        /// What is read.
        what: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// What the next network calls will need.
    Estimate {
        /// The work it belongs to.
        job: JobId,
        /// The estimate.
        estimate: MemoryEstimate,
    },
    /// Sampling goes on.
    Generating {
        /// The work.
        job: JobId,
        /// Sampling steps done, over all chunks.
        done: u32,
        /// Sampling steps in all.
        of: u32,
        /// Seconds that those done took.
        secs: f64,
    },
    /// Pictures on their way, as they are now.
    Preview {
        /// The work.
        job: JobId,
        /// The place of the first of them among all.
        first: usize,
        /// The pictures.
        images: ImageBatch,
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
    /// Pictures were looked at.
    Measured {
        /// The work.
        job: JobId,
        /// What the classifier's last layer sees of them, `[N, D]`, row-major.
        values: Vec<f32>,
        /// Its logits, `[N, K]`.
        logits: Vec<f32>,
        /// What an extractor sees of them place by place, `[N, D']`; nothing of a classifier.
        spatial: Vec<f32>,
    },
    /// Pictures were compared with their partners.
    Compared {
        /// The work.
        job: JobId,
        /// LPIPS of every pair, `[N]`.
        distances: Vec<f32>,
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
    /// The class that every sample of a run is refined towards, when it is not its label.
    Targets {
        /// The work.
        job: JobId,
        /// The run.
        run: RunId,
        /// One class per sample.
        targets: Vec<usize>,
    },
    /// New settings are in force from state `iteration` on.
    Updated {
        /// The work.
        job: JobId,
        /// The run.
        run: RunId,
        /// The last state under the old settings.
        iteration: u32,
        /// The settings.
        settings: RefineSettings,
    },
    /// The training tells something.
    Training {
        /// The work.
        job: JobId,
        /// What.
        told: Told,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_older_versions_are_understood() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let command = Command::Refine {
            job: JobId(1),
            run: RunId(2),
            origins: Arc::new(Origins::opened(images, vec![0], Vec::new())),
            from: None,
            references: None,
            settings: RefineSettings::default(),
            iterations: Some(3),
            compute: ComputeSettings::default(),
            chunk: None,
            tag: Tag::default(),
        };
        let mut json = serde_json::to_value(&command).unwrap();
        let fields = json["Refine"].as_object_mut().unwrap();
        assert!(fields.remove("chunk").is_some() && fields.remove("tag").is_some());
        assert_eq!(serde_json::from_value::<Command>(json).unwrap(), command);
    }
}
