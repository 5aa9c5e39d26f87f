//! The program's numbers against PyTorch's, for the networks of the demo and for OpenAI's U-Net; how the values were
//! made is told in `golden/*/README.md`, where the tolerances come from too.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use lapidary::checkpoint::{Checkpoint, Weights};
use lapidary::generator::schedule::{karras_sigmas, time_step_sigmas};
use lapidary::generator::{Churn, Generator, Plan, SamplerKind, TimeSteps, sampler::Sampling};
use lapidary::image::ImageBatch;
use lapidary::net::unet::{Unet, UnetConfig};
use lapidary::refiner::{Batch, Chunks, Norm, Objective, RefineSettings, Refiner, State, evaluate};
use lapidary::zoo::{
    self, AttentionOrder, DiffusionManifest, GeneratorManifest, Manifest, ManifestKind, PreconditioningName,
    UnetManifest,
};

use self::close::assert_close;
use self::golden::Golden;
use self::models::{bundled, classifier};
use self::strays::{assert_mostly_close, cosine};

#[path = "support/cache.rs"]
mod cache;
#[path = "support/close.rs"]
mod close;
#[path = "values/generator.rs"]
mod generator;
#[path = "support/golden.rs"]
mod golden;
#[path = "values/inception.rs"]
mod inception;
#[path = "values/lpips.rs"]
mod lpips;
#[path = "values/metrics.rs"]
mod metrics;
#[path = "support/models.rs"]
mod models;
#[path = "values/networks.rs"]
mod networks;
#[path = "values/pairs.rs"]
mod pairs;
#[path = "values/refiner.rs"]
mod refiner;
#[path = "support/strays.rs"]
mod strays;
#[path = "values/training.rs"]
mod training;

/// One network call in another order of summation, on values of order 1.
const NET: f32 = 1e-4;
/// A chain of such calls.
const SAMPLER: f32 = 5e-4;
/// Gradients, relative to the largest entry: they sum over many more terms.
const GRADIENT: f32 = 1e-3;
/// One step of size 0.25 along a gradient from the reference's own iterate: a value moves by at most 0.05, along a gradient
/// that is right to a thousandth.
const STEP: f32 = 1e-4;
/// Values in a thousand that may be anything where a ReLU may turn, see [`assert_mostly_close`].
const STRAYS: usize = 5;
/// Cosine of the ways that two processors go in ten steps. A wrong label, objective, step size or radius is below 0.9.
const SAME_WAY: f64 = 0.999;

const WHOLE: Chunks = Chunks { size: 64, pad: false, at_once: 1 };

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, value| max.max(value.abs()))
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().expect("single precision")
}

/// Compares picture by picture, relative to the largest entry of each.
fn assert_gradients(name: &str, found: &[f32], expected: &[f32], len: usize) {
    assert_eq!(found.len(), expected.len(), "{name}: number of values");
    for (i, (found, expected)) in found.chunks(len).zip(expected.chunks(len)).enumerate() {
        let name = format!("{name}, picture {i}");
        assert_mostly_close(&name, found, expected, GRADIENT * largest(expected), STRAYS);
        assert!(cosine(found, expected) > 0.9999, "{name}: cosine {}", cosine(found, expected));
    }
}

/// The pictures in `[-1, 1]` that a sampler makes of unit noise.
fn sample(
    generator: &Generator,
    noise: Vec<f32>,
    labels: &[usize],
    plan: Plan,
    mut draw: impl FnMut(u32) -> Vec<f32>,
) -> Vec<f32> {
    let mut sampling = Sampling::new(generator, noise, labels.to_vec(), plan, &Device::flex());
    while !sampling.step(generator, &mut draw) {}
    let images = sampling.images().expect("the CPU does not fail");
    images.pixels().iter().map(|value| 2.0 * value - 1.0).collect()
}

// The demo.

#[test]
fn the_demos_generator_makes_the_reference_pictures_of_given_noise() {
    let golden = Golden::open("demo/demo.safetensors");
    let (manifest, checkpoint) = bundled("gtsrb12-cm");
    let (generator, _) = Generator::read(&manifest, Weights::new(&checkpoint), &Device::flex()).unwrap();
    for (name, sigmas) in [("cm.onestep", vec![80.0]), ("cm.twostep_sigma1.2", vec![80.0, 1.2])] {
        let noise = golden.values("noise0").to_vec();
        let found = sample(&generator, noise, golden.indices("y"), Plan::multistep(sigmas), |_| {
            golden.values("noise1").to_vec()
        });
        assert_close(name, &found, golden.values(name), SAMPLER, 0.0);
    }
}

