//! The thread's place at its desk: which wish is the newest, how long it must rest, and who hears what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::message::{Numbers, Subject, Told, Wish};
use super::pace::{PERIOD, Pace};
use crate::trace::StateId;
use crate::worker::Wake;

/// How often who rests looks whether he still must.
const LOOK: Duration = Duration::from_millis(20);

/// What whoever computes says between two pieces.
pub(super) trait Turn {
    /// Whether what is computed is still wanted.
    fn is_wanted(&mut self) -> bool;

    /// Rests for what was computed so far, if that is due; whether to go on with it then.
    fn goes_on(&mut self) -> bool;

    /// Tells how many of the real pictures were looked at.
    fn looked_at(&mut self, done: usize, all: usize);

    /// A newer wish for the same, as soon as numbers may come again; rests first for what was computed so far.
    fn newer(&mut self) -> Option<Wish>;

    /// Tells the numbers of a state, or why there are none, and goes on.
    fn tell(&mut self, state: StateId, found: Result<Numbers, Vec<String>>);
}

/// Wishes in, tidings out.
pub(super) struct Desk {
    wishes: Receiver<Wish>,
    told: Sender<Told>,
    wake: Wake,
    /// Whether something else computes, which must not be slowed down.
    others_compute: Arc<AtomicBool>,
    /// The newest wish, which waits.
    newest: Option<Wish>,
    is_open: bool,
    pace: Pace,
    /// Since when it computes.
    since: Instant,
    /// When the last numbers were told.
    told_at: Option<Instant>,
}

impl Desk {
    pub(super) fn new(
        wishes: Receiver<Wish>,
        told: Sender<Told>,
        (wake, others_compute): (Wake, Arc<AtomicBool>),
    ) -> Self {
        Self {
            wishes,
            told,
            wake,
            others_compute,
            newest: None,
            is_open: true,
            pace: Pace::default(),
            since: Instant::now(),
            told_at: None,
        }
    }

    /// The newest wish, as soon as there is one and the rest behind the last one is over; `None` when nobody wishes any more.
    pub(super) fn next(&mut self) -> Option<Wish> {
        self.rest(true, None);
        if let Some(left) = self.told_at.and_then(|at| Duration::from_secs_f64(PERIOD).checked_sub(at.elapsed())) {
            self.wait(left, |desk| desk.is_open);
        }
        self.drain();
        while self.newest.is_none() && self.is_open {
            match self.wishes.recv() {
                Ok(wish) => self.newest = Some(wish),
                Err(_closed) => self.is_open = false,
            }
            self.drain();
        }
        self.since = Instant::now();
        self.newest.take().filter(|_| self.is_open)
    }

    /// What was computed since the last piece counts.
    pub(super) fn count(&mut self) {
        let beside_others = self.others_compute.load(Ordering::Relaxed);
        self.pace.add(self.since.elapsed().as_secs_f64(), beside_others);
        self.since = Instant::now();
    }

    /// Tells, and wakes whoever draws it.
    pub(super) fn tell(&mut self, told: Told) {
        if matches!(told, Told::Numbers { .. }) {
            self.told_at = Some(Instant::now());
        }
        self.is_open &= self.told.send(told).is_ok();
        (self.wake)();
    }

