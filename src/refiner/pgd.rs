//! One projected gradient iteration.

use burn::tensor::{Device, TensorData, Transaction};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::constraint::{GRADIENT_FLOOR, Norm, clamp};
use super::settings::RefineSettings;
use crate::classifier::Classifier;
use crate::generator::noise::{Purpose, Stream};
use crate::image::ImageBatch;
use crate::refiner::Objective;

/// Why an iteration could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum RefineError {
    /// The device failed.
    #[error("the compute device failed while refining: choose another device or a smaller batch ({0})")]
    Device(String),
    /// Pictures and classifier do not fit each other.
    #[error("the pictures have {found} channels, but the classifier needs {expected}: choose another classifier")]
    Channels {
        /// Channels of the pictures.
        found: usize,
        /// Channels that the classifier was trained with.
        expected: usize,
    },
    /// A label is no class of the classifier.
    #[error("class {label} is asked for, but the classifier knows {classes} classes (0 to {}): choose another class", classes - 1)]
    Label {
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
}

/// How a batch is cut for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// Samples that go through the network together.
    pub size: usize,
    /// Fill the last chunk up, so that a GPU tunes its kernels for one shape only.
    pub pad: bool,
    /// Compute chunks on all cores at once (CPU only).
    pub parallel: bool,
}

impl Chunks {
    /// For the CPU: every sample on its own, on all cores.
    ///
    /// A matrix product's order of summation depends on its shape, and one rounding more or less can flip a ReLU. One sample
    /// at a time makes results independent of the batch to the last bit, and it is faster than a batch: samples share
    /// no work, and the parts of a network that use a single core run for several samples at once.
    pub const CPU: Self = Self { size: 1, pad: false, parallel: true };

    /// For a GPU: `size` samples together.
    #[must_use]
    pub const fn gpu(size: usize) -> Self {
        Self { size, pad: true, parallel: false }
    }

    /// `start..end` of every chunk of `n` samples.
    pub fn ranges(self, n: usize) -> impl Iterator<Item = (usize, usize)> {
        let size = self.size.max(1);
        (0..n.div_ceil(size)).map(move |i| (i * size, ((i + 1) * size).min(n)))
    }

    /// Repeats the last of `items` until a chunk is full, if asked to.
    pub fn fill<T: Clone>(self, items: &mut Vec<T>, n: usize) {
        if self.pad && n > self.size {
            let last = items.last().cloned();
            items.extend(std::iter::repeat_n(last, self.size.saturating_sub(items.len())).flatten());
        }
    }
}

/// What the classifier says about a batch, and the gradient of the objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// `[N, K]`, row-major.
    pub logits: Vec<f32>,
    /// `[N]`
    pub objective: Vec<f32>,
    /// `[N, C, H, W]`, row-major.
    pub gradient: Vec<f32>,
}

/// Evaluates objective and input gradient of every sample.
///
/// # Errors
/// [`RefineError::Device`] when the device fails.
pub fn evaluate(
    classifier: &Classifier,
    images: &ImageBatch,
    labels: &[usize],
    objective: Objective,
    chunks: Chunks,
    device: &Device,
) -> Result<Evaluation, RefineError> {
    let ranges: Vec<(usize, usize)> = chunks.ranges(images.len()).collect();
    let part = |range: &(usize, usize)| evaluate_chunk(classifier, images, labels, objective, (*range, chunks), device);
    let parts: Vec<Evaluation> = if chunks.parallel {
        ranges.par_iter().map(part).collect::<Result<_, _>>()?
    } else {
        ranges.iter().map(part).collect::<Result<_, _>>()?
    };
    let mut all = Evaluation { logits: Vec::new(), objective: Vec::new(), gradient: Vec::new() };
    for mut part in parts {
        all.logits.append(&mut part.logits);
        all.objective.append(&mut part.objective);
        all.gradient.append(&mut part.gradient);
    }
    Ok(all)
}

fn evaluate_chunk(
    classifier: &Classifier,
    images: &ImageBatch,
    labels: &[usize],
    objective: Objective,
    ((start, end), chunks): ((usize, usize), Chunks),
    device: &Device,
) -> Result<Evaluation, RefineError> {
    let failed = |cause: &dyn std::fmt::Debug| RefineError::Device(format!("{cause:?}"));
    let n = end - start;
    let mut labels = labels[start..end].to_vec();
    chunks.fill(&mut labels, images.len());
    let part = images.slice(start, end).repeat_last(labels.len());
    let x = part.to_tensor(device).autodiff().require_grad();
    let logits = classifier.logits(x.clone());
    let objective = objective.value(logits.clone(), &labels);
    // Samples do not mix, so the gradient of the sum holds every sample's own gradient.
    let mut gradients = objective.clone().sum().backward();
    let gradient = x.grad_remove(&mut gradients).expect("x is a tracked leaf");
    let read = Transaction::default()
        .register(logits.without_autodiff())
        .register(objective.without_autodiff())
        .register(gradient)
        .try_execute()
        .map_err(|cause| failed(&cause))?;
    let mut values = read.into_iter().map(TensorData::try_into_vec::<f32>);
    let mut take = |count: usize| -> Result<Vec<f32>, RefineError> {
        let mut values = values.next().expect("three tensors").map_err(|cause| failed(&cause))?;
        values.truncate(count);
        Ok(values)
    };
    Ok(Evaluation {
        logits: take(n * classifier.num_classes())?,
        objective: take(n)?,
        gradient: take(n * images.sample_len())?,
    })
}

