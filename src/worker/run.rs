//! The loop: take commands, do one piece, publish, look for commands again. The window and the command line both drive it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;

use super::compute::ComputeSettings;
use super::device::{self, DeviceChoice, OpenDevice};
use super::memory;
use super::message::{Command, Event, JobId, MemoryEstimate, ModelInfo, Rest};
use super::models::{self, Models, Network};
use crate::checkpoint::CheckpointError;
use crate::classifier::Classifier;
use crate::generator::GenerateError;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{
    Batch, Chunks, RefineError, RefineSettings, Refiner, SampleState, State, Target, logits, reality,
};
use crate::trace::{RunId, StateId};

/// How often loading is told about.
const TELL: Duration = Duration::from_millis(50);

/// Takes events; returns false when nobody listens any more.
pub type Sink<'a> = dyn FnMut(Event) -> bool + 'a;

/// Serves commands until the channel closes or the sink refuses.
///
/// `cache` receives unpacked models and tuned kernels.
pub fn serve(commands: &Receiver<Command>, cache: &Path, sink: &mut Sink<'_>) {
    let mut engine = Engine {
        cache: cache.to_owned(),
        inbox: Inbox { commands, waiting: VecDeque::new(), open: true },
        sink,
        listening: true,
        device: None,
        models: Models::default(),
        warmed: Vec::new(),
        run: None,
    };
    engine.serve();
}

/// Any failure of a piece of work.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error("the model cannot be loaded")]
    Checkpoint(#[from] CheckpointError),
    #[error("the device cannot be used")]
    Device(#[from] super::device::DeviceError),
    #[error("generating failed")]
    Generate(#[from] GenerateError),
    #[error("refining failed")]
    Refine(#[from] RefineError),
    #[error(
        "the generator makes {generator:?} pictures (channels, height, width), but the classifier takes {channels} channels: choose models that fit each other"
    )]
    Channels { generator: [usize; 3], channels: usize },
    #[error("class {label} is asked for, but the generator knows {classes} classes (0 to {}): choose another class", classes - 1)]
    Class { label: usize, classes: usize },
    #[error("a setting is out of range")]
    Parameter(#[from] crate::parameter::ParameterError),
}

pub(super) struct Inbox<'a> {
    commands: &'a Receiver<Command>,
    waiting: VecDeque<Command>,
    open: bool,
}

impl Inbox<'_> {
    /// Takes what has arrived; of several updates of one run only the newest stays.
    fn drain(&mut self) {
        for command in self.commands.try_iter() {
            if let (Command::Update { run, .. }, Some(Command::Update { run: last, .. })) =
                (&command, self.waiting.back())
                && run == last
            {
                self.waiting.pop_back();
            }
            self.waiting.push_back(command);
        }
    }

    /// The next command; waits for it when `wait`.
    fn next(&mut self, wait: bool) -> Option<Command> {
        self.drain();
        if self.waiting.is_empty() && wait {
            match self.commands.recv() {
                Ok(command) => self.waiting.push_back(command),
                Err(_closed) => self.open = false,
            }
            self.drain();
        }
        self.waiting.pop_front()
    }

    /// Whether the current work should end early: a stop, or newer work, is waiting.
    pub(super) fn interrupted(&mut self) -> bool {
        self.drain();
        self.waiting.iter().any(|command| {
            matches!(
                command,
                Command::Stop
                    | Command::Generate { .. }
                    | Command::Edit { .. }
                    | Command::Refine { .. }
                    | Command::Panic
            )
        })
    }
}

struct ActiveRun {
    job: JobId,
    id: RunId,
    refiner: Refiner,
    /// Iterations still to do: 0 rests, `None` has no end.
    left: Option<u32>,
    /// The plan is held.
    paused: bool,
    at_rest: bool,
    iteration: u32,
}

impl ActiveRun {
    fn running(&self) -> bool {
        !self.paused && self.left != Some(0)
    }
}

pub(super) struct Engine<'a, 'c> {
    pub(super) cache: PathBuf,
    pub(super) inbox: Inbox<'c>,
    pub(super) sink: &'a mut Sink<'a>,
    listening: bool,
    device: Option<(DeviceChoice, OpenDevice)>,
    pub(super) models: Models,
    /// Model hash and chunk size whose kernels are known to be tuned.
    pub(super) warmed: Vec<(String, usize)>,
    run: Option<ActiveRun>,
}

impl Engine<'_, '_> {
    fn serve(&mut self) {
        while self.inbox.open && self.listening {
            let running = self.run.as_ref().is_some_and(ActiveRun::running);
            if let Some(command) = self.inbox.next(!running) {
                self.handle(command);
            } else if running {
                self.iterate();
            }
        }
    }

