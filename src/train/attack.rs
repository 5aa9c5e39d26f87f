//! Attacks on a classifier while it trains: pictures near those of a batch that it judges as it should not.
//!
//! # Source
//! Shelley-Golan/Boosting-via-Joint-Model, `adversaries.py`: L2 projected gradient ascent, per step a step along the gradient's
//! direction, a cut to `[0, 1]`, a projection onto the ball, and a cut at the end. There the early stop is asked for and never
//! fires, for a base class turns it off; here it does what it says.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::error::{Problem, TrainError, positive, some};
use super::learner::read;
use crate::image::ImageBatch;
use crate::noise::Stream;
use crate::refiner::constraint::{Norm, clamp};
use crate::refiner::{Objective, reality};

/// A gradient shorter than this is divided by this.
const SHORTEST: f64 = 1e-6;
/// Most steps of an attack in the beginning; more would be a slip.
const MAX_STEPS: u32 = 10_000;

/// How far an attack goes. Radius and step are L2 lengths on `[0, 1]` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// Radius of the ball.
    pub eps: f64,
    /// Length of a step.
    pub step_size: f64,
    /// Number of steps in the beginning.
    pub steps: u32,
    /// Steps of training after which it makes one step more, again and again; without a number never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grows_every: Option<u64>,
    /// Whether it begins with a random picture, brought into the ball.
    #[serde(default)]
    pub random_start: bool,
}

impl Attack {
    /// Steps that it makes at a step of training.
    #[must_use]
    pub fn steps_at(self, step: u64) -> u32 {
        let grown = self.grows_every.map_or(0, |every| step / every.max(1));
        self.steps.saturating_add(u32::try_from(grown).unwrap_or(u32::MAX))
    }

    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(self) -> Problem {
        let many =
            || (self.steps > MAX_STEPS).then(|| (format!("steps = {}", self.steps), "an attack has at most 10000"));
        positive("eps", self.eps)
            .or_else(|| positive("step_size", self.step_size))
            .or_else(|| self.grows_every.and_then(|every| some("grows_every", every)))
            .or_else(many)
    }
}

/// What an attack makes larger, for each picture on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ascent {
    /// A value of the classifier's answer.
    pub objective: Objective,
    /// Whether it is made smaller instead.
    pub descends: bool,
}

impl Ascent {
    /// The loss of the class, as Madry et al. 2018 have it.
    pub const WRONG_CLASS: Self = Self { objective: Objective::Ce, descends: true };
    /// The loss of "real", which real pictures are driven up by.
    pub const LESS_REAL: Self = Self { objective: Objective::Bce, descends: true };
    /// The loss of "fake", which generated pictures are driven up by.
    pub const MORE_REAL: Self = Self { objective: Objective::BceFake, descends: false };
}

/// Pictures in `[0, 1]`, their labels, and each one's random numbers.
pub struct Victims<'a> {
    /// The pictures.
    pub pictures: &'a ImageBatch,
    /// The class of each.
    pub labels: &'a [usize],
    /// Draws the random start of a picture.
    pub start: &'a mut dyn FnMut(usize) -> Stream,
    /// How real every picture may become before it rests: a picture's own is that at its place modulo their number.
    pub as_real_as: &'a [f64],
}

