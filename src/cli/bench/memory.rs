//! The most memory that the program had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looked at by a thread of its own, as long as this lives.
pub(super) struct PeakMemory {
    peak: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
}

impl PeakMemory {
    pub(super) fn start() -> std::io::Result<Self> {
        let now = memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem);
        let (peak, done) = (Arc::new(AtomicUsize::new(now)), Arc::new(AtomicBool::new(false)));
        let (peak_there, done_there) = (peak.clone(), done.clone());
        std::thread::Builder::new().name("lapidary-memory".to_owned()).spawn(move || {
            while !done_there.load(Ordering::Relaxed) {
                if let Some(stats) = memory_stats::memory_stats() {
                    peak_there.fetch_max(stats.physical_mem, Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(Self { peak, done })
    }

    pub(super) fn mib(&self) -> f64 {
        self.peak.load(Ordering::Relaxed) as f64 / f64::from(1 << 20)
    }
}

impl Drop for PeakMemory {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}
