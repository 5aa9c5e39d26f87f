//! Left, above: what to generate.

use eframe::egui::{self, Role, Ui};

use super::top_bar::verb_button;
use super::widgets;
use crate::checkpoint::{BUNDLED, bundled_manifest};
use crate::generator::settings::{SAMPLES, SEED, STEPS};
use crate::generator::{Classes, GenerateSettings};
use crate::session::{Action, Session, Verb};

/// What the panel wants besides edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A file for the generator.
    GeneratorFile,
    /// A file for the classifier.
    ClassifierFile,
}

/// Draws the panel; edits go into `settings`.
pub fn generate_panel_ui(
    ui: &mut Ui,
    session: &Session,
    settings: &mut GenerateSettings,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let mut wish = None;
    widgets::heading(ui, "Generate");
    egui::Grid::new("generate").num_columns(2).show(ui, |ui| {
        if model_ui(ui, "Generator", "generator", &mut settings.generator) {
            wish = Some(Wish::GeneratorFile);
        }
        ui.end_row();
        let mut samples = f64::from(settings.samples);
        widgets::number(ui, &SAMPLES, &mut samples);
        settings.samples = samples as u32;
        ui.end_row();
        let mut seed = settings.first_seed as f64;
        widgets::number(ui, &SEED, &mut seed);
        settings.first_seed = seed as u64;
        ui.end_row();
        classes_ui(ui, session, &mut settings.classes);
        ui.end_row();
        let mut steps = f64::from(settings.steps);
        widgets::number(ui, &STEPS, &mut steps);
        settings.steps = steps as u32;
        ui.end_row();
    });
    ui.add_space(4.0);
    verb_button(ui, session, Verb::Generate, Verb::Generate.label(), actions);
    wish
}

/// A list of the bundled models of one role, and "Open file…"; true when a file is wanted.
pub fn model_ui(ui: &mut Ui, label: &str, role: &str, reference: &mut String) -> bool {
    let mut wants_file = false;
    ui.label(label).on_hover_text(format!("The {role}: a bundled model, or a file of your own"));
    let short = reference.rsplit(['/', '\\']).next().unwrap_or(reference).to_owned();
    let combo = egui::ComboBox::from_id_salt(label).width(148.0).truncate().selected_text(short).show_ui(ui, |ui| {
        for bundled in &BUNDLED {
            let manifest = bundled_manifest(bundled);
            if manifest.role() == role {
                let about = format!("{}\n{}", manifest.source, manifest.licence);
                ui.selectable_value(reference, bundled.name.to_owned(), manifest.title).on_hover_text(about);
            }
        }
        wants_file = ui.button("Open file…").clicked();
    });
    let response = combo.response.on_hover_text(reference.as_str());
    widgets::name(&response, Role::ComboBox, label);
    wants_file
}

fn classes_ui(ui: &mut Ui, session: &Session, classes: &mut Classes) {
    let about = "Which class each picture gets: all in turn, drawn at random from its seed, or the ones you tick";
    ui.label("Classes").on_hover_text(about);
    let text = match classes {
        Classes::All => "All in turn".to_owned(),
        Classes::Random => "Random".to_owned(),
        Classes::Only(list) if list.len() == 1 => session.class_name(list[0]),
        Classes::Only(list) => format!("{} classes in turn", list.len()),
    };
    let combo = egui::ComboBox::from_id_salt("classes")
        .width(148.0)
        .truncate()
        .selected_text(text)
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .show_ui(ui, |ui| {
            if ui.selectable_label(*classes == Classes::All, "All in turn").clicked() {
                *classes = Classes::All;
            }
            if ui.selectable_label(*classes == Classes::Random, "Random").clicked() {
                *classes = Classes::Random;
            }
            ui.separator();
            for (class, name) in session.class_names().iter().enumerate() {
                let mut list = match classes {
                    Classes::Only(list) => list.clone(),
                    Classes::All | Classes::Random => Vec::new(),
                };
                let mut ticked = list.contains(&class);
                if ui.checkbox(&mut ticked, name).changed() {
                    list.retain(|other| *other != class);
                    if ticked {
                        list.push(class);
                    }
                    list.sort_unstable();
                    *classes = if list.is_empty() { Classes::All } else { Classes::Only(list) };
                }
            }
        });
    let response = combo.response.on_hover_text(about);
    widgets::name(&response, Role::ComboBox, "Classes");
}
