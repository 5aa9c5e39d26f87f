//! What the check of a network on a device found, kept for the next start.
//!
//! Kernels are chosen anew at every start, so that a network was right once says little. What is kept are some of its
//! numbers of then: they cost nothing to compare, and where they are others, the network is checked again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::device::DeviceInfo;
use crate::file::hex;

/// Numbers that are kept of a network.
const KEPT: usize = 64;

/// A network that a device computes as the CPU does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// Whether only without tuned kernels.
    pub(super) untuned: bool,
    /// In words.
    pub(super) found: String,
    /// Some of the numbers that the device computed.
    pub(super) numbers: Vec<f32>,
}

impl Verdict {
    /// Some of the numbers of a network's first sample.
    pub(super) fn some(numbers: &[f32], samples: usize) -> Vec<f32> {
        let first = &numbers[..numbers.len() / samples.max(1)];
        first.iter().step_by(first.len().div_ceil(KEPT).max(1)).copied().collect()
    }

    /// What is kept of a network of this file on this device, called in this way.
    pub(super) fn read(cache: &Path, device: &DeviceInfo, call: &str) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(place(cache, device, call)).ok()?).ok()
    }

    /// Keeps it; where that cannot be written, the next start checks again.
    pub(super) fn keep(&self, cache: &Path, device: &DeviceInfo, call: &str) {
        let place = place(cache, device, call);
        let write = || -> std::io::Result<()> {
            let folder = place.parent().unwrap_or(cache);
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.persist(&place)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(%error, place = %place.display(), "what the check of a device found could not be kept");
        }
    }
}

/// One file for each adapter, driver, program and way of calling a network.
fn place(cache: &Path, device: &DeviceInfo, call: &str) -> PathBuf {
    let DeviceInfo { name, backend, driver, .. } = device;
    let key = format!("{name}\n{backend}\n{driver}\n{}\n{call}", env!("CARGO_PKG_VERSION"));
    let hash = hex(&Sha256::digest(key)[..16]);
    cache.join("checks").join(hash + ".json")
}
