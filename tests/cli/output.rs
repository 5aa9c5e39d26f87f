//! What is said and where: outputs and disks that take nothing, words that mislead, names that a terminal would obey.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{check_refused, command, lapidary, recipe, run, stderr, stdout, write_samples};

/// The program at the end of a line for the shell, as `$L`.
#[cfg(unix)]
fn shell(folder: &Path, line: &str) -> Output {
    let program = command(folder);
    let mut shell = Command::new("bash");
    shell.current_dir(folder).env("L", program.get_program());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.args(["-c", line]).output().expect("bash starts")
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_told_and_one_that_nobody_reads_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let told = ["generate --dry-run", "refine --dry-run", "edit --task denoise --input a.png --dry-run", "--help"];
    image::RgbImage::new(32, 32).save(folder.path().join("a.png")).unwrap();
    for args in told.into_iter().chain(["search --dry-run", "inspect gtsrb12-cm", "inspect gtsrb12-cm --json"]) {
        let full = shell(folder.path(), &format!("$L {args} > /dev/full"));
        assert_eq!(full.status.code(), Some(1), "{args}: {}", stderr(&full));
        assert!(stderr(&full).starts_with("error: what was to be said cannot be written"), "{}", stderr(&full));
        // The reader has gone before the first word.
        let pipe = shell(folder.path(), &format!("set -o pipefail; (sleep 0.1; $L {args}) | true"));
        assert_eq!((pipe.status.code(), stderr(&pipe).as_str()), (Some(0), ""), "{args}");
    }
}

#[cfg(unix)]
#[test]
fn a_limit_on_the_length_of_files_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The models are unpacked first, which needs longer files.
    run(folder.path(), &["generate", "--seeds", "0", "--out", "before"]);
    let limited = shell(
        folder.path(),
        "ulimit -f 4; $L generate --seeds 0..2 --device cpu --out o 2>&1 | cat; exit ${PIPESTATUS[0]}",
    );
    assert_eq!(limited.status.code(), Some(1), "{}", stdout(&limited));
    assert!(stdout(&limited).contains("error: the file cannot be written: free some space"), "{}", stdout(&limited));
    assert!(!folder.path().join("o").exists(), "nothing half");
}

#[cfg(unix)]
#[test]
fn features_that_do_not_fit_cost_no_numbers_and_leave_nothing_half() {
    let folder = tempfile::tempdir().unwrap();
    for (name, step) in [("a.npz", 7), ("real.npz", 11)] {
        let levels: Vec<u8> = (0..160 * 3072).map(|i: usize| (i * step + i / 3072 * 31 + i * i % 251) as u8).collect();
        write_samples(&folder.path().join(name), [160, 32, 32, 3], &levels, None);
    }
    // The models are unpacked first, which needs longer files.
    run(folder.path(), &["evaluate", "a.npz", "--reference", "real.npz", "--out", "whole.csv"]);
    let line = "$L evaluate a.npz --reference real.npz --device cpu --save-features kept --out t.csv";
    let limited = shell(folder.path(), &format!("ulimit -f 32; {line} 2>&1 | cat; exit ${{PIPESTATUS[0]}}"));
    let text = stdout(&limited);
    assert_eq!(limited.status.code(), Some(1), "{text}");
    assert!(text.contains("a.npz cannot be written, and the numbers are computed without it"), "{text}");
    assert!(text.contains("reference.npz cannot be written"), "one does not keep the other back: {text}");
    assert!(text.contains("Fréchet distance ↓"), "the table is printed: {text}");
    assert!(text.contains("error: the numbers are there, but not all that was seen could be kept"), "{text}");
    let [table, whole] = ["t.csv", "whole.csv"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
    assert_eq!(table, whole);
    assert_eq!(std::fs::read_dir(folder.path().join("kept")).unwrap().count(), 0, "nothing half");
}

#[cfg(unix)]
#[test]
fn of_results_that_do_not_fit_what_fits_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(folder.path(), &["refine", "--seeds", "0", "--iterations", "1", "--out", "before"]);
    let line = "$L refine --seeds 0..2 --iterations 1 --device cpu --out o";
    let limited = shell(folder.path(), &format!("ulimit -f 20; {line} 2>&1 | cat; exit ${{PIPESTATUS[0]}}"));
    let text = stdout(&limited);
    assert_eq!(limited.status.code(), Some(1), "{text}");
    assert!(text.contains("the results of 1 iteration cannot all be written: kept in o are after/"), "{text}");
    assert!(text.contains("missing are result.npz") && text.contains("with --resume makes them whole"), "{text}");
    assert!(at("o/after/000001.png").exists() && !at("o/result.npz").exists());
    let whole = shell(folder.path(), &format!("{line} --resume"));
    assert!(whole.status.success() && at("o/result.npz").exists(), "{}", stderr(&whole));
    // Of pictures that are made, so many as fit.
    let line = "$L generate --seeds 0..8 --device cpu --out g";
    let limited = shell(folder.path(), &format!("ulimit -f 40; {line} 2>&1 | cat; exit ${{PIPESTATUS[0]}}"));
    let text = stdout(&limited);
    assert_eq!(limited.status.code(), Some(1), "{text}");
    assert!(text.contains("2 of 8 pictures are done and kept in g/parts"), "{text}");
    let whole = shell(folder.path(), &format!("{line} --resume"));
    assert!(whole.status.success(), "{}", stderr(&whole));
    run(folder.path(), &["generate", "--seeds", "0..8", "--out", "same"]);
    assert!(super::contents(&at("g/images")) == super::contents(&at("same/images")));
}

