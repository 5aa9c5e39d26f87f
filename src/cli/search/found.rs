//! What a search finds: point by point, and as a table.

use std::collections::BTreeMap;
use std::path::Path;

use super::SearchOptions;
use super::metric::Metric;
use crate::classifier::probability_of;
use crate::export::{self, ExportError};
use crate::metrics::words::{arrow, with_interval};
use crate::metrics::{Interval, Sure};
use crate::parameter::Choosable as _;
use crate::refiner::Numbers;

/// What was found, point by point.
pub(super) type Found = BTreeMap<u32, Verdict>;

/// What the classifier says, in the order of a table.
const OF_CLASSIFIER: [Metric; 3] = [Metric::Logit, Metric::Confidence, Metric::Agreement];
/// The columns of a number of the whole set; what it is follows them.
const OF_SET: [&str; 3] = ["value", "low", "high"];

/// What is said of the pictures of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    /// The level between the two steps.
    pub(super) sigma: f64,
    said: Said,
}

/// By whom.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    /// The classifier: one value for each of [`OF_CLASSIFIER`].
    Classifier([f64; 3]),
    /// A number of the whole set.
    Set(Sure),
}

impl Verdict {
    pub(super) fn of(numbers: &Numbers, labels: &[usize], sigma: f64) -> Self {
        let mut values = [0.0; 3];
        for (sample, label) in labels.iter().enumerate() {
            let logits = numbers.logits_of(sample);
            values[0] += f64::from(logits.get(*label).copied().unwrap_or(f32::NAN));
            values[1] += f64::from(probability_of(logits, *label));
            values[2] += if numbers.top_class(sample) == Some(*label) { 1.0 } else { 0.0 };
        }
        Self { sigma, said: Said::Classifier(values.map(|sum| sum / labels.len().max(1) as f64)) }
    }

    pub(super) const fn of_set(number: Sure, sigma: f64) -> Self {
        Self { sigma, said: Said::Set(number) }
    }

    /// What it is by a metric; no number by one that it is not about.
    pub(super) const fn value(&self, metric: Metric) -> f64 {
        match (&self.said, metric) {
            (Said::Classifier([logit, ..]), Metric::Logit) => *logit,
            (Said::Classifier([_, confidence, _]), Metric::Confidence) => *confidence,
            (Said::Classifier([.., agreement]), Metric::Agreement) => *agreement,
            (Said::Set(number), Metric::Of(_)) => number.value,
            _ => f64::NAN,
        }
    }

    /// Likewise, so that more is better.
    pub(super) const fn merit(&self, metric: Metric) -> f64 {
        let value = self.value(metric);
        if metric.larger_is_better() { value } else { -value }
    }

    /// Its value with as many digits as tables have, and half its interval.
    pub(super) fn shown(&self, metric: Metric) -> String {
        match (self.said, metric) {
            (Said::Set(number), Metric::Of(metric)) => with_interval(number, metric, false),
            _ => format!("{:.4}", self.value(metric)),
        }
    }

    const fn interval(&self) -> Option<Interval> {
        match self.said {
            Said::Set(number) => number.interval,
            Said::Classifier(_) => None,
        }
    }
}

/// The best point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Best {
    pub(super) k: u32,
    pub(super) verdict: Verdict,
    /// How many others are as good.
    pub(super) ties: usize,
    /// Of the points that were tried right before and behind it, those whose intervals reach into its own.
    pub(super) unsure: [Option<u32>; 2],
}

/// The point with the best value, of equals that with the largest logit, where there is one, then the first. What is no number
/// does not count.
pub(super) fn best(found: &Found, metric: Metric) -> Option<Best> {
    let value = |verdict: &Verdict| [metric, Metric::Logit].map(|metric| verdict.merit(metric));
    let numbers = || found.iter().filter(|(_, verdict)| verdict.value(metric).is_finite());
    let larger = |best: (u32, Verdict), next: (u32, Verdict)| if value(&next.1) > value(&best.1) { next } else { best };
    let (k, verdict) = numbers().map(|(k, verdict)| (*k, *verdict)).reduce(larger)?;
    let equals = numbers().filter(|(_, other)| other.value(metric) == verdict.value(metric)).count();
    let reaches = |other: Option<(&u32, &Verdict)>| {
        let (k, other) = other?;
        let (own, other) = (verdict.interval()?, other.interval()?);
        (own.low <= other.high && other.low <= own.high).then_some(*k)
    };
    let unsure = [reaches(found.range(..k).next_back()), reaches(found.range(k + 1..).next())];
    Some(Best { k, verdict, ties: equals - 1, unsure })
}

