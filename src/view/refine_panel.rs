//! Left, below: how to refine.

use egui::{RichText, Ui};

use super::generate_panel::{Wish, model_ui};
use super::setting_row::setting_ui;
use super::top_bar::verb_button;
use super::{theme, widgets};
use crate::refiner::{Norm, PRESETS, RefineSettings};
use crate::session::{Action, Session, Verb};

/// Height of the list of presets, in points.
const PRESETS_HEIGHT: f32 = 420.0;

/// Draws the panel; edits go into `settings`.
pub fn refine_panel_ui(
    ui: &mut Ui,
    session: &Session,
    settings: &mut RefineSettings,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let mut wish = None;
    widgets::heading_with(ui, "Refine", |ui| presets_ui(ui, settings));
    widgets::grid("refine").show(ui, |ui| {
        wish = model_ui(ui, "Classifier", "classifier", &mut settings.classifier);
        ui.end_row();
        rows_ui(ui, settings, false);
    });
    reach_ui(ui, settings);
    widgets::section(ui, "More", |ui| more_ui(ui, session, settings, actions));
    wish
}

fn rows_ui(ui: &mut Ui, settings: &mut RefineSettings, rare: bool) {
    for row in RefineSettings::TABLE.iter().filter(|row| row.is_rare == rare) {
        setting_ui(ui, row, settings);
    }
}

/// A list of published settings; the one that is in force is marked.
fn presets_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    let menu = ui.menu_button("Presets", |ui| {
        egui::ScrollArea::vertical().max_height(PRESETS_HEIGHT).show(ui, |ui| {
            for preset in PRESETS {
                let applied = preset.apply(settings);
                let is_chosen = applied == *settings;
                if ui.selectable_label(is_chosen, preset.label).on_hover_text(preset.tooltip()).clicked() {
                    *settings = applied;
                    ui.close();
                }
            }
        });
    });
    menu.response.on_hover_text("Published settings; they replace everything here but the classifier");
}

/// What few users need.
fn more_ui(ui: &mut Ui, session: &Session, settings: &mut RefineSettings, actions: &mut Vec<Action>) {
    widgets::grid("refine more").show(ui, |ui| rows_ui(ui, settings, true));
    let text = match session.reference_count() {
        0 if settings.early_stop => RichText::new("No references yet: nothing stops").color(theme::tokens(ui).warning),
        0 => RichText::new("No references").weak(),
        1 => RichText::new("1 reference"),
        n => RichText::new(format!("{n} references")),
    };
    ui.label(text.small());
    verb_button(ui, session, Verb::OpenReferences, Verb::OpenReferences.label(), actions);
}

/// Whether the planned steps can use the radius at all.
fn reach_ui(ui: &mut Ui, settings: &RefineSettings) {
    let tokens = theme::tokens(ui);
    let pixel = match settings.norm {
        Norm::L2 => String::new(),
        Norm::Linf => format!("ε = {:.2}/255, ", settings.eps * 255.0),
    };
    let Some((reach, short)) = settings.reach_in_words() else { return };
    let text = RichText::new(format!("{pixel}{reach}"));
    let text = if short { text.color(tokens.warning) } else { text };
    ui.label(text.small()).on_hover_text(
        "Iterations × step size ÷ radius. Below 1 the picture cannot get to the edge of the ball; above, projection may hold it back.",
    );
}
