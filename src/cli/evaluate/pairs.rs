//! Pairs of pictures: a set of which every picture has a partner, at the same place of another set.

use std::panic::resume_unwind;

use anyhow::Context as _;
use crossbeam::channel::{Receiver, bounded};

use super::lpips::Network;
use super::plan::{Job, Pieces, Streak, What};
use super::sets::Pictures;
use super::{CliError, EvaluateOptions};
use crate::cli::driver::Driver;
use crate::data::{Batch, PictureError};
use crate::image::{ImageBatch, level};
use crate::metrics::Number;
use crate::metrics::pairs::{PIXELS_PER_DEGREE, PairMeter, PairNumbers, WINDOW};
use crate::units::counted;

/// Pictures that are compared together, at most, and their bytes.
const BATCH: usize = 256;
const BYTES: usize = 64 << 20;

/// Which sets have partners: for every set the place of theirs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Partners(Vec<Option<usize>>);

impl Partners {
    /// Further sets of one file or folder: one, or what was there before a refinement and after it.
    pub(super) fn add(&mut self, sets: usize) {
        let first = self.0.len();
        self.0.extend((0..sets).map(|place| (place > 0).then_some(first)));
    }

    /// Every set that has no partner yet has the first one.
    ///
    /// # Errors
    /// [`CliError::Pairs`] and [`CliError::PairCounts`] of sets that cannot be paired.
    pub(super) fn declare(&mut self, sets: &[(&str, usize)]) -> Result<(), CliError> {
        let [(first, expected), others @ ..] = sets else { return Ok(()) };
        if others.is_empty() {
            return Err(CliError::Pairs);
        }
        for (place, (name, found)) in others.iter().enumerate() {
            if self.0[place + 1].is_none() && found != expected {
                let (name, first) = ((*name).to_owned(), (*first).to_owned());
                return Err(CliError::PairCounts { name, found: *found, first, expected: *expected });
            }
            self.0[place + 1].get_or_insert(0);
        }
        Ok(())
    }

    /// Whether no set has any.
    pub(super) fn are_none(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// A set beside that of its partners.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Paired {
    /// Place of the partners' set.
    pub(super) with: usize,
    pub(super) pairs: usize,
    /// Pairs of equal pictures.
    pub(super) equal: usize,
    pub(super) numbers: Vec<Number>,
}

/// What of which pairs was compared, behind the other sentences of a table; nothing where there are no pairs. `sets`: their names,
/// where these are to be said; `lpips`: SHA-256 of its two files.
pub(super) fn protocol(paired: &[Option<Paired>], sets: Option<&[&str]>, lpips: Option<&[String; 2]>) -> String {
    if paired.iter().all(Option::is_none) {
        return String::new();
    }
    let names = sets.map_or_else(String::new, |sets| {
        let name = |(paired, name): (&Option<Paired>, &&str)| {
            let Paired { with, pairs, .. } = paired.as_ref()?;
            Some(format!("{name} with {} ({})", sets[*with], counted(*pairs, "pair")))
        };
        let names: Vec<String> = paired.iter().zip(sets).filter_map(name).collect();
        format!("; pairs: {}", names.join(", "))
    });
    let short = |hash: &String| hash.get(..12).unwrap_or(hash).to_owned();
    let lpips = lpips.map(|hashes| hashes.each_ref().map(short));
    let lpips = lpips.map(|[vgg, linear]| format!("; LPIPS: version 0.1, VGG16 (SHA-256 {vgg}… and {linear}…)"));
    format!(
        "{names}; PSNR: mean of dB over pairs that differ; SSIM: windows of {WINDOW}×{WINDOW}; FLIP: {PIXELS_PER_DEGREE:.0} pixels per degree{}",
        lpips.unwrap_or_default()
    )
}

/// A set that is compared with its partners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    /// Its place, and that of the partners' set.
    pub(super) set: usize,
    pub(super) with: usize,
    /// Of the pictures of both, `[C, H, W]`.
    pub(super) shape: [usize; 3],
}

