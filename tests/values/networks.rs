//! Networks against PyTorch: torchvision's residual networks, the forms of OpenAI's U-Net, files of diffusers and of
//! half precision, and projected gradient iterations.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use lapidary::checkpoint::Weights;
use lapidary::classifier::Classifier;
use lapidary::generator::Generator;
use lapidary::net::resnet::Resnet;
use lapidary::net::unet::{Unet, UnetConfig};
use lapidary::refiner::{Batch, Norm, Objective, RefineSettings, Refiner, State, evaluate};
use lapidary::zoo::{self, Manifest, ManifestKind, PreconditioningName, expected, find, recognise};

use self::hashed::{Recipe, bits, checkpoint, pictures};
use crate::close::assert_close;
use crate::golden::Golden;
use crate::strays::assert_mostly_close;
use crate::{Case, NET, STRAYS, WHOLE, largest, read};

#[path = "hashed.rs"]
pub(crate) mod hashed;

/// Logits and gradients of the residual networks, relative to the largest entry.
const RESNET: f32 = 1e-4;

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn the_hash_is_the_scripts() {
    // hashed.py: bits("conv1.weight", 3)
    assert_eq!(bits("conv1.weight").take(3).collect::<Vec<_>>(), [9_144_840.0, 1_255_183.0, 16_106_444.0]);
}

/// One of torchvision's nets, with hashed weights.
fn resnet(net: &str) -> Classifier {
    let (block, blocks, width_per_group, last_norm) = match net {
        "resnet18" => ("basic", [2, 2, 2, 2], 64, "bn2"),
        "resnet50" => ("bottleneck", [3, 4, 6, 3], 64, "bn3"),
        "wide_resnet50_2" => ("bottleneck", [3, 4, 6, 3], 128, "bn3"),
        _ => panic!("{net} is not among the nets"),
    };
    let classes: Vec<String> = (0..1000).map(|class| format!("class {class}")).collect();
    let manifest = format!(
        r#"
        name = "{net}"
        title = "{net}"
        file = "net.safetensors"
        resolution = 64
        classes = {classes:?}
        source = "hashed weights"
        licence = "none"
        kind = "classifier"
        mean = [0.485, 0.456, 0.406]
        std = [0.229, 0.224, 0.225]

        [resnet]
        block = "{block}"
        blocks = {blocks:?}
        widths = [64, 128, 256, 512]
        width_per_group = {width_per_group}
        shortcut = "conv"
        stem_kernel = 7
        stem_stride = 2
        stem_pool = true
        "#
    );
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let recipe = Recipe { conv_gain: 6.0, last_norm: Some(last_norm) };
    let (manifest, checkpoint) = checkpoint(&manifest, recipe, folder.path());
    let (classifier, report) =
        Classifier::read(&manifest, Weights::new(&checkpoint), &Device::flex()).expect("the weights fit");
    assert_eq!(report.unused, Vec::<String>::new(), "every tensor of the file is used");
    classifier
}

fn assert_resnet(net: &str) {
    assert_classifier(&Golden::open("resnet/resnet.safetensors"), net, &resnet(net), 64);
}

/// Compares logits and gradients for pictures of this side with the golden ones.
fn assert_classifier(golden: &Golden, net: &str, classifier: &Classifier, side: usize) {
    let names: Vec<String> =
        golden.indices(&format!("{net}.pictures")).iter().map(|number| format!("picture.{number}")).collect();
    let images = pictures(&names, side);
    let labels = golden.indices(&format!("{net}.labels"));
    for (objective, gradient) in [(Objective::TargetLogit, "grad_target_logit"), (Objective::Ce, "grad_log_prob")] {
        let found = evaluate(classifier, &images, labels, objective, WHOLE, &Device::flex());
        let found = found.expect("the CPU does not fail");
        for (name, found) in [("logits", &found.logits), (gradient, &found.gradient)] {
            let name = format!("{net}.{name}");
            let expected = golden.values(&name);
            // Picture by picture: the gradients of a likely class are small.
            for (found, expected) in found.chunks(found.len() / 2).zip(expected.chunks(expected.len() / 2)) {
                assert_mostly_close(&name, found, expected, RESNET * largest(expected), 1);
            }
        }
    }
}

#[test]
fn resnet_18_has_torchvisions_logits_and_gradients() {
    assert_resnet("resnet18");
}

#[test]
fn resnet_50_has_torchvisions_logits_and_gradients() {
    assert_resnet("resnet50");
}

#[test]
fn wide_resnet_50_2_has_torchvisions_logits_and_gradients() {
    assert_resnet("wide_resnet50_2");
}

