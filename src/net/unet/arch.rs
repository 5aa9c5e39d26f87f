//! What a U-Net is built from, as manifests say it.

use serde::{Deserialize, Serialize};

/// Constructor arguments of OpenAI's U-Net, by their original names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnetManifest {
    /// Width of the first level.
    pub model_channels: usize,
    /// Residual blocks per level.
    pub num_res_blocks: usize,
    /// Width of each level as a multiple of `model_channels`.
    pub channel_mult: Vec<usize>,
    /// Downsample factors at which attention is used.
    pub attention_downsample: Vec<usize>,
    /// Channels per attention head; 0 where [`Self::num_heads`] decides.
    #[serde(default)]
    pub num_head_channels: usize,
    /// Attention heads, used where [`Self::num_head_channels`] is 0.
    #[serde(default)]
    pub num_heads: usize,
    /// FiLM conditioning (scale and shift) instead of addition.
    #[serde(default = "yes")]
    pub use_scale_shift_norm: bool,
    /// Residual blocks halve and double the resolution; otherwise convolutions do, `input_blocks.N.0.op` (stride 2) and
    /// `output_blocks.N.K.conv` (behind a nearest upsampling).
    #[serde(default = "yes")]
    pub resblock_updown: bool,
    /// How the rows of `qkv` are ordered.
    #[serde(default)]
    pub attention_order: AttentionOrder,
    /// The network also gives a variance: `out.2` has twice the channels, of which the first half is used.
    #[serde(default)]
    pub learn_sigma: bool,
    /// Side of the blocks that are folded into channels before the network; 1 for OpenAI's own.
    #[serde(default = "one")]
    pub patch_size: usize,
}

impl UnetManifest {
    /// Attention heads of a layer with so many channels.
    #[must_use]
    pub const fn heads(&self, channels: usize) -> usize {
        match channels.checked_div(self.num_head_channels) {
            Some(heads) => heads,
            None => self.num_heads,
        }
    }

    /// Widths of the layers that hold attention: those of the levels that ask for it, and the middle's.
    pub(crate) fn attention_widths(&self) -> Vec<usize> {
        let last = self.channel_mult.len().saturating_sub(1);
        let levels = self.channel_mult.iter().enumerate();
        let attends = |level: usize| level == last || self.attention_downsample.contains(&(1 << level));
        levels.filter(|(level, _)| attends(*level)).map(|(_, mult)| mult * self.model_channels).collect()
    }
}

/// Order of the rows of an attention layer's `qkv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionOrder {
    /// `[Q | K | V]`, each `[head, d]`: consistency models, `64x64_diffusion`.
    #[default]
    New,
    /// Per head `[q, k, v]`: the other networks of guided diffusion.
    Legacy,
}

const fn yes() -> bool {
    true
}

const fn one() -> usize {
    1
}
