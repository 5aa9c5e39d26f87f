//! Inception of 2015, whose features sets of pictures have been compared by since then.
//!
//! # Source
//! Szegedy et al. 2016 ("Rethinking the Inception architecture"), as the graph of 2015-12-05 has it: 1008 outputs, norms with
//! epsilon 1e-3, means that do not count their padding, maxima in the last block. Names of torchvision's
//! `models/inception.py`, which pytorch-fid's and torch-fidelity's file has, too.
//!
//! It differs from torchvision's own in weights, in the outputs and in the pools of the blocks, so that one's features are no
//! features of the other.

mod arch;
mod layer;
mod sketch;

use burn::module::Module;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};

use self::arch::{CHANNELS, Pool, STEM};
use self::layer::{Layer, Matrix, Origin};
use super::build::{Shapes, Source};
use super::check;
use super::footprint;
use super::plan::{self, Plan};
use crate::checkpoint::CheckpointError;

/// Height and width of the pictures that it sees.
pub const SIDE: usize = arch::SIDE;
/// Features of a picture.
pub const FEATURES: usize = 2048;
/// Outputs, of which a thousand are classes of ImageNet, in an order of their own.
pub const OUTPUTS: usize = 1008;
/// The block whose first branch is seen place by place, and so many of its channels: on a map of 17×17, 2,023 values.
const SPATIAL: (&str, usize) = ("Mixed_6d", 7);

/// What is seen in a batch of pictures.
#[derive(Debug)]
pub struct Seen {
    /// The means of the last maps, `[N, 2048]`.
    pub features: Tensor<2>,
    /// Outputs without their bias, `[N, 1008]`.
    pub logits: Tensor<2>,
    /// The first seven channels of a map in the middle, the channels of a pixel beside each other: `[N, 17 * 17 * 7]`.
    pub spatial: Tensor<2>,
}

/// The network for inference, its batch norms folded.
#[derive(Module, Debug)]
pub struct Inception {
    stem: Vec<Layer>,
    blocks: Vec<Block>,
    fc: Matrix,
}

/// Branches that see the same map, and whose results are joined.
#[derive(Module, Debug)]
struct Block {
    branches: Vec<Branch>,
    /// Whether the first branch is what is seen place by place.
    is_spatial: bool,
}

/// As [`arch::Branch`] says.
#[derive(Module, Debug)]
struct Branch {
    #[module(skip)]
    pool: Pool,
    layers: Vec<Layer>,
    fork: Vec<Layer>,
}

