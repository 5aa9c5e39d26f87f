//! What a session file says of the results that it describes, compared with what is found here: whoever repeats something must
//! hear when it cannot come out the same.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::CliError;
use super::opened::from_here;
use crate::file::{sha256_of, text_of};
use crate::generator::GenerateSettings;
use crate::origins::Origins;
use crate::session::document::{Document, Sample};
use crate::session::{Provenance, changes};

/// Names that are listed before the rest is only counted.
const SHOWN: usize = 5;

/// What a session file says of its results.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recorded {
    /// The file.
    pub path: PathBuf,
    /// What computed them.
    pub provenance: Provenance,
    /// SHA-256 of the pictures that were opened.
    pub input_hashes: Vec<String>,
    /// SHA-256 of the real pictures that early stopping compared with.
    pub reference_hashes: Vec<String>,
    /// The mask, and its SHA-256.
    pub mask: Option<(PathBuf, String)>,
    /// Seed and label of every picture.
    pub samples: Vec<Sample>,
}

impl Recorded {
    /// Whether the pictures were opened: those have names.
    pub(super) fn opened(&self) -> bool {
        self.samples.iter().any(|sample| !sample.name.is_empty())
    }

    /// Leaves out what is about pictures, because others are taken.
    pub(super) fn forget_pictures(&mut self) {
        self.input_hashes.clear();
        self.samples.clear();
    }

    /// Leaves out which pictures have which class, because the session is not asked about that.
    pub(super) fn forget_samples(&mut self) {
        self.samples.clear();
    }

    /// Refuses a mask that is the session's and has changed: what it would give is another picture.
    ///
    /// # Errors
    /// [`CliError::Mask`]
    pub(super) fn check_mask(&self, mask: &Path) -> Result<(), CliError> {
        let own = self.mask.as_ref().filter(|(path, _)| path == mask);
        let changed = own.is_some_and(|(path, then)| sha256_of(path).is_ok_and(|now| now != *then));
        if changed { Err(CliError::Mask { path: mask.to_owned() }) } else { Ok(()) }
    }

    /// A warning when pictures have changed; `inputs` are their files, `hashes` what is in them now.
    pub(super) fn compare_inputs(&self, inputs: &[String], hashes: &[String]) -> Option<String> {
        changes::inputs(inputs, &self.input_hashes, hashes)
    }

    /// Likewise, when the real pictures of early stopping have.
    pub(super) fn compare_references(&self, references: &[PathBuf], hashes: &[String]) -> Option<String> {
        let files: Vec<PathBuf> = from_here(&changes::files_of(references)).into_iter().map(PathBuf::from).collect();
        changes::references(&files, &self.reference_hashes, hashes)
    }

    /// The labels of opened pictures, for a classifier that knows so many classes; none when they are not those of `count`
    /// pictures.
    ///
    /// # Errors
    /// [`CliError::Samples`] when the file lists others.
    pub(super) fn labels(&self, count: usize, classes: usize) -> Result<Option<Vec<usize>>, CliError> {
        let refuse = |what: String| Err(CliError::Samples { path: self.path.clone(), what });
        let labels: Vec<usize> = self.samples.iter().map(|sample| sample.label).collect();
        if !labels.is_empty() && labels.len() != count {
            return refuse(format!("{} pictures, but there are {count}", labels.len()));
        }
        match labels.iter().position(|label| *label >= classes) {
            Some(place) => refuse(format!(
                "class {} for picture {place}, but the classifier knows {classes} classes (0 to {})",
                labels[place],
                classes.saturating_sub(1)
            )),
            None => Ok((!labels.is_empty()).then_some(labels)),
        }
    }

