//! The ball around the origin, and steps inside it. Plain arithmetic on the host, one sample at a time.
//!
//! One step is `clamp(project(x + step * direction))`: the projection onto the ball comes first, then the clamp to `[0, 1]`.
//! Since the origin lies in `[0, 1]`, the clamp only brings the iterate nearer to it, so the ball still holds; the result is
//! not always the nearest point of the intersection (MadryLab robustness, `attack_steps.py`, does the same).

use serde::{Deserialize, Serialize};

use crate::noise::Stream;
use crate::parameter::{Choice, ChoiceOption, Choosable};

/// How distance from the origin is measured, on `[0, 1]` pixels over `C * H * W`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Euclidean length.
    L2,
    /// Largest absolute value.
    Linf,
}

impl Choosable for Norm {
    const CHOICE: Choice = Choice {
        flag: "norm",
        label: "Norm",
        about: "How the distance from the generated picture is measured; another norm begins with its own radius and step size",
    };
    const ALL: &'static [Self] = &[Self::L2, Self::Linf];

    fn option(self) -> ChoiceOption {
        match self {
            Self::L2 => ChoiceOption {
                key: "l2",
                label: "L2",
                about: "Euclidean length of the change over all channels and pixels; steps follow the gradient's direction",
            },
            Self::Linf => ChoiceOption {
                key: "linf",
                label: "L∞",
                about: "Largest change of a single value; steps follow the gradient's sign",
            },
        }
    }
}

/// Added to the gradient's length before dividing by it (robustness, BIGRoC); a shorter gradient counts as zero.
pub const GRADIENT_FLOOR: f64 = 1e-10;

impl Norm {
    /// Length of a difference.
    #[must_use]
    pub fn length(self, values: impl Iterator<Item = f32>) -> f64 {
        match self {
            Self::L2 => values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt(),
            Self::Linf => values.fold(0.0, |max, v| f64::from(v.abs()).max(max)),
        }
    }

    /// Length of `a - b`.
    #[must_use]
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        self.length(a.iter().zip(b).map(|(a, b)| a - b))
    }

    /// Moves `x` along `gradient` by `step`: along its direction (L2) or sign (Linf) when `normalise`, else along the
    /// gradient itself.
    pub fn ascend(self, x: &mut [f32], gradient: &[f32], step: f64, normalise: bool) {
        let length = if self == Self::L2 && normalise { self.length(gradient.iter().copied()) } else { 0.0 };
        self.ascend_by(x, (gradient, length), step, normalise);
    }

    /// Likewise for a gradient whose L2 length is known.
    pub(super) fn ascend_by(self, x: &mut [f32], (gradient, length): (&[f32], f64), step: f64, normalise: bool) {
        let scale = match self {
            Self::L2 if normalise => step / (length + GRADIENT_FLOOR),
            _ => step,
        };
        for (x, g) in x.iter_mut().zip(gradient) {
            *x += match self {
                Self::Linf if normalise && *g == 0.0 => 0.0,
                Self::Linf if normalise => (f64::from(g.signum()) * step) as f32,
                _ => (f64::from(*g) * scale) as f32,
            };
        }
    }

    /// Brings `x` back into the ball of radius `eps` around `origin`.
    pub fn project(self, x: &mut [f32], origin: &[f32], eps: f64) {
        match self {
            Self::L2 => {
                let distance = self.distance(x, origin);
                if distance > eps {
                    let shrink = eps / distance;
                    for (x, o) in x.iter_mut().zip(origin) {
                        *x = (f64::from(*o) + f64::from(*x - *o) * shrink) as f32;
                    }
                }
            }
            Self::Linf => {
                let eps = eps as f32;
                for (x, o) in x.iter_mut().zip(origin) {
                    // Not `clamp`, which panics for an origin that is not a number.
                    *x = x.max(o - eps).min(o + eps);
                }
            }
        }
    }

    /// A random point of the ball around `origin`, clamped to `[0, 1]`.
    ///
    /// L2: uniform in the ball (normal direction, radius `eps u^(1/d)`). Linf: uniform in the cube.
    #[must_use]
    pub fn random_start(self, origin: &[f32], eps: f64, stream: &mut Stream) -> Vec<f32> {
        let mut x = origin.to_vec();
        match self {
            Self::L2 => {
                let direction = stream.normal(origin.len());
                let radius = eps * stream.uniform().powf(1.0 / origin.len() as f64);
                self.ascend(&mut x, &direction, radius, true);
            }
            Self::Linf => x.iter_mut().for_each(|x| *x += ((2.0 * stream.uniform() - 1.0) * eps) as f32),
        }
        self.project(&mut x, origin, eps);
        clamp(&mut x);
        x
    }
}

