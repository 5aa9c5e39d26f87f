//! Pictures that are opened instead of generated: which they are, of which class, and those that a session file holds.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use crossbeam_channel::bounded;

use super::Part;
use super::driver::{Driver, failure, wake_by};
use crate::classifier::top_classes;
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, GenerateSettings};
use crate::image::ImageBatch;
use crate::refiner::{RefineSettings, State, Target};
use crate::session::document::relative;
use crate::session::pictures::{Batch, PictureSource};
use crate::session::storage::{Job, Storage, StorageEvent};
use crate::session::{Settings, StorageError};
use crate::trace::RunId;
use crate::worker::Origins;

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
}

impl Opened {
    pub(super) fn new(paths: &[PathBuf], part: Part) -> anyhow::Result<Self> {
        let source = PictureSource::open(paths)?;
        let range = part.of(source.count())?;
        Ok(Self { source, range })
    }

    /// Number of pictures.
    pub(super) const fn count(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Whether they go through the network batch by batch: archives do, and more than are held at once.
    pub(super) const fn streams(&self) -> bool {
        self.source.native_side().is_some() || self.count() > MAX_TOGETHER
    }

    /// All of them, files fitted to `size x size`.
    pub(super) fn read(&self, size: usize) -> anyhow::Result<Batch> {
        SAMPLES.check(self.count() as f64).context("too many pictures are given")?;
        let mut all = None;
        self.source.for_each_batch(self.range.clone(), (size, self.count()), &mut |batch| {
            all = Some(batch);
            Ok::<_, StorageError>(false)
        })?;
        all.ok_or_else(|| anyhow!("no pictures are given: give some with --input"))
    }

    /// Their files, or that of the archive, as seen from `folder`.
    pub(super) fn inputs(&self, folder: &Path) -> Vec<String> {
        self.files().iter().map(|file| relative(&file.to_string_lossy(), folder)).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = self.source.files();
        match self.source.native_side() {
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
        let native = self.source.native_side().map_or_else(String::new, |side| {
            format!(" at their own {side}×{side}, {} to {}", self.range.start, self.range.end - 1)
        });
        format!("{:<11}{} ({}){native}", "pictures", self.count(), names.join(", "))
    }
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

/// The class that the classifier sees in each picture; `None` when interrupted before.
pub(super) fn verdict(
    driver: &mut Driver,
    settings: &Settings,
    origins: &Arc<Origins>,
) -> anyhow::Result<Option<Vec<usize>>> {
    // Whatever the target, the logits are the same, and pseudo-labels would cost another pass.
    let mut settings = settings.clone();
    settings.refine.target = Target::Label;
    let Some(state) = judge(driver, &settings, origins)? else { return Ok(None) };
    let top = |sample| top_classes(state.numbers.logits_of(sample), 1).first().copied().unwrap_or(0);
    Ok(Some((0..origins.images.len()).map(top).collect()))
}

/// Real pictures that early stopping compares with, at most as many as are held at once; files are fitted to `size x size`.
pub(super) fn references(paths: &[PathBuf], size: usize, driver: &Driver) -> anyhow::Result<Option<ImageBatch>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut opened = Opened::new(paths, Part::default())?;
    if opened.count() > MAX_TOGETHER {
        driver.note(&[format!("note: of {} real pictures the first {MAX_TOGETHER} are used", opened.count())]);
        opened.range.end = MAX_TOGETHER;
    }
    Ok(Some(opened.read(size)?.images))
}

/// Pictures that a session file holds, and the real ones that it compares with.
pub(super) fn stored_pictures(path: &Path) -> anyhow::Result<(Arc<Origins>, Option<ImageBatch>)> {
    let folder = tempfile::tempdir().context("no temporary folder can be made: free some space")?;
    let (waker, wakes) = bounded(1);
    let storage = Storage::spawn(folder.path(), wake_by(waker)).context("the disk thread cannot be started")?;
    let job = Job::Open { path: path.to_owned(), epoch: 0 };
    storage.send(job).map_err(|_back| anyhow!("the disk thread takes no work: start the program again"))?;
    let opened = loop {
        match storage.try_event() {
            Some(StorageEvent::Opened(restored)) => break Ok((restored.origins, restored.references)),
            Some(StorageEvent::Failed(chain)) => break Err(failure(&chain)),
            Some(_) => {}
            None if wakes.recv().is_err() => {
                break Err(anyhow!("the disk thread broke down while reading the session"));
            }
            None => {}
        }
    };
    storage.finish(Vec::new(), false);
    let (origins, references) = opened?;
    let origins = origins
        .with_context(|| format!("the session holds no pictures: give some with --input\n{}", path.display()))?;
    Ok((origins, references))
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
        assert_eq!(opened.read(2).unwrap().names, ["b.png"]);
        assert_eq!(opened.inputs(folder.path()), ["b.png"]);
        assert!(Opened::new(&[folder.path().to_owned()], Part { skip: 3, limit: None }).is_err());
    }
}
