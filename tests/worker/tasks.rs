//! Every kind of work can be paused, taken step by step, stopped and replaced; a file that was written again is read again.

use std::path::Path;

use lapidary::checkpoint::{Checkpoint, unwatched};
use lapidary::generator::{EditSettings, EditTask, GenerateSettings, SamplerKind};
use lapidary::refiner::RefineSettings;
use lapidary::session::{Action, Activity, Session, Verb};
use lapidary::trace::{RunId, Tag};
use lapidary::worker::{Command, ComputeSettings, DeviceChoice, Event, JobId, Rest};

use crate::drive::drive;
use crate::{JOB, RUN, iterations, origins, refine, resting, rests, states};

/// Names of work that goes on under another one.
const LATER: [JobId; 2] = [JobId(8), JobId(9)];

pub(crate) fn on_cpu() -> ComputeSettings {
    ComputeSettings { device: DeviceChoice::Cpu, ..Default::default() }
}

/// Two pictures in three steps of two network calls each.
pub(crate) fn generate() -> Command {
    let settings = GenerateSettings {
        generator: "gtsrb12-edm".to_owned(),
        samples: 2,
        sampler: SamplerKind::Heun,
        steps: 3,
        ..Default::default()
    };
    Command::Generate { job: JOB, settings, compute: on_cpu() }
}

fn go_on(job: JobId, run: Option<RunId>, iterations: u32) -> Command {
    Command::Continue { job, run, iterations: std::num::NonZeroU32::new(iterations) }
}

/// The pictures that were made, as bits.
pub(crate) fn made(events: &[Event]) -> Vec<Vec<u32>> {
    let bits = |event: &Event| match event {
        Event::Generated { origins, .. } => Some(origins.images.pixels().iter().map(|value| value.to_bits()).collect()),
        _ => None,
    };
    events.iter().filter_map(bits).collect()
}

/// The names of work that rested, and why.
fn rested(events: &[Event]) -> Vec<(JobId, Rest)> {
    let rest = |event: &Event| match event {
        Event::Resting { job, rest } => Some((*job, *rest)),
        _ => None,
    };
    events.iter().filter_map(rest).collect()
}

#[test]
fn making_pictures_can_be_paused_taken_step_by_step_and_gives_the_same_pictures() {
    let whole = drive(vec![generate()], |event, _| !rests(event));
    assert_eq!(rested(&whole), [(JOB, Rest::Finished)]);
    let mut pauses = 0;
    let paused = drive(vec![generate()], |event, commands| {
        match event {
            Event::Generating { done: 1..=2, job: JOB, .. } => commands.send(Command::Pause).unwrap(),
            Event::Resting { rest: Rest::Paused, .. } => {
                let (job, steps) = (LATER[pauses], [1, 0][pauses]);
                pauses += 1;
                commands.send(go_on(job, None, steps)).unwrap();
            }
            _ => {}
        }
        !matches!(event, Event::Resting { rest: Rest::Finished | Rest::Stopped, .. })
    });
    assert_eq!(rested(&paused), [(JOB, Rest::Paused), (LATER[0], Rest::Paused), (LATER[1], Rest::Finished)]);
    assert!(!made(&whole).is_empty() && made(&whole) == made(&paused), "a pause changes no bit");
}

#[test]
fn an_edit_is_seen_on_its_way_where_somebody_looks() {
    let edit = |previews| Command::Edit {
        job: JOB,
        settings: GenerateSettings::default(),
        edit: EditSettings { task: EditTask::Colorize, grid: 6, ..Default::default() },
        reference: Some(origins()),
        mask: None,
        compute: on_cpu(),
        previews,
    };
    let [seen, unseen] = [true, false].map(|previews| drive(vec![edit(previews)], |event, _| !rests(event)));
    let previews = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Preview { .. })).count();
    assert!(previews(&seen) > 0 && previews(&unseen) == 0, "{} and {}", previews(&seen), previews(&unseen));
    assert!(!made(&seen).is_empty() && made(&seen) == made(&unseen), "looking changes no bit");
}

