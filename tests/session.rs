//! What the session promises: the same pictures come back from a file, after a crash, and after `kill -9`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lapidary::classifier::probability_of;
use lapidary::generator::{EditTask, Mask};
use lapidary::refiner::{Keep, Objective, PRESETS, RefineSettings, Rule, State, Target};
use lapidary::session::disk::{Stored, stored_ends, stored_pictures};
use lapidary::session::host::Folders;
use lapidary::session::{Action, Activity, Detail, Host, Lookup, Settings, Verb};
use lapidary::worker::{Command, DeviceChoice};

use self::cache::cache;
use self::wait::wait;

#[path = "support/cache.rs"]
mod cache;
#[path = "support/wait.rs"]
mod wait;

/// Names the folder of the autosave to the process that will be killed.
const CHILD: &str = "LAPIDARY_TEST_CHILD";
/// What that process writes before the number of states that are safe.
const SAFE: &str = "states on disk: ";

/// CRC-32 of the pictures of the golden sessions.
const PIXELS: u32 = 1_614_146_129;

/// Two pictures, three iterations at a time, on the CPU.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.generate.samples = 2;
    settings.generate.first_seed = 40;
    settings.refine.iterations = std::num::NonZeroU32::new(3);
    settings.compute.device = DeviceChoice::Cpu;
    settings
}

fn host(home: &Path, settings: Settings) -> Host {
    let folders = Folders { cache: cache(), autosave: home.join("autosave") };
    Host::start(settings, folders, Arc::new(|| {})).expect("two threads")
}

/// Pumps until there is an answer.
fn until<T>(host: &mut Host, what: &str, mut answer: impl FnMut(&mut Host) -> Option<T>) -> T {
    wait(what, || {
        host.pump();
        answer(host)
    })
}

/// Pumps until nothing is computed any more and some state is there.
fn settle(host: &mut Host) {
    until(host, "the end of the work", |host| {
        let session = &host.session;
        assert_ne!(session.activity(), Activity::Failed, "{:?}", session.notices.list());
        (!session.is_busy() && !session.path().is_empty()).then_some(())
    });
}

fn generate_and_run(host: &mut Host) {
    host.handle(Action::Do(Verb::Generate));
    settle(host);
    host.handle(Action::Do(Verb::RunOrPause));
    settle(host);
}

fn save(host: &mut Host, path: &Path, detail: Detail) {
    host.handle(Action::SaveSession(path.to_owned(), detail));
    until(host, "the saved file", |host| {
        (host.session.file() == Some(path) && !host.session.is_saving()).then_some(())
    });
}

fn open(host: &mut Host, path: &Path) {
    let epoch = host.session.epoch();
    host.handle(Action::OpenSession(path.to_owned()));
    until(host, "the opened file", |host| {
        (host.session.file() == Some(path) && host.session.epoch() != epoch).then_some(())
    });
}

/// The state at a place of the path, read from disk if need be.
fn state_at(host: &mut Host, place: usize) -> Arc<State> {
    host.handle(Action::Show(place));
    until(host, "a state", |host| match host.session.shown_state() {
        Some(Lookup::Ready(state)) => Some(state),
        Some(Lookup::Loading) => None,
        other => panic!("the state at {place} is not there: {other:?}"),
    })
}

fn states(host: &mut Host) -> Vec<Arc<State>> {
    (0..host.session.path().len()).map(|place| state_at(host, place)).collect()
}

/// Lets every state but the newest leave memory.
fn spill(host: &mut Host) {
    let all = host.session.path().len();
    until(host, "states on disk only", |host| {
        host.handle(Action::SetBudget(1));
        (host.session.iterates().counts() == (1, all - 1)).then_some(())
    });
}

/// Runs, pictures and numbers of a file, the pictures as one checksum.
fn content(host: &mut Host, path: &Path) -> (Vec<(u32, usize)>, u32) {
    open(host, path);
    let session = &host.session;
    let runs: Vec<_> =
        session.trace().runs().map(|run| (run.last_iteration().unwrap_or(0), run.changes.len())).collect();
    let ids: Vec<_> = session.trace().runs().map(|run| run.id).collect();
    let mut pixels = crc32fast::Hasher::new();
    for run in ids {
        host.handle(Action::ShowRun(run));
        for state in states(host) {
            state.images.pixels().iter().for_each(|value| pixels.update(&value.to_le_bytes()));
        }
    }
    (runs, pixels.finalize())
}

