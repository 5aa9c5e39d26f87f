//! `lapidary bench`: how fast this machine is at the demo, or at models of any size, as JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::generator::GenerateSettings;
use crate::origins::Origins;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::{RunId, Tag};
use crate::worker::{Command, ComputeSettings, DeviceChoice, Event, JobId, Rest};

/// Batch sizes that are timed.
const BATCHES: [u32; 4] = [1, 4, 16, 64];
/// Iterations that are timed per batch size; the first state, which warms caches, is not among them.
const ITERATIONS: u32 = 10;

/// Iterations of models that are named: with large ones each takes seconds.
const FEW_ITERATIONS: u32 = 2;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The models of a benchmark that is not the demo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchModels {
    /// A bundled name or a path.
    pub generator: String,
    /// A bundled name or a path.
    pub classifier: String,
}

/// Times the demo.
///
/// # Errors
/// When the device cannot be used or a thread cannot be started.
pub fn run(device: &DeviceChoice, folders: &Folders) -> anyhow::Result<Value> {
    let compute = ComputeSettings { device: device.clone(), ..Default::default() };
    let mut facts = None;
    let memory = PeakMemory::start()?;
    let mut batches = Vec::new();
    for batch in BATCHES {
        let timed = time_batch(batch, &compute, folders, &mut facts)?;
        batches.push(json!({
            "batch": batch,
            "generate_samples_per_sec": f64::from(batch) / timed.generate_secs,
            "ms_per_iteration": timed.iteration_secs * 1e3,
            "iterations_per_sec": 1.0 / timed.iteration_secs,
        }));
    }
    Ok(json!({
        "lapidary": env!("CARGO_PKG_VERSION"),
        "device": facts,
        "threads": std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
        "models": ["gtsrb12-cm", "gtsrb12-joint"],
        "batches": batches,
        "peak_memory_mib": memory.mib(),
    }))
}

struct Timed {
    generate_secs: f64,
    iteration_secs: f64,
}

/// Times two models at one picture: reading them, one sampling plan twice, and a few iterations. With it goes the most memory
/// that the program had so far.
///
/// # Errors
/// When a model or the device cannot be used.
pub fn run_models(device: &DeviceChoice, models: &BenchModels, folders: &Folders) -> anyhow::Result<Value> {
    let memory = PeakMemory::start()?;
    let compute = ComputeSettings { device: device.clone(), ..Default::default() };
    let mut settings = Settings { compute: compute.clone(), ..Settings::default() };
    settings.generate = GenerateSettings { generator: models.generator.clone(), samples: 1, ..settings.generate };
    settings.refine.classifier.clone_from(&models.classifier);
    let (sender, receiver) = crossbeam::channel::bounded(1);
    // One after the other: a waiting command would interrupt the first.
    sender.send(generate(1, &settings))?;
    let mut found = json!({ "lapidary": env!("CARGO_PKG_VERSION"), "start_mib": memory.mib() });
    let (mut since, mut took, mut failure) = (Instant::now(), Vec::new(), None);
    crate::worker::serve(&receiver, &folders.cache, &mut |event| {
        let secs = since.elapsed().as_secs_f64();
        match event {
            Event::Device { info, .. } => found["device"] = json!(info),
            Event::Generator { info, .. } if found.get("generator").is_none() => {
                found["generator"] = json!({ "title": info.title, "parameters": info.report.parameters });
                found["load_generator_s"] = json!(secs);
                found["peak_after_generator_mib"] = json!(memory.mib());
                since = Instant::now();
            }
            Event::Generated { job: JobId(1), .. } => {
                found["generate_first_s"] = json!(secs);
                since = Instant::now();
                return sender.try_send(generate(2, &settings)).is_ok();
            }
            Event::Generated { origins, .. } => {
                found["generate_again_s"] = json!(secs);
                found["peak_after_generating_mib"] = json!(memory.mib());
                since = Instant::now();
                return sender.try_send(iterations(FEW_ITERATIONS, origins, &settings)).is_ok();
            }
            Event::Classifier { info, .. } => {
                found["classifier"] = json!({ "title": info.title, "parameters": info.report.parameters });
                found["load_classifier_s"] = json!(secs);
                since = Instant::now();
            }
            Event::State { secs, .. } => took.push(secs),
            Event::Failed { chain, .. } => {
                failure = Some(chain);
                return false;
            }
            Event::Resting { job: JobId(3), .. } => return false,
            _ => {}
        }
        true
    });
    anyhow::ensure!(failure.is_none(), failure.unwrap_or_default().join(": "));
    found["evaluate_start_and_iterations_s"] = json!(took);
    found["peak_mib"] = json!(memory.mib());
    Ok(found)
}

