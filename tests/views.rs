//! The real panels over the real compute and disk threads, driven by their labels as a user drives them.

#[path = "views/frame.rs"]
mod frame;
#[path = "views/keyboard.rs"]
mod keyboard;
#[path = "views/live.rs"]
mod live;
#[path = "views/strangers.rs"]
mod strangers;
#[path = "support/tiny.rs"]
mod tiny;
#[path = "views/training.rs"]
mod training;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egui::{Key, Modifiers, PointerButton, Pos2, Role, accesskit, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use lapidary::checkpoint::LoadReport;
use lapidary::generator::{Classes, EditTask};
use lapidary::parameter::Choosable as _;
use lapidary::refiner::{PRESETS, Rule, Target};
use lapidary::session::host::Folders;
use lapidary::session::{Action, Activity, Compare, Host, Lookup, Session, Settings, Verb};
use lapidary::view::{Workbench, theme};
use lapidary::worker::{Command, DeviceChoice, Event, JobId, ModelInfo};

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

fn steps(harness: &mut Harness<'static, Workbench>, count: usize) {
    (0..count).for_each(|_| harness.step());
}

/// Opens a section of the settings, wherever the panel is scrolled to.
fn open_section(harness: &mut Harness<'static, Workbench>, title: &str) {
    harness.get_by_role_and_label(Role::DisclosureTriangle, title).click_accesskit();
    steps(harness, 4);
}

fn tick(harness: &mut Harness<'static, Workbench>, label: &str) {
    harness.get_by_role_and_label(Role::CheckBox, label).click_accesskit();
    steps(harness, 2);
}

fn edit(harness: &mut Harness<'static, Workbench>, change: impl FnOnce(&mut Settings)) {
    let mut settings = session(harness).settings().clone();
    change(&mut settings);
    harness.state_mut().host_mut().handle(Action::Edit(Box::new(settings)));
    steps(harness, 2);
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
    until(&mut harness, "pausing", |session| session.activity() == Activity::Paused);
    let paused_at = session(&harness).path().len();
    (0..10).for_each(|_| harness.step());
    assert_eq!(session(&harness).path().len(), paused_at, "nothing moves while paused");

    click(&mut harness, "Step");
    until(&mut harness, "one step", |session| session.path().len() == paused_at + 1 && !session.is_busy());

    // The plan, which has no end, was held over the step.
    click(&mut harness, "Resume");
    until(&mut harness, "running again", |session| session.path().len() > paused_at + 3);
    click(&mut harness, "Stop");
    until(&mut harness, "stopping", |session| session.activity() == Activity::Idle);

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
    let rect = harness.get_by_label("Trace: ‖δ‖₂").rect();
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
fn a_model_is_looked_at_before_it_is_taken_while_the_window_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    let before = session(&harness).settings().refine.classifier.clone();
    let choose = |harness: &mut Harness<'static, Workbench>, file: &Path| {
        harness.get_by_role_and_label(Role::ComboBox, "Classifier").click();
        steps(harness, 4);
        harness.get_by_role_and_label(Role::Button, "Open file…").click_accesskit();
        steps(harness, 4);
        harness.get_by_label("Open classifier weights");
        harness.get_by_role_and_label(Role::TextInput, "Path").type_text(file.to_str().unwrap());
        harness.step();
        click(harness, "Open");
    };
    let broken = root.path().join("broken.pt");
    std::fs::write(&broken, "no weights").unwrap();
    choose(&mut harness, &broken);
    frame::wait_for(&mut harness, "This is a text file");
    assert_eq!(session(&harness).settings().refine.classifier, before, "the old one stays");
    let typed = harness.get_by_role_and_label(Role::TextInput, "Path").value();
    assert_eq!(typed.as_deref(), broken.to_str(), "what was typed can be mended");
    click(&mut harness, "Cancel");
    let mine = root.path().join("mine; yours.pt");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/gtsrb12-robust.pt"), &mine).unwrap();
    choose(&mut harness, &mine);
    let reference = mine.to_str().unwrap().to_owned();
    until(&mut harness, "the choice", move |session| session.settings().refine.classifier == reference);
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
    let ask = |harness: &mut Harness<'static, Workbench>| {
        harness.key_press_modifiers(Modifiers::COMMAND, Key::N);
        steps(harness, 6);
    };
    ask(&mut harness);
    harness.key_press(Key::Escape);
    steps(&mut harness, 3);
    assert!(session(&harness).question().is_none() && session(&harness).origins().is_some(), "Escape is a no");
    let save_at = |harness: &mut Harness<'static, Workbench>, path: &Path| {
        // Enter presses what is primary: saving first.
        harness.key_press(Key::Enter);
        steps(harness, 6);
        harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
        harness.step();
        harness.event(egui::Event::Text(path.to_str().unwrap().to_owned()));
        steps(harness, 2);
    };
    ask(&mut harness);
    save_at(&mut harness, &root.path().join("not.lapidary"));
    click(&mut harness, "Cancel");
    until(&mut harness, "the question again", |session| session.question().is_some());
    let kept = root.path().join("kept.lapidary");
    save_at(&mut harness, &kept);
    harness.key_press(Key::Enter);
    until(&mut harness, "a new session after saving", |session| session.origins().is_none());
    assert!(kept.exists());

    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    ask(&mut harness);
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
    for title in ["Sampler", "Edit", "More", "Compute"] {
        open_section(&mut harness, title);
    }
    tick(&mut harness, "Paint mask");
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

