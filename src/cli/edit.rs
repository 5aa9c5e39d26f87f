//! `lapidary edit`: pictures made from pictures, and every file about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::begin::Job;
use super::describe::{describe_compute, describe_edit, describe_labels, describe_model, would_write};
use super::driver::Driver;
use super::generate::{check_sampling, windows};
use super::maker::{Maker, part_of};
use super::opened::{Opened, changed, labelled, stored_pictures};
use super::refine::Described;
use super::rehearsal::rehearse;
use super::say::{say_err, say_out};
use super::{CliError, Outcome, RunOptions, Source, flags};
use crate::classifier::labels::listed;
use crate::classifier::translation;
use crate::data::{Batch, read_picture};
use crate::generator::interpolation::{frame_class_in_words, frame_labels};
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, EditTask, GenerateError, GenerateSettings, Mask};
use crate::image::centre;
use crate::origins::Origins;
use crate::parameter::Choosable as _;
use crate::session::Settings;
use crate::session::host::Folders;
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
    /// Whether it was said how many results there are to be.
    pub counts: bool,
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
/// The chain from what failed to why; what was finished before stays.
pub fn run(options: &EditOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let generator = flags::find(&options.run.settings.generate.generator, true)?;
    let mut options = options.clone();
    options.run.notes.extend(class_of_frames(&options.run.settings, &generator.0.classes));
    let options = &options;
    let RunOptions { settings, source, .. } = &options.run;
    let task = settings.edit.task;
    let mut pictures = match source {
        Source::Pictures(paths) if task.needs_reference() => {
            Some(Opened::new(paths, options.run.part)?.strictly(options.run.strict))
        }
        _ => None,
    };
    if let Some(pictures) = pictures.as_mut().filter(|pictures| pictures.source.has_labels()) {
        pictures.source.take_classes(&generator.0.classes);
    }
    check(options, &generator.0, pictures.as_ref())?;
    let sizes = match &pictures {
        Some(pictures) if options.mask.is_some() => pictures.sizes(),
        // Stored pictures are square.
        _ => vec![[1, 1]],
    };
    if let (Some(mask), Some(recorded)) = (&options.mask, &options.run.recorded) {
        recorded.check_mask(mask)?;
    }
    let mask = options.mask.as_deref().map(|path| read_mask(path, generator.0.size(), &sizes)).transpose()?;
    let (stored, mask) = match source {
        Source::Stored(path) if task.needs_reference() => {
            let (origins, stored) = stored_pictures(path)?;
            // What is painted now is newer than what the pictures were made with.
            let own = stored.mask.or_else(|| origins.edited.as_ref().and_then(|edited| edited.mask.clone()));
            (Some(origins.to_edit(None)), mask.or(own))
        }
        _ => (None, mask),
    };
    if task.needs_mask() && mask.is_none() {
        return Err(CliError::NoMask.into());
    }
    let given = pictures.as_ref().map(Opened::count).or(stored.as_ref().map(|stored| stored.images.len()));
    let count = match given {
        Some(n) if n > 1 => n,
        // Without noise every variant of a picture would be the same.
        Some(_) if task == EditTask::Denoise && !settings.edit.add_noise => 1,
        _ => options.run.count(),
    };
    if given.is_some_and(|n| n > 1 && options.counts && n != options.run.count()) {
        say_err(&format!("warning: of several pictures each gives one result, so {count} are made"));
    }
    let files = super::generate::files(count);
    let bytes = super::generate::bytes(count, generator.0.shape(), task.needs_reference());
    let (opens, mask_file) = (pictures.as_ref(), options.mask.as_deref());
    // Places in an archive or a folder; the first one may have others before it.
    let start = opens.filter(|_| count > 1).map_or(0, |pictures| pictures.range.start);
    // The frames between two seeds are known by their share of the way, so they are made together.
    let is_one = task == EditTask::Interpolate;
    let batches = (!is_one).then_some((start, count));
    let job = Job {
        command: "edit",
        files: &files,
        pictures: opens,
        mask: mask_file,
        real: &[],
        bytes,
        share: None,
        batches,
    };
    if options.run.dry_run {
        let Some(found) = rehearse(&options.run, &job, &[&generator], generator.0.shape())? else {
            return Ok(Outcome::Done);
        };
        say_out(&found.told(plan(options, &generator, opens, (&found.out, &files))))?;
        return Ok(Outcome::Done);
    }
    let Some(begun) = job.begin(&options.run)? else { return Ok(Outcome::Done) };
    let mut driver = Driver::start(folders, &begun.options)?;
    if let (Some(recorded), Some(pictures)) = (&options.run.recorded, opens) {
        driver.compare(recorded.compare_inputs(&pictures.names(), &begun.hashes));
    }
    // Of a single picture they are said with how it was fitted.
    if let Some(pictures) = opens.filter(|pictures| pictures.count() > 1) {
        driver.note(pictures.source.notes());
    }
    let together = if is_one { count } else { settings.compute.batch as usize };
    let mut maker = Maker::new(begun, driver, ("editing", start..start + count), together)?;
    if is_one {
        maker.begin_anew()?;
    }
    let ended = make(&mut maker, (pictures.as_ref(), stored.as_ref()), mask.as_ref(), &generator.0);
    let say = |done, device: &str| format!("{}: {} on {device}", task.option().label, counted(done, "picture"));
    maker.finish(ended, pictures.as_ref(), true, say, |out| {
        let (samples, refined) = (out.join("samples.npz"), out.join("refined"));
        format!("\nrefine them with: lapidary refine --input {} --out {}", word(&samples), word(&refined))
    })
}

