//! How alike two pictures are built, window by window.

use super::PairError;
use super::filter::Filter;

/// Side of a window, in pixels.
pub const WINDOW: usize = 11;
/// Deviation of its weights, in pixels.
const SIGMA: f64 = 1.5;
/// `K1` and `K2`, for values up to 1.
const K: [f64; 2] = [0.01, 0.03];

/// The structural similarity of pictures of one form; in `[-1, 1]`, 1 for equal ones.
///
/// # Source
/// Wang et al. 2004: Gaussian windows of 11×11 pixels, variances divided by their weights, the mean over all windows that lie
/// inside and over the channels, as scikit-image's `structural_similarity` with `gaussian_weights`.
#[derive(Debug, Clone)]
pub struct Ssim {
    shape: [usize; 3],
    window: Filter,
}

impl Ssim {
    /// For pictures `[C, H, W]`.
    ///
    /// # Errors
    /// [`PairError::Small`] where no window fits in.
    pub fn new(shape: [usize; 3]) -> Result<Self, PairError> {
        let [_, height, width] = shape;
        if height.min(width) < WINDOW {
            return Err(PairError::Small { height, width });
        }
        let weight = |x: f64| libm::exp(-0.5 * (x / SIGMA).powi(2));
        Ok(Self { shape, window: Filter::new(WINDOW / 2, weight).balanced() })
    }

    /// Of a pair, `[C, H, W]` in `[0, 1]`.
    ///
    /// # Panics
    /// When the pictures are not of that form.
    #[must_use]
    pub fn of(&self, a: &[f32], b: &[f32]) -> f64 {
        let [channels, height, width] = self.shape;
        assert!([a, b].iter().all(|values| values.len() == channels * height * width), "pictures of this form");
        let planes = a.chunks_exact(height * width).zip(b.chunks_exact(height * width));
        planes.map(|(a, b)| self.of_channel(a, b)).sum::<f64>() / channels as f64
    }

    fn of_channel(&self, a: &[f32], b: &[f32]) -> f64 {
        let mean = |value: &dyn Fn(f64, f64) -> f64| {
            let plane: Vec<f64> = a.iter().zip(b).map(|(a, b)| value(f64::from(*a), f64::from(*b))).collect();
            self.window.inside(&plane, self.shape[2])
        };
        let [mean_a, mean_b] = [mean(&|a, _| a), mean(&|_, b| b)];
        let [square_a, square_b, product] = [mean(&|a, _| a * a), mean(&|_, b| b * b), mean(&|a, b| a * b)];
        let [c1, c2] = K.map(|k| k * k);
        let of_window = |i: usize| {
            let (a, b) = (mean_a[i], mean_b[i]);
            let (variances, covariance) = (square_a[i] - a * a + square_b[i] - b * b, product[i] - a * b);
            (2.0 * a * b + c1) * (2.0 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2))
        };
        (0..mean_a.len()).map(of_window).sum::<f64>() / mean_a.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: usize, shape: [usize; 3]) -> Vec<f32> {
        (0..shape.iter().product()).map(|i: usize| ((i * 37 + seed * i * i) % 256) as f32 / 255.0).collect()
    }

    #[test]
    fn flat_pictures_differ_by_their_means_alone() {
        let ssim = Ssim::new([1, 11, 12]).unwrap();
        let found = ssim.of(&[0.25; 132], &[0.5; 132]);
        let expected = (2.0 * 0.125 + 1e-4) / (0.0625 + 0.25 + 1e-4);
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    #[test]
    fn equal_pictures_are_alike_a_negative_is_not_and_places_do_not_matter() {
        let shape = [2, 13, 17];
        let (ssim, a, b) = (Ssim::new(shape).unwrap(), picture(3, shape), picture(5, shape));
        assert!((ssim.of(&a, &a) - 1.0).abs() < 1e-12);
        assert_eq!(ssim.of(&a, &b), ssim.of(&b, &a));
        let negative: Vec<f32> = a.iter().map(|value| 1.0 - value).collect();
        let found = ssim.of(&a, &negative);
        assert!((-1.0..-0.5).contains(&found), "{found}");
        // The other channel is as before.
        let half: Vec<f32> = a[..221].iter().chain(&b[221..]).copied().collect();
        let second = Ssim::new([1, 13, 17]).unwrap().of(&a[221..], &b[221..]);
        assert!((ssim.of(&a, &half) - f64::midpoint(1.0, second)).abs() < 1e-12);
    }

    #[test]
    fn pictures_without_a_window_are_refused_in_one_sentence() {
        let text = Ssim::new([3, 10, 32]).unwrap_err().to_string();
        assert!(text.contains("windows of 11×11 pixels, but the pictures have 32×10"), "{text}");
    }
}
