//! What every network keeps: folding changes no result, inference changes no network, training reaches every parameter.

use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};

use super::resnet::{Activation, BlockKind, Padding, Preactivation, Resnet, ResnetConfig, ResnetManifest, Shortcut};
use super::unet::{AttentionOrder, Unet, UnetConfig, UnetManifest};
use super::{Source, tensor};
use crate::checkpoint::CheckpointError;

/// Values that differ everywhere and keep activations of order 1: variances and scales near 1, the rest around 0.
struct Numbers;

impl Source for Numbers {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
        let count: usize = shape.iter().product();
        let start = name.bytes().map(f32::from).sum::<f32>();
        let wave = (0..count).map(|i| (start + 1.7 * i as f32).sin());
        let fan: usize = shape.iter().skip(1).product();
        Ok(Some(match shape {
            [_] if name.ends_with("weight") || name.ends_with("running_var") => wave.map(|x| 1.0 + 0.25 * x).collect(),
            [_] => wave.map(|x| 0.1 * x).collect(),
            _ => wave.map(|x| x * (2.0 / fan as f32).sqrt()).collect(),
        }))
    }
}

pub(super) fn device() -> Device {
    Device::flex()
}

fn arch(block: BlockKind) -> ResnetManifest {
    ResnetManifest {
        block,
        blocks: vec![1, 2],
        widths: vec![8, 16],
        width_per_group: 64,
        shortcut: Shortcut::Conv,
        stem_kernel: 3,
        stem_stride: 1,
        stem_pool: false,
        preactivation: None,
    }
}

const PRE: Preactivation = Preactivation {
    stem_width: 4,
    final_norm: true,
    activated_shortcut: true,
    activation: Activation::Relu,
    padding: Padding::Around,
};

/// The place of the network with SiLU in the list.
const SMOOTH: usize = 5;

/// One of every kind.
pub(super) fn resnets() -> Vec<Resnet> {
    let deepmind = Preactivation { activation: Activation::Silu, padding: Padding::Behind, ..PRE };
    let bare = Preactivation { final_norm: false, activated_shortcut: false, ..PRE };
    let basic = || arch(BlockKind::Basic);
    let archs = [
        basic(),
        arch(BlockKind::Bottleneck),
        ResnetManifest { shortcut: Shortcut::Pool, stem_pool: true, ..basic() },
        ResnetManifest { preactivation: Some(PRE), ..basic() },
        ResnetManifest { preactivation: Some(bare), ..arch(BlockKind::Bottleneck) },
        ResnetManifest { preactivation: Some(deepmind), ..basic() },
    ];
    let load = |arch| {
        let config = ResnetConfig { arch, channels: 3, num_classes: 5 };
        Resnet::load(&config, &mut Numbers, &device()).unwrap()
    };
    archs.into_iter().map(load).collect()
}

fn unet_arch() -> UnetManifest {
    UnetManifest {
        model_channels: 32,
        num_res_blocks: 1,
        channel_mult: vec![1, 2],
        attention_downsample: vec![2],
        num_head_channels: 16,
        num_heads: 0,
        use_scale_shift_norm: true,
        resblock_updown: true,
        attention_order: AttentionOrder::New,
        learn_sigma: false,
        patch_size: 1,
    }
}

fn load_unet(arch: UnetManifest, num_classes: Option<usize>) -> Unet {
    Unet::load(UnetConfig { arch, channels: 2, num_classes }, &mut Numbers, &device()).unwrap()
}

pub(super) fn unet(learn_sigma: bool) -> Unet {
    load_unet(UnetManifest { learn_sigma, ..unet_arch() }, Some(3))
}

