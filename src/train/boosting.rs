//! A generator's own pictures, refined: what it is tuned towards, so that one call gives what refinement gave.

use std::num::NonZeroU32;
use std::ops::Range;

use burn::tensor::Device;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::error::{Problem, TrainError, not_negative, spread};
use super::learner::{Course, MAX_BATCH};
use super::levels::Tightening;
use super::metric::Metric;
use super::order::Order;
use super::validation::Validation;
use crate::checkpoint::CheckpointError;
use crate::classifier::Classifier;
use crate::generator::{Generator, Making, Plan};
use crate::image::ImageBatch;
use crate::noise::{Purpose, Stream};
use crate::refiner::{Batch, Best, Chunks, Keep, RefineSettings, Refiner, State};

/// How a generator is tuned towards its own refined pictures.
///
/// From the noise of a seed one call is to make what the generator made before, refined: the distance of the two is the first
/// term of the loss. The second one keeps the network a consistency model, which editing and sampling in several steps need:
/// at random levels, noisy refined pictures are to agree with themselves a little nearer to the picture, as in easy consistency
/// tuning with the refined pictures as data. The refined picture itself as target would be blurred by large levels, at which
/// many pictures are possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boosting {
    /// Refined pictures that are kept and seen again and again, at least those of a step; 0 makes new ones for every step.
    pub bank: usize,
    /// Pictures of seeds that are never learnt from, by which it is judged.
    pub held_out: usize,
    /// How much the second term counts beside the first. The gradients of both are about as long with the pseudo-Huber
    /// distance, so at 0.25 one call is learnt above all.
    pub consistency: f64,
    /// Mean of the logarithm of its levels.
    pub mean: f64,
    /// Its standard deviation.
    pub deviation: f64,
    /// How near the two levels are: from the beginning as near as at the end of easy consistency tuning, because the network is
    /// consistent already.
    pub tightening: Tightening,
    /// The distance of both terms.
    pub metric: Metric,
    /// How pictures are refined.
    #[serde(deserialize_with = "known")]
    pub refine: RefineSettings,
}

impl Default for Boosting {
    fn default() -> Self {
        Self {
            bank: 4096,
            held_out: 256,
            consistency: 0.25,
            mean: -1.1,
            deviation: 2.0,
            tightening: Tightening { q: 256.0, every: 1_000_000, ..Tightening::default() },
            metric: Metric::PseudoHuber { c: None },
            refine: RefineSettings::default(),
        }
    }
}

impl Boosting {
    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(&self) -> Problem {
        if self.held_out > MAX_BATCH {
            return Some((format!("held_out = {}", self.held_out), "at most 32768 pictures are held out"));
        }
        let numbers = not_negative("consistency", self.consistency)
            .or_else(|| spread(self.mean, self.deviation))
            .or_else(|| self.tightening.problem());
        if numbers.is_some() {
            return numbers;
        }
        if self.refine.iterations.is_none() || self.refine.early_stop {
            let what = "iterations without an end, or early_stop, in [objective.refine]".to_owned();
            return Some((what, "every picture is refined by the same number of iterations"));
        }
        let refused = self.refine.check().err();
        refused.map(|error| {
            let what = format!("{} = {} in [objective.refine]", error.label, error.found);
            (what, "it is in the range that `lapidary refine --help` names")
        })
    }

    /// Refined pictures that a training learns from, and those that are held out.
    #[must_use]
    pub fn pictures(&self, course: &Course) -> (usize, usize) {
        let steps = course.steps as usize;
        let parts = if self.bank == 0 { steps } else { self.bank.div_ceil(course.batch).min(steps) };
        (parts.saturating_mul(course.batch), self.held_out)
    }
}

/// Settings of refinement as a person writes them: other programs' files may hold what this one does not know, a
/// configuration may not.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<RefineSettings, D::Error> {
    let table = toml::Table::deserialize(from)?;
    let all = toml::Table::try_from(RefineSettings::default()).map_err(de::Error::custom)?;
    if let Some(key) = table.keys().find(|key| !all.contains_key(*key)) {
        let names = all.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        return Err(de::Error::custom(format!("unknown field `{key}`, expected one of {names}")));
    }
    table.try_into().map_err(de::Error::custom)
}

/// Pictures that were made and refined.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// Refined, in `[0, 1]`.
    pub pictures: ImageBatch,
    /// The objective of every one.
    pub objective: Vec<f32>,
}

/// Makes and refines pictures of a generator that stays as it is.
pub struct Booster {
    generator: Generator,
    classifier: Classifier,
    settings: RefineSettings,
    /// For every class of the generator that of the classifier; none where refinement asks for no classes.
    classes: Vec<usize>,
    /// Of the training.
    seed: u64,
    compute: (Chunks, Device),
}

