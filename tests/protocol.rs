//! Laws of the session and its disk, whatever happens in whatever order: actions, what the compute thread reports, and what
//! the disk reports, each as late as it likes. The disk is the real one, without its thread; the compute thread is a toy.

use lapidary::checkpoint::LoadReport;
use lapidary::generator::Mask;
use lapidary::refiner::{Keep, Objective};
use lapidary::session::disk::DiskEvent;
use lapidary::session::{Action, Activity, Detail, Lookup, Settings, Verb};
use lapidary::trace::RunId;
use lapidary::worker::{Event, JobId, ModelInfo};
use proptest::prelude::*;

use self::toy::picture;
use self::world::{HERE, STATE_BYTES, World};

#[path = "protocol/kill.rs"]
mod kill;
#[path = "protocol/painted.rs"]
mod painted;
#[path = "protocol/toy.rs"]
mod toy;
#[path = "protocol/world.rs"]
mod world;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Op {
    Do(Verb),
    Radius(u8),
    Objective(bool),
    Iterations(u8),
    NameRun(u8),
    DeleteRun(u8),
    Keep(bool),
    Classifier(bool),
    Show(u8),
    ShowRun(u8),
    Target(u8),
    /// So many columns are painted over; none is nothing.
    Paint(u8),
    Open(u8),
    Save(bool),
    Recover,
    Confirm,
    Cancel,
    Budget(bool),
    /// The disk does so many jobs.
    Disk(u8),
    /// A second passes.
    Settle,
    /// The session hears so many of the disk's events.
    Hear(u8),
    /// The compute thread does so much.
    Compute(u8),
    /// The session takes so many of its events.
    Take(u8),
    /// The window draws.
    Frame,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let verbs = prop::sample::select(vec![
        Verb::Generate,
        Verb::RunOrPause,
        Verb::RunOrPause,
        Verb::Step,
        Verb::Stop,
        Verb::Reset,
        Verb::Branch,
        Verb::Undo,
        Verb::Redo,
        Verb::NewSession,
        Verb::FirstIteration,
        Verb::LastIteration,
        Verb::BestIteration,
        Verb::Play,
    ]);
    let op = prop_oneof![
        6 => verbs.prop_map(Op::Do),
        2 => any::<u8>().prop_map(Op::Radius),
        2 => any::<bool>().prop_map(Op::Objective),
        1 => any::<u8>().prop_map(Op::Iterations),
        1 => any::<u8>().prop_map(Op::NameRun),
        1 => any::<u8>().prop_map(Op::DeleteRun),
        1 => any::<bool>().prop_map(Op::Keep),
        1 => any::<bool>().prop_map(Op::Classifier),
        2 => any::<u8>().prop_map(Op::Show),
        1 => any::<u8>().prop_map(Op::ShowRun),
        1 => any::<u8>().prop_map(Op::Target),
        2 => any::<u8>().prop_map(Op::Paint),
        2 => any::<u8>().prop_map(Op::Open),
        1 => any::<bool>().prop_map(Op::Save),
        1 => Just(Op::Recover),
        2 => Just(Op::Confirm),
        1 => Just(Op::Cancel),
        1 => any::<bool>().prop_map(Op::Budget),
        5 => any::<u8>().prop_map(Op::Disk),
        1 => Just(Op::Settle),
        5 => any::<u8>().prop_map(Op::Hear),
        5 => any::<u8>().prop_map(Op::Compute),
        5 => any::<u8>().prop_map(Op::Take),
        5 => Just(Op::Frame),
    ];
    prop::collection::vec(op, 1..120)
}

fn run_of(world: &World, which: u8) -> Option<RunId> {
    let runs: Vec<_> = world.session.trace().runs().map(|run| run.id).collect();
    runs.get(usize::from(which) % runs.len().max(1)).copied()
}

