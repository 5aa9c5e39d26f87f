//! Who lies among whom: shares of pictures in the neighbourhoods of another set's.

use nalgebra::DMatrix;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::{Features, MetricError, Watch};

/// Pictures whose distances to all others are computed together.
const BLOCK: usize = 512;

/// How two sets lie among each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbourhoods {
    /// Share of the samples that lie among the real pictures, `0..=1`.
    pub precision: f64,
    /// Share of the real pictures that lie among the samples, `0..=1`.
    pub recall: f64,
    /// How many real neighbourhoods a sample lies in, as a multiple of what a real picture would expect; it may exceed 1.
    pub density: f64,
    /// Share of the real pictures that have a sample in their neighbourhood, `0..=1`.
    pub coverage: f64,
}

/// The real pictures, and how far the neighbourhood of each reaches: to its `k`-th nearest other one.
#[derive(Debug)]
pub struct Neighbours {
    set: Points,
    /// For precision and recall, and for density and coverage.
    k: (usize, usize),
    reach: [Vec<f64>; 2],
}

const METRIC: &str = "the comparison of neighbourhoods";

impl Neighbours {
    /// With `k.0`-th neighbours for precision and recall, and `k.1`-th for density and coverage.
    ///
    /// # Errors
    /// [`MetricError`] for pictures that have no `k`-th neighbours or features that are no numbers, or when `watch` says so.
    pub fn of(real: &Features, k: (usize, usize), watch: &mut Watch<'_>) -> Result<Self, MetricError> {
        real.fits(real, (METRIC, k.0.max(k.1) + 1))?;
        real.check()?;
        let set = Points::of(real);
        let mut work = Work { done: 0, of: set.len().div_ceil(BLOCK), watch };
        let [near, far] = work.reach(&set, [k.0, k.1])?;
        Ok(Self { set, k, reach: [near, far] })
    }

    /// How samples and real pictures lie among each other.
    ///
    /// # Errors
    /// As [`Self::of`], or for features of another network.
    ///
    /// # Source
    /// Precision and recall: Kynkäänniemi et al. 2019 with k = 3, sets of unequal size as in guided-diffusion `evaluator.py`;
    /// density and coverage: Naeem et al. 2020 with k = 5, `prdc.py`. Distances in double precision.
    pub fn compare(&self, samples: &Features, watch: &mut Watch<'_>) -> Result<Neighbourhoods, MetricError> {
        samples.fits(samples, (METRIC, self.k.0 + 1))?;
        if samples.width() != self.set.rows.ncols() {
            return Err(MetricError::Width { a: self.set.rows.ncols(), b: samples.width() });
        }
        samples.check()?;
        let samples = Points::of(samples);
        let (n, m) = (self.set.len(), samples.len());
        let mut work = Work { done: 0, of: 2 * m.div_ceil(BLOCK), watch };
        let [reach] = work.reach(&samples, [self.k.0])?;
        let (mut inside, mut dense) = (0_usize, 0_usize);
        let (mut recalled, mut covered) = (vec![false; n], vec![false; n]);
        work.blocks(&samples, &self.set, &mut |first, distances| {
            for (reach, distances) in reach[first..].iter().zip(&distances) {
                inside += usize::from(distances.iter().zip(&self.reach[0]).any(|(distance, reach)| distance <= reach));
                for (i, distance) in distances.iter().enumerate() {
                    recalled[i] |= distance <= reach;
                    let is_near = *distance < self.reach[1][i];
                    dense += usize::from(is_near);
                    covered[i] |= is_near;
                }
            }
        })?;
        let share = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f64 / flags.len() as f64;
        Ok(Neighbourhoods {
            precision: inside as f64 / m as f64,
            recall: share(&recalled),
            density: dense as f64 / (self.k.1 * m) as f64,
            coverage: share(&covered),
        })
    }
}

/// One row per picture, and their squared lengths.
#[derive(Debug)]
struct Points {
    rows: DMatrix<f64>,
    lengths: Vec<f64>,
}

impl Points {
    fn of(features: &Features) -> Self {
        let rows = DMatrix::from_row_iterator(
            features.len(),
            features.width(),
            features.values().iter().map(|v| f64::from(*v)),
        );
        let lengths = rows.row_iter().map(|row| row.norm_squared()).collect();
        Self { rows, lengths }
    }

    const fn len(&self) -> usize {
        self.lengths.len()
    }
}

struct Work<'a, 'w> {
    done: usize,
    of: usize,
    watch: &'a mut Watch<'w>,
}

impl Work<'_, '_> {
    /// Squared distances from every picture to its `k`-th other one, for every `k`.
    fn reach<const K: usize>(&mut self, set: &Points, ks: [usize; K]) -> Result<[Vec<f64>; K], MetricError> {
        let mut found = [(); K].map(|()| Vec::with_capacity(set.len()));
        self.blocks(set, set, &mut |_, distances| {
            // Its own distance is the smallest, so the k-th other is at place k.
            let of_each = |mut row: Vec<f64>| ks.map(|k| *row.select_nth_unstable_by(k, f64::total_cmp).1);
            let rows: Vec<[f64; K]> = distances.into_par_iter().map(of_each).collect();
            for row in rows {
                found.iter_mut().zip(row).for_each(|(found, value)| found.push(value));
            }
        })?;
        Ok(found)
    }

