//! The steps that have no gradient, of networks that make pictures, against loops in double precision.

use proptest::prelude::*;

use super::tests::{archs, filter, noises};
use super::{Attention, Curve, Film, Filter, Norm, Plan, Resample, Sketch, Value, lanes};

/// A convolution that takes these of the channels as they are, zeros where there is none.
fn pick(channels: &[Option<usize>], of: usize) -> Filter {
    let identity = (0..of * of).map(|i| if i % (of + 1) == 0 { 1.0 } else { 0.0 }).collect();
    Filter { weight: identity, bias: None, dims: [of, of, 1], stride: 1, before: 0 }.outputs(channels)
}

/// Compares a plan of `steps` with what it should be, to the last bit between processors, batches and numbers of threads.
pub(super) fn check(
    steps: impl Fn(&mut Sketch),
    x: (&[f32], [usize; 4]),
    vectors: &[&[f32]],
    expected: &[f64],
) -> Result<(), TestCaseError> {
    let (x, [n, c, h, w]) = x;
    let mut bits: Option<Vec<f32>> = None;
    for arch in archs() {
        let mut sketch = Sketch::new(c, [h, w], lanes(arch)).forwards_only();
        steps(&mut sketch);
        let plan = Plan::new(sketch, arch, &vec![0.0; c], &vec![1.0; c]);
        let run = |first: usize, count: usize| {
            let of = |values: &[f32]| values[first * values.len() / n..][..count * values.len() / n].to_vec();
            let vectors: Vec<Vec<f32>> = vectors.iter().map(|vectors| of(vectors)).collect();
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            plan.evaluate(&of(x), &vectors, (count, [h, w]), false).0
        };
        let found = run(0, n);
        prop_assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(1e-3, |largest: f64, value| largest.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let close = (f64::from(*found) - expected).abs() <= 2e-5 * largest;
            prop_assert!(close, "{found} and {expected} of {largest} on {arch:?}");
        }
        let alone: Vec<f32> = (0..n).flat_map(|i| run(i, 1)).collect();
        prop_assert_eq!(&alone, &found);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            prop_assert_eq!(&pool.install(|| run(0, n)), &found, "{} threads", threads);
        }
        prop_assert_eq!(bits.get_or_insert_with(|| found.clone()), &found, "every processor sums in the same order");
    }
    Ok(())
}

