//! What has to be looked at, batch by batch, and which of several runs looks at which batch.
//!
//! Batches are those of one run whoever makes them, for a network's last digits depend on what it sees together. Every run gets its
//! share of every set, so that all take about as long; its batches stand one behind the other, set by set, as they are read.

use std::ops::Range;

use crate::export::Shard;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The pictures of a set beside their partners, by its place.
    Pairs(usize),
    /// A part of the real pictures.
    Real(usize),
    /// A set.
    Set(usize),
}

/// A set on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) what: What,
    /// Pictures of a batch.
    batch: usize,
    /// Run by run of one size, `[C, H, W]`, the places of its pictures.
    pub(super) runs: Vec<(Range<usize>, [usize; 3])>,
    /// Its batches, each with the place of its run.
    batches: Vec<(usize, Range<usize>)>,
}

impl Job {
    /// Every run in batches of so many.
    pub(super) fn new(what: What, runs: Vec<(Range<usize>, [usize; 3])>, batch: usize) -> Self {
        let batch = batch.max(1);
        let of_run = |(place, (run, _)): (usize, &(Range<usize>, [usize; 3]))| {
            let end = run.end;
            run.clone().step_by(batch).map(move |first| (place, first..(first + batch).min(end))).collect::<Vec<_>>()
        };
        let batches = runs.iter().enumerate().flat_map(of_run).collect();
        Self { what, batch, runs, batches }
    }
}

/// Batches of one run of one set, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Streak {
    pub(super) what: What,
    /// Of its pictures, `[C, H, W]`.
    pub(super) shape: [usize; 3],
    /// Pictures of a batch.
    pub(super) batch: usize,
    /// Which of the set's.
    run: usize,
    /// Its pictures.
    pub(super) range: Range<usize>,
    /// Places of its batches in all of the work.
    pub(super) places: Range<usize>,
}

impl Streak {
    /// What is left of it behind this place.
    fn behind(mut self, next: usize) -> Option<Self> {
        let done = next.clamp(self.places.start, self.places.end) - self.places.start;
        self.places.start += done;
        self.range.start += done * self.batch;
        (!self.places.is_empty()).then_some(self)
    }

    /// The batch that a picture is in.
    fn place_of(&self, picture: usize) -> usize {
        self.places.start + (picture - self.range.start) / self.batch
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    /// Batches by job and place, so that any piece of this has its share of every job.
    order: Vec<(usize, usize)>,
}

impl Plan {
    pub(super) fn new(jobs: Vec<Job>) -> Self {
        let of_job = |(place, job): (usize, &Job)| (0..job.batches.len()).map(move |batch| (place, batch)).collect();
        let mut order: Vec<(usize, usize)> = jobs.iter().enumerate().flat_map::<Vec<_>, _>(of_job).collect();
        // By how much of its job comes before the middle of a batch.
        let half = |(job, batch): &(usize, usize)| (2 * *batch as u128 + 1, jobs[*job].batches.len() as u128);
        order.sort_by(|a, b| {
            let ((a_before, a_all), (b_before, b_all)) = (half(a), half(b));
            (a_before * b_all).cmp(&(b_before * a_all)).then_with(|| a.cmp(b))
        });
        Self { jobs, order }
    }

    /// Batches of all sets.
    pub(super) const fn len(&self) -> usize {
        self.order.len()
    }

    /// Those at `own`, set by set, but for what is done: all before the place `next`.
    pub(super) fn work(&self, own: Range<usize>, next: usize) -> Vec<Streak> {
        let mut batches = self.order[own.clone()].to_vec();
        batches.sort_unstable();
        let mut streaks: Vec<(usize, Streak)> = Vec::new();
        for (place, (job, batch)) in own.zip(batches) {
            let Job { what, runs, batches, .. } = &self.jobs[job];
            let (run, range) = batches[batch].clone();
            match streaks.last_mut() {
                Some((known, streak)) if (*known, streak.run) == (job, run) => {
                    streak.range.end = range.end;
                    streak.places.end = place + 1;
                }
                _ => {
                    let (what, shape, batch) = (*what, runs[run].1, self.jobs[job].batch);
                    streaks.push((job, Streak { what, shape, batch, run, range, places: place..place + 1 }));
                }
            }
        }
        streaks.into_iter().filter_map(|(_, streak)| streak.behind(next)).collect()
    }

    /// The batches of one thing in order, where so many runs looked at them.
    pub(super) fn streaks_of(&self, what: What, runs: u32) -> Vec<Streak> {
        let all = Shard::all(runs).flat_map(|shard| self.work(shard.cut(&(0..self.len()), 1), 0));
        all.filter(|streak| streak.what == what).collect()
    }

    /// A thing's job; none of what was seen before.
    pub(super) fn job(&self, what: What) -> Option<&Job> {
        self.jobs.iter().find(|job| job.what == what)
    }
}

/// What comes of a streak piece by piece, until a batch has all of it: pictures that cannot be read cut it into pieces.
pub(super) struct Pieces<'a, T> {
    streak: &'a Streak,
    /// The first place that is not whole, and that of the batch under way.
    next: usize,
    at: usize,
    is_begun: bool,
    /// What came of the batch under way.
    pub(super) held: T,
}

