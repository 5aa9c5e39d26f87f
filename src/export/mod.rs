//! Files that other programs read: PNG, NPZ, CSV, and the session's readable description.
//!
//! Every file is complete or not there at all: it is written beside its place and moved there when it is done. Nothing in
//! a file depends on the clock, so the same run gives the same bytes. This module knows no window and no command line.

mod csv;
mod npz;
mod png;
pub mod stream;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

pub use self::png::{Picture, pair};
use crate::image::{ImageBatch, Levels};
use crate::origins::Origins;
use crate::session::document::Document;
use crate::session::temporary_in;
use crate::trace::{RunId, Trace};

/// One format: a file, or numbered ones.
#[derive(Debug, Clone, Copy)]
pub struct Exporter {
    /// Its name below the folder of the results; a `*` stands for the seed, in six digits.
    pub files: &'static str,
    write: fn(&Path, &Results<'_>) -> Result<(), ExportError>,
}

impl Exporter {
    /// Writes one file of this format by a name of its own, completely or not at all.
    ///
    /// # Errors
    /// [`ExportError`] when the file cannot be written; what lay there before stays.
    pub fn write_to(&self, path: &Path, results: &Results<'_>) -> Result<(), ExportError> {
        let fail = |source| ExportError::Write { path: path.to_owned(), source };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let beside = tempfile::tempdir_in(folder).map_err(fail)?;
        (self.write)(beside.path(), results)?;
        std::fs::rename(beside.path().join(self.files), path).map_err(fail)
    }
}

/// What is written of a refined batch. The numbers come first: they are the master, pictures are views of them.
pub const REFINED: [Exporter; 7] =
    [npz::REFINED, csv::TRACE, DOCUMENT, png::SHEET, png::BEFORE, png::AFTER, png::PAIRS];

/// What is written of a generated or edited batch.
pub const GENERATED: [Exporter; 4] = [npz::GENERATED, DOCUMENT, png::SHEET, png::IMAGES];

/// What is written of a long refinement, by [`stream::StreamWriter`].
pub const STREAMED_FILES: [&str; 4] = ["samples.npz", "refined.csv", DOCUMENT.files, png::SHEET.files];

/// The session's readable description.
const DOCUMENT: Exporter = Exporter {
    files: "session.json",
    write: |folder, results| write_document(&folder.join(DOCUMENT.files), results.document),
};

/// The names of what is written.
#[must_use]
pub fn files(exporters: &[Exporter]) -> Vec<&'static str> {
    exporters.iter().map(|exporter| exporter.files).collect()
}

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

/// Pictures and everything that is known of them.
#[derive(Debug, Clone, Copy)]
pub struct Results<'a> {
    /// The pictures, those before if they were refined; their labels and seeds.
    pub origins: &'a Origins,
    /// The recipe.
    pub document: &'a Document,
    /// What came of refining them.
    pub refined: Option<Refined<'a>>,
}

/// What came of refining pictures.
#[derive(Debug, Clone, Copy)]
pub struct Refined<'a> {
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
    /// How 8-bit levels are made for `arr_0`; PNG files are rounded always.
    pub levels: Levels,
}

impl Results<'_> {
    /// The class of each picture: that which it was refined towards, else its label.
    #[must_use]
    pub fn targets(&self) -> &[usize] {
        let targets = self.refined.and_then(|refined| refined.trace.run(refined.run)?.targets.as_deref());
        targets.unwrap_or(&self.origins.labels)
    }

    /// Writes everything into a folder, in the place of what lies there of an earlier run.
    ///
    /// # Errors
    /// [`ExportError`] of the first file that fails; those before it stay.
    pub fn write(&self, folder: &Path) -> Result<(), ExportError> {
        prepare_folder(folder)?;
        let exporters = if self.refined.is_some() { &REFINED[..] } else { &GENERATED };
        for exporter in exporters {
            remove_numbered(folder, exporter.files)?;
        }
        exporters.iter().try_for_each(|exporter| (exporter.write)(folder, self))
    }
}

/// Writes a session's readable description.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write_document(path: &Path, document: &Document) -> Result<(), ExportError> {
    atomically(path, |out| out.write_all(document.to_json().as_bytes()))
}

/// Removes files of an earlier run, which would be taken for those of this one, where `files` has a `*`.
fn remove_numbered(folder: &Path, files: &str) -> Result<(), ExportError> {
    let Some((before, after)) = files.split_once('*') else { return Ok(()) };
    let (below, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let folder = folder.join(below);
    let fail = |source| ExportError::Folder { path: folder.clone(), source };
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(&folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(after));
        if number.is_some_and(|number| number.len() == 6 && number.bytes().all(|digit| digit.is_ascii_digit())) {
            std::fs::remove_file(entry.path()).map_err(fail)?;
        }
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
    fn only_numbered_pictures_of_an_earlier_run_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ["mine.png", "pair_mine.png", "pair_000001.jpg", "pair_00001.png"];
        for name in kept.into_iter().chain(["pair_000001.png", "pair_123456.png"]) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        for files in ["pair_*.png", "before/*.png", "session.json"] {
            remove_numbered(folder.path(), files).unwrap();
        }
        assert!(kept.iter().all(|name| folder.path().join(name).exists()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), kept.len());
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
