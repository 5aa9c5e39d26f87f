//! The compute thread: commands in, events out.
//!
//! It owns every tensor. Both channels are bounded; it may wait for a full event queue, the other side never waits. It
//! publishes, then wakes. It knows no window: waking is a closure.
//!
//! Every kind of work is a `Task` in a file of its own; `run.rs` treats them all alike. A training goes on beside what is asked
//! for, one step at a time, when nothing else is to be done or has been done for long enough.

mod compare;
pub mod compute;
pub mod device;
mod edit;
mod error;
mod generate;
mod hashing;
mod inbox;
pub mod live;
mod make;
mod measure;
mod memory;
pub mod message;
mod models;
mod probe;
mod refine;
pub mod run;
mod task;
pub mod train;
mod verdict;
mod warm;

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError};

pub use self::compute::ComputeSettings;
pub use self::device::{Check, DeviceChoice, DeviceError, DeviceInfo};
pub(crate) use self::hashing::Hashing;
pub use self::inbox::enqueue;
pub use self::message::{Command, Event, JobId, LpipsFiles, MemoryEstimate, ModelInfo, Rest, Steer};
pub use self::run::serve;
pub use self::task::Sink;

/// Commands that may wait.
const COMMANDS: usize = 64;
/// Events that may wait. Each may carry a batch of pictures, so this bounds memory when nobody drains.
const EVENTS: usize = 32;
/// How long an ending program waits for the current step, and how often it looks. What the step computes is lost either way,
/// and a GPU that is being tuned for may take a minute.
const GRACE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(2);
/// Bytes of the thread's stack, as those of a program's first thread: a network is differentiated on it.
const STACK: usize = 8 << 20;

/// Wakes whoever drains the events.
pub type Wake = std::sync::Arc<dyn Fn() + Send + Sync>;

/// A handle to the compute thread; dropping it ends the thread after its current step, without waiting long for that.
#[derive(Debug)]
pub struct Worker {
    channels: Option<(Sender<Command>, Receiver<Event>)>,
    thread: Option<JoinHandle<()>>,
}

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too many commands wait.
    #[error("the compute thread is busy and its queue is full: wait for the current iteration")]
    Full,
    /// The thread has ended.
    #[error("the compute thread has ended: restart it")]
    Ended,
}

impl Worker {
    /// Starts the thread. `cache` receives unpacked models; `wake` is called after every event.
    ///
    /// # Errors
    /// When the system refuses a new thread.
    pub fn spawn(cache: PathBuf, wake: Wake) -> std::io::Result<Self> {
        let (command_sender, command_receiver) = crossbeam::channel::bounded(COMMANDS);
        let (event_sender, event_receiver) = crossbeam::channel::bounded(EVENTS);
        Self::around((command_sender, event_receiver), move || {
            // Also when it panics: the other side must look.
            let _wake_at_end = WakeOnDrop(wake.clone());
            run::serve(&command_receiver, &cache, &mut |event| {
                let heard = event_sender.send(event).is_ok();
                wake();
                heard
            });
        })
    }

    fn around(
        channels: (Sender<Command>, Receiver<Event>),
        body: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new().name("lapidary-compute".to_owned()).stack_size(STACK).spawn(body)?;
        Ok(Self { channels: Some(channels), thread: Some(thread) })
    }

    /// Hands over a command; never waits.
    ///
    /// # Errors
    /// [`SendError`] when the queue is full or the thread has ended.
    pub fn send(&self, command: Command) -> Result<(), SendError> {
        let (sender, _) = self.channels.as_ref().ok_or(SendError::Ended)?;
        sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Disconnected(_) => SendError::Ended,
        })
    }

    /// The next event, if one has arrived; never waits.
    #[must_use]
    pub fn try_event(&self) -> Option<Event> {
        self.channels.as_ref().and_then(|(_, receiver)| receiver.try_recv().ok())
    }

    /// The panic's text, once, after the thread has died of one and its last events were taken.
    pub fn take_crash(&mut self) -> Option<String> {
        let (_, events) = self.channels.as_ref()?;
        if !events.is_empty() || !self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return None;
        }
        let thread = self.thread.take()?;
        self.channels = None;
        Some(last_words("compute", thread))
    }
}

/// Why a thread that has ended did so.
pub(crate) fn last_words(name: &str, thread: JoinHandle<()>) -> String {
    match thread.join() {
        Ok(()) => format!("the {name} thread ended by itself"),
        Err(panic) => panic_text(&*panic),
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    panic.downcast_ref::<String>().cloned().or(text).unwrap_or_else(|| "no message".to_owned())
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both ends first: the thread may wait on a full event queue.
        self.channels = None;
        let Some(thread) = self.thread.take() else { return };
        let since = Instant::now();
        while !thread.is_finished() {
            if since.elapsed() > GRACE {
                tracing::info!("the compute thread ends by itself: its current step takes long");
                return;
            }
            std::thread::sleep(LOOK);
        }
        if thread.join().is_err() {
            tracing::error!("the compute thread panicked while ending");
        }
    }
}

/// Wakes when its thread ends, however it ends.
pub(crate) struct WakeOnDrop(pub(crate) Wake);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_does_not_wait_for_what_cannot_be_interrupted() {
        let (commands, _receiver) = crossbeam::channel::bounded(1);
        let (_sender, events) = crossbeam::channel::bounded(1);
        let (end, ended) = crossbeam::channel::bounded::<()>(1);
        // A GPU is tuned for: no command is looked at before that is over.
        let tuning = move || {
            let _over = ended.recv_timeout(Duration::from_secs(60));
        };
        let worker = Worker::around((commands, events), tuning).unwrap();
        let since = Instant::now();
        drop(worker);
        let waited = since.elapsed();
        assert!(waited >= GRACE && waited < Duration::from_secs(20), "{waited:?}");
        drop(end);
    }
}
