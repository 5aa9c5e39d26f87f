//! How sure a number is: what it would be of other sets of pictures like these.

use super::Sure;
use crate::noise::{Purpose, Stream};

/// Sets that are drawn from a set, with repetition.
const REPLICATES: usize = 200;
/// Pairs from which an interval means something: of fewer, draws with repetition are too much alike.
pub const FEW: usize = 8;
/// Of a normal distribution, 95 % lie within so many deviations.
const DEVIATIONS: f64 = 1.959_963_984_540_054;

/// Where a number lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Around a number, as wide as it varies among bootstrapped sets; not where their own numbers lie: a set with repetitions is
    /// farther from everything than one without.
    #[must_use]
    pub fn around(value: f64, bootstrapped: &[f64]) -> Self {
        let n = bootstrapped.len().max(2) as f64;
        let mean = bootstrapped.iter().sum::<f64>() / n;
        let variance = bootstrapped.iter().map(|other| (other - mean) * (other - mean)).sum::<f64>() / (n - 1.0);
        let reach = DEVIATIONS * variance.sqrt();
        Self { low: value - reach, high: value + reach }
    }

    /// Around a number by the influences of the pictures that it is of: how much it varies among bootstrapped sets, to first order (the
    /// infinitesimal jackknife; Efron 1982, section 6.3). Of a mean, what each is more than that.
    #[must_use]
    pub fn by_influence(value: f64, influences: &[f64]) -> Self {
        let n = influences.len().max(2) as f64;
        let variance = influences.iter().map(|one| one * one).sum::<f64>() / (n * (n - 1.0));
        let reach = DEVIATIONS * variance.sqrt();
        Self { low: value - reach, high: value + reach }
    }

    /// Whether a difference of which it is the interval is none that can be told from chance.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Numbers of bootstrapped sets: how often each of `n` pictures comes goes to `number`, the same draws for every call with the same
/// `n`. So the differences of two sets whose pictures belong together, such as before and after, are paired.
///
/// # Errors
/// What `number` returns.
pub(super) fn bootstrapped<E>(n: usize, mut number: impl FnMut(&[u32]) -> Result<f64, E>) -> Result<Vec<f64>, E> {
    (0..REPLICATES)
        .map(|replicate| {
            let mut stream = Stream::new(replicate as u64 + 1, Purpose::Resample);
            let mut weights = vec![0; n];
            (0..n).for_each(|_| weights[stream.below(n)] += 1);
            number(&weights)
        })
        .collect()
}

/// Mean of numbers of which each comes so often.
pub(super) fn mean(numbers: &[f64], weights: &[u32]) -> f64 {
    let sum: f64 = numbers.iter().zip(weights).map(|(number, weight)| number * f64::from(*weight)).sum();
    sum / weights.iter().map(|weight| f64::from(*weight)).sum::<f64>()
}

/// Means of bootstrapped numbers.
pub(super) fn bootstrapped_means(numbers: &[f64]) -> Vec<f64> {
    let means = bootstrapped(numbers.len(), |weights| Ok::<_, std::convert::Infallible>(mean(numbers, weights)));
    means.unwrap_or_default()
}

/// Mean of the changes of single pictures, with its interval where there are [`FEW`] or more; those that are no numbers are left out.
#[must_use]
pub fn mean_change(changes: &[f64]) -> Sure {
    let changes: Vec<f64> = changes.iter().copied().filter(|change| change.is_finite()).collect();
    let value = mean(&changes, &vec![1; changes.len()]);
    let interval = (changes.len() >= FEW).then(|| Interval::around(value, &bootstrapped_means(&changes)));
    Sure { value, interval }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::frechet::frechet_influences;
    use crate::metrics::{Features, Gaussian};

    /// Normal numbers of two sets that belong together: what changes is a tenth of what they are.
    fn pair(seed: u64, n: usize, width: usize, shift: f32) -> [Features; 2] {
        let mut stream = Stream::new(seed, Purpose::Sampling(0));
        let (common, own) = (stream.normal(n * width), stream.normal(n * width));
        let after: Vec<f32> = common.iter().zip(&own).map(|(x, change)| x + 0.1 * change + shift).collect();
        [common, after].map(|values| Features::of_rows(width, &values))
    }

    /// Of many experiments, the share whose interval of the change holds the true one.
    fn coverage(experiments: u64, truth: f64, change: impl Fn(u64) -> Interval) -> f64 {
        let held = (0..experiments).filter(|seed| change(1000 + seed).holds(truth));
        held.count() as f64 / experiments as f64
    }

    #[test]
    fn an_interval_of_a_paired_change_holds_the_truth_nineteen_times_of_twenty() {
        let share = coverage(2000, 0.25, |seed| {
            let [before, after] = pair(seed, 60, 1, 0.25);
            let changes: Vec<f64> = before.values().iter().zip(after.values()).map(|(a, b)| f64::from(b - a)).collect();
            Interval::around(mean(&changes, &[1; 60]), &bootstrapped_means(&changes))
        });
        // Of 2,000 experiments the share itself varies by half a per cent.
        assert!((share - 0.95).abs() < 0.02, "{share}");
    }

    #[test]
    fn to_first_order_a_mean_varies_as_among_bootstrapped_sets() {
        let numbers: Vec<f64> = Stream::new(7, Purpose::Resample).normal(500).into_iter().map(f64::from).collect();
        let value = mean(&numbers, &[1; 500]);
        let influences: Vec<f64> = numbers.iter().map(|number| number - value).collect();
        let [by_influence, around] =
            [Interval::by_influence(value, &influences), Interval::around(value, &bootstrapped_means(&numbers))]
                .map(|interval| interval.high - interval.low);
        // A deviation of 200 draws is known to a twentieth.
        assert!((by_influence / around - 1.0).abs() < 0.15, "{by_influence} for {around}");
    }

    #[test]
    fn of_few_pictures_no_change_is_sure_and_what_is_no_number_does_not_count() {
        assert!(mean_change(&[]).value.is_nan());
        let few = mean_change(&[1.0, f64::NAN, 2.0]);
        assert_eq!((few.value, few.interval), (1.5, None));
        let all: Vec<f64> = (0..16).map(f64::from).collect();
        let Sure { value, interval } = mean_change(&all);
        let Interval { low, high } = interval.unwrap();
        // The deviation of the mean of sixteen is a fourth of theirs, 4.76.
        assert!(value == 7.5 && (1.5..3.0).contains(&(high - value)) && (high - value - (value - low)).abs() < 1e-9);
    }

    #[test]
    fn so_does_that_of_a_change_of_frechet_distances() {
        let width = 2;
        let reference = Gaussian {
            mean: nalgebra::DVector::from_element(width, 1.0),
            covariance: nalgebra::DMatrix::identity(width, width),
        };
        // N(0, 1) and N(0.25, 1.01) to N(1, 1), in both dimensions.
        let truth = 2.0 * (0.75_f64.powi(2) + (1.01_f64.sqrt() - 1.0).powi(2)) - 2.0;
        let share = coverage(2000, truth, |seed| {
            let [before, after] =
                pair(seed, 200, width, 0.25).map(|set| frechet_influences(&set, &reference).expect("enough"));
            let changes: Vec<f64> = before.1.iter().zip(&after.1).map(|(before, after)| after - before).collect();
            Interval::by_influence(after.0 - before.0, &changes)
        });
        assert!((share - 0.95).abs() < 0.02, "{share}");
    }
}
