//! What the user chooses about refinement.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::constraint::Norm;
use super::objective::Objective;
use super::rule::Rule;
use super::state::Keep;
use super::target::Target;
use crate::parameter::{
    self, Affects, Choice, ChoiceOption, Choosable, Entry, Held as _, Idle, Kind, Look, Open, Parameter,
    ParameterError, Range, Relative, Setting, Switch, Value, setting,
};

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

fn only_with(is_so: bool, what: &str) -> Option<Idle> {
    (!is_so).then(|| Idle::hidden(format!("without {what}")))
}

/// Shares of the radius.
const OF_RADIUS: Relative<RefineSettings> = Relative {
    is: |settings| settings.step_unit == StepUnit::Ratio,
    make: |settings, is_share| {
        settings.step_unit = if is_share { StepUnit::Ratio } else { StepUnit::Absolute };
    },
    about: "0.1x and 10% mean a tenth of the radius",
};

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
        setting!(normalise, Kind::Switch(&NORMALISE)).affecting(&[Affects::Step]).rare().unless(Self::without_ball),
        setting!(random_start, Kind::Switch(&RANDOM_START))
            .affecting(&[Affects::Start])
            .rare()
            .unless(Self::without_ball),
        setting!(restarts, Kind::Number(&RESTARTS)).affecting(&[Affects::Start]).rare().unless(Self::without_ball),
        setting!(keep, Kind::of::<Keep>()).looks(Look::Buttons).rare(),
        setting!(early_stop, Kind::Switch(&EARLY_STOP)).affecting(&[Affects::Rest]).rare(),
    ];

    /// Without a ball there is no radius to measure a step by, and no random point of it to start from.
    fn set_rule(&mut self, value: Value) {
        self.rule.take(value);
        if !self.rule.has_ball() {
            self.step_size = self.step_length();
            self.step_unit = StepUnit::Absolute;
            *self = self.clone().at_origin();
        }
    }

    /// Another norm brings its own lengths: an L2 radius is no L∞ radius.
    fn set_norm(&mut self, value: Value) {
        let before = self.norm;
        self.norm.take(value);
        if self.norm == before || !self.rule.has_ball() {
            return;
        }
        let is_linf = self.norm == Norm::Linf;
        self.eps = if is_linf { EPS_LINF.default } else { EPS.default };
        if self.step_unit == StepUnit::Absolute && self.normalise {
            self.step_size = if is_linf { STEP_SIZE_LINF.default } else { STEP_SIZE.default };
        }
    }

    /// The step keeps its length when only its unit changes.
    fn set_step_unit(&mut self, value: Value) {
        let length = self.step_length();
        self.step_unit.take(value);
        self.step_size = if self.step_unit == StepUnit::Ratio { length / self.eps } else { length };
    }

    fn step_range(&self) -> Option<&'static Range> {
        match (self.step_unit, self.norm) {
            (StepUnit::Ratio, _) => Some(&STEP_SIZE_RATIO),
            (StepUnit::Absolute, Norm::Linf) if self.rule.has_ball() && self.normalise => Some(&STEP_SIZE_LINF),
            (StepUnit::Absolute, _) => None,
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

    /// [`Self::reach`] in words, and whether it falls short of the edge of the ball.
    #[must_use]
    pub fn reach_in_words(&self) -> Option<(String, bool)> {
        let reach = self.reach()?;
        let short = reach < 1.0;
        let share = if short { format!("{:.0} % of ε", reach * 100.0) } else { format!("{reach:.1} × ε") };
        Some((format!("{}: T × α is {share}", if short { "unreachable" } else { "reachable" }), short))
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
    fn another_norm_brings_its_own_radius_and_step() {
        let row = |flag: &str| RefineSettings::TABLE.iter().find(|row| row.flag() == flag).unwrap();
        let mut settings = RefineSettings { eps: 5.0, ..Default::default() };
        row("norm").put(&mut settings, Value::Choice("linf"));
        assert_eq!((settings.eps, settings.step_size), (8.0 / 255.0, 2.0 / 255.0));
        assert!(row("radius").type_in(&mut settings, "3").is_err(), "an L2 radius is none here");
        assert_eq!(row("radius").type_in(&mut settings, "4/255"), Ok(()));
        row("norm").put(&mut settings, Value::Choice("linf"));
        assert_eq!(settings.eps, 4.0 / 255.0, "the same norm changes nothing");
        row("norm").put(&mut settings, Value::Choice("l2"));
        assert_eq!((settings.eps, settings.step_size), (3.0, 0.3));
        let share = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.1, ..Default::default() };
        let mut settings = share.clone();
        row("norm").put(&mut settings, Value::Choice("linf"));
        assert_eq!((settings.step_size, settings.step_unit), (0.1, StepUnit::Ratio), "a share follows the radius");
    }

    #[test]
    fn a_radius_of_an_older_file_is_not_refused() {
        assert_eq!(RefineSettings { norm: Norm::Linf, eps: 3.0, ..Default::default() }.check(), Ok(()));
    }

    #[test]
    fn a_step_is_typed_as_a_length_or_as_a_share_of_the_radius() {
        let row = RefineSettings::TABLE.iter().find(|row| row.label() == STEP_SIZE.label).unwrap();
        let typed = |text: &str| {
            let mut settings = RefineSettings::default();
            row.type_in(&mut settings, text).map(|()| (settings.step_size, settings.step_unit))
        };
        assert_eq!(typed("1.5*3/7"), Ok((1.5 * 3.0 / 7.0, StepUnit::Absolute)));
        assert_eq!(typed("0.1x"), Ok((0.1, StepUnit::Ratio)));
        assert_eq!(typed("10 %"), Ok((0.1, StepUnit::Ratio)));
        for bad in ["x", "%", "0x", "", "wide"] {
            let mut settings = RefineSettings::default();
            let message = row.type_in(&mut settings, bad).unwrap_err().to_string();
            assert!(message.starts_with("Step size is ") && message.contains("a number from"), "{message}");
            assert_eq!(settings, RefineSettings::default(), "what is refused changes nothing");
        }
    }

    #[test]
    fn what_a_change_affects_says_who_must_know() {
        let base = RefineSettings::default();
        let random = RefineSettings { random_start: true, ..base.clone() };
        let wider = |settings: &RefineSettings| RefineSettings { eps: 4.0, ..settings.clone() };
        let sgld = RefineSettings { rule: Rule::Sgld, ..base.clone() };
        assert!(base.starts_like(&sgld), "both start at the picture");
        assert!(base.starts_like(&wider(&base)) && !random.starts_like(&wider(&random)) && !base.starts_like(&random));
        assert!(base.runs_like(&RefineSettings { iterations: None, ..base.clone() }) && !base.runs_like(&wider(&base)));
        for (changed, wakes) in [
            (wider(&base), false),
            (RefineSettings { noise: 0.5, ..base.clone() }, false),
            (RefineSettings { early_stop: true, ..base.clone() }, true),
            (RefineSettings { rule: Rule::Ascent, ..base.clone() }, true),
            (RefineSettings { objective: Objective::Ce, ..base.clone() }, true),
        ] {
            assert_eq!(base.wakes(&changed), wakes, "{changed:?}");
        }
        let sgld = RefineSettings { noise: 0.1, ..sgld };
        assert!(sgld.wakes(&RefineSettings { noise: 0.0, ..sgld.clone() }), "noise moves what the gradient does not");
        assert!(!sgld.wakes(&RefineSettings { noise: 0.2, ..sgld.clone() }));
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
