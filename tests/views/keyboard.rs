//! The window without a pointer: what the keyboard reaches, moves and closes, and what is read aloud.

use lapidary::session::Orphan;
use lapidary::session::disk::DiskEvent;
use lapidary::trace::RunId;

use super::frame::{open_dialog, typed};
use super::*;

/// The label of what has the focus.
fn focused(harness: &Harness<'static, Workbench>) -> Option<String> {
    let focused = harness.root().children_recursive().find(|node| node.accesskit_node().is_focused())?;
    focused.accesskit_node().label()
}

fn set_iterations(harness: &mut Harness<'static, Workbench>, iterations: u32) {
    edit(harness, |settings| settings.refine.iterations = std::num::NonZeroU32::new(iterations));
}

#[test]
fn return_in_an_empty_field_for_a_path_says_what_is_expected_and_the_field_keeps_the_focus() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    open_dialog(&mut harness, Key::I);
    let field = |harness: &Harness<'static, Workbench>| {
        harness.get_by_role_and_label(Role::TextInput, "Path").accesskit_node().is_focused()
    };
    assert!(field(&harness));
    for _ in 0..2 {
        harness.key_press(Key::Enter);
        steps(&mut harness, 2);
        harness.get_by_label_contains("No path is given: type or paste one");
        assert!(field(&harness), "it is still what is to be typed into");
    }
    harness.event(egui::Event::Text("a".to_owned()));
    steps(&mut harness, 2);
    assert_eq!(typed(&harness), "a");
    assert!(harness.query_by_label_contains("No path is given").is_none(), "one is");
    harness.key_press(Key::Escape);
    steps(&mut harness, 4);
    assert!(harness.query_by_role_and_label(Role::TextInput, "Path").is_none());
}

#[test]
fn the_list_of_runs_opens_at_the_one_that_is_shown() {
    const RUNS: u64 = 16;
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    for count in 2..=RUNS {
        harness.state_mut().host_mut().handle(Action::Do(Verb::Branch));
        until(&mut harness, "a branch", |session| {
            !session.is_busy() && session.trace().runs().count() == count as usize
        });
    }
    let place = |harness: &mut Harness<'static, Workbench>, run: u64| {
        let title = harness.get_by_role_and_label(Role::ComboBox, "Shown run");
        title.click();
        steps(harness, 6);
        let begin = format!("Run {run}: ");
        let is_it = |node: &egui_kittest::Node<'_>| {
            node.accesskit_node().label().is_some_and(|label| label.starts_with(&begin))
        };
        let row = harness.query_all_by_role(Role::Button).find(is_it).expect("every run is listed").rect();
        let below = harness.get_by_role_and_label(Role::TextInput, "Name").rect();
        harness.get_by_role_and_label(Role::ComboBox, "Shown run").click();
        steps(harness, 6);
        (row, below)
    };
    let (row, below) = place(&mut harness, RUNS);
    assert!(row.bottom() < below.top() && row.top() > below.top() - 340.0, "the newest: {row:?} above {below:?}");
    let (first, _) = place(&mut harness, 1);
    assert!(first.bottom() < row.top() - 220.0, "so the first is scrolled away: {first:?}");
    harness.state_mut().host_mut().handle(Action::ShowRun(RunId(1)));
    steps(&mut harness, 2);
    let (row, below) = place(&mut harness, 1);
    assert!(row.bottom() < below.top() && row.top() > below.top() - 340.0, "the first: {row:?} above {below:?}");
}

