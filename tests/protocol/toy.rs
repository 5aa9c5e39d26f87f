//! What computes in these tests: pictures that say what they are.

use std::collections::VecDeque;
use std::sync::Arc;

use lapidary::image::ImageBatch;
use lapidary::origins::Origins;
use lapidary::refiner::{Numbers, Objective, RefineSettings, SampleState, State};
use lapidary::trace::RunId;
use lapidary::worker::{Command, DeviceInfo, Event, JobId, Rest};

/// Pictures: two samples of four values.
const SHAPE: [usize; 4] = [2, 1, 2, 2];
/// Bytes of a state: 8 values, 6 logits, 6 numbers a sample and its state.
pub const STATE_BYTES: usize = (8 + 6 + 12) * 4 + 2;
/// What the compute thread would do.
#[derive(Default)]
pub struct Toy {
    pub commands: VecDeque<Command>,
    making: Option<JobId>,
    /// The making of pictures is held.
    held: bool,
    /// It was told how far the making is.
    told: bool,
    live: Option<Live>,
    /// Sets of pictures made so far.
    pub made: u32,
}

struct Live {
    job: JobId,
    run: RunId,
    origins: Arc<Origins>,
    from: Option<ImageBatch>,
    iteration: u32,
    begun: bool,
    /// Iterations since the start.
    moved: bool,
    left: Option<u32>,
    going: bool,
    settings: RefineSettings,
    /// Settings that came before the first state.
    later: Option<RefineSettings>,
}

/// Pictures of a state: of which set they are, of which run, of which iteration, and which sample.
pub fn picture(tag: f32, run: u64, iteration: u32) -> ImageBatch {
    let sample = |i: u32| [tag, run as f32, iteration as f32, i as f32].map(|value| value / 1000.0);
    ImageBatch::new(SHAPE, [sample(0), sample(1)].concat())
}

/// Numbers of a state; those of another objective are others.
fn numbers(iteration: u32, settings: &RefineSettings) -> Numbers {
    let k = iteration as f32;
    let other = if settings.objective == Objective::Ce { 100.0 } else { 0.0 };
    Numbers {
        logits: vec![k, 0.0, 1.0, 2.0, k, 0.5],
        objective: vec![-(k - 3.0).abs() - other, -(k - 6.0).abs() - other],
        gradient_l2: vec![1.0; 2],
        step_l2: vec![0.5; 2],
        delta_l2: vec![k; 2],
        delta_linf: vec![0.1; 2],
        clipped: vec![0.0; 2],
        state: vec![SampleState::Active; 2],
    }
}

impl Live {
    /// Whether settings are taken now, and not after the first state.
    fn takes_now(&mut self, settings: &RefineSettings) -> bool {
        self.later = (!self.begun).then(|| settings.clone());
        self.begun
    }

    /// Where it is, as its settings value it.
    fn state(&self) -> Event {
        let tag = self.origins.images.pixels()[0] * 1000.0;
        let images = match &self.from {
            _ if self.moved => picture(tag, self.run.0, self.iteration),
            Some(from) => from.clone(),
            // As the refiner does: equal, but not the same memory.
            None => ImageBatch::new(SHAPE, self.origins.images.pixels().to_vec()),
        };
        let numbers = numbers(self.iteration, &self.settings);
        let state = Arc::new(State { iteration: self.iteration, images, numbers });
        Event::State { job: self.job, run: self.run, state, secs: 0.1 }
    }
}

