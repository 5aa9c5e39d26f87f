//! Sessions that were opened or saved last, for the menu: a small list beside the autosave.

use std::path::{Path, PathBuf};

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
}

impl Recent {
    /// Reads the list; one that is not there, or is none, is empty.
    #[must_use]
    pub fn of(list: PathBuf) -> Self {
        let sessions = std::fs::read(&list).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { list, sessions: sessions.unwrap_or_default(), seen: None }
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
        let (list, text) = (self.list.clone(), serde_json::to_vec(&self.sessions).unwrap_or_default());
        // The window does not wait for the disk; a list that cannot be written is not missed.
        let written = std::thread::Builder::new().name("lapidary-recent".to_owned()).spawn(move || {
            let folder = list.parent().unwrap_or(Path::new("."));
            let write = |file: tempfile::NamedTempFile| {
                std::fs::write(file.path(), text)?;
                Ok(file.persist(&list)?)
            };
            if let Err(error) = crate::session::temporary_in(folder).and_then(write) {
                tracing::debug!(%error, "the list of recent sessions was not written");
            }
        });
        if let Err(error) = written {
            tracing::debug!(%error, "the list of recent sessions was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_session_comes_first_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("recent.json");
        let mut recent = Recent::of(list.clone());
        for name in ["a", "b", "a"] {
            recent.see(Some(&folder.path().join(name)));
            recent.see(Some(&folder.path().join(name)));
            recent.see(None);
        }
        let expected = ["a", "b"].map(|name| folder.path().join(name));
        assert_eq!(recent.sessions(), expected);
        for _ in 0..2000 {
            if Recent::of(list.clone()).sessions() == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the list is on the disk");
    }

    #[test]
    fn a_list_that_is_none_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("recent.json");
        std::fs::write(&list, "<html>").unwrap();
        assert!(Recent::of(list).sessions().is_empty());
    }
}
