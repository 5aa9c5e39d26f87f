//! Session files: a journal and its readable description in one zip, written completely or not at all. What is long is copied
//! as it is; only facts are read and written anew, for paths of models are relative in a file.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{BufReader, BufWriter, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::entry::{Entry, Fact, Pictures, StateFacts};
use super::journal::{JOURNAL, Journal, LOCK, folder_of, sync_folder, temporary_in};
use super::orphans::{is_as_written, remove_taken};
use super::raw::{MAGIC, Raw};
use super::{Detail, Restored, Saving, recipe, v2};
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::session::document::{DOCUMENT, Document, absolute, relative};
use crate::session::error::StorageError;
use crate::session::provenance::Provenance;
use crate::session::settings::Settings;
use crate::trace::{StateId, Trace};

/// Bytes between two reports of progress, at least.
const REPORT: u64 = 1 << 20;

/// Why an opening or a saving came to nothing.
#[derive(Debug)]
pub(super) enum Halt {
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed(StorageError),
}

impl From<StorageError> for Halt {
    fn from(error: StorageError) -> Self {
        Self::Failed(error)
    }
}

/// Tells how far a long piece of work is, and ends it when that is answered with false.
pub(super) struct Watch<'a> {
    done: u64,
    of: u64,
    told: u64,
    tell: &'a mut dyn FnMut(u64, u64) -> bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(tell: &'a mut dyn FnMut(u64, u64) -> bool) -> Self {
        Self { done: 0, of: 0, told: 0, tell }
    }

    fn begin(&mut self, of: u64) -> Result<(), Halt> {
        self.of = of;
        self.report()
    }

    fn advance_to(&mut self, done: u64) -> Result<(), Halt> {
        self.done = done;
        if done - self.told < REPORT.max(self.of / 100) { Ok(()) } else { self.report() }
    }

    fn report(&mut self) -> Result<(), Halt> {
        self.told = self.done;
        if (self.tell)(self.done, self.of) { Ok(()) } else { Err(Halt::Stopped) }
    }
}

/// How a journal is written.
enum Version {
    /// As in version 2; the origins so far, which states need not repeat.
    Two(Option<Arc<Origins>>),
    /// As today.
    Three,
}

/// The entries of a journal of any version that is known, as entries of today.
pub(super) struct Entries<R> {
    input: R,
    version: Version,
    /// Bytes that are good.
    pub(super) good: u64,
}

impl<R: Read> Entries<R> {
    pub(super) fn new(mut input: R, path: &Path) -> Result<Self, StorageError> {
        let mut magic = [0; MAGIC.len()];
        let is_read = input.read_exact(&mut magic).is_ok();
        let version = match &magic {
            MAGIC => Version::Three,
            v2::MAGIC => Version::Two(None),
            _ if is_read && magic.starts_with(b"lapidary journal v") => {
                return Err(StorageError::Future { path: path.to_owned() });
            }
            _ => return Err(StorageError::NotASession { path: path.to_owned() }),
        };
        Ok(Self { input, version, good: MAGIC.len() as u64 })
    }

    pub(super) fn next(&mut self) -> Option<Raw> {
        let Version::Two(origins) = &mut self.version else {
            let raw = Raw::read(&mut self.input)?;
            self.good += raw.len();
            return Some(raw);
        };
        loop {
            let (entry, length) = v2::read(&mut self.input)?;
            self.good += length;
            // A fact that is not known today would not have been kept then either.
            let Some(entry) = entry else { continue };
            if let Entry::Origins(new) = &entry {
                *origins = Some(new.clone());
            }
            return Some(entry.encode(origins.as_deref()));
        }
    }
}

/// What a journal holds, without the pictures of its states.
#[derive(Default)]
pub(super) struct Contents {
    settings: Settings,
    preset: Option<String>,
    provenance: Provenance,
    pub(super) origins: Option<(Arc<Origins>, u64)>,
    pub(super) references: Option<ImageBatch>,
    pub(super) mask: Option<Mask>,
    pub(super) trace: Trace,
    pub(super) index: BTreeMap<StateId, u64>,
    /// The session file that held everything before, and its length.
    saved: Option<(PathBuf, u64)>,
}

