//! Measurements that several runs share: the tables and files of all of them are those of one run.

use std::path::Path;
use std::process::Output;
#[cfg(unix)]
use std::process::Stdio;

#[cfg(unix)]
use super::command;
use super::{check_refused, contents, lapidary, recipe, run, stderr, stdout, write_samples};

/// `n` pictures of the demo's size, each other than the next, and other ones for another `seed`; the demo's classes in turn.
fn samples(path: &Path, n: u64, seed: u64) {
    let levels: Vec<u8> =
        (0..n * 3072).map(|i| (i * (7 + seed) + i / 3072 * 31 + i / 96 * seed + i * i % 251) as u8).collect();
    let labels: Vec<i64> = (0..n as i64).map(|i| i % 12).collect();
    write_samples(path, [n, 32, 32, 3], &levels, Some(&labels));
}

/// Every shard of `n`; those of `idle` have nothing to do.
#[track_caller]
fn shards(folder: &Path, args: &[&str], n: u32, idle: std::ops::RangeInclusive<u32>) {
    for k in 1..=n {
        let shard = format!("{k}/{n}");
        let output = run(folder, &[args, &["--out", "t.json", "--shard", &shard]].concat());
        let is_idle = stderr(&output).contains(&format!("nothing is left for shard {shard}"));
        assert_eq!(is_idle, idle.contains(&k), "{}", stderr(&output));
        let written = stdout(&output).contains(&format!("written to t.json-{k}-of-{n}: parts, evaluation.json"));
        assert_eq!(written, !is_idle, "{}", stdout(&output));
    }
}

fn folders(order: &[u32], n: u32) -> Vec<String> {
    order.iter().map(|k| format!("t.json-{k}-of-{n}")).collect()
}

fn merge(folder: &Path, shards: &[String], more: &[&str]) -> Output {
    let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
    lapidary(folder, &[&["merge"], &shards[..], more].concat())
}

/// Where everything goes that a measurement can write.
const ALL: [&str; 10] = [
    "--out",
    "OUT/t.json",
    "--out",
    "OUT/t.csv",
    "--out",
    "OUT/t.tex",
    "--save-features",
    "OUT/seen",
    "--save-statistics",
    "OUT/s.npz",
];

fn all_in(out: &str) -> Vec<String> {
    ALL.iter().map(|word| word.replace("OUT", out)).collect()
}

