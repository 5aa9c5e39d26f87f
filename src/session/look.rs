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
    /// The samples that the grid shows, in its order; none while it was not said: then all, by their numbers.
    pub(super) order: Vec<usize>,
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
            order: Vec::new(),
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
        self.order.clear();
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

    /// The grid shows these samples in this order. One that it hides is not marked there.
    pub(super) fn arrange(&mut self, order: &[usize]) {
        if self.order != order {
            self.order = order.to_vec();
        }
        self.mark_shown();
    }

    /// Marks the first that the grid shows, where it hides the one that is marked.
    fn mark_shown(&mut self) {
        if let (None, Some(first), false) = (self.selected, self.order.first(), self.order.contains(&self.focused)) {
            self.focused = *first;
        }
    }

    /// All pairs, in place of one on the canvas.
    pub(super) fn show_grid(&mut self) {
        self.selected = None;
        self.mark_shown();
    }

    /// Whether there is a next one of `count` samples among those that the grid shows.
    pub(super) fn can_step_sample(&self, count: usize) -> bool {
        if self.order.is_empty() { count > 1 } else { self.order.iter().any(|sample| *sample != self.focused()) }
    }

    /// The next of `count` samples, or the one before, in the grid's order; from one that it hides, the first.
    pub(super) fn step_sample(&mut self, forwards: bool, count: usize) {
        let count = if self.order.is_empty() { count } else { self.order.len() };
        if count == 0 {
            return;
        }
        let step = if forwards { 1 } else { count - 1 };
        let now = self.focused();
        self.focused = if self.order.is_empty() {
            (now + step) % count
        } else {
            let place = self.order.iter().position(|sample| *sample == now);
            self.order[place.map_or(0, |place| (place + step) % count)]
        };
        self.selected = self.selected.map(|_| self.focused);
    }

    /// One sample on the canvas, compared like this.
    pub(super) fn compare(&mut self, compare: Compare) {
        self.compare = compare;
        self.selected = Some(self.focused());
    }
}

#[cfg(test)]
mod tests {
    use crate::image::ImageBatch;
    use crate::origins::Origins;
    use crate::session::{Action, Verb, toy};

    #[test]
    fn the_next_sample_is_the_next_that_the_grid_shows() {
        let images = ImageBatch::new([4, 1, 1, 1], vec![0.0; 4]);
        let (mut session, _) = toy::about(Origins::opened(images, vec![0; 4], Vec::new()));
        session.handle(Action::Do(Verb::PreviousSample));
        assert_eq!(session.focused(), 3, "all by their numbers, while nothing else was said");
        session.arrange(&[2, 0, 1]);
        assert_eq!(session.focused(), 2, "where the marked one is hidden, the first is marked");
        let mut after = |verb| {
            session.handle(Action::Do(verb));
            session.focused()
        };
        assert_eq!([Verb::NextSample; 4].map(&mut after), [0, 1, 2, 0]);
        assert_eq!([Verb::PreviousSample; 2].map(&mut after), [2, 1]);
        // On the canvas likewise; what the grid hides stays there until another one is asked for.
        session.handle(Action::Select(0));
        session.handle(Action::Do(Verb::NextSample));
        assert_eq!(session.selected(), Some(1));
        session.arrange(&[3, 2]);
        assert_eq!((session.selected(), session.focused()), (Some(1), 1));
        session.handle(Action::Do(Verb::PreviousSample));
        assert_eq!(session.selected(), Some(3));
        session.handle(Action::Select(0));
        session.handle(Action::Do(Verb::Grid));
        assert_eq!((session.selected(), session.focused()), (None, 3));
        session.arrange(&[7]);
        assert_eq!(session.focused(), 3, "that is of other pictures");
        session.arrange(&[3]);
        assert!(!session.can(Verb::NextSample), "there is no other one");
    }
}
