//! Files that other programs read: PNG, NPZ, CSV, and the session's readable description.
//!
//! Every file is complete or not there at all: it is written beside its place and moved there when it is done. Nothing in
//! a file depends on the clock, so the same run gives the same bytes. This module knows no window and no command line.

pub mod csv;
pub mod npz;
pub mod png;
pub mod stream;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::image::{ImageBatch, quantise};
use crate::origins::Origins;
use crate::session::document::Document;
use crate::session::temporary_in;
use crate::trace::{RunId, Trace};

/// Files of a refined batch, as [`write_refined`] names them; a `*` stands for the seed.
pub const REFINED_FILES: [&str; 7] =
    ["result.npz", "trace.csv", "session.json", "contact_sheet.png", "before/*.png", "after/*.png", "pair_*.png"];

/// Files of a long refinement, as [`stream::StreamWriter`] names them.
pub const STREAMED_FILES: [&str; 4] = ["samples.npz", "refined.csv", "session.json", "contact_sheet.png"];

/// Files of a generated or edited batch, as [`write_generated`] names them; a `*` stands for the seed.
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

/// How values in `[0, 1]` become levels from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Levels {
    /// To the nearest level.
    #[default]
    Rounded,
    /// To the level below, which darkens by half a level on average. The original scripts do (BIGRoC's notebooks, Golan et al.
    /// 2024), so their figures are met with it.
    Truncated,
}

impl Levels {
    /// The level of a value; what is no number becomes 0.
    #[must_use]
    pub fn of(self, value: f32) -> u8 {
        match self {
            Self::Rounded => quantise(value),
            // `as` cuts, saturates, and maps NaN to 0.
            Self::Truncated => (value * 255.0) as u8,
        }
    }

    /// Picture `index` as 8-bit RGB, `H * W * 3` bytes; one channel is shown as grey.
    ///
    /// # Panics
    /// When `index` is out of range.
    #[must_use]
    pub fn rgb8(self, images: &ImageBatch, index: usize) -> Vec<u8> {
        let [_, c, h, w] = images.shape();
        let (plane, sample) = (h * w, images.sample(index));
        let pixel = |place: usize| [0, 1, 2].map(|channel: usize| self.of(sample[channel.min(c - 1) * plane + place]));
        (0..plane).flat_map(pixel).collect()
    }
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
    /// How 8-bit levels are made for `arr_0`; PNG files are rounded always.
    pub levels: Levels,
}

impl Refined<'_> {
    /// The class that each picture was refined towards.
    #[must_use]
    pub fn targets(&self) -> &[usize] {
        let targets = self.trace.run(self.run).and_then(|run| run.targets.as_ref());
        targets.unwrap_or(&self.origins.labels)
    }
}

/// Writes [`REFINED_FILES`]. The numbers come first: they are the master, pictures are views of them.
///
/// # Errors
/// [`ExportError`] of the first file that fails; those before it stay.
pub fn write_refined(folder: &Path, refined: &Refined<'_>) -> Result<(), ExportError> {
    let Refined { origins, after, trace, run, classes, document, .. } = *refined;
    prepare_folder(folder)?;
    remove_numbered(folder, "pair_")?;
    for pictures in ["before", "after"] {
        remove_numbered(&folder.join(pictures), "")?;
    }
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

/// Writes [`GENERATED_FILES`]. On the contact sheet of edited pictures, each lies beside what it was edited from.
///
/// # Errors
/// [`ExportError`] of the first file that fails; those before it stay.
pub fn write_generated(folder: &Path, origins: &Origins, document: &Document) -> Result<(), ExportError> {
    prepare_folder(folder)?;
    remove_numbered(&folder.join("images"), "")?;
    npz::write_generated(&folder.join("samples.npz"), origins)?;
    write_document(&folder.join("session.json"), document)?;
    let sheet = match &origins.edited {
        Some(edited) => png::contact_sheet(&edited.reference, Some(&origins.images)),
        None => png::contact_sheet(&origins.images, None),
    };
    sheet.write(&folder.join("contact_sheet.png"))?;
    write_pictures(&folder.join("images"), &origins.images, &origins.seeds)
}

/// Writes a session's readable description.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write_document(path: &Path, document: &Document) -> Result<(), ExportError> {
    atomically(path, |out| out.write_all(document.to_json().as_bytes()))
}

/// Removes pictures of an earlier run, which would be taken for those of this one: `prefix`, six digits, `.png`.
fn remove_numbered(folder: &Path, prefix: &str) -> Result<(), ExportError> {
    let fail = |source| ExportError::Folder { path: folder.to_owned(), source };
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".png"));
        if number.is_some_and(|number| number.len() == 6 && number.bytes().all(|digit| digit.is_ascii_digit())) {
            std::fs::remove_file(entry.path()).map_err(fail)?;
        }
    }
    Ok(())
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
    fn levels_of_eight_bits_survive_both_ways_and_truncation_takes_the_level_below() {
        for level in 0..=255_u8 {
            let value = f32::from(level) / 255.0;
            assert_eq!([Levels::Rounded.of(value), Levels::Truncated.of(value)], [level; 2]);
        }
        assert_eq!([Levels::Rounded.of(0.999), Levels::Truncated.of(0.999)], [255, 254]);
        assert_eq!([2.0, -1.0, f32::NAN].map(|value| Levels::Truncated.of(value)), [255, 0, 0]);
        let images = ImageBatch::new([1, 3, 1, 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(Levels::Rounded.rgb8(&images, 0), images.rgb8(0));
    }

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
        remove_numbered(folder.path(), "pair_").unwrap();
        remove_numbered(&folder.path().join("before"), "").unwrap();
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
