//! `lapidary refine`: pictures before, the run, pictures after, and every file about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::batch::{Batch, Done};
use super::begin::{BLOCK, Begun, Job};
use super::describe::{
    describe_compute, describe_generation, describe_labels, describe_model, describe_refinement, would_write, written,
};
use super::driver::Driver;
use super::ending::told_under_way;
use super::generate::{check_sampling, together};
use super::opened::{self, MAX_TOGETHER, Opened, labelled, listed_labels, stored_pictures};
use super::rehearsal::rehearse;
use super::say::say_out;
use super::tally::{RUN, Tally, stopped};
use super::{CliError, Outcome, RunOptions, Source, flags, many, shard};
use crate::export::{self, Extent, Parts, Refined, Results, Share};
use crate::generator::Classes;
use crate::image::{ImageBatch, Levels};
use crate::origins::Origins;
use crate::refiner::settings::ITERATIONS;
use crate::refiner::{RefineError, Target};
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::{StateId, Trace};
use crate::units::counted;
use crate::worker::Rest;
use crate::zoo::Manifest;

/// A model's description and its file.
pub(super) type Described = (Manifest, Option<PathBuf>);

/// Refines and writes pictures.
///
/// # Errors
/// The chain from what failed to why. When iterations had been done before, they are written.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, source, .. } = options;
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
        if let Some(recorded) = &options.recorded {
            recorded.check_samples(&settings.generate, manifest.classes.len())?;
        }
    }
    if let Some(pictures) = &mut pictures {
        pictures.source.take_classes(&classifier.0.classes);
        let uses_labels = settings.refine.target != Target::PseudoLabel && settings.generate.classes == Classes::All;
        if let Some(error) = pictures.source.foreign().filter(|_| uses_labels) {
            return Err(CliError::Labels(error.clone()).into());
        }
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
    let places = match &pictures {
        Some(pictures) => pictures.range.clone(),
        None => 0..options.count(),
    };
    let streams = pictures.as_ref().is_some_and(Opened::streams);
    // A session file holds no more than are held at once.
    let long = streams || places.len() > MAX_TOGETHER && !matches!(source, Source::Stored(_));
    // Pictures that are held at once are one batch.
    let batch = if long { together(settings.compute.batch, places.len()) } else { places.len() };
    let share = options.shard.map(|shard| Share::new(shard, "refine", places.clone(), batch));
    if !shard::has_work(share.as_ref()) {
        return Ok(Outcome::Done);
    }
    let files = match &share {
        Some(_) if long => export::SHARED.to_vec(),
        _ if long => export::LONG_REFINED.to_vec(),
        _ => export::files(&export::REFINED),
    };
    let size = pictures.as_ref().and_then(|pictures| pictures.source.native_size());
    let [channels, height, width] = classifier.0.shape();
    let values = size.map_or(channels * height * width, |[height, width]| channels * height * width) as u64;
    let n = places.len() as u64;
    let bytes = if long {
        // Levels twice, once in batches and once put together; floats of those on the sheet, which is about as large as they are.
        shard::bytes(share.as_ref(), n * (2 * values + 200) + n.min(export::SHEET_OF_MANY as u64) * 10 * values)
    } else {
        // Levels and floats, three pictures of which one is enlarged, and their part of the sheet.
        n * (15 * values + 3 * BLOCK / 2)
    };
    let share = share.as_ref();
    let own = share.map_or_else(|| places.clone(), |share| share.own.clone());
    // Pictures that are held at once are one batch, with every number of every iteration.
    let batches = long.then_some((own.start, own.len()));
    let job = Job {
        command: "refine",
        files: &files,
        pictures: pictures.as_ref(),
        mask: None,
        real: &[],
        bytes,
        share,
        batches,
    };
    if options.dry_run {
        if let Source::Stored(path) = source {
            stored(path, options, &classifier.0)?;
        }
        let models: Vec<&Described> = generator.iter().chain([&classifier]).collect();
        let Some(found) = rehearse(options, &job, &models, classifier.0.shape())? else {
            return Ok(Outcome::Done);
        };
        if pictures.is_some() && !long {
            listed_or_recorded(options, (places.start, found.pictures), &classifier.0)?;
        }
        let plan = plan(options, generator.as_ref(), &classifier, (pictures.as_ref(), share), (&found.out, &files));
        say_out(&found.told(plan))?;
        return Ok(Outcome::Done);
    }
    let Some(begun) = job.begin(options)? else { return Ok(Outcome::Done) };
    let mut driver = Driver::start(folders, &begun.options)?;
    if let Some(recorded) = &options.recorded {
        let inputs = pictures.as_ref().map_or_else(Vec::new, Opened::names);
        driver.compare(recorded.compare_inputs(&inputs, &begun.hashes));
        driver.compare(recorded.compare_references(&options.references, &begun.reference_hashes));
    }
    if long {
        return many::run(begun, driver, (pictures.as_ref(), places), &classifier.0);
    }
    few(begun, driver, pictures.as_ref(), &classifier.0)
}

