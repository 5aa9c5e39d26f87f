//! What happens: events of the compute thread and of the disk thread in.

use std::sync::Arc;

use super::disk::{Detail, DiskEvent, Entry, Fact, Restored, same_pictures};
use super::settings::History;
use super::work::Phase;
use super::{Action, Activity, Cause, Provenance, Session, Severity};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::State;
use crate::trace::{Change, Run, RunId, StateId};
use crate::worker::{Event, JobId, Rest};

impl Session {
    /// Takes in what the compute thread reports.
    pub fn apply(&mut self, event: Event) {
        self.take_event(event);
        self.use_newest();
    }

    fn take_event(&mut self, event: Event) {
        let current = self.work.job();
        match event {
            Event::Device { job, info } if job == current => {
                self.record.provenance.device = Some(info);
                self.remember_provenance();
            }
            Event::Generator { job, info } if job == current => {
                self.compare_model(&info, |made_with| made_with.generator.as_ref());
                self.generator_classes.clone_from(&info.classes);
                self.record.provenance.generator = Some(info);
                self.remember_provenance();
            }
            Event::Classifier { job, info } if job == current => {
                self.compare_model(&info, |made_with| made_with.classifier.as_ref());
                self.class_names.insert(info.reference.clone(), info.classes.clone());
                self.record.provenance.classifier = Some(info);
                self.remember_provenance();
            }
            Event::Preparing { job, what, step, of } if job == current => {
                self.work.progress = Some(Activity::Preparing { what, step, of });
            }
            Event::Loading { job, what, done, of } if job == current => {
                self.work.progress = Some(Activity::Loading { what, done, of });
            }
            Event::Generating { job, done, of, secs } if job == current => {
                self.work.progress = Some(Activity::Generating { done, of });
                self.work.secs_per_step = Some(secs / f64::from(done.max(1)));
            }
            Event::Preview { job, first, images } if job == current => {
                if let (Some(preview), Some(origins)) = (&mut self.work.preview, &self.record.origins) {
                    preview.take(&origins.images, first, &images);
                }
            }
            Event::Estimate { job, estimate } if job == current => self.work.estimate = Some(estimate),
            // An update may have been answered just before the work got another name.
            Event::Targets { job, run, targets } if self.work.is_of_run(job, run) => {
                self.remember(Fact::Targets { run, targets: targets.clone() });
                self.record.trace.set_targets(run, targets);
            }
            Event::Generated { job, origins, secs: _ } if job == current => {
                self.fits.clear();
                self.work.label_by_verdict = false;
                self.notices.settle(&[Cause::Work, Cause::Pictures]);
                self.tell_fewer(&origins);
                self.set_origins(origins);
                self.begin_run(None, Some(0));
            }
            Event::State { job, run, state, secs } if job == current || self.is_start_again(job, run, &state) => {
                self.take_state(run, state, secs);
            }
            Event::Updated { job, run, iteration, settings } if self.work.is_of_run(job, run) => {
                self.look.best = None;
                let change = Change { iteration, settings };
                self.remember(Fact::Change { run, change: change.clone() });
                self.record.trace.change(run, change);
            }
            Event::Resting { job, rest } if job == current => {
                let trace = &self.record.trace;
                let has_state = |run| trace.run(run).is_some_and(|run| run.last_iteration().is_some());
                if let Some(going) = self.work.rest(rest, has_state) {
                    self.go_on(going.run, going.plan);
                }
                if rest == Rest::NothingMoves {
                    self.tell_rest();
                }
            }
            Event::Training { job, told } => self.take_told(job, told),
            Event::Resting { job, rest } if self.training_of(job).is_some() => self.training_rests(rest),
            Event::Failed { job, chain } if self.training_of(job).is_some() => {
                self.training_failed();
                self.notices.failure_about(Cause::Training, &chain);
            }
            Event::Failed { job, chain } if job == current => {
                self.forget_unbegun();
                self.work.set(Phase::Failed);
                self.notices.failure_about(Cause::Work, &chain);
            }
            Event::Warning(text) => self.notices.add(Severity::Warning, text, Vec::new()),
            // Late results of work that was given up.
            Event::Device { .. }
            | Event::Generator { .. }
            | Event::Classifier { .. }
            | Event::Preparing { .. }
            | Event::Loading { .. }
            | Event::Estimate { .. }
            | Event::Targets { .. }
            | Event::Generating { .. }
            | Event::Preview { .. }
            | Event::Generated { .. }
            | Event::Measured { .. }
            | Event::Compared { .. }
            | Event::State { .. }
            | Event::Updated { .. }
            | Event::Resting { .. }
            | Event::Failed { .. } => {}
        }
    }

    /// Whether it is where the run starts, valued anew: like other answers to an update it may come under an older name.
    fn is_start_again(&self, job: JobId, run: RunId, state: &State) -> bool {
        let last = self.trace().run(run).and_then(Run::last_iteration);
        self.work.is_of_run(job, run) && last == Some(state.iteration)
    }

