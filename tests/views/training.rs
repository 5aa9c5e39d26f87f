//! A training in the window: chosen, started, watched, used for the pictures on the screen, and kept when the window closes.

use egui::ViewportCommand;
use lapidary::session::training::{TrainPhase, Training};
use lapidary::view::Ending;

use super::frame::{close, commands, type_path, wait_for};
use super::tiny::prepare;
use super::*;

fn training(session: &Session) -> &Training {
    session.training().expect("one was chosen")
}

/// Opens the file of a training by the dialog, and waits until it is looked at.
fn choose(harness: &mut Harness<'static, Workbench>, config: &Path) {
    harness.step();
    click(harness, "Training");
    harness.get_by_label_contains("watch what it makes");
    click(harness, "Open description…");
    steps(harness, 4);
    type_path(harness, config);
    harness.key_press(Key::Enter);
    until(harness, "the report", |session| {
        session.training().is_some_and(|training| training.phase == TrainPhase::Waits)
    });
}

#[test]
fn a_training_is_looked_at_started_seen_live_and_its_checkpoint_makes_the_pictures() {
    let root = tempfile::tempdir().unwrap();
    let config = prepare(root.path());
    let mut harness = workbench(root.path());
    edit(&mut harness, |settings| settings.refine.target = Target::PseudoLabel);
    choose(&mut harness, &config);
    for fact in ["400 of 2 pictures", "tiny-training", "5 pictures of 2 kinds to learn from"] {
        harness.get_by_label_contains(fact);
    }
    assert!(!root.path().join("tiny-training").exists(), "nothing is written yet");
    click(&mut harness, "Start");
    until(&mut harness, "pictures of a checkpoint", |session| !training(session).samples.is_empty());
    click(&mut harness, "Hold");
    until(&mut harness, "being held", |session| training(session).phase == TrainPhase::Paused);
    harness.get_by_label_contains("Loss: ");
    let (shown, _) = training(session(&harness)).samples[0];
    harness.get_by_role_and_label(Role::Image, &format!("What it makes after step {shown}"));
    let step = training(session(&harness)).kept.last().expect("a checkpoint").step;
    harness.get_by_role_and_label(Role::Button, &format!("Use now: step {step}")).click_accesskit();
    let is_used = |session: &Session| {
        let used = session.origins().and_then(|origins| origins.made_by.as_ref());
        used.is_some_and(|made_by| made_by.generator.ends_with("ema_0.9.toml"))
    };
    until(&mut harness, "pictures of the checkpoint", is_used);
    steps(&mut harness, 2);
    wait_for(&mut harness, &format!("In use: step {step}"));

    // It goes on to its end, from what was kept, under the same name.
    click(&mut harness, "End");
    until(&mut harness, "its end", |session| !session.is_training());
    click(&mut harness, "Close");
    harness.get_by_role_and_label(Role::Button, "tiny.toml");
    harness.get_by_role_and_label(Role::Button, "Settings").click_accesskit();
    steps(&mut harness, 2);
    harness.get_by_role_and_label(Role::Button, "Generate");
}

#[test]
fn quitting_while_it_learns_asks_and_keeps_what_it_has_learnt() {
    let root = tempfile::tempdir().unwrap();
    let config = prepare(root.path());
    let mut harness = workbench(root.path());
    choose(&mut harness, &config);
    let is_held =
        |commands: &[ViewportCommand]| commands.iter().any(|command| matches!(command, ViewportCommand::CancelClose));
    assert!(!is_held(&close(&mut harness)), "nothing is learnt yet");
    click(&mut harness, "Start");
    until(&mut harness, "a step", |session| training(session).step > 0);
    click(&mut harness, "Hold");
    until(&mut harness, "being held", |session| training(session).phase == TrainPhase::Paused);
    let step = training(session(&harness)).step;
    assert!(is_held(&close(&mut harness)));
    harness.get_by_label("Quit while a training goes on?");
    click(&mut harness, "Stay");
    steps(&mut harness, 2);
    assert!(is_held(&close(&mut harness)));
    click(&mut harness, "Keep it and quit");
    until_closed(&mut harness);
    let kept = root.path().join(format!("tiny-training/checkpoints/step_{step:08}/ema_0.9.toml"));
    assert!(kept.exists(), "{}", kept.display());
}

/// Waits until the window closes itself.
fn until_closed(harness: &mut Harness<'static, Workbench>) {
    let start = Instant::now();
    while !commands(harness).iter().any(|command| matches!(command, ViewportCommand::Close)) {
        assert!(start.elapsed() < PATIENCE, "the window is closed once it is kept");
        std::thread::sleep(Duration::from_millis(5));
        harness.step();
    }
}

#[test]
fn what_it_has_learnt_is_kept_when_the_system_ends_the_program() {
    let root = tempfile::tempdir().unwrap();
    let config = prepare(root.path());
    let mut harness = workbench(root.path());
    let ending = Ending::default();
    harness.state_mut().ends_by(ending.clone());
    choose(&mut harness, &config);
    click(&mut harness, "Start");
    until(&mut harness, "a step", |session| training(session).step > 0);
    click(&mut harness, "Hold");
    until(&mut harness, "being held", |session| training(session).phase == TrainPhase::Paused);
    let step = training(session(&harness)).step;
    assert_eq!(ending.signal(), None);
    ending.ask(15);
    until_closed(&mut harness);
    assert!(!session(&harness).is_training() && harness.query_by_label("Quit while a training goes on?").is_none());
    let kept = root.path().join(format!("tiny-training/checkpoints/step_{step:08}/ema_0.9.toml"));
    assert!(kept.exists(), "{}", kept.display());
    assert_eq!(ending.signal(), Some(15));
}
