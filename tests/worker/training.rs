//! A training goes on beside everything else: it waits, is held, ends within one step with a checkpoint, and shows what it makes.

use std::path::{Path, PathBuf};

use lapidary::worker::train::{Snapshot, Told, TrainReport, TrainSettings};
use lapidary::worker::{Command, DeviceChoice, Event, JobId, Rest, Steer};

use crate::JOB;
use crate::drive::drive;
use crate::tasks::{generate, made};
use crate::tiny::prepare;

/// Names the training.
const TRAINING: JobId = JobId(70);

fn settings(config: PathBuf, samples: u32) -> TrainSettings {
    let out = config.with_extension("out");
    TrainSettings { role: None, config: Some(config), out, resume: false, device: DeviceChoice::Cpu, samples }
}

fn train(settings: TrainSettings, waits: bool) -> Command {
    Command::Train { job: TRAINING, settings, waits }
}

fn told(event: &Event) -> Option<&Told> {
    match event {
        Event::Training { job: TRAINING, told } => Some(told),
        Event::Failed { chain, .. } => panic!("{chain:?}"),
        _ => None,
    }
}

fn step(event: &Event) -> Option<u64> {
    if let Some(Told::Learned { step, .. }) = told(event) { Some(*step) } else { None }
}

fn steps(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(step).collect()
}

fn kept(events: &[Event]) -> Vec<&Snapshot> {
    let kept = |event| if let Some(Told::Kept(kept)) = told(event) { Some(kept) } else { None };
    events.iter().filter_map(kept).collect()
}

fn report(events: &[Event]) -> &TrainReport {
    let report = |event| if let Some(Told::Ready(report)) = told(event) { Some(&**report) } else { None };
    events.iter().find_map(report).expect("it says what it is")
}

const fn rest_of(event: &Event) -> Option<Rest> {
    if let Event::Resting { job: TRAINING, rest } = event { Some(*rest) } else { None }
}

#[test]
fn a_training_waits_is_held_and_stops_within_one_step_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(prepare(folder.path()), 0);
    let out = settings.out.clone();
    let events = drive(vec![train(settings.clone(), true)], |event, commands| {
        let steer = |steer| commands.send(Command::Steer(steer)).unwrap();
        match (rest_of(event), step(event)) {
            (Some(Rest::Paused), _) => {
                let is_new = !out.exists();
                steer(Steer::GoOn);
                assert!(is_new || out.join("metrics.csv").exists());
            }
            (_, Some(3)) => steer(Steer::Pause),
            (_, Some(5)) => steer(Steer::Stop),
            _ => {}
        }
        rest_of(event) != Some(Rest::Stopped)
    });
    let rested: Vec<Rest> = events.iter().filter_map(rest_of).collect();
    assert_eq!(rested, [Rest::Paused, Rest::Paused, Rest::Stopped]);
    assert_eq!(steps(&events), [1, 2, 3, 4, 5]);
    assert_eq!(kept(&events).iter().map(|kept| kept.step).collect::<Vec<_>>(), [2, 4, 5]);
    let whole = report(&events);
    assert_eq!((whole.pictures, whole.steps, whole.classes.len()), ((5, 0), (0, 400), 2));
    assert!(whole.weights > 10_000 && whole.data.last().unwrap().contains("to learn from"), "{whole:?}");

    // What was there before is told of when it goes on; whoever closes the window loses no step.
    let again = TrainSettings { resume: true, ..settings };
    let events = drive(vec![train(again.clone(), false)], |event, _| step(event).is_none());
    let report = report(&events);
    assert_eq!((report.steps.0, report.losses.len(), &*report.kept), (5, 5, &[kept_at(&out, 5)][..]));
    let events = drive(vec![train(again, true)], |event, _| rest_of(event).is_none());
    assert_eq!(self::report(&events).steps.0, 6, "it was kept when nobody listened any more");
}

/// A checkpoint as it is found again.
fn kept_at(out: &Path, step: u64) -> Snapshot {
    let folder = out.join(format!("checkpoints/step_{step:08}"));
    Snapshot { step, folder, networks: vec!["ema_0.9".to_owned(), "model".to_owned()], judged: None }
}

