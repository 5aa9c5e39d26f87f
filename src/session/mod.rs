//! The state the user owns, and every rule about it: actions and events in, commands out. No tensors, no window.

pub mod action;
mod apply;
mod archive;
mod best;
pub mod document;
pub mod error;
mod handle;
pub mod host;
pub mod iterates;
mod journal;
pub mod notice;
pub mod record;
pub mod settings;
pub mod storage;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::action::{Action, Compare, Verb};
pub(crate) use self::archive::temporary_in;
pub use self::error::StorageError;
pub use self::host::Host;
pub use self::iterates::{Iterates, Lookup};
pub use self::notice::{Notice, Notices, Severity};
pub use self::record::Provenance;
use self::record::{Fact, Record};
use self::settings::History;
pub use self::settings::Settings;
use self::storage::Job;
pub use self::storage::{Detail, Orphan};
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::State;
use crate::trace::{RunId, StateId, Trace};
use crate::worker::{Command, JobId, MemoryEstimate};

/// What goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// Nothing.
    Idle,
    /// A model is loaded or kernels are tuned.
    Preparing {
        /// In words.
        what: String,
        /// Step, from 1.
        step: u32,
        /// Steps in all.
        of: u32,
    },
    /// A file is read.
    Loading {
        /// In words.
        what: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// Pictures are made.
    Generating {
        /// Sampling steps done.
        done: u32,
        /// Sampling steps in all.
        of: u32,
    },
    /// The first state of a run is computed.
    Evaluating,
    /// Iterations go on.
    Running,
    /// A plan is held.
    Paused,
    /// The last piece of work failed; the notice says why.
    Failed,
    /// The compute thread has died.
    Crashed(String),
}

/// How far a run's plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Iterations asked for; `None` has no end.
    pub of: Option<u32>,
    /// Iterations done.
    pub done: u32,
}

impl Plan {
    fn left(self) -> Option<NonZeroU32> {
        self.of.and_then(|of| NonZeroU32::new(of.saturating_sub(self.done)))
    }
}

/// A question that must be answered before unsaved work is replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it is about.
    pub title: &'static str,
    /// What would be lost.
    pub text: String,
    /// What a yes does.
    pub then: Action,
    /// Whether saving first would help.
    pub can_save: bool,
}

/// Everything the user would be sorry to lose, and what is shown of it.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    history: History,
    origins: Option<Arc<Origins>>,
    /// How opened pictures were fitted, one line each.
    pub fits: Vec<String>,
    /// Pixels that inpainting generates; none while nothing is painted.
    mask: Option<Mask>,
    /// Real pictures that early stopping compares with.
    references: Option<ImageBatch>,
    estimate: Option<MemoryEstimate>,
    /// Every sample's best iterate, made when it is first shown, and the state that it is shown for.
    best: Option<(StateId, Arc<State>)>,
    /// Target classes are still to be taken from the classifier's first verdict.
    label_by_verdict: bool,
    trace: Trace,
    iterates: Iterates,
    provenance: Provenance,
    class_names: Vec<String>,
    generator_classes: Vec<String>,
    activity: Activity,
    plan: Plan,
    next_job: u64,
    job: JobId,
    /// The run that the compute thread holds.
    live: Option<RunId>,
    shown_run: Option<RunId>,
    /// The states of the run that is shown, from the origin on; kept because every frame reads it.
    path: Vec<StateId>,
    shown: usize,
    follow: bool,
    playing: bool,
    selected: Option<usize>,
    /// The sample that is marked in the grid.
    focused: usize,
    compare: Compare,
    /// Messages.
    pub notices: Notices,
    orphans: Vec<Orphan>,
    question: Option<Question>,
    secs_per_iteration: Option<f64>,
    file: Option<PathBuf>,
    unsaved: bool,
    /// Counts what a session file would hold, so that work that goes on during a save is not taken for saved.
    revision: u64,
    epoch: u64,
    /// What a file that was opened says of its models, to be compared with what is loaded here.
    made_with: Option<Provenance>,
    /// A plan that was held when single steps were asked for.
    held: Option<Plan>,
    /// The compute thread has died and was not started again.
    worker_dead: bool,
    commands: Vec<Command>,
    jobs: Vec<Job>,
}

