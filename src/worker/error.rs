//! Why a piece of work failed, each in one sentence.

use super::device::DeviceError;
use crate::checkpoint::CheckpointError;
use crate::classifier::LabelError;
use crate::generator::GenerateError;
use crate::refiner::RefineError;

/// Any failure of a piece of work.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error("the model cannot be loaded")]
    Checkpoint(#[from] CheckpointError),
    #[error("the device cannot be used")]
    Device(#[from] DeviceError),
    #[error("generating failed")]
    Generate(#[from] GenerateError),
    #[error("refining failed")]
    Refine(#[from] RefineError),
    #[error(
        "the pictures are {generator:?} (channels, height, width), but the classifier takes {channels} channels: choose another classifier, or pictures that fit it"
    )]
    Channels { generator: [usize; 3], channels: usize },
    #[error(
        "LPIPS compares pictures of one or three channels and at least {least}×{least} pixels, but these have {}, {width}×{height}: leave it out, or give others",
        crate::units::counted(*channels, "channel")
    )]
    Lpips { channels: usize, height: usize, width: usize, least: usize },
    #[error("class {label} is asked for, but the generator knows {classes} classes (0 to {}): choose another class", classes - 1)]
    Class { label: usize, classes: usize },
    #[error(transparent)]
    Labels(LabelError),
    #[error(
        "the pictures to be edited have labels that the generator does not know: choose the classes of the results (--classes), or a classifier of the generator's classes"
    )]
    EditedLabels(#[source] LabelError),
    #[error(
        "one picture at a time needs about {needed} MiB, but {limit} MiB are allowed: raise that limit, or take a smaller model or picture"
    )]
    Memory { needed: u64, limit: u32 },
    #[error(
        "{device} computes the {role} otherwise than the CPU, with tuned kernels and without ({wrong}): update its driver, or use --device cpu"
    )]
    Wrong { device: String, role: &'static str, wrong: String },
    #[error(transparent)]
    Training(anyhow::Error),
    #[error("a setting is out of range")]
    Parameter(#[from] crate::parameter::ParameterError),
}

impl WorkError {
    /// Whether it was asked for: a stop, or newer work, was waiting.
    pub(super) const fn is_interruption(&self) -> bool {
        matches!(self, Self::Checkpoint(CheckpointError::Cancelled))
    }
}
