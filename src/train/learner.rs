//! A network that learns: its weights, the optimiser's memory, and averages over the steps.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefMutIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::error::{Problem, TrainError};
use super::optimiser::{Optimiser, OptimiserSettings};
use super::validation::Validation;
use crate::checkpoint::CheckpointError;
use crate::generator::GenerateSettings;
use crate::image::ImageBatch;
use crate::net::numbers::{gradients, named, numbers, with_numbers};

/// How long a training is and in which pieces it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Course {
    /// Everything random follows from it.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Pictures of a step.
    pub batch: usize,
    /// Parts in which a step's pictures go through the network, one behind the other, where memory does not hold them together.
    pub parts: usize,
    /// What each of the averages of the weights keeps of itself at a step.
    pub averages: Vec<f64>,
}

impl Default for Course {
    fn default() -> Self {
        Self { seed: 0, steps: 20_000, batch: 64, parts: 1, averages: vec![0.999] }
    }
}

/// Pictures of a step that its streams can tell apart.
pub(super) const MAX_BATCH: usize = 1 << 15;

impl Course {
    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(&self) -> Problem {
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Some((format!("batch = {}", self.batch), "a step has 1 to 32768 pictures"));
        }
        if !(1..=self.batch).contains(&self.parts) {
            return Some((format!("parts = {}", self.parts), "it is from 1 to the pictures of the batch"));
        }
        if !(1..=u64::from(u32::MAX)).contains(&self.steps) {
            return Some((format!("steps = {}", self.steps), "there are 1 to 4294967295"));
        }
        if let Some(rate) = self.averages.iter().find(|rate| !(0.0..1.0).contains(*rate)) {
            return Some((format!("averages has {rate}"), "what is kept of an average is between 0 and 1"));
        }
        let mut others = self.averages.iter().enumerate();
        let twice = others.find(|(place, rate)| self.averages[..*place].contains(rate));
        twice.map(|(_, rate)| (format!("averages has {rate} twice"), "every average has a rate of its own"))
    }

    /// What a part of a step draws its dropout from: the same for every network of the step, and when it is done again.
    pub(super) const fn dropout_seed(&self, step: u64, first: usize) -> u64 {
        self.seed ^ (step << 16 | first as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Where each part of a step's pictures begins and ends.
    pub(super) fn parts(&self, count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let size = count.div_ceil(self.parts.max(1)).max(1);
        (0..count).step_by(size).map(move |first| first..(first + size).min(count))
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Mean loss of its pictures.
    pub loss: f64,
    /// L2 length of the gradient of all parameters together, before it was shortened.
    pub gradient: f64,
    /// The step size.
    pub rate: f64,
}

/// A list of tensors of a training, as it is kept in files.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it is called.
    pub name: String,
    /// Whether it is a network that can be used; the others are what the training remembers.
    pub is_network: bool,
    /// Name, shape and values of each.
    pub tensors: Vec<(String, Vec<usize>, Tensor<1>)>,
}

/// Gives the values of a tensor that was kept: by the name of its list, its own, and its shape.
pub type Keeper<'a> = dyn FnMut(&str, &str, &[usize]) -> Result<Vec<f32>, CheckpointError> + 'a;

/// A network in training, whatever it is trained for.
pub trait Trainer {
    /// Steps that are done.
    fn steps_done(&self) -> u64;

    /// Makes a part of the pictures of its own that the steps learn from and that it is judged by, unless all are there: how
    /// many there are then, and how many there are to be.
    ///
    /// # Errors
    /// [`TrainError`]; the part is not made then.
    fn prepare(&mut self) -> Result<Option<(usize, usize)>, TrainError> {
        Ok(None)
    }

    /// Learns from pictures in `[0, 1]` and their labels, which a network without classes ignores; there are none where it has
    /// pictures of its own.
    ///
    /// # Errors
    /// [`TrainError`]; the step is not done then.
    fn step(&mut self, pictures: &ImageBatch, labels: &[usize]) -> Result<Learned, TrainError>;

    /// What it is worth on pictures that it did not learn from; `None` where that is not known of them.
    ///
    /// # Errors
    /// [`TrainError`] when the device fails.
    fn validate(&mut self, _pictures: &ImageBatch, _labels: &[usize]) -> Result<Option<Validation>, TrainError> {
        Ok(None)
    }

    /// How what was learnt last makes pictures; `None` where it makes none.
    fn sampling(&self) -> Option<GenerateSettings> {
        None
    }

    /// Everything that the next step depends on.
    fn kept(&self) -> Vec<Kept>;

    /// Takes over what was kept after so many steps.
    ///
    /// # Errors
    /// [`CheckpointError`] when something is missing or of another shape.
    fn take(&mut self, step: u64, keeper: &mut Keeper<'_>) -> Result<(), CheckpointError>;
}

/// The name of the network's own list.
const MODEL: &str = "model";
/// How those of the averages begin; what they keep of themselves at a step follows.
const AVERAGE: &str = "ema_";
/// Those of the optimiser's memory.
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];

/// A network with what it learns by.
#[derive(Debug)]
pub(super) struct Learner<M> {
    /// In training.
    pub(super) net: M,
    /// Names and shapes of the lists' tensors.
    tensors: Vec<(String, Vec<usize>)>,
    settings: OptimiserSettings,
    optimiser: Optimiser,
    averages: Vec<(f64, Vec<Tensor<1>>)>,
    /// Steps that are done.
    pub(super) step: u64,
    /// At which of them it began to learn what it learns now: the optimiser counts from there.
    begun: u64,
    device: Device,
}

impl<M: Module> Learner<M> {
    /// `net` in training, `tensors` as its configuration lists them.
    pub(super) fn new(
        net: M,
        tensors: Vec<(String, Vec<usize>)>,
        settings: OptimiserSettings,
        rates: &[f64],
        device: &Device,
    ) -> Self {
        let tensors = named(&net, tensors);
        let lengths: Vec<usize> = tensors.iter().map(|(_, shape)| shape.iter().product()).collect();
        let optimiser = Optimiser::new(settings.clone(), &lengths, device);
        let averages = rates.iter().map(|rate| (*rate, numbers(&net))).collect();
        Self { net, tensors, settings, optimiser, averages, step: 0, begun: 0, device: device.clone() }
    }

    /// Learns what it began to learn at step `begun`: there the optimiser forgets, and the averages begin anew.
    pub(super) fn pursue(&mut self, begun: u64) {
        self.begun = begun;
        if begun == self.step && begun > 0 {
            let lengths: Vec<usize> = self.tensors.iter().map(|(_, shape)| shape.iter().product()).collect();
            self.optimiser = Optimiser::new(self.settings.clone(), &lengths, &self.device);
            for (_, average) in &mut self.averages {
                *average = numbers(&self.net);
            }
        }
    }

    /// Makes a step: the mean of `loss` over `count` pictures goes down. `loss` gives the sum of a part's losses.
    pub(super) fn learn(
        &mut self,
        parts: impl Iterator<Item = std::ops::Range<usize>>,
        count: usize,
        mut loss: impl FnMut(&M, std::ops::Range<usize>) -> Tensor<1>,
    ) -> Result<Learned, TrainError> {
        let (mut sum, mut value) = (Vec::new(), 0.0);
        for part in parts {
            let loss = loss(&self.net, part) / count as f64;
            let mut found = loss.backward();
            value += f64::from(read(loss)?.first().copied().unwrap_or(f32::NAN));
            let found = gradients(&self.net, &mut found);
            sum = if sum.is_empty() { found } else { sum.into_iter().zip(found).map(add).collect() };
        }
        let norm = length(&sum)?;
        if !value.is_finite() || !norm.is_finite() {
            return Err(TrainError::NotFinite { step: self.step });
        }
        let scale = self.optimiser.clip(norm);
        let step = self.step - self.begun;
        let new = self.optimiser.step(step, numbers(&self.net), sum, scale);
        for (rate, average) in &mut self.averages {
            follow(average, &new, *rate);
        }
        self.net = with_numbers(self.net.clone(), &new);
        let rate = self.settings.rate_at(step);
        self.step += 1;
        Ok(Learned { loss: value, gradient: norm, rate })
    }

    /// The network that is worth most: the first of the averages over the steps, where there is one.
    pub(super) fn best(&self) -> M {
        let net = self.net.valid();
        match self.averages.first() {
            Some((_, average)) => with_numbers(net, average),
            None => net,
        }
    }

    /// Everything that the next step depends on.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let averages = self.averages.iter().map(|(rate, average)| self.list(&average_name(*rate), average));
        let moments = MOMENTS.iter().zip(&self.optimiser.moments).map(|(name, moments)| self.list(name, moments));
        std::iter::once(self.list(MODEL, &numbers(&self.net))).chain(averages).chain(moments).collect()
    }

    /// A list of tensors under a name.
    pub(super) fn list(&self, name: &str, numbers: &[Tensor<1>]) -> Kept {
        let tensors = self.tensors.iter().zip(numbers);
        let tensors = tensors.map(|((name, shape), values)| (name.clone(), shape.clone(), values.clone())).collect();
        let is_network = name == MODEL || name.starts_with(AVERAGE);
        Kept { name: name.to_owned(), is_network, tensors }
    }

    /// Takes over what was kept after so many steps.
    pub(super) fn take(&mut self, step: u64, keeper: &mut Keeper<'_>) -> Result<(), CheckpointError> {
        let model = self.read(MODEL, keeper)?;
        self.net = with_numbers(self.net.clone(), &model);
        for i in 0..self.averages.len() {
            self.averages[i].1 = self.read(&average_name(self.averages[i].0), keeper)?;
        }
        self.optimiser.moments = [self.read(MOMENTS[0], keeper)?, self.read(MOMENTS[1], keeper)?];
        self.step = step;
        Ok(())
    }

    /// Reads a list of tensors.
    pub(super) fn read(&self, list: &str, keeper: &mut Keeper<'_>) -> Result<Vec<Tensor<1>>, CheckpointError> {
        let tensors = self.tensors.iter().map(|(name, shape)| {
            let values = keeper(list, name, shape)?;
            Ok(Tensor::from_floats(values.as_slice(), &self.device))
        });
        tensors.collect()
    }
}

