//! Noise levels, largest first, in `f64`.

use super::settings::{GenerateSettings, SamplerKind};
use super::time_steps::TimeSteps;
use crate::zoo::DiffusionManifest;

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

/// Levels of `ts` at which a consistency model is called, as `OpenAI`'s scripts write them (0,22,39 of 40): all but the closing
/// one, which stands for `sigma_min`.
#[must_use]
pub fn time_step_sigmas(diffusion: &DiffusionManifest, ts: &TimeSteps) -> Vec<f64> {
    grid_sigmas(diffusion, ts).take(ts.calls()).collect()
}

/// Levels of all `ts`.
fn grid_sigmas(diffusion: &DiffusionManifest, ts: &TimeSteps) -> impl Iterator<Item = f64> {
    ts.positions()
        .map(move |position| karras_sigma(diffusion, position).clamp(diffusion.sigma_min, diffusion.sigma_max))
}

/// The levels of a sampler, in the form that [`super::Plan`] wants: for [`SamplerKind::Multistep`] those at which the
/// network is called; for the others these and the level at which sampling ends.
///
/// The user's own levels come first, then the time steps, then [`default_sigmas`]. Sampling ends at 0, except that of
/// progressive distillation, which ends at `sigma_min`.
#[must_use]
pub fn sigmas_for(settings: &GenerateSettings, diffusion: &DiffusionManifest) -> Vec<f64> {
    let sampler = settings.sampler.resolve(diffusion.preconditioning);
    let (mut sigmas, closed) = match &settings.ts {
        _ if !settings.sigmas.is_empty() => (settings.sigmas.clone(), false),
        Some(ts) => (grid_sigmas(diffusion, ts).collect::<Vec<_>>(), ts.is_closed()),
        None => return default_sigmas(diffusion, sampler, settings.steps as usize),
    };
    match sampler {
        SamplerKind::Auto | SamplerKind::Multistep => sigmas.truncate(sigmas.len() - usize::from(closed)),
        SamplerKind::Progdist if closed => {}
        SamplerKind::Progdist => {
            let above = sigmas.iter().all(|sigma| *sigma > diffusion.sigma_min);
            sigmas.push(if above { diffusion.sigma_min } else { 0.0 });
        }
        SamplerKind::Heun | SamplerKind::Euler | SamplerKind::Dpm | SamplerKind::Ancestral => sigmas.push(0.0),
    }
    sigmas
}

/// The levels that `steps` steps of a sampler visit when the user names none.
///
/// Multistep: `sigma_max`; with two steps then the manifest's `two_step_sigma`; with more, equal distances in
/// `sigma^(1/rho)`. Progressive distillation: the Karras schedule of `steps + 1` points. Others: that of `steps` points
/// with a zero appended.
///
/// # Source
/// openai/consistency_models, `cm/karras_diffusion.py`: `karras_sample`, `sample_progdist`.
#[must_use]
pub fn default_sigmas(diffusion: &DiffusionManifest, sampler: SamplerKind, steps: usize) -> Vec<f64> {
    match (sampler, steps) {
        (SamplerKind::Auto | SamplerKind::Multistep, 2) => vec![diffusion.sigma_max, diffusion.two_step_sigma],
        (SamplerKind::Auto | SamplerKind::Multistep, _) => {
            (0..steps).map(|i| karras_sigma(diffusion, i as f64 / steps as f64)).collect()
        }
        (SamplerKind::Progdist, _) => {
            let mut sigmas = karras_sigmas(diffusion, steps + 1);
            sigmas.truncate(steps + 1);
            sigmas
        }
        (SamplerKind::Heun | SamplerKind::Euler | SamplerKind::Dpm | SamplerKind::Ancestral, _) => {
            karras_sigmas(diffusion, steps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::time_steps::TS_PRESETS;
    use crate::parameter::Choosable as _;
    use crate::zoo::PreconditioningName;

    const CM: DiffusionManifest =
        DiffusionManifest { two_step_sigma: 1.2, ..DiffusionManifest::new(PreconditioningName::Consistency) };

    fn settings(sampler: SamplerKind) -> GenerateSettings {
        GenerateSettings { sampler, ..Default::default() }
    }

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
        let second = [1.382_367_96, 1.912_843_62, 4.365_561_69, 3.519_698_83, 3.991_218_61, 5.248_503_23];
        for (preset, expected) in TS_PRESETS.iter().zip(second) {
            let sigmas = sigmas_for(&GenerateSettings { ts: Some(preset.time_steps()), ..Default::default() }, &CM);
            assert!(sigmas.len() == 2 && sigmas[0] <= 80.0, "{}: {sigmas:?}", preset.key);
            assert!((sigmas[1] - expected).abs() < 1e-6, "{}: {sigmas:?}", preset.key);
            assert_eq!(sigmas, time_step_sigmas(&CM, &preset.time_steps()));
        }
    }

    #[test]
    fn defaults_start_at_the_largest_level_and_have_the_wanted_number_of_steps() {
        assert_eq!(default_sigmas(&CM, SamplerKind::Multistep, 2)[1], 1.2);
        for sampler in SamplerKind::ALL.iter().copied() {
            for steps in 1..6_u32 {
                let sigmas = sigmas_for(&GenerateSettings { steps, ..settings(sampler) }, &CM);
                let multistep = matches!(sampler, SamplerKind::Auto | SamplerKind::Multistep);
                assert_eq!(sigmas.len(), steps as usize + usize::from(!multistep), "{sampler:?}");
                assert!(
                    (sigmas[0] - 80.0).abs() < 1e-9 && sigmas.is_sorted_by(|a, b| a > b),
                    "{sampler:?}: {sigmas:?}"
                );
            }
        }
    }

    #[test]
    fn every_sampler_ends_where_it_should() {
        let ends = |sigmas: &[f64], ts: Option<&str>| {
            let end = |sampler| {
                let ts = ts.map(|ts| ts.parse().unwrap());
                let found = sigmas_for(&GenerateSettings { sigmas: sigmas.to_vec(), ts, ..settings(sampler) }, &CM);
                (found.len(), *found.last().unwrap())
            };
            [end(SamplerKind::Multistep), end(SamplerKind::Heun), end(SamplerKind::Progdist)]
        };
        assert_eq!(ends(&[80.0, 1.2], None), [(2, 1.2), (3, 0.0), (3, 0.002)]);
        assert_eq!(ends(&[0.001], None), [(1, 0.001), (2, 0.0), (2, 0.0)]);
        let [multistep, heun, progdist] = ends(&[], Some("0,22,39/40"));
        assert_eq!((multistep.0, heun, progdist.0), (2, (4, 0.0), 3));
        assert!((progdist.1 - 0.002).abs() < 1e-12);
        assert_eq!(ends(&[], Some("0,22/40"))[2], (3, 0.002));
    }

    #[test]
    fn the_grid_of_all_time_steps_is_the_karras_schedule() {
        let heun = GenerateSettings { ts: Some(TimeSteps::all(12)), ..settings(SamplerKind::Heun) };
        for (found, expected) in sigmas_for(&heun, &CM).into_iter().zip(karras_sigmas(&CM, 12)) {
            assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
        }
    }
}
