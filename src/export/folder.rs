//! The folder of the results: what Lapidary wrote there, who works there, and that nothing else is ever replaced.
//!
//! An index lists what was written, by name and length; a file that it does not list, or lists with another length, is somebody
//! else's. A lock is held while work goes on. Before it begins, everything that could be destroyed is looked for.

mod lying;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::lying::bytes_of_parts;
use self::lying::{first_missing, is_filled, is_locked, matching, numbered, remove_parts, sweep};
use super::{ExportError, durably};
use crate::session::Provenance;

/// What was written, by whom it may be replaced.
const INDEX: &str = ".lapidary.json";
/// Held while somebody works in the folder.
const LOCK: &str = ".lapidary.lock";
/// What a lock says to whoever finds it.
const LOCK_TEXT: &str =
    "Lapidary works in this folder, or was killed while it did. When none runs, this file may be deleted.\n";
/// Folder of what is finished of something long.
pub(super) const PARTS: &str = "parts";
/// Value of `format`.
const FORMAT: &str = "lapidary-results";

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

/// The index of a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Index {
    format: String,
    /// What the work is, or was: see [`Claim::recipe`].
    recipe: String,
    finished: bool,
    /// What computes it, while it is unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provenance: Option<Provenance>,
    /// Results that are there, and their length; none while they are written.
    files: BTreeMap<String, Option<u64>>,
}

impl Index {
    fn new(recipe: &str) -> Self {
        let (format, recipe) = (FORMAT.to_owned(), recipe.to_owned());
        Self { format, recipe, finished: false, provenance: None, files: BTreeMap::new() }
    }

    /// The index of a folder; `None` without one that can be read.
    fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(INDEX)).ok()?;
        serde_json::from_str(&text).ok().filter(|index: &Self| index.format == FORMAT)
    }

    fn write(&self, folder: &Path) -> Result<(), ExportError> {
        let text = serde_json::to_string_pretty(self).expect("plain values") + "\n";
        durably(&folder.join(INDEX), |out| out.write_all(text.as_bytes()))
    }

    /// Whether a file of the folder is as it was written, or was being written.
    fn lists(&self, folder: &Path, name: &str) -> bool {
        let path = folder.join(name);
        // What lies behind a link is somebody else's.
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        let below = name.contains('/').then(|| path.parent()).flatten();
        let length = || path.metadata().map(|file| file.len()).ok();
        !is_link(&path)
            && !below.is_some_and(is_link)
            && self.files.get(name).is_some_and(|known| known.is_none() || *known == length())
    }
}

