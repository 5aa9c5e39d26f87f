//! Folders of results of ours that are given as pictures: whoever gives one means what was made, and not the sheet, the pairs and
//! the pictures before that lie beside it.
//!
//! What we wrote there is what the index says. Where it was not copied along, an archive of ours or the sheet beside a recipe
//! says so, and names tell. Without either, pictures are pictures, whatever they are called.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::picture::is_picture;
use crate::file::sha256_of;

/// The index of such a folder, and the value of its `format`.
pub const RESULTS_INDEX: &str = ".lapidary.json";
/// See [`RESULTS_INDEX`].
pub const RESULTS_FORMAT: &str = "lapidary-results";
/// Archives of what was made, the first that is there: pictures, and refined pictures that were held at once.
const ARCHIVES: [&str; 2] = ["samples.npz", "result.npz"];
/// The sheet of them.
const SHEET: &str = "contact_sheet.png";
/// Folders of the same pictures one by one, and what lies beside them.
const MADE: [&str; 2] = ["images", "after"];
/// How deep pictures of others are looked for.
const DEPTH: usize = 4;
const BESIDE: [&str; 4] = [SHEET, "before", PARTS, "unfinished"];
/// Where the batches of unfinished results lie, and the file of the one that is being refined.
pub const PARTS: &str = "parts";
/// See [`PARTS`].
pub const UNDER_WAY: &str = "under-way.npz";
/// Files that are named in a warning.
const NAMED: usize = 3;

/// What an index says of each file that was written: its SHA-256, one of an earlier time its length, or nothing; twice where
/// another one was about to be moved there.
type Written = BTreeMap<String, Vec<Value>>;

/// What lies in a folder of results of ours that is given as pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Results {
    /// Nothing else lies there, so what was made is meant; else the pictures of the user's that lie among it are.
    is_alone: bool,
    /// `None` where names tell what was written.
    written: Option<Written>,
}

impl Results {
    /// `None` where nothing says that there are any.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let known = Self::known(folder)?;
        let is_other = |entry: std::fs::DirEntry| {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let holds = || if path.is_dir() { holds_pictures(&path, DEPTH) } else { is_picture_file(&path) };
            !name.starts_with('.') && !known.wrote(&name) && holds()
        };
        let is_alone = !std::fs::read_dir(folder).ok()?.flatten().any(is_other);
        Some(Self { is_alone, ..known })
    }

    /// Likewise, but for what lies among them.
    fn known(folder: &Path) -> Option<Self> {
        let written = written_in(folder);
        let is_said = || folder.join(RESULTS_INDEX).is_file() || super::is_session(&folder.join("session.json"));
        // What is seen of them may have been copied alone.
        let is_seen = || archive_in(folder).is_some() || folder.join(SHEET).is_file();
        let is_ours = written.is_some() || is_seen() && is_said();
        is_ours.then_some(Self { is_alone: false, written })
    }

    /// Whether nothing but results lies there.
    pub(super) const fn are_alone(&self) -> bool {
        self.is_alone
    }

    /// Whether we wrote a file of this name, or one into a folder of this name.
    fn wrote(&self, name: &str) -> bool {
        match &self.written {
            Some(written) => written.keys().any(|file| file.split('/').next() == Some(name)),
            None => is_written(name),
        }
    }

    /// Whether a file or folder in it is left aside, by the way to it from there.
    pub(super) fn leaves(&self, way: &Path) -> bool {
        let names: Vec<_> = way.iter().map(|name| name.to_string_lossy()).collect();
        let Some(first) = names.first() else { return false };
        match &self.written {
            _ if self.is_alone => !MADE.contains(&first.as_ref()),
            Some(written) => written.contains_key(&names.join("/")),
            None => is_written(first),
        }
    }
}

/// What the index of a folder says; `None` without one that can be read.
fn written_in(folder: &Path) -> Option<Written> {
    let path = Some(folder.join(RESULTS_INDEX)).filter(|path| path.is_file())?;
    let index: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    if index["format"] != RESULTS_FORMAT {
        return None;
    }
    // What was about to be moved there is there as well.
    let files = [&index["next"]["files"], &index["files"]].into_iter().filter_map(Value::as_object);
    let mut written = Written::new();
    for (name, held) in files.flatten() {
        written.entry(name.clone()).or_default().push(held.clone());
    }
    Some(written)
}

