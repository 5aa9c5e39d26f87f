//! What the compute thread is asked to do: pictures, and runs over them.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::disk::Fact;
use super::preview::Preview;
use super::work::{Going, Phase};
use super::{Activity, Cause, Lookup, Plan, Session, Settings, Severity};
use crate::classifier::LabelError;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{RefineSettings, Target};
use crate::trace::{Change, Run, RunId, StateId, Tag};
use crate::units::counted;
use crate::worker::{Command, JobId};
use crate::zoo;

/// Letters that a run's name may have: it stands in lists, and on one line.
pub const MOST_LETTERS: usize = 60;

/// How it is iterated from the newest state of a run.
enum Way {
    /// Another run from the origins.
    Anew,
    /// In the run that the compute thread holds.
    GoOn(RunId),
    /// In its run, which the compute thread has given up meanwhile.
    TakeUp(StateId),
    /// In another run, which begins there.
    Branch(StateId),
}

impl Session {
    /// Ends what goes on and begins to make pictures; `None` when nobody could make them.
    fn begin_making(&mut self) -> Option<JobId> {
        if self.work.is_dead() {
            return None;
        }
        if self.is_busy() {
            self.commands.push(Command::Stop);
        }
        (self.work.secs_per_iteration, self.work.secs_per_step, self.work.preview) = (None, None, None);
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
                self.notices.failure_about(Cause::Work, &["no pictures are made".to_owned(), error.to_string()]);
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
        let mask = self.record.mask.clone();
        self.work.preview = Some(Preview::of(self.selected()));
        self.commands.push(Command::Edit { job, settings, edit, reference, mask, compute, previews: true });
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
            _ if self.work.only_judges() => {
                let of = self.settings().refine.iterations.map(NonZeroU32::get);
                if let Some(going) = self.work.going_mut() {
                    // It goes on when the compute thread has done what it was asked for.
                    going.plan.of = of;
                }
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
        if self.look.run != Some(run) {
            // What goes on is what is seen.
            self.look.show_run(Some(run), &self.record.trace);
            self.look.show(usize::MAX);
        }
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
        match self.way() {
            Way::Anew => self.begin_run(None, of),
            Way::GoOn(run) => self.go_on(run, Plan { of, done: 0 }),
            Way::TakeUp(from) => self.take_up(from, of),
            Way::Branch(from) => self.begin_run(Some(from), of),
        }
    }

    /// How it is iterated from the newest state of the run that is shown.
    fn way(&self) -> Way {
        let Some(newest) = self.path().last().copied() else { return Way::Anew };
        let Some(run) = self.look.run.and_then(|run| self.trace().run(run)) else { return Way::Branch(newest) };
        // A start at random, or another classifier, is another run.
        let at_start = run.parent.is_none() && run.last_iteration() == Some(0);
        let is_other_start = at_start && !run.settings.starts_like(&self.settings().refine);
        match self.work.run() {
            Some(live) if live == run.id && is_other_start => Way::Anew,
            // Nothing was iterated, so the start is another classifier's to judge.
            _ if at_start && self.classifier_changed(run.id) => Way::Anew,
            _ if self.classifier_changed(run.id) => Way::Branch(newest),
            Some(live) if live == run.id => Way::GoOn(run.id),
            Some(_) => Way::Branch(newest),
            // Given up for an edit, by a crash, or when the session was closed.
            None if newest.run == run.id && !is_other_start && self.can_be_taken_up(run) => Way::TakeUp(newest),
            None => Way::Branch(newest),
        }
    }

    /// Whether a run goes on from its pictures as if it had never been given up. Of several starts only the best are kept, and
    /// other targets are another run's.
    fn can_be_taken_up(&self, run: &Run) -> bool {
        let has_one_start = run.settings.restarts <= 1 || run.parent.is_some();
        let last = run.last_iteration().map_or(&run.settings, |last| run.settings_at(last + 1));
        has_one_start && last.target == self.settings().refine.target
    }

    /// Iterations that there are to be behind the newest state of the run that is shown, while it goes on or is held.
    #[must_use]
    pub fn shown_goal(&self) -> Option<u32> {
        let is_shown = self.work.going().is_some_and(|going| self.look.run == Some(going.run));
        self.goal().1.filter(|_| is_shown)
    }

    /// What Run does now, in one sentence.
    #[must_use]
    pub fn what_run_does(&self) -> String {
        let planned = self.settings().refine.iterations;
        let plan = planned
            .map_or("until it is stopped".to_owned(), |n| format!("for {}", counted(n.get() as usize, "iteration")));
        let (last, goal) = self.goal();
        match (self.activity(), self.way()) {
            _ if self.can_pause() => "Now: hold after the current step".to_owned(),
            (Activity::Held { .. }, _) => "Now: go on making the pictures".to_owned(),
            (Activity::Paused, _) if goal.is_none_or(|goal| goal > last) => {
                let goal = goal.map_or_else(String::new, |goal| format!(" to iteration {goal}"));
                format!("Now: go on{goal}")
            }
            (_, Way::GoOn(RunId(run)) | Way::TakeUp(StateId { run: RunId(run), .. })) => {
                format!("Now: go on with run {run} from its newest iteration, {plan}")
            }
            (_, Way::Anew) => format!("Now: begin a run from the pictures, {plan}"),
            (_, Way::Branch(from)) => {
                format!("Now: begin a new run from iteration {} of run {}, {plan}", from.iteration, from.run.0)
            }
        }
    }

    /// Hands a run that the compute thread no longer holds to it again, and iterates from its newest state.
    fn take_up(&mut self, from: StateId, iterations: Option<u32>) {
        let Some(start) = self.pictures_of(from) else { return };
        let settings = self.settings().refine.clone();
        let StateId { run, iteration } = from;
        if self.trace().run(run).is_some_and(|run| *run.settings_at(iteration + 1) != settings) {
            let change = Change { iteration, settings: settings.clone() };
            self.remember(Fact::Change { run, change: change.clone() });
            self.record.trace.change(run, change);
        }
        self.send_run(run, (Some((from, start)), settings), iterations);
    }

    pub(super) fn branch(&mut self) {
        if let Some(from) = self.shown_id() {
            self.begin_run(Some(from), Some(0));
        }
    }

    /// Begins a run from the origin or from a state, and plans `iterations`.
    pub(super) fn begin_run(&mut self, from: Option<StateId>, iterations: Option<u32>) {
        if self.origins().is_none() || self.work.is_dead() {
            return;
        }
        let start = match from {
            None => None,
            Some(id) => match self.pictures_of(id) {
                Some(pictures) => Some((id, pictures)),
                None => return,
            },
        };
        let run = self.trace().next_id();
        let parent = start.as_ref().map(|(id, _)| *id);
        let mut settings = self.settings().refine.clone();
        // The verdict on an opened picture is about the picture itself.
        if self.work.label_by_verdict {
            settings = settings.at_origin();
        }
        if let Err(error) = self.check_labels(&settings) {
            return self.notices.failure_about(Cause::Work, &["no run is begun".to_owned(), error.to_string()]);
        }
        self.tell_other_run();
        if parent.is_some_and(|parent| self.classifier_changed(parent.run)) {
            let details = vec!["Its numbers cannot be compared with those of the iterations before. Reset begins anew from the pictures, so that it judges them from the start.".to_owned()];
            let what = "Another classifier refines from here on";
            self.notices.add_about(Cause::Run, Severity::Info, what, details);
        }
        self.record.trace.begin(run, parent, settings.clone());
        self.remember(Fact::Run { id: run, parent, settings: settings.clone() });
        self.send_run(run, (start, settings), iterations);
    }

    /// Labels that the classifier does not know are no targets. What it knows may be known only when it is loaded: then the
    /// compute thread says so.
    fn check_labels(&self, settings: &RefineSettings) -> Result<(), LabelError> {
        self.check_labels_among(self.chosen_names(), settings)
    }

    /// Likewise of a classifier with classes of these names.
    pub(super) fn check_labels_among(&self, names: &[String], settings: &RefineSettings) -> Result<(), LabelError> {
        if settings.target == Target::PseudoLabel || names.is_empty() {
            return Ok(());
        }
        self.origins().map_or(Ok(()), |origins| origins.labels_among(names).map(drop))
    }

    /// The pictures of a state that a run is to begin with; a message when they are not at hand.
    fn pictures_of(&mut self, id: StateId) -> Option<ImageBatch> {
        match self.record.iterates.get(id) {
            Lookup::Ready(state) => return Some(state.images.clone()),
            Lookup::Loading => {
                self.load_wish();
                let text = format!("Iteration {} is being read from disk", id.iteration);
                self.notices.add_about(Cause::Run, Severity::Info, text, vec!["Try again in a moment.".to_owned()]);
            }
            Lookup::Missing => {
                let details =
                    vec!["The session was saved small. Show a kept iterate, or reset and run again.".to_owned()];
                self.notices.add_about(Cause::Run, Severity::Warning, "This iterate was not kept", details);
            }
        }
        None
    }

    /// Has the compute thread begin a run where it starts, or take it up where it is.
    fn send_run(
        &mut self,
        run: RunId,
        (from, settings): (Option<(StateId, ImageBatch)>, RefineSettings),
        iterations: Option<u32>,
    ) {
        let Some(origins) = self.origins().cloned() else { return };
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
            from,
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
        if self.keeps_run(run).is_none() {
            self.forget_run(run);
        }
    }

    /// The run that goes on came to nothing before its first state: there is nothing to see in it.
    pub(super) fn forget_unbegun(&mut self) {
        let going = self.work.going().map(|going| going.run);
        if let Some(run) = going.and_then(|run| self.trace().run(run)).filter(|run| run.last_iteration().is_none()) {
            self.forget_run(run.id);
        }
    }

    fn forget_run(&mut self, run: RunId) {
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
        let known = origins.labels_among(self.class_names()).ok().filter(|_| own);
        let mut labels = known.unwrap_or_else(|| (0..origins.labels.len()).map(|i| self.target(i)).collect());
        if labels.get(sample).is_none_or(|label| *label == class) || self.is_busy() {
            return;
        }
        labels[sample] = class;
        let classes = Some(self.class_names().to_vec()).filter(|names| !names.is_empty());
        self.set_origins(Arc::new(Origins { labels, classes, ..Origins::clone(&origins) }));
        self.record.has_chosen_targets = true;
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
    use crate::session::{Action, Verb, toy};

    #[test]
    fn what_goes_on_again_is_what_is_shown_and_the_start_is_valued_whatever_is_pressed() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        assert!(!session.can(Verb::Stop), "a run without the value of its start would show nothing");
        toy::come(&mut session, of, 0, &[0.0]);
        toy::come(&mut session, of, 1, &[0.0]);
        session.handle(Action::Do(Verb::Reset));
        assert!(!session.can(Verb::Stop));
        let second = (session.work.job(), session.work.run().unwrap());
        toy::come(&mut session, second, 0, &[0.0]);
        session.handle(Action::Do(Verb::RunOrPause));
        session.handle(Action::Do(Verb::RunOrPause));
        let job = session.work.job();
        session.apply(crate::worker::Event::Resting { job, rest: crate::worker::Rest::Paused });
        session.handle(Action::ShowRun(of.1));
        assert_eq!((session.activity(), session.shown_id().unwrap().run), (Activity::Paused, of.1));
        session.handle(Action::Do(Verb::RunOrPause));
        assert_eq!((session.activity(), session.shown_id().unwrap().run), (Activity::Running, second.1));
    }

    #[test]
    fn targets_that_were_chosen_are_asked_about_before_they_go() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        toy::come(&mut session, of, 0, &[0.0, 0.0]);
        assert!(!session.has_unsaved_work());
        session.handle(Action::SetTarget { sample: 0, class: 1 });
        assert!(session.has_unsaved_work() && session.hand_work().is_some_and(|what| what.contains("targets")));
        session.take_commands();
        session.handle(Action::Do(Verb::Generate));
        assert!(session.question().is_some_and(|question| question.can_save && question.text.contains("targets")));
        assert!(session.take_commands().is_empty(), "nothing is made before the answer");
        session.handle(Action::Confirm);
        assert!(session.take_commands().iter().any(|command| matches!(command, Command::Generate { .. })));
    }