#[test]
fn the_demos_teacher_denoises_like_the_reference() {
    let golden = Golden::open("demo/demo.safetensors");
    let device = Device::flex();
    let (manifest, checkpoint) = bundled("gtsrb12-edm");
    let (generator, _) = Generator::read(&manifest, Weights::new(&checkpoint), &device).unwrap();
    let x = golden.images("noise0").to_tensor(&device) * 2.0;
    let found = read(generator.denoise(x, &[2.0; 4], golden.indices("y")));
    assert_close("edm.denoised_sigma2", &found, golden.values("edm.denoised_sigma2"), SAMPLER, 0.0);
}

#[test]
fn the_demos_classifiers_have_the_reference_logits_and_gradients() {
    let golden = Golden::open("demo/demo.safetensors");
    let origin = golden.images("origin");
    for (net, objective, gradient) in [
        ("joint", Objective::TargetLogit, "grad_target_logit"),
        ("joint", Objective::Ce, "grad_log_prob"),
        ("robust", Objective::TargetLogit, "grad_target_logit"),
    ] {
        let classifier = classifier(&format!("gtsrb12-{net}"));
        let labels = golden.indices("y");
        let found = evaluate(&classifier, &origin, labels, objective, WHOLE, &Device::flex()).unwrap();
        let logits = golden.values(&format!("{net}.logits"));
        assert_close(&format!("{net}.logits"), &found.logits, logits, 1e-4 * largest(logits), 0.0);
        let name = format!("{net}.{gradient}");
        assert_gradients(&name, &found.gradient, golden.values(&name), origin.sample_len());
    }
}

/// One of the demo's trajectories: eleven iterates and the objective of each picture there.
struct Trajectory<'a> {
    name: &'a str,
    iterates: Vec<&'a [f32]>,
    objectives: Vec<&'a [f32]>,
}

impl<'a> Trajectory<'a> {
    fn open(golden: &'a Golden, name: &'a str) -> Self {
        let iterates: Vec<_> = golden.values(&format!("{name}.iterates")).chunks(4 * 3072).collect();
        let objectives: Vec<_> = golden.values(&format!("{name}.objective")).chunks(4).collect();
        assert_eq!((iterates.len(), objectives.len()), (11, 11), "k iterations have k+1 states");
        Self { name, iterates, objectives }
    }

    /// The state that `iterations` steps lead to from the reference's iterate `k`.
    fn refine(&self, golden: &Golden, net: &str, settings: &RefineSettings, k: usize, iterations: usize) -> State {
        let classifier = classifier(&format!("gtsrb12-{net}"));
        let (origin, labels) = (golden.images("origin"), golden.indices("y").to_vec());
        let from = (k > 0).then(|| (k as u32, ImageBatch::new(origin.shape(), self.iterates[k].to_vec())));
        let seeds = vec![0; labels.len()];
        let batch = Batch { origin, from, labels, seeds, references: Vec::new() };
        let (mut refiner, mut state) =
            Refiner::start(&classifier, batch, settings.clone(), (WHOLE, Device::flex())).expect("it fits");
        for _ in 0..iterations {
            state = refiner.step(&classifier).expect("the CPU does not fail");
        }
        state
    }

    /// Each step from the reference's own iterate, so that what one processor rounds otherwise does not add up.
    fn assert_steps(&self, golden: &Golden, net: &str, settings: &RefineSettings, atol: f32, strays: usize) {
        for k in 0..10 {
            let state = self.refine(golden, net, settings, k, 1);
            let name = format!("{}.iterates[{}]", self.name, k + 1);
            assert_mostly_close(&name, state.images.pixels(), self.iterates[k + 1], atol, strays);
            // Of order 1 to 20; a value that strays does so because its gradient is next to nothing.
            let name = format!("{}.objective[{}]", self.name, k + 1);
            assert_close(&name, &state.numbers.objective, self.objectives[k + 1], 2e-3, 1e-3);
        }
    }

    /// All ten steps at once: a ReLU that turns on the way moves everything behind it a little, so only the direction of the
    /// whole way and where it leads are compared.
    fn assert_whole(&self, golden: &Golden, net: &str, settings: &RefineSettings) {
        let state = self.refine(golden, net, settings, 0, 10);
        let way = |to: &[f32]| -> Vec<f32> { to.iter().zip(self.iterates[0]).map(|(to, from)| to - from).collect() };
        let (found, expected) = (way(state.images.pixels()), way(self.iterates[10]));
        for (i, (found, expected)) in found.chunks(3072).zip(expected.chunks(3072)).enumerate() {
            let cosine = cosine(found, expected);
            assert!(cosine > SAME_WAY, "{}, picture {i}: cosine {cosine}", self.name);
        }
        assert_close(self.name, &state.numbers.objective, self.objectives[10], 2e-2, 1e-2);
    }
}

