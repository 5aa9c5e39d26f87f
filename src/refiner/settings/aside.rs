//! What a rule without a ball lays aside, and a rule with one brings again.

use serde::{Deserialize, Serialize};

use super::{RESTARTS, RefineSettings, StepUnit};
use crate::parameter::{Held as _, Value};

/// Choices that mean nothing without a ball, as they were made with one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Aside {
    /// Length of a step as a share of the radius; `None` where it was no share.
    pub share: Option<f64>,
    /// As [`RefineSettings::random_start`].
    pub random_start: bool,
    /// As [`RefineSettings::restarts`].
    pub restarts: u32,
}

impl Default for Aside {
    fn default() -> Self {
        Self { share: None, random_start: false, restarts: RESTARTS.default as u32 }
    }
}

impl RefineSettings {
    /// Without a ball there is no radius to measure a step by, and no random point of it to start from. What was chosen of these
    /// comes back with the next rule that has a ball.
    pub(super) fn set_rule(&mut self, value: Value) {
        let had_ball = self.rule.has_ball();
        self.rule.take(value);
        match (had_ball, self.rule.has_ball()) {
            (true, false) => self.lay_aside(),
            (false, true) => self.bring_again(),
            _ => {}
        }
    }

    fn lay_aside(&mut self) {
        let share = (self.step_unit == StepUnit::Ratio).then_some(self.step_size);
        let aside = Aside { share, random_start: self.random_start, restarts: self.restarts };
        self.step_size = self.step_length();
        self.step_unit = StepUnit::Absolute;
        *self = self.clone().at_origin();
        self.aside = Some(aside).filter(|aside| *aside != Aside::default());
    }

    fn bring_again(&mut self) {
        let Some(Aside { share, random_start, restarts }) = self.aside.take() else { return };
        self.random_start = random_start;
        // A file may say anything.
        self.restarts = restarts.clamp(RESTARTS.min as u32, RESTARTS.max as u32);
        if let Some(share) = share {
            let is_untouched = share * self.eps == self.step_size;
            // To the last bit what it was, unless another length was chosen meanwhile.
            self.step_size = if is_untouched { share } else { self.step_size / self.eps };
            self.step_unit = StepUnit::Ratio;
        }
    }
}
