//! Numbers about sets of pictures against the programs that papers use.

use std::path::Path;

use lapidary::data::{SeenKind, read_statistics, seen_in};
use lapidary::metrics::{Features, Gaussian, Neighbours, frechet_distance, inception_score, kernel_distance};

use crate::golden::Golden;

fn features(golden: &Golden, name: &str, logits: &[f32]) -> Features {
    let values = golden.values(name);
    let mut features = Features::new(12, logits.len() / (values.len() / 12));
    features.extend(values, logits);
    features
}

fn assert_near(found: f64, expected: &serde_json::Value) {
    assert_within(1e-6, found, expected);
}

fn assert_within(tolerance: f64, found: f64, expected: &serde_json::Value) {
    let expected = expected.as_f64().expect("a number");
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{found} is not {expected}");
}

#[test]
fn two_sets_have_the_distances_and_shares_that_other_programs_find() {
    let golden = Golden::open("metrics/features.safetensors");
    let values: serde_json::Value =
        serde_json::from_str(include_str!("../golden/metrics/values.json")).expect("golden files are sound");
    let real = features(&golden, "real", &[0.0; 90]);
    let samples = features(&golden, "samples", golden.values("logits"));
    let [a, b] = [&real, &samples].map(|set| Gaussian::of(set).expect("enough pictures"));
    for program in ["pytorch-fid", "torch-fidelity", "clean-fid"] {
        assert_near(frechet_distance(&a, &b).expect("of one width"), &values["frechet"][program]);
        assert_near(frechet_distance(&b, &a).expect("of one width"), &values["frechet"][program]);
    }
    let watch = &mut |_: usize, _: usize| true;
    let first = real.at(&(0..70).collect::<Vec<_>>());
    let kernel = kernel_distance(&first, &samples, (1, 70), watch).expect("enough pictures");
    assert_near(kernel.score.mean, &values["kernel"]);
    let score = inception_score(&samples, 10).expect("enough pictures");
    assert_near(score.mean, &values["inception"][0]);
    assert_near(score.deviation, &values["inception"][1]);
    let among = Neighbours::of(&real, (3, 5), watch).expect("enough pictures");
    let among = among.compare(&samples, watch).expect("enough pictures");
    assert_near(among.precision, &values["precision"]);
    assert_near(among.recall, &values["recall"]);
    assert_near(among.density, &values["density"]);
    assert_near(among.coverage, &values["coverage"]);
}

#[test]
fn statistics_of_other_programs_have_the_distances_of_the_pictures_that_they_are_of() {
    let golden = Golden::open("metrics/features.safetensors");
    let parse = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("golden files are sound") };
    let values = parse(include_str!("../golden/metrics/values.json"));
    let sums = parse(include_str!("../golden/metrics/statistics.json"));
    let samples = Gaussian::of(&features(&golden, "samples", golden.values("logits"))).expect("enough pictures");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics");
    let [double, single] = ["pytorch_fid.npz", "virtual.npz"].map(|name| folder.join(name));
    assert_eq!(seen_in(&double).expect("an archive"), Some(SeenKind::Statistics));
    assert_eq!(seen_in(&single).expect("an archive"), Some(SeenKind::StatisticsAndPictures));
    let [double, single] = [double, single].map(|path| read_statistics(&path).expect("statistics").statistics);
    for (known, tolerance) in [(&double, 1e-6), (&single, 1e-5)] {
        let distance = frechet_distance(&samples, &known.gaussian).expect("of one width");
        assert_within(tolerance, distance, &values["frechet"]["pytorch-fid"]);
        assert_within(tolerance, known.gaussian.covariance.trace(), &sums["trace"]);
        assert_within(tolerance, known.gaussian.mean.sum(), &sums["mean"]);
    }
    assert_eq!((double.is_exact, double.gaussian.rank(), double.count, double.spatial), (true, 12, None, None));
    let spatial = single.spatial.expect("it has some");
    assert_eq!((spatial.width(), single.is_exact), (5, false));
    assert_within(1e-5, spatial.covariance.trace(), &sums["spatial_trace"]);
}
