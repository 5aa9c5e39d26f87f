//! Settings in words: what a dry run says, and what the summaries share.

use std::path::Path;

use crate::generator::settings::S_CHURN;
use crate::generator::{EditSettings, EditTask, GenerateSettings, Plan, SamplerKind};
use crate::parameter::{Choosable as _, Kind, Setting, Value, captions};
use crate::refiner::RefineSettings;
use crate::session::Settings;
use crate::units::counted;
use crate::worker::ComputeSettings;
use crate::zoo::{self, DiffusionManifest, Manifest, ManifestKind};

/// A line about a model: title, hash, and where it was found.
pub(super) fn describe_model(role: &str, reference: &str, manifest: &Manifest, path: Option<&Path>) -> String {
    let place = path.map_or_else(|| "bundled".to_owned(), |path| path.display().to_string());
    let hash = manifest.sha256.as_deref().unwrap_or("not in its manifest");
    let Manifest { title, channels, .. } = manifest;
    let [height, width] = manifest.size();
    let notes = zoo::notes(reference).into_iter().map(|note| format!("\n{:<11}assumed: {note}", ""));
    let notes = notes.collect::<Vec<_>>().concat();
    format!("{role:<11}{reference}: {title} ({channels}x{height}x{width}, {place})\n{:<11}SHA-256 {hash}{notes}", "")
}

/// Lines about `count` seeds, classes and sampling.
pub(super) fn describe_generation(settings: &GenerateSettings, count: usize, manifest: &Manifest) -> String {
    let end = settings.first_seed + count as u64;
    let labels = GenerateSettings { samples: count as u32, ..settings.clone() }.labels(manifest.classes.len());
    format!(
        "{:<11}{}..{end} ({})\n{:<11}{}\n{}",
        "seeds",
        settings.first_seed,
        counted(count, "picture"),
        "classes",
        describe_labels(&labels, &manifest.classes),
        describe_sampling(settings, diffusion(manifest)),
    )
}

/// Noise levels of a generator.
const fn diffusion(manifest: &Manifest) -> Option<&DiffusionManifest> {
    match &manifest.kind {
        ManifestKind::Generator(spec) => Some(&spec.diffusion),
        ManifestKind::Classifier(_) | ManifestKind::Extractor(_) => None,
    }
}

/// Calls of the network per picture.
fn calls(plan: &Plan) -> usize {
    let steps = plan.steps();
    match plan.sampler {
        // The step to level 0 has no second slope.
        SamplerKind::Heun => 2 * steps - usize::from(steps > 0 && plan.sigmas.last() == Some(&0.0)),
        SamplerKind::Dpm => 2 * steps,
        SamplerKind::Auto
        | SamplerKind::Multistep
        | SamplerKind::Euler
        | SamplerKind::Ancestral
        | SamplerKind::Progdist => steps,
    }
}

/// A line about the sampler, its noise levels and its churn.
pub(super) fn describe_sampling(settings: &GenerateSettings, diffusion: Option<&DiffusionManifest>) -> String {
    let plan = diffusion.and_then(|diffusion| Plan::new(settings, diffusion).ok());
    let called = plan.as_ref().map_or_else(String::new, |plan| format!(" ({})", counted(calls(plan), "call")));
    let sampler = match &plan {
        Some(plan) if settings.sampler == SamplerKind::Auto => format!("auto ({})", plan.sampler.option().key),
        _ => settings.sampler.option().key.to_owned(),
    };
    let levels = match &settings.ts {
        Some(ts) => format!("time steps {ts}"),
        None if settings.sigmas.is_empty() => {
            format!("n = {} per picture, the model's own noise levels", settings.steps)
        }
        None => format!("n = {} per picture, noise levels σ = {:?}", settings.steps, settings.sigmas),
    };
    let is_churn = |row: &Setting<GenerateSettings>| row.flag().starts_with(S_CHURN.flag);
    let churn = if settings.churn > 0.0 { captions(GenerateSettings::TABLE, settings, is_churn) } else { Vec::new() };
    let noise = churn.into_iter().map(|caption| format!(", {caption}")).collect::<Vec<_>>().concat();
    format!("{:<11}{sampler}, {levels}{called}{noise}", "sampling")
}

