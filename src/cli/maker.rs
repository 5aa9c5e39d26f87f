//! Pictures that are made, any number of them: batch by batch, each on the disk before the next begins.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::Outcome;
use super::begin::Begun;
use super::driver::Driver;
use super::ending::{Ended, Whole};
use super::generate::files;
use super::opened::{MAX_TOGETHER, Opened};
use super::shard;
use crate::export::{self, ExportError, Parts, Results};
use crate::origins::{Edited, Origins};
use crate::session::Settings;
use crate::session::document::Document;
use crate::trace::Trace;

/// Makes pictures batch by batch.
pub(super) struct Maker {
    pub(super) begun: Begun,
    pub(super) driver: Driver,
    parts: Parts,
    /// What is done, for the progress.
    what: &'static str,
    /// Places of all pictures, those before the first of which were left out.
    all: Range<usize>,
    /// Those of them that are made here.
    own: Range<usize>,
    /// Pictures of every batch but the last.
    pub(super) batch: usize,
}

impl Maker {
    /// Goes on behind what was made before.
    pub(super) fn new(
        begun: Begun,
        driver: Driver,
        (what, all): (&'static str, Range<usize>),
        batch: usize,
    ) -> Result<Self, ExportError> {
        let own = begun.out.share().map_or_else(|| all.clone(), |share| share.own.clone());
        let parts = Parts::open(begun.out.path(), begun.out.recipe(), own.start)?;
        driver.note(parts.warnings());
        driver.note(parts.lost(own.start, begun.out.reached()).as_slice());
        Ok(Self { begun, driver, parts, what, batch: batch.clamp(1, all.len().max(1)), all, own })
    }

    /// From now on the progress counts pictures.
    pub(super) fn count(&mut self) {
        self.driver.count_pictures(self.what, (self.parts.count(), self.own.len()), self.batch);
    }

    /// Places of what is left to do.
    pub(super) fn rest(&self) -> Range<usize> {
        self.parts.next(self.own.start).min(self.own.end)..self.own.end
    }

    /// Forgets what is unfinished, where the rest cannot be made by itself.
    pub(super) fn begin_anew(&mut self) -> Result<(), ExportError> {
        if self.rest().is_empty() {
            return Ok(());
        }
        self.parts.clear()?;
        self.begun.out.set_reached(0)
    }

    /// The settings for the batch at `places`, which `filled` pictures are made for.
    pub(super) fn settings(&self, places: &Range<usize>) -> (Settings, usize) {
        let mut settings = self.begun.options.settings.clone();
        let filled = if places.len() == self.all.len() { places.len() } else { self.driver.filled(places.len()) };
        settings.generate.first_seed += (places.start - self.all.start) as u64;
        settings.generate.samples = filled as u32;
        (settings, filled)
    }

    /// Makes a batch by `make`, which may give more than the batch has places, or less when it was interrupted; returns whether
    /// there is to be another one.
    pub(super) fn make(
        &mut self,
        places: Range<usize>,
        make: impl FnOnce(&mut Driver) -> anyhow::Result<Option<Arc<Origins>>>,
    ) -> anyhow::Result<bool> {
        if self.driver.interrupted {
            return Ok(false);
        }
        self.count();
        // What could not be read before the batch is behind it as well.
        let start = self.rest().start.min(places.start);
        if let Some(made) = make(&mut self.driver)? {
            self.begun.out.set_provenance(&self.driver.provenance)?;
            let n = made.images.len().min(places.len());
            // A batch that was cut short goes on where it was cut.
            let end = if self.driver.interrupted { places.start + n } else { places.end };
            self.add((start, end), n, &made)?;
            self.begun.out.set_reached(self.parts.next(self.own.start))?;
        }
        Ok(!self.driver.interrupted)
    }

    /// Puts the first `n` of the pictures on the disk. Where it has no room for all of them, as many as fit are kept.
    fn add(&mut self, (start, end): (usize, usize), n: usize, made: &Origins) -> Result<(), ExportError> {
        let added = self.parts.add_made((start, end), &part_of(made, 0..n));
        let mut fewer = n;
        while let Err(ExportError::Write { .. }) = &added
            && fewer > 1
        {
            fewer /= 2;
            // The places of those that could not be read are before the first.
            if self.parts.add_made((start, end - n + fewer), &part_of(made, 0..fewer)).is_ok() {
                break;
            }
        }
        added
    }

    /// Puts the results together and says what they are: `say` gets their number and the device, `hint` their folder. `result`
    /// has what was left out.
    pub(super) fn finish(
        self,
        result: anyhow::Result<Vec<String>>,
        pictures: Option<&Opened>,
        edits: bool,
        say: impl FnOnce(usize, &str) -> String,
        hint: impl FnOnce(&Path) -> String,
    ) -> anyhow::Result<Outcome> {
        let at_end = self.rest().is_empty();
        let Self { begun, driver, parts, all, own, .. } = self;
        let done = parts.count();
        let ended = Ended { begun, driver, done: (done, own.len()), under_way: None, at_end, result };
        ended.put_together(|begun, driver, place| {
            if let Some(share) = begun.out.share() {
                let document = begun.document(driver, place, pictures, None, &Trace::default());
                return Ok(shard::kept(share, place, document, (done, driver.device())));
            }
            let Settings { generate, edit, .. } = &begun.options.settings;
            let edit = edits.then_some(edit);
            let shown = parts.made(shown_of(all.len()), generate, edit)?;
            let recorded = begun.options.recorded.as_ref();
            if let Some(text) = recorded.and_then(|recorded| recorded.compare_samples(&shown)) {
                driver.say(&format!("warning: {text}"));
            }
            let listed = Some(&shown).filter(|_| are_listed(all.len()));
            let mut document = begun.document(driver, place, pictures, listed, &Trace::default());
            // An interpolation was made of nothing, but is an edit all the same.
            document.edited = edit.cloned();
            Ok(whole_of(&parts, all.len(), (shown, document), (say(done, driver.device()), hint(place))))
        })
    }
}

/// Whether so many pictures are held at once, and therefore listed and written one by one.
pub(super) const fn are_listed(count: usize) -> bool {
    count <= MAX_TOGETHER
}

/// How many of so many pictures are shown: all where they are held at once, else those on the sheet.
pub(super) const fn shown_of(count: usize) -> usize {
    if are_listed(count) { MAX_TOGETHER } else { export::SHEET_OF_MANY }
}

/// What `count` pictures that were made come to, of which there are batches, the first ones to be shown, and a description; what
/// is said of them, and what to do with them.
pub(super) fn whole_of(
    parts: &Parts,
    count: usize,
    (shown, document): (Origins, Document),
    (said, hint): (String, String),
) -> Whole<'_> {
    let files = files(count);
    let names = export::names(&files, &shown.seeds);
    let write = Box::new(move |folder: &Path| {
        if are_listed(count) {
            Results { origins: &shown, document: &document, refined: None }.write(folder)
        } else {
            parts.write_made(folder, &document, &shown)
        }
    });
    Whole { files, names, write, said, hint }
}

/// Some of the pictures, with all that is known of them.
pub(super) fn part_of(origins: &Origins, places: Range<usize>) -> Origins {
    let slice = |images: &crate::image::ImageBatch| images.slice(places.start, places.end);
    Origins {
        images: slice(&origins.images),
        labels: origins.labels[places.clone()].to_vec(),
        seeds: origins.seeds[places.clone()].to_vec(),
        classes: origins.classes.clone(),
        names: origins.names.get(places.clone()).map_or_else(Vec::new, <[String]>::to_vec),
        made_by: origins.made_by.clone(),
        edited: origins.edited.as_ref().map(|edited| Edited { reference: slice(&edited.reference), ..edited.clone() }),
    }
}
