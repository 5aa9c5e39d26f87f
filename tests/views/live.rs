//! The numbers of an independent judge beside a run, as a user sees them.

use lapidary::session::{LiveChoice, LiveShown, Severity};

use super::frame::wait_for;
use super::*;

fn choose(harness: &mut Harness<'static, Workbench>, change: impl FnOnce(&mut LiveChoice)) {
    let mut choice = session(harness).live_choice().clone();
    change(&mut choice);
    harness.state_mut().host_mut().handle(Action::ChooseLive(Box::new(choice)));
    steps(harness, 2);
}

#[test]
fn a_user_sees_what_an_independent_judge_thinks_of_what_is_shown() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    assert_eq!(session(&harness).live_shown(), LiveShown::Nothing, "nobody looks");
    open_section(&mut harness, "Independent judge");
    wait_for(&mut harness, "iteration 0: 4 pictures");
    harness.get_by_label("Change of agreement");
    assert!(harness.query_all_by_label_contains("Not independent").next().is_none());
    click(&mut harness, "Step");
    wait_for(&mut harness, "iteration 1: 4 pictures");

    // Real pictures that cannot be compared with so few are told of in a sentence, and those that are not there, too.
    choose(&mut harness, |choice| choice.reference = Some(root.path().join("none")));
    wait_for(&mut harness, "No file is there");
    let real = root.path().join("real");
    std::fs::create_dir(&real).unwrap();
    for name in ["a.png", "b.png"] {
        image::RgbImage::new(32, 32).save(real.join(name)).unwrap();
    }
    choose(&mut harness, |choice| choice.reference = Some(real.clone()));
    wait_for(&mut harness, "4 pictures with 128 features each");
    // Chosen again, it is looked at again.
    std::fs::remove_dir_all(&real).unwrap();
    choose(&mut harness, |_| ());
    wait_for(&mut harness, "No file is there");
    choose(&mut harness, |choice| choice.reference = None);

    // The classifier that refines is no judge of its own work.
    let refines = session(&harness).settings().refine.classifier.clone();
    choose(&mut harness, |choice| choice.judge = refines);
    wait_for(&mut harness, "Not independent");
    choose(&mut harness, |choice| choice.judge = "/no/judge.pt".to_owned());
    wait_for(&mut harness, "no numbers");
    let failures =
        |session: &Session| session.notices.list().iter().filter(|notice| notice.severity == Severity::Error).count();
    assert_eq!(failures(session(&harness)), 0, "nothing else is disturbed");

    open_section(&mut harness, "Independent judge");
    assert!(!session(&harness).live_choice().is_on, "what is folded is not computed");
    assert!(harness.query_all_by_label("Change of agreement").next().is_none());
}
