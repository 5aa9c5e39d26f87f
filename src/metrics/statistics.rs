//! Real pictures as they are known: by their features, by the mean and the covariance of features that somebody else computed, or
//! by both, where a file holds a part of the pictures that its statistics are of.

use nalgebra::{DMatrix, DVector};

use super::{Features, Gaussian, MetricError};

/// How far what must be equal or limited in a covariance may be off, as a share of the deviations that it belongs to: the rounding
/// of half precision.
const ROUNDING: f64 = 1e-3;
/// Likewise as a share of the largest variance, where these deviations are themselves rounding.
const NOTHING: f64 = 1e-6;

/// Why numbers are no mean and covariance, each as the part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StatisticsError {
    /// Numbers that do not fill a square.
    #[error("the mean has {width} numbers, so the covariance must have {width}×{width}, but it has {found}")]
    Form {
        /// Numbers of the mean.
        width: usize,
        /// Those of the covariance.
        found: usize,
    },
    /// NaN or infinity.
    #[error("the {of} has NaN or infinity")]
    NotFinite {
        /// The mean or the covariance.
        of: &'static str,
    },
    /// It differs from its transpose.
    #[error("the covariance is not symmetric: it has {a} at [{row}, {column}] and {b} at [{column}, {row}]")]
    Asymmetric {
        /// Of the first number.
        row: usize,
        /// Likewise.
        column: usize,
        /// It itself.
        a: f64,
        /// The other one.
        b: f64,
    },
    /// A variance that no numbers have.
    #[error("the covariance has {value} at [{place}, {place}], but a variance is never negative")]
    Negative {
        /// Its place on the diagonal.
        place: usize,
        /// What it is.
        value: f64,
    },
    /// Two features that belong together more than each with itself.
    #[error("the covariance has {value} at [{row}, {column}], more than the variances of these two features allow")]
    Impossible {
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// What it is.
        value: f64,
    },
    /// No feature varies.
    #[error("the covariance is 0, as of one picture that comes again and again")]
    Constant,
}

impl Gaussian {
    /// Of numbers that somebody else computed: a mean, `[D]`, and a covariance, `[D, D]`, which is made symmetric to the last bit.
    ///
    /// # Errors
    /// [`StatisticsError`] when they are none.
    pub fn from_parts(mean: &[f64], covariance: &[f64]) -> Result<Self, StatisticsError> {
        let width = mean.len();
        if width == 0 || covariance.len() != width * width {
            return Err(StatisticsError::Form { width, found: covariance.len() });
        }
        for (of, values) in [("mean", mean), ("covariance", covariance)] {
            if values.iter().any(|value| !value.is_finite()) {
                return Err(StatisticsError::NotFinite { of });
            }
        }
        let covariance = DMatrix::from_row_slice(width, width, covariance);
        check(&covariance)?;
        let covariance = (&covariance + covariance.transpose()) / 2.0;
        Ok(Self { mean: DVector::from_row_slice(mean), covariance })
    }
}

/// Says what keeps a square of finite numbers from being a covariance.
fn check(s: &DMatrix<f64>) -> Result<(), StatisticsError> {
    let variances: Vec<f64> = s.diagonal().iter().copied().collect();
    let largest = variances.iter().copied().map(f64::abs).fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(StatisticsError::Constant);
    }
    let nothing = NOTHING * largest;
    if let Some((place, value)) = variances.iter().copied().enumerate().find(|(_, value)| *value < -nothing) {
        return Err(StatisticsError::Negative { place, value });
    }
    for row in 0..s.nrows() {
        for column in 0..row {
            let (a, b) = (s[(row, column)], s[(column, row)]);
            let most = (variances[row] * variances[column]).max(0.0).sqrt();
            if (a - b).abs() > ROUNDING * most + nothing {
                return Err(StatisticsError::Asymmetric { row, column, a, b });
            }
            if a.abs() > (1.0 + ROUNDING) * most + nothing {
                return Err(StatisticsError::Impossible { row, column, value: a });
            }
        }
    }
    Ok(())
}

/// Mean and covariance of the features of real pictures that are not all here, and what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Of the features of a whole picture.
    pub gaussian: Gaussian,
    /// Of features that know where in the picture they are, such as the 2,023 of guided-diffusion's sFID.
    pub spatial: Option<Gaussian>,
    /// Pictures that they are of, where that is known.
    pub count: Option<usize>,
    /// Whether the numbers are doubles, of which a rank can be told: what was rounded is of full rank by its rounding.
    pub is_exact: bool,
}

impl Statistics {
    /// Of pictures whose features are here.
    ///
    /// # Errors
    /// As [`Gaussian::of`].
    pub fn of(features: &Features) -> Result<Self, MetricError> {
        let spatial = features.spatial().map(Gaussian::of).transpose()?;
        Ok(Self { gaussian: Gaussian::of(features)?, spatial, count: Some(features.len()), is_exact: true })
    }
}

/// The real pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Real {
    features: Option<Features>,
    statistics: Option<Statistics>,
}

impl Real {
    /// Pictures whose features are here, all of them.
    #[must_use]
    pub const fn of(features: Features) -> Self {
        Self { features: Some(features), statistics: None }
    }

    /// Those that statistics are of, and the features of some of them, if any: Fréchet distances are to the former, and what
    /// needs pictures takes the latter.
    #[must_use]
    pub const fn of_statistics(statistics: Statistics, some: Option<Features>) -> Self {
        Self { features: some, statistics: Some(statistics) }
    }