impl Inception {
    /// Names and shapes of the network's tensors, in the order of construction; norms have factors where it is `scaled`.
    #[must_use]
    pub fn tensors(scaled: bool) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Shapes::default();
        let _built = Self::load(scaled, &mut shapes, &Device::flex());
        shapes.0
    }

    /// Reads the weights, by the names of pytorch-fid's file; norms have factors where it is `scaled`.
    ///
    /// # Errors
    /// [`CheckpointError`] when a tensor is missing or of another shape.
    pub fn load(scaled: bool, source: &mut dyn Source, device: &Device) -> Result<Self, CheckpointError> {
        let mut from = Origin { source, device, scaled };
        let (mut stem, mut channels) = (Vec::new(), CHANNELS);
        for (filter, _) in STEM {
            stem.push(Layer::load(&mut from, filter.name, channels, filter)?);
            channels = filter.width;
        }
        let mut blocks = Vec::new();
        for (name, branches) in arch::blocks() {
            let (block, width) = Block::load(&mut from, name, channels, &branches)?;
            blocks.push(block);
            channels = width;
        }
        let fc = Matrix::load(&mut from, "fc.weight", [OUTPUTS, channels])?;
        // The score of a set is taken without it, so it is only not left over.
        from.source.values("fc.bias", &[OUTPUTS])?;
        Ok(Self { stem, blocks, fc })
    }

    /// What is seen in a batch.
    ///
    /// # Shapes
    /// `x`: `[N, 3, 299, 299]`, where 0 is the middle of all levels and about 1 the highest.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Seen {
        let mut x = x;
        for (layer, (_, halves)) in self.stem.iter().zip(STEM) {
            x = layer.forward(x);
            if halves {
                x = Pool::Halve.forward(x);
            }
        }
        let mut spatial = None;
        for block in &self.blocks {
            let maps = block.forward(&x);
            if block.is_spatial {
                spatial = maps.first().map(|map| beside(map.clone().narrow(1, 0, SPATIAL.1)));
            }
            x = Tensor::cat(maps, 1);
        }
        let [n, c, h, w] = x.dims();
        let x = x.reshape([n, c, h * w]);
        let means = check::call(&c, x, |c| format!("mean of {c} channels"), |_, x| x.mean_dim(2));
        let features = means.reshape([n, c]);
        let logits = self.fc.forward(features.clone());
        let spatial = spatial.unwrap_or_else(|| Tensor::zeros([n, 0], &logits.device()));
        Seen { features, logits, spatial }
    }

    /// The same function compiled for this processor; `None` where it is not on the CPU, or when there is nothing to compile it
    /// for.
    ///
    /// # Panics
    /// When the device fails.
    #[must_use]
    pub fn compiled(&self) -> Option<Compiled> {
        let arch = plan::processor().filter(|_| plan::runs_on(&self.fc.device()))?;
        let mut layers = self.layers();
        // They are asked for in the order in which they were read.
        let mut window = |name: &str| layers.next().unwrap_or_else(|| panic!("there is no {name}")).window();
        let sketch = sketch::sketch(plan::lanes(arch), SPATIAL.0, &mut window, &self.fc.filter());
        Some(Compiled(Plan::new(sketch, arch, &[0.0; CHANNELS], &[1.0; CHANNELS])))
    }

    /// In the order of construction.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        let branches = self.blocks.iter().flat_map(|block| &block.branches);
        self.stem.iter().chain(branches.flat_map(|branch| branch.layers.iter().chain(&branch.fork)))
    }

    /// Bytes that one picture needs at the peak of a forward pass: the largest map and the one before it, and a copy of each.
    #[must_use]
    pub fn activation_bytes(&self) -> u64 {
        let (mut size, mut channels, mut most) = ([SIDE; 2], CHANNELS, 0);
        for (filter, halves) in STEM {
            let (before, after) = (channels * size[0] * size[1], filter.output(size));
            most = most.max(before + filter.width * after[0] * after[1]);
            (size, channels) = (after, filter.width);
            if halves {
                size = size.map(|side| (side - 3) / 2 + 1);
            }
        }
        2 * 4 * most as u64
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        footprint::weight_bytes(self)
    }
}

/// The network compiled: several times as fast, and it sums the same way for any batch.
#[derive(Debug)]
pub struct Compiled(Plan);

impl Compiled {
    /// As [`Inception::forward`].
    ///
    /// # Panics
    /// On another device than the CPU.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>) -> Seen {
        let [features, logits, spatial] = self.0.seen(x, SPATIAL.1);
        Seen { features, logits, spatial }
    }

    /// Bytes that one picture needs at the peak.
    #[must_use]
    pub fn activation_bytes(&self) -> u64 {
        self.0.activation_bytes([SIDE; 2])
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.0.weight_bytes()
    }
}

/// A map with the channels of a pixel beside each other, as TensorFlow has them: `[N, C, H, W]` to `[N, H * W * C]`.
fn beside(map: Tensor<4>) -> Tensor<2> {
    let [n, c, h, w] = map.dims();
    map.permute([0, 2, 3, 1]).reshape([n, h * w * c])
}

impl Block {
    /// Likewise, and how many channels it puts out.
    fn load(
        from: &mut Origin<'_>,
        name: &str,
        channels: usize,
        branches: &[arch::Branch],
    ) -> Result<(Self, usize), CheckpointError> {
        let (mut loaded, mut width) = (Vec::new(), 0);
        for branch in branches {
            let (branch, more) = Branch::load(from, name, channels, branch)?;
            loaded.push(branch);
            width += more;
        }
        Ok((Self { branches: loaded, is_spatial: name == SPATIAL.0 }, width))
    }

