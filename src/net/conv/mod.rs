//! Operations of our own for networks whose weights change, and for those that no plan is made of: on the CPU one node of
//! automatic differentiation each, whose gradients take as long as the operation itself.
//!
//! Results are the same to the last bit for any number of threads and length of vectors, pictures' for any batch.

mod attend;
mod attended;
mod device;
mod norm;
mod normed;
mod op;
mod resampled;
#[cfg(test)]
mod tests;
mod tiles;
mod weight;

pub(in crate::net) use self::attended::attention;
#[cfg(test)]
pub(in crate::net) use self::device::BURN;
pub(in crate::net) use self::device::processor;
pub(in crate::net) use self::normed::{batch_norm, group_norm};
pub(in crate::net) use self::op::conv2d;
pub(in crate::net) use self::resampled::{doubled, halved};