/// What a folder is to a claim.
#[derive(Debug)]
enum State {
    /// Nothing of an earlier result is there.
    Free,
    /// Somebody works there.
    Busy,
    /// A file is in the way that nobody may replace.
    Foreign(PathBuf),
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
        let listed = |name: &str| index.as_ref().is_some_and(|index| index.lists(folder, name));
        for files in claim.files {
            for name in matching(folder, files)? {
                if !listed(&name) {
                    return Ok(Self::Foreign(folder.join(name)));
                }
            }
        }
        // What has the name of an index or of a lock, but is none.
        let lock = folder.join(LOCK);
        if index.is_none() && folder.join(INDEX).exists() {
            return Ok(Self::Foreign(folder.join(INDEX)));
        }
        if std::fs::read(&lock).is_ok_and(|text| !text.is_empty() && text != LOCK_TEXT.as_bytes()) {
            return Ok(Self::Foreign(lock));
        }
        let parts = is_filled(&folder.join(PARTS));
        Ok(match index {
            Some(index) if parts || !index.files.is_empty() || index.finished => Self::Ours(index),
            None if parts => Self::Foreign(folder.join(PARTS)),
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
    /// Where the results will go. Nothing is made or changed.
    ///
    /// # Errors
    /// [`ExportError`] says what stands against it.
    pub fn look(&self) -> Result<PathBuf, ExportError> {
        Ok(match self.choose()? {
            Choice::Begin { folder, .. } | Choice::GoOn { folder, .. } | Choice::Finished(folder) => folder,
        })
    }

    /// Makes the folder and keeps others away.
    ///
    /// # Errors
    /// [`ExportError`] says what stands against it; nothing is changed then.
    pub fn claim(&self) -> Result<Claimed, ExportError> {
        let (folder, index, replaced) = match self.choose()? {
            Choice::Finished(folder) => {
                // It may have been killed while it tidied up.
                sweep(&folder);
                remove_parts(&folder)?;
                let _may_not_be_there = std::fs::remove_file(folder.join(LOCK));
                return Ok(Claimed::Finished(folder));
            }
            Choice::Begin { folder, replaced } => (folder, None, replaced),
            Choice::GoOn { folder, index } => (folder, Some(index), None),
        };
        let fail = |source| ExportError::Folder { path: folder.clone(), source };
        let made = first_missing(&folder);
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let mut lock = File::options().create(true).append(true).open(folder.join(LOCK)).map_err(fail)?;
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
        if lock.metadata().is_ok_and(|file| file.len() == 0) {
            lock.write_all(LOCK_TEXT.as_bytes()).map_err(fail)?;
        }
        sweep(&folder);
        let files = replaced.as_ref().map_or_else(BTreeMap::new, |index| index.files.clone());
        let index = index.unwrap_or_else(|| Index { files, ..Index::new(self.recipe) });
        index.write(&folder)?;
        let out = OutFolder { path: folder, made, index, replaced, written: !begins, _lock: lock };
        if begins {
            remove_parts(&out.path)?;
        }
        Ok(Claimed::Begun(out))
    }

    fn choose(&self) -> Result<Choice, ExportError> {
        for number in 1_u32.. {
            let folder = numbered(self.folder, number);
            if folder.exists() && !folder.is_dir() {
                if self.numbered {
                    continue;
                }
                return Err(ExportError::NotAFolder { path: folder });
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
                State::Foreign(path) => ExportError::Foreign { path },
                State::Ours(index) => match self.earlier {
                    Earlier::Overwrite => match self.input_among(&folder, &index) {
                        Some(path) => ExportError::Input { path },
                        None => return Ok(Choice::Begin { folder, replaced: Some(index) }),
                    },
                    Earlier::Resume if index.recipe != self.recipe => ExportError::OtherRecipe { path: folder },
                    Earlier::Resume if index.finished => {
                        match index.files.keys().find(|name| !index.lists(&folder, name)) {
                            Some(name) => ExportError::Incomplete { path: folder.join(name) },
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
    _lock: File,
}

impl OutFolder {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers what computes the results; says no when another one did so before.
    ///
    /// # Errors
    /// [`ExportError::OtherRecipe`], or when the index cannot be written.
    pub fn set_provenance(&mut self, provenance: &Provenance) -> Result<(), ExportError> {
        match &self.index.provenance {
            Some(known) if is_the_same(known, provenance) => Ok(()),
            Some(_) => Err(ExportError::OtherRecipe { path: self.path.clone() }),
            None => {
                self.index.provenance = Some(provenance.clone());
                self.index.write(&self.path)
            }
        }
    }

    /// What computed the results so far.
    #[must_use]
    pub const fn provenance(&self) -> Option<&Provenance> {
        self.index.provenance.as_ref()
    }

    /// Writes results: only `names` are written, and what an earlier command had written and this one does not is removed.
    /// When that was all, what was kept to go on with is removed as well.
    ///
    /// # Errors
    /// [`ExportError`] of what fails first; what was written before stays.
    pub fn publish(
        &mut self,
        names: Vec<String>,
        finished: bool,
        write: impl FnOnce(&Path) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let earlier: Vec<String> =
            self.index.files.keys().filter(|name| !names.contains(name)).map(String::clone).collect();
        // Also a file that is being written when the program is killed is known as ours.
        self.index.files.extend(names.iter().map(|name| (name.clone(), None)));
        self.index.write(&self.path)?;
        self.written = true;
        write(&self.path)?;
        for name in earlier {
            let path = self.path.join(&name);
            if path.exists() && self.index.lists(&self.path, &name) {
                std::fs::remove_file(&path).map_err(|source| ExportError::Folder { path, source })?;
            }
        }
        let length = |name: String| {
            let length = self.path.join(&name).metadata().ok().map(|file| file.len());
            length.map(|length| (name, Some(length)))
        };
        self.index.files = names.into_iter().filter_map(length).collect();
        self.index.finished = finished;
        if finished {
            self.index.provenance = None;
        }
        self.index.write(&self.path)?;
        if finished { remove_parts(&self.path) } else { Ok(()) }
    }

    /// Nothing came of the work: everything is as before.
    fn undo(&self) -> std::io::Result<()> {
        match &self.replaced {
            Some(index) => return index.write(&self.path).map_err(std::io::Error::other),
            None => std::fs::remove_file(self.path.join(INDEX))?,
        }
        let Some(made) = &self.made else { return Ok(()) };
        for folder in self.path.ancestors() {
            // Not when somebody put something there meanwhile.
            std::fs::remove_dir(folder)?;
            if folder == made {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        sweep(&self.path);
        let _may_be_gone = std::fs::remove_file(self.path.join(LOCK));
        let parts = self.path.join(PARTS);
        let _may_not_be_empty = std::fs::remove_dir(&parts);
        if self.written || parts.exists() {
            return;
        }
        if let Err(error) = self.undo() {
            tracing::debug!(%error, "something of the folder stays");
        }
    }
}

/// Whether the same is computed by both: the same program with the same models on the same GPU, or on some CPU.
fn is_the_same(one: &Provenance, other: &Provenance) -> bool {
    let models =
        |of: &Provenance| [&of.generator, &of.classifier].map(|info| info.as_ref().map(|info| info.sha256.clone()));
    let device =
        |of: &Provenance| of.device.as_ref().map(|device| if device.cpu { None } else { Some(device.name.clone()) });
    (&one.lapidary, &one.burn, models(one), device(one)) == (&other.lapidary, &other.burn, models(other), device(other))
}

/// Leaves a folder that is ours because the program ends at once: what is finished stays, and nothing that says nothing.
pub fn abandon(folder: &Path) {
    sweep(folder);
    let _may_be_gone = std::fs::remove_file(folder.join(LOCK));
    let _may_not_be_empty = std::fs::remove_dir(folder.join(PARTS));
    let is_bare = |index: Index| index.files.is_empty() && !index.finished && !folder.join(PARTS).exists();
    if Index::read(folder).is_some_and(is_bare) {
        let _may_be_gone = std::fs::remove_file(folder.join(INDEX));
        let _may_not_be_empty = std::fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests;
