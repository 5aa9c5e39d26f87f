//! What lies above the panels: messages, questions, recovered sessions, the list of shortcuts, and asking for a path.

use std::path::PathBuf;

use crossbeam::channel::{Receiver, Sender};
use eframe::egui::{self, Align2, Color32, RichText, Ui, vec2};

use super::{keys, theme};
use crate::session::{Action, Detail, Session, Severity, Verb};

/// Messages that are shown at once.
const SHOWN_NOTICES: usize = 4;
/// Seconds after which a message that is only good to know goes away.
const INFO_SECS: f64 = 6.0;

/// When each message was first seen, so that small ones can go away.
#[derive(Default)]
pub struct NoticeTimes(Vec<(u64, f64)>);

/// Draws the newest messages above the timeline.
pub fn notices_ui(ui: &Ui, session: &Session, times: &mut NoticeTimes, bottom: f32, actions: &mut Vec<Action>) {
    let list = session.notices.list();
    times.0.retain(|(id, _)| list.iter().any(|notice| notice.id == *id));
    if list.is_empty() {
        return;
    }
    let now = ui.input(|input| input.time);
    let tokens = theme::tokens(ui);
    egui::Area::new(egui::Id::unique("notices"))
        .anchor(Align2::RIGHT_BOTTOM, vec2(-12.0 - theme::SAMPLE_WIDTH, -bottom - 12.0))
        .show(ui.ctx(), |ui| {
            ui.set_max_width(420.0);
            for notice in list.iter().rev().take(SHOWN_NOTICES).rev() {
                let color = match notice.severity {
                    Severity::Info => tokens.info,
                    Severity::Warning => tokens.warning,
                    Severity::Error => tokens.error,
                };
                if !times.0.iter().any(|(id, _)| *id == notice.id) {
                    times.0.push((notice.id, now));
                }
                let since = times.0.iter().find(|(id, _)| *id == notice.id).map_or(now, |(_, since)| *since);
                if notice.severity == Severity::Info {
                    if now - since > INFO_SECS {
                        actions.push(Action::Dismiss(notice.id));
                    }
                    ui.ctx().request_repaint_after_secs((INFO_SECS - (now - since)).max(0.1) as f32);
                }
                egui::Frame::window(ui.style()).inner_margin(8.0).show(ui, |ui| {
                    ui.horizontal_top(|ui| {
                        ui.colored_label(color, "●");
                        ui.vertical(|ui| {
                            ui.set_width(352.0);
                            let count = if notice.count > 1 { format!("  ×{}", notice.count) } else { String::new() };
                            ui.label(RichText::new(format!("{}{count}", notice.title)).strong());
                            for line in &notice.details {
                                ui.label(RichText::new(line).small());
                            }
                        });
                        if ui.small_button("×").on_hover_text("Dismiss this message").clicked() {
                            actions.push(Action::Dismiss(notice.id));
                        }
                    });
                });
            }
        });
}

/// Offers what a crash left behind.
pub fn orphans_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    for orphan in session.orphans() {
        ui.horizontal(|ui| {
            let age = super::widgets::duration(orphan.age_secs as f64);
            ui.label(format!("A session with {} states was not saved {age} ago.", orphan.states));
            if ui.button("Recover").on_hover_text("Open it, every finished iteration is there").clicked() {
                actions.push(Action::Recover(orphan.folder.clone()));
            }
            if ui.button("Discard").on_hover_text("Delete it for good").clicked() {
                actions.push(Action::Discard(orphan.folder.clone()));
            }
        });
    }
}

