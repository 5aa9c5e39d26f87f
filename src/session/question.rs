//! Questions before something is lost.

use std::path::PathBuf;

use super::Session;
use super::action::{Action, Verb};
use super::disk::Detail;
use super::document::Document;
use crate::file::free_path;

/// A question that must be answered before unsaved work is replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it is about.
    pub title: &'static str,
    /// What would be lost.
    pub text: String,
    /// What a yes is called.
    pub yes: &'static str,
    /// What a yes does.
    pub then: Action,
    /// Whether saving first would help.
    pub can_save: bool,
    /// Another way, by which nothing is lost.
    pub other: Option<(&'static str, Action)>,
}

impl Session {
    /// Whether an action would cost what no file holds, or what an edit has on its way.
    pub(super) fn would_cost(&self, action: &Action) -> bool {
        self.is_at_stake() || self.would_cost_hand_work(action)
    }

    /// What was done by hand and no file holds, in words.
    #[must_use]
    pub fn hand_work(&self) -> Option<&'static str> {
        match (self.record.has_unsaved_targets(), self.record.has_unsaved_mask()) {
            (true, _) => Some("the targets that were chosen"),
            (_, true) => Some("the mask that was painted"),
            _ => None,
        }
    }

    /// Whether an action puts away what was done by hand, though no file holds it. Made and edited pictures lie below what is
    /// painted as those before them did, but have targets of their own.
    fn would_cost_hand_work(&self, action: &Action) -> bool {
        let (makes, puts_away) = match action {
            Action::OpenSession(_) | Action::Recover(_) | Action::OpenPictures(_) => (false, true),
            Action::Do(verb) => (matches!(verb, Verb::Generate | Verb::Edit), *verb == Verb::NewSession),
            _ => (false, false),
        };
        puts_away && self.hand_work().is_some() || makes && self.record.has_unsaved_targets()
    }

    /// Whether other pictures would cost what no file holds, or what an edit has on its way.
    pub(super) fn is_at_stake(&self) -> bool {
        self.has_unsaved_iterates() || self.work.preview.is_some()
    }

    /// Asks before an action takes the place of what is at stake.
    pub(super) fn ask_to_give_up(&mut self, then: Action) {
        let name =
            |path: &PathBuf| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let by = match &then {
            Action::OpenSession(path) => format!("the session {}", name(path)),
            Action::Recover(_) => "what was left behind".to_owned(),
            Action::OpenPictures(paths) => match &paths[..] {
                [path] => format!("the pictures of {}", name(path)),
                paths => format!("the pictures of {} files", paths.len()),
            },
            Action::Do(Verb::NewSession) => "an empty session".to_owned(),
            Action::Do(Verb::Edit) => "edited pictures".to_owned(),
            _ => "newly generated pictures".to_owned(),
        };
        let has_iterates = self.has_unsaved_iterates();
        let by_hand = self.hand_work().filter(|_| self.would_cost_hand_work(&then));
        let can_save = has_iterates || by_hand.is_some();
        let (title, what) = if can_save {
            (
                "Unsaved work",
                match (self.file(), by_hand) {
                    (Some(_), _) => "What was done last in this session is in no file. Replace the session".to_owned(),
                    (None, Some(what)) if !has_iterates => {
                        format!("No file holds {what} in this session. Replace the session")
                    }
                    _ => "The iterates of this session are not saved in a file. Replace them".to_owned(),
                },
            )
        } else {
            (
                "Give up the edit?",
                "The pictures that are being edited are not finished. Give them up, and replace these".to_owned(),
            )
        };
        let yes = if can_save { "Replace" } else { "Give up" };
        self.question = Some(Question { title, text: format!("{what} by {by}?"), yes, then, can_save, other: None });
    }

    /// Asks before a file that this session did not write is replaced.
    pub(super) fn ask_to_replace(&mut self, path: PathBuf, detail: Detail) {
        let name = path.display();
        let mut text = if self.file() == Some(path.as_path()) {
            format!(
                "{name} was changed by another program since it was opened or saved here. What was written there then is lost when it is replaced."
            )
        } else {
            format!("{name} is there already. What it holds is lost when it is replaced.")
        };
        if Document::open(&path).is_err() {
            text += " It is no Lapidary session: it is a file of another kind, or damaged, and whoever made it may need it.";
        }
        let beside = Action::SaveSession(free_path(&path), detail);
        self.question = Some(Question {
            title: "Replace the file?",
            text,
            yes: "Replace",
            then: Action::SaveSession(path, detail),
            can_save: false,
            other: Some(("Save beside it", beside)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::preview::Preview;
    use super::*;

    #[test]
    fn an_edit_that_goes_on_is_not_given_up_without_a_word_and_a_question_says_for_what() {
        for (action, by) in [
            (Action::Do(Verb::Generate), "by newly generated pictures?"),
            (Action::OpenSession("a/b.lapidary".into()), "by the session b.lapidary?"),
            (Action::OpenPictures(vec!["a/b.png".into()]), "by the pictures of b.png?"),
            (Action::Do(Verb::NewSession), "by an empty session?"),
        ] {
            let mut session = Session::default();
            session.work.preview = Some(Preview::of(None));
            session.handle(action.clone());
            let question = session.question().expect("it is asked");
            assert!(question.text.ends_with(by) && !question.can_save, "{}", question.text);
            assert_eq!(question.then, action);
        }
    }
}