/// What is to be said of how sure the best is, behind its value.
pub(super) fn doubts(best: &Best, metric: Metric) -> String {
    let ties = match (best.ties, metric.of_set()) {
        (0, _) => String::new(),
        (ties, of_set) => format!(
            "; {} as good, {}: more seeds tell more",
            if ties == 1 { "1 other is".to_owned() } else { format!("{ties} others are") },
            if of_set.is_some() { "the first one is taken" } else { "the logit decides between them" }
        ),
    };
    let beside: Vec<String> = best.unsure.iter().flatten().map(|k| format!("k = {k}")).collect();
    if beside.is_empty() {
        return ties;
    }
    let [intervals, reach] = if beside.len() == 1 { ["interval", "reaches"] } else { ["intervals", "reach"] };
    format!(
        "{ties}; the 95 % {intervals} of {} beside it {reach} into its own: more seeds tell more",
        beside.join(" and ")
    )
}

pub(super) fn header(metric: Metric) -> String {
    if let Some(metric) = metric.of_set() {
        let name = format!("{} {}", metric.label(), arrow(metric));
        return format!("{:>7}{:>11}{name:>28}", "k", "σ");
    }
    let column = |each: &Metric| {
        let name = format!("{}{}", each.option().key, if *each == metric { "*" } else { "" });
        format!("{name:>12}")
    };
    format!("{:>7}{:>11}{}", "k", "σ", OF_CLASSIFIER.iter().map(column).collect::<Vec<_>>().concat())
}

pub(super) fn row(k: u32, verdict: &Verdict, metric: Metric) -> String {
    let columns = match verdict.said {
        Said::Set(_) => format!("{:>28}", verdict.shown(metric)),
        Said::Classifier(values) => values.map(|value| format!("{value:>12.4}")).concat(),
    };
    format!("{k:>7}{:>11.4}{columns}", verdict.sigma)
}

