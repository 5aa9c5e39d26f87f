//! The training that goes on beside the session: what is known of it, and what the user does with it. It is no part of what is
//! saved: its folder holds it.

mod checkpoints;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use self::checkpoints::Usage;
use super::{Action, Cause, Session, Severity};
use crate::image::ImageBatch;
use crate::train::Validation;
use crate::units::counted;
use crate::worker::train::{Role, Snapshot, Told, TrainReport, TrainSettings};
use crate::worker::{Command, JobId, Rest, Steer};

/// Pictures that a generator in training makes at every checkpoint.
const SAMPLES: u32 = 8;
/// Sets of them that are kept to be looked at.
const SETS: usize = 4;
/// Weight of the newest value in running means, once there are enough of them.
const NEWEST: f64 = 0.02;
/// Where the names of trainings begin: they never meet those of other work.
const NAMES: u64 = 1 << 40;

/// What the user does with a training.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainAction {
    /// Look at what a file describes, or at the folder of a training that was begun; nothing is written.
    Choose(PathBuf),
    /// Start it or go on with it, hold it, or end it with a checkpoint.
    Steer(Steer),
    /// Use the checkpoint of this step from now on.
    Use(u64),
    /// Use every checkpoint as soon as it is there, or no longer.
    Follow(bool),
    /// Use this network of checkpoints: that of the last step, or an average.
    Network(String),
    /// Put it away.
    Close,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainPhase {
    /// Its pictures are read, so many of so many, and its network is made.
    Prepares(usize, usize),
    /// It is ready, and not begun.
    Waits,
    /// It goes on.
    Runs,
    /// It is held.
    Paused,
    /// It keeps its last checkpoint.
    Ends,
    /// It is over: all steps are done, or it was stopped.
    Over(Rest),
    /// It failed; the notice says why.
    Failed,
}

/// A training and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    settings: TrainSettings,
    job: JobId,
    /// How far it is.
    pub phase: TrainPhase,
    /// What it is, once its pictures are read.
    pub report: Option<TrainReport>,
    /// Before its first step, of its own pictures so many of so many are refined.
    pub refined: Option<(usize, usize)>,
    /// Steps that are done.
    pub step: u64,
    /// The loss of every step that is known of, the last one that of [`Self::step`].
    pub losses: Vec<f32>,
    /// Their running mean.
    pub smooth: Vec<f32>,
    /// Running mean of the seconds of a step.
    pub secs: Option<f64>,
    /// What it was worth after so many steps.
    pub judged: Vec<(u64, Validation)>,
    /// Checkpoints that are there, in order of their steps.
    pub kept: Vec<Snapshot>,
    /// What a generator made after so many steps, the newest last.
    pub samples: Vec<(u64, ImageBatch)>,
    /// Whether every checkpoint is used as soon as it is there.
    pub follows: bool,
    network: Option<String>,
    /// The checkpoint that is used as soon as nothing else goes on.
    due: Option<u64>,
}

impl Training {
    fn new(settings: TrainSettings, job: JobId) -> Self {
        Self {
            settings,
            job,
            phase: TrainPhase::Prepares(0, 0),
            report: None,
            refined: None,
            step: 0,
            losses: Vec::new(),
            smooth: Vec::new(),
            secs: None,
            judged: Vec::new(),
            kept: Vec::new(),
            samples: Vec::new(),
            follows: false,
            network: None,
            due: None,
        }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.settings.out
    }

    /// What describes it, or else its folder: what it is chosen by.
    #[must_use]
    pub fn chosen_by(&self) -> &Path {
        self.settings.config.as_deref().unwrap_or(&self.settings.out)
    }

    /// Whether it has what would be lost, or waits for its last checkpoint.
    #[must_use]
    pub const fn is_going(&self) -> bool {
        matches!(self.phase, TrainPhase::Runs | TrainPhase::Paused | TrainPhase::Ends)
    }

