//! The window's frame, its dialogs and its keys, as a stranger meets them.

use egui::{ViewportCommand, ViewportEvent, ViewportId};

use super::*;

/// Draws frames until a label that contains `text` is there.
pub fn wait_for(harness: &mut Harness<'static, Workbench>, text: &str) {
    let start = Instant::now();
    while harness.query_all_by_label_contains(text).next().is_none() {
        assert!(start.elapsed() < PATIENCE, "{text:?} did not come");
        std::thread::sleep(Duration::from_millis(5));
        harness.step();
    }
}

pub fn open_dialog(harness: &mut Harness<'static, Workbench>, key: Key) {
    harness.key_press_modifiers(Modifiers::COMMAND, key);
    steps(harness, 4);
}

pub fn typed(harness: &Harness<'static, Workbench>) -> String {
    harness.get_by_role_and_label(Role::TextInput, "Path").value().unwrap_or_default()
}

/// Types over what is selected, or into an empty field.
pub fn type_path(harness: &mut Harness<'static, Workbench>, path: &Path) {
    harness.event(egui::Event::Text(path.to_string_lossy().into_owned()));
    steps(harness, 2);
}

#[test]
fn a_file_is_read_before_work_is_given_up_for_it_and_what_was_typed_stays() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());

    let bad = root.path().join("bad.png");
    std::fs::write(&bad, "no picture").unwrap();
    open_dialog(&mut harness, Key::I);
    assert_eq!(typed(&harness), "");
    type_path(&mut harness, &bad);
    harness.key_press(Key::Enter);
    wait_for(&mut harness, "bad.png");
    assert!(session(&harness).question().is_none(), "nobody is asked to give up work for a file that is none");
    assert_eq!(typed(&harness), bad.to_str().unwrap());

    let good = root.path().join("good.png");
    image::RgbImage::new(32, 32).save(&good).unwrap();
    steps(&mut harness, 3);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    type_path(&mut harness, &good);
    harness.key_press(Key::Enter);
    until(&mut harness, "the question", |session| session.question().is_some());
    steps(&mut harness, 4);
    click(&mut harness, "Keep");
    assert_eq!(session(&harness).path().len(), 2);

    open_dialog(&mut harness, Key::O);
    assert_eq!(typed(&harness), "", "no name is suggested for a file that must be there");
    harness.key_press(Key::Escape);
    steps(&mut harness, 4);
    open_dialog(&mut harness, Key::S);
    // The name is selected and not its ending: what is typed replaces it.
    harness.event(egui::Event::Text("mine".to_owned()));
    steps(&mut harness, 2);
    assert!(typed(&harness).ends_with("mine.lapidary"), "{}", typed(&harness));
}

#[test]
fn a_session_without_its_ending_is_opened_as_one_wherever_it_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let file = root.path().join("radius0.5");
    open_dialog(&mut harness, Key::S);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    type_path(&mut harness, &file);
    harness.key_press(Key::Enter);
    until(&mut harness, "saving", |session| !session.is_unsaved());
    let saved = root.path().join("radius0.5.lapidary");
    assert!(saved.exists() && !file.exists(), "it gets the ending");
    std::fs::rename(&saved, &file).unwrap();

    let mut other = workbench(&root.path().join("other"));
    other.step();
    other.input_mut().dropped_files.push(Arc::new(Dropped(file.clone())));
    until(&mut other, "opening", |session| session.file() == Some(file.as_path()));
    until(&mut other, "its pictures", |session| session.path().len() == 1);
}

#[test]
fn every_press_of_a_key_in_one_frame_counts() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    click(&mut harness, "Run");
    until(&mut harness, "15 iterations", |session| session.path().len() == 16 && !session.is_busy());
    let input = harness.input_mut();
    for key in [Key::Home, Key::ArrowRight, Key::ArrowRight, Key::ArrowRight, Key::ArrowRight, Key::ArrowRight] {
        let modifiers = Modifiers::NONE;
        for pressed in [true, false] {
            input.events.push(egui::Event::Key { key, physical_key: None, pressed, repeat: false, modifiers });
        }
    }
    steps(&mut harness, 2);
    assert_eq!(session(&harness).shown(), 5);
}

/// A file that was dropped on the window.
#[derive(Debug)]
struct Dropped(std::path::PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("only its path is asked for".to_owned())
    }
}

