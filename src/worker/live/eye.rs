//! How the judge looks at pictures, piece by piece, on the CPU.

use burn::tensor::Device;

use super::turn::Turn;
use crate::classifier::Classifier;
use crate::image::{ImageBatch, in_levels};
use crate::metrics::{Features, MetricError};
use crate::refiner::Chunks;
use crate::refiner::evaluate::features;
use crate::worker::error::WorkError;
use crate::worker::memory;
use crate::worker::message::MemoryEstimate;

/// Pictures that are looked at between two rests.
pub(super) const PIECE: usize = 32;
/// Bytes that a look may take beside the weights: what is computed beside it needs the memory more.
const MOST_BYTES: u64 = 512 << 20;

/// Why there are no numbers.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiveError {
    #[error("the judge cannot look at the pictures")]
    Work(#[from] WorkError),
    #[error(
        "picture {place} of the {count} {when} holds values that are not finite numbers, so nothing can be said of it"
    )]
    NotFinite { when: &'static str, place: usize, count: usize },
    #[error("what the judge sees in the pictures {when} is no number")]
    Broken { when: &'static str, source: MetricError },
    /// Newer numbers are wanted, or none any more.
    #[error("stopped before it was done")]
    Stopped,
}

/// The judge, and how pictures go through it.
pub(super) struct Eye<'a> {
    judge: &'a Classifier,
    chunks: Chunks,
    device: &'a Device,
}

impl<'a> Eye<'a> {
    /// Ready for pictures of `[H, W]` pixels.
    ///
    /// # Errors
    /// [`WorkError::Memory`] when not even one fits into what the user allows.
    pub(super) fn of(
        judge: &'a Classifier,
        size: [usize; 2],
        limit: Option<u32>,
        device: &'a Device,
    ) -> Result<Self, WorkError> {
        let weights = judge.weight_bytes();
        let budget = memory::budget(limit, true, weights).min(weights + MOST_BYTES);
        let estimate = MemoryEstimate::fit(false, weights, judge.activation_bytes(size), PIECE, budget);
        if let Some(limit) = limit.filter(|limit| estimate.total() > u64::from(*limit) << 20) {
            return Err(WorkError::Memory { needed: estimate.total() >> 20, limit });
        }
        Ok(Self { judge, chunks: Chunks { at_once: estimate.at_once as usize, ..Chunks::CPU }, device })
    }

    /// What it sees in a few pictures, as files of 8 bits show them.
    pub(super) fn look(&self, images: &ImageBatch) -> Result<Features, WorkError> {
        let [values, logits] = features(self.judge, &in_levels(images), self.chunks, self.device)?;
        let n = images.len().max(1);
        let mut seen = Features::new(values.len() / n, logits.len() / n);
        seen.extend(&values, &logits);
        Ok(seen)
    }

    /// Likewise in all of a batch, piece by piece; `when` says which pictures these are.
    pub(super) fn look_at_all(
        &self,
        images: &ImageBatch,
        when: &'static str,
        turn: &mut dyn Turn,
    ) -> Result<Features, LiveError> {
        let count = images.len();
        let is_broken = |place: &usize| images.sample(*place).iter().any(|value| !value.is_finite());
        if let Some(place) = (0..count).find(is_broken) {
            return Err(LiveError::NotFinite { when, place, count });
        }
        let mut all = Features::default();
        for first in (0..count).step_by(PIECE) {
            let seen = self.look(&images.slice(first, (first + PIECE).min(count)))?;
            if first == 0 {
                all = seen;
            } else {
                all.append(&seen).map_err(|source| LiveError::Broken { when, source })?;
            }
            if !turn.goes_on() {
                return Err(LiveError::Stopped);
            }
        }
        all.check().map_err(|source| LiveError::Broken { when, source })?;
        Ok(all)
    }
}
