//! The command line as its users meet it: the program itself, its files and its exit codes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

/// One home for all tests, so that the bundled models are unpacked once.
fn home() -> &'static Path {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}

fn lapidary(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(args)
        .current_dir(folder)
        .env("LAPIDARY_HOME", home())
        .env_remove("LAPIDARY_LOG")
        .output()
        .expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Four pictures, two iterations, on the CPU, into `out`.
fn refine(folder: &Path, out: &str, more: &[&str]) -> Output {
    let args = ["refine", "--seeds", "3..7", "--iterations", "2", "--device", "cpu", "--out", out];
    let output = lapidary(folder, &[&args[..], more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// Every file below a folder, by its path inside.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(
                    path.strip_prefix(folder).expect("it is inside").to_owned(),
                    std::fs::read(&path).expect("a file"),
                );
            }
        }
    }
    files
}

fn array<T: npyz::Deserialize>(archive: &Path, name: &str) -> (Vec<u64>, Vec<T>) {
    let mut archive = zip::ZipArchive::new(File::open(archive).expect("the archive")).expect("a zip archive");
    let file = npyz::NpyFile::new(archive.by_name(&format!("{name}.npy")).expect("the array")).expect("a header");
    (file.shape().to_vec(), file.into_vec::<T>().expect("values of this type"))
}

