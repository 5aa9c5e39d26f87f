//! The level between two steps that is best by a number of a set of pictures, from the command line.

use std::path::Path;

use super::evaluate::write_doubles;
use super::{check_refused, lapidary, recipe, rows, run, stderr, stdout, write_samples};

/// What `search` takes to try the levels 1, 2 and 3.
const SEARCH: [&str; 8] = ["search", "--seeds", "0..12", "--grid", "5", "--method", "all", "--quiet"];

/// Twelve pictures with two steps at these levels, as `evaluate` measures them.
fn evaluated(folder: &Path, ts: &str) -> serde_json::Value {
    let (made, table) = (format!("made-{}", ts.replace(['/', ','], "-")), format!("{}.json", ts.replace('/', "-")));
    run(folder, &["generate", "--seeds", "0..12", "--ts", ts, "--out", &made]);
    run(folder, &["evaluate", &made, "--reference", "real/samples.npz", "--out", &table]);
    recipe(&folder.join(table))
}

#[test]
fn a_search_by_a_number_of_evaluate_finds_what_evaluate_finds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["generate", "--seeds", "100..130", "--out", "real"]);
    let tables = ["0,1,4/5", "0,2,4/5", "0,3,4/5"].map(|ts| evaluated(path, ts));
    for (metric, sign) in
        [("frechet_distance", -1.0), ("kernel_distance", -1.0), ("recall", 1.0), ("inception_score", 1.0)]
    {
        let reference = if metric == "inception_score" { &[][..] } else { &["--reference", "real/samples.npz"] };
        let args = [&SEARCH[..7], &["--metric", metric, "--out", metric], reference].concat();
        let output = run(path, &args);
        let found = rows(&path.join(metric).join("search.csv"));
        let numbers: Vec<&serde_json::Value> = tables
            .iter()
            .map(|table| {
                let numbers = table["sets"][0]["numbers"].as_array().unwrap();
                numbers.iter().find(|number| number["metric"] == metric).unwrap_or_else(|| panic!("{metric}"))
            })
            .collect();
        assert_eq!(found.len(), 3, "{found:?}");
        let near = |cell: &str, expected: &serde_json::Value| {
            let (cell, expected): (f64, f64) = (cell.parse().unwrap(), expected.as_f64().unwrap());
            assert!((cell - expected).abs() <= 1e-9 * expected.abs(), "{metric}: {cell} is not {expected}");
        };
        for (row, number) in found.iter().zip(&numbers) {
            near(&row[3], &number["value"]);
            match number["interval"].as_array() {
                Some(ends) => [4, 5].into_iter().zip(ends).for_each(|(column, end)| near(&row[column], end)),
                None => assert_eq!((&row[4], &row[5]), ("", "")),
            }
        }
        let merit = |place: usize| sign * numbers[place]["value"].as_f64().unwrap();
        let best = (0..3).reduce(|best, next| if merit(next) > merit(best) { next } else { best }).unwrap();
        let said = stdout(&output);
        assert!(said.contains(&format!("--ts 0,{},4/5 (σ", best + 1)), "{metric}: {said}");
        assert!(said.contains("of 12 generated pictures") && said.contains("128 features of gtsrb12-judge"), "{said}");
        assert_eq!(said.contains("against 30 real ones (real/samples.npz)"), !reference.is_empty(), "{said}");
    }
    // Everything that decides whether it compares stands in the table, and few pictures are warned of.
    let table = std::fs::read_to_string(path.join("frechet_distance/search.csv")).unwrap();
    let header = "k,ts,sigma,value,low,high,metric,better,pictures,extractor,extractor_sha256,dialect,features,height,width,reference,real_pictures,reference_sha256\n";
    assert!(table.starts_with(header), "{table}");
    let row = &rows(&path.join("frechet_distance/search.csv"))[0];
    let own: Vec<&str> = [6, 7, 8, 9, 11, 12, 13, 14, 15, 16].map(|column| &row[column]).into();
    let expected = "frechet_distance smaller 12 gtsrb12-judge  128 32 32 real/samples.npz 30";
    assert_eq!(own, expected.split(' ').collect::<Vec<_>>());
    assert_eq!(row[10], *tables[0]["extractor"]["sha256"].as_str().unwrap());
    assert_eq!(row[17], *tables[0]["reference"]["sha256"].as_str().unwrap());
    let args = ["--metric", "frechet_distance", "--reference", "real/samples.npz", "--out"];
    let said = stderr(&run(path, &[&SEARCH[..], &args, &["again"]].concat()));
    assert!(said.contains("warning: every point has 12 pictures, but each has 128 features"), "{said}");
    assert!(said.contains("warning: there are 30 real pictures, but each has 128 features"), "{said}");
    // The real pictures decide about the results, and are not replaced by them.
    let again = [&SEARCH[..], &args, &["again", "--resume", "--device", "cpu"]].concat();
    assert!(!stderr(&lapidary(path, &again)).contains("nothing is left to do"), "it is quiet");
    let aloud: Vec<&str> = again.iter().copied().filter(|arg| *arg != "--quiet").collect();
    assert!(stderr(&lapidary(path, &aloud)).contains("nothing is left to do"));
    run(path, &["generate", "--seeds", "200..230", "--out", "other"]);
    let other: Vec<&str> =
        again.iter().map(|arg| if *arg == "real/samples.npz" { "other/samples.npz" } else { *arg }).collect();
    check_refused(path, &other, 1, "it holds the finished results of another command");
    let replace = [&SEARCH[..], &args, &["real", "--overwrite"]].concat();
    check_refused(path, &replace, 1, "this input lies where the results would be written");
}

