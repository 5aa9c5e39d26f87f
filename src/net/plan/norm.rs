//! Group norm, with the factors and summands that an embedding gives, and the change of size behind it.
//!
//! Every row of a picture has its own mean and squares per channel, which are then put together in double precision: in an
//! order that does not depend on who computes them, and without the cancellation of a mean of squares.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::finish::{Finish, finish};
use super::map::{Block, Map};

/// PyTorch's default.
const EPSILON: f64 = 1e-5;
/// Values that a thread sums up before it asks for more.
const GRAIN: usize = 1 << 15;

/// What is done to the size of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Resample {
    /// Nothing.
    None,
    /// Means of 2x2.
    Down,
    /// Every pixel four times.
    Up,
}

impl Resample {
    /// By what the picture's sides are divided behind it.
    pub(super) const fn by(self, by: usize) -> usize {
        match self {
            Self::None => by,
            Self::Down => by.saturating_mul(2),
            Self::Up => by / 2,
        }
    }
}

/// How an embedding joins a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Film {
    /// `norm(x + e)`
    Add,
    /// `norm(x) (1 + s) + t`, the embedding being `[s | t]`.
    Scale,
}

/// A group norm.
#[derive(Debug)]
pub(in crate::net) struct Norm {
    /// `[C]`
    pub(in crate::net) gamma: Vec<f32>,
    /// `[C]`
    pub(in crate::net) beta: Vec<f32>,
    /// How many groups.
    pub(in crate::net) groups: usize,
    /// What is done with an embedding, where there is one.
    pub(in crate::net) film: Film,
    /// What is done to the result, behind its activation.
    pub(in crate::net) resample: Resample,
}

/// A map of all pictures.
pub(super) type Source<'a> = (&'a [f32], Map);

impl Norm {
    /// Rows of the result that must not be cut.
    pub(super) const fn rows(&self) -> usize {
        if matches!(self.resample, Resample::Up) { 2 } else { 1 }
    }

    /// Per picture what is taken off, the factor and the summand of every channel, `[n][3][channels]`.
    ///
    /// The channels of all `sources` lie one behind the other.
    pub(super) fn coefficients(
        &self,
        arch: Arch,
        sources: &[Source<'_>],
        film: Option<Source<'_>>,
        n: usize,
    ) -> Vec<f32> {
        let channels: usize = sources.iter().map(|(_, map)| map.channels).sum();
        let Map { height, width, .. } = sources[0].1;
        let mut rows = vec![0.0; n * height * 2 * channels];
        let together = GRAIN.div_ceil(width * channels);
        rows.par_chunks_mut(together * 2 * channels).enumerate().for_each(|(i, rows)| {
            arch.dispatch(Moments { sources, first: i * together, channels, rows });
        });
        let mut coefficients = vec![0.0; n * 3 * channels];
        coefficients.par_chunks_mut(3 * channels).enumerate().for_each(|(picture, coefficients)| {
            let rows = &rows[picture * height * 2 * channels..][..height * 2 * channels];
            let film = film.map(|(film, map)| &film[picture * map.len()..][..map.len()]);
            self.of_picture((rows, width), film, coefficients);
        });
        coefficients
    }

    /// From the means and squares of a picture's rows, `[rows][2][channels]`, each of `width` pixels.
    fn of_picture(&self, (rows, width): (&[f32], usize), film: Option<&[f32]>, coefficients: &mut [f32]) {
        let (channels, real) = (coefficients.len() / 3, self.gamma.len());
        let (film, added) = match self.film {
            Film::Add => (None, film),
            Film::Scale => (film, None),
        };
        let per_group = real / self.groups;
        let height = rows.len() / (2 * channels);
        let count = (height * per_group) as f64;
        // Channel by channel first, because these are many sums at once.
        let mut sums = vec![0.0; real];
        for row in rows.chunks_exact(2 * channels) {
            for (sum, mean) in sums.iter_mut().zip(row) {
                *sum += f64::from(*mean);
            }
        }
        let mut centres: Vec<f64> =
            (0..real).map(|channel| -added.map_or(0.0, |added| f64::from(added[channel]))).collect();
        for (sums, centres) in sums.chunks_exact(per_group).zip(centres.chunks_exact_mut(per_group)) {
            let added: f64 = centres.iter().map(|centre| -centre * height as f64).sum();
            let mean = (sums.iter().sum::<f64>() + added) / count;
            for centre in centres {
                *centre += mean;
            }
        }
        let mut squares = vec![0.0; real];
        for row in rows.chunks_exact(2 * channels) {
            let (means, around) = row.split_at(channels);
            for (((square, mean), around), centre) in squares.iter_mut().zip(means).zip(around).zip(&centres) {
                let apart = f64::from(*mean) - centre;
                *square += f64::from(*around) + width as f64 * apart * apart;
            }
        }
        let (to_centres, rest) = coefficients.split_at_mut(channels);
        let (factors, summands) = rest.split_at_mut(channels);
        for (group, squares) in squares.chunks_exact(per_group).enumerate() {
            let variance = squares.iter().sum::<f64>() / (count * width as f64);
            let factor = 1.0 / (variance + EPSILON).sqrt();
            for channel in group * per_group..(group + 1) * per_group {
                let [scale, shift] = film.map_or([0.0; 2], |film| [film[channel], film[real + channel]].map(f64::from));
                to_centres[channel] = centres[channel] as f32;
                factors[channel] = (f64::from(self.gamma[channel]) * factor * (1.0 + scale)) as f32;
                summands[channel] = (f64::from(self.beta[channel]) * (1.0 + scale) + shift) as f32;
            }
        }
    }
}

/// Mean and sum of squares around it, per row and channel.
struct Moments<'a> {
    sources: &'a [Source<'a>],
    /// The first row's number among those of all pictures.
    first: usize,
    channels: usize,
    /// `[rows][2][channels]`
    rows: &'a mut [f32],
}

