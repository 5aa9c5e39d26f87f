//! The disk thread: the journal, saving, opening, and reading pictures, so that the window never waits for a disk.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender};

use super::archive::{open, save};
use super::error::StorageError;
use super::journal::{JOURNAL, Journal};
use super::record::{Provenance, Record, replay};
use super::settings::Settings;
use crate::data::{Batch, MAX_PICTURES, PictureError, PictureSource};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::State;
use crate::trace::{StateId, Trace};
use crate::worker::Wake;

/// Records and requests that may wait.
const QUEUE: usize = 1024;

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
    /// Open pictures of any format, fitted to `shape`, `[C, H, W]`.
    OpenImages {
        /// Which.
        paths: Vec<PathBuf>,
        /// Side in pixels.
        shape: [usize; 3],
        /// The session's count when they were asked for.
        epoch: u64,
        /// Whether they are real pictures for early stopping.
        references: bool,
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
    /// Real pictures that early stopping compares with.
    pub references: Option<ImageBatch>,
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
        /// Their classes, if their archive says so.
        labels: Option<Vec<usize>>,
        /// How each was fitted, in words.
        fits: Vec<String>,
        /// One chain per file that could not be read.
        failures: Vec<Vec<String>>,
        /// Whether they are real pictures for early stopping.
        references: bool,
    },
    /// Journals that crashes left behind.
    Orphans(Vec<Orphan>),
    /// Something failed: what, and why.
    Failed(Vec<String>),
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
        let (job_sender, job_receiver) = crossbeam::channel::bounded(QUEUE);
        let (event_sender, event_receiver) = crossbeam::channel::bounded(QUEUE);
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
                        Ok(()) | Err(crossbeam::channel::TrySendError::Disconnected(_)) => {}
                        Err(crossbeam::channel::TrySendError::Full(back)) => {
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

fn serve(root: &Path, folder: &Path, jobs: &Receiver<Job>, publish: &dyn Fn(StorageEvent) -> bool) {
    let fail = |error: &StorageError| publish(StorageEvent::Failed(crate::error::error_chain(error)));
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
                    journal.append_or_keep(&record, &mut |event| {
                        publish(event);
                    });
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
            Job::OpenImages { paths, shape, epoch, references } => {
                publish(open_images(&paths, shape, epoch, references));
            }
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

pub(super) fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, ?folder, "an autosave could not be removed");
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
                match record {
                    Record::State(_, state) => {
                        states += 1;
                        iterated |= state.iteration > 0;
                    }
                    // A painted mask or an opened picture does not come again by itself.
                    Record::Origins(origins) => iterated |= origins.edited.is_some(),
                    _ => {}
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

fn open_images(paths: &[PathBuf], shape: [usize; 3], epoch: u64, references: bool) -> StorageEvent {
    let mut errors = Vec::new();
    let mut opened = None;
    match PictureSource::open(paths) {
        Ok(source) => {
            if source.count() > MAX_PICTURES {
                errors.push(PictureError::TooMany { count: source.count() });
            }
            let (batch, mut unreadable) = source.first(MAX_PICTURES, shape);
            errors.append(&mut unreadable);
            opened = batch;
        }
        Err(error) => errors.push(error),
    }
    let failures = errors.iter().map(|error| crate::error::error_chain(error)).collect();
    let (images, names, labels, fits) = match opened {
        Some(Batch { images, names, labels, fits, .. }) => (Some(images), names, labels, fits),
        None => (None, Vec::new(), None, Vec::new()),
    };
    StorageEvent::Images { epoch, images, names, labels, fits, failures, references }
}