#[test]
fn golden_files_of_every_version_open_with_the_same_content() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/session");
    let home = tempfile::tempdir().unwrap();
    let mut old = host(home.path(), Settings::default());
    let mut new = host(home.path(), Settings::default());
    let read = content(&mut old, &golden.join("v2.lapidary"));
    // Two iterations and a change of the radius; a branch at iteration 1 with one more.
    assert_eq!(read, (vec![(2, 1), (2, 0)], PIXELS));
    if let Some(path) = std::env::var_os("LAPIDARY_GOLDEN") {
        save(&mut old, Path::new(&path), Detail::Full);
        open(&mut old, &golden.join("v2.lapidary"));
    }
    assert_eq!(content(&mut new, &golden.join("v3.lapidary")), read);
    let (old, new) = (&old.session, &new.session);
    assert_eq!((new.trace(), new.origins()), (old.trace(), old.origins()));
    assert_eq!((new.settings(), new.provenance()), (old.settings(), old.provenance()));
    assert_eq!((new.reference_count(), new.references()), (1, old.references()));
    for version in ["v2", "v3"] {
        let stored = stored_pictures(&golden.join(version).with_extension("lapidary")).unwrap();
        assert_eq!(
            (stored.origins.as_ref(), stored.references.as_ref()),
            (old.origins(), old.references()),
            "{version}"
        );
        let ends = stored_ends(&golden.join(version).with_extension("lapidary")).unwrap().unwrap();
        let runs: Vec<_> = ends.runs.iter().map(|end| (end.run.last_iteration(), end.run.parent.is_some())).collect();
        assert_eq!(runs, [(Some(2), false), (Some(2), true)], "{version}");
        assert_eq!(Some(&ends.origins), old.origins(), "{version}");
        assert_eq!(ends.runs[0].images, ends.runs[1].images, "{version}: both radii hold the second step");
        assert_ne!(ends.runs[0].images, ends.origins.images, "{version}");
    }
    assert_eq!((new.settings().refine.eps, new.settings().generate.first_seed), (1.25, 40));
}

/// Waits for a notice with this text and returns its details in one line.
fn notice(host: &mut Host, text: &str) -> String {
    until(host, "a notice", |host| {
        let lines = |notice: &lapidary::session::Notice| format!("{} {}", notice.title, notice.details.join(" "));
        host.session.notices.list().iter().map(lines).find(|lines| lines.contains(text))
    })
}

#[test]
fn a_saved_session_opens_with_the_same_numbers_and_pictures_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mine.lapidary");
    let mut first = host(home.path(), settings());
    generate_and_run(&mut first);
    save(&mut first, &file, Detail::Full);
    assert!(!first.session.is_unsaved());
    let before = states(&mut first);
    assert_eq!(before.len(), 4, "three iterations have four states");

    let mut second = host(home.path(), Settings::default());
    open(&mut second, &file);
    assert_eq!(second.session.trace(), first.session.trace());
    assert_eq!(second.session.settings(), first.session.settings());
    assert_eq!(second.session.origins(), first.session.origins());
    assert_eq!(second.session.provenance().classifier, first.session.provenance().classifier);
    assert_eq!(states(&mut second), before);
    assert!(!second.session.is_unsaved());

    second.handle(Action::Do(Verb::RunOrPause));
    settle(&mut second);
    let path = second.session.path();
    assert_eq!(path.iter().map(|id| id.iteration).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    let after = states(&mut second);
    assert_eq!(after[3].images, before[3].images, "it goes on where it was");
    assert_ne!(after[6].images, before[3].images);
    assert!(second.session.is_unsaved());
}

#[test]
fn a_mask_that_is_painted_in_the_window_is_what_the_command_line_fills_in() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("painted.lapidary");
    let mut host = host(home.path(), settings());
    generate_and_run(&mut host);
    let edit = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lapidary"));
        command.current_dir(home.path()).args(["edit", "--task", "inpaint", "--device", "cpu", "--session"]);
        command.arg(&file).output().unwrap()
    };
    save(&mut host, &file, Detail::Full);
    let refused = edit();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--mask"), "{said}");
    let mut mask = Mask::filled(32, 32, false);
    mask.paint_disc(8.0, 8.0, 4.0, true);
    host.handle(Action::SetMask(Some(mask.clone())));
    save(&mut host, &file, Detail::Full);
    let Stored { origins, mask: stored, .. } = stored_pictures(&file).unwrap();
    assert_eq!((origins.as_ref(), stored), (host.session.origins(), Some(mask)));
    let made = edit();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_file_that_another_program_changed_is_replaced_only_when_that_is_said() {
    let home = tempfile::tempdir().unwrap();
    let mut host = host(home.path(), settings());
    generate_and_run(&mut host);
    let path = home.path().join("notes2.lapidary");
    save(&mut host, &path, Detail::Full);
    save(&mut host, &path, Detail::Full);
    let mine = std::fs::read(&path).unwrap();
    for is_opened in [false, true] {
        if is_opened {
            std::fs::write(&path, &mine).unwrap();
            open(&mut host, &path);
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "of somebody").unwrap();
        host.handle(Action::SaveSession(path.clone(), Detail::Full));
        let question = until(&mut host, "a question", |host| host.session.question().cloned());
        assert!(question.text.contains("notes2.lapidary was changed by another program"), "{}", question.text);
        host.handle(Action::Cancel);
        assert_eq!(std::fs::read(&path).unwrap(), b"of somebody");
    }
    host.handle(Action::SaveSession(path.clone(), Detail::Full));
    let question = until(&mut host, "a question", |host| host.session.question().cloned());
    host.handle(Action::Cancel);
    let beside = home.path().join("notes2 (2).lapidary");
    assert_eq!(question.other, Some(("Save beside it", Action::SaveSession(beside.clone(), Detail::Full))));
    save(&mut host, &beside, Detail::Full);
    assert_eq!(std::fs::read(&path).unwrap(), b"of somebody");
    host.handle(Action::SaveSession(path.clone(), Detail::Full));
    host.handle(Action::Confirm);
    until(&mut host, "saving", |host| (host.session.file() == Some(path.as_path())).then_some(()));
    // What was deleted is in nobody's way.
    std::fs::remove_file(&path).unwrap();
    save(&mut host, &path, Detail::Full);
}

