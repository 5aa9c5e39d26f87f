//! What a checkpoint says of itself: which training it is of, and what its files hold, so that a training goes on as the same or
//! not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TrainingError;
use crate::checkpoint::{Checkpoint, CheckpointError, unwatched};
use crate::file::sha256_of;
use crate::zoo::Model;

/// Its file; where it is, the checkpoint is whole.
pub(super) const ABOUT: &str = "training.json";

/// SHA-256 of everything that a training learns from, beside its configuration, by what it is.
pub(super) type Sources = BTreeMap<String, String>;

/// Name of the data set among the sources; models have those of their values in the configuration.
pub(super) const PICTURES: &str = "pictures";

/// What a checkpoint says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) step: u64,
    /// Version of the program.
    pub(super) lapidary: String,
    /// SHA-256 of the files that it is gone on from; those of earlier versions say none.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) sources: Sources,
    /// What must stay of the configuration, as TOML, whose numbers are read back to the last bit.
    #[serde(default)]
    pub(super) config: String,
}

impl Record {
    /// Reads it, and makes sure that the files of the checkpoint are those that were written; else says what is wrong.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let text = fs::read(folder.join(ABOUT)).map_err(|error| format!("{ABOUT} cannot be read: {error}"))?;
        let record: Self = serde_json::from_slice(&text).map_err(|_| format!("{ABOUT} is damaged"))?;
        for (name, expected) in &record.files {
            match sha256_of(&folder.join(name)) {
                Ok(found) if found == *expected => {}
                Ok(_) => return Err(format!("{name} holds other bytes than were written")),
                Err(error) => return Err(format!("{name} cannot be read: {error}")),
            }
        }
        Ok(record)
    }

    /// Refuses to go on with other pictures or models than the training was begun with.
    pub(super) fn check_sources(&self, now: &Sources, folder: &Path) -> Result<(), TrainingError> {
        let Some((what, _)) = self.sources.iter().find(|(what, sha256)| now.get(*what) != Some(*sha256)) else {
            return Ok(());
        };
        let what = match what.as_str() {
            PICTURES => "the pictures to learn from, or their labels, are".to_owned(),
            model => format!("what {model} names is"),
        };
        Err(TrainingError::Changed { path: folder.to_owned(), what })
    }
}

/// Opens a model that a training learns from, and notes what it is.
pub(super) fn open_source(sources: &mut Sources, name: &str, model: &Model) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = model.open()?;
    let sha256 = model.confirm(checkpoint.sha256(&mut unwatched)?)?;
    sources.insert(name.to_owned(), sha256);
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_whole_while_its_files_are_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let read = || Record::read(folder).map_err(|what| what.split(':').next().unwrap().to_owned());
        assert_eq!(read(), Err("training.json cannot be read".to_owned()));
        fs::write(folder.join("model.safetensors"), "weights").unwrap();
        let sha256 = sha256_of(&folder.join("model.safetensors")).unwrap();
        let files = BTreeMap::from([("model.safetensors".to_owned(), sha256)]);
        let record = Record { step: 7, files, ..Record::default() };
        fs::write(folder.join(ABOUT), serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(read(), Ok(record));
        fs::write(folder.join("model.safetensors"), "weighty").unwrap();
        assert_eq!(read(), Err("model.safetensors holds other bytes than were written".to_owned()));
        fs::remove_file(folder.join("model.safetensors")).unwrap();
        assert_eq!(read(), Err("model.safetensors cannot be read".to_owned()));
        fs::write(folder.join(ABOUT), r#"{ "step": 7, "lapidary": "0.1.0" }"#).unwrap();
        assert_eq!(read().unwrap().step, 7, "earlier versions said no more");
        fs::write(folder.join(ABOUT), "{").unwrap();
        assert_eq!(read(), Err("training.json is damaged".to_owned()));
    }

    #[test]
    fn a_training_goes_on_with_what_it_was_begun_with() {
        let sources = |pairs: &[(&str, &str)]| -> Sources {
            pairs.iter().map(|(what, sha256)| ((*what).to_owned(), (*sha256).to_owned())).collect()
        };
        let begun = sources(&[(PICTURES, "a"), ("objective.teacher", "b")]);
        let record = Record { sources: begun.clone(), ..Record::default() };
        let check = |now: &Sources| record.check_sources(now, Path::new("run")).map_err(|error| error.to_string());
        assert_eq!(check(&begun), Ok(()));
        let other = check(&sources(&[(PICTURES, "x"), ("objective.teacher", "b")])).unwrap_err();
        assert!(other.starts_with("the pictures to learn from, or their labels, are not what the training"), "{other}");
        let other = check(&sources(&[(PICTURES, "a")])).unwrap_err();
        assert!(other.starts_with("what objective.teacher names is not what the training"), "{other}");
    }
}
