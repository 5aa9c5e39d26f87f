//! The state the user owns, and every rule about it: actions and events in, commands out. No tensors, no window.

pub mod action;
pub mod document;
pub mod host;
pub mod iterates;
pub mod notice;
pub mod record;
pub mod settings;
pub mod storage;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::action::{Action, Compare, Verb};
pub use self::host::Host;
pub use self::iterates::{Iterates, Lookup};
pub use self::notice::{Notice, Notices, Severity};
pub use self::record::Provenance;
use self::record::{Fact, Record};
use self::settings::History;
pub use self::settings::Settings;
pub use self::storage::{Detail, Orphan};
use self::storage::{Job, Restored, StorageEvent};
use crate::checkpoint;
use crate::refiner::{RefineSettings, SampleState};
use crate::trace::{Change, RunId, StateId, Trace};
use crate::worker::{Command, Event, JobId, Origins, Rest};

/// Weight of the newest iteration in the running mean of its duration.
const TIMING_WEIGHT: f64 = 0.3;

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
    /// Target classes are still to be taken from the classifier's first verdict.
    label_by_verdict: bool,
    trace: Trace,
    iterates: Iterates,
    provenance: Provenance,
    class_names: Vec<String>,
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
            label_by_verdict: false,
            trace: Trace::default(),
            iterates: Iterates::default(),
            provenance: Provenance::new(),
            class_names: Vec::new(),
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
            Activity::Preparing { .. } | Activity::Generating { .. } | Activity::Evaluating | Activity::Running
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

    /// The pictures of the state that is shown.
    pub fn shown_state(&mut self) -> Option<Lookup> {
        let id = self.shown_id()?;
        let lookup = self.iterates.get(id);
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
        self.unsaved && self.has_iterated()
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
            Verb::Generate | Verb::OpenImages => !crashed,
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

    // What the user does.

    /// Does what the user asks.
    pub fn handle(&mut self, action: Action) {
        match action {
            Action::Do(verb) => self.do_verb(verb),
            Action::Edit(settings) => self.edit(*settings),
            Action::EndEdit => self.history.close(),
            Action::Select(sample) => {
                if self.origins.as_ref().is_some_and(|origins| sample < origins.labels.len()) {
                    self.selected = Some(sample);
                    self.focused = sample;
                }
            }
            Action::Show(place) => self.show(place),
            Action::ShowRun(run) => {
                self.show_run(Some(run));
                self.show(usize::MAX);
            }
            Action::SetTarget { .. } if self.has_iterated() => {
                let text = "Another target begins anew: the runs of these pictures are given up.".to_owned();
                let can_save = self.unsaved;
                self.question = Some(Question { title: "Begin anew?", text, then: action, can_save });
            }
            Action::SetTarget { sample, class } => self.set_target(sample, class),
            Action::Compare(compare) => self.compare = compare,
            Action::OpenSession(_) | Action::Recover(_) => self.ask_before(action),
            Action::OpenPictures(_) => self.ask_before(action),
            Action::SaveSession(path, detail) => {
                if self.file.as_deref() != Some(path.as_path()) && path.exists() {
                    let text = format!("{} is there already. Replace it?", path.display());
                    let then = Action::SaveSession(path, detail);
                    self.question = Some(Question { title: "Replace the file?", text, then, can_save: false });
                } else {
                    self.save(path, detail);
                }
            }
            Action::Discard(folder) => {
                self.orphans.retain(|orphan| orphan.folder != folder);
                self.jobs.push(Job::Discard(folder));
            }
            Action::Confirm => {
                if let Some(question) = self.question.take() {
                    self.replace(question.then);
                }
            }
            Action::Cancel => self.question = None,
            Action::Dismiss(id) => self.notices.dismiss(id),
            Action::SetBudget(bytes) => self.iterates.set_budget(bytes),
        }
    }

    fn do_verb(&mut self, verb: Verb) {
        if !self.can(verb) {
            return;
        }
        match verb {
            Verb::Generate => self.ask_before(Action::Do(Verb::Generate)),
            Verb::RunOrPause if self.activity == Activity::Running => self.commands.push(Command::Pause),
            Verb::RunOrPause => self.run(),
            Verb::Step => {
                // A held plan is still there after the step.
                let held = self.held.take().or((self.activity == Activity::Paused).then_some(self.plan));
                self.iterate(NonZeroU32::new(1));
                self.held =
                    held.map(|plan| Plan { done: plan.done + 1, ..plan }).filter(|plan| plan.of != Some(plan.done));
            }
            Verb::Stop => self.commands.push(Command::Stop),
            Verb::Reset => self.begin_run(None, Some(0)),
            Verb::Branch => self.branch(),
            Verb::Undo => {
                if let Some(settings) = self.history.undo(&self.settings) {
                    self.apply_settings(settings);
                }
            }
            Verb::Redo => {
                if let Some(settings) = self.history.redo(&self.settings) {
                    self.apply_settings(settings);
                }
            }
            Verb::NewSession => self.ask_before(Action::Do(Verb::NewSession)),
            Verb::PreviousIteration => self.show(self.shown.saturating_sub(1)),
            Verb::NextIteration => self.show(self.shown + 1),
            Verb::FirstIteration => self.show(0),
            Verb::LastIteration => self.show(usize::MAX),
            Verb::BestIteration => {
                let best = self.shown_run.and_then(|run| self.trace.best(run, self.focused()));
                if let Some(place) = best.and_then(|best| self.path().iter().position(|id| *id == best)) {
                    self.show(place);
                }
            }
            Verb::Play => {
                self.playing = !self.playing;
                if self.playing && self.shown + 1 >= self.path().len() {
                    self.shown = 0;
                }
                self.follow &= !self.playing;
            }
            Verb::PreviousSample | Verb::NextSample => {
                let count = self.origins.as_ref().map_or(0, |origins| origins.labels.len());
                let step = if verb == Verb::NextSample { 1 } else { count.saturating_sub(1) };
                if count > 0 {
                    self.focused = (self.focused() + step) % count;
                    self.selected = self.selected.map(|_| self.focused);
                }
            }
            Verb::Grid => self.selected = None,
            Verb::Side => self.look(Compare::Side),
            Verb::Wipe => self.look(Compare::Wipe),
            Verb::Blink => self.look(Compare::Blink),
            Verb::Difference => self.look(Compare::Difference),
            // These need the window or the host.
            Verb::Save
            | Verb::SaveAs
            | Verb::Open
            | Verb::OpenImages
            | Verb::FitView
            | Verb::Theme
            | Verb::Help
            | Verb::RestartCompute => {}
        }
    }

    fn look(&mut self, compare: Compare) {
        self.compare = compare;
        self.selected = Some(self.focused());
    }

    fn edit(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        if let Err(error) = settings.check() {
            self.notices.add(Severity::Error, "A setting was not changed", vec![error.to_string()]);
            return;
        }
        self.history.record(&self.settings);
        self.apply_settings(settings);
    }

    fn apply_settings(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let old = before.refine;
        if old.classifier != self.settings.refine.classifier {
            self.refresh_class_names();
        }
        // The number of iterations only matters to the next Run.
        let same_rule = RefineSettings { iterations: old.iterations, ..self.settings.refine.clone() } == old;
        if let Some(run) = self.live.filter(|_| !same_rule) {
            if self.classifier_changed(run) {
                // A run has one classifier; the next Run begins another from here.
                self.commands.push(Command::Stop);
            } else {
                self.commands.push(Command::Update { run, settings: self.settings.refine.clone() });
            }
        }
        if self.file.is_some() {
            self.touch();
        }
        self.remember(&Fact::Settings(self.settings.clone()));
    }

    /// Class names come from the manifest, so they are known before any weight is read.
    fn refresh_class_names(&mut self) {
        match checkpoint::class_names(&self.settings.refine.classifier) {
            // A file without a manifest is known only when it is loaded.
            Ok(names) if names.is_empty() => {}
            Ok(names) => self.class_names = names,
            Err(error) => self.notices.failure(&crate::worker::run::error_chain(&error)),
        }
    }

    /// There is something that no session file holds.
    const fn touch(&mut self) {
        self.unsaved = true;
        self.revision += 1;
    }

    fn new_job(&mut self) -> JobId {
        self.next_job += 1;
        self.job = JobId(self.next_job);
        self.job
    }

    fn generate(&mut self) {
        if self.worker_dead {
            return;
        }
        if self.is_busy() {
            self.commands.push(Command::Stop);
        }
        let job = self.new_job();
        self.live = None;
        self.activity = Activity::Generating { done: 0, of: 0 };
        let (settings, compute) = (self.settings.generate.clone(), self.settings.compute.clone());
        self.commands.push(Command::Generate { job, settings, compute });
    }

    /// Run: goes on with a held plan, else plans anew.
    fn run(&mut self) {
        if self.activity == Activity::Paused
            && let Some(run) = self.live
            && !self.classifier_changed(run)
        {
            self.commands.push(Command::Continue { run, iterations: self.plan.left() });
            self.activity = Activity::Running;
            self.follow = true;
            return;
        }
        self.iterate(self.settings.refine.iterations);
    }

    /// Whether the settings name another classifier than the one that `run` uses.
    fn classifier_changed(&self, run: RunId) -> bool {
        let classifier = |run: &crate::trace::Run| {
            let last = run.last_iteration().map_or(&run.settings, |k| run.settings_at(k + 1));
            last.classifier != self.settings.refine.classifier
        };
        self.trace.run(run).is_some_and(classifier)
    }

    /// Iterates from the newest state of the run that is shown.
    fn iterate(&mut self, iterations: Option<NonZeroU32>) {
        let of = iterations.map(NonZeroU32::get);
        let refine = &self.settings.refine;
        let live = self.live.filter(|run| self.shown_run == Some(*run)).and_then(|run| self.trace.run(run));
        // A start at random, or another classifier, is another run.
        let at_start = live.is_some_and(|run| run.parent.is_none() && run.last_iteration() == Some(0));
        let other_start = live.is_some_and(|run| {
            let (was, is) = (&run.settings, refine);
            let ball = |s: &RefineSettings| (s.random_start, s.random_start.then_some((s.norm, s.eps.to_bits())));
            ball(was) != ball(is)
        });
        let other_classifier = live.is_some_and(|run| self.classifier_changed(run.id));
        match live.map(|run| run.id) {
            Some(_) if at_start && other_start => self.begin_run(None, of),
            Some(run) if !other_classifier => {
                self.plan = Plan { of, done: 0 };
                self.commands.push(Command::Continue { run, iterations });
                self.activity = Activity::Running;
                self.follow = true;
            }
            _ => self.begin_run(self.path().last().copied(), of),
        }
    }

    fn branch(&mut self) {
        if let Some(from) = self.shown_id() {
            self.begin_run(Some(from), Some(0));
        }
    }

    /// Begins a run from the origin or from a state, and plans `iterations`.
    fn begin_run(&mut self, from: Option<StateId>, iterations: Option<u32>) {
        let Some(origins) = self.origins.clone().filter(|_| !self.worker_dead) else { return };
        let start = match from.map(|id| (id, self.iterates.get(id))) {
            None => None,
            Some((id, Lookup::Ready(state))) => Some((id, state.images.clone())),
            Some((id, Lookup::Loading)) => {
                let wanted = self.iterates.take_wanted();
                self.jobs.push(Job::Load(wanted));
                let text = format!("Iteration {} is being read from disk", id.iteration);
                self.notices.add(Severity::Info, text, vec!["Try again in a moment.".to_owned()]);
                return;
            }
            Some((_, Lookup::Missing)) => {
                let details =
                    vec!["The session was saved small. Show a kept iterate, or reset and run again.".to_owned()];
                self.notices.add(Severity::Warning, "This iterate was not kept", details);
                return;
            }
        };
        let run = self.trace.next_id();
        let parent = start.as_ref().map(|(id, _)| *id);
        let mut settings = self.settings.refine.clone();
        // The verdict on an opened picture is about the picture itself.
        settings.random_start &= !self.label_by_verdict;
        self.trace.begin(run, parent, settings.clone());
        self.remember(&Fact::Run { id: run, parent, settings: settings.clone() });
        let job = self.new_job();
        self.live = Some(run);
        self.show_run(Some(run));
        self.follow = true;
        self.playing = false;
        self.plan = Plan { of: iterations, done: 0 };
        self.activity = Activity::Evaluating;
        let compute = self.settings.compute.clone();
        self.commands.push(Command::Refine { job, run, origins, from: start, settings, iterations, compute });
    }

    fn set_target(&mut self, sample: usize, class: usize) {
        let Some(origins) = &self.origins else { return };
        if origins.labels.get(sample).is_none_or(|label| *label == class) || self.is_busy() {
            return;
        }
        let mut changed = Origins::clone(origins);
        changed.labels[sample] = class;
        self.set_origins(Arc::new(changed));
        self.begin_run(None, Some(0));
    }

    fn show(&mut self, place: usize) {
        let last = self.path().len().saturating_sub(1);
        self.shown = place.min(last);
        self.follow = self.shown == last;
        self.playing = false;
    }

    /// The film moves on by one iteration.
    pub fn play_on(&mut self) {
        if self.playing {
            let last = self.path().len().saturating_sub(1);
            self.shown = (self.shown + 1).min(last);
            self.playing = self.shown < last;
        }
    }

    /// Whether there is more than what generating again would give.
    fn has_iterated(&self) -> bool {
        self.trace.runs().any(|run| run.last_iteration() > Some(run.first_iteration()))
    }

    fn save(&mut self, path: PathBuf, detail: Detail) {
        self.jobs.push(Job::Save { path, detail, version: (self.epoch, self.revision) });
    }

    fn ask_before(&mut self, action: Action) {
        if self.has_unsaved_iterates() {
            let text = "The iterates of this session are not saved in a file. Replace them?".to_owned();
            self.question = Some(Question { title: "Unsaved work", text, then: action, can_save: true });
        } else {
            self.replace(action);
        }
    }

    fn replace(&mut self, action: Action) {
        match action {
            Action::OpenSession(path) => self.open(path),
            Action::Recover(folder) => {
                self.orphans.retain(|orphan| orphan.folder != folder);
                self.open(folder);
            }
            Action::OpenPictures(paths) => {
                let size = checkpoint::find(&self.settings.refine.classifier).map_or(32, |(m, _)| m.resolution);
                self.jobs.push(Job::OpenImages { paths, size, epoch: self.epoch });
            }
            Action::Do(Verb::Generate) => self.generate(),
            Action::SetTarget { sample, class } => self.set_target(sample, class),
            Action::SaveSession(path, detail) => self.save(path, detail),
            Action::Do(Verb::NewSession) => {
                self.epoch += 1;
                self.jobs.push(Job::Reset { epoch: self.epoch });
                self.commands.push(Command::Stop);
                let fresh = Self::new(Settings { compute: self.settings.compute.clone(), ..Settings::default() });
                let old = std::mem::replace(self, fresh);
                (self.epoch, self.next_job, self.provenance) = (old.epoch, old.next_job + 1, old.provenance);
                (self.orphans, self.worker_dead) = (old.orphans, old.worker_dead);
                self.job = JobId(self.next_job);
                self.activity = self.resting();
                self.remember(&Fact::Provenance(self.provenance.clone()));
                let (mut jobs, mut commands) = (old.jobs, old.commands);
                jobs.append(&mut self.jobs);
                commands.append(&mut self.commands);
                (self.jobs, self.commands) = (jobs, commands);
            }
            _ => {}
        }
    }

    /// What goes on when nothing does.
    fn resting(&self) -> Activity {
        if self.worker_dead { Activity::Crashed(String::new()) } else { Activity::Idle }
    }

    /// Gives up the current piece of work: what it still sends is ignored.
    fn abandon_work(&mut self) {
        self.commands.push(Command::Stop);
        self.new_job();
        (self.live, self.held, self.playing) = (None, None, false);
        self.activity = self.resting();
    }

    fn open(&mut self, path: PathBuf) {
        if self.is_busy() {
            // Else states of this session would follow the other one into the journal.
            self.abandon_work();
        }
        self.epoch += 1;
        self.jobs.push(Job::Open { path, epoch: self.epoch });
    }

    fn set_origins(&mut self, origins: Arc<Origins>) {
        self.jobs.push(Job::Append(Record::Origins(origins.clone())));
        self.origins = Some(origins);
        self.trace = Trace::default();
        let budget = self.iterates.budget();
        self.iterates = Iterates::default();
        self.iterates.set_budget(budget);
        // Offsets of states that are still being written belong to other pictures now.
        self.epoch += 1;
        self.jobs.push(Job::Epoch(self.epoch));
        (self.live, self.shown, self.follow) = (None, 0, true);
        self.show_run(None);
        let count = self.origins.as_ref().map_or(0, |origins| origins.labels.len());
        self.focused = self.focused.min(count.saturating_sub(1));
        self.selected = self.selected.filter(|sample| *sample < count);
        // Other pictures are another session: saving must not replace the file of the old ones.
        self.file = None;
        self.touch();
        self.remember(&Fact::Provenance(self.provenance.clone()));
    }

    // What happens.

    /// Takes in what the compute thread reports.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Device(info) => {
                self.provenance.device = Some(info);
                self.remember(&Fact::Provenance(self.provenance.clone()));
            }
            Event::Generator(info) => {
                self.compare_model(&info);
                self.provenance.generator = Some(info);
                self.remember(&Fact::Provenance(self.provenance.clone()));
            }
            Event::Classifier(info) => {
                self.compare_model(&info);
                self.class_names.clone_from(&info.classes);
                self.provenance.classifier = Some(info);
                self.remember(&Fact::Provenance(self.provenance.clone()));
            }
            Event::Preparing { job, what, step, of } if job == self.job => {
                self.activity = Activity::Preparing { what, step, of };
            }
            Event::Generating { job, done, of } if job == self.job => self.activity = Activity::Generating { done, of },
            Event::Generated { job, origins, secs: _ } if job == self.job => {
                self.fits.clear();
                self.label_by_verdict = false;
                self.set_origins(origins);
                self.begin_run(None, Some(0));
            }
            Event::State { job, run, state, secs } if job == self.job => self.take_state(run, &state, secs),
            Event::Updated { run, iteration, settings } if self.live == Some(run) => {
                let change = Change { iteration, settings };
                self.remember(&Fact::Change { run, change: change.clone() });
                self.trace.change(run, change);
            }
            Event::Resting { job, rest } if job == self.job => {
                let held = self.held.take().filter(|_| rest == Rest::Finished);
                self.plan = held.unwrap_or(self.plan);
                self.activity = if rest == Rest::Paused || held.is_some() { Activity::Paused } else { Activity::Idle };
                if rest == Rest::NothingMoves {
                    let details = vec!["Its gradient vanished or is not a number in every picture. Choose another objective; the target logit never saturates.".to_owned()];
                    self.notices.add(Severity::Warning, "No picture moves any more", details);
                }
            }
            Event::Failed { job, chain } if job == self.job => {
                self.activity = Activity::Failed;
                self.live = None;
                self.notices.failure(&chain);
            }
            Event::Warning(text) => self.notices.add(Severity::Warning, text, Vec::new()),
            // Late results of work that was given up.
            Event::Preparing { .. }
            | Event::Generating { .. }
            | Event::Generated { .. }
            | Event::State { .. }
            | Event::Updated { .. }
            | Event::Resting { .. }
            | Event::Failed { .. } => {}
        }
    }

    fn take_state(&mut self, run: RunId, state: &Arc<crate::refiner::State>, secs: f64) {
        let id = StateId { run, iteration: state.iteration };
        if self.label_by_verdict {
            self.label_by_verdict = false;
            if self.take_verdict(state) {
                return;
            }
        }
        let before = self.trace.run(run).and_then(crate::trace::Run::last_iteration);
        if !self.trace.push(id, state.numbers.clone()) {
            return;
        }
        self.jobs.push(Job::Append(Record::State(run, state.clone())));
        self.iterates.insert(id, state.clone());
        self.touch();
        if before.is_some() {
            self.plan.done += 1;
            let mean = self.secs_per_iteration.unwrap_or(secs);
            self.secs_per_iteration = Some(mean + TIMING_WEIGHT * (secs - mean));
        }
        let done = self.plan.of.is_some_and(|of| self.plan.done >= of);
        self.activity = if done { Activity::Idle } else { Activity::Running };
        if self.shown_run == Some(run) {
            // The first state of a branch takes the place of the state that it came from.
            self.path.truncate(id.iteration as usize);
            self.path.push(id);
            if self.follow {
                self.shown = self.path.len() - 1;
            }
        }
        self.tell_frozen(&state.numbers.state);
    }

    /// Opened pictures get the class that the classifier sees in them; true when that changed something.
    fn take_verdict(&mut self, state: &crate::refiner::State) -> bool {
        let Some(origins) = &self.origins else { return false };
        let verdict = |i: usize| crate::classifier::top_classes(state.numbers.logits_of(i), 1).first().copied();
        let labels: Vec<usize> = (0..origins.labels.len()).map(|i| verdict(i).unwrap_or(origins.labels[i])).collect();
        if labels == origins.labels && !self.settings.refine.random_start {
            return false;
        }
        let changed = Origins { labels, ..Origins::clone(origins) };
        self.set_origins(Arc::new(changed));
        self.begin_run(None, Some(0));
        true
    }

    fn tell_frozen(&mut self, states: &[SampleState]) {
        let count = |wanted| states.iter().filter(|state| **state == wanted).count();
        let list = |wanted| {
            let some: Vec<_> =
                states.iter().enumerate().filter(|(_, s)| **s == wanted).map(|(i, _)| i.to_string()).collect();
            format!("Samples {}", some.join(", "))
        };
        for (state, what, hint) in [
            (
                SampleState::ZeroGradient,
                "gradient vanished",
                "They stay where they are. Another objective, such as the target logit, moves them again.",
            ),
            (
                SampleState::NotFinite,
                "objective is not a number",
                "They stay at their last finite iterate. Use a smaller step, or check the classifier.",
            ),
        ] {
            let title = match count(state) {
                0 => continue,
                1 => format!("1 sample stopped: its {what}"),
                n => format!("{n} samples stopped: their {what}"),
            };
            if !self.notices.list().iter().any(|notice| notice.title == title) {
                self.notices.add(Severity::Warning, title, vec![list(state), hint.to_owned()]);
            }
        }
    }

    /// Warns when a model that is loaded here is not the one that the opened session was made with.
    fn compare_model(&mut self, info: &crate::worker::ModelInfo) {
        let made_with = self.made_with.as_ref();
        let then = made_with.and_then(|made| {
            let models = made.generator.iter().chain(&made.classifier);
            models.into_iter().find(|then| then.title == info.title && then.sha256 != info.sha256)
        });
        if let Some(then) = then {
            let details = vec![
                format!("The session was made with SHA-256 {}.", then.sha256),
                format!("Here it is {}; results will differ.", info.sha256),
            ];
            self.notices.add(Severity::Warning, format!("Another version of {} is used here", info.title), details);
        }
    }

    /// The compute thread has died; everything that came from it stays.
    pub fn crashed(&mut self, text: String) {
        (self.live, self.held, self.worker_dead) = (None, None, true);
        self.notices.failure(&[
            "the compute thread crashed; your session is intact".to_owned(),
            text.clone(),
            "press \"Restart compute\" and go on".to_owned(),
        ]);
        self.activity = Activity::Crashed(text);
    }

    /// The compute thread was started again.
    pub fn restarted(&mut self) {
        self.worker_dead = false;
        self.activity = Activity::Idle;
        self.commands.clear();
    }

    /// Takes in what the disk thread reports.
    pub fn apply_storage(&mut self, event: StorageEvent) {
        match event {
            StorageEvent::Stored { epoch, id, offset } if epoch == self.epoch => self.iterates.stored(id, offset),
            StorageEvent::Loaded { epoch, id, state } if epoch == self.epoch => match state {
                Some(state) => self.iterates.insert(id, state),
                None => self.iterates.lost(id),
            },
            StorageEvent::Stored { .. } | StorageEvent::Loaded { .. } => {}
            StorageEvent::Saved { path, bytes, version: (epoch, revision) } => {
                let size = format!("{:.1} MB", bytes as f64 / 1e6);
                self.notices.add(Severity::Info, format!("Saved {} ({size})", path.display()), Vec::new());
                if epoch == self.epoch {
                    self.file = Some(path);
                    self.unsaved = revision != self.revision;
                }
            }
            StorageEvent::Opened(restored) if restored.epoch == self.epoch => self.restore(*restored),
            StorageEvent::Opened(_) => {}
            StorageEvent::Images { epoch, .. } if epoch != self.epoch => {}
            StorageEvent::Images { images, names, fits, failures, .. } => {
                for chain in &failures {
                    self.notices.failure(chain);
                }
                if let Some(images) = images {
                    let count = images.len();
                    let seeds = (0..count as u64).collect();
                    self.abandon_work();
                    self.fits = fits;
                    let labels = vec![0; count];
                    self.set_origins(Arc::new(Origins { images, labels, seeds, names, made_by: None }));
                    self.label_by_verdict = true;
                    self.begin_run(None, Some(0));
                }
            }
            StorageEvent::Orphans(orphans) => self.orphans = orphans,
            StorageEvent::Failed(chain) => self.notices.failure(&chain),
        }
    }

    fn restore(&mut self, restored: Restored) {
        self.abandon_work();
        self.label_by_verdict = false;
        let recipe = restored.origins.is_none();
        let without_runs = restored.trace.runs().next().is_none();
        self.history = History::default();
        self.settings = restored.settings;
        self.made_with = Some(restored.provenance.clone());
        let here = Provenance::new();
        self.provenance = Provenance { lapidary: here.lapidary, burn: here.burn, ..restored.provenance };
        self.refresh_class_names();
        self.origins = restored.origins;
        self.fits.clear();
        self.trace = restored.trace;
        let budget = self.iterates.budget();
        self.iterates = Iterates::default();
        self.iterates.set_budget(budget);
        for (id, offset) in restored.index {
            self.iterates.stored(id, offset);
        }
        for (id, state) in restored.last {
            self.iterates.insert(id, state);
        }
        self.live = None;
        let last_run = self.trace.runs().last().map(|run| run.id);
        self.show_run(last_run);
        self.selected = None;
        self.focused = 0;
        self.plan = Plan::default();
        self.revision += 1;
        self.unsaved = restored.path.is_none();
        self.file = restored.path;
        self.show(usize::MAX);
        if recipe {
            // A bare recipe: its pictures are computed again.
            self.generate();
        } else if without_runs {
            self.begin_run(None, Some(0));
        }
    }
}