impl WithSimd for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (i, row) in self.rows.chunks_exact_mut(2 * self.channels).enumerate() {
            let (means, squares) = row.split_at_mut(self.channels);
            let mut at = 0;
            for (x, map) in self.sources {
                let (picture, y) = ((self.first + i) / map.height, (self.first + i) % map.height);
                let start = picture * map.len() + map.at(y as isize, 0);
                let (line, _) = S::as_simd_f32s(&x[start..start + map.width * map.channels]);
                let (means, _) = S::as_mut_simd_f32s(&mut means[at..at + map.channels]);
                let (squares, _) = S::as_mut_simd_f32s(&mut squares[at..at + map.channels]);
                let mut first = 0;
                while first + 4 <= means.len() {
                    moments::<S, 4>(simd, line, (means, squares), first);
                    first += 4;
                }
                while first < means.len() {
                    moments::<S, 1>(simd, line, (means, squares), first);
                    first += 1;
                }
                at += map.channels;
            }
        }
    }
}

/// The same of `N` vectors of channels.
#[inline(always)]
fn moments<S: Simd, const N: usize>(
    simd: S,
    line: &[S::f32s],
    (means, squares): (&mut [S::f32s], &mut [S::f32s]),
    first: usize,
) {
    let vectors = means.len();
    let share = simd.splat_f32s(1.0 / (line.len() / vectors) as f32);
    let mut sums = [simd.splat_f32s(0.0); N];
    for pixel in line.chunks_exact(vectors) {
        for (sum, value) in sums.iter_mut().zip(&pixel[first..first + N]) {
            *sum = simd.add_f32s(*sum, *value);
        }
    }
    for (mean, sum) in means[first..first + N].iter_mut().zip(sums) {
        *mean = simd.mul_f32s(sum, share);
    }
    let means = &means[first..first + N];
    let mut sums = [simd.splat_f32s(0.0); N];
    for pixel in line.chunks_exact(vectors) {
        for ((sum, value), mean) in sums.iter_mut().zip(&pixel[first..first + N]).zip(means) {
            let apart = simd.sub_f32s(*value, *mean);
            *sum = simd.mul_add_f32s(apart, apart, *sum);
        }
    }
    for (square, sum) in squares[first..first + N].iter_mut().zip(sums) {
        *square = sum;
    }
}

