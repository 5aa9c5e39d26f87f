//! The extractor looks at sets of pictures, or what it saw of them before is taken.

use anyhow::Context as _;

use super::EvaluateOptions;
use super::plan::{Job, Pieces, Plan, Streak, What};
use super::reference::has;
use super::room;
use super::sets::{Kind, Pictures};
use super::subject::Subject;
use crate::cli::driver::Driver;
use crate::cli::opened;
use crate::data::{Batch, Digest};
use crate::export::{Parts, SeenBatch};
use crate::image::{ImageBatch, in_levels};
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

/// Where what is seen comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sight<'a> {
    /// The pictures are looked at now.
    Pictures,
    /// So many runs looked at them, and kept what they saw.
    Kept(&'a Parts, u32),
}

/// Gets what was seen of a batch, or of some where not all can be read, with their places.
pub(super) type Take<'a> = dyn FnMut(&Driver, (usize, usize), SeenBatch) -> anyhow::Result<()> + 'a;

/// Has the extractor look at sets.
pub(super) struct Looker<'a> {
    pub(super) options: &'a EvaluateOptions,
    pub(super) subject: &'a Subject,
    pub(super) driver: &'a mut Driver,
    /// Pictures of all sets that were looked at, and that there are.
    pub(super) done: usize,
    pub(super) of: usize,
}

