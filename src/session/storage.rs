//! The disk thread: the journal, saving, opening, and reading pictures, so that the window never waits for a disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use super::document::Document;
use super::record::{Fact, MAGIC, Provenance, Record, replay};
use super::settings::Settings;
use crate::image::ImageBatch;
use crate::refiner::State;
use crate::trace::{StateId, Trace};
use crate::worker::{Origins, Wake};

/// Records and requests that may wait.
const QUEUE: usize = 1024;
/// Name of the journal in an autosave folder and in a session file.
const JOURNAL: &str = "journal.bin";
/// Name of the readable description in a session file.
const DOCUMENT: &str = "session.json";
/// Largest picture file side that is opened; larger ones would be reduced a hundredfold anyway.
const MAX_PICTURE_SIDE: u32 = 20_000;

/// Pictures that can be opened together.
const MAX_PICTURES: usize = crate::generator::settings::SAMPLES.max as usize;

/// How much a saved session keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Every iterate.
    Full,
    /// The origins, every number, and the last iterate of every run; the rest can be computed again.
    Small,
}

/// What the disk thread is asked to do. `epoch` counts journals: answers about an older one are void.
#[derive(Debug, Clone)]
pub enum Job {
    /// Append a record.
    Append(Record),
    /// Begin an empty journal.
    Reset {
        /// The new count.
        epoch: u64,
    },
    /// Go on in the same journal under a new count: what was written before belongs to other pictures.
    Epoch(u64),
    /// Read states back.
    Load(Vec<(StateId, u64)>),
    /// Write a session file.
    Save {
        /// Where.
        path: PathBuf,
        /// How much.
        detail: Detail,
        /// What it holds: epoch and revision of the session, given back when it is written.
        version: (u64, u64),
    },
    /// Open a session file, its `session.json`, or a journal that a crash left behind.
    Open {
        /// Which.
        path: PathBuf,
        /// The new count.
        epoch: u64,
    },
    /// Open pictures of any format, fitted to `size x size`.
    OpenImages {
        /// Which.
        paths: Vec<PathBuf>,
        /// Side in pixels.
        size: usize,
        /// The session's count when they were asked for.
        epoch: u64,
    },
    /// Remove what a crash left behind.
    Discard(PathBuf),
    /// End; the journal is removed when `keep` is false.
    Finish {
        /// Whether it holds unsaved work.
        keep: bool,
    },
}

/// A journal whose owner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its folder.
    pub folder: PathBuf,
    /// States in it.
    pub states: usize,
    /// Seconds since it was last written.
    pub age_secs: u64,
}

/// A session read from disk.
#[derive(Debug)]
pub struct Restored {
    /// Count of its journal.
    pub epoch: u64,
    /// The file, unless it was recovered after a crash.
    pub path: Option<PathBuf>,
    /// Its settings.
    pub settings: Settings,
    /// What computed it.
    pub provenance: Provenance,
    /// Its origins; none in a bare recipe.
    pub origins: Option<Arc<Origins>>,
    /// Its runs.
    pub trace: Trace,
    /// Where each state lies in the new journal.
    pub index: Vec<(StateId, u64)>,
    /// The last state of every run.
    pub last: Vec<(StateId, Arc<State>)>,
}

/// What the disk thread reports.
#[derive(Debug)]
pub enum StorageEvent {
    /// A state is safe.
    Stored {
        /// Count of its journal.
        epoch: u64,
        /// The state.
        id: StateId,
        /// Its place.
        offset: u64,
    },
    /// A state was read back, or could not be.
    Loaded {
        /// Count of its journal.
        epoch: u64,
        /// The state.
        id: StateId,
        /// The state itself.
        state: Option<Arc<State>>,
    },
    /// A session file is written.
    Saved {
        /// Where.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What it holds, as asked for.
        version: (u64, u64),
    },
    /// A session is read.
    Opened(Box<Restored>),
    /// Pictures are read.
    Images {
        /// The session's count when they were asked for.
        epoch: u64,
        /// The pictures that could be read.
        images: Option<ImageBatch>,
        /// Their file names.
        names: Vec<String>,
        /// How each was fitted, in words.
        fits: Vec<String>,
        /// One chain per file that could not be read.
        failures: Vec<Vec<String>>,
    },
    /// Journals that crashes left behind.
    Orphans(Vec<Orphan>),
    /// Something failed: what, and why.
    Failed(Vec<String>),
}