/// Places of held-out pictures: those of a step that no training comes to.
const HELD_OUT: u64 = (u32::MAX as u64) << 15;

impl Booster {
    /// `classes` are, for every class of the generator, those of the classifier, none where refinement asks for none; `seed` is
    /// the training's.
    #[must_use]
    pub fn new(
        (generator, classifier): (Generator, Classifier),
        settings: RefineSettings,
        classes: Vec<usize>,
        seed: u64,
        compute: (Chunks, Device),
    ) -> Self {
        Self { generator, classifier, settings, classes, seed, compute }
    }

    /// Seeds and classes of the pictures at some places in the endless row of all.
    fn drawn(&self, places: impl IntoIterator<Item = u64>) -> (Vec<u64>, Vec<usize>) {
        let classes = self.generator.classes().len();
        let draw = |place: u64| {
            let purpose = Purpose::Training { step: (place >> 15) as u32, sample: (place & 0x7fff) as u16 };
            // The training itself draws from its own seed.
            let mut stream = Stream::new(!self.seed, purpose);
            ((stream.uniform() * (1_u64 << 53) as f64) as u64, stream.below(classes))
        };
        places.into_iter().map(draw).unzip()
    }

    /// What `generator` makes at some places in one call, under the eyes of the classifier.
    fn start(
        &self,
        generator: &Generator,
        places: Range<u64>,
        settings: RefineSettings,
    ) -> Result<(Refiner, State), TrainError> {
        let (seeds, labels) = self.drawn(places);
        let plan = Plan::multistep(vec![generator.diffusion().sigma_max]);
        let mut making = Making::sample(generator, &seeds, &labels, &plan, &self.compute.1);
        while !making.step(generator) {}
        let labels = labels.iter().map(|label| self.classes.get(*label).copied().unwrap_or(0)).collect();
        let batch = Batch { origin: making.images()?, from: None, labels, seeds, references: Vec::new() };
        Ok(Refiner::start(&self.classifier, batch, settings, self.compute.clone())?)
    }

    fn refine(&self, places: Range<u64>) -> Result<Refined, TrainError> {
        let (mut refiner, mut state) = self.start(&self.generator, places, self.settings.clone())?;
        let mut best = Best::default();
        best.take(&state, true);
        for _ in 0..self.settings.iterations.map_or(0, NonZeroU32::get) {
            state = refiner.step(&self.classifier)?;
            best.take(&state, true);
        }
        let best = best.state(state.iteration).filter(|_| self.settings.keep == Keep::Best);
        let State { images, numbers, .. } = best.unwrap_or(state);
        Ok(Refined { pictures: images, objective: numbers.objective })
    }
}

/// Where refined pictures are kept from one start of the program to the next: making them again gives the same ones.
pub trait Shelf {
    /// So many pictures of this shape that were put there under a name, if they are there and whole.
    fn take(&mut self, name: &str, shape: [usize; 4]) -> Option<Refined>;

    /// Keeps pictures under a name.
    ///
    /// # Errors
    /// [`CheckpointError`] when they cannot be kept.
    fn put(&mut self, name: &str, refined: &Refined) -> Result<(), CheckpointError>;
}

/// What a step learns from.
pub(super) struct Lesson {
    /// Refined.
    pub(super) pictures: ImageBatch,
    pub(super) labels: Vec<usize>,
    /// Those that the pictures were made from.
    pub(super) seeds: Vec<u64>,
}

/// The refined pictures of a training. Each of the first steps sees its own; later ones see them again in other orders.
pub struct Bank {
    booster: Booster,
    shelf: Box<dyn Shelf>,
    /// Pictures of a step.
    batch: usize,
    /// Those of each of the first steps.
    parts: Vec<Option<ImageBatch>>,
    order: Option<Order>,
    held_out: usize,
    /// Objectives of held-out pictures, refined, likewise in parts.
    judged: Vec<Vec<f32>>,
    /// Mean objective of held-out pictures as they are made by the generator that stays, and refined.
    ends: Option<[f64; 2]>,
}

impl Bank {
    /// For steps of so many pictures.
    #[must_use]
    pub fn new(booster: Booster, shelf: Box<dyn Shelf>, boosting: &Boosting, batch: usize) -> Self {
        let parts = vec![None; boosting.bank.div_ceil(batch)];
        let order = (!parts.is_empty()).then(|| Order::new(booster.seed, parts.len() * batch));
        Self { booster, shelf, batch, parts, order, held_out: boosting.held_out, judged: Vec::new(), ends: None }
    }

    /// `[C, H, W]` of a picture.
    pub(super) const fn shape(&self) -> [usize; 3] {
        self.booster.generator.sample_shape()
    }

