//! Joint classifier-discriminators (and plain robust classifiers): pictures in `[0, 1]` to logits.
//!
//! Mean and standard deviation belong to the classifier; whoever calls it speaks `[0, 1]` only.
//! `f_y(x)` is the logit of class `y`; `sigmoid(f_y)` reads as "real picture of class y", and the energy is
//! `E(x, y) = -f_y(x)` (Golan, Ganz, Elad 2024).

mod extractor;
pub mod labels;

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};

pub use self::extractor::Extractor;
pub use self::labels::{LabelError, translation};
use crate::checkpoint::{CheckpointError, LoadReport, Weights};
use crate::net::resnet::{OddSize, Resnet, ResnetManifest};
use crate::net::{Plan, Roofline, Shapes, StepTime};
use crate::zoo::{Manifest, ManifestKind};

/// A classifier, ready to judge.
#[derive(Debug)]
pub struct Classifier {
    /// Where there is a plan, the shapes only.
    net: Resnet,
    arch: ResnetManifest,
    /// On the CPU, the network compiled, with mean and standard deviation.
    plan: Option<Arc<Plan>>,
    /// `[1, C, 1, 1]`
    mean: Tensor<4>,
    /// `[1, C, 1, 1]`
    std: Tensor<4>,
    num_classes: usize,
    sample_shape: [usize; 3],
}

impl Classifier {
    /// Reads a classifier's weights as its manifest describes them, its batch norms folded.
    ///
    /// # Errors
    /// [`CheckpointError`] when the manifest is a generator's, the weights do not fit it, or their watch cancels.
    pub fn read(
        manifest: &Manifest,
        mut weights: Weights<'_>,
        device: &Device,
    ) -> Result<(Self, LoadReport), CheckpointError> {
        let (ManifestKind::Classifier(spec), Some(config)) = (&manifest.kind, manifest.resnet()) else {
            return Err(CheckpointError::Role {
                name: manifest.name.clone(),
                expected: "classifier",
                found: manifest.role(),
            });
        };
        let num_classes = manifest.classes.len();
        let mut net = Resnet::load(&config, &mut weights, device)?.fold();
        let sample_shape @ [_, height, width] = manifest.shape();
        let plan = net.plan([&spec.mean, &spec.std], [height, width]).map(Arc::new);
        if plan.is_some() {
            net = Resnet::load(&config, &mut Shapes::default(), device)?;
        }
        let column =
            |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [1, manifest.channels, 1, 1]), device);
        let (mean, std) = (column(&spec.mean), column(&spec.std));
        let classifier = Self { net, arch: config.arch, plan, mean, std, num_classes, sample_shape };
        Ok((classifier, weights.report()))
    }

    /// Number of classes.
    #[must_use]
    pub const fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// `[C, H, W]` of the pictures that the manifest names, usually those it was trained on.
    ///
    /// Only `C` binds: the features are averaged over the picture before the last layer, so pictures of any height and
    /// width pass that the network can halve ([`Classifier::check_size`]).
    #[must_use]
    pub const fn sample_shape(&self) -> [usize; 3] {
        self.sample_shape
    }

    /// Says whether pictures of `[H, W]` pixels can pass ([`ResnetManifest::check_size`]).
    ///
    /// # Errors
    /// [`OddSize`]
    pub fn check_size(&self, size: [usize; 2]) -> Result<(), OddSize> {
        self.arch.check_size(size)
    }

    /// Logits.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]` in `[0, 1]`, of any height and width that [`Self::check_size`] accepts; returns `[N, K]`.
    ///
    /// # Panics
    /// When the size is another.
    #[must_use]
    pub fn logits(&self, x: Tensor<4>) -> Tensor<2> {
        match &self.plan {
            Some(plan) => plan.logits(x),
            None => self.net.forward((x - self.mean.clone()) / self.std.clone()),
        }
    }

    /// What the last layer sees, the means of the last maps, and the logits that it makes of them.
    ///
    /// # Shapes
    /// `x`: as in [`Self::logits`]; returns `[N, D]` and `[N, K]`.
    ///
    /// # Panics
    /// When the size is another.
    #[must_use]
    pub fn features(&self, x: Tensor<4>) -> [Tensor<2>; 2] {
        if let Some(plan) = &self.plan {
            return plan.features(x);
        }
        let features = self.net.features((x - self.mean.clone()) / self.std.clone());
        [features.clone(), self.net.classify(features)]
    }

    /// What every step of the network and of its gradient takes with `n` pictures of `[H, W]` pixels, where it is compiled; the
    /// median of so many `rounds`.
    #[must_use]
    pub fn profile(&self, n: usize, size: [usize; 2], rounds: usize, machine: &Roofline<'_>) -> Option<Vec<StepTime>> {
        self.plan.as_ref().map(|plan| plan.profile((n, size), rounds, machine))
    }

    /// Whether a picture's logits and gradient are the same to the last bit whatever is computed beside it, so that a batch
    /// may go through in one.
    #[must_use]
    pub const fn sums_the_same_for_any_batch(&self) -> bool {
        self.plan.is_some()
    }

    /// Bytes that one picture of `[H, W]` pixels needs at the peak of an evaluation with its input gradient, counted
    /// from the network's shapes as the CPU backend works ([`Resnet::activation_bytes`], [`Plan::activation_bytes`]).
    #[must_use]
    pub fn activation_bytes(&self, size: [usize; 2]) -> u64 {
        self.plan.as_ref().map_or_else(|| self.net.activation_bytes(size), |plan| plan.activation_bytes(size))
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.plan.as_ref().map_or_else(|| self.net.weight_bytes(), |plan| plan.weight_bytes())
    }
}

/// Softmax of one sample's logits.
#[must_use]
pub fn probabilities(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|logit| f64::from(logit - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|value| (value / sum) as f32).collect()
}

/// The entry of [`probabilities`] for one class, to the bit, without the others; NaN for a class that there is not.
#[must_use]
pub fn probability_of(logits: &[f32], class: usize) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |logit: &f32| f64::from(logit - max).exp();
    let sum: f64 = logits.iter().map(exp).sum();
    logits.get(class).map_or(f32::NAN, |logit| (exp(logit) / sum) as f32)
}

/// Classes in order of falling logit, at most `count`.
#[must_use]
pub fn top_classes(logits: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_even_for_large_logits() {
        let p = probabilities(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(p, [0.5, 0.5, 0.0]);
        assert_eq!(top_classes(&[0.1, 3.0, 2.0], 2), [1, 2]);
    }

    #[test]
    fn one_probability_is_that_of_all_to_the_bit() {
        for logits in [vec![], vec![0.3, -7.25, 12.5, 12.4], vec![1000.0, f32::NAN, 3.0], vec![f32::NEG_INFINITY, 0.0]]
        {
            let all = probabilities(&logits);
            for class in 0..=logits.len() {
                let expected = all.get(class).copied().unwrap_or(f32::NAN);
                assert_eq!(probability_of(&logits, class).to_bits(), expected.to_bits(), "{logits:?}, class {class}");
            }
        }
    }
}
