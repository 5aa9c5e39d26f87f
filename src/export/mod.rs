//! Files that other programs read: PNG, NPZ, CSV, and the session's readable description.
//!
//! Every file is complete or not there at all: it is written beside its place and moved there when it is done. Nothing in
//! a file depends on the clock, so the same run gives the same bytes. This module knows no window and no command line.

mod csv;
mod folder;
mod npz;
mod parts;
mod png;
mod seen;
mod share;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

pub use self::folder::{Claim, Claimed, Earlier, Extent, OutFolder, ShareFolder, abandon, unfinished_in};
pub use self::parts::{Parts, RefinedBatch, SHEET_OF_MANY, SeenBatch, UnderWay, finished};
pub use self::png::write as write_png;
pub use self::seen::{write_features, write_statistics};
pub use self::share::{MAX_SHARDS, Shard, Share};
use crate::file::{free_space, place_of};
use crate::image::{ImageBatch, Levels};
use crate::origins::Origins;
use crate::session::document::Document;
use crate::session::temporary_named;
use crate::trace::{RunId, Trace};
use crate::units::bytes;

/// Beginning of the name of a file that is being written.
const TEMPORARY: &str = ".lapidary-out-";

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

/// What is written of a refined batch, in order of worth: the numbers are the master, pictures are views of them, and what is seen
/// elsewhere comes last. A disk may have room for the first only.
pub const REFINED: [Exporter; 7] =
    [npz::REFINED, png::AFTER, DOCUMENT, csv::TRACE, png::SHEET, png::BEFORE, png::PAIRS];

/// What is written of a generated or edited batch, likewise.
pub const GENERATED: [Exporter; 4] = [npz::GENERATED, png::IMAGES, DOCUMENT, png::SHEET];

/// What is written of a long refinement, from its [`Parts`].
pub const LONG_REFINED: [&str; 4] = [npz::GENERATED.files, csv::REFINED, DOCUMENT.files, png::SHEET.files];

/// What is written of many generated or edited pictures, likewise.
pub const LONG_GENERATED: [&str; 3] = [npz::GENERATED.files, DOCUMENT.files, png::SHEET.files];

/// What a share of something long writes, beside its [`Parts`].
pub const SHARED: [&str; 1] = [DOCUMENT.files];

/// What a share of a measurement writes, beside its [`Parts`].
pub const MEASURED: [&str; 1] = ["evaluation.json"];

/// What a search writes.
pub const SEARCHED: &str = "search.csv";

/// The tables of an experiment, and its file as it was run.
pub const TABLES: [&str; 5] = ["table.txt", "table.csv", "table.tex", "table.md", "experiment.toml"];

/// Whether some command writes a file of this name into a folder of results.
fn is_result(name: &str) -> bool {
    let long = LONG_REFINED.iter().chain(&LONG_GENERATED).copied().chain([SEARCHED]).chain(MEASURED).chain(TABLES);
    REFINED.iter().chain(&GENERATED).map(|exporter| exporter.files).chain(long).any(|files| {
        match files.split_once('*') {
            None => files == name,
            Some((before, after)) => name
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|seed| !seed.is_empty() && seed.bytes().all(|digit| digit.is_ascii_digit())),
        }
    })
}

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

/// The names behind `files`, with every seed in the place of a `*`.
#[must_use]
pub fn names(files: &[&str], seeds: &[u64]) -> Vec<String> {
    let of = |files: &&str| match files.split_once('*') {
        Some((before, after)) => seeds.iter().map(|seed| format!("{before}{seed:06}{after}")).collect(),
        None => vec![(*files).to_owned()],
    };
    files.iter().flat_map(of).collect()
}

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something that is no folder has the folder's name.
    #[error("{what} is in the way of the folder for the results: move it away or choose another folder\n{}", path.display())]
    NotAFolder {
        /// What it is.
        what: &'static str,
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
    /// Something finished cannot be read again.
    #[error("what was finished before cannot be read again: begin anew with --overwrite, or choose another --out\n{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A finished batch is not there any more, or not as it was written.
    #[error("this finished batch is missing or was changed since it was written: the same command with --resume makes it and those behind it anew\n{}", path.display())]
    LostPart {
        /// The file.
        path: PathBuf,
    },
    /// Another one works there.
    #[error("another Lapidary works in this folder: wait until it is done, or choose another --out\n{}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file is in the way that nobody may replace.
    #[error("the folder holds other files where the results would go: choose another --out\n{}", path.display())]
    Foreign {
        /// The first of them.
        path: PathBuf,
    },
    /// What is unfinished there cannot be gone on with.
    #[error("the index of this folder, {}, {what}, so what is unfinished here cannot be gone on with: its finished batches are in {}, which NumPy opens; move that folder away, or choose another --out\n{}", crate::data::RESULTS_INDEX, folder::PARTS, path.display())]
    LostIndex {
        /// The folder.
        path: PathBuf,
        /// What is wrong with the index.
        what: &'static str,
    },
    /// An index lists what no command writes, so it would have files replaced that are no results.
    #[error("the index of this folder, {}, lists {name:?}, which Lapidary never writes, so nothing here is replaced and nothing is gone on with: choose another --out\n{}", crate::data::RESULTS_INDEX, path.display())]
    StrangeIndex {
        /// The folder.
        path: PathBuf,
        /// The first of such names.
        name: String,
    },
    /// A result was changed since it was written, and who changed it may want to keep it.
    #[error("this earlier result was changed since it was written, so it is not replaced: move it away, or choose another --out\n{}", path.display())]
    Changed {
        /// The first of them.
        path: PathBuf,
    },
    /// An input would be replaced.
    #[error("this input lies where the results would be written: choose another --out\n{}", path.display())]
    Input {
        /// The input.
        path: PathBuf,
    },
    /// A finished result is there.
    #[error("the folder holds an earlier result: choose another --out, or replace it with --overwrite\n{}", path.display())]
    Earlier {
        /// The folder.
        path: PathBuf,
    },
    /// An unfinished result is there.
    #[error("the folder holds an unfinished result: go on with it by the same command and --resume, begin anew with --overwrite, or choose another --out\n{}", path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a finished result is gone, or no longer what was written.
    #[error("the result in this folder was finished, but this file of it is missing or was changed since: make it anew with --overwrite and the changed file moved away, or choose another --out\n{}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// The folder is not where it was.
    #[error("this folder was moved or removed while the work went on: move it back, and the same command with --resume goes on with what is finished there, or begin anew\n{}", path.display())]
    Moved {
        /// Where it was.
        path: PathBuf,
    },
    /// What is there is of another command.
    #[error("nothing is unfinished in this folder, but it holds the finished results of another command: begin with --overwrite instead of --resume, or choose another --out\n{}", path.display())]
    OtherResult {
        /// Where.
        path: PathBuf,
    },
    /// What is unfinished there is of another recipe.
    #[error("--resume goes on with the same command only, but what is in this folder was made {what}: give all as before, begin anew with --overwrite, or choose another --out\n{}", path.display())]
    OtherRecipe {
        /// The folder.
        path: PathBuf,
        /// How it was made.
        what: String,
    },
    /// What is mounted there holds no files, such as `/proc`.
    #[error("no files can be kept there, for it is a view of the system and no disk: choose another --out\n{}", path.display())]
    NoDisk {
        /// The folder.
        path: PathBuf,
    },
    /// The disk is too small.
    #[error("the results need about {}, but only {} are free there: free some space, or choose an --out on another disk\n{}", bytes(*needed), bytes(*free), path.display())]
    Space {
        /// Bytes that the results need.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The folder.
        path: PathBuf,
    },
}

