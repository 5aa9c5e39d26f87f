//! What is computed for the numbers beside a run, piece by piece, on the CPU: the judge looks at the pictures before once, at
//! those after for every update, and at real pictures once.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::message::{Distance, Numbers, Wish};
use super::reference::{Fit, Reference, ReferenceError};
use super::turn::Turn;
use crate::classifier::labels::listed;
use crate::classifier::{Classifier, translation};
use crate::error::error_chain;
use crate::file::Stamp;
use crate::image::{ImageBatch, in_levels};
use crate::metrics::{Apart, Features, Judged, MetricError, too_few};
use crate::refiner::Chunks;
use crate::refiner::evaluate::features;
use crate::worker::error::WorkError;
use crate::worker::measure::Eye as _;
use crate::worker::memory;
use crate::worker::message::{MemoryEstimate, ModelInfo};
use crate::worker::models::{Loaded, Models};

/// Pictures that are looked at between two rests.
pub(super) const PIECE: usize = 32;
/// Bytes that a look may take beside the weights: what is computed beside it needs the memory more.
const MOST_BYTES: u64 = 512 << 20;

/// Why there are no numbers.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiveError {
    #[error("the judge cannot look at the pictures")]
    Work(#[from] WorkError),
    #[error(
        "picture {place} of the {count} {when} holds values that are not finite numbers, so nothing can be said of it"
    )]
    NotFinite { when: &'static str, place: usize, count: usize },
    #[error("what the judge sees in the pictures {when} is no number")]
    Broken { when: &'static str, source: MetricError },
    /// Newer numbers are wanted, or none any more.
    #[error("stopped before it was done")]
    Stopped,
}

/// The judge, and how pictures go through it.
pub(super) struct Eye<'a> {
    judge: &'a Classifier,
    chunks: Chunks,
    device: &'a Device,
}

impl<'a> Eye<'a> {
    /// Ready for pictures of `[H, W]` pixels.
    ///
    /// # Errors
    /// [`WorkError::Memory`] when not even one fits into what the user allows.
    fn of(judge: &'a Classifier, size: [usize; 2], limit: Option<u32>, device: &'a Device) -> Result<Self, WorkError> {
        let weights = judge.weight_bytes();
        let budget = memory::budget(limit, true, weights).min(weights + MOST_BYTES);
        let estimate = MemoryEstimate::fit(false, weights, judge.activation_bytes(size), PIECE, budget);
        if let Some(limit) = limit.filter(|limit| estimate.total() > u64::from(*limit) << 20) {
            return Err(WorkError::Memory { needed: estimate.total() >> 20, limit });
        }
        Ok(Self { judge, chunks: Chunks { at_once: estimate.at_once as usize, ..Chunks::CPU }, device })
    }

    /// What it sees in a few pictures, as files of 8 bits show them.
    pub(super) fn look(&self, images: &ImageBatch) -> Result<Features, WorkError> {
        let [values, logits] = features(self.judge, &in_levels(images), self.chunks, self.device)?;
        let n = images.len().max(1);
        let mut seen = Features::new(values.len() / n, logits.len() / n);
        seen.extend(&values, &logits);
        Ok(seen)
    }

    /// Likewise in all of a batch, piece by piece; `when` says which pictures these are.
    fn look_at_all(&self, images: &ImageBatch, when: &'static str, turn: &mut dyn Turn) -> Result<Features, LiveError> {
        let count = images.len();
        let is_broken = |place: &usize| images.sample(*place).iter().any(|value| !value.is_finite());
        if let Some(place) = (0..count).find(is_broken) {
            return Err(LiveError::NotFinite { when, place, count });
        }
        let mut all = Features::default();
        for first in (0..count).step_by(PIECE) {
            let seen = self.look(&images.slice(first, (first + PIECE).min(count)))?;
            if first == 0 {
                all = seen;
            } else {
                all.append(&seen).map_err(|source| LiveError::Broken { when, source })?;
            }
            if !turn.goes_on() {
                return Err(LiveError::Stopped);
            }
        }
        all.check().map_err(|source| LiveError::Broken { when, source })?;
        Ok(all)
    }
}

/// What the judge saw in the pictures before.
struct Before {
    /// Which pictures, as the session counts them, and which judge, by its SHA-256.
    of: (u64, String),
    features: Features,
    /// Their distance to the real pictures that are held.
    distance: Option<Result<Apart, MetricError>>,
}

