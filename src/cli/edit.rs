//! `lapidary edit`: pictures made from pictures, and every file about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::describe::{describe_compute, describe_edit, describe_labels, describe_model, would_write, written};
use super::driver::{Driver, say_out};
use super::opened::{Opened, stored_pictures, verdict};
use super::refine::Described;
use super::{CliError, Outcome, RunOptions, Source, flags};
use crate::checkpoint::Manifest;
use crate::export;
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, EditTask, GenerateSettings, Mask};
use crate::image::ImageBatch;
use crate::parameter::Choosable as _;
use crate::session::Settings;
use crate::session::document::Document;
use crate::session::host::Folders;
use crate::session::storage::read_picture;
use crate::trace::Trace;
use crate::worker::Origins;

/// What `lapidary edit` runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct EditOptions {
    /// What all commands have; its source is what is edited.
    pub run: RunOptions,
    /// A picture that is white where pixels are to be generated.
    pub mask: Option<PathBuf>,
}

impl EditOptions {
    /// Checks that the task has what it needs.
    ///
    /// # Errors
    /// [`CliError::NoInput`] without a picture, [`CliError::NoMask`] for inpainting without a mask.
    pub fn check(&self) -> Result<(), CliError> {
        let task = self.run.settings.edit.task;
        if task.needs_reference() && self.run.source == Source::Generator {
            return Err(CliError::NoInput { task: task.option().key });
        }
        // A session file may hold a mask.
        if task.needs_mask() && self.mask.is_none() && !matches!(self.run.source, Source::Stored(_)) {
            return Err(CliError::NoMask);
        }
        Ok(())
    }
}