    fn take_state(&mut self, run: RunId, state: Arc<State>, secs: f64) {
        let id = StateId { run, iteration: state.iteration };
        if std::mem::take(&mut self.work.label_by_verdict) && self.take_verdict(&state) {
            return;
        }
        let last = self.trace().run(run).and_then(Run::last_iteration);
        // Where a run starts may be valued anew.
        let (first, again) = (last.is_none(), last == Some(state.iteration));
        if !self.record.trace.push(id, state.numbers.clone()) {
            return;
        }
        // What does not differ from the origins takes no memory of its own.
        let state =
            match self.origins().filter(|origins| (first || again) && same_pictures(&origins.images, &state.images)) {
                Some(origins) => {
                    let (images, numbers) = (origins.images.clone(), state.numbers.clone());
                    Arc::new(State { iteration: state.iteration, images, numbers })
                }
                None => state,
            };
        self.append(Entry::State(run, state.clone()));
        self.record.iterates.insert(id, state.clone());
        self.record.touch();
        if again {
            self.look.best = None;
        } else {
            self.work.take_state(first, secs);
            self.look.take_state(id);
            self.end_cut_plan();
        }
        self.notices.settle(&[Cause::Work]);
        self.tell_moving(&state.numbers.state);
    }

    /// Opened pictures get the class that the classifier sees in them; true when that changed something.
    fn take_verdict(&mut self, state: &State) -> bool {
        let Some(origins) = self.origins() else { return false };
        let labels = state.numbers.verdict(&origins.labels);
        if labels == origins.labels && self.settings().refine.starts_at_origin() {
            return false;
        }
        let changed = Origins { labels, classes: Some(self.class_names().to_vec()), ..Origins::clone(origins) };
        self.set_origins(Arc::new(changed));
        self.begin_run(None, Some(0));
        true
    }

    /// The compute thread has died; everything that came from it stays.
    pub fn crashed(&mut self, text: String) {
        let what = "the compute thread crashed; your session is intact".to_owned();
        let chain = [what, text.clone(), "press \"Restart compute\" and go on".to_owned()];
        self.notices.failure_about(Cause::Crash, &chain);
        self.work.secs_per_iteration = None;
        self.training_failed();
        self.work.set(Phase::Dead(text));
    }

    /// The compute thread was started again.
    pub fn restarted(&mut self) {
        self.work.set(Phase::Idle(None));
        self.commands.clear();
        self.notices.settle(&[Cause::Crash]);
    }

    /// The disk thread has died; what is in memory can still be looked at.
    pub fn disk_crashed(&mut self, text: String) {
        self.work.end_files();
        let what =
            "the disk thread crashed; nothing can be saved any more: restart Lapidary, the autosave is offered then";
        self.notices.failure(&[what.to_owned(), text]);
    }

    /// Takes in what the disk thread reports.
    pub fn apply_disk(&mut self, event: DiskEvent) {
        let current = self.epoch();
        match event {
            DiskEvent::Stored { epoch, id, offset } if epoch == current && self.trace().numbers(id).is_some() => {
                self.record.iterates.stored(id, offset);
                self.notices.settle(&[Cause::Journal]);
            }
            DiskEvent::Loaded { epoch, id, state } if epoch == current => {
                // It may have been valued anew since it was asked for, or deleted.
                let state = self.trace().numbers(id).zip(state).map(|(numbers, mut state)| {
                    Arc::make_mut(&mut state).numbers.clone_from(numbers);
                    state
                });
                self.record.iterates.loaded(id, state);
            }
            DiskEvent::Stored { .. } | DiskEvent::Loaded { .. } => {}
            DiskEvent::Progress { ticket, done, of } => match self.work.opening_mut() {
                Some(opening) if opening.ticket == ticket => (opening.done, opening.of) = (done, of),
                _ => {
                    if let Some(saving) = self.work.savings.get_mut(&ticket) {
                        *saving = (done, of);
                    }
                }
            },
            DiskEvent::Saved { ticket, path, bytes, epoch, revision, detail } => {
                self.work.savings.remove(&ticket);
                let size = crate::units::bytes(bytes);
                self.notices.settle(&[Cause::Saving]);
                let small = if detail == Detail::Small { ", of every run the last iterate only" } else { "" };
                self.notices.add(Severity::Info, format!("Saved {} ({size}{small})", path.display()), Vec::new());
                if epoch == current {
                    self.record.note_saved(path, revision, detail);
                }
            }
            DiskEvent::InTheWay { ticket, path, detail } => {
                self.work.savings.remove(&ticket);
                self.ask_to_replace(path, detail);
            }
            DiskEvent::Opened { ticket, restored } => {
                if let Some(path) = self.work.end_opening(ticket) {
                    self.orphans.retain(|orphan| orphan.folder != path);
                    self.notices.settle(&[Cause::Opening, Cause::Pictures, Cause::Made]);
                    self.restore(*restored);
                }
            }
            DiskEvent::Refused { ticket, chain } => {
                let is_saving = self.work.savings.remove(&ticket).is_some();
                if !is_saving && self.work.end_opening(ticket).is_none() {
                    return;
                }
                match (is_saving, chain.is_empty()) {
                    (true, true) => self.tell("Saving was stopped; the file is as it was"),
                    (false, true) => self.tell("Opening was stopped; the session is as it was"),
                    (true, false) => self.notices.failure_about(Cause::Saving, &chain),
                    (false, false) => self.notices.failure_about(Cause::Opening, &chain),
                }
            }
            DiskEvent::Images { epoch, .. } if epoch != current => {}
            DiskEvent::Images { images, failures, references: true, .. } => {
                if images.is_some() {
                    self.notices.settle(&[Cause::Opening]);
                }
                self.tell_failures(&failures);
                self.take_references(images);
            }
            // A session that was asked for later is what is wanted.
            DiskEvent::Images { .. } if self.work.opening().is_some() => {}
            DiskEvent::Images { images, names, labels, fits, failures, .. } => {
                let unasked = self.work.unasked.take().filter(|_| images.is_some()).map(Action::OpenPictures);
                if let Some(action) = unasked.filter(|action| self.would_cost(action)) {
                    // They were computed, or a mask was painted, meanwhile.
                    return self.ask_before(action);
                }
                if images.is_some() {
                    self.notices.settle(&[Cause::Opening, Cause::Pictures]);
                }
                self.tell_failures(&failures);
                if let Some(images) = images {
                    self.abandon_work();
                    self.put_mask_away();
                    self.fits = fits;
                    // An archive may hold classes of its own; else the classifier's first verdict decides.
                    let labels = labels.filter(|labels| self.are_classes(labels));
                    self.work.label_by_verdict = labels.is_none();
                    let labels = labels.unwrap_or_else(|| vec![0; images.len()]);
                    self.set_origins(Arc::new(Origins::opened(images, labels, names)));
                    self.begin_run(None, Some(0));
                }
            }
            DiskEvent::Orphans(orphans) => self.orphans = orphans,
            DiskEvent::Taken(folder) => self.orphans.retain(|orphan| orphan.folder != folder),
            DiskEvent::Failed(chain) => self.notices.failure(&chain),
            DiskEvent::Unwritten(chain) => self.notices.failure_about(Cause::Journal, &chain),
        }
    }

