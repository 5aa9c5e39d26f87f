//! How far the work of a folder had come, so that what was finished and taken away since is told of, and where it lies.

use std::path::{Path, PathBuf};

use super::super::ExportError;
use super::index::Index;
use super::{Claim, Earlier, OutFolder, UNFINISHED};

impl Claim<'_> {
    /// The index of work that begins. Where all finished batches of the same work were taken away, what is left of it says so.
    pub(super) fn new_index(&self, folder: &Path, replaced: Option<&Index>) -> Index {
        let before = Index::read(folder).filter(|index| self.earlier == Earlier::Resume && index.is_of(self));
        let mut index = Index::new(self.recipe, self.share, replaced);
        index.reached = before.map_or(0, |index| index.reached);
        index
    }
}

impl OutFolder {
    /// The place behind the last batch that was finished, also by an earlier run.
    #[must_use]
    pub const fn reached(&self) -> usize {
        self.index.reached as usize
    }

    /// Remembers that batches are finished up to this place.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn set_reached(&mut self, place: usize) -> Result<(), ExportError> {
        self.index.reached = place as u64;
        self.index.write(&self.path)
    }
}

/// Where the results of a command lie that was stopped in this folder.
#[must_use]
pub fn unfinished_in(folder: &Path) -> PathBuf {
    let is_beside = Index::read(folder).is_some_and(|index| index.earlier && !index.finished);
    if is_beside { folder.join(UNFINISHED) } else { folder.to_owned() }
}
