//! Folders of results: nothing of the user's is destroyed, nothing that was computed is lost, any number of pictures.

use std::path::{Path, PathBuf};
use std::process::Output;

use super::{array, check_refused, contents, lapidary, recipe, rows, run, stderr, stdout, write_samples};

const ONE: [&str; 6] = ["refine", "--seeds", "3", "--iterations", "1", "--out"];

/// The files of a folder but for those that are about the folder itself.
fn files(folder: &Path) -> Vec<String> {
    let names = contents(folder).into_keys().map(|path| path.display().to_string());
    names.filter(|name| !name.starts_with(".lapidary")).collect()
}

/// `n` pictures of the demo's size, each other than the next.
fn samples(path: &Path, n: u64) {
    let levels: Vec<u8> = (0..n * 3072).map(|i| (i * 7 + i / 3072 * 31) as u8).collect();
    let labels: Vec<i64> = (0..n).map(|i| (i % 12) as i64).collect();
    write_samples(path, [n, 32, 32, 3], &levels, Some(&labels));
}

#[test]
fn pictures_of_others_and_inputs_are_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::create_dir_all(at("d/images")).unwrap();
    image::RgbImage::new(32, 32).save(at("d/images/000123.png")).unwrap();
    let before = contents(folder.path());
    let other = "the folder holds other files where the results would go: choose another --out";
    check_refused(folder.path(), &["generate", "--seeds", "0..2", "--out", "d"], 1, other);
    check_refused(folder.path(), &["generate", "--seeds", "0..2", "--out", "d", "--overwrite", "--dry-run"], 1, other);
    let own = "this input lies where the results would be written";
    check_refused(folder.path(), &["edit", "--task", "denoise", "--input", "d/images", "--out", "d"], 1, own);
    assert!(contents(folder.path()) == before);
    run(folder.path(), &[&ONE[..], &["o"]].concat());
    let before = contents(folder.path());
    let again = ["refine", "--input", "o/before", "--out", "o", "--overwrite"];
    check_refused(folder.path(), &again, 1, own);
    let session = ["refine", "--session", "o/session.json", "--out", "o", "--overwrite"];
    check_refused(folder.path(), &session, 1, own);
    assert!(contents(folder.path()) == before);
    // Nor where the results of a stopped command would go.
    std::fs::create_dir(at("o/unfinished")).unwrap();
    std::fs::write(at("o/unfinished/result.npz"), "mine").unwrap();
    for more in [&["--overwrite"][..], &["--overwrite", "--dry-run"]] {
        check_refused(folder.path(), &[&ONE[..], &["o"], more].concat(), 1, other);
    }
    assert_eq!(std::fs::read_to_string(at("o/unfinished/result.npz")).unwrap(), "mine");
}

#[test]
fn earlier_results_stay_and_no_two_are_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    samples(&at("two.npz"), 2);
    run(folder.path(), &[&ONE[..], &["o"]].concat());
    let before = contents(&at("o"));
    let other = ["refine", "--input", "two.npz", "--iterations", "1", "--out", "o"];
    let earlier = "the folder holds an earlier result: choose another --out, or replace it with --overwrite";
    check_refused(folder.path(), &other, 1, earlier);
    assert!(contents(&at("o")) == before);
    std::fs::write(at("o/notes.txt"), "mine").unwrap();
    run(folder.path(), &[&other[..], &["--overwrite"]].concat());
    let expected = ["contact_sheet.png", "notes.txt", "refined.csv", "samples.npz", "session.json"];
    assert_eq!(files(&at("o")), expected, "nothing is left of the first one");
    let done = run(folder.path(), &[&other[..], &["--resume"]].concat());
    assert!(stderr(&done).contains("nothing is left to do: the results are in o"), "{}", stderr(&done));
    let dry = run(folder.path(), &[&other[..], &["--resume", "--dry-run"]].concat());
    assert_eq!((stderr(&dry), stdout(&dry)), (stderr(&done), String::new()));
    let quiet = run(folder.path(), &[&other[..], &["--resume", "--quiet"]].concat());
    assert!(!stderr(&quiet).contains("nothing is left") && stdout(&quiet).is_empty(), "{}", stderr(&quiet));
    // Of a folder that is not there nothing is begun anew.
    let dry = |out: &str| stdout(&run(folder.path(), &[&ONE[..], &[out, "--resume", "--dry-run"]].concat()));
    assert!(dry("nowhere").contains("resume     nothing is there yet to go on with"), "{}", dry("nowhere"));
    assert!(!at("nowhere").exists());

    // The default folder is no choice of the user's: it gets a number.
    let default = ["edit", "--task", "denoise", "--input", "o/contact_sheet.png"];
    let output = run(folder.path(), &default);
    assert!(
        stderr(&output).contains("cropped") && !stderr(&output).contains("A refinement step"),
        "it only classifies"
    );
    let made = ["refine", "--input", "lapidary-out/samples.npz", "--iterations", "1"];
    let output = run(folder.path(), &made);
    assert!(stderr(&output).contains("lapidary-out holds earlier results, so these go to lapidary-out-2"));
    assert!(at("lapidary-out/images").exists() && at("lapidary-out-2/refined.csv").exists());
}

