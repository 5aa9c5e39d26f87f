//! Session files: a journal and its readable description in one zip, written completely or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::{Document, absolute_models};
use super::error::StorageError;
use super::journal::{JOURNAL, Journal};
use super::pictures::PictureSource;
use super::record::{Fact, MAGIC, Provenance, Record, replay};
use super::settings::Settings;
use super::storage::{Detail, MAX_PICTURES, Restored, remove};
use crate::image::ImageBatch;
use crate::refiner::State;
use crate::trace::{StateId, Trace};
use crate::worker::Origins;

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
    write(&Record::fact(&Fact::Provenance(contents.provenance.clone())));
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
                write(&Record::Fact(json));
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
        record => write(&record),
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
        let good = replay(&mut entry, |record, offset| contents.take(record, offset));
        let good = good.ok_or_else(|| StorageError::NotASession { path: path.to_owned() })?;
        if good != entry.size() {
            let what = format!("only {good} of {} bytes are intact", entry.size());
            return Err(StorageError::Damaged { path: path.to_owned(), what });
        }
        drop(entry);
        let mut entry = archive.by_name(JOURNAL).map_err(damaged)?;
        journal.replace(&mut entry, good, epoch).map_err(write)?;
    } else if recovered {
        let good = replay(&mut BufReader::new(&file), |record, offset| contents.take(record, offset));
        let good = good.ok_or_else(|| StorageError::NotASession { path: path.to_owned() })?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        journal.replace(&mut file, good, epoch).map_err(write)?;
    } else {
        let document = Document::read(path, file)?;
        if document.edited.is_some() {
            return Err(StorageError::EditedRecipe { path: path.to_owned() });
        }
        let origins = opened_inputs(&document, folder)?;
        journal.reset(epoch).map_err(write)?;
        contents.settings = document.settings;
        contents.provenance = document.provenance;
        if let Some(origins) = origins {
            let offset = journal.append(&Record::Origins(origins.clone())).map_err(write)?;
            contents.origins = Some((origins, offset));
        }
    }
    if recovered {
        remove(path);
    } else {
        absolute_models(&mut contents.settings, folder);
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
fn opened_inputs(document: &Document, folder: &Path) -> Result<Option<Arc<Origins>>, StorageError> {
    if document.inputs.is_empty() {
        return Ok(None);
    }
    let resolution = crate::checkpoint::find(&document.settings.refine.classifier).map_or(32, |(m, _)| m.resolution);
    let paths: Vec<PathBuf> = document.inputs.iter().map(|input| folder.join(input)).collect();
    let mut first = None;
    PictureSource::open(&paths)?.for_each_batch(0..MAX_PICTURES, (resolution, MAX_PICTURES), &mut |batch| {
        first = Some(batch);
        Ok::<_, StorageError>(false)
    })?;
    let Some(batch) = first else { return Ok(None) };
    let n = batch.images.len();
    let sample = |i: usize| document.samples.get(i);
    let own = |i: usize| batch.labels.as_ref().map_or(0, |labels| labels[i]);
    let labels = (0..n).map(|i| sample(i).map_or_else(|| own(i), |sample| sample.label)).collect();
    let seeds = (0..n).map(|i| sample(i).map_or(i as u64, |sample| sample.seed)).collect();
    Ok(Some(Arc::new(Origins { seeds, ..Origins::opened(batch.images, labels, batch.names) })))
}