    /// What is seen of the pictures that are here.
    #[must_use]
    pub const fn features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    /// Statistics that are not of what is here.
    #[must_use]
    pub const fn statistics(&self) -> Option<&Statistics> {
        self.statistics.as_ref()
    }

    /// Features of a picture.
    #[must_use]
    pub fn width(&self) -> usize {
        let own = self.features.as_ref().map(Features::width);
        own.or_else(|| self.statistics.as_ref().map(|known| known.gaussian.width())).unwrap_or(0)
    }

    /// Pictures that a Fréchet distance is to, where that is known.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.statistics.as_ref().map_or_else(|| self.features.as_ref().map(Features::len), |known| known.count)
    }

    /// Mean and covariance.
    ///
    /// # Errors
    /// As [`Gaussian::of`].
    pub(super) fn gaussian(&self) -> Result<Gaussian, MetricError> {
        match (&self.statistics, &self.features) {
            (Some(known), _) => Ok(known.gaussian.clone()),
            (None, Some(features)) => Gaussian::of(features),
            (None, None) => Err(MetricError::TooFew { metric: "the Fréchet distance", needed: 2, found: 0 }),
        }
    }

    /// Likewise of what is seen place by place, where that is known.
    ///
    /// # Errors
    /// As [`Gaussian::of`].
    pub(super) fn spatial(&self) -> Result<Option<Gaussian>, MetricError> {
        match (&self.statistics, &self.features) {
            (Some(known), _) => Ok(known.spatial.clone()),
            (None, Some(features)) => features.spatial().map(Gaussian::of).transpose(),
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::frechet_distance;
    use crate::noise::{Purpose, Stream};

    fn set(seed: u64, n: usize, width: usize) -> Features {
        Features::of_rows(width, &Stream::new(seed, Purpose::Sampling(0)).normal(n * width))
    }

    fn parts(gaussian: &Gaussian) -> (Vec<f64>, Vec<f64>) {
        (gaussian.mean.iter().copied().collect(), gaussian.covariance.iter().copied().collect())
    }

    #[test]
    fn numbers_that_were_rounded_to_half_precision_are_still_a_covariance() {
        let (own, other) = (Gaussian::of(&set(1, 60, 5)).unwrap(), Gaussian::of(&set(2, 60, 5)).unwrap());
        let (mean, covariance) = parts(&own);
        assert_eq!(Gaussian::from_parts(&mean, &covariance).unwrap(), own, "what is exact stays");
        let half = |values: Vec<f64>| -> Vec<f64> {
            values.into_iter().map(|value| half::f16::from_f64(value).to_f64()).collect()
        };
        let rounded = Gaussian::from_parts(&half(mean), &half(covariance)).unwrap();
        let [exact, found] = [&own, &rounded].map(|of| frechet_distance(&other, of).unwrap());
        assert!((exact - found).abs() < 2e-2 * exact, "{exact} {found}");
    }

    #[test]
    fn what_is_no_covariance_is_refused_by_what_is_wrong_with_it() {
        let with = |change: fn(&mut Vec<f64>, &mut Vec<f64>)| {
            let (mut mean, mut covariance) = (vec![0.0, 1.0], vec![2.0, 0.5, 0.5, 1.0]);
            change(&mut mean, &mut covariance);
            Gaussian::from_parts(&mean, &covariance).unwrap_err()
        };
        assert_eq!(with(|_, s| s.truncate(3)), StatisticsError::Form { width: 2, found: 3 });
        assert_eq!(with(|m, _| m[1] = f64::NAN), StatisticsError::NotFinite { of: "mean" });
        assert_eq!(with(|_, s| s[3] = f64::INFINITY), StatisticsError::NotFinite { of: "covariance" });
        assert_eq!(with(|_, s| s[2] = 0.7), StatisticsError::Asymmetric { row: 1, column: 0, a: 0.7, b: 0.5 });
        assert_eq!(with(|_, s| s[3] = -1.0), StatisticsError::Negative { place: 1, value: -1.0 });
        let impossible = with(|_, s| (s[1], s[2]) = (3.0, 3.0));
        assert_eq!(impossible, StatisticsError::Impossible { row: 1, column: 0, value: 3.0 });
        assert_eq!(with(|_, s| s.fill(0.0)), StatisticsError::Constant);
        assert_eq!(Gaussian::from_parts(&[], &[]), Err(StatisticsError::Form { width: 0, found: 0 }));
    }

    #[test]
    fn the_distance_is_to_the_statistics_also_where_some_of_their_pictures_are_here() {
        let all = set(1, 60, 3);
        let some = all.at(&(0..10).collect::<Vec<_>>());
        let statistics = Statistics::of(&all).unwrap();
        let real = Real::of_statistics(statistics.clone(), Some(some));
        assert_eq!((real.width(), real.count(), real.gaussian().unwrap()), (3, Some(60), statistics.gaussian.clone()));
        let alone = Real::of_statistics(Statistics { count: None, ..statistics.clone() }, None);
        assert_eq!((alone.width(), alone.count(), alone.gaussian().unwrap()), (3, None, statistics.gaussian.clone()));
        assert_eq!(Real::of(all).gaussian().unwrap(), statistics.gaussian);
    }

    #[test]
    fn a_rank_is_how_many_features_vary_on_their_own() {
        assert_eq!(Gaussian::of(&set(1, 60, 5)).unwrap().rank(), 5);
        assert_eq!(Gaussian::of(&set(1, 4, 9)).unwrap().rank(), 3, "four pictures differ in three ways");
    }
}
