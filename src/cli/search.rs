//! `lapidary search`: the noise level between the two steps of a consistency model that the classifier likes best.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::ArgMatches;

use super::begin::{Begun, Job};
use super::describe::{describe_compute, describe_labels, describe_model, would_write, written};
use super::driver::Driver;
use super::opened::judge;
use super::refine::Described;
use super::rehearsal::{Rehearsal, rehearse};
use super::say::say_out;
use super::searched::{self, Found, Verdict, best, header, row};
use super::{CliError, Outcome, RunOptions, flags};
use crate::classifier::labels::listed;
use crate::classifier::translation;
use crate::export::{Extent, SEARCHED as TABLE};
use crate::generator::schedule::time_step_sigmas;
use crate::generator::settings::SAMPLES;
use crate::generator::{SamplerKind, TimeSteps};
use crate::parameter::{Choice, ChoiceOption, Choosable, Parameter};
use crate::refiner::Target;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::units::counted;
use crate::zoo::{DiffusionManifest, ManifestKind, PreconditioningName};

/// File of the results.
const SCRIPT: &str = "openai/consistency_models, scripts/ternary_search.py";

/// Points of the grid.
pub const GRID: Parameter = Parameter {
    flag: "grid",
    label: "Grid",
    symbol: "N",
    unit: "noise levels",
    min: 3.0,
    max: 100_000.0,
    slider: (3.0, 201.0),
    default: 40.0,
    integer: true,
    about: "Points of the grid that k is an index into; 40 for consistency distillation, 201 for consistency training",
    source: SCRIPT,
};

/// Distance of the points that are tried one by one.
pub const STRIDE: Parameter = Parameter {
    flag: "stride",
    label: "Stride",
    symbol: "n",
    unit: "points of the grid",
    min: 1.0,
    max: 100_000.0,
    slider: (1.0, 20.0),
    default: 1.0,
    integer: true,
    about: "With --method all, every how many points one is tried",
    source: "Lapidary",
};

/// What is to be largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Mean logit of the label.
    Logit,
    /// Mean probability of the label.
    Confidence,
    /// Share of pictures whose top class is the label.
    Agreement,
}

impl Choosable for Metric {
    const CHOICE: Choice = Choice {
        flag: "metric",
        label: "Metric",
        about: "What is to be largest, as the classifier judges the generated pictures",
    };
    const ALL: &'static [Self] = &[Self::Logit, Self::Confidence, Self::Agreement];

    fn option(self) -> ChoiceOption {
        let (key, label, about) = match self {
            Self::Logit => ("logit", "Logit", "mean of f_y, the logit of the picture's class"),
            Self::Confidence => {
                ("confidence", "Confidence", "mean of softmax_y, the probability of the picture's class")
            }
            Self::Agreement => ("agreement", "Agreement", "share of pictures whose most likely class is theirs"),
        };
        ChoiceOption { key, label, about }
    }
}

/// Which points are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A third of the range is left out again and again.
    Ternary,
    /// One after the other.
    All,
}

impl Choosable for Method {
    const CHOICE: Choice = Choice { flag: "method", label: "Method", about: "Which points of the grid are tried" };
    const ALL: &'static [Self] = &[Self::Ternary, Self::All];

    fn option(self) -> ChoiceOption {
        let (key, label, about) = match self {
            Self::Ternary => (
                "ternary",
                "Ternary",
                "two points that cut the range into thirds; the third beyond the worse one is left out, until no point is left between; right when there is one peak (openai/consistency_models)",
            ),
            Self::All => ("all", "All", "every --stride-th point of the grid"),
        };
        ChoiceOption { key, label, about }
    }
}

/// What `lapidary search` runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchOptions {
    /// What all commands have.
    pub run: RunOptions,
    /// Points of the grid.
    pub grid: u32,
    /// What is to be largest.
    pub metric: Metric,
    /// Which points are tried.
    pub method: Method,
    /// Every how many points one is tried, when all are.
    pub stride: u32,
}

