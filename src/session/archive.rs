//! Session files: a journal and its readable description in one zip, written completely or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::document::{Document, absolute, absolute_models, relative};
use super::error::StorageError;
use super::journal::{JOURNAL, Journal};
use super::record::{Fact, MAGIC, Provenance, Record, replay};
use super::settings::Settings;
use super::storage::{Detail, Restored, remove};
use crate::data::{Batch, MAX_PICTURES, PictureSource};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::State;
use crate::trace::{StateId, Trace};

/// Name of the readable description in a session file.
const DOCUMENT: &str = "session.json";

/// What replaying a journal gives.
#[derive(Default)]
struct Contents {
    settings: Settings,
    provenance: Provenance,
    origins: Option<(Arc<Origins>, u64)>,
    references: Option<ImageBatch>,
    trace: Trace,
    index: BTreeMap<StateId, u64>,
    last: BTreeMap<crate::trace::RunId, (StateId, Arc<State>)>,
}

impl Contents {
    /// Takes in a record; what contradicts itself or what came before is left out, for files may lie.
    fn take(&mut self, record: Record, offset: u64) {
        match record {
            Record::Fact(json) => match serde_json::from_str(&json) {
                Ok(Fact::Settings(settings)) if settings.check().is_ok() => self.settings = settings,
                Ok(Fact::Run { id, parent, settings }) => {
                    let known = parent.is_none_or(|parent| parent.run < id && self.trace.numbers(parent).is_some());
                    if known && self.trace.run(id).is_none() && settings.check().is_ok() {
                        self.trace.begin(id, parent, settings);
                    }
                }
                Ok(Fact::Targets { run, targets }) => {
                    let n = self.origins.as_ref().map_or(0, |(origins, _)| origins.images.len());
                    if targets.len() == n {
                        self.trace.set_targets(run, targets);
                    }
                }
                Ok(Fact::Change { run, change }) if change.settings.check().is_ok() => self.trace.change(run, change),
                Ok(Fact::Provenance(provenance)) => self.provenance = provenance,
                Ok(Fact::Settings(_) | Fact::Change { .. }) => tracing::warn!("impossible settings were skipped"),
                Err(error) => tracing::warn!(%error, "a fact of a newer version was skipped"),
            },
            Record::Origins(origins) => {
                self.trace = Trace::default();
                self.index.clear();
                self.last.clear();
                self.origins = origins.is_consistent().then_some((origins, offset));
            }
            Record::References(references) => self.references = Some(references).filter(|images| !images.is_empty()),
            Record::State(run, state) => {
                let id = StateId { run, iteration: state.iteration };
                let shape = self.origins.as_ref().map(|(origins, _)| origins.images.shape());
                let fits = shape == Some(state.images.shape()) && state.numbers.is_consistent(state.images.len());
                if fits && self.trace.push(id, state.numbers.clone()) {
                    self.index.insert(id, offset);
                    self.last.insert(run, (id, state));
                }
            }
            Record::Numbers(id, numbers) => {
                let n = self.origins.as_ref().map_or(0, |(origins, _)| origins.images.len());
                if numbers.is_consistent(n) {
                    self.trace.push(id, numbers);
                }
            }
        }
    }
}

/// Changes every path of a model in a record.
fn with_models(record: Record, change: &dyn Fn(&str) -> String) -> Record {
    match record {
        Record::Fact(json) => match serde_json::from_str(&json) {
            Ok(fact) => Record::fact(&fact_with_models(fact, change)),
            // Of a newer version: it stays as it is.
            Err(_) => Record::Fact(json),
        },
        Record::Origins(origins) => {
            let generator = origins.made_by.as_ref().map(|made_by| change(&made_by.generator));
            let mut changed = Origins::clone(&origins);
            match (&mut changed.made_by, generator) {
                (Some(made_by), Some(generator)) if made_by.generator != generator => made_by.generator = generator,
                _ => return Record::Origins(origins),
            }
            Record::Origins(Arc::new(changed))
        }
        record => record,
    }
}

fn fact_with_models(mut fact: Fact, change: &dyn Fn(&str) -> String) -> Fact {
    let references: Vec<&mut String> = match &mut fact {
        Fact::Settings(settings) => vec![&mut settings.generate.generator, &mut settings.refine.classifier],
        Fact::Run { settings, .. } => vec![&mut settings.classifier],
        Fact::Change { change, .. } => vec![&mut change.settings.classifier],
        Fact::Provenance(provenance) => {
            let models = provenance.generator.iter_mut().chain(&mut provenance.classifier);
            models.map(|info| &mut info.reference).collect()
        }
        Fact::Targets { .. } => Vec::new(),
    };
    for reference in references {
        *reference = change(reference);
    }
    fact
}

