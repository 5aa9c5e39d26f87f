//! Flags of the settings, made from the settings' own descriptions, and settings made from flags.
//!
//! What is known of a setting (its name, symbol, unit, range, default, meaning) is typed once, in the settings types.

mod args;
#[cfg(test)]
mod laws;
mod session;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::ArgMatches;

pub(super) use self::args::{
    CLASSES, CLASSIFIER, DEVICE, EARLY_STOP, GENERATOR, OF_GENERATION, choice, classifier_arg, compute_args,
    device_arg, edit_args, flag_of, generate_args, generator_arg, of_sampling, plain_switch, refine_args, switch,
};
use self::args::{PRESET, SEEDS, SIGMAS, TS, keys};
pub(super) use self::session::{Saved, read_session};
use super::CliError;
use crate::checkpoint::CheckpointError;
use crate::data::MAX_COUNT;
use crate::generator::settings::{S_CHURN, S_MAX, S_MIN, S_NOISE, SAMPLES, SEED, STEPS};
use crate::generator::{Classes, EditSettings, EditTask, GenerateSettings, SamplerKind, TS_PRESETS, TimeSteps};
use crate::parameter::{ChoiceOption, Choosable, Kind, Parameter, Setting, Value, number, options};
use crate::refiner::presets::{PRESETS, Preset};
use crate::refiner::settings::{EPS, EPS_LINF, STEP_SIZE};
use crate::refiner::{Norm, RefineSettings, StepUnit};
use crate::session::Settings;
use crate::worker::ComputeSettings;
use crate::zoo::{self, Manifest, ManifestKind, PreconditioningName};

/// Sampling steps of a model that needs many, unless told otherwise (Karras et al. 2022, CIFAR-10).
const MANY_STEPS: u32 = 18;

/// Pictures of one run of a command: it holds a batch of them at a time.
const MANY: Parameter = Parameter { max: MAX_COUNT as f64, ..SAMPLES };

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

/// Whether a flag was given; `false` also for commands without this flag.
pub(super) fn is_given(matches: &ArgMatches, flag: &str) -> bool {
    matches.try_contains_id(flag).unwrap_or(false)
}

/// Changes the settings by what was given, and returns notes about what that brought along. Classes belong to the classifier
/// when pictures are opened to be refined, else to the generator.
pub(super) fn apply(matches: &ArgMatches, settings: &mut Settings, about: Use) -> Result<Vec<String>, CliError> {
    // First, because other flags override it.
    if let Some(key) = given(matches, PRESET) {
        let known: Vec<&str> = PRESETS.iter().map(|preset| preset.key).collect();
        let unknown = || CliError::Choice { flag: PRESET, found: key.to_owned(), known: known.join(", ") };
        settings.refine = Preset::from_key(key).ok_or_else(unknown)?.apply(&settings.refine);
    }
    let norm = settings.refine.norm;
    apply_table(matches, GenerateSettings::TABLE, &mut settings.generate)?;
    apply_table(matches, EditSettings::TABLE, &mut settings.edit)?;
    if about == Use::Edited && settings.edit.task == EditTask::Interpolate {
        refuse_seeds(matches)?;
    }
    apply_table(matches, RefineSettings::TABLE, &mut settings.refine)?;
    apply_compute(matches, settings)?;
    apply_lists(matches, settings, about)?;
    settings.check()?;
    Ok(other_norm(matches, norm, &settings.refine).into_iter().collect())
}

/// Where to compute, as it was given.
pub(super) fn apply_compute(matches: &ArgMatches, settings: &mut Settings) -> Result<(), CliError> {
    apply_table(matches, ComputeSettings::TABLE, &mut settings.compute)?;
    if let Some(text) = given(matches, DEVICE) {
        settings.compute.device = text.parse()?;
    }
    Ok(())
}

fn apply_table<S: Clone>(matches: &ArgMatches, table: &[Setting<S>], settings: &mut S) -> Result<(), CliError> {
    for row in table.iter().filter(|row| row.set_by.is_none()) {
        match row.kind {
            // See `many`.
            Kind::Number(parameter) if parameter.flag == SAMPLES.flag && many(matches)?.is_some() => {
                row.type_in(settings, &number::exact(SAMPLES.max))?;
            }
            Kind::Number(_) => {
                if let Some(text) = given(matches, row.flag()) {
                    row.type_in(settings, text)?;
                }
            }
            Kind::Switch(switch) => {
                if let Some(on) = switched(matches, row.flag()) {
                    row.put(settings, Value::Switch(on != switch.negated));
                }
            }
            Kind::Choice(_, options) => {
                if let Some(key) = chosen_of(matches, row.flag(), &options())? {
                    row.put(settings, Value::Choice(key));
                }
            }
            // See `apply_lists`.
            Kind::Text(_) => {}
        }
    }
    Ok(())
}

