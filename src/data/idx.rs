//! The IDX files of MNIST and its kin: one of pictures and one of labels, plain or packed by gzip, known by their content.
//!
//! # Source
//! LeCun, Cortes and Burges, "The MNIST database": two bytes of 0, the type of the values, the number of extents, the extents as
//! big-endian numbers of 32 bits, then the values, row-major.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Batch, MAX_COUNT, PictureError, file_name};
use crate::image::ImageBatch;
use crate::units::counted;

/// Codes of the types of values: bytes with and without a sign, integers of 16 and 32 bits, floats of 32 and 64.
const TYPES: [u8; 6] = [8, 9, 11, 12, 13, 14];
/// Bytes without a sign, which pictures and labels are of.
const LEVELS: u8 = 8;
/// Largest height and width.
const MAX_SIDE: usize = 4096;
const DAMAGED: &str = "it is damaged or was cut off, so fetch or unpack it again";

/// Pictures, row-major, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Idx {
    /// Of the pictures.
    pub(super) files: Vec<PathBuf>,
    /// Height and width.
    pub(super) size: [usize; 2],
    levels: Vec<u8>,
    /// Class of each, if there is a file of labels for every file of pictures.
    pub(super) labels: Option<Vec<usize>>,
    /// Whether each is of a test set (`t10k`) beside a training set.
    pub(super) held_out: Vec<bool>,
    /// What was read and what was left out, one line each.
    pub(super) notes: Vec<String>,
}

/// What stands before the values.
struct Header {
    kind: u8,
    extents: Vec<usize>,
}

/// The file as it is, or unpacked.
fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    let (mut head, mut file) = ([0; 2], File::open(path)?);
    let is_packed = file.read_exact(&mut head).is_ok() && head == [0x1f, 0x8b];
    let file = BufReader::new(File::open(path)?);
    Ok(if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// The header of an IDX file; `None` of any other.
fn header(input: &mut impl Read) -> Option<Header> {
    let mut head = [0; 4];
    input.read_exact(&mut head).ok()?;
    let [0, 0, kind, count @ 1..=4] = head else { return None };
    let mut extents = vec![[0; 4]; usize::from(count)];
    extents.iter_mut().try_for_each(|extent| input.read_exact(extent)).ok()?;
    let extents = extents.into_iter().map(|extent| u32::from_be_bytes(extent) as usize).collect();
    TYPES.contains(&kind).then_some(Header { kind, extents })
}

/// The header of the file at a path, if it is an IDX file.
fn header_of(path: &Path) -> Option<Header> {
    if path.is_file() { header(&mut open(path).ok()?) } else { None }
}

/// What a file of pictures and its file of labels have in common.
fn stem(path: &Path) -> String {
    let name = file_name(path).to_lowercase();
    ["images", "labels", "idx3", "idx1"]
        .iter()
        .fold(name.trim_end_matches(".gz").to_owned(), |name, word| name.replace(word, ""))
}

/// The entries of a folder but for the hidden ones, in order of their names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut entries: Vec<PathBuf> = entries.filter(|path| !file_name(path).starts_with('.')).collect();
    entries.sort();
    entries
}

fn refusal(path: &Path, what: String, advice: &'static str) -> PictureError {
    PictureError::Set { path: path.to_owned(), what, advice }
}

