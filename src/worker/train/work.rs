//! What every training has in common, whatever is trained.

use std::path::Path;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

use super::config::{Check, Config, Goal};
use super::error::TrainingError;
use super::folder::{self, CONFIG, Reader, RunFolder};
use super::record::{PICTURES, Sources};
use super::room;
use super::tables;
use super::told::{Role, TrainReport, TrainSettings};
use crate::checkpoint::CheckpointError;
use crate::data::DataSet;
use crate::generator::GenerateSettings;
use crate::train::{Course, Trainer, Validation};
use crate::worker::device::OpenDevice;
use crate::zoo::{Manifest, ManifestKind};

/// A training that can begin or go on: nothing is written yet.
pub(super) struct Ready {
    pub(super) trainer: Box<dyn Trainer>,
    pub(super) data: DataSet,
    /// How many it learns from, and how many are held out.
    pub(super) pictures: (usize, usize),
    /// Of the networks.
    pub(super) manifest: Manifest,
    /// In words.
    pub(super) objective: String,
    /// The configuration with every value.
    pub(super) config: String,
    /// What must stay of it, for whoever goes on.
    pub(super) meaning: String,
    /// What it learns from.
    pub(super) sources: Sources,
    pub(super) course: Course,
    /// Steps from one checkpoint to the next, and how many stay.
    pub(super) keeps: (u64, usize),
    /// Pictures that are made with each: for the sheet, and for whoever looks on.
    pub(super) samples: [usize; 2],
    /// What else is worth knowing, one line each.
    pub(super) notes: Vec<String>,
}

impl Ready {
    /// Takes over what the folder holds, where it goes on with that.
    pub(super) fn new<N, O>(
        settings: &TrainSettings,
        config: &Config<N, O>,
        (mut trainer, data, mut sources): (Box<dyn Trainer>, DataSet, Sources),
        (manifest, objective): (Manifest, String),
    ) -> anyhow::Result<Self>
    where
        N: Check + serde::Serialize + serde::de::DeserializeOwned,
        O: Goal + serde::Serialize + serde::de::DeserializeOwned,
    {
        let (out, mut notes) = (&settings.out, Vec::new());
        let found = if settings.resume { folder::last_whole(out, &mut notes)? } else { None };
        let recorded = found.as_ref().map(|(_, record)| record.config.as_str()).filter(|text| !text.is_empty());
        let begun = match recorded {
            Some(text) => Some(text.parse()?),
            // Checkpoints of earlier versions do not say it.
            None if settings.resume && folder::is_begun(out) => {
                Some(Config::<N, O>::read(&out.join(CONFIG), config.role())?.meaning())
            }
            None => None,
        };
        if let Some(begun) = begun {
            config.check_same(&begun, out)?;
        }
        sources.insert(PICTURES.to_owned(), data.sha256());
        let (batch, steps, pictures) = (config.course.batch, config.course.steps, data.training.len());
        if let Some((found, record)) = found {
            record.check_sources(&sources, out)?;
            if found.step > steps {
                return Err(TrainingError::Done { path: out.clone(), done: found.step, steps }.into());
            }
            let mut reader = Reader::new(&found);
            trainer.take(found.step, &mut |list, name, shape| reader.tensor(list, name, shape))?;
        }
        if pictures > 0 && batch > pictures {
            notes.push(format!(
                "note: a step has {batch} pictures, but there are {pictures} to learn from, so it has some more than once"
            ));
        }
        let (keeps, meaning) = ((config.output.every, config.output.keep), config.meaning().to_string());
        let samples = [config.output.samples as usize, settings.samples as usize];
        let (course, config) = (config.course.clone(), config.text()?);
        let pictures = (pictures, data.validation.len());
        Ok(Self {
            trainer,
            data,
            pictures,
            manifest,
            objective,
            config,
            meaning,
            sources,
            course,
            keeps,
            samples,
            notes,
        })
    }

    /// How pictures are made of the last checkpoint, where that is wanted.
    pub(super) fn sampling(&self) -> Option<GenerateSettings> {
        let samples = self.samples[0].max(self.samples[1]) as u32;
        let sampling = self.trainer.sampling().filter(|_| samples > 0)?;
        Some(GenerateSettings { samples, ..sampling })
    }

