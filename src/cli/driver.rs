//! Gives work to the compute thread and waits for it: what all commands share.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use crossbeam::channel::{Receiver, Sender, bounded, select};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Outcome;
use crate::generator::Mask;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{RefineSettings, State};
use crate::session::host::Folders;
use crate::session::{Provenance, Settings};
use crate::trace::{RunId, Tag};
use crate::worker::{Command, Event, JobId, MemoryEstimate, Rest, Wake, Worker};

/// How often to look after the compute thread when it says nothing, in case it died without a word.
const LOOK: Duration = Duration::from_millis(200);
/// The progress bar while pictures are computed.
const STEPS: &str = "{msg} [{bar:30}] {pos}/{len}  {per_sec}  ETA {eta}";
/// The progress bar while a file is read.
const BYTES: &str = "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}";

/// Gives work to the compute thread and listens to it, to Ctrl-C, and to the clock.
pub(super) struct Driver {
    worker: Worker,
    wakes: Receiver<()>,
    interrupts: Receiver<()>,
    /// Keeps the channel open when no handler could be set.
    _interrupt: Sender<()>,
    progress: Progress,
    quiet: bool,
    jobs: u64,
    /// Estimates that were said.
    estimates: Vec<MemoryEstimate>,
    /// Warnings that were said.
    warnings: Vec<String>,
    /// Ctrl-C was pressed.
    pub(super) interrupted: bool,
    /// What computes, as far as known.
    pub(super) provenance: Provenance,
    /// What the samples of the last run are refined towards, when it is not their labels.
    pub(super) targets: Option<Vec<usize>>,
    /// Pictures of every batch of something long but the last, which may have fewer.
    batch: Option<NonZeroU32>,
}

/// The progress bar.
struct Progress {
    bar: ProgressBar,
    /// Pictures before this batch and in all, when one job after the other works on parts of something long.
    long: Option<(u64, u64)>,
}

impl Driver {
    pub(super) fn start(folders: &Folders, quiet: bool) -> anyhow::Result<Self> {
        let (waker, wakes) = bounded(1);
        let wake = wake_by(waker);
        let worker = Worker::spawn(folders.cache.clone(), wake).context("the compute thread cannot be started")?;
        let (interrupt, interrupts) = bounded(1);
        listen(interrupt.clone());
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let progress = Progress { bar: ProgressBar::with_draw_target(None, target), long: None };
        progress.bar.set_style(style(STEPS));
        Ok(Self {
            worker,
            wakes,
            interrupts,
            _interrupt: interrupt,
            progress,
            quiet,
            jobs: 0,
            estimates: Vec::new(),
            warnings: Vec::new(),
            interrupted: false,
            provenance: Provenance::new(),
            targets: None,
            batch: None,
        })
    }

    /// Says something past the progress bar.
    pub(super) fn say(&self, text: &str) {
        self.progress.bar.suspend(|| {
            if let Err(error) = writeln!(std::io::stderr().lock(), "{text}") {
                tracing::debug!(%error, "nobody reads the messages");
            }
        });
    }

    /// Says what may be left out when quiet.
    pub(super) fn note(&self, notes: &[String]) {
        for note in notes.iter().filter(|_| !self.quiet) {
            self.say(note);
        }
    }

    /// Prints a line of the result past the progress bar, unless quiet.
    pub(super) fn print(&self, line: &str) {
        if !self.quiet {
            self.progress.bar.suspend(|| say_out(line));
        }
    }

    /// From now on the bar counts pictures of something long, which comes in batches of one size: so many are done of so many.
    pub(super) const fn count_pictures(&mut self, done: usize, of: usize, batch: usize) {
        self.progress.long = Some((done as u64, of as u64));
        self.batch = NonZeroU32::new(batch as u32);
    }

    /// Removes the progress bar.
    pub(super) fn finish(&self) {
        self.progress.bar.finish_and_clear();
    }

    /// The device in words.
    pub(super) fn device(&self) -> &str {
        self.provenance.device.as_ref().map_or("an unknown device", |device| device.name.as_str())
    }

    /// Makes pictures; fewer than asked for, or none, when interrupted.
    pub(super) fn generate(&mut self, settings: &Settings) -> anyhow::Result<Option<Arc<Origins>>> {
        let (generate, compute) = (settings.generate.clone(), settings.compute.clone());
        self.make(|job| Command::Generate { job, settings: generate, compute })
    }

    /// Makes pictures from pictures; likewise.
    pub(super) fn edit(
        &mut self,
        settings: &Settings,
        reference: Option<Arc<Origins>>,
        mask: Option<Mask>,
    ) -> anyhow::Result<Option<Arc<Origins>>> {
        let Settings { generate, edit, compute, .. } = settings.clone();
        self.make(|job| Command::Edit { job, settings: generate, edit, reference, mask, compute })
    }