/// Writes the current journal, without what newer origins made void, as a session file: complete or not at all.
pub(super) fn save(journal: &mut Journal, path: &Path, detail: Detail) -> Result<u64, StorageError> {
    let fail = |source| StorageError::Write { what: "the session cannot be saved", path: path.to_owned(), source };
    let mut contents = Contents::default();
    let mut read = |each: &mut dyn FnMut(Record, u64)| -> std::io::Result<()> {
        journal.file.seek(SeekFrom::Start(0))?;
        replay(&mut BufReader::new(&journal.file), &mut *each);
        for (record, place) in journal.unwritten.iter().zip(journal.length..) {
            each(record.clone(), place);
        }
        Ok(())
    };
    read(&mut |record, offset| contents.take(record, offset)).map_err(fail)?;
    let keep: Vec<StateId> = contents.last.values().map(|(id, _)| *id).collect();
    let first = contents.origins.as_ref().map_or(u64::MAX, |(_, offset)| *offset);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let document = Document::new(
        &contents.settings,
        &contents.provenance,
        contents.origins.as_ref().map(|(origins, _)| origins.as_ref()),
        &contents.trace,
        Some(folder),
    );

    let mut temporary = temporary_in(folder).map_err(fail)?;
    let mut zip = zip::ZipWriter::new(temporary.as_file_mut());
    let options = zip::write::SimpleFileOptions::default().large_file(true);
    let zip_fail = |error: zip::result::ZipError| fail(std::io::Error::other(error));
    zip.start_file(DOCUMENT, options).map_err(zip_fail)?;
    zip.write_all(document.to_json().as_bytes()).map_err(fail)?;
    zip.start_file(JOURNAL, options.compression_method(zip::CompressionMethod::Stored)).map_err(zip_fail)?;
    zip.write_all(MAGIC).map_err(fail)?;
    let mut failed = None;
    let mut write = |record: &Record| {
        if failed.is_none() {
            failed = record.write(&mut zip).err();
        }
    };
    // Model paths in the file are relative to it.
    write(&Record::fact(&Fact::Settings(document.settings.clone())));
    write(&Record::fact(&Fact::Provenance(document.provenance.clone())));
    if let Some(references) = &contents.references {
        write(&Record::References(references.clone()));
    }
    read(&mut |record, offset| match record {
        _ if offset < first => {}
        // Written once, above.
        Record::References(_) => {}
        Record::Fact(json) => {
            // Settings and provenance were written once, above.
            if matches!(serde_json::from_str(&json), Ok(Fact::Run { .. } | Fact::Change { .. } | Fact::Targets { .. }))
            {
                write(&with_models(Record::Fact(json), &|reference| relative(reference, folder)));
            }
        }
        Record::State(run, state) => {
            let id = StateId { run, iteration: state.iteration };
            if detail == Detail::Full || keep.contains(&id) {
                write(&Record::State(run, state));
            } else {
                write(&Record::Numbers(id, state.numbers.clone()));
            }
        }
        record => write(&with_models(record, &|reference| relative(reference, folder))),
    })
    .map_err(fail)?;
    if let Some(error) = failed {
        return Err(fail(error));
    }
    zip.finish().map_err(zip_fail)?;
    let bytes = temporary.as_file().metadata().map_err(fail)?.len();
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(path).map_err(|error| fail(error.error))?;
    Ok(bytes)
}

