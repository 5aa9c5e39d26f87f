//! What is said: results on the output, everything else on the errors. A reader that has gone away is no failure.

use std::io::Write as _;

/// Writes a text for the user's eyes or the next program.
pub(super) fn say_out(text: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        tracing::debug!(%error, "nobody reads the output");
    }
}

/// Likewise, for what is no result.
pub(super) fn say_err(text: &str) {
    if let Err(error) = writeln!(std::io::stderr().lock(), "{text}") {
        tracing::debug!(%error, "nobody reads the messages");
    }
}
