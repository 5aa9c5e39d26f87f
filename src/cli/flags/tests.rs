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
    assert!(!refine.contains("lapidary edit --task"), "an example belongs to its command");
    assert!(refine.contains("Start with the defaults") && help("edit").contains("lapidary edit --task"));
    assert!(help("inspect").contains("is used with `lapidary generate --generator FILE`"));
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
fn seeds_are_typed_in_any_common_way() {
    let seeds = |text: &str| settings(&[&format!("--seeds={text}")]).map(|all| all.generate.seeds());
    for text in ["0..4", "0..=3", "..4", "0-3", "0,1,2,3", " 0 .. 4 "] {
        assert_eq!(seeds(text).unwrap(), [0, 1, 2, 3], "{text}");
    }
    assert_eq!((seeds("7").unwrap(), seeds("7-7").unwrap()), (vec![7], vec![7]));
    let apart = seeds("1,5,9").unwrap_err().to_string();
    assert!(apart.contains("must follow each other") && apart.contains("a run"), "{apart}");
    for text in ["3..", "4-2", "2,1", "-3", "a..b", "..", "0..=18446744073709551615"] {
        assert_eq!(seeds(text).unwrap_err().exit_code(), 2, "{text}");
    }
}

#[test]
fn switches_devices_and_names_are_typed_as_people_type_them() {
    let refine = |flags: &[&str]| settings(flags).unwrap().refine;
    for (typed, on) in [("no", false), ("off", false), ("0", false), ("False", false), ("yes", true), ("ON", true)] {
        assert_eq!(refine(&[&format!("--random-start={typed}")]).random_start, on, "{typed}");
    }
    assert_eq!(settings(&["--device", "CPU"]).unwrap().compute.device, DeviceChoice::Cpu);
    assert_eq!(settings(&["--device", "GPU:RTX"]).unwrap().compute.device, DeviceChoice::Named("RTX".to_owned()));
    assert_eq!((refine(&["--norm", "Linf"]).norm, refine(&["--norm", "L∞"]).norm), (Norm::Linf, Norm::Linf));
    assert_eq!(refine(&["--objective", "CE"]).objective, Objective::Ce);
}

#[test]
fn an_example_fits_the_norm_and_a_comma_is_named() {
    let text = settings(&["--norm", "linf", "--radius", "many"]).unwrap_err().to_string();
    assert!(text.ends_with("a number from 0.000001 to 1; give a value such as 8/255"), "{text}");
    let text = settings(&["--radius", "0,03"]).unwrap_err().to_string();
    assert!(text.starts_with("Radius is \"0,03\", with a comma instead of a point, but"), "{text}");
}

