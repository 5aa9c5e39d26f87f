//! What strangers tripped over in the window.

use egui::ViewportCommand;
use lapidary::generator::Mask;
use lapidary::session::Detail;
use lapidary::trace::RunId;

use super::frame::{close, commands};
use super::*;

#[test]
fn the_button_that_edits_stays_where_it_is_whatever_is_edited_and_painted() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    open_section(&mut harness, "Edit");
    let place = |harness: &Harness<'static, Workbench>, label: &str| {
        harness.get_by_role_and_label(Role::Button, label).rect().left_top()
    };
    let before = place(&harness, "Edit pictures");
    let clear = place(&harness, "Clear");
    tick(&mut harness, "Paint mask");
    assert_eq!(place(&harness, "Clear"), clear, "the brush comes below");
    harness.state_mut().host_mut().handle(Action::Select(0));
    steps(&mut harness, 3);
    assert_eq!(place(&harness, "Edit pictures"), before);
    for task in EditTask::ALL.iter().copied() {
        edit(&mut harness, |settings| settings.edit.task = task);
        let label = if task.needs_reference() { "Edit pictures" } else { "Make frames" };
        assert_eq!(place(&harness, label), before, "{task:?}");
    }
}

#[test]
fn a_file_of_another_session_is_never_replaced_without_a_question() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let other = root.path().join("session.lapidary");
    std::fs::write(&other, "of somebody").unwrap();
    harness.key_press_modifiers(Modifiers::COMMAND, Key::S);
    steps(&mut harness, 4);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    harness.event(egui::Event::Text(other.to_string_lossy().into_owned()));
    steps(&mut harness, 2);
    harness.key_press(Key::Enter);
    until(&mut harness, "the question", |session| session.question().is_some());
    assert_eq!(std::fs::read(&other).unwrap(), b"of somebody");
    harness.key_press(Key::Enter);
    steps(&mut harness, 1);
    assert!(session(&harness).question().is_some(), "what nobody can have read is answered by nothing");
    steps(&mut harness, 3);
    harness.get_by_label_contains("It is no Lapidary session");
    // Enter keeps what is there.
    harness.key_press(Key::Enter);
    steps(&mut harness, 3);
    assert!(session(&harness).question().is_none());
    assert_eq!(std::fs::read(&other).unwrap(), b"of somebody");
    harness.state_mut().host_mut().handle(Action::SaveSession(other.clone(), Detail::Full));
    steps(&mut harness, 4);
    click(&mut harness, "Replace");
    until(&mut harness, "saving", |session| session.file() == Some(other.as_path()));
}

#[test]
fn enter_loses_nothing_whatever_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    let folder = root.path().join("left behind");
    std::fs::create_dir(&folder).unwrap();
    let run = session(&harness).shown_run().unwrap();
    harness.state_mut().host_mut().handle(Action::Do(Verb::Branch));
    until(&mut harness, "a branch", |session| session.trace().runs().count() == 2 && !session.is_busy());
    for action in [Action::Discard(folder.clone()), Action::DeleteRun(RunId(run.0 + 1))] {
        harness.state_mut().host_mut().handle(action);
        assert!(session(&harness).question().is_some());
        steps(&mut harness, 4);
        harness.key_press(Key::Enter);
        steps(&mut harness, 3);
        assert!(session(&harness).question().is_none());
    }
    assert!(folder.exists() && session(&harness).trace().runs().count() == 2);
}

#[test]
fn in_the_smallest_window_one_can_still_scrub() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.set_size(vec2(960.0, 600.0));
    steps(&mut harness, 3);
    let slider = harness.get_by_role_and_label(Role::Slider, "Shown iteration").rect();
    let runs = harness.get_by_role_and_label(Role::ComboBox, "Shown run").rect();
    assert!(slider.width() > 100.0 && slider.right() <= runs.left() && runs.right() <= 960.0, "{slider:?} {runs:?}");
}

