//! What computed results: program, library, device, models.

use serde::{Deserialize, Serialize};

use crate::worker::{DeviceInfo, ModelInfo};

/// What computed the results.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Version of this program.
    pub lapidary: String,
    /// Version of the tensor library.
    pub burn: String,
    /// The device.
    pub device: Option<DeviceInfo>,
    /// The generator's facts.
    pub generator: Option<ModelInfo>,
    /// The classifier's facts.
    pub classifier: Option<ModelInfo>,
}

impl Provenance {
    /// This program, nothing else known yet.
    #[must_use]
    pub fn new() -> Self {
        Self { lapidary: env!("CARGO_PKG_VERSION").to_owned(), burn: "0.22.1".to_owned(), ..Self::default() }
    }
}
