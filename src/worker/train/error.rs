//! Why a training cannot begin or go on, each in one sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

use crate::file::Place;

/// Why a training cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// A file cannot be read.
    #[error("the configuration cannot be read: check that the file is there and may be read\n{}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No text.
    #[error("the configuration is no UTF-8 text in {place}: save it as UTF-8\n{}", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// No TOML, or none that is understood.
    #[error("the configuration is not valid in {place}: correct it as the cause says\n{}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("the configuration says {what}, but {expected}: correct it\n{}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What it says.
        what: String,
        /// What it should.
        expected: String,
    },
    /// Another training than that which is to go on.
    #[error("the training in this folder was begun with another {what}, so it cannot go on with this one: give its own config.toml, or another --out\n{}", path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A folder with a training in it.
    #[error("a training was begun in this folder already: go on with it by --resume, or give another --out\n{}", path.display())]
    Begun {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with other things in it.
    #[error("this folder holds other things ({found}), and a training begins in a folder of its own: give another --out\n{}", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// The first of them.
        found: String,
    },
    /// Pictures that are not there.
    #[error("no file or folder of pictures is there: correct pictures in [data]\n{}", path.display())]
    NoPictures {
        /// Where they should be.
        path: PathBuf,
    },
    /// A folder without one.
    #[error("there is no training in this folder to go on with: leave --resume out, or give its --out\n{}", path.display())]
    NotBegun {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else trains there.
    #[error("another Lapidary trains in this folder: wait for it, or give another --out\n{}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be written to.
    #[error("the folder of the training cannot be written to: make room on the disk, or allow writing there; what was kept before stays\n{}", path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
