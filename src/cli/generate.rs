//! `lapidary generate`, and the driver of the compute thread that it shares with `lapidary refine`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Outcome, RunOptions, flags};
use crate::checkpoint::Manifest;
use crate::export;
use crate::generator::GenerateSettings;
use crate::refiner::{RefineSettings, State};
use crate::session::document::Document;
use crate::session::host::Folders;
use crate::session::{Provenance, Settings};
use crate::trace::{RunId, Trace};
use crate::worker::{Command, Event, JobId, Origins, Rest, Wake, Worker};

/// How often to look after the compute thread when it says nothing, in case it died without a word.
const LOOK: Duration = Duration::from_millis(200);

/// Generates and writes pictures.
///
/// # Errors
/// The chain from what failed to why; nothing is written then.
pub fn run(options: &RunOptions, folders: &Folders) -> anyhow::Result<Outcome> {
    let RunOptions { settings, out, quiet, .. } = options;
    let (generator, path) = flags::find(&settings.generate.generator, true)?;
    if options.dry_run {
        say_out(&plan(options, &generator, path.as_deref()));
        return Ok(Outcome::Done);
    }
    export::prepare_folder(out)?;
    let mut driver = Driver::start(folders, *quiet)?;
    driver.note(&options.notes);
    let made = driver.generate(settings)?;
    driver.finish();
    let Some(origins) = made else {
        driver.say("stopped before the first pictures were done: nothing is written");
        return Ok(Outcome::Interrupted);
    };
    let document = Document::new(settings, &driver.provenance, Some(&origins), &Trace::default(), Some(out));
    export::write_generated(out, &origins, &document)?;
    let (done, of) = (origins.images.len(), settings.generate.samples);
    if !*quiet {
        let on = driver.device();
        say_out(&format!("{done} pictures on {on}\n{}", written(out, &export::GENERATED_FILES)));
    }
    if driver.interrupted {
        driver.say(&format!("stopped after {done} of {of} pictures; these are written"));
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done)
}

fn plan(options: &RunOptions, generator: &Manifest, path: Option<&Path>) -> String {
    let RunOptions { settings, out, .. } = options;
    [
        describe_model("generator", &settings.generate.generator, generator, path),
        describe_generation(&settings.generate, generator),
        describe_compute(settings),
        would_write(out, &export::GENERATED_FILES),
    ]
    .join("\n")
}

/// A line about a model: title, hash, and where it was found.
pub(super) fn describe_model(role: &str, reference: &str, manifest: &Manifest, path: Option<&Path>) -> String {
    let place = path.map_or_else(|| "bundled".to_owned(), |path| path.display().to_string());
    let hash = manifest.sha256.as_deref().unwrap_or("not in its manifest");
    let Manifest { title, resolution, channels, .. } = manifest;
    format!("{role:<11}{reference}: {title} ({channels}x{resolution}x{resolution}, {place})\n{:<11}SHA-256 {hash}", "")
}

/// Lines about seeds, classes and sampling.
pub(super) fn describe_generation(settings: &GenerateSettings, manifest: &Manifest) -> String {
    let end = settings.first_seed + u64::from(settings.samples);
    let levels = if settings.sigmas.is_empty() {
        "the model's own noise levels".to_owned()
    } else {
        format!("noise levels σ = {:?}", settings.sigmas)
    };
    let labels = settings.labels(manifest.classes.len());
    format!(
        "{:<11}{}..{end} ({} pictures)\n{:<11}{}\n{:<11}n = {} per picture, {levels}",
        "seeds",
        settings.first_seed,
        settings.samples,
        "classes",
        describe_labels(&labels, &manifest.classes),
        "sampling",
        settings.steps,
    )
}

/// Every class that occurs and how often.
pub(super) fn describe_labels(labels: &[usize], classes: &[String]) -> String {
    if classes.is_empty() {
        return "none (the model knows none)".to_owned();
    }
    let count = |class: usize| labels.iter().filter(|label| **label == class).count();
    let of_class = |(class, name): (usize, &String)| match count(class) {
        0 => None,
        n => Some(format!("{name} ×{n}")),
    };
    classes.iter().enumerate().filter_map(of_class).collect::<Vec<_>>().join(", ")
}

/// A line about the device.
pub(super) fn describe_compute(settings: &Settings) -> String {
    format!("{:<11}{}, batch B = {}", "device", settings.compute.device, settings.compute.batch)
}

/// A line about the files of a dry run.
pub(super) fn would_write(out: &Path, files: &[&str]) -> String {
    format!("{:<11}{}: {}", "writes to", out.display(), files.join(", "))
}

/// A line about the files that are there now.
pub(super) fn written(out: &Path, files: &[&str]) -> String {
    format!("written to {}: {}", out.display(), files.join(", "))
}

/// Writes a text for the user's eyes or the next program. A reader that has gone away is no failure.
pub(super) fn say_out(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        tracing::debug!(%error, "nobody reads the output");
    }
}

