//! Operations of our own for networks whose weights change, and for those that no plan is made of: on the CPU one node of
//! automatic differentiation each, whose gradients take as long as the operation itself.
//!
//! Results are the same to the last bit for any number of threads and length of vectors, pictures' for any batch.

mod device;
mod norm;
mod normed;
mod op;
#[cfg(test)]
mod tests;
mod weight;

#[cfg(test)]
pub(in crate::net) use self::device::BURN;
pub(in crate::net) use self::device::processor;
pub(in crate::net) use self::normed::{batch_norm, group_norm};
pub(in crate::net) use self::op::conv2d;
