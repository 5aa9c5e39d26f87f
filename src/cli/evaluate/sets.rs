//! Sets of pictures: where they come from, which of their pictures are taken, and of which classes these are.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::EvaluateError;
use super::pairs::Partners;
use super::{CliError, session};
use crate::classifier::translation;
use crate::data::{
    Batch, Part, PictureError, PictureSource, SeenFeatures, SeenKind, is_session, picture_size, read_features, seen_in,
};
use crate::image::ImageBatch;
use crate::zoo::Manifest;

/// Files of a folder whose sizes tell whether all of it have one.
const SIZED: usize = 64;

/// A set on its way to be looked at.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The files that it is read from.
    pub(super) files: Vec<PathBuf>,
    /// Places of the pictures that are taken, but for those that are held out.
    pub(super) range: Range<usize>,
    /// Pictures that are left out.
    held_out: Option<Vec<bool>>,
    /// Whether it says its classes by numbers alone: neither by folders nor with a list of names.
    pub(super) has_numbers: bool,
    /// Their own, `[C, H, W]`; files of many sizes are fitted to that of others.
    pub(super) shape: Option<[usize; 3]>,
    /// What is to be said of it, one line each.
    pub(super) notes: Vec<String>,
}

/// What a set consists of.
#[derive(Debug)]
pub(super) enum Kind {
    /// Pictures in files.
    Source(PictureSource),
    /// Pictures that are held, such as those of a session.
    Held(Held),
    /// What was seen of them before.
    Seen(Box<SeenFeatures>),
}

/// Pictures in memory, and the class of each, if it is known.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) images: ImageBatch,
    pub(super) names: Vec<String>,
    pub(super) labels: Option<Vec<usize>>,
}

/// All sets, and which of them are partners of each other.
///
/// # Errors
/// What keeps one of them from being read, or that one is given twice.
pub(super) fn open(
    paths: &[PathBuf],
    limit: Option<usize>,
    extractor: &Manifest,
) -> anyhow::Result<(Vec<Pictures>, Partners)> {
    let mut given: Vec<(&PathBuf, Vec<PathBuf>)> = Vec::new();
    let (mut sets, mut partners) = (Vec::new(), Partners::default());
    for path in paths {
        let own = Pictures::of(path, limit, extractor)?;
        let files = own.first().map_or_else(Vec::new, |set| real_files(&set.files));
        if let Some((first, _)) = given.iter().find(|(_, known)| *known == files) {
            return Err(EvaluateError::SetTwice { first: (*first).clone(), path: path.clone() }.told());
        }
        given.push((path, files));
        partners.add(own.len());
        sets.extend(own);
    }
    Ok((sets, partners))
}

/// Files as the system knows them, however they were named.
pub(super) fn real_files(files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().map(|file| file.canonicalize().unwrap_or_else(|_| file.clone())).collect()
}

impl Pictures {
    pub(super) fn new(
        name: String,
        mut source: PictureSource,
        held_out: Option<Vec<bool>>,
        limit: Option<usize>,
        extractor: &Manifest,
    ) -> Result<Self, CliError> {
        let has_numbers = source.has_labels() && !source.has_names();
        source.take_classes(&extractor.classes);
        let range = taken(source.count(), limit)?;
        let (files, notes) = (source.files(), source.notes_without_starts());
        let shape = source.native_shape().or_else(|| shape_of_all(&files[range.clone()], extractor));
        Ok(Self { name, kind: Kind::Source(source), files, range, held_out, has_numbers, shape, notes })
    }

    /// Pictures that are held.
    pub(super) fn of_held(
        name: String,
        path: &Path,
        held: Held,
        (limit, has_numbers): (Option<usize>, bool),
    ) -> Result<Self, CliError> {
        let [n, shape @ ..] = held.images.shape();
        Ok(Self {
            name,
            kind: Kind::Held(held),
            files: vec![path.to_owned()],
            range: taken(n, limit)?,
            held_out: None,
            has_numbers,
            shape: Some(shape),
            notes: Vec::new(),
        })
    }

