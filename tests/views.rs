//! The real panels over the real compute and disk threads, driven by their labels as a user drives them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eframe::egui::{self, Key, Modifiers, Role, accesskit, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use lapidary::session::host::Folders;
use lapidary::session::{Action, Activity, Compare, Host, Lookup, Session, Settings, Verb};
use lapidary::view::{Workbench, theme};
use lapidary::worker::{Command, DeviceChoice};

/// Longest wait for the compute thread; a state takes well below a second.
const PATIENCE: Duration = Duration::from_secs(120);

fn folders(root: &Path) -> Folders {
    Folders { cache: root.join("cache"), autosave: root.join("autosave") }
}

fn workbench(root: &Path) -> Harness<'static, Workbench> {
    let mut settings = Settings::default();
    settings.generate.samples = 4;
    settings.compute.device = DeviceChoice::Cpu;
    let host = Host::start(settings, folders(root), Arc::new(|| ())).expect("threads start");
    Harness::builder().with_size(vec2(1280.0, 800.0)).with_context_setup(theme::install).build_ui_state(
        |ui, workbench: &mut Workbench| {
            let ctx = ui.ctx().clone();
            workbench.logic(&ctx);
            workbench.ui(ui);
        },
        Workbench::new(host),
    )
}

fn session<'a>(harness: &'a Harness<'static, Workbench>) -> &'a Session {
    &harness.state().host().session
}

/// Draws frames until the condition holds.
fn until(harness: &mut Harness<'static, Workbench>, what: &str, condition: impl Fn(&Session) -> bool) {
    let start = Instant::now();
    loop {
        harness.step();
        if condition(session(harness)) {
            harness.step();
            return;
        }
        let notices = session(harness).notices.list();
        assert!(start.elapsed() < PATIENCE, "{what} did not happen; notices: {notices:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn click(harness: &mut Harness<'static, Workbench>, label: &str) {
    harness.get_by_role_and_label(Role::Button, label).click();
    harness.step();
    harness.step();
}

fn at_rest(session: &Session) -> bool {
    !session.is_busy() && !session.path().is_empty()
}

fn generate(harness: &mut Harness<'static, Workbench>) {
    harness.step();
    click(harness, "Generate");
    until(harness, "generating", at_rest);
}

#[test]
fn a_user_generates_runs_pauses_steps_and_stops() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    harness.get_by_label("No pictures yet");
    generate(&mut harness);
    assert_eq!(session(&harness).path().len(), 1, "the start is evaluated");
    harness.get_by_label_contains("Pair 3:");

    // Without end, so that pausing happens in the middle for sure.
    harness.get_by_role_and_label(Role::CheckBox, "no end").click();
    harness.step();
    harness.step();
    assert_eq!(session(&harness).settings().refine.iterations, None);
    click(&mut harness, "Run");
    until(&mut harness, "iterating", |session| session.path().len() > 3);
    click(&mut harness, "Pause");
    until(&mut harness, "pausing", |session| *session.activity() == Activity::Paused);
    let paused_at = session(&harness).path().len();
    (0..10).for_each(|_| harness.step());
    assert_eq!(session(&harness).path().len(), paused_at, "nothing moves while paused");

    click(&mut harness, "Step");
    until(&mut harness, "one step", |session| session.path().len() == paused_at + 1 && !session.is_busy());

    // The plan, which has no end, was held over the step.
    click(&mut harness, "Resume");
    until(&mut harness, "running again", |session| session.path().len() > paused_at + 3);
    click(&mut harness, "Stop");
    until(&mut harness, "stopping", |session| *session.activity() == Activity::Idle);

    let path = session(&harness).path();
    let iterations: Vec<u32> = path.iter().map(|id| id.iteration).collect();
    assert!(iterations.iter().enumerate().all(|(k, iteration)| k == *iteration as usize), "k+1 states: {iterations:?}");

    click(&mut harness, "Reset");
    until(&mut harness, "a new run", |session| at_rest(session) && session.path().len() == 1);
    assert_eq!(session(&harness).trace().runs().count(), 2, "the old run stays");
}

#[test]
fn changing_the_radius_while_running_is_recorded_and_can_be_undone() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.get_by_role_and_label(Role::CheckBox, "no end").click();
    harness.step();
    harness.step();
    click(&mut harness, "Run");
    until(&mut harness, "iterating", |session| session.path().len() > 2);

    let before = session(&harness).settings().refine.eps;
    let slider = harness.get_all_by_role_and_label(Role::Slider, "Radius").next().unwrap();
    slider.set_value_accesskit(1.0);
    until(&mut harness, "the new radius", |session| (session.settings().refine.eps - 1.0).abs() < 0.05);
    let eps = session(&harness).settings().refine.eps;
    until(&mut harness, "the worker to take it", |session| {
        session.trace().runs().any(|run| run.changes.iter().any(|change| change.settings.eps == eps))
    });
    let change = session(&harness).trace().runs().last().unwrap().changes.last().unwrap().clone();
    until(&mut harness, "a state under it", |session| session.path().len() > change.iteration as usize + 3);
    click(&mut harness, "Stop");
    until(&mut harness, "stopping", at_rest);
    let last = session(&harness).shown_id().unwrap();
    let numbers = session(&harness).trace().numbers(last).unwrap().clone();
    assert!(
        numbers.delta_l2.iter().all(|delta| f64::from(*delta) <= eps + 1e-5),
        "{:?} within {eps}",
        numbers.delta_l2
    );

    click(&mut harness, "Undo");
    until(&mut harness, "undo", |session| session.settings().refine.eps == before);
    click(&mut harness, "Redo");
    until(&mut harness, "redo", |session| session.settings().refine.eps == eps);
}

