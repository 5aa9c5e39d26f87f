//! Settings of papers and programs, by name.
//!
//! A radius belongs to its resolution: an L2 radius of 1 is a change of 4.60 grey levels (root mean square over all values) at
//! 32×32, 2.30 at 64×64, 1.15 at 128×128, 0.66 at 224×224 and 0.58 at 256×256. All radii here are in `[0, 1]` pixels; those
//! that were given for `[-1, 1]` are halved.
//!
//! BIGRoC's notebooks set the ball's centre inside the first projection, to the picture *after* the first step; here the
//! centre is the generated picture. Figures are those that the notebooks saved: FID / Inception Score of 50,000 pictures.

use std::num::NonZeroU32;

use super::objective::Objective;
use super::rule::Rule;
use super::settings::{RefineSettings, StepUnit};
use super::target::Target;

/// Named settings with their source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Name in files and on the command line.
    pub key: &'static str,
    /// Name in the window.
    pub label: &'static str,
    /// One sentence about it, with its figures.
    pub about: &'static str,
    /// Where the numbers come from.
    pub source: &'static str,
    recipe: Recipe,
}

/// What a preset sets; everything else is as in a new session.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Recipe {
    /// The defaults.
    Demo,
    /// SGLD on the target logit.
    Langevin { step_size: f64, divisor: f64, noise: f64, iterations: u32 },
    /// L2 steps on CE; `path` is the length of all steps together in radii.
    Bigroc { eps: f64, path: f64, iterations: u32, target: Target },
    /// L2 steps of a fixed length on CE.
    Synthesis { eps: f64, step_size: f64, iterations: u32 },
}

impl Preset {
    /// The settings, with the classifier of `current`.
    #[must_use]
    pub fn apply(&self, current: &RefineSettings) -> RefineSettings {
        let defaults = RefineSettings { classifier: current.classifier.clone(), ..RefineSettings::default() };
        match self.recipe {
            Recipe::Demo => defaults,
            Recipe::Langevin { step_size, divisor, noise, iterations } => RefineSettings {
                rule: Rule::Sgld,
                step_size,
                gradient_divisor: divisor,
                noise,
                iterations: NonZeroU32::new(iterations),
                ..defaults
            },
            Recipe::Bigroc { eps, path, iterations, target } => RefineSettings {
                objective: Objective::Ce,
                target,
                debias: target == Target::PseudoLabel,
                eps,
                step_size: path / f64::from(iterations),
                step_unit: StepUnit::Ratio,
                iterations: NonZeroU32::new(iterations),
                ..defaults
            },
            Recipe::Synthesis { eps, step_size, iterations } => RefineSettings {
                objective: Objective::Ce,
                eps,
                step_size,
                iterations: NonZeroU32::new(iterations),
                ..defaults
            },
        }
    }

    /// Finds a preset by its key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.key == key)
    }

    /// Text of a tooltip: the sentence and the source.
    #[must_use]
    pub fn tooltip(&self) -> String {
        format!("{}\nSource: {}", self.about, self.source)
    }
}

/// BIGRoC with the generator's labels, 7 steps of 1.5 / 7 radii.
const fn bigroc(key: &'static str, label: &'static str, eps: f64, about: &'static str) -> Preset {
    const SOURCE: &str = "saved notebooks of github royg27/BIGRoC (Ganz & Elad, TMLR)";
    let recipe = Recipe::Bigroc { eps, path: 1.5, iterations: 7, target: Target::Label };
    Preset { key, label, about, source: SOURCE, recipe }
}

/// BIGRoC for generators without classes, 30 steps of 1 / 30 radii.
const fn bigroc_unconditional(key: &'static str, label: &'static str, eps: f64, about: &'static str) -> Preset {
    let recipe = Recipe::Bigroc { eps, path: 1.0, iterations: 30, target: Target::PseudoLabel };
    Preset { recipe, ..bigroc(key, label, eps, about) }
}

/// Santurkar et al. 2019: eps, step size, iterations.
const fn synthesis(
    key: &'static str,
    label: &'static str,
    (eps, step_size, iterations): (f64, f64, u32),
    about: &'static str,
    source: &'static str,
) -> Preset {
    Preset { key, label, about, source, recipe: Recipe::Synthesis { eps, step_size, iterations } }
}

/// A value that nobody could check against the original notebook.
const SECOND_HAND: &str = "second-hand: scripts that copy generation.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)";

