//! The classifier's forward and backward pass for a batch of pictures, cut into chunks for the device.

use burn::tensor::{Device, Tensor, TensorData, Transaction};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefMutIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::constraint::Norm;
use super::objective::Objective;
use crate::classifier::{Classifier, Extractor};
use crate::image::ImageBatch;
use crate::net::resnet::OddSize;
use crate::zoo::InceptionDialect;

/// Why an iteration could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum RefineError {
    /// The device failed.
    #[error("the compute device failed while refining: choose another device or a smaller batch")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Pictures and classifier do not fit each other.
    #[error("the pictures have {found} channels, but the classifier needs {expected}: choose another classifier")]
    Channels {
        /// Channels of the pictures.
        found: usize,
        /// Channels that the classifier was trained with.
        expected: usize,
    },
    /// The classifier cannot halve the pictures.
    #[error(transparent)]
    Size(#[from] OddSize),
    /// The classifier's answers are no numbers, before anything was changed.
    #[error(
        "the classifier answers to {broken} of {count} pictures with values that are not finite numbers: its weights are broken, so fetch its file again or choose another classifier; on a GPU try --device cpu too"
    )]
    NotFinite {
        /// Pictures with such an answer.
        broken: usize,
        /// Pictures in all.
        count: usize,
    },
    /// A label is no class of the classifier.
    #[error("class {label} is asked for, but the classifier knows {classes} classes (0 to {}): choose another class", classes - 1)]
    Label {
        /// The label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
}

impl RefineError {
    fn device(cause: &dyn std::fmt::Debug) -> Self {
        Self::Device(format!("{cause:?}").into())
    }
}

/// Samples that share one reading of the weights, at most; more would only fill the caches.
pub const JOINED: usize = 8;
/// Bytes of such samples of a generator, whose steps are long: nobody hears of one before all of them have taken it.
const JOINED_BYTES: u64 = 256 << 20;

/// How a batch is cut for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// Samples that go through the network together.
    pub size: usize,
    /// Fill every chunk up, so that a GPU tunes its kernels for one shape only.
    pub pad: bool,
    /// Chunks that are computed at once, on all cores (CPU only): as many as memory holds.
    pub at_once: usize,
}

impl Chunks {
    /// For the CPU: every sample on its own, on all cores.
    ///
    /// A matrix product's order of summation depends on its shape, and one rounding more or less can flip a ReLU. One sample
    /// at a time makes results independent of the batch to the last bit. Networks that sum the same way for any batch get
    /// several samples nevertheless.
    pub const CPU: Self = Self { size: 1, pad: false, at_once: usize::MAX };

    /// For a GPU: `size` samples together.
    #[must_use]
    pub const fn gpu(size: usize) -> Self {
        Self { size, pad: true, at_once: 1 }
    }

    /// `start..end` of every chunk of `n` samples.
    pub fn ranges(self, n: usize) -> impl Iterator<Item = (usize, usize)> {
        let size = self.size.max(1);
        (0..n.div_ceil(size)).map(move |i| (i * size, ((i + 1) * size).min(n)))
    }

    /// The items of one chunk, the last repeated until the chunk is full, if asked to.
    #[must_use]
    pub fn filled<T: Clone>(self, items: &[T]) -> Vec<T> {
        let mut items = items.to_vec();
        if self.pad {
            let last = items.last().cloned();
            items.extend(std::iter::repeat_n(last, self.size.saturating_sub(items.len())).flatten());
        }
        items
    }

    /// Samples of a generator that share one reading of the weights, at most, each of which needs so many bytes.
    #[must_use]
    pub fn most(bytes: u64) -> usize {
        usize::try_from(JOINED_BYTES / bytes.max(1)).map_or(JOINED, |most| most.clamp(1, JOINED))
    }

    /// For `n` samples of a network of which up to `most` may go through together, the same number of samples at once in
    /// fewer chunks: weights are read once per chunk. At least one chunk per core, because the small steps of a chunk use a
    /// single one.
    #[must_use]
    pub fn joined(self, n: usize, most: usize) -> Self {
        if self.at_once == 1 || most <= 1 {
            return self;
        }
        let (at_once, cores) = (n.min(self.size.saturating_mul(self.at_once)), rayon::current_num_threads());
        let size = at_once.div_ceil(cores).clamp(1, most);
        // No more chunks than cores: one that waits for its share would begin another, and the caches would hold neither.
        Self { size, at_once: (at_once / size).clamp(1, cores), ..self }
    }

