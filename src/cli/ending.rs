//! The end of work on many pictures: what the finished batches come to is put together and told, also when it was stopped or
//! failed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Outcome;
use super::begin::Begun;
use super::describe::written;
use super::driver::Driver;
use crate::data::PARTS;
use crate::export::{ExportError, Extent};
use crate::units::counted;

/// Work that ended.
pub(super) struct Ended {
    pub(super) begun: Begun,
    pub(super) driver: Driver,
    /// Pictures that are done and kept, and how many there are.
    pub(super) done: (usize, usize),
    /// Where the batch behind them is kept as it was when the work ended, and after how many iterations.
    pub(super) under_way: Option<(PathBuf, u64)>,
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
        let Self { mut begun, mut driver, done: (done, of), under_way, at_end, result } = self;
        driver.finish();
        // What is kept is of other models, or not there, so this command cannot go on with it.
        let (is_moved, is_other) = match result.as_ref().err().and_then(|error| error.downcast_ref::<ExportError>()) {
            Some(ExportError::Moved { .. }) => (true, false),
            Some(ExportError::OtherRecipe { .. }) => (false, true),
            _ => (false, false),
        };
        if done > 0 || is_moved {
            begun.out.expect_parts();
        }
        let complete = result.is_ok() && (at_end || !driver.interrupted);
        let is_share = begun.out.share().is_some();
        // A share may have none that can be read.
        let is_nothing = done == 0 && !(is_share && complete);
        if is_nothing || is_moved || is_other {
            let kept = under_way.filter(|_| !is_moved && !is_other).map(told_under_way);
            if let Err(error) = result {
                return Err(match kept {
                    Some(kept) => error.context(kept),
                    None => error,
                });
            }
            let kept = kept.map_or_else(
                || "nothing is written".to_owned(),
                |kept| format!("{kept}, to be looked at; --resume begins it anew"),
            );
            driver.say(&format!("stopped before the first pictures were done: {kept}"));
            return Ok(driver.stopped());
        }
        if let Some(known) = begun.out.provenance() {
            driver.provenance = known.clone();
        }
        let kept = format!(
            "{done} of {of} pictures are done and kept in {}: the same command with --resume goes on behind them",
            begun.out.path().join(PARTS).display()
        );
        if is_share && !complete {
            // Its batches are all there is of it.
            result.with_context(|| kept.clone())?;
            let and = under_way.map_or_else(String::new, |kept| format!("; {}", told_under_way(kept)));
            driver.say(&format!("stopped: {kept}{and}"));
            return Ok(driver.stopped());
        }
        if is_share {
            begun.out.end_share(done);
        }
        let place = begun.out.place(complete);
        let Whole { files, names, write, said, hint } = make(&begun, &driver, &place)?;
        let extent = if complete { Extent::Whole } else { Extent::Part(done as u64) };
        let put_together = begun.out.publish(names, extent, write);
        driver.say_kept(&mut begun.out);
        let left_out = result.with_context(|| kept.clone())?;
        let stays = put_together.with_context(|| kept)?;
        driver.note(&left_out);
        if stays.is_none() {
            begun.options.tell(&format!("{said}\n{}{hint}", written(&place, &files)))?;
        }
        if complete {
            return Ok(Outcome::Done);
        }
        let written_are = stays.map_or_else(
            || "these are written".to_owned(),
            |more| format!("the results of {} from before stay", counted(more as usize, "picture")),
        );
        let and = under_way.map_or_else(String::new, |kept| format!("; {}", told_under_way(kept)));
        driver.say(&format!("stopped after {done} of {of} pictures; {written_are}, and --resume goes on{and}"));
        driver.say_earlier(&begun.out);
        Ok(driver.stopped())
    }
}

/// What is kept of a batch that did not end.
pub(super) fn told_under_way((path, iterations): (PathBuf, u64)) -> String {
    format!("the batch under way is kept after {} in {}", counted(iterations as usize, "iteration"), path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_under_way_is_named_with_its_file_and_its_iterations() {
        let path = Path::new("out").join("parts");
        let text = told_under_way((path.join("under-way.npz"), 1377));
        let file = path.join("under-way.npz").display().to_string();
        assert_eq!(text, format!("the batch under way is kept after 1377 iterations in {file}"));
    }
}
