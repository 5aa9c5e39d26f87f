//! `lapidary train boosted`: where its pictures come from, and where they are kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;

use super::config::GeneratorConfig;
use super::folder::BANK;
use super::record::{Sources, open_source};
use crate::checkpoint::{Checkpoint, CheckpointError, Weights, write};
use crate::classifier::{Classifier, translation};
use crate::data::DataSet;
use crate::file::{sha256, sha256_of};
use crate::generator::Generator;
use crate::image::ImageBatch;
use crate::refiner::{Chunks, RefineSettings};
use crate::train::{Bank, Booster, Boosting, Objective, Refined, Shelf};
use crate::worker::device::OpenDevice;
use crate::zoo::{ManifestKind, Model, PreconditioningName, resolve};

/// The generator that is boosted.
fn beginning(config: &GeneratorConfig, cache: &Path) -> anyhow::Result<Model> {
    let Some(from) = &config.network.from else {
        bail!(
            "[network] does not say which generator is boosted: name one in from, a consistency model that makes pictures in one step"
        );
    };
    let model = resolve(from, cache)?;
    match &model.manifest.kind {
        ManifestKind::Generator(spec) if spec.diffusion.preconditioning == PreconditioningName::Consistency => {
            Ok(model)
        }
        _ => bail!(
            "{from:?} is no consistency model, which makes pictures in one step: name one in from, or make one of it by the objective \"easy-consistency\""
        ),
    }
}

/// In place of pictures to learn from, what is known of the generator's own; `None` where others are learnt from.
pub(super) fn data(config: &GeneratorConfig, cache: &Path) -> anyhow::Result<Option<DataSet>> {
    let Objective::Boosted(boosting) = &config.objective else { return Ok(None) };
    let manifest = beginning(config, cache)?.manifest;
    let report = format!("pictures of {}, refined with {}", manifest.name, boosting.refine.classifier);
    Ok(Some(DataSet::none(manifest.shape(), manifest.classes, vec![report])))
}

/// The refined pictures of a training in the folder `out`.
pub(super) fn bank(
    config: &GeneratorConfig,
    boosting: &Boosting,
    (cache, out): (&Path, &Path),
    OpenDevice { device, info }: &OpenDevice,
    (notes, sources): (&mut Vec<String>, &mut Sources),
) -> anyhow::Result<Bank> {
    let (seed, batch) = (config.course.seed, config.course.batch);
    let (model, judge) = (beginning(config, cache)?, resolve(&boosting.refine.classifier, cache)?);
    let names = ["network.from", "objective.refine.classifier"];
    let [generator, classifier] = [open_source(sources, names[0], &model)?, open_source(sources, names[1], &judge)?];
    let hashes = names.map(|name| sources[name].clone());
    let (generator, _) = Generator::read(&model.manifest, Weights::new(&generator), device)?;
    let (classifier, _) = Classifier::read(&judge.manifest, Weights::new(&classifier), device)?;
    let [channels, height, width] = generator.sample_shape();
    if classifier.sample_shape()[0] != channels {
        bail!(
            "{:?} judges pictures with {} channels, but the generator makes some with {channels}: name another classifier in [objective.refine]",
            boosting.refine.classifier,
            classifier.sample_shape()[0]
        );
    }
    classifier.check_size([height, width])?;
    let (mut settings, made, seen) = (boosting.refine.clone(), generator.classes(), &judge.manifest.classes);
    notes.extend(settings.target.suit(made, seen)?.map(str::to_owned));
    let classes = if made.is_empty() { Vec::new() } else { translation(made, seen).unwrap_or_default() };
    let chunks = if info.cpu { Chunks::CPU } else { Chunks::gpu(batch) };
    let shelf = Folder::new(&out.join(BANK), hashes, &settings, (seed, batch));
    let booster = Booster::new((generator, classifier), settings, classes, seed, (chunks, device.clone()));
    Ok(Bank::new(booster, Box::new(shelf), boosting, batch))
}

/// Digits of a SHA-256 in names.
const NAMED: usize = 16;

