//! The flags themselves: names, help and what excludes what, made from the tables of settings.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction};

use crate::generator::settings::{SAMPLES, SEED, STEPS};
use crate::generator::{EditSettings, GenerateSettings, TS_PRESETS};
use crate::parameter::{Choice, ChoiceOption, Choosable, Kind, Parameter, Setting, number, options};
use crate::refiner::RefineSettings;
use crate::refiner::presets::PRESETS;
use crate::worker::ComputeSettings;

/// Flags whose values are no numbers, switches or choices.
pub(in crate::cli) const GENERATOR: &str = "generator";
pub(in crate::cli) const SEEDS: &str = "seeds";
pub(in crate::cli) const CLASSES: &str = "classes";
pub(in crate::cli) const SIGMAS: &str = "sigmas";
pub(in crate::cli) const TS: &str = "ts";
pub(in crate::cli) const CLASSIFIER: &str = "classifier";
pub(in crate::cli) const PRESET: &str = "preset";
pub(in crate::cli) const EARLY_STOP: &str = "early-stop";
pub(in crate::cli) const DEVICE: &str = "device";

/// Flags of sampler and noise levels.
pub(in crate::cli) fn of_sampling() -> impl Iterator<Item = &'static str> {
    GenerateSettings::of_sampling().map(Setting::flag)
}

/// Further flags that make no sense for pictures that are opened to be refined.
pub(in crate::cli) const OF_GENERATION: [&str; 4] = [GENERATOR, SEEDS, SAMPLES.flag, SEED.flag];

/// A flag that takes one of a few names.
pub(in crate::cli) fn choice<C: Choosable>() -> Arg {
    choice_of(C::CHOICE, &options::<C>(), C::ALL.first().map_or("", |first| first.option().key))
}

fn choice_of(choice: Choice, options: &[ChoiceOption], default: &str) -> Arg {
    let Choice { flag, about, .. } = choice;
    let lines: Vec<String> = options.iter().map(|option| format!("\n- {}: {}", option.key, option.about)).collect();
    Arg::new(flag)
        .long(flag)
        .value_name("NAME")
        .help(format!("{about} [{}; default: {default}]", keys(options)))
        .long_help(format!("{about}{}\n[default: {default}]", lines.concat()))
}

pub(super) fn keys(options: &[ChoiceOption]) -> String {
    options.iter().map(|option| option.key).collect::<Vec<_>>().join(", ")
}

fn text(flag: &'static str, value: &'static str, help: String) -> Arg {
    Arg::new(flag).long(flag).value_name(value).help(help)
}

/// A flag that is on when it is given, and off with `=false`, so that a session's switch can be turned off.
pub(in crate::cli) fn switch(flag: &'static str, help: impl Into<clap::builder::StyledStr>) -> Arg {
    Arg::new(flag)
        .long(flag)
        .value_name("true|false")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(BoolishValueParser::new())
        .help(help)
}

/// A flag that takes a number; its help names symbol, unit, range and default, which is the parameter's own unless
/// another is given in words.
pub(in crate::cli) fn flag_of(parameter: Parameter, default: Option<&str>) -> Arg {
    let Parameter { min, max, .. } = parameter;
    let default = default.map_or_else(|| number::exact(parameter.default), str::to_owned);
    number_of(parameter, format!("{} [{min} to {max}; default: {default}]", parameter.help()))
}

fn number_of(parameter: Parameter, help: String) -> Arg {
    text(parameter.flag, parameter.symbol, help).allow_negative_numbers(true)
}

