//! Above: file, undo, run / pause / step / stop, progress, device, memory.

use egui::{RichText, Ui};

use super::export_menu::export_menu_ui;
use super::keys;
use super::theme;
use crate::session::{Action, Activity, Session, Verb};
use crate::units::{bytes, duration};

/// Draws the bar; `memory` is the process's resident memory in bytes.
pub fn top_bar_ui(ui: &mut Ui, session: &Session, memory: Option<usize>, actions: &mut Vec<Action>) {
    ui.horizontal_centered(|ui| {
        ui.menu_button("File", |ui| {
            for verb in [Verb::NewSession, Verb::Open, Verb::OpenImages, Verb::OpenReferences, Verb::Save, Verb::SaveAs]
            {
                if verb_button(ui, session, verb, verb.label(), actions) {
                    ui.close();
                }
            }
        });
        export_menu_ui(ui, session, actions);
        verb_button(ui, session, Verb::Undo, "Undo", actions);
        verb_button(ui, session, Verb::Redo, "Redo", actions);
        ui.separator();
        let activity = session.activity();
        let running = activity == Activity::Running;
        if session.is_crashed() {
            verb_button(ui, session, Verb::RestartCompute, Verb::RestartCompute.label(), actions);
        } else {
            // A button of fixed width: the bar does not jump when its text changes.
            let text = match activity {
                Activity::Running | Activity::Generating { .. } => "Pause",
                Activity::Paused | Activity::Held { .. } => "Resume",
                _ => "Run",
            };
            let label = RichText::new(text).strong();
            let button = egui::Button::new(label).min_size(egui::vec2(72.0, 26.0)).selected(running);
            let response = ui.add_enabled(session.can(Verb::RunOrPause), button);
            if response.on_hover_text(hint(Verb::RunOrPause)).clicked() {
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

fn hint(verb: Verb) -> String {
    match keys::text(verb) {
        Some(key) => format!("{} ({key})", verb.about()),
        None => verb.about().to_owned(),
    }
}

/// A button for a verb, greyed when it makes no sense now; returns whether it was clicked.
pub fn verb_button(ui: &mut Ui, session: &Session, verb: Verb, text: &str, actions: &mut Vec<Action>) -> bool {
    let response = ui.add_enabled(session.can(verb), egui::Button::new(text));
    // A symbol needs a name that can be read aloud.
    if !text.chars().any(char::is_alphabetic) {
        let enabled = response.enabled();
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, enabled, verb.label()));
    }
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
        Activity::Idle => (None, format!("{last} iterations done")),
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
    let width = 210.0;
    match fraction {
        Some(fraction) => drop(ui.add(egui::ProgressBar::new(fraction).desired_width(width).text(text))),
        None => drop(ui.allocate_ui(egui::vec2(width, 18.0), |ui| {
            ui.set_min_width(width);
            ui.add(egui::Label::new(text).truncate());
        })),
    }
    let speed =
        session.secs_per_iteration().map_or_else(String::new, |secs| format!("{:.1} it/s", 1.0 / secs.max(1e-9)));
    ui.add_sized([52.0, 18.0], egui::Label::new(speed))
        .on_hover_text("Iterations per second of all pictures together, running mean");
    let eta = session.eta_secs().map_or_else(String::new, |secs| format!("{} left", duration(secs)));
    ui.add_sized([68.0, 18.0], egui::Label::new(eta)).on_hover_text("Estimated time until the plan is done");
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
    ui.add(egui::Label::new(text).truncate())
        .on_hover_text(format!("Compute device: {} through {}", device.name, device.backend));
}
