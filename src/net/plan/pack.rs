//! Filters in the order in which they are read: panel by panel of output channels, row by row of the kernel.

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::map::GROUP;

/// Weights that no cache holds, as values.
pub(super) const LARGE: usize = 1 << 20;

/// Input channels that are turned together.
const TOGETHER: usize = 16;

/// A convolution over some of the outputs: those that lie `out_step` apart see the same taps.
///
/// Forwards there is one pass. The gradient of a stride of s comes in s² passes, one for the outputs of either parity.
#[derive(Debug)]
pub(super) struct Pass {
    /// Rows and columns of the kernel.
    pub(super) taps: [usize; 2],
    /// Pixels of the input from one output to the next.
    pub(super) step: usize,
    /// The first tap of the first output.
    pub(super) origin: [isize; 2],
    pub(super) out_step: usize,
    /// The first output.
    pub(super) out_from: [usize; 2],
    pub(super) panels: Vec<Panel>,
}

/// The weights of a few groups of output channels.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) first_group: usize,
    pub(super) groups: usize,
    /// `[taps y][taps x][channels in][groups][GROUP]`
    pub(super) weights: Vec<f32>,
}

/// A convolution's weights as checkpoints have them.
#[derive(Debug, Clone)]
pub(in crate::net) struct Filter {
    /// `[C_out, C_in, k, k]`
    pub(in crate::net) weight: Vec<f32>,
    /// `[C_out]`
    pub(in crate::net) bias: Option<Vec<f32>>,
    /// Channels out and in, side of the kernel.
    pub(in crate::net) dims: [usize; 3],
    pub(in crate::net) stride: usize,
    /// Padding before the first pixel. Behind the last one there is as much as the last output needs.
    pub(in crate::net) before: usize,
}

/// Channels of a picture in memory: they are only read, one by one, four in a row.
pub(super) const fn picture_channels(channels: usize) -> usize {
    channels.next_multiple_of(4)
}

/// How many groups a panel has at most, in the order that fills `groups`; a processor of 16 lanes has registers for
/// up to four, others for one.
pub(super) fn widths(groups: usize, lanes: usize) -> Vec<usize> {
    if lanes < GROUP {
        return vec![1; groups];
    }
    let best = if groups.is_multiple_of(3) { 3 } else { 4 };
    let mut widths = Vec::new();
    let mut left = groups;
    while left > 4 {
        let width = if left.is_multiple_of(best) { best } else { 3 };
        widths.push(width);
        left -= width;
    }
    widths.push(left);
    widths
}

/// Panels for so many output channels, on all cores; `weights(first group, groups)`.
pub(super) fn pack(outputs: usize, lanes: usize, weights: impl Fn(usize, usize) -> Vec<f32> + Sync) -> Vec<Panel> {
    let mut first = 0;
    let panels = widths(outputs.div_ceil(GROUP), lanes).into_iter().map(|groups| {
        first += groups;
        (first - groups, groups)
    });
    let panels: Vec<(usize, usize)> = panels.collect();
    let panel = |(first_group, groups)| Panel { first_group, groups, weights: weights(first_group, groups) };
    panels.into_par_iter().map(panel).collect()
}

impl Filter {
    /// The same with these of its output channels, 0 where there is none.
    pub(in crate::net) fn outputs(&self, channels: &[Option<usize>]) -> Self {
        let fan = self.weight.len() / self.dims[0];
        let pick = |values: &[f32], each: usize| -> Vec<f32> {
            let of = |channel: &Option<usize>| channel.map(|channel| &values[channel * each..(channel + 1) * each]);
            channels.iter().flat_map(|channel| of(channel).map_or_else(|| vec![0.0; each], <[f32]>::to_vec)).collect()
        };
        let (weight, bias) = (pick(&self.weight, fan), self.bias.as_ref().map(|bias| pick(bias, 1)));
        Self { weight, bias, dims: [channels.len(), self.dims[1], self.dims[2]], ..*self }
    }

    /// The same for an input that has these of its input channels, the rest of it being ignored.
    pub(in crate::net) fn inputs(&self, channels: &[Option<usize>]) -> Self {
        let [c_out, c_in, k] = self.dims;
        let mut weight = Vec::with_capacity(c_out * channels.len() * k * k);
        for outputs in self.weight.chunks(c_in * k * k) {
            for channel in channels {
                match channel {
                    Some(channel) => weight.extend_from_slice(&outputs[channel * k * k..(channel + 1) * k * k]),
                    None => weight.resize(weight.len() + k * k, 0.0),
                }
            }
        }
        Self { weight, bias: self.bias.clone(), dims: [c_out, channels.len(), k], ..*self }
    }

