//! What an iteration costs beside the network: 64 pictures of 3x256x256, a classifier so small that the host shows.
//!
//! `cargo bench --bench host_work`. The network's share is timed on its own, picture by picture on all cores as the CPU does it;
//! what an iteration takes longer is the host's: rule, projection, numbers, copies.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use lapidary::classifier::Classifier;
use lapidary::image::ImageBatch;
use lapidary::refiner::{Batch, Chunks, Norm, Objective, RefineSettings, Refiner, Rule, State, Target};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use safetensors::tensor::{Dtype, TensorView};

#[path = "../tests/support/cache.rs"]
mod cache;
#[path = "../tests/support/models.rs"]
mod models;

const SHAPE: [usize; 4] = [64, 3, 256, 256];
const ITERATIONS: usize = 7;
const CHANNELS: usize = 4;
const MANIFEST: &str = r#"
name = "small"
title = "Small"
file = "small.safetensors"
resolution = 256
channels = 3
classes = ["a", "b"]
source = "numbers without a meaning"
licence = "none"
kind = "classifier"
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]

[resnet]
blocks = [1]
widths = [4]
shortcut = "pool"
stem_kernel = 3
stem_stride = 2
"#;

/// Values without a pattern, in `-1..1`.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 12.9898).sin() * 43758.547 % 1.0).collect()
}

/// One convolution and one block of two more.
fn small(folder: &Path) -> Classifier {
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let convolutions = [
        ("conv1", "bn1", 3),
        ("layer1.0.conv1", "layer1.0.bn1", CHANNELS),
        ("layer1.0.conv2", "layer1.0.bn2", CHANNELS),
    ];
    for (conv, norm, inputs) in convolutions {
        shapes.insert(format!("{conv}.weight"), vec![CHANNELS, inputs, 3, 3]);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.insert(format!("{norm}.{part}"), vec![CHANNELS]);
        }
    }
    shapes.insert("fc.weight".to_owned(), vec![2, CHANNELS]);
    shapes.insert("fc.bias".to_owned(), vec![2]);
    let bytes = |name: &str, shape: &[usize]| -> Vec<u8> {
        let values = values(shape.iter().product());
        let positive = |value: f32| if name.ends_with("running_var") { 0.5 + value.abs() } else { value };
        values.into_iter().flat_map(|value| positive(value).to_le_bytes()).collect()
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> =
        shapes.into_iter().map(|(name, shape)| (name.clone(), shape.clone(), bytes(&name, &shape))).collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("they fill the shape"))
    });
    std::fs::write(folder.join("small.toml"), MANIFEST).expect("a writable folder");
    safetensors::serialize_to_file(views, None, &folder.join("small.safetensors")).expect("a writable folder");
    models::classifier(folder.join("small.toml").to_str().expect("plain names"))
}

/// Seconds of the network alone: every picture there and back.
fn network(classifier: &Classifier, images: &ImageBatch) -> f64 {
    let device = Device::flex();
    let since = Instant::now();
    let values: usize = (0..images.len())
        .into_par_iter()
        .map(|i| {
            let x = images.slice(i, i + 1).to_tensor(&device).autodiff().require_grad();
            let objective = Objective::TargetLogit.value(classifier.logits(x.clone()), &[0]);
            let mut gradients = objective.sum().backward();
            x.grad_remove(&mut gradients).expect("a leaf").into_data().try_into_vec::<f32>().expect("floats").len()
        })
        .sum();
    assert_eq!(values, images.pixels().len(), "all gradients are there");
    since.elapsed().as_secs_f64()
}

fn median(mut secs: Vec<f64>) -> f64 {
    secs.sort_by(f64::total_cmp);
    secs[secs.len() / 2]
}