#[test]
fn a_trace_that_has_the_focus_is_scrubbed_by_the_arrows() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    set_iterations(&mut harness, 3);
    click(&mut harness, "Run");
    until(&mut harness, "3 iterations", |session| session.path().len() == 4 && !session.is_busy());
    let trace = |harness: &Harness<'static, Workbench>| {
        let node = harness.get_by_role_and_label(Role::Slider, "Trace: Objective");
        let node = node.accesskit_node();
        (node.is_focused(), node.numeric_value(), node.max_numeric_value())
    };
    assert_eq!(trace(&harness), (false, Some(3.0), Some(3.0)), "its place is read aloud");
    harness.get_by_role_and_label(Role::Slider, "Trace: Objective").focus();
    steps(&mut harness, 2);
    for (key, shown) in [(Key::ArrowLeft, 2), (Key::ArrowLeft, 1), (Key::ArrowRight, 2), (Key::Home, 0), (Key::End, 3)]
    {
        harness.key_press(key);
        steps(&mut harness, 2);
        assert_eq!(session(&harness).shown(), shown, "{key:?}");
    }
    assert_eq!(trace(&harness), (true, Some(3.0), Some(3.0)), "the focus stays on it");
}

#[test]
fn the_pair_that_is_marked_by_keys_is_scrolled_into_view() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.get_by_role_and_label(Role::Slider, "Size of the pictures").set_value_accesskit(384.0);
    steps(&mut harness, 3);
    let bottom = 800.0 - theme::TIMELINE_HEIGHT - theme::MESSAGES_HEIGHT + 1.0;
    for (key, marked) in [(Key::ArrowDown, 1), (Key::ArrowDown, 2), (Key::ArrowDown, 3), (Key::ArrowUp, 2)] {
        harness.key_press(key);
        steps(&mut harness, 4);
        assert_eq!(session(&harness).focused(), marked);
        let rect = harness.get_by_label_contains(&format!("Pair {marked}:")).rect();
        assert!(rect.top() > 38.0 && rect.bottom() <= bottom, "{marked} is at {rect:?}");
    }
}

#[test]
fn before_is_seen_while_v_is_held_also_when_a_button_has_the_focus() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    harness.state_mut().host_mut().handle(Action::Select(0));
    steps(&mut harness, 3);
    let canvas = harness.get_by_label_contains("Canvas: Side by side").rect();
    harness.get_by_role_and_label(Role::Button, "Step").focus();
    steps(&mut harness, 2);
    assert_eq!(focused(&harness).as_deref(), Some("Step"));
    let differs = |harness: &mut Harness<'static, Workbench>, pressed: Option<(bool, Modifiers)>| {
        if let Some((pressed, modifiers)) = pressed {
            let key = Key::V;
            harness.event(egui::Event::Key { key, physical_key: None, pressed, repeat: false, modifiers });
        }
        steps(harness, 3);
        let readout = harness.state_mut().canvas_mut().readout().expect("the pointer is on the picture");
        readout.before != readout.after
    };
    let moved = [0.25, 0.18, 0.32, 0.12].into_iter().find(|share| {
        harness.hover_at(egui::pos2(canvas.left() + share * canvas.width(), canvas.center().y));
        differs(&mut harness, None)
    });
    assert!(moved.is_some(), "the step moved one of these pixels");
    assert!(!differs(&mut harness, Some((true, Modifiers::NONE))), "before, on both sides");
    assert!(differs(&mut harness, Some((false, Modifiers::NONE))));
}

#[test]
fn the_list_of_shortcuts_is_scrolled_and_closed_by_keys() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.set_size(vec2(960.0, 600.0));
    harness.step();
    harness.key_press(Key::Questionmark);
    steps(&mut harness, 6);
    assert_eq!(focused(&harness).as_deref(), Some("Close"));
    let place = |harness: &Harness<'static, Workbench>| harness.get_by_label_contains("Numbers: drag, or").rect().top();
    let before = place(&harness);
    harness.key_press(Key::PageDown);
    steps(&mut harness, 4);
    let page = before - place(&harness);
    assert!(page > 100.0, "it is scrolled by a page: {page}");
    harness.key_press(Key::ArrowUp);
    steps(&mut harness, 4);
    let line = before - page - place(&harness);
    assert!(line < 0.0 && -line < page, "and by a line back: {line}");
    harness.key_press(Key::Enter);
    steps(&mut harness, 4);
    assert!(harness.query_by_label("Keys and what they do").is_none());
    harness.key_press(Key::Questionmark);
    steps(&mut harness, 6);
    harness.key_press(Key::Escape);
    steps(&mut harness, 4);
    assert!(harness.query_by_label("Keys and what they do").is_none());
}