/// Refines pictures that are held at once, with every number of every iteration.
fn few(begun: Begun, mut driver: Driver, pictures: Option<&Opened>, classifier: &Manifest) -> anyhow::Result<Outcome> {
    let Begun { options, mut out, hashes, reference_hashes, mask } = begun;
    let RunOptions { settings, source, .. } = &options;
    let mut references = opened::references(&options.references, classifier.shape(), &mut driver)?;
    let origins = match (source, pictures) {
        (Source::Stored(path), _) => {
            let (origins, real) = stored(path, &options, classifier)?;
            references = references.or(real);
            Some(origins)
        }
        (_, Some(pictures)) => open_pictures(pictures, &options, classifier, &mut driver)?,
        (_, None) => driver.generate(settings)?,
    };
    let Some(origins) = origins.filter(|_| !driver.interrupted) else {
        driver.finish();
        driver.say("stopped before refining began: nothing is written");
        return Ok(driver.stopped());
    };
    let parts = Parts::open(out.path(), out.recipe(), 0)?;
    if let Some((path, kept)) = parts.under_way() {
        driver.note(&[format!(
            "note: refining begins anew, for every number of the run is written; the pictures after {} stay in {} until it has come farther",
            counted(kept as usize, "iteration"),
            path.display()
        )]);
    }
    let iterations = settings.refine.iterations.map_or(ITERATIONS.default as u32, std::num::NonZeroU32::get);
    let mut trace = Trace::default();
    trace.begin(RUN, None, settings.refine.clone());
    let batch = Batch { settings, origins: &origins, references, iterations, parts: &parts };
    let (refined, ended) = batch.refine(&mut driver, &mut |state| {
        trace.push(StateId { run: RUN, iteration: state.iteration }, state.numbers.clone());
    })?;
    driver.finish();
    if let Some(targets) = driver.targets.take() {
        trace.set_targets(RUN, targets);
    }
    let Some(Done { before, after, numbers, last, .. }) = refined else {
        ended?;
        let kept = parts
            .under_way()
            .map_or_else(|| "nothing is written".to_owned(), |kept| format!("{}, from before", told_under_way(kept)));
        driver.say(&format!("stopped before the first state was known: {kept}"));
        return Ok(driver.stopped());
    };
    let last = last.iteration;
    let complete = matches!(ended, Ok(Rest::Finished | Rest::NothingMoves));
    let place = out.place(complete);
    let begun = Begun { options: options.clone(), out, hashes, reference_hashes, mask };
    let document = begun.refined_document(&driver, &place, pictures, Some(&origins), &trace);
    let refined = Refined {
        after: &after,
        logits_before: &before.logits,
        logits_after: &numbers.logits,
        trace: &trace,
        run: RUN,
        classes: &classifier.classes,
        levels: options.levels,
    };
    let results = Results { origins: &origins, document: &document, refined: Some(refined) };
    out = begun.out;
    let extent = if complete { Extent::Whole } else { Extent::Part(last.into()) };
    let published = out.publish(results.names(), extent, |folder| results.write(folder));
    let stays = published.map_err(|error| {
        let (kept, of) = out.keep_what_fits(&results.names(), last.into());
        driver.say_kept(&mut out);
        let place = out.place(false);
        anyhow::Error::new(error).context(kept_of((last.into(), of), (&place, &kept), &results, parts.under_way()))
    })?;
    driver.say_kept(&mut out);
    parts.forget_under_way(last)?;
    let planned = counted(iterations as usize, "iteration");
    let written_are = stays.map_or_else(
        || "these are written".to_owned(),
        |more| {
            format!(
                "the results of {} from before are in {} and stay",
                counted(more as usize, "iteration"),
                place.display()
            )
        },
    );
    let rest = ended.with_context(|| format!("refining failed after {last} of {planned}; {written_are}"))?;
    if stays.is_none() {
        let tally = Tally::of(&before, &numbers, results.targets());
        let files = written(&place, &export::files(&export::REFINED));
        options.tell(&format!("{}\n{files}", tally.describe(last, driver.device(), settings)))?;
    }
    if rest == Rest::NothingMoves && stopped(&numbers) < after.len() {
        driver.say(&format!(
            "warning: after {} no picture moves any more, because every gradient vanished or is not a number: choose another objective",
            counted(last as usize, "iteration")
        ));
    }
    if driver.interrupted && last < iterations {
        driver.say(&format!("stopped after {last} of {planned}; {written_are}"));
        driver.say_earlier(&out);
        return Ok(driver.stopped());
    }
    Ok(Outcome::Done)
}

