//! A batch under refinement.

use burn::tensor::Device;

use super::constraint::{GRADIENT_FLOOR, Norm, clamp};
use super::evaluate::{Chunks, Evaluation, RefineError, evaluate, logits, reality, rows};
use super::langevin::langevin_step;
use super::rule::Rule;
use super::settings::RefineSettings;
use super::state::{Numbers, SampleState, State, first_highest};
use super::target::{Target, pseudo_labels};
use crate::classifier::Classifier;
use crate::image::ImageBatch;
use crate::noise::{Purpose, Stream};

/// What a run starts with.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The pictures, centres of the ball for ever.
    pub origin: ImageBatch,
    /// Iterations and pictures of the state to start from, when it is not the origin.
    pub from: Option<(u32, ImageBatch)>,
    /// One class per picture.
    pub labels: Vec<usize>,
    /// One seed per picture, for random starts and Langevin noise.
    pub seeds: Vec<u64>,
    /// How real the real pictures are that early stopping compares with, see [`reality`]: picture i has reference i mod their
    /// number. Without any, nothing stops early.
    pub references: Vec<f64>,
}

/// A batch under refinement, by any rule.
///
/// With R restarts every sample has R copies, which move in lockstep. Every state shows for each sample the copy whose
/// objective is highest there: the last state is the best of R runs, and a trace may jump from copy to copy. A sample is
/// active as long as one of its copies is. Pictures, gradients and time are those of a batch of N * R.
#[derive(Debug)]
pub struct Refiner {
    origin: ImageBatch,
    labels: Vec<usize>,
    seeds: Vec<u64>,
    references: Vec<f64>,
    settings: RefineSettings,
    iteration: u32,
    /// Copies of every sample.
    copies: usize,
    /// `[N]`, resolved from labels or from `origin_logits`.
    targets: Vec<usize>,
    /// Logits of the origin, once pseudo-labels asked for them.
    origin_logits: Option<Vec<f32>>,
    /// `[N * copies, C, H, W]`, the copies of a sample next to each other. SGLD's leave `[0, 1]`.
    iterate: ImageBatch,
    /// `[N * copies]`, like `states`.
    evaluation: Evaluation,
    states: Vec<SampleState>,
    chunks: Chunks,
    device: Device,
}

impl Refiner {
    /// Starts at the origin, at random points of the ball, or where the batch says. Returns state 0.
    ///
    /// A run that starts at a state has one copy of every sample, whatever the settings say.
    ///
    /// # Errors
    /// [`RefineError`] when pictures, targets and classifier do not fit or the device fails.
    ///
    /// # Panics
    /// When the lists differ in length.
    pub fn start(
        classifier: &Classifier,
        batch: Batch,
        settings: RefineSettings,
        (chunks, device): (Chunks, Device),
    ) -> Result<(Self, State), RefineError> {
        let Batch { origin, from, labels, seeds, references } = batch;
        assert_eq!(labels.len(), origin.len(), "one label per picture");
        assert_eq!(seeds.len(), origin.len(), "one seed per picture");
        let [channels, ..] = classifier.sample_shape();
        let [_, found, height, width] = origin.shape();
        if found != channels {
            return Err(RefineError::Channels { found, expected: channels });
        }
        classifier.check_size([height, width])?;
        let (iteration, copies, iterate) = match from {
            Some((iteration, images)) => {
                assert_eq!(images.shape(), origin.shape(), "one start per picture");
                (iteration, 1, images)
            }
            None => (0, settings.restarts.max(1) as usize, starts(&origin, &seeds, &settings)),
        };
        let count = iterate.len();
        let mut refiner = Self {
            origin,
            labels,
            seeds,
            references,
            settings,
            iteration,
            copies,
            targets: Vec::new(),
            origin_logits: None,
            iterate,
            evaluation: Evaluation::default(),
            states: vec![SampleState::Active; count],
            chunks,
            device,
        };
        refiner.aim(classifier)?;
        refiner.judge();
        let state = refiner.state(&vec![0.0; count], &vec![0.0; count]);
        Ok((refiner, state))
    }

    /// The settings in force.
    #[must_use]
    pub const fn settings(&self) -> &RefineSettings {
        &self.settings
    }

    /// The class that every sample is refined towards, or away from: its label or its pseudo-label.
    #[must_use]
    pub fn targets(&self) -> &[usize] {
        &self.targets
    }