    /// What it is, for whoever decides whether it begins.
    pub(super) fn report(&self, role: Role, open: &OpenDevice, out: &Path) -> TrainReport {
        let Self { trainer, data, pictures, manifest, objective, config, course, notes, .. } = self;
        let weights = trainer
            .kept()
            .first()
            .map_or(0, |list| list.tensors.iter().map(|(_, shape, _)| shape.iter().product::<usize>() as u64).sum());
        let step = trainer.steps_done();
        TrainReport {
            role,
            name: manifest.name.clone(),
            objective: objective.clone(),
            data: [&data.report[..], notes].concat(),
            pictures: *pictures,
            shape: data.shape(),
            classes: data.classes.clone(),
            weights,
            steps: (step, course.steps),
            batch: course.batch,
            device: open.info.clone(),
            config: config.clone(),
            losses: if step > 0 { tables::losses(out, step) } else { Vec::new() },
            kept: if step > 0 { folder::snapshots(out) } else { Vec::new() },
        }
    }

    /// What whoever finds a checkpoint should know.
    pub(super) fn card(&self, step: u64) -> String {
        card(&self.manifest, &self.objective, (step, self.course.batch), &self.data.report)
    }
}

/// Held-out pictures that a network is judged by.
const JUDGED: usize = 256;

/// Judges a network by pictures that are held out, spread over all of them, and writes it down.
pub(super) fn validate(ready: &mut Ready, run: &mut RunFolder, step: u64) -> anyhow::Result<Option<Validation>> {
    let Ready { trainer, data, .. } = ready;
    let every = data.validation.len().div_ceil(JUDGED).max(1);
    let places: Vec<usize> = data.validation.iter().copied().step_by(every).collect();
    let (pictures, labels) = data.batch(&places);
    let Some(found) = trainer.validate(&pictures, &labels)? else { return Ok(None) };
    run.validated(step, &found)?;
    Ok(Some(found))
}

/// Refuses, before anything is made, a network whose files could not be opened again, and one that memory cannot hold.
pub(super) fn check(
    manifest: &Manifest,
    course: &Course,
    settings: &TrainSettings,
    device: &Device,
) -> anyhow::Result<()> {
    let named = Manifest { file: "model.safetensors".to_owned(), ..manifest.clone() };
    let path = settings.config.clone().unwrap_or_else(|| settings.out.join(CONFIG));
    Manifest::parse(&toml::to_string(&named)?, &path).map_err(|error| match error {
        CheckpointError::ManifestValue { path, what, expected } => {
            anyhow::Error::new(TrainingError::Value { path, what, expected })
        }
        other => other.into(),
    })?;
    if matches!(device.as_dispatch(), DispatchDevice::Flex(_)) {
        room::check(manifest, course, &path)?;
    }
    Ok(())
}

/// What is trained, as a model; name, file and hash of each of its files are their own.
pub(super) fn manifest<N, O>(config: &Config<N, O>, data: &DataSet, source: String, kind: ManifestKind) -> Manifest {
    let [channels, height, width] = data.shape();
    Manifest {
        name: config.name.clone(),
        title: config.name.clone(),
        file: String::new(),
        sha256: None,
        prefix: None,
        resolution: height,
        width: (width != height).then_some(width),
        channels,
        classes: data.classes.clone(),
        source,
        licence: config.licence.clone(),
        kind,
    }
}

/// What whoever finds a checkpoint should know.
fn card(manifest: &Manifest, objective: &str, (step, batch): (u64, usize), report: &[String]) -> String {
    let [h, w] = manifest.size();
    format!(
        "# {}\n\nA {} of {w}×{h} pictures, trained with Lapidary {}: {objective}, {step} steps of {batch} pictures.\n\n\
         `model.safetensors` holds the weights of the last step, `ema_*.safetensors` averages over the steps, which usually \
         are better; each has a manifest (.toml) beside it and is used by its path. The configuration is `config.toml` of the \
         training. What it learnt from:\n\n{}\n\nClasses: {}.\n\nLicence: {}.\n",
        manifest.name,
        manifest.role(),
        env!("CARGO_PKG_VERSION"),
        report.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n"),
        if manifest.classes.is_empty() { "none".to_owned() } else { manifest.classes.join(", ") },
        manifest.licence
    )
}
