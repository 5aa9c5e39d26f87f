//! `--shard k/n` of a measurement: what is seen picture by picture is kept in a folder of its own, and `lapidary merge` makes of all
//! of them the table that one run makes.
//!
//! A share keeps no numbers of sets, for these are of all pictures. Its description says the whole command and what its inputs held,
//! so that whoever puts the shares together measures the very same with what was kept in the place of the pictures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::EvaluateOptions;
use super::error::EvaluateError;
use super::looking::{Looker, Sight};
use super::lpips::Network;
use super::measurement::Measurement;
use super::pairs::Comparer;
use super::plan::What;
use super::subject::Subject;
use super::table::Format;
use crate::cli::begin::{BLOCK, say_finished};
use crate::cli::describe::written;
use crate::cli::driver::Driver;
use crate::cli::edit::word;
use crate::cli::merge::{MergeError, MergeOptions};
use crate::cli::progress::Progress;
use crate::cli::say::{is_said, say_err};
use crate::cli::{Outcome, Shard, shard};
use crate::data::PARTS;
use crate::export::{
    self, Claim, Claimed, Earlier, ExportError, Extent, MEASURED, OutFolder, Parts, Share, ShareFolder,
};
use crate::file::sha256;
use crate::session::changes::hashes;
use crate::session::host::Folders;
use crate::worker::ComputeSettings;
use crate::zoo::InceptionDialect;

/// The command whose work is shared, as its folders say it.
pub(in crate::cli) const COMMAND: &str = "evaluate";
/// What the description of a share is.
const FORMAT: &str = "lapidary-evaluation";
/// Bytes that are kept of a picture, of Inception-2015 and of a classifier, at most about.
const BYTES: [u64; 2] = [24 << 10, 4 << 10];

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Input {
    file: PathBuf,
    sha256: String,
}

/// The whole measurement that a share is of, as it was typed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Description {
    format: String,
    sets: Vec<PathBuf>,
    reference: Vec<PathBuf>,
    extractor: String,
    dialect: Option<String>,
    compute: ComputeSettings,
    limit: Option<usize>,
    pairs: bool,
    lpips: Vec<PathBuf>,
    inputs: Vec<Input>,
}

impl Description {
    fn of(options: &EvaluateOptions, subject: &Subject) -> Self {
        let sets = subject.sets.iter().chain(&subject.reference.parts).flat_map(|set| &set.files);
        // Statistics are no part of the pictures.
        let files: BTreeSet<PathBuf> =
            sets.chain(options.reference.iter().filter(|path| path.is_file())).cloned().collect();
        let files: Vec<PathBuf> = files.into_iter().collect();
        let found = hashed(&files, options.quiet);
        Self {
            format: FORMAT.to_owned(),
            sets: options.sets.clone(),
            reference: options.reference.clone(),
            extractor: options.extractor.clone(),
            dialect: options.dialect.map(|dialect| dialect.key().to_owned()),
            compute: options.compute.clone(),
            limit: options.limit,
            pairs: options.pairs,
            lpips: options.lpips.clone(),
            inputs: files.into_iter().zip(found).map(|(file, sha256)| Input { file, sha256 }).collect(),
        }
    }

