//! The tables of a training: a row per step, and a row per checkpoint of what is judged.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::train::Validation;

/// One row per step.
pub(super) const METRICS: &str = "metrics.csv";
/// One row per checkpoint of what is judged.
pub(super) const VALIDATION: &str = "validation.csv";
pub(super) const METRICS_HEAD: &str = "step,loss,gradient,rate,seconds";

/// Steps and losses of a training, up to a step.
pub(super) fn losses(path: &Path, step: u64) -> Vec<(u64, f64)> {
    let loss = |row: String| {
        let mut cells = row.split(',');
        Some((cells.next()?.parse().ok()?, cells.next()?.parse().ok()?))
    };
    rows(&path.join(METRICS)).filter_map(loss).filter(|(at, _)| *at <= step).collect()
}

/// The rows of a table, its head among them; none where there is no table.
fn rows(path: &Path) -> impl Iterator<Item = String> + use<> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// What was judged, by its step.
pub(super) fn validations(path: &Path) -> HashMap<u64, Validation> {
    let mut rows = rows(&path.join(VALIDATION));
    let head = rows.next().unwrap_or_default();
    rows.filter_map(|row| judged(&head, &row)).collect()
}

/// A row of the table of validations.
fn judged(head: &str, row: &str) -> Option<(u64, Validation)> {
    let mut cells = head.split(',').zip(row.split(','));
    let (step, pictures) = (cells.next()?.1.parse().ok()?, cells.next()?.1.parse().ok()?);
    let numbers = cells.map(|(name, number)| (name.to_owned(), number.parse().ok())).collect();
    Some((step, Validation { pictures, numbers }))
}

/// The table's head, and its rows up to a step.
pub(super) fn rows_until(path: &Path, head: &str, step: u64) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let is_before = |row: &&str| {
        let number = row.split(',').next().and_then(|number| number.parse::<u64>().ok());
        number.is_some_and(|number| number <= step)
    };
    let rows = text.lines().filter(is_before);
    std::iter::once(head).chain(rows).flat_map(|row| [row, "\n"]).collect()
}
