//! One number of pictures that another command makes, to choose by: what it needs of the real pictures is checked and computed
//! before the first of them is made.

use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::sync::Arc;

use anyhow::Context as _;

use super::error::EvaluateError;
use super::extractor::{Extractor, in_words};
use super::looking::{BATCH, Looker, Sight};
use super::plan::{Job, Plan, What};
use super::reference::{Described, Reference, joined};
use super::sets::{Held, Kind, Pictures};
use super::subject::Subject;
use super::{CliError, EvaluateOptions, weights_of};
use crate::cli::describe::describe_model;
use crate::cli::driver::Driver;
use crate::cli::progress::Progress;
use crate::cli::rehearsal::look_into;
use crate::cli::say::{is_said, say_err};
use crate::cli::{RunOptions, flags};
use crate::data::Batch;
use crate::image::ImageBatch;
use crate::metrics::{Against, Features, Metric, MetricError, Sure, cautions};
use crate::origins::Origins;
use crate::session::host::Folders;
use crate::units::counted;
use crate::zoo::{self, InceptionDialect};

/// Every point of a search has as many pictures, so what is said of one is said of all.
const EVERY: &str = "every point";

/// What is found out before anything is computed.
pub(in crate::cli) struct Yardstick {
    options: EvaluateOptions,
    metric: Metric,
    /// What looks, and the real pictures; the shape is that of the pictures that are made.
    subject: Subject,
    /// Pictures that a number is of.
    count: usize,
}

/// Makes the pictures of a point, some at a time; `None` when interrupted, and when there are no more.
pub(in crate::cli) type Make<'a> = dyn FnMut(&mut Driver) -> anyhow::Result<Option<Arc<Origins>>> + 'a;

/// Likewise, with the real pictures looked at.
pub(in crate::cli) struct Judge {
    yardstick: Yardstick,
    against: Against,
    /// The real pictures, where there are some.
    real: Option<Described>,
    /// Features of a picture.
    width: usize,
}

impl Yardstick {
    /// Opens and checks what is asked for, for `count` pictures of `[C, H, W]`.
    ///
    /// # Errors
    /// What keeps the number from being had of these pictures, or the real ones from being opened.
    pub(in crate::cli) fn open(
        options: EvaluateOptions,
        metric: Metric,
        (count, shape): (usize, [usize; 3]),
        folders: &Folders,
    ) -> anyhow::Result<Self> {
        metric.check_count(count)?;
        let extractor = Extractor::find(&options)?;
        let manifest = &extractor.manifest;
        let reference =
            if metric.compares() { Reference::open(&options.reference, manifest)? } else { Reference::default() };
        if metric == Metric::SpatialFrechet && extractor.dialect.is_none() {
            let (metric, name) = (metric.label(), manifest.name.clone());
            return Err(EvaluateError::NoPlaces { metric, name }.told());
        }
        if metric.compares() {
            reference.check_metric(metric)?;
        }
        match extractor.dialect {
            // Other pixels are other pictures.
            None => {
                flags::check_shape(manifest, shape)?;
                reference.check(shape)?;
            }
            // What is grey comes to it as colours.
            Some(_) if ![1, manifest.channels].contains(&shape[0]) => {
                let (found, expected) = (shape[0], manifest.channels);
                return Err(CliError::Channels { found, expected, model: "extractor" }.into());
            }
            Some(_) => {}
        }
        let sha256 = weights_of(&options, &extractor, folders)?;
        Ok(Self { options, metric, subject: Subject::of_real((extractor, sha256), reference, shape)?, count })
    }

    /// The files of the real pictures.
    pub(in crate::cli) fn files(&self) -> Vec<PathBuf> {
        self.subject.reference.files()
    }

    /// What else decides which number it is.
    pub(in crate::cli) fn key(&self) -> String {
        format!("{} {}", self.subject.sha256, self.subject.extractor.resize())
    }

