//! `lapidary search`: the noise level between the two steps of a consistency model that is best by what the classifier says, or
//! by how near the pictures are to real ones.

mod dry;
mod found;
mod metric;
mod told;
mod walk;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::ArgMatches;

use self::dry::rehearsed;
use self::found::{Found, Verdict, header, row};
pub use self::metric::Metric;
use self::told::{Points, best_of};
use self::walk::{all, ternary};
use super::begin::{Begun, Job};
use super::describe::written;
use super::driver::Driver;
use super::evaluate::{EvaluateOptions, Judge, Yardstick};
use super::generate::windows;
use super::opened::{MAX_TOGETHER, judge};
use super::refine::Described;
use super::usage::{DIALECT, EXTRACTOR, REFERENCE};
use super::{CliError, Outcome, RunOptions, flags};
use crate::classifier::labels::listed;
use crate::classifier::translation;
use crate::export::{Extent, SEARCHED as TABLE};
use crate::generator::schedule::time_step_sigmas;
use crate::generator::settings::SAMPLES;
use crate::generator::{GenerateSettings, SamplerKind, TimeSteps};
use crate::origins::Origins;
use crate::parameter::{Choice, ChoiceOption, Choosable, Parameter};
use crate::refiner::Target;
use crate::session::Settings;
use crate::session::host::Folders;
use crate::units::counted;
use crate::zoo::{DiffusionManifest, Manifest, ManifestKind, PreconditioningName};

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
    /// What is to be best.
    pub metric: Metric,
    /// Which points are tried.
    pub method: Method,
    /// Every how many points one is tried, when all are.
    pub stride: u32,
    /// What looks at the pictures, and the real ones, where the metric is a number of a set.
    pub evaluation: EvaluateOptions,
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
        let metric = flags::chosen(matches)?.unwrap_or(Metric::Logit);
        let evaluation = EvaluateOptions::looking(matches, run.settings.compute.clone());
        if metric.of_set().is_some_and(crate::metrics::Metric::compares) && evaluation.reference.is_empty() {
            return Err(CliError::NoReal { metric: metric.option().key });
        }
        run.notes.extend(idle(matches, metric));
        Ok(Self { run, grid: number(GRID)?, metric, method, stride: number(STRIDE)?, evaluation })
    }

    /// The steps with `k` between the first and the last level.
    pub(super) fn ts(&self, k: u32) -> TimeSteps {
        TimeSteps::new(vec![0, k, self.grid - 1], self.grid).expect("k lies between the ends of the grid")
    }
}

/// What is said of flags that were given but mean nothing to the metric.
fn idle(matches: &ArgMatches, metric: Metric) -> Option<String> {
    let flags: &[&str] = match metric.of_set() {
        None => &[REFERENCE, EXTRACTOR, DIALECT],
        Some(of) if of.compares() => &[flags::CLASSIFIER],
        Some(_) => &[flags::CLASSIFIER, REFERENCE],
    };
    let given: Vec<String> =
        flags.iter().filter(|flag| flags::is_given(matches, flag)).map(|flag| format!("--{flag}")).collect();
    let has = if given.len() == 1 { "has" } else { "have" };
    let key = metric.option().key;
    (!given.is_empty()).then(|| format!("warning: {} {has} no effect with the metric {key}", given.join(", ")))
}

/// By whom pictures are judged, as far as it is known before anything is computed.
enum By {
    Classifier(Described),
    Set(Yardstick),
}

