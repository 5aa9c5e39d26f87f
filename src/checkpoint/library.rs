//! Finding a model: a bundled name, a manifest, or a file with a manifest beside it.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Checkpoint, CheckpointError, Manifest};

/// Largest manifest that is read; a thousand class names need a thirtieth of it.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// A model of the demo, carried inside the program.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// Name on the command line.
    pub name: &'static str,
    manifest: &'static str,
    weights: &'static [u8],
}

macro_rules! bundled {
    ($name:literal, $file:literal) => {
        Bundled {
            name: $name,
            manifest: include_str!(concat!("../../models/", $name, ".toml")),
            weights: include_bytes!(concat!("../../models/", $file)),
        }
    };
}

/// The demo's models; the first generator and the first classifier are the defaults.
pub const BUNDLED: [Bundled; 4] = [
    bundled!("gtsrb12-cm", "gtsrb12-cm.safetensors"),
    bundled!("gtsrb12-joint", "gtsrb12-joint.safetensors"),
    bundled!("gtsrb12-edm", "gtsrb12-edm.pt"),
    bundled!("gtsrb12-robust", "gtsrb12-robust.pt"),
];

/// A manifest and where its weights lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What it is.
    pub manifest: Manifest,
    /// The file of its weights.
    pub weights: PathBuf,
}

impl Model {
    /// Opens the weights and checks their hash against the manifest.
    ///
    /// # Errors
    /// [`CheckpointError`] as of [`Checkpoint::open`], or [`CheckpointError::Hash`].
    pub fn open(&self) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = Checkpoint::open(&self.weights)?;
        match &self.manifest.sha256 {
            Some(expected) if expected != checkpoint.sha256() => Err(CheckpointError::Hash {
                path: self.weights.clone(),
                expected: expected.clone(),
                found: checkpoint.sha256().to_owned(),
            }),
            _ => Ok(checkpoint),
        }
    }
}

/// The manifest of a bundled model.
///
/// # Panics
/// Never for the shipped manifests: a test parses them all.
#[must_use]
pub fn bundled_manifest(bundled: &Bundled) -> Manifest {
    Manifest::parse(bundled.manifest, Path::new(bundled.name)).expect("bundled manifests are valid")
}

/// Class names of a model, if they can be known without reading weights; empty otherwise.
///
/// # Errors
/// [`CheckpointError`] when nothing is found or the manifest is refused.
pub fn class_names(reference: &str) -> Result<Vec<String>, CheckpointError> {
    let path = Path::new(reference);
    let bundled = BUNDLED.iter().any(|bundled| bundled.name == reference);
    if !bundled && path.exists() && !is_manifest(path) && !path.with_extension("toml").exists() {
        return Ok(Vec::new());
    }
    find(reference).map(|(manifest, _)| manifest.classes)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// Describes a model without touching its weights: by bundled name, by manifest, or by file with a manifest beside it.
///
/// A file without a manifest that has the hash of a bundled model is described by that model's manifest.
///
/// # Errors
/// [`CheckpointError`] when nothing is found or the manifest is refused.
pub fn find(reference: &str) -> Result<(Manifest, Option<PathBuf>), CheckpointError> {
    if let Some(bundled) = BUNDLED.iter().find(|bundled| bundled.name == reference) {
        return Ok((bundled_manifest(bundled), None));
    }
    let path = Path::new(reference);
    if !path.exists() {
        if reference.contains(['/', '\\', '.']) {
            return Err(CheckpointError::NotFound { path: path.to_owned() });
        }
        let known = BUNDLED.map(|bundled| bundled.name).join(", ");
        return Err(CheckpointError::Unknown { name: reference.to_owned(), known });
    }
    let is_manifest = is_manifest(path);
    let manifest_path = if is_manifest { path.to_owned() } else { path.with_extension("toml") };
    if !is_manifest && !manifest_path.exists() {
        // Opening first gives the better sentence for a file that is no checkpoint at all.
        let checkpoint = Checkpoint::open(path)?;
        let twin = BUNDLED.iter().map(bundled_manifest).find(|m| m.sha256.as_deref() == Some(checkpoint.sha256()));
        return twin
            .map(|manifest| (manifest, Some(path.to_owned())))
            .ok_or_else(|| CheckpointError::NoManifest { path: path.to_owned(), manifest: manifest_path.clone() });
    }
    let read = |source| CheckpointError::Read { path: manifest_path.clone(), source };
    let mut text = String::new();
    let file = std::fs::File::open(&manifest_path).map_err(read)?;
    file.take(MAX_MANIFEST_BYTES).read_to_string(&mut text).map_err(read)?;
    let manifest = Manifest::parse(&text, &manifest_path)?;
    let weights = if is_manifest { path.with_file_name(&manifest.file) } else { path.to_owned() };
    Ok((manifest, Some(weights)))
}

/// Finds a model and makes sure that its weights are a file on disk.
///
/// A bundled model is unpacked once to `cache`, under its hash, and read from there like any other file.
///
/// # Errors
/// [`CheckpointError`] as of [`find`], or [`CheckpointError::Unpack`].
pub fn resolve(reference: &str, cache: &Path) -> Result<Model, CheckpointError> {
    let (manifest, weights) = find(reference)?;
    let weights = match weights {
        Some(path) => path,
        None => unpack(reference, &manifest, cache)?,
    };
    Ok(Model { manifest, weights })
}

fn unpack(name: &str, manifest: &Manifest, cache: &Path) -> Result<PathBuf, CheckpointError> {
    let bundled = BUNDLED.iter().find(|bundled| bundled.name == name).expect("found by name before");
    let hash = manifest.sha256.as_deref().unwrap_or("unhashed");
    let folder = cache.join("models").join(&hash[..hash.len().min(16)]);
    let target = folder.join(&manifest.file);
    if target.metadata().is_ok_and(|meta| meta.len() == bundled.weights.len() as u64) {
        return Ok(target);
    }
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(bundled.weights)?;
        file.persist(&target)?;
        Ok(())
    };
    write().map_err(|source| CheckpointError::Unpack { path: target.clone(), source })?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_manifests_describe_their_files() {
        let cache = tempfile::tempdir().unwrap();
        for bundled in &BUNDLED {
            let model = resolve(bundled.name, cache.path()).unwrap();
            assert_eq!(model.manifest.name, bundled.name);
            assert_eq!(model.manifest.classes.len(), 12);
            model.open().unwrap();
        }
    }

    #[test]
    fn a_renamed_copy_of_a_bundled_file_is_recognised_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("mine.bin");
        std::fs::write(&copy, BUNDLED[1].weights).unwrap();
        let (manifest, weights) = find(copy.to_str().unwrap()).unwrap();
        assert_eq!((manifest.name.as_str(), weights), ("gtsrb12-joint", Some(copy)));
    }
}
