//! Why the disk refused, each in one sentence: what failed, why, what to do.

use std::path::PathBuf;

use crate::data::PictureError;

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
    /// What a crash left behind and another program has taken.
    #[error("another window has recovered this already, or is doing so: what was left behind is there\n{}", path.display())]
    Taken {
        /// The folder that it was in.
        path: PathBuf,
    },
    /// The folder to save to is not there.
    #[error("the session cannot be saved: its folder is not there; make it first, or choose another one\n{}", path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("the session file cannot be read: check that it exists and that you may read it\n{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It is no file.
    #[error(transparent)]
    NotAFile(#[from] crate::file::NotAFile),
    /// It is of a later version.
    #[error("this session was written by a later version of Lapidary: update Lapidary, then it opens\n{}", path.display())]
    Future {
        /// Which.
        path: PathBuf,
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
    /// It was edited, and cannot be read any more.
    #[error("the session file cannot be read, for {what}: correct it there\n{}", path.display())]
    Edited {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and where.
        what: String,
    },
    /// A recipe of edited pictures without them.
    #[error("this session.json describes edited pictures, which a description alone does not hold: open the .lapidary file, or the pictures themselves\n{}", path.display())]
    EditedRecipe {
        /// Which.
        path: PathBuf,
    },
    /// Pictures that it needs cannot be read.
    #[error(transparent)]
    Pictures(#[from] PictureError),
}
