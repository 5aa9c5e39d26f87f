//! A measurement on its way: what is seen picture by picture, from pictures or from what was kept, and the numbers that it comes to.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::EvaluateOptions;
use super::dumps::{self, put};
use super::looking::{Looked, Looker, Sight, labels_of};
use super::lpips::Network;
use super::pairs::{self, Comparer, Pair, Paired};
use super::plan::{Plan, What};
use super::reference::{joined, seen};
use super::subject::Subject;
use super::table::Table;
use crate::cli::Outcome;
use crate::cli::driver::Driver;
use crate::cli::say::say_out;
use crate::data::SeenStatistics;
use crate::error::error_chain;
use crate::export::{Parts, write_statistics};
use crate::file::sha256;
use crate::metrics::pairs::PairNumbers;
use crate::metrics::{MetricError, Set, Statistics, compare};
use crate::units::counted;

/// Digits of a key that stand in the name of a folder.
const SHOWN: usize = 8;

/// Where what is seen of the real pictures is kept for other measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct KeptReal {
    /// A folder of Lapidary's own, in which every way to see them has one.
    pub(in crate::cli) folder: PathBuf,
    /// Which pictures, as a hash of their files.
    pub(in crate::cli) pictures: String,
}

/// All that is measured.
pub(super) struct Measurement<'a> {
    pub(super) options: &'a EvaluateOptions,
    pub(super) subject: &'a Subject,
    pub(super) pairs: Vec<Pair>,
    pub(super) plan: Plan,
    pub(super) lpips: Option<Network>,
}

/// What was seen picture by picture.
struct Seen {
    real: Option<Looked>,
    sets: Vec<Looked>,
    /// Of every set how it is beside its partners, if it has some.
    paired: Vec<Option<Paired>>,
    device: String,
}