impl Toy {
    pub fn obey(&mut self, command: Command, events: &mut VecDeque<Event>) {
        match command {
            Command::Generate { job, .. } => (self.making, self.held, self.live) = (Some(job), false, None),
            Command::Edit { job, .. } => {
                events.push_back(Event::Failed { job, chain: vec!["the toy edits nothing".to_owned()] });
            }
            Command::Measure { job, .. } | Command::Compare { job, .. } => {
                events.push_back(Event::Failed { job, chain: vec!["the toy looks at nothing".to_owned()] });
            }
            Command::Refine { job, run, origins, from, settings, iterations, .. } => {
                let iteration = from.as_ref().map_or(0, |(id, _)| id.iteration);
                let from = from.map(|(_, images)| images);
                let live = Live {
                    job,
                    run,
                    origins,
                    from,
                    iteration,
                    begun: false,
                    moved: false,
                    left: iterations,
                    going: true,
                    settings,
                    later: None,
                };
                (self.making, self.live) = (None, Some(live));
            }
            Command::Update { run, settings } => {
                let live = self.live.as_mut().filter(|live| live.run == run);
                if let Some(live) = live
                    && live.takes_now(&settings)
                {
                    let before = std::mem::replace(&mut live.settings, settings.clone());
                    let (job, iteration) = (live.job, live.iteration);
                    events.push_back(Event::Updated { job, run, iteration, settings });
                    if !live.moved && before.wakes(&live.settings) {
                        events.push_back(live.state());
                    }
                }
            }
            Command::Continue { job, run: None, .. } => {
                if self.making.is_some() {
                    (self.making, self.held) = (Some(job), false);
                }
            }
            Command::Continue { job, run, iterations } => {
                if let Some(live) = self.live.as_mut().filter(|live| Some(live.run) == run) {
                    live.job = job;
                    (live.left, live.going) = (iterations.map(std::num::NonZeroU32::get), true);
                }
            }
            Command::Pause => self.end(Rest::Paused, events),
            Command::Stop => self.end(Rest::Stopped, events),
            // Nothing is trained here.
            Command::Train { .. } | Command::Steer(_) | Command::InUse(_) => {}
            Command::Panic => panic!("nobody asks for that here"),
        }
    }

    fn end(&mut self, rest: Rest, events: &mut VecDeque<Event>) {
        if let Some(job) = self.making.filter(|_| !self.held) {
            self.held = true;
            events.push_back(Event::Resting { job, rest });
        }
        if rest == Rest::Stopped {
            (self.making, self.held) = (None, false);
        }
        if let Some(live) = self.live.as_mut().filter(|live| live.going) {
            live.going = false;
            events.push_back(Event::Resting { job: live.job, rest });
        }
    }

    pub fn work(&mut self, events: &mut VecDeque<Event>) {
        if self.held {
            return;
        }
        if let Some(job) = self.making.filter(|_| !std::mem::replace(&mut self.told, true)) {
            events.push_back(Event::Generating { job, done: 1, of: 2, secs: 0.1 });
            return;
        }
        self.told = false;
        if let Some(job) = self.making.take() {
            self.made += 1;
            let (name, backend, driver) = ("toy".to_owned(), self.made.to_string(), String::new());
            let info =
                DeviceInfo { name, backend, cpu: true, software: false, driver, untuned: false, checks: Vec::new() };
            events.push_back(Event::Device { job, info });
            let images = picture(self.made as f32, 0, 0);
            let origins = Arc::new(Origins::opened(images, vec![0, 1], Vec::new()));
            events.push_back(Event::Generated { job, origins, secs: 0.1 });
            return;
        }
        let Some(live) = self.live.as_mut().filter(|live| live.going) else { return };
        if live.begun {
            live.iteration += 1;
            live.moved = true;
        }
        events.push_back(live.state());
        if live.begun {
            live.left = live.left.map(|left| left - 1);
        }
        live.begun = true;
        let (run, later) = (live.run, live.later.take());
        if live.left == Some(0) {
            live.going = false;
            events.push_back(Event::Resting { job: live.job, rest: Rest::Finished });
        }
        if let Some(settings) = later {
            self.obey(Command::Update { run, settings }, events);
        }
    }

    /// Whether what goes on has no end.
    pub fn is_endless(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.going && live.left.is_none())
    }

    pub fn is_at_rest(&self) -> bool {
        self.commands.is_empty()
            && (self.making.is_none() || self.held)
            && self.live.as_ref().is_none_or(|live| !live.going)
    }
}
