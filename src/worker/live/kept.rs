//! Real pictures that were looked at to their end: nobody who goes back to them waits for that again.

use std::path::{Path, PathBuf};

use super::reference::Reference;
use crate::file::Contents;

/// Real pictures that are kept, at most: mean and covariance of each, 32 MiB at 2048 features.
const MOST: usize = 6;

/// Which real pictures, as they lie there now, and what they are to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    path: PathBuf,
    contents: Option<Contents>,
    /// Of the judge's weights.
    sha256: String,
    shape: [usize; 3],
}

impl Key {
    pub(super) fn of(path: &Path, sha256: &str, shape: [usize; 3]) -> Self {
        Self { path: path.to_owned(), contents: Contents::of(path), sha256: sha256.to_owned(), shape }
    }
}

struct Held<T> {
    of: Key,
    /// No other that was ever held has it.
    number: u64,
    real: T,
}

/// What was found of real pictures.
pub(super) struct Kept<T = Reference> {
    /// The one that was used last stands last.
    held: Vec<Held<T>>,
    count: u64,
    /// What was looked at cheaply last, at which choosing, and what is wrong with it.
    glanced: Option<(Key, u64, Result<(), String>)>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { held: Vec::new(), count: 0, glanced: None }
    }
}

impl<T> Kept<T> {
    /// What is held, and its number; nothing where the files are others now.
    pub(super) fn get(&mut self, of: &Key) -> Option<(u64, &T)> {
        let place = self.held.iter().position(|held| held.of == *of)?;
        let used = self.held.remove(place);
        self.held.push(used);
        self.held.last().map(|held| (held.number, &held.real))
    }

    /// Keeps it, and lets go of what was not used for longest.
    pub(super) fn put(&mut self, of: Key, real: T) {
        self.held.retain(|held| held.of.path != of.path || held.of.contents == of.contents);
        if self.held.len() == MOST {
            self.held.remove(0);
        }
        self.count += 1;
        self.held.push(Held { of, number: self.count, real });
    }

    /// What is wrong with it, as found at this choosing: whoever chooses again wants it looked at again. `None` where nobody looked.
    pub(super) fn fault(&self, of: &Key, choosing: u64) -> Option<&Result<(), String>> {
        self.glanced.as_ref().filter(|(key, at, _)| key == of && *at == choosing).map(|(_, _, found)| found)
    }

    /// Remembers what is wrong with it, or that nothing is.
    pub(super) fn note(&mut self, of: Key, choosing: u64, found: Result<(), String>) {
        self.glanced = Some((of, choosing, found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_is_found_again_until_its_files_are_others_or_the_judge_is() {
        let folder = tempfile::tempdir().unwrap();
        let key = |sha256: &str| Key::of(folder.path(), sha256, [3, 8, 8]);
        let mut kept = Kept::default();
        kept.put(key("aa"), 1);
        kept.put(key("bb"), 2);
        assert_eq!(kept.get(&key("aa")), Some((1, &1)));
        assert_eq!(kept.get(&key("bb")), Some((2, &2)), "by another judge");
        assert_eq!(kept.get(&Key::of(folder.path(), "aa", [3, 9, 9])), None, "of another size");
        std::fs::write(folder.path().join("new.png"), "new").unwrap();
        assert_eq!(kept.get(&key("aa")), None, "a file came");
        kept.put(key("aa"), 3);
        assert_eq!(kept.get(&key("aa")), Some((3, &3)));
        assert_eq!(kept.held.len(), 1, "what it was is of no use any more");
    }

    #[test]
    fn a_handful_is_kept_and_what_was_not_used_for_longest_makes_room() {
        let key = |name: usize| Key::of(Path::new(&format!("none {name}")), "aa", [3, 8, 8]);
        let mut kept = Kept::default();
        (0..MOST).for_each(|name| kept.put(key(name), name));
        assert!(kept.get(&key(0)).is_some(), "used just now");
        kept.put(key(MOST), MOST);
        assert_eq!((kept.get(&key(0)).is_some(), kept.get(&key(1)).is_none(), kept.held.len()), (true, true, MOST));
    }

    #[test]
    fn what_is_wrong_is_remembered_until_somebody_chooses_again_or_the_file_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("real.npz");
        let key = || Key::of(&path, "aa", [3, 8, 8]);
        let mut kept = Kept::<()>::default();
        assert_eq!(kept.fault(&key(), 1), None, "nobody looked");
        kept.note(key(), 1, Err("nothing is there".to_owned()));
        assert_eq!(kept.fault(&key(), 1), Some(&Err("nothing is there".to_owned())));
        assert_eq!(kept.fault(&key(), 2), None, "chosen again");
        std::fs::write(&path, "put back").unwrap();
        assert_eq!(kept.fault(&key(), 1), None, "it is there now");
        kept.note(key(), 1, Ok(()));
        assert_eq!(kept.fault(&key(), 1), Some(&Ok(())));
    }
}
