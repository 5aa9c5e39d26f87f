//! Numbers about sets of pictures, from the command line.

use std::io::Write as _;
use std::path::Path;

use npyz::WriterBuilder as _;

use super::{array, check_refused, lapidary, recipe, run, stderr, stdout, write_samples};

/// Levels of pictures of 32×32 that differ, as a function of a seed.
fn levels(n: usize, seed: usize) -> Vec<u8> {
    (0..n * 3072).map(|i| (i * (7 + seed) + i / 3072 * 31 + i / 96 * seed + i * i % 251) as u8).collect()
}

/// Doubles as `np.savez` writes them, behind the arrays of an archive that is there already, if any.
pub(super) fn write_doubles(path: &Path, behind: Option<&Path>, arrays: &[(&str, &[u64], &[f64])]) {
    let mut archive = match behind {
        Some(other) => {
            std::fs::copy(other, path).expect("room on the disk");
            let file = std::fs::File::options().read(true).write(true).open(path).expect("it was copied");
            zip::ZipWriter::new_append(file).expect("an archive")
        }
        None => zip::ZipWriter::new(std::fs::File::create(path).expect("a new file")),
    };
    for (name, shape, values) in arrays {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::<f64>::new().default_dtype().shape(shape);
        let mut writer = options.writer(&mut bytes).begin_nd().expect("memory takes it");
        writer.extend(values.iter().copied()).expect("memory takes it");
        writer.finish().expect("as many values as the shape says");
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).expect("a new entry");
        archive.write_all(&bytes).expect("room on the disk");
    }
    archive.finish().expect("room on the disk");
}

/// One number of the first set of a table.
fn value(table: &serde_json::Value, metric: &str) -> f64 {
    let numbers = table["sets"][0]["numbers"].as_array().expect("numbers");
    let number = numbers.iter().find(|number| number["metric"] == metric).unwrap_or_else(|| panic!("{metric}"));
    number["value"].as_f64().expect("a number")
}

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
    // The real pictures have seeds behind 100, but nothing starts from them.
    assert!(!stderr(&output).contains("random starts"), "{}", stderr(&output));
    assert!(stderr(&output).contains("note: samples.npz holds its pictures as floats too"), "{}", stderr(&output));
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
    refused(&["some.npz", "--reference", "small.npz"], "some.npz has 3 channels of 32×32, but 3 channels of 16×16");
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

