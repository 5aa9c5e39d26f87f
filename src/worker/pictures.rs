//! Making pictures: generated from noise, or edited from other pictures.

use std::sync::Arc;
use std::time::Instant;

use super::compute::ComputeSettings;
use super::device::OpenDevice;
use super::make::make;
use super::message::{Event, JobId, Rest};
use super::run::{Engine, WorkError};
use crate::generator::editing::EditInput;
use crate::generator::settings::SAMPLES;
use crate::generator::{Classes, EditSettings, EditTask, GenerateSettings, Generator, Mask, Plan, editing, sampler};
use crate::origins::{Edited, Origins};
use crate::refiner::Chunks;

impl Engine<'_, '_> {
    /// Loads the generator and finds out how to use it for `n` pictures.
    fn ready_generator(
        &mut self,
        job: JobId,
        reference: &str,
        compute: &ComputeSettings,
        n: usize,
    ) -> Result<(OpenDevice, Chunks), WorkError> {
        let open = self.open_device(&compute.device)?;
        self.load::<Generator>(job, reference, &open)?;
        let model = &self.models.generator.as_ref().expect("loaded above").model;
        let need = (false, model.weight_bytes(), model.activation_bytes());
        let chunks = self.chunks(job, compute, n, need);
        self.warm_generator(job, chunks, &open)?;
        Ok((open, chunks))
    }

    pub(super) fn generate(
        &mut self,
        job: JobId,
        settings: &GenerateSettings,
        compute: &ComputeSettings,
    ) -> Result<(), WorkError> {
        settings.check()?;
        let start = Instant::now();
        let (open, chunks) = self.ready_generator(job, &settings.generator, compute, settings.samples as usize)?;
        let generator = &self.models.generator.as_ref().expect("loaded above").model;
        let classes = generator.num_classes().unwrap_or(0);
        if let Classes::Only(list) = &settings.classes {
            check_labels(list, classes)?;
        }
        let (seeds, labels) = (settings.seeds(), settings.labels(classes));
        let plan = Plan::new(settings, generator.diffusion())?;
        let n = seeds.len();
        let part = |(from, to): (usize, usize), progress: &mut dyn FnMut(usize, usize) -> bool| {
            let (seeds, labels) = (chunks.filled(&seeds[from..to], n), chunks.filled(&labels[from..to], n));
            let images = sampler::sample(generator, &seeds, &labels, &plan, &open.device, progress)?;
            Ok(images.map(|images| images.slice(0, to - from)))
        };
        let (inbox, sink) = (&mut self.inbox, &mut self.sink);
        let images = make(n, chunks, &part, &mut |done, of| {
            sink(Event::Generating { job, done: done as u32, of: of as u32 }) && !inbox.interrupted()
        })?;
        let origins = images.map(|images| {
            let made = images.len();
            let (labels, seeds) = (labels[..made].to_vec(), seeds[..made].to_vec());
            Origins { images, labels, seeds, names: Vec::new(), made_by: Some(settings.clone()), edited: None }
        });
        self.publish_made(job, origins, n, start);
        Ok(())
    }

    /// Makes pictures from pictures: one of every reference, or as many as asked for of a single one.
    pub(super) fn edit(
        &mut self,
        job: JobId,
        settings: &GenerateSettings,
        edit: &EditSettings,
        reference: Option<&Origins>,
        mask: Option<Mask>,
        compute: &ComputeSettings,
    ) -> Result<(), WorkError> {
        settings.check()?;
        edit.check()?;
        let start = Instant::now();
        let references = reference.filter(|_| edit.task.needs_reference());
        let n = references.map_or(1, |origins| origins.images.len());
        // Without noise every variant of a picture would be the same.
        let varies = edit.task != EditTask::Denoise || edit.add_noise;
        let n = if n == 1 && varies { settings.samples as usize } else { n };
        SAMPLES.check(n as f64)?;
        let (open, chunks) = self.ready_generator(job, &settings.generator, compute, n)?;
        let generator = &self.models.generator.as_ref().expect("loaded above").model;
        let classes = generator.num_classes().unwrap_or(0);
        let [_, h, w] = generator.sample_shape();
        let asked = GenerateSettings { samples: n as u32, ..settings.clone() };
        let seeds = asked.seeds();
        let labels: Vec<usize> = match (references, &settings.classes) {
            (Some(origins), Classes::All) => (0..n).map(|i| origins.labels[i % origins.labels.len()]).collect(),
            // In an interpolation only the noise changes.
            (None, Classes::All) => vec![0; n],
            _ => asked.labels(classes),
        };
        check_labels(&labels, classes)?;
        let names: Vec<String> = references.map_or_else(Vec::new, |origins| {
            let name = |i: usize| origins.names.get(i % origins.names.len().max(1)).cloned();
            (0..n).filter_map(name).collect()
        });
        let images = references.map(|origins| editing::cycle(&origins.images.resized([h, w]), 0, n));
        let mask = mask.filter(|_| edit.task.needs_mask()).map(|mask| mask.resized(w as u32, h as u32));
        let plan = Plan::new(&asked, generator.diffusion())?;
        let part = |(from, to): (usize, usize), progress: &mut dyn FnMut(usize, usize) -> bool| {
            let (seeds, labels) = (chunks.filled(&seeds[from..to], n), chunks.filled(&labels[from..to], n));
            let input = EditInput {
                reference: images.as_ref(),
                mask: mask.as_ref(),
                seeds: &seeds,
                labels: &labels,
                first: from,
                total: n,
            };
            let made = editing::edit(generator, input, edit, &plan, &open.device, progress)?;
            Ok(made.map(|made| made.slice(0, to - from)))
        };
        let (inbox, sink) = (&mut self.inbox, &mut self.sink);
        let made = make(n, chunks, &part, &mut |done, of| {
            sink(Event::Generating { job, done: done as u32, of: of as u32 }) && !inbox.interrupted()
        })?;
        let origins = made.map(|made| {
            let count = made.len();
            let edited = images.as_ref().map(|images| {
                let reference = images.slice(0, count);
                Edited { settings: edit.clone(), reference, mask: mask.clone() }
            });
            let (labels, seeds) = (labels[..count].to_vec(), seeds[..count].to_vec());
            let names = names.into_iter().take(count).collect();
            Origins { images: made, labels, seeds, names, made_by: Some(settings.clone()), edited }
        });
        self.publish_made(job, origins, n, start);
        Ok(())
    }

    fn publish_made(&mut self, job: JobId, origins: Option<Origins>, asked: usize, start: Instant) {
        let finished = origins.as_ref().is_some_and(|origins| origins.images.len() == asked);
        if let Some(origins) = origins {
            let secs = start.elapsed().as_secs_f64();
            self.publish(Event::Generated { job, origins: Arc::new(origins), secs });
        }
        self.publish(Event::Resting { job, rest: if finished { Rest::Finished } else { Rest::Stopped } });
    }
}

/// Labels must be classes of the generator; one without classes takes any.
fn check_labels(labels: &[usize], classes: usize) -> Result<(), WorkError> {
    match labels.iter().copied().find(|label| classes > 0 && *label >= classes) {
        Some(label) => Err(WorkError::Class { label, classes }),
        None => Ok(()),
    }
}
