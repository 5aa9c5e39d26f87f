//! What the user does: actions in, commands and jobs out.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::action::{Action, Compare, Verb};
use super::disk::{Detail, DiskJob};
use super::settings::Undoable;
use super::training::TrainAction;
use super::work::{Going, Phase};
use super::{Activity, Cause, Question, Session, Settings, Severity};
use crate::generator::Mask;
use crate::refiner::RefineSettings;
use crate::trace::StateId;
use crate::worker::Command;
use crate::zoo;

impl Session {
    /// Does what the user asks.
    pub fn handle(&mut self, action: Action) {
        if self.work.opening().is_some() && self.must_not_act(&action) {
            return;
        }
        match action {
            Action::Do(verb) => self.do_verb(verb),
            Action::Edit(settings) => self.edit(*settings),
            Action::EndEdit => self.history.close(),
            Action::Select(sample) => {
                if sample < self.record.count() {
                    self.look.selected = Some(sample);
                    self.look.focused = sample;
                }
            }
            Action::Show(place) => self.look.show(place),
            Action::ShowRun(run) => {
                self.look.show_run(Some(run), &self.record.trace);
                self.look.show(usize::MAX);
                self.tell_other_run();
            }
            Action::SetTarget { .. } if self.record.has_iterated() => {
                let text = "Another target begins anew: the runs of these pictures are given up.".to_owned();
                let can_save = self.is_unsaved();
                self.question = Some(Question {
                    title: "Begin anew?",
                    text,
                    yes: "Begin anew",
                    then: action,
                    can_save,
                    other: None,
                });
            }
            Action::SetTarget { sample, class } => self.set_target(sample, class),
            Action::Compare(compare) => self.look.compare = compare,
            Action::SetMask(mask) => self.set_mask(mask),
            Action::NameRun(run, name) => self.name_run(run, &name),
            Action::DeleteRun(run) if self.keeps_run(run).is_none() => {
                let text = format!("Run {} and its iterates are given up for good, in the autosave too.", run.0);
                self.question = Some(Question {
                    title: "Delete the run?",
                    text,
                    yes: "Delete",
                    then: action,
                    can_save: false,
                    other: None,
                });
            }
            Action::DeleteRun(_) => {}
            Action::OpenReferences(paths) => self.open_images(paths, true),
            Action::OpenSession(_) | Action::Recover(_) | Action::OpenPictures(_) => self.ask_before(action),
            Action::SaveSession(path, detail) => {
                if self.file() != Some(path.as_path()) && path.exists() {
                    self.ask_to_replace(path, detail);
                } else {
                    self.save((path, false), detail);
                }
            }
            Action::Discard(_) => {
                let text = "That session and its iterates are deleted for good; no file holds them.".to_owned();
                let title = "Delete what was left behind?";
                self.question =
                    Some(Question { title, text, yes: "Delete", then: action, can_save: false, other: None });
            }
            Action::Confirm => {
                if let Some(question) = self.question.take() {
                    self.replace(question.then);
                }
            }
            Action::Cancel => self.question = None,
            Action::AfterSaving(question) if self.has_unsaved_work() => self.question = Some(*question),
            Action::AfterSaving(question) => self.replace(question.then),
            Action::Train(action) => self.train(action),
            Action::ChooseLive(choice) => self.choose_live(*choice),
            // The window does that.
            Action::Export(_) => {}
            Action::Dismiss(id) => self.notices.dismiss(id),
            Action::SetBudget(bytes) => self.record.iterates.set_budget(bytes),
        }
    }

    /// Whether an action would change the session, or the file, that is about to be replaced; says so where it was asked for
    /// by name.
    fn must_not_act(&mut self, action: &Action) -> bool {
        let is_silent = matches!(
            action,
            Action::Edit(_)
                | Action::SetTarget { .. }
                | Action::SetMask(_)
                | Action::Train(TrainAction::Use(_))
                | Action::NameRun(..)
                | Action::DeleteRun(_)
        );
        let is_told = matches!(
            action,
            Action::OpenReferences(_)
                | Action::OpenSession(_)
                | Action::Recover(_)
                | Action::OpenPictures(_)
                | Action::SaveSession(..)
                | Action::Confirm
                | Action::AfterSaving(_)
        );
        if is_told {
            let details = vec!["Wait until it is there, or press Stop; then do it again.".to_owned()];
            self.notices.add(Severity::Info, "A session is being opened", details);
        }
        is_silent || is_told
    }

