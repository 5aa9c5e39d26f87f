//! Pictures of pictures: one at its own size, a pair side by side, all pairs on one sheet.
//!
//! Enlarging repeats pixels an integer number of times, so that nothing is seen that is not there.

use std::io::Write;
use std::ops::Range;

use ::image::ImageEncoder as _;

use super::{ImageBatch, Levels};

/// Grey around pictures: CIE lightness 50 in sRGB, which flatters neither bright nor dark ones.
const NEUTRAL: u8 = 119;
/// A pair is enlarged until its pictures are at least so high, in pixels.
const PAIR_HEIGHT: usize = 128;
/// Likewise on the contact sheet.
const SHEET_HEIGHT: usize = 96;
/// Largest side of the contact sheet; more does not open everywhere.
const SHEET_SIDE: usize = 8192;
/// Between before and after, in pixels.
const GAP: usize = 4;
/// Around every pair on the contact sheet, in pixels.
const MARGIN: usize = 8;

/// 8-bit levels, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    /// Grey, grey and alpha, RGB, or RGBA.
    channels: usize,
    levels: Vec<u8>,
}

/// How a picture's pixels become pixels of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// Every pixel is repeated so often in both directions.
    Up(usize),
    /// So many pixels in both directions become their mean.
    Down(usize),
}

impl Scale {
    const fn length(self, length: usize) -> usize {
        match self {
            Self::Up(factor) => length * factor,
            Self::Down(factor) => length.div_ceil(factor),
        }
    }

    /// The pixels behind pixel `at` of the file.
    fn range(self, at: usize, length: usize) -> Range<usize> {
        match self {
            Self::Up(factor) => at / factor..at / factor + 1,
            Self::Down(factor) => at * factor..(at * factor + factor).min(length),
        }
    }
}

impl Picture {
    fn neutral(width: usize, height: usize) -> Self {
        Self { width, height, channels: 3, levels: vec![NEUTRAL; width * height * 3] }
    }

    fn place(&mut self, images: &ImageBatch, index: usize, scale: Scale, (left, top): (usize, usize)) {
        let [_, _, height, width] = images.shape();
        let levels = Levels::Rounded.rgb8(images, index);
        for y in 0..scale.length(height) {
            let rows = scale.range(y, height);
            for x in 0..scale.length(width) {
                let columns = scale.range(x, width);
                let count = rows.len() * columns.len();
                let target = ((top + y) * self.width + left + x) * 3;
                for channel in 0..3 {
                    let level = |row: usize, column: usize| usize::from(levels[(row * width + column) * 3 + channel]);
                    let sum: usize =
                        rows.clone().map(|row| columns.clone().map(|column| level(row, column)).sum::<usize>()).sum();
                    self.levels[target + channel] = ((sum + count / 2) / count) as u8;
                }
            }
        }
    }

    /// Width and height in pixels, and the levels of every pixel, row by row.
    #[must_use]
    pub fn levels(&self) -> ([usize; 2], &[u8]) {
        ([self.width, self.height], &self.levels)
    }

    /// Writes it as a PNG file.
    ///
    /// # Errors
    /// Whatever keeps `out` from taking it.
    pub fn encode(&self, out: impl Write) -> std::io::Result<()> {
        let colours = match self.channels {
            1 => ::image::ExtendedColorType::L8,
            2 => ::image::ExtendedColorType::La8,
            3 => ::image::ExtendedColorType::Rgb8,
            _ => ::image::ExtendedColorType::Rgba8,
        };
        let encoder = ::image::codecs::png::PngEncoder::new(out);
        encoder.write_image(&self.levels, self.width as u32, self.height as u32, colours).map_err(|error| match error {
            ::image::ImageError::IoError(error) => error,
            error => std::io::Error::other(error),
        })
    }
}

/// One picture, pixel by pixel, with all its channels.
///
/// # Panics
/// When `index` is out of range.
#[must_use]
pub fn native(images: &ImageBatch, index: usize) -> Picture {
    let [_, channels, height, width] = images.shape();
    Picture { width, height, channels, levels: Levels::Rounded.all(images, index).collect() }
}

