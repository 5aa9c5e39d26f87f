//! Where bundled models are unpacked: once, for all test programs.

use std::path::{Path, PathBuf};

/// A folder below Cargo's `target`, so that no test run leaves anything elsewhere.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}
