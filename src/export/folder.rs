//! The folder of the results: what Lapidary wrote there, who works there, and that nothing else is ever replaced.
//!
//! An index lists what was written, by name and hash; a file that it does not list, or lists with another hash, is somebody
//! else's. A lock is held while work goes on. Before it begins, everything that could be destroyed is looked for. Earlier results
//! stay until new ones are whole.

mod index;
mod keep;
mod leaving;
mod lying;
mod reached;
mod shared;
mod stash;

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use self::index::{Index, difference};
use self::keep::Reserve;
pub use self::leaving::abandon;
use self::leaving::leave;
pub(super) use self::lying::{bytes_of_parts, is_numbered};
use self::lying::{
    first_missing, holds_parts, in_the_way, is_filled, is_locked, matching, numbered, sweep, unfinished,
};
pub use self::reached::unfinished_in;
pub use self::shared::ShareFolder;
use super::ExportError;
use super::share::Share;
pub(super) use crate::data::PARTS;
use crate::data::RESULTS_INDEX as INDEX;
use crate::session::Provenance;

/// Held while somebody works in the folder.
const LOCK: &str = ".lapidary.lock";
/// What a lock says to whoever finds it.
const LOCK_TEXT: &str =
    "Lapidary works in this folder, or was killed while it did. When none runs, this file may be deleted.\n";
/// Folder of results that are being written.
const NEW: &str = ".lapidary-out-new";
/// Folder of the results of a stopped command, where those of an earlier one are still there.
const UNFINISHED: &str = "unfinished";
/// Beginning of the names of what lies there.
const BELOW: &str = "unfinished/";

/// What is done with what an earlier command left in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Earlier {
    /// It stays: the results go elsewhere, or nowhere.
    #[default]
    Keep,
    /// The results take its place.
    Overwrite,
    /// What is unfinished is finished.
    Resume,
}

/// How much of the work results hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// So many of its pictures, iterations or points.
    Part(u64),
}

/// What is asked of a folder.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// Whether another one, with a number, will do when results are there already.
    pub numbered: bool,
    /// What is done with those.
    pub earlier: Earlier,
    /// Stands for everything that the results depend on.
    pub recipe: &'a str,
    /// What this is a share of, where several runs make the results.
    pub share: Option<&'a Share>,
    /// What will be written, as [`super::Exporter::files`] says it.
    pub files: &'a [&'a str],
    /// What is read and must stay.
    pub inputs: &'a [PathBuf],
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// Work may begin, or go on.
    Begun(OutFolder),
    /// The very same work was done before; its results are here.
    Finished(PathBuf),
}

/// What a folder is to a claim.
#[derive(Debug)]
enum State {
    /// Nothing of an earlier result is there.
    Free,
    /// Somebody works there.
    Busy,
    /// A file is in the way that nobody may replace.
    Refused(ExportError),
    /// An earlier result.
    Ours(Index),
}

impl State {
    fn of(folder: &Path, claim: &Claim<'_>) -> Result<Self, ExportError> {
        if !folder.exists() {
            return Ok(Self::Free);
        }
        if is_locked(folder) {
            return Ok(Self::Busy);
        }
        Self::of_quiet(folder, claim)
    }

