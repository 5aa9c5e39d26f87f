//! The TOML record beside a checkpoint: what it holds and where it comes from.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inception::ExtractorManifest;
use crate::checkpoint::{CheckpointError, open_file};
use crate::file::{Place, text_of};
use crate::net::resnet::ResnetManifest;
use crate::net::unet::UnetManifest;

/// Largest manifest that is read; a thousand class names need a thirtieth of it.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// One model: its file, its network, and its origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Short name, used on the command line.
    pub name: String,
    /// Name in the window.
    pub title: String,
    /// File of the weights, relative to the manifest.
    pub file: String,
    /// SHA-256 of that file; checked when present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What stands before every name of the network in the file, where the file holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Height of the pictures in pixels, and their width unless [`Self::width`] says otherwise.
    pub resolution: usize,
    /// Width of the pictures in pixels, where they are not square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Channels: 1 for grey, 3 for red, green and blue; 2 and 4 have an alpha channel behind them.
    #[serde(default = "three")]
    pub channels: usize,
    /// Class names in the order of the labels; empty for an unconditional generator. In the file a list, or one of
    /// the words `imagenet` and `cifar10`.
    #[serde(default, with = "super::classes")]
    pub classes: Vec<String>,
    /// Where the weights come from and how they were made.
    pub source: String,
    /// Terms of use.
    pub licence: String,
    /// What the model is for.
    #[serde(flatten)]
    pub kind: ManifestKind,
}

const fn three() -> usize {
    3
}

/// What a model does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ManifestKind {
    /// Makes pictures.
    Generator(GeneratorManifest),
    /// Judges pictures.
    Classifier(ClassifierManifest),
    /// Sees in pictures what sets of them are compared by: Inception-2015.
    Extractor(ExtractorManifest),
}

/// A generator's network and how it is preconditioned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorManifest {
    /// The network.
    pub unet: UnetManifest,
    /// Noise levels and preconditioning.
    pub diffusion: DiffusionManifest,
}

/// A classifier's network and its input normalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassifierManifest {
    /// The network.
    pub resnet: ResnetManifest,
    /// Mean per channel, subtracted from `[0, 1]` input.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, which the difference is divided by.
    pub std: Vec<f32>,
}

/// Which preconditioning the network was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreconditioningName {
    /// Consistency models: `f(x, sigma_min) = x`.
    Consistency,
    /// Karras et al. 2022.
    Edm,
    /// Guided diffusion (Dhariwal and Nichol 2021): the noise is predicted at discrete steps.
    Discrete,
}

/// How much noise the steps of a discrete diffusion add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseSchedule {
    /// Variances that grow linearly (Ho, Jain, Abbeel 2020).
    #[default]
    Linear,
    /// Signal that falls like a squared cosine (Nichol and Dhariwal 2021).
    Cosine,
}

/// Noise levels and preconditioning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionManifest {
    /// Which formulas.
    pub preconditioning: PreconditioningName,
    /// Standard deviation of the data, in `[-1, 1]` units.
    #[serde(default = "half")]
    pub sigma_data: f64,
    /// Smallest noise level.
    #[serde(default = "sigma_min")]
    pub sigma_min: f64,
    /// Largest noise level.
    #[serde(default = "sigma_max")]
    pub sigma_max: f64,
    /// Exponent of the Karras schedule.
    #[serde(default = "rho")]
    pub rho: f64,
    /// Intermediate noise level of two-step sampling.
    #[serde(default = "two_step_sigma")]
    pub two_step_sigma: f64,
    /// The network's time is `time_scale * ln(sigma) / 4`: 1000 for OpenAI's networks, 1 for NVlabs' EDM.
    #[serde(default = "thousand")]
    pub time_scale: f64,
    /// Noise schedule of a discrete diffusion; other preconditionings have none.
    #[serde(default)]
    pub noise_schedule: NoiseSchedule,
    /// Steps that a discrete diffusion was trained with; other preconditionings have none.
    #[serde(default = "thousand_steps")]
    pub diffusion_steps: usize,
}

impl DiffusionManifest {
    /// With every default.
    #[must_use]
    pub const fn new(preconditioning: PreconditioningName) -> Self {
        Self {
            preconditioning,
            sigma_data: half(),
            sigma_min: sigma_min(),
            sigma_max: sigma_max(),
            rho: rho(),
            two_step_sigma: two_step_sigma(),
            time_scale: thousand(),
            noise_schedule: NoiseSchedule::Linear,
            diffusion_steps: thousand_steps(),
        }
    }
}

const fn half() -> f64 {
    0.5
}
const fn sigma_min() -> f64 {
    0.002
}
const fn sigma_max() -> f64 {
    80.0
}
const fn rho() -> f64 {
    7.0
}
/// ts 0,22,39 of 40, the published two-step setting of consistency distillation on ImageNet-64.
const fn two_step_sigma() -> f64 {
    1.382_367_96
}
const fn thousand() -> f64 {
    1000.0
}
const fn thousand_steps() -> usize {
    1000
}

