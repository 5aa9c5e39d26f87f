//! What lies above the panels: messages, recovered sessions, and the list of shortcuts.

use egui::{Align2, Color32, RichText, Ui, vec2};

use super::empty::PURPOSE;
use super::{keys, theme};
use crate::session::{Action, Notice, Session, Severity, Verb};

/// Messages that are shown at once.
const SHOWN_NOTICES: usize = 4;
/// Width of the messages, in points.
const NOTICE_WIDTH: f32 = 420.0;

/// Seconds that a message is shown: then what is only good to know goes away, and the others are folded.
const fn life_secs(severity: Severity) -> f64 {
    match severity {
        Severity::Info => 6.0,
        Severity::Warning => 20.0,
        Severity::Error => 40.0,
    }
}

/// A message that was seen.
struct Seen {
    id: u64,
    /// How often it had come.
    count: u32,
    /// When it was shown last.
    since: f64,
}

/// When each message was first seen, so that they do not lie on the pictures for ever.
#[derive(Default)]
pub struct NoticeTimes(Vec<Seen>);

impl NoticeTimes {
    /// The messages to show at `now`, and the number of those that are folded.
    fn open<'a>(&mut self, list: &'a [Notice], now: f64) -> (Vec<&'a Notice>, usize) {
        self.0.retain(|seen| list.iter().any(|notice| notice.id == seen.id));
        for notice in list {
            match self.0.iter_mut().find(|seen| seen.id == notice.id) {
                Some(seen) if seen.count == notice.count => {}
                // It came again.
                Some(seen) => (seen.count, seen.since) = (notice.count, now),
                None => self.0.push(Seen { id: notice.id, count: notice.count, since: now }),
            }
        }
        let is_open = |notice: &&Notice| self.left(notice, now) > 0.0;
        let open: Vec<_> = list.iter().filter(is_open).collect();
        let first = open.len().saturating_sub(SHOWN_NOTICES);
        (open[first..].to_vec(), list.len() - open.len())
    }

    /// Seconds for which a message is still shown.
    fn left(&self, notice: &Notice, now: f64) -> f64 {
        let since = self.0.iter().find(|seen| seen.id == notice.id).map_or(now, |seen| seen.since);
        life_secs(notice.severity) - (now - since)
    }

    /// All messages are shown again, from `now` on.
    fn unfold(&mut self, now: f64) {
        self.0.iter_mut().for_each(|seen| seen.since = now);
    }
}

/// Draws the newest messages above the timeline; those that were there long enough are a button that brings them back.
pub fn notices_ui(ui: &Ui, session: &Session, times: &mut NoticeTimes, bottom: f32, actions: &mut Vec<Action>) {
    let now = ui.input(|input| input.time);
    let list = session.notices.list();
    let (open, folded) = times.open(list, now);
    if list.is_empty() {
        return;
    }
    let area = egui::Area::new(egui::Id::unique("notices"));
    let area = area.anchor(Align2::RIGHT_BOTTOM, vec2(-12.0 - theme::SAMPLE_WIDTH, -bottom - 12.0));
    let shown = area.show(ui.ctx(), |ui| {
        ui.set_max_width(NOTICE_WIDTH);
        if folded > 0 {
            let text = if folded == 1 { "1 earlier message".to_owned() } else { format!("{folded} earlier messages") };
            let button = ui.button(RichText::new(text).small()).on_hover_text("Show them again");
            if button.clicked() {
                times.unfold(now);
            }
        }
        for notice in &open {
            notice_ui(ui, notice, actions);
        }
    });
    // What is being read stays.
    if shown.response.contains_pointer() {
        for notice in &open {
            let seen = times.0.iter_mut().filter(|seen| seen.id == notice.id);
            seen.for_each(|seen| seen.since = seen.since.max(now - 0.5 * life_secs(notice.severity)));
        }
    }
    let is_gone = |notice: &&Notice| notice.severity == Severity::Info && times.left(notice, now) <= 0.0;
    actions.extend(list.iter().filter(is_gone).map(|notice| Action::Dismiss(notice.id)));
    if let Some(left) = open.iter().map(|notice| times.left(notice, now)).min_by(f64::total_cmp) {
        ui.ctx().request_repaint_after_secs(left.max(0.1) as f32);
    }
}

