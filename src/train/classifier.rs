//! One step in the training of a classifier: plain, robust, or as a joint classifier-discriminator.

use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::attack::{Ascent, Attack, Victims, attack};
use super::error::{Problem, TrainError};
use super::learner::{Course, Keeper, Kept, Learned, Learner, Trainer, read};
use super::optimiser::OptimiserSettings;
use super::order::Variety;
use super::validation::{Tally, Validation};
use crate::checkpoint::CheckpointError;
use crate::image::ImageBatch;
use crate::net::Source;
use crate::net::resnet::{Resnet, ResnetConfig};
use crate::noise::{Purpose, Stream};
use crate::refiner::{Objective, reality};

/// What a classifier is trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClassifierObjective {
    /// The class of a picture.
    // With braces, or serde would take any other key beside the kind.
    Plain {},
    /// The class of a picture that is attacked (Madry et al. 2018).
    Robust {
        /// The attack, which makes the loss of the class larger.
        #[serde(default = "madry")]
        attack: Attack,
    },
    /// Class and realness of real and of generated pictures, all attacked (Golan et al. 2024).
    Joint {
        /// Which losses are added.
        #[serde(default)]
        terms: Terms,
        /// The attack on real pictures, which makes them look less real.
        #[serde(default = "on_real")]
        real: Attack,
        /// The attack on generated ones, which makes them look more real.
        #[serde(default = "on_fake")]
        fake: Attack,
        /// Whether a generated picture rests once it looks more real than the real one at its place in the batch.
        #[serde(default = "yes")]
        early_stop: bool,
        /// Where generated pictures come from: an .npz of samples, or a generator.
        fakes: String,
    },
}

const fn yes() -> bool {
    true
}
/// Engstrom et al., `robustness`: seven steps without a random start.
const fn madry() -> Attack {
    Attack { eps: 1.0, step_size: 0.35, steps: 7, grows_every: None, random_start: false }
}
/// Shelley-Golan/Boosting-via-Joint-Model, `main.py`, and the next.
const fn on_real() -> Attack {
    Attack { eps: 1.0, step_size: 0.5, steps: 2, grows_every: None, random_start: true }
}
const fn on_fake() -> Attack {
    Attack { eps: 100.0, step_size: 0.1, steps: 5, grows_every: Some(1000), random_start: false }
}

/// Which losses are added; with what is attacked they are the rows of the paper's ablation as far as they are known. `CE` is the
/// cross entropy of the class, `BCE` that of the sigmoid of its logit with 1 for real and 0 for generated pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Terms {
    /// `CE(real)`
    Ce,
    /// `BCE(real, 1) + BCE(fake, 0)`
    Bce,
    /// `CE(real) + BCE(real, 1) + BCE(fake, 0)`
    CeBce,
    /// `CE(real) + BCE(real, 1) + BCE(fake, 0) + CE(fake)`: the sum in the released code, which there has gradients of its first
    /// term only because the others are detached.
    #[default]
    Joint,
}

impl Terms {
    /// The loss of every pair of a real and a generated picture, both attacked.
    ///
    /// # Shapes
    /// Logits `[N, K]` of each, and their labels; returns `[N]`.
    #[must_use]
    pub fn loss(self, real: &(Tensor<2>, &[usize]), fake: &(Tensor<2>, &[usize])) -> Tensor<1> {
        let class = |(logits, labels): &(Tensor<2>, &[usize])| -Objective::Ce.value(logits.clone(), labels);
        let realness = || {
            let real = -Objective::Bce.value(real.0.clone(), real.1);
            real + Objective::BceFake.value(fake.0.clone(), fake.1)
        };
        match self {
            Self::Ce => class(real),
            Self::Bce => realness(),
            Self::CeBce => class(real) + realness(),
            Self::Joint => class(real) + realness() + class(fake),
        }
    }
}

impl ClassifierObjective {
    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Plain {} => None,
            Self::Robust { attack } => attack.problem(),
            Self::Joint { real, fake, .. } => real.problem().or_else(|| fake.problem()),
        }
    }
}

impl ClassifierObjective {
    /// The attack by which it is judged: ten steps that together reach two and a half times the radius, which is that of the
    /// training, or 1.
    const fn test(&self) -> Attack {
        let eps = match self {
            Self::Plain {} => 1.0,
            Self::Robust { attack } => attack.eps,
            Self::Joint { real, .. } => real.eps,
        };
        Attack { eps, step_size: 0.25 * eps, steps: 10, grows_every: None, random_start: false }
    }
}

/// Gives so many generated pictures for a step, and their labels: the same ones for the same step.
pub type Fakes<'a> = dyn FnMut(u64, usize) -> Result<(ImageBatch, Vec<usize>), TrainError> + 'a;