/// Edits and writes pictures.
///
/// # Errors
/// The chain from what failed to why; nothing is written then.
pub fn run(options: &EditOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, source, out, quiet, .. } = &options.run;
    let task = settings.edit.task;
    let generator = flags::find(&settings.generate.generator, true)?;
    let pictures = match source {
        Source::Pictures(paths) if task.needs_reference() => Some(Opened::new(paths, options.run.part)?),
        _ => None,
    };
    if let Some(pictures) = &pictures {
        SAMPLES.check(pictures.count() as f64).context("too many pictures are given: take a part with --limit")?;
    }
    let mask = options.mask.as_deref().map(|path| read_mask(path, generator.0.resolution)).transpose()?;
    if options.run.dry_run {
        say_out(&plan(options, &generator, pictures.as_ref()));
        return Ok(Outcome::Done);
    }
    export::prepare_folder(out)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.run.notes);
    let (reference, mask) = match (source, &pictures) {
        (Source::Stored(path), _) if task.needs_reference() => {
            let (origins, _) = stored_pictures(path)?;
            let stored = origins.edited.as_ref().and_then(|edited| edited.mask.clone());
            (Some(Arc::new(what_was_edited(&origins))), mask.or(stored))
        }
        (_, Some(pictures)) => match open_pictures(pictures, settings, &generator.0, &mut driver)? {
            Some(origins) => (Some(origins), mask),
            None => return Ok(nothing_done(&driver)),
        },
        _ => (None, None),
    };
    if task.needs_mask() && mask.is_none() {
        return Err(CliError::NoMask.into());
    }
    if driver.interrupted {
        return Ok(nothing_done(&driver));
    }
    let of = match &reference {
        Some(origins) if origins.images.len() > 1 => origins.images.len(),
        _ => settings.generate.samples as usize,
    };
    let made = driver.edit(settings, reference, mask)?;
    driver.finish();
    let Some(origins) = made else { return Ok(nothing_done(&driver)) };
    let document = Document::new(settings, &driver.provenance, Some(&origins), &Trace::default(), Some(out));
    export::write_generated(out, &origins, &document)?;
    let done = origins.images.len();
    if !*quiet {
        say_out(&format!(
            "{}: {done} pictures on {}\n{}\nrefine them with: lapidary refine --input {}",
            task.option().label,
            driver.device(),
            written(out, &export::GENERATED_FILES),
            out.join("samples.npz").display()
        ));
    }
    if driver.interrupted {
        driver.say(&format!("stopped after {done} of {of} pictures; these are written"));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

fn nothing_done(driver: &Driver) -> Outcome {
    driver.finish();
    driver.say("stopped before the first pictures were done: nothing is written");
    Outcome::Interrupted
}

/// Opens pictures and gives each its class: the archive's, or the one that the classifier sees. Listed classes are the
/// generator's business.
fn open_pictures(
    pictures: &Opened,
    settings: &Settings,
    generator: &Manifest,
    driver: &mut Driver,
) -> anyhow::Result<Option<Arc<Origins>>> {
    let batch = pictures.read(generator.resolution)?;
    driver.note(&batch.fits);
    let labels = batch.labels.clone().unwrap_or_else(|| vec![0; batch.images.len()]);
    let origins = Origins::opened(batch.images, labels, batch.names);
    let decided = batch.labels.is_some() || settings.generate.classes != Classes::All || generator.classes.is_empty();
    if decided {
        return Ok(Some(Arc::new(origins)));
    }
    let (classifier, _) = flags::find(&settings.refine.classifier, false)?;
    if classifier.classes.len() != generator.classes.len() {
        bail!(
            "the generator makes pictures of {} classes, but the classifier knows {}, so it cannot say of which class a picture is: say it with --classes, or choose another --classifier",
            generator.classes.len(),
            classifier.classes.len()
        );
    }
    let origins = Arc::new(origins);
    let seen = verdict(driver, settings, &origins)?;
    Ok(seen.map(|labels| Arc::new(Origins { labels, ..Origins::clone(&origins) })))
}

/// Of edited pictures what they were edited from, once each; else the pictures themselves.
fn what_was_edited(origins: &Origins) -> Origins {
    let images = origins.edited.as_ref().map_or(&origins.images, |edited| &edited.reference);
    // Several results of one picture lie next to each other.
    let is_new = |i: &usize| *i == 0 || images.sample(*i) != images.sample(i - 1);
    let chosen: Vec<usize> = (0..images.len()).filter(is_new).collect();
    let parts: Vec<ImageBatch> = chosen.iter().map(|i| images.slice(*i, i + 1)).collect();
    let labels = chosen.iter().map(|i| origins.labels[*i]).collect();
    let names = chosen.iter().filter_map(|i| origins.names.get(*i).cloned()).collect();
    Origins::opened(ImageBatch::concat(&parts), labels, names)
}

/// The centred square of a picture as a mask, at `size x size`: white is to be generated.
fn read_mask(path: &Path, size: usize) -> anyhow::Result<Mask> {
    let picture = read_picture(path)?;
    let (width, height) = (picture.width(), picture.height());
    let side = width.min(height);
    let square = picture.crop_imm((width - side) / 2, (height - side) / 2, side, side).to_luma8();
    let mask = Mask::from_grey8(side, side, square.as_raw())?.resized(size as u32, size as u32);
    if mask.is_empty() {
        bail!(
            "the mask is black everywhere, so nothing is to be generated: paint the pixels to be generated white\n{}",
            path.display()
        );
    }
    Ok(mask)
}

/// What a dry run says.
fn plan(options: &EditOptions, (generator, path): &Described, pictures: Option<&Opened>) -> String {
    let RunOptions { settings, source, out, notes, .. } = &options.run;
    let task = settings.edit.task;
    let mut lines = notes.clone();
    lines.push(describe_model("generator", &settings.generate.generator, generator, path.as_deref()));
    lines.push(describe_edit(&settings.edit, &settings.generate));
    match (pictures, source) {
        (Some(pictures), _) => lines.push(pictures.describe()),
        (None, Source::Stored(path)) if task.needs_reference() => {
            lines.push(format!("{:<11}those stored in {}", "pictures", path.display()));
        }
        (None, _) => {}
    }
    if let Some(mask) = options.mask.as_ref().filter(|_| task.needs_mask()) {
        lines.push(format!("{:<11}{}", "mask", mask.display()));
    }
    let labelled = pictures.is_some_and(|pictures| pictures.source.has_labels());
    let classes = match &settings.generate.classes {
        _ if generator.classes.is_empty() => describe_labels(&[], &generator.classes),
        Classes::All if labelled => "those that the archive says".to_owned(),
        Classes::All if task == EditTask::Interpolate => describe_labels(&[0], &generator.classes),
        Classes::All => "those that the classifier sees".to_owned(),
        Classes::Only(_) | Classes::Random => {
            let count = pictures.map_or(1, Opened::count);
            let samples = if count > 1 { count as u32 } else { settings.generate.samples };
            let labels = GenerateSettings { samples, ..settings.generate.clone() }.labels(generator.classes.len());
            describe_labels(&labels, &generator.classes)
        }
    };
    lines.push(format!("{:<11}{classes}", "classes"));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, &export::GENERATED_FILES));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::EditSettings;
    use crate::worker::Edited;

    #[test]
    fn a_mask_is_white_where_pixels_are_generated_and_cropped_like_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let wide = ::image::GrayImage::from_fn(8, 4, |x, _| ::image::Luma([if x < 4 { 255 } else { 0 }]));
        wide.save(&path).unwrap();
        let mask = read_mask(&path, 2).unwrap();
        assert_eq!(mask.missing(), [true, false, true, false], "the centre 4×4, at 2×2");
        ::image::GrayImage::new(4, 4).save(&path).unwrap();
        assert!(read_mask(&path, 2).unwrap_err().to_string().contains("black everywhere"));
    }

    #[test]
    fn a_task_without_what_it_needs_is_refused() {
        let options = |task, source, mask: Option<&str>| {
            let mut settings = Settings::default();
            settings.edit.task = task;
            let run = RunOptions { source, ..RunOptions::new(settings) };
            EditOptions { run, mask: mask.map(PathBuf::from) }.check()
        };
        let pictures = || Source::Pictures(vec!["a.png".into()]);
        assert!(matches!(options(EditTask::Colorize, Source::Generator, None), Err(CliError::NoInput { .. })));
        assert!(matches!(options(EditTask::Inpaint, pictures(), None), Err(CliError::NoMask)));
        assert!(options(EditTask::Inpaint, pictures(), Some("mask.png")).is_ok());
        assert!(options(EditTask::Interpolate, Source::Generator, None).is_ok());
    }

    #[test]
    fn an_edited_set_gives_back_each_picture_once() {
        let reference = ImageBatch::new([3, 1, 1, 1], vec![0.5, 0.5, 0.25]);
        let edited = Edited { settings: EditSettings::default(), reference, mask: None };
        let images = ImageBatch::new([3, 1, 1, 1], vec![0.0, 0.1, 0.2]);
        let origins = Origins { edited: Some(edited), ..Origins::opened(images, vec![7, 7, 8], Vec::new()) };
        let found = what_was_edited(&origins);
        assert_eq!((found.images.pixels(), found.labels.as_slice()), ([0.5, 0.25].as_slice(), [7, 8].as_slice()));
    }
}
