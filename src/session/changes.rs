//! What a description says of what its results were made from, compared with what is here: whoever repeats something must hear
//! when it cannot come out the same.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::document::{Document, Sample};
use crate::data::PictureSource;
use crate::file::Sha256;
use crate::generator::GenerateSettings;
use crate::units::counted;
use crate::worker::ModelInfo;

/// SHA-256 of each file; empty for what cannot be read, which is found out later. Many or large ones take long, so `watch` is
/// told how many bytes of how many were read.
pub fn hashes(files: &[PathBuf], watch: &mut dyn FnMut(u64, u64)) -> Vec<String> {
    let sizes: Vec<u64> = files.iter().map(|file| file.metadata().map_or(0, |meta| meta.len())).collect();
    let (mut before, of) = (0, sizes.iter().sum());
    let mut hash = |(file, size): (&PathBuf, u64)| {
        let mut hash = Sha256::default();
        let read = File::open(file).and_then(|file| {
            hash.take(file, &mut |done| {
                watch(before + done, of);
                true
            })
        });
        before += size;
        read.map(|_| hash.digits()).unwrap_or_default()
    };
    files.iter().zip(sizes).map(&mut hash).collect()
}

/// The files of pictures; none where they cannot be opened, which is found out later.
#[must_use]
pub fn files_of(paths: &[PathBuf]) -> Vec<PathBuf> {
    PictureSource::find(paths).map(|source| source.files()).unwrap_or_default()
}

/// A sentence when another model lies where the one of the session was; one from another place is the user's own choice.
/// The model that is used here has a place, a title and a SHA-256.
#[must_use]
pub fn model(then: Option<&ModelInfo>, (place, title, sha256): (&str, &str, &str)) -> Option<String> {
    let is_other = |then: &&ModelInfo| !then.sha256.is_empty() && !sha256.is_empty() && then.sha256 != sha256;
    let then = then.filter(is_other).filter(|then| is_same_place(&then.reference, place))?;
    let what = if then.title == title {
        format!("another version of {title}")
    } else {
        format!("another model, {title} instead of {},", then.title)
    };
    Some(format!(
        "{what} is used here (SHA-256 {sha256}, but the session was made with {}), so results will differ",
        then.sha256
    ))
}

/// Whether both are the same bundled name or lead to the same file.
fn is_same_place(a: &str, b: &str) -> bool {
    let file = |place: &str| Path::new(place).canonicalize().ok();
    a == b || file(a).is_some_and(|a| Some(a) == file(b))
}

/// A sentence when files have changed: `then` is what was in them, `now` what is.
#[must_use]
pub fn inputs(files: &[String], then: &[String], now: &[String]) -> Option<String> {
    let differs = |(then, now): (&String, &String)| !then.is_empty() && !now.is_empty() && then != now;
    let pairs = || then.iter().zip(now);
    let first = pairs().position(differs)?;
    let more = match pairs().filter(|pair| differs(*pair)).count() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let file = files.get(first).map_or("an input", String::as_str);
    Some(format!("{file}{more} changed since the session was made, so results will differ"))
}

