//! What goes on.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::disk::Ticket;
use super::preview::Preview;
use crate::trace::RunId;
use crate::worker::{JobId, MemoryEstimate, Rest};

/// Weight of the newest iteration in the running mean of its duration.
const TIMING_WEIGHT: f64 = 0.1;

/// What goes on, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// Nothing.
    Idle,
    /// A session file is written, and nothing else goes on.
    Saving {
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// A session file is opened; nothing else can be done until it is there.
    Opening {
        /// Bytes so far.
        done: u64,
        /// Bytes in all; 0 before they are known.
        of: u64,
    },
    /// A model is loaded or kernels are tuned.
    Preparing {
        /// In words.
        what: String,
        /// Step, from 1.
        step: u32,
        /// Steps in all.
        of: u32,
    },
    /// A file is read.
    Loading {
        /// In words.
        what: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        of: u64,
    },
    /// Pictures are made.
    Generating {
        /// Sampling steps done.
        done: u32,
        /// Sampling steps in all.
        of: u32,
    },
    /// The making of pictures is held.
    Held {
        /// Sampling steps done.
        done: u32,
        /// Sampling steps in all.
        of: u32,
    },
    /// The first state of a run is computed.
    Evaluating,
    /// Iterations go on.
    Running,
    /// A plan is held.
    Paused,
    /// The last piece of work failed; the notice says why.
    Failed,
    /// The compute thread has died.
    Crashed(String),
}

/// How far a run's plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Iterations asked for; `None` has no end.
    pub of: Option<u32>,
    /// Iterations done.
    pub done: u32,
}

impl Plan {
    pub(super) fn left(self) -> Option<NonZeroU32> {
        self.of.and_then(|of| NonZeroU32::new(of.saturating_sub(self.done)))
    }

    pub(super) fn is_done(self) -> bool {
        self.of.is_some_and(|of| of <= self.done)
    }
}

/// A run on its way through its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Going {
    pub(super) run: RunId,
    pub(super) plan: Plan,
    /// A plan that was held when single steps were asked for.
    pub(super) held: Option<Plan>,
    /// It was asked to stop or to pause.
    pub(super) ending: bool,
    /// Iterations that the compute thread was asked for, counted as those of the plan.
    asked: Option<u32>,
}

impl Going {
    pub(super) const fn new(run: RunId, plan: Plan) -> Self {
        Self { run, plan, held: None, ending: false, asked: plan.of }
    }

    /// Whether it is to be held, since its plan was cut to what is done.
    pub(super) fn is_too_far(&self) -> bool {
        let is_cut = self.plan.of.is_some_and(|of| self.asked.is_none_or(|asked| of < asked));
        is_cut && !self.ending && self.plan.is_done()
    }
}

/// A file that is being opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) ticket: Ticket,
    path: PathBuf,
    pub(super) done: u64,
    pub(super) of: u64,
    /// It was asked to stop; whether it does, the disk will say.
    pub(super) stopping: bool,
    /// What goes on when it comes to nothing.
    before: Box<Phase>,
}

/// The one thing that goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The compute thread rests, and holds this run.
    Idle(Option<RunId>),
    /// Pictures are made.
    Making,
    /// The making of pictures is held, after so many steps of so many.
    Held(u32, u32),
    /// The first state of a run is computed.
    Judging(Going),
    /// Iterations go on.
    Running(Going),
    /// A plan is held.
    Paused(Going),
    /// The last piece of work failed.
    Failed,
    /// The compute thread has died, of this.
    Dead(String),
    /// A file is opened. What is below can only change by what was asked for before.
    Opening(Opening),
}