#[test]
fn what_was_seen_and_its_statistics_stand_in_for_the_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let real = levels(30, 3);
    let labels: Vec<i64> = (0..20).map(|i| i % 12).collect();
    write_samples(&path.join("some.npz"), [20, 32, 32, 3], &levels(20, 5), Some(&labels));
    write_samples(&path.join("real.npz"), [30, 32, 32, 3], &real, None);
    write_samples(&path.join("first.npz"), [13, 32, 32, 3], &real[..13 * 3072], None);
    write_samples(&path.join("rest.npz"), [17, 32, 32, 3], &real[13 * 3072..], None);
    let table = |out: &str, args: &[&str]| {
        let output = run(path, &[&["evaluate"], args, &["--out", out]].concat());
        (recipe(&path.join(out)), stderr(&output))
    };
    let kept = ["--save-features", "seen", "--save-statistics", "s.npz"];
    let (whole, _) = table("whole.json", &[&["some.npz", "--reference", "real.npz"][..], &kept].concat());
    let distance = value(&whole, "frechet_distance");
    let near = |table: &serde_json::Value, tolerance: f64| {
        let found = value(table, "frechet_distance");
        assert!((found - distance).abs() < tolerance * distance, "{found} is not {distance}");
    };
    // Nothing is looked at again, so the numbers are the same to the last digit.
    std::fs::rename(path.join("some.npz"), path.join("away")).unwrap();
    let (seen, _) = table("seen.json", &["seen/some.npz", "--reference", "seen/reference.npz"]);
    std::fs::rename(path.join("away"), path.join("some.npz")).unwrap();
    assert_eq!(seen["sets"][0]["numbers"], whole["sets"][0]["numbers"]);
    assert_eq!((&seen["comparable"], &seen["extractor"]), (&whole["comparable"], &whole["extractor"]));
    assert_eq!(seen["sets"][0]["comparable"], whole["sets"][0]["comparable"]);
    assert_eq!(seen["sets"][0]["classes"], whole["sets"][0]["classes"], "labels are kept, too");
    let (features, logits) = ("seen/some.npz", array::<f32>(&path.join("seen/some.npz"), "logits"));
    assert_eq!((array::<f32>(&path.join(features), "features").0, logits.0), (vec![20, 128], vec![20, 12]));
    // Archives one by one are the same real pictures.
    let (parts, _) = table("parts.json", &["some.npz", "--reference", "first.npz", "--reference", "rest.npz"]);
    // In other batches, sums are rounded otherwise.
    near(&parts, 1e-4);
    assert_eq!(parts["reference"]["sha256"], whole["reference"]["sha256"]);
    // Mean and covariance are enough for the distance.
    let (ours, said) = table("ours.json", &["some.npz", "--reference", "s.npz"]);
    near(&ours, 1e-9);
    assert!(ours["reference"]["statistics"]["pictures"] == 30 && !said.contains("does not say"), "{said}");
    assert!(ours["sets"][0]["numbers"].as_array().unwrap().iter().all(|number| number["metric"] != "precision"));
    let (mu, sigma) = (array::<f64>(&path.join("s.npz"), "mu"), array::<f64>(&path.join("s.npz"), "sigma"));
    assert_eq!((mu.0.clone(), sigma.0.clone()), (vec![128], vec![128, 128]));
    let arrays: [(&str, &[u64], &[f64]); 2] = [("mu", &mu.0, &mu.1), ("sigma", &sigma.0, &sigma.1)];
    write_doubles(&path.join("theirs.npz"), None, &arrays);
    let (theirs, said) = table("theirs.json", &["some.npz", "--reference", "theirs.npz"]);
    near(&theirs, 1e-9);
    assert!(said.contains("theirs.npz does not say which network its 128 numbers a picture are of"), "{said}");
    assert!(said.contains("singular"), "of 30 pictures: {said}");
    assert_ne!(theirs["comparable"]["hash"], ours["comparable"]["hash"]);
    // In guided-diffusion's files a part of the pictures lies beside them.
    write_doubles(&path.join("virtual.npz"), Some(&path.join("first.npz")), &arrays);
    let (both, _) = table("both.json", &["some.npz", "--reference", "virtual.npz"]);
    near(&both, 1e-9);
    let (first, _) = table("first.json", &["some.npz", "--reference", "first.npz"]);
    for metric in ["kernel_distance", "precision", "recall", "density", "coverage"] {
        assert_eq!(value(&both, metric), value(&first, metric), "{metric}");
    }
    assert!(value(&first, "frechet_distance") != distance && both["reference"]["pictures"] == 13);
    // Only files of the same kind are replaced.
    let again = ["evaluate", "some.npz", "--reference", "real.npz", "--device", "cpu"];
    check_refused(path, &[&again[..], &kept].concat(), 2, "s.npz is there already");
    check_refused(path, &[&again[..], &["--save-features", "seen"]].concat(), 2, "reference.npz is there already");
    let mine = [&again[..], &["--overwrite", "--save-features", "real.npz"]].concat();
    check_refused(path, &mine, 2, "real.npz was not written by --save-features");
    run(path, &[&again[..4], &["--overwrite"], &kept].concat());
}

