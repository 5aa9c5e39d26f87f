//! The file that describes a training: read with a place for every mistake, filled in, and written back whole.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::TrainingError;
use super::told::Role;
use crate::data::Wanted;
use crate::file::{Place, text_of};
use crate::train::{ClassifierObjective, Course, Objective, OptimiserSettings, Problem, Variety};
use crate::zoo::{DiffusionManifest, ResnetManifest, UnetManifest};

/// A training: `N` describes the network, `O` what it is trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config<N, O> {
    /// Name of what is trained, in its manifest.
    pub(super) name: String,
    /// Terms of use of what is trained, in its manifest and its card.
    #[serde(default = "unknown")]
    pub(super) licence: String,
    /// Left out where a network has pictures of its own.
    #[serde(default, skip_serializing_if = "DataConfig::is_empty")]
    pub(super) data: DataConfig,
    pub(super) network: N,
    pub(super) objective: O,
    #[serde(default)]
    pub(super) course: Course,
    #[serde(default)]
    pub(super) optimiser: OptimiserSettings,
    #[serde(default)]
    pub(super) output: OutputConfig,
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Pictures to learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DataConfig {
    /// An archive, IDX files, or folders.
    pub(super) pictures: Vec<PathBuf>,
    /// Side of the pictures; without it an archive's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resolution: Option<usize>,
    /// Their width, where they are not square.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) width: Option<usize>,
    pub(super) channels: usize,
    /// Names of the classes; without them those that the data name.
    pub(super) classes: Vec<String>,
    /// How pictures are varied.
    pub(super) variety: Variety,
}

impl Default for DataConfig {
    fn default() -> Self {
        let (pictures, classes, variety) = (Vec::new(), Vec::new(), Variety::default());
        Self { pictures, resolution: None, width: None, channels: 3, classes, variety }
    }
}

impl DataConfig {
    fn problem(&self) -> Problem {
        if self.resolution.is_none() && self.width.is_some() {
            return Some(("width without resolution".to_owned(), "resolution is the height beside it"));
        }
        let sides = [("resolution", self.resolution), ("width", self.width)];
        let odd =
            sides.into_iter().find_map(|(what, side)| Some((what, side.filter(|side| !(1..=4096).contains(side))?)));
        odd.map(|(what, side)| (format!("{what} = {side}"), "it is from 1 to 4096 pixels"))
            .or_else(|| self.variety.problem())
    }

    /// Whether it says nothing.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is asked of the data set.
    pub(super) fn wanted(&self) -> Wanted {
        let size = self.resolution.map(|height| [height, self.width.unwrap_or(height)]);
        Wanted { size, channels: self.channels, classes: self.classes.clone() }
    }
}

/// What is kept while it trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OutputConfig {
    /// Steps from one checkpoint to the next.
    pub(super) every: u64,
    /// Checkpoints that stay; older ones are removed.
    pub(super) keep: usize,
    /// Pictures on the sheet that a generator makes with each, always of the same seeds; 0 for no sheet.
    pub(super) samples: u32,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { every: 1000, keep: 2, samples: 16 }
    }
}

/// A generator's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GeneratorNetwork {
    /// A generator whose weights are the first ones; without it they are random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// Whether it knows classes.
    #[serde(default = "yes")]
    pub(super) conditional: bool,
    /// Probability of dropout.
    #[serde(default)]
    pub(super) dropout: f64,
    /// The network; without it that of `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unet: Option<UnetManifest>,
    /// Noise levels and preconditioning; without it the usual ones of the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) diffusion: Option<DiffusionManifest>,
}

const fn yes() -> bool {
    true
}

/// A classifier's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassifierNetwork {
    /// A classifier whose weights are the first ones; without it they are random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// Probability of dropout.
    #[serde(default)]
    pub(super) dropout: f64,
    /// Mean and deviation per channel of pictures in `[0, 1]`; without them those of `from`, or 0.5 and 0.25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mean: Option<Vec<f32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) std: Option<Vec<f32>>,
    /// The network; without it that of `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resnet: Option<ResnetManifest>,
}

pub(super) type GeneratorConfig = Config<GeneratorNetwork, Objective>;
pub(super) type ClassifierConfig = Config<ClassifierNetwork, ClassifierObjective>;

/// What a part of a configuration knows of its own values.
pub(super) trait Check {
    fn problem(&self) -> Problem;
}

/// What a network is trained for.
pub(super) trait Goal: Check {
    /// What is trained for it.
    fn role(&self) -> Role;
}

