//! `lapidary evaluate`: sets of pictures against real ones, in numbers.

mod comparable;
mod dumps;
mod error;
mod lpips;
mod pairs;
mod reference;
mod session;
mod sets;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

use self::dumps::{Files, Protocol};
pub(super) use self::dumps::{SAVE_FEATURES, SAVE_STATISTICS};
pub use self::error::EvaluateError;
use self::lpips::Network;
use self::reference::{Reference, joined, seen};
use self::sets::{Kind, Pictures};
pub(super) use self::table::read as read_table;
use self::table::{Format, Table, is_table};
use super::driver::Driver;
use super::say::say_out;
use super::{CliError, Outcome, flags, opened};
use crate::data::{Digest, SeenStatistics};
use crate::export::write_statistics;
use crate::file::place_of;
use crate::image::ImageBatch;
use crate::metrics::{Features, MetricError, Set, Statistics, compare};
use crate::session::Settings;
use crate::session::host::Folders;
use crate::units::counted;
use crate::worker::ComputeSettings;
use crate::zoo::{self, Manifest};

/// What sees the pictures unless it is said: it judged no picture while the demo's other networks were trained.
pub(super) const EXTRACTOR: &str = "gtsrb12-judge";
/// Pictures that are looked at together.
const BATCH: usize = 256;
/// What the extractor does to the size of pictures: it sees them as they are.
const RESIZE: &str = "none";