    /// Checks that the settings give the pictures that are listed, from a generator of so many classes.
    ///
    /// # Errors
    /// [`CliError::Samples`] when they do not: the settings decide, and whoever wrote into the list meant something by it.
    pub(super) fn check_samples(&self, settings: &GenerateSettings, classes: usize) -> Result<(), CliError> {
        match changes::samples_made(&self.samples, settings, classes) {
            Some(what) => Err(CliError::Samples { path: self.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// A warning when other pictures were made than the list says.
    pub(super) fn compare_samples(&self, made: &Origins) -> Option<String> {
        let listed = &self.samples[..self.samples.len().min(made.seeds.len())];
        let what = changes::samples(listed, &made.seeds, &made.labels)?;
        Some(format!("the session lists {what}; the list decides nothing"))
    }
}

/// Notes about what a description says and nobody knows, such as a name with a typing error, and about settings that it does not
/// say. `path` is its file.
pub(super) fn strays(path: &Path, document: &Document) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    // What is packed was written by no hand.
    let Ok(found) = serde_json::from_str::<Value>(text_of(&bytes).unwrap_or_default()) else { return Vec::new() };
    let Ok(known) = serde_json::to_value(document) else { return Vec::new() };
    let mut unknown = Vec::new();
    lacking(&found, &known, "", &mut unknown);
    let mut unsaid = Vec::new();
    lacking(&known["settings"], &found["settings"], "settings.", &mut unsaid);
    if document.runs.last().is_some_and(|run| run.last_iteration > 0) {
        // The run says it.
        unsaid.retain(|name| name != "settings.refine.iterations");
    }
    let list = |names: &[String]| match names.len() {
        0..=SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    };
    let mut notes = Vec::new();
    if !unknown.is_empty() {
        notes.push(format!("warning: the session says {}, which means nothing here and is left out", list(&unknown)));
    }
    if !unsaid.is_empty() {
        notes.push(format!("note: the session does not say {}, so the defaults are taken", list(&unsaid)));
    }
    notes
}

/// Names in the objects of `these` that the same objects of `those` do not have.
fn lacking(these: &Value, those: &Value, place: &str, names: &mut Vec<String>) {
    let (Value::Object(these), Value::Object(those)) = (these, those) else { return };
    for (name, value) in these.iter().filter(|(_, value)| !value.is_null()) {
        match those.get(name) {
            Some(other) => lacking(value, other, &format!("{place}{name}."), names),
            None => names.push(format!("{place}{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Classes;

    #[test]
    fn what_a_session_says_in_vain_and_what_it_does_not_say_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let trace = crate::trace::Trace::default();
        let document = Document::new(&crate::session::Settings::default(), &Provenance::new(), None, &trace, None);
        let mut json = serde_json::to_value(&document).unwrap();
        std::fs::write(&path, json.to_string()).unwrap();
        assert!(strays(&path, &document).is_empty());
        let refine = json["settings"]["refine"].as_object_mut().unwrap();
        refine.remove("eps");
        refine.insert("epss".to_owned(), 2.into());
        std::fs::write(&path, json.to_string()).unwrap();
        let notes = strays(&path, &document);
        assert!(notes[0].contains("settings.refine.epss, which means nothing"), "{notes:?}");
        assert!(notes[1].contains("does not say settings.refine.eps, so"), "{notes:?}");
    }

    fn recorded() -> Recorded {
        let sample = |seed, label| Sample { seed, label, name: String::new() };
        Recorded { samples: vec![sample(3, 1), sample(4, 0)], ..Default::default() }
    }

    #[test]
    fn a_list_of_pictures_is_used_or_refused() {
        let recorded = recorded();
        let made = |first_seed, samples, only: &[usize]| {
            let settings = GenerateSettings { first_seed, samples, ..GenerateSettings::default() };
            GenerateSettings { classes: Classes::Only(only.to_vec()), ..settings }
        };
        assert!(recorded.check_samples(&made(3, 2, &[0, 1]), 12).is_ok());
        let text = recorded.check_samples(&made(3, 2, &[2, 1]), 12).unwrap_err().to_string();
        assert!(text.contains("seed 4 with class 0, but its settings give seed 4 with class 2"), "{text}");
        assert!(recorded.check_samples(&made(3, 1, &[1]), 12).is_err() && recorded.labels(3, 2).is_err());
        assert_eq!(recorded.labels(2, 2).unwrap(), Some(vec![1, 0]));
        let text = recorded.labels(2, 1).unwrap_err().to_string();
        assert!(text.contains("class 1 for picture 0, but the classifier knows 1 classes (0 to 0)"), "{text}");
        assert!(Recorded::default().check_samples(&made(3, 1, &[1]), 12).is_ok());
    }
}
