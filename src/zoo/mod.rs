//! What a file of tensors is, and where models are.
//!
//! A file speaks the names of some library ([`Dialect`]); [`open`] presents its tensors under one naming. What it is, its
//! manifest says, or its shapes do ([`recognise()`]). [`find`] and [`resolve`] know where models are: bundled, on disk, or in
//! a folder of diffusers.

mod card;
mod check;
pub mod classes;
mod config;
mod dialect;
mod diffusers;
mod expected;
mod folder;
mod inception;
mod known;
mod library;
mod manifest;
mod presets;
mod recognise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::card::Card;
pub use self::dialect::Dialect;
use self::dialect::Reading;
use self::diffusers::DiffusersConfig;
pub use self::expected::expected;
use self::folder::Folder;
pub use self::inception::{ExtractorManifest, InceptionDialect, published};
pub use self::library::{
    BUNDLED, Described, Model, Origin, bundled_manifest, class_names, describe, find, notes, resolve,
};
pub use self::manifest::{
    ClassifierManifest, DiffusionManifest, GeneratorManifest, Manifest, ManifestKind, NoiseSchedule,
    PreconditioningName, manifest_beside,
};
pub use self::recognise::{Recognised, recognise};
use crate::checkpoint::{Checkpoint, CheckpointError};
pub use crate::net::resnet::{Activation, BlockKind, Padding, Preactivation, ResnetManifest, Shortcut};
pub use crate::net::unet::{AttentionOrder, UnetManifest};

/// A file whose network was found, its tensors under canonical names: OpenAI's for U-Nets, torchvision's for ResNets.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub checkpoint: Checkpoint,
    reading: Reading,
    config: Option<DiffusersConfig>,
    card: Option<Card>,
}

/// Opens a `.safetensors` file, a PyTorch file (zip, legacy or tar), decided by content, or a folder: a pipeline of
/// diffusers, its U-Net, or a classifier of Hugging Face. Weights in several files are read as one, given any of them.
///
/// Only the structure is read.
///
/// # Errors
/// [`CheckpointError`] says in one sentence what was found, what was expected and what to do.
pub fn open(path: &Path) -> Result<Opened, CheckpointError> {
    let beside = manifest_beside(path);
    // One that is refused is told of by whoever needs all of it.
    let manifest = if beside.is_file() { Manifest::read(&beside).ok() } else { None };
    open_as(path, manifest.and_then(|manifest| manifest.prefix).as_deref())
}

/// [`open`] for the network after `prefix`, where a manifest says it.
///
/// # Errors
/// As [`open`].
pub fn open_as(path: &Path, prefix: Option<&str>) -> Result<Opened, CheckpointError> {
    let (files, config, mut card) = if path.is_dir() {
        let Folder { weights, config, card } = Folder::open(path)?;
        (weights, config, card)
    } else {
        (folder::parts_of(path)?, None, None)
    };
    let checkpoint = Checkpoint::open_parts(files)?;
    let mut reading = dialect::read(checkpoint.stored(), prefix);
    let file = checkpoint.files().first().map_or(path, PathBuf::as_path);
    let config = match config {
        None if reading.dialect == Dialect::Diffusers => diffusers::beside(file)?,
        config => config,
    };
    let around = file.parent().filter(|around| around.join("config.json").is_file());
    if let (true, Some(around)) =
        (reading.dialect.is_resnet() && !path.is_dir() && folder::is_of_classifier(file), around)
    {
        card = Some(card::read(around)?);
    }
    let view = std::mem::take(&mut reading.view);
    Ok(Opened { checkpoint: checkpoint.presented(path, view), reading, config, card })
}

impl Opened {
    /// Whose names the file uses.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.reading.dialect
    }

    /// What stands before every name of the network in the file, such as `module.model.`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.reading.prefix
    }

    /// Tensors of the file that are known and not needed, by their names in the file.
    #[must_use]
    pub fn set_aside(&self) -> &[String] {
        &self.reading.set_aside
    }

    /// How many of them there are, by the word or the prefix that tells them.
    #[must_use]
    pub const fn set_aside_by(&self) -> &BTreeMap<String, usize> {
        &self.reading.set_aside_by
    }

    /// Mean and standard deviation per channel that the file brings for its input, as robustness' files do.
    ///
    /// # Errors
    /// [`CheckpointError`] when they are there and cannot be read.
    fn normalisation(&self) -> Result<Option<[Vec<f32>; 2]>, CheckpointError> {
        let Some([mean, std]) = &self.reading.normaliser else {
            return Ok(None);
        };
        Ok(Some([self.checkpoint.read_stored(mean)?, self.checkpoint.read_stored(std)?]))
    }
}
