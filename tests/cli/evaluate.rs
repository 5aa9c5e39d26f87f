//! Numbers about sets of pictures, from the command line.

use std::path::Path;

use super::{check_refused, lapidary, run, stderr, stdout, write_samples};

#[test]
fn a_refinement_is_compared_with_real_pictures_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["refine", "--seeds", "0..24", "--iterations", "2", "--out", "r"]);
    run(path, &["generate", "--seeds", "100..130", "--out", "real"]);
    let evaluate = ["evaluate", "r", "--reference", "real/samples.npz", "--device", "cpu", "--out", "t.json", "t.csv"];
    let output = lapidary(path, &evaluate);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("r before") && said.contains("r after") && said.contains("Fréchet distance ↓"), "{said}");
    assert!(stderr(&output).contains("24 pictures, but each has 128 features"), "{}", stderr(&output));
    let table: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join("t.json")).unwrap()).unwrap();
    assert_eq!((&table["reference"]["pictures"], &table["extractor"]["name"]), (&30.into(), &"gtsrb12-judge".into()));
    let number = |set: usize, metric: &str| {
        let numbers = table["sets"][set]["numbers"].as_array().unwrap();
        numbers.iter().find(|number| number["metric"] == metric).unwrap_or_else(|| panic!("{metric}")).clone()
    };
    let (before, after) = (number(0, "frechet_distance"), number(1, "frechet_distance"));
    let change = after["value"].as_f64().unwrap() - before["value"].as_f64().unwrap();
    assert!(change != 0.0 && (after["change"].as_f64().unwrap() - change).abs() < 1e-9);
    assert!(number(1, "agreement")["value"].as_f64().unwrap() > 0.9, "the judge knows the demo's classes");
    assert!(number(1, "calibration_error")["value"].as_f64().unwrap() < 0.5);
    // Classes of other names are none of the pictures'.
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = std::fs::read_to_string(model.join("gtsrb12-judge.toml")).unwrap();
    let classes = manifest.lines().filter(|line| line.starts_with("  \""));
    let manifest =
        classes.enumerate().fold(manifest.clone(), |text, (i, line)| text.replace(line, &format!("  \"x{i}\",")));
    std::fs::write(path.join("other.toml"), manifest).unwrap();
    std::fs::copy(model.join("gtsrb12-judge.safetensors"), path.join("gtsrb12-judge.safetensors")).unwrap();
    let other = ["evaluate", "--reference", "real", "r/result.npz", "--extractor", "other.toml", "--device", "cpu"];
    let output = lapidary(path, &other);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stdout(&output).contains("agreement ↑"), "{}", stdout(&output));
    assert!(stderr(&output).contains("so their classes are left aside"), "{}", stderr(&output));
    let refine = ["refine", "--input", "r/result.npz", "--classifier", "other.toml", "--out", "o", "--device", "cpu"];
    check_refused(path, &refine, 2, "but the classifier knows 12 classes (x0, x1, x2, ..., x11)");
    // What is there is not replaced, and the same pictures have no distance.
    check_refused(path, &evaluate, 2, "t.json is there already");
    let output = lapidary(path, &["evaluate", "r/result.npz", "real", "--reference", "real", "--device", "cpu"]);
    assert!(stderr(&output).contains("the pictures of real are real ones, all of them"), "{}", stderr(&output));
    assert!(stderr(&output).contains("do not compare"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let levels: Vec<u8> = (0..8 * 32 * 32 * 3).map(|i| (i * 7 + i / 3072 * 31) as u8).collect();
    write_samples(&path.join("some.npz"), [8, 32, 32, 3], &levels, None);
    write_samples(&path.join("small.npz"), [8, 16, 16, 3], &levels[..8 * 768], None);
    write_samples(&path.join("same.npz"), [8, 32, 32, 3], &levels[..3072].repeat(8), None);
    write_samples(&path.join("one.npz"), [1, 32, 32, 3], &levels[..3072], None);
    let refused = |args: &[&str], says: &str| {
        check_refused(path, &[&["evaluate", "--device", "cpu"][..], args].concat(), 1, says);
    };
    refused(&["some.npz", "--reference", "small.npz"], "some.npz have 3 channels of 32×32, but 3 channels of 16×16");
    refused(&["some.npz", "--reference", "none.npz"], "no file is there");
    refused(&["some.npz", "--reference", "some.npz", "--extractor", "gtsrb12-cm"], "generator");
    refused(&["some.npz", "--reference", "some.npz", "--out", "none/t.csv"], "no table can be written there");
    std::fs::write(path.join("mine.csv"), "a,b\n").unwrap();
    let mine = ["evaluate", "some.npz", "--reference", "some.npz", "--overwrite", "--out", "mine.csv"];
    check_refused(path, &mine, 2, "mine.csv is no table of lapidary evaluate");
    for set in ["same.npz", "one.npz"] {
        refused(&["some.npz", set, "--reference", "some.npz"], "the sets cannot be compared");
    }
}

#[test]
fn after_is_compared_with_before_and_declared_sets_with_the_first_one_place_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["refine", "--seeds", "0..12", "--iterations", "2", "--out", "r"]);
    run(path, &["generate", "--seeds", "0..12", "--out", "same"]);
    run(path, &["generate", "--seeds", "100..112", "--out", "other"]);
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lpips");
    let evaluate = |args: &[&str], says: &[&str]| -> serde_json::Value {
        let common = ["evaluate", "--reference", "other", "--device", "cpu", "--overwrite"];
        let output = lapidary(path, &[&common[..], args, &["--out", "t.json", "t.csv", "t.tex"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let said = stdout(&output);
        assert!(says.iter().all(|says| said.contains(says)), "{said}");
        serde_json::from_slice(&std::fs::read(path.join("t.json")).unwrap()).unwrap()
    };
    let number = |table: &serde_json::Value, set: usize, metric: &str| {
        let numbers = table["sets"][set]["numbers"].as_array().unwrap();
        numbers.iter().find(|number| number["metric"] == metric).map(|number| number["value"].as_f64().unwrap())
    };
    let plain = evaluate(&["r"], &["r after with r before (12 pairs)", "PSNR, dB ↑", "SSIM ↑", "FLIP ↓"]);
    assert!(number(&plain, 1, "psnr").unwrap() > 15.0 && number(&plain, 0, "psnr").is_none());
    assert!((0.0..0.5).contains(&number(&plain, 1, "flip").unwrap()));
    assert_eq!((number(&plain, 1, "lpips"), number(&plain, 1, "equal_pairs")), (None, None));
    let lpips = ["r", "same", "other", "--pairs", "--lpips", network.to_str().unwrap()];
    let table = evaluate(&lpips, &["same with r before", "other with r before", "LPIPS ↓", "equal pairs ↑"]);
    assert_eq!(number(&table, 1, "ssim"), number(&plain, 1, "ssim"));
    assert_eq!(table["sets"][2]["pairs"], serde_json::json!({ "with": "r before", "pairs": 12, "equal": 12 }));
    assert_eq!(["flip", "lpips", "equal_pairs"].map(|metric| number(&table, 2, metric).unwrap()), [0.0, 0.0, 12.0]);
    assert_eq!(number(&table, 2, "psnr"), None, "it has no end");
    for metric in ["flip", "lpips"] {
        let of = |set: usize| number(&table, set, metric).unwrap();
        assert!(0.0 < of(1) && of(1) < of(3), "{metric}: other pictures are farther away than refined ones");
    }
    assert_eq!(table["protocol"]["lpips"]["vgg_sha256"].as_str().unwrap().len(), 64);
    assert!(std::fs::read_to_string(path.join("t.csv")).unwrap().contains("\nr after,12,lpips,smaller,"));
    let common = ["evaluate", "--reference", "other", "--device", "cpu"];
    let refused = |args: &[&str], code, says: &str| check_refused(path, &[&common[..], args].concat(), code, says);
    refused(&["same", "--pairs"], 2, "but only one is given");
    refused(&["same", "--lpips", network.to_str().unwrap()], 2, "but no set has partners");
    refused(&["r", "--lpips", "same"], 1, "not one file of VGG16");
    write_samples(&path.join("few.npz"), [5, 32, 32, 3], &vec![7; 5 * 3072], None);
    refused(&["same", "few.npz", "--pairs"], 1, "few.npz have 5 pictures, but same have 12");
}
