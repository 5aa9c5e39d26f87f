//! How an iteration moves a picture along the gradient.

use serde::{Deserialize, Serialize};

use crate::parameter::{Choice, ChoiceOption, Choosable};

/// How an iteration moves a picture along the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Projected gradient: `x <- clamp(project(x + step * direction))`.
    Pgd,
    /// Stochastic gradient Langevin dynamics: `x <- x + step / divisor * gradient + noise * N(0, I)`; clamped only at the end.
    Sgld,
    /// Plain gradient ascent: `x <- clamp(x + step * gradient)`.
    Ascent,
}

impl Choosable for Rule {
    const CHOICE: Choice =
        Choice { flag: "rule", label: "Rule", about: "How an iteration moves a picture along the gradient" };
    const ALL: &'static [Self] = &[Self::Pgd, Self::Sgld, Self::Ascent];

    fn option(self) -> ChoiceOption {
        match self {
            Self::Pgd => ChoiceOption {
                key: "pgd",
                label: "PGD",
                about: "Projected gradient: a step, back into the ball around the generated picture, clamp to [0,1] (MadryLab robustness, BIGRoC)",
            },
            Self::Sgld => ChoiceOption {
                key: "sgld",
                label: "SGLD",
                about: "Langevin: step size ÷ divisor × gradient plus noise, without a ball, clamped to [0,1] only at the end (released script of Golan et al. 2024)",
            },
            Self::Ascent => ChoiceOption {
                key: "ascent",
                label: "Gradient ascent",
                about: "Step size × gradient, clamped to [0,1], without a ball (\"unconstrained\" of MadryLab robustness)",
            },
        }
    }
}

impl Rule {
    /// Whether the rule keeps the picture within a radius of the origin.
    #[must_use]
    pub const fn has_ball(self) -> bool {
        matches!(self, Self::Pgd)
    }
}
