//! What is known of a batch after k iterations.

use serde::{Deserialize, Serialize};

use crate::classifier::top_classes;
use crate::image::ImageBatch;
use crate::parameter::{Choice, ChoiceOption, Choosable};

/// Whether a sample still moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleState {
    /// It moves.
    #[default]
    Active,
    /// Its gradient vanished; it stays where it is until what is ascended, the rule, its noise or
    /// early stop changes.
    ZeroGradient,
    /// Its objective or gradient is NaN or infinite; it stays at its last finite iterate.
    NotFinite,
    /// It became as real as its reference and stays where it is, see [`RefineSettings::early_stop`].
    ///
    /// [`RefineSettings::early_stop`]: super::RefineSettings::early_stop
    // Last, because journals of version 2 store a variant by its place; those of today store its word.
    Stopped,
}

impl SampleState {
    /// It in files (`key`), in the window (`label`), and what it means (`about`).
    #[must_use]
    pub const fn words(self) -> ChoiceOption {
        let (key, label, about) = match self {
            Self::Active => {
                ("active", "moving", "It follows its gradient at every iteration, on the edge of the ball along it")
            }
            Self::ZeroGradient => (
                "zero-gradient",
                "no gradient",
                "It vanished; the picture stays until the objective, the rule, its noise or early stop changes",
            ),
            Self::NotFinite => ("not-finite", "not a number", "It stays at its last finite iterate"),
            Self::Stopped => {
                ("early-stop", "early stop", "The classifier believes in it more than in its reference; it stays")
            }
        };
        ChoiceOption { key, label, about }
    }
}

/// One state of a run: the iterate, and what is known of every sample there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Number of iterations behind this state; 0 is the start.
    pub iteration: u32,
    /// The iterate x_k, clamped to `[0, 1]`.
    pub images: ImageBatch,
    /// Numbers per sample.
    pub numbers: Numbers,
}

/// Numbers per sample at one state; every list has N entries, `logits` N * K.
///
/// SGLD clamps only what it shows: there, logits, objective and gradient are those of the iterate before the clamp, distances
/// those of the clamped picture. With restarts, all numbers are those of the copy that is shown.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// `[N, K]`, row-major.
    pub logits: Vec<f32>,
    /// What is ascended, at this state; untargeted, this is the negative of the objective's formula.
    pub objective: Vec<f32>,
    /// L2 length of the gradient at this state.
    pub gradient_l2: Vec<f32>,
    /// L2 length of the step that led here; 0 at the start.
    pub step_l2: Vec<f32>,
    /// L2 length of x_k - x_0.
    pub delta_l2: Vec<f32>,
    /// Linf length of x_k - x_0.
    pub delta_linf: Vec<f32>,
    /// Share of values that the clamp to `[0, 1]` changed in the step that led here, `0..=1`.
    pub clipped: Vec<f32>,
    /// Whether the sample still moves.
    pub state: Vec<SampleState>,
}

impl Numbers {
    /// Whether every list has `n` entries; data from files may lie.
    #[must_use]
    pub fn is_consistent(&self, n: usize) -> bool {
        let lists =
            [&self.objective, &self.gradient_l2, &self.step_l2, &self.delta_l2, &self.delta_linf, &self.clipped];
        n > 0 && self.state.len() == n && self.logits.len().is_multiple_of(n) && lists.iter().all(|l| l.len() == n)
    }

    /// Takes over everything about one sample.
    ///
    /// # Panics
    /// When the two do not describe equally many samples and classes.
    pub fn copy_sample(&mut self, from: &Self, sample: usize) {
        let logits = from.logits_of(sample);
        self.logits[sample * logits.len()..(sample + 1) * logits.len()].copy_from_slice(logits);
        for (to, from) in [
            (&mut self.objective, &from.objective),
            (&mut self.gradient_l2, &from.gradient_l2),
            (&mut self.step_l2, &from.step_l2),
            (&mut self.delta_l2, &from.delta_l2),
            (&mut self.delta_linf, &from.delta_linf),
            (&mut self.clipped, &from.clipped),
        ] {
            to[sample] = from[sample];
        }
        self.state[sample] = from.state[sample];
    }

