//! Whether the memory of this machine, and a disk, can hold a training.

use std::path::Path;

use burn::tensor::Device;

use super::error::TrainingError;
use crate::file::free_space;
use crate::net::Shapes;
use crate::net::resnet::Resnet;
use crate::net::unet::Unet;
use crate::train::Course;
use crate::worker::memory::all_memory;
use crate::zoo::{Manifest, expected};

/// Lists of numbers beside averages: the weights, what they become in a step, their gradient, and the optimiser's two.
const LISTS: u64 = 5;
/// Bytes of a number.
const NUMBER: u64 = 4;

/// Refuses what cannot be held on the CPU before anything is made. What a backward pass keeps is not counted, so more may be
/// needed, but never less. `path` only names the configuration.
pub(super) fn check(manifest: &Manifest, course: &Course, path: &Path) -> Result<(), TrainingError> {
    let all = all_memory();
    let refuse = |needed| Err(TrainingError::Memory { path: path.to_owned(), needed, all });
    let numbers = expected(manifest).into_iter().map(|(_, shape)| shape.iter().map(|n| *n as u64).product::<u64>());
    let lists = LISTS + course.averages.len() as u64;
    let weights = numbers.sum::<u64>().saturating_mul(NUMBER * lists);
    if weights > all {
        return refuse(weights);
    }
    // Small enough to be made without values.
    let (device, mut shapes) = (Device::flex(), Shapes::default());
    let unet = manifest.unet().and_then(|config| Unet::load(config, &mut shapes, &device).ok());
    let resnet = manifest.resnet().and_then(|config| Resnet::load(&config, &mut shapes, &device).ok());
    let of_one = unet.map(|net| net.activation_bytes(manifest.size()));
    let of_one = of_one.or_else(|| resnet.map(|net| net.activation_bytes(manifest.size()))).unwrap_or(0);
    let at_once = course.batch.div_ceil(course.parts.max(1)) as u64;
    let needed = weights.saturating_add(of_one.saturating_mul(at_once));
    if needed > all { refuse(needed) } else { Ok(()) }
}

/// Refuses checkpoints of so many bytes in all where there is no room for them.
pub(super) fn check_disk(out: &Path, needed: u64) -> Result<(), TrainingError> {
    match free_space(out).filter(|free| *free < needed) {
        Some(free) => Err(TrainingError::Space { path: out.to_owned(), needed, free }),
        None => Ok(()),
    }
}
