//! Frames between two seeds.

use crate::noise::{Purpose, normal_noise};

/// Spherical interpolation from `a` (`position` u = 0) to `b` (1): `(sin((1 - u) ψ) a + sin(u ψ) b) / sin ψ`, where `ψ`
/// is the angle between them. Directions that (nearly) coincide or oppose each other are mixed on the straight line.
///
/// # Source
/// Song et al. 2023, appendix D.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn slerp(a: &[f32], b: &[f32], position: f64) -> Vec<f32> {
    assert_eq!(a.len(), b.len(), "two points of one space");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let angle = libm::acos(cosine.clamp(-1.0, 1.0));
    let sine = libm::sin(angle);
    let (from, to) = if sine > 1e-6 {
        (libm::sin((1.0 - position) * angle) / sine, libm::sin(position * angle) / sine)
    } else {
        (1.0 - position, position)
    };
    a.iter().zip(b).map(|(a, b)| (from * f64::from(*a) + to * f64::from(*b)) as f32).collect()
}

/// Place of frame `index` of `total` between the first (0) and the last (1).
#[must_use]
pub fn frame_position(index: usize, total: usize) -> f64 {
    let last = total.saturating_sub(1).max(1);
    index.min(last) as f64 / last as f64
}

/// Noise of frames at `positions` between two seeds, `sample_len` values each.
///
/// Not only the initial noise but that of every step lies between the seeds' own, so the first and the last frame are
/// the pictures of these seeds, and neighbours are alike with any number of steps.
#[must_use]
pub fn frame_noise(ends: (u64, u64), positions: &[f64], purpose: Purpose, sample_len: usize) -> Vec<f32> {
    let [from, to] = [ends.0, ends.1].map(|seed| normal_noise(&[seed], purpose, sample_len));
    positions.iter().flat_map(|position| slerp(&from, &to, *position)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_the_seeds_own_noises() {
        for purpose in [Purpose::Sampling(0), Purpose::Sampling(1)] {
            let frames = frame_noise((3, 8), &[0.0, 0.5, 1.0], purpose, 48);
            assert_eq!(frames[..48], normal_noise(&[3], purpose, 48));
            assert_eq!(frames[96..], normal_noise(&[8], purpose, 48));
        }
    }

    #[test]
    fn frames_between_have_the_length_of_noise() {
        // The straight line would pass at 0.71 of the length.
        let length = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let frames = frame_noise((3, 8), &[0.0, 0.25, 0.5, 1.0], Purpose::Sampling(0), 3072);
        let lengths: Vec<f64> = frames.chunks(3072).map(length).collect();
        let (shortest, longest) = (lengths[0].min(lengths[3]), lengths[0].max(lengths[3]));
        for between in &lengths[1..3] {
            assert!((shortest * 0.99..=longest * 1.01).contains(between), "{lengths:?}");
        }
    }

    #[test]
    fn points_a_quarter_turn_apart() {
        let found = slerp(&[1.0, 0.0], &[0.0, 1.0], 1.0 / 3.0);
        assert!((found[0] - 0.866_025_4).abs() < 1e-6 && (found[1] - 0.5).abs() < 1e-6, "{found:?}");
        assert_eq!(slerp(&[2.0, 1.0], &[2.0, 1.0], 0.3), [2.0, 1.0], "one seed twice");
        assert_eq!(slerp(&[1.0], &[-1.0], 0.25), [0.5], "opposite directions");
        assert!(slerp(&[0.0], &[0.0], 0.5)[0] == 0.0, "no direction at all");
    }

    #[test]
    fn frames_are_equally_far_apart() {
        assert_eq!([0, 1, 2].map(|i| frame_position(i, 3)), [0.0, 0.5, 1.0]);
        assert_eq!((frame_position(0, 1), frame_position(7, 3)), (0.0, 1.0));
    }
}
