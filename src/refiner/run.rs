//! A batch under refinement.

use burn::tensor::Device;
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _,
};
use rayon::slice::ParallelSliceMut as _;

use super::constraint::{GRADIENT_FLOOR, Norm, clamp};
use super::evaluate::{Chunks, Evaluation, Evaluator, RefineError, logits, reality, rows};
use super::langevin::langevin_step;
use super::rule::Rule;
use super::settings::RefineSettings;
use super::state::{Numbers, SampleState, State, first_highest};
use super::target::{Target, pseudo_labels};
use crate::classifier::Classifier;
use crate::image::ImageBatch;
use crate::noise::{Purpose, Stream};

/// Random numbers that are drawn at a time: they come in pairs, so an even number, and few enough to stay in the cache.
const DRAWS: usize = 1024;

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
    /// The one before, whose memory the next one takes.
    spare: Evaluation,
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
            spare: Evaluation::default(),
            states: vec![SampleState::Active; count],
            chunks,
            device,
        };
        refiner.aim(classifier)?;
        refiner.check_answers()?;
        refiner.judge();
        let state = refiner.valued();
        Ok((refiner, state))
    }

    /// A classifier that does not answer with numbers to pictures of finite values can judge nothing.
    fn check_answers(&self) -> Result<(), RefineError> {
        let count = self.iterate.len();
        let is_broken = |(i, answer): &(usize, &[f32])| {
            let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
            !is_finite(answer) && is_finite(self.iterate.sample(*i))
        };
        match rows(&self.evaluation.logits, count).enumerate().filter(is_broken).count() {
            0 => Ok(()),
            broken => Err(RefineError::NotFinite { broken, count }),
        }
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

    /// Where it is, valued under the settings in force; as if no step had led there.
    #[must_use]
    pub fn valued(&self) -> State {
        self.state(&vec![Step::default(); self.states.len()])
    }

    /// Takes one iteration and returns the state that it leads to. The classifier does not see again what did not move.
    ///
    /// # Errors
    /// [`RefineError::Device`] when the device fails; the refiner keeps its last iterate.
    pub fn step(&mut self, classifier: &Classifier) -> Result<State, RefineError> {
        let len = self.iterate.sample_len().max(1);
        let mut pixels = vec![0.0; self.iterate.pixels().len()];
        let steps: Vec<Step> = pixels.par_chunks_mut(len).enumerate().map(|(i, x)| self.advance(i, x)).collect();
        let iterate = ImageBatch::new(self.iterate.shape(), pixels);
        self.look(classifier, &iterate, &|i| !steps[i].stays)?;
        self.iterate = iterate;
        self.iteration += 1;
        for (state, _) in self.states.iter_mut().zip(&steps).filter(|(_, step)| step.breaks) {
            *state = SampleState::NotFinite;
        }
        self.judge();
        Ok(self.state(&steps))
    }

    /// Writes to `x` where copy `i` goes from where it is.
    fn advance(&self, i: usize, x: &mut [f32]) -> Step {
        let here = self.iterate.sample(i);
        x.copy_from_slice(here);
        let clipped = self.follow_rule(i, x);
        let breaks = self.states[i] == SampleState::Active && x.iter().any(|value| !value.is_finite());
        if breaks {
            x.copy_from_slice(here);
        }
        let stays = x.iter().zip(here).all(|(x, here)| x.to_bits() == here.to_bits());
        Step { l2: Norm::L2.distance(x, here) as f32, clipped, breaks, stays }
    }

    /// Moves copy `i`, which is at `x`, by the rule; returns the share of values that were clipped on the way.
    fn follow_rule(&self, i: usize, x: &mut [f32]) -> f32 {
        let RefineSettings { rule, norm, eps, normalise, noise, gradient_divisor, .. } = self.settings;
        let step = self.settings.step_length();
        let moves = self.states[i] == SampleState::Active;
        let gradient = (self.gradient(i), self.evaluation.gradient_l2[i]);
        let sample = i / self.copies;
        match rule {
            Rule::Pgd => {
                if moves {
                    norm.ascend_by(x, gradient, step, normalise);
                }
                // Also for samples at rest: a smaller radius binds them too.
                norm.project(x, self.origin.sample(sample), eps);
                clamp(x)
            }
            Rule::Ascent => {
                if moves {
                    norm.ascend_by(x, gradient, step, false);
                }
                clamp(x)
            }
            Rule::Sgld => {
                if moves {
                    let purpose = Purpose::Langevin(self.iteration);
                    let mut stream = Stream::new(self.seeds[sample], purpose);
                    for (x, gradient) in x.chunks_mut(DRAWS).zip(gradient.0.chunks(DRAWS)) {
                        langevin_step(x, gradient, step / gradient_divisor, &stream.normal(x.len()), noise);
                    }
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
        let iterate = self.iterate.clone();
        self.look(classifier, &iterate, &|_| true).inspect_err(|_| self.targets = before)
    }

    /// What is ascended, and its gradient, for every copy of `iterate` that is `wanted`; the others keep theirs.
    fn look(
        &mut self,
        classifier: &Classifier,
        iterate: &ImageBatch,
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<(), RefineError> {
        let labels: Vec<usize> =
            self.targets.iter().flat_map(|target| std::iter::repeat_n(*target, self.copies)).collect();
        let evaluator = Evaluator {
            classifier,
            objective: self.settings.objective,
            descends: self.settings.target == Target::Untargeted,
            chunks: self.chunks,
            device: &self.device,
        };
        evaluator.evaluate(iterate, &labels, &self.evaluation, wanted, &mut self.spare)?;
        std::mem::swap(&mut self.evaluation, &mut self.spare);
        Ok(())
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
        let length = self.evaluation.gradient_l2[i];
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

    /// The state as it is shown: of every sample its best copy, clamped. It shares the iterate's pixels where it can.
    fn state(&self, steps: &[Step]) -> State {
        let Evaluation { logits, objective, gradient_l2, .. } = &self.evaluation;
        let n = self.origin.len();
        let best = |sample: usize| {
            let copies = sample * self.copies..(sample + 1) * self.copies;
            copies.start + first_highest(objective[copies].iter().copied()).unwrap_or(0)
        };
        let shown: Vec<usize> = (0..n).map(best).collect();
        let distances: Vec<Distance> = shown
            .par_iter()
            .enumerate()
            .map(|(sample, i)| Distance::measure(self.iterate.sample(*i), self.origin.sample(sample)))
            .collect();
        let classes = logits.len() / self.states.len().max(1);
        let mut numbers = Numbers::default();
        for (sample, (i, distance)) in shown.iter().zip(&distances).enumerate() {
            let copies = sample * self.copies..(sample + 1) * self.copies;
            let moves = self.states[copies].contains(&SampleState::Active);
            numbers.logits.extend_from_slice(&logits[i * classes..(i + 1) * classes]);
            numbers.objective.push(objective[*i]);
            numbers.gradient_l2.push(gradient_l2[*i] as f32);
            numbers.step_l2.push(steps[*i].l2);
            numbers.delta_l2.push(distance.l2 as f32);
            numbers.delta_linf.push(distance.linf as f32);
            numbers.clipped.push(steps[*i].clipped.max(distance.outside));
            numbers.state.push(if moves { SampleState::Active } else { self.states[*i] });
        }
        let as_it_is = self.copies == 1 && distances.iter().all(|distance| distance.outside == 0.0);
        let images = if as_it_is { self.iterate.clone() } else { self.clamped(&shown) };
        State { iteration: self.iteration, images, numbers }
    }

    /// The iterates of these copies, clamped.
    fn clamped(&self, shown: &[usize]) -> ImageBatch {
        let mut pixels = vec![0.0; self.origin.pixels().len()];
        pixels.par_chunks_mut(self.origin.sample_len().max(1)).zip(shown).for_each(|(picture, i)| {
            picture.copy_from_slice(self.iterate.sample(*i));
            clamp(picture);
        });
        ImageBatch::new(self.origin.shape(), pixels)
    }
}

/// What became of one copy in an iteration.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// L2 length of the step.
    l2: f32,
    /// Share of values that the clamp changed.
    clipped: f32,
    /// It would have left the finite numbers, and so it stayed.
    breaks: bool,
    /// No bit of it changed.
    stays: bool,
}

/// How far a copy that is shown is from its origin, once clamped.
#[derive(Debug, Clone, Copy)]
struct Distance {
    l2: f64,
    linf: f64,
    /// Share of values outside `[0, 1]`.
    outside: f32,
}

impl Distance {
    /// One pass, with the sums of [`Norm::distance`] in their order and the count of [`clamp`].
    fn measure(x: &[f32], origin: &[f32]) -> Self {
        let (mut square, mut linf, mut outside) = (0.0_f64, 0.0_f64, 0_usize);
        for (x, origin) in x.iter().zip(origin) {
            outside += usize::from(!(0.0..=1.0).contains(x));
            let delta = x.clamp(0.0, 1.0) - origin;
            square += f64::from(delta).powi(2);
            linf = f64::from(delta.abs()).max(linf);
        }
        Self { l2: square.sqrt(), linf, outside: outside as f32 / x.len().max(1) as f32 }
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
    let start = |place: usize| {
        let (sample, copy) = (place / copies as usize, (place % copies as usize) as u32);
        let purpose = if copy == 0 { Purpose::RandomStart } else { Purpose::Restart(copy) };
        let centre = origin.sample(sample);
        if copy == 0 && !settings.random_start {
            centre.to_vec()
        } else {
            settings.norm.random_start(centre, settings.eps, &mut Stream::new(seeds[sample], purpose))
        }
    };
    let count = n * copies as usize;
    let pixels: Vec<f32> = (0..count).into_par_iter().flat_map_iter(start).collect();
    ImageBatch::new([count, c, h, w], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_measures_what_clamp_and_distance_measure() {
        let origin: Vec<f32> = (0..999).map(|i| 0.5 + 0.5 * (i as f32 * 0.37).sin()).collect();
        let x: Vec<f32> = origin.iter().enumerate().map(|(i, o)| o + 0.3 * (i as f32 * 0.11).cos()).collect();
        for x in [x.clone(), origin.clone(), x.iter().map(|x| if *x > 0.9 { f32::NAN } else { *x }).collect()] {
            let found = Distance::measure(&x, &origin);
            let mut clamped = x;
            assert_eq!(found.outside, clamp(&mut clamped));
            assert_eq!(found.l2.to_bits(), Norm::L2.distance(&clamped, &origin).to_bits());
            assert_eq!(found.linf.to_bits(), Norm::Linf.distance(&clamped, &origin).to_bits());
        }
    }
}
