//! All samples at once: how a number is spread over them, how many became better, how many are held by the ball.

use super::{Quantity, Run, RunId, StateId, Trace, as_done};
use crate::metrics::{Sure, mean_change};
use crate::parameter::{Affects, Kind, Setting, captions, names};
use crate::refiner::{Numbers, RefineSettings, Target};

/// Share of the radius from which a picture is on the edge of the ball: where the share is written with no digits it is all of
/// it. The clamp to `[0, 1]` takes a projected picture a little inside again.
pub const EDGE: f32 = 0.995;
/// Share of the radius above which a picture is outside of the ball, as where a branch has a smaller one: the next step brings
/// it back. A projection is out by its rounding.
pub const OUTSIDE: f32 = 1.001;
/// Smallest change of a probability that counts: half of the last digit that is shown.
const NOTED: f32 = 5e-4;

/// How a number is spread over the samples; not a number when it is known of none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f32,
    /// A tenth of the samples lie below it.
    pub low: f32,
    /// Half of them do.
    pub median: f32,
    /// Nine tenths do.
    pub high: f32,
}

impl Spread {
    /// Of the finite ones among `values`.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f32>) -> Self {
        let mut sorted: Vec<f32> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let sum: f64 = sorted.iter().map(|value| f64::from(*value)).sum();
        let quantile = |share: f32| {
            let place = share * sorted.len().saturating_sub(1) as f32;
            let at = |place: f32| sorted.get(place as usize).copied().unwrap_or(f32::NAN);
            at(place) + (at(place.ceil()) - at(place)) * place.fract()
        };
        let mean = (sum / sorted.len() as f64) as f32;
        Self { mean, low: quantile(0.1), median: quantile(0.5), high: quantile(0.9) }
    }
}

/// How much better a sample became: the gain in probability of its target, or the loss of what it is to leave.
#[must_use]
pub fn gain(before: f32, after: f32, target: Target) -> f32 {
    if target == Target::Untargeted { before - after } else { after - before }
}

/// ln(p / (1 - p)) of a class, from the logits: it tells sure from surer where p is 1 to all its digits.
fn log_odds(logits: &[f32], class: usize) -> f64 {
    let Some(own) = logits.get(class).map(|logit| f64::from(*logit)) else { return f64::NAN };
    let others = || logits.iter().enumerate().filter(|(other, _)| *other != class).map(|(_, logit)| f64::from(*logit));
    let most = others().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { own - most - others().map(|logit| (logit - most).exp()).sum::<f64>().ln() } else { own }
}

/// Whether a [`gain`] is none but a loss.
#[must_use]
pub fn is_loss(gain: f32) -> bool {
    gain < -NOTED
}

/// Share of the radius that a sample uses; `None` without a ball.
#[must_use]
pub fn used_share(numbers: &Numbers, sample: usize, settings: &RefineSettings) -> Option<f32> {
    let distance = Quantity::Distance.value(numbers, sample, 0, settings.norm);
    settings.rule.has_ball().then_some(distance / settings.eps as f32)
}

/// All samples of a state beside those of the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    /// Samples.
    pub samples: usize,
    /// Probability of the target at the start, and at the state.
    pub probability: [Spread; 2],
    /// Mean change of the probability, sample by sample.
    pub change: Sure,
    /// Distance from the origin, in the norm of the settings.
    pub distance: Spread,
    /// Samples that became better, by however little: the odds of their target rose, or fell where they are to leave it.
    pub improved: usize,
    /// Samples on the edge of the ball; `None` without one.
    pub on_edge: Option<usize>,
    /// Samples outside of it.
    pub outside: usize,
}

impl Tally {
    /// Of the samples whose targets are given; `settings` are those that led to the state.
    #[must_use]
    pub fn of((before, after): (&Numbers, &Numbers), targets: &[usize], settings: &RefineSettings) -> Self {
        let values = |numbers: &Numbers, quantity: Quantity| -> Vec<f32> {
            let value = |(sample, target): (usize, &usize)| quantity.value(numbers, sample, *target, settings.norm);
            targets.iter().enumerate().map(value).collect()
        };
        let [was, is] = [before, after].map(|numbers| values(numbers, Quantity::Probability));
        let odds = |numbers: &Numbers, sample: usize, target: usize| log_odds(numbers.logits_of(sample), target);
        // Where a classifier is sure, the probability has no digits left to grow by.
        let is_better = |(sample, target): &(usize, &usize)| {
            let [was, is] = [before, after].map(|numbers| odds(numbers, *sample, **target));
            if settings.target == Target::Untargeted { is < was } else { is > was }
        };
        let shares: Vec<f32> = (0..targets.len()).filter_map(|sample| used_share(after, sample, settings)).collect();
        let count = |is_so: fn(f32) -> bool| shares.iter().filter(|share| is_so(**share)).count();
        let changes: Vec<f64> = was.iter().zip(&is).map(|(was, is)| f64::from(is - was)).collect();
        Self {
            samples: targets.len(),
            change: mean_change(&changes),
            improved: targets.iter().enumerate().filter(is_better).count(),
            probability: [was, is].map(|values| Spread::of(values.into_iter())),
            distance: Spread::of(values(after, Quantity::Distance).into_iter()),
            on_edge: settings.rule.has_ball().then(|| count(|share| (EDGE..=OUTSIDE).contains(&share))),
            outside: count(|share| share > OUTSIDE),
        }
    }
}

