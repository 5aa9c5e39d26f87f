//! What the user chooses about generation.

use serde::{Deserialize, Serialize};

pub use super::time_steps::{TS_PRESETS, TimeSteps, TimeStepsError, TsPreset};
use crate::noise::{Purpose, Stream};
use crate::parameter::{
    self, Choice, ChoiceOption, Choosable, Entry, Held as _, Idle, Kind, Parameter, ParameterError, Setting, Value,
    setting,
};
use crate::zoo::PreconditioningName;

/// Number of samples.
pub const SAMPLES: Parameter = Parameter {
    flag: "samples",
    label: "Samples",
    symbol: "N",
    unit: "pictures",
    min: 1.0,
    max: 256.0,
    slider: (1.0, 256.0),
    default: 16.0,
    integer: true,
    about: "How many pictures are generated and refined together",
    source: "Lapidary",
};

/// First seed.
pub const SEED: Parameter = Parameter {
    flag: "seed",
    label: "First seed",
    symbol: "s",
    unit: "whole number",
    min: 0.0,
    max: 4_294_967_295.0,
    slider: (0.0, 9999.0),
    default: 0.0,
    integer: true,
    about: "Seed of the first picture; each picture has its own, so picture 17 is the same in any batch and on any device",
    source: "Lapidary",
};

/// Number of sampling steps.
pub const STEPS: Parameter = Parameter {
    flag: "steps",
    label: "Sampling steps",
    symbol: "n",
    unit: "steps per picture",
    min: 1.0,
    max: 1000.0,
    slider: (1.0, 40.0),
    default: 1.0,
    integer: true,
    about: "One or a few for a consistency model, about 18 for an EDM model; the network is called once per step, and twice by Heun's method (but once in the last step) and DPM-Solver-2",
    source: "Song et al. 2023, Algorithm 1; Karras et al. 2022, Algorithm 1",
};

const CHURN_SOURCE: &str =
    "Karras et al. 2022, Algorithm 2; NVlabs/edm uses 40, 0.05, 50 and 1.003 for ImageNet-64 with 256 steps";

/// Noise added during sampling.
pub const S_CHURN: Parameter = Parameter {
    flag: "churn",
    label: "Churn",
    symbol: "S_churn",
    unit: "over all steps",
    min: 0.0,
    max: 100.0,
    slider: (0.0, 80.0),
    default: 0.0,
    integer: false,
    about: "Noise that Heun's method and DPM-Solver-2 add before a step: the level rises by the share min(S_churn/n, √2 - 1); 0 adds none",
    source: CHURN_SOURCE,
};

/// Smallest level that churn acts on.
pub const S_MIN: Parameter = Parameter {
    flag: "churn-min",
    label: "Churn from",
    symbol: "S_tmin",
    unit: "noise level σ",
    min: 0.0,
    max: 1e6,
    slider: (0.0, 1.0),
    default: 0.0,
    integer: false,
    about: "Smallest noise level at which churn adds noise",
    source: CHURN_SOURCE,
};

/// Largest level that churn acts on.
pub const S_MAX: Parameter = Parameter {
    flag: "churn-max",
    label: "Churn to",
    symbol: "S_tmax",
    unit: "noise level σ",
    min: 0.0,
    max: 1e6,
    slider: (1.0, 80.0),
    default: 1e6,
    integer: false,
    about: "Largest noise level at which churn adds noise; the default is above every model's",
    source: CHURN_SOURCE,
};

/// Standard deviation of churn's noise.
pub const S_NOISE: Parameter = Parameter {
    flag: "churn-noise",
    label: "Churn noise",
    symbol: "S_noise",
    unit: "standard deviations",
    min: 0.0,
    max: 2.0,
    slider: (0.95, 1.05),
    default: 1.0,
    integer: false,
    about: "Standard deviation of the noise that churn adds; slightly more than 1 makes up for detail that the network removes",
    source: CHURN_SOURCE,
};

const GENERATOR: Entry = Entry {
    flag: "generator",
    label: "Generator",
    about: "Model that makes the pictures: a bundled name, a checkpoint, or its manifest",
};

const CLASSES: Entry = Entry {
    flag: "classes",
    label: "Classes",
    about: "Class of each picture: all (in turn), random (drawn from its seed), or names and numbers such as stop,yield,3",
};

const SIGMAS: Entry = Entry {
    flag: "sigmas",
    label: "Noise levels",
    about: "Noise levels of the sampling steps, largest first, such as 80,1.2",
};

/// Indices into a grid of noise levels.
pub(super) const TS: Entry = Entry {
    flag: "ts",
    label: "Time steps",
    about: "Noise levels as rising indices into a grid that falls from the largest to the smallest, such as 0,22,39/40, or the name of a published setting",
};