/// A new file beside its target, with the rights of any other new file.
pub(crate) fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "permissions exist on Unix only"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Reads a session into the journal, replacing what it held; a failure leaves the journal as it was.
pub(super) fn open(journal: &mut Journal, path: &Path, epoch: u64) -> Result<Restored, StorageError> {
    let io = |source| StorageError::Read { path: path.to_owned(), source };
    let write = |source| StorageError::Write { what: "the autosave cannot be written", path: path.to_owned(), source };
    let recovered = path.is_dir();
    let source = if recovered { path.join(JOURNAL) } else { path.to_owned() };
    let mut file = File::open(&source).map_err(io)?;
    let mut head = [0; 4];
    let read = file.read(&mut head).map_err(io)?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));

    // Checked first, so that a bad file costs nothing of what is open.
    let mut contents = Contents::default();
    if head[..read].starts_with(b"PK") {
        let damaged =
            |error: zip::result::ZipError| StorageError::Damaged { path: path.to_owned(), what: error.to_string() };
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
        let mut entry = archive.by_name(JOURNAL).map_err(|_| StorageError::NotASession { path: path.to_owned() })?;
        if entry.compression() != zip::CompressionMethod::Stored {
            // Ours are stored as they are; a compressed one could unpack to any size.
            let what = "its journal is compressed".to_owned();
            return Err(StorageError::Damaged { path: path.to_owned(), what });
        }
        // Paths in the file are relative to it; those in the journal must not be, for it lies elsewhere.
        let mut own = tempfile::tempfile_in(journal.path.parent().unwrap_or_else(|| Path::new("."))).map_err(write)?;
        let mut out = BufWriter::new(&mut own);
        let (mut length, mut failed) = (MAGIC.len() as u64, out.write_all(MAGIC).err());
        let good = replay(&mut entry, |record, _| {
            let record = with_models(record, &|reference| absolute(reference, folder));
            match record.write(&mut out) {
                Ok(written) => {
                    contents.take(record, length);
                    length += written;
                }
                Err(error) => failed = failed.take().or(Some(error)),
            }
        });
        let good = good.ok_or_else(|| StorageError::NotASession { path: path.to_owned() })?;
        if good != entry.size() {
            let what = format!("only {good} of {} bytes are intact", entry.size());
            return Err(StorageError::Damaged { path: path.to_owned(), what });
        }
        let flushed = out.flush();
        drop(out);
        failed.map_or(flushed, Err).and_then(|()| own.seek(SeekFrom::Start(0)).map(drop)).map_err(write)?;
        journal.replace(&mut own, length, epoch).map_err(write)?;
    } else if recovered {
        let good = replay(&mut BufReader::new(&file), |record, offset| contents.take(record, offset));
        let good = good.ok_or_else(|| StorageError::NotASession { path: path.to_owned() })?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        journal.replace(&mut file, good, epoch).map_err(write)?;
    } else {
        let mut document = Document::read(path, file)?;
        if document.edited.is_some() {
            return Err(StorageError::EditedRecipe { path: path.to_owned() });
        }
        absolute_models(&mut document.settings, folder);
        let origins = opened_inputs(&document, path)?;
        contents.references = opened_references(&document, folder)?;
        journal.reset(epoch).map_err(write)?;
        if let Some(references) = &contents.references {
            journal.append(&Record::References(references.clone())).map_err(write)?;
        }
        contents.settings = document.settings;
        contents.provenance = document.provenance;
        if let Some(origins) = origins {
            let offset = journal.append(&Record::Origins(origins.clone())).map_err(write)?;
            contents.origins = Some((origins, offset));
        }
    }
    if recovered {
        remove(path);
    }
    Ok(Restored {
        epoch,
        path: (!recovered).then(|| path.to_owned()),
        settings: contents.settings,
        provenance: contents.provenance,
        origins: contents.origins.map(|(origins, _)| origins),
        references: contents.references,
        trace: contents.trace,
        index: contents.index.into_iter().collect(),
        last: contents.last.into_values().collect(),
    })
}

/// The pictures that a `session.json` names as its inputs; `None` when it was generated.
fn opened_inputs(document: &Document, path: &Path) -> Result<Option<Arc<Origins>>, StorageError> {
    if document.inputs.is_empty() {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let source = PictureSource::open(&Document::files(&document.inputs, folder))?;
    let range = document.part.of(source.count()).ok_or_else(|| {
        let what = format!("it leaves out {} of {} pictures", document.part.skip, source.count());
        StorageError::Damaged { path: path.to_owned(), what }
    })?;
    let first = first_of(&source, range, shape(document))?;
    let Some(batch) = first else { return Ok(None) };
    let n = batch.images.len();
    let sample = |i: usize| document.samples.get(i);
    let own = |i: usize| batch.labels.as_ref().map_or(0, |labels| labels[i]);
    let labels = (0..n).map(|i| sample(i).map_or_else(|| own(i), |sample| sample.label)).collect();
    let seeds = (0..n).map(|i| sample(i).map_or((batch.first + i) as u64, |sample| sample.seed)).collect();
    Ok(Some(Arc::new(Origins { seeds, ..Origins::opened(batch.images, labels, batch.names) })))
}

/// The real pictures that a `session.json` names.
fn opened_references(document: &Document, folder: &Path) -> Result<Option<ImageBatch>, StorageError> {
    if document.references.is_empty() {
        return Ok(None);
    }
    let source = PictureSource::open(&Document::files(&document.references, folder))?;
    let all = 0..source.count();
    Ok(first_of(&source, all, shape(document))?.map(|batch| batch.images))
}

/// As many pictures of `range` as are opened together.
fn first_of(source: &PictureSource, range: Range<usize>, shape: [usize; 3]) -> Result<Option<Batch>, StorageError> {
    let mut first = None;
    source.for_each_batch(range, (shape, MAX_PICTURES), &mut |batch| {
        first = Some(batch);
        Ok::<_, StorageError>(false)
    })?;
    Ok(first)
}

/// `[C, H, W]` that pictures are fitted to.
fn shape(document: &Document) -> [usize; 3] {
    crate::zoo::find(&document.settings.refine.classifier).map_or([3, 32, 32], |(manifest, _)| manifest.shape())
}
