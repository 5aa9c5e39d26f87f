//! NumPy archives, `np.load`-able, with the keys of guided-diffusion (`arr_0`: pictures, `arr_1`: labels) and the floats.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use npyz::{NpyFile, NpyHeader, WriterBuilder as _};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::{ExportError, Exporter, Out, Results, durably};
use crate::file::Sha256;
use crate::generator::EditTask;
use crate::image::{ImageBatch, Levels};
use crate::origins::Origins;

/// What the classes are called: to a model that counts them otherwise the numbers are other classes.
const CLASSES: &str = "class_names";
/// From this size on an entry needs 64-bit fields; a little below 4 GiB, because headers count too.
const LARGE_ENTRY: u64 = (1 << 32) - (1 << 16);

/// A refined batch.
///
/// | key | type | shape | content |
/// |---|---|---|---|
/// | `arr_0` | uint8 | `[N, H, W, C]` | after, rounded or truncated |
/// | `arr_1` | int64 | `[N]` | target classes |
/// | `class_names` | unicode | `[K]` | what the classes are called |
/// | `before`, `after` | float32 | `[N, C, H, W]` | in `[0, 1]` |
/// | `logits_before` | float32 | `[N, K]` | the classifier's; none where another one judged the pictures before |
/// | `logits_after` | float32 | `[N, K]` | the classifier's |
/// | `seeds` | uint64 | `[N]` | |
pub const REFINED: Exporter = Exporter { files: "result.npz", write: write_refined };

/// A generated batch: `arr_0`, `arr_1`, `class_names`, `images` (float32) and `seeds`, as in [`REFINED`]. Edited pictures have `reference`
/// (float32, what each was edited from) and perhaps `mask` (uint8, `[H, W]`, 1 where pixels were generated) as well. Frames between two
/// seeds have no `seeds`: none is of one.
pub const GENERATED: Exporter = Exporter {
    files: "samples.npz",
    write: |folder, results| write_generated(&folder.join(GENERATED.files), results.origins, are_frames(results)),
};

fn write_refined(folder: &Path, results: &Results<'_>) -> Result<(), ExportError> {
    let Some(refined) = &results.refined else { return Ok(()) };
    archive(&folder.join(REFINED.files), |archive| {
        let origins = results.origins;
        guided_diffusion(archive, refined.after, refined.levels, Some((results.targets(), refined.classes)))?;
        pictures(archive, "before", &origins.images)?;
        pictures(archive, "after", refined.after)?;
        for (name, logits) in [("logits_before", refined.logits_before), ("logits_after", refined.logits_after)] {
            if logits.is_empty() {
                continue;
            }
            let n = origins.labels.len();
            array(archive, name, &[n, logits.len() / n.max(1)], logits.iter().copied())?;
        }
        array(archive, "seeds", &[origins.seeds.len()], origins.seeds.iter().copied())
    })
}

fn write_generated(path: &Path, origins: &Origins, are_frames: bool) -> Result<(), ExportError> {
    archive(path, |archive| if are_frames { without_seeds(archive, origins) } else { generated(archive, origins) })
}

/// Whether the noise of every picture lies between that of two seeds.
fn are_frames(results: &Results<'_>) -> bool {
    results.document.edited.as_ref().is_some_and(|edited| edited.task == EditTask::Interpolate)
}

/// The arrays of [`GENERATED`], in their order.
pub(super) fn generated<W: Write + Seek>(archive: &mut ZipWriter<W>, origins: &Origins) -> std::io::Result<()> {
    without_seeds(archive, origins)?;
    array(archive, "seeds", &[origins.seeds.len()], origins.seeds.iter().copied())
}

fn without_seeds<W: Write + Seek>(archive: &mut ZipWriter<W>, origins: &Origins) -> std::io::Result<()> {
    // An empty list means that the labels of the pictures mean nothing.
    let labels = match origins.classes.as_deref() {
        Some([]) => None,
        names => Some((&origins.labels[..], names.unwrap_or_default())),
    };
    guided_diffusion(archive, &origins.images, Levels::Rounded, labels)?;
    pictures(archive, "images", &origins.images)?;
    if let Some(edited) = &origins.edited {
        pictures(archive, "reference", &edited.reference)?;
        if let Some(mask) = &edited.mask {
            let shape = [mask.height() as usize, mask.width() as usize];
            array(archive, "mask", &shape, mask.missing().iter().map(|missing| u8::from(*missing)))?;
        }
    }
    Ok(())
}

