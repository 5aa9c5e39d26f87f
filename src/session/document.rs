//! `session.json`: the readable half of a session: settings, seeds, hashes, versions. Enough to compute it again.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StorageError;
use super::moved::absolute_path;
use super::provenance::Provenance;
use super::settings::Settings;
use crate::data::Part;
use crate::file::{Place, text_of};
use crate::generator::EditSettings;
use crate::origins::Origins;
use crate::refiner::RefineSettings;
use crate::trace::{Change, RunId, StateId, Trace, as_done};
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
    /// SHA-256 of each of them; empty for those that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_hashes: Vec<String>,
    /// The picture that said which pixels to generate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskFile>,
    /// Pictures that were asked for, where they are more than are held at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Which of them were taken.
    #[serde(default, skip_serializing_if = "Part::is_all")]
    pub part: Part,
    /// Files of the real pictures that early stopping compared with, relative to this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// SHA-256 of each file of them, those in folders too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reference_hashes: Vec<String>,
    /// Whether levels in archives were cut down instead of rounded.
    #[serde(default)]
    pub truncated: bool,
    /// The run, and the place on its way from the origin, that were looked at when it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<StateId>,
    /// The picture that was looked at then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<usize>,
    /// The published settings that those of the refinement come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How the pictures were edited; a description alone does not hold what they were edited from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditSettings>,
}

/// A mask that was given as a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskFile {
    /// Where it is, relative to the description.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
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

impl Sample {
    /// What is listed of pictures.
    #[must_use]
    pub fn all(origins: &Origins) -> Vec<Self> {
        let name = |i: usize| origins.names.get(i).cloned().unwrap_or_default();
        (0..origins.labels.len())
            .map(|i| Self { seed: origins.seeds[i], label: origins.labels[i], name: name(i) })
            .collect()
    }
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
    /// Its settings at the start, with the iterations that were done.
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
        let samples = origins.map_or_else(Vec::new, Sample::all);
        let runs: Vec<RunSummary> = trace
            .runs()
            .map(|run| {
                let last_iteration = run.last_iteration().unwrap_or(run.first_iteration());
                let done = |settings: &RefineSettings| as_done(settings, last_iteration);
                let changed = |change: &Change| Change { settings: done(&change.settings), ..*change };
                RunSummary {
                    id: run.id,
                    parent: run.parent,
                    last_iteration,
                    settings: done(&run.settings),
                    changes: run.changes.iter().map(changed).collect(),
                    label: run.tag.label.clone(),
                }
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
            input_hashes: Vec::new(),
            mask: None,
            count: None,
            part: Part::default(),
            references: Vec::new(),
            reference_hashes: Vec::new(),
            truncated: false,
            shown: None,
            sample: None,
            preset: None,
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
        listed.iter().map(|file| folder.join(path_of(file))).collect()
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
        crate::file::check(path)?;
        let file = File::open(path).map_err(|source| StorageError::Read { path: path.to_owned(), source })?;
        if !Self::is_packed(path, &file)? {
            return Ok((Self::read(path, file)?, false));
        }
        let no_session = |_| StorageError::NotASession { path: path.to_owned() };
        // An archive's list of contents is its end.
        let what = "it ends too early, as half a copy or download does".to_owned();
        let mut archive =
            zip::ZipArchive::new(file).map_err(|_| StorageError::Damaged { path: path.to_owned(), what })?;
        Ok((Self::read(path, archive.by_name(DOCUMENT).map_err(no_session)?)?, true))
    }

    /// Reads and checks a description.
    ///
    /// # Errors
    /// [`StorageError`] when it is none, of a newer version, or has impossible settings.
    pub fn read(path: &Path, file: impl Read) -> Result<Self, StorageError> {
        let (mut bytes, mut file) = (Vec::new(), file.take(MAX_BYTES));
        file.read_to_end(&mut bytes).map_err(|_| StorageError::NotASession { path: path.to_owned() })?;
        // What names the format but cannot be read was a session before somebody edited it.
        let is_one = bytes.windows(FORMAT.len()).any(|text| text == FORMAT.as_bytes());
        let broken = |place: Place, what: &str| {
            let path = path.to_owned();
            if is_one {
                StorageError::Edited { path, what: format!("it is {what} in {place}") }
            } else {
                StorageError::NotASession { path }
            }
        };
        let text = text_of(&bytes).map_err(|place| broken(place, "no UTF-8 text"))?;
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| broken(Place::new(error.line(), error.column()), "no valid JSON"))?;
        if value.get("format").and_then(serde_json::Value::as_str) != Some(FORMAT) {
            return Err(StorageError::NotASession { path: path.to_owned() });
        }
        let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if version > u64::from(VERSION) {
            return Err(StorageError::Future { path: path.to_owned() });
        }
        let odd = |what: String| StorageError::Edited { path: path.to_owned(), what };
        let document: Self = serde_json::from_str(text).map_err(|error| {
            let place = Place::new(error.line(), error.column());
            let said = error.to_string();
            if let Some(name) = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                return odd(format!("{name:?} is missing in what ends in {place}"));
            }
            odd(crate::file::expected_instead(&said).map_or_else(
                || format!("a value is missing or of another kind than belongs there in {place} (numbers stand without quotation marks)"),
                |(found, expected)| format!("it says {found} in {place}, where {expected} belongs"),
            ))
        })?;
        document.settings.check().map_err(|error| odd(error.to_string()))?;
        Ok(document)
    }
}

