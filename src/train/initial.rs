//! The first values of a network's weights, from a seed.

use crate::checkpoint::CheckpointError;
use crate::net::Source;
use crate::noise::{Purpose, Stream};

/// Last layers of residual blocks, of attention and of the U-Net: they begin as 0, so that every block begins as its shortcut.
const ZERO: [&str; 6] =
    ["out_layers.3.weight", "out_layers.3.bias", "proj_out.weight", "proj_out.bias", "out.2.weight", "out.2.bias"];

/// Values as the original programs begin with.
///
/// # Source
/// PyTorch's defaults: convolutions and linear layers uniform within `1 / sqrt(fan in)`, norms 1 and 0, embeddings normal.
/// openai/consistency_models, `cm/unet.py`, `zero_module`. torchvision, `models/resnet.py`: convolutions normal with variance
/// `2 / fan out`.
#[derive(Debug)]
pub struct Initial {
    seed: u64,
    /// Tensors that were asked for.
    count: u32,
    /// Numbers that every output of the last matrix is a sum of.
    fan: usize,
}

impl Initial {
    /// For a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, count: 0, fan: 1 }
    }
}

impl Source for Initial {
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, CheckpointError> {
        let mut stream = Stream::new(self.seed, Purpose::Weights(self.count));
        self.count += 1;
        let len: usize = shape.iter().product();
        let is_bias = name.rsplit('.').next() == Some("bias");
        if shape.len() > 1 {
            self.fan = len / shape[0].max(1);
        } else if !is_bias {
            // A norm's, whose bias follows.
            self.fan = 0;
        }
        let mut uniform = |bound: f64| (0..len).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect();
        let is_residual = name.starts_with("conv1.") || name.starts_with("layer");
        let values: Vec<f32> = match shape {
            _ if ZERO.iter().any(|zero| name == *zero || name.ends_with(&format!(".{zero}"))) => vec![0.0; len],
            [_] if name.ends_with(".running_mean") || is_bias && self.fan == 0 => vec![0.0; len],
            [_] if !is_bias => vec![1.0; len],
            [_, _] if name == "label_emb.weight" => stream.normal(len),
            [c_out, _, kernel, _] if is_residual => {
                let deviation = (2.0 / (c_out * kernel * kernel) as f32).sqrt();
                stream.normal(len).into_iter().map(|value| value * deviation).collect()
            }
            _ => uniform((self.fan as f64).sqrt().recip()),
        };
        Ok(Some(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_begin_as_the_original_programs_begin_them() {
        let mut initial = Initial::new(3);
        let mut of = |name: &str, shape: &[usize]| initial.values(name, shape).unwrap().unwrap();
        let (weight, bias) = (of("input_blocks.0.0.weight", &[64, 4, 3, 3]), of("input_blocks.0.0.bias", &[64]));
        for values in [&weight, &bias] {
            let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            assert!(largest <= 1.0 / 6.0 && largest > 0.15, "{largest}");
        }
        assert_eq!(of("input_blocks.1.0.in_layers.0.weight", &[2]), [1.0, 1.0]);
        assert_eq!(of("input_blocks.1.0.in_layers.0.bias", &[2]), [0.0, 0.0]);
        assert_eq!(of("input_blocks.1.0.out_layers.3.weight", &[1, 1, 1, 1]), [0.0]);
        assert_eq!(of("out.2.bias", &[3]), [0.0; 3]);
        let variance = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!((variance(&of("label_emb.weight", &[40, 100])) - 1.0).abs() < 0.1);
        assert!((variance(&of("layer1.0.conv1.weight", &[32, 16, 3, 3])) * 144.0 - 1.0).abs() < 0.1);
        assert_eq!(of("layer1.0.bn1.running_mean", &[2]), [0.0; 2]);
        assert_eq!(of("layer1.0.bn1.running_var", &[2]), [1.0; 2]);
        assert_ne!(weight, Initial::new(4).values("input_blocks.0.0.weight", &[64, 4, 3, 3]).unwrap().unwrap());
    }
}
