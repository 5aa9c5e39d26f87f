//! `lapidary refine`: pictures before, the run, pictures after, and every file about them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::describe::{
    describe_compute, describe_generation, describe_labels, describe_model, describe_refinement, would_write, written,
};
use super::driver::{Driver, say_out};
use super::kept::Kept;
use super::opened::{self, Opened, judge, listed_labels, stored_pictures, verdict};
use super::{Outcome, RunOptions, Source, flags, stream};
use crate::checkpoint::Manifest;
use crate::classifier::top_classes;
use crate::export::{self, Refined};
use crate::generator::Classes;
use crate::image::ImageBatch;
use crate::parameter::Choosable as _;
use crate::refiner::settings::ITERATIONS;
use crate::refiner::{Numbers, SampleState, Target};
use crate::session::Settings;
use crate::session::document::Document;
use crate::session::host::Folders;
use crate::trace::{RunId, StateId, Trace};
use crate::worker::{Origins, Rest};

/// The run that the command line makes.
pub(super) const RUN: RunId = RunId(1);

/// A model's description and its file.
pub(super) type Described = (Manifest, Option<PathBuf>);

/// Refines and writes pictures.
///
/// # Errors
/// The chain from what failed to why. When iterations had been done before, they are written.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, source, out, quiet, .. } = options;
    let pictures = match source {
        Source::Pictures(paths) => Some(Opened::new(paths, options.part)?),
        Source::Generator | Source::Stored(_) => None,
    };
    let classifier = flags::find(&settings.refine.classifier, false)?;
    let generator = match source {
        Source::Generator => Some(flags::find(&settings.generate.generator, true)?),
        Source::Pictures(_) | Source::Stored(_) => None,
    };
    if options.dry_run {
        say_out(&plan(options, generator.as_ref(), &classifier, pictures.as_ref()));
        return Ok(Outcome::Done);
    }
    if let Some(pictures) = pictures.as_ref().filter(|pictures| pictures.streams()) {
        return stream::run(options, pictures, &classifier.0, folders);
    }
    export::prepare_folder(out)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.notes);

    let mut references = opened::references(&options.references, classifier.0.resolution, &driver)?;
    let origins = match (source, &pictures) {
        (Source::Stored(path), _) => {
            let (origins, stored) = stored_pictures(path)?;
            references = references.or(stored);
            Some(origins)
        }
        (_, Some(pictures)) => open_pictures(pictures, settings, &classifier.0, &mut driver)?,
        (_, None) => driver.generate(settings)?,
    };
    // A random start is no picture before; judge the origins themselves.
    let before = match &origins {
        Some(origins) if !settings.refine.starts_at_origin() && !driver.interrupted => {
            judge(&mut driver, settings, origins)?
        }
        _ => None,
    };
    let Some(origins) = origins.filter(|_| !driver.interrupted) else {
        driver.finish();
        driver.say("stopped before refining began: nothing is written");
        return Ok(Outcome::Interrupted);
    };

    let iterations = settings.refine.iterations.map_or(ITERATIONS.default as u32, std::num::NonZeroU32::get);
    let mut trace = Trace::default();
    trace.begin(RUN, None, settings.refine.clone());
    let mut kept = Kept::new(settings.refine.keep);
    let run = (RUN, settings.refine.clone());
    let ended = driver.refine(run, &origins, references, iterations, settings, &mut |state| {
        trace.push(StateId { run: RUN, iteration: state.iteration }, state.numbers.clone());
        kept.take(&state);
    });
    driver.finish();
    if let Some(targets) = driver.targets.take() {
        trace.set_targets(RUN, targets);
    }
    let (Some(start), Some(last), Some((after, numbers))) = (kept.start(), kept.last(), kept.result()) else {
        ended?;
        driver.say("stopped before the first state was known: nothing is written");
        return Ok(Outcome::Interrupted);
    };
    let before = before.as_ref().map_or(&start.numbers, |state| &state.numbers);

    let mut document = Document::new(settings, &driver.provenance, Some(&origins), &trace, Some(out));
    document.inputs = pictures.as_ref().map_or_else(Vec::new, |pictures| pictures.inputs(out));
    let refined = Refined {
        origins: &origins,
        after: &after,
        logits_before: &before.logits,
        logits_after: &numbers.logits,
        trace: &trace,
        run: RUN,
        classes: &classifier.0.classes,
        document: &document,
        levels: options.levels,
    };
    export::write_refined(out, &refined)?;
    let rest = ended.with_context(|| {
        format!("refining failed after {} of {iterations} iterations; what was done is written", last.iteration)
    })?;
    if !*quiet {
        let tally = Tally::of(before, &numbers, refined.targets());
        let files = written(out, &export::REFINED_FILES);
        say_out(&format!("{}\n{files}", tally.describe(last.iteration, driver.device(), settings)));
    }
    if rest == Rest::NothingMoves && tally_stopped(&last.numbers) < last.images.len() {
        driver.say(&format!(
            "warning: after {} iterations no picture moves any more, because every gradient vanished or is not a number: choose another objective",
            last.iteration
        ));
    }
    if driver.interrupted && last.iteration < iterations {
        driver.say(&format!("stopped after {} of {iterations} iterations; these are written", last.iteration));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// Opens pictures and gives each its class: a listed one, or the one that the classifier sees.
fn open_pictures(
    pictures: &Opened,
    settings: &Settings,
    classifier: &Manifest,
    driver: &mut Driver,
) -> anyhow::Result<Option<Arc<Origins>>> {
    let batch = pictures.read(classifier.resolution)?;
    driver.note(&batch.fits);
    let n = batch.images.len();
    let labels = listed_labels(&settings.generate, 0, n, classifier.classes.len());
    let labelled = |images: ImageBatch, labels| Arc::new(Origins::opened(images, labels, batch.names.clone()));
    if let Some(labels) = labels {
        return Ok(Some(labelled(batch.images.clone(), labels)));
    }
    let origins = labelled(batch.images.clone(), vec![0; n]);
    let seen = verdict(driver, settings, &origins)?;
    Ok(seen.map(|labels| labelled(batch.images.clone(), labels)))
}

/// What a dry run says.
fn plan(
    options: &RunOptions,
    generator: Option<&Described>,
    (classifier, classifier_path): &Described,
    pictures: Option<&Opened>,
) -> String {
    let RunOptions { settings, source, out, notes, references, .. } = options;
    let mut lines = notes.clone();
    match (generator, source, pictures) {
        (Some((manifest, path)), _, _) => {
            lines.push(describe_model("generator", &settings.generate.generator, manifest, path.as_deref()));
            lines.push(describe_generation(&settings.generate, manifest));
        }
        (None, Source::Stored(path), _) => {
            lines.push(format!("{:<11}those stored in {}", "pictures", path.display()));
        }
        (None, _, Some(pictures)) => {
            lines.push(pictures.describe());
            lines.push(format!("{:<11}{}", "classes", describe_classes(settings, pictures, classifier)));
        }
        (None, _, None) => {}
    }
    lines.push(describe_model("classifier", &settings.refine.classifier, classifier, classifier_path.as_deref()));
    lines.push(describe_refinement(&settings.refine));
    if settings.refine.early_stop && !references.is_empty() {
        let names: Vec<String> = references.iter().map(|path| path.display().to_string()).collect();
        lines.push(format!("{:<11}{}", "references", names.join(", ")));
    }
    lines.push(describe_compute(settings));
    let streams = pictures.is_some_and(Opened::streams);
    lines.push(would_write(out, if streams { &export::STREAMED_FILES } else { &export::REFINED_FILES }));
    lines.join("\n")
}

/// Where the classes of opened pictures come from.
fn describe_classes(settings: &Settings, pictures: &Opened, classifier: &Manifest) -> String {
    if settings.refine.target == Target::PseudoLabel {
        return "those that the classifier sees".to_owned();
    }
    match &settings.generate.classes {
        Classes::All if pictures.source.has_labels() => "those that the archive says".to_owned(),
        Classes::All => "those that the classifier sees".to_owned(),
        // A long list would only be counted.
        _ if pictures.streams() => "those of --classes, in turn".to_owned(),
        Classes::Only(_) | Classes::Random => {
            let labels = listed_labels(&settings.generate, 0, pictures.count(), classifier.classes.len());
            describe_labels(&labels.unwrap_or_default(), &classifier.classes)
        }
    }
}

/// Sums over pictures, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Tally {
    pictures: usize,
    /// Of the finite objectives: sum and number, before and after.
    objective: [(f64, usize); 2],
    /// Pictures whose top class is the target, before and after.
    agree: [usize; 2],
    /// Pictures that early stopping laid to rest.
    stopped: usize,
}

