//! One step in the training of a generator.

use burn::module::Module as _;
use burn::tensor::{Device, Tensor, TensorData};

use super::boosting::{Bank, Lesson};
use super::error::TrainError;
use super::learner::{Course, Keeper, Kept, Learned, Learner, Trainer, follow};
use super::levels::between;
use super::loss::{Aim, consistency, denoising, halving};
use super::metric::Measure;
use super::objective::{Objective, Place};
use super::optimiser::OptimiserSettings;
use super::order::Variety;
use super::validation::Validation;
use crate::checkpoint::CheckpointError;
use crate::generator::preconditioning::Preconditioning;
use crate::generator::{GenerateSettings, Generator};
use crate::image::ImageBatch;
use crate::net::Source;
use crate::net::lpips::Lpips;
use crate::net::numbers::{numbers, with_numbers};
use crate::net::unet::{Unet, UnetConfig};
use crate::noise::{Purpose, Stream, normal_noise};
use crate::zoo::DiffusionManifest;

/// The list of the target network's tensors.
const TARGET: &str = "target";

/// What a generator's training consists of, beside its pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorPlan {
    /// The network.
    pub config: UnetConfig,
    /// Noise levels and preconditioning.
    pub diffusion: DiffusionManifest,
    /// What it is trained for.
    pub objective: Objective,
    /// How it learns.
    pub optimiser: OptimiserSettings,
    /// How long.
    pub course: Course,
    /// Probability of dropout.
    pub dropout: f64,
    /// How pictures are varied.
    pub variety: Variety,
}

/// A generator in training.
pub struct GeneratorTrainer {
    plan: GeneratorPlan,
    preconditioning: Preconditioning,
    learner: Learner<Unet>,
    measure: Measure,
    /// Numbers of the network that follows slowly, where there is one.
    target: Option<Vec<Tensor<1>>>,
    teacher: Option<Generator>,
    bank: Option<Bank>,
    device: Device,
}

/// What a training needs beside pictures, where its objective says so.
#[derive(Default)]
pub struct Helpers {
    /// A generator of EDM.
    pub teacher: Option<Generator>,
    /// Refined pictures.
    pub bank: Option<Bank>,
    /// The network of the distance.
    pub lpips: Option<Lpips>,
}

/// What is random in a step, of all of its pictures.
struct Draws {
    /// `[N, C, H, W]`, varied, in generator units.
    pictures: Tensor<4>,
    /// Unit noise of the same shape.
    noise: Tensor<4>,
    levels: Vec<[f64; 2]>,
    weights: Vec<f64>,
}

impl GeneratorTrainer {
    /// Takes the first values of the network from `source`.
    ///
    /// # Errors
    /// [`CheckpointError`] when the source lacks one.
    ///
    /// # Panics
    /// When the objective wants a helper that is not there.
    pub fn new(
        plan: GeneratorPlan,
        source: &mut dyn Source,
        Helpers { teacher, bank, lpips }: Helpers,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        assert_eq!(plan.objective.teacher().is_some(), teacher.is_some(), "a teacher where one teaches");
        assert_eq!(
            matches!(plan.objective, Objective::Boosted(_)),
            bank.is_some(),
            "refined pictures where they teach"
        );
        let net = Unet::load(plan.config.clone(), source, device)?.with_dropout(plan.dropout).train();
        let learner = Learner::new(net, plan.config.tensors(), plan.optimiser.clone(), &plan.course.averages, device);
        let first = Place { step: 0, steps: plan.course.steps };
        let target = plan.objective.decay(first).map(|_| numbers(&learner.net));
        let preconditioning = Preconditioning::new(&plan.diffusion);
        let measure = plan.objective.metric().measure(lpips);
        Ok(Self { plan, preconditioning, learner, measure, target, teacher, bank, device: device.clone() })
    }

    /// The network that the student is compared with, without gradients; none for denoising, and where one call is all.
    fn aim(&self) -> Option<Unet> {
        if self.plan.objective.is_alone() {
            return None;
        }
        let net = self.learner.net.clone();
        // Outside of training there is no dropout, which both networks need where they are to agree.
        let net = if self.shares_dropout() { net.no_grad() } else { net.valid() };
        Some(match &self.target {
            Some(target) => with_numbers(net, target),
            None => net,
        })
    }

    fn shares_dropout(&self) -> bool {
        self.plan.dropout > 0.0 && self.plan.objective.halving().is_none()
    }

    /// The network that is worth most, ready to make pictures of this shape.
    fn finished(&self, shape: [usize; 3]) -> Generator {
        let classes = self.plan.config.num_classes.unwrap_or(0);
        let names = (0..classes).map(|class| class.to_string()).collect();
        Generator::of(self.learner.best(), &self.plan.diffusion, shape, names)
    }

    /// What one call begins with: the noise of a lesson's seeds at the largest level.
    fn one_call(&self, lesson: &Lesson) -> Tensor<4> {
        let noise = normal_noise(&lesson.seeds, Purpose::Sampling(0), lesson.pictures.sample_len());
        let noise = TensorData::new(noise, lesson.pictures.shape());
        Tensor::from_data(noise, &self.device) * self.plan.diffusion.sigma_max
    }

