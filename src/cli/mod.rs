//! The command line: what was typed becomes one [`Invocation`], with settings that are checked.
//!
//! The commands drive the same compute thread as the window does. Nothing here draws a window.

pub mod bench;
mod describe;
mod driver;
pub mod edit;
mod error;
mod flags;
pub mod generate;
pub mod inspect;
mod kept;
mod opened;
pub mod refine;
pub mod search;
mod stream;
mod usage;

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

pub use self::bench::BenchModels;
pub use self::edit::EditOptions;
pub use self::error::CliError;
use self::flags::Use;
pub use self::search::SearchOptions;
pub use self::usage::command;
use self::usage::{DRY_RUN, FILES, INPUT, JSON, LIMIT, MASK, OUT, QUIET, REFERENCES, SECONDS, SESSION, SKIP, TRUNCATE};
use crate::export::Levels;
use crate::session::Settings;
use crate::worker::DeviceChoice;

/// Folder of the results, unless `--out` names another.
pub const DEFAULT_OUT: &str = "lapidary-out";

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
    /// Make pictures from pictures and write them.
    Edit(EditOptions),
    /// Find the best noise level between two steps.
    Search(SearchOptions),
    /// Say what a checkpoint holds.
    Inspect {
        /// Which.
        path: PathBuf,
        /// As JSON.
        json: bool,
    },
    /// Measure speed.
    Bench {
        /// Where.
        device: DeviceChoice,
        /// How long.
        seconds: f64,
        /// Of which models, if not of the demo's.
        models: Option<BenchModels>,
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
    /// Picture files, folders of them, or an archive of samples.
    Pictures(Vec<PathBuf>),
    /// Pictures that a `.lapidary` file holds.
    Stored(PathBuf),
}

/// Which of the opened pictures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// Pictures that are left out first.
    pub skip: usize,
    /// Most pictures that are taken; `None` for all.
    pub limit: Option<usize>,
}

impl Part {
    /// The places that are taken, of `count`.
    ///
    /// # Errors
    /// [`CliError::Skip`] when none are left.
    pub fn of(self, count: usize) -> Result<Range<usize>, CliError> {
        if self.skip >= count {
            return Err(CliError::Skip { skip: self.skip, count });
        }
        let end = self.limit.map_or(count, |limit| self.skip.saturating_add(limit).min(count));
        Ok(self.skip..end)
    }
}

