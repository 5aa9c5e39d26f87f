//! The command line as its users meet it: the program itself, its files and its exit codes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use npyz::WriterBuilder as _;
use tempfile::TempDir;

#[path = "cli/boosted.rs"]
mod boosted;
#[path = "cli/evaluate.rs"]
mod evaluate;
#[path = "cli/experiment.rs"]
mod experiment;
#[path = "cli/kill.rs"]
mod kill;
#[path = "cli/measured.rs"]
mod measured;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/results.rs"]
mod results;
#[path = "cli/search.rs"]
mod search;
#[path = "cli/shard.rs"]
mod shard;
#[path = "cli/train.rs"]
mod train;

/// One home for all tests, so that the bundled models are unpacked once.
fn home() -> &'static Path {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}

/// The program, to be run in a folder.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
    command.current_dir(folder).env("LAPIDARY_HOME", home()).env_remove("LAPIDARY_LOG");
    command
}

fn lapidary(folder: &Path, args: &[&str]) -> Output {
    command(folder).args(args).output().expect("the program starts")
}

/// A dry run with a variable of the environment.
fn dry_run_with(folder: &Path, name: &str, value: &str) -> Output {
    command(folder).args(["generate", "--dry-run"]).env(name, value).output().expect("the program starts")
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

/// An archive of samples as guided-diffusion writes them; more labels than pictures are one-hot rows.
fn write_samples<T: npyz::AutoSerialize + Copy>(path: &Path, shape: [u64; 4], values: &[T], labels: Option<&[i64]>) {
    fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::<T>::new().default_dtype().shape(shape);
        let mut writer = options.writer(&mut bytes).begin_nd().expect("memory takes it");
        writer.extend(values.iter().copied()).expect("memory takes it");
        writer.finish().expect("as many values as the shape says");
        bytes
    }
    let mut archive = zip::ZipWriter::new(File::create(path).expect("a new file"));
    let shape_of = |n: u64| if n == shape[0] { vec![n] } else { vec![shape[0], n / shape[0]] };
    let labels = labels.map(|labels| ("arr_1.npy", npy(&shape_of(labels.len() as u64), labels)));
    for (name, bytes) in [("arr_0.npy", npy(&shape, values))].into_iter().chain(labels) {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).expect("a new entry");
        archive.write_all(&bytes).expect("room on the disk");
    }
    archive.finish().expect("room on the disk");
}

fn rows(path: &Path) -> Vec<csv::StringRecord> {
    let mut table = csv::Reader::from_path(path).expect("a table");
    table.records().map(|row| row.expect("a row")).collect()
}

