//! The refinement of one batch: all pictures, or some of many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::Driver;
use super::kept::Kept;
use super::opened::judge;
use super::tally::RUN;
use crate::export::{ExportError, Parts, UnderWay};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{Numbers, State};
use crate::session::Settings;
use crate::worker::Rest;

/// How often a batch that takes long is kept as it is.
const KEEP: Duration = Duration::from_secs(30);

/// A batch to be refined.
pub(super) struct Batch<'a> {
    pub(super) settings: &'a Settings,
    pub(super) origins: &'a Arc<Origins>,
    /// Real pictures that early stopping compares with.
    pub(super) references: Option<ImageBatch>,
    pub(super) iterations: u32,
    /// Where it is kept while it takes long.
    pub(super) parts: &'a Parts,
}

/// What came of a batch.
pub(super) struct Done {
    /// Of the pictures themselves, also where refining starts beside them.
    pub(super) before: Numbers,
    pub(super) after: ImageBatch,
    pub(super) numbers: Numbers,
    /// Iterations behind each picture, until it came to rest.
    pub(super) iterations: Vec<u32>,
    /// The last state, whichever is kept of every picture.
    pub(super) last: Arc<State>,
}

impl Batch<'_> {
    /// Refines it; `see` gets every state. Nothing came of it when it was interrupted before the first one. Says as well how it
    /// ended; what was done before it failed is there.
    pub(super) fn refine(
        self,
        driver: &mut Driver,
        see: &mut dyn FnMut(&State),
    ) -> anyhow::Result<(Option<Done>, anyhow::Result<Rest>)> {
        let Self { settings, origins, references, iterations, parts } = self;
        // A random start is no picture before; judge the origins themselves.
        let judged = if settings.refine.starts_at_origin() { None } else { judge(driver, settings, origins)? };
        if driver.interrupted {
            return Ok((None, Ok(Rest::Stopped)));
        }
        let mut kept = Kept::new(settings.refine.keep);
        let mut since = Instant::now();
        let mut failure = None;
        let run = (RUN, settings.refine.clone());
        let ended = driver.refine(run, origins, references, iterations, settings, &mut |state| {
            see(&state);
            if since.elapsed() > KEEP && failure.is_none() {
                failure = keep(parts, origins, &state).err();
                since = Instant::now();
            }
            kept.take(&state);
        });
        if let Some(error) = failure {
            driver.say(&format!("warning: what is under way cannot be kept on the way: {error}"));
        }
        let (Some(start), Some(last), Some((after, numbers))) = (kept.start(), kept.last(), kept.result()) else {
            return Ok((None, ended));
        };
        let before = judged.map_or_else(|| start.numbers.clone(), |state| state.numbers.clone());
        let (iterations, last) = (kept.iterations().to_vec(), Arc::clone(last));
        Ok((Some(Done { before, after, numbers, iterations, last }), ended))
    }
}

/// Keeps a state of a batch, unless one that came farther is there.
pub(super) fn keep(parts: &Parts, origins: &Origins, state: &State) -> Result<(), ExportError> {
    parts.keep_under_way(&UnderWay { origins, now: &state.images, numbers: &state.numbers, iteration: state.iteration })
}
