//! The command line: what was typed becomes one [`Invocation`], with settings that are checked.
//!
//! The commands drive the same compute thread as the window does. Nothing here draws a window.

pub mod bench;
pub mod flags;
pub mod generate;
pub mod refine;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use crate::checkpoint::{BUNDLED, CheckpointError, ManifestKind, bundled_manifest};
use crate::parameter::{Parameter, ParameterError};
use crate::session::Settings;
use crate::session::StorageError;
use crate::worker::{DeviceChoice, DeviceError};

/// Folder of the results, unless `--out` names another.
pub const DEFAULT_OUT: &str = "lapidary-out";

/// How long `lapidary bench` measures.
const SECONDS: Parameter = Parameter {
    key: "seconds",
    flag: "seconds",
    label: "Seconds",
    symbol: "t",
    unit: "s",
    min: 0.1,
    max: 3600.0,
    slider: (1.0, 60.0),
    default: 10.0,
    integer: false,
    about: "How long each part is measured",
    source: "Lapidary",
};

const INPUT: &str = "input";
const SESSION: &str = "session";
const OUT: &str = "out";
const DRY_RUN: &str = "dry-run";
const QUIET: &str = "quiet";
const FILES: &str = "file";

const ABOUT: &str = "Refine generated images with an adversarially trained joint classifier-discriminator";
const LONG_ABOUT: &str = "A consistency model makes images; a joint classifier-discriminator refines them.

Every iteration moves each image a small step (step size α) in the direction in which the objective grows fastest, by \
default the logit f_y of its class y, and brings it back into a ball (radius ε) around the generated image. What you \
choose is how far it may go, how fast, and what grows.

Without a command a window opens. `lapidary refine` and `lapidary generate` do the same job without one, with the same \
settings; a session saved in the window runs there with --session, and their session.json opens in the window.";

const EXAMPLES: &str = "Examples:
  lapidary refine --seeds 0..64 --iterations 20 --out out
      64 pictures, the same bytes each time
  lapidary refine --classes stop,yield --norm linf --radius 0.03 --step-size 0.1x
      two classes; no value changes by more than 0.03; each step is a tenth of that
  lapidary refine --input photos/ --radius 1
      your own pictures, each towards the class that the classifier sees in it
  lapidary refine --session figure3.lapidary --dry-run
      what a saved session would do, without doing it
  lapidary generate --seeds 0..16 --sigmas 80,1.2
      pictures only, with two sampling steps

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped with Ctrl-C (what was done is written).";

/// What the program is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// Open the window.
    Window {
        /// With what.
        options: WindowOptions,
    },
    /// Make pictures and write them.
    Generate(RunOptions),
    /// Make or open pictures, refine them, and write everything.
    Refine(RunOptions),
    /// Measure speed.
    Bench {
        /// Where.
        device: DeviceChoice,
        /// How long.
        seconds: f64,
    },
    /// Draw the window's pictures for the documentation.
    Screenshots {
        /// Folder for them.
        out: PathBuf,
    },
}

/// What the window begins with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WindowOptions {
    /// Settings of the new session.
    pub settings: Settings,
    /// Files to open: one session, or pictures.
    pub files: Vec<PathBuf>,
}

impl WindowOptions {
    /// The session file among [`Self::files`], told by its name.
    #[must_use]
    pub fn session_file(&self) -> Option<&Path> {
        let is_session = |path: &&PathBuf| {
            let extension = path.extension().unwrap_or_default();
            extension.eq_ignore_ascii_case("lapidary") || extension.eq_ignore_ascii_case("json")
        };
        self.files.iter().find(is_session).map(PathBuf::as_path)
    }
}

/// Where the pictures before come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// The generator makes them.
    #[default]
    Generator,
    /// Picture files, and folders of them.
    Pictures(Vec<PathBuf>),
    /// Opened pictures that a `.lapidary` file holds.
    Stored(PathBuf),
}

/// What a command runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Every setting.
    pub settings: Settings,
    /// Where the pictures before come from.
    pub source: Source,
    /// Folder for the results.
    pub out: PathBuf,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Say nothing but warnings and errors.
    pub quiet: bool,
    /// What the user should know first, one line each.
    pub notes: Vec<String>,
}

impl RunOptions {
    /// Without files or flags.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let out = PathBuf::from(DEFAULT_OUT);
        Self { settings, source: Source::Generator, out, dry_run: false, quiet: false, notes: Vec::new() }
    }

    /// The window's job without a window.
    ///
    /// # Errors
    /// [`CliError`] when the session file cannot be read.
    pub fn headless(window: WindowOptions) -> Result<Self, CliError> {
        if let Some(path) = window.session_file() {
            return Self::of_session(path);
        }
        let source = if window.files.is_empty() { Source::Generator } else { Source::Pictures(window.files) };
        Ok(Self { source, ..Self::new(window.settings) })
    }

    fn of_session(path: &Path) -> Result<Self, CliError> {
        let saved = flags::read_session(path)?;
        let notes = saved.note.into_iter().collect();
        Ok(Self { source: saved.source, notes, ..Self::new(saved.settings) })
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done.
    Done,
    /// The user stopped it; what was done is written.
    Interrupted,
}