impl Manifest {
    /// Parses and checks a manifest; `path` only names it in errors.
    ///
    /// # Errors
    /// [`CheckpointError::Manifest`] for bad TOML, [`CheckpointError::ManifestValue`] for values that cannot be.
    pub fn parse(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let refuse = |source: toml::de::Error| {
            let before = source.span().and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
            CheckpointError::Manifest { path: path.to_owned(), place: Place::behind(before), source: Box::new(source) }
        };
        let mut manifest: Self = toml::from_str(text).map_err(refuse)?;
        // What was understood would be written again, so whatever would not was not understood.
        let written = toml::Table::try_from(&manifest).unwrap_or_default();
        let said: toml::Table = toml::from_str(text).map_err(refuse)?;
        if let Some(key) = said.keys().find(|key| !written.contains_key(*key)) {
            let known = written.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let article = if matches!(manifest.kind, ManifestKind::Extractor(_)) { "an" } else { "a" };
            let expected =
                format!("{article} {} has no entries but {known}, sha256, width and prefix", manifest.role());
            return Err(CheckpointError::ManifestValue { path: path.to_owned(), what: key.clone(), expected });
        }
        manifest.check(path)?;
        if let Some(prefix) = manifest.prefix.as_mut().filter(|prefix| !prefix.is_empty() && !prefix.ends_with('.')) {
            prefix.push('.');
        }
        Ok(manifest)
    }

    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// As [`Self::parse`], and when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let read = |source| CheckpointError::Read { path: path.to_owned(), source };
        let mut text = Vec::new();
        open_file(path)?.take(MAX_MANIFEST_BYTES).read_to_end(&mut text).map_err(read)?;
        let text = text_of(&text).map_err(|place| CheckpointError::Encoding { path: path.to_owned(), place })?;
        Self::parse(text, path)
    }

    /// `[H, W]` of the pictures.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        [self.resolution, self.width.unwrap_or(self.resolution)]
    }

    /// `[C, H, W]` of a picture.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        let [h, w] = self.size();
        [self.channels, h, w]
    }

    /// "generator", "classifier" or "extractor".
    #[must_use]
    pub const fn role(&self) -> &'static str {
        match self.kind {
            ManifestKind::Generator(_) => "generator",
            ManifestKind::Classifier(_) => "classifier",
            ManifestKind::Extractor(_) => "extractor",
        }
    }

    /// Refuses values that cannot be; `path` only names the manifest in errors.
    pub(super) fn check(&self, path: &Path) -> Result<(), CheckpointError> {
        let problem = self.problem();
        problem.map_or(Ok(()), |(what, expected)| {
            Err(CheckpointError::ManifestValue { path: path.to_owned(), what, expected: expected.to_owned() })
        })
    }
}

/// The path from the root, with a name at its end wherever there is one: that of the working directory for `.`.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if !absolute.components().any(|part| part == Component::ParentDir) {
        return absolute;
    }
    // A link keeps its own name: that of its target may be a hash.
    let resolved = match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => folder.canonicalize().map(|folder| folder.join(name)),
        _ => absolute.canonicalize(),
    };
    resolved.unwrap_or(absolute)
}

/// Where the manifest of a file or folder lies: `mine.toml` beside `mine.pt`, `cd.toml` beside the folder `cd`.
#[must_use]
pub fn manifest_beside(path: &Path) -> PathBuf {
    let path = absolute(path);
    match path.file_name() {
        // The dots in a folder's name are part of it.
        Some(name) if path.is_dir() => {
            let mut name = name.to_owned();
            name.push(".toml");
            path.with_file_name(name)
        }
        Some(_) => path.with_extension("toml"),
        None => path.join("manifest.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{BUNDLED, bundled_manifest, classes};

    #[test]
    fn a_manifest_is_read_back_as_it_was_written_and_may_name_its_classes_by_a_word() {
        for bundled in &BUNDLED {
            let mut manifest = bundled_manifest(bundled);
            for word in ["", "imagenet", "cifar10"] {
                manifest.classes = classes::built_in(word).unwrap_or(manifest.classes);
                let text = toml::to_string(&manifest).unwrap();
                assert_eq!(text.contains(&format!("classes = \"{word}\"")), !word.is_empty(), "{text}");
                assert_eq!(Manifest::parse(&text, Path::new("written.toml")).unwrap(), manifest, "{text}");
            }
        }
    }

    #[test]
    fn what_an_editor_saved_is_read_or_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let text = toml::to_string(&bundled_manifest(&BUNDLED[0])).unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Manifest::read(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read(format!("\u{feff}{text}").as_bytes()), read(text.as_bytes()), "Windows' editors write a mark");
        let latin = read(b"name = \"mine\"\ntitle = \"caf\xe9\"\n").unwrap_err();
        assert!(latin.contains("no UTF-8 text in line 2, column 13") && latin.contains("save it as UTF-8"), "{latin}");
        let twice = read(format!("{text}\n[twice]\nname = 1\nname = 2\n").as_bytes()).unwrap_err();
        assert!(twice.contains("this entry stands there for the second time"), "{twice}");
        let lacking = read(b"name = \"mine\"\ntitle = \n").unwrap_err();
        assert!(lacking.contains("the manifest is not valid in line 2, column 9"), "{lacking}");
        let json = folder.path().join("config.json");
        std::fs::write(&json, "{\n \"a\": 1,,\n}").unwrap();
        let error = crate::zoo::config::read_json(&json).unwrap_err().to_string();
        assert!(error.contains("no valid JSON in line 2, column 9"), "{error}");
        std::fs::write(&json, "\u{feff}{\"a\": 1}").unwrap();
        assert_eq!(crate::zoo::config::read_json(&json).unwrap()["a"], 1);
    }
}