#[test]
fn a_session_opens_on_the_sample_that_was_marked_and_with_the_preset_that_its_settings_come_from() {
    let home = tempfile::tempdir().unwrap();
    let mut first = host(home.path(), Settings { refine: RefineSettings::default(), ..settings() });
    first.handle(Action::Do(Verb::Generate));
    settle(&mut first);
    let mut changed = first.session.settings().clone();
    changed.refine.eps *= 2.0;
    first.handle(Action::Edit(Box::new(changed)));
    first.handle(Action::Select(1));
    let file = home.path().join("mine.lapidary");
    save(&mut first, &file, Detail::Full);
    let mut second = host(home.path(), Settings::default());
    let mut own = Settings::default();
    own.refine = PRESETS[2].apply(&own.refine);
    second.handle(Action::Edit(Box::new(own)));
    open(&mut second, &file);
    assert_eq!((second.session.focused(), second.session.preset()), (1, Some(&PRESETS[0])));
}

#[test]
fn a_session_opens_on_the_run_and_the_iteration_that_were_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let mut first = host(home.path(), settings());
    generate_and_run(&mut first);
    let run = first.session.shown_run().expect("a run");
    first.handle(Action::Do(Verb::Branch));
    settle(&mut first);
    assert_ne!(first.session.shown_run(), Some(run));
    first.handle(Action::ShowRun(run));
    first.handle(Action::Show(1));
    let mut second = host(home.path(), Settings::default());
    for (name, detail, place) in [("full", Detail::Full, 1), ("small", Detail::Small, 3)] {
        let file = home.path().join(format!("{name}.lapidary"));
        save(&mut first, &file, detail);
        open(&mut second, &file);
        let session = &second.session;
        assert_eq!((session.shown_run(), session.shown()), (Some(run), place), "{name}: a state that was kept");
        assert_eq!(session.path().len(), 4);
    }
}

#[test]
fn a_start_has_the_value_of_the_objective_that_is_set_before_the_first_iteration() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ce.lapidary");
    let mut host = host(home.path(), settings());
    host.handle(Action::Do(Verb::Generate));
    settle(&mut host);
    let logit = state_at(&mut host, 0).numbers.clone();
    let mut other = settings();
    (other.refine.objective, other.refine.eps) = (Objective::Ce, 1.5);
    host.handle(Action::Edit(Box::new(other)));
    // At once, as somebody does who has chosen a preset.
    host.handle(Action::Do(Verb::RunOrPause));
    until(&mut host, "three iterations", |host| {
        (host.session.path().len() == 4 && !host.session.is_busy()).then_some(())
    });
    let start = state_at(&mut host, 0).numbers.clone();
    assert_eq!(start.logits, logit.logits, "the pictures are the same");
    for sample in 0..2 {
        let p = probability_of(start.logits_of(sample), host.session.target(sample));
        assert!((start.objective[sample] - p.ln()).abs() < 1e-4, "{} is not ln {p}", start.objective[sample]);
    }
    let session = &host.session;
    assert_eq!(session.trace().comparable(session.path(), 3), 0..4, "one objective all along");
    assert_eq!(session.trace().settings(session.path()[0]).unwrap().eps, 1.5);
    save(&mut host, &file, Detail::Full);
    let mut second = self::host(home.path(), Settings::default());
    open(&mut second, &file);
    assert_eq!(second.session.trace(), host.session.trace());
    assert_eq!(state_at(&mut second, 0).numbers, start);
}