/// The third job: so many iterations.
fn iterations(count: u32, origins: Arc<Origins>, settings: &Settings) -> Command {
    Command::Refine {
        job: JobId(3),
        run: RunId(1),
        origins,
        from: None,
        references: None,
        settings: settings.refine.clone(),
        iterations: Some(count),
        compute: settings.compute.clone(),
        chunk: None,
        tag: Tag::default(),
    }
}

/// The first two jobs: pictures.
fn generate(job: u64, settings: &Settings) -> Command {
    Command::Generate { job: JobId(job), settings: settings.generate.clone(), compute: settings.compute.clone() }
}

/// The most memory that the program had, looked at by a thread of its own.
struct PeakMemory {
    peak: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
}

impl PeakMemory {
    fn start() -> std::io::Result<Self> {
        let (peak, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (peak_there, done_there) = (peak.clone(), done.clone());
        std::thread::Builder::new().name("lapidary-memory".to_owned()).spawn(move || {
            while !done_there.load(Ordering::Relaxed) {
                if let Some(stats) = memory_stats::memory_stats() {
                    peak_there.fetch_max(stats.physical_mem, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(Self { peak, done })
    }

    fn mib(&self) -> f64 {
        self.peak.load(Ordering::Relaxed) as f64 / f64::from(1 << 20)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Generates one batch twice (the first time warms up) and refines it.
fn time_batch(
    batch: u32,
    compute: &ComputeSettings,
    folders: &Folders,
    facts: &mut Option<crate::worker::DeviceInfo>,
) -> anyhow::Result<Timed> {
    let (sender, receiver) = crossbeam::channel::bounded(1);
    let mut settings = Settings { compute: compute.clone(), ..Settings::default() };
    settings.generate.samples = batch;
    sender.send(generate(1, &settings))?;
    let (mut generate_secs, mut secs, mut failure) = (0.0, Vec::new(), None);
    let refine = |origins| iterations(ITERATIONS, origins, &settings);
    crate::worker::serve(&receiver, &folders.cache, &mut |event| {
        match event {
            Event::Device { info, .. } => *facts = Some(info),
            Event::Generated { job: JobId(1), .. } => return sender.try_send(generate(2, &settings)).is_ok(),
            Event::Generated { origins, secs, .. } => {
                generate_secs = secs;
                return sender.try_send(refine(origins)).is_ok();
            }
            Event::State { state, secs: took, .. } if state.iteration > 0 => secs.push(took),
            Event::Failed { chain, .. } => {
                failure = Some(chain);
                return false;
            }
            Event::Resting { job: JobId(3), rest: Rest::Finished | Rest::NothingMoves } => return false,
            _ => {}
        }
        true
    });
    anyhow::ensure!(failure.is_none(), failure.unwrap_or_default().join(": "));
    // The median: one slow iteration says nothing about the others.
    secs.sort_by(f64::total_cmp);
    let iteration_secs = secs.get(secs.len() / 2).copied().unwrap_or(f64::NAN);
    Ok(Timed { generate_secs, iteration_secs })
}
