//! The file that describes a training: read with a place for every mistake, filled in, and written back whole.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::TrainingError;
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
    /// An archive, or folders.
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

/// What a kind of network knows of its own values.
pub(super) trait Check {
    fn problem(&self) -> Problem;

    /// Whether there are pictures to learn from without any in [data].
    fn has_pictures(&self) -> bool {
        false
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

    fn has_pictures(&self) -> bool {
        matches!(self, Self::Boosted(_))
    }
}

impl<N: Check + Serialize + DeserializeOwned, O: Check + Serialize + DeserializeOwned> Config<N, O> {
    /// Reads and checks the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, TrainingError> {
        let bytes = std::fs::read(path).map_err(|source| TrainingError::Read { path: path.to_owned(), source })?;
        let text = text_of(&bytes).map_err(|place| TrainingError::Encoding { path: path.to_owned(), place })?;
        let config: Self = toml::from_str(text).map_err(|source| {
            let before = source.span().and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
            let place = Place::behind(before);
            TrainingError::Syntax { path: path.to_owned(), place, source: Box::new(source) }
        })?;
        match config.problem() {
            None => Ok(config),
            Some((what, expected)) => {
                let expected = expected.to_owned();
                Err(TrainingError::Value { path: path.to_owned(), what, expected })
            }
        }
    }

    fn problem(&self) -> Problem {
        let positive = |what: &str, value: f64| {
            (!(value > 0.0 && value.is_finite())).then(|| (format!("{what} = {value}"), "it is a positive number"))
        };
        let plain = self.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let name = (self.name.is_empty() || !plain)
            .then(|| (format!("name = {:?}", self.name), "a name is made of letters, digits, -, _ and ."));
        let pictures = if self.objective.has_pictures() {
            let what = "something in [data]".to_owned();
            (!self.data.is_empty())
                .then_some((what, "this objective has pictures of its own: the generator's, refined"))
        } else {
            let what = "no pictures in [data]".to_owned();
            self.data.pictures.is_empty().then_some((what, "it names an .npz, or folders of pictures"))
        };
        let channels = (!(1..=4).contains(&self.data.channels))
            .then(|| (format!("channels = {}", self.data.channels), "pictures have 1 to 4 channels"));
        let odd = self.optimiser.betas.iter().find(|beta| !(0.0..1.0).contains(*beta));
        let betas = odd.map(|beta| (format!("betas has {beta}"), "both are at least 0 and below 1"));
        let every = (self.output.every == 0 || self.output.keep == 0)
            .then(|| ("every or keep of 0 in [output]".to_owned(), "both are at least 1"));
        name.or(pictures)
            .or(channels)
            .or_else(|| self.network.problem())
            .or_else(|| self.objective.problem())
            .or_else(|| self.course.problem())
            .or_else(|| positive("rate", self.optimiser.rate))
            .or_else(|| positive("epsilon", self.optimiser.epsilon))
            .or_else(|| self.optimiser.clip.and_then(|clip| positive("clip", clip)))
            .or(betas)
            .or(every)
    }

    /// Refuses to go on with a training of which more differs than its length, its optimiser's numbers and what is kept.
    pub(super) fn check_same(&self, begun: &Self, folder: &Path) -> Result<(), TrainingError> {
        let table = |config: &Self| {
            let mut table = toml::Table::try_from(config).unwrap_or_default();
            for free in ["output", "optimiser", "licence"] {
                table.remove(free);
            }
            if let Some(course) = table.get_mut("course").and_then(toml::Value::as_table_mut) {
                course.remove("steps");
            }
            table
        };
        let (mine, theirs) = (table(self), table(begun));
        let differs = mine.iter().find(|(key, value)| theirs.get(*key) != Some(*value)).map(|(key, _)| key.clone());
        let rule = (self.optimiser.rule != begun.optimiser.rule).then(|| "rule".to_owned());
        match differs.or(rule) {
            None => Ok(()),
            Some(what) => Err(TrainingError::Other { path: folder.to_owned(), what }),
        }
    }

    /// The file with every value.
    pub(super) fn text(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        GeneratorConfig::read(&path).map_err(|error| error.to_string())
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
        let bare = "name = 'a'\ndata.pictures = ['b']\nobjective.kind = 'edm'\n[network]";
        assert!(read(bare).unwrap_err().contains("neither from nor unet"));
    }

    #[test]
    fn a_training_goes_on_with_other_lengths_and_rates_but_as_the_same() {
        let (begun, folder) = (read(SMALL).unwrap(), Path::new("run"));
        let mut other = begun.clone();
        (other.course.steps, other.optimiser.rate, other.output.keep) = (7, 0.5, 9);
        assert!(other.check_same(&begun, folder).is_ok());
        other.course.seed = 1;
        let error = other.check_same(&begun, folder).unwrap_err().to_string();
        assert!(error.contains("begun with another course"), "{error}");
    }
}