    pub(super) fn do_verb(&mut self, verb: Verb) {
        if !self.can(verb) {
            return;
        }
        match verb {
            // Edited pictures can be made again from what they were edited from: another try is asked for by the same button.
            Verb::Edit if !self.record.has_iterated() => self.replace(Action::Do(verb)),
            Verb::Generate | Verb::Edit | Verb::NewSession => self.ask_before(Action::Do(verb)),
            Verb::RunOrPause if self.can_pause() => self.end_run(Command::Pause),
            Verb::RunOrPause => self.run(),
            Verb::Step => self.step(),
            Verb::Stop => self.stop(),
            Verb::Reset => {
                if self.is_busy() {
                    self.commands.push(Command::Stop);
                }
                self.begin_run(None, Some(0));
            }
            Verb::Branch => self.branch(),
            Verb::Undo => {
                let now = self.record.undoable();
                if let Some(before) = self.history.undo(now) {
                    self.take_back(before);
                }
            }
            Verb::Redo => {
                let now = self.record.undoable();
                if let Some(after) = self.history.redo(now) {
                    self.take_back(after);
                }
            }
            Verb::PreviousIteration => self.look.show(self.look.shown.saturating_sub(1)),
            Verb::NextIteration => self.look.show(self.look.shown + 1),
            Verb::FirstIteration => self.look.show(0),
            Verb::LastIteration => self.look.show(usize::MAX),
            Verb::BestIteration => {
                let best = self.trace().best(self.path(), self.shown(), self.focused());
                if let Some(place) = best {
                    self.look.show(place);
                }
            }
            Verb::Play => self.look.play(),
            Verb::PreviousSample => self.look.step_sample(false, self.record.count()),
            Verb::NextSample => self.look.step_sample(true, self.record.count()),
            Verb::Grid => self.look.show_grid(),
            Verb::Side => self.look.compare(Compare::Side),
            Verb::Wipe => self.look.compare(Compare::Wipe),
            Verb::Blink => self.look.compare(Compare::Blink),
            Verb::Difference => self.look.compare(Compare::Difference),
            // These need the window or the host.
            Verb::Save
            | Verb::SaveAs
            | Verb::Open
            | Verb::OpenImages
            | Verb::OpenReferences
            | Verb::FitView
            | Verb::ActualSize
            | Verb::Smooth
            | Verb::Quit
            | Verb::Theme
            | Verb::Help
            | Verb::RestartCompute => {}
        }
    }

    fn end_run(&mut self, command: Command) {
        self.commands.push(command);
        if let Some(going) = self.work.going_mut() {
            going.ending = true;
        }
    }

    /// Ends what keeps the user from going on: an opening, then the saving that it waits behind; else the work, else a saving.
    fn stop(&mut self) {
        let is_opening = self.work.opening().is_some();
        if let Some(opening) = self.work.opening_mut().filter(|opening| !opening.stopping) {
            opening.stopping = true;
            self.jobs.push(DiskJob::Stop(opening.ticket));
        } else if let Some(run) = self.work.paused().filter(|_| !is_opening).map(|going| going.run) {
            self.commands.push(Command::Stop);
            // The compute thread rests already and will not say so again.
            self.work.set(Phase::Idle(Some(run)));
        } else if matches!(self.activity(), Activity::Held { .. }) {
            // Likewise; what was made it still hands over.
            self.commands.push(Command::Stop);
            self.work.set(Phase::Idle(None));
        } else if self.is_busy() {
            self.end_run(Command::Stop);
        } else {
            self.jobs.extend(self.work.savings.keys().map(|ticket| DiskJob::Stop(*ticket)));
        }
    }

    pub(super) fn edit(&mut self, settings: Settings) {
        if settings == *self.settings() {
            return;
        }
        if let Err(error) = settings.check() {
            let what = "A setting was not changed";
            self.notices.add_about(Cause::Setting, Severity::Error, what, vec![error.to_string()]);
            return;
        }
        self.notices.settle(&[Cause::Setting]);
        self.history.record(|| self.record.undoable());
        self.apply_settings(settings);
    }

    fn set_mask(&mut self, mask: Option<Mask>) {
        let mask = mask.filter(|mask| !mask.is_empty());
        if mask != self.record.mask {
            self.history.record(|| self.record.undoable());
            self.take_mask(mask);
        }
    }

    fn take_mask(&mut self, mask: Option<Mask>) {
        if mask != self.record.mask {
            (self.record.mask, self.record.is_mask_new) = (mask, true);
            self.record.touch();
            self.remember_mask();
        }
    }

    fn take_back(&mut self, (settings, mask): Undoable) {
        self.take_mask(mask);
        self.apply_settings(settings);
    }

    /// A run whose plan was cut to what is done, or below, is held.
    pub(super) fn end_cut_plan(&mut self) {
        if self.activity() == Activity::Running && self.work.going().is_some_and(Going::is_too_far) {
            self.end_run(Command::Pause);
        }
    }