/// One row per point, in order; `about` are the columns that say which number of the whole set it is.
pub(super) fn write(
    path: &Path,
    options: &SearchOptions,
    about: &[(&'static str, String)],
    found: &Found,
) -> Result<(), ExportError> {
    export::durably(path, |out| {
        let mut table = ::csv::Writer::from_writer(out);
        let own: Vec<&str> = match options.metric.of_set() {
            Some(_) => OF_SET.to_vec(),
            None => OF_CLASSIFIER.iter().map(|metric| metric.option().key).collect(),
        };
        let about_header = about.iter().map(|(name, _)| *name);
        table.write_record(["k", "ts", "sigma"].into_iter().chain(own).chain(about_header))?;
        for (k, verdict) in found {
            let facts = [k.to_string(), options.ts(*k).to_string(), format!("{:?}", verdict.sigma)];
            let about = about.iter().map(|(_, value)| value.clone());
            table.write_record(facts.into_iter().chain(cells(verdict)).chain(about))?;
        }
        table.flush()
    })
}

/// Numbers as they can be read again, to the last bit.
fn cells(verdict: &Verdict) -> [String; 3] {
    match verdict.said {
        Said::Classifier(values) => values.map(|value| format!("{value:?}")),
        Said::Set(Sure { value, interval }) => {
            let end = |end: fn(Interval) -> f64| interval.map_or_else(String::new, |of| format!("{:?}", end(of)));
            [format!("{value:?}"), end(|of| of.low), end(|of| of.high)]
        }
    }
}

/// What a table of the same metric holds that was written before; nothing when it cannot be read.
pub(super) fn read(path: &Path, metric: Metric) -> Found {
    let row = |row: ::csv::StringRecord| {
        let number = |column: usize| row.get(column)?.parse::<f64>().ok();
        let said = match metric.of_set() {
            Some(_) => {
                let interval = number(4).zip(number(5)).map(|(low, high)| Interval { low, high });
                Said::Set(Sure { value: number(3)?, interval })
            }
            None => Said::Classifier([number(3)?, number(4)?, number(5)?]),
        };
        Some((row.get(0)?.parse().ok()?, Verdict { sigma: number(2)?, said }))
    };
    let rows = ::csv::Reader::from_path(path).into_iter().flat_map(::csv::Reader::into_records);
    rows.map_while(Result::ok).map_while(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Invocation, parse};
    use crate::metrics;

    const DISTANCE: Metric = Metric::Of(metrics::Metric::Frechet);

    fn of_set(value: f64, reach: f64) -> Verdict {
        let interval = (reach > 0.0).then_some(Interval { low: value - reach, high: value + reach });
        Verdict::of_set(Sure { value, interval }, 0.5)
    }

    #[test]
    fn a_verdict_is_about_each_pictures_own_class_and_the_best_is_a_number() {
        let numbers = Numbers { objective: vec![0.0; 2], logits: vec![1.0, 1.0, 4.0, 2.0], ..Default::default() };
        let verdict = Verdict::of(&numbers, &[0, 1], 1.5);
        assert_eq!((verdict.value(Metric::Logit), verdict.value(Metric::Agreement)), (1.5, 0.5));
        assert!((verdict.value(Metric::Confidence) - 0.5 * (0.5 + 0.119_202_92)).abs() < 1e-6);
        assert!(verdict.value(DISTANCE).is_nan(), "the classifier says nothing of it");
        let at = |value: f64| Verdict { sigma: 0.0, said: Said::Classifier([value; 3]) };
        let found = BTreeMap::from([(3, at(1.0)), (4, at(f64::NAN)), (5, at(2.0)), (6, at(2.0))]);
        let found_at = |found: &Found, metric| best(found, metric).map(|best| (best.k, best.ties));
        assert_eq!(found_at(&found, Metric::Logit), Some((5, 1)));
        // Of equals the one with the larger logit.
        let with = |logit: f64| Verdict { sigma: 0.0, said: Said::Classifier([logit, 0.5, 1.0]) };
        let found = BTreeMap::from([(1, with(-3.7)), (2, with(-3.4)), (3, with(-3.6))]);
        assert_eq!(found_at(&found, Metric::Agreement), Some((2, 2)));
        assert!(doubts(&best(&found, Metric::Agreement).unwrap(), Metric::Agreement).contains("the logit decides"));
    }

    #[test]
    fn of_distances_the_smallest_is_best_and_is_doubted_where_intervals_meet() {
        let found = BTreeMap::from([
            (2, of_set(9.0, 1.0)),
            (4, of_set(3.0, 1.5)),
            (7, of_set(1.0, 0.75)),
            (8, of_set(f64::NAN, 0.0)),
            (9, of_set(1.0, 0.75)),
        ]);
        let of = best(&found, DISTANCE).unwrap();
        assert_eq!(
            (of.k, of.ties, of.unsure),
            (7, 1, [Some(4), None]),
            "k = 2 is not beside it, k = 8 has no interval"
        );
        assert_eq!(
            doubts(&of, DISTANCE),
            "; 1 other is as good, the first one is taken: more seeds tell more; the 95 % interval of k = 4 beside it reaches into its own: more seeds tell more"
        );
        assert_eq!(of.verdict.merit(DISTANCE), -1.0);
        assert_eq!(of.verdict.shown(DISTANCE), "1.0000 ± 0.7500", "what is shown is not negated");
        let recall = Metric::Of(metrics::Metric::Recall);
        let found = BTreeMap::from([(2, of_set(0.25, 0.0)), (4, of_set(0.5, 0.0))]);
        let of = best(&found, recall).unwrap();
        assert_eq!((of.k, doubts(&of, recall).as_str()), (4, ""), "without intervals nothing is doubted");
        assert_eq!(best(&BTreeMap::from([(1, of_set(f64::NAN, 0.0))]), recall), None);
    }

    #[test]
    fn what_was_found_is_read_again_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("search.csv");
        let words = ["lapidary", "search", "--grid", "6", "--metric", "frechet_distance", "--reference", "r.npz"];
        let Ok(Invocation::Search(options)) = parse(words) else { panic!("search") };
        assert_eq!(options.metric, DISTANCE);
        let found = BTreeMap::from([(1, of_set(0.1 + 0.2, 1.0 / 3.0)), (3, of_set(1e-17, 0.0))]);
        write(&path, &options, &[("pictures", "64".to_owned())], &found).unwrap();
        assert_eq!(read(&path, DISTANCE), found);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("k,ts,sigma,value,low,high,pictures\n1,\"0,1,5/6\",0.5,0.3"), "{text}");
        let options = SearchOptions { metric: Metric::Agreement, ..options };
        let found = BTreeMap::from([(2, Verdict { sigma: 2.5, said: Said::Classifier([-1.5, 0.25, 1.0]) })]);
        write(&path, &options, &[], &found).unwrap();
        assert_eq!(read(&path, Metric::Agreement), found);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("k,ts,sigma,logit,confidence,agreement\n2,"));
    }
}
