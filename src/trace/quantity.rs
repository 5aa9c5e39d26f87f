//! What is measured of every sample at every state.

use serde::{Deserialize, Serialize};

use crate::classifier::probability_of;
use crate::refiner::{Norm, Numbers, Objective, RefineSettings};

/// A quantity that is drawn over the iterations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantity {
    /// The objective.
    Objective,
    /// Softmax probability of the target class, `0..=1`.
    Probability,
    /// `-f_y`.
    Energy,
    /// L2 length of the objective's gradient.
    Gradient,
    /// Distance from the origin in the run's norm.
    Distance,
}

impl Quantity {
    /// All, in the order of the timeline.
    pub const ALL: [Self; 5] = [Self::Objective, Self::Probability, Self::Energy, Self::Gradient, Self::Distance];

    /// What is worth a plot of its own: where the objective is the energy with another sign, the gradient stands in for it.
    #[must_use]
    pub fn plotted(settings: &RefineSettings) -> [Self; 4] {
        let is_energy = settings.objective == Objective::TargetLogit;
        [Self::Objective, Self::Probability, if is_energy { Self::Gradient } else { Self::Energy }, Self::Distance]
    }

    /// Its value for one sample.
    #[must_use]
    pub fn value(self, numbers: &Numbers, sample: usize, label: usize, norm: Norm) -> f32 {
        let logits = numbers.logits_of(sample);
        let list = |values: &[f32]| values.get(sample).copied().unwrap_or(f32::NAN);
        match self {
            Self::Objective => list(&numbers.objective),
            Self::Probability => probability_of(logits, label),
            Self::Energy => logits.get(label).map_or(f32::NAN, |logit| -logit),
            Self::Gradient => list(&numbers.gradient_l2),
            Self::Distance => match norm {
                Norm::L2 => list(&numbers.delta_l2),
                Norm::Linf => list(&numbers.delta_linf),
            },
        }
    }

    /// Whether its values under both settings measure the same. Numbers of two classifiers never do, those of two objectives
    /// where they are the objective's; lengths always do.
    #[must_use]
    pub fn compares(self, a: &RefineSettings, b: &RefineSettings) -> bool {
        match self {
            Self::Objective | Self::Gradient => a.compares_with(b),
            Self::Probability | Self::Energy => a.classifier == b.classifier,
            Self::Distance => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Choosable as _;
    use crate::refiner::Target;

    #[test]
    fn no_two_plots_show_one_curve() {
        for objective in Objective::ALL.iter().copied() {
            let plotted = Quantity::plotted(&RefineSettings { objective, ..Default::default() });
            let has = |quantity| plotted.contains(&quantity);
            let is_energy = objective == Objective::TargetLogit;
            assert_eq!((has(Quantity::Energy), has(Quantity::Gradient)), (!is_energy, is_energy), "{objective:?}");
        }
    }

    #[test]
    fn numbers_of_two_classifiers_compare_never_and_those_of_two_objectives_where_they_are_not_the_objectives() {
        let base = RefineSettings::default();
        let compared = |other: &RefineSettings| Quantity::ALL.map(|quantity| quantity.compares(&base, other));
        assert_eq!(compared(&RefineSettings { eps: 1.0, ..base.clone() }), [true; 5]);
        let another = RefineSettings { classifier: "another".to_owned(), ..base.clone() };
        assert_eq!(compared(&another), [false, false, false, false, true]);
        for other in [
            RefineSettings { objective: Objective::Ce, ..base.clone() },
            RefineSettings { target: Target::Untargeted, ..base.clone() },
        ] {
            assert_eq!(compared(&other), [false, true, true, false, true]);
        }
    }
}
