//! What happened: a tree of runs, append-only; every run is a list of states with numbers per sample.
//!
//! A run starts from the generated pictures or from state k of another run; the ball's centre stays the origin. This module
//! holds numbers only, the pictures of the states live in the session's iterate store. It knows no device and no window.

pub mod curve;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::classifier::probability_of;
use crate::refiner::{Norm, Numbers, RefineSettings, best_of};

/// Names a run; unique within a session and rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// One state: `iteration` steps behind it, computed by `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateId {
    /// The run that computed it.
    pub run: RunId,
    /// Iterations behind it.
    pub iteration: u32,
}

/// Settings that came into force during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The first state that was computed with them is `iteration + 1`.
    pub iteration: u32,
    /// The settings.
    pub settings: RefineSettings,
}

/// A run: where it started, with what, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// The state that it started from; `None` for the generated pictures.
    pub parent: Option<StateId>,
    /// Settings at the start.
    pub settings: RefineSettings,
    /// Later settings, in order.
    pub changes: Vec<Change>,
    /// The class that every sample is refined towards, when it is not its label.
    #[serde(default)]
    pub targets: Option<Vec<usize>>,
    states: Vec<Numbers>,
}

impl Run {
    /// Iterations behind its first state.
    #[must_use]
    pub const fn first_iteration(&self) -> u32 {
        match self.parent {
            Some(parent) => parent.iteration,
            None => 0,
        }
    }

    /// Iterations behind its last state; `None` before the first state.
    ///
    /// # Panics
    /// Never: a run has fewer than 2^32 states.
    #[must_use]
    pub fn last_iteration(&self) -> Option<u32> {
        let count = u32::try_from(self.states.len()).expect("fewer than 2^32 states");
        count.checked_sub(1).map(|last| self.first_iteration() + last)
    }

    /// Numbers of the state with `iteration` steps behind it.
    #[must_use]
    pub fn numbers(&self, iteration: u32) -> Option<&Numbers> {
        self.states.get(iteration.checked_sub(self.first_iteration())? as usize)
    }

    /// The settings that led to the state `iteration`.
    #[must_use]
    pub fn settings_at(&self, iteration: u32) -> &RefineSettings {
        self.changes.iter().rev().find(|change| change.iteration < iteration).map_or(&self.settings, |c| &c.settings)
    }
}

/// The tree of runs of one set of origins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    runs: BTreeMap<RunId, Run>,
}

impl Trace {
    /// Adds a run without states.
    pub fn begin(&mut self, id: RunId, parent: Option<StateId>, settings: RefineSettings) {
        self.runs.insert(id, Run { id, parent, settings, changes: Vec::new(), targets: None, states: Vec::new() });
    }

    /// Appends a state; returns false when it does not follow the last one, and drops it then.
    pub fn push(&mut self, id: StateId, numbers: Numbers) -> bool {
        let Some(run) = self.runs.get_mut(&id.run) else { return false };
        let next = run.last_iteration().map_or(run.first_iteration(), |last| last + 1);
        if id.iteration != next {
            return false;
        }
        run.states.push(numbers);
        true
    }

