//! A session as sets: the pictures that it is about, and what came of them in every run.

use std::path::Path;

use super::error::EvaluateError;
use super::sets::{Held, Pictures};
use crate::classifier::translation;
use crate::origins::Origins;
use crate::session::disk::{End, Ends, stored_ends};
use crate::session::document::Document;
use crate::trace::Run;
use crate::zoo::{self, Manifest};

/// Before and after; after for every run, where there are several.
///
/// # Errors
/// What keeps the session from being read, or that it holds no pictures.
pub(super) fn sets(path: &Path, limit: Option<usize>, extractor: &Manifest) -> anyhow::Result<Vec<Pictures>> {
    let name = path.display().to_string();
    let (_, is_packed) = Document::open(path)?;
    let ends = if is_packed { stored_ends(path)? } else { None };
    let Some(Ends { origins, runs }) = ends else {
        return Err(EvaluateError::SetOfRecipe { path: path.to_owned() }.told());
    };
    let mut notes = Vec::new();
    let labels: Vec<Option<Vec<usize>>> = runs.iter().map(|end| labels_of(&origins, &end.run, extractor)).collect();
    // Those that all runs agree in, so that before and after are seen as the same classes.
    let before = match labels.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => first.clone(),
        _ => own_labels(&origins, extractor),
    };
    if before.is_none() && origins.classes.as_ref().is_none_or(|classes| !classes.is_empty()) {
        notes.push(format!(
            "warning: the classes of {name} are others than those of {}, so they are left aside",
            extractor.name
        ));
    }
    // Numbers without names may be those of anybody.
    let has_numbers = before.is_some() && origins.classes.is_none();
    let held = |images, labels| Held { images, names: origins.names.clone(), labels };
    let is_one = runs.len() == 1;
    let mut sets = Vec::new();
    let called = |what: &str| format!("{name} {what}");
    let first = held(origins.images.clone(), before);
    sets.push(Pictures::of_held(called("before"), path, first, (limit, has_numbers))?);
    for (End { run, images, lacks_best }, labels) in runs.into_iter().zip(labels) {
        let what = if is_one { "after".to_owned() } else { title(&run) };
        if lacks_best {
            notes.push(format!(
                "warning: {} was to keep every picture's best iterate, but the session was saved without all of them, so the last ones are taken",
                called(&what)
            ));
        }
        sets.push(Pictures::of_held(called(&what), path, held(images, labels), (limit, false))?);
    }
    if sets.len() == 1 {
        notes.push(format!("note: nothing of {name} was refined, so its pictures before are all there is"));
    }
    sets[0].notes = notes;
    Ok(sets)
}

/// A run among others.
fn title(run: &Run) -> String {
    let label = if run.tag.label.is_empty() { String::new() } else { format!(" ({})", run.tag.label) };
    format!("after run {}{label}", run.id.0)
}

/// The classes of the pictures, as places in the extractor's list; `None` where they mean nothing to it.
fn own_labels(origins: &Origins, extractor: &Manifest) -> Option<Vec<usize>> {
    origins.labels_among(&extractor.classes).ok()
}

/// Likewise those that a run refined them towards, which the run's classifier counts.
fn labels_of(origins: &Origins, run: &Run, extractor: &Manifest) -> Option<Vec<usize>> {
    let Some(targets) = &run.targets else { return own_labels(origins, extractor) };
    let (classifier, _) = zoo::find(&run.settings.classifier).ok()?;
    let places = translation(&classifier.classes, &extractor.classes).ok()?;
    targets.iter().map(|target| places.get(*target).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{BUNDLED, bundled_manifest};

    #[test]
    fn a_session_is_its_pictures_before_and_those_after_every_run() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/session/v3.lapidary");
        let judge = BUNDLED.iter().find(|bundled| bundled.name == super::super::EXTRACTOR).unwrap();
        let sets = sets(&golden, None, &bundled_manifest(judge)).unwrap();
        let names: Vec<&str> = sets.iter().filter_map(|set| set.name.split(".lapidary ").nth(1)).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[0] == "before" && names[1].starts_with("after run "), "{names:?}");
        assert!(names[1] != names[2] && sets.iter().all(|set| set.shape == Some([3, 32, 32]) && set.count() > 0));
        assert!(sets.iter().all(|set| set.count() == sets[0].count()), "the same pictures, before and after");
    }
}
