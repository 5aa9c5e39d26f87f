//! What a generator is trained for, and which noise levels a sample of a step gets.

use serde::{Deserialize, Serialize};

use super::boosting::Boosting;
use super::error::{Problem, some, spread};
use super::levels::{Grid, Halving, Tightening};
use super::metric::{Metric, Weighting};
use crate::generator::{GenerateSettings, SamplerKind};
use crate::noise::Stream;
use crate::zoo::{DiffusionManifest, PreconditioningName};

/// What a generator is trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Objective {
    /// Denoising at levels whose logarithm is normal (Karras et al. 2022).
    Edm {
        /// Mean of the logarithm.
        #[serde(default = "edm_mean")]
        mean: f64,
        /// Its standard deviation.
        #[serde(default = "edm_deviation")]
        deviation: f64,
        /// How much a level counts.
        #[serde(default = "karras")]
        weighting: Weighting,
    },
    /// Agreeing with a slower copy of itself at the next smaller level, in isolation (Song et al. 2023, algorithm 3).
    ConsistencyTraining {
        /// The levels.
        #[serde(default = "progressive")]
        grid: Grid,
        /// The distance.
        #[serde(default = "l2")]
        metric: Metric,
        /// How much a level counts.
        #[serde(default = "uniform")]
        weighting: Weighting,
    },
    /// Likewise along the path of a teacher that denoises (Song et al. 2023, algorithm 2).
    ConsistencyDistillation {
        /// A generator of EDM: a file, its manifest, or a bundled name.
        teacher: String,
        /// The levels.
        #[serde(default = "fixed")]
        grid: Grid,
        /// The distance.
        #[serde(default = "l2")]
        metric: Metric,
        /// How much a level counts.
        #[serde(default = "uniform")]
        weighting: Weighting,
    },
    /// Agreeing with itself at levels that come nearer (Geng et al. 2025): begin with a network that denoises.
    EasyConsistency {
        /// Mean of the logarithm of the larger level.
        #[serde(default = "easy_mean")]
        mean: f64,
        /// Its standard deviation.
        #[serde(default = "easy_deviation")]
        deviation: f64,
        /// How the smaller level follows from it.
        #[serde(default)]
        tightening: Tightening,
        /// The distance.
        #[serde(default = "huber")]
        metric: Metric,
        /// How much a pair of levels counts.
        #[serde(default = "inverse_gap")]
        weighting: Weighting,
    },
    /// Half as many steps as before, again and again: at the end of each stage the network becomes its own teacher (Salimans
    /// and Ho 2022). Begin with a network of EDM.
    ProgressiveDistillation {
        /// Steps of the first stage's student, a power of two.
        #[serde(default = "sixty_four")]
        first: usize,
        /// Steps of training that a stage takes; the last two, of two steps and of one, take twice as many.
        #[serde(default = "fifty_thousand")]
        every: u64,
        /// The distance.
        #[serde(default = "l2")]
        metric: Metric,
        /// How much a level counts.
        #[serde(default = "truncated_snr")]
        weighting: Weighting,
    },
    /// Giving in one call what refinement gave.
    Boosted(Boosting),
}

const fn edm_mean() -> f64 {
    -1.2
}
const fn edm_deviation() -> f64 {
    1.2
}
const fn easy_mean() -> f64 {
    -1.1
}
const fn easy_deviation() -> f64 {
    2.0
}
const fn karras() -> Weighting {
    Weighting::Karras
}
const fn inverse_gap() -> Weighting {
    Weighting::InverseGap
}
const fn uniform() -> Weighting {
    Weighting::Uniform
}
const fn sixty_four() -> usize {
    64
}
const fn fifty_thousand() -> u64 {
    50_000
}
const fn truncated_snr() -> Weighting {
    Weighting::TruncatedSnr
}
const fn l2() -> Metric {
    Metric::L2 {}
}
const fn huber() -> Metric {
    Metric::PseudoHuber { c: None }
}
const fn fixed() -> Grid {
    Grid::Fixed { points: 40, decay: 0.95 }
}
const fn progressive() -> Grid {
    Grid::Progressive { first: 2, last: 200, decay: 0.95, over: None }
}

/// Where in a training a step is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Counted from 0.
    pub(super) step: u64,
    /// All of them.
    pub(super) steps: u64,
}

impl Objective {
    /// The formulas around the network.
    #[must_use]
    pub const fn preconditioning(&self) -> PreconditioningName {
        match self {
            Self::Edm { .. } | Self::ProgressiveDistillation { .. } => PreconditioningName::Edm,
            _ => PreconditioningName::Consistency,
        }
    }

    /// The generator that teaches.
    #[must_use]
    pub fn teacher(&self) -> Option<&str> {
        match self {
            Self::ConsistencyDistillation { teacher, .. } => Some(teacher),
            _ => None,
        }
    }

    /// How what was trained at a step makes pictures.
    pub(super) fn sampling(&self, step: u64) -> GenerateSettings {
        let (sampler, steps) = match (self, self.halving()) {
            (_, Some(halving)) => (SamplerKind::Progdist, halving.at(step).0 as u32),
            (Self::Edm { .. }, None) => (SamplerKind::Auto, 18),
            _ => (SamplerKind::Auto, 1),
        };
        GenerateSettings { steps, sampler, ..GenerateSettings::default() }
    }

