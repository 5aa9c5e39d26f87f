//! The disk thread: the journal, saving, opening, and reading pictures, so that the window never waits for a disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::archive::{Halt, Watch, open, save};
use super::journal::Journal;
use super::orphans::{self, Orphan, remove};
use super::{Detail, DiskEvent, DiskJob, Entry, Fact, Saving, Ticket};
use crate::data::{Batch, MAX_PICTURES, PictureError, PictureSource};
use crate::file::Stamp;
use crate::session::error::StorageError;
use crate::worker::{Wake, WakeOnDrop, last_words};

/// Jobs and events that may wait.
const QUEUE: usize = 1024;
/// What was written is on the disk after this long, and what could not be written is tried again.
const SETTLE: Duration = Duration::from_secs(1);

/// A handle to the disk thread.
#[derive(Debug)]
pub struct Storage {
    jobs: Option<Sender<DiskJob>>,
    stops: Sender<Ticket>,
    events: Receiver<DiskEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Storage {
    /// Starts the thread with an empty journal in a new folder below `root`; when it has nothing else to do, it looks for
    /// journals without an owner.
    ///
    /// # Errors
    /// When the system refuses a new thread. A folder that cannot be written is reported as an event instead.
    pub fn spawn(root: &Path, wake: Wake) -> std::io::Result<Self> {
        let (jobs, job_receiver) = crossbeam::channel::bounded(QUEUE);
        let (event_sender, events) = crossbeam::channel::bounded(QUEUE);
        let (stops, stop_receiver) = crossbeam::channel::bounded(QUEUE);
        let secs = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let folder = root.join(format!("{secs}-{}", std::process::id()));
        let root = root.to_owned();
        let thread = std::thread::Builder::new().name("lapidary-disk".to_owned()).spawn(move || {
            // Also when it panics: the other side must look.
            let _wake_at_end = WakeOnDrop(wake.clone());
            let mut publish = |event: DiskEvent| {
                // Nobody hears the last ones.
                drop(event_sender.send(event));
                wake();
            };
            let disk = Disk::new(&root, &folder, stop_receiver, &mut publish);
            serve(disk, &job_receiver, &mut publish);
        })?;
        Ok(Self { jobs: Some(jobs), stops, events, thread: Some(thread) })
    }

    /// Hands over a job; never waits. A job that does not fit the queue comes back.
    ///
    /// # Errors
    /// The job itself, to be tried again later.
    pub fn send(&self, job: DiskJob) -> Result<(), Box<DiskJob>> {
        match (&self.jobs, job) {
            // It is about jobs that wait, so it must not wait behind them.
            (_, DiskJob::Stop(ticket)) => self.stops.try_send(ticket).map_err(|_| Box::new(DiskJob::Stop(ticket))),
            (Some(jobs), job) => jobs.try_send(job).map_err(|error| Box::new(error.into_inner())),
            (None, job) => Err(Box::new(job)),
        }
    }

    /// The next event, if one has arrived; never waits.
    #[must_use]
    pub fn try_event(&self) -> Option<DiskEvent> {
        self.events.try_recv().ok()
    }

    /// The panic's text, once, after the thread has died of one and its last events were taken.
    pub fn take_crash(&mut self) -> Option<String> {
        if !self.events.is_empty() || !self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return None;
        }
        self.jobs = None;
        Some(last_words("disk", self.thread.take()?))
    }