#[test]
fn a_stop_while_pictures_are_made_comes_within_one_step() {
    let events = drive(vec![generate()], |event, commands| {
        if matches!(event, Event::Generating { .. }) {
            commands.send(Command::Stop).unwrap();
        }
        !rests(event)
    });
    assert_eq!(rested(&events), [(JOB, Rest::Stopped)]);
    let steps = events.iter().filter(|event| matches!(event, Event::Generating { .. })).count();
    assert_eq!((steps, made(&events).len()), (1, 0), "one step of three: nothing is finished");
}

#[test]
fn a_stop_while_a_model_is_read_comes_before_the_first_state() {
    for command in [refine(None), generate()] {
        let events = drive(vec![command], |event, commands| {
            if matches!(event, Event::Device { .. }) {
                commands.send(Command::Stop).unwrap();
            }
            !rests(event)
        });
        assert_eq!(rested(&events), [(JOB, Rest::Stopped)]);
        let begun = |event: &Event| matches!(event, Event::State { .. } | Event::Generating { .. });
        assert!(!events.iter().any(begun), "{events:?}");
    }
}

#[test]
fn work_that_goes_on_has_the_name_that_it_was_given() {
    let events = drive(vec![refine(Some(1))], |event, commands| {
        if *event == resting(Rest::Finished) {
            commands.send(go_on(LATER[0], Some(RUN), 1)).unwrap();
        }
        !matches!(event, Event::Resting { job, .. } if *job == LATER[0])
    });
    let name = |event: &Event| match event {
        Event::State { job, state, .. } => Some((*job, state.iteration)),
        _ => None,
    };
    let names: Vec<_> = events.iter().filter_map(name).collect();
    assert_eq!(names, [(JOB, 0), (JOB, 1), (LATER[0], 2)]);
}

#[test]
fn going_on_with_nothing_is_answered() {
    let events = drive(vec![go_on(JOB, Some(RUN), 1)], |event, _| !matches!(event, Event::Failed { .. }));
    let Some(Event::Failed { job, chain }) = events.last() else { panic!("{events:?}") };
    assert_eq!(*job, JOB);
    assert!(chain.concat().contains("run again"), "{chain:?}");
}

#[test]
fn settings_that_come_before_the_first_state_count_from_then_on() {
    let settings = RefineSettings { eps: 0.1, ..Default::default() };
    let commands = vec![refine(Some(1)), Command::Update { run: RUN, settings: settings.clone() }];
    let events = drive(commands, |event, _| !rests(event));
    assert_eq!(iterations(&events), [0, 1]);
    assert!(events.contains(&Event::Updated { job: JOB, run: RUN, iteration: 0, settings }), "{events:?}");
    assert!(states(&events)[1].numbers.delta_l2[0] <= 0.1 + 1e-6);
}

/// The names of the work that the session asks for.
fn jobs(session: &mut Session) -> Vec<JobId> {
    let job = |command: &Command| match command {
        Command::Generate { job, .. } | Command::Refine { job, .. } | Command::Continue { job, .. } => Some(*job),
        _ => None,
    };
    session.take_commands().iter().filter_map(job).collect()
}

#[test]
fn a_late_rest_of_the_last_plan_does_not_end_the_next() {
    // States as the compute thread would send them.
    let events = drive(vec![refine(Some(1))], |event, _| !rests(event));
    let mut session = Session::default();
    session.handle(Action::Do(Verb::Generate));
    let [making] = jobs(&mut session)[..] else { panic!("one piece of work") };
    session.apply(Event::Generated { job: making, origins: origins(), secs: 0.0 });
    let [judging] = jobs(&mut session)[..] else { panic!("the first state is asked for") };
    let run = session.shown_run().expect("a run");
    let state = |job, k: usize| {
        let state = std::sync::Arc::new(states(&events)[k].clone());
        Event::State { job, run, state, secs: 0.0 }
    };
    session.apply(state(judging, 0));
    session.apply(Event::Resting { job: judging, rest: Rest::Finished });

    session.handle(Action::Do(Verb::Step));
    let [first] = jobs(&mut session)[..] else { panic!("one step") };
    session.apply(state(first, 1));
    session.apply(Event::Resting { job: first, rest: Rest::Finished });
    assert_eq!(session.activity(), Activity::Idle, "the plan is done");
    session.handle(Action::Do(Verb::RunOrPause));
    let [second] = jobs(&mut session)[..] else { panic!("the next plan") };
    assert_ne!(first, second);
    session.apply(Event::Resting { job: first, rest: Rest::Finished });
    assert_eq!(session.activity(), Activity::Running, "the next plan goes on");
    session.apply(Event::Resting { job: second, rest: Rest::Finished });
    assert_eq!(session.activity(), Activity::Idle);
}