/// What is no number, switch or choice.
fn apply_lists(matches: &ArgMatches, settings: &mut Settings, about: Use) -> Result<(), CliError> {
    let Settings { generate, edit, refine, .. } = settings;
    if let Some(text) = given(matches, GENERATOR) {
        text.clone_into(&mut generate.generator);
    }
    if let Some(text) = given(matches, CLASSIFIER) {
        text.clone_into(&mut refine.classifier);
    }
    if let Some(text) = given(matches, SEEDS) {
        let (first, count) = parse_seeds(text)?;
        (generate.first_seed, generate.samples) = (first, count.min(SAMPLES.max as u64) as u32);
    }
    if let Some(text) = given(matches, SIGMAS) {
        generate.sigmas = parse_sigmas(text)?;
        generate.steps = generate.sigmas.len() as u32;
        generate.ts = None;
    }
    if let Some(text) = given(matches, TS) {
        let ts = parse_ts(text)?;
        // An edit visits levels of its own; an interpolation is sampled like new pictures.
        if about == Use::Edited && edit.task != EditTask::Interpolate {
            edit.ts = Some(ts);
        } else {
            generate.sigmas.clear();
            generate.ts = Some(ts);
        }
    }
    if let Some(text) = given(matches, CLASSES) {
        let model = if about == Use::Opened { &refine.classifier } else { &generate.generator };
        generate.classes = parse_classes(text, model)?;
    }
    Ok(())
}

/// Frames have no seeds of their own, so seeds of pictures would only count and name them.
fn refuse_seeds(matches: &ArgMatches) -> Result<(), CliError> {
    let seeds = [SEEDS, SEED.flag].into_iter().find_map(|flag| given(matches, flag).map(|text| (flag, text)));
    seeds.map_or(Ok(()), |(flag, text)| Err(CliError::SeedsOfFrames { flag, found: text.to_owned() }))
}

/// Says which lengths another norm brought along.
fn other_norm(matches: &ArgMatches, before: Norm, refine: &RefineSettings) -> Option<String> {
    let RefineSettings { norm, eps, step_size, step_unit, .. } = *refine;
    let is_new = norm != before && refine.rule.has_ball();
    let show = |flag: &str, value: f64| (!is_given(matches, flag)).then(|| format!("--{flag} {}", number::show(value)));
    let step = show(STEP_SIZE.flag, step_size).filter(|_| step_unit == StepUnit::Absolute && refine.normalise);
    let lengths: Vec<String> = [show(EPS.flag, eps), step].into_iter().flatten().collect();
    let key = norm.option().key;
    (is_new && !lengths.is_empty()).then(|| {
        format!("note: lengths are measured otherwise with --norm {key}, so its own are taken: {}", lengths.join(" "))
    })
}

/// The value of a choice that was given.
pub(super) fn chosen<C: Choosable>(matches: &ArgMatches) -> Result<Option<C>, CliError> {
    Ok(chosen_of(matches, C::CHOICE.flag, &options::<C>())?.and_then(C::from_key))
}

/// The key of the option that was given.
fn chosen_of(
    matches: &ArgMatches,
    flag: &'static str,
    options: &[ChoiceOption],
) -> Result<Option<&'static str>, CliError> {
    let Some(text) = given(matches, flag) else { return Ok(None) };
    let found = options.iter().find(|option| option.key.eq_ignore_ascii_case(text) || option.label == text);
    let unknown = || CliError::Choice { flag, found: text.to_owned(), known: keys(options) };
    found.map(|option| Some(option.key)).ok_or_else(unknown)
}