/// What is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateOptions {
    /// Sets of pictures, each a folder, an archive, a session, a picture or what was seen of some.
    pub sets: Vec<PathBuf>,
    /// The real pictures, what was seen of them, or their mean and covariance.
    pub reference: Vec<PathBuf>,
    /// A bundled classifier's name or a path.
    pub extractor: String,
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
        let paths = |flag: &str| -> Vec<PathBuf> {
            matches.try_get_many::<PathBuf>(flag).ok().flatten().map_or_else(Vec::new, |paths| paths.cloned().collect())
        };
        let mut settings = Settings::default();
        flags::apply_compute(matches, &mut settings)?;
        let options = Self {
            sets: paths(super::usage::FILES),
            reference: paths(super::usage::REFERENCE),
            extractor: flags::given(matches, super::usage::EXTRACTOR).unwrap_or(EXTRACTOR).to_owned(),
            compute: settings.compute,
            limit,
            pairs: flags::switched(matches, super::usage::PAIRS).unwrap_or(false),
            lpips: paths(super::usage::LPIPS),
            out: paths(super::usage::OUT),
            save_statistics: paths(SAVE_STATISTICS).into_iter().next(),
            save_features: paths(SAVE_FEATURES).into_iter().next(),
            overwrite: flags::switched(matches, super::usage::OVERWRITE).unwrap_or(false),
            quiet: flags::switched(matches, super::usage::QUIET).unwrap_or(false),
            prints: true,
        };
        options.check()?;
        Ok(options)
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
    let (extractor, _) = flags::find(&options.extractor, false)?;
    let reference = Reference::open(&options.reference, &extractor)?;
    if options.save_statistics.is_some() {
        reference.check_statistics()?;
    }
    let (sets, mut partners) = sets::open(&options.sets, options.limit, &extractor)?;
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
    sets.iter().try_for_each(|set| set.check(shape))?;
    reference.check(shape)?;
    let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
    let files = Files::of(options.save_features.as_deref(), &names, options.overwrite)?;
    let sha256 = weights_of(options, &extractor, folders)?;
    let protocol = Protocol { extractor: &extractor.name, sha256: &sha256, resize: RESIZE };
    let known: Vec<_> = sets.iter().filter_map(seen).chain(reference.seen()).collect();
    known.iter().try_for_each(|(path, sight)| protocol.check(path, sight))?;

    let mut driver = Driver::new(folders, None, options.quiet)?;
    let lpips = if options.lpips.is_empty() { None } else { Network::find(&options.lpips, &mut driver)? };
    if driver.interrupted {
        return Ok(driver.stopped());
    }
    let pairing = (options, lpips.as_ref());
    let Some(paired) = pairs::compare(&sets, &partners, shape, pairing, &mut driver)? else {
        return Ok(driver.stopped());
    };
    driver.note(reference.assumed(&protocol, shape).as_slice());
    let is_new = |set: &&Pictures| !matches!(set.kind, Kind::Seen(_));
    let of = sets.iter().chain(&reference.parts).filter(is_new).map(Pictures::count).sum();
    let mut looker = Looker { options, extractor: &extractor, reference: &reference, driver: &mut driver, done: 0, of };
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
        dumps::write(path, looked, (protocol.sight(looked, (shape, &device)), &extractor.classes))?;
        driver.note(&[format!("written: {}", path.display())]);
    }
    if let (Some(path), Some(real)) = (&options.save_statistics, &real) {
        let statistics = Statistics::of(&real.features).context("the real pictures have no mean and covariance")?;
        let sight = Some(protocol.sight(real, (shape, &device)));
        write_statistics(path, &SeenStatistics { statistics, sight })?;
        driver.note(&[format!("written: {}", path.display())]);
    }
    let (real, described) = reference.real(real)?;
    let fitted: Vec<usize> = looked.iter().map(|looked| looked.fitted).collect();
    let of_set = |(set, looked): (&Pictures, Looked)| {
        let (labels, note) = labels_of(set, &looked, &extractor);
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
        device: &device,
        size: [shape[1], shape[2]],
        resize: RESIZE,
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

/// SHA-256 of the weights of what looks at the pictures.
pub(super) fn hash_of(options: &EvaluateOptions, folders: &Folders) -> anyhow::Result<String> {
    let (extractor, _) = flags::find(&options.extractor, false)?;
    weights_of(options, &extractor, folders)
}

/// SHA-256 of the extractor's weights: what its manifest says, which is checked when they are read, else that of its files.
fn weights_of(options: &EvaluateOptions, extractor: &Manifest, folders: &Folders) -> anyhow::Result<String> {
    match &extractor.sha256 {
        Some(said) => Ok(said.to_ascii_lowercase()),
        None => Ok(zoo::resolve(&options.extractor, &folders.cache)?.open()?.sha256(&mut |_, _| true)?),
    }
}

/// What the extractor saw in a set.
#[derive(Debug, Clone)]
struct Looked {
    features: Features,
    labels: Option<Vec<usize>>,
    /// What each picture is called.
    names: Vec<String>,
    /// Which picture each is.
    hashes: Vec<Digest>,
    /// Pictures that were cropped or resized.
    fitted: usize,
}

/// Has the extractor look at sets.
struct Looker<'a> {
    options: &'a EvaluateOptions,
    extractor: &'a Manifest,
    reference: &'a Reference,
    driver: &'a mut Driver,
    /// Pictures of all sets that were looked at, and that there are.
    done: usize,
    of: usize,
}

