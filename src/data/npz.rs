//! Archives of samples, `.npz`, as guided-diffusion writes them: `arr_0` holds pictures, `arr_1` perhaps their classes. Where
//! Lapidary wrote them, they hold the same pictures as floats, which are taken: 8 bits would be another picture. And archives of
//! data sets, whose arrays have names.
//!
//! What other programs write is converted where it can mean one thing only, and a note says so.

mod before;
mod levels;
mod lists;
mod seen;

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use npyz::{NpyHeader, Order};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use self::levels::Levels;
pub(super) use self::lists::Set;
use self::lists::read_names;
pub use self::seen::{
    Digest, SeenFeatures, SeenKind, SeenStatistics, Sight, is_seen_of_ours, read_features, read_statistics, seen_in,
};
use super::array::{self, LabelFault, Labels, Number};
use super::{Batch, PictureError, file_name};
use crate::image::{Fit, ImageBatch};
use crate::units::counted;

/// What the arrays of an archive are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// Pictures, `[N, H, W, C]` or `[N, C, H, W]`.
    pictures: &'static str,
    /// Their classes, `[N]`, `[N, 1]` or one-hot `[N, K]`.
    labels: &'static str,
}

/// Those of samples.
pub(super) const SAMPLES: Keys = Keys { pictures: "arr_0", labels: "arr_1" };
/// The same pictures as float32, `[N, C, H, W]`, in archives of ours, which say the [`SEEDS`] as well: those of a picture that was
/// refined, and of one that was made.
const FLOATS: [&str; 2] = ["after", "images"];
const SEEDS: &str = "seeds";
/// Those of a data set.
const DATA_SET: Keys = Keys { pictures: "images", labels: "labels" };
/// Largest level of pictures that can hardly be meant so.
const FAINT: f32 = 2.0;
/// Most pictures that an archive may hold; their labels are kept in memory.
pub const MAX_COUNT: usize = 10_000_000;
/// Largest height and width of an archive's pictures.
const MAX_SIDE: u64 = 4096;
/// Most channels of a picture.
const MAX_CHANNELS: u64 = 4;
/// Most bytes of pictures in Fortran order, which are scattered over the whole array.
const MAX_SCATTERED: usize = 1 << 30;
/// How far a value may be outside of `[0, 1]`, as sums of rounded numbers are: a quarter of a level.
const TOLERANCE: f32 = 0.001;
/// Names of arrays that are listed.
const LISTED: usize = 8;

/// What to do about pictures of the wrong kind, labels of the wrong kind, a damaged archive, and one that is packed in an odd way.
const ABOUT_PICTURES: &str = "give an .npz whose arr_0 (of a data set: images) holds pictures of 1 to 4 channels, N×H×W×C, as uint8 or as float32 in [0,1]";
const ABOUT_NAN: &str =
    "look at what made it, replace it with np.nan_to_num, or leave the picture out with --skip and --limit";
const ABOUT_LABELS: &str = "give the number of each picture's class as arr_1 (of a data set: labels), or leave it out and name classes with --classes";
const LABELS_TO_LEARN: &str =
    "write the number of each picture's class as labels (or arr_1), or leave it out where no classes are learnt";
const NAN_TO_LEARN: &str =
    "look at what made it, and replace it with np.nan_to_num or write the archive without the picture";
const ABOUT_BOTH: &str =
    "write it again with np.savez, without these floats where the levels are meant, or with them as arr_0";
const DAMAGED: &str = "it is damaged or was cut off, so write or copy it again";
const PACKED: &str = "write it again with np.savez or np.savez_compressed";

/// An archive whose headers and labels were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    /// Name of the pictures that are taken.
    key: &'static str,
    /// Whether they are floats of ours, beside which the same pictures lie as levels.
    has_levels: bool,
    /// Number of pictures.
    pub(super) count: usize,
    /// `[C, H, W]` of each.
    pub(super) shape: [usize; 3],
    layout: Layout,
    /// Class of each.
    pub(super) labels: Option<Vec<usize>>,
    /// How many classes they are of, where they say it.
    pub(super) classes: Option<usize>,
    /// What these are called, if it says so.
    pub(super) names: Option<Vec<String>>,
    /// What was converted, one line each.
    pub(super) notes: Vec<String>,
    /// The one of these that is about random starts alone.
    pub(super) starts: Option<String>,
}