impl Looker<'_> {
    /// What is seen in sets, each of which is `what` by its place; `None` when interrupted.
    pub(super) fn look_at_all(
        &mut self,
        sets: &[Pictures],
        what: fn(usize) -> What,
        (plan, sight): (&Plan, Sight<'_>),
    ) -> anyhow::Result<Option<Vec<Looked>>> {
        let mut all = Vec::new();
        for (place, set) in sets.iter().enumerate() {
            let Some(looked) = self.look(set, what(place), (plan, sight))? else { return Ok(None) };
            all.push(looked);
        }
        Ok(Some(all))
    }

    /// Likewise, in one.
    fn look(
        &mut self,
        set: &Pictures,
        what: What,
        (plan, sight): (&Plan, Sight<'_>),
    ) -> anyhow::Result<Option<Looked>> {
        self.driver.note(&set.notes);
        let Subject { extractor, reference, shape, .. } = self.subject;
        if let Kind::Seen(seen) = &set.kind {
            let places = set.places();
            let names: Vec<String> = places.iter().filter_map(|place| seen.names.get(*place).cloned()).collect();
            let labels = seen.labels.as_ref().map(|labels| places.iter().map(|place| labels[*place]).collect());
            let hashes = places.iter().map(|place| seen.hashes[*place]).collect();
            let (features, shape) = (seen.features.at(&places), seen.sight.shape);
            reference.check_width(features.width(), &extractor.manifest.name)?;
            room::check(self.options, self.subject, (&features, &names))?;
            return Ok(Some(Looked { features, labels, names, hashes, fitted: 0, shape }));
        }
        let job = plan.job(what).with_context(|| format!("the work on {} was not planned", set.name))?;
        self.driver.note(sizes(&set.name, job, *shape).as_slice());
        let own = job.runs.first().map_or(*shape, |run| run.1);
        let mut seen = SeenBatch::default();
        match sight {
            Sight::Kept(parts, runs) => {
                for streak in plan.streaks_of(what, runs) {
                    seen.append(parts.seen(&streak.places)?)?;
                }
                if let Some(features) = &seen.features {
                    room::check(self.options, self.subject, (features, &seen.names))?;
                }
            }
            Sight::Pictures => {
                let streaks = plan.streaks_of(what, 1);
                if !self.read(set, &streaks, &mut |_, _, further| Ok(seen.append(further)?))? {
                    return Ok(None);
                }
            }
        }
        self.whole(set, seen, own).map(Some)
    }

    /// What was seen of a whole set, whose first pictures have the size `own`.
    fn whole(&mut self, set: &Pictures, seen: SeenBatch, own: [usize; 3]) -> anyhow::Result<Looked> {
        let SeenBatch { features, labels, names, hashes, fits } = seen;
        let features = features.with_context(|| format!("no picture is in {}", set.name))?;
        let Subject { extractor, reference, .. } = self.subject;
        reference.check_width(features.width(), &extractor.manifest.name)?;
        if let Some(first) = fits.first() {
            self.driver.say(&format!(
                "warning: of {}, {} changed to fit {}×{}, the first like this: {first}; numbers compare only with those of pictures that were changed in the same way",
                set.name,
                if fits.len() == 1 { "1 picture was".to_owned() } else { format!("{} were", counted(fits.len(), "picture")) },
                own[2],
                own[1]
            ));
        }
        let has_labels = !extractor.manifest.classes.is_empty() && labels.len() == features.len();
        let labels = has_labels.then_some(labels);
        Ok(Looked { features, labels, names, hashes, fitted: fits.len(), shape: own })
    }

    /// Looks at batches of a set; `take` gets what is seen of them. Returns whether all of them are done; else it was interrupted.
    pub(super) fn read(&mut self, set: &Pictures, streaks: &[Streak], take: &mut Take<'_>) -> anyhow::Result<bool> {
        let (mut notes, mut goes_on) = (Vec::new(), true);
        for streak in streaks {
            let mut pieces = Pieces::new(streak);
            let form = (streak.shape, streak.batch);
            notes.extend(set.for_each_batch_of(streak.range.clone(), form, &mut |batch| {
                // A batch that ended is kept, whatever came meanwhile.
                if let Some((places, seen)) = pieces.begin(batch.first) {
                    take(self.driver, places, seen)?;
                }
                goes_on = !self.driver.interrupted && self.look_at(batch, &mut pieces.held)?;
                Ok::<_, anyhow::Error>(goes_on)
            })?);
            if !goes_on {
                break;
            }
            let (places, seen) = pieces.end();
            take(self.driver, places, seen)?;
        }
        self.driver.note(&notes);
        Ok(goes_on)
    }

    /// Looks at pictures; whether to go on.
    fn look_at(&mut self, batch: Batch, seen: &mut SeenBatch) -> anyhow::Result<bool> {
        let images = in_levels(&batch.images);
        let n = images.len();
        self.driver.count_pictures("looking", (self.done, self.of), BATCH);
        let Subject { extractor, reference, .. } = self.subject;
        let model = (self.options.extractor.as_str(), extractor.dialect);
        let hashes = digests(&images);
        let Some([values, logits, spatial]) = self.driver.measure(model, images, &self.options.compute)? else {
            return Ok(false);
        };
        let [width, outputs, places] = [&values, &logits, &spatial].map(|seen| seen.len() / n);
        reference.check_width(width, &extractor.manifest.name)?;
        let features = seen.features.get_or_insert_with(|| Features::new(width, outputs));
        features.extend(&values, &logits);
        if places > 0 {
            features.extend_spatial(&spatial, places);
        }
        seen.fits.extend(opened::changed(&batch.fits));
        seen.labels.extend(batch.labels.iter().flatten().copied());
        seen.hashes.extend(hashes);
        seen.names.extend(batch.names);
        // Known from the first pictures on, so that nobody looks for hours at what cannot be kept.
        if self.done == 0 {
            room::check(self.options, self.subject, (&*features, &seen.names))?;
        }
        self.done += n;
        Ok(true)
    }
}

/// What is to be said of pictures of other sizes than that of the table.
fn sizes(name: &str, job: &Job, [_, height, width]: [usize; 3]) -> Option<String> {
    let size = |(_, [_, height, width]): &(std::ops::Range<usize>, [usize; 3])| [*height, *width];
    let first = size(job.runs.first()?);
    let are_one = job.runs.iter().all(|run| size(run) == first);
    if are_one && first == [height, width] {
        return None;
    }
    let [own_height, own_width] = first;
    let what = if are_one { "a size of their own," } else { "several sizes, the first" };
    let has = has(name);
    Some(format!("note: {name} {has} {what} {own_width}×{own_height}, and each comes to the extractor at its own"))
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
            "warning: {name} {} pictures of class {label}, but the extractor knows those from 0 to {}: the labels are left aside",
            has(name),
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

/// Which pictures these are.
fn digests(images: &ImageBatch) -> Vec<Digest> {
    let [n, shape @ ..] = images.shape();
    let level = |value: &f32| (value * 255.0).round() as u8;
    (0..n).map(|i| Digest::of(shape, &images.sample(i).iter().map(level).collect::<Vec<u8>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sizes_are_told_of() {
        let said = |found: &[[usize; 3]]| {
            let runs = found.iter().enumerate().map(|(place, shape)| (place..place + 1, *shape)).collect();
            sizes("some", &Job::new(What::Set(0), runs, BATCH), [3, 2, 4])
        };
        assert_eq!((said(&[[3, 2, 4]; 2]), said(&[])), (None, None));
        assert!(said(&[[3, 8, 9]]).unwrap().contains("some has a size of their own, 9×8,"));
        assert!(said(&[[3, 2, 4], [3, 4, 2]]).unwrap().contains("some has several sizes, the first 4×2,"));
    }

    #[test]
    fn all_pictures_are_seen_as_files_of_8_bits_show_them() {
        let images = ImageBatch::new([2, 1, 1, 2], vec![0.1, 0.5, 0.999, 0.0]);
        let seen = in_levels(&images);
        assert_eq!(seen.shape(), [2, 1, 1, 2]);
        assert_eq!(seen.pixels(), [26.0 / 255.0, 128.0 / 255.0, 1.0, 0.0]);
        assert_eq!(digests(&images), digests(&seen), "the same picture by its levels");
        assert_eq!(digests(&seen)[1], Digest::of([1, 1, 2], &[255, 0]));
    }
}
