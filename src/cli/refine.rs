//! `lapidary refine`: pictures before, the run, pictures after, and every file about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use crossbeam_channel::bounded;

use super::generate::{
    Driver, describe_compute, describe_generation, describe_labels, describe_model, failure, say_out, wake_by,
    would_write, written,
};
use super::{Outcome, RunOptions, Source, flags};
use crate::checkpoint::Manifest;
use crate::classifier::top_classes;
use crate::export::{self, Refined};
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, GenerateSettings};
use crate::image::ImageBatch;
use crate::parameter::Choosable as _;
use crate::refiner::settings::{EPS, ITERATIONS, STEP_SIZE};
use crate::refiner::{Numbers, RefineSettings, State};
use crate::session::Settings;
use crate::session::document::{Document, relative};
use crate::session::host::Folders;
use crate::session::storage::{Job, Storage, StorageEvent, read_picture};
use crate::trace::{RunId, StateId, Trace};
use crate::worker::{Origins, Rest};

/// The run that the command line makes.
const RUN: RunId = RunId(1);
/// Evaluations beside it: the classifier's verdict on the pictures before.
const VERDICT: RunId = RunId(0);

/// Refines and writes pictures.
///
/// # Errors
/// The chain from what failed to why. When iterations had been done before, they are written.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, source, out, quiet, .. } = options;
    let pictures = match source {
        Source::Pictures(paths) => collect_pictures(paths)?,
        Source::Generator | Source::Stored(_) => Vec::new(),
    };
    let (classifier, classifier_path) = flags::find(&settings.refine.classifier, false)?;
    let generator = match source {
        Source::Generator => Some(flags::find(&settings.generate.generator, true)?),
        Source::Pictures(_) | Source::Stored(_) => None,
    };
    if options.dry_run {
        let generator = generator.as_ref().map(|(manifest, path)| (manifest, path.as_deref()));
        say_out(&plan(options, generator, (&classifier, classifier_path.as_deref()), &pictures));
        return Ok(Outcome::Done);
    }
    export::prepare_folder(out)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.notes);

    let origins = match source {
        Source::Generator => driver.generate(settings)?,
        Source::Pictures(_) => open_pictures(&pictures, settings, &classifier, &mut driver)?,
        Source::Stored(path) => Some(stored_pictures(path)?),
    };
    // A random start is no picture before; judge the origins themselves.
    let before = match &origins {
        Some(origins) if settings.refine.random_start && !driver.interrupted => judge(&mut driver, settings, origins)?,
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
    let mut last: Option<Arc<State>> = None;
    let run = (RUN, settings.refine.clone());
    let ended = driver.refine(run, &origins, iterations, settings, &mut |state| {
        trace.push(StateId { run: RUN, iteration: state.iteration }, state.numbers.clone());
        last = Some(state);
    });
    driver.finish();
    let Some(last) = last else {
        ended?;
        driver.say("stopped before the first state was known: nothing is written");
        return Ok(Outcome::Interrupted);
    };
    let start = trace.numbers(StateId { run: RUN, iteration: 0 }).cloned().unwrap_or_default();
    let before = before.map_or(start, |state| state.numbers.clone());

    let mut document = Document::new(settings, &driver.provenance, Some(&origins), &trace, Some(out));
    document.inputs = pictures.iter().map(|picture| relative(&picture.to_string_lossy(), out)).collect();
    let refined = Refined {
        origins: &origins,
        after: &last.images,
        logits_before: &before.logits,
        logits_after: &last.numbers.logits,
        trace: &trace,
        run: RUN,
        classes: &classifier.classes,
        document: &document,
    };
    export::write_refined(out, &refined)?;
    let rest = ended.with_context(|| {
        format!("refining failed after {} of {iterations} iterations; what was done is written", last.iteration)
    })?;
    if !*quiet {
        say_out(&summary(&driver, settings, &origins, (&before, &last), out));
    }
    if rest == Rest::NothingMoves {
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

/// The picture files among `paths` and in the folders among them, in order of name within a folder.
fn collect_pictures(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in paths {
        if !path.is_dir() {
            pictures.push(path.clone());
            continue;
        }
        let read = || format!("the folder cannot be read: check its permissions\n{}", path.display());
        let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path).with_context(read)?.collect();
        let mut files: Vec<PathBuf> = entries.with_context(read)?.iter().map(std::fs::DirEntry::path).collect();
        files.retain(|file| is_picture(file));
        files.sort();
        if files.is_empty() {
            bail!(
                "no picture is in this folder: give one with PNG, JPEG, WebP or other common pictures\n{}",
                path.display()
            );
        }
        pictures.append(&mut files);
    }
    SAMPLES.check(pictures.len() as f64).context("too many pictures are given")?;
    Ok(pictures)
}

/// By content, or by name for formats that cannot be told by content.
fn is_picture(path: &Path) -> bool {
    let reader = || Some(::image::ImageReader::open(path).ok()?.with_guessed_format().ok()?.format().is_some());
    path.is_file() && reader().unwrap_or(false)
}

/// Opens pictures and gives each its target class: a listed one, or the one that the classifier sees.
fn open_pictures(
    paths: &[PathBuf],
    settings: &Settings,
    classifier: &Manifest,
    driver: &mut Driver,
) -> anyhow::Result<Option<Arc<Origins>>> {
    let (mut images, mut names, mut fits) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let (image, fit) = ImageBatch::from_picture(&read_picture(path)?, classifier.resolution);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fits.push(format!("{name}: {fit}"));
        names.push(name);
        images.push(image);
    }
    driver.note(&fits);
    let labels = listed_labels(&settings.generate, paths.len(), classifier.classes.len());
    let verdict_decides = labels.is_none();
    let origins = Origins {
        images: ImageBatch::concat(&images),
        labels: labels.unwrap_or_else(|| vec![0; paths.len()]),
        seeds: (0..paths.len() as u64).collect(),
        names,
        made_by: None,
    };
    let origins = Arc::new(origins);
    if !verdict_decides {
        return Ok(Some(origins));
    }
    let Some(state) = judge(driver, settings, &origins)? else { return Ok(None) };
    let verdict = |sample| top_classes(state.numbers.logits_of(sample), 1).first().copied().unwrap_or(0);
    let labels = (0..paths.len()).map(verdict).collect();
    Ok(Some(Arc::new(Origins { labels, ..Origins::clone(&origins) })))
}

