//! Everything the user sets, as one serialisable value shared by window, flags and files.

use serde::{Deserialize, Serialize};

use super::{Session, Verb};
use crate::generator::{EditSettings, GenerateSettings, Mask};
use crate::parameter::{ParameterError, marks};
use crate::refiner::RefineSettings;
use crate::worker::ComputeSettings;

/// Everything the user sets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What to generate.
    pub generate: GenerateSettings,
    /// How to edit pictures with the generator.
    pub edit: EditSettings,
    /// How to refine.
    pub refine: RefineSettings,
    /// Where to compute.
    pub compute: ComputeSettings,
}

impl Settings {
    /// Checks every number.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        self.generate.check()?;
        self.edit.check()?;
        self.refine.check()?;
        self.compute.check()
    }

    /// What changed, in words: the label of an undo.
    #[must_use]
    pub fn changes(&self, after: &Self) -> Vec<String> {
        let mut changes = marks(GenerateSettings::TABLE, &self.generate, &after.generate);
        changes.extend(marks(EditSettings::TABLE, &self.edit, &after.edit));
        changes.extend(marks(RefineSettings::TABLE, &self.refine, &after.refine));
        changes.extend(marks(ComputeSettings::TABLE, &self.compute, &after.compute));
        changes
    }
}

/// What can be taken back: settings, and what is painted.
pub(super) type Undoable = (Settings, Option<Mask>);

/// Earlier and later versions of the settings and of the mask.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    undo: Vec<Undoable>,
    redo: Vec<Undoable>,
    open: bool,
}

/// Versions that are kept.
const DEPTH: usize = 200;

impl History {
    /// Remembers `before`, unless this edit continues the last one (a slider still held).
    pub(super) fn record(&mut self, before: impl FnOnce() -> Undoable) {
        if !self.open {
            self.undo.push(before());
            if self.undo.len() > DEPTH {
                self.undo.remove(0);
            }
            self.redo.clear();
            self.open = true;
        }
    }

    /// The edit is over: the next one is a step of its own.
    pub(super) const fn close(&mut self) {
        self.open = false;
    }

    pub(super) fn undo(&mut self, now: Undoable) -> Option<Undoable> {
        self.open = false;
        let before = self.undo.pop()?;
        self.redo.push(now);
        Some(before)
    }

    pub(super) fn redo(&mut self, now: Undoable) -> Option<Undoable> {
        self.open = false;
        let after = self.redo.pop()?;
        self.undo.push(now);
        Some(after)
    }

    pub(super) const fn can_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    pub(super) const fn can_redo(&self) -> bool {
        !self.redo.is_empty()
    }
}

impl Session {
    /// What Undo would take back, or Redo bring again, in words; nothing for other verbs.
    #[must_use]
    pub fn changes_of(&self, verb: Verb) -> Vec<String> {
        let (mut changes, mask) = match (verb, self.history.undo.last(), self.history.redo.last()) {
            (Verb::Undo, Some((before, mask)), _) => (before.changes(self.settings()), mask),
            (Verb::Redo, _, Some((after, mask))) => (self.settings().changes(after), mask),
            _ => return Vec::new(),
        };
        if mask.as_ref() != self.mask() {
            changes.push("mask".to_owned());
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Action;

    #[test]
    fn settings_survive_a_file_and_missing_fields_take_defaults() {
        let mut settings = Settings::default();
        settings.refine.eps = 1.25;
        settings.compute.device = crate::worker::DeviceChoice::Named("RTX".to_owned());
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        for levels in 1..=255 {
            // To the last bit, or a session would not give its own results again.
            settings.refine.eps = f64::from(levels) / 255.0;
            let text = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&text).unwrap().refine.eps, f64::from(levels) / 255.0);
        }
        let partial: Settings = serde_json::from_str(r#"{"refine": {"eps": 2.0}}"#).unwrap();
        assert_eq!(partial.refine.eps, 2.0);
        assert_eq!(partial.generate, GenerateSettings::default());
    }

    #[test]
    fn undo_and_redo_say_what_they_change() {
        let mut session = Session::new(Settings::default());
        assert!(session.changes_of(Verb::Undo).is_empty());
        let mut settings = Settings::default();
        (settings.refine.eps, settings.generate.samples) = (1.5, 4);
        session.handle(Action::Edit(Box::new(settings)));
        assert_eq!(session.changes_of(Verb::Undo), ["samples 16 → 4", "radius 3 → 1.5"]);
        session.handle(Action::Do(Verb::Undo));
        assert_eq!(session.changes_of(Verb::Redo), ["samples 16 → 4", "radius 3 → 1.5"]);
        assert!(session.changes_of(Verb::Undo).is_empty() && session.changes_of(Verb::Save).is_empty());
    }

    #[test]
    fn a_held_slider_is_one_step_of_undo() {
        let mut history = History::default();
        let at = |eps| (Settings { refine: RefineSettings { eps, ..Default::default() }, ..Default::default() }, None);
        history.record(|| at(1.0));
        history.record(|| at(2.0));
        history.close();
        history.record(|| at(3.0));
        assert_eq!(history.undo(at(4.0)), Some(at(3.0)));
        assert_eq!(history.undo(at(3.0)), Some(at(1.0)));
        assert_eq!(history.redo(at(1.0)), Some(at(3.0)));
    }

    #[test]
    fn a_stroke_of_the_mask_can_be_taken_back_and_made_again() {
        let mut session = Session::new(Settings::default());
        let stroke = Mask::filled(2, 2, true);
        session.handle(Action::SetMask(Some(stroke.clone())));
        session.handle(Action::EndEdit);
        assert_eq!(session.changes_of(Verb::Undo), ["mask"]);
        session.handle(Action::Do(Verb::Undo));
        assert_eq!(session.mask(), None);
        session.handle(Action::Do(Verb::Redo));
        assert_eq!(session.mask(), Some(&stroke));
    }
}
