//! Numbers of many pairs, one of each per pair, and what they come to.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::super::interval::{bootstrapped_means, mean};
use super::super::{Interval, Metric, Number, Sure};
use super::{Flip, PIXELS_PER_DEGREE, PairError, Ssim, psnr};

/// Compares pictures of one form with their partners.
#[derive(Debug)]
pub struct PairMeter {
    sample_len: usize,
    ssim: Result<Ssim, PairError>,
    flip: Result<Flip, PairError>,
}

impl PairMeter {
    /// For pictures `[C, H, W]`.
    #[must_use]
    pub fn new(shape: [usize; 3]) -> Self {
        let sample_len = shape.iter().product();
        Self { sample_len, ssim: Ssim::new(shape), flip: Flip::new(shape, PIXELS_PER_DEGREE) }
    }

    /// Why numbers are left out that pictures of this form do not have.
    #[must_use]
    pub fn left_out(&self) -> Vec<PairError> {
        self.ssim.as_ref().err().into_iter().chain(self.flip.as_ref().err()).copied().collect()
    }

    /// Of every pair, on all cores. Both are `[N, C, H, W]` in `[0, 1]`.
    ///
    /// # Panics
    /// When there are not as many of one as of the other, or none has a pixel.
    #[must_use]
    pub fn compare(&self, a: &[f32], b: &[f32]) -> PairNumbers {
        assert_eq!(a.len(), b.len(), "every picture has a partner");
        let of_pair = |place: usize| {
            let range = place * self.sample_len..(place + 1) * self.sample_len;
            let (a, b) = (&a[range.clone()], &b[range]);
            let ssim = self.ssim.as_ref().ok().map(|ssim| ssim.of(a, b));
            (psnr(a, b), ssim, self.flip.as_ref().ok().map(|flip| flip.of(a, b)))
        };
        let found: Vec<_> = (0..a.len() / self.sample_len).into_par_iter().map(of_pair).collect();
        PairNumbers {
            psnr: found.iter().map(|(psnr, ..)| *psnr).collect(),
            ssim: found.iter().filter_map(|(_, ssim, _)| *ssim).collect(),
            flip: found.iter().filter_map(|(.., flip)| *flip).collect(),
            lpips: Vec::new(),
        }
    }
}

/// Numbers of pairs, one of each kind per pair; none of a kind that the pictures do not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PairNumbers {
    psnr: Vec<f64>,
    ssim: Vec<f64>,
    flip: Vec<f64>,
    /// LPIPS, from whoever has its network.
    pub lpips: Vec<f64>,
}

impl PairNumbers {
    /// Of PSNR, SSIM, FLIP and LPIPS, each of every pair or of none.
    #[must_use]
    pub fn from_each([psnr, ssim, flip, lpips]: [Vec<f64>; 4]) -> Self {
        Self { psnr, ssim, flip, lpips }
    }

    /// Likewise, as they are.
    #[must_use]
    pub const fn of_each(&self) -> [&Vec<f64>; 4] {
        [&self.psnr, &self.ssim, &self.flip, &self.lpips]
    }

    /// Adds those of further pairs.
    pub fn append(&mut self, mut further: Self) {
        self.psnr.append(&mut further.psnr);
        self.ssim.append(&mut further.ssim);
        self.flip.append(&mut further.flip);
        self.lpips.append(&mut further.lpips);
    }

    /// Number of pairs.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.psnr.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.psnr.is_empty()
    }

    /// Pairs of equal pictures.
    #[must_use]
    pub fn equal(&self) -> usize {
        self.psnr.iter().filter(|psnr| psnr.is_infinite()).count()
    }

    /// The mean of every kind over the pairs, with its interval where there are two or more. A PSNR of equal pictures is infinite, so
    /// its mean, of decibels, is over the pairs that differ, and equal ones are a number of their own where there are any.
    #[must_use]
    pub fn numbers(&self) -> Vec<Number> {
        let differing: Vec<f64> = self.psnr.iter().copied().filter(|psnr| psnr.is_finite()).collect();
        let kinds = [
            (Metric::Psnr, differing.as_slice()),
            (Metric::Ssim, self.ssim.as_slice()),
            (Metric::Flip, self.flip.as_slice()),
            (Metric::Lpips, self.lpips.as_slice()),
        ];
        let means = kinds.into_iter().filter(|(_, of_each)| !of_each.is_empty());
        let mut numbers: Vec<Number> = means.map(|(metric, of_each)| number(metric, of_each)).collect();
        if self.equal() > 0 {
            let of = Sure { value: self.equal() as f64, interval: None };
            numbers.push(Number { metric: Metric::Equal, of, change: None });
        }
        numbers
    }
}

