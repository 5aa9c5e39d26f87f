//! What crosses the border between the thread of the numbers beside a run and the rest: plain values.

use std::path::PathBuf;

use crate::image::ImageBatch;
use crate::metrics::{Judged, Shift};
use crate::trace::StateId;

/// What numbers belong to; those of another one are stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Which pictures before, as the session counts them.
    pub epoch: u64,
    /// A bundled classifier's name, or the path of one.
    pub judge: String,
    /// Real pictures, or what was seen of them.
    pub reference: Option<PathBuf>,
    /// How often somebody chose: whoever chooses the same again wants it looked at again, for its file may be another.
    pub choosing: u64,
}

/// What real pictures are to fit, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Against {
    /// SHA-256 of the judge's weights, and how many features it has of a picture.
    pub judge: Option<(String, usize)>,
    /// `[C, H, W]` of the run's pictures.
    pub shape: [usize; 3],
}

/// Asks for the numbers of a state; a newer wish replaces one that waits.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What they belong to.
    pub of: Subject,
    /// The state.
    pub state: StateId,
    /// The pictures before and after, `[N, C, H, W]` each.
    pub pictures: [ImageBatch; 2],
    /// The class that each is to have, one of [`Self::classes`].
    pub targets: Vec<usize>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Memory that the network's calls may use, in MiB, where that is limited.
    pub memory_mib: Option<u32>,
}

/// The numbers of a state.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Title of the judge.
    pub judge: String,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// Features that it has of a picture.
    pub width: usize,
    /// Pictures.
    pub pictures: usize,
    /// What the judge sees, or why it cannot say, in one sentence.
    pub judged: Result<Judged, String>,
    /// How far the pictures are from the real ones, or why that cannot be had, in one sentence; none where nobody
    /// asked, and while the real ones are looked at.
    pub distance: Option<Result<Distance, String>>,
}

/// Fréchet distances to the real pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Distance {
    /// Of the pictures before and of those after.
    pub of: Shift,
    /// Features of a picture.
    pub features: usize,
    /// Real pictures, where that is known.
    pub real: Option<usize>,
    /// Others beside them that their data set holds out for validation, and that were left out.
    pub held_out: usize,
    /// Why they say less than they seem to, in one sentence.
    pub doubt: Option<String>,
}

/// What the thread tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Real pictures are looked at, once: so many of so many; numbers without a distance come meanwhile.
    Looking {
        /// What for.
        of: Subject,
        /// Pictures so far.
        done: usize,
        /// Pictures in all.
        all: usize,
    },
    /// The numbers of a state.
    Numbers {
        /// What they belong to.
        of: Subject,
        /// The state.
        state: StateId,
        /// They, or why there are none: message and causes.
        found: Result<Numbers, Vec<String>>,
    },
}