#[test]
fn time_steps_are_typed_or_refused_in_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    open_section(&mut harness, "Sampler");
    let type_steps = |harness: &mut Harness<'static, Workbench>, text: &str| {
        harness.get_by_role_and_label(Role::TextInput, "Time steps").set_text_value_accesskit(text);
        steps(harness, 3);
    };
    type_steps(&mut harness, "0,22,39");
    harness.get_by_label_contains("points of the grid are missing");
    assert_eq!(session(&harness).settings().generate.ts, None, "nonsense changes nothing");
    type_steps(&mut harness, "0,22,39/40");
    let ts = session(&harness).settings().generate.ts.clone();
    assert_eq!(ts.map(|ts| ts.to_string()).as_deref(), Some("0,22,39/40"));
    assert!(harness.query_by_label_contains("points of the grid are missing").is_none());
    click(&mut harness, "Undo");
    assert_eq!(session(&harness).settings().generate.ts, None);
    let text = harness.get_by_role_and_label(Role::TextInput, "Time steps").value();
    assert_eq!(text.as_deref().unwrap_or(""), "", "the text follows the settings");
}

#[test]
fn a_preset_replaces_the_settings_but_the_classifier() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    edit(&mut harness, |settings| settings.refine.classifier = "gtsrb12-robust".to_owned());
    let preset = PRESETS.iter().find(|preset| preset.key == "golan-2024-sgld").unwrap();
    harness.get_by_role_and_label(Role::ComboBox, "Preset").click();
    steps(&mut harness, 3);
    harness.get_by_role_and_label(Role::Button, preset.label).click_accesskit();
    steps(&mut harness, 3);
    let refine = session(&harness).settings().refine.clone();
    assert_eq!((refine.rule, refine.classifier.as_str()), (Rule::Sgld, "gtsrb12-robust"));
    assert_eq!(refine, preset.apply(&refine));
    harness.get_by_role_and_label(Role::SpinButton, "Gradient divisor");
    let radius = harness.get_all_by_role_and_label(Role::Slider, "Radius").next().unwrap();
    assert!(radius.accesskit_node().is_disabled(), "there is no ball");
}

