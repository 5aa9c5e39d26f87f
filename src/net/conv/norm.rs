//! Norms with what stands behind them, forwards and backwards: `curve((x - mean) / √(variance + ε) · scale + shift + add)`,
//! mean and variance of a channel over the batch, or of a group of channels of one picture.
//!
//! Two passes over the map either way, on all threads; nothing is kept for the gradient but the inputs and the statistics.
//! Every plane is summed by one thread in 16 lanes, so the bits depend neither on threads nor on the length of vectors.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use crate::net::plan::{Curve, GROUP, mask, sigmoid, zeros};

/// A norm but for its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) arch: Arch,
    /// Groups of channels that are normalised picture by picture; `None` for every channel over the batch.
    pub(super) groups: Option<usize>,
    pub(super) epsilon: f32,
    pub(super) curve: Option<Curve>,
    /// Pictures, channels, values of a plane: a multiple of 16.
    pub(super) shape: [usize; 3],
}

/// What a norm reads, all row-major.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// `[N, C, plane]`
    pub(super) x: &'a [f32],
    /// `[N, C]` or `[C]`
    pub(super) scale: &'a [f32],
    /// The same.
    pub(super) shift: &'a [f32],
    /// `[N, C, plane]`
    pub(super) add: Option<&'a [f32]>,
}

/// Mean and variance of every group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistics(pub(super) Vec<[f32; 2]>);

/// Gradients of the inputs.
#[derive(Debug, PartialEq)]
pub(super) struct InputGradients {
    pub(super) x: Vec<f32>,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) add: Option<Vec<f32>>,
}

/// What a plane is multiplied with and so on.
#[derive(Debug, Clone, Copy)]
struct Factors {
    mean: f32,
    /// 1 / √(variance + ε)
    inverse: f32,
    scale: f32,
    shift: f32,
    curve: Option<Curve>,
}

impl Norm {
    /// The group of a plane.
    fn group(&self, plane: usize) -> usize {
        let [_, channels, _] = self.shape;
        match self.groups {
            Some(groups) => plane / channels * groups + plane % channels / (channels / groups),
            None => plane % channels,
        }
    }

    /// Sums over the planes of every group, in the order of the planes.
    fn over_groups<const K: usize>(&self, of_plane: impl Fn(usize) -> [f64; K]) -> Vec<[f64; K]> {
        let [n, channels, _] = self.shape;
        let mut sums = vec![[0.0; K]; self.groups.map_or(channels, |groups| n * groups)];
        for plane in 0..n * channels {
            let sum = &mut sums[self.group(plane)];
            for (sum, value) in sum.iter_mut().zip(of_plane(plane)) {
                *sum += value;
            }
        }
        sums
    }

    /// Planes of a group.
    fn planes(&self) -> f64 {
        let [n, channels, _] = self.shape;
        self.groups.map_or(n, |groups| channels / groups) as f64
    }

    fn factors(&self, inputs: Inputs<'_>, Statistics(statistics): &Statistics, plane: usize) -> Factors {
        let [mean, variance] = statistics[self.group(plane)];
        let at = plane % inputs.scale.len();
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        Factors { mean, inverse, scale: inputs.scale[at], shift: inputs.shift[at], curve: self.curve }
    }

    fn statistics(&self, x: &[f32]) -> Statistics {
        let length = self.shape[2];
        let moments: Vec<[f64; 2]> = x.par_chunks_exact(length).map(|x| self.arch.dispatch(Moments { x })).collect();
        let means = self.over_groups(|plane| [moments[plane][0] / self.planes()]);
        let squares = self.over_groups(|plane| {
            let apart = moments[plane][0] - means[self.group(plane)][0];
            [moments[plane][1] + apart * apart * length as f64]
        });
        let count = self.planes() * length as f64;
        Statistics(means.iter().zip(squares).map(|([mean], [sum])| [*mean as f32, (sum / count) as f32]).collect())
    }

    pub(super) fn forward(&self, inputs: Inputs<'_>) -> (Vec<f32>, Statistics) {
        let statistics = self.statistics(inputs.x);
        let mut y = zeros(inputs.x.len());
        let length = self.shape[2];
        y.par_chunks_exact_mut(length).enumerate().for_each(|(plane, y)| {
            let part = |values| part(values, plane, length);
            let factors = self.factors(inputs, &statistics, plane);
            self.arch.dispatch(Apply { factors, x: part(inputs.x), add: inputs.add.map(part), y });
        });
        (y, statistics)
    }