impl Goal for Objective {
    fn role(&self) -> Role {
        if matches!(self, Self::Boosted(_)) { Role::Boosted } else { Role::Generator }
    }
}

impl Goal for ClassifierObjective {
    fn role(&self) -> Role {
        Role::Classifier
    }
}

/// What a configuration is of, by the network's table or by the kind of its objective.
pub(super) fn role_of(text: &str) -> Option<Role> {
    let table: toml::Table = text.parse().ok()?;
    let network = table.get("network").and_then(toml::Value::as_table);
    let has = |key: &str| network.is_some_and(|network| network.contains_key(key));
    let kind = table.get("objective").and_then(|objective| objective.get("kind")).and_then(toml::Value::as_str);
    match kind {
        Some("boosted") => Some(Role::Boosted),
        _ if has("unet") => Some(Role::Generator),
        _ if has("resnet") => Some(Role::Classifier),
        Some("plain" | "robust" | "joint") => Some(Role::Classifier),
        Some(
            "edm"
            | "consistency-training"
            | "consistency-distillation"
            | "easy-consistency"
            | "progressive-distillation",
        ) => Some(Role::Generator),
        _ => None,
    }
}

fn probability(what: &str, value: f64) -> Problem {
    (!(0.0..1.0).contains(&value)).then(|| (format!("{what} = {value}"), "it is at least 0 and below 1"))
}

impl Check for GeneratorNetwork {
    fn problem(&self) -> Problem {
        if self.from.is_none() && self.unet.is_none() {
            return Some((
                "neither from nor unet in [network]".to_owned(),
                "one of them says what the network is: a generator to begin from, or a table [network.unet]",
            ));
        }
        probability("dropout", self.dropout)
    }
}

impl Check for ClassifierNetwork {
    fn problem(&self) -> Problem {
        if self.from.is_none() && self.resnet.is_none() {
            return Some((
                "neither from nor resnet in [network]".to_owned(),
                "one of them says what the network is: a classifier to begin from, or a table [network.resnet]",
            ));
        }
        probability("dropout", self.dropout)
    }
}

impl Check for ClassifierObjective {
    fn problem(&self) -> Problem {
        Self::problem(self)
    }
}

impl Check for Objective {
    fn problem(&self) -> Problem {
        Self::problem(self)
    }
}

/// What may change while a training goes on, besides the number of its steps, how a step is cut into parts, and where its
/// pictures lie: others are told by their SHA-256.
const FREE: [&str; 3] = ["output", "optimiser", "licence"];

