//! The centre before there are pictures: what this is, and what to do next.

use egui::{RichText, Ui};

use super::widgets;
use crate::session::{Action, Activity, Session, Verb};

/// What the program is for, in one sentence.
pub const PURPOSE: &str = "Lapidary makes pictures with a generator and refines them, step by step, with a classifier that \
     was trained against attacks, so that you see each picture before and after, and every number on the way.";

/// Draws the centre before there are pictures.
pub fn empty_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    ui.vertical_centered(|ui| {
        ui.set_max_width(ui.available_width().min(460.0));
        ui.add_space((ui.available_height() * 0.25).max(20.0));
        match session.activity() {
            Activity::Generating { .. } | Activity::Preparing { .. } | Activity::Loading { .. } => {
                ui.spinner();
                ui.add_space(6.0);
                ui.label(RichText::new("The first pictures are on their way").heading());
            }
            Activity::Held { .. } => {
                ui.label(RichText::new("The first pictures are held").heading());
                ui.label("Press Resume above to go on making them, or Stop to give them up.");
            }
            Activity::Failed => {
                ui.label(RichText::new("That did not work").heading());
                ui.label("The message below says why. Change the setting it names and press Generate.");
            }
            Activity::Crashed(_) => {
                ui.label(RichText::new("The compute thread crashed").heading());
                ui.label("Press Restart compute above; your settings are still here.");
            }
            _ => {
                ui.label(RichText::new("No pictures yet").heading());
                ui.add_space(4.0);
                ui.label("1. Generate some with the settings on the left, or open your own.");
                ui.label("2. Press Run (space) to refine them, and watch.");
                ui.add_space(10.0);
                let generate = widgets::primary(ui, "Generate pictures");
                if ui.add_enabled(session.can(Verb::Generate), generate).clicked() {
                    actions.push(Action::Do(Verb::Generate));
                }
                ui.add_space(4.0);
                for verb in [Verb::OpenImages, Verb::Open] {
                    if ui.add_enabled(session.can(verb), egui::Button::new(verb.label())).clicked() {
                        actions.push(Action::Do(verb));
                    }
                }
            }
        }
        ui.add_space(18.0);
        ui.label(RichText::new(PURPOSE).weak());
    });
}
