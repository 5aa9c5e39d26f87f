//! What crashes left behind: journals whose owner is gone. Their pictures are not read, only counted.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::entry::{Fact, Pictures};
use super::journal::{JOURNAL, LOCK};
use super::raw::{Head, MAGIC, Worth};
use super::v2;
use crate::trace::StateId;

/// A folder without a journal is a new one, unless it is older than this.
const NEW: Duration = Duration::from_secs(60);

/// A journal whose owner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its folder.
    pub folder: PathBuf,
    /// States in it that no file holds.
    pub states: usize,
    /// The session file that holds those before.
    pub file: Option<PathBuf>,
    /// Whether it holds a painted mask that no file holds.
    pub is_painted: bool,
    /// Runs in it.
    pub runs: usize,
    /// Pictures that it is about.
    pub pictures: usize,
    /// What these are: the file of the first, or what made them; empty where that is not known.
    pub what: String,
    /// Seconds since it was last written.
    pub age_secs: u64,
}

/// Folders below `root` but for `own`.
pub(super) fn folders(root: &Path, own: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path != own && path.is_dir()).collect()
}

/// The journal in a folder, when nobody holds it any more and something in it was computed; one that is worth nothing is
/// removed.
pub(super) fn find(folder: &Path) -> Option<Orphan> {
    // Held until the end, so that nobody opens what is removed here.
    let lock = File::open(folder.join(LOCK));
    if lock.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) {
        return None;
    }
    let path = folder.join(JOURNAL);
    let modified = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok()?.elapsed().ok();
    let Ok(file) = File::open(&path) else {
        if modified(folder).is_some_and(|age| age > NEW) {
            remove(folder);
        }
        return None;
    };
    let age_secs = modified(&path).map_or(0, |age| age.as_secs());
    let mut orphan = Orphan {
        folder: folder.to_owned(),
        states: 0,
        file: None,
        is_painted: false,
        runs: 0,
        pictures: 0,
        what: String::new(),
        age_secs,
    };
    if !count(file, &mut orphan)? {
        remove(folder);
        return None;
    }
    Some(orphan)
}

/// Counts what is in a journal; whether there is more than what generating again would give, and `None` when it is no journal.
fn count(file: File, orphan: &mut Orphan) -> Option<bool> {
    let end = file.metadata().ok()?.len();
    let mut input = BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).ok()?;
    // A start that was valued anew is written twice, and what was deleted is not there any more.
    let (mut states, mut is_edited) = (BTreeSet::<StateId>::new(), false);
    loop {
        let worth = match &magic {
            MAGIC => glance(&mut input, end),
            v2::MAGIC => v2::glance(&mut input, end),
            _ => return None,
        };
        let Some(worth) = worth else {
            orphan.states = states.len();
            let has_iterated = states.iter().any(|state| state.iteration > 0);
            return Some(has_iterated || is_edited || orphan.is_painted);
        };
        states.extend(worth.state);
        orphan.runs += usize::from(worth.begins_run);
        if let Some(gone) = worth.ends_run {
            states.retain(|state| state.run != gone);
            orphan.runs = orphan.runs.saturating_sub(1);
        }
        if let Some((pictures, what)) = worth.origins {
            (orphan.pictures, orphan.what) = (pictures, what);
        }
        let saved = worth.saved.filter(|(path, bytes)| is_as_written(Path::new(path), *bytes));
        if let Some((path, _)) = saved {
            (orphan.file, orphan.is_painted, is_edited) = (Some(path.into()), false, false);
            states.clear();
        }
        orphan.is_painted = worth.is_painted.unwrap_or(orphan.is_painted);
        is_edited |= worth.is_edited;
    }
}

/// Whether a session file has the length that it was saved with: where it has not, it may hold anything.
pub(super) fn is_as_written(file: &Path, bytes: u64) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() == bytes)
}

fn glance(input: &mut BufReader<File>, end: u64) -> Option<Worth> {
    let head = Head::read(input)?;
    let (raw, block) = head.parts();
    input.stream_position().ok()?.checked_add(block).filter(|next| *next <= end)?;
    let state = raw.state_facts().filter(|state| state.pictures != Pictures::LeftOut);
    let fact = raw.fact().and_then(Result::ok);
    let origins = raw.origin_facts();
    let worth = Worth {
        state: state.map(|state| state.id()),
        is_edited: origins.as_ref().is_some_and(|facts| facts.edit.is_some()),
        is_painted: if let Some(Fact::Mask(mask)) = &fact { Some(mask.is_some()) } else { None },
        begins_run: matches!(fact, Some(Fact::Run { .. })),
        ends_run: if let Some(Fact::Deleted { run }) = &fact { Some(*run) } else { None },
        saved: fact.and_then(|fact| if let Fact::Saved { path, bytes } = fact { Some((path, bytes)) } else { None }),
        origins: origins.map(|facts| (facts.labels.len(), facts.what())),
    };
    input.seek_relative(i64::try_from(block).ok()?).ok()?;
    Some(worth)
}