    /// What was seen of pictures; its classes are those of the network of that time.
    pub(super) fn of_seen(
        name: String,
        path: &Path,
        limit: Option<usize>,
        extractor: &Manifest,
    ) -> anyhow::Result<Self> {
        let mut seen = read_features(path)?;
        let mut notes = Vec::new();
        if let Some(labels) = &seen.labels
            && !seen.classes.is_empty()
        {
            match translation(&seen.classes, &extractor.classes) {
                Ok(to) => seen.labels = Some(labels.iter().map(|own| to.get(*own).copied().unwrap_or(*own)).collect()),
                Err(_) => {
                    notes.push(format!(
                        "warning: the classes of {name} are others than those of {}, so they are left aside",
                        extractor.name
                    ));
                    seen.labels = None;
                }
            }
        }
        let (range, shape) = (taken(seen.features.len(), limit)?, Some(seen.sight.shape));
        let (files, kind) = (vec![path.to_owned()], Kind::Seen(Box::new(seen)));
        Ok(Self { name, kind, files, range, held_out: None, has_numbers: false, shape, notes })
    }

    /// What lies at a path: of results of ours of a refinement, what was there before it, too, as a set of its own, and likewise
    /// of a session.
    pub(super) fn of(path: &Path, limit: Option<usize>, extractor: &Manifest) -> anyhow::Result<Vec<Self>> {
        let name = path.display().to_string();
        if is_session(path) {
            return session::sets(path, limit, extractor);
        }
        match seen_in(path)? {
            Some(SeenKind::Features) => return Ok(vec![Self::of_seen(name, path, limit, extractor)?]),
            Some(SeenKind::Statistics) => return Err(EvaluateError::StatisticsAsSet { path: path.to_owned() }.told()),
            Some(SeenKind::StatisticsAndPictures) | None => {}
        }
        let source = PictureSource::open(&[path.to_owned()])?;
        let Some(before) = source.before()? else {
            return Ok(vec![Self::new(name, source, None, limit, extractor)?]);
        };
        let sets = [("before", before), ("after", source)];
        let sets = sets.map(|(when, source)| Self::new(format!("{name} {when}"), source, None, limit, extractor));
        Ok(sets.into_iter().collect::<Result<_, _>>()?)
    }

    /// Whether the picture at this place of the source is taken.
    fn takes(&self, place: usize) -> bool {
        self.held_out.as_ref().is_none_or(|marks| !marks[place])
    }

    /// Names of the files that are taken and are none of these, which could be read.
    pub(super) fn left_out(&self, read: &[String]) -> Vec<String> {
        let Kind::Source(source) = &self.kind else { return Vec::new() };
        let read: HashSet<&str> = read.iter().map(String::as_str).collect();
        let taken = self.range.clone().zip(source.names_at(self.range.clone()));
        let taken = taken.filter(|(place, name)| self.takes(*place) && !read.contains(name));
        taken.map(|(_, name)| name.to_owned()).collect()
    }

    /// Pictures that are taken.
    pub(super) fn count(&self) -> usize {
        self.range.clone().filter(|place| self.takes(*place)).count()
    }

    /// Places of those that are taken, of what was seen before.
    pub(super) fn places(&self) -> Vec<usize> {
        self.range.clone().collect()
    }

    /// All sets must have one form: other pixels are other pictures.
    pub(super) fn check(&self, expected: [usize; 3]) -> Result<(), CliError> {
        match self.shape.filter(|found| *found != expected) {
            Some(found) => Err(CliError::SetShape { name: self.name.clone(), found, expected }),
            None => Ok(()),
        }
    }