/// A block of the result.
pub(super) struct Job<'a, 'b> {
    pub(super) norm: &'a Norm,
    /// Of [`Norm::coefficients`].
    pub(super) coefficients: &'a [f32],
    pub(super) sources: &'a [Source<'a>],
    pub(super) block: &'a Block,
    /// The block's part, which begins at `start`.
    pub(super) y: &'a mut [f32],
    pub(super) to: Map,
    pub(super) start: usize,
    pub(super) how: &'a mut Finish<'b>,
}

impl Job<'_, '_> {
    pub(super) fn run(self, arch: Arch) {
        let lines = if self.norm.resample == Resample::None { 0 } else { 2 };
        let mut lines = vec![0.0; lines * self.sources[0].1.width * self.to.channels];
        arch.dispatch(WithLines { job: self, lines: &mut lines });
    }
}

/// With room for two rows of the sources.
struct WithLines<'a, 'b, 'c> {
    job: Job<'a, 'b>,
    lines: &'c mut [f32],
}

impl WithSimd for WithLines<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job, lines } = self;
        let (block, to, c) = (job.block, job.to, job.to.channels);
        let (first, second) = lines.split_at_mut(lines.len() / 2);
        for picture in block.pictures.start..block.pictures.end {
            let mut y = block.rows.start;
            while y < block.rows.end {
                let at = picture * to.len() + to.at(y as isize, 0) - job.start;
                let row = at..at + to.width * c;
                match job.norm.resample {
                    Resample::None => {
                        line(simd, (job.sources, job.coefficients), (picture, y), &mut job.y[row.clone()]);
                        finish(simd, job.how, S::as_mut_simd_f32s(&mut job.y[row]).0, 0);
                        y += 1;
                    }
                    Resample::Down => {
                        for (i, half) in [&mut *first, &mut *second].into_iter().enumerate() {
                            line(simd, (job.sources, job.coefficients), (picture, 2 * y + i), half);
                            finish(simd, job.how, S::as_mut_simd_f32s(half).0, 0);
                        }
                        let pairs = first.chunks_exact(2 * c).zip(second.chunks_exact(2 * c));
                        for (out, (above, below)) in job.y[row].chunks_exact_mut(c).zip(pairs) {
                            for (i, out) in out.iter_mut().enumerate() {
                                *out = ((above[i] + above[c + i]) + (below[i] + below[c + i])) * 0.25;
                            }
                        }
                        y += 1;
                    }
                    Resample::Up => {
                        line(simd, (job.sources, job.coefficients), (picture, y / 2), first);
                        finish(simd, job.how, S::as_mut_simd_f32s(first).0, 0);
                        for (pair, pixel) in job.y[row.clone()].chunks_exact_mut(2 * c).zip(first.chunks_exact(c)) {
                            pair[..c].copy_from_slice(pixel);
                            pair[c..].copy_from_slice(pixel);
                        }
                        job.y.copy_within(row, at + to.row());
                        y += 2;
                    }
                }
            }
        }
    }
}

/// A row of the sources, normalised.
#[inline(always)]
fn line<S: Simd>(
    simd: S,
    (sources, coefficients): (&[Source<'_>], &[f32]),
    (picture, y): (usize, usize),
    out: &mut [f32],
) {
    let channels = out.len() / sources[0].1.width;
    let (coefficients, _) = S::as_simd_f32s(&coefficients[picture * 3 * channels..][..3 * channels]);
    let (out, _) = S::as_mut_simd_f32s(out);
    let channels = channels / S::F32_LANES;
    let (centres, rest) = coefficients.split_at(channels);
    let (factors, summands) = rest.split_at(channels);
    let mut at = 0;
    for (source, map) in sources {
        let start = picture * map.len() + map.at(y as isize, 0);
        let (row, _) = S::as_simd_f32s(&source[start..start + map.width * map.channels]);
        let all = at..at + map.channels / S::F32_LANES;
        let (centres, factors, summands) = (&centres[all.clone()], &factors[all.clone()], &summands[all.clone()]);
        for (out, pixel) in out.chunks_exact_mut(channels).zip(row.chunks_exact(centres.len())) {
            let out = &mut out[all.clone()];
            for (i, value) in pixel.iter().enumerate() {
                out[i] = simd.mul_add_f32s(simd.sub_f32s(*value, centres[i]), factors[i], summands[i]);
            }
        }
        at = all.end;
    }
}
