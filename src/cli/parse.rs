//! What was typed becomes an [`Invocation`], with settings that are checked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::bench::BenchOptions;
use super::edit::EditOptions;
use super::evaluate::EvaluateOptions;
use super::experiment::ExperimentOptions;
use super::flags::Use;
use super::search::SearchOptions;
use super::train::{self, Role, TrainOptions};
use super::usage::{
    CONFIG, DRY_RUN, FILES, INPUT, JSON, LAYERS, LIMIT, MASK, OUT, OVERWRITE, QUIET, REFERENCES, RESUME, SESSION, SKIP,
    STRICT, TRUNCATE, command,
};
use super::{CliError, Invocation, Job, Part, RunOptions, Source, WindowOptions, flags};
use crate::export::Earlier;
use crate::generator::settings::SAMPLES;
use crate::generator::{EditSettings, EditTask};
use crate::image::Levels;
use crate::parameter::{Choosable as _, Parameter};
use crate::session::Settings;
use crate::session::changes::fewer_samples;
use crate::session::document::is_session;
use crate::worker::DeviceChoice;

/// What in the environment chooses how networks are computed: a word that is not known would choose nothing, without a word.
const KERNELS: &str = "LAPIDARY_KERNELS";

/// Understands the arguments, the program's own name first.
///
/// # Errors
/// [`CliError`] says in one sentence what was found, what was expected and what to do.
pub fn parse<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Invocation, CliError> {
    let kernels = std::env::var_os(KERNELS).filter(|found| !found.is_empty() && found != "burn");
    if let Some(found) = kernels {
        return Err(CliError::Kernels { found });
    }
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let mut command = command();
    command.build();
    let subcommand = args.get(1).and_then(|name| command.find_subcommand(name));
    check_switches(subcommand.unwrap_or(&command), &args)?;
    let called = subcommand.map(clap::Command::get_name);
    let called = called.map_or_else(|| "lapidary".to_owned(), |name| format!("lapidary {name}"));
    // A file of this name is not meant where it is the value of a flag that takes it.
    let file = args.iter().skip(1).find(|arg| is_flag_and_file(arg)).cloned();
    let args = with_negatives(subcommand.unwrap_or(&command), args);
    let matches = command.try_get_matches_from_mut(args).map_err(|error| match file {
        Some(found) if error.kind() == clap::error::ErrorKind::UnknownArgument => CliError::FlagOrFile { found },
        _ => CliError::usage(error, &called),
    })?;
    match matches.subcommand() {
        Some(("generate", matches)) => Ok(Invocation::Generate(run_options(matches, Job::Generate)?)),
        Some(("refine", matches)) => Ok(Invocation::Refine(run_options(matches, Job::Refine)?)),
        Some(("edit", matches)) => {
            let run = run_options(matches, Job::Edit)?;
            let recorded = run.recorded.as_ref().and_then(|recorded| recorded.mask.clone());
            let recorded = recorded.filter(|_| run.settings.edit.task.needs_mask()).map(|(path, _)| path);
            let counts = ["samples", "seeds"].iter().any(|flag| flags::given(matches, flag).is_some());
            let options = EditOptions { mask: path(matches, MASK).or(recorded), run, counts };
            options.check()?;
            Ok(Invocation::Edit(options))
        }
        Some(("search", matches)) => {
            Ok(Invocation::Search(SearchOptions::of(matches, run_options(matches, Job::Generate)?)?))
        }
        Some(("inspect", matches)) => {
            let path = path(matches, FILES).unwrap_or_default();
            Ok(Invocation::Inspect { path, json: is_on(matches, JSON) })
        }
        Some(("evaluate", matches)) => {
            let limit = flags::given(matches, LIMIT.flag).map(|text| LIMIT.parse(text)).transpose()?;
            Ok(Invocation::Evaluate(EvaluateOptions::of(matches, limit.map(|limit| limit as usize))?))
        }
        Some(("experiment", matches)) => Ok(Invocation::Experiment(ExperimentOptions::of(matches)?)),
        Some(("bench", matches)) => Ok(Invocation::Bench(BenchOptions::of(matches, is_on(matches, LAYERS))?)),
        Some(("train", matches)) => Ok(Invocation::Train(train_options(matches)?)),
        _ => Ok(Invocation::Window { options: window_options(&matches)? }),
    }
}