/// Real pictures, or why they cannot be used.
struct Held {
    /// Where they are, what tells whether that was changed, for which judge and for pictures of which form.
    of: (PathBuf, Option<Stamp>, String, [usize; 3]),
    found: Result<Reference, String>,
}

/// What is kept from update to update: one judge, what it saw of the pictures before, and mean and covariance of real ones.
pub(super) struct Memory {
    cache: PathBuf,
    models: Models,
    device: Device,
    before: Option<Before>,
    real: Option<Held>,
}

impl Memory {
    /// Nothing yet; `cache` receives unpacked models.
    pub(super) fn new(cache: PathBuf) -> Self {
        Self { cache, models: Models::default(), device: Device::flex(), before: None, real: None }
    }

    /// The numbers that are wished for.
    ///
    /// # Errors
    /// [`LiveError`]
    pub(super) fn numbers(&mut self, wish: &Wish, turn: &mut dyn Turn) -> Result<Numbers, LiveError> {
        let [_, shape @ ..] = wish.pictures[0].shape();
        let device = self.device.clone();
        let loaded = self.load(&wish.of.judge, turn)?;
        loaded.model.check(shape)?;
        let [_, height, width] = shape;
        let eye = Eye::of(&loaded.model, [height, width], wish.memory_mib, &device)?;
        let sha256 = loaded.info.sha256.clone();
        let mut before = self.before(wish, &sha256, &eye, turn)?;
        let found = self.compare(wish, (&loaded.info, shape), &eye, &mut before, turn);
        self.before = Some(before);
        found
    }

    /// What the pictures after are beside those before.
    fn compare(
        &mut self,
        wish: &Wish,
        (judge, shape): (&ModelInfo, [usize; 3]),
        eye: &Eye<'_>,
        before: &mut Before,
        turn: &mut dyn Turn,
    ) -> Result<Numbers, LiveError> {
        let after = eye.look_at_all(&wish.pictures[1], "after", turn)?;
        let judged = labels_of(wish, &judge.classes).map(|labels| Judged::of(&before.features, &after, &labels));
        let distance = match &wish.of.reference {
            Some(path) => Some(self.distance(path, (&judge.sha256, shape), eye, (before, &after), turn)?),
            None => None,
        };
        let (judge, sha256) = (judge.title.clone(), judge.sha256.clone());
        Ok(Numbers { judge, sha256, pictures: after.len(), judged, distance })
    }

    /// The judge as its file is now. Only one is kept.
    fn load(&mut self, judge: &str, turn: &mut dyn Turn) -> Result<Loaded<Classifier>, LiveError> {
        let mut watch = |_: &str, _: u64, _: u64| turn.is_wanted();
        let loaded = self.models.load::<Classifier>(judge, &self.cache, (&self.device, 0), &mut watch);
        let (loaded, is_new) = match loaded.map_err(WorkError::from) {
            Err(error) if error.is_interruption() => return Err(LiveError::Stopped),
            loaded => loaded?,
        };
        if is_new && !turn.goes_on() {
            return Err(LiveError::Stopped);
        }
        Ok(loaded)
    }

    /// What was seen of the pictures before, looked at once.
    fn before(&mut self, wish: &Wish, sha256: &str, eye: &Eye<'_>, turn: &mut dyn Turn) -> Result<Before, LiveError> {
        let of = (wish.of.epoch, sha256.to_owned());
        match self.before.take().filter(|before| before.of == of && before.features.len() == wish.pictures[0].len()) {
            Some(before) => Ok(before),
            None => {
                let features = eye.look_at_all(&wish.pictures[0], "before", turn)?;
                Ok(Before { of, features, distance: None })
            }
        }
    }

    /// How far the pictures are from the real ones at a path; why nobody can say, in one sentence.
    fn distance(
        &mut self,
        path: &Path,
        (sha256, shape): (&str, [usize; 3]),
        eye: &Eye<'_>,
        (before, after): (&mut Before, &Features),
        turn: &mut dyn Turn,
    ) -> Result<Result<Distance, String>, LiveError> {
        let width = after.width();
        // Whoever has too few pictures need not wait for the real ones.
        if let Some(why) = too_few(after.len(), width) {
            return Ok(Err(why));
        }
        let of = (path.to_owned(), Stamp::of(path), sha256.to_owned(), shape);
        if self.real.as_ref().is_none_or(|held| held.of != of) {
            let found = match Reference::open(path, Fit { sha256, width, shape }, eye, turn) {
                Err(ReferenceError::Stopped) => return Err(LiveError::Stopped),
                found => found.map_err(|error| error_chain(&error).join(": ")),
            };
            self.real = Some(Held { of, found });
            before.distance = None;
        }
        Ok(match self.real.as_ref().map(|held| &held.found) {
            Some(Ok(real)) => distances(real, before, after).map_err(|error| error.to_string()),
            Some(Err(why)) => Err(why.clone()),
            None => Err(LiveError::Stopped.to_string()),
        })
    }
}

