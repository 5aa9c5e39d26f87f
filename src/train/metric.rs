//! How far two batches of pictures are apart, sample by sample, and how much a noise level counts.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::error::{Problem, not_negative};
use crate::net::lpips::Lpips;

/// The floor under a root whose gradient is to be a number also where two pictures are the same.
const FLOOR: f64 = 1e-24;

/// A distance of pictures, as a configuration names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Metric {
    /// Mean square of the difference.
    // With braces, or serde would take any other key beside the kind.
    L2 {},
    /// Mean magnitude of the difference.
    L1 {},
    /// `sqrt(|a - b|² + c²) - c`, with the sum of squares over the whole picture.
    PseudoHuber {
        /// `c`; without it `0.00054 sqrt(d)` for pictures of `d` values (Song and Dhariwal 2024).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        c: Option<f64>,
    },
    /// [`Lpips`], whose weights are not Lapidary's to ship.
    Lpips {
        /// Torchvision's file of `vgg16`.
        vgg: String,
        /// The file of the weights behind it, `vgg.pth` of richzhang/PerceptualSimilarity.
        linear: String,
    },
}

impl Metric {
    /// A value that cannot be, and what is expected.
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::PseudoHuber { c: Some(c) } => not_negative("c", *c),
            Self::L2 {} | Self::L1 {} | Self::PseudoHuber { c: None } | Self::Lpips { .. } => None,
        }
    }

    /// The distance itself.
    ///
    /// # Panics
    /// When it is LPIPS, and its network is not there.
    #[must_use]
    pub fn measure(&self, lpips: Option<Lpips>) -> Measure {
        match self {
            Self::L2 {} => Measure::L2,
            Self::L1 {} => Measure::L1,
            Self::PseudoHuber { c } => Measure::PseudoHuber(*c),
            Self::Lpips { .. } => Measure::Lpips(Box::new(lpips.expect("who names it reads it"))),
        }
    }
}

/// A distance of pictures, ready to be used.
#[derive(Debug, Clone)]
pub enum Measure {
    /// As [`Metric::L2`].
    L2,
    /// As [`Metric::L1`].
    L1,
    /// As [`Metric::PseudoHuber`].
    PseudoHuber(Option<f64>),
    /// As [`Metric::Lpips`].
    Lpips(Box<Lpips>),
}

impl Measure {
    /// The distance of every sample.
    ///
    /// # Shapes
    /// Both `[N, C, H, W]`; returns `[N]`.
    #[must_use]
    pub fn distance(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        let [n, channels, h, w] = a.dims();
        let d = channels * h * w;
        let difference = |a: Tensor<4>, b: Tensor<4>| (a - b).reshape([n, d]);
        match self {
            Self::L2 => difference(a, b).powi_scalar(2).mean_dim(1).reshape([n]),
            Self::L1 => difference(a, b).abs().mean_dim(1).reshape([n]),
            Self::PseudoHuber(c) => {
                let c = c.unwrap_or_else(|| 0.00054 * (d as f64).sqrt());
                let square = difference(a, b).powi_scalar(2).sum_dim(1).reshape([n]);
                (square + c * c).clamp_min(FLOOR).sqrt() - c
            }
            Self::Lpips(lpips) => lpips.distance(a, b),
        }
    }
}

/// What the loss at a noise level is multiplied by; `snr` is `sigma^-2`.
///
/// # Source
/// openai/consistency_models, `cm/karras_diffusion.py`, `get_weightings`; the gap: locuslab/ect, `training/loss.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// 1
    Uniform,
    /// `snr`
    Snr,
    /// `snr + 1`
    SnrPlusOne,
    /// `snr + 1 / sigma_data²`: every level's loss of the network itself counts alike (Karras et al. 2022).
    Karras,
    /// `max(snr, 1)`
    TruncatedSnr,
    /// `1 / (t - r)` for the levels `t > r` of a consistency: the nearer they are, the more their difference counts.
    InverseGap,
}

impl Weighting {
    /// The weight of a noise level, the larger one of a pair; where there is only one, the smaller one is 0.
    #[must_use]
    pub fn at(self, [sigma, smaller]: [f64; 2], sigma_data: f64) -> f64 {
        let snr = sigma.powi(-2);
        match self {
            Self::Uniform => 1.0,
            Self::Snr => snr,
            Self::SnrPlusOne => snr + 1.0,
            Self::Karras => snr + sigma_data.powi(-2),
            Self::TruncatedSnr => snr.max(1.0),
            Self::InverseGap => (sigma - smaller).recip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn distances_are_their_formulas_and_their_gradients_are_numbers_where_nothing_differs() {
        let of =
            |values: [f32; 8]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), [2, 1, 2, 2]), &Device::flex());
        let (a, b) = (of([0.5, -1.0, 0.0, 2.0, 1.0, 1.0, 1.0, 1.0]), of([0.0, 1.0, 0.0, -2.0, 1.0, 1.0, 1.0, 1.0]));
        let square = 0.25 + 4.0 + 16.0_f64;
        for (metric, expected) in [
            (Measure::L2, [square / 4.0, 0.0]),
            (Measure::L1, [6.5 / 4.0, 0.0]),
            (Measure::PseudoHuber(Some(0.5)), [(square + 0.25).sqrt() - 0.5, 0.0]),
            (Measure::PseudoHuber(Some(0.0)), [square.sqrt(), 0.0]),
            (Measure::PseudoHuber(None), [(square + 0.001_08_f64.powi(2)).sqrt() - 0.001_08, 0.0]),
        ] {
            let tracked = a.clone().autodiff().require_grad();
            let distance = metric.distance(tracked.clone(), b.clone());
            let mut gradients = distance.clone().sum().backward();
            let gradient = tracked.grad_remove(&mut gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
            let found = distance.into_data().try_into_vec::<f32>().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{metric:?}: {found}, not {expected}");
            }
            assert!(gradient.iter().all(|value| value.is_finite()), "{metric:?}: {gradient:?}");
        }
    }

    #[test]
    fn a_distance_has_its_own_settings_only() {
        let read = |text| toml::from_str::<Metric>(text);
        assert_eq!(read("kind = 'l2'").unwrap(), Metric::L2 {});
        assert_eq!(read("kind = 'pseudo-huber'\nc = 0.5").unwrap(), Metric::PseudoHuber { c: Some(0.5) });
        let lpips = Metric::Lpips { vgg: "a".to_owned(), linear: "b".to_owned() };
        assert_eq!(read("kind = 'lpips'\nvgg = 'a'\nlinear = 'b'").unwrap(), lpips);
        for other in ["kind = 'l2'\nc = 0.5", "kind = 'l1'\nd = 1", "kind = 'pseudo-huber'\nd = 1"] {
            assert!(read(other).is_err(), "{other}");
        }
    }

    #[test]
    fn weights_are_those_of_the_original() {
        let at = |weighting: Weighting| weighting.at([2.0, 1.5], 0.5);
        assert_eq!([Weighting::Uniform, Weighting::Snr, Weighting::SnrPlusOne].map(at), [1.0, 0.25, 1.25]);
        assert_eq!([Weighting::Karras, Weighting::TruncatedSnr, Weighting::InverseGap].map(at), [4.25, 1.0, 2.0]);
    }
}
