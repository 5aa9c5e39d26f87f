//! Folders of Hugging Face: where the weights lie in them, whole or in several files, and their configurations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::card::{self, Card};
use super::config::read_json;
use super::diffusers::{self, DiffusersConfig};
use crate::checkpoint::CheckpointError;

/// Names of a U-Net's weights, in the order in which they are looked for, and of the list of their parts.
const UNET: [[&str; 2]; 4] = [
    ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"],
    ["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors.index.fp16.json"],
    ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin.index.json"],
    ["diffusion_pytorch_model.fp16.bin", "diffusion_pytorch_model.bin.index.fp16.json"],
];
/// Likewise of a classifier's.
const CLASSIFIER: [[&str; 2]; 2] =
    [["model.safetensors", "model.safetensors.index.json"], ["pytorch_model.bin", "pytorch_model.bin.index.json"]];
/// Most files that one network lies in.
const MAX_PARTS: u32 = 1000;

/// A pipeline's folder, that of its U-Net, or that of a classifier.
#[derive(Debug)]
pub(super) struct Folder {
    /// The files of the weights, in order.
    pub(super) weights: Vec<PathBuf>,
    pub(super) config: Option<DiffusersConfig>,
    pub(super) card: Option<Card>,
}

impl Folder {
    /// Finds the weights in `path` and reads the configuration.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let nested = path.join("unet");
        let inner = if nested.join("config.json").is_file() { nested.as_path() } else { path };
        let (unet, classifier) = (weights_in(inner, &UNET)?, weights_in(inner, &CLASSIFIER)?);
        let file = inner.join("config.json");
        let described = file.is_file();
        let is_unet = described && (unet.is_some() || read_json(&file)?.get("_class_name").is_some());
        // What it tells of comes first: a network of another kind is refused whatever lies beside it.
        let config = if is_unet { Some(diffusers::read_config(inner)?) } else { None };
        let card = if described && !is_unet { Some(card::read(inner)?) } else { None };
        let (weights, names) = if is_unet { (unet, UNET.as_slice()) } else { (classifier, CLASSIFIER.as_slice()) };
        match weights {
            Some(weights) => Ok(Self { weights, config, card }),
            None if described => {
                let looked_for = names.iter().map(|[name, _]| *name).collect::<Vec<_>>().join(", ");
                Err(CheckpointError::NoWeights { path: inner.to_owned(), looked_for })
            }
            None => Err(unpacked(path)),
        }
    }
}

/// What can be said of a folder without any weights that are looked for.
fn unpacked(path: &Path) -> CheckpointError {
    let inside = || std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = std::iter::once(path.to_owned()).chain(inside()).find(|folder| folder.join("data.pkl").is_file());
    let named = found.and_then(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path)));
    match named {
        Some((name, path)) => CheckpointError::Unpacked { path, name },
        None => CheckpointError::Folder { path: path.to_owned() },
    }
}

/// The files of the first weights that a folder has; `None` when it has none.
fn weights_in(folder: &Path, names: &[[&str; 2]]) -> Result<Option<Vec<PathBuf>>, CheckpointError> {
    // A folder that was saved again in one file may still hold the list of the former ones.
    if let Some(file) = names.iter().map(|[name, _]| folder.join(name)).find(|file| file.is_file()) {
        return Ok(Some(vec![file]));
    }
    let Some(index) = names.iter().map(|[_, index]| folder.join(index)).find(|file| file.is_file()) else {
        return Ok(None);
    };
    let map = read_json(&index)?;
    let listed = map["weight_map"].as_object().into_iter().flat_map(|map| map.values());
    let listed: BTreeSet<&str> = listed.filter_map(Value::as_str).collect();
    // A name that leads out of the folder is none of its files.
    let plain = |name: &&str| Path::new(name).file_name().is_some_and(|last| last == *name);
    let files: Vec<PathBuf> = listed.into_iter().filter(plain).map(|name| folder.join(name)).collect();
    if files.is_empty() {
        return Ok(None);
    }
    complete(folder, files).map(Some)
}

/// The files, all of which must be there.
fn complete(path: &Path, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, CheckpointError> {
    match files.iter().find(|file| !file.is_file()) {
        None => Ok(files),
        Some(missing) => {
            let missing = missing.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(CheckpointError::Sharded { path: path.to_owned(), missing })
        }
    }
}

/// The file, or all of several when it is called one of them, such as `model-00001-of-00002.safetensors`.
pub(super) fn parts_of(path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let number = |word: &str| if word.len() == 5 { word.parse::<u32>().ok() } else { None };
    let mut words = stem.rsplitn(4, '-');
    let (of, between, part, before) = (words.next(), words.next(), words.next(), words.next());
    let count = of.and_then(number).filter(|count| (2..=MAX_PARTS).contains(count));
    match (count, before, part.and_then(number), between) {
        (Some(count), Some(before), Some(_), Some("of")) if path.is_file() => {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            let part = |i: u32| path.with_file_name(format!("{before}-{i:05}-of-{count:05}.{extension}"));
            complete(path, (1..=count).map(part).collect())
        }
        _ => Ok(vec![path.to_owned()]),
    }
}

/// Whether a file of weights is called as those of a classifier's folder, so that the configuration beside it is its own.
pub(super) fn is_of_classifier(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = |file: &str| file.rsplit_once('.').map_or_else(String::new, |(stem, _)| format!("{stem}-"));
    CLASSIFIER.iter().any(|[whole, _]| name == *whole || name.starts_with(&stem(whole)))
}
