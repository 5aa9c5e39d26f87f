//! Models in memory, by what is in their files: found, checked, read tensor by tensor, with progress and a way out.
//!
//! Whoever trains a model writes its file again under the same name. So a name or a path says nothing: a file is hashed when
//! its length or its time have changed, and a model is known by the hash of its weights and by its manifest.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;

use super::error::WorkError;
use super::hashing::Hashing;
use super::message::{Event, JobId, ModelInfo};
use super::probe;
use crate::checkpoint::{Checkpoint, CheckpointError, LoadReport, Watch, Weights};
use crate::classifier::{Classifier, Extractor};
use crate::file::Stamp;
use crate::generator::Generator;
use crate::refiner::Chunks;
use crate::zoo::{Manifest, Model, resolve};

/// A model in memory and what is known of it.
#[derive(Debug)]
pub(super) struct Loaded<M> {
    pub(super) info: ModelInfo,
    pub(super) model: Arc<M>,
}

impl<M> Clone for Loaded<M> {
    fn clone(&self) -> Self {
        Self { info: self.info.clone(), model: Arc::clone(&self.model) }
    }
}

/// What generators and classifiers have in common.
pub(super) trait Network: Sized + Send + Sync + 'static {
    /// In words.
    const ROLE: &'static str;
    /// What of it is compared between two devices, in words.
    const CHECKED: &'static str;

    /// Reads the weights.
    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError>;

    /// `[C, H, W]`.
    fn shape(&self) -> [usize; 3];

    /// Bytes of the weights on the device.
    fn bytes(&self) -> u64;

    /// What is told when it is there.
    fn event(job: JobId, info: ModelInfo) -> Event;

    /// Numbers of one call for `n` samples, the same on every device but for rounding; `size` is that of pictures,
    /// `[C, H, W]`, where it takes some.
    fn probe(&self, size: [usize; 3], n: usize, chunks: Chunks, device: &Device) -> Result<Vec<f32>, WorkError>;
}

impl Network for Generator {
    const ROLE: &'static str = "generator";
    const CHECKED: &'static str = "pictures";

    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError> {
        Self::read(manifest, weights, device)
    }

    fn shape(&self) -> [usize; 3] {
        self.sample_shape()
    }

    fn bytes(&self) -> u64 {
        self.weight_bytes()
    }

    fn event(job: JobId, info: ModelInfo) -> Event {
        Event::Generator { job, info }
    }

    fn probe(&self, _: [usize; 3], n: usize, _: Chunks, device: &Device) -> Result<Vec<f32>, WorkError> {
        probe::denoise(self, n, device)
    }
}

impl Network for Classifier {
    const ROLE: &'static str = "classifier";
    const CHECKED: &'static str = "gradients";

    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError> {
        Self::read(manifest, weights, device)
    }

    fn shape(&self) -> [usize; 3] {
        self.sample_shape()
    }

    fn bytes(&self) -> u64 {
        self.weight_bytes()
    }

    fn event(job: JobId, info: ModelInfo) -> Event {
        Event::Classifier { job, info }
    }

    fn probe(&self, size: [usize; 3], n: usize, chunks: Chunks, device: &Device) -> Result<Vec<f32>, WorkError> {
        probe::differentiate(self, size, n, (chunks, device))
    }
}

impl Network for Extractor {
    const ROLE: &'static str = "extractor";
    const CHECKED: &'static str = "features";

    fn read(manifest: &Manifest, weights: Weights<'_>, device: &Device) -> Result<(Self, LoadReport), CheckpointError> {
        Self::read(manifest, weights, device)
    }

    fn shape(&self) -> [usize; 3] {
        Self::sample_shape()
    }

    fn bytes(&self) -> u64 {
        self.weight_bytes()
    }

    /// It stands where a classifier does, and its file is told of in the same way.
    fn event(job: JobId, info: ModelInfo) -> Event {
        Event::Classifier { job, info }
    }

    fn probe(&self, size: [usize; 3], n: usize, chunks: Chunks, device: &Device) -> Result<Vec<f32>, WorkError> {
        probe::look(self, size, n, (chunks, device))
    }
}

/// The models of the compute thread.
#[derive(Default)]
pub(super) struct Models {
    /// Files whose content is known.
    hashed: HashMap<Vec<PathBuf>, (Vec<Stamp>, String)>,
    shelf: Shelf,
}

/// The SHA-256 of a model's files.
enum Hash {
    Found(String),
    UnderWay(Hashing),
}

