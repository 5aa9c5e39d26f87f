//! What happens: events of the compute thread and of the disk thread in.

use std::sync::Arc;

use super::record::{Fact, Provenance, Record};
use super::settings::History;
use super::storage::{Job, Restored, StorageEvent};
use super::{Activity, Iterates, Plan, Session, Severity};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::SampleState;
use crate::trace::{Change, RunId, StateId};
use crate::worker::{Event, Rest};

/// Weight of the newest iteration in the running mean of its duration.
const TIMING_WEIGHT: f64 = 0.3;

impl Session {
    /// Takes in what the compute thread reports.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Device(info) => {
                self.provenance.device = Some(info);
                self.remember(&Fact::Provenance(self.provenance.clone()));
            }
            Event::Generator(info) => {
                self.compare_model(&info);
                self.generator_classes.clone_from(&info.classes);
                self.provenance.generator = Some(info);
                self.remember(&Fact::Provenance(self.provenance.clone()));
            }
            Event::Classifier(info) => {
                self.compare_model(&info);
                self.class_names.clone_from(&info.classes);
                self.compare_classes();
                self.provenance.classifier = Some(info);
                self.remember(&Fact::Provenance(self.provenance.clone()));
            }
            Event::Preparing { job, what, step, of } if job == self.job => {
                self.activity = Activity::Preparing { what, step, of };
            }
            Event::Loading { job, what, done, of } if job == self.job => {
                self.activity = Activity::Loading { what, done, of };
            }
            Event::Estimate { job, estimate } if job == self.job => self.estimate = Some(estimate),
            // An update may have been answered just before the work got another name.
            Event::Targets { run, targets, .. } if self.live == Some(run) => {
                self.remember(&Fact::Targets { run, targets: targets.clone() });
                self.trace.set_targets(run, targets);
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
                self.best = None;
                let change = Change { iteration, settings };
                self.remember(&Fact::Change { run, change: change.clone() });
                self.trace.change(run, change);
            }
            Event::Resting { job, rest } if job == self.job => {
                // A run that was stopped while its classifier was read has no state to go on from.
                self.live =
                    self.live.filter(|run| self.trace.run(*run).is_some_and(|run| run.last_iteration().is_some()));
                let held = self.held.take().filter(|_| rest == Rest::Finished);
                self.plan = held.unwrap_or(self.plan);
                self.activity = if rest == Rest::Paused || held.is_some() { Activity::Paused } else { Activity::Idle };
                if rest == Rest::NothingMoves {
                    self.tell_rest();
                }
            }
            Event::Failed { job, chain } if job == self.job => {
                self.activity = Activity::Failed;
                // A plan that was held belongs to the run that failed.
                (self.live, self.held) = (None, None);
                self.notices.failure(&chain);
            }
            Event::Warning(text) => self.notices.add(Severity::Warning, text, Vec::new()),
            // Late results of work that was given up.
            Event::Preparing { .. }
            | Event::Loading { .. }
            | Event::Estimate { .. }
            | Event::Targets { .. }
            | Event::Generating { .. }
            | Event::Generated { .. }
            | Event::State { .. }
            | Event::Updated { .. }
            | Event::Resting { .. }
            | Event::Failed { .. } => {}
        }
    }

    pub(super) fn take_state(&mut self, run: RunId, state: &Arc<crate::refiner::State>, secs: f64) {
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
    pub(super) fn take_verdict(&mut self, state: &crate::refiner::State) -> bool {
        let Some(origins) = &self.origins else { return false };
        let labels = state.numbers.verdict(&origins.labels);
        if labels == origins.labels && self.settings.refine.starts_at_origin() {
            return false;
        }
        let changed = Origins { labels, ..Origins::clone(origins) };
        self.set_origins(Arc::new(changed));
        self.begin_run(None, Some(0));
        true
    }

    /// Says why no picture moves any more.
    fn tell_rest(&mut self) {
        let last = self.live.and_then(|run| self.trace.run(run)).and_then(|run| run.numbers(run.last_iteration()?));
        let stopped = last.is_some_and(|numbers| numbers.state.iter().all(|state| *state == SampleState::Stopped));
        if stopped {
            let details = vec!["Early stop: the classifier believes in each more than in its reference.".to_owned()];
            self.notices.add(Severity::Info, "Every picture is as real as its reference", details);
            return;
        }
        let details = vec!["The gradient vanished or is not a number in every picture, or early stop holds it. Choose another objective; the target logit never saturates.".to_owned()];
        self.notices.add(Severity::Warning, "No picture moves any more", details);
    }

    pub(super) fn tell_frozen(&mut self, states: &[SampleState]) {
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
    pub(super) fn compare_model(&mut self, info: &crate::worker::ModelInfo) {
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

    /// Warns when the labels of generated pictures mean other classes to the classifier.
    fn compare_classes(&mut self) {
        let generated = self.origins.as_ref().is_some_and(|origins| origins.made_by.is_some());
        let (made, seen) = (&self.generator_classes, &self.class_names);
        if !generated || made.is_empty() || made == seen {
            return;
        }
        let title = format!("The generator's {} classes are not the classifier's {}", made.len(), seen.len());
        if !self.notices.list().iter().any(|notice| notice.title == title) {
            let details = vec![
                "A label is only a number there. The target \"Pseudo-label\" takes the class that the classifier sees."
                    .to_owned(),
            ];
            self.notices.add(Severity::Warning, title, details);
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
                let size = crate::units::bytes(bytes);
                self.notices.add(Severity::Info, format!("Saved {} ({size})", path.display()), Vec::new());
                if epoch == self.epoch {
                    self.file = Some(path);
                    self.unsaved = revision != self.revision;
                }
            }
            StorageEvent::Opened(restored) if restored.epoch == self.epoch => self.restore(*restored),
            StorageEvent::Opened(_) => {}
            StorageEvent::Images { epoch, .. } if epoch != self.epoch => {}
            StorageEvent::Images { images, names, labels, fits, failures, references, .. } => {
                for chain in &failures {
                    self.notices.failure(chain);
                }
                if references {
                    self.take_references(images);
                    return;
                }
                if let Some(images) = images {
                    self.abandon_work();
                    self.fits = fits;
                    // An archive may hold classes of its own; else the classifier's first verdict decides.
                    let labels = labels.filter(|labels| self.are_classes(labels));
                    self.label_by_verdict = labels.is_none();
                    let labels = labels.unwrap_or_else(|| vec![0; images.len()]);
                    self.set_origins(Arc::new(Origins::opened(images, labels, names)));
                    self.begin_run(None, Some(0));
                }
            }
            StorageEvent::Orphans(orphans) => self.orphans = orphans,
            StorageEvent::Failed(chain) => self.notices.failure(&chain),
        }
    }

    /// Whether all are classes of the classifier.
    fn are_classes(&self, labels: &[usize]) -> bool {
        labels.iter().all(|label| *label < self.class_names.len())
    }

    /// Real pictures for early stopping have arrived.
    fn take_references(&mut self, images: Option<ImageBatch>) {
        let Some(images) = images else { return };
        let plural = if images.len() == 1 { "" } else { "s" };
        let title = format!("Early stop compares with {} real picture{plural} from the next run on", images.len());
        self.notices.add(Severity::Info, title, Vec::new());
        self.jobs.push(Job::Append(Record::References(images.clone())));
        self.references = Some(images);
        let mut settings = self.settings.clone();
        settings.refine.early_stop = true;
        self.edit(settings);
    }

    pub(super) fn restore(&mut self, restored: Restored) {
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
        self.refresh_generator_classes();
        self.origins = restored.origins;
        (self.references, self.mask, self.best) = (restored.references, None, None);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Action, Verb};

    #[test]
    fn a_run_that_was_stopped_before_its_first_state_is_begun_again() {
        let mut session = Session { live: Some(RunId(1)), ..Session::default() };
        session.trace.begin(RunId(1), None, session.settings.refine.clone());
        session.apply(Event::Resting { job: session.job, rest: Rest::Stopped });
        assert_eq!((session.live, session.activity()), (None, &Activity::Idle));
    }

    #[test]
    fn a_held_plan_can_be_stopped() {
        let plan = Plan { of: Some(15), done: 3 };
        let mut session = Session { activity: Activity::Paused, plan, ..Session::default() };
        session.handle(Action::Do(Verb::Stop));
        assert_eq!((session.plan(), session.activity()), (Plan::default(), &Activity::Idle));
    }

    #[test]
    fn a_failure_gives_up_the_plan_that_was_held() {
        let mut session = Session { held: Some(Plan { of: Some(15), done: 3 }), ..Session::default() };
        session.apply(Event::Failed { job: session.job, chain: vec!["refining failed".to_owned()] });
        assert_eq!(*session.activity(), Activity::Failed);
        session.apply(Event::Resting { job: session.job, rest: Rest::Finished });
        assert_eq!(*session.activity(), Activity::Idle, "not paused: there is nothing to go on with");
    }
}
