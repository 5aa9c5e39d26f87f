//! Flags of the settings, made from the settings' own descriptions, and settings made from flags.
//!
//! What is known of a setting (its name, symbol, unit, range, default, meaning) is typed once, in the settings types.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches};

use super::{CliError, Source};
use crate::checkpoint::{self, CheckpointError, Manifest, ManifestKind};
use crate::generator::Classes;
use crate::generator::settings::{SAMPLES, SEED, STEPS};
use crate::parameter::{Choosable, Parameter, ParameterError};
use crate::refiner::settings::{EPS, ITERATIONS, STEP_SIZE};
use crate::refiner::{Norm, Objective, StepUnit};
use crate::session::document::{Document, absolute_models};
use crate::session::settings::BATCH;
use crate::session::{Settings, StorageError};

/// Flags without a [`Parameter`] or a [`crate::parameter::Choice`].
pub(super) const GENERATOR: &str = "generator";
pub(super) const SEEDS: &str = "seeds";
pub(super) const CLASSES: &str = "classes";
pub(super) const SIGMAS: &str = "sigmas";
pub(super) const CLASSIFIER: &str = "classifier";
pub(super) const NO_NORMALISE: &str = "no-normalise";
pub(super) const RANDOM_START: &str = "random-start";
pub(super) const DEVICE: &str = "device";

/// Flags that make no sense for pictures that are opened.
pub(super) const OF_GENERATION: [&str; 6] = [GENERATOR, SEEDS, SAMPLES.flag, SEED.flag, STEPS.flag, SIGMAS];

/// Name of the readable description inside a session file.
const DOCUMENT: &str = "session.json";
/// Largest description that is unpacked.
const MAX_DOCUMENT: u64 = 64 << 20;

/// A numeric flag and what it sets.
struct Number {
    parameter: Parameter,
    set: fn(&mut Settings, &str) -> Result<(), ParameterError>,
}

const GENERATE: [Number; 3] = [
    Number {
        parameter: SAMPLES,
        set: |settings, text| {
            settings.generate.samples = SAMPLES.parse(text)? as u32;
            Ok(())
        },
    },
    Number {
        parameter: SEED,
        set: |settings, text| {
            settings.generate.first_seed = SEED.parse(text)? as u64;
            Ok(())
        },
    },
    Number {
        parameter: STEPS,
        set: |settings, text| {
            settings.generate.steps = STEPS.parse(text)? as u32;
            settings.generate.sigmas.clear();
            Ok(())
        },
    },
];

const REFINE: [Number; 3] = [
    Number {
        parameter: EPS,
        set: |settings, text| {
            settings.refine.eps = EPS.parse(text)?;
            Ok(())
        },
    },
    Number {
        parameter: STEP_SIZE,
        set: |settings, text| {
            let (number, unit) = match text.trim().strip_suffix('x') {
                Some(ratio) => (ratio, StepUnit::Ratio),
                None => (text, StepUnit::Absolute),
            };
            settings.refine.step_size = STEP_SIZE.parse(number)?;
            settings.refine.step_unit = unit;
            Ok(())
        },
    },
    Number {
        parameter: ITERATIONS,
        set: |settings, text| {
            settings.refine.iterations = NonZeroU32::new(ITERATIONS.parse(text)? as u32);
            Ok(())
        },
    },
];

const COMPUTE: [Number; 1] = [Number {
    parameter: BATCH,
    set: |settings, text| {
        settings.compute.batch = BATCH.parse(text)? as u32;
        Ok(())
    },
}];

/// A flag that takes a number; its help names symbol, unit, range and default.
pub(super) fn number(parameter: Parameter, more: &str) -> Arg {
    let Parameter { min, max, default, .. } = parameter;
    Arg::new(parameter.flag)
        .long(parameter.flag)
        .value_name(parameter.symbol)
        .allow_negative_numbers(true)
        .help(format!("{}{more} [{min} to {max}; default: {default}]", parameter.help()))
}

fn choice<C: Choosable>() -> Arg {
    let about = C::CHOICE.about;
    let default = C::ALL.first().map_or("", |first| first.option().key);
    Arg::new(C::CHOICE.flag)
        .long(C::CHOICE.flag)
        .value_name("NAME")
        .help(format!("{about} [{}; default: {default}]", keys::<C>(", ")))
        .long_help(format!("{}\n[default: {default}]", C::help()))
}