/// The values of a file whose header was read before.
fn values(path: &Path, Header { kind, extents }: &Header) -> Result<Vec<u8>, PictureError> {
    if *kind != LEVELS {
        let what = "its values are no bytes without a sign".to_owned();
        return Err(refusal(path, what, "write it again with levels from 0 to 255, which IDX calls type 8"));
    }
    let unreadable = |source| PictureError::Unreadable { path: path.to_owned(), source };
    let mut input = open(path).map_err(unreadable)?;
    header(&mut input);
    let expected = extents.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
    let expected = expected.filter(|expected| isize::try_from(*expected).is_ok());
    let expected = expected.ok_or_else(|| refusal(path, format!("it says that it is of {extents:?}"), DAMAGED))?;
    // Grows with what is really there, for the header may lie; one byte more is one too many.
    let mut bytes = Vec::new();
    let read = input.take(expected as u64 + 1).read_to_end(&mut bytes);
    match (read, bytes.len()) {
        (Ok(_), found) if found == expected => Ok(bytes),
        (Ok(_), found) if found > expected => {
            Err(refusal(path, "it goes on behind its last value".to_owned(), DAMAGED))
        }
        (Ok(_), _) => Err(refusal(path, format!("it ends before its {expected} values do"), DAMAGED)),
        (Err(_), _) => Err(refusal(path, format!("its {expected} values cannot be read or unpacked"), DAMAGED)),
    }
}

