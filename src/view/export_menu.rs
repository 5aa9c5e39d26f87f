//! What can be taken out of the window, as menus.

use egui::Ui;

use crate::session::{Action, Export, Session};

/// Draws the menu of everything; of a sample, the one that is on the canvas or marked in the grid.
pub fn export_menu_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    let has_run = session.shown_id().is_some();
    let menu = ui.menu_button("Export", |ui| {
        ui.add_enabled_ui(session.origins().is_some(), |ui| {
            sample_menu_ui(ui, session, session.focused(), actions);
            ui.separator();
            item(ui, "Save contact sheet…", "All pairs on one picture (PNG)", Export::Sheet, actions);
            let about = format!(
                "Pictures, classes and logits of what is shown, iteration {}, as NumPy arrays (npz)",
                session.shown()
            );
            item(ui, "Save results…", &about, Export::Results, actions);
        });
        ui.add_enabled_ui(has_run, |ui| {
            let about = "One row per sample and iteration of the run that is shown (CSV)";
            item(ui, "Save trace…", about, Export::Trace, actions);
        });
        ui.separator();
        let about = "The settings that led to what is shown, as text for a caption";
        item(ui, "Copy settings", about, Export::CopySettings, actions);
    });
    menu.response.on_hover_text("Copy or save pictures, numbers and settings");
}

/// Draws what can be done with one sample.
pub fn sample_menu_ui(ui: &mut Ui, session: &Session, sample: usize, actions: &mut Vec<Action>) {
    let name = format!("sample {sample}, iteration {}", session.shown());
    let about = |what: &str| format!("{what} ({name})");
    item(ui, "Copy picture after", &about("The picture after, pixel by pixel"), Export::CopyPicture(sample), actions);
    item(ui, "Copy pair", &about("Before and after side by side"), Export::CopyPair(sample), actions);
    item(ui, "Save pair…", &about("Before and after side by side, PNG"), Export::Pair(sample), actions);
}

fn item(ui: &mut Ui, label: &str, about: &str, export: Export, actions: &mut Vec<Action>) {
    if ui.button(label).on_hover_text(about).clicked() {
        actions.push(Action::Export(export));
        ui.close();
    }
}