    /// Makes a part of what so many steps see again and again and are judged by, unless all is there: how many pictures there
    /// are then, and how many there are to be.
    pub(super) fn prepare(&mut self, steps: u64) -> Result<Option<(usize, usize)>, TrainError> {
        let wanted = self.parts.len().min(steps as usize);
        let of = wanted * self.batch + self.held_out;
        if let Some(part) = self.parts[..wanted].iter().position(Option::is_none) {
            self.part(part)?;
            return Ok(Some(((part + 1) * self.batch, of)));
        }
        let is_made = self.hold_out()?;
        Ok(is_made.then(|| (of.min((wanted + self.judged.len()) * self.batch), of)))
    }

    /// Refines the next part of held-out pictures, unless all are.
    fn hold_out(&mut self) -> Result<bool, TrainError> {
        let part = self.judged.len();
        let Some(places) = self.held_out().nth(part) else { return Ok(false) };
        let refined = self.kept(&format!("held_out_{part:06}"), places)?;
        self.judged.push(refined.objective);
        Ok(true)
    }

    /// What a step learns from.
    pub(super) fn lesson(&mut self, step: u64) -> Result<Lesson, TrainError> {
        let (parts, size) = (self.parts.len() as u64, self.batch as u64);
        let places: Vec<u64> = match &mut self.order {
            Some(order) if step >= parts => {
                order.batch(step - parts, self.batch).into_iter().map(|i| i as u64).collect()
            }
            _ => (step * size..(step + 1) * size).collect(),
        };
        let (seeds, labels) = self.booster.drawn(places.iter().copied());
        if parts == 0 {
            let pictures = self.booster.refine(places[0]..places[0] + size)?.pictures;
            return Ok(Lesson { pictures, labels, seeds });
        }
        let [c, h, w] = self.shape();
        let mut pixels = Vec::with_capacity(self.batch * c * h * w);
        for place in places {
            pixels.extend_from_slice(self.part((place / size) as usize)?.sample((place % size) as usize));
        }
        Ok(Lesson { pictures: ImageBatch::new([self.batch, c, h, w], pixels), labels, seeds })
    }

    /// The pictures of one of the first steps.
    fn part(&mut self, part: usize) -> Result<&ImageBatch, TrainError> {
        if self.parts[part].is_none() {
            let first = (part * self.batch) as u64;
            let found = self.kept(&format!("{part:06}"), first..first + self.batch as u64)?;
            self.parts[part] = Some(found.pictures);
        }
        Ok(self.parts[part].as_ref().expect("it was put there"))
    }

    /// Pictures from the shelf, or made and put there.
    fn kept(&mut self, name: &str, places: Range<u64>) -> Result<Refined, TrainError> {
        let [c, h, w] = self.shape();
        if let Some(found) = self.shelf.take(name, [(places.end - places.start) as usize, c, h, w]) {
            return Ok(found);
        }
        let made = self.booster.refine(places)?;
        self.shelf.put(name, &made)?;
        Ok(made)
    }

    /// The places of held-out pictures, as many at a time as a step has.
    fn held_out(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (count, size) = (self.held_out as u64, self.batch as u64);
        (0..count).step_by(self.batch).map(move |first| HELD_OUT + first..HELD_OUT + count.min(first + size))
    }

    /// The mean objective of what `generator` makes at held-out places.
    fn value(&self, generator: &Generator) -> Result<f64, TrainError> {
        let mut found = Vec::new();
        for places in self.held_out() {
            // A random start would judge other pictures.
            let settings = self.booster.settings.clone().at_origin();
            found.extend(self.booster.start(generator, places, settings)?.1.numbers.objective);
        }
        Ok(mean(&found))
    }

    /// What a generator in training is worth, between the one that stays and refinement.
    pub(super) fn validate(&mut self, generator: &Generator) -> Result<Option<Validation>, TrainError> {
        if self.held_out == 0 {
            return Ok(None);
        }
        let [before, refined] = match self.ends {
            Some(ends) => ends,
            None => {
                while self.hold_out()? {}
                *self.ends.insert([self.value(&self.booster.generator)?, mean(&self.judged.concat())])
            }
        };
        Ok(Some(recovered(self.held_out, [before, self.value(generator)?, refined])))
    }
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64
}

/// Mean objectives of what the generator that stays makes, of what the one in training makes, and of the former refined.
fn recovered(pictures: usize, [before, now, refined]: [f64; 3]) -> Validation {
    let share = (now - before) / (refined - before);
    let share = Some(share).filter(|share| share.is_finite());
    let numbers = [("before", Some(before)), ("now", Some(now)), ("refined", Some(refined)), ("recovered", share)];
    Validation::new(pictures, &numbers)
}
