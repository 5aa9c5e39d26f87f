//! What is measured: sets and real pictures that are opened and go together, and what looks at them.

use super::dumps::{Files, Protocol};
use super::extractor::Extractor;
use super::looking::BATCH;
use super::pairs::{Pair, Partners};
use super::plan::{Job, Plan, What};
use super::reference::{Reference, seen};
use super::sets::{self, Kind, Pictures};
use super::{CliError, EvaluateOptions, weights_of};
use crate::session::host::Folders;

/// Everything that is read, but for what the pictures hold.
pub(super) struct Subject {
    pub(super) extractor: Extractor,
    /// SHA-256 of its weights.
    pub(super) sha256: String,
    pub(super) reference: Reference,
    pub(super) sets: Vec<Pictures>,
    partners: Partners,
    /// Of the pictures, `[C, H, W]`.
    pub(super) shape: [usize; 3],
}

impl Subject {
    /// Opens all of it.
    ///
    /// # Errors
    /// What cannot be opened, or does not go together.
    pub(super) fn open(options: &EvaluateOptions, folders: &Folders) -> anyhow::Result<Self> {
        let extractor = Extractor::find(options)?;
        let reference = Reference::open(&options.reference, &extractor.manifest)?;
        if options.save_statistics.is_some() {
            reference.check_statistics()?;
        }
        let (sets, mut partners) = sets::open(&options.sets, options.limit, &extractor.manifest)?;
        if options.pairs {
            if let Some(seen) = sets.iter().find(|set| matches!(set.kind, Kind::Seen(_))) {
                return Err(CliError::PairSeen { name: seen.name.clone() }.into());
            }
            partners.declare(&sets.iter().map(|set| (set.name.as_str(), set.count())).collect::<Vec<_>>())?;
        }
        if partners.are_none() && !options.lpips.is_empty() {
            return Err(CliError::NoPairs.into());
        }
        let of_sets = || sets.iter().find_map(|set| set.shape);
        let shape = reference.shape().or_else(of_sets).unwrap_or(extractor.manifest.shape());
        // Other pixels are other pictures, unless each is brought to one size in one way.
        if extractor.dialect.is_none() {
            sets.iter().try_for_each(|set| set.check(shape))?;
            reference.check(shape)?;
        }
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        // Said before large weights are read.
        Files::of(options.save_features.as_deref(), &names, options.replaces())?;
        let sha256 = weights_of(options, &extractor, folders)?;
        Self { extractor, sha256, reference, sets, partners, shape }.checked()
    }

    /// The real pictures alone, or none, for pictures of `[C, H, W]` that are made meanwhile; and what looks, with the SHA-256 of its
    /// weights.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn of_real(
        (extractor, sha256): (Extractor, String),
        reference: Reference,
        shape: [usize; 3],
    ) -> anyhow::Result<Self> {
        Self { extractor, sha256, reference, sets: Vec::new(), partners: Partners::default(), shape }.checked()
    }

    /// What was seen before was seen in the same way.
    fn checked(self) -> anyhow::Result<Self> {
        let known = self.sets.iter().filter_map(seen).chain(self.reference.seen());
        known.into_iter().try_for_each(|(path, sight)| self.protocol().check(path, sight))?;
        Ok(self)
    }

    pub(super) fn protocol(&self) -> Protocol<'_> {
        Protocol { extractor: &self.extractor.manifest.name, sha256: &self.sha256, resize: self.extractor.resize() }
    }

    /// Where features go.
    pub(super) fn files(&self, options: &EvaluateOptions) -> Result<Files, CliError> {
        let names: Vec<&str> = self.sets.iter().map(|set| set.name.as_str()).collect();
        Files::of(options.save_features.as_deref(), &names, options.replaces())
    }

    /// The sets that are compared with partners, and what is to be said of the others.
    pub(super) fn pairs(&self) -> (Vec<Pair>, Vec<String>) {
        Pair::of_all(&self.sets, &self.partners, &self.extractor.forms(&self.sets, self.shape))
    }

    /// Sets and parts of the real pictures that nobody has looked at yet.
    pub(super) fn new_ones(&self) -> impl Iterator<Item = (What, &Pictures)> {
        let real = self.reference.parts.iter().enumerate().map(|(place, set)| (What::Real(place), set));
        let sets = self.sets.iter().enumerate().map(|(place, set)| (What::Set(place), set));
        real.chain(sets).filter(|(_, set)| !matches!(set.kind, Kind::Seen(_)))
    }

    /// All that has to be done picture by picture.
    pub(super) fn plan(&self, pairs: &[Pair]) -> Plan {
        let of_pairs = pairs.iter().map(|pair| pair.job(&self.sets));
        let looked_at = self.new_ones().map(|(what, set)| Job::new(what, self.extractor.runs(set, self.shape), BATCH));
        Plan::new(of_pairs.chain(looked_at).collect())
    }

    /// The set that something is about.
    pub(super) fn set(&self, what: What) -> &Pictures {
        match what {
            What::Real(place) => &self.reference.parts[place],
            What::Pairs(place) | What::Set(place) => &self.sets[place],
        }
    }
}