    pub(super) fn publish(&mut self, event: Event) {
        self.listening = self.listening && (self.sink)(event);
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Generate { job, settings, compute } => {
                self.run = None;
                let result = self.generate(job, &settings, &compute);
                self.report(job, result);
            }
            Command::Edit { job, settings, edit, reference, mask, compute } => {
                self.run = None;
                let result = self.edit(job, &settings, &edit, reference.as_deref(), mask, &compute);
                self.report(job, result);
            }
            Command::Refine { job, run, origins, from, references, settings, iterations, compute } => {
                self.run = None;
                let plan = (settings, iterations);
                let result = self.refine((job, run), &origins, from, references.as_ref(), plan, &compute);
                self.report(job, result);
            }
            Command::Update { run, settings } => self.update(run, settings),
            Command::Continue { run, iterations } => {
                if let Some(active) = self.run.as_mut().filter(|active| active.id == run) {
                    active.left = iterations.map(std::num::NonZeroU32::get);
                    active.paused = false;
                    active.at_rest = false;
                }
            }
            Command::Pause => {
                if let Some(active) = &mut self.run {
                    active.paused = true;
                    self.rest(Rest::Paused);
                }
            }
            Command::Stop => {
                if let Some(active) = &mut self.run {
                    active.left = Some(0);
                    active.paused = false;
                    self.rest(Rest::Stopped);
                }
            }
            Command::Panic => panic!("the compute thread was asked to panic"),
        }
    }

    fn report(&mut self, job: JobId, result: Result<(), WorkError>) {
        match result {
            Ok(()) => {}
            Err(WorkError::Checkpoint(CheckpointError::Cancelled)) => {
                self.publish(Event::Resting { job, rest: Rest::Stopped });
            }
            Err(error) => self.publish(Event::Failed { job, chain: crate::error::error_chain(&error) }),
        }
    }

    fn rest(&mut self, rest: Rest) {
        if let Some(active) = self.run.as_mut().filter(|active| !active.at_rest) {
            active.at_rest = true;
            let job = active.job;
            self.publish(Event::Resting { job, rest });
        }
    }

    pub(super) fn open_device(&mut self, choice: &DeviceChoice) -> Result<OpenDevice, WorkError> {
        if let Some((open_choice, open)) = &self.device
            && open_choice == choice
        {
            let open = open.clone();
            // Said for every piece of work: whoever opened another session meanwhile must not keep its device.
            self.publish(Event::Device(open.info.clone()));
            return Ok(open);
        }
        // Models live on the old device.
        (self.models, self.run) = (Models::default(), None);
        self.warmed.clear();
        let open = device::open(choice, &self.cache)?;
        self.device = Some((choice.clone(), open.clone()));
        self.publish(Event::Device(open.info.clone()));
        if open.info.software {
            self.publish(Event::Warning(format!(
                "{} draws with the CPU, so it is slower than the device \"cpu\": use it for tests only",
                open.info.name
            )));
        }
        Ok(open)
    }

    /// Makes sure that a model is in memory and tells what it is.
    pub(super) fn load<M: Network>(&mut self, job: JobId, reference: &str, open: &OpenDevice) -> Result<(), WorkError> {
        let slot = M::slot(&mut self.models);
        if let Some(loaded) = slot.as_ref().filter(|loaded| loaded.info.reference == reference) {
            let info = loaded.info.clone();
            self.publish(M::event(info));
            return Ok(());
        }
        // The old one first: two may not fit.
        *slot = None;
        let (inbox, sink) = (&mut self.inbox, &mut self.sink);
        let mut told = Instant::now();
        let mut watch = |what: &str, done: u64, of: u64| {
            if told.elapsed() >= TELL {
                told = Instant::now();
                return sink(Event::Loading { job, what: what.to_owned(), done, of }) && !inbox.interrupted();
            }
            true
        };
        let loaded = models::load::<M>(reference, &self.cache, &open.device, &mut watch)?;
        self.warn_unused(&loaded.info);
        self.publish(M::event(loaded.info.clone()));
        *M::slot(&mut self.models) = Some(loaded);
        Ok(())
    }

    fn warn_unused(&mut self, info: &ModelInfo) {
        if let Some(first) = info.report.unused.first() {
            let warning = format!(
                "{} tensors of {} were not used (for example {first:?}): check that its manifest names the right architecture",
                info.report.unused.len(),
                info.reference
            );
            self.publish(Event::Warning(warning));
        }
    }

    /// How a batch of `n` is cut, so that what one call needs fits into memory; tells the estimate.
    pub(super) fn chunks(
        &mut self,
        job: JobId,
        compute: &ComputeSettings,
        n: usize,
        (refines, weights, per_sample): (bool, u64, u64),
    ) -> Chunks {
        let cpu = self.device.as_ref().is_some_and(|(_, open)| open.info.cpu);
        let budget = memory::budget(compute.memory_mib, cpu, weights);
        let wanted = if cpu { n } else { n.min(compute.batch.max(1) as usize) };
        let estimate = MemoryEstimate::fit(refines, weights, per_sample, wanted, budget);
        let at_once = estimate.at_once as usize;
        // On the CPU as many are in work as there are threads, however many may be begun.
        let in_work = if cpu { at_once.min(rayon::current_num_threads()) as u32 } else { estimate.at_once };
        let estimate = MemoryEstimate { at_once: in_work, ..estimate };
        self.publish(Event::Estimate { job, estimate });
        if estimate.is_tight() {
            self.publish(Event::Warning(format!(
                "one picture at a time needs about {} MiB, but {} MiB may be used: close other programs, raise the limit, or take a smaller model or picture",
                estimate.total() >> 20,
                budget >> 20
            )));
        }
        if cpu { Chunks { at_once, ..Chunks::CPU } } else { Chunks::gpu(at_once) }
    }

    fn refine(
        &mut self,
        (job, run): (JobId, RunId),
        origins: &Origins,
        from: Option<(StateId, ImageBatch)>,
        references: Option<&ImageBatch>,
        (settings, iterations): (RefineSettings, Option<u32>),
        compute: &ComputeSettings,
    ) -> Result<(), WorkError> {
        settings.check()?;
        let open = self.open_device(&compute.device)?;
        self.load::<Classifier>(job, &settings.classifier, &open)?;
        let model = &self.models.classifier.as_ref().expect("loaded above").model;
        let n = origins.images.len();
        let channels = model.sample_shape()[0];
        let mut per_sample = 0;
        for [_, c, h, w] in [Some(&origins.images), references].into_iter().flatten().map(ImageBatch::shape) {
            if c != channels {
                return Err(WorkError::Channels { generator: [c, h, w], channels });
            }
            model.check_size([h, w]).map_err(RefineError::from)?;
            per_sample = per_sample.max(model.activation_bytes([h, w]));
        }
        let need = (true, model.weight_bytes(), per_sample);
        let copies = if from.is_some() { 1 } else { settings.restarts.max(1) as usize };
        if n == 1 && settings.debias && settings.target == Target::PseudoLabel {
            let text =
                "de-biasing compares pictures, but there is only one: its pseudo-label is the classifier's verdict";
            self.publish(Event::Warning(text.to_owned()));
        }
        let chunks = self.chunks(job, compute, n * copies, need);
        self.warm_classifier(job, &origins.images, chunks, &open)?;
        let classifier = &self.models.classifier.as_ref().expect("loaded above").model;
        let start = Instant::now();
        let references = match references {
            Some(images) => {
                let logits = logits(classifier, images, chunks, &open.device)?;
                reality(&logits, images.len())
            }
            None => Vec::new(),
        };
        let batch = Batch {
            origin: origins.images.clone(),
            from: from.map(|(state, images)| (state.iteration, images)),
            labels: origins.labels.clone(),
            seeds: origins.seeds.clone(),
            references,
        };
        let (refiner, state) = Refiner::start(classifier, batch, settings, (chunks, open.device))?;
        let (iteration, targets) = (state.iteration, refiner.targets().to_vec());
        self.run =
            Some(ActiveRun { job, id: run, refiner, left: iterations, paused: false, at_rest: false, iteration });
        if targets != origins.labels {
            self.publish(Event::Targets { job, run, targets });
        }
        self.publish(Event::State { job, run, state: Arc::new(state), secs: start.elapsed().as_secs_f64() });
        if iterations == Some(0) {
            self.rest(Rest::Finished);
        }
        Ok(())
    }

    fn update(&mut self, run: RunId, settings: RefineSettings) {
        let (Some(active), Some(classifier)) = (self.run.as_mut(), self.models.classifier.as_ref()) else { return };
        // Another classifier needs another run; the session begins it at the next Run.
        if active.id != run || settings.classifier != classifier.info.reference {
            return;
        }
        let (job, iteration) = (active.job, active.iteration);
        let before = active.refiner.targets().to_vec();
        let result = settings
            .check()
            .map_err(WorkError::from)
            .and_then(|()| Ok(active.refiner.set_settings(&classifier.model, settings.clone())?));
        let targets = active.refiner.targets().to_vec();
        match result {
            Ok(()) => {
                self.publish(Event::Updated { run, iteration, settings });
                if targets != before {
                    self.publish(Event::Targets { job, run, targets });
                }
            }
            Err(error) => {
                active.left = Some(0);
                active.at_rest = true;
                self.report(job, Err(error));
            }
        }
    }

    fn iterate(&mut self) {
        let (Some(active), Some(classifier)) = (self.run.as_mut(), self.models.classifier.as_ref()) else { return };
        let start = Instant::now();
        let (job, run) = (active.job, active.id);
        match active.refiner.step(&classifier.model) {
            Ok(state) => {
                active.iteration = state.iteration;
                active.left = active.left.map(|left| left - 1);
                let done = active.left == Some(0);
                let stuck = all_at_rest(&state);
                if stuck {
                    active.left = Some(0);
                }
                self.publish(Event::State { job, run, state: Arc::new(state), secs: start.elapsed().as_secs_f64() });
                if done {
                    self.rest(Rest::Finished);
                } else if stuck {
                    self.rest(Rest::NothingMoves);
                }
            }
            Err(error) => {
                active.left = Some(0);
                active.at_rest = true;
                self.report(job, Err(error.into()));
            }
        }
    }
}

fn all_at_rest(state: &State) -> bool {
    state.numbers.state.iter().all(|state| *state != SampleState::Active)
}
