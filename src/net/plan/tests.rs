//! Every kind of step against loops in double precision, over shapes that chance chooses.

use proptest::prelude::*;
use pulp::Arch;

use super::{Curve, Filter, Plan, Sketch, Value, lanes};

/// `[C, H, W]` of several pictures, row-major, in double precision.
#[derive(Debug, Clone)]
struct Reference {
    n: usize,
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Reference {
    fn zeros(n: usize, shape: [usize; 3]) -> Self {
        Self { n, shape, values: vec![0.0; n * shape.iter().product::<usize>()] }
    }

    fn index(&self, n: usize, c: usize, y: usize, x: usize) -> usize {
        let [channels, h, w] = self.shape;
        ((n * channels + c) * h + y) * w + x
    }

    /// Every index, as picture, channel, row and column.
    fn places(&self) -> impl Iterator<Item = [usize; 4]> + use<> {
        let ([c, h, w], n) = (self.shape, self.n);
        (0..n * c * h * w).map(move |i| [i / w / h / c, i / w / h % c, i / w % h, i % w])
    }

    fn get(&self, [n, c, y, x]: [usize; 4]) -> f64 {
        self.values[self.index(n, c, y, x)]
    }

    fn add(&mut self, [n, c, y, x]: [usize; 4], value: f64) {
        let i = self.index(n, c, y, x);
        self.values[i] += value;
    }
}

/// One step, as a sketch would be told of it.
#[derive(Debug, Clone)]
enum Layer {
    Conv { filter: Filter, add: Option<Value> },
    Affine { scale: Vec<f32>, shift: Vec<f32> },
    MaxPool,
    AvgPool,
    Mean,
}

type Net = Vec<(Layer, Value, Option<Curve>)>;

fn noise(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*seed >> 40) as f32 / (1 << 23) as f32) - 1.0
}

pub(super) fn noises(seed: &mut u64, count: usize, scale: f32) -> Vec<f32> {
    (0..count).map(|_| scale * noise(seed)).collect()
}

pub(super) fn filter(seed: &mut u64, dims @ [c_out, c_in, k]: [usize; 3], stride: usize, behind: bool) -> Filter {
    let fan = c_in * k * k;
    let weight = noises(seed, c_out * fan, (3.0 / fan as f32).sqrt());
    let bias = if stride == 1 { Some(noises(seed, c_out, 0.3)) } else { None };
    Filter { weight, bias, dims, stride, before: if behind { 0 } else { k / 2 } }
}

fn conv(layer: &Filter, x: &Reference, mut each: impl FnMut([usize; 4], [usize; 4], f64)) -> Reference {
    let [c_out, c_in, k] = layer.dims;
    let [_, h, w] = x.shape;
    let y = Reference::zeros(x.n, [c_out, h.div_ceil(layer.stride), w.div_ceil(layer.stride)]);
    for to @ [n, o, oy, ox] in y.places() {
        for i in 0..c_in {
            for (dy, dx) in (0..k).flat_map(|dy| (0..k).map(move |dx| (dy, dx))) {
                let at = |o: usize, d: usize| (o * layer.stride + d).checked_sub(layer.before);
                let (Some(iy), Some(ix)) = (at(oy, dy), at(ox, dx)) else { continue };
                if iy < h && ix < w {
                    each(to, [n, i, iy, ix], f64::from(layer.weight[((o * c_in + i) * k + dy) * k + dx]));
                }
            }
        }
    }
    y
}

/// Calls `each(to, from, weight)` for every product of a linear step; a max-pool is linear once its places are known.
fn products(layer: &Layer, x: &Reference, mut each: impl FnMut([usize; 4], [usize; 4], f64)) -> Reference {
    let [c, h, w] = x.shape;
    let shape = match layer {
        Layer::Conv { filter, .. } => return conv(filter, x, each),
        Layer::Affine { .. } => x.shape,
        Layer::MaxPool => [c, h.div_ceil(2), w.div_ceil(2)],
        Layer::AvgPool => [c, h / 2, w / 2],
        Layer::Mean => [c, 1, 1],
    };
    let y = Reference::zeros(x.n, shape);
    for to @ [n, c, oy, ox] in y.places() {
        match layer {
            Layer::Conv { .. } => {}
            Layer::Affine { scale, .. } => each(to, to, f64::from(scale[c])),
            Layer::MaxPool => {
                let rows = (2 * oy).saturating_sub(1)..(2 * oy + 2).min(h);
                let window = rows.flat_map(|y| ((2 * ox).saturating_sub(1)..(2 * ox + 2).min(w)).map(move |x| (y, x)));
                let from = window.map(|(y, x)| [n, c, y, x]).reduce(|a, b| if x.get(b) > x.get(a) { b } else { a });
                each(to, from.unwrap(), 1.0);
            }
            Layer::AvgPool => (0..4).for_each(|i| each(to, [n, c, 2 * oy + i / 2, 2 * ox + i % 2], 0.25)),
            Layer::Mean => {
                (0..h * w).for_each(|i| each(to, [n, c, i / w, i % w], 1.0 / (h * w) as f64));
            }
        }
    }
    y
}

