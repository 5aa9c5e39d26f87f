//! A run: its first state, then one iteration per step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::compute::ComputeSettings;
use super::device::OpenDevice;
use super::error::WorkError;
use super::message::{Event, Rest};
use super::models::Loaded;
use super::task::{Context, Step, Task};
use super::warm::{self, WarmUp, Warmth};
use crate::classifier::{Classifier, LabelError};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{
    Batch, Chunks, RefineError, RefineSettings, Refiner, SampleState, State, Target, logits, reality,
};
use crate::trace::{RunId, StateId};

/// What a run begins with.
pub(super) struct Start {
    pub(super) run: RunId,
    pub(super) origins: Arc<Origins>,
    /// Iterations behind the start and the start itself, when it is not the origin.
    pub(super) from: Option<(StateId, ImageBatch)>,
    /// Real pictures that early stopping compares with.
    pub(super) references: Option<ImageBatch>,
    pub(super) settings: RefineSettings,
    pub(super) compute: ComputeSettings,
    /// Samples that a GPU takes at once, also when there are fewer.
    pub(super) chunk: Option<usize>,
}

/// A run.
pub(super) struct Refine {
    start: Start,
    classifier: Option<(Loaded<Classifier>, Chunks, OpenDevice)>,
    warm: Option<WarmUp<Classifier>>,
    refiner: Option<Refiner>,
    /// Iterations behind the newest state.
    iteration: u32,
    /// Iterations behind the start.
    first: u32,
    /// Settings that came before the first state.
    later: Option<RefineSettings>,
    /// How long the last state waited to be taken: that is a part of how fast it goes.
    waited: Duration,
    /// Why the labels mean nothing to the classifier, if they do not: targets that need none may be had all the same.
    foreign: Option<LabelError>,
}

impl Refine {
    pub(super) const fn new(start: Start) -> Self {
        Self {
            start,
            classifier: None,
            warm: None,
            refiner: None,
            iteration: 0,
            first: 0,
            later: None,
            waited: Duration::ZERO,
            foreign: None,
        }
    }

    /// Loads the classifier and finds out how to use it.
    fn prepare(&mut self, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        let Start { origins, from, references, settings, compute, chunk, .. } = &self.start;
        settings.check()?;
        let open = context.open_device(&compute.device)?;
        let loaded = context.load::<Classifier>(&settings.classifier, compute, &open)?;
        let model = &loaded.model;
        self.foreign = origins.labels_among(&loaded.info.classes).err();
        self.check_labels(settings)?;
        let n = origins.images.len();
        let channels = model.sample_shape()[0];
        let mut per_sample = 0;
        for [_, c, h, w] in [Some(&origins.images), references.as_ref()].into_iter().flatten().map(ImageBatch::shape) {
            if c != channels {
                return Err(WorkError::Channels { generator: [c, h, w], channels });
            }
            model.check_size([h, w]).map_err(RefineError::from)?;
            per_sample = per_sample.max(model.activation_bytes([h, w]));
        }
        if n == 1 && settings.debias && settings.target == Target::PseudoLabel {
            let text =
                "de-biasing compares pictures, but there is only one: its pseudo-label is the classifier's verdict";
            context.publish(Event::Warning(text.to_owned()));
        }
        let copies = if from.is_some() { 1 } else { settings.restarts.max(1) as usize };
        let need = (true, model.weight_bytes(), per_sample);
        let chunks = context.chunks(compute, (n * copies, *chunk), need)?;
        let [_, c, h, w] = origins.images.shape();
        self.warm = WarmUp::needed(context, &loaded, [c, h, w], (chunks, &open));
        self.classifier = Some((loaded, chunks, open));
        Ok(())
    }

