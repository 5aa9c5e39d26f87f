//! Frames between two seeds.

use super::settings::{Classes, GenerateSettings};
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

/// The class that a picture of one seed would have, of `k`.
fn class_of(settings: &GenerateSettings, seed: u64, k: usize) -> usize {
    let one = GenerateSettings { first_seed: seed, samples: 1, ..settings.clone() };
    one.labels(k).first().copied().unwrap_or(0)
}

/// Class of every frame, for a model with `k` classes: in an interpolation only the noise changes, so all have that of the picture
/// of the first seed, unless classes are listed, which are taken in turn.
#[must_use]
pub fn frame_labels(settings: &GenerateSettings, ends: (u64, u64), k: usize) -> Vec<usize> {
    match settings.classes {
        Classes::Only(_) => settings.labels(k),
        Classes::All | Classes::Random => vec![class_of(settings, ends.0, k); settings.samples as usize],
    }
}

/// Which class frames have that nobody listed a class for, among these; `None` where somebody did, or there are none.
#[must_use]
pub fn frame_class_in_words(settings: &GenerateSettings, (from, to): (u64, u64), names: &[String]) -> Option<String> {
    if names.is_empty() || matches!(settings.classes, Classes::Only(_)) {
        return None;
    }
    let [first, last] = [from, to].map(|seed| &names[class_of(settings, seed, names.len())]);
    let other = if first == last { String::new() } else { format!(" (seed {to} by itself has {last})") };
    Some(format!("all frames are of the class of seed {from}, {first}{other}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_class_of_their_first_seed_unless_classes_are_listed() {
        let labels = |classes: &Classes, ends| {
            let settings = GenerateSettings { classes: classes.clone(), samples: 3, ..Default::default() };
            frame_labels(&settings, ends, 12)
        };
        assert_eq!(labels(&Classes::All, (3, 9)), [3; 3]);
        assert_eq!(labels(&Classes::All, (27, 9)), [3; 3], "in turn, as pictures of seeds");
        assert_eq!(labels(&Classes::Only(vec![7]), (3, 9)), [7; 3]);
        assert_eq!(labels(&Classes::Only(vec![7, 2]), (3, 9)), [7, 2, 7]);
        let drawn = GenerateSettings { classes: Classes::Random, first_seed: 3, samples: 1, ..Default::default() };
        assert_eq!(labels(&Classes::Random, (3, 9)), [drawn.labels(12)[0]; 3]);
        assert_eq!(frame_labels(&GenerateSettings { samples: 2, ..Default::default() }, (3, 9), 0), [0; 2]);
    }

    #[test]
    fn a_class_that_nobody_listed_is_said_and_that_the_other_end_has_another() {
        let names = ["stop", "yield", "no entry"].map(str::to_owned);
        let said = |classes: Classes, ends, names: &[String]| {
            frame_class_in_words(&GenerateSettings { classes, ..Default::default() }, ends, names)
        };
        let same = said(Classes::All, (4, 7), &names).unwrap();
        assert_eq!(same, "all frames are of the class of seed 4, yield");
        let other = said(Classes::All, (4, 8), &names).unwrap();
        assert_eq!(other, "all frames are of the class of seed 4, yield (seed 8 by itself has no entry)");
        assert_eq!(said(Classes::Only(vec![0]), (4, 8), &names), None);
        assert_eq!(said(Classes::All, (4, 8), &[]), None);
    }

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