/// Why the disk refused.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A system call failed.
    #[error("{what}: free some space or choose a folder that may be written\n{}", path.display())]
    Write {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("the session file cannot be read: check that it exists and that you may read it\n{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It is no session.
    #[error("this is no Lapidary session (expected a .lapidary file or a session.json): choose another file\n{}", path.display())]
    NotASession {
        /// Which.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("the session file is damaged ({what}): fetch it again from where it came\n{}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There are too many pictures.
    #[error(
        "{count} pictures were given, but at most {MAX_PICTURES} can be opened together: the first {MAX_PICTURES} were taken"
    )]
    TooManyPictures {
        /// How many were given.
        count: usize,
    },
    /// It is no picture.
    #[error("the picture cannot be read: give a PNG, JPEG, WebP, TIFF, BMP or another common format\n{}", path.display())]
    Picture {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: image::ImageError,
    },
}

/// A handle to the disk thread.
#[derive(Debug)]
pub struct Storage {
    jobs: Option<Sender<Job>>,
    events: Receiver<StorageEvent>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
}

impl Storage {
    /// Starts the thread with an empty journal in a new folder below `root`, and looks for journals without an owner.
    ///
    /// # Errors
    /// When the system refuses a new thread. A folder that cannot be written is reported as an event instead.
    pub fn spawn(root: &Path, wake: Wake) -> std::io::Result<Self> {
        let (job_sender, job_receiver) = crossbeam_channel::bounded(QUEUE);
        let (event_sender, event_receiver) = crossbeam_channel::bounded(QUEUE);
        let secs = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let folder = root.join(format!("{secs}-{}", std::process::id()));
        let (root, own) = (root.to_owned(), folder.clone());
        let thread = std::thread::Builder::new().name("lapidary-disk".to_owned()).spawn(move || {
            let publish = |event| {
                let heard = event_sender.send(event).is_ok();
                wake();
                heard
            };
            serve(&root, &own, &job_receiver, &publish);
        })?;
        Ok(Self { jobs: Some(job_sender), events: event_receiver, thread: Some(thread), folder })
    }

    /// Hands over a job; never waits. A job that does not fit the queue comes back.
    ///
    /// # Errors
    /// The job itself, to be tried again later.
    pub fn send(&self, job: Job) -> Result<(), Box<Job>> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(job).map_err(|error| Box::new(error.into_inner())),
            None => Err(Box::new(job)),
        }
    }

    /// The next event, if one has arrived; never waits.
    #[must_use]
    pub fn try_event(&self) -> Option<StorageEvent> {
        self.events.try_recv().ok()
    }

    /// The folder of the journal.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hands over the backlog and ends the thread after everything is on disk; removes the journal unless it is to be kept.
    pub fn finish(mut self, backlog: Vec<Job>, keep: bool) {
        if let Some(jobs) = self.jobs.take() {
            // Drain, or a full event queue would hold the thread.
            let events = self.events.clone();
            for job in backlog.into_iter().chain([Job::Finish { keep }]) {
                let mut job = Some(job);
                while let Some(next) = job.take() {
                    match jobs.try_send(next) {
                        Ok(()) | Err(crossbeam_channel::TrySendError::Disconnected(_)) => {}
                        Err(crossbeam_channel::TrySendError::Full(back)) => {
                            job = Some(back);
                            drop(events.recv_timeout(std::time::Duration::from_millis(10)));
                        }
                    }
                }
            }
            drop(jobs);
            while events.recv().is_ok() {}
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the disk thread panicked");
        }
    }
}

/// The journal that is being written.
struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
    epoch: u64,
    /// Records that could not be written, oldest first; tried again before the next one.
    unwritten: Vec<Record>,
    _lock: File,
}

impl Journal {
    fn create(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(JOURNAL);
        let fail = |source| StorageError::Write { what: "the autosave cannot be written", path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(fail)?;
        let lock = File::create(folder.join("lock")).map_err(fail)?;
        lock.try_lock().map_err(|error| fail(error.into()))?;
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path).map_err(fail)?;
        file.write_all(MAGIC).map_err(fail)?;
        Ok(Self { file, path: path.clone(), length: MAGIC.len() as u64, epoch: 0, unwritten: Vec::new(), _lock: lock })
    }

