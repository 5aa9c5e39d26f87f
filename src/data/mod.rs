//! Pictures from other programs, one batch at a time: files, folders of them, and archives of samples as guided-diffusion
//! writes them.
//!
//! Files are fitted to one size. Pictures of an archive are used as they are, at their own size, as the original scripts do
//! (Golan et al. 2024, `boost.py`). An archive is read as a stream: 50,000 pictures need no more memory than one batch.

mod error;
mod foreign;
mod npz;

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::error::PictureError;
use self::npz::Archive;
pub use self::npz::MAX_COUNT;
use crate::image::ImageBatch;

/// Largest picture file side that is opened; larger ones would be reduced a hundredfold anyway.
const MAX_PICTURE_SIDE: u32 = 20_000;
/// Pictures that can be opened together.
pub const MAX_PICTURES: usize = crate::generator::settings::SAMPLES.max as usize;

/// Pictures that were read together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Place of the first one in its source.
    pub first: usize,
    /// The pictures, `[N, C, H, W]`, in `[0, 1]`.
    pub images: ImageBatch,
    /// What each is called: its file's name, or that of its archive and its place in it.
    pub names: Vec<String>,
    /// Class of each, if the archive says so.
    pub labels: Option<Vec<usize>>,
    /// How each was fitted, in words.
    pub fits: Vec<String>,
}

/// Which of the opened pictures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// Pictures that are left out first.
    pub skip: usize,
    /// Most pictures that are taken; `None` for all.
    pub limit: Option<usize>,
}

impl Part {
    /// The places that are taken, of `count`; `None` when none are left.
    #[must_use]
    pub fn of(self, count: usize) -> Option<Range<usize>> {
        let end = self.limit.map_or(count, |limit| self.skip.saturating_add(limit).min(count));
        (self.skip < end).then_some(self.skip..end)
    }

    /// Whether everything is taken.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureSource {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Files(Vec<PathBuf>),
    Archive(Archive),
}

impl PictureSource {
    /// Finds the pictures: files as given, those of a folder in order of their names, or one archive. Files are not read
    /// yet; of an archive, its headers and labels are.
    ///
    /// # Errors
    /// [`PictureError`] when a folder holds no picture, an archive cannot be used or is not alone, or an array has none.
    pub fn open(paths: &[PathBuf]) -> Result<Self, PictureError> {
        paths.iter().filter(|path| !path.is_dir()).try_for_each(|path| foreign::check(path))?;
        if let Some(path) = paths.iter().find(|path| npz::is_archive(path)) {
            if paths.len() > 1 {
                return Err(PictureError::ArchiveAmongOthers { path: path.clone() });
            }
            return Ok(Self { kind: Kind::Archive(Archive::open(path)?) });
        }
        if let Some(path) = paths.iter().find(|path| npz::is_single_array(path)) {
            return Err(PictureError::SingleArray { path: path.clone() });
        }
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                files.append(&mut pictures_in(path)?);
            } else {
                files.push(path.clone());
            }
        }
        Ok(Self { kind: Kind::Files(files) })
    }

    /// Number of pictures.
    #[must_use]
    pub const fn count(&self) -> usize {
        match &self.kind {
            Kind::Files(paths) => paths.len(),
            Kind::Archive(archive) => archive.count,
        }
    }

    /// `[H, W]` of an archive's pictures; none for files, which are fitted.
    #[must_use]
    pub const fn native_size(&self) -> Option<[usize; 2]> {
        match &self.kind {
            Kind::Files(_) => None,
            Kind::Archive(archive) => Some([archive.shape[1], archive.shape[2]]),
        }
    }

    /// Whether it says the class of every picture.
    #[must_use]
    pub const fn has_labels(&self) -> bool {
        matches!(&self.kind, Kind::Archive(Archive { labels: Some(_), .. }))
    }

    /// The class of every picture, if it says so.
    #[must_use]
    pub fn labels(&self) -> Option<&[usize]> {
        match &self.kind {
            Kind::Files(_) => None,
            Kind::Archive(archive) => archive.labels.as_deref(),
        }
    }

    /// The files that pictures are read from: each picture's own, or the archive.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.kind {
            Kind::Files(paths) => paths.clone(),
            Kind::Archive(archive) => vec![archive.path.clone()],
        }
    }

    /// Reads the pictures at `range`, `batch` at a time, and calls `each` with them until it returns false. Files are fitted
    /// to `shape`, `[C, H, W]`.
    ///
    /// # Errors
    /// [`PictureError`] of the first picture that cannot be read, or what `each` returns.
    pub fn for_each_batch<E: From<PictureError>>(
        &self,
        range: Range<usize>,
        (shape, batch): ([usize; 3], usize),
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<(), E> {
        let range = range.start.min(self.count())..range.end.min(self.count());
        let batch = batch.max(1);
        match &self.kind {
            Kind::Files(paths) => {
                for first in range.clone().step_by(batch) {
                    let end = (first + batch).min(range.end);
                    let read: Result<Vec<_>, PictureError> =
                        paths[first..end].iter().map(|path| fitted(path, shape)).collect();
                    if !each(join(first, read?))? {
                        break;
                    }
                }
                Ok(())
            }
            Kind::Archive(archive) => archive.for_each_batch(range, batch, each),
        }
    }

    /// Of the first `n` pictures those that can be read, and what is wrong with the others; files are fitted to `shape`,
    /// `[C, H, W]`.
    #[must_use]
    pub fn first(&self, n: usize, shape: [usize; 3]) -> (Option<Batch>, Vec<PictureError>) {
        match &self.kind {
            Kind::Files(paths) => {
                let (mut read, mut errors) = (Vec::new(), Vec::new());
                for path in paths.iter().take(n) {
                    match fitted(path, shape) {
                        Ok(picture) => read.push(picture),
                        Err(error) => errors.push(error),
                    }
                }
                ((!read.is_empty()).then(|| join(0, read)), errors)
            }
            Kind::Archive(archive) => {
                let mut first = None;
                let end = n.min(archive.count);
                let ended = archive.for_each_batch(0..end, end.max(1), &mut |batch| {
                    first = Some(batch);
                    Ok::<_, PictureError>(false)
                });
                (first, ended.err().into_iter().collect())
            }
        }
    }
}

