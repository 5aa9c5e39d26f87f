//! The file of an experiment.

use std::path::PathBuf;

use serde::Deserialize;

use super::ExperimentError;
use crate::metrics::Metric;

/// The name of what is not refined.
pub const NONE: &str = "none";

/// Flags that the experiment sets itself, and what to do instead.
const OWN: [(&str, &str); 8] = [
    ("seeds", "say `seeds` at the top of the file, so that all cells have the same pictures"),
    ("samples", "say `seeds` at the top of the file, so that all cells have the same pictures"),
    ("out", "give the command --out, and every cell has a folder there"),
    ("session", "its pictures are generated; write the session's settings as flags here"),
    ("overwrite", "give another --out, or remove the cell's folder"),
    ("resume", "what is done is always gone on with"),
    ("dry-run", "give it to the command itself"),
    ("quiet", "give it to the command itself"),
];

/// An experiment as its file says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    seeds: Option<String>,
    reference: Vec<PathBuf>,
    extractor: Option<String>,
    #[serde(default)]
    metrics: Vec<String>,
    #[serde(default)]
    flags: toml::Table,
    #[serde(default)]
    generator: Vec<DeclaredVariant>,
    #[serde(default)]
    refinement: Vec<DeclaredVariant>,
    #[serde(default)]
    published: Vec<Published>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct DeclaredVariant {
    name: String,
    #[serde(default)]
    each: toml::Table,
    #[serde(flatten)]
    flags: toml::Table,
}

/// A value that somebody published, to be shown beside ours.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The generator's name here.
    pub generator: String,
    /// The refinement's name here, or `none`.
    pub refinement: String,
    /// Key of the metric.
    pub metric: String,
    /// The value.
    pub value: f64,
    /// Paper and table.
    pub source: String,
}

/// The flag of pictures that are opened instead of generated.
const INPUT: &str = "--input=";

/// A generator or a refinement: its name, and flags with their values. A generator may stand for pictures that it made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// What it is called in the table.
    pub name: String,
    /// Flags as the command line takes them.
    pub flags: Vec<String>,
}

/// A generator with a refinement, or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// What makes the pictures.
    pub generator: &'a Variant,
    /// What refines them.
    pub refinement: Option<&'a Variant>,
}

/// What is compared with what, and by which numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// What it is called.
    pub name: String,
    /// Seeds of the pictures of every cell whose pictures are generated, as the flag takes them.
    pub seeds: Option<String>,
    /// The real pictures.
    pub reference: Vec<PathBuf>,
    /// What sees the pictures; the one of `evaluate` where none is named.
    pub extractor: Option<String>,
    /// The numbers of the table; all that can be had where none is named.
    pub metrics: Vec<Metric>,
    /// Flags of all cells.
    pub flags: Vec<String>,
    /// What makes pictures.
    pub generators: Vec<Variant>,
    /// What refines them.
    pub refinements: Vec<Variant>,
    /// Values of others.
    pub published: Vec<Published>,
}

impl Experiment {
    /// Reads the text of a file; paths in it stay as they are written.
    ///
    /// # Errors
    /// [`ExperimentError`] says what to correct. Whether a flag exists is known to the command line alone.
    pub fn read(text: &str) -> Result<Self, ExperimentError> {
        let declared: Declared = toml::from_str(text).map_err(Box::new)?;
        let metrics = declared.metrics.iter().map(|found| metric(found)).collect::<Result<_, _>>()?;
        let experiment = Self {
            flags: flags_of("flags", &declared.flags)?,
            generators: variants("generator", &declared.generator)?,
            refinements: variants("refinement", &declared.refinement)?,
            name: declared.name,
            seeds: declared.seeds,
            reference: declared.reference,
            extractor: declared.extractor,
            metrics,
            published: declared.published,
        };
        experiment.check_published()?;
        experiment.check_pictures()?;
        Ok(experiment)
    }

