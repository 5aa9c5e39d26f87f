//! Zero-shot editing: pictures from pictures, with no training for it.
//!
//! A linear measurement of the picture is known: some of its pixels, its luminance, the means of its patches. Sampling
//! goes on as usual, but after every call the known part replaces the generated one.
//!
//! The paper writes the replacement as `x ← A⁻¹[(A y)(1 - Ω) + (A x) Ω]` with an invertible `A` and a mask `Ω` of
//! the coefficients to be generated. Here `A` is orthogonal (or the identity), so that is `x + P(y - x)`, where `P`
//! projects onto the basis vectors whose coefficients are known. The other vectors do not occur in `P`: however a QR
//! decomposition completes the basis, the result is the same, and no decomposition is needed.
//!
//! # Source
//! Song et al. 2023, Algorithm 4 and appendix D; openai/consistency_models, `cm/karras_diffusion.py`: `iterative_*`.

use burn::tensor::{Device, Tensor, TensorData};

use super::edit_settings::{EditSettings, EditTask};
use super::mask::Mask;
use super::sampler::{add_noise, renoising, to_images};
use super::{GenerateError, Generator};
use crate::image::ImageBatch;

/// Weights of red, green and blue in the luminance, scaled to length 1: (0.2989, 0.5870, 0.1140) / 0.6685.
const LUMINANCE: [f32; 3] = [0.447_113_42, 0.878_071_55, 0.170_528_38];

/// What of a picture is known and stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: the picture only says where to start.
    Nothing,
    /// The pixels that are not missing.
    Pixels(Mask),
    /// The luminance of every pixel.
    Luminance,
    /// The mean of every patch of so many pixels squared, per colour channel.
    PatchMeans(usize),
}

impl Known {
    /// What a task keeps.
    ///
    /// # Errors
    /// [`GenerateError::NoMask`] for inpainting without one.
    pub fn of(settings: &EditSettings, mask: Option<&Mask>) -> Result<Self, GenerateError> {
        match settings.task {
            EditTask::Inpaint => mask.cloned().map(Self::Pixels).ok_or(GenerateError::NoMask),
            EditTask::Colorize => Ok(Self::Luminance),
            EditTask::SuperResolution => Ok(Self::PatchMeans(settings.patch as usize)),
            EditTask::Stroke | EditTask::Denoise | EditTask::Interpolate => Ok(Self::Nothing),
        }
    }
}

/// Where editing starts.
#[derive(Debug, Clone, PartialEq)]
pub enum EditStart {
    /// The known part plus the first level times this unit noise, `[N, C, H, W]` (Algorithm 4).
    Noise(Vec<f32>),
    /// This state, `[N, C, H, W]` in generator units, already at the first level.
    State(Vec<f32>),
    /// The picture itself, taken as already noisy.
    Picture,
}

/// The projection `P` onto what is known.
#[derive(Debug)]
enum Projection {
    Nothing,
    /// `[1, 1, H, W]`, 1 where known.
    Pixels(Tensor<4>),
    /// `[1, 3, 1, 1]`, of length 1.
    Direction(Tensor<4>),
    /// Side of a patch.
    PatchMeans(usize),
}

impl Projection {
    fn new(known: &Known, [c, h, w]: [usize; 3], device: &Device) -> Result<Self, GenerateError> {
        let tensor = |values: Vec<f32>, shape: [usize; 4]| Tensor::from_data(TensorData::new(values, shape), device);
        match known {
            Known::Nothing => Ok(Self::Nothing),
            Known::Pixels(mask) => {
                let values = mask.missing().iter().map(|missing| if *missing { 0.0 } else { 1.0 });
                Ok(Self::Pixels(tensor(values.collect(), [1, 1, h, w])))
            }
            Known::Luminance if c == 3 => Ok(Self::Direction(tensor(LUMINANCE.to_vec(), [1, 3, 1, 1]))),
            Known::Luminance => Err(GenerateError::Colour { channels: c }),
            Known::PatchMeans(p) if *p > 0 && h.is_multiple_of(*p) && w.is_multiple_of(*p) => Ok(Self::PatchMeans(*p)),
            Known::PatchMeans(patch) => Err(GenerateError::Patch { patch: *patch, height: h, width: w }),
        }
    }

    /// `P d` for `d`: `[N, C, H, W]`; `None` when nothing is known.
    fn of(&self, d: Tensor<4>) -> Option<Tensor<4>> {
        let [n, c, h, w] = d.dims();
        match self {
            Self::Nothing => None,
            Self::Pixels(known) => Some(d * known.clone()),
            Self::Direction(q) => Some((d * q.clone()).sum_dim(1).expand([n, c, h, w]) * q.clone()),
            Self::PatchMeans(p) => {
                let patches = d.reshape([n, c, h / p, *p, w / p, *p]);
                let means = patches.mean_dim(5).mean_dim(3).expand([n, c, h / p, *p, w / p, *p]);
                Some(means.reshape([n, c, h, w]))
            }
        }
    }
}

