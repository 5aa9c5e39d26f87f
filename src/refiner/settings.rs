//! What the user chooses about refinement.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::constraint::Norm;
use super::objective::Objective;
use super::rule::Rule;
use super::state::Keep;
use super::target::Target;
use crate::parameter::{Choice, ChoiceOption, Choosable, Parameter, ParameterError};

const DEMO: &str = "the demo's best setting, models/README.md";
const SCRIPT: &str = "released script of Golan et al. 2024, boost.py";

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
    about: "How far one iteration moves the picture before it is projected back into the ball; without normalised steps, what the gradient is multiplied by",
    source: DEMO,
};

/// Number of iterations.
pub const ITERATIONS: Parameter = Parameter {
    key: "iterations",
    flag: "iterations",
    label: "Iterations",
    symbol: "T",
    unit: "steps of the rule",
    min: 1.0,
    max: 1_000_000.0,
    slider: (1.0, 100.0),
    default: 15.0,
    integer: true,
    about: "How many iterations Run adds; every one is kept",
    source: DEMO,
};

/// Noise of a Langevin step.
pub const NOISE: Parameter = Parameter {
    key: "noise",
    flag: "langevin-noise",
    label: "Langevin noise",
    symbol: "σ",
    unit: "standard deviation per value and iteration, on [0,1] pixels",
    min: 0.0,
    max: 10.0,
    slider: (0.0, 0.01),
    default: 1e-4,
    integer: false,
    about: "What SGLD adds to every value at every iteration, drawn from the picture's seed",
    source: SCRIPT,
};

/// What SGLD divides the step size by.
pub const GRADIENT_DIVISOR: Parameter = Parameter {
    key: "gradient_divisor",
    flag: "gradient-divisor",
    label: "Gradient divisor",
    symbol: "B",
    unit: "pictures",
    min: 1.0,
    max: 1_000_000.0,
    slider: (1.0, 256.0),
    default: 1.0,
    integer: false,
    about: "What SGLD divides the step size by: the script takes the gradient of a mean over its batch of 100 pictures, which is each picture's own gradient divided by 100",
    source: SCRIPT,
};

/// Number of starts per sample.
pub const RESTARTS: Parameter = Parameter {
    key: "restarts",
    flag: "restarts",
    label: "Restarts",
    symbol: "R",
    unit: "starts per picture",
    min: 1.0,
    max: 64.0,
    slider: (1.0, 8.0),
    default: 1.0,
    integer: true,
    about: "How many copies of each picture are refined at once, all but the first from a random point of the ball; the best is shown, and time and memory grow with their number. Applies to the next run from the start",
    source: "MadryLab robustness, random_restarts",
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
    /// How an iteration moves a picture along the gradient.
    pub rule: Rule,
    /// What every iteration increases.
    pub objective: Objective,
    /// Which class a picture is refined towards.
    pub target: Target,
    /// Pseudo-labels are made as frequent as each other, see [`pseudo_labels`](super::target::pseudo_labels).
    pub debias: bool,
    /// Shape of the ball.
    pub norm: Norm,
    /// Radius of the ball, on `[0, 1]` pixels.
    pub eps: f64,
    /// Length of a step, in the unit that `step_unit` names; for raw gradients, what they are multiplied by.
    pub step_size: f64,
    /// Unit of `step_size`.
    pub step_unit: StepUnit,
    /// PGD's steps have the length of the step size whatever the gradient's length. The other rules take the raw gradient.
    pub normalise: bool,
    /// Standard deviation of SGLD's noise, on `[0, 1]` pixels.
    pub noise: f64,
    /// What SGLD divides the step size by.
    pub gradient_divisor: f64,
    /// Start at a seeded random point of the ball instead of its centre.
    pub random_start: bool,
    /// Copies of every sample that are refined at once; all but the first start at random points of the ball. A run keeps
    /// the number that it began with.
    pub restarts: u32,
    /// A sample stops when `max_k s(f_k)` exceeds that of its reference, a real picture; without references none does.
    pub early_stop: bool,
    /// Which iterate counts as the result.
    pub keep: Keep,
    /// Iterations that one Run adds; `None` runs until stopped.
    pub iterations: Option<NonZeroU32>,
}

impl Default for RefineSettings {
    fn default() -> Self {
        Self {
            classifier: "gtsrb12-joint".to_owned(),
            rule: Rule::Pgd,
            objective: Objective::TargetLogit,
            target: Target::Label,
            debias: false,
            norm: Norm::L2,
            eps: EPS.default,
            step_size: STEP_SIZE.default,
            step_unit: StepUnit::Absolute,
            normalise: true,
            noise: NOISE.default,
            gradient_divisor: GRADIENT_DIVISOR.default,
            random_start: false,
            restarts: RESTARTS.default as u32,
            early_stop: false,
            keep: Keep::Last,
            iterations: NonZeroU32::new(ITERATIONS.default as u32),
        }
    }
}