fn curve(kind: Option<Curve>, x: f64) -> [f64; 2] {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match kind {
        None => [x, 1.0],
        Some(Curve::Relu) => [x.max(0.0), f64::from(x > 0.0)],
        Some(Curve::Silu) => [x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid))],
    }
}

/// The last value and, from its gradient, the input's; and whether a ReLU or a maximum was so close that rounding may turn it.
fn reference(net: &Net, x: &Reference, gradient: impl Fn(&Reference) -> Reference) -> (Reference, Reference) {
    let mut values = vec![x.clone()];
    let mut slopes = Vec::new();
    for (layer, from, kind) in net {
        let x = &values[*from];
        let mut parts = Vec::new();
        let mut y = products(layer, x, |to, from, weight| parts.push((to, weight * x.get(from))));
        for (to, part) in parts {
            y.add(to, part);
        }
        for to @ [_, c, _, _] in y.places() {
            match layer {
                Layer::Conv { filter: Filter { bias, .. }, add } => {
                    y.add(to, bias.as_ref().map_or(0.0, |bias| f64::from(bias[c])));
                    y.add(to, add.map_or(0.0, |add| values[add].get(to)));
                }
                Layer::Affine { shift, .. } => y.add(to, f64::from(shift[c])),
                _ => {}
            }
        }
        slopes.push(y.values.iter().map(|x| curve(*kind, *x)[1]).collect::<Vec<f64>>());
        y.values.iter_mut().for_each(|x| *x = curve(*kind, *x)[0]);
        values.push(y);
    }
    let last = values.last().unwrap().clone();
    let mut gradients: Vec<Reference> = values.iter().map(|value| Reference::zeros(value.n, value.shape)).collect();
    *gradients.last_mut().unwrap() = gradient(&last);
    for (i, (layer, from, _)) in net.iter().enumerate().rev() {
        let mut g = gradients[i + 1].clone();
        g.values.iter_mut().zip(&slopes[i]).for_each(|(g, slope)| *g *= slope);
        if let Layer::Conv { add: Some(add), .. } = layer {
            gradients[*add].values.iter_mut().zip(&g.values).for_each(|(sum, g)| *sum += g);
        }
        let mut parts = Vec::new();
        products(layer, &values[*from], |to, at, weight| parts.push((at, weight * g.get(to))));
        for (at, part) in parts {
            gradients[*from].add(at, part);
        }
    }
    (last, gradients.swap_remove(0))
}

fn plan(net: &Net, channels: usize, nominal: usize, arch: Arch) -> Plan {
    let mut sketch = Sketch::new(channels, [nominal; 2], lanes(arch));
    for (layer, x, curve) in net {
        match layer {
            Layer::Conv { filter, add } => sketch.conv(*x, filter, *add, *curve),
            Layer::Affine { scale, shift } => sketch.affine(*x, [scale.clone(), shift.clone()], *curve),
            Layer::MaxPool => sketch.max_pool(*x),
            Layer::AvgPool => sketch.average_pool(*x),
            Layer::Mean => sketch.mean(*x),
        };
    }
    Plan::new(sketch, arch, &vec![0.0; channels], &vec![1.0; channels])
}

pub(super) fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::new()];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