/// How pictures are made from noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplerKind {
    /// The one that fits the model.
    Auto,
    /// Multistep consistency sampling.
    Multistep,
    /// Heun's method.
    Heun,
    /// Euler's method.
    Euler,
    /// DPM-Solver-2.
    Dpm,
    /// Ancestral sampling.
    Ancestral,
    /// Euler's method as for progressive distillation.
    Progdist,
}

impl SamplerKind {
    /// The sampler itself, or for [`Self::Auto`] the one that fits a model.
    #[must_use]
    pub const fn resolve(self, preconditioning: PreconditioningName) -> Self {
        match (self, preconditioning) {
            (Self::Auto, PreconditioningName::Consistency) => Self::Multistep,
            (Self::Auto, PreconditioningName::Edm | PreconditioningName::Discrete) => Self::Heun,
            (chosen, _) => chosen,
        }
    }

    /// Whether it makes pictures with such a model: multistep sampling needs a consistency model, the others take any.
    #[must_use]
    pub const fn fits(self, preconditioning: PreconditioningName) -> bool {
        !matches!(self, Self::Multistep) || matches!(preconditioning, PreconditioningName::Consistency)
    }

    /// Whether it adds the noise that [`S_CHURN`] describes.
    #[must_use]
    pub const fn churns(self) -> bool {
        matches!(self, Self::Heun | Self::Dpm)
    }
}

impl Choosable for SamplerKind {
    const CHOICE: Choice = Choice { flag: "sampler", label: "Sampler", about: "How pictures are made from noise" };
    const ALL: &'static [Self] =
        &[Self::Auto, Self::Multistep, Self::Heun, Self::Euler, Self::Dpm, Self::Ancestral, Self::Progdist];

    fn option(self) -> ChoiceOption {
        let (key, label, about) = match self {
            Self::Auto => {
                ("auto", "Automatic", "Multistep sampling for a consistency model, Heun's method for any other")
            }
            Self::Multistep => (
                "multistep",
                "Multistep",
                "x ← f(x, σ), then x ← x + sqrt(σ'² - σ_min²) z for every further level σ' (Song et al. 2023, Algorithm 1); one step is one call; consistency models only",
            ),
            Self::Heun => (
                "heun",
                "Heun",
                "d = (x - D(x, σ))/σ; x ← x + (σ' - σ)(d + d')/2, where d' is the slope at the end of Euler's step (Karras et al. 2022, Algorithm 2)",
            ),
            Self::Euler => {
                ("euler", "Euler", "x ← x + (σ' - σ)(x - D(x, σ))/σ, one call per step (Karras et al. 2022)")
            }
            Self::Dpm => (
                "dpm",
                "DPM-Solver-2",
                "x ← x + (σ' - σ) d'', where d'' is the slope at ((σ^⅓ + σ'^⅓)/2)³ (openai/consistency_models, sample_dpm)",
            ),
            Self::Ancestral => (
                "ancestral",
                "Ancestral",
                "Euler's step to sqrt(σ'² - σ_up²), then noise σ_up z with σ_up² = σ'²(σ² - σ'²)/σ² (openai/consistency_models, sample_euler_ancestral)",
            ),
            Self::Progdist => (
                "progdist",
                "Progressive distillation",
                "Euler's steps down to σ_min instead of 0 (openai/consistency_models, sample_progdist)",
            ),
        };
        ChoiceOption { key, label, about }
    }
}

/// Which class each picture gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classes {
    /// Every class in turn: class = seed mod K.
    All,
    /// The listed classes in turn: class = list[seed mod length].
    Only(Vec<usize>),
    /// Drawn from the sample's own random stream.
    Random,
}

impl std::fmt::Display for Classes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => out.write_str("all"),
            Self::Random => out.write_str("random"),
            Self::Only(list) => out.write_str(&joined(list)),
        }
    }
}

fn joined(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Time steps as they are typed; nothing for none.
pub(super) fn steps_in_words(ts: Option<&TimeSteps>) -> Value {
    Value::Text(ts.map_or_else(String::new, ToString::to_string))
}

/// What the user chooses about generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateSettings {
    /// A bundled model's name or a path.
    pub generator: String,
    /// Seed of the first picture; the others follow.
    pub first_seed: u64,
    /// Number of pictures.
    pub samples: u32,
    /// Class of each picture.
    pub classes: Classes,
    /// Sampling steps.
    pub steps: u32,
    /// Noise levels of the steps, largest first; empty for the model's own.
    pub sigmas: Vec<f64>,
    /// How pictures are made from noise.
    pub sampler: SamplerKind,
    /// Noise levels as indices into a grid; they replace `steps`.
    pub ts: Option<TimeSteps>,
    /// Noise added during sampling, by Heun's method and DPM-Solver-2 only.
    pub churn: f64,
    /// Smallest noise level at which it is added.
    pub churn_min: f64,
    /// Largest noise level at which it is added.
    pub churn_max: f64,
    /// Its standard deviation.
    pub churn_noise: f64,
}