impl Outcome {
    /// The exit code of the program.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            // 128 + SIGINT, as shells expect.
            Self::Interrupted => 130,
        }
    }
}

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
    /// A model's description cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A session cannot be read.
    #[error(transparent)]
    Session(#[from] StorageError),
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
            Self::Checkpoint(_) | Self::Session(_) | Self::NoPictures { .. } => 1,
            _ => 2,
        }
    }
}

/// Understands the arguments, the program's own name first.
///
/// # Errors
/// [`CliError`] says in one sentence what was found, what was expected and what to do.
pub fn parse<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Invocation, CliError> {
    let matches = command().try_get_matches_from(args)?;
    match matches.subcommand() {
        Some(("generate", matches)) => Ok(Invocation::Generate(run_options(matches, false)?)),
        Some(("refine", matches)) => Ok(Invocation::Refine(run_options(matches, true)?)),
        Some(("bench", matches)) => {
            let device = flags::given(matches, flags::DEVICE).unwrap_or("auto").parse::<DeviceChoice>()?;
            let seconds =
                flags::given(matches, SECONDS.flag).map_or(Ok(SECONDS.default), |text| SECONDS.parse(text))?;
            Ok(Invocation::Bench { device, seconds })
        }
        Some(("screenshots", matches)) => {
            let out = path(matches, OUT).unwrap_or_else(|| PathBuf::from("assets"));
            Ok(Invocation::Screenshots { out })
        }
        _ => Ok(Invocation::Window { options: window_options(&matches)? }),
    }
}

fn path(matches: &ArgMatches, flag: &str) -> Option<PathBuf> {
    matches.try_get_one::<PathBuf>(flag).ok().flatten().cloned()
}

fn paths(matches: &ArgMatches, flag: &str) -> Vec<PathBuf> {
    matches.try_get_many::<PathBuf>(flag).ok().flatten().map_or_else(Vec::new, |paths| paths.cloned().collect())
}

fn window_options(matches: &ArgMatches) -> Result<WindowOptions, CliError> {
    let files = paths(matches, FILES);
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        return Err(CliError::NoFile { found: missing.display().to_string() });
    }
    let mut options = WindowOptions { settings: Settings::default(), files };
    let opens_pictures = !options.files.is_empty() && options.session_file().is_none();
    flags::apply(matches, &mut options.settings, opens_pictures)?;
    Ok(options)
}

fn run_options(matches: &ArgMatches, refines: bool) -> Result<RunOptions, CliError> {
    let mut options = match path(matches, SESSION) {
        Some(path) => RunOptions::of_session(&path)?,
        None => RunOptions::new(Settings::default()),
    };
    if !refines || flags::OF_GENERATION.iter().any(|flag| flags::given(matches, flag).is_some()) {
        options.source = Source::Generator;
    }
    let inputs = paths(matches, INPUT);
    if !inputs.is_empty() {
        options.source = Source::Pictures(inputs);
    }
    flags::apply(matches, &mut options.settings, options.source != Source::Generator)?;
    options.out = path(matches, OUT).unwrap_or(options.out);
    options.dry_run = flags::is_on(matches, DRY_RUN);
    options.quiet = flags::is_on(matches, QUIET);
    Ok(options)
}

/// The command line's description.
#[must_use]
pub fn command() -> Command {
    let after = format!("{EXAMPLES}\n\n{}", bundled_models());
    Command::new("lapidary")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(after.clone())
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .max_term_width(110)
        .arg(
            Arg::new(FILES)
                .value_name("FILE")
                .num_args(1..)
                .value_parser(value_parser!(PathBuf))
                .value_hint(ValueHint::FilePath)
                .help("A session (.lapidary or session.json) or pictures to open in the window"),
        )
        .args(flags::generate_args())
        .args(flags::refine_args())
        .args(flags::compute_args())
        .subcommand(
            Command::new("generate")
                .about("Generate pictures without a window")
                .long_about("Generates pictures and writes them as PNG files, a contact sheet, float arrays (samples.npz) and a recipe (session.json).")
                .after_help(after.clone())
                .args(flags::generate_args())
                .args(flags::compute_args())
                .args(file_args(false)),
        )
        .subcommand(
            Command::new("refine")
                .about("Generate or open pictures and refine them without a window")
                .long_about("Generates or opens pictures, refines them, and writes pairs and a contact sheet (PNG), float arrays (result.npz), every number of every iteration (trace.csv) and a recipe (session.json).\n\nThe defaults are the demo's best setting. Ctrl-C stops after the current iteration and writes what is done.")
                .after_help(after)
                .args(flags::generate_args())
                .args(flags::refine_args())
                .args(flags::compute_args())
                .args(file_args(true)),
        )
        .subcommand(
            Command::new("bench")
                .about("Measure generating and refining on this machine; prints JSON")
                .arg(flags::device_arg())
                .arg(flags::number(SECONDS, "")),
        )
        .subcommand(
            Command::new("screenshots")
                .hide(true)
                .about("Draw the window's pictures for the documentation")
                .arg(file_arg(OUT, "DIR", "Folder for the pictures [default: assets]".to_owned(), ValueHint::DirPath)),
        )
}

