//! `lapidary refine` for more pictures than are held at once: batch by batch, in the memory of one, each on the disk before the
//! next begins.

use std::ops::Range;
use std::path::Path;

use super::begin::Begun;
use super::driver::Driver;
use super::ending::{Ended, Whole};
use super::generate::{together, windows};
use super::opened::{self, Opened, labelled, listed_labels, origins_of};
use super::tally::Tally;
use super::{Outcome, batch, shard};
use crate::data::Batch;
use crate::export::{self, ExportError, Parts, RefinedBatch};
use crate::generator::GenerateSettings;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::settings::ITERATIONS;
use crate::refiner::{State, Target};
use crate::session::Settings;
use crate::session::document::Document;
use crate::trace::Trace;
use crate::worker::Rest;
use crate::zoo::Manifest;

/// A long refinement.
struct Many<'a> {
    begun: Begun,
    driver: Driver,
    parts: Parts,
    iterations: u32,
    classifier: &'a Manifest,
    references: Option<ImageBatch>,
    /// Places of the pictures that are refined here.
    own: Range<usize>,
    /// Pictures of every batch but the last.
    batch: usize,
}

/// Refines and writes pictures: those that are opened, or those of the seeds.
///
/// # Errors
/// The chain from what failed to why. When batches had been done before, they are written.
pub(super) fn run(
    begun: Begun,
    mut driver: Driver,
    (pictures, all): (Option<&Opened>, Range<usize>),
    classifier: &Manifest,
) -> anyhow::Result<Outcome> {
    let options = &begun.options;
    let settings = options.settings.clone();
    if let Some(pictures) = pictures {
        driver.note(&other_size(pictures, classifier));
        driver.note(pictures.source.notes());
    }
    let references = opened::references(&options.references, classifier.shape(), &mut driver)?;
    let iterations = settings.refine.iterations.map_or(ITERATIONS.default as u32, std::num::NonZeroU32::get);
    let batch = together(settings.compute.batch, all.len());
    let own = begun.out.share().map_or(all, |share| share.own.clone());
    let parts = Parts::open(begun.out.path(), begun.out.recipe(), own.start)?;
    driver.note(parts.warnings());
    driver.note(parts.lost(own.start, begun.out.reached()).as_slice());
    let rest = parts.next(own.start).min(own.end)..own.end;
    let mut many = Many { begun, driver, parts, iterations, classifier, references, own, batch };
    let ended = match pictures {
        Some(pictures) => {
            pictures.for_each_batch(rest, (classifier.shape(), batch), &mut |read| many.refine_opened(&read))
        }
        None => windows(rest, batch)
            .try_for_each(|places| many.refine_made(&settings, places).map(drop))
            .map(|()| Vec::new()),
    };
    many.finish(ended, pictures)
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

impl Many<'_> {
    /// Refines pictures that were read; returns whether there is to be another batch.
    fn refine_opened(&mut self, batch: &Batch) -> anyhow::Result<bool> {
        if self.driver.interrupted {
            return Ok(false);
        }
        let n = batch.images.len();
        let mut settings = self.begun.options.settings.clone();
        let listed = listed_labels(&settings.generate, batch.first, n, self.classifier.classes.len());
        let labels = listed.or_else(|| batch.labels.clone());
        let mut origins = origins_of(batch, labels.clone().unwrap_or_else(|| vec![0; n]));
        self.count();
        match (&labels, settings.refine.target) {
            // What the classifier sees, without another evaluation.
            (None, Target::Label) => (settings.refine.target, settings.refine.debias) = (Target::PseudoLabel, false),
            (None, Target::Untargeted) => match labelled(&mut self.driver, &settings, batch, None)? {
                Some(seen) => origins = seen,
                None => return Ok(false),
            },
            _ => {}
        }
        // What could not be read before the batch is behind it as well.
        let places = self.parts.next(self.own.start)..batch.first + n;
        self.refine(&settings, &origins, labels.as_deref(), places)
    }

    /// Generates pictures and refines them; likewise.
    fn refine_made(&mut self, all: &Settings, places: Range<usize>) -> anyhow::Result<bool> {
        if self.driver.interrupted {
            return Ok(false);
        }
        self.count();
        let n = places.len();
        let first_seed = all.generate.first_seed + places.start as u64;
        let samples = self.driver.filled(n) as u32;
        let settings =
            Settings { generate: GenerateSettings { first_seed, samples, ..all.generate.clone() }, ..all.clone() };
        let made = self.driver.generate(&settings)?.filter(|_| !self.driver.interrupted);
        let Some(made) = made else { return Ok(false) };
        let origins = std::sync::Arc::new(super::maker::part_of(&made, 0..n));
        let labels = origins.labels.clone();
        self.refine(&settings, &origins, Some(&labels), places)
    }

    fn count(&mut self) {
        self.driver.count_pictures("refining", (self.parts.count(), self.own.len()), self.batch);
    }

    /// Refines one batch and puts it on the disk. A half-refined one would spoil the set.
    fn refine(
        &mut self,
        settings: &Settings,
        origins: &std::sync::Arc<Origins>,
        labels: Option<&[usize]>,
        places: Range<usize>,
    ) -> anyhow::Result<bool> {
        let n = origins.images.len();
        let references = self.references.as_ref().map(|references| paired(references, places.start, n));
        let (iterations, parts) = (self.iterations, &self.parts);
        let one = batch::Batch { settings, origins, references, iterations, parts };
        let (done, rest) = one.refine(&mut self.driver, &mut |_| {})?;
        let is_whole = matches!(rest, Ok(Rest::Finished | Rest::NothingMoves));
        if let Some(done) = done.as_ref().filter(|_| !is_whole) {
            self.keep_under_way(origins, &done.last);
        }
        let Some(done) = done.filter(|_| is_whole) else { return rest.map(|_| false) };
        self.begun.out.set_provenance(&self.driver.provenance)?;
        let targets = self.driver.targets.take().unwrap_or_else(|| origins.labels.clone());
        self.parts.add_refined(&RefinedBatch {
            places: (places.start, places.end),
            origins,
            after: &done.after,
            labels,
            targets: &targets,
            numbers_before: &done.before,
            numbers_after: &done.numbers,
            iterations: &done.iterations,
            classes: &self.classifier.classes,
            levels: self.begun.options.levels,
            sums: &Tally::of(&done.before, &done.numbers, &targets).to_sums(),
        })?;
        self.begun.out.set_reached(self.parts.next(self.own.start))?;
        Ok(!self.driver.interrupted)
    }

    /// Keeps a batch that is not gone on with as it is now.
    fn keep_under_way(&self, origins: &Origins, state: &State) {
        self.driver.finish();
        if self.parts.keeps_half(state.iteration, self.begun.out.replaces())
            && let Err(error) = batch::keep(&self.parts, origins, state)
        {
            self.driver.say(&format!("warning: the batch under way cannot be kept: {error}"));
        }
    }

    /// Puts the results together; `result` has what was left out.
    fn finish(self, result: anyhow::Result<Vec<String>>, pictures: Option<&Opened>) -> anyhow::Result<Outcome> {
        let Self { begun, driver, parts, iterations, own, .. } = self;
        let at_end = parts.next(own.start) >= own.end;
        let (done, under_way) = ((parts.count(), own.len()), parts.under_way());
        let ended = Ended { begun, driver, done, under_way, at_end, result };
        ended.put_together(|begun, driver, place| {
            let document = begun.refined_document(driver, place, pictures, None, &Trace::default());
            if let Some(share) = begun.out.share() {
                return Ok(shard::kept(share, place, document, (parts.count(), driver.device())));
            }
            Ok(whole_of(&parts, document, (iterations, driver.device(), &begun.options.settings))?)
        })
    }
}

/// What refined pictures come to, of which there are batches and a description; behind so many iterations, on this device.
pub(super) fn whole_of<'a>(
    parts: &'a Parts,
    document: Document,
    (iterations, device, settings): (u32, &str, &Settings),
) -> Result<Whole<'a>, ExportError> {
    let mut tally = Tally::default();
    for sums in parts.sums()? {
        tally.add_sums(&sums);
    }
    let (files, names) = (export::LONG_REFINED.to_vec(), export::names(&export::LONG_REFINED, &[]));
    let write = Box::new(move |folder: &Path| parts.write_refined(folder, &document));
    Ok(Whole { files, names, write, said: tally.describe(iterations, device, settings), hint: String::new() })
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
