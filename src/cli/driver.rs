//! Gives work to the compute thread and waits for it: what all commands share.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use crossbeam::channel::{Receiver, Sender, bounded, select};

use super::progress::Progress;
use super::say::{is_said, say_err, say_out};
use super::{CliError, Outcome, RunOptions, signals};
use crate::export::OutFolder;
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{RefineSettings, State};
use crate::session::host::Folders;
use crate::session::{Provenance, Settings, changes};
use crate::trace::{RunId, Tag};
use crate::worker::train::{Told, TrainSettings};
use crate::worker::{
    Command, ComputeSettings, DeviceInfo, Event, JobId, LpipsFiles, MemoryEstimate, Rest, Steer, Wake, Worker,
};
use crate::zoo::InceptionDialect;

/// How often to look after the compute thread when it says nothing, in case it died without a word.
const LOOK: Duration = Duration::from_millis(200);
/// How long a run that is stopped may take for its last step; what it would give is waited for no longer.
const GRACE: Duration = Duration::from_secs(1);

/// Gives work to the compute thread and listens to it, to Ctrl-C, and to the clock.
pub(super) struct Driver {
    worker: Worker,
    wakes: Receiver<()>,
    interrupts: Receiver<u8>,
    pub(super) progress: Progress,
    quiet: bool,
    jobs: u64,
    /// Estimates that were said.
    estimates: Vec<MemoryEstimate>,
    /// The run has no iterations, so its estimate is not that of a step.
    only_judges: bool,
    /// Warnings that were said.
    warnings: Vec<String>,
    /// Ctrl-C was pressed, or the system said the like.
    pub(super) interrupted: bool,
    /// The signal's number, and when it came.
    signal: Option<(u8, Instant)>,
    /// What computed the results of the session that is repeated.
    recorded: Provenance,
    /// What computes, as far as known.
    pub(super) provenance: Provenance,
    /// What the samples of the last run are refined towards, when it is not their labels.
    pub(super) targets: Option<Vec<usize>>,
    /// Pictures of every batch of something long but the last, which may have fewer.
    batch: Option<NonZeroU32>,
    /// How the work is ended.
    stop: Command,
    /// The work has ended, and what came of it is written.
    writes: Arc<AtomicBool>,
}

impl Driver {
    /// Starts the compute thread; says what the user should know first.
    pub(super) fn start(folders: &Folders, options: &RunOptions) -> anyhow::Result<Self> {
        let recorded =
            options.recorded.as_ref().map_or_else(Provenance::default, |recorded| recorded.provenance.clone());
        let driver = Self { recorded, ..Self::new(folders, Some(options.folder()), options.quiet)? };
        driver.note(&options.notes);
        Ok(driver)
    }

    /// Starts the compute thread for work whose results go to the folder `out`, or to none.
    pub(super) fn new(folders: &Folders, out: Option<&Path>, quiet: bool) -> anyhow::Result<Self> {
        // First: threads inherit which signals they leave to another one.
        let writes = Arc::new(AtomicBool::new(false));
        let interrupts = signals::listen(out.map(Path::to_owned), Arc::clone(&writes));
        let (waker, wakes) = bounded(1);
        let wake = wake_by(waker);
        let worker = Worker::spawn(folders.cache.clone(), wake).context("the compute thread cannot be started")?;
        Ok(Self {
            worker,
            wakes,
            interrupts,
            progress: Progress::new(quiet),
            quiet,
            jobs: 0,
            estimates: Vec::new(),
            only_judges: false,
            warnings: Vec::new(),
            interrupted: false,
            signal: None,
            recorded: Provenance::default(),
            provenance: Provenance::new(),
            targets: None,
            batch: None,
            stop: Command::Stop,
            writes,
        })
    }

    /// How a command ends that was interrupted.
    pub(super) fn stopped(&self) -> Outcome {
        Outcome::Interrupted(self.signal.map_or(0, |(signal, _)| signal))
    }

    /// Says something past the progress bar.
    pub(super) fn say(&self, text: &str) {
        self.progress.bar.suspend(|| say_err(text));
    }