#[test]
fn pictures_and_a_session_need_no_flag() {
    let folder = tempfile::tempdir().unwrap();
    let refine = |args: &[&str]| match parse([&["lapidary", "refine"][..], args].concat()) {
        Ok(Invocation::Refine(options)) => options,
        other => panic!("{other:?}"),
    };
    let flag = refine(&["--input", "a.png", "b.png"]);
    assert_eq!(refine(&["a.png", "b.png"]), flag);
    let session = folder.path().join("radius0.5");
    let mut saved = Settings::default();
    saved.refine.eps = 0.5;
    let provenance = crate::session::Provenance::new();
    let trace = crate::trace::Trace::default();
    let document = crate::session::document::Document::new(&saved, &provenance, None, &trace, None);
    std::fs::write(&session, document.to_json()).unwrap();
    let session = session.to_string_lossy();
    assert_eq!(refine(&[&session]), refine(&["--session", &session]));
    assert_eq!(refine(&[&session]).settings.refine.eps, 0.5);
    for wrong in
        [&["a.png", "--input", "b.png"][..], &["a.png", "--seeds", "0..4"], &["--input", "a.png", "--steps", "2"]]
    {
        assert_eq!(parse([&["lapidary", "refine"][..], wrong].concat()).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn what_clap_refuses_comes_with_what_to_do() {
    let said = |args: &[&str]| {
        let error = parse([&["lapidary"][..], args].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{args:?}");
        error.to_string()
    };
    for (args, found, advice) in [
        (&["refine", "--polish"][..], "--polish is no flag", "`lapidary refine --help`"),
        (&["refine", "--radios", "3"], "--radios is no flag", "did you mean --radius?"),
        (&["refine", "--seeds", "0..4", "--samples", "4"], "they exclude each other", "leave one of them out"),
        (&["refine", "--radius", "1", "--radius", "2"], "more than once", "give it once"),
        (&["refine", "--random-start=maybe"], "is \"maybe\"", "`lapidary refine --help`"),
        (&["refine", "--radius"], "without a value", "give one"),
        (&["inspect"], "<FILE>", "is missing: give it"),
        (&["inspect", "a", "b"], "\"b\" is one more", "leave it out"),
        (&["help", "polish"], "\"polish\" is no command", "`lapidary"),
        (&["bench", "--generator", "a.pt"], "--classifier", "name both"),
        (&["--radius", "2", "refine"], "flags stand before", "write the command first"),
    ] {
        let text = said(args);
        assert!(text.contains(found) && text.contains(advice) && !text.contains('\n'), "{args:?}: {text}");
    }
    assert_eq!(parse(["lapidary", "help", "refine"]).unwrap_err().exit_code(), 0);
    assert_eq!(parse(["lapidary", "--version"]).unwrap_err().exit_code(), 0);
}

#[test]
fn classes_are_compared_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let model = |name: &str, classes: &[&str]| {
        let bundled = BUNDLED.iter().find(|bundled| bundled.name == name).unwrap();
        let mut manifest = zoo::bundled_manifest(bundled);
        manifest.classes = classes.iter().map(|class| (*class).to_owned()).collect();
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, toml::to_string(&manifest).unwrap()).unwrap();
        path.to_string_lossy().into_owned()
    };
    let pets = model("gtsrb12-joint", &["cat", "dog"]);
    let error = settings(&["--classifier", &pets]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("2 classes (cat, dog)"), "{error}");
    assert!(settings(&["--classifier", &pets, "--target", "pseudo-label"]).is_ok());
    assert!(settings(&["--classifier", &pets, "--input", "a.png"]).is_ok(), "the classifier says what these are");
    let without = model("gtsrb12-cm", &[]);
    match parse(["lapidary", "refine", "--generator", &without]).unwrap() {
        Invocation::Refine(options) => {
            assert_eq!(options.settings.refine.target, Target::PseudoLabel);
            assert!(options.notes.concat().contains("the generator knows no classes"), "{:?}", options.notes);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn shapes_are_compared_before_anything_is_made() {
    let joint = zoo::bundled_manifest(BUNDLED.iter().find(|bundled| bundled.name == "gtsrb12-joint").unwrap());
    assert!(check_shape(&joint, [3, 32, 64]).is_ok());
    let text = check_shape(&joint, [3, 33, 33]).unwrap_err().to_string();
    assert!(text.contains("33×33") && text.ends_with("multiples of 4"), "{text}");
    assert!(check_shape(&joint, [1, 32, 32]).unwrap_err().to_string().contains("1 channel,"));
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
fn seeds_of_pictures_are_refused_for_frames() {
    let edit = |task: &str, flags: &[&str]| {
        parse([&["lapidary", "edit", "--task", task, "--input", "a.png"][..], flags].concat())
    };
    for flags in [["--seeds", "3..5"], ["--seed", "3"]] {
        let error = edit("interpolate", &flags).unwrap_err();
        let (text, start) = (error.to_string(), format!("{} is {:?}, but", flags[0], flags[1]));
        assert_eq!(error.exit_code(), 2, "{text}");
        assert!(text.starts_with(&start) && text.contains("--seed-from and --seed-to"), "{text}");
        assert!(edit("colorize", &flags).is_ok(), "{flags:?}");
    }
    assert!(edit("interpolate", &["--seed-from", "3", "--seed-to", "5", "--samples", "2"]).is_ok());
}

#[test]
fn numbers_are_typed_alike_in_every_flag() {
    let refine = |flags: &[&str]| settings(flags).map(|all| all.refine);
    let typed = refine(&["--norm", "linf", "--radius", "8/255", "--step-size", "25%"]).unwrap();
    assert_eq!((typed.eps, typed.step_size, typed.step_unit), (8.0 / 255.0, 0.25, StepUnit::Ratio));
    assert_eq!(refine(&["--step-size", "1.5*3/7"]).unwrap().step_size, 1.5 * 3.0 / 7.0);
    assert_eq!(refine(&["--iterations", "2*8"]).unwrap().iterations, NonZeroU32::new(16));
    for row in RefineSettings::TABLE.iter().filter(|row| matches!(row.kind, Kind::Number(_))) {
        let shares = ["1x", "100%"].map(|share| row.type_in(&mut RefineSettings::default(), share).is_ok());
        assert_eq!(shares, [row.flag() == STEP_SIZE.flag; 2], "only a step size may be a share: {}", row.flag());
    }
    for bad in [["--radius", "10%"], ["--radius", "0.1x"], ["--samples", "2x"], ["--limit", "200%"]] {
        let source: &[&str] = if bad[0] == "--limit" { &["--input", "a.png"] } else { &[] };
        let text = settings(&[source, &bad].concat()).unwrap_err().to_string();
        assert!(text.contains(", which means nothing here, but must be a "), "{text}");
    }
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
fn pictures_that_a_session_opens_are_not_left_aside_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.json");
    let trace = crate::trace::Trace::default();
    let mut document = crate::session::document::Document::new(
        &Settings::default(),
        &crate::session::Provenance::new(),
        None,
        &trace,
        None,
    );
    let mut notes = |inputs: &[&str]| {
        document.inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        std::fs::write(&path, document.to_json()).unwrap();
        match parse(["lapidary", "generate", "--session", path.to_str().unwrap()]).unwrap() {
            Invocation::Generate(options) => options.notes.concat(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(notes(&[]), "");
    let text = notes(&["a.png"]);
    assert!(text.starts_with("warning: the session opens or edits pictures, which are left aside"), "{text}");
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
    for (flags, noted) in [
        ("refine --strict", "--strict has no effect without pictures to open"),
        ("refine --churn 40", "--churn has no effect with the sampler multistep"),
        ("refine --churn 0 --churn-noise 1.1", "--churn, --churn-noise have no effect with the sampler multistep"),
        ("refine --sampler heun --churn-noise 1.1", "--churn-noise has no effect without --churn"),
        ("edit --task colorize a.png --mask m.png", "--mask has no effect on the task colorize"),
        ("edit --task denoise a.png --samples 4", "--samples has no effect on the task denoise without --add-noise"),
        ("edit --task interpolate a.png --limit 2", "--input, --limit have no effect on the task interpolate"),
        ("edit --task interpolate --strict", "--strict has no effect without pictures to open"),
    ] {
        let what = if flags.contains(".png --") && !flags.contains("--samples") { "warning" } else { "note" };
        let what = if flags.contains("--strict") { "warning" } else { what };
        assert_eq!(notes(&flags.split(' ').collect::<Vec<_>>()), [format!("{what}: {noted}")], "{flags}");
    }
    for flags in [
        "refine a.png --strict",
        "refine --sampler heun --churn 40 --churn-noise 1.1",
        "edit --task inpaint a.png --mask m.png --strict",
        "edit --task denoise a.png --samples 4 --add-noise",
        "edit --task interpolate --samples 4",
    ] {
        let notes = notes(&flags.split(' ').collect::<Vec<_>>());
        assert!(notes.is_empty(), "{flags}: {notes:?}");
    }
    let unbound = notes(&["refine", "--norm", "linf", "--radius", "1", "--step-size", "0.1x"]);
    assert_eq!(unbound.len(), 1, "{unbound:?}");
    assert!(unbound[0].starts_with("note: --radius 1 has no effect with --norm linf"), "{unbound:?}");
    let stroke = notes(&["edit", "--task", "stroke", "--input", "a.png", "--patch", "4", "--add-noise"]);
    assert_eq!(stroke, ["note: --patch, --add-noise have no effect on the task stroke"]);
}

#[test]
fn what_makes_no_sense_is_refused_as_usage_in_one_sentence() {
    let cases: [&[&str]; 26] = [
        &["--radius", "0"],
        &["--radius", "NaN"],
        &["--radius", "-1"],
        &["--step-size", "-0.3"],
        &["--step-size", "-10%"],
        &["--seeds", "-1..3"],
        &["--classes", "-1"],
        &["--step-size", "x"],
        &["--radius", "1/0"],
        &["--iterations", "0"],
        &["--iterations", "1.5"],
        &["--batch", "0"],
        &["--seeds", "9..5"],
        &["--seeds", "4294967295..4294967297"],
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
        assert!(!text.contains('\n') && sentence && !text.contains("is no flag"), "{flags:?}: {text}");
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