/// An array of many archives.
#[derive(Debug, Clone, Copy)]
pub(super) enum Join {
    /// One after the other.
    Each(&'static str),
    /// The same in all of them.
    Same(&'static str),
}

/// Those of a long refinement.
pub(super) const OF_REFINED: [Join; 3] = [Join::Each("arr_0"), Join::Each("arr_1"), Join::Same(CLASSES)];

/// The arrays of [`GENERATED`], in their order.
pub(super) const OF_GENERATED: [Join; 7] = [
    Join::Each("arr_0"),
    Join::Each("arr_1"),
    Join::Same(CLASSES),
    Join::Each("images"),
    Join::Each("reference"),
    Join::Same("mask"),
    Join::Each("seeds"),
];

/// Writes one archive of many, with those of the arrays that they have; needs the memory of none of them.
///
/// # Errors
/// [`ExportError::Write`], also when one cannot be read.
pub(super) fn join(path: &Path, parts: &[PathBuf], arrays: &[Join]) -> Result<(), ExportError> {
    archive(path, |archive| arrays.iter().try_for_each(|join| join_array(archive, parts, *join)))
}

fn join_array<W: Write + Seek>(archive: &mut ZipWriter<W>, parts: &[PathBuf], join: Join) -> std::io::Result<()> {
    let (name, parts) = match join {
        Join::Each(name) => (name, parts),
        Join::Same(name) => (name, &parts[..parts.len().min(1)]),
    };
    let mut all: Option<NpyHeader> = None;
    let mut count = 0;
    for part in parts {
        let Some(header) = with_entry(part, name, |entry| NpyHeader::from_reader(entry))? else { return Ok(()) };
        count += header.shape().first().copied().unwrap_or(0);
        all.get_or_insert(header);
    }
    let Some(header) = all else { return Ok(()) };
    let mut shape = header.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = count;
    }
    let bytes = shape.iter().product::<u64>() * header.dtype().num_bytes().unwrap_or(1) as u64;
    begin_array(archive, name, bytes)?;
    let options = npyz::WriteOptions::new_header_only().dtype(header.dtype()).shape(&shape);
    let out = options.writer(archive).write_header_only()?;
    let mut copied = 0;
    for part in parts {
        let copy = |entry: &mut dyn std::io::Read| {
            NpyHeader::from_reader(&mut *entry)?;
            std::io::copy(entry, out)
        };
        copied += with_entry(part, name, copy)?.unwrap_or(0);
    }
    if copied == bytes { Ok(()) } else { Err(std::io::Error::other("the pictures were not kept whole")) }
}

/// Shape and values of an array.
pub(super) type Array<T> = (Vec<usize>, Vec<T>);

/// One array of an archive; `None` when it has none of this name.
pub(super) fn read<T: npyz::Deserialize>(path: &Path, name: &str) -> std::io::Result<Option<Array<T>>> {
    with_entry(path, name, |entry| {
        let file = NpyFile::new(&mut *entry)?;
        let shape = file.shape().iter().map(|extent| *extent as usize).collect();
        let values = file.into_vec()?;
        // The checksum is compared at the very end.
        std::io::copy(entry, &mut std::io::sink())?;
        Ok((shape, values))
    })
}

/// Digits of a seal.
const SEAL: u64 = 64;

/// Makes sure that an archive is as [`sealed`] wrote it with the same `key`, to the last byte.
///
/// # Errors
/// Whatever keeps it from being read, also that it is not.
pub(super) fn check(path: &Path, key: &str) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let other = || std::io::Error::other("the archive is not as it was written");
    let bytes = file.metadata()?.len().checked_sub(SEAL + 2).ok_or_else(other)?;
    let seal = seal(&mut file, bytes, key)?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    if found == comment(&seal) { Ok(()) } else { Err(other()) }
}

/// SHA-256 of a key and of so many bytes of an archive.
fn seal(archive: &mut File, bytes: u64, key: &str) -> std::io::Result<String> {
    let mut hash = Sha256::default();
    hash.take(key.as_bytes(), &mut |_| true)?;
    hash.take(archive.take(bytes), &mut |_| true)?;
    Ok(hash.digits())
}

