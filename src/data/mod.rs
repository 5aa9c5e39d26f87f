//! Pictures from other programs, one batch at a time: files, folders of them, and archives of samples as guided-diffusion
//! writes them.
//!
//! Files are fitted to one size. Pictures of an archive are used as they are, at their own size, as the original scripts do
//! (Golan et al. 2024, `boost.py`). An archive is read as a stream: 50,000 pictures need no more memory than one batch.

mod array;
mod error;
mod folder;
mod foreign;
mod idx;
mod npz;
mod picture;
mod results;
mod set;
mod unread;

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::error::PictureError;
use self::folder::{Listed, classes_of, pictures_in};
use self::idx::Idx;
use self::npz::Archive;
pub use self::npz::{
    Digest, MAX_COUNT, SeenFeatures, SeenKind, SeenStatistics, Sight, is_seen_of_ours, read_features, read_statistics,
    seen_in,
};
pub use self::picture::{Picture, picture_size, read_picture};
pub use self::results::{PARTS, RESULTS_FORMAT, RESULTS_INDEX, UNDER_WAY};
pub use self::set::{DataSet, Wanted};
use crate::classifier::labels::listed;
use crate::classifier::{LabelError, translation};
use crate::image::ImageBatch;

/// Largest picture file side that is opened; larger ones would be reduced a hundredfold anyway.
const MAX_SIDE: u32 = 20_000;
/// Memory that the values of one picture may take.
const MAX_BYTES: u64 = 512 << 20;
/// Pixels of the largest picture; to be resized, each becomes three floats.
const MAX_PIXELS: u64 = 1 << 27;
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
    /// Class of each, if the archive or the folders say so.
    pub labels: Option<Vec<usize>>,
    /// How each was fitted, in words.
    pub fits: Vec<String>,
}

/// What was done to pictures that were changed to fit.
#[must_use]
pub fn changed(fits: &[String]) -> Vec<String> {
    let is_changed = |fit: &&String| !fit.ends_with("pixels unchanged") || fit.contains(": cropped ");
    fits.iter().filter(is_changed).cloned().collect()
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
    /// Class of each, if it is known.
    labels: Option<Vec<usize>>,
    /// What the classes that they count are called, until they count those of a model.
    names: Option<Vec<String>>,
    /// Why the labels that it had mean nothing to the model that they were taken for.
    foreign: Option<LabelError>,
    /// What is to be said of it, one line each.
    notes: Vec<String>,
    strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Files(Vec<Listed>),
    Archive(Archive),
    Idx(Idx),
}

impl PictureSource {
    /// Finds the pictures: files as given, those of a folder and of the folders in it in order of their names, or one
    /// archive, which of a folder of results is that of what was made. Files are not read yet; of an archive, its headers and
    /// labels are; one of results is compared with what was written, which takes as long as reading it.
    ///
    /// # Errors
    /// [`PictureError`] when a folder holds no picture, an archive cannot be used or is not alone, or an array has none.
    pub fn open(paths: &[PathBuf]) -> Result<Self, PictureError> {
        let mut source = Self::find(paths)?;
        if let ([folder], Kind::Archive(archive)) = (paths, &source.kind)
            && folder.is_dir()
        {
            let (changed, beside) = (results::changed(&archive.path), results::changed_beside(&archive.path));
            source.notes.extend(changed.into_iter().chain(beside));
        }
        Ok(source)
    }

