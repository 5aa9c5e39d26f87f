//! `lapidary refine` for more pictures than are held at once: batch by batch, in the memory of one.

use anyhow::Context as _;

use super::describe::written;
use super::driver::{Driver, say_out};
use super::kept::Kept;
use super::opened::{self, Opened, judge, labelled, listed_labels, origins_of};
use super::tally::{RUN, Tally};
use super::{Outcome, RunOptions};
use crate::data::Batch;
use crate::export;
use crate::export::stream::{RefinedBatch, StreamWriter};
use crate::image::ImageBatch;
use crate::refiner::settings::ITERATIONS;
use crate::refiner::{Numbers, Target};
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::Trace;
use crate::worker::Rest;
use crate::zoo::Manifest;

/// A batch and what came of it.
struct Done {
    labels: Option<Vec<usize>>,
    targets: Vec<usize>,
    before: Numbers,
    after: ImageBatch,
    numbers: Numbers,
    iterations: Vec<u32>,
}

/// What all batches have in common.
struct Plan<'a> {
    settings: &'a Settings,
    iterations: u32,
    /// Number of the classifier's classes.
    classes: usize,
    references: Option<ImageBatch>,
}

/// Refines and writes pictures.
///
/// # Errors
/// The chain from what failed to why. When batches had been done before, they are written.
pub(super) fn run(
    options: &RunOptions,
    pictures: &Opened,
    classifier: &Manifest,
    folders: &Folders,
) -> anyhow::Result<Outcome> {
    let RunOptions { settings, out, quiet, levels, .. } = options;
    let mut writer = StreamWriter::begin(out, *levels)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.notes);
    driver.note(&other_size(pictures, classifier));
    driver.note(pictures.source.notes());
    let plan = Plan {
        settings,
        iterations: settings.refine.iterations.map_or(ITERATIONS.default as u32, std::num::NonZeroU32::get),
        classes: classifier.classes.len(),
        references: opened::references(&options.references, classifier.shape(), &driver)?,
    };
    let (batch, of) = (settings.compute.batch as usize, pictures.count());
    // Fewer pictures than a batch are a batch of their own.
    let chunk = batch.min(of);
    let mut tally = Tally::default();
    let ended = pictures.source.for_each_batch(pictures.range.clone(), (classifier.shape(), batch), &mut |batch| {
        driver.count_pictures(writer.count(), of, chunk);
        let Some(done) = refine(&mut driver, &plan, &batch)? else { return anyhow::Ok(false) };
        writer.push(&RefinedBatch {
            first: batch.first,
            before: &batch.images,
            after: &done.after,
            labels: done.labels.as_deref(),
            targets: &done.targets,
            numbers_before: &done.before,
            numbers_after: &done.numbers,
            iterations: &done.iterations,
        })?;
        tally.add(&done.before, &done.numbers, &done.targets);
        Ok(!driver.interrupted)
    });
    driver.finish();
    let done = writer.count();
    if done == 0 {
        ended?;
        driver.say("stopped before the first batch was done: nothing is written");
        return Ok(Outcome::Interrupted);
    }
    writer.finish(&opened::refined_document(options, &driver, Some(pictures), None, &Trace::default()))?;
    let left_out =
        ended.with_context(|| format!("refining failed after {done} of {of} pictures; these are written"))?;
    driver.note(&left_out);
    if !*quiet {
        let files = written(out, &export::STREAMED_FILES);
        say_out(&format!("{}\n{files}", tally.describe(plan.iterations, driver.device(), settings)));
    }
    if driver.interrupted && done + left_out.len() < of {
        driver.say(&format!("stopped after {done} of {of} pictures; these are written"));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// A remark when an archive's pictures are not of the classifier's size: that is no fault, but good to know.
fn other_size(pictures: &Opened, classifier: &Manifest) -> Vec<String> {
    let trained @ [height, width] = classifier.size();
    let size = pictures.source.native_size().filter(|size| *size != trained);
    size.iter()
        .map(|[h, w]| {
            format!("note: pictures of {w}×{h} are used as they are; the classifier was trained at {width}×{height}")
        })
        .collect()
}

/// Refines one batch; `None` when interrupted on the way, for half-refined pictures would spoil the set.
fn refine(driver: &mut Driver, plan: &Plan<'_>, batch: &Batch) -> anyhow::Result<Option<Done>> {
    let n = batch.images.len();
    let listed = listed_labels(&plan.settings.generate, batch.first, n, plan.classes);
    let labels = listed.or_else(|| batch.labels.clone());
    let mut settings = plan.settings.clone();
    let mut origins = origins_of(batch, labels.clone().unwrap_or_else(|| vec![0; n]));
    match (&labels, settings.refine.target) {
        // What the classifier sees, without another evaluation.
        (None, Target::Label) => (settings.refine.target, settings.refine.debias) = (Target::PseudoLabel, false),
        (None, Target::Untargeted) => {
            let Some(seen) = labelled(driver, &settings, batch, None)? else { return Ok(None) };
            origins = seen;
        }
        _ => {}
    }
    // A random start is no picture before; judge the pictures themselves.
    let judged = if settings.refine.starts_at_origin() { None } else { judge(driver, &settings, &origins)? };
    if driver.interrupted {
        return Ok(None);
    }
    let references = plan.references.as_ref().map(|references| paired(references, batch.first, n));
    let mut kept = Kept::new(settings.refine.keep);
    let run = (RUN, settings.refine.clone());
    let rest = driver.refine(run, &origins, references, plan.iterations, &settings, &mut |state| kept.take(&state))?;
    let (Some(start), Some((after, numbers))) = (kept.start(), kept.result()) else { return Ok(None) };
    if matches!(rest, Rest::Stopped | Rest::Paused) {
        return Ok(None);
    }
    Ok(Some(Done {
        targets: driver.targets.take().unwrap_or_else(|| origins.labels.clone()),
        labels,
        before: judged.map_or_else(|| start.numbers.clone(), |state| state.numbers.clone()),
        after,
        numbers,
        iterations: kept.iterations().to_vec(),
    }))
}

/// The references of `n` pictures, the first of which has the place `first`: picture i has reference i mod their number.
fn paired(references: &ImageBatch, first: usize, n: usize) -> ImageBatch {
    let count = references.len();
    let start = first % count;
    let turned = ImageBatch::concat(&[references.slice(start, count), references.slice(0, start)]);
    turned.slice(0, n.min(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_same_reference_in_any_batch() {
        let references = ImageBatch::new([3, 1, 1, 1], vec![0.0, 0.1, 0.2]);
        assert_eq!(paired(&references, 0, 3).pixels(), [0.0, 0.1, 0.2]);
        assert_eq!(paired(&references, 4, 2).pixels(), [0.1, 0.2]);
        // The refiner takes reference i mod 3 for sample i of the batch.
        assert_eq!(paired(&references, 5, 64).pixels(), [0.2, 0.0, 0.1]);
    }
}
