//! Whether a network is right as often as it is sure.

use super::Features;
use super::interval::bootstrapped;
use super::score::probabilities;

/// Bins of confidence, all of one width.
pub const BINS: usize = 15;

/// Of every picture the bin of its confidence, that confidence, and whether its likeliest class is its label.
#[derive(Debug)]
pub(super) struct Calibration(Vec<(usize, f64, bool)>);

impl Calibration {
    pub(super) fn of(features: &Features, labels: &[usize]) -> Self {
        let of_picture = |(place, label): (usize, &usize)| {
            let probabilities = probabilities(features.logits(place));
            // The first of those that are alike, as for agreement.
            let first = |best: (usize, f64), (class, p): (usize, &f64)| if *p > best.1 { (class, *p) } else { best };
            let (class, confidence) = probabilities.iter().enumerate().fold((0, f64::NEG_INFINITY), first);
            // Bins hold their upper end.
            let bin = (libm::ceil(confidence * BINS as f64) as usize).clamp(1, BINS) - 1;
            (bin, confidence, class == *label)
        };
        Self(labels.iter().enumerate().map(of_picture).collect())
    }

    /// The error where each picture comes so often.
    fn error(&self, weights: &[u32]) -> f64 {
        let mut gaps = [0.0; BINS];
        for ((bin, confidence, is_right), weight) in self.0.iter().zip(weights) {
            gaps[*bin] += (confidence - f64::from(u8::from(*is_right))) * f64::from(*weight);
        }
        let all: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        gaps.iter().map(|gap| gap.abs()).sum::<f64>() / all
    }

    pub(super) fn value(&self) -> f64 {
        self.error(&vec![1; self.0.len()])
    }

    /// Errors of bootstrapped sets.
    pub(super) fn bootstrapped(&self) -> Vec<f64> {
        let errors = bootstrapped(self.0.len(), |weights| Ok::<_, std::convert::Infallible>(self.error(weights)));
        errors.unwrap_or_default()
    }
}

/// Expected calibration error, `0..=1`: the mean over [`BINS`] bins of confidence, by their pictures, of how far the mean probability
/// of the likeliest class is from the share of pictures of which it is the label. 0 where there is no picture.
///
/// # Source
/// Guo et al. 2017, equation 3.
#[must_use]
pub fn calibration_error(features: &Features, labels: &[usize]) -> f64 {
    if labels.is_empty() { 0.0 } else { Calibration::of(features, labels).value() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures whose first class has these probabilities, of two.
    fn seen(first: &[f64]) -> Features {
        let mut features = Features::new(1, 2);
        for p in first {
            features.extend(&[0.0], &[(p / (1.0 - p)).ln() as f32, 0.0]);
        }
        features
    }

    #[test]
    fn by_hand_the_gaps_of_two_bins_are_weighed_by_their_pictures() {
        // In one bin two of 0.9 of which one is right, in the other one of 0.7 that is wrong.
        let features = seen(&[0.9, 0.9, 0.3]);
        let found = calibration_error(&features, &[0, 1, 0]);
        assert!((found - ((0.9_f64 - 0.5) * 2.0 + 0.7) / 3.0).abs() < 1e-6, "{found}");
        assert_eq!(calibration_error(&seen(&[]), &[]), 0.0);
    }

    #[test]
    fn who_is_right_as_often_as_sure_has_no_error_and_who_is_sure_and_wrong_has_all() {
        let labels: Vec<usize> = (0..10).map(|i| usize::from(i >= 8)).collect();
        assert!(calibration_error(&seen(&[0.8; 10]), &labels) < 1e-6);
        let sure = seen(&[1.0 - 1e-9; 10]);
        assert!((calibration_error(&sure, &[1; 10]) - 1.0).abs() < 1e-6);
        assert!(calibration_error(&sure, &[0; 10]) < 1e-6);
        let varied = Calibration::of(&seen(&[0.8; 10]), &labels).bootstrapped();
        assert!(varied.iter().any(|error| *error > 0.05), "{varied:?}");
    }
}