impl By {
    fn open(options: &SearchOptions, generator: &Manifest, folders: &Folders) -> anyhow::Result<Self> {
        let (count, shape) = (options.run.count(), generator.shape());
        if let Some(metric) = options.metric.of_set() {
            return Ok(Self::Set(Yardstick::open(options.evaluation.clone(), metric, (count, shape), folders)?));
        }
        SAMPLES.check(count as f64).context("what a classifier judges is held at once")?;
        let classifier = flags::find(&options.run.settings.refine.classifier, false)?;
        check(generator, &classifier.0)?;
        Ok(Self::Classifier(classifier))
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
    let generator = flags::find(&settings.generate.generator, true)?;
    let diffusion = diffusion(&settings.generate.generator, &generator.0)?;
    let by = By::open(options, &generator.0, folders)?;
    if let Some(recorded) = &options.run.recorded {
        recorded.check_samples(&settings.generate, generator.0.classes.len())?;
    }
    let SearchOptions { metric, method, grid, stride, .. } = options;
    let (real, key) = match &by {
        By::Classifier(_) => (Vec::new(), String::new()),
        By::Set(yardstick) => (yardstick.files(), format!(" {}", yardstick.key())),
    };
    let command = format!("search {metric:?} {method:?} {grid} {stride}{key}");
    let job = Job {
        command: &command,
        files: &[TABLE],
        pictures: None,
        mask: None,
        real: &real,
        bytes: 0,
        share: None,
        batches: None,
    };
    if options.run.dry_run {
        return rehearsed(options, &job, (&generator, &by));
    }
    let Some(Begun { options: run, mut out, .. }) = job.begin(&options.run)? else { return Ok(Outcome::Done) };
    let options = &SearchOptions { run, ..options.clone() };
    let mut driver = Driver::start(folders, &options.run)?;
    let by_set = match by {
        By::Classifier(_) => None,
        By::Set(yardstick) => {
            let Some(own) = yardstick.look(&mut driver)? else { return Ok(stopped_before(&driver)) };
            driver.print(&own.in_words())?;
            Some(own)
        }
    };
    let about = by_set.as_ref().map_or_else(Vec::new, |own| own.columns().to_vec());
    driver.print(&header(options.metric))?;
    // What the same command has found before it was stopped.
    let before = found::read(&out.place(false).join(TABLE), options.metric);
    if !before.is_empty() {
        driver.say(&format!("goes on behind {} that the same command has judged", counted(before.len(), "point")));
    }
    let (mut found, points) = (Found::new(), Points::of(options));
    let mut value = |k: u32| {
        let verdict = match before.get(&k) {
            Some(verdict) if !driver.interrupted => *verdict,
            _ => {
                driver.progress.begin_round(points.name(&found), points.left(&found, &before));
                let way = (options, &diffusion, by_set.as_ref());
                let Some(verdict) = evaluate(&mut driver, way, k)? else { return anyhow::Ok(None) };
                out.set_provenance(&driver.provenance)?;
                verdict
            }
        };
        found.insert(k, verdict);
        driver.print(&row(k, &verdict, options.metric))?;
        // Whatever ends the program, what was found is in the table.
        let extent = Extent::Part(found.len() as u64);
        let write = |folder: &Path| found::write(&folder.join(TABLE), options, &about, &found);
        out.publish(vec![TABLE.to_owned()], extent, write)?;
        Ok(Some(verdict.merit(options.metric)))
    };
    let ended = match options.method {
        Method::Ternary => ternary(options.grid - 1, &mut value),
        Method::All => all(options.grid - 1, options.stride, &mut value),
    };
    driver.finish();
    if found.is_empty() {
        ended?;
        return Ok(stopped_before(&driver));
    }
    let complete = ended.is_ok() && !driver.interrupted;
    let place = out.place(complete);
    let extent = if complete { Extent::Whole } else { Extent::Part(found.len() as u64) };
    let write = |folder: &Path| found::write(&folder.join(TABLE), options, &about, &found);
    let published = out.publish(vec![TABLE.to_owned()], extent, write);
    let stays = published.context("the points that were judged are said above, but their table cannot be written")?;
    driver.say_kept(&mut out);
    ended?;
    if stays.is_none()
        && let Some(best) = best_of(&found, options, complete)
    {
        driver.print(&format!("{best}\n{}", written(&place, &[TABLE])))?;
    }
    if !driver.interrupted {
        return Ok(Outcome::Done);
    }
    driver.say(&points.stopped(found.len(), stays));
    driver.say_earlier(&out);
    Ok(driver.stopped())
}

/// Whoever stops it so soon has nothing of it.
fn stopped_before(driver: &Driver) -> Outcome {
    driver.finish();
    driver.say("stopped before the first point was judged: nothing is written");
    driver.stopped()
}

/// The generator must be one that is sampled in two steps.
fn diffusion(reference: &str, generator: &Manifest) -> anyhow::Result<DiffusionManifest> {
    match &generator.kind {
        ManifestKind::Generator(spec) if spec.diffusion.preconditioning == PreconditioningName::Consistency => {
            Ok(spec.diffusion.clone())
        }
        _ => bail!(
            "{reference} is no consistency model, so it has no time between two steps: choose another --generator"
        ),
    }
}

/// Both models must speak of the same classes.
fn check(generator: &Manifest, classifier: &Manifest) -> anyhow::Result<()> {
    if translation(&generator.classes, &classifier.classes).is_err() {
        bail!(
            "the generator knows {} and the classifier {}, so it cannot judge whether a picture is of its class: choose models that fit each other",
            listed(&generator.classes),
            listed(&classifier.classes)
        );
    }
    Ok(flags::check_shape(classifier, generator.shape())?)
}

/// Generates with `k` between the ends and judges; `None` when interrupted.
fn evaluate(
    driver: &mut Driver,
    (options, diffusion, by): (&SearchOptions, &DiffusionManifest, Option<&Judge>),
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
    if let Some(by) = by {
        let mut batches = windows(0..options.run.count(), MAX_TOGETHER);
        let mut make = |driver: &mut Driver| -> anyhow::Result<Option<Arc<Origins>>> {
            let Some(places) = batches.next() else { return Ok(None) };
            // Whichever batch it is, all pictures of the point are counted; the batches of the networks stay as they are.
            driver.progress.count_pictures("generating", places.start, options.run.count());
            let (first_seed, samples) = (settings.generate.first_seed + places.start as u64, places.len() as u32);
            let generate = GenerateSettings { first_seed, samples, ..settings.generate.clone() };
            driver.generate(&Settings { generate, ..settings.clone() })
        };
        let number = by.judge(driver, &mut make).with_context(|| format!("k = {k} cannot be judged"))?;
        return Ok(number.map(|number| Verdict::of_set(number, sigma)));
    }
    driver.progress.count_pictures("generating", 0, options.run.count());
    let Some(origins) = driver.generate(&settings)?.filter(|_| !driver.interrupted) else { return Ok(None) };
    let Some(state) = judge(driver, &settings, &origins)? else { return Ok(None) };
    // The classifier may count the same classes otherwise.
    let targets = driver.targets.take().unwrap_or_else(|| origins.labels.clone());
    Ok(Some(Verdict::of(&state.numbers, &targets, sigma)))
}
