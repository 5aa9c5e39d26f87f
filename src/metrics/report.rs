//! Sets of pictures against real ones, and each against the first of them: every number with its name and how sure it is.

use std::collections::HashSet;

use super::against::{Against, Found, inception};
use super::calibration::Calibration;
use super::interval::{bootstrapped_means, mean};
use super::metric::Metric;
use super::{Features, Interval, MetricError, PARTS, Real, Watch, agreement, confidence};
use crate::units::counted;

/// Pictures of a part for each class: the 5,000 that papers take for 1,008 classes are enough to compare.
const ENOUGH: usize = 4;

/// Pictures whose numbers are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// What it is called.
    pub name: String,
    /// What the extractor sees in them.
    pub features: Features,
    /// The class that each should have, of the extractor's, where that is known.
    pub labels: Option<Vec<usize>>,
}

/// A number, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sure {
    /// The number.
    pub value: f64,
    /// Where it lies with 95 % confidence, if that could be found out.
    pub interval: Option<Interval>,
}

/// One number of one set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Which.
    pub metric: Metric,
    /// What it is.
    pub of: Sure,
    /// What it is more than that of the first set; picture by picture where both have as many.
    pub change: Option<Sure>,
}

/// The numbers of one set.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Those that can be had.
    pub numbers: Vec<Number>,
    /// What is to be said of them, one sentence each.
    pub notes: Vec<String>,
}

/// How a number varies from set to set.
pub(super) enum Spread {
    Unknown,
    /// Those of bootstrapped sets.
    Bootstrapped(Vec<f64>),
    /// Of every picture, by how much the number grows with its weight.
    Influences(Vec<f64>),
}

impl Spread {
    /// How a difference varies: resampled sets are the same draws for both, and a picture's weight is the same, so differences vary as
    /// little as those of pairs do.
    fn between(before: &Self, after: &Self) -> Self {
        let differences =
            |before: &[f64], after: &[f64]| before.iter().zip(after).map(|(before, after)| after - before).collect();
        match (before, after) {
            (Self::Bootstrapped(before), Self::Bootstrapped(after)) => Self::Bootstrapped(differences(before, after)),
            (Self::Influences(before), Self::Influences(after)) => Self::Influences(differences(before, after)),
            _ => Self::Unknown,
        }
    }

    pub(super) fn sure(&self, value: f64) -> Sure {
        let interval = match self {
            Self::Unknown => None,
            Self::Bootstrapped(numbers) => Some(Interval::around(value, numbers)),
            Self::Influences(influences) => Some(Interval::by_influence(value, influences)),
        };
        Sure { value, interval }
    }
}

/// The numbers of every set; `watch` hears how much of how much is done.
///
/// # Errors
/// [`MetricError`] when the pictures, or their number, allow none.
pub fn compare(real: &Real, sets: &[Set], watch: &mut Watch<'_>) -> Result<Vec<Report>, MetricError> {
    let of = 1 + sets.len() * 3;
    let against = Against::of(real, &Metric::ALL, &mut |_, _| watch(0, of))?;
    let mut first: Vec<Found> = Vec::new();
    let mut reports = Vec::new();
    for (place, set) in sets.iter().enumerate() {
        let mut step = |part: usize| {
            if watch(1 + 3 * place + part, of) { Ok(()) } else { Err(MetricError::Stopped) }
        };
        step(0)?;
        let found = numbers(&against, set, &mut step)?;
        let is_paired = sets[0].features.len() == set.features.len();
        let numbers = found.iter().map(|found| {
            let before = first.iter().find(|before| before.metric == found.metric);
            Number {
                metric: found.metric,
                of: found.sure(),
                change: before.map(|before| change(before, found, is_paired)),
            }
        });
        let numbers = numbers.collect();
        reports.push(Report { numbers, notes: notes(real, set, &sets[0]) });
        if place == 0 {
            first = found;
        }
    }
    Ok(reports)
}

fn change(before: &Found, after: &Found, is_paired: bool) -> Sure {
    let spread = if is_paired { Spread::between(&before.spread, &after.spread) } else { Spread::Unknown };
    spread.sure(after.value - before.value)
}