#[test]
fn nothing_in_the_settings_is_clipped() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    // High enough that nothing is scrolled away.
    let height = 2400.0;
    harness.set_size(vec2(1280.0, height));
    for title in ["Sampler", "Edit", "More", "Compute"] {
        open_section(&mut harness, title);
    }
    tick(&mut harness, "Paint mask");
    let mut seen = 0;
    for task in EditTask::ALL.iter().copied() {
        for rule in Rule::ALL.iter().copied() {
            edit(&mut harness, |settings| {
                (settings.edit.task, settings.refine.rule) = (task, rule);
                settings.refine.target = Target::PseudoLabel;
                settings.compute.memory_mib = Some(1 << 20);
                (settings.refine.eps, settings.refine.step_size) = (0.012_345_6, 0.001_234_56);
            });
            steps(&mut harness, 2);
            for node in harness.root().children_recursive() {
                let access = node.accesskit_node();
                let is_control = matches!(
                    access.role(),
                    Role::Button | Role::CheckBox | Role::ComboBox | Role::Slider | Role::SpinButton | Role::TextInput
                );
                if !is_control {
                    continue;
                }
                let rect = node.rect();
                let is_elsewhere = rect.left() >= theme::SETTINGS_WIDTH
                    || rect.bottom() <= 40.0
                    || rect.bottom() >= height - theme::TIMELINE_HEIGHT;
                let fits = rect.right() <= theme::SETTINGS_WIDTH;
                assert!(fits || is_elsewhere, "{task:?}, {rule:?}: {:?} reaches to {}", access.label(), rect.right());
                seen += usize::from(!is_elsewhere);
            }
        }
    }
    assert!(seen > 18 * 20, "the controls were found: {seen}");
}

/// Puts the pointer there and presses or lets go of a button.
fn press(harness: &mut Harness<'static, Workbench>, pos: Pos2, button: PointerButton, pressed: bool) {
    harness.hover_at(pos);
    harness.event(egui::Event::PointerButton { pos, button, pressed, modifiers: Modifiers::NONE });
    harness.step();
    harness.step();
}

#[test]
fn dragging_on_the_picture_paints_a_mask() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    open_section(&mut harness, "Edit");
    tick(&mut harness, "Paint mask");
    harness.get_by_label_contains("Pair 2:").click();
    steps(&mut harness, 2);
    let canvas = harness.get_by_label_contains("Canvas: Side by side").rect();
    let centre = egui::pos2(canvas.left() + 0.25 * canvas.width(), canvas.center().y);
    let pan = harness.state_mut().canvas_mut().pan;

    press(&mut harness, centre, PointerButton::Primary, true);
    let dot = session(&harness).mask().expect("painted at once").count();
    harness.hover_at(centre + vec2(60.0, 0.0));
    harness.step();
    press(&mut harness, centre + vec2(60.0, 0.0), PointerButton::Primary, false);
    let mask = session(&harness).mask().expect("painted").clone();
    assert_eq!(
        [mask.height() as usize, mask.width() as usize],
        session(&harness).origins().unwrap().images.shape()[2..]
    );
    let middle = (mask.height() / 2 * mask.width() + mask.width() / 2) as usize;
    assert!(mask.count() > dot && mask.missing()[middle], "{} pixels", mask.count());
    assert_eq!(harness.state_mut().canvas_mut().pan, pan, "painting does not pan");

    press(&mut harness, centre, PointerButton::Secondary, true);
    press(&mut harness, centre, PointerButton::Secondary, false);
    let erased = session(&harness).mask().expect("the rest is left").clone();
    assert!(erased.count() < mask.count() && !erased.missing()[middle]);

    let radius = harness.state_mut().brush_mut().radius;
    harness.key_press(Key::CloseBracket);
    harness.step();
    assert!(harness.state_mut().brush_mut().radius > radius);
    harness.key_press(Key::OpenBracket);
    harness.key_press(Key::Space);
    steps(&mut harness, 3);
    assert_eq!(harness.state_mut().brush_mut().radius, radius);
    assert!(!session(&harness).is_busy() && session(&harness).path().len() == 1, "space pans here and runs nothing");

    harness.get_by_role_and_label(Role::Button, "Invert").click_accesskit();
    steps(&mut harness, 2);
    let inverted = session(&harness).mask().expect("the others").count();
    assert_eq!(inverted + erased.count(), mask.missing().len());
    harness.get_by_role_and_label(Role::Button, "Clear").click_accesskit();
    steps(&mut harness, 2);
    assert_eq!(session(&harness).mask(), None);

    // Switched off, dragging pans again.
    tick(&mut harness, "Paint mask");
    press(&mut harness, centre, PointerButton::Primary, true);
    harness.hover_at(centre + vec2(40.0, 0.0));
    harness.step();
    press(&mut harness, centre + vec2(40.0, 0.0), PointerButton::Primary, false);
    assert_ne!(harness.state_mut().canvas_mut().pan, pan);
    assert_eq!(session(&harness).mask(), None);
}

