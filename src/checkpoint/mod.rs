//! Checkpoints: files of named tensors, opened by what they contain and never by their name.
//!
//! Nothing in a file is executed. A checkpoint is opened ([`Checkpoint::open`]), its names and shapes are known without
//! reading the values, and a network takes the tensors that it needs through [`Weights`], which checks every shape and
//! remembers what was left over. This module knows no network and no device.

mod error;
mod library;
mod manifest;
mod sniff;
mod weights;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::Digest as _;

pub use self::error::CheckpointError;
pub use self::library::{BUNDLED, Model, bundled_manifest, class_names, find, resolve};
pub use self::manifest::{
    ClassifierManifest, DiffusionManifest, GeneratorManifest, Manifest, ManifestKind, PreconditioningName,
    ResnetManifest, Shortcut, UnetManifest,
};
pub use self::sniff::{Content, sniff};
pub use self::weights::{LoadReport, Weights};

/// Largest number of tensors that a file may declare.
const MAX_TENSORS: usize = 100_000;
/// Largest safetensors header, as in the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Anything that is no floating-point number, such as a counter.
    Other,
}

impl Element {
    /// Native-endian bytes to `f32`.
    fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        Some(match self {
            Self::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_ne_bytes(*b) as f32).collect(),
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect(),
            Self::F16 => bytes.as_chunks().0.iter().map(|b| half_to_f32(u16::from_ne_bytes(*b))).collect(),
            Self::Bf16 => {
                bytes.as_chunks().0.iter().map(|b| f32::from_bits(u32::from(u16::from_ne_bytes(*b)) << 16)).collect()
            }
            Self::Other => return None,
        })
    }
}

/// IEEE 754 half precision to single precision, exactly.
fn half_to_f32(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    match exponent {
        0 => sign * fraction * 2.0_f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    }
}

/// What is known of a tensor before its values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Element type in the file.
    pub element: Element,
}

#[derive(Debug)]
enum Store {
    /// Offsets into the file.
    Safetensors {
        file: File,
        offsets: BTreeMap<String, (u64, u64)>,
    },
    Pytorch(pytorch_reader::PytorchReader),
}

/// An opened checkpoint: names and shapes, values on demand.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    sha256: String,
    tensors: BTreeMap<String, TensorInfo>,
    store: Store,
}

impl Checkpoint {
    /// Opens a `.safetensors` file or a PyTorch file (zip, legacy or tar), decided by content.
    ///
    /// # Errors
    /// [`CheckpointError`] says in one sentence what was found, what was expected and what to do.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Read { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(CheckpointError::Folder { path: path.to_owned() });
        }
        let mut file = File::open(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => CheckpointError::NotFound { path: path.to_owned() },
            _ => io(source),
        })?;
        let mut head = vec![0; 512];
        let read = file.read(&mut head).map_err(io)?;
        head.truncate(read);
        let bytes = file.metadata().map_err(io)?.len();
        let content = sniff(&head, bytes);
        let (tensors, store) = match content {
            Content::Safetensors => open_safetensors(path, file, bytes)?,
            Content::Zip | Content::Pickle | Content::Tar => open_pytorch(path)?,
            other => return Err(CheckpointError::NotACheckpoint { path: path.to_owned(), found: other }),
        };
        if tensors.len() > MAX_TENSORS {
            return Err(CheckpointError::TooMany { path: path.to_owned(), found: tensors.len(), limit: MAX_TENSORS });
        }
        if tensors.is_empty() {
            return Err(CheckpointError::NoTensors { path: path.to_owned() });
        }
        let sha256 = sha256_of(path).map_err(io)?;
        Ok(Self { path: path.to_owned(), sha256, tensors, store })
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the whole file, lower-case hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Names, shapes and types, in order of name.
    #[must_use]
    pub const fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// Reads one tensor as `f32`, row-major.
    ///
    /// # Errors
    /// [`CheckpointError`] when the tensor is absent, not a floating-point tensor, or its bytes cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let info = self.tensors.get(name).ok_or_else(|| CheckpointError::missing(self, name))?;
        let damaged = |source| CheckpointError::Damaged { path: self.path.clone(), tensor: name.to_owned(), source };
        let bytes = match &self.store {
            Store::Safetensors { file, offsets } => {
                let (start, end) = offsets[name];
                let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
                let mut file = file;
                file.seek(SeekFrom::Start(start)).map_err(damaged)?;
                file.read_exact(&mut bytes).map_err(damaged)?;
                bytes
            }
            Store::Pytorch(reader) => {
                let tensor = reader.get(name).ok_or_else(|| CheckpointError::missing(self, name))?;
                tensor.read().map_err(damaged)?
            }
        };
        info.element
            .to_f32(&bytes)
            .ok_or_else(|| CheckpointError::NotFloat { path: self.path.clone(), tensor: name.to_owned() })
    }
}

type Opened = (BTreeMap<String, TensorInfo>, Store);

fn open_safetensors(path: &Path, mut file: File, bytes: u64) -> Result<Opened, CheckpointError> {
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
    Ok((tensors, Store::Safetensors { file, offsets }))
}

fn open_pytorch(path: &Path) -> Result<Opened, CheckpointError> {
    let refuse = |source: pytorch_reader::PytorchError| {
        use pytorch_reader::PytorchError as E;
        let (path, damaged) = (path.to_owned(), matches!(source, E::Zip(_) | E::Io(_) | E::Tar(_)));
        let source = Box::new(source);
        if damaged { CheckpointError::Archive { path, source } } else { CheckpointError::Pytorch { path, source } }
    };
    let mut reader = pytorch_reader::PytorchReader::new(path).map_err(refuse)?;
    // Training scripts wrap the weights in a dictionary; the usual names of that entry.
    for key in ["state_dict", "model_state_dict", "ema", "model"] {
        let inside = format!("{key}.");
        if !reader.is_empty() && reader.keys().iter().any(|name| name.starts_with(&inside)) {
            reader = pytorch_reader::PytorchReader::with_top_level_key(path, key).map_err(refuse)?;
            break;
        }
    }
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
    Ok((tensors, Store::Pytorch(reader)))
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_widened_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 5.960_464_5e-8), (0x7bff, 65504.0), (0x8000, -0.0)]
        {
            assert_eq!(half_to_f32(bits), value);
        }
        assert!(half_to_f32(0x7c00).is_infinite() && half_to_f32(0x7e00).is_nan());
        assert_eq!(Element::Bf16.to_f32(&0x3f80_u16.to_ne_bytes()), Some(vec![1.0]));
    }
}
