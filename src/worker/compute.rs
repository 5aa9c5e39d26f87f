//! Where and how to compute.

use serde::{Deserialize, Serialize};

use super::device::DeviceChoice;
use crate::parameter::{self, Entry, Kind, Open, Parameter, ParameterError, Setting, Value, setting};

const DEVICE: Entry = Entry {
    flag: "device",
    label: "Device",
    about: "auto (a real GPU when there is one, else the CPU), cpu, gpu, gpu:NAME with a part of the adapter's name, or cuda",
};

/// Samples that go through a network together.
pub const BATCH: Parameter = Parameter {
    flag: "batch",
    label: "Batch",
    symbol: "B",
    unit: "pictures at once",
    min: 1.0,
    max: 256.0,
    slider: (1.0, 256.0),
    default: 64.0,
    integer: true,
    about: "Pictures that go through a network together on a GPU, less memory when smaller; on the CPU they go one by one, on all cores",
    source: "Lapidary",
};

/// Memory of network calls.
pub const MEMORY: Parameter = Parameter {
    flag: "memory",
    label: "Memory",
    symbol: "M",
    unit: "MiB",
    min: 64.0,
    max: 1_048_576.0,
    slider: (64.0, 65_536.0),
    default: 4096.0,
    integer: true,
    about: "Memory that a network and its calls may use; fewer pictures are computed at once where more would be needed",
    source: "Lapidary",
};

/// Memory without a number.
const AUTO: Open = Open { key: "auto", label: "auto", about: "what is free on the CPU, a cautious amount on a GPU" };

/// Where and how to compute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComputeSettings {
    /// The device.
    pub device: DeviceChoice,
    /// Samples that go through a network together.
    pub batch: u32,
    /// Memory that one network call may use, in MiB; `None` for what is free (CPU) or a cautious share (GPU).
    pub memory_mib: Option<u32>,
}

impl Default for ComputeSettings {
    fn default() -> Self {
        Self { device: DeviceChoice::Auto, batch: BATCH.default as u32, memory_mib: None }
    }
}

impl ComputeSettings {
    /// Every setting of computing.
    pub const TABLE: &'static [Setting<Self>] = &[
        Setting::<Self>::new(Kind::Text(&DEVICE), |all| Value::Text(all.device.to_string()), |_, _| {}),
        setting!(batch, Kind::Number(&BATCH)),
        setting!(memory_mib, Kind::Number(&MEMORY)).or(&AUTO),
    ];

    /// Checks every number.
    ///
    /// # Errors
    /// The first [`ParameterError`] found.
    pub fn check(&self) -> Result<(), ParameterError> {
        parameter::check(Self::TABLE, self)
    }
}
