//! Making pictures, whatever of: some at a time, and all of them by one sampler step per step of the task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use rayon::iter::{IntoParallelRefMutIterator as _, ParallelIterator as _};

use super::compute::ComputeSettings;
use super::error::WorkError;
use super::message::Event;
use super::task::{Context, Step, Task};
use super::warm::{self, WarmUp, Warmth};
use crate::generator::{GenerateError, Generator, Making};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::Chunks;

/// Between two previews: as often as the eye follows, and seldom enough to cost nothing.
const PREVIEWS: Duration = Duration::from_millis(100);

/// What is to be made.
pub(super) trait Recipe {
    /// Checks what can be checked before anything is loaded.
    ///
    /// # Errors
    /// [`WorkError`] says what is wrong.
    fn check(&self) -> Result<(), WorkError>;

    /// A bundled generator's name or a path.
    fn generator(&self) -> &str;

    /// How many pictures.
    fn count(&self) -> usize;

    /// Looks at the generator and says how to begin with some of the pictures.
    ///
    /// # Errors
    /// [`WorkError`] when they do not fit each other.
    fn begin(&mut self, generator: &Generator, chunks: Chunks, device: &Device) -> Result<Begin, WorkError>;

    /// The first of the pictures that were asked for, with all that is known of them.
    fn origins(&self, images: ImageBatch) -> Origins;
}

/// Begins to make the pictures `from..to`.
pub(super) type Begin = Box<dyn Fn(&Generator, (usize, usize)) -> Result<Making, GenerateError>>;

/// A task that makes pictures.
pub(super) struct Make<R> {
    recipe: R,
    compute: ComputeSettings,
    start: Instant,
    /// Time that the steps took so far: neither what came before them, nor what they waited.
    worked: Duration,
    warm: Option<WarmUp<Generator>>,
    pictures: Option<Pictures<Part>>,
    /// Whether pictures on their way are told of, and when they were last.
    previews: bool,
    previewed: Option<Instant>,
}

impl<R: Recipe> Make<R> {
    pub(super) fn new(recipe: R, compute: ComputeSettings) -> Self {
        Self {
            recipe,
            compute,
            start: Instant::now(),
            worked: Duration::ZERO,
            warm: None,
            pictures: None,
            previews: false,
            previewed: None,
        }
    }

    /// Tells of the pictures while they are on their way, or not.
    pub(super) fn previewing(self, previews: bool) -> Self {
        Self { previews, ..self }
    }

    fn preview(&mut self, context: &mut Context<'_, '_>) {
        let Some(pictures) = self.pictures.as_ref().filter(|_| self.previews) else { return };
        // What is finished is told of at once: nothing else of it will come for long.
        let is_due = self.previewed.is_none_or(|before| before.elapsed() >= PREVIEWS);
        if is_due || pictures.group.is_empty() {
            self.previewed = Some(Instant::now());
            for (first, images) in pictures.seen() {
                context.publish(Event::Preview { job: context.job, first, images });
            }
        }
    }

    fn prepare(&mut self, context: &mut Context<'_, '_>) -> Result<(), WorkError> {
        self.recipe.check()?;
        let open = context.open_device(&self.compute.device)?;
        let loaded = context.load::<Generator>(self.recipe.generator(), &self.compute, &open)?;
        let n = self.recipe.count();
        let need = (false, loaded.model.weight_bytes(), loaded.model.activation_bytes());
        let most = if loaded.model.sums_the_same_for_any_batch() { Chunks::most(need.2) } else { 1 };
        let chunks = context.chunks(&self.compute, (n, None), need)?.joined(n, most);
        let begin = self.recipe.begin(&loaded.model, chunks, &open.device)?;
        let model = Arc::clone(&loaded.model);
        let begin = move |range| -> Result<Part, GenerateError> {
            Ok(Part { making: begin(&model, range)?, generator: Arc::clone(&model) })
        };
        self.warm = WarmUp::needed(context, &loaded, loaded.model.sample_shape(), (chunks, &open));
        self.pictures = Some(Pictures::new(n, chunks, Box::new(begin)));
        Ok(())
    }