fn happen(world: &mut World, op: &Op) {
    let with = |world: &World, change: &dyn Fn(&mut Settings)| {
        let mut settings = world.session.settings().clone();
        change(&mut settings);
        Action::Edit(Box::new(settings))
    };
    let action = match op {
        Op::Do(verb) => Action::Do(*verb),
        Op::Radius(eps) => with(world, &|settings| settings.refine.eps = f64::from(*eps) / 16.0),
        Op::Objective(ce) => with(world, &|settings| {
            settings.refine.objective = if *ce { Objective::Ce } else { Objective::TargetLogit };
        }),
        Op::Iterations(count) => with(world, &|settings| {
            settings.refine.iterations = std::num::NonZeroU32::new(u32::from(*count) % 9);
        }),
        Op::NameRun(which) => {
            let Some(run) = run_of(world, *which) else { return };
            Action::NameRun(run, format!("name {which}"))
        }
        Op::DeleteRun(which) => {
            let Some(run) = run_of(world, *which) else { return };
            Action::DeleteRun(run)
        }
        Op::Keep(best) => with(world, &|settings| settings.refine.keep = if *best { Keep::Best } else { Keep::Last }),
        Op::Classifier(other) => with(world, &|settings| {
            let name = if *other { "gtsrb12-robust" } else { "gtsrb12-joint" };
            name.clone_into(&mut settings.refine.classifier);
        }),
        Op::Show(place) => Action::Show(usize::from(*place) % (world.session.path().len() + 1)),
        Op::ShowRun(which) => {
            let Some(run) = run_of(world, *which) else { return };
            Action::ShowRun(run)
        }
        Op::Target(class) => Action::SetTarget { sample: 0, class: usize::from(*class) % 3 },
        Op::Paint(columns) => {
            let columns = u32::from(*columns) % 4;
            Action::SetMask((columns > 0).then(|| Mask::filled(columns, 2, true)))
        }
        Op::Open(which) => Action::OpenSession(world.file(*which)),
        Op::Save(full) => {
            let path = world.next_file();
            Action::SaveSession(path, if *full { Detail::Full } else { Detail::Small })
        }
        Op::Recover => {
            let folder = world.crash_elsewhere();
            Action::Recover(folder)
        }
        Op::Confirm => Action::Confirm,
        Op::Cancel => Action::Cancel,
        Op::Budget(small) => Action::SetBudget(if *small { 2 * STATE_BYTES } else { 1 << 20 }),
        Op::Disk(jobs) => return world.disk(jobs % 8),
        Op::Settle => return world.settle(),
        Op::Hear(events) => return world.hear(events % 8),
        Op::Compute(steps) => return world.compute(steps % 8),
        Op::Take(events) => return world.take(events % 8),
        Op::Frame => return world.frame(),
    };
    world.act(action);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_journal_is_the_session(ops in ops()) {
        let mut world = World::new();
        for op in &ops {
            happen(&mut world, op);
            world.check();
        }
        world.rest();
        world.check_journal();
        world.check_file();
    }
}

fn with_states(world: &mut World, iterations: u32) {
    let mut settings = world.session.settings().clone();
    settings.refine.iterations = std::num::NonZeroU32::new(iterations);
    world.act(Action::Edit(Box::new(settings)));
    world.act(Action::Do(Verb::Generate));
    world.act(Action::Confirm);
    world.rest();
    world.act(Action::Do(Verb::RunOrPause));
    world.rest();
    assert_eq!(world.session.path().len(), iterations as usize + 1);
}

#[test]
fn nothing_of_the_old_session_gets_into_a_file_that_is_being_opened() {
    let mut world = World::new();
    with_states(&mut world, 3);
    let file = world.saved();
    with_states(&mut world, 2);
    world.act(Action::SetBudget(1));
    world.act(Action::OpenSession(file.clone()));
    world.act(Action::Confirm);
    // The disk is slow: all of this is asked for before the file is there.
    for verb in [Verb::RunOrPause, Verb::Generate, Verb::Reset, Verb::Branch, Verb::Undo, Verb::NewSession] {
        assert!(!world.session.can(verb), "{verb:?}");
        world.act(Action::Do(verb));
    }
    let mut settings = world.session.settings().clone();
    settings.refine.eps = 0.125;
    world.act(Action::Edit(Box::new(settings.clone())));
    world.act(Action::Show(0));
    world.frame();
    let path = world.next_file();
    world.act(Action::SaveSession(path, Detail::Full));
    world.rest();
    assert_eq!(world.session.file(), Some(file.as_path()));
    assert_eq!(world.session.path().len(), 4);
    assert_ne!(world.session.settings(), &settings);
    for place in 0..4 {
        world.act(Action::Show(place));
        world.until_shown();
    }
    world.check_journal();
    world.check_file();
}

