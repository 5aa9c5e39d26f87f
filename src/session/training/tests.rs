//! A training beside a session, told by hand.

use std::sync::Arc;

use super::*;
use crate::generator::GenerateSettings;
use crate::origins::Origins;
use crate::session::{Activity, Settings, Verb, toy};
use crate::train::{Learned, Validation};
use crate::worker::{DeviceInfo, Event};

fn act(session: &mut Session, action: TrainAction) {
    session.handle(Action::Train(action));
}

/// The name of the training that was asked for, and whether it waits.
fn asked(session: &mut Session) -> (JobId, bool) {
    let commands = session.take_commands();
    let asked = commands.iter().find_map(|command| match command {
        Command::Train { job, waits, .. } => Some((*job, *waits)),
        _ => None,
    });
    asked.unwrap_or_else(|| panic!("{commands:?}"))
}

fn report(role: Role, step: u64) -> Told {
    let device = DeviceInfo {
        name: "toy".to_owned(),
        backend: String::new(),
        cpu: true,
        software: false,
        driver: String::new(),
        untuned: false,
        checks: Vec::new(),
    };
    Told::Ready(Box::new(TrainReport {
        role,
        name: "signs".to_owned(),
        objective: String::new(),
        data: Vec::new(),
        pictures: (5, 0),
        shape: [1, 1, 1],
        classes: Vec::new(),
        weights: 7,
        steps: (step, 10),
        batch: 2,
        device,
        config: String::new(),
        losses: (1..=step).map(|step| (step, 1.0)).collect(),
        kept: Vec::new(),
    }))
}

fn tell(session: &mut Session, job: JobId, told: Told) {
    session.apply(Event::Training { job, told });
}

fn learn(session: &mut Session, job: JobId, step: u64) {
    let learned = Learned { loss: 0.5, gradient: 1.0, rate: 1e-3 };
    tell(session, job, Told::Learned { step, learned, secs: 2.0 });
}

fn rest(session: &mut Session, job: JobId, rest: Rest) {
    session.apply(Event::Resting { job, rest });
}

/// A training of a role that goes on, of which the first step is done.
fn trained(session: &mut Session, folder: &Path, role: Role) -> JobId {
    act(session, TrainAction::Choose(folder.join("signs.toml")));
    let (job, waits) = asked(session);
    assert!(waits, "it is looked at first");
    tell(session, job, report(role, 0));
    rest(session, job, Rest::Paused);
    assert_eq!(session.training().unwrap().phase, TrainPhase::Waits);
    act(session, TrainAction::Steer(Steer::GoOn));
    assert_eq!(session.take_commands(), [Command::Steer(Steer::GoOn)]);
    learn(session, job, 1);
    job
}

/// A checkpoint on the disk.
fn keep(session: &mut Session, job: JobId, folder: &Path, step: u64) -> String {
    let folder = folder.join(format!("step_{step}"));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ema_0.9.toml").to_string_lossy().into_owned();
    let judged = Some(Validation {
        pictures: 3,
        numbers: vec![("clean".to_owned(), Some(0.5)), ("attacked".to_owned(), Some(0.25))],
    });
    for name in ["ema_0.9.toml", "model.toml"] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    let networks = vec!["ema_0.9".to_owned(), "model".to_owned()];
    tell(session, job, Told::Kept(Snapshot { step, folder, networks, judged }));
    file
}

#[test]
fn a_training_is_looked_at_begun_held_ended_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::default();
    let job = trained(&mut session, folder.path(), Role::Generator);
    let training = session.training().unwrap();
    assert!(session.is_training() && !session.is_busy(), "everything else can be done meanwhile");
    assert_eq!((training.step, training.eta_secs()), (1, Some(18.0)));
    act(&mut session, TrainAction::Choose(folder.path().join("other.toml")));
    act(&mut session, TrainAction::Close);
    assert!(session.take_commands().is_empty(), "what it has learnt is not given up for another one");
    act(&mut session, TrainAction::Steer(Steer::Pause));
    rest(&mut session, job, Rest::Paused);
    assert_eq!(session.training().unwrap().phase, TrainPhase::Paused);
    act(&mut session, TrainAction::Steer(Steer::Stop));
    let steered = [Steer::Pause, Steer::Stop].map(Command::Steer);
    assert_eq!(session.take_commands(), steered);
    assert!(session.is_training(), "it keeps a checkpoint");
    rest(&mut session, job, Rest::Stopped);
    assert!(!session.is_training());
    act(&mut session, TrainAction::Steer(Steer::GoOn));
    let (again, waits) = asked(&mut session);
    assert!(again > job && !waits, "another piece of work, which does not wait");
    tell(&mut session, job, report(Role::Generator, 3));
    assert!(session.training().unwrap().report.is_none(), "what the old one still says is old");
    tell(&mut session, again, report(Role::Generator, 3));
    let training = session.training().unwrap();
    assert_eq!((training.step, training.losses.len(), training.phase), (3, 3, TrainPhase::Runs));
}