#[test]
fn a_user_scrubs_and_the_pictures_follow() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Run");
    until(&mut harness, "15 iterations", |session| session.path().len() == 16 && !session.is_busy());
    assert_eq!(session(&harness).shown(), 15, "the newest is shown");

    harness.key_press(Key::ArrowLeft);
    harness.step();
    harness.step();
    assert_eq!(session(&harness).shown(), 14);
    harness.key_press(Key::Home);
    harness.step();
    harness.step();
    assert_eq!(session(&harness).shown(), 0);
    let start = shown_pixels(&mut harness);
    let origins = session(&harness).origins().unwrap().clone();
    assert_eq!(start, origins.images.pixels(), "state 0 is the origin");

    // Dragging along a trace scrubs.
    let rect = harness.get_by_label("Trace: Energy").rect();
    harness.drag_at(rect.center());
    harness.step();
    harness.drop_at(rect.center());
    harness.step();
    let middle = session(&harness).shown();
    assert!((6..=9).contains(&middle), "the middle of the trace is the middle of the run: {middle}");
    let state = shown_pixels(&mut harness);
    assert_ne!(state, start);

    harness.key_press(Key::End);
    harness.step();
    harness.step();
    assert!(session(&harness).follows());
}

fn shown_pixels(harness: &mut Harness<'static, Workbench>) -> Vec<f32> {
    match harness.state_mut().host_mut().session.shown_state() {
        Some(Lookup::Ready(state)) => state.images.pixels().to_vec(),
        other => panic!("the state is in memory: {other:?}"),
    }
}

#[test]
fn a_click_opens_the_canvas_and_the_handle_wipes() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.get_by_label_contains("Pair 2:").click();
    harness.step();
    harness.step();
    assert_eq!(session(&harness).selected(), Some(2));
    harness.get_by_label_contains("Canvas: Side by side");

    click(&mut harness, "Wipe");
    assert_eq!(session(&harness).compare(), Compare::Wipe);
    let handle = harness.get_by_label("Wipe handle").rect().center();
    let canvas = harness.get_by_label_contains("Canvas: Wipe").rect();
    harness.drag_at(handle);
    harness.step();
    let target = egui::pos2(canvas.left() + 0.25 * canvas.width(), canvas.center().y);
    harness.hover_at(target);
    harness.step();
    harness.drop_at(target);
    harness.step();
    let wipe = harness.state_mut().canvas_mut().wipe;
    assert!((wipe - 0.25).abs() < 0.03, "the handle follows the pointer: {wipe}");

    harness.key_press(Key::Num4);
    harness.step();
    harness.step();
    assert_eq!(session(&harness).compare(), Compare::Difference);
    harness.get_by_label_contains("Canvas: Difference");
    harness.key_press(Key::Escape);
    harness.step();
    harness.step();
    assert_eq!(session(&harness).selected(), None);
}

