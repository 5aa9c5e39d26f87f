//! What the compute thread is asked to do: pictures, and runs over them.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::disk::Fact;
use super::work::{Going, Phase};
use super::{Activity, Lookup, Plan, Session, Settings, Severity};
use crate::origins::Origins;
use crate::refiner::Target;
use crate::trace::{Run, RunId, StateId, Tag};
use crate::worker::{Command, JobId};
use crate::zoo;

/// Letters that a run's name may have: it stands in lists, and on one line.
pub const MOST_LETTERS: usize = 60;

impl Session {
    /// Ends what goes on and begins to make pictures; `None` when nobody could make them.
    fn begin_making(&mut self) -> Option<JobId> {
        if self.work.is_dead() {
            return None;
        }
        if self.is_busy() {
            self.commands.push(Command::Stop);
        }
        (self.work.secs_per_iteration, self.work.secs_per_step) = (None, None);
        self.work.set(Phase::Making);
        Some(self.work.new_job())
    }

    pub(super) fn generate(&mut self) {
        if !self.suit_target() {
            return;
        }
        let Some(job) = self.begin_making() else { return };
        let (settings, compute) = (self.settings().generate.clone(), self.settings().compute.clone());
        self.commands.push(Command::Generate { job, settings, compute });
    }

    /// Makes the target one that the generator's pictures have, and says so. False, with a message, when they can have none: they
    /// would be refined towards classes that mean something else.
    fn suit_target(&mut self) -> bool {
        let mut settings = self.settings().clone();
        let models = [&settings.generate.generator, &settings.refine.classifier].map(|model| zoo::class_names(model));
        // Why a model cannot be used is said when it is.
        let [Ok(made), Ok(seen)] = models else { return true };
        match settings.refine.target.suit(&made, &seen) {
            Ok(None) => {}
            Ok(Some(note)) => {
                self.edit(settings);
                self.history.close();
                self.notices.add(Severity::Info, "The target is now the pseudo-label", vec![note.to_owned()]);
            }
            Err(error) => {
                self.notices.failure(&["no pictures are made".to_owned(), error.to_string()]);
                return false;
            }
        }
        true
    }

    /// Makes pictures from these.
    pub(super) fn edit_pictures(&mut self) {
        let Some(job) = self.begin_making() else { return };
        let Settings { generate: settings, edit, compute, .. } = self.settings().clone();
        // The picture on the canvas, or all.
        let reference = self.origins().map(|origins| Arc::new(origins.to_edit(self.selected())));
        let mask = self.mask.clone();
        self.commands.push(Command::Edit { job, settings, edit, reference, mask, compute });
    }

    /// Run: goes on with a held plan, else plans anew.
    pub(super) fn run(&mut self) {
        match self.work.paused().copied() {
            // Held after its last iteration, a plan is done.
            Some(Going { run, plan, .. }) if !plan.is_done() && !self.classifier_changed(run) => self.go_on(run, plan),
            _ if matches!(self.activity(), Activity::Held { .. }) => {
                let job = self.work.new_job();
                self.commands.push(Command::Continue { job, run: None, iterations: None });
                self.work.set(Phase::Making);
            }
            _ => self.iterate(self.settings().refine.iterations),
        }
    }

    /// One iteration; a held plan is still there after it.
    pub(super) fn step(&mut self) {
        let held = self.work.paused().map(|going| going.plan);
        self.iterate(NonZeroU32::new(1));
        let after = held.map(|plan| Plan { done: plan.done + 1, ..plan }).filter(|plan| !plan.is_done());
        if let Some(going) = self.work.going_mut() {
            going.held = after;
        }
    }

    /// Iterates until the plan is done.
    pub(super) fn go_on(&mut self, run: RunId, plan: Plan) {
        let job = self.work.new_job();
        self.commands.push(Command::Continue { job, run: Some(run), iterations: plan.left() });
        self.work.set(Phase::Running(Going::new(run, plan)));
        self.look.follow = true;
    }

