//! What came of the refinements in a session file: the pictures at the end of every run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::archive::{Contents, Entries, Halt, with_packed_journal};
use super::journal::folder_of;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{self, Keep};
use crate::session::document::absolute;
use crate::session::error::StorageError;
use crate::trace::{Run, StateId};

/// The pictures that a session is about, and what came of them.
#[derive(Debug)]
pub struct Ends {
    /// Those before.
    pub origins: Arc<Origins>,
    /// Those after, for every run that has iterations, in the order of the runs.
    pub runs: Vec<End>,
}

/// What came of a run.
#[derive(Debug)]
pub struct End {
    /// The run, without its pictures.
    pub run: Run,
    /// Every picture's best iterate or its last one, as the run's settings say.
    pub images: ImageBatch,
    /// Whether the best were wanted, but not all of them were kept, so that the last are here.
    pub lacks_best: bool,
}

/// The states that the end of a run is made of.
struct Wanted {
    last: StateId,
    best: BTreeSet<StateId>,
}

impl Contents {
    /// `None` for a run without iterations.
    fn wanted(&self, run: &Run) -> Option<Wanted> {
        let path = self.trace.path(run.id);
        let last = *path.last().filter(|last| last.run == run.id && last.iteration > run.first_iteration())?;
        let keeps_best = run.settings_at(last.iteration).keep == Keep::Best;
        let best = if keeps_best {
            self.trace.best_of_all(&path[self.trace.comparable(&path, path.len())])
        } else {
            Vec::new()
        };
        Some(Wanted { last, best: best.into_iter().collect() })
    }

    /// Whether the best are wanted and were all kept.
    fn has_best(&self, wanted: &Wanted) -> bool {
        !wanted.best.is_empty() && wanted.best.iter().all(|id| self.index.contains_key(id))
    }
}

/// Reads what came of the refinements in a session file; `None` where it holds no pictures.
///
/// # Errors
/// [`StorageError`] when it is no session file or cannot be read.
pub fn stored_ends(path: &Path) -> Result<Option<Ends>, StorageError> {
    let mut contents = Contents::default();
    read(path, &mut |entries| {
        while let Some(raw) = entries.next() {
            // Paths in the file are relative to it.
            contents.take(&raw.with_models(&|model| absolute(model, folder_of(path))), 0);
        }
    })?;
    let Some((origins, _)) = contents.origins.clone() else { return Ok(None) };
    let runs: Vec<(Run, Wanted)> =
        contents.trace.runs().filter_map(|run| Some((run.clone(), contents.wanted(run)?))).collect();
    // The pictures are read by going through the file once more: nothing but what is wanted is held.
    let mut best: BTreeMap<usize, refiner::Best> = BTreeMap::new();
    let mut last: BTreeMap<usize, ImageBatch> = BTreeMap::new();
    read(path, &mut |entries| {
        while let Some(raw) = entries.next() {
            if raw.origin_facts().is_some() {
                // What came before is of other pictures.
                best.clear();
                last.clear();
            }
            let Some((id, state)) = raw.state_facts().and_then(|_| raw.state(Some(&origins))) else { continue };
            // What contradicts itself was not taken in.
            if !contents.index.contains_key(&id) || state.images.shape() != origins.images.shape() {
                continue;
            }
            for (place, (_, wanted)) in runs.iter().enumerate() {
                if wanted.best.contains(&id) {
                    best.entry(place).or_default().take(&state, true);
                }
                if wanted.last == id {
                    last.insert(place, state.images.clone());
                }
            }
        }
    })?;
    let ends = runs.into_iter().enumerate().filter_map(|(place, (run, wanted))| {
        let gathered = best.get(&place).filter(|_| contents.has_best(&wanted));
        let gathered = gathered.and_then(|best| best.state(wanted.last.iteration)).map(|state| state.images);
        let lacks_best = gathered.is_none() && !wanted.best.is_empty();
        Some(End { run, images: gathered.or_else(|| last.remove(&place))?, lacks_best })
    });
    Ok(Some(Ends { runs: ends.collect(), origins }))
}

/// Goes through the entries of a session file.
fn read(path: &Path, each: &mut dyn FnMut(&mut Entries<&mut dyn std::io::Read>)) -> Result<(), StorageError> {
    let read = with_packed_journal(path, &mut |input, size| {
        let mut entries = Entries::new(input, path)?;
        each(&mut entries);
        if entries.good == size {
            return Ok(());
        }
        let what = format!("only {} of {size} bytes are intact", entries.good);
        Err(StorageError::Damaged { path: path.to_owned(), what }.into())
    });
    match read {
        Ok(Some(())) => Ok(()),
        Ok(None) | Err(Halt::Stopped) => Err(StorageError::NotASession { path: path.to_owned() }),
        Err(Halt::Failed(error)) => Err(error),
    }
}
