//! Everything the user sets, as one serialisable value shared by window, flags and files.

use serde::{Deserialize, Serialize};

use crate::generator::{EditSettings, GenerateSettings};
use crate::parameter::{Parameter, ParameterError};
use crate::refiner::RefineSettings;
use crate::worker::ComputeSettings;

/// Samples that go through a network together.
pub const BATCH: Parameter = Parameter {
    key: "batch",
    flag: "batch",
    label: "Batch",
    symbol: "B",
    unit: "pictures at once",
    min: 1.0,
    max: 256.0,
    slider: (1.0, 256.0),
    default: 64.0,
    integer: true,
    about: "Pictures that go through a network together on a GPU, less memory when smaller; on the CPU they go one by one, on all cores",
    source: "Lapidary",
};

/// Memory of network calls.
pub const MEMORY: Parameter = Parameter {
    key: "memory_mib",
    flag: "memory",
    label: "Memory",
    symbol: "M",
    unit: "MiB",
    min: 64.0,
    max: 1_048_576.0,
    slider: (64.0, 65_536.0),
    default: 4096.0,
    integer: true,
    about: "Memory that a network and its calls may use; fewer pictures are computed at once where more would be needed",
    source: "Lapidary",
};

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
        BATCH.check(f64::from(self.compute.batch))?;
        if let Some(mib) = self.compute.memory_mib {
            MEMORY.check(f64::from(mib))?;
        }
        Ok(())
    }
}

/// Earlier and later versions of the settings.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    undo: Vec<Settings>,
    redo: Vec<Settings>,
    open: bool,
}

/// Versions that are kept.
const DEPTH: usize = 200;

impl History {
    /// Remembers `before`, unless this edit continues the last one (a slider still held).
    pub(super) fn record(&mut self, before: &Settings) {
        if !self.open {
            self.undo.push(before.clone());
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

    pub(super) fn undo(&mut self, now: &Settings) -> Option<Settings> {
        self.open = false;
        let before = self.undo.pop()?;
        self.redo.push(now.clone());
        Some(before)
    }

    pub(super) fn redo(&mut self, now: &Settings) -> Option<Settings> {
        self.open = false;
        let after = self.redo.pop()?;
        self.undo.push(now.clone());
        Some(after)
    }

    pub(super) const fn can_undo(&self) -> bool {
        !self.undo.is_empty()
    }

    pub(super) const fn can_redo(&self) -> bool {
        !self.redo.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_a_file_and_missing_fields_take_defaults() {
        let mut settings = Settings::default();
        settings.refine.eps = 1.25;
        settings.compute.device = crate::worker::DeviceChoice::Named("RTX".to_owned());
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        let partial: Settings = serde_json::from_str(r#"{"refine": {"eps": 2.0}}"#).unwrap();
        assert_eq!(partial.refine.eps, 2.0);
        assert_eq!(partial.generate, GenerateSettings::default());
    }

    #[test]
    fn a_held_slider_is_one_step_of_undo() {
        let mut history = History::default();
        let at = |eps| Settings { refine: RefineSettings { eps, ..Default::default() }, ..Default::default() };
        history.record(&at(1.0));
        history.record(&at(2.0));
        history.close();
        history.record(&at(3.0));
        assert_eq!(history.undo(&at(4.0)), Some(at(3.0)));
        assert_eq!(history.undo(&at(3.0)), Some(at(1.0)));
        assert_eq!(history.redo(&at(1.0)), Some(at(3.0)));
    }
}