/// Asks before unsaved work is replaced.
pub fn question_ui(ui: &Ui, session: &Session, actions: &mut Vec<Action>) {
    let Some(question) = session.question() else { return };
    let modal = egui::Modal::new(egui::Id::unique("question")).show(ui.ctx(), |ui| {
        ui.set_width(320.0);
        ui.label(RichText::new(question.title).heading());
        ui.add_space(4.0);
        ui.label(&question.text);
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            if ui.button("Keep").on_hover_text("Go back; nothing changes").clicked() {
                actions.push(Action::Cancel);
            }
            if question.can_save && ui.button("Save first").on_hover_text("Go back and save the session").clicked() {
                actions.push(Action::Cancel);
                actions.push(Action::Do(Verb::Save));
            }
            if ui.button("Replace").on_hover_text("Go on without saving").clicked() {
                actions.push(Action::Confirm);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::Cancel);
    }
}

/// The list of shortcuts; `open` is cleared when it is closed.
pub fn help_ui(ui: &Ui, open: &mut bool) {
    if !*open {
        return;
    }
    let modal = egui::Modal::new(egui::Id::unique("help")).show(ui.ctx(), |ui| {
        ui.set_width(620.0);
        ui.label(RichText::new("Keys and what they do").heading());
        ui.add_space(4.0);
        let height = (ui.ctx().content_rect().height() - 160.0).max(120.0);
        let list =
            egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([false, false]);
        list.show(ui, |ui| {
            egui::Grid::new("keys").num_columns(3).striped(true).show(ui, |ui| {
                for verb in Verb::ALL {
                    ui.label(RichText::new(keys::text(verb).unwrap_or_default()).monospace());
                    ui.label(RichText::new(verb.label()).strong());
                    ui.add(egui::Label::new(verb.about()).wrap());
                    ui.end_row();
                }
            });
            ui.add_space(6.0);
            ui.label("Canvas: wheel zooms at the pointer, drag pans, double click fits, drag the handle to wipe.");
            ui.label("Mask: drag paints, the secondary button erases, [ and ] change the brush, space or the middle button pans.");
            ui.label("Drop picture or .npz files to use them as \"before\", or a .lapidary file to open it.");
        });
        ui.add_space(6.0);
        ui.button("Close").clicked()
    });
    *open = !(modal.should_close() || modal.inner);
}

/// What a path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session to open.
    OpenSession,
    /// Pictures to open.
    OpenPictures,
    /// Real pictures for early stopping.
    References,
    /// Where to save.
    SaveSession,
    /// Weights of a generator.
    Generator,
    /// A generator's folder, as diffusers writes it.
    GeneratorFolder,
    /// Weights of a classifier.
    Classifier,
}

/// What the system's dialog gave, and what it was opened for.
type Picked = (Purpose, Vec<PathBuf>);

/// Asking for a path: typed, or through the system's dialog on a thread of its own.
pub struct PathDialog {
    purpose: Option<Purpose>,
    /// It was opened just now.
    is_new: bool,
    text: String,
    detail: Detail,
    picked: (Sender<Picked>, Receiver<Picked>),
}

impl Default for PathDialog {
    fn default() -> Self {
        Self {
            purpose: None,
            is_new: false,
            text: String::new(),
            detail: Detail::Full,
            picked: crossbeam::channel::bounded(4),
        }
    }
}

/// An answer: what for, which paths, and how much to save.
pub type Answer = (Purpose, Vec<PathBuf>, Detail);