/// Settings in few words, for a caption with a paper's symbols: those that most need, and the rare ones that are not as they
/// are at first. `done`: the iterations that were done, whatever was planned.
#[must_use]
pub fn caption(settings: &RefineSettings, done: u32) -> String {
    let settings = &as_done(settings, done);
    captions(RefineSettings::TABLE, settings, |row| matters(row, settings) && (done > 0 || !plans(row))).join(", ")
}

/// The settings that led to a state, in the words of [`caption`]: those of its first iterations, then every change with the
/// iterations that were done under it.
#[must_use]
pub fn led_to(trace: &Trace, at: StateId) -> Option<String> {
    let path = trace.path(at.run);
    let mut parts: Vec<(&RefineSettings, u32)> = vec![(trace.settings(*path.get(1).unwrap_or(&at))?, 0)];
    for id in path.iter().skip(1).take(at.iteration as usize) {
        let settings = trace.settings(*id)?;
        match parts.last_mut().filter(|(last, _)| last.runs_like(settings)) {
            Some((_, done)) => *done += 1,
            None => parts.push((settings, 1)),
        }
    }
    let later = parts.windows(2).map(|pair| {
        let [(before, _), (after, done)] = pair else { return String::new() };
        format!("; then {}, T = {done}", changes(before, after).join(", "))
    });
    let (first, done) = parts[0];
    Some(caption(first, done) + &later.collect::<String>())
}

/// The same in the words of the window, without any iterations.
#[must_use]
pub fn in_words(settings: &RefineSettings) -> String {
    names(RefineSettings::TABLE, settings, |row| matters(row, settings) && !plans(row)).join(", ")
}

/// Whether a setting says what is to be done, which is not what was done.
fn plans(row: &Setting<RefineSettings>) -> bool {
    row.affects.contains(&Affects::Plan)
}

/// What changed in a run from one of its settings to later ones, one mark each.
#[must_use]
pub fn changes(before: &RefineSettings, after: &RefineSettings) -> Vec<String> {
    let after = &RefineSettings { iterations: before.iterations, ..after.clone() };
    // Where the number is another, it shows its unit itself.
    let is_shown = |unit: &Setting<RefineSettings>| {
        let mut numbers = RefineSettings::TABLE.iter().filter(|row| row.set_by.is_none());
        numbers.any(|row| Some(row.flag()) == unit.set_by && row.mark(before, after).is_some())
    };
    let rows = RefineSettings::TABLE.iter().filter(|row| !is_shown(row));
    rows.filter_map(|row| row.mark(before, after)).collect()
}

fn matters(row: &Setting<RefineSettings>, settings: &RefineSettings) -> bool {
    // A model's path, and the unit of a number that names it itself.
    let is_aside = matches!(row.kind, Kind::Text(_)) || row.set_by.is_some();
    !is_aside && (!row.is_rare || row.value(settings) != row.value(&RefineSettings::default()))
}