    /// Takes what has arrived: only the newest is wanted.
    fn drain(&mut self) {
        loop {
            match self.wishes.try_recv() {
                Ok(wish) => self.newest = Some(wish),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.is_open = false;
                    return;
                }
            }
        }
    }

    /// Whether numbers for this are still wanted: not when the judge, the real pictures or the pictures before are others now.
    fn wants(&mut self, subject: &Subject) -> bool {
        self.drain();
        self.is_open && self.newest.as_ref().is_none_or(|newest| newest.of == *subject)
    }

    /// Whether a newer wish for the same waits, and numbers may come again.
    fn has_newer(&mut self, subject: &Subject) -> bool {
        self.drain();
        let is_due = self.told_at.is_none_or(|at| at.elapsed().as_secs_f64() >= PERIOD);
        is_due && self.newest.as_ref().is_some_and(|newest| newest.of == *subject)
    }

    /// Rests for as long as is due, while something else computes and `subject` is still wanted.
    fn rest(&mut self, is_over: bool, subject: Option<&Subject>) {
        let owed = self.pace.owed(is_over);
        let others = self.others_compute.clone();
        let rested = self.wait(Duration::from_secs_f64(owed), |desk| {
            let wanted = match subject {
                Some(subject) => desk.wants(subject),
                None => desk.is_open,
            };
            wanted && others.load(Ordering::Relaxed)
        });
        self.pace.rested(rested.as_secs_f64());
        if !self.others_compute.load(Ordering::Relaxed) {
            self.pace.forgive();
        }
    }

    /// Waits for so long, unless that is over sooner; how long it was. Wishes that come meanwhile are kept.
    fn wait(&mut self, time: Duration, mut goes_on: impl FnMut(&mut Self) -> bool) -> Duration {
        let since = Instant::now();
        while let Some(left) = time.checked_sub(since.elapsed())
            && goes_on(self)
        {
            match self.wishes.recv_timeout(left.min(LOOK)) {
                Ok(wish) => self.newest = Some(wish),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.is_open = false,
            }
        }
        since.elapsed()
    }
}

/// The turn of one wish.
pub(super) struct At<'a> {
    pub(super) desk: &'a mut Desk,
    pub(super) of: &'a Subject,
}

