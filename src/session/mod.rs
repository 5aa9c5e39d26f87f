//! The state the user owns, and every rule about it: actions and events in, commands out. No tensors, no window.
//!
//! It has three parts: what is saved (`record`), what goes on (`work`) and what is looked at (`look`); `disk` is where it is kept.

pub mod action;
mod apply;
mod best;
pub mod changes;
mod classes;
pub mod disk;
pub mod document;
pub mod error;
mod handle;
pub mod host;
pub mod iterates;
pub mod live;
mod look;
mod moved;
pub mod notice;
mod preview;
mod provenance;
mod question;
mod record;
mod remember;
mod runs;
pub mod settings;
mod telling;
#[cfg(test)]
pub(crate) mod toy;
pub mod training;
mod work;

use std::path::Path;
use std::sync::Arc;

pub use self::action::{Action, Compare, Export, Verb};
use self::classes::ClassNames;
use self::disk::DiskJob;
pub(crate) use self::disk::temporary_named;
pub use self::disk::{Detail, Orphan};
pub use self::error::StorageError;
pub use self::host::Host;
pub use self::iterates::{Iterates, Lookup};
use self::live::Live;
pub use self::live::{LiveChoice, LiveShown};
use self::look::Look;
pub use self::notice::{Cause, Notice, Notices, Severity};
pub use self::provenance::Provenance;
pub use self::question::Question;
use self::record::Record;
pub use self::runs::MOST_LETTERS;
use self::settings::History;
pub use self::settings::Settings;
use self::training::Training;
use self::work::Work;
pub use self::work::{Activity, Plan};
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{Numbers, Preset};
use crate::trace::{RunId, StateId, Trace};
use crate::worker::{Command, MemoryEstimate};

