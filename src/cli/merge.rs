//! `lapidary merge`: what several runs with `--shard` made becomes what one run would have made, byte by byte.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ArgMatches;

use super::begin::{BLOCK, say_finished};
use super::describe::written;
use super::ending::Whole;
use super::maker::{are_listed, shown_of};
use super::progress::Progress;
use super::say::{say_err, say_out};
use super::usage::{FILES, OUT, OVERWRITE, QUIET, RESUME};
use super::{CliError, DEFAULT_OUT, Outcome, evaluate, flags, generate, maker, many};
use crate::export::{self, Claim, Claimed, Earlier, ExportError, Extent, OutFolder, Parts, Shard, ShareFolder};
use crate::refiner::settings::ITERATIONS;
use crate::session::changes::{files_of, hashes};
use crate::session::document::{Document, Sample};
use crate::session::host::Folders;
use crate::units::counted;

/// Shards that are listed before the rest is only counted.
const SHOWN: usize = 8;

/// What is put together, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergeOptions {
    /// The folders of the shards, in any order.
    pub shards: Vec<PathBuf>,
    /// Folder for the results; none was given: the default one, or the next that is free. Of a measurement a table; none was given:
    /// it is printed only.
    pub out: Option<PathBuf>,
    /// Further tables of a measurement.
    pub tables: Vec<PathBuf>,
    /// Where mean and covariance of its real pictures go.
    pub save_statistics: Option<PathBuf>,
    /// Where what was seen in it goes: a folder, or a file where there is one set.
    pub save_features: Option<PathBuf>,
    /// What is done with earlier results in that folder.
    pub earlier: Earlier,
    /// Say nothing but warnings and errors.
    pub quiet: bool,
}

impl MergeOptions {
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let is_on = |flag| flags::switched(matches, flag).unwrap_or(false);
        let paths = |flag: &str| -> Vec<PathBuf> {
            matches.get_many::<PathBuf>(flag).map_or_else(Vec::new, |paths| paths.cloned().collect())
        };
        let mut tables = paths(OUT);
        let out = (!tables.is_empty()).then(|| tables.remove(0));
        let earlier = match (is_on(RESUME), is_on(OVERWRITE)) {
            (true, _) => Earlier::Resume,
            (_, true) => Earlier::Overwrite,
            _ => Earlier::Keep,
        };
        let saved = |flag| paths(flag).into_iter().next();
        let (save_statistics, save_features) = (saved(evaluate::SAVE_STATISTICS), saved(evaluate::SAVE_FEATURES));
        let shards = paths(FILES);
        Self { shards, out, tables, save_statistics, save_features, earlier, quiet: is_on(QUIET) }
    }

    /// Results that are no measurement are one folder.
    fn check_folder(&self) -> Result<(), CliError> {
        if self.tables.is_empty() && self.save_statistics.is_none() && self.save_features.is_none() {
            return Ok(());
        }
        let (statistics, features) = (evaluate::SAVE_STATISTICS, evaluate::SAVE_FEATURES);
        Err(CliError::Usage(format!(
            "--{statistics}, --{features} and more than one --out are for shards of lapidary evaluate, but these are of pictures, which come to one folder: give one --out"
        )))
    }
}

/// Why shards are not put together.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// No shard.
    #[error("this is no folder of a run with --shard, or its index was changed: give the folders that such runs wrote\n{}", path.display())]
    NoShard {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing lies there.
    #[error("no folder is there: check the path\n{}", path.display())]
    NotThere {
        /// What was given.
        path: PathBuf,
    },
    /// A shard of other work.
    #[error("this shard was made {what}, so it does not belong to those in {}: give the shards of one command, all of its runs with the same settings, inputs and models\n{}", other.display(), path.display())]
    Foreign {
        /// The shard.
        path: PathBuf,
        /// One of the others.
        other: PathBuf,
        /// How it was made.
        what: String,
    },
    /// The same shard twice.
    #[error("shard {shard} is given twice: leave one of the two out\n{}\n{}", other.display(), path.display())]
    Doubled {
        /// Which.
        shard: Shard,
        /// Its folder.
        path: PathBuf,
        /// Its other folder.
        other: PathBuf,
    },
    /// Shards that were not given.
    #[error("{}", missing(shards))]
    Missing {
        /// Which.
        shards: Vec<Shard>,
    },
    /// A shard that is worked on.
    #[error("another Lapidary works on shard {shard}: wait until it is done\n{}", path.display())]
    Busy {
        /// Which.
        shard: Shard,
        /// Its folder.
        path: PathBuf,
    },
    /// Shards that are not done.
    #[error("{}", unfinished(shards))]
    Unfinished {
        /// Which, with how much is missing, in words, and the folder.
        shards: Vec<(Shard, String, PathBuf)>,
    },
    /// A file of a shard was changed.
    #[error("this file of a shard is missing or was changed since it was written: make the shard anew with --overwrite\n{}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// An input was changed.
    #[error("this input is missing or was changed since the shards were made, so their results would not be those of what is there: put it back as it was, or make the shards anew with --overwrite\n{}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
    },
    /// No picture came of any shard.
    #[error("no picture came of any of the shards, for none of the inputs can be read: give others to the runs")]
    Nothing,
}