    /// Steps that there are to be.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.report.as_ref().map_or(0, |report| report.steps.1)
    }

    /// How it goes, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self.phase {
            TrainPhase::Waits if self.step > 0 => "Ready to go on".to_owned(),
            phase => phase.words(),
        }
    }

    /// Seconds of the training's own time until all steps are done, once a step was done.
    #[must_use]
    pub fn eta_secs(&self) -> Option<f64> {
        Some(self.secs? * self.steps().saturating_sub(self.step) as f64)
    }

    /// The network of checkpoints that is used: the one that was chosen, else an average.
    #[must_use]
    pub fn network(&self) -> &str {
        let names = self.networks();
        let chosen = self.network.as_deref().filter(|chosen| names.iter().any(|name| name == chosen));
        let average = names.iter().find(|name| name.starts_with("ema_")).map(String::as_str);
        chosen.or(average).unwrap_or("model")
    }

    /// The networks of the newest checkpoint.
    #[must_use]
    pub fn networks(&self) -> &[String] {
        self.kept.last().map_or(&[], |kept| &kept.networks)
    }

    /// The file by which a checkpoint is used.
    #[must_use]
    pub fn file(&self, kept: &Snapshot) -> String {
        kept.folder.join(format!("{}.toml", self.network())).to_string_lossy().into_owned()
    }

    /// Whether it trains a generator.
    fn makes_pictures(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.role != Role::Classifier)
    }

    fn take_loss(&mut self, loss: f64) {
        let mean = self.smooth.last().map_or(loss, |mean| f64::from(*mean));
        let weight = NEWEST.max(1.0 / (self.losses.len() + 1) as f64);
        self.losses.push(loss as f32);
        self.smooth.push((mean + weight * (loss - mean)) as f32);
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Reading(done, of) => self.phase = TrainPhase::Prepares(done, of),
            Told::Ready(report) => {
                (self.losses, self.smooth) = (Vec::new(), Vec::new());
                for (_, loss) in &report.losses {
                    self.take_loss(*loss);
                }
                self.step = report.steps.0;
                self.judged = report.kept.iter().filter_map(|kept| Some((kept.step, kept.judged.clone()?))).collect();
                self.kept.clone_from(&report.kept);
                self.report = Some(*report);
                self.phase = TrainPhase::Runs;
            }
            Told::Refining(done, of) => self.refined = Some((done, of)),
            Told::Learned { step, learned, secs } => {
                (self.step, self.refined) = (step, None);
                self.take_loss(learned.loss);
                let mean = self.secs.unwrap_or(secs);
                self.secs = Some(mean + 0.1 * (secs - mean));
            }
            Told::Kept(kept) => {
                self.judged.extend(kept.judged.clone().map(|judged| (kept.step, judged)));
                self.due = Some(kept.step).filter(|_| self.follows);
                self.kept.push(kept);
                // Only the newest stay on the disk, and those that are in use.
                self.kept.retain(|kept| kept.folder.is_dir());
            }
            Told::Samples { step, images } => {
                self.samples.push((step, images));
                let spare = self.samples.len().saturating_sub(SETS);
                self.samples.drain(..spare);
            }
        }
    }
}

impl Session {
    /// The training beside it.
    #[must_use]
    pub const fn training(&self) -> Option<&Training> {
        self.training.as_ref()
    }

    /// Whether a training goes on, is held, or keeps its last checkpoint.
    #[must_use]
    pub fn is_training(&self) -> bool {
        self.training.as_ref().is_some_and(Training::is_going)
    }

    /// The training, if the compute thread calls it so.
    pub(super) fn training_of(&mut self, job: JobId) -> Option<&mut Training> {
        self.training.as_mut().filter(|training| training.job == job)
    }

    /// It tells something.
    pub(super) fn take_told(&mut self, job: JobId, told: Told) {
        if let Some(training) = self.training_of(job) {
            training.take(told);
        }
    }

    /// It rests, or is over.
    pub(super) fn training_rests(&mut self, rest: Rest) {
        let Some(training) = &mut self.training else { return };
        training.phase = match rest {
            Rest::Paused if training.secs.is_none() && training.refined.is_none() => TrainPhase::Waits,
            Rest::Paused => TrainPhase::Paused,
            rest => TrainPhase::Over(rest),
        };
    }

    /// It failed, or the thread that computes it died. What never got ready is none.
    pub(super) fn training_failed(&mut self) {
        self.training = self.training.take().filter(|training| training.report.is_some());
        if let Some(training) = &mut self.training
            && !matches!(training.phase, TrainPhase::Over(_))
        {
            training.phase = TrainPhase::Failed;
        }
    }

