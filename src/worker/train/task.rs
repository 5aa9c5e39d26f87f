//! The task: one step of training, one part of what it learns from, one checkpoint, or one network call of what it shows, at a
//! time.

use std::path::Path;
use std::time::Instant;

use super::error::TrainingError;
use super::folder::{self, CONFIG, Described, RunFolder};
use super::kind::AnyConfig;
use super::reading::{Look, Reading};
use super::room;
use super::samples::Samples;
use super::told::{Snapshot, Told, TrainSettings};
use super::work::{Ready, validate};
use crate::data::DataSet;
use crate::error::error_chain;
use crate::train::{Kept, Order, Trainer};
use crate::worker::device::{self, OpenDevice};
use crate::worker::error::WorkError;
use crate::worker::message::{Event, Rest};
use crate::worker::task::{Context, Step, Task};

/// A training.
pub(in crate::worker) struct Train {
    settings: TrainSettings,
    /// Whether it waits before the first step, when it is ready.
    waits: bool,
    /// Whether it is to keep what it has, and to end.
    ending: bool,
    stage: Stage,
}

enum Stage {
    Begins,
    Reads(AnyConfig, OpenDevice, Reading),
    HasRead(AnyConfig, OpenDevice, Box<DataSet>),
    IsReady(Box<Ready>, OpenDevice),
    Goes(Box<Going>),
}

/// A training that goes on.
struct Going {
    ready: Ready,
    open: OpenDevice,
    run: RunFolder,
    /// Where there are pictures to learn from.
    order: Option<Order>,
    /// Steps that were done before.
    first: u64,
    /// Steps that were done when the last checkpoint was kept.
    kept: Option<u64>,
    samples: Option<Samples>,
}

fn tell(context: &mut Context<'_, '_>, told: Told) {
    context.publish(Event::Training { job: context.job, told });
}

impl Train {
    pub(in crate::worker) const fn new(settings: TrainSettings, waits: bool) -> Self {
        Self { settings, waits, ending: false, stage: Stage::Begins }
    }

    fn advance(&mut self, context: &mut Context<'_, '_>) -> anyhow::Result<Step> {
        if self.ending && !matches!(self.stage, Stage::Goes(_)) {
            return Ok(Step::Stopped);
        }
        let out = &self.settings.out;
        self.stage = match std::mem::replace(&mut self.stage, Stage::Begins) {
            Stage::Begins => self.begin(context.cache())?,
            Stage::Reads(config, open, reading) => match reading.look()? {
                Look::Waits => Stage::Reads(config, open, reading),
                Look::Read(done, of) => {
                    tell(context, Told::Reading(done, of));
                    Stage::Reads(config, open, reading)
                }
                Look::Done(data) => Stage::HasRead(config, open, data),
            },
            Stage::HasRead(config, open, data) => {
                let role = config.role();
                let ready = config.ready(&self.settings, *data, (&open, context.cache()))?;
                tell(context, Told::Ready(Box::new(ready.report(role, &open, out))));
                self.stage = Stage::IsReady(Box::new(ready), open);
                return Ok(if self.waits { Step::Rest(Rest::Paused) } else { Step::Prepared });
            }
            Stage::IsReady(ready, open) => {
                let first = ready.trainer.steps_done();
                // What is there already needs no more room.
                let checkpoints = if first > 0 { 1 } else { ready.keeps.1 as u64 + 1 };
                room::check_disk(out, checkpoints * kept_bytes(&*ready.trainer))?;
                let run = RunFolder::open(out, &ready.config, first)?;
                let count = ready.data.training.len();
                let order = (count > 0).then(|| Order::new(ready.course.seed, count));
                let mut going = Going { ready: *ready, open, run, order, first, kept: None, samples: None };
                for warning in going.run.take_warnings() {
                    context.publish(Event::Warning(warning));
                }
                // It may have ended before they were made.
                if let Some(last) = folder::last(out).filter(|last| last.step == first && !going.run.is_pictured(first))
                {
                    going.picture(&last.told(), context);
                }
                Stage::Goes(Box::new(going))
            }
            Stage::Goes(mut going) => {
                let step = going.step(self.ending, context);
                self.stage = Stage::Goes(going);
                return step;
            }
        };
        Ok(Step::Prepared)
    }

    /// Reads the configuration, looks what is in the folder, and has the pictures read; nothing is written.
    fn begin(&self, cache: &Path) -> anyhow::Result<Stage> {
        let TrainSettings { role, config, out, resume, device, .. } = &self.settings;
        match (resume, folder::is_begun(out)) {
            (false, _) => folder::check_free(out)?,
            (true, false) if config.is_none() => return Err(TrainingError::NotBegun { path: out.clone() }.into()),
            _ => {}
        }
        let mut config = AnyConfig::read(*role, &config.clone().unwrap_or_else(|| out.join(CONFIG)))?;
        // Its own: what the user asks for meanwhile may be computed elsewhere.
        let open = device::open(device)?;
        if let Some(data) = config.own_pictures(cache)? {
            return Ok(Stage::HasRead(config, open, Box::new(data)));
        }
        for path in &mut config.data().pictures {
            *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
            if !path.exists() {
                return Err(TrainingError::NoPictures { path: path.clone() }.into());
            }
        }
        let data = config.data();
        let reading = Reading::begin(data.pictures.clone(), data.wanted())?;
        Ok(Stage::Reads(config, open, reading))
    }
}

