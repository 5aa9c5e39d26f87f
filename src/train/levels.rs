//! Which noise levels a consistency model learns to agree at, and how that changes with the steps of its training.

use serde::{Deserialize, Serialize};

use super::error::{Problem, not_negative, some};
use crate::generator::schedule::karras_sigma;
use crate::noise::Stream;
use crate::zoo::DiffusionManifest;

/// How fine the grid of levels is at a step, and how slowly the target network follows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Grid {
    /// Always the same: consistency distillation.
    Fixed {
        /// Points of the grid, 40 on ImageNet-64.
        #[serde(default = "forty")]
        points: usize,
        /// What the target network keeps of itself at a step, `mu`.
        #[serde(default = "decay")]
        decay: f64,
    },
    /// Finer from step to step: consistency training in isolation.
    ///
    /// # Source
    /// Song et al. 2023, appendix C; openai/consistency_models, `cm/script_util.py`: `N(k)` counts one point more than
    /// the paper's, and `mu(k)` is computed before that one.
    Progressive {
        /// Points at the beginning, `s0`.
        #[serde(default = "two")]
        first: usize,
        /// Points at the end, `s1`.
        #[serde(default = "two_hundred")]
        last: usize,
        /// `mu` for the first grid, `mu0`.
        #[serde(default = "decay")]
        decay: f64,
        /// Steps until the last grid, `K`; without it all steps of the training.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<u64>,
    },
}

const fn two() -> usize {
    2
}
const fn forty() -> usize {
    40
}
const fn two_hundred() -> usize {
    200
}
const fn decay() -> f64 {
    0.95
}

impl Grid {
    /// Points of the grid `N(k)`, at least 2, and `mu(k)` at a step of `steps`.
    #[must_use]
    pub fn at(self, step: u64, steps: u64) -> (usize, f64) {
        match self {
            Self::Fixed { points, decay } => (points.max(2), decay),
            Self::Progressive { first, last, decay, over } => {
                let (first, last, over) = (first as f64, last as f64, over.unwrap_or(steps).max(1) as f64);
                let square = (step as f64 / over).min(1.0) * ((last + 1.0).powi(2) - first.powi(2)) + first.powi(2);
                let scales = (square.sqrt().ceil() - 1.0).clamp(1.0, last);
                ((scales + 1.0) as usize, (first * decay.ln() / scales).exp())
            }
        }
    }

    /// A random level of a grid of so many points, and the next smaller one.
    ///
    /// # Source
    /// openai/consistency_models, `cm/karras_diffusion.py`: the levels of the Karras schedule, its last one left out.
    #[must_use]
    pub fn pair(diffusion: &DiffusionManifest, points: usize, stream: &mut Stream) -> [f64; 2] {
        Self::pair_at(diffusion, points, stream.below(points.saturating_sub(1)))
    }

    /// The level at a place of the grid, and the next smaller one.
    #[must_use]
    pub fn pair_at(diffusion: &DiffusionManifest, points: usize, place: usize) -> [f64; 2] {
        let last = points.saturating_sub(1).max(1) as f64;
        [place, place + 1].map(|place| karras_sigma(diffusion, place as f64 / last))
    }
}

/// The level between two of a schedule, in its own measure.
#[must_use]
pub fn between(diffusion: &DiffusionManifest, levels: [f64; 2]) -> f64 {
    let [from, to] = levels.map(|level| level.powf(diffusion.rho.recip()));
    (0.5 * (from + to)).powf(diffusion.rho)
}

/// Stages of progressive distillation, each of which halves the steps that a picture takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halving {
    /// Steps of the first stage's student, a power of two.
    pub first: usize,
    /// Steps of training that a stage takes; the last two, of two steps and of one, take twice as many.
    pub every: u64,
}

impl Halving {
    /// How many steps the student is to need, and at which step of training its stage began.
    ///
    /// # Source
    /// openai/consistency_models, `cm/script_util.py`, `ema_and_scales_fn` with the scale mode `progdist`.
    #[must_use]
    pub const fn at(self, step: u64) -> (usize, u64) {
        let Self { first, every } = self;
        let late = match first.checked_ilog2() {
            Some(halvings) => (halvings as u64).saturating_sub(1) * every,
            None => 0,
        };
        if step < late {
            (first >> (step / every), step / every * every)
        } else if step - late < 2 * every {
            (2, late)
        } else {
            (1, late + 2 * every)
        }
    }
}

