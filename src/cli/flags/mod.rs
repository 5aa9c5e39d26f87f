//! Flags of the settings, made from the settings' own descriptions, and settings made from flags.
//!
//! What is known of a setting (its name, symbol, unit, range, default, meaning) is typed once, in the settings types.

mod args;
mod numbers;
mod session;

use std::path::PathBuf;

use clap::ArgMatches;

use self::args::{ADD_NOISE, DEBIAS, NO_NORMALISE, PRESET, RANDOM_START, SEEDS, SIGMAS, TS, keys};
pub(super) use self::args::{
    CLASSES, CLASSIFIER, DEVICE, EARLY_STOP, GENERATOR, OF_GENERATION, OF_SAMPLING, choice, classifier_arg,
    compute_args, device_arg, edit_args, generate_args, generator_arg, plain_switch, refine_args, switch,
};
pub(super) use self::numbers::flag_of;
pub(super) use self::session::{Saved, read_session};
use super::CliError;
use crate::checkpoint::{self, CheckpointError, Manifest, ManifestKind, PreconditioningName};
use crate::generator::settings::{SAMPLES, SEED, STEPS};
use crate::generator::{Classes, EditTask, GenerateSettings, SamplerKind, TS_PRESETS, TimeSteps};
use crate::parameter::Choosable;
use crate::refiner::Rule;
use crate::refiner::presets::{PRESETS, Preset};
use crate::refiner::settings::{EPS, GRADIENT_DIVISOR, NOISE};
use crate::session::Settings;

/// Sampling steps of a model that needs many, unless told otherwise (Karras et al. 2022, CIFAR-10).
const MANY_STEPS: u32 = 18;

/// What the flags of a command are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Pictures that are generated, and perhaps refined.
    Generated,
    /// Pictures that are opened and refined.
    Opened,
    /// Pictures that are edited.
    Edited,
}

/// What was given for a flag; `None` also for commands without this flag.
pub(super) fn given<'a>(matches: &'a ArgMatches, flag: &str) -> Option<&'a str> {
    matches.try_get_one::<String>(flag).ok().flatten().map(String::as_str)
}

/// Whether a switch was given, and how.
pub(super) fn switched(matches: &ArgMatches, flag: &str) -> Option<bool> {
    matches.try_get_one::<bool>(flag).ok().flatten().copied()
}

/// Changes the settings by what was given. Classes belong to the classifier when pictures are opened to be refined, else to
/// the generator.
pub(super) fn apply(matches: &ArgMatches, settings: &mut Settings, about: Use) -> Result<(), CliError> {
    // First, because other flags override it.
    if let Some(key) = given(matches, PRESET) {
        let known: Vec<&str> = PRESETS.iter().map(|preset| preset.key).collect();
        let unknown = || CliError::Choice { flag: PRESET, found: key.to_owned(), known: known.join(", ") };
        settings.refine = Preset::from_key(key).ok_or_else(unknown)?.apply(&settings.refine);
    }
    for flag in numbers::GENERATE.iter().chain(&numbers::EDIT).chain(&numbers::REFINE).chain(&numbers::COMPUTE) {
        if let Some(text) = given(matches, flag.parameter.flag) {
            (flag.set)(settings, text)?;
        }
    }
    apply_generation(matches, settings, about)?;
    apply_refinement(matches, settings)?;
    if let Some(text) = given(matches, CLASSES) {
        let Settings { generate, refine, .. } = &*settings;
        let model = if about == Use::Opened { &refine.classifier } else { &generate.generator };
        settings.generate.classes = parse_classes(text, model)?;
    }
    if let Some(text) = given(matches, DEVICE) {
        settings.compute.device = text.parse()?;
    }
    settings.check()?;
    Ok(())
}

fn apply_generation(matches: &ArgMatches, settings: &mut Settings, about: Use) -> Result<(), CliError> {
    if let Some(text) = given(matches, GENERATOR) {
        text.clone_into(&mut settings.generate.generator);
    }
    if let Some(text) = given(matches, SEEDS) {
        (settings.generate.first_seed, settings.generate.samples) = parse_seeds(text)?;
    }
    if let Some(sampler) = chosen::<SamplerKind>(matches)? {
        settings.generate.sampler = sampler;
    }
    if let Some(text) = given(matches, SIGMAS) {
        settings.generate.sigmas = parse_sigmas(text)?;
        settings.generate.steps = settings.generate.sigmas.len() as u32;
        settings.generate.ts = None;
    }
    if let Some(task) = chosen::<EditTask>(matches)? {
        settings.edit.task = task;
    }
    if let Some(add_noise) = switched(matches, ADD_NOISE) {
        settings.edit.add_noise = add_noise;
    }
    if let Some(text) = given(matches, TS) {
        let ts = parse_ts(text)?;
        // An edit visits levels of its own; an interpolation is sampled like new pictures.
        if about == Use::Edited && settings.edit.task != EditTask::Interpolate {
            settings.edit.ts = Some(ts);
        } else {
            settings.generate.sigmas.clear();
            settings.generate.ts = Some(ts);
        }
    }
    Ok(())
}

