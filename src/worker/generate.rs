//! Pictures from noise.

use burn::tensor::Device;

use super::error::WorkError;
use super::make::{Begin, Recipe};
use crate::generator::{Classes, GenerateSettings, Generator, Making, Plan};
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::Chunks;

/// One picture per seed.
pub(super) struct Generate {
    settings: GenerateSettings,
    /// Known with the generator, and the names that they count.
    labels: Vec<usize>,
    classes: Vec<String>,
}

impl Generate {
    pub(super) const fn new(settings: GenerateSettings) -> Self {
        Self { settings, labels: Vec::new(), classes: Vec::new() }
    }
}

impl Recipe for Generate {
    fn check(&self) -> Result<(), WorkError> {
        Ok(self.settings.check()?)
    }

    fn generator(&self) -> &str {
        &self.settings.generator
    }

    fn count(&self) -> usize {
        self.settings.samples as usize
    }

    fn begin(&mut self, generator: &Generator, chunks: Chunks, device: &Device) -> Result<Begin, WorkError> {
        self.classes = generator.classes().to_vec();
        let classes = self.classes.len();
        if let Classes::Only(list) = &self.settings.classes {
            check_labels(list, classes)?;
        }
        self.labels = self.settings.labels(classes);
        let (seeds, labels) = (self.settings.seeds(), self.labels.clone());
        let plan = Plan::new(&self.settings, generator.diffusion())?;
        let device = device.clone();
        Ok(Box::new(move |generator, (from, to)| {
            let (seeds, labels) = (chunks.filled(&seeds[from..to]), chunks.filled(&labels[from..to]));
            Ok(Making::sample(generator, &seeds, &labels, &plan, &device))
        }))
    }

    fn origins(&self, images: ImageBatch) -> Origins {
        let made = images.len();
        Origins {
            images,
            labels: self.labels[..made].to_vec(),
            classes: Some(self.classes.clone()),
            seeds: self.settings.seeds()[..made].to_vec(),
            names: Vec::new(),
            made_by: Some(self.settings.clone()),
            edited: None,
        }
    }
}

/// Labels must be classes of the generator; one without classes takes any.
pub(super) fn check_labels(labels: &[usize], classes: usize) -> Result<(), WorkError> {
    match labels.iter().copied().find(|label| classes > 0 && *label >= classes) {
        Some(label) => Err(WorkError::Class { label, classes }),
        None => Ok(()),
    }
}
