//! Real pictures, made ready once for as many sets as are compared with them, one number or all.

use super::frechet::frechet_influences;
use super::metric::Metric;
use super::report::Spread;
use super::{
    Features, Gaussian, MetricError, Neighbours, Real, SUBSET, SUBSETS, Sure, Watch, inception_score, kernel_distance,
};

/// Neighbours of precision and recall, and of density and coverage, as their authors chose them.
pub const NEIGHBOURS: (usize, usize) = (3, 5);
/// Parts of a set that the Inception score is the mean over (guided-diffusion, torch-fidelity).
pub const PARTS: usize = 10;

/// Real pictures, and what is computed of them alone; without any, what compares with none can be had.
#[derive(Debug, Default)]
pub struct Against {
    /// Of the pictures that are here, in an order of their own, from which subsets are drawn: those of one set of pictures, however
    /// it is given.
    shuffled: Option<Features>,
    gaussian: Option<Gaussian>,
    /// Of what is seen place by place.
    spatial: Option<Gaussian>,
    neighbours: Option<Neighbours>,
}

/// A number on its way.
pub(super) struct Found {
    pub(super) metric: Metric,
    pub(super) value: f64,
    pub(super) spread: Spread,
}

impl Found {
    const fn plain(metric: Metric, value: f64) -> Self {
        Self { metric, value, spread: Spread::Unknown }
    }

    /// How sure it is.
    pub(super) fn sure(&self) -> Sure {
        self.metric.possible(self.spread.sure(self.value))
    }
}

impl Against {
    /// What the numbers that are wanted need of the real pictures, where they have it.
    ///
    /// # Errors
    /// [`MetricError`] when the pictures are too few or broken, or when `watch` says so.
    pub fn of(real: &Real, wanted: &[Metric], watch: &mut Watch<'_>) -> Result<Self, MetricError> {
        let gaussian = wanted.contains(&Metric::Frechet).then(|| real.gaussian()).transpose()?;
        let spatial = if wanted.contains(&Metric::SpatialFrechet) { real.spatial()? } else { None };
        let pictures = |is_wanted: bool, more_than: usize| {
            real.features().filter(|features| is_wanted && features.len() > more_than)
        };
        let enough = pictures(wanted.iter().any(|metric| metric.is_of_neighbours()), NEIGHBOURS.0.max(NEIGHBOURS.1));
        let neighbours = enough.map(|features| Neighbours::of(features, NEIGHBOURS, watch)).transpose()?;
        let shuffled = pictures(wanted.contains(&Metric::Kernel), 1).map(shuffled);
        Ok(Self { shuffled, gaussian, spatial, neighbours })
    }

    /// What one number needs, which must be there.
    ///
    /// # Errors
    /// As [`Self::of`], or [`MetricError::TooFew`] when the number cannot be had of these.
    pub fn for_one(metric: Metric, real: &Real, watch: &mut Watch<'_>) -> Result<Self, MetricError> {
        let own = Self::of(real, &[metric], watch)?;
        if own.serves(metric) {
            return Ok(own);
        }
        let ([_, needed], found) = (metric.fewest(), real.features().map_or(0, Features::len));
        Err(MetricError::TooFew { metric: metric.label(), needed, found })
    }

    const fn serves(&self, metric: Metric) -> bool {
        match metric {
            Metric::Frechet => self.gaussian.is_some(),
            Metric::SpatialFrechet => self.spatial.is_some(),
            Metric::Kernel => self.shuffled.is_some(),
            other => !other.is_of_neighbours() || self.neighbours.is_some(),
        }
    }

    /// One number of a set, the same that [`super::compare`] gives; of those that need nobody's labels.
    ///
    /// # Errors
    /// [`MetricError`] when the pictures or their number do not allow it, or when `watch` says so.
    pub fn number(&self, metric: Metric, features: &Features, watch: &mut Watch<'_>) -> Result<Sure, MetricError> {
        let found: Vec<Found> = match metric {
            Metric::Frechet => self.distance(features)?.into_iter().collect(),
            Metric::SpatialFrechet => self.spatial(features)?.into_iter().collect(),
            Metric::Kernel => self.kernel(features, watch)?.into_iter().collect(),
            Metric::Inception => inception(features)?.into_iter().collect(),
            _ => self.neighbourhoods(features, watch)?,
        };
        let ([needed, _], count) = (metric.fewest(), features.len());
        let lacks = MetricError::TooFew { metric: metric.label(), needed, found: count };
        found.iter().find(|found| found.metric == metric).map(Found::sure).ok_or(lacks)
    }

    /// The Fréchet distance.
    pub(super) fn distance(&self, features: &Features) -> Result<Option<Found>, MetricError> {
        self.gaussian.as_ref().map(|reference| frechet(Metric::Frechet, features, reference)).transpose()
    }

    /// That of what is seen place by place, where both have it.
    pub(super) fn spatial(&self, features: &Features) -> Result<Option<Found>, MetricError> {
        let both = features.spatial().zip(self.spatial.as_ref());
        both.map(|(own, reference)| frechet(Metric::SpatialFrechet, own, reference)).transpose()
    }

    /// The kernel distance; of statistics alone nobody knows how the pictures lie.
    pub(super) fn kernel(&self, features: &Features, watch: &mut Watch<'_>) -> Result<Option<Found>, MetricError> {
        let Some(real) = &self.shuffled else { return Ok(None) };
        let kernel = kernel_distance(real, features, (SUBSETS, SUBSET), watch)?;
        Ok(Some(Found::plain(Metric::Kernel, kernel.score.mean)))
    }

