//! Training by the command line: what is written is used, killed and resumed it ends with the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{command, lapidary, run, write_samples};

/// A U-Net of the smallest size, with dropout.
const CONFIG: &str = r#"
name = "tiny"
licence = "none"

[data]
pictures = ["in.npz"]
variety.shift = 1

[network]
dropout = 0.1

[network.unet]
model_channels = 32
num_res_blocks = 1
channel_mult = [1]
attention_downsample = []
num_heads = 1

[objective]
kind = "consistency-training"
grid = { kind = "progressive", last = 4 }

[course]
steps = 6
batch = 4
parts = 2
averages = [0.9]

[optimiser]
rate = 1e-3

[output]
every = 2
keep = 2
"#;

fn prepare(folder: &Path) {
    let levels: Vec<u8> = (0..5 * 8 * 8 * 3).map(|i| (i * 7 + i / 192 * 31) as u8).collect();
    write_samples(&folder.join("in.npz"), [5, 8, 8, 3], &levels, Some(&[0, 1, 0, 1, 1]));
    std::fs::write(folder.join("tiny.toml"), CONFIG).expect("it is ours");
}

/// The files of a training but for those that tell times, by their way from its folder.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = super::contents(folder);
    all.retain(|name, _| !name.ends_with("metrics.csv") && !name.to_string_lossy().starts_with("events.out.tfevents."));
    all
}

/// Steps and losses.
fn rows(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.csv")).expect("a table");
    text.lines().map(|row| row.rsplit_once(',').expect("columns").0.to_owned()).collect()
}

const TRAIN: [&str; 4] = ["train", "generator", "--config", "tiny.toml"];

fn train(folder: &Path, args: &[&str]) {
    run(folder, &[&TRAIN[..], args].concat());
}

#[test]
fn a_generator_is_trained_killed_resumed_and_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    prepare(folder);
    train(folder, &["--out", "whole"]);
    let whole = contents(&folder.join("whole"));
    let names: Vec<String> = whole.keys().map(|name| name.to_string_lossy().replace('\\', "/")).collect();
    let checkpoints = ["checkpoints/step_00000006/model.safetensors", "checkpoints/step_00000004/ema_0.9.toml"];
    for name in ["config.toml", "samples/00000002.png", "samples/00000006.png"].into_iter().chain(checkpoints) {
        assert!(names.iter().any(|found| found == name), "{name} is none of {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("step_00000002")), "only the last two are kept: {names:?}");

    // Whatever the moment of the kill, the rest is the same.
    let out = folder.join("killed");
    let mut child = command(folder)
        .args(TRAIN)
        .args(["--out", "killed", "--device", "cpu"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    while !out.join("checkpoints/step_00000002").exists() && child.try_wait().expect("it is ours").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    let again = lapidary(folder, &[&TRAIN[..], &["--out", "killed"]].concat());
    assert_eq!(again.status.code(), Some(1), "a training is not begun over another");
    assert!(String::from_utf8_lossy(&again.stderr).contains("--resume"));
    run(folder, &["train", "generator", "--resume", "--out", "killed"]);
    let killed = contents(&out);
    assert_eq!(killed.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(*bytes == killed[name], "{} differs after a kill", name.display());
    }
    assert_eq!(rows(&out), rows(&folder.join("whole")));
    assert_eq!(rows(&out).len(), 7, "a head and a row per step");

    // More steps of the same, which a model like any other comes out of.
    let longer = CONFIG.replace("steps = 6", "steps = 7");
    std::fs::write(folder.join("tiny.toml"), longer).expect("it is ours");
    train(folder, &["--out", "whole", "--resume"]);
    let model = folder.join("whole/checkpoints/step_00000007/ema_0.9.toml");
    let model = model.to_string_lossy();
    run(folder, &["generate", "--generator", &model, "--classes", "1", "--samples", "2", "--out", "made"]);
    assert!(folder.join("made/samples.npz").exists());
    std::fs::write(folder.join("tiny.toml"), CONFIG.replace("last = 4", "last = 5")).expect("it is ours");
    let other = lapidary(folder, &[&TRAIN[..], &["--out", "whole", "--resume"]].concat());
    let text = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.code() == Some(1) && text.contains("another objective"), "{text}");
}

#[test]
fn what_a_training_lacks_is_said_before_it_begins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    prepare(folder.path());
    let said = |args: &[&str]| String::from_utf8_lossy(&lapidary(folder.path(), args).stderr).into_owned();
    super::check_refused(folder.path(), &["train", "generator"], 2, "give one with --config");
    super::check_refused(folder.path(), &["train"], 2, "needs a word behind it");
    assert!(said(&["train", "generator", "--resume", "--out", "none"]).contains("no training in this folder"));
    let dry = lapidary(folder.path(), &[&TRAIN[..], &["--dry-run", "--device", "cpu"]].concat());
    let text = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(text.contains("steps 0 to 6 of 4 pictures each, on CPU"), "{text}");
    assert!(text.contains("classes = [\"class 0\", \"class 1\"]") && text.contains("resolution = 8"), "{text}");
    assert!(!folder.path().join("lapidary-train").exists(), "nothing is written");
}

const CLASSIFIER: &str = r#"
name = "judge"
data = { pictures = ["in.npz"] }

[network.resnet]
blocks = [1]
widths = [8]
shortcut = "pool"
stem_kernel = 3
stem_stride = 1

[objective]
kind = "joint"
fakes = "fakes.npz"
real = { eps = 0.5, step_size = 0.25, steps = 1, random_start = true }

[course]
steps = 4
batch = 3

[optimiser]
rule = "adam"
clip = 1.0

[output]
every = 2
keep = 9
"#;

#[test]
fn a_joint_classifier_is_trained_resumed_and_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    prepare(folder);
    let levels: Vec<u8> = (0..4 * 8 * 8 * 3).map(|i| (i * 31 % 251) as u8).collect();
    write_samples(&folder.join("fakes.npz"), [4, 8, 8, 3], &levels, Some(&[1, 1, 0, 0]));
    let begin = |name: &str, steps: u32, args: &[&str]| {
        let text = CLASSIFIER.replace("steps = 4", &format!("steps = {steps}"));
        std::fs::write(folder.join("judge.toml"), text).expect("it is ours");
        run(folder, &[&["train", "classifier", "--config", "judge.toml", "--out", name][..], args].concat());
    };
    begin("whole", 4, &[]);
    begin("halves", 2, &[]);
    begin("halves", 4, &["--resume"]);
    let [whole, halves] = ["whole", "halves"].map(|name| contents(&folder.join(name)));
    assert_eq!(whole.keys().collect::<Vec<_>>(), halves.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(*bytes == halves[name], "{} differs after it was resumed", name.display());
    }
    let model = folder.join("whole/checkpoints/step_00000004/model.toml").to_string_lossy().into_owned();
    let args = ["refine", "--input", "in.npz", "--classifier", &model, "--classes", "all", "--iterations", "1"];
    run(folder, &[&args[..], &["--out", "refined"]].concat());
    let none = CLASSIFIER.replace("fakes.npz", "in.png");
    std::fs::write(folder.join("judge.toml"), none).expect("it is ours");
    let refused = lapidary(folder, &["train", "classifier", "--config", "judge.toml", "--out", "other"]);
    assert_eq!(refused.status.code(), Some(1));
}
