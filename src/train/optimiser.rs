//! From gradients to weights: Adam and its kin over flat lists of tensors.
//!
//! burn 0.22 has an Adam, but no rectified one, which the papers train with; it clips every parameter by itself, where the papers
//! clip all together; and it keeps its state by ids that a file does not know. The rules are few lines.

use burn::tensor::{Device, Tensor};
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelIterator as _, IntoParallelRefMutIterator as _, ParallelIterator as _,
};
use serde::{Deserialize, Serialize};

use super::error::{Problem, not_negative, positive};

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Kingma and Ba 2015.
    Adam,
    /// With weight decay apart from the gradient (Loshchilov and Hutter 2019).
    AdamW,
    /// Rectified (Liu et al. 2020): the first steps, whose second moments are unsure, follow the first moments alone.
    #[default]
    RAdam,
}

/// The rule and its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimiserSettings {
    /// The rule.
    pub rule: Rule,
    /// Step size.
    pub rate: f64,
    /// What the two moments keep of themselves at a step.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the weights that is added to the gradient; with [`Rule::AdamW`] taken off the weights instead, times the rate.
    pub weight_decay: f64,
    /// Longest gradient over all parameters together; a longer one is shortened. Without a number none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Steps in which the rate rises to its value.
    pub warm_up: u64,
    /// Steps from which the rate is multiplied by [`Self::gamma`], once for each.
    pub milestones: Vec<u64>,
    /// See [`Self::milestones`].
    pub gamma: f64,
    /// How the rate falls behind the warm-up; without it it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<Fall>,
}

/// A rate that becomes smaller step by step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fall {
    /// Along which line.
    pub shape: Shape,
    /// The rate in the end.
    pub to: f64,
    /// The step from which it stays there.
    pub until: u64,
}

/// A line along which the rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Straight.
    Linear,
    /// Half a wave of the cosine (Loshchilov and Hutter 2017).
    Cosine,
}

impl Fall {
    /// The rate after a share of the fall, from 0 to 1, that began at `rate`.
    fn at(self, rate: f64, share: f64) -> f64 {
        let left = match self.shape {
            Shape::Linear => 1.0 - share,
            Shape::Cosine => 0.5 + 0.5 * libm::cos(std::f64::consts::PI * share),
        };
        self.to + (rate - self.to) * left
    }
}

impl Default for OptimiserSettings {
    fn default() -> Self {
        Self {
            rule: Rule::RAdam,
            rate: 1e-4,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
            clip: None,
            warm_up: 0,
            milestones: Vec::new(),
            gamma: 0.1,
            fall: None,
        }
    }
}

impl OptimiserSettings {
    /// A value that cannot be, and what is expected.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let odd = self.betas.iter().find(|beta| !(0.0..1.0).contains(*beta));
        let betas = || odd.map(|beta| (format!("betas has {beta}"), "both are at least 0 and below 1"));
        positive("rate", self.rate)
            .or_else(|| positive("epsilon", self.epsilon))
            .or_else(|| self.clip.and_then(|clip| positive("clip", clip)))
            .or_else(|| positive("gamma", self.gamma))
            .or_else(|| not_negative("weight_decay", self.weight_decay))
            .or_else(betas)
            .or_else(|| self.fall.and_then(|fall| not_negative("to", fall.to)))
            .or_else(|| {
                let until = self.fall.map(|fall| fall.until).filter(|until| *until <= self.warm_up)?;
                Some((format!("until = {until} in fall"), "it is a step behind those of warm_up"))
            })
    }

    /// The rate at a step, counted from 0.
    #[must_use]
    pub fn rate_at(&self, step: u64) -> f64 {
        let rise = if step < self.warm_up { (step + 1) as f64 / self.warm_up as f64 } else { 1.0 };
        let passed = self.milestones.iter().filter(|milestone| **milestone <= step).count();
        let rate = self.fall.map_or(self.rate, |fall| {
            let gone = step.saturating_sub(self.warm_up) as f64;
            fall.at(self.rate, (gone / fall.until.saturating_sub(self.warm_up).max(1) as f64).min(1.0))
        });
        rate * rise * self.gamma.powi(passed as i32)
    }
}

/// The rule with its memory.
#[derive(Debug)]
pub(super) struct Optimiser {
    settings: OptimiserSettings,
    /// Running means of the gradients and of their squares.
    pub(super) moments: [Vec<Tensor<1>>; 2],
}