    pub(super) fn apply_settings(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.record.settings, settings);
        let comes_from_others = self.record.note_preset(None);
        let now = &self.record.settings;
        let old = before.refine;
        let runs_on = now.refine.runs_like(&old);
        let other_generator = before.generate.generator != now.generate.generator;
        let other_classifier = old.classifier != now.refine.classifier;
        if other_generator {
            self.refresh_generator_classes();
        }
        if other_generator || other_classifier {
            self.tell_in_use();
        }
        if other_classifier {
            self.refresh_class_names();
        }
        if let Some(run) = self.work.run().filter(|_| !runs_on) {
            if self.classifier_changed(run) {
                // A run has one classifier; the next Run begins another from here.
                self.commands.push(Command::Stop);
            } else {
                self.commands.push(Command::Update { run, settings: self.settings().refine.clone() });
            }
        }
        let planned = |settings: &RefineSettings| settings.iterations.map(NonZeroU32::get);
        self.work.replan(planned(&old), planned(&self.settings().refine));
        self.end_cut_plan();
        if self.file().is_some() {
            self.record.touch();
        }
        if comes_from_others {
            self.remember_preset();
        }
        self.remember_settings();
    }

    /// The grid shows these samples in this order: the next and the previous one are those of the eye.
    pub fn arrange(&mut self, order: &[usize]) {
        // An order of other pictures says nothing of these.
        if order.iter().all(|sample| *sample < self.record.count()) {
            self.look.arrange(order);
        }
    }

    /// The film moves on by one iteration.
    pub fn play_on(&mut self) {
        self.look.play_on();
    }

    /// Saves to a path; the flag: whatever lies there.
    fn save(&mut self, path: (PathBuf, bool), detail: Detail) {
        let ticket = self.work.ticket();
        self.work.savings.insert(ticket, (0, 0));
        let mut saving = self.record.saving(ticket, path, detail);
        let iteration = self.shown() as u32;
        saving.document.shown = self.shown_run().map(|run| StateId { run, iteration });
        saving.document.sample = Some(self.focused()).filter(|sample| *sample > 0);
        saving.document.preset = self.preset().map(|preset| preset.key.to_owned());
        self.jobs.push(DiskJob::Save(Box::new(saving)));
    }

    pub(super) fn ask_before(&mut self, action: Action) {
        if self.would_cost(&action) {
            self.ask_to_give_up(action);
        } else {
            self.replace(action);
        }
    }

    fn replace(&mut self, action: Action) {
        match action {
            Action::OpenSession(path) => self.open(path, false),
            Action::Recover(folder) => self.open(folder, true),
            Action::OpenPictures(paths) => self.open_images(paths, false),
            Action::Do(Verb::Generate) => self.generate(),
            Action::Do(Verb::Edit) => self.edit_pictures(),
            Action::SetTarget { sample, class } => self.set_target(sample, class),
            Action::DeleteRun(run) => self.delete_run(run),
            Action::Train(TrainAction::Use(step)) => self.use_in_place(step),
            Action::SaveSession(path, detail) => self.save((path, true), detail),
            Action::Do(Verb::NewSession) => self.begin_anew(),
            Action::Discard(folder) => {
                self.orphans.retain(|orphan| orphan.folder != folder);
                self.jobs.push(DiskJob::Discard(folder));
            }
            _ => {}
        }
    }

    fn begin_anew(&mut self) {
        self.abandon_work();
        self.record.fresh(Settings { compute: self.settings().compute.clone(), ..Settings::default() });
        (self.history, self.look) = Default::default();
        (self.made_with, self.question) = (None, None);
        self.fits.clear();
        self.notices = super::Notices::default();
        (self.work.label_by_verdict, self.work.estimate, self.work.secs_per_iteration) = (false, None, None);
        self.refresh_class_names();
        self.refresh_generator_classes();
        self.rewrite_journal();
    }

    fn open_images(&mut self, paths: Vec<PathBuf>, references: bool) {
        if !references {
            let action = Action::OpenPictures(paths.clone());
            self.work.unasked = (!self.would_cost(&action)).then(|| paths.clone());
        }
        // They become as large as the classifier's.
        let classifier = zoo::find(&self.settings().refine.classifier);
        let shape = classifier.map_or([3, 32, 32], |(manifest, _)| manifest.shape());
        let classes = self.chosen_names().to_vec();
        self.jobs.push(DiskJob::OpenImages { paths, shape, classes, epoch: self.epoch(), references });
    }

    fn open(&mut self, path: PathBuf, recovers: bool) {
        if self.is_busy() {
            self.abandon_work();
        }
        let ticket = self.work.begin_opening(path.clone());
        let epoch = self.record.next_epoch();
        self.jobs.push(DiskJob::Open { ticket, path, recovers, epoch });
    }
}