    /// Says that the results of an earlier command are still there, if they are.
    pub(super) fn say_earlier(&self, out: &OutFolder) {
        if out.place(false) != out.path() {
            self.say(&format!("the earlier results in {} stay until all is done", out.path().display()));
        }
    }

    /// Says which files were kept under another name.
    pub(super) fn say_kept(&self, out: &mut OutFolder) {
        out.take_warnings().iter().for_each(|warning| self.say(warning));
    }

    /// Says those of the notes that are said, see [`is_said`].
    pub(super) fn note(&self, notes: &[String]) {
        for note in notes.iter().filter(|note| is_said(note, self.quiet)) {
            self.say(note);
        }
    }

    /// Prints a line of the result past the progress bar, unless quiet.
    ///
    /// # Errors
    /// As [`say_out`].
    pub(super) fn print(&self, line: &str) -> Result<(), CliError> {
        if self.quiet { Ok(()) } else { self.progress.bar.suspend(|| say_out(line)) }
    }

    /// From now on the bar counts pictures of something long, to which `what` is done in batches of one size: so many are done
    /// of so many.
    pub(super) const fn count_pictures(&mut self, what: &'static str, (done, of): (usize, usize), batch: usize) {
        self.progress.count_pictures(what, done, of);
        self.batch = NonZeroU32::new(batch as u32);
    }

    /// Pictures to be made for `n` that are wanted: a GPU gets the last batch of something long in the shape of the others,
    /// for which its kernels are tuned. Where that batch is the first of a run, it is not known yet whether it is for one.
    pub(super) fn filled(&self, n: usize) -> usize {
        let gpu = self.provenance.device.as_ref().is_none_or(|device| !device.cpu);
        self.batch.filter(|_| gpu).map_or(n, |batch| n.max(batch.get() as usize))
    }

    /// Shows that so many of so many pictures were read, and listens for interruptions; whether to read on.
    pub(super) fn is_reading(&mut self, done: usize, of: usize) -> bool {
        self.goes_on("reading", done, of)
    }

    /// Likewise of anything that is done here and not by the compute thread.
    pub(super) fn goes_on(&mut self, what: &'static str, done: usize, of: usize) -> bool {
        self.progress.show_steps(what, done as u64, of as u64, done as u64);
        self.progress.tell_line();
        if let Ok(signal) = self.interrupts.try_recv() {
            self.stop(signal);
        }
        !self.interrupted
    }

    fn stop(&mut self, signal: u8) {
        self.interrupted = true;
        self.signal = Some((signal, Instant::now()));
        self.say("stopping after what is being computed now; Ctrl-C again ends at once");
    }

    /// Removes the progress bar, for the work has ended; what came of it is written next.
    pub(super) fn finish(&self) {
        self.writes.store(true, Ordering::SeqCst);
        self.progress.bar.finish_and_clear();
    }

    /// The device in words.
    pub(super) fn device(&self) -> &str {
        self.provenance.device.as_ref().map_or("an unknown device", |device| device.name.as_str())
    }

    /// Makes pictures; fewer than asked for, or none, when interrupted.
    pub(super) fn generate(&mut self, settings: &Settings) -> anyhow::Result<Option<Arc<Origins>>> {
        let (generate, compute) = (settings.generate.clone(), settings.compute.clone());
        let pictures = u64::from(generate.samples);
        self.make(("generating", pictures), |job| Command::Generate { job, settings: generate, compute })
    }

    /// Makes pictures from pictures; likewise.
    pub(super) fn edit(
        &mut self,
        settings: &Settings,
        reference: Option<Arc<Origins>>,
        mask: Option<Mask>,
    ) -> anyhow::Result<Option<Arc<Origins>>> {
        let Settings { generate, edit, compute, .. } = settings.clone();
        let pictures = u64::from(generate.samples);
        let command = |job| Command::Edit { job, settings: generate, edit, reference, mask, compute, previews: false };
        self.make(("editing", pictures), command)
    }