    /// Whether the settings name another classifier than the one that `run` uses.
    pub(super) fn classifier_changed(&self, run: RunId) -> bool {
        let changed = |run: &Run| {
            let last = run.last_iteration().map_or(&run.settings, |k| run.settings_at(k + 1));
            last.classifier != self.settings().refine.classifier
        };
        self.trace().run(run).is_some_and(changed)
    }

    /// Iterates from the newest state of the run that is shown.
    fn iterate(&mut self, iterations: Option<NonZeroU32>) {
        let of = iterations.map(NonZeroU32::get);
        let live = self.work.run().filter(|run| self.look.run == Some(*run)).and_then(|run| self.trace().run(run));
        // A start at random, or another classifier, is another run.
        let at_start = live.is_some_and(|run| run.parent.is_none() && run.last_iteration() == Some(0));
        let other_start = live.is_some_and(|run| !run.settings.starts_like(&self.settings().refine));
        let other_classifier = live.is_some_and(|run| self.classifier_changed(run.id));
        match live.map(|run| run.id) {
            Some(_) if at_start && other_start => self.begin_run(None, of),
            Some(run) if !other_classifier => self.go_on(run, Plan { of, done: 0 }),
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
        let Some(origins) = self.origins().filter(|_| !self.work.is_dead()).cloned() else { return };
        let start = match from.map(|id| (id, self.record.iterates.get(id))) {
            None => None,
            Some((id, Lookup::Ready(state))) => Some((id, state.images.clone())),
            Some((id, Lookup::Loading)) => {
                self.load_wish();
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
        let run = self.trace().next_id();
        let parent = start.as_ref().map(|(id, _)| *id);
        let mut settings = self.settings().refine.clone();
        // The verdict on an opened picture is about the picture itself.
        if self.work.label_by_verdict {
            settings = settings.at_origin();
        }
        self.record.trace.begin(run, parent, settings.clone());
        self.remember(Fact::Run { id: run, parent, settings: settings.clone() });
        let job = self.work.new_job();
        self.work.run_since = job;
        self.work.set(Phase::Judging(Going::new(run, Plan { of: iterations, done: 0 })));
        // How fast it is nobody knows: it may have another network, or another device.
        (self.work.told_waiting, self.work.secs_per_iteration) = (false, None);
        self.look.show_run(Some(run), &self.record.trace);
        (self.look.follow, self.look.playing) = (true, false);
        let (compute, references) = (self.settings().compute.clone(), self.references().cloned());
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
            tag: Tag::default(),
        });
    }

    /// Why a run cannot be deleted now; `None` when it can.
    #[must_use]
    pub fn keeps_run(&self, run: RunId) -> Option<&'static str> {
        if self.is_busy() {
            Some("Pause or stop first")
        } else if self.trace().runs().count() < 2 {
            Some("It is the only run")
        } else if !self.trace().is_leaf(run) {
            Some("Another run begins in it: delete that one first")
        } else {
            None
        }
    }

    /// Forgets a run for good, and shows the one that it began in, or else the newest.
    pub(super) fn delete_run(&mut self, run: RunId) {
        if self.keeps_run(run).is_some() {
            return;
        }
        let Some(gone) = self.trace().run(run) else { return };
        let (first, last) = (gone.first_iteration(), gone.last_iteration());
        let parent = gone.parent.map(|parent| parent.run);
        for iteration in last.map_or(0..0, |last| first..last + 1) {
            self.record.iterates.forget(StateId { run, iteration });
        }
        self.record.trace.remove(run);
        self.remember(Fact::Deleted { run });
        self.record.touch();
        if self.work.run() == Some(run) {
            self.work.set(Phase::Idle(None));
        }
        if self.look.run == Some(run) {
            let next = parent.or_else(|| self.trace().runs().last().map(|run| run.id));
            self.look.show_run(next, &self.record.trace);
            self.look.show(usize::MAX);
        }
    }