/// A pre-activation net of the golden file: its architecture, and what its library calls a tensor that torchvision would
/// call `name`.
fn preactivated(net: &str) -> (&'static str, fn(&str) -> String) {
    match net {
        "wide" => {
            ("blocks = [1, 1, 1]\nwidths = [32, 64, 128]\npreactivation = { stem_width = 16 }", |name| {
                match name.strip_prefix("layer") {
                    Some(rest) => {
                        format!("block{}", rest.replacen('.', ".layer.", 1).replace("downsample.0", "convShortcut"))
                    }
                    None => name.to_owned(),
                }
            })
        }
        "deepmind" => (
            "blocks = [2, 2, 2]\nwidths = [32, 64, 128]\n\
             preactivation = { stem_width = 16, activation = \"silu\", padding = \"behind\" }",
            |name| {
                let (module, rest) = name.split_once('.').expect("a module and more");
                let Some(stage) = module.strip_prefix("layer") else {
                    return format!(
                        "{}.{rest}",
                        module.replace("conv1", "init_conv").replace("bn1", "batchnorm").replace("fc", "logits")
                    );
                };
                let rest = rest
                    .replace("bn1", "batchnorm_0")
                    .replace("bn2", "batchnorm_1")
                    .replace("downsample.0", "shortcut");
                let rest = rest.replace("conv1", "conv_0").replace("conv2", "conv_1");
                format!("layer.{}.block.{rest}", stage.parse::<usize>().expect("a number") - 1)
            },
        ),
        "preact" | "preact_bare" => (
            if net == "preact" {
                "blocks = [2, 2, 2, 2]\nwidths = [16, 32, 64, 128]\npreactivation = { stem_width = 16 }"
            } else {
                "blocks = [2, 2, 2, 2]\nwidths = [16, 32, 64, 128]\n\
                 preactivation = { stem_width = 16, final_norm = false, activated_shortcut = false }"
            },
            |name| {
                let name = name.replace("downsample", "shortcut").replace("fc.", "linear.");
                if name.starts_with("bn1.") { name.replacen("bn1", "bn", 1) } else { name }
            },
        ),
        _ => panic!("{net} is not among the nets"),
    }
}

/// Such a net under its library's names, recognised without a manifest.
fn recognised(net: &str) -> Classifier {
    let (arch, name_of) = preactivated(net);
    let text = format!(
        "name = \"{net}\"\ntitle = \"{net}\"\nfile = \"net.safetensors\"\nresolution = 32\nclasses = \"cifar10\"\n\
         source = \"hashed weights\"\nlicence = \"none\"\nkind = \"classifier\"\nmean = [0.4914, 0.4822, 0.4465]\n\
         std = [0.2471, 0.2435, 0.2616]\n[resnet]\n{arch}\nshortcut = \"conv\"\nstem_kernel = 3\nstem_stride = 1\n"
    );
    let wanted = Manifest::parse(&text, Path::new("net.toml")).expect("the manifest is valid");
    let tensors: Vec<_> = expected(&wanted).into_iter().map(|(name, shape)| (name_of(&name), shape)).collect();
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let path = folder.path().join("net.safetensors");
    hashed::write(&tensors, Recipe { conv_gain: 3.0, last_norm: None }, &path);
    let opened = zoo::open(&path).expect("it opens");
    let ManifestKind::Classifier(spec) = recognise(&opened).expect("it is recognised").manifest.kind else {
        panic!("{net} is a classifier")
    };
    let ManifestKind::Classifier(wanted_spec) = &wanted.kind else { panic!("{net} is a classifier") };
    assert_eq!(spec.resnet, wanted_spec.resnet, "{net}: its shapes and names tell all");
    let (classifier, report) =
        Classifier::read(&wanted, Weights::new(&opened.checkpoint), &Device::flex()).expect("the weights fit");
    assert_eq!(report.unused, Vec::<String>::new(), "{net}: every tensor of the file is used");
    classifier
}

#[test]
fn preactivation_nets_have_pytorchs_logits_and_gradients() {
    let golden = Golden::open("preactivation/preactivation.safetensors");
    for net in ["wide", "deepmind", "preact", "preact_bare"] {
        assert_classifier(&golden, net, &recognised(net), 32);
    }
}

/// The eleven states of ten iterations on the cross-entropy of a hashed ResNet-18.
fn refine(norm: Norm, eps: f64, step_size: f64) -> Vec<State> {
    let classifier = resnet("resnet18");
    let origin = pictures(&["picture.11".to_owned()], 64);
    let settings = RefineSettings { objective: Objective::Ce, norm, eps, step_size, ..Default::default() };
    let batch = Batch { origin, from: None, labels: vec![7], seeds: vec![0], references: Vec::new() };
    let (mut refiner, first) =
        Refiner::start(&classifier, batch, settings, (WHOLE, Device::flex())).expect("picture and net fit");
    let mut states = vec![first];
    states.extend((0..10).map(|_| refiner.step(&classifier).expect("the CPU does not fail")));
    states
}