impl Going {
    fn step(&mut self, ending: bool, context: &mut Context<'_, '_>) -> anyhow::Result<Step> {
        if self.samples.is_some() && !ending {
            self.show(context)?;
            return Ok(Step::Prepared);
        }
        let (step, steps) = (self.ready.trainer.steps_done(), self.ready.course.steps);
        let is_due = step % self.ready.keeps.0 == 0 || step >= steps || ending;
        if is_due && step > self.first && self.kept != Some(step) {
            let kept = self.keep(step, context)?;
            if !ending {
                self.picture(&kept, context);
            }
            tell(context, Told::Kept(kept));
            return Ok(Step::Prepared);
        }
        if ending {
            return Ok(Step::Stopped);
        }
        if step >= steps {
            return Ok(Step::Done);
        }
        if let Some((done, of)) = self.ready.trainer.prepare()? {
            tell(context, Told::Refining(done, of));
            return Ok(Step::Prepared);
        }
        let (pictures, labels) = {
            let Ready { data, course, .. } = &self.ready;
            let places = self.order.as_mut().map_or_else(Vec::new, |order| order.batch(step, course.batch));
            data.batch(&places.into_iter().map(|place| data.training[place]).collect::<Vec<_>>())
        };
        let since = Instant::now();
        let learned = self.ready.trainer.step(&pictures, &labels)?;
        let secs = since.elapsed().as_secs_f64();
        self.run.row(step + 1, learned, secs)?;
        tell(context, Told::Learned { step: step + 1, learned, secs });
        Ok(Step::More)
    }

    /// Keeps a checkpoint.
    fn keep(&mut self, step: u64, context: &mut Context<'_, '_>) -> anyhow::Result<Snapshot> {
        if self.run.find_again(step)? {
            let text = format!(
                "the folder of the training was renamed or removed, so it was made again for what is kept from now on: {}",
                self.run.path().display()
            );
            context.publish(Event::Warning(text));
        }
        // First, so that no checkpoint lacks its row.
        let judged = validate(&mut self.ready, &mut self.run, step)?;
        let Self { ready, run, .. } = self;
        let Ready { manifest, sources, meaning, .. } = &*ready;
        let of = Described { step, manifest, sources, config: meaning, card: ready.card(step) };
        let kept = run.keep(&ready.trainer.kept(), &of, (ready.keeps.1, &context.in_use))?;
        self.kept = Some(step);
        Ok(Snapshot { judged, ..kept.told() })
    }

    /// Begins to make pictures of a checkpoint, where that is wanted.
    fn picture(&mut self, kept: &Snapshot, context: &mut Context<'_, '_>) {
        let Some(sampling) = self.ready.sampling() else { return };
        let begun = Samples::begin(kept, &sampling, (&self.open.device, context.cache()));
        self.samples = begun.map_err(|error| not_shown(&error, context)).ok();
    }

    /// One network call of what the last checkpoint makes.
    fn show(&mut self, context: &mut Context<'_, '_>) -> anyhow::Result<()> {
        let Some(samples) = &mut self.samples else { return Ok(()) };
        match samples.step() {
            Ok(None) => return Ok(()),
            Ok(Some(images)) => {
                let ([sheet, shown], step) = (self.ready.samples, samples.step);
                if sheet > 0 {
                    self.run.pictured(step, &images.slice(0, sheet))?;
                }
                if shown > 0 {
                    tell(context, Told::Samples { step, images: images.slice(0, shown) });
                }
            }
            Err(error) => not_shown(&error, context),
        }
        self.samples = None;
        Ok(())
    }
}

/// Bytes of a checkpoint.
fn kept_bytes(trainer: &dyn Trainer) -> u64 {
    let numbers =
        |list: &Kept| list.tensors.iter().map(|(_, shape, _)| shape.iter().product::<usize>() as u64).sum::<u64>();
    4 * trainer.kept().iter().map(numbers).sum::<u64>()
}

/// A training does not end because there is nothing to look at.
fn not_shown(error: &anyhow::Error, context: &mut Context<'_, '_>) {
    let why = error_chain(error.as_ref()).join(": ");
    context.publish(Event::Warning(format!("what the training makes now cannot be shown, but it goes on ({why})")));
}

impl Task for Train {
    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
        self.advance(context).map_err(WorkError::Training)
    }

    fn stop(&mut self, _context: &mut Context<'_, '_>) -> bool {
        self.ending = true;
        true
    }
}
