//! Every layer of the networks that this program is for, on a GPU (a software one where there is no other) and on the CPU:
//! forwards and backwards, with tuned kernels and with plain ones.
//!
//! `cargo bench --profile dev --bench gpu_matrix`. Every shape has kernels of its own to be compiled and tuned, which takes a
//! software rasteriser seconds to minutes; what is done is written down, and the next start goes on behind it. Pictures are
//! small: kernels hang on channels more than on sizes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::cubecl::config::autotune::AutotuneLevel;
use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _};
use burn::tensor::{Device, DeviceKind, Tensor};
use lapidary::checkpoint::CheckpointError;
use lapidary::net::Source;
use lapidary::net::check::{Call, Mode, TOLERANCE, record, set_mode};
use lapidary::net::resnet::Resnet;
use lapidary::net::unet::Unet;
use lapidary::zoo::{BUNDLED, Manifest, bundled_manifest};

/// Pictures, and their sides.
const PICTURES: usize = 2;
const SIDE: usize = 32;
/// Of the largest network.
const SMALL_SIDE: usize = 16;

const RESNET_50: &str = "[resnet]\nblock = \"bottleneck\"\nblocks = [3, 4, 6, 3]\nwidths = [64, 128, 256, 512]\n\
                         shortcut = \"conv\"\nstem_kernel = 7\nstem_stride = 2\nstem_pool = true\n";
const WIDER: &str = "width_per_group = 128\n";
/// One block per level; the published one has three.
const IMAGENET_64: &str = "[unet]\nmodel_channels = 192\nnum_res_blocks = 1\nchannel_mult = [1, 2, 3, 4]\n\
                           attention_downsample = [2, 4, 8]\nnum_head_channels = 64\nuse_scale_shift_norm = true\n\
                           resblock_updown = true\n\n[diffusion]\npreconditioning = \"consistency\"\n";

/// Values without a pattern that keep activations of order 1.
struct Values;

impl Source for Values {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
        let table: Vec<f32> = (0..10_007).map(|i| (i as f32 * 12.9898).sin() * 43758.547 % 1.0).collect();
        let fan: usize = shape.iter().skip(1).product();
        let (factor, summand) = match shape {
            [_] if name.ends_with("weight") || name.ends_with("running_var") => (0.25, 1.0),
            [_] => (0.1, 0.0),
            _ => ((3.0 / fan as f32).sqrt(), 0.0),
        };
        Ok(Some(table.iter().cycle().take(shape.iter().product()).map(|x| x * factor + summand).collect()))
    }
}

fn manifest(kind: &str, network: &str) -> Manifest {
    let text = format!(
        "name = \"net\"\ntitle = \"net\"\nfile = \"net.safetensors\"\nresolution = 64\nclasses = [\"a\", \"b\"]\n\
         source = \"\"\nlicence = \"\"\nkind = \"{kind}\"\n{network}"
    );
    Manifest::parse(&text, Path::new("net.toml")).expect("it is valid")
}

/// The layers of a manifest's network, differentiated.
fn layers(manifest: &Manifest, side: usize) -> Vec<Call> {
    let cpu = Device::flex();
    let x = Tensor::zeros([PICTURES, manifest.channels, side, side], &cpu).autodiff().require_grad();
    if let Some(config) = manifest.resnet() {
        let net = Resnet::load(&config, &mut Values, &cpu).expect("all values are there").fold();
        return record(|| net.forward(x)).1;
    }
    let config = manifest.unet().expect("a network is one or the other");
    let net = Unet::load(config, &mut Values, &cpu).expect("all values are there").fold();
    record(|| net.forward(x, &[0.5; PICTURES], Some(&[0; PICTURES]))).1
}

/// What was found, by mode and layer: the largest difference and the seconds; none while, or since, that was computed.
type Known = BTreeMap<(String, String), Option<(f32, f32)>>;

fn known(file: &Path) -> Known {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut known = Known::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        if let [mode, layer, numbers @ ..] = &*parts {
            let numbers: Vec<f32> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
            let found = if let [difference, secs] = *numbers { Some((difference, secs)) } else { None };
            known.insert(((*mode).to_owned(), (*layer).to_owned()), found);
        }
    }
    known
}

fn main() {
    let mut config = CubeClRuntimeConfig::default();
    // Every candidate is tried, once, so that whatever is fastest anywhere is met.
    config.autotune.level = AutotuneLevel::Full;
    (config.autotune.bench.min_samples, config.autotune.bench.max_samples) = (1, 1);
    assert!(CubeClRuntimeConfig::try_set(config), "nothing was tuned before");
    let gpu = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice).init().expect("a GPU");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gpu_matrix.tsv");
    let mut done = known(&file);
    let mut out = std::io::stdout().lock();
    let mut log = OpenOptions::new().create(true).append(true).open(&file).expect("a writable folder");
    let mut write = |line: String| writeln!(log, "{line}").expect("a writable file");
    let mut failures = 0;
    let classifier = |text: &str| manifest("classifier", &format!("mean = [0, 0, 0]\nstd = [1, 1, 1]\n{text}"));
    let networks = BUNDLED[..2].iter().map(|bundled| (bundled.name, bundled_manifest(bundled), SIDE)).chain([
        ("ResNet-50", classifier(RESNET_50), SIDE),
        ("Wide-ResNet-50-2", classifier(&format!("{RESNET_50}{WIDER}")), SIDE),
        ("ImageNet-64 U-Net, one block per level", manifest("generator", IMAGENET_64), SMALL_SIDE),
    ]);
    for (name, manifest, side) in networks {
        let layers = layers(&manifest, side);
        writeln!(out, "\n{name}: {} layers\n", layers.len()).expect("somebody reads");
        writeln!(out, "| layer | tuned | s | untuned | s |\n|---|---|---|---|---|").expect("somebody reads");
        for layer in layers {
            let mut row = format!("| {layer} |");
            for (mode, untuned) in [("tuned", false), ("untuned", true)] {
                let key = (mode.to_owned(), layer.to_string());
                let found = *done.entry(key).or_insert_with(|| {
                    write(format!("{mode}\t{layer}"));
                    set_mode(Mode { untuned, wrong: None });
                    let since = Instant::now();
                    let found = (layer.differs(&gpu, &Device::flex()), since.elapsed().as_secs_f32());
                    write(format!("{mode}\t{layer}\t{}\t{}", found.0, found.1));
                    Some(found)
                });
                let is_wrong = found.is_none_or(|(difference, _)| difference > TOLERANCE);
                failures += usize::from(is_wrong);
                let mark = if is_wrong { " WRONG" } else { "" };
                row += &found.map_or_else(
                    || " the program ended here | |".to_owned(),
                    |(difference, secs)| format!(" {difference:.1e}{mark} | {secs:.1} |"),
                );
            }
            writeln!(out, "{row}").expect("somebody reads");
        }
    }
    writeln!(out, "\n{failures} of them wrong").expect("somebody reads");
    assert_eq!(failures, 0, "a kernel is wrong");
}
