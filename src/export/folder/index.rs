//! The index of a folder: what Lapidary wrote there, file by file, and how new results take the place of earlier ones.
//!
//! New results are written beside the earlier ones, into [`NEW`], and hashed there: an archive cannot be hashed while it is written,
//! for its headers are written again at its end. Then the index says what is about to be moved, and only then it is moved. Whatever
//! ends the program, the earlier results are whole or the new ones are, and who comes next can end the moving.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::share::Share;
use super::super::{ExportError, durably, is_result};
use super::lying::remove_new;
use super::{BELOW, Claim, Extent, INDEX, NEW};
use crate::data::RESULTS_FORMAT as FORMAT;
use crate::file::sha256_of;
use crate::session::Provenance;
use crate::worker::ModelInfo;

/// What a file held when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Held {
    /// SHA-256.
    Hash(String),
    /// Its length, where the index is of a time before hashes: then it must be older than the index as well.
    Length(u64),
    /// Likewise, of a file that was being written: nothing is known.
    Unknown,
}

/// The index of a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    format: String,
    /// What the work is, or was: see [`super::Claim::recipe`].
    pub(super) recipe: String,
    /// Which share of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<Share>,
    pub(super) finished: bool,
    /// The results that are there are of an earlier command, and stay until the new ones are whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) earlier: bool,
    /// What computes it, while it is unfinished or a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) provenance: Option<Provenance>,
    /// How much the results hold, where they are not all.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) done: u64,
    /// The place behind the last batch that was finished, so that one that is lost is told of.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) reached: u64,
    /// Results that are there.
    pub(super) files: BTreeMap<String, Held>,
    /// The index of what is being moved here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Box<Self>>,
}

impl Index {
    /// Of work that begins, where an earlier index says what is there.
    pub(super) fn new(recipe: &str, share: Option<&Share>, replaced: Option<&Self>) -> Self {
        let files = replaced.map_or_else(BTreeMap::new, |index| index.files.clone());
        let (format, recipe, earlier) = (FORMAT.to_owned(), recipe.to_owned(), !files.is_empty());
        let share = share.cloned();
        Self {
            format,
            recipe,
            share,
            finished: false,
            earlier,
            provenance: None,
            done: 0,
            reached: 0,
            files,
            next: None,
        }
    }

    /// Whether the work is what is claimed for.
    pub(super) fn is_of(&self, claim: &Claim<'_>) -> bool {
        let shard = |share: &Share| share.shard;
        self.recipe == claim.recipe && self.share.as_ref().map(shard) == claim.share.map(shard)
    }

    /// Whether batches stay when the work is finished, for they wait to be put together with others.
    pub(super) fn keeps_parts(&self) -> bool {
        self.share.as_ref().is_some_and(|share| share.ended.is_some())
    }