/// A sentence when the real pictures of early stopping are others than they were. A session of an earlier version does not say.
#[must_use]
pub fn references(files: &[PathBuf], then: &[String], now: &[String]) -> Option<String> {
    if !then.is_empty() && !now.is_empty() && then.len() != now.len() {
        let (then, now) = (then.len(), now.len());
        return Some(format!(
            "the session was made with {then} files of real pictures, but {now} are there now, so results will differ"
        ));
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    inputs(&names, then, now)
}

/// What a list of samples says that differs from what was made or will be; fewer are those that were done before an interruption.
#[must_use]
pub fn samples(listed: &[Sample], seeds: &[u64], labels: &[usize]) -> Option<String> {
    let differs =
        |(sample, (seed, label)): &(&Sample, (&u64, &usize))| sample.seed != **seed || sample.label != **label;
    let found = listed.iter().zip(seeds.iter().zip(labels)).find(differs);
    let found = found.map(|(sample, (seed, label))| {
        format!(
            "seed {} with class {}, but its settings give seed {seed} with class {label}",
            sample.seed, sample.label
        )
    });
    let n = seeds.len();
    found.or_else(|| (listed.len() > n).then(|| format!("{} pictures, but its settings give {n}", listed.len())))
}

/// Likewise for what a generator of so many classes makes.
#[must_use]
pub fn samples_made(listed: &[Sample], settings: &GenerateSettings, classes: usize) -> Option<String> {
    samples(listed, &settings.seeds(), &settings.labels(classes))
}

/// A sentence when a description of results lists fewer pictures than its settings make: work was interrupted, or somebody took
/// some out of the list.
#[must_use]
pub fn fewer_samples(listed: &[Sample], settings: &GenerateSettings) -> Option<String> {
    let made = settings.samples as usize;
    (1..made).contains(&listed.len()).then(|| {
        let listed = counted(listed.len(), "picture");
        format!("the session lists {listed}, but its settings say {made}, so {made} are made")
    })
}

/// A sentence when a description of results lists none of their pictures, because somebody emptied the list: only what is too
/// long for a list has none.
#[must_use]
pub fn no_samples(document: &Document) -> Option<String> {
    let Document { samples, runs, inputs, count, provenance, .. } = document;
    let had_some = !runs.is_empty() || inputs.is_empty() && provenance.generator.is_some();
    let what = if inputs.is_empty() {
        "its settings decide which pictures are made"
    } else {
        "pictures get their classes as if they were opened for the first time"
    };
    (samples.is_empty() && count.is_none() && had_some)
        .then(|| format!("the session's list of samples is empty, so {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Provenance, Settings};
    use crate::trace::{RunId, Trace};

    #[test]
    fn a_list_of_fewer_pictures_than_are_made_is_told() {
        let listed = [1, 2, 3].map(|seed| Sample { seed, label: 0, name: String::new() });
        let told = |n, samples| fewer_samples(&listed[..n], &GenerateSettings { samples, ..Default::default() });
        let text = told(3, 5).unwrap();
        assert_eq!(text, "the session lists 3 pictures, but its settings say 5, so 5 are made");
        assert_eq!([told(3, 3), told(0, 5), told(3, 2)], [None, None, None], "more are refused elsewhere");
    }

    #[test]
    fn pictures_that_changed_are_named() {
        let files = ["a.png", "b.png", "c.png"].map(str::to_owned);
        let then = ["aa", "", "cc"].map(str::to_owned);
        let compare = |hashes: [&str; 3]| inputs(&files, &then, &hashes.map(str::to_owned));
        assert_eq!(compare(["aa", "bb", "cc"]), None, "one was left out then");
        assert!(compare(["aa", "bb", "cd"]).unwrap().starts_with("c.png changed"));
        assert!(compare(["ab", "bb", "cd"]).unwrap().starts_with("a.png and 1 more changed"));
    }

    #[test]
    fn whoever_waits_for_hashes_hears_how_far_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "none", "b"].map(|name| folder.path().join(name));
        std::fs::write(&files[0], [0; 3]).unwrap();
        std::fs::write(&files[2], [0; 2]).unwrap();
        let mut told = Vec::new();
        let found = hashes(&files, &mut |done, of| told.push((done, of)));
        assert_eq!(told, [(3, 5), (5, 5)]);
        assert_eq!(found, files.map(|file| crate::file::sha256_of(&file).unwrap_or_default()));
        assert!(found[1].is_empty());
    }

    #[test]
    fn references_that_changed_or_became_more_are_told() {
        let files = ["a.png", "b.png"].map(PathBuf::from);
        let then = ["aa", "bb"].map(str::to_owned);
        let compare =
            |now: &[&str]| references(&files, &then, &now.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(compare(&["aa", "bb"]), None);
        assert!(compare(&["aa", "bc"]).unwrap().starts_with("b.png changed"));
        assert!(compare(&["aa"]).unwrap().contains("with 2 files of real pictures, but 1"));
        assert_eq!(references(&files, &[], &then), None, "an earlier version does not say");
    }

    #[test]
    fn a_model_is_another_when_what_lies_at_its_place_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["a.pt", "b.pt"] {
            std::fs::write(path(name), "").unwrap();
        }
        let then = ModelInfo {
            reference: path("a.pt"),
            title: "a".to_owned(),
            sha256: "1".to_owned(),
            classes: Vec::new(),
            sample_shape: [3, 2, 2],
            report: crate::checkpoint::LoadReport::default(),
        };
        let compare = |place: &str, title: &str, sha256: &str| model(Some(&then), (place, title, sha256));
        assert_eq!(compare(&path("a.pt"), "a", "1"), None);
        assert!(compare(&path("a.pt"), "a", "2").unwrap().contains("another version of a is"));
        assert!(compare(&path("a.pt"), "b", "2").unwrap().contains("b instead of a, is"), "another architecture");
        assert!(compare(&path("./a.pt"), "a", "2").is_some(), "the same place by other words");
        assert_eq!(compare(&path("b.pt"), "a", "2"), None, "another of its kind was chosen");
        assert_eq!(model(None, ("a.pt", "a", "1")), None);
    }

    #[test]
    fn a_list_that_was_emptied_is_told_of() {
        let mut trace = Trace::default();
        let with = |trace: &Trace| Document::new(&Settings::default(), &Provenance::new(), None, trace, None);
        assert_eq!(no_samples(&with(&trace)), None, "nothing was made yet");
        trace.begin(RunId(1), None, Settings::default().refine);
        let mut document = with(&trace);
        assert!(no_samples(&document).unwrap().contains("so its settings decide"));
        document.inputs.push("a.png".to_owned());
        assert!(no_samples(&document).unwrap().contains("so pictures get their classes"));
        document.samples.push(Sample { seed: 3, label: 1, name: String::new() });
        assert_eq!(no_samples(&document), None);
    }
}