    pub(super) fn backward(&self, inputs: Inputs<'_>, statistics: &Statistics, gradient: &[f32]) -> InputGradients {
        let ([n, channels, length], planes) = (self.shape, self.shape[0] * self.shape[1]);
        let read = |plane: usize| {
            let part = |values| part(values, plane, length);
            let factors = self.factors(inputs, statistics, plane);
            Slopes { factors, x: part(inputs.x), add: inputs.add.map(part), gradient: part(gradient) }
        };
        let sums: Vec<[f32; 2]> =
            (0..planes).into_par_iter().map(|plane| self.arch.dispatch(Sums(read(plane)))).collect();
        let count = self.planes() * length as f64;
        let means = self.over_groups(|plane| {
            let scale = f64::from(inputs.scale[plane % inputs.scale.len()]) / count;
            sums[plane].map(|sum| f64::from(sum) * scale)
        });
        let mut x = zeros(inputs.x.len());
        let mut add = inputs.add.map(|add| zeros(add.len()));
        let write = |(plane, (x, add)): (usize, (&mut [f32], Option<&mut [f32]>))| {
            let means = means[self.group(plane)].map(|mean| mean as f32);
            self.arch.dispatch(Spread { read: read(plane), means, x, add });
        };
        let parts = x.par_chunks_exact_mut(length);
        match &mut add {
            Some(add) => parts.zip(add.par_chunks_exact_mut(length).map(Some)).enumerate().for_each(write),
            None => parts.map(|x| (x, None)).enumerate().for_each(write),
        }
        let one_for_all = inputs.scale.len() == channels;
        let mut of_parameters = [1, 0].map(|i| sums.iter().map(|sums| sums[i]).collect::<Vec<f32>>());
        if one_for_all && n > 1 {
            of_parameters = of_parameters.map(|values| {
                let sum =
                    |c: usize| values.iter().skip(c).step_by(channels).map(|value| f64::from(*value)).sum::<f64>();
                (0..channels).map(|c| sum(c) as f32).collect()
            });
        }
        let [scale, shift] = of_parameters;
        InputGradients { x, scale, shift, add }
    }
}

fn part(values: &[f32], plane: usize, length: usize) -> &[f32] {
    &values[plane * length..][..length]
}

/// Mean, and the sum of squared distances from it.
struct Moments<'a> {
    x: &'a [f32],
}

impl WithSimd for Moments<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; 2] {
        let (mut sums, mut squares) = ([0.0; GROUP], [0.0; GROUP]);
        for x in self.x.chunks_exact(GROUP) {
            for (sum, x) in S::as_mut_simd_f32s(&mut sums).0.iter_mut().zip(S::as_simd_f32s(x).0) {
                *sum = simd.add_f32s(*sum, *x);
            }
        }
        let mean = total(&sums) / self.x.len() as f64;
        let centre = simd.splat_f32s(mean as f32);
        for x in self.x.chunks_exact(GROUP) {
            for (sum, x) in S::as_mut_simd_f32s(&mut squares).0.iter_mut().zip(S::as_simd_f32s(x).0) {
                let apart = simd.sub_f32s(*x, centre);
                *sum = simd.mul_add_f32s(apart, apart, *sum);
            }
        }
        [mean, total(&squares)]
    }
}

fn total(sums: &[f32; GROUP]) -> f64 {
    sums.iter().map(|sum| f64::from(*sum)).sum()
}

struct Apply<'a> {
    factors: Factors,
    x: &'a [f32],
    add: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (x, _) = S::as_simd_f32s(self.x);
        let (y, _) = S::as_mut_simd_f32s(self.y);
        let add = self.add.map(|add| S::as_simd_f32s(add).0);
        for (i, (x, y)) in x.iter().zip(y).enumerate() {
            let (_, value) = self.factors.value(simd, *x, add.map(|add| add[i]));
            *y = match self.factors.curve {
                None => value,
                // The second operand is what is left of a NaN.
                Some(Curve::Relu) => simd.max_f32s(simd.splat_f32s(0.0), value),
                Some(Curve::Silu) => simd.mul_f32s(value, sigmoid(simd, value)),
            };
        }
    }
}

