//! Session, compute thread and disk thread together: the part of the program that the window draws.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use directories::ProjectDirs;

use super::disk::{DiskEvent, DiskJob, Storage};
use super::{Action, Activity, Cause, Session, Settings, Verb};
use crate::refiner::State;
use crate::trace::StateId;
use crate::worker::live::Live;
use crate::worker::{Command, SendError, Wake, Worker, enqueue};

/// Folders of the user that the program writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Unpacked models; may be deleted at any time.
    pub cache: PathBuf,
    /// Journals of running sessions.
    pub autosave: PathBuf,
}

impl Folders {
    /// The user's folders, or those below `LAPIDARY_HOME` when that is set.
    #[must_use]
    pub fn of_user() -> Self {
        let user = ProjectDirs::from("", "", "lapidary");
        Self::with(std::env::var_os("LAPIDARY_HOME"), user.as_ref())
    }

    /// Likewise, with this in the variable: an empty one is as if it were not set, as empty ones of the system's are.
    fn with(home: Option<OsString>, user: Option<&ProjectDirs>) -> Self {
        let home = home.filter(|home| !home.is_empty()).map(PathBuf::from);
        let (cache, data) = match (home, user) {
            (Some(home), _) => (home.join("cache"), home.join("data")),
            (None, Some(user)) => (user.cache_dir().to_owned(), user.data_local_dir().to_owned()),
            (None, None) => (PathBuf::from(".lapidary/cache"), PathBuf::from(".lapidary/data")),
        };
        Self { cache, autosave: data.join("autosave") }
    }
}

/// Session, compute thread and disk thread.
pub struct Host {
    /// The session.
    pub session: Session,
    worker: Option<Worker>,
    storage: Option<Storage>,
    /// The thread of the numbers beside a run, from the first time that somebody looks at them.
    live: Option<Live>,
    folders: Folders,
    wake: Wake,
    /// Jobs that did not fit the disk thread's queue yet, oldest first.
    backlog: Vec<DiskJob>,
    /// Commands that did not fit the compute thread's queue yet, oldest first.
    commands: VecDeque<Command>,
}

impl Host {
    /// Starts both threads around a new session.
    ///
    /// # Errors
    /// When the system refuses a new thread.
    pub fn start(settings: Settings, folders: Folders, wake: Wake) -> std::io::Result<Self> {
        let worker = Worker::spawn(folders.cache.clone(), wake.clone())?;
        let storage = Storage::spawn(&folders.autosave, wake.clone())?;
        let session = Session::new(settings);
        Ok(Self {
            session,
            worker: Some(worker),
            storage: Some(storage),
            live: None,
            folders,
            wake,
            backlog: Vec::new(),
            commands: VecDeque::new(),
        })
    }

    /// Folders of the user that the program writes to.
    #[must_use]
    pub const fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Takes in everything that has happened and hands over everything that is to be done. Never waits.
    ///
    /// States that the disk is too slow for stay with the compute thread, which waits by itself when its queue is full.
    pub fn pump(&mut self) {
        // The disk first: what it says may make room.
        while let Some(event) = self.storage.as_ref().and_then(Storage::try_event) {
            self.session.apply_disk(event);
        }
        if let Some(text) = self.storage.as_mut().and_then(Storage::take_crash) {
            self.storage = None;
            self.backlog.clear();
            self.session.disk_crashed(text);
        }
        while !self.session.must_wait()
            && let Some(event) = self.worker.as_ref().and_then(Worker::try_event)
        {
            self.session.apply(event);
            self.hand_over();
        }
        if let Some(text) = self.worker.as_mut().and_then(Worker::take_crash) {
            self.worker = None;
            self.commands.clear();
            self.session.crashed(text);
        }
        while let Some(told) = self.live.as_ref().and_then(Live::try_told) {
            self.session.take_live(told);
        }
        if let Some(live) = &self.live {
            live.beside(self.session.is_busy() || self.session.is_training());
        }
        self.hand_over();
    }

