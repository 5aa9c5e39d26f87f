//! The file that is being written: every record as it comes, so that a crash costs nothing.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::record::{MAGIC, Record};
use super::storage::StorageEvent;
use crate::trace::StateId;

/// Name of the journal in an autosave folder and in a session file.
pub(super) const JOURNAL: &str = "journal.bin";

/// The journal that is being written.
pub(super) struct Journal {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) epoch: u64,
    /// Records that could not be written, oldest first; tried again before the next one.
    pub(super) unwritten: Vec<Record>,
    _lock: File,
}

impl Journal {
    pub(super) fn create(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(JOURNAL);
        let fail = |source| StorageError::Write { what: "the autosave cannot be written", path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(fail)?;
        let lock = File::create(folder.join("lock")).map_err(fail)?;
        lock.try_lock().map_err(|error| fail(error.into()))?;
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).map_err(fail)?;
        file.write_all(MAGIC).map_err(fail)?;
        Ok(Self { file, path: path.clone(), length: MAGIC.len() as u64, epoch: 0, unwritten: Vec::new(), _lock: lock })
    }

    pub(super) fn reset(&mut self, epoch: u64) -> std::io::Result<()> {
        self.epoch = epoch;
        self.unwritten.clear();
        self.length = MAGIC.len() as u64;
        self.file.set_len(self.length)
    }

    /// Appends; returns the place of the record. A torn record is cut off again.
    pub(super) fn append(&mut self, record: &Record) -> std::io::Result<u64> {
        let offset = self.length;
        self.file.seek(SeekFrom::Start(offset))?;
        match record.write(&mut self.file) {
            Ok(written) => {
                self.length += written;
                Ok(offset)
            }
            Err(error) => {
                self.file.set_len(offset)?;
                Err(error)
            }
        }
    }

    /// Appends what is still unwritten, then `record`. A disk that was full may have room again; the order stays.
    pub(super) fn append_or_keep(&mut self, record: &Record, tell: &mut dyn FnMut(StorageEvent)) {
        let had_failed = !self.unwritten.is_empty();
        let mut waiting = std::mem::take(&mut self.unwritten);
        waiting.push(record.clone());
        let mut waiting = waiting.into_iter();
        while let Some(record) = waiting.next() {
            match self.append(&record) {
                Ok(offset) => {
                    if let Record::State(run, state) = &record {
                        let id = StateId { run: *run, iteration: state.iteration };
                        tell(StorageEvent::Stored { epoch: self.epoch, id, offset });
                    }
                }
                Err(source) => {
                    self.unwritten.push(record);
                    self.unwritten.extend(waiting);
                    if !had_failed {
                        let what = "the autosave cannot be written, so iterates stay in memory only";
                        let error = StorageError::Write { what, path: self.path.clone(), source };
                        tell(StorageEvent::Failed(crate::error::error_chain(&error)));
                    }
                    return;
                }
            }
        }
    }

    /// Makes the journal a copy of `bytes` bytes. The copy is complete before it takes the journal's place.
    pub(super) fn replace(&mut self, from: &mut impl Read, bytes: u64, epoch: u64) -> std::io::Result<()> {
        let next = self.path.with_extension("next");
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&next)?;
        let copied = std::io::copy(&mut from.take(bytes), &mut file).and_then(|length| {
            std::fs::rename(&next, &self.path)?;
            Ok(length)
        });
        match copied {
            Ok(length) => {
                (self.file, self.length, self.epoch) = (file, length, epoch);
                self.unwritten.clear();
                Ok(())
            }
            Err(error) => {
                drop(std::fs::remove_file(&next));
                Err(error)
            }
        }
    }
}
