//! What lies in a folder, by name.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::super::{ExportError, TEMPORARY, npz};
use super::{LOCK, NEW, PARTS, UNFINISHED};

/// Removes what was being written when the program ended; nobody else may be at work in the folder.
pub(super) fn sweep(folder: &Path) {
    remove_new(folder);
    for entry in ["", PARTS].iter().filter_map(|below| std::fs::read_dir(folder.join(below)).ok()).flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _may_be_gone = std::fs::remove_file(entry.path());
        }
    }
}

/// What has the name of something that is being written.
pub(super) fn unfinished(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY)))
}

/// Removes the folder of results that are being written.
pub(super) fn remove_new(folder: &Path) {
    let _may_not_be_there = std::fs::remove_dir_all(folder.join(NEW));
}

/// Whether something finished of something long lies there for sure.
pub(super) fn holds_parts(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder.join(PARTS)).into_iter().flatten().flatten();
    let says_places = |path: &Path| matches!(npz::read::<i64>(path, "places"), Ok(Some(_)));
    entries.map(|entry| entry.path()).any(|path| is_numbered(&path) && says_places(&path))
}

/// Bytes of what is finished.
pub(in crate::export) fn bytes_of_parts(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder.join(PARTS)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

/// Whether somebody holds the lock of a folder.
pub(super) fn is_locked(folder: &Path) -> bool {
    // Opened for writing: some systems lock nothing else.
    let lock = File::options().append(true).open(folder.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

pub(super) fn is_filled(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// `out`, `out-2`, `out-3`, and so on.
pub(super) fn numbered(folder: &Path, number: u32) -> PathBuf {
    match (number, folder.file_name()) {
        (1, _) | (_, None) => folder.to_owned(),
        (_, Some(name)) => folder.with_file_name(format!("{}-{number}", name.to_string_lossy())),
    }
}

/// The outermost of the folders that are not there yet.
pub(super) fn first_missing(folder: &Path) -> Option<PathBuf> {
    let named = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    folder.ancestors().take_while(named).last().map(Path::to_owned)
}

/// Names of files that are there and that `files` stands for: one, or with a `*` all that begin and end as it says.
pub(super) fn matching(folder: &Path, files: &str) -> Result<Vec<String>, ExportError> {
    let Some((before, after)) = files.split_once('*') else {
        let is_there = folder.join(files).symlink_metadata().is_ok();
        return Ok(is_there.then(|| files.to_owned()).into_iter().collect());
    };
    let (below, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let place = folder.join(below);
    let fail = |source| ExportError::Folder { path: place.clone(), source };
    // What lies behind a link is somebody else's.
    if !place.is_dir() || !below.is_empty() && place.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        let in_the_way = !below.is_empty() && place.symlink_metadata().is_ok();
        return Ok(in_the_way.then(|| below.to_owned()).into_iter().collect());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(after) && !name.starts_with(TEMPORARY) {
            found.push(if below.is_empty() { name } else { format!("{below}/{name}") });
        }
    }
    found.sort();
    Ok(found)
}

/// The name of the folder of unfinished results, where something else has it: a file, or a link, behind which everything is
/// somebody else's.
pub(super) fn in_the_way(folder: &Path) -> Option<String> {
    let meta = folder.join(UNFINISHED).symlink_metadata().ok()?;
    (!meta.is_dir()).then(|| UNFINISHED.to_owned())
}

/// Whether a file has the name of a part.
pub(in crate::export) fn is_numbered(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".npz"));
    name.is_some_and(|number| number.len() >= 8 && number.bytes().all(|digit| digit.is_ascii_digit()))
}