    /// Changes the settings from the next iteration on. What changes the objective, the targets or when a sample stops wakes
    /// the samples at rest; they are judged anew. The number of restarts is that of the start.
    ///
    /// # Errors
    /// [`RefineError`] when the new targets are no classes or the device fails; the old settings stay in force.
    pub fn set_settings(&mut self, classifier: &Classifier, settings: RefineSettings) -> Result<(), RefineError> {
        let before = std::mem::replace(&mut self.settings, settings);
        let settings = &self.settings;
        let wakes = before.wakes(settings);
        if !before.compares_with(settings)
            && let Err(error) = self.aim(classifier)
        {
            self.settings = before;
            return Err(error);
        }
        if wakes {
            self.states.fill(SampleState::Active);
            self.judge();
        }
        Ok(())
    }

    /// Takes one iteration and returns the state that it leads to.
    ///
    /// # Errors
    /// [`RefineError::Device`] when the device fails; the refiner keeps its last iterate.
    pub fn step(&mut self, classifier: &Classifier) -> Result<State, RefineError> {
        let len = self.iterate.sample_len();
        let count = self.iterate.len();
        let mut pixels = self.iterate.pixels().to_vec();
        let (mut step_l2, mut clipped) = (vec![0.0; count], vec![0.0; count]);
        for i in 0..count {
            let x = &mut pixels[i * len..(i + 1) * len];
            clipped[i] = self.advance(i, x);
            if self.states[i] == SampleState::Active && x.iter().any(|value| !value.is_finite()) {
                x.copy_from_slice(self.iterate.sample(i));
                self.states[i] = SampleState::NotFinite;
            }
            step_l2[i] = Norm::L2.distance(x, self.iterate.sample(i)) as f32;
        }
        let iterate = ImageBatch::new(self.iterate.shape(), pixels);
        self.evaluation = self.look(classifier, &iterate)?;
        self.iterate = iterate;
        self.iteration += 1;
        self.judge();
        Ok(self.state(&step_l2, &clipped))
    }

    /// Moves copy `i`, which is at `x`, by the rule; returns the share of values that were clipped on the way.
    fn advance(&self, i: usize, x: &mut [f32]) -> f32 {
        let RefineSettings { rule, norm, eps, normalise, noise, gradient_divisor, decay, descend, .. } = self.settings;
        let sign = if descend { -1.0 } else { 1.0 };
        let step = sign * self.settings.step_length() * decay.powi(self.iteration.cast_signed());
        let moves = self.states[i] == SampleState::Active;
        let sample = i / self.copies;
        match rule {
            Rule::Pgd => {
                if moves {
                    norm.ascend(x, self.gradient(i), step, normalise);
                }
                // Also for samples at rest: a smaller radius binds them too.
                norm.project(x, self.origin.sample(sample), eps);
                clamp(x)
            }
            Rule::Ascent => {
                if moves {
                    norm.ascend(x, self.gradient(i), step, false);
                }
                clamp(x)
            }
            Rule::Sgld => {
                if moves {
                    let purpose = Purpose::Langevin(self.iteration);
                    let draw = Stream::new(self.seeds[sample], purpose).normal(x.len());
                    langevin_step(x, self.gradient(i), step / gradient_divisor, &draw, noise);
                }
                // Clamped only where it is shown.
                0.0
            }
        }
    }

    /// The gradient of copy `i`.
    fn gradient(&self, i: usize) -> &[f32] {
        let len = self.iterate.sample_len();
        &self.evaluation.gradient[i * len..(i + 1) * len]
    }

    /// Resolves the targets and evaluates the iterate.
    fn aim(&mut self, classifier: &Classifier) -> Result<(), RefineError> {
        let targets = match self.settings.target {
            Target::Label | Target::Untargeted => self.labels.clone(),
            Target::PseudoLabel => {
                let known = match self.origin_logits.take() {
                    Some(known) => known,
                    None => logits(classifier, &self.origin, self.chunks, &self.device)?,
                };
                let targets = pseudo_labels(&known, self.origin.len(), self.settings.debias);
                self.origin_logits = Some(known);
                targets
            }
        };
        if let Some(label) = targets.iter().copied().find(|label| *label >= classifier.num_classes()) {
            return Err(RefineError::Label { label, classes: classifier.num_classes() });
        }
        let before = std::mem::replace(&mut self.targets, targets);
        match self.look(classifier, &self.iterate) {
            Ok(evaluation) => self.evaluation = evaluation,
            Err(error) => {
                self.targets = before;
                return Err(error);
            }
        }
        Ok(())
    }