    /// Of a folder that is there, in which nobody else works.
    fn of_quiet(folder: &Path, claim: &Claim<'_>) -> Result<Self, ExportError> {
        let index = Index::read(folder);
        let foreign = |path: PathBuf| Ok(Self::Refused(ExportError::Foreign { path }));
        if let Some(name) = index.as_ref().and_then(Index::strange).map(str::to_owned) {
            return Ok(Self::Refused(ExportError::StrangeIndex { path: folder.to_owned(), name }));
        }
        if index.is_none() && holds_parts(folder) {
            let what = if folder.join(INDEX).exists() { "cannot be read" } else { "is missing" };
            return Ok(Self::Refused(ExportError::LostIndex { path: folder.to_owned(), what }));
        }
        // Whatever is begun here leaves an index first.
        if let Some(path) = unfinished(folder).filter(|_| index.is_none()) {
            return foreign(path);
        }
        let stranger = |index: &Index| stash::stranger(folder, &index.recipe);
        if let Some(path) = index.as_ref().filter(|_| claim.earlier == Earlier::Overwrite).and_then(stranger) {
            return foreign(path);
        }
        let mut names = BTreeSet::new();
        for files in claim.files {
            names.extend(matching(folder, files)?);
        }
        if index.as_ref().is_some_and(|index| claim.may_lie_beside(index)) {
            names.extend(in_the_way(folder));
            for files in claim.files {
                names.extend(matching(folder, &format!("{BELOW}{files}"))?);
            }
        }
        if let Some(index) = index.as_ref().filter(|_| claim.earlier == Earlier::Overwrite) {
            names.extend(index.files.keys().filter(|name| folder.join(name).exists()).cloned());
        }
        for name in names {
            match index.as_ref().filter(|index| index.lists(&name)) {
                None => return foreign(folder.join(name)),
                // What stays need not be looked into.
                Some(index) if claim.earlier != Earlier::Keep && !index.is_ours(folder, &name) => {
                    return Ok(Self::Refused(ExportError::Changed { path: folder.join(name) }));
                }
                Some(_) => {}
            }
        }
        // What has the name of an index or of a lock, but is none.
        let lock = folder.join(LOCK);
        if index.is_none() && folder.join(INDEX).exists() {
            return foreign(folder.join(INDEX));
        }
        if std::fs::read(&lock).is_ok_and(|text| !text.is_empty() && text != LOCK_TEXT.as_bytes()) {
            return foreign(lock);
        }
        let parts = is_filled(&folder.join(PARTS));
        Ok(match index {
            Some(index) if parts || !index.is_bare() => Self::Ours(index),
            None if parts => return foreign(folder.join(PARTS)),
            // Nothing had come of it.
            Some(_) | None => Self::Free,
        })
    }
}

/// What may be done, and where.
enum Choice {
    Begin { folder: PathBuf, replaced: Option<Index> },
    GoOn { folder: PathBuf, index: Index },
    Finished(PathBuf),
}

