//! Tables: the trace with one row per state and sample, in this order, and a long refinement with one row per picture.

use std::path::Path;

use super::{ExportError, Exporter, durably};
use crate::origins::Origins;
use crate::refiner::{Norm, Numbers};
use crate::trace::{Quantity, RunId, Trace};

/// Header of the trace. Lengths are on `[0, 1]` pixels, `clipped` is a share in `0..=1`. `target` is the class that the sample
/// is refined towards, `class` its name; probability and energy are those of the target. `name` is the file of an opened picture,
/// `classifier` the name of what judged the state, or of its file: numbers of two classifiers cannot be compared.
const COLUMNS: [&str; 18] = [
    "iteration",
    "sample",
    "seed",
    "label",
    "target",
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
    "name",
    "label_class",
    "classifier",
];

/// Header of a long refinement: every picture before and after. `index` counts in the source, `label` is empty when the source
/// does not say, `iterations` are those behind the picture that was kept, until it came to rest; `name` is its file, or its
/// archive and its place there; `label_class` and `class` are the names of label and target; `seed` is what random starts and noise
/// are drawn by, of an opened picture its place, whatever it was made of.
const REFINED_COLUMNS: [&str; 15] = [
    "index",
    "label",
    "target",
    "objective_before",
    "objective_after",
    "target_probability_before",
    "target_probability_after",
    "delta_l2",
    "delta_linf",
    "iterations",
    "state",
    "name",
    "label_class",
    "class",
    "seed",
];

/// The table of a long refinement.
pub(super) const REFINED: &str = "refined.csv";

/// The trace of a refined batch.
pub const TRACE: Exporter = Exporter {
    files: "trace.csv",
    write: |folder, results| {
        let Some(refined) = &results.refined else { return Ok(()) };
        write(&folder.join(TRACE.files), refined.trace, refined.run, results.origins, refined.classes)
    },
};

/// Writes the path from the origins to the last state of `run`.
fn write(path: &Path, trace: &Trace, run: RunId, origins: &Origins, classes: &[String]) -> Result<(), ExportError> {
    durably(path, |out| {
        let mut table = ::csv::Writer::from_writer(out);
        table.write_record(COLUMNS)?;
        for state in trace.path(run) {
            let Some(numbers) = trace.numbers(state) else { continue };
            // A run has targets of its own, also where its path goes through another run.
            let run = trace.run(state.run);
            let targets = run.and_then(|run| run.targets.as_ref()).unwrap_or(&origins.labels);
            let classifier = run.map_or("", |run| file_name(&run.settings.classifier));
            for sample in 0..origins.labels.len() {
                let target = targets.get(sample).copied().unwrap_or(origins.labels[sample]);
                table.write_record(row((state.iteration, sample, target), numbers, origins, (classes, classifier)))?;
            }
        }
        table.flush()
    })
}

fn row(
    (iteration, sample, target): (u32, usize, usize),
    numbers: &Numbers,
    origins: &Origins,
    (classes, classifier): (&[String], &str),
) -> [String; COLUMNS.len()] {
    let list = |values: &[f32]| number(values.get(sample).copied().unwrap_or(f32::NAN));
    let quantity = |quantity: Quantity| number(quantity.value(numbers, sample, target, Norm::L2));
    [
        iteration.to_string(),
        sample.to_string(),
        origins.seeds[sample].to_string(),
        origins.labels[sample].to_string(),
        target.to_string(),
        classes.get(target).cloned().unwrap_or_default(),
        list(&numbers.objective),
        quantity(Quantity::Probability),
        quantity(Quantity::Energy),
        list(&numbers.gradient_l2),
        list(&numbers.step_l2),
        list(&numbers.delta_l2),
        list(&numbers.delta_linf),
        list(&numbers.clipped),
        numbers.state.get(sample).copied().unwrap_or_default().words().key.to_owned(),
        origins.names.get(sample).cloned().unwrap_or_default(),
        label_names(origins, classes).get(origins.labels[sample]).cloned().unwrap_or_default(),
        classifier.to_owned(),
    ]
}

/// The names that labels count: those of a generator's pictures are its own, which a classifier may count otherwise.
pub(super) fn label_names<'a>(origins: &'a Origins, classes: &'a [String]) -> &'a [String] {
    origins.classes.as_deref().unwrap_or(classes)
}

/// A model's name, or that of its file: where it lies is nobody else's business.
fn file_name(reference: &str) -> &str {
    reference.rsplit(['/', '\\']).next().unwrap_or(reference)
}

