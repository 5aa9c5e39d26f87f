//! What lies above the panels: messages, recovered sessions, and the list of shortcuts.

use egui::{Align2, Color32, Key, Modifiers, RichText, Role, Ui, vec2};

use super::asking::hold_enter_back;
use super::empty::PURPOSE;
use super::{focus, keys, theme, widgets};
use crate::session::{Action, Notice, Orphan, Session, Severity, Verb};
use crate::units::counted;

/// Width of the list of messages, and its height at most, in points.
const LIST: (f32, f32) = (480.0, 320.0);

/// Height of what was left behind at most, in points: three lines.
const ORPHANS_HEIGHT: f32 = 84.0;

/// How far a key scrolls the list of shortcuts, in points, and how many of these steps are a page.
const LINE: f32 = 24.0;
const LINES_OF_A_PAGE: f32 = 8.0;

/// Seconds that a message stands on the line: then what is only good to know goes away, and the others are in the list.
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

/// When each message was first seen, so that the line does not say what is past.
#[derive(Default)]
pub struct NoticeTimes(Vec<Seen>);

impl NoticeTimes {
    /// The message that stands on the line at `now`: the newest of the worst ones.
    fn open<'a>(&mut self, list: &'a [Notice], now: f64) -> Option<&'a Notice> {
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
        list.iter().filter(is_open).max_by(|a, b| {
            let since = |notice: &Notice| life_secs(notice.severity) - self.left(notice, now);
            a.severity.cmp(&b.severity).then(since(b).total_cmp(&since(a)))
        })
    }

    /// Seconds for which a message still stands on the line.
    fn left(&self, notice: &Notice, now: f64) -> f64 {
        let since = self.0.iter().find(|seen| seen.id == notice.id).map_or(now, |seen| seen.since);
        life_secs(notice.severity) - (now - since)
    }
}

/// Draws the line of messages, in a place of its own: nothing lies over the pictures, and nothing moves when one comes. The
/// newest stands on it for a while; all are in the list that its button opens.
pub fn notices_ui(ui: &mut Ui, session: &Session, times: &mut NoticeTimes, actions: &mut Vec<Action>) {
    let now = ui.input(|input| input.time);
    let list = session.notices.list();
    let open = times.open(list, now);
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
        if !list.is_empty() {
            let button = ui.small_button(counted(list.len(), "message"));
            let menu = egui::Popup::menu(&button.on_hover_text("Read all messages"));
            menu.align(egui::RectAlign::TOP_END).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside).show(
                |ui| {
                    egui::ScrollArea::vertical().max_height(LIST.1).show(ui, |ui| {
                        list.iter().rev().for_each(|notice| notice_ui(ui, notice, actions));
                        focus::scroll_to(ui);
                    });
                },
            );
        }
        ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| match open {
            Some(notice) => line_ui(ui, notice),
            None if session.shown() > 0 => {
                ui.label(RichText::new("Hold V to see every picture as it was before.").weak().small());
            }
            None => {}
        });
    });
    let is_gone = |notice: &&Notice| notice.severity == Severity::Info && times.left(notice, now) <= 0.0;
    actions.extend(list.iter().filter(is_gone).map(|notice| Action::Dismiss(notice.id)));
    let left = list.iter().map(|notice| times.left(notice, now)).filter(|left| *left > 0.0).min_by(f64::total_cmp);
    if let Some(left) = left {
        ui.ctx().request_repaint_after_secs(left.max(0.1) as f32);
    }
}

/// The colour of a message.
fn color_of(ui: &Ui, severity: Severity) -> Color32 {
    let tokens = theme::tokens(ui);
    match severity {
        Severity::Info => tokens.info,
        Severity::Warning => tokens.warning,
        Severity::Error => tokens.error,
    }
}

/// What happened, and how often.
fn title(notice: &Notice) -> String {
    let count = if notice.count > 1 { format!("  ×{}", notice.count) } else { String::new() };
    format!("{}{count}", notice.title)
}

/// A message on one line; what does not fit on it is in the list.
fn line_ui(ui: &mut Ui, notice: &Notice) {
    let color = color_of(ui, notice.severity);
    ui.colored_label(color, "●");
    let text = [vec![title(notice)], notice.details.clone()].concat();
    let line = on_one_line(&text);
    let strong = ui.visuals().strong_text_color();
    ui.add(egui::Label::new(RichText::new(line).color(strong)).truncate()).on_hover_text(text.join("\n"));
}

