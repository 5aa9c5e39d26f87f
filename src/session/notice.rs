//! What the user is told: the only place that makes window text of failures.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something is not as expected; work goes on.
    Warning,
    /// Something failed.
    Error,
}

/// What a message is about: once that is past, so is the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// Something that has happened, which nothing undoes.
    #[default]
    Happened,
    /// What could not be opened or pasted, until something else is.
    Opening,
    /// A session that could not be saved, until it is.
    Saving,
    /// What could not be taken out, until something is.
    Export,
    /// A setting that was refused, until one is taken.
    Setting,
    /// A text that stands there in red, until it does not.
    Typed,
    /// A classifier that cannot be used, until another one is chosen.
    Model,
    /// The pictures that were opened, until others are there.
    Pictures,
    /// A session that was made otherwise than it would be here, until another one is opened.
    Made,
    /// The run that is shown, until it is another one.
    Run,
    /// Pictures that do not move, until one does.
    Rest,
    /// Samples that stopped, as many as at the newest state.
    Stopped,
    /// What could not be computed, until something is.
    Work,
    /// A compute thread that has died, until it is started again.
    Crash,
    /// An autosave that could not be written, until it is.
    Journal,
    /// A training that failed, until it goes on or another one is chosen.
    Training,
    /// A checkpoint that is not used, until one is.
    Checkpoint,
}

/// One message to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Names it for dismissal.
    pub id: u64,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, in a few words.
    pub title: String,
    /// Why, and what to do: the chain of causes, one a line.
    pub details: Vec<String>,
    /// Equal messages so far; they are shown once.
    pub count: u32,
    /// What it is about.
    pub cause: Cause,
}

/// Messages, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    list: Vec<Notice>,
    next: u64,
}

/// Messages that are kept.
const KEPT: usize = 50;

impl Notices {
    /// Adds a message about something that has happened; an equal one that is shown already is only counted.
    pub fn add(&mut self, severity: Severity, title: impl Into<String>, details: Vec<String>) {
        self.add_about(Cause::Happened, severity, title, details);
    }

    /// Likewise about what may be past one day: then [`Self::settle`] takes the message away.
    pub fn add_about(&mut self, cause: Cause, severity: Severity, title: impl Into<String>, details: Vec<String>) {
        let title = title.into();
        if let Some(same) = self.list.iter_mut().find(|notice| notice.title == title && notice.details == details) {
            same.count += 1;
            return;
        }
        let id = self.next;
        self.next += 1;
        self.list.push(Notice { id, severity, title, details, count: 1, cause });
        if self.list.len() > KEPT {
            self.list.remove(0);
        }
    }

    /// Adds a failure by its chain: the first line says what failed, the others why.
    pub fn failure(&mut self, chain: &[String]) {
        self.failure_about(Cause::Happened, chain);
    }

    /// Likewise about what may be past one day.
    pub fn failure_about(&mut self, cause: Cause, chain: &[String]) {
        let mut lines = chain.iter().map(|line| sentence(line));
        let title = lines.next().unwrap_or_else(|| "Something failed".to_owned());
        self.add_about(cause, Severity::Error, title, lines.collect());
    }

    /// What some messages were about is past.
    pub fn settle(&mut self, past: &[Cause]) {
        self.list.retain(|notice| !past.contains(&notice.cause));
    }

    /// All messages, oldest first.
    #[must_use]
    pub fn list(&self) -> &[Notice] {
        &self.list
    }

    /// Removes one.
    pub fn dismiss(&mut self, id: u64) {
        self.list.retain(|notice| notice.id != id);
    }
}

/// A message with its first letter in upper case.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_messages_are_counted_and_not_repeated() {
        let mut notices = Notices::default();
        let chain = ["the model cannot be loaded".to_owned(), "no file is there".to_owned()];
        notices.failure(&chain);
        notices.failure(&chain);
        let [notice] = notices.list() else { panic!("one notice: {notices:?}") };
        assert_eq!((notice.title.as_str(), notice.count), ("The model cannot be loaded", 2));
        assert_eq!(notice.details, ["No file is there"]);
    }

    #[test]
    fn what_is_past_is_said_no_more_and_what_has_happened_is() {
        let mut notices = Notices::default();
        notices.failure(&["the disk is full".to_owned()]);
        let unread = ["this is no picture".to_owned(), "a.txt".to_owned()];
        notices.failure_about(Cause::Opening, &unread);
        notices.failure_about(Cause::Opening, &unread);
        notices.add_about(Cause::Typed, Severity::Warning, "Generate waits", Vec::new());
        let titles = |notices: &Notices| notices.list().iter().map(|it| it.title.clone()).collect::<Vec<_>>();
        assert_eq!(titles(&notices), ["The disk is full", "This is no picture", "Generate waits"]);
        notices.settle(&[Cause::Opening]);
        assert_eq!(titles(&notices), ["The disk is full", "Generate waits"]);
        notices.failure_about(Cause::Opening, &unread);
        assert_eq!(notices.list().last().map(|notice| notice.count), Some(1), "it is said anew");
    }
}
