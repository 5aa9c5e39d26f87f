//! How much of the machine's time the numbers beside a run may take.

/// Seconds of rest for every second of computing while something else computes: a twentieth of the time is taken, 5 %.
pub const REST: f64 = 19.0;
/// Seconds that may be computed in a row before the rest: an update of few pictures is done in one go.
const BURST: f64 = 0.25;
/// Fewest seconds from one update to the next, whatever they take.
pub const PERIOD: f64 = 1.0;

/// Seconds that were computed beside other work, and not rested for yet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Pace {
    computed: f64,
}

impl Pace {
    /// So many seconds were computed; beside nothing they cost nobody anything.
    pub(super) const fn add(&mut self, secs: f64, beside_others: bool) {
        if beside_others {
            self.computed += secs;
        }
    }

    /// Seconds to rest now: none within an update until it has taken long enough to be felt, all that are owed behind it.
    pub(super) fn owed(self, is_over: bool) -> f64 {
        if is_over || self.computed >= BURST { REST * self.computed } else { 0.0 }
    }

    /// So many seconds were rested. Who was woken early still owes the others.
    pub(super) const fn rested(&mut self, secs: f64) {
        self.computed = (self.computed - secs / REST).max(0.0);
    }

    /// Nothing else computes any more.
    pub(super) const fn forgive(&mut self) {
        self.computed = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_every_update_beside_a_run_a_rest_of_nineteen_times_its_time_is_owed() {
        let mut pace = Pace::default();
        pace.add(0.1, true);
        assert_eq!(pace.owed(false), 0.0, "a short one is not interrupted");
        assert!((pace.owed(true) - 1.9).abs() < 1e-12);
        pace.rested(1.9);
        assert!(pace.owed(true) < 1e-9);
    }

    #[test]
    fn a_long_update_rests_on_its_way_so_that_no_burst_is_felt() {
        let mut pace = Pace::default();
        let (mut now, mut computed, mut longest) = (0.0, 0.0, 0.0_f64);
        let mut burst = 0.0;
        for _ in 0..50 {
            pace.add(0.1, true);
            (now, computed, burst) = (now + 0.1, computed + 0.1, burst + 0.1);
            longest = longest.max(burst);
            let owed = pace.owed(false);
            if owed > 0.0 {
                (now, burst) = (now + owed, 0.0);
                pace.rested(owed);
            }
        }
        now += pace.owed(true);
        assert!(longest < BURST + 0.1, "{longest}");
        assert!(computed / now <= 0.05 + 1e-9, "{computed} of {now} seconds");
    }

    #[test]
    fn who_was_woken_early_owes_the_rest_of_the_rest() {
        let mut pace = Pace::default();
        pace.add(1.0, true);
        pace.rested(9.5);
        assert!((pace.owed(true) - 9.5).abs() < 1e-12);
        pace.rested(100.0);
        assert_eq!(pace.owed(true), 0.0, "rest is not saved up");
    }

    #[test]
    fn beside_nothing_nothing_is_owed() {
        let mut pace = Pace::default();
        pace.add(5.0, false);
        assert_eq!(pace.owed(true), 0.0);
        pace.add(5.0, true);
        pace.forgive();
        assert_eq!(pace.owed(true), 0.0);
    }
}