/// FNV-1a over all bits of a state: two versions of the program that agree in it compute the same.
fn fingerprint(seed: u64, state: &State) -> u64 {
    let numbers = &state.numbers;
    let lists = [
        state.images.pixels(),
        &numbers.logits,
        &numbers.objective,
        &numbers.gradient_l2,
        &numbers.step_l2,
        &numbers.delta_l2,
        &numbers.delta_linf,
        &numbers.clipped,
    ];
    let bits = lists.into_iter().flatten().map(|value| u64::from(value.to_bits()));
    let states = numbers.state.iter().map(|state| *state as u64);
    bits.chain(states).fold(seed, |hash, bits| (hash ^ bits).wrapping_mul(0x0100_0000_01b3))
}

/// All kinds of steps on few small pictures.
fn all_kinds(classifier: &Classifier) -> u64 {
    let shape = [5, 3, 48, 48];
    let pixels = values(shape.iter().product()).iter().map(|value| value.abs()).collect();
    let origin = ImageBatch::new(shape, pixels);
    let plain = RefineSettings { eps: 2.0, step_size: 0.7, ..Default::default() };
    let linf = RefineSettings { norm: Norm::Linf, eps: 0.05, step_size: 0.02, ..plain.clone() };
    let kinds = [
        plain.clone(),
        RefineSettings { normalise: false, random_start: true, ..plain.clone() },
        RefineSettings { restarts: 3, objective: Objective::Joint, ..plain.clone() },
        RefineSettings { target: Target::Untargeted, ..linf.clone() },
        RefineSettings { target: Target::PseudoLabel, debias: true, early_stop: true, ..linf },
        RefineSettings { rule: Rule::Ascent, objective: Objective::CeBce, ..plain.clone() },
        RefineSettings { rule: Rule::Sgld, noise: 0.05, ..plain },
    ];
    kinds.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, settings| {
        let batch = Batch {
            origin: origin.clone(),
            from: None,
            labels: vec![0, 1, 0, 1, 0],
            seeds: (7..12).collect(),
            references: vec![0.3, 0.7],
        };
        let (mut refiner, first) =
            Refiner::start(classifier, batch, settings, (Chunks::CPU, Device::flex())).expect("they fit");
        (0..4).fold(fingerprint(hash, &first), |hash, _| {
            fingerprint(hash, &refiner.step(classifier).expect("the CPU does not fail"))
        })
    })
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let classifier = small(folder.path());
    let origin = ImageBatch::new(SHAPE, values(SHAPE.iter().product()).iter().map(|value| value.abs()).collect());
    let network = median((0..ITERATIONS).map(|_| network(&classifier, &origin)).collect());
    let mut out = std::io::stdout().lock();
    let cores = rayon::current_num_threads();
    writeln!(out, "{SHAPE:?} on {cores} threads; the network alone takes {:.0} ms", network * 1e3).expect("a reader");
    writeln!(out, "fingerprint of all kinds of steps: {:016x}", all_kinds(&classifier)).expect("a reader");
    let pgd = RefineSettings { eps: 20.0, step_size: 4.0, ..Default::default() };
    let sgld = RefineSettings { rule: Rule::Sgld, ..pgd.clone() };
    for (name, settings) in [("PGD", pgd), ("SGLD", sgld)] {
        let batch = Batch {
            origin: origin.clone(),
            from: None,
            labels: vec![0; SHAPE[0]],
            seeds: (0..SHAPE[0] as u64).collect(),
            references: Vec::new(),
        };
        let (mut refiner, _) =
            Refiner::start(&classifier, batch, settings, (Chunks::CPU, Device::flex())).expect("they fit");
        let mut step = || {
            let since = Instant::now();
            let state = refiner.step(&classifier).expect("the CPU does not fail");
            assert!(state.numbers.step_l2.iter().all(|step| *step > 0.0), "every picture moves");
            since.elapsed().as_secs_f64()
        };
        let iteration = median((0..ITERATIONS).map(|_| step()).collect());
        let host = iteration - network;
        writeln!(
            out,
            "{name}: {:.0} ms per iteration, host {:.0} ms, which is {:.2} of it and {:.2} times the network",
            iteration * 1e3,
            host * 1e3,
            host / iteration,
            host / network
        )
        .expect("a reader");
    }
}