/// Pictures in files of a folder, whose name stands for everything that they depend on.
struct Folder(PathBuf);

impl Folder {
    fn new(
        bank: &Path,
        [generator, classifier]: [String; 2],
        settings: &RefineSettings,
        (seed, batch): (u64, usize),
    ) -> Self {
        // Its place is no part of what it computes.
        let settings = RefineSettings { classifier, ..settings.clone() };
        let of = json!({ "generator": generator, "refine": settings, "seed": seed, "batch": batch }).to_string();
        Self(bank.join(&sha256(&[of.as_bytes()])[..NAMED]))
    }

    /// Files of these pictures, with what the name of each says that it holds: the beginning of its SHA-256.
    fn files(&self, name: &str) -> Vec<(PathBuf, String)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let of = |entry: fs::DirEntry| {
            let sha256 =
                entry.file_name().to_str()?.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(ENDING)?.to_owned();
            Some((entry.path(), sha256))
        };
        entries.filter_map(of).collect()
    }
}

/// Tensors of a file.
const PICTURES: &str = "pictures";
const OBJECTIVE: &str = "objective";
/// Of the names of files.
const ENDING: &str = ".safetensors";

impl Shelf for Folder {
    fn take(&mut self, name: &str, shape: [usize; 4]) -> Option<Refined> {
        // What is damaged is not there.
        let is_whole =
            |(path, sha256): &(PathBuf, String)| sha256_of(path).is_ok_and(|found| found[..NAMED] == *sha256);
        let (path, _) = self.files(name).into_iter().find(is_whole)?;
        let checkpoint = Checkpoint::open(&path).ok()?;
        let mut weights = Weights::new(&checkpoint);
        let pictures = weights.take(PICTURES, &shape).ok()?;
        let objective = weights.take(OBJECTIVE, &shape[..1]).ok()?;
        Some(Refined { pictures: ImageBatch::new(shape, pictures), objective })
    }

    fn put(&mut self, name: &str, Refined { pictures, objective }: &Refined) -> Result<(), CheckpointError> {
        let new = self.0.join(format!("{name}.new"));
        let refuse = |source| CheckpointError::Write { path: new.clone(), source };
        fs::create_dir_all(&self.0).map_err(refuse)?;
        let tensors = [
            (PICTURES.to_owned(), pictures.shape().to_vec(), pictures.pixels().to_vec()),
            (OBJECTIVE.to_owned(), vec![objective.len()], objective.clone()),
        ];
        write(&new, &tensors)?;
        for (damaged, _) in self.files(name) {
            fs::remove_file(damaged).map_err(refuse)?;
        }
        let sha256 = sha256_of(&new).map_err(refuse)?;
        fs::rename(&new, self.0.join(format!("{name}-{}{ENDING}", &sha256[..NAMED]))).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_are_damaged_are_not_there_and_are_kept_anew() {
        let root = tempfile::tempdir().unwrap();
        let of = ["a", "b"].map(str::to_owned);
        let mut shelf = Folder::new(root.path(), of, &RefineSettings::default(), (0, 2));
        let shape = [2, 1, 1, 2];
        let refined = Refined { pictures: ImageBatch::new(shape, vec![0.25; 4]), objective: vec![1.0, 2.0] };
        assert!(shelf.take("000001", shape).is_none());
        for name in ["000001", "000002"] {
            shelf.put(name, &refined).unwrap();
        }
        let same = |found: Option<Refined>| {
            found.is_some_and(|it| (&it.pictures, &it.objective) == (&refined.pictures, &refined.objective))
        };
        assert!(same(shelf.take("000001", shape)));
        // One wrong byte in a picture.
        let (path, _) = shelf.files("000001").pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(shelf.take("000001", shape).is_none() && same(shelf.take("000002", shape)));
        shelf.put("000001", &refined).unwrap();
        assert!(same(shelf.take("000001", shape)));
        assert_eq!(fs::read_dir(&shelf.0).unwrap().count(), 2, "the damaged one is gone");
    }
}