    /// Hands over the backlog and ends the thread after everything is on disk; removes the journal unless it is to be kept.
    pub fn finish(mut self, backlog: Vec<DiskJob>, keep: bool) {
        if let Some(jobs) = self.jobs.take() {
            // Drain, or a full event queue would hold the thread.
            let events = self.events.clone();
            for job in backlog.into_iter().chain([DiskJob::Finish { keep }]) {
                let mut job = Some(job);
                while let Some(next) = job.take() {
                    match jobs.try_send(next) {
                        Ok(()) | Err(crossbeam::channel::TrySendError::Disconnected(_)) => {}
                        Err(crossbeam::channel::TrySendError::Full(back)) => {
                            job = Some(back);
                            drop(events.recv_timeout(Duration::from_millis(10)));
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

fn serve(mut disk: Disk, jobs: &Receiver<DiskJob>, publish: &mut dyn FnMut(DiskEvent)) {
    let mut settled = Instant::now();
    loop {
        let job = if disk.has_leisure_work() {
            jobs.try_recv().map_err(|error| error == TryRecvError::Disconnected)
        } else if disk.is_unsettled() {
            let left = SETTLE.saturating_sub(settled.elapsed());
            jobs.recv_timeout(left).map_err(|error| error == RecvTimeoutError::Disconnected)
        } else {
            jobs.recv().map_err(|_| true)
        };
        match job {
            Ok(job) => {
                if !disk.handle(job, publish) {
                    return;
                }
            }
            Err(true) => return disk.settle(publish),
            Err(false) => disk.use_leisure(publish),
        }
        if disk.is_unsettled() && settled.elapsed() >= SETTLE {
            disk.settle(publish);
            settled = Instant::now();
        }
    }
}

/// What the disk thread does, without a thread or a clock: jobs in, events out.
pub struct Disk {
    folder: PathBuf,
    journal: Option<Journal>,
    /// Folders that may hold an orphan, still to be looked at.
    unseen: Vec<PathBuf>,
    orphans: Vec<Orphan>,
    stops: Receiver<Ticket>,
    stopped: BTreeSet<Ticket>,
    /// Where the journal lies when its own folder cannot be written.
    substitute: Option<tempfile::TempDir>,
    /// The session file that was opened or saved last, as it was then: what another program makes of it is not replaced unasked.
    known: Option<(PathBuf, Stamp)>,
}

impl Disk {
    /// An empty journal in `folder`, a folder below `root`; `stops` names the openings and savings that are not wanted any more.
    pub fn new(root: &Path, folder: &Path, stops: Receiver<Ticket>, publish: &mut dyn FnMut(DiskEvent)) -> Self {
        let mut substitute = None;
        let journal = match Journal::create(folder) {
            Ok(journal) => Some(journal),
            Err(error) => {
                publish(failed(&error));
                // Without a journal nothing could be saved or opened, so any folder is better than none.
                substitute = tempfile::tempdir().ok();
                substitute.as_ref().and_then(|folder| Journal::create(folder.path()).ok())
            }
        };
        Self {
            folder: folder.to_owned(),
            journal,
            unseen: orphans::folders(root, folder),
            orphans: Vec::new(),
            stops,
            stopped: BTreeSet::new(),
            substitute,
            known: None,
        }
    }

    /// Whether there is something to do that can wait until nothing else is to be done.
    #[must_use]
    pub const fn has_leisure_work(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Looks at one folder that may hold an orphan; tells when all were looked at.
    pub fn use_leisure(&mut self, publish: &mut dyn FnMut(DiskEvent)) {
        let Some(folder) = self.unseen.pop() else { return };
        self.orphans.extend(orphans::find(&folder));
        if self.unseen.is_empty() && !self.orphans.is_empty() {
            self.orphans.sort_by_key(|orphan| orphan.age_secs);
            publish(DiskEvent::Orphans(std::mem::take(&mut self.orphans)));
        }
    }

    /// Whether [`Self::settle`] has something to do.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_unsettled)
    }

    /// Has the disk hold what was written, and tries again what could not be written. To be called every second or so.
    pub fn settle(&mut self, publish: &mut dyn FnMut(DiskEvent)) {
        if let Some(journal) = &mut self.journal {
            journal.settle(publish);
        }
    }

    /// Does a job; false when it was the last one.
    pub fn handle(&mut self, job: DiskJob, publish: &mut dyn FnMut(DiskEvent)) -> bool {
        self.stopped.extend(self.stops.try_iter());
        match job {
            DiskJob::Append { epoch, entry } => self.append(epoch, entry, publish),
            DiskJob::Reset { epoch } => {
                if let Some(journal) = &mut self.journal
                    && let Err(source) = journal.reset(epoch)
                {
                    let what = "the autosave cannot be written";
                    publish(failed(&StorageError::Write { what, path: journal.path.clone(), source }));
                }
            }
            DiskJob::Load { epoch, id, offset } => {
                // Another journal holds other states at its places.
                let journal = self.journal.as_mut().filter(|journal| journal.epoch == epoch);
                let state = journal.and_then(|journal| journal.read(id, offset));
                publish(DiskEvent::Loaded { epoch, id, state });
            }
            DiskJob::Save(saving) => self.save(*saving, publish),
            DiskJob::Open { ticket, path, recovers, epoch } => self.open(ticket, (&path, recovers), epoch, publish),
            DiskJob::Stop(ticket) => drop(self.stopped.insert(ticket)),
            DiskJob::OpenImages { paths, shape, classes, epoch, references } => {
                publish(open_images(&paths, (shape, &classes), epoch, references));
            }
            DiskJob::Discard(folder) => remove(&folder),
            DiskJob::Finish { keep } => {
                if keep {
                    self.settle(publish);
                    if let Some(folder) = self.substitute.take().map(tempfile::TempDir::keep) {
                        tracing::warn!(
                            ?folder,
                            "unsaved work is in a temporary folder: copy it to that of the autosave"
                        );
                    }
                }
                let path = self.journal.take().filter(|_| !keep).map(|journal| journal.path.clone());
                if let Some(folder) = path.as_deref().and_then(Path::parent) {
                    remove(folder);
                }
                return false;
            }
        }
        true
    }

    fn append(&mut self, epoch: u64, entry: Entry, publish: &mut dyn FnMut(DiskEvent)) {
        if let Some(journal) = self.journal.as_mut().filter(|journal| journal.epoch == epoch) {
            journal.append_or_keep(entry, publish);
        }
    }

    fn save(&mut self, saving: Saving, publish: &mut dyn FnMut(DiskEvent)) {
        let Self { journal, stops, stopped, folder, known, .. } = self;
        let Saving { ticket, epoch, revision, detail, .. } = saving;
        let lies_there = stamped(&saving.path);
        if !saving.replaces && lies_there.is_some() && lies_there != *known {
            return publish(DiskEvent::InTheWay { ticket, path: saving.path, detail });
        }
        let written = match journal {
            Some(journal) if journal.epoch == epoch => {
                let mut tell = progress(ticket, stops, stopped, publish);
                save(journal, &saving, &mut Watch::new(&mut tell))
            }
            // The session asks for one thing at a time; should it not, a file of the wrong session would be worse.
            Some(_) => Err(Halt::Stopped),
            None => Err(no_journal(folder).into()),
        };
        if written.is_ok() {
            *known = stamped(&saving.path);
            if let Some(journal) = journal.as_mut().filter(|_| detail == Detail::Full) {
                tell_journal(journal, known.as_ref(), publish);
            }
        }
        publish(match written {
            Ok(bytes) => DiskEvent::Saved { ticket, path: saving.path, bytes, epoch, revision, detail },
            Err(halt) => refused(ticket, halt),
        });
    }

    fn open(
        &mut self,
        ticket: Ticket,
        (path, recovers): (&Path, bool),
        epoch: u64,
        publish: &mut dyn FnMut(DiskEvent),
    ) {
        let Self { journal, stops, stopped, folder, substitute, known, .. } = self;
        // As it was before it was read: what comes while it is read is not known.
        let before = stamped(path);
        let opened = match journal {
            // What a crash left behind would be moved to a place that does not last.
            Some(_) if recovers && substitute.is_some() => Err(no_journal(folder).into()),
            Some(journal) => {
                let mut tell = progress(ticket, stops, stopped, publish);
                open(journal, (path, recovers), epoch, &mut Watch::new(&mut tell))
            }
            None => Err(no_journal(folder).into()),
        };
        if let (Ok(restored), Some(journal)) = (&opened, journal) {
            if restored.path.is_some() {
                *known = before;
                tell_journal(journal, known.as_ref(), publish);
            } else {
                *known = restored.older.as_deref().and_then(stamped);
            }
        }
        if let Err(Halt::Failed(StorageError::Taken { path })) = &opened {
            publish(DiskEvent::Taken(path.clone()));
        }
        publish(match opened {
            Ok(restored) => DiskEvent::Opened { ticket, restored: Box::new(restored) },
            Err(halt) => refused(ticket, halt),
        });
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Disk").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Tells how far a piece of work is; its answer says whether it is still wanted.
fn progress<'a>(
    ticket: Ticket,
    stops: &'a Receiver<Ticket>,
    stopped: &'a mut BTreeSet<Ticket>,
    publish: &'a mut dyn FnMut(DiskEvent),
) -> impl FnMut(u64, u64) -> bool + 'a {
    move |done, of| {
        stopped.extend(stops.try_iter());
        publish(DiskEvent::Progress { ticket, done, of });
        !stopped.remove(&ticket)
    }
}

/// Has the journal remember that a session file holds everything that it holds.
fn tell_journal(journal: &mut Journal, file: Option<&(PathBuf, Stamp)>, publish: &mut dyn FnMut(DiskEvent)) {
    let Some((path, stamp)) = file else { return };
    let path = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    if let Some(path) = path {
        journal.append_or_keep(Entry::Fact(Fact::Saved { path, bytes: stamp.length() }), publish);
    }
}

/// A file and what tells whether it is still the same; `None` when none is there.
fn stamped(path: &Path) -> Option<(PathBuf, Stamp)> {
    Some((path.to_owned(), Stamp::of(path)?))
}

fn failed(error: &StorageError) -> DiskEvent {
    DiskEvent::Failed(crate::error::error_chain(error))
}

fn refused(ticket: Ticket, halt: Halt) -> DiskEvent {
    let chain = match halt {
        Halt::Stopped => Vec::new(),
        Halt::Failed(error) => crate::error::error_chain(&error),
    };
    DiskEvent::Refused { ticket, chain }
}

fn no_journal(folder: &Path) -> StorageError {
    let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    StorageError::Write { what: "there is no place for the session's data", path: folder.to_owned(), source }
}

fn open_images(
    paths: &[PathBuf],
    (shape, classes): ([usize; 3], &[String]),
    epoch: u64,
    references: bool,
) -> DiskEvent {
    let mut errors = Vec::new();
    let mut opened = None;
    match PictureSource::open(paths) {
        Ok(source) => {
            let mut source = source.strictly(references);
            source.take_classes(classes);
            if source.count() > MAX_PICTURES {
                errors.push(PictureError::TooMany { count: source.count() });
            }
            let (batch, mut unreadable) = source.readable(0..MAX_PICTURES, shape);
            errors.append(&mut unreadable);
            let told = |batch: Batch| Batch { fits: [batch.fits, source.notes().to_vec()].concat(), ..batch };
            opened = batch.map(told);
        }
        Err(error) => errors.push(error),
    }
    let failures = errors.iter().map(|error| crate::error::error_chain(error)).collect();
    let (images, names, labels, fits) = match opened {
        Some(Batch { images, names, labels, fits, .. }) => (Some(images), names, labels, fits),
        None => (None, Vec::new(), None, Vec::new()),
    };
    DiskEvent::Images { epoch, images, names, labels, fits, failures, references }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_window_has_taken_or_is_taking_is_told_to_be_and_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let (_stop, stops) = crossbeam::channel::bounded(1);
        let mut disk = Disk::new(root.path(), &root.path().join("own"), stops, &mut |event| panic!("{event:?}"));
        let (gone, held) = (root.path().join("gone"), root.path().join("held"));
        let owner = Journal::create(&held).unwrap();
        for (ticket, path) in [(1, gone), (2, held.clone())] {
            let mut told = Vec::new();
            let job = DiskJob::Open { ticket, path: path.clone(), recovers: true, epoch: 1 };
            disk.handle(job, &mut |event| told.push(event));
            told.retain(|event| !matches!(event, DiskEvent::Progress { .. }));
            let [DiskEvent::Taken(taken), DiskEvent::Refused { ticket: of, chain }] = &told[..] else {
                panic!("{told:?}")
            };
            assert_eq!((taken, *of), (&path, ticket));
            assert!(chain[0].starts_with("another window has recovered this already, or is doing so"), "{chain:?}");
        }
        assert!(owner.path.is_file());
    }

    #[test]
    fn a_journal_in_a_substitute_takes_nothing_that_lasts_and_stays_when_it_is_to_be_kept() {
        let home = tempfile::tempdir().unwrap();
        let (root, orphan) = (home.path().join("file"), home.path().join("orphan"));
        std::fs::write(&root, "no folder").unwrap();
        drop(Journal::create(&orphan).unwrap());
        let (_stop, stops) = crossbeam::channel::bounded(1);
        let mut told = Vec::new();
        let mut disk = Disk::new(&root, &root.join("own"), stops, &mut |event| told.push(event));
        let job = DiskJob::Open { ticket: 1, path: orphan.clone(), recovers: true, epoch: 1 };
        disk.handle(job, &mut |event| told.push(event));
        assert!(matches!(&told[..], [DiskEvent::Failed(_), DiskEvent::Refused { .. }]), "{told:?}");
        assert!(orphan.join("journal.bin").is_file());
        let path = disk.journal.as_ref().unwrap().path.clone();
        disk.handle(DiskJob::Finish { keep: true }, &mut |event| panic!("{event:?}"));
        drop(disk);
        assert!(path.is_file());
        remove(path.parent().unwrap());
    }
}
