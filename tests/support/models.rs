//! The bundled models on the CPU backend.

use burn::tensor::Device;
use lapidary::checkpoint::{Checkpoint, Weights, unwatched};
use lapidary::classifier::Classifier;
use lapidary::zoo::{Manifest, resolve};

use crate::cache::cache;

/// A bundled model's description and weights.
pub(crate) fn bundled(name: &str) -> (Manifest, Checkpoint) {
    let model = resolve(name, &cache()).expect("bundled models unpack");
    let checkpoint = model.open().expect("bundled models are sound");
    model
        .confirm(checkpoint.sha256(&mut unwatched).expect("it can be read"))
        .expect("they have their manifests' hashes");
    (model.manifest, checkpoint)
}

/// A bundled classifier.
pub(crate) fn classifier(name: &str) -> Classifier {
    let (manifest, checkpoint) = bundled(name);
    Classifier::read(&manifest, Weights::new(&checkpoint), &Device::flex()).expect("bundled models load").0
}
