//! What the cells of an experiment gave, as papers have it: a block for every generator, a line for every refinement.

use std::fmt::Write as _;

use super::file::{Experiment, NONE, Published};
use crate::metrics::words::{arrow, latex, latex_head, latex_number, with_interval};
use crate::metrics::{Metric, Number, Sure, other_number};

/// The numbers of one set of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How many pictures.
    pub pictures: usize,
    /// Their numbers, and how these changed since the pictures before.
    pub numbers: Vec<Number>,
}

/// A line: one generator with one refinement.
#[derive(Debug, Clone, PartialEq)]
struct Row<'a> {
    /// The generator's name.
    generator: &'a str,
    /// The refinement's name, or `none`.
    refinement: &'a str,
    /// What it gave; nothing yet where the cell is not done.
    found: Option<Found>,
}

/// All lines of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<'a> {
    experiment: &'a Experiment,
    rows: Vec<Row<'a>>,
    /// What was compared by what, in one sentence; nothing before the first cell is done.
    protocol: String,
}

impl<'a> Table<'a> {
    /// Lines in the order of the file; `found` gives those before and after of every cell, in the order of [`Experiment::cells`].
    #[must_use]
    pub fn new(experiment: &'a Experiment, found: &[Option<Vec<Found>>], protocol: String) -> Self {
        let cells: Vec<_> = experiment.cells().zip(found).collect();
        let mut rows: Vec<Row<'a>> = Vec::new();
        for generator in &experiment.generators {
            let own = || cells.iter().filter(|(cell, _)| cell.generator == generator);
            // The pictures before are those of every cell of the generator.
            let before = own().find_map(|(_, found)| found.as_ref()?.first().cloned());
            rows.push(Row { generator: &generator.name, refinement: NONE, found: before });
            rows.extend(own().filter_map(|(cell, found)| {
                let refinement = &cell.refinement?.name;
                Some(Row {
                    generator: &generator.name,
                    refinement,
                    found: found.as_ref().and_then(|of| of.get(1).cloned()),
                })
            }));
        }
        Self { experiment, rows, protocol }
    }

    /// The columns: those that the file asks for, or all that some line has.
    fn columns(&self) -> Vec<Metric> {
        let asked = &self.experiment.metrics;
        let wanted = if asked.is_empty() { &Metric::ALL[..] } else { asked };
        let has = |metric: &Metric| self.rows.iter().any(|row| row.number(*metric).is_some());
        wanted.iter().copied().filter(|metric| !asked.is_empty() || has(metric)).collect()
    }

    fn published(&self, row: &Row<'_>, metric: Metric) -> Option<&Published> {
        let is_of = |published: &&Published| {
            (published.generator.as_str(), published.refinement.as_str()) == (row.generator, row.refinement)
                && published.metric == metric.key()
        };
        self.experiment.published.iter().find(is_of)
    }

    /// A number, and in brackets what was published; `none` where there is neither.
    fn cell(&self, row: &Row<'_>, metric: Metric, none: &str, written: fn(Sure, Metric) -> String) -> String {
        let ours = row.number(metric).map_or_else(|| none.to_owned(), |number| written(number.of, metric));
        match self.published(row, metric) {
            Some(published) => format!("{ours} [{}]", published.value),
            None => ours,
        }
    }

