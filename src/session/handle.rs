//! What the user does: actions in, commands and jobs out.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use super::action::{Action, Compare, Verb};
use super::record::{Fact, Record};
use super::storage::{Detail, Job};
use super::{Activity, Iterates, Lookup, Plan, Question, Session, Settings, Severity};
use crate::origins::Origins;
use crate::trace::{RunId, StateId, Trace};
use crate::worker::{Command, JobId};
use crate::zoo;

impl Session {
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
            Action::SetMask(mask) => self.mask = mask.filter(|mask| !mask.is_empty()),
            Action::OpenReferences(paths) => {
                let shape = self.picture_shape();
                self.jobs.push(Job::OpenImages { paths, shape, epoch: self.epoch, references: true });
            }
            Action::OpenSession(_) | Action::Recover(_) | Action::OpenPictures(_) => self.ask_before(action),
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

    pub(super) fn do_verb(&mut self, verb: Verb) {
        if !self.can(verb) {
            return;
        }
        match verb {
            Verb::Generate | Verb::Edit => self.ask_before(Action::Do(verb)),
            Verb::RunOrPause if self.activity == Activity::Running => self.commands.push(Command::Pause),
            Verb::RunOrPause => self.run(),
            Verb::Step => {
                // A held plan is still there after the step.
                let held = self.held.take().or((self.activity == Activity::Paused).then_some(self.plan));
                self.iterate(NonZeroU32::new(1));
                self.held =
                    held.map(|plan| Plan { done: plan.done + 1, ..plan }).filter(|plan| plan.of != Some(plan.done));
            }
            Verb::Stop => {
                self.commands.push(Command::Stop);
                if self.activity == Activity::Paused {
                    // The compute thread rests already and will not say so again.
                    (self.plan, self.held, self.activity) = (Plan::default(), None, Activity::Idle);
                }
            }
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
            | Verb::OpenReferences
            | Verb::FitView
            | Verb::Theme
            | Verb::Help
            | Verb::RestartCompute => {}
        }
    }

    pub(super) fn look(&mut self, compare: Compare) {
        self.compare = compare;
        self.selected = Some(self.focused());
    }