impl ExportError {
    /// What was to be written in one folder, and is about to be moved to another, as seen from there.
    fn seen_from(self, here: &Path, there: &Path) -> Self {
        let seen = |path: PathBuf| path.strip_prefix(here).map_or_else(|_| path.clone(), |name| there.join(name));
        match self {
            Self::Write { path, source } => Self::Write { path: seen(path), source },
            Self::Folder { path, source } => Self::Folder { path: seen(path), source },
            other => other,
        }
    }
}

/// Checks that a folder, which need not be there yet, can be written to and that its disk has room for so many bytes; what is
/// finished there counts.
///
/// # Errors
/// [`ExportError::Space`], [`ExportError::Folder`], or [`ExportError::NoDisk`] where there can be none.
pub fn check_space(folder: &Path, needed: u64) -> Result<(), ExportError> {
    let needed = needed.saturating_sub(folder::bytes_of_parts(folder));
    // Where the system does not say, writing will.
    if place_of(folder).is_some_and(|place| fs4::total_space(place).is_ok_and(|total| total == 0)) {
        return Err(ExportError::NoDisk { path: folder.to_owned() });
    }
    #[cfg(unix)]
    if let Some(place) = place_of(folder) {
        use nix::unistd::{AccessFlags, access};
        access(&place, AccessFlags::W_OK)
            .map_err(|source| ExportError::Folder { path: folder.to_owned(), source: source.into() })?;
    }
    match free_space(folder).filter(|free| *free < needed) {
        Some(free) => Err(ExportError::Space { needed, free, path: folder.to_owned() }),
        None => Ok(()),
    }
}

/// The file that is written to.
type Out<'f> = BufWriter<&'f mut File>;

/// Writes a file completely or not at all.
///
/// # Errors
/// [`ExportError::Write`] when `write` or the system fails; what lay there before stays.
pub fn atomically(path: &Path, write: impl FnOnce(&mut Out<'_>) -> std::io::Result<()>) -> Result<(), ExportError> {
    write_beside(path, false, write)
}

/// Likewise, and so that it is there after a power cut as well.
///
/// # Errors
/// As [`atomically`].
pub fn durably(path: &Path, write: impl FnOnce(&mut Out<'_>) -> std::io::Result<()>) -> Result<(), ExportError> {
    write_beside(path, true, write)
}

fn write_beside(
    path: &Path,
    sync: bool,
    write: impl FnOnce(&mut Out<'_>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let fail = |source| ExportError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut temporary = temporary_named(folder, TEMPORARY).map_err(fail)?;
    let mut out = BufWriter::new(temporary.as_file_mut());
    write(&mut out).map_err(fail)?;
    out.flush().map_err(fail)?;
    drop(out);
    if sync {
        temporary.as_file().sync_all().map_err(fail)?;
    }
    temporary.persist(path).map_err(|error| fail(error.error))?;
    #[cfg(unix)]
    if sync && let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        // Not every file system can.
        tracing::debug!(%error, "the folder is not synced");
    }
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
    /// `[N, K]`, of the pictures before; empty where another classifier judged them.
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

    const fn exporters(&self) -> &'static [Exporter] {
        if self.refined.is_some() { &REFINED } else { &GENERATED }
    }

    /// The names of the files, in a folder.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names(&files(self.exporters()), &self.origins.seeds)
    }

    /// Writes everything into a folder.
    ///
    /// # Errors
    /// [`ExportError`] of the first file that fails; the other formats are tried all the same, and what is whole stays.
    pub fn write(&self, folder: &Path) -> Result<(), ExportError> {
        self.exporters().iter().map(|exporter| (exporter.write)(folder, self)).fold(Ok(()), Result::and)
    }
}

/// Writes a session's readable description.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write_document(path: &Path, document: &Document) -> Result<(), ExportError> {
    durably(path, |out| out.write_all(document.to_json().as_bytes()))
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
}
