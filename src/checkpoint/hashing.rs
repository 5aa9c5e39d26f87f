//! The SHA-256 of files, found by a thread of its own while others read them.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::Digest as _;

use super::{CheckpointError, Watch, open_file};
use crate::file::hex;

/// How much is read at a time.
const BLOCK: usize = 1 << 20;
/// How often who waits hears of the progress.
const LOOK: Duration = Duration::from_millis(20);

/// A hash that is being found; when it is dropped, that ends.
#[derive(Debug)]
pub struct Hashing {
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
    /// Begins with files of so many bytes in all, one behind the other.
    pub(super) fn begin(files: Vec<PathBuf>, of: u64) -> Result<Self, CheckpointError> {
        let progress = Arc::new(Progress::default());
        let (there, path) = (progress.clone(), files.first().cloned().unwrap_or_default());
        let thread = std::thread::Builder::new().name("lapidary-hash".to_owned()).spawn(move || hash(&files, &there));
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
    pub fn finish(mut self, watch: &mut Watch<'_>) -> Result<String, CheckpointError> {
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

fn hash(files: &[PathBuf], progress: &Progress) -> Result<String, CheckpointError> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; BLOCK];
    for path in files {
        let io = |source| CheckpointError::Read { path: path.clone(), source };
        let mut file = open_file(path)?;
        loop {
            let read = file.read(&mut buffer).map_err(io)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            progress.done.fetch_add(read as u64, Ordering::Relaxed);
            if progress.stopped.load(Ordering::Relaxed) {
                return Err(CheckpointError::Cancelled);
            }
        }
    }
    Ok(hex(&hasher.finalize()))
}