#[cfg(target_os = "linux")]
#[test]
fn folders_that_can_hold_nothing_are_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = |out, expected| check_refused(folder.path(), &["generate", "--seeds", "0", "--out", out], 1, expected);
    out("/proc/x", "it is a view of the system and no disk: choose another --out");
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    out("link", "a link that leads nowhere is in the way of the folder for the results");
    out("link/deeper", "cannot be written");
}

#[test]
fn a_word_behind_a_switch_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let check = |args: &[&str], expected| check_refused(folder.path(), &[&["refine"][..], args].concat(), 2, expected);
    check(&["--no-normalise", "true"], "--no-normalise is on when it is given and takes no \"true\" behind it");
    check(&["--early-stop", "false"], "leave the word out, or write --early-stop=false");
    check(&["--quiet", "yes", "--dry-run"], "--quiet is on when it is given");
    std::fs::write(folder.path().join("true"), "a file of this name").unwrap();
    check_refused(folder.path(), &["refine", "--quiet", "true"], 1, "this is a text file, but no picture");
}

#[test]
fn a_picture_that_is_left_out_is_named_when_quiet_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (place, name) in ["in", "real"].into_iter().enumerate() {
        std::fs::create_dir(path.join(name)).unwrap();
        for i in 0..8_u8 {
            let level = 20 * i + 10 * place as u8;
            let picture = image::RgbImage::from_fn(32, 32, |x, _| image::Rgb([level, x as u8, 255 - level]));
            picture.save(path.join(name).join(format!("{i}.png"))).unwrap();
        }
    }
    std::fs::write(path.join("in/broken.png"), "no picture").unwrap();
    let said = "broken.png is left out: this is a text file, but no picture";
    for args in [
        &["refine", "--input", "in", "--iterations", "1", "--out", "r"][..],
        &["refine", "--input", "in", "--iterations", "1", "--out", "d", "--dry-run"],
        &["edit", "--task", "denoise", "--input", "in", "--out", "e"],
        &["evaluate", "in", "--reference", "real", "--out", "t.json"],
    ] {
        let output = run(path, &[args, &["--quiet"]].concat());
        let text = stderr(&output);
        let warnings: Vec<&str> = text.lines().filter(|line| line.contains(said)).collect();
        assert!(warnings.len() == 1 && warnings[0].starts_with("warning: "), "{args:?}: {text}");
        assert!(!text.contains("note: "), "{args:?}: {text}");
    }
    let table: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path.join("t.json")).unwrap()).unwrap();
    assert_eq!(table["sets"][0]["left_out"], serde_json::json!(["broken.png"]));
    // What was asked for and not done.
    let several = ["edit", "--task", "denoise", "--input", "in", "--samples", "5", "--out", "s", "--quiet"];
    let output = run(path, &several);
    assert!(stderr(&output).contains("warning: of several pictures each gives one result"), "{}", stderr(&output));
}