    /// The class that the classifier sees in one sample; `None` when it is unknown.
    #[must_use]
    pub fn top_class(&self, sample: usize) -> Option<usize> {
        top_classes(self.logits_of(sample), 1).first().copied()
    }

    /// The class that the classifier sees in each sample; those of `labels` that are unknown stay.
    #[must_use]
    pub fn verdict(&self, labels: &[usize]) -> Vec<usize> {
        labels.iter().enumerate().map(|(sample, label)| self.top_class(sample).unwrap_or(*label)).collect()
    }

    /// The `K` logits of one sample; empty when it is unknown.
    #[must_use]
    pub fn logits_of(&self, sample: usize) -> &[f32] {
        let classes = self.logits.len() / self.objective.len().max(1);
        self.logits.get(sample * classes..(sample + 1) * classes).unwrap_or(&[])
    }
}

/// Which iterate of a run counts as its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The last one.
    Last,
    /// Every sample's own best one.
    Best,
}

impl Choosable for Keep {
    const CHOICE: Choice =
        Choice { flag: "keep", label: "Keep", about: "Which iterate of each picture counts as refined" };
    const ALL: &'static [Self] = &[Self::Last, Self::Best];

    fn option(self) -> ChoiceOption {
        match self {
            Self::Last => ChoiceOption {
                key: "last",
                label: "Last",
                about: "The last iterate, as BIGRoC and Golan et al. 2024 do",
            },
            Self::Best => ChoiceOption {
                key: "best",
                label: "Best",
                about: "For each picture the iterate with the highest objective (use_best of MadryLab robustness)",
            },
        }
    }
}

/// The iteration at which every sample's objective was highest, the earliest of equals; the last one for a sample whose
/// objective never was finite.
///
/// `states`: iteration and numbers, in order. Only states with comparable objectives may compete, see
/// [`RefineSettings::compares_with`].
///
/// [`RefineSettings::compares_with`]: super::RefineSettings::compares_with
#[must_use]
pub fn best_of(states: &[(u32, &Numbers)]) -> Vec<u32> {
    let Some((last, numbers)) = states.last() else { return Vec::new() };
    let best = |sample: usize| {
        first_highest(states.iter().map(|(_, numbers)| numbers.objective.get(sample).copied().unwrap_or(f32::NAN)))
    };
    (0..numbers.objective.len()).map(|sample| best(sample).map_or(*last, |place| states[place].0)).collect()
}

/// Place of the highest finite value, the first of equals; `None` when no value is finite.
pub(crate) fn first_highest(values: impl Iterator<Item = f32>) -> Option<usize> {
    let finite = values.enumerate().filter(|(_, value)| value.is_finite());
    finite.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_iterate_is_each_samples_own_the_earliest_of_equals_and_never_a_nan() {
        let objectives = [[0.0, 5.0, f32::NAN, 1.0], [2.0, f32::INFINITY, f32::NAN, 3.0], [1.0, 4.0, f32::NAN, 3.0]];
        let numbers = objectives.map(|objective| Numbers { objective: objective.to_vec(), ..Default::default() });
        let states: Vec<(u32, &Numbers)> = (7..).zip(&numbers).collect();
        assert_eq!(best_of(&states), [8, 7, 9, 8]);
        assert_eq!(best_of(&[]), [0_u32; 0]);
    }

    #[test]
    fn older_journals_keep_their_meaning() {
        let stored = [SampleState::Active, SampleState::ZeroGradient, SampleState::NotFinite, SampleState::Stopped];
        assert_eq!(postcard::to_stdvec(&stored).unwrap(), [0, 1, 2, 3]);
    }
}