/// What a classifier's training consists of, beside its pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierPlan {
    /// The network.
    pub config: ResnetConfig,
    /// Mean and standard deviation per channel of pictures in `[0, 1]`.
    pub normalisation: [Vec<f32>; 2],
    /// What it is trained for.
    pub objective: ClassifierObjective,
    /// How it learns.
    pub optimiser: OptimiserSettings,
    /// How long.
    pub course: Course,
    /// Probability of dropout.
    pub dropout: f64,
    /// How pictures are varied.
    pub variety: Variety,
}

/// A classifier in training.
pub struct ClassifierTrainer<'a> {
    plan: ClassifierPlan,
    learner: Learner<Resnet>,
    fakes: Option<Box<Fakes<'a>>>,
    /// `[1, C, 1, 1]` each.
    normalisation: [Tensor<4>; 2],
    device: Device,
}

impl<'a> ClassifierTrainer<'a> {
    /// Takes the first values of the network from `source`.
    ///
    /// # Errors
    /// [`CheckpointError`] when the source lacks one.
    ///
    /// # Panics
    /// When a joint classifier has nobody who gives it generated pictures.
    pub fn new(
        plan: ClassifierPlan,
        source: &mut dyn Source,
        fakes: Option<Box<Fakes<'a>>>,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let joint = matches!(plan.objective, ClassifierObjective::Joint { .. });
        assert_eq!(joint, fakes.is_some(), "generated pictures where they are needed");
        let net = Resnet::load(&plan.config, source, device)?.with_dropout(plan.dropout).train();
        let learner = Learner::new(net, plan.config.tensors(), plan.optimiser.clone(), &plan.course.averages, device);
        let channels = plan.config.channels;
        let normalisation = plan.normalisation.each_ref();
        let normalisation =
            normalisation.map(|values| Tensor::from_data(TensorData::new(values.clone(), [1, channels, 1, 1]), device));
        Ok(Self { plan, learner, fakes, normalisation, device: device.clone() })
    }

    /// The real pictures of a step, varied.
    fn varied(&self, pictures: &ImageBatch, step: u64) -> ImageBatch {
        let shape @ [_, channels, h, w] = pictures.shape();
        let vary = |sample| {
            let mut stream = self.stream(step, sample);
            self.plan.variety.vary(pictures.sample(sample), [channels, h, w], &mut stream)
        };
        ImageBatch::new(shape, (0..pictures.len()).flat_map(vary).collect())
    }

    /// The logits of the network as it is now for inference, compiled where that can be: an attack asks for them many times.
    fn judge(&self, pictures: &ImageBatch) -> Box<dyn Fn(Tensor<4>) -> Tensor<2>> {
        let [_, _, h, w] = pictures.shape();
        let [mean, std] = &self.plan.normalisation;
        if let Some(plan) = self.learner.net.compiled([mean, std], [h, w]).map(Arc::new) {
            return Box::new(move |x| plan.logits(x));
        }
        let (net, normalisation) = (self.learner.net.valid(), self.normalisation.clone());
        Box::new(move |x| forward(&net, &normalisation, x))
    }

    /// The random numbers of a picture; those of its start in the ball are another's.
    fn stream(&self, step: u64, sample: usize) -> Stream {
        Stream::new(self.plan.course.seed, Purpose::Training { step: step as u32, sample: sample as u16 })
    }

    /// Both sides of a step as the network shall see them: attacked by the network as it is for inference.
    fn sides(&mut self, pictures: &ImageBatch, labels: &[usize]) -> Result<Sides, TrainError> {
        let step = self.learner.step;
        let real = self.varied(pictures, step);
        let fakes = match &mut self.fakes {
            Some(fakes) => Some(fakes(step, pictures.len())?),
            None => None,
        };
        let logits = self.judge(pictures);
        let mut start = |sample: usize| self.stream(step, sample + RANDOM_START);
        let mut against = |pictures: &ImageBatch, labels: &[usize], ascent, how: Attack, as_real_as: &[f64]| {
            let victims = Victims { pictures, labels, start: &mut start, as_real_as };
            attack(&logits, victims, ascent, (how, how.steps_at(step)), &self.device)
        };
        match (&self.plan.objective, fakes) {
            (ClassifierObjective::Robust { attack }, _) => {
                Ok(Sides { real: against(&real, labels, Ascent::WRONG_CLASS, *attack, &[])?, fake: None })
            }
            (ClassifierObjective::Joint { real: on_real, fake: on_fake, early_stop, .. }, Some((fake, classes))) => {
                let real = against(&real, labels, Ascent::LESS_REAL, *on_real, &[])?;
                let as_real_as = if *early_stop {
                    let found = logits(real.to_tensor(&self.device));
                    let [n, k] = found.dims();
                    reality(&read(found.reshape([n * k]))?, n)
                } else {
                    Vec::new()
                };
                let fake = against(&fake, &classes, Ascent::MORE_REAL, *on_fake, &as_real_as)?;
                Ok(Sides { real, fake: Some((fake, classes)) })
            }
            _ => Ok(Sides { real, fake: None }),
        }
    }
}

/// Where the places of random starts begin, behind those of a batch.
const RANDOM_START: usize = 1 << 15;