/// One batch of pictures that is being edited.
#[derive(Debug)]
pub struct Editing {
    /// State, `[N, C, H, W]`, generator units.
    x: Tensor<4>,
    /// `y`: the known part of the picture, `[N, C, H, W]`, generator units.
    known: Tensor<4>,
    projection: Projection,
    labels: Vec<usize>,
    sigmas: Vec<f64>,
    position: usize,
    /// Pictures and mask of inpainting: known pixels come out as they went in.
    kept: Option<(ImageBatch, Mask)>,
}

impl Editing {
    /// Prepares to edit `reference`, one picture per label, calling the network at the falling levels `sigmas`.
    ///
    /// A mask of another size is brought to the generator's.
    ///
    /// # Errors
    /// [`GenerateError`] when the pictures do not have the generator's size, or nothing can be known of them as asked.
    ///
    /// # Panics
    /// When there is no level, or numbers of pictures, labels or values differ.
    pub fn new(
        generator: &Generator,
        known: Known,
        reference: &ImageBatch,
        labels: Vec<usize>,
        start: EditStart,
        sigmas: Vec<f64>,
        device: &Device,
    ) -> Result<Self, GenerateError> {
        assert!(!sigmas.is_empty(), "at least one noise level");
        assert_eq!(reference.len(), labels.len(), "one label per picture");
        let shape @ [_, c, h, w] = reference.shape();
        if [c, h, w] != generator.sample_shape() {
            return Err(GenerateError::PictureSize { found: [c, h, w], expected: generator.sample_shape() });
        }
        let known = match known {
            Known::Pixels(mask) => Known::Pixels(mask.resized(w as u32, h as u32)),
            other => other,
        };
        let projection = Projection::new(&known, [c, h, w], device)?;
        let picture = reference.to_tensor(device) * 2.0 - 1.0;
        let y = match &projection {
            // Missing pixels are black, as in the code; the paper sets them to 0, which is grey.
            Projection::Pixels(pixels) => (picture.clone() + 1.0) * pixels.clone() - 1.0,
            other => other.of(picture.clone()).unwrap_or_else(|| picture.clone()),
        };
        let tensor = |values: Vec<f32>| Tensor::<4>::from_data(TensorData::new(values, shape), device);
        let x = match start {
            EditStart::Noise(noise) => y.clone() + tensor(noise) * sigmas[0],
            EditStart::State(state) => tensor(state),
            EditStart::Picture => picture,
        };
        let kept = match known {
            Known::Pixels(mask) => Some((reference.clone(), mask)),
            _ => None,
        };
        Ok(Self { x, known: y, projection, labels, sigmas, position: 0, kept })
    }

    /// Number of steps in all; every step is one network call.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.sigmas.len()
    }

    /// Takes one step; returns true when it was the last.
    ///
    /// `noise` is asked for the unit noise of a step, `[N, C, H, W]` row-major; the first step's has the number 1,
    /// because 0 is the initial noise.
    pub fn step(&mut self, generator: &Generator, noise: &mut dyn FnMut(u32) -> Vec<f32>) -> bool {
        let clean = generator.denoise_clamped(self.x.clone(), self.sigmas[self.position], &self.labels);
        self.x = match self.projection.of(self.known.clone() - clean.clone()) {
            Some(correction) => clean + correction,
            None => clean,
        };
        if let Some(next) = self.sigmas.get(self.position + 1).copied() {
            self.x = add_noise(self.x.clone(), self.position, noise, renoising(generator, next));
        }
        self.position += 1;
        self.position == self.steps()
    }

    /// The state, `[N, C, H, W]` in generator units; neither clamped nor copied to the host.
    #[must_use]
    pub const fn state(&self) -> &Tensor<4> {
        &self.x
    }

    /// The state as pictures in `[0, 1]`; pixels that inpainting knows are those of the reference, bit by bit.
    ///
    /// # Errors
    /// When the device fails.
    pub fn images(&self) -> Result<ImageBatch, GenerateError> {
        let images = to_images(&self.x)?;
        let Some((reference, mask)) = &self.kept else { return Ok(images) };
        let planes = mask.missing().iter().cycle();
        let values = images.pixels().iter().zip(reference.pixels()).zip(planes);
        let pixels = values.map(|((made, known), missing)| if *missing { *made } else { *known });
        Ok(ImageBatch::new(images.shape(), pixels.collect()))
    }
}

