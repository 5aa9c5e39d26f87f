//! What a network is worth on pictures that it did not learn from.

use serde::{Deserialize, Serialize};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// By so many pictures.
    pub pictures: usize,
    /// Numbers by their names; one that cannot be told is none.
    pub numbers: Vec<(String, Option<f64>)>,
}

impl Validation {
    pub(super) fn new(pictures: usize, numbers: &[(&str, Option<f64>)]) -> Self {
        Self { pictures, numbers: numbers.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect() }
    }

    /// A number by its name, where it is known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(known, _)| known == name).and_then(|(_, number)| *number)
    }

    /// The same for people.
    #[must_use]
    pub fn words(&self) -> String {
        let (pictures, number) = (self.pictures, |name| self.get(name).unwrap_or(f64::NAN));
        if self.get("refined").is_some() {
            let share = self.get("recovered").map(|share| format!(", {} % of the gain", percent(share)));
            return format!(
                "objective {:.3} of {pictures} held-out seeds, {:.3} before and {:.3} refined{}",
                number("now"),
                number("before"),
                number("refined"),
                share.unwrap_or_default()
            );
        }
        let auc = self.get("auc").map(|auc| format!(", real against generated AUC {auc:.3}"));
        format!(
            "{} % of {pictures} held-out pictures right, {} % attacked{}",
            percent(number("clean")),
            percent(number("attacked")),
            auc.unwrap_or_default()
        )
    }
}

/// A share in percent; nothing that is lost is no less than nothing.
fn percent(share: f64) -> String {
    let tenths = (1000.0 * share).round();
    format!("{:.1}", if tenths == 0.0 { 0.0 } else { tenths / 10.0 })
}

/// Shares of all, from counts of parts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    count: usize,
    clean: usize,
    attacked: usize,
    real: Vec<f32>,
    fake: Vec<f32>,
}

/// Logits of pictures, `[N, K]` row-major, and their labels.
pub(super) type Judged<'a> = (&'a [f32], &'a [usize]);

/// The logits of every picture, and its label.
fn rows((logits, labels): Judged<'_>) -> impl Iterator<Item = (&[f32], usize)> {
    let classes = logits.len() / labels.len().max(1);
    logits.chunks_exact(classes.max(1)).zip(labels.iter().copied())
}

fn right(judged: Judged<'_>) -> usize {
    let is_right = |(row, label): &(&[f32], usize)| crate::classifier::top_classes(row, 1) == [*label];
    rows(judged).filter(is_right).count()
}

impl Tally {
    /// Takes the pictures of a part: as they are, attacked, and generated ones.
    pub(super) fn add(&mut self, clean: Judged<'_>, attacked: Judged<'_>, fake: Option<Judged<'_>>) {
        self.count += clean.1.len();
        self.clean += right(clean);
        self.attacked += right(attacked);
        self.real.extend(rows(clean).map(|(row, label)| row[label]));
        self.fake.extend(fake.into_iter().flat_map(rows).map(|(row, label)| row[label]));
    }

    /// The shares of pictures whose most likely class is theirs, as they are and attacked; and how often a real picture looks
    /// more real than a generated one, both by the logit of their class.
    pub(super) fn found(&self) -> Validation {
        let share = |count: usize| count as f64 / self.count.max(1) as f64;
        let (clean, attacked) = (share(self.clean), share(self.attacked));
        let auc = (!self.fake.is_empty() && !self.real.is_empty()).then(|| auc(&self.real, &self.fake));
        Validation::new(self.count, &[("clean", Some(clean)), ("attacked", Some(attacked)), ("auc", auc)])
    }
}

/// The area under the curve of true over false positives: the share of pairs in the right order, ties counted half.
fn auc(real: &[f32], fake: &[f32]) -> f64 {
    let points = |real: &f32| {
        let against = fake.iter().map(|fake| match real.partial_cmp(fake) {
            Some(std::cmp::Ordering::Greater) => 1.0,
            Some(std::cmp::Ordering::Equal) => 0.5,
            _ => 0.0,
        });
        against.sum::<f64>()
    };
    real.iter().map(points).sum::<f64>() / (real.len() * fake.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_pairs_are_counted() {
        let mut tally = Tally::default();
        tally.add((&[2.0, 1.0, 0.0, 3.0], &[0, 0]), (&[0.0, 1.0, 0.0, 3.0], &[0, 0]), Some((&[1.0, 9.0], &[0])));
        tally.add((&[1.0, 5.0], &[1]), (&[1.0, 5.0], &[1]), Some((&[2.0, 9.0], &[0])));
        // Real 2, 0 and 5 against generated 1 and 2: right, tied, wrong twice, right twice.
        let found = tally.found();
        let expected = [("clean", Some(2.0 / 3.0)), ("attacked", Some(1.0 / 3.0)), ("auc", Some(3.5 / 6.0))];
        assert_eq!(found, Validation::new(3, &expected));
        assert_eq!(
            found.words(),
            "66.7 % of 3 held-out pictures right, 33.3 % attacked, real against generated AUC 0.583"
        );
        assert_eq!(Tally::default().found().get("auc"), None);
    }
}
