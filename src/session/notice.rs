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
}

/// Messages, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    list: Vec<Notice>,
    next: u64,
    /// Failures to open something.
    unopened: Vec<u64>,
}

/// Messages that are kept.
const KEPT: usize = 50;

impl Notices {
    /// Adds a message; an equal one that is shown already is only counted.
    pub fn add(&mut self, severity: Severity, title: impl Into<String>, details: Vec<String>) {
        let title = title.into();
        if let Some(same) = self.list.iter_mut().find(|notice| notice.title == title && notice.details == details) {
            same.count += 1;
            return;
        }
        let id = self.next;
        self.next += 1;
        self.list.push(Notice { id, severity, title, details, count: 1 });
        if self.list.len() > KEPT {
            self.list.remove(0);
        }
    }

    /// Adds a failure by its chain: the first line says what failed, the others why.
    pub fn failure(&mut self, chain: &[String]) {
        let mut lines = chain.iter().map(|line| sentence(line));
        let title = lines.next().unwrap_or_else(|| "Something failed".to_owned());
        self.add(Severity::Error, title, lines.collect());
    }

    /// Likewise, of something that was to be opened: past when something else is.
    pub fn unopened(&mut self, chain: &[String]) {
        self.failure(chain);
        let title = chain.first().map(|line| sentence(line));
        self.unopened
            .extend(self.list.iter().filter(|notice| Some(&notice.title) == title.as_ref()).map(|notice| notice.id));
    }

    /// Something was opened: what could not be before is past.
    pub fn opened(&mut self) {
        let past = std::mem::take(&mut self.unopened);
        self.list.retain(|notice| !past.contains(&notice.id));
    }

    /// All messages, oldest first.
    #[must_use]
    pub fn list(&self) -> &[Notice] {
        &self.list
    }

    /// Removes failures that are past: those whose title begins so.
    pub fn settle(&mut self, title: &str) {
        self.list.retain(|notice| notice.severity < Severity::Error || !notice.title.starts_with(title));
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
        notices.add(Severity::Info, "The model", Vec::new());
        notices.settle("The model");
        assert_eq!(notices.list().len(), 1, "what is no failure stays");
    }

    #[test]
    fn what_could_not_be_opened_is_past_when_something_else_is() {
        let mut notices = Notices::default();
        notices.failure(&["the disk is full".to_owned()]);
        notices.unopened(&["this is no picture".to_owned(), "a.txt".to_owned()]);
        assert_eq!(notices.list().len(), 2);
        notices.opened();
        assert_eq!(notices.list().iter().map(|notice| notice.title.as_str()).collect::<Vec<_>>(), ["The disk is full"]);
    }
}
