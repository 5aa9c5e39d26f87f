//! What the user chooses about refinement.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use self::aside::Aside;
use self::step::OF_RADIUS;
pub use self::step::{STEP_SIZE, STEP_SIZE_LINF, STEP_SIZE_RATIO, StepUnit};
use super::constraint::Norm;
use super::objective::Objective;
use super::rule::Rule;
use super::state::Keep;
use super::target::Target;
use crate::parameter::{
    self, Affects, Choosable as _, Entry, Held as _, Idle, Kind, Look, Open, Parameter, ParameterError, Range, Setting,
    Switch, Value, setting,
};

mod aside;
mod step;

const DEMO: &str = "the demo's best setting, models/README.md";
const SCRIPT: &str = "released script of Golan et al. 2024, boost.py";
const MADRY: &str = "Madry et al. 2018, CIFAR-10";

/// Radius of the ball.
pub const EPS: Parameter = Parameter {
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

/// Radius of an L∞ ball: 1 is every picture.
pub const EPS_LINF: Range = Range {
    name: "with L∞",
    unit: "L∞ on [0,1] pixels over C·H·W",
    min: 1e-6,
    max: 1.0,
    slider: (1.0 / 255.0, 32.0 / 255.0),
    default: 8.0 / 255.0,
    source: MADRY,
};

/// Number of iterations.
pub const ITERATIONS: Parameter = Parameter {
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
    flag: "restarts",
    label: "Restarts",
    symbol: "R",
    unit: "starts per picture",
    min: 1.0,
    max: 64.0,
    slider: (1.0, 8.0),
    default: 1.0,
    integer: true,
    about: "How many copies of each picture are refined at once, all but the first from a random point of the ball; the best is shown, and time and memory grow with their number",
    source: "MadryLab robustness, random_restarts",
};

/// Iterations without a number.
const ENDLESS: Open = Open { key: "endless", label: "no end", about: "run until you pause or stop" };

const CLASSIFIER: Entry = Entry {
    flag: "classifier",
    label: "Classifier",
    about: "Joint classifier-discriminator that judges and is ascended: a bundled name, a checkpoint, or its manifest",
};

const NORMALISE: Switch = Switch {
    flag: "no-normalise",
    negated: true,
    label: "Normalised steps",
    about: "Every step has the length of the step size, along the gradient's direction (L2) or sign (L∞); without this a step is step size × gradient",
};

const RANDOM_START: Switch = Switch {
    flag: "random-start",
    negated: false,
    label: "Random start",
    about: "Start at a random point of the ball, drawn from each picture's seed, instead of at its centre",
};

const DEBIAS: Switch = Switch {
    flag: "debias",
    negated: false,
    label: "De-bias",
    about: "Makes rare classes as likely as frequent ones: the mean logit of each class over all pictures is subtracted before the largest is taken (BIGRoC), so a picture's class depends on the others",
};

const EARLY_STOP: Switch = Switch {
    flag: "early-stop",
    negated: false,
    label: "Early stop",
    about: "A picture rests once the classifier believes in it more than in its reference, a real picture: max over k of s(f_k). References are paired with the pictures by their order, and giving some turns this on",
};

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
    /// With a rule that has no ball: what was chosen before of that which only a ball gives a meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<Aside>,
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
            aside: None,
        }
    }
}

fn only_with(is_so: bool, what: &str) -> Option<Idle> {
    (!is_so).then(|| Idle::hidden(format!("without {what}")))
}