#[test]
fn going_on_after_a_pause_in_a_file_gives_the_pictures_of_one_long_run() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("half.lapidary");
    let mut first = host(home.path(), settings());
    generate_and_run(&mut first);
    save(&mut first, &file, Detail::Full);
    first.handle(Action::Do(Verb::RunOrPause));
    settle(&mut first);
    let whole = states(&mut first).pop().unwrap();

    let mut second = host(home.path(), Settings::default());
    open(&mut second, &file);
    second.handle(Action::Do(Verb::RunOrPause));
    settle(&mut second);
    let resumed = states(&mut second).pop().unwrap();
    assert_eq!((whole.iteration, resumed.iteration), (6, 6));
    assert_eq!(resumed.images, whole.images, "the same arithmetic on the same pictures");
}

#[test]
fn a_session_saved_small_keeps_the_last_iterate_and_every_number() {
    let home = tempfile::tempdir().unwrap();
    let (small, full) = (home.path().join("small.lapidary"), home.path().join("full.lapidary"));
    let mut first = host(home.path(), settings());
    generate_and_run(&mut first);
    save(&mut first, &full, Detail::Full);
    save(&mut first, &small, Detail::Small);
    let size = |path: &Path| path.metadata().unwrap().len();
    assert!(size(&small) < size(&full), "{} and {} bytes", size(&small), size(&full));

    let mut second = host(home.path(), Settings::default());
    open(&mut second, &small);
    assert_eq!(second.session.trace(), first.session.trace());
    assert_eq!(state_at(&mut second, 3), state_at(&mut first, 3));
    for path in [&small, &full] {
        let ends = stored_ends(path).unwrap().unwrap();
        assert_eq!(ends.runs.len(), 1);
        assert_eq!(ends.runs[0].images, state_at(&mut first, 3).images, "what came of it is in both");
        assert_eq!(ends.origins.images, state_at(&mut first, 0).images);
    }
    assert_eq!(state_at(&mut second, 0), state_at(&mut first, 0), "it is the origins, which are there");
    for place in 1..3 {
        second.handle(Action::Show(place));
        let lookup = second.session.shown_state();
        assert!(matches!(lookup, Some(Lookup::Missing)), "state {place}: {lookup:?}");
    }
}

#[test]
fn what_a_small_file_leaves_out_is_still_at_stake() {
    let home = tempfile::tempdir().unwrap();
    let (small, full) = (home.path().join("small.lapidary"), home.path().join("full.lapidary"));
    let mut first = host(home.path(), settings());
    generate_and_run(&mut first);
    save(&mut first, &small, Detail::Small);
    assert!(!first.session.is_unsaved() && first.session.has_unsaved_iterates(), "those between are in no file");
    first.handle(Action::Do(Verb::NewSession));
    assert!(first.session.question().is_some(), "they are not given up unasked");
    first.handle(Action::Cancel);
    save(&mut first, &full, Detail::Full);
    assert!(!first.session.has_unsaved_iterates());
    save(&mut first, &home.path().join("again.lapidary"), Detail::Small);
    assert!(!first.session.has_unsaved_iterates(), "the other file holds them");
}

#[test]
fn the_best_iterate_of_every_sample_is_shown_when_it_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.refine.keep = Keep::Best;
    // Hardly anything but noise; it makes this classifier surer of the class that is to be left.
    settings.refine.target = Target::Untargeted;
    (settings.refine.rule, settings.refine.step_size, settings.refine.noise) = (Rule::Sgld, 1e-6, 0.2);
    let mut host = host(home.path(), settings);
    generate_and_run(&mut host);
    let last = host.session.path().len() - 1;
    let shown = state_at(&mut host, last);
    assert!(host.session.shows_best());
    let mut places = Vec::new();
    for sample in 0..2 {
        let session = &host.session;
        let objective = |place: usize| session.trace().numbers(session.path()[place]).unwrap().objective[sample];
        let best = (0..=last).max_by(|a, b| objective(*a).total_cmp(&objective(*b))).unwrap();
        assert_eq!(shown.numbers.objective[sample], objective(best));
        places.push(best);
    }
    assert!(places.iter().any(|place| *place < last), "the newest is not the best of all: {places:?}");
    let file = home.path().join("best.lapidary");
    save(&mut host, &file, Detail::Full);
    let ends = stored_ends(&file).unwrap().unwrap();
    assert!(ends.runs[0].images == shown.images && !ends.runs[0].lacks_best, "who reads the file gets the best, too");
    for (sample, place) in places.into_iter().enumerate().filter(|(_, place)| *place < last) {
        // Elsewhere the state itself is shown.
        assert_eq!(shown.images.sample(sample), state_at(&mut host, place).images.sample(sample));
        assert!(!host.session.shows_best());
    }
}