    /// Lines of a dry run about what looks, and at what.
    pub(in crate::cli) fn describe(&self) -> anyhow::Result<String> {
        let (manifest, path) = zoo::find(&self.options.extractor)?;
        let mut lines = vec![describe_model("extractor", &self.options.extractor, &manifest, path.as_deref())];
        lines.extend(self.subject.extractor.dialect.map(|dialect| {
            format!("{:<11}{}: {}, {}", "dialect", dialect.key(), dialect.resize_in_words(), dialect.scaling_in_words())
        }));
        if self.metric.compares() {
            let files: Vec<String> = self.options.reference.iter().map(|path| path.display().to_string()).collect();
            let count: usize = self.subject.reference.parts.iter().map(Pictures::count).sum();
            let what = if count > 0 { counted(count, "picture") } else { "mean and covariance".to_owned() };
            lines.push(format!("{:<11}{what} ({})", "reference", files.join(", ")));
        }
        Ok(lines.join("\n"))
    }

    /// Reads all that the run would look at, without a network.
    ///
    /// # Errors
    /// Those of the run, in its words.
    pub(in crate::cli) fn rehearse(&self, run: &RunOptions) -> anyhow::Result<()> {
        // The session's classifier is another network.
        let run = RunOptions { recorded: None, ..run.clone() };
        look_into(&zoo::find(&self.options.extractor)?, &run)?;
        let (mut progress, mut done, of) = (Progress::new(run.quiet), 0, self.to_look_at());
        let mut notes = Vec::new();
        for part in &self.subject.reference.parts {
            let mut each = |batch: Batch| {
                done += batch.images.len();
                progress.show_steps("reading", done as u64, of as u64, done as u64);
                progress.tell_line();
                anyhow::Ok(true)
            };
            notes.extend(part.notes.iter().cloned().chain(part.for_each_batch_of(
                part.range.clone(),
                (self.subject.shape, BATCH),
                &mut each,
            )?));
        }
        progress.bar.finish_and_clear();
        notes.iter().filter(|note| is_said(note, run.quiet)).for_each(|note| say_err(note));
        Ok(())
    }

    /// Real pictures that no file says anything of yet.
    fn to_look_at(&self) -> usize {
        let is_new = |part: &&Pictures| !matches!(part.kind, Kind::Seen(_));
        self.subject.reference.parts.iter().filter(is_new).map(Pictures::count).sum()
    }

    /// Looks at the real pictures, once for all that are judged; `None` when interrupted.
    ///
    /// # Errors
    /// What keeps them from being looked at, or the number from being had of them.
    pub(in crate::cli) fn look(mut self, driver: &mut Driver) -> anyhow::Result<Option<Judge>> {
        driver.note(self.subject.extractor.note(&self.subject.sha256).as_slice());
        let Some([width, classes]) = self.probe(driver)? else { return Ok(None) };
        driver.note(self.subject.reference.assumed(&self.subject.protocol(), self.subject.shape).as_slice());
        let (mut against, mut described, mut real) = (Against::default(), None, None);
        if self.metric.compares() {
            let (parts, plan) = (&self.subject.reference.parts, self.subject.plan(&[]));
            let mut looker = self.looker(driver, self.to_look_at());
            let looked = looker.look_at_all(parts, What::Real, (&plan, Sight::Pictures))?;
            driver.progress.count_steps();
            let Some(looked) = looked else { return Ok(None) };
            let (found, says) = self.subject.reference.real(joined(looked)?)?;
            against = match Against::for_one(self.metric, &found, &mut |done, of| driver.goes_on("comparing", done, of))
            {
                Err(MetricError::Stopped) => return Ok(None),
                made => made.context("nothing can be compared with the real pictures")?,
            };
            (described, real) = (Some(says), Some(found));
        }
        for note in cautions(self.metric, real.as_ref(), (EVERY, self.count), [width, classes]) {
            driver.say(&format!("warning: {note}"));
        }
        // What is needed of them is in `against`.
        self.subject.reference.parts.clear();
        Ok(Some(Judge { yardstick: self, against, real: described, width }))
    }

    fn looker<'a>(&'a self, driver: &'a mut Driver, of: usize) -> Looker<'a> {
        let Self { options, subject, .. } = self;
        Looker { options, subject, driver, done: 0, of }
    }