impl Contents {
    /// Takes in an entry; what contradicts itself or what came before is left out, for files may lie.
    pub(super) fn take(&mut self, raw: &Raw, offset: u64) {
        if let Some(fact) = raw.fact() {
            match fact {
                Ok(fact) => self.take_fact(fact),
                Err(error) => tracing::warn!(%error, "a fact of a newer version was skipped"),
            }
        } else if let Some(facts) = raw.state_facts() {
            let Some((origins, _)) = &self.origins else { return };
            let Some((numbers, shape)) = raw.numbers(&facts) else { return };
            let fits = facts.pictures != Pictures::Own || shape == Some(origins.images.shape());
            let id = facts.id();
            let is_taken = fits && numbers.is_consistent(origins.images.len()) && self.trace.push(id, numbers);
            if is_taken && facts.pictures != Pictures::LeftOut {
                self.index.insert(id, offset);
            }
        } else if let Some(origins) = raw.origins() {
            self.trace = Trace::default();
            self.index.clear();
            self.saved = None;
            self.origins = origins.is_consistent().then(|| (Arc::new(origins), offset));
        } else if let Some(references) = raw.references() {
            self.references = Some(references).filter(|images| !images.is_empty());
        }
    }

    fn take_fact(&mut self, fact: Fact) {
        match fact {
            Fact::Settings(settings) if settings.check().is_ok() => self.settings = settings,
            Fact::Preset(key) => self.preset = Some(key),
            Fact::Mask(mask) => self.mask = mask.filter(|mask| !mask.is_empty()),
            Fact::Run { id, parent, settings } => {
                let known = parent.is_none_or(|parent| parent.run < id && self.trace.numbers(parent).is_some());
                // The next run has a higher name.
                let known = known && id.0 < u64::MAX;
                if known && self.trace.run(id).is_none() && settings.check().is_ok() {
                    self.trace.begin(id, parent, settings);
                }
            }
            Fact::Targets { run, targets } => {
                let n = self.origins.as_ref().map_or(0, |(origins, _)| origins.images.len());
                if targets.len() == n {
                    self.trace.set_targets(run, targets);
                }
            }
            Fact::Change { run, change } if change.settings.check().is_ok() => self.trace.change(run, change),
            Fact::Provenance(provenance) => self.provenance = provenance,
            Fact::Tag { run, tag } => self.trace.set_tag(run, tag),
            Fact::Deleted { run } => {
                if self.trace.remove(run) {
                    self.index.retain(|id, _| id.run != run);
                }
            }
            Fact::Saved { path, bytes } => self.saved = Some((path.into(), bytes)),
            Fact::Settings(_) | Fact::Change { .. } => tracing::warn!("impossible settings were skipped"),
        }
    }
}

/// A journal that is written beside the one that is in use, to take its place.
struct Next {
    out: BufWriter<NamedTempFile>,
    length: u64,
    contents: Contents,
}

impl Next {
    fn new(journal: &Journal) -> std::io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, temporary_in(folder_of(&journal.path))?);
        out.write_all(MAGIC)?;
        Ok(Self { out, length: MAGIC.len() as u64, contents: Contents::default() })
    }

    fn push(&mut self, raw: &Raw) -> std::io::Result<()> {
        // Whatever a file says of others is not known here.
        if matches!(raw.fact(), Some(Ok(Fact::Saved { .. }))) {
            return Ok(());
        }
        self.contents.take(raw, self.length);
        self.length += raw.write(&mut self.out)?;
        Ok(())
    }

    /// Takes the journal's place: complete and on the disk, or not at all.
    fn replace(self, journal: &mut Journal, epoch: u64) -> std::io::Result<Contents> {
        let temporary = self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        temporary.as_file().sync_data()?;
        let file = temporary.persist(&journal.path).map_err(|error| error.error)?;
        journal.go_on_in((file, self.length), self.contents.origins.clone(), epoch);
        tell_unsynced(sync_folder(folder_of(&journal.path)));
        Ok(self.contents)
    }
}