    /// Records that settings changed after state `iteration`.
    pub fn change(&mut self, id: RunId, change: Change) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.changes.push(change);
        }
    }

    /// Records what the samples of a run are refined towards.
    pub fn set_targets(&mut self, id: RunId, targets: Vec<usize>) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.targets = Some(targets);
        }
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// One run.
    #[must_use]
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id)
    }

    /// The name for the next run.
    #[must_use]
    pub fn next_id(&self) -> RunId {
        RunId(self.runs.keys().next_back().map_or(1, |last| last.0 + 1))
    }

    /// Numbers of one state.
    #[must_use]
    pub fn numbers(&self, id: StateId) -> Option<&Numbers> {
        self.runs.get(&id.run)?.numbers(id.iteration)
    }

    /// The states from the generated pictures to the last state of `run`, through its ancestors. Entry k has k iterations
    /// behind it.
    #[must_use]
    pub fn path(&self, run: RunId) -> Vec<StateId> {
        let mut line = Vec::new();
        let mut next = Some(run);
        while let Some(this) = next.and_then(|run| self.runs.get(&run)) {
            line.push(this);
            next = this.parent.map(|parent| parent.run);
        }
        let mut path = Vec::new();
        for this in line.into_iter().rev() {
            path.truncate(this.first_iteration() as usize);
            if let Some(last) = this.last_iteration() {
                path.extend((this.first_iteration()..=last).map(|iteration| StateId { run: this.id, iteration }));
            }
        }
        path
    }

    /// The state on the path of `run` where the objective of `sample` is largest, the earliest of equals.
    #[must_use]
    pub fn best(&self, run: RunId, sample: usize) -> Option<StateId> {
        let path = self.comparable(run);
        self.best_of_all(&path).get(sample).copied()
    }

    /// The states at the end of the path of `run` whose objectives compare: values of different objectives or targets do not.
    #[must_use]
    pub fn comparable(&self, run: RunId) -> Vec<StateId> {
        let path = self.path(run);
        let settings = |id: &StateId| Some(self.runs.get(&id.run)?.settings_at(id.iteration));
        let Some(last) = path.last().and_then(settings) else { return path };
        let compares = |id: &&StateId| settings(id).is_some_and(|settings| settings.compares_with(last));
        let count = path.iter().rev().take_while(compares).count();
        path[path.len() - count..].to_vec()
    }

    /// The best state of every sample among `path`.
    #[must_use]
    pub fn best_of_all(&self, path: &[StateId]) -> Vec<StateId> {
        let numbers: Vec<_> = path.iter().filter_map(|id| Some((id.iteration, self.numbers(*id)?))).collect();
        let place = |iteration: u32| path.iter().find(|id| id.iteration == iteration).copied();
        best_of(&numbers).into_iter().filter_map(place).collect()
    }
}

/// A quantity that is drawn over the iterations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantity {
    /// The objective.
    Objective,
    /// Softmax probability of the target class, `0..=1`.
    Probability,
    /// `-f_y`.
    Energy,
    /// Distance from the origin in the run's norm.
    Distance,
}

impl Quantity {
    /// All, in the order of the timeline.
    pub const ALL: [Self; 4] = [Self::Objective, Self::Probability, Self::Energy, Self::Distance];

    /// Its value for one sample.
    #[must_use]
    pub fn value(self, numbers: &Numbers, sample: usize, label: usize, norm: Norm) -> f32 {
        let logits = numbers.logits_of(sample);
        let list = |values: &[f32]| values.get(sample).copied().unwrap_or(f32::NAN);
        match self {
            Self::Objective => list(&numbers.objective),
            Self::Probability => probability_of(logits, label),
            Self::Energy => logits.get(label).map_or(f32::NAN, |logit| -logit),
            Self::Distance => match norm {
                Norm::L2 => list(&numbers.delta_l2),
                Norm::Linf => list(&numbers.delta_linf),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::Objective;

    fn numbers(objective: f32) -> Numbers {
        Numbers { objective: vec![objective], logits: vec![objective, 0.0], ..Default::default() }
    }

    fn state(run: u64, iteration: u32) -> StateId {
        StateId { run: RunId(run), iteration }
    }

    #[test]
    fn k_iterations_have_k_plus_one_states_and_strangers_are_dropped() {
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        for k in 0..=3 {
            assert!(trace.push(state(1, k), numbers(k as f32)));
        }
        assert!(!trace.push(state(1, 7), numbers(0.0)) && !trace.push(state(9, 0), numbers(0.0)));
        assert_eq!(trace.path(RunId(1)).len(), 4);
        assert_eq!(trace.next_id(), RunId(2));
    }

    #[test]
    fn a_branch_continues_its_parents_path() {
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        (0..=3).for_each(|k| assert!(trace.push(state(1, k), numbers(k as f32))));
        trace.begin(RunId(2), Some(state(1, 1)), RefineSettings::default());
        (1..=2).for_each(|k| assert!(trace.push(state(2, k), numbers(10.0))));
        assert_eq!(trace.path(RunId(2)), [state(1, 0), state(2, 1), state(2, 2)]);
    }

    #[test]
    fn the_best_state_is_sought_within_one_objective() {
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        for (k, value) in [1.0, 9.0, 4.0, f32::NAN, 3.0].into_iter().enumerate() {
            assert!(trace.push(state(1, k as u32), numbers(value)));
        }
        assert_eq!(trace.best(RunId(1), 0), Some(state(1, 1)));
        let settings = RefineSettings { objective: Objective::Ce, ..Default::default() };
        trace.change(RunId(1), Change { iteration: 1, settings });
        assert_eq!(trace.best(RunId(1), 0), Some(state(1, 2)), "9.0 belongs to another objective");
    }
}