fn notice_ui(ui: &mut Ui, notice: &Notice, actions: &mut Vec<Action>) {
    let tokens = theme::tokens(ui);
    let color = match notice.severity {
        Severity::Info => tokens.info,
        Severity::Warning => tokens.warning,
        Severity::Error => tokens.error,
    };
    egui::Frame::window(ui.style()).inner_margin(8.0).show(ui, |ui| {
        ui.horizontal_top(|ui| {
            ui.colored_label(color, "●");
            ui.vertical(|ui| {
                ui.set_width(NOTICE_WIDTH - 68.0);
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

/// Offers what a crash left behind.
pub fn orphans_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    for orphan in session.orphans() {
        ui.horizontal(|ui| {
            let age = crate::units::duration(orphan.age_secs as f64);
            let states = if orphan.states == 1 { "1 state".to_owned() } else { format!("{} states", orphan.states) };
            ui.label(format!("Lapidary ended {age} ago and left a session with {states} that no file holds."));
            if ui.button("Recover").on_hover_text("Open it, every finished iteration is there").clicked() {
                actions.push(Action::Recover(orphan.folder.clone()));
            }
            if ui.button("Discard…").on_hover_text("Delete it; you are asked first").clicked() {
                actions.push(Action::Discard(orphan.folder.clone()));
            }
        });
    }
}

/// The list of shortcuts; `open` is cleared when it is closed.
pub fn help_ui(ui: &Ui, open: &mut bool) {
    if !*open {
        return;
    }
    let modal = egui::Modal::new(egui::Id::unique("help")).show(ui.ctx(), |ui| {
        ui.set_width(620.0);
        ui.label(PURPOSE);
        ui.add_space(6.0);
        ui.label(RichText::new("Keys and what they do").heading());
        ui.add_space(4.0);
        let height = (ui.ctx().content_rect().height() - 210.0).max(120.0);
        let list =
            egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([false, false]);
        list.show(ui, |ui| {
            for (place, verb) in Verb::ALL.iter().enumerate() {
                key_ui(ui, *verb, place % 2 == 1);
            }
            ui.add_space(6.0);
            ui.label("Hold V to see every picture as it was before.");
            ui.label("Canvas: wheel zooms at the pointer, drag pans, double click fits, drag the handle to wipe.");
            ui.label("Mask: drag paints, the secondary button erases, [ and ] change the brush, space or the middle button pans.");
            ui.label("Numbers: drag, or click and type; 8/255 is understood, for the step size also 0.1x and 10% of the radius.");
            ui.label("Drop picture or .npz files to use them as \"before\", or a .lapidary file to open it.");
            if cfg!(target_os = "linux") {
                ui.label("Under Wayland nothing can be dropped on the window yet: use File, Open images.");
            }
        });
        ui.add_space(6.0);
        ui.button("Close").clicked()
    });
    *open = !(modal.should_close() || modal.inner);
}

/// A line of the list: its columns are where they are from the first frame on.
fn key_ui(ui: &mut Ui, verb: Verb, is_striped: bool) {
    let fill = if is_striped { ui.visuals().faint_bg_color } else { Color32::TRANSPARENT };
    egui::Frame::NONE.fill(fill).inner_margin(egui::Margin::symmetric(4, 2)).show(ui, |ui| {
        ui.horizontal_top(|ui| {
            let cell = |ui: &mut Ui, width: f32, text: RichText| {
                ui.allocate_ui(vec2(width, 0.0), |ui| {
                    ui.set_width(width);
                    ui.label(text);
                });
            };
            cell(ui, 104.0, RichText::new(keys::text(verb).unwrap_or_default()).monospace());
            cell(ui, 126.0, RichText::new(verb.label()).strong());
            ui.add(egui::Label::new(verb.about()).wrap());
        });
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Notices;

    #[test]
    fn messages_do_not_lie_on_the_pictures_for_ever_and_can_be_read_again() {
        let (mut notices, mut times) = (Notices::default(), NoticeTimes::default());
        notices.add(Severity::Error, "It failed", Vec::new());
        notices.add(Severity::Info, "Saved", Vec::new());
        let at = |times: &mut NoticeTimes, notices: &Notices, now: f64| {
            let (open, folded) = times.open(notices.list(), now);
            (open.len(), folded)
        };
        assert_eq!(at(&mut times, &notices, 0.0), (2, 0));
        assert_eq!(at(&mut times, &notices, 39.0), (1, 1));
        assert_eq!(at(&mut times, &notices, 41.0), (0, 2));
        times.unfold(50.0);
        assert_eq!(at(&mut times, &notices, 51.0), (2, 0));
        notices.add(Severity::Error, "It failed", Vec::new());
        assert_eq!(at(&mut times, &notices, 200.0), (1, 1), "what comes again is shown again");
    }
}
