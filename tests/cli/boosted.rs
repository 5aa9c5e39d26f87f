//! `lapidary train boosted`: from a generator and a classifier that were trained here, resumed with the same bytes, used.

use std::path::Path;

use super::train::contents;
use super::{lapidary, run, write_samples};

const GENERATOR: &str = r#"
name = "tiny"
data = { pictures = ["in.npz"] }
objective = { kind = "consistency-training" }
course = { steps = 1, batch = 4, averages = [] }

[network.unet]
model_channels = 32
num_res_blocks = 1
channel_mult = [1]
attention_downsample = []
num_heads = 1
"#;

const CLASSIFIER: &str = r#"
name = "judge"
data = { pictures = ["in.npz"] }
objective = { kind = "plain" }
course = { steps = 1, batch = 4, averages = [] }

[network.resnet]
blocks = [1]
widths = [8]
shortcut = "pool"
stem_kernel = 3
stem_stride = 1
"#;

const BOOSTED: &str = r#"
name = "bright"
network = { from = "generator/checkpoints/step_00000001/model.toml" }

[objective]
kind = "boosted"
bank = 6
held_out = 3

[objective.refine]
classifier = "classifier/checkpoints/step_00000001/model.toml"
eps = 1.0
iterations = 2

[course]
steps = 4
batch = 3
averages = [0.5]

[output]
every = 2
"#;

fn train(folder: &Path, what: &str, config: &str, args: &[&str]) {
    std::fs::write(folder.join("config.toml"), config).expect("it is ours");
    run(folder, &[&["train", what, "--config", "config.toml"], args].concat());
}

#[test]
fn a_generator_is_boosted_resumed_and_used() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let levels: Vec<u8> = (0..5 * 8 * 8 * 3).map(|i| (i * 7 + i / 192 * 31) as u8).collect();
    write_samples(&folder.join("in.npz"), [5, 8, 8, 3], &levels, Some(&[0, 1, 0, 1, 1]));
    train(folder, "generator", GENERATOR, &["--out", "generator"]);
    train(folder, "classifier", CLASSIFIER, &["--out", "classifier"]);

    train(folder, "boosted", BOOSTED, &["--out", "whole"]);
    train(folder, "boosted", &BOOSTED.replace("steps = 4", "steps = 2"), &["--out", "halves"]);
    train(folder, "boosted", BOOSTED, &["--out", "halves", "--resume"]);
    let [whole, halves] = ["whole", "halves"].map(|name| contents(&folder.join(name)));
    let events = |name: &str| {
        let entries = std::fs::read_dir(folder.join(name)).expect("a folder").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("events.out.tfevents.")).count()
    };
    assert_eq!(["whole", "halves"].map(events), [1, 2], "one for every start of the program");
    assert_eq!(whole.keys().collect::<Vec<_>>(), halves.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(*bytes == halves[name], "{} differs after it was resumed", name.display());
    }
    let refined = whole.keys().filter(|name| name.starts_with("bank")).count();
    assert_eq!(refined, 3, "two steps of pictures and the held-out ones");
    let table = String::from_utf8(whole[Path::new("validation.csv")].clone()).expect("text");
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows.len() == 3 && rows[0] == "step,pictures,before,now,refined,recovered", "{table}");

    let model = folder.join("whole/checkpoints/step_00000004/ema_0.5.toml").to_string_lossy().into_owned();
    run(folder, &["generate", "--generator", &model, "--classes", "1", "--samples", "2", "--out", "made"]);
    let refused = |what: &str, config: &str, expected: &str| {
        std::fs::write(folder.join("config.toml"), config).expect("it is ours");
        let out = lapidary(folder, &["train", what, "--config", "config.toml", "--out", "other"]);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && text.contains(expected), "{text}");
    };
    refused("generator", BOOSTED, "use `lapidary train boosted`");
    refused("boosted", GENERATOR, "use `lapidary train generator`");
    refused(
        "boosted",
        &BOOSTED.replace("[output]", "[data]\npictures = ['in.npz']\n[output]"),
        "has pictures of its own",
    );
    refused("boosted", &BOOSTED.replace("eps = 1.0", "radius = 1.0"), "unknown field `radius`");
    refused("boosted", &BOOSTED.replace("network = { from", "network = { conditional = true } # "), "[network]");
    let generator = "generator/checkpoints/step_00000001/model.toml";
    refused("boosted", &BOOSTED.replace(generator, "gtsrb12-edm"), "consistency model");
    let halving = GENERATOR.replace("consistency-training", "progressive-distillation");
    refused("generator", &halving, "[network] names none");
    let from = halving.replace("[network.unet]", &format!("[network]\nfrom = '{generator}'\n[network.unet]"));
    refused("generator", &from, "no generator of EDM");
}
