//! The kernel distance: the squared maximum mean discrepancy of two sets, without bias, of a kernel that sees three moments.

use nalgebra::DMatrix;

use super::{Features, MetricError, Score, Watch};
use crate::noise::{Purpose, Stream};

/// Pairs of subsets that are compared (torch-fidelity, clean-fid).
pub const SUBSETS: usize = 100;
/// Pictures of a subset, at most (likewise).
pub const SUBSET: usize = 1000;
const METRIC: &str = "the kernel distance";

/// Mean and deviation over pairs of subsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDistance {
    /// Over the pairs.
    pub score: Score,
    /// Pictures of each subset.
    pub subset: usize,
}

/// MMD² with the kernel (xᵀy / D + 1)³, over `subsets` pairs of at most `subset` pictures that are drawn without repetition
/// by a stream of the seed 0.
///
/// # Errors
/// [`MetricError`] for fewer than two pictures, features of two networks or that are no numbers, or when `watch` says so.
///
/// # Source
/// Binkowski et al. 2018; torch-fidelity `metric_kid.py`, which multiplies nothing: other programs may say 1,000 times as much.
pub fn kernel_distance(
    a: &Features,
    b: &Features,
    (subsets, subset): (usize, usize),
    watch: &mut Watch<'_>,
) -> Result<KernelDistance, MetricError> {
    a.fits(b, (METRIC, 2))?;
    a.check()?;
    b.check()?;
    let subset = subset.min(a.len()).min(b.len()).max(2);
    let mut stream = Stream::new(0, Purpose::Resample);
    let mut distances = Vec::new();
    // All pictures of both are the same subsets every time.
    let subsets = if subset == a.len() && subset == b.len() { 1 } else { subsets.max(1) };
    for done in 0..subsets {
        if !watch(done, subsets) {
            return Err(MetricError::Stopped);
        }
        let [x, y] = [a, b].map(|set| matrix(set, &drawn(&mut stream, set.len(), subset)));
        distances.push(discrepancy(&x, &y));
    }
    Ok(KernelDistance { score: Score::over(&distances), subset })
}

/// So many of `n` places, none twice.
fn drawn(stream: &mut Stream, n: usize, count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..n).collect();
    for i in 0..count {
        places.swap(i, i + stream.below(n - i));
    }
    places.truncate(count);
    places
}

/// One column per picture.
fn matrix(features: &Features, places: &[usize]) -> DMatrix<f64> {
    DMatrix::from_fn(features.width(), places.len(), |row, column| f64::from(features.row(places[column])[row]))
}

fn discrepancy(x: &DMatrix<f64>, y: &DMatrix<f64>) -> f64 {
    let (width, n) = (x.nrows() as f64, x.ncols());
    // `tr_mul` goes pair by pair.
    let kernel =
        |a: &DMatrix<f64>, b: &DMatrix<f64>| (a.transpose() * b).map(|product| (product / width + 1.0).powi(3));
    let others = |k: DMatrix<f64>| (k.sum() - k.trace()) / (n * (n - 1)) as f64;
    others(kernel(x, x)) + others(kernel(y, y)) - 2.0 * kernel(x, y).sum() / (n * n) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Features {
        Features::of_rows(1, values)
    }

    #[test]
    fn of_all_pictures_it_is_the_sum_over_all_pairs() {
        let k = |x: f64, y: f64| (x * y + 1.0).powi(3);
        let expected = k(1.0, 2.0) + k(0.0, -1.0) - (k(1.0, 0.0) + k(1.0, -1.0) + k(2.0, 0.0) + k(2.0, -1.0)) / 2.0;
        let found = kernel_distance(&line(&[1.0, 2.0]), &line(&[0.0, -1.0]), (9, 9), &mut |_, _| true).unwrap();
        assert!((found.score.mean - expected).abs() < 1e-12, "{found:?}");
        assert_eq!((found.score.parts, found.subset), (1, 2), "there are no other subsets");
    }

    #[test]
    fn subsets_hold_no_picture_twice_and_are_the_same_every_time() {
        let mut places = drawn(&mut Stream::new(0, Purpose::Resample), 50, 50);
        places.sort_unstable();
        assert_eq!(places, (0..50).collect::<Vec<_>>());
        let (a, b) = (line(&[1.0, 2.0, 3.0, 5.0]), line(&[0.5, 2.0, 2.5, 4.0]));
        let found = || kernel_distance(&a, &b, (20, 2), &mut |_, _| true).unwrap();
        assert_eq!(found(), found());
        assert!(found().score.deviation > 0.0 && found().score.parts == 20);
        assert_eq!(kernel_distance(&a, &b, (20, 2), &mut |done, _| done < 3), Err(MetricError::Stopped));
        assert!(matches!(
            kernel_distance(&a, &line(&[1.0]), (1, 1), &mut |_, _| true),
            Err(MetricError::TooFew { .. })
        ));
    }
}