/// Whether a sample still moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SampleState {
    /// It moves.
    #[default]
    Active,
    /// Its gradient vanished; it stays where it is until the objective changes.
    ZeroGradient,
    /// Its objective or gradient is NaN or infinite; it stays at its last finite iterate.
    NotFinite,
}

/// One state of a run: the iterate, and what is known of every sample there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Number of iterations behind this state; 0 is the start.
    pub iteration: u32,
    /// The iterate x_k.
    pub images: ImageBatch,
    /// Numbers per sample.
    pub numbers: Numbers,
}

/// Numbers per sample at one state; every list has N entries, `logits` N * K.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// `[N, K]`, row-major.
    pub logits: Vec<f32>,
    /// The objective at this state.
    pub objective: Vec<f32>,
    /// L2 length of the gradient at this state.
    pub gradient_l2: Vec<f32>,
    /// L2 length of the step that led here; 0 at the start.
    pub step_l2: Vec<f32>,
    /// L2 length of x_k - x_0.
    pub delta_l2: Vec<f32>,
    /// Linf length of x_k - x_0.
    pub delta_linf: Vec<f32>,
    /// Share of values that the clamp to `[0, 1]` changed in the step that led here, `0..=1`.
    pub clipped: Vec<f32>,
    /// Whether the sample still moves.
    pub state: Vec<SampleState>,
}

impl Numbers {
    /// Whether every list has `n` entries; data from files may lie.
    #[must_use]
    pub fn is_consistent(&self, n: usize) -> bool {
        let lists =
            [&self.objective, &self.gradient_l2, &self.step_l2, &self.delta_l2, &self.delta_linf, &self.clipped];
        n > 0 && self.state.len() == n && self.logits.len().is_multiple_of(n) && lists.iter().all(|l| l.len() == n)
    }

    /// The `K` logits of one sample; empty when it is unknown.
    #[must_use]
    pub fn logits_of(&self, sample: usize) -> &[f32] {
        let classes = self.logits.len() / self.objective.len().max(1);
        self.logits.get(sample * classes..(sample + 1) * classes).unwrap_or(&[])
    }
}

/// A batch under refinement.
#[derive(Debug)]
pub struct Refiner {
    origin: ImageBatch,
    iterate: ImageBatch,
    labels: Vec<usize>,
    settings: RefineSettings,
    iteration: u32,
    evaluation: Evaluation,
    states: Vec<SampleState>,
    chunks: Chunks,
    device: Device,
}

