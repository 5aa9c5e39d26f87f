//! Pictures on the host: `[N, C, H, W]`, `f32` in `[0, 1]`, sRGB-encoded as the training data was.
//!
//! Everything after the generator speaks this type; nothing of it is quantised until a file or a screen asks.

pub mod colour;
mod levels;
pub mod reduced;

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use self::levels::Levels;

/// A batch of pictures, `[N, C, H, W]`, row-major, in `[0, 1]`.
///
/// Cheap to clone: the pixels are shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct ImageBatch {
    shape: [usize; 4],
    pixels: Arc<Vec<f32>>,
}

/// A batch as a file claims it to be.
#[derive(Deserialize)]
struct Unchecked {
    shape: [usize; 4],
    pixels: Arc<Vec<f32>>,
}

impl TryFrom<Unchecked> for ImageBatch {
    type Error = String;

    fn try_from(batch: Unchecked) -> Result<Self, String> {
        let Unchecked { shape, pixels } = batch;
        let expected = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        if expected == Some(pixels.len()) {
            return Ok(Self { shape, pixels });
        }
        Err(format!("{} values do not fill the shape {shape:?}", pixels.len()))
    }
}

impl ImageBatch {
    /// Wraps pixels, `[N, C, H, W]` row-major.
    ///
    /// # Panics
    /// When the number of pixels does not fit the shape.
    #[must_use]
    pub fn new(shape: [usize; 4], pixels: Vec<f32>) -> Self {
        let expected: usize = shape.iter().product();
        assert_eq!(pixels.len(), expected, "{shape:?} needs {expected} values");
        Self { shape, pixels: Arc::new(pixels) }
    }

    /// `[N, C, H, W]`.
    #[must_use]
    pub const fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Number of pictures.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.shape[0]
    }

    /// True when there is no picture.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.shape[0] == 0
    }

    /// Values per picture, `C * H * W`.
    #[must_use]
    pub const fn sample_len(&self) -> usize {
        self.shape[1] * self.shape[2] * self.shape[3]
    }

    /// Memory of the pixels in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.pixels.len() * size_of::<f32>()
    }

    /// All values, row-major.
    #[must_use]
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The values of picture `index`, `[C, H, W]`.
    ///
    /// # Panics
    /// When `index` is out of range.
    #[must_use]
    pub fn sample(&self, index: usize) -> &[f32] {
        let len = self.sample_len();
        &self.pixels[index * len..(index + 1) * len]
    }

    /// A new batch of the pictures `start..end`.
    ///
    /// # Panics
    /// When the range leaves the batch.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let len = self.sample_len();
        let [_, c, h, w] = self.shape;
        Self::new([end - start, c, h, w], self.pixels[start * len..end * len].to_vec())
    }

    /// Joins batches of equal picture size.
    ///
    /// # Panics
    /// When `parts` is empty or sizes differ.
    #[must_use]
    pub fn concat(parts: &[Self]) -> Self {
        let [_, c, h, w] = parts.first().expect("at least one part").shape;
        let mut pixels = Vec::with_capacity(parts.iter().map(|part| part.pixels.len()).sum());
        let mut n = 0;
        for part in parts {
            assert_eq!(part.shape[1..], [c, h, w], "pictures of one size");
            n += part.len();
            pixels.extend_from_slice(&part.pixels);
        }
        Self::new([n, c, h, w], pixels)
    }

    /// The batch with its last picture repeated until there are `n`; unchanged when there are enough.
    ///
    /// # Panics
    /// When the batch is empty.
    #[must_use]
    pub fn repeat_last(&self, n: usize) -> Self {
        if n <= self.len() {
            return self.clone();
        }
        let mut pixels = self.pixels.to_vec();
        for _ in self.len()..n {
            pixels.extend_from_slice(self.sample(self.len() - 1));
        }
        let [_, c, h, w] = self.shape;
        Self::new([n, c, h, w], pixels)
    }

    /// Uploads the batch.
    #[must_use]
    pub fn to_tensor(&self, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.pixels.to_vec(), self.shape), device)
    }

    /// One value of one picture; `None` outside.
    #[must_use]
    pub fn get(&self, sample: usize, channel: usize, y: usize, x: usize) -> Option<f32> {
        let [n, c, h, w] = self.shape;
        (sample < n && channel < c && y < h && x < w).then(|| self.pixels[((sample * c + channel) * h + y) * w + x])
    }

    /// Fits a decoded picture to `size x size` RGB: the largest centred square is kept, then resampled.
    ///
    /// Shrinking uses Lanczos; enlarging uses Catmull-Rom. Alpha is dropped. The crop is reported so that the window
    /// can say it.
    ///
    /// # Panics
    /// When `size` does not fit 32 bits.
    #[must_use]
    pub fn from_picture(picture: &::image::DynamicImage, size: usize) -> (Self, Fit) {
        let (width, height) = (picture.width(), picture.height());
        let side = width.min(height).max(1);
        let (left, top) = ((width - side.min(width)) / 2, (height - side.min(height)) / 2);
        let square = picture.crop_imm(left, top, side, side).to_rgb32f();
        let target = u32::try_from(size).expect("picture sizes fit 32 bits");
        let filter = if target < side {
            ::image::imageops::FilterType::Lanczos3
        } else {
            ::image::imageops::FilterType::CatmullRom
        };
        let scaled = if target == side { square } else { ::image::imageops::resize(&square, target, target, filter) };
        let mut pixels = vec![0.0; 3 * size * size];
        for (x, y, pixel) in scaled.enumerate_pixels() {
            for channel in 0..3 {
                let value = pixel.0[channel];
                pixels[channel * size * size + y as usize * size + x as usize] =
                    if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
            }
        }
        (Self::new([1, 3, size, size], pixels), Fit { from: [width, height], square: side, to: target })
    }
}

