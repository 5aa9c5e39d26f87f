//! A residual block, with its norms behind its convolutions or before them.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::Tensor;

use super::arch::{Activation, BlockKind, Padding, ResnetManifest, Shortcut};
use crate::checkpoint::CheckpointError;
use crate::net::average_pool_2x2;
use crate::net::build::Build;
use crate::net::footprint::{self, Ledger, len};
use crate::net::layer::{Conv, ConvNorm, Norm};
use crate::net::plan::{Curve, Sketch, Value};

impl Activation {
    /// Its name among operations.
    pub(super) const fn curve(self) -> Curve {
        match self {
            Self::Relu => Curve::Relu,
            Self::Silu => Curve::Silu,
        }
    }

    /// Values that stay for the backward pass for each that is activated: its input, its result, a sigmoid.
    pub(super) const fn kept(self) -> usize {
        match self {
            Self::Relu => 2,
            Self::Silu => 3,
        }
    }
}

/// Convolutions with an activation between them, and a shortcut past them.
///
/// Norms stand behind the convolutions, and the last activation behind the sum; in a pre-activation block (`first`) the
/// order is turned: one norm and activation stand before everything, and no norm behind the last convolution.
#[derive(Module, Debug)]
pub(super) struct Block {
    first: Option<Norm>,
    /// Two (basic) or three (bottleneck).
    convs: Vec<ConvNorm>,
    /// Before the last convolution.
    dropout: Dropout,
    downsample: Option<ConvNorm>,
    /// Whether the shortcut averages 2x2 before its convolution.
    pooled: bool,
    /// Whether the shortcut's convolution sees what the first norm and activation make of the input.
    activated_shortcut: bool,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    /// A block of a stage of `width` channels; with it the number of its output channels.
    pub(super) fn build(
        build: &mut Build<'_>,
        arch: &ResnetManifest,
        name: &str,
        [c_in, width, stride]: [usize; 3],
    ) -> Result<(Self, usize), CheckpointError> {
        // Channels in and out, kernel, stride.
        let layers = match arch.block {
            BlockKind::Basic => vec![([c_in, width, 3], stride), ([width, width, 3], 1)],
            BlockKind::Bottleneck => {
                let (inner, out) = (arch.inner_width(width), arch.out_width(width));
                vec![([c_in, inner, 1], 1), ([inner, inner, 3], stride), ([inner, out, 1], 1)]
            }
        };
        let pre = arch.preactivation;
        let first = match pre {
            Some(_) => Some(Norm::Batch(build.batch_norm(&format!("{name}.bn1"), c_in)?)),
            None => None,
        };
        let (mut convs, mut c_out, count) = (Vec::new(), c_in, layers.len());
        for (i, (dims, stride)) in layers.into_iter().enumerate() {
            let mut conv = build.conv(&format!("{name}.conv{}", i + 1), dims, false)?.with_stride(stride);
            if pre.is_some_and(|pre| pre.padding == Padding::Behind) {
                conv = conv.padded_behind();
            }
            [_, c_out, _] = dims;
            let number = if pre.is_some() { i + 2 } else { i + 1 };
            let has_norm = number <= count;
            let norm = if has_norm { Some(build.batch_norm(&format!("{name}.bn{number}"), c_out)?) } else { None };
            convs.push(ConvNorm { conv, norm });
        }
        let pooled = arch.shortcut == Shortcut::Pool && stride == 2;
        let downsample = if stride == 1 && c_in == c_out {
            None
        } else {
            let at = usize::from(arch.shortcut == Shortcut::Pool);
            let conv = build.conv(&format!("{name}.downsample.{at}"), [c_in, c_out, 1], false)?;
            let norm = match pre {
                Some(_) => None,
                None => Some(build.batch_norm(&format!("{name}.downsample.{}", at + 1), c_out)?),
            };
            Some(ConvNorm { conv: conv.with_stride(if pooled { 1 } else { stride }), norm })
        };
        let block = Self {
            first,
            convs,
            dropout: DropoutConfig::new(0.0).init(),
            downsample,
            pooled,
            activated_shortcut: pre.is_some_and(|pre| pre.activated_shortcut),
            activation: pre.map_or_else(Activation::default, |pre| pre.activation),
        };
        Ok((block, c_out))
    }

    pub(super) fn with_dropout(self, prob: f64) -> Self {
        Self { dropout: DropoutConfig::new(prob).init(), ..self }
    }