fn numbers(
    against: &Against,
    set: &Set,
    step: &mut dyn FnMut(usize) -> Result<(), MetricError>,
) -> Result<Vec<Found>, MetricError> {
    let Set { features, labels, .. } = set;
    let mut found: Vec<Found> = against.distance(features)?.into_iter().chain(against.spatial(features)?).collect();
    step(1)?;
    found.extend(against.kernel(features, &mut |_, _| step(1).is_ok())?);
    step(2)?;
    found.extend(against.neighbourhoods(features, &mut |_, _| step(2).is_ok())?);
    found.extend(inception(features)?);
    if let Some(labels) = labels {
        let judged =
            [(Metric::Agreement, agreement(features, labels)), (Metric::Confidence, confidence(features, labels))];
        found.extend(judged.map(|(metric, of_each)| Found {
            metric,
            value: mean(&of_each, &vec![1; of_each.len()]),
            spread: Spread::Bootstrapped(bootstrapped_means(&of_each)),
        }));
        let calibration = Calibration::of(features, labels);
        found.push(Found {
            metric: Metric::Calibration,
            value: calibration.value(),
            spread: Spread::Bootstrapped(calibration.bootstrapped()),
        });
    }
    Ok(found)
}

/// What a reader of a set's numbers must know.
fn notes(real: &Real, set: &Set, first: &Set) -> Vec<String> {
    let Set { name, features, .. } = set;
    let (n, width) = (features.len(), features.width());
    let mut notes = Vec::new();
    if std::ptr::eq(set, first) {
        notes.extend(about(real, width));
    }
    notes.extend(few_for_distance((name, n), width));
    notes.extend(other_number((name, n), (&first.name, first.features.len())));
    notes.extend(few_for_score((name, n), features.classes()));
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let distinct: HashSet<Vec<u32>> = (0..n).map(|place| bits(features.row(place))).collect();
    if distinct.len() < n {
        let (more, are) = (n - distinct.len(), if n - distinct.len() == 1 { "is" } else { "are" });
        notes.push(format!("{name} has {} that {are} there more than once", counted(more, "picture")));
    }
    let Some(real) = real.features() else { return notes };
    let shared = (0..real.len()).map(|place| bits(real.row(place))).collect::<HashSet<_>>();
    let shared = distinct.intersection(&shared).count();
    if shared == distinct.len() {
        notes.push(format!("the pictures of {name} are real ones, all of them"));
    } else if shared > 0 {
        notes.push(format!("{name} and the real pictures share {}", counted(shared, "picture")));
    }
    notes
}

