//! Settings take numbers as they are typed.

use super::{Setting, Value};
use crate::parameter::ParameterError;
use crate::parameter::number::{self, Typed, Unit};

impl<S: Clone> Setting<S> {
    /// Takes a number as it was typed for a flag or a file, see [`number::parse`]. `0.1x` and `10%` are a tenth of what the
    /// setting may be a share of (a step size: of the radius, see [`Self::or_share`]); other settings refuse them. A number
    /// without a unit is no share, whatever the setting was: a text means the same wherever it is read.
    ///
    /// # Errors
    /// [`ParameterError`] in one sentence; then nothing has changed. Also for settings that are no number.
    pub fn type_in(&self, settings: &mut S, text: &str) -> Result<(), ParameterError> {
        self.take_typed(settings, text, |_, typed| typed.unit != Unit::Plain)
    }

    /// Likewise in a field beside which the unit is chosen: a number without a unit is in the one that is seen there.
    ///
    /// # Errors
    /// As [`Self::type_in`].
    pub fn type_into_field(&self, settings: &mut S, text: &str) -> Result<(), ParameterError> {
        self.take_typed(settings, text, |was_share, typed| was_share || typed.unit != Unit::Plain)
    }

    /// `is_share` says whether what was typed is a share, from whether the setting was one.
    fn take_typed(
        &self,
        settings: &mut S,
        text: &str,
        is_share: fn(bool, Typed) -> bool,
    ) -> Result<(), ParameterError> {
        if self.open.is_some_and(|open| [open.key, open.label].contains(&text.trim())) {
            self.put(settings, Value::Open);
            return Ok(());
        }
        let mut changed = settings.clone();
        let typed = number::parse(text);
        if let (Some(relative), Some(typed)) = (self.relative, typed) {
            (relative.make)(&mut changed, is_share((relative.is)(settings), typed));
        }
        let parameter = self.parameter(&changed).ok_or_else(|| ParameterError {
            label: self.label(),
            found: format!("{text:?}"),
            expected: "chosen by name".to_owned(),
            default: 0.0,
        })?;
        let value = match typed {
            Some(typed) if self.relative.is_some() => parameter.check(typed.value)?,
            _ => parameter.parse(text)?,
        };
        self.put(&mut changed, Value::Number(value));
        *settings = changed;
        Ok(())
    }
}
