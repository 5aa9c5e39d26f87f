//! Finding a model: a bundled name, a manifest, a file with a manifest beside it, or a file that is recognised.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::known::Found;
use super::manifest::manifest_beside;
use super::{Manifest, Opened, Recognised, inception, known, open, open_as, recognise};
use crate::checkpoint::{Checkpoint, CheckpointError, unwatched};

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
pub const BUNDLED: [Bundled; 5] = [
    bundled!("gtsrb12-cm", "gtsrb12-cm.safetensors"),
    bundled!("gtsrb12-joint", "gtsrb12-joint.safetensors"),
    bundled!("gtsrb12-edm", "gtsrb12-edm.pt"),
    bundled!("gtsrb12-robust", "gtsrb12-robust.pt"),
    bundled!("gtsrb12-judge", "gtsrb12-judge.safetensors"),
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
    /// Opens the weights; their SHA-256 is for [`Self::confirm`].
    ///
    /// # Errors
    /// [`CheckpointError`] as of [`open`].
    pub fn open(&self) -> Result<Checkpoint, CheckpointError> {
        Ok(open_as(&self.weights, self.manifest.prefix.as_deref())?.checkpoint)
    }

    /// Refuses a SHA-256 that is not the manifest's, if that has one.
    ///
    /// # Errors
    /// [`CheckpointError::Hash`]
    pub fn confirm(&self, found: String) -> Result<String, CheckpointError> {
        match &self.manifest.sha256 {
            Some(expected) if *expected != found => {
                Err(CheckpointError::Hash { path: self.weights.clone(), expected: expected.clone(), found })
            }
            _ => Ok(found),
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

/// A manifest and how it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// What the file is.
    pub manifest: Manifest,
    /// Who says so.
    pub origin: Origin,
}

/// Who says what a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The manifest beside it.
    Manifest(PathBuf),
    /// It is a copy of a bundled model.
    Bundled,
    /// Its shapes and its name.
    Recognised {
        /// The published checkpoint that it looks like.
        preset: Option<&'static str>,
        /// What was assumed, one sentence each.
        notes: Vec<String>,
    },
}

/// Class names of a model, known without reading weights; empty for an unconditional generator.
///
/// # Errors
/// [`CheckpointError`] when nothing is found, the manifest is refused, or the file is not recognised.
pub fn class_names(reference: &str) -> Result<Vec<String>, CheckpointError> {
    find(reference).map(|(manifest, _)| manifest.classes)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// Says what an opened file is: by the manifest beside it, as a copy of a bundled model, or by its shapes.
///
/// # Errors
/// [`CheckpointError`] when the manifest is refused or the file is not recognised.
pub fn describe(opened: &Opened) -> Result<Described, CheckpointError> {
    let checkpoint = &opened.checkpoint;
    let beside = manifest_beside(checkpoint.path());
    if beside.exists() {
        return Ok(Described { manifest: Manifest::read(&beside)?, origin: Origin::Manifest(beside) });
    }
    // Hashing takes long for a large file, and only a file of the same length can be a copy.
    let twins = BUNDLED.iter().filter(|bundled| bundled.weights.len() as u64 == checkpoint.bytes());
    let twins: Vec<Manifest> = twins.map(bundled_manifest).collect();
    if !twins.is_empty() {
        let sha256 = checkpoint.sha256(&mut unwatched)?;
        if let Some(manifest) = twins.into_iter().find(|manifest| manifest.sha256.as_deref() == Some(sha256.as_str())) {
            return Ok(Described { manifest, origin: Origin::Bundled });
        }
    }
    let Recognised { manifest, preset, notes } = recognise(opened)?;
    Ok(Described { manifest, origin: Origin::Recognised { preset, notes } })
}

/// Describes a model without reading its weights: by bundled name, by manifest, by a file or folder with a manifest
/// beside it, or by what is recognised in a file or folder.
///
/// A file without a manifest that has the hash of a bundled model is described by that model's manifest. What did not change
/// since it was last asked about is not opened again.
///
/// # Errors
/// [`CheckpointError`] when nothing is found, the manifest is refused, or the file is not recognised.
pub fn find(reference: &str) -> Result<(Manifest, Option<PathBuf>), CheckpointError> {
    match BUNDLED.iter().find(|bundled| bundled.name == reference) {
        Some(bundled) => Ok((bundled_manifest(bundled), None)),
        None => known::remembered(reference, look).map(|found| (found.manifest, found.weights)),
    }
}

/// What was assumed of a model that no manifest describes, one sentence each; nothing for one that cannot be found.
#[must_use]
pub fn notes(reference: &str) -> Vec<String> {
    let is_bundled = BUNDLED.iter().any(|bundled| bundled.name == reference);
    let found = (!is_bundled).then(|| known::remembered(reference, look));
    found.and_then(Result::ok).map_or_else(Vec::new, |found| found.notes)
}

/// [`find`] for what is not bundled.
fn look(reference: &str) -> Result<Found, CheckpointError> {
    let path = Path::new(reference);
    if !path.exists() {
        let is_path = reference.contains(['/', '\\', '.']);
        if inception::is_meant(reference) {
            let path = is_path.then(|| path.to_owned());
            return Err(CheckpointError::NoInception { path, files: inception::FILES });
        }
        if is_path {
            return Err(CheckpointError::NotFound { path: path.to_owned() });
        }
        let known = BUNDLED.map(|bundled| bundled.name).join(", ");
        return Err(CheckpointError::Unknown { name: reference.to_owned(), known });
    }
    if is_manifest(path) {
        let manifest = Manifest::read(path)?;
        let weights = path.with_file_name(&manifest.file);
        return Ok(Found { manifest, weights: Some(weights), notes: Vec::new() });
    }
    let beside = manifest_beside(path);
    let (manifest, notes) = if beside.exists() {
        (Manifest::read(&beside)?, Vec::new())
    } else {
        let Described { manifest, origin } = describe(&open(path)?)?;
        let notes = if let Origin::Recognised { notes, .. } = origin { notes } else { Vec::new() };
        (manifest, notes)
    };
    Ok(Found { manifest, weights: Some(path.to_owned()), notes })
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
    let place = |cache: &Path| cache.join("models").join(&hash[..hash.len().min(16)]).join(&manifest.file);
    let target = place(cache);
    let Err(source) = write_whole(&target, bundled.weights) else { return Ok(target) };
    let other = private(&tempfile::env::temp_dir()).and_then(|folder| {
        let other = place(&folder);
        write_whole(&other, bundled.weights).map(|()| other)
    });
    other.map_err(|_| CheckpointError::Unpack { path: target, source })
}

/// Makes sure that a file holds these bytes, whatever became of it since it was written.
fn write_whole(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let is_as_long = target.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64);
    if is_as_long && known::is_whole(target, || std::fs::read(target).is_ok_and(|found| found == bytes)) {
        return Ok(());
    }
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(target)?;
    Ok(())
}

/// This user's own folder in the one for temporary files, which all users share; a fresh one where somebody else took its name.
#[cfg(unix)]
fn private(temp: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    let user = tempfile::tempfile_in(temp)?.metadata()?.uid();
    let folder = temp.join(format!("lapidary-{user}"));
    // One that is there already is looked at below.
    let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    let is_ours = |meta: std::fs::Metadata| meta.is_dir() && meta.uid() == user && meta.mode() & 0o022 == 0;
    if made.is_ok() || folder.symlink_metadata().is_ok_and(is_ours) {
        return Ok(folder);
    }
    let permissions = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("lapidary-").permissions(permissions).tempdir_in(temp).map(tempfile::TempDir::keep)
}

/// Every user has a folder for temporary files here.
#[cfg(not(unix))]
fn private(temp: &Path) -> std::io::Result<PathBuf> {
    Ok(temp.join("lapidary"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Weights;
    use crate::zoo::expected;
    use crate::zoo::manifest::absolute;

    #[test]
    fn bundled_manifests_describe_their_files() {
        let cache = tempfile::tempdir().unwrap();
        for bundled in &BUNDLED {
            let model = resolve(bundled.name, cache.path()).unwrap();
            assert_eq!(model.manifest.name, bundled.name);
            assert_eq!(model.manifest.classes.len(), 12);
            model.confirm(model.open().unwrap().sha256(&mut unwatched).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_damaged_copy_of_a_bundled_model_heals() {
        let cache = tempfile::tempdir().unwrap();
        let path = resolve("gtsrb12-joint", cache.path()).unwrap().weights;
        let mut wrong = BUNDLED[1].weights.to_vec();
        wrong[1_000_000] ^= 1;
        std::fs::write(&path, wrong).unwrap();
        let model = resolve("gtsrb12-joint", cache.path()).unwrap();
        assert_eq!(model.weights, path);
        assert!(std::fs::read(&path).unwrap() == BUNDLED[1].weights);
        // What cannot be replaced is left, and another place is taken.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir_all(path.join("full")).unwrap();
        let other = resolve("gtsrb12-joint", cache.path()).unwrap().weights;
        assert!(other != path && std::fs::read(&other).unwrap() == BUNDLED[1].weights);
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_among_temporary_files_is_the_users_own() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let folder = private(temp.path()).unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(private(temp.path()).unwrap(), folder);
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        let fresh = private(temp.path()).unwrap();
        assert_ne!(fresh, folder, "anybody could have put something there");
        assert_eq!(fresh.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_manifest_has_the_same_place_whatever_the_path_is_relative_to() {
        let here = std::env::current_dir().unwrap();
        let folder = here.file_name().unwrap().to_string_lossy().into_owned() + ".toml";
        assert_eq!(manifest_beside(Path::new(".")), here.with_file_name(folder.as_str()));
        assert_eq!(manifest_beside(Path::new("mine.pt")), here.join("mine.toml"));
        assert_eq!(absolute(Path::new("src/../mine.pt")).file_name(), Some("mine.pt".as_ref()));
        assert_eq!(absolute(Path::new("src/..")).file_name(), here.canonicalize().unwrap().file_name());
    }

    #[test]
    fn a_renamed_copy_of_a_bundled_file_is_recognised_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("mine.bin");
        std::fs::write(&copy, BUNDLED[1].weights).unwrap();
        let (manifest, weights) = find(copy.to_str().unwrap()).unwrap();
        assert_eq!((manifest.name.as_str(), weights), ("gtsrb12-joint", Some(copy)));
    }

    #[test]
    fn who_has_no_weights_of_inception_is_told_in_one_sentence_which_to_get() {
        for (reference, path) in [("inception", None), ("none/pt_inception.pth", Some("none/pt_inception.pth"))] {
            let told = find(reference).unwrap_err().to_string();
            let files = ["pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth", "NVIDIA"];
            assert!(
                files.iter().all(|file| told.contains(file)) && told.contains("nothing is ever downloaded"),
                "{told}"
            );
            assert_eq!(told.lines().nth(1), path, "{told}");
        }
        assert!(matches!(find("none/judge.pth"), Err(CheckpointError::NotFound { .. })));
    }

    #[test]
    fn hashing_and_loading_report_progress_and_can_be_cancelled() {
        let cache = tempfile::tempdir().unwrap();
        let model = resolve("gtsrb12-joint", cache.path()).unwrap();
        let bytes = std::fs::metadata(&model.weights).unwrap().len();
        let mut heard = Vec::new();
        let checkpoint = model.open().unwrap();
        checkpoint
            .sha256(&mut |done, of| {
                heard.push((done, of));
                true
            })
            .unwrap();
        assert_eq!(heard.last(), Some(&(bytes, bytes)), "{heard:?}");
        assert!(heard.len() > 1 && heard.is_sorted(), "{heard:?}");
        let mut calls = 0;
        let error = checkpoint.sha256(&mut |_, _| {
            calls += 1;
            false
        });
        assert!(matches!(error, Err(CheckpointError::Cancelled)), "{error:?}");
        assert_eq!(calls, 1, "it stops at once");

        let mut last = (0, 0);
        let mut watch = |done, of| {
            last = (done, of);
            true
        };
        let mut weights = Weights::watched(&checkpoint, &mut watch);
        for (name, shape) in expected(&model.manifest) {
            weights.take(&name, &shape).unwrap();
        }
        assert_eq!(weights.report().unused, Vec::<String>::new(), "the list of the architecture's tensors is complete");
        assert_eq!(last.0, last.1);
        let mut left = 2;
        let mut watch = |_, _| {
            left -= 1;
            left > 0
        };
        let mut weights = Weights::watched(&checkpoint, &mut watch);
        let taken: Vec<_> =
            expected(&model.manifest).iter().map_while(|(n, shape)| weights.take(n, shape).ok()).collect();
        assert_eq!(taken.len(), 1, "the second tensor is read, but no third");
    }
}
