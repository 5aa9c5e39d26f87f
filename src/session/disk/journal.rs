//! The file that is being written: every entry as it comes, so that a crash costs nothing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::DiskEvent;
use super::entry::{Entry, Fact};
use super::raw::{MAGIC, Raw};
use crate::origins::Origins;
use crate::refiner::State;
use crate::session::error::StorageError;
use crate::trace::StateId;

/// Name of the journal in an autosave folder and in a session file.
pub(super) const JOURNAL: &str = "journal.bin";
/// Name of the file in an autosave folder that its owner holds.
pub(super) const LOCK: &str = "lock";

/// The journal that is being written.
pub(super) struct Journal {
    file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    pub(super) epoch: u64,
    /// The newest origins and their place: what lies before is void.
    pub(super) origins: Option<(Arc<Origins>, u64)>,
    /// Entries that could not be written, oldest first; tried again before the next one. The session holds the pictures
    /// anyway until they are safe, and computes no more when they are too many.
    pub(super) unwritten: VecDeque<Entry>,
    /// What is still being changed, settings and what is painted: a slider that is dragged is one entry, not sixty a second.
    changing: Vec<Fact>,
    /// Whether the disk may not hold everything that was written.
    unsynced: bool,
    /// Whether it was told that the disk refuses to hold it.
    told_unsynced: bool,
    /// Whether it was told that the file is gone and cannot be written anew.
    told_gone: bool,
    /// Whether the file could not be cut off where the journal ends.
    is_long: bool,
    lock: File,
}

impl Journal {
    pub(super) fn create(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(JOURNAL);
        let fail = |source| StorageError::Write { what: "the autosave cannot be written", path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(fail)?;
        let lock = File::create(folder.join(LOCK)).map_err(fail)?;
        lock.try_lock().map_err(|error| fail(error.into()))?;
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).map_err(fail)?;
        file.write_all(MAGIC).map_err(fail)?;
        Ok(Self {
            file,
            path: path.clone(),
            length: MAGIC.len() as u64,
            epoch: 0,
            origins: None,
            unwritten: VecDeque::new(),
            changing: Vec::new(),
            unsynced: true,
            told_unsynced: false,
            told_gone: false,
            is_long: false,
            lock,
        })
    }

    /// Begins anew. Should the file refuse to become shorter, what it held is cut off before the next entry.
    pub(super) fn reset(&mut self, epoch: u64) -> std::io::Result<()> {
        (self.epoch, self.origins) = (epoch, None);
        self.changing.clear();
        self.unwritten.clear();
        self.length = MAGIC.len() as u64;
        self.unsynced = true;
        self.cut()
    }

    /// Ends the file where the journal ends.
    fn cut(&mut self) -> std::io::Result<()> {
        self.is_long = true;
        self.file.set_len(self.length)?;
        self.is_long = false;
        Ok(())
    }

    /// Appends; returns the place of the entry. A torn entry is cut off again.
    fn append(&mut self, entry: &Entry) -> std::io::Result<u64> {
        let offset = self.length;
        let origins = self.origins.as_ref().map(|(origins, _)| &**origins);
        let raw = entry.encode(origins);
        if self.is_long {
            self.cut()?;
        }
        self.file.seek(SeekFrom::Start(offset))?;
        self.unsynced = true;
        match raw.write(&mut self.file) {
            Ok(written) => {
                self.length += written;
                if let Entry::Origins(origins) = entry {
                    self.origins = Some((origins.clone(), offset));
                }
                Ok(offset)
            }
            Err(error) => {
                self.cut()?;
                Err(error)
            }
        }
    }

    /// Appends what is still unwritten, then `entry`. A disk that was full may have room again; the order stays.
    pub(super) fn append_or_keep(&mut self, entry: Entry, tell: &mut dyn FnMut(DiskEvent)) {
        if let Entry::Fact(fact @ (Fact::Settings(_) | Fact::Mask(_))) = entry {
            self.changing.retain(|other| discriminant(other) != discriminant(&fact));
            self.changing.push(fact);
            return;
        }
        let had_failed = !self.unwritten.is_empty();
        self.unwritten.extend(self.changing.drain(..).map(Entry::Fact));
        self.unwritten.push_back(entry);
        self.write_waiting(had_failed, tell);
    }

    fn write_waiting(&mut self, had_failed: bool, tell: &mut dyn FnMut(DiskEvent)) {
        while let Some(entry) = self.unwritten.pop_front() {
            match self.append(&entry) {
                Ok(offset) => {
                    if let Entry::State(run, state) = &entry {
                        let id = StateId { run: *run, iteration: state.iteration };
                        tell(DiskEvent::Stored { epoch: self.epoch, id, offset });
                    }
                }
                Err(source) => {
                    self.unwritten.push_front(entry);
                    if !had_failed {
                        let what = "the autosave cannot be written, so iterates stay in memory, and computing waits when that is full";
                        let error = StorageError::Write { what, path: self.path.clone(), source };
                        tell(DiskEvent::Unwritten(crate::error::error_chain(&error)));
                    }
                    return;
                }
            }
        }
    }

