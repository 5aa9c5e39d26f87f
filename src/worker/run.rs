//! The loop: take commands, do one piece, publish, look for commands again. The window and the command line both drive it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::device::{self, DeviceChoice, OpenDevice};
use super::message::{Command, ComputeSettings, Event, JobId, ModelInfo, Origins, Rest};
use crate::checkpoint::{CheckpointError, PreconditioningName, resolve};
use crate::classifier::Classifier;
use crate::generator::noise::{Purpose, normal_noise};
use crate::generator::{GenerateError, GenerateSettings, Generator, sampler, schedule};
use crate::image::ImageBatch;
use crate::refiner::{Chunks, Objective, RefineError, RefineSettings, Refiner, SampleState, State, evaluate};
use crate::trace::{RunId, StateId};

/// Relative difference between CPU and GPU that is worth a warning.
const SELF_CHECK_TOLERANCE: f32 = 1e-2;
/// Samples of the self-check.
const SELF_CHECK_SAMPLES: usize = 2;

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
        generator: None,
        classifier: None,
        warmed: Vec::new(),
        run: None,
    };
    engine.serve();
}

/// Any failure of a piece of work.
#[derive(Debug, thiserror::Error)]
enum WorkError {
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

/// The message and its causes, outermost first.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Wrappers often repeat their cause.
        if chain.last().is_none_or(|last| !last.contains(&text)) {
            chain.push(text);
        }
        source = cause.source();
    }
    chain
}

struct Inbox<'a> {
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
    fn interrupted(&mut self) -> bool {
        self.drain();
        self.waiting.iter().any(|command| {
            matches!(command, Command::Stop | Command::Generate { .. } | Command::Refine { .. } | Command::Panic)
        })
    }
}

struct Loaded<M> {
    info: ModelInfo,
    model: M,
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

struct Engine<'a, 'c> {
    cache: PathBuf,
    inbox: Inbox<'c>,
    sink: &'a mut Sink<'a>,
    listening: bool,
    device: Option<(DeviceChoice, OpenDevice)>,
    generator: Option<Loaded<Generator>>,
    classifier: Option<Loaded<Classifier>>,
    /// Model hash and chunk size whose kernels are known to be tuned.
    warmed: Vec<(String, usize)>,
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

