//! `lapidary bench`: how fast this machine is at the demo, as JSON.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::session::host::Folders;
use crate::session::{Host, Settings};
use crate::trace::RunId;
use crate::worker::{Command, ComputeSettings, DeviceChoice, Event, JobId, Origins, Rest};

/// Batch sizes that are timed.
const BATCHES: [u32; 4] = [1, 4, 16, 64];
/// Iterations that are timed per batch size; the first state, which warms caches, is not among them.
const ITERATIONS: u32 = 10;

/// Times the demo.
///
/// # Errors
/// When the device cannot be used or a thread cannot be started.
pub fn run(device: &DeviceChoice, seconds: f64, folders: &Folders) -> anyhow::Result<Value> {
    let compute = ComputeSettings { device: device.clone(), ..Default::default() };
    let mut facts = None;
    let mut memory = PeakMemory::default();
    let mut batches = Vec::new();
    for batch in BATCHES {
        let timed = time_batch(batch, &compute, folders, &mut facts, &mut memory)?;
        batches.push(json!({
            "batch": batch,
            "generate_samples_per_sec": f64::from(batch) / timed.generate_secs,
            "ms_per_iteration": timed.iteration_secs * 1e3,
            "iterations_per_sec": 1.0 / timed.iteration_secs,
        }));
    }
    let mut settings = Settings { compute, ..Settings::default() };
    settings.generate.samples = 16;
    let temporary = tempfile::tempdir()?;
    let own = Folders { cache: folders.cache.clone(), autosave: temporary.path().to_owned() };
    let host = Host::start(settings, own, Arc::new(|| ()))?;
    let window = crate::view::bench::frame_cost(host, seconds)?;
    memory.look();
    Ok(json!({
        "lapidary": env!("CARGO_PKG_VERSION"),
        "device": facts,
        "threads": std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
        "models": ["gtsrb12-cm", "gtsrb12-joint"],
        "batches": batches,
        "window_with_16_samples": window,
        "peak_memory_mib": memory.peak as f64 / f64::from(1 << 20),
    }))
}

struct Timed {
    generate_secs: f64,
    iteration_secs: f64,
}

#[derive(Default)]
struct PeakMemory {
    peak: usize,
}

impl PeakMemory {
    fn look(&mut self) {
        if let Some(stats) = memory_stats::memory_stats() {
            self.peak = self.peak.max(stats.physical_mem);
        }
    }
}

/// Generates one batch twice (the first time warms up) and refines it.
fn time_batch(
    batch: u32,
    compute: &ComputeSettings,
    folders: &Folders,
    facts: &mut Option<crate::worker::DeviceInfo>,
    memory: &mut PeakMemory,
) -> anyhow::Result<Timed> {
    let (sender, receiver) = crossbeam_channel::bounded(8);
    let mut settings = Settings { compute: compute.clone(), ..Settings::default() };
    settings.generate.samples = batch;
    for job in [1, 2] {
        let (settings, compute) = (settings.generate.clone(), settings.compute.clone());
        sender.send(Command::Generate { job: JobId(job), settings, compute })?;
    }
    let (mut generate_secs, mut secs, mut failure) = (0.0, Vec::new(), None);
    let refine = |origins: Arc<Origins>| Command::Refine {
        job: JobId(3),
        run: RunId(1),
        origins,
        from: None,
        references: None,
        settings: settings.refine.clone(),
        iterations: Some(ITERATIONS),
        compute: settings.compute.clone(),
    };
    crate::worker::serve(&receiver, &folders.cache, &mut |event| {
        memory.look();
        match event {
            Event::Device(info) => *facts = Some(info),
            Event::Generated { job: JobId(2), origins, secs } => {
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
