//! The U-Net as it is used when its weights do not change: a plan where there can be one.

use burn::tensor::Tensor;

use super::layers::Resample;
use super::{Unet, UnetConfig, time_embedding};
use crate::net::layer::values;
use crate::net::plan::{self, Curve, Film, Plan, Sketch};
use crate::net::{Roofline, StepTime, pixel_shuffle, pixel_unshuffle};

/// A network `F(x, t, y)` for inference.
#[derive(Debug)]
pub struct Frozen(Way);

#[derive(Debug)]
enum Way {
    Modules(Box<Unet>),
    Plan(Compiled),
}

#[derive(Debug)]
struct Compiled {
    plan: Plan,
    config: UnetConfig,
    /// Rows of the embedding of labels, `[K][4 * model_channels]`.
    labels: Option<Vec<f32>>,
}

impl Unet {
    /// The same function for inference, compiled where it runs on the CPU: several times as fast, and the same to the last
    /// bit whatever is computed beside it. Its weights are packed layer by layer, so that they are never held twice.
    ///
    /// It takes pictures of any size that the network can halve and is fastest for `size`, height and width.
    ///
    /// # Panics
    /// When the device fails.
    #[must_use]
    pub fn freeze(self, size: [usize; 2]) -> Frozen {
        let net = self.fold();
        let arch = plan::processor().filter(|_| plan::runs_on(&net.stem.weight.device()));
        let joins = net.output_blocks.iter().all(|block| block.first().is_some_and(super::Layer::joins));
        let Some(arch) = arch.filter(|_| joins) else { return Frozen(Way::Modules(Box::new(net))) };

        let (config, curve) = (net.config, Some(Curve::Silu));
        let (picture, base) = (config.picture(), config.arch.model_channels);
        let size = size.map(|side| side / config.arch.patch_size);
        let mut sketch = Sketch::new(picture, size, plan::lanes(arch)).forwards_only();
        let times = sketch.vector(base);
        let labels = net.label_emb.is_some().then(|| sketch.vector(4 * base));
        let [first, second] = net.time_embed;
        let emb = sketch.conv(times, &first.filter(), None, curve);
        let emb = sketch.conv(emb, &second.filter(), labels, curve);
        let mut h = sketch.conv(0, &net.stem.filter(), None, None);
        let mut skips = vec![h];
        for block in net.input_blocks {
            h = block.into_iter().fold(h, |h, layer| layer.sketch(&mut sketch, (h, None), emb));
            skips.push(h);
        }
        h = net.middle.into_iter().fold(h, |h, layer| layer.sketch(&mut sketch, (h, None), emb));
        for block in net.output_blocks {
            let mut skip = skips.pop();
            h = block.into_iter().fold(h, |h, layer| layer.sketch(&mut sketch, (h, skip.take()), emb));
        }
        let norm = net.out_norm.planned(Film::Add, Resample::None);
        h = sketch.norm(norm, (h, None), None, curve);
        sketch.conv(h, &net.out_conv.filter(), None, None);
        let plan = Plan::new(sketch, arch, &vec![0.0; picture], &vec![1.0; picture]);
        Frozen(Way::Plan(Compiled { plan, config, labels: net.label_emb.map(|table| values(table.val())) }))
    }
}

impl Frozen {
    /// Evaluates the network, as [`Unet::forward`] does.
    ///
    /// # Shapes
    /// `x`: `[N, C, H, W]`, `times` and `labels`: `N` values; returns `[N, C, H, W]`.
    ///
    /// # Panics
    /// When the numbers of samples differ or a label is out of range.
    #[must_use]
    pub fn forward(&self, x: Tensor<4>, times: &[f32], labels: Option<&[usize]>) -> Tensor<4> {
        match &self.0 {
            Way::Modules(net) => net.forward(x, times, labels),
            Way::Plan(net) => net.forward(x, times, labels),
        }
    }

    /// Whether a picture is the same to the last bit whatever is computed beside it, so that a batch may go through in one.
    #[must_use]
    pub const fn sums_the_same_for_any_batch(&self) -> bool {
        matches!(self.0, Way::Plan(_))
    }

    /// Bytes that one picture of `[H, W]` pixels needs at the peak of a call ([`Unet::activation_bytes`],
    /// [`Plan::activation_bytes`]).
    #[must_use]
    pub fn activation_bytes(&self, size: [usize; 2]) -> u64 {
        match &self.0 {
            Way::Modules(net) => net.activation_bytes(size),
            Way::Plan(Compiled { plan, config, .. }) => {
                plan.activation_bytes(size.map(|side| side / config.arch.patch_size))
            }
        }
    }

    /// What every step takes with `n` pictures of `[H, W]` pixels, where there is a plan; the median of so many `rounds`.
    #[must_use]
    pub fn profile(&self, n: usize, size: [usize; 2], rounds: usize, machine: &Roofline<'_>) -> Option<Vec<StepTime>> {
        match &self.0 {
            Way::Modules(_) => None,
            Way::Plan(Compiled { plan, config, .. }) => {
                Some(plan.profile((n, size.map(|side| side / config.arch.patch_size)), rounds, machine))
            }
        }
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        match &self.0 {
            Way::Modules(net) => net.weight_bytes(),
            Way::Plan(Compiled { plan, labels, .. }) => {
                plan.weight_bytes() + 4 * labels.as_ref().map_or(0, Vec::len) as u64
            }
        }
    }
}

impl Compiled {
    fn forward(&self, x: Tensor<4>, times: &[f32], labels: Option<&[usize]>) -> Tensor<4> {
        let UnetConfig { arch, .. } = &self.config;
        let (n, emb) = (times.len(), 4 * arch.model_channels);
        assert_eq!(x.dims()[0], n, "one time per sample");
        let times = time_embedding(times, arch.model_channels);
        let rows: Vec<f32> = match (&self.labels, labels) {
            (Some(table), Some(labels)) => {
                assert_eq!(labels.len(), n, "one label per sample");
                assert!(labels.iter().all(|label| *label < table.len() / emb), "labels below {}", table.len() / emb);
                labels.iter().flat_map(|label| &table[label * emb..(label + 1) * emb]).copied().collect()
            }
            (None, None) => Vec::new(),
            (table, _) => panic!("labels must be given exactly for class-conditional networks ({})", table.is_some()),
        };
        let map = self.plan.map(pixel_unshuffle(x, arch.patch_size), &[&times, &rows]);
        pixel_shuffle(map, arch.patch_size)
    }
}