/// Whether a file is none of those that an index says were written there; one that cannot be read is told of by whoever reads it.
fn is_changed(path: &Path, written: &[Value]) -> bool {
    let may_be = |held: &Value| match held {
        Value::String(hash) => sha256_of(path).map_or(true, |found| found == *hash),
        Value::Number(length) => path.metadata().map_or(true, |meta| Some(meta.len()) == length.as_u64()),
        _ => true,
    };
    !written.iter().any(may_be)
}

/// By content; what would be waited for is none.
fn is_picture_file(path: &Path) -> bool {
    path.is_file() && is_picture(path)
}

/// Whether pictures of others lie in a folder, or so deep below it; what Lapidary wrote there is none.
fn holds_pictures(folder: &Path, depth: usize) -> bool {
    if Results::known(folder).is_some() {
        return false;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .into_iter()
        .any(|path| if path.is_dir() { depth > 0 && holds_pictures(&path, depth - 1) } else { is_picture_file(&path) })
}

/// Whether we write something of this name that holds pictures.
fn is_written(name: &str) -> bool {
    let is_pair = name.strip_prefix("pair_").and_then(|rest| rest.strip_suffix(".png")).is_some();
    is_pair || MADE.contains(&name) || BESIDE.contains(&name)
}

fn archive_in(folder: &Path) -> Option<&'static str> {
    ARCHIVES.into_iter().find(|name| folder.join(name).is_file())
}

/// The archive of what was made, with floats and classes, and a line about what is left aside for it.
pub(super) fn archive_of(folder: &Path) -> Option<(PathBuf, String)> {
    let name = archive_in(folder)?;
    let note = || {
        format!(
            "note: {} holds results of Lapidary, so the pictures of its {name} are taken, and what else lies there is not",
            folder.display()
        )
    };
    Results::of(folder)?.is_alone.then(|| (folder.join(name), note()))
}

/// A warning where the archive that is taken was changed since it was written: then it is not what was made there.
pub(super) fn changed(archive: &Path) -> Option<String> {
    let (folder, name) = (archive.parent()?, super::file_name(archive));
    let written = written_in(folder)?.remove(&name)?;
    is_changed(archive, &written).then(|| {
        format!(
            "warning: {name} in {} was changed since Lapidary wrote it, and the pictures that it holds now are taken",
            folder.display()
        )
    })
}

/// A warning where pictures that an archive is taken instead of were changed since they were written: whoever retouched one may
/// mean that.
pub(super) fn changed_beside(archive: &Path) -> Option<String> {
    let folder = archive.parent()?;
    let is_retouched = |(name, written): &(String, Vec<Value>)| {
        let Some((below, file)) = name.split_once('/') else { return false };
        // Whatever an index says, nothing is looked into elsewhere.
        let is_name = Path::new(file).components().eq([Component::Normal(file.as_ref())]);
        let path = folder.join(name);
        MADE.contains(&below) && is_name && path.is_file() && is_changed(&path, written)
    };
    let changed: Vec<String> = written_in(folder)?.into_iter().filter(is_retouched).map(|(name, _)| name).collect();
    let named = changed.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let (more, were, them, files) = match changed.len() {
        0 => return None,
        1 => (String::new(), "was", "it", "the file itself"),
        n if n <= NAMED => (String::new(), "were", "them", "the files themselves"),
        n => (format!(" and {} more", n - NAMED), "were", "them", "the files themselves"),
    };
    Some(format!(
        "warning: {named}{more} in {} {were} changed since Lapidary wrote {them}, but the pictures of {} are taken: give {files} to use {them}",
        folder.display(),
        super::file_name(archive)
    ))
}

/// An archive in a folder without pictures, or that of unfinished results: the batch that is being refined, or the first one.
pub(super) fn archive_instead(folder: &Path) -> Option<PathBuf> {
    let archives = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_archive = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|kind| kind == "npz");
        let mut paths: Vec<PathBuf> = entries.into_iter().filter(is_archive).collect();
        paths.sort();
        paths
    };
    let parts = folder.join(PARTS);
    let under_way = Some(parts.join(UNDER_WAY)).filter(|path| path.is_file());
    archives(folder).into_iter().chain(under_way).chain(archives(&parts)).next()
}