impl Refiner {
    /// Starts at the origin, at a random point of the ball, or at `from` (an iterate of another run); the centre of the
    /// ball is the origin for ever. Returns state 0.
    ///
    /// `seeds` feed the random start.
    ///
    /// # Errors
    /// [`RefineError`] when pictures, labels and classifier do not fit or the device fails.
    ///
    /// # Panics
    /// When the lists differ in length.
    pub fn start(
        classifier: &Classifier,
        origin: ImageBatch,
        from: Option<(u32, ImageBatch)>,
        labels: Vec<usize>,
        seeds: &[u64],
        settings: RefineSettings,
        (chunks, device): (Chunks, Device),
    ) -> Result<(Self, State), RefineError> {
        assert_eq!(labels.len(), origin.len(), "one label per picture");
        let [channels, ..] = classifier.sample_shape();
        let [n, found, _, _] = origin.shape();
        if found != channels {
            return Err(RefineError::Channels { found, expected: channels });
        }
        if let Some(label) = labels.iter().copied().find(|label| *label >= classifier.num_classes()) {
            return Err(RefineError::Label { label, classes: classifier.num_classes() });
        }
        let (iteration, iterate) = match from {
            Some(start) => start,
            None if settings.random_start => {
                let pixels = (0..n).flat_map(|i| {
                    let mut stream = Stream::new(seeds[i], Purpose::RandomStart);
                    settings.norm.random_start(origin.sample(i), settings.eps, &mut stream)
                });
                (0, ImageBatch::new(origin.shape(), pixels.collect()))
            }
            None => (0, origin.clone()),
        };
        let evaluation = evaluate(classifier, &iterate, &labels, settings.objective, chunks, &device)?;
        let states = vec![SampleState::Active; n];
        let mut refiner = Self { origin, iterate, labels, settings, iteration, evaluation, states, chunks, device };
        refiner.judge_gradients();
        let state = refiner.state(&vec![0.0; n], &vec![0.0; n]);
        Ok((refiner, state))
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &RefineSettings {
        &self.settings
    }

    /// Changes the settings from the next iteration on. Another objective wakes samples whose gradient had vanished.
    ///
    /// # Errors
    /// [`RefineError::Device`] when the new objective cannot be evaluated.
    pub fn set_settings(&mut self, classifier: &Classifier, settings: RefineSettings) -> Result<(), RefineError> {
        let another_objective = settings.objective != self.settings.objective;
        self.settings = settings;
        if another_objective {
            let objective = self.settings.objective;
            self.evaluation = evaluate(classifier, &self.iterate, &self.labels, objective, self.chunks, &self.device)?;
            self.states.fill(SampleState::Active);
            self.judge_gradients();
        }
        Ok(())
    }

    /// Takes one iteration and returns the state that it leads to.
    ///
    /// # Errors
    /// [`RefineError::Device`] when the device fails; the refiner keeps its last state.
    pub fn step(&mut self, classifier: &Classifier) -> Result<State, RefineError> {
        let n = self.iterate.len();
        let len = self.iterate.sample_len();
        let RefineSettings { norm, eps, normalise, .. } = self.settings;
        let mut pixels = self.iterate.pixels().to_vec();
        let (mut step_l2, mut clipped) = (vec![0.0; n], vec![0.0; n]);
        for i in 0..n {
            let origin = self.origin.sample(i);
            let x = &mut pixels[i * len..(i + 1) * len];
            if self.states[i] == SampleState::Active {
                let gradient = &self.evaluation.gradient[i * len..(i + 1) * len];
                norm.ascend(x, gradient, self.settings.step_length(), normalise);
            }
            // Also for samples at rest: a smaller radius binds them too.
            norm.project(x, origin, eps);
            clipped[i] = clamp(x);
            if self.states[i] == SampleState::Active && x.iter().any(|value| !value.is_finite()) {
                x.copy_from_slice(self.iterate.sample(i));
                self.states[i] = SampleState::NotFinite;
            }
            step_l2[i] = Norm::L2.distance(x, self.iterate.sample(i)) as f32;
        }
        let iterate = ImageBatch::new(self.iterate.shape(), pixels);
        let objective = self.settings.objective;
        self.evaluation = evaluate(classifier, &iterate, &self.labels, objective, self.chunks, &self.device)?;
        self.iterate = iterate;
        self.iteration += 1;
        self.judge_gradients();
        Ok(self.state(&step_l2, &clipped))
    }

    /// Marks samples that cannot move. A sample at rest stays so.
    fn judge_gradients(&mut self) {
        let len = self.iterate.sample_len();
        for (i, state) in self.states.iter_mut().enumerate() {
            if *state != SampleState::Active {
                continue;
            }
            let gradient = &self.evaluation.gradient[i * len..(i + 1) * len];
            let length = Norm::L2.length(gradient.iter().copied());
            *state = if !length.is_finite() || !self.evaluation.objective[i].is_finite() {
                SampleState::NotFinite
            } else if length <= GRADIENT_FLOOR {
                SampleState::ZeroGradient
            } else {
                SampleState::Active
            };
        }
    }

    fn state(&self, step_l2: &[f32], clipped: &[f32]) -> State {
        let n = self.iterate.len();
        let len = self.iterate.sample_len();
        let per_sample = |value: &dyn Fn(usize) -> f64| (0..n).map(|i| value(i) as f32).collect::<Vec<f32>>();
        let delta = |norm: Norm, i: usize| norm.distance(self.iterate.sample(i), self.origin.sample(i));
        State {
            iteration: self.iteration,
            images: self.iterate.clone(),
            numbers: Numbers {
                logits: self.evaluation.logits.clone(),
                objective: self.evaluation.objective.clone(),
                gradient_l2: per_sample(&|i| {
                    Norm::L2.length(self.evaluation.gradient[i * len..(i + 1) * len].iter().copied())
                }),
                step_l2: step_l2.to_vec(),
                delta_l2: per_sample(&|i| delta(Norm::L2, i)),
                delta_linf: per_sample(&|i| delta(Norm::Linf, i)),
                clipped: clipped.to_vec(),
                state: self.states.clone(),
            },
        }
    }
}