    fn reset(&mut self, epoch: u64) -> std::io::Result<()> {
        self.epoch = epoch;
        self.unwritten.clear();
        self.length = MAGIC.len() as u64;
        self.file.set_len(self.length)
    }

    /// Appends; returns the place of the record. A torn record is cut off again.
    fn append(&mut self, record: &Record) -> std::io::Result<u64> {
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
}

fn serve(root: &Path, folder: &Path, jobs: &Receiver<Job>, publish: &dyn Fn(StorageEvent) -> bool) {
    let fail = |error: &StorageError| publish(StorageEvent::Failed(crate::worker::run::error_chain(error)));
    // Without a journal nothing could be saved or opened, so any folder is better than none.
    let substitute;
    let mut journal = match Journal::create(folder) {
        Ok(journal) => Some(journal),
        Err(error) => {
            fail(&error);
            substitute = tempfile::tempdir();
            substitute.as_ref().ok().and_then(|folder| Journal::create(folder.path()).ok())
        }
    };
    let orphans = orphans(root, folder);
    if !orphans.is_empty() {
        publish(StorageEvent::Orphans(orphans));
    }
    for job in jobs {
        match job {
            Job::Append(record) => {
                if let Some(journal) = &mut journal {
                    append(journal, &record, publish);
                }
            }
            Job::Reset { epoch } => {
                if let Some(journal) = &mut journal
                    && let Err(source) = journal.reset(epoch)
                {
                    let what = "the autosave cannot be written";
                    fail(&StorageError::Write { what, path: journal.path.clone(), source });
                }
            }
            Job::Epoch(epoch) => {
                if let Some(journal) = &mut journal {
                    journal.epoch = epoch;
                }
            }
            Job::Load(states) => {
                for (id, offset) in states {
                    let epoch = journal.as_ref().map_or(0, |journal| journal.epoch);
                    let record = journal.as_mut().and_then(|journal| Record::read_at(&mut journal.file, offset));
                    let state = match record {
                        Some(Record::State(_, state)) => Some(state),
                        _ => None,
                    };
                    publish(StorageEvent::Loaded { epoch, id, state });
                }
            }
            Job::Save { path, detail, version } => {
                let saved = match &mut journal {
                    Some(journal) => save(journal, &path, detail),
                    None => Err(no_journal(folder)),
                };
                match saved {
                    Ok(bytes) => drop(publish(StorageEvent::Saved { path, bytes, version })),
                    Err(error) => drop(fail(&error)),
                }
            }
            Job::Open { path, epoch } => {
                let Some(journal) = &mut journal else {
                    fail(&no_journal(folder));
                    continue;
                };
                match open(journal, &path, epoch) {
                    Ok(restored) => drop(publish(StorageEvent::Opened(Box::new(restored)))),
                    Err(error) => {
                        // The session counts on; what the journal holds is still its own.
                        journal.epoch = epoch;
                        fail(&error);
                    }
                }
            }
            Job::OpenImages { paths, size, epoch } => drop(publish(open_images(&paths, size, epoch))),
            Job::Discard(folder) => remove(&folder),
            Job::Finish { keep } => {
                let path = journal.take().filter(|_| !keep).map(|journal| journal.path);
                if let Some(folder) = path.as_deref().and_then(Path::parent) {
                    remove(folder);
                }
                return;
            }
        }
    }
}

fn no_journal(folder: &Path) -> StorageError {
    let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    StorageError::Write { what: "there is no place for the session's data", path: folder.to_owned(), source }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, ?folder, "an autosave could not be removed");
    }
}

/// Appends what is still unwritten, then `record`. A disk that was full may have room again; the order stays.
fn append(journal: &mut Journal, record: &Record, publish: &dyn Fn(StorageEvent) -> bool) {
    let had_failed = !journal.unwritten.is_empty();
    let mut waiting = std::mem::take(&mut journal.unwritten);
    waiting.push(record.clone());
    let mut waiting = waiting.into_iter();
    while let Some(record) = waiting.next() {
        match journal.append(&record) {
            Ok(offset) => {
                if let Record::State(run, state) = &record {
                    let id = StateId { run: *run, iteration: state.iteration };
                    publish(StorageEvent::Stored { epoch: journal.epoch, id, offset });
                }
            }
            Err(source) => {
                journal.unwritten.push(record);
                journal.unwritten.extend(waiting);
                if !had_failed {
                    let what = "the autosave cannot be written, so iterates stay in memory only";
                    let error = StorageError::Write { what, path: journal.path.clone(), source };
                    publish(StorageEvent::Failed(crate::worker::run::error_chain(&error)));
                }
                return;
            }
        }
    }
}

