//! What is computed for the numbers beside a run: the judge looks at the pictures before once, at those after for every update,
//! and at real pictures once, between the updates.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::eye::{Eye, LiveError};
use super::kept::{Kept, Key};
use super::message::{Distance, Numbers, Wish};
use super::reference::{Fit, Reference, ReferenceError, glance};
use super::turn::Turn;
use crate::classifier::labels::listed;
use crate::classifier::{Classifier, translation};
use crate::error::error_chain;
use crate::metrics::{Apart, Features, Judged, MetricError, too_few};
use crate::trace::StateId;
use crate::worker::error::WorkError;
use crate::worker::measure::Eye as _;
use crate::worker::message::ModelInfo;
use crate::worker::models::{Loaded, Models};

/// What the judge saw in the pictures before.
struct Before {
    /// Which pictures, as the session counts them, and which judge, by its SHA-256.
    of: (u64, String),
    features: Features,
    /// Their distance to real pictures that are kept, by the number of these.
    distance: Option<(u64, Result<Apart, MetricError>)>,
}

/// What the judge saw of a state, and the numbers that need no real pictures.
struct Latest {
    state: StateId,
    after: Features,
    numbers: Numbers,
}

impl Latest {
    fn of(wish: &Wish, judging: Judging<'_>, turn: &mut dyn Turn) -> Result<Self, LiveError> {
        let Judging { judge, eye, before } = judging;
        let after = eye.look_at_all(&wish.pictures[1], "after", turn)?;
        let judged = labels_of(wish, &judge.classes).map(|labels| Judged::of(before, &after, &labels));
        let (judge, sha256) = (judge.title.clone(), judge.sha256.clone());
        let numbers = Numbers { judge, sha256, width: after.width(), pictures: after.len(), judged, distance: None };
        Ok(Self { state: wish.state, after, numbers })
    }
}

/// Who judges, and what it saw in the pictures before.
#[derive(Clone, Copy)]
struct Judging<'a> {
    judge: &'a ModelInfo,
    eye: &'a Eye<'a>,
    before: &'a Features,
}

/// A long look at real pictures, between whose pieces the numbers of new states come.
struct Between<'a> {
    turn: &'a mut dyn Turn,
    judging: Judging<'a>,
    latest: &'a mut Latest,
}

impl Turn for Between<'_> {
    fn is_wanted(&mut self) -> bool {
        self.turn.is_wanted()
    }

    fn goes_on(&mut self) -> bool {
        if !self.turn.goes_on() {
            return false;
        }
        let Some(newer) = self.turn.newer() else { return true };
        match Latest::of(&newer, self.judging, self.turn) {
            Ok(latest) => {
                self.turn.tell(latest.state, Ok(latest.numbers.clone()));
                *self.latest = latest;
            }
            Err(LiveError::Stopped) => return false,
            Err(error) => self.turn.tell(newer.state, Err(error_chain(&error))),
        }
        true
    }

    fn looked_at(&mut self, done: usize, all: usize) {
        self.turn.looked_at(done, all);
    }

    fn newer(&mut self) -> Option<Wish> {
        self.turn.newer()
    }

    fn tell(&mut self, state: StateId, found: Result<Numbers, Vec<String>>) {
        self.turn.tell(state, found);
    }
}

/// What is kept from update to update: one judge, what it saw of the pictures before, and mean and covariance of real ones.
pub(super) struct Memory {
    cache: PathBuf,
    models: Models,
    device: Device,
    before: Option<Before>,
    kept: Kept,
}

impl Memory {
    /// Nothing yet; `cache` receives unpacked models.
    pub(super) fn new(cache: PathBuf) -> Self {
        Self { cache, models: Models::default(), device: Device::flex(), before: None, kept: Kept::default() }
    }

