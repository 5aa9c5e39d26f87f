//! The pictures of every state: in memory up to a budget, else in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::refiner::State;
use crate::trace::StateId;

/// Bytes of states that stay in memory in a new session.
pub const DEFAULT_BUDGET: usize = 1 << 30;
/// States that may always wait for the disk, however small the budget is: one is written while the next is computed.
const ALWAYS: usize = 2;

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
    /// In memory and not on disk: so many, of so many bytes.
    waiting: (usize, usize),
    /// The spilled state that was looked for last. An older wish is void: who scrubs wants to see where he is.
    wished: Option<StateId>,
    /// The state that is being read; the next wish waits for it, so that no two reads are ever under way for one look.
    loading: Option<StateId>,
    bytes: usize,
    budget: usize,
    clock: u64,
}

impl Default for Iterates {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

impl Iterates {
    const fn new(budget: usize) -> Self {
        Self {
            memory: BTreeMap::new(),
            on_disk: BTreeMap::new(),
            spilled: BTreeSet::new(),
            waiting: (0, 0),
            wished: None,
            loading: None,
            bytes: 0,
            budget,
            clock: 0,
        }
    }

    /// None, with the same budget.
    #[must_use]
    pub const fn emptied(&self) -> Self {
        Self::new(self.budget)
    }

    /// Keeps a new state in memory; older ones that are safe on disk may have to go.
    pub fn insert(&mut self, id: StateId, state: Arc<State>) {
        self.forget(id);
        self.keep(id, state);
    }

    /// Forgets a state, wherever it is.
    pub fn forget(&mut self, id: StateId) {
        self.remove(id);
        self.on_disk.remove(&id);
        self.spilled.remove(&id);
    }

    fn keep(&mut self, id: StateId, state: Arc<State>) {
        self.spilled.remove(&id);
        self.clock += 1;
        self.add(id, state);
        self.shrink(id);
    }

    fn add(&mut self, id: StateId, state: Arc<State>) {
        let bytes = bytes_of(&state);
        self.bytes += bytes;
        if !self.on_disk.contains_key(&id) {
            self.waiting = (self.waiting.0 + 1, self.waiting.1 + bytes);
        }
        self.memory.insert(id, Entry { state, used: self.clock });
    }

    fn remove(&mut self, id: StateId) {
        let Some(entry) = self.memory.remove(&id) else { return };
        let bytes = bytes_of(&entry.state);
        self.bytes -= bytes;
        if !self.on_disk.contains_key(&id) {
            self.waiting = (self.waiting.0 - 1, self.waiting.1 - bytes);
        }
    }

    /// Notes that a state is safe on disk; it may leave memory now.
    pub fn stored(&mut self, id: StateId, offset: u64) {
        let is_new = self.on_disk.insert(id, offset).is_none();
        match self.memory.get(&id) {
            Some(entry) if is_new => {
                self.waiting = (self.waiting.0 - 1, self.waiting.1 - bytes_of(&entry.state));
                self.shrink_to_newest();
            }
            Some(_) => {}
            None => drop(self.spilled.insert(id)),
        }
    }

    /// Takes in what was read back; `None` when it could not be.
    pub fn loaded(&mut self, id: StateId, state: Option<Arc<State>>) {
        self.loading = self.loading.filter(|loading| *loading != id);
        match state {
            // What is in memory is there, whatever the disk says; it may be newer.
            _ if self.memory.contains_key(&id) => {}
            Some(state) => self.keep(id, state),
            None => {
                self.on_disk.remove(&id);
                self.spilled.remove(&id);
            }
        }
    }

    /// Whether the pictures of a state are in memory or on the disk.
    #[must_use]
    pub fn holds(&self, id: StateId) -> bool {
        self.memory.contains_key(&id) || self.on_disk.contains_key(&id)
    }

    /// Finds a state; remembers that it is wished for when it has to be read.
    pub fn get(&mut self, id: StateId) -> Lookup {
        self.clock += 1;
        if let Some(entry) = self.memory.get_mut(&id) {
            entry.used = self.clock;
            return Lookup::Ready(entry.state.clone());
        }
        if self.on_disk.contains_key(&id) {
            self.wished = Some(id);
            return Lookup::Loading;
        }
        Lookup::Missing
    }