    /// Computes every chunk of `items` in its place.
    fn each<T: Send>(
        self,
        items: &mut [T],
        part: impl Fn(&mut [T]) -> Result<(), RefineError> + Sync + Send,
    ) -> Result<(), RefineError> {
        let size = self.size.max(1);
        items.chunks_mut(size.saturating_mul(self.at_once.max(1))).try_for_each(|group| {
            if self.at_once == 1 { part(group) } else { group.par_chunks_mut(size).try_for_each(&part) }
        })
    }
}

/// What the classifier says about a batch, and the gradient of the objective.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// `[N, K]`, row-major.
    pub logits: Vec<f32>,
    /// `[N]`
    pub objective: Vec<f32>,
    /// `[N, C, H, W]`, row-major.
    pub gradient: Vec<f32>,
    /// L2 length of every sample's gradient, `[N]`.
    pub gradient_l2: Vec<f64>,
}

impl Evaluation {
    /// Makes room for `n` samples; what was there stays where it fits.
    fn resize(&mut self, n: usize, classes: usize, sample_len: usize) {
        self.logits.resize(n * classes, 0.0);
        self.objective.resize(n, 0.0);
        self.gradient.resize(n * sample_len, 0.0);
        self.gradient_l2.resize(n, 0.0);
    }

    /// Every sample's place.
    fn places(&mut self) -> impl Iterator<Item = Place<'_>> {
        let n = self.objective.len().max(1);
        let (classes, len) = ((self.logits.len() / n).max(1), (self.gradient.len() / n).max(1));
        let (logits, gradients) = (self.logits.chunks_mut(classes), self.gradient.chunks_mut(len));
        let numbers = self.objective.iter_mut().zip(&mut self.gradient_l2);
        logits.zip(gradients).zip(numbers).enumerate().map(|(sample, ((logits, gradient), (objective, length)))| {
            Place { sample, logits, objective, gradient, length }
        })
    }
}

/// Where what is computed of one sample goes.
struct Place<'a> {
    sample: usize,
    logits: &'a mut [f32],
    objective: &'a mut f32,
    gradient: &'a mut [f32],
    length: &'a mut f64,
}

/// What is asked of the classifier, and on which device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) classifier: &'a Classifier,
    pub(super) objective: Objective,
    /// Objective and gradient are negated, so that ascending them descends the objective.
    pub(super) descends: bool,
    pub(super) chunks: Chunks,
    pub(super) device: &'a Device,
}

impl Evaluator<'_> {
    /// Evaluates the samples for which `wanted` says so into `found`; the others are taken from `known`.
    ///
    /// After an error `found` is worth nothing.
    pub(super) fn evaluate(
        &self,
        images: &ImageBatch,
        labels: &[usize],
        known: &Evaluation,
        wanted: &dyn Fn(usize) -> bool,
        found: &mut Evaluation,
    ) -> Result<(), RefineError> {
        let (classes, len) = (self.classifier.num_classes(), images.sample_len());
        found.resize(images.len(), classes, len);
        let (mut asked, mut rest): (Vec<_>, Vec<_>) = found.places().partition(|place| wanted(place.sample));
        rest.par_iter_mut().for_each(|place| {
            let i = place.sample;
            place.logits.copy_from_slice(&known.logits[i * classes..(i + 1) * classes]);
            place.gradient.copy_from_slice(&known.gradient[i * len..(i + 1) * len]);
            (*place.objective, *place.length) = (known.objective[i], known.gradient_l2[i]);
        });
        let chunks = self.chunks.joined(asked.len(), most(self.classifier));
        chunks.each(&mut asked, |places| self.chunk(images, labels, places))
    }

    fn chunk(&self, images: &ImageBatch, labels: &[usize], places: &mut [Place<'_>]) -> Result<(), RefineError> {
        let samples: Vec<usize> = places.iter().map(|place| place.sample).collect();
        let samples = self.chunks.filled(&samples);
        let labels: Vec<usize> = samples.iter().map(|sample| labels[*sample]).collect();
        let x = upload(images, &samples, self.device).autodiff().require_grad();
        let logits = self.classifier.logits(x.clone());
        let objective = self.objective.value(logits.clone(), &labels);
        // Samples do not mix, so the gradient of the sum holds every sample's own gradient.
        let mut gradients = objective.clone().sum().backward();
        let gradient = x.grad_remove(&mut gradients).expect("x is a tracked leaf");
        let read = Transaction::default()
            .register(logits.without_autodiff())
            .register(objective.without_autodiff())
            .register(gradient)
            .try_execute()
            .map_err(|cause| RefineError::device(&cause))?;
        let mut values = read.into_iter().map(TensorData::try_into_vec::<f32>);
        let mut take = || values.next().expect("three tensors").map_err(|cause| RefineError::device(&cause));
        let (logits, objective, gradient) = (take()?, take()?, take()?);
        let (classes, len) = (self.classifier.num_classes(), images.sample_len());
        let sign = |value: f32| if self.descends { -value } else { value };
        places.par_iter_mut().enumerate().for_each(|(row, place)| {
            place.logits.copy_from_slice(&logits[row * classes..(row + 1) * classes]);
            *place.objective = sign(objective[row]);
            for (to, from) in place.gradient.iter_mut().zip(&gradient[row * len..(row + 1) * len]) {
                *to = sign(*from);
            }
            *place.length = Norm::L2.length(place.gradient.iter().copied());
        });
        Ok(())
    }
}

