//! A checkpoint of the training becomes the network of the session.

use std::num::NonZeroU32;
use std::path::Path;

use super::Training;
use crate::classifier::LabelError;
use crate::session::{Activity, Cause, Session, Settings, Verb};
use crate::worker::train::Snapshot;
use crate::zoo;

/// What a checkpoint is to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Nothing.
    None,
    /// The settings name it, but what is shown does not come from it.
    Chosen,
    /// What is shown comes from it.
    Shown,
}

impl Session {
    /// Uses the newest checkpoint where that is wanted, as soon as nothing else goes on.
    pub(in crate::session) fn use_newest(&mut self) {
        if self.is_busy() || !matches!(self.activity(), Activity::Idle | Activity::Failed) || self.waits_for_saving() {
            return;
        }
        if let Some(step) = self.training.as_mut().and_then(|training| training.due.take())
            && let Some(settings) = self.find_checkpoint(step)
        {
            self.use_checkpoint(step, settings, false);
        }
    }

    /// Uses a checkpoint in place of what is at stake: that was asked about.
    pub(in crate::session) fn use_in_place(&mut self, step: u64) {
        if let Some(settings) = self.find_checkpoint(step) {
            self.use_checkpoint(step, settings, true);
        }
    }

    /// What a checkpoint of the training is to the session.
    #[must_use]
    pub fn usage(&self, kept: &Snapshot) -> Usage {
        let Some(training) = &self.training else { return Usage::None };
        let (file, settings) = (training.file(kept), self.settings());
        let (chosen, shown) = if training.makes_pictures() {
            let made_by = self.origins().and_then(|origins| origins.made_by.as_ref());
            (&settings.generate.generator, made_by.map(|made| &made.generator))
        } else {
            let run = self.shown_run().filter(|_| !self.path().is_empty()).and_then(|run| self.trace().run(run));
            (&settings.refine.classifier, run.map(|run| &run.settings.classifier))
        };
        match (*chosen == file, shown == Some(&file)) {
            (false, _) => Usage::None,
            (true, false) => Usage::Chosen,
            (true, true) => Usage::Shown,
        }
    }

    /// Whether the newest checkpoint waits until what no file holds is saved: its pictures would take the place of that.
    #[must_use]
    pub fn waits_for_saving(&self) -> bool {
        let is_due = |training: &Training| training.due.is_some() && training.makes_pictures();
        self.training.as_ref().is_some_and(is_due) && self.are_made() && self.is_at_stake()
    }

    /// Whether the pictures come from a generator, or there are none.
    pub(super) fn are_made(&self) -> bool {
        self.origins().is_none_or(|origins| origins.made_by.is_some() && origins.edited.is_none())
    }

    /// The settings with a checkpoint as their network; `None`, with a message, where it cannot be used.
    pub(super) fn find_checkpoint(&mut self, step: u64) -> Option<Settings> {
        let training = self.training.as_ref()?;
        let kept = training.kept.iter().find(|kept| kept.step == step)?;
        let (file, mut settings, makes) = (training.file(kept), self.settings().clone(), training.makes_pictures());
        let is_there = Path::new(&file).is_file();
        let place = if makes { &mut settings.generate.generator } else { &mut settings.refine.classifier };
        *place = file;
        let why = if is_there {
            self.check_models(&settings, makes).err().map(|error| error.to_string())
        } else {
            Some("its file is not there any more: choose another one".to_owned())
        };
        let Some(why) = why else { return Some(settings) };
        let what = format!("the checkpoint of step {step} is not used");
        self.notices.failure_about(Cause::Checkpoint, &[what, why]);
        if let Some(training) = &mut self.training {
            training.kept.retain(|kept| kept.folder.is_dir());
            if is_there {
                // Nor could the next ones be.
                training.follows = false;
            }
        }
        None
    }

    /// Makes a checkpoint the network of the settings. With a generator the pictures are made again: those of the same seeds,
    /// where the generator made them. With a classifier they are refined again, in a run that is called after the step, where
    /// they were refined before.
    pub(super) fn use_checkpoint(&mut self, step: u64, settings: Settings, by_hand: bool) {
        self.notices.settle(&[Cause::Checkpoint]);
        if by_hand {
            self.edit(settings);
            self.history.close();
        } else {
            // It would fill the list of what can be taken back.
            self.apply_settings(settings);
        }
        if self.training.as_ref().is_some_and(Training::makes_pictures) {
            if self.are_made() && self.can(Verb::Generate) {
                self.generate();
            }
        } else if self.path().len() > 1 && !self.is_busy() {
            self.refine_again(step);
        }
    }

    /// Whether the pictures that these models would have to do with mean the same to both.
    fn check_models(&self, settings: &Settings, makes: bool) -> Result<(), LabelError> {
        // Why a model cannot be used is said when it is.
        let Ok(seen) = zoo::class_names(&settings.refine.classifier) else { return Ok(()) };
        if makes && self.are_made() {
            let Ok(made) = zoo::class_names(&settings.generate.generator) else { return Ok(()) };
            return settings.refine.target.clone().suit(&made, &seen).map(drop);
        }
        self.check_labels_among(&seen, &settings.refine)
    }

    /// Another run from the pictures, as long as the one that is shown where the settings have no end.
    fn refine_again(&mut self, step: u64) {
        let shown = self.path().len() as u32 - 1;
        self.begin_run(None, self.settings().refine.iterations.map(NonZeroU32::get).or(Some(shown)));
        if let Some(run) = self.work.run() {
            self.name_run(run, &format!("classifier of step {step}"));
        }
    }
}
