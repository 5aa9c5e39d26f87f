//! A `session.json` alone: what it names is opened, and what it does not name is made again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{Entry, Fact};
use super::journal::folder_of;
use crate::data::{MAX_PICTURES, PictureSource};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::session::changes;
use crate::session::document::{Document, absolute_models};
use crate::session::error::StorageError;

/// What was opened, and a sentence when it is not what it was.
type Opened<T> = (Option<T>, Option<String>);

/// What a `session.json` says, as the beginning of a journal; and what differs from what it was made of.
pub(super) fn read(path: &Path) -> Result<(Vec<Entry>, Vec<String>), StorageError> {
    let (mut document, _) = Document::open(path)?;
    if document.edited.is_some() {
        return Err(StorageError::EditedRecipe { path: path.to_owned() });
    }
    let folder = folder_of(path);
    absolute_models(&mut document.settings, &mut document.provenance, folder);
    check_samples(&document, path)?;
    let mut differences: Vec<String> = changes::no_samples(&document).into_iter().collect();
    if document.inputs.is_empty() {
        differences.extend(changes::fewer_samples(&document.samples, &document.settings.generate));
    }
    let (origins, changed) = opened_inputs(&document, path)?;
    differences.extend(changed);
    let (references, changed) = opened_references(&document, folder)?;
    differences.extend(changed);
    let facts = [Fact::Settings(document.settings), Fact::Provenance(document.provenance)].map(Entry::Fact);
    let pictures = references.map(Entry::References).into_iter().chain(origins.map(Entry::Origins));
    Ok((facts.into_iter().chain(pictures).collect(), differences))
}

/// Pictures that are made again are those of the settings: whoever wrote others into the list meant something by it.
fn check_samples(document: &Document, path: &Path) -> Result<(), StorageError> {
    let generate = &document.settings.generate;
    let generator = document.inputs.is_empty().then(|| crate::zoo::find(&generate.generator)).and_then(Result::ok);
    let classes = generator.map(|(manifest, _)| manifest.classes.len());
    match classes.and_then(|classes| changes::samples_made(&document.samples, generate, classes)) {
        Some(what) => Err(StorageError::Edited { path: path.to_owned(), what: format!("it lists {what}") }),
        None => Ok(()),
    }
}

/// The pictures that a `session.json` names as its inputs, and whether they have changed; none when it was generated.
fn opened_inputs(document: &Document, path: &Path) -> Result<Opened<Arc<Origins>>, StorageError> {
    if document.inputs.is_empty() {
        return Ok((None, None));
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let files = Document::files(&document.inputs, folder);
    let mut source = PictureSource::open(&files)?;
    source.take_classes(&classes(document));
    let range = document.part.of(source.count()).ok_or_else(|| {
        let what = format!("it leaves out {} of {} pictures", document.part.skip, source.count());
        StorageError::Damaged { path: path.to_owned(), what }
    })?;
    let first = range.start..range.end.min(range.start.saturating_add(MAX_PICTURES));
    let (batch, mut errors) = source.readable(first.clone(), shape(document));
    let n = batch.as_ref().map_or(0, |batch| batch.images.len());
    // What could not be read then is not among the samples; what cannot be read since would give its place to another.
    let same = document.samples.is_empty() || document.samples.len() == n;
    if !errors.is_empty() && (n == 0 || !same) {
        return Err(errors.swap_remove(0).into());
    }
    let Some(batch) = batch else { return Ok((None, None)) };
    // What is not opened need not be read.
    let taken = if source.native_size().is_some() { files.len() } else { first.end.min(files.len()) };
    let changed = changes::inputs(&document.inputs, &document.input_hashes, &unwatched(&files[..taken]));
    let sample = |i: usize| document.samples.get(i);
    let own = |i: usize| batch.labels.as_ref().map_or(0, |labels| labels[i]);
    let labels = (0..n).map(|i| sample(i).map_or_else(|| own(i), |sample| sample.label)).collect();
    let seeds = (0..n).map(|i| sample(i).map_or((batch.first + i) as u64, |sample| sample.seed)).collect();
    // An archive counts as it likes; other labels were the classifier's.
    let seen = document.provenance.classifier.as_ref().filter(|_| batch.labels.is_none());
    let classes = seen.map(|info| info.classes.clone());
    let origins = Origins { classes, seeds, ..Origins::opened(batch.images, labels, batch.names) };
    Ok((Some(Arc::new(origins)), changed))
}

/// The real pictures that a `session.json` names, and whether they have changed.
fn opened_references(document: &Document, folder: &Path) -> Result<Opened<ImageBatch>, StorageError> {
    if document.references.is_empty() {
        return Ok((None, None));
    }
    // Each has a partner, so none may be left out.
    let source = PictureSource::open(&Document::files(&document.references, folder))?.strictly(true);
    let files = source.files();
    let changed = changes::references(&files, &document.reference_hashes, &unwatched(&files));
    let (batch, mut errors) = source.readable(0..MAX_PICTURES, shape(document));
    match batch {
        Some(batch) => Ok((Some(batch.images), changed)),
        None if errors.is_empty() => Ok((None, None)),
        None => Err(errors.swap_remove(0).into()),
    }
}

/// SHA-256 of each file; there are few.
fn unwatched(files: &[PathBuf]) -> Vec<String> {
    changes::hashes(files, &mut |_, _| ())
}

/// Names of the classifier's classes.
fn classes(document: &Document) -> Vec<String> {
    crate::zoo::class_names(&document.settings.refine.classifier).unwrap_or_default()
}

/// `[C, H, W]` that pictures are fitted to.
fn shape(document: &Document) -> [usize; 3] {
    crate::zoo::find(&document.settings.refine.classifier).map_or([3, 32, 32], |(manifest, _)| manifest.shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::document::Sample;
    use crate::session::{Provenance, Settings};
    use crate::trace::Trace;

    #[test]
    fn what_changed_since_a_recipe_was_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        for name in ["a.png", "real/b.png"] {
            ::image::RgbImage::new(2, 2).save(at(name)).unwrap();
        }
        let mut document =
            Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), Some(folder.path()));
        document.inputs = vec!["a.png".to_owned()];
        document.references = vec!["real".to_owned()];
        document.input_hashes = unwatched(&[at("a.png")]);
        document.reference_hashes = unwatched(&[at("real/b.png")]);
        document.samples = vec![Sample { seed: 0, label: 4, name: "a.png".to_owned() }];
        let differences = |document: &Document| {
            std::fs::write(at("session.json"), document.to_json()).unwrap();
            read(&at("session.json")).map(|(_, differences)| differences)
        };
        assert!(differences(&document).unwrap().is_empty());
        for name in ["a.png", "real/b.png"] {
            ::image::RgbImage::new(3, 3).save(at(name)).unwrap();
        }
        let told = differences(&document).unwrap();
        assert!(told[0].starts_with("a.png changed") && told[1].contains("b.png changed"), "{told:?}");
    }

    #[test]
    fn a_list_of_other_pictures_than_the_settings_make_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.json");
        let mut document = Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), None);
        let first = Sample { seed: 0, label: 0, name: String::new() };
        for (label, is_refused) in [(0, false), (9, true)] {
            document.samples = vec![Sample { label, ..first.clone() }];
            std::fs::write(&path, document.to_json()).unwrap();
            let text = read(&path).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(text.contains("it lists seed 0 with class 9, but its settings give"), is_refused, "{text}");
        }
    }
}