/// Journals below `root` that nobody holds any more and that have states in them; empty ones are removed.
fn orphans(root: &Path, own: &Path) -> Vec<Orphan> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut orphans: Vec<Orphan> = entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let held = File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_err());
            if folder == own || held || !folder.is_dir() {
                return None;
            }
            let path = folder.join(JOURNAL);
            let mut states = 0;
            let file = File::open(&path).ok()?;
            let modified = file.metadata().and_then(|meta| meta.modified()).ok()?;
            let mut iterated = false;
            replay(&mut BufReader::new(file), |record, _| {
                if let Record::State(_, state) = record {
                    states += 1;
                    iterated |= state.iteration > 0;
                }
            })?;
            // What was only generated comes again from its seeds.
            if !iterated {
                remove(&folder);
                return None;
            }
            let age_secs = modified.elapsed().map_or(0, |age| age.as_secs());
            Some(Orphan { folder, states, age_secs })
        })
        .collect();
    orphans.sort_by_key(|orphan| orphan.age_secs);
    orphans
}

/// What replaying a journal gives.
#[derive(Default)]
struct Contents {
    settings: Settings,
    provenance: Provenance,
    origins: Option<(Arc<Origins>, u64)>,
    trace: Trace,
    index: BTreeMap<StateId, u64>,
    last: BTreeMap<crate::trace::RunId, (StateId, Arc<State>)>,
}

impl Contents {
    /// Takes in a record; what contradicts itself or what came before is left out, for files may lie.
    fn take(&mut self, record: Record, offset: u64) {
        match record {
            Record::Fact(json) => match serde_json::from_str(&json) {
                Ok(Fact::Settings(settings)) if settings.check().is_ok() => self.settings = settings,
                Ok(Fact::Run { id, parent, settings }) => {
                    let known = parent.is_none_or(|parent| parent.run < id && self.trace.numbers(parent).is_some());
                    if known && self.trace.run(id).is_none() && settings.check().is_ok() {
                        self.trace.begin(id, parent, settings);
                    }
                }
                Ok(Fact::Change { run, change }) if change.settings.check().is_ok() => self.trace.change(run, change),
                Ok(Fact::Provenance(provenance)) => self.provenance = provenance,
                Ok(Fact::Settings(_) | Fact::Change { .. }) => tracing::warn!("impossible settings were skipped"),
                Err(error) => tracing::warn!(%error, "a fact of a newer version was skipped"),
            },
            Record::Origins(origins) => {
                self.trace = Trace::default();
                self.index.clear();
                self.last.clear();
                self.origins = origins.is_consistent().then_some((origins, offset));
            }
            Record::State(run, state) => {
                let id = StateId { run, iteration: state.iteration };
                let shape = self.origins.as_ref().map(|(origins, _)| origins.images.shape());
                let fits = shape == Some(state.images.shape()) && state.numbers.is_consistent(state.images.len());
                if fits && self.trace.push(id, state.numbers.clone()) {
                    self.index.insert(id, offset);
                    self.last.insert(run, (id, state));
                }
            }
            Record::Numbers(id, numbers) => {
                let n = self.origins.as_ref().map_or(0, |(origins, _)| origins.images.len());
                if numbers.is_consistent(n) {
                    self.trace.push(id, numbers);
                }
            }
        }
    }
}