/// What the window was asked to do in the last frame.
pub fn commands(harness: &Harness<'static, Workbench>) -> Vec<ViewportCommand> {
    harness.output().viewport_output.get(&ViewportId::ROOT).map_or_else(Vec::new, |output| output.commands.clone())
}

pub fn close(harness: &mut Harness<'static, Workbench>) -> Vec<ViewportCommand> {
    harness.input_mut().viewports.entry(ViewportId::ROOT).or_default().events.push(ViewportEvent::Close);
    harness.step();
    let commands = commands(harness);
    steps(harness, 4);
    commands
}

#[test]
fn quitting_asks_about_unsaved_iterates_and_saves_them() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let is_held =
        |commands: &[ViewportCommand]| commands.iter().any(|command| matches!(command, ViewportCommand::CancelClose));
    assert!(!is_held(&close(&mut harness)), "what is made again by one click is not asked about");
    harness.get_by_role_and_label(Role::CheckBox, "no end").click();
    steps(&mut harness, 2);
    click(&mut harness, "Run");
    until(&mut harness, "iterating", |session| session.path().len() > 2);

    assert!(is_held(&close(&mut harness)));
    harness.get_by_label("Quit without saving?");
    click(&mut harness, "Stay");
    steps(&mut harness, 2);
    assert!(harness.query_by_label("Quit without saving?").is_none());

    assert!(is_held(&close(&mut harness)));
    click(&mut harness, "Save and quit");
    until(&mut harness, "stopping", |session| !session.is_busy());
    steps(&mut harness, 4);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    type_path(&mut harness, &root.path().join("kept.lapidary"));
    harness.key_press(Key::Enter);
    let start = Instant::now();
    while !commands(&harness).iter().any(|command| matches!(command, ViewportCommand::Close)) {
        assert!(start.elapsed() < PATIENCE, "the window is closed once everything is saved");
        std::thread::sleep(Duration::from_millis(5));
        harness.step();
    }
    assert!(root.path().join("kept.lapidary").exists());
    assert!(!is_held(&close(&mut harness)));
}

#[test]
fn a_session_that_was_open_lately_is_in_the_menu_and_read_before_it_replaces_work() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let file = root.path().join("lately.lapidary");
    harness.state_mut().host_mut().handle(Action::SaveSession(file.clone(), lapidary::session::Detail::Full));
    until(&mut harness, "saving", |session| !session.is_unsaved());
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    let reopen = |harness: &mut Harness<'static, Workbench>| {
        click(harness, "File");
        steps(harness, 3);
        harness.get_by_role_and_label(Role::Button, "Open recent").click();
        steps(harness, 4);
        harness.get_by_role_and_label(Role::Button, "lately.lapidary").click();
        steps(harness, 2);
    };
    std::fs::rename(&file, root.path().join("moved")).unwrap();
    reopen(&mut harness);
    until(&mut harness, "the refusal", |session| !session.notices.list().is_empty());
    until(&mut harness, "the refusal", |session| {
        session.notices.list().iter().any(|notice| notice.title.contains("cannot be read"))
    });
    assert!(session(&harness).question().is_none());
    std::fs::rename(root.path().join("moved"), &file).unwrap();
    reopen(&mut harness);
    until(&mut harness, "the question", |session| session.question().is_some());
}

#[test]
fn a_tip_lies_beside_the_settings_and_goes_when_one_is_dragged() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    let slider = harness.get_all_by_role_and_label(Role::Slider, "Radius").next().unwrap().rect();
    harness.hover_at(slider.center());
    steps(&mut harness, 8);
    let tip = harness.get_by_label_contains("How far a picture may move").rect();
    assert!(tip.left() >= theme::SETTINGS_WIDTH, "{tip:?}");
    harness.drag_at(slider.center());
    steps(&mut harness, 2);
    harness.hover_at(slider.center() + vec2(8.0, 0.0));
    steps(&mut harness, 6);
    assert!(harness.query_by_label_contains("How far a picture may move").is_none());
    harness.drop_at(slider.center() + vec2(8.0, 0.0));
    steps(&mut harness, 2);

    harness.hover_at(slider.center());
    steps(&mut harness, 8);
    harness.get_by_label_contains("How far a picture may move");
    open_dialog(&mut harness, Key::I);
    assert!(harness.query_by_label_contains("How far a picture may move").is_none(), "nor over a dialog");
}

