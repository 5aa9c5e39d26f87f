//! Operations of our own against loops in double precision, and against burn's.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use proptest::prelude::*;
use pulp::Arch;

use super::attend::Attend;
use super::device::BURN;
use super::norm::{Inputs, Norm};
use super::{op, weight};
use crate::net::laws;
use crate::net::plan::{Curve, Geometry};

fn with_burn<T>(burn: bool, run: impl FnOnce() -> T) -> T {
    BURN.set(burn);
    let result = run();
    BURN.set(false);
    result
}

fn noises(seed: &mut u64, count: usize, scale: f32) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*seed >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    (0..count).map(|_| next()).collect()
}

fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

/// Convolution, gradients of pictures, weights and bias.
fn loops(geometry: Geometry, [x, w, b, g]: [&[f32]; 4], size @ [h, wd]: [usize; 2]) -> [Vec<f64>; 4] {
    let ([c_out, c_in, k], [ho, wo]) = (geometry.dims, geometry.output(size));
    let mut y = vec![0.0; g.len()];
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; b.len()]);
    for (to, (y, g)) in y.iter_mut().zip(g).enumerate() {
        let [picture, o, oy, ox] = [to / wo / ho / c_out, to / wo / ho % c_out, to / wo % ho, to % wo];
        *y += f64::from(b[o]);
        db[o] += f64::from(*g);
        for at in 0..c_in * k * k {
            let [i, ky, kx] = [at / k / k, at / k % k, at % k];
            let tap = |o: usize, d: usize| (o * geometry.stride + d).checked_sub(geometry.padding[0]);
            let (Some(iy), Some(ix)) = (tap(oy, ky), tap(ox, kx)) else { continue };
            if iy < h && ix < wd {
                let (from, weight) = (((picture * c_in + i) * h + iy) * wd + ix, o * c_in * k * k + at);
                *y += f64::from(x[from]) * f64::from(w[weight]);
                dx[from] += f64::from(*g) * f64::from(w[weight]);
                dw[weight] += f64::from(*g) * f64::from(x[from]);
            }
        }
    }
    [y, dx, dw, db]
}

/// The same by our own kernels.
fn own(arch: Arch, geometry: Geometry, [x, w, b, g]: [&[f32]; 4], size: [usize; 2]) -> [Vec<f32>; 4] {
    let [h, w_out] = geometry.output(size);
    [
        geometry.forward(arch, (w, b), (x, size)),
        geometry.backward(arch, w, g, size),
        weight::gradient(arch, geometry, (x, size), g),
        weight::bias_gradient(g, geometry.dims[0], h * w_out),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_and_their_gradients_are_those_of_the_loops(
        (c_in, c_out) in (1..40_usize, 1..70_usize),
        (k, stride) in (0..4_usize, 1..3_usize),
        padding in (0..4_usize, 0..4_usize),
        tiles: bool,
        (h, w) in (1..12_usize, 1..12_usize),
        (n, mut seed) in (1..4_usize, any::<u64>()),
        scales in (prop_oneof![Just(1e-18_f32), Just(1.0), Just(1e15)], prop_oneof![Just(1e-15_f32), Just(1.0), Just(1e18)]),
    ) {
        let (k, padding) = ([1_usize, 3, 4, 7][k], [padding.0, padding.1]);
        // Every other one of the kind that takes tiles: of 4x4, or of 2x2 where a side is shorter than that.
        let (k, stride, padding) = if tiles { (3, 1, [1, 1]) } else { (k, stride, padding) };
        let (c_in, c_out) = if tiles { (c_in + 28, c_out + 28) } else { (c_in, c_out) };
        let sides = |side: usize| side.max((k + 1).saturating_sub(padding[0] + padding[1]));
        let size = [h, w].map(sides);
        let geometry = Geometry { dims: [c_out, c_in, k], stride, padding };
        let [out_h, out_w] = geometry.output(size);
        let x = noises(&mut seed, n * c_in * size[0] * size[1], scales.0);
        let weight = noises(&mut seed, c_out * c_in * k * k, scales.1);
        let bias = noises(&mut seed, c_out, scales.0 * scales.1);
        let g = noises(&mut seed, n * c_out * out_h * out_w, 1.0);
        let inputs = [&x[..], &weight, &bias, &g];
        let expected = loops(geometry, inputs, size);
        let mut bits = None;
        for arch in archs() {
            let found = own(arch, geometry, inputs, size);
            for (name, (found, expected)) in ["y", "dx", "dw", "db"].iter().zip(found.iter().zip(&expected)) {
                prop_assert_eq!(found.len(), expected.len());
                let largest = expected.iter().fold(1e-36, |largest: f64, value| largest.max(value.abs()));
                for (found, expected) in found.iter().zip(expected) {
                    let close = (f64::from(*found) - expected).abs() <= 1e-5 * largest;
                    prop_assert!(close, "{name}: {found} and {expected} of {largest} on {arch:?}");
                }
            }
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                prop_assert_eq!(&pool.install(|| own(arch, geometry, inputs, size)), &found, "{} threads", threads);
            }
            let alone: Vec<f32> = x.chunks(x.len() / n).flat_map(|x| geometry.forward(arch, (&weight, &bias), (x, size))).collect();
            prop_assert_eq!(&alone, &found[0], "a picture is alone or not");
            prop_assert_eq!(bits.get_or_insert_with(|| found.clone()), &found, "every processor sums in the same order");
        }
    }
}