impl Pair {
    /// Of every set that has partners; `forms`: `[C, H, W]` of the pictures of each, where they have one. And what is to be said.
    pub(super) fn of_all(
        sets: &[Pictures],
        partners: &Partners,
        forms: &[Option<[usize; 3]>],
    ) -> (Vec<Self>, Vec<String>) {
        let (mut pairs, mut notes) = (Vec::new(), Vec::new());
        for (set, with) in partners.0.iter().enumerate().filter_map(|(set, with)| Some((set, (*with)?))) {
            let Some(shape) = forms[set].filter(|_| forms[with] == forms[set]) else {
                notes.push(format!(
                    "warning: {} are not compared picture by picture with {}, for that needs pictures of one size",
                    sets[set].name, sets[with].name
                ));
                continue;
            };
            for reason in PairMeter::new(shape).left_out().iter().map(|reason| format!("note: {reason}")) {
                // Once for all sets of one size.
                if !notes.contains(&reason) {
                    notes.push(reason);
                }
            }
            pairs.push(Self { set, with, shape });
        }
        (pairs, notes)
    }

    /// All of it in batches.
    pub(super) fn job(self, sets: &[Pictures]) -> Job {
        let bytes = self.shape.iter().product::<usize>() * size_of::<f32>();
        let batch = (BYTES / bytes.max(1)).clamp(1, BATCH);
        Job::new(What::Pairs(self.set), vec![(sets[self.set].range.clone(), self.shape)], batch)
    }
}

/// What the numbers of a set's pairs come to, and what is to be said of those that it does not have.
pub(super) fn paired(sets: &[Pictures], pair: Pair, numbers: &PairNumbers) -> (Paired, Option<String>) {
    let set = &sets[pair.set];
    let alone = set.count().saturating_sub(numbers.len());
    let note = (alone > 0).then(|| {
        let alone = counted(alone, "picture");
        format!("warning: {alone} of {} cannot be compared with a partner, for one of the two cannot be read", set.name)
    });
    (Paired { with: pair.with, pairs: numbers.len(), equal: numbers.equal(), numbers: numbers.numbers() }, note)
}

/// Gets the numbers of a batch of pairs, or of some where not all can be read, with their places.
pub(super) type Take<'a> = dyn FnMut(&Driver, (usize, usize), PairNumbers) -> anyhow::Result<()> + 'a;

/// Compares pictures with their partners.
pub(super) struct Comparer<'a> {
    pub(super) options: &'a EvaluateOptions,
    pub(super) lpips: Option<&'a Network>,
    pub(super) driver: &'a mut Driver,
    /// Pairs that were compared.
    pub(super) done: usize,
}

