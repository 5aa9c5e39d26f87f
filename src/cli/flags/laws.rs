//! Laws of all settings: flags can set each of them to every value, a dry run says them, and a change is marked.

use clap::Command;
use proptest::prelude::*;

use super::*;
use crate::cli::describe::{describe_compute, describe_refinement, describe_sampling};
use crate::generator::SamplerKind;
use crate::refiner::{Rule, Target};
use crate::worker::DeviceChoice;
use crate::zoo::DiffusionManifest;

/// A value of the setting, `share` of the way through its range.
fn value_of<S>(row: &Setting<S>, settings: &S, share: u32) -> Value {
    let share = f64::from(share) / f64::from(u32::MAX);
    let place = |count: usize| ((count - 1) as f64 * share).round() as usize;
    match row.kind {
        Kind::Number(_) if row.open.is_some() && share > 0.8 => Value::Open,
        Kind::Number(_) => {
            let parameter = row.parameter(settings).unwrap();
            let (low, high) = parameter.slider;
            let value = low + (high - low) * share;
            Value::Number(if parameter.integer { value.round() } else { value })
        }
        Kind::Switch(_) => Value::Switch(share > 0.5),
        Kind::Choice(_, options) => Value::Choice(options()[place(options().len())].key),
        Kind::Text(_) => row.value(settings),
    }
}

fn fill<S>(table: &[Setting<S>], settings: &mut S, shares: &mut impl Iterator<Item = u32>) {
    for row in table {
        let value = value_of(row, settings, shares.next().unwrap());
        row.put(settings, value);
    }
}

/// Settings that may be, with every value anywhere in its range.
fn any_settings() -> impl Strategy<Value = Settings> {
    proptest::collection::vec(any::<u32>(), 60).prop_map(|shares| {
        let mut settings = Settings::default();
        let (choice, mut shares) = (shares[0], shares.into_iter());
        fill(GenerateSettings::TABLE, &mut settings.generate, &mut shares);
        fill(EditSettings::TABLE, &mut settings.edit, &mut shares);
        fill(RefineSettings::TABLE, &mut settings.refine, &mut shares);
        fill(ComputeSettings::TABLE, &mut settings.compute, &mut shares);
        let Settings { generate, edit, refine, compute } = &mut settings;
        (generate.churn_min, generate.churn_max) =
            (generate.churn_min.min(generate.churn_max), generate.churn_min.max(generate.churn_max));
        if generate.sampler != SamplerKind::Auto && !generate.sampler.churns() {
            generate.churn = 0.0;
        }
        edit.stroke_end = edit.stroke_end.min(0.9 * edit.stroke_start);
        if !refine.rule.has_ball() {
            *refine = RefineSettings { step_unit: StepUnit::Absolute, ..refine.clone().at_origin() };
        }
        match choice % 4 {
            0 => (generate.sigmas, generate.steps) = (vec![80.0, 1.0 / 3.0], 2),
            1 => (generate.ts, generate.steps) = ("0,22,39/40".parse().ok(), STEPS.default as u32),
            2 => (edit.ts, generate.steps) = ("0,8,39/40".parse().ok(), STEPS.default as u32),
            _ => {}
        }
        generate.classes = [Classes::All, Classes::Random, Classes::Only(vec![3, 5])][choice as usize % 3].clone();
        compute.device = [DeviceChoice::Auto, DeviceChoice::Named("RTX 5".to_owned())][choice as usize % 2].clone();
        settings
    })
}

/// The flags that set everything to what it is.
fn flags_of<S>(table: &[Setting<S>], settings: &S, without: &[&str]) -> Vec<String> {
    let rows = table.iter().filter(|row| row.set_by.is_none() && !without.contains(&row.flag()));
    let said = rows.map(|row| (row.flag(), row.typed(settings))).filter(|(_, text)| !text.is_empty());
    said.map(|(flag, text)| format!("--{flag}={text}")).collect()
}

fn all_flags(settings: &Settings) -> Vec<String> {
    let Settings { generate, edit, refine, compute } = settings;
    // Lists of levels replace the number of steps, and cannot be given with it.
    let has_list = !generate.sigmas.is_empty() || generate.ts.is_some() || edit.ts.is_some();
    let without: &[&str] = if has_list { &[STEPS.flag] } else { &[] };
    let mut flags = vec!["lapidary".to_owned()];
    flags.extend(flags_of(GenerateSettings::TABLE, generate, without));
    flags.extend(flags_of(EditSettings::TABLE, edit, &[]));
    flags.extend(flags_of(RefineSettings::TABLE, refine, &[]));
    flags.extend(flags_of(ComputeSettings::TABLE, compute, &[]));
    flags
}

