//! Values of a PyTorch zip that lie in it as they are, read straight into their place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pytorch_reader::{DType, PytorchReader};
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive, ZipReadOptions};

use super::places::{Place, places};

/// Longest pickle that is looked into; larger ones hold much besides tensors.
const MAX_PICKLE_BYTES: u64 = 4 << 20;
/// Values that are read at a time, so that their checksum is taken while they are near.
const BLOCK: usize = 1 << 18;
/// Bytes of a value.
const SIZE: u64 = size_of::<f32>() as u64;

/// A PyTorch zip whose values may be read without its reader.
///
/// Whatever is odd about the archive, an entry or a tensor is left to the reader, which reads it or says what is wrong.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// Locked while a tensor is read: it shares the position in the file.
    zip: Mutex<Zip>,
    /// What stands before the names of its entries.
    folder: String,
    places: BTreeMap<String, Place>,
    /// Length of the file.
    bytes: u64,
    /// Bytes of its storages when they are unpacked.
    pub(super) unpacked: u64,
}

type Zip = ZipArchive<BufReader<File>>;

impl Direct {
    /// Looks for the tensors of an archive whose directory lies where it says that it lies.
    pub(super) fn of(file: File) -> Option<Self> {
        let bytes = file.metadata().ok()?.len();
        // Not looked for anywhere else: that takes as long as reading the file.
        let there = Config { archive_offset: ArchiveOffset::Known(0) };
        let mut zip = ZipArchive::with_config(there, BufReader::new(file.try_clone().ok()?)).ok()?;
        let (index, folder) = the_pickle(&zip)?;
        let entry = zip.by_index_with_options(index, ZipReadOptions::new().ignore_crc32(true)).ok()?;
        if entry.size() > MAX_PICKLE_BYTES {
            return None;
        }
        let mut pickle = Vec::new();
        entry.take(MAX_PICKLE_BYTES).read_to_end(&mut pickle).ok()?;
        let places = places(&pickle)?;
        let unpacked = unpacked(&mut zip, &format!("{folder}data/"))?;
        Some(Self { file, zip: Mutex::new(zip), folder, places, bytes, unpacked })
    }

    /// PyTorch's reader of a copy without the storages, for names and shapes: it searches what it opens for a directory from
    /// end to end. `None` where it would have to read a floating-point tensor of this file.
    pub(super) fn names(&self) -> Option<PytorchReader> {
        let mut zip = self.lock();
        let mut copy = zip::ZipWriter::new(tempfile::NamedTempFile::new().ok()?);
        for name in ["data.pkl", "byteorder"] {
            if let Some(index) = zip.index_for_name(&format!("{}{name}", self.folder)) {
                copy.raw_copy_file(zip.by_index_raw(index).ok()?).ok()?;
            }
        }
        let reader = PytorchReader::new(copy.finish().ok()?.path()).ok()?;
        let mut is_known = |(name, tensor): (&String, &pytorch_reader::Tensor)| match tensor.dtype() {
            DType::F32 => self.find(&mut zip, name, tensor.shape()).is_some(),
            DType::F64 | DType::F16 | DType::BF16 => false,
            _ => true,
        };
        reader.tensors().iter().all(&mut is_known).then_some(reader)
    }

    /// The values of an `f32` tensor, row-major; the checksum of its storage is compared when it is all of it.
    ///
    /// `None` where they are packed, not contiguous, damaged, or not to be had for any other reason.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let mut zip = self.lock();
        let Found { start, elements, checksum } = self.find(&mut zip, name, shape)?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut values = vec![0.0_f32; elements];
        let mut found = crc32fast::Hasher::new();
        for block in values.chunks_mut(BLOCK) {
            file.read_exact(bytemuck::cast_slice_mut(block)).ok()?;
            if checksum.is_some() {
                found.update(bytemuck::cast_slice(block));
            }
            if cfg!(target_endian = "big") {
                for value in block {
                    *value = f32::from_bits(u32::from_le(value.to_bits()));
                }
            }
        }
        checksum.is_none_or(|checksum| checksum == found.finalize()).then_some(values)
    }

    fn lock(&self) -> MutexGuard<'_, Zip> {
        self.zip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, zip: &mut Zip, name: &str, shape: &[usize]) -> Option<Found> {
        let place = self.places.get(name).filter(|place| place.shape == shape)?;
        let elements = shape.iter().try_fold(1, |product: usize, extent| product.checked_mul(*extent))?;
        let index = zip.index_for_name(&format!("{}data/{}", self.folder, place.storage))?;
        let entry = zip.by_index_raw(index).ok()?;
        let as_is = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
        let size = entry.size();
        let skipped = (place.first as u64).checked_mul(SIZE)?;
        let length = (elements as u64).checked_mul(SIZE)?;
        let start = entry.data_start()?.checked_add(skipped)?;
        let fits = skipped.checked_add(length)? <= size && start.checked_add(length)? <= self.bytes;
        let checksum = (length == size).then(|| entry.crc32()).filter(|checksum| *checksum != 0);
        (as_is && entry.compressed_size() == size && fits).then_some(Found { start, elements, checksum })
    }
}

/// Where a tensor is in a file.
struct Found {
    /// Its first byte.
    start: u64,
    elements: usize,
    /// Of its bytes, if it is known: a tensor may be a part of a storage, and `torch.save` writes 0 where it did not compute one.
    checksum: Option<u32>,
}

/// Bytes of the storages, whose names begin with `folder`; `None` where one is not where the directory says.
fn unpacked(zip: &mut Zip, folder: &str) -> Option<u64> {
    let is_storage = |name: &str| name.starts_with(folder) && !name.ends_with('/');
    let mut sum: u64 = 0;
    for index in 0..zip.len() {
        if is_storage(&zip.name_for_index(index)?.ok()?) {
            sum = sum.saturating_add(zip.by_index_raw(index).ok()?.size());
        }
    }
    Some(sum)
}

/// The only pickle of an archive, and the folder in it that it lies in.
fn the_pickle(zip: &Zip) -> Option<(usize, String)> {
    let names: Vec<_> = zip.file_names().collect::<Result<_, _>>().ok()?;
    let mut folders = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
    let (folder, None) = (folders.next()?, folders.next()) else { return None };
    let index = zip.index_for_name(&format!("{folder}data.pkl"))?;
    (folder.is_empty() || folder.ends_with('/')).then(|| (index, folder.to_owned()))
}

#[cfg(test)]
mod tests;