#[test]
fn l2_iterations_follow_the_reference() {
    let golden = Golden::open("demo/demo.safetensors");
    for (name, net, objective) in [
        ("pgd.joint.f_y.l2", "joint", Objective::TargetLogit),
        ("pgd.joint.log_prob.l2", "joint", Objective::Ce),
        ("pgd.joint.bce.l2", "joint", Objective::Bce),
        ("pgd.robust.f_y.l2", "robust", Objective::TargetLogit),
    ] {
        let settings = RefineSettings { objective, norm: Norm::L2, eps: 2.0, step_size: 0.25, ..Default::default() };
        let trajectory = Trajectory::open(&golden, name);
        trajectory.assert_steps(&golden, net, &settings, STEP, STRAYS);
        trajectory.assert_whole(&golden, net, &settings);
    }
}

#[test]
fn linf_iterations_follow_the_reference_up_to_signs_of_vanishing_gradients() {
    let golden = Golden::open("demo/demo.safetensors");
    let (eps, step_size) = (8.0 / 255.0, 2.0 / 255.0);
    let settings = RefineSettings { norm: Norm::Linf, eps, step_size, ..Default::default() };
    let trajectory = Trajectory::open(&golden, "pgd.joint.f_y.linf");
    // Steps follow signs, and the sign of a gradient that is next to nothing is a matter of rounding.
    trajectory.assert_steps(&golden, "joint", &settings, 1e-6, 10);
    trajectory.assert_whole(&golden, "joint", &settings);
}

// OpenAI's U-Net.

const CASES: [&str; 2] = ["imagenet64_shape_tiny", "lsun_shape_tiny"];

/// One net of `golden/consistency_models`.
struct Case {
    golden: Golden,
    manifest: Manifest,
    checkpoint: Checkpoint,
}

impl Case {
    fn open(name: &str, preconditioning: PreconditioningName) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/consistency_models");
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("the case has a description");
        let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let number = |key: &str| usize::try_from(json[key].as_u64().expect("a number")).expect("a small number");
        let list = |key: &str| -> Vec<usize> {
            json[key].as_str().expect("a list").split(',').map(|item| item.parse().expect("a number")).collect()
        };
        let side = number("image_size");
        let classes = json["num_classes"].as_u64().unwrap_or(0);
        let unet = UnetManifest {
            model_channels: number("num_channels"),
            num_res_blocks: number("num_res_blocks"),
            channel_mult: list("channel_mult"),
            attention_downsample: list("attention_resolutions").into_iter().map(|there| side / there).collect(),
            num_head_channels: number("num_head_channels"),
            num_heads: 0,
            resblock_updown: true,
            attention_order: AttentionOrder::New,
            learn_sigma: false,
            use_scale_shift_norm: json["use_scale_shift_norm"].as_bool().expect("yes or no"),
            patch_size: 1,
        };
        let diffusion = DiffusionManifest::new(preconditioning);
        let manifest = Manifest {
            name: name.to_owned(),
            title: name.to_owned(),
            file: format!("{name}.pt"),
            sha256: None,
            prefix: None,
            resolution: side,
            width: None,
            channels: 3,
            classes: (0..classes).map(|class| format!("class {class}")).collect(),
            source: "random weights".to_owned(),
            licence: "none".to_owned(),
            kind: ManifestKind::Generator(GeneratorManifest { unet, diffusion }),
        };
        let checkpoint = zoo::open(&folder.join(&manifest.file)).expect("the checkpoint opens").checkpoint;
        Self { golden: Golden::open(&format!("consistency_models/{name}.golden.safetensors")), manifest, checkpoint }
    }

    fn unet(&self) -> Unet {
        let ManifestKind::Generator(spec) = &self.manifest.kind else { panic!("it is a generator") };
        let num_classes = Some(self.manifest.classes.len()).filter(|classes| *classes > 0);
        let config = UnetConfig { arch: spec.unet.clone(), channels: 3, num_classes };
        let mut weights = Weights::new(&self.checkpoint);
        let net = Unet::load(config, &mut weights, &Device::flex()).expect("the weights fit").fold();
        assert_eq!(weights.report().unused, Vec::<String>::new(), "every tensor of the file is used");
        net
    }

    fn generator(&self) -> Generator {
        Generator::read(&self.manifest, Weights::new(&self.checkpoint), &Device::flex()).expect("the weights fit").0
    }

    /// Labels of the three pictures; an unconditional net ignores them.
    fn labels(&self) -> Vec<usize> {
        if self.manifest.classes.is_empty() { vec![0; 3] } else { self.golden.indices("net.y").to_vec() }
    }

    fn diffusion(&self) -> &DiffusionManifest {
        let ManifestKind::Generator(spec) = &self.manifest.kind else { panic!("it is a generator") };
        &spec.diffusion
    }

    /// The stored start, which is already multiplied by the first noise level, as unit noise.
    fn unit_noise(&self, first: f64) -> Vec<f32> {
        self.golden.values("sample.x_T").iter().map(|value| (f64::from(*value) / first) as f32).collect()
    }
}