#[test]
fn the_list_of_keys_is_in_order_from_its_first_frame_on() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    harness.state_mut().show_help(true);
    let mut frames = 0;
    for _ in 0..8 {
        harness.step();
        let top = |verb: Verb| harness.query_by_label(verb.about()).map(|node| node.rect());
        let lines: Vec<_> =
            [Verb::Generate, Verb::Edit, Verb::RunOrPause, Verb::Step].into_iter().filter_map(top).collect();
        assert!(lines.windows(2).all(|pair| pair[0].bottom() <= pair[1].top()), "{lines:?}");
        frames += usize::from(lines.len() == 4);
    }
    assert!(frames > 5, "it was there: {frames}");
}

#[test]
fn a_focused_button_is_pressed_by_space_and_other_keys_still_work() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.get_by_role_and_label(Role::Button, "Step").focus();
    harness.step();
    harness.key_press(Key::Space);
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    harness.key_press(Key::Num2);
    steps(&mut harness, 2);
    assert_eq!(session(&harness).compare(), Compare::Wipe);
    assert_eq!(session(&harness).path().len(), 2, "space did not run besides");
}

#[test]
fn reset_ends_what_runs() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.get_by_role_and_label(Role::CheckBox, "no end").click();
    steps(&mut harness, 2);
    click(&mut harness, "Run");
    until(&mut harness, "iterating", |session| session.path().len() > 3);
    let before = session(&harness).trace().runs().count();
    click(&mut harness, "Reset");
    until(&mut harness, "a new run", |session| {
        at_rest(session) && session.path().len() == 1 && session.trace().runs().count() == before + 1
    });
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
}

#[test]
fn a_text_that_stands_there_in_red_is_not_generated_past() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    open_section(&mut harness, "Sampler");
    let steps_field = |text: &str, harness: &mut Harness<'static, Workbench>| {
        harness.get_by_role_and_label(Role::TextInput, "Time steps").set_text_value_accesskit(text);
        steps(harness, 3);
    };
    steps_field("abc", &mut harness);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::G);
    steps(&mut harness, 4);
    assert!(!session(&harness).is_busy() && session(&harness).origins().is_none());
    harness.get_by_label_contains("waits for the time steps");
    steps_field("", &mut harness);
    generate(&mut harness);

    assert!(harness.query_by_label_contains("Not generated yet").is_none());
    edit(&mut harness, |settings| settings.generate.samples = 2);
    harness.get_by_label_contains("Not generated yet: samples 4 → 2");
}

#[test]
fn the_window_says_what_it_is_for_and_what_to_do_next() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    harness.set_size(vec2(960.0, 600.0));
    steps(&mut harness, 3);
    let purpose = harness.get_by_label_contains("refines them, step by step").rect();
    assert!(purpose.left() >= theme::SETTINGS_WIDTH && purpose.right() <= 960.0 - theme::SAMPLE_WIDTH, "{purpose:?}");
    harness.get_by_label_contains("Press Run");
    click(&mut harness, "File");
    steps(&mut harness, 3);
    for verb in [Verb::NewSession, Verb::Open, Verb::OpenImages, Verb::Save, Verb::SaveAs, Verb::Quit] {
        assert!(harness.query_all_by_role_and_label(Role::Button, verb.label()).next().is_some(), "{verb:?}");
    }
    assert!(harness.query_all_by_label_contains("Open recent").next().is_some());
}

