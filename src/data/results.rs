//! Folders of results of ours that are given as pictures: whoever gives one means what was made, and not the sheet, the pairs and
//! the pictures before that lie beside it.

use std::path::{Path, PathBuf};

use super::picture::is_picture;

/// The index of such a folder.
pub const RESULTS_INDEX: &str = ".lapidary.json";
/// Archives of what was made, the first that is there: pictures, and refined pictures that were held at once.
const ARCHIVES: [&str; 2] = ["samples.npz", "result.npz"];
/// Folders of the same pictures one by one, and what lies beside them.
const MADE: [&str; 2] = ["images", "after"];
/// How deep pictures of others are looked for.
const DEPTH: usize = 4;
const BESIDE: [&str; 4] = ["contact_sheet.png", "before", "parts", "unfinished"];

/// What lies in a folder of results of ours that is given as pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Results {
    /// Nothing else: what was made is meant.
    Alone,
    /// Pictures of the user's too, which are meant.
    AmongOthers,
}

impl Results {
    /// `None` without any. They are known by their index, or by their recipe where only what is seen was copied.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        if !Self::of_ours(folder) {
            return None;
        }
        let entries = std::fs::read_dir(folder).ok()?.flatten();
        let is_other = |entry: std::fs::DirEntry| {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let holds = || if path.is_dir() { holds_pictures(&path, DEPTH) } else { is_picture(&path) };
            !name.starts_with('.') && !is_written(&name) && holds()
        };
        Some(if entries.into_iter().any(is_other) { Self::AmongOthers } else { Self::Alone })
    }

    fn of_ours(folder: &Path) -> bool {
        folder.join(RESULTS_INDEX).is_file() || super::is_session(&folder.join("session.json"))
    }

    /// Whether a file or folder in it is left aside.
    pub(super) fn leaves(self, name: &str) -> bool {
        match self {
            Self::Alone => !MADE.contains(&name),
            Self::AmongOthers => is_written(name),
        }
    }
}

/// Whether pictures of others lie in a folder, or so deep below it; what Lapidary wrote there is none.
fn holds_pictures(folder: &Path, depth: usize) -> bool {
    if Results::of_ours(folder) {
        return false;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .into_iter()
        .any(|path| if path.is_dir() { depth > 0 && holds_pictures(&path, depth - 1) } else { is_picture(&path) })
}

/// Whether we write something of this name that holds pictures.
fn is_written(name: &str) -> bool {
    let is_pair = name.strip_prefix("pair_").and_then(|rest| rest.strip_suffix(".png")).is_some();
    is_pair || MADE.contains(&name) || BESIDE.contains(&name)
}

/// The archive of what was made, with floats and classes, and a line about what is left aside for it.
pub(super) fn archive_of(folder: &Path) -> Option<(PathBuf, String)> {
    let name = ARCHIVES.into_iter().find(|name| folder.join(name).is_file())?;
    let note = || {
        format!(
            "note: {} holds results of Lapidary, so the pictures of its {name} are taken, and what else lies there is not",
            folder.display()
        )
    };
    (Results::of(folder) == Some(Results::Alone)).then(|| (folder.join(name), note()))
}
