//! Pictures on the host: `[N, C, H, W]`, `f32` in `[0, 1]`, sRGB-encoded as the training data was.
//!
//! Everything after the generator speaks this type; nothing of it is quantised until a file or a screen asks.

pub mod colour;
mod levels;
pub mod reduced;
pub mod resize;
pub mod sheet;

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use self::levels::{Levels, in_levels, level};

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

    /// Fits a decoded picture to `[C, H, W]`: the largest centred part of that form is kept, then resampled.
    ///
    /// Shrinking uses Lanczos; enlarging uses Catmull-Rom. The crop is reported so that the window can say it. One channel
    /// is grey, by ITU-R 601 as PIL and torchvision mix it; three are red, green and blue; two and four have alpha behind
    /// them. Otherwise what is transparent is laid on white: the colours that it hides are nobody's picture.
    ///
    /// # Panics
    /// When a side does not fit 32 bits, or `C` is not from 1 to 4.
    #[must_use]
    pub fn from_picture(picture: &::image::DynamicImage, shape @ [channels, height, width]: [usize; 3]) -> (Self, Fit) {
        let from = [picture.width(), picture.height()];
        let to = [width, height].map(|side| u32::try_from(side).expect("picture sizes fit 32 bits"));
        let [left, top, kept_width, kept_height] = centre(from, to);
        let part = picture.crop_imm(left, top, kept_width, kept_height);
        let on_white = if matches!(channels, 1 | 3) { on_white(&part) } else { None };
        let flattened = on_white.is_some();
        let part = on_white.unwrap_or(part);
        let pixels = match channels {
            1 => planes(grey(&part, |pixel| ::image::Luma([pixel[0]])), to),
            2 => planes(grey(&part, ::image::LumaA), to),
            3 => planes(part.to_rgb32f(), to),
            4 => planes(part.to_rgba32f(), to),
            _ => panic!("{channels} channels are no picture's"),
        };
        (
            Self::new([1, shape[0], shape[1], shape[2]], pixels),
            Fit { from, kept: [kept_width, kept_height], to, flattened },
        )
    }

    /// Every picture at `[H, W]`, as [`Self::from_picture`] does it; unchanged when it has that size already.
    #[must_use]
    pub fn resized(&self, [height, width]: [usize; 2]) -> Self {
        let [n, c, h, w] = self.shape;
        if [h, w] == [height, width] || n == 0 {
            return self.clone();
        }
        let one = |index: usize| {
            let sample = self.sample(index);
            let (from, to) = ([w as u32, h as u32], [width as u32, height as u32]);
            match c {
                1 => refitted::<::image::Luma<f32>>(sample, from, to),
                2 => refitted::<::image::LumaA<f32>>(sample, from, to),
                3 => refitted::<::image::Rgb<f32>>(sample, from, to),
                _ => refitted::<::image::Rgba<f32>>(sample, from, to),
            }
        };
        Self::new([n, c, height, width], (0..n).flat_map(one).collect())
    }
}

/// Which of so many channels are shown as red, green and blue: one is grey, and alpha is not shown.
#[must_use]
pub const fn shown(channels: usize) -> [usize; 3] {
    if channels < 3 { [0; 3] } else { [0, 1, 2] }
}

/// Left, top, width and height of the largest centred part of a picture that has the form of `to`; sizes are width and
/// height.
#[must_use]
pub fn centre([width, height]: [u32; 2], to: [u32; 2]) -> [u32; 4] {
    let [form_w, form_h] = to.map(|side| u64::from(side.max(1)));
    let (w, h) = (u64::from(width), u64::from(height));
    let share = |side: u64, numerator: u64, denominator: u64, most: u32| {
        ((side * numerator + denominator / 2) / denominator).clamp(1, u64::from(most.max(1))) as u32
    };
    let [kept_w, kept_h] = if w * form_h >= h * form_w {
        [share(h, form_w, form_h, width), height.max(1)]
    } else {
        [width.max(1), share(w, form_h, form_w, height)]
    };
    [width.saturating_sub(kept_w) / 2, height.saturating_sub(kept_h) / 2, kept_w, kept_h]
}

