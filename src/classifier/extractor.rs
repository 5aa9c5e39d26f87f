//! Inception-2015 as an extractor: pictures in `[0, 1]` of any size to what sets of them are compared by.

use burn::tensor::{Device, Tensor};

use crate::checkpoint::{CheckpointError, LoadReport, Weights};
use crate::image::ImageBatch;
use crate::image::resize::resized;
use crate::net::Shapes;
use crate::net::inception::{Compiled, Inception, SIDE};
use crate::zoo::{InceptionDialect, Manifest};

/// The network and the way that pictures take to it unless another is asked for.
#[derive(Debug)]
pub struct Extractor {
    /// Where it is compiled, the shapes only.
    net: Inception,
    /// On the CPU.
    compiled: Option<Compiled>,
    dialect: InceptionDialect,
}

impl Extractor {
    /// Reads the weights as their manifest describes them, batch norms folded.
    ///
    /// # Errors
    /// [`CheckpointError`] when the manifest is of another network, the weights do not fit it, or their watch cancels.
    pub fn read(
        manifest: &Manifest,
        mut weights: Weights<'_>,
        device: &Device,
    ) -> Result<(Self, LoadReport), CheckpointError> {
        let Some(spec) = manifest.inception() else {
            return Err(CheckpointError::Role {
                name: manifest.name.clone(),
                expected: "extractor",
                found: manifest.role(),
            });
        };
        let mut net = Inception::load(spec.scaled, &mut weights, device)?;
        let compiled = net.compiled();
        if compiled.is_some() {
            net = Inception::load(spec.scaled, &mut Shapes::default(), device)?;
        }
        Ok((Self { net, compiled, dialect: spec.dialect }, weights.report()))
    }

    /// The dialect of its file.
    #[must_use]
    pub const fn dialect(&self) -> InceptionDialect {
        self.dialect
    }

    /// `[C, H, W]` of what it sees.
    #[must_use]
    pub const fn sample_shape() -> [usize; 3] {
        [3, SIDE, SIDE]
    }

    /// Pictures as the dialect makes them for the network: `[N, 3, 299, 299]` in `[0, 1]`. What is grey is so in all three
    /// colours.
    ///
    /// # Panics
    /// When they have neither one channel nor three.
    #[must_use]
    pub fn prepare(images: &ImageBatch, dialect: InceptionDialect) -> ImageBatch {
        let made = resized(images, dialect.resize(), [SIDE; 2]);
        let [n, c, h, w] = made.shape();
        assert!(c == 1 || c == 3, "{c} channels are neither grey nor colours");
        if c == 3 {
            return made;
        }
        let pixels = (0..n).flat_map(|place| made.sample(place).repeat(3)).collect();
        ImageBatch::new([n, 3, h, w], pixels)
    }

    /// Features, outputs without their bias, and features place by place.
    ///
    /// # Shapes
    /// `x`: `[N, 3, 299, 299]` in `[0, 1]`, made by [`Self::prepare`] in the same dialect; returns `[N, 2048]`, `[N, 1008]` and
    /// `[N, 2023]`.
    #[must_use]
    pub fn features(&self, x: Tensor<4>, dialect: InceptionDialect) -> [Tensor<2>; 3] {
        let [factor, summand] = dialect.scaling();
        let x = x * factor + summand;
        let seen = match &self.compiled {
            Some(net) => net.forward(x),
            None => self.net.forward(x),
        };
        [seen.features, seen.logits, seen.spatial]
    }

    /// Whether what is seen in a picture is the same to the last bit whatever is computed beside it, so that a batch may go
    /// through in one.
    #[must_use]
    pub const fn sums_the_same_for_any_batch(&self) -> bool {
        self.compiled.is_some()
    }

    /// Bytes that one picture needs at the peak ([`Inception::activation_bytes`], [`Compiled::activation_bytes`]).
    #[must_use]
    pub fn activation_bytes(&self) -> u64 {
        self.compiled.as_ref().map_or_else(|| self.net.activation_bytes(), Compiled::activation_bytes)
    }

    /// Bytes of the weights on the device.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.compiled.as_ref().map_or_else(|| self.net.weight_bytes(), Compiled::weight_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_grey_is_so_in_all_colours() {
        let grey = ImageBatch::new([2, 1, 1, 2], vec![0.0, 1.0, 0.5, 0.25]);
        let made = Extractor::prepare(&grey, InceptionDialect::PytorchFid);
        assert_eq!(made.shape(), [2, 3, SIDE, SIDE]);
        let planes: Vec<&[f32]> = made.sample(1).chunks(SIDE * SIDE).collect();
        assert_eq!((planes.len(), planes[0]), (3, planes[2]));
        assert_eq!((planes[1][0], planes[1][SIDE - 1]), (0.5, 0.25));
    }
}