impl SearchOptions {
    pub(super) fn of(matches: &ArgMatches, mut run: RunOptions) -> Result<Self, CliError> {
        let number = |parameter: Parameter| -> Result<u32, CliError> {
            let value =
                flags::given(matches, parameter.flag).map_or(Ok(parameter.default), |text| parameter.parse(text))?;
            Ok(value as u32)
        };
        let method = flags::chosen(matches)?.unwrap_or(Method::Ternary);
        if method == Method::Ternary && flags::given(matches, STRIDE.flag).is_some() {
            run.notes.push("note: --stride has no effect unless --method all is given".to_owned());
        }
        Ok(Self {
            run,
            grid: number(GRID)?,
            metric: flags::chosen(matches)?.unwrap_or(Metric::Logit),
            method,
            stride: number(STRIDE)?,
        })
    }

    /// The steps with `k` between the first and the last level.
    pub(super) fn ts(&self, k: u32) -> TimeSteps {
        TimeSteps::new(vec![0, k, self.grid - 1], self.grid).expect("k lies between the ends of the grid")
    }
}

/// Searches, prints what is found as it goes, and writes `search.csv`.
///
/// # Errors
/// The chain from what failed to why; what was found before is written.
///
/// # Panics
/// Never: the points that are tried lie inside the grid.
pub fn run(options: &SearchOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let settings = &options.run.settings;
    SAMPLES.check(options.run.count() as f64).context("a search holds all of its pictures at once")?;
    let generator = flags::find(&settings.generate.generator, true)?;
    let classifier = flags::find(&settings.refine.classifier, false)?;
    let diffusion = check(settings, &generator, &classifier)?;
    if let Some(recorded) = &options.run.recorded {
        recorded.check_samples(&settings.generate, generator.0.classes.len())?;
    }
    let SearchOptions { metric, method, grid, stride, .. } = options;
    let command = format!("search {metric:?} {method:?} {grid} {stride}");
    let job = Job { command: &command, files: &[TABLE], pictures: None, mask: None, bytes: 0, share: None };
    if options.run.dry_run {
        let Some(Rehearsal { out, .. }) =
            rehearse(&options.run, &job, &[&generator, &classifier], generator.0.shape())?
        else {
            return Ok(Outcome::Done);
        };
        say_out(&plan(options, &generator, &classifier, &out))?;
        return Ok(Outcome::Done);
    }
    let Some(Begun { options: run, mut out, .. }) = job.begin(&options.run)? else { return Ok(Outcome::Done) };
    let options = &SearchOptions { run, ..options.clone() };
    let mut driver = Driver::start(folders, &options.run)?;
    driver.print(&header(options.metric))?;
    // What the same command has found before it was stopped.
    let before = searched::read(&out.place(false).join(TABLE));
    if !before.is_empty() {
        driver.say(&format!("goes on behind {} that the same command has judged", counted(before.len(), "point")));
    }
    let mut found = Found::new();
    let mut value = |k: u32| {
        let verdict = match before.get(&k) {
            Some(verdict) if !driver.interrupted => *verdict,
            _ => {
                let Some(verdict) = evaluate(&mut driver, options, &diffusion, k)? else { return anyhow::Ok(None) };
                out.set_provenance(&driver.provenance)?;
                verdict
            }
        };
        found.insert(k, verdict);
        driver.print(&row(k, &verdict))?;
        // Whatever ends the program, what was found is in the table.
        let extent = Extent::Part(found.len() as u64);
        out.publish(vec![TABLE.to_owned()], extent, |folder| searched::write(&folder.join(TABLE), options, &found))?;
        Ok(Some(verdict.value(options.metric)))
    };
    let ended = match options.method {
        Method::Ternary => ternary(options.grid - 1, &mut value),
        Method::All => all(options.grid - 1, options.stride, &mut value),
    };
    driver.finish();
    if found.is_empty() {
        ended?;
        driver.say("stopped before the first point was judged: nothing is written");
        return Ok(driver.stopped());
    }
    let complete = ended.is_ok() && !driver.interrupted;
    let place = out.place(complete);
    let extent = if complete { Extent::Whole } else { Extent::Part(found.len() as u64) };
    let published =
        out.publish(vec![TABLE.to_owned()], extent, |folder| searched::write(&folder.join(TABLE), options, &found));
    let stays = published.context("the points that were judged are said above, but their table cannot be written")?;
    driver.say_kept(&mut out);
    ended?;
    if let Some(more) = stays {
        driver.say(&format!(
            "stopped after {}; the table of {} from before stays",
            counted(found.len(), "point"),
            counted(more as usize, "point")
        ));
    } else if let Some((k, verdict, others)) = best(&found, options.metric) {
        let (label, ts, value) =
            (options.metric.option().label.to_lowercase(), options.ts(k), verdict.value(options.metric));
        let ties = if others == 0 {
            String::new()
        } else {
            format!(
                "; {} as good, the logit decides between them: more seeds tell more",
                if others == 1 { "1 other is".to_owned() } else { format!("{others} others are") }
            )
        };
        driver.print(&format!(
            "best of {} points by {label}: --ts {ts} (σ = {:.4}, {label} {value:.4}{ties})\n{}",
            found.len(),
            verdict.sigma,
            written(&place, &[TABLE])
        ))?;
    }
    if !driver.interrupted {
        return Ok(Outcome::Done);
    }
    driver.say_earlier(&out);
    Ok(driver.stopped())
}

