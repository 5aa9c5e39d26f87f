//! Numbers about sets of pictures, from what a network sees in them.
//!
//! Every set is a table of [`Features`]: one row a picture, from the layer before the classes, and its logits. The numbers of
//! two sets are comparable only if the same network, with the same weights, saw both at the same size; and all distances
//! shrink with the number of pictures, so they compare only among sets of one size. Of the [`Real`] pictures mean and covariance
//! are enough for the Fréchet distance. [`compare`] gives all numbers of sets that are there, [`Against`] one of each set as it comes.
//! Nothing here reads files or runs networks.
//!
//! | number | compares | better | source |
//! |---|---|---|---|
//! | [`frechet_distance`] | mean and covariance of two sets | smaller | Heusel et al. 2017 |
//! | the same of [`Features::spatial`] | likewise, of what is seen place by place (sFID) | smaller | Nash et al. 2021 |
//! | [`kernel_distance`] | all moments, without bias | smaller | Binkowski et al. 2018 |
//! | [`Neighbourhoods`] | who lies among whom: precision, recall, density, coverage | larger | Kynkäänniemi et al. 2019, Naeem et al. 2020 |
//! | [`inception_score`] | one set with its classes | larger | Salimans et al. 2016 |
//! | [`agreement`], [`confidence`] | every picture with its class | larger | |
//! | [`calibration_error`] | how sure a network is with how often it is right | smaller | Guo et al. 2017 |
//! | [`Shift`], [`Judged`] | the same pictures before and after, in the window | | |
//! | [`pairs`] | every picture with its partner, value by value | | |

mod against;
mod beside;
mod calibration;
mod error;
mod features;
mod frechet;
mod interval;
mod kernel;
mod metric;
mod neighbours;
pub mod pairs;
mod report;
mod score;
mod statistics;
pub mod words;

pub use self::against::{Against, NEIGHBOURS, PARTS};
pub use self::beside::{Anchor, Apart, Judged, Shift, too_few};
pub use self::calibration::{BINS, calibration_error};
pub use self::error::MetricError;
pub use self::features::Features;
pub use self::frechet::{Gaussian, frechet_distance};
pub use self::interval::{FEW, Interval, mean_change};
pub use self::kernel::{KernelDistance, SUBSET, SUBSETS, kernel_distance};
pub use self::metric::Metric;
pub use self::neighbours::{Neighbourhoods, Neighbours};
pub use self::report::{Number, Report, Set, Sure, cautions, compare, other_number};
pub use self::score::{Score, agreement, confidence, inception_score};
pub use self::statistics::{Real, Statistics, StatisticsError};

/// Hears how much of how much is done, and says whether to go on.
pub type Watch<'a> = dyn FnMut(usize, usize) -> bool + 'a;
