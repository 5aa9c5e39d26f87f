//! LPIPS, the distance of pictures in the features of VGG16 (Zhang et al. 2018): as consistency models are trained with it, or as it is
//! reported.
//!
//! # Source
//! To train: openai/consistency_models, `cm/karras_diffusion.py`: pictures narrower than 256 are resized to 224×224, then compared by
//! `LPIPS(replace_pooling=True)` of photosynthesis-team/piq, `piq/perceptual.py`: average pools instead of maxima.
//! To report: richzhang/PerceptualSimilarity, `lpips/lpips.py` 0.1 with `net="vgg"`: maxima, and pictures of their own size.

use burn::module::Module as _;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};

use super::build::{Build, Source};
use super::footprint::weight_bytes;
use super::layer::Conv;
use super::{average_pool_2x2, check, tensor};
use crate::checkpoint::CheckpointError;

/// Convolutions of every stage of VGG16.
const DEPTHS: [usize; 5] = [2, 2, 3, 3, 3];
/// What a narrow picture is resized to, and from which width on none is.
const SIDE: usize = 224;
const WIDE: usize = 256;
/// What the pools leave a pixel of.
pub const LEAST: usize = 16;
/// The floor under a squared length whose root is to have a gradient, and what is added to a length.
const FLOOR: f32 = 1e-20;
const EPS: f32 = 1e-10;
/// Of ImageNet.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// VGG16's convolutions, and a weight for every channel behind each stage.
#[derive(Debug, Clone)]
pub struct Lpips {
    stages: Vec<(Vec<Conv>, Tensor<4>)>,
    is_reported: bool,
}

/// Names of the convolutions, as torchvision has them, stage by stage.
fn names() -> Vec<Vec<String>> {
    // Behind a convolution stands an activation, behind a stage a pool.
    let mut place = 0;
    let mut stage = |depth: usize| {
        let names = (0..depth).map(|k| format!("features.{}", place + 2 * k)).collect();
        place += 2 * depth + 1;
        names
    };
    DEPTHS.iter().map(|depth| stage(*depth)).collect()
}

impl Lpips {
    /// Name of the tensor whose first extent is the width of a stage, from 0.
    #[must_use]
    pub fn widths() -> Vec<String> {
        names().iter().map(|stage| format!("{}.weight", stage[0])).collect()
    }

    /// Names of the weights behind the stages, as richzhang/PerceptualSimilarity has them.
    #[must_use]
    pub fn heads() -> Vec<String> {
        (0..DEPTHS.len()).map(|place| format!("lin{place}.model.1.weight")).collect()
    }