fn recipe(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// Runs on the CPU and succeeds.
#[track_caller]
fn run(folder: &Path, args: &[&str]) -> Output {
    let output = lapidary(folder, &[args, &["--device", "cpu"]].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    output
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
    assert_eq!([&rows[4][0], &rows[4][2], &rows[4][4], &rows[4][5]], ["1", "3", "5", "yield"]);
    let distance: f64 = rows[8][11].parse().unwrap();
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
fn an_archive_of_samples_is_refined_batch_by_batch() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "3..8", "--out", "made"]);
    let (_, levels) = array::<u8>(&at("made/samples.npz"), "arr_0");
    write_samples(&at("five.npz"), [5, 32, 32, 3], &levels, Some(&[3, 4, 5, 6, 7]));
    let refine = ["refine", "--iterations", "2", "--batch", "2"];
    let output = run(folder.path(), &[&refine[..], &["--input", "five.npz", "--out", "streamed"]].concat());
    assert!(stdout(&output).contains("5 pictures, 2 iterations on CPU"), "{}", stdout(&output));
    let files: Vec<_> = contents(&at("streamed")).into_keys().map(|path| path.display().to_string()).collect();
    assert_eq!(files, [".lapidary.json", "contact_sheet.png", "refined.csv", "samples.npz", "session.json"]);
    let (shape, streamed) = array::<u8>(&at("streamed/samples.npz"), "arr_0");
    assert_eq!(shape, [5, 32, 32, 3]);
    assert_eq!(array::<i64>(&at("streamed/samples.npz"), "arr_1").1, [3, 4, 5, 6, 7]);
    let table = rows(&at("streamed/refined.csv"));
    assert_eq!(table.len(), 5);
    for (index, row) in table.iter().enumerate() {
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        assert_eq!([&row[0], &row[1], &row[2]], [index.to_string(), (index + 3).to_string(), (index + 3).to_string()]);
        assert!(number(4) > number(3) && number(7) > 0.1 && &row[9] == "2", "{row:?}");
    }

    // The same pictures as files.
    let classes = ["--input", "made/images", "--classes", "3,4,5,6,7", "--out", "files"];
    run(folder.path(), &[&refine[..], &classes].concat());
    let (_, files) = array::<u8>(&at("files/result.npz"), "arr_0");
    let worst = streamed.iter().zip(&files).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst <= 1, "an archive and files differ by {worst} levels");

    // A part of them, from the recipe, cut instead of rounded.
    let part = ["--session", "streamed/session.json", "--skip", "1", "--limit", "2", "--truncate", "--out", "part"];
    run(folder.path(), &[&["refine"][..], &part].concat());
    let (shape, cut) = array::<u8>(&at("part/samples.npz"), "arr_0");
    assert_eq!((shape[0], array::<i64>(&at("part/samples.npz"), "arr_1").1), (2, vec![4, 5]));
    let rounded = &streamed[3072..3 * 3072];
    assert!(cut.iter().zip(rounded).all(|(cut, rounded)| rounded - cut <= 1), "at most half a level below");
    assert!(cut != rounded);
}

#[test]
fn samples_without_classes_are_refined_towards_what_the_classifier_sees() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "3..6", "--out", "made"]);
    let (_, levels) = array::<u8>(&at("made/samples.npz"), "arr_0");
    write_samples(&at("three.npz"), [3, 32, 32, 3], &levels, None);
    run(folder.path(), &["refine", "--input", "three.npz", "--iterations", "1", "--out", "streamed"]);
    run(folder.path(), &["refine", "--input", "made/images", "--iterations", "1", "--out", "files"]);
    let seen = recipe(&at("files/session.json"));
    for (index, row) in rows(&at("streamed/refined.csv")).iter().enumerate() {
        assert_eq!([&row[1], &row[2]], ["", seen["samples"][index]["label"].to_string().as_str()]);
    }
}

#[test]
fn the_best_iterate_is_kept_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["refine", "--seeds", "3..7", "--iterations", "6", "--step-size", "3"];
    run(folder.path(), &[&flags[..], &["--out", "best", "--keep", "best"]].concat());
    run(folder.path(), &[&flags[..], &["--out", "last"]].concat());
    let after = |out: &str| array::<f32>(&folder.path().join(out).join("result.npz"), "logits_after").1;
    let table = rows(&folder.path().join("best/trace.csv"));
    for (sample, (best, last)) in after("best").chunks(12).zip(after("last").chunks(12)).enumerate() {
        let own = table.iter().filter(|row| row[1] == sample.to_string());
        let objectives: Vec<f32> = own.map(|row| row[6].parse().unwrap()).collect();
        let highest = objectives.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Class = seed, from seed 3 on; its logit is the objective.
        let (best, last) = (best[sample + 3], last[sample + 3]);
        assert!((best - highest).abs() < 1e-4, "{best} is kept of {objectives:?}");
        assert!((last - objectives[6]).abs() < 1e-4 && best >= last, "{last} is the last of {objectives:?}");
    }
}

#[test]
fn pictures_stop_early_once_they_are_as_real_as_their_references() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["generate", "--seeds", "3..7", "--out", "made"]);
    let output = refine(folder.path(), "out", &["--references", "made/images", "--step-size", "0.5"]);
    let table = rows(&folder.path().join("out/trace.csv"));
    let stopped = table.iter().rev().take(4).filter(|row| &row[14] == "early-stop").count();
    assert!(stopped >= 2, "their own copies are soon surpassed: {table:?}");
    let expected = format!("{stopped} pictures became as real as their references");
    assert!(stdout(&output).contains(&expected), "{}", stdout(&output));
}