    /// Nothing is looked for any more.
    pub const fn forget_wish(&mut self) {
        self.wished = None;
    }

    /// The state to read from disk now, with its place; none while another is being read.
    pub fn take_wish(&mut self) -> Option<(StateId, u64)> {
        if self.loading.is_some() {
            return None;
        }
        let id = self.wished.take().filter(|id| self.spilled.contains(id))?;
        self.loading = Some(id);
        Some((id, *self.on_disk.get(&id)?))
    }

    /// Bytes of states in memory, with their numbers.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of states that may stay in memory.
    #[must_use]
    pub const fn budget(&self) -> usize {
        self.budget
    }

    /// Whether what is not on disk yet fills the budget, so that more states would not fit.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        let (count, bytes) = self.waiting;
        count >= ALWAYS && bytes > self.budget
    }

    /// Number of states in memory, and of those on disk only.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.memory.len(), self.spilled.len())
    }

    /// Changes the budget.
    pub fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
        self.shrink_to_newest();
    }

    fn shrink_to_newest(&mut self) {
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
            self.remove(id);
            self.spilled.insert(id);
        }
    }
}

/// Bytes of a state: its pictures and its numbers.
fn bytes_of(state: &State) -> usize {
    let numbers = &state.numbers;
    let lists = [&numbers.objective, &numbers.gradient_l2, &numbers.step_l2, &numbers.delta_l2, &numbers.delta_linf];
    let floats: usize =
        lists.iter().map(|list| list.len()).sum::<usize>() + numbers.logits.len() + numbers.clipped.len();
    state.images.byte_len() + floats * size_of::<f32>() + size_of_val(numbers.state.as_slice())
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
        let mut iterates = Iterates::new(250);
        (0..4).for_each(|k| iterates.insert(id(k), state(k)));
        assert_eq!(iterates.counts(), (4, 0), "nothing is on disk yet");
        (0..3).for_each(|k| iterates.stored(id(k), u64::from(k)));
        iterates.insert(id(4), state(4));
        assert!(matches!(iterates.get(id(0)), Lookup::Loading));
        assert!(matches!(iterates.get(id(3)), Lookup::Ready(_)), "not on disk, so it stays");
        assert!(matches!(iterates.get(id(9)), Lookup::Missing));
        assert!(matches!(iterates.get(id(0)), Lookup::Loading));
        assert_eq!(iterates.take_wish(), Some((id(0), 0)));
        iterates.loaded(id(0), Some(state(0)));
        assert!(matches!(iterates.get(id(0)), Lookup::Ready(_)));
    }

    #[test]
    fn one_state_is_read_at_a_time_and_the_newest_wish_is_next() {
        let mut iterates = Iterates::new(0);
        (0..5).for_each(|k| iterates.stored(id(k), u64::from(k)));
        for k in [0, 1, 2, 3] {
            assert!(matches!(iterates.get(id(k)), Lookup::Loading));
            assert_eq!(iterates.take_wish(), (k == 0).then_some((id(0), 0)), "frame {k}");
        }
        iterates.loaded(id(0), Some(state(0)));
        assert_eq!(iterates.take_wish(), Some((id(3), 3)), "1 and 2 were only passed over");
        iterates.loaded(id(3), None);
        assert!(matches!(iterates.get(id(3)), Lookup::Missing));
        assert_eq!(iterates.take_wish(), None);
    }

    #[test]
    fn more_than_the_budget_must_not_wait_for_the_disk() {
        let mut iterates = Iterates::new(250);
        (0..3).for_each(|k| iterates.insert(id(k), state(k)));
        assert!(iterates.is_full() && iterates.bytes() == 300);
        iterates.stored(id(0), 0);
        assert!(!iterates.is_full() && iterates.bytes() == 200, "it left memory as soon as it could");
        iterates.set_budget(0);
        assert!(iterates.is_full());
        iterates.stored(id(1), 1);
        assert!(!iterates.is_full(), "one may always wait");
        iterates.insert(id(2), state(2));
        iterates.stored(id(2), 2);
        assert_eq!((iterates.waiting, iterates.counts()), ((0, 0), (1, 2)));
    }
}