/// What goes on, and what is known of it.
#[derive(Debug)]
pub(super) struct Work {
    phase: Phase,
    /// What the compute thread says of its way to the next result.
    pub(super) progress: Option<Activity>,
    job: JobId,
    tickets: Ticket,
    /// Files that are being written: bytes so far and in all.
    pub(super) savings: BTreeMap<Ticket, (u64, u64)>,
    pub(super) estimate: Option<MemoryEstimate>,
    /// Pictures that are read since there was nothing to lose: it was not asked whether they may replace any iterates.
    pub(super) unasked: Option<Vec<PathBuf>>,
    /// The piece of work that began the newest run: what older ones say of a run is of one that had the same name.
    pub(super) run_since: JobId,
    /// Target classes are still to be taken from the classifier's first verdict.
    pub(super) label_by_verdict: bool,
    /// Running mean.
    pub(super) secs_per_iteration: Option<f64>,
    /// Mean of the sampling steps of the pictures that are made.
    pub(super) secs_per_step: Option<f64>,
    /// It was said that computing waits for the disk.
    pub(super) told_waiting: bool,
    /// Pictures that an edit has on their way.
    pub(super) preview: Option<Preview>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            phase: Phase::Idle(None),
            progress: None,
            job: JobId(0),
            tickets: 0,
            savings: BTreeMap::new(),
            estimate: None,
            unasked: None,
            run_since: JobId(0),
            label_by_verdict: false,
            secs_per_iteration: None,
            secs_per_step: None,
            told_waiting: false,
            preview: None,
        }
    }
}

impl Work {
    /// What the compute thread does: below a file that is being opened, what goes on when that comes to nothing.
    pub(super) fn phase(&self) -> &Phase {
        match &self.phase {
            Phase::Opening(opening) => &opening.before,
            phase => phase,
        }
    }

    /// Something else goes on now.
    pub(super) fn set(&mut self, next: Phase) {
        self.progress = None;
        self.preview = self.preview.take().filter(|_| matches!(next, Phase::Making | Phase::Held(..)));
        match &mut self.phase {
            Phase::Opening(opening) => *opening.before = next,
            phase => *phase = next,
        }
    }

