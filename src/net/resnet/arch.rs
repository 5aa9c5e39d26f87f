//! What a residual network is built from, as manifests say it.

use serde::{Deserialize, Serialize};

/// How a stage that changes size shortens its shortcut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Strided 1x1 convolution, batch norm (torchvision): `downsample.0`, `downsample.1`.
    Conv,
    /// Average pool, 1x1 convolution, batch norm: `downsample.1`, `downsample.2`.
    Pool,
}

/// What a residual block consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// Two 3x3 convolutions.
    #[default]
    Basic,
    /// 1x1, 3x3 and 1x1 convolutions; the last puts out four times the planes.
    Bottleneck,
}

/// A residual network's constructor arguments, with torchvision's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetManifest {
    /// What every block consists of.
    #[serde(default)]
    pub block: BlockKind,
    /// Blocks per stage.
    pub blocks: Vec<usize>,
    /// Planes per stage; a stage of bottlenecks puts out four times as many channels.
    pub widths: Vec<usize>,
    /// Channels inside a bottleneck, per 64 planes: 64, or 128 for the Wide-ResNets 50-2 and 101-2.
    #[serde(default = "base_width")]
    pub width_per_group: usize,
    /// Shortcut of stages that change size.
    pub shortcut: Shortcut,
    /// Side of the first convolution's kernel (3, stride 1, for small pictures).
    pub stem_kernel: usize,
    /// Stride of the first convolution.
    pub stem_stride: usize,
    /// A 3x3 max pool of stride 2 behind the first convolution, as in networks for ImageNet.
    #[serde(default)]
    pub stem_pool: bool,
    /// What is different where norm and activation stand before the convolutions; nothing for torchvision's networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preactivation: Option<Preactivation>,
}

/// What is different in a network whose norms and activations stand before the convolutions of a block (He et al. 2016,
/// "Identity mappings"): no norm stands behind the first convolution and none in the shortcuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preactivation {
    /// Channels that the first convolution puts out: 16 in Wide-ResNets.
    pub stem_width: usize,
    /// Whether norm and activation stand before the last layer, too.
    #[serde(default = "yes")]
    pub final_norm: bool,
    /// Whether a shortcut's convolution sees the block's input behind its first norm and activation.
    #[serde(default = "yes")]
    pub activated_shortcut: bool,
    /// The activation.
    #[serde(default)]
    pub activation: Activation,
    /// Where convolutions of stride 2 pad.
    #[serde(default)]
    pub padding: Padding,
}

/// What stands between linear maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `x sigmoid(x)`, also called Swish: the networks of Gowal, Rebuffi and others at DeepMind.
    Silu,
}

/// Where convolutions of stride 2 pad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// On all sides, PyTorch's.
    #[default]
    Around,
    /// At the right and the bottom only: TensorFlow's `SAME`, as the networks of DeepMind have it.
    Behind,
}

const fn yes() -> bool {
    true
}

const fn base_width() -> usize {
    64
}

impl ResnetManifest {
    /// Channels between the convolutions of a block with so many planes.
    #[must_use]
    pub const fn inner_width(&self, planes: usize) -> usize {
        match self.block {
            BlockKind::Basic => planes,
            BlockKind::Bottleneck => planes * self.width_per_group / base_width(),
        }
    }

    /// Channels that the first convolution puts out.
    #[must_use]
    pub fn stem_width(&self) -> usize {
        self.preactivation.map_or(self.widths[0], |pre| pre.stem_width)
    }

    /// Channels that a stage with so many planes puts out.
    #[must_use]
    pub const fn out_width(&self, planes: usize) -> usize {
        match self.block {
            BlockKind::Basic => planes,
            BlockKind::Bottleneck => 4 * planes,
        }
    }

    /// Says whether pictures of `[H, W]` pixels can pass. Convolutions take any size, as PyTorch's; shortcuts that average
    /// 2x2 blocks, and convolutions that pad behind only, need even sides where they halve.
    ///
    /// # Errors
    /// [`OddSize`]
    pub fn check_size(&self, size: [usize; 2]) -> Result<(), OddSize> {
        let behind = self.preactivation.is_some_and(|pre| pre.padding == Padding::Behind);
        if !behind && self.shortcut != Shortcut::Pool {
            return Ok(());
        }
        let shrinks = self.stem_stride * if self.stem_pool { 2 } else { 1 };
        // Rounded up at every step, as a half of an odd kernel pads: dividing once comes to the same.
        let mut at = size.map(|side| side.div_ceil(shrinks));
        let multiple = shrinks << self.blocks.len().saturating_sub(1);
        for stage in 2..=self.blocks.len() {
            if at.iter().any(|side| !side.is_multiple_of(2)) {
                return Err(OddSize { size, at, stage, multiple });
            }
            at = at.map(|side| side / 2);
        }
        Ok(())
    }
}

/// A size that the network cannot halve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "pictures of {}×{} reach stage {stage} of the classifier with {}×{} pixels, which it cannot halve: give pictures whose sides are multiples of {multiple}",
    size[0], size[1], at[0], at[1]
)]
pub struct OddSize {
    /// `[H, W]` of the pictures.
    pub size: [usize; 2],
    /// `[H, W]` that should be halved.
    pub at: [usize; 2],
    /// The stage that should do it; the first is 1.
    pub stage: usize,
    /// What both sides must be multiples of.
    pub multiple: usize,
}
