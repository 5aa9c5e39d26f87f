//! Numbers from the classes that a network sees in one set.

use super::{Features, MetricError};

/// A number over several parts of a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Mean over the parts.
    pub mean: f64,
    /// Standard deviation over the parts (divided by their number).
    pub deviation: f64,
    /// Number of parts.
    pub parts: usize,
}

impl Score {
    pub(super) fn over(parts: &[f64]) -> Self {
        let n = parts.len().max(1) as f64;
        let mean = parts.iter().sum::<f64>() / n;
        let variance = parts.iter().map(|part| (part - mean) * (part - mean)).sum::<f64>() / n;
        Self { mean, deviation: variance.sqrt(), parts: parts.len() }
    }
}

/// Softmax in double precision.
pub(super) fn probabilities(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) - f64::from(max)).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|value| value / sum).collect()
}

/// exp of the mean Kullback-Leibler divergence of a picture's classes from those of its part, over parts of consecutive
/// pictures. In `1..=classes`; a set that is sorted by class scores less than one that is not, because of its parts.
///
/// # Errors
/// [`MetricError`] when a part would be empty, or logits are no numbers.
///
/// # Source
/// Salimans et al. 2016; parts as in guided-diffusion `evaluator.py` and torch-fidelity `metric_isc.py`.
pub fn inception_score(features: &Features, parts: usize) -> Result<Score, MetricError> {
    features.check()?;
    let (n, parts) = (features.len(), parts.max(1));
    if n < parts {
        return Err(MetricError::TooFew { metric: "the Inception score", needed: parts, found: n });
    }
    let all: Vec<Vec<f64>> = (0..n).map(|place| probabilities(features.logits(place))).collect();
    let scores: Vec<f64> = (0..parts)
        .map(|part| {
            let part = &all[part * n / parts..(part + 1) * n / parts];
            let mean: Vec<f64> = (0..features.classes())
                .map(|class| part.iter().map(|picture| picture[class]).sum::<f64>() / part.len() as f64)
                .collect();
            let divergence = |picture: &Vec<f64>| {
                let each = picture.iter().zip(&mean).filter(|(p, _)| **p > 0.0);
                each.map(|(p, mean)| p * (p / mean).ln()).sum::<f64>()
            };
            (part.iter().map(divergence).sum::<f64>() / part.len() as f64).exp()
        })
        .collect();
    Ok(Score::over(&scores))
}

/// Of every picture, 1 where the network's likeliest class is its label, else 0.
#[must_use]
pub fn agreement(features: &Features, labels: &[usize]) -> Vec<f64> {
    let top = |logits: &[f32]| crate::classifier::top_classes(logits, 1).first().copied();
    let pictures = labels.iter().enumerate();
    pictures.map(|(place, label)| f64::from(u8::from(top(features.logits(place)) == Some(*label)))).collect()
}

/// Of every picture, the probability of its label; 0 for a label that the network does not know.
#[must_use]
pub fn confidence(features: &Features, labels: &[usize]) -> Vec<f64> {
    let pictures = labels.iter().enumerate();
    pictures.map(|(place, label)| probabilities(features.logits(place)).get(*label).copied().unwrap_or(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(logits: &[[f32; 3]]) -> Features {
        let mut features = Features::new(1, 3);
        features.extend(&vec![0.0; logits.len()], logits.as_flattened());
        features
    }

    #[test]
    fn a_sure_and_varied_set_scores_its_classes_and_an_unsure_one_scores_one() {
        let sure = [[90.0, 0.0, 0.0], [0.0, 90.0, 0.0], [0.0, 0.0, 90.0]];
        let score = inception_score(&seen(&sure), 1).unwrap();
        assert!((score.mean - 3.0).abs() < 1e-12 && score.deviation == 0.0, "{score:?}");
        assert_eq!(inception_score(&seen(&[[1.0, 2.0, 3.0]; 6]), 2).unwrap().mean, 1.0);
        // Every part is of one class.
        assert!((inception_score(&seen(&sure), 3).unwrap().mean - 1.0).abs() < 1e-12);
        assert!(matches!(inception_score(&seen(&sure), 4), Err(MetricError::TooFew { needed: 4, found: 3, .. })));
    }

    #[test]
    fn every_picture_is_judged_by_its_own_class() {
        let features = seen(&[[0.0, 3.0, 1.0], [5.0, 0.0, 0.0]]);
        assert_eq!(agreement(&features, &[1, 2]), [1.0, 0.0]);
        let all = 3.0_f64.exp() + 1.0_f64.exp() + 1.0;
        let confidence = confidence(&features, &[1, 7]);
        assert!((confidence[0] - 3.0_f64.exp() / all).abs() < 1e-12);
        assert_eq!(confidence[1], 0.0, "a class that is unknown");
    }
}
