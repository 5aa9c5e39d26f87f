//! How far the work is: a bar for whoever watches, a line now and then for a log.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::say::{harmless, is_said, say_err};
use crate::units::{bytes, duration};

/// The progress bar while pictures are computed.
const STEPS: &str = "{msg} [{bar:30}] {pos}/{len}  {per_sec}  ETA {eta}";
/// Likewise, where that is one of several rounds; how long all of them take comes last.
const ROUNDS: &str = "{msg} [{bar:30}] {pos}/{len}  {prefix}";
/// The progress bar while a file is read.
const BYTES: &str = "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}";
/// How often a line is written where there is no terminal.
const LINES: Duration = Duration::from_secs(10);

/// The progress of the work.
pub(super) struct Progress {
    pub(super) bar: ProgressBar,
    /// What is done to something long, pictures before this batch and in all, when one job after the other works on parts of it.
    long: Option<(&'static str, u64, u64)>,
    rounds: Option<Rounds>,
    lines: Option<Lines>,
    quiet: bool,
    /// What every line ends with.
    pub(super) tail: String,
}

/// Rounds that take about as long as each other, such as the points of a search.
struct Rounds {
    /// What the one under way is called.
    name: String,
    /// Those that were done here, and those that are left with this one, at most.
    done: usize,
    left: usize,
    /// The share of this one that is done, from 0 to 1.
    part: f64,
    /// When the first one began.
    since: Instant,
}

impl Rounds {
    /// Pictures of this one are done to so much; what is done to them next begins again, and takes nothing back.
    fn reach(&mut self, done: u64, of: u64) {
        self.part = self.part.max(done.min(of) as f64 / of.max(1) as f64);
    }

