//! Small networks on a GPU, here usually a software one. Every shape has kernels of its own to compile and tune, so the
//! networks have as few as hold every kind of layer, and there is one test only.

use std::path::{Path, PathBuf};
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

/// Tuning tries few candidates, each once: which kernel is fastest here is nobody's question.
const TUNING: &str = r#"
    [autotune]
    level = "minimal"
    [autotune.bench]
    min_samples = 1
    max_samples = 1
"#;

/// Pictures after generating and refining; `None` when there is no adapter at all.
fn refined(folder: &Path, device: &str) -> Option<Vec<f32>> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gpu-home");
    let out = folder.join(device);
    let output = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["refine", "--seeds", "0..2", "--iterations", "3", "--radius", "1", "--quiet", "--device", device])
        .arg("--generator")
        .arg(folder.join("generator/net.toml"))
        .arg("--classifier")
        .arg(folder.join("classifier/net.toml"))
        .arg("--out")
        .arg(&out)
        .env("LAPIDARY_HOME", home)
        .current_dir(folder)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("no GPU was found") {
        return None;
    }
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("differs by"), "the self-check is content: {errors}");
    let file = std::fs::File::open(out.join("result.npz")).expect("the arrays");
    let mut archive = zip::ZipArchive::new(file).expect("a zip archive");
    let array = npyz::NpyFile::new(archive.by_name("after.npy").expect("the array")).expect("a header");
    Some(array.into_vec().expect("float values"))
}

#[test]
fn a_gpu_gives_the_pictures_of_the_cpu() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cubecl.toml"), TUNING).expect("a writable folder");
    for (name, manifest, conv_gain) in [("classifier", CLASSIFIER, 6.0), ("generator", GENERATOR, 3.0)] {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        checkpoint(manifest, Recipe { conv_gain, last_norm: None }, &folder);
    }
    let Some(gpu) = refined(folder.path(), "gpu") else {
        assert!(
            std::env::var_os(REQUIRED).is_none(),
            "{REQUIRED} is set, but no adapter was found, not even a software one"
        );
        eprintln!("skipped: this machine has no Vulkan, Metal or DirectX adapter, not even a software one");
        return;
    };
    let cpu = refined(folder.path(), "cpu").expect("the CPU is always there");
    let moved = cpu.iter().any(|value| *value > 0.01 && *value < 0.99);
    assert!(moved, "the pictures are not all black and white");
    let worst = gpu.iter().zip(&cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Summation orders differ; 1e-3 is a quarter of an 8-bit level.
    assert!(worst <= 1e-3, "pictures differ by {worst}");
}