    /// Calls `each(input, taps)` for every input channel; `taps` are `[k²][width]`, of every tap the outputs from `first` on
    /// side by side, zero behind the last. `transposed` swaps outputs and inputs.
    ///
    /// A few inputs are turned together: what is read of an output channel then lies side by side, too.
    pub(super) fn each_input(
        &self,
        transposed: bool,
        (first, width): (usize, usize),
        mut each: impl FnMut(usize, &[f32]),
    ) {
        let [c_out, c_in, k] = self.dims;
        let fan = k * k;
        let (outputs, inputs) = if transposed { (c_in, c_out) } else { (c_out, c_in) };
        let (by_output, by_input) = if transposed { (fan, c_in * fan) } else { (c_in * fan, fan) };
        let mut block = vec![0.0; TOGETHER * fan * width];
        for from in (0..inputs).step_by(TOGETHER) {
            let together = from..inputs.min(from + TOGETHER);
            for (lane, output) in (first..outputs).take(width).enumerate() {
                for (input, rows) in together.clone().zip(block.chunks_exact_mut(fan * width)) {
                    let taps = &self.weight[output * by_output + input * by_input..][..fan];
                    for (row, tap) in rows.chunks_exact_mut(width).zip(taps) {
                        row[lane] = *tap;
                    }
                }
            }
            together.zip(block.chunks_exact(fan * width)).for_each(|(input, taps)| each(input, taps));
        }
    }

    /// Panels, each a sum over the taps `ys` by `xs` and all inputs, of which there are `padded` in memory.
    fn panels(&self, transposed: bool, padded: usize, [ys, xs]: [&[usize]; 2], lanes: usize) -> Vec<Panel> {
        let [c_out, c_in, k] = self.dims;
        let taps: Vec<usize> = ys.iter().flat_map(|y| xs.iter().map(move |x| y * k + x)).collect();
        pack(if transposed { c_in } else { c_out }, lanes, |first_group, groups| {
            let width = groups * GROUP;
            let mut weights = vec![0.0; taps.len() * padded * width];
            self.each_input(transposed, (first_group * GROUP, width), |input, values| {
                for (place, tap) in taps.iter().enumerate() {
                    let row = &mut weights[(place * padded + input) * width..][..width];
                    row.copy_from_slice(&values[tap * width..][..width]);
                }
            });
            weights
        })
    }

    /// For an input of `padded` channels in memory.
    pub(super) fn forward(&self, lanes: usize, padded: usize) -> Vec<Pass> {
        let k = self.dims[2];
        let taps: Vec<usize> = (0..k).collect();
        let panels = self.panels(false, padded, [&taps, &taps], lanes);
        let origin = -(self.before as isize);
        let (step, out_step, out_from) = (self.stride, 1, [0; 2]);
        vec![Pass { taps: [k; 2], step, origin: [origin; 2], out_step, out_from, panels }]
    }

    /// Likewise, of the `[h, w]` taps in the middle only, padded by so many rows and columns.
    pub(super) fn band(&self, lanes: usize, padded: usize, taps: [usize; 2], [rows, columns]: [usize; 2]) -> Vec<Pass> {
        let k = self.dims[2];
        let [ys, xs] = taps.map(|side| ((k - side) / 2..(k - side) / 2 + side).collect::<Vec<usize>>());
        let panels = self.panels(false, padded, [&ys, &xs], lanes);
        let origin = [-(rows as isize), -(columns as isize)];
        vec![Pass { taps, step: self.stride, origin, out_step: 1, out_from: [0; 2], panels }]
    }

    /// The transposed map, from the output's gradient to the input's.
    pub(super) fn backward(&self, lanes: usize) -> Vec<Pass> {
        let [c_out, _, k] = self.dims;
        let (s, padded) = (self.stride, c_out.next_multiple_of(GROUP));
        // Input t s + p takes from the outputs (t s + p + before - tap) / s for the taps for which that is whole, the last
        // tap from the first output.
        let taps = |p: usize| -> (Vec<usize>, isize) {
            let taps: Vec<usize> =
                (0..k).rev().filter(|tap| (p + self.before + s * k - tap).is_multiple_of(s)).collect();
            let origin = taps.first().map_or(0, |tap| (p as isize + self.before as isize - *tap as isize) / s as isize);
            (taps, origin)
        };
        let mut passes = Vec::new();
        for py in 0..s {
            for px in 0..s {
                let ((ys, y), (xs, x)) = (taps(py), taps(px));
                let panels = self.panels(true, padded, [&ys, &xs], lanes);
                let taps = [ys.len(), xs.len()];
                passes.push(Pass { taps, step: 1, origin: [y, x], out_step: s, out_from: [py, px], panels });
            }
        }
        passes
    }
}