impl Turn for At<'_> {
    fn is_wanted(&mut self) -> bool {
        self.desk.wants(self.of)
    }

    fn goes_on(&mut self) -> bool {
        self.desk.count();
        self.desk.rest(false, Some(self.of));
        self.desk.since = Instant::now();
        self.desk.wants(self.of)
    }

    fn looked_at(&mut self, done: usize, all: usize) {
        self.desk.tell(Told::Looking { of: self.of.clone(), done, all });
    }

    fn newer(&mut self) -> Option<Wish> {
        if !self.desk.has_newer(self.of) {
            return None;
        }
        // What a long look takes is cut into short ones by that, so that numbers come about as often as without it.
        self.desk.count();
        self.desk.rest(true, Some(self.of));
        self.desk.since = Instant::now();
        self.desk.newest.take_if(|newest| newest.of == *self.of)
    }

    fn tell(&mut self, state: StateId, found: Result<Numbers, Vec<String>>) {
        self.desk.tell(Told::Numbers { of: self.of.clone(), state, found });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::trace::RunId;

    fn wish(epoch: u64, iteration: u32) -> Wish {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        Wish {
            of: Subject { epoch, judge: "judge".to_owned(), reference: None, choosing: 0 },
            state: StateId { run: RunId(1), iteration },
            pictures: [images.clone(), images],
            targets: vec![0],
            classes: Vec::new(),
            memory_mib: None,
        }
    }

    /// A desk where something else computes, both ends of its queues, and what says so.
    fn desk() -> (Desk, (Sender<Wish>, Receiver<Told>), Arc<AtomicBool>) {
        let (wishes, taken) = crossbeam::channel::bounded(4);
        let (teller, told) = crossbeam::channel::bounded(4);
        let others = Arc::new(AtomicBool::new(true));
        (Desk::new(taken, teller, (Arc::new(|| ()), others.clone())), (wishes, told), others)
    }

    #[test]
    fn behind_an_update_beside_a_run_the_next_wish_waits_until_the_rest_is_over() {
        let (mut desk, (wishes, _told), others) = desk();
        wishes.send(wish(1, 0)).unwrap();
        desk.pace.add(0.02, true);
        let since = Instant::now();
        assert!(desk.next().is_some());
        assert!(since.elapsed().as_secs_f64() >= 0.38, "19 times 0.02 s: {:?}", since.elapsed());
        // As soon as nothing else computes there is nothing to wait for.
        wishes.send(wish(1, 1)).unwrap();
        desk.pace.add(1e6, true);
        others.store(false, Ordering::Relaxed);
        assert!(desk.next().is_some());
        assert_eq!(desk.pace.owed(true), 0.0);
    }

    #[test]
    fn numbers_come_at_most_once_a_second_also_when_nothing_else_computes() {
        let (mut desk, (wishes, told), others) = desk();
        others.store(false, Ordering::Relaxed);
        let Wish { of, state, .. } = wish(1, 0);
        desk.tell(Told::Numbers { of, state, found: Err(Vec::new()) });
        wishes.send(wish(1, 1)).unwrap();
        let since = desk.told_at.unwrap();
        assert!(desk.next().is_some());
        assert!(since.elapsed().as_secs_f64() >= PERIOD, "{:?}", since.elapsed());
        assert_eq!(told.try_iter().count(), 1);
    }

    #[test]
    fn of_wishes_the_newest_is_done_and_who_closes_the_desk_gets_none() {
        let (mut desk, (wishes, _told), _) = desk();
        for iteration in 0..3 {
            wishes.send(wish(1, iteration)).unwrap();
        }
        assert_eq!(desk.next().map(|wish| wish.state.iteration), Some(2));
        wishes.send(wish(1, 3)).unwrap();
        drop(wishes);
        assert!(desk.next().is_none(), "nobody waits for it");
    }

    #[test]
    fn another_judge_ends_what_is_under_way_and_another_state_does_not() {
        let (mut desk, (wishes, told), others) = desk();
        others.store(false, Ordering::Relaxed);
        let of = wish(1, 0).of;
        let mut turn = At { desk: &mut desk, of: &of };
        assert!(turn.goes_on());
        wishes.send(wish(1, 1)).unwrap();
        assert!(turn.goes_on(), "or no numbers would ever come while a run goes on");
        wishes.send(wish(2, 0)).unwrap();
        assert!(!turn.goes_on() && !turn.is_wanted());
        turn.looked_at(3, 9);
        assert_eq!(told.try_recv(), Ok(Told::Looking { of: of.clone(), done: 3, all: 9 }));
    }

    #[test]
    fn a_newer_state_is_handed_over_within_a_long_look_once_a_second_and_another_subject_is_not() {
        let (mut desk, (wishes, told), others) = desk();
        others.store(false, Ordering::Relaxed);
        let of = wish(1, 0).of;
        let mut turn = At { desk: &mut desk, of: &of };
        assert!(turn.newer().is_none(), "nobody wishes");
        wishes.send(wish(1, 1)).unwrap();
        wishes.send(wish(1, 2)).unwrap();
        assert_eq!(turn.newer().map(|wish| wish.state.iteration), Some(2));
        assert!(turn.newer().is_none(), "it was handed over");
        turn.tell(wish(1, 2).state, Err(Vec::new()));
        assert!(matches!(told.try_recv(), Ok(Told::Numbers { state, .. }) if state.iteration == 2));
        wishes.send(wish(1, 3)).unwrap();
        assert!(turn.newer().is_none(), "numbers were told just now");
        turn.desk.told_at = turn.desk.told_at.and_then(|at| at.checked_sub(Duration::from_secs(1)));
        assert_eq!(turn.newer().map(|wish| wish.state.iteration), Some(3));
        let mut again = wish(1, 3);
        again.of.choosing = 1;
        wishes.send(again).unwrap();
        assert!(turn.newer().is_none() && !turn.is_wanted(), "the same was chosen again, so it is looked at again");
    }

    #[test]
    fn beside_a_run_a_newer_state_waits_until_what_was_looked_at_is_rested_for() {
        let (mut desk, (wishes, _told), _others) = desk();
        let of = wish(1, 0).of;
        desk.pace.add(0.02, true);
        wishes.send(wish(1, 1)).unwrap();
        let since = Instant::now();
        assert!(At { desk: &mut desk, of: &of }.newer().is_some());
        assert!(since.elapsed().as_secs_f64() >= 0.38, "19 times 0.02 s: {:?}", since.elapsed());
    }
}
