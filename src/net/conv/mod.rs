//! Operations of our own for networks whose weights change, and for those that no plan is made of: on the CPU one node of
//! automatic differentiation each, whose gradients take as long as the operation itself.
//!
//! Results are the same to the last bit for any number of threads and length of vectors, pictures' for any batch.

mod norm;
mod normed;
mod op;
#[cfg(test)]
mod tests;
mod weight;

use burn::tensor::Device;
use pulp::Arch;

pub(in crate::net) use self::normed::{batch_norm, group_norm};
pub(in crate::net) use self::op::conv2d;
use super::plan;

/// The instructions that they are made for on a device; `None` where burn's operations are taken.
pub(in crate::net) fn processor(device: Device) -> Option<Arch> {
    #[cfg(test)]
    if tests::burn() {
        return None;
    }
    plan::processor().filter(|_| plan::runs_on(&device.without_autodiff()))
}
