//! Numbers about pairs of pictures, such as before and after a refinement: how far one picture is from its partner.
//!
//! Pictures are `[C, H, W]` in `[0, 1]`, sRGB-encoded. Every number is the same when the two change places.
//!
//! | number | compares | of equal pictures | source |
//! |---|---|---|---|
//! | [`psnr`] | values, in decibels | infinite | |
//! | [`Ssim`] | means, contrasts and structures of windows | 1 | Wang et al. 2004 |
//! | [`Flip`] | what eyes see when the pictures take turns on a screen | 0 | Andersson et al. 2020 |
//! | LPIPS | what a network sees; [`crate::net::lpips`] computes it, and it is kept here | 0 | Zhang et al. 2018 |
//!
//! They say how much was changed, not whether that was good.

mod colour;
mod filter;
mod flip;
mod numbers;
mod ssim;

pub use self::flip::{Flip, PIXELS_PER_DEGREE};
pub use self::numbers::{PairMeter, PairNumbers};
pub use self::ssim::{Ssim, WINDOW};

/// Why a number of a pair cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// No window fits in.
    #[error(
        "SSIM compares windows of {WINDOW}×{WINDOW} pixels, but the pictures have {width}×{height}, so it is left out: give larger ones"
    )]
    Small {
        /// Of the pictures.
        height: usize,
        /// Likewise.
        width: usize,
    },
    /// Channels that are no colours.
    #[error(
        "FLIP compares colours as eyes see them, in pictures of one or three channels, but these have {channels}, so it is left out"
    )]
    Channels {
        /// Of the pictures.
        channels: usize,
    },
}

/// Peak signal-to-noise ratio in decibels, `-10 log10` of the mean square of the difference, for values up to 1; infinite for
/// equal pictures. At least 0 in `[0, 1]`.
///
/// # Panics
/// When the pictures are not of one size, or empty.
#[must_use]
pub fn psnr(a: &[f32], b: &[f32]) -> f64 {
    assert!(a.len() == b.len() && !a.is_empty(), "pictures of one size");
    let squares = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let mean = squares.sum::<f64>() / a.len() as f64;
    if mean == 0.0 { f64::INFINITY } else { -10.0 * libm::log10(mean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_range_is_twenty_decibels_and_equal_pictures_have_no_end() {
        assert!((psnr(&[0.5, 0.25], &[0.6, 0.15]) - 20.0).abs() < 1e-6);
        assert_eq!(psnr(&[0.0; 4], &[1.0; 4]), 0.0);
        assert_eq!(psnr(&[0.3, 0.7], &[0.3, 0.7]), f64::INFINITY);
    }
}