#[test]
fn names_are_shown_and_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a\u{1b}[31m\u{7}.png";
    std::fs::write(folder.path().join(name), "no picture").unwrap();
    let output = lapidary(folder.path(), &["refine", "--input", name, "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("a\\u{1b}[31m\\u{7}.png"), "{}", stderr(&output));
    assert!(!stderr(&output).contains('\u{1b}'));
}

#[test]
fn what_an_editor_did_to_a_recipe_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(folder.path(), &["generate", "--seeds", "3", "--out", "o"]);
    let text = std::fs::read_to_string(at("o/session.json")).unwrap();
    std::fs::write(at("marked.json"), format!("\u{feff}{text}")).unwrap();
    let dry = run(folder.path(), &["generate", "--session", "marked.json", "--dry-run"]);
    assert!(stdout(&dry).contains("3..4 (1 picture)"), "{}", stdout(&dry));
    let check = |name: &str, bytes: &[u8], expected| {
        std::fs::write(at(name), bytes).unwrap();
        check_refused(folder.path(), &["generate", "--session", name, "--dry-run"], 1, expected);
    };
    let comma = text.replacen(",\n", ",,\n", 1);
    check("comma.json", comma.as_bytes(), "it is no valid JSON in line 2, column 32: correct it there");
    let latin = [b"{\"name\": \"caf\xe9\", ".as_slice(), &text.as_bytes()[1..]].concat();
    check("latin.json", &latin, "it is no UTF-8 text in line 1, column 14");
    let radius = |value: &str| text.replacen("\"eps\": 3.0", &format!("\"eps\": {value}"), 1);
    check("text.json", radius("\"8/255\"").as_bytes(), "(numbers stand without quotation marks): correct it there");
    let word = text.replacen("\"norm\": \"l2\"", "\"norm\": \"l3\"", 1);
    check("word.json", word.as_bytes(), "it says \"l3\" in line");
    check("word.json", word.as_bytes(), "where one of l2, linf");
    let count = text.replacen("\"samples\": 1,", "\"samples\": -1,", 1);
    check("count.json", count.as_bytes(), "it says -1 in line");
    check("count.json", count.as_bytes(), "where a whole number from 0 to 4294967295 belongs");
    check("range.json", radius("-3").as_bytes(), "for Radius is -3, but must be a number from");
    assert_eq!(recipe(&at("o/session.json"))["settings"]["generate"]["first_seed"], 3);
}

#[test]
fn what_is_no_number_among_pictures_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut pixels = vec![0.5_f32; 3 * 32 * 32 * 3];
    (pixels[3072 + 5], pixels[3072 + 9]) = (f32::NAN, f32::INFINITY);
    write_samples(&folder.path().join("nan.npz"), [3, 32, 32, 3], &pixels, None);
    let args = ["refine", "--input", "nan.npz", "--iterations", "1", "--batch", "1", "--device", "cpu", "--out", "o"];
    check_refused(folder.path(), &args, 1, "picture 1 of arr_0 has 2 values of NaN or infinity");
}

#[test]
fn going_on_with_another_classifier_is_refused_and_nothing_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = |name| lapidary::zoo::resolve(name, super::home()).unwrap();
    let joint = model("gtsrb12-joint");
    std::fs::copy(&joint.weights, at("mine.safetensors")).unwrap();
    let manifest = lapidary::zoo::Manifest { file: "mine.safetensors".to_owned(), sha256: None, ..joint.manifest };
    std::fs::write(at("mine.toml"), toml::to_string(&manifest).unwrap()).unwrap();
    write_samples(&at("in.npz"), [6, 32, 32, 3], &vec![99_u8; 6 * 3072], None);
    let args = ["refine", "--input", "in.npz", "--classifier", "mine.toml", "--iterations", "40", "--batch", "1"];
    let all = [&args[..], &["--device", "cpu", "--out", "o", "--resume"]].concat();
    let mut child = command(folder.path()).args(&all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !at("o/parts/00000001.npz").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it runs");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The same weights but for what they are called.
    let bytes = std::fs::read(at("mine.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let other = [("epoch".to_owned(), "3".to_owned())].into_iter().collect();
    safetensors::serialize_to_file(file.tensors(), Some(other), &at("mine.safetensors")).unwrap();
    let output = lapidary(folder.path(), &all);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: --resume goes on with the same command only") && !text.contains("kept"), "{text}");
}
