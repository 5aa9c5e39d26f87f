//! What the user chooses about generation.

use serde::{Deserialize, Serialize};

use super::noise::{Purpose, Stream};
use crate::parameter::{Parameter, ParameterError};

/// Number of samples.
pub const SAMPLES: Parameter = Parameter {
    key: "samples",
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
    key: "first_seed",
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
    key: "steps",
    flag: "steps",
    label: "Sampling steps",
    symbol: "n",
    unit: "network calls per picture",
    min: 1.0,
    max: 256.0,
    slider: (1.0, 8.0),
    default: 1.0,
    integer: true,
    about: "One or more for a consistency model; about 18 for an EDM model, which is sampled with Heun's method",
    source: "Song et al. 2023, Algorithm 1; Karras et al. 2022, Algorithm 1",
};

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
        }
    }
}

impl GenerateSettings {
    /// Checks every number.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        SAMPLES.check(f64::from(self.samples))?;
        STEPS.check(f64::from(self.steps))?;
        SEED.check(self.first_seed as f64)?;
        let falling = self.sigmas.is_sorted_by(|a, b| a > b);
        if falling && self.sigmas.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0) {
            return Ok(());
        }
        Err(ParameterError {
            label: "The list of noise levels",
            found: format!("{:?}", self.sigmas),
            expected: "positive and falling numbers".to_owned(),
            default: 80.0,
        })
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
}
