//! Configurations of Hugging Face's libraries, as JSON beside the weights.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::{CheckpointError, open_file};
use crate::file::{Place, text_of};

/// Largest configuration that is read; a list of the parts of large weights names each of their tensors.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a configuration.
pub(super) fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let read = |source| CheckpointError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    open_file(path)?.take(MAX_BYTES).read_to_end(&mut text).map_err(read)?;
    let text = text_of(&text).map_err(|place| CheckpointError::Encoding { path: path.to_owned(), place })?;
    serde_json::from_str(text).map_err(|error| CheckpointError::Config {
        path: path.to_owned(),
        place: Place::new(error.line(), error.column()),
    })
}

/// A number of a configuration that counts something.
pub(super) fn whole(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

/// What a configuration says, and what it should say instead.
pub(super) fn refusal(path: &Path, found: String, expected: &str) -> CheckpointError {
    CheckpointError::Configuration { path: path.to_owned(), found, expected: expected.to_owned() }
}
