//! Pictures made small for the screen, at a cost that does not grow with the picture.

use super::{quantise, shown};

/// Pixels along each side that one reduced pixel is the mean of, at most: more take time and change nothing that is seen.
const MOST: usize = 4;

/// `[H, W]` at which a picture fits a square of `side` pixels, in its own shape; it is never enlarged.
#[must_use]
pub fn reduced_size([h, w]: [usize; 2], side: usize) -> [usize; 2] {
    let longest = h.max(w);
    if longest <= side {
        return [h, w];
    }
    [h, w].map(|length| ((length * side + longest / 2) / longest).max(1))
}

/// Number of values that [`reduced`] reads.
#[must_use]
pub fn reading_cost([c, h, w]: [usize; 3], [rows, columns]: [usize; 2]) -> usize {
    c.min(3) * rows * stride(h, rows) * columns * stride(w, columns)
}

/// A picture, `[C, H, W]` in `[0, 1]`, with `[rows, columns]` pixels: each is the mean of what it covers, as 8-bit RGB handed
/// to `pixel`. At its own size the levels are those of [`Levels::Rounded`]: its colours are those of [`shown`], what is not finite is black.
///
/// [`Levels::Rounded`]: super::Levels::Rounded
///
/// # Panics
/// When `sample` does not fill its shape.
#[must_use]
pub fn reduced<T>(
    sample: &[f32],
    [c, h, w]: [usize; 3],
    [rows, columns]: [usize; 2],
    pixel: impl Fn([u8; 3]) -> T,
) -> Vec<T> {
    assert_eq!(sample.len(), c * h * w, "a picture of its shape");
    let (down, across) = (covered(h, rows), covered(w, columns));
    let (down_stride, across_stride) = (stride(h, rows), stride(w, columns));
    let share = 1.0 / (down_stride * across_stride) as f32;
    let mut pixels = Vec::with_capacity(rows * columns);
    for ys in down.chunks(down_stride) {
        for xs in across.chunks(across_stride) {
            let level = |channel: usize| {
                let plane = &sample[channel * h * w..][..h * w];
                let sum: f32 = ys.iter().flat_map(|y| xs.iter().map(|x| plane[*y * w + *x])).sum();
                quantise(sum * share)
            };
            pixels.push(pixel(shown(c).map(level)));
        }
    }
    pixels
}

/// Places along one side that a reduced pixel reads.
fn stride(from: usize, to: usize) -> usize {
    from.div_ceil(to.max(1)).clamp(1, MOST)
}

/// The places along a side of `from` pixels that each of `to` reduced pixels reads, evenly spread over what it covers.
fn covered(from: usize, to: usize) -> Vec<usize> {
    let stride = stride(from, to);
    let places = |i: usize| {
        let begin = i * from / to;
        let length = ((i + 1) * from / to).max(begin + 1) - begin;
        (0..stride).map(move |j| begin + (2 * j + 1) * length / (2 * stride))
    };
    (0..to).flat_map(places).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageBatch, Levels};

    #[test]
    fn a_picture_at_its_own_size_has_the_levels_of_the_batch() {
        for channels in 1..=4 {
            let mut pixels: Vec<f32> = (0..channels * 6).map(|i| i as f32 / 17.0).collect();
            pixels[1] = f32::NAN;
            let batch = ImageBatch::new([1, channels, 2, 3], pixels);
            let bytes = reduced(batch.sample(0), [channels, 2, 3], [2, 3], |rgb| rgb).concat();
            assert_eq!(bytes, Levels::Rounded.rgb8(&batch, 0), "{channels} channels");
        }
    }

    #[test]
    fn a_reduced_pixel_is_the_mean_of_what_it_covers() {
        let halves: Vec<f32> = (0..16).map(|i| if i % 2 == 0 { 1.0 } else { 0.0 }).collect();
        assert_eq!(reduced(&halves, [1, 4, 4], [2, 2], |[level, ..]| level), [128; 4]);
        // Only a few of very many are read, from all over the pixel.
        let ramp: Vec<f32> = (0..4000).map(|i| i as f32 / 4000.0).collect();
        let one = reduced(&ramp, [1, 1, 4000], [1, 1], |[level, ..]| level);
        assert!(one[0].abs_diff(128) <= 1, "{one:?}");
    }

    #[test]
    fn the_shape_is_kept_and_the_cost_is_bounded_by_what_is_shown() {
        assert_eq!(reduced_size([32, 32], 144), [32, 32]);
        assert_eq!(reduced_size([768, 768], 144), [144, 144]);
        assert_eq!(reduced_size([1000, 500], 144), [144, 72]);
        assert_eq!(reduced_size([1, 4096], 144), [1, 144]);
        let cost = |side| reading_cost([3, side, side], [144, 144]);
        assert_eq!(cost(4096), cost(1_000_000));
        assert_eq!(cost(144), 3 * 144 * 144);
    }
}