    /// Likewise, for whoever only asks what is there: results that were changed are not told of, so that it is quick.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn find(paths: &[PathBuf]) -> Result<Self, PictureError> {
        if let [folder] = paths
            && let Some((archive, note)) = results::archive_of(folder)
        {
            let mut source = Self::find(&[archive])?;
            source.notes.insert(0, note);
            return Ok(source);
        }
        // Several of them would lose their floats and their classes.
        if let Some((path, _)) = Some(paths)
            .filter(|paths| paths.len() > 1)
            .and_then(|paths| paths.iter().find_map(|path| results::archive_of(path)))
        {
            return Err(PictureError::ArchiveAmongOthers { path });
        }
        paths.iter().filter(|path| !path.is_dir()).try_for_each(|path| foreign::check(path))?;
        if let Some(path) = paths.iter().find(|path| npz::is_archive(path)) {
            if paths.len() > 1 {
                return Err(PictureError::ArchiveAmongOthers { path: path.clone() });
            }
            return Ok(Self::of_archive(Archive::open(path, npz::keys_of(path)?)?));
        }
        if let Some(path) = paths.iter().find(|path| npz::is_single_array(path)) {
            return Err(PictureError::SingleArray { path: path.clone() });
        }
        let (mut files, mut notes) = (Vec::new(), Vec::new());
        for path in paths {
            if path.is_dir() {
                // Results of many pictures are an archive, and no pictures one by one.
                let (mut found, note) = pictures_in(path).map_err(|error| match results::archive_of(path) {
                    Some((path, _)) if matches!(error, PictureError::ArchiveInFolder { .. }) => {
                        PictureError::ArchiveAmongOthers { path }
                    }
                    _ => error,
                })?;
                if paths.len() > 1 {
                    // As if what holds all of these folders were given.
                    let own = file_name(path);
                    for listed in &mut found {
                        listed.name = format!("{own}/{}", listed.name);
                        listed.folder.get_or_insert_with(|| own.clone());
                    }
                }
                files.append(&mut found);
                notes.extend(note);
            } else {
                files.push(Listed { path: path.clone(), name: file_name(path), folder: None });
            }
        }
        Ok(Self { kind: Kind::Files(files), labels: None, names: None, foreign: None, notes, strict: false })
    }

    fn of_archive(mut archive: Archive) -> Self {
        let (labels, names) = (archive.labels.take(), archive.names.take());
        let notes = std::mem::take(&mut archive.notes);
        Self { kind: Kind::Archive(archive), labels, names, foreign: None, notes, strict: false }
    }

    /// Likewise; when `strict`, a file that cannot be read is an error, else it is left out and told of.
    #[must_use]
    pub fn strictly(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// Takes the classes of pictures as those of a model that knows classes of these names: from the names of the folders that
    /// they lie in, where all of these are names of classes, or from an archive that says what its classes are called.
    pub fn take_classes(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        if let Kind::Files(files) = &self.kind {
            match classes_of(files, names) {
                Ok(labels) => self.labels = Some(labels),
                Err(note) => self.notes.extend(note),
            }
        } else if let (Some(own), Some(labels)) = (&self.names, &mut self.labels) {
            match translation(own, names) {
                // A number that is no class of its own list is told of by whoever uses it.
                Ok(to) => labels.iter_mut().for_each(|label| *label = to.get(*label).copied().unwrap_or(*label)),
                Err(error) => {
                    self.notes.push(format!(
                        "warning: the pictures are of {}, which the model does not know all, so their classes are left aside",
                        listed(own)
                    ));
                    (self.labels, self.foreign) = (None, Some(error));
                }
            }
            self.names = None;
        }
    }

    /// Why the labels that it had mean nothing to the model that they were taken for.
    #[must_use]
    pub const fn foreign(&self) -> Option<&LabelError> {
        self.foreign.as_ref()
    }

    /// Whether it says its classes by name: by folders, or in a list.
    #[must_use]
    pub const fn has_names(&self) -> bool {
        matches!(self.kind, Kind::Files(_)) || self.names.is_some()
    }

    /// What is to be said of it before it is read: what was left out or converted, one line each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Likewise, for whoever starts nothing at random from them, so that their seeds are no matter.
    #[must_use]
    pub fn notes_without_starts(&self) -> Vec<String> {
        let of_starts = match &self.kind {
            Kind::Archive(archive) => archive.starts.as_ref(),
            Kind::Files(_) | Kind::Idx(_) => None,
        };
        self.notes.iter().filter(|note| Some(*note) != of_starts).cloned().collect()
    }

    /// Number of pictures.
    #[must_use]
    pub const fn count(&self) -> usize {
        match &self.kind {
            Kind::Files(files) => files.len(),
            Kind::Archive(archive) => archive.count,
            Kind::Idx(idx) => idx.count(),
        }
    }

    /// `[C, H, W]` of an archive's pictures; none for files, which are fitted.
    #[must_use]
    pub const fn native_shape(&self) -> Option<[usize; 3]> {
        match &self.kind {
            Kind::Files(_) => None,
            Kind::Archive(archive) => Some(archive.shape),
            Kind::Idx(idx) => Some([1, idx.size[0], idx.size[1]]),
        }
    }

    /// Likewise, `[H, W]`.
    #[must_use]
    pub const fn native_size(&self) -> Option<[usize; 2]> {
        match self.native_shape() {
            None => None,
            Some([_, height, width]) => Some([height, width]),
        }
    }

    /// How many classes its labels are of, where it says that: columns of one-hot rows.
    #[must_use]
    pub const fn label_classes(&self) -> Option<usize> {
        match &self.kind {
            Kind::Files(_) | Kind::Idx(_) => None,
            Kind::Archive(archive) => archive.classes,
        }
    }

    /// Whether it says the class of every picture.
    #[must_use]
    pub const fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// The class of every picture, if it says so.
    #[must_use]
    pub fn labels(&self) -> Option<&[usize]> {
        self.labels.as_deref()
    }

    /// What the pictures at these places are called, where each is a file of its own.
    #[must_use]
    pub fn names_at(&self, range: Range<usize>) -> Vec<&str> {
        match &self.kind {
            Kind::Files(files) => files[range].iter().map(|file| file.name.as_str()).collect(),
            Kind::Archive(_) | Kind::Idx(_) => Vec::new(),
        }
    }

    /// The files that pictures are read from: each picture's own, or the archive.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.kind {
            Kind::Files(files) => files.iter().map(|file| file.path.clone()).collect(),
            Kind::Archive(archive) => vec![archive.path.clone()],
            Kind::Idx(idx) => idx.files.clone(),
        }
    }

    /// Reads the pictures at `range`, at most `batch` at a time, and calls `each` with them until it returns false. Files are
    /// fitted to `shape`, `[C, H, W]`. A file that cannot be read is left out, and the batch ends before it: places stay
    /// what they are. Returns what is to be said of them, one line each.
    ///
    /// # Errors
    /// [`PictureError`] of an archive that cannot be read, or of the first file where none can be or the source is strict;
    /// or what `each` returns.
    pub fn for_each_batch<E: From<PictureError>>(
        &self,
        range: Range<usize>,
        form: ([usize; 3], usize),
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<Vec<String>, E> {
        self.for_each_batch_from(range.start, range, form, each)
    }

    /// Likewise, some of those that begin at the place `first`: batches end so many places behind it whatever can be read, so
    /// that a part of them has the batches of the whole.
    ///
    /// # Errors
    /// As [`Self::for_each_batch`].
    pub fn for_each_batch_from<E: From<PictureError>>(
        &self,
        first: usize,
        range: Range<usize>,
        (shape, batch): ([usize; 3], usize),
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<Vec<String>, E> {
        let range = range.start.min(self.count())..range.end.min(self.count());
        let batch = batch.max(1);
        let mut each = |batch: Batch| {
            let places = batch.first..batch.first + batch.names.len();
            each(Batch { labels: self.labels.as_ref().map(|labels| labels[places].to_vec()), ..batch })
        };
        let files = match &self.kind {
            Kind::Files(files) => files,
            Kind::Archive(archive) => return archive.for_each_batch(range, batch, &mut each),
            Kind::Idx(idx) => return idx.for_each_batch(range, batch, &mut each),
        };
        let (mut run, mut left_out, mut any) = (Vec::new(), Vec::new(), false);
        for place in range.clone() {
            match fitted(&files[place], shape) {
                Ok(picture) => run.push(picture),
                Err(error) if self.strict => return Err(error.into()),
                Err(error) => left_out.push((place, error)),
            }
            let ended = left_out.last().is_some_and(|(last, _)| *last == place);
            if ended || (place + 1).abs_diff(first).is_multiple_of(batch) || place + 1 == range.end {
                let begins = place + usize::from(!ended) - run.len();
                any |= !run.is_empty();
                if !run.is_empty() && !each(join(begins, std::mem::take(&mut run)))? {
                    break;
                }
            }
        }
        match left_out.first() {
            Some(_) if !any => Err(left_out.swap_remove(0).1.into()),
            _ => Ok(left_out.iter().map(|(_, error)| error.left_out()).collect()),
        }
    }

    /// Of the pictures at `range` those that can be read, one behind the other, and what is wrong with the others; files are
    /// fitted to `shape`, `[C, H, W]`.
    #[must_use]
    pub fn readable(&self, range: Range<usize>, shape: [usize; 3]) -> (Option<Batch>, Vec<PictureError>) {
        let end = range.end.min(self.count());
        match &self.kind {
            Kind::Files(files) => {
                let (mut read, mut places, mut errors) = (Vec::new(), Vec::new(), Vec::new());
                for (place, file) in files.iter().enumerate().take(end).skip(range.start) {
                    match fitted(file, shape) {
                        Ok(picture) => {
                            read.push(picture);
                            places.push(place);
                        }
                        Err(error) => errors.push(error),
                    }
                    if self.strict && !errors.is_empty() {
                        return (None, errors);
                    }
                }
                let labels = self.labels.as_ref().map(|labels| places.iter().map(|place| labels[*place]).collect());
                ((!read.is_empty()).then(|| Batch { labels, ..join(range.start, read) }), errors)
            }
            Kind::Archive(_) | Kind::Idx(_) => {
                let mut first = None;
                let range = range.start..end;
                let batch = range.len().max(1);
                let ended = self.for_each_batch(range, (shape, batch), &mut |batch| {
                    first = Some(batch);
                    Ok::<_, PictureError>(false)
                });
                let (notes, errors) = match ended {
                    Ok(notes) => (notes, Vec::new()),
                    Err(error) => (Vec::new(), vec![error]),
                };
                if let Some(batch) = &mut first {
                    batch.fits.extend(notes);
                }
                (first, errors)
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

fn fitted(file: &Listed, shape: [usize; 3]) -> Result<Fitted, PictureError> {
    let picture = read_picture(&file.path)?;
    let (image, fit) = ImageBatch::from_picture(&picture.image, shape);
    let fit = fit.to_string();
    let fit = if picture.notes.is_empty() { fit.as_str() } else { fit.trim_end_matches(", pixels unchanged") };
    let parts: Vec<&str> = std::iter::once(fit).chain(picture.notes).collect();
    Ok(Fitted { image, fit: format!("{}: {}", file.name, parts.join(", ")), name: file.name.clone() })
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

/// Whether a file is a session of ours, by its content.
#[must_use]
pub fn is_session(path: &Path) -> bool {
    matches!(foreign::check(path), Err(PictureError::Session { .. }))
}

#[cfg(test)]
mod tests;