    fn read(path: &Path) -> Result<Self, EvaluateError> {
        let fail = |source| EvaluateError::Description { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(fail)?;
        let read: Self = serde_json::from_str(&text).map_err(|error| fail(error.into()))?;
        let is_known = read.format == FORMAT;
        if is_known { Ok(read) } else { Err(fail(std::io::Error::other("it is of another format"))) }
    }

    fn text(&self) -> std::io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The same measurement, whose numbers go where `merge` says.
    fn options(self, merge: &MergeOptions) -> EvaluateOptions {
        EvaluateOptions {
            sets: self.sets,
            reference: self.reference,
            extractor: self.extractor,
            dialect: self.dialect.as_deref().and_then(InceptionDialect::of),
            compute: self.compute,
            limit: self.limit,
            pairs: self.pairs,
            lpips: self.lpips,
            out: merge.out.iter().chain(&merge.tables).cloned().collect(),
            save_statistics: merge.save_statistics.clone(),
            save_features: merge.save_features.clone(),
            shard: None,
            overwrite: merge.earlier == Earlier::Overwrite,
            resume: merge.earlier == Earlier::Resume,
            real: None,
            quiet: merge.quiet,
            prints: true,
        }
    }

    /// Stands for everything that what is seen depends on and that is known before: the command, this version, what the inputs hold,
    /// the weights, and what is cut into which batches.
    fn recipe(&self, measurement: &Measurement<'_>) -> anyhow::Result<String> {
        let Measurement { subject, plan, lpips, .. } = measurement;
        let Subject { extractor, sha256: weights, reference, sets, shape, .. } = subject;
        let sets: Vec<_> = sets.iter().chain(&reference.parts).map(|set| (&set.name, set.count(), set.shape)).collect();
        let lpips = lpips.as_ref().map(|network| &network.sha256);
        let text = self.text()?;
        let all = (COMMAND, env!("CARGO_PKG_VERSION"), weights, extractor.resize(), shape, sets, lpips, &plan.jobs);
        Ok(sha256(&[text.as_bytes(), format!("{all:?}").as_bytes()]))
    }

    /// What was read must hold what it held.
    fn check_inputs(&self, quiet: bool) -> Result<(), MergeError> {
        let files: Vec<PathBuf> = self.inputs.iter().map(|input| input.file.clone()).collect();
        let now = hashed(&files, quiet);
        match self.inputs.iter().zip(now).find(|(then, now)| then.sha256 != *now) {
            Some((Input { file, .. }, _)) => Err(MergeError::Input { path: file.clone() }),
            None => Ok(()),
        }
    }
}

/// SHA-256 of files; what takes long is told of.
fn hashed(files: &[PathBuf], quiet: bool) -> Vec<String> {
    let mut progress = Progress::new(quiet);
    let found = hashes(files, &mut |done, of| progress.tell_bytes("reading the inputs", done, of));
    progress.bar.finish_and_clear();
    found
}

impl<'a> Measurement<'a> {
    /// What a share is of.
    fn of(options: &'a EvaluateOptions, subject: &'a Subject) -> anyhow::Result<Self> {
        let mut progress = Progress::new(options.quiet);
        let mut watch = |done, of| {
            progress.tell_bytes("checking LPIPS", done, of);
            true
        };
        let lpips = if options.lpips.is_empty() { None } else { Network::find(&options.lpips, &mut watch)? };
        progress.bar.finish_and_clear();
        let (pairs, notes) = subject.pairs();
        let notes = notes.iter().chain(&subject.extractor.note(&subject.sha256)).cloned().collect::<Vec<_>>();
        notes.iter().filter(|note| is_said(note, options.quiet)).for_each(|note| say_err(note));
        let plan = subject.plan(&pairs);
        Ok(Self { options, subject, pairs, plan, lpips })
    }

