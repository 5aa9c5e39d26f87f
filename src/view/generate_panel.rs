//! Left, above: what to generate.

use std::sync::Arc;

use egui::{RichText, Role, Ui};

use super::setting_row::setting_ui;
use super::top_bar::verb_ui;
use super::ts_field::TsField;
use super::{theme, widgets};
use crate::generator::{Classes, GenerateSettings};
use crate::origins::Origins;
use crate::parameter::{Kind, marks};
use crate::session::{Action, Session, Verb};
use crate::zoo::{BUNDLED, bundled_manifest};

/// What the panel wants besides edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A file for the generator.
    GeneratorFile,
    /// A folder for the generator, as diffusers writes them.
    GeneratorFolder,
    /// A file for the classifier.
    ClassifierFile,
    /// A file for the judge of the numbers beside a run.
    JudgeFile,
    /// A file of real pictures, or of what was seen of them, for these numbers.
    RealFile,
    /// A folder of real pictures for them.
    RealFolder,
    /// A file that describes a training.
    TrainingFile,
    /// The folder of a training.
    TrainingFolder,
}

/// Draws the panel; edits go into `settings`.
pub fn generate_panel_ui(
    ui: &mut Ui,
    session: &Session,
    settings: &mut GenerateSettings,
    ts: &mut TsField,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let mut wish = None;
    widgets::heading(ui, "Generate");
    widgets::grid("generate").show(ui, |ui| {
        for row in GenerateSettings::TABLE.iter().filter(|row| !row.is_rare) {
            match row.label() {
                "Generator" => {
                    wish = model_ui(ui, "Generator", "generator", &mut settings.generator);
                    ui.end_row();
                }
                "Classes" => {
                    classes_ui(ui, session, &mut settings.classes);
                    ui.end_row();
                }
                _ => setting_ui(ui, row, settings),
            }
        }
    });
    widgets::section(ui, "Sampler", |ui| sampler_ui(ui, settings, ts));
    ui.add_space(4.0);
    let changes = not_generated(session.origins().map(Arc::as_ref), settings);
    let is_next = session.origins().is_none() || !changes.is_empty();
    let label = Verb::Generate.label();
    let button = if is_next { widgets::primary(ui, label) } else { egui::Button::new(label) };
    // Beside it: what is below stays where it is.
    ui.horizontal(|ui| {
        verb_ui(ui, session, (Verb::Generate, button), actions);
        if !changes.is_empty() {
            let words = format!("Not generated yet: {}", changes.join(", "));
            let text = RichText::new(&words).small().color(theme::tokens(ui).warning);
            widgets::tip(ui.add(egui::Label::new(text).truncate()), words);
        }
    });
    wish
}

/// What the pictures that are shown were made with otherwise, in words; nothing for pictures that were opened.
fn not_generated(origins: Option<&Origins>, settings: &GenerateSettings) -> Vec<String> {
    let Some((origins, mut made_by)) = origins.and_then(|origins| Some((origins, origins.made_by.clone()?))) else {
        return Vec::new();
    };
    // Stopped on the way, there are fewer than were asked for; an edit makes as many as it was given.
    if origins.edited.is_none() {
        made_by.samples = origins.labels.len() as u32;
    }
    marks(GenerateSettings::TABLE, &made_by, settings)
}

/// Which sampler, at which levels, with how much noise.
fn sampler_ui(ui: &mut Ui, settings: &mut GenerateSettings, ts: &mut TsField) {
    widgets::grid("sampler").show(ui, |ui| {
        for row in GenerateSettings::TABLE.iter().filter(|row| row.is_rare) {
            match row.kind {
                Kind::Text(_) => {
                    ts.ui(ui, &mut settings.ts);
                    ui.end_row();
                }
                _ => setting_ui(ui, row, settings),
            }
        }
    });
    if settings.ts.is_some() {
        // One of the two lists decides.
        settings.sigmas.clear();
    }
}

/// A list of the bundled models of one role, "Open file…", and for generators "Open folder…".
pub fn model_ui(ui: &mut Ui, label: &str, role: &str, reference: &mut String) -> Option<Wish> {
    let mut wish = None;
    widgets::tip(ui.label(label), format!("The {role}: a bundled model, or a file of your own"));
    let combo = widgets::combo_box(ui, label).selected_text(short_name(reference)).show_ui(ui, |ui| {
        for bundled in &BUNDLED {
            let manifest = bundled_manifest(bundled);
            if manifest.role() == role {
                let about = format!("{}\n{}", manifest.source, manifest.licence);
                widgets::tip(ui.selectable_value(reference, bundled.name.to_owned(), manifest.title), about);
            }
        }
        let is_generator = role == "generator";
        let about = "Weights in a file of PyTorch or safetensors";
        if widgets::tip(ui.button("Open file…"), about).clicked() {
            wish = Some(if is_generator { Wish::GeneratorFile } else { Wish::ClassifierFile });
        }
        let about = "A folder that diffusers wrote, with unet/config.json or config.json";
        if is_generator && widgets::tip(ui.button("Open folder…"), about).clicked() {
            wish = Some(Wish::GeneratorFolder);
        }
    });
    let response = widgets::tip(combo.response, reference.as_str());
    widgets::name(&response, Role::ComboBox, label);
    wish
}