    /// For the terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let columns = self.columns();
        let mut head = vec!["generator".to_owned(), "refinement".to_owned(), "pictures".to_owned()];
        head.extend(columns.iter().map(|metric| format!("{} {}", metric.label(), arrow(*metric))));
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(|row| {
            let cells = columns.iter().map(|metric| self.cell(row, *metric, "–", plain));
            [row.generator.to_owned(), row.refinement.to_owned(), row.pictures("–")].into_iter().chain(cells).collect()
        }));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                // Names begin at the left, numbers end at the right.
                let _infallible =
                    if place < 2 { write!(text, "{cell}{padding}   ") } else { write!(text, "{padding}{cell}   ") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for note in self.notes() {
            let _infallible = write!(text, "\n{note}");
        }
        text
    }

    /// What belongs below the lines.
    fn notes(&self) -> Vec<String> {
        let missing = self.rows.iter().filter(|row| row.found.is_none()).count();
        let mut notes = Vec::new();
        if missing > 0 {
            notes.push(format!("{missing} of {} lines are not measured yet", self.rows.len()));
        }
        notes.extend(self.other_numbers());
        if !self.protocol.is_empty() {
            notes.push(self.protocol.clone());
        }
        let mut sources: Vec<&str> =
            self.experiment.published.iter().map(|published| published.source.as_str()).collect();
        sources.sort_unstable();
        sources.dedup();
        if !sources.is_empty() {
            notes.push(format!("[published]: {}", sources.join("; ")));
        }
        notes
    }

    /// Warnings of lines whose distances do not compare with those of the first, for they are of other numbers of pictures: of
    /// the lines of a generator that have as many, the first is named.
    fn other_numbers(&self) -> Vec<String> {
        let Some(first) = self.first_distance() else { return Vec::new() };
        let mut told: Vec<(&str, usize)> = Vec::new();
        let mut notes = Vec::new();
        for row in &self.rows {
            let (Some(note), Some(found)) = (row.other_number(first), &row.found) else { continue };
            if !told.contains(&(row.generator, found.pictures)) {
                told.push((row.generator, found.pictures));
                notes.push(format!("warning: {note}"));
            }
        }
        notes
    }

    /// The first line that is measured, where distances are shown at all.
    fn first_distance(&self) -> Option<&Row<'a>> {
        let is_distance = |metric: &Metric| matches!(metric, Metric::Frechet | Metric::SpatialFrechet);
        let has_distances = self.columns().iter().any(is_distance);
        self.rows.iter().find(|row| has_distances && row.found.is_some())
    }

    /// One line for every number.
    ///
    /// # Errors
    /// Never: nothing fails that writes to memory.
    pub fn csv(&self) -> Result<String, csv::Error> {
        let mut rows = csv::Writer::from_writer(Vec::new());
        rows.write_record([
            "generator",
            "refinement",
            "pictures",
            "metric",
            "better",
            "value",
            "low",
            "high",
            "change",
            "change_low",
            "change_high",
            "published",
            "source",
            "protocol",
            "warning",
        ])?;
        let first = self.first_distance();
        for row in &self.rows {
            let Some(found) = &row.found else { continue };
            for metric in self.columns() {
                let Some(Number { of, change, .. }) = row.number(metric) else { continue };
                let published = self.published(row, metric);
                let better = if metric.larger_is_better() { "larger" } else { "smaller" };
                let own = [row.generator, row.refinement].map(str::to_owned);
                let what = [found.pictures.to_string(), metric.key().to_owned(), better.to_owned()];
                let theirs = [
                    published.map_or_else(String::new, |published| published.value.to_string()),
                    published.map_or_else(String::new, |published| published.source.clone()),
                    self.protocol.clone(),
                    first.and_then(|first| row.other_number(first)).unwrap_or_default(),
                ];
                let numbers = written(Some(*of)).into_iter().chain(written(*change));
                rows.write_record(own.into_iter().chain(what).chain(numbers).chain(theirs))?;
            }
        }
        let bytes = rows.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8(bytes).unwrap_or_default())
    }

    /// For papers; wants the package booktabs.
    #[must_use]
    pub fn latex(&self) -> String {
        let columns = self.columns();
        let head: Vec<String> = columns.iter().copied().map(latex_head).collect();
        let mut text = String::new();
        for note in self.notes() {
            // A line break would end the comment.
            let _infallible = writeln!(text, "% {}", note.replace(char::is_control, " "));
        }
        let _infallible = writeln!(
            text,
            "\\begin{{tabular}}{{llr{}}}\n\\toprule\ngenerator & refinement & pictures & {} \\\\",
            "r".repeat(columns.len()),
            head.join(" & ")
        );
        for (place, row) in self.rows.iter().enumerate() {
            let is_first = place == 0 || self.rows[place - 1].generator != row.generator;
            let generator = if is_first { latex(row.generator) } else { String::new() };
            let cells = columns.iter().map(|metric| self.cell(row, *metric, "--", latex_number));
            let line: Vec<String> =
                [generator, latex(row.refinement), row.pictures("--")].into_iter().chain(cells).collect();
            let rule = if is_first { "\\midrule\n" } else { "" };
            let _infallible = writeln!(text, "{rule}{} \\\\", line.join(" & "));
        }
        text + "\\bottomrule\n\\end{tabular}\n"
    }

    /// For a README.
    #[must_use]
    pub fn markdown(&self) -> String {
        let columns = self.columns();
        let head = columns.iter().map(|metric| format!("{} {}", metric.label(), arrow(*metric)));
        let head: Vec<String> =
            ["generator", "refinement", "pictures"].map(str::to_owned).into_iter().chain(head).collect();
        let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        let escaped = |name: &str| name.replace('|', "\\|");
        for row in &self.rows {
            let cells = columns.iter().map(|metric| self.cell(row, *metric, "–", plain));
            let line: Vec<String> =
                [escaped(row.generator), escaped(row.refinement), row.pictures("–")].into_iter().chain(cells).collect();
            let _infallible = writeln!(text, "| {} |", line.join(" | "));
        }
        for note in self.notes() {
            let _infallible = write!(text, "\n{note}\n");
        }
        text
    }
}

