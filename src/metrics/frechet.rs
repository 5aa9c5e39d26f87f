//! The Fréchet distance of two normal distributions that have the mean and the covariance of two sets of features.

use nalgebra::{DMatrix, DVector, DVectorView};
use rayon::prelude::*;

use super::{Features, MetricError};

/// Pictures whose part of the covariance is summed up at once: their doubles stay in the cache.
const BLOCK: usize = 256;
/// A pivot that is smaller than this part of the largest is rounding.
const RANK: f64 = 1e-15;

/// Mean and covariance of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    /// `[D]`
    pub mean: DVector<f64>,
    /// `[D, D]`, of a sample: divided by N - 1, as numpy's `cov`.
    pub covariance: DMatrix<f64>,
}

impl Gaussian {
    /// Of a set, in double precision, summed up in the order of its pictures.
    ///
    /// # Errors
    /// [`MetricError`] for fewer than two pictures, for features that are no numbers, or for those that are all the same.
    pub fn of(features: &Features) -> Result<Self, MetricError> {
        features.check()?;
        let (width, count) = (features.width(), features.len());
        if count < 2 {
            return Err(MetricError::TooFew { metric: "the Fréchet distance", needed: 2, found: count });
        }
        let mut mean = DVector::zeros(width);
        for place in 0..count {
            for (sum, value) in mean.iter_mut().zip(features.row(place)) {
                *sum += f64::from(*value);
            }
        }
        mean /= count as f64;
        let mut covariance = DMatrix::zeros(width, width);
        for start in (0..count).step_by(BLOCK) {
            let block = around(features, &mean, start);
            covariance.gemm(1.0, &block, &block.transpose(), 1.0);
        }
        covariance /= (count - 1) as f64;
        match covariance.trace() {
            0.0 => Err(MetricError::Constant { count }),
            _ => Ok(Self { mean, covariance }),
        }
    }

    /// Features of a picture.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// How many features vary on their own: of all of them, unless the covariance is singular. Takes as long as a distance.
    #[must_use]
    pub fn rank(&self) -> usize {
        // Of nothing at all there is a column of zeros.
        factor(&self.covariance).column_iter().filter(|column| column.amax() > 0.0).count()
    }
}

/// |m₁ - m₂|² + tr S₁ + tr S₂ - 2 tr (S₁ S₂)^½.
///
/// The trace of the root is the sum of the roots of the eigenvalues of S₁ S₂, which are those of the symmetric Lᵀ S₂ L where
/// S₁ = L Lᵀ; also where a covariance is singular, as with fewer pictures than features.
///
/// # Errors
/// [`MetricError::Width`] when they are of different networks.
///
/// # Source
/// Heusel et al. 2017, equation 6; pytorch-fid `fid_score.py`, torch-fidelity `metric_fid.py`.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64, MetricError> {
    if a.width() != b.width() {
        return Err(MetricError::Width { a: a.width(), b: b.width() });
    }
    let factor = factor(&a.covariance);
    let values = product(&factor, &b.covariance).symmetric_eigenvalues();
    let roots: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    let means = (&a.mean - &b.mean).norm_squared();
    // Of two sets that are alike, rounding may leave less than nothing.
    Ok((means + a.covariance.trace() + b.covariance.trace() - 2.0 * roots).max(0.0))
}

/// The Fréchet distance of a set to a reference, and for every picture of the set by how much the distance grows, to first order, with
/// the weight of that picture: its influence, of which the mean is 0.
///
/// With d = x - m₁, that is 2 (m₁ - m₂)ᵀ d + dᵀd - tr S₁ - dᵀA d + tr (S₁ S₂)^½, where A = L (Lᵀ S₁ L)^-½ Lᵀ and S₂ = L Lᵀ; for a change dS₁
/// changes tr (S₁ S₂)^½ by half of tr A dS₁. What no picture of the set differs in is left out of the inverse.
///
/// # Errors
/// As [`Gaussian::of`] and [`frechet_distance`].
///
/// # Source
/// Of influences: Hampel 1974. Of the change of the trace: Bhatia, Jain, Lim 2019 (*On the Bures-Wasserstein distance*).
pub(super) fn frechet_influences(features: &Features, reference: &Gaussian) -> Result<(f64, Vec<f64>), MetricError> {
    let own = Gaussian::of(features)?;
    // Where a set is of fewer pictures than features, its own factor alone leaves out what is but rounding here.
    let value = frechet_distance(&own, reference)?;
    let factor = factor(&reference.covariance);
    let eigen = product(&factor, &own.covariance).symmetric_eigen();
    let least = RANK * eigen.eigenvalues.amax() * own.width() as f64;
    let mut seen = factor * eigen.eigenvectors;
    for (mut column, value) in seen.column_iter_mut().zip(&eigen.eigenvalues) {
        column *= if *value > least { value.powf(-0.25) } else { 0.0 };
    }
    let (seen, apart) = (seen.transpose(), 2.0 * (&own.mean - &reference.mean));
    let starts: Vec<usize> = (0..features.len()).step_by(BLOCK).collect();
    let blocks = starts.par_iter().map(|start| {
        let block = around(features, &own.mean, *start);
        let products = &seen * &block;
        let of = |(d, product): (DVectorView<'_, f64>, DVectorView<'_, f64>)| {
            apart.dot(&d) + d.norm_squared() - product.norm_squared()
        };
        block.column_iter().zip(products.column_iter()).map(of).collect::<Vec<f64>>()
    });
    let mut influences: Vec<f64> = blocks.collect::<Vec<_>>().concat();
    let mean = influences.iter().sum::<f64>() / influences.len() as f64;
    for influence in &mut influences {
        *influence -= mean;
    }
    Ok((value, influences))
}