fn apply_refinement(matches: &ArgMatches, settings: &mut Settings) -> Result<(), CliError> {
    let refine = &mut settings.refine;
    if let Some(text) = given(matches, CLASSIFIER) {
        text.clone_into(&mut refine.classifier);
    }
    refine.rule = chosen(matches)?.unwrap_or(refine.rule);
    refine.objective = chosen(matches)?.unwrap_or(refine.objective);
    refine.target = chosen(matches)?.unwrap_or(refine.target);
    refine.norm = chosen(matches)?.unwrap_or(refine.norm);
    refine.keep = chosen(matches)?.unwrap_or(refine.keep);
    refine.normalise = switched(matches, NO_NORMALISE).map_or(refine.normalise, |raw| !raw);
    refine.random_start = switched(matches, RANDOM_START).unwrap_or(refine.random_start);
    refine.debias = switched(matches, DEBIAS).unwrap_or(refine.debias);
    refine.early_stop = switched(matches, EARLY_STOP).unwrap_or(refine.early_stop);
    Ok(())
}

/// The value of a choice that was given.
pub(super) fn chosen<C: Choosable>(matches: &ArgMatches) -> Result<Option<C>, CliError> {
    let Some(text) = given(matches, C::CHOICE.flag) else { return Ok(None) };
    let unknown = || CliError::Choice { flag: C::CHOICE.flag, found: text.to_owned(), known: keys::<C>(", ") };
    C::from_key(text).map(Some).ok_or_else(unknown)
}

/// Takes more than one step for a model that needs many, when nothing is said; returns a note about it.
pub(super) fn default_steps(matches: &ArgMatches, settings: &mut GenerateSettings) -> Option<String> {
    if [STEPS.flag, TS, SIGMAS].iter().any(|flag| given(matches, flag).is_some()) {
        return None;
    }
    // What cannot be found is refused later.
    let (manifest, _) = checkpoint::find(&settings.generator).ok()?;
    let ManifestKind::Generator(spec) = &manifest.kind else { return None };
    if spec.diffusion.preconditioning == PreconditioningName::Consistency {
        return None;
    }
    settings.steps = MANY_STEPS;
    Some(format!(
        "note: {} is no consistency model, so {MANY_STEPS} sampling steps are taken: --steps, --ts or --sigmas say others",
        settings.generator
    ))
}