impl Tally {
    pub(super) fn of(before: &Numbers, after: &Numbers, targets: &[usize]) -> Self {
        let mut tally = Self::default();
        tally.add(before, after, targets);
        tally
    }

    pub(super) fn add(&mut self, before: &Numbers, after: &Numbers, targets: &[usize]) {
        self.pictures += targets.len();
        for (side, numbers) in [before, after].into_iter().enumerate() {
            for value in numbers.objective.iter().filter(|value| value.is_finite()) {
                self.objective[side].0 += f64::from(*value);
                self.objective[side].1 += 1;
            }
            let agrees = |(sample, target): &(usize, &usize)| {
                top_classes(numbers.logits_of(*sample), 1).first() == Some(*target)
            };
            self.agree[side] += targets.iter().enumerate().filter(agrees).count();
        }
        self.stopped += tally_stopped(after);
    }

    /// The summary of a run.
    pub(super) fn describe(&self, iterations: u32, device: &str, settings: &Settings) -> String {
        let mean = |side: usize| self.objective[side].0 / self.objective[side].1 as f64;
        let share = |side: usize| 100.0 * self.agree[side] as f64 / self.pictures.max(1) as f64;
        let stopped = match self.stopped {
            0 => String::new(),
            n => format!("\n{n} pictures became as real as their references and stopped early"),
        };
        format!(
            "{} pictures, {iterations} iterations on {device}\nmean {} {:.4} → {:.4}\nclassifier sees the target class in {:.1} % → {:.1} %{stopped}",
            self.pictures,
            settings.refine.objective.option().label,
            mean(0),
            mean(1),
            share(0),
            share(1),
        )
    }
}

/// Samples that early stopping laid to rest.
fn tally_stopped(numbers: &Numbers) -> usize {
    numbers.state.iter().filter(|state| **state == SampleState::Stopped).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_top_classes_and_leaves_out_what_is_no_number() {
        let numbers = |objective: [f32; 3]| Numbers {
            objective: objective.to_vec(),
            logits: vec![1.0, 2.0, 4.0, 3.0, 0.0, 1.0],
            state: vec![SampleState::Stopped, SampleState::Active, SampleState::Active],
            ..Default::default()
        };
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.add(&numbers([1.0, f32::NAN, 3.0]), &numbers([2.0, 4.0, 6.0]), &[1, 1, 1]);
        }
        let text = tally.describe(15, "CPU", &Settings::default());
        assert!(text.starts_with("6 pictures, 15 iterations on CPU"), "{text}");
        assert!(text.contains("2.0000 → 4.0000") && text.contains("66.7 % → 66.7 %"), "{text}");
        assert!(text.contains("2 pictures became as real"), "{text}");
    }
}