#[test]
fn inpainting_keeps_what_is_known_and_its_results_can_be_refined() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "6", "--out", "made"]);
    let missing = |x: u32| x < 16;
    let mask = image::GrayImage::from_fn(32, 32, |x, _| image::Luma([if missing(x) { 255 } else { 0 }]));
    mask.save(at("mask.png")).unwrap();
    let photo = image::open(at("made/images/000006.png")).unwrap().to_rgb8();
    let input = ["--input", "made/images/000006.png", "--mask", "mask.png", "--samples", "2", "--classes", "stop"];
    let edit = ["edit", "--task", "inpaint", "--ts", "0,20,39/40", "--out", "edited"];
    let output = run(folder.path(), &[&edit[..], &input].concat());
    // Not to where its own input is.
    let hint = "refine them with: lapidary refine --input edited/samples.npz --out edited/refined";
    assert!(stdout(&output).contains(hint), "{}", stdout(&output));
    let (shape, levels) = array::<u8>(&at("edited/samples.npz"), "arr_0");
    assert_eq!(shape, [2, 32, 32, 3]);
    assert_eq!(array::<i64>(&at("edited/samples.npz"), "arr_1").1, [6, 6]);
    for made in levels.chunks(3072) {
        let differs = |place: usize| made[3 * place..3 * place + 3] != photo.as_raw()[3 * place..3 * place + 3];
        let changed: Vec<usize> = (0..1024).filter(|place| differs(*place)).collect();
        assert!(changed.iter().all(|place| missing((place % 32) as u32)), "known pixels stay");
        assert!(changed.len() > 256, "{} of 512 missing pixels changed", changed.len());
    }
    assert!(levels[..3072] != levels[3072..], "each seed fills in another way");
    assert_eq!(recipe(&at("edited/session.json"))["edited"]["task"], "inpaint");
    assert!(at("edited/contact_sheet.png").exists() && at("edited/images/000001.png").exists());
    run(folder.path(), &["refine", "--input", "edited/samples.npz", "--iterations", "1", "--out", "refined"]);
    assert_eq!(array::<i64>(&at("refined/samples.npz"), "arr_1").1, [6, 6]);
    check_refused(folder.path(), &["refine", "--session", "edited/session.json"], 1, "describes edited pictures");

    let again = ["edit", "--session", "edited/session.json", "--out", "again"];
    run(folder.path(), &again);
    assert!(contents(&at("edited")) == contents(&at("again")), "the recipe knows its mask");
    let other = image::GrayImage::from_pixel(32, 32, image::Luma([255]));
    other.save(at("mask.png")).unwrap();
    let changed = "the mask changed since the session was made: give it as it was, or say with --mask";
    check_refused(folder.path(), &[&again[..4], &["new"]].concat(), 1, changed);
    check_refused(folder.path(), &[&again[..4], &["new", "--dry-run"]].concat(), 1, changed);
    std::fs::remove_file(at("mask.png")).unwrap();
    check_refused(folder.path(), &[&again[..4], &["new", "--dry-run"]].concat(), 1, "no file is there");
    other.save(at("mask.png")).unwrap();
    image::RgbImage::new(32, 32).save(at("made/images/000006.png")).unwrap();
    let dry = run(folder.path(), &[&again[..4], &["new", "--mask", "./mask.png", "--dry-run"]].concat());
    assert!(stderr(&dry).contains("000006.png changed since the session was made"), "{}", stderr(&dry));
}

#[test]
fn an_interpolation_begins_and_ends_with_the_pictures_of_its_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let class = ["--classes", "stop"];
    let ends =
        ["edit", "--task", "interpolate", "--seed-from", "3", "--seed-to", "8", "--samples", "3", "--out", "frames"];
    run(folder.path(), &[&ends[..], &class].concat());
    run(folder.path(), &[&["generate", "--seeds", "3..9", "--out", "made"][..], &class].concat());
    let frames = array::<f32>(&at("frames/samples.npz"), "images").1;
    let made = array::<f32>(&at("made/samples.npz"), "images").1;
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart(&frames[..3072], &made[..3072]) < 1e-5 && apart(&frames[2 * 3072..], &made[5 * 3072..]) < 1e-5);
    assert!(apart(&frames[3072..2 * 3072], &made[..3072]) > 0.05, "the frame between is another picture");
}

