//! How much memory a pass through a network takes, counted from its shapes and from what the CPU backend allocates.
//!
//! # Source
//! Copies inside a convolution: burn-flex 0.22.1, `ops/conv.rs` and `ops/conv_transpose.rs`. What a backward pass
//! keeps: burn-autodiff 0.22.1, where convolution, ReLU and max-pool keep their inputs, and sums, means and reshapes
//! nothing. Not counted: packing buffers of matrix products, filters that our own convolutions turn (16/9 of their size, for a
//! moment; they copy less of the maps), and the allocator's own overhead.

use burn::module::Module;

use super::layer::Conv;

/// Bytes of a value.
const VALUE_BYTES: u64 = 4;
/// Output pixels that a convolution gathers at once.
const TILE: usize = 512;
/// Values of the columns that the gradient of a convolution is gathered from, at most: 8 MiB.
const MAX_COLUMNS: usize = (8 << 20) / 4;

/// Values that are held, and the most that were in use at any time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ledger {
    held: usize,
    peak: usize,
}

impl Ledger {
    /// `values` more are held from here on.
    pub(super) fn hold(&mut self, values: usize) {
        self.held += values;
        self.work(0);
    }

    /// `values` are held no longer.
    pub(super) const fn release(&mut self, values: usize) {
        self.held -= values;
    }

    /// `values` are in use for a moment, beside those that are held.
    pub(super) fn work(&mut self, values: usize) {
        self.peak = self.peak.max(self.held + values);
    }

    /// The most that was in use at any time, in bytes.
    pub(super) const fn peak_bytes(&self) -> u64 {
        self.peak as u64 * VALUE_BYTES
    }
}

/// Bytes of a network's parameters.
pub(super) fn weight_bytes(network: &impl Module) -> u64 {
    network.num_params() as u64 * VALUE_BYTES
}

/// Values of a `[C, H, W]` map.
pub(super) const fn len([c, h, w]: [usize; 3]) -> usize {
    c * h * w
}

/// Values in use while a convolution of `input` runs, result and input included.
pub(super) fn forward(conv: &Conv, input: [usize; 3]) -> usize {
    let [c_out, c_in, kernel, _] = conv.dims();
    let output = conv.output(input);
    let maps = len(input) + len(output);
    if kernel == 1 && conv.stride() == 1 {
        return maps; // A matrix product without copies.
    }
    // The input with channels last, the weights likewise, and per tile its columns and its part of the result. A thread
    // that waits inside a tile's matrix product may begin another tile.
    let tiles = (len(output) / c_out).div_ceil(TILE).min(2 * rayon::current_num_threads());
    let tile = TILE.min(len(output) / c_out) * (c_in * kernel * kernel + c_out);
    maps + len(input) + conv.num_params() + tiles * tile
}

/// Values in use while the gradient passes a convolution of `input` backwards: both gradients and the columns.
pub(super) fn backward(conv: &Conv, input: [usize; 3]) -> usize {
    let [_, c_in, kernel, _] = conv.dims();
    let output @ [_, h, w] = conv.output(input);
    len(input) + len(output) + (c_in * kernel * kernel * h * w).min(MAX_COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_outlives_what_is_released() {
        let mut ledger = Ledger::default();
        ledger.hold(10);
        ledger.work(5);
        ledger.release(10);
        ledger.hold(3);
        assert_eq!((ledger.held, ledger.peak), (3, 15));
        assert_eq!(ledger.peak_bytes(), 60);
    }
}
