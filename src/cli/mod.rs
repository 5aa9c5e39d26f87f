//! The command line: what was typed becomes one [`Invocation`], with settings that are checked.
//!
//! The commands drive the same compute thread as the window does. Nothing here draws a window.

mod batch;
mod begin;
pub mod bench;
mod describe;
mod driver;
pub mod edit;
mod ending;
mod error;
pub mod evaluate;
pub mod experiment;
mod flags;
pub mod generate;
pub mod inspect;
mod kept;
mod maker;
mod many;
pub mod merge;
mod opened;
mod parse;
mod progress;
mod recorded;
pub mod refine;
mod rehearsal;
mod say;
pub mod search;
mod shard;
mod signals;
mod tally;
pub mod train;
mod usage;

use std::path::{Path, PathBuf};

pub use self::bench::BenchOptions;
pub use self::edit::EditOptions;
pub use self::error::{CliError, exit_code_of};
pub use self::evaluate::EvaluateOptions;
pub use self::experiment::ExperimentOptions;
pub use self::merge::MergeOptions;
pub use self::parse::parse;
pub use self::recorded::Recorded;
pub use self::say::{say_err, say_out};
pub use self::search::SearchOptions;
pub use self::train::TrainOptions;
pub use self::usage::command;
pub use crate::data::Part;
pub use crate::export::{Earlier, Shard};
use crate::generator::GenerateSettings;
use crate::image::Levels;
use crate::parameter::ParameterError;
use crate::refiner::settings::ITERATIONS;
use crate::session::Settings;
use crate::session::document::is_session;

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
    /// Put together what several runs made.
    Merge(MergeOptions),
    /// Compare sets of pictures with real ones.
    Evaluate(EvaluateOptions),
    /// Compute, measure and compare what a file declares.
    Experiment(ExperimentOptions),
    /// Say what a checkpoint holds.
    Inspect {
        /// Which.
        path: PathBuf,
        /// As JSON.
        json: bool,
    },
    /// Measure speed.
    Bench(BenchOptions),
    /// Train a network.
    Train(TrainOptions),
}

/// What the window begins with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WindowOptions {
    /// Settings of the new session, or those of the session file with the flags over them.
    pub settings: Settings,
    /// Files to open: one session, or pictures.
    pub files: Vec<PathBuf>,
}

impl WindowOptions {
    /// The session file among [`Self::files`].
    #[must_use]
    fn session_file(&self) -> Option<&Path> {
        self.files.iter().map(PathBuf::as_path).find(|path| is_session(path))
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

/// What a command runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Every setting.
    pub settings: Settings,
    /// Where the pictures before come from.
    pub source: Source,
    /// Which of them are taken, when they are opened.
    pub part: Part,
    /// Whether the listed classes replace those that a session file stores.
    pub relabel: bool,
    /// Real pictures that early stopping compares with.
    pub references: Vec<PathBuf>,
    /// How 8-bit levels are made for archives.
    pub levels: Levels,
    /// Pictures to be made, where they are more than the settings can say.
    pub count: Option<u64>,
    /// What the session file says of its results, to be compared with what is here.
    pub recorded: Option<Box<Recorded>>,
    /// Folder for the results; none was given: the default one, or the next that is free.
    pub out: Option<PathBuf>,
    /// What is done with earlier results in that folder.
    pub earlier: Earlier,
    /// Which of several runs that share the work this is.
    pub shard: Option<Shard>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Say nothing but warnings and errors.
    pub quiet: bool,
    /// One of several commands whose output is another: what it says goes to the errors.
    pub aside: bool,
    /// Stop at a picture that cannot be read.
    pub strict: bool,
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
            relabel: false,
            references: Vec::new(),
            levels: Levels::Rounded,
            count: None,
            recorded: None,
            out: None,
            earlier: Earlier::Keep,
            shard: None,
            dry_run: false,
            quiet: false,
            aside: false,
            strict: false,
            notes: Vec::new(),
        }
    }

    /// The window's job without a window.
    ///
    /// # Errors
    /// [`CliError`] when the session file cannot be read, or does not hold its pictures.
    pub fn headless(window: WindowOptions) -> Result<Self, CliError> {
        let options = match window.session_file() {
            Some(path) if window.files.len() > 1 => {
                return Err(CliError::SessionAmongOthers { path: path.to_owned() });
            }
            Some(path) => {
                let (options, source) = Self::of_session(path, Job::Refine)?;
                let (saved, wanted) = (&options.settings.generate, &window.settings.generate);
                let relabel = wanted.classes != saved.classes;
                // Any other flag about generating asks for other pictures.
                let generates = GenerateSettings { classes: wanted.classes.clone(), ..saved.clone() } != *wanted;
                let source = if generates { Source::Generator } else { source? };
                let part = if generates { Part::default() } else { options.part };
                let mut options = Self { source, part, relabel, settings: window.settings, ..options };
                if relabel || generates {
                    options.recorded.iter_mut().for_each(|recorded| recorded.forget_pictures());
                }
                options
            }
            None => {
                let source = if window.files.is_empty() { Source::Generator } else { Source::Pictures(window.files) };
                Self { source, ..Self::new(window.settings) }
            }
        };
        options.check_references()?;
        options.check_end()?;
        let mut options = options;
        options.suit_target(true)?;
        Ok(options)
    }

    /// What is generated to be refined needs a target that the generator's pictures have.
    fn suit_target(&mut self, refines: bool) -> Result<(), CliError> {
        if refines && self.source == Source::Generator {
            self.notes.extend(flags::suit_target(&mut self.settings)?);
        }
        Ok(())
    }

    /// A session's settings, and its pictures or why it does not give them.
    fn of_session(path: &Path, job: Job) -> Result<(Self, Result<Source, CliError>), CliError> {
        let saved = flags::read_session(path, job == Job::Edit)?;
        let flags::Saved { settings, source, references, part, levels, count, recorded, notes } = saved;
        let recorded = Some(Box::new(recorded));
        Ok((Self { part, references, levels, count, recorded, notes, ..Self::new(settings) }, source))
    }

    /// Says what came of it.
    fn tell(&self, text: &str) -> Result<(), CliError> {
        match (self.quiet, self.aside) {
            (true, _) => Ok(()),
            (false, true) => {
                say_err(text);
                Ok(())
            }
            (false, false) => say_out(text),
        }
    }

    /// Pictures to be made.
    fn count(&self) -> usize {
        self.count.map_or(self.settings.generate.samples as usize, |count| count as usize)
    }

    /// Where the results go, as far as it is known before.
    fn folder(&self) -> &Path {
        self.out.as_deref().unwrap_or_else(|| Path::new(DEFAULT_OUT))
    }

    /// Early stop needs real pictures; whether a session file holds some is known when it is opened.
    fn check_references(&self) -> Result<(), CliError> {
        let stored = matches!(self.source, Source::Stored(_));
        if self.settings.refine.early_stop && self.references.is_empty() && !stored {
            return Err(CliError::NoReferences);
        }
        Ok(())
    }
}

