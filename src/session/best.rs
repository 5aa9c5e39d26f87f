//! Every sample's own best iterate, shown as if it were one state.

use std::sync::Arc;

use super::{Lookup, Session};
use crate::image::ImageBatch;
use crate::refiner::{Keep, State};

impl Session {
    /// Whether every sample's own best iterate is shown in place of the newest.
    #[must_use]
    pub fn shows_best(&self) -> bool {
        self.keeps_best() && self.best.as_ref().is_some_and(|(of, _)| Some(*of) == self.shown_id())
    }

    /// Whether the best is wanted, and the run is at rest at what is shown.
    fn keeps_best(&self) -> bool {
        self.settings.refine.keep == Keep::Best
            && !self.is_busy()
            && self.shown > 0
            && self.shown + 1 == self.path.len()
    }

    /// Every sample's best iterate of the run that is shown, as one state; `None` while one of them is read from disk.
    pub(super) fn best_state(&mut self) -> Option<Arc<State>> {
        let id = self.shown_id().filter(|_| self.keeps_best())?;
        if let Some((_, state)) = self.best.as_ref().filter(|(of, _)| *of == id) {
            return Some(state.clone());
        }
        let ids = self.trace.best_of_all(&self.trace.comparable(id.run));
        // All are asked for before the first that is missing ends it.
        let found: Vec<Lookup> = ids.into_iter().map(|id| self.iterates.get(id)).collect();
        let Lookup::Ready(newest) = self.iterates.get(id) else { return None };
        let mut numbers = newest.numbers.clone();
        let mut pixels = Vec::with_capacity(newest.images.pixels().len());
        for (sample, state) in found.into_iter().enumerate() {
            let Lookup::Ready(state) = state else { return None };
            // Files may lie.
            if state.numbers.logits.len() != numbers.logits.len() || state.images.shape() != newest.images.shape() {
                return None;
            }
            numbers.copy_sample(&state.numbers, sample);
            pixels.extend_from_slice(state.images.sample(sample));
        }
        let images = ImageBatch::new(newest.images.shape(), pixels);
        let state = Arc::new(State { iteration: id.iteration, images, numbers });
        self.best = Some((id, state.clone()));
        Some(state)
    }
}