    /// Every generator with every refinement, generator by generator; alone where there is no refinement at all, for every
    /// refinement has the pictures before it as well.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.generators.iter().flat_map(|generator| {
            let alone = self.refinements.is_empty().then_some(Cell { generator, refinement: None });
            let refined =
                self.refinements.iter().map(move |refinement| Cell { generator, refinement: Some(refinement) });
            refined.chain(alone)
        })
    }

    /// The command of a cell, without the program's name and the folder of its results.
    #[must_use]
    pub fn command(&self, cell: Cell<'_>) -> Vec<String> {
        let command = if cell.refinement.is_some() { "refine" } else { "generate" };
        let refinement = cell.refinement.map_or(&[][..], |refinement| &refinement.flags);
        let seeds = self.seeds.iter().filter(|_| !cell.generator.is_opened()).map(|seeds| format!("--seeds={seeds}"));
        let own = cell.generator.flags.iter().chain(refinement);
        [command.to_owned()].into_iter().chain(seeds).chain(self.flags.iter().chain(own).cloned()).collect()
    }

    /// Every cell must have pictures, and something to do with them.
    fn check_pictures(&self) -> Result<(), ExperimentError> {
        let opens = |variant: &&Variant| variant.is_opened();
        if self.generators.is_empty() {
            return Err(ExperimentError::NoGenerator);
        }
        if let Some(Variant { name, .. }) = self.refinements.iter().find(opens) {
            let (flag, instead) = ("input".to_owned(), "say it at a [[generator]], which stands for what made them");
            return Err(ExperimentError::Own { name: name.clone(), flag, instead });
        }
        if let Some(Variant { name, .. }) = self.generators.iter().find(opens).filter(|_| self.refinements.is_empty()) {
            return Err(ExperimentError::NoRefinement { name: name.clone() });
        }
        match self.generators.iter().find(|generator| !generator.is_opened()) {
            Some(Variant { name, .. }) if self.seeds.is_none() => Err(ExperimentError::NoSeeds { name: name.clone() }),
            _ => Ok(()),
        }
    }

    fn check_published(&self) -> Result<(), ExperimentError> {
        let has = |all: &[Variant], name: &str| all.iter().any(|variant| variant.name == name);
        for Published { generator, refinement, metric: key, .. } in &self.published {
            metric(key)?;
            let is_refined = refinement == NONE || has(&self.refinements, refinement);
            if !has(&self.generators, generator) || !is_refined {
                return Err(ExperimentError::Published { of: format!("{generator}, {refinement}") });
            }
        }
        Ok(())
    }
}

impl Variant {
    /// Whether its pictures are opened.
    fn is_opened(&self) -> bool {
        self.flags.iter().any(|flag| flag.starts_with(INPUT))
    }
}

impl Cell<'_> {
    /// A name for its folder: letters and digits of its two names.
    #[must_use]
    pub fn slug(&self) -> String {
        let names = [Some(self.generator), self.refinement].into_iter().flatten();
        let slugs: Vec<String> = names.map(|variant| slug(&variant.name)).collect();
        slugs.join("--")
    }
}

/// The metric of a key.
fn metric(found: &str) -> Result<Metric, ExperimentError> {
    Metric::ALL.into_iter().find(|metric| metric.key() == found).ok_or_else(|| {
        let known: Vec<&str> = Metric::ALL.iter().map(|metric| metric.key()).collect();
        ExperimentError::Metric { found: found.to_owned(), known: known.join(", ") }
    })
}

/// Letters and digits in lower case, with `-` for what stands between them.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

/// Those that are declared, each in all combinations of what its `each` lists.
fn variants(what: &'static str, declared: &[DeclaredVariant]) -> Result<Vec<Variant>, ExperimentError> {
    let mut all: Vec<Variant> = Vec::new();
    for DeclaredVariant { name, each, flags } in declared {
        if slug(name).is_empty() {
            return Err(ExperimentError::NoName { what, name: name.clone() });
        }
        let first = Variant { name: name.clone(), flags: flags_of(name, flags)? };
        let mut own = vec![first];
        for (flag, values) in each {
            let values = values.as_array().filter(|values| !values.is_empty());
            let values = values.ok_or_else(|| ExperimentError::Each { name: name.clone(), flag: flag.clone() })?;
            own = with_each(&own, flag, values)?;
        }
        for variant in own {
            // Folders are named after them, and some file systems know no upper case.
            let is_same = |other: &Variant| slug(&other.name) == slug(&variant.name);
            if what == "refinement" && slug(&variant.name) == NONE {
                return Err(ExperimentError::NameOfNone { name: variant.name });
            }
            if all.iter().any(is_same) {
                return Err(ExperimentError::SameName { what, name: variant.name });
            }
            all.push(variant);
        }
    }
    Ok(all)
}

/// Every variant with every value of one more flag.
fn with_each(variants: &[Variant], flag: &str, values: &[toml::Value]) -> Result<Vec<Variant>, ExperimentError> {
    let mut all = Vec::new();
    for Variant { name, flags } in variants {
        for value in values {
            let added = flag_of(name, flag, value)?;
            let name = format!("{name}, {} {}", flag.replace('-', " "), shown(value));
            all.push(Variant { name, flags: [flags.as_slice(), &added].concat() });
        }
    }
    Ok(all)
}

fn flags_of(name: &str, table: &toml::Table) -> Result<Vec<String>, ExperimentError> {
    let flags: Result<Vec<Vec<String>>, _> = table.iter().map(|(flag, value)| flag_of(name, flag, value)).collect();
    flags.map(|flags| flags.concat())
}

