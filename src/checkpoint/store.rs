//! Files of tensors as they lie on disk: names and shapes at once, values one tensor at a time.
//!
//! Which container a file is, its content decides. Nothing in it is executed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pytorch_reader::{FileFormat, PickleError, PytorchError, PytorchReader};
use serde::de::{Error as _, IgnoredAny};

use super::direct::Direct;
use super::pickle::with_plain_dictionaries;
use super::sniff::{MAX_HEADER_BYTES, contains, mentions};
use super::{CheckpointError, Container, Content, Element, TensorInfo, open_file, sniff};

/// Largest number of tensors that a file may declare.
const MAX_TENSORS: usize = 100_000;
/// Largest `data.pkl` of a PyTorch zip, whatever the archive. A tensor takes less than 200 bytes of it, and a byte of it up to
/// a hundred of memory; compressed, 100 kB of an archive may become 100 MB of it.
const MAX_PICKLE_BYTES: u64 = 4 << 20;
/// Likewise of one that is hardly packed, which the history of a training makes so large.
const MAX_UNPACKED_PICKLE_BYTES: u64 = 16 << 20;
/// How often what is packed may be found in what it unpacks to. Weights shrink to a half at most, pruned ones to a tenth.
const MAX_RATIO: u64 = 10;
/// Bytes of tensors that a packed file may have in any case: those of a small network whose values are all alike.
const SMALL: u64 = 64 << 20;
/// Longest file that is copied to make its dictionaries plain.
const MAX_COPIED: u64 = 2 << 30;
/// Where the magic number of torch's legacy container is looked for, and the number.
const LEGACY_HEAD: usize = 64;
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// What a pickle names that holds arrays of NumPy, of version 1 and 2.
const NUMPY: [&str; 2] = ["numpy.core.multiarray", "numpy._core.multiarray"];
/// What a pickle names that rebuilds objects from source code inside it.
const PERSISTENCE: [&str; 2] = ["torch_utils.persistence", "_reconstruct_persistent_obj"];

/// A file of tensors, opened.
#[derive(Debug)]
pub(super) struct Store {
    /// Which file it is, for errors.
    path: PathBuf,
    pub(super) container: Container,
    /// Length of the file.
    pub(super) bytes: u64,
    /// Bytes that its tensors may have: no more than the file, but for one that is packed.
    pub(super) most: u64,
    /// Names, shapes and types as stored; names of nested dictionaries are joined by dots.
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Safetensors {
        file: File,
        /// First byte and the byte behind the last.
        offsets: BTreeMap<String, (u64, u64)>,
    },
    Pytorch {
        /// Of the file; `None` where only its names had to be read.
        reader: Option<PytorchReader>,
        direct: Option<Direct>,
    },
    /// Several files, and which of them has a tensor.
    Parts(Vec<Store>, BTreeMap<String, usize>),
}

impl Store {
    /// Opens files that hold one network together.
    pub(super) fn open_parts(files: &[PathBuf]) -> Result<Self, CheckpointError> {
        let mut parts: Vec<Self> = files.iter().map(|file| Self::open(file)).collect::<Result<_, _>>()?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut whole = Self {
            path: files.first().cloned().unwrap_or_default(),
            container: parts.first().map_or(Container::Safetensors, |part| part.container),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            most: parts.iter().map(|part| part.most).sum(),
            tensors: BTreeMap::new(),
            values: Values::Parts(Vec::new(), BTreeMap::new()),
        };
        let mut places = BTreeMap::new();
        for (place, part) in parts.iter().enumerate() {
            whole.tensors.extend(part.tensors.clone());
            places.extend(part.tensors.keys().map(|name| (name.clone(), place)));
        }
        whole.values = Values::Parts(parts, places);
        Ok(whole)
    }