/// A folder that cannot be synced, as on some network drives, is no reason to refuse what is written.
fn tell_unsynced(synced: std::io::Result<()>) {
    if let Err(error) = synced {
        tracing::warn!(%error, "a new file may not survive a power cut");
    }
}

/// Writes a session file from what the session says and the states of the journal: complete or not at all.
pub(super) fn save(journal: &mut Journal, saving: &Saving, watch: &mut Watch<'_>) -> Result<u64, Halt> {
    let path = &saving.path;
    let fail = |source| StorageError::Write { what: "the session cannot be saved", path: path.clone(), source };
    let zip_fail = |error: zip::result::ZipError| fail(std::io::Error::other(error));
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(StorageError::NoFolder { path: folder.to_owned() }.into());
    }
    let document = saving.document.relative_to(folder);

    let mut temporary = temporary_in(folder).map_err(fail)?;
    let mut zip = zip::ZipWriter::new(temporary.as_file_mut());
    let options = zip::write::SimpleFileOptions::default().large_file(true);
    zip.start_file(DOCUMENT, options).map_err(zip_fail)?;
    zip.write_all(document.to_json().as_bytes()).map_err(fail)?;
    zip.start_file(JOURNAL, options.compression_method(zip::CompressionMethod::Stored)).map_err(zip_fail)?;
    zip.write_all(MAGIC).map_err(fail)?;
    let facts = [Fact::Settings(document.settings), Fact::Provenance(document.provenance)].map(Entry::Fact);
    let painted = saving.mask.clone().map(|mask| Entry::Fact(Fact::Mask(Some(mask))));
    for entry in facts.into_iter().chain(painted).chain(saving.references.clone().map(Entry::References)) {
        entry.encode(None).write(&mut zip).map_err(fail)?;
    }
    let origins = journal.origins.as_ref().map(|(origins, _)| origins.clone());
    let unwritten: Vec<Entry> = journal.unwritten.iter().cloned().collect();
    let (mut entries, length) = journal.entries().map_err(fail)?;
    watch.begin(length)?;
    let mut write = |raw: Raw| -> Result<(), Halt> {
        let is_there = |facts: &StateFacts| saving.document.runs.iter().any(|run| run.id == facts.id().run);
        let raw = match raw.fact() {
            // Written once, above; where files lie here is nobody else's business.
            Some(Ok(
                Fact::Settings(_) | Fact::Preset(_) | Fact::Mask(_) | Fact::Provenance(_) | Fact::Saved { .. },
            )) => return Ok(()),
            _ if raw.references().is_some() => return Ok(()),
            // Of a run that was deleted.
            _ if raw.state_facts().is_some_and(|facts| !is_there(&facts)) => return Ok(()),
            _ => raw.with_models(&|model| relative(model, folder)),
        };
        // What is the origins takes no room.
        let is_long = |facts: &StateFacts| facts.pictures == Pictures::Own && !saving.last.contains(&facts.id());
        let is_left_out = saving.detail == Detail::Small && raw.state_facts().is_some_and(|facts| is_long(&facts));
        let raw = if is_left_out { raw.without_pictures().unwrap_or(raw) } else { raw };
        raw.write(&mut zip).map_err(fail)?;
        Ok(())
    };
    let mut done = 0;
    while let Some(raw) = Raw::read(&mut entries) {
        done += raw.len();
        write(raw)?;
        watch.advance_to(done)?;
    }
    if done != length {
        // It was written by this process; a part of it would be taken for all.
        return Err(fail(std::io::Error::other(format!("only {done} of {length} bytes can be read back"))).into());
    }
    for entry in unwritten {
        write(entry.encode(origins.as_deref()))?;
    }
    zip.finish().map_err(zip_fail)?;
    let bytes = temporary.as_file().metadata().map_err(fail)?.len();
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(path).map_err(|error| fail(error.error))?;
    tell_unsynced(sync_folder(folder));
    Ok(bytes)
}