fn distances(real: &Reference, before: &mut Before, after: &Features) -> Result<Distance, MetricError> {
    let Before { features, distance, .. } = before;
    let before = distance.get_or_insert_with(|| real.anchor.distance(features)).as_ref().map_err(Clone::clone)?;
    let doubt = real.anchor.doubt().map(str::to_owned).or_else(|| real.note.clone());
    let (features, real) = (after.width(), &real.anchor);
    Ok(Distance { of: before.shift(&real.distance(after)?), features, real: real.count(), doubt })
}

/// The class that every picture is to have, as the judge counts them; why it cannot say, in one sentence.
fn labels_of(wish: &Wish, judges: &[String]) -> Result<Vec<usize>, String> {
    let foreign = || {
        format!(
            "the judge knows {}, but the pictures are to be of {}: choose a judge of the same classes",
            listed(judges),
            listed(&wish.classes)
        )
    };
    let to = translation(&wish.classes, judges).map_err(|_| foreign())?;
    wish.targets.iter().map(|target| to.get(*target).copied().ok_or_else(foreign)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{RunId, StateId};
    use crate::worker::live::message::Subject;

    /// Never rests; stops after so many pieces.
    struct Pieces(usize);

    impl Turn for Pieces {
        fn is_wanted(&mut self) -> bool {
            true
        }

        fn goes_on(&mut self) -> bool {
            self.0 = self.0.saturating_sub(1);
            self.0 > 0
        }

        fn looked_at(&mut self, _: usize, _: usize) {}
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Stripes; those of another pitch are other pictures.
    fn pictures(n: usize, pitch: f32) -> ImageBatch {
        let value = |i: usize| 0.5 + 0.4 * (i as f32 * pitch).sin();
        ImageBatch::new([n, 3, 32, 32], (0..n * 3 * 32 * 32).map(value).collect())
    }

    fn wish(pictures: [ImageBatch; 2]) -> Wish {
        let n = pictures[0].len();
        Wish {
            of: Subject { epoch: 1, judge: "gtsrb12-judge".to_owned(), reference: None },
            state: StateId { run: RunId(1), iteration: 3 },
            pictures,
            targets: (0..n).map(|sample| sample % 12).collect(),
            classes: crate::zoo::class_names("gtsrb12-judge").unwrap(),
            memory_mib: None,
        }
    }

    fn memory(folder: &Path) -> Memory {
        Memory::new(folder.to_owned())
    }

    #[test]
    fn the_numbers_are_those_of_the_judge_and_the_pictures_before_are_looked_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (mut memory, mut turn) = (memory(folder.path()), Pieces(usize::MAX));
        let mut asked = wish([pictures(9, 0.013), pictures(9, 0.021)]);
        let found = memory.numbers(&asked, &mut turn).unwrap();
        let judged = found.judged.as_ref().unwrap();
        assert_eq!((found.pictures, found.distance.is_none()), (9, true));
        let own = memory.before.as_ref().unwrap();
        assert_eq!((own.features.len(), own.features.width()), (9, 128));
        assert!(judged.confidence.change.interval.is_some(), "nine pairs are enough: {judged:?}");
        assert_eq!(found.sha256, crate::zoo::find("gtsrb12-judge").unwrap().0.sha256.unwrap());
        // What is the same twice has no change, and the first look is not taken again: these pictures would be others.
        asked.pictures = [pictures(9, 0.37), pictures(9, 0.013)];
        let judged = memory.numbers(&asked, &mut turn).unwrap().judged.unwrap();
        assert_eq!((judged.confidence.change.value, judged.agreement.change.value), (0.0, 0.0));
        // Of another set of pictures they are.
        asked.of.epoch = 2;
        let judged = memory.numbers(&asked, &mut turn).unwrap().judged.unwrap();
        assert!(judged.confidence.change.value != 0.0);
    }

    #[test]
    fn what_cannot_be_judged_is_said_in_a_sentence_and_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut memory, mut turn) = (memory(folder.path()), Pieces(usize::MAX));
        let mut refused = |change: &dyn Fn(&mut Wish)| {
            let mut asked = wish([pictures(2, 0.013), pictures(2, 0.021)]);
            change(&mut asked);
            match memory.numbers(&asked, &mut turn) {
                Err(error) => error_chain(&error).join(": "),
                Ok(found) => found.judged.unwrap_err(),
            }
        };
        let text = refused(&|wish| wish.classes = names(&["cat", "dog"]));
        assert!(text.contains("12 classes") && text.contains("2 classes (cat, dog)"), "{text}");
        let text = refused(&|wish| wish.classes.clear());
        assert!(text.contains("no classes"), "{text}");
        let text = refused(&|wish| wish.targets[1] = 99);
        assert!(text.contains("choose a judge"), "{text}");
        let text = refused(&|wish| {
            let mut pixels = wish.pictures[1].pixels().to_vec();
            pixels[3 * 32 * 32 + 7] = f32::NAN;
            wish.pictures[1] = ImageBatch::new([2, 3, 32, 32], pixels);
        });
        assert!(text.contains("picture 1 of the 2 after holds values that are not finite"), "{text}");
        let text = refused(&|wish| {
            wish.pictures = [0, 1].map(|_| ImageBatch::new([2, 1, 32, 32], vec![0.5; 2 * 32 * 32]));
        });
        assert!(text.contains("takes 3 channels"), "{text}");
        let text = refused(&|wish| wish.of.judge = "gtsrb12-cm".to_owned());
        assert!(text.contains("classifier"), "{text}");
        let text = refused(&|wish| wish.of.judge = "/no/judge.pt".to_owned());
        assert!(text.contains("/no/judge.pt"), "{text}");
    }

    #[test]
    fn few_pictures_have_no_distance_and_enough_of_them_have_one_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        std::fs::create_dir(&real).unwrap();
        let made = pictures(140, 0.013);
        for place in 0..140 {
            let rgb = crate::image::Levels::Rounded.rgb8(&made, place);
            let picture = ::image::RgbImage::from_raw(32, 32, rgb).unwrap();
            picture.save(real.join(format!("{place:03}.png"))).unwrap();
        }
        let (mut memory, mut turn) = (memory(folder.path()), Pieces(usize::MAX));
        let mut asked = wish([pictures(9, 0.013), pictures(9, 0.021)]);
        asked.of.reference = Some(real.clone());
        let few = memory.numbers(&asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
        assert!(few.contains("9 pictures with 128 features each"), "{few}");
        assert!(memory.real.is_none(), "nobody waited for the real ones");
        asked.pictures = [pictures(140, 0.37), made];
        let found = memory.numbers(&asked, &mut turn).unwrap().distance.unwrap().unwrap();
        // The pictures after are the real ones; those before are others.
        assert!(found.of.after < 1e-3 * found.of.before, "{found:?}");
        assert_eq!((found.features, found.real, found.doubt), (128, Some(140), None));
        // A constant picture again and again has no covariance.
        asked.pictures[1] = ImageBatch::new([140, 3, 32, 32], vec![0.5; 140 * 3 * 32 * 32]);
        let why = memory.numbers(&asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
        assert!(why.contains("the same features"), "{why}");
        asked.of.reference = Some(folder.path().join("none"));
        let why = memory.numbers(&asked, &mut turn).unwrap().distance.unwrap().unwrap_err();
        assert!(why.contains("none"), "{why}");
    }

    #[test]
    fn whoever_is_not_wanted_any_more_stops_at_the_next_piece_and_keeps_what_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = memory(folder.path());
        let asked = wish([pictures(40, 0.013), pictures(40, 0.021)]);
        // The judge is loaded, and the first of two pieces of the pictures before is looked at.
        let stopped = memory.numbers(&asked, &mut Pieces(2));
        assert!(matches!(stopped, Err(LiveError::Stopped)), "{stopped:?}");
        assert!(memory.before.is_none(), "half of them are not all");
        let found = memory.numbers(&asked, &mut Pieces(usize::MAX)).unwrap();
        assert_eq!(found.pictures, 40);
    }
}