#[test]
fn frames_without_a_listed_class_have_that_of_their_first_seed_which_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let ends = ["edit", "--task", "interpolate", "--seed-from", "3", "--seed-to", "9", "--samples", "2"];
    let output = run(folder.path(), &[&ends[..], &["--out", "frames"]].concat());
    run(folder.path(), &["generate", "--seeds", "3..4", "--out", "made"]);
    let samples = at("frames/samples.npz");
    assert_eq!(array::<i64>(&samples, "arr_1").1, [3, 3]);
    let (frames, made) = (array::<f32>(&samples, "images").1, array::<f32>(&at("made/samples.npz"), "images").1);
    let apart = frames.iter().zip(&made).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-5, "the first frame is the picture of its seed: {apart}");
    let said = "all frames are of the class of seed 3, ";
    let other = "(seed 9 by itself has ";
    let text = stderr(&output);
    assert!(text.contains(said) && text.contains(other) && text.contains("choose another with --classes"), "{text}");
    let dry = stdout(&run(folder.path(), &[&ends[..], &["--out", "dry", "--dry-run"]].concat()));
    assert!(dry.contains(said) && dry.lines().any(|line| line.starts_with("classes") && line.ends_with("×2")), "{dry}");
    let listed = run(folder.path(), &[&ends[..], &["--classes", "stop", "--out", "listed"]].concat());
    assert!(!stderr(&listed).contains("all frames are of"), "{}", stderr(&listed));
    // No frame is of one seed.
    let mut archive = zip::ZipArchive::new(File::open(&samples).unwrap()).unwrap();
    let holds = ["images.npy", "seeds.npy"].map(|name| archive.by_name(name).is_ok());
    assert_eq!(holds, [true, false]);
    run(folder.path(), &["refine", "--input", "frames/samples.npz", "--iterations", "1", "--out", "refined"]);
}

#[test]
fn a_search_prints_and_writes_the_best_time_between_two_steps() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["search", "--seeds", "0..4", "--grid", "6", "--out", "found"]);
    let table = rows(&folder.path().join("found/search.csv"));
    assert!((3..=4).contains(&table.len()), "points 1 to 4: {table:?}");
    let best = table.iter().max_by(|a, b| a[3].parse::<f64>().unwrap().total_cmp(&b[3].parse().unwrap())).unwrap();
    assert!(stdout(&output).contains(&format!("by logit: --ts {} ", &best[1])), "{}", stdout(&output));
    // The best setting is one that `generate` takes.
    run(folder.path(), &["generate", "--seeds", "0", "--ts", &best[1], "--out", "made"]);
    let text = stdout(&lapidary(folder.path(), &["generate", "--ts", &best[1], "--dry-run"]));
    assert!(text.contains("(2 calls)"), "{text}");
}

