//! What is finished of something long: one archive per batch, put together at the end.
//!
//! Every batch is on the disk when the next one begins, in a named file that NumPy opens: whatever ends the program, what it
//! had finished is there, and `--resume` goes on behind it. The results do not depend on how often that happened.

mod seen;

use std::path::{Path, PathBuf};

pub use self::seen::SeenBatch;
use super::csv::{self, RefinedRow};
use super::folder::{PARTS, ShareFolder, is_numbered};
use super::{ExportError, LONG_GENERATED, LONG_REFINED, npz, png, write_document};
pub(super) use crate::data::UNDER_WAY;
use crate::file::free_path;
use crate::generator::{EditSettings, GenerateSettings, Mask};
use crate::image::sheet::contact_sheet;
use crate::image::{ImageBatch, Levels};
use crate::origins::{Edited, Origins};
use crate::refiner::Numbers;
use crate::session::document::Document;

/// Pairs, or pictures, on the contact sheet of more than are held at once.
pub const SHEET_OF_MANY: usize = 64;
/// A refined batch.
#[derive(Debug, Clone, Copy)]
pub struct RefinedBatch<'a> {
    /// Place of its first picture in the source, and that of the first one behind it.
    pub places: (usize, usize),
    /// The pictures before, their seeds and names.
    pub origins: &'a Origins,
    /// The pictures after.
    pub after: &'a ImageBatch,
    /// Labels, if the source says them.
    pub labels: Option<&'a [usize]>,
    /// What each picture was refined towards.
    pub targets: &'a [usize],
    /// What is known of the pictures before.
    pub numbers_before: &'a Numbers,
    /// What is known of the pictures after.
    pub numbers_after: &'a Numbers,
    /// Iterations behind each picture after.
    pub iterations: &'a [u32],
    /// Class names.
    pub classes: &'a [String],
    /// How 8-bit levels are made.
    pub levels: Levels,
    /// Sums for the summary of all batches.
    pub sums: &'a [f64],
}

/// A batch that is being refined, as it is now.
#[derive(Debug, Clone, Copy)]
pub struct UnderWay<'a> {
    /// The pictures before.
    pub origins: &'a Origins,
    /// The pictures now.
    pub now: &'a ImageBatch,
    /// What is known of them.
    pub numbers: &'a Numbers,
    /// Iterations behind them.
    pub iteration: u32,
}

/// A finished batch.
#[derive(Debug, Clone)]
pub(super) struct Part {
    path: PathBuf,
    /// The place of its first picture.
    first: usize,
    /// The place behind its last picture.
    end: usize,
    count: usize,
}

impl Part {
    /// The place behind its last picture.
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    /// Number of its pictures.
    pub(super) const fn count(&self) -> usize {
        self.count
    }
}

/// Where the batch lies that begins with this place.
fn path_of(folder: &Path, first: usize) -> PathBuf {
    folder.join(format!("{first:08}.npz"))
}

/// The batches in a folder of results that are as they were written for `key`, from the place `start` on and without a hole, and
/// what has the name of one and is none. Nothing is changed.
pub(super) fn batches_in(results: &Path, key: &str, start: usize) -> std::io::Result<(Vec<Part>, Vec<PathBuf>)> {
    let folder = results.join(PARTS);
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(&folder)?.collect();
    let mut paths: Vec<PathBuf> = entries?.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    let (mut list, mut strangers): (Vec<Part>, _) = (Vec::new(), Vec::new());
    for path in paths.into_iter().filter(|path| is_numbered(path)) {
        let places = npz::check(&path, key).and_then(|()| npz::read::<i64>(&path, "places"));
        let places = places.ok().flatten().unwrap_or_default().1;
        let [first, end, count] = [0, 1, 2].map(|i| places.get(i).map_or(0, |place| *place as usize));
        if places.is_empty() || path != path_of(&folder, first) {
            strangers.push(path);
        } else if first == list.last().map_or(start, Part::end) {
            list.push(Part { path, first, end, count });
        }
    }
    Ok((list, strangers))
}

