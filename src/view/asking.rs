//! Questions before something is lost, and saving first: what was asked for goes on once everything is saved.

use egui::{Event, Key, Response, RichText, Ui};

use super::widgets;
use crate::session::{Action, Question, Session, Verb};

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
        let modal = egui::Modal::new(egui::Id::unique("question")).show(ui.ctx(), |ui| {
            ui.set_width(320.0);
            ui.label(RichText::new(question.title).heading());
            ui.add_space(4.0);
            ui.label(&question.text);
            ui.add_space(8.0);
            hold_enter_back(ui);
            ui.horizontal(|ui| {
                let keep = ui.button("Keep").on_hover_text("Go back; nothing changes");
                if keep.clicked() {
                    actions.push(Action::Cancel);
                }
                let save = question
                    .can_save
                    .then(|| ui.add(widgets::primary(ui, "Save first")).on_hover_text("Save the session, then go on"));
                if save.as_ref().is_some_and(Response::clicked) {
                    *self = Self::Stops(Box::new(question.clone()));
                    actions.push(Action::Cancel);
                    if session.is_busy() {
                        actions.push(Action::Do(Verb::Stop));
                    }
                }
                let yes = if question.can_save {
                    ui.button(question.yes).on_hover_text("Go on without saving")
                } else {
                    ui.add(widgets::primary(ui, question.yes))
                };
                if yes.clicked() {
                    actions.push(Action::Confirm);
                }
                let primary = save.as_ref().unwrap_or(&yes);
                focus_one(primary, &[&keep, &yes, primary]);
            });
        });
        if modal.should_close() {
            actions.push(Action::Cancel);
        }
    }
}

/// A key that is still held from what led to a question does not answer it.
pub fn hold_enter_back(ui: &Ui) {
    let is_held = |event: &Event| matches!(event, Event::Key { key: Key::Enter | Key::Space, repeat: true, .. });
    ui.input_mut(|input| input.events.retain(|event| !is_held(event)));
}

/// Enter presses the primary button of a question unless another was chosen by the keyboard.
pub fn focus_one(primary: &Response, all: &[&Response]) {
    if !all.iter().any(|response| response.has_focus()) {
        primary.request_focus();
    }
}
