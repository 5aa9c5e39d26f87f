//! The flags themselves: names, help and what excludes what.

use clap::{Arg, ArgAction, value_parser};

use super::numbers::{self, Number};
use crate::generator::settings::{S_CHURN, S_MAX, S_MIN, S_NOISE, SAMPLES, SEED, STEPS};
use crate::generator::{EditTask, SamplerKind, TS_PRESETS};
use crate::parameter::Choosable;
use crate::refiner::presets::PRESETS;
use crate::refiner::{Keep, Norm, Objective, Rule, Target};
use crate::session::Settings;

/// Flags without a [`Parameter`](crate::parameter::Parameter) or a [`Choice`](crate::parameter::Choice).
pub(in crate::cli) const GENERATOR: &str = "generator";
pub(in crate::cli) const SEEDS: &str = "seeds";
pub(in crate::cli) const CLASSES: &str = "classes";
pub(in crate::cli) const SIGMAS: &str = "sigmas";
pub(in crate::cli) const TS: &str = "ts";
pub(in crate::cli) const CLASSIFIER: &str = "classifier";
pub(in crate::cli) const PRESET: &str = "preset";
pub(in crate::cli) const NO_NORMALISE: &str = "no-normalise";
pub(in crate::cli) const RANDOM_START: &str = "random-start";
pub(in crate::cli) const DEBIAS: &str = "debias";
pub(in crate::cli) const EARLY_STOP: &str = "early-stop";
pub(in crate::cli) const ADD_NOISE: &str = "add-noise";
pub(in crate::cli) const DEVICE: &str = "device";

/// Flags of sampler and noise levels.
pub(in crate::cli) const OF_SAMPLING: [&str; 8] =
    [STEPS.flag, SIGMAS, TS, SamplerKind::CHOICE.flag, S_CHURN.flag, S_MIN.flag, S_MAX.flag, S_NOISE.flag];

/// Further flags that make no sense for pictures that are opened to be refined.
pub(in crate::cli) const OF_GENERATION: [&str; 4] = [GENERATOR, SEEDS, SAMPLES.flag, SEED.flag];

/// A flag that takes one of a few names.
pub(in crate::cli) fn choice<C: Choosable>() -> Arg {
    let about = C::CHOICE.about;
    let default = C::ALL.first().map_or("", |first| first.option().key);
    Arg::new(C::CHOICE.flag)
        .long(C::CHOICE.flag)
        .value_name("NAME")
        .help(format!("{about} [{}; default: {default}]", keys::<C>(", ")))
        .long_help(format!("{}\n[default: {default}]", C::help()))
}

pub(super) fn keys<C: Choosable>(separator: &str) -> String {
    C::ALL.iter().map(|value| value.option().key).collect::<Vec<_>>().join(separator)
}

fn text(flag: &'static str, value: &'static str, help: String) -> Arg {
    Arg::new(flag).long(flag).value_name(value).help(help)
}

/// A flag that is on when it is given, and off with `=false`, so that a session's switch can be turned off.
pub(in crate::cli) fn switch(flag: &'static str, help: &'static str) -> Arg {
    Arg::new(flag)
        .long(flag)
        .value_name("true|false")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(value_parser!(bool))
        .help(help)
}

fn under(heading: &'static str, args: Vec<Arg>) -> impl Iterator<Item = Arg> {
    args.into_iter().map(move |arg| arg.help_heading(heading))
}

/// What to generate.
pub(in crate::cli) fn generate_args() -> impl Iterator<Item = Arg> {
    let default = Settings::default().generate;
    let published: Vec<String> =
        TS_PRESETS.iter().map(|preset| format!("- {}: {}, {}", preset.key, preset.ts, preset.label)).collect();
    let ts = "Noise levels as rising indices into a grid that falls from the largest to the smallest, such as 0,22,39/40, or the name of a published setting";
    let mut args = vec![
        generator_arg(),
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
        choice::<SamplerKind>(),
        text(
            SIGMAS,
            "LIST",
            "Noise levels of the sampling steps, largest first, such as 80,1.2 [default: the model's own]".to_owned(),
        )
        .conflicts_with_all([STEPS.flag, TS]),
        text(TS, "LIST/N", ts.to_owned())
            .allow_hyphen_values(true)
            .long_help(format!("{ts}\n{}", published.join("\n")))
            .conflicts_with(STEPS.flag),
    ];
    args.extend(numbers::GENERATE.iter().map(Number::arg));
    under("What to generate", args)
}

/// How to edit.
pub(in crate::cli) fn edit_args() -> impl Iterator<Item = Arg> {
    let mut args = vec![choice::<EditTask>()];
    args.extend(numbers::EDIT.iter().map(Number::arg));
    args.push(switch(ADD_NOISE, "Denoise: add noise of the level first, to try it on a clean picture"));
    under("How to edit", args)
}

/// How to refine.
pub(in crate::cli) fn refine_args() -> impl Iterator<Item = Arg> {
    let presets: Vec<&str> = PRESETS.iter().map(|preset| preset.key).collect();
    let recipes: Vec<String> =
        PRESETS.iter().map(|preset| format!("- {}: {}. Source: {}", preset.key, preset.about, preset.source)).collect();
    let preset = "Settings of a paper or a program; other flags override them";
    let mut args = vec![
        classifier_arg(),
        text(PRESET, "NAME", format!("{preset} [{}]", presets.join(", ")))
            .long_help(format!("{preset}\n{}", recipes.join("\n"))),
        choice::<Rule>(),
        choice::<Objective>(),
        choice::<Target>(),
        choice::<Norm>(),
    ];
    args.extend(numbers::REFINE.iter().map(Number::arg));
    args.extend([
        switch(NO_NORMALISE, "Follow the raw gradient: steps are as long as the step size times the gradient"),
        switch(RANDOM_START, "Start at a seeded random point of the ball instead of its centre"),
        switch(
            DEBIAS,
            "Make pseudo-labels as frequent as each other within a batch (BIGRoC, unconditional generators)",
        ),
        switch(
            EARLY_STOP,
            "Stop a picture once the classifier believes in it more than in a real one; on with --references",
        ),
        choice::<Keep>(),
    ]);
    under("How to refine", args)
}

/// The generator alone.
pub(in crate::cli) fn generator_arg() -> Arg {
    let default = Settings::default().generate.generator;
    let about = "Model that makes the pictures: a bundled name, a checkpoint, or its manifest";
    text(GENERATOR, "MODEL", format!("{about} [default: {default}]"))
}

/// The classifier alone.
pub(in crate::cli) fn classifier_arg() -> Arg {
    let default = Settings::default().refine.classifier;
    let about =
        "Joint classifier-discriminator that judges and is ascended: a bundled name, a checkpoint, or its manifest";
    text(CLASSIFIER, "MODEL", format!("{about} [default: {default}]"))
}

/// Where to compute.
pub(in crate::cli) fn compute_args() -> impl Iterator<Item = Arg> {
    let mut args = vec![device_arg()];
    args.extend(numbers::COMPUTE.iter().map(Number::arg));
    under("Where to compute", args)
}

/// The device alone.
pub(in crate::cli) fn device_arg() -> Arg {
    let default = Settings::default().compute.device;
    let about =
        "auto (a real GPU when there is one, else the CPU), cpu, gpu, or gpu:NAME with a part of the adapter's name";
    text(DEVICE, "DEVICE", format!("{about} [default: {default}]"))
}

/// A flag that is off unless it is given.
pub(in crate::cli) fn plain_switch(flag: &'static str, help: &'static str) -> Arg {
    Arg::new(flag).long(flag).action(ArgAction::SetTrue).help(help)
}