/// Compares a number of every state with the trace `name`.
fn assert_trace(golden: &Golden, name: &str, states: &[State], number: impl Fn(&State) -> f32, tolerance: f32) {
    let found: Vec<f32> = states.iter().map(number).collect();
    assert_close(name, &found, golden.values(name), tolerance, 0.0);
}

#[test]
fn ten_l2_iterations_on_the_cross_entropy_follow_plain_pytorch() {
    let golden = Golden::open("pgd/pgd.safetensors");
    let states = refine(Norm::L2, 2.0, 0.3);
    assert_trace(&golden, "l2.objective", &states, |state| state.numbers.objective[0], 1e-3);
    assert_trace(&golden, "l2.delta", &states, |state| state.numbers.delta_l2[0], 1e-4);
    assert_trace(&golden, "l2.gradient_l2", &states, |state| state.numbers.gradient_l2[0], 0.02);
    assert_mostly_close("l2.final", states[10].images.pixels(), golden.values("l2.final"), 1e-3, STRAYS);
}

#[test]
fn ten_linf_iterations_on_the_cross_entropy_follow_plain_pytorch() {
    let golden = Golden::open("pgd/pgd.safetensors");
    let states = refine(Norm::Linf, 8.0 / 255.0, 2.0 / 255.0);
    assert_trace(&golden, "linf.objective", &states, |state| state.numbers.objective[0], 1e-3);
    assert_trace(&golden, "linf.delta", &states, |state| state.numbers.delta_linf[0], 1e-6);
    let pixels = states[10].images.pixels();
    let pairs = pixels.iter().zip(golden.values("linf.final"));
    let apart = pairs.filter(|(found, expected)| (*found - *expected).abs() > 1e-6).count();
    // Steps follow signs, and the sign of a gradient that is next to nothing is a matter of rounding.
    assert!(apart <= pixels.len() / 1000, "{apart} of {} values differ", pixels.len());
}

/// A network of guided diffusion: the case's name, its classes, and what its manifest says.
const GUIDED: [(&str, usize, &str); 3] = [
    (
        "legacy",
        4,
        "channel_mult = [1, 2]\nattention_downsample = [2]\nnum_head_channels = 16\nattention_order = \"legacy\"\n\
         learn_sigma = true",
    ),
    (
        "conv",
        0,
        "channel_mult = [1, 2]\nattention_downsample = [2]\nnum_heads = 4\nattention_order = \"legacy\"\n\
         resblock_updown = false\nlearn_sigma = true",
    ),
    (
        "wide",
        0,
        "channel_mult = [2, 1]\nattention_downsample = [1, 2]\nnum_heads = 2\nuse_scale_shift_norm = false\n\
         resblock_updown = false",
    ),
];

#[test]
fn every_form_of_the_unet_gives_the_originals_output() {
    let golden = Golden::open("guided_diffusion/guided_diffusion.safetensors");
    let device = Device::flex();
    for (case, classes, arch) in GUIDED {
        let names: Vec<String> = (0..classes).map(|class| format!("class {class}")).collect();
        let manifest = format!(
            r#"
            name = "{case}"
            title = "{case}"
            file = "net.safetensors"
            resolution = 16
            classes = {names:?}
            source = "hashed weights"
            licence = "none"
            kind = "generator"

            [unet]
            model_channels = 32
            num_res_blocks = 1
            {arch}

            [diffusion]
            preconditioning = "discrete"
            "#
        );
        let folder = tempfile::tempdir().unwrap();
        let (manifest, checkpoint) = checkpoint(&manifest, Recipe { conv_gain: 3.0, last_norm: None }, folder.path());
        let ManifestKind::Generator(spec) = manifest.kind else { panic!("it is a generator") };
        // The channels of the learned variances: 3 x 3 kernels of 32 channels, and a bias.
        let dropped = if spec.unet.learn_sigma { 3 * (9 * 32 + 1) } else { 0 };
        let num_classes = (classes > 0).then_some(classes);
        let config = UnetConfig { arch: spec.unet, channels: 3, num_classes };
        let mut weights = Weights::new(&checkpoint);
        let net = Unet::load(config, &mut weights, &device).unwrap().fold();
        let report = weights.report();
        assert_eq!(report.unused, Vec::<String>::new(), "{case}: every tensor of the file is used");
        assert_eq!(net.weight_bytes(), 4 * (report.parameters - dropped) as u64, "{case}");
        assert!(net.activation_bytes([32, 32]) > 2 * net.activation_bytes([16, 16]), "{case}");
        let labels = num_classes.map(|_| golden.indices("labels"));
        let found = read(net.forward(golden.images("x").to_tensor(&device), golden.values("times"), labels));
        assert_close(case, &found, golden.values(&format!("{case}.out")), NET, 0.0);
    }
}

