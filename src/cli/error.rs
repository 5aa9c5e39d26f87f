//! Why what was typed cannot be done, each in one sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::evaluate::EvaluateError;
use super::merge::MergeError;
use crate::checkpoint::CheckpointError;
use crate::classifier::LabelError;
use crate::experiment::ExperimentError;
use crate::export::ExportError;
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
    /// An experiment's file that cannot be read.
    #[error("the experiment's file cannot be read: check its path\n{}", path.display())]
    ExperimentFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An experiment's file that says what cannot be.
    #[error("the experiment cannot be begun\n{}", path.display())]
    Experiment {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<ExperimentError>,
    },
    /// A cell of an experiment whose command is none.
    #[error("the cell {cell:?} of the experiment cannot be begun")]
    Cell {
        /// Its name.
        cell: String,
        /// Why.
        source: Box<Self>,
    },
    /// No range of seeds.
    #[error("--seeds is {found:?}, but must be a range such as 0..64, its end not included, or one number: correct it")]
    Seeds {
        /// What was given.
        found: String,
    },
    /// Seeds that do not follow each other.
    #[error(
        "--seeds is {found:?}, but seeds must follow each other, as in 0..4: give every range a run and an --out of its own"
    )]
    SeedList {
        /// What was given.
        found: String,
    },
    /// The labels of the pictures mean nothing to the classifier.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// Channels of another number.
    #[error(
        "the pictures have {}, but the {model} takes {expected}: choose another {model}, or other pictures",
        crate::units::counted(*found, "channel")
    )]
    Channels {
        /// Of the pictures.
        found: usize,
        /// Of the model.
        expected: usize,
        /// What it is.
        model: &'static str,
    },
    /// Sides that the classifier cannot halve.
    #[error(transparent)]
    Size(#[from] OddSize),
    /// No shard of shards.
    #[error(
        "--shard is {found:?}, but must be which of how many runs this is, such as 2/8, from 1/8 to 8/8 and of at most {}: correct it",
        crate::export::MAX_SHARDS
    )]
    Shard {
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
    /// Seeds of pictures where frames between two seeds are made.
    #[error(
        "--{flag} is {found:?}, but the task interpolate makes frames between two seeds: give these with --seed-from and --seed-to, and the number of frames with --samples"
    )]
    SeedsOfFrames {
        /// The flag that was given.
        flag: &'static str,
        /// What was given.
        found: String,
    },
    /// No list of noise levels.
    #[error("--sigmas is {found:?}, but must be a list of falling numbers such as 80,1.2: correct it")]
    Sigmas {
        /// What was given.
        found: String,
    },
    /// A dialect of another network.
    #[error(
        "--dialect says how pictures come to Inception-2015, but {name} is a classifier: leave it out, or give --extractor a file of Inception-2015"
    )]
    DialectOfClassifier {
        /// The classifier.
        name: String,
    },
    /// A number of real pictures without any.
    #[error(
        "--metric {metric} compares with real pictures, but none are given: give some with --reference, or choose a metric that needs none"
    )]
    NoReal {
        /// The number.
        metric: &'static str,
    },
    /// A table of a form that is not written.
    #[error("{} ends with none of .csv, .json and .tex, which say how the table is written: rename it", path.display())]
    TableFormat {
        /// The file.
        path: PathBuf,
    },
    /// A table that would replace a file.
    #[error("{} is there already: give another name, or --overwrite to replace it", path.display())]
    TableExists {
        /// The file.
        path: PathBuf,
    },
    /// A file of others where a table would go.
    #[error("{} is no table of lapidary evaluate, so it is not replaced: give another name", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
    },
    /// Sets or real pictures that do not compare.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// One set where two are paired.
    #[error("--pairs compares sets place by place, but only one is given: give the set of its partners before it")]
    Pairs,
    /// What was seen of pictures where these are compared.
    #[error("--pairs compares pictures, but {name} holds only what was seen of some: give the pictures")]
    PairSeen {
        /// The set.
        name: String,
    },
    /// Sets of other numbers of pictures than their partners'.
    #[error(
        "{name} has {}, but {first} has {expected}: --pairs compares sets place by place, so give as many, or leave it out",
        crate::units::counted(*found, "picture")
    )]
    PairCounts {
        /// The set.
        name: String,
        /// Pictures of it.
        found: usize,
        /// The set of the partners.
        first: String,
        /// Pictures of that.
        expected: usize,
    },
    /// A distance of pairs where there are none.
    #[error("--lpips is a distance of pairs, but no set has partners: give results of lapidary refine, or --pairs")]
    NoPairs,
    /// Files that LPIPS cannot be made of.
    #[error(
        "--lpips needs two files, torchvision's of vgg16 and vgg.pth of richzhang/PerceptualSimilarity, or a folder with both, but among these is {what}: {files}"
    )]
    LpipsFiles {
        /// What is missing, or is there too often.
        what: &'static str,
        /// What was given.
        files: String,
    },
    /// Pictures of another form than the other sets'.
    #[error(
        "{name} {} {} of {}×{}, but {} of {}×{} are compared: sets of one size compare, so bring all to that size first",
        super::evaluate::has(name),
        crate::units::counted(found[0], "channel"), found[2], found[1],
        crate::units::counted(expected[0], "channel"), expected[2], expected[1]
    )]
    SetShape {
        /// The set.
        name: String,
        /// `[C, H, W]` of its pictures.
        found: [usize; 3],
        /// Of the others'.
        expected: [usize; 3],
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
    /// A word behind a switch.
    #[error("--{flag} is on when it is given and takes no {value:?} behind it: leave the word out{say}")]
    Switch {
        /// The flag.
        flag: String,
        /// The word.
        value: String,
        /// How to give it a value, if it takes one.
        say: String,
    },
    /// Neither a command nor a file.
    #[error(
        "{found:?} is neither a command nor a file: give a session, pictures, or a command that lapidary --help lists"
    )]
    NoFile {
        /// What was given.
        found: String,
    },
    /// A file whose name looks like a flag.
    #[error("{} is a file, but its name looks like a flag: write ./{}", found.display(), found.display())]
    FlagOrFile {
        /// What was given.
        found: std::ffi::OsString,
    },
    /// A variable of the environment that chooses how networks are computed.
    #[error("LAPIDARY_KERNELS is {found:?}, but may only be burn, or be left out: correct it")]
    Kernels {
        /// What it is.
        found: std::ffi::OsString,
    },
    /// One network of two.
    #[error(
        "--{flag} is missing: one network makes the pictures and the other refines them, so name both; with --layers one will do"
    )]
    Bench {
        /// The flag of the other one.
        flag: &'static str,
    },
    /// Steps on another device.
    #[error("--layers times steps on the CPU, but --device is {found:?}: leave one of the two out")]
    Layers {
        /// The device.
        found: String,
    },
    /// Pictures that are opened, and a flag of pictures that are made.
    #[error("--{flag} is about pictures that are made, but some are given to be opened: leave one of the two out")]
    MadeAndOpened {
        /// The flag.
        flag: &'static str,
    },
    /// A command behind its flags.
    #[error("flags stand before the command {found}, but belong behind it: write the command first, then its flags")]
    LateCommand {
        /// The command.
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
    /// The mask of a session is another one now.
    #[error("the mask changed since the session was made: give it as it was, or say with --mask which one is meant\n{}", path.display())]
    Mask {
        /// Its file.
        path: PathBuf,
    },
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
    /// One-hot labels of more classes.
    #[error("the one-hot rows of arr_1 have {columns} columns, but {model} knows {classes} classes, so the labels are of other classes: say these with --classes, or choose another model\n{}", path.display())]
    Columns {
        /// How many there are.
        columns: usize,
        /// The model that is to know them.
        model: String,
        /// How many classes it knows.
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
    /// The output cannot be written.
    #[error("what was to be said cannot be written to the output: free some space, or send the output elsewhere")]
    Output {
        /// What the system said.
        source: std::io::Error,
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
            Self::Evaluate(error) => error.exit_code(),
            Self::Checkpoint(_)
            | Self::Session(_)
            | Self::NoPictures { .. }
            | Self::Label { .. }
            | Self::Columns { .. }
            | Self::Mask { .. }
            | Self::Channels { .. }
            | Self::Size(_)
            | Self::SetShape { .. }
            | Self::PairCounts { .. }
            | Self::LpipsFiles { .. }
            | Self::Output { .. }
            | Self::Samples { .. } => 1,
            _ => 2,
        }
    }
}