/// Means of 2x2 of a plane, or every pixel four times.
fn resampled(plane: &[f64], w: usize, resample: Resample) -> Vec<f64> {
    let h = plane.len() / w;
    let at = |y: usize, x: usize| plane[y * w + x];
    match resample {
        Resample::None => plane.to_vec(),
        Resample::Up => (0..4 * h * w).map(|i| at(i / (2 * w) / 2, i % (2 * w) / 2)).collect(),
        Resample::Down => {
            let quad = |y: usize, x: usize| (at(y, x) + at(y, x + 1) + at(y + 1, x) + at(y + 1, x + 1)) / 4.0;
            (0..h * w / 4).map(|i| quad(2 * (i / (w / 2)), 2 * (i % (w / 2)))).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn norms_are_those_of_the_loops(
        (groups, per_group, parts) in (1..9_usize, 1..7_usize, 1..3_usize),
        (h, w) in (1..5_usize, 1..5_usize),
        resample in prop_oneof![Just(Resample::None), Just(Resample::Down), Just(Resample::Up)],
        film in prop_oneof![Just(None), Just(Some(Film::Add)), Just(Some(Film::Scale))],
        curve in prop_oneof![Just(None), Just(Some(Curve::Silu))],
        (size, offset) in (-4..5_i32, -3.0..3.0_f32),
        (n, mut seed) in (1..4_usize, any::<u64>()),
    ) {
        // What is joined begins with whole vectors.
        let c = groups * per_group * if parts == 2 { 16 } else { 1 };
        let first = if parts == 2 { 16 } else { c };
        let sides = if resample == Resample::Down { 2 } else { 1 };
        let (h, w) = (sides * h, sides * w);
        let scale = 10.0_f32.powi(size);
        let x: Vec<f32> = noises(&mut seed, n * c * h * w, scale).iter().map(|x| x + scale * offset).collect();
        let (gamma, beta) = (noises(&mut seed, c, 2.0), noises(&mut seed, c, 1.0));
        let wide = if film == Some(Film::Scale) { 2 * c } else { c };
        let vectors = noises(&mut seed, n * wide, if film == Some(Film::Add) { scale } else { 1.0 });

        let mut expected = Vec::new();
        for picture in 0..n {
            let row = |i: usize| f64::from(vectors[picture * wide + i]);
            let added = |channel: usize| if film == Some(Film::Add) { row(channel) } else { 0.0 };
            let value = |channel: usize, i: usize| f64::from(x[(picture * c + channel) * h * w + i]) + added(channel);
            for channel in 0..c {
                let per_group = c / groups;
                let group = channel / per_group * per_group..(channel / per_group + 1) * per_group;
                let all: Vec<f64> = group.flat_map(|c| (0..h * w).map(move |i| (c, i))).map(|(c, i)| value(c, i)).collect();
                let mean = all.iter().sum::<f64>() / all.len() as f64;
                let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
                let [s, t] = if film == Some(Film::Scale) { [row(channel), row(c + channel)] } else { [0.0; 2] };
                let plane = (0..h * w).map(|i| {
                    let y = (value(channel, i) - mean) / (variance + 1e-5).sqrt();
                    let y = (y * f64::from(gamma[channel]) + f64::from(beta[channel])) * (1.0 + s) + t;
                    if curve.is_some() { y / (1.0 + (-y).exp()) } else { y }
                });
                expected.extend(resampled(&plane.collect::<Vec<_>>(), w, resample));
            }
        }
        // What is doubled was halved before: every second pixel of a larger picture.
        let stride = if resample == Resample::Up { 2 } else { 1 };
        let (tall, broad) = (stride * h, stride * w);
        let mut picture = vec![7.0; n * c * tall * broad];
        for (i, value) in x.iter().enumerate() {
            let (plane, y, x) = (i / (h * w), i / w % h, i % w);
            picture[(plane * tall + stride * y) * broad + stride * x] = *value;
        }
        let steps = |sketch: &mut Sketch| {
            let vector: Option<Value> = film.map(|_| sketch.vector(wide));
            let mut part = |channels: std::ops::Range<usize>| {
                let filter = Filter { stride, ..pick(&channels.map(Some).collect::<Vec<_>>(), c) };
                sketch.conv(0, &filter, None, None)
            };
            let (x, behind) = (part(0..first), (first < c).then(|| part(first..c)));
            let (gamma, beta, film) = (gamma.clone(), beta.clone(), film.unwrap_or(Film::Add));
            sketch.norm(Norm { gamma, beta, groups, film, resample }, (x, behind), vector, curve);
        };
        let vectors: &[&[f32]] = if film.is_some() { &[&vectors] } else { &[] };
        check(steps, (&picture, [n, c, tall, broad]), vectors, &expected)?;
    }

    #[test]
    fn convolutions_by_large_tiles_are_those_of_the_loops(
        (c_in, c_out) in (17..40_usize, 17..40_usize),
        (h, w) in (1..14_usize, 1..14_usize),
        (n, mut seed) in (1..3_usize, any::<u64>()),
    ) {
        let (x, layer) = (noises(&mut seed, n * c_in * h * w, 1.0), filter(&mut seed, [c_out, c_in, 3], 1, false));
        let mut expected = Vec::new();
        for (picture, o) in (0..n).flat_map(|picture| (0..c_out).map(move |o| (picture, o))) {
            for i in 0..h * w {
                let product = |(channel, tap): (usize, usize)| {
                    let (y, column) = ((i / w + tap / 3).checked_sub(1)?, (i % w + tap % 3).checked_sub(1)?);
                    let at = ((picture * c_in + channel) * h + y) * w + column;
                    (y < h && column < w).then(|| f64::from(x[at]) * f64::from(layer.weight[(o * c_in + channel) * 9 + tap]))
                };
                let products = (0..c_in).flat_map(|channel| (0..9).map(move |tap| (channel, tap))).filter_map(product);
                expected.push(products.sum::<f64>() + f64::from(layer.bias.as_ref().unwrap()[o]));
            }
        }
        let steps = |sketch: &mut Sketch| {
            let x = sketch.conv(0, &pick(&(0..c_in).map(Some).collect::<Vec<_>>(), c_in), None, None);
            sketch.conv(x, &layer, None, None);
        };
        check(steps, (&x, [n, c_in, h, w]), &[], &expected)?;
    }

    #[test]
    fn attention_is_that_of_the_loops(
        (heads, d) in (1..4_usize, 1..40_usize),
        (h, w) in (1..8_usize, 1..8_usize),
        size in prop_oneof![Just(1e-3_f32), Just(1.0), Just(2.0)],
        (n, mut seed) in (1..4_usize, any::<u64>()),
    ) {
        let c = 3 * heads * d;
        let x = noises(&mut seed, n * c * h * w, size);
        let mut expected = Vec::new();
        for picture in 0..n {
            for head in 0..heads {
                let value = |part: usize, i: usize, pixel: usize| {
                    f64::from(x[(picture * c + (part * heads + head) * d + i) * h * w + pixel])
                };
                let mut answers = vec![0.0; d * h * w];
                for query in 0..h * w {
                    let score = |key: usize| (0..d).map(|i| value(0, i, query) * value(1, i, key)).sum::<f64>();
                    let scores: Vec<f64> = (0..h * w).map(score).collect();
                    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let parts: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                    let all = parts.iter().sum::<f64>();
                    for i in 0..d {
                        let sum: f64 = parts.iter().enumerate().map(|(key, part)| part * value(2, i, key)).sum();
                        answers[i * h * w + query] = sum / all;
                    }
                }
                expected.extend(answers);
            }
        }
        let steps = |sketch: &mut Sketch| {
            let attention = Attention::new(heads, d);
            let slots = (0..3 * heads * attention.width).map(|slot| {
                let (head, i) = (slot / attention.width, slot % attention.width);
                (i < d).then_some(head * d + i)
            });
            let qkv = sketch.conv(0, &pick(&slots.collect::<Vec<_>>(), c), None, None);
            let answers = sketch.attention(qkv, attention);
            let real: Vec<_> = (0..heads * d).map(|i| Some(i / d * attention.width + i % d)).collect();
            sketch.conv(answers, &pick(&real, heads * attention.width), None, None);
        };
        check(steps, (&x, [n, c, h, w]), &[], &expected)?;
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    for arch in archs() {
        for channel in 0..3 {
            let mut sketch = Sketch::new(3, [1, 2], lanes(arch)).forwards_only();
            let attention = Attention::new(1, 1);
            let slots =
                (0..3 * attention.width).map(|slot| (slot % attention.width == 0).then_some(slot / attention.width));
            let qkv = sketch.conv(0, &pick(&slots.collect::<Vec<_>>(), 3), None, None);
            let answers = sketch.attention(qkv, attention);
            let (gamma, beta) = (vec![1.0; attention.width], vec![0.0; attention.width]);
            let norm = Norm { gamma, beta, groups: attention.width, film: Film::Add, resample: Resample::None };
            sketch.norm(norm, (answers, None), None, Some(Curve::Silu));
            let plan = Plan::new(sketch, arch, &[0.0; 3], &[1.0; 3]);
            let mut picture = [1.0, -2.0, 0.5, 3.0, -1.0, 0.1];
            let finite = plan.evaluate(&picture, &[], (1, [1, 2]), false).0;
            assert!(finite.iter().all(|value| value.is_finite()), "{finite:?}");
            picture[2 * channel] = f32::NAN;
            let found = plan.evaluate(&picture, &[], (1, [1, 2]), false).0;
            assert!(found[..2].iter().all(|value| value.is_nan()), "{channel}: {found:?}");
        }
    }
}
