//! Checks, typing, and who must know of a change.

use super::*;

#[test]
fn the_defaults_are_the_demos() {
    let settings = RefineSettings::default();
    assert_eq!((settings.objective, settings.norm), (Objective::TargetLogit, Norm::L2));
    assert_eq!((settings.eps, settings.step_size), (3.0, 0.3));
    assert_eq!(settings.iterations.map(NonZeroU32::get), Some(15));
}

#[test]
fn a_ratio_follows_the_radius() {
    let ratio = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.1, eps: 5.0, ..Default::default() };
    assert!((ratio.step_length() - 0.5).abs() < 1e-12);
    assert!((ratio.reach().unwrap() - 1.5).abs() < 1e-12);
    assert_eq!(RefineSettings { iterations: None, ..ratio.clone() }.reach(), None);
    assert_eq!(RefineSettings { rule: Rule::Sgld, ..ratio }.reach(), None, "there is no radius to reach");
}

#[test]
fn impossible_numbers_are_refused() {
    for bad in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        assert!(RefineSettings { eps: bad, ..Default::default() }.check().is_err());
        assert!(RefineSettings { step_size: bad, ..Default::default() }.check().is_err());
        assert!(RefineSettings { gradient_divisor: bad, ..Default::default() }.check().is_err());
        assert_eq!(RefineSettings { noise: bad, ..Default::default() }.check().is_ok(), bad == 0.0);
    }
    for (restarts, fine) in [(0, false), (1, true), (64, true), (65, false)] {
        assert_eq!(RefineSettings { restarts, ..Default::default() }.check().is_ok(), fine);
    }
}

#[test]
fn what_needs_a_ball_is_refused_in_one_sentence_where_there_is_none() {
    let sgld = RefineSettings { rule: Rule::Sgld, ..Default::default() };
    assert_eq!(sgld.check(), Ok(()));
    for (settings, message) in [
        (
            RefineSettings { step_unit: StepUnit::Ratio, ..sgld.clone() },
            "Step size is 0.3 × radius, but must be an absolute length with SGLD, which has no ball; give a value such as 0.3",
        ),
        (
            RefineSettings { restarts: 4, ..sgld.clone() },
            "Restarts is 4, but must be 1 with SGLD, which has no ball; give a value such as 1",
        ),
        (
            RefineSettings { random_start: true, ..sgld },
            "Number of random starts is 1, but must be 0 with SGLD, which has no ball; give a value such as 0",
        ),
    ] {
        assert_eq!(settings.check().unwrap_err().to_string(), message);
        assert_eq!(RefineSettings { rule: Rule::Pgd, ..settings }.check(), Ok(()));
    }
}

#[test]
fn settings_of_older_files_are_those_of_then() {
    let old = r#"{"classifier":"gtsrb12-robust","objective":"ce","norm":"linf","eps":0.1,"step_size":0.01}"#;
    let settings: RefineSettings = serde_json::from_str(old).unwrap();
    let expected = RefineSettings {
        classifier: "gtsrb12-robust".to_owned(),
        objective: Objective::Ce,
        norm: Norm::Linf,
        eps: 0.1,
        step_size: 0.01,
        ..Default::default()
    };
    assert_eq!(settings, expected);
    assert_eq!((settings.rule, settings.target, settings.restarts), (Rule::Pgd, Target::Label, 1));
}

#[test]
fn another_norm_brings_its_own_radius_and_step() {
    let row = |flag: &str| RefineSettings::TABLE.iter().find(|row| row.flag() == flag).unwrap();
    let mut settings = RefineSettings { eps: 5.0, ..Default::default() };
    row("norm").put(&mut settings, Value::Choice("linf"));
    assert_eq!((settings.eps, settings.step_size), (8.0 / 255.0, 2.0 / 255.0));
    assert!(row("radius").type_in(&mut settings, "3").is_err(), "an L2 radius is none here");
    assert_eq!(row("radius").type_in(&mut settings, "4/255"), Ok(()));
    row("norm").put(&mut settings, Value::Choice("linf"));
    assert_eq!(settings.eps, 4.0 / 255.0, "the same norm changes nothing");
    row("norm").put(&mut settings, Value::Choice("l2"));
    assert_eq!((settings.eps, settings.step_size), (3.0, 0.3));
    let share = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.1, ..Default::default() };
    let mut settings = share.clone();
    row("norm").put(&mut settings, Value::Choice("linf"));
    assert_eq!((settings.step_size, settings.step_unit), (0.1, StepUnit::Ratio), "a share follows the radius");
}

#[test]
fn a_radius_of_an_older_file_is_not_refused() {
    assert_eq!(RefineSettings { norm: Norm::Linf, eps: 3.0, ..Default::default() }.check(), Ok(()));
}