impl Default for GenerateSettings {
    fn default() -> Self {
        Self {
            generator: "gtsrb12-cm".to_owned(),
            first_seed: SEED.default as u64,
            samples: SAMPLES.default as u32,
            classes: Classes::All,
            steps: STEPS.default as u32,
            sigmas: Vec::new(),
            sampler: SamplerKind::Auto,
            ts: None,
            churn: S_CHURN.default,
            churn_min: S_MIN.default,
            churn_max: S_MAX.default,
            churn_noise: S_NOISE.default,
        }
    }
}

impl GenerateSettings {
    /// Every setting of generation: first which pictures, from [`STEPS`] on how they are sampled.
    pub const TABLE: &'static [Setting<Self>] = &[
        setting!(generator, Kind::Text(&GENERATOR)),
        setting!(samples, Kind::Number(&SAMPLES)),
        setting!(first_seed, Kind::Number(&SEED)),
        Setting::<Self>::new(Kind::Text(&CLASSES), |all| Value::Text(all.classes.to_string()), |_, _| {}),
        setting!(steps, Kind::Number(&STEPS))
            .by(Self::set_steps)
            .unless(|all| all.ts.is_some().then(|| Idle::grey("beside time steps".to_owned()))),
        setting!(sampler, Kind::of::<SamplerKind>()).by(Self::set_sampler).rare(),
        Setting::<Self>::new(Kind::Text(&TS), |all| steps_in_words(all.ts.as_ref()), |_, _| {}).rare(),
        Setting::<Self>::new(Kind::Text(&SIGMAS), |all| Value::Text(joined(&all.sigmas)), |_, _| {}),
        setting!(churn, Kind::Number(&S_CHURN)).rare().unless(Self::without_churn),
        setting!(churn_min, Kind::Number(&S_MIN))
            .rare()
            .moving(|all| all.churn_min = all.churn_min.min(all.churn_max))
            .unless(Self::without_churn),
        setting!(churn_max, Kind::Number(&S_MAX))
            .rare()
            .moving(|all| all.churn_max = all.churn_max.max(all.churn_min))
            .unless(Self::without_churn),
        setting!(churn_noise, Kind::Number(&S_NOISE)).rare().unless(Self::without_churn),
    ];

    /// The settings that say how pictures are sampled, not which.
    pub fn of_sampling() -> impl Iterator<Item = &'static Setting<Self>> {
        Self::TABLE.iter().skip_while(|row| row.flag() != STEPS.flag)
    }

    /// Lists of levels would decide instead.
    fn set_steps(&mut self, value: Value) {
        self.steps.take(value);
        self.sigmas.clear();
        self.ts = None;
    }

    /// Samplers without churn refuse it.
    fn set_sampler(&mut self, value: Value) {
        self.sampler.take(value);
        if !self.may_churn() {
            self.churn = S_CHURN.default;
        }
    }

    /// The automatic sampler may be one that does.
    fn may_churn(&self) -> bool {
        self.sampler == SamplerKind::Auto || self.sampler.churns()
    }

    fn without_churn(&self) -> Option<Idle> {
        let why = || format!("with the sampler {}", self.sampler.option().key);
        (!self.may_churn()).then(|| Idle::grey(why()))
    }

    /// Checks every number, and that the numbers belong together.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        parameter::check(Self::TABLE, self)?;
        let falling = self.sigmas.is_sorted_by(|a, b| a > b);
        if !falling || !self.sigmas.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0) {
            let (found, expected) = (format!("{:?}", self.sigmas), "positive and falling numbers".to_owned());
            return Err(ParameterError { label: "The list of noise levels", found, expected, default: 80.0 });
        }
        if self.ts.is_some() && !self.sigmas.is_empty() {
            let label = "The number of noise levels beside time steps";
            let (found, expected) =
                (self.sigmas.len().to_string(), "0, because one of the two lists decides".to_owned());
            return Err(ParameterError { label, found, expected, default: 0.0 });
        }
        self.check_churn()
    }

    fn check_churn(&self) -> Result<(), ParameterError> {
        if self.churn_min > self.churn_max {
            let (found, expected) = (self.churn_min.to_string(), format!("at most \"Churn to\", {}", self.churn_max));
            return Err(ParameterError { label: S_MIN.label, found, expected, default: S_MIN.default });
        }
        if self.churn > 0.0 && !self.may_churn() {
            let found = format!("{} with the sampler {}", self.churn, self.sampler.option().key);
            let expected = "0 unless the sampler is heun or dpm".to_owned();
            return Err(ParameterError { label: S_CHURN.label, found, expected, default: 0.0 });
        }
        Ok(())
    }

    /// Seeds of the pictures, in order.
    #[must_use]
    pub fn seeds(&self) -> Vec<u64> {
        (0..u64::from(self.samples)).map(|i| self.first_seed + i).collect()
    }

    /// Class of every picture for a model with `k` classes; all 0 when it has none.
    #[must_use]
    pub fn labels(&self, k: usize) -> Vec<usize> {
        self.seeds().into_iter().map(|seed| self.label(seed, k)).collect()
    }

    fn label(&self, seed: u64, k: usize) -> usize {
        let turn = |n: usize| usize::try_from(seed % n.max(1) as u64).expect("below n");
        match &self.classes {
            _ if k == 0 => 0,
            Classes::Only(list) if !list.is_empty() => list[turn(list.len())].min(k - 1),
            Classes::Random => Stream::new(seed, Purpose::Label).below(k),
            Classes::All | Classes::Only(_) => turn(k),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_depends_on_the_seed_alone() {
        for classes in [Classes::All, Classes::Only(vec![3, 5]), Classes::Random] {
            let many = GenerateSettings { first_seed: 10, samples: 20, classes: classes.clone(), ..Default::default() };
            let one = GenerateSettings { first_seed: 17, samples: 1, classes, ..Default::default() };
            assert_eq!(many.labels(12)[7..8], one.labels(12));
        }
        let random = GenerateSettings { samples: 256, classes: Classes::Random, ..Default::default() };
        let labels = random.labels(12);
        assert!((0..12).all(|class| labels.contains(&class)), "every class is drawn: {labels:?}");
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let samples = |samples| GenerateSettings { samples, ..Default::default() };
        assert!(samples(0).check().is_err() && samples(257).check().is_err() && samples(256).check().is_ok());
        assert!(GenerateSettings { sigmas: vec![1.0, 2.0], ..Default::default() }.check().is_err());
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused_in_one_sentence() {
        let ts = TimeSteps::all(40);
        let both = GenerateSettings { sigmas: vec![80.0, 1.2], ts: Some(ts.clone()), ..Default::default() };
        let range = GenerateSettings { churn_min: 60.0, churn_max: 50.0, ..Default::default() };
        let churn = |sampler| GenerateSettings { sampler, churn: 40.0, ..Default::default() };
        for (settings, part) in [
            (&both, "beside time steps is 2"),
            (&range, "Churn from is 60"),
            (&churn(SamplerKind::Ancestral), "Churn is 40 with the sampler ancestral"),
            (&GenerateSettings { churn: 101.0, ..Default::default() }, "from 0 to 100"),
            (&GenerateSettings { churn_noise: f64::NAN, ..Default::default() }, "Churn noise is NaN"),
        ] {
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        for fine in [
            churn(SamplerKind::Heun),
            churn(SamplerKind::Dpm),
            churn(SamplerKind::Auto),
            GenerateSettings { ts: Some(ts), ..Default::default() },
            GenerateSettings { steps: 1000, ..Default::default() },
        ] {
            assert_eq!(fine.check(), Ok(()));
        }
    }

    #[test]
    fn samplers_keep_their_names_in_files_and_settings_of_earlier_versions_open() {
        for sampler in SamplerKind::ALL {
            assert_eq!(serde_json::to_string(sampler).unwrap(), format!("\"{}\"", sampler.option().key));
        }
        let old = r#"{"generator": "gtsrb12-edm", "steps": 18, "sigmas": []}"#;
        let settings: GenerateSettings = serde_json::from_str(old).unwrap();
        let expected =
            GenerateSettings { generator: "gtsrb12-edm".to_owned(), steps: 18, ..GenerateSettings::default() };
        assert_eq!(settings, expected);
    }

    #[test]
    fn automatic_is_the_sampler_of_the_papers() {
        use PreconditioningName::{Consistency, Discrete, Edm};
        assert_eq!(
            [Consistency, Edm, Discrete].map(|model| SamplerKind::Auto.resolve(model)),
            [SamplerKind::Multistep, SamplerKind::Heun, SamplerKind::Heun]
        );
        assert_eq!(SamplerKind::Euler.resolve(Consistency), SamplerKind::Euler);
        assert!(!SamplerKind::Multistep.fits(Edm) && SamplerKind::Heun.fits(Consistency));
    }
}