fn keys<C: Choosable>(separator: &str) -> String {
    C::ALL.iter().map(|value| value.option().key).collect::<Vec<_>>().join(separator)
}

fn text(flag: &'static str, value: &'static str, help: String) -> Arg {
    Arg::new(flag).long(flag).value_name(value).help(help)
}

fn switch(flag: &'static str, help: &'static str) -> Arg {
    Arg::new(flag).long(flag).action(ArgAction::SetTrue).help(help)
}

fn under(heading: &'static str, args: Vec<Arg>) -> impl Iterator<Item = Arg> {
    args.into_iter().map(move |arg| arg.help_heading(heading))
}

/// What to generate.
pub(super) fn generate_args() -> impl Iterator<Item = Arg> {
    let default = Settings::default().generate;
    let mut args = vec![
        text(
            GENERATOR,
            "MODEL",
            format!(
                "Model that makes the pictures: a bundled name, a checkpoint, or its manifest [default: {}]",
                default.generator
            ),
        ),
        text(
            SEEDS,
            "A..B",
            format!(
                "Seeds of the pictures, the end not included, or one seed [default: {}..{}]",
                default.first_seed,
                default.first_seed + u64::from(default.samples)
            ),
        )
        .conflicts_with_all([SAMPLES.flag, SEED.flag]),
        text(
            CLASSES,
            "LIST",
            "Class of each picture: all (in turn), random, or names and numbers such as stop,yield,3 [default: all]"
                .to_owned(),
        ),
        text(
            SIGMAS,
            "LIST",
            "Noise levels of the sampling steps, largest first, such as 80,1.2 [default: the model's own]".to_owned(),
        )
        .conflicts_with(STEPS.flag),
    ];
    args.extend(GENERATE.iter().map(|flag| number(flag.parameter, "")));
    under("What to generate", args)
}

/// How to refine.
pub(super) fn refine_args() -> impl Iterator<Item = Arg> {
    let default = Settings::default().refine;
    let mut args = vec![
        text(
            CLASSIFIER,
            "MODEL",
            format!(
                "Joint classifier-discriminator that is ascended: a bundled name, a checkpoint, or its manifest [default: {}]",
                default.classifier
            ),
        ),
        choice::<Objective>(),
        choice::<Norm>(),
    ];
    args.extend(REFINE.iter().map(|flag| {
        let is_step = flag.parameter.key == STEP_SIZE.key;
        number(flag.parameter, if is_step { "; 0.1x means a tenth of the radius" } else { "" })
    }));
    args.push(switch(NO_NORMALISE, "Follow the raw gradient: steps are as long as the step size times the gradient"));
    args.push(switch(RANDOM_START, "Start at a seeded random point of the ball instead of its centre"));
    under("How to refine", args)
}

/// Where to compute.
pub(super) fn compute_args() -> impl Iterator<Item = Arg> {
    let mut args = vec![device_arg()];
    args.extend(COMPUTE.iter().map(|flag| number(flag.parameter, "")));
    under("Where to compute", args)
}

/// The device alone.
pub(super) fn device_arg() -> Arg {
    let default = Settings::default().compute.device;
    let about =
        "auto (a real GPU when there is one, else the CPU), cpu, gpu, or gpu:NAME with a part of the adapter's name";
    text(DEVICE, "DEVICE", format!("{about} [default: {default}]"))
}

/// What was given for a flag; `None` also for commands without this flag.
pub(super) fn given<'a>(matches: &'a ArgMatches, flag: &str) -> Option<&'a str> {
    matches.try_get_one::<String>(flag).ok().flatten().map(String::as_str)
}

/// Whether a switch was given.
pub(super) fn is_on(matches: &ArgMatches, flag: &str) -> bool {
    matches.try_get_one::<bool>(flag).ok().flatten().copied().unwrap_or(false)
}