#[test]
fn a_folder_of_diffusers_makes_pictures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusers/tiny-consistency");
    let generator = folder.to_str().expect("a plain path").to_owned();
    let settings = GenerateSettings { generator, samples: 1, ..Default::default() };
    let events = drive(vec![Command::Generate { job: JOB, settings, compute: on_cpu() }], |event, _| {
        !matches!(event, Event::Generated { .. } | Event::Failed { .. })
    });
    assert_eq!(made(&events).len(), 1, "{events:?}");
}

/// The demo's classifier as a file of the user's, and the same with other weights: as many bytes, no hash in the manifest.
fn trained_twice(folder: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = std::fs::read_to_string(models.join("gtsrb12-joint.toml")).expect("it is in the repository");
    let without_hash: Vec<&str> = manifest.lines().filter(|line| !line.starts_with("sha256")).collect();
    let manifest = without_hash.join("\n").replace("gtsrb12-joint.safetensors", "mine.safetensors");
    std::fs::write(folder.join("mine.toml"), manifest).expect("a writable folder");
    let mut weights = std::fs::read(models.join("gtsrb12-joint.safetensors")).expect("it is in the repository");
    let path = folder.join("mine.safetensors");
    std::fs::write(&path, &weights).expect("a writable folder");
    let header = 8 + weights[0] as usize + 256 * weights[1] as usize;
    let names: serde_json::Value = serde_json::from_slice(&weights[8..header]).expect("a short header");
    let [from, to] = [0, 1].map(|end| names["fc.weight"]["data_offsets"][end].as_u64().expect("an offset") as usize);
    // The sign of every third number.
    weights[header + from..header + to].iter_mut().skip(3).step_by(12).for_each(|byte| *byte ^= 0x80);
    (path, weights)
}

#[test]
fn a_model_whose_file_was_written_again_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = trained_twice(folder.path());
    let Command::Refine { run, origins, compute, .. } = refine(Some(0)) else { unreachable!("it refines") };
    let judge = |job| Command::Refine {
        job: JobId(job),
        run,
        origins: origins.clone(),
        from: None,
        references: None,
        settings: RefineSettings { classifier: path.to_str().unwrap().to_owned(), ..Default::default() },
        iterations: Some(0),
        compute: compute.clone(),
        chunk: None,
        tag: Tag::default(),
    };
    let mut job = 1;
    let events = drive(vec![judge(1)], |event, commands| {
        if rests(event) {
            job += 1;
            if job == 3 {
                std::fs::write(&path, &other).unwrap();
            }
            if job <= 4 {
                commands.send(judge(job)).unwrap();
            }
        }
        job <= 4
    });
    let hash = |event: &Event| match event {
        Event::Classifier { info, .. } => Some(info.sha256.clone()),
        _ => None,
    };
    let hashes: Vec<String> = events.iter().filter_map(hash).collect();
    let logits = |event: &Event| match event {
        Event::State { state, .. } => Some(state.numbers.logits.clone()),
        _ => None,
    };
    let logits: Vec<Vec<f32>> = events.iter().filter_map(logits).collect();
    let [a, b, c, d] = &hashes[..] else { panic!("four pieces of work: {events:?}") };
    assert!(a == b && b != c && c == d, "{hashes:?}");
    let now = Checkpoint::open(&path).unwrap().sha256(&mut unwatched).unwrap();
    assert_eq!(*d, now, "provenance names the file that was read");
    assert!(logits[0] == logits[1] && logits[1] != logits[2] && logits[2] == logits[3]);
}
