//! What the user chooses about refinement.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::constraint::Norm;
use super::objective::Objective;
use crate::parameter::{Choice, ChoiceOption, Choosable, Parameter, ParameterError};

const DEMO: &str = "the demo's best setting, models/README.md";

/// Radius of the ball.
pub const EPS: Parameter = Parameter {
    key: "eps",
    flag: "radius",
    label: "Radius",
    symbol: "ε",
    unit: "L2 or L∞ on [0,1] pixels over C·H·W",
    min: 1e-6,
    max: 10_000.0,
    slider: (0.1, 10.0),
    default: 3.0,
    integer: false,
    about: "How far a picture may move from the generated one; larger changes more and may lose diversity",
    source: DEMO,
};

/// Length of a step.
pub const STEP_SIZE: Parameter = Parameter {
    key: "step_size",
    flag: "step-size",
    label: "Step size",
    symbol: "α",
    unit: "same unit as the radius",
    min: 1e-9,
    max: 10_000.0,
    slider: (0.01, 2.0),
    default: 0.3,
    integer: false,
    about: "How far one iteration moves the picture before it is projected back into the ball",
    source: DEMO,
};

/// Number of iterations.
pub const ITERATIONS: Parameter = Parameter {
    key: "iterations",
    flag: "iterations",
    label: "Iterations",
    symbol: "T",
    unit: "projected gradient steps",
    min: 1.0,
    max: 1_000_000.0,
    slider: (1.0, 100.0),
    default: 15.0,
    integer: true,
    about: "How many iterations Run adds; every one is kept",
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

/// What the user chooses about refinement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefineSettings {
    /// A bundled model's name or a path.
    pub classifier: String,
    /// What every iteration increases.
    pub objective: Objective,
    /// Shape of the ball.
    pub norm: Norm,
    /// Radius of the ball, on `[0, 1]` pixels.
    pub eps: f64,
    /// Length of a step, in the unit that `step_unit` names.
    pub step_size: f64,
    /// Unit of `step_size`.
    pub step_unit: StepUnit,
    /// Steps have the length of the step size whatever the gradient's length.
    pub normalise: bool,
    /// Start at a seeded random point of the ball instead of its centre.
    pub random_start: bool,
    /// Iterations that one Run adds; `None` runs until stopped.
    pub iterations: Option<NonZeroU32>,
}

impl Default for RefineSettings {
    fn default() -> Self {
        Self {
            classifier: "gtsrb12-joint".to_owned(),
            objective: Objective::TargetLogit,
            norm: Norm::L2,
            eps: EPS.default,
            step_size: STEP_SIZE.default,
            step_unit: StepUnit::Absolute,
            normalise: true,
            random_start: false,
            iterations: NonZeroU32::new(ITERATIONS.default as u32),
        }
    }
}

impl RefineSettings {
    /// Checks every number.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        EPS.check(self.eps)?;
        STEP_SIZE.check(self.step_size)?;
        if let Some(iterations) = self.iterations {
            ITERATIONS.check(f64::from(iterations.get()))?;
        }
        Ok(())
    }

    /// Length of a step in the unit of the radius.
    #[must_use]
    pub fn step_length(&self) -> f64 {
        match self.step_unit {
            StepUnit::Absolute => self.step_size,
            StepUnit::Ratio => self.step_size * self.eps,
        }
    }

    /// How much of the radius the planned steps can use at most: `iterations * step / radius`; `None` when open-ended or
    /// when steps follow the raw gradient.
    #[must_use]
    pub fn reach(&self) -> Option<f64> {
        let iterations = self.iterations.filter(|_| self.normalise)?;
        Some(f64::from(iterations.get()) * self.step_length() / self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_demos() {
        let settings = RefineSettings::default();
        assert_eq!((settings.objective, settings.norm), (Objective::TargetLogit, Norm::L2));
        assert_eq!((settings.eps, settings.step_size), (3.0, 0.3));
        assert_eq!(settings.iterations.map(NonZeroU32::get), Some(15));
    }

    #[test]
    fn a_ratio_follows_the_radius() {
        let ratio = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.1, eps: 5.0, ..Default::default() };
        assert!((ratio.step_length() - 0.5).abs() < 1e-12);
        assert!((ratio.reach().unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(RefineSettings { iterations: None, ..ratio }.reach(), None);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for bad in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            assert!(RefineSettings { eps: bad, ..Default::default() }.check().is_err());
            assert!(RefineSettings { step_size: bad, ..Default::default() }.check().is_err());
        }
    }
}
