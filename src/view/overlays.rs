//! What lies above the panels: messages, questions, recovered sessions, and the list of shortcuts.

use egui::{Align2, Color32, RichText, Ui, vec2};

use super::{keys, theme};
use crate::session::{Action, Session, Severity, Verb};

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
            let age = crate::units::duration(orphan.age_secs as f64);
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
            if ui.button(question.yes).on_hover_text("Go on without saving").clicked() {
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
            ui.label("Hold V to see every picture as it was before.");
            ui.label("Canvas: wheel zooms at the pointer, drag pans, double click fits, drag the handle to wipe.");
            ui.label("Mask: drag paints, the secondary button erases, [ and ] change the brush, space or the middle button pans.");
            ui.label("Drop picture or .npz files to use them as \"before\", or a .lapidary file to open it.");
        });
        ui.add_space(6.0);
        ui.button("Close").clicked()
    });
    *open = !(modal.should_close() || modal.inner);
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