/// A file's picture, fitted.
struct Fitted {
    image: ImageBatch,
    name: String,
    fit: String,
}

fn fitted(path: &Path, shape: [usize; 3]) -> Result<Fitted, PictureError> {
    if !path.exists() {
        return Err(PictureError::Missing { path: path.to_owned() });
    }
    let (image, fit) = ImageBatch::from_picture(&read_picture(path)?, shape);
    let name = file_name(path);
    Ok(Fitted { image, fit: format!("{name}: {fit}"), name })
}

/// At least one picture.
fn join(first: usize, read: Vec<Fitted>) -> Batch {
    let (mut images, mut names, mut fits) = (Vec::new(), Vec::new(), Vec::new());
    for picture in read {
        images.push(picture.image);
        names.push(picture.name);
        fits.push(picture.fit);
    }
    Batch { first, images: ImageBatch::concat(&images), names, labels: None, fits }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The pictures in a folder, in order of their names.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, PictureError> {
    let fail = |source| PictureError::Folder { path: folder.to_owned(), source };
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder).map_err(fail)?.collect();
    let mut files: Vec<PathBuf> = entries.map_err(fail)?.iter().map(std::fs::DirEntry::path).collect();
    files.retain(|file| is_picture(file));
    files.sort();
    if files.is_empty() {
        return Err(PictureError::EmptyFolder { path: folder.to_owned() });
    }
    Ok(files)
}

/// By content, or by name for formats that cannot be told by content.
fn is_picture(path: &Path) -> bool {
    let reader = || Some(image::ImageReader::open(path).ok()?.with_guessed_format().ok()?.format().is_some());
    path.is_file() && reader().unwrap_or(false)
}

/// Whether a file is a session of ours, by its content.
#[must_use]
pub fn is_session(path: &Path) -> bool {
    matches!(foreign::check(path), Err(PictureError::Session { .. }))
}

/// Decodes a picture by its content, with limits on its size.
///
/// # Errors
/// [`PictureError::Picture`] when it is none or too large.
pub fn read_picture(path: &Path) -> Result<image::DynamicImage, PictureError> {
    crate::file::check(path)?;
    let fail = |source| PictureError::Picture { path: path.to_owned(), source };
    let mut reader = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|error| fail(error.into()))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_PICTURE_SIDE);
    limits.max_image_height = Some(MAX_PICTURE_SIDE);
    reader.limits(limits);
    reader.decode().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_pictures_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png"] {
            image::RgbImage::new(2, 2).save(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("notes.txt"), "not a picture").unwrap();
        let source = PictureSource::open(&[folder.path().to_owned()]).unwrap();
        assert_eq!(source.first(256, [3, 2, 2]).0.unwrap().names, ["a.png", "b.png"]);
        let (empty, archive) = (tempfile::tempdir().unwrap(), folder.path().join("c.npz"));
        let error = PictureSource::open(&[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("no picture is in this folder"), "{error}");
        std::fs::write(&archive, b"PK\x03\x04").unwrap();
        let error = PictureSource::open(&[folder.path().join("a.png"), archive]).unwrap_err().to_string();
        assert!(error.contains("is opened alone"), "{error}");
    }

    #[test]
    fn a_part_of_the_pictures_is_within_them() {
        let part = |skip, limit| Part { skip, limit };
        assert_eq!(part(0, None).of(5), Some(0..5));
        assert_eq!(part(3, Some(1)).of(5), Some(3..4));
        assert_eq!(part(3, Some(usize::MAX)).of(5), Some(3..5));
        assert_eq!([part(5, None).of(5), part(0, None).of(0)], [None, None]);
        assert!(part(0, None).is_all() && !part(0, Some(5)).is_all());
    }

    #[test]
    fn one_bad_file_does_not_hide_the_good_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good.png"), folder.path().join("bad.png"));
        image::RgbImage::new(4, 2).save(&good).unwrap();
        std::fs::write(&bad, "no picture").unwrap();
        let source = PictureSource::open(&[bad, good]).unwrap();
        let (batch, errors) = source.first(256, [3, 2, 2]);
        assert_eq!(batch.unwrap().fits, ["good.png: cropped 4×2 to its centre 2×2, pixels unchanged"]);
        assert_eq!(errors.len(), 1);
    }
}
