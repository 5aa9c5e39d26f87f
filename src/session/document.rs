//! `session.json`: the readable half of a session: settings, seeds, hashes, versions. Enough to compute it again.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StorageError;
use super::provenance::Provenance;
use super::settings::Settings;
use crate::data::Part;
use crate::generator::EditSettings;
use crate::origins::Origins;
use crate::trace::{Change, RunId, StateId, Trace};
use crate::zoo::BUNDLED;

/// Value of `format`.
const FORMAT: &str = "lapidary-session";
/// Value of `version`.
const VERSION: u32 = 1;
/// Name of the description in a session file.
pub(super) const DOCUMENT: &str = "session.json";
/// Largest description that is read.
const MAX_BYTES: u64 = 64 << 20;

/// `session.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Always `lapidary-session`.
    pub format: String,
    /// Version of this format.
    pub version: u32,
    /// Everything the user set.
    pub settings: Settings,
    /// What computed it.
    pub provenance: Provenance,
    /// The pictures.
    #[serde(default)]
    pub samples: Vec<Sample>,
    /// The runs.
    #[serde(default)]
    pub runs: Vec<RunSummary>,
    /// Picture files that were given instead of generating, relative to this file.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Which of them were taken.
    #[serde(default, skip_serializing_if = "Part::is_all")]
    pub part: Part,
    /// Files of the real pictures that early stopping compared with, relative to this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Whether levels in archives were cut down instead of rounded.
    #[serde(default)]
    pub truncated: bool,
    /// How the pictures were edited; a description alone does not hold what they were edited from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditSettings>,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its seed.
    pub seed: u64,
    /// Its target class.
    pub label: usize,
    /// Its file, if it was opened.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// One run, without its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its name.
    pub id: RunId,
    /// Where it started.
    pub parent: Option<StateId>,
    /// Iterations behind its last state.
    pub last_iteration: u32,
    /// Its settings at the start.
    pub settings: crate::refiner::RefineSettings,
    /// Later settings.
    pub changes: Vec<Change>,
    /// What it is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
}

impl Document {
    /// Describes a session; model paths become relative to `folder`.
    #[must_use]
    pub fn new(
        settings: &Settings,
        provenance: &Provenance,
        origins: Option<&Origins>,
        trace: &Trace,
        folder: Option<&Path>,
    ) -> Self {
        let mut settings = settings.clone();
        if let Some(made_by) = origins.and_then(|origins| origins.made_by.as_ref()) {
            // Settings may have been edited since; the recipe is that of the pictures.
            settings.generate = made_by.clone();
        }
        let samples = origins.map_or_else(Vec::new, |origins| {
            let name = |i: usize| origins.names.get(i).cloned().unwrap_or_default();
            (0..origins.labels.len())
                .map(|i| Sample { seed: origins.seeds[i], label: origins.labels[i], name: name(i) })
                .collect()
        });
        let runs: Vec<RunSummary> = trace
            .runs()
            .map(|run| RunSummary {
                id: run.id,
                parent: run.parent,
                last_iteration: run.last_iteration().unwrap_or(run.first_iteration()),
                settings: run.settings.clone(),
                changes: run.changes.clone(),
                label: run.tag.label.clone(),
            })
            .collect();
        let edited = origins.and_then(|origins| origins.edited.as_ref()).map(|edited| edited.settings.clone());
        if let Some(edited) = &edited {
            settings.edit = edited.clone();
        }
        let document = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            settings,
            provenance: provenance.clone(),
            samples,
            runs,
            inputs: Vec::new(),
            part: Part::default(),
            references: Vec::new(),
            truncated: false,
            edited,
        };
        match folder {
            Some(folder) => document.relative_to(folder),
            None => document,
        }
    }

    /// The same with every path of a model as seen from `folder`.
    #[must_use]
    pub fn relative_to(&self, folder: &Path) -> Self {
        let mut document = self.clone();
        let Settings { generate, refine, .. } = &mut document.settings;
        let Provenance { generator, classifier, .. } = &mut document.provenance;
        let infos = generator.iter_mut().chain(classifier).map(|info| &mut info.reference);
        let runs = document.runs.iter_mut().flat_map(|run| {
            let later = run.changes.iter_mut().map(|change| &mut change.settings);
            later.chain([&mut run.settings]).map(|settings| &mut settings.classifier)
        });
        for model in [&mut generate.generator, &mut refine.classifier].into_iter().chain(infos).chain(runs) {
            *model = relative(model, folder);
        }
        document
    }

    /// The files that `listed` names, for a description that lies in `folder`.
    #[must_use]
    pub fn files(listed: &[String], folder: &Path) -> Vec<PathBuf> {
        listed.iter().map(|file| folder.join(file)).collect()
    }

    /// As text.
    ///
    /// # Panics
    /// Never: it holds finite numbers and strings only.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain values") + "\n"
    }

    /// Whether an open file holds a description and more, and not only a description.
    pub(super) fn is_packed(path: &Path, mut file: &File) -> Result<bool, StorageError> {
        let io = |source| StorageError::Read { path: path.to_owned(), source };
        let mut head = Vec::new();
        file.take(2).read_to_end(&mut head).map_err(io)?;
        file.rewind().map_err(io)?;
        Ok(head == *b"PK")
    }

    /// Reads the description of a session: the one in a `.lapidary` file, or a `session.json`; says whether it was packed.
    ///
    /// # Errors
    /// As [`Self::read`], and when the file cannot be read.
    pub fn open(path: &Path) -> Result<(Self, bool), StorageError> {
        let file = File::open(path).map_err(|source| StorageError::Read { path: path.to_owned(), source })?;
        if !Self::is_packed(path, &file)? {
            return Ok((Self::read(path, file)?, false));
        }
        let no_session = |_| StorageError::NotASession { path: path.to_owned() };
        let mut archive = zip::ZipArchive::new(file).map_err(no_session)?;
        Ok((Self::read(path, archive.by_name(DOCUMENT).map_err(no_session)?)?, true))
    }

    /// Reads and checks a description.
    ///
    /// # Errors
    /// [`StorageError`] when it is none, of a newer version, or has impossible settings.
    pub fn read(path: &Path, file: impl Read) -> Result<Self, StorageError> {
        let mut text = String::new();
        file.take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|_| StorageError::NotASession { path: path.to_owned() })?;
        let damaged = |what: String| StorageError::Damaged { path: path.to_owned(), what };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|_| StorageError::NotASession { path: path.to_owned() })?;
        if value.get("format").and_then(serde_json::Value::as_str) != Some(FORMAT) {
            return Err(StorageError::NotASession { path: path.to_owned() });
        }
        let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(damaged(format!(
                "it has version {version}, this program reads up to {VERSION}: update Lapidary"
            )));
        }
        let document: Self = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        document.settings.check().map_err(|error| damaged(error.to_string()))?;
        Ok(document)
    }
}

