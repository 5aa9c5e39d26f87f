//! Rules of refinement against PyTorch, on the demo's pictures.

use burn::tensor::Device;
use lapidary::image::ImageBatch;
use lapidary::refiner::{Objective, evaluate, langevin_step};

use crate::golden::Golden;
use crate::models::classifier;
use crate::strays::assert_mostly_close;
use crate::{STRAYS, WHOLE};

#[test]
fn fifteen_langevin_steps_follow_the_released_script() {
    /// Half of what leaving out the noise would cost: fifteen draws of 1e-4 add up to 1e-4 * sqrt(15) = 3.9e-4.
    const NOISE: f64 = 2e-4;
    let golden = Golden::open("demo/demo.safetensors");
    let classifier = classifier("gtsrb12-joint");
    let (origin, labels) = (golden.images("origin"), golden.indices("y"));
    let mut x = origin.pixels().to_vec();
    for k in 0..15 {
        let images = ImageBatch::new(origin.shape(), x.clone());
        let objective = Objective::TargetLogit;
        let here = evaluate(&classifier, &images, labels, objective, WHOLE, &Device::flex()).unwrap();
        // The gradient of the mean over four pictures is a quarter of each picture's own.
        langevin_step(&mut x, &here.gradient, 0.2 / 4.0, golden.values(&format!("sgld.noise{k}")), 1e-4);
    }
    for value in &mut x {
        *value = value.clamp(0.0, 1.0);
    }
    let expected = golden.values("sgld.out");
    assert_mostly_close("sgld.out", &x, expected, 2e-3, STRAYS);
    let squares: f64 = x.iter().zip(expected).map(|(found, expected)| f64::from(found - expected).powi(2)).sum();
    let rms = (squares / x.len() as f64).sqrt();
    assert!(rms < NOISE, "sgld.out is off by {rms} (root mean square)");
}