#[test]
fn the_tip_of_a_trace_lies_over_no_curve_and_a_cut_title_is_whole_in_its_tip() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let plot = harness.get_by_role_and_label(Role::Slider, "Trace: Objective").rect();
    harness.hover_at(plot.center());
    steps(&mut harness, 8);
    let tip = harness.get_by_label_contains("What refinement increases, at each state").rect();
    assert!(tip.left() >= 0.0 && tip.right() < plot.left(), "{tip:?} {plot:?}");
    harness.get_by_label_contains("Iteration 0, sample 0: ");
    harness.hover_at(harness.get_by_role_and_label(Role::ComboBox, "Shown run").rect().center());
    steps(&mut harness, 8);
    harness.get_by_label_contains("Run 1: 0 to 0\nAll runs of these pictures");
}

#[test]
fn a_painted_mask_is_marked_in_the_title_and_asked_about_before_the_window_closes() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.state_mut().host_mut().handle(Action::SetMask(Some(Mask::filled(32, 32, true))));
    harness.step();
    let is_marked =
        |command: &ViewportCommand| matches!(command, ViewportCommand::Title(title) if title.starts_with('●'));
    assert!(commands(&harness).iter().any(is_marked));
    let is_held = |command: &ViewportCommand| matches!(command, ViewportCommand::CancelClose);
    assert!(close(&mut harness).iter().any(is_held));
    harness.get_by_label_contains("No file holds the mask");
    click(&mut harness, "Stay");
    steps(&mut harness, 2);
    harness.state_mut().host_mut().handle(Action::SetMask(None));
    assert!(!close(&mut harness).iter().any(is_held), "what is made again by one click is not asked about");
}

#[test]
fn the_next_picture_on_the_canvas_is_the_next_of_the_grid() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Reverse the order");
    steps(&mut harness, 2);
    harness.state_mut().host_mut().handle(Action::Select(3));
    steps(&mut harness, 2);
    click(&mut harness, "Next sample");
    assert_eq!(session(&harness).selected(), Some(2));
    // What is computed meanwhile moves nothing.
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    assert!(harness.query_all_by_label_contains("it/s").next().is_none(), "what rests has no speed");
    click(&mut harness, "Next sample");
    assert_eq!(session(&harness).selected(), Some(1));
    click(&mut harness, "Previous sample");
    assert_eq!(session(&harness).selected(), Some(2));
}

#[test]
fn every_class_can_be_listed_and_a_picture_be_seen_smoothly_and_pixel_by_pixel() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let names = session(&harness).class_names().to_vec();
    let seen = |harness: &Harness<'static, Workbench>| {
        names.iter().filter(|name| harness.query_all_by_label(name).next().is_some()).count()
    };
    assert!((1..names.len()).contains(&seen(&harness)), "at first the likely ones");
    let all = format!("All {} classes", names.len());
    harness.get_by_role_and_label(Role::Button, &all).click_accesskit();
    steps(&mut harness, 3);
    assert_eq!(seen(&harness), names.len());
    harness.get_by_role_and_label(Role::Button, "Likely classes only").click_accesskit();
    steps(&mut harness, 3);
    assert!(seen(&harness) < names.len());

    harness.state_mut().host_mut().handle(Action::Select(0));
    steps(&mut harness, 3);
    assert!(!harness.state_mut().canvas_mut().smooth);
    harness.key_press(Key::I);
    steps(&mut harness, 2);
    assert!(harness.state_mut().canvas_mut().smooth);
    harness.key_press(Key::Num0);
    steps(&mut harness, 3);
    assert_eq!(harness.state_mut().canvas_mut().zoom, 1.0);
    harness.get_by_label("×1.0");
    harness.key_press(Key::F);
    steps(&mut harness, 3);
    let zoom = harness.state_mut().canvas_mut().zoom;
    assert!(zoom > 2.0, "32 pixels fill the canvas: {zoom}");
}