    fn make(&mut self, command: impl FnOnce(JobId) -> Command) -> anyhow::Result<Option<Arc<Origins>>> {
        let mut made = None;
        self.work(command, &mut |event, progress| match event {
            Event::Generating { done, of, .. } => progress.show("generating", u64::from(done), u64::from(of)),
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
            &mut |event, progress| match event {
                Event::Targets { targets: found, .. } => targets = Some(found),
                Event::State { state, .. } => {
                    progress.show_state(u64::from(state.iteration), iterations_u64, pictures);
                    take(state);
                }
                _ => {}
            },
        );
        self.targets = targets;
        ended
    }

    /// Hands over a command and waits until its work rests or fails.
    fn work(
        &mut self,
        command: impl FnOnce(JobId) -> Command,
        take: &mut dyn FnMut(Event, &Progress),
    ) -> anyhow::Result<Rest> {
        self.jobs += 1;
        let this = JobId(self.jobs);
        self.progress.begin();
        self.worker.send(command(this))?;
        loop {
            while let Some(event) = self.worker.try_event() {
                match event {
                    Event::Device { info, .. } => self.provenance.device = Some(info),
                    Event::Generator { info, .. } => self.provenance.generator = Some(info),
                    Event::Classifier { info, .. } => self.provenance.classifier = Some(info),
                    Event::Preparing { what, .. } => self.progress.bar.set_message(what),
                    Event::Loading { what, done, of, .. } => self.progress.show_bytes(&what, done, of),
                    Event::Estimate { estimate, .. } => self.tell(estimate),
                    Event::Warning(text) => self.warn(&text),
                    Event::Failed { job, chain } if job == this => return Err(failure(&chain)),
                    Event::Resting { job, rest } if job == this => return Ok(rest),
                    event => take(event, &self.progress),
                }
            }
            if let Some(text) = self.worker.take_crash() {
                bail!(
                    "the compute thread broke down, which is a fault of this program: report it with this text ({text})"
                );
            }
            select! {
                recv(self.wakes) -> _ => {}
                recv(self.interrupts) -> _ => {
                    self.interrupted = true;
                    self.say("stopping after what is being computed now; Ctrl-C again ends at once");
                    self.worker.send(Command::Stop)?;
                }
                default(LOOK) => {}
            }
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
        if !self.estimates.iter().any(same) {
            self.note(&[estimate.to_string()]);
            self.estimates.push(estimate);
        }
    }
}

impl Progress {
    /// Another job begins.
    fn begin(&self) {
        // The speed of one job says nothing about another, unless both are parts of one.
        if self.long.is_none() {
            self.bar.reset();
        }
    }

    /// Shows a state of a run: its iterations, or the pictures of something long that they are worth.
    fn show_state(&self, iteration: u64, iterations: u64, pictures: u64) {
        match self.long {
            Some((before, of)) => {
                let worth = (pictures * iteration.min(iterations)).checked_div(iterations).unwrap_or(0);
                self.show("refining", before + worth, of);
            }
            None => self.show("refining", iteration, iterations),
        }
    }

    fn show(&self, what: &str, done: u64, of: u64) {
        self.phase(what, STEPS);
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    fn show_bytes(&self, what: &str, done: u64, of: u64) {
        self.phase(what, BYTES);
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    /// A new phase: its speed says nothing about the last one's.
    fn phase(&self, what: &str, template: &str) {
        if self.bar.message() != what {
            self.bar.set_style(style(template));
            self.bar.set_message(what.to_owned());
            self.bar.reset();
        }
    }
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes a text for the user's eyes or the next program. A reader that has gone away is no failure.
pub(super) fn say_out(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        tracing::debug!(%error, "nobody reads the output");
    }
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

/// The first Ctrl-C asks the work to stop, the second ends the program; files are written whole, so nothing is torn.
fn listen(interrupt: Sender<()>) {
    let mut pressed = false;
    let handler = move || {
        if pressed {
            std::process::exit(i32::from(Outcome::Interrupted.exit_code()));
        }
        pressed = true;
        let _heard = interrupt.try_send(());
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        tracing::warn!(%error, "Ctrl-C will end the program without writing what is done");
    }
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

    #[test]
    fn something_long_counts_its_pictures() {
        let hidden = |long| Progress { bar: ProgressBar::hidden(), long };
        let at = |progress: &Progress| (progress.bar.position(), progress.bar.length());
        let long = hidden(Some((128, 50_000)));
        long.show_state(5, 10, 64);
        assert_eq!(at(&long), (160, Some(50_000)));
        long.begin();
        assert_eq!(at(&long), (160, Some(50_000)), "the next batch goes on where this one ended");
        let short = hidden(None);
        short.show_state(5, 10, 64);
        assert_eq!(at(&short), (5, Some(10)));
        for progress in [STEPS, BYTES] {
            ProgressStyle::with_template(progress).unwrap();
        }
    }
}
