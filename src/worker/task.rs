//! What every piece of work has in common: it goes on step by step, and between two steps it can be paused, stopped or
//! replaced. The loop in `run.rs` does that for all alike; what a task needs from the compute thread it finds in its
//! [`Context`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::compare::Held;
use super::compute::ComputeSettings;
use super::device::{self, DeviceChoice, DeviceInfo, OpenDevice};
use super::error::WorkError;
use super::inbox::Inbox;
use super::memory;
use super::message::{Event, JobId, MemoryEstimate, Rest};
use super::models::{Loaded, Models, Network};
use crate::net::check::{self, Mode};
use crate::refiner::evaluate::JOINED;
use crate::refiner::{Chunks, RefineSettings};
use crate::trace::RunId;
use crate::zoo;

/// How often loading is told about.
const TELL: Duration = Duration::from_millis(50);

/// Takes events; returns false when nobody listens any more.
pub type Sink<'a> = dyn FnMut(Event) -> bool + 'a;

/// A piece of work.
pub(super) trait Task {
    /// The run that it computes, if it does.
    fn run(&self) -> Option<RunId> {
        None
    }

    /// Does one piece: what cannot be interrupted, so as little as makes sense, such as one network call.
    ///
    /// # Errors
    /// [`WorkError`], after which the task is dropped.
    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError>;

    /// Steps that it takes before those that a plan counts.
    fn lead(&self) -> u32 {
        0
    }

    /// Why it rests when the steps that were planned are done.
    fn end_of_plan(&self) -> Rest {
        Rest::Paused
    }

    /// Takes new settings.
    ///
    /// # Errors
    /// [`WorkError`], after which the task is dropped.
    fn update(&mut self, _settings: RefineSettings, _context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        Ok(())
    }

    /// Hands over what is done, because it is to stop here. Returns whether it could go on later.
    fn stop(&mut self, _context: &mut Context<'_, '_>) -> bool {
        false
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was made ready; no plan counts that.
    Prepared,
    /// One step was done.
    More,
    /// One step was done, and more would change nothing.
    Rest(Rest),
    /// All is done; the task is dropped.
    Done,
    /// It was told to stop, and has handed over what is done; the task is dropped.
    Stopped,
}

/// What the compute thread has, and the way out of it.
pub(super) struct Context<'a, 'c> {
    /// Name of the work that goes on.
    pub(super) job: JobId,
    pub(super) inbox: Inbox<'c>,
    sink: &'a mut Sink<'a>,
    /// Somebody takes events.
    pub(super) listening: bool,
    cache: PathBuf,
    pub(super) device: Option<(DeviceChoice, OpenDevice)>,
    /// The GPU that there is computes wrongly: `auto` means the CPU.
    distrusted: bool,
    /// The fault that tests plant ([`Mode::wrong`]).
    pub(super) wrong: Option<String>,
    models: Models,
    /// LPIPS on the open device.
    pub(super) lpips: Option<Held>,
    /// Files of models that are in use: whoever removes old ones leaves these.
    pub(super) in_use: Vec<PathBuf>,
    /// Model hash, picture size and chunk size whose kernels are known to be tuned.
    pub(super) warmed: Vec<(String, [usize; 3], usize)>,
}

impl<'a, 'c> Context<'a, 'c> {
    pub(super) fn new(inbox: Inbox<'c>, cache: PathBuf, sink: &'a mut Sink<'a>) -> Self {
        Self {
            job: JobId(0),
            inbox,
            sink,
            listening: true,
            cache,
            device: None,
            distrusted: false,
            wrong: std::env::var("LAPIDARY_WRONG_KERNEL").ok(),
            models: Models::default(),
            lpips: None,
            in_use: Vec::new(),
            warmed: Vec::new(),
        }
    }

    pub(super) fn publish(&mut self, event: Event) {
        self.listening = self.listening && (self.sink)(event);
    }

