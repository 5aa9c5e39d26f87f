//! Above: file, undo, run / pause / step / stop, progress, device, memory.

use std::path::PathBuf;

use egui::{Button, RichText, Ui};

use super::export_menu::export_menu_ui;
use super::{keys, theme, widgets};
use crate::session::{Action, Activity, Session, Verb};
use crate::units::{bytes, duration};

/// Smallest and largest width of the progress, and what is kept free for what stands behind it, in points.
const PROGRESS_WIDTH: (f32, f32) = (110.0, 210.0);
const BESIDE_PROGRESS: f32 = 390.0;
/// What a bar keeps free beside its text, in points.
const BESIDE_TEXT: f32 = 16.0;

/// Draws the bar; `memory` is the process's resident memory in bytes, `recent` are the sessions that were open last.
pub fn top_bar_ui(
    ui: &mut Ui,
    session: &Session,
    (memory, recent): (Option<usize>, &[PathBuf]),
    actions: &mut Vec<Action>,
) {
    ui.horizontal_centered(|ui| {
        let file = ui.menu_button("File", |ui| file_menu_ui(ui, session, recent, actions));
        file.response.on_hover_text("Open and save sessions, open pictures, quit");
        export_menu_ui(ui, session, actions);
        verb_button(ui, session, Verb::Undo, "Undo", actions);
        verb_button(ui, session, Verb::Redo, "Redo", actions);
        ui.separator();
        let activity = session.activity();
        let running = activity == Activity::Running;
        if session.is_crashed() {
            let button = widgets::primary(ui, Verb::RestartCompute.label());
            verb_ui(ui, session, (Verb::RestartCompute, button), actions);
        } else {
            let text = match activity {
                Activity::Running | Activity::Generating { .. } => "Pause",
                Activity::Paused | Activity::Held { .. } => "Resume",
                _ => "Run",
            };
            // What is to be done next stands out: pictures are there, and nothing was done to them yet.
            let is_next = session.path().len() == 1 && activity == Activity::Idle;
            let button = if is_next { widgets::primary(ui, text) } else { Button::new(RichText::new(text).strong()) };
            // Of fixed width: the bar does not jump when its text changes.
            let button = button.min_size(egui::vec2(72.0, 26.0)).selected(running);
            let response = ui.add_enabled(session.can(Verb::RunOrPause), button);
            let about = format!("{}\n{}", hint(Verb::RunOrPause), session.what_run_does());
            if response.on_hover_text(about).clicked() {
                actions.push(Action::Do(Verb::RunOrPause));
            }
        }
        for verb in [Verb::Step, Verb::Stop, Verb::Reset] {
            verb_button(ui, session, verb, verb.label(), actions);
        }
        ui.separator();
        progress_ui(ui, session);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            verb_button(ui, session, Verb::Help, "?", actions);
            let theme = if ui.visuals().dark_mode { "Light" } else { "Dark" };
            verb_button(ui, session, Verb::Theme, theme, actions);
            ui.separator();
            facts_ui(ui, session, memory);
        });
    });
}

fn file_menu_ui(ui: &mut Ui, session: &Session, recent: &[PathBuf], actions: &mut Vec<Action>) {
    ui.set_min_width(220.0);
    for group in [
        &[Verb::NewSession, Verb::Open][..],
        &[Verb::OpenImages, Verb::OpenReferences],
        &[Verb::Save, Verb::SaveAs],
        &[Verb::Quit],
    ] {
        for verb in group {
            let button = Button::new(verb.label()).shortcut_text(keys::text(*verb).unwrap_or_default());
            if verb_ui(ui, session, (*verb, button), actions) {
                ui.close();
            }
            if *verb == Verb::Open {
                ui.add_enabled_ui(session.can(Verb::Open) && !recent.is_empty(), |ui| {
                    ui.menu_button("Open recent", |ui| recent_ui(ui, recent, actions));
                });
            }
        }
        if group != [Verb::Quit] {
            ui.separator();
        }
    }
}