/// A note about the class of frames that nobody chose one for.
fn class_of_frames(settings: &Settings, classes: &[String]) -> Option<String> {
    let Settings { generate, edit, .. } = settings;
    let ends = Some((edit.seed_from, edit.seed_to)).filter(|_| edit.task == EditTask::Interpolate)?;
    let said = frame_class_in_words(generate, ends, classes)?;
    Some(format!("note: {said}: choose another with --classes"))
}

/// A path as one word of a shell, which is no flag.
pub(super) fn word(path: &Path) -> String {
    let text = path.display().to_string();
    quoted(&if text.starts_with('-') { format!("./{text}") } else { text })
}

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Makes what is left to make, of several pictures one of each, of one picture or of none as many as there are places.
fn make(
    maker: &mut Maker,
    (pictures, stored): (Option<&Opened>, Option<&Origins>),
    mask: Option<&Mask>,
    generator: &Manifest,
) -> anyhow::Result<Vec<String>> {
    let (rest, batch) = (maker.rest(), maker.batch);
    let edit = |driver: &mut Driver, settings: &Settings, origins: Option<Arc<Origins>>| {
        driver.edit(settings, origins, mask.cloned())
    };
    match (pictures, stored) {
        (Some(pictures), _) if pictures.count() > 1 => {
            return pictures.for_each_batch(rest, (generator.shape(), batch), &mut |read| {
                let places = read.first..read.first + read.images.len();
                let (mut settings, filled) = maker.settings(&places);
                let is_filled = filled > places.len();
                maker.make(places, |driver| {
                    let Some(origins) = with_labels(pictures, &read, &settings, generator, driver)? else {
                        return Ok(None);
                    };
                    let n = origins.images.len();
                    let samples = if is_filled { filled } else { n };
                    settings.generate.samples = samples as u32;
                    let made = edit(driver, &settings, Some(Arc::new(filled_to(&origins, samples))))?;
                    Ok(made.map(|made| Arc::new(part_of(&made, 0..made.images.len().min(n)))))
                })
            });
        }
        (Some(pictures), _) => {
            let driver = &mut maker.driver;
            let read = pictures.read(generator.shape(), &mut |done, of| driver.is_reading(done, of))?;
            let Some(read) = read else { return Ok(Vec::new()) };
            let settings = maker.begun.options.settings.clone();
            let origins = with_labels(pictures, &read, &settings, generator, &mut maker.driver)?;
            let Some(origins) = origins else { return Ok(Vec::new()) };
            windows(rest, batch).try_for_each(|places| {
                let (settings, _) = maker.settings(&places);
                maker.make(places, |driver| edit(driver, &settings, Some(Arc::clone(&origins)))).map(drop)
            })
        }
        (None, Some(stored)) => windows(rest, batch).try_for_each(|places| {
            let (settings, filled) = maker.settings(&places);
            let several = stored.images.len() > 1;
            let origins = if several { filled_to(&part_of(stored, places.clone()), filled) } else { stored.clone() };
            maker.make(places, |driver| edit(driver, &settings, Some(Arc::new(origins)))).map(drop)
        }),
        (None, None) => windows(rest, batch).try_for_each(|places| {
            let (settings, _) = maker.settings(&places);
            maker.make(places, |driver| edit(driver, &settings, None)).map(drop)
        }),
    }
    .map(|()| Vec::new())
}