#[test]
fn what_cannot_be_judged_by_is_refused_before_any_picture_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let levels: Vec<u8> = (0..8 * 3072).map(|i| (i * 7 + i / 3072 * 31 + i * i % 251) as u8).collect();
    write_samples(&path.join("real.npz"), [8, 32, 32, 3], &levels, None);
    write_samples(&path.join("small.npz"), [8, 16, 16, 3], &levels[..8 * 768], None);
    write_samples(&path.join("few.npz"), [5, 32, 32, 3], &levels[..5 * 3072], None);
    let (mean, covariance) = ([0.0; 4], (0..16).map(|i| f64::from(u8::from(i % 5 == 0))).collect::<Vec<_>>());
    write_doubles(&path.join("four.npz"), None, &[("mu", &[4], &mean), ("sigma", &[4, 4], &covariance)]);
    run(path, &["evaluate", "real.npz", "--reference", "real.npz", "--save-features", "seen"]);
    let refused = |code: i32, metric: &str, args: &[&str], says: &str| {
        let all = [&SEARCH[..], &["--device", "cpu", "--out", "o", "--metric", metric], args].concat();
        check_refused(path, &all, code, says);
        assert!(!path.join("o").exists(), "nothing is left of it: {args:?}");
    };
    refused(2, "recall", &[], "--metric recall compares with real pictures, but none are given");
    refused(2, "fid", &["--reference", "real.npz"], "must be one of logit, confidence, agreement, frechet_distance");
    refused(1, "frechet_distance", &["--reference", "none.npz"], "no file is there");
    refused(1, "frechet_distance", &["--reference", "small.npz"], "have 3 channels of 16×16, but 3 channels of 32×32");
    refused(1, "recall", &["--reference", "four.npz"], "recall needs pictures and not only their mean and covariance");
    refused(
        1,
        "frechet_distance",
        &["--reference", "four.npz"],
        "are of 4 numbers a picture, but gtsrb12-judge gives 128",
    );
    refused(1, "coverage", &["--reference", "few.npz"], "coverage needs at least 6 pictures of a set, but there are 5");
    let few = ["--reference", "real.npz", "--seeds", "0..3"];
    let all = [&SEARCH[..1], &["--metric", "precision", "--out", "o"], &few].concat();
    check_refused(path, &all, 1, "precision needs at least 4 pictures of a set, but there are 3");
    refused(2, "kernel_distance", &["--reference", "real.npz", "--dialect", "clean"], "gtsrb12-judge is a classifier");
    refused(2, "spatial_frechet_distance", &["--reference", "real.npz"], "but gtsrb12-judge is a classifier");
    let other = ["--reference", "seen/real.npz", "--extractor", "gtsrb12-robust"];
    refused(1, "kernel_distance", &other, "was seen by gtsrb12-judge (SHA-256");
    refused(1, "kernel_distance", &["--reference", "real.npz", "--extractor", "gtsrb12-cm"], "generator");
    // A dry run says the same, and of what has no effect.
    refused(1, "frechet_distance", &["--reference", "small.npz", "--dry-run"], "3 channels of 16×16");
    let dry = |args: &[&str]| {
        let output = lapidary(path, &[&SEARCH[..7], &["--dry-run"], args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let said = dry(&["--metric", "logit", "--reference", "real.npz", "--extractor", "gtsrb12-robust"]);
    assert!(said.contains("warning: --reference, --extractor have no effect with the metric logit"), "{said}");
    let said = dry(&["--metric", "inception_score", "--reference", "real.npz"]);
    assert!(said.contains("warning: --reference has no effect with the metric inception_score"), "{said}");
    let said = dry(&["--metric", "recall", "--reference", "real.npz", "--classifier", "gtsrb12-robust"]);
    assert!(said.contains("warning: --classifier has no effect with the metric recall"), "{said}");
    assert!(said.contains("reference  8 pictures (real.npz)") && said.contains("extractor  gtsrb12-judge"), "{said}");
}

#[test]
fn many_pictures_are_judged_a_part_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["generate", "--seeds", "1000..1030", "--out", "real"]);
    let common = ["--seeds", "0..260", "--grid", "3", "--method", "all"];
    let args = ["--metric", "precision", "--reference", "real/samples.npz", "--out", "o"];
    run(path, &[&["search"], &common[..], &args].concat());
    let found = rows(&path.join("o/search.csv"));
    assert_eq!((found.len(), &found[0][1], &found[0][8]), (1, "0,1,2/3", "260"));
    run(path, &["generate", "--seeds", "0..260", "--ts", "0,1,2/3", "--out", "made"]);
    run(path, &["evaluate", "made", "--reference", "real/samples.npz", "--out", "t.json"]);
    let table = recipe(&path.join("t.json"));
    let numbers = table["sets"][0]["numbers"].as_array().unwrap();
    let expected = numbers.iter().find(|number| number["metric"] == "precision").unwrap()["value"].as_f64().unwrap();
    let value: f64 = found[0][3].parse().unwrap();
    // In other batches, sums are rounded otherwise, and a picture or two may lie on a border.
    assert!((value - expected).abs() <= 2.0 / 260.0 + 1e-9, "{value} is not {expected}");
    let classifier = ["search", "--seeds", "0..260", "--grid", "3", "--out", "c"];
    check_refused(path, &classifier, 1, "what a classifier judges is held at once");
}

#[cfg(unix)]
#[test]
fn a_search_that_is_stopped_says_how_far_it_came_and_that_it_can_go_on() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let folder = tempfile::tempdir().unwrap();
    let args = ["search", "--seeds", "0..2", "--grid", "1000", "--method", "all", "--out", "o", "--device", "cpu"];
    let mut command = super::command(folder.path());
    let child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    let table = || std::fs::read_to_string(folder.path().join("o/search.csv")).unwrap_or_default();
    while table().lines().count() < 3 {
        assert!(since.elapsed() < Duration::from_secs(60), "every point is written as it is judged");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let (said, told) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(130), "{told}");
    let points = table().lines().count() - 1;
    assert!(said.contains(&format!("best so far, of {points} points by ")) && !said.contains("best of"), "{said}");
    let stopped = format!("stopped after {points} of 998 points; these are written, and --resume goes on");
    assert!(told.contains(&stopped), "{told}");
}