impl Measurement<'_> {
    /// Takes what is seen from there, and prints and writes what it comes to.
    ///
    /// # Errors
    /// The chain from what failed to why.
    pub(super) fn run(&self, sight: Sight<'_>, driver: &mut Driver) -> anyhow::Result<Outcome> {
        let files = self.subject.files(self.options)?;
        let Some(seen) = self.see(sight, driver)? else { return Ok(driver.stopped()) };
        // Before they are compared: who cannot compare them has looked at them all the same.
        let kept = self.keep(&files, &seen, driver);
        let told = self.tell(seen, driver)?;
        if matches!(told, Outcome::Done) {
            kept.context("the numbers are there, but not all that was seen could be kept")?;
        }
        Ok(told)
    }

    fn see(&self, sight: Sight<'_>, driver: &mut Driver) -> anyhow::Result<Option<Seen>> {
        let Subject { reference, sets, shape, .. } = self.subject;
        let Some(paired) = self.compare_pairs(sight, driver)? else { return Ok(None) };
        driver.note(reference.assumed(&self.subject.protocol(), *shape).as_slice());
        let of = self.subject.new_ones().map(|(_, set)| set.count()).sum();
        let mut looker = Looker { options: self.options, subject: self.subject, driver: &mut *driver, done: 0, of };
        let (real, looked) = if let Some(kept) = &self.options.real {
            // What computes is known behind the sets, and is a part of what the real pictures are kept under.
            let Some(looked) = looker.look_at_all(sets, What::Set, (&self.plan, sight))? else { return Ok(None) };
            let Some(real) = self.look_at_kept(kept, &mut looker)? else { return Ok(None) };
            (real, looked)
        } else {
            let parts = &reference.parts;
            let Some(real) = looker.look_at_all(parts, What::Real, (&self.plan, sight))? else { return Ok(None) };
            let Some(looked) = looker.look_at_all(sets, What::Set, (&self.plan, sight))? else { return Ok(None) };
            (real, looked)
        };
        let known = sets.iter().filter_map(seen).chain(reference.seen()).next();
        let device = match (&driver.provenance.device, known) {
            (None, Some((_, sight))) => sight.device.clone(),
            _ => driver.device().to_owned(),
        };
        Ok(Some(Seen { real: joined(real)?, sets: looked, paired, device }))
    }

    /// Of every set how it is beside its partners, if it has some; `None` when interrupted.
    fn compare_pairs(&self, sight: Sight<'_>, driver: &mut Driver) -> anyhow::Result<Option<Vec<Option<Paired>>>> {
        let sets = &self.subject.sets;
        let mut found = vec![None; sets.len()];
        for pair in &self.pairs {
            let what = What::Pairs(pair.set);
            let mut numbers = PairNumbers::default();
            match sight {
                Sight::Kept(parts, runs) => {
                    for streak in self.plan.streaks_of(what, runs) {
                        numbers.append(parts.pairs(&streak.places)?);
                    }
                }
                Sight::Pictures => {
                    let lpips = self.lpips.as_ref();
                    let mut comparer = Comparer { options: self.options, lpips, driver: &mut *driver, done: 0 };
                    let beside = [&sets[pair.with], &sets[pair.set]];
                    let goes_on = comparer.read(beside, &self.plan.streaks_of(what, 1), &mut |_, _, further| {
                        numbers.append(further);
                        Ok(())
                    })?;
                    if !goes_on {
                        return Ok(None);
                    }
                }
            }
            let (paired, note) = pairs::paired(sets, *pair, &numbers);
            driver.note(note.as_slice());
            found[pair.set] = Some(paired);
        }
        Ok(Some(found))
    }

    /// What is seen of the real pictures, of which is looked at what is not kept yet; `None` when interrupted.
    fn look_at_kept(&self, kept: &KeptReal, looker: &mut Looker<'_>) -> anyhow::Result<Option<Vec<Looked>>> {
        let parts_of_it = &self.subject.reference.parts;
        let jobs = self.plan.jobs.iter().filter(|job| matches!(job.what, What::Real(_)));
        let plan = Plan::new(jobs.cloned().collect());
        if plan.len() == 0 {
            return looker.look_at_all(parts_of_it, What::Real, (&plan, Sight::Pictures));
        }
        let key = self.key_of(kept, looker.driver);
        let folder = kept.folder.join(format!("real-{}", key.get(..SHOWN).unwrap_or(&key)));
        let mut parts = Parts::open(&folder, &key, 0)?;
        parts.warnings().iter().for_each(|warning| looker.driver.say(warning));
        if parts.count() > 0 {
            let (pictures, folder) = (counted(parts.count(), "real picture"), folder.display());
            looker.driver.note(&[format!("what was seen of {pictures} before is taken from {folder}")]);
            looker.done += parts.count();
        }
        for streak in plan.work(0..plan.len(), parts.next(0)) {
            let set = self.subject.set(streak.what);
            let goes_on = looker.read(set, &[streak], &mut |_, places, seen| Ok(parts.add_seen(places, &seen)?))?;
            if !goes_on {
                return Ok(None);
            }
        }
        looker.look_at_all(parts_of_it, What::Real, (&plan, Sight::Kept(&parts, 1)))
    }

    /// Stands for all that what is seen of the real pictures depends on.
    fn key_of(&self, kept: &KeptReal, driver: &Driver) -> String {
        let Subject { extractor, sha256: weights, shape, reference, .. } = self.subject;
        let counts: Vec<usize> = reference.parts.iter().map(super::sets::Pictures::count).collect();
        let (version, compute, device) = (env!("CARGO_PKG_VERSION"), &self.options.compute, driver.device());
        let all = (version, &kept.pictures, counts, weights, extractor.resize(), shape, compute, device);
        sha256(&[format!("{all:?}").as_bytes()])
    }

    /// Writes what was seen, where that was asked for. What cannot be written is warned of at once and keeps no other file back.
    ///
    /// # Errors
    /// The first thing that could not be written, for the end of the run: the numbers do not need it.
    fn keep(&self, files: &dumps::Files, seen: &Seen, driver: &Driver) -> anyhow::Result<()> {
        let (protocol, resume) = (self.subject.protocol(), self.options.resume);
        let classes = &self.subject.extractor.manifest.classes;
        let mut ended = Ok(());
        let mut note = |path: &Path, written: anyhow::Result<()>| match written {
            Ok(()) => driver.note(&[format!("written: {}", path.display())]),
            Err(error) => {
                driver.say(&not_kept(path, &error));
                if ended.is_ok() {
                    ended = Err(error);
                }
            }
        };
        let kept = files.sets.iter().zip(&seen.sets).chain(files.reference.iter().zip(&seen.real));
        for (path, looked) in kept {
            let sight = protocol.sight(looked, &seen.device);
            note(path, put(path, resume, |path| dumps::write(path, looked, (sight, classes))));
        }
        if let (Some(path), Some(real)) = (&self.options.save_statistics, &seen.real) {
            let sight = protocol.sight(real, &seen.device);
            let statistics = Statistics::of(&real.features).context("the real pictures have no mean and covariance");
            let written = statistics.and_then(|statistics| {
                let all = SeenStatistics { statistics, sight: Some(sight) };
                put(path, resume, |path| write_statistics(path, &all))
            });
            note(path, written);
        }
        ended
    }

    /// Compares the sets with the real pictures, and prints and writes the table.
    fn tell(&self, seen: Seen, driver: &mut Driver) -> anyhow::Result<Outcome> {
        let Subject { extractor, sha256, reference, sets, shape, .. } = self.subject;
        let Seen { real, sets: looked, paired, device } = seen;
        let (real, described) = reference.real(real)?;
        let fitted: Vec<usize> = looked.iter().map(|looked| looked.fitted).collect();
        let left_out: Vec<_> = sets.iter().zip(&looked).map(|(set, looked)| set.left_out(&looked.names)).collect();
        let of_set = |(set, looked): (&super::sets::Pictures, Looked)| {
            let (labels, note) = labels_of(set, &looked, &extractor.manifest);
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
            extractor: (&extractor.manifest.name, sha256, real.width()),
            dialect: extractor.dialect,
            device: &device,
            size: [shape[1], shape[2]],
            resize: extractor.resize(),
            reference: &described,
            classes: &extractor.manifest.classes,
            sets: &seen,
            fitted: &fitted,
            left_out: &left_out,
            reports: &reports,
            paired: &paired,
            lpips: self.lpips.as_ref().map(|network| &network.sha256),
        };
        for note in reports.iter().flat_map(|report| &report.notes) {
            driver.say(&format!("warning: {note}"));
        }
        self.write(&table, driver)
    }

    fn write(&self, table: &Table<'_>, driver: &Driver) -> anyhow::Result<Outcome> {
        let EvaluateOptions { prints, out, resume, .. } = self.options;
        if *prints {
            say_out(&table.text())?;
        }
        // One that cannot be written keeps none of the others back.
        let written = out.iter().map(|path| {
            put(path, *resume, |path| table.write(path))?;
            if *prints {
                driver.note(&[format!("written: {}", path.display())]);
            }
            Ok(())
        });
        let written: Vec<anyhow::Result<()>> = written.collect();
        written.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(Outcome::Done)
    }
}

/// What is said at once of a file that cannot be written.
fn not_kept(path: &Path, error: &anyhow::Error) -> String {
    format!(
        "warning: {} cannot be written, and the numbers are computed without it: {}",
        path.display(),
        error_chain(error.as_ref()).join(": ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::ExportError;

    #[test]
    fn a_file_that_cannot_be_written_is_warned_of_with_the_reason() {
        let path = PathBuf::from("seen/a.npz");
        let source = std::io::ErrorKind::StorageFull.into();
        let error = anyhow::Error::new(ExportError::Write { path: path.clone(), source });
        let text = not_kept(&path, &error);
        let why = std::io::Error::from(std::io::ErrorKind::StorageFull).to_string();
        assert!(text.starts_with("warning: ") && text.contains("a.npz cannot be written, and the numbers"), "{text}");
        assert!(text.contains(&why), "{text}");
    }
}