/// Whether there is a file whose name looks like a flag.
fn is_flag_and_file(arg: &OsString) -> bool {
    arg.len() > 1 && arg.as_encoded_bytes().starts_with(b"-") && Path::new(arg).exists()
}

fn train_options(matches: &ArgMatches) -> Result<TrainOptions, CliError> {
    // The command line's description demands one of them.
    let (role, matches) = match matches.subcommand() {
        Some(("classifier", matches)) => (Role::Classifier, matches),
        Some(("boosted", matches)) => (Role::Boosted, matches),
        Some((_, matches)) => (Role::Generator, matches),
        None => (Role::Generator, matches),
    };
    let config = path(matches, CONFIG);
    if config.is_none() && !is_on(matches, RESUME) {
        let what = "a training is described by a file: give one with --config, or go on with one that was begun, with --resume and its --out";
        return Err(CliError::Usage(what.to_owned()));
    }
    Ok(TrainOptions {
        role,
        config,
        out: path(matches, OUT).unwrap_or_else(|| train::DEFAULT_OUT.into()),
        resume: is_on(matches, RESUME),
        device: flags::given(matches, flags::DEVICE).unwrap_or("auto").parse::<DeviceChoice>()?,
        dry_run: is_on(matches, DRY_RUN),
        quiet: is_on(matches, QUIET),
    })
}

/// What begins with a minus and a digit is no flag where a number is meant, also when it is more than a number, such as `-10%`:
/// the range says what is wrong with it.
fn with_negatives(command: &clap::Command, args: Vec<OsString>) -> Vec<OsString> {
    let takes_numbers = |flag: &OsString| {
        let name = flag.to_str().and_then(|flag| flag.strip_prefix("--"));
        let arg = command.get_arguments().find(|arg| name.is_some() && arg.get_long() == name);
        arg.is_some_and(clap::Arg::is_allow_negative_numbers_set)
    };
    let is_negative = |arg: &OsString| {
        arg.to_str()
            .and_then(|arg| arg.strip_prefix('-'))
            .is_some_and(|rest| rest.starts_with(|first: char| first == '.' || first.is_ascii_digit()))
    };
    args.into_iter().fold(Vec::new(), |mut args: Vec<OsString>, arg| {
        match args.last_mut().filter(|flag| is_negative(&arg) && takes_numbers(flag)) {
            Some(flag) => {
                flag.push("=");
                flag.push(arg);
            }
            None => args.push(arg),
        }
        args
    })
}

/// Words that somebody may write behind a switch, which takes a value only behind an `=`.
const SWITCHED: [&str; 6] = ["true", "false", "yes", "no", "on", "off"];

/// A switch is on when it is given: a word behind it would be taken for a file.
fn check_switches(command: &clap::Command, args: &[OsString]) -> Result<(), CliError> {
    for (flag, value) in args.iter().zip(args.iter().skip(1)) {
        let (Some(flag), Some(value)) = (flag.to_str().and_then(|flag| flag.strip_prefix("--")), value.to_str()) else {
            continue;
        };
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag));
        let is_plain = |arg: &clap::Arg| !arg.get_action().takes_values();
        if let Some(arg) = arg.filter(|arg| is_plain(arg) || arg.is_require_equals_set())
            && SWITCHED.contains(&value)
            && !Path::new(value).exists()
        {
            let say = if is_plain(arg) { String::new() } else { format!(", or write --{flag}={value}") };
            let (flag, value) = (flag.to_owned(), value.to_owned());
            return Err(CliError::Switch { flag, value, say });
        }
    }
    Ok(())
}

fn path(matches: &ArgMatches, flag: &str) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>(flag).ok().flatten().cloned()
}