pub(super) fn pictures(n: usize, channels: usize) -> Tensor<4> {
    let values = (0..n * channels * 8 * 16).map(|i| (0.37 * i as f32).sin()).collect();
    tensor(values, [n, channels, 8, 16], &device())
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// To `part` of the largest.
fn assert_close(expected: &[f32], found: &[f32], part: f32, what: &str) {
    let largest = expected.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    assert_eq!(expected.len(), found.len(), "{what}");
    for (one, other) in expected.iter().zip(found) {
        assert!((one - other).abs() <= part * largest, "{what}: {one} and {other} of {largest}");
    }
}

/// The values of every parameter and statistic.
fn values(module: &impl Module) -> Vec<Vec<f32>> {
    struct Collect(Vec<Vec<f32>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(read(param.val()));
        }
    }
    let mut collect = Collect(Vec::new());
    module.visit(&mut collect);
    collect.0
}

/// One step of gradient descent; what has no gradient stays.
struct Descend<'a> {
    gradients: &'a mut Gradients,
    rate: f32,
    reached: usize,
}

impl ModuleMapper for Descend<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        self.reached += 1;
        param.map(|weight| (weight.without_autodiff() - gradient * self.rate).autodiff().require_grad())
    }
}

#[test]
fn folding_changes_no_logit() {
    for (i, net) in resnets().into_iter().enumerate() {
        let x = pictures(2, 3);
        let unfolded = read(net.forward(x.clone()));
        let folded = net.fold();
        for (one, other) in unfolded.iter().zip(read(folded.forward(x))) {
            assert!((one - other).abs() <= 1e-5 * one.abs().max(1.0), "net {i}: {one} and {other}");
        }
    }
}

