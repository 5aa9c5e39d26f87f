//! The window's frame: its title, and whether it may be closed.

use std::path::Path;

use egui::{Ui, ViewportCommand};

use super::asking::ask;
use crate::session::training::{TrainAction, TrainPhase};
use crate::session::{Action, Session, Verb};
use crate::units::counted;
use crate::worker::Steer;

/// How far leaving is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Leaving {
    /// Nobody wants to.
    #[default]
    Not,
    /// A training that goes on is being asked about.
    AsksOfTraining,
    /// The window is asked to close again as soon as the training has kept what it has learnt.
    EndsTraining,
    /// Likewise, and nobody is asked about anything: the system wants the program to end.
    Ends,
    /// Unsaved work is being asked about.
    Asks,
    /// It is saved as soon as nothing computes any more.
    Stops,
    /// The window is closed as soon as everything is saved.
    Saves,
    /// Nothing holds it any more.
    Closes,
}

/// What the window manager shows and asks for.
#[derive(Default)]
pub struct Frame {
    title: String,
    leaving: Leaving,
    /// What a training has learnt since its last checkpoint may be lost.
    drops_training: bool,
}

impl Frame {
    /// Whether the question is open.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(self.leaving, Leaving::Asks | Leaving::AsksOfTraining)
    }

    /// Closes the window without a question.
    pub fn close(&mut self, ctx: &egui::Context) {
        self.leaving = Leaving::Closes;
        ctx.send_viewport_cmd(ViewportCommand::Close);
    }

    /// The system wants the program to end: it does as soon as a training has kept what it has learnt. What else no file holds
    /// is in the autosave. Whether that is news.
    pub fn end(&mut self) -> bool {
        let is_leaving = matches!(self.leaving, Leaving::Ends | Leaving::Closes);
        if !is_leaving {
            self.leaving = Leaving::Ends;
        }
        !is_leaving
    }

    /// Between frames: renews the title, holds a window that is to be closed with unsaved work, and closes it when that was
    /// saved. `is_saving`: saving goes on, or is asked about. Returns what is to be done for it.
    #[must_use]
    pub fn logic(&mut self, ctx: &egui::Context, session: &Session, is_saving: bool) -> Option<Action> {
        // Pictures that were only generated are made again by one click.
        let is_marked = session.has_unsaved_work() || (session.file().is_some() && session.is_unsaved());
        let title = title(session.file(), session.origins().is_some(), is_marked);
        if title != self.title {
            ctx.send_viewport_cmd(ViewportCommand::Title(title.clone()));
            self.title = title;
        }
        let is_unsaved = session.has_unsaved_work();
        let is_asked = ctx.input(|input| input.viewport().close_requested());
        match self.leaving {
            Leaving::Closes => {}
            Leaving::Ends if !session.is_training() => self.close(ctx),
            Leaving::Ends if is_asked => ctx.send_viewport_cmd(ViewportCommand::CancelClose),
            Leaving::Ends => {}
            _ if is_asked && session.is_training() && !self.drops_training => {
                ctx.send_viewport_cmd(ViewportCommand::CancelClose);
                if self.leaving != Leaving::EndsTraining {
                    self.leaving = Leaving::AsksOfTraining;
                }
            }
            Leaving::EndsTraining if !session.is_training() => {
                self.leaving = Leaving::Not;
                // Where it could not keep anything the window stays: a message says why.
                if session.training().is_none_or(|training| training.phase != TrainPhase::Failed) {
                    ctx.send_viewport_cmd(ViewportCommand::Close);
                }
            }
            _ if is_asked && is_unsaved => {
                ctx.send_viewport_cmd(ViewportCommand::CancelClose);
                self.leaving = Leaving::Asks;
            }
            Leaving::Stops if !session.is_busy() => {
                self.leaving = Leaving::Saves;
                return Some(Action::Do(Verb::Save));
            }
            Leaving::Saves if !is_unsaved => self.close(ctx),
            // It came to nothing: a message says why, and the window stays.
            Leaving::Saves if !is_saving => self.leaving = Leaving::Not,
            _ => {}
        }
        None
    }

    /// The question, while it is open.
    pub fn ui(&mut self, ui: &Ui, session: &Session, actions: &mut Vec<Action>) {
        if self.leaving == Leaving::AsksOfTraining {
            self.ask_of_training(ui, session, actions);
        }
        if self.leaving != Leaving::Asks {
            return;
        }
        let states = session
            .trace()
            .runs()
            .map(|run| run.last_iteration().map_or(0, |last| last + 1 - run.first_iteration()))
            .sum::<u32>();
        let text = match session.file().and_then(Path::file_name) {
            Some(name) => format!(
                "{} does not hold what was done last in this session. It stays in the autosave, and the next start offers it.",
                name.display()
            ),
            None if !session.has_unsaved_iterates() && session.mask().is_none() => {
                "No file holds the targets that were chosen in this session: save it first, or they are lost.".to_owned()
            }
            None if !session.has_unsaved_iterates() => {
                "No file holds the mask that was painted in this session. It stays in the autosave, and the next start offers it."
                    .to_owned()
            }
            None => {
                let (states, they) = (counted(states as usize, "state"), if states == 1 { "It stays" } else { "They stay" });
                format!("No file holds the {states} of this session. {they} in the autosave, and the next start offers it again.")
            }
        };
        let answers = [
            (Leaving::Stops, "Save and quit", "Save the session, then close the window"),
            (Leaving::Not, "Stay", "Go back; nothing changes"),
            (Leaving::Closes, "Quit", "The next start offers to recover them"),
        ];
        match ask(ui, "quit", ("Quit without saving?", &text), &answers, Leaving::Not) {
            None => {}
            Some(Leaving::Closes) => self.close(ui.ctx()),
            Some(leaving) => {
                self.leaving = leaving;
                if leaving == Leaving::Stops && session.is_busy() {
                    actions.push(Action::Do(Verb::Stop));
                }
            }
        }
    }
}

