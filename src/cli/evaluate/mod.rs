//! `lapidary evaluate`: sets of pictures against real ones, in numbers.

mod comparable;
mod dumps;
mod error;
mod extractor;
mod looking;
mod lpips;
mod measurement;
mod pairs;
mod plan;
mod reference;
mod room;
mod session;
mod sets;
mod share;
mod subject;
mod table;
mod yardstick;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

pub(super) use self::dumps::{SAVE_FEATURES, SAVE_STATISTICS};
pub use self::error::EvaluateError;
use self::extractor::Extractor;
use self::looking::Sight;
use self::lpips::Network;
pub(super) use self::measurement::KeptReal;
use self::measurement::Measurement;
pub(super) use self::reference::has;
pub(super) use self::share::{COMMAND, merged};
use self::subject::Subject;
pub(super) use self::table::read as read_table;
use self::table::{Format, is_table};
pub(super) use self::yardstick::{Judge, Yardstick};
use super::driver::Driver;
use super::{CliError, Earlier, Outcome, Shard, flags, shard};
use crate::file::place_of;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::worker::ComputeSettings;
use crate::zoo::{self, InceptionDialect};

/// What sees the pictures unless it is said: it judged no picture while the demo's other networks were trained.
pub(super) const EXTRACTOR: &str = "gtsrb12-judge";

/// What is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateOptions {
    /// Sets of pictures, each a folder, an archive, a session, a picture or what was seen of some.
    pub sets: Vec<PathBuf>,
    /// The real pictures, what was seen of them, or their mean and covariance.
    pub reference: Vec<PathBuf>,
    /// A bundled classifier's name, or the path of a classifier or of Inception-2015.
    pub extractor: String,
    /// How pictures come to Inception-2015; none for the way of its file.
    pub dialect: Option<InceptionDialect>,
    /// Where to compute.
    pub compute: ComputeSettings,
    /// Most pictures of a set.
    pub limit: Option<usize>,
    /// Whether the first set's pictures are the partners of the others'.
    pub pairs: bool,
    /// The files of LPIPS, or folders that hold them; without any it is not computed.
    pub lpips: Vec<PathBuf>,
    /// Tables to write; their endings say how.
    pub out: Vec<PathBuf>,
    /// Where mean and covariance of the real pictures go.
    pub save_statistics: Option<PathBuf>,
    /// Where what is seen of every set goes: a folder, or a file where there is one set.
    pub save_features: Option<PathBuf>,
    /// Which of several runs this is, each of which looks at some of the pictures.
    pub shard: Option<Shard>,
    /// Whether files that are there are replaced.
    pub overwrite: bool,
    /// Whether what is unfinished is gone on with, and files that are there already are left where they are the same.
    pub resume: bool,
    /// Where what is seen of the real pictures is kept for other measurements.
    pub(super) real: Option<KeptReal>,
    /// Say nothing but warnings, errors and the table.
    pub quiet: bool,
    /// Whether the table is printed.
    pub prints: bool,
}

impl EvaluateOptions {
    pub(super) fn of(matches: &ArgMatches, limit: Option<usize>) -> Result<Self, CliError> {
        let paths = |flag| paths(matches, flag);
        let mut settings = Settings::default();
        flags::apply_compute(matches, &mut settings)?;
        let options = Self {
            sets: paths(super::usage::FILES),
            limit,
            pairs: flags::switched(matches, super::usage::PAIRS).unwrap_or(false),
            lpips: paths(super::usage::LPIPS),
            out: paths(super::usage::OUT),
            save_statistics: paths(SAVE_STATISTICS).into_iter().next(),
            save_features: paths(SAVE_FEATURES).into_iter().next(),
            shard: shard::given(matches)?,
            overwrite: flags::switched(matches, super::usage::OVERWRITE).unwrap_or(false),
            resume: flags::switched(matches, super::usage::RESUME).unwrap_or(false),
            ..Self::looking(matches, settings.compute)
        };
        options.check()?;
        Ok(options)
    }