#[test]
fn a_plan_is_the_same_function_forwards_and_backwards() {
    let (mean, std) = ([0.4_f32, 0.5, 0.6], [0.2_f32, 0.25, 0.3]);
    let column = |values: [f32; 3]| tensor(values.to_vec(), [1, 3, 1, 1], &device());
    let evaluate = |x: Tensor<4>, logits: &dyn Fn(Tensor<4>) -> Tensor<2>| {
        let x = x.autodiff().require_grad();
        let logits = logits(x.clone());
        let weights = Tensor::<1>::from_floats([1.0, -2.0, 0.5, 3.0, -0.3], &device()).autodiff();
        let mut gradients = (logits.clone() * weights.unsqueeze()).sum().backward();
        (read(logits), read(x.grad_remove(&mut gradients).expect("the input has a gradient")))
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    for (i, net) in resnets().into_iter().map(Resnet::fold).enumerate() {
        let Some(plan) = net.plan([&mean, &std], [8, 16]).map(Arc::new) else { return };
        let x = pictures(5, 3);
        let burn = |x: Tensor<4>| net.forward((x - column(mean).autodiff()) / column(std).autodiff());
        let (expected, found) = (evaluate(x.clone(), &burn), evaluate(x.clone(), &|x| plan.logits(x)));
        assert_close(&expected.0, &found.0, 1e-5, &format!("net {i}"));
        let lengths = dot(&expected.1, &expected.1).sqrt() * dot(&found.1, &found.1).sqrt();
        assert!(dot(&expected.1, &found.1) > (1.0 - 1e-6) * lengths, "net {i}: the gradients point elsewhere");
        assert_eq!(read(plan.logits(x.clone())), found.0, "net {i}: with and without a gradient");
        let alone: Vec<_> = (0..5).map(|n| evaluate(x.clone().narrow(0, n, 1), &|x| plan.logits(x))).collect();
        assert_eq!(alone.iter().flat_map(|(logits, _)| logits.clone()).collect::<Vec<_>>(), found.0, "net {i}");
        assert_eq!(alone.iter().flat_map(|(_, gradient)| gradient.clone()).collect::<Vec<_>>(), found.1, "net {i}");
    }
}

#[test]
fn a_frozen_unet_is_the_same_function_for_any_batch() {
    let arch = unet_arch;
    let older = UnetManifest {
        use_scale_shift_norm: false,
        resblock_updown: false,
        attention_order: AttentionOrder::Legacy,
        learn_sigma: true,
        num_head_channels: 8,
        channel_mult: vec![1, 1, 2],
        attention_downsample: vec![1],
        ..arch()
    };
    let patches = UnetManifest { patch_size: 2, num_head_channels: 0, num_heads: 1, ..arch() };
    for (i, (arch, classes)) in [(arch(), Some(3)), (older, None), (patches, Some(3))].into_iter().enumerate() {
        let net = load_unet(arch, classes);
        let (x, times, labels) = (pictures(3, 2), [0.5, -3.0, 80.0], [2, 0, 1]);
        let labels = classes.map(|_| labels.as_slice());
        let expected = read(net.forward(x.clone(), &times, labels));
        let frozen = net.freeze([8, 16]);
        let found = read(frozen.forward(x.clone(), &times, labels));
        // Tiles of 4x4, which both take, round ten times as much as sums, and norms of few values enlarge that.
        assert_close(&expected, &found, 2e-4, &format!("net {i}"));
        if !frozen.sums_the_same_for_any_batch() {
            return;
        }
        for n in 0..3 {
            let (x, labels) = (x.clone().narrow(0, n, 1), labels.map(|labels| &labels[n..=n]));
            let alone = read(frozen.forward(x, &times[n..=n], labels));
            assert_eq!(alone, found[n * alone.len()..(n + 1) * alone.len()], "net {i}, picture {n}");
        }
        assert!(frozen.activation_bytes([16, 16]) > 3 * frozen.activation_bytes([8, 8]), "net {i}");
    }
}

#[test]
fn variances_that_are_learned_are_left_out_with_and_without_folding() {
    let (net, plain) = (unet(true), unet(false));
    let forward = |net: &Unet| read(net.forward(pictures(1, 2), &[0.5], Some(&[2])));
    let unfolded = forward(&net);
    let bytes = net.weight_bytes();
    let folded = net.fold();
    assert_eq!(bytes - folded.weight_bytes(), 4 * 2 * (9 * 32 + 1));
    assert_eq!((folded.weight_bytes(), unfolded.len()), (plain.weight_bytes(), 2 * 8 * 16));
    for (one, other) in unfolded.iter().zip(forward(&folded)) {
        assert!((one - other).abs() <= 1e-5, "{one} and {other}");
    }
}

#[test]
fn a_loaded_network_is_changed_by_nothing_and_does_not_ask_whether_gradients_are_wanted() {
    let nets = resnets();
    let folded: Vec<Resnet> = resnets().into_iter().map(Resnet::fold).collect();
    for net in nets.iter().chain(&folded) {
        let before = values(net);
        let x = pictures(2, 3);
        let tracked = x.clone().autodiff().require_grad();
        let logits = net.forward(tracked.clone());
        assert_eq!(read(logits.clone()), read(net.forward(x)), "the same function, to the last bit");
        let mut gradients = logits.sum().backward();
        let gradient = tracked.grad_remove(&mut gradients).expect("the input has a gradient");
        assert!(read(gradient).iter().any(|value| *value != 0.0));
        assert_eq!(values(net), before, "no statistic has moved");
    }
    let net = unet(false);
    let before = values(&net);
    let x = pictures(1, 2);
    let forward = |x: Tensor<4>| read(net.forward(x, &[0.5], Some(&[2])));
    // With gradients, norms and convolutions are computed by other operations, which round otherwise.
    let tracked = forward(x.clone().autodiff().require_grad());
    for (one, other) in tracked.iter().zip(forward(x)) {
        assert!((one - other).abs() < 1e-4, "{one} and {other}");
    }
    assert_eq!(values(&net), before);
}

#[test]
fn training_reaches_every_parameter_and_the_statistics() {
    for (i, net) in resnets().into_iter().enumerate() {
        let net = net.train();
        let x = pictures(4, 3);
        let before = values(&net);
        let logits = net.forward(x);
        let mut gradients = (logits.clone() * logits).sum().backward();
        let mut descend = Descend { gradients: &mut gradients, rate: 1e-3, reached: 0 };
        let net = net.map(&mut descend);
        let reached = descend.reached;
        let net = net.valid();
        let after = values(&net);
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert_eq!(moved, before.len(), "net {i}: all parameters and statistics have moved");
        // Two statistics for every two parameters of a norm.
        assert!(reached > before.len() / 2 && reached < before.len(), "net {i}: {reached} of {}", before.len());
        assert_eq!(read(net.forward(pictures(1, 3)).abs()).len(), 5, "it goes on for inference");
    }
    let net = unet(false).train();
    let before = values(&net);
    let out = net.forward(pictures(1, 2), &[0.5], Some(&[2]));
    let mut gradients = (out.clone() * out).sum().backward();
    let mut descend = Descend { gradients: &mut gradients, rate: 1e-3, reached: 0 };
    let net = net.map(&mut descend);
    assert_eq!((descend.reached, values(&net).len()), (before.len(), before.len()));
}

#[test]
fn a_weights_gradient_in_training_is_what_differences_say() {
    /// Adds to one value of one parameter.
    struct Nudge {
        parameter: usize,
        by: f32,
    }
    impl ModuleMapper for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let here = self.parameter == 0;
            self.parameter = self.parameter.wrapping_sub(1);
            if !here {
                return param;
            }
            param.map(|weight| {
                let shape = weight.dims();
                let mut values = read(weight);
                values[1] += self.by;
                tensor(values, shape, &device()).autodiff().require_grad()
            })
        }
    }
    /// The second value of one parameter's gradient.
    struct Pick<'a> {
        gradients: &'a Gradients,
        parameter: usize,
        found: f32,
    }
    impl ModuleVisitor for Pick<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.parameter == 0 {
                self.found = read(param.val().grad(self.gradients).expect("a parameter"))[1];
            }
            self.parameter = self.parameter.wrapping_sub(1);
        }
    }
    let objective = |net: &Resnet| {
        let logits = net.forward(pictures(4, 3));
        (logits.clone() * logits).sum()
    };
    for (i, net) in resnets().into_iter().enumerate() {
        let net = net.train();
        let gradients = objective(&net).backward();
        let last = values(&net).len() - 2;
        // The last layer's weight, and where no ReLU may turn between the two points of a difference the stem's kernel,
        // behind which everything lies, and the first norm's scale.
        let parameters = if i == SMOOTH { vec![0, 1, last] } else { vec![last] };
        for parameter in parameters {
            let mut pick = Pick { gradients: &gradients, parameter, found: 0.0 };
            net.visit(&mut pick);
            let at = |by: f32| {
                let nudged = net.clone().map(&mut Nudge { parameter, by });
                f64::from(objective(&nudged).into_scalar::<f32>())
            };
            let step = 2e-3;
            let difference = ((at(step) - at(-step)) / (2.0 * f64::from(step))) as f32;
            let apart = (pick.found - difference).abs();
            let allowed = 0.01 * difference.abs().max(0.1);
            assert!(apart <= allowed, "net {i}, parameter {parameter}: {} and {difference}", pick.found);
        }
    }
}

#[test]
fn dropout_is_for_training_only() {
    let net = resnets().remove(3).with_dropout(0.5);
    let plain = resnets().remove(3);
    let x = pictures(2, 3);
    assert_eq!(read(net.valid().forward(x.clone())), read(plain.forward(x.clone())));
    let net = net.train();
    let [one, other] = [0, 1].map(|_| read(net.forward(x.clone())));
    assert_ne!(one, other, "other values are dropped each time");
    let dropping = unet(false).with_dropout(0.5);
    let forward = |net: &Unet| read(net.forward(pictures(1, 2), &[0.5], Some(&[2])));
    assert_eq!(forward(&dropping.valid()), forward(&unet(false)));
    let dropping = dropping.train();
    assert_ne!(forward(&dropping), forward(&dropping));
}