impl<'a, T: Default> Pieces<'a, T> {
    pub(super) fn new(streak: &'a Streak) -> Self {
        let first = streak.places.start;
        Self { streak, next: first, at: first, is_begun: false, held: T::default() }
    }

    /// A piece begins with this picture; returns what is whole, with its first place and the first one behind it.
    pub(super) fn begin(&mut self, picture: usize) -> Option<((usize, usize), T)> {
        let place = self.streak.place_of(picture);
        let whole = (self.is_begun && place > self.at).then(|| {
            let places = (std::mem::replace(&mut self.next, place), place);
            (places, std::mem::take(&mut self.held))
        });
        (self.at, self.is_begun) = (place, true);
        whole
    }

    /// The rest, which may be nothing.
    pub(super) fn end(self) -> ((usize, usize), T) {
        ((self.next, self.streak.places.end), self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [3, 8, 8];
    const WIDE: [usize; 3] = [3, 8, 16];

    fn plan() -> Plan {
        Plan::new(vec![
            Job::new(What::Pairs(1), vec![(0..90, SHAPE)], 10),
            Job::new(What::Real(0), vec![(0..35, SHAPE), (35..36, WIDE), (36..50, SHAPE)], 10),
            Job::new(What::Set(0), vec![(0..7, SHAPE)], 10),
            Job::new(What::Set(1), Vec::new(), 10),
        ])
    }

    #[test]
    fn any_number_of_runs_looks_at_every_batch_of_one_run_once() {
        let plan = plan();
        assert_eq!(plan.len(), 9 + (4 + 1 + 2) + 1);
        for runs in [1, 2, 3, 5, 17, 40] {
            let mut places = 0;
            for shard in Shard::all(runs) {
                for streak in plan.work(shard.cut(&(0..plan.len()), 1), 0) {
                    assert_eq!(streak.places.start, places, "one behind the other");
                    places = streak.places.end;
                }
            }
            assert_eq!(places, plan.len(), "{runs} runs");
            for job in &plan.jobs {
                let mut batches = Vec::new();
                for streak in plan.streaks_of(job.what, runs) {
                    assert_eq!(streak.shape, job.runs[streak.run].1);
                    assert_eq!(streak.range.len().div_ceil(10), streak.places.len(), "{streak:?}");
                    let end = streak.range.end;
                    let of_streak = streak.range.step_by(10).map(|first| (streak.run, first..(first + 10).min(end)));
                    batches.extend(of_streak);
                }
                assert_eq!(batches, job.batches, "{runs} runs have the batches of one, in order");
            }
        }
    }

    #[test]
    fn every_run_has_its_share_of_every_set() {
        let plan = plan();
        for shard in Shard::all(3) {
            let count = |what| -> usize {
                let work = plan.work(shard.cut(&(0..plan.len()), 1), 0);
                work.iter().filter(|streak| streak.what == what).map(|streak| streak.places.len()).sum()
            };
            assert!((2..=4).contains(&count(What::Pairs(1))), "{shard}: {}", count(What::Pairs(1)));
            assert!((1..=3).contains(&count(What::Real(0))), "{shard}: {}", count(What::Real(0)));
        }
    }

    #[test]
    fn work_goes_on_behind_what_is_done() {
        let plan = plan();
        let whole = plan.work(0..plan.len(), 0);
        assert_eq!(
            whole.iter().map(|streak| streak.range.clone()).collect::<Vec<_>>(),
            [0..90, 0..35, 35..36, 36..50, 0..7]
        );
        let rest = plan.work(0..plan.len(), 11);
        assert_eq!((rest[0].range.clone(), rest[0].places.clone(), rest.len()), (20..35, 11..13, 4));
        assert_eq!(plan.work(0..plan.len(), 13)[0].range, 35..36);
        assert!(plan.work(0..plan.len(), plan.len()).is_empty());
        assert_eq!(plan.job(What::Set(0)).map(|job| job.runs.len()), Some(1));
        assert!(plan.job(What::Set(2)).is_none());
    }

    #[test]
    fn pieces_become_batches_and_what_cannot_be_read_is_no_hole() {
        let streak = plan().work(0..17, 0).remove(0);
        let mut pieces: Pieces<'_, Vec<usize>> = Pieces::new(&streak);
        let mut whole = Vec::new();
        // Nothing of the batches at 0, 3 and 4 can be read, and not all of the one at 1.
        for first in [10, 14, 20, 50] {
            whole.extend(pieces.begin(first));
            pieces.held.push(first);
        }
        assert_eq!(whole, [((0, 2), vec![10, 14]), ((2, 5), vec![20])]);
        assert_eq!(pieces.end(), ((5, 9), vec![50]));
        assert_eq!(Pieces::<'_, Vec<usize>>::new(&streak).end(), ((0, 9), Vec::new()));
    }
}
