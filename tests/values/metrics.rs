//! Numbers about sets of pictures against the programs that papers use.

use lapidary::metrics::{Features, Gaussian, Neighbours, frechet_distance, inception_score, kernel_distance};

use crate::golden::Golden;

fn features(golden: &Golden, name: &str, logits: &[f32]) -> Features {
    let values = golden.values(name);
    let mut features = Features::new(12, logits.len() / (values.len() / 12));
    features.extend(values, logits);
    features
}

fn assert_near(found: f64, expected: &serde_json::Value) {
    let expected = expected.as_f64().expect("a number");
    assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} is not {expected}");
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