#[test]
fn a_run_that_was_given_up_goes_on_as_if_it_had_not_been() {
    let home = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.edit.task = EditTask::Stroke;
    let run = |host: &mut Host, says: &str| {
        let about = host.session.what_run_does();
        assert!(about.contains(says), "{about}");
        host.handle(Action::Do(Verb::RunOrPause));
        settle(host);
    };
    let runs = |host: &Host| host.session.trace().runs().count();
    let mut whole = host(home.path(), settings.clone());
    generate_and_run(&mut whole);
    run(&mut whole, "go on with run 1");
    run(&mut whole, "go on with run 1");

    let mut first = host(home.path(), settings);
    generate_and_run(&mut first);
    first.handle(Action::Do(Verb::Edit));
    first.handle(Action::Confirm);
    first.handle(Action::Do(Verb::Stop));
    settle(&mut first);
    assert!(first.session.origins().unwrap().edited.is_none(), "it came to nothing");
    run(&mut first, "go on with run 1 from its newest iteration, for 3 iterations");
    assert_eq!((runs(&first), first.session.path().len()), (1, 7));
    let file = home.path().join("a.lapidary");
    save(&mut first, &file, Detail::Full);

    let mut second = host(home.path(), Settings::default());
    open(&mut second, &file);
    run(&mut second, "go on with run 1");
    assert_eq!(runs(&second), 1);
    assert_eq!(states(&mut second), states(&mut whole), "bit by bit");
    let mut third = host(home.path(), Settings::default());
    open(&mut third, &file);
    let mut changed = third.session.settings().clone();
    changed.refine.eps = 1.0;
    third.handle(Action::Edit(Box::new(changed)));
    run(&mut third, "go on with run 1");
    let kept = third.session.trace().runs().next().unwrap();
    assert_eq!(
        (kept.settings_at(6).eps, kept.settings_at(7).eps),
        (3.0, 1.0),
        "what changed meanwhile is in its record"
    );
}

#[test]
fn edited_pictures_and_targets_that_are_no_labels_come_back_from_a_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("edited.lapidary");
    let mut settings = settings();
    settings.edit.task = EditTask::Stroke;
    settings.refine.target = Target::PseudoLabel;
    let mut first = host(home.path(), settings.clone());
    generate_and_run(&mut first);
    first.handle(Action::Do(Verb::Edit));
    if first.session.question().is_some() {
        first.handle(Action::Confirm);
    }
    until(&mut first, "edited pictures", |host| host.session.origins().filter(|o| o.edited.is_some()).map(|_| ()));
    settle(&mut first);
    first.handle(Action::Do(Verb::Edit));
    assert!(first.session.question().is_none(), "another try gives up nothing that was iterated");
    settle(&mut first);
    // A label that the classifier does not see, so that the pseudo-label differs.
    let seen = first.session.target(0);
    first.handle(Action::SetTarget { sample: 0, class: (seen + 1) % 12 });
    settle(&mut first);
    assert_eq!(first.session.target(0), (seen + 1) % 12, "a class that is chosen is a label");
    assert_eq!(first.session.settings().refine.target, Target::Label);
    first.handle(Action::Edit(Box::new(settings)));
    let verdict = |host: &mut Host| (host.session.target(0) == seen).then_some(());
    until(&mut first, "the classifier's verdict, which decides and not the label", verdict);
    save(&mut first, &file, Detail::Full);
    let made = first.session.origins().unwrap().clone();

    let mut second = host(home.path(), Settings::default());
    open(&mut second, &file);
    assert_eq!(*second.session.origins().unwrap(), made);
    let edited = made.edited.as_ref().unwrap();
    assert_eq!((edited.settings.task, edited.is_of_one), (EditTask::Stroke, Some(false)), "each is of its own");
    assert_eq!(second.session.target(0), seen);
}

#[test]
fn undo_takes_back_a_change_of_settings_and_redo_makes_it_again() {
    let home = tempfile::tempdir().unwrap();
    let mut host = host(home.path(), settings());
    let with_radius = |eps: f64| {
        let mut settings = settings();
        settings.refine.eps = eps;
        settings
    };
    for eps in [1.0, 1.5, 2.0] {
        // Held like a slider: one step of undo.
        host.handle(Action::Edit(Box::new(with_radius(eps - 0.1))));
        host.handle(Action::Edit(Box::new(with_radius(eps))));
        host.handle(Action::EndEdit);
    }
    host.handle(Action::Do(Verb::Undo));
    assert_eq!(*host.session.settings(), with_radius(1.5));
    host.handle(Action::Do(Verb::Undo));
    host.handle(Action::Do(Verb::Undo));
    assert_eq!(*host.session.settings(), settings());
    assert!(!host.session.can(Verb::Undo), "there is nothing before the start");
    host.handle(Action::Do(Verb::Redo));
    host.handle(Action::Do(Verb::Redo));
    assert_eq!(*host.session.settings(), with_radius(1.5));
    host.handle(Action::Edit(Box::new(with_radius(9.0))));
    assert!(!host.session.can(Verb::Redo), "a new change ends what was undone");

    host.handle(Action::Edit(Box::new(with_radius(f64::NAN))));
    assert_eq!(*host.session.settings(), with_radius(9.0), "an impossible value changes nothing");
    assert!(notice(&mut host, "A setting was not changed").contains("Radius is NaN"));
}