fn missing(shards: &[Shard]) -> String {
    let names = shards.iter().map(ToString::to_string).collect();
    format!(
        "{} missing: give their folders as well, or make each by the same command with --shard, such as --shard {}",
        are(names),
        shards.first().map_or_else(String::new, ToString::to_string)
    )
}

fn unfinished(shards: &[(Shard, String, PathBuf)]) -> String {
    let show =
        |(shard, left, path): &(Shard, String, PathBuf)| format!("{shard} ({left} missing in {})", path.display());
    format!(
        "{} unfinished: finish each by the same command with --shard and --resume, such as --shard {} --resume",
        are(shards.iter().map(show).collect()),
        shards.first().map_or_else(String::new, |(shard, ..)| shard.to_string())
    )
}

/// How much of a shard is missing: a measurement counts batches, for a picture may be looked at more than once.
fn words(shard: &ShareFolder) -> String {
    match (shard.share().command.as_str(), shard.left()) {
        (evaluate::COMMAND, 1) => "1 batch".to_owned(),
        (evaluate::COMMAND, left) => format!("{left} batches"),
        (_, left) => counted(left, "picture"),
    }
}

/// Some shards, and that they are something.
fn are(mut names: Vec<String>) -> String {
    let count = names.len();
    if count > SHOWN {
        names.truncate(SHOWN);
        names.push(format!("{} more", count - SHOWN));
    }
    let (shards, are) = if count == 1 { ("shard", "is") } else { ("shards", "are") };
    format!("{shards} {} {are}", names.join(", "))
}

/// Puts shards together.
///
/// # Errors
/// [`MergeError`] names what does not belong together or is not there; the chain of whatever cannot be read or written.
pub fn run(options: &MergeOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let shards = gathered(&options.shards)?;
    if shards.first().is_some_and(|shard| shard.share().command == evaluate::COMMAND) {
        return evaluate::merged(options, &shards, folders);
    }
    options.check_folder()?;
    let described = shards.iter().find(|shard| shard.pictures() > 0 || is_alone(shard)).ok_or(MergeError::Nothing)?;
    let path = described.path().join(export::SHARED[0]);
    let (document, _) = Document::open(&path)?;
    let inputs = check_inputs(&document, described.path(), options.quiet)?;
    let files = files_of_whole(described);
    let read: Vec<PathBuf> =
        inputs.into_iter().chain(shards.iter().map(|shard| shard.path().join(export::SHARED[0]))).collect();
    let folder = options.out.as_deref().unwrap_or_else(|| Path::new(DEFAULT_OUT));
    let (recipe, numbered, earlier) = (described.recipe(), options.out.is_none(), options.earlier);
    let claim = Claim { folder, numbered, earlier, recipe, share: None, files: &files, inputs: &read };
    claim.settle()?;
    export::check_space(&claim.look()?.0, bytes(&shards))?;
    let mut out = match claim.claim()? {
        Claimed::Finished(folder) => {
            say_finished(&folder, options.quiet);
            return Ok(Outcome::Done);
        }
        Claimed::Begun(out) => out,
    };
    if out.path() != folder {
        let (there, here) = (folder.display(), out.path().display());
        say_err(&format!("note: {there} holds earlier results, so these go to {here}"));
    }
    put_together(&mut out, &shards, described, &document, options.quiet)
}