impl Claim<'_> {
    /// Where the results will go, and whether they are there already. Nothing is made or changed.
    ///
    /// # Errors
    /// [`ExportError`] says what stands against it.
    pub fn look(&self) -> Result<(PathBuf, bool), ExportError> {
        Ok(match self.choose()? {
            Choice::Begin { folder, .. } | Choice::GoOn { folder, .. } => (folder, false),
            Choice::Finished(folder) => (folder, true),
        })
    }

    /// Makes the folder and keeps others away.
    ///
    /// # Errors
    /// [`ExportError`] says what stands against it; nothing is changed then.
    pub fn claim(&self) -> Result<Claimed, ExportError> {
        self.settle()?;
        let (folder, index, replaced) = match self.choose()? {
            Choice::Finished(folder) => {
                // It may have been killed while it tidied up.
                sweep(&folder);
                if Index::read(&folder).is_none_or(|index| !index.keeps_parts()) {
                    stash::remove(&folder, self.recipe)?;
                }
                let _may_not_be_there = std::fs::remove_file(folder.join(LOCK));
                return Ok(Claimed::Finished(folder));
            }
            Choice::Begin { folder, replaced } => (folder, None, replaced),
            Choice::GoOn { folder, index } => (folder, Some(index), None),
        };
        let fail = |source| ExportError::Folder { path: folder.clone(), source };
        let made = first_missing(&folder);
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let lock = File::options().create(true).append(true).open(folder.join(LOCK)).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            // Another one was faster.
            Err(TryLockError::WouldBlock) => return self.claim(),
            // A file system without locks: the index is all there is.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "the folder cannot be locked"),
        }
        let begins = index.is_none();
        if begins && replaced.is_none() && !matches!(State::of_quiet(&folder, self)?, State::Free) {
            // Another one was there meanwhile.
            drop(lock);
            return self.claim();
        }
        if let Some(mut index) = index.clone().or_else(|| replaced.clone()).filter(|index| index.next.is_some()) {
            // Killed while it moved its results, which are whole.
            let aside = index.end_moving(&folder).inspect_err(|_| leave(&folder))?;
            drop(lock);
            let mut claimed = self.claim()?;
            if let Claimed::Begun(out) = &mut claimed {
                out.aside.extend(aside);
            }
            return Ok(claimed);
        }
        sweep(&folder);
        let index = index.unwrap_or_else(|| self.new_index(&folder, replaced.as_ref()));
        // From here on, what fails leaves everything as it was.
        let out =
            OutFolder { path: folder, made, index, replaced, written: !begins, parts: false, aside: Vec::new(), lock };
        if out.lock.metadata().is_ok_and(|file| file.len() == 0) {
            let fail = |source| ExportError::Folder { path: out.path.clone(), source };
            (&out.lock).write_all(LOCK_TEXT.as_bytes()).map_err(fail)?;
        }
        if let Some(replaced) = &out.replaced {
            stash::put(&out.path, replaced)?;
        }
        out.index.write(&out.path)?;
        Ok(Claimed::Begun(out))
    }

    /// Takes back what a command had set aside that was killed while it began anew, unless something came of it.
    ///
    /// # Errors
    /// [`ExportError::Folder`]
    pub fn settle(&self) -> Result<(), ExportError> {
        if self.folder.is_dir() && !is_locked(self.folder) {
            let came = Index::read(self.folder).is_some_and(|index| index.finished || index.done > 0);
            stash::end(self.folder, came)?;
        }
        Ok(())
    }

    fn choose(&self) -> Result<Choice, ExportError> {
        for number in 1_u32.. {
            let folder = numbered(self.folder, number);
            if folder.symlink_metadata().is_ok() && !folder.is_dir() {
                if self.numbered {
                    continue;
                }
                let what = if folder.exists() { "a file" } else { "a link that leads nowhere" };
                return Err(ExportError::NotAFolder { what, path: folder });
            }
            if let Some(path) = self.input_in(&folder) {
                if self.numbered {
                    continue;
                }
                return Err(ExportError::Input { path });
            }
            let refused = match State::of(&folder, self)? {
                State::Free => return Ok(Choice::Begin { folder, replaced: None }),
                State::Busy => ExportError::Busy { path: folder },
                State::Refused(error) => error,
                State::Ours(index) => match self.earlier {
                    Earlier::Overwrite => match self.input_among(&folder, &index) {
                        Some(path) => ExportError::Input { path },
                        None => return Ok(Choice::Begin { folder, replaced: Some(index) }),
                    },
                    Earlier::Resume if !index.is_of(self) && index.finished => {
                        ExportError::OtherResult { path: folder }
                    }
                    Earlier::Resume if !index.is_of(self) => {
                        ExportError::OtherRecipe { path: folder, what: index.other_recipe(self.recipe) }
                    }
                    Earlier::Resume if index.finished => {
                        match index.files.keys().find(|name| !index.is_ours(&folder, name)) {
                            Some(name) => ExportError::Incomplete { path: folder.join(name) },
                            // A batch of a share that was lost is made again.
                            None if shared::lacks_parts(&folder, &index) => {
                                return Ok(Choice::GoOn { folder, index });
                            }
                            None => return Ok(Choice::Finished(folder)),
                        }
                    }
                    Earlier::Resume => return Ok(Choice::GoOn { folder, index }),
                    Earlier::Keep if index.finished => ExportError::Earlier { path: folder },
                    Earlier::Keep => ExportError::Unfinished { path: folder },
                },
            };
            if !self.numbered {
                return Err(refused);
            }
        }
        Err(ExportError::Earlier { path: self.folder.to_owned() })
    }

    /// Whether results of a command that is stopped would go to [`UNFINISHED`].
    fn may_lie_beside(&self, index: &Index) -> bool {
        match self.earlier {
            Earlier::Keep => false,
            Earlier::Overwrite => !index.files.is_empty(),
            Earlier::Resume => index.earlier,
        }
    }

    /// An input that is one of the earlier results, which would be removed.
    fn input_among(&self, folder: &Path, index: &Index) -> Option<PathBuf> {
        let results: BTreeSet<PathBuf> =
            index.files.keys().filter_map(|name| folder.join(name).canonicalize().ok()).collect();
        let is_result = |path: &&PathBuf| path.canonicalize().is_ok_and(|path| results.contains(&path));
        self.inputs.iter().find(is_result).cloned()
    }

    /// An input that the results would replace or lie among.
    fn input_in(&self, folder: &Path) -> Option<PathBuf> {
        if !folder.exists() {
            return None;
        }
        let parts = format!("{PARTS}/*");
        let places: Vec<(PathBuf, &str, &str)> = self
            .files
            .iter()
            .copied()
            .chain([parts.as_str()])
            .filter_map(|files| {
                let (below, name) = files.rsplit_once('/').unwrap_or(("", files));
                let (before, after) = name.split_once('*').unwrap_or((name, ""));
                Some((folder.join(below).canonicalize().ok()?, before, after))
            })
            .collect();
        let lies_there = |path: &&PathBuf| {
            let Ok(path) = path.canonicalize() else { return false };
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            places.iter().any(|(below, before, after)| {
                path.parent() == Some(below) && name.starts_with(before) && name.ends_with(after)
            })
        };
        self.inputs.iter().find(lies_there).cloned()
    }
}

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub struct OutFolder {
    path: PathBuf,
    /// The outermost folder that was made for it.
    made: Option<PathBuf>,
    index: Index,
    /// The index of what is to be replaced.
    replaced: Option<Index>,
    /// Something is there now that was not there before.
    written: bool,
    /// Parts were finished, or may have been: see [`Self::expect_parts`].
    parts: bool,
    /// What got another name.
    aside: Vec<String>,
    /// Held as long as this is.
    lock: File,
}

