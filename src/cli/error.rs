//! Why what was typed cannot be done, each in one sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::checkpoint::CheckpointError;
use crate::classifier::LabelError;
use crate::generator::TimeStepsError;
use crate::net::resnet::OddSize;
use crate::parameter::ParameterError;
use crate::session::StorageError;
use crate::worker::DeviceError;

/// Why what was typed cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Help or the version.
    #[error(transparent)]
    Help(clap::Error),
    /// Flags that do not exist, exclude each other or lack something, in words.
    #[error("{0}")]
    Usage(String),
    /// A number out of range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// No device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No time steps.
    #[error(transparent)]
    TimeSteps(#[from] TimeStepsError),
    /// A name that is not offered.
    #[error("--{flag} is {found:?}, but must be one of {known}: choose one of them")]
    Choice {
        /// The flag.
        flag: &'static str,
        /// What was given.
        found: String,
        /// What is offered.
        known: String,
    },
    /// No range of seeds.
    #[error("--seeds is {found:?}, but must be a range such as 0..64, its end not included, or one number: correct it")]
    Seeds {
        /// What was given.
        found: String,
    },
    /// Seeds that do not follow each other.
    #[error("--seeds is {found:?}, but seeds must follow each other, as in 0..4: give every range a run and an --out of its own")]
    SeedList {
        /// What was given.
        found: String,
    },
    /// More seeds than are made at once.
    #[error(
        "--seeds is {found:?}, which are {count} pictures, but at most {most} are made at once: take several runs, such as --seeds 0..{most}, each with an --out of its own"
    )]
    ManySeeds {
        /// What was given.
        found: String,
        /// How many that are.
        count: u64,
        /// How many may be.
        most: u64,
    },
    /// The labels of the pictures mean nothing to the classifier.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// Channels of another number.
    #[error("the pictures have {found} channels, but the classifier takes {expected}: choose models that fit each other")]
    Channels {
        /// Of the pictures.
        found: usize,
        /// Of the classifier.
        expected: usize,
    },
    /// Sides that the classifier cannot halve.
    #[error(transparent)]
    Size(#[from] OddSize),
    /// No list of noise levels.
    #[error("--sigmas is {found:?}, but must be a list of falling numbers such as 80,1.2: correct it")]
    Sigmas {
        /// What was given.
        found: String,
    },
    /// No class.
    #[error("{found:?} is no class of {model}, which knows {known}: use these names or numbers, or all, or random")]
    Class {
        /// What was given.
        found: String,
        /// Whose classes.
        model: String,
        /// Its classes.
        known: String,
    },
    /// A model without classes.
    #[error("--classes is given, but {model} knows no classes: leave it out or choose another model")]
    NoClasses {
        /// The model.
        model: String,
    },
    /// Neither a command nor a file.
    #[error(
        "{found:?} is neither a command nor a file: give a session, pictures, or a command that lapidary --help lists"
    )]
    NoFile {
        /// What was given.
        found: String,
    },
    /// Nothing is left after the pictures that are skipped.
    #[error("--skip is {skip}, but there are only {count} pictures: skip fewer")]
    Skip {
        /// Pictures to be skipped.
        skip: usize,
        /// Pictures that are there.
        count: usize,
    },
    /// A part of pictures that are not opened.
    #[error("--{flag} is about pictures that are opened, but none are: give some with --input")]
    Part {
        /// The flag.
        flag: &'static str,
    },
    /// Early stopping without real pictures.
    #[error(
        "early stop is on, but there are no real pictures to compare with: give some with --references, or turn it off with --early-stop=false"
    )]
    NoReferences,
    /// An edit without a picture.
    #[error("the task {task} is done to a picture, but none is given: give one with --input")]
    NoInput {
        /// The task.
        task: &'static str,
    },
    /// Inpainting without a mask.
    #[error(
        "inpainting is told by a mask which pixels to generate, but none is given: give a picture with --mask, white where to generate"
    )]
    NoMask,
    /// A model's description cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A session or a picture cannot be read.
    #[error(transparent)]
    Session(#[from] StorageError),
    /// Pictures cannot be opened.
    #[error(transparent)]
    Pictures(#[from] crate::data::PictureError),
    /// A label that is no class.
    #[error("picture {place} is of class {label}, but {model} knows {classes} classes (0 to {}): say others with --classes, or choose another model\n{}", classes.saturating_sub(1), path.display())]
    Label {
        /// Place of the picture in its archive.
        place: usize,
        /// Its label.
        label: usize,
        /// The model that is to know it.
        model: String,
        /// How many it knows.
        classes: usize,
        /// The archive.
        path: PathBuf,
    },
    /// Other files beside a session.
    #[error("a session is opened alone, but other files are given with it: leave them out\n{}", path.display())]
    SessionAmongOthers {
        /// The session.
        path: PathBuf,
    },
    /// A recipe without its pictures.
    #[error("this session refines opened pictures, but its session.json does not say which: use the .lapidary file, or give them with --input\n{}", path.display())]
    NoPictures {
        /// The recipe.
        path: PathBuf,
    },
}

impl CliError {
    /// 2 for wrong usage, 1 for files that cannot be used, 0 for help.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Help(_) => 0,
            Self::Checkpoint(_) | Self::Session(_) | Self::NoPictures { .. } | Self::Label { .. } => 1,
            _ => 2,
        }
    }
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Help(error),
            kind => Self::Usage(sentence(&error, kind)),
        }
    }
}

/// What clap found, in a sentence that says what to do.
fn sentence(error: &clap::Error, kind: ErrorKind) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" and "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    let flag = context(ContextKind::InvalidArg);
    let help = format!("`{} --help` lists what it takes", command_of(&context(ContextKind::Usage)));
    match kind {
        ErrorKind::UnknownArgument => {
            let near = context(ContextKind::SuggestedArg);
            let near = if near.is_empty() { String::new() } else { format!("did you mean {near}? ") };
            format!("{flag} is no flag of this command: {near}{help}")
        }
        ErrorKind::ArgumentConflict => {
            let (command, other) = (context(ContextKind::InvalidSubcommand), context(ContextKind::PriorArg));
            match (command.as_str(), other.as_str()) {
                ("", "") => format!("{flag} excludes others that are given with it: leave one of them out"),
                ("", other) if other == flag => format!("{flag} is given more than once: give it once"),
                ("", other) => format!("{flag} and {other} are given, but they exclude each other: leave one of them out"),
                (command, _) => format!("flags stand before {command}, but belong behind it: write the command first, then its flags"),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals if context(ContextKind::InvalidValue).is_empty() => {
            format!("{flag} is given without a value: give one; {help}")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("{flag} is {:?}, which it does not take: {help}", context(ContextKind::InvalidValue))
        }
        ErrorKind::MissingRequiredArgument => format!("{flag} is missing: give it; {help}"),
        ErrorKind::InvalidUtf8 => "an argument is no valid UTF-8 text, and only paths may be that: type it anew".to_owned(),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{first}: {help}")
        }
    }
}

/// `lapidary refine` of "Usage: lapidary refine [OPTIONS]".
fn command_of(usage: &str) -> String {
    let words = usage.split_whitespace().skip_while(|word| *word != "lapidary");
    let words: Vec<&str> = words.take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    if words.is_empty() { "lapidary".to_owned() } else { words.join(" ") }
}