    /// The index of a folder; `None` without one that can be read.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(INDEX)).ok()?;
        serde_json::from_str(&text).ok().filter(|index: &Self| index.format == FORMAT)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), ExportError> {
        let text = serde_json::to_string_pretty(self).expect("plain values") + "\n";
        durably(&folder.join(INDEX), |out| out.write_all(text.as_bytes()))
    }

    /// A name that it lists, now or of what is being moved, and that no command writes: it is no index of ours, and what it calls
    /// ours may be anything, also outside of the folder.
    pub(super) fn strange(&self) -> Option<&str> {
        let is_strange = |name: &&String| !is_result(name.strip_prefix(BELOW).unwrap_or(name));
        let next = || self.next.as_deref().and_then(Self::strange);
        self.files.keys().find(is_strange).map(String::as_str).or_else(next)
    }

    /// Whether nothing had come of the work.
    pub(super) fn is_bare(&self) -> bool {
        self.files.is_empty() && !self.finished && self.next.is_none()
    }

    /// How work of another recipe, or another share of the same, was made, as far as the index tells.
    pub(super) fn other_recipe(&self, recipe: &str) -> String {
        if self.recipe == recipe {
            return self
                .share
                .as_ref()
                .map_or_else(|| "without --shard".to_owned(), |share| format!("with --shard {}", share.shard));
        }
        let version = self.provenance.as_ref().map_or("", |provenance| &provenance.lapidary);
        if ["", env!("CARGO_PKG_VERSION")].contains(&version) {
            "by another command, or with other settings or inputs".to_owned()
        } else {
            format!("by Lapidary {version}, and this is {}", env!("CARGO_PKG_VERSION"))
        }
    }

    /// What is known of a file: as it is, and as it will be when something is moved.
    fn known(&self, name: &str) -> impl Iterator<Item = &Held> {
        [Some(self), self.next.as_deref()].into_iter().flatten().filter_map(|index| index.files.get(name))
    }

    /// Whether a file was written by us, whatever it holds now.
    pub(super) fn lists(&self, name: &str) -> bool {
        self.known(name).next().is_some()
    }

    /// Whether a file of the folder is as it was written.
    pub(super) fn is_ours(&self, folder: &Path, name: &str) -> bool {
        let path = folder.join(name);
        // What lies behind a link is somebody else's.
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        if !self.lists(name) || path.ancestors().take_while(|place| *place != folder).any(is_link) {
            return false;
        }
        let age = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
        let is_older = || age(&path).zip(age(&folder.join(INDEX))).is_some_and(|(file, index)| file <= index);
        let mut hash = None;
        self.known(name).any(|held| match held {
            Held::Hash(known) => hash.get_or_insert_with(|| sha256_of(&path).unwrap_or_default()) == known,
            Held::Length(known) => path.metadata().is_ok_and(|meta| meta.len() == *known) && is_older(),
            Held::Unknown => false,
        })
    }

    /// Says that what lies in [`NEW`] under these names is to be moved here; what is of an earlier command stays beside it until
    /// the work is finished.
    pub(super) fn begin_moving(
        &mut self,
        folder: &Path,
        names: Vec<String>,
        extent: Extent,
    ) -> Result<(), ExportError> {
        let (finished, done) = match extent {
            Extent::Whole => (true, 0),
            Extent::Part(done) => (false, done),
        };
        let stays = self.earlier && !finished;
        let mut files = if stays { self.files.clone() } else { BTreeMap::new() };
        let mut made = Ok(());
        for name in names {
            let path = folder.join(NEW).join(&name);
            if path.exists() {
                let hash = sha256_of(&path).map_err(|source| ExportError::Folder { path, source })?;
                made = made.and_then(|()| make_place(folder, &name));
                files.insert(name, Held::Hash(hash));
            }
        }
        let provenance = self.provenance.clone().filter(|_| !finished || self.share.is_some());
        let reached = if finished && self.share.is_none() { 0 } else { self.reached };
        let next = Self { finished, earlier: stays, provenance, done, reached, files, next: None, ..self.clone() };
        self.next = Some(Box::new(next));
        // Nothing is moved unless the index on the disk says so.
        made.and_then(|()| self.write(folder)).inspect_err(|_| {
            let next = self.next.take();
            next.iter().flat_map(|next| next.files.keys()).for_each(|name| remove_empty(folder, name));
        })
    }

    /// Moves what is to be moved, and removes what it takes the place of.
    ///
    /// Files that somebody wrote into meanwhile get another name; it says which.
    ///
    /// # Errors
    /// [`ExportError::Folder`]; what was not moved lies where it lay.
    pub(super) fn end_moving(&mut self, folder: &Path) -> Result<Vec<String>, ExportError> {
        let mut aside = Vec::new();
        let Some(next) = self.next.clone() else { return Ok(aside) };
        let fail = |path: &Path| {
            let path = path.to_owned();
            |source| ExportError::Folder { path, source }
        };
        for name in next.files.keys() {
            let (from, to) = (folder.join(NEW).join(name), folder.join(name));
            if !from.exists() {
                continue;
            }
            if to.symlink_metadata().is_ok() && !self.is_ours(folder, name) {
                aside.push(set_aside(&to).map_err(fail(&to))?);
            }
            make_place(folder, name)?;
            std::fs::rename(&from, &to).map_err(fail(&to))?;
        }
        for name in self.files.keys().filter(|name| !next.files.contains_key(*name)) {
            let path = folder.join(name);
            if self.is_ours(folder, name) {
                std::fs::remove_file(&path).map_err(fail(&path))?;
            }
            remove_empty(folder, name);
        }
        // First, for the index needs room as well. Until it is written, it is known that everything is moved.
        remove_new(folder);
        next.write(folder)?;
        *self = *next;
        Ok(aside)
    }
}

/// Makes the folder that a file of the results lies in.
fn make_place(folder: &Path, name: &str) -> Result<(), ExportError> {
    let path = folder.join(name);
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.map_err(|source| ExportError::Folder { path, source })
}

/// Removes the folders that a file of the results lay in and that are empty.
fn remove_empty(folder: &Path, name: &str) {
    for below in folder.join(name).ancestors().skip(1).take_while(|below| *below != folder) {
        let _others_stay = std::fs::remove_dir(below);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_none(done: &u64) -> bool {
    *done == 0
}

/// Gives a file another name, for somebody wrote into it while the work went on, and says so.
fn set_aside(path: &Path) -> std::io::Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = |number: u32| -> PathBuf { path.with_file_name(format!("{name}.yours-{number}")) };
    let free = (1..).map(named).find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| named(0));
    std::fs::rename(path, &free)?;
    Ok(format!(
        "warning: {} was changed while the results were computed, so it is kept as {}",
        path.display(),
        free.file_name().unwrap_or_default().display()
    ))
}

/// How something was made whose rest would not be the same: by another version, with another model, on another GPU or on the CPU.
/// `None` where it is the same, as it is on any CPU.
pub(super) fn difference(then: &Provenance, now: &Provenance) -> Option<String> {
    let version = |of: &Provenance| (of.lapidary.clone(), of.burn.clone());
    if version(then) != version(now) {
        return Some(format!(
            "by Lapidary {} with burn {}, and this is Lapidary {} with burn {}",
            then.lapidary, then.burn, now.lapidary, now.burn
        ));
    }
    for (what, then, now) in
        [("generator", &then.generator, &now.generator), ("classifier", &then.classifier, &now.classifier)]
    {
        let hash = |info: &Option<ModelInfo>| info.as_ref().map(|info| info.sha256.clone());
        let name = |info: &Option<ModelInfo>| info.as_ref().map_or("none", |info| &info.reference).to_owned();
        if hash(then) != hash(now) {
            let (then, now) = (name(then), name(now));
            let file = if then == now { ", whose file is another one now".to_owned() } else { format!(", not {now}") };
            return Some(format!("with the {what} {then}{file}"));
        }
    }
    let device = |of: &Provenance| match &of.device {
        None => "no device".to_owned(),
        Some(device) if device.cpu => "the CPU".to_owned(),
        Some(device) => device.name.clone(),
    };
    let (then, now) = (device(then), device(now));
    (then != now).then(|| format!("on {then}, not on {now}"))
}