/// What a command runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Every setting.
    pub settings: Settings,
    /// Where the pictures before come from.
    pub source: Source,
    /// Which of them are taken, when they are opened.
    pub part: Part,
    /// Real pictures that early stopping compares with.
    pub references: Vec<PathBuf>,
    /// How 8-bit levels are made for archives.
    pub levels: Levels,
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
        Self {
            settings,
            source: Source::Generator,
            part: Part::default(),
            references: Vec::new(),
            levels: Levels::Rounded,
            out: PathBuf::from(DEFAULT_OUT),
            dry_run: false,
            quiet: false,
            notes: Vec::new(),
        }
    }

    /// The window's job without a window.
    ///
    /// # Errors
    /// [`CliError`] when the session file cannot be read, or does not hold its pictures.
    pub fn headless(window: WindowOptions) -> Result<Self, CliError> {
        if let Some(path) = window.session_file() {
            let (options, source) = Self::of_session(path)?;
            return Ok(Self { source: source?, ..options });
        }
        let source = if window.files.is_empty() { Source::Generator } else { Source::Pictures(window.files) };
        Ok(Self { source, ..Self::new(window.settings) })
    }

    /// A session's settings, and its pictures or why it does not give them.
    fn of_session(path: &Path) -> Result<(Self, Result<Source, CliError>), CliError> {
        let saved = flags::read_session(path)?;
        let notes = saved.note.into_iter().collect();
        Ok((Self { notes, ..Self::new(saved.settings) }, saved.source))
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

/// Understands the arguments, the program's own name first.
///
/// # Errors
/// [`CliError`] says in one sentence what was found, what was expected and what to do.
pub fn parse<T: Into<OsString> + Clone>(args: impl IntoIterator<Item = T>) -> Result<Invocation, CliError> {
    let matches = command().try_get_matches_from(args)?;
    match matches.subcommand() {
        Some(("generate", matches)) => Ok(Invocation::Generate(run_options(matches, Job::Generate)?)),
        Some(("refine", matches)) => Ok(Invocation::Refine(run_options(matches, Job::Refine)?)),
        Some(("edit", matches)) => {
            let options = EditOptions { run: run_options(matches, Job::Edit)?, mask: path(matches, MASK) };
            options.check()?;
            Ok(Invocation::Edit(options))
        }
        Some(("search", matches)) => {
            Ok(Invocation::Search(SearchOptions::of(matches, run_options(matches, Job::Generate)?)?))
        }
        Some(("inspect", matches)) => {
            let path = path(matches, FILES).unwrap_or_default();
            Ok(Invocation::Inspect { path, json: is_on(matches, JSON) })
        }
        Some(("bench", matches)) => {
            let device = flags::given(matches, flags::DEVICE).unwrap_or("auto").parse::<DeviceChoice>()?;
            let seconds =
                flags::given(matches, SECONDS.flag).map_or(Ok(SECONDS.default), |text| SECONDS.parse(text))?;
            let model = |flag| flags::given(matches, flag).map(str::to_owned);
            let models = model(flags::GENERATOR).zip(model(flags::CLASSIFIER));
            let models = models.map(|(generator, classifier)| BenchModels { generator, classifier });
            Ok(Invocation::Bench { device, seconds, models })
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

fn is_on(matches: &ArgMatches, flag: &str) -> bool {
    flags::switched(matches, flag).unwrap_or(false)
}

fn window_options(matches: &ArgMatches) -> Result<WindowOptions, CliError> {
    let files = paths(matches, FILES);
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        return Err(CliError::NoFile { found: missing.display().to_string() });
    }
    let mut options = WindowOptions { settings: Settings::default(), files };
    let opens_pictures = !options.files.is_empty() && options.session_file().is_none();
    flags::apply(matches, &mut options.settings, if opens_pictures { Use::Opened } else { Use::Generated })?;
    Ok(options)
}

/// What a command does with pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Makes them.
    Generate,
    /// Makes or opens and refines them.
    Refine,
    /// Opens and edits them.
    Edit,
}

fn run_options(matches: &ArgMatches, job: Job) -> Result<RunOptions, CliError> {
    let (mut options, mut source) = match path(matches, SESSION) {
        Some(path) => RunOptions::of_session(&path)?,
        None => (RunOptions::new(Settings::default()), Ok(Source::Generator)),
    };
    let mut generates = flags::OF_GENERATION.iter().chain(&flags::OF_SAMPLING);
    if job == Job::Generate || job == Job::Refine && generates.any(|flag| flags::given(matches, flag).is_some()) {
        source = Ok(Source::Generator);
    }
    let inputs = paths(matches, INPUT);
    if !inputs.is_empty() {
        source = Ok(Source::Pictures(inputs));
    }
    options.source = source?;
    let about = match (job, &options.source) {
        (Job::Edit, _) => Use::Edited,
        (_, Source::Generator) => Use::Generated,
        (_, Source::Pictures(_) | Source::Stored(_)) => Use::Opened,
    };
    flags::apply(matches, &mut options.settings, about)?;
    options.references = paths(matches, REFERENCES);
    if !options.references.is_empty() {
        let refine = &mut options.settings.refine;
        refine.early_stop = flags::switched(matches, flags::EARLY_STOP).unwrap_or(true);
    }
    let stored = matches!(options.source, Source::Stored(_));
    if job == Job::Refine && options.settings.refine.early_stop && options.references.is_empty() && !stored {
        return Err(CliError::NoReferences);
    }
    options.part = part(matches, &options.source)?;
    if is_on(matches, TRUNCATE) {
        options.levels = Levels::Truncated;
    }
    options.out = path(matches, OUT).unwrap_or(options.out);
    options.dry_run = is_on(matches, DRY_RUN);
    options.quiet = is_on(matches, QUIET);
    Ok(options)
}

fn part(matches: &ArgMatches, source: &Source) -> Result<Part, CliError> {
    let number = |parameter: crate::parameter::Parameter| match flags::given(matches, parameter.flag) {
        Some(_) if !matches!(source, Source::Pictures(_)) => Err(CliError::Part { flag: parameter.flag }),
        Some(text) => Ok(Some(parameter.parse(text)? as usize)),
        None => Ok(None),
    };
    Ok(Part { skip: number(SKIP)?.unwrap_or(0), limit: number(LIMIT)? })
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
        let bench = Invocation::Bench { device: DeviceChoice::Cpu, seconds: 2.0, models: None };
        assert_eq!(parse(&["lapidary", "bench", "--device", "cpu", "--seconds", "2"]), bench);
        let shots = Invocation::Screenshots { out: "pictures".into() };
        assert_eq!(parse(&["lapidary", "screenshots", "--out", "pictures"]), shots);
        let inspect = Invocation::Inspect { path: "mine.pt".into(), json: true };
        assert_eq!(parse(&["lapidary", "inspect", "mine.pt", "--json"]), inspect);
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

    #[test]
    fn references_turn_early_stop_on_and_early_stop_needs_them() {
        let refine = |flags: &[&str]| match parse([&["lapidary", "refine"][..], flags].concat()) {
            Ok(Invocation::Refine(options)) => Ok(options),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        let options = refine(&["--references", "real/"]).unwrap();
        assert!(options.settings.refine.early_stop);
        assert_eq!(options.references, [PathBuf::from("real/")]);
        assert!(!refine(&["--references", "real/", "--early-stop=false"]).unwrap().settings.refine.early_stop);
        assert!(matches!(refine(&["--early-stop"]), Err(CliError::NoReferences)));
    }

    #[test]
    fn a_part_of_the_pictures_is_within_them() {
        let part = |skip, limit| Part { skip, limit };
        assert_eq!(part(0, None).of(5).unwrap(), 0..5);
        assert_eq!(part(3, Some(1)).of(5).unwrap(), 3..4);
        assert_eq!(part(3, Some(usize::MAX)).of(5).unwrap(), 3..5);
        assert!(matches!(part(5, None).of(5), Err(CliError::Skip { .. })));
        let limit = ["lapidary", "refine", "--seeds", "3", "--limit", "2"];
        assert!(matches!(parse(limit), Err(CliError::Part { flag: "limit" })));
    }
}