/// Both models must speak of the same classes, and the generator must be sampled in two steps.
fn check(
    settings: &Settings,
    (generator, _): &Described,
    (classifier, _): &Described,
) -> anyhow::Result<DiffusionManifest> {
    let diffusion = match &generator.kind {
        ManifestKind::Generator(spec) if spec.diffusion.preconditioning == PreconditioningName::Consistency => {
            spec.diffusion.clone()
        }
        _ => bail!(
            "{} is no consistency model, so it has no time between two steps: choose another --generator",
            settings.generate.generator
        ),
    };
    if translation(&generator.classes, &classifier.classes).is_err() {
        bail!(
            "the generator knows {} and the classifier {}, so it cannot judge whether a picture is of its class: choose models that fit each other",
            listed(&generator.classes),
            listed(&classifier.classes)
        );
    }
    flags::check_shape(classifier, generator.shape())?;
    Ok(diffusion)
}

/// Generates with `k` between the ends and judges; `None` when interrupted.
fn evaluate(
    driver: &mut Driver,
    options: &SearchOptions,
    diffusion: &DiffusionManifest,
    k: u32,
) -> anyhow::Result<Option<Verdict>> {
    let ts = options.ts(k);
    let sigma = time_step_sigmas(diffusion, &ts).get(1).copied().unwrap_or(f64::NAN);
    let mut settings = options.run.settings.clone();
    settings.generate.sampler = SamplerKind::Multistep;
    settings.generate.churn = 0.0;
    settings.generate.sigmas.clear();
    settings.generate.ts = Some(ts);
    settings.refine.target = Target::Label;
    if driver.interrupted {
        return Ok(None);
    }
    let Some(origins) = driver.generate(&settings)?.filter(|_| !driver.interrupted) else { return Ok(None) };
    let Some(state) = judge(driver, &settings, &origins)? else { return Ok(None) };
    // The classifier may count the same classes otherwise.
    let targets = driver.targets.take().unwrap_or_else(|| origins.labels.clone());
    Ok(Some(Verdict::of(&state.numbers, &targets, sigma)))
}