impl OutFolder {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stands for everything that the results depend on.
    #[must_use]
    pub fn recipe(&self) -> &str {
        &self.index.recipe
    }

    /// Warnings about files that got another name because somebody wrote into them, each once.
    #[must_use]
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.aside)
    }

    /// Remembers what computes the results; says no when another one did so before.
    ///
    /// # Errors
    /// [`ExportError::OtherRecipe`], or when the index cannot be written.
    pub fn set_provenance(&mut self, provenance: &Provenance) -> Result<(), ExportError> {
        match &self.index.provenance {
            Some(known) => match difference(known, provenance) {
                None => Ok(()),
                Some(what) => Err(ExportError::OtherRecipe { path: self.path.clone(), what }),
            },
            // A disk would be said to be full where there is no folder.
            None if !self.path.is_dir() => Err(ExportError::Moved { path: self.path.clone() }),
            None => {
                self.index.provenance = Some(provenance.clone());
                self.index.write(&self.path)
            }
        }
    }

    /// From now on index and folder stay, also when no part is there at the end: the user may have moved them away, and goes on
    /// with them when they are back.
    pub const fn expect_parts(&mut self) {
        self.parts = true;
    }

    /// Whether this takes the place of something of an earlier command, which comes back when nothing comes of this.
    #[must_use]
    pub const fn replaces(&self) -> bool {
        self.replaced.is_some()
    }

    /// What computed the results so far.
    #[must_use]
    pub const fn provenance(&self) -> Option<&Provenance> {
        self.index.provenance.as_ref()
    }

    /// Where results go: beside those of an earlier command, which stay until the new ones are finished.
    #[must_use]
    pub fn place(&self, finished: bool) -> PathBuf {
        if self.index.earlier && !finished { self.path.join(UNFINISHED) } else { self.path.clone() }
    }

    /// How much the unfinished results hold that are there; nothing when one of them was taken away.
    fn held(&self) -> u64 {
        let Index { files, earlier, done, .. } = &self.index;
        let is_gone = |name: &String| !self.path.join(name).exists();
        let lies_beside = |name: &&String| !earlier || name.starts_with(UNFINISHED);
        if files.keys().filter(lies_beside).any(is_gone) { 0 } else { *done }
    }

    /// Writes results into their [`Self::place`]: only `names` are written, and they take the place of what was there once they
    /// are whole. When that was all, what was kept to go on with is removed as well. Work that was begun anew and stopped earlier
    /// than before is not written: then it says how much the results hold that stay.
    ///
    /// # Errors
    /// [`ExportError`] of what fails first; what was there before stays.
    pub fn publish(
        &mut self,
        mut names: Vec<String>,
        extent: Extent,
        write: impl FnOnce(&Path) -> Result<(), ExportError>,
    ) -> Result<Option<u64>, ExportError> {
        let (finished, held) = (extent == Extent::Whole, self.held());
        if matches!(extent, Extent::Part(done) if done < held) {
            return Ok(Some(held));
        }
        let place = self.place(finished);
        let mut new = self.path.join(NEW);
        if place != self.path {
            new.push(UNFINISHED);
            names = names.iter().map(|name| format!("{UNFINISHED}/{name}")).collect();
        }
        std::fs::create_dir_all(&new).map_err(|source| ExportError::Folder { path: place.clone(), source })?;
        let reserve = Reserve::take(&self.path.join(NEW), &names);
        let written = write(&new).map_err(|error| error.seen_from(&new, &place));
        drop(reserve);
        written?;
        self.index.begin_moving(&self.path, names, extent)?;
        self.written = true;
        self.aside.extend(self.index.end_moving(&self.path)?);
        if finished && !self.index.keeps_parts() {
            stash::remove(&self.path, &self.index.recipe)?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