/// Changes the settings by what was given. Classes belong to the classifier when pictures are opened, else to the generator.
pub(super) fn apply(matches: &ArgMatches, settings: &mut Settings, opens_pictures: bool) -> Result<(), CliError> {
    for flag in GENERATE.iter().chain(&REFINE).chain(&COMPUTE) {
        if let Some(text) = given(matches, flag.parameter.flag) {
            (flag.set)(settings, text)?;
        }
    }
    if let Some(text) = given(matches, GENERATOR) {
        text.clone_into(&mut settings.generate.generator);
    }
    if let Some(text) = given(matches, CLASSIFIER) {
        text.clone_into(&mut settings.refine.classifier);
    }
    if let Some(text) = given(matches, SEEDS) {
        (settings.generate.first_seed, settings.generate.samples) = parse_seeds(text)?;
    }
    if let Some(text) = given(matches, SIGMAS) {
        settings.generate.sigmas = parse_sigmas(text)?;
        settings.generate.steps = settings.generate.sigmas.len() as u32;
    }
    if let Some(text) = given(matches, CLASSES) {
        let Settings { generate, refine, .. } = &*settings;
        let model = if opens_pictures { &refine.classifier } else { &generate.generator };
        settings.generate.classes = parse_classes(text, model)?;
    }
    if let Some(objective) = chosen::<Objective>(matches)? {
        settings.refine.objective = objective;
    }
    if let Some(norm) = chosen::<Norm>(matches)? {
        settings.refine.norm = norm;
    }
    settings.refine.normalise &= !is_on(matches, NO_NORMALISE);
    settings.refine.random_start |= is_on(matches, RANDOM_START);
    if let Some(text) = given(matches, DEVICE) {
        settings.compute.device = text.parse()?;
    }
    settings.check()?;
    Ok(())
}

fn chosen<C: Choosable>(matches: &ArgMatches) -> Result<Option<C>, CliError> {
    let Some(text) = given(matches, C::CHOICE.flag) else { return Ok(None) };
    let unknown = || CliError::Choice { flag: C::CHOICE.flag, found: text.to_owned(), known: keys::<C>(", ") };
    C::from_key(text).map(Some).ok_or_else(unknown)
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
            known: names.iter().enumerate().map(|(i, name)| format!("{i} {name}")).collect::<Vec<_>>().join(", "),
        })
    };
    text.split(',').map(class).collect::<Result<_, _>>().map(Classes::Only)
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

/// What a session file asks for.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) settings: Settings,
    pub(super) source: Source,
    /// What the reader should know about it.
    pub(super) note: Option<String>,
}

/// Reads the recipe of a `.lapidary` file or a `session.json`; paths in it are relative to the file.
pub(super) fn read_session(path: &Path) -> Result<Saved, CliError> {
    let io = |source| StorageError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut head = [0; 2];
    let read = file.read(&mut head).map_err(io)?;
    file.rewind().map_err(io)?;
    let packed = head[..read] == *b"PK";
    let document = Document::read(path, if packed { unpack(path, file)? } else { file })?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let Document { mut settings, samples, runs, inputs, .. } = document;
    absolute_models(&mut settings, folder);
    let opened = samples.iter().any(|sample| !sample.name.is_empty());
    let source = match (inputs.is_empty(), opened) {
        (false, _) => Source::Pictures(inputs.iter().map(|input| folder.join(input)).collect()),
        (true, _) if packed && !samples.is_empty() => Source::Stored(path.to_owned()),
        (true, true) => return Err(CliError::NoPictures { path: path.to_owned() }),
        (true, false) => Source::Generator,
    };
    let last = runs.last();
    if settings.refine.iterations.is_none() {
        // Open-ended in the window; a command must end.
        let done = last.and_then(|run| NonZeroU32::new(run.last_iteration));
        settings.refine.iterations = done.or_else(|| NonZeroU32::new(ITERATIONS.default as u32));
    }
    let planned = settings.refine.iterations.map_or(0, NonZeroU32::get);
    let note = last.filter(|run| run.last_iteration > 0).and_then(|run| {
        let plain = run.parent.is_none() && run.changes.is_empty();
        let same = plain && run.last_iteration == planned && run.settings == settings_as_read(&settings, run);
        (!same).then(|| {
            let how = if plain { "" } else { ", with a branch or other settings on the way" };
            format!(
                "note: the session's last run has {} iterations{how}; this one starts from the origin, with the session's latest settings and the flags given",
                run.last_iteration
            )
        })
    });
    Ok(Saved { settings, source, note })
}

/// The refinement settings as the run would have recorded them: iterations and model paths are no matter of the method.
fn settings_as_read(settings: &Settings, run: &crate::session::document::RunSummary) -> crate::refiner::RefineSettings {
    crate::refiner::RefineSettings {
        classifier: run.settings.classifier.clone(),
        iterations: run.settings.iterations,
        ..settings.refine.clone()
    }
}