    fn hand_over(&mut self, context: &mut Context<'_, '_>) {
        if let Some(images) = self.pictures.take().and_then(Pictures::made) {
            let (origins, secs) = (Arc::new(self.recipe.origins(images)), self.start.elapsed().as_secs_f64());
            context.publish(Event::Generated { job: context.job, origins, secs });
        }
    }
}

impl<R: Recipe> Task for Make<R> {
    fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
        if let Some(warmth) = warm::go_on(&mut self.warm, context)? {
            if warmth == Warmth::Elsewhere {
                self.pictures = None;
            }
            return Ok(Step::Prepared);
        }
        let Some(pictures) = &mut self.pictures else {
            self.prepare(context)?;
            return Ok(Step::Prepared);
        };
        let since = Instant::now();
        let complete = pictures.step()?;
        self.worked += since.elapsed();
        let (done, of) = pictures.progress();
        let secs = self.worked.as_secs_f64();
        context.publish(Event::Generating { job: context.job, done: done as u32, of: of as u32, secs });
        if complete {
            self.hand_over(context);
            return Ok(Step::Done);
        }
        self.preview(context);
        Ok(Step::More)
    }

    fn stop(&mut self, context: &mut Context<'_, '_>) -> bool {
        self.hand_over(context);
        false
    }
}

/// Some pictures on their way.
trait Way: Send {
    fn steps(&self) -> usize;
    /// One step; true when it was the last.
    fn step(&mut self) -> bool;
    fn images(&self) -> Result<ImageBatch, GenerateError>;
}

struct Part {
    making: Making,
    generator: Arc<Generator>,
}

impl Way for Part {
    fn steps(&self) -> usize {
        self.making.steps()
    }

    fn step(&mut self) -> bool {
        self.making.step(&self.generator)
    }

    fn images(&self) -> Result<ImageBatch, GenerateError> {
        self.making.images()
    }
}

/// Begins the pictures `from..to`, with everything else at hand.
type BeginPart<W> = Box<dyn Fn((usize, usize)) -> Result<W, GenerateError>>;

/// All pictures that were asked for: made, on their way, and still to be begun.
struct Pictures<W> {
    begin: BeginPart<W>,
    /// Chunks still to be begun, the last first.
    ahead: Vec<(usize, usize)>,
    /// Chunks that go on at once: on the CPU one per core, as far as memory allows.
    at_once: usize,
    /// Chunks on their way, with the number of their pictures. They began together, so they are done together.
    group: Vec<(usize, W)>,
    made: Vec<ImageBatch>,
    /// Steps done, over all chunks.
    done: usize,
    chunks: usize,
    /// Steps of one chunk, once one has begun.
    steps: usize,
}

impl<W: Way> Pictures<W> {
    fn new(n: usize, chunks: Chunks, begin: BeginPart<W>) -> Self {
        let mut ahead: Vec<(usize, usize)> = chunks.ranges(n).collect();
        ahead.reverse();
        let at_once = chunks.at_once.clamp(1, rayon::current_num_threads().max(1));
        let count = ahead.len();
        Self { begin, ahead, at_once, group: Vec::new(), made: Vec::new(), done: 0, chunks: count, steps: 0 }
    }

    /// One step of every chunk on its way; true when all pictures are made.
    fn step(&mut self) -> Result<bool, GenerateError> {
        while self.group.len() < self.at_once
            && let Some(range) = self.ahead.pop()
        {
            self.group.push((range.1 - range.0, (self.begin)(range)?));
        }
        self.steps = self.group.first().map_or(self.steps, |(_, way)| way.steps());
        self.done += self.group.len();
        let ended: Vec<bool> = self.group.par_iter_mut().map(|(_, way)| way.step()).collect();
        if ended.iter().all(|ended| *ended) {
            for (count, way) in self.group.drain(..) {
                let images = way.images()?;
                self.made.push(if images.len() > count { images.slice(0, count) } else { images });
            }
        }
        Ok(self.group.is_empty() && self.ahead.is_empty())
    }