/// Removes what a journal's owner left in a folder that its journal was taken from, and no more: should the folder hold
/// anything else, it stays.
pub(super) fn remove_taken(folder: &Path) {
    let gone = [JOURNAL, LOCK].map(|name| std::fs::remove_file(folder.join(name)));
    let gone = gone.into_iter().filter(|gone| gone.as_ref().is_err_and(|error| error.kind() != ErrorKind::NotFound));
    for error in gone.chain([std::fs::remove_dir(folder)]).filter_map(Result::err) {
        tracing::warn!(%error, ?folder, "what was recovered could not be removed");
    }
}

pub(super) fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(%error, ?folder, "an autosave could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Disk, DiskEvent, DiskJob, Entry};
    use super::*;
    use crate::generator::Mask;
    use crate::image::ImageBatch;
    use crate::origins::Origins;
    use crate::refiner::{Numbers, RefineSettings, SampleState, State};
    use crate::trace::RunId;

    /// A disk with a journal of so many states in `root/name`, beside those of a run that was deleted.
    fn disk(root: &Path, name: &str, states: u32) -> Disk {
        let (_stops, stops) = crossbeam::channel::bounded(1);
        let mut disk = Disk::new(root, &root.join(name), stops, &mut |event| panic!("{event:?}"));
        let images = ImageBatch::new([1, 1, 1, 2], vec![0.25, 0.5]);
        let origins = Origins::opened(images, vec![0], vec!["street.png".to_owned()]);
        let numbers = Numbers { state: vec![SampleState::Active], objective: vec![0.5], ..Default::default() };
        let state = |run: u64, iteration: u32| {
            let images = ImageBatch::new([1, 1, 1, 2], vec![0.25, iteration as f32]);
            Entry::State(RunId(run), Arc::new(State { iteration, images, numbers: numbers.clone() }))
        };
        let run = |id| Fact::Run { id: RunId(id), parent: None, settings: RefineSettings::default() };
        // The second run has more states than the first, and is deleted with them; the start of the first is valued anew.
        let gone = (0..2 * states).map(|iteration| state(2, iteration));
        let entries = [Entry::Origins(Arc::new(origins)), Entry::Fact(run(1)), Entry::Fact(run(2))].into_iter();
        let entries = entries.chain(gone).chain([Entry::Fact(Fact::Deleted { run: RunId(2) }), state(1, 0)]);
        for entry in entries.chain((0..states).map(|iteration| state(1, iteration))) {
            disk.handle(DiskJob::Append { epoch: 0, entry }, &mut |_| ());
        }
        disk
    }

    #[test]
    fn what_was_computed_is_found_without_what_was_deleted_and_what_was_only_generated_is_removed() {
        let root = tempfile::tempdir().unwrap();
        drop((disk(root.path(), "computed", 3), disk(root.path(), "generated", 1)));
        let held = disk(root.path(), "held", 2);
        std::fs::create_dir(root.path().join("new")).unwrap();
        std::fs::write(root.path().join("a file"), "of somebody").unwrap();
        let mut own = disk(root.path(), "own", 2);
        let mut found = Vec::new();
        while own.has_leisure_work() {
            own.use_leisure(&mut |event| match event {
                DiskEvent::Orphans(orphans) => found = orphans,
                other => panic!("{other:?}"),
            });
        }
        let [Orphan { folder, states: 3, runs: 1, pictures: 1, what, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!((folder, what.as_str()), (&root.path().join("computed"), "street.png"));
        let is_there = |name: &str| root.path().join(name).exists();
        assert!(!is_there("generated") && is_there("held") && is_there("new") && is_there("a file"));
        drop(held);
    }

    #[test]
    fn what_was_painted_is_found_until_it_is_painted_no_more() {
        let root = tempfile::tempdir().unwrap();
        for (name, facts) in [("painted", &[true][..]), ("cleared", &[true, false])] {
            let mut disk = disk(root.path(), name, 1);
            for is_painted in facts {
                let mask = is_painted.then(|| Mask::filled(2, 2, true));
                disk.handle(DiskJob::Append { epoch: 0, entry: Entry::Fact(Fact::Mask(mask)) }, &mut |_| ());
                // A stroke that goes on is written when a moment has passed.
                disk.settle(&mut |event| panic!("{event:?}"));
            }
        }
        let found = find(&root.path().join("painted"));
        assert!(found.is_some_and(|orphan| orphan.is_painted && orphan.states == 1));
        assert_eq!(find(&root.path().join("cleared")), None);
    }

    #[test]
    fn counting_reads_no_pictures() {
        let root = tempfile::tempdir().unwrap();
        drop(disk(root.path(), "computed", 3));
        let path = root.path().join("computed").join(JOURNAL);
        // Every block is damaged; opening it would find nothing, counting finds all.
        let mut bytes = std::fs::read(&path).unwrap();
        let mut place = MAGIC.len();
        while place < bytes.len() {
            let length = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let (header, block) = (length(place + 4), length(place + 8));
            let start = place + 24 + header;
            bytes[start..start + block].fill(0xff);
            place = start + block;
        }
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(find(&root.path().join("computed")).map(|orphan| orphan.states), Some(3));
    }
}
