//! What happened: a tree of runs, append-only; every run is a list of states with numbers per sample.
//!
//! A run starts from the generated pictures or from state k of another run; the ball's centre stays the origin. This module
//! holds numbers only, the pictures of the states live in the session's iterate store. It knows no device and no window.

pub mod curve;
pub mod quantity;
pub mod summary;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use self::quantity::Quantity;
use crate::refiner::{Numbers, RefineSettings, best_of, first_highest};

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

/// Names several runs that belong together, such as those of a sweep; unique within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u64);

/// What a run is called, and which runs it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// In words, such as "radius 3"; empty for a run that has only its number.
    pub label: String,
    /// The runs that it belongs to.
    pub group: Option<GroupId>,
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
    /// Later settings, in order of their iterations.
    pub changes: Vec<Change>,
    /// The class that every sample is refined towards, when it is not its label.
    #[serde(default)]
    pub targets: Option<Vec<usize>>,
    /// What it is called, and which runs it belongs to.
    #[serde(default)]
    pub tag: Tag,
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
        let later = self.changes.partition_point(|change| change.iteration < iteration);
        later.checked_sub(1).map_or(&self.settings, |last| &self.changes[last].settings)
    }
}

/// Settings with the iterations that were done under them in place of those that were planned: a plan is made longer, cut or
/// given up while a run is on. Before the first iteration there is only the plan.
#[must_use]
pub fn as_done(settings: &RefineSettings, iterations: u32) -> RefineSettings {
    let iterations = NonZeroU32::new(iterations).or(settings.iterations);
    RefineSettings { iterations, ..settings.clone() }
}

/// The tree of runs of one set of origins.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    runs: BTreeMap<RunId, Run>,
    /// The highest name that was ever given away: what still comes of a removed run is taken for no other.
    newest: u64,
}

impl PartialEq for Trace {
    /// Equal runs; what was given away besides is of this session only.
    fn eq(&self, other: &Self) -> bool {
        self.runs == other.runs
    }
}

impl Trace {
    /// Adds a run without states.
    pub fn begin(&mut self, id: RunId, parent: Option<StateId>, settings: RefineSettings) {
        let (changes, states) = (Vec::new(), Vec::new());
        self.newest = self.newest.max(id.0);
        self.runs.insert(id, Run { id, parent, settings, changes, targets: None, tag: Tag::default(), states });
    }