/// Refused with this exit code, in one message that contains `expected`, and without a panic.
#[track_caller]
fn check_refused(folder: &Path, args: &[&str], code: i32, expected: &str) {
    let output = lapidary(folder, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert_eq!(text.matches("error: ").count(), 1, "{args:?}: {text}");
    assert!(text.contains(expected) && !text.contains("panicked"), "{args:?}: {text}");
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let output = refine(folder.path(), "a", &[]);
    refine(folder.path(), "b", &[]);
    let (a, b) = (contents(&folder.path().join("a")), contents(&folder.path().join("b")));
    let names: Vec<_> = a.keys().map(|path| path.to_string_lossy().replace('\\', "/")).collect();
    for name in
        ["result.npz", "trace.csv", "session.json", "contact_sheet.png", "before/000003.png", "after/000006.png"]
    {
        assert!(names.iter().any(|found| found == name), "{name} is missing among {names:?}");
    }
    assert!(names.contains(&"pair_000004.png".to_owned()), "{names:?}");
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in &a {
        assert!(*bytes == b[name], "{} differs", name.display());
    }
    assert!(stdout(&output).contains("4 pictures, 2 iterations on CPU"), "{}", stdout(&output));
}

#[test]
fn results_do_not_depend_on_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    refine(folder.path(), "one", &["--batch", "1"]);
    refine(folder.path(), "four", &["--batch", "4"]);
    for name in ["before", "after", "logits_after"] {
        let read = |out: &str| array::<f32>(&folder.path().join(out).join("result.npz"), name).1;
        let worst = read("one").iter().zip(read("four")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let scale = if name == "logits_after" { 100.0 } else { 1.0 };
        assert!(worst <= 1e-5 * scale, "{name} differs by {worst}");
    }
}

#[test]
fn arrays_and_table_have_the_promised_shapes() {
    let folder = tempfile::tempdir().unwrap();
    refine(folder.path(), "out", &["--classes", "stop,yield"]);
    let archive = folder.path().join("out/result.npz");
    let (shape, levels) = array::<u8>(&archive, "arr_0");
    assert_eq!(shape, [4, 32, 32, 3]);
    assert_eq!(array::<i64>(&archive, "arr_1").1, [5, 6, 5, 6], "class = list[seed mod 2], from seed 3");
    let (shape, after) = array::<f32>(&archive, "after");
    assert_eq!(shape, [4, 3, 32, 32]);
    assert_eq!(levels[1], (after[32 * 32] * 255.0).round() as u8, "NHWC of NCHW");
    let (shape, before) = array::<f32>(&archive, "before");
    assert_eq!(shape, [4, 3, 32, 32]);
    assert!(before != after);
    assert_eq!(array::<f32>(&archive, "logits_before").0, [4, 12]);
    assert_eq!(array::<f32>(&archive, "logits_after").0, [4, 12]);
    assert_eq!(array::<u64>(&archive, "seeds").1, [3, 4, 5, 6]);

    let mut table = csv::Reader::from_path(folder.path().join("out/trace.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4 * 3, "k iterations have k + 1 states");
    assert_eq!([&rows[4][0], &rows[4][2], &rows[4][4]], ["1", "3", "yield"]);
    let distance: f64 = rows[8][10].parse().unwrap();
    assert!(distance > 0.1 && distance <= 3.0, "{distance}");
}

#[test]
fn a_recipe_gives_the_same_pictures_again() {
    let folder = tempfile::tempdir().unwrap();
    refine(folder.path(), "a", &["--radius", "1.5", "--step-size", "0.25x", "--norm", "l2", "--random-start"]);
    let again = lapidary(folder.path(), &["refine", "--session", "a/session.json", "--out", "b", "--quiet"]);
    assert!(again.status.success() && again.stdout.is_empty(), "{}", stderr(&again));
    assert_eq!(stderr(&again), "");
    let (a, b) = (contents(&folder.path().join("a")), contents(&folder.path().join("b")));
    assert!(a == b, "every file is the same again");
}

#[test]
fn opened_pictures_are_refined_towards_what_the_classifier_sees_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    refine(folder.path(), "made", &[]);
    let args = ["refine", "--input", "made/after", "--iterations", "1", "--device", "cpu", "--out", "mine"];
    let output = lapidary(folder.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = std::fs::read_to_string(folder.path().join("mine/session.json")).unwrap();
    let recipe: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(recipe["inputs"][0], "../made/after/000003.png");
    assert_eq!(recipe["samples"][0]["name"], "000003.png");
    let again = lapidary(folder.path(), &["refine", "--session", "mine/session.json", "--out", "again"]);
    assert!(again.status.success(), "{}", stderr(&again));
    let after = |out: &str| array::<f32>(&folder.path().join(out).join("result.npz"), "after").1;
    assert!(after("mine") == after("again"));
}

#[test]
fn generating_writes_pictures_and_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["generate", "--seeds", "17", "--device", "cpu", "--out", "out"];
    let output = lapidary(folder.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let archive = folder.path().join("out/samples.npz");
    let (shape, levels) = array::<u8>(&archive, "arr_0");
    assert_eq!(shape, [1, 32, 32, 3]);
    assert_eq!(array::<i64>(&archive, "arr_1").1, [5]);
    assert_eq!(array::<f32>(&archive, "images").0, [1, 3, 32, 32]);
    let picture = image::open(folder.path().join("out/images/000017.png")).unwrap().to_rgb8();
    assert_eq!(picture.into_raw(), levels);
    assert!(folder.path().join("out/contact_sheet.png").exists() && folder.path().join("out/session.json").exists());
}

#[test]
fn wrong_usage_ends_with_2_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let check = |args: &[&str], expected| check_refused(folder.path(), &[&["refine"][..], args].concat(), 2, expected);
    check(&["--radius", "0"], "Radius is 0, but must be a number from");
    check(&["--radius", "NaN"], "Radius is NaN, but must be a number from");
    check(&["--step-size", "-0.3"], "Step size is -0.3, but must be a number from");
    check(&["--classes", "stopp"], "\"stopp\" is no class of gtsrb12-cm, which knows 0 speed limit 30");
    check(&["--objective", "beauty"], "--objective is \"beauty\", but must be one of target-logit, bce, ce, ce-bce");
    check(&["--seeds", "9..5"], "--seeds is \"9..5\", but must be a range such as 0..64");
    check(&["--polish"], "--polish");
    check_refused(folder.path(), &["refin"], 2, "neither a command nor a file");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn bad_files_end_with_1_and_one_message() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.pt"), "<!DOCTYPE html><html><body>Sign in</body></html>").unwrap();
    std::fs::write(folder.path().join("poem.png"), "Shall I compare thee to a summer's day?").unwrap();
    std::fs::write(folder.path().join("way"), "a file").unwrap();
    let check = |args: &[&str], expected| {
        let all = [&["refine", "--seeds", "1", "--device", "cpu", "--out", "out"][..], args].concat();
        check_refused(folder.path(), &all, 1, expected);
    };
    check(&["--classifier", "no/such.pt"], "no file is there");
    check(&["--classifier", "page.pt"], "this is a web page (HTML), but a checkpoint is");
    check(&["--generator", "gtsrb12-joint"], "is a classifier, but a generator is needed");
    check(&["--session", "poem.png"], "this is no Lapidary session");
    let check_out =
        |out, expected| check_refused(folder.path(), &["refine", "--seeds", "1", "--out", out], 1, expected);
    check_out("way", "a file is in the way of the folder");
    check_out("way/deeper", "the folder for the results cannot be written");
    let poem = ["refine", "--input", "poem.png", "--device", "cpu", "--out", "out"];
    check_refused(folder.path(), &poem, 1, "the picture cannot be read");
}

#[test]
fn a_dry_run_tells_everything_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["refine", "--seeds", "0..64", "--iterations", "5", "--classes", "stop", "--dry-run", "--out", "out"];
    let output = lapidary(folder.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for part in
        ["gtsrb12-cm", "gtsrb12-joint", "SHA-256 1bb5281f", "0..64 (64 pictures)", "stop ×64", "ε = 3", "unreachable"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn help_is_on_the_output_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["--help"][..], &["refine", "--help"], &["generate", "--help"], &["--version"]] {
        let output = lapidary(folder.path(), args);
        assert!(output.status.success() && stderr(&output).is_empty(), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).contains("lapidary"), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_display_the_job_is_done_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["--samples", "1", "--iterations", "1", "--device", "cpu"])
        .current_dir(folder.path())
        .env("LAPIDARY_HOME", home())
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert!(output.status.success() && text.starts_with("there is no display"), "{text}");
    assert!(folder.path().join("lapidary-out/contact_sheet.png").exists());
}
