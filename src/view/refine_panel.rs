//! Left, below: how to refine.

use egui::{RichText, Role, Ui};

use super::generate_panel::{Wish, model_ui, short_name};
use super::setting_row::setting_ui;
use super::top_bar::verb_button;
use super::{focus, theme, widgets};
use crate::parameter::{Choosable as _, Setting, marks, names};
use crate::refiner::settings::{EPS, ITERATIONS, STEP_SIZE};
use crate::refiner::{PRESETS, Preset, RefineSettings};
use crate::session::{Action, Session, Verb};

/// Width and height of the list of presets, in points.
const PRESETS_WIDTH: f32 = 300.0;
const PRESETS_HEIGHT: f32 = 460.0;

/// Draws the panel; edits go into `settings`.
pub fn refine_panel_ui(
    ui: &mut Ui,
    session: &Session,
    settings: &mut RefineSettings,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let mut wish = None;
    widgets::heading(ui, "Refine");
    widgets::grid("refine").show(ui, |ui| {
        presets_ui(ui, session.preset(), settings);
        wish = model_ui(ui, "Classifier", "classifier", &mut settings.classifier);
        ui.end_row();
        whose_ui(ui, session);
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

/// Whose numbers are shown: always said, so that what is below stays where it is when they become another's.
fn whose_ui(ui: &mut Ui, session: &Session) {
    let (chosen, judge) = (&session.settings().refine.classifier, session.whose_numbers());
    let about = match judge {
        Some(judge) => {
            format!(
                "The numbers and traces that are shown are those of {judge}. Run and Step begin with the one that is chosen."
            )
        }
        None => "Of which classifier the numbers and traces are that are shown".to_owned(),
    };
    let second = match judge {
        Some(judge) => whose(judge, chosen),
        None if session.shown_id().is_some() => "of this classifier".to_owned(),
        None => "none yet".to_owned(),
    };
    let tokens = theme::tokens(ui);
    let text = |words: String| match judge {
        Some(_) => RichText::new(words).small().color(tokens.warning),
        None => RichText::new(words).small().weak(),
    };
    for words in [egui::Label::new(text("Shown numbers".to_owned())), egui::Label::new(text(second)).truncate()] {
        let line = ui.add(words);
        widgets::tip(line, &about);
    }
}

/// In few words that it is another classifier that judged, also where its file has the name of the one that is chosen.
fn whose(judge: &str, chosen: &str) -> String {
    let name = short_name(judge);
    let another = if name == short_name(chosen) { "another " } else { "" };
    format!("of {another}{name}")
}

/// The published settings that are in force, or that these come from, and a list of all.
fn presets_ui(ui: &mut Ui, last: Option<&Preset>, settings: &mut RefineSettings) {
    let about = "Published settings; they replace everything here but the classifier";
    widgets::tip(ui.label("Preset"), about);
    let (text, changes) = provenance(last, settings);
    let combo = widgets::combo_box(ui, "preset").height(PRESETS_HEIGHT).selected_text(text).show_ui(ui, |ui| {
        ui.set_width(PRESETS_WIDTH);
        let note = "Each was published for its own model and size of picture: on others it may do little, or too much.";
        ui.add(egui::Label::new(RichText::new(note).weak().small()).wrap());
        for preset in PRESETS {
            let applied = preset.apply(settings);
            let is_chosen = applied == *settings;
            let label = ui.selectable_label(is_chosen, preset.label);
            ui.horizontal(|ui| {
                ui.add_space(ui.spacing().button_padding.x);
                ui.add(egui::Label::new(RichText::new(numbers(&applied)).weak().small()).truncate());
            });
            if widgets::tip(label, preset.tooltip()).clicked() {
                *settings = applied;
                ui.close();
            }
        }
        focus::scroll_to(ui);
    });
    let changes = if changes.is_empty() { about.to_owned() } else { format!("Changed: {}", changes.join(", ")) };
    widgets::name(&widgets::tip(combo.response, changes), Role::ComboBox, "Preset");
    ui.end_row();
}

/// Name of the preset that is in force, or of the last one that was, and what was changed since.
fn provenance(last: Option<&Preset>, settings: &RefineSettings) -> (String, Vec<String>) {
    let Some(preset) = last else { return ("Your own".to_owned(), Vec::new()) };
    let applied = preset.apply(settings);
    if applied == *settings {
        return (preset.label.to_owned(), Vec::new());
    }
    (format!("{}, changed", preset.label), marks(RefineSettings::TABLE, &applied, settings))
}

/// The numbers of a preset in one line.
fn numbers(settings: &RefineSettings) -> String {
    let wanted = [EPS.flag, STEP_SIZE.flag, ITERATIONS.flag];
    let is_wanted = |row: &Setting<RefineSettings>| row.set_by.is_none() && wanted.contains(&row.flag());
    let numbers = names(RefineSettings::TABLE, settings, is_wanted).join(", ");
    format!("{}, {numbers}", settings.objective.option().label)
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
    let Some((words, is_short)) = settings.reach_in_words() else { return };
    let text = RichText::new(words).small();
    let text = if is_short { text.color(theme::tokens(ui).warning) } else { text.weak() };
    let about = "Iterations × step size ÷ radius. Below 1 the picture cannot get to the edge of the ball; above, projection may hold it back.";
    widgets::tip(ui.add(egui::Label::new(text).wrap()), about);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classifier_whose_numbers_are_shown_is_told_from_one_of_its_name() {
        assert_eq!(whose("gtsrb12-joint", "gtsrb12-robust"), "of gtsrb12-joint");
        assert_eq!(whose("a/signs.pt", "b/signs.pt"), "of another signs.pt");
    }

    #[test]
    fn a_preset_is_named_with_what_was_changed_since() {
        let preset = &PRESETS[0];
        let as_it_is = preset.apply(&RefineSettings::default());
        let changed = RefineSettings { eps: 2.0 * as_it_is.eps, ..as_it_is.clone() };
        let own = RefineSettings { eps: 0.123, ..RefineSettings::default() };
        assert_eq!(provenance(None, &own).0, "Your own");
        assert_eq!(provenance(Some(preset), &as_it_is), (preset.label.to_owned(), Vec::new()));
        let (name, changes) = provenance(Some(preset), &changed);
        assert_eq!(name, format!("{}, changed", preset.label));
        assert!(changes.iter().any(|change| change.to_lowercase().contains("radius")), "{changes:?}");
    }
}