    /// Computes the first state.
    fn begin(&mut self, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        let Some((loaded, chunks, open)) = &self.classifier else { return Ok(()) };
        let Start { run, origins, from, references, settings, .. } = &mut self.start;
        let since = Instant::now();
        let references = match references.take() {
            Some(images) => reality(&logits(&loaded.model, &images, *chunks, &open.device)?, images.len()),
            None => Vec::new(),
        };
        let batch = Batch {
            origin: origins.images.clone(),
            from: from.take().map(|(state, images)| (state.iteration, images)),
            labels: origins.labels_among(&loaded.info.classes).unwrap_or_else(|_| origins.labels.clone()),
            seeds: origins.seeds.clone(),
            references,
        };
        let place = (*chunks, open.device.clone());
        let (refiner, state) = Refiner::start(&loaded.model, batch, settings.clone(), place)?;
        if refiner.targets() != origins.labels {
            let targets = refiner.targets().to_vec();
            context.publish(Event::Targets { job: context.job, run: *run, targets });
        }
        self.refiner = Some(refiner);
        self.first = state.iteration;
        self.publish(state, since, context);
        match self.later.take() {
            Some(settings) => self.update(settings, context),
            None => Ok(()),
        }
    }

    /// Labels that the classifier does not know are no targets.
    fn check_labels(&self, settings: &RefineSettings) -> Result<(), WorkError> {
        match &self.foreign {
            Some(error) if settings.target != Target::PseudoLabel => Err(WorkError::Labels(error.clone())),
            _ => Ok(()),
        }
    }

    fn publish(&mut self, state: State, since: Instant, context: &mut Context<'_, '_>) {
        self.iteration = state.iteration;
        let (state, secs) = (Arc::new(state), (since.elapsed() + self.waited).as_secs_f64());
        let since = Instant::now();
        context.publish(Event::State { job: context.job, run: self.start.run, state, secs });
        self.waited = since.elapsed();
    }
}

impl Task for Refine {
    fn run(&self) -> Option<RunId> {
        Some(self.start.run)
    }

    fn lead(&self) -> u32 {
        u32::from(self.refiner.is_none())
    }

    fn end_of_plan(&self) -> Rest {
        Rest::Finished
    }

    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
        if let Some(warmth) = warm::go_on(&mut self.warm, context)? {
            if warmth == Warmth::Elsewhere {
                self.classifier = None;
            }
            return Ok(Step::Prepared);
        }
        let Some((loaded, ..)) = &self.classifier else {
            self.prepare(context)?;
            return Ok(Step::Prepared);
        };
        let Some(refiner) = &mut self.refiner else {
            self.begin(context)?;
            return Ok(Step::More);
        };
        let since = Instant::now();
        let state = refiner.step(&loaded.model)?;
        let moves = state.numbers.state.contains(&SampleState::Active);
        self.publish(state, since, context);
        Ok(if moves { Step::More } else { Step::Rest(Rest::NothingMoves) })
    }

    fn update(&mut self, settings: RefineSettings, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        // Another classifier needs another run; the session begins it at the next Run.
        if settings.classifier != self.start.settings.classifier {
            return Ok(());
        }
        self.check_labels(&settings)?;
        let (Some(refiner), Some((loaded, ..))) = (&mut self.refiner, &self.classifier) else {
            self.later = Some(settings);
            return Ok(());
        };
        settings.check()?;
        let since = Instant::now();
        let before = refiner.targets().to_vec();
        // The start has another value, or rests no more; should it lie elsewhere, another run is needed anyway.
        let is_other_start = self.iteration == self.first
            && refiner.settings().wakes(&settings)
            && settings.starts_like(&self.start.settings);
        refiner.set_settings(&loaded.model, settings.clone())?;
        let (job, run) = (context.job, self.start.run);
        context.publish(Event::Updated { job, run, iteration: self.iteration, settings });
        if refiner.targets() != before {
            context.publish(Event::Targets { job, run, targets: refiner.targets().to_vec() });
        }
        if is_other_start {
            let state = refiner.valued();
            self.publish(state, since, context);
        }
        Ok(())
    }

    fn stop(&mut self, _context: &mut Context<'_, '_>) -> bool {
        self.refiner.is_some()
    }
}