/// An error from a chain of messages, outermost first.
pub(super) fn failure(chain: &[String]) -> anyhow::Error {
    let mut texts = chain.iter().rev();
    let innermost = texts.next().cloned().unwrap_or_else(|| "the work failed without saying why".to_owned());
    texts.fold(anyhow::Error::msg(innermost), |error, text| error.context(text.clone()))
}

/// Wakes by a message; when one waits already, that will do.
pub(super) fn wake_by(waker: Sender<()>) -> Wake {
    Arc::new(move || {
        let _one_waits = waker.try_send(());
    })
}

/// Gives work to the compute thread and listens to it, to Ctrl-C, and to the clock.
pub(super) struct Driver {
    worker: Worker,
    wakes: Receiver<()>,
    interrupts: Receiver<()>,
    /// Keeps the channel open when no handler could be set.
    _interrupt: Sender<()>,
    bar: ProgressBar,
    quiet: bool,
    jobs: u64,
    /// Ctrl-C was pressed.
    pub(super) interrupted: bool,
    /// What computes, as far as known.
    pub(super) provenance: Provenance,
}

impl Driver {
    pub(super) fn start(folders: &Folders, quiet: bool) -> anyhow::Result<Self> {
        let (waker, wakes) = bounded(1);
        let wake = wake_by(waker);
        let worker = Worker::spawn(folders.cache.clone(), wake).context("the compute thread cannot be started")?;
        let (interrupt, interrupts) = bounded(1);
        listen(interrupt.clone());
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len}  {per_sec}  ETA {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self {
            worker,
            wakes,
            interrupts,
            _interrupt: interrupt,
            bar,
            quiet,
            jobs: 0,
            interrupted: false,
            provenance: Provenance::new(),
        })
    }

    /// Says something past the progress bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| {
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

    /// Removes the progress bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The device in words.
    pub(super) fn device(&self) -> &str {
        self.provenance.device.as_ref().map_or("an unknown device", |device| device.name.as_str())
    }

    /// Makes pictures; fewer than asked for, or none, when interrupted.
    pub(super) fn generate(&mut self, settings: &Settings) -> anyhow::Result<Option<Arc<Origins>>> {
        let (generate, compute) = (settings.generate.clone(), settings.compute.clone());
        let mut made = None;
        self.work(|job| Command::Generate { job, settings: generate, compute }, &mut |event, bar| match event {
            Event::Generating { done, of, .. } => show(bar, "generating", done, of),
            Event::Generated { origins, .. } => made = Some(origins),
            _ => {}
        })?;
        Ok(made)
    }

    /// Begins a run and iterates; `take` gets every state.
    pub(super) fn refine(
        &mut self,
        (run, settings): (RunId, RefineSettings),
        origins: &Arc<Origins>,
        iterations: u32,
        all: &Settings,
        take: &mut dyn FnMut(Arc<State>),
    ) -> anyhow::Result<Rest> {
        let (origins, compute) = (Arc::clone(origins), all.compute.clone());
        self.work(
            |job| Command::Refine { job, run, origins, from: None, settings, iterations: Some(iterations), compute },
            &mut |event, bar| {
                if let Event::State { state, .. } = event {
                    show(bar, "refining", state.iteration, iterations);
                    take(state);
                }
            },
        )
    }

    /// Hands over a command and waits until its work rests or fails.
    fn work(
        &mut self,
        command: impl FnOnce(JobId) -> Command,
        take: &mut dyn FnMut(Event, &ProgressBar),
    ) -> anyhow::Result<Rest> {
        self.jobs += 1;
        let this = JobId(self.jobs);
        self.bar.reset();
        self.worker.send(command(this))?;
        loop {
            while let Some(event) = self.worker.try_event() {
                match event {
                    Event::Device(info) => self.provenance.device = Some(info),
                    Event::Generator(info) => self.provenance.generator = Some(info),
                    Event::Classifier(info) => self.provenance.classifier = Some(info),
                    Event::Preparing { what, .. } => self.bar.set_message(what),
                    Event::Warning(text) => self.say(&format!("warning: {text}")),
                    Event::Failed { job, chain } if job == this => return Err(failure(&chain)),
                    Event::Resting { job, rest } if job == this => return Ok(rest),
                    event => take(event, &self.bar),
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
}

fn show(bar: &ProgressBar, what: &'static str, done: u32, of: u32) {
    // A new phase: its speed says nothing about the last one's.
    if bar.message() != what {
        bar.set_message(what);
        bar.reset();
    }
    bar.set_length(u64::from(of));
    bar.set_position(u64::from(done));
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
    fn labels_are_counted_by_name() {
        let classes = ["stop", "yield", "no entry"].map(str::to_owned);
        assert_eq!(describe_labels(&[0, 2, 0], &classes), "stop ×2, no entry ×1");
    }
}
