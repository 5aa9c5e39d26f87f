//! `lapidary edit`: pictures made from pictures, and every file about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::describe::{describe_compute, describe_edit, describe_labels, describe_model, would_write, written};
use super::driver::{Driver, say_out};
use super::generate::check_sampling;
use super::opened::{Opened, changed, document, labelled, stored_pictures};
use super::refine::Described;
use super::{CliError, Outcome, RunOptions, Source, flags};
use crate::classifier::labels::listed;
use crate::classifier::translation;
use crate::data::read_picture;
use crate::export::{self, Results};
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, EditTask, GenerateError, GenerateSettings, Mask};
use crate::image::centre;
use crate::origins::Origins;
use crate::parameter::Choosable as _;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::trace::Trace;
use crate::units::counted;
use crate::zoo::Manifest;

/// Largest side of a mask that is taken as it is, in pixels; larger ones are shrunk first.
const MAX_MASK: u32 = 4096;

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
        Source::Pictures(paths) if task.needs_reference() => {
            Some(Opened::new(paths, options.run.part)?.strictly(options.run.strict))
        }
        _ => None,
    };
    if let Some(pictures) = &pictures {
        SAMPLES.check(pictures.count() as f64).context("too many pictures are given: take a part with --limit")?;
    }
    check(options, &generator.0, pictures.as_ref())?;
    let sizes = match &pictures {
        Some(pictures) if options.mask.is_some() => pictures.sizes(),
        // Stored pictures are square.
        _ => vec![[1, 1]],
    };
    let mask = options.mask.as_deref().map(|path| read_mask(path, generator.0.size(), &sizes)).transpose()?;
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
            (Some(Arc::new(origins.to_edit(None))), mask.or(stored))
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
    let mut document = document(&options.run, &driver, pictures.as_ref(), Some(&origins), &Trace::default());
    // An interpolation was made of nothing, but is an edit all the same.
    document.edited = Some(settings.edit.clone());
    Results { origins: &origins, document: &document, refined: None }.write(out)?;
    let done = origins.images.len();
    if !*quiet {
        say_out(&format!(
            "{}: {} on {}\n{}\nrefine them with: lapidary refine --input {}",
            task.option().label,
            counted(done, "picture"),
            driver.device(),
            written(out, &export::files(&export::GENERATED)),
            out.join("samples.npz").display()
        ));
    }
    if driver.interrupted {
        driver.say(&format!("stopped after {done} of {of} pictures; these are written"));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

/// What the work would refuse later.
fn check(options: &EditOptions, generator: &Manifest, pictures: Option<&Opened>) -> anyhow::Result<()> {
    let Settings { generate, edit, .. } = &options.run.settings;
    let Manifest { channels, classes, .. } = generator;
    let [height, width] = generator.size();
    let patch = edit.patch as usize;
    match edit.task {
        EditTask::SuperResolution if patch == 0 || !(height.is_multiple_of(patch) && width.is_multiple_of(patch)) => {
            return Err(GenerateError::Patch { patch, height, width }.into());
        }
        EditTask::Colorize if *channels != 3 => {
            return Err(GenerateError::Colour { channels: *channels }.into());
        }
        _ => {}
    }
    if let Some(pictures) = pictures.filter(|_| !classes.is_empty()) {
        pictures.check_labels(&options.run.settings, &generate.generator, classes.len())?;
        check_verdict(&options.run.settings, generator, pictures)?;
    }
    check_sampling(generate, generator)
}

/// A classifier that is to say of which class a picture is must know the generator's classes.
fn check_verdict(settings: &Settings, generator: &Manifest, pictures: &Opened) -> anyhow::Result<()> {
    if settings.generate.classes != Classes::All || pictures.source.has_labels() {
        return Ok(());
    }
    let (classifier, _) = flags::find(&settings.refine.classifier, false)?;
    if translation(&classifier.classes, &generator.classes).is_err() {
        bail!(
            "the generator makes pictures of {}, but the classifier knows {}, so it cannot say of which class a picture is: say it with --classes, or choose another --classifier",
            listed(&generator.classes),
            listed(&classifier.classes)
        );
    }
    Ok(())
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
    let batch = pictures.read(generator.shape())?;
    driver.note(&changed(&batch.fits));
    let decided = settings.generate.classes != Classes::All || generator.classes.is_empty();
    let labels = batch.labels.clone().or_else(|| decided.then(|| vec![0; batch.images.len()]));
    if labels.is_some() {
        return labelled(driver, settings, &batch, labels);
    }
    let (classifier, _) = flags::find(&settings.refine.classifier, false)?;
    let seen = labelled(driver, settings, &batch, None)?;
    Ok(seen.map(|origins| Arc::new(Origins { classes: Some(classifier.classes), ..Origins::clone(&origins) })))
}

/// Whether a mask covers what is kept of a picture: it is as square as that, or has the picture's shape to half a pixel.
fn covers(mask: [u32; 2], picture: [u32; 2]) -> bool {
    let ([mask_width, mask_height], [width, height]) = (mask.map(u64::from), picture.map(u64::from));
    mask_width == mask_height || 2 * (mask_width * height).abs_diff(mask_height * width) <= width + height
}

/// The centred part of a picture that has the form of `[H, W]` as a mask of that size: white is to be generated, where it
/// is not transparent.
/// `pictures`: widths and heights of the pictures that it is for.
fn read_mask(path: &Path, [rows, columns]: [usize; 2], pictures: &[[u32; 2]]) -> anyhow::Result<Mask> {
    let picture = read_picture(path)?.image;
    let (width, height) = (picture.width(), picture.height());
    if let Some([w, h]) = pictures.iter().find(|picture| !covers([width, height], **picture)) {
        let shape = if w == h { "a square".to_owned() } else { format!("a square or {w}×{h}") };
        bail!(
            "the mask is {width}×{height}, but must have the shape of the pictures, {shape}: crop it as they are\n{}",
            path.display()
        );
    }
    let [left, top, width, height] = centre([width, height], [columns as u32, rows as u32]);
    let mut part = picture.crop_imm(left, top, width, height);
    if width.max(height) > MAX_MASK {
        part = part.resize(MAX_MASK, MAX_MASK, ::image::imageops::FilterType::Nearest);
    }
    let grey = |pixel: &::image::LumaA<u8>| if pixel.0[1] == 0 { 0 } else { pixel.0[0] };
    let grey: Vec<u8> = part.to_luma_alpha8().pixels().map(grey).collect();
    let mask = Mask::from_grey8(part.width(), part.height(), &grey)?.resized(columns as u32, rows as u32);
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
    lines.push(describe_edit(&settings.edit, &settings.generate, generator));
    match (pictures, source) {
        (Some(pictures), _) => lines.push(pictures.describe()),
        (None, Source::Stored(path)) if task.needs_reference() => {
            lines.push(format!("{:<11}those stored in {}, or what they were edited from", "pictures", path.display()));
        }
        (None, _) => {}
    }
    if let Some(mask) = options.mask.as_ref().filter(|_| task.needs_mask()) {
        lines.push(format!("{:<11}{}", "mask", mask.display()));
    }
    let stored = task.needs_reference() && matches!(source, Source::Stored(_));
    let first = settings.generate.first_seed;
    match pictures.map(Opened::count) {
        Some(n) if n > 1 => {
            lines.push(format!("{:<11}{first}..{} (one result of each of {n} pictures)", "seeds", first + n as u64));
        }
        Some(_) => {
            let n = settings.generate.samples;
            let results = counted(n as usize, "result");
            lines.push(format!("{:<11}{first}..{} ({results})", "seeds", first + u64::from(n)));
        }
        None => {}
    }
    let labelled = pictures.is_some_and(|pictures| pictures.source.has_labels());
    let classes = match &settings.generate.classes {
        _ if generator.classes.is_empty() => describe_labels(&[], &generator.classes),
        Classes::All if labelled => "those that the archive says".to_owned(),
        Classes::All if stored => "those stored with the pictures".to_owned(),
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
    lines.push(would_write(out, &export::files(&export::GENERATED)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_white_where_pixels_are_generated_and_cropped_like_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let wide = ::image::GrayImage::from_fn(8, 4, |x, _| ::image::Luma([if x < 4 { 255 } else { 0 }]));
        wide.save(&path).unwrap();
        let mask = read_mask(&path, [2, 2], &[[16, 8], [800, 401]]).unwrap();
        assert_eq!(mask.missing(), [true, false, true, false], "the centre 4×4, at 2×2");
        let text = read_mask(&path, [2, 2], &[[16, 8], [8, 8]]).unwrap_err().to_string();
        assert!(text.starts_with("the mask is 8×4, but must have the shape of the pictures, a square"), "{text}");
        let half = ::image::RgbaImage::from_fn(2, 2, |x, _| ::image::Rgba([255, 255, 255, x as u8]));
        half.save(&path).unwrap();
        let mask = read_mask(&path, [2, 2], &[[16, 8]]).unwrap();
        assert_eq!(mask.missing(), [false, true, false, true], "what is transparent is known");
        ::image::GrayImage::new(4, 4).save(&path).unwrap();
        assert!(read_mask(&path, [2, 2], &[[1, 1]]).unwrap_err().to_string().contains("black everywhere"));
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
}