impl Idx {
    /// Reads the pictures of files, or of folders with such files; `None` when these are none.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Option<Self>, PictureError> {
        let given = paths.iter().flat_map(|path| if path.is_dir() { entries(path) } else { vec![path.clone()] });
        let (known, others): (Vec<_>, Vec<_>) =
            given.map(|path| (header_of(&path), path)).partition(|(header, _)| header.is_some());
        let known: Vec<(Header, PathBuf)> =
            known.into_iter().filter_map(|(header, path)| Some((header?, path))).collect();
        let (sets, rest): (Vec<_>, Vec<_>) = known.into_iter().partition(|(header, _)| header.extents.len() == 3);
        let Some((_, first)) = sets.first() else { return Ok(None) };
        let mut idx = Self {
            files: Vec::new(),
            size: [0, 0],
            levels: Vec::new(),
            labels: Some(Vec::new()),
            held_out: Vec::new(),
            notes: Vec::new(),
        };
        let is_test = |path: &Path| stem(path).contains("t10k") || stem(path).contains("test");
        let all_tests = sets.iter().all(|(_, path)| is_test(path));
        let (mut left_out, mut labels) = (others.len(), Vec::new());
        for (header, path) in &sets {
            // Some keep the packed file beside what came out of it.
            if idx.files.iter().any(|other| other.parent() == path.parent() && stem(other) == stem(path)) {
                left_out += 1;
                continue;
            }
            labels.extend(idx.add(path, header, !all_tests && is_test(path))?);
        }
        left_out += rest.iter().filter(|(_, path)| !labels.contains(path)).count();
        if left_out > 0 {
            idx.notes.push(format!("note: left out beside {}: {}", file_name(first), counted(left_out, "other file")));
        }
        Ok(Some(idx))
    }

    /// Reads a file of pictures and that of their labels, whose path it returns.
    fn add(&mut self, path: &Path, header: &Header, is_held_out: bool) -> Result<Option<PathBuf>, PictureError> {
        let &[count, height, width] = &header.extents[..] else { return Ok(None) };
        let sides = 1..=MAX_SIDE;
        if !(1..=MAX_COUNT).contains(&count) || !sides.contains(&height) || !sides.contains(&width) {
            let what = format!("it says that it holds {count} pictures of {width}×{height}");
            return Err(refusal(path, what, "1 to 10000000 pictures of at most 4096×4096 are read"));
        }
        if !self.files.is_empty() && self.size != [height, width] {
            let what = format!("its pictures are {width}×{height}, those of {} are not", file_name(&self.files[0]));
            return Err(refusal(path, what, "name files whose pictures have one size"));
        }
        self.size = [height, width];
        self.levels.extend(values(path, header)?);
        self.files.push(path.to_owned());
        self.held_out.resize(self.held_out.len() + count, is_held_out);
        // Labels lie beside their pictures, whether they are named or not.
        let beside = entries(path.parent().unwrap_or(Path::new(".")));
        let labels = beside.into_iter().filter(|other| other != path && stem(other) == stem(path)).find_map(|other| {
            let header = header_of(&other).filter(|header| header.extents.len() == 1)?;
            Some((header, other))
        });
        let name = file_name(path);
        let Some((header, beside)) = labels else {
            self.labels = None;
            self.notes.push(format!("note: no file of labels lies beside {name}, so pictures have no classes"));
            return Ok(None);
        };
        if header.extents != [count] {
            let what =
                format!("it has {}, but there are {count} pictures in {name}", counted(header.extents[0], "label"));
            return Err(refusal(&beside, what, "give the labels of these pictures"));
        }
        let read = values(&beside, &header)?;
        if let Some(labels) = &mut self.labels {
            labels.extend(read.into_iter().map(usize::from));
        }
        self.notes.push(format!("{name}: {}, labels from {}", counted(count, "picture"), file_name(&beside)));
        Ok(Some(beside))
    }

    pub(super) const fn count(&self) -> usize {
        self.held_out.len()
    }

    /// Gives the pictures at `range`, `batch` at a time, to `each`, until it returns false.
    pub(super) fn for_each_batch<E: From<PictureError>>(
        &self,
        range: Range<usize>,
        batch: usize,
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<Vec<String>, E> {
        let [height, width] = self.size;
        let len = height * width;
        for first in range.clone().step_by(batch) {
            let end = (first + batch).min(range.end);
            let pixels = self.levels[first * len..end * len].iter().map(|level| f32::from(*level) / 255.0).collect();
            let images = ImageBatch::new([end - first, 1, height, width], pixels);
            let names = (first..end).map(|place| format!("picture {place}")).collect();
            if !each(Batch { first, images, names, labels: None, fits: Vec::new() })? {
                break;
            }
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::data::{DataSet, Wanted};

    fn idx(kind: u8, extents: &[u32], values: &[u8]) -> Vec<u8> {
        let bytes = extents.iter().flat_map(|extent| extent.to_be_bytes());
        [0, 0, kind, extents.len() as u8].into_iter().chain(bytes).chain(values.iter().copied()).collect()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    /// A folder as Debian's `dataset-fashion-mnist` fills it: three pictures of 2×1 to learn from, one to test.
    fn debian() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), packed(bytes)).unwrap();
        write("train-images-idx3-ubyte.gz", &idx(8, &[3, 1, 2], &[0, 255, 1, 2, 3, 4]));
        write("train-labels-idx1-ubyte.gz", &idx(8, &[3], &[1, 0, 1]));
        write("t10k-images-idx3-ubyte.gz", &idx(8, &[1, 1, 2], &[5, 6]));
        write("t10k-labels-idx1-ubyte.gz", &idx(8, &[1], &[0]));
        folder
    }

    fn read(path: &Path) -> Result<Option<Idx>, String> {
        Idx::read(&[path.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_of_packed_files_gives_pictures_labels_and_what_is_held_out() {
        let folder = debian();
        let read_whole = || read(folder.path()).unwrap().unwrap();
        let whole = read_whole();
        assert_eq!((whole.count(), whole.size, &*whole.levels), (4, [1, 2], &[5, 6, 0, 255, 1, 2, 3, 4][..]));
        assert_eq!(
            (whole.labels.clone(), &*whole.held_out),
            (Some(vec![0, 1, 0, 1]), &[true, false, false, false][..])
        );
        assert_eq!(whole.notes[1], "train-images-idx3-ubyte.gz: 3 pictures, labels from train-labels-idx1-ubyte.gz");
        // Unpacked beside, as some programs leave it, and with something else there.
        let plain = folder.path().join("train-images-idx3-ubyte");
        std::fs::write(&plain, idx(8, &[3, 1, 2], &[0, 255, 1, 2, 3, 4])).unwrap();
        std::fs::write(folder.path().join("LICENSE"), "MIT").unwrap();
        let again = read_whole();
        assert_eq!((again.count(), again.levels, again.labels), (4, whole.levels, whole.labels));
        assert_eq!(again.notes[2], "note: left out beside t10k-images-idx3-ubyte.gz: 2 other files");
        // One file by its name, whose labels are found; alone, a test set is learnt from.
        let test = read(&folder.path().join("t10k-images-idx3-ubyte.gz")).unwrap().unwrap();
        assert_eq!((test.labels, test.held_out), (Some(vec![0]), vec![false]));
        assert_eq!(read(&folder.path().join("LICENSE")), Ok(None));
    }

    #[test]
    fn a_data_set_of_them_has_one_channel_and_the_names_that_are_given() {
        let folder = debian();
        let read = |channels, classes: &[&str]| {
            let classes = classes.iter().map(|name| (*name).to_owned()).collect();
            let wanted = Wanted { size: None, channels, classes };
            DataSet::read(&[folder.path().to_owned()], &wanted, &mut |_, _| true).map_err(|error| error.to_string())
        };
        let set = read(1, &["shirt", "bag"]).unwrap();
        assert_eq!((set.shape(), &*set.training, &*set.validation), ([1, 1, 2], &[1, 2, 3][..], &[0][..]));
        assert_eq!(set.batch(&[1]), (ImageBatch::new([1, 1, 1, 2], vec![0.0, 1.0]), vec![1]));
        assert_eq!((set.classes[0].as_str(), read(1, &[]).unwrap().classes[1].as_str()), ("shirt", "class 1"));
        let last = "3 pictures of 2 kinds to learn from, 2×1, 1 channel, 1 more are held out for validation";
        assert_eq!(set.report.last().map(String::as_str), Some(last));
        assert!(read(3, &[]).unwrap_err().contains("have 1 channel, not 3; say how many by channels"));
        assert!(read(1, &["shirt"]).unwrap_err().contains("a picture is of class 1, but 1 named"));
    }

    #[test]
    fn what_is_damaged_or_contradicts_itself_is_refused_in_one_sentence() {
        let folder = debian();
        let refusal = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            let before = std::fs::read(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let refusal = read(folder.path()).unwrap_err();
            std::fs::write(&path, before).unwrap();
            refusal
        };
        let images = "train-images-idx3-ubyte.gz";
        let whole = packed(&idx(8, &[3, 1, 2], &[0, 255, 1, 2, 3, 4]));
        // In the checksum, behind the values.
        let mut flipped = whole.clone();
        flipped[whole.len() - 6] ^= 1;
        for (bytes, expected) in [
            (whole[..whole.len() - 9].to_vec(), "its 6 values cannot be read or unpacked; it is damaged"),
            (flipped, "its 6 values cannot be read or unpacked"),
            (idx(8, &[3, 1, 2], &[0, 255]), "it ends before its 6 values do"),
            (idx(8, &[u32::MAX, 1, 2], &[]), "it says that it holds 4294967295 pictures of 2×1"),
            (idx(8, &[3, 0, 2], &[]), "it says that it holds 3 pictures of 2×0"),
            (idx(8, &[1, 1, 2], &[1, 2, 3]), "it goes on behind its last value"),
            (idx(13, &[1, 1, 2], &[0; 8]), "its values are no bytes without a sign"),
            (idx(8, &[3, 2, 2], &[0; 12]), "its pictures are 2×2, those of t10k-images-idx3-ubyte.gz are not"),
        ] {
            let text = refusal(images, &bytes);
            assert!(text.starts_with("this data set cannot be used: ") && text.contains(expected), "{text}");
        }
        let labels = refusal("train-labels-idx1-ubyte.gz", &idx(8, &[2], &[1, 0]));
        assert!(labels.contains("it has 2 labels, but there are 3 pictures in train-images"), "{labels}");
        std::fs::remove_file(folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
        let without = read(folder.path()).unwrap().unwrap();
        assert_eq!(without.labels, None);
        assert!(without.notes[1].contains("no file of labels lies beside train-images-idx3-ubyte.gz"));
    }
}