/// All presets, in the order in which they are offered.
pub const PRESETS: &[Preset] = &[
    Preset {
        key: "demo",
        label: "Demo",
        about: "Target logit, L2 radius 3, 15 steps of 0.3: the best of those measured for the bundled models (Fréchet distance 2.71 → 2.05)",
        source: "models/README.md",
        recipe: Recipe::Demo,
    },
    Preset {
        key: "golan-2024-sgld",
        label: "Golan 2024 release (SGLD)",
        about: "Target logit, 15 Langevin steps of 0.2 / 100 × gradient with noise 0.0001, clamped once at the end; the script's gradient is that of a mean over 100 pictures, so where gradients are small, as with the demo's classifier, a picture hardly moves",
        source: "boost.py of github Shelley-Golan/Boosting-via-Joint-Model (Golan, Ganz, Elad 2024, arXiv 2405.16260)",
        recipe: Recipe::Langevin { step_size: 0.2, divisor: 100.0, noise: 1e-4, iterations: 15 },
    },
    bigroc(
        "bigroc-adm-g-128",
        "BIGRoC ADM-G 128",
        1.5,
        "CE, L2 radius 1.5, 7 steps: FID / IS 2.974 / 141.37 → 2.534 / 169.73 with the generator's labels, 2.775 / 150.43 with pseudo-labels",
    ),
    bigroc(
        "bigroc-biggan-deep-128",
        "BIGRoC BigGAN-deep 128",
        5.0,
        "CE, L2 radius 5, 7 steps: FID / IS 6.022 / 145.83 → 5.708 / 226.17 with the generator's labels, 5.696 / 176.42 with pseudo-labels",
    ),
    bigroc(
        "bigroc-adm-g-256",
        "BIGRoC ADM-G 256",
        3.0,
        "CE, L2 radius 3, 7 steps: FID / IS 4.587 / 186.70 → 3.985 / 259.07 with the generator's labels, 4.072 / 239.62 with pseudo-labels",
    ),
    bigroc(
        "bigroc-adm-g-u-256",
        "BIGRoC ADM-G+U 256",
        1.5,
        "CE, L2 radius 1.5, 7 steps: FID / IS 3.943 / 215.84 → 3.628 / 260.02 with the generator's labels; FID 3.689 with pseudo-labels",
    ),
    bigroc(
        "bigroc-adm-g-u-256-radius-1",
        "BIGRoC ADM-G+U 256, radius 1",
        1.0,
        "CE, L2 radius 1, 7 steps: FID / IS 3.943 / 215.84 → 3.659 / 246.45 with the generator's labels",
    ),
    bigroc(
        "bigroc-biggan-deep-256",
        "BIGRoC BigGAN-deep 256",
        1.0,
        "CE, L2 radius 1, 7 steps: FID / IS 7.034 / 202.65 → 6.844 / 228.23 with the generator's labels, 6.929 / 221.78 with pseudo-labels",
    ),
    bigroc(
        "bigroc-sn-resnetgan-128",
        "BIGRoC SN-ResNetGAN 128",
        15.0,
        "CE, L2 radius 15, 7 steps: FID / IS 29.298 / 44.68 after refinement; the figures before are not in the notebook",
    ),
    bigroc_unconditional(
        "bigroc-cifar10-2.5",
        "BIGRoC CIFAR-10 unconditional, radius 2.5",
        2.5,
        "CE, de-biased pseudo-labels, L2 radius 5 on [-1,1] = 2.5 on [0,1], 30 steps: FID about 22.5 → 16.2 (WGAN-GP), 17.2 → 13.2 (SNGAN)",
    ),
    bigroc_unconditional(
        "bigroc-cifar10-1.5",
        "BIGRoC CIFAR-10 unconditional, radius 1.5",
        1.5,
        "CE, de-biased pseudo-labels, L2 radius 3 on [-1,1] = 1.5 on [0,1], 30 steps: FID 15.1 → 10.8 (SSGAN), 15.4 → 11.3 (InfoMaxGAN)",
    ),
    bigroc(
        "bigroc-cgan-pd",
        "BIGRoC cGAN-PD CIFAR-10",
        1.5,
        "CE, L2 radius 3 on [-1,1] = 1.5 on [0,1], 7 steps: FID / IS 11.1 / 8.33 → 8.5 / 8.77",
    ),
    bigroc(
        "bigroc-sn-resnetgan-cifar10",
        "BIGRoC SN-ResNetGAN CIFAR-10",
        1.8,
        "CE, L2 radius 1.8, 7 steps: Inception Score 8.424 → 9.334 (torch-fidelity); the step is that of the other notebooks",
    ),
    synthesis(
        "santurkar-synthesis",
        "Santurkar synthesis",
        (40.0, 1.0, 60),
        "CE, L2 radius 40, 60 steps of 1: class-conditional generation at 224×224 with a robust ImageNet classifier",
        SECOND_HAND,
    ),
    synthesis(
        "santurkar-synthesis-cifar10",
        "Santurkar synthesis CIFAR-10",
        (30.0, 0.5, 60),
        "CE, L2 radius 30, 60 steps of 0.5: generation at 32×32",
        SECOND_HAND,
    ),
    synthesis(
        "santurkar-inpainting",
        "Santurkar inpainting",
        (21.6, 0.1, 720),
        "CE, L2 radius 21.6, 720 steps of 0.1; the notebook's extra L2 term, which holds what lies outside of the mask, is not part of it",
        "inpainting.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)",
    ),
    synthesis(
        "santurkar-image-to-image",
        "Santurkar image-to-image",
        (80.0, 0.5, 200),
        "CE, L2 radius 80, 200 steps of 0.5: from one class to another",
        "image_to_image_translation.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)",
    ),
    synthesis(
        "santurkar-sketch-to-image",
        "Santurkar sketch-to-image",
        (40.0, 1.0, 60),
        "CE, L2 radius 40, 60 steps of 1: from a sketch to a picture of its class",
        "sketch_to_image.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)",
    ),
    synthesis(
        "santurkar-super-resolution-cifar10",
        "Santurkar super-resolution CIFAR-10",
        (15.0, 1.0, 50),
        "CE, L2 radius 15, 50 steps of 1, from an enlarged CIFAR-10 picture",
        "superresolution.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)",
    ),
    synthesis(
        "santurkar-super-resolution-imagenet",
        "Santurkar super-resolution Restricted ImageNet",
        (8.0, 1.0, 40),
        "CE, L2 radius 8, 40 steps of 1, from an enlarged picture of Restricted ImageNet",
        "superresolution.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)",
    ),
    synthesis(
        "santurkar-paint-with-features",
        "Santurkar paint with features",
        (70.0, 1.0, 140),
        "CE, L2 radius 70, 140 steps of 1, here over the whole picture",
        "paint_with_features.ipynb of MadryLab/robustness_applications (Santurkar et al. 2019, arXiv 1906.09453)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(key: &str) -> RefineSettings {
        Preset::from_key(key).unwrap().apply(&RefineSettings::default())
    }

    #[test]
    fn every_preset_is_possible_and_keeps_the_classifier() {
        let current = RefineSettings { classifier: "mine".to_owned(), restarts: 8, eps: 0.1, ..Default::default() };
        for (place, preset) in PRESETS.iter().enumerate() {
            let settings = preset.apply(&current);
            assert_eq!(settings.check(), Ok(()), "{}", preset.key);
            assert_eq!((settings.classifier.as_str(), settings.restarts), ("mine", 1), "{}", preset.key);
            assert!(settings.iterations.is_some(), "{}", preset.key);
            for other in &PRESETS[..place] {
                assert!(preset.key != other.key && preset.label != other.label, "{} twice", preset.key);
            }
        }
    }

    #[test]
    fn the_demo_is_what_a_new_session_has() {
        assert_eq!(settings_of("demo"), RefineSettings::default());
    }

    #[test]
    fn the_released_script_moves_a_picture_by_a_hundredth_of_its_step() {
        let settings = settings_of("golan-2024-sgld");
        assert_eq!((settings.rule, settings.objective), (Rule::Sgld, Objective::TargetLogit));
        assert!((settings.step_length() / settings.gradient_divisor - 0.002).abs() < 1e-12);
    }

    #[test]
    fn bigrocs_steps_are_one_and_a_half_radii_long_together() {
        for (key, eps, path) in
            [("bigroc-adm-g-128", 1.5, 1.5), ("bigroc-cgan-pd", 1.5, 1.5), ("bigroc-cifar10-2.5", 2.5, 1.0)]
        {
            let settings = settings_of(key);
            assert_eq!(settings.eps, eps);
            assert!((settings.reach().unwrap() - path).abs() < 1e-12, "{key}: {:?}", settings.reach());
        }
    }
}