#[test]
fn an_opening_that_is_stopped_or_fails_leaves_everything_as_it_was() {
    let mut world = World::new();
    with_states(&mut world, 3);
    let file = world.saved();
    // States are on their way to the disk while a bad file is opened: they can leave memory all the same.
    world.act(Action::Do(Verb::RunOrPause));
    world.compute(3);
    world.take(8);
    world.act(Action::Do(Verb::Stop));
    world.compute(3);
    world.take(8);
    let before = world.session.trace().clone();
    let bad = world.bad_file();
    world.act(Action::OpenSession(bad));
    world.act(Action::Confirm);
    assert!(matches!(world.session.activity(), Activity::Opening { .. }));
    world.rest();
    assert_eq!(world.session.trace(), &before);
    world.act(Action::SetBudget(1));
    assert_eq!(world.session.iterates().counts().0, 1, "all but the newest left memory");

    world.act(Action::OpenSession(file));
    world.act(Action::Confirm);
    world.act(Action::Do(Verb::Stop));
    assert!(!world.session.can(Verb::Stop), "once is enough");
    world.rest();
    assert_eq!((world.session.trace(), world.session.activity()), (&before, Activity::Idle));
    world.act(Action::Show(0));
    world.until_shown();
    world.check_journal();
}

#[test]
fn scrubbing_over_spilled_states_reads_one_at_a_time_and_then_the_newest() {
    let mut world = World::new();
    with_states(&mut world, 12);
    world.act(Action::SetBudget(1));
    for place in 0..12 {
        world.act(Action::Show(place));
        world.frame();
        world.frame();
    }
    assert_eq!(world.loads(), 1);
    world.until_shown();
    assert_eq!(world.reads, 2, "the first that was passed over, and the one that is shown");
}

#[test]
fn the_best_of_more_than_memory_holds_is_shown_after_as_many_reads() {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.refine.keep = Keep::Best;
    world.act(Action::Edit(Box::new(settings)));
    with_states(&mut world, 9);
    let file = world.saved();
    world.act(Action::OpenSession(file));
    world.rest();
    world.act(Action::SetBudget(1));
    let mut frames = 0;
    while !world.session.shows_best() {
        world.frame();
        world.disk(1);
        world.hear(1);
        frames += 1;
        assert!(frames < 20, "the two samples' best are two states");
    }
    let Some(Lookup::Ready(best)) = world.session.shown_state() else { panic!("it is there") };
    for sample in 0..2 {
        let objective =
            |place: usize| world.session.trace().numbers(world.session.path()[place]).unwrap().objective[sample];
        let highest = (0..10).map(objective).fold(f32::MIN, f32::max);
        assert_eq!(best.numbers.objective[sample], highest);
    }
    let reads = world.reads;
    world.act(Action::SetBudget(1));
    for _ in 0..10 {
        world.frame();
        world.disk(8);
        world.hear(8);
    }
    assert_eq!(world.reads, reads, "what is gathered is not read again");
}

#[test]
fn a_slow_disk_slows_the_work_and_a_stop_does_not_wait_for_it() {
    let mut world = World::new();
    with_states(&mut world, 1);
    world.act(Action::SetBudget(4 * STATE_BYTES));
    let mut settings = world.session.settings().clone();
    settings.refine.iterations = None;
    world.act(Action::Edit(Box::new(settings)));
    world.act(Action::Do(Verb::RunOrPause));
    let all = |world: &mut World| {
        for _ in 0..50 {
            world.compute(2);
            world.take(2);
            world.check();
        }
        world.session.path().len()
    };
    let reached = all(&mut world);
    assert!((6..8).contains(&reached), "{reached} states");
    let waits =
        |world: &World| world.session.notices.list().iter().filter(|n| n.title.contains("waits for the disk")).count();
    assert_eq!(waits(&world), 1);
    world.disk(20);
    world.hear(20);
    assert!(all(&mut world) > reached, "the disk has caught up");
    assert_eq!(waits(&world), 1, "it is said once");
    world.act(Action::Do(Verb::Stop));
    for _ in 0..2 {
        world.take(20);
        world.compute(8);
        world.take(20);
    }
    assert_eq!(world.session.activity(), Activity::Idle);
    world.rest();
    world.check_journal();
}

#[test]
fn generating_again_leaves_no_dead_pictures_in_the_journal() {
    let mut world = World::new();
    with_states(&mut world, 3);
    world.settle();
    let once = world.journal_bytes();
    for _ in 0..20 {
        with_states(&mut world, 3);
    }
    world.settle();
    let again = world.journal_bytes();
    assert!(again < once + once / 4, "{once} bytes after one Generate, {again} after twenty more");
}