    /// Whether there is something that [`Self::settle`] has to do.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsynced || !self.changing.is_empty() || !self.unwritten.is_empty()
    }

    /// Writes what waits, and has the disk hold what was written.
    pub(super) fn settle(&mut self, tell: &mut dyn FnMut(DiskEvent)) {
        let had_failed = !self.unwritten.is_empty();
        self.unwritten.extend(self.changing.drain(..).map(Entry::Fact));
        self.write_waiting(had_failed, tell);
        self.come_back(tell);
        if self.unsynced {
            // Once for each entry: a disk that refuses is not asked every second.
            self.unsynced = false;
            let synced = self.file.sync_data();
            let was_told = std::mem::replace(&mut self.told_unsynced, synced.is_err());
            if let (Err(source), false) = (synced, was_told) {
                let what = "the autosave may not survive a power cut";
                let error = StorageError::Write { what, path: self.path.clone(), source };
                tell(DiskEvent::Failed(crate::error::error_chain(&error)));
            }
        }
    }

    /// Writes the file anew where somebody removed it: what it held is there as long as it is open.
    fn come_back(&mut self, tell: &mut dyn FnMut(DiskEvent)) {
        if self.path.exists() {
            self.told_gone = false;
            return;
        }
        let restored = self.restore();
        let was_told = std::mem::replace(&mut self.told_gone, restored.is_err());
        match restored {
            Ok(()) => {
                tracing::warn!(path = ?self.path, "the autosave was removed by another program, and is written anew");
                self.unsynced = true;
            }
            Err(source) if !was_told => {
                let what = "the autosave was removed by another program and cannot be written anew, so save the session into a file";
                let error = StorageError::Write { what, path: self.path.clone(), source };
                tell(DiskEvent::Failed(crate::error::error_chain(&error)));
            }
            Err(_) => {}
        }
    }

    fn restore(&mut self) -> std::io::Result<()> {
        let folder = folder_of(&self.path).to_owned();
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock()?;
        let mut copy = temporary_in(&folder)?;
        self.file.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut (&self.file).take(self.length), copy.as_file_mut())?;
        let file = copy.persist(&self.path).map_err(|error| error.error)?;
        sync_folder(&folder)?;
        self.file = file;
        drop(std::mem::replace(&mut self.lock, lock));
        Ok(())
    }

    /// From the origins that count on, or from the first entry; and how many bytes that are.
    pub(super) fn entries(&mut self) -> std::io::Result<(BufReader<&File>, u64)> {
        let start = self.origins.as_ref().map_or(MAGIC.len() as u64, |(_, offset)| *offset);
        self.file.seek(SeekFrom::Start(start))?;
        Ok((BufReader::with_capacity(1 << 20, &self.file), self.length - start))
    }

    /// Reads a state; `None` when it is not at that place.
    pub(super) fn read(&mut self, id: StateId, offset: u64) -> Option<Arc<State>> {
        self.file.seek(SeekFrom::Start(offset)).ok()?;
        let raw = Raw::read(&mut BufReader::new(&self.file))?;
        let (found, state) = raw.state(self.origins.as_ref().map(|(origins, _)| &**origins))?;
        (found == id).then(|| Arc::new(state))
    }

    /// Goes on in `file`, which holds `length` bytes and lies at the journal's path already.
    pub(super) fn go_on_in(&mut self, (file, length): (File, u64), origins: Option<(Arc<Origins>, u64)>, epoch: u64) {
        (self.file, self.length, self.origins, self.epoch) = (file, length, origins, epoch);
        (self.unsynced, self.is_long) = (true, false);
        self.changing.clear();
        self.unwritten.clear();
    }
}

/// Has the disk hold the names in a folder: without that a renamed file may have its old name after a power cut.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The folder that a file lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A new file beside its target, with the rights of any other new file.
///
/// # Errors
/// Those of the system.
pub(super) fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    temporary_named(folder, ".tmp")
}

