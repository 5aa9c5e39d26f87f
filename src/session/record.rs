//! What is saved: everything the user would be sorry to lose.

use std::path::PathBuf;
use std::sync::Arc;

use super::Settings;
use super::disk::{Detail, Saving, Ticket};
use super::document::Document;
use super::iterates::Iterates;
use super::provenance::Provenance;
use super::settings::Undoable;
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{PRESETS, Preset};
use crate::trace::{Run, StateId, Trace};

/// What is saved.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) settings: Settings,
    /// The published settings that are in force, or that these come from.
    pub(super) preset: Option<&'static Preset>,
    pub(super) origins: Option<Arc<Origins>>,
    /// Real pictures that early stopping compares with.
    pub(super) references: Option<ImageBatch>,
    /// Pixels that inpainting generates, painted by hand; none while nothing is painted.
    pub(super) mask: Option<Mask>,
    /// Whether it is another than the session file holds, or held when other pictures came below it.
    pub(super) is_mask_new: bool,
    pub(super) trace: Trace,
    pub(super) iterates: Iterates,
    pub(super) provenance: Provenance,
    /// The session file.
    pub(super) file: Option<PathBuf>,
    /// Whether there is something that no session file holds.
    pub(super) unsaved: bool,
    /// Whether targets were chosen by hand for these pictures.
    pub(super) has_chosen_targets: bool,
    /// Whether the session file leaves out iterates that no other file holds.
    pub(super) left_out: bool,
    /// The last revision that a session file holds with every iterate.
    pub(super) whole: Option<u64>,
    /// Counts what a session file would hold, so that work that goes on during a save is not taken for saved.
    pub(super) revision: u64,
    /// Counts what the journal is about, another set of pictures or another file: what the disk writes or says for another
    /// count belongs to another session.
    pub(super) epoch: u64,
    /// The highest epoch that was ever given away; one that is being opened may come to nothing.
    last_epoch: u64,
}

impl Record {
    pub(super) fn new(settings: Settings) -> Self {
        let mut record = Self {
            settings,
            preset: None,
            origins: None,
            references: None,
            mask: None,
            is_mask_new: false,
            trace: Trace::default(),
            iterates: Iterates::default(),
            provenance: Provenance::new(),
            file: None,
            unsaved: false,
            has_chosen_targets: false,
            left_out: false,
            whole: None,
            revision: 0,
            epoch: 0,
            last_epoch: 0,
        };
        record.note_preset(None);
        record
    }

    /// Remembers which published settings are in force; where none are, `last` are those that these come from. Whether they
    /// are others than before.
    pub(super) fn note_preset(&mut self, last: Option<&str>) -> bool {
        let before = self.preset;
        let refine = &self.settings.refine;
        let now = PRESETS.iter().find(|preset| preset.apply(refine) == *refine);
        self.preset = now.or_else(|| last.and_then(Preset::from_key)).or(self.preset);
        self.preset != before
    }

    /// What can be taken back: settings, and what is painted.
    pub(super) fn undoable(&self) -> Undoable {
        (self.settings.clone(), self.mask.clone())
    }

    /// Nothing yet, on the same machine: what is saved next follows on what was saved before.
    pub(super) fn fresh(&mut self, settings: Settings) {
        let mut fresh = Self::new(settings);
        fresh.iterates.set_budget(self.iterates.budget());
        fresh.last_epoch = self.last_epoch;
        fresh.epoch = fresh.next_epoch();
        fresh.provenance = std::mem::take(&mut self.provenance);
        *self = fresh;
    }

    /// An epoch that was not there before.
    pub(super) const fn next_epoch(&mut self) -> u64 {
        self.last_epoch += 1;
        self.last_epoch
    }

    /// There is something that no session file holds.
    pub(super) const fn touch(&mut self) {
        self.unsaved = true;
        self.revision += 1;
    }

    /// Forgets every run: these are other pictures, and another session, so saving must not replace the file of the old ones.
    pub(super) fn set_origins(&mut self, origins: Arc<Origins>) {
        self.origins = Some(origins);
        self.trace = Trace::default();
        self.iterates = self.iterates.emptied();
        self.epoch = self.next_epoch();
        self.file = None;
        self.has_chosen_targets = false;
        self.touch();
    }

    /// Number of pictures.
    pub(super) fn count(&self) -> usize {
        self.origins.as_ref().map_or(0, |origins| origins.labels.len())
    }

    /// Whether there is more than what generating again would give.
    pub(super) fn has_iterated(&self) -> bool {
        self.trace.runs().any(|run| run.last_iteration() > Some(run.first_iteration()))
    }

    /// Whether there are iterates that no session file holds.
    pub(super) fn has_unsaved_iterates(&self) -> bool {
        let edited = self.origins.as_ref().is_some_and(|origins| origins.edited.is_some());
        self.left_out || self.unsaved && (edited || self.has_iterated())
    }

    /// Whether there is a mask that no session file holds: its strokes do not come again by themselves.
    pub(super) const fn has_unsaved_mask(&self) -> bool {
        self.is_mask_new && self.mask.is_some()
    }

    /// Likewise targets: nobody chooses them again but by hand.
    pub(super) const fn has_unsaved_targets(&self) -> bool {
        self.unsaved && self.has_chosen_targets
    }

    /// Notes that a file holds it as it was, every iterate or the last of each run.
    pub(super) fn note_saved(&mut self, path: PathBuf, revision: u64, detail: Detail) {
        if detail == Detail::Full {
            self.whole = Some(revision);
        }
        let is_long = |run: &Run| run.last_iteration() > Some(run.first_iteration() + 1);
        self.left_out = self.whole != Some(revision) && self.trace.runs().any(is_long);
        self.unsaved = revision != self.revision;
        self.is_mask_new &= self.unsaved;
        self.file = Some(path);
    }

    /// What a session file of it is made of.
    pub(super) fn saving(&self, ticket: Ticket, (path, replaces): (PathBuf, bool), detail: Detail) -> Saving {
        let last = |run: &Run| Some(StateId { run: run.id, iteration: run.last_iteration()? });
        Saving {
            ticket,
            epoch: self.epoch,
            revision: self.revision,
            path,
            detail,
            replaces,
            document: Document::new(&self.settings, &self.provenance, self.origins.as_deref(), &self.trace, None),
            references: self.references.clone(),
            mask: self.mask.clone(),
            last: self.trace.runs().filter_map(last).collect(),
        }
    }
}