    pub(super) fn edit(&mut self, settings: Settings) {
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

    pub(super) fn apply_settings(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        if before.generate.generator != self.settings.generate.generator {
            self.refresh_generator_classes();
        }
        let old = before.refine;
        // Numbers that are shown keep their names; another classifier brings its own when it is loaded.
        if old.classifier != self.settings.refine.classifier && self.path.is_empty() {
            self.refresh_class_names();
        }
        let runs_on = self.settings.refine.runs_like(&old);
        if let Some(run) = self.live.filter(|_| !runs_on) {
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
    pub(super) fn refresh_class_names(&mut self) {
        match zoo::class_names(&self.settings.refine.classifier) {
            // A file without a manifest is known only when it is loaded.
            Ok(names) if names.is_empty() => {}
            Ok(names) => self.class_names = names,
            Err(error) => self.notices.failure(&crate::error::error_chain(&error)),
        }
    }

    /// Likewise the generator's.
    pub(super) fn refresh_generator_classes(&mut self) {
        // Why a generator cannot be used is said when it is.
        self.generator_classes = zoo::class_names(&self.settings.generate.generator).unwrap_or_default();
    }

    /// There is something that no session file holds.
    pub(super) const fn touch(&mut self) {
        self.unsaved = true;
        self.revision += 1;
    }

    pub(super) fn new_job(&mut self) -> JobId {
        self.next_job += 1;
        self.job = JobId(self.next_job);
        self.job
    }

    /// Ends what goes on and begins to make pictures; `None` when nobody could make them.
    fn begin_making(&mut self) -> Option<JobId> {
        if self.worker_dead {
            return None;
        }
        if self.is_busy() {
            self.commands.push(Command::Stop);
        }
        (self.live, self.secs_per_iteration) = (None, None);
        self.activity = Activity::Generating { done: 0, of: 0 };
        Some(self.new_job())
    }

    pub(super) fn generate(&mut self) {
        let Some(job) = self.begin_making() else { return };
        let (settings, compute) = (self.settings.generate.clone(), self.settings.compute.clone());
        self.commands.push(Command::Generate { job, settings, compute });
    }

    /// Makes pictures from these.
    pub(super) fn edit_pictures(&mut self) {
        let Some(job) = self.begin_making() else { return };
        let Settings { generate: settings, edit, compute, .. } = self.settings.clone();
        // The picture on the canvas, or all.
        let reference = self.origins.as_ref().map(|origins| Arc::new(origins.to_edit(self.selected)));
        let mask = self.mask.clone();
        self.commands.push(Command::Edit { job, settings, edit, reference, mask, compute });
    }

    /// Run: goes on with a held plan, else plans anew.
    pub(super) fn run(&mut self) {
        if self.activity == Activity::Paused
            && let Some(run) = self.live
            && !self.classifier_changed(run)
        {
            let (job, iterations) = (self.new_job(), self.plan.left());
            self.commands.push(Command::Continue { job, run: Some(run), iterations });
            self.activity = Activity::Running;
            self.follow = true;
            return;
        }
        self.iterate(self.settings.refine.iterations);
    }

    /// Whether the settings name another classifier than the one that `run` uses.
    pub(super) fn classifier_changed(&self, run: RunId) -> bool {
        let classifier = |run: &crate::trace::Run| {
            let last = run.last_iteration().map_or(&run.settings, |k| run.settings_at(k + 1));
            last.classifier != self.settings.refine.classifier
        };
        self.trace.run(run).is_some_and(classifier)
    }

    /// Iterates from the newest state of the run that is shown.
    pub(super) fn iterate(&mut self, iterations: Option<NonZeroU32>) {
        let of = iterations.map(NonZeroU32::get);
        let live = self.live.filter(|run| self.shown_run == Some(*run)).and_then(|run| self.trace.run(run));
        // A start at random, or another classifier, is another run.
        let at_start = live.is_some_and(|run| run.parent.is_none() && run.last_iteration() == Some(0));
        let other_start = live.is_some_and(|run| !run.settings.starts_like(&self.settings.refine));
        let other_classifier = live.is_some_and(|run| self.classifier_changed(run.id));
        match live.map(|run| run.id) {
            Some(_) if at_start && other_start => self.begin_run(None, of),
            Some(run) if !other_classifier => {
                self.plan = Plan { of, done: 0 };
                let job = self.new_job();
                self.commands.push(Command::Continue { job, run: Some(run), iterations });
                self.activity = Activity::Running;
                self.follow = true;
            }
            _ => self.begin_run(self.path().last().copied(), of),
        }
    }

    pub(super) fn branch(&mut self) {
        if let Some(from) = self.shown_id() {
            self.begin_run(Some(from), Some(0));
        }
    }

    /// Begins a run from the origin or from a state, and plans `iterations`.
    pub(super) fn begin_run(&mut self, from: Option<StateId>, iterations: Option<u32>) {
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
        if self.label_by_verdict {
            settings = settings.at_origin();
        }
        self.trace.begin(run, parent, settings.clone());
        self.remember(&Fact::Run { id: run, parent, settings: settings.clone() });
        let job = self.new_job();
        self.live = Some(run);
        self.show_run(Some(run));
        self.follow = true;
        self.playing = false;
        self.plan = Plan { of: iterations, done: 0 };
        self.activity = Activity::Evaluating;
        let (compute, references) = (self.settings.compute.clone(), self.references.clone());
        self.commands.push(Command::Refine {
            job,
            run,
            origins,
            from: start,
            references,
            settings,
            iterations,
            compute,
            chunk: None,
            tag: crate::trace::Tag::default(),
        });
    }

    pub(super) fn set_target(&mut self, sample: usize, class: usize) {
        let Some(origins) = &self.origins else { return };
        if origins.labels.get(sample).is_none_or(|label| *label == class) || self.is_busy() {
            return;
        }
        let mut changed = Origins::clone(origins);
        changed.labels[sample] = class;
        self.set_origins(Arc::new(changed));
        self.begin_run(None, Some(0));
    }

    pub(super) fn show(&mut self, place: usize) {
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
    pub(super) fn has_iterated(&self) -> bool {
        self.trace.runs().any(|run| run.last_iteration() > Some(run.first_iteration()))
    }

    pub(super) fn save(&mut self, path: PathBuf, detail: Detail) {
        self.jobs.push(Job::Save { path, detail, version: (self.epoch, self.revision) });
    }

    pub(super) fn ask_before(&mut self, action: Action) {
        if self.has_unsaved_iterates() {
            let text = "The iterates of this session are not saved in a file. Replace them?".to_owned();
            self.question = Some(Question { title: "Unsaved work", text, then: action, can_save: true });
        } else {
            self.replace(action);
        }
    }

    pub(super) fn replace(&mut self, action: Action) {
        match action {
            Action::OpenSession(path) => self.open(path),
            Action::Recover(folder) => {
                self.orphans.retain(|orphan| orphan.folder != folder);
                self.open(folder);
            }
            Action::OpenPictures(paths) => {
                let shape = self.picture_shape();
                self.jobs.push(Job::OpenImages { paths, shape, epoch: self.epoch, references: false });
            }
            Action::Do(Verb::Generate) => self.generate(),
            Action::Do(Verb::Edit) => self.edit_pictures(),
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

    /// `[C, H, W]` of opened pictures: the classifier's.
    fn picture_shape(&self) -> [usize; 3] {
        zoo::find(&self.settings.refine.classifier).map_or([3, 32, 32], |(manifest, _)| manifest.shape())
    }

    /// What goes on when nothing does.
    pub(super) fn resting(&self) -> Activity {
        if self.worker_dead { Activity::Crashed(String::new()) } else { Activity::Idle }
    }

    /// Gives up the current piece of work: what it still sends is ignored.
    pub(super) fn abandon_work(&mut self) {
        self.commands.push(Command::Stop);
        self.new_job();
        (self.live, self.held, self.playing) = (None, None, false);
        self.activity = self.resting();
    }

    pub(super) fn open(&mut self, path: PathBuf) {
        if self.is_busy() {
            // Else states of this session would follow the other one into the journal.
            self.abandon_work();
        }
        self.epoch += 1;
        self.jobs.push(Job::Open { path, epoch: self.epoch });
    }

    pub(super) fn set_origins(&mut self, origins: Arc<Origins>) {
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
        self.best = None;
        self.show_run(None);
        let count = self.origins.as_ref().map_or(0, |origins| origins.labels.len());
        self.focused = self.focused.min(count.saturating_sub(1));
        self.selected = self.selected.filter(|sample| *sample < count);
        // Other pictures are another session: saving must not replace the file of the old ones.
        self.file = None;
        self.touch();
        self.remember(&Fact::Provenance(self.provenance.clone()));
    }
}