/// The pictures `first..first + n` of a batch that repeats for ever.
///
/// # Panics
/// When the batch is empty.
#[must_use]
pub fn cycle(pictures: &ImageBatch, first: usize, n: usize) -> ImageBatch {
    assert!(!pictures.is_empty(), "at least one picture");
    let [len, c, h, w] = pictures.shape();
    let pixels = (first..first + n).flat_map(|i| pictures.sample(i % len).iter().copied()).collect();
    ImageBatch::new([n, c, h, w], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Purpose, normal_noise};

    /// Matrix whose columns the code of the paper takes for colours, to the four digits of the paper.
    const Q: [[f32; 3]; 3] = [[0.4471, -0.8204, 0.3563], [0.8780, 0.4785, 0.0], [0.1705, -0.3129, -0.9343]];

    const SIDE: usize = 8;

    /// Two pictures of three colours with no symmetry, in `[-1, 1]`.
    fn picture(device: &Device, seed: u64) -> Tensor<4> {
        let values = normal_noise(&[seed, seed + 1], Purpose::Sampling(0), 3 * SIDE * SIDE);
        let values = values.into_iter().map(|value| 0.3 * value).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, [2, 3, SIDE, SIDE]), device)
    }

    fn read(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    /// `x` with its known part replaced by that of `y`.
    fn replace(known: &Known, x: &Tensor<4>, y: &Tensor<4>) -> Vec<f32> {
        let projection = Projection::new(known, [3, SIDE, SIDE], &x.device()).unwrap();
        read(x.clone() + projection.of(y.clone() - x.clone()).unwrap())
    }

    #[test]
    fn the_luminance_is_the_first_column_of_the_printed_matrix() {
        let length: f32 = [0.2989_f32, 0.5870, 0.1140].iter().map(|weight| weight * weight).sum::<f32>().sqrt();
        for ((found, weight), row) in LUMINANCE.iter().zip([0.2989, 0.5870, 0.1140]).zip(Q) {
            assert!((found - weight / length).abs() < 1e-6 && (found - row[0]).abs() < 1e-4, "{found}");
        }
    }

    #[test]
    fn colours_are_replaced_as_with_the_printed_matrix() {
        let device = Device::flex();
        let (x, y) = (picture(&device, 1), picture(&device, 5));
        let found = replace(&Known::Luminance, &x, &y);
        let (x, y) = (read(x), read(y));
        let plane = SIDE * SIDE;
        for start in (0..2).flat_map(|n| (0..plane).map(move |i| n * 3 * plane + i)) {
            let coefficient =
                |of: &[f32], column: usize| (0..3).map(|c| of[start + c * plane] * Q[c][column]).sum::<f32>();
            let mixed = [coefficient(&y, 0), coefficient(&x, 1), coefficient(&x, 2)];
            for (c, row) in Q.iter().enumerate() {
                let expected: f32 = mixed.iter().zip(row).map(|(coefficient, q)| coefficient * q).sum();
                // The printed matrix has four digits.
                assert!((found[start + c * plane] - expected).abs() < 1e-3, "{start}, {c}");
            }
        }
    }

    #[test]
    fn patches_take_their_new_means_and_keep_their_detail() {
        let device = Device::flex();
        let (x, y) = (picture(&device, 1), picture(&device, 5));
        for p in [2, 4, 8] {
            let found = replace(&Known::PatchMeans(p), &x, &y);
            let (x, y) = (read(x.clone()), read(y.clone()));
            let patch_of = |i: usize| (i / (SIDE * SIDE), i / SIDE % SIDE / p, i % SIDE / p);
            let mean = |of: &[f32], at: usize| {
                let inside = (0..of.len()).filter(|i| patch_of(*i) == patch_of(at));
                inside.map(|i| of[i]).sum::<f32>() / (p * p) as f32
            };
            for (i, found) in found.iter().enumerate() {
                let expected = x[i] - mean(&x, i) + mean(&y, i);
                assert!((found - expected).abs() < 1e-5, "patches of {p}: {i}");
            }
        }
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        let device = Device::flex();
        let message = |known, shape| Projection::new(&known, shape, &device).unwrap_err().to_string();
        assert!(message(Known::Luminance, [1, 8, 8]).contains("1 colour"));
        assert!(message(Known::PatchMeans(3), [3, 8, 8]).contains("patches of 3"));
        assert!(Known::of(&EditSettings::default(), None).is_err(), "inpainting needs a mask");
    }

    #[test]
    fn pictures_repeat_when_there_are_too_few() {
        let pictures = ImageBatch::new([3, 1, 1, 1], vec![0.0, 0.1, 0.2]);
        assert_eq!(cycle(&pictures, 2, 5).pixels(), [0.2, 0.0, 0.1, 0.2, 0.0]);
    }
}
