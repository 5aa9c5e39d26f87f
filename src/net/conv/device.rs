//! Where operations of our own are taken.

use burn::tensor::Device;
use pulp::Arch;

use crate::net::plan;

#[cfg(test)]
thread_local! {
    /// Whether this thread asked for burn's operations.
    pub(in crate::net) static BURN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The instructions that they are made for on a device; `None` where burn's operations are taken.
pub(in crate::net) fn processor(device: Device) -> Option<Arch> {
    #[cfg(test)]
    if BURN.get() {
        return None;
    }
    plan::processor().filter(|_| plan::runs_on(&device.without_autodiff()))
}
