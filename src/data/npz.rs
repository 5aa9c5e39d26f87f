//! Archives of samples, `.npz`, as guided-diffusion writes them: `arr_0` holds pictures, `arr_1` perhaps their classes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use npyz::{DType, Endianness, NpyFile, NpyHeader, Order, TypeChar};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::{Batch, PictureError, file_name};
use crate::image::{Fit, ImageBatch};

/// Key of the pictures, uint8 or float32, `[N, H, W, C]`.
const PICTURES: &str = "arr_0.npy";
/// Key of their classes, integers of any length, `[N]`.
const LABELS: &str = "arr_1.npy";
/// Most pictures that an archive may hold; their labels are kept in memory.
pub const MAX_COUNT: usize = 10_000_000;
/// Largest height and width of an archive's pictures.
const MAX_SIDE: u64 = 4096;
/// Longest header of an array in bytes; NumPy's own are below 200.
const MAX_HEADER: usize = 4096;
/// Most brackets in a header: those of a dictionary and of a shape, and a few to spare.
const MAX_BRACKETS: usize = 8;
/// Most channels of a picture.
const MAX_CHANNELS: u64 = 4;

/// An archive whose headers and labels were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    /// Number of pictures.
    pub(super) count: usize,
    /// `[C, H, W]` of each.
    pub(super) shape: [usize; 3],
    values: Values,
    /// Class of each.
    pub(super) labels: Option<Vec<usize>>,
}

/// How an archive holds values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// Levels from 0 to 255.
    Levels,
    /// Single precision in `[0, 1]`.
    Floats { big_endian: bool },
}

impl Values {
    const fn bytes(self) -> usize {
        match self {
            Self::Levels => 1,
            Self::Floats { .. } => 4,
        }
    }
}

/// By content: a zip archive is no picture.
pub(super) fn is_archive(path: &Path) -> bool {
    begins_with(path, *b"PK\x03\x04")
}

/// By content: an array that was saved alone.
pub(super) fn is_single_array(path: &Path) -> bool {
    begins_with(path, *b"\x93NUMPY")
}

fn begins_with<const N: usize>(path: &Path, expected: [u8; N]) -> bool {
    let mut head = [0; N];
    path.is_file() && File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok() && head == expected)
}

