//! How much memory network calls may use, and how many samples fit into it at once.

use super::message::MemoryEstimate;

/// Share of the free memory that is used; the rest is for the window, for iterates, and for other programs.
const SHARE: f64 = 0.8;
/// What a call takes of what its shapes say, in quarters: packing buffers and the allocator are not counted. Measured on
/// the CPU: 1.74 for the ImageNet-64 U-Net, 1.25 to 1.45 for a Wide-ResNet-50-2 at 224x224.
const OVERHEAD_QUARTERS: u64 = 7;
/// For a GPU, unless the user says otherwise: wgpu does not tell how much memory an adapter has.
const GPU_BUDGET: u64 = 2 << 30;

/// Bytes that a network call may use, `weights` in memory included: the user's limit, else what is free now (CPU) or a
/// cautious amount (GPU).
pub(super) fn budget(limit_mib: Option<u32>, cpu: bool, weights: u64) -> u64 {
    match limit_mib {
        Some(mib) => u64::from(mib) << 20,
        None if cpu => weights + (free() as f64 * SHARE) as u64,
        None => weights + GPU_BUDGET,
    }
}

/// Free memory in bytes, of the control group where there is one.
fn free() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory();
    system.cgroup_limits().map_or(free, |group| group.free_memory.min(free))
}

impl MemoryEstimate {
    /// As many of `wanted` samples at once as the budget allows, at least one; `counted` are the bytes of one sample's
    /// activations by their shapes.
    pub(super) fn fit(refines: bool, weights: u64, counted: u64, wanted: usize, budget: u64) -> Self {
        let per_sample = counted * OVERHEAD_QUARTERS / 4;
        let room = budget.saturating_sub(weights);
        let fitting = usize::try_from(room / per_sample.max(1)).unwrap_or(usize::MAX);
        let at_once = u32::try_from(wanted.min(fitting).max(1)).unwrap_or(u32::MAX);
        Self { refines, weights, per_sample, at_once, budget }
    }

    /// Whether even this many samples need more than the budget.
    #[must_use]
    pub const fn is_tight(&self) -> bool {
        self.total() > self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_to_the_budget_but_never_to_nothing() {
        let fit = |wanted, budget| MemoryEstimate::fit(true, 7, 8, wanted, budget);
        assert_eq!(fit(64, 147).per_sample, 14);
        assert_eq!(fit(64, 147).at_once, 10);
        assert_eq!(fit(64, 146).at_once, 9);
        assert_eq!(fit(4, 147).at_once, 4);
        assert!(fit(4, 5).is_tight() && fit(4, 5).at_once == 1);
        assert!(fit(64, 147).total() == 147 && !fit(64, 147).is_tight());
    }

    #[test]
    fn the_users_limit_is_taken_as_it_is() {
        assert_eq!(budget(Some(3), true, 7), 3 << 20);
        assert!(budget(None, true, 0) > 1 << 20, "a machine that runs tests has a free MiB");
    }
}