/// Lines about an edit.
pub(super) fn describe_edit(settings: &EditSettings, generate: &GenerateSettings, manifest: &Manifest) -> String {
    let about = settings.task.option().about;
    let how = captions(EditSettings::TABLE, settings, |row| !matches!(row.kind, Kind::Choice(..))).join(", ");
    let lines = format!("{:<11}{about}\n{:<11}{how}", "task", "editing");
    if settings.task != EditTask::Interpolate {
        return lines;
    }
    format!("{lines}, {} frames\n{}", generate.samples, describe_sampling(generate, diffusion(manifest)))
}

/// Every class that occurs and how often.
pub(super) fn describe_labels(labels: &[usize], classes: &[String]) -> String {
    if classes.is_empty() {
        return "none (the model knows none)".to_owned();
    }
    let count = |class: usize| labels.iter().filter(|label| **label == class).count();
    let of_class = |(class, name): (usize, &String)| match count(class) {
        0 => None,
        n => Some(format!("{name} ×{n}")),
    };
    classes.iter().enumerate().filter_map(of_class).collect::<Vec<_>>().join(", ")
}

/// A line for every choice, one for all numbers and switches, and one about the reach.
pub(super) fn describe_refinement(settings: &RefineSettings) -> String {
    let mut lines: Vec<String> =
        RefineSettings::TABLE.iter().filter_map(|row| describe_choice(row, settings)).collect();
    let is_short = |row: &Setting<RefineSettings>| matches!(row.kind, Kind::Number(_) | Kind::Switch(_));
    lines.push(format!("{:<11}{}", "refining", captions(RefineSettings::TABLE, settings, is_short).join(", ")));
    if let Some(reach) = describe_reach(settings) {
        lines.push(format!("{:<11}{reach}", "reach"));
    }
    lines.join("\n")
}

/// A line about what was chosen; none for other settings, and none where it has no effect or shows in its number.
fn describe_choice<S>(row: &Setting<S>, settings: &S) -> Option<String> {
    let (Kind::Choice(choice, options), Value::Choice(key)) = (row.kind, row.value(settings)) else { return None };
    let is_said = row.set_by.is_none() && row.idle(settings).is_none();
    let option = options().into_iter().find(|option| option.key == key && is_said)?;
    Some(format!("{:<11}{}: {}", choice.label.to_lowercase(), option.label, option.about))
}

/// Whether the edge of the ball can be reached; `None` without a ball.
fn describe_reach(settings: &RefineSettings) -> Option<String> {
    if !settings.rule.has_ball() {
        return None;
    }
    Some(match settings.reach_in_words() {
        Some((reach, true)) => {
            format!("{reach}: more iterations or larger steps use all of it")
        }
        Some((reach, false)) => reach,
        None => "steps follow the raw gradient, so nothing can be said before".to_owned(),
    })
}

/// A line about the device.
pub(super) fn describe_compute(settings: &Settings) -> String {
    let numbers = captions(ComputeSettings::TABLE, &settings.compute, |row| matches!(row.kind, Kind::Number(_)));
    format!("{:<11}{}, {}", "device", settings.compute.device, numbers.join(", "))
}

/// A line about the files of a dry run.
pub(super) fn would_write(out: &Path, files: &[&str]) -> String {
    format!("{:<11}{}: {}", "writes to", out.display(), files.join(", "))
}