impl Archive {
    /// Reads the headers and the labels.
    pub(super) fn open(path: &Path) -> Result<Self, PictureError> {
        let refuse = |what: String| PictureError::Archive { path: path.to_owned(), what };
        let mut archive = unzip(path)?;
        let header = {
            let mut entry = entry(&mut archive, path, PICTURES)?.ok_or_else(|| refuse("it has no arr_0".to_owned()))?;
            read_header(&mut entry).map_err(|error| refuse(format!("arr_0: {error}")))?
        };
        let [n, height, width, channels] = *header.shape() else {
            return Err(refuse(format!("arr_0 has the shape {:?}", header.shape())));
        };
        if !(1..=MAX_CHANNELS).contains(&channels) || header.order() == Order::Fortran {
            let order = if header.order() == Order::Fortran { " in Fortran order" } else { "" };
            return Err(refuse(format!("arr_0 has the shape {:?}{order}", header.shape())));
        }
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&height) || !sides.contains(&width) || !(1..=MAX_COUNT as u64).contains(&n) {
            let what = format!(
                "arr_0 has the shape {:?}, but 1 to {MAX_COUNT} pictures of at most {MAX_SIDE}×{MAX_SIDE} are read",
                header.shape()
            );
            return Err(refuse(what));
        }
        let values =
            values(&header.dtype()).ok_or_else(|| refuse(format!("arr_0 is of type {}", header.dtype().descr())))?;
        let (count, shape) = (n as usize, [channels, height, width].map(|extent| extent as usize));
        let labels = read_labels(&mut archive, path, count)?;
        Ok(Self { path: path.to_owned(), count, shape, values, labels })
    }

    /// Reads the pictures at `range`, `batch` at a time, and calls `each` with them until it returns false.
    pub(super) fn for_each_batch<E: From<PictureError>>(
        &self,
        range: Range<usize>,
        batch: usize,
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut archive = unzip(&self.path)?;
        let mut entry =
            entry(&mut archive, &self.path, PICTURES)?.ok_or_else(|| self.refuse("it has no arr_0".to_owned()))?;
        read_header(&mut entry).map_err(|error| self.broken(&error))?;
        let before = range.start as u64 * self.sample_bytes() as u64;
        std::io::copy(&mut entry.by_ref().take(before), &mut std::io::sink()).map_err(|error| self.broken(&error))?;
        let [_, height, width] = self.shape;
        let (name, native) = (file_name(&self.path), [width as u32, height as u32]);
        let fit = Fit { from: native, kept: native, to: native };
        for first in range.clone().step_by(batch) {
            let end = (first + batch).min(range.end);
            let images = self.read(&mut entry, end - first)?;
            if end == self.count {
                // The end is where the checksum is compared.
                std::io::copy(&mut entry.by_ref().take(1), &mut std::io::sink())
                    .map_err(|error| self.broken(&error))?;
            }
            let names: Vec<String> = (first..end).map(|place| format!("{name} #{place}")).collect();
            let fits = names.iter().map(|name| format!("{name}: {fit}")).collect();
            let labels = self.labels.as_ref().map(|labels| labels[first..end].to_vec());
            if !each(Batch { first, images, names, labels, fits })? {
                break;
            }
        }
        Ok(())
    }

    const fn sample_bytes(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2] * self.values.bytes()
    }

    /// The next `n` pictures, `[n, H, W, C]` in the file.
    fn read(&self, input: &mut impl Read, n: usize) -> Result<ImageBatch, PictureError> {
        let expected = n * self.sample_bytes();
        // Grows with what is really there: the header may lie.
        let mut bytes = Vec::new();
        input.take(expected as u64).read_to_end(&mut bytes).map_err(|error| self.broken(&error))?;
        if bytes.len() != expected {
            return Err(self.refuse(format!("it ends before its {} pictures do", self.count)));
        }
        let values: Vec<f32> = match self.values {
            Values::Levels => bytes.iter().map(|level| f32::from(*level) / 255.0).collect(),
            Values::Floats { big_endian } => bytes.chunks_exact(4).map(|four| float(four, big_endian)).collect(),
        };
        if let Some(value) = values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            let turn = if *value > 1.0 { "x / 255 turns [0,255] into it" } else { "(x + 1) / 2 turns [-1,1] into it" };
            let what = format!("arr_0 holds {value}, which is outside of [0,1]: {turn}");
            return Err(self.refuse(what));
        }
        let [channels, height, width] = self.shape;
        let plane = height * width;
        let mut pixels = vec![0.0; values.len()];
        for (place, pixel) in values.chunks_exact(channels).enumerate() {
            let (sample, place) = (place / plane, place % plane);
            for (channel, value) in pixel.iter().enumerate() {
                pixels[(sample * channels + channel) * plane + place] = *value;
            }
        }
        Ok(ImageBatch::new([n, channels, height, width], pixels))
    }

    fn refuse(&self, what: String) -> PictureError {
        PictureError::Archive { path: self.path.clone(), what }
    }

    fn broken(&self, error: &std::io::Error) -> PictureError {
        self.refuse(format!("arr_0: {error}"))
    }
}

fn float(four: &[u8], big_endian: bool) -> f32 {
    let bytes = [four[0], four[1], four[2], four[3]];
    if big_endian { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }
}

fn values(dtype: &DType) -> Option<Values> {
    let DType::Plain(plain) = dtype else { return None };
    match (plain.type_char(), plain.size_field()) {
        (TypeChar::Uint, 1) => Some(Values::Levels),
        (TypeChar::Float, 4) => Some(Values::Floats { big_endian: plain.endianness() == Endianness::Big }),
        _ => None,
    }
}

fn unzip(path: &Path) -> Result<ZipArchive<BufReader<File>>, PictureError> {
    let refuse = |what: String| PictureError::Archive { path: path.to_owned(), what };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    ZipArchive::new(BufReader::new(file)).map_err(|error| refuse(error.to_string()))
}

/// An entry; `None` when it is not there.
fn entry<'a>(
    archive: &'a mut ZipArchive<BufReader<File>>,
    path: &Path,
    name: &str,
) -> Result<Option<ZipFile<'a, BufReader<File>>>, PictureError> {
    match archive.by_name(name) {
        Ok(entry) => Ok(Some(entry)),
        Err(ZipError::FileNotFound) => Ok(None),
        Err(error) => Err(PictureError::Archive { path: path.to_owned(), what: format!("{name}: {error}") }),
    }
}

/// Reads the header of an array, within limits: a damaged one may claim any length, or be nested without end.
fn read_header(input: &mut impl Read) -> std::io::Result<NpyHeader> {
    let invalid = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut head = vec![0; 10];
    input.read_exact(&mut head)?;
    // Bytes 6 and 7 are the version. The first has a length of 16 bits, later ones of 32.
    if head[6] > 1 {
        head.resize(12, 0);
        input.read_exact(&mut head[10..])?;
    }
    let length = head[8..].iter().rev().fold(0, |length, byte| (length << 8) | usize::from(*byte));
    if length > MAX_HEADER {
        return Err(invalid("its header is too long"));
    }
    let start = head.len();
    head.resize(start + length, 0);
    input.read_exact(&mut head[start..])?;
    let brackets = head[start..].iter().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count();
    if brackets > MAX_BRACKETS {
        return Err(invalid("its header is nested"));
    }
    NpyHeader::from_reader(head.as_slice())
}