/// Whether a file is a session by its name, `.lapidary` or `.json` in whatever case, or by what it holds.
#[must_use]
pub fn is_session(path: &Path) -> bool {
    let is_named = |kind: &std::ffi::OsStr| kind.eq_ignore_ascii_case("lapidary") || kind.eq_ignore_ascii_case("json");
    path.extension().is_some_and(is_named) || crate::data::is_session(path)
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
    let (file, folder) = without_detours(Path::new(reference), folder)
        .unwrap_or_else(|| (absolute_path(Path::new(reference)), absolute_path(folder)));
    let seen = pathdiff::diff_paths(file, folder);
    seen.map_or_else(|| reference.to_owned(), |path| written(&path))
}

/// A file as seen from `folder`, in a form that leads back to it though its name may be no text.
#[must_use]
pub fn relative_file(file: &Path, folder: &Path) -> String {
    match file.to_str() {
        Some(reference) => relative(reference, folder),
        None => written(
            &pathdiff::diff_paths(absolute_path(file), absolute_path(folder)).unwrap_or_else(|| file.to_owned()),
        ),
    }
}

/// What a path begins with whose bytes are no text, and which are therefore written as in an address, `%E9` for one of them.
const BYTES: &str = "bytes:";

/// A path as text: itself, or where it is none, its bytes.
fn written(path: &Path) -> String {
    if let Some(text) = path.to_str().filter(|text| !text.starts_with(BYTES)) {
        return text.replace('\\', "/");
    }
    let escaped = |byte: &u8| match byte {
        b'%' | 0x80.. => format!("%{byte:02X}"),
        byte => char::from(*byte).to_string(),
    };
    BYTES.chars().map(String::from).chain(path.as_os_str().as_encoded_bytes().iter().map(escaped)).collect()
}

/// Undoes [`written`].
fn path_of(text: &str) -> PathBuf {
    let Some(escaped) = text.strip_prefix(BYTES) else { return PathBuf::from(text) };
    let (mut bytes, mut rest) = (Vec::new(), escaped.as_bytes());
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match hex.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    path_from(bytes)
}

#[cfg(unix)]
fn path_from(bytes: Vec<u8>) -> PathBuf {
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_from(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
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
    folder.join(path_of(reference)).to_string_lossy().into_owned()
}

/// Undoes [`relative`] after reading a session that lies in `folder`.
pub(crate) fn absolute_models(settings: &mut Settings, provenance: &mut Provenance, folder: &Path) {
    let used = [&mut settings.generate.generator, &mut settings.refine.classifier];
    let loaded = provenance.generator.iter_mut().chain(&mut provenance.classifier).map(|info| &mut info.reference);
    for reference in used.into_iter().chain(loaded) {
        *reference = absolute(reference, folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::RefineSettings;

    #[test]
    fn a_session_is_told_by_its_name_in_any_case_and_by_its_content() {
        assert!(["a.lapidary", "A.LAPIDARY", "b/session.Json"].iter().all(|name| is_session(Path::new(name))));
        assert!(!["a.png", "lapidary", "a.lapidary.npz", ""].iter().any(|name| is_session(Path::new(name))));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("radius0.5");
        let document = Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), None);
        std::fs::write(&path, document.to_json()).unwrap();
        assert!(is_session(&path));
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        archive.start_file(DOCUMENT, zip::write::SimpleFileOptions::default()).unwrap();
        archive.finish().unwrap();
        assert!(is_session(&path));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_whose_name_is_no_text_is_found_again() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        for name in [b"caf\xe9 100%.png".as_slice(), b"bytes:a.png", "交通 %20.png".as_bytes(), b"plain.png"] {
            let file = folder.path().join(std::ffi::OsStr::from_bytes(name));
            std::fs::write(&file, "").unwrap();
            let out = folder.path().join("out");
            let listed = relative_file(&file, &out);
            assert!(!listed.contains('\u{fffd}'), "{listed}");
            std::fs::create_dir_all(&out).unwrap();
            assert!(Document::files(std::slice::from_ref(&listed), &out)[0].exists(), "{listed}");
        }
        assert_eq!(written(Path::new("../a.png")), "../a.png");
    }

    #[test]
    fn model_paths_travel_with_the_session() {
        let (mut settings, mut made_with) = (Settings::default(), Provenance::new());
        settings.generate.generator = "/data/project/models/mine.pt".to_owned();
        made_with.generator = Some(crate::worker::ModelInfo {
            reference: settings.generate.generator.clone(),
            title: String::new(),
            sha256: String::new(),
            classes: Vec::new(),
            sample_shape: [3, 2, 2],
            report: crate::checkpoint::LoadReport::default(),
        });
        let folder = Some(Path::new("/data/project/runs"));
        let document = Document::new(&settings, &made_with, None, &Trace::default(), folder);
        assert_eq!(document.settings.generate.generator, "../models/mine.pt");
        assert_eq!(document.settings.refine.classifier, "gtsrb12-joint");
        let (mut back, mut made_with) = (document.settings, document.provenance);
        absolute_models(&mut back, &mut made_with, Path::new("/elsewhere/runs"));
        assert_eq!(back.generate.generator, "/elsewhere/runs/../models/mine.pt");
        assert_eq!(made_with.generator.unwrap().reference, back.generate.generator);
    }

    #[test]
    fn no_description_names_a_folder_of_this_machine() {
        let with = |name: &str| RefineSettings { classifier: format!("/data/project/{name}"), ..Default::default() };
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, with("first.pt"));
        trace.change(RunId(1), Change { iteration: 0, settings: with("second.pt") });
        let settings = Settings { refine: with("third.pt"), ..Settings::default() };
        let document =
            Document::new(&settings, &Provenance::new(), None, &trace, Some(Path::new("/data/project/runs")));
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
        assert!(["{}", "<html>"].iter().all(|text| read(text).contains("no Lapidary session")));
        assert!(read(r#"{"format": "lapidary-session", "version": 9}"#).contains("update Lapidary"));
    }
}