/// The pictures `samples`, which may repeat, on the device.
fn upload(images: &ImageBatch, samples: &[usize], device: &Device) -> Tensor<4> {
    let [_, c, h, w] = images.shape();
    let mut pixels = Vec::with_capacity(samples.len() * images.sample_len());
    for sample in samples {
        pixels.extend_from_slice(images.sample(*sample));
    }
    Tensor::from_data(TensorData::new(pixels, [samples.len(), c, h, w]), device)
}

/// Evaluates objective and input gradient of every sample.
///
/// # Errors
/// [`RefineError::Device`] when the device fails.
pub fn evaluate(
    classifier: &Classifier,
    images: &ImageBatch,
    labels: &[usize],
    objective: Objective,
    chunks: Chunks,
    device: &Device,
) -> Result<Evaluation, RefineError> {
    let evaluator = Evaluator { classifier, objective, descends: false, chunks, device };
    let mut found = Evaluation::default();
    evaluator.evaluate(images, labels, &Evaluation::default(), &|_| true, &mut found)?;
    Ok(found)
}

/// The logits of every picture, `[N, K]` row-major, without a gradient.
///
/// # Errors
/// [`RefineError::Device`] when the device fails.
pub fn logits(
    classifier: &Classifier,
    images: &ImageBatch,
    chunks: Chunks,
    device: &Device,
) -> Result<Vec<f32>, RefineError> {
    let [logits] =
        of_each(images, (chunks.joined(images.len(), most(classifier)), device), |x| [classifier.logits(x)])?;
    Ok(logits)
}

/// What the classifier's last layer sees of every picture, `[N, D]` row-major, and its logits, `[N, K]`.
///
/// # Errors
/// [`RefineError::Device`] when the device fails.
pub fn features(
    classifier: &Classifier,
    images: &ImageBatch,
    chunks: Chunks,
    device: &Device,
) -> Result<[Vec<f32>; 2], RefineError> {
    of_each(images, (chunks.joined(images.len(), most(classifier)), device), |x| classifier.features(x))
}

/// What an extractor sees of every picture, row-major: features `[N, D]`, outputs `[N, K]`, and features place by place.
///
/// `images` are as the dialect makes them ([`Extractor::prepare`]).
///
/// # Errors
/// [`RefineError::Device`] when the device fails.
pub fn seen(
    extractor: &Extractor,
    images: &ImageBatch,
    dialect: InceptionDialect,
    (chunks, device): (Chunks, &Device),
) -> Result<[Vec<f32>; 3], RefineError> {
    let most = if extractor.sums_the_same_for_any_batch() { JOINED } else { 1 };
    of_each(images, (chunks.joined(images.len(), most), device), |x| extractor.features(x, dialect))
}