    pub(super) const fn opening(&self) -> Option<&Opening> {
        match &self.phase {
            Phase::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    pub(super) const fn opening_mut(&mut self) -> Option<&mut Opening> {
        match &mut self.phase {
            Phase::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    /// A file is opened from now on.
    pub(super) fn begin_opening(&mut self, path: PathBuf) -> Ticket {
        let ticket = self.ticket();
        let before = Box::new(std::mem::replace(&mut self.phase, Phase::Failed));
        self.phase = Phase::Opening(Opening { ticket, path, done: 0, of: 0, stopping: false, before });
        ticket
    }

    /// The opening `ticket` is over; gives back what was opened, or nothing when that is not what goes on.
    pub(super) fn end_opening(&mut self, ticket: Ticket) -> Option<PathBuf> {
        self.opening().filter(|opening| opening.ticket == ticket)?;
        let Phase::Opening(opening) = std::mem::replace(&mut self.phase, Phase::Failed) else { return None };
        self.phase = *opening.before;
        Some(opening.path)
    }

    /// Names the next opening or saving.
    pub(super) const fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// The piece of work that results are awaited of.
    pub(super) const fn job(&self) -> JobId {
        self.job
    }

    /// Another piece of work: what older ones still send is ignored.
    pub(super) const fn new_job(&mut self) -> JobId {
        self.job = JobId(self.job.0 + 1);
        self.job
    }

    pub(super) const fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Making | Phase::Judging(_) | Phase::Running(_))
    }

    /// Whether the first state of a run is computed, and nothing is planned behind it.
    pub(super) fn only_judges(&self) -> bool {
        matches!(&self.phase, Phase::Judging(Going { plan: Plan { of: Some(0), .. }, ending: false, .. }))
    }

    pub(super) fn is_dead(&self) -> bool {
        matches!(self.phase(), Phase::Dead(_))
    }

    /// The run that the compute thread holds.
    pub(super) fn run(&self) -> Option<RunId> {
        match self.phase() {
            Phase::Idle(run) => *run,
            Phase::Judging(going) | Phase::Running(going) | Phase::Paused(going) => Some(going.run),
            _ => None,
        }
    }

    /// The run that is on its way.
    pub(super) fn going(&self) -> Option<&Going> {
        match self.phase() {
            Phase::Judging(going) | Phase::Running(going) | Phase::Paused(going) => Some(going),
            _ => None,
        }
    }

    pub(super) fn going_mut(&mut self) -> Option<&mut Going> {
        let phase = match &mut self.phase {
            Phase::Opening(opening) => &mut *opening.before,
            phase => phase,
        };
        match phase {
            Phase::Judging(going) | Phase::Running(going) | Phase::Paused(going) => Some(going),
            _ => None,
        }
    }

    /// The plan that is held.
    pub(super) fn paused(&self) -> Option<&Going> {
        match self.phase() {
            Phase::Paused(going) => Some(going),
            _ => None,
        }
    }

    /// What was planned with `was` iterations, as the settings had it, is planned with so many: also while it goes on or is
    /// held. Single steps are asked for otherwise.
    pub(super) fn replan(&mut self, was: Option<u32>, is: Option<u32>) {
        let Some(going) = self.going_mut() else { return };
        let plan = going.held.as_mut().unwrap_or(&mut going.plan);
        if plan.of == was {
            plan.of = is;
        }
    }

    /// Whether what was said by `job` is about the run that the compute thread holds. It may have got another name since.
    pub(super) fn is_of_run(&self, job: JobId, run: RunId) -> bool {
        job >= self.run_since && self.run() == Some(run)
    }

    /// The disk thread has died: nothing is opened or saved any more.
    pub(super) fn end_files(&mut self) {
        self.savings.clear();
        if let Some(ticket) = self.opening().map(|opening| opening.ticket) {
            self.end_opening(ticket);
        }
    }

    /// The current work is given up: nothing goes on, or nothing can.
    pub(super) fn give_up(&mut self) {
        self.new_job();
        match self.phase() {
            Phase::Dead(_) => {}
            _ => self.set(Phase::Idle(None)),
        }
    }

    /// Another state of the run is there; `first` when it is where the run starts.
    pub(super) fn take_state(&mut self, first: bool, secs: f64) {
        self.progress = None;
        if !first {
            let mean = self.secs_per_iteration.unwrap_or(secs);
            self.secs_per_iteration = Some(mean + TIMING_WEIGHT * (secs - mean));
        }
        let Some(going) = self.going_mut() else { return };
        going.plan.done += u32::from(!first);
        let going = *going;
        // That the plan is done the compute thread says itself: only then can it take the next one.
        if matches!(self.phase(), Phase::Judging(_)) && going.plan.of != Some(0) {
            self.set(Phase::Running(going));
        }
    }

    /// The compute thread rests. `has_state`: whether a run has a state to go on from; one that was stopped while its
    /// classifier was read the compute thread does not hold. Gives back a plan that became longer than what the compute thread was asked for.
    pub(super) fn rest(&mut self, rest: Rest, has_state: impl Fn(RunId) -> bool) -> Option<Going> {
        let is_unheld = rest == Rest::Stopped && matches!(self.phase(), Phase::Judging(_));
        let run = self.run().filter(|run| has_state(*run) && !is_unheld);
        let going = self.going().copied().filter(|going| run == Some(going.run));
        let longer =
            going.filter(|going| rest == Rest::Finished && going.plan.of != going.asked && !going.plan.is_done());
        let held = |run, plan: Plan| {
            if plan.is_done() { Phase::Idle(Some(run)) } else { Phase::Paused(Going::new(run, plan)) }
        };
        let next = match (going, &self.progress) {
            (Some(Going { run, held: Some(plan), .. }), _) if rest == Rest::Finished => held(run, plan),
            (Some(Going { run, plan, .. }), _) if rest == Rest::Paused => held(run, plan),
            (None, Some(Activity::Generating { done, of })) if rest == Rest::Paused => Phase::Held(*done, *of),
            _ => Phase::Idle(run),
        };
        self.set(next);
        longer.filter(|going| !going.ending)
    }

    /// As it is shown.
    pub(super) fn activity(&self) -> Activity {
        match &self.phase {
            Phase::Opening(Opening { done, of, .. }) => Activity::Opening { done: *done, of: *of },
            Phase::Making | Phase::Judging(_) | Phase::Running(_) if self.progress.is_some() => {
                self.progress.clone().unwrap_or(Activity::Idle)
            }
            Phase::Idle(_) => match self.savings.values().next() {
                Some((done, of)) => Activity::Saving { done: *done, of: *of },
                None => Activity::Idle,
            },
            Phase::Making => Activity::Generating { done: 0, of: 0 },
            Phase::Held(done, of) => Activity::Held { done: *done, of: *of },
            Phase::Judging(_) => Activity::Evaluating,
            Phase::Running(_) => Activity::Running,
            Phase::Paused(_) => Activity::Paused,
            Phase::Failed => Activity::Failed,
            Phase::Dead(text) => Activity::Crashed(text.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(plan: Plan, held: Option<Plan>) -> Work {
        let mut work = Work::default();
        work.set(Phase::Running(Going { held, ..Going::new(RunId(1), plan) }));
        work
    }

    #[test]
    fn a_run_that_was_stopped_before_its_first_state_is_not_gone_on_with() {
        let mut work = running(Plan::default(), None);
        work.rest(Rest::Stopped, |_| false);
        assert_eq!((work.run(), work.activity()), (None, Activity::Idle));
    }

    #[test]
    fn a_step_in_a_held_plan_leaves_the_rest_of_it_held() {
        let (one, held) = (Plan { of: Some(1), done: 1 }, Plan { of: Some(15), done: 4 });
        let mut work = running(one, Some(held));
        work.rest(Rest::Finished, |_| true);
        assert_eq!(work.paused().map(|going| going.plan), Some(held));
        let mut work = running(one, Some(held));
        work.rest(Rest::Stopped, |_| true);
        assert_eq!((work.run(), work.activity()), (Some(RunId(1)), Activity::Idle));
    }

    #[test]
    fn a_plan_follows_the_settings_while_it_goes_on_and_while_it_is_held() {
        let plan = |of, done| Plan { of, done };
        let mut work = running(plan(Some(15), 5), None);
        work.rest(Rest::Paused, |_| true);
        work.replan(Some(15), None);
        assert_eq!(work.paused().map(|going| going.plan), Some(plan(None, 5)));
        let mut work = running(plan(Some(15), 15), None);
        work.replan(Some(15), Some(20));
        assert_eq!(work.rest(Rest::Finished, |_| true).map(|going| going.plan), Some(plan(Some(20), 15)));
        let mut work = running(plan(Some(15), 5), None);
        work.replan(Some(15), Some(6));
        assert!(!work.going().unwrap().is_too_far());
        work.take_state(false, 1.0);
        assert!(work.going().unwrap().is_too_far());
        assert!(work.rest(Rest::Paused, |_| true).is_none() && work.activity() == Activity::Idle, "nothing is left");
        // A single step stays one; the plan that it interrupted follows.
        let mut work = running(plan(Some(1), 0), Some(plan(Some(15), 6)));
        work.replan(Some(15), Some(20));
        work.rest(Rest::Finished, |_| true);
        assert_eq!(work.paused().map(|going| going.plan), Some(plan(Some(20), 6)));
    }

    #[test]
    fn the_making_of_pictures_is_held_where_it_is() {
        let mut work = Work::default();
        work.set(Phase::Making);
        work.progress = Some(Activity::Generating { done: 3, of: 18 });
        work.rest(Rest::Paused, |_| true);
        assert_eq!((work.activity(), work.is_busy()), (Activity::Held { done: 3, of: 18 }, false));
    }

    #[test]
    fn a_plan_that_is_done_goes_on_until_the_compute_thread_rests() {
        let mut work = Work::default();
        work.set(Phase::Judging(Going::new(RunId(1), Plan { of: Some(1), done: 0 })));
        work.take_state(true, 1.0);
        work.take_state(false, 1.0);
        assert_eq!(work.activity(), Activity::Running);
        work.rest(Rest::Finished, |_| true);
        assert_eq!(work.activity(), Activity::Idle);
    }

    #[test]
    fn what_happens_while_a_file_opens_is_there_when_it_comes_to_nothing() {
        let mut work = running(Plan { of: None, done: 3 }, None);
        let ticket = work.begin_opening(PathBuf::from("a"));
        assert!(!work.is_busy() && work.run() == Some(RunId(1)));
        work.rest(Rest::Paused, |_| true);
        assert!(matches!(work.activity(), Activity::Opening { .. }));
        assert!(work.end_opening(ticket + 1).is_none() && work.end_opening(ticket).is_some());
        assert_eq!(work.activity(), Activity::Paused);
        work.begin_opening(PathBuf::from("b"));
        work.set(Phase::Dead("of nothing".to_owned()));
        assert!(work.is_dead());
        work.give_up();
        assert!(work.is_dead(), "what is dead is not idle");
    }
}