/// The end of an archive with this comment.
fn comment(seal: &str) -> Vec<u8> {
    [&(SEAL as u16).to_le_bytes()[..], seal.as_bytes()].concat()
}

fn with_entry<T>(
    path: &Path,
    name: &str,
    read: impl FnOnce(&mut dyn std::io::Read) -> std::io::Result<T>,
) -> std::io::Result<Option<T>> {
    let mut archive = ZipArchive::new(BufReader::new(File::open(path)?)).map_err(std::io::Error::other)?;
    match archive.by_name(&format!("{name}.npy")) {
        Ok(mut entry) => read(&mut entry).map(Some),
        Err(ZipError::FileNotFound) => Ok(None),
        Err(error) => Err(std::io::Error::other(error)),
    }
}

/// What a zip archive is written to. After its first failure, which it tells, it takes everything: an archive that is given up
/// is finished all the same, and would tell a second one to whoever reads the errors.
pub(super) struct Once<W> {
    inner: W,
    failed: bool,
}

impl<W: Write> Write for Once<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.failed {
            return Ok(bytes.len());
        }
        let written = self.inner.write(bytes);
        self.failed = written.as_ref().is_err_and(|error| error.kind() != std::io::ErrorKind::Interrupted);
        written
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.failed {
            return Ok(());
        }
        self.inner.flush().inspect_err(|_| self.failed = true)
    }
}

impl<W: Seek> Seek for Once<W> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        if self.failed {
            return Ok(0);
        }
        self.inner.seek(to).inspect_err(|_| self.failed = true)
    }
}

/// Writes an archive that `fill` fills.
///
/// # Errors
/// [`ExportError::Write`]
pub(super) fn archive(
    path: &Path,
    fill: impl FnOnce(&mut ZipWriter<Once<&mut Out<'_>>>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    durably(path, |out| write_archive(out, fill))
}

/// Likewise, one that says for whom and how it was written: its comment is the SHA-256 of a `key` and of all that stands before
/// it. Whoever changes an archive with another program loses it.
///
/// # Errors
/// As [`archive`].
pub(super) fn sealed(
    path: &Path,
    key: &str,
    fill: impl FnOnce(&mut ZipWriter<Once<&mut Out<'_>>>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    durably(path, |out| {
        write_archive(out, fill)?;
        out.flush()?;
        let file = &mut **out.get_mut();
        // The last two bytes are the length of a comment, which there is none of yet.
        let end = file.seek(SeekFrom::End(-2))?;
        file.rewind()?;
        let seal = seal(file, end, key)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(&comment(&seal))
    })
}

