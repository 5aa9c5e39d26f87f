//! Questions before something is lost, and saving first: what was asked for goes on once everything is saved.

use egui::{Event, Key, Response, RichText, Ui};

use super::widgets;
use crate::session::{Action, Question, Session, Verb};

/// Frames in which a question is drawn before it may be answered: the events of the second came while the first was drawn.
const UNSEEN: u64 = 2;

/// How far saving is, and what was asked about.
#[derive(Default)]
pub enum Asking {
    /// Nothing is to be saved first.
    #[default]
    Not,
    /// It is saved as soon as nothing computes any more.
    Stops(Box<Question>),
    /// It goes on, or is asked again, as soon as saving ended.
    Saves(Box<Question>),
}

impl Asking {
    /// Between frames: what is to be done for what was asked about. `is_saving`: saving goes on, or is asked about.
    #[must_use]
    pub fn logic(&mut self, session: &Session, is_saving: bool) -> Option<Action> {
        match std::mem::take(self) {
            Self::Stops(question) if !session.is_busy() => {
                *self = Self::Saves(question);
                Some(Action::Do(Verb::Save))
            }
            Self::Saves(question) if !is_saving => Some(Action::AfterSaving(question)),
            other => {
                *self = other;
                None
            }
        }
    }

    /// The question, while one is open.
    pub fn ui(&mut self, ui: &Ui, session: &Session, actions: &mut Vec<Action>) {
        let Some(question) = session.question() else { return };
        let save = (Reply::Save, "Save first", "Save the session, then go on");
        let keep = (Reply::Keep, "Keep", "Go back; nothing changes");
        let other = question.other.as_ref().map(|(label, _)| (Reply::Other, *label, "Nothing is replaced"));
        let yes = if question.can_save { "Go on without saving" } else { "Give it up, and go on" };
        let answers: Vec<_> = question.can_save.then_some(save).into_iter().chain([keep]).chain(other).collect();
        let answers = [answers, vec![(Reply::Yes, question.yes, yes)]].concat();
        match ask(ui, &question.text, (question.title, &question.text), &answers, Reply::Keep) {
            None => {}
            Some(Reply::Yes) => actions.push(Action::Confirm),
            Some(reply) => {
                actions.push(Action::Cancel);
                match (reply, &question.other) {
                    (Reply::Save, _) => {
                        *self = Self::Stops(Box::new(question.clone()));
                        if session.is_busy() {
                            actions.push(Action::Do(Verb::Stop));
                        }
                    }
                    (Reply::Other, Some((_, action))) => actions.push(action.clone()),
                    _ => {}
                }
            }
        }
    }
}

/// What a question may be answered with.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Keep,
    Save,
    Other,
    Yes,
}

/// Draws a question with its answers: each has a label and a tip. Enter gives the first unless the keyboard chose another, so
/// that must be one by which nothing is lost; Escape gives `keep`. Nothing answers what nobody can have read yet: `name` is
/// another for another question, and stays while words of it change.
pub fn ask<T: Copy>(
    ui: &Ui,
    name: &str,
    (title, text): (&str, &str),
    answers: &[(T, &str, &str)],
    keep: T,
) -> Option<T> {
    let modal = widgets::modal(name).show(ui.ctx(), |ui| {
        ui.set_width(400.0);
        ui.label(RichText::new(title).heading());
        ui.add_space(4.0);
        ui.label(text);
        ui.add_space(8.0);
        hold_enter_back(ui);
        ui.horizontal(|ui| {
            let button = |(place, (_, label, about)): (usize, &(T, &str, &str))| {
                let button = if place == 0 { widgets::primary(ui, label) } else { egui::Button::new(*label) };
                ui.add(button).on_hover_text(*about)
            };
            let buttons: Vec<Response> = answers.iter().enumerate().map(button).collect();
            if let Some(first) = buttons.first().filter(|_| !buttons.iter().any(Response::has_focus)) {
                first.request_focus();
            }
            buttons.iter().position(Response::clicked)
        })
        .inner
    });
    let is_seen = is_seen(ui, egui::Id::unique(name).with("seen"));
    let answer = modal.inner.map(|place| answers[place].0).or_else(|| modal.should_close().then_some(keep));
    answer.filter(|_| is_seen)
}

/// Whether a question was on the screen when what is answered now was pressed: two frames after it was drawn first, and not by a
/// button that was held down before.
fn is_seen(ui: &Ui, id: egui::Id) -> bool {
    let (frame, is_held) = (ui.ctx().cumulative_frame_nr(), ui.input(|input| input.pointer.any_down()));
    let is_seen = ui.data_mut(|data| {
        let (first, last) = data.get_temp_mut_or(id, (frame, frame));
        if frame > *last + 1 || (is_held && frame < *first + UNSEEN) {
            *first = frame;
        }
        *last = frame;
        frame >= *first + UNSEEN
    });
    if !is_seen {
        ui.ctx().request_repaint();
    }
    is_seen
}

/// A key that is still held from what led to a question does not answer it.
pub fn hold_enter_back(ui: &Ui) {
    let is_held = |event: &Event| matches!(event, Event::Key { key: Key::Enter | Key::Space, repeat: true, .. });
    ui.input_mut(|input| input.events.retain(|event| !is_held(event)));
}
