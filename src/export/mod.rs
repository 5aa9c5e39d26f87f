//! Files that other programs read: PNG, NPZ, CSV, and the session's readable description.
//!
//! Every file is complete or not there at all: it is written beside its place and moved there when it is done. Nothing in
//! a file depends on the clock, so the same run gives the same bytes. This module knows no window and no command line.

pub mod csv;
pub mod npz;
pub mod png;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::image::ImageBatch;
use crate::session::document::Document;
use crate::session::temporary_in;
use crate::trace::{RunId, Trace};
use crate::worker::Origins;

/// Files of a refined batch, as [`write_refined`] names them; a `*` stands for the seed.
pub const REFINED_FILES: [&str; 7] =
    ["result.npz", "trace.csv", "session.json", "contact_sheet.png", "before/*.png", "after/*.png", "pair_*.png"];

/// Files of a generated batch, as [`write_generated`] names them; a `*` stands for the seed.
pub const GENERATED_FILES: [&str; 4] = ["samples.npz", "session.json", "contact_sheet.png", "images/*.png"];

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something that is no folder has the folder's name.
    #[error("a file is in the way of the folder for the results: move it away or choose another folder\n{}", path.display())]
    NotAFolder {
        /// The folder that was asked for.
        path: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("the folder for the results cannot be written: choose one that may be, or free some space\n{}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("the file cannot be written: free some space, or choose a folder that may be written\n{}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Makes a folder and checks that files can be written there, so that long work does not end in vain.
///
/// # Errors
/// [`ExportError`] when something is in the way or the system refuses.
pub fn prepare_folder(folder: &Path) -> Result<(), ExportError> {
    if folder.exists() && !folder.is_dir() {
        return Err(ExportError::NotAFolder { path: folder.to_owned() });
    }
    let fail = |source| ExportError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(fail)?;
    drop(temporary_in(folder).map_err(fail)?);
    Ok(())
}

/// Writes a file completely or not at all.
///
/// # Errors
/// [`ExportError::Write`] when `write` or the system fails; what lay there before stays.
pub fn atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let fail = |source| ExportError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut temporary = temporary_in(folder).map_err(fail)?;
    let mut out = BufWriter::new(temporary.as_file_mut());
    write(&mut out).map_err(fail)?;
    out.flush().map_err(fail)?;
    drop(out);
    temporary.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// A refined batch and everything that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Refined<'a> {
    /// The pictures before, their labels and seeds.
    pub origins: &'a Origins,
    /// The pictures after.
    pub after: &'a ImageBatch,
    /// `[N, K]`, of the pictures before.
    pub logits_before: &'a [f32],
    /// `[N, K]`, of the pictures after.
    pub logits_after: &'a [f32],
    /// What happened.
    pub trace: &'a Trace,
    /// The run that led to the pictures after.
    pub run: RunId,
    /// Class names.
    pub classes: &'a [String],
    /// The recipe.
    pub document: &'a Document,
}

/// Writes [`REFINED_FILES`]. The numbers come first: they are the master, pictures are views of them.
///
/// # Errors
/// [`ExportError`] of the first file that fails; those before it stay.
pub fn write_refined(folder: &Path, refined: &Refined<'_>) -> Result<(), ExportError> {
    let Refined { origins, after, trace, run, classes, document, .. } = *refined;
    prepare_folder(folder)?;
    npz::write_refined(&folder.join("result.npz"), refined)?;
    csv::write(&folder.join("trace.csv"), trace, run, origins, classes)?;
    write_document(&folder.join("session.json"), document)?;
    png::contact_sheet(&origins.images, Some(after)).write(&folder.join("contact_sheet.png"))?;
    write_pictures(&folder.join("before"), &origins.images, &origins.seeds)?;
    write_pictures(&folder.join("after"), after, &origins.seeds)?;
    for (index, seed) in origins.seeds.iter().enumerate() {
        png::pair(&origins.images, after, index).write(&folder.join(format!("pair_{seed:06}.png")))?;
    }
    Ok(())
}

/// Writes [`GENERATED_FILES`].
///
/// # Errors
/// [`ExportError`] of the first file that fails; those before it stay.
pub fn write_generated(folder: &Path, origins: &Origins, document: &Document) -> Result<(), ExportError> {
    prepare_folder(folder)?;
    npz::write_generated(&folder.join("samples.npz"), origins)?;
    write_document(&folder.join("session.json"), document)?;
    png::contact_sheet(&origins.images, None).write(&folder.join("contact_sheet.png"))?;
    write_pictures(&folder.join("images"), &origins.images, &origins.seeds)
}

/// Writes a session's readable description.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write_document(path: &Path, document: &Document) -> Result<(), ExportError> {
    atomically(path, |out| out.write_all(document.to_json().as_bytes()))
}

/// Every picture at its own size, named after its seed.
fn write_pictures(folder: &Path, images: &ImageBatch, seeds: &[u64]) -> Result<(), ExportError> {
    prepare_folder(folder)?;
    for (index, seed) in seeds.iter().enumerate() {
        png::native(images, index).write(&folder.join(format!("{seed:06}.png")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.txt");
        atomically(&path, |out| out.write_all(b"old")).unwrap();
        let error = atomically(&path, |out| {
            out.write_all(b"new")?;
            Err(std::io::Error::other("disk full"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_in_the_way_of_the_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "I was here first").unwrap();
        assert!(matches!(prepare_folder(&path), Err(ExportError::NotAFolder { .. })));
        assert!(matches!(prepare_folder(&path.join("deeper")), Err(ExportError::Folder { .. })));
    }
}