impl Default for Session {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Session {
    /// An empty session.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut session = Self {
            settings,
            history: History::default(),
            origins: None,
            fits: Vec::new(),
            mask: None,
            references: None,
            estimate: None,
            best: None,
            label_by_verdict: false,
            trace: Trace::default(),
            iterates: Iterates::default(),
            provenance: Provenance::new(),
            class_names: Vec::new(),
            generator_classes: Vec::new(),
            activity: Activity::Idle,
            plan: Plan::default(),
            next_job: 0,
            job: JobId(0),
            live: None,
            shown_run: None,
            path: Vec::new(),
            shown: 0,
            follow: true,
            playing: false,
            selected: None,
            focused: 0,
            compare: Compare::Side,
            notices: Notices::default(),
            orphans: Vec::new(),
            question: None,
            secs_per_iteration: None,
            file: None,
            unsaved: false,
            revision: 0,
            epoch: 0,
            made_with: None,
            held: None,
            worker_dead: false,
            commands: Vec::new(),
            jobs: Vec::new(),
        };
        session.refresh_class_names();
        session.refresh_generator_classes();
        session.remember(&Fact::Settings(session.settings.clone()));
        session
    }

    // What is known.

    /// Everything the user set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The pictures that everything starts from.
    #[must_use]
    pub const fn origins(&self) -> Option<&Arc<Origins>> {
        self.origins.as_ref()
    }

    /// The class that a sample is refined towards in the run that is shown.
    #[must_use]
    pub fn target(&self, sample: usize) -> usize {
        let targets = self.shown_run.and_then(|run| self.trace.run(run)?.targets.as_ref());
        let labels = self.origins.as_ref().map(|origins| &origins.labels);
        targets.or(labels).and_then(|classes| classes.get(sample)).copied().unwrap_or(0)
    }

    /// Pixels that inpainting generates; none while nothing is painted.
    #[must_use]
    pub const fn mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }

    /// Number of real pictures that early stopping compares with.
    #[must_use]
    pub fn reference_count(&self) -> usize {
        self.references.as_ref().map_or(0, ImageBatch::len)
    }

    /// Memory that the next network calls need, once a model is loaded.
    #[must_use]
    pub const fn estimate(&self) -> Option<&MemoryEstimate> {
        self.estimate.as_ref()
    }

    /// The tree of runs.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The pictures of every state.
    #[must_use]
    pub const fn iterates(&self) -> &Iterates {
        &self.iterates
    }

    /// What computes.
    #[must_use]
    pub const fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Names of the classifier's classes.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Names of the generator's classes; empty when it knows none.
    #[must_use]
    pub fn generator_classes(&self) -> &[String] {
        &self.generator_classes
    }

    /// Name of a class, or its number.
    #[must_use]
    pub fn class_name(&self, class: usize) -> String {
        self.class_names.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// What goes on.
    #[must_use]
    pub const fn activity(&self) -> &Activity {
        &self.activity
    }

    /// How far the plan is.
    #[must_use]
    pub const fn plan(&self) -> Plan {
        self.plan
    }

    /// True while the compute thread has something to do.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(
            self.activity,
            Activity::Preparing { .. }
                | Activity::Loading { .. }
                | Activity::Generating { .. }
                | Activity::Evaluating
                | Activity::Running
        )
    }

    /// Running mean of the seconds per iteration.
    #[must_use]
    pub const fn secs_per_iteration(&self) -> Option<f64> {
        self.secs_per_iteration
    }

    /// Seconds until the plan is done, if it has an end.
    #[must_use]
    pub fn eta_secs(&self) -> Option<f64> {
        if self.activity != Activity::Running {
            return None;
        }
        Some(f64::from(self.plan.left()?.get()) * self.secs_per_iteration?)
    }

    /// The states of the run that is shown, from the origin on.
    #[must_use]
    pub fn path(&self) -> &[StateId] {
        &self.path
    }

    fn show_run(&mut self, run: Option<RunId>) {
        self.shown_run = run;
        self.path = run.map_or_else(Vec::new, |run| self.trace.path(run));
    }

    /// Counts sets of origins: what was made for another count is old.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The run that is shown.
    #[must_use]
    pub const fn shown_run(&self) -> Option<RunId> {
        self.shown_run
    }

    /// The place on the path that is shown.
    #[must_use]
    pub const fn shown(&self) -> usize {
        self.shown
    }

    /// Whether the newest state is shown as it comes.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.follow
    }

    /// Whether the film runs.
    #[must_use]
    pub const fn is_playing(&self) -> bool {
        self.playing
    }

    /// The state that is shown.
    #[must_use]
    pub fn shown_id(&self) -> Option<StateId> {
        self.path().get(self.shown).copied()
    }

    /// The pictures of the state that is shown; where every sample's best is kept, at the end of a run these.
    pub fn shown_state(&mut self) -> Option<Lookup> {
        let id = self.shown_id()?;
        let lookup = match self.best_state() {
            Some(best) => Lookup::Ready(best),
            None => self.iterates.get(id),
        };
        let wanted = self.iterates.take_wanted();
        if !wanted.is_empty() {
            self.jobs.push(Job::Load(wanted));
        }
        Some(lookup)
    }

    /// The sample on the canvas; `None` while the grid is shown.
    #[must_use]
    pub const fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// The sample that numbers are shown of.
    #[must_use]
    pub fn focused(&self) -> usize {
        self.selected.unwrap_or(self.focused)
    }

    /// How the canvas compares.
    #[must_use]
    pub const fn compare(&self) -> Compare {
        self.compare
    }

    /// Journals that crashes left behind.
    #[must_use]
    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// The question that waits for an answer.
    #[must_use]
    pub const fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// The session file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether there is work that no session file holds.
    #[must_use]
    pub const fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// Whether there are iterates that no session file holds.
    #[must_use]
    pub fn has_unsaved_iterates(&self) -> bool {
        let edited = self.origins.as_ref().is_some_and(|origins| origins.edited.is_some());
        self.unsaved && (edited || self.has_iterated())
    }

    /// Whether the compute thread has died and waits to be started again.
    #[must_use]
    pub const fn is_crashed(&self) -> bool {
        self.worker_dead
    }

    /// Whether a verb makes sense now.
    #[must_use]
    pub fn can(&self, verb: Verb) -> bool {
        let has_states = !self.path().is_empty();
        let crashed = self.worker_dead;
        match verb {
            Verb::Generate | Verb::OpenImages | Verb::OpenReferences => !crashed,
            Verb::Edit => {
                let task = self.settings.edit.task;
                let has_mask = !task.needs_mask() || self.mask.is_some();
                !crashed && has_mask && (self.origins.is_some() || !task.needs_reference())
            }
            Verb::RunOrPause => {
                !crashed && self.origins.is_some() && (!self.is_busy() || self.activity == Activity::Running)
            }
            Verb::Step => !crashed && self.origins.is_some() && !self.is_busy(),
            Verb::Stop => self.is_busy() || self.activity == Activity::Paused,
            Verb::Reset | Verb::Branch => !crashed && has_states && !self.is_busy(),
            Verb::Undo => self.history.can_undo(),
            Verb::Redo => self.history.can_redo(),
            Verb::Save | Verb::SaveAs => self.origins.is_some(),
            Verb::PreviousIteration | Verb::FirstIteration => has_states && self.shown > 0,
            Verb::NextIteration => self.shown + 1 < self.path().len(),
            Verb::LastIteration | Verb::BestIteration => has_states,
            Verb::Play => self.path().len() > 1,
            Verb::PreviousSample | Verb::NextSample => self.origins.is_some(),
            Verb::Grid | Verb::FitView => self.selected.is_some(),
            Verb::Side | Verb::Wipe | Verb::Blink | Verb::Difference => self.origins.is_some(),
            Verb::RestartCompute => crashed,
            Verb::Open | Verb::NewSession | Verb::Theme | Verb::Help => true,
        }
    }

    // What leaves.

    /// Commands for the compute thread, oldest first.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Jobs for the disk thread, oldest first.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    fn remember(&mut self, fact: &Fact) {
        self.jobs.push(Job::Append(Record::fact(fact)));
    }
}