    /// Calls a run by a name; an empty one takes the name away.
    pub(super) fn name_run(&mut self, run: RunId, name: &str) {
        let Some(tag) = self.trace().run(run).map(|run| run.tag.clone()) else { return };
        let label = name.trim().chars().take(MOST_LETTERS).collect();
        let named = Tag { label, ..tag.clone() };
        if named != tag {
            self.record.trace.set_tag(run, named.clone());
            self.remember(Fact::Tag { run, tag: named });
            self.record.touch();
        }
    }

    pub(super) fn set_target(&mut self, sample: usize, class: usize) {
        let Some(origins) = self.origins().cloned() else { return };
        let mut settings = self.settings().clone();
        // A class that is chosen is the classifier's, so all are from now on; where labels say nothing, what is aimed at does.
        let own = settings.refine.target != Target::PseudoLabel;
        let known = origins.labels_among(&self.class_names).ok().filter(|_| own);
        let mut labels = known.unwrap_or_else(|| (0..origins.labels.len()).map(|i| self.target(i)).collect());
        if labels.get(sample).is_none_or(|label| *label == class) || self.is_busy() {
            return;
        }
        labels[sample] = class;
        let classes = Some(self.class_names.clone()).filter(|names| !names.is_empty());
        self.set_origins(Arc::new(Origins { labels, classes, ..Origins::clone(&origins) }));
        if !own {
            settings.refine.target = Target::Label;
            self.edit(settings);
        }
        self.begin_run(None, Some(0));
    }

    /// Gives up the current piece of work: what it still sends is ignored.
    pub(super) fn abandon_work(&mut self) {
        self.commands.push(Command::Stop);
        self.work.give_up();
        self.look.playing = false;
    }

    /// Other pictures, and so another session.
    pub(super) fn set_origins(&mut self, origins: Arc<Origins>) {
        self.record.set_origins(origins);
        if !self.work.is_dead() {
            self.work.set(Phase::Idle(None));
        }
        self.look.begin_anew(self.record.count());
        self.rewrite_journal();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::refiner::{Numbers, SampleState, State};
    use crate::session::{Action, Verb};
    use crate::worker::{Event, Rest};

    #[test]
    fn a_new_run_has_no_speed_yet_and_verbs_without_an_effect_are_grey() {
        let mut session = Session::new(Settings::default());
        session.handle(Action::Do(Verb::Generate));
        let Some(Command::Generate { job, .. }) = session.take_commands().pop() else { panic!("asked for") };
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let origins = Arc::new(Origins::opened(images.clone(), vec![0], Vec::new()));
        session.apply(Event::Generated { job, origins, secs: 0.0 });
        let Some(Command::Refine { job, run, .. }) = session.take_commands().pop() else { panic!("judged") };
        let take = |session: &mut Session, iteration| {
            let list = vec![0.0];
            let numbers = Numbers {
                logits: vec![0.0],
                objective: list.clone(),
                gradient_l2: list.clone(),
                step_l2: list.clone(),
                delta_l2: list.clone(),
                delta_linf: list.clone(),
                clipped: list,
                state: vec![SampleState::Active],
            };
            let state = Arc::new(State { iteration, images: images.clone(), numbers });
            session.apply(Event::State { job, run, state, secs: 0.5 });
            session.apply(Event::Resting { job, rest: Rest::Finished });
        };
        take(&mut session, 0);
        let moot = [Verb::Reset, Verb::LastIteration, Verb::BestIteration, Verb::NextSample, Verb::PreviousSample];
        assert!(moot.iter().all(|verb| !session.can(*verb)), "there is one state of one picture, and it is shown");
        take(&mut session, 1);
        assert!(session.can(Verb::Reset) && session.can(Verb::BestIteration) && !session.can(Verb::LastIteration));
        session.handle(Action::Show(0));
        assert!(session.can(Verb::LastIteration));
        assert_eq!(session.secs_per_iteration(), Some(0.5));
        session.handle(Action::NameRun(run, "long ".repeat(100)));
        assert_eq!(session.trace().run(run).unwrap().tag.label.chars().count(), MOST_LETTERS);
        session.handle(Action::Do(Verb::Reset));
        assert_eq!(session.secs_per_iteration(), None);
    }
}