/// The class of every picture; `None` when the archive does not say.
fn read_labels(
    archive: &mut ZipArchive<BufReader<File>>,
    path: &Path,
    count: usize,
) -> Result<Option<Vec<usize>>, PictureError> {
    let refuse = |what: String| PictureError::Archive { path: path.to_owned(), what: format!("arr_1 {what}") };
    let Some(entry) = entry(archive, path, LABELS)? else { return Ok(None) };
    let mut input = BufReader::new(entry);
    let header = read_header(&mut input).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if header.shape() != [count as u64] {
        return Err(refuse(format!("has the shape {:?}, but there are {count} pictures", header.shape())));
    }
    let dtype = header.dtype();
    let read = integers(NpyFile::with_header(header, input))
        .ok_or_else(|| refuse(format!("is of type {}, but labels are integers", dtype.descr())))?
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let class = |label: &i128| usize::try_from(*label).map_err(|_negative| refuse(format!("holds the label {label}")));
    read.iter().map(class).collect::<Result<_, _>>().map(Some)
}

/// The values of an array of integers of any length; `None` for another type.
fn integers<R: Read>(file: NpyFile<R>) -> Option<std::io::Result<Vec<i128>>> {
    fn wide<T: npyz::Deserialize + Into<i128>, R: Read>(
        file: NpyFile<R>,
    ) -> Result<std::io::Result<Vec<i128>>, NpyFile<R>> {
        file.try_data::<T>().map(|values| values.map(|value| value.map(Into::into)).collect())
    }
    wide::<i64, R>(file)
        .or_else(wide::<i32, R>)
        .or_else(wide::<i16, R>)
        .or_else(wide::<i8, R>)
        .or_else(wide::<u64, R>)
        .or_else(wide::<u32, R>)
        .or_else(wide::<u16, R>)
        .or_else(wide::<u8, R>)
        .ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use npyz::{AutoSerialize, WriterBuilder as _};

    use super::*;
    use crate::data::PictureSource;

    /// An array as `np.save` writes it.
    fn npy<T: AutoSerialize>(shape: &[u64], values: Vec<T>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::<T>::new().default_dtype().shape(shape);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn write(path: &Path, arrays: &[(&str, Vec<u8>)], method: zip::CompressionMethod) {
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in arrays {
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            archive.start_file(*name, options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap();
    }

    /// Five pictures of 2×2; level of picture i, pixel p, channel c: `40 i + 10 p + c`.
    fn levels() -> Vec<u8> {
        (0..5_u8).flat_map(|i| (0..4).flat_map(move |p| (0..3).map(move |c| 40 * i + 10 * p + c))).collect()
    }

    fn batches(source: &PictureSource, range: Range<usize>, batch: usize) -> Vec<Batch> {
        let mut all = Vec::new();
        source
            .for_each_batch(range, ([3, 32, 32], batch), &mut |batch| {
                all.push(batch);
                Ok::<_, PictureError>(true)
            })
            .unwrap();
        all
    }

    #[test]
    fn an_archive_comes_batch_by_batch_at_its_own_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npz");
        for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
            let labels = npy(&[5], vec![7_i64, 1, 0, 3, 9]);
            write(&path, &[(PICTURES, npy(&[5, 2, 2, 3], levels())), (LABELS, labels)], method);
            let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
            assert_eq!((source.count(), source.native_size(), source.has_labels()), (5, Some([2, 2]), true));
            let all = batches(&source, 1..9, 3);
            assert_eq!(all.iter().map(|batch| (batch.first, batch.images.len())).collect::<Vec<_>>(), [(1, 3), (4, 1)]);
            assert_eq!(all[0].labels, Some(vec![1, 0, 3]));
            assert_eq!(all[1].names, ["samples.npz #4"]);
            let value = all[0].images.get(1, 2, 1, 0).unwrap();
            assert_eq!(value, f32::from(40_u8 * 2 + 20 + 2) / 255.0, "picture 2, third pixel, blue");
            assert_eq!(all[1].fits, ["samples.npz #4: 2×2, pixels unchanged"]);
        }
    }

    #[test]
    fn floats_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("floats.npz");
        write(&path, &[(PICTURES, npy(&[1, 1, 1, 3], vec![0.125_f32, 0.5, 1.0]))], zip::CompressionMethod::Stored);
        let source = PictureSource::open(&[path]).unwrap();
        assert_eq!(batches(&source, 0..1, 1)[0].images.pixels(), [0.125, 0.5, 1.0]);
        assert!(!source.has_labels());
    }

    #[test]
    fn pictures_have_any_form_and_up_to_four_channels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wide.npz");
        for channels in 1..=4_usize {
            let levels: Vec<u8> = (0..2 * 3 * channels).map(|level| level as u8).collect();
            write(&path, &[(PICTURES, npy(&[1, 2, 3, channels as u64], levels))], zip::CompressionMethod::Stored);
            let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
            assert_eq!(source.native_size(), Some([2, 3]));
            let batch = batches(&source, 0..1, 1).remove(0);
            assert_eq!(batch.images.shape(), [1, channels, 2, 3]);
            let last = batch.images.get(0, channels - 1, 1, 0).unwrap();
            assert_eq!(last, (3 * channels + channels - 1) as f32 / 255.0);
            assert_eq!(batch.fits, ["wide.npz #0: 3×2, pixels unchanged"]);
        }
    }

    #[test]
    fn labels_are_integers_of_any_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npz");
        let arrays = [
            npy(&[5], vec![0_u8, 1, 2, 3, 200]),
            npy(&[5], vec![0_i16, 1, 2, 3, 200]),
            npy(&[5], vec![0_u32, 1, 2, 3, 200]),
            npy(&[5], vec![0_u64, 1, 2, 3, 200]),
        ];
        for labels in arrays {
            write(&path, &[(PICTURES, npy(&[5, 2, 2, 3], levels())), (LABELS, labels)], zip::CompressionMethod::Stored);
            let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
            assert_eq!(source.labels(), Some([0, 1, 2, 3, 200].as_slice()));
        }
        let alone = folder.path().join("alone.npy");
        std::fs::write(&alone, npy(&[5, 2, 2, 3], levels())).unwrap();
        assert!(PictureSource::open(&[alone]).unwrap_err().to_string().contains("np.savez"));
    }

    #[test]
    fn archives_that_cannot_be_used_are_refused_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.npz");
        let refused = |arrays: &[(&str, Vec<u8>)]| {
            write(&path, arrays, zip::CompressionMethod::Stored);
            let source = match PictureSource::open(std::slice::from_ref(&path)) {
                Ok(source) => source,
                Err(error) => return error.to_string(),
            };
            let (batch, errors) = source.first(256, [3, 32, 32]);
            assert!(batch.is_none());
            errors[0].to_string()
        };
        let pictures = || (PICTURES, npy(&[5, 2, 2, 3], levels()));
        assert!(refused(&[("images.npy", npy(&[1], vec![1_u8]))]).contains("it has no arr_0"));
        for channels in [0, 5] {
            let text = refused(&[(PICTURES, npy(&[1, 1, 2, channels], vec![0_u8; 2 * channels as usize]))]);
            assert!(text.contains(&format!("arr_0 has the shape [1, 1, 2, {channels}]")), "{text}");
        }
        let text = refused(&[(PICTURES, npy(&[1, 1, 1, 3], vec![0.5_f32, -0.5, 1.0]))]);
        assert!(text.contains("arr_0 holds -0.5") && text.contains("(x + 1) / 2"), "{text}");
        let text = refused(&[(PICTURES, npy(&[1, 1, 1, 3], vec![0.5_f32, 254.0, 1.0]))]);
        assert!(text.contains("arr_0 holds 254") && text.contains("x / 255"), "{text}");
        let text = refused(&[pictures(), (LABELS, npy(&[5], vec![0.0_f32; 5]))]);
        assert!(text.contains("arr_1 is of type '<f4', but labels are integers"), "{text}");
        let text = refused(&[(PICTURES, npy(&[1, 1, 1, 3], vec![0.5_f64; 3]))]);
        assert!(text.contains("arr_0 is of type '<f8'"), "{text}");
        let text = refused(&[pictures(), (LABELS, npy(&[4], vec![0_i64; 4]))]);
        assert!(text.contains("arr_1 has the shape [4], but there are 5 pictures"), "{text}");
        let text = refused(&[pictures(), (LABELS, npy(&[5], vec![0_i32, 1, 2, 3, -1]))]);
        assert!(text.contains("arr_1 holds the label -1"), "{text}");
        let mut short = npy(&[5, 2, 2, 3], levels());
        short.truncate(short.len() - 1);
        assert!(refused(&[(PICTURES, short)]).contains("it ends before its 5 pictures do"));
        let mut long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec();
        long.extend([b' '; 64]);
        assert!(refused(&[(PICTURES, long)]).contains("its header is too long"));
        let nested = [b"\x93NUMPY\x01\x00\x40\x00".to_vec(), vec![b'('; 64]].concat();
        assert!(refused(&[(PICTURES, nested)]).contains("its header is nested"));
    }
}
