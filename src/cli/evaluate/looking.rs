//! The extractor looks at sets of pictures, or what it saw of them before is taken.

use anyhow::Context as _;

use super::EvaluateOptions;
use super::extractor::Extractor;
use super::reference::Reference;
use super::sets::{Kind, Pictures};
use crate::cli::driver::Driver;
use crate::cli::opened;
use crate::data::{Batch, Digest};
use crate::image::ImageBatch;
use crate::metrics::Features;
use crate::units::counted;
use crate::zoo::Manifest;

/// Pictures that are looked at together.
pub(super) const BATCH: usize = 256;

/// What the extractor saw in a set.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    pub(super) features: Features,
    pub(super) labels: Option<Vec<usize>>,
    /// What each picture is called.
    pub(super) names: Vec<String>,
    /// Which picture each is.
    pub(super) hashes: Vec<Digest>,
    /// Pictures that were cropped or resized.
    pub(super) fitted: usize,
    /// Their size, `[C, H, W]`; that of the first ones, where they have several.
    pub(super) shape: [usize; 3],
}

/// Has the extractor look at sets.
pub(super) struct Looker<'a> {
    pub(super) options: &'a EvaluateOptions,
    pub(super) extractor: &'a Extractor,
    pub(super) reference: &'a Reference,
    pub(super) driver: &'a mut Driver,
    /// Pictures of all sets that were looked at, and that there are.
    pub(super) done: usize,
    pub(super) of: usize,
}

/// What was seen of a set so far.
#[derive(Default)]
struct Seen {
    features: Option<Features>,
    labels: Vec<usize>,
    names: Vec<String>,
    hashes: Vec<Digest>,
    /// How pictures were changed to fit, one line each.
    fits: Vec<String>,
}

impl Looker<'_> {
    /// What is seen in sets; `None` when interrupted.
    pub(super) fn look_at_all(&mut self, sets: &[Pictures], shape: [usize; 3]) -> anyhow::Result<Option<Vec<Looked>>> {
        let mut all = Vec::new();
        for set in sets {
            let Some(looked) = self.look(set, shape)? else { return Ok(None) };
            all.push(looked);
        }
        Ok(Some(all))
    }

    /// Likewise, in one.
    fn look(&mut self, set: &Pictures, shape: [usize; 3]) -> anyhow::Result<Option<Looked>> {
        self.driver.note(&set.notes);
        let manifest = &self.extractor.manifest;
        if let Kind::Seen(seen) = &set.kind {
            let places = set.places();
            let names = places.iter().filter_map(|place| seen.names.get(*place).cloned()).collect();
            let labels = seen.labels.as_ref().map(|labels| places.iter().map(|place| labels[*place]).collect());
            let hashes = places.iter().map(|place| seen.hashes[*place]).collect();
            let (features, shape) = (seen.features.at(&places), seen.sight.shape);
            self.reference.check_width(features.width(), &manifest.name)?;
            return Ok(Some(Looked { features, labels, names, hashes, fitted: 0, shape }));
        }
        let (runs, mut seen, mut notes) = (self.extractor.runs(set, shape), Seen::default(), Vec::new());
        let own = runs.first().map_or(shape, |run| run.1);
        self.driver.note(sizes(&set.name, &runs.iter().map(|run| run.1).collect::<Vec<_>>(), shape).as_slice());
        for (range, shape) in runs {
            notes.extend(set.for_each_batch_of(range, (shape, BATCH), &mut |batch| self.take(batch, &mut seen))?);
            if self.driver.interrupted {
                break;
            }
        }
        self.driver.note(&notes);
        if self.driver.interrupted {
            return Ok(None);
        }
        let Seen { features, labels, names, hashes, fits } = seen;
        let features = features.with_context(|| format!("{} hold no picture", set.name))?;
        if let Some(first) = fits.first() {
            self.driver.say(&format!(
                "warning: of {}, {} changed to fit {}×{}, the first like this: {first}; numbers compare only with those of pictures that were changed in the same way",
                set.name,
                if fits.len() == 1 { "1 picture was".to_owned() } else { format!("{} were", counted(fits.len(), "picture")) },
                own[2],
                own[1]
            ));
        }
        let labels = (!manifest.classes.is_empty() && labels.len() == features.len()).then_some(labels);
        Ok(Some(Looked { features, labels, names, hashes, fitted: fits.len(), shape: own }))
    }

    /// Looks at pictures; whether to go on.
    fn take(&mut self, batch: Batch, seen: &mut Seen) -> anyhow::Result<bool> {
        seen.fits.extend(opened::changed(&batch.fits));
        seen.labels.extend(batch.labels.iter().flatten().copied());
        let images = levels(&batch.images);
        seen.hashes.extend(digests(&images));
        seen.names.extend(batch.names);
        let n = images.len();
        self.driver.count_pictures("looking", (self.done, self.of), BATCH);
        let model = (self.options.extractor.as_str(), self.extractor.dialect);
        let Some([values, logits, spatial]) = self.driver.measure(model, images, &self.options.compute)? else {
            return Ok(false);
        };
        self.done += n;
        let [width, outputs, places] = [&values, &logits, &spatial].map(|seen| seen.len() / n);
        self.reference.check_width(width, &self.extractor.manifest.name)?;
        let features = seen.features.get_or_insert_with(|| Features::new(width, outputs));
        features.extend(&values, &logits);
        if places > 0 {
            features.extend_spatial(&spatial, places);
        }
        Ok(true)
    }
}

