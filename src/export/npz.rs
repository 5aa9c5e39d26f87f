//! NumPy archives, `np.load`-able, with the keys of guided-diffusion (`arr_0`: pictures, `arr_1`: labels) and the floats.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use npyz::WriterBuilder as _;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{ExportError, Exporter, Results, atomically};
use crate::image::{ImageBatch, Levels};
use crate::origins::Origins;

/// From this size on an entry needs 64-bit fields; a little below 4 GiB, because headers count too.
const LARGE_ENTRY: u64 = (1 << 32) - (1 << 16);

/// A refined batch.
///
/// | key | type | shape | content |
/// |---|---|---|---|
/// | `arr_0` | uint8 | `[N, H, W, C]` | after, rounded or truncated |
/// | `arr_1` | int64 | `[N]` | target classes |
/// | `before`, `after` | float32 | `[N, C, H, W]` | in `[0, 1]` |
/// | `logits_before`, `logits_after` | float32 | `[N, K]` | the classifier's |
/// | `seeds` | uint64 | `[N]` | |
pub const REFINED: Exporter = Exporter { files: "result.npz", write: write_refined };

/// A generated batch: `arr_0`, `arr_1`, `images` (float32) and `seeds`, as in [`REFINED`]. Edited pictures have `reference`
/// (float32, what each was edited from) and perhaps `mask` (uint8, `[H, W]`, 1 where pixels were generated) as well.
pub const GENERATED: Exporter = Exporter {
    files: "samples.npz",
    write: |folder, results| write_generated(&folder.join(GENERATED.files), results.origins),
};

fn write_refined(folder: &Path, results: &Results<'_>) -> Result<(), ExportError> {
    let Some(refined) = &results.refined else { return Ok(()) };
    archive(&folder.join(REFINED.files), |archive| {
        let origins = results.origins;
        guided_diffusion(archive, refined.after, refined.levels, results.targets())?;
        pictures(archive, "before", &origins.images)?;
        pictures(archive, "after", refined.after)?;
        for (name, logits) in [("logits_before", refined.logits_before), ("logits_after", refined.logits_after)] {
            let n = origins.labels.len();
            array(archive, name, &[n, logits.len() / n.max(1)], logits.iter().copied())?;
        }
        array(archive, "seeds", &[origins.seeds.len()], origins.seeds.iter().copied())
    })
}

fn write_generated(path: &Path, origins: &Origins) -> Result<(), ExportError> {
    archive(path, |archive| {
        guided_diffusion(archive, &origins.images, Levels::Rounded, &origins.labels)?;
        pictures(archive, "images", &origins.images)?;
        if let Some(edited) = &origins.edited {
            pictures(archive, "reference", &edited.reference)?;
            if let Some(mask) = &edited.mask {
                let shape = [mask.height() as usize, mask.width() as usize];
                array(archive, "mask", &shape, mask.missing().iter().map(|missing| u8::from(*missing)))?;
            }
        }
        array(archive, "seeds", &[origins.seeds.len()], origins.seeds.iter().copied())
    })
}

/// Writes `arr_0` and `arr_1` as in [`REFINED`], of pictures whose levels come from a reader: `[N, H, W, C]`, row-major.
///
/// # Errors
/// [`ExportError::Write`], also when the reader fails or holds another number of levels.
pub fn write_streamed(
    path: &Path,
    shape: [usize; 4],
    levels: &mut impl Read,
    labels: &[usize],
) -> Result<(), ExportError> {
    archive(path, |archive| {
        let bytes = shape.iter().product::<usize>() as u64;
        begin_array(archive, "arr_0", bytes)?;
        let shape = shape.map(|extent| extent as u64);
        let options = npyz::WriteOptions::<u8>::new().default_dtype().shape(&shape);
        let out = options.writer(archive).write_header_only()?;
        if std::io::copy(levels, out)? != bytes {
            return Err(std::io::Error::other("the pictures were not kept whole"));
        }
        array(out, "arr_1", &[labels.len()], labels.iter().map(|label| *label as i64))
    })
}

/// The file that a zip archive is written to.
type Out<'a, 'f> = &'a mut BufWriter<&'f mut File>;

fn archive(
    path: &Path,
    fill: impl FnOnce(&mut ZipWriter<Out<'_, '_>>) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    atomically(path, |out| {
        let mut archive = ZipWriter::new(out);
        fill(&mut archive)?;
        archive.finish().map(drop).map_err(std::io::Error::other)
    })
}

fn guided_diffusion<W: Write + Seek>(
    archive: &mut ZipWriter<W>,
    images: &ImageBatch,
    levels: Levels,
    labels: &[usize],
) -> std::io::Result<()> {
    let [n, channels, height, width] = images.shape();
    array(archive, "arr_0", &[n, height, width, channels], (0..n).flat_map(|index| levels.all(images, index)))?;
    array(archive, "arr_1", &[labels.len()], labels.iter().map(|label| *label as i64))
}

fn pictures<W: Write + Seek>(archive: &mut ZipWriter<W>, name: &str, images: &ImageBatch) -> std::io::Result<()> {
    array(archive, name, &images.shape(), images.pixels().iter().copied())
}

fn array<W: Write + Seek, T: npyz::AutoSerialize>(
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
            classes: None,
            seeds: vec![17, 18],
            names: Vec::new(),
            made_by: None,
            edited: None,
        };
        let (a, b) = (folder.path().join("a.npz"), folder.path().join("b.npz"));
        write_generated(&a, &origins).unwrap();
        write_generated(&b, &origins).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        let mut archive = zip::ZipArchive::new(File::open(&a).unwrap()).unwrap();
        let levels = npyz::NpyFile::new(archive.by_name("arr_0.npy").unwrap()).unwrap();
        assert_eq!(levels.shape(), [2, 1, 2, 1]);
        assert_eq!(levels.into_vec::<u8>().unwrap(), [0, 64, 128, 255]);
        let labels = npyz::NpyFile::new(archive.by_name("arr_1.npy").unwrap()).unwrap();
        assert_eq!(labels.into_vec::<i64>().unwrap(), [3, 1]);
        let images = npyz::NpyFile::new(archive.by_name("images.npy").unwrap()).unwrap();
        assert_eq!(images.into_vec::<f32>().unwrap(), origins.images.pixels());
        // The same levels from a reader make the same arrays.
        let levels: Vec<u8> = (0..2).flat_map(|index| Levels::Rounded.all(&origins.images, index)).collect();
        let streamed = folder.path().join("streamed.npz");
        write_streamed(&streamed, [2, 1, 2, 1], &mut levels.as_slice(), &origins.labels).unwrap();
        let mut other = zip::ZipArchive::new(File::open(&streamed).unwrap()).unwrap();
        for name in ["arr_0.npy", "arr_1.npy"] {
            let [mut one, mut two] = [Vec::new(), Vec::new()];
            archive.by_name(name).unwrap().read_to_end(&mut one).unwrap();
            other.by_name(name).unwrap().read_to_end(&mut two).unwrap();
            assert_eq!(one, two, "{name}");
        }
        assert!(write_streamed(&streamed, [3, 1, 2, 1], &mut levels.as_slice(), &origins.labels).is_err());
    }
}
