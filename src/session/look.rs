//! What is looked at.

use super::action::Compare;
use super::best::Best;
use crate::trace::{RunId, StateId, Trace};

/// What is looked at.
#[derive(Debug)]
pub(super) struct Look {
    /// The run that is shown.
    pub(super) run: Option<RunId>,
    /// Its states, from the origin on; kept because every frame reads it.
    pub(super) path: Vec<StateId>,
    /// The place on the path.
    pub(super) shown: usize,
    /// Whether the newest state is shown as it comes.
    pub(super) follow: bool,
    /// Whether the film runs.
    pub(super) playing: bool,
    /// The sample on the canvas; `None` while the grid is shown.
    pub(super) selected: Option<usize>,
    /// The sample that is marked in the grid.
    pub(super) focused: usize,
    pub(super) compare: Compare,
    /// Every sample's best iterate, gathered when it is first shown.
    pub(super) best: Option<Best>,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            run: None,
            path: Vec::new(),
            shown: 0,
            follow: true,
            playing: false,
            selected: None,
            focused: 0,
            compare: Compare::Side,
            best: None,
        }
    }
}

impl Look {
    /// The sample that numbers are shown of.
    pub(super) fn focused(&self) -> usize {
        self.selected.unwrap_or(self.focused)
    }

    /// The state that is shown.
    pub(super) fn id(&self) -> Option<StateId> {
        self.path.get(self.shown).copied()
    }

    pub(super) const fn last(&self) -> usize {
        self.path.len().saturating_sub(1)
    }

    pub(super) fn show_run(&mut self, run: Option<RunId>, trace: &Trace) {
        self.run = run;
        self.path = run.map_or_else(Vec::new, |run| trace.path(run));
        self.shown = self.shown.min(self.last());
    }

    pub(super) fn show(&mut self, place: usize) {
        self.shown = place.min(self.last());
        self.follow = self.shown == self.last();
        self.playing = false;
    }

    /// Another state of `id.run` is there.
    pub(super) fn take_state(&mut self, id: StateId) {
        if self.run != Some(id.run) {
            return;
        }
        // The first state of a branch takes the place of the state that it came from.
        self.path.truncate(id.iteration as usize);
        self.path.push(id);
        if self.follow {
            self.shown = self.last();
        }
    }

    /// Other pictures, so many.
    pub(super) fn begin_anew(&mut self, count: usize) {
        (self.run, self.shown, self.follow, self.best) = (None, 0, true, None);
        self.path.clear();
        self.focused = self.focused.min(count.saturating_sub(1));
        self.selected = self.selected.filter(|sample| *sample < count);
    }

    /// The film begins or ends.
    pub(super) fn play(&mut self) {
        self.playing = !self.playing;
        if self.playing && self.shown + 1 >= self.path.len() {
            self.shown = 0;
        }
        self.follow &= !self.playing;
    }

    /// The film moves on by one iteration.
    pub(super) fn play_on(&mut self) {
        if self.playing {
            self.shown = (self.shown + 1).min(self.last());
            self.playing = self.shown < self.last();
        }
    }

    /// The next of `count` samples, or the one before.
    pub(super) fn step_sample(&mut self, forwards: bool, count: usize) {
        if count > 0 {
            let step = if forwards { 1 } else { count - 1 };
            self.focused = (self.focused() + step) % count;
            self.selected = self.selected.map(|_| self.focused);
        }
    }

    /// One sample on the canvas, compared like this.
    pub(super) fn compare(&mut self, compare: Compare) {
        self.compare = compare;
        self.selected = Some(self.focused());
    }
}