/// Takes more than one step for a model that needs many, when nothing is said; returns a note about it.
pub(super) fn default_steps(matches: &ArgMatches, settings: &mut GenerateSettings) -> Option<String> {
    if [STEPS.flag, TS, SIGMAS].iter().any(|flag| is_given(matches, flag)) {
        return None;
    }
    // What cannot be found is refused later.
    let (manifest, _) = zoo::find(&settings.generator).ok()?;
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

/// Notes about flags that were given but change nothing; `files` are those about files, and why: these are warnings.
pub(super) fn without_effect(
    matches: &ArgMatches,
    settings: &Settings,
    edits: bool,
    files: Vec<(&'static str, String)>,
) -> Vec<String> {
    let Settings { generate, edit, refine, .. } = settings;
    let mut idle = Vec::new();
    // The time steps are the edit's own then.
    if edits && edit.task != EditTask::Interpolate {
        let why = format!("on the task {}, which has levels of its own", edit.task.option().key);
        idle.extend(of_sampling().filter(|flag| *flag != TS).map(|flag| (flag, why.clone())));
    }
    idle.extend(idle_flags(GenerateSettings::TABLE, generate));
    idle.extend(idle_churn(matches, generate));
    if edits {
        if edit.task == EditTask::Denoise && !edit.add_noise {
            // Every variant of a picture would be the same.
            idle.push((SAMPLES.flag, format!("on the task {} without --add-noise", edit.task.option().key)));
        }
        // An interpolation takes the time steps of new pictures.
        let own = |flag: &str| flag != TS || edit.task != EditTask::Interpolate;
        idle.extend(idle_flags(EditSettings::TABLE, edit).into_iter().filter(|(flag, _)| own(flag)));
    }
    idle.extend(idle_flags(RefineSettings::TABLE, refine));
    let mut all: Vec<String> = Vec::new();
    if refine.rule.has_ball() && refine.norm == Norm::Linf && refine.eps >= EPS_LINF.max {
        all.push(format!(
            "note: --radius {} has no effect with --norm linf: no two pictures are farther apart, so nothing is bounded",
            number::show(refine.eps)
        ));
    }
    let about_files: Vec<&str> = files.iter().map(|(flag, _)| *flag).collect();
    let mut notes: Vec<(Vec<&str>, String)> = Vec::new();
    for (flag, why) in idle.into_iter().filter(|(flag, _)| is_given(matches, flag)).chain(files) {
        if notes.iter().any(|(flags, _)| flags.contains(&flag)) {
            continue;
        }
        match notes.iter_mut().find(|(_, other)| *other == why) {
            Some((flags, _)) => flags.push(flag),
            None => notes.push((vec![flag], why)),
        }
    }
    let note = |(flags, why): (Vec<&str>, String)| {
        // Whoever gives a file wants something of it.
        let is_file = flags.iter().any(|flag| about_files.contains(flag));
        let flags: Vec<String> = flags.iter().map(|flag| format!("--{flag}")).collect();
        let (what, has) = (if is_file { "warning" } else { "note" }, if flags.len() == 1 { "has" } else { "have" });
        format!("{what}: {} {has} no effect {why}", flags.join(", "))
    };
    all.extend(notes.into_iter().map(note));
    all
}

/// Flags of churn where the sampler that fits the model adds none, or none is asked for.
fn idle_churn(matches: &ArgMatches, generate: &GenerateSettings) -> Vec<(&'static str, String)> {
    let details = [S_MIN.flag, S_MAX.flag, S_NOISE.flag];
    let all = [S_CHURN.flag].into_iter().chain(details);
    // A model is looked at for them alone.
    if !all.clone().any(|flag| is_given(matches, flag)) {
        return Vec::new();
    }
    let of = |manifest: Manifest| match manifest.kind {
        ManifestKind::Generator(spec) => generate.sampler.resolve(spec.diffusion.preconditioning),
        ManifestKind::Classifier(_) | ManifestKind::Extractor(_) => generate.sampler,
    };
    // What cannot be found is refused later.
    let sampler = zoo::find(&generate.generator).map_or(generate.sampler, |(manifest, _)| of(manifest));
    if sampler != SamplerKind::Auto && !sampler.churns() {
        let why = format!("with the sampler {}", sampler.option().key);
        all.map(|flag| (flag, why.clone())).collect()
    } else if generate.churn == 0.0 {
        details.map(|flag| (flag, format!("without --{}", S_CHURN.flag))).to_vec()
    } else {
        Vec::new()
    }
}

/// Flags of settings that have no effect, and why.
fn idle_flags<S>(table: &[Setting<S>], settings: &S) -> Vec<(&'static str, String)> {
    let rows = table.iter().filter(|row| row.set_by.is_none());
    rows.filter_map(|row| row.idle(settings).map(|idle| (row.flag(), idle.why))).collect()
}

/// Whether it is given how many pictures are to be made.
pub(super) fn says_how_many(matches: &ArgMatches) -> bool {
    is_given(matches, SEEDS) || is_given(matches, SAMPLES.flag)
}

/// How many pictures are to be made, where they are more than the settings can say, because they are not held at once.
pub(super) fn many(matches: &ArgMatches) -> Result<Option<u64>, CliError> {
    let count = match (given(matches, SEEDS), given(matches, SAMPLES.flag)) {
        (Some(text), _) => parse_seeds(text)?.1,
        (None, Some(text)) => MANY.parse(text)? as u64,
        (None, None) => return Ok(None),
    };
    Ok((count > SAMPLES.max as u64).then_some(count))
}

/// First seed and number of seeds.
fn parse_seeds(text: &str) -> Result<(u64, u64), CliError> {
    let wrong = || CliError::Seeds { found: text.to_owned() };
    let seed = |part: &str| part.trim().parse::<u64>().map_err(|_no_number| wrong());
    // `4..8`, `4..=7`, `4-7`, `4,5,6,7`, one number; `..8` begins with 0.
    let begin = |part: &str| if part.trim().is_empty() { Ok(0) } else { seed(part) };
    let after = |part: &str| seed(part).map(|last| last.saturating_add(1));
    let (first, end) = if let Some((first, last)) = text.split_once("..=") {
        (begin(first)?, after(last)?)
    } else if let Some((first, end)) = text.split_once("..") {
        (begin(first)?, seed(end)?)
    } else if let Some((first, last)) = text.split_once('-') {
        (seed(first)?, after(last)?)
    } else {
        let list = text.split(',').map(seed).collect::<Result<Vec<_>, _>>()?;
        if list.windows(2).any(|pair| pair[0].checked_add(1) != Some(pair[1])) {
            return Err(CliError::SeedList { found: text.to_owned() });
        }
        (list[0], list[list.len() - 1].saturating_add(1))
    };
    SEED.check(first as f64)?;
    let count = end.checked_sub(first).filter(|count| *count > 0).ok_or_else(wrong)?;
    if count > MAX_COUNT as u64 {
        return Err(CliError::Many { found: text.to_owned(), count });
    }
    Parameter { label: "Last seed", ..SEED }.check((end - 1) as f64)?;
    Ok((first, count))
}

fn parse_sigmas(text: &str) -> Result<Vec<f64>, CliError> {
    let plain = |sigma| number::parse(sigma).filter(|typed| typed.unit == number::Unit::Plain);
    let sigmas: Option<Vec<f64>> = text.split(',').map(|sigma| plain(sigma).map(|typed| typed.value)).collect();
    sigmas.ok_or_else(|| CliError::Sigmas { found: text.to_owned() })
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
    let (manifest, _) = zoo::find(model)?;
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

/// Makes the target one that the generator's pictures have, see [`Target::suit`](crate::refiner::Target::suit); returns a note about
/// that. Models that cannot be found are refused later.
pub(super) fn suit_target(settings: &mut Settings) -> Result<Option<String>, CliError> {
    let generator = find(&settings.generate.generator, true);
    let classifier = find(&settings.refine.classifier, false);
    let (Ok((generator, _)), Ok((classifier, _))) = (generator, classifier) else { return Ok(None) };
    let note = settings.refine.target.suit(&generator.classes, &classifier.classes)?;
    Ok(note.map(|note| format!("note: {note}")))
}

/// Refuses pictures of `[C, H, W]` that a classifier cannot take.
pub(super) fn check_shape(classifier: &Manifest, [c, h, w]: [usize; 3]) -> Result<(), CliError> {
    let Manifest { channels, .. } = classifier;
    if c != *channels {
        return Err(CliError::Channels { found: c, expected: *channels, model: "classifier" });
    }
    classifier.resnet().map_or(Ok(()), |net| Ok(net.arch.check_size([h, w])?))
}

/// Finds a model's description and checks what it is for.
pub(super) fn find(reference: &str, generator: bool) -> Result<(Manifest, Option<PathBuf>), CheckpointError> {
    let (manifest, path) = zoo::find(reference)?;
    let (expected, found) = (if generator { "generator" } else { "classifier" }, manifest.role());
    if found == expected {
        return Ok((manifest, path));
    }
    Err(CheckpointError::Role { name: manifest.name, expected, found })
}