/// What a reader of one number must know of how few pictures it is of: so many are in a set of that name, and each has so many
/// features and logits.
#[must_use]
pub fn cautions(metric: Metric, real: Option<&Real>, set: (&str, usize), [width, classes]: [usize; 2]) -> Vec<String> {
    match metric {
        Metric::Frechet => {
            let of_real = real.and_then(|real| about(real, width));
            of_real.into_iter().chain(few_for_distance(set, width)).collect()
        }
        Metric::Inception => few_for_score(set, classes).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// What a reader of the numbers of two sets must know, each a name and how many pictures it has, where these are not as many.
#[must_use]
pub fn other_number((name, n): (&str, usize), (first, of_first): (&str, usize)) -> Option<String> {
    (n != of_first).then(|| {
        format!(
            "{name} has {n} pictures and {first} has {of_first}: Fréchet distances shrink with the number of pictures, so theirs do not compare"
        )
    })
}

fn few_for_distance((name, n): (&str, usize), width: usize) -> Option<String> {
    (n <= width).then(|| {
        format!(
            "{name} has {n} pictures, but each has {width} features: its Fréchet distance says more of how few they are than of how they look, so give more"
        )
    })
}

fn few_for_score((name, n): (&str, usize), classes: usize) -> Option<String> {
    let part = n / PARTS;
    (part > 0 && part < ENOUGH * classes).then(|| {
        format!(
            "the {PARTS} parts of {name} have about {} each for {classes} classes: its Inception score shrinks with so few, so give more",
            counted(part, "picture")
        )
    })
}

/// What a reader of all numbers must know of the real pictures.
pub(super) fn about(real: &Real, width: usize) -> Option<String> {
    // It takes as long as a distance, so it is found where nothing else tells.
    let unknown = real.statistics().filter(|known| known.count.is_none() && known.is_exact);
    match (real.count(), unknown.map(|known| known.gaussian.rank())) {
        (Some(count), _) if count <= width => Some(format!(
            "there are {count} real pictures, but each has {width} features: all Fréchet distances say more of how few they are, so give more"
        )),
        (_, Some(rank)) if rank < width => Some(format!(
            "the covariance of the real pictures is singular, for only {rank} of {width} features vary on their own: it is of too few pictures, or of such as hardly differ, so all Fréchet distances say more of that"
        )),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::{Gaussian, Statistics};
    use crate::noise::{Purpose, Stream};

    pub(in crate::metrics) fn set(name: &str, seed: u64, n: usize, shift: f32) -> Set {
        let mut features = Features::new(3, 2);
        let values = Stream::new(seed, Purpose::Sampling(0)).normal(3 * n);
        let values: Vec<f32> = values.iter().map(|value| value + shift).collect();
        let logits: Vec<f32> = values.chunks(3).flat_map(|row| [row[0], -row[0]]).collect();
        features.extend(&values, &logits);
        Set { name: name.to_owned(), features, labels: Some(vec![0; n]) }
    }

    fn of(report: &Report, metric: Metric) -> Number {
        *report.numbers.iter().find(|number| number.metric == metric).expect("it can be had")
    }

    #[test]
    fn what_comes_nearer_is_seen_by_every_number_and_its_change_is_paired() {
        let real = Real::of(set("real", 1, 400, 0.0).features);
        // The same pictures, farther away and nearer.
        let sets = [set("before", 2, 300, 1.0), set("after", 2, 300, 0.2)];
        let mut told = Vec::new();
        let reports = compare(&real, &sets, &mut |done, of| {
            told.push((done, of));
            true
        })
        .unwrap();
        assert!(told.contains(&(0, 7)) && told.contains(&(6, 7)), "{told:?}");
        for metric in [Metric::Frechet, Metric::Kernel, Metric::Precision, Metric::Density] {
            let (before, after) = (of(&reports[0], metric), of(&reports[1], metric));
            let change = after.change.expect("both have it");
            assert_eq!(change.value, after.of.value - before.of.value);
            assert_eq!(change.value > 0.0, metric.larger_is_better(), "{metric:?}: {change:?}");
        }
        let frechet = of(&reports[1], Metric::Frechet);
        let (own, change) = (frechet.of.interval.unwrap(), frechet.change.unwrap().interval.unwrap());
        assert!(own.holds(frechet.of.value) && change.high < 0.0, "{frechet:?}");
        assert!(reports.iter().all(|report| report.notes.is_empty() && report.numbers.len() == 10));
        assert!(of(&reports[0], Metric::Frechet).change.is_none(), "the first has nothing before it");
    }

    #[test]
    fn what_is_seen_place_by_place_has_a_distance_of_its_own() {
        let with = |seed: u64, shift: f32| {
            let mut set = set("set", seed, 60, 0.0);
            let places: Vec<f32> = Stream::new(seed + 9, Purpose::Sampling(0)).normal(2 * 60);
            let places: Vec<f32> = places.iter().map(|place| place + shift).collect();
            set.features.extend_spatial(&places, 2);
            set
        };
        let (real, near, far) = (with(1, 0.0), with(1, 0.0), with(1, 3.0));
        let reports = compare(
            &Real::of(real.features.clone()),
            &[near.clone(), far.clone(), set("bare", 3, 60, 0.0)],
            &mut |_, _| true,
        )
        .unwrap();
        // The same against their mean and covariance alone.
        let known = Real::of_statistics(Statistics::of(&real.features).unwrap(), None);
        let of_known = compare(&known, &[near, far], &mut |_, _| true).unwrap();
        for place in [0, 1] {
            let [a, b] = [&reports, &of_known].map(|reports| of(&reports[place], Metric::SpatialFrechet).of.value);
            assert_eq!(a, b, "set {place}");
        }
        let [near, far] = [0, 1].map(|place: usize| of(&reports[place], Metric::SpatialFrechet));
        // Both means are 3 away, and nothing else is different.
        assert!(near.of.value < 1e-9 && (far.of.value - 18.0).abs() < 1e-4, "{near:?}, {far:?}");
        let change = far.change.expect("both have it");
        assert!(change.value > 0.0 && !Metric::SpatialFrechet.larger_is_better());
        assert_eq!(of(&reports[0], Metric::Frechet).of.value, of(&reports[1], Metric::Frechet).of.value);
        assert!(reports[2].numbers.iter().all(|number| number.metric != Metric::SpatialFrechet), "it has none");
    }

    #[test]
    fn the_same_pictures_in_another_order_are_the_same_set() {
        let real = Real::of(set("real", 1, 60, 0.0).features);
        let one = set("one", 2, 50, 0.5);
        let order: Vec<usize> = (0..50).rev().collect();
        let other = Set { features: one.features.at(&order), ..one.clone() };
        let reports = compare(&real, &[one, other], &mut |_, _| true).unwrap();
        for metric in [Metric::Inception, Metric::Precision, Metric::Agreement] {
            assert_eq!(of(&reports[0], metric).of.value, of(&reports[1], metric).of.value, "{metric:?}");
        }
    }

    #[test]
    fn real_pictures_in_another_order_are_the_same_ones() {
        let real = set("real", 1, 60, 0.0).features;
        let order: Vec<usize> = (0..60).rev().collect();
        let sets = [set("few", 2, 20, 0.5)];
        let [own, other] = [real.clone(), real.at(&order)].map(|real| {
            let reports = compare(&Real::of(real), &sets, &mut |_, _| true).unwrap();
            of(&reports[0], Metric::Kernel).of.value
        });
        assert_eq!(own, other);
    }

    #[test]
    fn what_does_not_compare_is_said() {
        let real = set("real", 1, 40, 0.0).features;
        let mut twice = set("twice", 3, 12, 0.0);
        twice.features = twice.features.at(&[0, 1, 2, 3, 4, 5, 0, 0]);
        twice.labels = None;
        let few = set("few", 4, 3, 0.0);
        let itself = Set { name: "itself".to_owned(), features: real.clone(), labels: None };
        let mut mixed = set("mixed", 9, 40, 0.0);
        mixed.features = mixed.features.at(&(0..39).collect::<Vec<_>>());
        mixed.features.extend(real.row(7), real.logits(7));
        let real = Real::of(real);
        let mut one_twice = set("one_twice", 5, 12, 0.0);
        one_twice.features = one_twice.features.at(&[0, 1, 2, 3, 4, 5, 6, 7, 7]);
        one_twice.labels = None;
        let reports = compare(&real, &[itself, twice, few, mixed, one_twice], &mut |_, _| true).unwrap();
        assert!(reports[4].notes.contains(&"one_twice has 1 picture that is there more than once".to_owned()));
        assert!(reports[3].notes.contains(&"mixed and the real pictures share 1 picture".to_owned()));
        assert!(
            reports[0].notes.iter().any(|note| note.contains("are real ones, all of them"))
                && of(&reports[0], Metric::Frechet).of.value < 1e-9
        );
        assert!(reports[1].notes.iter().any(|note| note.contains("2 pictures that are there more than once")));
        assert!(reports[1].notes.iter().any(|note| note.contains("do not compare")), "{:?}", reports[1].notes);
        assert!(of(&reports[1], Metric::Frechet).change.unwrap().interval.is_none(), "they are no pairs");
        assert!(reports[2].notes[0].contains("3 features"), "{:?}", reports[2].notes);
        assert!(reports[2].numbers.iter().all(|number| number.metric != Metric::Inception), "too few for its parts");
        assert_eq!(compare(&real, &[set("few", 4, 9, 0.0)], &mut |_, _| false), Err(MetricError::Stopped));
    }

    #[test]
    fn statistics_give_a_distance_and_what_needs_pictures_takes_those_that_are_here() {
        let all = set("all", 1, 400, 0.0).features;
        let sets = [set("a", 2, 50, 0.5)];
        let statistics = Statistics::of(&all).unwrap();
        let whole = compare(&Real::of(all.clone()), &sets, &mut |_, _| true).unwrap();
        let distance = of(&whole[0], Metric::Frechet).of;
        let alone = Real::of_statistics(statistics.clone(), None);
        let found = compare(&alone, &sets, &mut |_, _| true).unwrap();
        let metrics: Vec<Metric> = found[0].numbers.iter().map(|number| number.metric).collect();
        assert_eq!(
            metrics,
            [Metric::Frechet, Metric::Inception, Metric::Agreement, Metric::Confidence, Metric::Calibration]
        );
        assert_eq!(of(&found[0], Metric::Frechet).of, distance, "also its interval");
        let some = all.at(&(0..20).collect::<Vec<_>>());
        let both = compare(&Real::of_statistics(statistics.clone(), Some(some.clone())), &sets, &mut |_, _| true);
        let (both, few) = (both.unwrap(), compare(&Real::of(some), &sets, &mut |_, _| true).unwrap());
        assert_eq!(of(&both[0], Metric::Frechet).of, distance);
        for metric in [Metric::Kernel, Metric::Precision, Metric::Coverage] {
            assert_eq!(of(&both[0], metric), of(&few[0], metric), "{metric:?}");
        }
        let flat = Gaussian::from_parts(&[0.0; 3], &[1.0, 0.0, 1.0, 0.0, 4.0, 0.0, 1.0, 0.0, 1.0]).unwrap();
        let flat = Statistics { gaussian: flat, count: None, ..statistics };
        let found = compare(&Real::of_statistics(flat, None), &sets, &mut |_, _| true).unwrap();
        assert!(found[0].notes[0].contains("only 2 of 3 features vary"), "{:?}", found[0].notes);
    }
}