#[test]
fn a_quick_stroke_is_painted_whole_however_few_frames_are_drawn() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    open_section(&mut harness, "Edit");
    tick(&mut harness, "Paint mask");
    harness.state_mut().host_mut().handle(Action::Select(0));
    harness.state_mut().host_mut().handle(Action::Compare(Compare::Blink));
    steps(&mut harness, 2);
    let canvas = harness.get_by_label_contains("Canvas: ").rect();
    let twelve = 12.0 * harness.state_mut().canvas_mut().zoom;
    let at = |x: f32, y: f32| canvas.center() + vec2(x, y) * twelve;
    let button = |pos, pressed| {
        let (button, modifiers) = (PointerButton::Primary, Modifiers::NONE);
        egui::Event::PointerButton { pos, button, pressed, modifiers }
    };
    let moved = egui::Event::PointerMoved;
    // A corner that the pointer has left again when a frame is drawn, and the end, where it was let go.
    let (begin, corner, end) = (at(-1.0, -1.0), at(1.0, -1.0), at(1.0, 1.0));
    let slow =
        [vec![moved(begin), button(begin, true), moved(corner), moved(end), button(end, false), moved(at(-1.0, 1.0))]];
    let split = [
        vec![moved(begin), button(begin, true)],
        vec![moved(corner), moved(at(1.0, 0.0))],
        vec![moved(end), button(end, false), moved(at(-1.0, 1.0))],
    ];
    for frames in [&slow[..], &split[..]] {
        harness.state_mut().host_mut().handle(Action::SetMask(None));
        harness.hover_at(begin);
        steps(&mut harness, 2);
        for events in frames {
            harness.input_mut().events.extend(events.iter().cloned());
            harness.step();
        }
        let mask = session(&harness).mask().expect("painted");
        let missing = |x: f32, y: f32| {
            let at = |place: f32, size: u32| (size as f32 / 2.0 + 12.0 * place) as u32;
            mask.missing()[(at(y, mask.height()) * mask.width() + at(x, mask.width())) as usize]
        };
        let count = frames.len();
        assert!(missing(-1.0, -1.0) && missing(0.0, -1.0) && missing(1.0, -1.0), "{count} frames: to the corner");
        assert!(missing(1.0, 0.0) && missing(1.0, 1.0), "{count} frames: to the end");
        assert!(!missing(0.0, 0.0) && !missing(-1.0, 1.0), "{count} frames: and no farther");
    }
}

