//! The other runs of these pictures, drawn behind the one that is shown, so that runs can be compared.

use crate::refiner::RefineSettings;
use crate::session::Session;
use crate::trace::{Quantity, Run, RunId};

/// Runs that are drawn at most, the newest: more cannot be told apart.
const MOST: usize = 8;

/// What the curves were made for: origins, the run and the settings that are shown, the sample, and states of the others.
type Key = (u64, Option<RunId>, RefineSettings, usize, usize);

/// The curves of one sample in other runs, made again only when they changed.
#[derive(Default)]
pub struct OtherRuns {
    key: Option<Key>,
    curves: Vec<[Vec<f32>; Quantity::ALL.len()]>,
}

impl OtherRuns {
    /// Brings the curves up to date; `settings` are those that led to the state that is shown.
    pub fn update(&mut self, session: &Session, settings: &RefineSettings) {
        let (trace, shown, sample) = (session.trace(), session.shown_run(), session.focused());
        let others = || trace.runs().filter(|run| Some(run.id) != shown);
        // States of a run only become more, and runs that are gone take theirs along.
        let states = others().map(|run| run.last_iteration().map_or(0, |last| last as usize + 1)).sum();
        let key = (session.epoch(), shown, settings.clone(), sample, states);
        if self.key.as_ref() == Some(&key) {
            return;
        }
        self.key = Some(key);
        let mut newest: Vec<&Run> = others().collect();
        newest.reverse();
        newest.truncate(MOST);
        self.curves = newest.into_iter().map(|run| curves(session, run, settings)).collect();
    }

    /// The curves of a quantity, by its place in [`Quantity::ALL`].
    pub fn curves(&self, quantity: usize) -> impl Iterator<Item = &[f32]> {
        self.curves.iter().map(move |curves| curves[quantity].as_slice())
    }
}

/// Every quantity along a run; objectives only where they compare with those that are shown.
fn curves(session: &Session, run: &Run, settings: &RefineSettings) -> [Vec<f32>; Quantity::ALL.len()] {
    let (trace, sample) = (session.trace(), session.focused());
    let labels = session.origins().map_or(&[][..], |origins| &origins.labels);
    let target = run.targets.as_deref().unwrap_or(labels).get(sample).copied().unwrap_or(0);
    let path = trace.path(run.id);
    Quantity::ALL.map(|quantity| {
        let value = |id: &crate::trace::StateId| {
            let compares = trace.settings(*id).is_some_and(|own| own.compares_with(settings));
            let numbers = trace.numbers(*id).filter(|_| compares || quantity != Quantity::Objective);
            numbers.map_or(f32::NAN, |numbers| quantity.value(numbers, sample, target, settings.norm))
        };
        path.iter().map(value).collect()
    })
}