/// Compares a plan with the loops, forwards and backwards, to the last bit between processors and batches.
///
/// Methods are chosen for pictures of `nominal` by `nominal`.
fn check(
    net: &Net,
    (n, nominal): (usize, usize),
    shape @ [c, h, w]: [usize; 3],
    seed: &mut u64,
) -> Result<(), TestCaseError> {
    let x = noises(seed, n * c * h * w, 1.0);
    let values = x.iter().copied().map(f64::from).collect();
    let mut weights = Vec::new();
    let noises = std::cell::RefCell::new(&mut weights);
    let (logits, gradient) = reference(net, &Reference { n, shape, values }, |last| {
        let mut noises = noises.borrow_mut();
        noises.extend((0..last.values.len()).map(|i| (0.7 * i as f32).sin() + 0.2));
        Reference { values: noises.iter().copied().map(f64::from).collect(), ..last.clone() }
    });
    let mut bits: Option<(Vec<f32>, Vec<f32>)> = None;
    for arch in archs() {
        let plan = plan(net, c, nominal, arch);
        let run = |x: &[f32], n: usize, g: &[f32]| {
            let (y, tape) = plan.forward(x, n, [h, w], true);
            assert_eq!(y, plan.forward(x, n, [h, w], false).0, "with and without a gradient");
            let gradient = plan.backward(&tape, g);
            (y, gradient)
        };
        let found = run(&x, n, &weights);
        for (name, found, expected) in [("value", &found.0, &logits), ("gradient", &found.1, &gradient)] {
            prop_assert_eq!(found.len(), expected.values.len());
            let largest = expected.values.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
            for (found, expected) in found.iter().zip(&expected.values) {
                let close = (f64::from(*found) - expected).abs() <= 3e-5 * largest;
                prop_assert!(close, "{name}: {found} and {expected} of {largest} on {arch:?}");
            }
        }
        let (y, dx) = (found.0.len() / n, x.len() / n);
        let alone: Vec<_> = (0..n).map(|i| run(&x[i * dx..][..dx], 1, &weights[i * y..][..y])).collect();
        prop_assert_eq!(&alone.iter().flat_map(|(y, _)| y.clone()).collect::<Vec<_>>(), &found.0);
        prop_assert_eq!(&alone.iter().flat_map(|(_, g)| g.clone()).collect::<Vec<_>>(), &found.1);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            prop_assert_eq!(&pool.install(|| run(&x, n, &weights)), &found, "{} threads", threads);
        }
        if let Some(bits) = &bits {
            prop_assert_eq!(bits, &found, "every processor sums in the same order");
        }
        bits = Some(found);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_are_those_of_the_loops(
        (c_in, c_out) in (1..40_usize, 1..70_usize),
        (k, stride) in (0..3_usize, 1..3_usize),
        behind: bool,
        (h, w) in (1..12_usize, 1..12_usize),
        (n, mut seed) in (1..4_usize, any::<u64>()),
        curve in prop_oneof![Just(None), Just(Some(Curve::Silu))],
    ) {
        let k = [1, 3, 7][k];
        let behind = behind && stride == 2 && k == 3;
        let sides = |side: usize| if behind { 2 * side } else { side };
        let first = filter(&mut seed, [c_out, c_in, k], stride, behind);
        let second = filter(&mut seed, [5, c_out, 3], 1, false);
        let net = vec![
            (Layer::Conv { filter: first, add: None }, 0, curve),
            (Layer::Conv { filter: second, add: None }, 1, None),
        ];
        check(&net, (n, 8), [c_in, sides(h), sides(w)], &mut seed)?;
    }

    #[test]
    fn convolutions_by_tiles_are_those_of_the_loops(
        (c_in, c_out) in (33..40_usize, 33..52_usize),
        (h, w) in (1..8_usize, 1..10_usize),
        (n, nominal) in (1..3_usize, prop_oneof![Just(2_usize), Just(32)]),
        mut seed: u64,
    ) {
        let net = vec![
            (Layer::Conv { filter: filter(&mut seed, [c_in, 2, 1], 1, false), add: None }, 0, None),
            (Layer::Conv { filter: filter(&mut seed, [c_out, c_in, 3], 1, false), add: None }, 1, Some(Curve::Silu)),
            (Layer::Conv { filter: filter(&mut seed, [c_out, c_out, 3], 1, false), add: Some(2) }, 2, None),
        ];
        check(&net, (n, nominal), [2, h, w], &mut seed)?;
    }

    #[test]
    fn other_steps_are_those_of_the_loops(
        (c, kind) in (1..40_usize, 0..3_usize),
        (h, w) in (1..9_usize, 1..9_usize),
        (n, mut seed) in (1..4_usize, any::<u64>()),
    ) {
        let layer = [Layer::MaxPool, Layer::AvgPool, Layer::Mean][kind].clone();
        let (scale, shift) = (noises(&mut seed, c, 2.0), noises(&mut seed, c, 0.5));
        let stem = Layer::Conv { filter: filter(&mut seed, [c, 2, 1], 1, false), add: None };
        let net = vec![
            (stem, 0, None),
            (Layer::Affine { scale: scale.clone(), shift: shift.clone() }, 1, Some(Curve::Silu)),
            (layer, 2, None),
            (Layer::Affine { scale, shift }, 3, None),
        ];
        let sides = |side: usize| if kind == 1 { 2 * side } else { side };
        check(&net, (n, 8), [2, sides(h), sides(w)], &mut seed)?;
    }

    #[test]
    fn blocks_of_every_form_are_those_of_the_loops(
        (c, k) in (1..20_usize, 0..2_usize),
        (h, w) in (1..7_usize, 1..7_usize),
        mut seed: u64,
    ) {
        let mut conv = |dims: [usize; 3], stride: usize, add: Option<Value>| {
            Layer::Conv { filter: filter(&mut seed, dims, stride, false), add }
        };
        let silu = Some(Curve::Silu);
        let k = [1, 3][k];
        // A stem; a block past which its input goes; one that halves, with a convolution in its shortcut; a
        // pre-activated one; the end.
        let net = vec![
            (conv([c, 3, 3], 1, None), 0, silu),
            (conv([c, c, k], 1, None), 1, silu),
            (conv([c, c, 3], 1, Some(1)), 2, silu),
            (conv([c + 3, c, 1], 2, None), 3, None),
            (conv([2 * c, c, 3], 2, None), 3, silu),
            (conv([c + 3, 2 * c, k], 1, Some(4)), 5, None),
            (Layer::Affine { scale: vec![0.9; c + 3], shift: vec![0.1; c + 3] }, 6, silu),
            (conv([c, c + 3, 3], 1, None), 7, silu),
            (conv([c + 3, c, 3], 1, Some(6)), 8, None),
            (Layer::Mean, 9, None),
            (conv([4, c + 3, 1], 1, None), 10, None),
        ];
        check(&net, (2, 8), [3, h, w], &mut seed)?;
    }
}

