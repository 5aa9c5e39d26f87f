//! Which iterate of each picture is kept, gathered while states arrive.

use std::sync::Arc;

use crate::image::ImageBatch;
use crate::refiner::{Best, Keep, Numbers, State};

/// The iterates that count as results.
#[derive(Debug)]
pub(super) struct Kept {
    /// The first state of the run.
    start: Option<Arc<State>>,
    /// The newest.
    last: Option<Arc<State>>,
    /// With [`Keep::Best`], of every sample the iterate with its highest objective so far.
    best: Option<Best>,
    /// With [`Keep::Last`], iterations behind every sample's last iterate, until it came to rest.
    iterations: Vec<u32>,
}

impl Kept {
    pub(super) fn new(keep: Keep) -> Self {
        let best = (keep == Keep::Best).then(Best::default);
        Self { start: None, last: None, best, iterations: Vec::new() }
    }

    /// Takes the next state of the run.
    pub(super) fn take(&mut self, state: &Arc<State>) {
        if let Some(best) = &mut self.best {
            // The settings stay the same for a whole run.
            best.take(state, true);
        } else if self.start.is_none() {
            self.iterations = vec![state.iteration; state.images.len()];
        } else {
            for (iterations, step) in self.iterations.iter_mut().zip(&state.numbers.step_l2) {
                if *step > 0.0 {
                    *iterations = state.iteration;
                }
            }
        }
        self.start.get_or_insert_with(|| Arc::clone(state));
        self.last = Some(Arc::clone(state));
    }

    /// The first state.
    pub(super) const fn start(&self) -> Option<&Arc<State>> {
        self.start.as_ref()
    }

    /// The newest state.
    pub(super) const fn last(&self) -> Option<&Arc<State>> {
        self.last.as_ref()
    }

    /// Iterations behind every sample's kept iterate, until it came to rest.
    pub(super) fn iterations(&self) -> &[u32] {
        self.best.as_ref().map_or(&self.iterations, Best::iterations)
    }

    /// The kept iterates and their numbers; `None` before the first state.
    pub(super) fn result(&self) -> Option<(ImageBatch, Numbers)> {
        let last = self.last.as_ref()?;
        match &self.best {
            Some(best) => best.state(last.iteration).map(|state| (state.images, state.numbers)),
            None => Some((last.images.clone(), last.numbers.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::SampleState;

    /// Three samples; sample 2 never has a finite objective, sample 1 rests after its first iteration.
    fn states() -> Vec<Arc<State>> {
        let objectives = [[0.0, 1.0, f32::NAN], [5.0, 2.0, f32::INFINITY], [4.0, 2.0, f32::NAN]];
        let steps = [[0.0, 0.0, 0.0], [0.3, 0.3, 0.3], [0.3, 0.0, 0.3]];
        let state = |(k, (objective, step)): (u32, ([f32; 3], [f32; 3]))| {
            let numbers = Numbers {
                logits: vec![k as f32; 6],
                objective: objective.to_vec(),
                gradient_l2: vec![1.0; 3],
                step_l2: step.to_vec(),
                delta_l2: vec![k as f32; 3],
                delta_linf: vec![0.1; 3],
                clipped: vec![0.0; 3],
                state: vec![SampleState::Active; 3],
            };
            Arc::new(State { iteration: k, images: ImageBatch::new([3, 1, 1, 1], vec![k as f32 / 10.0; 3]), numbers })
        };
        (0..).zip(objectives.into_iter().zip(steps)).map(state).collect()
    }

    fn kept(keep: Keep) -> Kept {
        let mut kept = Kept::new(keep);
        for state in &states() {
            kept.take(state);
        }
        kept
    }

    #[test]
    fn the_last_iterate_counts_its_iterations_until_it_rests() {
        let last = kept(Keep::Last);
        let (images, numbers) = last.result().unwrap();
        assert_eq!(images.pixels(), [0.2; 3]);
        assert_eq!(numbers.objective[..2], [4.0, 2.0]);
        assert_eq!(last.iterations(), [2, 1, 2]);
    }

    #[test]
    fn the_best_iterate_is_each_samples_own() {
        let best = kept(Keep::Best);
        assert_eq!(best.iterations(), [1, 1, 2]);
        let (images, numbers) = best.result().unwrap();
        assert_eq!(images.pixels(), [0.1, 0.1, 0.2]);
        assert_eq!(numbers.objective[..2], [5.0, 2.0]);
        assert_eq!((numbers.logits_of(0), numbers.delta_l2[0]), ([1.0, 1.0].as_slice(), 1.0));
        assert!(numbers.is_consistent(3));
        assert_eq!((best.start().unwrap().iteration, best.last().unwrap().iteration), (0, 2));
    }

    #[test]
    fn nothing_is_kept_of_nothing() {
        assert!(Kept::new(Keep::Best).result().is_none());
    }
}