/// Classes of `n` opened pictures; `None` when the classifier decides.
fn listed_labels(settings: &GenerateSettings, n: usize, classes: usize) -> Option<Vec<usize>> {
    let turn = GenerateSettings { first_seed: 0, samples: n as u32, ..settings.clone() };
    (settings.classes != Classes::All).then(|| turn.labels(classes))
}

/// Evaluates the origins themselves; `None` when interrupted before.
fn judge(driver: &mut Driver, settings: &Settings, origins: &Arc<Origins>) -> anyhow::Result<Option<Arc<State>>> {
    let refine = RefineSettings { random_start: false, ..settings.refine.clone() };
    let mut judged = None;
    driver.refine((VERDICT, refine), origins, 0, settings, &mut |state| judged = Some(state))?;
    Ok(judged)
}

/// Opened pictures that a session file holds, with their classes.
fn stored_pictures(path: &Path) -> anyhow::Result<Arc<Origins>> {
    let folder = tempfile::tempdir().context("no temporary folder can be made: free some space")?;
    let (waker, wakes) = bounded(1);
    let storage = Storage::spawn(folder.path(), wake_by(waker)).context("the disk thread cannot be started")?;
    let job = Job::Open { path: path.to_owned(), epoch: 0 };
    storage.send(job).map_err(|_back| anyhow!("the disk thread takes no work: start the program again"))?;
    let opened = loop {
        match storage.try_event() {
            Some(StorageEvent::Opened(restored)) => break Ok(restored.origins),
            Some(StorageEvent::Failed(chain)) => break Err(failure(&chain)),
            Some(_) => {}
            None if wakes.recv().is_err() => {
                break Err(anyhow!("the disk thread broke down while reading the session"));
            }
            None => {}
        }
    };
    storage.finish(Vec::new(), false);
    opened?.with_context(|| format!("the session holds no pictures: give some with --input\n{}", path.display()))
}

/// What a dry run says: a manifest and its file, for each model.
fn plan(
    options: &RunOptions,
    generator: Option<(&Manifest, Option<&Path>)>,
    (classifier, classifier_path): (&Manifest, Option<&Path>),
    pictures: &[PathBuf],
) -> String {
    let RunOptions { settings, source, out, notes, .. } = options;
    let mut lines = notes.clone();
    match (generator, source) {
        (Some((manifest, path)), _) => {
            lines.push(describe_model("generator", &settings.generate.generator, manifest, path));
            lines.push(describe_generation(&settings.generate, manifest));
        }
        (None, Source::Stored(path)) => lines.push(format!("{:<11}those stored in {}", "pictures", path.display())),
        (None, _) => {
            let names: Vec<String> = pictures.iter().map(|picture| picture.display().to_string()).collect();
            let labels = listed_labels(&settings.generate, pictures.len(), classifier.classes.len());
            let labels = labels.map_or_else(
                || "those that the classifier sees".to_owned(),
                |labels| describe_labels(&labels, &classifier.classes),
            );
            lines.push(format!("{:<11}{} ({})", "pictures", pictures.len(), names.join(", ")));
            lines.push(format!("{:<11}{labels}", "classes"));
        }
    }
    lines.push(describe_model("classifier", &settings.refine.classifier, classifier, classifier_path));
    lines.push(describe_refinement(&settings.refine));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, &export::REFINED_FILES));
    lines.join("\n")
}