/// The shards in order, all of them of the same work, finished, and not one missing.
fn gathered(paths: &[PathBuf]) -> Result<Vec<ShareFolder>, MergeError> {
    let read = |path: &PathBuf| {
        let found = ShareFolder::read(path);
        found.ok_or_else(|| {
            let path = path.clone();
            if path.exists() { MergeError::NoShard { path } } else { MergeError::NotThere { path } }
        })
    };
    let mut shards = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    check_same(&shards)?;
    shards.sort_by_key(|shard| shard.share().shard);
    let same = |pair: &&[ShareFolder]| pair[0].share().shard == pair[1].share().shard;
    if let Some([other, shard]) = shards.windows(2).find(same) {
        let (path, other) = (shard.path().to_owned(), other.path().to_owned());
        return Err(MergeError::Doubled { shard: shard.share().shard, path, other });
    }
    check_all_there(&shards)?;
    if let Some(shard) = shards.iter().find(|shard| shard.is_busy()) {
        return Err(MergeError::Busy { shard: shard.share().shard, path: shard.path().to_owned() });
    }
    let left = |shard: &ShareFolder| (shard.share().shard, words(shard), shard.path().to_owned());
    let unfinished: Vec<_> = shards.iter().filter(|shard| shard.left() > 0).map(left).collect();
    if !unfinished.is_empty() {
        return Err(MergeError::Unfinished { shards: unfinished });
    }
    match shards.iter().find_map(ShareFolder::changed) {
        Some(path) => Err(MergeError::Changed { path }),
        None => Ok(shards),
    }
}

/// What sets one apart from the most of them is what is wrong with it.
fn check_same(shards: &[ShareFolder]) -> Result<(), MergeError> {
    let key = |shard: &ShareFolder| (shard.recipe().to_owned(), shard.share().shard.n);
    let mut counts = BTreeMap::new();
    for shard in shards {
        *counts.entry(key(shard)).or_insert(0_usize) += 1;
    }
    let count = |shard: &ShareFolder| counts.get(&key(shard)).copied().unwrap_or(0);
    // Of equals the first.
    let Some(usual) = shards.iter().rev().max_by_key(|shard| count(shard)) else { return Ok(()) };
    let foreign = |path: &Path, other: &Path, what: String| {
        Err(MergeError::Foreign { path: path.to_owned(), other: other.to_owned(), what })
    };
    for shard in shards {
        let n = shard.share().shard.n;
        if shard.recipe() != usual.recipe() {
            let what = "by another command or version, or with other settings or inputs".to_owned();
            return foreign(shard.path(), usual.path(), what);
        }
        if n != usual.share().shard.n {
            return foreign(shard.path(), usual.path(), format!("as one of {n}, and not of {}", usual.share().shard.n));
        }
    }
    let Some(first) = shards.iter().find(|shard| shard.provenance().is_some()) else { return Ok(()) };
    match shards.iter().find_map(|shard| Some((shard, shard.difference(first)?))) {
        Some((shard, what)) => foreign(shard.path(), first.path(), what),
        None => Ok(()),
    }
}

/// Those for which no batch was left need not be there.
fn check_all_there(shards: &[ShareFolder]) -> Result<(), MergeError> {
    let Some(share) = shards.first().map(ShareFolder::share) else { return Ok(()) };
    let is_there = |shard: &Shard| shards.iter().any(|found| found.share().shard == *shard);
    let has_work = |shard: &Shard| !shard.cut(&share.all, share.batch).is_empty();
    let missing: Vec<Shard> = Shard::all(share.shard.n).filter(|shard| has_work(shard) && !is_there(shard)).collect();
    if missing.is_empty() { Ok(()) } else { Err(MergeError::Missing { shards: missing }) }
}

/// Whether a shard holds the results themselves, because the whole is one batch that is kept in files of its own.
fn is_alone(shard: &ShareFolder) -> bool {
    shard.share().ended.is_none()
}

/// The files that a whole comes to.
fn files_of_whole(shard: &ShareFolder) -> Vec<&'static str> {
    match shard.share().command.as_str() {
        _ if is_alone(shard) => export::files(&export::REFINED),
        "generate" => generate::files(shard.share().all.len()),
        _ => export::LONG_REFINED.to_vec(),
    }
}