fn write_archive(
    out: &mut Out<'_>,
    fill: impl FnOnce(&mut ZipWriter<Once<&mut Out<'_>>>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut archive = ZipWriter::new(Once { inner: out, failed: false });
    if let Err(error) = fill(&mut archive) {
        // Dropped, it would try to end the archive, and write on stderr that it cannot.
        std::mem::forget(archive);
        return Err(error);
    }
    archive.finish().map(drop).map_err(std::io::Error::other)
}

pub(super) fn guided_diffusion<W: Write + Seek>(
    archive: &mut ZipWriter<W>,
    images: &ImageBatch,
    levels: Levels,
    labels: Option<(&[usize], &[String])>,
) -> std::io::Result<()> {
    let [n, channels, height, width] = images.shape();
    array(archive, "arr_0", &[n, height, width, channels], (0..n).flat_map(|index| levels.all(images, index)))?;
    let Some((labels, classes)) = labels else { return Ok(()) };
    array(archive, "arr_1", &[labels.len()], labels.iter().map(|label| *label as i64))?;
    if classes.is_empty() { Ok(()) } else { texts(archive, CLASSES, classes) }
}

/// Texts as NumPy holds them: as many characters of four bytes as the longest has.
pub(super) fn texts<W: Write + Seek>(archive: &mut ZipWriter<W>, name: &str, texts: &[String]) -> std::io::Result<()> {
    let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
    begin_array(archive, name, 4 * (longest * texts.len()) as u64)?;
    let kind = format!("<U{longest}").parse().map_err(std::io::Error::other)?;
    let options = npyz::WriteOptions::new_header_only().dtype(npyz::DType::Plain(kind)).shape(&[texts.len() as u64]);
    let out = options.writer(archive).write_header_only()?;
    for text in texts {
        let padded = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(longest);
        out.write_all(&padded.flat_map(u32::to_le_bytes).collect::<Vec<_>>())?;
    }
    Ok(())
}

pub(super) fn pictures<W: Write + Seek>(
    archive: &mut ZipWriter<W>,
    name: &str,
    images: &ImageBatch,
) -> std::io::Result<()> {
    array(archive, name, &images.shape(), images.pixels().iter().copied())
}

pub(super) fn array<W: Write + Seek, T: npyz::AutoSerialize>(
    archive: &mut ZipWriter<W>,
    name: &str,
    shape: &[usize],
    values: impl Iterator<Item = T>,
) -> std::io::Result<()> {
    begin_array(archive, name, shape.iter().product::<usize>() as u64 * size_of::<T>() as u64)?;
    let shape: Vec<u64> = shape.iter().map(|extent| *extent as u64).collect();
    // Values arrive one by one; unbuffered, each would pass through the checksum alone.
    let mut out = BufWriter::with_capacity(1 << 16, archive);
    let mut writer = npyz::WriteOptions::<T>::new().default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    out.flush()
}

/// Begins an entry of `bytes` bytes, its header not counted.
fn begin_array<W: Write + Seek>(archive: &mut ZipWriter<W>, name: &str, bytes: u64) -> std::io::Result<()> {
    // Stored, as np.savez does: floats hardly shrink. The fixed time keeps equal results equal, byte for byte.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .large_file(bytes >= LARGE_ENTRY);
    archive.start_file(format!("{name}.npy"), options).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_batch_reads_back_and_is_the_same_twice() {
        let folder = tempfile::tempdir().unwrap();
        let origins = Origins {
            images: ImageBatch::new([2, 1, 1, 2], vec![0.0, 0.25, 0.5, 1.0]),
            labels: vec![3, 1],
            classes: Some(["stop", "süd", "c", "d"].map(str::to_owned).to_vec()),
            seeds: vec![17, 18],
            names: Vec::new(),
            made_by: None,
            edited: None,
        };
        let (a, b) = (folder.path().join("a.npz"), folder.path().join("b.npz"));
        write_generated(&a, &origins, false).unwrap();
        write_generated(&b, &origins, false).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        let mut archive = zip::ZipArchive::new(File::open(&a).unwrap()).unwrap();
        let levels = npyz::NpyFile::new(archive.by_name("arr_0.npy").unwrap()).unwrap();
        assert_eq!(levels.shape(), [2, 1, 2, 1]);
        assert_eq!(levels.into_vec::<u8>().unwrap(), [0, 64, 128, 255]);
        let labels = npyz::NpyFile::new(archive.by_name("arr_1.npy").unwrap()).unwrap();
        assert_eq!(labels.into_vec::<i64>().unwrap(), [3, 1]);
        let images = npyz::NpyFile::new(archive.by_name("images.npy").unwrap()).unwrap();
        assert_eq!(images.into_vec::<f32>().unwrap(), origins.images.pixels());
        // The same from two halves.
        let half = |i: usize| Origins {
            images: origins.images.slice(i, i + 1),
            labels: vec![origins.labels[i]],
            seeds: vec![origins.seeds[i]],
            ..origins.clone()
        };
        let parts = [0, 1].map(|i| folder.path().join(format!("{i}.npz")));
        for (i, part) in parts.iter().enumerate() {
            write_generated(part, &half(i), false).unwrap();
        }
        join(&b, &parts, &OF_GENERATED).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap(), "byte by byte");
        assert_eq!(read::<u64>(&b, "seeds").unwrap(), Some((vec![2], vec![17, 18])));
        assert_eq!(read::<u64>(&b, "mask").unwrap(), None);
        assert_eq!(read::<String>(&b, CLASSES).unwrap(), Some((vec![4], origins.classes.unwrap())));
    }

    #[test]
    fn a_full_disk_is_told_once() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
        }
        impl Seek for Full {
            fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
                Ok(0)
            }
        }
        let mut out = Once { inner: Full, failed: false };
        assert_eq!(out.write(b"a").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        let mut archive = ZipWriter::new(out);
        archive.start_file("a", SimpleFileOptions::default()).unwrap();
        assert!(archive.finish().is_ok(), "nothing is told to the errors when it is given up");
    }
}
