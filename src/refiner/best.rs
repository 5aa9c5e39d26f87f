//! Every sample's own best iterate, gathered while states arrive.

use super::state::{Numbers, State};
use crate::image::ImageBatch;

/// Of every sample the iterate with its highest objective so far, the earliest of equals; of a sample whose objective never
/// was finite, the newest.
///
/// Pictures are copied, so that it holds one picture per sample however long the run is: keeping whole states would keep all
/// of a run.
#[derive(Debug, Clone, Default)]
pub struct Best(Option<Kept>);

#[derive(Debug, Clone)]
struct Kept {
    /// `[N, C, H, W]`
    shape: [usize; 4],
    pixels: Vec<f32>,
    numbers: Numbers,
    /// `[N]`
    iterations: Vec<u32>,
}

impl Best {
    /// Takes the next state. When its objectives do not compare with those before it
    /// ([`RefineSettings::compares_with`](super::RefineSettings::compares_with)), or its pictures are others, these are
    /// forgotten.
    pub fn take(&mut self, state: &State, comparable: bool) {
        let fits =
            |kept: &Kept| kept.shape == state.images.shape() && kept.numbers.logits.len() == state.numbers.logits.len();
        match self.0.as_mut().filter(|kept| comparable && fits(kept)) {
            Some(kept) => kept.take(state),
            None => {
                self.0 = Some(Kept {
                    shape: state.images.shape(),
                    pixels: state.images.pixels().to_vec(),
                    numbers: state.numbers.clone(),
                    iterations: vec![state.iteration; state.images.len()],
                });
            }
        }
    }

    /// Iterations behind every sample's best iterate, `[N]`; empty before the first state.
    #[must_use]
    pub fn iterations(&self) -> &[u32] {
        self.0.as_ref().map_or(&[], |kept| &kept.iterations)
    }

    /// The best iterates as if they were one state, which takes the name of iteration `iteration`; `None` before the first.
    #[must_use]
    pub fn state(&self, iteration: u32) -> Option<State> {
        let Kept { shape, pixels, numbers, .. } = self.0.as_ref()?;
        Some(State { iteration, images: ImageBatch::new(*shape, pixels.clone()), numbers: numbers.clone() })
    }
}

impl Kept {
    fn take(&mut self, state: &State) {
        for sample in 0..self.iterations.len() {
            let (new, kept) = (state.numbers.objective[sample], self.numbers.objective[sample]);
            // Anything is better than what is no number.
            if !kept.is_finite() || (new.is_finite() && new > kept) {
                let picture = state.images.sample(sample);
                self.pixels[sample * picture.len()..(sample + 1) * picture.len()].copy_from_slice(picture);
                self.numbers.copy_sample(&state.numbers, sample);
                self.iterations[sample] = state.iteration;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::refiner::SampleState;

    const SAMPLES: usize = 3;

    /// A state whose pictures and logits tell its iteration.
    fn state(iteration: u32, objective: [f32; SAMPLES]) -> State {
        let list = vec![iteration as f32; SAMPLES];
        let numbers = Numbers {
            logits: vec![iteration as f32; 2 * SAMPLES],
            objective: objective.to_vec(),
            gradient_l2: list.clone(),
            step_l2: list.clone(),
            delta_l2: list.clone(),
            delta_linf: list.clone(),
            clipped: list.clone(),
            state: vec![SampleState::Active; SAMPLES],
        };
        State { iteration, images: ImageBatch::new([SAMPLES, 1, 1, 1], list), numbers }
    }

    /// Few different values, so that there are equals, and some that are no numbers.
    fn objectives() -> impl Strategy<Value = Vec<([f32; SAMPLES], bool)>> {
        let value = prop::sample::select(vec![-1.0, 0.0, 0.0, 2.0, 5.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        prop::collection::vec((prop::array::uniform3(value), prop::bool::weighted(0.9)), 1..12)
    }

    proptest! {
        #[test]
        fn it_is_what_a_look_at_all_states_finds(run in objectives()) {
            let mut best = Best::default();
            let mut since = 0;
            for (place, (objective, comparable)) in run.iter().enumerate() {
                since = if *comparable { since } else { place };
                best.take(&state(7 + place as u32, *objective), *comparable);
                let found = best.state(99).expect("a state was taken");
                prop_assert_eq!(found.iteration, 99);
                prop_assert!(found.numbers.is_consistent(SAMPLES));
                for sample in 0..SAMPLES {
                    let value = |place: usize| run[place].0[sample];
                    let finite = (since..=place).filter(|place| value(*place).is_finite());
                    // `min_by` names the first of equals.
                    let expected = finite.min_by(|a, b| value(*b).total_cmp(&value(*a))).unwrap_or(place);
                    let named = (7 + expected) as f32;
                    prop_assert_eq!(best.iterations()[sample], 7 + expected as u32);
                    prop_assert_eq!(found.images.sample(sample), [named]);
                    prop_assert_eq!(found.numbers.logits_of(sample), [named, named]);
                    prop_assert_eq!(found.numbers.objective[sample].to_bits(), value(expected).to_bits());
                }
            }
        }
    }

    #[test]
    fn nothing_is_the_best_of_nothing_and_other_pictures_begin_anew() {
        let mut best = Best::default();
        assert!(best.state(0).is_none() && best.iterations().is_empty());
        best.take(&state(3, [9.0; SAMPLES]), true);
        let one = State { images: ImageBatch::new([1, 1, 1, 1], vec![0.5]), ..state(0, [1.0; SAMPLES]) };
        best.take(&State { numbers: Numbers { objective: vec![1.0], ..one.numbers.clone() }, ..one }, true);
        assert_eq!(best.iterations(), [0]);
    }
}