#[test]
fn an_archive_of_results_that_was_changed_is_taken_with_a_warning_when_quiet_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "1000..1003", "--out", "made"]);
    samples(&at("real.npz"), 6);
    let commands = [
        &["refine", "--input", "made", "--iterations", "1", "--quiet", "--out"][..],
        &["edit", "--task", "denoise", "--input", "made", "--quiet", "--out"],
        &["evaluate", "made", "--reference", "real.npz", "--quiet", "--out"],
    ];
    let said = |round: &str| {
        let each = commands.iter().enumerate().map(|(place, args)| {
            let out = format!("{round}{place}{}", if place == 2 { ".csv" } else { "" });
            stderr(&run(folder.path(), &[args, &[out.as_str()][..]].concat()))
        });
        each.collect::<Vec<_>>()
    };
    for text in said("as-written-") {
        assert!(!text.contains("was changed"), "{text}");
    }
    samples(&at("made/samples.npz"), 5);
    for text in said("changed-") {
        let warning = "warning: samples.npz in made was changed since Lapidary wrote it, and the pictures that it holds now are taken";
        assert!(text.contains(warning), "{text}");
    }
    assert_eq!(rows(&at("changed-0/refined.csv")).len(), 5, "what is there is taken");
}

#[test]
fn what_is_ascended_has_one_sign_on_the_screen_and_in_the_table() {
    let folder = tempfile::tempdir().unwrap();
    samples(&folder.path().join("two.npz"), 2);
    let means = |args: &[&str], out: &str, formula: &str| {
        let all = [&["refine", "--input", "two.npz", "--iterations", "1", "--objective", "ce", "--out", out], args];
        let said = stdout(&run(folder.path(), &all.concat()));
        let shown = said.lines().find_map(|line| line.strip_prefix(&format!("mean objective {formula} ")));
        let shown: Vec<f64> =
            shown.unwrap_or_else(|| panic!("{said}")).split(" → ").map(|mean| mean.parse().unwrap()).collect();
        let table = rows(&folder.path().join(out).join("refined.csv"));
        for (column, shown) in [3, 4].into_iter().zip(&shown) {
            let values = table.iter().map(|row| row[column].parse::<f64>().unwrap());
            let mean = values.sum::<f64>() / table.len() as f64;
            assert!((mean - shown).abs() < 1e-4, "{mean} in the table, {shown} on the screen");
        }
        shown
    };
    let towards = means(&["--target", "label"], "towards", "log softmax_y");
    let away = means(&["--target", "untargeted"], "away", "−(log softmax_y)");
    assert!(towards[0] < 0.0 && away[0] > 0.0, "{towards:?} {away:?}");
    assert!(towards[0] < towards[1] && away[0] < away[1], "both are ascended: {towards:?} {away:?}");
}

#[test]
fn what_fails_leaves_no_folder_and_what_is_at_work_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::write(at("poem.png"), "Shall I compare thee to a summer's day?").unwrap();
    let fails = lapidary(folder.path(), &["refine", "--input", "poem.png", "--device", "cpu", "--out", "deep/er"]);
    assert_eq!(fails.status.code(), Some(1), "{}", stderr(&fails));
    assert!(!at("deep").exists());
    std::fs::create_dir(at("o")).unwrap();
    let lock = std::fs::File::create(at("o/.lapidary.lock")).unwrap();
    lock.lock().unwrap();
    check_refused(folder.path(), &[&ONE[..], &["o"]].concat(), 75, "another Lapidary works in this folder");
    drop(lock);
    run(folder.path(), &[&ONE[..], &["o"]].concat());
}