/// The same with its last picture repeated until there are `n`.
fn filled_to(origins: &Origins, n: usize) -> Origins {
    let mut origins = origins.clone();
    origins.images = origins.images.repeat_last(n);
    let last = |label: &Vec<usize>| label.last().copied().unwrap_or(0);
    origins.labels.resize(n, last(&origins.labels));
    let seed = origins.seeds.last().copied().unwrap_or(0);
    origins.seeds.resize(n, seed);
    if let Some(name) = origins.names.last().cloned() {
        origins.names.resize(n, name);
    }
    origins
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
    if edit.task == EditTask::Interpolate {
        let frames = options.run.count();
        SAMPLES.check(frames as f64).context("the frames between two seeds are made together")?;
    }
    if let Some([found, ..]) = pictures.map(|pictures| pictures.shape(generator.shape()))
        && found != *channels
    {
        return Err(CliError::Channels { found, expected: *channels, model: "generator" }.into());
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
    flags::check_shape(&classifier, pictures.shape(generator.shape()))?;
    if translation(&classifier.classes, &generator.classes).is_err() {
        bail!(
            "the generator makes pictures of {}, but the classifier knows {}, so it cannot say of which class a picture is: say it with --classes, or choose another --classifier",
            listed(&generator.classes),
            listed(&classifier.classes)
        );
    }
    Ok(())
}

/// Opened pictures with their classes: the archive's, or those that the classifier sees. Listed classes are the generator's
/// business.
fn with_labels(
    pictures: &Opened,
    batch: &Batch,
    settings: &Settings,
    generator: &Manifest,
    driver: &mut Driver,
) -> anyhow::Result<Option<Arc<Origins>>> {
    if !pictures.streams() {
        driver.note(&changed(&batch.fits));
    }
    let decided = settings.generate.classes != Classes::All || generator.classes.is_empty();
    let labels = batch.labels.clone().or_else(|| decided.then(|| vec![0; batch.images.len()]));
    if labels.is_some() {
        return labelled(driver, settings, batch, labels);
    }
    let (classifier, _) = flags::find(&settings.refine.classifier, false)?;
    let seen = labelled(driver, settings, batch, None)?;
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
fn plan(
    options: &EditOptions,
    (generator, path): &Described,
    pictures: Option<&Opened>,
    (out, files): (&Path, &[&str]),
) -> String {
    let RunOptions { settings, source, notes, .. } = &options.run;
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
            let n = options.run.count();
            let results = counted(n, "result");
            lines.push(format!("{:<11}{first}..{} ({results})", "seeds", first + n as u64));
        }
        None => {}
    }
    let labelled = pictures.is_some_and(|pictures| pictures.source.has_labels());
    let classes = match &settings.generate.classes {
        _ if generator.classes.is_empty() => describe_labels(&[], &generator.classes),
        _ if task == EditTask::Interpolate => {
            let samples = options.run.count() as u32;
            let generate = GenerateSettings { samples, ..settings.generate.clone() };
            let ends = (settings.edit.seed_from, settings.edit.seed_to);
            describe_labels(&frame_labels(&generate, ends, generator.classes.len()), &generator.classes)
        }
        Classes::All if labelled => "those that the archive says".to_owned(),
        Classes::All if stored => "those stored with the pictures".to_owned(),
        Classes::All => "those that the classifier sees".to_owned(),
        Classes::Only(_) | Classes::Random => {
            let count = pictures.map_or(1, Opened::count);
            let samples = if count > 1 { count as u32 } else { options.run.count() as u32 };
            let labels = GenerateSettings { samples, ..settings.generate.clone() }.labels(generator.classes.len());
            describe_labels(&labels, &generator.classes)
        }
    };
    lines.push(format!("{:<11}{classes}", "classes"));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, files));
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
    fn a_path_is_one_word_of_a_shell_and_no_flag() {
        let word = |path: &str| word(Path::new(path));
        assert_eq!([word("a/b.npz"), word("-a/b.npz"), word("./-a")], ["a/b.npz", "./-a/b.npz", "./-a"]);
        assert_eq!([word("a b"), word("-it's")], ["'a b'", r"'./-it'\''s'"]);
    }

    #[test]
    fn a_task_without_what_it_needs_is_refused() {
        let options = |task, source, mask: Option<&str>| {
            let mut settings = Settings::default();
            settings.edit.task = task;
            let run = RunOptions { source, ..RunOptions::new(settings) };
            EditOptions { run, mask: mask.map(PathBuf::from), counts: false }.check()
        };
        let pictures = || Source::Pictures(vec!["a.png".into()]);
        assert!(matches!(options(EditTask::Colorize, Source::Generator, None), Err(CliError::NoInput { .. })));
        assert!(matches!(options(EditTask::Inpaint, pictures(), None), Err(CliError::NoMask)));
        assert!(options(EditTask::Inpaint, pictures(), Some("mask.png")).is_ok());
        assert!(options(EditTask::Interpolate, Source::Generator, None).is_ok());
    }
}