#[test]
fn inspecting_says_what_a_bundled_model_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = lapidary(folder.path(), &["inspect", "gtsrb12-joint"]);
    assert!(output.status.success() && stdout(&output).contains("classifier"), "{}", stderr(&output));
    let output = lapidary(folder.path(), &["inspect", "gtsrb12-cm", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(facts["network"]["manifest"]["name"], "gtsrb12-cm");
    check_refused(folder.path(), &["inspect", "no/such.pt"], 1, "no file is there");
}

#[test]
fn a_preset_is_overridden_by_other_flags() {
    let folder = tempfile::tempdir().unwrap();
    let preset = ["refine", "--preset", "golan-2024-sgld", "--iterations", "3", "--dry-run"];
    let text = stdout(&lapidary(folder.path(), &preset));
    assert!(text.contains("B = 100") && text.contains("T = 3") && !text.contains("ε ="), "{text}");
}

#[test]
fn wrong_usage_ends_with_2_and_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let check = |args: &[&str], expected| check_refused(folder.path(), &[&["refine"][..], args].concat(), 2, expected);
    check(&["--radius", "0"], "Radius is 0, but must be a number from");
    check(&["--radius", "NaN"], "Radius is NaN, but must be a number from");
    check(&["--step-size", "-0.3"], "Step size is -0.3, but must be a number from");
    check(&["--classes", "stopp"], "\"stopp\" is no class of gtsrb12-cm, which knows 0 speed limit 30");
    check(&["--objective", "beauty"], "--objective is \"beauty\", but must be one of target-logit, bce, ");
    check(&["--preset", "mine"], "--preset is \"mine\", but must be one of demo, golan-2024-sgld, ");
    check(&["--ts", "0,22,39"], "the points of the grid are missing");
    check(&["--early-stop"], "there are no real pictures to compare with");
    check(&["--limit", "3"], "--limit is about pictures that are opened");
    check(
        &["--limit", "0", "--input", "a.png"],
        "Limit is 0, but must be a whole number from 1 to 10000000; give a value such as 100",
    );
    check(&["--seeds", "18446744073709551615"], "but must be a whole number from 0 to 4294967295");
    check_refused(folder.path(), &["edit", "--task", "colorize"], 2, "give one with --input");
    check_refused(folder.path(), &["edit", "--task", "inpaint", "--input", "a.png"], 2, "give a picture with --mask");
    check(&["--seeds", "9..5"], "--seeds is \"9..5\", but must be a range such as 0..64");
    check(&["--polish"], "--polish");
    check_refused(folder.path(), &["refin"], 2, "neither a command nor a file");
    let odd = dry_run_with(folder.path(), "LAPIDARY_KERNELS", "brun");
    assert_eq!(odd.status.code(), Some(2));
    assert!(stderr(&odd).contains("LAPIDARY_KERNELS is \"brun\", but may only be burn"), "{}", stderr(&odd));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written");
    std::fs::write(folder.path().join("-dash.png"), "a file of this name").unwrap();
    for args in [&["refine", "-dash.png"][..], &["edit", "--input", "-dash.png"], &["inspect", "-dash.png"]] {
        check_refused(folder.path(), args, 2, "its name looks like a flag: write ./-dash.png");
    }
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
    let input = |name, expected| {
        let args = ["refine", "--input", name, "--device", "cpu", "--out", "out"];
        check_refused(folder.path(), &args, 1, expected);
    };
    input("poem.png", "this is a text file, but no picture");
    write_samples(&folder.path().join("centred.npz"), [1, 4, 4, 3], &[-1.0_f32; 48], None);
    input("centred.npz", "arr_0 holds -1, which is outside of [0,1]");
    write_samples(&folder.path().join("wide.npz"), [1, 1, 2, 3], &[0_u8; 6], None);
    input("wide.npz", "which it cannot halve: give pictures whose sides are multiples of 4");
    write_samples(&folder.path().join("grey.npz"), [1, 32, 32, 1], &[0_u8; 1024], None);
    input("grey.npz", "the pictures have 1 channel, but the classifier takes 3: choose another classifier, or other");
    write_samples(&folder.path().join("foreign.npz"), [1, 32, 32, 3], &[0_u8; 3072], Some(&[999]));
    input("foreign.npz", "picture 0 is of class 999, but gtsrb12-joint knows 12 classes (0 to 11)");
    let grey = ["edit", "--task", "denoise", "--input", "grey.npz", "--classes", "stop", "--dry-run"];
    check_refused(folder.path(), &grey, 1, "the pictures have 1 channel, but the generator takes 3");
    let one_hot: Vec<i64> = (0..20).map(|class| i64::from(class == 3)).collect();
    write_samples(&folder.path().join("hot.npz"), [1, 32, 32, 3], &[0_u8; 3072], Some(&one_hot));
    input("hot.npz", "the one-hot rows of arr_1 have 20 columns, but gtsrb12-joint knows 12 classes");
    input("none.png", "no file is there");
}

