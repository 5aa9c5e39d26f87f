//! Scalings around the raw network: `D(x, s) = c_out F(c_in x, t') + c_skip x`.

use burn::tensor::{Tensor, TensorData};

use crate::zoo::{DiffusionManifest, NoiseSchedule, PreconditioningName};

/// Coefficients at one noise level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// Weight of the input in the result.
    pub c_skip: f64,
    /// Weight of the network in the result.
    pub c_out: f64,
    /// Scaling of the network's input.
    pub c_in: f64,
    /// Time that the network sees.
    pub time: f32,
}

/// A model's formulas, with the noise levels of its time steps when it was trained on a finite number of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Preconditioning {
    diffusion: DiffusionManifest,
    /// Noise level of every time step, rising; empty when time is continuous.
    levels: Vec<f64>,
}

impl Preconditioning {
    /// Prepares the formulas that the manifest names.
    #[must_use]
    pub fn new(diffusion: &DiffusionManifest) -> Self {
        let levels = match diffusion.preconditioning {
            PreconditioningName::Consistency | PreconditioningName::Edm => Vec::new(),
            PreconditioningName::Discrete => discrete_levels(diffusion.noise_schedule, diffusion.diffusion_steps),
        };
        Self { diffusion: diffusion.clone(), levels }
    }

    /// What the manifest says.
    #[must_use]
    pub const fn diffusion(&self) -> &DiffusionManifest {
        &self.diffusion
    }

    /// Coefficients at noise level `sigma` (generator units, `[-1, 1]` pictures).
    ///
    /// # Source
    /// EDM: Karras et al. 2022, Table 1. Consistency: Song et al. 2023, appendix C, where `sigma_min` is the boundary
    /// at which `f(x, sigma_min) = x`. Time `time_scale / 4 ln(sigma + 1e-44)`: openai/consistency_models,
    /// `cm/karras_diffusion.py`, where the scale is 1000; NVlabs/edm has 1. Discrete: Karras et al. 2022, Table 1,
    /// column iDDPM, where time is the step whose noise level is nearest.
    #[must_use]
    pub fn at(&self, sigma: f64) -> Coefficients {
        let shifted = match self.diffusion.preconditioning {
            PreconditioningName::Edm => sigma,
            PreconditioningName::Consistency => sigma - self.diffusion.sigma_min,
            PreconditioningName::Discrete => {
                let time = nearest(&self.levels, sigma) as f32;
                return Coefficients { c_skip: 1.0, c_out: -sigma, c_in: 1.0 / sigma.hypot(1.0), time };
            }
        };
        let sd = self.diffusion.sigma_data;
        let norm = sigma.hypot(sd);
        Coefficients {
            c_skip: sd * sd / (shifted * shifted + sd * sd),
            c_out: shifted * sd / norm,
            c_in: 1.0 / norm,
            // In f32, as the network was trained.
            time: (0.25 * self.diffusion.time_scale) as f32 * (sigma as f32 + 1e-44).ln(),
        }
    }

    /// `D(x, sigma)` around a network of scaled pictures and their times.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]` in generator units, one noise level per sample; returns the same shape, not clamped.
    #[must_use]
    pub fn apply(&self, x: Tensor<4>, sigmas: &[f64], net: impl FnOnce(Tensor<4>, &[f32]) -> Tensor<4>) -> Tensor<4> {
        let device = x.device();
        let coefficients: Vec<_> = sigmas.iter().map(|sigma| self.at(*sigma)).collect();
        let column = |value: &dyn Fn(&Coefficients) -> f64| {
            let values: Vec<f32> = coefficients.iter().map(|c| value(c) as f32).collect();
            Tensor::<4>::from_data(TensorData::new(values, [sigmas.len(), 1, 1, 1]), &device)
        };
        let times: Vec<f32> = coefficients.iter().map(|c| c.time).collect();
        let raw = net(x.clone() * column(&|c| c.c_in), &times);
        raw * column(&|c| c.c_out) + x * column(&|c| c.c_skip)
    }
}

/// Noise level `sqrt((1 - a_t) / a_t)` of every time step, rising; `a_t` is the product of all `1 - beta` up to `t`.
///
/// # Source
/// openai/guided-diffusion, `gaussian_diffusion.py`: linear from 1e-4 to 0.02 times `1000 / steps`, or
/// `beta_t = 1 - f((t + 1) / steps) / f(t / steps)` with `f(u) = cos²(π/2 (u + 0.008) / 1.008)`, at most 0.999. Here
/// that bound holds for both, so that no number of steps makes a negative `a_t`.
fn discrete_levels(schedule: NoiseSchedule, steps: usize) -> Vec<f64> {
    let count = steps.max(1) as f64;
    let remaining = |u: f64| ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
    let beta = |t: f64| match schedule {
        NoiseSchedule::Linear => {
            let scale = 1000.0 / count;
            scale * (1e-4 + (0.02 - 1e-4) * t / (count - 1.0).max(1.0))
        }
        NoiseSchedule::Cosine => 1.0 - remaining((t + 1.0) / count) / remaining(t / count),
    };
    let mut kept = 1.0;
    let levels = (0..steps.max(1)).map(|t| {
        kept *= 1.0 - beta(t as f64).min(0.999);
        ((1.0 - kept) / kept).sqrt()
    });
    levels.collect()
}

