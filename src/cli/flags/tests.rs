//! What each flag does, and what is refused.

use std::num::NonZeroU32;

use super::*;
use crate::cli::{Invocation, command, parse};
use crate::generator::SamplerKind;
use crate::refiner::{Keep, Objective, Rule, Target};
use crate::worker::DeviceChoice;
use crate::zoo::BUNDLED;

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

fn named<S: Default>(help: &str, table: &[Setting<S>]) {
    for row in table {
        let flag = row.flag();
        let (value, texts) = match row.kind {
            Kind::Number(parameter) => (parameter.symbol, vec![parameter.unit, parameter.about]),
            Kind::Switch(_) => ("true|false", vec![]),
            Kind::Choice(choice, _) if row.set_by.is_none() => ("NAME", vec![choice.about]),
            Kind::Choice(..) | Kind::Text(_) => ("", vec![]),
        };
        assert!(
            help.contains(&format!("--{flag} <{value}")) || help.contains(&format!("--{flag}[=<{value}")),
            "{flag}"
        );
        assert!(texts.iter().all(|text| help.contains(text)), "{flag}");
    }
}

#[test]
fn every_setting_has_a_flag_whose_help_names_symbol_and_unit() {
    let (refine, edit, generate) = (help("refine"), help("edit"), help("generate"));
    named(&refine, GenerateSettings::TABLE);
    named(&refine, RefineSettings::TABLE);
    named(&refine, ComputeSettings::TABLE);
    named(&edit, EditSettings::TABLE);
    assert!(refine.contains("default: 3; with L∞: 0.000001 to 1, default: 8/255]"), "{refine}");
    assert!(refine.contains("or endless: run until you pause or stop; default: 15]"));
    assert!(generate.contains("--seeds") && generate.contains("--batch") && !generate.contains("--radius <"));
}

#[test]
fn help_teaches_by_examples_and_lists_models_and_presets() {
    let refine = help("refine");
    assert!(refine.contains("lapidary refine --seeds 0..64 --iterations 20 --out out"));
    for bundled in &BUNDLED {
        let manifest = zoo::bundled_manifest(bundled);
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
    assert_eq!((all.refine.rule, all.refine.target, all.refine.keep), (Rule::Sgld, Target::PseudoLabel, Keep::Best));
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
fn numbers_are_typed_alike_in_every_flag() {
    let refine = |flags: &[&str]| settings(flags).map(|all| all.refine);
    let typed = refine(&["--norm", "linf", "--radius", "8/255", "--step-size", "25%"]).unwrap();
    assert_eq!((typed.eps, typed.step_size, typed.step_unit), (8.0 / 255.0, 0.25, StepUnit::Ratio));
    assert_eq!(refine(&["--step-size", "1.5*3/7"]).unwrap().step_size, 1.5 * 3.0 / 7.0);
    assert_eq!(refine(&["--iterations", "2*8"]).unwrap().iterations, NonZeroU32::new(16));
    assert_eq!(refine(&["--radius", "2x"]).unwrap().eps, 6.0);
    assert_eq!(settings(&["--memory", "auto"]).unwrap().compute.memory_mib, None);
    for bad in [["--radius", "8/0"], ["--radius", "8/255/"], ["--radius", "0.1y"], ["--iterations", "7/2"]] {
        let text = refine(&bad).unwrap_err().to_string();
        assert!(text.contains(" is ") && text.contains("but must be a "), "{text}");
    }
}

#[test]
fn another_norm_brings_its_own_lengths_and_says_so() {
    let options = |flags: &[&str]| match parse([&["lapidary", "refine"][..], flags].concat()).unwrap() {
        Invocation::Refine(options) => (options.settings.refine, options.notes.concat()),
        other => panic!("{other:?}"),
    };
    let (refine, notes) = options(&["--norm", "linf"]);
    assert_eq!((refine.eps, refine.step_size), (8.0 / 255.0, 2.0 / 255.0), "no L2 radius in L∞");
    assert!(notes.contains("--radius 8/255 --step-size 2/255"), "{notes}");
    let (refine, notes) = options(&["--norm", "linf", "--radius", "0.03", "--step-size", "0.1x"]);
    assert_eq!((refine.eps, refine.step_size), (0.03, 0.1));
    assert_eq!(notes, "", "everything was given");
    let (refine, notes) = options(&["--norm", "linf", "--no-normalise"]);
    assert_eq!((refine.eps, refine.step_size), (8.0 / 255.0, 0.3), "what a raw gradient is multiplied by is no length");
    assert!(notes.ends_with("--radius 8/255"), "{notes}");
    assert_eq!(options(&["--norm", "l2"]), (RefineSettings::default(), String::new()));
}

#[test]
fn a_command_must_end() {
    let text = settings(&["--iterations", "endless"]).unwrap_err().to_string();
    assert!(text.starts_with("Iterations is endless, but must be a whole number"), "{text}");
    let Invocation::Window { options } = parse(["lapidary", "--iterations", "endless"]).unwrap() else { panic!() };
    assert_eq!(options.settings.refine.iterations, None);
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
    let idle = notes(&["refine", "--debias", "--langevin-noise", "1", "--sampler", "euler", "--churn-max", "3"]);
    assert_eq!(
        idle,
        [
            "note: --churn-max has no effect with the sampler euler",
            "note: --debias has no effect without the target pseudo-label",
            "note: --langevin-noise has no effect without the rule sgld"
        ]
    );
    let stroke = notes(&["edit", "--task", "stroke", "--input", "a.png", "--patch", "4", "--add-noise"]);
    assert_eq!(stroke, ["note: --patch, --add-noise have no effect on the task stroke"]);
}

#[test]
fn what_makes_no_sense_is_refused_as_usage_in_one_sentence() {
    let cases: [&[&str]; 22] = [
        &["--radius", "0"],
        &["--radius", "NaN"],
        &["--radius", "-1"],
        &["--step-size", "-0.3"],
        &["--step-size", "x"],
        &["--radius", "1/0"],
        &["--iterations", "0"],
        &["--iterations", "1.5"],
        &["--batch", "0"],
        &["--seeds", "9..5"],
        &["--seeds", "0..20000000"],
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