/// A norm and the gradients of its inputs in double precision: `y`, `x`, `scale`, `shift`, `add`; `None` where rounding may
/// turn a ReLU.
fn norm_loops(norm: &Norm, inputs: Inputs<'_>, gradient: &[f32]) -> Option<[Vec<f64>; 5]> {
    let [n, channels, length] = norm.shape;
    let value = |values: &[f32], i: usize| f64::from(values[i]);
    let group = |i: usize| {
        let (picture, channel) = (i / length / channels, i / length % channels);
        norm.groups.map_or(channel, |groups| picture * groups + channel / (channels / groups))
    };
    let parameter = |i: usize| i / length % inputs.scale.len();
    let all = || 0..n * channels * length;
    let [mut y, mut dx, mut scale, mut shift, mut add] = [(); 5].map(|()| Vec::new());
    scale.resize(inputs.scale.len(), 0.0);
    shift.resize(inputs.scale.len(), 0.0);
    let members = |g: usize| all().filter(move |i| group(*i) == g);
    let normal: Vec<[f64; 2]> = all()
        .map(|i| {
            let count = members(group(i)).count() as f64;
            let mean = members(group(i)).map(|i| value(inputs.x, i)).sum::<f64>() / count;
            let variance = members(group(i)).map(|i| (value(inputs.x, i) - mean).powi(2)).sum::<f64>() / count;
            let inverse = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
            [(value(inputs.x, i) - mean) * inverse, inverse]
        })
        .collect();
    for i in all() {
        let sum = normal[i][0] * value(inputs.scale, parameter(i))
            + value(inputs.shift, parameter(i))
            + inputs.add.map_or(0.0, |add| value(add, i));
        let sigmoid = 1.0 / (1.0 + (-sum).exp());
        let (result, slope) = match norm.curve {
            None => (sum, 1.0),
            Some(Curve::Relu) if sum.abs() < 1e-5 => return None,
            Some(Curve::Relu) => (sum.max(0.0), f64::from(sum > 0.0)),
            Some(Curve::Silu) => (sum * sigmoid, sigmoid * (1.0 + sum * (1.0 - sigmoid))),
        };
        y.push(result);
        add.push(slope * value(gradient, i));
        scale[parameter(i)] += add[i] * normal[i][0];
        shift[parameter(i)] += add[i];
    }
    let normals: Vec<f64> = all().map(|i| add[i] * value(inputs.scale, parameter(i))).collect();
    for i in all() {
        let count = members(group(i)).count() as f64;
        let mean = members(group(i)).map(|i| normals[i]).sum::<f64>() / count;
        let product = members(group(i)).map(|i| normals[i] * normal[i][0]).sum::<f64>() / count;
        dx.push(normal[i][1] * (normals[i] - mean - normal[i][0] * product));
    }
    Some([y, dx, scale, shift, add])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn norms_and_their_gradients_are_those_of_the_loops(
        (n, groups, each) in (1..4_usize, 1..4_usize, 1..4_usize),
        (batch, per_picture, adds) in any::<(bool, bool, bool)>(),
        vectors in 1..4_usize,
        curve in prop_oneof![Just(None), Just(Some(Curve::Relu)), Just(Some(Curve::Silu))],
        mut seed: u64,
    ) {
        let (channels, length) = (groups * each, 16 * vectors);
        let count = n * channels * length;
        let x: Vec<f32> = noises(&mut seed, count, 3.0).iter().map(|x| x + 5.0).collect();
        let parameters = if per_picture { n * channels } else { channels };
        let (scale, shift) = (noises(&mut seed, parameters, 1.0), noises(&mut seed, parameters, 1.0));
        let (add, gradient) = (noises(&mut seed, count, 1.0), noises(&mut seed, count, 1.0));
        let inputs = Inputs { x: &x, scale: &scale, shift: &shift, add: adds.then_some(&add) };
        let mut bits = None;
        for arch in archs() {
            let groups = (!batch).then_some(groups);
            let norm = Norm { arch, groups, epsilon: 1e-5, curve, shape: [n, channels, length] };
            let expected = norm_loops(&norm, inputs, &gradient);
            prop_assume!(expected.is_some());
            let run = || {
                let (y, statistics) = norm.forward(inputs);
                let gradients = norm.backward(inputs, &statistics, &gradient);
                (y, gradients)
            };
            let (y, gradients) = run();
            let of_add = gradients.add.clone().unwrap_or_default();
            let found = [&y, &gradients.x, &gradients.scale, &gradients.shift, &of_add];
            for (name, (found, expected)) in
                ["y", "x", "scale", "shift", "add"].iter().zip(found.iter().zip(expected.unwrap()))
            {
                prop_assert!(found.len() == expected.len() || (*name == "add" && !adds));
                let largest = expected.iter().fold(1e-1, |largest: f64, value| largest.max(value.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    let close = (f64::from(*found) - expected).abs() <= 2e-5 * largest;
                    prop_assert!(close, "{name}: {found} and {expected} of {largest} on {arch:?}");
                }
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            prop_assert_eq!(&pool.install(run), &(y.clone(), gradients), "3 threads");
            prop_assert_eq!(bits.get_or_insert(y.clone()), &y, "every processor sums in the same order");
        }
    }
}

/// Attention in double precision, and how far a sum over its answers moves with each of its inputs.
fn attention_loops(attend: Attend, x: &[f32], weights: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let Attend { heads, channels, pixels, by_heads, .. } = attend;
    let len = heads * channels * pixels;
    let (mut y, mut dx) = (vec![0.0; x.len() / 3], vec![0.0; x.len()]);
    for (unit, weights) in weights.chunks(channels * pixels).enumerate() {
        let (picture, head) = (unit / heads, unit % heads);
        let at = |part: usize, channel: usize, pixel: usize| {
            let place = if by_heads { 3 * head + part } else { part * heads + head };
            3 * len * picture + (place * channels + channel) * pixels + pixel
        };
        let value = |part, channel, pixel| f64::from(x[at(part, channel, pixel)]);
        let weight = |channel: usize, pixel: usize| f64::from(weights[channel * pixels + pixel]);
        for query in 0..pixels {
            let dot = |key| (0..channels).map(|c| value(0, c, query) * value(1, c, key)).sum::<f64>();
            let scale = (channels as f64).sqrt().recip();
            let shares: Vec<f64> = (0..pixels).map(|key| (dot(key) * scale).exp()).collect();
            let sum: f64 = shares.iter().sum();
            let shares: Vec<f64> = shares.iter().map(|share| share / sum).collect();
            let slope = |key| (0..channels).map(|c| weight(c, query) * value(2, c, key)).sum::<f64>();
            let slopes: Vec<f64> = (0..pixels).map(slope).collect();
            let mean: f64 = slopes.iter().zip(&shares).map(|(slope, share)| slope * share).sum();
            for channel in 0..channels {
                for key in 0..pixels {
                    y[unit * channels * pixels + channel * pixels + query] += shares[key] * value(2, channel, key);
                    let score = shares[key] * (slopes[key] - mean) * scale;
                    dx[at(0, channel, query)] += score * value(1, channel, key);
                    dx[at(1, channel, key)] += score * value(0, channel, query);
                    dx[at(2, channel, key)] += shares[key] * weight(channel, query);
                }
            }
        }
    }
    (y, dx)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn attention_and_its_gradient_are_those_of_the_loops(
        (n, heads, channels) in (1..3_usize, 1..4_usize, 1..20_usize),
        groups in 1..7_usize,
        by_heads: bool,
        (scale, mut seed) in (prop_oneof![Just(0.1_f32), Just(1.0), Just(9.0)], any::<u64>()),
    ) {
        let pixels = 16 * groups;
        let x = noises(&mut seed, n * 3 * heads * channels * pixels, scale);
        let weights = noises(&mut seed, n * heads * channels * pixels, 1.0);
        let mut bits = None;
        for arch in archs() {
            let attend = Attend { arch, heads, channels, pixels, by_heads };
            let (y, dx) = attention_loops(attend, &x, &weights);
            let run = || (attend.forward(&x), attend.backward(&x, &weights));
            let found = run();
            for (name, found, expected) in [("y", &found.0, &y), ("dx", &found.1, &dx)] {
                let largest = expected.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let close = (f64::from(*found) - expected).abs() <= 1e-5 * largest;
                    prop_assert!(close, "{name}: {found} and {expected} of {largest} on {arch:?}");
                }
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            prop_assert_eq!(&pool.install(run), &found, "3 threads");
            prop_assert_eq!(bits.get_or_insert_with(|| found.clone()), &found, "every processor sums in the same order");
        }
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// To a share of the largest value, which is `least` at least.
fn assert_close(name: &str, own: &[f32], burn: &[f32], (tolerance, least): (f32, f32)) {
    assert_eq!(own.len(), burn.len(), "{name}");
    let largest = burn.iter().fold(least, |largest: f32, value| largest.max(value.abs()));
    for (own, burn) in own.iter().zip(burn) {
        assert!((own - burn).abs() <= tolerance * largest, "{name}: {own} and {burn} of {largest}");
    }
}

#[test]
fn the_operation_is_burns_with_all_gradients_or_some() {
    let (mut seed, [n, c_in, c_out, k]) = (7, [3, 17, 20, 3]);
    for (stride, tracked) in [(1, [true; 3]), (2, [true; 3]), (1, [false, true, false]), (1, [true, false, true])] {
        let leaf = |values: Tensor<4>, tracked: bool| {
            if tracked { values.autodiff().require_grad() } else { values.autodiff() }
        };
        // Not contiguous, as a result of burn's may be.
        let x = tensor(noises(&mut seed, n * c_in * 63, 1.0), [n, 9, c_in, 7]).swap_dims(1, 2);
        let weight = tensor(noises(&mut seed, c_out * c_in * k * k, 0.1), [c_out, c_in, k, k]);
        let bias = tensor(noises(&mut seed, c_out, 1.0), [c_out, 1, 1, 1]);
        let inputs = [x, weight, bias].into_iter().zip(tracked).map(|(values, tracked)| leaf(values, tracked));
        let inputs: Vec<Tensor<4>> = inputs.collect();
        let gradients = |conv: &dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>| {
            let y = conv(inputs[0].clone(), inputs[1].clone(), inputs[2].clone().reshape([c_out]));
            let mut gradients = (y.clone() * y.clone()).sum().backward();
            let found = inputs.iter().map(|x| x.grad_remove(&mut gradients).map(read));
            (read(y), found.collect::<Vec<_>>())
        };
        let own = gradients(&|x, weight, bias| op::conv2d(x, weight, Some(bias), (Arch::new(), stride, [1; 2])));
        let options = || ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
        let burn = gradients(&|x, weight, bias| burn::tensor::module::conv2d(x, weight, Some(bias), options()));
        assert_close("y", &own.0, &burn.0, (1e-5, 0.0));
        for (i, (own, burn)) in own.1.iter().zip(&burn.1).enumerate() {
            assert_eq!((own.is_some(), burn.is_some()), (tracked[i], tracked[i]), "input {i}");
            if let (Some(own), Some(burn)) = (own, burn) {
                assert_close("gradient", own, burn, (1e-5, 0.0));
            }
        }
    }
}

#[test]
fn maps_of_twice_and_half_the_size_are_burns_with_their_gradients() {
    let mut seed = 3;
    let x = tensor(noises(&mut seed, 3 * 5 * 48, 1.0), [3, 5, 6, 8]);
    for resample in [crate::net::nearest_upsample_2x, crate::net::average_pool_2x2] {
        let run = || {
            let x = x.clone().autodiff().require_grad();
            let y = resample(x.clone());
            let mut gradients = (y.clone() * y.clone() * y.clone()).sum().backward();
            (y.dims(), read(y), x.grad_remove(&mut gradients).map(read).unwrap())
        };
        let (own, burn) = (with_burn(false, run), with_burn(true, run));
        assert_eq!(own.0, burn.0);
        assert_close("y", &own.1, &burn.1, (1e-6, 0.0));
        assert_close("dx", &own.2, &burn.2, (1e-6, 0.0));
    }
}

/// The gradients of all parameters, in their order.
fn parameters(module: &impl Module, gradients: &Gradients) -> Vec<Vec<f32>> {
    struct Collect<'a>(&'a Gradients, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(param.val().grad(self.0).map(read));
        }
    }
    let mut collect = Collect(gradients, Vec::new());
    module.visit(&mut collect);
    collect.1
}

#[test]
fn a_step_of_training_gives_every_parameter_burns_gradient() {
    let check = |name: &str, step: &dyn Fn() -> Vec<Vec<f32>>| {
        let (own, burn) = (step(), with_burn(true, step));
        assert_eq!(own, step(), "{name}: the same bits again");
        assert!(own.len() > 10 && own.len() == burn.len(), "{name}");
        // What a norm takes away again, such as the bias before it, has a gradient of rounding errors only.
        let least = 1e-4 * burn.iter().flatten().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        for (i, (own, burn)) in own.iter().zip(&burn).enumerate() {
            assert_close(&format!("{name}, parameter {i}"), own, burn, (2e-3, least));
        }
    };
    for (i, net) in laws::resnets().into_iter().enumerate() {
        let net = net.train();
        check(&format!("net {i}"), &|| {
            let logits = net.forward(laws::pictures(4, 3));
            let gradients = (logits.clone() * logits).sum().backward();
            parameters(&net, &gradients)
        });
    }
    let net = laws::unet(false).train();
    check("U-Net", &|| {
        let out = net.forward(laws::pictures(2, 2), &[0.5, 1.0], Some(&[2, 0]));
        let gradients = (out.clone() * out).sum().backward();
        parameters(&net, &gradients)
    });
}