    /// Reads the convolutions by torchvision's names for `vgg16`, of so many channels in each stage, and the weights by the names
    /// of richzhang/PerceptualSimilarity.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    pub fn load(
        widths: &[usize],
        (vgg, linear): (&mut dyn Source, &mut dyn Source),
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let (mut stages, mut channels) = (Vec::new(), 3);
        for ((names, width), head) in names().into_iter().zip(widths).zip(Self::heads()) {
            let mut convs = Vec::new();
            for name in names {
                let mut build = Build { source: &mut *vgg, device };
                convs.push(build.conv(&name, [channels, *width, 3], true)?.no_grad());
                channels = *width;
            }
            let shape = [1, channels, 1, 1];
            let values = linear.values(&head, &shape)?;
            stages.push((convs, tensor(values.unwrap_or_else(|| vec![0.0; channels]), shape, device)));
        }
        Ok(Self { stages, is_reported: false })
    }

    /// The distance that papers report, instead of the one that is trained with.
    #[must_use]
    pub fn reported(self) -> Self {
        Self { is_reported: true, ..self }
    }

    /// Bytes of the weights.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.stages.iter().flat_map(|(convs, _)| convs).map(weight_bytes).sum()
    }

    /// Bytes that one pair of pictures of this size takes, without gradients: what every stage sees of both is kept, and the widest one is
    /// computed from another.
    #[must_use]
    pub fn activation_bytes(&self, [height, width]: [usize; 2]) -> u64 {
        let pixels = if self.is_reported || width >= WIDE { height * width } else { SIDE * SIDE };
        let widths = self.stages.iter().map(|(_, weight)| weight.dims()[1]);
        let values: Vec<usize> = widths.enumerate().map(|(stage, width)| width * (pixels >> (2 * stage))).collect();
        let widest = values.iter().max().copied().unwrap_or(0);
        4 * 2 * (values.iter().sum::<usize>() + 2 * widest) as u64
    }

    /// The distance of every sample; gradients reach both.
    ///
    /// # Shapes
    /// Both `[N, C, H, W]` in `[-1, 1]` with one or three channels, of at least [`LEAST`] pixels a side where it is reported; returns `[N]`.
    #[must_use]
    pub fn distance(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        let n = a.dims()[0];
        let (a, b) = (self.features(a), self.features(b));
        let parts = a.into_iter().zip(b).zip(&self.stages).map(|((a, b), (_, weight))| {
            let square = (a - b).powi_scalar(2) * weight.clone();
            square.sum_dim(1).mean_dim(2).mean_dim(3).reshape([n])
        });
        parts.reduce(|all, part| all + part).unwrap_or_else(|| Tensor::zeros([n], &Device::flex()))
    }

    /// What every stage sees, each pixel of length 1.
    fn features(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let device = x.device();
        let [n, channels, h, w] = x.dims();
        let x = if channels == 1 { x.expand([n, 3, h, w]) } else { x };
        let mut x = if w < WIDE && !self.is_reported { resized(x, [SIDE; 2]) } else { x };
        let of = |values: [f32; 3]| tensor(values.to_vec(), [1, 3, 1, 1], &device);
        x = ((x + 1.0) * 0.5 - of(MEAN)) / of(STD);
        let mut found = Vec::new();
        for (place, (convs, _)) in self.stages.iter().enumerate() {
            if place > 0 {
                x = if self.is_reported { max_pool_2x2(x) } else { average_pool_2x2(x) };
            }
            for conv in convs {
                x = relu(conv.forward(x));
            }
            let length = x.clone().powi_scalar(2).sum_dim(1).clamp_min(FLOOR).sqrt() + EPS;
            found.push(x.clone() / length);
        }
        found
    }
}

/// The largest value of 2x2 blocks; what is left over at the end of an odd side is left out.
fn max_pool_2x2(x: Tensor<4>) -> Tensor<4> {
    check::call(
        &2_usize,
        x,
        |side| format!("max-pool {side}x{side}"),
        |side, x| max_pool2d(x, MaxPoolOptions::new([*side; 2]).with_stride([2; 2])),
    )
}

/// PyTorch's bilinear `interpolate`, corners not aligned. It is linear, so it is two products, which have gradients everywhere.
fn resized(x: Tensor<4>, [to_h, to_w]: [usize; 2]) -> Tensor<4> {
    let (device, [n, c, h, w]) = (x.device(), x.dims());
    let x = x.reshape([n * c * h, w]).matmul(bilinear(w, to_w, &device));
    let x = x.reshape([n * c, h, to_w]).swap_dims(1, 2).reshape([n * c * to_w, h]).matmul(bilinear(h, to_h, &device));
    x.reshape([n * c, to_w, to_h]).swap_dims(1, 2).reshape([n, c, to_h, to_w])
}

/// `[from, to]`: column by column, what the pixels of a line come to.
fn bilinear(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0; from * to];
    for column in 0..to {
        let place = ((column as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
        let before = (place as usize).min(from - 1);
        let behind = (before + 1).min(from - 1);
        let share = place - before as f32;
        values[before * to + column] += 1.0 - share;
        values[behind * to + column] += share;
    }
    tensor(values, [from, to], device)
}