    #[test]
    fn a_new_run_has_no_speed_yet_and_verbs_without_an_effect_are_grey() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        let run = of.1;
        toy::come(&mut session, of, 0, &[0.0]);
        let moot = [Verb::Reset, Verb::LastIteration, Verb::BestIteration, Verb::NextSample, Verb::PreviousSample];
        assert!(moot.iter().all(|verb| !session.can(*verb)), "there is one state of one picture, and it is shown");
        toy::come(&mut session, of, 1, &[0.0]);
        assert!(session.can(Verb::Reset) && session.can(Verb::BestIteration) && !session.can(Verb::LastIteration));
        session.handle(Action::Show(0));
        assert!(session.can(Verb::LastIteration));
        assert_eq!(session.secs_per_iteration(), Some(0.5));
        session.handle(Action::NameRun(run, "long ".repeat(100)));
        assert_eq!(session.trace().run(run).unwrap().tag.label.chars().count(), MOST_LETTERS);
        session.take_commands();
        session.handle(Action::Do(Verb::Reset));
        assert_eq!(session.secs_per_iteration(), None);
        // Run is not lost while the first state is computed: the run goes on from it.
        assert!(session.can(Verb::RunOrPause) && !session.can(Verb::Step));
        session.handle(Action::Do(Verb::RunOrPause));
        assert!(!session.can(Verb::RunOrPause), "it is wished for already");
        let of = (session.work.job(), session.work.run().unwrap());
        toy::come(&mut session, of, 0, &[0.0]);
        let planned = session.settings().refine.iterations;
        assert_eq!(session.plan(), Plan { of: planned.map(NonZeroU32::get), done: 0 });
        let goes_on = |command: &Command| matches!(command, Command::Continue { run, iterations, .. } if (*run, *iterations) == (Some(of.1), planned));
        assert!(session.take_commands().iter().any(goes_on));
    }
}
