//! The demo on a GPU, here usually a software one. Slow the first time (a minute of kernel tuning, remembered in the target
//! folder), so there is one test only.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Pictures after refinement; `None` when there is no adapter at all.
fn refined(out: &Path, device: &str) -> Option<Vec<f32>> {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gpu-home");
    let output = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["refine", "--seeds", "0..4", "--iterations", "3", "--quiet", "--device", device, "--out"])
        .arg(out)
        .env("LAPIDARY_HOME", home)
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
    let Some(gpu) = refined(&folder.path().join("gpu"), "gpu") else {
        eprintln!("skipped: this machine has no Vulkan, Metal or DirectX adapter, not even a software one");
        return;
    };
    let cpu = refined(&folder.path().join("cpu"), "cpu").expect("the CPU is always there");
    let worst = gpu.iter().zip(&cpu).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Summation orders differ; 1e-3 is a quarter of an 8-bit level.
    assert!(worst <= 1e-3, "pictures differ by {worst}");
}