/// Likewise; its name begins as `prefix` says.
///
/// # Errors
/// Those of the system.
pub fn temporary_named(folder: &Path, prefix: &str) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::refiner::{Numbers, SampleState};
    use crate::session::Settings;
    use crate::trace::RunId;

    fn state(iteration: u32) -> Entry {
        let numbers = Numbers { state: vec![SampleState::Active], objective: vec![0.5], ..Default::default() };
        let images = ImageBatch::new([1, 1, 1, 2], vec![0.25, 0.5]);
        Entry::State(RunId(1), Arc::new(State { iteration, images, numbers }))
    }

    fn id(iteration: u32) -> StateId {
        StateId { run: RunId(1), iteration }
    }

    #[test]
    fn a_state_is_read_from_its_own_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        let mut places = Vec::new();
        for k in 0..2 {
            journal.append_or_keep(state(k), &mut |event| match event {
                DiskEvent::Stored { offset, .. } => places.push(offset),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(journal.read(id(1), places[1]).unwrap().iteration, 1);
        assert!(journal.read(id(1), places[0]).is_none(), "another state lies there");
        assert!(journal.read(id(1), places[1] + 1).is_none());
    }

    #[test]
    fn a_disk_that_refuses_is_told_once_and_written_to_when_it_has_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        let good = std::mem::replace(&mut journal.file, File::open(folder.path().join(JOURNAL)).unwrap());
        let mut told = 0;
        for k in 0..3 {
            journal.append_or_keep(state(k), &mut |event| {
                assert!(matches!(event, DiskEvent::Unwritten(_)), "{event:?}");
                told += 1;
            });
        }
        journal.settle(&mut |event| panic!("it was told before: {event:?}"));
        assert_eq!((told, journal.unwritten.len()), (1, 3));
        journal.file = good;
        let mut stored = Vec::new();
        journal.settle(&mut |event| match event {
            DiskEvent::Stored { id, .. } => stored.push(id.iteration),
            other => panic!("{other:?}"),
        });
        assert_eq!((stored, journal.unwritten.len()), (vec![0, 1, 2], 0));
    }

    #[test]
    #[cfg(unix)]
    fn a_journal_that_was_removed_is_written_anew() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("autosave");
        let mut journal = Journal::create(&folder).unwrap();
        journal.append_or_keep(state(0), &mut |_| ());
        journal.settle(&mut |_| ());
        std::fs::remove_dir_all(&folder).unwrap();
        let mut places = Vec::new();
        for k in 1..3 {
            journal.append_or_keep(state(k), &mut |event| match event {
                DiskEvent::Stored { offset, .. } => places.push(offset),
                other => panic!("{other:?}"),
            });
            journal.settle(&mut |event| panic!("{event:?}"));
        }
        assert_eq!(std::fs::metadata(folder.join(JOURNAL)).unwrap().len(), journal.length);
        assert!(File::open(folder.join(LOCK)).unwrap().try_lock().is_err(), "it has its owner");
        assert_eq!(journal.read(id(2), places[1]).unwrap().iteration, 2);
        let mut written = BufReader::new(File::open(folder.join(JOURNAL)).unwrap());
        written.seek(SeekFrom::Start(MAGIC.len() as u64)).unwrap();
        assert_eq!(std::iter::from_fn(|| Raw::read(&mut written)).count(), 3, "all of them");
        // Where it cannot be, that is told once.
        std::fs::remove_dir_all(root.path()).unwrap();
        std::fs::write(root.path(), "in the way").unwrap();
        let mut told = Vec::new();
        for _ in 0..3 {
            journal.settle(&mut |event| told.push(event));
        }
        std::fs::remove_file(root.path()).unwrap();
        assert!(matches!(&told[..], [DiskEvent::Failed(chain)] if chain[0].contains("removed by another")), "{told:?}");
    }

    #[test]
    fn a_journal_that_cannot_be_cut_off_is_cut_off_before_the_next_entry() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        for k in 0..3 {
            journal.append_or_keep(state(k), &mut |_| ());
        }
        let good = std::mem::replace(&mut journal.file, File::open(folder.path().join(JOURNAL)).unwrap());
        journal.reset(1).unwrap_err();
        journal.file = good;
        journal.append_or_keep(state(0), &mut |_| ());
        assert_eq!(journal.file.metadata().unwrap().len(), journal.length, "nothing of the old states is left");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_disk_that_holds_nothing_for_sure_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        // It takes everything and can be synced never.
        journal.file = File::options().write(true).open("/dev/null").unwrap();
        let mut told = Vec::new();
        for k in 0..3 {
            journal.append_or_keep(state(k), &mut |_| ());
            journal.settle(&mut |event| told.push(event));
        }
        assert!(matches!(&told[..], [DiskEvent::Failed(chain)] if chain[0].contains("power cut")), "{told:?}");
    }

    #[test]
    fn a_dragged_slider_is_one_entry() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        let facts = |journal: &mut Journal| {
            let (mut entries, _) = journal.entries().unwrap();
            std::iter::from_fn(|| Raw::read(&mut entries)).filter_map(|raw| raw.fact()?.ok()).collect::<Vec<_>>()
        };
        let mut settings = Settings::default();
        for step in 0..100 {
            settings.refine.eps = f64::from(step);
            journal.append_or_keep(Entry::Fact(Fact::Settings(settings.clone())), &mut |_| ());
        }
        assert!(facts(&mut journal).is_empty());
        journal.settle(&mut |_| ());
        assert_eq!(facts(&mut journal), [Fact::Settings(settings)]);
        assert!(!journal.is_unsettled());
    }
}