impl<N, O> Config<N, O>
where
    N: Check + Serialize + DeserializeOwned,
    O: Goal + Serialize + DeserializeOwned,
{
    /// Reads and checks the file at `path`, which is to be of this role.
    pub(super) fn read(path: &Path, wanted: Role) -> Result<Self, TrainingError> {
        let bytes = std::fs::read(path).map_err(|source| TrainingError::Read { path: path.to_owned(), source })?;
        let text = text_of(&bytes).map_err(|place| TrainingError::Encoding { path: path.to_owned(), place })?;
        if let Some(found) = role_of(text).filter(|role| *role != wanted) {
            return Err(TrainingError::Role { path: path.to_owned(), found, wanted });
        }
        let config: Self = toml::from_str(text).map_err(|source| {
            let path = path.to_owned();
            let before = source.span().and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
            TrainingError::Syntax { path, place: Place::behind(before), source: Box::new(source) }
        })?;
        match config.problem() {
            None => Ok(config),
            Some((what, expected)) => {
                let expected = expected.to_owned();
                Err(TrainingError::Value { path: path.to_owned(), what, expected })
            }
        }
    }

    /// What is trained.
    pub(super) fn role(&self) -> Role {
        self.objective.role()
    }

    fn problem(&self) -> Problem {
        let plain = self.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let name = (self.name.is_empty() || !plain)
            .then(|| (format!("name = {:?}", self.name), "a name is made of letters, digits, -, _ and ."));
        let pictures = if self.role() == Role::Boosted {
            let what = "something in [data]".to_owned();
            (!self.data.is_empty())
                .then_some((what, "this objective has pictures of its own: the generator's, refined"))
        } else {
            let what = "no pictures in [data]".to_owned();
            self.data.pictures.is_empty().then_some((what, "it names an .npz, IDX files, or folders of pictures"))
        };
        let channels = (!(1..=4).contains(&self.data.channels))
            .then(|| (format!("channels = {}", self.data.channels), "pictures have 1 to 4 channels"));
        let every = (self.output.every == 0 || self.output.keep == 0)
            .then(|| ("every or keep of 0 in [output]".to_owned(), "both are at least 1"));
        name.or(pictures)
            .or(channels)
            .or_else(|| self.data.problem())
            .or_else(|| self.network.problem())
            .or_else(|| self.objective.problem())
            .or_else(|| self.course.problem())
            .or_else(|| self.optimiser.problem())
            .or(every)
    }

    /// What must stay the same while the training goes on.
    pub(super) fn meaning(&self) -> toml::Table {
        let mut table = toml::Table::try_from(self).unwrap_or_default();
        for free in FREE {
            drop(table.remove(free));
        }
        for (part, free) in [("course", "steps"), ("course", "parts"), ("data", "pictures")] {
            if let Some(part) = table.get_mut(part).and_then(toml::Value::as_table_mut) {
                part.remove(free);
            }
        }
        let rule = toml::Value::try_from(self.optimiser.rule).ok();
        let rule =
            rule.map(|rule| ("optimiser".to_owned(), toml::Table::from_iter([("rule".to_owned(), rule)]).into()));
        table.extend(rule);
        table
    }

    /// Refuses to go on with a training that was begun as another: `begun` is its [`Self::meaning`].
    pub(super) fn check_same(&self, begun: &toml::Table, folder: &Path) -> Result<(), TrainingError> {
        match difference(begun, &self.meaning()) {
            None => Ok(()),
            Some(what) => Err(TrainingError::Other { path: folder.to_owned(), what }),
        }
    }

    /// The file with every value.
    pub(super) fn text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

/// The first value in which two tables differ, as `way.to.it = new (was old)`.
fn difference(old: &toml::Table, new: &toml::Table) -> Option<String> {
    let differs = |key: &&String| old.get(*key) != new.get(*key);
    let key = new.keys().chain(old.keys()).find(differs)?;
    match (old.get(key), new.get(key)) {
        (Some(toml::Value::Table(old)), Some(toml::Value::Table(new))) => {
            difference(old, new).map(|rest| format!("{key}.{rest}"))
        }
        (old, new) => {
            let words = |value: Option<&toml::Value>| value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            Some(format!("{key} = {} (was {})", words(new), words(old)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
        name = 'signs'
        data.pictures = ['signs.npz']
        objective.kind = 'edm'
        [network.unet]
        model_channels = 32
        num_res_blocks = 1
        channel_mult = [1]
        attention_downsample = []
        num_heads = 1
    ";

    fn read(text: &str) -> Result<GeneratorConfig, String> {
        read_as(Role::Generator, text)
    }

    fn read_as(wanted: Role, text: &str) -> Result<GeneratorConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        GeneratorConfig::read(&path, wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_written_back_with_every_value_and_read_again() {
        let config = read(SMALL).unwrap();
        let text = config.text().unwrap();
        for value in
            ["seed = 0", "steps = 20000", "rule = \"radam\"", "weighting = \"karras\"", "every = 1000", "flip = false"]
        {
            assert!(text.contains(value), "{value} is not in\n{text}");
        }
        assert_eq!(read(&text).unwrap(), config);
        let grid = read(&SMALL.replace("kind = 'edm'", "kind = 'consistency-training'")).unwrap();
        assert_eq!(read(&grid.text().unwrap()).unwrap(), grid);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place_or_its_value() {
        let refused = |from: &str, to: &str| {
            assert!(SMALL.contains(from), "{from}");
            read(&SMALL.replace(from, to)).unwrap_err()
        };
        assert!(refused("num_heads = 1", "num_hats = 1").contains("not valid in line"));
        assert!(refused("'signs'", "'a/b'").contains("name = \"a/b\""));
        assert!(refused("kind = 'edm'", "deviation = -1.0\nobjective.kind = 'edm'").contains("deviation = -1"));
        assert!(refused("objective", "course.batch = 0\nobjective").contains("batch = 0"));
        assert!(refused("objective", "optimiser.rate = 0.0\nobjective").contains("rate = 0"));
        assert!(refused("['signs.npz']", "[]").contains("no pictures in [data]"));
        for (line, expected) in [
            ("course.steps = 0", "steps = 0, but there are 1 to"),
            ("course.averages = [0.9, 0.5, 0.9]", "averages has 0.9 twice"),
            ("course.averages = [nan]", "averages has NaN"),
            ("optimiser.rate = nan", "rate = NaN"),
            ("optimiser.gamma = -0.1", "gamma = -0.1"),
            ("optimiser.weight_decay = -1.0", "weight_decay = -1"),
            ("optimiser.betas = [0.9, 1.0]", "betas has 1,"),
            ("network.dropout = 1.0", "dropout = 1,"),
            ("output.every = 0", "every or keep of 0"),
            ("data.resolution = 0", "resolution = 0, but it is from 1 to 4096 pixels"),
            ("data.width = 8", "width without resolution"),
            ("data.variety.shift = 9000", "shift = 9000"),
            ("objective.mean = nan", "mean = NaN"),
            ("objective.deviation = nan", "deviation = NaN"),
        ] {
            let error = refused("objective", &format!("{line}\nobjective"));
            assert!(error.starts_with("the configuration says ") && error.contains(expected), "{line}: {error}");
        }
        let bare = "name = 'a'\ndata.pictures = ['b']\nobjective.kind = 'edm'\n[network]";
        assert!(read(bare).unwrap_err().contains("neither from nor unet"));
    }

    #[test]
    fn the_readme_shows_whole_configurations() {
        let readme = include_str!("../../../README.md");
        let blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let shown: Vec<&str> = blocks.filter(|block| block.contains("[objective]")).collect();
        assert_eq!(shown.len(), 3);
        let generator = read(shown[0]).unwrap();
        assert_eq!(generator.optimiser.rate_at(20_000), 1e-4);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, shown[1]).unwrap();
        let classifier = ClassifierConfig::read(&path, Role::Classifier).unwrap();
        assert_eq!((classifier.data.classes.len(), classifier.data.channels), (10, 1));
        assert_eq!(toml::from_str::<ClassifierConfig>(&classifier.text().unwrap()).unwrap(), classifier);
        // Under its objective stands what there is by default.
        let boosted = read_as(Role::Boosted, shown[2]).unwrap();
        assert_eq!(boosted.objective, Objective::Boosted(crate::train::Boosting::default()));
    }

    #[test]
    fn a_configuration_of_something_else_is_named() {
        let refused = |wanted: Role, text: &str, advised: Role| {
            let error = read_as(wanted, text).unwrap_err();
            let [wanted, advised] = [wanted, advised].map(|role| format!("`lapidary train {}`", role.word()));
            let expected = format!("is for {advised}, not for {wanted}: use {advised} with it");
            assert!(error.contains(&expected), "{error}");
        };
        let joint = SMALL.replace("'edm'", "'joint'").replace("network.unet", "network.resnet");
        refused(Role::Generator, &joint, Role::Classifier);
        let bare = "name = 'a'\ndata.pictures = ['b']\nnetwork.from = 'c'\nobjective.kind = 'plain'";
        refused(Role::Boosted, bare, Role::Classifier);
        let boosted = SMALL.replace("'edm'", "'boosted'");
        refused(Role::Classifier, &boosted, Role::Boosted);
        refused(Role::Generator, &boosted, Role::Boosted);
        refused(Role::Boosted, SMALL, Role::Generator);
    }

    #[test]
    fn a_training_goes_on_with_other_lengths_and_rates_but_as_the_same() {
        let (begun, folder) = (read(SMALL).unwrap(), Path::new("run"));
        let mut other = begun.clone();
        (other.course.steps, other.optimiser.rate, other.output.keep) = (7, 0.5, 9);
        (other.course.parts, other.data.pictures) = (2, vec!["moved.npz".into()]);
        // As a checkpoint says it.
        let text = begun.meaning().to_string();
        let begun: toml::Table = text.parse().unwrap();
        assert!(other.check_same(&begun, folder).is_ok(), "{text}");
        let refused = |change: &dyn Fn(&mut GeneratorConfig)| {
            let mut other = other.clone();
            change(&mut other);
            other.check_same(&begun, folder).unwrap_err().to_string()
        };
        let seed = refused(&|other| other.course.seed = 1);
        assert!(seed.contains("begun with another course.seed = 1 (was 0), so it cannot go on"), "{seed}");
        let rule = refused(&|other| other.optimiser.rule = crate::train::Rule::Adam);
        assert!(rule.contains("another optimiser.rule = \"adam\" (was \"radam\")"), "{rule}");
        let new = refused(&|other| other.data.resolution = Some(8));
        assert!(new.contains("another data.resolution = 8 (was nothing)"), "{new}");
    }
}
