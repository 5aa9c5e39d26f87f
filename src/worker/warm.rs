//! Before a GPU's first work: its kernels are compiled and tuned, visibly, and its numbers are compared with the CPU's.

use burn::tensor::Device;

use super::device::{self, OpenDevice};
use super::message::{Event, JobId};
use super::models;
use super::run::{Engine, WorkError};
use crate::classifier::Classifier;
use crate::generator::{GenerateError, Generator, Plan, sampler};
use crate::image::ImageBatch;
use crate::noise::{Purpose, normal_noise};
use crate::refiner::{Chunks, Objective, evaluate};

/// Relative difference between CPU and GPU that is worth a warning.
const SELF_CHECK_TOLERANCE: f32 = 1e-2;
/// Samples of the self-check.
const SELF_CHECK_SAMPLES: usize = 2;
/// Weights of larger models are not held a second time for the self-check.
const SELF_CHECK_BYTES: u64 = 512 << 20;

impl Engine<'_, '_> {
    /// Tunes the generator's kernels for one chunk shape, on a GPU only, as a visible state.
    pub(super) fn warm_generator(&mut self, job: JobId, chunks: Chunks, open: &OpenDevice) -> Result<(), WorkError> {
        let info = &self.models.generator.as_ref().expect("loaded before").info;
        let (key, reference) = ((info.sha256.clone(), chunks.size), info.reference.clone());
        if open.info.cpu || self.warmed.contains(&key) {
            return Ok(());
        }
        self.tell(job, 1, "compiling and tuning the generator's kernels (once per shape and device)");
        let generator = &self.models.generator.as_ref().expect("loaded before").model;
        let gpu = denoise(generator, &open.device, chunks.size)?;
        if generator.weight_bytes() <= SELF_CHECK_BYTES {
            self.tell(job, 2, "checking the GPU's pictures against the CPU's");
            let cpu_device = device::cpu().device;
            let cpu = models::load::<Generator>(&reference, &self.cache, &cpu_device, &mut |_, _, _| true)?;
            let n = SELF_CHECK_SAMPLES.min(chunks.size);
            let cpu = denoise(&cpu.model, &cpu_device, n)?;
            self.compare("generator", gpu.slice(0, n).pixels(), cpu.pixels());
        }
        self.warmed.push(key);
        Ok(())
    }

    /// Likewise for the classifier's forward and backward pass.
    pub(super) fn warm_classifier(
        &mut self,
        job: JobId,
        images: &ImageBatch,
        chunks: Chunks,
        open: &OpenDevice,
    ) -> Result<(), WorkError> {
        let info = &self.models.classifier.as_ref().expect("loaded before").info;
        let (key, reference) = ((info.sha256.clone(), chunks.size), info.reference.clone());
        if open.info.cpu || self.warmed.contains(&key) {
            return Ok(());
        }
        self.tell(job, 1, "compiling and tuning the classifier's kernels (once per shape and device)");
        let batch = images.slice(0, chunks.size.min(images.len())).repeat_last(chunks.size);
        let labels = vec![0; batch.len()];
        let classifier = &self.models.classifier.as_ref().expect("loaded before").model;
        let objective = Objective::TargetLogit;
        let gpu = evaluate(classifier, &batch, &labels, objective, chunks, &open.device)?;
        if classifier.weight_bytes() <= SELF_CHECK_BYTES {
            self.tell(job, 2, "checking the GPU's gradients against the CPU's");
            let cpu_device = device::cpu().device;
            let cpu = models::load::<Classifier>(&reference, &self.cache, &cpu_device, &mut |_, _, _| true)?;
            let n = SELF_CHECK_SAMPLES.min(chunks.size);
            let cpu = evaluate(&cpu.model, &batch.slice(0, n), &labels[..n], objective, Chunks::CPU, &cpu_device)?;
            self.compare("classifier's gradient", &gpu.gradient[..cpu.gradient.len()], &cpu.gradient);
        }
        self.warmed.push(key);
        Ok(())
    }

    fn tell(&mut self, job: JobId, step: u32, what: &str) {
        self.publish(Event::Preparing { job, what: what.to_owned(), step, of: 2 });
    }

    fn compare(&mut self, what: &str, gpu: &[f32], cpu: &[f32]) {
        let scale = cpu.iter().fold(1e-12_f32, |max, value| max.max(value.abs()));
        let worst = gpu.iter().zip(cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale;
        tracing::info!(what, worst, "self-check");
        if worst.is_nan() || worst > SELF_CHECK_TOLERANCE {
            self.publish(Event::Warning(format!(
                "the {what} differs by {:.1} % between this GPU and the CPU: results on it cannot be trusted, use the CPU or update the driver",
                worst * 100.0
            )));
        }
    }
}

/// Pictures of one network call.
fn denoise(generator: &Generator, device: &Device, n: usize) -> Result<ImageBatch, GenerateError> {
    let seeds: Vec<u64> = (0..n as u64).collect();
    let noise = normal_noise(&seeds, Purpose::Sampling(0), generator.sample_shape().iter().product());
    let plan = Plan::one_step(generator.diffusion());
    let mut sampling = sampler::Sampling::new(generator, noise, vec![0; n], plan, device);
    sampling.step(generator, &mut |_| Vec::new());
    sampling.images()
}
