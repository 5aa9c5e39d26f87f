//! The end of work on many pictures: what the finished batches come to is put together and told, also when it was stopped or
//! failed.

use std::path::Path;

use anyhow::Context as _;

use super::Outcome;
use super::begin::Begun;
use super::describe::written;
use super::driver::Driver;
use super::say::say_out;
use crate::export::{ExportError, Extent};
use crate::units::counted;

/// Work that ended.
pub(super) struct Ended {
    pub(super) begun: Begun,
    pub(super) driver: Driver,
    /// Pictures that are done and kept, and how many there are.
    pub(super) done: (usize, usize),
    /// No place is left.
    pub(super) at_end: bool,
    /// What was left out, or why it failed.
    pub(super) result: anyhow::Result<Vec<String>>,
}

/// Writes results into a folder.
type Writer<'a> = Box<dyn FnOnce(&Path) -> Result<(), ExportError> + 'a>;

/// What it comes to.
pub(super) struct Whole<'a> {
    /// The files, and their names one by one.
    pub(super) files: Vec<&'static str>,
    pub(super) names: Vec<String>,
    /// How they are written.
    pub(super) write: Writer<'a>,
    /// A line about them, and what to do with them.
    pub(super) said: String,
    pub(super) hint: String,
}

impl Ended {
    /// Puts the results together; `make` gets the folder that they go to.
    pub(super) fn put_together<'a>(
        self,
        make: impl FnOnce(&Begun, &Driver, &Path) -> anyhow::Result<Whole<'a>>,
    ) -> anyhow::Result<Outcome> {
        let Self { mut begun, mut driver, done: (done, of), at_end, result } = self;
        driver.finish();
        // What is kept is of other models, or not there, so this command cannot go on with it.
        let is_elsewhere = |error: &anyhow::Error| {
            let error = error.downcast_ref::<ExportError>();
            matches!(error, Some(ExportError::OtherRecipe { .. } | ExportError::Moved { .. }))
        };
        if done == 0 || result.as_ref().is_err_and(is_elsewhere) {
            result?;
            driver.say("stopped before the first pictures were done: nothing is written");
            return Ok(driver.stopped());
        }
        if let Some(known) = begun.out.provenance() {
            driver.provenance = known.clone();
        }
        let complete = result.is_ok() && (at_end || !driver.interrupted);
        let place = begun.out.place(complete);
        let Whole { files, names, write, said, hint } = make(&begun, &driver, &place)?;
        let extent = if complete { Extent::Whole } else { Extent::Part(done as u64) };
        let put_together = begun.out.publish(names, extent, write);
        driver.say_kept(&mut begun.out);
        let kept = format!(
            "{done} of {of} pictures are done and kept in {}: the same command with --resume goes on behind them",
            begun.out.path().join("parts").display()
        );
        let left_out = result.with_context(|| kept.clone())?;
        let stays = put_together.with_context(|| kept)?;
        driver.note(&left_out);
        if !begun.options.quiet && stays.is_none() {
            say_out(&format!("{said}\n{}{hint}", written(&place, &files)))?;
        }
        if complete {
            return Ok(Outcome::Done);
        }
        let written_are = stays.map_or_else(
            || "these are written".to_owned(),
            |more| format!("the results of {} from before stay", counted(more as usize, "picture")),
        );
        driver.say(&format!("stopped after {done} of {of} pictures; {written_are}, and --resume goes on"));
        driver.say_earlier(&begun.out);
        Ok(driver.stopped())
    }
}