/// Makes the flag of a setting that is no number, switch or choice from its name and its help.
type ByHand = fn(&'static str, String) -> Arg;

/// The flag of a setting; none for one that another flag sets too, and none for one that is only listed but `by_hand`'s.
fn flag<S: Default>(row: &Setting<S>, by_hand: Option<ByHand>) -> Option<Arg> {
    if row.set_by.is_some() {
        return None;
    }
    match row.kind {
        Kind::Number(parameter) => Some(number_of(*parameter, row.help())),
        Kind::Switch(_) => Some(switch(row.flag(), row.help())),
        Kind::Choice(choice, options) => Some(choice_of(choice, &options(), &row.typed(&S::default()))),
        Kind::Text(_) => {
            by_hand.map(|arg| arg(row.flag(), format!("{} [default: {}]", row.help(), row.typed(&S::default()))))
        }
    }
}

fn flags<S: Default>(
    heading: &'static str,
    table: &'static [Setting<S>],
    by_hand: Option<ByHand>,
) -> impl Iterator<Item = Arg> {
    table.iter().filter_map(move |row| flag(row, by_hand)).map(move |arg| arg.help_heading(heading))
}

/// What to generate.
pub(in crate::cli) fn generate_args() -> impl Iterator<Item = Arg> {
    let GenerateSettings { first_seed, samples, .. } = GenerateSettings::default();
    let end = first_seed + u64::from(samples);
    let about = format!(
        "Seeds of the pictures, the end not included, or one seed; 0..=3, 0-3 and 0,1,2,3 are 0..4 [default: {first_seed}..{end}]"
    );
    let seeds = text(SEEDS, "A..B", about).allow_negative_numbers(true);
    let seeds = seeds.conflicts_with_all([SAMPLES.flag, SEED.flag]);
    let heading = "What to generate";
    flags(heading, GenerateSettings::TABLE, Some(list)).chain([seeds.help_heading(heading)])
}

/// Flags of generating whose values are lists or models.
fn list(flag: &'static str, help: String) -> Arg {
    let own = help.replace("[default: ]", "[default: the model's own]");
    match flag {
        TS => {
            let published =
                TS_PRESETS.iter().map(|preset| format!("\n- {}: {}, {}", preset.key, preset.ts, preset.label));
            let long = format!("{own}{}", published.collect::<Vec<_>>().concat());
            text(TS, "LIST/N", own).allow_hyphen_values(true).long_help(long).conflicts_with(STEPS.flag)
        }
        SIGMAS => text(SIGMAS, "LIST", own).allow_negative_numbers(true).conflicts_with_all([STEPS.flag, TS]),
        GENERATOR => text(flag, "MODEL", help),
        _ => text(flag, "LIST", help).allow_negative_numbers(true),
    }
}

/// How to edit; the time steps are the generator's flag.
pub(in crate::cli) fn edit_args() -> impl Iterator<Item = Arg> {
    flags("How to edit", EditSettings::TABLE, None)
}

/// How to refine.
pub(in crate::cli) fn refine_args() -> impl Iterator<Item = Arg> {
    let presets: Vec<&str> = PRESETS.iter().map(|preset| preset.key).collect();
    let recipes: Vec<String> =
        PRESETS.iter().map(|preset| format!("- {}: {}. Source: {}", preset.key, preset.about, preset.source)).collect();
    let preset = "Settings of a paper or a program; other flags override them";
    let preset = text(PRESET, "NAME", format!("{preset} [{}]", presets.join(", ")))
        .long_help(format!("{preset}\n{}", recipes.join("\n")));
    let heading = "How to refine";
    [preset.help_heading(heading)].into_iter().chain(flags(heading, RefineSettings::TABLE, Some(model)))
}

fn model(flag: &'static str, help: String) -> Arg {
    text(flag, "MODEL", help)
}

/// The flag of one setting alone.
fn alone<S: Default>(table: &'static [Setting<S>], name: &str, by_hand: Option<ByHand>) -> Arg {
    let row = table.iter().find(|row| row.flag() == name);
    row.and_then(|row| flag(row, by_hand)).expect("the table has it")
}

/// The generator alone.
pub(in crate::cli) fn generator_arg() -> Arg {
    alone(GenerateSettings::TABLE, GENERATOR, Some(model))
}

/// The classifier alone.
pub(in crate::cli) fn classifier_arg() -> Arg {
    alone(RefineSettings::TABLE, CLASSIFIER, Some(model))
}

/// Where to compute.
pub(in crate::cli) fn compute_args() -> impl Iterator<Item = Arg> {
    flags("Where to compute", ComputeSettings::TABLE, Some(device))
}

fn device(flag: &'static str, help: String) -> Arg {
    text(flag, "DEVICE", help)
}

/// The device alone.
pub(in crate::cli) fn device_arg() -> Arg {
    alone(ComputeSettings::TABLE, DEVICE, Some(device))
}

/// A flag that is off unless it is given.
pub(in crate::cli) fn plain_switch(flag: &'static str, help: &'static str) -> Arg {
    Arg::new(flag).long(flag).action(ArgAction::SetTrue).help(help)
}
