//! The tally of all samples, made again only for another state: a thousand classes of many pictures take milliseconds.

use crate::refiner::Numbers;
use crate::session::Session;
use crate::trace::StateId;
use crate::trace::summary::Tally;

/// What it was made for: origins, state, whether that is every sample's best, and the targets.
type Key = (u64, StateId, bool, Vec<usize>);

/// The tally that was made last.
#[derive(Default)]
pub struct Tallied(Option<(Key, Tally)>);

impl Tallied {
    /// That of the state `id`, which is on the screen; `None` before it has numbers.
    pub fn of(
        &mut self,
        session: &Session,
        id: Option<StateId>,
        (before, after): (Option<&Numbers>, Option<&Numbers>),
    ) -> Option<Tally> {
        let (before, after, id) = (before?, after?, id?);
        let targets = (0..session.count()).map(|sample| session.target(sample)).collect();
        let key = (session.epoch(), id, session.shows_best(), targets);
        match &self.0 {
            Some((made_for, tally)) if *made_for == key => Some(*tally),
            _ => {
                let tally = Tally::of((before, after), &key.3, session.trace().settings(id)?);
                self.0 = Some((key, tally));
                Some(tally)
            }
        }
    }
}