fn average_name(rate: f64) -> String {
    format!("{AVERAGE}{rate}")
}

/// `average * rate + new * (1 - rate)`, value by value, each product rounded to single precision.
pub(super) fn follow(average: &mut [Tensor<1>], new: &[Tensor<1>], rate: f64) {
    average.par_iter_mut().zip(new).for_each(|(average, new)| {
        average.inplace(|average| average * rate + new.clone() * (1.0 - rate));
    });
}

fn add((one, other): (Option<Tensor<1>>, Option<Tensor<1>>)) -> Option<Tensor<1>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// The L2 length of all tensors together.
fn length(tensors: &[Option<Tensor<1>>]) -> Result<f64, TrainError> {
    let squares: Vec<Tensor<1>> = tensors.iter().flatten().map(|tensor| tensor.clone().powi_scalar(2).sum()).collect();
    if squares.is_empty() {
        return Ok(0.0);
    }
    Ok(read(Tensor::cat(squares, 0))?.iter().map(|square| f64::from(*square)).sum::<f64>().sqrt())
}

/// The values of a tensor on the host.
pub(super) fn read(tensor: Tensor<1>) -> Result<Vec<f32>, TrainError> {
    let data = tensor.without_autodiff().try_into_data().map_err(TrainError::device)?;
    data.try_into_vec::<f32>().map_err(TrainError::device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_in_parts_has_every_picture_once() {
        let course = |parts| Course { parts, ..Course::default() };
        let parts = |count, of| course(of).parts(count).collect::<Vec<_>>();
        assert_eq!(parts(10, 3), [0..4, 4..8, 8..10]);
        assert_eq!((parts(2, 1).len(), parts(2, 5)), (1, vec![0..1, 1..2]));
    }

    #[test]
    fn an_average_is_defined_to_the_bit() {
        let tensor = |value: f32| Tensor::<1>::from_floats([value], &Device::flex());
        let mut average = vec![tensor(0.3)];
        follow(&mut average, &[tensor(0.7)], 0.999);
        assert_eq!(average[0].clone().into_scalar::<f32>(), 0.3_f32 * 0.999 + 0.7_f32 * 0.001);
    }
}