/// Writes the current journal, without what newer origins made void, as a session file: complete or not at all.
fn save(journal: &mut Journal, path: &Path, detail: Detail) -> Result<u64, StorageError> {
    let fail = |source| StorageError::Write { what: "the session cannot be saved", path: path.to_owned(), source };
    let mut contents = Contents::default();
    let mut read = |each: &mut dyn FnMut(Record, u64)| -> std::io::Result<()> {
        journal.file.seek(SeekFrom::Start(0))?;
        replay(&mut BufReader::new(&journal.file), &mut *each);
        for (record, place) in journal.unwritten.iter().zip(journal.length..) {
            each(record.clone(), place);
        }
        Ok(())
    };
    read(&mut |record, offset| contents.take(record, offset)).map_err(fail)?;
    let keep: Vec<StateId> = contents.last.values().map(|(id, _)| *id).collect();
    let first = contents.origins.as_ref().map_or(u64::MAX, |(_, offset)| *offset);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let document = Document::new(
        &contents.settings,
        &contents.provenance,
        contents.origins.as_ref().map(|(origins, _)| origins.as_ref()),
        &contents.trace,
        Some(folder),
    );

    let mut temporary = temporary_in(folder).map_err(fail)?;
    let mut zip = zip::ZipWriter::new(temporary.as_file_mut());
    let options = zip::write::SimpleFileOptions::default().large_file(true);
    let zip_fail = |error: zip::result::ZipError| fail(std::io::Error::other(error));
    zip.start_file(DOCUMENT, options).map_err(zip_fail)?;
    zip.write_all(document.to_json().as_bytes()).map_err(fail)?;
    zip.start_file(JOURNAL, options.compression_method(zip::CompressionMethod::Stored)).map_err(zip_fail)?;
    zip.write_all(MAGIC).map_err(fail)?;
    let mut failed = None;
    let mut write = |record: &Record| {
        if failed.is_none() {
            failed = record.write(&mut zip).err();
        }
    };
    // Model paths in the file are relative to it.
    write(&Record::fact(&Fact::Settings(document.settings.clone())));
    write(&Record::fact(&Fact::Provenance(contents.provenance.clone())));
    read(&mut |record, offset| match record {
        _ if offset < first => {}
        Record::Fact(json) => {
            // Settings and provenance were written once, above.
            if matches!(serde_json::from_str(&json), Ok(Fact::Run { .. } | Fact::Change { .. })) {
                write(&Record::Fact(json));
            }
        }
        Record::State(run, state) => {
            let id = StateId { run, iteration: state.iteration };
            if detail == Detail::Full || keep.contains(&id) {
                write(&Record::State(run, state));
            } else {
                write(&Record::Numbers(id, state.numbers.clone()));
            }
        }
        record => write(&record),
    })
    .map_err(fail)?;
    if let Some(error) = failed {
        return Err(fail(error));
    }
    zip.finish().map_err(zip_fail)?;
    let bytes = temporary.as_file().metadata().map_err(fail)?.len();
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(path).map_err(|error| fail(error.error))?;
    Ok(bytes)
}

/// A new file beside its target, with the rights of any other new file.
fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "permissions exist on Unix only"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Reads a session into the journal, replacing what it held; a failure leaves the journal as it was.
fn open(journal: &mut Journal, path: &Path, epoch: u64) -> Result<Restored, StorageError> {
    let io = |source| StorageError::Read { path: path.to_owned(), source };
    let write = |source| StorageError::Write { what: "the autosave cannot be written", path: path.to_owned(), source };
    let recovered = path.is_dir();
    let source = if recovered { path.join(JOURNAL) } else { path.to_owned() };
    let mut file = File::open(&source).map_err(io)?;
    let mut head = [0; 4];
    let read = file.read(&mut head).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));

    // Checked first, so that a bad file costs nothing of what is open.
    let mut contents = Contents::default();
    if head[..read].starts_with(b"PK") {
        let damaged =
            |error: zip::result::ZipError| StorageError::Damaged { path: path.to_owned(), what: error.to_string() };
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
        let mut entry = archive.by_name(JOURNAL).map_err(|_| StorageError::NotASession { path: path.to_owned() })?;
        if entry.compression() != zip::CompressionMethod::Stored {
            // Ours are stored as they are; a compressed one could unpack to any size.
            let what = "its journal is compressed".to_owned();
            return Err(StorageError::Damaged { path: path.to_owned(), what });
        }
        let good = replay(&mut entry, |record, offset| contents.take(record, offset));
        let good = good.ok_or_else(|| StorageError::NotASession { path: path.to_owned() })?;
        if good != entry.size() {
            let what = format!("only {good} of {} bytes are intact", entry.size());
            return Err(StorageError::Damaged { path: path.to_owned(), what });
        }
        drop(entry);
        let mut entry = archive.by_name(JOURNAL).map_err(damaged)?;
        copy_into(journal, &mut entry, good, epoch).map_err(write)?;
    } else if recovered {
        let good = replay(&mut BufReader::new(&file), |record, offset| contents.take(record, offset));
        let good = good.ok_or_else(|| StorageError::NotASession { path: path.to_owned() })?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        copy_into(journal, &mut file, good, epoch).map_err(write)?;
    } else {
        let document = Document::read(path, file)?;
        let origins = opened_inputs(&document, folder)?;
        journal.reset(epoch).map_err(write)?;
        contents.settings = document.settings;
        contents.provenance = document.provenance;
        if let Some(origins) = origins {
            let offset = journal.append(&Record::Origins(origins.clone())).map_err(write)?;
            contents.origins = Some((origins, offset));
        }
    }
    if recovered {
        remove(path);
    } else {
        super::document::absolute_models(&mut contents.settings, folder);
    }
    Ok(Restored {
        epoch,
        path: (!recovered).then(|| path.to_owned()),
        settings: contents.settings,
        provenance: contents.provenance,
        origins: contents.origins.map(|(origins, _)| origins),
        trace: contents.trace,
        index: contents.index.into_iter().collect(),
        last: contents.last.into_values().collect(),
    })
}