/// What sets the runs apart: of each the settings, as it ended with them, that are not those of all, and what was changed on
/// its way.
#[must_use]
pub fn differences(trace: &Trace) -> Vec<(RunId, String)> {
    fn end(run: &Run) -> &RefineSettings {
        run.settings_at(run.last_iteration().unwrap_or(0))
    }
    let Some(first) = trace.runs().next().map(end) else { return Vec::new() };
    let differs = |row: &Setting<RefineSettings>| {
        let words = |settings| row.words(settings, &row.value(settings));
        // The unit of a number stands behind the number.
        let is_aside = plans(row) || row.set_by.is_some();
        !is_aside && trace.runs().any(|run| words(end(run)) != words(first))
    };
    let words = |run: &Run| {
        let apart = names(RefineSettings::TABLE, end(run), differs);
        [apart, changes(&run.settings, end(run))].concat().join(", ")
    };
    trace.runs().map(|run| (run.id, words(run))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::{Rule, StepUnit};
    use crate::trace::{Change, StateId};

    #[test]
    fn runs_are_told_apart_by_what_differs() {
        let mut trace = Trace::default();
        for (id, eps) in [(1, 3.0), (2, 6.0)] {
            trace.begin(RunId(id), None, RefineSettings { eps, ..Default::default() });
        }
        assert_eq!(differences(&trace), [(RunId(1), "radius 3".to_owned()), (RunId(2), "radius 6".to_owned())]);
        for iteration in 0..3 {
            assert!(trace.push(StateId { run: RunId(1), iteration }, Numbers::default()));
        }
        let settings = RefineSettings { eps: 6.0, ..Default::default() };
        trace.change(RunId(1), Change { iteration: 1, settings });
        assert_eq!(differences(&trace), [(RunId(1), "radius 3 → 6".to_owned()), (RunId(2), String::new())]);
        let longer = RefineSettings { iterations: None, eps: 6.0, ..Default::default() };
        trace.change(RunId(1), Change { iteration: 2, settings: longer });
        assert_eq!(
            differences(&trace)[0].1,
            "radius 3 → 6",
            "a plan is no difference: how long a run is its title says"
        );
        let led = led_to(&trace, StateId { run: RunId(1), iteration: 2 }).unwrap();
        let parts: Vec<&str> = led.split("; then ").collect();
        assert!(parts[0].contains("ε = 3") && parts[0].ends_with("T = 1"), "{led}");
        assert_eq!(parts[1..], ["radius 3 → 6, T = 1"], "{led}");
        let text = caption(&RefineSettings::default(), 0);
        assert!(!text.contains("T = "), "nothing was done yet: {text}");
        let caption = caption(&RefineSettings::default(), 22);
        assert!(["ε = 3", "α = ", "T = 22", "L2"].iter().all(|part| caption.contains(part)), "{caption}");
        assert!(!caption.contains("restarts") && !caption.contains("gtsrb12"), "{caption}");
    }

    #[test]
    fn the_unit_of_a_step_is_said_by_the_step_where_that_shows_it() {
        let share = |step_size| RefineSettings { step_unit: StepUnit::Ratio, step_size, ..Default::default() };
        let mut trace = Trace::default();
        for (id, settings) in [(1, RefineSettings::default()), (2, share(0.33)), (3, share(0.3))] {
            trace.begin(RunId(id), None, settings);
        }
        let apart: Vec<String> = differences(&trace).into_iter().map(|(_, words)| words).collect();
        assert_eq!(apart, ["step size 0.3", "step size 0.33x", "step size 0.3x"]);
        let before = RefineSettings::default();
        assert_eq!(changes(&before, &share(0.33)), ["step size 0.3 → 0.33x"]);
        assert_eq!(changes(&before, &share(0.3)), ["step unit Absolute → × radius"], "the number is the same");
    }

    #[test]
    fn a_spread_is_of_what_is_known() {
        let spread = Spread::of((0..11).map(|value| value as f32).chain([f32::NAN, f32::INFINITY]));
        assert_eq!(spread, Spread { mean: 5.0, low: 1.0, median: 5.0, high: 9.0 });
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).median, 1.5);
        assert!(Spread::of([f32::NAN].into_iter()).mean.is_nan());
    }

    #[test]
    fn samples_are_counted_as_better_by_however_little_and_at_the_edge_by_what_is_shown() {
        let numbers = |logits: [f32; 3], delta: [f32; 3]| Numbers {
            logits: logits.into_iter().flat_map(|logit| [logit, 0.0]).collect(),
            objective: vec![0.0; 3],
            delta_l2: delta.to_vec(),
            ..Default::default()
        };
        let before = numbers([0.0; 3], [0.0; 3]);
        let after = numbers([1.0, -1.0, 0.0001], [3.0, 2.99, 2.5]);
        let settings = RefineSettings::default();
        let tally = Tally::of((&before, &after), &[0; 3], &settings);
        assert_eq!((tally.samples, tally.improved, tally.on_edge), (3, 2, Some(2)), "2.99 of 3 is 99.7 %");
        // As sure as numbers of single precision can be, and surer.
        let (sure, surer) = (numbers([30.0, 40.0, 30.0], [0.0; 3]), numbers([50.0, 30.0, 30.0], [0.0; 3]));
        assert_eq!(Tally::of((&sure, &surer), &[0; 3], &settings).improved, 1);
        let smaller = RefineSettings { eps: 2.0, ..settings.clone() };
        let tally = Tally::of((&before, &after), &[0; 3], &smaller);
        assert_eq!((tally.on_edge, tally.outside), (Some(0), 3), "no step was made in the smaller ball yet");
        let away = RefineSettings { target: Target::Untargeted, ..settings.clone() };
        assert_eq!(Tally::of((&before, &after), &[0; 3], &away).improved, 1, "less of it is better");
        let free = RefineSettings { rule: Rule::Sgld, ..settings };
        assert_eq!(Tally::of((&before, &after), &[0; 3], &free).on_edge, None);
    }
}