impl Factors {
    /// Input without its mean, and what the curve is applied to.
    #[inline(always)]
    fn value<S: Simd>(&self, simd: S, x: S::f32s, add: Option<S::f32s>) -> (S::f32s, S::f32s) {
        let centred = simd.sub_f32s(x, simd.splat_f32s(self.mean));
        let shift = simd.splat_f32s(self.shift);
        let value = simd.mul_add_f32s(centred, simd.splat_f32s(self.inverse * self.scale), shift);
        (centred, add.map_or(value, |add| simd.add_f32s(value, add)))
    }
}

/// What the gradient is made of, of one plane.
struct Slopes<'a> {
    factors: Factors,
    x: &'a [f32],
    add: Option<&'a [f32]>,
    gradient: &'a [f32],
}

impl Slopes<'_> {
    /// Input without its mean, and the gradient before the curve, of a vector.
    #[inline(always)]
    fn at<S: Simd>(&self, simd: S, i: usize) -> (S::f32s, S::f32s) {
        let vector = |values| S::as_simd_f32s(values).0[i];
        let (centred, value) = self.factors.value(simd, vector(self.x), self.add.map(vector));
        let gradient = vector(self.gradient);
        let slope = match self.factors.curve {
            None => gradient,
            Some(Curve::Relu) => {
                let passes = simd.transmute_u32s_f32s(simd.max_f32s(simd.splat_f32s(0.0), value));
                // What is not zero has bits below its sign.
                let passes = simd.and_u32s(passes, simd.splat_u32s(i32::MAX as u32));
                let passes = mask(simd, simd.min_u32s(passes, simd.splat_u32s(1)));
                simd.transmute_f32s_u32s(simd.and_u32s(simd.transmute_u32s_f32s(gradient), passes))
            }
            Some(Curve::Silu) => {
                let (one, sigmoid) = (simd.splat_f32s(1.0), sigmoid(simd, value));
                let slope = simd.mul_add_f32s(value, simd.sub_f32s(one, sigmoid), one);
                simd.mul_f32s(gradient, simd.mul_f32s(slope, sigmoid))
            }
        };
        (centred, slope)
    }
}

/// Sums of the gradient before the curve, and of its products with the normalised input: the gradients of shift and scale.
struct Sums<'a>(Slopes<'a>);

impl WithSimd for Sums<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let (mut sums, mut products) = ([0.0; GROUP], [0.0; GROUP]);
        let lanes = GROUP / S::F32_LANES;
        {
            let (sums, _) = S::as_mut_simd_f32s(&mut sums);
            let (products, _) = S::as_mut_simd_f32s(&mut products);
            for first in (0..self.0.x.len() / S::F32_LANES).step_by(lanes) {
                for (v, (sum, product)) in sums.iter_mut().zip(&mut *products).enumerate() {
                    let (centred, slope) = self.0.at(simd, first + v);
                    *sum = simd.add_f32s(*sum, slope);
                    *product = simd.mul_add_f32s(slope, centred, *product);
                }
            }
        }
        [total(&sums) as f32, (total(&products) * f64::from(self.0.factors.inverse)) as f32]
    }
}

/// The gradients of the input and of what was added, of one plane.
struct Spread<'a> {
    read: Slopes<'a>,
    /// Of the normalised input's gradient and of its products with the normalised input.
    means: [f32; 2],
    x: &'a mut [f32],
    add: Option<&'a mut [f32]>,
}

impl WithSimd for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Factors { inverse, scale, .. } = self.read.factors;
        let [mean, product] = self.means;
        let (factor, summand) = (simd.splat_f32s(inverse * scale), simd.splat_f32s(-inverse * mean));
        let projection = simd.splat_f32s(-inverse * inverse * product);
        let (out, _) = S::as_mut_simd_f32s(self.x);
        let mut add = self.add.map(|add| S::as_mut_simd_f32s(add).0);
        for (i, out) in out.iter_mut().enumerate() {
            let (centred, slope) = self.read.at(simd, i);
            let rest = simd.mul_add_f32s(centred, projection, summand);
            *out = simd.mul_add_f32s(slope, factor, rest);
            if let Some(add) = &mut add {
                add[i] = slope;
            }
        }
    }
}
