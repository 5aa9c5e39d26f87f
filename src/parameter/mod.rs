//! One description per setting.
//!
//! A [`Parameter`], [`Choice`] or [`Switch`] says everything about a setting once, and a [`Setting`] ties it to the field
//! that holds it: flags, `--help`, widgets, tooltips, marks and captions are made from it. It knows nothing of the programs
//! that read it.

mod held;
pub mod number;
mod table;

pub use self::held::Held;
use self::number::Unit;
pub(crate) use self::table::setting;
pub use self::table::{
    Affects, Entry, Idle, Kind, Look, Open, Relative, Setting, Switch, Value, captions, check, marks, names, same,
};

/// A number that the user sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Long flag on the command line, without the dashes.
    pub flag: &'static str,
    /// Name in the window, in sentence case.
    pub label: &'static str,
    /// Symbol of the papers, e.g. `ε`.
    pub symbol: &'static str,
    /// Unit or range of what is measured.
    pub unit: &'static str,
    /// Smallest value that makes sense, included.
    pub min: f64,
    /// Largest value that is accepted, included.
    pub max: f64,
    /// Range offered by the slider; a typed value may leave it.
    pub slider: (f64, f64),
    /// Value in a new session.
    pub default: f64,
    /// Whole numbers only.
    pub integer: bool,
    /// One sentence about its effect.
    pub about: &'static str,
    /// Where default and meaning come from.
    pub source: &'static str,
}

/// Another range of a [`Parameter`], for values that mean something else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// When it holds, for the help.
    pub name: &'static str,
    /// Unit or range of what is measured.
    pub unit: &'static str,
    /// Smallest value that makes sense, included.
    pub min: f64,
    /// Largest value that is accepted, included.
    pub max: f64,
    /// Range offered by the slider.
    pub slider: (f64, f64),
    /// Value to begin with.
    pub default: f64,
    /// Where default and meaning come from.
    pub source: &'static str,
}

/// A value that a [`Parameter`] does not accept.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{label} is {found}, but must be {expected}; give a value such as {}", number::show(*default))]
pub struct ParameterError {
    /// Label of the parameter.
    pub label: &'static str,
    /// What was given.
    pub found: String,
    /// The accepted range in words.
    pub expected: String,
    /// A value that works.
    pub default: f64,
}

impl Parameter {
    /// The same with another range.
    #[must_use]
    pub const fn within(self, range: &Range) -> Self {
        let Range { unit, min, max, slider, default, source, .. } = *range;
        Self { unit, min, max, slider, default, source, ..self }
    }

    /// Checks that `value` is a number inside the range.
    ///
    /// # Errors
    /// [`ParameterError`] for NaN, infinities and values outside `min..=max`.
    pub fn check(&self, value: f64) -> Result<f64, ParameterError> {
        let whole = !self.integer || value.fract() == 0.0;
        if value.is_finite() && value >= self.min && value <= self.max && whole {
            return Ok(value);
        }
        Err(self.refuse(&value.to_string()))
    }

    /// Reads and checks text as it is typed into flags and fields, see [`number::parse`]. A number is no share of anything
    /// by itself, so `2x` and `10%` are refused; see [`Setting::or_share`].
    ///
    /// # Errors
    /// [`ParameterError`] when the text is no number, a share, or out of range.
    pub fn parse(&self, text: &str) -> Result<f64, ParameterError> {
        match number::parse(text) {
            Some(number::Typed { value, unit: Unit::Plain }) => self.check(value),
            Some(_) => Err(self.refuse(&as_typed(text))),
            // NaN and infinities are refused by name.
            None => self.check(text.trim().parse().map_err(|_not_a_number| self.refuse(&as_typed(text)))?),
        }
    }

    fn refuse(&self, found: &str) -> ParameterError {
        let kind = if self.integer { "a whole number" } else { "a number" };
        ParameterError {
            label: self.label,
            found: found.to_owned(),
            expected: format!("{kind} from {} to {}", self.min, self.max),
            default: self.default,
        }
    }

    /// Text of a tooltip: symbol, unit, effect and source.
    #[must_use]
    pub fn tooltip(&self) -> String {
        format!(
            "{} ({}), {}\n{}\nDefault {}. Source: {}",
            self.label,
            self.symbol,
            self.unit,
            self.about,
            number::show(self.default),
            self.source
        )
    }

    /// Text of `--help`.
    #[must_use]
    pub fn help(&self) -> String {
        format!("{} ({}, {})", self.about, self.symbol, self.unit)
    }
}

/// What was typed, and what is wrong with it where that is plain.
fn as_typed(text: &str) -> String {
    let is_comma = text.contains(',') && number::parse(&text.replace(',', ".")).is_some();
    let wrong = match number::parse(text).map(|typed| typed.unit) {
        _ if is_comma => ", with a comma instead of a point",
        None | Some(Unit::Plain) => "",
        Some(Unit::Times) => ", a multiple, which means nothing here",
        Some(Unit::Percent) => ", a percentage, which means nothing here",
    };
    format!("{text:?}{wrong}")
}

/// One value of a [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChoiceOption {
    /// Name in files and on the command line.
    pub key: &'static str,
    /// Name in the window.
    pub label: &'static str,
    /// One sentence about it, with its formula.
    pub about: &'static str,
}

/// A setting with a few named values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Long flag on the command line, without the dashes.
    pub flag: &'static str,
    /// Name in the window.
    pub label: &'static str,
    /// One sentence about what is chosen.
    pub about: &'static str,
}

/// The values of a choice, in the order in which they are offered.
#[must_use]
pub fn options<C: Choosable>() -> Vec<ChoiceOption> {
    C::ALL.iter().map(|value| value.option()).collect()
}

/// An enum whose values are described by a [`Choice`].
pub trait Choosable: Copy + PartialEq + Sized + 'static {
    /// The description of the setting.
    const CHOICE: Choice;
    /// All values, in the order in which they are offered; the first is the default.
    const ALL: &'static [Self];

    /// The description of this value.
    fn option(self) -> ChoiceOption;

    /// Finds a value by its key.
    #[must_use]
    fn from_key(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.option().key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPS: Parameter = Parameter {
        flag: "radius",
        label: "Radius",
        symbol: "ε",
        unit: "L2",
        min: 0.001,
        max: 10.0,
        slider: (0.1, 5.0),
        default: 3.0,
        integer: false,
        about: "How far",
        source: "test",
    };

    #[test]
    fn values_inside_the_range_pass_and_others_are_refused_in_one_sentence() {
        assert_eq!(EPS.parse("2.5"), Ok(2.5));
        for bad in ["NaN", "inf", "-1", "0", "11", "wide", ""] {
            let message = EPS.parse(bad).unwrap_err().to_string();
            assert!(message.starts_with("Radius is "), "{message}");
            assert!(message.contains("a number from 0.001 to 10"), "{message}");
        }
    }

    #[test]
    fn numbers_are_typed_as_sums_and_a_share_of_nothing_is_refused() {
        assert_eq!((EPS.parse("8/255"), EPS.parse("1 + 0.5*3")), (Ok(8.0 / 255.0), Ok(2.5)));
        assert!(EPS.parse("1/0").is_err());
        for (share, word) in [("0.1x", "a multiple"), ("1/3 ×", "a multiple"), ("10%", "a percentage")] {
            let message = EPS.parse(share).unwrap_err().to_string();
            let start = format!("Radius is {share:?}, {word}, which means nothing here, but must be a number from");
            assert!(message.starts_with(&start), "{message}");
        }
    }
}
