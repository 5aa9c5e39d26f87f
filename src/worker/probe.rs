//! One network call whose numbers are compared between two devices.

use burn::tensor::Device;

use super::error::WorkError;
use crate::classifier::Classifier;
use crate::generator::{Generator, Making, Plan};
use crate::image::ImageBatch;
use crate::refiner::{Chunks, Objective, evaluate};

/// Pictures of one network call.
pub(super) fn denoise(generator: &Generator, n: usize, device: &Device) -> Result<Vec<f32>, WorkError> {
    let seeds: Vec<u64> = (0..n as u64).collect();
    let mut making = Making::sample(generator, &seeds, &vec![0; n], &Plan::one_step(generator.diffusion()), device);
    making.step(generator);
    Ok(making.images()?.pixels().to_vec())
}

/// Gradients of one network call there and back.
pub(super) fn differentiate(
    classifier: &Classifier,
    images: Option<&ImageBatch>,
    n: usize,
    (chunks, device): (Chunks, &Device),
) -> Result<Vec<f32>, WorkError> {
    let Some(images) = images else { return Ok(Vec::new()) };
    let batch = images.slice(0, n.min(images.len())).repeat_last(n);
    let labels = vec![0; batch.len()];
    Ok(evaluate(classifier, &batch, &labels, Objective::TargetLogit, chunks, device)?.gradient)
}