#[test]
fn a_session_is_saved_reopened_and_equal() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("mine.lapidary");
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Run");
    until(&mut harness, "15 iterations", |session| session.path().len() == 16 && !session.is_busy());
    let last = shown_pixels(&mut harness);
    assert!(session(&harness).is_unsaved());

    harness.key_press_modifiers(Modifiers::COMMAND, Key::S);
    harness.step();
    harness.step();
    harness.get_by_role_and_label(Role::TextInput, "Path").focus();
    harness.step();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    harness.get_by_role_and_label(Role::TextInput, "Path").type_text(file.to_str().unwrap());
    harness.step();
    click(&mut harness, "Save file");
    until(&mut harness, "saving", |session| !session.is_unsaved());
    assert!(file.exists());

    let mut other = workbench(&root.path().join("other"));
    other.step();
    other.state_mut().host_mut().handle(Action::OpenSession(file));
    until(&mut other, "opening", |session| session.path().len() == 16);
    assert_eq!(shown_pixels(&mut other), last);
    assert_eq!(session(&other).trace(), session(&harness).trace());
    assert_eq!(session(&other).settings(), session(&harness).settings());

    // And it goes on from there.
    click(&mut other, "Step");
    until(&mut other, "one more", |session| session.path().len() == 17 && !session.is_busy());
}

#[test]
fn unsaved_work_is_asked_about_before_it_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::N);
    (0..6).for_each(|_| harness.step());
    harness.get_by_label("Unsaved work");
    click(&mut harness, "Keep");
    assert!(session(&harness).origins().is_some());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::N);
    (0..6).for_each(|_| harness.step());
    click(&mut harness, "Replace");
    until(&mut harness, "a new session", |session| session.origins().is_none());
    harness.get_by_label("No pictures yet");
}

#[test]
fn a_crash_of_the_compute_thread_is_shown_and_survived() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.state().host().send(Command::Panic).unwrap();
    until(&mut harness, "the crash", |session| matches!(session.activity(), Activity::Crashed(_)));
    assert!(session(&harness).origins().is_some(), "the session is intact");
    click(&mut harness, "Restart compute");
    click(&mut harness, "Step");
    until(&mut harness, "an iteration after the restart", |session| session.path().len() == 2 && !session.is_busy());
}

#[test]
fn every_interactive_widget_has_a_name() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    for select in [None, Some(1)] {
        if let Some(sample) = select {
            harness.state_mut().host_mut().handle(Action::Select(sample));
        }
        harness.step();
        harness.step();
        let mut nameless = Vec::new();
        collect_nameless(&harness.root(), &mut nameless);
        assert!(nameless.is_empty(), "{nameless:?}");
    }
}

fn collect_nameless(node: &egui_kittest::Node<'_>, nameless: &mut Vec<String>) {
    for child in node.children_recursive() {
        let access = child.accesskit_node();
        let interactive = matches!(
            access.role(),
            Role::Button | Role::CheckBox | Role::ComboBox | Role::Slider | Role::SpinButton | Role::TextInput
        );
        let named = access.label().is_some_and(|label| !label.trim().is_empty())
            || access.value().is_some_and(|value| !value.trim().is_empty() && access.role() == accesskit::Role::Button);
        if interactive && !named {
            nameless.push(format!("{:?} at {:?}", access.role(), child.rect()));
        }
    }
}

#[test]
fn help_lists_every_verb_and_closes() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    harness.key_press(Key::Questionmark);
    // A modal needs a few frames to find its place.
    (0..6).for_each(|_| harness.step());
    harness.get_by_label("Keys and what they do");
    for verb in Verb::ALL {
        assert!(harness.query_all_by_label(verb.about()).next().is_some(), "{verb:?} is explained");
    }
    click(&mut harness, "Close");
    (0..4).for_each(|_| harness.step());
    assert!(harness.query_by_label("Keys and what they do").is_none());
}

#[test]
fn looking_never_changes_the_numbers() {
    // One run watched in every way, one never drawn: the same numbers to the last bit.
    let run = |looks: bool| {
        let root = tempfile::tempdir().unwrap();
        let mut harness = workbench(root.path());
        generate(&mut harness);
        click(&mut harness, "Run");
        let start = Instant::now();
        let done = |session: &Session| session.path().len() == 16 && !session.is_busy();
        let mut turn = 0;
        while !done(session(&harness)) {
            assert!(start.elapsed() < PATIENCE);
            if looks {
                turn += 1;
                let host = harness.state_mut().host_mut();
                host.handle(Action::Select(turn % 4));
                host.handle(Action::Compare(Compare::ALL[turn % 4]));
                host.handle(Action::Show(turn % 3));
                harness.step();
            } else {
                harness.state_mut().host_mut().pump();
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let session = session(&harness);
        let last = session.trace().numbers(*session.path().last().unwrap()).unwrap().clone();
        (last.logits, last.delta_l2)
    };
    assert_eq!(run(true), run(false));
}