/// What a message says, on one line: what it is about comes first, for the end may not fit.
fn on_one_line(text: &[String]) -> String {
    let place = text.iter().find_map(|line| line.split_once('\n')).map(|(_, place)| std::path::Path::new(place));
    let name = place.and_then(std::path::Path::file_name).map(|name| format!("{}: ", name.to_string_lossy()));
    name.unwrap_or_default() + &text.join("  ·  ").replace('\n', "  ·  ")
}

/// A message in the list.
fn notice_ui(ui: &mut Ui, notice: &Notice, actions: &mut Vec<Action>) {
    ui.horizontal_top(|ui| {
        ui.colored_label(color_of(ui, notice.severity), "●");
        ui.vertical(|ui| {
            ui.set_width(LIST.0 - 68.0);
            ui.add(egui::Label::new(RichText::new(title(notice)).strong()).wrap());
            for line in &notice.details {
                ui.add(egui::Label::new(RichText::new(line).small()).wrap());
            }
        });
        let dismiss = ui.small_button("×").on_hover_text("Dismiss this message");
        widgets::name(&dismiss, Role::Button, &format!("Dismiss: {}", notice.title));
        if dismiss.clicked() {
            actions.push(Action::Dismiss(notice.id));
        }
    });
}

/// Offers what a crash left behind, in few lines: the rest of the window stays usable however much that is.
pub fn orphans_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    egui::ScrollArea::vertical().max_height(ORPHANS_HEIGHT).auto_shrink([false, true]).show(ui, |ui| {
        for orphan in session.orphans() {
            ui.horizontal(|ui| {
                if ui.button("Recover").on_hover_text("Open it, every finished iteration is there").clicked() {
                    actions.push(Action::Recover(orphan.folder.clone()));
                }
                if ui.button("Discard…").on_hover_text("Delete it; you are asked first").clicked() {
                    actions.push(Action::Discard(orphan.folder.clone()));
                }
                ui.add(egui::Label::new(left_behind(orphan)).truncate());
            });
        }
        focus::scroll_to(ui);
    });
}

/// What was left behind and when, so that several can be told apart.
fn left_behind(orphan: &Orphan) -> String {
    let Orphan { states, file, is_painted, runs, pictures, what, age_secs, .. } = orphan;
    let age = crate::units::duration(*age_secs as f64);
    let counts = [(*pictures, "picture"), (*runs, "run"), (*states, "state")].into_iter().filter(|(n, _)| *n > 0);
    let painted = is_painted.then(|| "a painted mask".to_owned());
    let counts: Vec<_> = counts.map(|(n, what)| counted(n, what)).chain(painted.clone()).collect();
    if let Some(name) = file.as_deref().and_then(std::path::Path::file_name) {
        let states = (*states > 0 || !is_painted).then(|| counted(*states, "state"));
        let newer: Vec<_> = states.into_iter().chain(painted).collect();
        return format!("Left behind {age} before this start: {} newer than {}", newer.join(", "), name.display());
    }
    let what = if what.is_empty() { String::new() } else { format!("{what}: ") };
    format!("Left behind {age} before this start: {what}{} that no file holds", counts.join(", "))
}

/// The list of shortcuts; `open` is cleared when it is closed.
pub fn help_ui(ui: &Ui, open: &mut bool) {
    if !*open {
        return;
    }
    let modal = widgets::modal("help").show(ui.ctx(), |ui| {
        ui.set_width(620.0);
        ui.label(PURPOSE);
        ui.add_space(6.0);
        ui.label(RichText::new("Keys and what they do").heading());
        ui.add_space(4.0);
        let height = (ui.ctx().content_rect().height() - 210.0).max(120.0);
        let list =
            egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([false, false]);
        list.show(ui, |ui| {
            ui.scroll_with_delta_animation(vec2(0.0, scrolled_by_keys(ui)), egui::style::ScrollAnimation::none());
            for (place, verb) in Verb::ALL.iter().enumerate() {
                key_ui(ui, *verb, place % 2 == 1);
            }
            ui.add_space(6.0);
            ui.label("Hold V to see every picture as it was before.");
            ui.label("Canvas: wheel zooms at the pointer, drag pans, double click fits, drag the handle to wipe. While it has the focus, by Tab, arrows pan, + and − zoom.");
            ui.label("Mask: drag paints, the secondary button erases, [ and ] change the brush, space or the middle button pans.");
            ui.label("Numbers: drag, or click and type; 8/255 is understood, for the step size also 0.1x and 10% of the radius.");
            ui.label("Drop picture or .npz files to use them as \"before\", or a .lapidary file to open it; Ctrl+V opens a copied picture.");
            if cfg!(target_os = "linux") {
                ui.label("Under Wayland nothing can be dropped on the window yet: use File, Open images.");
            }
        });
        ui.add_space(6.0);
        hold_enter_back(ui);
        let close = ui.button("Close");
        if !close.has_focus() {
            close.request_focus();
        }
        close.clicked()
    });
    *open = !(modal.should_close() || modal.inner);
}

