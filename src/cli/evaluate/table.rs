//! The table of an evaluation, for eyes, programs and papers.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::export::{ExportError, atomically};
use crate::file::sha256;
use crate::metrics::{
    Interval, Metric, NEIGHBOURS, Number, PARTS, Report, SUBSET, SUBSETS, Set, Sure, agreement, confidence,
};
use crate::zoo::InceptionDialect;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Json,
    Latex,
}

/// Header of the table for programs.
pub(super) const HEADER: [&str; 18] = [
    "set",
    "pictures",
    "metric",
    "better",
    "value",
    "low",
    "high",
    "change",
    "change_low",
    "change_high",
    "extractor",
    "extractor_sha256",
    "dialect",
    "features",
    "height",
    "width",
    "reference",
    "real_pictures",
];

/// Parts of the table that says everything.
const PARTS_OF_JSON: [&str; 6] = ["lapidary", "extractor", "pictures", "reference", "protocol", "sets"];

/// Before the SHA-256 of a table for papers, on its first line.
const SEAL: &str = "% lapidary evaluate, SHA-256 of what follows: ";

/// Whether a file is a table that was written here and nothing of somebody else's, so that another may replace it.
pub(super) fn is_table(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    match Format::of(path) {
        Some(Format::Csv) => {
            let mut rows = csv::Reader::from_reader(text.as_bytes());
            let is_header = rows.headers().is_ok_and(|header| *header == HEADER[..]);
            let is_row = |row: Result<csv::StringRecord, csv::Error>| {
                row.is_ok_and(|row| Metric::ALL.iter().any(|metric| row.get(2) == Some(metric.key())))
            };
            is_header && rows.into_records().all(is_row)
        }
        Some(Format::Json) => serde_json::from_str::<Value>(&text).is_ok_and(|json| {
            json.as_object().is_some_and(|json| json.len() == PARTS_OF_JSON.len())
                && PARTS_OF_JSON.iter().all(|part| json.get(part).is_some())
        }),
        // Tables for papers are worked on.
        Some(Format::Latex) => text
            .strip_prefix(SEAL)
            .and_then(|rest| rest.split_once('\n'))
            .is_some_and(|(seal, body)| seal == sha256(&[body.as_bytes()])),
        None => false,
    }
}

impl Format {
    /// What the ending of a file's name says.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "tex" => Some(Self::Latex),
            _ => None,
        }
    }
}

/// Everything that a reader of the numbers must know, and the numbers.
pub(super) struct Table<'a> {
    /// Name, SHA-256 of the weights, features of a picture.
    pub(super) extractor: (&'a str, &'a str, usize),
    /// The way that pictures took to it, where there are several.
    pub(super) dialect: Option<InceptionDialect>,
    /// What computed the features.
    pub(super) device: &'a str,
    /// `[H, W]` of all pictures.
    pub(super) size: [usize; 2],
    /// The files of the real pictures, and how many these are.
    pub(super) reference: (String, usize),
    /// Names of the extractor's classes.
    pub(super) classes: &'a [String],
    pub(super) sets: &'a [Set],
    pub(super) reports: &'a [Report],
}

/// A number with as many digits as its interval allows, or four.
fn shown(value: f64, metric: Metric) -> String {
    match metric {
        Metric::Agreement | Metric::Confidence => format!("{:.2} %", value * 100.0),
        Metric::Kernel => format!("{value:.5}"),
        Metric::Inception => format!("{value:.3}"),
        Metric::Frechet
        | Metric::SpatialFrechet
        | Metric::Precision
        | Metric::Recall
        | Metric::Density
        | Metric::Coverage => {
            format!("{value:.4}")
        }
    }
}

/// Likewise, with half the width of its interval behind it.
fn with_interval(of: Sure, metric: Metric, signed: bool) -> String {
    let sign = if signed && of.value >= 0.0 { "+" } else { "" };
    let value = format!("{sign}{}", shown(of.value, metric));
    match of.interval {
        // One end may lie where the number cannot.
        Some(Interval { low, high }) => {
            format!("{value} ± {}", shown(f64::max(high - of.value, of.value - low), metric))
        }
        None => value,
    }
}