/// The readable description inside a session file, as a file of its own.
fn unpack(path: &Path, file: File) -> Result<File, StorageError> {
    let io = |source| StorageError::Read { path: path.to_owned(), source };
    let no_session = |_| StorageError::NotASession { path: path.to_owned() };
    let mut archive = zip::ZipArchive::new(file).map_err(no_session)?;
    let entry = archive.by_name(DOCUMENT).map_err(no_session)?;
    let mut document = tempfile::tempfile().map_err(io)?;
    std::io::copy(&mut entry.take(MAX_DOCUMENT), &mut document).map_err(io)?;
    document.rewind().map_err(io)?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::BUNDLED;
    use crate::cli::{Invocation, command, parse};
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
        for parameter in [SAMPLES, SEED, STEPS, EPS, STEP_SIZE, ITERATIONS, BATCH] {
            assert!(refine.contains(&format!("--{} <{}>", parameter.flag, parameter.symbol)), "{}", parameter.flag);
            assert!(refine.contains(parameter.unit) && refine.contains(parameter.about), "{}", parameter.flag);
        }
        for choice in [Objective::CHOICE, Norm::CHOICE] {
            assert!(refine.contains(&format!("--{} <NAME>", choice.flag)) && refine.contains(choice.about));
        }
        let generate = help("generate");
        assert!(generate.contains("--seeds") && generate.contains("--batch") && !generate.contains("--radius <"));
    }

    #[test]
    fn help_teaches_by_examples_and_lists_the_bundled_models() {
        let refine = help("refine");
        assert!(refine.contains("lapidary refine --seeds 0..64 --iterations 20 --out out"));
        for bundled in &BUNDLED {
            let manifest = checkpoint::bundled_manifest(bundled);
            assert!(refine.contains(bundled.name) && refine.contains(&manifest.title), "{}", bundled.name);
        }
    }

    #[test]
    fn each_flag_reaches_its_setting() {
        let flags = "--seeds 5..9 --classes STOP,11 --sigmas 80,1.2 --objective ce-bce --norm linf --radius 0.03 \
                     --step-size 0.1x --iterations 7 --batch 2 --device cpu --no-normalise --random-start";
        let all = settings(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(all.generate.seeds(), [5, 6, 7, 8]);
        assert_eq!(all.generate.classes, Classes::Only(vec![6, 11]));
        assert_eq!((all.generate.sigmas.as_slice(), all.generate.steps), ([80.0, 1.2].as_slice(), 2));
        assert_eq!((all.refine.objective, all.refine.norm), (Objective::CeBce, Norm::Linf));
        assert_eq!((all.refine.eps, all.refine.step_size, all.refine.step_unit), (0.03, 0.1, StepUnit::Ratio));
        assert_eq!(all.refine.iterations.map(NonZeroU32::get), Some(7));
        assert_eq!((all.compute.batch, all.compute.device), (2, DeviceChoice::Cpu));
        assert!(!all.refine.normalise && all.refine.random_start);
        let one = settings(&["--seed", "3", "--samples", "2", "--steps", "4", "--classes", "random"]).unwrap();
        assert_eq!((one.generate.seeds(), one.generate.steps), (vec![3, 4], 4));
        assert_eq!(one.generate.classes, Classes::Random);
        assert_eq!(settings(&["--seeds", "17"]).unwrap().generate.seeds(), [17]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_as_usage_in_one_sentence() {
        let cases: [&[&str]; 16] = [
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
        ];
        for flags in cases {
            let error = settings(flags).expect_err(&format!("{flags:?}"));
            assert_eq!(error.exit_code(), 2, "{flags:?}");
            let text = error.to_string();
            assert!(!text.contains('\n') && text.contains(" is "), "{flags:?}: {text}");
        }
        let classes = settings(&["--classes", "stopp"]).unwrap_err().to_string();
        assert!(classes.contains("6 stop"), "{classes}");
    }

    #[test]
    fn a_missing_model_is_a_failure_and_a_missing_flag_is_usage() {
        assert_eq!(settings(&["--generator", "no/such.pt", "--classes", "stop"]).unwrap_err().exit_code(), 1);
        assert_eq!(settings(&["--polish"]).unwrap_err().exit_code(), 2);
        assert_eq!(settings(&["--seeds", "0..4", "--samples", "4"]).unwrap_err().exit_code(), 2);
    }
}