/// Pictures of a set from `start` on, at most [`BLOCK`], without the mean. Columns are pictures: one picture's values lie together, in
/// the features as in the matrix.
fn around(features: &Features, mean: &DVector<f64>, start: usize) -> DMatrix<f64> {
    let count = BLOCK.min(features.len() - start);
    DMatrix::from_fn(mean.len(), count, |row, column| f64::from(features.row(start + column)[row]) - mean[row])
}

/// Lᵀ S L.
fn product(factor: &DMatrix<f64>, s: &DMatrix<f64>) -> DMatrix<f64> {
    factor.transpose() * (s * factor)
}

/// L with L Lᵀ = S for a positive semidefinite S: Cholesky with the largest pivot first, until what is left is rounding.
fn factor(s: &DMatrix<f64>) -> DMatrix<f64> {
    let n = s.nrows();
    let mut left: Vec<f64> = s.diagonal().iter().copied().collect();
    let largest = left.iter().copied().fold(0.0, f64::max);
    let mut columns: Vec<DVector<f64>> = Vec::new();
    while columns.len() < n {
        let (pivot, value) =
            left.iter().copied().enumerate().fold((0, 0.0), |best, (i, v)| if v > best.1 { (i, v) } else { best });
        if value <= RANK * largest * n as f64 {
            break;
        }
        let mut column = s.column(pivot).into_owned();
        for before in &columns {
            column.axpy(-before[pivot], before, 1.0);
        }
        column /= value.sqrt();
        for (left, value) in left.iter_mut().zip(&column) {
            *left -= value * value;
        }
        left[pivot] = 0.0;
        columns.push(column);
    }
    if columns.is_empty() { DMatrix::zeros(n, 1) } else { DMatrix::from_columns(&columns) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Purpose, Stream};

    fn normal(seed: u64, n: usize, width: usize) -> Features {
        Features::of_rows(width, &Stream::new(seed, Purpose::Sampling(0)).normal(n * width))
    }

    #[test]
    fn a_set_has_no_distance_to_itself_also_where_its_covariance_is_singular() {
        for (n, width) in [(50, 8), (9, 20), (2, 3)] {
            let gaussian = Gaussian::of(&normal(3, n, width)).unwrap();
            let distance = frechet_distance(&gaussian, &gaussian).unwrap();
            assert!(distance < 1e-10 * gaussian.covariance.trace(), "{n} of {width}: {distance}");
        }
    }

    #[test]
    fn of_commuting_covariances_it_is_that_of_their_deviations() {
        let diagonal = |mean: [f64; 3], deviations: [f64; 3]| Gaussian {
            mean: DVector::from_row_slice(&mean),
            covariance: DMatrix::from_diagonal(&DVector::from_iterator(3, deviations.iter().map(|d| d * d))),
        };
        let (a, b) = (diagonal([1.0, 0.0, -2.0], [2.0, 0.0, 1.0]), diagonal([0.0, 0.5, -2.0], [1.0, 3.0, 1.0]));
        // 1 + 0.25 between the means, 1 + 9 + 0 between the deviations.
        assert!((frechet_distance(&a, &b).unwrap() - 11.25).abs() < 1e-12);
        assert!((frechet_distance(&b, &a).unwrap() - 11.25).abs() < 1e-12, "it is symmetric");
    }

    #[test]
    fn an_influence_is_what_more_of_one_picture_does_also_where_the_covariance_is_singular() {
        for (n, width) in [(40, 6), (9, 20)] {
            let features = normal(5, n, width);
            let reference = Gaussian::of(&normal(6, 300, width)).unwrap();
            // Every picture so often that one time more is little.
            let many: Vec<usize> = (0..400 * n).map(|place| place % n).collect();
            let of = |places: &[usize]| frechet_influences(&features.at(places), &reference).unwrap();
            let (before, influences) = of(&many);
            let scale = influences.iter().fold(0.0_f64, |most, one| most.max(one.abs()));
            for place in [0, n / 2, n - 1] {
                let once_more: Vec<usize> = many.iter().copied().chain([place]).collect();
                let grown = (of(&once_more).0 - before) * once_more.len() as f64;
                let influence = influences[place];
                assert!((grown - influence).abs() < 0.02 * scale, "{n} of {width}: {grown} for {influence}");
            }
        }
    }

    #[test]
    fn what_has_no_distance_is_refused() {
        let one = normal(1, 1, 3);
        assert!(matches!(Gaussian::of(&one), Err(MetricError::TooFew { found: 1, .. })));
        assert_eq!(Gaussian::of(&one.at(&[0, 0, 0])), Err(MetricError::Constant { count: 3 }));
        let mut broken = normal(1, 5, 1);
        broken.extend(&[f32::NAN], &[0.0]);
        assert_eq!(Gaussian::of(&broken), Err(MetricError::NotFinite { place: 5, count: 6 }));
        let [a, b] = [3, 4].map(|width| Gaussian::of(&normal(1, 9, width)).unwrap());
        assert_eq!(frechet_distance(&a, &b), Err(MetricError::Width { a: 3, b: 4 }));
    }
}