/// A picture with whatever is transparent laid on white; `None` where nothing is.
fn on_white(picture: &::image::DynamicImage) -> Option<::image::DynamicImage> {
    if !picture.color().has_alpha() {
        return None;
    }
    let mut pixels = picture.to_rgba32f();
    if pixels.pixels().all(|pixel| pixel.0[3] >= 1.0) {
        return None;
    }
    for ::image::Rgba([colours @ .., alpha]) in pixels.pixels_mut() {
        let cover = alpha.clamp(0.0, 1.0);
        *colours = colours.map(|colour| colour * cover + (1.0 - cover));
        *alpha = 1.0;
    }
    Some(pixels.into())
}

/// Grey and alpha of a picture: as they are, or mixed of its colours.
fn grey<P>(picture: &::image::DynamicImage, pixel: impl Fn([f32; 2]) -> P) -> ::image::ImageBuffer<P, Vec<f32>>
where
    P: ::image::Pixel<Subpixel = f32>,
{
    let (width, height) = (picture.width(), picture.height());
    if picture.color().has_color() {
        let colours = picture.to_rgba32f();
        ::image::ImageBuffer::from_fn(width, height, |x, y| {
            let [r, g, b, a] = colours.get_pixel(x, y).0;
            pixel([0.299 * r + 0.587 * g + 0.114 * b, a])
        })
    } else {
        let greys = picture.to_luma_alpha32f();
        ::image::ImageBuffer::from_fn(width, height, |x, y| pixel(greys.get_pixel(x, y).0))
    }
}

/// The channels of a picture one behind the other, resampled where its size (width and height) is another.
fn planes<P>(picture: ::image::ImageBuffer<P, Vec<f32>>, to: [u32; 2]) -> Vec<f32>
where
    P: ::image::Pixel<Subpixel = f32> + 'static,
{
    use ::image::imageops::FilterType::{CatmullRom, Lanczos3};
    let area = |[width, height]: [u32; 2]| u64::from(width) * u64::from(height);
    let from = [picture.width(), picture.height()];
    let filter = if area(to) < area(from) { Lanczos3 } else { CatmullRom };
    let scaled = if from == to { picture } else { ::image::imageops::resize(&picture, to[0], to[1], filter) };
    let plane = area(to) as usize;
    let mut pixels = vec![0.0; usize::from(P::CHANNEL_COUNT) * plane];
    for (place, pixel) in scaled.pixels().enumerate() {
        for (channel, value) in pixel.channels().iter().enumerate() {
            pixels[channel * plane + place] = if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
        }
    }
    pixels
}

/// A picture's channels, one behind the other, at another size; sizes are width and height.
fn refitted<P>(sample: &[f32], from: [u32; 2], to: [u32; 2]) -> Vec<f32>
where
    P: ::image::Pixel<Subpixel = f32> + 'static,
{
    let [left, top, width, height] = centre(from, to);
    let plane = from[0] as usize * from[1] as usize;
    let part = ::image::ImageBuffer::from_fn(width, height, |x, y| {
        let place = (top + y) as usize * from[0] as usize + (left + x) as usize;
        let values: Vec<f32> = sample.iter().skip(place).step_by(plane).copied().collect();
        *P::from_slice(&values)
    });
    planes(part, to)
}

/// What [`ImageBatch::from_picture`] did; sizes are width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Size of the file's picture.
    pub from: [u32; 2],
    /// Size of the centred part that was kept.
    pub kept: [u32; 2],
    /// Size after resampling.
    pub to: [u32; 2],
    /// Whether something was transparent, which lies on white now.
    pub flattened: bool,
}

