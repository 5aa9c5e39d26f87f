//! Every sample's own best iterate, shown as if it were one state.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Lookup, Session};
use crate::refiner::{self, Keep, State};
use crate::trace::StateId;

/// Every sample's best iterate, gathered state by state: what was copied need not be read again, so that no more than one state
/// has to be in memory at a time.
#[derive(Debug)]
pub(super) struct Best {
    /// The state that it is shown for.
    of: StateId,
    /// States that are still to be copied from: each is some sample's best.
    missing: BTreeSet<StateId>,
    gathered: refiner::Best,
    /// All of it; none before, and none for ever when one of the states was not kept.
    state: Option<Arc<State>>,
}

impl Session {
    /// Whether every sample's own best iterate is shown in place of the newest.
    #[must_use]
    pub fn shows_best(&self) -> bool {
        let is_ready = |best: &Best| best.state.is_some() && Some(best.of) == self.look.id();
        self.keeps_best() && self.look.best.as_ref().is_some_and(is_ready)
    }

    /// Whether the best is wanted, and the run is at rest at what is shown.
    fn keeps_best(&self) -> bool {
        let look = &self.look;
        self.record.settings.refine.keep == Keep::Best
            && !self.is_busy()
            && look.shown > 0
            && look.shown + 1 == look.path.len()
    }

    /// Every sample's best iterate of the run that is shown, as one state; `None` while one of them is read from disk.
    pub(super) fn best_state(&mut self) -> Option<Arc<State>> {
        let id = self.look.id().filter(|_| self.keeps_best())?;
        let shape = self.record.origins.as_ref()?.images.shape();
        let mut best = match self.look.best.take().filter(|best| best.of == id) {
            Some(best) => best,
            None => self.begin_best(id),
        };
        while let Some(id) = best.missing.first() {
            let Lookup::Ready(state) = self.record.iterates.get(*id) else { break };
            // Files may lie.
            if state.images.shape() != shape {
                break;
            }
            best.gathered.take(&state, true);
            best.missing.pop_first();
        }
        if best.missing.is_empty() && best.state.is_none() {
            best.state = best.gathered.state(id.iteration).map(Arc::new);
        }
        self.look.best.insert(best).state.clone()
    }

    fn begin_best(&self, of: StateId) -> Best {
        let (trace, path) = (&self.record.trace, &self.look.path);
        let comparable = trace.comparable(path, path.len());
        let missing = trace.best_of_all(&path[comparable]).into_iter().collect();
        Best { of, missing, gathered: refiner::Best::default(), state: None }
    }
}
