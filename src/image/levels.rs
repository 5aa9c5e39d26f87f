//! Pictures as 8-bit levels, for files and screens.

use super::{ImageBatch, quantise, shown};

/// How values in `[0, 1]` become levels from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Levels {
    /// To the nearest level.
    #[default]
    Rounded,
    /// To the level below, which darkens by half a level on average. The original scripts do (BIGRoC's notebooks, Golan et al.
    /// 2024), so their figures are met with it.
    Truncated,
}

impl Levels {
    /// The level of a value; what is no number becomes 0.
    #[must_use]
    pub fn of(self, value: f32) -> u8 {
        match self {
            Self::Rounded => quantise(value),
            // `as` cuts, saturates, and maps NaN to 0.
            Self::Truncated => (value * 255.0) as u8,
        }
    }

    /// Picture `index` as 8-bit RGB, `H * W * 3` bytes, in the colours of [`shown`]; what is no number is black.
    ///
    /// # Panics
    /// When `index` is out of range.
    #[must_use]
    pub fn rgb8(self, images: &ImageBatch, index: usize) -> Vec<u8> {
        let [_, c, h, w] = images.shape();
        let (plane, sample) = (h * w, images.sample(index));
        (0..plane).flat_map(|place| shown(c).map(|channel| self.of(sample[channel * plane + place]))).collect()
    }

    /// Picture `index` as 8-bit levels, `H * W * C` bytes, all its channels.
    ///
    /// # Panics
    /// When `index` is out of range.
    pub fn all(self, images: &ImageBatch, index: usize) -> impl Iterator<Item = u8> {
        let [_, c, h, w] = images.shape();
        let (plane, sample) = (h * w, images.sample(index));
        (0..plane).flat_map(move |place| (0..c).map(move |channel| self.of(sample[channel * plane + place])))
    }
}

/// Pictures as a file of 8 bits shows them, values in `[0, 1]` to the nearest of 256: what sets of pictures have in common when
/// they are compared. What is no number stays none.
#[must_use]
pub fn in_levels(images: &ImageBatch) -> ImageBatch {
    ImageBatch::new(images.shape(), images.pixels().iter().copied().map(level).collect())
}

/// A value in `[0, 1]` as a file of 8 bits shows it.
#[must_use]
pub fn level(value: f32) -> f32 {
    (value * 255.0).round() / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_eight_bits_survive_both_ways_and_truncation_takes_the_level_below() {
        for level in 0..=255_u8 {
            let value = f32::from(level) / 255.0;
            assert_eq!([Levels::Rounded.of(value), Levels::Truncated.of(value)], [level; 2]);
        }
        assert_eq!([Levels::Rounded.of(0.999), Levels::Truncated.of(0.999)], [255, 254]);
        assert_eq!([2.0, -1.0, f32::NAN].map(|value| Levels::Truncated.of(value)), [255, 0, 0]);
        let images = ImageBatch::new([1, 3, 1, 2], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(Levels::Rounded.rgb8(&images, 0), [26, 77, 128, 51, 102, 153]);
        assert!(Levels::Rounded.all(&images, 0).eq(Levels::Rounded.rgb8(&images, 0)));
        let grey = ImageBatch::new([1, 1, 1, 2], vec![f32::NAN, 1.0]);
        assert_eq!(Levels::Rounded.rgb8(&grey, 0), [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn pictures_in_levels_are_those_of_their_files_and_what_is_broken_stays_so() {
        let images = ImageBatch::new([1, 1, 1, 4], vec![0.1, 0.501, 1.0, f32::NAN]);
        let seen = in_levels(&images);
        assert_eq!(seen.pixels()[..3], [26.0 / 255.0, 128.0 / 255.0, 1.0]);
        assert!(seen.pixels()[3].is_nan(), "a broken picture is not taken for a black one");
        assert_eq!(Levels::Rounded.rgb8(&seen, 0), Levels::Rounded.rgb8(&images, 0));
    }

    #[test]
    fn one_and_two_channels_are_shown_as_grey_alpha_is_not_shown_and_nothing_is_lost() {
        for (channels, shown) in [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2])] {
            let pixels = (0..channels).map(|channel| channel as f32 / 255.0).collect();
            let images = ImageBatch::new([1, channels, 1, 1], pixels);
            assert_eq!(Levels::Rounded.rgb8(&images, 0), shown);
            assert!(Levels::Rounded.all(&images, 0).eq(0..channels as u8));
        }
    }
}