/// Index of the level nearest to `sigma`.
fn nearest(levels: &[f64], sigma: f64) -> usize {
    let above = levels.partition_point(|level| *level < sigma);
    match (above.checked_sub(1), levels.get(above)) {
        (Some(below), Some(level)) if sigma - levels[below] > level - sigma => above,
        (Some(below), _) => below,
        (None, _) => above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(preconditioning: PreconditioningName, sigma: f64) -> Coefficients {
        Preconditioning::new(&DiffusionManifest::new(preconditioning)).at(sigma)
    }

    #[test]
    fn values_of_the_consistency_form() {
        let table = [
            (80.0, 3.906_292_7e-5, 0.499_977_73, 0.012_499_756, 1_095.506_7),
            (1.382_367_96, 0.115_986_91, 0.469_508_44, 0.680_265_63, 80.949_485),
            (0.5, 0.502_004, 0.352_139_18, std::f64::consts::SQRT_2, -173.286_795),
            (0.002, 1.0, 0.0, 1.999_984, -1_553.652_025),
        ];
        for (sigma, c_skip, c_out, c_in, time) in table {
            let c = at(PreconditioningName::Consistency, sigma);
            for (found, expected) in [(c.c_skip, c_skip), (c.c_out, c_out), (c.c_in, c_in), (f64::from(c.time), time)] {
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{sigma}: {c:?}");
            }
        }
    }

    #[test]
    fn values_of_the_edm_form() {
        let c = at(PreconditioningName::Edm, 0.5);
        assert!((c.c_skip - 0.5).abs() < 1e-12 && (c.c_out - 0.353_553_39).abs() < 1e-8);
    }

    #[test]
    fn a_time_scale_of_one_is_that_of_nvlabs() {
        let diffusion = DiffusionManifest { time_scale: 1.0, ..DiffusionManifest::new(PreconditioningName::Edm) };
        let time = Preconditioning::new(&diffusion).at(80.0).time;
        assert!((f64::from(time) - 80.0_f64.ln() / 4.0).abs() < 1e-6, "{time}");
    }

    #[test]
    fn values_of_the_discrete_form() {
        let c = at(PreconditioningName::Discrete, 0.5);
        assert!((c.c_skip, c.c_out) == (1.0, -0.5) && (c.c_in - 0.894_427_191).abs() < 1e-9, "{c:?}");
    }

    #[test]
    fn the_time_of_a_discrete_model_is_the_nearest_step() {
        // Computed with numpy from the formulas of guided-diffusion, nearest by argmin.
        let linear = [(1e-4, 0), (0.002, 0), (0.5, 144), (1.0, 258), (1.382_367_967, 322), (80.0, 930), (1e6, 999)];
        let cosine = [(1e-4, 0), (0.002, 0), (0.5, 289), (1.0, 495), (1.382_367_967, 597), (80.0, 991), (1e6, 999)];
        for (noise_schedule, table) in [(NoiseSchedule::Linear, linear), (NoiseSchedule::Cosine, cosine)] {
            let discrete = DiffusionManifest::new(PreconditioningName::Discrete);
            let preconditioning = Preconditioning::new(&DiffusionManifest { noise_schedule, ..discrete });
            for (sigma, step) in table {
                assert_eq!(preconditioning.at(sigma).time, step as f32, "{noise_schedule:?}, {sigma}");
            }
        }
    }

    #[test]
    fn levels_of_the_discrete_schedules() {
        // Computed with numpy from the formulas of guided-diffusion: first, middle and last level.
        for (schedule, steps, expected) in [
            (NoiseSchedule::Linear, 1000, [0.010_000_500_0, 3.442_967_112_5, 157.407_280_810]),
            (NoiseSchedule::Linear, 4000, [0.005_000_062_5, 3.420_377_331_9, 153.450_188_950]),
            (NoiseSchedule::Cosine, 1000, [0.006_425_412_8, 1.015_550_550_5, 20_291.169_61]),
        ] {
            let levels = discrete_levels(schedule, steps);
            assert!(levels.len() == steps && levels.is_sorted_by(|a, b| a < b));
            for (found, expected) in [levels[0], levels[steps / 2], levels[steps - 1]].into_iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 1e-7, "{schedule:?}, {steps}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn few_steps_have_finite_levels() {
        for schedule in [NoiseSchedule::Linear, NoiseSchedule::Cosine] {
            for steps in [0, 1, 2, 20] {
                let levels = discrete_levels(schedule, steps);
                assert!(levels.iter().all(|level| level.is_finite()), "{schedule:?}, {steps}");
            }
        }
    }
}