    /// Opens the device that is chosen, unless it is open; tells which it is.
    pub(super) fn open_device(&mut self, choice: &DeviceChoice) -> Result<OpenDevice, WorkError> {
        if let Some((open_choice, open)) = &self.device
            && open_choice == choice
        {
            let open = open.clone();
            // Said for every piece of work: whoever opened another session meanwhile must not keep its device.
            self.publish(Event::Device { job: self.job, info: open.info.clone() });
            return Ok(open);
        }
        // Models live on the old device.
        self.close_device();
        let open = match choice {
            DeviceChoice::Auto if self.distrusted => device::cpu(),
            choice => device::open(choice)?,
        };
        self.device = Some((choice.clone(), open.clone()));
        self.set_mode();
        self.publish(Event::Device { job: self.job, info: open.info.clone() });
        if open.info.software {
            self.publish(Event::Warning(format!(
                "{} draws with the CPU, so it is slower than the device \"cpu\": use it for tests only",
                open.info.name
            )));
        }
        Ok(open)
    }

    fn close_device(&mut self) {
        (self.models, self.lpips, self.device) = (Models::default(), None, None);
        self.warmed.clear();
    }

    /// Networks of this thread compute as the open device does.
    pub(super) fn set_mode(&self) {
        let info = self.device.as_ref().map(|(_, open)| &open.info).filter(|info| !info.cpu);
        let mode = info.map(|info| Mode { untuned: info.untuned, wrong: self.wrong.clone() });
        check::set_mode(mode.unwrap_or_default());
    }

    /// Has the open device compute without tuned kernels from here on; everything on it is to be checked anew.
    pub(super) fn untune(&mut self) {
        self.amend_device(|info| {
            info.untuned = true;
            info.checks.clear();
        });
        self.warmed.clear();
        self.set_mode();
    }

    /// Changes what is known of the open device, and tells.
    pub(super) fn amend_device(&mut self, amend: impl FnOnce(&mut DeviceInfo)) {
        let Some((_, open)) = &mut self.device else { return };
        amend(&mut open.info);
        let info = open.info.clone();
        self.publish(Event::Device { job: self.job, info });
    }

    /// Whether the open device was not asked for by name, so that the CPU may take its place, as it then does when a device
    /// is opened the next time.
    pub(super) fn distrust_device(&mut self) -> bool {
        let may = matches!(&self.device, Some((DeviceChoice::Auto, _)));
        if may {
            self.distrusted = true;
            self.close_device();
        }
        may
    }

    /// Where unpacked models and other things lie that can be made again.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Makes sure that a model is in memory as its file is now, and tells what it is.
    pub(super) fn load<M: Network>(
        &mut self,
        reference: &str,
        compute: &ComputeSettings,
        open: &OpenDevice,
    ) -> Result<Loaded<M>, WorkError> {
        let budget = memory::for_models(compute.memory_mib, open.info.cpu);
        let (loaded, is_new) = {
            let mut watch = watch(self.job, &mut self.inbox, &mut *self.sink);
            self.models.load::<M>(reference, &self.cache, (&open.device, budget), &mut watch)?
        };
        if let Some(first) = loaded.info.report.unused.first().filter(|_| is_new) {
            let warning = format!(
                "{} tensors of {} were not used (for example {first:?}): check that its manifest names the right architecture",
                loaded.info.report.unused.len(),
                loaded.info.reference
            );
            self.publish(Event::Warning(warning));
        }
        let assumed = if is_new { zoo::notes(reference) } else { Vec::new() };
        if !assumed.is_empty() {
            let name = Path::new(reference).file_name().map_or_else(|| reference.into(), OsStr::to_string_lossy);
            let assumed = assumed.join("\n- ");
            self.publish(Event::Warning(format!(
                "no manifest says what {name} is, so some of it is assumed; where that is wrong, correct the manifest that `lapidary inspect` prints\n- {assumed}"
            )));
        }
        self.publish(M::event(self.job, loaded.info.clone()));
        Ok(loaded)
    }

    /// Reads a model a second time, onto the CPU, and keeps it nowhere.
    pub(super) fn load_on_cpu<M: Network>(&mut self, reference: &str) -> Result<(Loaded<M>, OpenDevice), WorkError> {
        let open = device::cpu();
        let mut watch = watch(self.job, &mut self.inbox, &mut *self.sink);
        let budget = u64::MAX;
        let (loaded, _) = Models::default().load::<M>(reference, &self.cache, (&open.device, budget), &mut watch)?;
        Ok((loaded, open))
    }

