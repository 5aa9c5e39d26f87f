//! Pictures from pictures: one of each that is given, or as many as asked for of a single one.

use std::sync::Arc;

use burn::tensor::Device;

use super::error::WorkError;
use super::generate::check_labels;
use super::make::{Begin, Recipe};
use crate::generator::editing::cycle;
use crate::generator::interpolation::frame_labels;
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, EditInput, EditSettings, EditTask, GenerateSettings, Generator, Making, Mask, Plan};
use crate::image::ImageBatch;
use crate::origins::{Edited, Origins};
use crate::refiner::Chunks;

/// Pictures made from pictures.
pub(super) struct Edit {
    settings: GenerateSettings,
    how: EditSettings,
    /// What is edited; none for an interpolation.
    source: Option<Arc<Origins>>,
    mask: Option<Mask>,
    /// Known with the generator, and the names that they count.
    labels: Vec<usize>,
    classes: Option<Vec<String>>,
    /// What is edited at the generator's size, one per result.
    images: Option<ImageBatch>,
}

impl Edit {
    pub(super) fn new(
        settings: GenerateSettings,
        how: EditSettings,
        source: Option<Arc<Origins>>,
        mask: Option<Mask>,
    ) -> Self {
        let source = source.filter(|_| how.task.needs_reference());
        let mask = mask.filter(|_| how.task.needs_mask());
        Self { settings, how, source, mask, labels: Vec::new(), classes: None, images: None }
    }

    /// As if so many pictures were generated.
    fn asked(&self) -> GenerateSettings {
        GenerateSettings { samples: self.count() as u32, ..self.settings.clone() }
    }
}

impl Recipe for Edit {
    fn check(&self) -> Result<(), WorkError> {
        self.settings.check()?;
        self.how.check()?;
        SAMPLES.check(self.count() as f64)?;
        Ok(())
    }

    fn generator(&self) -> &str {
        &self.settings.generator
    }

    fn count(&self) -> usize {
        let n = self.source.as_ref().map_or(1, |origins| origins.images.len());
        // Without noise every variant of a picture would be the same.
        let varies = self.how.task != EditTask::Denoise || self.how.add_noise;
        if n == 1 && varies { self.settings.samples as usize } else { n }
    }

    fn begin(&mut self, generator: &Generator, chunks: Chunks, device: &Device) -> Result<Begin, WorkError> {
        let (n, asked) = (self.count(), self.asked());
        let classes = generator.classes();
        self.classes = Some(classes.to_vec());
        let [_, h, w] = generator.sample_shape();
        self.labels = match (&self.source, &self.settings.classes) {
            (Some(origins), Classes::All) => {
                // A generator without classes leaves them as they are.
                let labels = match classes {
                    [] => origins.labels.clone(),
                    names => origins.labels_among(names).map_err(WorkError::EditedLabels)?,
                };
                self.classes = if classes.is_empty() { origins.classes.clone() } else { self.classes.take() };
                (0..n).map(|i| labels[i % labels.len()]).collect()
            }
            (None, _) => frame_labels(&asked, (self.how.seed_from, self.how.seed_to), classes.len()),
            _ => asked.labels(classes.len()),
        };
        check_labels(&self.labels, classes.len())?;
        self.images = self.source.as_ref().map(|origins| cycle(&origins.images.resized([h, w]), 0, n));
        self.mask = self.mask.take().map(|mask| mask.resized(w as u32, h as u32));
        let (seeds, labels) = (asked.seeds(), self.labels.clone());
        let plan = Plan::new(&asked, generator.diffusion())?;
        let (how, images, mask, device) = (self.how.clone(), self.images.clone(), self.mask.clone(), device.clone());
        Ok(Box::new(move |generator, (from, to)| {
            let (seeds, labels) = (chunks.filled(&seeds[from..to]), chunks.filled(&labels[from..to]));
            let input = EditInput {
                reference: images.as_ref(),
                mask: mask.as_ref(),
                seeds: &seeds,
                labels: &labels,
                first: from,
                total: n,
            };
            Making::edit(generator, input, &how, &plan, &device)
        }))
    }

    fn origins(&self, images: ImageBatch) -> Origins {
        let made = images.len();
        let edited = self.images.as_ref().map(|source| Edited {
            settings: self.how.clone(),
            reference: source.slice(0, made),
            mask: self.mask.clone(),
            is_of_one: Some(self.source.as_ref().is_none_or(|origins| origins.images.len() == 1)),
        });
        let (labels, seeds) = (self.labels[..made].to_vec(), self.asked().seeds()[..made].to_vec());
        let names = self.source.as_ref().map_or_else(Vec::new, |origins| {
            let name = |i: usize| origins.names.get(i % origins.names.len().max(1)).cloned();
            (0..made).filter_map(name).collect()
        });
        let (classes, made_by) = (self.classes.clone(), Some(self.settings.clone()));
        Origins { images, labels, classes, seeds, names, made_by, edited }
    }
}