    /// What looks at pictures and what it compares them with, of the flags that other commands have, too; without sets and files.
    pub(super) fn looking(matches: &ArgMatches, compute: ComputeSettings) -> Self {
        Self {
            sets: Vec::new(),
            reference: paths(matches, super::usage::REFERENCE),
            extractor: flags::given(matches, super::usage::EXTRACTOR).unwrap_or(EXTRACTOR).to_owned(),
            dialect: flags::given(matches, super::usage::DIALECT).and_then(InceptionDialect::of),
            compute,
            limit: None,
            pairs: false,
            lpips: Vec::new(),
            out: Vec::new(),
            save_statistics: None,
            save_features: None,
            shard: None,
            overwrite: false,
            resume: false,
            real: None,
            quiet: flags::switched(matches, super::usage::QUIET).unwrap_or(false),
            prints: true,
        }
    }

    /// Says what is wrong before an hour of computing shows it.
    fn check(&self) -> Result<(), CliError> {
        if let Some(path) = self.out.iter().find(|path| Format::of(path).is_none()) {
            return Err(CliError::TableFormat { path: path.clone() });
        }
        if self.shard.is_some() {
            // Which writes none of these.
            let saves = [(SAVE_FEATURES, &self.save_features), (SAVE_STATISTICS, &self.save_statistics)];
            return match saves.into_iter().find(|(_, path)| path.is_some()) {
                Some((flag, _)) => Err(EvaluateError::SavedByMerge { flag }.into()),
                None => Ok(()),
            };
        }
        for path in &self.out {
            if path.exists() && !self.replaces() {
                return Err(CliError::TableExists { path: path.clone() });
            }
            if path.exists() && !is_table(path) {
                return Err(CliError::NoTable { path: path.clone() });
            }
        }
        let statistics = self.save_statistics.as_deref();
        statistics.map_or(Ok(()), |path| dumps::check_file(SAVE_STATISTICS, path, self.replaces()))
    }

    /// Whether files of an earlier evaluation may be there.
    const fn replaces(&self) -> bool {
        self.overwrite || self.resume
    }

    /// What is done with what an earlier run of a shard left.
    const fn earlier(&self) -> Earlier {
        match (self.resume, self.overwrite) {
            (true, _) => Earlier::Resume,
            (_, true) => Earlier::Overwrite,
            _ => Earlier::Keep,
        }
    }

    /// Likewise, what only a try says: files can be written where they are to go.
    fn check_folders(&self) -> anyhow::Result<()> {
        let tables = self.out.iter().map(|path| (path, "no table can be written there: give another --out"));
        let statistics = self.save_statistics.iter();
        let statistics = statistics.map(|path| (path, "no statistics can be written there: give another name"));
        for (path, says) in tables.chain(statistics) {
            check_folder(folder_of(path), path, says)?;
        }
        let Some(path) = &self.save_features else { return Ok(()) };
        // A folder is made when there is something to go into it.
        let folder = if dumps::is_archive(path) { folder_of(path) } else { path };
        let folder = place_of(folder).unwrap_or_else(|| folder.to_owned());
        check_folder(&folder, path, "no features can be written there: give another folder or file")
    }
}