/// Everything the user would be sorry to lose, and what is shown of it.
#[derive(Debug)]
pub struct Session {
    record: Record,
    work: Work,
    look: Look,
    history: History,
    /// How opened pictures were fitted, one line each.
    pub fits: Vec<String>,
    class_names: ClassNames,
    generator_classes: Vec<String>,
    /// What a file that was opened says of its models, to be compared with what is loaded here.
    made_with: Option<Provenance>,
    /// Messages.
    pub notices: Notices,
    orphans: Vec<Orphan>,
    question: Option<Question>,
    training: Option<Training>,
    live: Live,
    commands: Vec<Command>,
    jobs: Vec<DiskJob>,
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
            record: Record::new(settings),
            work: Work::default(),
            look: Look::default(),
            history: History::default(),
            fits: Vec::new(),
            class_names: ClassNames::new(),
            generator_classes: Vec::new(),
            made_with: None,
            notices: Notices::default(),
            orphans: Vec::new(),
            question: None,
            training: None,
            live: Live::default(),
            commands: Vec::new(),
            jobs: Vec::new(),
        };
        session.refresh_class_names();
        session.refresh_generator_classes();
        session.remember_start();
        session
    }

    // What is known.

    /// Everything the user set.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.record.settings
    }

    /// The published settings that are in force, or that these come from.
    #[must_use]
    pub const fn preset(&self) -> Option<&'static Preset> {
        self.record.preset
    }

    /// The pictures that everything starts from.
    #[must_use]
    pub const fn origins(&self) -> Option<&Arc<Origins>> {
        self.record.origins.as_ref()
    }

    /// Number of pictures.
    #[must_use]
    pub fn count(&self) -> usize {
        self.record.count()
    }

    /// The class that a sample is refined towards in the run that is shown.
    #[must_use]
    pub fn target(&self, sample: usize) -> usize {
        let targets = self.look.run.and_then(|run| self.trace().run(run)?.targets.as_ref());
        let labels = self.origins().map(|origins| &origins.labels);
        targets.or(labels).and_then(|classes| classes.get(sample)).copied().unwrap_or(0)
    }

    /// Pixels that inpainting generates; none while nothing is painted.
    #[must_use]
    pub const fn mask(&self) -> Option<&Mask> {
        self.record.mask.as_ref()
    }

    /// Number of real pictures that early stopping compares with.
    #[must_use]
    pub fn reference_count(&self) -> usize {
        self.references().map_or(0, ImageBatch::len)
    }

    /// Real pictures that early stopping compares with.
    #[must_use]
    pub const fn references(&self) -> Option<&ImageBatch> {
        self.record.references.as_ref()
    }

    /// Whether the classes of opened pictures are those that the classifier will see in them, and not known yet.
    #[must_use]
    pub const fn awaits_verdict(&self) -> bool {
        self.work.label_by_verdict
    }

    /// Memory that the next network calls need, once a model is loaded.
    #[must_use]
    pub const fn estimate(&self) -> Option<&MemoryEstimate> {
        self.work.estimate.as_ref()
    }

    /// The tree of runs.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.record.trace
    }

    /// The pictures of every state.
    #[must_use]
    pub const fn iterates(&self) -> &Iterates {
        &self.record.iterates
    }

    /// What computes.
    #[must_use]
    pub const fn provenance(&self) -> &Provenance {
        &self.record.provenance
    }

    /// What goes on.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.work.activity()
    }

    /// How far the plan is; empty when nothing is planned.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.work.going().map(|going| going.plan).unwrap_or_default()
    }

    /// Iterations behind the newest state of the run that goes on or is held, and how many there are to be; `None` has no end.
    #[must_use]
    pub fn goal(&self) -> (u32, Option<u32>) {
        let plan = self.plan();
        let last = self.work.run().and_then(|run| self.trace().run(run)?.last_iteration()).unwrap_or(0);
        (last, plan.of.map(|of| last + of.saturating_sub(plan.done)))
    }

    /// Numbers of the first state whose objectives compare with those of the one that is shown.
    #[must_use]
    pub fn comparable_start(&self) -> Option<&Numbers> {
        let first = self.trace().comparable(self.path(), self.shown()).start;
        self.trace().numbers(*self.path().get(first)?)
    }

    /// True while the compute thread has something to do.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.work.is_busy()
    }

    /// Whether a session file is being written.
    #[must_use]
    pub fn is_saving(&self) -> bool {
        !self.work.savings.is_empty()
    }

    /// Running mean of the seconds per iteration.
    #[must_use]
    pub const fn secs_per_iteration(&self) -> Option<f64> {
        self.work.secs_per_iteration
    }

    /// Seconds until the plan is done, if it has an end.
    #[must_use]
    pub fn eta_secs(&self) -> Option<f64> {
        match self.activity() {
            Activity::Running => Some(f64::from(self.plan().left()?.get()) * self.secs_per_iteration()?),
            Activity::Generating { done, of } => Some(f64::from(of.saturating_sub(done)) * self.work.secs_per_step?),
            _ => None,
        }
    }

    /// The states of the run that is shown, from the origin on.
    #[must_use]
    pub fn path(&self) -> &[StateId] {
        &self.look.path
    }

    /// Counts what the journal is about, another set of pictures or another file: what was made for another count is old.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.record.epoch
    }

    /// The run that is shown.
    #[must_use]
    pub const fn shown_run(&self) -> Option<RunId> {
        self.look.run
    }

    /// The place on the path that is shown.
    #[must_use]
    pub const fn shown(&self) -> usize {
        self.look.shown
    }

    /// Whether the newest state is shown as it comes.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.look.follow
    }

    /// Whether the film runs.
    #[must_use]
    pub const fn is_playing(&self) -> bool {
        self.look.playing
    }

    /// The state that is shown.
    #[must_use]
    pub fn shown_id(&self) -> Option<StateId> {
        self.look.id()
    }

    /// The pictures of the state that is shown; where every sample's best is kept, at the end of a run these.
    pub fn shown_state(&mut self) -> Option<Lookup> {
        let id = self.shown_id()?;
        self.record.iterates.forget_wish();
        let lookup = match self.best_state() {
            Some(best) => Lookup::Ready(best),
            None => self.record.iterates.get(id),
        };
        self.load_wish();
        Some(lookup)
    }

    /// The sample on the canvas; `None` while the grid is shown.
    #[must_use]
    pub const fn selected(&self) -> Option<usize> {
        self.look.selected
    }

    /// The sample that numbers are shown of.
    #[must_use]
    pub fn focused(&self) -> usize {
        self.look.focused()
    }

    /// How the canvas compares.
    #[must_use]
    pub const fn compare(&self) -> Compare {
        self.look.compare
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
        self.record.file.as_deref()
    }

    /// Whether there is work that no session file holds.
    #[must_use]
    pub const fn is_unsaved(&self) -> bool {
        self.record.unsaved
    }

    /// Whether there are iterates that no session file holds.
    #[must_use]
    pub fn has_unsaved_iterates(&self) -> bool {
        self.record.has_unsaved_iterates()
    }

    /// Whether there is what no session file holds and no click makes again: iterates, chosen targets, or a painted mask.
    #[must_use]
    pub fn has_unsaved_work(&self) -> bool {
        self.has_unsaved_iterates() || self.hand_work().is_some()
    }

    /// Whether the journal holds, or is about to hold, what is nowhere else.
    fn needs_journal(&self) -> bool {
        self.has_unsaved_work() || self.work.opening().is_some()
    }

    /// Whether the compute thread has died and waits to be started again.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.work.is_dead()
    }

    /// Whether the compute thread must wait with its next state, because what it computed before is not on the disk yet and
    /// fills the memory that is granted. What is being ended does not wait: it ends.
    pub fn must_wait(&mut self) -> bool {
        let must =
            self.record.iterates.is_full() && self.is_busy() && self.work.going().is_some_and(|going| !going.ending);
        if must && !std::mem::replace(&mut self.work.told_waiting, true) {
            let details = vec!["Iterates come faster than they can be written, and those that wait fill the memory that they may use. Nothing is lost. More memory is set under Compute; a full disk needs some space.".to_owned()];
            self.notices.add(Severity::Info, "Computing waits for the disk", details);
        }
        must
    }

    /// Whether a verb makes sense now.
    #[must_use]
    pub fn can(&self, verb: Verb) -> bool {
        let (work, look) = (&self.work, &self.look);
        let has_origins = self.origins().is_some();
        let has_states = !self.path().is_empty();
        // While a file opens nothing else can act: it would act on what is about to go.
        let is_open = work.opening().is_none();
        let can_compute = is_open && !work.is_dead();
        match verb {
            Verb::Generate | Verb::OpenImages | Verb::OpenReferences => can_compute,
            Verb::Edit => {
                let task = self.settings().edit.task;
                let has_mask = !task.needs_mask() || self.record.mask.is_some();
                can_compute && has_mask && (has_origins || !task.needs_reference())
            }
            Verb::RunOrPause => {
                let is_free = !self.is_busy() || work.only_judges();
                let can_run = (has_origins && is_free) || matches!(self.activity(), Activity::Held { .. });
                can_compute && (can_run || self.can_pause())
            }
            Verb::Step => can_compute && has_origins && !self.is_busy(),
            Verb::Stop => match work.opening() {
                // What it waits behind can be stopped too.
                Some(opening) => !opening.stopping || !work.savings.is_empty(),
                None => {
                    let is_held = work.paused().is_some() || matches!(self.activity(), Activity::Held { .. });
                    // Without the value of its start a run would show nothing.
                    let values = work.only_judges() && self.activity() == Activity::Evaluating;
                    self.is_busy() && !values || is_held || !work.savings.is_empty()
                }
            },
            // What goes on is stopped by it; at the start there is nothing to go back from.
            Verb::Reset => {
                let is_running = self.activity() == Activity::Running;
                can_compute && has_states && (is_running || (!self.is_busy() && look.path.len() > 1))
            }
            Verb::Branch => {
                let is_kept = self.shown_id().is_some_and(|id| self.record.iterates.holds(id));
                can_compute && is_kept && !self.is_busy()
            }
            Verb::Undo => is_open && self.history.can_undo(),
            Verb::Redo => is_open && self.history.can_redo(),
            Verb::Save | Verb::SaveAs => is_open && has_origins,
            Verb::PreviousIteration | Verb::FirstIteration => has_states && look.shown > 0,
            Verb::NextIteration => look.shown + 1 < look.path.len(),
            Verb::LastIteration => has_states && !(look.follow && look.shown == look.last()),
            Verb::BestIteration | Verb::Play => look.path.len() > 1,
            Verb::PreviousSample | Verb::NextSample => look.can_step_sample(self.count()),
            Verb::Grid | Verb::FitView | Verb::ActualSize | Verb::Smooth => look.selected.is_some(),
            Verb::Side | Verb::Wipe | Verb::Blink | Verb::Difference => has_origins,
            Verb::RestartCompute => work.is_dead(),
            Verb::Open | Verb::NewSession => is_open,
            Verb::Theme | Verb::Help | Verb::Quit => true,
        }
    }

    /// Whether what goes on can be held.
    fn can_pause(&self) -> bool {
        matches!(self.activity(), Activity::Running | Activity::Generating { .. })
    }

    // What leaves.

    /// Commands for the compute thread, oldest first.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// Jobs for the disk thread, oldest first.
    pub fn take_jobs(&mut self) -> Vec<DiskJob> {
        std::mem::take(&mut self.jobs)
    }

    fn load_wish(&mut self) {
        if let Some((id, offset)) = self.record.iterates.take_wish() {
            self.jobs.push(DiskJob::Load { epoch: self.epoch(), id, offset });
        }
    }
}