    /// Opens a `.safetensors` file or a PyTorch file (zip, legacy or tar).
    fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Read { path: path.to_owned(), source };
        let mut file = open_file(path)?;
        let mut head = Vec::new();
        file.by_ref().take(512).read_to_end(&mut head).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let store = match sniff(&head, bytes) {
            Content::Safetensors => open_safetensors(path, file, bytes)?,
            Content::Zip => {
                let again = file.try_clone().map_err(io)?;
                check_zip(path, file)?;
                open_pytorch(path, bytes, Direct::of(again))?
            }
            // Any other pickle has no place for the values of tensors, so it is not even parsed.
            Content::Pickle if !contains(&head[..head.len().min(LEGACY_HEAD)], &LEGACY_MAGIC) => {
                file.seek(SeekFrom::Start(0)).map_err(io)?;
                return Err(if mentions(&mut file, &PERSISTENCE).map_err(io)? {
                    CheckpointError::PersistentPickle { path: path.to_owned() }
                } else {
                    bare_pickle(path)
                });
            }
            Content::Pickle | Content::Tar => open_pytorch(path, bytes, None)?,
            other => return Err(CheckpointError::NotACheckpoint { path: path.to_owned(), found: other }),
        };
        let found = store.tensors.len();
        match found {
            0 if mentions(&mut open_file(path)?, &NUMPY).map_err(io)? => {
                Err(CheckpointError::NumpyArrays { path: path.to_owned() })
            }
            0 => Err(CheckpointError::NoTensors { path: path.to_owned() }),
            1..=MAX_TENSORS => Ok(store),
            _ => Err(CheckpointError::TooMany { path: path.to_owned(), found, limit: MAX_TENSORS }),
        }
    }

    /// Bytes that a tensor takes in the file, as far as its type is known.
    pub(super) fn bytes_of(&self, name: &str) -> u64 {
        let bytes = |info: &TensorInfo| info.elements() as u64 * info.element.size() as u64;
        self.tensors.get(name).map_or(0, bytes)
    }

    /// Reads the tensor `name`, which must be one of [`Self::tensors`], as `f32`, row-major.
    ///
    /// A stored `f32` tensor of a safetensors file or of a PyTorch zip is read into its place. Any other is held as bytes
    /// and as `f32` while it is converted, and a view of PyTorch's that is not contiguous once more while it is gathered.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let path = &self.path;
        let damaged = |source| CheckpointError::Damaged { path: path.clone(), tensor: name.to_owned(), source };
        let not_float = || CheckpointError::NotFloat { path: path.clone(), tensor: name.to_owned() };
        let element = self.tensors.get(name).map_or(Element::Other("none"), |info| info.element);
        if !element.is_float() {
            return Err(not_float());
        }
        let bytes = match &self.values {
            Values::Safetensors { file, offsets } => {
                let (start, end) = offsets[name];
                let length = usize::try_from(end - start).unwrap_or(0);
                let mut file = file;
                file.seek(SeekFrom::Start(start)).map_err(damaged)?;
                if element == Element::F32 {
                    let mut values = vec![0.0_f32; length / element.size()];
                    file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(damaged)?;
                    for value in &mut values {
                        *value = f32::from_bits(u32::from_le(value.to_bits()));
                    }
                    return Ok(values);
                }
                let mut bytes = vec![0; length];
                file.read_exact(&mut bytes).map_err(damaged)?;
                if cfg!(target_endian = "big") {
                    bytes.chunks_exact_mut(element.size()).for_each(<[u8]>::reverse);
                }
                bytes
            }
            Values::Pytorch { reader, direct } => {
                let direct = direct.as_ref().filter(|_| element == Element::F32);
                if let Some(values) = direct.and_then(|direct| direct.read(name, &self.tensors[name].shape)) {
                    return Ok(values);
                }
                let opened = match reader {
                    Some(_) => None,
                    None => Some(PytorchReader::new(path).map_err(|source| refusal(path, source))?),
                };
                let tensor = reader.as_ref().or(opened.as_ref()).and_then(|reader| reader.get(name));
                tensor.map_or_else(|| Ok(Vec::new()), pytorch_reader::Tensor::read).map_err(damaged)?
            }
            Values::Parts(parts, places) => return parts[places[name]].read(name),
        };
        element.to_f32(&bytes).ok_or_else(not_float)
    }
}

fn bare_pickle(path: &Path) -> CheckpointError {
    let source = Box::new(PytorchError::Pickle(PickleError::NoDataSource));
    CheckpointError::Pytorch { path: path.to_owned(), source }
}

/// The archive, its directory found where it says that it is; only if it is not there, the whole file is searched.
fn zip_archive(file: File) -> zip::result::ZipResult<zip::ZipArchive<std::io::BufReader<File>>> {
    let at_start = zip::read::Config { archive_offset: zip::read::ArchiveOffset::Known(0) };
    let again = file.try_clone()?;
    zip::ZipArchive::with_config(at_start, std::io::BufReader::new(file))
        .or_else(|_| zip::ZipArchive::new(std::io::BufReader::new(again)))
}