impl RefineSettings {
    /// Every setting of refinement; what a setter keeps in step stands below it.
    pub const TABLE: &'static [Setting<Self>] = &[
        setting!(classifier, Kind::Text(&CLASSIFIER)).affecting(&[Affects::Aim]),
        setting!(rule, Kind::of::<Rule>()).by(Self::set_rule).affecting(&[Affects::Step, Affects::Rest]),
        setting!(objective, Kind::of::<Objective>()).affecting(&[Affects::Aim]),
        setting!(target, Kind::of::<Target>()).affecting(&[Affects::Aim]),
        setting!(debias, Kind::Switch(&DEBIAS))
            .affecting(&[Affects::Aim])
            .unless(|all| only_with(all.target == Target::PseudoLabel, "the target pseudo-label")),
        // Before the norm, which brings no step size for raw gradients.
        setting!(normalise, Kind::Switch(&NORMALISE)).affecting(&[Affects::Step]).rare().unless(Self::without_ball),
        setting!(norm, Kind::of::<Norm>())
            .by(Self::set_norm)
            .affecting(&[Affects::Step, Affects::Start])
            .looks(Look::Buttons)
            .unless(Self::without_ball),
        setting!(eps, Kind::Number(&EPS))
            .affecting(&[Affects::Step, Affects::Start])
            .looks(Look::Slider)
            .ranged(&[&EPS_LINF], |all| (all.norm == Norm::Linf).then_some(&EPS_LINF))
            .unless(Self::without_ball),
        setting!(step_size, Kind::Number(&STEP_SIZE))
            .affecting(&[Affects::Step])
            .looks(Look::Slider)
            .ranged(&[&STEP_SIZE_LINF], Self::step_range)
            .or_share(&OF_RADIUS),
        setting!(step_unit, Kind::of::<StepUnit>())
            .by(Self::set_step_unit)
            .affecting(&[Affects::Step])
            .looks(Look::Buttons)
            .set_by(STEP_SIZE.flag)
            .unless(Self::without_ball),
        setting!(noise, Kind::Number(&NOISE))
            .affecting(&[Affects::Step])
            .unless(|all| only_with(all.rule == Rule::Sgld, "the rule sgld")),
        setting!(gradient_divisor, Kind::Number(&GRADIENT_DIVISOR))
            .affecting(&[Affects::Step])
            .unless(|all| only_with(all.rule == Rule::Sgld, "the rule sgld")),
        setting!(iterations, Kind::Number(&ITERATIONS)).or(&ENDLESS),
        setting!(random_start, Kind::Switch(&RANDOM_START))
            .affecting(&[Affects::Start])
            .rare()
            .unless(Self::without_ball),
        setting!(restarts, Kind::Number(&RESTARTS)).affecting(&[Affects::Start]).rare().unless(Self::without_ball),
        setting!(keep, Kind::of::<Keep>()).looks(Look::Buttons).rare(),
        setting!(early_stop, Kind::Switch(&EARLY_STOP)).affecting(&[Affects::Rest]).rare(),
    ];

    /// Another norm brings its own lengths: an L2 radius is no L∞ radius.
    fn set_norm(&mut self, value: Value) {
        let before = self.norm;
        self.norm.take(value);
        if self.norm == before {
            return;
        }
        let is_linf = self.norm == Norm::Linf;
        self.eps = if is_linf { EPS_LINF.default } else { EPS.default };
        if self.rule.has_ball() && self.step_unit == StepUnit::Absolute && self.normalise {
            self.step_size = if is_linf { STEP_SIZE_LINF.default } else { STEP_SIZE.default };
        }
    }

    fn without_ball(&self) -> Option<Idle> {
        let why = || format!("with the rule {}, which has no ball", self.rule.option().key);
        (!self.rule.has_ball()).then(|| Idle::grey(why()))
    }

    /// Checks every number, and that the rule can do what is asked.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        parameter::check(Self::TABLE, self)?;
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

    /// How much of the radius the planned steps can use at most: `iterations * step / radius`; `None` when open-ended, when
    /// steps follow the raw gradient, or without a ball.
    #[must_use]
    pub fn reach(&self) -> Option<f64> {
        let iterations = self.iterations.filter(|_| self.normalise && self.rule.has_ball())?;
        Some(f64::from(iterations.get()) * self.step_length() / self.eps)
    }

    /// [`Self::reach`] in words, and whether it falls short of the edge of the ball.
    #[must_use]
    pub fn reach_in_words(&self) -> Option<(String, bool)> {
        let reach = self.reach()?;
        if reach >= 1.0 {
            return Some((format!("All steps together are {reach:.1} × the radius"), false));
        }
        // Rounded, hardly anything would be nothing, and nearly everything all of it.
        let share = match reach * 100.0 {
            share if share < 0.1 => "less than 0.1".to_owned(),
            share if share < 10.0 => format!("at most {share:.1}"),
            share => format!("at most {:.0}", share.min(99.0)),
        };
        Some((format!("All steps together move by {share} % of the radius"), true))
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
        parameter::same(Self::TABLE, self, other, Affects::Aim)
    }

    /// Whether a run begins at the same point under both settings.
    #[must_use]
    pub fn starts_like(&self, other: &Self) -> bool {
        // The ball does not matter to a start at its centre.
        let start = |settings: &Self| {
            let Self { norm, eps, .. } = Self::default();
            let at_centre = settings.starts_at_origin();
            if at_centre { Self { norm, eps, ..settings.clone() } } else { settings.clone() }
        };
        parameter::same(Self::TABLE, &start(self), &start(other), Affects::Start)
    }

    /// Whether a run that goes on need not know of the change: it only matters to what is asked for next.
    #[must_use]
    pub fn runs_like(&self, other: &Self) -> bool {
        let of_run = |row: &&Setting<Self>| !row.affects.contains(&Affects::Plan);
        Self::TABLE.iter().filter(of_run).all(|row| row.value(self) == row.value(other))
    }

    /// Whether a change from `self` wakes the samples at rest: what is ascended, or when they rest, is another.
    #[must_use]
    pub fn wakes(&self, changed: &Self) -> bool {
        let same_rest = parameter::same(Self::TABLE, self, changed, Affects::Rest);
        !self.compares_with(changed) || !same_rest || self.is_noisy() != changed.is_noisy()
    }

    /// Whether noise moves a picture also where the gradient vanishes.
    pub(super) fn is_noisy(&self) -> bool {
        self.rule == Rule::Sgld && self.noise > 0.0
    }
}

#[cfg(test)]
mod tests;
