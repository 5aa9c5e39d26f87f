//! A data set to learn from: pictures as levels of one byte, labels, names of classes, and which pictures are held out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::idx::Idx;
use super::npz::{self, Set};
use super::{Batch, Kind, PictureError, PictureSource};
use crate::file::sha256;
use crate::image::ImageBatch;
use crate::units::counted;

/// Pictures that are read together.
const AT_ONCE: usize = 64;

/// What is asked of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `[H, W]` that files are fitted to; the pictures of an archive, and of IDX files, have a size of their own, and get black
    /// around them where they are smaller.
    pub size: Option<[usize; 2]>,
    /// Colour channels.
    pub channels: usize,
    /// Names of the classes; none for those that the data name.
    pub classes: Vec<String>,
}

/// Pictures to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    shape: [usize; 3],
    /// `[N, C, H, W]`, row-major. A value that lies between two levels is rounded.
    levels: Vec<u8>,
    labels: Option<Vec<usize>>,
    /// Names of the classes; none where pictures have no labels.
    pub classes: Vec<String>,
    /// Places of the pictures that may be learnt from.
    pub training: Vec<usize>,
    /// Places of those that are held out.
    pub validation: Vec<usize>,
    /// What was read and what was left out, one line each.
    pub report: Vec<String>,
}

