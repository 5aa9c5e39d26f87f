//! One network call whose numbers are compared between two devices.

use burn::tensor::Device;

use super::error::WorkError;
use crate::classifier::{Classifier, Extractor};
use crate::generator::{Generator, Making, Plan};
use crate::image::ImageBatch;
use crate::noise::{Purpose, Stream};
use crate::refiner::{Chunks, Objective, evaluate};

/// Pictures of one network call.
pub(super) fn denoise(generator: &Generator, n: usize, device: &Device) -> Result<Vec<f32>, WorkError> {
    let seeds: Vec<u64> = (0..n as u64).collect();
    let mut making = Making::sample(generator, &seeds, &vec![0; n], &Plan::one_step(generator.diffusion()), device);
    making.step(generator);
    Ok(making.images()?.pixels().to_vec())
}

/// Gradients of one network call there and back, for random pictures of `[C, H, W]`, two of which are different.
pub(super) fn differentiate(
    classifier: &Classifier,
    shape: [usize; 3],
    n: usize,
    (chunks, device): (Chunks, &Device),
) -> Result<Vec<f32>, WorkError> {
    let batch = random(shape, n);
    let labels = vec![0; batch.len()];
    Ok(evaluate(classifier, &batch, &labels, Objective::TargetLogit, chunks, device)?.gradient)
}

/// Features of one network call for random pictures of `[C, H, W]`, two of which are different.
pub(super) fn look(
    extractor: &Extractor,
    shape: [usize; 3],
    n: usize,
    (chunks, device): (Chunks, &Device),
) -> Result<Vec<f32>, WorkError> {
    let [features, ..] = evaluate::seen(extractor, &random(shape, n), extractor.dialect(), (chunks, device))?;
    Ok(features)
}

/// Random pictures of `[C, H, W]`, the second again and again behind the first.
fn random(shape @ [c, h, w]: [usize; 3], n: usize) -> ImageBatch {
    let picture = |seed| {
        let mut stream = Stream::new(seed, Purpose::RandomStart);
        (0..shape.iter().product()).map(move |_| stream.uniform() as f32)
    };
    let pair = ImageBatch::new([2, c, h, w], (0..2).flat_map(picture).collect());
    pair.slice(0, n.min(2)).repeat_last(n)
}
