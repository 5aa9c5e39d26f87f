//! What stands beside a run: how numbers of the same pictures changed, and how far two states of them are from real pictures
//! whose mean and covariance are found once for all.

use super::frechet::frechet_influences;
use super::interval::{FEW, Interval, mean};
use super::report::about;
use super::{Features, Gaussian, MetricError, Real, Sure, agreement, confidence, mean_change};
use crate::units::counted;

/// The mean of a number over pictures, before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Of the pictures before.
    pub before: f64,
    /// Of those after.
    pub after: f64,
    /// Mean of every picture's own change, and how sure it is.
    pub change: Sure,
}

impl Shift {
    /// Of the numbers of the same pictures, place by place.
    #[must_use]
    pub fn of(before: &[f64], after: &[f64]) -> Self {
        let whole = |numbers: &[f64]| mean(numbers, &vec![1; numbers.len()]);
        let changes: Vec<f64> = before.iter().zip(after).map(|(before, after)| after - before).collect();
        Self { before: whole(before), after: whole(after), change: mean_change(&changes) }
    }
}

/// What a network that has no part in the refinement thinks of the class that every picture is to have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Share of the pictures whose likeliest class it is.
    pub agreement: Shift,
    /// Mean probability of it.
    pub confidence: Shift,
}

impl Judged {
    /// Of the same pictures before and after; a label for each, of the network's classes.
    #[must_use]
    pub fn of(before: &Features, after: &Features, labels: &[usize]) -> Self {
        Self {
            agreement: Shift::of(&agreement(before, labels), &agreement(after, labels)),
            confidence: Shift::of(&confidence(before, labels), &confidence(after, labels)),
        }
    }
}

/// Real pictures, as far as a Fréchet distance to them needs them.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchor {
    gaussian: Gaussian,
    count: Option<usize>,
    doubt: Option<String>,
}

impl Anchor {
    /// Mean and covariance, and what a reader of distances to them must know. Where nobody says how many pictures they are of,
    /// that takes as long as a distance.
    ///
    /// # Errors
    /// As [`Gaussian::of`].
    pub fn of(real: &Real) -> Result<Self, MetricError> {
        let gaussian = real.gaussian()?;
        let doubt = about(real, gaussian.width());
        Ok(Self { gaussian, count: real.count(), doubt })
    }

    /// Features of a picture.
    #[must_use]
    pub fn width(&self) -> usize {
        self.gaussian.width()
    }

    /// Pictures that it is of, where that is known.
    #[must_use]
    pub const fn count(&self) -> Option<usize> {
        self.count
    }

    /// Why distances to it say less than they seem to, in one sentence.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// The Fréchet distance of pictures to it.
    ///
    /// # Errors
    /// As [`Gaussian::of`] and [`super::frechet_distance`].
    pub fn distance(&self, pictures: &Features) -> Result<Apart, MetricError> {
        let (distance, influences) = frechet_influences(pictures, &self.gaussian)?;
        Ok(Apart { distance, influences })
    }
}

/// How far pictures are from real ones, and how that hangs on every one of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Apart {
    /// The Fréchet distance.
    pub distance: f64,
    influences: Vec<f64>,
}

impl Apart {
    /// What became of the distance when the same pictures, place by place, became others.
    #[must_use]
    pub fn shift(&self, after: &Self) -> Shift {
        let value = after.distance - self.distance;
        let changes: Vec<f64> = self.influences.iter().zip(&after.influences).map(|(was, is)| is - was).collect();
        let interval = (changes.len() >= FEW).then(|| Interval::by_influence(value, &changes));
        Shift { before: self.distance, after: after.distance, change: Sure { value, interval } }
    }
}