    /// The numbers that are wished for, or those of a newer state that was wished for meanwhile; of which state they are.
    ///
    /// # Errors
    /// [`LiveError`]
    pub(super) fn numbers(&mut self, wish: &Wish, turn: &mut dyn Turn) -> Result<(StateId, Numbers), LiveError> {
        let [_, shape @ ..] = wish.pictures[0].shape();
        let device = self.device.clone();
        let loaded = self.load(&wish.of.judge, turn)?;
        loaded.model.check(shape)?;
        let [_, height, width] = shape;
        let eye = Eye::of(&loaded.model, [height, width], wish.memory_mib, &device)?;
        let mut before = self.before(wish, &loaded.info.sha256, &eye, turn)?;
        let found = self.compare(wish, &loaded.info, &eye, &mut before, turn);
        self.before = Some(before);
        found
    }

    /// What the pictures after are beside those before.
    fn compare(
        &mut self,
        wish: &Wish,
        judge: &ModelInfo,
        eye: &Eye<'_>,
        before: &mut Before,
        turn: &mut dyn Turn,
    ) -> Result<(StateId, Numbers), LiveError> {
        let judging = Judging { judge, eye, before: &before.features };
        let mut latest = Latest::of(wish, judging, turn)?;
        if let Some(path) = &wish.of.reference {
            let [_, shape @ ..] = wish.pictures[0].shape();
            let of = Key::of(path, &judge.sha256, shape);
            let fit = Fit { judge: Some((&judge.sha256, latest.after.width())), shape };
            let fault = self.look_at_real((path, &of), (wish.of.choosing, fit), judging, &mut latest, turn)?;
            let distance = match (fault, self.kept.get(&of)) {
                (Some(why), _) => Err(why),
                (None, Some(real)) => distances(real, before, &latest.after).map_err(|error| error.to_string()),
                (None, None) => return Err(LiveError::Stopped),
            };
            latest.numbers.distance = Some(distance);
        }
        Ok((latest.state, latest.numbers))
    }

    /// Looks at the real pictures where that was not done; why no distance to them can be had, in one sentence.
    fn look_at_real(
        &mut self,
        (path, of): (&Path, &Key),
        (choosing, fit): (u64, Fit<'_>),
        judging: Judging<'_>,
        latest: &mut Latest,
        turn: &mut dyn Turn,
    ) -> Result<Option<String>, LiveError> {
        let few = too_few(latest.after.len(), latest.after.width());
        if self.kept.get(of).is_some() {
            return Ok(few);
        }
        // Whoever has too few pictures need not wait for the real ones, but is told what is wrong with them.
        if self.kept.fault(of, choosing).is_none() {
            let found = glance(path, fit).map_err(|error| error_chain(&error).join(": "));
            self.kept.note(of.clone(), choosing, found);
        }
        let fault = self.kept.fault(of, choosing).and_then(|found| found.clone().err()).or(few);
        if fault.is_some() {
            return Ok(fault);
        }
        turn.tell(latest.state, Ok(latest.numbers.clone()));
        match Reference::open(path, fit, judging.eye, &mut Between { turn, judging, latest }) {
            Ok(real) => self.kept.put(of.clone(), real),
            Err(ReferenceError::Stopped) => return Err(LiveError::Stopped),
            Err(error) => {
                let why = error_chain(&error).join(": ");
                self.kept.note(of.clone(), choosing, Err(why.clone()));
                return Ok(Some(why));
            }
        }
        Ok(None)
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
}

fn distances(
    (number, real): (u64, &Reference),
    before: &mut Before,
    after: &Features,
) -> Result<Distance, MetricError> {
    if before.distance.as_ref().is_none_or(|(of, _)| *of != number) {
        before.distance = Some((number, real.anchor.distance(&before.features)));
    }
    let from = real.anchor.distance(after)?;
    let of = match &before.distance {
        Some((_, Ok(before))) => before.shift(&from),
        Some((_, Err(error))) => return Err(error.clone()),
        None => from.shift(&from),
    };
    let doubt = real.anchor.doubt().map(str::to_owned).or_else(|| real.note.clone());
    let (features, held_out) = (after.width(), real.held_out);
    Ok(Distance { of, features, real: real.anchor.count(), held_out, doubt })
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
mod tests;