    pub(super) fn train(&mut self, action: TrainAction) {
        match (action, &mut self.training) {
            // What it learns is not given up for another one.
            (TrainAction::Choose(_), Some(training)) if training.is_going() => {
                let details = vec!["Stop it first; it can be gone on with later.".to_owned()];
                self.notices.add(Severity::Info, "A training goes on", details);
            }
            (TrainAction::Choose(path), _) => {
                let settings = TrainSettings::of(&path, self.settings().compute.device.clone(), SAMPLES);
                self.begin_training(settings, true);
            }
            (_, None) => {}
            (TrainAction::Steer(steer), Some(_)) => self.steer(steer),
            (TrainAction::Use(step), Some(training)) => {
                // Its pictures take the place of those that are there.
                let replaces = training.makes_pictures() && self.are_made() && self.is_at_stake();
                match self.find_checkpoint(step) {
                    Some(_) if replaces => self.ask_to_give_up(Action::Train(TrainAction::Use(step))),
                    Some(settings) => self.use_checkpoint(step, settings, true),
                    None => {}
                }
            }
            (TrainAction::Follow(follows), Some(training)) => {
                training.follows = follows;
                training.due = training.kept.last().map(|kept| kept.step).filter(|_| follows);
            }
            (TrainAction::Network(name), Some(training)) => {
                training.network = Some(name);
                training.due = training.kept.last().map(|kept| kept.step).filter(|_| training.follows);
            }
            (TrainAction::Close, Some(training)) if !training.is_going() => {
                self.commands.push(Command::Steer(Steer::Stop));
                self.training = None;
                self.notices.settle(&[Cause::Training, Cause::Checkpoint]);
            }
            (TrainAction::Close, _) => {}
        }
        self.use_newest();
    }

    fn begin_training(&mut self, settings: TrainSettings, waits: bool) {
        if self.is_crashed() {
            return;
        }
        let job = JobId(self.training.as_ref().map_or(NAMES, |training| training.job.0 + 1));
        let before = self.training.take().filter(|before| before.settings.out == settings.out);
        self.commands.push(Command::Train { job, settings: settings.clone(), waits });
        let mut training = Training::new(settings, job);
        if let Some(Training { samples, follows, network, .. }) = before {
            (training.samples, training.follows, training.network) = (samples, follows, network);
        }
        self.training = Some(training);
        self.notices.settle(&[Cause::Training]);
        self.tell_in_use();
    }

    fn steer(&mut self, steer: Steer) {
        let Some(training) = &mut self.training else { return };
        training.phase = match (steer, training.phase) {
            (Steer::GoOn, TrainPhase::Waits | TrainPhase::Paused) => TrainPhase::Runs,
            (Steer::GoOn, TrainPhase::Over(_) | TrainPhase::Failed) => {
                let TrainSettings { device, samples, .. } = training.settings.clone();
                let settings = TrainSettings::of(training.chosen_by(), device, samples);
                // What never got ready is looked at first.
                let waits = training.report.is_none();
                return self.begin_training(settings, waits);
            }
            // It says itself when it rests.
            (Steer::Pause, TrainPhase::Runs) => TrainPhase::Runs,
            (Steer::Stop, TrainPhase::Runs | TrainPhase::Paused) => TrainPhase::Ends,
            (Steer::Stop, TrainPhase::Prepares(..)) => training.phase,
            _ => return,
        };
        self.commands.push(Command::Steer(steer));
    }

    /// Says which models are in use, so that a training does not remove their files.
    pub(super) fn tell_in_use(&mut self) {
        if self.training.is_some() {
            let models = [&self.settings().generate.generator, &self.settings().refine.classifier];
            let files = models.map(PathBuf::from).to_vec();
            self.commands.push(Command::InUse(files));
        }
    }
}

/// How a network of a checkpoint is called in the window.
#[must_use]
pub fn network_label(name: &str) -> String {
    name.strip_prefix("ema_").map_or_else(|| "Last step".to_owned(), |rate| format!("Average, {rate}"))
}

impl TrainPhase {
    /// In words.
    fn words(self) -> String {
        match self {
            Self::Prepares(0, _) => "Looking at it".to_owned(),
            Self::Prepares(done, of) if done == of => "Making the network".to_owned(),
            Self::Prepares(done, of) => format!("Reading {done} of {}", counted(of, "picture")),
            Self::Waits => "Ready: nothing is written yet".to_owned(),
            Self::Runs => "Goes on".to_owned(),
            Self::Paused => "Held".to_owned(),
            Self::Ends => "Keeping a checkpoint".to_owned(),
            Self::Over(Rest::Finished) => "All steps are done".to_owned(),
            Self::Over(_) => "Stopped".to_owned(),
            Self::Failed => "Failed; see the message".to_owned(),
        }
    }
}
