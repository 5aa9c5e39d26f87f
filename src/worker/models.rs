//! Loading models: found, checked, read tensor by tensor, with progress and a way out.

use std::path::Path;

use burn::tensor::Device;

use super::message::{Event, ModelInfo};
use crate::checkpoint::{Checkpoint, CheckpointError, LoadReport, Watch, Weights};
use crate::classifier::Classifier;
use crate::generator::Generator;
use crate::zoo::{Manifest, resolve};

/// A model in memory and what is known of it.
pub(super) struct Loaded<M> {
    pub(super) info: ModelInfo,
    pub(super) model: M,
}

/// The models of the compute thread.
#[derive(Default)]
pub(super) struct Models {
    pub(super) generator: Option<Loaded<Generator>>,
    pub(super) classifier: Option<Loaded<Classifier>>,
}

/// What generators and classifiers have in common.
pub(super) trait Network: Sized {
    /// In words.
    const ROLE: &'static str;

    /// Reads the weights.
    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError>;

    /// `[C, H, W]`.
    fn shape(&self) -> [usize; 3];

    /// Its place.
    fn slot(models: &mut Models) -> &mut Option<Loaded<Self>>;

    /// What is told when it is there.
    fn event(info: ModelInfo) -> Event;
}

impl Network for Generator {
    const ROLE: &'static str = "generator";

    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError> {
        Self::read(manifest, weights, device)
    }

    fn shape(&self) -> [usize; 3] {
        self.sample_shape()
    }

    fn slot(models: &mut Models) -> &mut Option<Loaded<Self>> {
        &mut models.generator
    }

    fn event(info: ModelInfo) -> Event {
        Event::Generator(info)
    }
}

impl Network for Classifier {
    const ROLE: &'static str = "classifier";

    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError> {
        Self::read(manifest, weights, device)
    }

    fn shape(&self) -> [usize; 3] {
        self.sample_shape()
    }

    fn slot(models: &mut Models) -> &mut Option<Loaded<Self>> {
        &mut models.classifier
    }

    fn event(info: ModelInfo) -> Event {
        Event::Classifier(info)
    }
}

/// Finds, checks and reads a model. `watch(what, done, of)` hears of every piece and may end it.
pub(super) fn load<M: Network>(
    reference: &str,
    cache: &Path,
    device: &Device,
    watch: &mut dyn FnMut(&str, u64, u64) -> bool,
) -> Result<Loaded<M>, CheckpointError> {
    let model = resolve(reference, cache)?;
    let name = Path::new(reference).file_name().map_or_else(|| reference.into(), std::ffi::OsStr::to_string_lossy);
    let checking = format!("checking {} {name}", M::ROLE);
    let (checkpoint, sha256) = model.open(&mut |done, of| watch(&checking, done, of))?;
    let reading = format!("reading {} {name}", M::ROLE);
    let (network, report) = read(&model.manifest, &checkpoint, device, &mut |done, of| watch(&reading, done, of))?;
    let sample_shape = M::shape(&network);
    let Manifest { title, classes, .. } = model.manifest;
    let info = ModelInfo { reference: reference.to_owned(), title, sha256, classes, sample_shape, report };
    Ok(Loaded { info, model: network })
}

fn read<M: Network>(
    manifest: &Manifest,
    checkpoint: &Checkpoint,
    device: &Device,
    watch: &mut Watch<'_>,
) -> Result<(M, LoadReport), CheckpointError> {
    M::read(manifest, Weights::watched(checkpoint, watch), device)
}