/// What a step learns from.
struct Sides {
    real: ImageBatch,
    fake: Option<(ImageBatch, Vec<usize>)>,
}

/// Logits of pictures in `[0, 1]`.
fn forward(net: &Resnet, [mean, std]: &[Tensor<4>; 2], x: Tensor<4>) -> Tensor<2> {
    net.forward((x - mean.clone()) / std.clone())
}

impl Trainer for ClassifierTrainer<'_> {
    fn steps_done(&self) -> u64 {
        self.learner.step
    }

    fn step(&mut self, pictures: &ImageBatch, labels: &[usize]) -> Result<Learned, TrainError> {
        let Sides { real, fake } = self.sides(pictures, labels)?;
        let Self { plan, normalisation, device, .. } = self;
        let (count, step) = (pictures.len(), self.learner.step);
        let parts = plan.course.parts(count);
        self.learner.learn(parts, count, |net, part| {
            if plan.dropout > 0.0 {
                device.seed(plan.course.dropout_seed(step, part.start));
            }
            let logits =
                |all: &ImageBatch| forward(net, normalisation, all.slice(part.start, part.end).to_tensor(device));
            let own = (logits(&real), &labels[part.clone()]);
            let loss = match (&plan.objective, &fake) {
                (ClassifierObjective::Joint { terms, .. }, Some((fake, classes))) => {
                    terms.loss(&own, &(logits(fake), &classes[part.clone()]))
                }
                _ => -Objective::Ce.value(own.0, own.1),
            };
            loss.sum()
        })
    }

    fn validate(&mut self, pictures: &ImageBatch, labels: &[usize]) -> Result<Option<Validation>, TrainError> {
        if pictures.is_empty() {
            return Ok(None);
        }
        let forward = self.judge(pictures);
        let device = &self.device;
        let judge = |pictures: &ImageBatch| {
            let logits = forward(pictures.to_tensor(device));
            let [n, classes] = logits.dims();
            read(logits.reshape([n * classes]))
        };
        let how = self.plan.objective.test();
        let (size, mut tally) = (self.plan.course.batch.max(1), Tally::default());
        for (place, labels) in labels.chunks(size).enumerate() {
            let part = pictures.slice(place * size, place * size + labels.len());
            let mut start = |sample| Stream::new(0, Purpose::Training { step: 0, sample: sample as u16 });
            let victims = Victims { pictures: &part, labels, start: &mut start, as_real_as: &[] };
            let attacked = attack(&forward, victims, Ascent::WRONG_CLASS, (how, how.steps), device)?;
            // Those of a step that no training comes to.
            let fake = match &mut self.fakes {
                Some(fakes) => Some(fakes(u64::from(u32::MAX) - place as u64, labels.len())?),
                None => None,
            };
            let of_fake = fake.as_ref().map(|(pictures, _)| judge(pictures)).transpose()?;
            let fake = of_fake.as_ref().zip(fake.as_ref()).map(|(logits, (_, labels))| (&logits[..], &labels[..]));
            tally.add((&judge(&part)?, labels), (&judge(&attacked)?, labels), fake);
        }
        Ok(Some(tally.found()))
    }

    fn kept(&self) -> Vec<Kept> {
        self.learner.kept()
    }

    fn take(&mut self, step: u64, keeper: &mut Keeper<'_>) -> Result<(), CheckpointError> {
        self.learner.take(step, keeper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_the_sums_of_their_terms() {
        let of = |values: [f32; 4]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 2]), &Device::flex());
        let (real, fake) = ([1.0, -0.5, 0.25, 2.0], [0.5, 3.0, -1.0, 0.0]);
        let (of_real, of_fake) = ([0, 1], [1, 0]);
        let ce = |logits: [f32; 4], i: usize, label: usize| {
            let row = [f64::from(logits[2 * i]), f64::from(logits[2 * i + 1])];
            row.iter().map(|f| f.exp()).sum::<f64>().ln() - row[label]
        };
        let sigmoid = |f: f64| 1.0 / (1.0 + (-f).exp());
        let bce = |logits: [f32; 4], i: usize, label: usize, real: f64| {
            let s = sigmoid(f64::from(logits[2 * i + label]));
            -(real * s.ln() + (1.0 - real) * (1.0 - s).ln())
        };
        for i in 0..2 {
            let ce_real = ce(real, i, of_real[i]);
            let realness = bce(real, i, of_real[i], 1.0) + bce(fake, i, of_fake[i], 0.0);
            for (terms, expected) in [
                (Terms::Ce, ce_real),
                (Terms::Bce, realness),
                (Terms::CeBce, ce_real + realness),
                (Terms::Joint, ce_real + realness + ce(fake, i, of_fake[i])),
            ] {
                let found = terms.loss(&(of(real), &of_real), &(of(fake), &of_fake));
                let found = f64::from(read(found).unwrap()[i]);
                assert!((found - expected).abs() < 1e-5, "{terms:?}: {found}, not {expected}");
            }
        }
    }
}