fn number(metric: Metric, of_each: &[f64]) -> Number {
    let value = mean(of_each, &vec![1; of_each.len()]);
    let interval = (of_each.len() > 1).then(|| Interval::around(value, &bootstrapped_means(of_each)));
    Number { metric, of: metric.possible(Sure { value, interval }), change: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Purpose, Stream};

    const SHAPE: [usize; 3] = [3, 16, 16];

    fn pictures(seed: u64, n: usize) -> Vec<f32> {
        let values = Stream::new(seed, Purpose::Sampling(0)).normal(n * 768);
        values.iter().map(|value| (0.5 + 0.2 * value).clamp(0.0, 1.0)).collect()
    }

    fn value(numbers: &[Number], metric: Metric) -> Sure {
        numbers.iter().find(|number| number.metric == metric).expect("it can be had").of
    }

    #[test]
    fn parts_of_many_pairs_come_to_the_same_as_all_at_once() {
        let meter = PairMeter::new(SHAPE);
        let (a, b) = (pictures(1, 5), pictures(2, 5));
        let mut parts = PairNumbers::default();
        for (a, b) in a.chunks(2 * 768).zip(b.chunks(2 * 768)) {
            parts.append(meter.compare(a, b));
        }
        assert_eq!(parts, meter.compare(&a, &b));
        let numbers = parts.numbers();
        let each: Vec<f64> = a.chunks(768).zip(b.chunks(768)).map(|(a, b)| psnr(a, b)).collect();
        let found = value(&numbers, Metric::Psnr);
        assert!((found.value - each.iter().sum::<f64>() / 5.0).abs() < 1e-12);
        assert!(found.interval.is_some_and(|interval| interval.holds(found.value) && interval.low < interval.high));
        assert!(numbers.len() == 3 && meter.left_out().is_empty(), "{numbers:?}");
    }

    #[test]
    fn equal_pairs_are_counted_and_no_mean_is_infinite() {
        let meter = PairMeter::new(SHAPE);
        let a = pictures(1, 4);
        let mut b = a.clone();
        b[..768].copy_from_slice(&pictures(2, 1));
        let some = meter.compare(&a, &b);
        let numbers = some.numbers();
        assert_eq!((some.len(), some.equal(), value(&numbers, Metric::Equal).value), (4, 3, 3.0));
        assert_eq!(value(&numbers, Metric::Psnr), Sure { value: psnr(&a[..768], &b[..768]), interval: None });
        let flip = value(&numbers, Metric::Flip);
        assert!(flip.interval.is_some_and(|interval| interval.low >= 0.0), "{flip:?}");
        let numbers = meter.compare(&a, &a).numbers();
        assert!(numbers.iter().all(|number| number.metric != Metric::Psnr), "{numbers:?}");
        assert_eq!(value(&numbers, Metric::Flip).value, 0.0);
        assert!((value(&numbers, Metric::Ssim).value - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_a_form_does_not_have_is_left_out_and_said() {
        let meter = PairMeter::new([4, 3, 64]);
        let numbers = meter.compare(&pictures(1, 1), &pictures(2, 1)).numbers();
        assert_eq!(numbers.iter().map(|number| number.metric).collect::<Vec<_>>(), [Metric::Psnr]);
        let said = [PairError::Small { height: 3, width: 64 }, PairError::Channels { channels: 4 }];
        assert_eq!(meter.left_out(), said);
    }
}