/// What is kept of results that cannot all be written, what is missing, and how they become whole; what is there is behind `of`
/// iterations, perhaps those of an earlier try.
fn kept_of(
    (done, of): (u64, u64),
    (place, kept): (&Path, &[String]),
    results: &Results<'_>,
    under_way: Option<(PathBuf, u64)>,
) -> String {
    let mut parts = [Vec::new(), Vec::new()];
    for files in export::files(&export::REFINED) {
        let names = export::names(&[files], &results.origins.seeds);
        let count = names.iter().filter(|name| kept.contains(name)).count();
        let is_some = (1..names.len()).contains(&count);
        let of = if is_some { format!(" ({count} of {})", names.len()) } else { String::new() };
        parts[usize::from(count == 0)].push(format!("{files}{of}"));
    }
    let [kept, missing] = parts.map(|files| files.join(", "));
    let before = under_way.map_or_else(String::new, |(path, iterations)| {
        let iterations = counted(iterations as usize, "iteration");
        format!("; the pictures after {iterations} are in {}", path.display())
    });
    let whole = "with more space, the same command with --resume makes them whole";
    let (done, from_before) = (counted(done as usize, "iteration"), done != of);
    match (kept.as_str(), missing.as_str()) {
        (_, _) if from_before && !kept.is_empty() => format!(
            "the results of {done} cannot be written, so those of {} from before stay in {}{before}; {whole}",
            counted(of as usize, "iteration"),
            place.display()
        ),
        ("", _) => format!("the results of {done} cannot be written, not one of their files{before}"),
        (_, "") => format!(
            "the results of {done} cannot all be written: kept in {} are {kept}{before}; {whole}",
            place.display()
        ),
        _ => format!(
            "the results of {done} cannot all be written: kept in {} are {kept}, missing are {missing}{before}; {whole}",
            place.display()
        ),
    }
}

/// Opens pictures and gives each its class: a listed one, the one that it had when it was refined before, or the one that the
/// classifier sees.
fn open_pictures(
    pictures: &Opened,
    options: &RunOptions,
    classifier: &Manifest,
    driver: &mut Driver,
) -> anyhow::Result<Option<Arc<Origins>>> {
    let settings = &options.settings;
    let batch = pictures.read(classifier.shape(), &mut |done, of| driver.is_reading(done, of))?;
    let Some(batch) = batch else { return Ok(None) };
    driver.note(&opened::changed(&batch.fits));
    let labels = listed_or_recorded(options, (batch.first, batch.images.len()), classifier)?;
    labelled(driver, settings, &batch, labels.or_else(|| batch.labels.clone()))
}

/// The classes of `count` opened pictures, the first of which has the place `first`, that were listed or that the session says.
fn listed_or_recorded(
    options: &RunOptions,
    (first, count): (usize, usize),
    classifier: &Manifest,
) -> Result<Option<Vec<usize>>, CliError> {
    let classes = classifier.classes.len();
    let listed = listed_labels(&options.settings.generate, first, count, classes);
    let recorded = options.recorded.as_ref().map(|recorded| recorded.labels(count, classes)).transpose()?.flatten();
    Ok(listed.or(recorded))
}

/// The pictures of a session file with their classes, and its real pictures; the classifier must be able to take them.
fn stored(
    path: &Path,
    options: &RunOptions,
    classifier: &Manifest,
) -> anyhow::Result<(Arc<Origins>, Option<ImageBatch>)> {
    let RunOptions { settings: Settings { generate, refine, .. }, references, relabel, .. } = options;
    let (mut origins, stored) = stored_pictures(path)?;
    let real = stored.references;
    if refine.early_stop && references.is_empty() && real.is_none() {
        return Err(CliError::NoReferences.into());
    }
    if *relabel && generate.classes != Classes::All {
        origins = opened::relabelled(&origins, generate, classifier.classes.len());
    }
    let [_, channels, height, width] = origins.images.shape();
    flags::check_shape(classifier, [channels, height, width])?;
    if refine.target != Target::PseudoLabel {
        let (labels, classes) =
            (origins.labels_among(&classifier.classes).map_err(CliError::from)?, classifier.classes.len());
        if let Some(label) = labels.into_iter().find(|label| *label >= classes) {
            return Err(RefineError::Label { label, classes }.into());
        }
    }
    Ok((origins, real))
}

/// What a dry run says.
fn plan(
    options: &RunOptions,
    generator: Option<&Described>,
    (classifier, classifier_path): &Described,
    (pictures, share): (Option<&Opened>, Option<&Share>),
    (out, files): (&Path, &[&str]),
) -> String {
    let RunOptions { settings, source, notes, references, .. } = options;
    let mut lines = notes.clone();
    match (generator, source, pictures) {
        (Some((manifest, path)), _, _) => {
            lines.push(describe_model("generator", &settings.generate.generator, manifest, path.as_deref()));
            lines.push(describe_generation(&settings.generate, options.count(), manifest));
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
    lines.extend(share.map(shard::describe));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, files));
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