/// Before and after side by side, enlarged.
///
/// # Panics
/// When `index` is out of range or the batches differ in size.
#[must_use]
pub fn pair(before: &ImageBatch, after: &ImageBatch, index: usize) -> Picture {
    assert_eq!(before.shape()[1..], after.shape()[1..], "pictures of one size");
    let [_, _, height, width] = before.shape();
    let factor = PAIR_HEIGHT.div_ceil(height.max(1)).max(1);
    let mut picture = Picture::neutral(2 * width * factor + GAP, height * factor);
    picture.place(before, index, Scale::Up(factor), (0, 0));
    picture.place(after, index, Scale::Up(factor), (width * factor + GAP, 0));
    picture
}

/// All pictures, or all pairs with before on the left, in a grid that reads like text.
///
/// # Panics
/// When the batches differ in size.
#[must_use]
pub fn contact_sheet(before: &ImageBatch, after: Option<&ImageBatch>) -> Picture {
    let [n, _, height, width] = before.shape();
    if let Some(after) = after {
        assert_eq!(before.shape(), after.shape(), "as many pictures after as before");
    }
    let columns = (1..).find(|columns| columns * columns >= n).unwrap_or(1);
    let rows = n.div_ceil(columns);
    let parts = if after.is_some() { 2 } else { 1 };
    let pitch = |scale: Scale| {
        let across = parts * scale.length(width) + (parts - 1) * GAP;
        (across + MARGIN, scale.length(height) + MARGIN)
    };
    let size = |scale: Scale| (columns * pitch(scale).0 + MARGIN, rows * pitch(scale).1 + MARGIN);
    let fits = |scale: &Scale| size(*scale).0.max(size(*scale).1) <= SHEET_SIDE;
    let largest = SHEET_HEIGHT.div_ceil(height.max(1)).max(1);
    let smallest = width.max(height).max(2);
    let scale = (1..=largest)
        .rev()
        .map(Scale::Up)
        .chain((2..=smallest).map(Scale::Down))
        .find(fits)
        .unwrap_or(Scale::Down(smallest));
    let mut sheet = Picture::neutral(size(scale).0, size(scale).1);
    for index in 0..n {
        let left = MARGIN + index % columns * pitch(scale).0;
        let top = MARGIN + index / columns * pitch(scale).1;
        sheet.place(before, index, scale, (left, top));
        if let Some(after) = after {
            sheet.place(after, index, scale, (left + scale.length(width) + GAP, top));
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` pictures of one value each, `value(i) = i / n`.
    fn flat(n: usize, side: usize) -> ImageBatch {
        let pixels = (0..n).flat_map(|i| vec![i as f32 / n as f32; 3 * side * side]).collect();
        ImageBatch::new([n, 3, side, side], pixels)
    }

    #[test]
    fn a_pair_is_enlarged_by_whole_pixels_with_grey_between() {
        let before = ImageBatch::new([1, 1, 1, 2], vec![0.0, 1.0]);
        let picture = pair(&before, &before, 0);
        assert_eq!((picture.width, picture.height), (2 * 2 * 128 + GAP, 128));
        let at = |x: usize| picture.levels[x * 3];
        assert_eq!([at(0), at(127), at(128), at(255), at(256), at(260)], [0, 0, 255, 255, NEUTRAL, 0]);
    }

    #[test]
    fn the_sheet_holds_every_pair_and_stays_openable() {
        let images = flat(10, 32);
        let sheet = contact_sheet(&images, Some(&images));
        assert_eq!((sheet.width, sheet.height), (4 * (2 * 96 + GAP + MARGIN) + MARGIN, 3 * (96 + MARGIN) + MARGIN));
        let wide = ImageBatch::new([4, 1, 8, 3000], vec![0.5; 4 * 8 * 3000]);
        let reduced = contact_sheet(&wide, Some(&wide));
        assert!(reduced.width <= SHEET_SIDE && reduced.width > SHEET_SIDE / 2);
    }

    #[test]
    fn reducing_takes_the_mean() {
        let images = ImageBatch::new([1, 1, 2, 2], vec![0.0, 1.0, 1.0, 0.0]);
        let mut picture = Picture::neutral(1, 1);
        picture.place(&images, 0, Scale::Down(2), (0, 0));
        assert_eq!(picture.levels, [128; 3]);
    }
}