    /// Asks for the numbers beside the run of the pictures that are shown, where somebody looks at these. Never waits.
    pub fn look_live(&mut self, shown: Option<(StateId, &Arc<State>)>) {
        let wish = self.session.wish_live(shown);
        if wish.is_some() && self.live.is_none() {
            match Live::spawn(self.folders.cache.clone(), self.wake.clone()) {
                Ok(live) => self.live = Some(live),
                Err(error) => self.session.notices.failure(&crate::error::error_chain(&error)),
            }
        }
        if let Some(live) = &self.live {
            // Without a wish, too: the last one rests beside others, and no longer when they have ended.
            live.beside(self.session.is_busy() || self.session.is_training());
            if let Some(wish) = wish {
                live.ask(wish);
            }
        }
    }

    /// Does what the user asks, and hands over what follows from it.
    pub fn handle(&mut self, action: Action) {
        if action == Action::Do(Verb::RestartCompute) && self.worker.is_none() {
            match Worker::spawn(self.folders.cache.clone(), self.wake.clone()) {
                Ok(worker) => {
                    self.worker = Some(worker);
                    self.commands.clear();
                    self.session.restarted();
                }
                Err(error) => {
                    self.session.notices.failure_about(Cause::Crash, &crate::error::error_chain(&error));
                }
            }
        } else {
            self.session.handle(action);
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        for command in self.session.take_commands() {
            enqueue(&mut self.commands, command);
        }
        if let Some(worker) = &self.worker {
            while let Some(command) = self.commands.pop_front() {
                match worker.send(command.clone()) {
                    Ok(()) => {}
                    Err(SendError::Full) => {
                        self.commands.push_front(command);
                        break;
                    }
                    // `pump` will find out why.
                    Err(SendError::Ended) => break,
                }
            }
        }
        let Some(storage) = &self.storage else { return self.refuse_jobs() };
        for job in self.session.take_jobs() {
            // Stopping must not wait behind what it stops.
            match job {
                DiskJob::Stop(_) => drop(storage.send(job)),
                job => self.backlog.push(job),
            }
        }
        let mut waiting = std::mem::take(&mut self.backlog).into_iter();
        while let Some(job) = waiting.next() {
            if let Err(job) = storage.send(job) {
                self.backlog.push(*job);
                self.backlog.extend(waiting);
                return;
            }
        }
    }

    /// Without a disk thread nothing is opened or saved.
    fn refuse_jobs(&mut self) {
        for job in self.session.take_jobs() {
            let ticket = match job {
                DiskJob::Save(saving) => saving.ticket,
                DiskJob::Open { ticket, .. } => ticket,
                _ => continue,
            };
            let chain = vec!["the disk thread has crashed: restart Lapidary, then open or save again".to_owned()];
            self.session.apply_disk(DiskEvent::Refused { ticket, chain });
        }
    }

    /// Sends a command past the session, for tests of the crash path.
    ///
    /// # Errors
    /// As [`Worker::send`].
    pub fn send(&self, command: Command) -> Result<(), SendError> {
        self.worker.as_ref().map_or(Err(SendError::Ended), |worker| worker.send(command))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // What was computed or read since the last frame is not lost either.
        while let Some(event) = self.storage.as_ref().and_then(Storage::try_event) {
            self.session.apply_disk(event);
        }
        while let Some(event) = self.worker.as_ref().and_then(Worker::try_event) {
            self.session.apply(event);
        }
        self.worker = None;
        // Nobody will see what is being opened; what a crash left behind stays where it is.
        if matches!(self.session.activity(), Activity::Opening { .. }) {
            self.session.handle(Action::Do(Verb::Stop));
        }
        let keep = self.session.needs_journal();
        self.hand_over();
        if let Some(storage) = self.storage.take() {
            storage.finish(std::mem::take(&mut self.backlog), keep);
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Host").field("session", &self.session).field("folders", &self.folders).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_as_if_it_were_not_set() {
        let user = ProjectDirs::from("", "", "lapidary");
        for user in [user.as_ref(), None] {
            assert_eq!(Folders::with(Some(OsString::new()), user), Folders::with(None, user));
            let folders = Folders::with(Some("home".into()), user);
            assert_eq!(folders.cache, std::path::Path::new("home").join("cache"));
        }
    }
}