fn describe_refinement(settings: &RefineSettings) -> String {
    let RefineSettings { objective, norm, eps, normalise, random_start, .. } = *settings;
    let iterations = settings.iterations.map_or(0, std::num::NonZeroU32::get);
    // In single precision, or a tenth of 3 would read 0.30000000000000004.
    let step = settings.step_length() as f32;
    let start = if random_start { "a random point of the ball" } else { "the picture itself" };
    let direction = if normalise { "normalised gradient" } else { "raw gradient" };
    let reach = match settings.reach() {
        None => "steps follow the raw gradient, so nothing can be said before".to_owned(),
        Some(reach) => {
            let remark = if reach < 1.0 {
                "the edge of the ball is unreachable; more iterations or larger steps use all of the radius"
            } else {
                "the edge of the ball is reachable"
            };
            format!("{} α / ε = {reach:.2}: {remark}", ITERATIONS.symbol)
        }
    };
    format!(
        "{:<11}{}\n{:<11}{} = {eps} in {}, {} = {step}, {} = {iterations}, {direction}, from {start}\n{:<11}{reach}",
        "objective",
        objective.option().about,
        "refining",
        EPS.symbol,
        norm.option().label,
        STEP_SIZE.symbol,
        ITERATIONS.symbol,
        "reach",
    )
}

fn summary(
    driver: &Driver,
    settings: &Settings,
    origins: &Origins,
    (before, last): (&Numbers, &State),
    out: &Path,
) -> String {
    let after = &last.numbers;
    format!(
        "{} pictures, {} iterations on {}\nmean {} {:.4} → {:.4}\nclassifier sees the target class in {:.1} % → {:.1} %\n{}",
        origins.labels.len(),
        last.iteration,
        driver.device(),
        settings.refine.objective.option().label,
        mean(&before.objective),
        mean(&after.objective),
        100.0 * agreement(before, &origins.labels),
        100.0 * agreement(after, &origins.labels),
        written(out, &export::REFINED_FILES),
    )
}

/// Of the finite values.
fn mean(values: &[f32]) -> f64 {
    let finite: Vec<f64> = values.iter().filter(|value| value.is_finite()).map(|value| f64::from(*value)).collect();
    finite.iter().sum::<f64>() / finite.len() as f64
}

/// Share of samples whose top class is the target, `0..=1`.
fn agreement(numbers: &Numbers, labels: &[usize]) -> f64 {
    let agrees = |(sample, label): &(usize, &usize)| top_classes(numbers.logits_of(*sample), 1).first() == Some(*label);
    labels.iter().enumerate().filter(agrees).count() as f64 / labels.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_pictures_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png"] {
            ::image::RgbImage::new(2, 2).save(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("notes.txt"), "not a picture").unwrap();
        let found = collect_pictures(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.png", "b.png"]);
        let empty = tempfile::tempdir().unwrap();
        let error = collect_pictures(&[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("no picture is in this folder"), "{error}");
    }

    #[test]
    fn listed_classes_are_taken_in_turn_and_all_means_the_verdict() {
        let only = GenerateSettings { classes: Classes::Only(vec![6, 2]), first_seed: 9, ..Default::default() };
        assert_eq!(listed_labels(&only, 3, 12), Some(vec![6, 2, 6]));
        assert_eq!(listed_labels(&GenerateSettings::default(), 3, 12), None);
    }

    #[test]
    fn a_plan_says_whether_the_edge_can_be_reached() {
        let far = describe_refinement(&RefineSettings::default());
        assert!(far.contains("ε = 3 in L2") && far.contains("= 1.50: the edge of the ball is reachable"), "{far}");
        let short = RefineSettings { step_size: 0.1, ..Default::default() };
        assert!(describe_refinement(&short).contains("unreachable"));
    }

    #[test]
    fn agreement_counts_top_classes() {
        let numbers = Numbers { objective: vec![0.0; 2], logits: vec![1.0, 2.0, 4.0, 3.0], ..Default::default() };
        assert!((agreement(&numbers, &[1, 1]) - 0.5).abs() < 1e-12);
        assert!((mean(&[1.0, f32::NAN, 3.0]) - 2.0).abs() < 1e-12);
    }
}