impl Row<'_> {
    /// How many pictures its numbers are of; `none` where there are none yet.
    fn pictures(&self, none: &str) -> String {
        self.found.as_ref().map_or_else(|| none.to_owned(), |found| found.pictures.to_string())
    }

    /// What a reader must know of its distances and those of another line, where they are of other numbers of pictures.
    fn other_number(&self, first: &Self) -> Option<String> {
        let of = |row: &Self| Some((row.name(), row.found.as_ref()?.pictures));
        let ((name, n), (other, of_other)) = (of(self)?, of(first)?);
        other_number((&name, n), (&other, of_other))
    }

    /// What it is called in a sentence.
    fn name(&self) -> String {
        if self.refinement == NONE {
            self.generator.to_owned()
        } else {
            format!("{} / {}", self.generator, self.refinement)
        }
    }

    fn number(&self, metric: Metric) -> Option<&Number> {
        self.found.as_ref()?.numbers.iter().find(|number| number.metric == metric)
    }
}

fn plain(of: Sure, metric: Metric) -> String {
    with_interval(of, metric, false)
}

/// A number and the ends of its interval.
fn written(of: Option<Sure>) -> [String; 3] {
    let interval = of.and_then(|of| of.interval);
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    [
        text(of.map(|of| of.value)),
        text(interval.map(|interval| interval.low)),
        text(interval.map(|interval| interval.high)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Interval;

    const FILE: &str = r#"
name = "small"
seeds = "0..8"
reference = ["real.npz"]
metrics = ["frechet_distance", "agreement"]
[[generator]]
name = "A_1"
[[generator]]
name = "B|2"
[[refinement]]
name = "joint"
[[refinement]]
name = "robust"
[[published]]
generator = "A_1"
refinement = "joint"
metric = "frechet_distance"
value = 1.5
source = "Somebody 2024, table 1"
"#;

    fn found(frechet: f64) -> Found {
        let sure = |value: f64| Sure { value, interval: Some(Interval { low: value - 0.25, high: value + 0.25 }) };
        let change = Some(Sure { value: frechet - 2.0, interval: None });
        let numbers = vec![
            Number { metric: Metric::Frechet, of: sure(frechet), change },
            Number { metric: Metric::Agreement, of: Sure { value: 0.5, interval: None }, change: None },
            Number { metric: Metric::Recall, of: Sure { value: 0.25, interval: None }, change: None },
        ];
        Found { pictures: 8, numbers }
    }

    #[test]
    fn every_generator_has_a_block_with_what_was_before_and_what_is_missing_is_seen() {
        let experiment = Experiment::read(FILE).unwrap();
        let both = |after| Some(vec![found(2.0), found(after)]);
        let table = Table::new(&experiment, &[both(1.0), None, None, both(0.5)], "by this network".to_owned());
        let names: Vec<_> = table.rows.iter().map(|row| (row.generator, row.refinement, row.found.is_some())).collect();
        let expected = [
            ("A_1", "none", true),
            ("A_1", "joint", true),
            ("A_1", "robust", false),
            ("B|2", "none", true),
            ("B|2", "joint", false),
            ("B|2", "robust", true),
        ];
        assert_eq!(names, expected);
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("generator   refinement") && !text.contains("recall"), "{text}");
        assert!(lines[2].contains("1.0000 ± 0.2500 [1.5]") && lines[3].contains('–'), "{text}");
        assert!(
            text.contains("2 of 6 lines are not measured yet\nby this network\n[published]: Somebody 2024"),
            "{text}"
        );
        let csv = table.csv().unwrap();
        assert_eq!(csv.lines().count(), 1 + 4 * 2, "{csv}");
        assert!(
            csv.contains("A_1,joint,8,frechet_distance,smaller,1,0.75,1.25,-1,,,1.5,\"Somebody 2024, table 1\""),
            "{csv}"
        );
        let latex = table.latex();
        assert!(
            latex.contains("\\midrule\nA\\_1 & none & 8 & $2.0000 \\pm 0.2500$")
                && latex.contains("\n & robust & -- & -- & --"),
            "{latex}"
        );
        assert!(latex.starts_with("% 2 of 6") && latex.matches("\\midrule").count() == 2, "{latex}");
        let markdown = table.markdown();
        assert!(
            latex.contains("$1.0000 \\pm 0.2500$ [1.5]") && markdown.contains("| 1.0000 ± 0.2500 [1.5] |"),
            "{latex}"
        );
        assert!(markdown.contains("| B\\|2 | robust | 8 | 0.5000 ± 0.2500 | 50.00 % |"), "{markdown}");
    }

    #[test]
    fn every_form_says_how_many_pictures_and_which_distances_do_not_compare() {
        let experiment = Experiment::read(FILE).unwrap();
        let of = |pictures| Some(vec![Found { pictures, ..found(2.0) }, Found { pictures, ..found(1.0) }]);
        let forms = |more: &[Option<Vec<Found>>]| {
            let found = [&[of(8), of(8)][..], more].concat();
            let table = Table::new(&experiment, &found, "by this network".to_owned());
            [table.text(), table.csv().unwrap(), table.latex(), table.markdown()]
        };
        let said = "B|2 has 48 pictures and A_1 has 8: Fréchet distances shrink with the number of pictures, so theirs do not compare";
        for (form, columns) in forms(&[of(48), of(48)]).iter().zip([None, None, Some(" & 48 & "), Some(" | 48 | ")]) {
            assert!(form.contains("pictures") && form.contains("48"), "{form}");
            assert!(columns.is_none_or(|columns| form.matches(columns).count() == 3), "{form}");
            assert!(form.contains(said) || form.contains(&said.replace("B|2", "B|2 / joint")), "{form}");
        }
        let [text, csv, latex, _] = forms(&[of(48), of(48)]);
        assert_eq!(text.matches("warning: ").count(), 1, "once for all lines of a generator: {text}");
        assert_eq!(csv.matches("do not compare").count(), 6, "three lines with two numbers each: {csv}");
        assert!(latex.starts_with(&format!("% warning: {said}\n")), "{latex}");
        assert!(forms(&[of(8), None]).iter().all(|form| !form.contains("do not compare")), "all have as many");
    }

    #[test]
    fn without_a_choice_all_numbers_are_shown_that_some_line_has() {
        let text = FILE.replace("metrics = [\"frechet_distance\", \"agreement\"]\n", "");
        let experiment = Experiment::read(&text).unwrap();
        let table = Table::new(&experiment, &[Some(vec![found(2.0), found(1.0)]), None, None, None], String::new());
        assert_eq!(table.columns(), [Metric::Frechet, Metric::Recall, Metric::Agreement]);
    }
}