    fn publish(&mut self, event: Event) {
        self.listening = self.listening && (self.sink)(event);
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Generate { job, settings, compute } => {
                self.run = None;
                let result = self.generate(job, &settings, &compute);
                self.report(job, result);
            }
            Command::Refine { job, run, origins, from, settings, iterations, compute } => {
                self.run = None;
                let result = self.refine((job, run), &origins, from, settings, iterations, &compute);
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
        if let Err(error) = result {
            self.publish(Event::Failed { job, chain: error_chain(&error) });
        }
    }

    fn rest(&mut self, rest: Rest) {
        if let Some(active) = self.run.as_mut().filter(|active| !active.at_rest) {
            active.at_rest = true;
            let job = active.job;
            self.publish(Event::Resting { job, rest });
        }
    }

    fn open_device(&mut self, choice: &DeviceChoice) -> Result<OpenDevice, WorkError> {
        if let Some((open_choice, open)) = &self.device
            && open_choice == choice
        {
            let open = open.clone();
            // Said for every piece of work: whoever opened another session meanwhile must not keep its device.
            self.publish(Event::Device(open.info.clone()));
            return Ok(open);
        }
        // Models live on the old device.
        (self.generator, self.classifier, self.run) = (None, None, None);
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

    fn load_generator(&mut self, job: JobId, reference: &str, open: &OpenDevice) -> Result<(), WorkError> {
        if let Some(loaded) = self.generator.as_ref().filter(|loaded| loaded.info.reference == reference) {
            let info = loaded.info.clone();
            self.publish(Event::Generator(info));
            return Ok(());
        }
        self.publish(Event::Preparing { job, what: format!("loading generator {reference}"), step: 1, of: 2 });
        self.generator = None;
        let model = resolve(reference, &self.cache)?;
        let checkpoint = model.open()?;
        let (generator, report) = Generator::load(&model.manifest, &checkpoint, &open.device)?;
        let info = ModelInfo {
            reference: reference.to_owned(),
            title: model.manifest.title,
            sha256: checkpoint.sha256().to_owned(),
            classes: model.manifest.classes,
            sample_shape: generator.sample_shape(),
            report,
        };
        self.warn_unused(&info);
        self.publish(Event::Generator(info.clone()));
        self.generator = Some(Loaded { info, model: generator });
        Ok(())
    }

    fn load_classifier(&mut self, job: JobId, reference: &str, open: &OpenDevice) -> Result<(), WorkError> {
        if let Some(loaded) = self.classifier.as_ref().filter(|loaded| loaded.info.reference == reference) {
            let info = loaded.info.clone();
            self.publish(Event::Classifier(info));
            return Ok(());
        }
        self.publish(Event::Preparing { job, what: format!("loading classifier {reference}"), step: 2, of: 2 });
        self.classifier = None;
        let model = resolve(reference, &self.cache)?;
        let checkpoint = model.open()?;
        let (classifier, report) = Classifier::load(&model.manifest, &checkpoint, &open.device)?;
        let info = ModelInfo {
            reference: reference.to_owned(),
            title: model.manifest.title,
            sha256: checkpoint.sha256().to_owned(),
            classes: model.manifest.classes,
            sample_shape: classifier.sample_shape(),
            report,
        };
        self.warn_unused(&info);
        self.publish(Event::Classifier(info.clone()));
        self.classifier = Some(Loaded { info, model: classifier });
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

    fn chunks(&self, compute: &ComputeSettings, n: usize) -> Chunks {
        if self.device.as_ref().is_some_and(|(_, open)| open.info.cpu) {
            return Chunks::CPU;
        }
        Chunks::gpu((compute.batch.max(1) as usize).min(n.max(1)))
    }

    fn generate(
        &mut self,
        job: JobId,
        settings: &GenerateSettings,
        compute: &ComputeSettings,
    ) -> Result<(), WorkError> {
        settings.check()?;
        let start = Instant::now();
        let open = self.open_device(&compute.device)?;
        self.load_generator(job, &settings.generator, &open)?;
        let chunks = self.chunks(compute, settings.samples as usize);
        self.warm_generator(job, chunks, &open)?;
        let loaded = self.generator.as_ref().expect("loaded above");
        let classes = loaded.model.num_classes().unwrap_or(0);
        if let crate::generator::Classes::Only(list) = &settings.classes
            && let Some(label) = list.iter().copied().find(|label| *label >= classes)
        {
            return Err(WorkError::Class { label, classes });
        }
        let (seeds, labels) = (settings.seeds(), settings.labels(classes));
        let sigmas = if settings.sigmas.is_empty() {
            schedule::default_sigmas(loaded.model.diffusion(), settings.steps as usize)
        } else {
            let end = (loaded.model.preconditioning() == PreconditioningName::Edm).then_some(0.0);
            settings.sigmas.iter().copied().chain(end).collect()
        };
        let n = seeds.len();
        let ranges: Vec<_> = chunks.ranges(n).collect();
        let part = |&(from, to): &(usize, usize), progress: &mut dyn FnMut(usize, usize) -> bool| {
            let (mut seeds, mut labels) = (seeds[from..to].to_vec(), labels[from..to].to_vec());
            chunks.fill(&mut seeds, n);
            chunks.fill(&mut labels, n);
            let images = sampler::sample(&loaded.model, &seeds, &labels, &sigmas, &open.device, progress)?;
            Ok::<_, GenerateError>(images.map(|images| images.slice(0, to - from)))
        };
        let mut parts = Vec::new();
        let (inbox, sink) = (&mut self.inbox, &mut self.sink);
        // Chunks that are computed at once; between two groups, and between steps of a lone chunk, commands are heard.
        let group = if chunks.parallel { 2 * rayon::current_num_threads() } else { 1 };
        for (index, ranges_of_group) in ranges.chunks(group).enumerate() {
            let mut tell = |done: usize, of: usize| {
                let (done, of) = (index * group * of + done, ranges.len() * of);
                sink(Event::Generating { job, done: done as u32, of: of as u32 }) && !inbox.interrupted()
            };
            let images = if chunks.parallel {
                let images = ranges_of_group.par_iter().map(|range| part(range, &mut |_, _| true));
                let images = images.collect::<Result<Vec<Option<ImageBatch>>, _>>()?;
                if !tell(ranges_of_group.len(), 1) {
                    parts.extend(images.into_iter().flatten());
                    break;
                }
                images
            } else {
                vec![part(&ranges_of_group[0], &mut tell)?]
            };
            let complete = images.iter().all(Option::is_some);
            parts.extend(images.into_iter().flatten());
            if !complete || inbox.interrupted() {
                break;
            }
        }
        if parts.is_empty() {
            self.publish(Event::Resting { job, rest: Rest::Stopped });
            return Ok(());
        }
        let images = ImageBatch::concat(&parts);
        let done = images.len();
        let origins = Origins {
            images,
            labels: labels[..done].to_vec(),
            seeds: seeds[..done].to_vec(),
            names: Vec::new(),
            made_by: Some(settings.clone()),
        };
        self.publish(Event::Generated { job, origins: Arc::new(origins), secs: start.elapsed().as_secs_f64() });
        let rest = if done < n { Rest::Stopped } else { Rest::Finished };
        self.publish(Event::Resting { job, rest });
        Ok(())
    }

    fn refine(
        &mut self,
        (job, run): (JobId, RunId),
        origins: &Origins,
        from: Option<(StateId, ImageBatch)>,
        settings: RefineSettings,
        iterations: Option<u32>,
        compute: &ComputeSettings,
    ) -> Result<(), WorkError> {
        settings.check()?;
        let open = self.open_device(&compute.device)?;
        self.load_classifier(job, &settings.classifier, &open)?;
        let channels = origins.images.shape()[1];
        let shape = self.classifier.as_ref().expect("loaded above").model.sample_shape();
        if channels != shape[0] {
            let [_, c, h, w] = origins.images.shape();
            return Err(WorkError::Channels { generator: [c, h, w], channels: shape[0] });
        }
        let chunks = self.chunks(compute, origins.images.len());
        self.warm_classifier(job, &origins.images, chunks, &open)?;
        let classifier = &self.classifier.as_ref().expect("loaded above").model;
        let start = Instant::now();
        let from = from.map(|(state, images)| (state.iteration, images));
        let (refiner, state) = Refiner::start(
            classifier,
            origins.images.clone(),
            from,
            origins.labels.clone(),
            &origins.seeds,
            settings,
            (chunks, open.device),
        )?;
        let iteration = state.iteration;
        self.run =
            Some(ActiveRun { job, id: run, refiner, left: iterations, paused: false, at_rest: false, iteration });
        self.publish(Event::State { job, run, state: Arc::new(state), secs: start.elapsed().as_secs_f64() });
        if iterations == Some(0) {
            self.rest(Rest::Finished);
        }
        Ok(())
    }

    fn update(&mut self, run: RunId, settings: RefineSettings) {
        let (Some(active), Some(classifier)) = (self.run.as_mut(), self.classifier.as_ref()) else { return };
        // Another classifier needs another run; the session begins it at the next Run.
        if active.id != run || settings.classifier != classifier.info.reference {
            return;
        }
        let (job, iteration) = (active.job, active.iteration);
        let result = settings
            .check()
            .map_err(WorkError::from)
            .and_then(|()| Ok(active.refiner.set_settings(&classifier.model, settings.clone())?));
        match result {
            Ok(()) => self.publish(Event::Updated { run, iteration, settings }),
            Err(error) => {
                active.left = Some(0);
                active.at_rest = true;
                self.report(job, Err(error));
            }
        }
    }

    fn iterate(&mut self) {
        let (Some(active), Some(classifier)) = (self.run.as_mut(), self.classifier.as_ref()) else { return };
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

    /// Tunes the generator's kernels for one chunk shape, on a GPU only, as a visible state.
    fn warm_generator(&mut self, job: JobId, chunks: Chunks, open: &OpenDevice) -> Result<(), WorkError> {
        let loaded = self.generator.as_ref().expect("loaded before");
        let key = (loaded.info.sha256.clone(), chunks.size);
        if open.info.cpu || self.warmed.contains(&key) {
            return Ok(());
        }
        let preparing = |step, what: &str| Event::Preparing { job, what: what.to_owned(), step, of: 2 };
        self.publish(preparing(1, "compiling and tuning the generator's kernels (once per shape and device)"));
        let loaded = self.generator.as_ref().expect("loaded before");
        let denoise = |generator: &Generator, device: &burn::tensor::Device, n: usize| {
            let [c, h, w] = generator.sample_shape();
            let seeds: Vec<u64> = (0..n as u64).collect();
            let noise = normal_noise(&seeds, Purpose::Sampling(0), c * h * w);
            let sigma = generator.diffusion().sigma_max;
            let sigmas = match generator.preconditioning() {
                PreconditioningName::Consistency => vec![sigma],
                PreconditioningName::Edm => vec![sigma, 0.0],
            };
            let mut sampling = sampler::Sampling::new(generator, noise, vec![0; n], sigmas, device);
            sampling.step(generator, &mut |_| Vec::new());
            sampling.images()
        };
        let gpu = denoise(&loaded.model, &open.device, chunks.size)?;
        self.publish(preparing(2, "checking the GPU's pictures against the CPU's"));
        let reference = self.generator.as_ref().expect("loaded before").info.reference.clone();
        let model = resolve(&reference, &self.cache)?;
        let (cpu_model, _) = Generator::load(&model.manifest, &model.open()?, &device::cpu().device)?;
        let n = SELF_CHECK_SAMPLES.min(chunks.size);
        let cpu = denoise(&cpu_model, &device::cpu().device, n)?;
        self.compare("generator", gpu.slice(0, n).pixels(), cpu.pixels());
        self.warmed.push(key);
        Ok(())
    }

    /// Likewise for the classifier's forward and backward pass.
    fn warm_classifier(
        &mut self,
        job: JobId,
        images: &ImageBatch,
        chunks: Chunks,
        open: &OpenDevice,
    ) -> Result<(), WorkError> {
        let loaded = self.classifier.as_ref().expect("loaded before");
        let key = (loaded.info.sha256.clone(), chunks.size);
        if open.info.cpu || self.warmed.contains(&key) {
            return Ok(());
        }
        let preparing = |step, what: &str| Event::Preparing { job, what: what.to_owned(), step, of: 2 };
        let reference = loaded.info.reference.clone();
        self.publish(preparing(1, "compiling and tuning the classifier's kernels (once per shape and device)"));
        let batch = images.slice(0, chunks.size.min(images.len())).repeat_last(chunks.size);
        let labels = vec![0; batch.len()];
        let loaded = self.classifier.as_ref().expect("loaded before");
        let objective = Objective::TargetLogit;
        let gpu = evaluate(&loaded.model, &batch, &labels, objective, chunks, &open.device)?;
        self.publish(preparing(2, "checking the GPU's gradients against the CPU's"));
        let model = resolve(&reference, &self.cache)?;
        let cpu_device = device::cpu().device;
        let (cpu_model, _) = Classifier::load(&model.manifest, &model.open()?, &cpu_device)?;
        let n = SELF_CHECK_SAMPLES.min(chunks.size);
        let cpu = evaluate(&cpu_model, &batch.slice(0, n), &labels[..n], objective, Chunks::CPU, &cpu_device)?;
        self.compare("classifier's gradient", &gpu.gradient[..cpu.gradient.len()], &cpu.gradient);
        self.warmed.push(key);
        Ok(())
    }

    fn compare(&mut self, what: &str, gpu: &[f32], cpu: &[f32]) {
        let scale = cpu.iter().fold(1e-12_f32, |max, value| max.max(value.abs()));
        let worst = gpu.iter().zip(cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale;
        tracing::info!(what, worst, "self-check");
        if worst.is_nan() || worst > SELF_CHECK_TOLERANCE {
            self.publish(Event::Warning(format!(
                "the {what} differs by {:.1} % between this GPU and the CPU: results on it cannot be trusted, use the CPU or update the driver",
                worst * 100.0
            )));
        }
    }
}

fn all_at_rest(state: &State) -> bool {
    state.numbers.state.iter().all(|state| *state != SampleState::Active)
}