/// Refuses a zip archive that is not PyTorch's, whose pickle would take too much memory, or that is known to need code.
fn check_zip(path: &Path, file: File) -> Result<(), CheckpointError> {
    let damaged =
        |source| CheckpointError::Archive { path: path.to_owned(), source: Box::new(PytorchError::Zip(source)) };
    let mut archive = zip_archive(file).map_err(damaged)?;
    let names = archive.file_names().map(|name| name.map(Cow::into_owned));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(damaged)?;
    let mut found = false;
    for (index, _) in names.iter().enumerate().filter(|(_, name)| name.ends_with("data.pkl")) {
        found = true;
        let options = zip::ZipReadOptions::new().ignore_crc32(true);
        let entry = archive.by_index_with_options(index, options).map_err(damaged)?;
        let (found, packed) = (entry.size(), entry.compressed_size());
        let limit = packed.saturating_mul(MAX_RATIO).clamp(MAX_PICKLE_BYTES, MAX_UNPACKED_PICKLE_BYTES);
        if found > limit {
            let path = path.to_owned();
            return Err(if limit < MAX_UNPACKED_PICKLE_BYTES {
                CheckpointError::HeaderTooLarge { path, found, limit }
            } else {
                CheckpointError::Crowded { path, found, limit }
            });
        }
        let mut pickle = Vec::new();
        let read = entry.take(limit).read_to_end(&mut pickle);
        read.map_err(|source| damaged(zip::result::ZipError::Io(source)))?;
        if PERSISTENCE.iter().any(|word| contains(&pickle, word.as_bytes())) {
            return Err(CheckpointError::TrainingState { path: path.to_owned() });
        }
    }
    if found { Ok(()) } else { Err(CheckpointError::ForeignZip { path: path.to_owned() }) }
}

fn open_safetensors(path: &Path, mut file: File, bytes: u64) -> Result<Store, CheckpointError> {
    let io = |source| CheckpointError::Read { path: path.to_owned(), source };
    let truncated = |expected: u64| CheckpointError::Truncated { path: path.to_owned(), expected, found: bytes };
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    file.read_exact(&mut length).map_err(io)?;
    let header_len = u64::from_le_bytes(length);
    if header_len > MAX_HEADER_BYTES {
        return Err(CheckpointError::HeaderTooLarge {
            path: path.to_owned(),
            found: header_len,
            limit: MAX_HEADER_BYTES,
        });
    }
    if bytes < 8 + header_len {
        return Err(truncated(8 + header_len));
    }
    let mut header = vec![0; usize::try_from(header_len).unwrap_or(0)];
    file.read_exact(&mut header).map_err(io)?;
    let refuse = |source| CheckpointError::Header { path: path.to_owned(), source };
    let header: Header = serde_json::from_slice(&header).map_err(refuse)?;
    let mut listed: Vec<_> = header.tensors.into_iter().collect();
    listed.sort_by_key(|(_, info)| info.data_offsets);
    // Overlaps, holes, and shapes that disagree with their byte range are refused in here.
    let metadata =
        safetensors::tensor::Metadata::new(None, listed).map_err(|error| refuse(serde_json::Error::custom(error)))?;
    let data_start = 8 + header_len;
    let expected = data_start + metadata.data_len() as u64;
    if bytes < expected {
        return Err(truncated(expected));
    }
    let mut tensors = BTreeMap::new();
    let mut offsets = BTreeMap::new();
    for (name, info) in metadata.tensors().into_iter().collect::<BTreeMap<_, _>>() {
        let element = match info.dtype {
            safetensors::Dtype::F64 => Element::F64,
            safetensors::Dtype::F32 => Element::F32,
            safetensors::Dtype::F16 => Element::F16,
            safetensors::Dtype::BF16 => Element::Bf16,
            safetensors::Dtype::I64 => Element::Other("i64"),
            safetensors::Dtype::I32 => Element::Other("i32"),
            safetensors::Dtype::I16 => Element::Other("i16"),
            safetensors::Dtype::I8 => Element::Other("i8"),
            safetensors::Dtype::U64 => Element::Other("u64"),
            safetensors::Dtype::U32 => Element::Other("u32"),
            safetensors::Dtype::U16 => Element::Other("u16"),
            safetensors::Dtype::U8 => Element::Other("u8"),
            safetensors::Dtype::BOOL => Element::Other("bool"),
            _ => Element::Other("another type"),
        };
        tensors.insert(name.clone(), TensorInfo { shape: info.shape.clone(), element });
        let (start, end) = info.data_offsets;
        offsets.insert(name, (data_start + start as u64, data_start + end as u64));
    }
    let values = Values::Safetensors { file, offsets };
    Ok(Store { path: path.to_owned(), container: Container::Safetensors, bytes, most: bytes, tensors, values })
}