impl Looker<'_> {
    /// What is seen in sets; `None` when interrupted.
    fn look_at_all(&mut self, sets: &[Pictures], shape: [usize; 3]) -> anyhow::Result<Option<Vec<Looked>>> {
        let mut all = Vec::new();
        for set in sets {
            let Some(looked) = self.look(set, shape)? else { return Ok(None) };
            all.push(looked);
        }
        Ok(Some(all))
    }

    /// Likewise, in one.
    fn look(&mut self, set: &Pictures, shape: [usize; 3]) -> anyhow::Result<Option<Looked>> {
        self.driver.note(&set.notes);
        if let Kind::Seen(seen) = &set.kind {
            let places = set.places();
            let names = places.iter().filter_map(|place| seen.names.get(*place).cloned()).collect();
            let labels = seen.labels.as_ref().map(|labels| places.iter().map(|place| labels[*place]).collect());
            let hashes = places.iter().map(|place| seen.hashes[*place]).collect();
            let looked = Looked { features: seen.features.at(&places), labels, names, hashes, fitted: 0 };
            self.reference.check_width(looked.features.width(), &self.extractor.name)?;
            return Ok(Some(looked));
        }
        let (mut features, mut labels, mut names, mut hashes) = (None, Vec::new(), Vec::new(), Vec::new());
        let mut fits = Vec::new();
        let notes = set.for_each_batch((shape, BATCH), &mut |batch| {
            fits.extend(opened::changed(&batch.fits));
            labels.extend(batch.labels.iter().flatten().copied());
            let images = levels(&batch.images);
            hashes.extend(digests(&images));
            names.extend(batch.names);
            let n = images.len();
            self.driver.count_pictures("looking", (self.done, self.of), BATCH);
            let Some([values, logits]) = self.driver.measure(&self.options.extractor, images, &self.options.compute)?
            else {
                return Ok::<_, anyhow::Error>(false);
            };
            self.done += n;
            let width = values.len() / n;
            self.reference.check_width(width, &self.extractor.name)?;
            let classes = logits.len() / n;
            features.get_or_insert_with(|| Features::new(width, classes)).extend(&values, &logits);
            Ok(true)
        })?;
        self.driver.note(&notes);
        if self.driver.interrupted {
            return Ok(None);
        }
        let features = features.with_context(|| format!("{} hold no picture", set.name))?;
        if let Some(first) = fits.first() {
            self.driver.say(&format!(
                "warning: of {}, {} changed to fit {}×{}, the first like this: {first}; numbers compare only with those of pictures that were changed in the same way",
                set.name,
                if fits.len() == 1 { "1 picture was".to_owned() } else { format!("{} were", counted(fits.len(), "picture")) },
                shape[2],
                shape[1]
            ));
        }
        let labels = (labels.len() == features.len()).then_some(labels);
        Ok(Some(Looked { features, labels, names, hashes, fitted: fits.len() }))
    }
}

/// The labels of a set that mean something to the extractor, and what is to be said of them.
fn labels_of(set: &Pictures, looked: &Looked, extractor: &Manifest) -> (Option<Vec<usize>>, Option<String>) {
    let (name, classes) = (&set.name, extractor.classes.len());
    let Some(labels) = &looked.labels else {
        let note = "does not say the class of every picture, so agreement and confidence cannot be had";
        return (None, Some(format!("note: {name} {note}")));
    };
    if let Some(label) = labels.iter().find(|label| **label >= classes) {
        let note = format!(
            "note: {name} have pictures of class {label}, but the extractor knows those from 0 to {}: their labels are left aside",
            classes.saturating_sub(1)
        );
        return (None, Some(note));
    }
    let first = extractor.classes.iter().take(2).enumerate();
    let first: Vec<String> = first.map(|(number, name)| format!("{number} {name}")).collect();
    let note = format!(
        "note: the classes of {name} are numbers, taken as those of {}: {}, and so on",
        extractor.name,
        first.join(", ")
    );
    (Some(labels.clone()), set.has_numbers.then_some(note))
}

/// Pictures as an 8-bit file shows them, which is what all sets have in common.
fn levels(images: &ImageBatch) -> ImageBatch {
    ImageBatch::new(images.shape(), images.pixels().iter().copied().map(level).collect())
}

/// Which pictures these are.
fn digests(images: &ImageBatch) -> Vec<Digest> {
    let [n, shape @ ..] = images.shape();
    let level = |value: &f32| (value * 255.0).round() as u8;
    (0..n).map(|i| Digest::of(shape, &images.sample(i).iter().map(level).collect::<Vec<u8>>())).collect()
}

fn level(value: f32) -> f32 {
    (value * 255.0).round() / 255.0
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
        for (args, expected) in [
            (&["a", "--reference", "r", "--out", "table.xls"][..], "table.xls ends with none of"),
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

    #[test]
    fn all_pictures_are_seen_as_files_of_8_bits_show_them() {
        let images = ImageBatch::new([2, 1, 1, 2], vec![0.1, 0.5, 0.999, 0.0]);
        let seen = levels(&images);
        assert_eq!(seen.shape(), [2, 1, 1, 2]);
        assert_eq!(seen.pixels(), [26.0 / 255.0, 128.0 / 255.0, 1.0, 0.0]);
        assert_eq!(digests(&images), digests(&seen), "the same picture by its levels");
        assert_eq!(digests(&seen)[1], Digest::of([1, 1, 2], &[255, 0]));
    }
}
