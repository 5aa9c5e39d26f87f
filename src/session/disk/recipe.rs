//! A `session.json` alone: what it names is opened, and what it does not name is made again.

use std::path::Path;
use std::sync::Arc;

use super::entry::{Entry, Fact};
use super::journal::folder_of;
use crate::data::{MAX_PICTURES, PictureSource};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::session::document::{Document, absolute_models};
use crate::session::error::StorageError;

/// What a `session.json` says, as the beginning of a journal.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, StorageError> {
    let (mut document, _) = Document::open(path)?;
    if document.edited.is_some() {
        return Err(StorageError::EditedRecipe { path: path.to_owned() });
    }
    let folder = folder_of(path);
    absolute_models(&mut document.settings, folder);
    let origins = opened_inputs(&document, path)?;
    let references = opened_references(&document, folder)?;
    let facts = [Fact::Settings(document.settings), Fact::Provenance(document.provenance)].map(Entry::Fact);
    let pictures = references.map(Entry::References).into_iter().chain(origins.map(Entry::Origins));
    Ok(facts.into_iter().chain(pictures).collect())
}

/// The pictures that a `session.json` names as its inputs; `None` when it was generated.
fn opened_inputs(document: &Document, path: &Path) -> Result<Option<Arc<Origins>>, StorageError> {
    if document.inputs.is_empty() {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut source = PictureSource::open(&Document::files(&document.inputs, folder))?;
    source.take_classes(&classes(document));
    let range = document.part.of(source.count()).ok_or_else(|| {
        let what = format!("it leaves out {} of {} pictures", document.part.skip, source.count());
        StorageError::Damaged { path: path.to_owned(), what }
    })?;
    let first = range.start..range.end.min(range.start.saturating_add(MAX_PICTURES));
    let (batch, mut errors) = source.readable(first, shape(document));
    let n = batch.as_ref().map_or(0, |batch| batch.images.len());
    // What could not be read then is not among the samples; what cannot be read since would give its place to another.
    let same = document.samples.is_empty() || document.samples.len() == n;
    if !errors.is_empty() && (n == 0 || !same) {
        return Err(errors.swap_remove(0).into());
    }
    let Some(batch) = batch else { return Ok(None) };
    let sample = |i: usize| document.samples.get(i);
    let own = |i: usize| batch.labels.as_ref().map_or(0, |labels| labels[i]);
    let labels = (0..n).map(|i| sample(i).map_or_else(|| own(i), |sample| sample.label)).collect();
    let seeds = (0..n).map(|i| sample(i).map_or((batch.first + i) as u64, |sample| sample.seed)).collect();
    // An archive counts as it likes; other labels were the classifier's.
    let seen = document.provenance.classifier.as_ref().filter(|_| batch.labels.is_none());
    let classes = seen.map(|info| info.classes.clone());
    Ok(Some(Arc::new(Origins { classes, seeds, ..Origins::opened(batch.images, labels, batch.names) })))
}

/// The real pictures that a `session.json` names.
fn opened_references(document: &Document, folder: &Path) -> Result<Option<ImageBatch>, StorageError> {
    if document.references.is_empty() {
        return Ok(None);
    }
    // Each has a partner, so none may be left out.
    let source = PictureSource::open(&Document::files(&document.references, folder))?.strictly(true);
    let (batch, mut errors) = source.readable(0..MAX_PICTURES, shape(document));
    match batch {
        Some(batch) => Ok(Some(batch.images)),
        None if errors.is_empty() => Ok(None),
        None => Err(errors.swap_remove(0).into()),
    }
}

/// Names of the classifier's classes.
fn classes(document: &Document) -> Vec<String> {
    crate::zoo::class_names(&document.settings.refine.classifier).unwrap_or_default()
}

/// `[C, H, W]` that pictures are fitted to.
fn shape(document: &Document) -> [usize; 3] {
    crate::zoo::find(&document.settings.refine.classifier).map_or([3, 32, 32], |(manifest, _)| manifest.shape())
}
