//! How one batch is sampled: the settings, made fit for a model.

use super::GenerateError;
use super::schedule::sigmas_for;
use super::settings::{GenerateSettings, SamplerKind};
use crate::zoo::{DiffusionManifest, PreconditioningName};

/// Noise that is added before a step of Heun's method or DPM-Solver-2.
///
/// # Source
/// Karras et al. 2022, Algorithm 2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// S_churn: how much over all steps; 0 for none.
    pub amount: f64,
    /// S_tmin: smallest level at which noise is added.
    pub min: f64,
    /// S_tmax: largest level at which noise is added.
    pub max: f64,
    /// S_noise: standard deviation of the noise, 1 for what the level asks for.
    pub noise: f64,
}

impl Churn {
    /// No noise at all.
    pub const NONE: Self = Self { amount: 0.0, min: 0.0, max: f64::INFINITY, noise: 1.0 };

    /// By which share the level `sigma` is raised in one of `steps` steps: `min(S_churn / n, sqrt(2) - 1)`.
    #[must_use]
    pub fn gamma(self, sigma: f64, steps: usize) -> f64 {
        if !(self.min..=self.max).contains(&sigma) {
            return 0.0;
        }
        (self.amount / steps.max(1) as f64).clamp(0.0, std::f64::consts::SQRT_2 - 1.0)
    }
}

/// How one batch is sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Which sampler.
    pub sampler: SamplerKind,
    /// Levels, falling: for [`SamplerKind::Multistep`] those at which the network is called, at least one; for the
    /// others also the level at which sampling ends, at least two in all.
    pub sigmas: Vec<f64>,
    /// Noise that Heun's method and DPM-Solver-2 add; the others ignore it.
    pub churn: Churn,
}

impl Plan {
    /// The plan that settings describe for a model.
    ///
    /// # Errors
    /// [`GenerateError::Sampler`] when the sampler does not fit the model.
    pub fn new(settings: &GenerateSettings, diffusion: &DiffusionManifest) -> Result<Self, GenerateError> {
        let sampler = settings.sampler.resolve(diffusion.preconditioning);
        if !sampler.fits(diffusion.preconditioning) {
            return Err(GenerateError::Sampler);
        }
        let GenerateSettings { churn, churn_min, churn_max, churn_noise, .. } = *settings;
        let churn = Churn { amount: churn, min: churn_min, max: churn_max, noise: churn_noise };
        Ok(Self { sampler, sigmas: sigmas_for(settings, diffusion), churn })
    }

    /// Multistep consistency sampling over `sigmas`; with one level, one-step sampling.
    #[must_use]
    pub const fn multistep(sigmas: Vec<f64>) -> Self {
        Self { sampler: SamplerKind::Multistep, sigmas, churn: Churn::NONE }
    }

    /// The shortest plan: one step from `sigma_max`, with the sampler that fits the model.
    #[must_use]
    pub fn one_step(diffusion: &DiffusionManifest) -> Self {
        let sampler = SamplerKind::Auto.resolve(diffusion.preconditioning);
        let sigmas = match diffusion.preconditioning {
            PreconditioningName::Consistency => vec![diffusion.sigma_max],
            PreconditioningName::Edm | PreconditioningName::Discrete => vec![diffusion.sigma_max, 0.0],
        };
        Self { sampler, sigmas, churn: Churn::NONE }
    }

    /// Number of steps.
    #[must_use]
    pub const fn steps(&self) -> usize {
        match self.sampler {
            SamplerKind::Auto | SamplerKind::Multistep => self.sigmas.len(),
            _ => self.sigmas.len().saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Choosable as _;

    const EDM: DiffusionManifest = DiffusionManifest::new(PreconditioningName::Edm);
    const CM: DiffusionManifest = DiffusionManifest::new(PreconditioningName::Consistency);

    #[test]
    fn churn_is_limited_and_stays_in_its_range() {
        let churn = Churn { amount: 40.0, min: 0.05, max: 50.0, noise: 1.003 };
        assert_eq!([churn.gamma(0.04, 256), churn.gamma(51.0, 256)], [0.0, 0.0]);
        assert_eq!([churn.gamma(0.05, 256), churn.gamma(50.0, 256)], [0.156_25, 0.156_25]);
        assert_eq!(churn.gamma(1.0, 18), std::f64::consts::SQRT_2 - 1.0);
        assert_eq!(Churn::NONE.gamma(1.0, 18), 0.0);
    }

    #[test]
    fn every_plan_has_the_steps_that_were_asked_for() {
        for sampler in SamplerKind::ALL.iter().copied() {
            let settings = GenerateSettings { sampler, steps: 5, ..Default::default() };
            assert_eq!(Plan::new(&settings, &CM).unwrap().steps(), 5, "{sampler:?}");
        }
        for diffusion in [&CM, &EDM] {
            assert_eq!(Plan::one_step(diffusion).steps(), 1);
        }
    }

    #[test]
    fn multistep_sampling_needs_a_consistency_model() {
        let settings = GenerateSettings { sampler: SamplerKind::Multistep, ..Default::default() };
        let message = Plan::new(&settings, &EDM).unwrap_err().to_string();
        assert!(message.contains("multistep") && message.contains("heun"), "{message}");
        assert_eq!(Plan::new(&GenerateSettings::default(), &EDM).unwrap().sampler, SamplerKind::Heun);
    }
}
