//! LPIPS against the original.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use lapidary::checkpoint::{Checkpoint, Weights};
use lapidary::net::lpips::Lpips;

use super::golden::Golden;

/// The narrow network, as consistency models are trained with it.
fn open(device: &Device) -> Lpips {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lpips");
    let [vgg, heads] = ["vgg", "heads"]
        .map(|name| Checkpoint::open(&folder.join(name).with_extension("safetensors")).expect("it opens"));
    let widths: Vec<usize> = Lpips::widths().iter().map(|name| vgg.tensors()[name].shape[0]).collect();
    assert_eq!(widths, [4, 6, 8, 8, 10]);
    let (mut vgg, mut heads) = (Weights::new(&vgg), Weights::new(&heads));
    let lpips = Lpips::load(&widths, (&mut vgg, &mut heads), device).expect("it has all tensors");
    assert!(vgg.report().unused.is_empty() && heads.report().unused.is_empty(), "every tensor has its place");
    lpips
}

#[test]
fn what_is_reported_is_the_distance_of_its_authors_package() {
    let (golden, device) = (Golden::open("metrics/pairs.safetensors"), Device::flex());
    let values: serde_json::Value =
        serde_json::from_str(include_str!("../golden/metrics/pairs.json")).expect("golden files are sound");
    let expected = values["lpips"].as_array().expect("a list");
    let [a, b] = ["a", "b"].map(|key| golden.images(key).to_tensor(&device) * 2.0 - 1.0);
    let (to_train, lpips) = (open(&device), open(&device).reported());
    let found = lpips.distance(a.clone(), b.clone()).into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let expected = expected.as_f64().expect("a number");
        assert!((f64::from(*found) - expected).abs() < 5e-6, "{found}, not {expected}");
    }
    let back = lpips.distance(b.clone(), a.clone()).into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(found, back, "places do not matter");
    let same = lpips.distance(a.clone(), a.clone()).into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(same, [0.0; 3]);
    let other = to_train.distance(a, b).into_data().try_into_vec::<f32>().unwrap();
    assert!(other.iter().zip(&found).all(|(other, found)| (other - found).abs() > 1e-3), "{other:?}, {found:?}");
}

#[test]
fn lpips_and_its_gradient_are_the_originals() {
    let golden = Golden::open("lpips/values.safetensors");
    let device = Device::flex();
    let lpips = open(&device);
    let [a, b] = ["a", "b"].map(|key| golden.images(key).to_tensor(&device));
    let plain = lpips.distance(a.clone(), b.clone()).into_data().try_into_vec::<f32>().unwrap();
    let tracked = a.autodiff().require_grad();
    let distance = lpips.distance(tracked.clone(), b);
    let found = distance.clone().without_autodiff().into_data().try_into_vec::<f32>().unwrap();
    for (found, expected) in found.iter().chain(&plain).zip(golden.values("distance").iter().cycle()) {
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
    let weights = TensorData::new(golden.values("weights").to_vec(), [3]);
    let mut gradients = (distance * Tensor::<1>::from_data(weights, &device)).sum().backward();
    let gradient = tracked.grad_remove(&mut gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
    let largest = golden.values("gradient").iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in gradient.iter().zip(golden.values("gradient")) {
        assert!((found - expected).abs() < 1e-3 * largest, "{found}, not {expected}");
    }
}