    /// Precision, recall, density and coverage, where there are enough pictures.
    pub(super) fn neighbourhoods(&self, features: &Features, watch: &mut Watch<'_>) -> Result<Vec<Found>, MetricError> {
        let Some(neighbours) = self.neighbours.as_ref().filter(|_| features.len() > NEIGHBOURS.0) else {
            return Ok(Vec::new());
        };
        let among = neighbours.compare(features, watch)?;
        let shares = [
            (Metric::Precision, among.precision),
            (Metric::Recall, among.recall),
            (Metric::Density, among.density),
            (Metric::Coverage, among.coverage),
        ];
        Ok(shares.map(|(metric, value)| Found::plain(metric, value)).into())
    }
}

fn frechet(metric: Metric, features: &Features, reference: &Gaussian) -> Result<Found, MetricError> {
    let (value, influences) = frechet_influences(features, reference)?;
    Ok(Found { metric, value, spread: Spread::Influences(influences) })
}

/// The Inception score, where there are enough pictures for its parts.
pub(super) fn inception(features: &Features) -> Result<Option<Found>, MetricError> {
    if features.len() < PARTS {
        return Ok(None);
    }
    Ok(Some(Found::plain(Metric::Inception, inception_score(&shuffled(features), PARTS)?.mean)))
}

/// Pictures as the Inception score's parts, and the kernel distance's subsets of real ones, are taken from them: in the order of a
/// hash (FNV-1a) of what is seen of each, for those of one class often lie together, and the same pictures in another order are the
/// same set.
fn shuffled(features: &Features) -> Features {
    let hash = |place: &usize| {
        let seen = features.row(*place).iter().chain(features.logits(*place));
        let bytes = seen.flat_map(|value| value.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let mut places: Vec<usize> = (0..features.len()).collect();
    places.sort_by_cached_key(hash);
    features.at(&places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::report::tests::set;
    use crate::metrics::{Statistics, compare};

    const ALL: [Metric; 7] = [
        Metric::Frechet,
        Metric::Kernel,
        Metric::Precision,
        Metric::Recall,
        Metric::Density,
        Metric::Coverage,
        Metric::Inception,
    ];

    #[test]
    fn one_number_is_that_of_the_table_to_the_last_digit() {
        let real = Real::of(set("real", 1, 60, 0.0).features);
        let sets = [set("a", 2, 40, 0.5), set("b", 3, 40, 0.1)];
        let reports = compare(&real, &sets, &mut |_, _| true).unwrap();
        for metric in ALL {
            let against = Against::for_one(metric, &real, &mut |_, _| true).unwrap();
            for (set, report) in sets.iter().zip(&reports) {
                let expected = report.numbers.iter().find(|number| number.metric == metric).unwrap().of;
                let found = against.number(metric, &set.features, &mut |_, _| true).unwrap();
                assert_eq!(found, expected, "{metric:?}");
                assert_eq!(found.interval.is_some(), metric == Metric::Frechet, "{metric:?}");
            }
        }
        let score = Against::default().number(Metric::Inception, &sets[0].features, &mut |_, _| true).unwrap();
        let expected = reports[0].numbers.iter().find(|number| number.metric == Metric::Inception).unwrap();
        assert_eq!(score, expected.of, "it needs no real pictures");
    }

    #[test]
    fn only_what_one_number_needs_is_made_ready() {
        let real = Real::of(set("real", 1, 60, 0.0).features);
        let parts = |metric| {
            let Against { shuffled, gaussian, neighbours, .. } =
                Against::for_one(metric, &real, &mut |_, _| true).unwrap();
            [shuffled.is_some(), gaussian.is_some(), neighbours.is_some()]
        };
        assert_eq!(parts(Metric::Kernel), [true, false, false]);
        assert_eq!(parts(Metric::Frechet), [false, true, false]);
        assert_eq!(parts(Metric::Recall), [false, false, true]);
    }

    #[test]
    fn too_few_pictures_on_either_side_are_told_of() {
        let few = set("few", 1, 5, 0.0).features;
        let one = |metric| Against::for_one(metric, &Real::of(few.clone()), &mut |_, _| true).unwrap_err().to_string();
        assert!(one(Metric::Recall).starts_with("recall needs at least 6 pictures of a set, but there are 5"));
        let statistics = Real::of_statistics(Statistics::of(&few).unwrap(), None);
        let error = Against::for_one(Metric::Kernel, &statistics, &mut |_, _| true).unwrap_err();
        assert_eq!(error, MetricError::TooFew { metric: "kernel distance", needed: 2, found: 0 });
        for (metric, needed) in [(Metric::Precision, 4), (Metric::Inception, 10), (Metric::Frechet, 2)] {
            assert!(metric.check_count(needed).is_ok());
            let found = needed - 1;
            let expected = MetricError::TooFew { metric: metric.label(), needed, found };
            assert_eq!(metric.check_count(found), Err(expected));
        }
        let stopped =
            Against::for_one(Metric::Coverage, &Real::of(set("real", 1, 60, 0.0).features), &mut |_, _| false);
        assert_eq!(stopped.unwrap_err(), MetricError::Stopped);
    }
}
