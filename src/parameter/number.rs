//! Numbers as people type them: `8/255`, `1.5*3/7`, `0.1x`, `10%`.
//!
//! One reader for flags and fields. A number is a sum of products of decimal numbers and parentheses, at most
//! `MAX_LENGTH` bytes long, and finite at every step; `x` or `×` behind it makes it a multiple, `%` a percentage.
//! Whether there may be such a share, and of what, is for the setting to say, see
//! [`Setting::or_share`](super::Setting::or_share).

/// Longest text that is read, in bytes.
const MAX_LENGTH: usize = 200;
/// Signs and parentheses that may lie inside each other.
const MAX_DEPTH: u32 = 40;
/// Denominator of grey levels, in which radii are often given.
const LEVELS: f64 = 255.0;

/// What a typed number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The setting's own unit.
    Plain,
    /// Multiples: `0.1x`.
    Times,
    /// Hundredths: `10%`.
    Percent,
}

/// A number that was typed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Typed {
    /// Always finite; of `10%` it is 0.1.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
}

/// Reads a number; `None` for anything else, such as `1/0`, `NaN` or words.
#[must_use]
pub fn parse(text: &str) -> Option<Typed> {
    let text = text.trim();
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (body, unit) = match (text.strip_suffix(['x', '×']), text.strip_suffix('%')) {
        (Some(body), _) => (body, Unit::Times),
        (None, Some(body)) => (body, Unit::Percent),
        (None, None) => (text, Unit::Plain),
    };
    let mut reader = Reader { rest: body, depth: 0 };
    let value = reader.sum()?;
    let value = if unit == Unit::Percent { value / 100.0 } else { value };
    reader.rest.trim_start().is_empty().then_some(Typed { value, unit })
}

/// The shortest text that [`parse`] reads as exactly this number; whole grey levels as `8/255`.
#[must_use]
pub fn exact(value: f64) -> String {
    let plain = value == 0.0 || (1e-5..1e15).contains(&value.abs());
    grey_levels(value).unwrap_or_else(|| if plain { value.to_string() } else { format!("{value:e}") })
}

/// The number for a reader: five significant digits, whole numbers and grey levels exactly.
#[must_use]
pub fn show(value: f64) -> String {
    if value.fract() == 0.0 || grey_levels(value).is_some() {
        return exact(value);
    }
    // Rounded through text, which is the only rounding to decimal digits that is exact.
    exact(format!("{value:.4e}").parse().unwrap_or(value))
}

/// `k/255` for a number that is exactly that and no short decimal number.
fn grey_levels(value: f64) -> Option<String> {
    let level = (value * LEVELS).round();
    let is_short = (value * 1e4).round() / 1e4 == value;
    (!is_short && level.abs() <= 2.0 * LEVELS && level / LEVELS == value).then(|| format!("{level}/255"))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a str,
    depth: u32,
}

impl Reader<'_> {
    fn eat(&mut self, symbols: &[char]) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(symbols);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn sum(&mut self) -> Option<f64> {
        let mut sum = self.product()?;
        loop {
            let sign = if self.eat(&['+']) {
                1.0
            } else if self.eat(&['-', '−']) {
                -1.0
            } else {
                return Some(sum);
            };
            sum = finite(sum + sign * self.product()?)?;
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut product = self.factor()?;
        loop {
            if self.eat(&['*', '×', '·']) {
                product = finite(product * self.factor()?)?;
            } else if self.eat(&['/', '÷']) {
                product = finite(product / self.factor()?)?;
            } else {
                return Some(product);
            }
        }
    }

    fn factor(&mut self) -> Option<f64> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = if self.eat(&['-', '−']) {
            -self.factor()?
        } else if self.eat(&['+']) {
            self.factor()?
        } else if self.eat(&['(']) {
            let value = self.sum()?;
            if !self.eat(&[')']) {
                return None;
            }
            value
        } else {
            self.decimal()?
        };
        self.depth -= 1;
        Some(value)
    }

    fn decimal(&mut self) -> Option<f64> {
        let bytes = self.rest.as_bytes();
        let after_digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = after_digits(0);
        if bytes.get(end) == Some(&b'.') {
            end = after_digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let exponent = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let last = after_digits(exponent);
            end = if last > exponent { last } else { end };
        }
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        finite(number.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> f64 {
        let typed = parse(text).unwrap_or_else(|| panic!("{text} is a number"));
        assert_eq!(typed.unit, Unit::Plain, "{text}");
        typed.value
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, value) in [
            ("8/255", 8.0 / 255.0),
            ("1.5*3/7", 1.5 * 3.0 / 7.0),
            (" 2 × (1 + .5) - 1e-1 ", 2.9),
            ("-(3 ÷ 2)", -1.5),
            ("1e3", 1000.0),
            ("5.", 5.0),
            ("2--1", 3.0),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
        assert_eq!(parse("0.1x"), Some(Typed { value: 0.1, unit: Unit::Times }));
        assert_eq!(parse("1/3 ×"), Some(Typed { value: 1.0 / 3.0, unit: Unit::Times }));
        assert_eq!(parse("10%"), Some(Typed { value: 0.1, unit: Unit::Percent }));
    }

    #[test]
    fn anything_else_is_no_number() {
        let deep = format!("{}1{}", "(".repeat(90), ")".repeat(90));
        let signs = "-".repeat(150) + "1";
        let long = "1+".repeat(150) + "1";
        let words =
            ["", "x", "%", "NaN", "inf", "1/0", "1/(1/0)", "1e999", "1e", "8//255", "(1", "1)", "1 2", "8/255px"];
        for text in words.into_iter().chain([&deep, &signs, &long].map(String::as_str)) {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn grey_levels_are_shown_as_such_and_long_numbers_shortly() {
        assert_eq!([8.0 / 255.0, 0.2, 1.0, 1.5 / 7.0, 0.1 * 3.0].map(show), ["8/255", "0.2", "1", "0.21429", "0.3"]);
        assert_eq!([1e6, 4_294_967_295.0, 1e-6, 0.0].map(show), ["1000000", "4294967295", "1e-6", "0"]);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bits in any::<u64>(), level in 0_u32..=510) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(plain(&exact(value)).to_bits(), value.to_bits());
            let near = plain(&show(value));
            prop_assert!((near - value).abs() <= 1e-4 * value.abs(), "{} for {}", show(value), value);
            let grey = f64::from(level) / LEVELS;
            prop_assert_eq!(plain(&show(grey)), grey);
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,300}", like in "[0-9.eE+*/()x%-]{0,60}") {
            for text in [text, like] {
                if let Some(typed) = parse(&text) {
                    prop_assert!(typed.value.is_finite());
                }
            }
        }
    }
}
