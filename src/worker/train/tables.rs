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

/// Whether a table is as it was written: a head, and rows that begin with a step; the last one may be half written. Others may
/// have saved it anew, with other marks between its cells or lines of their own.
pub(super) fn is_ours(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else { return !path.exists() };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let is_step = |row: &str| row.split_once(',').is_some_and(|(step, _)| step.parse::<u64>().is_ok());
    let mut rows = whole.lines().filter(|row| !row.trim().is_empty());
    rows.next().is_none_or(|head| head.starts_with("step,")) && rows.all(is_step)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_somebody_saved_anew_is_not_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        let is_ours_with = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            is_ours(&path)
        };
        assert!(is_ours(&path), "there is none");
        let ours = "step,loss\n1,0.5\n2,0.25\n";
        for text in
            ["", "step,loss\n", ours, "step,loss\r\n1,0.5\r\n", "step,loss\n1,0.5\n\n2,0.", "step,loss,mine\n1,0.5,x\n"]
        {
            assert!(is_ours_with(text.as_bytes()), "{text:?}");
        }
        for text in [
            "step;loss\n1;0.5\n",
            "step\tloss\n",
            "step,loss\n\"1\",0.5\n",
            "step,loss\n1.0,0.5\n",
            "step,loss\n1,0.5\nmy note\n",
        ] {
            assert!(!is_ours_with(text.as_bytes()), "{text:?}");
        }
        let utf_16: Vec<u8> = ours.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(!is_ours_with(&[&[0xff, 0xfe], &utf_16[..]].concat()));
    }
}
