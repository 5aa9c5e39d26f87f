//! The pictures of every state: in memory up to a budget, else in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::refiner::State;
use crate::trace::StateId;

/// Bytes of pictures that stay in memory in a new session.
pub const DEFAULT_BUDGET: usize = 1 << 30;

/// What is known of the pictures of a state.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Here they are.
    Ready(Arc<State>),
    /// They are being read from disk.
    Loading,
    /// They were not kept (a session saved small).
    Missing,
}

#[derive(Debug, Clone)]
struct Entry {
    state: Arc<State>,
    used: u64,
}

/// The pictures of every state.
#[derive(Debug, Clone)]
pub struct Iterates {
    memory: BTreeMap<StateId, Entry>,
    /// Where each state lies in the journal.
    on_disk: BTreeMap<StateId, u64>,
    /// On disk and not in memory.
    spilled: BTreeSet<StateId>,
    wanted: BTreeSet<StateId>,
    bytes: usize,
    budget: usize,
    clock: u64,
}

impl Default for Iterates {
    fn default() -> Self {
        Self {
            memory: BTreeMap::new(),
            on_disk: BTreeMap::new(),
            spilled: BTreeSet::new(),
            wanted: BTreeSet::new(),
            bytes: 0,
            budget: DEFAULT_BUDGET,
            clock: 0,
        }
    }
}

impl Iterates {
    /// Keeps a state in memory; older ones that are safe on disk may have to go.
    pub fn insert(&mut self, id: StateId, state: Arc<State>) {
        self.wanted.remove(&id);
        self.spilled.remove(&id);
        self.clock += 1;
        self.bytes += state.images.byte_len();
        if let Some(old) = self.memory.insert(id, Entry { state, used: self.clock }) {
            self.bytes -= old.state.images.byte_len();
        }
        self.shrink(id);
    }

    /// Notes that a state is safe on disk.
    pub fn stored(&mut self, id: StateId, offset: u64) {
        self.on_disk.insert(id, offset);
        if !self.memory.contains_key(&id) {
            self.spilled.insert(id);
        }
    }

    /// The state could not be read back.
    pub fn lost(&mut self, id: StateId) {
        self.on_disk.remove(&id);
        self.spilled.remove(&id);
        self.wanted.remove(&id);
    }

    /// Finds a state; remembers that it is wanted when it has to be read.
    pub fn get(&mut self, id: StateId) -> Lookup {
        self.clock += 1;
        if let Some(entry) = self.memory.get_mut(&id) {
            entry.used = self.clock;
            return Lookup::Ready(entry.state.clone());
        }
        if self.on_disk.contains_key(&id) {
            self.wanted.insert(id);
            return Lookup::Loading;
        }
        Lookup::Missing
    }

    /// States to read from disk now, with their places.
    pub fn take_wanted(&mut self) -> Vec<(StateId, u64)> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted.into_iter().filter_map(|id| Some((id, *self.on_disk.get(&id)?))).collect()
    }

    /// Bytes of pictures in memory.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of pictures that may stay in memory.
    #[must_use]
    pub const fn budget(&self) -> usize {
        self.budget
    }

    /// Number of states in memory, and of those on disk only.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.memory.len(), self.spilled.len())
    }

    /// Changes the budget.
    pub fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
        if let Some(newest) = self.memory.keys().next_back().copied() {
            self.shrink(newest);
        }
    }

    /// Forgets the least recently used states until the budget holds; never `keep`, and never one that is not on disk.
    fn shrink(&mut self, keep: StateId) {
        while self.bytes > self.budget {
            let safe = |id: &StateId| *id != keep && self.on_disk.contains_key(id);
            let oldest = self.memory.iter().filter(|(id, _)| safe(id)).min_by_key(|(_, entry)| entry.used);
            let Some(id) = oldest.map(|(id, _)| *id) else { return };
            if let Some(entry) = self.memory.remove(&id) {
                self.bytes -= entry.state.images.byte_len();
                self.spilled.insert(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::refiner::Numbers;
    use crate::trace::RunId;

    fn id(iteration: u32) -> StateId {
        StateId { run: RunId(1), iteration }
    }

    fn state(iteration: u32) -> Arc<State> {
        let images = ImageBatch::new([1, 1, 5, 5], vec![0.5; 25]);
        Arc::new(State { iteration, images, numbers: Numbers::default() })
    }

    #[test]
    fn only_what_is_on_disk_leaves_memory() {
        let mut iterates = Iterates::default();
        iterates.set_budget(250);
        (0..4).for_each(|k| iterates.insert(id(k), state(k)));
        assert_eq!(iterates.counts(), (4, 0), "nothing is on disk yet");
        (0..3).for_each(|k| iterates.stored(id(k), u64::from(k)));
        iterates.insert(id(4), state(4));
        assert!(matches!(iterates.get(id(0)), Lookup::Loading));
        assert!(matches!(iterates.get(id(3)), Lookup::Ready(_)), "not on disk, so it stays");
        assert!(matches!(iterates.get(id(9)), Lookup::Missing));
        assert_eq!(iterates.take_wanted(), [(id(0), 0)]);
        iterates.insert(id(0), state(0));
        assert!(matches!(iterates.get(id(0)), Lookup::Ready(_)));
    }
}
