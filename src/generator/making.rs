//! Pictures on their way, whatever they are made of: one step at a time, so that whoever makes them can pause, stop and count.

use burn::tensor::Device;

use super::edit_settings::{EditSettings, EditTask};
use super::editing::{EditStart, Editing, Known, cycle};
use super::interpolation::{frame_noise, frame_position};
use super::mask::Mask;
use super::plan::Plan;
use super::sampler::Sampling;
use super::{GenerateError, Generator};
use crate::image::ImageBatch;
use crate::noise::{Purpose, normal_noise};

/// Some pictures on their way.
#[derive(Debug)]
pub struct Making {
    work: Work,
    noise: Noise,
}

#[derive(Debug)]
enum Work {
    Sampling(Sampling),
    Editing(Editing),
}

/// Where the unit noise of every step comes from.
#[derive(Debug)]
enum Noise {
    /// Every picture has its own.
    Seeds(Vec<u64>),
    /// It lies between that of two seeds.
    Frames { ends: (u64, u64), positions: Vec<f64> },
}

impl Noise {
    /// `[N, C, H, W]`, row-major; step 0 is the initial one.
    fn draw(&self, generator: &Generator, step: u32) -> Vec<f32> {
        let (purpose, len) = (Purpose::Sampling(step), generator.sample_shape().iter().product());
        match self {
            Self::Seeds(seeds) => normal_noise(seeds, purpose, len),
            Self::Frames { ends, positions } => frame_noise(*ends, positions, purpose, len),
        }
    }
}

/// What [`Making::edit`] works on: some of the pictures that were asked for, so that they can be made in parts.
#[derive(Debug, Clone, Copy)]
pub struct EditInput<'a> {
    /// Pictures to edit, repeated from the first when there are fewer than wanted; not needed for interpolation.
    pub reference: Option<&'a ImageBatch>,
    /// Pixels to generate, for inpainting.
    pub mask: Option<&'a Mask>,
    /// Seed of every picture.
    pub seeds: &'a [u64],
    /// Class of every picture.
    pub labels: &'a [usize],
    /// Index of the first of these pictures among all.
    pub first: usize,
    /// Number of all pictures: the frames of an interpolation.
    pub total: usize,
}

impl Making {
    /// Begins to make one picture per seed from noise.
    #[must_use]
    pub fn sample(generator: &Generator, seeds: &[u64], labels: &[usize], plan: &Plan, device: &Device) -> Self {
        Self::sample_from(generator, Noise::Seeds(seeds.to_vec()), labels, plan, device)
    }

    fn sample_from(generator: &Generator, noise: Noise, labels: &[usize], plan: &Plan, device: &Device) -> Self {
        let sampling = Sampling::new(generator, noise.draw(generator, 0), labels.to_vec(), plan.clone(), device);
        Self { work: Work::Sampling(sampling), noise }
    }

    /// Begins to make pictures from pictures.
    ///
    /// `plan` says how the frames of an interpolation are sampled; the other tasks have levels of their own.
    ///
    /// # Errors
    /// [`GenerateError`] when something is missing or does not fit.
    pub fn edit(
        generator: &Generator,
        input: EditInput<'_>,
        settings: &EditSettings,
        plan: &Plan,
        device: &Device,
    ) -> Result<Self, GenerateError> {
        let EditInput { reference, mask, seeds, labels, first, total } = input;
        if settings.task == EditTask::Interpolate {
            let positions = (first..first + seeds.len()).map(|i| frame_position(i, total)).collect();
            let noise = Noise::Frames { ends: (settings.seed_from, settings.seed_to), positions };
            return Ok(Self::sample_from(generator, noise, labels, plan, device));
        }
        let reference = reference.filter(|pictures| !pictures.is_empty()).ok_or(GenerateError::NoPicture)?;
        let reference = cycle(reference, first, seeds.len());
        let noise = Noise::Seeds(seeds.to_vec());
        let start = match settings.task {
            EditTask::Denoise if !settings.add_noise => EditStart::Picture,
            _ => EditStart::Noise(noise.draw(generator, 0)),
        };
        let (known, sigmas) = (Known::of(settings, mask)?, settings.sigmas(generator.diffusion()));
        let editing = Editing::new(generator, known, &reference, labels.to_vec(), start, sigmas, device)?;
        Ok(Self { work: Work::Editing(editing), noise })
    }

    /// Number of steps in all.
    #[must_use]
    pub const fn steps(&self) -> usize {
        match &self.work {
            Work::Sampling(sampling) => sampling.steps(),
            Work::Editing(editing) => editing.steps(),
        }
    }

    /// Takes one step; returns true when it was the last.
    pub fn step(&mut self, generator: &Generator) -> bool {
        let mut noise = |step| self.noise.draw(generator, step);
        match &mut self.work {
            Work::Sampling(sampling) => sampling.step(generator, &mut noise),
            Work::Editing(editing) => editing.step(generator, &mut noise),
        }
    }

    /// The pictures as they are now, in `[0, 1]`.
    ///
    /// # Errors
    /// When the device fails, or [`GenerateError::NotFinite`].
    pub fn images(&self) -> Result<ImageBatch, GenerateError> {
        let images = match &self.work {
            Work::Sampling(sampling) => sampling.images(),
            Work::Editing(editing) => editing.images(),
        }?;
        let count = images.len();
        let is_broken = |i: &usize| images.sample(*i).iter().any(|value| !value.is_finite());
        match (0..count).filter(is_broken).count() {
            0 => Ok(images),
            broken => Err(GenerateError::NotFinite { broken, count }),
        }
    }
}