#[test]
fn everything_around_the_canvas_can_be_reached_in_the_smallest_window() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.set_size(vec2(960.0, 600.0));
    harness.state_mut().host_mut().handle(Action::Select(1));
    harness.state_mut().host_mut().handle(Action::Compare(Compare::Difference));
    steps(&mut harness, 3);
    let right = 960.0 - theme::SAMPLE_WIDTH;
    for label in ["Side by side", "Wipe", "Blink", "Difference", "Fit", "Actual size", "Smooth"] {
        let rect = harness.get_by_role_and_label(Role::Button, label).rect();
        assert!(rect.left() > theme::SETTINGS_WIDTH && rect.right() <= right, "{label}: {rect:?}");
    }
    let gain = harness.get_by_role_and_label(Role::SpinButton, "Gain").rect();
    assert!(gain.right() <= right, "{gain:?}");
    let canvas = harness.get_by_label_contains("Canvas: Difference").rect();
    assert!(canvas.right() <= right && canvas.height() > 100.0, "{canvas:?}");
    harness.state_mut().host_mut().handle(Action::Compare(Compare::Side));
    steps(&mut harness, 3);
    assert_eq!(harness.get_by_label_contains("Canvas: Side by side").rect(), canvas, "it stays where it is");
    harness.state_mut().host_mut().handle(Action::Compare(Compare::Difference));
    steps(&mut harness, 3);
    harness.hover_at(canvas.center());
    steps(&mut harness, 3);
    let lowest = harness.get_all_by_label("k/255").map(|label| label.rect().bottom()).fold(0.0, f32::max);
    assert!((1.0..=600.0 - theme::TIMELINE_HEIGHT).contains(&lowest), "the pixel is read while one points: {lowest}");
    for verb in [Verb::Step, Verb::Branch] {
        harness.state_mut().host_mut().handle(Action::Do(verb));
        until(&mut harness, "the runs", |session| !session.is_busy() && session.path().len() > 1);
    }
    let run = session(&harness).shown_run().expect("a run");
    let name = "a name that is longer than every window is wide ".repeat(4);
    harness.state_mut().host_mut().handle(Action::NameRun(run, name));
    steps(&mut harness, 3);
    for (role, label) in [
        (Role::ComboBox, "Shown run"),
        (Role::Slider, "Shown iteration"),
        (Role::Slider, "Trace: Objective"),
        (Role::Slider, "Trace: ‖δ‖₂"),
        (Role::Button, "Export"),
    ] {
        let rect = harness.get_by_role_and_label(role, label).rect();
        assert!(rect.right() <= 960.0, "{label}: {rect:?}");
    }
}

#[test]
fn the_keyboards_focus_is_scrolled_into_view() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.set_size(vec2(960.0, 600.0));
    harness.step();
    for title in ["Sampler", "Edit", "More", "Compute"] {
        open_section(&mut harness, title);
    }
    harness.key_press(Key::Tab);
    let mut seen = 0;
    for _ in 0..70 {
        harness.key_press(Key::Tab);
        steps(&mut harness, 2);
        let focused = harness.root().children_recursive().find(|node| node.accesskit_node().is_focused());
        let Some(rect) = focused.map(|node| node.rect()) else { continue };
        if rect.right() <= theme::SETTINGS_WIDTH && rect.top() > 40.0 {
            assert!(rect.bottom() <= 600.0, "the focus is at {rect:?}");
            seen += 1;
        }
    }
    assert!(seen > 25, "the settings were gone through: {seen}");
}

#[test]
fn nothing_moves_and_nothing_lies_over_the_pictures_when_something_is_said() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    harness.set_size(vec2(960.0, 600.0));
    steps(&mut harness, 3);
    let below = |harness: &Harness<'static, Workbench>| {
        let rule = harness.get_by_role_and_label(Role::ComboBox, "Rule").rect();
        (
            rule,
            harness.get_by_label_contains("Pair 1:").rect(),
            harness.get_by_role_and_label(Role::Button, "Best").rect(),
        )
    };
    let before = below(&harness);
    edit(&mut harness, |settings| settings.generate.first_seed = 7);
    harness.get_by_label_contains("Not generated yet");
    assert_eq!(below(&harness), before, "what is not generated yet is said beside the button");
    harness.get_all_by_role_and_label(Role::SpinButton, "Samples").last().expect("a number").focus();
    steps(&mut harness, 2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.step();
    harness.event(egui::Event::Text("many".to_owned()));
    harness.step();
    harness.key_press(Key::Enter);
    steps(&mut harness, 3);
    let refusal = harness.get_by_label_contains("but must be").rect();
    assert!(refusal.left() >= theme::SETTINGS_WIDTH, "beside the settings: {refusal:?}");
    assert_eq!(below(&harness), before);
    let chain = ["it did not work".to_owned(), "for a reason that is told at length ".repeat(9)];
    harness.state_mut().host_mut().session.notices.failure(&chain);
    steps(&mut harness, 3);
    let said = harness.get_by_label_contains("It did not work").rect();
    assert!(
        said.top() >= 600.0 - theme::TIMELINE_HEIGHT - theme::MESSAGES_HEIGHT - 4.0 && said.right() <= 960.0,
        "{said:?}"
    );
    assert_eq!(below(&harness), before);
    click(&mut harness, "1 message");
    steps(&mut harness, 3);
    harness.get_by_role_and_label(Role::Button, "Dismiss: It did not work").click();
    steps(&mut harness, 3);
    assert!(session(&harness).notices.list().is_empty());
    click(&mut harness, "Step");
    until(&mut harness, "one iteration", |session| session.path().len() == 2 && !session.is_busy());
    assert_eq!(below(&harness), before, "the line above the pairs stays one");
}