/// What is to be said of pictures of other sizes than that of the table.
fn sizes(name: &str, found: &[[usize; 3]], [_, height, width]: [usize; 3]) -> Option<String> {
    let size = |[_, height, width]: [usize; 3]| [height, width];
    let first = size(*found.first()?);
    let are_one = found.iter().all(|own| size(*own) == first);
    if are_one && first == [height, width] {
        return None;
    }
    let [own_height, own_width] = first;
    let what = if are_one { "a size of their own," } else { "several sizes, the first" };
    Some(format!("note: {name} have {what} {own_width}×{own_height}, and each comes to the extractor at its own"))
}

/// The labels of a set that mean something to the extractor, and what is to be said of them.
pub(super) fn labels_of(set: &Pictures, looked: &Looked, extractor: &Manifest) -> (Option<Vec<usize>>, Option<String>) {
    let (name, classes) = (&set.name, extractor.classes.len());
    // The outputs of Inception-2015 are nobody's classes.
    if classes == 0 {
        return (None, None);
    }
    let Some(labels) = &looked.labels else {
        let note = "does not say the class of every picture, so agreement and confidence cannot be had";
        return (None, Some(format!("note: {name} {note}")));
    };
    if let Some(label) = labels.iter().find(|label| **label >= classes) {
        let note = format!(
            "note: {name} have pictures of class {label}, but the extractor knows those from 0 to {}: their labels are left aside",
            classes.saturating_sub(1)
        );
        return (None, Some(note));
    }
    let first = extractor.classes.iter().take(2).enumerate();
    let first: Vec<String> = first.map(|(number, name)| format!("{number} {name}")).collect();
    let note = format!(
        "note: the classes of {name} are numbers, taken as those of {}: {}, and so on",
        extractor.name,
        first.join(", ")
    );
    (Some(labels.clone()), set.has_numbers.then_some(note))
}

/// Pictures as an 8-bit file shows them, which is what all sets have in common.
fn levels(images: &ImageBatch) -> ImageBatch {
    ImageBatch::new(images.shape(), images.pixels().iter().copied().map(level).collect())
}

/// Which pictures these are.
fn digests(images: &ImageBatch) -> Vec<Digest> {
    let [n, shape @ ..] = images.shape();
    let level = |value: &f32| (value * 255.0).round() as u8;
    (0..n).map(|i| Digest::of(shape, &images.sample(i).iter().map(level).collect::<Vec<u8>>())).collect()
}

pub(super) fn level(value: f32) -> f32 {
    (value * 255.0).round() / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sizes_are_told_of() {
        let said = |found: &[[usize; 3]]| sizes("some", found, [3, 2, 4]);
        assert_eq!((said(&[[3, 2, 4]; 2]), said(&[])), (None, None));
        assert!(said(&[[3, 8, 9]]).unwrap().contains("some have a size of their own, 9×8,"));
        assert!(said(&[[3, 2, 4], [3, 4, 2]]).unwrap().contains("some have several sizes, the first 4×2,"));
    }

    #[test]
    fn all_pictures_are_seen_as_files_of_8_bits_show_them() {
        let images = ImageBatch::new([2, 1, 1, 2], vec![0.1, 0.5, 0.999, 0.0]);
        let seen = levels(&images);
        assert_eq!(seen.shape(), [2, 1, 1, 2]);
        assert_eq!(seen.pixels(), [26.0 / 255.0, 128.0 / 255.0, 1.0, 0.0]);
        assert_eq!(digests(&images), digests(&seen), "the same picture by its levels");
        assert_eq!(digests(&seen)[1], Digest::of([1, 1, 2], &[255, 0]));
    }
}
