//! The steps that are no convolutions: factors and summands, pools, means, and their gradients. Pixel by pixel, over all
//! channels.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for the vectors that are there")]

use pulp::{Simd, WithSimd};

use super::finish::{Finish, finish};
use super::map::{Block, Map};

/// What is computed per pixel.
#[derive(Debug)]
pub(super) enum Plain {
    /// `x scale + shift`, both per channel, padded.
    Affine { scale: Vec<f32>, shift: Vec<f32> },
    /// 3x3, stride 2, padded by 1: the largest, and which of the nine it is, the first of equals.
    MaxPool,
    /// The gradient of [`Plain::MaxPool`].
    MaxUnpool,
    /// Means of 2x2.
    AvgPool,
    /// The gradient of [`Plain::AvgPool`].
    AvgUnpool,
    /// The mean of all pixels.
    Mean,
    /// The gradient of [`Plain::Mean`].
    Spread,
    /// Every pixel four times.
    Upsample,
    /// Of windows that lie `stride` apart and begin `padding` before the map, into the channels from `first` on.
    Gather { what: Gather, stride: usize, padding: usize, first: usize },
}

/// What becomes of the pixels of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Gather {
    /// The one pixel that it has.
    Copy,
    /// The mean of 3x3, of those that lie in the map.
    Mean,
    /// The largest of these.
    Max,
}

impl Gather {
    /// Pixels of a side.
    const fn side(self) -> usize {
        if matches!(self, Self::Copy) { 1 } else { 3 }
    }
}

/// A block of one of them.
pub(super) struct Job<'a, 'b> {
    pub(super) plain: &'a Plain,
    pub(super) block: &'a Block,
    /// All pictures.
    pub(super) x: &'a [f32],
    pub(super) from: Map,
    pub(super) add: Option<(&'a [f32], Map)>,
    /// The block's part, which begins at `start`.
    pub(super) y: &'a mut [f32],
    pub(super) to: Map,
    pub(super) start: usize,
    /// Of [`Plain::MaxUnpool`], the places of all pictures.
    pub(super) places: &'a [u8],
    pub(super) how: &'a mut Finish<'b>,
}

impl WithSimd for Job<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut this = self;
        let (block, to) = (this.block, this.to);
        let mut pixel = 0;
        for picture in block.pictures.start..block.pictures.end {
            for y in block.rows.start..block.rows.end {
                for x in 0..to.width {
                    let at = picture * to.len() + to.at(y as isize, x as isize) - this.start;
                    this.pixel(picture, [y, x], at, pixel * to.channels);
                    let values = &mut this.y[at..at + to.channels];
                    if let Some((add, map)) = this.add {
                        let add = &add[picture * map.len() + map.at(y as isize, x as isize)..][..to.channels];
                        for (value, add) in values.iter_mut().zip(add) {
                            *value += add;
                        }
                    }
                    finish(simd, this.how, S::as_mut_simd_f32s(values).0, pixel * to.groups());
                    pixel += 1;
                }
            }
        }
    }
}