impl PathDialog {
    /// Whether it waits for an answer.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.purpose.is_some()
    }

    /// Opens the dialog with a suggestion.
    pub fn ask(&mut self, purpose: Purpose, suggestion: String) {
        (self.purpose, self.is_new) = (Some(purpose), true);
        self.text = suggestion;
    }

    /// Draws the dialog while it is open; returns the answer once.
    pub fn ui(&mut self, ui: &Ui) -> Option<Answer> {
        let purpose = self.purpose?;
        while let Ok((picked_for, paths)) = self.picked.1.try_recv() {
            // The dialog of an earlier question may answer late.
            if picked_for != purpose {
                continue;
            }
            let list: Vec<_> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            self.text = list.join("; ");
        }
        let (title, action) = match purpose {
            Purpose::OpenSession => ("Open session", "Open"),
            Purpose::OpenPictures => ("Open images as \"before\"", "Open"),
            Purpose::References => ("Open real pictures as references", "Open"),
            Purpose::SaveSession => ("Save session", "Save file"),
            Purpose::Generator => ("Open generator weights", "Open"),
            Purpose::GeneratorFolder => ("Open generator folder", "Open"),
            Purpose::Classifier => ("Open classifier weights", "Open"),
        };
        let mut done = false;
        let modal = egui::Modal::new(egui::Id::unique("path")).show(ui.ctx(), |ui| {
            ui.set_width(460.0);
            ui.label(RichText::new(title).heading());
            ui.add_space(4.0);
            ui.horizontal(|ui| {
                let label = ui.label("Path");
                let edit = egui::TextEdit::singleline(&mut self.text).desired_width(318.0);
                let response = ui.add(edit).labelled_by(label.id);
                if std::mem::take(&mut self.is_new) {
                    response.request_focus();
                }
                done |= response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
                if ui.button("Browse…").on_hover_text("Choose with the system's dialog").clicked() {
                    browse(purpose, self.picked.0.clone(), ui.ctx().clone());
                }
            });
            match purpose {
                Purpose::SaveSession => {
                    ui.radio_value(&mut self.detail, Detail::Full, "Every iterate");
                    ui.radio_value(
                        &mut self.detail,
                        Detail::Small,
                        "Small: origins, all numbers, and the last iterate",
                    );
                }
                Purpose::OpenSession => {}
                _ => drop(ui.label(RichText::new(path_hint(purpose)).weak())),
            }
            ui.add_space(6.0);
            ui.horizontal(|ui| {
                let ready = !self.text.trim().is_empty();
                done |= ui.add_enabled(ready, egui::Button::new(action)).clicked();
                ui.button("Cancel").clicked()
            })
            .inner
        });
        if modal.inner || modal.should_close() {
            self.purpose = None;
            return None;
        }
        if !done || self.text.trim().is_empty() {
            return None;
        }
        self.purpose = None;
        let paths = if matches!(purpose, Purpose::OpenPictures | Purpose::References) {
            self.text.split(';').map(|part| PathBuf::from(part.trim())).collect()
        } else {
            vec![PathBuf::from(self.text.trim())]
        };
        Some((purpose, paths, self.detail))
    }
}

/// What a path may be.
const fn path_hint(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::OpenPictures => "Pictures or .npz files; several paths are separated by ;",
        Purpose::References => {
            "Real pictures, paired with the generated ones by their order; several paths are separated by ;"
        }
        Purpose::Generator | Purpose::Classifier => {
            "A .safetensors or .pt file with a .toml manifest beside it (see README)"
        }
        Purpose::GeneratorFolder => "A folder that diffusers wrote, with unet/config.json or config.json",
        Purpose::OpenSession | Purpose::SaveSession => "",
    }
}

/// The system's dialog, on a thread of its own: the window goes on.
fn browse(purpose: Purpose, picked: Sender<Picked>, ctx: egui::Context) {
    let spawned = std::thread::Builder::new().name("lapidary-dialog".to_owned()).spawn(move || {
        let dialog = rfd::AsyncFileDialog::new();
        let session = ["lapidary", "json"];
        let weights = ["safetensors", "pt", "pth", "toml"];
        let one = |file: rfd::FileHandle| vec![file.path().to_owned()];
        let paths = match purpose {
            Purpose::OpenSession => {
                pollster::block_on(dialog.add_filter("Lapidary session", &session).pick_file()).map(one)
            }
            Purpose::SaveSession => {
                let dialog = dialog.add_filter("Lapidary session", &session[..1]).set_file_name("session.lapidary");
                pollster::block_on(dialog.save_file()).map(one)
            }
            Purpose::Generator | Purpose::Classifier => {
                pollster::block_on(dialog.add_filter("Weights", &weights).pick_file()).map(one)
            }
            Purpose::GeneratorFolder => pollster::block_on(dialog.pick_folder()).map(one),
            Purpose::OpenPictures | Purpose::References => pollster::block_on(dialog.pick_files())
                .map(|files| files.iter().map(|file| file.path().to_owned()).collect()),
        };
        if let Some(paths) = paths {
            if picked.try_send((purpose, paths)).is_err() {
                tracing::warn!("the dialog was closed before a file was chosen");
            }
            ctx.request_repaint();
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "the system's dialog could not be opened");
    }
}

/// A plate over the window while files hover above it.
pub fn drop_hint_ui(ui: &Ui) {
    if ui.input(|input| input.raw.hovered_files.is_empty()) {
        return;
    }
    let painter = ui.ctx().layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop")));
    let rect = ui.ctx().content_rect();
    painter.rect_filled(rect, 0.0, Color32::BLACK.gamma_multiply(0.6));
    let text = "Drop pictures to use them as \"before\", or a session to open it";
    painter.text(rect.center(), Align2::CENTER_CENTER, text, egui::FontId::proportional(20.0), Color32::WHITE);
}
