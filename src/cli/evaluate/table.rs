//! The table of an evaluation, for eyes, programs and papers.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::comparable::{dialect, protocol, short};
use super::extractor::in_words;
use super::pairs::{self, Paired};
use super::reference::Described;
use crate::data::Sight;
use crate::experiment::Found;
use crate::export::{ExportError, atomically};
use crate::file::sha256;
use crate::metrics::words::{arrow, latex, latex_head, latex_number, with_interval};
use crate::metrics::{
    BINS, Interval, Metric, NEIGHBOURS, Number, PARTS, Report, SUBSET, SUBSETS, Set, Sure, agreement, confidence,
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

/// Parts of the table that says everything; all but the last ones are in those of earlier versions, too.
const PARTS_OF_JSON: [&str; 8] =
    ["lapidary", "extractor", "pictures", "reference", "protocol", "sets", COMPARABLE, SENTENCE];
/// Those that are in every one.
const PARTS_OF_ALL: usize = 6;
/// What was compared by what.
const SENTENCE: &str = "sentence";
/// What decides which numbers compare.
pub(super) const COMPARABLE: &str = "comparable";

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
            json.as_object().is_some_and(|json| json.keys().all(|part| PARTS_OF_JSON.contains(&part.as_str())))
                && PARTS_OF_JSON[..PARTS_OF_ALL].iter().all(|part| json.get(part).is_some())
        }),
        // Tables for papers are worked on.
        Some(Format::Latex) => text
            .strip_prefix(SEAL)
            .and_then(|rest| rest.split_once('\n'))
            .is_some_and(|(seal, body)| seal == sha256(&[body.as_bytes()])),
        None => false,
    }
}

/// What a table that says everything says of every set, pictures and numbers, and how it was measured; `None` when it is none.
pub(in crate::cli) fn read(path: &Path) -> Option<(Vec<Found>, String)> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let sure = |value: &Value, interval: &Value| {
        let [low, high] = [0, 1].map(|end| interval[end].as_f64());
        let interval = low.zip(high).map(|(low, high)| Interval { low, high });
        value.as_f64().map(|value| Sure { value, interval })
    };
    let number = |number: &Value| {
        let metric = Metric::ALL.into_iter().find(|metric| number["metric"] == metric.key())?;
        let of = sure(&number["value"], &number["interval"])?;
        Some(Number { metric, of, change: sure(&number["change"], &number["change_interval"]) })
    };
    let set = |set: &Value| {
        let numbers = set["numbers"].as_array()?.iter().filter_map(number).collect();
        Some(Found { pictures: usize::try_from(set["pictures"].as_u64()?).ok()?, numbers })
    };
    let sets: Option<Vec<_>> = json["sets"].as_array()?.iter().map(set).collect();
    Some((sets?, json[SENTENCE].as_str()?.to_owned()))
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
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    /// Name, SHA-256 of the weights, features of a picture.
    pub(super) extractor: (&'a str, &'a str, usize),
    /// The way that pictures took to it, where there are several.
    pub(super) dialect: Option<InceptionDialect>,
    /// What computed the features.
    pub(super) device: &'a str,
    /// `[H, W]` of all pictures.
    pub(super) size: [usize; 2],
    /// What the extractor does to that size.
    pub(super) resize: &'a str,
    /// The real pictures.
    pub(super) reference: &'a Described,
    /// Names of the extractor's classes.
    pub(super) classes: &'a [String],
    pub(super) sets: &'a [Set],
    /// Pictures of every set that were cropped or resized.
    pub(super) fitted: &'a [usize],
    /// Names of the files of every set that could not be read.
    pub(super) left_out: &'a [Vec<String>],
    pub(super) reports: &'a [Report],
    /// Of every set how it is beside its partners, if it has some.
    pub(super) paired: &'a [Option<Paired>],
    /// SHA-256 of the two files of LPIPS, where it was computed.
    pub(super) lpips: Option<&'a [String; 2]>,
}