#[test]
fn a_dry_run_tells_everything_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["refine", "--seeds", "0..64", "--iterations", "5", "--classes", "stop", "--dry-run", "--out", "out"];
    let output = lapidary(folder.path(), &args);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for part in [
        "gtsrb12-cm",
        "gtsrb12-joint",
        "SHA-256 1bb5281f",
        "0..64 (64 pictures)",
        "stop ×64",
        "ε = 3",
        "at most 50 % of the radius",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_recipe_remembers_the_part_the_references_and_the_levels() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    run(folder.path(), &["generate", "--seeds", "3..8", "--out", "made"]);
    let (_, levels) = array::<u8>(&at("made/samples.npz"), "arr_0");
    write_samples(&at("five.npz"), [5, 32, 32, 3], &levels, Some(&[3, 4, 5, 6, 7]));
    let part = ["--skip", "1", "--limit", "2", "--truncate", "--references", "made/images", "--iterations", "1"];
    for (input, out) in [("five.npz", "archive"), ("made/images", "files")] {
        let again = format!("{out}-again");
        run(folder.path(), &[&["refine", "--input", input, "--out", out][..], &part].concat());
        let session = format!("{out}/session.json");
        run(folder.path(), &["refine", "--session", &session, "--out", &again]);
        assert!(contents(&at(out)) == contents(&at(&again)), "{out}: every file is the same again");
        assert_eq!(recipe(&at(&session))["references"][0], "../made/images");
    }
    // Classes and seeds belong to a picture's place, whether others are left out or not.
    let classes = ["refine", "--input", "made/images", "--classes", "stop,yield", "--iterations", "1", "--skip", "1"];
    run(folder.path(), &[&classes[..], &["--out", "files", "--overwrite"]].concat());
    assert_eq!(array::<i64>(&at("files/result.npz"), "arr_1").1, [5, 6, 5, 6]);
    assert_eq!(array::<u64>(&at("files/result.npz"), "seeds").1, [1, 2, 3, 4]);
    // A smaller run leaves nothing of a larger one.
    run(folder.path(), &[&classes[..], &["--limit", "1", "--out", "files", "--overwrite"]].concat());
    let names: Vec<_> = contents(&at("files")).into_keys().filter(|path| path.starts_with("after")).collect();
    assert_eq!(names, [Path::new("after").join("000001.png")]);
}

#[test]
fn an_interpolation_is_made_again_by_its_recipe_and_cannot_be_refined_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let frames = ["edit", "--task", "interpolate", "--seed-from", "3", "--seed-to", "8", "--samples", "2"];
    run(folder.path(), &[&frames[..], &["--out", "a"]].concat());
    run(folder.path(), &["edit", "--session", "a/session.json", "--out", "b"]);
    assert!(contents(&folder.path().join("a")) == contents(&folder.path().join("b")));
    check_refused(folder.path(), &["refine", "--session", "a/session.json"], 1, "describes edited pictures");
    let path = folder.path().join("a/session.json");
    let mut edited = recipe(&path);
    edited["samples"][1]["label"] = 9.into();
    std::fs::write(path, edited.to_string()).unwrap();
    let output = run(folder.path(), &["edit", "--session", "a/session.json", "--out", "c"]);
    let text = stderr(&output);
    assert!(text.contains("with class 9, but its settings give seed"), "{text}");
}

#[test]
fn a_dry_run_refuses_what_the_run_refuses() {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::new(32, 32).save(folder.path().join("a.png")).unwrap();
    let check = |args: &[&str], expected| {
        check_refused(folder.path(), &[args, &["--dry-run"]].concat(), 1, expected);
    };
    check(&["refine", "--input", "none.png"], "no file is there");
    check(&["refine", "--references", "none.png"], "no file is there");
    let patch = ["edit", "--task", "super-resolution", "--input", "a.png", "--patch", "5"];
    check(&patch, "patches of 5 x 5 pixels do not tile");
    std::fs::write(folder.path().join("poem.png"), "Shall I compare thee to a summer's day?").unwrap();
    check(&["refine", "--input", "poem.png"], "this is a text file, but no picture");
    check(&["refine", "--references", "poem.png"], "this is a text file, but no picture");
    let mut values = vec![0.5_f32; 2 * 3072];
    values[3072] = f32::NAN;
    write_samples(&folder.path().join("nan.npz"), [2, 32, 32, 3], &values, None);
    check(&["refine", "--input", "nan.npz"], "picture 1 of arr_0 has 1 value of NaN");
    check(&["refine", "--input", "a.png", "--classifier", "poem.png"], "this is a text file");
}

