//! What is said of a search on its way and at its end: how many points there are, how far it came, which point is best.

use super::found::{Found, best, doubts};
use super::walk::{count, most};
use super::{Method, SearchOptions};
use crate::units::counted;

/// How many points a search judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Points {
    of: usize,
    /// Where points lie decides how many there are, so there may be fewer.
    at_most: bool,
}

impl Points {
    pub(super) fn of(options: &SearchOptions) -> Self {
        let end = options.grid - 1;
        match options.method {
            Method::Ternary => Self { of: most(end), at_most: true },
            Method::All => Self { of: count(end, options.stride), at_most: false },
        }
    }

    /// What the point behind those is called.
    pub(super) fn name(self, found: &Found) -> String {
        format!("point {} of {}{}", found.len() + 1, self.at_most_in_words(), self.of)
    }

    /// Points that are left to be judged, when those are found and the same command had judged these before.
    pub(super) fn left(self, found: &Found, before: &Found) -> usize {
        let others = before.keys().filter(|k| !found.contains_key(k)).count();
        self.of.saturating_sub(found.len() + others).max(1)
    }

    /// What is said of a search that was stopped after so many points; `stays` are those of a table from before that has more.
    pub(super) fn stopped(self, judged: usize, stays: Option<u64>) -> String {
        let kept = match stays {
            Some(more) => format!("the table of {} from before stays", counted(more as usize, "point")),
            None if judged == 1 => "it is written".to_owned(),
            None => "these are written".to_owned(),
        };
        let of = counted(self.of, "point");
        format!("stopped after {judged} of {}{of}; {kept}, and --resume goes on", self.at_most_in_words())
    }

    const fn at_most_in_words(self) -> &'static str {
        if self.at_most { "at most " } else { "" }
    }
}

/// A line about the best point, of all or of those that were judged before the search was stopped; none where no value is a
/// number.
pub(super) fn best_of(found: &Found, options: &SearchOptions, complete: bool) -> Option<String> {
    let best = best(found, options.metric)?;
    let (name, ts, value) = (options.metric.name(), options.ts(best.k), best.verdict.shown(options.metric));
    Some(format!(
        "best {}of {} by {name}: --ts {ts} (σ = {:.4}, {name} {value}{})",
        if complete { "" } else { "so far, " },
        counted(found.len(), "point"),
        best.verdict.sigma,
        doubts(&best, options.metric)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::search::found::Verdict;
    use crate::cli::{Invocation, parse};
    use crate::metrics::Sure;

    fn options(args: &[&str]) -> SearchOptions {
        let words = [&["lapidary", "search", "--metric", "inception_score"][..], args].concat();
        let Ok(Invocation::Search(options)) = parse(words) else { panic!("search") };
        options
    }

    fn found(ks: &[u32]) -> Found {
        let verdict = |k: &u32| Verdict::of_set(Sure { value: f64::from(*k), interval: None }, 0.5);
        ks.iter().map(|k| (*k, verdict(k))).collect()
    }

    #[test]
    fn a_point_is_named_among_all_and_what_was_judged_before_takes_no_time() {
        let all = Points::of(&options(&["--grid", "40", "--method", "all", "--stride", "4"]));
        assert_eq!(all, Points { of: 10, at_most: false });
        assert_eq!(all.name(&found(&[1, 5])), "point 3 of 10");
        assert_eq!(all.left(&found(&[1, 5]), &found(&[])), 8);
        assert_eq!(all.left(&found(&[1]), &found(&[1, 5, 9])), 7, "1 is counted once");
        assert_eq!(all.left(&found(&[]), &found(&[1, 5, 9, 13, 17, 21, 25, 29, 33, 37])), 1, "the one under way");
        let thirds = Points::of(&options(&["--grid", "40"]));
        assert!(thirds.name(&found(&[])).starts_with("point 1 of at most "), "{thirds:?}");
    }

    #[test]
    fn a_search_that_was_stopped_says_how_far_it_came_and_what_goes_on() {
        let all = Points { of: 38, at_most: false };
        assert_eq!(all.stopped(1, None), "stopped after 1 of 38 points; it is written, and --resume goes on");
        assert_eq!(
            Points { at_most: true, ..all }.stopped(3, None),
            "stopped after 3 of at most 38 points; these are written, and --resume goes on"
        );
        assert_eq!(
            Points { of: 1, ..all }.stopped(1, Some(7)),
            "stopped after 1 of 1 point; the table of 7 points from before stays, and --resume goes on"
        );
    }

    #[test]
    fn the_best_of_a_search_that_was_stopped_is_the_best_so_far() {
        let options = options(&["--grid", "6"]);
        let line = |ks: &[u32], complete| best_of(&found(ks), &options, complete).unwrap();
        assert!(line(&[2], false).starts_with("best so far, of 1 point by "), "{}", line(&[2], false));
        let whole = line(&[1, 3, 4], true);
        assert!(whole.starts_with("best of 3 points by ") && whole.contains(": --ts 0,4,5/6 (σ = 0.5000, "), "{whole}");
        assert_eq!(best_of(&found(&[]), &options, true), None);
    }
}
