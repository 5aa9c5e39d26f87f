//! `lapidary evaluate`: sets of pictures against real ones, in numbers.

mod comparable;
mod dumps;
mod error;
mod extractor;
mod looking;
mod lpips;
mod pairs;
mod reference;
mod session;
mod sets;
mod table;
mod yardstick;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

use self::dumps::{Files, Protocol};
pub(super) use self::dumps::{SAVE_FEATURES, SAVE_STATISTICS};
pub use self::error::EvaluateError;
use self::extractor::Extractor;
use self::looking::{Looked, Looker, labels_of};
use self::lpips::Network;
use self::reference::{Reference, joined, seen};
use self::sets::{Kind, Pictures};
pub(super) use self::table::read as read_table;
use self::table::{Format, Table, is_table};
pub(super) use self::yardstick::{Judge, Yardstick};
use super::driver::Driver;
use super::say::say_out;
use super::{CliError, Outcome, flags};
use crate::data::SeenStatistics;
use crate::export::write_statistics;
use crate::file::place_of;
use crate::metrics::{MetricError, Set, Statistics, compare};
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
    /// Whether files that are there are replaced.
    pub overwrite: bool,
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
            overwrite: flags::switched(matches, super::usage::OVERWRITE).unwrap_or(false),
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
            overwrite: false,
            quiet: flags::switched(matches, super::usage::QUIET).unwrap_or(false),
            prints: true,
        }
    }

    /// Says what is wrong before an hour of computing shows it.
    fn check(&self) -> Result<(), CliError> {
        for path in &self.out {
            if Format::of(path).is_none() {
                return Err(CliError::TableFormat { path: path.clone() });
            }
            if path.exists() && !self.overwrite {
                return Err(CliError::TableExists { path: path.clone() });
            }
            if path.exists() && !is_table(path) {
                return Err(CliError::NoTable { path: path.clone() });
            }
        }
        let statistics = self.save_statistics.as_deref();
        statistics.map_or(Ok(()), |path| dumps::check_file(SAVE_STATISTICS, path, self.overwrite))
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

/// Looks at every picture, compares the sets with the real pictures, and prints and writes the table.
///
/// # Errors
/// The chain from what failed to why.
pub fn run(options: &EvaluateOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    options.check_folders()?;
    let seen_by = Extractor::find(options)?;
    let extractor = &seen_by.manifest;
    let reference = Reference::open(&options.reference, extractor)?;
    if options.save_statistics.is_some() {
        reference.check_statistics()?;
    }
    let (sets, mut partners) = sets::open(&options.sets, options.limit, extractor)?;
    if options.pairs {
        if let Some(seen) = sets.iter().find(|set| matches!(set.kind, Kind::Seen(_))) {
            return Err(CliError::PairSeen { name: seen.name.clone() }.into());
        }
        partners.declare(&sets.iter().map(|set| (set.name.as_str(), set.count())).collect::<Vec<_>>())?;
    }
    if partners.are_none() && !options.lpips.is_empty() {
        return Err(CliError::NoPairs.into());
    }
    let shape = reference.shape().or_else(|| sets.iter().find_map(|set| set.shape)).unwrap_or(extractor.shape());
    // Other pixels are other pictures, unless each is brought to one size in one way.
    if seen_by.dialect.is_none() {
        sets.iter().try_for_each(|set| set.check(shape))?;
        reference.check(shape)?;
    }
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    let files = Files::of(options.save_features.as_deref(), &names, options.overwrite)?;
    let sha256 = weights_of(options, &seen_by, folders)?;
    let protocol = Protocol { extractor: &extractor.name, sha256: &sha256, resize: seen_by.resize() };
    let known: Vec<_> = sets.iter().filter_map(seen).chain(reference.seen()).collect();
    known.iter().try_for_each(|(path, sight)| protocol.check(path, sight))?;

    let mut driver = Driver::new(folders, None, options.quiet)?;
    driver.note(seen_by.note(&sha256).as_slice());
    let lpips = if options.lpips.is_empty() { None } else { Network::find(&options.lpips, &mut driver)? };
    if driver.interrupted {
        return Ok(driver.stopped());
    }
    let pairing = (options, lpips.as_ref());
    let Some(paired) = pairs::compare(&sets, &partners, &seen_by.forms(&sets, shape), pairing, &mut driver)? else {
        return Ok(driver.stopped());
    };
    driver.note(reference.assumed(&protocol, shape).as_slice());
    let is_new = |set: &&Pictures| !matches!(set.kind, Kind::Seen(_));
    let of = sets.iter().chain(&reference.parts).filter(is_new).map(Pictures::count).sum();
    let mut looker = Looker { options, extractor: &seen_by, reference: &reference, driver: &mut driver, done: 0, of };
    let Some(real) = looker.look_at_all(&reference.parts, shape)? else { return Ok(driver.stopped()) };
    let Some(looked) = looker.look_at_all(&sets, shape)? else { return Ok(driver.stopped()) };
    let device = match (&driver.provenance.device, known.first()) {
        (None, Some((_, sight))) => sight.device.clone(),
        _ => driver.device().to_owned(),
    };
    let real = joined(real)?;
    // Before they are compared: who cannot compare them has looked at them all the same.
    let kept = files.sets.iter().zip(&looked).chain(files.reference.iter().zip(&real));
    for (path, looked) in kept {
        dumps::write(path, looked, (protocol.sight(looked, &device), &extractor.classes))?;
        driver.note(&[format!("written: {}", path.display())]);
    }
    if let (Some(path), Some(real)) = (&options.save_statistics, &real) {
        let statistics = Statistics::of(&real.features).context("the real pictures have no mean and covariance")?;
        let sight = Some(protocol.sight(real, &device));
        write_statistics(path, &SeenStatistics { statistics, sight })?;
        driver.note(&[format!("written: {}", path.display())]);
    }
    let (real, described) = reference.real(real)?;
    let fitted: Vec<usize> = looked.iter().map(|looked| looked.fitted).collect();
    let of_set = |(set, looked): (&Pictures, Looked)| {
        let (labels, note) = labels_of(set, &looked, extractor);
        driver.note(note.as_slice());
        Set { name: set.name.clone(), features: looked.features, labels }
    };
    let seen: Vec<Set> = sets.iter().zip(looked).map(of_set).collect();
    driver.progress.count_steps();
    let compared = compare(&real, &seen, &mut |done, of| driver.goes_on("comparing", done, of));
    driver.finish();
    let reports = match compared {
        Err(MetricError::Stopped) => return Ok(driver.stopped()),
        found => found.context("the sets cannot be compared")?,
    };
    let table = Table {
        extractor: (&extractor.name, &sha256, real.width()),
        dialect: seen_by.dialect,
        device: &device,
        size: [shape[1], shape[2]],
        resize: seen_by.resize(),
        reference: &described,
        classes: &extractor.classes,
        sets: &seen,
        fitted: &fitted,
        reports: &reports,
        paired: &paired,
        lpips: lpips.as_ref().map(|network| &network.sha256),
    };
    for note in reports.iter().flat_map(|report| &report.notes) {
        driver.say(&format!("warning: {note}"));
    }
    if options.prints {
        say_out(&table.text())?;
    }
    // One that cannot be written keeps none of the others back.
    let written = options.out.iter().map(|path| {
        table.write(path)?;
        if options.prints {
            driver.note(&[format!("written: {}", path.display())]);
        }
        Ok(())
    });
    let written: Vec<anyhow::Result<()>> = written.collect();
    written.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(Outcome::Done)
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
        let saved = evaluate(&["a", "--save-features", "f", "--reference", "r", "--save-statistics", "s.npz"]).unwrap();
        assert_eq!((saved.save_features, saved.save_statistics), (Some("f".into()), Some("s.npz".into())));
        let again = ["a", "--reference", "r", "--overwrite", "--out", there];
        let error = evaluate(&again).unwrap_err();
        assert!(error.to_string().contains("is no table of lapidary evaluate"), "{error}");
        std::fs::write(there, table::HEADER.join(",")).unwrap();
        assert!(evaluate(&again).unwrap().overwrite);
    }
}