/// Where pictures and settings come from and where results go.
fn file_args(refines: bool) -> Vec<Arg> {
    let switch =
        |flag: &'static str, help: &'static str| Arg::new(flag).long(flag).action(ArgAction::SetTrue).help(help);
    let mut args = vec![
        file_arg(
            SESSION,
            "FILE",
            "A .lapidary file or session.json whose settings are the starting point; other flags override them"
                .to_owned(),
            ValueHint::FilePath,
        ),
        file_arg(OUT, "DIR", format!("Folder for the results [default: {DEFAULT_OUT}]"), ValueHint::DirPath),
        switch(DRY_RUN, "Say what would be done, and write nothing"),
        switch(QUIET, "No progress bar and no summary; warnings and errors only"),
    ];
    if refines {
        let help = "Pictures (PNG, JPEG, WebP, ...) or folders of them to refine instead of generating; --classes all means the class that the classifier sees";
        args.insert(
            0,
            file_arg(INPUT, "FILES", help.to_owned(), ValueHint::AnyPath)
                .num_args(1..)
                .action(ArgAction::Append)
                .conflicts_with_all(flags::OF_GENERATION),
        );
    }
    args.into_iter().map(|arg| arg.help_heading("Files")).collect()
}

fn file_arg(flag: &'static str, value: &'static str, help: String, hint: ValueHint) -> Arg {
    Arg::new(flag).long(flag).value_name(value).value_parser(value_parser!(PathBuf)).value_hint(hint).help(help)
}

fn bundled_models() -> String {
    let line = |bundled| {
        let manifest = bundled_manifest(bundled);
        let role = if matches!(manifest.kind, ManifestKind::Generator(_)) { "generator" } else { "classifier" };
        format!("  {:<16} {role}: {}", manifest.name, manifest.title)
    };
    let lines: Vec<String> = BUNDLED.iter().map(line).collect();
    let own =
        "Your own: a .safetensors or .pt file with a manifest of the same name (.toml) beside it; see the README.";
    format!("Bundled models:\n{}\n\n{own}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_command_is_understood() {
        let parse = |args: &[&str]| parse(args.iter().copied()).unwrap();
        assert_eq!(parse(&["lapidary"]), Invocation::Window { options: WindowOptions::default() });
        assert!(matches!(parse(&["lapidary", "generate", "--seeds", "3"]), Invocation::Generate(_)));
        let bench = Invocation::Bench { device: DeviceChoice::Cpu, seconds: 2.0 };
        assert_eq!(parse(&["lapidary", "bench", "--device", "cpu", "--seconds", "2"]), bench);
        let shots = Invocation::Screenshots { out: "pictures".into() };
        assert_eq!(parse(&["lapidary", "screenshots", "--out", "pictures"]), shots);
        let Invocation::Refine(options) = parse(&["lapidary", "refine", "--input", "a.png", "b.png", "--out", "o"])
        else {
            panic!("refine");
        };
        assert_eq!(options.source, Source::Pictures(vec!["a.png".into(), "b.png".into()]));
        assert_eq!(options.out, PathBuf::from("o"));
        let Invocation::Window { options } = parse(&["lapidary", "--radius", "2"]) else { panic!("window") };
        assert_eq!(options.settings.refine.eps, 2.0);
    }

    #[test]
    fn a_mistyped_command_is_named() {
        let error = parse(["lapidary", "refin"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().starts_with("\"refin\" is neither a command nor a file"), "{error}");
    }

    #[test]
    fn without_a_window_a_session_or_pictures_are_refined_all_the_same() {
        let pictures = WindowOptions { files: vec!["a.png".into()], ..Default::default() };
        assert_eq!(RunOptions::headless(pictures).unwrap().source, Source::Pictures(vec!["a.png".into()]));
        let missing = WindowOptions { files: vec!["no/such.lapidary".into()], ..Default::default() };
        assert_eq!(RunOptions::headless(missing).unwrap_err().exit_code(), 1);
        assert_eq!(RunOptions::headless(WindowOptions::default()).unwrap(), RunOptions::new(Settings::default()));
    }
}
