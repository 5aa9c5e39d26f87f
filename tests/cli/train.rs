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
    std::fs::write(folder.join("tiny.toml"), &longer).expect("it is ours");
    train(folder, &["--out", "whole", "--resume"]);
    let model = folder.join("whole/checkpoints/step_00000007/ema_0.9.toml");
    let model = model.to_string_lossy();
    run(folder, &["generate", "--generator", &model, "--classes", "1", "--samples", "2", "--out", "made"]);
    assert!(folder.join("made/samples.npz").exists());
    std::fs::write(folder.join("tiny.toml"), longer.replace("last = 4", "last = 5")).expect("it is ours");
    let other = lapidary(folder, &[&TRAIN[..], &["--out", "whole", "--resume"]].concat());
    let text = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.code() == Some(1) && text.contains("another objective.grid.last = 5 (was 4)"), "{text}");
}

/// A byte in the middle of a file is another one.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("it was written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("it is ours");
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_it_is_gone_on_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    prepare(folder);
    let with = |steps: u32| CONFIG.replace("steps = 6", &format!("steps = {steps}")).replace("every = 2", "every = 1");
    std::fs::write(folder.join("tiny.toml"), with(2)).expect("it is ours");
    train(folder, &["--out", "run"]);
    let at = |step: u32, name: &str| folder.join(format!("run/checkpoints/step_0000000{step}/{name}"));
    let whole = std::fs::read(at(2, "training.safetensors")).expect("it was written");
    damage(&at(2, "training.safetensors"));
    let resumed = run(folder, &["train", "generator", "--resume", "--out", "run"]);
    let text = super::stderr(&resumed);
    assert!(text.contains("the checkpoint of step 2 is damaged (training.safetensors holds other bytes"), "{text}");
    assert!(std::fs::read(at(2, "training.safetensors")).expect("it is made again") == whole);
    // A shorter one, and one without its last file.
    std::fs::write(at(2, "model.safetensors"), "short").expect("it is ours");
    std::fs::remove_file(at(1, "ema_0.9.safetensors")).expect("it was written");
    let resume = ["train", "generator", "--resume", "--out", "run"];
    super::check_refused(folder, &resume, 1, "no checkpoint of this training is whole (model.safetensors holds other");
}

#[test]
fn a_training_goes_on_as_what_it_was_begun_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    prepare(folder);
    let config = CONFIG.replace("steps = 6", "steps = 2");
    std::fs::write(folder.join("tiny.toml"), &config).expect("it is ours");
    train(folder, &["--out", "run"]);
    let resume = ["train", "generator", "--resume", "--out", "run", "--dry-run"];
    let refused = |expected: &str| super::check_refused(folder, &resume, 1, expected);
    let classifier = ["train", "classifier", "--resume", "--out", "run"];
    super::check_refused(folder, &classifier, 1, "for `lapidary train generator`, not for `lapidary train classifier`");
    // Its own configuration, edited.
    let own = folder.join("run/config.toml");
    let before = std::fs::read_to_string(&own).expect("it was written");
    let edit = |from: &str, to: &str| {
        assert!(before.contains(from), "{from} is not in {before}");
        std::fs::write(&own, before.replace(from, to)).expect("it is ours");
    };
    edit("seed = 0", "seed = 1");
    refused("begun with another course.seed = 1 (was 0)");
    edit("steps = 2", "steps = 1");
    refused("has made 2 steps, but the configuration says steps = 1");
    edit("parts = 2", "parts = 4");
    run(folder, &resume);
    // The same pictures elsewhere, and others in their place.
    std::fs::rename(folder.join("in.npz"), folder.join("moved.npz")).expect("it is ours");
    edit("in.npz", "moved.npz");
    run(folder, &resume);
    write_samples(&folder.join("moved.npz"), [5, 8, 8, 3], &[7_u8; 5 * 8 * 8 * 3], Some(&[0, 1, 0, 1, 1]));
    refused("the pictures to learn from, or their labels, are not what the training in this folder was begun with");
}

/// A configuration with some words replaced is refused for a reason, before anything is written.
fn check_config(folder: &Path, role: &str, config: &str, (from, to): (&str, &str), expected: &str) {
    assert!(config.contains(from), "{from}");
    std::fs::write(folder.join("odd.toml"), config.replace(from, to)).expect("it is ours");
    let args = ["train", role, "--config", "odd.toml", "--out", "odd", "--device", "cpu"];
    super::check_refused(folder, &args, 1, expected);
    assert!(!folder.join("odd").exists(), "{to}");
}

#[test]
fn networks_that_cannot_be_are_refused_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    prepare(folder);
    for (from, to, expected) in [
        ("model_channels = 32", "model_channels = 48", "model_channels = 48, but it must be a multiple of 32"),
        ("model_channels = 32", "model_channels = 0", "model_channels = 0, but it must be"),
        ("model_channels = 32", "model_channels = 16384", "training this network takes at least"),
        ("num_heads = 1", "num_heads = 5", "num_heads = 5, but one of them must divide the channels"),
        ("num_heads = 1", "num_head_channels = 24", "num_head_channels = 24, but it must divide the channels"),
        ("channel_mult = [1]", "channel_mult = []", "channel_mult = [], but it needs 1 to 16 factors"),
        ("channel_mult = [1]", "channel_mult = [1, 1, 1, 1, 1]", "resolution = 8 with patch_size = 1 and 5 levels"),
        ("attention_downsample = []", "attention_downsample = [2]", "attention_downsample with 2 for 1 levels"),
        ("attention_downsample = []", "attention_downsample = [0]", "attention_downsample with 0 for 1 levels"),
        ("num_res_blocks = 1", "num_res_blocks = 0", "num_res_blocks = 0, but every level needs"),
        ("num_res_blocks = 1", "num_rez_blocks = 1", "no entry is called num_rez_blocks"),
        ("in.npz", "none.npz", "no file or folder of pictures is there"),
    ] {
        check_config(folder, "generator", CONFIG, (from, to), expected);
    }
    for (from, to, expected) in [
        ("stem_stride = 1", "stem_stride = 0", "stem_kernel = 3 and stem_stride = 0, but the kernel must be odd"),
        ("stem_kernel = 3", "stem_kernel = 0", "stem_kernel = 0 and stem_stride = 1, but the kernel must be odd"),
        ("widths = [8]", "widths = [0]", "both need one positive number per stage"),
        ("blocks = [1]", "blocks = []", "both need one positive number per stage"),
        ("blocks = [1]", "block = \"bottleneck\"\nwidth_per_group = 3\nblocks = [1]", "must be a whole number"),
        ("widths = [8]", "widths = [8]\npreactivation = { stem_width = 0 }", "stem_width = 0, but it must be positive"),
        ("fakes.npz", "in.png", "no file is there"),
    ] {
        check_config(folder, "classifier", CLASSIFIER, (from, to), expected);
    }
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
    write_samples(&folder.join("fakes.npz"), [4, 8, 8, 3], &levels, Some(&[0, 1, 0, 0]));
    let resume = ["train", "classifier", "--resume", "--out", "whole", "--dry-run"];
    super::check_refused(folder, &resume, 1, "what objective.fakes names is not what the training in this folder");
    let none = CLASSIFIER.replace("fakes.npz", "in.png");
    std::fs::write(folder.join("judge.toml"), none).expect("it is ours");
    let refused = lapidary(folder, &["train", "classifier", "--config", "judge.toml", "--out", "other"]);
    assert_eq!(refused.status.code(), Some(1));
}