/// Why so few pictures have no Fréchet distance that means something, in one sentence: their covariance is singular, as where
/// `lapidary evaluate` warns.
#[must_use]
pub fn too_few(pictures: usize, width: usize) -> Option<String> {
    (pictures <= width).then(|| {
        format!(
            "no distance is shown: {} with {width} features each would say how few they are, not how they look; take {} or more",
            counted(pictures, "picture"),
            width + 1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{FEW, Statistics};
    use crate::noise::{Purpose, Stream};

    fn set(seed: u64, n: usize, shift: f32) -> Features {
        let values = Stream::new(seed, Purpose::Sampling(0)).normal(3 * n);
        Features::of_rows(3, &values.iter().map(|value| value + shift).collect::<Vec<_>>())
    }

    /// Logits of two classes, of which the first leads by so much.
    fn leading(leads: &[f32]) -> Features {
        let mut features = Features::new(1, 2);
        let logits: Vec<f32> = leads.iter().flat_map(|lead| [*lead, 0.0]).collect();
        features.extend(&vec![0.0; leads.len()], &logits);
        features
    }

    #[test]
    fn a_change_is_that_of_every_picture_and_is_surer_than_either_mean() {
        // What differs among pictures is large, what changes of each is small and nearly the same.
        let before: Vec<f64> = (0..40).map(f64::from).collect();
        let after: Vec<f64> = before.iter().enumerate().map(|(i, value)| value + 1.0 + 0.1 * (i % 2) as f64).collect();
        let Shift { before: was, after: is, change } = Shift::of(&before, &after);
        assert_eq!(was, 19.5);
        assert!((is - 20.55).abs() < 1e-12 && (change.value - 1.05).abs() < 1e-12, "{is}, {change:?}");
        let interval = change.interval.expect("there are enough");
        assert!(interval.low > 1.0 && interval.high < 1.1, "{interval:?}");
        assert_eq!(Shift::of(&before[..FEW - 1], &after[..FEW - 1]).change.interval, None, "of few none is sure");
        let same = Shift::of(&before, &before).change;
        assert_eq!((same.value, same.interval.map(|none| (none.low, none.high))), (0.0, Some((0.0, 0.0))));
    }

    #[test]
    fn a_judge_sees_who_came_over_to_the_wanted_class() {
        let (before, after) = (leading(&[2.0, -1.0, -1.0, 3.0]), leading(&[3.0, 1.0, -0.5, 3.0]));
        let Judged { agreement, confidence } = Judged::of(&before, &after, &[0; 4]);
        assert_eq!((agreement.before, agreement.after, agreement.change.value), (0.5, 0.75, 0.25));
        assert!(confidence.before < confidence.after && confidence.after < 1.0, "{confidence:?}");
        // Towards the other class the same pictures moved away.
        let away = Judged::of(&before, &after, &[1; 4]);
        assert_eq!((away.agreement.before, away.agreement.after), (0.5, 0.25));
        assert!((away.confidence.before + confidence.before - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_comes_nearer_to_real_pictures_has_a_smaller_distance_also_to_statistics_alone() {
        let real = set(1, 400, 0.0);
        let anchor = Anchor::of(&Real::of(real.clone())).unwrap();
        let [far, near] = [1.0, 0.2].map(|shift| anchor.distance(&set(2, 300, shift)).unwrap());
        let Shift { before, after, change } = far.shift(&near);
        assert!(after < before && after > 0.0 && change.value == after - before, "{before} {after}");
        let [own, paired] = [far.shift(&far), far.shift(&near)].map(|shift| shift.change.interval.expect("enough"));
        assert!(own.low == 0.0 && own.high == 0.0 && paired.high < 0.0, "{paired:?}");
        assert_eq!((anchor.width(), anchor.count(), anchor.doubt()), (3, Some(400), None));
        let alone = Anchor::of(&Real::of_statistics(Statistics::of(&real).unwrap(), None)).unwrap();
        assert_eq!(alone.distance(&set(2, 300, 0.2)).unwrap(), near);
    }

    #[test]
    fn what_is_no_set_to_compare_is_refused_and_few_real_pictures_are_told_of() {
        let anchor = Anchor::of(&Real::of(set(1, 40, 0.0))).unwrap();
        let constant = Features::of_rows(3, &[0.5; 30]);
        assert_eq!(anchor.distance(&constant), Err(MetricError::Constant { count: 10 }));
        let broken = Features::of_rows(3, &[0.0, 1.0, 2.0, f32::NAN, 1.0, 0.0]);
        assert_eq!(anchor.distance(&broken), Err(MetricError::NotFinite { place: 1, count: 2 }));
        assert_eq!(anchor.distance(&Features::of_rows(2, &[0.0; 8])).unwrap_err(), MetricError::Constant { count: 4 });
        let narrow = Features::of_rows(2, &[0.0, 1.0, 2.0, 0.0]);
        assert_eq!(anchor.distance(&narrow), Err(MetricError::Width { a: 2, b: 3 }));
        let few = Anchor::of(&Real::of(set(1, 3, 0.0))).unwrap();
        assert!(few.doubt().is_some_and(|doubt| doubt.contains("3 real pictures")), "{:?}", few.doubt());
    }

    #[test]
    fn as_many_pictures_as_features_are_too_few_and_one_more_is_enough() {
        assert!(too_few(128, 128).is_some_and(|why| why.contains("take 129 or more")));
        assert!(too_few(1, 3).is_some_and(|why| why.contains("1 picture with 3 features")));
        assert_eq!(too_few(129, 128), None);
    }
}