#[test]
fn many_weights_on_few_pixels_are_those_of_the_loops() {
    // Direct and by tiles, and a gradient of a stride: cores share their weights.
    for (nominal, stride) in [(1, 1), (16, 1), (16, 2)] {
        let mut seed = 5;
        let mut conv = |dims: [usize; 3], stride: usize, add: Option<Value>| Layer::Conv {
            filter: filter(&mut seed, dims, stride, false),
            add,
        };
        let net = vec![
            (conv([360, 2, 1], 1, None), 0, None),
            (conv([360, 360, 3], stride, None), 1, Some(Curve::Silu)),
            (conv([360, 360, 3], 1, Some(2)), 2, None),
            (conv([2, 360, 1], 1, None), 3, None),
        ];
        check(&net, (2, nominal), [2, 3, 2], &mut seed).unwrap();
    }
}

#[test]
fn what_is_not_a_number_passes_as_in_pytorch() {
    let identity = Filter { weight: vec![1.0], bias: None, dims: [1, 1, 1], stride: 1, before: 0 };
    let net = vec![
        (Layer::Conv { filter: identity.clone(), add: None }, 0, Some(Curve::Relu)),
        (Layer::MaxPool, 1, None),
        (Layer::Conv { filter: identity, add: None }, 2, None),
    ];
    for arch in archs() {
        let plan = plan(&net, 1, 2, arch);
        let (y, tape) = plan.forward(&[-1.0, f32::NAN, 3.0, -0.0], 1, [2, 2], true);
        assert!(y[0].is_nan(), "{y:?}");
        assert_eq!(plan.backward(&tape, &[2.0]), [0.0, 2.0, 0.0, 0.0]);
        let (y, tape) = plan.forward(&[-1.0, 2.0, 3.0, -0.0], 1, [2, 2], true);
        assert_eq!((y, plan.backward(&tape, &[2.0])), (vec![3.0], vec![0.0, 0.0, 2.0, 0.0]));
    }
}
