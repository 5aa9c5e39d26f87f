//! Why a training cannot begin or go on, each in one sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

use super::told::Role;
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
    #[error("this is no configuration, which is TOML, a UTF-8 text (here it is none in {place}): choose another file, or save it as UTF-8\n{}", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
    },
    /// No TOML, or none that is understood.
    #[error("the configuration is not valid in {place}: {}\n{}", advice(source.message()), path.display())]
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
    /// The configuration of something else.
    #[error("this configuration is for `lapidary train {}`, not for `lapidary train {}`: use `lapidary train {}` with it\n{}", found.word(), wanted.word(), found.word(), path.display())]
    Role {
        /// The file.
        path: PathBuf,
        /// What it is of.
        found: Role,
        /// What it should be of.
        wanted: Role,
    },
    /// Another training than that which is to go on.
    #[error("the training in this folder was begun with another {what}, so it cannot go on with this one: undo that change (steps and parts in [course], [optimiser] without its rule and [output] may change), or begin anew in another folder (--out)\n{}", path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// Something that it learns from has changed.
    #[error("{what} not what the training in this folder was begun with: bring back what it was, or begin anew in another folder (--out)\n{}", path.display())]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What, and "is" or "are".
        what: String,
    },
    /// No checkpoint to go on from.
    #[error("no checkpoint of this training is whole ({what}), so it cannot go on: begin anew in another folder (--out)\n{}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong with the newest.
        what: String,
    },
    /// Fewer steps than are done.
    #[error("the training in this folder has made {done} steps, but the configuration says steps = {steps}: give more in [course]\n{}", path.display())]
    Done {
        /// The folder.
        path: PathBuf,
        /// Steps that are done.
        done: u64,
        /// Steps that are asked for.
        steps: u64,
    },
    /// More memory than there is.
    #[error("training this network takes at least {} of memory, but there are {}: make it smaller (fewer channels or blocks), or more parts of a batch\n{}", crate::units::bytes(*needed), crate::units::bytes(*all), path.display())]
    Memory {
        /// The configuration.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes that there are.
        all: u64,
    },
    /// Less space than a training takes.
    #[error("the checkpoints of this training take about {}, but {} are free: make room on the disk, keep fewer ([output] keep), or choose a folder on another disk (--out)\n{}", crate::units::bytes(*needed), crate::units::bytes(*free), path.display())]
    Space {
        /// The folder.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A file where the folder is to be.
    #[error("a training begins in a folder of its own, and this is a file: choose another folder (--out)\n{}", path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// A folder with a training in it.
    #[error("a training was begun in this folder already: go on with it (--resume), or choose another folder (--out)\n{}", path.display())]
    Begun {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with other things in it.
    #[error("this folder holds other things ({found}), and a training begins in a folder of its own: choose another folder (--out)\n{}", path.display())]
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
    #[error("there is no training in this folder to go on with: begin one (without --resume), or choose its folder (--out)\n{}", path.display())]
    NotBegun {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else trains there.
    #[error("another Lapidary trains in this folder: wait for it, or choose another folder (--out)\n{}", path.display())]
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

/// What a reader of TOML says, as what to do about it.
fn advice(fault: &str) -> String {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let (found, expected) = fault.split_once(", expected ").unwrap_or((fault, ""));
    let list = match quoted(expected) {
        names if names.is_empty() => "none at all".to_owned(),
        names => names.join(", "),
    };
    match quoted(found).first() {
        Some(name) if found.starts_with("unknown field") => format!("no entry is called {name} there, only {list}"),
        Some(name) if found.starts_with("unknown variant") => format!("{name:?} is none of {list}"),
        Some(name) if found.starts_with("missing field") => format!("the entry {name} is missing, so add it"),
        _ if found.starts_with("invalid type") || found.starts_with("invalid value") => {
            format!("what stands there is no {}, so correct it", kind(expected))
        }
        _ if found.contains("duplicate key") => {
            "this entry stands there for the second time, so leave one out".to_owned()
        }
        _ => "correct it as the cause says".to_owned(),
    }
}

/// What a type of Rust is to others.
fn kind(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "whole number from 0",
        "f32" | "f64" => "number",
        "a boolean" => "true or false",
        "a string" => "text in quotation marks",
        "a sequence" => "list in brackets",
        _ => "value that fits here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_of_toml_says_becomes_advice() {
        for (said, advised) in [
            ("unknown field `a`, expected one of `b`, `c`", "no entry is called a there, only b, c"),
            ("unknown field `a`, there are no fields", "no entry is called a there, only none at all"),
            ("unknown variant `d`, expected `e` or `f`", "\"d\" is none of e, f"),
            ("missing field `name`", "the entry name is missing, so add it"),
            ("duplicate key", "this entry stands there for the second time, so leave one out"),
            (
                "invalid type: string \"4\", expected usize",
                "what stands there is no whole number from 0, so correct it",
            ),
            ("invalid value: integer `-4`, expected u64", "what stands there is no whole number from 0, so correct it"),
            ("unexpected key or value, expected newline", "correct it as the cause says"),
        ] {
            assert_eq!(advice(said), advised);
        }
    }
}
