//! What a network sees in pictures: its features, which sets of pictures are compared by.

use burn::tensor::Device;

use super::compute::ComputeSettings;
use super::device::OpenDevice;
use super::error::WorkError;
use super::message::Event;
use super::models::{Loaded, Network};
use super::task::{Context, Step, Task};
use super::warm::{self, WarmUp, Warmth};
use crate::classifier::{Classifier, Extractor};
use crate::image::ImageBatch;
use crate::refiner::evaluate::{features, seen};
use crate::refiner::{Chunks, RefineError};
use crate::zoo::{InceptionDialect, find};

/// Pictures that are to be looked at, and by what.
pub(super) struct Asked {
    pub(super) model: String,
    /// The way that pictures take to an extractor; none for that of its file.
    pub(super) dialect: Option<InceptionDialect>,
    pub(super) images: ImageBatch,
    pub(super) compute: ComputeSettings,
    /// Pictures that a GPU takes at once.
    pub(super) chunk: Option<usize>,
}

impl Asked {
    /// Whether the model is an extractor; one that cannot be found is refused when it is opened.
    pub(super) fn is_of_an_extractor(&self) -> bool {
        find(&self.model).is_ok_and(|(manifest, _)| manifest.inception().is_some())
    }
}

/// Features, logits, and features place by place where there are some; row-major.
type Seen = [Vec<f32>; 3];

/// A network whose features are compared.
pub(super) trait Eye: Network {
    /// Pictures of a step: a stop is heard between two.
    const AT_ONCE: usize;

    /// Refuses pictures of `[C, H, W]` that it cannot see.
    fn check(&self, shape: [usize; 3]) -> Result<(), WorkError>;

    /// `[C, H, W]` of what goes through the network when pictures of such a shape are looked at.
    fn input(&self, shape: [usize; 3]) -> [usize; 3];

    /// Bytes that one picture of `[H, W]` pixels needs at the peak.
    fn activations(&self, size: [usize; 2]) -> u64;

    /// What it sees.
    fn look(
        &self,
        images: &ImageBatch,
        dialect: Option<InceptionDialect>,
        way: (Chunks, &Device),
    ) -> Result<Seen, WorkError>;
}

impl Eye for Classifier {
    const AT_ONCE: usize = 64;

    fn check(&self, shape @ [c, h, w]: [usize; 3]) -> Result<(), WorkError> {
        let channels = self.sample_shape()[0];
        if c != channels {
            return Err(WorkError::Channels { generator: shape, channels });
        }
        Ok(self.check_size([h, w]).map_err(RefineError::from)?)
    }

    fn input(&self, shape: [usize; 3]) -> [usize; 3] {
        shape
    }

    fn activations(&self, size: [usize; 2]) -> u64 {
        self.activation_bytes(size)
    }

    fn look(
        &self,
        images: &ImageBatch,
        _: Option<InceptionDialect>,
        (chunks, device): (Chunks, &Device),
    ) -> Result<Seen, WorkError> {
        let [values, logits] = features(self, images, chunks, device)?;
        Ok([values, logits, Vec::new()])
    }
}

impl Eye for Extractor {
    /// A picture takes a core a good part of a second.
    const AT_ONCE: usize = 16;

    fn check(&self, shape @ [c, ..]: [usize; 3]) -> Result<(), WorkError> {
        let channels = Self::sample_shape()[0];
        if c == 1 || c == channels { Ok(()) } else { Err(WorkError::Channels { generator: shape, channels }) }
    }

    fn input(&self, _: [usize; 3]) -> [usize; 3] {
        Self::sample_shape()
    }

    fn activations(&self, _: [usize; 2]) -> u64 {
        self.activation_bytes()
    }

    fn look(
        &self,
        images: &ImageBatch,
        dialect: Option<InceptionDialect>,
        way: (Chunks, &Device),
    ) -> Result<Seen, WorkError> {
        let dialect = dialect.unwrap_or(self.dialect());
        Ok(seen(self, &Self::prepare(images, dialect), dialect, way)?)
    }
}

/// Pictures that are looked at, a step for every few of them.
pub(super) struct Measure<M> {
    asked: Asked,
    warm: Option<WarmUp<M>>,
    ready: Option<(Loaded<M>, Chunks, OpenDevice)>,
    /// What was seen so far.
    seen: Seen,
    done: usize,
}

impl<M: Eye> Measure<M> {
    pub(super) const fn new(asked: Asked) -> Self {
        let seen = [Vec::new(), Vec::new(), Vec::new()];
        Self { asked, warm: None, ready: None, seen, done: 0 }
    }

    fn prepare(&mut self, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        let Asked { model, images, compute, chunk, .. } = &self.asked;
        let open = context.open_device(&compute.device)?;
        let loaded = context.load::<M>(model, compute, &open)?;
        let [n, c, h, w] = images.shape();
        loaded.model.check([c, h, w])?;
        // Counted as if with a gradient, which is more than enough.
        let need = (true, loaded.model.bytes(), loaded.model.activations([h, w]));
        let chunks = context.chunks(compute, (n, *chunk), need)?;
        let input = loaded.model.input([c, h, w]);
        self.warm = WarmUp::needed(context, &loaded, input, (chunks, &open));
        self.ready = Some((loaded, chunks, open));
        Ok(())
    }
}

impl<M: Eye> Task for Measure<M> {
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
        let Asked { images, dialect, .. } = &self.asked;
        let n = images.len();
        let end = (self.done + M::AT_ONCE.max(chunks.size)).min(n);
        let found = loaded.model.look(&images.slice(self.done, end), *dialect, (*chunks, &open.device))?;
        self.seen.iter_mut().zip(found).for_each(|(seen, mut found)| seen.append(&mut found));
        self.done = end;
        if end < n {
            return Ok(Step::More);
        }
        let [values, logits, spatial] = std::mem::take(&mut self.seen);
        context.publish(Event::Measured { job: context.job, values, logits, spatial });
        Ok(Step::Done)
    }
}