    /// How long all rounds take from now on, in words; none before there is something to tell it by.
    fn rest(&self, now: Instant) -> Option<String> {
        let done = self.done as f64 + self.part;
        let left = self.left as f64 - self.part;
        let secs = now.duration_since(self.since).as_secs_f64();
        (done > 0.0).then(|| format!("{} left for all", duration(secs * left / done)))
    }
}

/// Lines instead of a bar.
struct Lines {
    /// When the last one was written.
    told: Instant,
    /// The phase, when it began, and how far it was then.
    phase: (String, Instant, u64),
    counts_bytes: bool,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style(STEPS));
        let lines = !quiet && !std::io::stderr().is_terminal();
        let now = Instant::now();
        let lines = lines.then(|| Lines { told: now, phase: (String::new(), now, 0), counts_bytes: false });
        Self { bar, long: None, rounds: None, lines, quiet, tail: String::new() }
    }

    /// Says something past the bar that may be left out when quiet, unless it is a warning.
    pub(super) fn note(&self, text: &str) {
        if is_said(text, self.quiet) {
            self.bar.suspend(|| say_err(text));
        }
    }

    /// From now on the bar counts pictures of something long: so many are done of so many.
    pub(super) const fn count_pictures(&mut self, what: &'static str, done: usize, of: usize) {
        self.long = Some((what, done as u64, of as u64));
    }

    /// From now on it counts what each job counts.
    pub(super) const fn count_steps(&mut self) {
        self.long = None;
    }

    /// Another round begins, which is called so; at most so many are left with it.
    pub(super) fn begin_round(&mut self, name: String, left: usize) {
        let (done, since) =
            self.rounds.as_ref().map_or_else(|| (0, Instant::now()), |before| (before.done + 1, before.since));
        self.rounds = Some(Rounds { name, done, left, part: 0.0, since });
    }

    /// Another job begins.
    pub(super) fn begin(&self) {
        // The speed of one job says nothing about another, unless both are parts of one.
        if self.long.is_none() {
            self.bar.reset();
        }
    }

    /// Shows so many steps of a job about so many pictures; of something long, the pictures that they are worth.
    pub(super) fn show_steps(&mut self, what: &'static str, done: u64, of: u64, pictures: u64) {
        match self.long {
            Some((long, before, all)) if long == what => {
                let worth = (pictures * done.min(of)).checked_div(of).unwrap_or(0);
                if let Some(rounds) = &mut self.rounds {
                    rounds.reach(before + worth, all);
                }
                self.show(what, before + worth, all);
            }
            // It comes before what the pictures are counted by.
            Some(_) => {}
            None => self.show(what, done, of),
        }
    }

    fn show(&mut self, what: &str, done: u64, of: u64) {
        match self.rounds.as_ref().map(|rounds| (format!("{}, {what}", rounds.name), rounds.rest(Instant::now()))) {
            Some((what, rest)) => {
                self.phase(&what, ROUNDS);
                self.bar.set_prefix(rest.unwrap_or_default());
            }
            None => self.phase(what, STEPS),
        }
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    pub(super) fn show_bytes(&mut self, what: &str, done: u64, of: u64) {
        self.phase(what, BYTES);
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    /// Shows how many bytes of how many were read while nobody else looks after the clock.
    pub(super) fn tell_bytes(&mut self, what: &str, done: u64, of: u64) {
        self.show_bytes(what, done, of);
        self.tell_line();
    }

    /// Says the line that is due.
    pub(super) fn tell_line(&mut self) {
        if let Some(line) = self.line(Instant::now()) {
            self.bar.suspend(|| say_err(&line));
        }
    }

    /// A new phase: its speed says nothing about the last one's.
    fn phase(&mut self, what: &str, template: &str) {
        if self.bar.message() != what {
            self.bar.set_style(style(template));
            self.bar.set_message(harmless(what).into_owned());
            self.bar.reset();
        }
        if let Some(lines) = &mut self.lines {
            lines.counts_bytes = template == BYTES;
        }
    }

    /// A line about how far the work is, where there is no terminal and it is time for one.
    pub(super) fn line(&mut self, now: Instant) -> Option<String> {
        let lines = self.lines.as_mut()?;
        let (what, done, of) = (self.bar.message(), self.bar.position(), self.bar.length()?);
        if lines.phase.0 != what {
            lines.phase = (what, now, done);
        }
        if now.duration_since(lines.told) < LINES || lines.phase.0.is_empty() {
            return None;
        }
        lines.told = now;
        let (what, since, from) = &lines.phase;
        let secs = now.duration_since(*since).as_secs_f64();
        let count = |n: u64| if lines.counts_bytes { bytes(n) } else { n.to_string() };
        let rate = done.saturating_sub(*from) as f64 / secs.max(1e-3);
        let of_rounds = self.rounds.as_ref().filter(|rounds| what.starts_with(&rounds.name));
        let rest = if let Some(rounds) = of_rounds {
            rounds.rest(now).map_or_else(String::new, |rest| format!(", {rest}"))
        } else if rate > 0.0 {
            let speed = if lines.counts_bytes { bytes(rate as u64) } else { format!("{rate:.1}") };
            format!(", {speed} per second, {} left", duration(of.saturating_sub(done) as f64 / rate))
        } else {
            String::new()
        };
        Some(format!("{what}: {} of {}{rest}{}", count(done), count(of), self.tail))
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(lines: bool) -> Progress {
        let now = Instant::now();
        let lines = lines.then(|| Lines { told: now, phase: (String::new(), now, 0), counts_bytes: false });
        Progress { bar: ProgressBar::hidden(), long: None, rounds: None, lines, quiet: false, tail: String::new() }
    }

    #[test]
    fn something_long_counts_its_pictures() {
        let at = |progress: &Progress| (progress.bar.position(), progress.bar.length());
        let mut long = hidden(false);
        long.count_pictures("refining", 128, 50_000);
        long.show_steps("generating", 3, 4, 64);
        long.show_steps("refining", 5, 10, 64);
        assert_eq!(at(&long), (160, Some(50_000)));
        long.begin();
        assert_eq!(at(&long), (160, Some(50_000)), "the next batch goes on where this one ended");
        let mut short = hidden(false);
        short.show_steps("refining", 5, 10, 64);
        assert_eq!(at(&short), (5, Some(10)));
        for progress in [STEPS, ROUNDS, BYTES] {
            ProgressStyle::with_template(progress).unwrap();
        }
    }

    #[test]
    fn a_log_gets_a_line_every_ten_seconds() {
        let mut progress = hidden(true);
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        progress.count_pictures("refining", 0, 2000);
        progress.show_steps("refining", 0, 10, 64);
        assert_eq!(progress.line(at(1)), None, "too early");
        progress.count_pictures("refining", 128, 2000);
        progress.show_steps("refining", 5, 10, 64);
        assert_eq!(progress.line(at(17)).unwrap(), "refining: 160 of 2000, 10.0 per second, 3 min left");
        assert_eq!(progress.line(at(20)), None);
        assert!(progress.line(at(28)).is_some());
        let mut watched = hidden(false);
        watched.show_steps("refining", 0, 10, 64);
        assert_eq!(watched.line(at(60)), None, "a terminal has a bar");
    }

    #[test]
    fn a_round_counts_all_its_pictures_and_tells_how_long_all_rounds_take() {
        let mut progress = hidden(true);
        let start = Instant::now();
        progress.begin_round("point 1 of 5".to_owned(), 5);
        progress.rounds.as_mut().unwrap().since = start;
        let at = |secs| start + Duration::from_secs(secs);
        progress.count_pictures("generating", 0, 100);
        progress.show_steps("generating", 0, 4, 64);
        assert_eq!(progress.line(at(11)).unwrap(), "point 1 of 5, generating: 0 of 100");
        progress.count_pictures("generating", 64, 100);
        progress.show_steps("generating", 4, 4, 36);
        // One of five took 30 seconds, so that the other four take two minutes.
        assert_eq!(progress.line(at(30)).unwrap(), "point 1 of 5, generating: 100 of 100, 2 min left for all");
        progress.count_pictures("looking", 0, 100);
        progress.show_steps("looking", 25, 25, 25);
        let said = progress.line(at(45)).unwrap();
        assert!(said.starts_with("point 1 of 5, looking: 25 of 100, 3 min left"), "nothing is taken back: {said}");
        progress.begin_round("point 2 of 5".to_owned(), 4);
        progress.count_pictures("generating", 0, 100);
        progress.show_steps("generating", 2, 4, 100);
        // One and a half of them took 84 seconds, so that three and a half take 196.
        assert_eq!(progress.line(at(84)).unwrap(), "point 2 of 5, generating: 50 of 100, 3 min left for all");
    }
}
