//! The work of a training, whatever is trained: begun, gone on with, kept, and told.

use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use crossbeam::channel::{Receiver, bounded};

use super::config::{Check, Config};
use super::error::TrainingError;
use super::folder::{self, CONFIG, Described, Found, Reader, RunFolder};
use super::options::TrainOptions;
use crate::cli::progress::Progress;
use crate::cli::say::{say_err, say_out};
use crate::cli::{Outcome, signals};
use crate::data::DataSet;
use crate::train::{Order, Trainer};
use crate::units::duration;
use crate::worker::{DeviceInfo, open_device};
use crate::zoo::{Manifest, ManifestKind};

/// A training that is about to begin or go on.
pub(super) struct Training {
    progress: Progress,
    interrupts: Receiver<u8>,
    /// Where it goes on.
    found: Option<Found>,
    pub(super) device: (Device, DeviceInfo),
    quiet: bool,
}

/// What a training is made of once its data and its network are known.
pub(super) struct Job<'a> {
    pub(super) trainer: &'a mut dyn Trainer,
    pub(super) data: &'a DataSet,
    /// Of the networks.
    pub(super) manifest: Manifest,
    /// In words.
    pub(super) objective: &'a str,
}

impl Training {
    /// Reads the configuration, and looks what is in the folder; nothing is written.
    pub(super) fn begin<N, O>(options: &TrainOptions) -> anyhow::Result<(Self, Config<N, O>)>
    where
        N: Check + serde::Serialize + serde::de::DeserializeOwned,
        O: Check + serde::Serialize + serde::de::DeserializeOwned,
    {
        let (out, begun) = (&options.out, folder::is_begun(&options.out));
        match (options.resume, begun) {
            (false, _) => folder::check_free(out)?,
            (true, false) if options.config.is_none() => {
                return Err(TrainingError::NotBegun { path: out.clone() }.into());
            }
            _ => {}
        }
        let path = options.config.clone().unwrap_or_else(|| out.join(CONFIG));
        let config = Config::<N, O>::read(&path)?;
        let (interrupt, interrupts) = bounded(1);
        // First: threads inherit which signals they leave to another one.
        signals::listen(interrupt, out.clone());
        let device = open_device(&options.device)?;
        let (progress, found) = (Progress::new(options.quiet), folder::last(out).filter(|_| options.resume));
        Ok((Self { progress, interrupts, found, device, quiet: options.quiet }, config))
    }

    /// Reads the pictures, and fills in what they say.
    pub(super) fn read<N, O>(&mut self, config: &mut Config<N, O>) -> anyhow::Result<Result<DataSet, Outcome>> {
        for path in &mut config.data.pictures {
            *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
            if !path.exists() {
                return Err(TrainingError::NoPictures { path: path.clone() }.into());
            }
        }
        let (progress, interrupts, mut signal) = (&mut self.progress, &self.interrupts, None);
        let data = DataSet::read(&config.data.pictures, &config.data.wanted(), &mut |done, of| {
            progress.show_steps("reading", done as u64, of as u64, done as u64);
            signal = interrupts.try_recv().ok();
            signal.is_none()
        })?;
        if let Some(signal) = signal {
            return Ok(Err(Outcome::Interrupted(signal)));
        }
        data.report.iter().for_each(|line| self.note(line));
        let [_, h, w] = data.shape();
        config.data.resolution = Some(h);
        config.data.width = (w != h).then_some(w);
        config.data.classes.clone_from(&data.classes);
        Ok(Ok(data))
    }