/// How an archive holds pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    number: Number,
    /// Extents of the array, the pictures first.
    extents: [usize; 4],
    /// Which of them are channels, height and width.
    axes: [usize; 3],
    /// Whether the first extent changes fastest.
    fortran: bool,
}

/// What to do where there are no flags.
pub(super) fn without_flags(advice: &'static str) -> &'static str {
    match advice {
        ABOUT_LABELS => LABELS_TO_LEARN,
        ABOUT_NAN => NAN_TO_LEARN,
        other => other,
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

/// The names that the arrays of an archive have: those of samples, or those of a data set.
pub(super) fn keys_of(path: &Path) -> Result<Keys, PictureError> {
    unzip(path).map(|zip| keys_among(&zip))
}

fn keys_among(zip: &ZipArchive<BufReader<File>>) -> Keys {
    // Archives of ours have both.
    let is_set = holds(zip, DATA_SET.pictures) && !holds(zip, SAMPLES.pictures);
    if is_set { DATA_SET } else { SAMPLES }
}

impl Archive {
    /// Reads the headers and the labels.
    pub(super) fn open(path: &Path, keys: Keys) -> Result<Self, PictureError> {
        let Keys { pictures, labels } = keys;
        let refuse = |what: String| refusal(path, what, ABOUT_PICTURES);
        let mut archive = unzip(path)?;
        let absent = without_pictures(&archive, path, pictures);
        let header_of = |archive: &mut ZipArchive<BufReader<File>>, key| {
            let Some(mut entry) = entry(archive, path, key)? else { return Ok(None) };
            let read = array::read_header(&mut entry);
            read.map(Some).map_err(|source| broken(path, &format!("the header of {key}"), source))
        };
        let mut header = header_of(&mut archive, pictures)?.ok_or(absent)?;
        let mut key = pictures;
        let is_ours = keys == SAMPLES && holds(&archive, SEEDS);
        if let Some(floats) = FLOATS.into_iter().find(|key| is_ours && holds(&archive, key))
            && let Some(found) = header_of(&mut archive, floats)?.filter(|floats| are_floats_of(floats, &header))
        {
            (key, header) = (floats, found);
        }
        let shape = header.shape();
        let &[n, first, second, last] = shape else {
            return Err(refuse(format!("{pictures} has the shape {shape:?}")));
        };
        let channels = 1..=MAX_CHANNELS;
        // Whose pictures are ours has its channels first, however narrow they are.
        let (axes, sides) = match (key == pictures && channels.contains(&last), channels.contains(&first)) {
            (true, _) => ([3, 1, 2], [first, second]),
            (false, true) => ([1, 2, 3], [second, last]),
            (false, false) => return Err(refuse(format!("{pictures} has the shape {shape:?}"))),
        };
        if sides.iter().any(|side| !(1..=MAX_SIDE).contains(side)) || !(1..=MAX_COUNT as u64).contains(&n) {
            let what = format!(
                "{pictures} has the shape {shape:?}, but 1 to {MAX_COUNT} pictures of at most {MAX_SIDE}×{MAX_SIDE} are read"
            );
            return Err(refuse(what));
        }
        let descr = header.dtype().descr();
        let number = Number::of(&header.dtype()).ok_or_else(|| refuse(format!("{pictures} is of type {descr}")))?;
        let extents = [n, first, second, last].map(|extent| extent as usize);
        let layout = Layout { number, extents, axes, fortran: header.order() == Order::Fortran };
        if layout.fortran && extents.iter().product::<usize>() * number.bytes() > MAX_SCATTERED {
            let advice = "write it again with np.ascontiguousarray(pictures), which a part of can be read";
            return Err(refusal(path, format!("{pictures} is in Fortran order, and larger than 1 GiB"), advice));
        }
        let mut converted = Vec::new();
        converted.extend((axes[0] == 1).then(|| "it is N×C×H×W".to_owned()));
        converted.extend(layout.fortran.then(|| "it is in Fortran order".to_owned()));
        converted.extend(number.conversion().map(|to| format!("{descr} is read as {to}")));
        let mut notes = Vec::new();
        if key != pictures {
            notes.push(format!(
                "note: {} holds its pictures as floats too ({key}), which are taken instead of the 8-bit levels of arr_0",
                file_name(path)
            ));
            converted.clear();
        }
        let counts = |seeds: Labels| seeds.list.iter().enumerate().all(|(place, seed)| *seed == place);
        let seeds = if is_ours { entry(&mut archive, path, SEEDS)? } else { None };
        let are_counted = seeds.map(|seeds| array::labels(BufReader::new(seeds), n as usize).is_ok_and(counts));
        let starts = (are_counted == Some(false)).then(|| {
            format!(
                "note: the seeds in {} are not taken over: its pictures are counted from 0, and random starts follow that",
                file_name(path)
            )
        });
        notes.extend(starts.clone());
        if !converted.is_empty() {
            notes.push(format!("note: {pictures} of {} is converted: {}", file_name(path), converted.join(", ")));
        }
        let labels = read_labels(&mut archive, (path, labels), n as usize, &mut notes)?;
        let classes = labels.as_ref().and_then(|labels| labels.columns);
        let labels = labels.map(|labels| labels.list);
        let names = read_names(&mut archive, path)?;
        let (shape, has_levels) = (axes.map(|axis| extents[axis]), key != pictures);
        Ok(Self {
            path: path.to_owned(),
            key,
            has_levels,
            count: n as usize,
            shape,
            layout,
            labels,
            classes,
            names,
            notes,
            starts,
        })
    }

    /// Reads the pictures at `range`, `batch` at a time, and calls `each` with them until it returns false. Returns what is
    /// to be said of them.
    pub(super) fn for_each_batch<E: From<PictureError>>(
        &self,
        range: Range<usize>,
        batch: usize,
        each: &mut dyn FnMut(Batch) -> Result<bool, E>,
    ) -> Result<Vec<String>, E> {
        let pictures = self.key;
        let broken = |source| broken(&self.path, pictures, source);
        let mut archive = unzip(&self.path)?;
        let entry = entry(&mut archive, &self.path, pictures)?;
        let mut entry = entry.ok_or_else(|| refusal(&self.path, format!("it has no {pictures}"), ABOUT_PICTURES))?;
        array::read_header(&mut entry).map_err(broken)?;
        let scattered = if self.layout.fortran { Some(self.bytes(&mut entry, self.count)?) } else { None };
        if scattered.is_none() {
            let before = range.start as u64 * self.sample_bytes() as u64;
            std::io::copy(&mut entry.by_ref().take(before), &mut std::io::sink()).map_err(broken)?;
        }
        let mut zip = if self.has_levels { Some(unzip(&self.path)?) } else { None };
        let mut levels = zip.as_mut().map(|zip| Levels::open(self, zip, range.start)).transpose()?;
        let [_, height, width] = self.shape;
        let (name, native) = (file_name(&self.path), [width as u32, height as u32]);
        let fit = Fit { from: native, kept: native, to: native, flattened: false };
        let (mut cut, mut largest) = (0, 0.0);
        for first in range.clone().step_by(batch) {
            let end = (first + batch).min(range.end);
            let images = match &scattered {
                Some(bytes) => self.pictures(bytes, first..end, 0, &mut cut)?,
                None => self.pictures(&self.bytes(&mut entry, end - first)?, 0..end - first, first, &mut cut)?,
            };
            levels.as_mut().map_or(Ok(()), |levels| levels.compare(&images, first))?;
            largest = images.pixels().iter().copied().fold(largest, f32::max);
            if end == self.count || scattered.is_some() {
                // The end is where the checksum is compared.
                std::io::copy(&mut entry.by_ref().take(1), &mut std::io::sink()).map_err(broken)?;
            }
            let names: Vec<String> = (first..end).map(|place| format!("{name} #{place}")).collect();
            let fits = names.iter().map(|name| format!("{name}: {fit}")).collect();
            if !each(Batch { first, images, names, labels: None, fits })? {
                break;
            }
        }
        let note =
            || format!("note: {cut} values of {name} were outside of [0,1] by less than {TOLERANCE} and were cut");
        // Masks, and what was in [0,1] before it became integers, look black.
        let level = (largest * 255.0).round();
        let is_faint = self.layout.number.is_level() && (1.0..=FAINT).contains(&level);
        let faint = || {
            format!(
                "warning: the largest level of {name} is {level} of 255: were these meant to be in [0,1]? Then x * 255 is to be saved"
            )
        };
        Ok((cut > 0).then(note).into_iter().chain(is_faint.then(faint)).collect())
    }

    const fn sample_bytes(&self) -> usize {
        self.shape[0] * self.shape[1] * self.shape[2] * self.layout.number.bytes()
    }

    /// The bytes of the next `n` pictures.
    fn bytes(&self, input: &mut impl Read, n: usize) -> Result<Vec<u8>, PictureError> {
        let expected = n * self.sample_bytes();
        // Grows with what is really there: the header may lie.
        let mut bytes = Vec::new();
        let read = input.take(expected as u64).read_to_end(&mut bytes);
        read.map_err(|source| broken(&self.path, self.key, source))?;
        if bytes.len() == expected {
            return Ok(bytes);
        }
        Err(refusal(&self.path, format!("it ends before its {} pictures do", self.count), DAMAGED))
    }

    /// The pictures at `places` of what was read, which begins with picture `from`; counts the values that were cut.
    fn pictures(
        &self,
        bytes: &[u8],
        places: Range<usize>,
        from: usize,
        cut: &mut usize,
    ) -> Result<ImageBatch, PictureError> {
        let Layout { number, extents: [n, a, b, c], axes, fortran } = self.layout;
        let strides = if fortran { [1, n, n * a, n * a * b] } else { [a * b * c, b * c, c, 1] };
        let [channels, height, width] = self.shape;
        let [channel_step, row_step, column_step] = axes.map(|axis| strides[axis]);
        let size = number.bytes();
        let mut pixels = Vec::with_capacity(places.len() * channels * height * width);
        for place in places.clone() {
            for channel in 0..channels {
                for row in 0..height {
                    let start = place * strides[0] + channel * channel_step + row * row_step;
                    for column in 0..width {
                        let at = (start + column * column_step) * size;
                        pixels.push(number.colour(&bytes[at..at + size]));
                    }
                }
            }
        }
        let values = channels * height * width;
        for (picture, own) in pixels.chunks_exact(values).enumerate() {
            let count = own.iter().filter(|value| !value.is_finite()).count();
            if count > 0 {
                let picture = from + places.start + picture;
                let what =
                    format!("picture {picture} of {} has {} of NaN or infinity", self.key, counted(count, "value"));
                return Err(refusal(&self.path, what, ABOUT_NAN));
            }
        }
        for value in &mut pixels {
            if (0.0..=1.0).contains(value) {
                continue;
            }
            if !(-TOLERANCE..=1.0 + TOLERANCE).contains(value) {
                return Err(self.out_of_range(*value));
            }
            *cut += 1;
            *value = value.clamp(0.0, 1.0);
        }
        Ok(ImageBatch::new([places.len(), channels, height, width], pixels))
    }

    fn out_of_range(&self, value: f32) -> PictureError {
        let pictures = self.key;
        if self.layout.number.is_level() {
            let what = format!("{pictures} holds {}, which is no level from 0 to 255", (value * 255.0).round());
            return refusal(&self.path, what, ABOUT_PICTURES);
        }
        let turn = if value > 1.0 { "x / 255 turns [0,255] into it" } else { "(x + 1) / 2 turns [-1,1] into it" };
        refusal(&self.path, format!("{pictures} holds {value}, which is outside of [0,1]: {turn}"), ABOUT_PICTURES)
    }
}

/// Whether an archive has an array of that name.
fn holds(archive: &ZipArchive<BufReader<File>>, name: &str) -> bool {
    archive.index_for_name(&format!("{name}.npy")).is_some()
}

/// Whether an array can be what levels, `[N, H, W, C]`, were rounded from.
fn are_floats_of(floats: &NpyHeader, levels: &NpyHeader) -> bool {
    let &[n, height, width, channels] = levels.shape() else { return false };
    let is_single = Number::of(&floats.dtype()).is_some_and(Number::is_single);
    // What is no level of 8 bits is none of ours, and means itself.
    let is_plain = Number::of(&levels.dtype()).is_some_and(|number| number.is_level() && number.conversion().is_none());
    is_single
        && is_plain
        && [floats, levels].iter().all(|array| array.order() == Order::C)
        && floats.shape() == [n, channels, height, width]
}

fn refusal(path: &Path, what: String, advice: &'static str) -> PictureError {
    PictureError::Archive { path: path.to_owned(), what, advice, source: None }
}

fn broken(path: &Path, what: &str, source: std::io::Error) -> PictureError {
    let what = format!("{what} cannot be read");
    PictureError::Archive { path: path.to_owned(), what, advice: DAMAGED, source: Some(source) }
}

fn unzip(path: &Path) -> Result<ZipArchive<BufReader<File>>, PictureError> {
    let file = File::open(path).map_err(|source| PictureError::Unreadable { path: path.to_owned(), source })?;
    ZipArchive::new(BufReader::new(file)).map_err(|error| broken(path, "its list of arrays", error.into()))
}

/// An entry; `None` when it is not there.
fn entry<'a>(
    archive: &'a mut ZipArchive<BufReader<File>>,
    path: &Path,
    name: &str,
) -> Result<Option<ZipFile<'a, BufReader<File>>>, PictureError> {
    match archive.by_name(&format!("{name}.npy")) {
        Ok(entry) => Ok(Some(entry)),
        Err(ZipError::FileNotFound) => Ok(None),
        Err(error @ (ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_))) => {
            let what = format!("{name} is packed in a way that is not read");
            Err(PictureError::Archive { path: path.to_owned(), what, advice: PACKED, source: Some(error.into()) })
        }
        Err(error) => Err(broken(path, name, error.into())),
    }
}