#[test]
fn saving_can_be_stopped_and_the_file_that_was_there_stays() {
    let mut world = World::new();
    with_states(&mut world, 3);
    let path = world.saved();
    let before = std::fs::read(&path).unwrap();
    world.act(Action::Do(Verb::RunOrPause));
    world.rest_but_for_the_disk();
    world.disk(50);
    world.hear(50);
    world.act(Action::SaveSession(path.clone(), Detail::Full));
    assert!(matches!(world.session.activity(), Activity::Saving { .. }), "{:?}", world.session.activity());
    world.act(Action::Do(Verb::Stop));
    world.rest();
    assert!(std::fs::read(&path).unwrap() == before && world.session.is_unsaved());
    world.act(Action::SaveSession(path.clone(), Detail::Full));
    world.rest();
    assert!(std::fs::read(&path).unwrap() != before && !world.session.is_unsaved());
}

#[test]
fn a_dragged_slider_is_one_entry() {
    let mut world = World::new();
    world.rest();
    world.settle();
    let before = world.journal_bytes();
    for step in 0..100 {
        happen(&mut world, &Op::Radius(step));
    }
    world.rest();
    world.settle();
    let facts = world.journal_bytes() - before;
    assert!((1..8000).contains(&facts), "{facts} bytes for one drag");
    world.check_journal();
}

#[test]
fn a_folder_is_no_session_and_what_is_recovered_leaves_the_rest_of_its_folder() {
    let mut world = World::new();
    with_states(&mut world, 2);
    world.settle();
    let folder = world.crash_elsewhere();
    std::fs::write(folder.join("mine"), "dear diary").unwrap();
    world.act(Action::OpenSession(folder.clone()));
    world.act(Action::Confirm);
    world.rest();
    assert!(folder.join("journal.bin").is_file(), "nobody asked for a recovery");
    world.act(Action::Recover(folder.clone()));
    world.act(Action::Confirm);
    world.rest();
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((world.session.path().len(), left), (3, vec!["mine".into()]));
}

/// A file's `session.json`, beside it.
fn recipe(file: &std::path::Path) -> std::path::PathBuf {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(file).expect(HERE)).expect(HERE);
    let path = file.with_file_name("session.json");
    std::io::copy(&mut zip.by_name("session.json").expect(HERE), &mut std::fs::File::create(&path).expect(HERE))
        .expect(HERE);
    path
}

#[test]
fn a_recipe_is_no_file_to_save_to_and_its_opening_can_be_stopped() {
    let mut world = World::new();
    with_states(&mut world, 2);
    let file = world.saved();
    let recipe = recipe(&file);
    let before = world.session.trace().clone();
    world.act(Action::OpenSession(recipe.clone()));
    world.act(Action::Do(Verb::Stop));
    world.rest();
    assert_eq!((world.session.file(), world.session.trace()), (Some(file.as_path()), &before));
    world.act(Action::OpenSession(recipe));
    world.disk(20);
    world.hear(20);
    assert_eq!((world.session.file(), world.session.is_unsaved()), (None, true));
}

#[test]
fn a_second_stop_ends_the_saving_that_an_opening_waits_behind() {
    let mut world = World::new();
    with_states(&mut world, 2);
    let file = world.saved();
    let other = world.next_file();
    world.act(Action::SaveSession(other.clone(), Detail::Full));
    world.act(Action::OpenSession(file));
    world.act(Action::Do(Verb::Stop));
    assert!(world.session.can(Verb::Stop));
    world.act(Action::Do(Verb::Stop));
    world.rest();
    assert!(!other.exists() && world.session.path().len() == 3);
}

#[test]
fn what_an_abandoned_work_says_is_not_taken_for_the_next_one() {
    let mut world = World::new();
    world.act(Action::Do(Verb::Generate));
    world.compute(2);
    world.act(Action::Do(Verb::NewSession));
    world.take(8);
    assert!(world.session.provenance().device.is_none());
    with_states(&mut world, 2);
    // The answer is on its way while a new run gets the name of the old one.
    happen(&mut world, &Op::Radius(3));
    world.compute(1);
    world.act(Action::SetTarget { sample: 0, class: 2 });
    world.act(Action::Confirm);
    world.rest();
    let changes: Vec<_> = world.session.trace().runs().map(|run| run.changes.len()).collect();
    assert_eq!(changes, [0]);
}