/// What a network makes of every picture, row-major.
fn of_each<const M: usize>(
    images: &ImageBatch,
    (chunks, device): (Chunks, &Device),
    network: impl Fn(Tensor<4>) -> [Tensor<2>; M] + Sync + Send,
) -> Result<[Vec<f32>; M], RefineError> {
    let mut found: Vec<(usize, [Vec<f32>; M])> =
        (0..images.len()).map(|sample| (sample, std::array::from_fn(|_| Vec::new()))).collect();
    chunks.each(&mut found, |rows| {
        let samples: Vec<usize> = rows.iter().map(|(sample, _)| *sample).collect();
        let made = network(upload(images, &chunks.filled(&samples), device));
        for (place, made) in made.into_iter().enumerate() {
            let width = made.dims()[1];
            let read = made.try_into_data().map_err(|cause| RefineError::device(&cause))?;
            let values = read.try_into_vec::<f32>().map_err(|cause| RefineError::device(&cause))?;
            for ((_, row), values) in rows.iter_mut().zip(values.chunks(width.max(1))) {
                row[place] = values.to_vec();
            }
        }
        Ok(())
    })?;
    Ok(std::array::from_fn(|place| found.iter().flat_map(|(_, row)| &row[place]).copied().collect()))
}

/// How many samples may go through a classifier together: one where that makes a difference.
const fn most(classifier: &Classifier) -> usize {
    if classifier.sums_the_same_for_any_batch() { JOINED } else { 1 }
}

/// How real the classifier finds every picture: `max_k s(f_k)`, in `0..=1`, where `s` is the sigmoid. Early stopping compares
/// it with that of a real picture (Golan et al. 2024, `adversaries.py`).
///
/// In double precision: in single precision the sigmoid is 1 from a logit of 17 on, and nothing is larger than 1.
///
/// `logits`: `[N, K]`, row-major, of `n` pictures.
#[must_use]
pub fn reality(logits: &[f32], n: usize) -> Vec<f64> {
    let largest = |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    rows(logits, n).map(|row| 1.0 / (1.0 + (-f64::from(largest(row))).exp())).collect()
}

/// The `n` rows of a matrix.
pub(super) fn rows(values: &[f32], n: usize) -> impl Iterator<Item = &[f32]> {
    let len = values.len() / n.max(1);
    (0..n).map(move |i| &values[i * len..(i + 1) * len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reality_is_that_of_the_most_believed_class_and_does_not_saturate_early() {
        let found = reality(&[0.0, -1.0, 20.0, 3.0, 21.0, f32::NAN], 3);
        assert_eq!(found[0], 0.5);
        assert!(found[1] < found[2] && found[2] < 1.0, "{found:?}");
    }

    #[test]
    fn chunks_cover_every_sample_once_and_are_filled_with_the_last() {
        let chunks = Chunks::gpu(3);
        assert_eq!(chunks.ranges(7).collect::<Vec<_>>(), [(0, 3), (3, 6), (6, 7)]);
        assert_eq!(chunks.filled(&[6]), [6, 6, 6]);
        assert_eq!(chunks.filled(&[0, 1]), [0, 1, 1], "also a batch below one chunk: its shape is tuned already");
        assert_eq!(Chunks::CPU.filled(&[6]), [6]);
    }

    #[test]
    fn samples_are_joined_where_they_may_be_and_memory_holds_them() {
        let cores = rayon::current_num_threads();
        let joined = |at_once, n, most| Chunks { at_once, ..Chunks::CPU }.joined(n, most);
        assert_eq!(joined(100, 100 * cores, 1).size, 1, "a network of which one goes through at a time");
        assert_eq!((joined(1000, 100 * cores, 8).size, joined(1000, 100 * cores, 3).size), (8, 3));
        assert_eq!(joined(1000, cores, 8).size, 1, "a chunk for every core");
        assert!(joined(5, 1000, 8).size * joined(5, 1000, 8).at_once <= 5);
        assert_eq!(Chunks::gpu(4).joined(100, 8), Chunks::gpu(4));
        // The demo's generator, an ImageNet-64 one, and one whose pictures need more than is joined.
        assert_eq!([1 << 20, 97 << 20, 1 << 30].map(Chunks::most), [8, 2, 1]);
    }
}