impl Models {
    /// The model that a name or path means now, and whether it had to be read. `watch(what, done, of)` hears of every piece that
    /// is read and may end it. Models that were not used for long make room when all would take more than `budget` bytes.
    pub(super) fn load<M: Network>(
        &mut self,
        reference: &str,
        cache: &Path,
        (device, budget): (&Device, u64),
        watch: &mut dyn FnMut(&str, u64, u64) -> bool,
    ) -> Result<(Loaded<M>, bool), CheckpointError> {
        let found = resolve(reference, cache)?;
        let named =
            |loaded: Loaded<M>| Loaded { info: ModelInfo { reference: reference.to_owned(), ..loaded.info }, ..loaded };
        let files = files_of(&found)?;
        let stamps = Stamp::of_all(&files);
        if let Some((_, sha256)) = self.hashed.get(&files).filter(|(known, _)| Some(known) == stamps.as_ref())
            && let Some(loaded) = self.shelf.get(sha256, &found.manifest)
        {
            return Ok((named(loaded), false));
        }
        let name = Path::new(reference).file_name().map_or_else(|| reference.into(), std::ffi::OsStr::to_string_lossy);
        let checking = format!("checking {} {name}", M::ROLE);
        let checkpoint = found.open()?;
        let hashing = Hashing::begin(&checkpoint)?;
        let confirm = |hashing: Hashing, watch: &mut dyn FnMut(&str, u64, u64) -> bool| {
            found.confirm(hashing.finish(&mut |done, of| watch(&checking, done, of))?)
        };
        // The hash comes first where it may spare the reading; else both are found at once.
        let hash = if self.shelf.may_hold(M::ROLE, &found.manifest) {
            Hash::Found(confirm(hashing, watch)?)
        } else {
            Hash::UnderWay(hashing)
        };
        let held = match &hash {
            Hash::Found(sha256) => self.shelf.get::<M>(sha256, &found.manifest),
            Hash::UnderWay(_) => None,
        };
        let is_new = held.is_none();
        let loaded = match held {
            Some(loaded) => loaded,
            None => {
                // The old ones first: all may not fit.
                self.shelf.make_room(M::ROLE, checkpoint.bytes(), budget);
                let reading = format!("reading {} {name}", M::ROLE);
                let (network, report) =
                    read::<M>(&found.manifest, &checkpoint, device, &mut |done, of| watch(&reading, done, of))?;
                let sha256 = match hash {
                    Hash::Found(sha256) => sha256,
                    Hash::UnderWay(hashing) => confirm(hashing, watch)?,
                };
                let sample_shape = M::shape(&network);
                let Manifest { title, classes, .. } = found.manifest.clone();
                let info = ModelInfo { reference: reference.to_owned(), title, sha256, classes, sample_shape, report };
                let loaded = Loaded { info, model: Arc::new(network) };
                // What was read while its file was written again is used once and known by no name.
                if stamps.is_some() && Stamp::of_all(&files) == stamps {
                    self.shelf.put(found.manifest, &loaded);
                }
                loaded
            }
        };
        // A file that is being written to is looked at again next time.
        match stamps.filter(|stamps| Stamp::of_all(&files).as_ref() == Some(stamps)) {
            Some(stamps) => self.hashed.insert(files, (stamps, loaded.info.sha256.clone())),
            None => self.hashed.remove(&files),
        };
        Ok((named(loaded), is_new))
    }
}

/// The file of the weights, or those of a folder.
fn files_of(model: &Model) -> Result<Vec<PathBuf>, CheckpointError> {
    if model.weights.is_dir() {
        return Ok(crate::zoo::open(&model.weights)?.checkpoint.files().to_vec());
    }
    Ok(vec![model.weights.clone()])
}

fn read<M: Network>(
    manifest: &Manifest,
    checkpoint: &Checkpoint,
    device: &Device,
    watch: &mut Watch<'_>,
) -> Result<(M, LoadReport), CheckpointError> {
    M::read(manifest, Weights::watched(checkpoint, watch), device)
}

/// Models of any kind, the least recently used first.
#[derive(Default)]
struct Shelf(Vec<Held>);

struct Held {
    role: &'static str,
    manifest: Manifest,
    info: ModelInfo,
    model: Arc<dyn Any + Send + Sync>,
    bytes: u64,
}

