//! The SHA-256 of files, found by a thread of its own while others read them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::checkpoint::{Checkpoint, CheckpointError, Watch, sha256};

/// How often who waits hears of the progress.
const LOOK: Duration = Duration::from_millis(20);

/// A hash that is being found; when it is dropped, that ends.
pub(crate) struct Hashing {
    thread: Option<JoinHandle<Result<String, CheckpointError>>>,
    progress: Arc<Progress>,
    of: u64,
}

#[derive(Debug, Default)]
struct Progress {
    done: AtomicU64,
    stopped: AtomicBool,
}

impl Hashing {
    /// Begins with the files of the weights.
    ///
    /// # Errors
    /// [`CheckpointError::Read`] when the system has no thread for it.
    pub(crate) fn begin(checkpoint: &Checkpoint) -> Result<Self, CheckpointError> {
        let (files, of) = (checkpoint.files().to_vec(), checkpoint.bytes());
        let progress = Arc::new(Progress::default());
        let (there, path) = (progress.clone(), files.first().cloned().unwrap_or_default());
        let thread =
            std::thread::Builder::new().name("lapidary-hash".to_owned()).spawn(move || hash(&files, of, &there));
        let thread = Some(thread.map_err(|source| CheckpointError::Read { path, source })?);
        Ok(Self { thread, progress, of })
    }

    /// Waits for the hash, lower-case hexadecimal.
    ///
    /// # Errors
    /// [`CheckpointError::Read`], or [`CheckpointError::Cancelled`] when `watch` says so.
    ///
    /// # Panics
    /// When its thread did.
    pub(crate) fn finish(mut self, watch: &mut Watch<'_>) -> Result<String, CheckpointError> {
        let Some(thread) = self.thread.take() else { return Err(CheckpointError::Cancelled) };
        loop {
            let is_over = thread.is_finished();
            if !watch(self.progress.done.load(Ordering::Relaxed), self.of) {
                return Err(CheckpointError::Cancelled);
            }
            if is_over {
                break;
            }
            std::thread::sleep(LOOK);
        }
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.progress.stopped.store(true, Ordering::Relaxed);
    }
}

fn hash(files: &[PathBuf], of: u64, progress: &Progress) -> Result<String, CheckpointError> {
    sha256(files, of, &mut |done, _| {
        progress.done.store(done, Ordering::Relaxed);
        !progress.stopped.load(Ordering::Relaxed)
    })
}