/// A line about the files that are there now.
pub(super) fn written(out: &Path, files: &[&str]) -> String {
    format!("written to {}: {}", out.display(), files.join(", "))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::refiner::Target;
    use crate::refiner::presets::Preset;
    use crate::zoo::PreconditioningName;

    #[test]
    fn the_reach_is_neither_nothing_nor_all_by_rounding() {
        let reach = |step_size| {
            let settings =
                RefineSettings { step_size, eps: 3.0, iterations: NonZeroU32::new(10), ..Default::default() };
            describe_reach(&settings).unwrap()
        };
        assert!(reach(1e-5).starts_with("All steps together move by less than 0.1 % of the radius"));
        assert!(reach(0.01).contains("at most 3.3 % of the radius: more iterations"));
        assert!(reach(0.2999).contains("at most 99 % of the radius"));
        assert_eq!(reach(0.6), "All steps together are 2.0 × the radius");
    }

    #[test]
    fn labels_are_counted_by_name() {
        let classes = ["stop", "yield", "no entry"].map(str::to_owned);
        assert_eq!(describe_labels(&[0, 2, 0], &classes), "stop ×2, no entry ×1");
    }

    #[test]
    fn what_was_assumed_of_a_file_stands_below_it() {
        let folder = tempfile::tempdir().unwrap();
        let model = zoo::resolve("gtsrb12-cm", folder.path()).unwrap();
        let bytes = std::fs::read(&model.weights).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let path = folder.path().join("mine.safetensors");
        // No copy of the bundled file, and without a manifest.
        let other = [("epoch".to_owned(), "3".to_owned())].into_iter().collect();
        safetensors::serialize_to_file(file.tensors(), Some(other), &path).unwrap();
        let reference = path.to_string_lossy();
        let (manifest, weights) = zoo::find(&reference).unwrap();
        let text = describe_model("generator", &reference, &manifest, weights.as_deref());
        assert!(text.contains("\n           assumed: ") && text.contains("are numbered"), "{text}");
        let bundled = describe_model("generator", "gtsrb12-cm", &model.manifest, None);
        assert!(!bundled.contains("assumed"), "{bundled}");
    }

    #[test]
    fn a_plan_says_whether_the_edge_can_be_reached() {
        let far = describe_refinement(&RefineSettings::default());
        assert!(
            far.contains("norm       L2: ")
                && far.contains("ε = 3, α = 0.3, T = 15")
                && far.contains("reach      All steps together are 1.5 × the radius"),
            "{far}"
        );
        let short = RefineSettings { step_size: 0.1, ..Default::default() };
        assert!(describe_refinement(&short).contains("at most 50 % of the radius: more iterations"));
    }

    #[test]
    fn a_plan_without_a_ball_says_no_radius() {
        let preset = Preset::from_key("golan-2024-sgld").unwrap();
        let text = describe_refinement(&preset.apply(&RefineSettings::default()));
        assert!(text.contains("α = 0.2, σ = 0.0001, B = 100, T = 15"), "{text}");
        assert!(!text.contains("ε") && !text.contains("reach"), "{text}");
    }

    #[test]
    fn a_plan_says_what_a_picture_is_refined_towards() {
        let settings = RefineSettings { target: Target::PseudoLabel, debias: true, restarts: 3, ..Default::default() };
        let text = describe_refinement(&settings);
        assert!(
            text.contains("largest logit") && text.contains("refining   de-bias, ") && text.contains("R = 3"),
            "{text}"
        );
        let label = describe_refinement(&RefineSettings { debias: true, ..Default::default() });
        assert!(!label.contains("de-bias"), "de-biasing is about pseudo-labels: {label}");
    }

    #[test]
    fn sampling_says_what_decides_the_levels() {
        let [cm, edm] = [PreconditioningName::Consistency, PreconditioningName::Edm].map(DiffusionManifest::new);
        let ts = GenerateSettings { ts: "0,22,39/40".parse().ok(), ..Default::default() };
        let text = describe_sampling(&ts, Some(&cm));
        assert_eq!(text, "sampling   auto (multistep), time steps 0,22,39/40 (2 calls)");
        let text = describe_sampling(&ts, Some(&edm));
        assert_eq!(text, "sampling   auto (heun), time steps 0,22,39/40 (5 calls)", "the last step has one");
        let churn = GenerateSettings { sampler: SamplerKind::Heun, steps: 18, churn: 40.0, ..Default::default() };
        let text = describe_sampling(&churn, Some(&edm));
        assert!(
            text.contains("(35 calls)") && text.starts_with("sampling   heun, n = 18") && text.contains("S_churn = 40"),
            "{text}"
        );
    }
}