/// Whether a file is a session by its name: `.lapidary` or `.json`, in whatever case.
#[must_use]
pub fn is_session(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("lapidary") || kind.eq_ignore_ascii_case("json"))
}

fn is_bundled(reference: &str) -> bool {
    BUNDLED.iter().any(|bundled| bundled.name == reference)
}

/// A path as seen from `folder`; bundled names stay.
#[must_use]
pub fn relative(reference: &str, folder: &Path) -> String {
    if is_bundled(reference) {
        return reference.to_owned();
    }
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (file, folder) = without_detours(Path::new(reference), folder)
        .unwrap_or_else(|| (absolute(Path::new(reference)), absolute(folder)));
    let seen = pathdiff::diff_paths(file, folder);
    seen.map_or_else(|| reference.to_owned(), |path| path.to_string_lossy().replace('\\', "/"))
}

/// Both paths as the system knows them, for a file whose path goes up again; or the same recipe would name it by a longer way
/// each time. A link that is the file itself stays. `None` without a detour, or when something is not there.
fn without_detours(file: &Path, folder: &Path) -> Option<(PathBuf, PathBuf)> {
    if !file.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    let place = std::fs::canonicalize(file.parent()?).ok()?;
    Some((place.join(file.file_name()?), std::fs::canonicalize(folder).ok()?))
}

/// Undoes [`relative`] for a model of a session that lies in `folder`.
pub(super) fn absolute(reference: &str, folder: &Path) -> String {
    if is_bundled(reference) {
        return reference.to_owned();
    }
    folder.join(reference).to_string_lossy().into_owned()
}

/// Undoes [`relative`] after reading a session that lies in `folder`.
pub(crate) fn absolute_models(settings: &mut Settings, folder: &Path) {
    for reference in [&mut settings.generate.generator, &mut settings.refine.classifier] {
        *reference = absolute(reference, folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::RefineSettings;

    #[test]
    fn a_session_is_told_by_its_name_in_any_case() {
        assert!(["a.lapidary", "A.LAPIDARY", "b/session.Json"].iter().all(|name| is_session(Path::new(name))));
        assert!(!["a.png", "lapidary", "a.lapidary.npz", ""].iter().any(|name| is_session(Path::new(name))));
    }

    #[test]
    fn model_paths_travel_with_the_session() {
        let mut settings = Settings::default();
        settings.generate.generator = "/data/project/models/mine.pt".to_owned();
        let document = Document::new(
            &settings,
            &Provenance::new(),
            None,
            &Trace::default(),
            Some(Path::new("/data/project/runs")),
        );
        assert_eq!(document.settings.generate.generator, "../models/mine.pt");
        assert_eq!(document.settings.refine.classifier, "gtsrb12-joint");
        let mut back = document.settings;
        absolute_models(&mut back, Path::new("/elsewhere/runs"));
        assert_eq!(back.generate.generator, "/elsewhere/runs/../models/mine.pt");
    }

    #[test]
    fn no_description_names_a_folder_of_this_machine() {
        let with = |name: &str| RefineSettings { classifier: format!("/data/project/{name}"), ..Default::default() };
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, with("first.pt"));
        trace.change(RunId(1), Change { iteration: 0, settings: with("second.pt") });
        let settings = Settings { refine: with("third.pt"), ..Settings::default() };
        let folder = Some(Path::new("/data/project/runs"));
        let document = Document::new(&settings, &Provenance::new(), None, &trace, folder);
        assert_eq!(document.runs[0].settings.classifier, "../first.pt");
        assert_eq!(document.runs[0].changes[0].settings.classifier, "../second.pt");
        assert!(!document.to_json().contains("/data"), "{}", document.to_json());
    }

    #[test]
    fn a_description_of_an_earlier_version_took_all_pictures() {
        let document = Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), None);
        let mut json = serde_json::to_value(&document).unwrap();
        json.as_object_mut().unwrap().remove("truncated");
        assert!(json.get("part").is_none() && json.get("references").is_none());
        assert_eq!(serde_json::from_value::<Document>(json).unwrap(), document);
    }

    #[test]
    fn a_description_without_format_or_of_the_future_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Document::read(&path, File::open(&path).unwrap()).unwrap_err().to_string()
        };
        assert!(read("{}").contains("no Lapidary session"));
        assert!(read("<html>").contains("no Lapidary session"));
        assert!(read(r#"{"format": "lapidary-session", "version": 9}"#).contains("update Lapidary"));
    }
}