/// The journal in a session file, and its length; none in a file that is no zip.
///
/// # Errors
/// [`StorageError`] when it cannot be read, or is a zip but no session.
pub(super) fn with_packed_journal<T>(
    path: &Path,
    read: &mut dyn FnMut(&mut dyn Read, u64) -> Result<T, Halt>,
) -> Result<Option<T>, Halt> {
    crate::file::check(path).map_err(StorageError::from)?;
    let file = File::open(path).map_err(|source| StorageError::Read { path: path.to_owned(), source })?;
    if !Document::is_packed(path, &file)? {
        return Ok(None);
    }
    let damaged = |what: String| StorageError::Damaged { path: path.to_owned(), what };
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
    let mut entry = archive.by_name(JOURNAL).map_err(|_| StorageError::NotASession { path: path.to_owned() })?;
    if entry.compression() != zip::CompressionMethod::Stored {
        // Ours are stored as they are; a compressed one could unpack to any size.
        return Err(damaged("its journal is compressed".to_owned()).into());
    }
    let size = entry.size();
    read(&mut BufReader::with_capacity(1 << 20, &mut entry), size).map(Some)
}

/// Reads a session into the journal, replacing what it held; a failure or a stop leaves the journal as it was.
///
/// A folder is opened only when it `recovers` what a crash left behind: that takes the journal out of the folder.
pub(super) fn open(
    journal: &mut Journal,
    (path, recovers): (&Path, bool),
    epoch: u64,
    watch: &mut Watch<'_>,
) -> Result<Restored, Halt> {
    let write = |source| StorageError::Write { what: "the autosave cannot be written", path: path.to_owned(), source };
    if !recovers && path.is_dir() {
        return Err(StorageError::NotASession { path: path.to_owned() }.into());
    }
    // It may have waited long, and was stopped meanwhile.
    watch.begin(0)?;
    let folder = folder_of(path);
    let mut differences = Vec::new();
    let (contents, is_packed) = if recovers {
        (recover(journal, path, epoch, watch)?, false)
    } else {
        let mut next = Next::new(journal).map_err(write)?;
        // Paths in the file are relative to it; those in the journal must not be, for it lies elsewhere.
        let packed = with_packed_journal(path, &mut |input, size| {
            watch.begin(size)?;
            let mut entries = Entries::new(input, path)?;
            while let Some(raw) = entries.next() {
                next.push(&raw.with_models(&|model| absolute(model, folder))).map_err(write)?;
                watch.advance_to(entries.good)?;
            }
            if entries.good != size {
                let what = format!("only {} of {size} bytes are intact", entries.good);
                return Err(StorageError::Damaged { path: path.to_owned(), what }.into());
            }
            Ok(())
        })?;
        if packed.is_none() {
            let (entries, changed) = recipe::read(path)?;
            differences = changed;
            for entry in entries {
                next.push(&entry.encode(None)).map_err(write)?;
            }
        }
        watch.report()?;
        (next.replace(journal, epoch).map_err(write)?, packed.is_some())
    };
    // Recognised here and remembered: the window asks for the classes next, and a checkpoint may take long to open.
    for model in [&contents.settings.generate.generator, &contents.settings.refine.classifier] {
        drop(crate::zoo::find(model));
    }
    // What was looked at, or where that was not kept the end of its run; else the end of the last run.
    let look = is_packed.then(|| Document::open(path).ok()).flatten().map(|(look, _)| look);
    let looked_at = look.as_ref().and_then(|look| look.shown);
    let run = looked_at.and_then(|at| contents.trace.run(at.run)).or_else(|| contents.trace.runs().last());
    let way = run.map_or_else(Vec::new, |run| contents.trace.path(run.id));
    let is_kept = |at: &StateId| way.get(at.iteration as usize).is_some_and(|id| contents.index.contains_key(id));
    let end = run.map(|run| StateId { run: run.id, iteration: way.len().saturating_sub(1) as u32 });
    let shown = looked_at.filter(is_kept).or(end);
    let first = shown.and_then(|at| way.get(at.iteration as usize)).copied();
    let first = first.and_then(|id| Some((id, journal.read(id, *contents.index.get(&id)?)?)));
    Ok(Restored {
        epoch,
        path: is_packed.then(|| path.to_owned()),
        older: contents.saved.filter(|(file, bytes)| is_as_written(file, *bytes)).map(|(file, _)| file),
        settings: contents.settings,
        provenance: contents.provenance,
        origins: contents.origins.map(|(origins, _)| origins),
        references: contents.references,
        mask: contents.mask,
        trace: contents.trace,
        index: contents.index.into_iter().collect(),
        shown,
        sample: look.as_ref().and_then(|look| look.sample).unwrap_or(0),
        preset: look.and_then(|look| look.preset).or(contents.preset),
        first,
        differences,
    })
}