/// The paths that were given for a flag.
fn paths(matches: &ArgMatches, flag: &str) -> Vec<PathBuf> {
    matches.try_get_many::<PathBuf>(flag).ok().flatten().map_or_else(Vec::new, |paths| paths.cloned().collect())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn check_folder(folder: &Path, path: &Path, says: &'static str) -> anyhow::Result<()> {
    tempfile::tempfile_in(folder).map(drop).with_context(|| format!("{says}\n{}", path.display()))
}

/// Looks at every picture, compares the sets with the real pictures, and prints and writes the table; or looks at those of a shard.
///
/// # Errors
/// The chain from what failed to why.
pub fn run(options: &EvaluateOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    if let Some(shard) = options.shard {
        return share::run(options, shard, folders);
    }
    options.check_folders()?;
    let subject = Subject::open(options, folders)?;
    let mut driver = Driver::new(folders, None, options.quiet)?;
    driver.note(subject.extractor.note(&subject.sha256).as_slice());
    let lpips = if options.lpips.is_empty() {
        None
    } else {
        let mut watch = |done, of| driver.goes_on("checking LPIPS", done as usize, of as usize);
        let Some(found) = Network::find(&options.lpips, &mut watch)? else { return Ok(driver.stopped()) };
        Some(found)
    };
    let (pairs, notes) = subject.pairs();
    driver.note(&notes);
    let plan = subject.plan(&pairs);
    Measurement { options, subject: &subject, pairs, plan, lpips }.run(Sight::Pictures, &mut driver)
}

/// SHA-256 of the weights of what looks at the pictures, and the dialect, where it has one.
pub(super) fn hash_of(options: &EvaluateOptions, folders: &Folders) -> anyhow::Result<String> {
    let seen_by = Extractor::find(options)?;
    let sha256 = weights_of(options, &seen_by, folders)?;
    Ok(seen_by.dialect.map_or_else(|| sha256.clone(), |dialect| format!("{sha256} {}", dialect.key())))
}

/// SHA-256 of the extractor's weights: what its manifest says, which is checked when they are read, else that of its files.
fn weights_of(options: &EvaluateOptions, seen_by: &Extractor, folders: &Folders) -> anyhow::Result<String> {
    match &seen_by.manifest.sha256 {
        Some(said) => Ok(said.to_ascii_lowercase()),
        None => Ok(zoo::resolve(&options.extractor, &folders.cache)?.open()?.sha256(&mut |_, _| true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Invocation, parse};
    use crate::worker::DeviceChoice;

    fn evaluate(args: &[&str]) -> Result<EvaluateOptions, CliError> {
        match parse([&["lapidary", "evaluate"][..], args].concat())? {
            Invocation::Evaluate(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sets_and_reference_are_told_apart_and_tables_are_checked_first() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there.csv");
        std::fs::write(&there, "mine").unwrap();
        let there = there.to_str().unwrap();
        let options =
            evaluate(&["a.npz", "b", "--reference", "real.npz", "--limit", "100", "--device", "cpu"]).unwrap();
        assert_eq!(options.sets, [PathBuf::from("a.npz"), PathBuf::from("b")]);
        assert_eq!((options.reference, options.limit), (vec![PathBuf::from("real.npz")], Some(100)));
        assert_eq!((options.extractor.as_str(), options.compute.device), (EXTRACTOR, DeviceChoice::Cpu));
        assert_eq!(options.dialect, None);
        let options = evaluate(&["a", "--reference", "r", "--dialect", "tensorflow"]).unwrap();
        assert_eq!(options.dialect, Some(InceptionDialect::Tensorflow));
        for (args, expected) in [
            (&["a", "--reference", "r", "--dialect", "legacy"][..], "legacy"),
            (&["a", "--reference", "r", "--out", "table.xls"], "table.xls ends with none of"),
            (&["a", "--reference", "r", "--out", there], "is there already"),
            (&["a"], "--reference"),
            (&["--reference", "r"], "<SET>"),
            (&["a", "--reference", "r", "--save-statistics", "s.csv"], "give a name that ends with .npz"),
        ] {
            let error = evaluate(args).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
        let shard = evaluate(&["a", "--reference", "r", "--shard", "2/3", "--resume", "--out", there]).unwrap();
        assert_eq!((shard.shard, shard.earlier()), (Some(Shard { k: 2, n: 3 }), Earlier::Resume));
        for (args, expected) in [
            (&["--resume"][..], "--shard is missing"),
            (&["--shard", "1/2", "--save-features", "f"], "--save-features is what lapidary merge writes"),
            (&["--shard", "1/2", "--resume", "--overwrite"], "exclude each other"),
            (&["--shard", "1/2", "--out", "a.xls"], "a.xls ends with none of"),
        ] {
            let error = evaluate(&[&["a", "--reference", "r"], args].concat()).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
        let saved = evaluate(&["a", "--save-features", "f", "--reference", "r", "--save-statistics", "s.npz"]).unwrap();
        assert_eq!((saved.save_features, saved.save_statistics), (Some("f".into()), Some("s.npz".into())));
        let again = ["a", "--reference", "r", "--overwrite", "--out", there];
        let error = evaluate(&again).unwrap_err();
        assert!(error.to_string().contains("is no table of lapidary evaluate"), "{error}");
        std::fs::write(there, table::HEADER.join(",")).unwrap();
        assert!(evaluate(&again).unwrap().overwrite);
    }
}
