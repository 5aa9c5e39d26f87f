//! `lapidary evaluate`: sets of pictures against real ones, in numbers.

mod extractor;
mod sets;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

use self::extractor::Extractor;
use self::sets::{Pictures, labels_of};
use self::table::{Format, Table, is_table};
use super::driver::Driver;
use super::say::say_out;
use super::{CliError, Outcome, flags, opened};
use crate::data::PictureSource;
use crate::image::ImageBatch;
use crate::metrics::{Features, MetricError, Set, compare};
use crate::session::Settings;
use crate::session::host::Folders;
use crate::worker::ComputeSettings;
use crate::zoo::InceptionDialect;

/// What sees the pictures unless it is said: it judged no picture while the demo's other networks were trained.
pub(super) const EXTRACTOR: &str = "gtsrb12-judge";
/// Pictures that are looked at together.
const BATCH: usize = 256;

/// What is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateOptions {
    /// Sets of pictures, each a folder, an archive or a picture.
    pub sets: Vec<PathBuf>,
    /// The real pictures.
    pub reference: Vec<PathBuf>,
    /// A bundled classifier's name, or the path of a classifier or of Inception-2015.
    pub extractor: String,
    /// How pictures come to Inception-2015; none for the way of its file.
    pub dialect: Option<InceptionDialect>,
    /// Where to compute.
    pub compute: ComputeSettings,
    /// Most pictures of a set.
    pub limit: Option<usize>,
    /// Tables to write; their endings say how.
    pub out: Vec<PathBuf>,
    /// Whether files that are there are replaced.
    pub overwrite: bool,
    /// Say nothing but warnings, errors and the table.
    pub quiet: bool,
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
            dialect: flags::given(matches, super::usage::DIALECT).and_then(InceptionDialect::of),
            compute: settings.compute,
            limit,
            out: paths(super::usage::OUT),
            overwrite: flags::switched(matches, super::usage::OVERWRITE).unwrap_or(false),
            quiet: flags::switched(matches, super::usage::QUIET).unwrap_or(false),
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
        Ok(())
    }
}

/// Looks at every picture, compares the sets with the real pictures, and prints and writes the table.
///
/// # Errors
/// The chain from what failed to why.
pub fn run(options: &EvaluateOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    for path in &options.out {
        // Whoever cannot write there learns so now, and not when all is computed.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        tempfile::tempfile_in(folder)
            .with_context(|| format!("no table can be written there: give another --out\n{}", path.display()))?;
    }
    let seen_by = Extractor::find(options)?;
    let extractor = &seen_by.manifest;
    let (reference, held_out) = PictureSource::of_data_set(&options.reference)?;
    let reference = Pictures::new("the real pictures".to_owned(), reference, held_out, None, extractor)?;
    let mut sets = Vec::new();
    for path in &options.sets {
        sets.extend(Pictures::of(path, options.limit, extractor)?);
    }
    let fixed = reference.shape.or_else(|| sets.iter().find_map(|set| set.shape));
    let shape = fixed.or_else(|| seen_by.runs(&reference, fixed).first().map(|run| run.1)).unwrap_or(extractor.shape());
    for set in sets.iter().chain([&reference]) {
        set.check(shape)?;
    }
    let mut driver = Driver::new(folders, None, options.quiet)?;
    let of = sets.iter().chain([&reference]).map(Pictures::count).sum();
    let mut looker = Looker { options, extractor: &seen_by, driver: &mut driver, fixed, done: 0, of };
    let Some((real, _)) = looker.look(&reference)? else { return Ok(driver.stopped()) };
    let mut seen = Vec::new();
    for set in &sets {
        let Some((features, labels)) = looker.look(set)? else { return Ok(driver.stopped()) };
        seen.push(Set { name: set.name.clone(), features, labels });
    }
    driver.progress.count_steps();
    let compared = compare(&real, &seen, &mut |done, of| driver.goes_on("comparing", done, of));
    driver.finish();
    let reports = match compared {
        Err(MetricError::Stopped) => return Ok(driver.stopped()),
        found => found.context("the sets cannot be compared")?,
    };
    let files: Vec<String> = options.reference.iter().map(|path| path.display().to_string()).collect();
    let hash = driver.provenance.classifier.as_ref().map_or_else(String::new, |info| info.sha256.clone());
    driver.note(&seen_by.note(&hash).into_iter().collect::<Vec<_>>());
    let table = Table {
        extractor: (&extractor.name, &hash, real.width()),
        dialect: seen_by.dialect,
        device: driver.device(),
        size: [shape[1], shape[2]],
        reference: (files.join(", "), real.len()),
        classes: &extractor.classes,
        sets: &seen,
        reports: &reports,
    };
    for note in reports.iter().flat_map(|report| &report.notes) {
        driver.say(&format!("warning: {note}"));
    }
    say_out(&table.text())?;
    // One that cannot be written keeps none of the others back.
    let written = options.out.iter().map(|path| {
        table.write(path)?;
        driver.note(&[format!("written: {}", path.display())]);
        Ok(())
    });
    let written: Vec<anyhow::Result<()>> = written.collect();
    written.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(Outcome::Done)
}

