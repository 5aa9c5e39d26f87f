//! Pictures made smaller and larger as the programs do it that measure them: a number of a paper depends on it.
//!
//! Each way is linear, first along the rows, then along the columns, and says of every output pixel which input pixels it is
//! made of. Which of them is asked for decides which sums are rounded where; tests compare each with its program.

use std::num::NonZeroUsize;

use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use super::ImageBatch;

/// How a picture is resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Bilinear as `tf.image.resize_bilinear` of TensorFlow 1: pixel `i` comes from `i * from / to`, so the picture moves by up
    /// to half a pixel; nothing is smoothed when it is made smaller.
    Tensorflow,
    /// Bilinear as PyTorch's `interpolate`, corners not aligned: centres of pixels meet; nothing is smoothed either.
    Torch,
    /// Bicubic as Pillow's `resize` of floats, which are cut to `[0, 1]` behind it; what is made smaller is smoothed.
    Pillow,
}

/// The input pixels that an output pixel is made of: the first of them, and what each contributes.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

/// Every picture at `[H, W]`.
///
/// # Panics
/// When a side is zero.
#[must_use]
pub fn resized(images: &ImageBatch, how: Resize, to: [usize; 2]) -> ImageBatch {
    let [n, c, h, w] = images.shape();
    let [rows, columns] = [(h, to[0]), (w, to[1])].map(|(from, to)| how.taps(from, to));
    let [from_plane, to_plane] =
        [[h, w], to].map(|[h, w]| NonZeroUsize::new(h * w).expect("pictures have pixels").get());
    let mut pixels = vec![0.0; n * c * to_plane];
    pixels.par_chunks_mut(to_plane).zip(images.pixels().par_chunks(from_plane)).for_each(|(to, from)| {
        let lines: Vec<f32> = from.chunks(w).flat_map(|line| columns.iter().map(|taps| taps.of(line, 1))).collect();
        let width = columns.len();
        for (y, taps) in rows.iter().enumerate() {
            for (x, value) in to[y * width..][..width].iter_mut().enumerate() {
                *value = how.finished(taps.of(&lines[x..], width));
            }
        }
    });
    ImageBatch::new([n, c, to[0], to[1]], pixels)
}

impl Resize {
    /// What every pixel of a side is made of.
    fn taps(self, from: usize, to: usize) -> Vec<Taps> {
        (0..to).map(|place| self.tap(place, (from, to))).collect()
    }

    fn tap(self, place: usize, (from, to): (usize, usize)) -> Taps {
        // Both programs compute places in single precision.
        let scale = from as f32 / to as f32;
        match self {
            Self::Tensorflow => Taps::between(place as f32 * scale, from),
            Self::Torch => Taps::between(f32::max((place as f32 + 0.5) * scale - 0.5, 0.0), from),
            Self::Pillow => Taps::bicubic(place, from as f64 / to as f64, from),
        }
    }

    /// What becomes of a sum.
    const fn finished(self, value: f32) -> f32 {
        match self {
            // Bicubic weights may be negative.
            Self::Pillow => value.clamp(0.0, 1.0),
            Self::Tensorflow | Self::Torch => value,
        }
    }
}

impl Taps {
    /// Linear between two pixels; behind the last is the last again.
    fn between(place: f32, from: usize) -> Self {
        let first = (place as usize).min(from - 1);
        let share = f64::from(place - first as f32);
        if first + 1 < from {
            Self { first, weights: vec![1.0 - share, share] }
        } else {
            Self { first, weights: vec![1.0] }
        }
    }

    /// Pillow's window of four pixels, wider by `scale` where the picture is made smaller.
    ///
    /// # Source
    /// Pillow, `src/libImaging/Resample.c`: `precompute_coeffs` and `bicubic_filter`.
    fn bicubic(place: usize, scale: f64, from: usize) -> Self {
        let (centre, stretch) = ((place as f64 + 0.5) * scale, scale.max(1.0));
        let support = 2.0 * stretch;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let weight = |pixel: usize| cubic((pixel as f64 - centre + 0.5) / stretch);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        Self { first, weights: weights.into_iter().map(|weight| weight / sum).collect() }
    }

    /// The sum over values of which neighbours lie `step` apart.
    fn of(&self, values: &[f32], step: usize) -> f32 {
        let values = values[self.first * step..].iter().step_by(step);
        self.weights.iter().zip(values).map(|(weight, value)| weight * f64::from(*value)).sum::<f64>() as f32
    }
}

/// Keys' cubic convolution with a = -1/2 (Keys 1981).
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Resize; 3] = [Resize::Tensorflow, Resize::Torch, Resize::Pillow];

    #[test]
    fn a_picture_of_the_wanted_size_stays_as_it_is() {
        let images = ImageBatch::new([2, 1, 2, 3], (0..12).map(|i| i as f32 / 16.0).collect());
        for how in ALL {
            assert_eq!(resized(&images, how, [2, 3]), images, "{how:?}");
        }
    }

    #[test]
    fn what_is_of_one_colour_stays_so_at_any_size() {
        let images = ImageBatch::new([1, 2, 3, 5], [[0.25; 15], [0.75; 15]].concat());
        for how in ALL {
            for to in [[1, 1], [7, 2], [9, 11]] {
                let made = resized(&images, how, to);
                assert_eq!(made.shape(), [1, 2, to[0], to[1]]);
                let wanted = [vec![0.25; to[0] * to[1]], vec![0.75; to[0] * to[1]]].concat();
                assert!(made.pixels().iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{how:?}: {made:?}");
            }
        }
    }

    #[test]
    fn pixels_come_from_where_each_program_takes_them() {
        let line = ImageBatch::new([1, 1, 1, 2], vec![0.0, 1.0]);
        assert_eq!(resized(&line, Resize::Tensorflow, [1, 4]).pixels(), [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(resized(&line, Resize::Torch, [1, 4]).pixels(), [0.0, 0.25, 0.75, 1.0]);
        let cubic = resized(&line, Resize::Pillow, [1, 4]);
        assert_eq!((cubic.pixels()[0], cubic.pixels()[3]), (0.0, 1.0), "what goes beyond is cut");
        // Every second pixel of a fine pattern is black: only what is smoothed sees the others.
        let fine = ImageBatch::new([1, 1, 1, 8], (0..8).map(|i| (i % 2) as f32).collect());
        assert_eq!(resized(&fine, Resize::Tensorflow, [1, 4]).pixels(), [0.0; 4]);
        assert!(resized(&fine, Resize::Pillow, [1, 2]).pixels().iter().all(|value| (0.4..0.6).contains(value)));
    }
}
