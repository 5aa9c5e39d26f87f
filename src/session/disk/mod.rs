//! The disk side of a session: what it is asked, what it answers, and the rooms `raw` < `entry` < `journal` < `archive` < `ends`, `storage`.
//!
//! Every job and every answer carries the epoch of its session, which counts what the journal is about: another set of
//! pictures or another file is another epoch. What is not of the journal's epoch is dropped, on both sides, so that nothing of
//! one session can reach the file of another.

mod archive;
mod ends;
mod entry;
mod journal;
mod orphans;
mod raw;
mod recipe;
mod storage;
mod stored;
mod v2;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::ends::{End, Ends, stored_ends};
pub(super) use self::entry::same_pictures;
pub use self::entry::{Entry, Fact};
pub use self::journal::temporary_named;
pub use self::orphans::Orphan;
pub use self::storage::{Disk, Storage};
pub use self::stored::{Stored, stored_pictures};
use super::Settings;
use super::document::Document;
use super::provenance::Provenance;
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::State;
use crate::trace::{StateId, Trace};

/// How much a saved session keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Every iterate.
    Full,
    /// The origins, every number, and the last iterate of every run; the rest can be computed again.
    Small,
}

/// Names an opening or a saving, so that it can be stopped.
pub type Ticket = u64;

/// What the disk thread is asked to do. A job whose `epoch` is not the journal's is dropped.
#[derive(Debug, Clone)]
pub enum DiskJob {
    /// Append to the journal.
    Append {
        /// The session's epoch.
        epoch: u64,
        /// What.
        entry: Entry,
    },
    /// Begin an empty journal.
    Reset {
        /// Its epoch.
        epoch: u64,
    },
    /// Read a state back.
    Load {
        /// The session's epoch.
        epoch: u64,
        /// Which.
        id: StateId,
        /// Its place in the journal.
        offset: u64,
    },
    /// Write a session file.
    Save(Box<Saving>),
    /// Open a session file, its `session.json`, or a journal that a crash left behind, in place of what the journal holds.
    Open {
        /// Names it.
        ticket: Ticket,
        /// Which.
        path: PathBuf,
        /// Whether it is the folder of a journal that a crash left behind; that folder is gone afterwards.
        recovers: bool,
        /// Epoch of the journal when it is open.
        epoch: u64,
    },
    /// Stop an opening or a saving that waits or goes on; overtakes every other job.
    Stop(Ticket),
    /// Open pictures of any format, fitted to `shape`.
    OpenImages {
        /// Which.
        paths: Vec<PathBuf>,
        /// `[C, H, W]`.
        shape: [usize; 3],
        /// Names of the classifier's classes, which folders may have.
        classes: Vec<String>,
        /// The session's epoch when they were asked for.
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

/// What a session file is made of. The session says what it holds; its states are copied from the journal.
#[derive(Debug, Clone)]
pub struct Saving {
    /// Names it.
    pub ticket: Ticket,
    /// The session's epoch.
    pub epoch: u64,
    /// Counts what the session held, given back when it is written.
    pub revision: u64,
    /// Where.
    pub path: PathBuf,
    /// How much.
    pub detail: Detail,
    /// Whether it may replace what somebody else put there.
    pub replaces: bool,
    /// Settings, provenance, samples, runs; model paths as they are here.
    pub document: Document,
    /// Real pictures that early stopping compares with.
    pub references: Option<ImageBatch>,
    /// Pixels that inpainting generates.
    pub mask: Option<Mask>,
    /// The states that keep their pictures in a small file.
    pub last: BTreeSet<StateId>,
}

/// A session read from disk.
#[derive(Debug)]
pub struct Restored {
    /// Epoch of its journal.
    pub epoch: u64,
    /// The file that saving replaces; none after a crash, and none for a `session.json`, which is no session file.
    pub path: Option<PathBuf>,
    /// After a crash the session file that holds what was there before, if it is still as it was saved.
    pub older: Option<PathBuf>,
    /// Its settings.
    pub settings: Settings,
    /// What computed it.
    pub provenance: Provenance,
    /// Its origins; none in a bare recipe.
    pub origins: Option<Arc<Origins>>,
    /// Real pictures that early stopping compares with.
    pub references: Option<ImageBatch>,
    /// Pixels that inpainting generates.
    pub mask: Option<Mask>,
    /// Its runs.
    pub trace: Trace,
    /// Where each state lies in the new journal.
    pub index: Vec<(StateId, u64)>,
    /// The run that is shown first, and the place on its way from the origin; none without runs.
    pub shown: Option<StateId>,
    /// The picture that is marked first.
    pub sample: usize,
    /// Name of the published settings that those of the refinement come from.
    pub preset: Option<String>,
    /// The state that is there, if its pictures were kept: what else is looked at is read then.
    pub first: Option<(StateId, Arc<State>)>,
    /// What is not as it was when it was made, one sentence each.
    pub differences: Vec<String>,
}

/// What the disk thread reports.
#[derive(Debug)]
pub enum DiskEvent {
    /// A state is in the journal.
    Stored {
        /// Epoch of the journal.
        epoch: u64,
        /// The state.
        id: StateId,
        /// Its place.
        offset: u64,
    },
    /// A state was read back, or could not be.
    Loaded {
        /// Epoch of the journal.
        epoch: u64,
        /// The state.
        id: StateId,
        /// The state itself.
        state: Option<Arc<State>>,
    },
    /// An opening or a saving goes on.
    Progress {
        /// Which.
        ticket: Ticket,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// A session file is written.
    Saved {
        /// Which saving.
        ticket: Ticket,
        /// Where.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Epoch of the session that asked.
        epoch: u64,
        /// What it holds, as asked for.
        revision: u64,
        /// And how much of it.
        detail: Detail,
    },
    /// Nothing was saved, for what lies at its place is not what was opened from there or saved to it last.
    InTheWay {
        /// Which saving.
        ticket: Ticket,
        /// Where.
        path: PathBuf,
        /// How much was to be kept.
        detail: Detail,
    },
    /// A session is read.
    Opened {
        /// Which opening.
        ticket: Ticket,
        /// What was read.
        restored: Box<Restored>,
    },
    /// An opening or a saving came to nothing; the journal is what it was.
    Refused {
        /// Which.
        ticket: Ticket,
        /// Why; empty when it was stopped.
        chain: Vec<String>,
    },
    /// Pictures are read.
    Images {
        /// The session's epoch when they were asked for.
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
    /// What a crash left behind in this folder is not there any more.
    Taken(PathBuf),
    /// The journal cannot be written now; that a state is stored says that it can again.
    Unwritten(Vec<String>),
    /// Something failed: what, and why.
    Failed(Vec<String>),
}
