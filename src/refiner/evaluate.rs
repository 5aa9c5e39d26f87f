//! The classifier's forward and backward pass for a batch of pictures, cut into chunks for the device.

use burn::tensor::{Device, TensorData, Transaction};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::objective::Objective;
use crate::classifier::Classifier;
use crate::image::ImageBatch;
use crate::net::resnet::OddSize;

/// Why an iteration could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum RefineError {
    /// The device failed.
    #[error("the compute device failed while refining: choose another device or a smaller batch ({0})")]
    Device(String),
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
        Self::Device(format!("{cause:?}"))
    }
}

/// How a batch is cut for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    /// Samples that go through the network together.
    pub size: usize,
    /// Fill the last chunk up, so that a GPU tunes its kernels for one shape only.
    pub pad: bool,
    /// Chunks that are computed at once, on all cores (CPU only): as many as memory holds.
    pub at_once: usize,
}

impl Chunks {
    /// For the CPU: every sample on its own, on all cores.
    ///
    /// A matrix product's order of summation depends on its shape, and one rounding more or less can flip a ReLU. One sample
    /// at a time makes results independent of the batch to the last bit, and it is faster than a batch: samples share
    /// no work, and the parts of a network that use a single core run for several samples at once.
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

    /// The items of one chunk of `n`, the last repeated until the chunk is full, if asked to.
    #[must_use]
    pub fn filled<T: Clone>(self, items: &[T], n: usize) -> Vec<T> {
        let mut items = items.to_vec();
        if self.pad && n > self.size {
            let last = items.last().cloned();
            items.extend(std::iter::repeat_n(last, self.size.saturating_sub(items.len())).flatten());
        }
        items
    }

    /// Computes every chunk of `n` samples; results are in order.
    fn each<T: Send>(
        self,
        n: usize,
        part: impl Fn(&(usize, usize)) -> Result<T, RefineError> + Sync + Send,
    ) -> Result<Vec<T>, RefineError> {
        let ranges: Vec<(usize, usize)> = self.ranges(n).collect();
        if self.at_once == 1 {
            return ranges.iter().map(part).collect();
        }
        let mut results = Vec::with_capacity(ranges.len());
        for group in ranges.chunks(self.at_once.max(1)) {
            results.append(&mut group.par_iter().map(&part).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(results)
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
}

impl Evaluation {
    /// The same with objective and gradient negated, so that ascending it descends the objective.
    pub(super) fn negated(mut self) -> Self {
        for value in self.objective.iter_mut().chain(&mut self.gradient) {
            *value = -*value;
        }
        self
    }
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
    let parts = chunks
        .each(images.len(), |range| evaluate_chunk(classifier, images, labels, objective, (*range, chunks), device))?;
    let mut all = Evaluation::default();
    for mut part in parts {
        all.logits.append(&mut part.logits);
        all.objective.append(&mut part.objective);
        all.gradient.append(&mut part.gradient);
    }
    Ok(all)
}

fn evaluate_chunk(
    classifier: &Classifier,
    images: &ImageBatch,
    labels: &[usize],
    objective: Objective,
    ((start, end), chunks): ((usize, usize), Chunks),
    device: &Device,
) -> Result<Evaluation, RefineError> {
    let n = end - start;
    let labels = chunks.filled(&labels[start..end], images.len());
    let part = images.slice(start, end).repeat_last(labels.len());
    let x = part.to_tensor(device).autodiff().require_grad();
    let logits = classifier.logits(x.clone());
    let objective = objective.value(logits.clone(), &labels);
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
    let mut take = |count: usize| -> Result<Vec<f32>, RefineError> {
        let mut values = values.next().expect("three tensors").map_err(|cause| RefineError::device(&cause))?;
        values.truncate(count);
        Ok(values)
    };
    Ok(Evaluation {
        logits: take(n * classifier.num_classes())?,
        objective: take(n)?,
        gradient: take(n * images.sample_len())?,
    })
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
    let parts = chunks.each(images.len(), |&(start, end)| {
        let count = chunks.filled(&vec![(); end - start], images.len()).len();
        let part = images.slice(start, end).repeat_last(count);
        let read = classifier.logits(part.to_tensor(device)).try_into_data();
        let read = read.map_err(|cause| RefineError::device(&cause))?;
        let mut values = read.try_into_vec::<f32>().map_err(|cause| RefineError::device(&cause))?;
        values.truncate((end - start) * classifier.num_classes());
        Ok(values)
    })?;
    Ok(parts.concat())
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
        assert_eq!(chunks.filled(&[6], 7), [6, 6, 6]);
        assert_eq!(chunks.filled(&[0, 1], 2), [0, 1], "a batch below one chunk is a shape of its own");
    }
}
