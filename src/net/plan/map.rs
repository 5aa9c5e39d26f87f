//! Where a picture's values lie: channels last, groups of channels whole, zeros around the picture for convolutions to read.

#![expect(clippy::inline_always, reason = "they are called in the innermost loops, where nothing else is a call")]

use std::ops::Range;

/// Channels are padded with zeros to whole groups: one vector of AVX-512, two of AVX2, four of NEON.
pub(in crate::net) const GROUP: usize = 16;

/// A map's shape for pictures of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Padded.
    pub(super) channels: usize,
    /// The picture's sides are divided by this, rounding up; [`Shape::PIXEL`] leaves one pixel.
    pub(super) by: usize,
    /// Pixels that every side has less, because of what was not padded.
    pub(super) less: usize,
    /// Zeros on every side.
    pub(super) halo: usize,
}

impl Shape {
    /// Divides every side to 1.
    pub(super) const PIXEL: usize = usize::MAX;

    pub(super) const fn of(self, [height, width]: [usize; 2]) -> Map {
        let Self { channels, by, less, halo } = self;
        Map { channels, height: height.div_ceil(by) - less, width: width.div_ceil(by) - less, halo }
    }
}

/// A map of one picture, `[height + 2 halo, width + 2 halo, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) halo: usize,
}

impl Map {
    /// Values of a row, halo included.
    #[inline(always)]
    pub(super) const fn row(self) -> usize {
        (self.width + 2 * self.halo) * self.channels
    }

    /// Values of a picture, halo included.
    pub(super) const fn len(self) -> usize {
        (self.height + 2 * self.halo) * self.row()
    }

    /// Where a pixel lies; the halo is at -1 and beyond the last.
    #[inline(always)]
    pub(super) const fn at(self, y: isize, x: isize) -> usize {
        let halo = self.halo as isize;
        ((y + halo) * self.row() as isize + (x + halo) * self.channels as isize) as usize
    }

    pub(super) const fn groups(self) -> usize {
        self.channels / GROUP
    }
}

/// What is computed in one go: rows of one picture, or whole pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) pictures: Range<usize>,
    /// All of them when there are several pictures.
    pub(super) rows: Range<usize>,
}

impl Block {
    /// Blocks of about `pixels` pixels that make up `n` pictures, each of whole multiples of `rows` rows.
    pub(super) fn cut(n: usize, map: Map, pixels: usize, rows: usize) -> Vec<Self> {
        let whole = map.height * map.width;
        let mut blocks = Vec::new();
        if pixels >= whole {
            let count = n.div_ceil(pixels / whole);
            for i in 0..count {
                blocks.push(Self { pictures: i * n / count..(i + 1) * n / count, rows: 0..map.height });
            }
        } else {
            let units = map.height.div_ceil(rows);
            let count = units.div_ceil(pixels.div_ceil(map.width * rows)).max(1);
            for picture in 0..n {
                for i in 0..count {
                    let cut = |i: usize| (i * units / count * rows).min(map.height);
                    let rows = cut(i)..cut(i + 1);
                    blocks.push(Self { pictures: Range { start: picture, end: picture + 1 }, rows });
                }
            }
        }
        blocks
    }

    /// The part of a buffer of `picture` values a picture, `row` a row after `before` values, that this block fills.
    pub(super) const fn part(&self, picture: usize, row: usize, before: usize, height: usize) -> Range<usize> {
        let first = self.pictures.start * picture;
        if self.pictures.end - self.pictures.start == 1 {
            // The first and the last block take the halo above and below along.
            let start = if self.rows.start == 0 { 0 } else { before + self.rows.start * row };
            let end = if self.rows.end == height { picture } else { before + self.rows.end * row };
            first + start..first + end
        } else {
            first..self.pictures.end * picture
        }
    }
}

/// The parts of a buffer, one per block.
pub(super) fn split<T>(mut buffer: &mut [T], parts: impl Iterator<Item = Range<usize>>) -> Vec<&mut [T]> {
    let mut at = 0;
    let mut split = Vec::new();
    for part in parts {
        let (head, tail) = buffer.split_at_mut(part.end - at);
        at = part.end;
        buffer = tail;
        split.push(head);
    }
    split
}