impl Frame {
    fn ask_of_training(&mut self, ui: &Ui, session: &Session, actions: &mut Vec<Action>) {
        let Some(training) = session.training().filter(|training| training.is_going()) else {
            // It has come to its end meanwhile.
            self.leaving = Leaving::EndsTraining;
            return;
        };
        let kept = training.kept.last().map_or_else(
            || "nothing of it is kept yet".to_owned(),
            |kept| format!("its last checkpoint is that of step {}", kept.step),
        );
        let text = format!(
            "A training is at step {} of {}, and {kept}. It can go on from a checkpoint at any time.",
            training.step,
            training.steps()
        );
        let answers = [
            (
                Leaving::EndsTraining,
                "Keep it and quit",
                "Keep a checkpoint after its current step, then close the window",
            ),
            (Leaving::Not, "Stay", "Go back; the training goes on"),
            (Leaving::Closes, "Quit at once", "What it has learnt since its last checkpoint may be lost"),
        ];
        match ask(ui, "quit training", ("Quit while a training goes on?", &text), &answers, Leaving::Not) {
            None => {}
            Some(Leaving::Closes) => {
                (self.leaving, self.drops_training) = (Leaving::Not, true);
                ui.ctx().send_viewport_cmd(ViewportCommand::Close);
            }
            Some(leaving) => {
                self.leaving = leaving;
                if leaving == Leaving::EndsTraining {
                    actions.push(Action::Train(TrainAction::Steer(Steer::Stop)));
                }
            }
        }
    }
}

/// What the title bar says: which file this is, and whether it holds everything.
fn title(file: Option<&Path>, has_pictures: bool, is_unsaved: bool) -> String {
    let name = file.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match name.or_else(|| has_pictures.then(|| "New session".to_owned())) {
        Some(name) => format!("{}{name} – Lapidary", if is_unsaved && has_pictures { "● " } else { "" }),
        None => "Lapidary".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_names_the_file_and_marks_unsaved_work() {
        let file = Some(Path::new("/home/me/signs 交通.lapidary"));
        assert_eq!(title(file, true, false), "signs 交通.lapidary – Lapidary");
        assert_eq!(title(file, true, true), "● signs 交通.lapidary – Lapidary");
        assert_eq!(title(None, true, true), "● New session – Lapidary");
        assert_eq!(title(None, false, true), "Lapidary");
    }
}
