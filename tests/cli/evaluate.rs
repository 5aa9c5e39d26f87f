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
    refused(&["some.npz", "--reference", "some.npz", "--extractor", "inception"], "nothing is ever downloaded");
    let dialect = ["evaluate", "some.npz", "--reference", "some.npz", "--dialect", "clean"];
    check_refused(path, &dialect, 2, "gtsrb12-judge is a classifier");
    refused(&["some.npz", "--reference", "some.npz", "--out", "none/t.csv"], "no table can be written there");
    std::fs::write(path.join("mine.csv"), "a,b\n").unwrap();
    let mine = ["evaluate", "some.npz", "--reference", "some.npz", "--overwrite", "--out", "mine.csv"];
    check_refused(path, &mine, 2, "mine.csv is no table of lapidary evaluate");
    for set in ["same.npz", "one.npz"] {
        refused(&["some.npz", set, "--reference", "some.npz"], "the sets cannot be compared");
    }
}