/// Pictures that were asked for and are read now.
fn arrive(world: &mut World, references: bool) {
    let (images, epoch) = (Some(picture(123.0, 0, 0)), world.session.epoch());
    let (names, fits, failures) = Default::default();
    world.session.apply_disk(DiskEvent::Images { epoch, images, names, labels: None, fits, failures, references });
}

#[test]
fn pictures_that_arrive_after_a_run_ask_before_they_replace_it() {
    let mut world = World::new();
    world.begin_with(5);
    let open = Action::OpenPictures(vec!["somewhere.png".into()]);
    world.act(open.clone());
    assert!(world.session.question().is_none(), "nothing would be lost");
    world.act(Action::Do(Verb::RunOrPause));
    world.rest_but_for_the_disk();
    arrive(&mut world, false);
    assert_eq!(world.session.question().map(|question| &question.then), Some(&open));
    assert_eq!(world.tag(), 5);
    world.act(Action::Confirm);
    arrive(&mut world, false);
    assert_eq!((world.tag(), world.session.question()), (123, None));
}

#[test]
fn other_references_are_something_to_save() {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.refine.early_stop = true;
    world.act(Action::Edit(Box::new(settings)));
    with_states(&mut world, 1);
    world.saved();
    assert!(!world.session.is_unsaved());
    arrive(&mut world, true);
    assert!(world.session.is_unsaved());
}

#[test]
fn class_names_are_those_of_the_file_where_its_classifier_is_not_here() {
    let mut world = World::new();
    let mut settings = world.session.settings().clone();
    settings.refine.classifier = "/nowhere/other.safetensors".to_owned();
    world.act(Action::Edit(Box::new(settings)));
    world.begin_with(5);
    let info = ModelInfo {
        reference: "/nowhere/other.safetensors".to_owned(),
        title: "Other".to_owned(),
        sha256: String::new(),
        classes: vec!["cat".to_owned(), "dog".to_owned()],
        sample_shape: [1, 2, 2],
        report: LoadReport::default(),
    };
    // The first state of what was generated is the second piece of work.
    world.session.apply(Event::Classifier { job: JobId(2), info: info.clone() });
    let file = world.saved();
    let mut other = World::new();
    assert_ne!(other.session.class_names(), info.classes);
    other.act(Action::OpenSession(file));
    other.rest();
    assert_eq!(other.session.class_names(), info.classes);
}

fn set(world: &mut World, change: impl FnOnce(&mut Settings)) {
    let mut settings = world.session.settings().clone();
    change(&mut settings);
    world.act(Action::Edit(Box::new(settings)));
    world.rest();
}

#[test]
fn no_trace_mixes_two_objectives_or_radii_whatever_is_changed_before_the_first_iteration() {
    let mut world = World::new();
    world.begin_with(5);
    let shown = world.session.shown_id().unwrap();
    let value = |world: &World| world.session.trace().numbers(shown).unwrap().objective[0];
    assert_eq!(value(&world), -3.0);
    set(&mut world, |settings| (settings.refine.objective, settings.refine.eps) = (Objective::Ce, 1.5));
    assert_eq!(value(&world), -103.0, "valued anew");
    set(&mut world, |settings| settings.refine.eps = 6.0);
    let run = world.session.trace().run(shown.run).unwrap();
    assert_eq!((run.settings_at(0).eps, run.changes.len()), (6.0, 0));
    world.act(Action::Do(Verb::RunOrPause));
    world.rest();
    let trace = world.session.trace();
    assert_eq!(trace.comparable(world.session.path(), 5), 0..6);
    // Run is pressed before the answer is there.
    world.act(Action::Do(Verb::Reset));
    world.rest();
    let edit = |world: &mut World, objective| {
        let mut settings = world.session.settings().clone();
        settings.refine.objective = objective;
        world.act(Action::Edit(Box::new(settings)));
    };
    edit(&mut world, Objective::TargetLogit);
    world.act(Action::Do(Verb::RunOrPause));
    world.rest();
    assert_eq!(world.session.trace().comparable(world.session.path(), 5), 0..6);
    edit(&mut world, Objective::Ce);
    world.act(Action::Do(Verb::Reset));
    world.rest();
    world.act(Action::Do(Verb::RunOrPause));
    world.rest();
    // The same after another change of the mind, for a branch too.
    set(&mut world, |settings| settings.refine.objective = Objective::TargetLogit);
    world.act(Action::Do(Verb::Branch));
    world.rest();
    set(&mut world, |settings| settings.refine.objective = Objective::Ce);
    let (path, place) = (world.session.path().to_vec(), world.session.shown());
    assert_eq!(world.session.trace().comparable(&path, place), 0..6, "it goes on with what it came from");
    world.act(Action::Do(Verb::BestIteration));
    let highest = |world: &World| {
        let value = |place: &usize| world.session.trace().numbers(path[*place]).unwrap().objective[0];
        (0..path.len()).max_by(|a, b| value(a).total_cmp(&value(b)))
    };
    assert_eq!(Some(world.session.shown()), highest(&world));
    world.check_journal();
    world.check_file();
}

