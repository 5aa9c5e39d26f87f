//! `kill -9` at any moment of a command: what was finished opens, and `--resume` ends with the bytes of an undisturbed run.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{array, command, contents, run, stderr, write_samples};

/// How often each command is killed; once unless this says otherwise. Many times, the work is as long as people's.
const KILLS: &str = "LAPIDARY_KILLS";

fn samples(path: &Path, n: u64) {
    let levels: Vec<u8> = (0..n * 3072).map(|i| (i * 7 + i / 3072 * 31) as u8).collect();
    write_samples(path, [n, 32, 32, 3], &levels, None);
}

fn kill_and_go_on(args: &[&str]) {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok());
    let n = if kills.is_some() { 2000 } else { 6 };
    let folder = tempfile::tempdir().expect("a temporary folder");
    samples(&folder.path().join("in.npz"), n);
    let seeds = format!("0..{n}");
    let batch = if kills.is_some() { "64" } else { "2" };
    let filled = args.iter().map(|arg| if *arg == "SEEDS" { seeds.as_str() } else { arg });
    let args: Vec<&str> = filled.chain(["--batch", batch]).collect();
    let since = Instant::now();
    run(folder.path(), &[&args[..], &["--out", "whole"]].concat());
    let whole = since.elapsed();
    let expected = contents(&folder.path().join("whole"));
    for kill in 0..kills.unwrap_or(1_u32) {
        let out = format!("killed-{kill}");
        let at = folder.path().join(&out);
        let all = [&args[..], &["--out", &out, "--resume"]].concat();
        let mut child = command(folder.path())
            .args(&all)
            .args(["--device", "cpu"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // From the first moment to behind the last one, at moments that are hardly those of the last time.
        let share = (0.62 + 0.38 * f64::from(kill)).fract() * 1.05;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        for entry in std::fs::read_dir(at.join("parts")).into_iter().flatten() {
            let part = entry.expect("an entry").path();
            if part.extension().is_some_and(|kind| kind == "npz") {
                let (shape, levels) = array::<u8>(&part, "arr_0");
                assert_eq!(shape.iter().product::<u64>(), levels.len() as u64, "{} opens", part.display());
            }
        }
        run(folder.path(), &all);
        let found = contents(&at);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{args:?} {share}");
        for (name, bytes) in &expected {
            assert!(*bytes == found[name], "{args:?}: {} differs after a kill at {share}", name.display());
        }
        std::fs::remove_dir_all(&at).expect("it is ours");
    }
}

#[test]
fn generate_goes_on_after_a_kill() {
    kill_and_go_on(&["generate", "--seeds", "SEEDS"]);
}

#[test]
fn edit_goes_on_after_a_kill() {
    kill_and_go_on(&["edit", "--task", "denoise", "--input", "in.npz", "--classes", "stop"]);
}

#[test]
fn refine_of_seeds_goes_on_after_a_kill() {
    kill_and_go_on(&["refine", "--seeds", "SEEDS", "--iterations", "2"]);
}

#[test]
fn refine_of_pictures_goes_on_after_a_kill() {
    kill_and_go_on(&["refine", "--input", "in.npz", "--iterations", "2"]);
}

#[test]
fn a_search_goes_on_after_a_kill_with_the_points_that_it_has_judged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = |out: &str| std::fs::read_to_string(folder.path().join(out).join("search.csv")).unwrap_or_default();
    let args = |out| ["search", "--seeds", "0..2", "--grid", "40", "--method", "all", "--stride", "4", "--out", out];
    run(folder.path(), &args("whole"));
    let mut child = command(folder.path())
        .args(args("killed"))
        .args(["--device", "cpu"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let since = Instant::now();
    while table("killed").lines().count() < 3 {
        assert!(since.elapsed() < Duration::from_secs(60), "every point is written as it is judged");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let said = stderr(&run(folder.path(), &[&args("killed")[..], &["--resume"]].concat()));
    assert!(said.contains("goes on behind "), "{said}");
    assert_eq!(table("killed"), table("whole"));
}