fn recent_ui(ui: &mut Ui, recent: &[PathBuf], actions: &mut Vec<Action>) {
    for session in recent {
        let name = session.file_name().unwrap_or(session.as_os_str()).to_string_lossy();
        if ui.button(name).on_hover_text(session.display().to_string()).clicked() {
            actions.push(Action::OpenSession(session.clone()));
            ui.close();
        }
    }
}

fn hint(verb: Verb) -> String {
    match keys::text(verb) {
        Some(key) => format!("{} ({key})", verb.about()),
        None => verb.about().to_owned(),
    }
}

/// A button for a verb, greyed when it makes no sense now; returns whether it was clicked.
pub fn verb_button(ui: &mut Ui, session: &Session, verb: Verb, text: &str, actions: &mut Vec<Action>) -> bool {
    // A symbol needs a name that can be read aloud.
    let name = if text.chars().any(char::is_alphabetic) { text } else { verb.label() };
    verb_named_ui(ui, session, (verb, name), Button::new(text), actions)
}

/// Likewise, with a button that looks as it must, under the verb's own name.
pub fn verb_ui(ui: &mut Ui, session: &Session, (verb, button): (Verb, Button<'_>), actions: &mut Vec<Action>) -> bool {
    verb_named_ui(ui, session, (verb, verb.label()), button, actions)
}

fn verb_named_ui(
    ui: &mut Ui,
    session: &Session,
    (verb, name): (Verb, &str),
    button: Button<'_>,
    actions: &mut Vec<Action>,
) -> bool {
    let response = ui.add_enabled(session.can(verb), button);
    widgets::name(&response, egui::Role::Button, name);
    let about = [vec![hint(verb)], session.changes_of(verb)].concat().join("\n");
    let clicked = response.on_hover_text(&about).on_disabled_hover_text(about).clicked();
    if clicked {
        actions.push(Action::Do(verb));
    }
    clicked
}

/// What goes on, in words and as a bar.
fn progress_ui(ui: &mut Ui, session: &Session) {
    let plan = session.plan();
    let last = session.path().len().saturating_sub(1);
    let activity = session.activity();
    let share = |done: u64, of: u64| Some(done as f32 / of.max(1) as f32);
    let (fraction, text) = match &activity {
        Activity::Idle if session.origins().is_none() => (None, "Ready".to_owned()),
        Activity::Idle if session.path().len() == 1 => (None, "Press Run to refine".to_owned()),
        Activity::Idle => (None, format!("{last} iteration{} done", if last == 1 { "" } else { "s" })),
        Activity::Failed => (None, "Failed; see the message".to_owned()),
        Activity::Crashed(_) => (None, "Compute crashed".to_owned()),
        Activity::Preparing { what, step, of } => {
            (Some((*step as f32 - 0.5) / *of as f32), format!("{step}/{of} {what}"))
        }
        Activity::Loading { what, done, of } => {
            (share(*done, *of), format!("{} of {}, {what}", bytes(*done), bytes(*of)))
        }
        Activity::Opening { of: 0, .. } => (Some(0.0), "Opening".to_owned()),
        Activity::Opening { done, of } => (share(*done, *of), format!("Opening, {} of {}", bytes(*done), bytes(*of))),
        Activity::Saving { done, of } => (share(*done, *of), format!("Saving, {} of {}", bytes(*done), bytes(*of))),
        Activity::Generating { of: 0, .. } => (Some(0.0), "Making pictures".to_owned()),
        Activity::Generating { done, of } => {
            (Some(*done as f32 / *of as f32), format!("Making pictures, {done} of {of} steps"))
        }
        Activity::Held { done, of } => (share(u64::from(*done), u64::from(*of)), format!("Held, {done} of {of} steps")),
        Activity::Evaluating => (Some(0.0), "Evaluating the start".to_owned()),
        Activity::Running | Activity::Paused => {
            let (done, of) = session.goal();
            let of = of.map_or("∞".to_owned(), |of| of.to_string());
            let fraction = plan.of.map_or(0.0, |of| plan.done as f32 / of.max(1) as f32);
            let paused = if activity == Activity::Paused { ", paused" } else { "" };
            (Some(fraction), format!("Iteration {done} of {of}{paused}"))
        }
    };
    let width = (ui.available_width() - BESIDE_PROGRESS).clamp(PROGRESS_WIDTH.0, PROGRESS_WIDTH.1);
    let font = egui::TextStyle::Button.resolve(ui.style());
    let taken = ui.painter().layout_no_wrap(text.clone(), font, egui::Color32::WHITE).size().x;
    // Where it does not fit the numbers are what counts.
    let text = if taken + BESIDE_TEXT > width { shortened(&text) } else { text };
    let progress = match fraction {
        Some(fraction) => ui.add(egui::ProgressBar::new(fraction).desired_width(width).text(text)),
        None => {
            let label = |ui: &mut Ui| {
                ui.set_min_width(width);
                ui.add(egui::Label::new(text).truncate())
            };
            ui.allocate_ui(egui::vec2(width, 18.0), label).inner
        }
    };
    progress.on_hover_text("What is computed, read or written now, and how far it is");
    // What rests has no speed: that of what was done last stood there as if something went on.
    let goes_on = matches!(activity, Activity::Running | Activity::Paused);
    let secs = session.secs_per_iteration().filter(|_| goes_on);
    let speed = secs.map_or_else(String::new, |secs| format!("{:.1} it/s", 1.0 / secs.max(1e-9)));
    ui.add_sized([52.0, 18.0], egui::Label::new(speed))
        .on_hover_text("Iterations per second of all pictures together, running mean");
    let eta = session.eta_secs().map_or_else(String::new, |secs| format!("{} left", duration(secs)));
    ui.add_sized([68.0, 18.0], egui::Label::new(eta)).on_hover_text("Estimated time until the plan is done");
}

/// The numbers of what goes on, without what is counted.
fn shortened(text: &str) -> String {
    let rest = text.strip_prefix("Iteration ").or_else(|| text.split_once(", ").map(|(_, rest)| rest));
    rest.filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())).unwrap_or(text).to_owned()
}