#[test]
fn a_plan_that_is_held_or_goes_on_has_as_many_iterations_as_are_set() {
    let mut world = World::new();
    world.begin_with(5);
    let set_iterations = |world: &mut World, count: u32| {
        let mut settings = world.session.settings().clone();
        settings.refine.iterations = std::num::NonZeroU32::new(count);
        world.act(Action::Edit(Box::new(settings)));
    };
    world.act(Action::Do(Verb::RunOrPause));
    world.compute(3);
    world.take(8);
    assert_eq!(world.session.goal(), (2, Some(5)));
    set_iterations(&mut world, 8);
    world.rest();
    assert_eq!(world.session.path().len(), 9, "longer while it goes on");
    world.act(Action::Do(Verb::RunOrPause));
    world.compute(2);
    world.take(8);
    world.act(Action::Do(Verb::RunOrPause));
    world.rest();
    assert_eq!((world.session.activity(), world.session.goal()), (Activity::Paused, (9, Some(16))));
    set_iterations(&mut world, 3);
    assert_eq!(world.session.goal(), (9, Some(11)), "shorter while it is held");
    world.act(Action::Do(Verb::RunOrPause));
    world.rest();
    assert_eq!((world.session.path().len(), world.session.activity()), (12, Activity::Idle));
}

#[test]
fn a_run_has_a_name_and_can_be_deleted_for_good() {
    let mut world = World::new();
    with_states(&mut world, 2);
    world.act(Action::Do(Verb::Branch));
    world.rest();
    let runs: Vec<RunId> = world.session.trace().runs().map(|run| run.id).collect();
    world.act(Action::NameRun(runs[0], "  wide ball ".to_owned()));
    assert!(world.session.keeps_run(runs[0]).is_some_and(|why| why.contains("begins in it")));
    world.act(Action::DeleteRun(runs[0]));
    assert!(world.session.question().is_none());
    world.act(Action::DeleteRun(runs[1]));
    world.act(Action::Cancel);
    assert_eq!(world.session.trace().runs().count(), 2, "it was only asked");
    world.act(Action::DeleteRun(runs[1]));
    world.act(Action::Confirm);
    assert_eq!(world.session.shown_run(), Some(runs[0]), "the one that it began in");
    assert_eq!(world.session.trace().run(runs[0]).unwrap().tag.label, "wide ball");
    assert!(world.session.keeps_run(runs[0]).is_some());
    world.rest();
    world.check_journal();
    world.check_file();
    world.act(Action::Do(Verb::Reset));
    world.rest();
    assert_eq!(world.session.shown_run(), Some(RunId(runs[1].0 + 1)), "no name is given twice");
}

#[test]
fn the_making_of_pictures_can_be_held_and_goes_on_or_is_stopped() {
    for stops in [false, true] {
        let mut world = World::new();
        world.act(Action::Do(Verb::Generate));
        world.compute(2);
        world.take(8);
        assert!(matches!(world.session.activity(), Activity::Generating { .. }), "{:?}", world.session.activity());
        world.act(Action::Do(Verb::RunOrPause));
        world.rest();
        assert_eq!(world.session.activity(), Activity::Held { done: 1, of: 2 });
        assert!(world.session.can(Verb::RunOrPause) && world.session.can(Verb::Stop));
        world.act(Action::Do(if stops { Verb::Stop } else { Verb::RunOrPause }));
        world.rest();
        assert_eq!((world.session.path().is_empty(), world.session.activity()), (stops, Activity::Idle));
    }
}