    /// Says what a run is called, and which runs it belongs to.
    pub fn set_tag(&mut self, id: RunId, tag: Tag) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.tag = tag;
        }
    }

    /// Whether a run may go: another one is left, and none of them begins in it.
    #[must_use]
    pub fn is_leaf(&self, id: RunId) -> bool {
        let is_parent = |run: &Run| run.parent.is_some_and(|parent| parent.run == id);
        self.runs.len() > 1 && self.runs.contains_key(&id) && !self.runs.values().any(is_parent)
    }

    /// Forgets a run; returns false when it may not go, and keeps it then.
    pub fn remove(&mut self, id: RunId) -> bool {
        self.is_leaf(id) && self.runs.remove(&id).is_some()
    }

    /// Numbers of the first state of a path, if one classifier judged it and the last one: those of two cannot be compared.
    #[must_use]
    pub fn before(&self, path: &[StateId], last: StateId) -> Option<&Numbers> {
        let first = *path.first()?;
        let judge = |id: StateId| self.run(id.run).map(|run| &run.settings.classifier);
        if judge(first) == judge(last) { self.numbers(first) } else { None }
    }

    /// The runs of a group, oldest first.
    pub fn group(&self, group: GroupId) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(move |run| run.tag.group == Some(group))
    }

    /// Appends a state; returns false when it does not follow the last one, and drops it then. Where a run starts may be told
    /// again, as long as nothing follows it: it was valued anew under settings that changed meanwhile, and these are the run's.
    pub fn push(&mut self, id: StateId, numbers: Numbers) -> bool {
        let Some(run) = self.runs.get_mut(&id.run) else { return false };
        let (first, last) = (run.first_iteration(), run.last_iteration());
        if last == Some(first) && id.iteration == first {
            let changes = std::mem::take(&mut run.changes);
            run.settings = changes.into_iter().next_back().map_or_else(|| run.settings.clone(), |last| last.settings);
            run.states = vec![numbers];
            return true;
        }
        let is_next = id.iteration == last.map_or(first, |last| last + 1);
        if is_next {
            run.states.push(numbers);
        }
        is_next
    }

    /// Records that settings changed after state `iteration`. Before its first iteration they are the run's own, unless it
    /// would start elsewhere, or its start have another value, under them.
    pub fn change(&mut self, id: RunId, change: Change) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let first = run.first_iteration();
        let Change { iteration, settings } = &change;
        if *iteration <= first && settings.compares_with(&run.settings) && settings.starts_like(&run.settings) {
            run.changes.retain(|change| change.iteration > first);
            run.settings = change.settings;
            return;
        }
        // At the end, unless a file lies.
        let place = run.changes.partition_point(|before| before.iteration <= change.iteration);
        run.changes.insert(place, change);
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
        RunId(self.newest.saturating_add(1))
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
            let first = this.first_iteration();
            match this.last_iteration() {
                Some(last) => {
                    path.truncate(first as usize);
                    path.extend((first..=last).map(|iteration| StateId { run: this.id, iteration }));
                }
                // Before its first state a branch is where it came from.
                None => path.truncate(first as usize + 1),
            }
        }
        path
    }

    /// Settings that led to a state.
    #[must_use]
    pub fn settings(&self, id: StateId) -> Option<&RefineSettings> {
        Some(self.runs.get(&id.run)?.settings_at(id.iteration))
    }

    /// The place on a path where the objective of `sample` is largest among those that compare with `place`, the earliest of
    /// equals; the last of these when none is a number.
    #[must_use]
    pub fn best(&self, path: &[StateId], place: usize, sample: usize) -> Option<usize> {
        let range = self.comparable(path, place);
        let objective = |id: &StateId| self.numbers(*id).and_then(|numbers| numbers.objective.get(sample).copied());
        let best = first_highest(path[range.clone()].iter().map(|id| objective(id).unwrap_or(f32::NAN)));
        best.map_or_else(|| range.clone().next_back(), |best| Some(range.start + best))
    }

    /// The stretch of a path around `place` whose objectives compare: values of different objectives or targets do not.
    #[must_use]
    pub fn comparable(&self, path: &[StateId], place: usize) -> Range<usize> {
        self.stretch(path, place, Quantity::Objective)
    }

    /// The stretch of a path around `place` in which values of a quantity compare.
    #[must_use]
    pub fn stretch(&self, path: &[StateId], place: usize, quantity: Quantity) -> Range<usize> {
        let place = place.min(path.len().saturating_sub(1));
        let Some(shown) = path.get(place).and_then(|id| self.settings(*id)) else { return 0..0 };
        // Mostly they are the same ones, which is told at once.
        let compares = |own: &RefineSettings| std::ptr::eq(own, shown) || quantity.compares(own, shown);
        let is_other = |id: &StateId| !self.settings(*id).is_some_and(compares);
        let start = path[..place].iter().rposition(is_other).map_or(0, |last| last + 1);
        let end = path[place..].iter().position(is_other).map_or(path.len(), |first| place + first);
        start..end
    }

    /// The best state of every sample among `path`.
    #[must_use]
    pub fn best_of_all(&self, path: &[StateId]) -> Vec<StateId> {
        let numbers: Vec<_> = path.iter().filter_map(|id| Some((id.iteration, self.numbers(*id)?))).collect();
        let place = |iteration: u32| path.iter().find(|id| id.iteration == iteration).copied();
        best_of(&numbers).into_iter().filter_map(place).collect()
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
    fn numbers_of_another_classifier_are_no_before() {
        let (mut trace, first) = (Trace::default(), StateId { run: RunId(0), iteration: 0 });
        let settings = RefineSettings::default();
        let other = RefineSettings { classifier: "another".to_owned(), ..settings.clone() };
        trace.begin(RunId(0), None, settings.clone());
        assert!(trace.push(first, numbers(1.0)));
        for (run, settings) in [(RunId(1), settings), (RunId(2), other)] {
            trace.begin(run, Some(first), settings);
            assert!(trace.push(StateId { run, iteration: 0 }, numbers(2.0)));
        }
        let path = [first];
        let before = |run| trace.before(&path, StateId { run, iteration: 0 }).map(|numbers| numbers.objective[0]);
        assert_eq!([RunId(0), RunId(1), RunId(2)].map(before), [Some(1.0), Some(1.0), None]);
        assert!(trace.before(&[], first).is_none());
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
        assert_eq!(trace.path(RunId(2)), [state(1, 0), state(1, 1)]);
        (1..=2).for_each(|k| assert!(trace.push(state(2, k), numbers(10.0))));
        assert_eq!(trace.path(RunId(2)), [state(1, 0), state(2, 1), state(2, 2)]);
    }

    #[test]
    fn settings_are_found_whatever_the_order_in_which_changes_are_told() {
        let with = |eps: f64| RefineSettings { eps, ..Default::default() };
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, with(9.0));
        // A dragged slider changes settings several times after one state; a file may hold any order.
        for (iteration, eps) in [(2, 1.0), (5, 2.0), (5, 3.0), (0, 4.0)] {
            trace.change(RunId(1), Change { iteration, settings: with(eps) });
        }
        let run = trace.run(RunId(1)).unwrap();
        let found: Vec<f64> = [0, 1, 2, 3, 5, 6, 90].iter().map(|k| run.settings_at(*k).eps).collect();
        assert_eq!(found, [4.0, 4.0, 4.0, 1.0, 1.0, 3.0, 3.0], "nothing was computed with 9");
    }

    #[test]
    fn runs_of_a_group_are_found_and_older_runs_have_no_name() {
        let mut trace = Trace::default();
        for id in 1..=3 {
            trace.begin(RunId(id), None, RefineSettings::default());
        }
        let tag = |label: &str| Tag { label: label.to_owned(), group: Some(GroupId(7)) };
        trace.set_tag(RunId(1), tag("radius 1"));
        trace.set_tag(RunId(3), tag("radius 2"));
        let labels: Vec<&str> = trace.group(GroupId(7)).map(|run| run.tag.label.as_str()).collect();
        assert_eq!(labels, ["radius 1", "radius 2"]);
        let mut run = serde_json::to_value(trace.run(RunId(2)).unwrap()).unwrap();
        run.as_object_mut().unwrap().remove("tag");
        assert_eq!(&serde_json::from_value::<Run>(run).unwrap(), trace.run(RunId(2)).unwrap());
    }

    #[test]
    fn the_best_state_is_sought_within_one_objective() {
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        for (k, value) in [1.0, 9.0, 4.0, f32::NAN, 3.0].into_iter().enumerate() {
            assert!(trace.push(state(1, k as u32), numbers(value)));
        }
        let path = trace.path(RunId(1));
        assert_eq!(trace.best(&path, 4, 0), Some(1));
        let settings = RefineSettings { objective: Objective::Ce, ..Default::default() };
        trace.change(RunId(1), Change { iteration: 1, settings });
        assert_eq!(trace.best(&path, 4, 0), Some(2), "9.0 belongs to another objective");
        assert_eq!((trace.best(&path, 0, 0), trace.comparable(&path, 1)), (Some(1), 0..2), "to the one that is shown");
        assert_eq!((trace.best(&[], 0, 0), trace.comparable(&[], 3)), (None, 0..0));
    }

    #[test]
    fn a_path_on_which_the_classifier_changes_is_one_stretch_for_lengths_only() {
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        (0..=2).for_each(|k| assert!(trace.push(state(1, k), numbers(0.0))));
        let another = RefineSettings { classifier: "another".to_owned(), ..RefineSettings::default() };
        trace.begin(RunId(2), Some(state(1, 2)), another);
        (2..=4).for_each(|k| assert!(trace.push(state(2, k), numbers(0.0))));
        let path = trace.path(RunId(2));
        for quantity in Quantity::ALL {
            let found = [1, 3].map(|place| trace.stretch(&path, place, quantity));
            let expected = if quantity == Quantity::Distance { [0..5, 0..5] } else { [0..2, 2..5] };
            assert_eq!(found, expected, "{quantity:?}");
        }
    }

    #[test]
    fn a_start_that_is_valued_anew_is_under_the_settings_that_came_before_the_first_iteration() {
        let with = |eps, objective| RefineSettings { objective, eps, ..Default::default() };
        let (mut trace, run) = (Trace::default(), RunId(1));
        trace.begin(run, None, with(3.0, Objective::TargetLogit));
        assert!(trace.push(state(1, 0), numbers(-5.0)));
        // Another radius values nothing anew.
        trace.change(run, Change { iteration: 0, settings: with(6.0, Objective::TargetLogit) });
        assert_eq!(trace.run(run).unwrap().settings_at(0).eps, 6.0);
        // Another objective does; as long as the old value is there, it is no value of the new one.
        trace.change(run, Change { iteration: 0, settings: with(6.0, Objective::Ce) });
        assert_eq!(trace.run(run).unwrap().settings_at(0).objective, Objective::TargetLogit);
        assert!(trace.push(state(1, 0), numbers(-0.2)));
        assert!(trace.push(state(1, 1), numbers(-0.1)));
        let path = trace.path(run);
        assert_eq!((trace.comparable(&path, 1), trace.best(&path, 1, 0)), (0..2, Some(1)));
        assert!(!trace.push(state(1, 0), numbers(9.0)), "once something follows, a start is what it is");
        assert_eq!(trace.numbers(state(1, 0)).unwrap().objective, [-0.2]);
    }

    #[test]
    fn a_run_that_another_begins_in_stays_and_no_name_is_given_twice() {
        let mut trace = Trace::default();
        trace.begin(RunId(1), None, RefineSettings::default());
        assert!(!trace.remove(RunId(1)), "the last one stays");
        assert!(trace.push(state(1, 0), numbers(0.0)));
        trace.begin(RunId(2), Some(state(1, 0)), RefineSettings::default());
        assert!(!trace.remove(RunId(1)) && trace.remove(RunId(2)) && !trace.remove(RunId(2)));
        assert_eq!(trace.next_id(), RunId(3));
    }
}