/// Pictures in the finished batches of results, as [`Parts::open`] finds them; nothing is changed.
#[must_use]
pub fn finished(results: &Path, key: &str, start: usize) -> usize {
    batches_in(results, key, start).map_or(0, |(list, _)| list.iter().map(Part::count).sum())
}

/// Finished batches, in order.
#[derive(Debug)]
pub struct Parts {
    folder: PathBuf,
    /// Stands for what they are parts of.
    key: String,
    list: Vec<Part>,
    /// What has the name of one and was none.
    strangers: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Parts {
    /// Those that are in a folder of results as they were written there for the same `key`, from the place `start` on and without
    /// a hole. What has the name of one and is none gets another name.
    ///
    /// # Errors
    /// [`ExportError::Folder`] when the folder cannot be made or read.
    pub fn open(results: &Path, key: &str, start: usize) -> Result<Self, ExportError> {
        let folder = results.join(PARTS);
        let fail = |source| ExportError::Folder { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let (list, strangers) = batches_in(results, key, start).map_err(fail)?;
        // Somebody wrote into them, or they were somewhere else.
        let set_aside = |path: &PathBuf| {
            let kept = free_path(path);
            let became = match std::fs::rename(path, &kept) {
                Ok(()) => format!("it is kept as {}, and ", kept.file_name().unwrap_or_default().display()),
                Err(_) => String::new(),
            };
            format!("warning: {} is not what was written there, so {became}it is made anew", path.display())
        };
        let warnings = strangers.iter().map(set_aside).collect();
        Ok(Self { folder, key: key.to_owned(), list, strangers, warnings })
    }

    /// Those of all shares of something long, which stay where they are; `results` is the folder that they are put together in.
    /// The shares are in the order of their places.
    #[must_use]
    pub fn of_shares(results: &Path, shares: &[ShareFolder]) -> Self {
        let key = shares.first().map_or_else(String::new, |share| share.recipe().to_owned());
        let list = shares.iter().flat_map(|share| share.batches.iter().cloned()).collect();
        Self { folder: results.to_owned(), key, list, strangers: Vec::new(), warnings: Vec::new() }
    }

    /// What is to be said of those that are not taken.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A warning where batches were finished up to the place `reached`, and one of them is not there any more; of one that was
    /// changed, [`Self::warnings`] tell.
    #[must_use]
    pub fn lost(&self, start: usize, reached: usize) -> Option<String> {
        let path = path_of(&self.folder, self.next(start));
        (self.next(start) < reached && !self.strangers.contains(&path)).then(|| {
            format!(
                "warning: {} was finished before, but is not there any more, so it is made anew with all that came behind it; to keep them, stop now and put it back",
                path.display()
            )
        })
    }

    /// The place to go on at.
    #[must_use]
    pub fn next(&self, start: usize) -> usize {
        self.list.last().map_or(start, |part| part.end)
    }

    /// Pictures so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.iter().map(|part| part.count).sum()
    }

    /// Forgets all of them.
    ///
    /// # Errors
    /// [`ExportError::Folder`]
    pub fn clear(&mut self) -> Result<(), ExportError> {
        for Part { path, .. } in self.list.drain(..) {
            std::fs::remove_file(&path).map_err(|source| ExportError::Folder { path, source })?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        (first, end): (usize, usize),
        count: usize,
        fill: impl FnOnce(&mut zip::ZipWriter<npz::Once<&mut super::Out<'_>>>) -> std::io::Result<()>,
    ) -> Result<(), ExportError> {
        self.check_place()?;
        let path = path_of(&self.folder, first);
        npz::sealed(&path, &self.key, |archive| {
            fill(archive)?;
            let places = [first, end, count];
            npz::array(archive, "places", &[places.len()], places.iter().map(|place| *place as i64))
        })?;
        self.list.push(Part { path, first, end, count });
        Ok(())
    }

    /// Their folder must be where it was.
    fn check_place(&self) -> Result<(), ExportError> {
        if self.folder.is_dir() {
            return Ok(());
        }
        let results = self.folder.parent().filter(|results| !results.is_dir());
        Err(ExportError::Moved { path: results.unwrap_or(&self.folder).to_owned() })
    }

    /// Adds pictures that were made, with the place of the first one, and that of the first one behind them.
    ///
    /// # Errors
    /// [`ExportError::Write`]
    pub fn add_made(&mut self, places: (usize, usize), origins: &Origins) -> Result<(), ExportError> {
        self.add(places, origins.images.len(), |archive| {
            npz::generated(archive, origins)?;
            [("names", serde_json::to_vec(&origins.names)?), ("classes", serde_json::to_vec(&origins.classes)?)]
                .iter()
                .try_for_each(|(name, bytes)| npz::array(archive, name, &[bytes.len()], bytes.iter().copied()))
        })
    }

    /// Adds a refined batch, and forgets what was kept of it before.
    ///
    /// # Errors
    /// [`ExportError::Write`]
    pub fn add_refined(&mut self, batch: &RefinedBatch<'_>) -> Result<(), ExportError> {
        let RefinedBatch { places, origins, after, targets, .. } = *batch;
        let n = after.len();
        let shown = SHEET_OF_MANY.saturating_sub(self.count()).min(n);
        self.add(places, n, |archive| {
            npz::guided_diffusion(archive, after, batch.levels, Some((targets, batch.classes)))?;
            if shown > 0 {
                npz::pictures(archive, "before", &origins.images.slice(0, shown))?;
                npz::pictures(archive, "after", &after.slice(0, shown))?;
            }
            for (name, numbers) in [("logits_before", batch.numbers_before), ("logits_after", batch.numbers_after)] {
                npz::array(archive, name, &[n, numbers.logits.len() / n.max(1)], numbers.logits.iter().copied())?;
            }
            npz::array(archive, "seeds", &[n], origins.seeds.iter().copied())?;
            npz::array(archive, "sums", &[batch.sums.len()], batch.sums.iter().copied())?;
            let rows = csv::rows((0..n).map(|sample| RefinedRow {
                // Places of opened pictures may have holes, where one could not be read; their seeds are their places.
                index: if origins.made_by.is_some() { places.0 + sample } else { origins.seeds[sample] as usize },
                seed: origins.seeds[sample],
                label: batch.labels.map(|labels| labels[sample]),
                target: targets[sample],
                sample,
                before: batch.numbers_before,
                after: batch.numbers_after,
                iterations: batch.iterations[sample],
                name: origins.names.get(sample).map_or("", String::as_str),
                classes: batch.classes,
                label_classes: csv::label_names(origins, batch.classes),
            }))?;
            npz::array(archive, "table", &[rows.len()], rows.iter().copied())
        })?;
        self.forget_under_way(u32::MAX)
    }

    /// Keeps what is known of a batch that takes long: pictures before and now, logits, seeds, labels and the number of
    /// iterations. It is there to be looked at; going on begins the batch anew, and until it has come farther than before, what
    /// was kept before stays.
    ///
    /// # Errors
    /// [`ExportError::Write`]
    pub fn keep_under_way(&self, state: &UnderWay<'_>) -> Result<(), ExportError> {
        if self.kept_iterations() > i64::from(state.iteration) && self.kept_seeds() == state.origins.seeds {
            return Ok(());
        }
        self.check_place()?;
        let (n, Numbers { logits, objective, .. }) = (state.now.len(), state.numbers);
        npz::archive(&self.folder.join(UNDER_WAY), |archive| {
            let classes = state.origins.classes.as_deref().unwrap_or_default();
            npz::guided_diffusion(archive, state.now, Levels::Rounded, Some((&state.origins.labels, classes)))?;
            npz::pictures(archive, "before", &state.origins.images)?;
            npz::pictures(archive, "after", state.now)?;
            npz::array(archive, "logits_after", &[n, logits.len() / n.max(1)], logits.iter().copied())?;
            npz::array(archive, "objective", &[n], objective.iter().copied())?;
            npz::array(archive, "seeds", &[n], state.origins.seeds.iter().copied())?;
            npz::array(archive, "iteration", &[1], [i64::from(state.iteration)].into_iter())
        })
    }

    /// Whether a batch that is stopped after so many iterations is to be kept. Half a batch does not stand in the way of an
    /// earlier result, which comes back where its work `replaces` one and nothing is finished, unless it took so long that it
    /// was kept before.
    #[must_use]
    pub fn keeps_half(&self, iterations: u32, replaces: bool) -> bool {
        iterations > 0 && (!replaces || self.count() > 0 || self.under_way().is_some())
    }

    /// The file that [`Self::keep_under_way`] wrote, and its iterations, if there are any.
    #[must_use]
    pub fn under_way(&self) -> Option<(PathBuf, u64)> {
        let kept = u64::try_from(self.kept_iterations()).unwrap_or(0);
        (kept > 0).then(|| (self.folder.join(UNDER_WAY), kept))
    }

    /// Iterations of what is kept; none of what cannot be read.
    fn kept_iterations(&self) -> i64 {
        let kept = npz::read::<i64>(&self.folder.join(UNDER_WAY), "iteration");
        kept.ok().flatten().and_then(|(_, kept)| kept.first().copied()).unwrap_or(0)
    }

    fn kept_seeds(&self) -> Vec<u64> {
        npz::read(&self.folder.join(UNDER_WAY), "seeds").ok().flatten().unwrap_or_default().1
    }

    /// Forgets what [`Self::keep_under_way`] kept, unless it has more iterations than these.
    ///
    /// # Errors
    /// [`ExportError::Folder`]
    pub fn forget_under_way(&self, iterations: u32) -> Result<(), ExportError> {
        if self.kept_iterations() > i64::from(iterations) {
            return Ok(());
        }
        let path = self.folder.join(UNDER_WAY);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(ExportError::Folder { path, source }),
            _ => Ok(()),
        }
    }

    /// The sums of every refined batch.
    ///
    /// # Errors
    /// [`ExportError::LostPart`], [`ExportError::Read`]
    pub fn sums(&self) -> Result<Vec<Vec<f64>>, ExportError> {
        let sums = self
            .list
            .iter()
            .map(|part| Ok(read::<f64>(&part.path, "sums")?.map_or_else(Vec::new, |(_, sums)| sums)))
            .collect();
        self.told_of_lost(sums)
    }

    /// What failed because one of the parts is not as it was written is told of that part, which going on makes anew.
    fn told_of_lost<T>(&self, result: Result<T, ExportError>) -> Result<T, ExportError> {
        result.map_err(|error| {
            if let Err(moved) = self.check_place() {
                return moved;
            }
            let is_lost = |part: &&Part| npz::check(&part.path, &self.key).is_err();
            self.list.iter().find(is_lost).map_or(error, |part| ExportError::LostPart { path: part.path.clone() })
        })
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.list.iter().map(|part| part.path.clone()).collect()
    }

    /// The first pictures that were made, at most `n`; `edit` says how they were edited, if they were.
    ///
    /// # Errors
    /// [`ExportError::LostPart`]; [`ExportError::Read`], also when there are none.
    pub fn made(
        &self,
        n: usize,
        made_by: &GenerateSettings,
        edit: Option<&EditSettings>,
    ) -> Result<Origins, ExportError> {
        self.told_of_lost(self.read_made(n, made_by, edit))
    }

    fn read_made(
        &self,
        n: usize,
        made_by: &GenerateSettings,
        edit: Option<&EditSettings>,
    ) -> Result<Origins, ExportError> {
        let (mut labels, mut seeds, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let (mut images, mut references, mut mask, mut classes) = (Vec::new(), Vec::new(), None, None);
        for Part { path, .. } in &self.list {
            if labels.len() >= n {
                break;
            }
            images.extend(pictures(path, "images")?);
            references.extend(pictures(path, "reference")?);
            let list = |found: Option<npz::Array<i64>>| found.map_or_else(Vec::new, |(_, values)| values);
            labels.extend(list(read(path, "arr_1")?).into_iter().map(|label| label as usize));
            seeds.extend(read::<u64>(path, "seeds")?.map_or_else(Vec::new, |(_, seeds)| seeds));
            // Pictures without classes have no labels there.
            labels.resize(seeds.len(), 0);
            let bytes = |name| Ok::<_, ExportError>(read::<u8>(path, name)?.map_or_else(Vec::new, |(_, bytes)| bytes));
            names.extend(serde_json::from_slice::<Vec<String>>(&bytes("names")?).unwrap_or_default());
            classes = serde_json::from_slice(&bytes("classes")?).unwrap_or(classes);
            if let Some((shape, missing)) = read::<u8>(path, "mask")?.filter(|_| mask.is_none()) {
                let missing = missing.into_iter().map(|missing| missing == 1).collect();
                mask = Mask::new(shape[1] as u32, shape[0] as u32, missing).ok();
            }
        }
        if images.is_empty() {
            let source = std::io::Error::other("there is nothing");
            return Err(ExportError::Read { path: self.folder.clone(), source });
        }
        let n = n.min(labels.len());
        let first = |images: &[ImageBatch]| ImageBatch::concat(images).slice(0, n);
        labels.truncate(n);
        seeds.truncate(n);
        names.truncate(n);
        let edited = edit.filter(|_| !references.is_empty()).map(|settings| Edited {
            settings: settings.clone(),
            reference: first(&references),
            mask,
            // What was edited is given again when it is edited again.
            is_of_one: None,
        });
        Ok(Origins { images: first(&images), labels, seeds, names, classes, made_by: Some(made_by.clone()), edited })
    }

    /// Puts together what many pictures that were made come to: [`LONG_GENERATED`]. `shown` are the first of them.
    ///
    /// # Errors
    /// [`ExportError`] of the first file that fails, or of the part that it fails for; those before it stay.
    pub fn write_made(&self, folder: &Path, document: &Document, shown: &Origins) -> Result<(), ExportError> {
        let [samples, description, sheet] = LONG_GENERATED;
        self.told_of_lost(npz::join(&folder.join(samples), &self.paths(), &npz::OF_GENERATED))?;
        write_document(&folder.join(description), document)?;
        png::write(&png::sheet_of(shown, None), &folder.join(sheet))
    }

    /// Puts together what a long refinement comes to: [`LONG_REFINED`].
    ///
    /// # Errors
    /// [`ExportError`] of the first file that fails, or of the part that it fails for; those before it stay.
    pub fn write_refined(&self, folder: &Path, document: &Document) -> Result<(), ExportError> {
        self.told_of_lost(self.join_refined(folder, document))
    }

    fn join_refined(&self, folder: &Path, document: &Document) -> Result<(), ExportError> {
        let [samples, table, description, sheet] = LONG_REFINED;
        npz::join(&folder.join(samples), &self.paths(), &npz::OF_REFINED)?;
        let rows = self.list.iter().map(|part| {
            let (_, rows) = npz::read::<u8>(&part.path, "table")?.unwrap_or_default();
            Ok(rows)
        });
        csv::write_refined(&folder.join(table), rows)?;
        write_document(&folder.join(description), document)?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for Part { path, .. } in &self.list {
            let (Some(first), Some(second)) = (pictures(path, "before")?, pictures(path, "after")?) else { break };
            before.push(first);
            after.push(second);
        }
        if before.is_empty() {
            return Ok(());
        }
        // The first of every share were kept.
        let first = |images: &[ImageBatch]| {
            let images = ImageBatch::concat(images);
            if images.len() > SHEET_OF_MANY { images.slice(0, SHEET_OF_MANY) } else { images }
        };
        let pairs = contact_sheet(&first(&before), Some(&first(&after)));
        png::write(&pairs, &folder.join(sheet))
    }
}

fn read<T: npyz::Deserialize>(path: &Path, name: &str) -> Result<Option<npz::Array<T>>, ExportError> {
    npz::read(path, name).map_err(|source| ExportError::Read { path: path.to_owned(), source })
}

/// `[N, C, H, W]` of a part.
fn pictures(path: &Path, name: &str) -> Result<Option<ImageBatch>, ExportError> {
    let Some((shape, pixels)) = read::<f32>(path, name)? else { return Ok(None) };
    let shape = <[usize; 4]>::try_from(shape).map_err(|_| ExportError::Read {
        path: path.to_owned(),
        source: std::io::Error::other("these are no pictures"),
    })?;
    Ok(Some(ImageBatch::new(shape, pixels)))
}

#[cfg(test)]
mod tests;