/// Tries points between 0 and `end` (both not included) until one is left; `value` is asked once per point and may give
/// up with `None`.
///
/// # Source
/// openai/consistency_models, `scripts/ternary_search.py`, which minimises. There the points that are left at last are the
/// ends of the range as well; here the ends of the grid are left out, because a level next to itself is no step.
fn ternary<E>(end: u32, value: &mut dyn FnMut(u32) -> Result<Option<f64>, E>) -> Result<(), E> {
    let mut known = BTreeMap::new();
    let mut ask = |k: u32| -> Result<Option<f64>, E> {
        if let Some(known) = known.get(&k) {
            return Ok(Some(*known));
        }
        let found = value(k)?;
        known.extend(found.map(|found| (k, found)));
        Ok(found)
    };
    let (mut left, mut right) = (0, end);
    while right - left >= 3 {
        let width = right - left;
        let (lower, upper) = (left + width / 3, right - width.div_ceil(3));
        let Some(at_lower) = ask(lower)? else { return Ok(()) };
        let Some(at_upper) = ask(upper)? else { return Ok(()) };
        if at_lower > at_upper {
            right = upper;
        } else {
            left = lower;
        }
    }
    for k in left.max(1)..=right.min(end.saturating_sub(1)) {
        if ask(k)?.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// Tries every `stride`-th point between 0 and `end` (both not included).
fn all<E>(end: u32, stride: u32, value: &mut dyn FnMut(u32) -> Result<Option<f64>, E>) -> Result<(), E> {
    for k in (1..end).step_by(stride.max(1) as usize) {
        if value(k)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// What a dry run says.
fn plan(options: &SearchOptions, generator: &Described, classifier: &Described, out: &Path) -> String {
    let RunOptions { settings, notes, .. } = &options.run;
    let generate = &settings.generate;
    let mut lines = notes.clone();
    let (manifest, path) = generator;
    lines.push(describe_model("generator", &generate.generator, manifest, path.as_deref()));
    let end = generate.first_seed + u64::from(generate.samples);
    lines.push(format!("{:<11}{}..{end} ({} pictures per point)", "seeds", generate.first_seed, generate.samples));
    let labels = generate.labels(manifest.classes.len());
    lines.push(format!("{:<11}{}", "classes", describe_labels(&labels, &manifest.classes)));
    let (manifest, path) = classifier;
    lines.push(describe_model("classifier", &settings.refine.classifier, manifest, path.as_deref()));
    let points = match options.method {
        Method::Ternary => "by thirds".to_owned(),
        Method::All => format!("every {}", options.stride),
    };
    let last = options.grid - 1;
    lines.push(format!("{:<11}k of --ts 0,k,{last}/{}, {points}", "searching", options.grid));
    lines.push(format!("{:<11}{}", "metric", options.metric.option().about));
    lines.push(describe_compute(settings));
    lines.push(would_write(out, &[TABLE]));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The points that were asked for, in order, of a function with its peak at `peak`.
    fn asked(end: u32, peak: f64) -> Vec<u32> {
        let mut asked = Vec::new();
        let mut value = |k: u32| {
            asked.push(k);
            Ok::<_, Infallible>(Some(-(f64::from(k) - peak).abs()))
        };
        ternary(end, &mut value).unwrap();
        asked
    }

    #[test]
    fn one_peak_is_found_wherever_it_lies_with_few_questions() {
        for end in [2, 3, 4, 5, 39, 200] {
            for peak in 1..end {
                let asked = asked(end, f64::from(peak));
                assert!(asked.contains(&peak), "peak {peak} of {end}: {asked:?}");
                let mut once = asked.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), asked.len(), "no point is asked for twice: {asked:?}");
                assert!(asked.iter().all(|k| (1..end).contains(k)), "{asked:?}");
                assert!(asked.len() <= 25, "{} questions for {end}", asked.len());
            }
        }
        // The first two points of the original for a grid of 40.
        assert_eq!(asked(39, 22.0)[..2], [13, 26]);
    }

    #[test]
    fn giving_up_and_failing_end_a_search_at_once() {
        let mut count = 0;
        ternary(39, &mut |_| {
            count += 1;
            Ok::<_, Infallible>((count < 3).then_some(0.0))
        })
        .unwrap();
        assert_eq!(count, 3);
        let failed = all(39, 1, &mut |k| if k < 3 { Ok(Some(0.0)) } else { Err(k) });
        assert_eq!(failed, Err(3));
    }

    #[test]
    fn all_points_are_those_of_the_stride() {
        let mut asked = Vec::new();
        all(10, 4, &mut |k| {
            asked.push(k);
            Ok::<_, Infallible>(Some(0.0))
        })
        .unwrap();
        assert_eq!(asked, [1, 5, 9]);
    }
}
