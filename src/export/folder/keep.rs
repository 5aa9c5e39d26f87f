//! What stays of results that a disk has no room for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::TEMPORARY;
use super::{BELOW, Extent, NEW, OutFolder, UNFINISHED};

/// What a disk takes for a folder or a short file, in bytes.
const BLOCK: usize = 4096;
/// What an index says of a file behind its name: a hash, and what stands around it, in bytes.
const LINE: usize = 90;

/// Room that is held while results are written, for what is needed behind them: an index, and the folders that they are moved to.
/// Without it, a disk that fills would take all of them.
pub(super) struct Reserve(Vec<PathBuf>);

impl Reserve {
    /// Where the disk has no room for it, it has none for results.
    pub(super) fn take(new: &Path, names: &[String]) -> Self {
        let index = BLOCK + names.iter().map(|name| name.len() + LINE).sum::<usize>();
        let folders: BTreeSet<&str> = names.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
        // Two more where they will lie beside earlier ones.
        let blocks = std::iter::repeat_n(BLOCK, folders.len() + 2);
        let path = |place: usize| new.join(format!("{TEMPORARY}{place}"));
        let held = std::iter::once(index).chain(blocks).enumerate().map(|(place, bytes)| {
            if let Err(error) = std::fs::write(path(place), vec![b' '; bytes]) {
                tracing::debug!(%error, "no room is held");
            }
            path(place)
        });
        Self(held.collect())
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        for path in &self.0 {
            let _may_not_be_there = std::fs::remove_file(path);
        }
    }
}

impl OutFolder {
    /// Keeps what there is room for of results that [`Self::publish`] could not write, as if the command had been stopped after
    /// `done`: whole files only, of `names`, which stand in order of worth. Says which are there then, and behind how much of the
    /// work they are: nothing is changed where an earlier try's results hold a file that would not be among them.
    #[must_use]
    pub fn keep_what_fits(&mut self, names: &[String], done: u64) -> (Vec<String>, u64) {
        let new = self.path.join(NEW);
        if self.index.next.is_some() {
            // All of them are written and about to be moved: this or the next command ends it.
            let _the_next_ends_it = self.index.end_moving(&self.path).map(|aside| self.aside.extend(aside));
            return (names.to_vec(), done);
        }
        let below = if self.index.earlier { BELOW } else { "" };
        if self.index.earlier && names.iter().any(|name| new.join(name).exists()) {
            // Folder by folder: each new one would need room.
            let made = std::fs::create_dir_all(new.join(UNFINISHED));
            let tops: BTreeSet<&str> = names.iter().filter_map(|name| name.split('/').next()).collect();
            let moved = made.and_then(|()| {
                tops.into_iter()
                    .filter(|top| new.join(top).exists())
                    .try_for_each(|top| std::fs::rename(new.join(top), new.join(UNFINISHED).join(top)))
            });
            moved.unwrap_or_else(|error| tracing::debug!(%error, "a result that is whole cannot be kept"));
        }
        let mut kept: Vec<String> = names.iter().map(|name| format!("{below}{name}")).collect();
        kept.retain(|name| new.join(name).is_file());
        let is_held = |name: &&String| name.starts_with(below) && self.path.join(name).exists();
        let held: Vec<String> = self.index.files.keys().filter(is_held).cloned().collect();
        let plain = |names: &[String]| names.iter().map(|name| name[below.len()..].to_owned()).collect();
        while !kept.is_empty() && held.iter().all(|name| kept.contains(name)) {
            if self.index.begin_moving(&self.path, kept.clone(), Extent::Part(done)).is_ok() {
                self.written = true;
                let _the_next_ends_it = self.index.end_moving(&self.path).map(|aside| self.aside.extend(aside));
                return (plain(&kept), done);
            }
            // An index of fewer needs less.
            for name in kept.split_off(kept.len() - kept.len().div_ceil(8)) {
                let _may_be_gone = std::fs::remove_file(new.join(name));
            }
        }
        (plain(&held), self.index.done)
    }
}
