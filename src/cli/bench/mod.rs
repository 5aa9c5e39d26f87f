//! `lapidary bench`: how fast this machine is at the demo, or at models of any size.

mod layers;
mod memory;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

pub use self::layers::layers;
use self::memory::PeakMemory;
use crate::generator::GenerateSettings;
use crate::origins::Origins;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::{RunId, Tag};
use crate::worker::{Command, Event, JobId, ModelInfo, Rest};

/// Batches and iterations that are timed unless it is said.
pub const OF_DEMO: (&[u32], u32) = (&[1, 4, 16, 64], 10);
/// Likewise of models that are named, of which one picture may take seconds.
pub const OF_MODELS: (&[u32], u32) = (&[1], 2);
/// Jobs of a batch: pictures, which warms caches, pictures again, iterations.
const JOBS: u64 = 3;

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchOptions {
    /// The models and the device.
    pub settings: Settings,
    /// Numbers of pictures that go through together.
    pub batches: Vec<u32>,
    /// How many are timed of each; the evaluation of the start, which reads the classifier, is not among them.
    pub iterations: u32,
    /// Whether the steps of the networks are timed instead of everything together ([`layers()`]).
    pub layers: bool,
}

/// Reads the models, and in every batch makes pictures twice and refines them.
///
/// Seconds are wall time inside the program: reading a model, its SHA-256 included; a whole call of the sampling plan, the
/// second of two; the median of the iterations.
///
/// # Errors
/// When a model or the device cannot be used, or a thread cannot be started.
pub fn run(options: &BenchOptions, folders: &Folders) -> anyhow::Result<Value> {
    let memory = PeakMemory::start()?;
    let mut timing = Timing::new(options, &memory);
    let (sender, receiver) = crossbeam::channel::bounded(1);
    // One after the other: a waiting command would interrupt the one at work.
    if let Some(first) = timing.command() {
        sender.send(first)?;
    }
    crate::worker::serve(&receiver, &folders.cache, &mut |event| {
        if !timing.hear(event, &memory) {
            return timing.failure.is_empty();
        }
        timing.job += 1;
        timing.command().is_some_and(|command| sender.try_send(command).is_ok())
    });
    anyhow::ensure!(timing.failure.is_empty(), timing.failure.join(": "));
    let mut found = timing.found;
    found["batches"] = Value::Array(timing.batches);
    found["peak_memory_mib"] = json!(memory.mib());
    Ok(found)
}

/// What is known so far.
struct Timing<'a> {
    options: &'a BenchOptions,
    /// Jobs that are over.
    job: u64,
    /// When what is under way began.
    since: Instant,
    pictures: Option<Arc<Origins>>,
    /// Seconds of this batch's iterations.
    took: Vec<f64>,
    batches: Vec<Value>,
    found: Value,
    failure: Vec<String>,
}

impl<'a> Timing<'a> {
    fn new(options: &'a BenchOptions, memory: &PeakMemory) -> Self {
        let found = json!({
            "lapidary": env!("CARGO_PKG_VERSION"),
            "threads": std::thread::available_parallelism().map_or(0, NonZeroUsize::get),
            "start_mib": memory.mib(),
        });
        let (batches, took, failure) = (Vec::new(), Vec::new(), Vec::new());
        Self { options, job: 0, since: Instant::now(), pictures: None, took, batches, found, failure }
    }

    fn batch(&self) -> Option<u32> {
        self.options.batches.get((self.job / JOBS) as usize).copied()
    }

    /// The next job, `None` behind the last.
    fn command(&mut self) -> Option<Command> {
        let samples = self.batch()?;
        let (job, settings) = (JobId(self.job), &self.options.settings);
        let compute = settings.compute.clone();
        self.since = Instant::now();
        if self.job % JOBS < JOBS - 1 {
            let settings = GenerateSettings { samples, ..settings.generate.clone() };
            return Some(Command::Generate { job, settings, compute });
        }
        Some(Command::Refine {
            job,
            run: RunId(1),
            origins: self.pictures.clone()?,
            from: None,
            references: None,
            settings: settings.refine.clone(),
            iterations: Some(self.options.iterations),
            compute,
            chunk: None,
            tag: Tag::default(),
        })
    }

    /// Whether the job is over.
    fn hear(&mut self, event: Event, memory: &PeakMemory) -> bool {
        match event {
            Event::Device { info, .. } => self.found["device"] = json!(info),
            Event::Generator { info, .. } => self.read("generator", &info, memory),
            Event::Classifier { info, .. } => self.read("classifier", &info, memory),
            Event::Generated { origins, secs, .. } => {
                let samples = self.batch().unwrap_or(0);
                if self.job == 0 {
                    self.found["first_pictures_s"] = json!(secs);
                } else if self.job % JOBS == 1 {
                    let rate = f64::from(samples) / secs;
                    self.batches.push(json!({ "batch": samples, "generate_s": secs, "generated_per_s": rate }));
                }
                self.pictures = Some(origins);
            }
            Event::State { state, secs, .. } if state.iteration > 0 => self.took.push(secs),
            Event::Failed { chain, .. } => self.failure = chain,
            Event::Resting { job, rest: Rest::Finished | Rest::NothingMoves } if job == JobId(self.job) => {
                let mut took = std::mem::take(&mut self.took);
                // The median: one slow iteration says nothing about the others.
                took.sort_by(f64::total_cmp);
                if let (Some(median), Some(batch)) = (took.get(took.len() / 2), self.batches.last_mut()) {
                    batch["iteration_s"] = json!(median);
                    batch["iterations_per_s"] = json!(median.recip());
                }
                return true;
            }
            _ => {}
        }
        false
    }

    fn read(&mut self, role: &str, info: &ModelInfo, memory: &PeakMemory) {
        if self.found.get(role).is_none() {
            self.found[role] = json!({
                "title": info.title,
                "parameters": info.report.parameters,
                "read_s": self.since.elapsed().as_secs_f64(),
                "peak_mib": memory.mib(),
            });
        }
    }
}