/// A list of tensors of zeros.
fn zeros(lengths: &[usize], device: &Device) -> Vec<Tensor<1>> {
    lengths.iter().map(|length| Tensor::zeros([*length], device)).collect()
}

impl Optimiser {
    /// At the beginning, for tensors of such lengths.
    pub(super) fn new(settings: OptimiserSettings, lengths: &[usize], device: &Device) -> Self {
        Self { settings, moments: [zeros(lengths, device), zeros(lengths, device)] }
    }

    /// The length of all gradients together, and what they are to be multiplied by so that it is no longer than allowed.
    pub(super) fn clip(&self, norm: f64) -> f64 {
        // As torch.nn.utils.clip_grad_norm_ has it.
        self.settings.clip.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0))
    }

    /// The numbers after step number `step`, counted from 0; those without a gradient stay.
    pub(super) fn step(
        &mut self,
        step: u64,
        numbers: Vec<Tensor<1>>,
        gradients: Vec<Option<Tensor<1>>>,
        scale: f64,
    ) -> Vec<Tensor<1>> {
        let (settings, pace) = (&self.settings, Pace::at(&self.settings, step));
        let [means, squares] = &mut self.moments;
        let moments = means.par_iter_mut().zip(squares);
        let stepped = numbers.into_par_iter().zip(gradients).zip(moments).map(|((weights, gradient), moments)| {
            let Some(gradient) = gradient else { return weights };
            let gradient = if scale < 1.0 { gradient * scale } else { gradient };
            pace.update(settings, (weights, gradient), moments)
        });
        stepped.collect()
    }
}

/// What the moments of a step are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    rate: f64,
    /// Factor of the direction.
    along: f64,
    /// What the root of the second moment is divided by; without it the first moment is the direction.
    root: Option<f64>,
}

impl Pace {
    fn update(
        self,
        settings: &OptimiserSettings,
        (weights, gradient): (Tensor<1>, Tensor<1>),
        (mean, square): (&mut Tensor<1>, &mut Tensor<1>),
    ) -> Tensor<1> {
        let OptimiserSettings { rule, betas: [first, second], epsilon, weight_decay, .. } = *settings;
        let (weights, gradient) = match rule {
            _ if weight_decay == 0.0 => (weights, gradient),
            Rule::AdamW => (weights * (1.0 - self.rate * weight_decay), gradient),
            Rule::Adam | Rule::RAdam => (weights.clone(), gradient + weights * weight_decay),
        };
        mean.inplace(|mean| mean * first + gradient.clone() * (1.0 - first));
        square.inplace(|square| square * second + gradient.powi_scalar(2) * (1.0 - second));
        let direction = match self.root {
            Some(root) => mean.clone() / (square.clone().sqrt() / root + epsilon),
            None => mean.clone(),
        };
        weights - direction * self.along
    }