    fn draw(&self, pictures: &ImageBatch, place: Place) -> Draws {
        let GeneratorPlan { diffusion, objective, course, variety, .. } = &self.plan;
        let (shape @ [_, channels, h, w], len) = (pictures.shape(), pictures.sample_len());
        let (mut values, mut noise) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let (mut levels, mut weights) = (Vec::new(), Vec::new());
        for sample in 0..pictures.len() {
            let purpose = Purpose::Training { step: place.step as u32, sample: sample as u16 };
            let mut stream = Stream::new(course.seed, purpose);
            let varied = variety.vary(pictures.sample(sample), [channels, h, w], &mut stream);
            values.extend(varied.into_iter().map(|value| 2.0 * value - 1.0));
            let pair = objective.levels(diffusion, place, &mut stream);
            weights.push(objective.weighting().at(pair, diffusion.sigma_data));
            levels.push(pair);
            noise.extend(stream.normal(len));
        }
        let [pictures, noise] =
            [values, noise].map(|values| Tensor::from_data(TensorData::new(values, shape), &self.device));
        Draws { pictures, noise, levels, weights }
    }
}

impl Trainer for GeneratorTrainer {
    fn steps_done(&self) -> u64 {
        self.learner.step
    }

    fn prepare(&mut self) -> Result<Option<(usize, usize)>, TrainError> {
        let steps = self.plan.course.steps;
        self.bank.as_mut().map_or(Ok(None), |bank| bank.prepare(steps))
    }

    fn step(&mut self, pictures: &ImageBatch, labels: &[usize]) -> Result<Learned, TrainError> {
        let place = Place { step: self.learner.step, steps: self.plan.course.steps };
        let lesson = self.bank.as_mut().map(|bank| bank.lesson(place.step)).transpose()?;
        let (pictures, labels) =
            lesson.as_ref().map_or((pictures, labels), |lesson| (&lesson.pictures, lesson.labels.as_slice()));
        if let Some(halving) = self.plan.objective.halving() {
            self.learner.pursue(halving.at(place.step).1);
        }
        let draws = self.draw(pictures, place);
        let one_call = lesson.as_ref().map(|lesson| self.one_call(lesson));
        let (net, shares_dropout) = (self.aim(), self.shares_dropout());
        let Self { plan, preconditioning, measure, teacher, device, .. } = self;
        let measure = &*measure;
        let (count, classes) = (pictures.len(), plan.config.num_classes.is_some());
        let parts = plan.course.parts(count);
        let learned = self.learner.learn(parts, count, |student, part| {
            let (first, len) = (part.start, part.len());
            let labels = classes.then(|| &labels[part.clone()]);
            let inputs = [&draws.pictures, &draws.noise].map(|all| all.clone().narrow(0, first, len));
            let (levels, weights) = (&draws.levels[part.clone()], &draws.weights[part]);
            let through = |net: &Unet, x: Tensor<4>, sigmas: &[f64]| {
                if plan.dropout > 0.0 {
                    // Both networks leave out the same values, and a resumed step those of the first try.
                    device.seed(plan.course.dropout_seed(place.step, first));
                }
                preconditioning.apply(x, sigmas, |x, times| net.forward(x, times, labels))
            };
            let student = |x: Tensor<4>, sigmas: &[f64]| through(student, x, sigmas);
            let first_call = one_call.as_ref().map(|noise| {
                let made = student(noise.clone().narrow(0, first, len), &vec![plan.diffusion.sigma_max; len]);
                measure.distance(made, inputs[0].clone()).sum()
            });
            let Some(net) = &net else {
                let sigmas: Vec<f64> = levels.iter().map(|pair| pair[0]).collect();
                return first_call.unwrap_or_else(|| denoising(&student, inputs, &sigmas, weights).sum());
            };
            let target = |x: Tensor<4>, sigmas: &[f64]| {
                // Dropout looks whether there could be gradients.
                let x = if shares_dropout { x.autodiff() } else { x };
                through(net, x, sigmas)
            };
            if plan.objective.halving().is_some() {
                let middle = |pair: &[f64; 2]| [pair[0], between(&plan.diffusion, *pair), pair[1]];
                let levels: Vec<[f64; 3]> = levels.iter().map(middle).collect();
                return halving(&student, &target, inputs, &levels, (measure, weights)).sum();
            }
            let taught = teacher.as_ref().map(|teacher| {
                move |x: Tensor<4>, sigmas: &[f64]| teacher.denoise(x, sigmas, labels.unwrap_or_default())
            });
            let aim = Aim { target: &target, teacher: taught.as_ref().map(|teacher| teacher as _) };
            let agreement = consistency(&student, &aim, inputs, levels, (measure, weights)).sum();
            match (first_call, &plan.objective) {
                (Some(first_call), Objective::Boosted(boosting)) => first_call + agreement * boosting.consistency,
                _ => agreement,
            }
        })?;
        let decay = self.plan.objective.decay(place).filter(|decay| *decay < 1.0);
        if let (Some(target), Some(decay)) = (&mut self.target, decay) {
            follow(target, &numbers(&self.learner.net), decay);
        }
        Ok(learned)
    }

    fn validate(&mut self, _pictures: &ImageBatch, _labels: &[usize]) -> Result<Option<Validation>, TrainError> {
        let Some(shape) = self.bank.as_ref().map(Bank::shape) else { return Ok(None) };
        let generator = self.finished(shape);
        self.bank.as_mut().map_or(Ok(None), |bank| bank.validate(&generator))
    }

    fn sampling(&self) -> Option<GenerateSettings> {
        Some(self.plan.objective.sampling(self.learner.step.saturating_sub(1)))
    }

    fn kept(&self) -> Vec<Kept> {
        let target = self.target.iter().map(|target| self.learner.list(TARGET, target));
        self.learner.kept().into_iter().chain(target).collect()
    }

    fn take(&mut self, step: u64, keeper: &mut Keeper<'_>) -> Result<(), CheckpointError> {
        if self.target.is_some() {
            self.target = Some(self.learner.read(TARGET, keeper)?);
        }
        self.learner.take(step, keeper)
    }
}
