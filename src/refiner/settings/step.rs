//! The step: how long it is, and in which unit that is given.

use serde::{Deserialize, Serialize};

use super::{DEMO, MADRY, RefineSettings};
use crate::parameter::{Choice, ChoiceOption, Choosable, Held as _, Parameter, Range, Relative, Value};
use crate::refiner::Norm;

/// Length of a step.
pub const STEP_SIZE: Parameter = Parameter {
    flag: "step-size",
    label: "Step size",
    symbol: "α",
    unit: "same unit as the radius",
    min: 1e-9,
    max: 10_000.0,
    slider: (0.01, 2.0),
    default: 0.3,
    integer: false,
    about: "How far one iteration moves the picture before it is projected back into the ball; without normalised steps, what the gradient is multiplied by",
    source: DEMO,
};

/// Length of a step towards the gradient's sign.
pub const STEP_SIZE_LINF: Range = Range {
    name: "with L∞",
    unit: "same unit as the radius",
    min: 1e-9,
    max: 1.0,
    slider: (0.1 / 255.0, 8.0 / 255.0),
    default: 2.0 / 255.0,
    source: MADRY,
};

/// Length of a step as a share of the radius.
pub const STEP_SIZE_RATIO: Range = Range {
    name: "as a share",
    unit: "times the radius",
    min: 1e-9,
    max: 10_000.0,
    slider: (0.01, 2.0),
    default: 0.1,
    source: DEMO,
};

/// How the step size is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepUnit {
    /// In the unit of the radius.
    Absolute,
    /// As a fraction of the radius.
    Ratio,
}

impl Choosable for StepUnit {
    const CHOICE: Choice = Choice { flag: "step-unit", label: "Step unit", about: "How the step size is given" };
    const ALL: &'static [Self] = &[Self::Absolute, Self::Ratio];

    fn option(self) -> ChoiceOption {
        match self {
            Self::Absolute => ChoiceOption {
                key: "absolute",
                label: "Absolute",
                about: "The step size is a length in the unit of the radius",
            },
            Self::Ratio => ChoiceOption {
                key: "ratio",
                label: "× radius",
                about: "The step size is a fraction of the radius and follows it (foolbox's rel_stepsize)",
            },
        }
    }
}

/// Shares of the radius.
pub(super) const OF_RADIUS: Relative<RefineSettings> = Relative {
    is: |settings| settings.step_unit == StepUnit::Ratio,
    make: |settings, is_share| {
        settings.step_unit = if is_share { StepUnit::Ratio } else { StepUnit::Absolute };
    },
    about: "0.1x and 10% mean a tenth of the radius",
};

impl RefineSettings {
    /// Length of a step in the unit of the radius.
    #[must_use]
    pub fn step_length(&self) -> f64 {
        match self.step_unit {
            StepUnit::Absolute => self.step_size,
            StepUnit::Ratio => self.step_size * self.eps,
        }
    }

    /// The step keeps its length when only its unit changes.
    pub(super) fn set_step_unit(&mut self, value: Value) {
        let length = self.step_length();
        self.step_unit.take(value);
        self.step_size = if self.step_unit == StepUnit::Ratio { length / self.eps } else { length };
    }

    pub(super) fn step_range(&self) -> Option<&'static Range> {
        match (self.step_unit, self.norm) {
            (StepUnit::Ratio, _) => Some(&STEP_SIZE_RATIO),
            (StepUnit::Absolute, Norm::Linf) if self.rule.has_ball() && self.normalise => Some(&STEP_SIZE_LINF),
            (StepUnit::Absolute, _) => None,
        }
    }
}
