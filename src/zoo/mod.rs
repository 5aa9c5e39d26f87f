//! What a file of tensors is, and where models are.
//!
//! A file speaks the names of some library ([`Dialect`]); [`open`] presents its tensors under one naming. What it is, its
//! manifest says, or its shapes do ([`recognise()`]). [`find`] and [`resolve`] know where models are: bundled, on disk, or in
//! a folder of diffusers.

mod check;
pub mod classes;
mod dialect;
mod diffusers;
mod expected;
mod known;
mod library;
mod manifest;
mod presets;
mod recognise;

use std::collections::BTreeMap;
use std::path::Path;

pub use self::dialect::Dialect;
use self::dialect::Reading;
use self::diffusers::DiffusersConfig;
pub use self::expected::expected;
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
}

/// Opens a `.safetensors` file, a PyTorch file (zip, legacy or tar), decided by content, or a folder of diffusers: a
/// pipeline, or its U-Net.
///
/// Only the structure is read.
///
/// # Errors
/// [`CheckpointError`] says in one sentence what was found, what was expected and what to do.
pub fn open(path: &Path) -> Result<Opened, CheckpointError> {
    let (file, config) = if path.is_dir() {
        let folder = diffusers::Folder::open(path)?;
        (folder.weights, Some(folder.config))
    } else if path.is_file() && diffusers::is_shard(path) {
        return Err(CheckpointError::Sharded { path: path.to_owned() });
    } else {
        (path.to_owned(), None)
    };
    let checkpoint = Checkpoint::open(&file)?;
    let mut reading = dialect::read(checkpoint.stored());
    let config = match config {
        None if reading.dialect == Dialect::Diffusers => diffusers::beside(&file)?,
        config => config,
    };
    let view = std::mem::take(&mut reading.view);
    Ok(Opened { checkpoint: checkpoint.presented(path, view), reading, config })
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
