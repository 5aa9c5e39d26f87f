//! What the journal on the disk is told.

use super::Session;
use super::disk::{DiskJob, Entry, Fact};

impl Session {
    pub(super) fn append(&mut self, entry: Entry) {
        self.jobs.push(DiskJob::Append { epoch: self.epoch(), entry });
    }

    pub(super) fn remember(&mut self, fact: Fact) {
        self.append(Entry::Fact(fact));
    }

    /// What every journal begins with.
    pub(super) fn remember_start(&mut self) {
        self.remember_settings();
        self.remember_preset();
        self.remember_provenance();
    }

    pub(super) fn remember_settings(&mut self) {
        self.remember(Fact::Settings(self.record.settings.clone()));
    }

    pub(super) fn remember_preset(&mut self) {
        if let Some(preset) = self.preset() {
            self.remember(Fact::Preset(preset.key.to_owned()));
        }
    }

    pub(super) fn remember_provenance(&mut self) {
        self.remember(Fact::Provenance(self.record.provenance.clone()));
    }

    /// What is painted, or that nothing is any more.
    pub(super) fn remember_mask(&mut self) {
        self.remember(Fact::Mask(self.record.mask.clone()));
    }

    /// Begins the journal anew under this epoch: what it held before is void, and would only fill the disk.
    pub(super) fn rewrite_journal(&mut self) {
        self.jobs.push(DiskJob::Reset { epoch: self.epoch() });
        self.remember_start();
        if self.record.mask.is_some() {
            self.remember_mask();
        }
        if let Some(references) = self.record.references.clone() {
            self.append(Entry::References(references));
        }
        if let Some(origins) = self.record.origins.clone() {
            self.append(Entry::Origins(origins));
        }
    }
}
