//! What was found out about a file, for as long as the file stays as it is: the window asks again at every undo, and recognising
//! a checkpoint means to open it, which takes seconds where it lies on a slow drive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Manifest, manifest_beside};
use crate::checkpoint::CheckpointError;
use crate::file::Stamp;

/// Answers that are kept.
const MOST: usize = 64;
/// Files of a folder that are looked at, to see whether it is still the same.
const MOST_FILES: usize = 256;

/// What is known of a model.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) manifest: Manifest,
    /// The file of the weights where it is not bundled.
    pub(super) weights: Option<PathBuf>,
    /// What was assumed of it, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Every file that an answer rests on; `None` for one that is not there.
type Seen = Vec<(PathBuf, Option<Stamp>)>;

static KNOWN: Mutex<BTreeMap<String, (Seen, Found)>> = Mutex::new(BTreeMap::new());

/// The answer of `look`, or the one before when no file has changed since in length or time.
///
/// # Errors
/// Those of `look`; they are not kept.
pub(super) fn remembered(
    reference: &str,
    look: impl FnOnce(&str) -> Result<Found, CheckpointError>,
) -> Result<Found, CheckpointError> {
    // Before it is looked at: what changes meanwhile is looked at again the next time.
    let seen = seen(Path::new(reference));
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, found)) = known().get(reference).filter(|(before, _)| *before == seen) {
        return Ok(found.clone());
    }
    let found = look(reference)?;
    let mut known = known();
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(reference.to_owned(), (seen, found.clone()));
    Ok(found)
}

/// Files that held what they should, as they were then.
static WHOLE: Mutex<BTreeMap<PathBuf, Stamp>> = Mutex::new(BTreeMap::new());

/// Whether `check` says that a file holds what it should, which is asked once for as long as its length and its time stay.
pub(super) fn is_whole(path: &Path, check: impl FnOnce() -> bool) -> bool {
    // Before it is read, as above.
    let now = Stamp::of(path);
    let whole = || WHOLE.lock().unwrap_or_else(PoisonError::into_inner);
    if now.is_some() && whole().get(path).copied() == now {
        return true;
    }
    let is_whole = check();
    if let Some(now) = now.filter(|_| is_whole) {
        whole().insert(path.to_owned(), now);
    }
    is_whole
}

/// The file, or those of a folder two levels deep, and the manifest beside it.
fn seen(path: &Path) -> Seen {
    let mut paths = vec![path.to_owned(), manifest_beside(path)];
    // What the folder of a file says of it.
    paths.extend(["config.json", "preprocessor_config.json"].map(|name| path.with_file_name(name)));
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()).take(MOST_FILES) {
            if depth == 0 && path.is_dir() {
                folders.push((path.clone(), depth + 1));
            }
            paths.push(path);
        }
    }
    // Their order is the system's.
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), Stamp::of(&path))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{BUNDLED, bundled_manifest};
    use super::*;

    #[test]
    fn a_file_is_looked_at_once_and_again_when_it_or_its_manifest_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.pt");
        std::fs::write(&path, "one").unwrap();
        let looks = std::cell::Cell::new(0);
        let ask = || {
            let look = |_: &str| {
                looks.set(looks.get() + 1);
                Ok(Found { manifest: bundled_manifest(&BUNDLED[0]), weights: None, notes: Vec::new() })
            };
            remembered(path.to_str().unwrap(), look).unwrap();
            looks.get()
        };
        assert_eq!((ask(), ask()), (1, 1));
        std::fs::write(&path, "another").unwrap();
        assert_eq!((ask(), ask()), (2, 2));
        std::fs::write(folder.path().join("mine.toml"), "").unwrap();
        assert_eq!((ask(), ask()), (3, 3));
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - 1000 * written.elapsed().unwrap()).unwrap();
        assert_eq!((ask(), ask()), (4, 4), "of the same length, but of another time");
    }

    #[test]
    fn a_file_that_was_whole_is_read_again_when_it_changes_and_one_that_was_not_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, "whole").unwrap();
        let reads = std::cell::Cell::new(0);
        let ask = || {
            let check = || {
                reads.set(reads.get() + 1);
                std::fs::read(&path).unwrap() == b"whole"
            };
            (is_whole(&path, check), reads.get())
        };
        assert_eq!((ask(), ask()), ((true, 1), (true, 1)));
        std::fs::write(&path, "whale").unwrap();
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.set_modified(file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_secs(60)).unwrap();
        assert_eq!((ask(), ask()), ((false, 2), (false, 3)));
    }

    #[test]
    fn a_folder_is_looked_at_again_when_a_file_in_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("unet").join("config.json");
        std::fs::create_dir(folder.path().join("unet")).unwrap();
        std::fs::write(&config, "{}").unwrap();
        let before = seen(folder.path());
        assert_eq!(before, seen(folder.path()));
        std::fs::write(&config, "{ }").unwrap();
        assert_ne!(before, seen(folder.path()));
    }
}
