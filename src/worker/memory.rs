//! How much memory network calls may use, and how many samples fit into it at once.

use super::message::MemoryEstimate;

/// Share of the free memory that is used; the rest is for the window, for iterates, and for other programs.
const SHARE: f64 = 0.8;
/// What a call takes of what its shapes say, in quarters: packing buffers and the allocator are not counted. Measured on
/// the CPU: 1.74 for the ImageNet-64 U-Net, 1.25 to 1.45 for a Wide-ResNet-50-2 at 224x224.
const OVERHEAD_QUARTERS: u64 = 7;
/// For a GPU, unless the user says otherwise: wgpu does not tell how much memory an adapter has.
const GPU_BUDGET: u64 = 2 << 30;

/// Share of the memory of the machine that models may fill on the CPU, whether they are in use or not.
const SHARE_OF_MODELS: f64 = 0.25;

/// Bytes that a network call may use, `weights` in memory included: the user's limit, else what is free now (CPU) or a
/// cautious amount (GPU).
pub(super) fn budget(limit_mib: Option<u32>, cpu: bool, weights: u64) -> u64 {
    match limit_mib {
        Some(mib) => u64::from(mib) << 20,
        None => weights + if cpu { share(SHARE, Memory::now().free()) } else { GPU_BUDGET },
    }
}

/// Bytes that the weights of all models in memory may take.
pub(super) fn for_models(limit_mib: Option<u32>, cpu: bool) -> u64 {
    match limit_mib {
        Some(mib) => u64::from(mib) << 20,
        None if cpu => share(SHARE_OF_MODELS, Memory::now().all()),
        None => GPU_BUDGET,
    }
}

/// Bytes of memory that this machine or the control group has, whether they are free or not.
pub(super) fn all_memory() -> u64 {
    Memory::now().all()
}

fn share(share: f64, bytes: u64) -> u64 {
    (bytes as f64 * share) as u64
}

/// Memory in bytes, free and in all: of the machine, and of the control group where there is one.
#[derive(Debug, Clone, Copy)]
struct Memory {
    machine: (u64, u64),
    group: Option<(u64, u64)>,
}

impl Memory {
    fn now() -> Self {
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        let group = system.cgroup_limits().map(|group| (group.free_memory, group.total_memory));
        Self { machine: (system.available_memory(), system.total_memory()), group }
    }

    /// What is left of the scarcer of the two.
    fn free(self) -> u64 {
        self.group.map_or(u64::MAX, |(free, _)| free).min(self.machine.0)
    }

    fn all(self) -> u64 {
        self.group.map_or(u64::MAX, |(_, all)| all).min(self.machine.1)
    }
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
    fn an_estimate_adds_up() {
        let estimate =
            MemoryEstimate { refines: true, weights: 5 << 20, per_sample: 3 << 20, at_once: 4, budget: 100 << 20 };
        let text = estimate.to_string();
        assert_eq!(
            text,
            "A refinement step needs about 17 MiB: weights 5.0 MiB + 4 × 3.0 MiB per picture; 100 MiB may be used"
        );
    }

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
        for cpu in [true, false] {
            assert_eq!(budget(Some(3), cpu, 7), 3 << 20);
            assert_eq!(for_models(Some(3), cpu), 3 << 20);
        }
        assert_eq!(budget(None, false, 7), 7 + GPU_BUDGET);
    }

    #[test]
    fn a_control_group_counts_where_it_is_the_scarcer_one() {
        let machine = (800, 1000);
        for (group, free, all) in [
            (None, 800, 1000),
            (Some((100, 200)), 100, 200),
            // A group without a limit reports a huge one.
            (Some((u64::MAX, u64::MAX)), 800, 1000),
            // Free memory of a large group may be taken by others.
            (Some((900, 5000)), 800, 1000),
        ] {
            let memory = Memory { machine, group };
            assert_eq!((memory.free(), memory.all()), (free, all), "{group:?}");
        }
        assert_eq!(share(SHARE, 1000), 800);
    }
}
