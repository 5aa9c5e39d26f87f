//! What the window remembers from one start to the next, in small files beside the autosave: the sessions and the trainings
//! that were open last, the theme, and what stands beside a run.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use egui::Theme;

use crate::session::LiveChoice;

/// Paths of a kind that are remembered.
const KEPT: usize = 8;

/// Paths of one kind, the newest first.
#[derive(Debug, Default)]
struct Paths {
    /// Where the list is kept.
    list: PathBuf,
    known: Vec<PathBuf>,
    /// The one that was seen last.
    seen: Option<PathBuf>,
}

impl Paths {
    /// Reads a list; one that is not there, or is none, is empty.
    fn of(list: PathBuf) -> Self {
        let known = std::fs::read(&list).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { list, known: known.unwrap_or_default(), seen: None }
    }

    /// Told in every frame which one is open: another one than before comes first from now on. True when the list is another.
    fn see(&mut self, path: Option<&Path>) -> bool {
        if path == self.seen.as_deref() {
            return false;
        }
        self.seen = path.map(Path::to_owned);
        // A name that is no text cannot be written down.
        let Some(path) = path.and_then(|path| std::path::absolute(path).ok()).filter(|path| path.to_str().is_some())
        else {
            return false;
        };
        self.known.retain(|other| *other != path);
        self.known.insert(0, path);
        self.known.truncate(KEPT);
        true
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.known).unwrap_or_default()
    }
}

/// Sessions that were opened or saved, trainings that were looked at, and the theme.
#[derive(Debug, Default)]
pub struct Recent {
    sessions: Paths,
    trainings: Paths,
    /// Where the theme is kept.
    theme: PathBuf,
    /// Where the judge and the real pictures of the numbers beside a run are kept.
    live: PathBuf,
    /// What is being written; the next waits for it, so that what was last comes last.
    writing: Option<JoinHandle<()>>,
}

/// How each theme is written down.
const THEMES: [(Theme, &str); 2] = [(Theme::Dark, "dark"), (Theme::Light, "light")];

impl Recent {
    /// Reads the lists in `folder`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self {
            sessions: Paths::of(folder.join("recent.json")),
            trainings: Paths::of(folder.join("trainings.json")),
            theme: folder.join("theme.txt"),
            live: folder.join("live.json"),
            writing: None,
        }
    }

    /// The theme that was chosen last; none when nobody chose.
    #[must_use]
    pub fn theme(&self) -> Option<Theme> {
        let text = std::fs::read_to_string(&self.theme).ok()?;
        THEMES.iter().find(|(_, name)| *name == text.trim()).map(|(theme, _)| *theme)
    }

    /// Another theme was chosen.
    pub fn keep_theme(&mut self, chosen: Theme) {
        let text = THEMES.iter().find(|(theme, _)| *theme == chosen).map_or("", |(_, name)| *name);
        self.write(self.theme.clone(), text.into());
    }

    /// What was chosen last for the numbers beside a run; none when nobody chose.
    #[must_use]
    pub fn live(&self) -> Option<LiveChoice> {
        serde_json::from_slice(&std::fs::read(&self.live).ok()?).ok()
    }

    /// Something else was chosen for them.
    pub fn keep_live(&mut self, chosen: &LiveChoice) {
        // A path that is no text cannot be written down.
        if let Ok(text) = serde_json::to_vec(chosen) {
            self.write(self.live.clone(), text);
        }
    }

    /// The sessions, newest first.
    #[must_use]
    pub fn sessions(&self) -> &[PathBuf] {
        &self.sessions.known
    }

    /// The descriptions and folders of trainings, newest first.
    #[must_use]
    pub fn trainings(&self) -> &[PathBuf] {
        &self.trainings.known
    }

    /// Told in every frame which session is open.
    pub fn see(&mut self, file: Option<&Path>) {
        if self.sessions.see(file) {
            self.write(self.sessions.list.clone(), self.sessions.text());
        }
    }

    /// Likewise, which training.
    pub fn see_training(&mut self, path: Option<&Path>) {
        if self.trainings.see(path) {
            self.write(self.trainings.list.clone(), self.trainings.text());
        }
    }

    /// The window does not wait for the disk; what cannot be written is not missed.
    fn write(&mut self, path: PathBuf, text: Vec<u8>) {
        let earlier = self.writing.take();
        let written = std::thread::Builder::new().name("lapidary-recent".to_owned()).spawn(move || {
            if earlier.is_some_and(|earlier| earlier.join().is_err()) {
                tracing::debug!("what was remembered before was not written");
            }
            let folder = path.parent().unwrap_or(Path::new("."));
            let write = |file: tempfile::NamedTempFile| {
                std::fs::write(file.path(), text)?;
                Ok(file.persist(&path)?)
            };
            if let Err(error) = crate::session::temporary_named(folder, ".tmp").and_then(write) {
                tracing::debug!(%error, "what the window remembers was not written");
            }
        });
        match written {
            Ok(writing) => self.writing = Some(writing),
            Err(error) => tracing::debug!(%error, "what the window remembers was not written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_session_comes_first_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut recent = Recent::of(folder.path());
        for name in ["a", "b", "a"] {
            recent.see(Some(&folder.path().join(name)));
            recent.see(Some(&folder.path().join(name)));
            recent.see(None);
        }
        let expected = ["a", "b"].map(|name| folder.path().join(name));
        assert_eq!(recent.sessions(), expected);
        for _ in 0..2000 {
            if Recent::of(folder.path()).sessions() == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the list is on the disk");
    }

    #[test]
    fn the_theme_that_was_chosen_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Recent::of(folder.path()).theme(), None, "nobody chose: as the system has it");
        Recent::of(folder.path()).keep_theme(Theme::Light);
        for _ in 0..2000 {
            if Recent::of(folder.path()).theme() == Some(Theme::Light) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the theme is on the disk");
    }

    #[test]
    fn the_judge_that_was_chosen_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Recent::of(folder.path()).live(), None, "nobody chose");
        let chosen = LiveChoice { is_on: true, judge: "j.pt".to_owned(), reference: Some("real".into()) };
        Recent::of(folder.path()).keep_live(&chosen);
        for _ in 0..2000 {
            if Recent::of(folder.path()).live().as_ref() == Some(&chosen) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the choice is on the disk");
    }

    #[test]
    fn a_list_that_is_none_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("recent.json"), "<html>").unwrap();
        assert!(Recent::of(folder.path()).sessions().is_empty());
    }
}