#[test]
fn a_mask_is_painted_wherever_the_picture_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    open_section(&mut harness, "Edit");
    tick(&mut harness, "Paint mask");
    harness.state_mut().host_mut().handle(Action::Select(0));
    for (compare, share) in [
        (Compare::Wipe, 0.6),
        (Compare::Wipe, 0.4),
        (Compare::Side, 0.25),
        (Compare::Side, 0.75),
        (Compare::Blink, 0.5),
        (Compare::Difference, 0.5),
    ] {
        harness.state_mut().host_mut().handle(Action::Compare(compare));
        harness.state_mut().host_mut().handle(Action::SetMask(None));
        steps(&mut harness, 2);
        let canvas = harness.get_by_label_contains("Canvas: ").rect();
        let pos = egui::pos2(canvas.left() + share * canvas.width(), canvas.center().y);
        press(&mut harness, pos, PointerButton::Primary, true);
        press(&mut harness, pos, PointerButton::Primary, false);
        let mask = session(&harness).mask().unwrap_or_else(|| panic!("{compare:?} at {share}"));
        let middle = (mask.height() / 2 * mask.width() + mask.width() / 2) as usize;
        let is_middle = compare != Compare::Wipe;
        assert!(!is_middle || mask.missing()[middle], "{compare:?} at {share}: it is where the pointer was");
    }
    // From pane to pane, a stroke does not cross the picture.
    harness.state_mut().host_mut().handle(Action::Compare(Compare::Side));
    harness.state_mut().host_mut().handle(Action::SetMask(None));
    steps(&mut harness, 2);
    let canvas = harness.get_by_label_contains("Canvas: ").rect();
    let at = |share: f32| egui::pos2(canvas.left() + share * canvas.width(), canvas.center().y);
    press(&mut harness, at(0.42), PointerButton::Primary, true);
    press(&mut harness, at(0.58), PointerButton::Primary, false);
    let mask = session(&harness).mask().expect("painted").clone();
    let middle = (mask.height() / 2 * mask.width() + mask.width() / 2) as usize;
    assert!(!mask.missing()[middle], "both ends and nothing between");
}

#[test]
fn edited_pictures_are_compared_with_their_reference() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    open_section(&mut harness, "Edit");
    harness.get_by_label_contains("Open a picture first");
    generate(&mut harness);
    harness.get_by_label_contains("Mark the pixels to be generated first");
    edit(&mut harness, |settings| settings.edit.task = EditTask::Denoise);
    harness.get_by_label_contains("all 4 pictures");
    harness.state_mut().host_mut().handle(Action::Select(1));
    steps(&mut harness, 2);
    harness.get_by_label_contains("from the picture on the canvas");
    assert!(harness.query_by_role_and_label(Role::CheckBox, "Input").is_none());
    harness.state_mut().brush_mut().is_on = true;
    harness.get_by_role_and_label(Role::Button, "Edit pictures").click_accesskit();
    let is_edited = |session: &Session| session.origins().is_some_and(|origins| origins.edited.is_some());
    until(&mut harness, "editing", |session| at_rest(session) && is_edited(session));
    harness.state_mut().host_mut().handle(Action::Select(0));
    steps(&mut harness, 2);
    let task = EditTask::Denoise.option().label;
    assert!(harness.query_all_by_label(task).next().is_some(), "the sample panel names the task");
    assert!(!harness.state_mut().brush_mut().is_on, "what was painted is done with");
    harness.get_by_label("Classes, right picture");
    assert!(harness.query_by_label("Classes, before and after").is_none(), "nothing was computed of the input");
    let reference = canvas_pixel(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    let edited = canvas_pixel(&mut harness);
    harness.get_by_label("Classes, before and after");
    assert_ne!(edited, reference, "at first the left picture is what was edited, and then what is refined");
    tick(&mut harness, "Input");
    assert_eq!(canvas_pixel(&mut harness), reference, "unless it is asked for");
    click(&mut harness, "◀ All pairs");
    harness.get_by_label_contains("pair: edited");
}

/// What the pixel inspector reads "before" in the middle of the left picture.
fn canvas_pixel(harness: &mut Harness<'static, Workbench>) -> [f32; 3] {
    let canvas = harness.get_by_label_contains("Canvas: Side by side").rect();
    harness.hover_at(egui::pos2(canvas.left() + 0.25 * canvas.width(), canvas.center().y));
    steps(harness, 2);
    harness.state_mut().canvas_mut().readout().expect("the pointer is on the picture").before
}