/// One picture of a long refinement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RefinedRow<'a> {
    /// Its place in the source.
    pub index: usize,
    /// Its label, if the source says one.
    pub label: Option<usize>,
    /// What it was refined towards.
    pub target: usize,
    /// Its place in the batch.
    pub sample: usize,
    /// The batch before.
    pub before: &'a Numbers,
    /// The batch after.
    pub after: &'a Numbers,
    /// Iterations behind the picture after, until it came to rest.
    pub iterations: u32,
    /// Its seed.
    pub seed: u64,
    /// Its file.
    pub name: &'a str,
    /// Class names.
    pub classes: &'a [String],
    /// The names that labels count.
    pub label_classes: &'a [String],
}

impl RefinedRow<'_> {
    /// The row below [`REFINED_COLUMNS`].
    fn fields(&self) -> [String; REFINED_COLUMNS.len()] {
        let quantity =
            |quantity: Quantity, numbers: &Numbers| number(quantity.value(numbers, self.sample, self.target, Norm::L2));
        let list = |values: &[f32]| number(values.get(self.sample).copied().unwrap_or(f32::NAN));
        [
            self.index.to_string(),
            self.label.map_or_else(String::new, |label| label.to_string()),
            self.target.to_string(),
            quantity(Quantity::Objective, self.before),
            quantity(Quantity::Objective, self.after),
            quantity(Quantity::Probability, self.before),
            quantity(Quantity::Probability, self.after),
            list(&self.after.delta_l2),
            list(&self.after.delta_linf),
            self.iterations.to_string(),
            self.after.state.get(self.sample).copied().unwrap_or_default().words().key.to_owned(),
            self.name.to_owned(),
            self.label.and_then(|label| self.label_classes.get(label)).cloned().unwrap_or_default(),
            self.classes.get(self.target).cloned().unwrap_or_default(),
            self.seed.to_string(),
        ]
    }
}

/// The rows as text, without the header.
pub(super) fn rows<'a>(rows: impl Iterator<Item = RefinedRow<'a>>) -> std::io::Result<Vec<u8>> {
    let mut table = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        table.write_record(row.fields())?;
    }
    table.into_inner().map_err(::csv::IntoInnerError::into_error)
}

/// Writes the table of a long refinement from [`rows`] of its parts.
pub(super) fn write_refined(
    path: &Path,
    parts: impl Iterator<Item = std::io::Result<Vec<u8>>>,
) -> Result<(), ExportError> {
    durably(path, |out| {
        let mut table = ::csv::Writer::from_writer(&mut *out);
        table.write_record(REFINED_COLUMNS)?;
        table.flush()?;
        drop(table);
        for rows in parts {
            std::io::Write::write_all(out, &rows?)?;
        }
        Ok(())
    })
}

/// `Debug` writes the shortest text that reads back as the same number, with an exponent where it helps.
fn number(value: f32) -> String {
    format!("{value:?}")
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
            classes: None,
            seeds: vec![5, 6],
            names: vec!["a.png".to_owned(), "b, c.png".to_owned()],
            made_by: None,
            edited: None,
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
        assert_eq!([&rows[2][0], &rows[2][2], &rows[2][5]], ["1", "5", "yield, slowly"]);
        assert_eq!([&rows[3][15], &rows[3][16]], ["b, c.png", "stop"]);
        assert_eq!(rows[2][6].parse::<f32>().unwrap(), odd);
        assert_eq!(rows[3][6].parse::<f32>().unwrap(), -1e-30);
        assert_eq!(rows[2][8].parse::<f32>().unwrap(), -odd);
        trace.set_targets(RunId(1), vec![0, 0]);
        write(&path, &trace, RunId(1), &origins, &["stop".to_owned(), "yield".to_owned()]).unwrap();
        let mut table = ::csv::Reader::from_path(&path).unwrap();
        let row = table.records().nth(2).unwrap().unwrap();
        assert_eq!([&row[3], &row[4], &row[5]], ["1", "0", "stop"], "the target is not the label");
        assert_eq!(row[8].parse::<f32>().unwrap(), 0.0, "energy of the target");
        // A generator that counts its classes otherwise.
        let made = Origins { classes: Some(vec!["yield".to_owned(), "stop".to_owned()]), ..origins };
        write(&path, &trace, RunId(1), &made, &["stop".to_owned(), "yield".to_owned()]).unwrap();
        let mut table = ::csv::Reader::from_path(&path).unwrap();
        let row = table.records().nth(2).unwrap().unwrap();
        assert_eq!([&row[3], &row[16], &row[4], &row[5]], ["1", "stop", "0", "stop"]);
    }
}