    /// What is ascended, and its gradient, for every copy.
    fn look(&self, classifier: &Classifier, iterate: &ImageBatch) -> Result<Evaluation, RefineError> {
        let labels: Vec<usize> =
            self.targets.iter().flat_map(|target| std::iter::repeat_n(*target, self.copies)).collect();
        let objective = self.settings.objective;
        let evaluation = evaluate(classifier, iterate, &labels, objective, self.chunks, &self.device)?;
        Ok(if self.settings.target == Target::Untargeted { evaluation.negated() } else { evaluation })
    }

    /// Marks copies that cannot or need not move. A copy at rest stays so.
    fn judge(&mut self) {
        let count = self.states.len();
        let real = if self.settings.early_stop { reality(&self.evaluation.logits, count) } else { vec![0.0; count] };
        for (i, real) in real.into_iter().enumerate() {
            if self.states[i] == SampleState::Active {
                self.states[i] = self.verdict(i, real);
            }
        }
    }

    /// How real copy `i` has to become to stop early.
    fn reference(&self, i: usize) -> Option<f64> {
        let wanted = self.settings.early_stop && !self.references.is_empty();
        wanted.then(|| self.references[i / self.copies % self.references.len()])
    }

    fn verdict(&self, i: usize, real: f64) -> SampleState {
        let length = Norm::L2.length(self.gradient(i).iter().copied());
        if !length.is_finite() || !self.evaluation.objective[i].is_finite() {
            SampleState::NotFinite
        } else if self.reference(i).is_some_and(|reference| real > reference) {
            SampleState::Stopped
        } else if length <= GRADIENT_FLOOR && !self.settings.is_noisy() {
            SampleState::ZeroGradient
        } else {
            SampleState::Active
        }
    }

    /// The state as it is shown: of every sample its best copy, clamped.
    fn state(&self, step_l2: &[f32], clipped: &[f32]) -> State {
        let mut pixels = Vec::with_capacity(self.origin.pixels().len());
        let mut numbers = Numbers::default();
        let logits: Vec<&[f32]> = rows(&self.evaluation.logits, self.states.len()).collect();
        for sample in 0..self.origin.len() {
            let copies = sample * self.copies..(sample + 1) * self.copies;
            let best = first_highest(self.evaluation.objective[copies.clone()].iter().copied());
            let i = copies.start + best.unwrap_or(0);
            let mut picture = self.iterate.sample(i).to_vec();
            let outside = clamp(&mut picture);
            let distance = |norm: Norm| norm.distance(&picture, self.origin.sample(sample)) as f32;
            numbers.logits.extend_from_slice(logits[i]);
            numbers.objective.push(self.evaluation.objective[i]);
            numbers.gradient_l2.push(Norm::L2.length(self.gradient(i).iter().copied()) as f32);
            numbers.step_l2.push(step_l2[i]);
            numbers.delta_l2.push(distance(Norm::L2));
            numbers.delta_linf.push(distance(Norm::Linf));
            numbers.clipped.push(clipped[i].max(outside));
            let moves = self.states[copies].contains(&SampleState::Active);
            numbers.state.push(if moves { SampleState::Active } else { self.states[i] });
            pixels.append(&mut picture);
        }
        State { iteration: self.iteration, images: ImageBatch::new(self.origin.shape(), pixels), numbers }
    }
}

/// Where a run begins: the copies of every sample next to each other. Copy 0 starts at a random point only when that is
/// asked for, the others always.
fn starts(origin: &ImageBatch, seeds: &[u64], settings: &RefineSettings) -> ImageBatch {
    if settings.starts_at_origin() {
        return origin.clone();
    }
    let [n, c, h, w] = origin.shape();
    let copies = settings.restarts.max(1);
    let mut pixels = Vec::with_capacity(origin.pixels().len() * copies as usize);
    for (sample, seed) in seeds.iter().enumerate() {
        let centre = origin.sample(sample);
        for copy in 0..copies {
            let purpose = if copy == 0 { Purpose::RandomStart } else { Purpose::Restart(copy) };
            if copy == 0 && !settings.random_start {
                pixels.extend_from_slice(centre);
            } else {
                let mut stream = Stream::new(*seed, purpose);
                pixels.append(&mut settings.norm.random_start(centre, settings.eps, &mut stream));
            }
        }
    }
    ImageBatch::new([n * copies as usize, c, h, w], pixels)
}