    /// What every branch makes of a map, in the order in which they are joined.
    fn forward(&self, x: &Tensor<4>) -> Vec<Tensor<4>> {
        self.branches.iter().flat_map(|branch| branch.forward(x.clone())).collect()
    }
}

impl Branch {
    fn load(
        from: &mut Origin<'_>,
        block: &str,
        channels: usize,
        branch: &arch::Branch,
    ) -> Result<(Self, usize), CheckpointError> {
        let name = |filter: &arch::Filter| format!("{block}.{}", filter.name);
        let (mut layers, mut width) = (Vec::new(), channels);
        for filter in &branch.layers {
            layers.push(Layer::load(from, &name(filter), width, *filter)?);
            width = filter.width;
        }
        let (mut fork, mut joined) = (Vec::new(), 0);
        for filter in &branch.fork {
            fork.push(Layer::load(from, &name(filter), width, *filter)?);
            joined += filter.width;
        }
        let width = if fork.is_empty() { width } else { joined };
        Ok((Self { pool: branch.pool, layers, fork }, width))
    }

    fn forward(&self, x: Tensor<4>) -> Vec<Tensor<4>> {
        let x = self.layers.iter().fold(self.pool.forward(x), |x, layer| layer.forward(x));
        if self.fork.is_empty() { vec![x] } else { self.fork.iter().map(|layer| layer.forward(x.clone())).collect() }
    }
}

impl Pool {
    fn forward(self, x: Tensor<4>) -> Tensor<4> {
        let side = 3_usize;
        match self {
            Self::None => x,
            Self::Mean => check::call(
                &side,
                x,
                |side| format!("average {side}x{side}"),
                |side, x| {
                    let options = AvgPoolOptions::new([*side; 2]).with_stride([1; 2]).with_padding([1; 2]);
                    avg_pool2d(x, options.with_count_include_pad(false))
                },
            ),
            Self::Max => check::call(
                &side,
                x,
                |side| format!("max-pool {side}x{side} by 1"),
                |side, x| max_pool2d(x, MaxPoolOptions::new([*side; 2]).with_stride([1; 2]).with_padding([1; 2])),
            ),
            Self::Halve => check::call(
                &side,
                x,
                |side| format!("max-pool {side}x{side} by 2"),
                |side, x| max_pool2d(x, MaxPoolOptions::new([*side; 2]).with_stride([2; 2])),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_tensors_of_the_file_of_2015() {
        let tensors = Inception::tensors(true);
        // 94 convolutions with five tensors each, and the last layer's two.
        assert_eq!(tensors.len(), 94 * 5 + 2);
        let values: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(values, 23_885_392);
        let shape = |name: &str| tensors.iter().find(|(found, _)| found == name).map(|(_, shape)| shape.clone());
        assert_eq!(shape("Mixed_6c.branch7x7dbl_4.conv.weight"), Some(vec![160, 160, 7, 1]));
        assert_eq!(shape("Mixed_7c.branch3x3_2a.conv.weight"), Some(vec![384, 384, 1, 3]));
        assert_eq!(shape("Mixed_7b.branch_pool.bn.running_var"), Some(vec![192]));
        assert_eq!(shape("Mixed_7a.branch3x3_1.conv.weight"), Some(vec![192, 768, 1, 1]));
        assert_eq!(shape("fc.weight"), Some(vec![OUTPUTS, FEATURES]));
        assert_eq!(Inception::tensors(false).len(), 94 * 4 + 2, "norms without factors");
    }

    #[test]
    fn means_do_not_count_what_lies_outside() {
        let map = Tensor::<4>::from_data([[[[4.0_f32, 8.0], [0.0, 4.0]]]], &Device::flex());
        let mean = Pool::Mean.forward(map.clone()).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(mean, [4.0; 4], "of four pixels each, and not of nine");
        let most = Pool::Max.forward(map - 9.0).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(most, [-1.0; 4], "what lies outside is smaller than all");
    }

    #[test]
    fn channels_of_a_pixel_are_put_beside_each_other() {
        let map = Tensor::<4>::from_data([[[[0.0_f32, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]], &Device::flex());
        let row = beside(map).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(row, [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    }
}
