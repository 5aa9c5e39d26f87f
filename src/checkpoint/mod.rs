//! The file door: files of named tensors, opened by what they contain and never by their name.
//!
//! Nothing in a file is executed. A checkpoint is opened ([`Checkpoint::open`]): its names and shapes are known without
//! reading the values. It may be presented under other names than its own ([`crate::zoo::open`]). Whoever needs its tensors
//! takes them through [`Weights`], which checks every shape and remembers what was left over. Trained networks go out by
//! [`write()`]. This module knows no network and no device.

mod container;
mod direct;
mod element;
mod error;
mod pickle;
mod places;
mod sniff;
mod store;
mod view;
mod weights;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::container::Container;
pub use self::element::Element;
pub use self::error::CheckpointError;
pub use self::sniff::{Content, sniff};
pub(crate) use self::view::{Source, View};
pub use self::weights::{LoadReport, Weights};
pub use self::write::{Named, write};

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
    files: Vec<PathBuf>,
    store: store::Store,
    view: View,
}

impl Checkpoint {
    /// Opens a `.safetensors` file or a PyTorch file (zip, legacy or tar), decided by content, under its own names.
    ///
    /// Only the structure is read.
    ///
    /// # Errors
    /// [`CheckpointError`] says in one sentence what was found, what was expected and what to do.
    pub fn open(file: &Path) -> Result<Self, CheckpointError> {
        Self::open_parts(vec![file.to_owned()])
    }

    /// Likewise for weights that lie in several files, in order; at least one.
    pub(crate) fn open_parts(files: Vec<PathBuf>) -> Result<Self, CheckpointError> {
        let store = store::Store::open_parts(&files)?;
        let view = View::plain(&store.tensors);
        Ok(Self { path: files.first().cloned().unwrap_or_default(), files, store, view })
    }

    /// The same under other names, and under the path of what was opened, which errors show.
    pub(crate) fn presented(self, path: &Path, view: View) -> Self {
        Self { path: path.to_owned(), view, ..self }
    }

    /// What was opened: a file, or the folder that it lies in.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of the weights, usually one.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Length of the files of the weights.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.store.bytes
    }

    /// How the file packs its tensors.
    #[must_use]
    pub const fn container(&self) -> Container {
        self.store.container
    }

    /// Names, shapes and types as stored, in order of name.
    pub(crate) const fn stored(&self) -> &BTreeMap<String, TensorInfo> {
        &self.store.tensors
    }

    /// Names, shapes and types as presented, in order of name.
    #[must_use]
    pub const fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.view.tensors
    }

    /// SHA-256 of the whole file of the weights, or of all of them one behind the other, lower-case hexadecimal.
    ///
    /// # Errors
    /// [`CheckpointError::Read`], or [`CheckpointError::Cancelled`] when `watch` says so.
    pub fn sha256(&self, watch: &mut Watch<'_>) -> Result<String, CheckpointError> {
        sha256(&self.files, self.store.bytes, watch)
    }

    /// Refuses a tensor that is absent, of another shape or no float, or that brings the bytes of all, which are
    /// counted in `done`, beyond what the file can hold.
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
        if *done > self.store.most {
            let (claimed, found) = (*done, self.store.most);
            return Err(CheckpointError::Claim { path: path(), tensor: tensor(), claimed, found });
        }
        Ok(())
    }

    /// Bytes in the file that a tensor is read from.
    fn bytes_of(&self, name: &str) -> u64 {
        let stored = self.view.sources.get(name).into_iter().flat_map(Source::stored);
        stored.map(|name| self.store.bytes_of(name)).sum()
    }

    /// Reads one tensor, by the name that it is presented under, as `f32`, row-major.
    ///
    /// # Errors
    /// [`CheckpointError`] when the tensor is absent, not a floating-point tensor, or its bytes cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let source = self.view.sources.get(name).ok_or_else(|| CheckpointError::missing(self, name))?;
        let mut values = Vec::new();
        for stored in source.stored() {
            let part = self.read_stored(stored)?;
            if values.is_empty() {
                values = part;
            } else {
                values.extend(part);
            }
        }
        Ok(self.view.arrange(name, values))
    }

    /// Reads one tensor as it is stored, by its own name.
    pub(crate) fn read_stored(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        self.store.read(name)
    }
}

/// SHA-256 of files, one behind the other, of so many bytes in all; lower-case hexadecimal.
///
/// # Errors
/// [`CheckpointError::Read`], or [`CheckpointError::Cancelled`] when `watch` says so.
pub fn sha256(files: &[PathBuf], of: u64, watch: &mut Watch<'_>) -> Result<String, CheckpointError> {
    let mut hash = crate::file::Sha256::default();
    for path in files {
        let io = |source| CheckpointError::Read { path: path.clone(), source };
        if !hash.take(open_file(path)?, &mut |done| watch(done, of)).map_err(io)? {
            return Err(CheckpointError::Cancelled);
        }
    }
    Ok(hash.digits())
}

/// Opens a file to read; what is no file, such as a named pipe, may have no end and is refused.
pub(crate) fn open_file(path: &Path) -> Result<std::fs::File, CheckpointError> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => CheckpointError::NotFound { path: path.to_owned() },
        _ => CheckpointError::Read { path: path.to_owned(), source },
    };
    crate::file::check(path)?;
    std::fs::File::open(path).map_err(io)
}
