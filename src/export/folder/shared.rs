//! A folder with a share of something long: as whoever makes it sees it, and as whoever puts all shares together does, who changes
//! nothing in it.

use std::path::{Path, PathBuf};

use super::super::parts::{Part, batches_in};
use super::super::share::Share;
use super::OutFolder;
use super::index::{Index, difference};
use super::lying::{bytes_of_parts, is_locked};
use crate::session::Provenance;

impl OutFolder {
    /// What this is a share of, where several runs make the results.
    #[must_use]
    pub const fn share(&self) -> Option<&Share> {
        self.index.share.as_ref()
    }

    /// Says that all places of the share are done, and that so many pictures came of it: its batches stay when what is written
    /// about them is finished.
    pub const fn end_share(&mut self, pictures: usize) {
        if let Some(share) = &mut self.index.share {
            share.ended = Some(pictures);
        }
    }
}

/// A folder with a share.
#[derive(Debug, Clone)]
pub struct ShareFolder {
    path: PathBuf,
    index: Index,
    share: Share,
    /// Its batches that are whole, in order and without a hole.
    pub(in crate::export) batches: Vec<Part>,
}

impl ShareFolder {
    /// Reads what a folder says; `None` where it says nothing of a share, or what cannot be.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let index = Index::read(path).filter(|index| index.strange().is_none())?;
        let share = index.share.clone().filter(Share::is_consistent)?;
        let (batches, _) = batches_in(path, &index.recipe, share.own.start).unwrap_or_default();
        Some(Self { path: path.to_owned(), index, share, batches })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    #[must_use]
    pub const fn share(&self) -> &Share {
        &self.share
    }

    /// Stands for everything that the results of the whole depend on.
    #[must_use]
    pub fn recipe(&self) -> &str {
        &self.index.recipe
    }

    /// What computed it, as far as it is known.
    #[must_use]
    pub const fn provenance(&self) -> Option<&Provenance> {
        self.index.provenance.as_ref()
    }

    /// What sets it apart from another share of the same work, in words: by another version, with another model or on another
    /// device. One that nothing was computed for is made like any.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        difference(self.provenance()?, other.provenance()?)
    }

    /// Whether somebody works on it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        is_locked(&self.path)
    }

    /// Pictures in its batches that are whole.
    #[must_use]
    pub fn pictures(&self) -> usize {
        self.batches.iter().map(Part::count).sum()
    }

    /// Places that are still to be done; those of a batch that is lost count.
    #[must_use]
    pub fn left(&self) -> usize {
        let Share { own, ended, .. } = &self.share;
        let next = self.batches.last().map_or(own.start, Part::end);
        match ended {
            Some(pictures) if self.index.finished && *pictures == self.pictures() => 0,
            None if self.index.finished => 0,
            _ => own.end.saturating_sub(next).max(1),
        }
    }

    /// Bytes of its batches and results.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let length = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
        let results = self.index.files.keys().map(|name| length(&self.path.join(name))).sum::<u64>();
        results + bytes_of_parts(&self.path)
    }

    /// Names of the results that were put together here already, of a share that is all of the whole, or that describe it.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        self.index.files.keys().cloned().collect()
    }

    /// The first of [`Self::files`] that is missing or was changed since it was written.
    #[must_use]
    pub fn changed(&self) -> Option<PathBuf> {
        self.index.files.keys().find(|name| !self.index.is_ours(&self.path, name)).map(|name| self.path.join(name))
    }
}

/// Whether batches of a share that was finished are missing.
pub(super) fn lacks_parts(folder: &Path, index: &Index) -> bool {
    let Some((own, Some(pictures))) = index.share.as_ref().map(|share| (&share.own, share.ended)) else { return false };
    let (batches, _) = batches_in(folder, &index.recipe, own.start).unwrap_or_default();
    batches.iter().map(Part::count).sum::<usize>() != pictures
}