impl ImageBatch {
    /// Every picture at `size x size`, as [`Self::from_picture`] does it; unchanged when it is so large already or has not
    /// three channels.
    #[must_use]
    pub fn resized(&self, size: usize) -> Self {
        let [n, c, h, w] = self.shape;
        if [h, w] == [size, size] || c != 3 || n == 0 {
            return self.clone();
        }
        let plane = h * w;
        let one = |index: usize| {
            let sample = self.sample(index);
            let picture = ::image::Rgb32FImage::from_fn(w as u32, h as u32, |x, y| {
                let pixel = y as usize * w + x as usize;
                ::image::Rgb([sample[pixel], sample[plane + pixel], sample[2 * plane + pixel]])
            });
            Self::from_picture(&picture.into(), size).0
        };
        Self::concat(&(0..n).map(one).collect::<Vec<_>>())
    }
}

/// What [`ImageBatch::from_picture`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Width and height of the file.
    pub from: [u32; 2],
    /// Side of the centred square that was kept.
    pub square: u32,
    /// Side after resampling.
    pub to: u32,
}

impl std::fmt::Display for Fit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [width, height] = self.from;
        if width == height {
            write!(out, "{width}×{height}")?;
        } else {
            write!(out, "cropped {width}×{height} to its centre {0}×{0}", self.square)?;
        }
        match self.to.cmp(&self.square) {
            std::cmp::Ordering::Less => write!(out, ", reduced to {0}×{0} (Lanczos)", self.to),
            std::cmp::Ordering::Greater => write!(out, ", enlarged to {0}×{0} (Catmull-Rom)", self.to),
            std::cmp::Ordering::Equal => write!(out, ", pixels unchanged"),
        }
    }
}

/// A value in `[0, 1]` as an 8-bit level, rounded to nearest.
///
/// The original programs truncate, which darkens by half a level; see README, "Formats".
#[must_use]
pub fn quantise(value: f32) -> u8 {
    // `as` saturates and maps NaN to 0.
    (value * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_to_nearest_and_saturate() {
        assert_eq!([0.0, 1.0, 0.5, -1.0, 7.0, f32::NAN].map(quantise), [0, 255, 128, 0, 255, 0]);
        for level in 0..=255_u8 {
            assert_eq!(quantise(f32::from(level) / 255.0), level);
        }
    }

    #[test]
    fn a_wide_picture_is_cropped_to_its_centre_and_says_so() {
        let mut picture = ::image::RgbImage::new(8, 4);
        for (x, _, pixel) in picture.enumerate_pixels_mut() {
            pixel.0 = if (2..6).contains(&x) { [255, 0, 0] } else { [0, 0, 255] };
        }
        let (batch, fit) = ImageBatch::from_picture(&picture.into(), 4);
        assert_eq!(batch.shape(), [1, 3, 4, 4]);
        assert!(batch.sample(0)[..16].iter().all(|red| *red == 1.0), "only the centre is kept");
        assert_eq!(fit.to_string(), "cropped 8×4 to its centre 4×4, pixels unchanged");
    }

    #[test]
    fn a_batch_is_resized_picture_by_picture() {
        let grey = |value: f32| vec![value; 3 * 4 * 4];
        let batch = ImageBatch::new([2, 3, 4, 4], [grey(0.25), grey(0.75)].concat());
        let small = batch.resized(2);
        assert_eq!(small.shape(), [2, 3, 2, 2]);
        assert!(small.sample(0).iter().all(|value| (value - 0.25).abs() < 1e-6));
        assert!(small.sample(1).iter().all(|value| (value - 0.75).abs() < 1e-6));
        assert_eq!(batch.resized(4), batch);
    }

    #[test]
    fn slices_and_joins_are_inverse() {
        let batch = ImageBatch::new([3, 1, 1, 2], vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(ImageBatch::concat(&[batch.slice(0, 1), batch.slice(1, 3)]), batch);
        assert_eq!(batch.get(1, 0, 0, 1), Some(0.3));
        assert_eq!(batch.get(3, 0, 0, 0), None);
    }
}