    /// How a batch of `n` is cut, so that what one call needs fits into memory; tells the estimate. With `chunk` a GPU gets
    /// chunks of that many samples, also for fewer.
    ///
    /// # Errors
    /// [`WorkError::Memory`] when not even one picture fits into what the user allows.
    pub(super) fn chunks(
        &mut self,
        compute: &ComputeSettings,
        (n, chunk): (usize, Option<usize>),
        (refines, weights, per_sample): (bool, u64, u64),
    ) -> Result<Chunks, WorkError> {
        let cpu = self.device.as_ref().is_some_and(|(_, open)| open.info.cpu);
        let budget = memory::budget(compute.memory_mib, cpu, weights);
        let wanted = if cpu { n } else { chunk.unwrap_or(n).min(compute.batch.max(1) as usize) };
        let estimate = MemoryEstimate::fit(refines, weights, per_sample, wanted, budget);
        let at_once = estimate.at_once as usize;
        // On the CPU one chunk per thread is in work, however many may be begun; those of a compiled network hold several.
        let together = if refines { JOINED } else { Chunks::most(per_sample) };
        let in_work = if cpu { at_once.min(rayon::current_num_threads() * together) as u32 } else { estimate.at_once };
        let estimate = MemoryEstimate { at_once: in_work, ..estimate };
        self.publish(Event::Estimate { job: self.job, estimate });
        if let Some(limit) = compute.memory_mib.filter(|_| estimate.is_tight()) {
            return Err(WorkError::Memory { needed: estimate.total() >> 20, limit });
        }
        if estimate.is_tight() {
            self.publish(Event::Warning(format!(
                "one picture at a time needs about {} MiB, but {} MiB may be used: close other programs, raise the limit, or take a smaller model or picture",
                estimate.total() >> 20,
                budget >> 20
            )));
        }
        Ok(if cpu { Chunks { at_once, ..Chunks::CPU } } else { Chunks::gpu(at_once) })
    }
}

/// Tells now and then how much of a file is read, and hears whether that is still wanted.
fn watch<'w>(job: JobId, inbox: &'w mut Inbox<'_>, sink: &'w mut Sink<'_>) -> impl FnMut(&str, u64, u64) -> bool + 'w {
    let mut told = Instant::now();
    move |what, done, of| {
        if told.elapsed() < TELL {
            return true;
        }
        told = Instant::now();
        sink(Event::Loading { job, what: what.to_owned(), done, of }) && !inbox.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_takes_the_last_short_batch_of_a_stream_in_the_shape_of_the_others() {
        let (_sender, receiver) = crossbeam::channel::bounded(1);
        let mut estimates = Vec::new();
        let mut sink = |event: Event| {
            if let Event::Estimate { estimate, .. } = event {
                estimates.push(estimate.at_once);
            }
            true
        };
        // No device is open, so it is not the CPU.
        let mut context = Context::new(Inbox::new(&receiver), PathBuf::new(), &mut sink);
        let compute = ComputeSettings { batch: 64, ..Default::default() };
        let mut size = |n, chunk| context.chunks(&compute, (n, chunk), (true, 0, 1)).unwrap().size;
        assert_eq!([size(64, Some(64)), size(16, Some(64)), size(16, None), size(200, None)], [64, 64, 16, 64]);
        assert_eq!(estimates, [64, 64, 16, 64], "memory is that of the shape");
        assert_eq!(Chunks::gpu(64).filled(&[7; 16]).len(), 64);
    }

    #[test]
    fn a_limit_of_memory_is_one() {
        let (_sender, receiver) = crossbeam::channel::bounded(1);
        let mut sink = |_: Event| true;
        let mut context = Context::new(Inbox::new(&receiver), PathBuf::new(), &mut sink);
        let compute = ComputeSettings { memory_mib: Some(64), ..Default::default() };
        assert_eq!(context.chunks(&compute, (8, None), (true, 20 << 20, 10 << 20)).unwrap().size, 2);
        let error = context.chunks(&compute, (8, None), (true, 20 << 20, 100 << 20)).unwrap_err().to_string();
        assert!(error.starts_with("one picture at a time needs about 195 MiB, but 64 MiB are allowed"), "{error}");
        assert!(
            context.chunks(&ComputeSettings::default(), (1, None), (true, 1 << 40, 1 << 40)).is_ok(),
            "a guess warns"
        );
    }
}