/// The header of a safetensors file. What it says besides tensors is not used, and may therefore be of any type.
#[derive(serde::Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    _about: IgnoredAny,
    #[serde(flatten)]
    tensors: HashMap<String, safetensors::tensor::TensorInfo>,
}

fn open_pytorch(path: &Path, bytes: u64, direct: Option<Direct>) -> Result<Store, CheckpointError> {
    let names = direct.as_ref().and_then(|direct| Some((direct.names()?, direct.unpacked)));
    let is_whole = names.is_none();
    let (reader, unpacked) = names.map_or_else(|| open_whole(path, bytes), Ok)?;
    let facts = reader.metadata();
    let most = unpacked.min(bytes.saturating_mul(MAX_RATIO).max(SMALL)).max(bytes);
    let mut tensors = BTreeMap::new();
    for (name, tensor) in reader.tensors().iter().collect::<BTreeMap<_, _>>() {
        use pytorch_reader::DType;
        let element = match tensor.dtype() {
            DType::F64 => Element::F64,
            DType::F32 => Element::F32,
            DType::F16 => Element::F16,
            DType::BF16 => Element::Bf16,
            DType::I64 => Element::Other("i64"),
            DType::I32 => Element::Other("i32"),
            DType::I16 => Element::Other("i16"),
            DType::I8 => Element::Other("i8"),
            DType::U64 => Element::Other("u64"),
            DType::U32 => Element::Other("u32"),
            DType::U16 => Element::Other("u16"),
            DType::U8 => Element::Other("u8"),
            DType::Bool => Element::Other("bool"),
        };
        // A stride of zero makes any number of elements out of one.
        let claimed = tensor.byte_len() as u64;
        if claimed > most {
            let (path, tensor) = (path.to_owned(), name.clone());
            return Err(CheckpointError::Claim { path, tensor, claimed, found: most });
        }
        tensors.insert(name.clone(), TensorInfo { shape: tensor.shape().to_vec(), element });
    }
    let container = match facts.format_type {
        FileFormat::Zip => Container::PytorchZip,
        FileFormat::Legacy => Container::PytorchLegacy,
        FileFormat::Tar => Container::PytorchTar,
        FileFormat::Pickle => return Err(bare_pickle(path)),
    };
    let values = Values::Pytorch { reader: is_whole.then_some(reader), direct };
    Ok(Store { path: path.to_owned(), container, bytes, most, tensors, values })
}

/// PyTorch's reader of the file, and the bytes of its storages when they are unpacked; 0 where they never are packed.
fn open_whole(path: &Path, bytes: u64) -> Result<(PytorchReader, u64), CheckpointError> {
    let reader = PytorchReader::new(path).or_else(|source| {
        let odd =
            matches!(source, PytorchError::Pickle(PickleError::UnexpectedOpCode(_) | PickleError::UnsupportedType(_)));
        let copy =
            if odd && bytes <= MAX_COPIED { with_plain_dictionaries(open_file(path)?).ok().flatten() } else { None };
        let again = copy.and_then(|copy| PytorchReader::new(copy.path()).ok());
        again.ok_or_else(|| refusal(path, source))
    })?;
    let facts = reader.metadata();
    let unpacked = facts.total_data_size.filter(|_| facts.format_type == FileFormat::Zip).unwrap_or(0) as u64;
    Ok((reader, unpacked))
}

fn refusal(path: &Path, source: PytorchError) -> CheckpointError {
    let path = path.to_owned();
    match source {
        PytorchError::Pickle(PickleError::UnsupportedType(ref name))
            if PERSISTENCE.iter().any(|word| name.contains(word)) =>
        {
            CheckpointError::TrainingState { path }
        }
        // Where a pickle ends too early, its reader may stumble over what is no opcode.
        PytorchError::Pickle(
            PickleError::Io(_)
            | PickleError::InvalidOpCode(_)
            | PickleError::StackUnderflow
            | PickleError::MemoNotFound(_),
        ) => CheckpointError::Archive { path, source: Box::new(source) },
        PytorchError::InvalidFormat(ref text)
            if text.contains("beyond the end of the file") || text.contains("Failed to read") =>
        {
            CheckpointError::Archive { path, source: Box::new(source) }
        }
        PytorchError::Zip(_) | PytorchError::Io(_) | PytorchError::Tar(_) => {
            CheckpointError::Archive { path, source: Box::new(source) }
        }
        _ => CheckpointError::Pytorch { path, source: Box::new(source) },
    }
}