impl std::fmt::Display for Fit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([width, height], [kept_width, kept_height], [to_width, to_height]) = (self.from, self.kept, self.to);
        if self.from == self.kept {
            write!(out, "{width}×{height}")?;
        } else {
            write!(out, "cropped {width}×{height} to its centre {kept_width}×{kept_height}")?;
        }
        let area = |[width, height]: [u32; 2]| u64::from(width) * u64::from(height);
        if self.flattened {
            write!(out, ", transparency laid on white")?;
        }
        if self.to == self.kept {
            if self.flattened { Ok(()) } else { write!(out, ", pixels unchanged") }
        } else if area(self.to) < area(self.kept) {
            write!(out, ", reduced to {to_width}×{to_height} (Lanczos)")
        } else {
            write!(out, ", enlarged to {to_width}×{to_height} (Catmull-Rom)")
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
        let (batch, fit) = ImageBatch::from_picture(&picture.into(), [3, 4, 4]);
        assert_eq!(batch.shape(), [1, 3, 4, 4]);
        assert!(batch.sample(0)[..16].iter().all(|red| *red == 1.0), "only the centre is kept");
        assert_eq!(fit.to_string(), "cropped 8×4 to its centre 4×4, pixels unchanged");
    }

    #[test]
    fn a_batch_is_resized_picture_by_picture() {
        let grey = |value: f32| vec![value; 3 * 4 * 4];
        let batch = ImageBatch::new([2, 3, 4, 4], [grey(0.25), grey(0.75)].concat());
        let small = batch.resized([2, 2]);
        assert_eq!(small.shape(), [2, 3, 2, 2]);
        assert!(small.sample(0).iter().all(|value| (value - 0.25).abs() < 1e-6));
        assert!(small.sample(1).iter().all(|value| (value - 0.75).abs() < 1e-6));
        assert_eq!(batch.resized([4, 4]), batch);
    }

    #[test]
    fn a_picture_is_opened_in_any_number_of_channels_and_any_form() {
        let picture = ::image::RgbaImage::from_fn(6, 4, |x, _| ::image::Rgba([255, 0, 51 * x as u8, 128]));
        let picture = ::image::DynamicImage::from(picture);
        let of = |channels: usize| ImageBatch::from_picture(&picture, [channels, 2, 6]);
        let (colour, fit) = of(3);
        assert_eq!(colour.shape(), [1, 3, 2, 6]);
        assert_eq!(fit.to_string(), "cropped 6×4 to its centre 6×2, transparency laid on white");
        let (grey, alpha, both) = (of(1).0, of(2).0, of(4));
        assert!(both.1.to_string().ends_with("pixels unchanged"));
        let on_white = |value: f32| (value - 1.0) * 128.0 / 255.0 + 1.0;
        for x in 0..6 {
            let blue = 51.0 * x as f32 / 255.0;
            let mixed = 0.299 + 0.114 * blue;
            assert!((alpha.get(0, 0, 1, x).unwrap() - mixed).abs() < 1e-6, "ITU-R 601");
            assert!((grey.get(0, 0, 1, x).unwrap() - on_white(mixed)).abs() < 1e-6);
            assert!((both.0.get(0, 2, 1, x).unwrap() - blue).abs() < 1e-6, "alpha has a channel");
            assert!((colour.get(0, 2, 1, x).unwrap() - on_white(blue)).abs() < 1e-6);
        }
        assert_eq!([alpha.get(0, 1, 0, 0), both.0.get(0, 3, 0, 0)], [Some(128.0 / 255.0); 2]);
        let hidden = ::image::RgbaImage::from_pixel(2, 2, ::image::Rgba([255, 0, 0, 0])).into();
        assert!(
            ImageBatch::from_picture(&hidden, [3, 2, 2]).0.pixels().iter().all(|v| *v == 1.0),
            "nothing is to be seen"
        );
        let opaque = ::image::RgbaImage::from_pixel(2, 2, ::image::Rgba([9, 8, 7, 255])).into();
        assert!(!ImageBatch::from_picture(&opaque, [3, 2, 2]).1.flattened);
        let grey = ::image::GrayImage::from_pixel(2, 2, ::image::Luma([77])).into();
        assert!(ImageBatch::from_picture(&grey, [1, 2, 2]).0.pixels().iter().all(|v| *v == 77.0 / 255.0), "as it is");
        let (tall, fit) = ImageBatch::from_picture(&picture, [1, 8, 4]);
        assert_eq!((tall.shape(), fit.kept), ([1, 1, 8, 4], [2, 4]));
        assert!(fit.to_string().ends_with("enlarged to 4×8 (Catmull-Rom)"), "{fit}");
        assert_eq!(tall.resized([2, 4]).shape(), [1, 1, 2, 4]);
    }

    #[test]
    fn slices_and_joins_are_inverse() {
        let batch = ImageBatch::new([3, 1, 1, 2], vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(ImageBatch::concat(&[batch.slice(0, 1), batch.slice(1, 3)]), batch);
        assert_eq!(batch.get(1, 0, 0, 1), Some(0.3));
        assert_eq!(batch.get(3, 0, 0, 0), None);
    }
}