/// Bytes that a whole takes at most, but for pictures one by one, which are about as large as they are in an archive.
fn bytes(shards: &[ShareFolder]) -> u64 {
    let parts: u64 = shards.iter().map(ShareFolder::bytes).sum();
    let few = shards.first().is_some_and(|shard| are_listed(shard.share().all.len()));
    parts * if few { 2 } else { 1 } + 8 * BLOCK
}

/// The inputs must be what they were, as for going on with unfinished work; returns them.
fn check_inputs(document: &Document, folder: &Path, quiet: bool) -> Result<Vec<PathBuf>, MergeError> {
    let mut progress = Progress::new(quiet);
    let mut watch = |done, of| progress.tell_bytes("reading the inputs", done, of);
    let references = Document::files(&document.references, folder);
    let mut files = Document::files(&document.inputs, folder);
    let mut then = document.input_hashes.clone();
    then.resize(files.len(), String::new());
    let real = files_of(&references);
    if real.len() != document.reference_hashes.len() {
        // One more or one less among them.
        let path = references.into_iter().next().unwrap_or_else(|| folder.to_owned());
        return Err(MergeError::Input { path });
    }
    files.extend(real);
    then.extend(document.reference_hashes.iter().cloned());
    let now = hashes(&files, &mut watch);
    progress.bar.finish_and_clear();
    let changed = then.iter().zip(&now).position(|(then, now)| !then.is_empty() && then != now);
    match changed {
        Some(place) => Err(MergeError::Input { path: files.swap_remove(place) }),
        None => Ok(files),
    }
}

/// Writes what the shards come to, in the very way of a run that made all of it.
fn put_together(
    out: &mut OutFolder,
    shards: &[ShareFolder],
    described: &ShareFolder,
    document: &Document,
    quiet: bool,
) -> anyhow::Result<Outcome> {
    let document = document.moved(described.path(), out.path());
    let (share, parts) = (described.share(), Parts::of_shares(out.path(), shards));
    let count: usize = shards.iter().map(ShareFolder::pictures).sum();
    let device = document.provenance.device.as_ref().map_or_else(String::new, |device| device.name.clone());
    let Whole { files, names, write, said, hint } = if is_alone(described) {
        copied(described, document)
    } else if share.command == "generate" {
        let shown = parts.made(shown_of(share.all.len()), &document.settings.generate, None)?;
        let samples = if are_listed(share.all.len()) { Sample::all(&shown) } else { Vec::new() };
        let said = format!("{} on {device}", counted(count, "picture"));
        maker::whole_of(&parts, share.all.len(), (shown, Document { samples, ..document }), (said, String::new()))
    } else {
        let settings = document.settings.clone();
        let iterations = settings.refine.iterations.map_or(ITERATIONS.default as u32, std::num::NonZeroU32::get);
        many::whole_of(&parts, document, (iterations, &device, &settings))?
    };
    let put_together = out.publish(names, Extent::Whole, write);
    out.take_warnings().iter().for_each(|warning| say_err(warning));
    put_together.context("the shards stay as they are, but what they come to cannot be written")?;
    if !quiet {
        say_out(&format!("{said}\n{}{hint}", written(out.path(), &files)))?;
    }
    Ok(Outcome::Done)
}

/// The results of a shard that is all of the whole.
fn copied(shard: &ShareFolder, document: Document) -> Whole<'_> {
    let (names, description) = (shard.files(), export::SHARED[0]);
    let all = names.clone();
    let write = Box::new(move |folder: &Path| {
        for name in &all {
            let (from, to) = (shard.path().join(name), folder.join(name));
            let fail = |source| ExportError::Write { path: to.clone(), source };
            std::fs::create_dir_all(to.parent().unwrap_or(folder)).map_err(fail)?;
            if name == description {
                export::write_document(&to, &document)?;
            } else {
                export::durably(&to, |out| std::io::copy(&mut File::open(&from)?, out).map(drop))?;
            }
        }
        Ok(())
    });
    let said = format!("all of it is in shard {}, because it is one batch", shard.share().shard);
    Whole { files: export::files(&export::REFINED), names, write, said, hint: String::new() }
}

#[cfg(test)]
mod tests;