#[test]
fn a_dry_run_compares_with_the_session_as_the_run_does() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    image::RgbImage::from_pixel(32, 32, image::Rgb([200, 30, 30])).save(at("a.png")).unwrap();
    run(folder.path(), &["refine", "--input", "a.png", "--iterations", "1", "--out", "o"]);
    let mut edited = recipe(&at("o/session.json"));
    let session = |name: &str, recipe: &serde_json::Value| {
        std::fs::write(at("o").join(name), recipe.to_string()).unwrap();
        ["refine".to_owned(), "--session".to_owned(), format!("o/{name}"), "--out".to_owned(), "n".to_owned()]
    };
    let both = |args: &[String], code, expected: &str| {
        for dry in [&["--dry-run"][..], &[]] {
            let args: Vec<&str> = args.iter().map(String::as_str).chain(dry.iter().copied()).collect();
            let output = lapidary(folder.path(), &args);
            assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
            assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        }
        let _may_not_be_there = std::fs::remove_dir_all(at("n"));
    };
    edited["samples"][0]["label"] = 99.into();
    both(&session("label.json", &edited), 1, "class 99 for picture 0, but the classifier knows 12 classes");
    edited["samples"][0]["label"] = 9.into();
    edited["provenance"]["classifier"]["sha256"] = "0123".into();
    both(&session("model.json", &edited), 0, "but the session was made with 0123), so results will differ");
    image::RgbImage::from_pixel(32, 32, image::Rgb([30, 30, 200])).save(at("a.png")).unwrap();
    both(&session("input.json", &edited), 0, "a.png changed since the session was made, so results will differ");
    std::fs::remove_file(at("a.png")).unwrap();
    both(&session("gone.json", &edited), 1, "no file is there");
}

#[test]
fn help_is_on_the_output_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let commands =
        ["refine", "generate", "edit", "search", "merge", "inspect", "bench"].map(|command| vec![command, "--help"]);
    for args in commands.into_iter().chain([vec!["--help"], vec!["--version"]]) {
        let args = args.as_slice();
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

/// Without a session of the system's (over ssh, in cron, in containers) graphics libraries have nobody to ask.
#[test]
fn where_no_session_is_nothing_complains() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["generate", "--seeds", "1", "--quiet"])
        .current_dir(folder.path())
        .env("LAPIDARY_HOME", home())
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("NODEVICE_SELECT")
        .output()
        .expect("the program starts");
    assert!(output.status.success() && !stderr(&output).contains("XDG_RUNTIME_DIR"), "{}", stderr(&output));
}

#[test]
fn an_edit_needs_a_classifier_of_the_generators_classes_to_say_what_a_picture_shows() {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::new(32, 32).save(folder.path().join("a.png")).unwrap();
    let joint = lapidary::zoo::BUNDLED.iter().find(|bundled| bundled.name == "gtsrb12-joint").unwrap();
    let mut manifest = lapidary::zoo::bundled_manifest(joint);
    manifest.classes = vec!["cat".to_owned(), "dog".to_owned()];
    std::fs::write(folder.path().join("pets.toml"), toml::to_string(&manifest).unwrap()).unwrap();
    let args = ["edit", "--task", "colorize", "a.png", "--classifier", "pets.toml", "--dry-run"];
    check_refused(folder.path(), &args, 1, "the classifier knows 2 classes (cat, dog)");
    let output = lapidary(folder.path(), &[&args[..], &["--classes", "stop"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}
