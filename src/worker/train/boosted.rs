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
use crate::file::sha256;
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
        Self(bank.join(&sha256(&[of.as_bytes()])[..16]))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.safetensors"))
    }
}

/// Tensors of a file.
const PICTURES: &str = "pictures";
const OBJECTIVE: &str = "objective";

impl Shelf for Folder {
    fn take(&mut self, name: &str, shape: [usize; 4]) -> Option<Refined> {
        let path = self.file(name);
        let checkpoint = path.is_file().then(|| Checkpoint::open(&path).ok()).flatten()?;
        let mut weights = Weights::new(&checkpoint);
        let pictures = weights.take(PICTURES, &shape).ok()?;
        let objective = weights.take(OBJECTIVE, &shape[..1]).ok()?;
        Some(Refined { pictures: ImageBatch::new(shape, pictures), objective })
    }

    fn put(&mut self, name: &str, Refined { pictures, objective }: &Refined) -> Result<(), CheckpointError> {
        let path = self.file(name);
        let new = path.with_extension("new");
        let refuse = |source| CheckpointError::Write { path: path.clone(), source };
        fs::create_dir_all(&self.0).map_err(refuse)?;
        let tensors = [
            (PICTURES.to_owned(), pictures.shape().to_vec(), pictures.pixels().to_vec()),
            (OBJECTIVE.to_owned(), vec![objective.len()], objective.clone()),
        ];
        write(&new, &tensors)?;
        fs::rename(&new, &path).map_err(refuse)
    }
}
