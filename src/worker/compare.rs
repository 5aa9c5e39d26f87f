//! How far pictures are from their partners in the features of a network: LPIPS as it is reported.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::compute::ComputeSettings;
use super::device::{self, OpenDevice};
use super::error::WorkError;
use super::message::{Event, LpipsFiles};
use super::task::{Context, Step, Task};
use crate::checkpoint::{Checkpoint, CheckpointError, Weights};
use crate::file::Stamp;
use crate::image::ImageBatch;
use crate::net::check::{self, TOLERANCE};
use crate::net::lpips::{LEAST, Lpips};
use crate::refiner::{Chunks, RefineError};

/// Pairs of a step on the CPU, at most: a stop is heard between two.
const AT_ONCE: usize = 16;

/// LPIPS from its two files; stages have as many channels as the files say.
pub(super) fn read(vgg: &Checkpoint, linear: &Checkpoint, device: &Device) -> Result<Lpips, CheckpointError> {
    // What is missing is said when it is read.
    let width = |name: String| vgg.tensors().get(&name).and_then(|info| info.shape.first().copied()).unwrap_or(0);
    let widths: Vec<usize> = Lpips::widths().into_iter().map(width).collect();
    Lpips::load(&widths, (&mut Weights::new(vgg), &mut Weights::new(linear)), device)
}

/// Likewise, as it is reported.
fn open(files: &LpipsFiles, device: &Device) -> Result<Lpips, CheckpointError> {
    Ok(read(&Checkpoint::open(&files.vgg)?, &Checkpoint::open(&files.linear)?, device)?.reported())
}

/// LPIPS in memory, and its files as they were when it was read.
pub(super) struct Held {
    files: LpipsFiles,
    stamps: Vec<Stamp>,
    lpips: Arc<Lpips>,
    /// Whether the device was seen to compute it as the CPU does.
    is_checked: bool,
}

impl Held {
    fn is(&self, files: &LpipsFiles, stamps: Option<&Vec<Stamp>>) -> bool {
        self.files == *files && stamps == Some(&self.stamps)
    }
}

/// Pairs that are compared, a step for some of them.
pub(super) struct Compare {
    files: LpipsFiles,
    pairs: [ImageBatch; 2],
    compute: ComputeSettings,
    chunk: Option<usize>,
    ready: Option<(Arc<Lpips>, Chunks, OpenDevice)>,
    /// Distances so far.
    found: Vec<f32>,
}

impl Compare {
    pub(super) const fn new(
        files: LpipsFiles,
        pairs: [ImageBatch; 2],
        compute: ComputeSettings,
        chunk: Option<usize>,
    ) -> Self {
        Self { files, pairs, compute, chunk, ready: None, found: Vec::new() }
    }

    fn prepare(&mut self, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        let [n, channels, height, width] = self.pairs[0].shape();
        if (channels != 1 && channels != 3) || height.min(width) < LEAST {
            return Err(WorkError::Lpips { channels, height, width, least: LEAST });
        }
        let open = context.open_device(&self.compute.device)?;
        let stamps = Stamp::of_all(&[self.files.vgg.clone(), self.files.linear.clone()]);
        let held = context.lpips.as_ref().filter(|held| held.is(&self.files, stamps.as_ref()));
        let (lpips, is_checked) = match held {
            Some(held) => (Arc::clone(&held.lpips), held.is_checked),
            None => (Arc::new(self::open(&self.files, &open.device)?), open.info.cpu),
        };
        let need = (false, lpips.weight_bytes(), lpips.activation_bytes([height, width]));
        let chunks = context.chunks(&self.compute, (n, self.chunk), need)?;
        if !is_checked {
            self.check(context, &lpips, (chunks, &open))?;
        }
        let held = |stamps| Held { files: self.files.clone(), stamps, lpips: Arc::clone(&lpips), is_checked: true };
        context.lpips = stamps.map(held);
        self.ready = Some((lpips, chunks, open));
        Ok(())
    }

    /// Compares the distance of a picture and its negative with the CPU's, for the fastest kernels of a GPU may be wrong.
    fn check(
        &self,
        context: &mut Context<'_, '_>,
        lpips: &Lpips,
        (chunks, open): (Chunks, &OpenDevice),
    ) -> Result<(), WorkError> {
        let picture = self.pairs[0].slice(0, 1);
        let negative = picture.pixels().iter().map(|value| 1.0 - value).collect();
        let pair = [&picture, &ImageBatch::new(picture.shape(), negative)];
        let expected = check::reference(|| {
            let cpu = device::cpu().device;
            distances(&self::open(&self.files, &cpu)?, pair, &[0], &cpu)
        })?[0];
        loop {
            let found = distances(lpips, pair, &chunks.filled(&[0]), &open.device)?[0];
            if (found - expected).abs() <= TOLERANCE * expected {
                return Ok(());
            }
            if context.device.as_ref().is_some_and(|(_, open)| open.info.untuned) {
                let wrong = format!("a distance of {found} instead of {expected}");
                return Err(WorkError::Wrong { device: open.info.name.clone(), role: "network of LPIPS", wrong });
            }
            context.untune();
        }
    }
}

impl Task for Compare {
    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
        let Some((lpips, chunks, open)) = &self.ready else {
            self.prepare(context)?;
            return Ok(Step::Prepared);
        };
        let (n, done, pair) = (self.pairs[0].len(), self.found.len(), self.pairs.each_ref());
        let at_once = if open.info.cpu { chunks.at_once.min(AT_ONCE) } else { chunks.size };
        let rows: Vec<usize> = (done..n.min(done + at_once)).collect();
        if open.info.cpu {
            // One by one, so that a distance does not depend on its neighbours, and on all cores.
            let each = rows.par_iter().map(|row| distances(lpips, pair, &[*row], &open.device));
            self.found.extend(each.collect::<Result<Vec<_>, _>>()?.concat());
        } else {
            let found = distances(lpips, pair, &chunks.filled(&rows), &open.device)?;
            self.found.extend(&found[..rows.len()]);
        }
        if self.found.len() < n {
            return Ok(Step::More);
        }
        context.publish(Event::Compared { job: context.job, distances: std::mem::take(&mut self.found) });
        Ok(Step::Done)
    }
}

/// LPIPS of the pairs at these places.
fn distances(lpips: &Lpips, pairs: [&ImageBatch; 2], rows: &[usize], device: &Device) -> Result<Vec<f32>, WorkError> {
    let upload = |images: &ImageBatch| {
        let [_, c, h, w] = images.shape();
        let pixels: Vec<f32> = rows.iter().flat_map(|row| images.sample(*row)).copied().collect();
        Tensor::<4>::from_data(TensorData::new(pixels, [rows.len(), c, h, w]), device) * 2.0 - 1.0
    };
    let [a, b] = pairs.map(upload);
    let failed = |cause: &dyn std::fmt::Debug| RefineError::Device(format!("{cause:?}").into());
    let read = lpips.distance(a, b).try_into_data().map_err(|cause| failed(&cause))?;
    Ok(read.try_into_vec::<f32>().map_err(|cause| failed(&cause))?)
}
