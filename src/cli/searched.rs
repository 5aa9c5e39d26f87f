//! What a search finds: point by point, and as a table.

use std::collections::BTreeMap;
use std::path::Path;

use super::search::{Metric, SearchOptions};
use crate::classifier::probability_of;
use crate::export::{self, ExportError};
use crate::parameter::Choosable as _;
use crate::refiner::Numbers;

/// What was found, point by point.
pub(super) type Found = BTreeMap<u32, Verdict>;

/// What the classifier says of the pictures of one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    /// The level between the two steps.
    pub(super) sigma: f64,
    /// One value per [`Metric`], in their order.
    values: [f64; 3],
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
        Self { sigma, values: values.map(|sum| sum / labels.len().max(1) as f64) }
    }

    pub(super) const fn value(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Logit => self.values[0],
            Metric::Confidence => self.values[1],
            Metric::Agreement => self.values[2],
        }
    }
}

/// The point with the largest value, of equals that with the largest logit, then the first; and how many others are as good.
/// What is no number does not count.
pub(super) fn best(found: &Found, metric: Metric) -> Option<(u32, Verdict, usize)> {
    let value = |verdict: &Verdict| [metric, Metric::Logit].map(|metric| verdict.value(metric));
    let numbers = || found.iter().filter(|(_, verdict)| verdict.value(metric).is_finite());
    let larger = |best: (u32, Verdict), next: (u32, Verdict)| if value(&next.1) > value(&best.1) { next } else { best };
    let (k, verdict) = numbers().map(|(k, verdict)| (*k, *verdict)).reduce(larger)?;
    let equals = numbers().filter(|(_, other)| other.value(metric) == verdict.value(metric)).count();
    Some((k, verdict, equals - 1))
}

pub(super) fn header(metric: Metric) -> String {
    let column = |each: &Metric| {
        let name = format!("{}{}", each.option().key, if *each == metric { "*" } else { "" });
        format!("{name:>12}")
    };
    format!("{:>7}{:>11}{}", "k", "σ", Metric::ALL.iter().map(column).collect::<Vec<_>>().concat())
}

pub(super) fn row(k: u32, verdict: &Verdict) -> String {
    let columns: Vec<String> = verdict.values.iter().map(|value| format!("{value:>12.4}")).collect();
    format!("{k:>7}{:>11.4}{}", verdict.sigma, columns.concat())
}

/// One row per point, in order.
pub(super) fn write(path: &Path, options: &SearchOptions, found: &Found) -> Result<(), ExportError> {
    export::durably(path, |out| {
        let mut table = ::csv::Writer::from_writer(out);
        let metrics = Metric::ALL.iter().map(|metric| metric.option().key);
        table.write_record(["k", "ts", "sigma"].into_iter().chain(metrics))?;
        for (k, verdict) in found {
            let values = verdict.values.iter().map(|value| format!("{value:?}"));
            let facts = [k.to_string(), options.ts(*k).to_string(), format!("{:?}", verdict.sigma)];
            table.write_record(facts.into_iter().chain(values))?;
        }
        table.flush()
    })
}

/// What a table holds that was written before; nothing when it cannot be read.
pub(super) fn read(path: &Path) -> Found {
    let row = |row: ::csv::StringRecord| {
        let number = |column: usize| row.get(column)?.parse::<f64>().ok();
        let values = [number(3)?, number(4)?, number(5)?];
        Some((row.get(0)?.parse().ok()?, Verdict { sigma: number(2)?, values }))
    };
    let rows = ::csv::Reader::from_path(path).into_iter().flat_map(::csv::Reader::into_records);
    rows.map_while(Result::ok).map_while(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_about_each_pictures_own_class_and_the_best_is_a_number() {
        let numbers = Numbers { objective: vec![0.0; 2], logits: vec![1.0, 1.0, 4.0, 2.0], ..Default::default() };
        let verdict = Verdict::of(&numbers, &[0, 1], 1.5);
        assert_eq!((verdict.value(Metric::Logit), verdict.value(Metric::Agreement)), (1.5, 0.5));
        assert!((verdict.value(Metric::Confidence) - 0.5 * (0.5 + 0.119_202_92)).abs() < 1e-6);
        let at = |value: f64| Verdict { sigma: 0.0, values: [value; 3] };
        let found = BTreeMap::from([(3, at(1.0)), (4, at(f64::NAN)), (5, at(2.0)), (6, at(2.0))]);
        let found_at = |found: &Found, metric| best(found, metric).map(|(k, _, others)| (k, others));
        assert_eq!(found_at(&found, Metric::Logit), Some((5, 1)));
        // Of equals the one with the larger logit.
        let with = |logit: f64| Verdict { sigma: 0.0, values: [logit, 0.5, 1.0] };
        let found = BTreeMap::from([(1, with(-3.7)), (2, with(-3.4)), (3, with(-3.6))]);
        assert_eq!(found_at(&found, Metric::Agreement), Some((2, 2)));
    }
}
