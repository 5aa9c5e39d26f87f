//! Work that several runs share: what they made comes to the bytes of one run.

use std::path::Path;
use std::process::{Output, Stdio};

use super::{check_refused, command, contents, lapidary, run, stderr, stdout, write_samples};

/// `n` pictures of the demo's size, each other than the next.
fn samples(path: &Path, n: u64) {
    let levels: Vec<u8> = (0..n * 3072).map(|i| (i * 7 + i / 3072 * 31) as u8).collect();
    write_samples(path, [n, 32, 32, 3], &levels, None);
}

/// The whole, and the shards `order` put together, are the same files, byte by byte.
#[track_caller]
fn check_merged(folder: &Path, args: &[&str], n: u32, order: &[u32]) {
    run(folder, &[args, &["--out", "whole"]].concat());
    for k in 1..=n {
        let shard = format!("{k}/{n}");
        let said = stdout(&run(folder, &[args, &["--out", "r", "--shard", &shard]].concat()));
        assert!(!order.contains(&k) || said.contains(&format!("written to r-{k}-of-{n}")), "{said}");
    }
    let folders: Vec<String> = order.iter().map(|k| format!("r-{k}-of-{n}")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let output = lapidary(folder, &[&["merge"], &folders[..], &["--out", "r"]].concat());
    assert!(output.status.success() && stdout(&output).contains("written to r: "), "{}", stderr(&output));
    let (whole, merged) = (contents(&folder.join("whole")), contents(&folder.join("r")));
    assert_eq!(merged.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>(), "{args:?}");
    for (name, bytes) in &whole {
        assert!(merged[name] == *bytes, "{args:?}: {} differs", name.display());
    }
}

#[test]
fn generated_pictures_are_those_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    // Four batches, so the fifth shard has nothing to do.
    let args = ["generate", "--seeds", "3..10", "--batch", "2"];
    check_merged(folder.path(), &args, 5, &[3, 1, 4, 2]);
    assert!(!folder.path().join("r-5-of-5").exists());
    let last = run(folder.path(), &[&args[..], &["--out", "r", "--shard", "5/5"]].concat());
    let said = stderr(&last);
    assert!(said.contains("nothing is left for shard 5/5: 7 pictures are 4 batches of up to 2"), "{said}");
    // What is there stays, and the same again has nothing to do.
    let again = [&args[..], &["--out", "r", "--shard", "2/5"]].concat();
    check_refused(folder.path(), &again, 1, "the folder holds an earlier result");
    let done = run(folder.path(), &[&again[..], &["--resume"]].concat());
    assert!(stderr(&done).contains("nothing is left to do: the results are in r-2-of-5"), "{}", stderr(&done));
    let dry = run(folder.path(), &[&args[..], &["--out", "d", "--shard", "2/5", "--dry-run"]].concat());
    assert!(stdout(&dry).contains("shard      2/5: places 2..4 (2 of 7 pictures)"), "{}", stdout(&dry));
}

#[test]
fn a_finished_batch_that_is_gone_is_told_of_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("o-1-of-2").join(name);
    let args = ["generate", "--seeds", "0..6", "--batch", "2", "--shard", "1/2", "--out", "o"];
    let resume = |more: &[&str]| run(folder.path(), &[&args[..], &["--resume"], more].concat());
    let dry = resume(&["--dry-run"]);
    assert!(stdout(&dry).contains("resume     no batch is finished yet"), "{}", stdout(&dry));
    run(folder.path(), &args);
    let before = contents(&at(""));
    std::fs::remove_file(at("parts/00000002.npz")).unwrap();
    let dry = resume(&["--dry-run"]);
    let done = "resume     2 of 4 pictures are done in finished batches and not made again";
    assert!(stdout(&dry).contains(done), "{}", stdout(&dry));
    let again = resume(&["--quiet"]);
    let said = stderr(&again);
    assert!(
        said.contains("warning: ") && said.contains("00000002.npz was finished before, but is not there"),
        "{said}"
    );
    assert!(contents(&at("")) == before, "the same bytes");
    assert!(!stderr(&resume(&[])).contains("warning: "), "nothing is missing now");
}

#[test]
fn refined_pictures_of_an_archive_are_those_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    samples(&folder.path().join("in.npz"), 7);
    let args = ["refine", "--input", "in.npz", "--skip", "1", "--iterations", "2", "--batch", "2"];
    check_merged(folder.path(), &[&args[..], &["--norm", "linf", "--radius", "6/255"]].concat(), 2, &[2, 1]);
    // Another setting, and an input that is another one now.
    let other = ["refine", "--input", "in.npz", "--skip", "1", "--iterations", "1", "--batch", "2"];
    run(folder.path(), &[&other[..], &["--out", "o", "--shard", "1/2"]].concat());
    let foreign = ["merge", "o-1-of-2", "r-2-of-2", "--out", "m"];
    check_refused(folder.path(), &foreign, 1, "so it does not belong to those in o-1-of-2");
    samples(&folder.path().join("in.npz"), 8);
    let changed = ["merge", "r-1-of-2", "r-2-of-2", "--out", "m"];
    check_refused(folder.path(), &changed, 1, "this input is missing or was changed since the shards were made");
    check_refused(folder.path(), &["merge", "r-2-of-2", "--out", "m"], 1, "shard 1/2 is missing");
    assert!(!folder.path().join("m").exists());
}