#[test]
fn the_unet_gives_the_reference_output_and_input_gradient() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Consistency);
        let (net, labels) = (case.unet(), case.labels());
        let labels = (!case.manifest.classes.is_empty()).then_some(labels.as_slice());
        let images = case.golden.images("net.x");
        let x = images.to_tensor(&Device::flex());
        let times = case.golden.values("net.t");
        let found = read(net.forward(x.clone(), times, labels));
        assert_close(&format!("{name}: net.out"), &found, case.golden.values("net.out"), NET, 0.0);

        let x = x.autodiff().require_grad();
        let out = net.forward(x.clone(), times, labels);
        let mut gradients = (out.clone() * out).sum().backward();
        let found = read(x.grad_remove(&mut gradients).unwrap());
        let expected = case.golden.values("net.dinput_sumsq");
        assert_gradients(&format!("{name}: net.dinput_sumsq"), &found, expected, images.sample_len());
    }
}

#[test]
fn both_preconditionings_denoise_like_the_reference() {
    for name in CASES {
        for (prefix, preconditioning) in [("cm", PreconditioningName::Consistency), ("edm", PreconditioningName::Edm)] {
            let case = Case::open(name, preconditioning);
            let x = case.golden.images(&format!("{prefix}.x_t")).to_tensor(&Device::flex());
            let sigmas: Vec<f64> =
                case.golden.values(&format!("{prefix}.sigma")).iter().map(|sigma| f64::from(*sigma)).collect();
            let found = read(case.generator().denoise(x, &sigmas, &case.labels()));
            let key = format!("{prefix}.denoised");
            assert_close(&format!("{name}: {key}"), &found, case.golden.values(&key), NET, 0.0);
        }
    }
}

#[test]
fn noise_schedules_are_those_of_the_reference() {
    let case = Case::open(CASES[0], PreconditioningName::Edm);
    for n in [12, 40] {
        let found: Vec<f32> = karras_sigmas(case.diffusion(), n).into_iter().map(|sigma| sigma as f32).collect();
        let key = format!("karras_sigmas_{n}");
        // The reference computes in single precision and takes a seventh power: seven roundings of a sum.
        assert_close(&key, &found, case.golden.values(&key), 0.0, 1e-5);
    }
}

#[test]
fn consistency_sampling_makes_the_reference_pictures() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Consistency);
        let generator = case.generator();
        let found =
            sample(&generator, case.unit_noise(80.0), &case.labels(), Plan::multistep(vec![80.0]), |_| Vec::new());
        assert_close(&format!("{name}: onestep"), &found, case.golden.values("sample.onestep"), SAMPLER, 0.0);
        for (key, ts, steps) in [
            ("sample.multistep_cd2", vec![0, 22, 39], 40),
            ("sample.multistep_ct2", vec![0, 106, 200], 201),
            ("sample.multistep_cd3", vec![0, 11, 22, 39], 40),
        ] {
            let calls = ts.len() - 1;
            let sigmas = time_step_sigmas(case.diffusion(), &TimeSteps::new(ts, steps).unwrap());
            assert_eq!(sigmas.len(), calls, "the closing index is no step");
            let noise = case.unit_noise(sigmas[0]);
            // The program counts the noises of steps from 1, behind the initial noise; the reference from 0.
            let draw = |step: u32| case.golden.values(&format!("{key}.noise{}", step - 1)).to_vec();
            let found = sample(&generator, noise, &case.labels(), Plan::multistep(sigmas), draw);
            assert_close(&format!("{name}: {key}"), &found, case.golden.values(key), SAMPLER, 0.0);
        }
    }
}

#[test]
fn heun_sampling_makes_the_reference_pictures() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Edm);
        let sigmas = karras_sigmas(case.diffusion(), 12);
        let noise = case.unit_noise(sigmas[0]);
        let draw =
            |step: u32| -> Vec<f32> { panic!("Heun's method draws no noise, but asked for that of step {step}") };
        let plan = Plan { sampler: SamplerKind::Heun, sigmas, churn: Churn::NONE };
        let found = sample(&case.generator(), noise, &case.labels(), plan, draw);
        assert_close(&format!("{name}: heun12"), &found, case.golden.values("sample.heun12"), SAMPLER, 0.0);
    }
}