/// Clamps to `[0, 1]` and returns the share of values that had left it, in `0..=1`.
pub fn clamp(x: &mut [f32]) -> f32 {
    let mut clipped = 0_usize;
    for value in x.iter_mut() {
        if !(0.0..=1.0).contains(value) {
            clipped += 1;
            *value = value.clamp(0.0, 1.0);
        }
    }
    clipped as f32 / x.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::noise::Purpose;

    const NORMS: [Norm; 2] = [Norm::L2, Norm::Linf];

    proptest! {
        #[test]
        fn a_step_stays_in_the_ball_and_in_the_box(
            origin in prop::collection::vec(0.0_f32..=1.0, 48),
            gradient in prop::collection::vec(-5.0_f32..5.0, 48),
            eps in 0.01_f64..8.0,
            step in 0.001_f64..20.0,
            normalise: bool,
        ) {
            for norm in NORMS {
                let mut x = origin.clone();
                for _ in 0..3 {
                    norm.ascend(&mut x, &gradient, step, normalise);
                    norm.project(&mut x, &origin, eps);
                    prop_assert!(norm.distance(&x, &origin) <= eps + 1e-6);
                    clamp(&mut x);
                    prop_assert!(norm.distance(&x, &origin) <= eps + 1e-6);
                    prop_assert!(x.iter().all(|value| (0.0..=1.0).contains(value)));
                }
            }
        }

        #[test]
        fn projecting_twice_is_projecting_once(
            origin in prop::collection::vec(0.0_f32..=1.0, 12),
            mut x in prop::collection::vec(-3.0_f32..3.0, 12),
            eps in 0.01_f64..2.0,
        ) {
            for norm in NORMS {
                norm.project(&mut x, &origin, eps);
                let once = x.clone();
                norm.project(&mut x, &origin, eps);
                for (a, b) in x.iter().zip(&once) {
                    prop_assert!((a - b).abs() <= 1e-6);
                }
            }
        }
    }

    #[test]
    fn an_l2_step_has_the_length_of_the_step_size() {
        let mut x = vec![0.5; 4];
        Norm::L2.ascend(&mut x, &[3.0, 0.0, -4.0, 0.0], 0.5, true);
        assert!((Norm::L2.distance(&x, &[0.5; 4]) - 0.5).abs() < 1e-6);
        for (x, expected) in x.iter().zip([0.8, 0.5, 0.1, 0.5]) {
            assert!((x - expected).abs() < 1e-6);
        }
    }

    /// A black and a white picture, as people report them: no value that is not a number, and none outside the ball.
    #[test]
    fn pictures_at_the_ends_of_the_range_stay_in_the_ball_however_large_the_step() {
        for (norm, end, gradient) in [Norm::L2, Norm::Linf].into_iter().flat_map(|norm| {
            [0.0_f32, 1.0].into_iter().flat_map(move |end| {
                [[0.0_f32; 3], [1e-30, 0.0, -1e-30], [1e30, -1e30, 0.0]].map(|gradient| (norm, end, gradient))
            })
        }) {
            let origin = [end; 3];
            let mut x = origin;
            for _ in 0..3 {
                norm.ascend(&mut x, &gradient, 1000.0, true);
                norm.project(&mut x, &origin, 0.5);
                clamp(&mut x);
            }
            assert!(x.iter().all(|value| (0.0..=1.0).contains(value)), "{norm:?} {end} {gradient:?}: {x:?}");
            assert!(norm.distance(&x, &origin) <= 0.5 + 1e-6, "{norm:?} {end} {gradient:?}: {x:?}");
        }
    }

    #[test]
    fn a_zero_gradient_moves_nothing() {
        for norm in NORMS {
            let mut x = vec![0.5; 4];
            norm.ascend(&mut x, &[0.0; 4], 1.0, true);
            assert_eq!(x, [0.5; 4]);
        }
    }

    #[test]
    fn random_starts_lie_in_the_ball_and_are_repeatable() {
        for norm in NORMS {
            let start = || norm.random_start(&[0.5; 48], 0.3, &mut Stream::new(5, Purpose::RandomStart));
            let distance = norm.distance(&start(), &[0.5; 48]);
            assert!(distance > 0.05 && distance <= 0.3 + 1e-6, "{distance}");
            assert_eq!(start(), start());
        }
    }
}