/// The last part of a path; of a training's checkpoint its step, too.
#[must_use]
pub fn short_name(reference: &str) -> String {
    let mut parts = reference.rsplit(['/', '\\']).filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or(reference);
    let step = parts.next().and_then(|folder| folder.strip_prefix("step_")?.parse::<u64>().ok());
    step.map_or_else(|| name.to_owned(), |step| format!("step {step}, {}", name.trim_end_matches(".toml")))
}

fn classes_ui(ui: &mut Ui, session: &Session, classes: &mut Classes) {
    let about = "Which class each picture gets: all in turn, drawn at random from its seed, or the ones you tick";
    widgets::tip(ui.label("Classes"), about);
    let text = match classes {
        Classes::All => "All in turn".to_owned(),
        Classes::Random => "Random".to_owned(),
        Classes::Only(list) if list.len() == 1 => {
            session.generator_classes().get(list[0]).cloned().unwrap_or_else(|| format!("class {}", list[0]))
        }
        Classes::Only(list) => format!("{} classes in turn", list.len()),
    };
    let combo = widgets::combo_box(ui, "classes")
        .height(widgets::POPUP_HEIGHT)
        .selected_text(text)
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .show_ui(ui, |ui| {
            for (choice, label, about) in [
                (Classes::All, "All in turn", "Picture 0 gets class 0, picture 1 class 1, and so on"),
                (Classes::Random, "Random", "Each picture's seed decides its class"),
            ] {
                if widgets::tip(ui.selectable_label(*classes == choice, label), about).clicked() {
                    *classes = choice;
                }
            }
            ui.separator();
            widgets::class_rows(ui, session.generator_classes(), |ui, class, name| {
                let mut ticked = matches!(&*classes, Classes::Only(list) if list.contains(&class));
                if ui.checkbox(&mut ticked, name).changed() {
                    *classes = toggled(classes, class);
                }
            });
        });
    widgets::name(&widgets::tip(combo.response, about), Role::ComboBox, "Classes");
}

/// The choice with one class ticked or not; none ticked means all.
fn toggled(classes: &Classes, class: usize) -> Classes {
    let mut list = match classes {
        Classes::Only(list) => list.clone(),
        Classes::All | Classes::Random => Vec::new(),
    };
    let count = list.len();
    list.retain(|other| *other != class);
    if list.len() == count {
        list.push(class);
    }
    list.sort_unstable();
    if list.is_empty() { Classes::All } else { Classes::Only(list) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;

    #[test]
    fn pictures_that_a_stop_left_out_are_not_generated_yet() {
        let settings = GenerateSettings::default();
        let images = ImageBatch::new([2, 1, 1, 1], vec![0.5; 2]);
        let made_by = Some(settings.clone());
        let stopped = Origins { made_by, ..Origins::opened(images, vec![0; 2], Vec::new()) };
        assert_eq!(not_generated(Some(&stopped), &settings), ["samples 2 → 16"]);
        let as_made = GenerateSettings { samples: 2, ..settings.clone() };
        assert!(not_generated(Some(&stopped), &as_made).is_empty());
        let opened = Origins { made_by: None, ..stopped };
        assert!(not_generated(Some(&opened), &settings).is_empty() && not_generated(None, &settings).is_empty());
    }

    #[test]
    fn a_model_is_called_by_its_file_and_a_checkpoint_by_its_step() {
        for (reference, name) in [
            ("gtsrb12-cm", "gtsrb12-cm"),
            ("/home/me/signs.pt", "signs.pt"),
            ("C:\\models\\folder\\", "folder"),
            ("run/checkpoints/step_00002000/ema_0.9.toml", "step 2000, ema_0.9"),
        ] {
            assert_eq!(short_name(reference), name);
        }
    }

    #[test]
    fn ticking_adds_a_class_and_ticking_again_takes_it_away() {
        let one = toggled(&Classes::Random, 7);
        let two = toggled(&one, 3);
        assert_eq!(two, Classes::Only(vec![3, 7]));
        assert_eq!(toggled(&two, 7), Classes::Only(vec![3]));
        assert_eq!(toggled(&one, 7), Classes::All);
    }
}
