//! Numbers about pairs of pictures, and calibration, against the programs that papers use.

use lapidary::metrics::pairs::{Flip, PIXELS_PER_DEGREE, Ssim, psnr};
use lapidary::metrics::{Features, calibration_error};

use crate::golden::Golden;

/// A pair's pictures, `[C, H, W]`, and what is known of them.
struct Pairs {
    golden: Golden,
    values: serde_json::Value,
}

impl Pairs {
    fn open() -> Self {
        let values =
            serde_json::from_str(include_str!("../golden/metrics/pairs.json")).expect("golden files are sound");
        Self { golden: Golden::open("metrics/pairs.safetensors"), values }
    }

    /// The pairs whose names begin so.
    fn of(&self, name: &str, shape: [usize; 3]) -> impl Iterator<Item = (&[f32], &[f32])> {
        let len = shape.iter().product();
        let [a, b] = ["a", "b"].map(|side| self.golden.values(&format!("{name}{side}")).chunks_exact(len));
        a.zip(b)
    }

    fn assert_near(&self, key: &str, found: &[f64], tolerance: f64) {
        let expected = self.values[key].as_array().unwrap_or_else(|| panic!("there is no {key}"));
        assert_eq!(found.len(), expected.len(), "{key}: number of pairs");
        for (found, expected) in found.iter().zip(expected) {
            let expected = expected.as_f64().expect("a number");
            assert!((found - expected).abs() <= tolerance, "{key}: {found} is not {expected}");
        }
    }
}

const SHAPE: [usize; 3] = [3, 24, 40];
const GREY: [usize; 3] = [1, 24, 40];

#[test]
fn pairs_have_the_psnr_and_ssim_of_scikit_image() {
    let pairs = Pairs::open();
    let found: Vec<f64> = pairs.of("", SHAPE).map(|(a, b)| psnr(a, b)).collect();
    pairs.assert_near("psnr", &found, 1e-10);
    for (name, shape) in [("", SHAPE), ("grey_", GREY)] {
        let ssim = Ssim::new(shape).expect("a window fits in");
        let found: Vec<f64> = pairs.of(name, shape).map(|(a, b)| ssim.of(a, b)).collect();
        pairs.assert_near(&format!("{name}ssim"), &found, 1e-10);
    }
}

#[test]
fn pairs_have_the_flip_of_its_authors_pixel_by_pixel() {
    let pairs = Pairs::open();
    for (name, shape) in [("", SHAPE), ("small_", [3, 5, 7]), ("grey_", GREY)] {
        let flip = Flip::new(shape, PIXELS_PER_DEGREE).expect("one or three channels");
        let maps: Vec<Vec<f64>> = pairs.of(name, shape).map(|(a, b)| flip.map(a, b)).collect();
        let expected = pairs.golden.values(&format!("{name}flip"));
        assert_eq!(maps.concat().len(), expected.len(), "{name}flip: number of pixels");
        for (i, (found, expected)) in maps.concat().iter().zip(expected).enumerate() {
            let difference = (found - f64::from(*expected)).abs();
            let tolerance = if *expected > 0.02 { 1e-5 } else { 3e-5 };
            assert!(difference <= tolerance, "{name}flip, pixel {i}: {found} is not {expected}");
        }
        let found: Vec<f64> = pairs.of(name, shape).map(|(a, b)| flip.of(a, b)).collect();
        pairs.assert_near(&format!("{name}flip"), &found, 1e-6);
    }
}

#[test]
fn a_networks_calibration_error_is_that_of_torchmetrics() {
    let (pairs, features) = (Pairs::open(), Golden::open("metrics/features.safetensors"));
    let logits = features.values("logits");
    let mut seen = Features::new(1, 5);
    seen.extend(&vec![0.0; logits.len() / 5], logits);
    let found = calibration_error(&seen, pairs.golden.indices("labels"));
    let expected = pairs.values["calibration_error"].as_f64().expect("a number");
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}