#[test]
fn more_pictures_than_are_held_at_once_are_made_and_refined_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "0..257", "--out", "made"]);
    assert_eq!(files(&at("made")), ["contact_sheet.png", "samples.npz", "session.json"]);
    assert_eq!(array::<f32>(&at("made/samples.npz"), "images").0, [257, 3, 32, 32]);
    assert_eq!(array::<u64>(&at("made/samples.npz"), "seeds").1, (0..257).collect::<Vec<u64>>());
    assert_eq!(recipe(&at("made/session.json"))["count"], 257);
    let levels = |out: &str| array::<u8>(&at(out).join("samples.npz"), "arr_0").1;
    run(folder.path(), &["generate", "--seeds", "250..257", "--out", "few"]);
    assert!(levels("few") == levels("made")[250 * 3072..], "picture 256 is the same in any number");
    let dry = run(folder.path(), &["generate", "--session", "made/session.json", "--dry-run"]);
    assert!(stdout(&dry).contains("0..257 (257 pictures)"), "{}", stdout(&dry));

    run(folder.path(), &["refine", "--seeds", "0..257", "--iterations", "1", "--out", "refined"]);
    let table = rows(&at("refined/refined.csv"));
    assert_eq!(table.len(), 257);
    assert_eq!([&table[256][0], &table[256][1], &table[256][14]], ["256", "4", "256"]);
    assert_eq!(array::<u8>(&at("refined/samples.npz"), "arr_0").0, [257, 32, 32, 3]);
    let too_many = ["generate", "--seeds", "0..20000000"];
    check_refused(folder.path(), &too_many, 2, "which are 20000000 pictures, but one run makes at most 10000000");
}

#[test]
fn tables_say_which_picture_and_which_classes_a_row_is_about() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    samples(&at("two.npz"), 2);
    run(folder.path(), &["refine", "--input", "two.npz", "--iterations", "1", "--out", "archive"]);
    let row = &rows(&at("archive/refined.csv"))[1];
    assert_eq!([&row[11], &row[12], &row[13]], ["two.npz #1", "speed limit 70", "speed limit 70"]);
    image::RgbImage::from_pixel(32, 32, image::Rgb([200, 30, 30])).save(at("red.png")).unwrap();
    run(folder.path(), &["refine", "--input", "red.png", "--classes", "stop", "--iterations", "1", "--out", "file"]);
    let row = &rows(&at("file/trace.csv"))[1];
    assert_eq!([&row[15], &row[16]], ["red.png", "stop"]);
}

#[test]
fn what_is_repeated_is_compared_with_what_it_was_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    image::RgbImage::from_pixel(32, 32, image::Rgb([200, 30, 30])).save(at("a.png")).unwrap();
    run(folder.path(), &["refine", "--input", "a.png", "--iterations", "1", "--out", "o"]);
    let again = |out| run(folder.path(), &["refine", "--session", "o/session.json", "--out", out]);
    assert!(!stderr(&again("same")).contains("warning"));
    image::RgbImage::from_pixel(32, 32, image::Rgb([30, 30, 200])).save(at("a.png")).unwrap();
    let text = stderr(&again("other"));
    assert!(text.contains("a.png changed since the session was made, so results will differ"), "{text}");
    // A label that is written into the list of pictures is used, where nothing else decides.
    let mut edited = recipe(&at("o/session.json"));
    edited["samples"][0]["label"] = 9.into();
    std::fs::write(at("o/edited.json"), edited.to_string()).unwrap();
    run(folder.path(), &["refine", "--session", "o/edited.json", "--out", "label"]);
    assert_eq!(array::<i64>(&at("label/result.npz"), "arr_1").1, [9]);
    // Where the settings decide, it is refused.
    run(folder.path(), &[&ONE[..], &["seed"]].concat());
    let mut edited = recipe(&at("seed/session.json"));
    edited["samples"][0]["label"] = 9.into();
    std::fs::write(at("seed/edited.json"), edited.to_string()).unwrap();
    let args = ["refine", "--session", "seed/edited.json", "--out", "n"];
    check_refused(folder.path(), &args, 1, "the session lists seed 3 with class 9, but its settings give seed 3");
    // Whatever the command is.
    let expected = "the session lists seed 3 with class 9, but its settings give seed 3";
    for command in ["generate", "search"] {
        check_refused(folder.path(), &[&[command], &args[1..]].concat(), 1, expected);
    }
    edited["samples"] = serde_json::json!([]);
    std::fs::write(at("seed/edited.json"), edited.to_string()).unwrap();
    let dry = run(folder.path(), &["generate", "--session", "seed/edited.json", "--dry-run"]);
    assert!(
        stdout(&dry).contains("the session's list of samples is empty, so its settings decide"),
        "{}",
        stdout(&dry)
    );
}

