//! Making pictures chunk by chunk; heard, and stopped, between any two steps of a sampler.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use crate::generator::GenerateError;
use crate::image::ImageBatch;
use crate::refiner::Chunks;

/// Steps that may wait to be told of.
const TICKS: usize = 64;

/// Makes the pictures `from..to`, calling its argument with steps done and in all; `None` when that returned false.
pub(super) type Part<'a> = dyn Fn((usize, usize), &mut dyn FnMut(usize, usize) -> bool) -> Result<Option<ImageBatch>, GenerateError>
    + Sync
    + 'a;

/// The pictures of the chunks that were finished, in order: all `n`, or fewer when `tell(done, of)` returned false.
pub(super) fn make(
    n: usize,
    chunks: Chunks,
    part: &Part<'_>,
    tell: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<ImageBatch>, GenerateError> {
    let ranges: Vec<(usize, usize)> = chunks.ranges(n).collect();
    let mut parts = Vec::new();
    // One group fits into memory at once.
    for (index, group) in ranges.chunks(chunks.at_once.max(1)).enumerate() {
        let before = index * chunks.at_once;
        let mut heard =
            |done: usize, steps: usize| tell(before.saturating_mul(steps) + done, ranges.len().saturating_mul(steps));
        let made = match group {
            [range] => vec![part(*range, &mut heard)?],
            _ => in_parallel(group, part, &mut heard)?,
        };
        let complete = made.iter().all(Option::is_some);
        // A hole would give later pictures the seeds of earlier ones.
        parts.extend(made.into_iter().map_while(|images| images));
        if !complete {
            break;
        }
    }
    Ok((!parts.is_empty()).then(|| ImageBatch::concat(&parts)))
}

/// All chunks of a group on all cores, while this thread listens.
fn in_parallel(
    group: &[(usize, usize)],
    part: &Part<'_>,
    heard: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<Option<ImageBatch>>, GenerateError> {
    let stop = AtomicBool::new(false);
    let steps = AtomicUsize::new(1);
    let (tick, ticks) = crossbeam::channel::bounded(TICKS);
    std::thread::scope(|scope| {
        let (stop, steps) = (&stop, &steps);
        let work = scope.spawn(move || {
            let one = |range: &(usize, usize)| {
                part(*range, &mut |_, of| {
                    steps.store(of, Ordering::Relaxed);
                    tick.send(()).is_ok() && !stop.load(Ordering::Relaxed)
                })
            };
            // `tick` ends with this closure, and so does the loop below.
            group.par_iter().map(one).collect::<Result<Vec<_>, _>>()
        });
        for (done, ()) in ticks.iter().enumerate() {
            if !heard(done + 1, steps.load(Ordering::Relaxed)) {
                stop.store(true, Ordering::Relaxed);
            }
        }
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps per chunk; every value is the number of its picture.
    #[expect(clippy::unnecessary_wraps, reason = "it stands for a part that can fail")]
    fn numbered(
        (from, to): (usize, usize),
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<ImageBatch>, GenerateError> {
        for step in 1..=3 {
            if !progress(step, 3) {
                return Ok(None);
            }
        }
        Ok(Some(ImageBatch::new([to - from, 1, 1, 1], (from..to).map(|i| i as f32).collect())))
    }

    fn chunks(size: usize, at_once: usize) -> Chunks {
        Chunks { size, pad: false, at_once }
    }

    #[test]
    fn every_picture_is_made_once_and_in_order_and_progress_ends_at_the_end() {
        let expected: Vec<f32> = (0..7_u8).map(f32::from).collect();
        for chunks in [chunks(1, 1), chunks(1, 3), chunks(1, usize::MAX), chunks(3, 1), chunks(2, 2)] {
            let mut last = (0, 0);
            let images = make(7, chunks, &numbered, &mut |done, of| {
                assert!(done > last.0, "progress only rises: {done} after {}", last.0);
                last = (done, of);
                true
            });
            assert_eq!(images.unwrap().unwrap().pixels(), expected, "{chunks:?}");
            assert_eq!(last.0, last.1, "{chunks:?}");
        }
    }

    #[test]
    fn what_was_finished_before_a_stop_is_kept_from_the_start_on() {
        for chunks in [chunks(1, 1), chunks(1, 2)] {
            let images = make(7, chunks, &numbered, &mut |done, _| done < 13).unwrap().unwrap();
            assert!((2..=6).contains(&images.len()), "{chunks:?}: {}", images.len());
            assert!(images.pixels().iter().enumerate().all(|(i, value)| *value == i as f32));
        }
        assert!(make(7, chunks(1, 1), &numbered, &mut |_, _| false).unwrap().is_none());
    }
}