impl Table<'_> {
    /// What was compared by what, in one sentence; with `pairs`, which sets are pairs of each other.
    fn protocol(&self, pairs: bool) -> String {
        let seen = in_words(self.extractor, self.dialect, self.size);
        let names: Vec<&str> = self.sets.iter().map(|set| set.name.as_str()).collect();
        let pairs = pairs::protocol(self.paired, pairs.then_some(names.as_slice()), self.lpips);
        let logits = if self.dialect.is_some() { ", of outputs without their bias" } else { "" };
        format!(
            "{seen}, against {}; ± is half a 95 % interval; kernel: {SUBSETS} pairs of at most {SUBSET} pictures; neighbours: {} for precision and recall, {} for density and coverage; Inception score: {PARTS} parts in the order of a hash of what is seen{logits}; calibration: {BINS} bins{pairs}",
            self.reference, NEIGHBOURS.0, NEIGHBOURS.1,
        )
    }

    /// Numbers of a set and of its pairs, each with how many of these it is of.
    fn numbers(&self, set: usize) -> impl Iterator<Item = (usize, &Number)> {
        let of_pairs = self.paired[set].iter().flat_map(|paired| paired.numbers.iter().map(|of| (paired.pairs, of)));
        let pictures = self.sets[set].features.len();
        self.reports[set].numbers.iter().map(move |of| (pictures, of)).chain(of_pairs)
    }

    fn number(&self, set: usize, metric: Metric) -> Option<&Number> {
        self.numbers(set).map(|(_, number)| number).find(|number| number.metric == metric)
    }

    fn metrics(&self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(|metric| (0..self.sets.len()).any(|set| self.number(set, *metric).is_some()))
    }

    /// For the terminal: a line for every number, a column for every set and for its change since the first.
    pub(super) fn text(&self) -> String {
        let mut columns: Vec<Vec<String>> = vec![vec![String::new(), "pictures".to_owned()]];
        for metric in self.metrics() {
            columns[0].push(format!("{} {}", metric.label(), arrow(metric)));
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
        format!("{text}\n{}", self.protocol(true))
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
            for (count, Number { metric, of, change }) in self.numbers(place) {
                let sure = |of: Option<Sure>| -> [String; 3] {
                    let end = |end: fn(Interval) -> f64| {
                        of.and_then(|of| of.interval).map_or_else(String::new, |interval| end(interval).to_string())
                    };
                    let value = of.map_or_else(String::new, |of| of.value.to_string());
                    [value, end(|interval| interval.low), end(|interval| interval.high)]
                };
                let better = if metric.larger_is_better() { "larger" } else { "smaller" };
                let before = [set.name.clone(), count.to_string(), metric.key().to_owned(), better.to_owned()];
                let protocol = [
                    name.to_owned(),
                    hash.to_owned(),
                    self.dialect.map_or("", InceptionDialect::key).to_owned(),
                    features.to_string(),
                    self.size[0].to_string(),
                    self.size[1].to_string(),
                    self.reference.files.clone(),
                    self.reference.count.map_or_else(String::new, |count| count.to_string()),
                ];
                let row = before.into_iter().chain(sure(Some(*of))).chain(sure(*change)).chain(protocol);
                written = written.and_then(|()| rows.write_record(row.collect::<Vec<_>>()));
            }
        }
        debug_assert!(written.is_ok(), "all rows have the header's length");
        String::from_utf8(rows.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let (name, sha256, features) = self.extractor;
        let interval = |sure: Sure| sure.interval.map(|interval| json!([interval.low, interval.high]));
        let Described { files, pictures, fitted, is_statistics, count, identity } = self.reference;
        let comparable = self.comparable();
        let sets = self.sets.iter().zip(self.reports).zip(self.fitted).enumerate();
        let sets = sets.map(|(place, ((set, report), fitted))| {
            let numbers = self.numbers(place).map(|(_, Number { metric, of, change })| {
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
                "fitted": fitted,
                "left_out": self.left_out[place],
                // That of all, and how many: what has the same compares, number by number.
                "comparable": short(&json!([comparable["hash"], set.features.len()])),
                "numbers": numbers.collect::<Vec<_>>(),
                "pairs": self.paired[place].as_ref().map(|paired| json!({
                    "with": self.sets[paired.with].name,
                    "pairs": paired.pairs,
                    "equal": paired.equal,
                })),
                "classes": self.by_class(set),
                "notes": report.notes,
            })
        });
        json!({
            "lapidary": env!("CARGO_PKG_VERSION"),
            "extractor": {
                "name": name,
                "sha256": sha256,
                "dialect": dialect(self.dialect),
                "features": features,
                "device": self.device,
            },
            "pictures": { "height": self.size[0], "width": self.size[1], "levels": Sight::LEVELS },
            "reference": {
                "files": files,
                "pictures": pictures,
                "fitted": fitted,
                "statistics": is_statistics.then(|| json!({ "pictures": count })),
                "sha256": identity,
            },
            "protocol": protocol(self.lpips, self.dialect),
            SENTENCE: self.protocol(false),
            "sets": sets.collect::<Vec<_>>(),
            COMPARABLE: comparable,
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
        let head: Vec<String> = metrics.iter().copied().map(latex_head).collect();
        // A name with a line break would end the comment.
        let mut text = String::new();
        let notes = self.reports.iter().flat_map(|report| &report.notes).map(|note| format!("warning: {note}"));
        for note in notes.chain([self.protocol(true)]) {
            let _infallible = writeln!(text, "% {}", note.replace(char::is_control, " "));
        }
        let _infallible = writeln!(
            text,
            "\\begin{{tabular}}{{lr{}}}\n\\toprule\n & pictures & {} \\\\\n\\midrule",
            "r".repeat(metrics.len()),
            head.join(" & ")
        );
        for (place, set) in self.sets.iter().enumerate() {
            let number = |metric: &Metric| self.number(place, *metric).map(|number| latex_number(number.of, *metric));
            let cell = |metric: &Metric| number(metric).unwrap_or_else(|| "--".to_owned());
            let cells: Vec<String> = metrics.iter().map(cell).collect();
            let _infallible =
                writeln!(text, "{} & {} & {} \\\\", latex(&set.name), set.features.len(), cells.join(" & "));
        }
        text += "\\bottomrule\n\\end{tabular}\n";
        format!("{SEAL}{}\n{text}", sha256(&[text.as_bytes()]))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::{Features, Real, compare};

    pub(in crate::cli::evaluate) fn set(name: &str, shift: f32) -> Set {
        let mut features = Features::new(2, 2);
        for i in 0..12 {
            let value = (i * 7 % 12) as f32 / 12.0;
            features.extend(&[value + shift, value * value], &[value, 1.0 - value]);
        }
        Set { name: name.to_owned(), features, labels: Some((0..12).map(|i| i % 2).collect()) }
    }

    #[test]
    fn the_same_numbers_stand_in_every_form() {
        let (real, sets) = (Real::of(set("real", 0.0).features), [set("a_1", 0.5), set("b", 0.25)]);
        let reports = compare(&real, &sets, &mut |_, _| true).unwrap();
        let (classes, reference) = (["x".to_owned(), "y".to_owned()], Described::of_some("real.npz", 12));
        let of_pairs = [(Metric::Psnr, 24.5, 1.5), (Metric::Flip, 0.125, 0.25), (Metric::Equal, 2.0, 0.0)];
        let numbers = of_pairs.map(|(metric, value, reach)| {
            let interval = (reach > 0.0).then_some(Interval { low: value - reach, high: value + reach });
            Number { metric, of: Sure { value, interval }, change: None }
        });
        let paired = [None, Some(Paired { with: 0, pairs: 11, equal: 2, numbers: numbers.to_vec() })];
        let table = Table {
            extractor: ("judge", "0123456789abcdef", 2),
            dialect: None,
            device: "a device",
            size: [8, 16],
            resize: "none",
            reference: &reference,
            classes: &classes,
            sets: &sets,
            fitted: &[0, 3],
            left_out: &[Vec::new(), vec!["torn.png".to_owned()]],
            reports: &reports,
            paired: &paired,
            lpips: None,
        };
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("a_1") && lines[0].contains("change"), "{text}");
        assert!(lines[2].starts_with("Fréchet distance ↓") && lines[2].contains("0.2500 ± "), "{text}");
        assert!(lines[2].contains("-0.1875 ± "), "0.0625 less 0.25: {text}");
        assert!(text.contains("(SHA-256 0123456789ab…) of 16×8 pictures") && text.contains("12 real ones"), "{text}");
        assert!(
            text.contains("\nPSNR, dB ↑") && text.contains("   24.50 ± 1.50") && text.contains("equal pairs ↑"),
            "{text}"
        );
        assert!(text.contains("pairs: b with a_1 (11 pairs)"), "{text}");
        let csv = table.csv();
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!(rows.len(), 1 + 2 * 10 + 3, "{csv}");
        assert!(csv.contains("\nb,11,psnr,larger,24.5,23,26,,,,"), "{csv}");
        assert!(csv.contains("\nb,11,equal_pairs,larger,2,,,,,,"), "{csv}");
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
        let inception =
            Table { dialect: Some(InceptionDialect::PytorchFid), resize: "pytorch-fid", classes: &[], ..table };
        let way = "judge in the dialect pytorch-fid, bilinear to 299×299 as PyTorch, 2 level / 255 - 1 (SHA-256 0123";
        assert!(inception.text().contains(way) && inception.text().contains("seen, of outputs without their bias;"));
        assert!(inception.csv().contains(",judge,0123456789abcdef,pytorch-fid,2,8,16,"), "{}", inception.csv());
        let said = inception.json();
        assert_eq!(said["extractor"]["dialect"]["name"], "pytorch-fid");
        assert_eq!(
            (&said["protocol"]["dialect"]["logits"], &said[COMPARABLE]["resize"]),
            (&json!("without bias"), &json!("pytorch-fid"))
        );
        assert_ne!(said[COMPARABLE]["hash"], json[COMPARABLE]["hash"], "two dialects do not compare");
        assert!(json["extractor"]["dialect"].is_null() && json["protocol"]["dialect"].is_null());
        assert_eq!((&json["sets"][1]["fitted"], &json["reference"]["pictures"]), (&3.into(), &12.into()));
        assert_eq!((&json["sets"][0]["left_out"], &json["sets"][1]["left_out"]), (&json!([]), &json!(["torn.png"])));
        assert_eq!(json["sets"][1]["pairs"], json!({ "with": "a_1", "pairs": 11, "equal": 2 }));
        assert!(json["sets"][0]["pairs"].is_null() && json["protocol"]["lpips"].is_null());
        let latex = table.latex();
        assert!(latex.contains("\na\\_1 & 12 & $0.2500 \\pm ") && latex.contains("\\,\\%"), "{latex}");
        assert_eq!(latex.matches(" & ").count(), 3 * (1 + 10 + 3));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        assert_eq!(read(&path), None);
        table.write(&path).unwrap();
        let (read, protocol) = read(&path).unwrap();
        let expected: Vec<Found> = (0..2)
            .map(|set| Found { pictures: 12, numbers: table.numbers(set).map(|(_, of)| *of).collect() })
            .collect();
        assert_eq!((read, protocol), (expected, table.protocol(false)));
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