/// How far keys scroll a list in which nothing takes the focus, in points: up is positive.
fn scrolled_by_keys(ui: &Ui) -> f32 {
    ui.input_mut(|input| {
        let mut presses = |key| input.count_and_consume_key(Modifiers::NONE, key) as f32;
        let lines = presses(Key::ArrowUp) - presses(Key::ArrowDown);
        let pages = presses(Key::PageUp) - presses(Key::PageDown);
        LINE * (lines + LINES_OF_A_PAGE * pages)
    })
}

/// A line of the list: its columns are where they are from the first frame on.
fn key_ui(ui: &mut Ui, verb: Verb, is_striped: bool) {
    let fill = if is_striped { ui.visuals().faint_bg_color } else { Color32::TRANSPARENT };
    egui::Frame::NONE.fill(fill).inner_margin(egui::Margin::symmetric(4, 2)).show(ui, |ui| {
        ui.set_width(ui.available_width());
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
    fn a_message_on_the_line_begins_with_the_file_that_it_is_about() {
        let text = ["This is no picture: choose another file\n/home/me/bad.png".to_owned(), "Why".to_owned()];
        assert_eq!(on_one_line(&text), "bad.png: This is no picture: choose another file  ·  /home/me/bad.png  ·  Why");
        assert_eq!(on_one_line(&["Saved".to_owned()]), "Saved");
    }

    #[test]
    fn sessions_that_were_left_behind_can_be_told_apart() {
        let folder = std::path::PathBuf::new();
        let of = |what: &str, pictures, age_secs| Orphan {
            folder: folder.clone(),
            states: 45,
            file: None,
            is_painted: false,
            runs: 2,
            pictures,
            what: what.to_owned(),
            age_secs,
        };
        let text = "Left behind 2.5 h before this start: street.png: 3 pictures, 2 runs, 45 states that no file holds";
        assert_eq!(left_behind(&of("street.png", 3, 9000)), text);
        let text = "Left behind 3.0 days before this start: 2 runs, 45 states that no file holds";
        assert_eq!(left_behind(&of("", 0, 3 * 86_400)), text, "a journal of an earlier version says less");
        let newer = Orphan { states: 1, file: Some("/home/me/session.lapidary".into()), ..of("street.png", 3, 60) };
        let text = "Left behind 60 s before this start: 1 state newer than session.lapidary";
        assert_eq!(left_behind(&newer), text);
        let text = "Left behind 60 s before this start: 1 state, a painted mask newer than session.lapidary";
        assert_eq!(left_behind(&Orphan { is_painted: true, ..newer.clone() }), text);
        let text = "Left behind 60 s before this start: a painted mask newer than session.lapidary";
        assert_eq!(left_behind(&Orphan { is_painted: true, states: 0, ..newer }), text);
    }

    #[test]
    fn the_newest_of_the_worst_messages_is_said_and_what_is_past_is_not() {
        let (mut notices, mut times) = (Notices::default(), NoticeTimes::default());
        notices.add(Severity::Error, "It failed", Vec::new());
        notices.add(Severity::Info, "Saved", Vec::new());
        let at = |times: &mut NoticeTimes, notices: &Notices, now: f64| {
            times.open(notices.list(), now).map_or("", |notice| &notice.title).to_owned()
        };
        assert_eq!(at(&mut times, &notices, 0.0), "It failed");
        assert_eq!(at(&mut times, &notices, 39.0), "It failed");
        assert_eq!(at(&mut times, &notices, 41.0), "");
        notices.add(Severity::Info, "Copied", Vec::new());
        assert_eq!(at(&mut times, &notices, 42.0), "Copied");
        notices.add(Severity::Info, "Copied again", Vec::new());
        assert_eq!(at(&mut times, &notices, 43.0), "Copied again");
        notices.add(Severity::Error, "It failed", Vec::new());
        assert_eq!(at(&mut times, &notices, 44.0), "It failed", "what comes again is said again");
    }
}
