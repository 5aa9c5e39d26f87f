//! Before a GPU's first work: its kernels are compiled and tuned, visibly, and its numbers are compared with the CPU's.

use super::device::OpenDevice;
use super::error::WorkError;
use super::message::Event;
use super::models::{Loaded, Network};
use super::task::{Context, Step, Task};
use crate::image::ImageBatch;
use crate::refiner::Chunks;

/// Relative difference between CPU and GPU that is worth a warning.
const SELF_CHECK_TOLERANCE: f32 = 1e-2;
/// Samples of the self-check.
const SELF_CHECK_SAMPLES: usize = 2;
/// Weights of larger models are not held a second time for the self-check.
const SELF_CHECK_BYTES: u64 = 512 << 20;

/// Tunes the kernels of a model for one chunk shape, and checks them. Every piece is a step, so that a stop is heard between
/// them; tuning itself cannot be interrupted.
pub(super) struct WarmUp<M> {
    loaded: Loaded<M>,
    /// Pictures to try it with, where it takes some.
    images: Option<ImageBatch>,
    chunks: Chunks,
    open: OpenDevice,
    /// What the GPU computes.
    gpu: Option<Vec<f32>>,
    /// The same model there.
    cpu: Option<(Loaded<M>, OpenDevice)>,
}

impl<M: Network> WarmUp<M> {
    /// `None` when nothing is to be done: on the CPU, or when this shape has been tuned before.
    pub(super) fn needed(
        context: &Context<'_, '_>,
        loaded: &Loaded<M>,
        images: Option<&ImageBatch>,
        (chunks, open): (Chunks, &OpenDevice),
    ) -> Option<Self> {
        let (images, open) = (images.cloned(), open.clone());
        let this = Self { loaded: loaded.clone(), images, chunks, open, gpu: None, cpu: None };
        (!this.open.info.cpu && !context.warmed.contains(&this.key())).then_some(this)
    }

    fn key(&self) -> (String, usize) {
        (self.loaded.info.sha256.clone(), self.chunks.size)
    }

    fn tell(context: &mut Context<'_, '_>, step: u32, what: String) {
        context.publish(Event::Preparing { job: context.job, what, step, of: 2 });
    }
}

impl<M: Network> Task for WarmUp<M> {
    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
        let Some(gpu) = &self.gpu else {
            Self::tell(
                context,
                1,
                format!("compiling and tuning the {}'s kernels (once per shape and device)", M::ROLE),
            );
            let (n, chunks, device) = (self.chunks.size, self.chunks, &self.open.device);
            self.gpu = Some(self.loaded.model.probe(self.images.as_ref(), n, chunks, device)?);
            return Ok(Step::Prepared);
        };
        if self.loaded.model.bytes() <= SELF_CHECK_BYTES {
            let Some((cpu, open)) = &self.cpu else {
                Self::tell(context, 2, format!("checking the GPU's {} against the CPU's", M::CHECKED.0));
                let twin = context.load_on_cpu(&self.loaded.info.reference)?;
                if twin.0.info.sha256 != self.loaded.info.sha256 {
                    // Its file was written again meanwhile: there is nothing to compare with, and next time it is another model.
                    return Ok(Step::Done);
                }
                self.cpu = Some(twin);
                return Ok(Step::Prepared);
            };
            let n = SELF_CHECK_SAMPLES.min(self.chunks.size);
            let cpu = cpu.model.probe(self.images.as_ref(), n, Chunks::CPU, &open.device)?;
            compare(context, M::CHECKED.1, &gpu[..cpu.len().min(gpu.len())], &cpu);
        }
        context.warmed.push(self.key());
        Ok(Step::Done)
    }
}

fn compare(context: &mut Context<'_, '_>, what: &str, gpu: &[f32], cpu: &[f32]) {
    let scale = cpu.iter().fold(1e-12_f32, |max, value| max.max(value.abs()));
    let worst = gpu.iter().zip(cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale;
    tracing::info!(what, worst, "self-check");
    if worst.is_nan() || worst > SELF_CHECK_TOLERANCE {
        context.publish(Event::Warning(format!(
            "the {what} differs by {:.1} % between this GPU and the CPU: results on it cannot be trusted, use the CPU or update the driver",
            worst * 100.0
        )));
    }
}