    pub(super) fn fold(self) -> Self {
        let fold = |conv: ConvNorm| conv.fold();
        Self {
            first: self.first.map(Norm::fold),
            convs: self.convs.into_iter().map(fold).collect(),
            downsample: self.downsample.map(fold),
            ..self
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let curve = self.activation.curve();
        let activated = match &self.first {
            Some(norm) => norm.forward(x.clone(), curve),
            None => x.clone(),
        };
        let (last, inner) = self.convs.split_last().expect("a block has convolutions");
        let h = inner.iter().fold(activated.clone(), |h, conv| conv.forward(h, None, Some(curve)));
        let shortcut = match &self.downsample {
            None => x,
            Some(conv) => {
                let x = if self.activated_shortcut { activated } else { x };
                conv.forward(if self.pooled { average_pool_2x2(x) } else { x }, None, None)
            }
        };
        last.forward(self.dropout.forward(h), Some(shortcut), self.first.is_none().then_some(curve))
    }

    /// Writes [`Self::forward`] down for a plan; `None` when it is not folded.
    pub(super) fn sketch(&self, sketch: &mut Sketch, x: Value) -> Option<Value> {
        let act = Some(self.activation.curve());
        let activated = match &self.first {
            Some(norm) => sketch.affine(x, norm.affine()?, act),
            None => x,
        };
        let shortcut = match &self.downsample {
            None => x,
            Some(conv) => {
                let x = if self.activated_shortcut { activated } else { x };
                let x = if self.pooled { sketch.average_pool(x) } else { x };
                sketch.conv(x, &conv.filter()?, None, None)
            }
        };
        let (last, inner) = self.convs.split_last()?;
        let mut h = activated;
        for conv in inner {
            h = sketch.conv(h, &conv.filter()?, None, act);
        }
        Some(sketch.conv(h, &last.filter()?, Some(shortcut), act.filter(|_| self.first.is_none())))
    }

    /// `[C, H', W']` that `[C, H, W]` becomes.
    pub(super) fn output(&self, input: [usize; 3]) -> [usize; 3] {
        self.convs.iter().fold(input, |map, conv| conv.conv.output(map))
    }

    /// Accounts for the block; returns the result's shape.
    pub(super) fn account(&self, ledger: &mut Ledger, input: [usize; 3]) -> [usize; 3] {
        let output = self.output(input);
        // Forwards the shortcut, backwards its gradient.
        let shortcut = len(input).max(len(output));
        let (last, inner) = self.convs.split_last().expect("a block has convolutions");
        if self.first.is_some() {
            ledger.work(len(input));
            ledger.hold(self.activation.kept() * len(input));
        }
        let map = inner.iter().fold(input, |map, conv| activated(ledger, (&conv.conv, self.activation), map, shortcut));
        if self.first.is_some() {
            work(ledger, &last.conv, map, shortcut);
            // The stream of sums; the one that came in is needed no longer, unless the shortcut's convolution keeps it.
            ledger.hold(len(output));
            if self.downsample.is_none() || self.activated_shortcut {
                ledger.release(len(input));
            }
        } else {
            activated(ledger, (&last.conv, self.activation), map, shortcut);
        }
        if let Some(conv) = &self.downsample {
            let [c, h, w] = input;
            let input = if self.pooled { [c, h / 2, w / 2] } else { input };
            if self.pooled {
                ledger.hold(len(input));
            }
            ledger.work(footprint::forward(&conv.conv, input).max(footprint::backward(&conv.conv, input)));
        }
        output
    }
}

/// Accounts for a convolution and the activation behind it; `beside` values are in use meanwhile. Returns the result's
/// shape.
pub(super) fn activated(
    ledger: &mut Ledger,
    (conv, activation): (&Conv, Activation),
    input: [usize; 3],
    beside: usize,
) -> [usize; 3] {
    work(ledger, conv, input, beside);
    let output = conv.output(input);
    ledger.hold(activation.kept() * len(output));
    output
}

/// Accounts for a convolution whose input is held; `beside` values are in use meanwhile.
pub(super) fn work(ledger: &mut Ledger, conv: &Conv, input: [usize; 3], beside: usize) {
    if conv.is_padded_behind() {
        ledger.hold(len(input));
    }
    let forward = footprint::forward(conv, input) - len(input);
    ledger.work(beside + forward.max(footprint::backward(conv, input)));
}