fn paths(matches: &ArgMatches, flag: &str) -> Vec<PathBuf> {
    matches.try_get_many::<PathBuf>(flag).ok().flatten().map_or_else(Vec::new, |paths| paths.cloned().collect())
}

fn is_on(matches: &ArgMatches, flag: &str) -> bool {
    flags::switched(matches, flag).unwrap_or(false)
}

fn window_options(matches: &ArgMatches) -> Result<WindowOptions, CliError> {
    let files = paths(matches, FILES);
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        let found = missing.display().to_string();
        let is_command = command().find_subcommand(&found).is_some();
        return Err(if is_command { CliError::LateCommand { found } } else { CliError::NoFile { found } });
    }
    if let Some(count) = flags::many(matches)? {
        // The window holds all of its pictures at once.
        SAMPLES.check(count as f64)?;
    }
    let mut options = WindowOptions { settings: Settings::default(), files };
    let mut about = if options.files.is_empty() { Use::Generated } else { Use::Opened };
    // A session that cannot be read is refused when it is opened.
    if let Some(Ok(saved)) = options.session_file().map(|path| flags::read_session(path, false)) {
        about = if matches!(saved.source, Ok(Source::Generator)) { Use::Generated } else { Use::Opened };
        options.settings = saved.settings;
    }
    flags::apply(matches, &mut options.settings, about)?;
    Ok(options)
}

fn run_options(matches: &ArgMatches, job: Job) -> Result<RunOptions, CliError> {
    // A session is known by its content, also without its flag.
    let files = paths(matches, FILES);
    let lone = files.first().filter(|file| files.len() == 1 && path(matches, SESSION).is_none() && is_session(file));
    let lone = lone.cloned();
    let inputs = if lone.is_some() { Vec::new() } else { [paths(matches, INPUT), files].concat() };
    let session = path(matches, SESSION).or(lone);
    let (mut options, mut source) = match session.clone() {
        Some(path) => RunOptions::of_session(&path, job)?,
        None => (RunOptions::new(Settings::default()), Ok(Source::Generator)),
    };
    let mut generates = flags::OF_GENERATION.into_iter().chain(flags::of_sampling());
    let generates = generates.find(|flag| flags::given(matches, flag).is_some());
    let made = generates.filter(|_| job == Job::Refine);
    // The session's pictures would be left aside without a word.
    if let Some(flag) = made.filter(|_| matches!(source, Ok(Source::Pictures(_)))) {
        return Err(CliError::MadeAndOpened { flag });
    }
    let is_generated = matches!(source, Ok(Source::Generator));
    let opened = options.recorded.as_ref().is_some_and(|recorded| recorded.opened());
    if job == Job::Generate && (opened || !matches!(source, Ok(Source::Generator | Source::Stored(_)))) {
        options.notes.push(
            "warning: the session opens or edits pictures, which are left aside: new ones are made of seeds".to_owned(),
        );
    }
    if job == Job::Generate || made.is_some() {
        (source, options.part) = (Ok(Source::Generator), Part::default());
    }
    if let Some(flag) = made.filter(|_| !inputs.is_empty()) {
        return Err(CliError::MadeAndOpened { flag });
    }
    if let Some(recorded) = &mut options.recorded {
        let edits = EditSettings::TABLE.iter().any(|row| flags::is_given(matches, row.flag()));
        let about_labels = [SKIP.flag, LIMIT.flag, flags::CLASSES, flags::CLASSIFIER];
        if made.is_some() || !inputs.is_empty() || job == Job::Generate && !is_generated {
            recorded.forget_pictures();
        } else if edits || generates.is_some() || about_labels.iter().any(|flag| flags::is_given(matches, flag)) {
            recorded.forget_samples();
        }
    }
    let opens = !inputs.is_empty();
    if opens {
        (source, options.part) = (Ok(Source::Pictures(inputs)), Part::default());
    }
    options.source = source?;
    let about = match (job, &options.source) {
        (Job::Edit, _) => Use::Edited,
        (_, Source::Generator) => Use::Generated,
        (_, Source::Pictures(_) | Source::Stored(_)) => Use::Opened,
    };
    options.notes.extend(flags::apply(matches, &mut options.settings, about)?);
    if flags::says_how_many(matches) {
        options.count = flags::many(matches)?;
    }
    let recorded = options.recorded.as_ref().filter(|_| job != Job::Edit && options.source == Source::Generator);
    let fewer = recorded.and_then(|recorded| fewer_samples(&recorded.samples, &options.settings.generate));
    options.notes.extend(fewer.map(|text| format!("warning: {text}")));
    options.relabel = flags::given(matches, flags::CLASSES).is_some();
    let samples = match job {
        Job::Generate => true,
        Job::Refine => options.source == Source::Generator,
        Job::Edit => options.settings.edit.task == EditTask::Interpolate,
    };
    if samples && session.is_none() {
        options.notes.extend(flags::default_steps(matches, &mut options.settings.generate));
    }
    let idle = idle_files(matches, &options, job, opens);
    options.notes.extend(flags::without_effect(matches, &options.settings, job == Job::Edit, idle));
    let references = paths(matches, REFERENCES);
    if !references.is_empty() {
        options.references = references;
        options.recorded.iter_mut().for_each(|recorded| recorded.reference_hashes.clear());
        let refine = &mut options.settings.refine;
        refine.early_stop = flags::switched(matches, flags::EARLY_STOP).unwrap_or(true);
    }
    if job == Job::Refine {
        options.check_references()?;
        options.check_end()?;
    }
    options.suit_target(job == Job::Refine)?;
    options.part = part(matches, &options.source, options.part)?;
    if let Some(truncate) = flags::switched(matches, TRUNCATE) {
        options.levels = if truncate { Levels::Truncated } else { Levels::Rounded };
    }
    options.out = path(matches, OUT);
    options.earlier = match (is_on(matches, RESUME), is_on(matches, OVERWRITE)) {
        (true, _) => Earlier::Resume,
        (_, true) => Earlier::Overwrite,
        _ => Earlier::Keep,
    };
    options.dry_run = is_on(matches, DRY_RUN);
    options.quiet = is_on(matches, QUIET);
    options.strict = is_on(matches, STRICT);
    Ok(options)
}

