//! Files of tensors as they lie on disk: names and shapes at once, values one tensor at a time.
//!
//! Which container a file is, its content decides. Nothing in it is executed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use pytorch_reader::{FileFormat, PickleError, PytorchError, PytorchReader};

use super::{CheckpointError, Content, Element, TensorInfo, sniff};

/// Largest number of tensors that a file may declare.
const MAX_TENSORS: usize = 100_000;
/// Largest safetensors header, as in the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// How far into a pickle its first entries reach.
const PICKLE_HEAD: u64 = 1 << 16;
/// What a pickle names that rebuilds objects from source code inside it.
const PERSISTENCE: [&str; 2] = ["torch_utils.persistence", "_reconstruct_persistent_obj"];

/// How a file packs its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Container {
    Safetensors,
    PytorchZip,
    PytorchLegacy,
    PytorchTar,
    Pickle,
}

impl std::fmt::Display for Container {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::PytorchZip => "PyTorch zip",
            Self::PytorchLegacy => "PyTorch legacy",
            Self::PytorchTar => "PyTorch tar",
            Self::Pickle => "pickle",
        })
    }
}

/// A file of tensors, opened.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) container: Container,
    /// Length of the file.
    pub(super) bytes: u64,
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
    Pytorch(PytorchReader),
}

impl Store {
    /// Opens a `.safetensors` file or a PyTorch file (zip, legacy or tar).
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => CheckpointError::NotFound { path: path.to_owned() },
            _ => io(source),
        })?;
        let mut head = Vec::new();
        file.by_ref().take(PICKLE_HEAD).read_to_end(&mut head).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let content = sniff(&head[..head.len().min(512)], bytes);
        if content == Content::Pickle && PERSISTENCE.iter().any(|word| contains(&head, word.as_bytes())) {
            return Err(CheckpointError::PersistentPickle { path: path.to_owned() });
        }
        let store = match content {
            Content::Safetensors => open_safetensors(path, file, bytes)?,
            Content::Zip | Content::Pickle | Content::Tar => open_pytorch(path, bytes)?,
            other => return Err(CheckpointError::NotACheckpoint { path: path.to_owned(), found: other }),
        };
        let found = store.tensors.len();
        match found {
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
    /// A stored `f32` tensor of a safetensors file is read into its place; any other is held twice while it is
    /// converted, and nothing else is.
    pub(super) fn read(&self, path: &Path, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let damaged = |source| CheckpointError::Damaged { path: path.to_owned(), tensor: name.to_owned(), source };
        let not_float = || CheckpointError::NotFloat { path: path.to_owned(), tensor: name.to_owned() };
        let element = self.tensors.get(name).map_or(Element::Other, |info| info.element);
        if element == Element::Other {
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
            Values::Pytorch(reader) => match reader.get(name) {
                Some(tensor) => tensor.read().map_err(damaged)?,
                None => Vec::new(),
            },
        };
        element.to_f32(&bytes).ok_or_else(not_float)
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
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
    // Overlaps, holes, and shapes that disagree with their byte range are refused in here.
    let metadata: safetensors::tensor::Metadata =
        serde_json::from_slice(&header).map_err(|source| CheckpointError::Header { path: path.to_owned(), source })?;
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
            _ => Element::Other,
        };
        tensors.insert(name.clone(), TensorInfo { shape: info.shape.clone(), element });
        let (start, end) = info.data_offsets;
        offsets.insert(name, (data_start + start as u64, data_start + end as u64));
    }
    let values = Values::Safetensors { file, offsets };
    Ok(Store { container: Container::Safetensors, bytes, tensors, values })
}

fn open_pytorch(path: &Path, bytes: u64) -> Result<Store, CheckpointError> {
    let reader = PytorchReader::new(path).map_err(|source| refusal(path, source))?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in reader.tensors().iter().collect::<BTreeMap<_, _>>() {
        use pytorch_reader::DType;
        let element = match tensor.dtype() {
            DType::F64 => Element::F64,
            DType::F32 => Element::F32,
            DType::F16 => Element::F16,
            DType::BF16 => Element::Bf16,
            _ => Element::Other,
        };
        tensors.insert(name.clone(), TensorInfo { shape: tensor.shape().to_vec(), element });
    }
    let container = match reader.metadata().format_type {
        FileFormat::Zip => Container::PytorchZip,
        FileFormat::Legacy => Container::PytorchLegacy,
        FileFormat::Tar => Container::PytorchTar,
        FileFormat::Pickle => Container::Pickle,
    };
    Ok(Store { container, bytes, tensors, values: Values::Pytorch(reader) })
}

fn refusal(path: &Path, source: PytorchError) -> CheckpointError {
    let path = path.to_owned();
    match source {
        PytorchError::Pickle(PickleError::UnsupportedType(name))
            if PERSISTENCE.iter().any(|word| name.contains(word)) =>
        {
            CheckpointError::PersistentPickle { path }
        }
        PytorchError::Zip(_) | PytorchError::Io(_) | PytorchError::Tar(_) => {
            CheckpointError::Archive { path, source: Box::new(source) }
        }
        _ => CheckpointError::Pytorch { path, source: Box::new(source) },
    }
}
