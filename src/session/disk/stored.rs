//! What a session file holds besides its states.

use std::path::Path;
use std::sync::Arc;

use super::archive::{Contents, Entries, Halt, with_packed_journal};
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::session::error::StorageError;

/// Pictures, and what belongs to them.
#[derive(Debug)]
pub struct Stored {
    /// Its pictures.
    pub origins: Option<Arc<Origins>>,
    /// The real ones that early stopping compares with.
    pub references: Option<ImageBatch>,
    /// The mask that is painted over its pictures.
    pub mask: Option<Mask>,
}

/// The pictures that a session file holds, and what belongs to them; its states are not read.
///
/// # Errors
/// [`StorageError`] when it is no session file or cannot be read.
pub fn stored_pictures(path: &Path) -> Result<Stored, StorageError> {
    let mut contents = Contents::default();
    let read = with_packed_journal(path, &mut |input, _| {
        let mut entries = Entries::new(input, path)?;
        // They come before the first state.
        while let Some(raw) = entries.next().filter(|raw| !raw.is_state()) {
            contents.take(&raw, 0);
        }
        Ok(())
    });
    match read {
        Ok(Some(())) => {
            let Contents { origins, references, mask, .. } = contents;
            Ok(Stored { origins: origins.map(|(origins, _)| origins), references, mask })
        }
        Ok(None) | Err(Halt::Stopped) => Err(StorageError::NotASession { path: path.to_owned() }),
        Err(Halt::Failed(error)) => Err(error),
    }
}