/// Has the extractor look at sets.
struct Looker<'a> {
    options: &'a EvaluateOptions,
    extractor: &'a Extractor,
    driver: &'a mut Driver,
    /// `[C, H, W]` of all pictures, where an archive says it.
    fixed: Option<[usize; 3]>,
    /// Pictures of all sets that were looked at, and that there are.
    done: usize,
    of: usize,
}

impl Looker<'_> {
    /// Features and labels of a set; `None` when interrupted.
    fn look(&mut self, set: &Pictures) -> anyhow::Result<Option<(Features, Option<Vec<usize>>)>> {
        self.driver.note(set.source.notes());
        let Extractor { manifest: extractor, dialect } = self.extractor;
        let classes = extractor.classes.len();
        let (mut features, mut labels, mut notes) = (None, Vec::new(), Vec::new());
        let runs = self.extractor.runs(set, self.fixed);
        if let (Some(first), true) = (runs.first(), runs.iter().any(|run| run.1 != runs[0].1)) {
            let [_, height, width] = first.1;
            self.driver.note(&[format!(
                "note: {} have several sizes, the first {width}×{height}, and each comes to the extractor at its own",
                set.name
            )]);
        }
        for (range, shape) in runs {
            let said = set.source.for_each_batch(range, (shape, BATCH), &mut |batch| {
                let taken: Vec<usize> = (0..batch.images.len()).filter(|i| set.takes(batch.first + i)).collect();
                if taken.is_empty() {
                    return Ok::<_, anyhow::Error>(true);
                }
                self.driver.note(&opened::changed(&batch.fits));
                labels.extend(labels_of(&batch, &taken));
                let images = levels(&batch.images, &taken);
                let n = images.len();
                self.driver.count_pictures("looking", (self.done, self.of), BATCH);
                let model = (self.options.extractor.as_str(), *dialect);
                let Some([values, logits, spatial]) = self.driver.measure(model, images, &self.options.compute)? else {
                    return Ok(false);
                };
                self.done += n;
                // The outputs of an extractor are nobody's classes.
                let [width, outputs, places] = [&values, &logits, &spatial].map(|seen| seen.len() / n);
                let features = features.get_or_insert_with(|| Features::new(width, outputs));
                features.extend(&values, &logits);
                if places > 0 {
                    features.extend_spatial(&spatial, places);
                }
                Ok(true)
            })?;
            notes.extend(said);
            if self.driver.interrupted {
                break;
            }
        }
        self.driver.note(&notes);
        if self.driver.interrupted {
            return Ok(None);
        }
        let features = features.with_context(|| format!("{} hold no picture", set.name))?;
        let labels = (classes > 0 && labels.len() == features.len()).then_some(labels);
        let unknown = labels.as_ref().and_then(|labels| labels.iter().copied().find(|label| *label >= classes));
        if let Some(label) = unknown {
            self.driver.note(&[format!(
                "note: {} have pictures of class {label}, but the extractor knows those from 0 to {}: their labels are left aside",
                set.name,
                classes.saturating_sub(1)
            )]);
        }
        let labels = labels.filter(|_| unknown.is_none());
        if labels.is_some() && set.has_numbers {
            let first = extractor.classes.iter().take(2).enumerate();
            let first: Vec<String> = first.map(|(number, name)| format!("{number} {name}")).collect();
            self.driver.note(&[format!(
                "note: the classes of {} are numbers, taken as those of {}: {}, and so on",
                set.name,
                extractor.name,
                first.join(", ")
            )]);
        }
        Ok(Some((features, labels)))
    }
}

/// Pictures as an 8-bit file shows them, which is what all sets have in common.
fn levels(images: &ImageBatch, taken: &[usize]) -> ImageBatch {
    let [_, c, h, w] = images.shape();
    let pixels = taken.iter().flat_map(|i| images.sample(*i)).map(|value| (value * 255.0).round() / 255.0);
    ImageBatch::new([taken.len(), c, h, w], pixels.collect())
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
        ] {
            let error = evaluate(args).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
        let again = ["a", "--reference", "r", "--overwrite", "--out", there];
        let error = evaluate(&again).unwrap_err();
        assert!(error.to_string().contains("is no table of lapidary evaluate"), "{error}");
        std::fs::write(there, table::HEADER.join(",")).unwrap();
        assert!(evaluate(&again).unwrap().overwrite);
    }

    #[test]
    fn all_pictures_are_seen_as_files_of_8_bits_show_them() {
        let images = ImageBatch::new([2, 1, 1, 2], vec![0.1, 0.5, 0.999, 0.0]);
        let seen = levels(&images, &[1, 0]);
        assert_eq!(seen.shape(), [2, 1, 1, 2]);
        assert_eq!(seen.pixels(), [1.0, 0.0, 26.0 / 255.0, 128.0 / 255.0]);
    }
}