#[test]
fn a_thousand_classes_are_searched_and_not_all_drawn() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let info = ModelInfo {
        reference: session(&harness).settings().refine.classifier.clone(),
        title: "ImageNet".to_owned(),
        sha256: String::new(),
        classes: (0..1000).map(|class| format!("kind {class:03}")).collect(),
        sample_shape: [3, 32, 32],
        report: LoadReport::default(),
    };
    // Their first states are the second piece of work.
    let job = JobId(2);
    harness.state_mut().host_mut().session.apply(Event::Generator { job, info: info.clone() });
    harness.state_mut().host_mut().session.apply(Event::Classifier { job, info });
    steps(&mut harness, 2);
    harness.get_by_role_and_label(Role::ComboBox, "Classes").click();
    steps(&mut harness, 4);
    let listed = harness.query_all_by_role(Role::CheckBox).filter(is_kind).count();
    assert!((4..60).contains(&listed), "{listed} rows are drawn");
    harness.get_by_role_and_label(Role::TextInput, "Filter classes").set_text_value_accesskit("KIND 777");
    steps(&mut harness, 3);
    assert_eq!(harness.query_all_by_role(Role::CheckBox).filter(is_kind).count(), 1);
    tick(&mut harness, "kind 777");
    assert_eq!(session(&harness).settings().generate.classes, Classes::Only(vec![777]));

    harness.key_press(Key::Escape);
    steps(&mut harness, 3);
    assert!(harness.query_by_role_and_label(Role::TextInput, "Filter classes").is_none(), "Escape closes the list");
    harness.get_by_role_and_label(Role::ComboBox, "Classes").click();
    steps(&mut harness, 4);
    let filter = harness.get_by_role_and_label(Role::TextInput, "Filter classes").value();
    assert_eq!(filter.unwrap_or_default(), "", "a list that is opened again has no filter");
    harness.key_press(Key::Escape);
    steps(&mut harness, 3);

    harness.get_by_role_and_label(Role::ComboBox, "Target class").click();
    steps(&mut harness, 4);
    let listed = harness.query_all_by_role(Role::Button).filter(is_kind).count();
    assert!((4..60).contains(&listed), "{listed} rows are drawn");
}

/// Whether this is a row of the list of classes.
fn is_kind(node: &egui_kittest::Node<'_>) -> bool {
    node.accesskit_node().label().is_some_and(|label| label.starts_with("kind "))
}

#[test]
fn references_are_asked_for_and_the_memory_of_a_step_is_told() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    assert!(session(&harness).estimate().is_some());
    harness.get_by_label_contains("A refinement step needs about");
    open_section(&mut harness, "More");
    tick(&mut harness, "Early stop");
    harness.get_by_label_contains("nothing stops");
    harness.get_by_role_and_label(Role::Button, Verb::OpenReferences.label()).click_accesskit();
    steps(&mut harness, 6);
    harness.get_by_label("Open real pictures as references");
    click(&mut harness, "Cancel");
    steps(&mut harness, 3);
    assert!(harness.query_by_label("Open real pictures as references").is_none());
}

#[test]
fn a_rule_without_a_ball_gives_up_what_needs_one() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    edit(&mut harness, |settings| {
        settings.refine.step_unit = lapidary::refiner::StepUnit::Ratio;
        settings.refine.step_size = 0.1;
        (settings.refine.random_start, settings.refine.restarts) = (true, 4);
    });
    harness.get_by_role_and_label(Role::ComboBox, "Rule").click();
    steps(&mut harness, 4);
    harness.get_by_role_and_label(Role::Button, "SGLD").click_accesskit();
    steps(&mut harness, 3);
    let refine = &session(&harness).settings().refine;
    assert_eq!((refine.rule, refine.random_start, refine.restarts), (Rule::Sgld, false, 1));
    assert!((refine.step_size - 0.3).abs() < 1e-9, "a tenth of the radius 3: {}", refine.step_size);
    assert!(session(&harness).notices.list().is_empty(), "{:?}", session(&harness).notices.list());
    // Nothing was clicked beside it, so the list is still open.
    harness.get_by_role_and_label(Role::Button, "PGD").click_accesskit();
    steps(&mut harness, 3);
    let refine = &session(&harness).settings().refine;
    assert_eq!((refine.step_unit, refine.step_size), (lapidary::refiner::StepUnit::Ratio, 0.1), "as it was chosen");
    assert_eq!((refine.random_start, refine.restarts), (true, 4));
}