/// `t` to the smaller level `r` of easy consistency tuning: the higher the stage, the nearer they are.
///
/// # Source
/// Geng et al. 2025; locuslab/ect, `training/loss.py`, `t_to_r_sigmoid`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tightening {
    /// What the distance of both is divided by at every stage.
    pub q: f64,
    /// How much more it is at low levels.
    pub k: f64,
    /// How fast that fades with the level.
    pub b: f64,
    /// Steps of a stage.
    pub every: u64,
}

impl Default for Tightening {
    fn default() -> Self {
        Self { q: 4.0, k: 8.0, b: 1.0, every: 10_000 }
    }
}

impl Tightening {
    /// A value that cannot be, and what is expected.
    pub(super) fn problem(self) -> Problem {
        let near = !(self.q > 1.0 && self.q.is_finite());
        let near = near.then(|| (format!("q = {}", self.q), "it is a number above 1"));
        near.or_else(|| not_negative("k", self.k))
            .or_else(|| not_negative("b", self.b))
            .or_else(|| some("every", self.every))
    }

    /// `r` for `t` at a step; 0 stands for the picture itself.
    #[must_use]
    pub fn smaller(self, t: f64, step: u64) -> f64 {
        let stage = (step / self.every.max(1)) as f64;
        let wider = 1.0 + self.k / (1.0 + (self.b * t).exp());
        (t * (1.0 - wider * self.q.powf(-stage - 1.0))).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_nearer_with_every_stage() {
        let tightening = Tightening { every: 100, ..Tightening::default() };
        // By hand: 1 - (1 + 8 / (1 + e)) / 4 = 0.212..., and with 16.
        let wider = 1.0 + 8.0 / (1.0 + 1.0_f64.exp());
        assert!((tightening.smaller(1.0, 99) - (1.0 - wider / 4.0)).abs() < 1e-12);
        assert!((tightening.smaller(1.0, 100) - (1.0 - wider / 16.0)).abs() < 1e-12);
        assert_eq!(tightening.smaller(0.01, 0), 0.0, "a picture is its own end");
        assert!((tightening.smaller(80.0, 0) - 60.0).abs() < 1e-9);
    }

    #[test]
    fn steps_are_halved_until_one_is_left_and_the_last_stages_are_longer() {
        let at = |step| Halving { first: 16, every: 10 }.at(step);
        // By hand from the original: 16, 8, 4 for ten steps each, 2 for twenty, then 1.
        let stages =
            [(0, (16, 0)), (9, (16, 0)), (10, (8, 10)), (29, (4, 20)), (30, (2, 30)), (49, (2, 30)), (50, (1, 50))];
        for (step, expected) in stages {
            assert_eq!(at(step), expected, "step {step}");
        }
        assert_eq!(at(500), (1, 50));
        assert_eq!([0, 19, 20].map(|step| Halving { first: 2, every: 10 }.at(step)), [(2, 0), (2, 0), (1, 20)]);
        let edm = DiffusionManifest::new(crate::zoo::PreconditioningName::Edm);
        let [from, to] = Grid::pair_at(&edm, 5, 1);
        assert!((between(&edm, [from, to]) - karras_sigma(&edm, 1.5 / 4.0)).abs() < 1e-9);
    }

    #[test]
    fn a_fixed_grid_stays_and_a_growing_one_ends_with_its_last() {
        assert_eq!(Grid::Fixed { points: 40, decay: 0.95 }.at(7, 100), (40, 0.95));
        let grid = Grid::Progressive { first: 2, last: 10, decay: 0.9, over: None };
        assert_eq!(grid.at(0, 100), (2, 0.9_f64.powi(2)));
        assert_eq!([100, 1000].map(|step| grid.at(step, 100).0), [11, 11]);
    }
}
