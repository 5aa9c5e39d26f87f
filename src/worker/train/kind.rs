//! A training's configuration, whatever is trained.

use std::path::Path;

use super::config::{ClassifierConfig, DataConfig, GeneratorConfig};
use super::error::TrainingError;
use super::told::{Role, TrainSettings};
use super::work::Ready;
use super::{boosted, classifier, config, generator};
use crate::data::DataSet;
use crate::worker::device::OpenDevice;

/// A training's configuration.
pub(super) enum AnyConfig {
    Generator(Box<GeneratorConfig>),
    Classifier(Box<ClassifierConfig>),
}

impl AnyConfig {
    /// Reads and checks the file at `path`, of what is trained or of what it describes.
    pub(super) fn read(role: Option<Role>, path: &Path) -> Result<Self, TrainingError> {
        let role = role.unwrap_or_else(|| role_of(path));
        Ok(match role {
            Role::Generator | Role::Boosted => Self::Generator(Box::new(GeneratorConfig::read(path, role)?)),
            Role::Classifier => Self::Classifier(Box::new(ClassifierConfig::read(path, role)?)),
        })
    }

    pub(super) fn role(&self) -> Role {
        match self {
            Self::Generator(config) => config.role(),
            Self::Classifier(config) => config.role(),
        }
    }

    pub(super) fn data(&mut self) -> &mut DataConfig {
        match self {
            Self::Generator(config) => &mut config.data,
            Self::Classifier(config) => &mut config.data,
        }
    }

    /// What stands for a data set where the network has pictures of its own.
    pub(super) fn own_pictures(&self, cache: &Path) -> anyhow::Result<Option<DataSet>> {
        match self {
            Self::Generator(config) => boosted::data(config, cache),
            Self::Classifier(_) => Ok(None),
        }
    }

    /// Makes everything ready.
    pub(super) fn ready(
        mut self,
        settings: &TrainSettings,
        data: DataSet,
        (open, cache): (&OpenDevice, &Path),
    ) -> anyhow::Result<Ready> {
        // What the pictures say is filled in.
        if !data.training.is_empty() {
            let ([_, h, w], own) = (data.shape(), self.data());
            own.resolution = Some(h);
            own.width = (w != h).then_some(w);
            own.classes.clone_from(&data.classes);
        }
        match self {
            Self::Generator(config) => generator::ready(settings, *config, data, (open, cache)),
            Self::Classifier(config) => classifier::ready(settings, *config, data, (&open.device, cache)),
        }
    }
}

/// What a file describes, a generator unless it tells of something else; what is wrong with it is said when it is read.
fn role_of(path: &Path) -> Role {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    config::role_of(&text).unwrap_or(Role::Generator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_by_itself_what_it_trains() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        for (text, role) in [
            ("[objective]\nkind = 'edm'", Role::Generator),
            ("[objective]\nkind = 'plain'", Role::Classifier),
            ("[objective]\nkind = 'boosted'", Role::Boosted),
            ("[network.unet]\nnum_heads = 1\n[objective]\nkind = 'boosted'", Role::Boosted),
            ("[network.resnet]\nblocks = [1]\n[objective]\nkind = 'plan'", Role::Classifier),
            ("no TOML", Role::Generator),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(role_of(&path), role, "{text}");
        }
    }

    #[test]
    fn every_example_can_be_begun() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let in_folder = |folder| std::fs::read_dir(examples.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = ["fashion", "losses"].into_iter().flat_map(in_folder).collect();
        assert_eq!(files.len(), 7, "{files:?}");
        for file in files {
            if let Err(error) = AnyConfig::read(None, &file) {
                panic!("{}: {error}", file.display());
            }
        }
    }
}