/// The exit code of what failed while it was done: 75 where another one works there, for that is worth another try, else 1.
#[must_use]
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    let at_work = matches!(error.downcast_ref(), Some(ExportError::Busy { .. }))
        || matches!(error.downcast_ref(), Some(MergeError::Busy { .. }));
    // `EX_TEMPFAIL` of sysexits.h.
    if at_work { 75 } else { 1 }
}

impl CliError {
    /// What clap found in the flags of a command, `lapidary refine` for example, in a sentence that says what to do.
    pub(super) fn usage(error: clap::Error, command: &str) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Help(error),
            kind => Self::Usage(sentence(&error, kind, command)),
        }
    }
}

fn sentence(error: &clap::Error, kind: ErrorKind, command: &str) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => bare(text).to_owned(),
        Some(ContextValue::Strings(texts)) => texts.iter().map(|text| bare(text)).collect::<Vec<_>>().join(" and "),
        _ => String::new(),
    };
    let flag = context(ContextKind::InvalidArg);
    let help = format!("`{command} --help` lists what it takes");
    match kind {
        ErrorKind::MissingSubcommand => format!("{command} needs a word behind it that says what: {help}"),
        ErrorKind::UnknownArgument if !flag.starts_with('-') => {
            format!("{flag:?} is one more than this command takes: leave it out; {help}")
        }
        ErrorKind::InvalidSubcommand => {
            format!("{:?} is no command: {help}", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::UnknownArgument => {
            let near = context(ContextKind::SuggestedArg);
            let near = if near.is_empty() { String::new() } else { format!("did you mean {near}? ") };
            format!("{flag} is no flag of this command: {near}{help}")
        }
        ErrorKind::ArgumentConflict => {
            let other = context(ContextKind::PriorArg);
            if other == flag {
                format!("{flag} is given more than once: give it once")
            } else {
                format!("{flag} and {other} are given, but they exclude each other: leave one of them out")
            }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals if context(ContextKind::InvalidValue).is_empty() => {
            format!("{flag} is given without a value: give one; {help}")
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("{flag} is {:?}, which it does not take: {help}", context(ContextKind::InvalidValue))
        }
        ErrorKind::MissingRequiredArgument => format!("{flag} is missing: give it; {help}"),
        ErrorKind::InvalidUtf8 => "an argument is no valid UTF-8, which only paths may be: type it anew".to_owned(),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("{first}: {help}")
        }
    }
}

/// A flag without its values: `--random-start` of `--random-start[=<true|false>]`.
fn bare(flag: &str) -> &str {
    let end = if flag.starts_with("--") { flag.find([' ', '[', '=', '<']) } else { None };
    end.map_or(flag, |end| &flag[..end])
}