    /// Reads those of a part of [`Self::range`] that are taken, files fitted to `shape`, `[C, H, W]`, at most `batch` at a time, and
    /// calls `each` with them until it returns false. Returns what is to be said of them: where no file of a part that is not
    /// all can be read, that.
    ///
    /// # Errors
    /// As [`PictureSource::for_each_batch`].
    pub(super) fn for_each_batch_of<E: From<PictureError> + std::fmt::Display>(
        &self,
        range: Range<usize>,
        form: ([usize; 3], usize),
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<Vec<String>, E> {
        let (is_all, mut came) = (range == self.range, false);
        let read = self.read(range, form, &mut |batch| {
            came = true;
            each(batch)
        });
        match read {
            Err(error) if !is_all && !came && self.is_of_files() => Ok(vec![format!("warning: {error}")]),
            read => read,
        }
    }

    /// Whether every picture is a file of its own, which may be broken.
    fn is_of_files(&self) -> bool {
        matches!(&self.kind, Kind::Source(source) if source.native_shape().is_none())
    }

    fn read<E: From<PictureError>>(
        &self,
        range: Range<usize>,
        (shape, batch): ([usize; 3], usize),
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<Vec<String>, E> {
        let mut take = |batch: Batch| {
            let taken: Vec<usize> = (0..batch.images.len()).filter(|i| self.takes(batch.first + i)).collect();
            if taken.is_empty() { Ok(true) } else { each(some_of(batch, &taken)) }
        };
        match &self.kind {
            Kind::Source(source) => source.for_each_batch(range, (shape, batch), &mut take),
            Kind::Held(held) => {
                for first in range.clone().step_by(batch.max(1)) {
                    if !take(held.batch(first..(first + batch).min(range.end)))? {
                        break;
                    }
                }
                Ok(Vec::new())
            }
            Kind::Seen(_) => Ok(Vec::new()),
        }
    }
}

impl Held {
    fn batch(&self, places: Range<usize>) -> Batch {
        let names = self.names.get(places.clone()).map_or_else(Vec::new, <[String]>::to_vec);
        Batch {
            first: places.start,
            images: self.images.slice(places.start, places.end),
            names: if names.is_empty() { places.clone().map(|place| format!("#{place}")).collect() } else { names },
            labels: self.labels.as_ref().map(|labels| labels[places].to_vec()),
            fits: Vec::new(),
        }
    }
}

fn taken(count: usize, limit: Option<usize>) -> Result<Range<usize>, CliError> {
    Part { skip: 0, limit }.of(count).ok_or(CliError::Skip { skip: 0, count })
}

/// The pictures of a batch at these places.
fn some_of(batch: Batch, places: &[usize]) -> Batch {
    if places.len() == batch.images.len() {
        return batch;
    }
    let texts = |all: &[String]| places.iter().filter_map(|i| all.get(*i).cloned()).collect::<Vec<_>>();
    let images: Vec<ImageBatch> = places.iter().map(|i| batch.images.slice(*i, i + 1)).collect();
    Batch {
        first: batch.first,
        images: ImageBatch::concat(&images),
        names: texts(&batch.names),
        labels: batch.labels.as_ref().map(|labels| places.iter().map(|i| labels[*i]).collect()),
        fits: texts(&batch.fits),
    }
}

/// The size of all files of a set, with the channels of the extractor, where they have one; some of many tell.
fn shape_of_all(files: &[PathBuf], extractor: &Manifest) -> Option<[usize; 3]> {
    let some = files.iter().step_by(files.len().div_ceil(SIZED).max(1));
    // What is wrong with a file is told when it is read.
    let mut sizes = some.filter_map(|path| picture_size(path).ok());
    let first = sizes.next()?;
    let [width, height] = first.map(|side| side as usize);
    sizes.all(|size| size == first).then_some([extractor.channels, height, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{BUNDLED, bundled_manifest};

    fn extractor() -> Manifest {
        let judge = BUNDLED.iter().find(|bundled| bundled.name == super::super::EXTRACTOR).unwrap();
        bundled_manifest(judge)
    }

    fn pictures(folder: &Path, sizes: &[[u32; 2]]) -> Vec<PathBuf> {
        let one = |(place, [width, height]): (usize, &[u32; 2])| {
            let path = folder.join(format!("{place}.png"));
            ::image::RgbImage::from_pixel(*width, *height, ::image::Rgb([place as u8, 0, 0])).save(&path).unwrap();
            path
        };
        sizes.iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_folder_of_one_size_has_it_and_one_of_many_sizes_is_fitted() {
        let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        pictures(one.path(), &[[48, 32]; 3]);
        pictures(many.path(), &[[48, 32], [32, 32]]);
        let open = |path: &Path| Pictures::of(path, None, &extractor()).unwrap().remove(0);
        let (one, many) = (open(one.path()), open(many.path()));
        assert_eq!((one.shape, many.shape), (Some([3, 32, 48]), None));
        assert!(many.check([3, 32, 32]).is_ok());
        let text = one.check([3, 32, 32]).unwrap_err().to_string();
        assert!(text.contains("has 3 channels of 48×32, but 3 channels of 32×32 are compared"), "{text}");
    }

    #[test]
    fn one_set_by_two_names_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = pictures(folder.path(), &[[32, 32], [32, 32]]);
        let again = folder.path().join(".").join("1.png");
        assert_eq!(open(&files, None, &extractor()).unwrap().0.len(), 2);
        let error = open(&[files[0].clone(), files[1].clone(), again], None, &extractor()).unwrap_err().to_string();
        assert!(error.contains("are the same pictures"), "{error}");
    }

    #[test]
    fn a_part_of_which_no_file_can_be_read_is_told_of_and_a_whole_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = pictures(folder.path(), &[[4, 4]; 4]);
        let set = Pictures::of(folder.path(), None, &extractor()).unwrap().remove(0);
        let break_all = |files: &[PathBuf]| {
            for file in files {
                std::fs::write(file, "no picture").unwrap();
            }
        };
        break_all(&files[2..]);
        let read = |range: Range<usize>| {
            let mut places = Vec::new();
            let each = &mut |batch: Batch| {
                places.push((batch.first, batch.images.len()));
                Ok::<_, PictureError>(true)
            };
            set.for_each_batch_of(range, ([3, 4, 4], 2), each).map(|notes| (places, notes.len()))
        };
        assert_eq!(read(0..4).unwrap(), (vec![(0, 2)], 2));
        assert_eq!(read(2..4).unwrap(), (Vec::new(), 1));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(set.left_out(&names(&["0.png", "1.png"])), ["2.png", "3.png"]);
        let first = Pictures::of(folder.path(), Some(1), &extractor()).unwrap().remove(0);
        assert!(first.left_out(&names(&["0.png"])).is_empty(), "what nobody asked for is not missed");
        break_all(&files);
        assert!(read(0..4).is_err());
    }

    #[test]
    fn pictures_that_are_held_are_read_in_batches_without_those_that_are_held_out() {
        let images = ImageBatch::new([5, 1, 1, 1], vec![0.0, 0.1, 0.2, 0.3, 0.4]);
        let held = Held { images, names: Vec::new(), labels: Some(vec![0, 1, 2, 3, 4]) };
        let mut set = Pictures::of_held("held".to_owned(), Path::new("s"), held, (Some(4), false)).unwrap();
        set.held_out = Some(vec![false, true, false, false, false]);
        assert_eq!((set.count(), set.shape), (3, Some([1, 1, 1])));
        let mut seen = Vec::new();
        let each = &mut |batch: Batch| {
            seen.push((batch.images.pixels().to_vec(), batch.labels.unwrap(), batch.names));
            Ok::<_, PictureError>(true)
        };
        set.for_each_batch_of(set.range.clone(), ([1, 1, 1], 2), each).unwrap();
        let name = |place: usize| format!("#{place}");
        assert_eq!(seen, [(vec![0.0], vec![0], vec![name(0)]), (vec![0.2, 0.3], vec![2, 3], vec![name(2), name(3)])]);
    }
}
