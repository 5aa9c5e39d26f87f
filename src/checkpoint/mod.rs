//! Checkpoints: files of named tensors, opened by what they contain and never by their name.
//!
//! Nothing in a file is executed. A checkpoint is opened ([`Checkpoint::open`]): its names and shapes are known without
//! reading the values, and they are presented under one naming whatever library wrote the file ([`Dialect`]). What a file
//! is, its manifest says, or its shapes do ([`recognise()`]). A network takes the tensors that it needs through [`Weights`],
//! which checks every shape and remembers what was left over. This module knows no network and no device.

mod check;
pub mod classes;
mod dialect;
mod diffusers;
mod element;
mod error;
mod expected;
mod known;
mod library;
mod manifest;
mod presets;
mod recognise;
mod sniff;
mod store;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

pub use self::dialect::Dialect;
pub use self::element::Element;
pub use self::error::CheckpointError;
pub use self::expected::expected;
pub use self::library::{
    BUNDLED, Described, Model, Origin, bundled_manifest, class_names, describe, find, manifest_beside, resolve,
};
pub use self::manifest::{
    AttentionOrder, BlockKind, ClassifierManifest, DiffusionManifest, GeneratorManifest, Manifest, ManifestKind,
    NoiseSchedule, PreconditioningName, ResnetManifest, Shortcut, UnetManifest,
};
pub use self::recognise::{Recognised, recognise};
pub use self::sniff::{Content, sniff};
pub use self::store::Container;
pub use self::weights::{LoadReport, Weights};

/// Hears of the progress of a long read, in bytes done and bytes in all; returning `false` cancels it.
pub type Watch<'a> = dyn FnMut(u64, u64) -> bool + 'a;

/// A [`Watch`] that neither listens nor cancels.
#[must_use]
pub const fn unwatched(_done: u64, _of: u64) -> bool {
    true
}

/// What is known of a tensor before its values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Element type in the file.
    pub element: Element,
}

impl TensorInfo {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, extent| product.saturating_mul(*extent))
    }
}

/// An opened checkpoint: names and shapes, values on demand.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    file: PathBuf,
    store: store::Store,
    view: dialect::View,
    config: Option<diffusers::DiffusersConfig>,
}

impl Checkpoint {
    /// Opens a `.safetensors` file, a PyTorch file (zip, legacy or tar), decided by content, or a folder of diffusers: a
    /// pipeline, or its U-Net.
    ///
    /// Only the structure is read.
    ///
    /// # Errors
    /// [`CheckpointError`] says in one sentence what was found, what was expected and what to do.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (file, config) = if path.is_dir() {
            let folder = diffusers::Folder::open(path)?;
            (folder.weights, Some(folder.config))
        } else if path.is_file() && diffusers::is_shard(path) {
            return Err(CheckpointError::Sharded { path: path.to_owned() });
        } else {
            (path.to_owned(), None)
        };
        let store = store::Store::open(&file)?;
        let view = dialect::view(&store.tensors);
        let config = match config {
            None if view.dialect == Dialect::Diffusers => diffusers::beside(&file)?,
            config => config,
        };
        Ok(Self { path: path.to_owned(), file, store, view, config })
    }

    /// What was opened: a file, or a folder of diffusers.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the weights.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Length of the file of the weights.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.store.bytes
    }

    /// How the file packs its tensors.
    #[must_use]
    pub const fn container(&self) -> Container {
        self.store.container
    }

    /// Whose names the file uses.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.view.dialect
    }

    /// What stands before every name of the network in the file, such as `module.model.`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.view.prefix
    }

    /// Canonical names, shapes and types, in order of name.
    #[must_use]
    pub const fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.view.tensors
    }

    /// Tensors of the file that are known and not needed, by their names in the file.
    #[must_use]
    pub fn set_aside(&self) -> &[String] {
        &self.view.set_aside
    }

    /// How many of them there are, by the word or the prefix that tells them.
    #[must_use]
    pub const fn set_aside_by(&self) -> &BTreeMap<String, usize> {
        &self.view.set_aside_by
    }

    /// SHA-256 of the whole file of the weights, lower-case hexadecimal.
    ///
    /// # Errors
    /// [`CheckpointError::Read`], or [`CheckpointError::Cancelled`] when `watch` says so.
    pub fn sha256(&self, watch: &mut Watch<'_>) -> Result<String, CheckpointError> {
        use std::io::Read as _;
        let io = |source| CheckpointError::Read { path: self.file.clone(), source };
        let mut file = std::fs::File::open(&self.file).map_err(io)?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        loop {
            let read = file.read(&mut buffer).map_err(io)?;
            if read == 0 {
                return Ok(hex(&hasher.finalize()));
            }
            hasher.update(&buffer[..read]);
            done += read as u64;
            if !watch(done, self.store.bytes) {
                return Err(CheckpointError::Cancelled);
            }
        }
    }

    /// Says whether a network of this manifest can be read from the file, without reading it.
    ///
    /// # Errors
    /// The first [`CheckpointError`] of [`Weights::take`] over all [`expected()`] tensors.
    pub fn fits(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let mut done = 0;
        expected(manifest).iter().try_for_each(|(name, shape)| self.claim(name, shape, &mut done))
    }

    /// Refuses a tensor that is absent, of another shape or no float, or that brings the bytes of all, which are
    /// counted in `done`, beyond the length of the file.
    fn claim(&self, name: &str, shape: &[usize], done: &mut u64) -> Result<(), CheckpointError> {
        let path = || self.path.clone();
        let tensor = || name.to_owned();
        let info = self.tensors().get(name).ok_or_else(|| CheckpointError::missing(self, name))?;
        if info.shape != shape {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(CheckpointError::Shape { path: path(), tensor: tensor(), expected, found });
        }
        if !info.element.is_float() {
            return Err(CheckpointError::NotFloat { path: path(), tensor: tensor() });
        }
        *done = done.saturating_add(self.bytes_of(name));
        if *done > self.store.bytes {
            let (claimed, found) = (*done, self.store.bytes);
            return Err(CheckpointError::Claim { path: path(), tensor: tensor(), claimed, found });
        }
        Ok(())
    }

    /// Bytes in the file that a canonical tensor is read from.
    fn bytes_of(&self, name: &str) -> u64 {
        let stored = self.view.sources.get(name).into_iter().flat_map(dialect::Source::stored);
        stored.map(|name| self.store.bytes_of(name)).sum()
    }

    /// Reads one tensor, by its canonical name, as `f32`, row-major.
    ///
    /// # Errors
    /// [`CheckpointError`] when the tensor is absent, not a floating-point tensor, or its bytes cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let source = self.view.sources.get(name).ok_or_else(|| CheckpointError::missing(self, name))?;
        let rows = self.view.tensors[name].shape.first().copied().unwrap_or(1);
        let mut values = Vec::new();
        for stored in source.stored() {
            let part = self.store.read(&self.file, stored)?;
            if values.is_empty() {
                values = part;
            } else {
                values.extend(part);
            }
        }
        Ok(source.arrange(values, rows))
    }

    /// Mean and standard deviation per channel that the file brings for its input, as robustness' files do.
    ///
    /// # Errors
    /// [`CheckpointError`] when they are there and cannot be read.
    fn normalisation(&self) -> Result<Option<[Vec<f32>; 2]>, CheckpointError> {
        let Some([mean, std]) = &self.view.normaliser else {
            return Ok(None);
        };
        Ok(Some([self.store.read(&self.file, mean)?, self.store.read(&self.file, std)?]))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
