//! The numbers that there are, and what each is called.

use super::{Interval, MetricError, NEIGHBOURS, PARTS, Sure};

/// A number about a set of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// [`super::frechet_distance`] to the real pictures.
    Frechet,
    /// [`super::frechet_distance`] to the real pictures in [`super::Features::spatial`]: sFID where the extractor is Inception-2015 (Nash et
    /// al. 2021).
    SpatialFrechet,
    /// [`super::kernel_distance`] to the real pictures.
    Kernel,
    /// [`super::Neighbourhoods::precision`].
    Precision,
    /// [`super::Neighbourhoods::recall`].
    Recall,
    /// [`super::Neighbourhoods::density`].
    Density,
    /// [`super::Neighbourhoods::coverage`].
    Coverage,
    /// [`super::inception_score`].
    Inception,
    /// Mean of [`super::agreement`].
    Agreement,
    /// Mean of [`super::confidence`].
    Confidence,
    /// [`super::calibration_error`].
    Calibration,
    /// Mean of [`super::pairs::psnr`] over the pairs that differ.
    Psnr,
    /// Mean of [`super::pairs::Ssim`] over the pairs.
    Ssim,
    /// Mean of [`super::pairs::Flip`] over the pairs.
    Flip,
    /// Mean of [`crate::net::lpips`] over the pairs.
    Lpips,
    /// Pairs of equal pictures.
    Equal,
}

impl Metric {
    /// All of them, in the order of a table.
    pub const ALL: [Self; 16] = [
        Self::Frechet,
        Self::SpatialFrechet,
        Self::Kernel,
        Self::Precision,
        Self::Recall,
        Self::Density,
        Self::Coverage,
        Self::Inception,
        Self::Agreement,
        Self::Confidence,
        Self::Calibration,
        Self::Psnr,
        Self::Ssim,
        Self::Flip,
        Self::Lpips,
        Self::Equal,
    ];

    /// Its name in files.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Frechet => "frechet_distance",
            Self::SpatialFrechet => "spatial_frechet_distance",
            Self::Kernel => "kernel_distance",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Density => "density",
            Self::Coverage => "coverage",
            Self::Inception => "inception_score",
            Self::Agreement => "agreement",
            Self::Confidence => "confidence",
            Self::Calibration => "calibration_error",
            Self::Psnr => "psnr",
            Self::Ssim => "ssim",
            Self::Flip => "flip",
            Self::Lpips => "lpips",
            Self::Equal => "equal_pairs",
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Frechet => "Fréchet distance",
            Self::SpatialFrechet => "spatial Fréchet distance",
            Self::Kernel => "kernel distance",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Density => "density",
            Self::Coverage => "coverage",
            Self::Inception => "Inception score",
            Self::Agreement => "agreement",
            Self::Confidence => "confidence",
            Self::Calibration => "calibration error",
            Self::Psnr => "PSNR, dB",
            Self::Ssim => "SSIM",
            Self::Flip => "FLIP",
            Self::Lpips => "LPIPS",
            Self::Equal => "equal pairs",
        }
    }

    /// Whether it compares a set with real pictures.
    #[must_use]
    pub const fn compares(self) -> bool {
        matches!(self, Self::Frechet | Self::SpatialFrechet | Self::Kernel) || self.is_of_neighbours()
    }

    /// Whether it is one of [`super::Neighbourhoods`].
    pub(super) const fn is_of_neighbours(self) -> bool {
        matches!(self, Self::Precision | Self::Recall | Self::Density | Self::Coverage)
    }

    /// Fewest pictures of a set, and of real ones, that it can be had of.
    pub(super) const fn fewest(self) -> [usize; 2] {
        let (near, far) = NEIGHBOURS;
        match self {
            Self::Frechet | Self::SpatialFrechet | Self::Kernel => [2, 2],
            Self::Precision | Self::Recall | Self::Density | Self::Coverage => {
                [near + 1, 1 + if near > far { near } else { far }]
            }
            Self::Inception => [PARTS, 0],
            _ => [1, 0],
        }
    }

    /// Says whether it can be had of a set of so many pictures.
    ///
    /// # Errors
    /// [`MetricError::TooFew`]
    pub const fn check_count(self, found: usize) -> Result<(), MetricError> {
        let [needed, _] = self.fewest();
        if found < needed { Err(MetricError::TooFew { metric: self.label(), needed, found }) } else { Ok(()) }
    }

    /// Without the part of the interval where it cannot lie.
    pub(super) fn possible(self, of: Sure) -> Sure {
        let least = if matches!(self, Self::Ssim) { -1.0 } else { 0.0 };
        let is_share = matches!(self, Self::Agreement | Self::Confidence | Self::Calibration | Self::Ssim | Self::Flip);
        let most = if is_share { 1.0 } else { f64::INFINITY };
        let cut = |Interval { low, high }| Interval { low: f64::max(low, least), high: f64::min(high, most) };
        Sure { interval: of.interval.map(cut), ..of }
    }

    /// Whether more of it is better; of pairs, nearer to the partner.
    #[must_use]
    pub const fn larger_is_better(self) -> bool {
        !matches!(
            self,
            Self::Frechet | Self::SpatialFrechet | Self::Kernel | Self::Calibration | Self::Flip | Self::Lpips
        )
    }
}
