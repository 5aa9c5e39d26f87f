//! Which iterate of each picture is kept, gathered while states arrive.

use std::sync::Arc;

use crate::image::ImageBatch;
use crate::refiner::{Keep, Numbers, State};

/// The iterates that count as results.
#[derive(Debug)]
pub(super) struct Kept {
    keep: Keep,
    /// The first state of the run.
    start: Option<Arc<State>>,
    /// The newest.
    last: Option<Arc<State>>,
    /// With [`Keep::Best`], of every sample the iterate with its highest objective so far.
    best: Option<Best>,
    /// Iterations behind every sample's kept iterate, until it came to rest.
    iterations: Vec<u32>,
}

/// Every sample's own best iterate, copied: keeping whole states would keep all of a run.
#[derive(Debug)]
struct Best {
    pixels: Vec<f32>,
    numbers: Numbers,
}

impl Kept {
    pub(super) const fn new(keep: Keep) -> Self {
        Self { keep, start: None, last: None, best: None, iterations: Vec::new() }
    }

    /// Takes the next state of the run.
    pub(super) fn take(&mut self, state: &Arc<State>) {
        if self.start.is_none() {
            self.start = Some(Arc::clone(state));
            self.iterations = vec![state.iteration; state.images.len()];
            let best = || Best { pixels: state.images.pixels().to_vec(), numbers: state.numbers.clone() };
            self.best = (self.keep == Keep::Best).then(best);
        } else if let Some(best) = &mut self.best {
            for (sample, iterations) in self.iterations.iter_mut().enumerate() {
                if is_better(&state.numbers, &best.numbers, sample) {
                    best.replace(state, sample);
                    *iterations = state.iteration;
                }
            }
        } else {
            for (iterations, step) in self.iterations.iter_mut().zip(&state.numbers.step_l2) {
                if *step > 0.0 {
                    *iterations = state.iteration;
                }
            }
        }
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
        &self.iterations
    }

    /// The kept iterates and their numbers; `None` before the first state.
    pub(super) fn result(&self) -> Option<(ImageBatch, Numbers)> {
        let last = self.last.as_ref()?;
        Some(match &self.best {
            Some(best) => (ImageBatch::new(last.images.shape(), best.pixels.clone()), best.numbers.clone()),
            None => (last.images.clone(), last.numbers.clone()),
        })
    }
}

impl Best {
    fn replace(&mut self, state: &State, sample: usize) {
        let picture = state.images.sample(sample);
        self.pixels[sample * picture.len()..(sample + 1) * picture.len()].copy_from_slice(picture);
        self.numbers.copy_sample(&state.numbers, sample);
    }
}

/// Whether a newer state is to be kept: the first of equals stays, and anything is better than what is no number.
fn is_better(new: &Numbers, kept: &Numbers, sample: usize) -> bool {
    let (new, kept) = (new.objective[sample], kept.objective[sample]);
    !kept.is_finite() || (new.is_finite() && new > kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::{SampleState, best_of};

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
    fn the_best_iterate_is_the_one_that_the_refiner_names() {
        let best = kept(Keep::Best);
        let states = states();
        let named = best_of(&states.iter().map(|state| (state.iteration, &state.numbers)).collect::<Vec<_>>());
        assert_eq!(best.iterations(), named);
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
