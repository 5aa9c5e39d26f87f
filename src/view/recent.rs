//! What the window remembers from one start to the next, in small files beside the autosave: the sessions that were opened or
//! saved last, and the theme.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use egui::Theme;

/// Sessions that are remembered.
const KEPT: usize = 8;

/// Sessions that were opened or saved, the newest first.
#[derive(Debug, Default)]
pub struct Recent {
    /// Where the list is kept.
    list: PathBuf,
    sessions: Vec<PathBuf>,
    /// The session that was seen last.
    seen: Option<PathBuf>,
    /// Where the theme is kept.
    theme: PathBuf,
    /// What is being written; the next waits for it, so that what was last comes last.
    writing: Option<JoinHandle<()>>,
}

/// How each theme is written down.
const THEMES: [(Theme, &str); 2] = [(Theme::Dark, "dark"), (Theme::Light, "light")];

impl Recent {
    /// Reads the list in `folder`; one that is not there, or is none, is empty.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let list = folder.join("recent.json");
        let sessions = std::fs::read(&list).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            list,
            sessions: sessions.unwrap_or_default(),
            seen: None,
            theme: folder.join("theme.txt"),
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

    /// The sessions, newest first.
    #[must_use]
    pub fn sessions(&self) -> &[PathBuf] {
        &self.sessions
    }

    /// Told in every frame which file is open: another one than before comes first from now on.
    pub fn see(&mut self, file: Option<&Path>) {
        if file == self.seen.as_deref() {
            return;
        }
        self.seen = file.map(Path::to_owned);
        // A name that is no text cannot be written down.
        let Some(file) = file.and_then(|file| std::path::absolute(file).ok()).filter(|file| file.to_str().is_some())
        else {
            return;
        };
        self.sessions.retain(|other| *other != file);
        self.sessions.insert(0, file);
        self.sessions.truncate(KEPT);
        self.write(self.list.clone(), serde_json::to_vec(&self.sessions).unwrap_or_default());
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
    fn a_list_that_is_none_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("recent.json"), "<html>").unwrap();
        assert!(Recent::of(folder.path()).sessions().is_empty());
    }
}