/// Notes about flags that were given but change nothing.
pub(super) fn without_effect(matches: &ArgMatches, settings: &Settings, edits: bool) -> Vec<String> {
    let note = |flags: &[&str], why: String| {
        let idle: Vec<String> =
            flags.iter().filter(|flag| given(matches, flag).is_some()).map(|flag| format!("--{flag}")).collect();
        let verb = if idle.len() == 1 { "has" } else { "have" };
        (!idle.is_empty()).then(|| format!("note: {} {verb} no effect {why}", idle.join(", ")))
    };
    let task = settings.edit.task;
    let rule = settings.refine.rule;
    let with_rule = || format!("with the rule {}", rule.option().key);
    let sampling: Vec<&str> = OF_SAMPLING.iter().copied().filter(|flag| *flag != TS).collect();
    [
        (edits && task != EditTask::Interpolate)
            .then(|| note(&sampling, format!("on the task {}, which has levels of its own", task.option().key))),
        (!rule.has_ball()).then(|| note(&[EPS.flag], format!("{}, which has no ball", with_rule()))),
        (rule != Rule::Sgld).then(|| note(&[NOISE.flag, GRADIENT_DIVISOR.flag], with_rule())),
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect()
}

/// First seed and number of seeds.
fn parse_seeds(text: &str) -> Result<(u64, u32), CliError> {
    let wrong = || CliError::Seeds { found: text.to_owned() };
    let seed = |part: &str| part.trim().parse::<u64>().map_err(|_no_number| wrong());
    let (first, end) = match text.split_once("..") {
        Some((first, end)) => (seed(first)?, seed(end)?),
        None => (seed(text)?, seed(text)?.saturating_add(1)),
    };
    let count = end.checked_sub(first).filter(|count| *count > 0).ok_or_else(wrong)?;
    SEED.check(first as f64)?;
    Ok((first, SAMPLES.check(count as f64)? as u32))
}

fn parse_sigmas(text: &str) -> Result<Vec<f64>, CliError> {
    let sigmas: Result<Vec<f64>, _> = text.split(',').map(|sigma| sigma.trim().parse()).collect();
    sigmas.map_err(|_no_number| CliError::Sigmas { found: text.to_owned() })
}

/// Indices into a grid, or the name of a published setting.
fn parse_ts(text: &str) -> Result<TimeSteps, CliError> {
    match TS_PRESETS.iter().find(|preset| preset.key == text) {
        Some(preset) => Ok(preset.time_steps()),
        None => Ok(text.parse()?),
    }
}

fn parse_classes(text: &str, model: &str) -> Result<Classes, CliError> {
    match text {
        "all" => return Ok(Classes::All),
        "random" => return Ok(Classes::Random),
        _ => {}
    }
    let (manifest, _) = checkpoint::find(model)?;
    let names = &manifest.classes;
    if names.is_empty() {
        return Err(CliError::NoClasses { model: model.to_owned() });
    }
    let class = |item: &str| {
        let item = item.trim();
        let by_name = names.iter().position(|name| name.to_lowercase() == item.to_lowercase());
        let by_number = || item.parse::<usize>().ok().filter(|number| *number < names.len());
        by_name.or_else(by_number).ok_or_else(|| CliError::Class {
            found: item.to_owned(),
            model: model.to_owned(),
            known: describe_classes(names),
        })
    };
    text.split(',').map(class).collect::<Result<_, _>>().map(Classes::Only)
}

/// Every class, or of a thousand the first few.
fn describe_classes(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let first: Vec<String> = names.iter().take(SHOWN).enumerate().map(|(i, name)| format!("{i} {name}")).collect();
    let rest = names.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

/// Finds a model's description and checks what it is for.
pub(super) fn find(reference: &str, generator: bool) -> Result<(Manifest, Option<PathBuf>), CheckpointError> {
    let (manifest, path) = checkpoint::find(reference)?;
    if matches!(manifest.kind, ManifestKind::Generator(_)) == generator {
        return Ok((manifest, path));
    }
    let (expected, found) = if generator { ("generator", "classifier") } else { ("classifier", "generator") };
    Err(CheckpointError::Role { name: manifest.name, expected, found })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::checkpoint::BUNDLED;
    use crate::cli::{Invocation, command, parse};
    use crate::generator::edit_settings::{PATCH, STROKE_START};
    use crate::generator::settings::{S_CHURN, S_MAX, S_MIN, S_NOISE};
    use crate::parameter::Choice;
    use crate::refiner::settings::{ITERATIONS, RESTARTS, STEP_SIZE};
    use crate::refiner::{Keep, Norm, Objective, StepUnit, Target};
    use crate::session::settings::{BATCH, MEMORY};
    use crate::worker::DeviceChoice;

    fn settings(flags: &[&str]) -> Result<Settings, CliError> {
        let args = ["lapidary", "refine"].into_iter().chain(flags.iter().copied());
        match parse(args)? {
            Invocation::Refine(options) => Ok(options.settings),
            other => panic!("{other:?}"),
        }
    }

    /// One line, so that wrapping at the terminal's width does not matter.
    fn help(name: &str) -> String {
        let mut command = command();
        let text = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn without_flags_the_settings_are_those_of_a_new_session() {
        assert_eq!(settings(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn every_parameter_has_a_flag_whose_help_names_symbol_and_unit() {
        let refine = help("refine");
        for parameter in [
            SAMPLES,
            SEED,
            STEPS,
            S_CHURN,
            S_MIN,
            S_MAX,
            S_NOISE,
            EPS,
            STEP_SIZE,
            ITERATIONS,
            NOISE,
            GRADIENT_DIVISOR,
            RESTARTS,
            BATCH,
            MEMORY,
        ] {
            assert!(refine.contains(&format!("--{} <{}>", parameter.flag, parameter.symbol)), "{}", parameter.flag);
            assert!(refine.contains(parameter.unit) && refine.contains(parameter.about), "{}", parameter.flag);
        }
        let choices: [Choice; 6] =
            [Objective::CHOICE, Norm::CHOICE, Rule::CHOICE, Target::CHOICE, Keep::CHOICE, SamplerKind::CHOICE];
        for choice in choices {
            assert!(refine.contains(&format!("--{} <NAME>", choice.flag)) && refine.contains(choice.about));
        }
        let generate = help("generate");
        assert!(generate.contains("--seeds") && generate.contains("--batch") && !generate.contains("--radius <"));
        let edit = help("edit");
        assert!(edit.contains("--task") && edit.contains(PATCH.about) && edit.contains(STROKE_START.about));
    }

    #[test]
    fn help_teaches_by_examples_and_lists_models_and_presets() {
        let refine = help("refine");
        assert!(refine.contains("lapidary refine --seeds 0..64 --iterations 20 --out out"));
        for bundled in &BUNDLED {
            let manifest = checkpoint::bundled_manifest(bundled);
            assert!(refine.contains(bundled.name) && refine.contains(&manifest.title), "{}", bundled.name);
        }
        for preset in PRESETS {
            assert!(refine.contains(preset.key) && refine.contains(preset.source), "{}", preset.key);
        }
        for preset in TS_PRESETS {
            assert!(refine.contains(preset.key) && refine.contains(preset.ts), "{}", preset.key);
        }
    }

    #[test]
    fn each_flag_reaches_its_setting() {
        let flags = "--seeds 5..9 --classes STOP,11 --sigmas 80,1.2 --objective ce-bce --norm linf --radius 0.03 \
                     --step-size 0.1x --iterations 7 --batch 2 --memory 512 --device cpu --no-normalise --random-start";
        let all = settings(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(all.generate.seeds(), [5, 6, 7, 8]);
        assert_eq!(all.generate.classes, Classes::Only(vec![6, 11]));
        assert_eq!((all.generate.sigmas.as_slice(), all.generate.steps), ([80.0, 1.2].as_slice(), 2));
        assert_eq!((all.refine.objective, all.refine.norm), (Objective::CeBce, Norm::Linf));
        assert_eq!((all.refine.eps, all.refine.step_size, all.refine.step_unit), (0.03, 0.1, StepUnit::Ratio));
        assert_eq!(all.refine.iterations.map(NonZeroU32::get), Some(7));
        assert_eq!((all.compute.batch, all.compute.memory_mib), (2, Some(512)));
        assert_eq!(all.compute.device, DeviceChoice::Cpu);
        assert!(!all.refine.normalise && all.refine.random_start);
        let one = settings(&["--seed", "3", "--samples", "2", "--steps", "4", "--classes", "random"]).unwrap();
        assert_eq!((one.generate.seeds(), one.generate.steps), (vec![3, 4], 4));
        assert_eq!(one.generate.classes, Classes::Random);
        assert_eq!(settings(&["--seeds", "17"]).unwrap().generate.seeds(), [17]);
    }

    #[test]
    fn samplers_rules_and_targets_are_chosen_by_name() {
        let flags = "--sampler heun --ts 0,22,39/40 --churn 40 --churn-min 0.05 --churn-max 50 --churn-noise 1.003 \
                     --rule sgld --target pseudo-label --debias --langevin-noise 0.001 --gradient-divisor 100 --keep best";
        let all = settings(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(all.generate.sampler, SamplerKind::Heun);
        assert_eq!(all.generate.ts.as_ref().map(ToString::to_string).as_deref(), Some("0,22,39/40"));
        let generate = &all.generate;
        assert_eq!(
            (generate.churn, generate.churn_min, generate.churn_max, generate.churn_noise),
            (40.0, 0.05, 50.0, 1.003)
        );
        assert_eq!(
            (all.refine.rule, all.refine.target, all.refine.keep),
            (Rule::Sgld, Target::PseudoLabel, Keep::Best)
        );
        assert_eq!((all.refine.noise, all.refine.gradient_divisor, all.refine.debias), (0.001, 100.0, true));
        assert_eq!(settings(&["--restarts", "4"]).unwrap().refine.restarts, 4);
        let published = settings(&["--ts", "imagenet64-ct"]).unwrap().generate.ts.unwrap();
        assert_eq!(published.to_string(), "0,106,200/201");
    }

    #[test]
    fn a_preset_comes_before_other_flags_and_keeps_the_classifier() {
        let flags = ["--radius", "2", "--preset", "bigroc-adm-g-256", "--classifier", "gtsrb12-robust"];
        let all = settings(&flags).unwrap();
        assert_eq!((all.refine.objective, all.refine.eps), (Objective::Ce, 2.0));
        assert_eq!(all.refine.iterations.map(NonZeroU32::get), Some(7));
        assert_eq!(all.refine.classifier, "gtsrb12-robust");
    }

    #[test]
    fn a_switch_can_be_turned_off_and_does_not_swallow_what_follows() {
        let mut all = Settings::default();
        all.refine.random_start = true;
        all.refine.normalise = false;
        let args = ["lapidary", "refine", "--random-start=false", "--no-normalise=false", "--debias", "--quiet"];
        let matches = command().try_get_matches_from(args).unwrap();
        apply(matches.subcommand_matches("refine").unwrap(), &mut all, Use::Generated).unwrap();
        assert!(!all.refine.random_start && all.refine.normalise && all.refine.debias);
        assert_eq!(settings(&["--random-start=maybe"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn time_steps_of_an_edit_are_its_own_except_for_an_interpolation() {
        let edit = |task: &str| {
            let args = ["lapidary", "edit", "--task", task, "--input", "a.png", "--ts", "0,5,39/40"];
            match parse(args).unwrap() {
                Invocation::Edit(options) => (options.run.settings.edit.ts, options.run.settings.generate.ts),
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(edit("colorize"), (Some(_), None)));
        assert!(matches!(edit("interpolate"), (None, Some(_))));
    }

    #[test]
    fn flags_that_change_nothing_are_noted() {
        let notes = |args: &[&str]| match parse([&["lapidary"][..], args].concat()).unwrap() {
            Invocation::Refine(options) => options.notes,
            Invocation::Edit(options) => options.run.notes,
            other => panic!("{other:?}"),
        };
        let sgld = notes(&["refine", "--rule", "sgld", "--radius", "2"]);
        assert_eq!(sgld, ["note: --radius has no effect with the rule sgld, which has no ball"]);
        let edit = ["edit", "--task", "colorize", "--input", "a.png", "--steps", "4", "--sampler", "heun"];
        let text = notes(&edit).concat();
        assert!(text.contains("--steps, --sampler have no effect on the task colorize"), "{text}");
        assert!(notes(&["refine", "--radius", "2", "--steps", "2"]).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_usage_in_one_sentence() {
        let cases: [&[&str]; 21] = [
            &["--radius", "0"],
            &["--radius", "NaN"],
            &["--radius", "-1"],
            &["--step-size", "-0.3"],
            &["--step-size", "x"],
            &["--iterations", "0"],
            &["--iterations", "1.5"],
            &["--batch", "0"],
            &["--seeds", "9..5"],
            &["--seeds", "0..300"],
            &["--seeds", "many"],
            &["--classes", "stopp"],
            &["--classes", "12"],
            &["--sigmas", "1.2,80"],
            &["--objective", "happiness"],
            &["--device", "tpu"],
            &["--ts", "0,22,39"],
            &["--preset", "mine"],
            &["--rule", "sgld", "--restarts", "4"],
            &["--sampler", "ancestral", "--churn", "40"],
            &["--memory", "1"],
        ];
        for flags in cases {
            let error = settings(flags).expect_err(&format!("{flags:?}"));
            assert_eq!(error.exit_code(), 2, "{flags:?}");
            let text = error.to_string();
            let sentence = text.contains(" is ") || text.contains(" are ");
            assert!(!text.contains('\n') && sentence, "{flags:?}: {text}");
        }
        let classes = settings(&["--classes", "stopp"]).unwrap_err().to_string();
        assert!(classes.contains("6 stop"), "{classes}");
    }

    #[test]
    fn a_missing_model_is_a_failure_and_a_missing_flag_is_usage() {
        assert_eq!(settings(&["--generator", "no/such.pt", "--classes", "stop"]).unwrap_err().exit_code(), 1);
        assert_eq!(settings(&["--polish"]).unwrap_err().exit_code(), 2);
        assert_eq!(settings(&["--seeds", "0..4", "--samples", "4"]).unwrap_err().exit_code(), 2);
        assert_eq!(settings(&["--ts", "0,22,39/40", "--steps", "4"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn of_a_thousand_classes_a_message_names_the_first() {
        let names: Vec<String> = (0..1000).map(|class| format!("kind {class}")).collect();
        assert!(describe_classes(&names).ends_with("19 kind 19 and 980 more"));
    }
}