#[test]
fn refined_pictures_of_seeds_are_those_of_one_run_also_where_they_are_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    check_merged(folder.path(), &["refine", "--seeds", "0..257", "--iterations", "1"], 3, &[2, 3, 1]);
    let few = tempfile::tempdir().unwrap();
    check_merged(few.path(), &["refine", "--seeds", "3..6", "--iterations", "2"], 2, &[1]);
}

#[test]
fn refined_pictures_of_a_folder_are_those_of_one_run_whatever_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |i: u32| folder.path().join(format!("in/{i:03}.png"));
    std::fs::create_dir(folder.path().join("in")).unwrap();
    for i in 0..259 {
        let level = |x: u32, y: u32| (i * 41 + x * 3 + y * 5) as u8;
        image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([level(x, y), level(y, x), i as u8])).save(at(i)).unwrap();
    }
    // Within a batch, at the end of a shard, and at the beginning of another one.
    for i in [70, 127, 128, 258] {
        std::fs::write(at(i), "no picture").unwrap();
    }
    check_merged(folder.path(), &["refine", "--input", "in", "--iterations", "1", "--batch", "64"], 3, &[3, 2, 1]);
}

/// Finished batches in a folder.
#[cfg(unix)]
fn parts(folder: &Path) -> usize {
    let is_numbered = |name: &str| name.trim_end_matches(".npz").bytes().all(|byte| byte.is_ascii_digit());
    let entries = std::fs::read_dir(folder.join("parts")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_numbered)).count()
}

#[cfg(unix)]
#[test]
fn a_shard_that_is_stopped_or_killed_goes_on_and_no_two_make_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("r-2-of-2");
    samples(&folder.path().join("in.npz"), 8);
    let args = ["refine", "--input", "in.npz", "--iterations", "60", "--batch", "1"];
    let shard = [&args[..], &["--out", "r", "--resume", "--shard", "2/2"]].concat();
    for (signal, code) in [("TERM", Some(143)), ("KILL", None)] {
        let before = parts(&own);
        let mut child = command(folder.path())
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
        let output: Output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), code, "{said}");
        assert!(code.is_none() || said.contains("of 4 pictures are done and kept in r-2-of-2/parts"), "{said}");
        assert!(!own.join("samples.npz").exists(), "they are put together by merge");
    }
    let merge = ["merge", "r-1-of-2", "r-2-of-2", "--out", "m"];
    run(folder.path(), &[&args[..], &["--out", "r", "--shard", "1/2"]].concat());
    let lock = std::fs::File::options().append(true).open(own.join(".lapidary.lock")).unwrap();
    lock.lock().unwrap();
    check_refused(folder.path(), &shard, 75, "another Lapidary works in this folder");
    check_refused(folder.path(), &merge, 75, "another Lapidary works on shard 2/2");
    drop(lock);
    check_refused(folder.path(), &merge, 1, "shard 2/2 (");
    check_refused(folder.path(), &merge, 1, "is unfinished: finish each by the same command with --shard and --resume");
    run(folder.path(), &shard);
    run(folder.path(), &[&args[..], &["--out", "whole"]].concat());
    let merged = lapidary(folder.path(), &merge);
    assert!(merged.status.success(), "{}", stderr(&merged));
    assert!(contents(&folder.path().join("m")) == contents(&folder.path().join("whole")));
}

#[cfg(unix)]
#[test]
fn the_job_of_an_array_that_comes_to_its_time_limit_has_itself_begun_again_and_goes_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    samples(&at("in.npz"), 8);
    // Slurm, as far as the script speaks to it.
    std::fs::create_dir(at("bin")).unwrap();
    std::fs::write(at("bin/scontrol"), "#!/bin/sh\necho \"$@\" >> asked\n").unwrap();
    std::fs::set_permissions(at("bin/scontrol"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/slurm/shard.sbatch");
    let program = command(folder.path());
    let job = || {
        let mut job = std::process::Command::new("bash");
        job.current_dir(folder.path()).env("PATH", &path).env("LAPIDARY", program.get_program());
        job.env("LAPIDARY_HOME", super::home()).envs([("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "2")]);
        job.arg(&script).args(["2", "refine", "--input", "in.npz", "--iterations", "60", "--batch", "1"]);
        job.args(["--device", "cpu", "--out", "r"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        job.spawn().expect("bash starts")
    };
    let mut first = job();
    while parts(&at("r-2-of-2")) == 0 {
        assert!(first.try_wait().unwrap().is_none(), "it runs");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let pid = first.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "USR1", &pid]).status().unwrap().success());
    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(stderr(&first).contains("the time is over before the shard is done"), "{}", stderr(&first));
    assert_eq!(std::fs::read_to_string(at("asked")).unwrap(), "requeue 7_2\n");
    let again = job().wait_with_output().unwrap();
    assert!(again.status.success() && stdout(&again).contains("written to r-2-of-2"), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(at("asked")).unwrap(), "requeue 7_2\n", "once");
}

#[test]
fn what_is_no_shard_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in ["0/4", "5/4", "2", "a/b", "1/10001"] {
        let expected = format!("--shard is \"{wrong}\", but must be which of how many runs this is, such as 2/8");
        check_refused(folder.path(), &["generate", "--seeds", "0..4", "--shard", wrong], 2, &expected);
    }
    check_refused(folder.path(), &["edit", "--shard", "1/2"], 2, "--shard is no flag of this command");
    check_refused(folder.path(), &["merge", "--out", "m"], 2, "missing");
    check_refused(folder.path(), &["merge", "nowhere", "--out", "m"], 1, "no folder is there: check the path");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
}
