//! Small networks on a GPU, here usually a software one. Every shape has kernels of its own to compile and tune, so the
//! networks have as few as hold every kind of layer, and there is one test only.

use std::path::Path;
use std::process::Command;

use self::hashed::{Recipe, checkpoint};

#[path = "values/hashed.rs"]
#[expect(dead_code, reason = "pictures are for the tests of values")]
mod hashed;

/// Set where a machine without any adapter is a mistake, as in continuous integration.
const REQUIRED: &str = "LAPIDARY_REQUIRE_GPU";

/// One residual block with two kinds of convolution and batch norm.
const CLASSIFIER: &str = r#"
    name = "small-classifier"
    title = "Small classifier"
    file = "net.safetensors"
    resolution = 8
    classes = ["even", "odd"]
    source = "hashed weights"
    licence = "none"
    kind = "classifier"
    mean = [0.5, 0.5, 0.5]
    std = [0.25, 0.25, 0.25]

    [resnet]
    blocks = [1]
    widths = [8]
    shortcut = "conv"
    stem_kernel = 3
    stem_stride = 1
"#;

/// Group norm, scale and shift, attention, on one level.
const GENERATOR: &str = r#"
    name = "small-generator"
    title = "Small generator"
    file = "net.safetensors"
    resolution = 8
    classes = ["even", "odd"]
    source = "hashed weights"
    licence = "none"
    kind = "generator"

    [unet]
    model_channels = 32
    num_res_blocks = 1
    channel_mult = [1]
    attention_downsample = [1]
    num_head_channels = 32

    [diffusion]
    preconditioning = "consistency"
"#;

/// The first layer of the classifier, which tuned kernels are made to compute wrongly.
const WRONG: &str = "convolution 3x3, 3 to 8 channels";

/// Pictures after generating and refining, and what was said meanwhile; `None` when there is no adapter at all.
fn refined(folder: &Path, device: &str) -> Option<(Vec<f32>, String)> {
    let out = folder.join(device);
    let output = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["refine", "--seeds", "0..2", "--iterations", "3", "--radius", "1", "--device", device])
        .arg("--generator")
        .arg(folder.join("generator/net.toml"))
        .arg("--classifier")
        .arg(folder.join("classifier/net.toml"))
        .arg("--out")
        .arg(&out)
        .env("LAPIDARY_HOME", folder.join("home"))
        .env("LAPIDARY_WRONG_KERNEL", WRONG)
        .current_dir(folder)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("no GPU was found") {
        return None;
    }
    assert!(output.status.success(), "{said}");
    let file = std::fs::File::open(out.join("result.npz")).expect("the arrays");
    let mut archive = zip::ZipArchive::new(file).expect("a zip archive");
    let array = npyz::NpyFile::new(archive.by_name("after.npy").expect("the array")).expect("a header");
    Some((array.into_vec().expect("float values"), said))
}

#[test]
fn a_gpu_gives_the_pictures_of_the_cpu_also_when_a_tuned_kernel_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, manifest, conv_gain) in [("classifier", CLASSIFIER, 6.0), ("generator", GENERATOR, 3.0)] {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        checkpoint(manifest, Recipe { conv_gain, last_norm: None }, &folder);
    }
    let Some((gpu, said)) = refined(folder.path(), "gpu") else {
        assert!(
            std::env::var_os(REQUIRED).is_none(),
            "{REQUIRED} is set, but no adapter was found, not even a software one"
        );
        eprintln!("skipped: this machine has no Vulkan, Metal or DirectX adapter, not even a software one");
        return;
    };
    // The generator is right as it is, the classifier in all but one layer, and wholly so without tuning.
    let lines = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((lines("checked: Small generator"), lines("checked: Small classifier")), (1, 1), "{said}");
    let wrong = format!(" computes the classifier otherwise than the CPU ({WRONG} at 8x8: 1.0");
    assert!(said.contains(&wrong) && !said.contains("and 1 more"), "{said}");
    let index = std::fs::read_to_string(folder.path().join("gpu/session.json")).expect("the facts");
    assert!(index.contains("\"untuned\": true"), "{index}");
    let (cpu, said) = refined(folder.path(), "cpu").expect("the CPU is always there");
    assert!(!said.contains("checked"), "nothing is compared with itself: {said}");
    let moved = cpu.iter().any(|value| *value > 0.01 && *value < 0.99);
    assert!(moved, "the pictures are not all black and white");
    let worst = gpu.iter().zip(&cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Summation orders differ; 1e-3 is a quarter of an 8-bit level.
    assert!(worst <= 1e-3, "pictures differ by {worst}");
}
