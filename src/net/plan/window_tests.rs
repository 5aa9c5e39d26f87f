//! Convolutions of uneven kernels and bare edges, pools and joined maps, against loops in double precision.

use proptest::prelude::*;

use super::forward_tests::check;
use super::tests::noises;
use super::{Curve, Gather, Sketch, Window};

/// `[N, C, H, W]`, row-major.
#[derive(Clone)]
struct Maps {
    shape: [usize; 4],
    values: Vec<f64>,
}

impl Maps {
    /// A value, or nothing outside.
    fn get(&self, [n, c]: [usize; 2], [y, x]: [isize; 2]) -> Option<f64> {
        let [_, channels, h, w] = self.shape;
        let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
        (y < h && x < w).then(|| self.values[((n * channels + c) * h + y) * w + x])
    }

    /// What every window of a size comes to: `of(picture, channel, first row and column)`.
    fn each(
        &self,
        channels: usize,
        ([h, w], [rows, columns], stride): ([usize; 2], [usize; 2], usize),
        of: impl Fn(usize, usize, [isize; 2]) -> f64,
    ) -> Self {
        let [n, _, height, width] = self.shape;
        let shape = [n, channels, (height + 2 * rows - h) / stride + 1, (width + 2 * columns - w) / stride + 1];
        let place = |i: usize, padding: usize| (i * stride) as isize - padding as isize;
        let mut values = Vec::new();
        for i in 0..shape.iter().product() {
            let (x, y) = (i % shape[3], i / shape[3] % shape[2]);
            let (c, n) = (i / shape[3] / shape[2] % channels, i / shape[3] / shape[2] / channels);
            values.push(of(n, c, [place(y, rows), place(x, columns)]));
        }
        Self { shape, values }
    }

    fn conv(&self, window: &Window, relu: bool) -> Self {
        let Window { weight, bias, dims: [c_out, c_in, h, w], stride, padding } = window;
        self.each(*c_out, ([*h, *w], *padding, *stride), |n, o, [top, left]| {
            let mut sum = f64::from(bias[o]);
            for (i, weight) in weight[o * c_in * h * w..][..c_in * h * w].iter().enumerate() {
                let (x, y, c) = ((i % w) as isize, (i / w % h) as isize, i / w / h);
                sum += f64::from(*weight) * self.get([n, c], [top + y, left + x]).unwrap_or(0.0);
            }
            if relu { sum.max(0.0) } else { sum }
        })
    }

    fn pool(&self, what: Gather, [stride, padding]: [usize; 2]) -> Self {
        self.each(self.shape[1], ([3; 2], [padding; 2], stride), |n, c, [top, left]| {
            let inside = (0..9).filter_map(|tap| self.get([n, c], [top + tap / 3, left + tap % 3]));
            let inside: Vec<f64> = inside.collect();
            match what {
                Gather::Mean => inside.iter().sum::<f64>() / inside.len() as f64,
                _ => inside.into_iter().fold(f64::NEG_INFINITY, f64::max),
            }
        })
    }

    /// The channels of another behind its own.
    fn joined(&self, other: &Self) -> Self {
        let ([n, a, h, w], b) = (self.shape, other.shape[1]);
        let of = |maps: &Self, c: usize, n: usize| maps.values[n * c * h * w..][..c * h * w].to_vec();
        let values = (0..n).flat_map(|n| [of(self, a, n), of(other, b, n)].concat()).collect();
        Self { shape: [n, a + b, h, w], values }
    }
}

fn window(seed: &mut u64, dims @ [c_out, c_in, h, w]: [usize; 4], stride: usize, padding: [usize; 2]) -> Window {
    let fan = c_in * h * w;
    let weight = noises(seed, c_out * fan, (3.0 / fan as f32).sqrt());
    Window { weight, bias: noises(seed, c_out, 0.3), dims, stride, padding }
}

type Row = ([usize; 2], [usize; 2], usize, [usize; 2]);

/// A kernel, its padding and its stride, and the stride and the padding of the pool that makes maps of the same size.
const WINDOWS: [Row; 9] = [
    ([1, 1], [0, 0], 1, [1, 1]),
    ([1, 3], [0, 1], 1, [1, 1]),
    ([3, 1], [1, 0], 1, [1, 1]),
    ([1, 7], [0, 3], 1, [1, 1]),
    ([7, 1], [3, 0], 1, [1, 1]),
    ([3, 3], [1, 1], 1, [1, 1]),
    ([5, 5], [2, 2], 1, [1, 1]),
    ([3, 3], [0, 0], 1, [1, 0]),
    ([3, 3], [0, 0], 2, [2, 0]),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn windows_pools_and_joined_maps_are_those_of_the_loops(
        (which, side) in (0..WINDOWS.len(), 3..12_usize),
        (colours, groups, outputs) in (1..5_usize, 1..6_usize, 1..40_usize),
        what in prop_oneof![Just(Gather::Mean), Just(Gather::Max)],
        (n, mut seed) in (1..4_usize, any::<u64>()),
    ) {
        let (kernel, padding, stride, pool) = WINDOWS[which];
        let first = window(&mut seed, [32, colours, 1, 1], 1, [0; 2]);
        let inner = window(&mut seed, [16 * groups, 32, kernel[0], kernel[1]], stride, padding);
        // It reads what lies around the joined map, too.
        let last = window(&mut seed, [outputs, 32 + 16 * groups, 3, 3], 1, [1; 2]);
        let shape = [n, colours, side, side];
        let x = noises(&mut seed, shape.iter().product(), 1.0);
        let steps = |sketch: &mut Sketch| {
            let base = sketch.window(0, &first, Some(Curve::Relu));
            let pooled = sketch.pool(base, what, pool);
            let seen = sketch.window(base, &inner, Some(Curve::Relu));
            let joined = sketch.joined(&[pooled, seen]);
            sketch.window(joined, &last, None);
        };
        let picture = Maps { shape, values: x.iter().copied().map(f64::from).collect() };
        let base = picture.conv(&first, true);
        let expected = base.pool(what, pool).joined(&base.conv(&inner, true)).conv(&last, false);
        check(steps, (&x, shape), &[], &expected.values)?;
    }
}