    fn make(
        &mut self,
        (what, pictures): (&'static str, u64),
        command: impl FnOnce(JobId) -> Command,
    ) -> anyhow::Result<Option<Arc<Origins>>> {
        let mut made = None;
        self.work(command, false, &mut |event, progress| match event {
            Event::Generating { done, of, .. } => {
                progress.show_steps(what, u64::from(done), u64::from(of), pictures);
            }
            Event::Generated { origins, .. } => made = Some(origins),
            _ => {}
        })?;
        Ok(made)
    }

    /// Begins a run and iterates; `take` gets every state. Afterwards [`Self::targets`] are those of the run.
    pub(super) fn refine(
        &mut self,
        (run, settings): (RunId, RefineSettings),
        origins: &Arc<Origins>,
        references: Option<ImageBatch>,
        iterations: u32,
        all: &Settings,
        take: &mut dyn FnMut(Arc<State>),
    ) -> anyhow::Result<Rest> {
        let (origins, compute) = (Arc::clone(origins), all.compute.clone());
        let pictures = origins.images.len() as u64;
        let (iterations_u64, chunk) = (u64::from(iterations), self.batch);
        self.only_judges = iterations == 0;
        self.targets = None;
        let mut targets = None;
        let ended = self.work(
            |job| Command::Refine {
                job,
                run,
                origins,
                from: None,
                references,
                settings,
                iterations: Some(iterations),
                compute,
                chunk,
                tag: Tag::default(),
            },
            true,
            &mut |event, progress| match event {
                Event::Targets { targets: found, .. } => targets = Some(found),
                Event::State { state, .. } => {
                    if iterations > 0 {
                        progress.show_steps("refining", u64::from(state.iteration), iterations_u64, pictures);
                    }
                    take(state);
                }
                _ => {}
            },
        );
        self.targets = targets;
        ended
    }

    /// Has a classifier or an extractor look at pictures: features, logits, and what an extractor sees place by place,
    /// row-major; `None` when interrupted.
    pub(super) fn measure(
        &mut self,
        (classifier, dialect): (&str, Option<InceptionDialect>),
        images: ImageBatch,
        compute: &ComputeSettings,
    ) -> anyhow::Result<Option<[Vec<f32>; 3]>> {
        let (classifier, compute, chunk) = (classifier.to_owned(), compute.clone(), self.batch);
        let (n, mut measured) = (images.len() as u64, None);
        // It has no iterations either.
        self.only_judges = true;
        let command = |job| Command::Measure { job, classifier, dialect, images, compute, chunk };
        // Nothing is lost when the last step is not waited for.
        self.work(command, true, &mut |event, progress| {
            if let Event::Measured { values, logits, spatial, .. } = event {
                progress.show_steps("looking", n, n, n);
                measured = Some([values, logits, spatial]);
            }
        })?;
        Ok(measured)
    }

    /// LPIPS of pictures and their partners, in the same order; `None` when interrupted.
    pub(super) fn distances(
        &mut self,
        lpips: &LpipsFiles,
        pairs: [ImageBatch; 2],
        compute: &ComputeSettings,
    ) -> anyhow::Result<Option<Vec<f32>>> {
        let (lpips, compute, chunk) = (lpips.clone(), compute.clone(), self.batch);
        let mut found = None;
        let command = |job| Command::Compare { job, lpips, pairs, compute, chunk };
        self.work(command, true, &mut |event, _| {
            if let Event::Compared { distances, .. } = event {
                found = Some(distances);
            }
        })?;
        Ok(found)
    }

    /// Trains, or with `waits` only makes everything ready for it.
    pub(super) fn train(
        &mut self,
        (settings, waits): (TrainSettings, bool),
        take: &mut dyn FnMut(Told, &mut Progress),
    ) -> anyhow::Result<Rest> {
        self.stop = Command::Steer(Steer::Stop);
        self.work(|job| Command::Train { job, settings, waits }, false, &mut |event, progress| {
            if let Event::Training { told, .. } = event {
                take(told, progress);
            }
        })
    }

    /// Hands over a command and waits until its work rests or fails. With `told` everything that it gives comes as it goes on, so
    /// that an interruption loses nothing when its last step is not waited for.
    fn work(
        &mut self,
        command: impl FnOnce(JobId) -> Command,
        told: bool,
        take: &mut dyn FnMut(Event, &mut Progress),
    ) -> anyhow::Result<Rest> {
        self.jobs += 1;
        let this = JobId(self.jobs);
        self.progress.begin();
        self.worker.send(command(this))?;
        loop {
            while let Some(event) = self.worker.try_event() {
                match event {
                    Event::Device { info, .. } => self.take_device(info),
                    Event::Generator { info, .. } => {
                        let then = self.recorded.generator.as_ref();
                        self.compare(changes::model(then, (&info.reference, &info.title, &info.sha256)));
                        self.provenance.generator = Some(info);
                    }
                    Event::Classifier { info, .. } => {
                        let then = self.recorded.classifier.as_ref();
                        self.compare(changes::model(then, (&info.reference, &info.title, &info.sha256)));
                        self.provenance.classifier = Some(info);
                    }
                    Event::Preparing { what, .. } => self.progress.bar.set_message(what),
                    Event::Loading { what, done, of, .. } => self.progress.show_bytes(&what, done, of),
                    Event::Estimate { estimate, .. } => self.tell(estimate),
                    Event::Warning(text) => self.warn(&text),
                    Event::Failed { job, chain } if job == this => return Err(failure(&chain)),
                    Event::Resting { job, rest } if job == this => return Ok(rest),
                    event => take(event, &mut self.progress),
                }
            }
            if let Some(text) = self.worker.take_crash() {
                bail!(
                    "the compute thread broke down, which is a fault of this program: report it with this text ({text})"
                );
            }
            if told && self.signal.is_some_and(|(_, since)| since.elapsed() > GRACE) {
                return Ok(Rest::Stopped);
            }
            self.progress.tell_line();
            select! {
                recv(self.wakes) -> _ => {}
                recv(self.interrupts) -> signal => {
                    self.stop(signal.unwrap_or_default());
                    self.worker.send(self.stop.clone())?;
                }
                default(LOOK) => {}
            }
        }
    }

    /// Takes in what computes, and says what was newly checked on it.
    fn take_device(&mut self, info: DeviceInfo) {
        let known = self.provenance.device.take().map_or_else(Vec::new, |device| device.checks);
        let news = info.checks.iter().filter(|check| !known.contains(check));
        self.note(&news.map(|check| format!("checked: {}", check.found)).collect::<Vec<_>>());
        self.provenance.device = Some(info);
    }

    /// Says what differs from what is repeated.
    pub(super) fn compare(&mut self, difference: Option<String>) {
        if let Some(text) = difference {
            self.warn(&text);
        }
    }

    /// Says a warning once, also when it comes again with other numbers.
    fn warn(&mut self, text: &str) {
        let words = without_digits(text);
        if !self.warnings.contains(&words) {
            self.say(&format!("warning: {text}"));
            self.warnings.push(words);
        }
    }

    /// Says an estimate once: how much is free, and how many pictures are left, changes from job to job.
    fn tell(&mut self, estimate: MemoryEstimate) {
        let same = |known: &MemoryEstimate| {
            (known.refines, known.weights, known.per_sample)
                == (estimate.refines, estimate.weights, estimate.per_sample)
        };
        let is_about_it = !(estimate.refines && self.only_judges);
        if is_about_it && !self.estimates.iter().any(same) {
            self.note(&[estimate.to_string()]);
            self.estimates.push(estimate);
        }
    }
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// An error from a chain of messages, outermost first.
fn failure(chain: &[String]) -> anyhow::Error {
    let mut texts = chain.iter().rev();
    let innermost = texts.next().cloned().unwrap_or_else(|| "the work failed without saying why".to_owned());
    texts.fold(anyhow::Error::msg(innermost), |error, text| error.context(text.clone()))
}

/// Wakes by a message; when one waits already, that will do.
fn wake_by(waker: Sender<()>) -> Wake {
    Arc::new(move || {
        let _one_waits = waker.try_send(());
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_messages_keeps_its_order() {
        let error = failure(&["outer".to_owned(), "middle".to_owned(), "inner".to_owned()]);
        let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(texts, ["outer", "middle", "inner"]);
    }

    #[test]
    fn a_warning_is_the_same_with_other_numbers() {
        let warning = |free: u32| without_digits(&format!("one picture needs 70 MiB, but {free} MiB may be used"));
        assert_eq!(warning(64), warning(9));
        assert_ne!(warning(64), without_digits("3 tensors were not used"));
    }
}