/// Goes on in the journal that a crash left behind in `folder`.
fn recover(journal: &mut Journal, folder: &Path, epoch: u64, watch: &mut Watch<'_>) -> Result<Contents, Halt> {
    let path = folder.join(JOURNAL);
    let read = |source| StorageError::Read { path: path.clone(), source };
    let write = |source| StorageError::Write { what: "the autosave cannot be written", path: path.clone(), source };
    // Held until the folder is gone, so that no other window takes it too.
    let lock = File::open(folder.join(LOCK));
    if let Ok(lock) = &lock {
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StorageError::Taken { path: folder.to_owned() },
            TryLockError::Error(source) => read(source),
        })?;
    }
    let file = File::options().read(true).write(true).open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StorageError::Taken { path: folder.to_owned() },
        _ => read(error),
    })?;
    let length = file.metadata().map_err(read)?.len();
    watch.begin(length)?;
    let mut entries = Entries::new(BufReader::with_capacity(1 << 20, &file), &path)?;
    let contents = if matches!(entries.version, Version::Two(_)) {
        let mut next = Next::new(journal).map_err(write)?;
        while let Some(raw) = entries.next() {
            next.push(&raw).map_err(write)?;
            watch.advance_to(entries.good)?;
        }
        next.replace(journal, epoch).map_err(write)?
    } else {
        let mut contents = Contents::default();
        loop {
            let offset = entries.good;
            let Some(raw) = entries.next() else { break };
            contents.take(&raw, offset);
            watch.advance_to(entries.good)?;
        }
        let good = entries.good;
        file.set_len(good).and_then(|()| file.sync_data()).map_err(write)?;
        // Below one folder this is a change of names and no copy.
        let file = match std::fs::rename(&path, &journal.path) {
            Ok(()) => file,
            Err(_) => copy_to(&file, &journal.path).map_err(write)?,
        };
        journal.go_on_in((file, good), contents.origins.clone(), epoch);
        tell_unsynced(sync_folder(folder_of(&journal.path)));
        contents
    };
    remove_taken(folder);
    Ok(contents)
}

/// A copy of `file` on another disk, complete or not at all.
fn copy_to(mut file: &File, path: &Path) -> std::io::Result<File> {
    let mut copy = temporary_in(folder_of(path))?;
    file.rewind()?;
    std::io::copy(&mut file, &mut copy)?;
    copy.as_file().sync_data()?;
    Ok(copy.persist(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::RefineSettings;
    use crate::trace::RunId;

    #[test]
    fn a_run_that_leaves_no_name_for_the_next_is_refused() {
        let mut contents = Contents::default();
        for id in [7, u64::MAX] {
            contents.take_fact(Fact::Run { id: RunId(id), parent: None, settings: RefineSettings::default() });
        }
        assert_eq!((contents.trace.runs().count(), contents.trace.next_id()), (1, RunId(8)));
    }
}