    /// The stages, where it has some.
    pub(super) const fn halving(&self) -> Option<Halving> {
        match self {
            Self::ProgressiveDistillation { first, every, .. } => Some(Halving { first: *first, every: *every }),
            _ => None,
        }
    }

    /// Whether the network is compared with pictures alone, and with no network.
    pub(super) fn is_alone(&self) -> bool {
        match self {
            Self::Edm { .. } => true,
            Self::Boosted(boosting) => boosting.consistency == 0.0,
            _ => false,
        }
    }

    /// What the target network keeps of itself at a step; `None` where the network is its own target.
    pub(super) fn decay(&self, place: Place) -> Option<f64> {
        match self {
            Self::ConsistencyTraining { grid, .. } | Self::ConsistencyDistillation { grid, .. } => {
                Some(grid.at(place.step, place.steps).1)
            }
            // At the end of a stage the network becomes the teacher.
            _ => self.halving().map(|halving| if halving.at(place.step + 1).1 > place.step { 0.0 } else { 1.0 }),
        }
    }

    /// The levels of a sample: where it is seen, and where it is compared. Denoising has the picture itself for that.
    pub(super) fn levels(&self, diffusion: &DiffusionManifest, place: Place, stream: &mut Stream) -> [f64; 2] {
        let mut random = |mean: f64, deviation: f64| (mean + deviation * f64::from(stream.normal(1)[0])).exp();
        match self {
            Self::Edm { mean, deviation, .. } => [random(*mean, *deviation), 0.0],
            Self::EasyConsistency { mean, deviation, tightening, .. }
            | Self::Boosted(Boosting { mean, deviation, tightening, .. }) => {
                let t = random(*mean, *deviation);
                [t, tightening.smaller(t, place.step)]
            }
            Self::ConsistencyTraining { grid, .. } | Self::ConsistencyDistillation { grid, .. } => {
                Grid::pair(diffusion, grid.at(place.step, place.steps).0, stream)
            }
            Self::ProgressiveDistillation { first, every, .. } => {
                Grid::pair(diffusion, Halving { first: *first, every: *every }.at(place.step).0 + 1, stream)
            }
        }
    }

    /// The distance of consistency.
    pub const fn metric(&self) -> &Metric {
        match self {
            Self::Edm { .. } => &Metric::L2 {},
            Self::ConsistencyTraining { metric, .. }
            | Self::ConsistencyDistillation { metric, .. }
            | Self::EasyConsistency { metric, .. }
            | Self::ProgressiveDistillation { metric, .. }
            | Self::Boosted(Boosting { metric, .. }) => metric,
        }
    }

    /// How much a level counts.
    pub(super) const fn weighting(&self) -> Weighting {
        match self {
            Self::Edm { weighting, .. }
            | Self::ConsistencyTraining { weighting, .. }
            | Self::ConsistencyDistillation { weighting, .. }
            | Self::EasyConsistency { weighting, .. }
            | Self::ProgressiveDistillation { weighting, .. } => *weighting,
            Self::Boosted(_) => Weighting::Uniform,
        }
    }

    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let small = |what: &str, found: usize| (format!("{what} = {found}"), "a grid has at least 2 points");
        let odd = |decay: f64| (format!("decay = {decay}"), "it is between 0 and 1");
        let own = match self {
            Self::ConsistencyTraining { grid, .. } | Self::ConsistencyDistillation { grid, .. } => match *grid {
                Grid::Fixed { points, .. } if points < 2 => Some(small("points", points)),
                Grid::Progressive { first, .. } if first < 2 => Some(small("first", first)),
                Grid::Progressive { first, last, .. } if last < first => {
                    Some((format!("last = {last}"), "the grid at the end is not coarser than at the beginning"))
                }
                // A progressive one needs its logarithm.
                Grid::Progressive { decay, .. } if !(decay > 0.0 && decay < 1.0) => Some(odd(decay)),
                Grid::Fixed { decay, .. } if !(0.0..1.0).contains(&decay) => Some(odd(decay)),
                Grid::Progressive { over, .. } => over.and_then(|over| some("over", over)),
                Grid::Fixed { .. } => None,
            },
            Self::Edm { mean, deviation, .. } | Self::EasyConsistency { mean, deviation, .. } => {
                spread(*mean, *deviation).or_else(|| match self {
                    Self::EasyConsistency { tightening, .. } => tightening.problem(),
                    _ => None,
                })
            }
            Self::ProgressiveDistillation { first, .. } if *first < 2 || !first.is_power_of_two() => {
                Some((format!("first = {first}"), "it is a power of two, at least 2, which can be halved until 1"))
            }
            Self::ProgressiveDistillation { every: 0, .. } => {
                Some(("every = 0 in [objective]".to_owned(), "a stage has at least 1 step"))
            }
            Self::ProgressiveDistillation { .. } => None,
            Self::Boosted(boosting) => boosting.problem(),
        };
        own.or_else(|| self.metric().problem())
    }
}