impl Comparer<'_> {
    /// Compares batches of a set with its partners; `take` gets the numbers. Returns whether all of them are done; else it was
    /// interrupted.
    pub(super) fn read(
        &mut self,
        [partners, set]: [&Pictures; 2],
        streaks: &[Streak],
        take: &mut Take<'_>,
    ) -> anyhow::Result<bool> {
        for streak in streaks {
            let read = self.read_one([partners, set], streak, take);
            if !read.with_context(|| format!("{} cannot be compared with its partners", set.name))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads both sets beside each other, the partners on a thread of their own: a packed archive can be read from its beginning
    /// only. One batch of each set is in memory, and one of the partners waits.
    fn read_one(
        &mut self,
        [partners, set]: [&Pictures; 2],
        streak: &Streak,
        take: &mut Take<'_>,
    ) -> anyhow::Result<bool> {
        let (form, range, meter) = ((streak.shape, streak.batch), &streak.range, PairMeter::new(streak.shape));
        let theirs = range.start..range.end.min(partners.range.end);
        let (sender, batches) = bounded(1);
        std::thread::scope(|scope| {
            let read = move || {
                let mut each = |batch: Batch| Ok::<_, PictureError>(sender.send(batch).is_ok());
                partners.for_each_batch_of(theirs, form, &mut each)
            };
            let reader = std::thread::Builder::new().name("partners".to_owned()).spawn_scoped(scope, read)?;
            let mut ahead = Ahead { batches, held: None };
            let (of, mut pieces, mut goes_on) = (set.count(), Pieces::new(streak), true);
            let compared = set.for_each_batch_of(range.clone(), form, &mut |batch| {
                if let Some((places, numbers)) = pieces.begin(batch.first) {
                    take(self.driver, places, numbers)?;
                }
                goes_on = self.driver.goes_on("comparing pairs", self.done, of);
                if !goes_on {
                    return Ok(false);
                }
                let (mut own, mut theirs) = (Vec::new(), Vec::new());
                for row in 0..batch.images.len() {
                    if let Some(partner) = ahead.at(batch.first + row) {
                        theirs.extend(partner.iter().copied().map(level));
                        own.extend(batch.images.sample(row).iter().copied().map(level));
                    }
                }
                goes_on = self.compare([theirs, own], (&meter, streak.shape), &mut pieces.held)?;
                Ok::<_, anyhow::Error>(goes_on)
            });
            // Whoever reads ahead ends when nobody listens.
            drop(ahead);
            let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
            compared?;
            read?;
            if goes_on {
                let (places, numbers) = pieces.end();
                take(self.driver, places, numbers)?;
            }
            Ok(goes_on)
        })
    }

    /// Takes pairs in; whether to go on.
    fn compare(
        &mut self,
        [theirs, own]: [Vec<f32>; 2],
        (meter, [c, h, w]): (&PairMeter, [usize; 3]),
        all: &mut PairNumbers,
    ) -> anyhow::Result<bool> {
        let n = own.len() / (c * h * w).max(1);
        if n == 0 {
            return Ok(true);
        }
        let mut numbers = meter.compare(&theirs, &own);
        if let Some(network) = self.lpips {
            let pairs = [theirs, own].map(|pixels| ImageBatch::new([n, c, h, w], pixels));
            let Some(distances) = self.driver.distances(&network.files, pairs, &self.options.compute)? else {
                return Ok(false);
            };
            numbers.lpips = distances.into_iter().map(f64::from).collect();
        }
        self.done += n;
        all.append(numbers);
        Ok(true)
    }
}

/// Pictures of another set, which are asked for by places that rise.
struct Ahead {
    batches: Receiver<Batch>,
    held: Option<Batch>,
}

impl Ahead {
    /// The picture at a place of the source; `None` where it could not be read.
    fn at(&mut self, place: usize) -> Option<&[f32]> {
        while self.held.as_ref().is_none_or(|batch| batch.first + batch.images.len() <= place) {
            self.held = Some(self.batches.recv().ok()?);
        }
        let batch = self.held.as_ref()?;
        place.checked_sub(batch.first).map(|row| batch.images.sample(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_has_before_and_declared_sets_have_the_first() {
        let mut partners = Partners::default();
        partners.add(1);
        assert!(partners.are_none());
        partners.add(2);
        partners.add(1);
        assert_eq!(partners.0, [None, None, Some(1), None]);
        let sets = [("a", 5), ("b before", 5), ("b after", 5), ("c", 5)];
        partners.declare(&sets).unwrap();
        assert_eq!(partners.0, [None, Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn sets_that_are_no_pairs_are_refused_in_one_sentence() {
        let mut one = Partners::default();
        one.add(1);
        assert!(one.declare(&[("a", 5)]).unwrap_err().to_string().contains("only one is given"));
        one.add(1);
        let text = one.declare(&[("a", 5), ("b", 4)]).unwrap_err().to_string();
        assert!(text.starts_with("b has 4 pictures, but a has 5"), "{text}");
    }

    #[test]
    fn partners_are_found_by_their_places_also_behind_those_that_cannot_be_read() {
        let (sender, batches) = bounded(3);
        for (first, values) in [(0, vec![0.0, 1.0]), (3, vec![3.0]), (4, vec![4.0, 5.0])] {
            let images = ImageBatch::new([values.len(), 1, 1, 1], values);
            sender.send(Batch { first, images, names: Vec::new(), labels: None, fits: Vec::new() }).unwrap();
        }
        drop(sender);
        let mut ahead = Ahead { batches, held: None };
        let found: Vec<Option<f32>> = [0, 2, 3, 5, 6].map(|place| ahead.at(place).map(|picture| picture[0])).to_vec();
        assert_eq!(found, [Some(0.0), None, Some(3.0), Some(5.0), None]);
    }
}