#[test]
fn what_was_made_is_refined_as_it_was_made_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "3..5", "--out", "made"]);
    let output = run(folder.path(), &["refine", "--input", "made", "--iterations", "1", "--out", "o"]);
    assert!(stderr(&output).contains("made holds results of Lapidary"), "{}", stderr(&output));
    let table = rows(&at("o/refined.csv"));
    assert_eq!(table.len(), 2, "no contact sheet");
    run(folder.path(), &["refine", "--seeds", "3..5", "--iterations", "1", "--out", "same"]);
    let logits = |out: &str, name: &str| array::<f32>(&at(out), name).1;
    assert_eq!(array::<i64>(&at("o/samples.npz"), "arr_1").1, [3, 4], "with their classes");
    let after: f32 = table[0][4].parse().unwrap();
    let wanted = logits("same/result.npz", "logits_after")[3];
    assert!((after - wanted).abs() < 1e-4, "{after} {wanted}: floats, not levels");
}

#[test]
fn a_limit_of_memory_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("large.npz");
    write_samples(&path, [1, 512, 512, 3], &vec![0_u8; 3 * 512 * 512], None);
    let args = ["refine", "--input", "large.npz", "--memory", "64", "--device", "cpu"];
    check_refused(folder.path(), &args, 1, "but 64 MiB are allowed");
}

#[cfg(unix)]
#[test]
fn whoever_asks_it_to_end_learns_so_from_the_exit_code_and_loses_nothing() {
    use std::io::{BufRead as _, BufReader, Read as _};
    let folder = tempfile::tempdir().unwrap();
    let mut before = 0;
    // What goes on is stopped sooner.
    for (signal, code, until) in [("TERM", 143, "A refinement step"), ("INT", 130, "A sampling step")] {
        let mut child = super::command(folder.path())
            .args(["refine", "--seeds", "3", "--iterations", "1000000", "--device", "cpu", "--out", "o", "--resume"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (mut errors, mut text) = (BufReader::new(child.stderr.take().unwrap()), String::new());
        while !text.contains(until) {
            assert!(errors.read_line(&mut text).unwrap() > 0, "it runs: {text}");
        }
        std::thread::sleep(std::time::Duration::from_millis(if before == 0 { 1000 } else { 0 }));
        let sent = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        // `timeout` sends its signal to the program and to its group: that is one wish, and ends nothing at once.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let _may_have_ended = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).output();
        errors.read_to_string(&mut text).unwrap();
        let output: Output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!array::<f32>(&folder.path().join("o/result.npz"), "after").1.is_empty());
        let recipe = recipe(&folder.path().join("o/session.json"));
        let iterations = recipe["runs"][0]["last_iteration"].as_u64().unwrap();
        if before == 0 {
            assert!(text.contains("of 1000000 iterations; these are written"), "{text}");
            assert!(stdout(&output).contains("written to o"));
        } else if !text.contains("these are written") {
            let stays = format!("the results of {before} iterations from before are in o and stay");
            let says = text.contains(&stays) || text.contains("stopped before");
            assert!(says && iterations == before, "{iterations} of {before}: {text}");
        }
        assert!(iterations >= before, "{iterations} of {before}: {text}");
        before = iterations;
    }
}

#[cfg(unix)]
#[test]
fn a_command_that_is_stopped_leaves_the_results_that_it_was_to_replace() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &[&ONE[..], &["o"]].concat());
    let before = contents(&at("o"));
    let mut child = super::command(folder.path())
        .args(["refine", "--seeds", "3", "--iterations", "1000000", "--device", "cpu", "--out", "o", "--overwrite"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !at("o/parts").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it runs");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert!(
        std::process::Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success()
    );
    let output: Output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stdout(&output).contains("written to o/unfinished"), "{}", stdout(&output));
    assert!(stderr(&output).contains("the earlier results in o stay until all is done"), "{}", stderr(&output));
    let after = contents(&at("o"));
    let index = Path::new(".lapidary.json");
    assert!(before.iter().filter(|(name, _)| *name != index).all(|(name, bytes)| after[name] == *bytes));
    assert!(!array::<f32>(&at("o/unfinished/result.npz"), "after").1.is_empty());
    // Another one takes the place of both, and a search leaves no folder of pictures behind.
    run(folder.path(), &["search", "--seeds", "0..2", "--grid", "4", "--out", "o", "--overwrite"]);
    let entries = std::fs::read_dir(at("o")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    assert_eq!(names, [".lapidary.json", "search.csv"]);
}