/// Makes `steps` steps from every picture; the classifier is one for inference.
///
/// # Errors
/// [`TrainError`] when the device fails.
pub fn attack(
    classifier: &dyn Fn(Tensor<4>) -> Tensor<2>,
    victims: Victims<'_>,
    ascent: Ascent,
    (attack, steps): (Attack, u32),
    device: &Device,
) -> Result<ImageBatch, TrainError> {
    let Victims { pictures, labels, start, as_real_as } = victims;
    let (shape, len, n) = (pictures.shape(), pictures.sample_len(), pictures.len());
    let mut x = pictures.pixels().to_vec();
    if attack.random_start {
        for (sample, x) in x.chunks_exact_mut(len).enumerate() {
            let mut stream = start(sample);
            x.fill_with(|| stream.uniform() as f32);
            Norm::L2.project(x, pictures.sample(sample), attack.eps);
            clamp(x);
        }
    }
    let mut rests = vec![false; n];
    for _ in 0..steps {
        let tracked = ImageBatch::new(shape, x.clone()).to_tensor(device).autodiff().require_grad();
        let logits = classifier(tracked.clone());
        let value = ascent.objective.value(logits.clone(), labels);
        // Samples do not mix, so the gradient of the sum holds every sample's own gradient.
        let mut gradients = value.sum().backward();
        if !as_real_as.is_empty() {
            let [_, classes] = logits.dims();
            let found = reality(&read(logits.reshape([n * classes]))?, n);
            for (sample, rests) in rests.iter_mut().enumerate() {
                *rests |= found[sample] > as_real_as[sample % as_real_as.len()];
            }
            if rests.iter().all(|rests| *rests) {
                break;
            }
        }
        let Some(gradient) = tracked.grad_remove(&mut gradients) else { break };
        let gradient = read(gradient.reshape([n * len]))?;
        for (sample, (x, gradient)) in x.chunks_exact_mut(len).zip(gradient.chunks_exact(len)).enumerate() {
            if rests[sample] {
                continue;
            }
            let sign = if ascent.descends { -1.0 } else { 1.0 };
            let length = Norm::L2.length(gradient.iter().copied()).max(SHORTEST);
            Norm::L2.ascend(x, gradient, sign * attack.step_size / length, false);
            clamp(x);
            Norm::L2.project(x, pictures.sample(sample), attack.eps);
        }
    }
    clamp(&mut x);
    Ok(ImageBatch::new(shape, x))
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::noise::Purpose;

    /// A linear classifier of pictures of four pixels: one row per class.
    const ROWS: [[f32; 4]; 2] = [[1.0, -2.0, 0.5, 0.0], [0.25, 1.0, -1.0, 2.0]];

    fn classifier(x: Tensor<4>) -> Tensor<2> {
        let [n, ..] = x.dims();
        let rows = Tensor::<2>::from_data(TensorData::new(ROWS.concat(), [2, 4]), &Device::flex());
        x.reshape([n, 4]).matmul(rows.transpose())
    }

    fn pictures() -> ImageBatch {
        ImageBatch::new([2, 1, 2, 2], vec![0.5, 0.9, 0.1, 0.0, 0.2, 0.4, 0.6, 0.99])
    }

    fn run(ascent: Ascent, how: Attack, as_real_as: &[f64]) -> Vec<f32> {
        let mut start = |sample| Stream::new(1, Purpose::Training { step: 0, sample: sample as u16 });
        let pictures = pictures();
        let victims = Victims { pictures: &pictures, labels: &[0, 1], start: &mut start, as_real_as };
        attack(&classifier, victims, ascent, (how, how.steps), &Device::flex()).unwrap().pixels().to_vec()
    }

    /// The same in double precision: the direction of a logit's gradient is its row, whatever ascends along it.
    fn reference(sign: f64, how: Attack, moves: [u32; 2], starts: &[Vec<f64>]) -> Vec<f64> {
        let origin: Vec<f64> = pictures().pixels().iter().map(|value| f64::from(*value)).collect();
        let length = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let project = |x: &mut [f64], origin: &[f64]| {
            let delta: Vec<f64> = x.iter().zip(origin).map(|(x, o)| x - o).collect();
            let shrink = (how.eps / length(&delta)).min(1.0);
            x.iter_mut().zip(origin).zip(delta).for_each(|((x, o), d)| *x = o + d * shrink);
        };
        let mut all = Vec::new();
        for sample in 0..2 {
            let own = &origin[sample * 4..(sample + 1) * 4];
            let mut x = starts.get(sample).cloned().unwrap_or_else(|| own.to_vec());
            if !starts.is_empty() {
                project(&mut x, own);
            }
            let row: Vec<f64> = ROWS[sample].iter().map(|value| f64::from(*value)).collect();
            for _ in 0..moves[sample] {
                for (x, r) in x.iter_mut().zip(&row) {
                    *x = (*x + sign * how.step_size * r / length(&row)).clamp(0.0, 1.0);
                }
                project(&mut x, own);
            }
            all.extend(x.into_iter().map(|x| x.clamp(0.0, 1.0)));
        }
        all
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
        }
    }

    const HOW: Attack = Attack { eps: 0.6, step_size: 0.5, steps: 3, grows_every: None, random_start: false };

    #[test]
    fn every_step_is_a_step_a_cut_and_a_projection() {
        assert_close(&run(Ascent::LESS_REAL, HOW, &[]), &reference(-1.0, HOW, [3, 3], &[]));
        assert_close(&run(Ascent::MORE_REAL, HOW, &[]), &reference(1.0, HOW, [3, 3], &[]));
        let random = Attack { random_start: true, steps: 2, ..HOW };
        let start = |sample| {
            let mut stream = Stream::new(1, Purpose::Training { step: 0, sample });
            (0..4).map(|_| stream.uniform()).collect::<Vec<_>>()
        };
        assert_close(&run(Ascent::LESS_REAL, random, &[]), &reference(-1.0, random, [2, 2], &[start(0), start(1)]));
    }

    #[test]
    fn a_picture_rests_once_it_is_more_real_than_its_partner() {
        let steps = Attack { step_size: 0.1, eps: 100.0, steps: 4, ..HOW };
        let moved = |moves| reference(1.0, steps, moves, &[]);
        // How real the second picture is after two moves, by hand.
        let after = moved([0, 2]);
        let logits = ROWS.map(|row| (0..4).map(|i| f64::from(row[i]) * after[4 + i]).sum::<f64>());
        let real = 1.0 / (1.0 + (-logits[0].max(logits[1])).exp());
        let found = run(Ascent::MORE_REAL, steps, &[2.0, real - 1e-4]);
        assert_close(&found, &moved([4, 2]));
        assert_close(&run(Ascent::MORE_REAL, steps, &[0.0]), &moved([0, 0]));
    }

    #[test]
    fn attacks_grow_with_the_training() {
        let grows = Attack { steps: 5, grows_every: Some(1000), ..HOW };
        assert_eq!([0, 999, 1000, 4500].map(|step| grows.steps_at(step)), [5, 5, 6, 9]);
        assert_eq!(HOW.steps_at(1 << 40), 3);
    }
}