/// The pictures that a `session.json` names as its inputs; `None` when it was generated.
fn opened_inputs(document: &Document, folder: &Path) -> Result<Option<Arc<Origins>>, StorageError> {
    if document.inputs.is_empty() {
        return Ok(None);
    }
    let resolution = crate::checkpoint::find(&document.settings.refine.classifier).map_or(32, |(m, _)| m.resolution);
    let mut images = Vec::new();
    for input in document.inputs.iter().take(MAX_PICTURES) {
        images.push(ImageBatch::from_picture(&read_picture(&folder.join(input))?, resolution).0);
    }
    let sample = |i: usize| document.samples.get(i);
    let n = images.len();
    Ok(Some(Arc::new(Origins {
        images: ImageBatch::concat(&images),
        labels: (0..n).map(|i| sample(i).map_or(0, |sample| sample.label)).collect(),
        seeds: (0..n).map(|i| sample(i).map_or(i as u64, |sample| sample.seed)).collect(),
        names: document.inputs.iter().take(n).cloned().collect(),
        made_by: None,
    })))
}

/// Makes the journal a copy of `bytes` bytes. The copy is complete before it takes the journal's place.
fn copy_into(journal: &mut Journal, from: &mut impl Read, bytes: u64, epoch: u64) -> std::io::Result<()> {
    let next = journal.path.with_extension("next");
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&next)?;
    let copied = std::io::copy(&mut from.take(bytes), &mut file).and_then(|length| {
        std::fs::rename(&next, &journal.path)?;
        Ok(length)
    });
    match copied {
        Ok(length) => {
            (journal.file, journal.length, journal.epoch) = (file, length, epoch);
            journal.unwritten.clear();
            Ok(())
        }
        Err(error) => {
            drop(std::fs::remove_file(&next));
            Err(error)
        }
    }
}

fn open_images(paths: &[PathBuf], size: usize, epoch: u64) -> StorageEvent {
    let (mut images, mut names, mut fits, mut failures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    if paths.len() > MAX_PICTURES {
        let error = StorageError::TooManyPictures { count: paths.len() };
        failures.push(crate::worker::run::error_chain(&error));
    }
    for path in paths.iter().take(MAX_PICTURES) {
        match read_picture(path) {
            Ok(picture) => {
                let (image, fit) = ImageBatch::from_picture(&picture, size);
                let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                fits.push(format!("{name}: {fit}"));
                names.push(name);
                images.push(image);
            }
            Err(error) => failures.push(crate::worker::run::error_chain(&error)),
        }
    }
    let images = (!images.is_empty()).then(|| ImageBatch::concat(&images));
    StorageEvent::Images { epoch, images, names, fits, failures }
}

/// Decodes a picture by its content, with limits on its size.
///
/// # Errors
/// [`StorageError::Picture`] when it is none or too large.
pub fn read_picture(path: &Path) -> Result<image::DynamicImage, StorageError> {
    let fail = |source| StorageError::Picture { path: path.to_owned(), source };
    let mut reader = image::ImageReader::open(path)
        .and_then(image::ImageReader::with_guessed_format)
        .map_err(|error| fail(error.into()))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_PICTURE_SIDE);
    limits.max_image_height = Some(MAX_PICTURE_SIDE);
    reader.limits(limits);
    reader.decode().map_err(fail)
}
