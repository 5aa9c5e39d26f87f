//! Pictures that are opened instead of generated: which they are, of which class, and those that a session file holds.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use super::driver::Driver;
use super::{CliError, Part};
pub(super) use crate::data::changed;
use crate::data::{Batch, PictureError, PictureSource, picture_size};
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, GenerateSettings};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{RefineSettings, State, Target};
use crate::session::Settings;
use crate::session::changes::hashes;
use crate::session::disk::{self, Stored};
use crate::session::document::relative_file;
use crate::trace::RunId;

/// Most pictures that are held at once.
pub(super) const MAX_TOGETHER: usize = SAMPLES.max as usize;
/// Evaluations beside the run: the classifier's verdict on the pictures before.
const VERDICT: RunId = RunId(0);
/// Names of pictures that are listed before the rest is only counted.
const LISTED: usize = 8;

/// Pictures that are opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) source: PictureSource,
    /// Those of the source that are taken.
    pub(super) range: Range<usize>,
    strict: bool,
}

impl Opened {
    pub(super) fn new(paths: &[PathBuf], part: Part) -> anyhow::Result<Self> {
        let source = PictureSource::open(paths)?;
        if let Some(path) = source.files().into_iter().find(|path| !path.exists()) {
            return Err(PictureError::Missing { path }.into());
        }
        let count = source.count();
        let range = part.of(count).ok_or(CliError::Skip { skip: part.skip, count })?;
        Ok(Self { source, range, strict: false })
    }

    /// Labels of an archive, where they are used, must be classes of the model, which knows so many. Fewer columns of one-hot
    /// rows are no fault: some programs make as many as the largest label asks for.
    pub(super) fn check_labels(&self, settings: &Settings, model: &str, classes: usize) -> Result<(), CliError> {
        let labels = self.source.labels().filter(|_| settings.generate.classes == Classes::All);
        let taken = labels.map_or(&[][..], |labels| &labels[self.range.clone()]);
        let (model, path) = (model.to_owned(), self.source.files().into_iter().next().unwrap_or_default());
        if let Some(columns) = self.source.label_classes().filter(|columns| labels.is_some() && *columns > classes) {
            return Err(CliError::Columns { columns, model, classes, path });
        }
        let Some(wrong) = taken.iter().position(|label| *label >= classes) else { return Ok(()) };
        Err(CliError::Label { place: self.range.start + wrong, label: taken[wrong], model, classes, path })
    }

    /// Width and height of every picture; of an archive once.
    pub(super) fn sizes(&self) -> Vec<[u32; 2]> {
        if let Some([height, width]) = self.source.native_size() {
            return vec![[width as u32, height as u32]];
        }
        // What is wrong with a file is told when it is read.
        self.files().iter().filter_map(|path| picture_size(path).ok()).collect()
    }

    /// `[C, H, W]` that the classifier sees: an archive's own, else those that files are fitted to.
    pub(super) fn shape(&self, fitted: [usize; 3]) -> [usize; 3] {
        self.source.native_shape().unwrap_or(fitted)
    }