impl Job<'_, '_> {
    /// The values of one pixel, which lie at `at`; its places at `place`.
    #[inline(always)]
    fn pixel(&mut self, picture: usize, [y, x]: [usize; 2], at: usize, place: usize) {
        let (from, c) = (self.from, self.to.channels);
        let out = &mut self.y[at..at + c];
        let source = &self.x[picture * from.len()..(picture + 1) * from.len()];
        match self.plain {
            Plain::Affine { scale, shift } => {
                let x = &source[from.at(y as isize, x as isize)..][..c];
                for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                    *out = x * scale + shift;
                }
            }
            Plain::MaxPool => {
                out.fill(f32::NEG_INFINITY);
                for tap in 0..9 {
                    let Some(start) = tap_of(from, [2 * y + tap / 3, 2 * x + tap % 3]) else { continue };
                    let values = &source[start..start + c];
                    match self.how {
                        Finish::Places(places) => {
                            let places = &mut places[place..place + c];
                            for ((out, place), value) in out.iter_mut().zip(places).zip(values) {
                                let larger = largest(*value, *out);
                                *out = if larger { *value } else { *out };
                                *place = if larger { tap as u8 } else { *place };
                            }
                        }
                        _ => {
                            for (out, value) in out.iter_mut().zip(values) {
                                *out = if largest(*value, *out) { *value } else { *out };
                            }
                        }
                    }
                }
            }
            Plain::MaxUnpool => {
                out.fill(0.0);
                for tap in 0..9 {
                    // The window of which this pixel is that tap.
                    let (wy, wx) = (y + 1, x + 1);
                    if wy < tap / 3 || wx < tap % 3 || (wy - tap / 3) % 2 == 1 || (wx - tap % 3) % 2 == 1 {
                        continue;
                    }
                    let (wy, wx) = ((wy - tap / 3) / 2, (wx - tap % 3) / 2);
                    if wy >= from.height || wx >= from.width {
                        continue;
                    }
                    let values = &source[from.at(wy as isize, wx as isize)..][..c];
                    let places = &self.places[((picture * from.height + wy) * from.width + wx) * c..][..c];
                    for ((out, place), value) in out.iter_mut().zip(places).zip(values) {
                        *out += if *place == tap as u8 { *value } else { 0.0 };
                    }
                }
            }
            Plain::AvgPool => {
                let quad = |i: usize| &source[from.at((2 * y + i / 2) as isize, (2 * x + i % 2) as isize)..][..c];
                let (a, b, d, e) = (quad(0), quad(1), quad(2), quad(3));
                for (i, out) in out.iter_mut().enumerate() {
                    *out = ((a[i] + b[i]) + (d[i] + e[i])) * 0.25;
                }
            }
            Plain::AvgUnpool => {
                let values = &source[from.at((y / 2) as isize, (x / 2) as isize)..][..c];
                for (out, value) in out.iter_mut().zip(values) {
                    *out = value * 0.25;
                }
            }
            Plain::Mean => {
                out.fill(0.0);
                for y in 0..from.height {
                    for x in 0..from.width {
                        let values = &source[from.at(y as isize, x as isize)..][..c];
                        for (out, value) in out.iter_mut().zip(values) {
                            *out += value;
                        }
                    }
                }
                let share = 1.0 / (from.height * from.width) as f32;
                for out in out.iter_mut() {
                    *out *= share;
                }
            }
            Plain::Gather { what, stride, padding, first } => {
                let out = &mut self.y[at + first..][..from.channels];
                gather(*what, (source, from), [y * stride, x * stride], *padding, out);
            }
            Plain::Upsample => out.copy_from_slice(&source[from.at((y / 2) as isize, (x / 2) as isize)..][..c]),
            Plain::Spread => {
                let share = 1.0 / (self.to.height * self.to.width) as f32;
                for (out, value) in out.iter_mut().zip(&source[from.at(0, 0)..][..c]) {
                    *out = value * share;
                }
            }
        }
    }
}

/// What becomes of the window that begins at a pixel of the padded map.
#[inline(always)]
fn gather(what: Gather, (source, from): (&[f32], Map), [y, x]: [usize; 2], padding: usize, out: &mut [f32]) {
    out.fill(if what == Gather::Max { f32::NEG_INFINITY } else { 0.0 });
    let side = what.side();
    let mut count = 0_usize;
    for tap in 0..side * side {
        let (y, x) = (y + tap / side, x + tap % side);
        if y < padding || x < padding || y >= from.height + padding || x >= from.width + padding {
            continue;
        }
        let start = from.at((y - padding) as isize, (x - padding) as isize);
        let values = &source[start..start + out.len()];
        count += 1;
        if what == Gather::Max {
            for (out, value) in out.iter_mut().zip(values) {
                *out = if largest(*value, *out) { *value } else { *out };
            }
        } else {
            for (out, value) in out.iter_mut().zip(values) {
                *out += value;
            }
        }
    }
    if what == Gather::Mean {
        let share = 1.0 / count as f32;
        for out in out {
            *out *= share;
        }
    }
}

/// Whether a value takes the place of what is the largest so far; NaN is the largest, as in PyTorch.
#[inline(always)]
const fn largest(value: f32, before: f32) -> bool {
    (value > before || value.is_nan()) && !before.is_nan()
}

/// Where a pixel of a map lies that is padded by 1, if it is not padding.
const fn tap_of(map: Map, [y, x]: [usize; 2]) -> Option<usize> {
    if y == 0 || x == 0 || y > map.height || x > map.width {
        return None;
    }
    Some(map.at(y as isize - 1, x as isize - 1))
}