#[test]
fn a_state_that_left_memory_comes_back_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let mut host = host(home.path(), settings());
    generate_and_run(&mut host);
    let before = states(&mut host);
    spill(&mut host);
    host.handle(Action::Show(0));
    let lookup = host.session.shown_state();
    assert!(matches!(lookup, Some(Lookup::Loading)), "it is read without waiting: {lookup:?}");
    assert_eq!(states(&mut host), before);
}

/// Files that are no session, or no longer one.
fn bad_files(home: &Path, good: &Path) -> Vec<(PathBuf, &'static str)> {
    let bytes = std::fs::read(good).expect("the session was saved");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x40;
    let later = br#"{"format": "lapidary-session", "version": 99}"#;
    let files: [(&str, &[u8], &'static str); 7] = [
        ("text.lapidary", b"dear diary", "This is no Lapidary session"),
        ("empty.lapidary", b"", "This is no Lapidary session"),
        ("picture.lapidary", b"\x89PNG\r\n\x1a\nrest", "This is no Lapidary session"),
        ("other.json", br#"{"format": "something else"}"#, "This is no Lapidary session"),
        ("later.json", later, "update Lapidary"),
        ("cut.lapidary", &bytes[..bytes.len() / 2], "The session file is damaged"),
        ("flipped.lapidary", &flipped, "The session file is damaged"),
    ];
    let write = |(name, bytes, text): (&str, &[u8], &'static str)| {
        let path = home.join(name);
        std::fs::write(&path, bytes).expect("a writable folder");
        (path, text)
    };
    let mut files: Vec<_> = files.into_iter().map(write).collect();
    files.push((home.join("absent.lapidary"), "The session file cannot be read"));
    files
}

#[test]
fn a_bad_file_is_refused_in_words_and_the_session_stays() {
    let home = tempfile::tempdir().unwrap();
    let good = home.path().join("good.lapidary");
    let mut host = host(home.path(), settings());
    generate_and_run(&mut host);
    save(&mut host, &good, Detail::Full);
    let before = states(&mut host);
    let trace = host.session.trace().clone();
    for (path, text) in bad_files(home.path(), &good) {
        host.handle(Action::OpenSession(path.clone()));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let told = until(&mut host, &name, |host| {
            let about = |notice: &&lapidary::session::Notice| notice.title.contains(&name);
            host.session.notices.list().iter().find(about).map(|notice| notice.title.clone())
        });
        assert!(told.contains(text), "{name}: {told}");
        assert_eq!(host.session.trace(), &trace, "{name}");
        assert_eq!(host.session.settings(), &settings(), "{name}");
        assert_eq!(host.session.file(), Some(good.as_path()), "{name}");
        assert_eq!(states(&mut host), before, "{name}");
    }
}

#[test]
fn states_can_still_leave_memory_and_come_back_after_a_bad_file() {
    let home = tempfile::tempdir().unwrap();
    let mut host = host(home.path(), settings());
    let bad = home.path().join("bad.lapidary");
    std::fs::write(&bad, "dear diary").unwrap();
    host.handle(Action::OpenSession(bad));
    notice(&mut host, "This is no Lapidary session");
    generate_and_run(&mut host);
    save(&mut host, &home.path().join("good.lapidary"), Detail::Full);
    host.handle(Action::OpenSession(home.path().join("bad.lapidary")));
    until(&mut host, "the second refusal", |host| {
        host.session.notices.list().iter().any(|notice| notice.count == 2).then_some(())
    });
    host.handle(Action::Do(Verb::RunOrPause));
    settle(&mut host);
    let before = states(&mut host);
    spill(&mut host);
    assert_eq!(states(&mut host), before);
}

#[test]
fn unsaved_work_is_asked_about_before_it_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("other.lapidary");
    let mut other = host(home.path(), settings());
    generate_and_run(&mut other);
    save(&mut other, &file, Detail::Full);

    let mut host = host(home.path(), settings());
    generate_and_run(&mut host);
    let trace = host.session.trace().clone();
    host.handle(Action::OpenSession(file.clone()));
    host.pump();
    assert!(host.session.question().is_some());
    assert_eq!(host.session.trace(), &trace, "nothing happens before the answer");
    host.handle(Action::Cancel);
    assert_eq!((host.session.question(), host.session.trace()), (None, &trace));

    host.handle(Action::OpenSession(file.clone()));
    host.handle(Action::Confirm);
    until(&mut host, "the other session", |host| (host.session.file() == Some(file.as_path())).then_some(()));
    assert_eq!(host.session.trace(), other.session.trace());
}

#[test]
fn a_crash_of_the_compute_thread_costs_nothing_and_work_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let mut host = host(home.path(), settings());
    generate_and_run(&mut host);
    let (before, trace) = (states(&mut host), host.session.trace().clone());
    host.send(Command::Panic).unwrap();
    let text = until(&mut host, "the crash", |host| match host.session.activity() {
        Activity::Crashed(text) => Some(text),
        _ => None,
    });
    assert_eq!(text, "the compute thread was asked to panic");
    assert!(notice(&mut host, "your session is intact").contains("Restart compute"));
    assert_eq!((&states(&mut host), host.session.trace()), (&before, &trace));
    assert!(!host.session.can(Verb::RunOrPause) && host.session.can(Verb::RestartCompute));

    host.handle(Action::Do(Verb::RestartCompute));
    assert!(!host.session.can(Verb::RestartCompute));
    host.handle(Action::Do(Verb::RunOrPause));
    settle(&mut host);
    assert_eq!(host.session.path().len(), 7, "three more iterations on top of the four states");
    assert_eq!(state_at(&mut host, 2), before[2]);
}