impl RunOptions {
    /// A command must end, because no window can stop it.
    fn check_end(&self) -> Result<(), CliError> {
        if self.settings.refine.iterations.is_some() {
            return Ok(());
        }
        let (label, default) = (ITERATIONS.label, ITERATIONS.default);
        let (found, expected) = ("endless".to_owned(), "a whole number without a window".to_owned());
        Err(ParameterError { label, found, expected, default }.into())
    }
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

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done.
    Done,
    /// The user or the system stopped it by a signal of this number; what was done is written.
    Interrupted(u8),
}

impl Outcome {
    /// The exit code of the program.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            // As shells say it: 130 for SIGINT, 143 for SIGTERM.
            Self::Interrupted(signal) => 128 + signal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::document::Document;
    use crate::worker::DeviceChoice;

    #[test]
    fn the_description_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_command_is_understood() {
        let parse = |args: &[&str]| parse(args.iter().copied()).unwrap();
        assert_eq!(parse(&["lapidary"]), Invocation::Window { options: WindowOptions::default() });
        assert!(matches!(parse(&["lapidary", "generate", "--seeds", "3"]), Invocation::Generate(_)));
        let Invocation::Bench(bench) = parse(&["lapidary", "bench", "--device", "cpu", "--batches", "1,8"]) else {
            panic!("bench");
        };
        assert_eq!((bench.settings.compute.device, bench.batches), (DeviceChoice::Cpu, vec![1, 8]));
        let inspect = Invocation::Inspect { path: "mine.pt".into(), json: true };
        assert_eq!(parse(&["lapidary", "inspect", "mine.pt", "--json"]), inspect);
        let Invocation::Refine(options) = parse(&["lapidary", "refine", "--input", "a.png", "b.png", "--out", "o"])
        else {
            panic!("refine");
        };
        assert_eq!(options.source, Source::Pictures(vec!["a.png".into(), "b.png".into()]));
        assert_eq!(options.out, Some(PathBuf::from("o")));
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
    fn without_a_window_flags_are_applied_over_a_session_that_comes_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let (session, picture) = (file("session.json"), file("a.png"));
        let mut settings = Settings::default();
        (settings.refine.eps, settings.generate.first_seed) = (1.5, 7);
        let provenance = crate::session::Provenance::new();
        let document = Document::new(&settings, &provenance, None, &crate::trace::Trace::default(), None);
        std::fs::write(&session, document.to_json()).unwrap();
        std::fs::write(&picture, "").unwrap();
        let headless = |args: &[&str]| match parse([&["lapidary"][..], args].concat()) {
            Ok(Invocation::Window { options }) => RunOptions::headless(options),
            other => panic!("{other:?}"),
        };
        let options = headless(&["--step-size", "0.1", &session]).unwrap();
        let Settings { generate, refine, .. } = options.settings;
        assert_eq!((refine.eps, refine.step_size, generate.first_seed), (1.5, 0.1, 7));
        let error = headless(&[&session, &picture]).unwrap_err();
        assert!(error.to_string().starts_with("a session is opened alone"), "{error}");
        assert!(matches!(headless(&["--early-stop"]), Err(CliError::NoReferences)));
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
    fn a_part_needs_pictures_that_are_opened() {
        let limit = ["lapidary", "refine", "--seeds", "3", "--limit", "2"];
        assert!(matches!(parse(limit), Err(CliError::Part { flag: "limit" })));
    }
}