#[test]
fn pictures_are_made_while_it_learns_and_a_checkpoint_in_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(prepare(folder.path()), 3);
    let out = settings.out.clone();
    let (mut shown, in_use) = (Vec::new(), out.join("checkpoints/step_00000002/model.toml"));
    let (mut is_asked, mut is_made, mut is_over) = (false, false, false);
    let events = drive(vec![train(settings, false)], |event, commands| {
        match told(event) {
            Some(Told::Kept(kept)) if kept.step == 2 => commands.send(Command::InUse(vec![in_use.clone()])).unwrap(),
            Some(Told::Samples { step, images }) => {
                shown.push((*step, images.clone()));
                if !std::mem::replace(&mut is_asked, true) {
                    commands.send(generate()).unwrap();
                }
            }
            _ => {}
        }
        is_made |= matches!(event, Event::Resting { job: JOB, .. });
        is_over |= rest_of(event).is_some();
        if is_made && shown.len() > 2 {
            commands.try_send(Command::Steer(Steer::Stop)).unwrap_or_default();
        }
        !(is_made && is_over)
    });
    assert_eq!(made(&events).len(), 1, "what was asked for was done");
    assert_eq!(shown[0].1.shape(), [3, 3, 8, 8]);
    assert_ne!(shown[0].1, shown[1].1, "it has learnt");
    let last = kept(&events).last().expect("a checkpoint").step;
    let left: Vec<_> = std::fs::read_dir(out.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.contains(&kept_at(&out, 2).folder) && left.contains(&kept_at(&out, last).folder), "{left:?}");
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn pictures_of_its_own_are_made_part_by_part_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("boosted.toml");
    let text = "name = 'boosted'
        network.from = 'gtsrb12-cm'
        objective = { kind = 'boosted', bank = 2, held_out = 3, refine.iterations = 1 }
        course = { steps = 5, batch = 2, averages = [] }";
    std::fs::write(&config, text).unwrap();
    let settings = settings(config, 0);
    let refined = |event: &Event| if let Some(Told::Refining(done, 5)) = told(event) { Some(*done) } else { None };
    let events = drive(vec![train(settings.clone(), false)], |event, commands| {
        match (refined(event), rest_of(event)) {
            (Some(2), _) => commands.send(Command::Steer(Steer::Pause)).unwrap(),
            (Some(4), _) => commands.send(Command::Steer(Steer::Stop)).unwrap(),
            (_, Some(Rest::Paused)) => commands.send(Command::Steer(Steer::GoOn)).unwrap(),
            _ => {}
        }
        rest_of(event) != Some(Rest::Stopped)
    });
    assert_eq!(events.iter().filter_map(refined).collect::<Vec<_>>(), [2, 4], "it is held and ends between parts");
    assert_eq!(events.iter().filter_map(rest_of).collect::<Vec<_>>(), [Rest::Paused, Rest::Stopped]);
    assert!(steps(&events).is_empty() && kept(&events).is_empty());
    assert_eq!(report(&events).pictures, (2, 3));

    // Begun anew, it finds what is made, and goes on from there.
    let events = drive(vec![train(settings, false)], |event, _| step(event).is_none());
    assert_eq!(events.iter().filter_map(refined).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn what_a_training_lacks_is_told_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let none = settings(folder.path().join("none.toml"), 0);
    let events = drive(vec![train(none, true)], |event, _| !matches!(event, Event::Failed { .. }));
    let Some(Event::Failed { job: TRAINING, chain }) = events.last() else { panic!("{events:?}") };
    assert!(chain[0].contains("the configuration cannot be read"), "{chain:?}");
}

#[test]
fn a_folder_that_was_renamed_is_made_again_and_nothing_that_was_learnt_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(prepare(folder.path()), 0);
    let (out, elsewhere) = (settings.out.clone(), folder.path().join("elsewhere"));
    let events = drive(vec![train(settings.clone(), false)], |event, commands| {
        let steer = |steer| commands.send(Command::Steer(steer)).unwrap();
        match (rest_of(event), step(event)) {
            (Some(Rest::Paused), _) => {
                std::fs::rename(&out, &elsewhere).unwrap();
                steer(Steer::GoOn);
            }
            (_, Some(3)) => steer(Steer::Pause),
            (_, Some(5)) => steer(Steer::Stop),
            _ => {}
        }
        rest_of(event) != Some(Rest::Stopped)
    });
    let is_told = |event: &Event| matches!(event, Event::Warning(text) if text.contains("was renamed or removed"));
    assert_eq!(events.iter().filter(|event| is_told(event)).count(), 1);
    assert!(elsewhere.join("checkpoints/step_00000002/training.json").is_file());

    // It goes on where it was, also without its configuration, but then with the same one only.
    let again = TrainSettings { resume: true, ..settings };
    let events = drive(vec![train(again.clone(), true)], |event, _| rest_of(event).is_none());
    assert_eq!(report(&events).steps.0, 5);
    std::fs::remove_file(out.join("config.toml")).unwrap();
    let events = drive(vec![train(again.clone(), true)], |event, _| rest_of(event).is_none());
    assert_eq!(report(&events).steps.0, 5);
    let config = again.config.clone().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let other = text.replace("batch = 2", "batch = 3");
    assert_ne!(text, other);
    std::fs::write(&config, other).unwrap();
    let events = drive(vec![train(again, true)], |event, _| !matches!(event, Event::Failed { .. }));
    let Some(Event::Failed { chain, .. }) = events.last() else { panic!("{events:?}") };
    assert!(chain[0].contains("begun with another course.batch = 3 (was 2)"), "{chain:?}");
}

#[test]
fn a_generator_learns_by_lpips_where_its_weights_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let config = prepare(folder.path());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lpips");
    let [vgg, linear] = ["vgg", "heads"].map(|name| golden.join(name).with_extension("safetensors"));
    let text = std::fs::read_to_string(&config).unwrap();
    let with = |vgg: &Path| {
        let metric =
            format!("metric = {{ kind = 'lpips', vgg = '{}', linear = '{}' }} }}", vgg.display(), linear.display());
        text.replace("last = 4 } }", &format!("last = 4 }}, {metric}"))
    };
    std::fs::write(&config, with(&vgg)).unwrap();
    let settings = settings(config.clone(), 0);
    let events = drive(vec![train(settings.clone(), false)], |event, _| step(event) != Some(2));
    let losses = events.iter().filter_map(|event| match told(event) {
        Some(Told::Learned { learned, .. }) => Some(learned.loss),
        _ => None,
    });
    assert!(losses.clone().count() == 2 && losses.clone().all(|loss| loss.is_finite() && loss > 0.0));

    std::fs::remove_dir_all(&settings.out).unwrap();
    std::fs::write(&config, with(&linear)).unwrap();
    let events = drive(vec![train(settings, true)], |event, _| !matches!(event, Event::Failed { .. }));
    let Some(Event::Failed { chain, .. }) = events.last() else { panic!("{events:?}") };
    assert!(chain[0].contains("features.0.weight"), "{chain:?}");
}