#[test]
fn a_step_is_typed_as_a_length_or_as_a_share_of_the_radius() {
    let row = RefineSettings::TABLE.iter().find(|row| row.label() == STEP_SIZE.label).unwrap();
    let typed = |text: &str| {
        let mut settings = RefineSettings::default();
        row.type_in(&mut settings, text).map(|()| (settings.step_size, settings.step_unit))
    };
    assert_eq!(typed("1.5*3/7"), Ok((1.5 * 3.0 / 7.0, StepUnit::Absolute)));
    assert_eq!(typed("0.1x"), Ok((0.1, StepUnit::Ratio)));
    assert_eq!(typed("10 %"), Ok((0.1, StepUnit::Ratio)));
    // A flag means the same whatever a session had before; in a field the unit is the one that is seen there.
    let share = RefineSettings { step_unit: StepUnit::Ratio, ..Default::default() };
    let (mut by_flag, mut in_field) = (share.clone(), share);
    assert_eq!((row.type_in(&mut by_flag, "0.1"), row.type_into_field(&mut in_field, "0.1")), (Ok(()), Ok(())));
    assert_eq!([by_flag, in_field].map(|all| all.step_length()), [0.1, 0.1 * 3.0]);
    for bad in ["x", "%", "0x", "", "wide"] {
        let mut settings = RefineSettings::default();
        let message = row.type_in(&mut settings, bad).unwrap_err().to_string();
        assert!(message.starts_with("Step size is ") && message.contains("a number from"), "{message}");
        assert_eq!(settings, RefineSettings::default(), "what is refused changes nothing");
    }
}

#[test]
fn what_a_change_affects_says_who_must_know() {
    let base = RefineSettings::default();
    let random = RefineSettings { random_start: true, ..base.clone() };
    let wider = |settings: &RefineSettings| RefineSettings { eps: 4.0, ..settings.clone() };
    let sgld = RefineSettings { rule: Rule::Sgld, ..base.clone() };
    assert!(base.starts_like(&sgld), "both start at the picture");
    assert!(base.starts_like(&wider(&base)) && !random.starts_like(&wider(&random)) && !base.starts_like(&random));
    assert!(base.runs_like(&RefineSettings { iterations: None, ..base.clone() }) && !base.runs_like(&wider(&base)));
    for (changed, wakes) in [
        (wider(&base), false),
        (RefineSettings { noise: 0.5, ..base.clone() }, false),
        (RefineSettings { early_stop: true, ..base.clone() }, true),
        (RefineSettings { rule: Rule::Ascent, ..base.clone() }, true),
        (RefineSettings { objective: Objective::Ce, ..base.clone() }, true),
    ] {
        assert_eq!(base.wakes(&changed), wakes, "{changed:?}");
    }
    let sgld = RefineSettings { noise: 0.1, ..sgld };
    assert!(sgld.wakes(&RefineSettings { noise: 0.0, ..sgld.clone() }), "noise moves what the gradient does not");
    assert!(!sgld.wakes(&RefineSettings { noise: 0.2, ..sgld.clone() }));
}

#[test]
fn objectives_compare_only_while_formula_and_targets_stay() {
    let base = RefineSettings::default();
    let pseudo = RefineSettings { target: Target::PseudoLabel, ..base.clone() };
    assert!(base.compares_with(&RefineSettings { eps: 1.0, debias: true, ..base.clone() }));
    assert!(!base.compares_with(&RefineSettings { objective: Objective::Ce, ..base.clone() }));
    assert!(!base.compares_with(&RefineSettings { classifier: "another".to_owned(), ..base.clone() }));
    assert!(!base.compares_with(&pseudo));
    assert!(!pseudo.compares_with(&RefineSettings { debias: true, ..pseudo.clone() }));
}

#[test]
fn what_was_chosen_for_a_ball_comes_back_with_the_ball() {
    let rule = RefineSettings::TABLE.iter().find(|row| row.flag() == "rule").unwrap();
    let choose = |settings: &mut RefineSettings, key| rule.put(settings, Value::Choice(key));
    for share in [0.33, 0.1, 1.0 / 7.0] {
        let (step_unit, step_size) = (StepUnit::Ratio, share);
        let chosen =
            RefineSettings { step_unit, step_size, random_start: true, restarts: 4, ..RefineSettings::default() };
        let mut settings = chosen.clone();
        choose(&mut settings, "sgld");
        assert_eq!((settings.step_unit, settings.step_size), (StepUnit::Absolute, share * 3.0));
        assert_eq!(settings.check(), Ok(()));
        choose(&mut settings, "ascent");
        // Also when the session was saved and opened on the way.
        let text = serde_json::to_string(&settings).unwrap();
        let mut settings: RefineSettings = serde_json::from_str(&text).unwrap();
        choose(&mut settings, "pgd");
        assert_eq!(settings, chosen, "to the last bit");
    }
    let mut settings = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.1, ..RefineSettings::default() };
    choose(&mut settings, "sgld");
    settings.step_size = 1.5;
    choose(&mut settings, "pgd");
    assert_eq!((settings.step_unit, settings.step_size), (StepUnit::Ratio, 0.5), "the length that was typed meanwhile");
    let mut settings = RefineSettings::default();
    choose(&mut settings, "sgld");
    assert!(!serde_json::to_string(&settings).unwrap().contains("aside"), "nothing was chosen");
    choose(&mut settings, "pgd");
    assert_eq!(settings, RefineSettings::default());
}