    /// What is painted was painted on other pictures than those that come; Undo lays it over these.
    fn put_mask_away(&mut self) {
        if self.record.mask.is_some() {
            self.history.close();
            self.history.record(|| self.record.undoable());
            self.history.close();
            self.record.mask = None;
        }
    }

    /// Real pictures for early stopping have arrived.
    fn take_references(&mut self, images: Option<ImageBatch>) {
        let Some(images) = images else { return };
        let plural = if images.len() == 1 { "" } else { "s" };
        let title = format!("Early stop compares with {} real picture{plural} from the next run on", images.len());
        self.notices.add(Severity::Info, title, Vec::new());
        self.append(Entry::References(images.clone()));
        self.record.references = Some(images);
        self.record.touch();
        let mut settings = self.settings().clone();
        settings.refine.early_stop = true;
        self.edit(settings);
    }

    fn restore(&mut self, restored: Restored) {
        self.abandon_work();
        (self.work.label_by_verdict, self.work.estimate, self.work.secs_per_iteration) = (false, None, None);
        let recipe = restored.origins.is_none();
        let without_runs = restored.trace.runs().next().is_none();
        (self.history, self.question) = (History::default(), None);
        self.fits.clear();
        self.tell_differences(restored.differences);
        self.made_with = Some(restored.provenance.clone());
        let here = Provenance::new();
        let record = &mut self.record;
        record.provenance = Provenance { lapidary: here.lapidary, burn: here.burn, ..restored.provenance };
        (record.epoch, record.settings) = (restored.epoch, restored.settings);
        (record.origins, record.references, record.trace) = (restored.origins, restored.references, restored.trace);
        (record.mask, record.is_mask_new) = (restored.mask, restored.path.is_none());
        record.iterates = record.iterates.emptied();
        for (id, offset) in restored.index {
            record.iterates.stored(id, offset);
        }
        if let Some((id, state)) = restored.first {
            record.iterates.loaded(id, Some(state));
        }
        record.revision += 1;
        record.unsaved = restored.path.is_none();
        record.whole = restored.path.is_some().then_some(record.revision);
        record.file = restored.path.or(restored.older);
        // Where its classifier is not on this machine, the names that it had are all there is.
        let classifier = self.made_with.as_ref().and_then(|made| made.classifier.as_ref());
        self.class_names = classifier.map(|info| (info.reference.clone(), info.classes.clone())).into_iter().collect();
        self.refresh_names_of_runs();
        self.refresh_class_names();
        self.refresh_generator_classes();
        // What is computed from here on is computed here.
        self.remember_provenance();
        self.record.preset = None;
        self.record.note_preset(restored.preset.as_deref());
        self.remember_preset();
        self.look.begin_anew(0);
        self.look.focused = restored.sample.min(self.count().saturating_sub(1));
        self.look.show_run(restored.shown.map(|at| at.run), &self.record.trace);
        self.look.show(restored.shown.map_or(0, |at| at.iteration as usize));
        if recipe {
            // A bare recipe: its pictures are computed again.
            self.generate();
        } else if without_runs {
            self.begin_run(None, Some(0));
        }
    }
}
