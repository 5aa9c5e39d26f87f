//! How a convolution is computed: by which method and in blocks of which size.

use super::map::{GROUP, Map, Shape};
use super::pack::{Filter, LARGE, Pass};
use super::winograd::Winograd;

/// Products that a thread computes before it asks for more: about 50 microseconds.
const BLOCK: usize = 3 << 20;
/// Pixels for which a block reads weights that a core's cache does not hold, at least.
const REUSE: usize = 64;
/// The same for weights that no cache holds.
const LARGE_REUSE: usize = 256;
/// Weights that a core's cache holds, as values.
const CACHED: usize = 1 << 17;
/// What it costs to turn a value of a tile there or back, in products.
const TURN: usize = 24;

/// By what a method is chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Whether it is for the gradient of the convolution.
    pub(super) back: bool,
    /// Sides of the tiles that may be taken.
    pub(super) tiles: &'static [usize],
    /// What a weight costs that a core's cache does not hold, in products: memory gives 2 to 3 billion weights a second, a
    /// core computes 80 billion products, and a few pictures share a reading.
    pub(super) read: usize,
}

impl Choice {
    /// On the way to a gradient no tiles of 4x4: they round ten times as much, which turns as many more ReLUs, and behind a
    /// ReLU that turned the whole gradient is another.
    pub(super) const BEFORE_A_GRADIENT: Self = Self { back: false, tiles: &[2], read: 4 };
    /// The gradient itself is linear, there they do no harm.
    pub(super) const GRADIENT: Self = Self { back: true, tiles: &[2, 4], read: 4 };
    /// Networks that make pictures are large, and a picture often goes through alone. Tiles of 4x4 have four times as many
    /// weights, of 2x2 nearly twice as many; at this price the former are for the largest maps, and the packed weights of a
    /// U-Net for 64x64 pixels are not half as large again as its file.
    pub(super) const ALONE: Self = Self { back: false, tiles: &[2, 4], read: 130 };
}

/// A convolution, its filter packed.
#[derive(Debug)]
pub(super) enum Method {
    Direct(Vec<Pass>),
    Winograd(Winograd),
}

impl Method {
    /// The cheapest for a map that `shape` and `size` describe, by its shape alone, so that a picture's values do not depend
    /// on what is computed beside it.
    pub(super) fn choose(
        filter: &Filter,
        Choice { back, tiles, read }: Choice,
        (shape, size): (Shape, [usize; 2]),
        lanes: usize,
    ) -> Self {
        let Map { height, width, .. } = shape.of(size);
        let [c_out, c_in, k] = filter.dims;
        let products = c_out.next_multiple_of(GROUP) * c_in.next_multiple_of(GROUP);
        let read = |weights: usize| if weights > 2 * CACHED { weights * read } else { 0 };
        let winograd = |m: usize| {
            let (side, tiles) = ((m + 2) * (m + 2), height.div_ceil(m) * width.div_ceil(m));
            tiles * side * (products + TURN * (c_out + c_in)) + read(side * products)
        };
        let mut best = (9 * height * width * products + read(9 * products), None);
        // A picture's channels are not padded to vectors.
        let vectors = c_in.min(c_out) >= GROUP && shape.channels.is_multiple_of(GROUP);
        if k == 3 && filter.stride == 1 && filter.before == 1 && vectors {
            for m in tiles.iter().copied() {
                if winograd(m) < best.0 {
                    best = (winograd(m), Some(m));
                }
            }
        }
        let padded = if back { c_out.next_multiple_of(GROUP) } else { shape.channels };
        match best.1 {
            Some(m) => Self::Winograd(Winograd::new(m, filter, back, padded, lanes)),
            None if back => Self::Direct(filter.backward(lanes)),
            None => Self::Direct(filter.forward(lanes, padded)),
        }
    }

    /// Values of the packed filter.
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::Direct(passes) => passes.iter().flat_map(|pass| &pass.panels).map(|panel| panel.weights.len()).sum(),
            Self::Winograd(winograd) => winograd.panels.iter().map(|panel| panel.weights.len()).sum(),
        }
    }

    /// Whether so few pixels use the weights that reading them takes longest: then every core reads a part of them for all
    /// pixels, instead of all of them for a part of the pixels.
    pub(super) fn goes_by_panels(&self, pixels: usize) -> bool {
        pixels <= LARGE_REUSE && self.weights() > LARGE
    }

    /// How many pixels make a block, and the rows that must not be cut; no result depends on it.
    pub(super) fn block(&self) -> [usize; 2] {
        let weights = self.weights();
        let (per_pixel, rows) = match self {
            Self::Direct(passes) => (weights.div_ceil(passes.len()), 1),
            Self::Winograd(Winograd { m, .. }) => (weights / (m * m), *m),
        };
        let reuse = if weights > LARGE { LARGE_REUSE } else { REUSE };
        let least = if weights > CACHED { reuse * rows * rows } else { 1 };
        [BLOCK.div_ceil(per_pixel.max(1)).max(least), rows]
    }
}
