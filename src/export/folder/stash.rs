//! What an earlier command had finished of something long, while another one begins anew in its place: it is set aside, and comes
//! back with its index when nothing comes of the new work.

use std::path::{Path, PathBuf};

use super::super::parts::UNDER_WAY;
use super::super::{ExportError, npz};
use super::index::Index;
use super::lying::is_numbered;
use super::{INDEX, PARTS};

/// The folder that it is set aside in.
const STASH: &str = ".lapidary-out-parts";

/// Files of the folder of parts that have the name of one of ours.
fn named(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_named = |path: &PathBuf| is_numbered(path) || path.file_name().is_some_and(|name| name == UNDER_WAY);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_named).collect();
    paths.sort();
    paths
}

/// Whether a file is as it was written for the work of this recipe.
fn is_ours(path: &Path, recipe: &str) -> bool {
    if is_numbered(path) {
        return npz::check(path, recipe).is_ok();
    }
    matches!(npz::read::<i64>(path, "iteration"), Ok(Some(_)))
}

/// A file that only has the name of a part: somebody else's, or one that somebody wrote into.
pub(super) fn stranger(folder: &Path, recipe: &str) -> Option<PathBuf> {
    named(&folder.join(PARTS)).into_iter().find(|path| !is_ours(path, recipe))
}

/// Removes what was finished for this recipe, and nothing else that lies there.
pub(super) fn remove(folder: &Path, recipe: &str) -> Result<(), ExportError> {
    let parts = folder.join(PARTS);
    if parts.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        for path in named(&parts).into_iter().filter(|path| is_ours(path, recipe)) {
            std::fs::remove_file(&path).map_err(|source| ExportError::Folder { path, source })?;
        }
    }
    let _others_stay = std::fs::remove_dir(&parts);
    Ok(())
}

/// Sets aside what was finished for the work of `index`, with that index; a [`stranger`] was looked for before.
pub(super) fn put(folder: &Path, index: &Index) -> Result<(), ExportError> {
    let (parts, stash) = (folder.join(PARTS), folder.join(STASH));
    let paths = named(&parts);
    if paths.is_empty() {
        return Ok(());
    }
    let fail = |path: &Path, source| ExportError::Folder { path: path.to_owned(), source };
    std::fs::create_dir_all(&stash).map_err(|source| fail(&stash, source))?;
    index.write(&stash)?;
    // What was under way first: what a kill leaves behind says then whose it is.
    for path in paths.into_iter().rev() {
        let to = stash.join(path.file_name().unwrap_or_default());
        std::fs::rename(&path, to).map_err(|source| fail(&path, source))?;
    }
    let _others_stay = std::fs::remove_dir(&parts);
    Ok(())
}

/// Takes it back where nothing came of the work that took its place, and forgets it where something did; `came`: results were
/// written. Whether it was taken back.
pub(super) fn end(folder: &Path, came: bool) -> Result<bool, ExportError> {
    let (parts, stash) = (folder.join(PARTS), folder.join(STASH));
    let Some(index) = Index::read(&stash) else { return Ok(false) };
    let fail = |path: &Path, source| ExportError::Folder { path: path.to_owned(), source };
    // A kill may have left some of the same work behind.
    let is_same = |path: &PathBuf| is_numbered(path) && is_ours(path, &index.recipe);
    let takes_back = !came && named(&parts).iter().all(is_same);
    for path in named(&stash) {
        if takes_back {
            std::fs::create_dir_all(&parts).map_err(|source| fail(&parts, source))?;
            let to = parts.join(path.file_name().unwrap_or_default());
            std::fs::rename(&path, to).map_err(|source| fail(&path, source))?;
        } else if is_ours(&path, &index.recipe) {
            std::fs::remove_file(&path).map_err(|source| fail(&path, source))?;
        }
    }
    if takes_back {
        index.write(folder)?;
    }
    let _may_be_gone = std::fs::remove_file(stash.join(INDEX));
    let _others_stay = std::fs::remove_dir(&stash);
    Ok(takes_back)
}
