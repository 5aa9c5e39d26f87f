//! Scalings around the raw network: `D(x, s) = c_out F(c_in x, t') + c_skip x`.

use crate::checkpoint::{DiffusionManifest, PreconditioningName};

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

/// Coefficients at noise level `sigma` (generator units, `[-1, 1]` pictures).
///
/// # Source
/// EDM: Karras et al. 2022, Table 1. Consistency: Song et al. 2023, appendix C, where `sigma_min` is the boundary at which
/// `f(x, sigma_min) = x`. Time `250 ln(sigma + 1e-44)`: openai/consistency_models, `cm/karras_diffusion.py`.
#[must_use]
pub fn coefficients(diffusion: &DiffusionManifest, sigma: f64) -> Coefficients {
    let sd = diffusion.sigma_data;
    let norm = sigma.hypot(sd);
    let shifted = match diffusion.preconditioning {
        PreconditioningName::Edm => sigma,
        PreconditioningName::Consistency => sigma - diffusion.sigma_min,
    };
    Coefficients {
        c_skip: sd * sd / (shifted * shifted + sd * sd),
        c_out: shifted * sd / norm,
        c_in: 1.0 / norm,
        // In f32, as the network was trained.
        time: 250.0 * (sigma as f32 + 1e-44).ln(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diffusion(preconditioning: PreconditioningName) -> DiffusionManifest {
        DiffusionManifest {
            preconditioning,
            sigma_data: 0.5,
            sigma_min: 0.002,
            sigma_max: 80.0,
            rho: 7.0,
            two_step_sigma: 1.2,
        }
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
            let c = coefficients(&diffusion(PreconditioningName::Consistency), sigma);
            for (found, expected) in [(c.c_skip, c_skip), (c.c_out, c_out), (c.c_in, c_in), (f64::from(c.time), time)] {
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{sigma}: {c:?}");
            }
        }
    }

    #[test]
    fn values_of_the_edm_form() {
        let c = coefficients(&diffusion(PreconditioningName::Edm), 0.5);
        assert!((c.c_skip - 0.5).abs() < 1e-12 && (c.c_out - 0.353_553_39).abs() < 1e-8);
    }
}