impl DataSet {
    /// Reads an archive, IDX files, or folders whose folders are the classes; `watch` hears how many pictures of how many were read, and
    /// may end it.
    ///
    /// # Errors
    /// [`PictureError`] when there are none, or labels, sizes and classes contradict each other.
    pub fn read(
        paths: &[PathBuf],
        wanted: &Wanted,
        watch: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Self, PictureError> {
        Self::open(paths, wanted, watch).map_err(PictureError::of_data_set)
    }

    fn open(
        paths: &[PathBuf],
        wanted: &Wanted,
        watch: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Self, PictureError> {
        let Marked { source, held_out, classes } = open(paths, &wanted.classes)?;
        let path = paths.first().cloned().unwrap_or_default();
        let refuse = |what: String, advice| PictureError::Set { path: path.clone(), what, advice };
        let [h, w] = match (source.native_size(), wanted.size) {
            (Some(native), Some(size)) if native[0] > size[0] || native[1] > size[1] => {
                let what = format!("its pictures are {}×{}, not {}×{}", native[1], native[0], size[1], size[0]);
                return Err(refuse(
                    what,
                    "leave resolution out, or give smaller pictures, which get black around them",
                ));
            }
            (_, Some(size)) | (Some(size), None) => size,
            (None, None) => return Err(refuse("its files may have any size".to_owned(), "say which by resolution")),
        };
        // Those that were given are the configuration's to check.
        let twice = classes.iter().enumerate().find(|(place, name)| classes[..*place].contains(name));
        if let Some((_, name)) = twice.filter(|_| wanted.classes.is_empty()) {
            let what = format!("two of its classes are called {name:?}");
            return Err(refuse(what, "give each a name of its own there, or name them by classes"));
        }
        let labels = source.labels().filter(|_| !classes.is_empty());
        if let Some(label) = labels.and_then(|labels| labels.iter().find(|label| **label >= classes.len())) {
            let what = format!("a picture is of class {label}, but {} named", classes.len());
            return Err(refuse(what, "name every class, in the order of their numbers"));
        }
        let inner = source.native_size().unwrap_or([h, w]);
        let mut set = Self {
            shape: [wanted.channels, h, w],
            levels: Vec::new(),
            labels: labels.map(|_| Vec::new()),
            classes,
            training: Vec::new(),
            validation: Vec::new(),
            report: source.notes().to_vec(),
        };
        if inner != [h, w] {
            set.report
                .push(format!("pictures of {}×{} lie in the middle of {w}×{h}, black around them", inner[1], inner[0]));
        }
        let (count, mut of_other_channels) = (source.count(), None);
        let mut each = |batch: Batch| {
            let [_, channels, ..] = batch.images.shape();
            if channels != wanted.channels {
                of_other_channels = Some(channels);
                return Ok::<_, PictureError>(false);
            }
            set.take(&batch, held_out.as_deref());
            Ok(watch(batch.first + batch.images.len(), count))
        };
        let read_as = [wanted.channels, inner[0], inner[1]];
        let told = source.for_each_batch(0..count, (read_as, AT_ONCE), &mut each)?;
        if let Some(channels) = of_other_channels {
            let what = format!("its pictures have {}, not {}", counted(channels, "channel"), wanted.channels);
            return Err(refuse(what, "say how many by channels"));
        }
        set.report.extend(told);
        if set.training.is_empty() {
            return Err(refuse("all of its pictures are held out".to_owned(), "leave some to learn from"));
        }
        set.report.push(set.summary());
        Ok(set)
    }

    /// No pictures: for those who make their own, of this shape and these classes.
    #[must_use]
    pub const fn none(shape: [usize; 3], classes: Vec<String>, report: Vec<String>) -> Self {
        let levels = Vec::new();
        Self { shape, levels, labels: None, classes, training: Vec::new(), validation: Vec::new(), report }
    }

    fn take(&mut self, batch: &Batch, held_out: Option<&[bool]>) {
        let first = self.len();
        let ([_, _, height, width], [_, h, w]) = (batch.images.shape(), self.shape);
        let (top, left) = ((h - height) / 2, (w - width) / 2);
        for plane in batch.images.pixels().chunks_exact(height * width) {
            let to = self.levels.len();
            self.levels.resize(to + h * w, 0);
            for (y, line) in plane.chunks_exact(width).enumerate() {
                let to = &mut self.levels[to + (top + y) * w + left..][..width];
                to.iter_mut().zip(line).for_each(|(to, value)| *to = (value * 255.0).round() as u8);
            }
        }
        if let (Some(labels), Some(new)) = (&mut self.labels, &batch.labels) {
            labels.extend(new);
        }
        for i in 0..batch.images.len() {
            let is_held_out = held_out.is_some_and(|marks| marks[batch.first + i]);
            let places = if is_held_out { &mut self.validation } else { &mut self.training };
            places.push(first + i);
        }
    }

    fn summary(&self) -> String {
        let [channels, h, w] = self.shape;
        let kinds = self.labels.as_ref().map(|_| format!(" of {}", counted(self.classes.len(), "kind")));
        let kinds = kinds.unwrap_or_default();
        let held_out = match self.validation.len() {
            0 => String::new(),
            n => format!(", {n} more are held out for validation"),
        };
        let pictures = counted(self.training.len(), "picture");
        format!("{pictures}{kinds} to learn from, {w}×{h}, {}{held_out}", counted(channels, "channel"))
    }

    /// Number of pictures, also of those that are held out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.len() / self.shape.iter().product::<usize>().max(1)
    }

    /// SHA-256 of everything that is learnt from: sizes, levels, labels, and what is held out.
    #[must_use]
    pub fn sha256(&self) -> String {
        let marks = self.validation.iter().map(|place| *place as u64);
        let labels = self.labels.iter().flatten().map(|label| *label as u64);
        let [c, h, w] = self.shape;
        let head = [c, h, w, self.len(), self.labels.as_ref().map_or(0, Vec::len)].map(|number| number as u64);
        let numbers: Vec<u8> = head.into_iter().chain(labels).chain(marks).flat_map(u64::to_le_bytes).collect();
        sha256(&[&numbers, &self.levels])
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// `[C, H, W]` of a picture.
    #[must_use]
    pub const fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The pictures at these places, in `[0, 1]`, and their labels; 0 where there are none.
    ///
    /// # Panics
    /// When a place is out of range.
    #[must_use]
    pub fn batch(&self, places: &[usize]) -> (ImageBatch, Vec<usize>) {
        let [c, h, w] = self.shape;
        let len = c * h * w;
        let levels = places.iter().flat_map(|place| &self.levels[place * len..(place + 1) * len]);
        let pixels = levels.map(|level| f32::from(*level) / 255.0).collect();
        let labels = places.iter().map(|place| self.labels.as_ref().map_or(0, |labels| labels[*place])).collect();
        (ImageBatch::new([places.len(), c, h, w], pixels), labels)
    }
}

/// Pictures, which of them are held out, and the names of their classes.
struct Marked {
    source: PictureSource,
    held_out: Option<Vec<bool>>,
    classes: Vec<String>,
}

impl PictureSource {
    /// Likewise, of a data set: without those of its pictures that are held out for validation, where it says which. Returns
    /// the source and, picture by picture, whether it is left out.
    ///
    /// # Errors
    /// [`PictureError`], as [`Self::open`].
    pub fn of_data_set(paths: &[PathBuf]) -> Result<(Self, Option<Vec<bool>>), PictureError> {
        let Some(Marked { mut source, held_out, .. }) = open_set(paths, &[])? else {
            return Ok((Self::open(paths)?, None));
        };
        let held_out = held_out.filter(|marks| marks.contains(&true));
        if let Some(marks) = &held_out {
            let count = marks.iter().filter(|mark| **mark).count();
            source.notes.push(format!(
                "note: left out are {} that the data set holds out for validation",
                counted(count, "picture")
            ));
        }
        Ok((source, held_out))
    }

    /// The pictures before refinement that an archive of ours holds beside those after it; none where there are none.
    ///
    /// # Errors
    /// [`PictureError`] of an archive that cannot be read.
    pub fn before(&self) -> Result<Option<Self>, PictureError> {
        let Kind::Archive(archive) = &self.kind else { return Ok(None) };
        let Some(before) = archive.before()? else { return Ok(None) };
        Ok(Some(Self { kind: Kind::Archive(before), notes: Vec::new(), ..self.clone() }))
    }
}

/// Names of classes: those that are given, else those of the data, else their numbers; none where there are no labels.
fn named(given: &[String], own: Option<Vec<String>>, labels: Option<&[usize]>) -> Vec<String> {
    let Some(labels) = labels else { return Vec::new() };
    let names = if given.is_empty() { own.unwrap_or_default() } else { given.to_vec() };
    let count = labels.iter().max().map_or(0, |most| most + 1);
    if names.is_empty() { (0..count).map(|class| format!("class {class}")).collect() } else { names }
}

/// IDX files, or an archive; `None` for files and folders.
fn open_set(paths: &[PathBuf], classes: &[String]) -> Result<Option<Marked>, PictureError> {
    if let Some(mut idx) = Idx::read(paths)? {
        let (labels, notes) = (idx.labels.take(), std::mem::take(&mut idx.notes));
        let (classes, held_out) = (named(classes, None, labels.as_deref()), Some(idx.held_out.clone()));
        let source = PictureSource { kind: Kind::Idx(idx), labels, names: None, foreign: None, notes, strict: false };
        return Ok(Some(Marked { source, held_out, classes }));
    }
    if let [path] = paths
        && npz::is_archive(path)
    {
        let Set { archive, held_out } = Set::open(path)?;
        let source = PictureSource::of_archive(archive);
        let classes = named(classes, source.names.clone(), source.labels());
        return Ok(Some(Marked { source, held_out, classes }));
    }
    Ok(None)
}

fn open(paths: &[PathBuf], classes: &[String]) -> Result<Marked, PictureError> {
    if let Some(set) = open_set(paths, classes)? {
        return Ok(set);
    }
    let mut source = PictureSource::open(paths)?;
    let Kind::Files(files) = &source.kind else { return Ok(Marked { source, held_out: None, classes: Vec::new() }) };
    let folders: BTreeSet<&str> = files.iter().filter_map(|file| file.folder.as_deref()).collect();
    if folders.is_empty() {
        return Ok(Marked { source, held_out: None, classes: Vec::new() });
    }
    let classes: Vec<String> =
        if classes.is_empty() { folders.into_iter().map(str::to_owned).collect() } else { classes.to_vec() };
    source.take_classes(&classes);
    if source.has_labels() {
        return Ok(Marked { source, held_out: None, classes });
    }
    let what = "not every picture lies in a folder that is named as a class".to_owned();
    let advice = "put every picture into the folder of its class, or name all folders in classes";
    Err(PictureError::Set { path: paths.first().cloned().unwrap_or_default(), what, advice })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
        header.push('\n');
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
    }

    fn archive(path: &Path, entries: &[(&str, Vec<u8>)]) {
        let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
        for (name, bytes) in entries {
            zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    fn wanted() -> Wanted {
        Wanted { size: None, channels: 1, classes: Vec::new() }
    }

    fn read(path: &Path, wanted: &Wanted) -> Result<DataSet, String> {
        DataSet::read(&[path.to_owned()], wanted, &mut |_, _| true).map_err(|error| error.to_string())
    }

    #[test]
    fn an_archive_of_a_data_set_says_what_is_held_out_and_what_its_classes_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.npz");
        let names: Vec<u8> =
            ["ab", "c\0"].iter().flat_map(|name| name.chars()).flat_map(|c| (c as u32).to_le_bytes()).collect();
        let pictures = || ("images", npy("|u1", "(3, 1, 2, 1)", &[0, 255, 51, 102, 7, 8]));
        let labels = || ("labels", npy("|u1", "(3,)", &[1, 0, 1]));
        archive(
            &path,
            &[
                pictures(),
                labels(),
                ("is_val", npy("|b1", "(3,)", &[0, 1, 0])),
                ("class_names", npy("<U2", "(2,)", &names)),
            ],
        );
        let set = read(&path, &wanted()).unwrap();
        assert_eq!((set.shape(), set.len(), &*set.training, &*set.validation), ([1, 1, 2], 3, &[0, 2][..], &[1][..]));
        assert_eq!(set.classes, ["ab", "c"]);
        let (source, held_out) = PictureSource::of_data_set(std::slice::from_ref(&path)).unwrap();
        assert_eq!((source.count(), held_out), (3, Some(vec![false, true, false])));
        assert_eq!(source.labels(), Some(&[1, 0, 1][..]));
        assert!(source.notes().iter().any(|note| note.contains("left out are 1 picture")));
        let (pictures_read, labels_read) = set.batch(&[2, 0]);
        assert_eq!((pictures_read.pixels(), labels_read), (&[7.0 / 255.0, 8.0 / 255.0, 0.0, 1.0][..], vec![1, 1]));
        assert_eq!(
            set.report.last().unwrap(),
            "2 pictures of 2 kinds to learn from, 2×1, 1 channel, 1 more are held out for validation"
        );
        let larger = read(&path, &Wanted { size: Some([3, 4]), ..wanted() }).unwrap();
        let middle = [0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0].map(|level| f32::from(level as u8) / 255.0);
        assert_eq!((larger.shape(), larger.batch(&[2]).0.pixels()), ([1, 3, 4], &middle[..]));
        assert!(larger.report.contains(&"pictures of 2×1 lie in the middle of 4×3, black around them".to_owned()));
        let size = read(&path, &Wanted { size: Some([2, 1]), ..wanted() }).unwrap_err();
        assert!(size.starts_with("this data set cannot be used: its pictures are 2×1, not 1×2"), "{size}");
        assert!(read(&path, &Wanted { channels: 3, ..wanted() }).unwrap_err().contains("1 channel, not 3"));
        let one = Wanted { classes: vec!["only".to_owned()], ..wanted() };
        assert!(read(&path, &one).unwrap_err().contains("a picture is of class 1"));
        archive(&path, &[pictures(), labels(), ("is_val", npy("|b1", "(2,)", &[0, 1]))]);
        assert!(read(&path, &wanted()).unwrap_err().contains("is_val has 2 values, but there are 3 pictures"));
        let numbers = |values: [u8; 3]| ("is_val", npy("|u1", "(3,)", &values));
        archive(&path, &[pictures(), labels(), numbers([1, 0, 0])]);
        assert_eq!(read(&path, &wanted()).unwrap().validation, [0], "0 and 1 are truth values, too");
        archive(&path, &[pictures(), labels(), numbers([1, 0, 3])]);
        assert!(read(&path, &wanted()).unwrap_err().contains("is_val holds 3, which is neither 0 nor 1"));
        let same: Vec<u8> = "aa".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
        archive(&path, &[pictures(), labels(), ("class_names", npy("<U1", "(2,)", &same))]);
        assert!(read(&path, &wanted()).unwrap_err().contains("two of its classes are called \"a\""));
        archive(&path, &[("arr_0", npy("|u1", "(1, 1, 2, 1)", &[0, 255]))]);
        let samples = read(&path, &wanted()).unwrap();
        assert_eq!((samples.classes.len(), samples.batch(&[0]).1), (0, vec![0]), "samples without labels");
    }

    #[test]
    fn folders_are_classes_and_what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["stop/a.png", "stop/b.png", "yield/c.png"] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(2, 2, image::Rgb([51, 0, 0])).save(at(name)).unwrap();
        }
        std::fs::write(at("stop/broken.png"), "no picture").unwrap();
        let wanted = Wanted { size: Some([2, 2]), channels: 3, classes: Vec::new() };
        let set = read(folder.path(), &wanted).unwrap();
        assert_eq!((set.len(), set.classes.clone()), (3, vec!["stop".to_owned(), "yield".to_owned()]));
        assert_eq!(set.batch(&[1, 2]).1, [0, 1]);
        assert!(set.report.iter().any(|line| line.contains("broken.png is left out")), "{:?}", set.report);
        let given = Wanted { classes: vec!["yield".to_owned(), "stop".to_owned()], ..wanted.clone() };
        assert_eq!(read(folder.path(), &given).unwrap().batch(&[0]).1, [1]);
        let unsized_ = Wanted { size: None, ..wanted };
        assert!(read(folder.path(), &unsized_).unwrap_err().contains("say which by resolution"));
    }
}
