//! `lapidary refine`: pictures before, the run, pictures after, and every file about them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::describe::{
    describe_compute, describe_generation, describe_labels, describe_model, describe_refinement, would_write, written,
};
use super::driver::{Driver, say_out};
use super::generate::check_sampling;
use super::kept::Kept;
use super::opened::{self, Opened, judge, labelled, listed_labels, stored_pictures};
use super::tally::{RUN, Tally, stopped};
use super::{CliError, Outcome, Part, RunOptions, Source, flags, stream};
use crate::export::{self, Refined, Results};
use crate::generator::Classes;
use crate::image::Levels;
use crate::origins::Origins;
use crate::refiner::Target;
use crate::refiner::settings::ITERATIONS;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::{StateId, Trace};
use crate::worker::Rest;
use crate::zoo::Manifest;

/// A model's description and its file.
pub(super) type Described = (Manifest, Option<PathBuf>);

/// Refines and writes pictures.
///
/// # Errors
/// The chain from what failed to why. When iterations had been done before, they are written.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, source, out, quiet, .. } = options;
    let mut pictures = match source {
        Source::Pictures(paths) => Some(Opened::new(paths, options.part)?.strictly(options.strict)),
        Source::Generator | Source::Stored(_) => None,
    };
    let classifier = flags::find(&settings.refine.classifier, false)?;
    let generator = match source {
        Source::Generator => Some(flags::find(&settings.generate.generator, true)?),
        Source::Pictures(_) | Source::Stored(_) => None,
    };
    if let Some((manifest, _)) = &generator {
        check_sampling(&settings.generate, manifest)?;
    }
    if let Some(pictures) = &mut pictures {
        pictures.source.take_classes(&classifier.0.classes);
    }
    if let Some(pictures) = pictures.as_ref().filter(|_| settings.refine.target != Target::PseudoLabel) {
        pictures.check_labels(settings, &settings.refine.classifier, classifier.0.classes.len())?;
    }
    let shape = match (&generator, &pictures) {
        (Some((generator, _)), _) => Some(generator.shape()),
        (_, Some(pictures)) => Some(pictures.shape(classifier.0.shape())),
        (None, None) => None,
    };
    shape.map_or(Ok(()), |shape| flags::check_shape(&classifier.0, shape))?;
    if options.dry_run {
        check_references(options)?;
        say_out(&plan(options, generator.as_ref(), &classifier, pictures.as_ref()));
        return Ok(Outcome::Done);
    }
    if let Some(pictures) = pictures.as_ref().filter(|pictures| pictures.streams()) {
        return stream::run(options, pictures, &classifier.0, folders);
    }
    export::prepare_folder(out)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.notes);

    let mut references = opened::references(&options.references, classifier.0.shape(), &driver)?;
    let origins = match (source, &pictures) {
        (Source::Stored(path), _) => {
            let (origins, stored) = stored_pictures(path)?;
            references = references.or(stored);
            if settings.refine.early_stop && references.is_none() {
                return Err(CliError::NoReferences.into());
            }
            let listed = options.relabel && settings.generate.classes != Classes::All;
            let classes = classifier.0.classes.len();
            Some(if listed { opened::relabelled(&origins, &settings.generate, classes) } else { origins })
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

    let document = opened::refined_document(options, &driver, pictures.as_ref(), Some(&origins), &trace);
    let refined = Refined {
        after: &after,
        logits_before: &before.logits,
        logits_after: &numbers.logits,
        trace: &trace,
        run: RUN,
        classes: &classifier.0.classes,
        levels: options.levels,
    };
    let results = Results { origins: &origins, document: &document, refined: Some(refined) };
    results.write(out)?;
    let rest = ended.with_context(|| {
        format!("refining failed after {} of {iterations} iterations; what was done is written", last.iteration)
    })?;
    if !*quiet {
        let tally = Tally::of(before, &numbers, results.targets());
        let files = written(out, &export::files(&export::REFINED));
        say_out(&format!("{}\n{files}", tally.describe(last.iteration, driver.device(), settings)));
    }
    if rest == Rest::NothingMoves && stopped(&last.numbers) < last.images.len() {
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
    let batch = pictures.read(classifier.shape())?;
    driver.note(&opened::changed(&batch.fits));
    let listed = listed_labels(&settings.generate, batch.first, batch.images.len(), classifier.classes.len());
    labelled(driver, settings, &batch, listed.or_else(|| batch.labels.clone()))
}

/// What is asked for but not there: the run would refuse it, and so does a dry run.
fn check_references(options: &RunOptions) -> anyhow::Result<()> {
    if !options.references.is_empty() {
        Opened::new(&options.references, Part::default())?;
    } else if let Source::Stored(path) = &options.source
        && options.settings.refine.early_stop
        && stored_pictures(path)?.1.is_none()
    {
        return Err(CliError::NoReferences.into());
    }
    Ok(())
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
    if options.levels == Levels::Truncated {
        lines.push(format!("{:<11}cut down in the .npz instead of rounded", "levels"));
    }
    lines.push(describe_compute(settings));
    let streams = pictures.is_some_and(Opened::streams);
    let files = export::files(&export::REFINED);
    lines.push(would_write(out, if streams { &export::STREAMED_FILES } else { &files }));
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
            let (first, n) = (pictures.range.start, pictures.count());
            let labels = listed_labels(&settings.generate, first, n, classifier.classes.len());
            describe_labels(&labels.unwrap_or_default(), &classifier.classes)
        }
    }
}