/// Flags about files that were given but change nothing, and why; pictures may be given with their flag or without.
fn idle_files(matches: &ArgMatches, options: &RunOptions, job: Job, opens: bool) -> Vec<(&'static str, String)> {
    let task = options.settings.edit.task;
    let edits = job == Job::Edit;
    let makes = edits && !task.needs_reference();
    let on_task = || format!("on the task {}", task.option().key);
    let mut idle = Vec::new();
    if opens && makes {
        idle.push((INPUT, on_task()));
        let parts = [SKIP.flag, LIMIT.flag].into_iter().filter(|flag| flags::is_given(matches, flag));
        idle.extend(parts.map(|flag| (flag, on_task())));
    }
    if edits && !task.needs_mask() && flags::is_given(matches, MASK) {
        idle.push((MASK, on_task()));
    }
    if flags::is_given(matches, REFERENCES) && flags::switched(matches, flags::EARLY_STOP) == Some(false) {
        idle.push((REFERENCES, format!("with --{}=false", flags::EARLY_STOP)));
    }
    if is_on(matches, STRICT) && (makes || !matches!(options.source, Source::Pictures(_))) {
        idle.push((STRICT, "without pictures to open".to_owned()));
    }
    idle
}

fn part(matches: &ArgMatches, source: &Source, saved: Part) -> Result<Part, CliError> {
    let number = |parameter: Parameter| match flags::given(matches, parameter.flag) {
        Some(_) if !matches!(source, Source::Pictures(_)) => Err(CliError::Part { flag: parameter.flag }),
        Some(text) => Ok(Some(parameter.parse(text)? as usize)),
        None => Ok(None),
    };
    Ok(Part { skip: number(SKIP)?.unwrap_or(saved.skip), limit: number(LIMIT)?.or(saved.limit) })
}