/// Every file, and what is printed, of one run and of shards that are put together in this order.
#[track_caller]
fn check_same(folder: &Path, args: &[&str], shards: &[String]) {
    let run_to = |out: &str, run: &dyn Fn(&[&str]) -> Output| {
        std::fs::create_dir(folder.join(out)).expect("a new folder");
        let files = all_in(out);
        let output = run(&files.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let whole = run_to("whole", &|files| run(folder, &[args, files].concat()));
    let merged = run_to("merged", &|files| merge(folder, shards, files));
    assert_eq!(merged, whole);
    let (merged, whole) = (contents(&folder.join("merged")), contents(&folder.join("whole")));
    assert_eq!(merged.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(merged[name] == *bytes, "{} differs", name.display());
    }
    for out in ["whole", "merged"] {
        std::fs::remove_dir_all(folder.join(out)).expect("it is ours");
    }
}

#[test]
fn tables_and_features_of_shards_in_any_order_are_those_of_one_run_also_of_more_shards_than_batches() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    samples(&path.join("a.npz"), 300, 1);
    samples(&path.join("b.npz"), 300, 4);
    samples(&path.join("real.npz"), 270, 2);
    // Two batches of pairs, of the real pictures, and of either set.
    let args = ["evaluate", "a.npz", "b.npz", "--pairs", "--reference", "real.npz"];
    shards(path, &args, 3, 4..=4);
    check_same(path, &args, &folders(&[2, 3, 1], 3));
    shards(path, &args, 11, 9..=11);
    check_same(path, &args, &folders(&[8, 1, 7, 2, 6, 3, 5, 4], 11));
    shards(path, &args, 1, 2..=2);
    check_same(path, &args, &folders(&[1], 1));
    let table = merge(path, &folders(&[1], 1), &["--out", "t.json", "--quiet"]);
    assert!(table.status.success(), "{}", stderr(&table));
    // The table is what was asked for, and the help says so.
    assert!(stdout(&table).contains("Fréchet distance"), "{}", stdout(&table));
    let help = stdout(&lapidary(path, &["merge", "--help"]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("No progress bar and no summary; of shards of evaluate the table, and warnings"), "{help}");
    let table = recipe(&path.join("t.json"));
    let pairs = &table["sets"][1]["pairs"];
    assert_eq!((&pairs["pairs"], &table["reference"]["pictures"]), (&300.into(), &270.into()));
    // The same is left as it is, and another one is not replaced.
    let again = merge(path, &folders(&[1], 1), &["--out", "t.json", "--resume"]);
    assert!(again.status.success(), "{}", stderr(&again));
    check_refused(path, &["merge", "t.json-1-of-1", "--out", "t.json"], 2, "t.json is there already");
    std::fs::write(path.join("mine.csv"), "a,b\n").unwrap();
    let mine = ["merge", "t.json-1-of-1", "--out", "mine.csv", "--overwrite"];
    check_refused(path, &mine, 2, "mine.csv is no table of lapidary evaluate");
    // What was seen before has nothing to share.
    run(path, &["evaluate", "a.npz", "--reference", "real.npz", "--save-features", "seen"]);
    let seen = ["evaluate", "seen/a.npz", "--reference", "seen/reference.npz", "--shard", "1/2"];
    check_refused(path, &seen, 2, "there is nothing that several runs could share");
    let mixed = ["evaluate", "seen/a.npz", "b.npz", "--reference", "seen/reference.npz"];
    for k in ["1/2", "2/2"] {
        run(path, &[&mixed[..], &["--out", "m.json", "--shard", k]].concat());
    }
    check_same(path, &mixed, &["m.json-2-of-2".to_owned(), "m.json-1-of-2".to_owned()]);
}

#[test]
fn a_folder_whose_files_cannot_all_be_read_has_the_table_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::create_dir(path.join("in")).unwrap();
    for i in 0..600_u32 {
        let at = path.join(format!("in/{i:03}.png"));
        // All of the second batch, and some of the others.
        if (256..512).contains(&i) || [0, 17, 255, 599].contains(&i) {
            std::fs::write(at, "no picture").unwrap();
        } else {
            let level = |x: u32, y: u32| (i * 41 + x * 3 + y * 5) as u8;
            image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([level(x, y), level(y, x), i as u8])).save(at).unwrap();
        }
    }
    samples(&path.join("real.npz"), 20, 2);
    let args = ["evaluate", "in", "--reference", "real.npz"];
    shards(path, &args, 4, 5..=5);
    check_same(path, &args, &folders(&[4, 3, 2, 1], 4));
}

