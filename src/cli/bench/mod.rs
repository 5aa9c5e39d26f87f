//! `lapidary bench`: how fast this machine is at the demo, or at models of any size.

mod layers;
mod memory;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use clap::ArgMatches;
use serde_json::{Value, json};

pub use self::layers::layers;
use self::memory::PeakMemory;
use super::{CliError, flags, say_err};
use crate::generator::GenerateSettings;
use crate::generator::settings::SAMPLES;
use crate::origins::Origins;
use crate::parameter::Parameter;
use crate::refiner::settings::ITERATIONS;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::{RunId, Tag};
use crate::units::counted;
use crate::worker::{Command, DeviceChoice, Event, JobId, ModelInfo, Rest};

/// Batches and iterations that are timed unless it is said.
pub const OF_DEMO: (&[u32], u32) = (&[1, 4, 16, 64], 10);
/// Likewise of models that are named, of which one picture may take seconds.
pub const OF_MODELS: (&[u32], u32) = (&[1], 2);
/// Jobs of a batch: pictures, which warms caches, pictures again, iterations.
const JOBS: u64 = 3;

/// Pictures that go through together.
pub const TOGETHER: Parameter = Parameter {
    flag: "batches",
    label: "Batch",
    about: "How many pictures go through together, one number or several",
    source: "Lapidary",
    ..SAMPLES
};

/// Iterations that are timed.
pub const TIMED: Parameter = Parameter {
    flag: "iterations",
    about: "How many iterations are timed of each batch",
    source: "Lapidary",
    default: OF_DEMO.1 as f64,
    ..ITERATIONS
};

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchOptions {
    /// The models and the device.
    pub settings: Settings,
    /// Numbers of pictures that go through together.
    pub batches: Vec<u32>,
    /// How many are timed of each; the evaluation of the start, which reads the classifier, is not among them.
    pub iterations: u32,
    /// The networks whose steps are timed instead of everything together ([`layers()`]).
    pub layers: Option<Networks>,
}

/// Which of two networks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    /// The one that makes pictures.
    pub generator: bool,
    /// The one that judges them.
    pub classifier: bool,
}

impl BenchOptions {
    pub(super) fn of(matches: &ArgMatches, layers: bool) -> Result<Self, CliError> {
        let mut settings = Settings::default();
        settings.compute.device = flags::given(matches, flags::DEVICE).unwrap_or("auto").parse::<DeviceChoice>()?;
        let [generator, classifier] = [flags::GENERATOR, flags::CLASSIFIER].map(|flag| flags::given(matches, flag));
        let own = generator.is_some() || classifier.is_some();
        if !layers && generator.is_some() != classifier.is_some() {
            let flag = if generator.is_some() { flags::CLASSIFIER } else { flags::GENERATOR };
            return Err(CliError::Bench { flag });
        }
        if layers && !matches!(settings.compute.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
            return Err(CliError::Layers { found: settings.compute.device.to_string() });
        }
        generator.unwrap_or(&settings.generate.generator.clone()).clone_into(&mut settings.generate.generator);
        classifier.unwrap_or(&settings.refine.classifier.clone()).clone_into(&mut settings.refine.classifier);
        let (batches, iterations) = if own { OF_MODELS } else { OF_DEMO };
        let usual = if layers { &batches[batches.len() - 1..] } else { batches };
        let given = matches.get_many::<String>(TOGETHER.flag).into_iter().flatten();
        let given: Vec<u32> = given.map(|text| Ok(TOGETHER.parse(text)? as u32)).collect::<Result<_, CliError>>()?;
        let batches = if given.is_empty() { usual.to_vec() } else { given };
        let iterations =
            flags::given(matches, TIMED.flag).map_or(Ok(iterations), |text| TIMED.parse(text).map(|n| n as u32))?;
        let networks = Networks { generator: !own || generator.is_some(), classifier: !own || classifier.is_some() };
        Ok(Self { settings, batches, iterations, layers: layers.then_some(networks) })
    }
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
    let mut told = Told::default();
    let device = &options.settings.compute.device;
    told.say(&format!("measuring {} on {device}", counted(options.batches.len(), "batch size")));
    let mut timing = Timing::new(options, &memory);
    let (sender, receiver) = crossbeam::channel::bounded(1);
    // One after the other: a waiting command would interrupt the one at work.
    if let Some(first) = timing.command() {
        sender.send(first)?;
    }
    crate::worker::serve(&receiver, &folders.cache, &mut |event| {
        told.hear(&event);
        if !timing.hear(event, &memory) {
            return timing.failure.is_empty();
        }
        timing.job += 1;
        if let Some(batch) = timing.batch().filter(|_| timing.job.is_multiple_of(JOBS)) {
            told.say(&format!("measuring {} at once", counted(batch as usize, "picture")));
        }
        timing.command().is_some_and(|command| sender.try_send(command).is_ok())
    });
    anyhow::ensure!(timing.failure.is_empty(), timing.failure.join(": "));
    let mut found = timing.found;
    found["batches"] = Value::Array(timing.batches);
    found["peak_memory_mib"] = json!(memory.mib());
    Ok(found)
}

/// What was said of the progress, on the standard error: a GPU may take a minute before the first number.
#[derive(Default)]
struct Told(Vec<String>);

impl Told {
    /// Says something, once.
    fn say(&mut self, line: &str) {
        if !self.0.iter().any(|known| known == line) {
            say_err(line);
            self.0.push(line.to_owned());
        }
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Preparing { what, .. } | Event::Loading { what, .. } if !what.is_empty() => self.say(what),
            Event::Device { info, .. } => self.say(&format!("the device is {}", info.name)),
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            _ => {}
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Invocation, parse};

    fn bench(flags: &[&str]) -> Result<BenchOptions, CliError> {
        match parse([&["lapidary", "bench"][..], flags].concat())? {
            Invocation::Bench(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_measured_is_what_is_asked_for() {
        let all = bench(&[]).unwrap();
        assert_eq!((all.batches.as_slice(), all.iterations, all.layers), (OF_DEMO.0, OF_DEMO.1, None));
        let layers = bench(&["--layers"]).unwrap();
        let both = Networks { generator: true, classifier: true };
        assert_eq!((layers.batches.as_slice(), layers.layers), (&[64][..], Some(both)));
        let one =
            bench(&["--layers", "--classifier", "gtsrb12-robust", "--batches", "2,8", "--device", "cpu"]).unwrap();
        let classifier = Networks { generator: false, classifier: true };
        assert_eq!((one.batches.as_slice(), one.layers), (&[2, 8][..], Some(classifier)));
        assert_eq!(one.settings.refine.classifier, "gtsrb12-robust");
        let models = ["--generator", "gtsrb12-edm", "--classifier", "gtsrb12-robust"];
        let models = bench(&models).unwrap();
        assert_eq!((models.batches.as_slice(), models.iterations), OF_MODELS);
    }

    #[test]
    fn what_would_have_no_effect_is_refused_and_ranges_are_named() {
        for (flags, expected) in [
            (&["--layers", "--device", "gpu"][..], "--layers times steps on the CPU"),
            (&["--layers", "--iterations", "3"], "exclude each other"),
            (&["--generator", "gtsrb12-edm"], "--classifier is missing"),
            (&["--batches", "0"], "Batch is 0, but must be a whole number from 1 to 256"),
            (&["--batches", "1,x"], "from 1 to 256"),
            (&["--iterations", "0"], "Iterations is 0, but must be a whole number from 1 to 1000000"),
        ] {
            let error = bench(flags).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
    }
}