#[test]
fn a_folder_of_diffusers_opens_and_denoises_like_its_pipeline() {
    let golden = Golden::open("diffusers/diffusers.safetensors");
    let device = Device::flex();
    let folder = golden_folder().join("diffusers/tiny-consistency");
    let (manifest, weights) = find(folder.to_str().unwrap()).unwrap();
    let checkpoint = zoo::open(&weights.unwrap()).unwrap().checkpoint;
    let (generator, report) = Generator::read(&manifest, Weights::new(&checkpoint), &device).unwrap();
    assert_eq!(report.unused, Vec::<String>::new(), "every tensor of the file is used");
    assert_eq!(generator.preconditioning(), PreconditioningName::Consistency);
    assert_eq!((generator.sample_shape(), generator.classes().len()), ([3, 16, 16], 4));

    let labels = golden.indices("labels");
    let sigmas: Vec<f64> = golden.values("sigmas").iter().map(|sigma| f64::from(*sigma)).collect();
    let found = read(generator.denoise(golden.images("x").to_tensor(&device), &sigmas, labels));
    assert_close("denoised", &found, golden.values("denoised"), NET, 0.0);

    let noise = golden.images("noise").to_tensor(&device) * 80.0;
    let found = read(generator.denoise(noise, &[80.0; 3], labels).clamp(-1.0, 1.0));
    assert_close("onestep", &found, golden.values("onestep"), NET, 0.0);
}

#[test]
fn a_legacy_file_of_half_precision_is_its_twin_rounded() {
    let case = Case::open("lsun_shape_tiny", PreconditioningName::Consistency);
    let half = zoo::open(&golden_folder().join("fp16/lsun_shape_tiny.fp16.legacy.pt")).unwrap().checkpoint;
    let names: Vec<&String> = half.tensors().keys().collect();
    assert_eq!(names, case.checkpoint.tensors().keys().collect::<Vec<_>>());
    for name in names {
        let (found, expected) = (half.read(name).unwrap(), case.checkpoint.read(name).unwrap());
        assert_eq!(found.len(), expected.len(), "{name}: number of values");
        for (found, expected) in found.iter().zip(expected) {
            // Half a unit in the last of 11 bits; numbers below 2^-14 have fewer.
            let bound = expected.abs().max(2.0_f32.powi(-14)) * 2.0_f32.powi(-11);
            assert!((found - expected).abs() <= bound, "{name}: {found} instead of {expected}");
        }
    }

    let (generator, _) = Generator::read(&case.manifest, Weights::new(&half), &Device::flex()).unwrap();
    let x = case.golden.images("cm.x_t").to_tensor(&Device::flex());
    let sigmas: Vec<f64> = case.golden.values("cm.sigma").iter().map(|sigma| f64::from(*sigma)).collect();
    let found = read(generator.denoise(x, &sigmas, &case.labels()));
    // Measured with PyTorch: 1.4e-3 at most.
    assert_close("cm.denoised", &found, case.golden.values("cm.denoised"), 3e-3, 0.0);
}

#[test]
fn the_features_of_a_compiled_network_are_what_its_last_layer_sees() {
    for name in ["gtsrb12-judge", "gtsrb12-joint"] {
        let (manifest, checkpoint) = crate::models::bundled(name);
        let config = manifest.resnet().expect("a classifier");
        let net = Resnet::load(&config, &mut Weights::new(&checkpoint), &Device::flex()).expect("it loads");
        let classifier = crate::models::classifier(name);
        let images = pictures(&["picture.0".to_owned(), "picture.1".to_owned()], 32);
        let x = images.to_tensor(&Device::flex());
        let [features, logits] = classifier.features(x.clone());
        // The demo's classifiers have one mean and one deviation for all channels.
        let plain = net.features((x.clone() - 0.5) / 0.25);
        let values = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("floats");
        let (found, expected) = (values(features), values(plain));
        assert_eq!(found.len(), 2 * config.arch.widths[2]);
        assert_mostly_close(name, &found, &expected, RESNET * largest(&expected), 0);
        assert_eq!(values(logits), values(classifier.logits(x)), "the logits of {name} are the same to the bit");
    }
}