#[test]
fn what_does_not_belong_together_or_is_not_whole_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    samples(&path.join("a.npz"), 300, 1);
    samples(&path.join("real.npz"), 270, 2);
    let args = ["evaluate", "a.npz", "--reference", "real.npz"];
    shards(path, &args, 3, 4..=4);
    run(path, &[&args[..], &["--limit", "290", "--out", "o.json", "--shard", "1/3"]].concat());
    run(path, &["generate", "--seeds", "0..3", "--batch", "1", "--out", "g", "--shard", "1/3"]);
    let [one, two, three] = [1, 2, 3].map(|k| format!("t.json-{k}-of-3"));
    let refused = |shards: &[&str], says: &str| {
        check_refused(path, &[&["merge"], shards, &["--out", "m.json"]].concat(), 1, says);
        assert!(!path.join("m.json").exists());
    };
    refused(&[&three, &one], "shard 2/3 is missing");
    refused(&[&three, &one, &two, &one], "shard 1/3 is given twice");
    refused(&["o.json-1-of-3", &two, &three], "so it does not belong to those in t.json-2-of-3");
    refused(&["g-1-of-3", &two, &three], "so it does not belong to those in t.json-2-of-3");
    refused(&["nowhere"], "no folder is there: check the path");
    // The same shard has nothing left to do, and is not begun anew by itself.
    let again = [&args[..], &["--out", "t.json", "--shard", "2/3"]].concat();
    check_refused(path, &again, 1, "the folder holds an earlier result");
    let done = run(path, &[&again[..], &["--resume"]].concat());
    assert!(stderr(&done).contains(&format!("nothing is left to do: the results are in {two}")), "{}", stderr(&done));
    let quiet = run(path, &[&again[..], &["--resume", "--quiet"]].concat());
    assert!(!stderr(&quiet).contains("nothing is left"), "{}", stderr(&quiet));
    // A batch that was damaged is named with its shard, and made anew.
    let part = contents(&path.join(&two)).into_keys().find(|name| name.starts_with("parts")).unwrap();
    let part = path.join(&two).join(part);
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    refused(&[&one, &two, &three], "shard 2/3 (");
    refused(&[&one, &two, &three], "missing in t.json-2-of-3) is unfinished: finish each by the same command");
    run(path, &[&again[..], &["--resume"]].concat());
    let all = [one.clone(), two.clone(), three.clone()];
    check_same(path, &args, &all);
    // So are its description and the pictures.
    let description = path.join(&one).join("evaluation.json");
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replace("\"pairs\": false", "\"pairs\": true")).unwrap();
    refused(&[&one, &two, &three], "this file of a shard is missing or was changed since it was written");
    std::fs::write(&description, text).unwrap();
    let pictures = std::fs::read(path.join("a.npz")).unwrap();
    samples(&path.join("a.npz"), 300, 5);
    refused(&[&one, &two, &three], "this input is missing or was changed since the shards were made");
    std::fs::write(path.join("a.npz"), pictures).unwrap();
    check_same(path, &args, &all);
}

/// Finished batches of a shard.
#[cfg(unix)]
fn parts(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder.join("parts")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "npz")).count()
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_stopped_or_killed_goes_on_and_no_two_look_at_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    samples(&path.join("a.npz"), 256 * 24, 1);
    samples(&path.join("real.npz"), 256 * 2, 2);
    let args = ["evaluate", "a.npz", "--reference", "real.npz"];
    let own = path.join("t.json-2-of-2");
    let shard = [&args[..], &["--out", "t.json", "--resume", "--shard", "2/2"]].concat();
    for (signal, code) in [("TERM", Some(143)), ("KILL", None)] {
        let before = parts(&own);
        let mut child = command(path)
            .args(&shard)
            .args(["--device", "cpu"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        while parts(&own) == before {
            assert!(child.try_wait().unwrap().is_none(), "it runs");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), code, "{said}");
        assert!(code.is_none() || said.contains("of 13 batches are done and kept in t.json-2-of-2/parts"), "{said}");
        assert!(parts(&own) > before, "{said}");
    }
    let merged = ["merge", "t.json-1-of-2", "t.json-2-of-2", "--out", "m.json"];
    run(path, &[&args[..], &["--out", "t.json", "--shard", "1/2"]].concat());
    let lock = std::fs::File::options().append(true).open(own.join(".lapidary.lock")).unwrap();
    lock.lock().unwrap();
    check_refused(path, &shard, 75, "another Lapidary works in this folder");
    check_refused(path, &merged, 75, "another Lapidary works on shard 2/2");
    drop(lock);
    check_refused(path, &merged, 1, "missing in t.json-2-of-2) is unfinished");
    let done = run(path, &shard);
    assert!(stderr(&done).contains("goes on behind "), "{}", stderr(&done));
    check_same(path, &args, &folders(&[1, 2], 2));
}