impl Shelf {
    /// Whether some file of this manifest was read before.
    fn may_hold(&self, role: &str, manifest: &Manifest) -> bool {
        self.0.iter().any(|held| held.role == role && held.manifest == *manifest)
    }

    /// A model by its content, which then is the most recently used.
    fn get<M: Network>(&mut self, sha256: &str, manifest: &Manifest) -> Option<Loaded<M>> {
        let is = |held: &Held| held.role == M::ROLE && held.info.sha256 == sha256 && held.manifest == *manifest;
        let held = self.0.remove(self.0.iter().position(is)?);
        let loaded = Loaded { info: held.info.clone(), model: Arc::clone(&held.model).downcast().ok()? };
        self.0.push(held);
        Some(loaded)
    }

    fn put<M: Network>(&mut self, manifest: Manifest, loaded: &Loaded<M>) {
        let (info, model) = (loaded.info.clone(), Arc::clone(&loaded.model));
        self.0.push(Held { role: M::ROLE, manifest, info, bytes: model.bytes(), model });
    }

    /// Forgets models until another of `bytes` fits the budget. The newest of every other role stays: a generator and a
    /// classifier are needed in turn, and reading one anew each time would take longer than anything.
    fn make_room(&mut self, role: &str, bytes: u64, budget: u64) {
        while self.0.iter().map(|held| held.bytes).sum::<u64>().saturating_add(bytes) > budget {
            let newest = |place: usize| self.0[place + 1..].iter().all(|later| later.role != self.0[place].role);
            let spare = |place: &usize| self.0[*place].role == role || !newest(*place);
            match (0..self.0.len()).find(spare) {
                Some(place) => drop(self.0.remove(place)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{BUNDLED, bundled_manifest};

    fn held(role: &'static str, sha256: &str, bytes: u64) -> Held {
        let manifest = bundled_manifest(&BUNDLED[0]);
        let info = ModelInfo {
            reference: String::new(),
            title: String::new(),
            sha256: sha256.to_owned(),
            classes: Vec::new(),
            sample_shape: [3, 32, 32],
            report: LoadReport::default(),
        };
        Held { role, manifest, info, model: Arc::new(()), bytes }
    }

    fn names(shelf: &Shelf) -> Vec<&str> {
        shelf.0.iter().map(|held| held.info.sha256.as_str()).collect()
    }

    #[test]
    fn the_least_recently_used_make_room_and_the_newest_of_each_other_role_stays() {
        let full = || {
            Shelf(vec![
                held("classifier", "a", 10),
                held("generator", "b", 10),
                held("classifier", "c", 10),
                held("generator", "d", 10),
            ])
        };
        for (role, bytes, budget, left) in [
            ("classifier", 10, 50, vec!["a", "b", "c", "d"]),
            ("classifier", 10, 49, vec!["b", "c", "d"]),
            ("classifier", 10, 30, vec!["c", "d"]),
            ("classifier", 10, 20, vec!["d"]),
            ("classifier", 99, 0, vec!["d"]),
            ("generator", 99, 0, vec!["c"]),
        ] {
            let mut shelf = full();
            shelf.make_room(role, bytes, budget);
            assert_eq!(names(&shelf), left, "{role} of {bytes} in {budget}");
        }
    }

    #[test]
    fn more_than_two_models_have_a_place_and_are_read_once_while_they_fit() {
        let cache = tempfile::tempdir().unwrap();
        let mut models = Models::default();
        let device = Device::flex();
        let mut is_read = |classifier: bool, name: &str, budget: u64| {
            let (place, mut watch) = ((&device, budget), |_: &str, _: u64, _: u64| true);
            if classifier {
                models.load::<Classifier>(name, cache.path(), place, &mut watch).unwrap().1
            } else {
                models.load::<Generator>(name, cache.path(), place, &mut watch).unwrap().1
            }
        };
        let all = [(true, "gtsrb12-joint"), (false, "gtsrb12-cm"), (true, "gtsrb12-robust")];
        assert_eq!(all.map(|(classifier, name)| is_read(classifier, name, u64::MAX)), [true; 3]);
        assert_eq!(all.map(|(classifier, name)| is_read(classifier, name, u64::MAX)), [false; 3]);
        // Where only one of each fits, the other classifier makes room.
        assert!(is_read(false, "gtsrb12-edm", 0), "it was never read");
        let classifiers = ["gtsrb12-robust", "gtsrb12-joint", "gtsrb12-robust"];
        assert_eq!(classifiers.map(|name| is_read(true, name, 0)), [false, true, true]);
    }
}