#[test]
fn a_saved_session_leaves_no_autosave_behind_and_an_unsaved_one_does() {
    let home = tempfile::tempdir().unwrap();
    let mut saved = host(home.path(), settings());
    generate_and_run(&mut saved);
    save(&mut saved, &home.path().join("mine.lapidary"), Detail::Full);
    drop(saved);
    let entries = || std::fs::read_dir(home.path().join("autosave")).unwrap().count();
    assert_eq!(entries(), 0);

    let mut unsaved = host(home.path(), settings());
    generate_and_run(&mut unsaved);
    let preset = &PRESETS[0];
    let mut own = unsaved.session.settings().clone();
    own.refine = preset.apply(&own.refine);
    unsaved.handle(Action::Edit(Box::new(own.clone())));
    own.refine.eps *= 0.5;
    unsaved.handle(Action::Edit(Box::new(own.clone())));
    // The compute thread holds the run and answers to what was edited: that belongs to the trace.
    until(&mut unsaved, "the answer to the edit", |host| {
        let last = host.session.trace().runs().last()?.changes.last()?;
        (last.settings.eps == own.refine.eps).then_some(())
    });
    let (before, trace) = (states(&mut unsaved), unsaved.session.trace().clone());
    assert_eq!(unsaved.session.preset(), Some(preset));
    drop(unsaved);
    assert_eq!(entries(), 1);

    let mut next = host(home.path(), Settings::default());
    let orphan = until(&mut next, "the orphan", |host| host.session.orphans().first().cloned());
    assert_eq!(orphan.states, 4);
    next.handle(Action::Recover(orphan.folder));
    until(&mut next, "the recovery", |host| host.session.origins().is_some().then_some(()));
    assert_eq!((&states(&mut next), next.session.trace()), (&before, &trace));
    assert!(next.session.orphans().is_empty() && next.session.is_unsaved());
    assert_eq!(next.session.preset(), Some(preset), "what its own settings come from");
}

#[test]
fn a_disk_thread_that_dies_is_told_and_nothing_waits_for_it() {
    let home = tempfile::tempdir().unwrap();
    let dies = std::sync::atomic::AtomicBool::new(true);
    let wake = move || {
        let is_disk = std::thread::current().name() == Some("lapidary-disk");
        assert!(!is_disk || !dies.swap(false, std::sync::atomic::Ordering::Relaxed), "the disk fell out");
    };
    let folders = Folders { cache: cache(), autosave: home.path().join("autosave") };
    let mut host = Host::start(settings(), folders, Arc::new(wake)).expect("two threads");
    let file = home.path().join("never.lapidary");
    host.handle(Action::SaveSession(file.clone(), Detail::Full));
    assert!(notice(&mut host, "nothing can be saved any more").contains("disk fell out"));
    assert_eq!(host.session.activity(), Activity::Idle);
    for action in [Action::SaveSession(file.clone(), Detail::Full), Action::OpenSession(file.clone())] {
        host.handle(action);
        assert_eq!(host.session.activity(), Activity::Idle);
    }
    assert!(notice(&mut host, "The disk thread has crashed").contains("open or save again") && !file.exists());
}