#[test]
fn pictures_are_refined_before_the_first_step_and_are_held_as_steps_are() {
    let mut session = Session::default();
    act(&mut session, TrainAction::Choose("boosted.toml".into()));
    let (job, _) = asked(&mut session);
    tell(&mut session, job, report(Role::Boosted, 0));
    rest(&mut session, job, Rest::Paused);
    act(&mut session, TrainAction::Steer(Steer::GoOn));
    tell(&mut session, job, Told::Refining(4, 18));
    rest(&mut session, job, Rest::Paused);
    let training = session.training().unwrap();
    assert_eq!((training.phase, training.refined), (TrainPhase::Paused, Some((4, 18))), "it is begun");
    act(&mut session, TrainAction::Steer(Steer::GoOn));
    tell(&mut session, job, Told::Refining(18, 18));
    learn(&mut session, job, 1);
    let training = session.training().unwrap();
    assert_eq!((training.phase, training.refined, training.secs), (TrainPhase::Runs, None, Some(2.0)));
}

#[test]
fn a_training_that_fails_says_why_and_leaves_the_rest_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::default();
    let job = trained(&mut session, folder.path(), Role::Generator);
    session.apply(Event::Failed { job, chain: vec!["the disk is full".to_owned()] });
    assert_eq!(session.training().unwrap().phase, TrainPhase::Failed);
    assert_eq!((session.notices.list()[0].title.as_str(), session.activity()), ("The disk is full", Activity::Idle));
    act(&mut session, TrainAction::Steer(Steer::GoOn));
    let (job, _) = asked(&mut session);
    tell(&mut session, job, report(Role::Generator, 1));
    session.crashed("of nothing".to_owned());
    assert_eq!(session.training().unwrap().phase, TrainPhase::Failed, "it died with the thread");
}

#[test]
fn a_checkpoint_takes_the_place_of_the_network_and_the_pictures_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
    let made_by = Some(GenerateSettings::default());
    let (mut session, of) = toy::about(Origins { made_by, ..Origins::opened(images, vec![0], Vec::new()) });
    toy::come(&mut session, of, 0, &[0.0]);
    let job = trained(&mut session, folder.path(), Role::Generator);
    let file = keep(&mut session, job, folder.path(), 2);
    assert!(session.take_commands().is_empty(), "nobody wants it yet");
    act(&mut session, TrainAction::Use(2));
    assert_eq!(session.settings().generate.generator, file);
    let commands = session.take_commands();
    assert!(matches!(&commands[0], Command::InUse(files) if files[0].to_str() == Some(&file)), "{commands:?}");
    assert!(matches!(&commands[1], Command::Generate { settings, .. } if settings.generator == file));

    // While the pictures are made the next one waits; then it is used by itself.
    act(&mut session, TrainAction::Follow(true));
    let next = keep(&mut session, job, folder.path(), 4);
    assert_eq!(session.settings().generate.generator, file);
    let Command::Generate { job: making, .. } = commands[1] else { panic!("as above") };
    session.apply(Event::Resting { job: making, rest: Rest::Stopped });
    assert_eq!(session.settings().generate.generator, next);
    assert!(session.can(Verb::Undo) && session.changes_of(Verb::Undo).len() == 1);
}

