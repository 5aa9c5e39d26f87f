//! The trace as a table: one row per state and sample, in this order.

use std::path::Path;

use super::{ExportError, atomically};
use crate::refiner::{Norm, Numbers, SampleState};
use crate::trace::{Quantity, RunId, Trace};
use crate::worker::Origins;

/// Header of the table. Lengths are on `[0, 1]` pixels, `clipped` is a share in `0..=1`.
pub const COLUMNS: [&str; 14] = [
    "iteration",
    "sample",
    "seed",
    "label",
    "class",
    "objective",
    "target_probability",
    "energy",
    "gradient_l2",
    "step_l2",
    "delta_l2",
    "delta_linf",
    "clipped",
    "state",
];

/// Writes the path from the origins to the last state of `run`.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write(path: &Path, trace: &Trace, run: RunId, origins: &Origins, classes: &[String]) -> Result<(), ExportError> {
    atomically(path, |out| {
        let mut table = ::csv::Writer::from_writer(out);
        table.write_record(COLUMNS)?;
        for state in trace.path(run) {
            let Some(numbers) = trace.numbers(state) else { continue };
            for sample in 0..origins.labels.len() {
                table.write_record(row(state.iteration, sample, numbers, origins, classes))?;
            }
        }
        table.flush()
    })
}

fn row(
    iteration: u32,
    sample: usize,
    numbers: &Numbers,
    origins: &Origins,
    classes: &[String],
) -> [String; COLUMNS.len()] {
    let label = origins.labels[sample];
    // `Debug` writes the shortest text that reads back as the same number, with an exponent where it helps.
    let number = |value: f32| format!("{value:?}");
    let list = |values: &[f32]| number(values.get(sample).copied().unwrap_or(f32::NAN));
    let quantity = |quantity: Quantity| number(quantity.value(numbers, sample, label, Norm::L2));
    [
        iteration.to_string(),
        sample.to_string(),
        origins.seeds[sample].to_string(),
        label.to_string(),
        classes.get(label).cloned().unwrap_or_default(),
        list(&numbers.objective),
        quantity(Quantity::Probability),
        quantity(Quantity::Energy),
        list(&numbers.gradient_l2),
        list(&numbers.step_l2),
        list(&numbers.delta_l2),
        list(&numbers.delta_linf),
        list(&numbers.clipped),
        match numbers.state.get(sample).copied().unwrap_or_default() {
            SampleState::Active => "active",
            SampleState::ZeroGradient => "zero-gradient",
            SampleState::NotFinite => "not-finite",
        }
        .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::refiner::RefineSettings;
    use crate::trace::StateId;

    #[test]
    fn every_state_and_sample_has_a_row_and_numbers_read_back() {
        let origins = Origins {
            images: ImageBatch::new([2, 1, 1, 1], vec![0.0, 1.0]),
            labels: vec![1, 0],
            seeds: vec![5, 6],
            names: Vec::new(),
            made_by: None,
        };
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        let odd = 0.1_f32 + 0.2;
        for iteration in 0..3 {
            let numbers =
                Numbers { objective: vec![odd, -1e-30], logits: vec![0.0, odd, 2.0, 1.0], ..Default::default() };
            assert!(trace.push(StateId { run: RunId(1), iteration }, numbers));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        write(&path, &trace, RunId(1), &origins, &["stop".to_owned(), "yield, slowly".to_owned()]).unwrap();
        let mut table = ::csv::Reader::from_path(&path).unwrap();
        assert_eq!(table.headers().unwrap().iter().collect::<Vec<_>>(), COLUMNS);
        let rows: Vec<::csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 6);
        assert_eq!([&rows[2][0], &rows[2][2], &rows[2][4]], ["1", "5", "yield, slowly"]);
        assert_eq!(rows[2][5].parse::<f32>().unwrap(), odd);
        assert_eq!(rows[3][5].parse::<f32>().unwrap(), -1e-30);
        assert_eq!(rows[2][7].parse::<f32>().unwrap(), -odd);
    }
}
