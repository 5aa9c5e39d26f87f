//! How a folder is left: what came of the work stays, and what came to nothing leaves everything as it was.

use std::path::Path;

use super::index::Index;
use super::lying::sweep;
use super::{INDEX, LOCK, OutFolder, PARTS, stash};

impl OutFolder {
    /// Nothing came of the work: everything is as before.
    fn undo(&self) -> std::io::Result<()> {
        match &self.replaced {
            Some(index) => return index.write(&self.path).map_err(std::io::Error::other),
            None => {
                let _may_not_be_there = std::fs::remove_file(self.path.join(INDEX));
            }
        }
        let Some(made) = &self.made else { return Ok(()) };
        for folder in self.path.ancestors() {
            // Not when somebody put something there meanwhile.
            std::fs::remove_dir(folder)?;
            if folder == made {
                break;
            }
        }
        Ok(())
    }
}

/// Removes what is half written and the lock; what is being moved is whole, and the next command ends that.
pub(super) fn leave(folder: &Path) {
    if Index::read(folder).is_none_or(|index| index.next.is_none()) {
        sweep(folder);
    }
    let _may_be_gone = std::fs::remove_file(folder.join(LOCK));
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        leave(&self.path);
        let parts = self.path.join(PARTS);
        let _may_not_be_empty = std::fs::remove_dir(&parts);
        if self.parts && !self.written && !parts.exists() {
            // Moved away or removed by the user: as after a kill, the next command finds out whether they are back.
            return;
        }
        let taken_back = stash::end(&self.path, self.written);
        if self.written || parts.exists() || !matches!(taken_back, Ok(false)) {
            return;
        }
        if let Err(error) = self.undo() {
            tracing::debug!(%error, "something of the folder stays");
        }
    }
}

/// Leaves a folder that is ours because the program ends at once: what is finished stays, and nothing that says nothing.
pub fn abandon(folder: &Path) {
    leave(folder);
    let _may_not_be_empty = std::fs::remove_dir(folder.join(PARTS));
    // Whose index says what computes had something finished, or was about to: the user may have moved it away.
    let is_nothing = |index: Index| index.is_bare() && index.provenance.is_none();
    if Index::read(folder).is_some_and(is_nothing) && !folder.join(PARTS).exists() {
        let _may_be_gone = std::fs::remove_file(folder.join(INDEX));
        let _may_not_be_empty = std::fs::remove_dir(folder);
    }
}