    /// Number of pictures.
    pub(super) const fn count(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Whether they go through the network batch by batch: archives do, and more than are held at once.
    pub(super) const fn streams(&self) -> bool {
        self.source.native_size().is_some() || self.count() > MAX_TOGETHER
    }

    /// A file that cannot be read is an error when `strict`, else it is left out and told of.
    pub(super) fn strictly(self, strict: bool) -> Self {
        Self { source: self.source.strictly(strict), strict, ..self }
    }

    /// Reads some of them, as [`PictureSource::for_each_batch`], in the batches that all of them have. Where others are done
    /// before or elsewhere, it is no fault when none of these can be read.
    pub(super) fn for_each_batch(
        &self,
        rest: Range<usize>,
        form: ([usize; 3], usize),
        each: &mut dyn FnMut(Batch) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Vec<String>> {
        let may_be_left_out = rest != self.range && !self.strict && self.source.native_size().is_none();
        match self.source.for_each_batch_from(self.range.start, rest, form, each) {
            Err(error) if may_be_left_out => error.downcast::<PictureError>().map(|error| vec![error.left_out()]),
            ended => ended,
        }
    }

    /// All of them that can be read, files fitted to `shape`, `[C, H, W]`; what was left out is told with what was fitted.
    /// Large files take long, so `watch` is told how many of how many were read; `None` when it says no.
    pub(super) fn read(
        &self,
        shape: [usize; 3],
        watch: &mut dyn FnMut(usize, usize) -> bool,
    ) -> anyhow::Result<Option<Batch>> {
        SAMPLES.check(self.count() as f64).context("too many pictures are given")?;
        let step = if self.source.native_size().is_some() { self.count().max(1) } else { 1 };
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for first in self.range.clone().step_by(step) {
            if !watch(first - self.range.start, self.count()) {
                return Ok(None);
            }
            let (batch, unreadable) = self.source.readable(first..first + step, shape);
            read.extend(batch);
            errors.extend(unreadable);
            if self.strict && !errors.is_empty() {
                read.clear();
                break;
            }
        }
        let Some(mut batch) = joined(self.range.start, read) else {
            ensure!(!errors.is_empty(), "no pictures are given: give some with --input");
            return Err(errors.swap_remove(0).into());
        };
        batch.fits.extend(self.source.notes().iter().cloned());
        batch.fits.extend(errors.iter().map(PictureError::left_out));
        Ok(Some(batch))
    }

    /// Their files and those that were left out before them, or that of the archive.
    fn read_from(&self) -> Vec<PathBuf> {
        let mut files = self.source.files();
        if self.source.native_size().is_none() {
            files.truncate(self.range.end);
        }
        files
    }

    /// Likewise, as seen from `folder`.
    pub(super) fn inputs(&self, folder: &Path) -> Vec<String> {
        relative_to(&self.read_from(), folder)
    }

    /// Likewise, as whoever reads a message would name them.
    pub(super) fn names(&self) -> Vec<String> {
        from_here(&self.read_from())
    }

    /// SHA-256 of each of them, as [`hashes`] gives them; empty for what was left out.
    pub(super) fn hashes(&self, watch: &mut dyn FnMut(u64, u64)) -> Vec<String> {
        let (files, first) = (self.files(), self.source.files().len().min(self.range.start));
        let left_out = if self.source.native_size().is_none() { first } else { 0 };
        [vec![String::new(); left_out], hashes(&files, watch)].concat()
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.source.files();
        match self.source.native_size() {
            Some(_) => files,
            None => files[self.range.clone()].to_vec(),
        }
    }

    /// A line about them.
    pub(super) fn describe(&self) -> String {
        let files = self.files();
        let mut names: Vec<String> = files.iter().take(LISTED).map(|file| file.display().to_string()).collect();
        if files.len() > LISTED {
            names.push(format!("{} more", files.len() - LISTED));
        }
        let native = self.source.native_size().map_or_else(String::new, |[height, width]| {
            format!(" at their own {width}×{height}, {} to {}", self.range.start, self.range.end - 1)
        });
        let line = format!("{:<11}{} ({}){native}", "pictures", self.count(), names.join(", "));
        [std::slice::from_ref(&line), self.source.notes()].concat().join("\n")
    }
}

/// Pictures that were read one after the other; `None` of none.
fn joined(first: usize, read: Vec<Batch>) -> Option<Batch> {
    let labels =
        read.iter().map(|batch| batch.labels.clone()).collect::<Option<Vec<_>>>().map(|labels| labels.concat());
    let (mut images, mut names, mut fits) = (Vec::new(), Vec::new(), Vec::new());
    for mut batch in read {
        names.append(&mut batch.names);
        fits.append(&mut batch.fits);
        images.push(batch.images);
    }
    (!images.is_empty()).then(|| Batch { first, images: ImageBatch::concat(&images), names, labels, fits })
}

/// Files as seen from `folder`.
pub(super) fn relative_to(files: &[PathBuf], folder: &Path) -> Vec<String> {
    files.iter().map(|file| relative_file(file, folder)).collect()
}

/// Files as one names them here: a session's are named from its folder, so the way to them may go there and back.
pub(super) fn from_here(files: &[PathBuf]) -> Vec<String> {
    let goes_back = |file: &&PathBuf| file.components().any(|part| part == Component::ParentDir);
    let name = |file: &PathBuf| match Some(file).filter(goes_back) {
        Some(file) => relative_file(file, Path::new(".")),
        None => file.display().to_string(),
    };
    files.iter().map(name).collect()
}

/// Random starts and noise belong to a picture's place in the source, whatever batch it is in.
pub(super) fn origins_of(batch: &Batch, labels: Vec<usize>) -> Arc<Origins> {
    let seeds = (batch.first as u64..).take(batch.images.len()).collect();
    Arc::new(Origins { seeds, ..Origins::opened(batch.images.clone(), labels, batch.names.clone()) })
}

/// The stored pictures with the listed classes in turn, each by its own seed.
pub(super) fn relabelled(origins: &Arc<Origins>, settings: &GenerateSettings, classes: usize) -> Arc<Origins> {
    let label = |seed: &u64| {
        let one = GenerateSettings { first_seed: *seed, samples: 1, ..settings.clone() };
        one.labels(classes).first().copied().unwrap_or(0)
    };
    let labels = origins.seeds.iter().map(label).collect();
    // They are the classifier's numbers.
    Arc::new(Origins { labels, classes: None, ..Origins::clone(origins) })
}

/// Classes that are listed for `n` opened pictures, the first of which has the place `first`; `None` when none are listed.
pub(super) fn listed_labels(settings: &GenerateSettings, first: usize, n: usize, classes: usize) -> Option<Vec<usize>> {
    let turn = GenerateSettings { first_seed: first as u64, samples: n as u32, ..settings.clone() };
    (settings.classes != Classes::All).then(|| turn.labels(classes))
}

/// Evaluates the origins themselves, as the settings say but without early stop; `None` when interrupted before.
pub(super) fn judge(
    driver: &mut Driver,
    settings: &Settings,
    origins: &Arc<Origins>,
) -> anyhow::Result<Option<Arc<State>>> {
    let refine = RefineSettings { early_stop: false, ..settings.refine.clone() }.at_origin();
    let mut judged = None;
    driver.refine((VERDICT, refine), origins, None, 0, settings, &mut |state| judged = Some(state))?;
    Ok(judged)
}

/// A batch with these labels, else with the class that the classifier sees in each picture; `None` when interrupted before.
pub(super) fn labelled(
    driver: &mut Driver,
    settings: &Settings,
    batch: &Batch,
    labels: Option<Vec<usize>>,
) -> anyhow::Result<Option<Arc<Origins>>> {
    if let Some(labels) = labels {
        return Ok(Some(origins_of(batch, labels)));
    }
    let origins = origins_of(batch, vec![0; batch.images.len()]);
    // Whatever the target, the logits are the same, and pseudo-labels would cost another pass.
    let mut settings = settings.clone();
    settings.refine.target = Target::Label;
    let state = judge(driver, &settings, &origins)?;
    Ok(state.map(|state| origins_of(batch, state.numbers.verdict(&origins.labels))))
}

/// Real pictures that early stopping compares with, at most as many as are held at once; files are fitted to `shape`,
/// `[C, H, W]`. None when interrupted.
pub(super) fn references(
    paths: &[PathBuf],
    shape: [usize; 3],
    driver: &mut Driver,
) -> anyhow::Result<Option<ImageBatch>> {
    if paths.is_empty() {
        return Ok(None);
    }
    // Each has a partner, so none may be left out.
    let mut opened = Opened::new(paths, Part::default())?.strictly(true);
    if opened.count() > MAX_TOGETHER {
        driver.note(&[format!("warning: of {} real pictures the first {MAX_TOGETHER} are used", opened.count())]);
        opened.range.end = MAX_TOGETHER;
    }
    let Some(batch) = opened.read(shape, &mut |done, of| driver.is_reading(done, of))? else { return Ok(None) };
    driver.note(&changed(&batch.fits));
    Ok(Some(batch.images))
}

/// Pictures that a session file holds, and the real ones that it compares with.
pub(super) fn stored_pictures(path: &Path) -> anyhow::Result<(Arc<Origins>, Stored)> {
    let mut stored = disk::stored_pictures(path)?;
    let origins = stored.origins.take();
    let origins = origins
        .with_context(|| format!("the session holds no pictures: give some with --input\n{}", path.display()))?;
    Ok((origins, stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_classes_are_taken_in_turn_and_all_means_none_are_listed() {
        let only = GenerateSettings { classes: Classes::Only(vec![6, 2]), first_seed: 9, ..Default::default() };
        assert_eq!(listed_labels(&only, 0, 3, 12), Some(vec![6, 2, 6]));
        assert_eq!(listed_labels(&only, 3, 3, 12), Some(vec![2, 6, 2]), "a later batch goes on");
        assert_eq!(listed_labels(&GenerateSettings::default(), 0, 3, 12), None);
    }

    #[test]
    fn a_part_of_the_files_is_what_is_read_and_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            ::image::RgbImage::new(2, 2).save(folder.path().join(name)).unwrap();
        }
        let opened = Opened::new(&[folder.path().to_owned()], Part { skip: 1, limit: Some(1) }).unwrap();
        assert_eq!((opened.count(), opened.streams()), (1, false));
        assert_eq!(opened.read([3, 2, 2], &mut |_, _| true).unwrap().unwrap().names, ["b.png"]);
        assert!(opened.read([3, 2, 2], &mut |_, _| false).unwrap().is_none(), "whoever is asked to end does");
        assert_eq!(opened.inputs(folder.path()), ["a.png", "b.png"], "with the part they say the same again");
        let detour = |name: &str| folder.path().join("x/..").join(name);
        std::fs::create_dir(folder.path().join("x")).unwrap();
        let direct = from_here(&[detour("a.png")]).concat();
        assert!(direct.ends_with("a.png") && !direct.contains("x/.."), "{direct}");
        assert_eq!(from_here(&["/in/a.png".into(), "b.png".into()]), ["/in/a.png", "b.png"], "as it was given");
        let hashes = opened.hashes(&mut |_, _| ());
        assert!(hashes.len() == 2 && hashes[0].is_empty() && hashes[1].len() == 64, "{hashes:?}");
        assert_eq!(opened.sizes(), [[2, 2]]);
        assert!(Opened::new(&[folder.path().to_owned()], Part { skip: 3, limit: None }).is_err());
        let missing = Opened::new(&[folder.path().join("d.png")], Part::default()).unwrap_err();
        assert!(missing.to_string().starts_with("no file is there"), "{missing}");
    }

    #[test]
    fn seeds_follow_the_place_in_the_source() {
        let images = ImageBatch::new([2, 1, 1, 1], vec![0.0, 1.0]);
        let names = vec!["a".to_owned(), "b".to_owned()];
        let batch = Batch { first: 128, images, names, labels: None, fits: Vec::new() };
        let origins = origins_of(&batch, vec![3, 4]);
        assert_eq!(origins.seeds, [128, 129]);
        assert!(origins.is_consistent() && origins.names == batch.names);
        let only = GenerateSettings { classes: Classes::Only(vec![6, 2]), ..Default::default() };
        assert_eq!(relabelled(&origins, &only, 12).labels, [6, 2]);
    }

    #[test]
    fn only_what_was_changed_is_told() {
        let fits = ["a.png: 2×2, pixels unchanged", "b.png: cropped 4×2 to its centre 2×2, pixels unchanged"];
        let fits = [fits[0], fits[1], "c.png: 4×4, reduced to 2×2 (Lanczos)"].map(str::to_owned);
        assert_eq!(changed(&fits), fits[1..]);
    }
}
