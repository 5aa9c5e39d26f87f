//! What a dry run looks at: everything that the run would refuse or warn of before a network runs. Pictures are read, for what is
//! wrong with one of many is found in seconds here and after hours there. Weights are not read: where nobody knows their hash,
//! looking into them would take as long as the run's own start does.

use std::path::PathBuf;

use super::begin::Job;
use super::opened::{MAX_TOGETHER, Opened, changed};
use super::progress::Progress;
use super::refine::Described;
use super::say::{is_said, say_err};
use super::{Part, RunOptions};
use crate::checkpoint::unwatched;
use crate::session::{Settings, changes};
use crate::zoo::{ManifestKind, Model};

/// What was found.
pub(super) struct Rehearsal {
    /// Where the results would go.
    pub(super) out: PathBuf,
    /// Pictures that can be read, of those that are opened.
    pub(super) pictures: usize,
    /// Of work that is gone on with, a line about how much of it is done.
    done: Option<String>,
}

impl Rehearsal {
    /// A plan, and behind it how much of it is done.
    pub(super) fn told(&self, plan: String) -> String {
        match &self.done {
            Some(done) => format!("{plan}\n{done}"),
            None => plan,
        }
    }
}

/// Looks at the folder of the results, at the models, and at pictures that are fitted to `shape`, `[C, H, W]`; `None` when
/// everything was done before, which is said.
///
/// # Errors
/// Those of the run, in its words.
pub(super) fn rehearse(
    options: &RunOptions,
    job: &Job<'_>,
    models: &[&Described],
    shape: [usize; 3],
) -> anyhow::Result<Option<Rehearsal>> {
    let Some((out, done)) = job.look(options)? else { return Ok(None) };
    for model in models {
        look_into(model, options)?;
    }
    if let Some(recorded) = &options.recorded {
        let (inputs, references) = job.hashes(options);
        let files = job.pictures.map_or_else(Vec::new, Opened::names);
        warn(recorded.compare_references(&options.references, &references));
        warn(recorded.compare_inputs(&files, &inputs));
    }
    let mut rehearsal = Rehearsal { out, pictures: 0, done };
    if !options.references.is_empty() {
        let mut real = Opened::new(&options.references, Part::default())?.strictly(true);
        real.range.end = real.range.end.min(MAX_TOGETHER);
        read(&real, shape, options)?;
    }
    let Some(pictures) = job.pictures else { return Ok(Some(rehearsal)) };
    rehearsal.pictures = read(pictures, shape, options)?;
    Ok(Some(rehearsal))
}

/// A model's file must be one, and the one that its manifest means; whether it is the session's is good to know.
pub(super) fn look_into((manifest, path): &Described, options: &RunOptions) -> anyhow::Result<()> {
    let made_with = options.recorded.as_ref().map(|recorded| &recorded.provenance);
    let Settings { generate, refine, .. } = &options.settings;
    let (then, place) = match manifest.kind {
        ManifestKind::Generator(_) => (made_with.map(|made| &made.generator), &generate.generator),
        ManifestKind::Classifier(_) | ManifestKind::Extractor(_) => {
            (made_with.map(|made| &made.classifier), &refine.classifier)
        }
    };
    let then = then.and_then(Option::as_ref);
    let sha256 = match path {
        // What is carried inside the program has the hash that it was built with.
        None => manifest.sha256.clone(),
        Some(path) => {
            let model = Model { manifest: manifest.clone(), weights: path.clone() };
            let checkpoint = model.open()?;
            let is_asked = manifest.sha256.is_some() || then.is_some();
            is_asked.then(|| model.confirm(checkpoint.sha256(&mut unwatched)?)).transpose()?
        }
    };
    warn(changes::model(then, (place, &manifest.title, &sha256.unwrap_or_default())));
    Ok(())
}

/// Reads all of them as the run does, and says what it says of them; returns how many can be read.
fn read(pictures: &Opened, shape: [usize; 3], options: &RunOptions) -> anyhow::Result<usize> {
    let mut progress = Progress::new(options.quiet);
    let (of, batch) = (pictures.count(), options.settings.compute.batch.max(1) as usize);
    let mut watch = |done: usize| {
        progress.show_steps("reading", done as u64, of as u64, done as u64);
        progress.tell_line();
        true
    };
    let mut count = 0;
    let notes = if pictures.streams() {
        let each = &mut |read: crate::data::Batch| {
            count += read.images.len();
            Ok(watch(count))
        };
        pictures.for_each_batch(pictures.range.clone(), (shape, batch), each)
    } else {
        pictures.read(shape, &mut |done, _| watch(done)).map(|read| {
            let fits = read.map_or_else(Vec::new, |read| {
                count = read.images.len();
                read.fits
            });
            let is_news = |fit: &String| !pictures.source.notes().contains(fit);
            changed(&fits).into_iter().filter(is_news).collect()
        })
    };
    progress.bar.finish_and_clear();
    notes?.iter().filter(|note| is_said(note, options.quiet)).for_each(|note| say_err(note));
    Ok(count)
}

fn warn(difference: Option<String>) {
    if let Some(text) = difference {
        say_err(&format!("warning: {text}"));
    }
}