#[test]
fn a_session_is_compared_before_and_after_its_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/session/v3.lapidary");
    std::fs::copy(golden, path.join("s.lapidary")).unwrap();
    write_samples(&path.join("real.npz"), [8, 32, 32, 3], &levels(8, 3), None);
    let output = run(path, &["evaluate", "s.lapidary", "--reference", "real.npz", "--out", "t.json"]);
    let said = stdout(&output);
    assert!(said.contains("s.lapidary before") && said.contains("s.lapidary after run"), "{said}");
    let table = recipe(&path.join("t.json"));
    let sets = table["sets"].as_array().unwrap();
    assert_eq!(sets.iter().map(|set| set["pictures"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 2, 2]);
    let changes: Vec<f64> = sets[1..].iter().map(|set| set["numbers"][0]["change"].as_f64().unwrap()).collect();
    assert!(changes[0] != 0.0 && changes[0] == changes[1], "both runs took the same steps: {changes:?}");
    run(path, &["generate", "--seeds", "0..2", "--out", "g"]);
    let recipe = ["evaluate", "g/session.json", "--reference", "real.npz"];
    check_refused(path, &recipe, 1, "this session holds no pictures: give a .lapidary file");
}

#[test]
fn what_does_not_belong_together_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_samples(&path.join("some.npz"), [8, 32, 32, 3], &levels(8, 5), None);
    write_samples(&path.join("real.npz"), [9, 32, 32, 3], &levels(9, 3), None);
    let (mean, covariance) = ([0.0; 4], (0..16).map(|i| f64::from(u8::from(i % 5 == 0))).collect::<Vec<_>>());
    write_doubles(&path.join("four.npz"), None, &[("mu", &[4], &mean), ("sigma", &[4, 4], &covariance)]);
    write_doubles(&path.join("odd.npz"), None, &[("mu", &[4], &mean), ("sigma", &[4], &mean)]);
    write_doubles(&path.join("other.npz"), None, &[("m", &[4], &mean), ("s", &[4, 4], &covariance)]);
    run(path, &["evaluate", "some.npz", "--reference", "real.npz", "--save-features", "seen"]);
    std::fs::create_dir(path.join("small")).unwrap();
    for name in ["a.png", "b.png"] {
        ::image::RgbImage::new(16, 16).save(path.join("small").join(name)).unwrap();
    }
    let refused = |code: i32, args: &[&str], says: &str| {
        check_refused(path, &[&["evaluate", "--device", "cpu"][..], args].concat(), code, says);
    };
    let real = |args: &[&'static str]| [args, &["--reference", "real.npz"]].concat();
    refused(2, &real(&["some.npz", "./some.npz"]), "some.npz and ./some.npz are the same pictures");
    refused(1, &real(&["four.npz"]), "this archive holds mean and covariance, which say nothing of single pictures");
    refused(1, &real(&["small"]), "small has 3 channels of 16×16, but 3 channels of 32×32 are compared");
    refused(1, &real(&["other.npz"]), "it has m, s, but no pictures, features, or mu and sigma");
    refused(1, &["some.npz", "--reference", "four.npz"], "are of 4 numbers a picture, but gtsrb12-judge gives 128");
    refused(1, &["some.npz", "--reference", "odd.npz"], "mu has the shape [4] and sigma [4]");
    refused(1, &["some.npz", "--reference", "real.npz", "--reference", "four.npz"], "cannot be joined with other real");
    refused(2, &["some.npz", "--reference", "four.npz", "--save-statistics", "s.npz"], "but --reference gives these");
    refused(2, &real(&["some.npz", "seen/some.npz", "--save-features", "one.npz"]), "but there are 2 sets");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/session/v3.lapidary");
    refused(
        1,
        &["some.npz", "--reference", golden.to_str().unwrap()],
        "this is a session, but sets are compared with real",
    );
    refused(1, &real(&["seen/some.npz", "--extractor", "gtsrb12-robust"]), "was seen by gtsrb12-judge (SHA-256");
    // What is damaged is not taken for what it was.
    let whole = std::fs::read(path.join("seen/some.npz")).unwrap();
    std::fs::write(path.join("cut.npz"), &whole[..whole.len() / 2]).unwrap();
    refused(1, &real(&["cut.npz"]), "its list of arrays cannot be read");
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
    refused(&["same", "few.npz", "--pairs"], 1, "few.npz has 5 pictures, but same has 12");
}