    /// Looks at what is left of a share, and keeps it. Returns whether it was not interrupted.
    fn fill(
        &self,
        share: &Share,
        (parts, out): (&mut Parts, &mut OutFolder),
        driver: &mut Driver,
    ) -> anyhow::Result<bool> {
        let (subject, next) = (self.subject, parts.next(share.own.start));
        let streaks = self.plan.work(share.own.clone(), next);
        let of = streaks.iter().filter(|streak| !matches!(streak.what, What::Pairs(_)));
        let of = of.map(|streak| streak.range.len()).sum();
        let (mut looked, mut told) = (0, None);
        for streak in streaks {
            let (set, own) = (subject.set(streak.what), std::slice::from_ref(&streak));
            let goes_on = if let What::Pairs(_) = streak.what {
                let pair = self.pairs.iter().find(|pair| What::Pairs(pair.set) == streak.what);
                let with = pair.context("the set has no partners")?.with;
                let (options, lpips) = (self.options, self.lpips.as_ref());
                let mut comparer = Comparer { options, lpips, driver: &mut *driver, done: streak.range.start };
                comparer.read([&subject.sets[with], set], own, &mut |_, places, numbers| {
                    parts.add_pairs(places, &numbers)?;
                    Ok(out.set_reached(parts.next(share.own.start))?)
                })?
            } else {
                if told.replace(streak.what) != Some(streak.what) {
                    driver.note(&set.notes);
                }
                let mut looker = Looker { options: self.options, subject, driver: &mut *driver, done: looked, of };
                let goes_on = looker.read(set, own, &mut |driver, places, seen| {
                    remember(out, driver)?;
                    parts.add_seen(places, &seen)?;
                    Ok(out.set_reached(parts.next(share.own.start))?)
                })?;
                looked = looker.done;
                goes_on
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What computes is known as soon as the extractor looked at something, and then it is the same for all of a share.
fn remember(out: &mut OutFolder, driver: &Driver) -> Result<(), ExportError> {
    if driver.provenance.device.is_some() { out.set_provenance(&driver.provenance) } else { Ok(()) }
}

/// Looks at the pictures of a share.
///
/// # Errors
/// The chain from what failed to why; what was seen before stays.
pub(super) fn run(options: &EvaluateOptions, shard: Shard, folders: &Folders) -> anyhow::Result<Outcome> {
    let subject = Subject::open(options, folders)?;
    let measurement = Measurement::of(options, &subject)?;
    let batches = measurement.plan.len();
    if batches == 0 {
        return Err(EvaluateError::NothingToShare.told());
    }
    let share = Share::new(shard, COMMAND, 0..batches, 1);
    if share.is_empty() {
        let all = if batches == 1 { "one batch".to_owned() } else { format!("{batches} batches") };
        say_err(&format!(
            "nothing is left for shard {shard}: there are {all}, which the first shards make; lapidary merge needs no folder of it"
        ));
        return Ok(Outcome::Done);
    }
    let description = Description::of(options, &subject);
    let recipe = description.recipe(&measurement)?;
    let folder = shard::folder_of(options.out.first().map(PathBuf::as_path), shard);
    let inputs: Vec<PathBuf> = description.inputs.iter().map(|input| input.file.clone()).collect();
    let (earlier, recipe, share_of) = (options.earlier(), recipe.as_str(), Some(&share));
    let claim =
        Claim { folder: &folder, numbered: false, earlier, recipe, share: share_of, files: &MEASURED, inputs: &inputs };
    claim.settle()?;
    export::check_space(&claim.look()?.0, bytes(&measurement, &share))?;
    let out = match claim.claim()? {
        Claimed::Finished(folder) => {
            say_finished(&folder, options.quiet);
            return Ok(Outcome::Done);
        }
        Claimed::Begun(out) => out,
    };
    let mut driver = Driver::new(folders, Some(&folder), options.quiet)?;
    work(&measurement, &share, &description, (out, &mut driver))
}

/// Bytes of a share on the disk, about.
fn bytes(measurement: &Measurement<'_>, share: &Share) -> u64 {
    let all: usize = measurement.subject.new_ones().map(|(_, set)| set.count()).sum();
    let of_each = if measurement.subject.extractor.dialect.is_some() { BYTES[0] } else { BYTES[1] };
    let own = u128::from(of_each) * all as u128 * share.own.len() as u128 / share.all.len().max(1) as u128;
    u64::try_from(own).unwrap_or(u64::MAX) + 4 * BLOCK
}

/// Does what is left of a share and finishes its folder.
fn work(
    measurement: &Measurement<'_>,
    share: &Share,
    description: &Description,
    (mut out, driver): (OutFolder, &mut Driver),
) -> anyhow::Result<Outcome> {
    let mut parts = Parts::open(out.path(), out.recipe(), share.own.start)?;
    driver.note(parts.warnings());
    driver.note(parts.lost(share.own.start, out.reached()).as_slice());
    let done = |parts: &Parts| parts.next(share.own.start) - share.own.start;
    if done(&parts) > 0 {
        driver.note(&[format!("goes on behind {}", batches(done(&parts)))]);
    }
    let filled = measurement.fill(share, (&mut parts, &mut out), driver);
    driver.finish();
    driver.say_kept(&mut out);
    let is_whole = matches!(filled, Ok(true));
    if done(&parts) > 0 {
        out.expect_parts();
    }
    if !is_whole {
        let kept = match done(&parts) {
            0 => "nothing is kept, for not one batch was done".to_owned(),
            n => format!(
                "{n} of {} are done and kept in {}: the same command with --resume goes on behind them",
                batches(share.own.len()),
                out.path().join(PARTS).display()
            ),
        };
        filled.with_context(|| kept.clone())?;
        driver.say(&format!("stopped: {kept}"));
        return Ok(driver.stopped());
    }
    out.end_share(parts.count());
    let text = description.text()?;
    let write = |folder: &Path| {
        export::durably(&folder.join(MEASURED[0]), |file| std::io::Write::write_all(file, text.as_bytes()))
    };
    out.publish(export::names(&MEASURED, &[]), Extent::Whole, write)
        .context("what was seen is kept, but the shard cannot be finished: the same command with --resume does that")?;
    driver.say_kept(&mut out);
    if let Some(known) = out.provenance() {
        driver.provenance = known.clone();
    }
    tell(share, out.path(), driver)
}

/// Says what came of a share, and what to do with it.
fn tell(share: &Share, folder: &Path, driver: &Driver) -> anyhow::Result<Outcome> {
    let Shard { k, n } = share.shard;
    let files = written(folder, &[PARTS, MEASURED[0]]);
    let text = folder.display().to_string();
    let hint = text.strip_suffix(&format!("-{k}-of-{n}")).map_or_else(String::new, |base| {
        // Without --out the folder is named after none, and the table is printed only.
        let is_table = Format::of(Path::new(base)).is_some();
        let base = word(Path::new(base));
        let out = if is_table { format!(" --out {base}") } else { String::new() };
        format!("\nput all {n} together, once they are done, with: lapidary merge {base}-*-of-{n}{out}")
    });
    driver.print(&format!(
        "shard {}: {} on {}\n{files}{hint}",
        share.shard,
        batches(share.own.len()),
        driver.device()
    ))?;
    Ok(Outcome::Done)
}

fn batches(count: usize) -> String {
    if count == 1 { "1 batch".to_owned() } else { format!("{count} batches") }
}

/// Makes of all shards the table that one run makes.
///
/// # Errors
/// What the shards lack, or that what they were made from is not as it was; the chain of whatever cannot be read or written.
pub(in crate::cli) fn merged(
    merge: &MergeOptions,
    shards: &[ShareFolder],
    folders: &Folders,
) -> anyhow::Result<Outcome> {
    let Some(first) = shards.first() else { return Err(MergeError::Nothing.into()) };
    let description = Description::read(&first.path().join(MEASURED[0])).map_err(EvaluateError::told)?;
    let options = description.clone().options(merge);
    options.check()?;
    options.check_folders()?;
    description.check_inputs(merge.quiet)?;
    let subject = Subject::open(&options, folders)?;
    let measurement = Measurement::of(&options, &subject)?;
    if description.recipe(&measurement)? != first.recipe() {
        return Err(EvaluateError::OtherNow { path: first.path().to_owned() }.told());
    }
    let parts = Parts::of_shares(first.path(), shards);
    let mut driver = Driver::new(folders, None, options.quiet)?;
    if let Some(known) = shards.iter().find_map(ShareFolder::provenance) {
        driver.provenance = known.clone();
    }
    measurement.run(Sight::Kept(&parts, first.share().shard.n), &mut driver)
}