    /// Steps done and in all.
    const fn progress(&self) -> (usize, usize) {
        (self.done, self.chunks.saturating_mul(self.steps))
    }

    /// The pictures on their way, or those that were finished last, with the place of the first.
    fn seen(&self) -> Vec<(usize, ImageBatch)> {
        let mut first = 0;
        let mut seen = Vec::new();
        let made = self.made.iter().map(|images| (images.len(), Some(images.clone())));
        // What the device or the network spoils is told of when it is finished.
        let ahead =
            self.group.iter().map(|(count, way)| (*count, way.images().ok().map(|images| images.slice(0, *count))));
        for (place, (count, images)) in made.chain(ahead).enumerate() {
            let is_new = place + self.at_once >= self.made.len() + self.group.len();
            seen.extend(images.filter(|_| is_new).map(|images| (first, images)));
            first += count;
        }
        seen
    }

    /// The pictures that are finished, from the first on: a hole would give later pictures the seeds of earlier ones.
    fn made(self) -> Option<ImageBatch> {
        (!self.made.is_empty()).then(|| ImageBatch::concat(&self.made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps per chunk; every value is the number of its picture.
    struct Numbered {
        range: (usize, usize),
        step: usize,
    }

    impl Way for Numbered {
        fn steps(&self) -> usize {
            3
        }

        fn step(&mut self) -> bool {
            self.step += 1;
            self.step == 3
        }

        fn images(&self) -> Result<ImageBatch, GenerateError> {
            assert_eq!(self.step, 3, "only what is finished is looked at");
            let (from, to) = self.range;
            Ok(ImageBatch::new([to - from, 1, 1, 1], (from..to).map(|i| i as f32).collect()))
        }
    }

    fn pictures(size: usize, at_once: usize) -> Pictures<Numbered> {
        let chunks = Chunks { size, pad: false, at_once };
        Pictures::new(7, chunks, Box::new(|range| Ok(Numbered { range, step: 0 })))
    }

    #[test]
    fn every_picture_is_made_once_and_in_order_and_progress_ends_at_the_end() {
        let expected: Vec<f32> = (0..7_u8).map(f32::from).collect();
        for (size, at_once) in [(1, 1), (1, 3), (1, usize::MAX), (3, 1), (2, 2)] {
            let mut pictures = pictures(size, at_once);
            let mut last = (0, 0);
            loop {
                let complete = pictures.step().unwrap();
                let now = pictures.progress();
                assert!(now.0 > last.0 && now.0 <= now.1, "progress only rises: {now:?} after {last:?}");
                last = now;
                if complete {
                    break;
                }
            }
            assert_eq!(last.0, last.1, "{size} {at_once}");
            assert_eq!(pictures.made().unwrap().pixels(), expected, "{size} {at_once}");
        }
    }

    #[test]
    fn what_was_finished_last_is_seen_in_its_place() {
        let mut pictures = pictures(2, 1);
        for first in [0, 2, 4] {
            (0..3).for_each(|_| assert!(!pictures.step().unwrap()));
            let images = ImageBatch::new([2, 1, 1, 1], vec![first as f32, first as f32 + 1.0]);
            assert_eq!(pictures.seen(), [(first, images)]);
        }
    }

    #[test]
    fn what_was_finished_before_a_stop_is_kept_from_the_start_on() {
        for (steps, finished) in [(2, 0), (3, 1), (5, 1), (6, 2), (20, 6)] {
            let mut pictures = pictures(1, 1);
            for _ in 0..steps {
                assert!(!pictures.step().unwrap());
            }
            let made = pictures.made().map_or_else(Vec::new, |images| images.pixels().to_vec());
            assert_eq!(made, (0..finished).map(|i| i as f32).collect::<Vec<_>>(), "{steps} steps");
        }
    }
}