fn read_back(flags: &[String], about: Use) -> Settings {
    let command =
        Command::new("lapidary").args(generate_args()).args(edit_args()).args(refine_args()).args(compute_args());
    let matches = command.try_get_matches_from(flags).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
    let mut settings = Settings::default();
    apply(&matches, &mut settings, about).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn settings_become_flags_and_flags_the_same_settings(mut settings in any_settings()) {
        prop_assert_eq!(settings.check(), Ok(()));
        if settings.edit.task == EditTask::Interpolate {
            // The one flag then means the time steps of new pictures.
            settings.edit.ts = None;
        }
        let about = if settings.edit.ts.is_some() { Use::Edited } else { Use::Generated };
        prop_assert_eq!(read_back(&all_flags(&settings), about), settings);
    }
}

/// The settings with another value of this one.
fn changed<S: Clone>(row: &Setting<S>, settings: &S) -> S {
    let mut changed = settings.clone();
    for share in [0, u32::MAX, u32::MAX / 2] {
        let value = value_of(row, settings, share);
        if value != row.value(settings) {
            row.put(&mut changed, value);
            break;
        }
    }
    changed
}

fn each_change_is_marked<S: Clone + Default>(table: &[Setting<S>]) {
    for row in table.iter().filter(|row| !matches!(row.kind, Kind::Text(_))) {
        let (before, after) = (S::default(), changed(row, &S::default()));
        let mark = row.mark(&before, &after).unwrap_or_else(|| panic!("{} is not marked", row.label()));
        assert!(mark.starts_with(&row.label().to_lowercase()) && mark.contains(" → "), "{mark}");
        assert_eq!(row.mark(&after, &after), None);
    }
}

#[test]
fn a_change_of_any_setting_is_marked() {
    each_change_is_marked(GenerateSettings::TABLE);
    each_change_is_marked(EditSettings::TABLE);
    each_change_is_marked(RefineSettings::TABLE);
    each_change_is_marked(ComputeSettings::TABLE);
    let before = Settings::default();
    let mut after = before.clone();
    after.generate.generator = "mine.pt".to_owned();
    after.generate.classes = Classes::Only(vec![3]);
    after.generate.ts = "0,22,39/40".parse().ok();
    after.refine.classifier = "judge.pt".to_owned();
    after.compute.device = DeviceChoice::Cpu;
    assert_eq!(
        before.changes(&after),
        [
            "generator gtsrb12-cm → mine.pt",
            "classes all → 3",
            "time steps none → 0,22,39/40",
            "classifier gtsrb12-joint → judge.pt",
            "device auto → cpu"
        ]
    );
}

#[test]
fn marks_say_values_as_a_reader_wants_them() {
    let before = RefineSettings::default();
    let mark = |after: &RefineSettings| crate::parameter::marks(RefineSettings::TABLE, &before, after).join(", ");
    let after = RefineSettings { norm: Norm::Linf, eps: 8.0 / 255.0, ..before.clone() };
    assert_eq!(mark(&after), "norm L2 → L∞, radius 3 → 8/255");
    let share = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.1, iterations: None, ..before.clone() };
    assert_eq!(mark(&share), "step size 0.3 → 0.1x, step unit Absolute → × radius, iterations 15 → no end");
    let near = RefineSettings { eps: 3.000_000_1, ..before.clone() };
    assert_eq!(mark(&near), "radius 3 → 3.0000001", "never the same words twice");
}

#[test]
fn a_dry_run_says_every_setting_that_applies() {
    let base = RefineSettings::default();
    let bases = [
        base.clone(),
        RefineSettings { rule: Rule::Sgld, ..base.clone() },
        RefineSettings { target: Target::PseudoLabel, ..base },
    ];
    for row in RefineSettings::TABLE.iter().filter(|row| !matches!(row.kind, Kind::Text(_))) {
        let base = bases.iter().find(|base| row.idle(base).is_none()).expect("it applies to something");
        let settings = changed(row, base);
        let (before, text) = (describe_refinement(base), describe_refinement(&settings));
        let said = match row.kind {
            Kind::Choice(..) if row.set_by.is_some() => format!("{} = 0.1x", STEP_SIZE.symbol),
            Kind::Choice(..) => format!("{}: ", row.words(&settings, &row.value(&settings))),
            _ => row.caption(&settings).expect("a number or a switch"),
        };
        assert!(text.contains(&said) && text != before, "{said} in {text}");
    }
    for (flag, caption) in [("batch", "B = 1"), ("memory", "M = 64")] {
        let row = ComputeSettings::TABLE.iter().find(|row| row.flag() == flag).unwrap();
        let compute = changed(row, &ComputeSettings::default());
        let text = describe_compute(&Settings { compute, ..Settings::default() });
        assert!(text.contains(caption), "{caption} in {text}");
    }
    let edm = DiffusionManifest::new(PreconditioningName::Edm);
    for row in GenerateSettings::of_sampling().filter(|row| !matches!(row.kind, Kind::Text(_))) {
        let base = GenerateSettings { churn: 40.0, ..GenerateSettings::default() };
        let settings = changed(row, &base);
        let (before, text) = (describe_sampling(&base, Some(&edm)), describe_sampling(&settings, Some(&edm)));
        assert_ne!(before, text, "{}", row.label());
    }
}