/// What an archive holds instead of pictures.
fn without_pictures(archive: &ZipArchive<BufReader<File>>, path: &Path, pictures: &str) -> PictureError {
    let names: Vec<String> =
        archive.file_names().flatten().map(|name| name.trim_end_matches(".npy").to_owned()).collect();
    let listed = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
    let there = if names.is_empty() { "nothing".to_owned() } else { format!("{listed}{more}") };
    refusal(path, format!("it has {there}, but no {pictures}"), ABOUT_PICTURES)
}

/// The class of every picture; `None` when the archive does not say.
fn read_labels(
    archive: &mut ZipArchive<BufReader<File>>,
    (path, key): (&Path, &str),
    count: usize,
    notes: &mut Vec<String>,
) -> Result<Option<Labels>, PictureError> {
    let Some(entry) = entry(archive, path, key)? else { return Ok(None) };
    let labels = array::labels(BufReader::new(entry), count).map_err(|fault| match fault {
        LabelFault::Unreadable(source) => broken(path, key, source),
        LabelFault::Odd(what) => refusal(path, format!("{key} {what}"), ABOUT_LABELS),
    })?;
    let note = |from| format!("note: {key} of {} is read as class numbers: {from}", file_name(path));
    notes.extend(labels.converted.as_ref().map(note));
    Ok(Some(labels))
}

#[cfg(test)]
mod tests;
