//! Why what was typed cannot be done, each in one sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::generator::TimeStepsError;
use crate::parameter::ParameterError;
use crate::session::StorageError;
use crate::worker::DeviceError;

/// Why what was typed cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Help, the version, or a flag that does not exist.
    #[error(transparent)]
    Clap(#[from] clap::Error),
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
    /// Too many seeds.
    #[error(
        "--seeds is {found:?}, which are {count} pictures, but one run makes at most {}: make the rest in further runs, each with an --out of its own",
        crate::data::MAX_COUNT
    )]
    Many {
        /// What was given.
        found: String,
        /// How many these are.
        count: u64,
    },
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
    /// A list of pictures that the settings do not give.
    #[error("the session lists {what}: correct its samples or its settings, or give --seeds, --classes or --input\n{}", path.display())]
    Samples {
        /// The recipe.
        path: PathBuf,
        /// What it lists, and what there is.
        what: String,
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
            Self::Clap(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::Checkpoint(_)
            | Self::Session(_)
            | Self::NoPictures { .. }
            | Self::Label { .. }
            | Self::Samples { .. } => 1,
            _ => 2,
        }
    }
}