/// A flag with its value, as the command line takes them.
fn flag_of(name: &str, flag: &str, value: &toml::Value) -> Result<Vec<String>, ExperimentError> {
    if let Some((_, instead)) = OWN.iter().find(|(own, _)| *own == flag) {
        return Err(ExperimentError::Own { name: name.to_owned(), flag: flag.to_owned(), instead });
    }
    let is_plain = |value: &toml::Value| !matches!(value, toml::Value::Array(_) | toml::Value::Table(_));
    let is_list = value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(is_plain));
    match value {
        toml::Value::Boolean(true) => Ok(vec![format!("--{flag}")]),
        value if is_plain(value) || is_list => Ok(vec![format!("--{flag}={}", shown(value))]),
        value => {
            let (name, flag, found) = (name.to_owned(), flag.to_owned(), value.to_string());
            Err(ExperimentError::Value { name, flag, found })
        }
    }
}

/// A value as somebody types it behind a flag.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
name = "small"
seeds = "0..8"
reference = ["real.npz"]
metrics = ["frechet_distance", "recall"]

[flags]
device = "cpu"

[[generator]]
name = "CM"
generator = "gtsrb12-cm"
each = { steps = [1, 2] }

[[refinement]]
name = "joint"
radius = 3
step-size = "0.1x"
debias = true
classes = ["stop", "yield"]

[[refinement]]
name = "Robust!"
classifier = "gtsrb12-robust"

[[published]]
generator = "CM, steps 1"
refinement = "none"
metric = "frechet_distance"
value = 6.2
source = "Song et al. 2023, table 2"
"#;

    #[test]
    fn every_generator_meets_every_refinement_in_the_words_of_the_command_line() {
        let experiment = Experiment::read(FILE).unwrap();
        let cells: Vec<Cell<'_>> = experiment.cells().collect();
        let slugs: Vec<String> = cells.iter().map(Cell::slug).collect();
        assert_eq!(slugs, ["cm-steps-1--joint", "cm-steps-1--robust", "cm-steps-2--joint", "cm-steps-2--robust"]);
        let command = experiment.command(cells[2]).join(" ");
        assert_eq!(
            command,
            "refine --seeds=0..8 --device=cpu --generator=gtsrb12-cm --steps=2 --classes=stop,yield --debias --radius=3 --step-size=0.1x"
        );
        assert_eq!(experiment.metrics, [Metric::Frechet, Metric::Recall]);
        let alone = FILE.split("[[refinement]]").next().unwrap();
        let alone = Experiment::read(alone).unwrap();
        assert_eq!(alone.cells().map(|cell| cell.slug()).collect::<Vec<_>>(), ["cm-steps-1", "cm-steps-2"]);
        assert!(alone.command(alone.cells().next().unwrap()).starts_with(&["generate".to_owned()]));
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        for (old, new, expected) in [
            ("\"CM\"", "\"??\"", "needs at least one letter"),
            ("\"Robust!\"", "\"Joint\"", "two of the refinements are called \"Joint\""),
            ("\"Robust!\"", "\"None\"", "what is not refined is called so already"),
            ("radius = 3", "radius = [[3]]", "radius of \"joint\" is [[3]]"),
            ("radius = 3", "seeds = \"0..9\"", "--seeds stands at \"joint\", but the experiment sets it: say `seeds`"),
            ("{ steps = [1, 2] }", "{ steps = [] }", "`each` of \"CM\" gives steps no value"),
            ("{ steps = [1, 2] }", "{ steps = 1 }", "`each` of \"CM\" gives steps no value"),
            ("\"recall\"", "\"fid\"", "\"fid\" is no metric: choose among frechet_distance, spatial_frechet_distance"),
            ("\"CM, steps 1\"", "\"CM\"", "the published value of \"CM, none\" belongs to no cell"),
            ("metric = \"frechet_distance\"", "metric = \"fid\"", "\"fid\" is no metric"),
            ("seeds = \"0..8\"\n", "", "\"CM, steps 1\" generates pictures, but the experiment has no seeds"),
            ("radius = 3", "input = \"a.npz\"", "--input stands at \"joint\", but the experiment sets it: say it at a"),
            ("name = \"small\"", "nane = \"small\"", "cannot be understood"),
        ] {
            assert!(FILE.contains(old), "{old}");
            let error = Experiment::read(&FILE.replacen(old, new, 1)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let opened = FILE.replace("generator = \"gtsrb12-cm\"", "input = \"a.npz\"").replace("seeds = \"0..8\"\n", "");
        let opened = Experiment::read(&opened).unwrap();
        assert!(opened.command(opened.cells().next().unwrap()).contains(&"--input=a.npz".to_owned()));
        let alone = FILE.replace("generator = \"gtsrb12-cm\"", "input = \"a.npz\"");
        let alone = alone.split("[[refinement]]").next().unwrap();
        assert!(matches!(Experiment::read(alone), Err(ExperimentError::NoRefinement { .. })));
        let without = FILE.split("[[generator]]").next().unwrap();
        assert!(matches!(Experiment::read(without), Err(ExperimentError::NoGenerator)));
    }
}