#[test]
fn what_a_file_holds_is_not_said_to_be_lost_and_no_file_says_where_files_lie() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mine.lapidary");
    // A crash leaves the journal as it is: a copy of it stands for that.
    let crashed = |name: &str| {
        let own = std::fs::read_dir(home.path().join("autosave")).unwrap().next().unwrap().unwrap().path();
        let folder = home.path().join(name).join("autosave").join("1-1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(own.join("journal.bin"), folder.join("journal.bin")).unwrap();
        home.path().join(name)
    };
    let mut first = host(home.path(), settings());
    generate_and_run(&mut first);
    save(&mut first, &file, Detail::Full);
    let offered = |home: &Path| {
        let journal = home.join("autosave/1-1/journal.bin");
        let mut next = host(home, Settings::default());
        until(&mut next, "the answer", |host| (!journal.exists() || !host.session.orphans().is_empty()).then_some(()));
        next.session.orphans().first().map(|orphan| (orphan.states, orphan.file.clone()))
    };
    let saved = crashed("saved");
    assert_eq!(offered(&saved), None, "nothing is lost");
    first.handle(Action::Do(Verb::Step));
    settle(&mut first);
    let one_newer = Some((1, Some(file.clone())));
    let newer = until(&mut first, "the state on the disk", |_| {
        Some(crashed("newer")).filter(|newer| offered(newer) == one_newer)
    });
    save(&mut first, &file, Detail::Full);
    let bytes = std::fs::read(&file).unwrap();
    let place = home.path().to_str().unwrap().as_bytes();
    assert!(!bytes.windows(place.len()).any(|window| window == place), "it is nobody else's business");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(offered(&newer), Some((5, None)), "the file is gone");
    // What is recovered goes on in the file that holds what was before.
    save(&mut first, &file, Detail::Full);
    first.handle(Action::Do(Verb::Step));
    settle(&mut first);
    let newer = until(&mut first, "the state on the disk", |_| {
        Some(crashed("again")).filter(|newer| offered(newer) == one_newer)
    });
    let mut next = host(&newer, Settings::default());
    let orphan = until(&mut next, "the orphan", |host| host.session.orphans().first().cloned());
    next.handle(Action::Recover(orphan.folder));
    until(&mut next, "its states", |host| (host.session.file() == Some(&*file)).then_some(()));
    assert!(next.session.is_unsaved());
    next.handle(Action::SaveSession(file.clone(), Detail::Full));
    until(&mut next, "the saved file", |host| (!host.session.is_unsaved() && !host.session.is_saving()).then_some(()));
    assert!(next.session.question().is_none(), "nobody else changed it");
}

#[test]
fn a_discarded_orphan_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let mut unsaved = host(home.path(), settings());
    generate_and_run(&mut unsaved);
    drop(unsaved);

    let mut next = host(home.path(), Settings::default());
    let orphan = until(&mut next, "the orphan", |host| host.session.orphans().first().cloned());
    assert!(orphan.folder.is_dir());
    next.handle(Action::Discard(orphan.folder.clone()));
    assert_eq!(next.session.orphans().len(), 1, "not before it was confirmed");
    next.handle(Action::Confirm);
    until(&mut next, "its removal", |_| (!orphan.folder.exists()).then_some(()));
    assert!(next.session.orphans().is_empty());
}

/// Not a test by itself: the process that the next test kills. It refines without end and tells what is safe.
#[test]
fn child_that_refines_until_it_is_killed() {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let start = Instant::now();
    let mut settings = settings();
    settings.refine.iterations = None;
    let mut host = host(Path::new(&home), settings);
    host.handle(Action::Do(Verb::Generate));
    settle(&mut host);
    host.handle(Action::Do(Verb::RunOrPause));
    let mut told = 0;
    // Were nobody to kill it, it would end by itself.
    while start.elapsed() < Duration::from_secs(120) {
        host.pump();
        // What can leave memory is on disk.
        host.handle(Action::SetBudget(1));
        let (_, safe) = host.session.iterates().counts();
        if safe > told {
            told = safe;
            writeln!(std::io::stdout(), "{SAFE}{safe}").unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the process also when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("a process of our own");
        self.0.wait().expect("a process of our own");
    }
}

#[test]
fn after_kill_9_every_state_that_was_on_disk_is_recovered() {
    let home = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_refines_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let child = Killed(child);
    let mut next_count = || {
        let line = lines.next()?.ok()?;
        // The test harness may have written to the same line before.
        line.split_once(SAFE).map_or(Some(0), |(_, count)| count.trim().parse::<usize>().ok())
    };
    let mut safe = 0;
    while safe < 4 {
        safe = safe.max(next_count().expect("the child goes on until it is killed"));
    }
    drop(child);
    // What it wrote before it died.
    while let Some(count) = next_count() {
        safe = safe.max(count);
    }

    let mut host = host(home.path(), Settings::default());
    let orphan = until(&mut host, "the orphan", |host| host.session.orphans().first().cloned());
    assert!(orphan.states >= safe, "{} states were found, but {safe} were safe", orphan.states);
    host.handle(Action::Recover(orphan.folder));
    until(&mut host, "the recovery", |host| host.session.origins().is_some().then_some(()));
    let states = states(&mut host);
    assert_eq!(states.len(), orphan.states);
    assert_eq!(host.session.settings().generate, settings().generate);
    for (k, state) in states.iter().enumerate() {
        assert_eq!(state.iteration as usize, k);
        assert!(state.images.pixels().iter().all(|value| (0.0..=1.0).contains(value)), "state {k}");
    }
    assert_eq!(Some(&states[0].images), host.session.origins().map(|origins| &origins.images));
    assert!(host.session.is_unsaved(), "it is in no session file yet");
}