    fn at(settings: &OptimiserSettings, step: u64) -> Self {
        let rate = settings.rate_at(step);
        let [first, second] = settings.betas;
        let count = (step + 1) as f64;
        let (first, second_left) = (1.0 - first.powf(count), second.powf(count));
        let root = (1.0 - second_left).sqrt();
        if settings.rule != Rule::RAdam {
            return Self { rate, along: rate / first, root: Some(root) };
        }
        // Liu et al. 2020, algorithm 2: the length of the average, at last and now.
        let at_last = 2.0 / (1.0 - second) - 1.0;
        let now = at_last - 2.0 * count * second_left / (1.0 - second_left);
        if now <= 5.0 {
            return Self { rate, along: rate / first, root: None };
        }
        let rectified = ((now - 4.0) * (now - 2.0) * at_last / ((at_last - 4.0) * (at_last - 2.0) * now)).sqrt();
        Self { rate, along: rate / first * rectified, root: Some(root) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scalar after gradients, by the formulas of torch.optim, in double precision.
    fn reference(settings: &OptimiserSettings, mut x: f64, gradients: &[f64]) -> f64 {
        let [b1, b2] = settings.betas;
        let (mut m, mut v) = (0.0, 0.0);
        for (i, g) in gradients.iter().enumerate() {
            let (t, mut g, lr) = (i as i32 + 1, *g, settings.rate_at(i as u64));
            if settings.rule == Rule::AdamW {
                x -= lr * settings.weight_decay * x;
            } else {
                g += settings.weight_decay * x;
            }
            m = b1 * m + (1.0 - b1) * g;
            v = b2 * v + (1.0 - b2) * g * g;
            let (c1, c2) = (1.0 - b1.powi(t), 1.0 - b2.powi(t));
            let rho_inf = 2.0 / (1.0 - b2) - 1.0;
            let rho = rho_inf - 2.0 * f64::from(t) * b2.powi(t) / c2;
            let adaptive = c2.sqrt() / (v.sqrt() + settings.epsilon);
            x -= match settings.rule {
                Rule::RAdam if rho <= 5.0 => lr * m / c1,
                Rule::RAdam => {
                    let r = ((rho - 4.0) * (rho - 2.0) * rho_inf / ((rho_inf - 4.0) * (rho_inf - 2.0) * rho)).sqrt();
                    lr * m / c1 * adaptive * r
                }
                Rule::Adam | Rule::AdamW => lr * m / c1 / (v.sqrt() / c2.sqrt() + settings.epsilon),
            };
        }
        x
    }

    #[test]
    fn steps_are_those_of_pytorch() {
        let device = Device::flex();
        let gradients = [0.5, -0.25, 1.0, 0.125, -2.0, 0.75, 0.5, 0.5, -1.0, 0.25];
        for rule in [Rule::Adam, Rule::AdamW, Rule::RAdam] {
            for weight_decay in [0.0, 0.1] {
                let settings = OptimiserSettings {
                    rule,
                    weight_decay,
                    rate: 0.01,
                    betas: [0.9, 0.95],
                    warm_up: 3,
                    milestones: vec![6],
                    ..Default::default()
                };
                let mut optimiser = Optimiser::new(settings.clone(), &[1, 1], &device);
                let mut x = vec![Tensor::from_floats([0.5], &device), Tensor::from_floats([7.0], &device)];
                for (step, gradient) in gradients.iter().enumerate() {
                    let gradient = Tensor::from_floats([*gradient as f32], &device);
                    x = optimiser.step(step as u64, x, vec![Some(gradient), None], 1.0);
                }
                let found = f64::from(x[0].clone().into_scalar::<f32>());
                let expected = reference(&settings, 0.5, &gradients);
                assert!((found - expected).abs() < 1e-6, "{rule:?}, {weight_decay}: {found}, not {expected}");
                assert_eq!(x[1].clone().into_scalar::<f32>(), 7.0, "what has no gradient stays");
            }
        }
    }

    #[test]
    fn a_rate_rises_stays_and_falls_along_its_line() {
        let with = |fall| OptimiserSettings { rate: 1e-3, warm_up: 4, fall, ..Default::default() };
        let rates = |fall| [0, 3, 4, 9, 14, 99].map(|step| (with(fall).rate_at(step) * 1e8).round() / 1e8);
        assert_eq!(rates(None), [2.5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3]);
        let line = |shape| Some(Fall { shape, to: 1e-4, until: 14 });
        assert_eq!(rates(line(Shape::Linear)), [2.5e-4, 1e-3, 1e-3, 5.5e-4, 1e-4, 1e-4]);
        assert_eq!(rates(line(Shape::Cosine)), [2.5e-4, 1e-3, 1e-3, 5.5e-4, 1e-4, 1e-4]);
        let quarter = with(line(Shape::Cosine)).rate_at(6);
        assert!((quarter - (1e-4 + 9e-4 * 0.5 * (1.0 + (0.2 * std::f64::consts::PI).cos()))).abs() < 1e-12);
        assert!(with(line(Shape::Linear)).problem().is_none());
        let early = with(Some(Fall { until: 4, ..line(Shape::Linear).unwrap() })).problem().unwrap();
        assert_eq!(early.0, "until = 4 in fall");
    }

    #[test]
    fn long_gradients_are_shortened_together() {
        let optimiser = |clip| Optimiser::new(OptimiserSettings { clip, ..Default::default() }, &[], &Device::flex());
        assert_eq!([optimiser(None), optimiser(Some(2.0))].map(|o| o.clip(1.0)), [1.0, 1.0]);
        assert!((optimiser(Some(2.0)).clip(8.0) - 0.25).abs() < 1e-6);
    }
}