    /// Calls `take` with squared distances of every picture of `a` to all of `b`, some of `a` at a time.
    fn blocks(
        &mut self,
        a: &Points,
        b: &Points,
        take: &mut dyn FnMut(usize, Vec<Vec<f64>>),
    ) -> Result<(), MetricError> {
        for first in (0..a.len()).step_by(BLOCK) {
            if !(self.watch)(self.done, self.of) {
                return Err(MetricError::Stopped);
            }
            self.done += 1;
            let count = BLOCK.min(a.len() - first);
            let each = count.div_ceil(rayon::current_num_threads().max(1));
            let parts: Vec<Vec<Vec<f64>>> = (0..count.div_ceil(each))
                .into_par_iter()
                .map(|part| {
                    let from = first + part * each;
                    let some = a.rows.rows(from, each.min(first + count - from)).transpose();
                    // One column per picture of `a`; as a product it is many times faster than pair by pair.
                    let products = &b.rows * some;
                    let of_one = |(column, length): (usize, &f64)| -> Vec<f64> {
                        let products = products.column(column);
                        let pairs = products.iter().zip(&b.lengths);
                        pairs.map(|(product, other)| (length - 2.0 * product + other).max(0.0)).collect()
                    };
                    a.lengths[from..from + products.ncols()].iter().enumerate().map(of_one).collect()
                })
                .collect();
            take(first, parts.into_iter().flatten().collect());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Purpose, Stream};

    fn line(values: &[f32]) -> Features {
        Features::of_rows(1, values)
    }

    fn compare(real: &Features, samples: &Features, k: usize) -> Neighbourhoods {
        let watch: &mut Watch<'_> = &mut |_, _| true;
        Neighbours::of(real, (k, k), watch).unwrap().compare(samples, watch).unwrap()
    }

    #[test]
    fn by_hand_on_a_line() {
        // With k = 1 the real ones reach 1, 1, 8; the samples 0.5, 0.5, 89.
        let found = compare(&line(&[0.0, 1.0, 9.0]), &line(&[0.25, 0.75, 90.0]), 1);
        assert_eq!((found.precision, found.recall), (2.0 / 3.0, 1.0));
        // 0.25 and 0.75 lie with 0, with 1, and 9 reaches down to 1.
        assert_eq!((found.density, found.coverage), (4.0 / 3.0, 2.0 / 3.0));
    }

    #[test]
    fn precision_and_recall_swap_with_the_sets_whatever_their_sizes_and_the_blocks() {
        let cloud = |seed, n: usize, shift: f32| {
            let values = Stream::new(seed, Purpose::Sampling(0)).normal(3 * n);
            Features::of_rows(3, &values.iter().map(|value| value + shift).collect::<Vec<_>>())
        };
        let (a, b) = (cloud(1, 700, 0.0), cloud(2, 130, 1.5));
        let (ab, ba) = (compare(&a, &b, 3), compare(&b, &a, 3));
        assert_eq!((ab.precision, ab.recall), (ba.recall, ba.precision));
        assert!(ab.precision < 1.0 && ab.recall < 1.0 && ab.precision > 0.0, "{ab:?}");
        let same = compare(&a, &a, 5);
        assert_eq!((same.precision, same.recall, same.coverage), (1.0, 1.0, 1.0));
        // Slowly and plainly.
        let distance = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
        let reach: Vec<f64> = (0..a.len())
            .map(|i| {
                let mut all: Vec<f64> = (0..a.len()).map(|j| distance(a.row(i), a.row(j))).collect();
                all.sort_by(f64::total_cmp);
                all[3]
            })
            .collect();
        let inside = |j: &usize| (0..a.len()).any(|i| distance(a.row(i), b.row(*j)) <= reach[i]);
        assert_eq!(ab.precision, (0..b.len()).filter(inside).count() as f64 / b.len() as f64);
    }

    #[test]
    fn sets_without_such_neighbours_are_refused_and_who_waits_may_go() {
        let (two, four) = (line(&[0.0, 1.0]), line(&[0.0, 1.0, 2.0, 3.0]));
        let go = &mut |_: usize, _: usize| true;
        let refused = |result| matches!(result, Err(MetricError::TooFew { found: 2, .. }));
        assert!(refused(Neighbours::of(&two, (3, 5), go).map(|_| ())));
        let real = Neighbours::of(&four, (2, 3), go).unwrap();
        assert!(refused(real.compare(&two, go).map(|_| ())));
        assert_eq!(real.compare(&four, &mut |_, _| false), Err(MetricError::Stopped));
        assert!(matches!(Neighbours::of(&four, (1, 1), &mut |_, _| false), Err(MetricError::Stopped)));
    }
}