impl Table<'_> {
    /// What was compared by what, in one sentence.
    fn protocol(&self) -> String {
        let (name, hash, width) = self.extractor;
        let (real, count) = &self.reference;
        let [height, width_of] = self.size;
        let hash = hash.get(..12).unwrap_or(hash);
        let way = self.dialect.map_or_else(String::new, |dialect| {
            let (resize, scaling) = (dialect.resize_in_words(), dialect.scaling_in_words());
            format!(" in the dialect {}, {resize}, {scaling}", dialect.key())
        });
        let logits = if self.dialect.is_some() { ", of outputs without their bias" } else { "" };
        format!(
            "{width} features of {name}{way} (SHA-256 {hash}…) of {width_of}×{height} pictures of 8 bits, against {count} real ones ({real}); ± is half a 95 % interval; kernel: {SUBSETS} pairs of at most {SUBSET} pictures; neighbours: {} for precision and recall, {} for density and coverage; Inception score: {PARTS} parts{logits}",
            NEIGHBOURS.0, NEIGHBOURS.1,
        )
    }

    fn number(&self, set: usize, metric: Metric) -> Option<&Number> {
        self.reports[set].numbers.iter().find(|number| number.metric == metric)
    }

    fn metrics(&self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(|metric| (0..self.sets.len()).any(|set| self.number(set, *metric).is_some()))
    }

    /// For the terminal: a line for every number, a column for every set and for its change since the first.
    pub(super) fn text(&self) -> String {
        let mut columns: Vec<Vec<String>> = vec![vec![String::new(), "pictures".to_owned()]];
        for metric in self.metrics() {
            let arrow = if metric.larger_is_better() { '↑' } else { '↓' };
            columns[0].push(format!("{} {arrow}", metric.label()));
        }
        for (place, set) in self.sets.iter().enumerate() {
            let mut own = vec![set.name.clone(), set.features.len().to_string()];
            let mut change = vec!["change".to_owned(), String::new()];
            for metric in self.metrics() {
                let number = self.number(place, metric);
                own.push(number.map_or_else(|| "–".to_owned(), |number| with_interval(number.of, metric, false)));
                let of_change = number.and_then(|number| number.change);
                change.push(of_change.map_or_else(|| "–".to_owned(), |change| with_interval(change, metric, true)));
            }
            columns.push(own);
            if place > 0 {
                columns.push(change);
            }
        }
        let width = |column: &Vec<String>| column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = columns.iter().map(width).collect();
        let mut text = String::new();
        for line in 0..columns[0].len() {
            for (place, (column, width)) in columns.iter().zip(&widths).enumerate() {
                let cell = &column[line];
                let padding = " ".repeat(width - cell.chars().count());
                let _infallible =
                    if place == 0 { write!(text, "{cell}{padding}") } else { write!(text, "   {padding}{cell}") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        format!("{text}\n{}", self.protocol())
    }

    /// Writes the table as the ending of the file's name says.
    pub(super) fn write(&self, path: &Path) -> Result<(), ExportError> {
        let text = match Format::of(path) {
            Some(Format::Json) => format!("{:#}\n", self.json()),
            Some(Format::Latex) => self.latex(),
            Some(Format::Csv) | None => self.csv(),
        };
        atomically(path, |out| std::io::Write::write_all(out, text.as_bytes()))
    }

    /// One line for every number of every set.
    fn csv(&self) -> String {
        let mut rows = csv::Writer::from_writer(Vec::new());
        let (name, hash, features) = self.extractor;
        // Nothing fails that writes to memory.
        let mut written = rows.write_record(HEADER);
        for (place, set) in self.sets.iter().enumerate() {
            for Number { metric, of, change } in &self.reports[place].numbers {
                let sure = |of: Option<Sure>| -> [String; 3] {
                    let end = |end: fn(Interval) -> f64| {
                        of.and_then(|of| of.interval).map_or_else(String::new, |interval| end(interval).to_string())
                    };
                    let value = of.map_or_else(String::new, |of| of.value.to_string());
                    [value, end(|interval| interval.low), end(|interval| interval.high)]
                };
                let better = if metric.larger_is_better() { "larger" } else { "smaller" };
                let before =
                    [set.name.clone(), set.features.len().to_string(), metric.key().to_owned(), better.to_owned()];
                let protocol = [
                    name.to_owned(),
                    hash.to_owned(),
                    self.dialect.map_or("", InceptionDialect::key).to_owned(),
                    features.to_string(),
                    self.size[0].to_string(),
                    self.size[1].to_string(),
                    self.reference.0.clone(),
                    self.reference.1.to_string(),
                ];
                let row = before.into_iter().chain(sure(Some(*of))).chain(sure(*change)).chain(protocol);
                written = written.and_then(|()| rows.write_record(row.collect::<Vec<_>>()));
            }
        }
        debug_assert!(written.is_ok(), "all rows have the header's length");
        String::from_utf8(rows.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        let (name, sha256, features) = self.extractor;
        let interval = |sure: Sure| sure.interval.map(|interval| json!([interval.low, interval.high]));
        let sets = self.sets.iter().zip(self.reports).map(|(set, report)| {
            let numbers = report.numbers.iter().map(|Number { metric, of, change }| {
                json!({
                    "metric": metric.key(),
                    "better": if metric.larger_is_better() { "larger" } else { "smaller" },
                    "value": of.value,
                    "interval": interval(*of),
                    "change": change.map(|change| change.value),
                    "change_interval": change.and_then(interval),
                })
            });
            json!({
                "set": set.name,
                "pictures": set.features.len(),
                "numbers": numbers.collect::<Vec<_>>(),
                "classes": self.by_class(set),
                "notes": report.notes,
            })
        });
        let dialect = self.dialect.map(|dialect| {
            json!({
                "name": dialect.key(),
                "resize": dialect.resize_in_words(),
                "scaling": dialect.scaling_in_words(),
                "logits": "without bias",
            })
        });
        json!({
            "lapidary": env!("CARGO_PKG_VERSION"),
            "extractor": {
                "name": name,
                "sha256": sha256,
                "dialect": dialect,
                "features": features,
                "device": self.device,
            },
            "pictures": { "height": self.size[0], "width": self.size[1], "levels": 256 },
            "reference": { "files": self.reference.0, "pictures": self.reference.1 },
            "protocol": {
                "neighbours": { "precision_recall": NEIGHBOURS.0, "density_coverage": NEIGHBOURS.1 },
                "kernel": { "subsets": SUBSETS, "subset": SUBSET },
                "inception_parts": PARTS,
                "confidence": 0.95,
            },
            "sets": sets.collect::<Vec<_>>(),
        })
    }

    /// Class by class, how many pictures there are and what the extractor says of them.
    fn by_class(&self, set: &Set) -> Option<Value> {
        let labels = set.labels.as_ref()?;
        let [agreed, sure] = [agreement(&set.features, labels), confidence(&set.features, labels)];
        let classes = self.classes.iter().enumerate().filter_map(|(class, name)| {
            let own: Vec<usize> = (0..labels.len()).filter(|place| labels[*place] == class).collect();
            let mean = |of_each: &[f64]| own.iter().map(|place| of_each[*place]).sum::<f64>() / own.len() as f64;
            (!own.is_empty()).then(|| {
                json!({ "class": name, "pictures": own.len(), "agreement": mean(&agreed), "confidence": mean(&sure) })
            })
        });
        Some(Value::Array(classes.collect()))
    }

    /// Rows for the sets, in the form that papers have; wants the package booktabs.
    fn latex(&self) -> String {
        let metrics: Vec<Metric> = self.metrics().collect();
        let head: Vec<String> = metrics
            .iter()
            .map(|metric| {
                let arrow = if metric.larger_is_better() { "\\uparrow" } else { "\\downarrow" };
                format!("{} ${arrow}$", metric.label())
            })
            .collect();
        // A name with a line break would end the comment.
        let mut text = format!("% {}\n", self.protocol().replace(char::is_control, " "));
        let _infallible = writeln!(
            text,
            "\\begin{{tabular}}{{l{}}}\n\\toprule\n & {} \\\\\n\\midrule",
            "r".repeat(metrics.len()),
            head.join(" & ")
        );
        for (place, set) in self.sets.iter().enumerate() {
            let cell = |metric: &Metric| match self.number(place, *metric) {
                Some(number) => format!(
                    "${}$",
                    with_interval(number.of, *metric, false).replace('±', "\\pm").replace(" %", "\\,\\%")
                ),
                None => "--".to_owned(),
            };
            let cells: Vec<String> = metrics.iter().map(cell).collect();
            let _infallible = writeln!(text, "{} & {} \\\\", escaped(&set.name), cells.join(" & "));
        }
        text += "\\bottomrule\n\\end{tabular}\n";
        format!("{SEAL}{}\n{text}", sha256(&[text.as_bytes()]))
    }
}

/// Text that LaTeX prints as it is.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Features, compare};

    fn set(name: &str, shift: f32) -> Set {
        let mut features = Features::new(2, 2);
        for i in 0..12 {
            let value = (i * 7 % 12) as f32 / 12.0;
            features.extend(&[value + shift, value * value], &[value, 1.0 - value]);
        }
        Set { name: name.to_owned(), features, labels: Some((0..12).map(|i| i % 2).collect()) }
    }

    #[test]
    fn the_same_numbers_stand_in_every_form() {
        let (real, sets) = (set("real", 0.0).features, [set("a_1", 0.5), set("b", 0.25)]);
        let reports = compare(&real, &sets, &mut |_, _| true).unwrap();
        let classes = ["x".to_owned(), "y".to_owned()];
        let table = Table {
            extractor: ("judge", "0123456789abcdef", 2),
            dialect: None,
            device: "a device",
            size: [8, 16],
            reference: ("real.npz".to_owned(), 12),
            classes: &classes,
            sets: &sets,
            reports: &reports,
        };
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("a_1") && lines[0].contains("change"), "{text}");
        assert!(lines[2].starts_with("Fréchet distance ↓") && lines[2].contains("0.2500 ± "), "{text}");
        assert!(lines[2].contains("-0.1875 ± "), "0.0625 less 0.25: {text}");
        assert!(text.contains("(SHA-256 0123456789ab…) of 16×8 pictures") && text.contains("12 real ones"), "{text}");
        let csv = table.csv();
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!(rows.len(), 1 + 2 * 9, "{csv}");
        let value: f64 = rows[1]
            .strip_prefix("a_1,12,frechet_distance,smaller,")
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!((value - 0.25).abs() < 1e-6, "{csv}");
        let json = table.json();
        let number = &json["sets"][1]["numbers"][0];
        assert!((number["change"].as_f64().unwrap() + 0.1875).abs() < 1e-6, "{number}");
        assert!(number["change_interval"][1].as_f64().unwrap() < 0.0);
        assert_eq!(json["sets"][0]["classes"][1]["pictures"], 6);
        let inception = Table { dialect: Some(InceptionDialect::PytorchFid), classes: &[], ..table };
        let way = "judge in the dialect pytorch-fid, bilinear to 299×299 as PyTorch, 2 level / 255 - 1 (SHA-256 0123";
        assert!(inception.text().contains(way) && inception.text().contains("10 parts, of outputs without their bias"));
        assert!(inception.csv().contains(",judge,0123456789abcdef,pytorch-fid,2,8,16,"), "{}", inception.csv());
        assert_eq!(inception.json()["extractor"]["dialect"]["name"], "pytorch-fid");
        assert_eq!(json["extractor"]["dialect"], Value::Null);
        let table = Table { dialect: None, classes: &classes, ..inception };
        let latex = table.latex();
        assert!(latex.contains("\na\\_1 & $0.2500 \\pm ") && latex.contains("\\,\\%"), "{latex}");
        assert_eq!(latex.matches(" & ").count(), 3 * 9);
        for (name, expected) in [("t.csv", "set,pictures"), ("t.json", "{"), ("t.TEX", SEAL)] {
            let folder = tempfile::tempdir().unwrap();
            assert!(!is_table(&folder.path().join(name)));
            table.write(&folder.path().join(name)).unwrap();
            assert!(is_table(&folder.path().join(name)), "{name}");
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            let mine = match name {
                "t.csv" => text.replacen('\n', ",notes\n", 1),
                "t.json" => text.replacen('{', "{\n  \"notes\": 1,", 1),
                _ => text + "My paper\n",
            };
            std::fs::write(folder.path().join(name), mine).unwrap();
            assert!(!is_table(&folder.path().join(name)), "{name} with something of the user's");
            assert!(std::fs::read_to_string(folder.path().join(name)).unwrap().starts_with(expected));
        }
    }
}