#[test]
fn pictures_and_numbers_leave_the_window_by_the_writers_of_the_command_line() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    let save = |harness: &mut Harness<'static, Workbench>, item: &str, file: &Path| {
        harness.get_by_role_and_label(Role::Button, "Export").click();
        steps(harness, 3);
        harness.get_by_role_and_label(Role::Button, item).click_accesskit();
        steps(harness, 3);
        let suggested = harness.get_by_role_and_label(Role::TextInput, "Path").value().unwrap_or_default();
        assert!(!item.contains("results") || suggested.ends_with("result_iteration_1.npz"), "{suggested}");
        harness.get_by_role_and_label(Role::TextInput, "Path").focus();
        harness.step();
        harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
        harness.step();
        harness.get_by_role_and_label(Role::TextInput, "Path").type_text(file.to_str().unwrap());
        harness.step();
        click(harness, "Save file");
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        until(harness, "the file", move |session| {
            session
                .notices
                .list()
                .iter()
                .any(|notice| notice.title.starts_with("Saved") && notice.title.contains(&name))
        });
        assert!(file.is_file(), "{}", file.display());
    };
    let file = |name: &str| root.path().join(name);
    save(&mut harness, "Save contact sheet…", &file("sheet.png"));
    save(&mut harness, "Save pair…", &file("pair.png"));
    save(&mut harness, "Save trace…", &file("trace.csv"));
    save(&mut harness, "Save results…", &file("results.npz"));
    let has_said = |harness: &Harness<'static, Workbench>, parts: &[&str]| {
        let notices = session(harness).notices.list();
        let has_all = |text: &str| parts.iter().all(|part| text.contains(part));
        assert!(notices.iter().any(|notice| has_all(&notice.title)), "{parts:?}: {notices:?}");
    };
    has_said(&harness, &["results.npz", "iteration 1"]);
    for item in ["Copy settings", "Copy picture after"] {
        harness.get_by_role_and_label(Role::Button, "Export").click();
        steps(&mut harness, 3);
        harness.get_by_role_and_label(Role::Button, item).click_accesskit();
        steps(&mut harness, 3);
    }
    has_said(&harness, &["T = 1", "generator gtsrb12", "first seed", "classes all", "sampling steps", "classifier "]);
    has_said(&harness, &["Copied: picture 0 after"]);
    let rows = std::fs::read_to_string(file("trace.csv")).unwrap().lines().count();
    assert_eq!(rows, 1 + 2 * 4, "a header, and two states of four samples");
    assert!(
        std::fs::read_dir(root.path()).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".tmp"))
    );
    // A folder that is not there is named as what is wrong.
    harness
        .state_mut()
        .host_mut()
        .handle(Action::SaveSession(file("nowhere/a.lapidary"), lapidary::session::Detail::Full));
    until(&mut harness, "the refusal", |session| {
        session.notices.list().iter().any(|notice| notice.title.contains("folder is not there"))
    });
}

#[test]
fn a_run_is_named_and_its_settings_are_taken_from_the_list() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    edit(&mut harness, |settings| settings.refine.eps = 6.0);
    click(&mut harness, "Reset");
    until(&mut harness, "a new run", |session| at_rest(session) && session.path().len() == 1);
    harness.get_by_role_and_label(Role::ComboBox, "Shown run").click();
    steps(&mut harness, 4);
    assert!(harness.query_all_by_label_contains("radius 6").next().is_some(), "what sets it apart");
    harness.get_by_role_and_label(Role::Button, "Run 1: 0 to 1").click_accesskit();
    steps(&mut harness, 4);
    harness.get_by_role_and_label(Role::TextInput, "Name").type_text("narrow");
    steps(&mut harness, 2);
    harness.get_by_role_and_label(Role::Button, "Use its settings").click_accesskit();
    steps(&mut harness, 4);
    assert_eq!(session(&harness).settings().refine.eps, 3.0);
    assert_eq!(session(&harness).shown_run().map(|run| run.0), Some(1));
}