#[test]
fn whose_numbers_are_shown_stands_below_the_classifier_as_long_as_it_is_another_one() {
    const SAID: &str = "of gtsrb12-joint";
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let is_said = |harness: &Harness<'static, Workbench>| harness.query_by_label(SAID).is_some();
    let place =
        |harness: &Harness<'static, Workbench>| harness.get_by_role_and_label(Role::ComboBox, "Rule").rect().left_top();
    let before = place(&harness);
    assert!(!is_said(&harness));
    edit(&mut harness, |settings| settings.refine.classifier = "gtsrb12-robust".to_owned());
    let (line, picker) =
        (harness.get_by_label(SAID).rect(), harness.get_by_role_and_label(Role::ComboBox, "Classifier").rect());
    assert!(line.top() >= picker.bottom() && line.bottom() <= before.y, "{picker:?} {line:?} {before:?}");
    assert_eq!(place(&harness), before, "what is below stays where it is");
    harness.state_mut().host_mut().handle(Action::Do(Verb::Undo));
    steps(&mut harness, 2);
    assert!(!is_said(&harness));
    harness.state_mut().host_mut().handle(Action::Do(Verb::Redo));
    let file = root.path().join("chosen.lapidary");
    harness.state_mut().host_mut().handle(Action::SaveSession(file.clone(), Detail::Full));
    until(&mut harness, "saving", |session| session.file() == Some(file.as_path()) && !session.is_saving());
    let epoch = session(&harness).epoch();
    harness.state_mut().host_mut().handle(Action::OpenSession(file));
    until(&mut harness, "opening", |session| session.epoch() != epoch && at_rest(session));
    steps(&mut harness, 2);
    assert_eq!(session(&harness).settings().refine.classifier, "gtsrb12-robust");
    assert!(is_said(&harness), "opened again, they are still another's");
}

#[test]
fn what_runs_are_compared_by_is_whole_however_much_sets_them_apart() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    edit(&mut harness, |settings| {
        let refine = &mut settings.refine;
        (refine.rule, refine.step_size, refine.noise, refine.gradient_divisor) = (Rule::Sgld, 0.012_34, 0.005, 100.0);
        (refine.objective, refine.target) = (lapidary::refiner::Objective::Ce, Target::Untargeted);
    });
    click(&mut harness, "Reset");
    until(&mut harness, "a new run", |session| at_rest(session) && session.trace().runs().count() == 2);
    harness.get_by_role_and_label(Role::ComboBox, "Shown run").click();
    steps(&mut harness, 4);
    let label = |node: &egui_kittest::Node<'_>| {
        // The words of a label that names nothing else are its value.
        node.accesskit_node().label().or_else(|| node.value()).unwrap_or_default()
    };
    let is_mean = |node: &egui_kittest::Node<'_>| label(node).starts_with("mean p ") && label(node).ends_with('%');
    let means: Vec<egui::Rect> =
        harness.query_all_by_label_contains("mean p ").filter(is_mean).map(|node| node.rect()).collect();
    // Not the text about the shown run, which is below.
    let is_apart = |node: &egui_kittest::Node<'_>| !label(node).starts_with("Run ");
    let apart: Vec<egui::Rect> =
        harness.query_all_by_label_contains("step size 0.01234").filter(is_apart).map(|node| node.rect()).collect();
    assert_eq!((means.len(), apart.len()), (2, 1), "{means:?} {apart:?}");
    assert!((means[0].right() - means[1].right()).abs() < 1.0, "one column: {means:?}");
    let row = means.iter().find(|mean| mean.y_range().contains(apart[0].center().y)).expect("in one line");
    assert!(apart[0].right() <= row.left() && row.width() > 30.0, "{apart:?} {row:?}");
}

#[test]
fn no_trace_crosses_a_change_of_the_classifier_but_the_distance() {
    const AXIS: f32 = 42.0;
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    edit(&mut harness, |settings| settings.refine.classifier = "gtsrb12-robust".to_owned());
    harness.state_mut().host_mut().handle(Action::Do(Verb::Branch));
    until(&mut harness, "a branch", |session| session.trace().runs().count() == 2 && at_rest(session));
    for (trace, said) in [
        ("Trace: Objective", "Iteration 0 has another classifier"),
        ("Trace: Target probability", "Iteration 0 has another classifier"),
        ("Trace: ‖gradient‖₂", "Iteration 0 has another classifier"),
        ("Trace: ‖δ‖₂", "Iteration 0, sample 0: "),
    ] {
        let plot = harness.get_by_role_and_label(Role::Slider, trace).rect();
        harness.hover_at(egui::pos2(plot.left() + AXIS, plot.center().y));
        steps(&mut harness, 8);
        harness.get_by_label_contains(said);
    }
}