/// Device and memory, from right to left.
fn facts_ui(ui: &mut Ui, session: &Session, memory: Option<usize>) {
    let iterates = session.iterates();
    let (kept, spilled) = iterates.counts();
    let total = memory.map_or_else(|| "?".to_owned(), |memory| bytes(memory as u64));
    ui.label(total).on_hover_text(format!(
        "Memory of the program\nIterates: {} of {} budget, {kept} states in memory, {spilled} on disk only",
        bytes(iterates.bytes() as u64),
        bytes(iterates.budget() as u64),
    ));
    let Some(device) = &session.provenance().device else {
        ui.label(RichText::new("no device yet").weak());
        return;
    };
    let text = RichText::new(&device.name);
    let text = if device.software { text.color(theme::tokens(ui).warning) } else { text };
    ui.add(egui::Label::new(text).truncate()).on_hover_text(format!("Compute device: {}", device.details()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_words_do_not_fit_numbers_stay() {
        for (text, short) in [
            ("Iteration 1793 of 2162", "1793 of 2162"),
            ("Iteration 5 of ∞, paused", "5 of ∞, paused"),
            ("Making pictures, 12 of 600 steps", "12 of 600 steps"),
            ("Held, 3 of 18 steps", "3 of 18 steps"),
            ("12 MiB of 40 MiB, reading the generator", "12 MiB of 40 MiB, reading the generator"),
            ("Opening", "Opening"),
        ] {
            assert_eq!(shortened(text), short);
        }
    }
}