    /// Features and logits of a picture: has the extractor look at a grey one, so that whatever is wrong with it, or with
    /// statistics of another one, is told before pictures are made.
    fn probe(&self, driver: &mut Driver) -> anyhow::Result<Option<[usize; 2]>> {
        let [c, h, w] = self.subject.shape;
        let grey = ImageBatch::new([1, c, h, w], vec![0.5; c * h * w]);
        let model = (self.options.extractor.as_str(), self.subject.extractor.dialect);
        // A GPU's kernels are tuned for the batches that follow.
        driver.count_pictures("looking", (0, 1), BATCH);
        let seen = driver.measure(model, grey, &self.options.compute)?;
        driver.progress.count_steps();
        let Some([values, logits, _]) = seen else { return Ok(None) };
        self.subject.reference.check_width(values.len(), &self.subject.extractor.manifest.name)?;
        Ok(Some([values.len(), logits.len()]))
    }
}

impl Judge {
    /// The number of the pictures that `make` makes; `None` when interrupted.
    ///
    /// # Errors
    /// What keeps pictures from being made or looked at, or the number from being had of them.
    pub(in crate::cli) fn judge(&self, driver: &mut Driver, make: &mut Make<'_>) -> anyhow::Result<Option<Sure>> {
        let Yardstick { metric, count, ref subject, .. } = self.yardstick;
        let mut all: Option<Features> = None;
        while all.as_ref().map_or(0, Features::len) < count {
            let Some(origins) = make(driver)?.filter(|_| !driver.interrupted) else { return Ok(None) };
            let held = Held { images: origins.images.clone(), names: Vec::new(), labels: None };
            let set = Pictures::of_held(EVERY.to_owned(), Path::new(""), held, (None, false))?;
            let job = Job::new(What::Set(0), subject.extractor.runs(&set, subject.shape), BATCH);
            let mut looker = self.yardstick.looker(driver, count);
            looker.done = all.as_ref().map_or(0, Features::len);
            let looked = looker.look_at_all(from_ref(&set), What::Set, (&Plan::new(vec![job]), Sight::Pictures))?;
            driver.progress.count_steps();
            for looked in looked.into_iter().flatten() {
                match &mut all {
                    Some(all) => all.append(&looked.features)?,
                    None => all = Some(looked.features),
                }
            }
            if driver.interrupted {
                return Ok(None);
            }
        }
        let features = all.context("there are no pictures to judge")?;
        let watch = &mut |done, of| driver.goes_on("comparing", done, of);
        match self.against.number(metric, &features, watch) {
            Err(MetricError::Stopped) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Which number it is, in one sentence.
    pub(in crate::cli) fn in_words(&self) -> String {
        let Yardstick { metric, count, ref subject, .. } = self.yardstick;
        let Subject { extractor, sha256, shape: [_, height, width], .. } = subject;
        let real = self.real.as_ref().map_or_else(String::new, |real| format!(" against {real}"));
        let seen = in_words((&extractor.manifest.name, sha256, self.width), extractor.dialect, [*height, *width]);
        let better = if metric.larger_is_better() { "larger" } else { "smaller" };
        format!("{} of {count} generated pictures{real}, in {seen}; {better} is better", metric.label())
    }

    /// What a table says of the number, column by column, in the words of the tables of `lapidary evaluate`.
    pub(in crate::cli) fn columns(&self) -> [(&'static str, String); 12] {
        let Yardstick { metric, count, subject, .. } = &self.yardstick;
        let Subject { extractor, sha256, shape: [_, height, width], .. } = subject;
        let of_real = |say: fn(&Described) -> String| self.real.as_ref().map_or_else(String::new, say);
        [
            ("metric", metric.key().to_owned()),
            ("better", if metric.larger_is_better() { "larger" } else { "smaller" }.to_owned()),
            ("pictures", count.to_string()),
            ("extractor", extractor.manifest.name.clone()),
            ("extractor_sha256", sha256.clone()),
            ("dialect", extractor.dialect.map_or("", InceptionDialect::key).to_owned()),
            ("features", self.width.to_string()),
            ("height", height.to_string()),
            ("width", width.to_string()),
            ("reference", of_real(|real| real.files.clone())),
            ("real_pictures", of_real(|real| real.count.map_or_else(String::new, |count| count.to_string()))),
            ("reference_sha256", of_real(|real| real.identity.clone())),
        ]
    }
}
