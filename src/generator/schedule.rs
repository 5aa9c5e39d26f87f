//! Noise levels, largest first, in `f64`.

use crate::checkpoint::{DiffusionManifest, PreconditioningName};

/// Level at position `0..=1` of the Karras schedule: 0 is `sigma_max`, 1 is `sigma_min`.
///
/// # Source
/// Karras et al. 2022, equation 5.
#[must_use]
pub fn karras_sigma(diffusion: &DiffusionManifest, position: f64) -> f64 {
    let inverse = 1.0 / diffusion.rho;
    let (max, min) = (diffusion.sigma_max.powf(inverse), diffusion.sigma_min.powf(inverse));
    (max + position * (min - max)).powf(diffusion.rho)
}

/// `n` levels from `sigma_max` to `sigma_min` and a zero.
#[must_use]
pub fn karras_sigmas(diffusion: &DiffusionManifest, n: usize) -> Vec<f64> {
    let last = n.saturating_sub(1).max(1) as f64;
    (0..n).map(|i| karras_sigma(diffusion, i as f64 / last)).chain([0.0]).collect()
}

/// Levels of multistep sampling from indices `ts` into a grid of `steps` points, as OpenAI's scripts write them
/// (`ts` 0,22,39 of 40); the closing index stands for `sigma_min` and is left out.
#[must_use]
pub fn multistep_sigmas(diffusion: &DiffusionManifest, ts: &[usize], steps: usize) -> Vec<f64> {
    let last = steps.saturating_sub(1).max(1) as f64;
    let open = ts.len().saturating_sub(1);
    ts[..open]
        .iter()
        .map(|t| karras_sigma(diffusion, *t as f64 / last).clamp(diffusion.sigma_min, diffusion.sigma_max))
        .collect()
}

/// The levels that `steps` sampling steps visit when the user names none.
///
/// Consistency models: `sigma_max`; with two steps then the manifest's `two_step_sigma`; with more, equal distances in
/// `sigma^(1/rho)`. EDM models: the Karras schedule with a zero appended.
#[must_use]
pub fn default_sigmas(diffusion: &DiffusionManifest, steps: usize) -> Vec<f64> {
    match (diffusion.preconditioning, steps) {
        (PreconditioningName::Edm, _) => karras_sigmas(diffusion, steps),
        (PreconditioningName::Consistency, 2) => vec![diffusion.sigma_max, diffusion.two_step_sigma],
        (PreconditioningName::Consistency, _) => {
            (0..steps).map(|i| karras_sigma(diffusion, i as f64 / steps as f64)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CM: DiffusionManifest = DiffusionManifest {
        preconditioning: PreconditioningName::Consistency,
        sigma_data: 0.5,
        sigma_min: 0.002,
        sigma_max: 80.0,
        rho: 7.0,
        two_step_sigma: 1.2,
    };

    #[test]
    fn schedules_fall_and_have_exact_ends() {
        let sigmas = karras_sigmas(&CM, 40);
        assert!(sigmas.is_sorted_by(|a, b| a > b));
        assert!((sigmas[0] - 80.0).abs() < 1e-9 && (sigmas[39] - 0.002).abs() < 1e-12);
        assert_eq!(sigmas[40], 0.0);
    }

    #[test]
    fn published_two_step_settings_have_their_levels() {
        // Song et al. 2023 / openai scripts: CD 0,22,39 of 40 and CT 0,106,200 of 201.
        assert!((multistep_sigmas(&CM, &[0, 22, 39], 40)[1] - 1.382_367_96).abs() < 1e-6);
        assert!((multistep_sigmas(&CM, &[0, 106, 200], 201)[1] - 1.912_843_62).abs() < 1e-6);
    }

    #[test]
    fn defaults_start_at_the_largest_level() {
        assert_eq!(default_sigmas(&CM, 1).len(), 1);
        assert_eq!(default_sigmas(&CM, 2)[1], 1.2);
        for steps in 1..6 {
            let sigmas = default_sigmas(&CM, steps);
            assert!(sigmas.len() == steps && (sigmas[0] - 80.0).abs() < 1e-9 && sigmas.is_sorted_by(|a, b| a > b));
        }
    }
}