#[test]
fn iterates_that_no_file_holds_stay_when_a_checkpoint_is_used_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
    let made_by = Some(GenerateSettings::default());
    let (mut session, of) = toy::about(Origins { made_by, ..Origins::opened(images, vec![0], Vec::new()) });
    toy::come(&mut session, of, 0, &[0.0]);
    toy::come(&mut session, of, 1, &[1.0]);
    let job = trained(&mut session, folder.path(), Role::Generator);
    act(&mut session, TrainAction::Follow(true));
    let before = session.settings().generate.generator.clone();
    let file = keep(&mut session, job, folder.path(), 2);
    let is_making = |commands: &[Command]| commands.iter().any(|it| matches!(it, Command::Generate { .. }));
    assert!(!is_making(&session.take_commands()) && session.question().is_none());
    assert_eq!(session.settings().generate.generator, before, "it is not in use");
    assert!(session.waits_for_saving());
    act(&mut session, TrainAction::Use(2));
    assert!(session.question().is_some(), "by hand it is asked");
    session.handle(Action::Cancel);
    assert_eq!(session.settings().generate.generator, before, "nothing has changed");
    let kept = session.training().unwrap().kept[0].clone();
    assert_eq!(session.usage(&kept), Usage::None);
    act(&mut session, TrainAction::Use(2));
    session.handle(Action::Confirm);
    assert_eq!((&session.settings().generate.generator, session.usage(&kept)), (&file, Usage::Chosen));
    assert!(is_making(&session.take_commands()));
    std::fs::remove_dir_all(&kept.folder).unwrap();
    act(&mut session, TrainAction::Use(2));
    let is_told = |title: &str| session.notices.list().iter().any(|notice| notice.title == title);
    assert!(is_told("The checkpoint of step 2 is not used"), "{:?}", session.notices.list());
    assert!(session.training().unwrap().kept.is_empty(), "it is not offered any more");

    // A classifier waits for the next run.
    let mut session = Session::new(Settings::default());
    session.record.origins =
        Some(Arc::new(Origins::opened(ImageBatch::new([1, 1, 1, 1], vec![0.5]), vec![0], Vec::new())));
    let job = trained(&mut session, folder.path(), Role::Classifier);
    let file = keep(&mut session, job, folder.path(), 2);
    act(&mut session, TrainAction::Network("model".to_owned()));
    act(&mut session, TrainAction::Use(2));
    assert_eq!(session.settings().refine.classifier, file.replace("ema_0.9", "model"));
    assert!(!is_making(&session.take_commands()));
    assert_eq!(session.training().unwrap().judged.len(), 1);
}

#[test]
fn a_checkpoint_of_other_classes_changes_nothing_and_a_classifier_refines_again() {
    let folder = tempfile::tempdir().unwrap();
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let signs = crate::zoo::class_names("gtsrb12-joint").unwrap();
    let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
    let origins = Origins { classes: Some(signs.clone()), ..Origins::opened(images, vec![3], Vec::new()) };
    let (mut session, of) = toy::about(origins);
    toy::come(&mut session, of, 0, &[0.0; 12]);
    toy::come(&mut session, of, 1, &[1.0; 12]);
    let job = trained(&mut session, folder.path(), Role::Classifier);
    let file = keep(&mut session, job, folder.path(), 2);
    let describe = |classes: Vec<String>| {
        let (mut manifest, _) = crate::zoo::find("gtsrb12-joint").unwrap();
        manifest.classes = classes;
        std::fs::write(&file, toml::to_string(&manifest).unwrap()).unwrap();
    };
    let runs = |session: &Session| session.trace().runs().count();

    describe(signs.iter().map(|name| format!("no {name}")).collect());
    let before = session.settings().clone();
    session.take_commands();
    act(&mut session, TrainAction::Use(2));
    assert_eq!((session.settings(), runs(&session)), (&before, 1));
    assert_eq!(session.notices.list()[0].title, "The checkpoint of step 2 is not used");
    // Chosen as a model it stays in the settings, but no run is begun, and what is seen keeps its names.
    let mut chosen = before.clone();
    chosen.refine.classifier.clone_from(&file);
    session.handle(Action::Edit(Box::new(chosen)));
    session.handle(Action::Do(Verb::RunOrPause));
    assert_eq!((runs(&session), session.class_name(3)), (1, signs[3].clone()));
    let titles: Vec<&str> = session.notices.list()[1..].iter().map(|notice| notice.title.as_str()).collect();
    assert_eq!(titles, ["No run is begun"]);
    session.handle(Action::Do(Verb::Undo));
    assert_eq!((session.settings(), session.class_names()), (&before, &signs[..]));

    describe(names(&["a"]).into_iter().flatten().chain(signs[1..].iter().cloned()).collect());
    act(&mut session, TrainAction::Use(2));
    assert_eq!(session.settings(), &before, "one name is another");
    describe(signs);
    act(&mut session, TrainAction::Use(2));
    assert_eq!((&session.settings().refine.classifier, runs(&session)), (&file, 2));
    let run = session.trace().runs().last().unwrap();
    assert_eq!((run.parent, run.tag.label.as_str()), (None, "classifier of step 2"));
    // What came to nothing before its first state leaves no run.
    let job = session.work.job();
    session.apply(Event::Failed { job, chain: vec!["of nothing".to_owned()] });
    assert_eq!((runs(&session), session.path().len()), (1, 2));
}