#[test]
fn the_focus_is_scrolled_into_view_among_what_was_left_behind() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let orphan = |count: u64| Orphan {
        folder: root.path().join(format!("left {count}")),
        states: 3,
        file: None,
        is_painted: false,
        runs: 1,
        pictures: 2,
        what: String::new(),
        age_secs: count,
    };
    let orphans = (1..9).map(orphan).collect();
    harness.state_mut().host_mut().session.apply_disk(DiskEvent::Orphans(orphans));
    steps(&mut harness, 3);
    let last = |harness: &Harness<'static, Workbench>| {
        harness.get_all_by_role_and_label(Role::Button, "Discard…").last().expect("eight of them").rect()
    };
    let before = last(&harness);
    harness.get_all_by_role_and_label(Role::Button, "Discard…").last().expect("eight of them").focus();
    steps(&mut harness, 4);
    let after = last(&harness);
    assert!(before.bottom() > 38.0 + 84.0 + 16.0 && after.bottom() <= 38.0 + 84.0 + 16.0, "{before:?}, {after:?}");
}

#[test]
fn nothing_in_the_bar_above_is_cut_or_lies_over_another_in_the_smallest_window() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.set_size(vec2(960.0, 600.0));
    generate(&mut harness);
    set_iterations(&mut harness, 2);
    let check = |harness: &Harness<'static, Workbench>, when: &str| {
        let buttons: Vec<_> = harness
            .query_all_by_role(Role::Button)
            .map(|node| (node.accesskit_node().label().unwrap_or_default(), node.rect()))
            .filter(|(_, rect)| rect.top() < 38.0)
            .collect();
        assert!(buttons.len() >= 10, "{when}: {buttons:?}");
        for (place, (label, rect)) in buttons.iter().enumerate() {
            assert!(rect.left() >= 0.0 && rect.right() <= 960.0, "{when}: {label} is at {rect:?}");
            for (other, beside) in &buttons[..place] {
                let overlap = rect.intersect(*beside);
                assert!(!(overlap.width() > 0.5 && overlap.height() > 0.5), "{when}: {label} lies over {other}");
            }
        }
    };
    check(&harness, "at rest");
    harness.get_by_label("Press Run to refine");
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    harness.get_by_label("1 iteration done");
    harness.state().host().send(Command::Panic).unwrap();
    until(&mut harness, "the crash", |session| matches!(session.activity(), Activity::Crashed(_)));
    check(&harness, "after a crash");
    click(&mut harness, "Restart compute");
    let said = |harness: &Harness<'static, Workbench>| {
        session(harness).notices.list().iter().any(|notice| notice.title.contains("crashed"))
    };
    assert!(!said(&harness), "what was said of it is past");
}

#[test]
fn one_pair_is_one_and_an_empty_session_has_nothing_to_stop() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    let is_grey = |harness: &Harness<'static, Workbench>, label: &str| {
        harness.get_by_role_and_label(Role::Button, label).accesskit_node().is_disabled()
    };
    for label in ["Stop", "Run", "Step", "Reset", "Undo", "Redo"] {
        assert!(is_grey(&harness, label), "{label} has nothing to act on");
    }
    edit(&mut harness, |settings| settings.generate.samples = 1);
    assert!(!is_grey(&harness, "Undo"));
    generate(&mut harness);
    harness.get_by_label_contains("1 pair: generated");
    assert!(!is_grey(&harness, "Run") && is_grey(&harness, "Reset"));
}