    /// Says what may be left out when quiet.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    fn say(&self, text: &str) {
        self.progress.bar.suspend(|| say_err(text));
    }

    /// Makes the steps that are left.
    pub(super) fn train<N, O>(
        &mut self,
        options: &TrainOptions,
        config: &Config<N, O>,
        job: Job<'_>,
    ) -> anyhow::Result<Outcome>
    where
        N: Check + serde::Serialize + serde::de::DeserializeOwned,
        O: Check + serde::Serialize + serde::de::DeserializeOwned,
    {
        let Job { trainer, data, manifest, objective } = job;
        let out = &options.out;
        if options.resume && folder::is_begun(out) {
            config.check_same(&Config::read(&out.join(CONFIG))?, out)?;
        }
        if let Some(found) = &self.found {
            let mut reader = Reader::new(found);
            trainer.take(found.step, &mut |list, name, shape| reader.tensor(list, name, shape))?;
        }
        let (steps, batch, seed) = (config.course.steps, config.course.batch, config.course.seed);
        let first = trainer.steps_done();
        let plan = format!(
            "{objective}: steps {first} to {steps} of {batch} pictures each, on {}, into {}",
            self.device.1.name,
            out.display()
        );
        if options.dry_run {
            say_out(&format!("{plan}\n\n{}", config.text()?.trim_end()))?;
            return Ok(Outcome::Done);
        }
        let mut run = RunFolder::open(out, &config.text()?, first)?;
        self.note(&plan);
        let mut order = (!data.training.is_empty()).then(|| Order::new(seed, data.training.len()));
        let (start, mut kept) = (Instant::now(), None);
        let mut last = f64::NAN;
        let interrupted = loop {
            let step = trainer.steps_done();
            let signal = self.interrupts.try_recv().ok();
            let is_due = step % config.output.every == 0 || step >= steps || signal.is_some();
            if is_due && step > first {
                let card = card(&manifest, objective, (step, batch), &data.report);
                let of = Described { step, manifest: &manifest, card };
                // First, so that no checkpoint lacks its row.
                if let Some(words) = validate(trainer, data, &mut run, step)? {
                    self.note(&words);
                }
                if let Some(pictures) = trainer.samples(config.output.samples, data.shape())? {
                    run.pictured(step, &pictures)?;
                }
                kept = Some(run.keep(&trainer.kept(), &of, config.output.keep)?);
            }
            if signal.is_some() || step >= steps {
                break signal;
            }
            let places = order.as_mut().map_or_else(Vec::new, |order| order.batch(step, batch));
            let places: Vec<usize> = places.into_iter().map(|place| data.training[place]).collect();
            let (pictures, labels) = data.batch(&places);
            let since = Instant::now();
            let learned = trainer.step(&pictures, &labels)?;
            run.row(step + 1, learned, since.elapsed().as_secs_f64())?;
            last = learned.loss;
            self.progress.show_steps("training", step + 1, steps, batch as u64);
            if let Some(line) = self.progress.line(Instant::now()) {
                self.say(&format!("{line}, loss {last:.5}"));
            }
        };
        self.progress.bar.finish_and_clear();
        let place = kept.or_else(|| self.found.as_ref().map(|found| found.path.clone()));
        self.end(options, (trainer.steps_done() - first, start.elapsed().as_secs_f64(), last), place.as_deref())?;
        Ok(interrupted.map_or(Outcome::Done, Outcome::Interrupted))
    }

    fn end(
        &self,
        options: &TrainOptions,
        (steps, secs, loss): (u64, f64, f64),
        place: Option<&Path>,
    ) -> anyhow::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let lies = place.map_or_else(|| "nothing is kept".to_owned(), |place| format!("kept in {}", place.display()));
        let made = if steps == 0 {
            "no step was made".to_owned()
        } else {
            format!("{steps} steps in {}, loss {loss:.5}", duration(secs))
        };
        say_out(&format!("{made}: {lies}"))?;
        self.say(&format!(
            "`lapidary train {} --resume --out {}` goes on, with more steps in its config.toml if all are done",
            options.role.word(),
            options.out.display()
        ));
        Ok(())
    }
}

/// Held-out pictures that a network is judged by.
const JUDGED: usize = 256;

/// Judges a network by pictures that are held out, spread over all of them; what it comes to, in words.
fn validate(
    trainer: &mut dyn Trainer,
    data: &DataSet,
    run: &mut RunFolder,
    step: u64,
) -> anyhow::Result<Option<String>> {
    let every = data.validation.len().div_ceil(JUDGED).max(1);
    let places: Vec<usize> = data.validation.iter().copied().step_by(every).collect();
    let (pictures, labels) = data.batch(&places);
    let Some(found) = trainer.validate(&pictures, &labels)? else { return Ok(None) };
    run.validated(step, &found)?;
    Ok(Some(format!("step {step}: {}", found.words)))
}

/// Refuses, before anything is made, a network whose files could not be opened again.
pub(super) fn check(manifest: &Manifest, options: &TrainOptions) -> anyhow::Result<()> {
    let named = Manifest { file: "model.safetensors".to_owned(), ..manifest.clone() };
    let path = options.config.clone().unwrap_or_else(|| options.out.join(CONFIG));
    Manifest::parse(&toml::to_string(&named)?, &path)?;
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