impl RefineSettings {
    /// Checks every number, and that the rule can do what is asked.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        EPS.check(self.eps)?;
        STEP_SIZE.check(self.step_size)?;
        NOISE.check(self.noise)?;
        GRADIENT_DIVISOR.check(self.gradient_divisor)?;
        RESTARTS.check(f64::from(self.restarts))?;
        if let Some(iterations) = self.iterations {
            ITERATIONS.check(f64::from(iterations.get()))?;
        }
        self.check_ball()
    }

    /// Without a ball nothing can be measured by its radius, and no random point of it is there to start from.
    fn check_ball(&self) -> Result<(), ParameterError> {
        let refuse = |label, found: String, expected: &str, default| {
            let expected = format!("{expected} with {}, which has no ball", self.rule.option().label);
            Err(ParameterError { label, found, expected, default })
        };
        if self.rule.has_ball() {
            Ok(())
        } else if self.step_unit == StepUnit::Ratio {
            let found = format!("{} × radius", self.step_size);
            refuse(STEP_SIZE.label, found, "an absolute length", STEP_SIZE.default)
        } else if self.restarts > 1 {
            refuse(RESTARTS.label, self.restarts.to_string(), "1", RESTARTS.default)
        } else if self.random_start {
            refuse("Number of random starts", "1".to_owned(), "0", 0.0)
        } else {
            Ok(())
        }
    }

    /// Length of a step in the unit of the radius.
    #[must_use]
    pub fn step_length(&self) -> f64 {
        match self.step_unit {
            StepUnit::Absolute => self.step_size,
            StepUnit::Ratio => self.step_size * self.eps,
        }
    }

    /// How much of the radius the planned steps can use at most: `iterations * step / radius`; `None` when open-ended, when
    /// steps follow the raw gradient, or without a ball.
    #[must_use]
    pub fn reach(&self) -> Option<f64> {
        let iterations = self.iterations.filter(|_| self.normalise && self.rule.has_ball())?;
        Some(f64::from(iterations.get()) * self.step_length() / self.eps)
    }

    /// Whether a run begins with the pictures themselves.
    #[must_use]
    pub const fn starts_at_origin(&self) -> bool {
        !self.random_start && self.restarts <= 1
    }

    /// The same, but beginning with the pictures themselves: for a verdict on them.
    #[must_use]
    pub fn at_origin(self) -> Self {
        Self { random_start: false, restarts: 1, ..self }
    }

    /// Whether objectives that were computed under both settings measure the same.
    #[must_use]
    pub fn compares_with(&self, other: &Self) -> bool {
        let debias = |settings: &Self| settings.debias && settings.target == Target::PseudoLabel;
        let measure = |settings: &Self| (settings.objective, settings.target, debias(settings));
        self.classifier == other.classifier && measure(self) == measure(other)
    }

    /// Whether noise moves a picture also where the gradient vanishes.
    pub(super) fn is_noisy(&self) -> bool {
        self.rule == Rule::Sgld && self.noise > 0.0
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
        assert_eq!(RefineSettings { iterations: None, ..ratio.clone() }.reach(), None);
        assert_eq!(RefineSettings { rule: Rule::Sgld, ..ratio }.reach(), None, "there is no radius to reach");
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for bad in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            assert!(RefineSettings { eps: bad, ..Default::default() }.check().is_err());
            assert!(RefineSettings { step_size: bad, ..Default::default() }.check().is_err());
            assert!(RefineSettings { gradient_divisor: bad, ..Default::default() }.check().is_err());
            assert_eq!(RefineSettings { noise: bad, ..Default::default() }.check().is_ok(), bad == 0.0);
        }
        for (restarts, fine) in [(0, false), (1, true), (64, true), (65, false)] {
            assert_eq!(RefineSettings { restarts, ..Default::default() }.check().is_ok(), fine);
        }
    }

    #[test]
    fn what_needs_a_ball_is_refused_in_one_sentence_where_there_is_none() {
        let sgld = RefineSettings { rule: Rule::Sgld, ..Default::default() };
        assert_eq!(sgld.check(), Ok(()));
        for (settings, message) in [
            (
                RefineSettings { step_unit: StepUnit::Ratio, ..sgld.clone() },
                "Step size is 0.3 × radius, but must be an absolute length with SGLD, which has no ball; give a value such as 0.3",
            ),
            (
                RefineSettings { restarts: 4, ..sgld.clone() },
                "Restarts is 4, but must be 1 with SGLD, which has no ball; give a value such as 1",
            ),
            (
                RefineSettings { random_start: true, ..sgld },
                "Number of random starts is 1, but must be 0 with SGLD, which has no ball; give a value such as 0",
            ),
        ] {
            assert_eq!(settings.check().unwrap_err().to_string(), message);
            assert_eq!(RefineSettings { rule: Rule::Pgd, ..settings }.check(), Ok(()));
        }
    }

    #[test]
    fn settings_of_older_files_are_those_of_then() {
        let old = r#"{"classifier":"gtsrb12-robust","objective":"ce","norm":"linf","eps":0.1,"step_size":0.01}"#;
        let settings: RefineSettings = serde_json::from_str(old).unwrap();
        let expected = RefineSettings {
            classifier: "gtsrb12-robust".to_owned(),
            objective: Objective::Ce,
            norm: Norm::Linf,
            eps: 0.1,
            step_size: 0.01,
            ..Default::default()
        };
        assert_eq!(settings, expected);
        assert_eq!((settings.rule, settings.target, settings.restarts), (Rule::Pgd, Target::Label, 1));
    }

    #[test]
    fn objectives_compare_only_while_formula_and_targets_stay() {
        let base = RefineSettings::default();
        let pseudo = RefineSettings { target: Target::PseudoLabel, ..base.clone() };
        assert!(base.compares_with(&RefineSettings { eps: 1.0, debias: true, ..base.clone() }));
        assert!(!base.compares_with(&RefineSettings { objective: Objective::Ce, ..base.clone() }));
        assert!(!base.compares_with(&RefineSettings { classifier: "another".to_owned(), ..base.clone() }));
        assert!(!base.compares_with(&pseudo));
        assert!(!pseudo.compares_with(&RefineSettings { debias: true, ..pseudo.clone() }));
    }
}