#[test]
fn a_picture_in_the_clipboard_is_opened() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    harness.step();
    let picture = egui::ColorImage::filled([40, 30], egui::Color32::RED);
    let modifiers = egui::Modifiers::COMMAND;
    let release = egui::Event::Key { key: Key::V, physical_key: None, pressed: false, repeat: false, modifiers };
    let is_told = |harness: &Harness<'static, Workbench>| {
        session(harness).notices.list().iter().any(|notice| notice.title == "Nothing could be pasted")
    };
    for opens_first in [false, true] {
        if opens_first {
            open_dialog(&mut harness, Key::I);
            edit(&mut harness, |settings| settings.refine.eps = 2.0);
        }
        let epoch = session(&harness).epoch();
        harness.event(egui::Event::PasteImage(Arc::new(picture.clone())));
        harness.event(release.clone());
        until(&mut harness, "its picture", move |session| session.epoch() > epoch && at_rest(session));
        let origins = session(&harness).origins().unwrap();
        assert_eq!((origins.labels.len(), origins.names.as_slice()), (1, ["clipboard.png".to_owned()].as_slice()));
        assert!(origins.images.sample(0)[0] > 0.99, "it is red");
        assert!(harness.query_by_role_and_label(Role::TextInput, "Path").is_none());
    }
    let file = root.path().join("a copy.png");
    image::RgbImage::new(40, 30).save(&file).unwrap();
    let epoch = session(&harness).epoch();
    harness.event(egui::Event::Paste(format!("file://{}\n", file.display().to_string().replace(' ', "%20"))));
    harness.event(release.clone());
    until(&mut harness, "a file that was copied", move |session| session.epoch() > epoch && at_rest(session));
    assert_eq!(session(&harness).origins().unwrap().names, ["a copy.png"]);
    assert!(!is_told(&harness));
    harness.event(release);
    steps(&mut harness, 2);
    assert!(is_told(&harness), "the clipboard was empty");
}

#[test]
fn keys_work_again_once_the_list_of_runs_is_closed_and_a_name_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = workbench(root.path());
    generate(&mut harness);
    let list = |harness: &mut Harness<'static, Workbench>, name: &str| {
        harness.get_by_role_and_label(Role::ComboBox, "Shown run").click();
        steps(harness, 4);
        harness.get_by_role_and_label(Role::TextInput, "Name").focus();
        steps(harness, 2);
        harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
        harness.event(egui::Event::Text(name.to_owned()));
        steps(harness, 2);
    };
    let name = |harness: &Harness<'static, Workbench>| {
        let run = session(harness).shown_run().expect("a run");
        session(harness).trace().run(run).unwrap().tag.label.clone()
    };
    list(&mut harness, "by its button");
    harness.get_by_role_and_label(Role::ComboBox, "Shown run").click();
    steps(&mut harness, 4);
    assert_eq!(name(&harness), "by its button");
    list(&mut harness, "by keys");
    harness.key_press(Key::Enter);
    steps(&mut harness, 4);
    harness.key_press(Key::Escape);
    harness.step();
    let frame = harness.output().viewport_output.get(&ViewportId::ROOT).expect("a window").repaint_delay;
    assert_eq!(frame, Duration::ZERO, "that it is closed is drawn at once, and not with the next key");
    harness.step();
    assert_eq!(name(&harness), "by keys");
    harness.key_press(Key::Num2);
    steps(&mut harness, 2);
    assert_eq!((session(&harness).compare(), session(&harness).selected()), (Compare::Wipe, Some(0)));
}
