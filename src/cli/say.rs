//! What is said: results on the output, everything else on the errors. A reader that has gone away is no failure; an output that
//! cannot be written is one.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

use super::CliError;

/// Writes a text for the user's eyes or the next program.
///
/// # Errors
/// [`CliError::Output`] when it cannot be written, unless nobody reads it any more.
pub fn say_out(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", harmless(text)).and_then(|()| out.flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Output { source }),
        _ => Ok(()),
    }
}

/// Writes what is no result.
pub fn say_err(text: &str) {
    if let Err(error) = writeln!(std::io::stderr().lock(), "{}", harmless(text)) {
        tracing::debug!(%error, "nobody reads the messages");
    }
}

/// Whether a note is said: what may be left out when quiet, which warnings are not.
pub(super) fn is_said(note: &str, quiet: bool) -> bool {
    !quiet || note.starts_with("warning:")
}

/// The text with control characters, which names of files may have and terminals obey, in digits.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_obeyed) {
        return text.into();
    }
    let escape = |mut shown: String, c: char| {
        let _infallible = if is_obeyed(c) { write!(shown, "{}", c.escape_default()) } else { write!(shown, "{c}") };
        shown
    };
    text.chars().fold(String::new(), escape).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_said_when_quiet_too() {
        let said = |quiet| ["note: three", "warning: two", "written: one"].map(|note| is_said(note, quiet));
        assert_eq!((said(false), said(true)), ([true; 3], [false, true, false]));
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(harmless("a\u{1b}[31m\r\u{7}\u{9b}b\n\tü"), "a\\u{1b}[31m\\r\\u{7}\\u{9b}b\n\tü");
    }
}
