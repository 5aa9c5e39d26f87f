//! What a classifier sees in pictures: its features, which sets of pictures are compared by.

use super::compute::ComputeSettings;
use super::error::WorkError;
use super::message::Event;
use super::models::Loaded;
use super::task::{Context, Step, Task};
use super::warm::{self, WarmUp, Warmth};
use crate::classifier::Classifier;
use crate::image::ImageBatch;
use crate::refiner::evaluate::features;
use crate::refiner::{Chunks, RefineError};

/// Pictures of a step: a stop is heard between two.
const AT_ONCE: usize = 64;

/// Pictures that are looked at, a step for every few of them.
pub(super) struct Measure {
    classifier: String,
    images: ImageBatch,
    compute: ComputeSettings,
    chunk: Option<usize>,
    warm: Option<WarmUp<Classifier>>,
    ready: Option<(Loaded<Classifier>, Chunks, super::device::OpenDevice)>,
    /// Features and logits so far.
    seen: [Vec<f32>; 2],
    done: usize,
}

impl Measure {
    pub(super) const fn new(
        classifier: String,
        images: ImageBatch,
        compute: ComputeSettings,
        chunk: Option<usize>,
    ) -> Self {
        let seen = [Vec::new(), Vec::new()];
        Self { classifier, images, compute, chunk, warm: None, ready: None, seen, done: 0 }
    }

    fn prepare(&mut self, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        let open = context.open_device(&self.compute.device)?;
        let loaded = context.load::<Classifier>(&self.classifier, &self.compute, &open)?;
        let ([n, c, h, w], channels) = (self.images.shape(), loaded.model.sample_shape()[0]);
        if c != channels {
            return Err(WorkError::Channels { generator: [c, h, w], channels });
        }
        loaded.model.check_size([h, w]).map_err(RefineError::from)?;
        // Counted as if with a gradient, which is more than enough.
        let need = (true, loaded.model.weight_bytes(), loaded.model.activation_bytes([h, w]));
        let chunks = context.chunks(&self.compute, (n, self.chunk), need)?;
        self.warm = WarmUp::needed(context, &loaded, [c, h, w], (chunks, &open));
        self.ready = Some((loaded, chunks, open));
        Ok(())
    }
}

impl Task for Measure {
    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
        if let Some(warmth) = warm::go_on(&mut self.warm, context)? {
            if warmth == Warmth::Elsewhere {
                self.ready = None;
            }
            return Ok(Step::Prepared);
        }
        let Some((loaded, chunks, open)) = &self.ready else {
            self.prepare(context)?;
            return Ok(Step::Prepared);
        };
        let n = self.images.len();
        let end = (self.done + AT_ONCE.max(chunks.size)).min(n);
        let found = features(&loaded.model, &self.images.slice(self.done, end), *chunks, &open.device)?;
        self.seen.iter_mut().zip(found).for_each(|(seen, mut found)| seen.append(&mut found));
        self.done = end;
        if end < n {
            return Ok(Step::More);
        }
        let [values, logits] = std::mem::take(&mut self.seen);
        context.publish(Event::Measured { job: context.job, values, logits });
        Ok(Step::Done)
    }
}
