//! One row per setting: what it is, how to get and set it, when it applies, what it affects.
//!
//! Settings types hold a table of [`Setting`]s. Flags, help, widgets, tooltips, captions, timeline marks, checks and notes
//! about settings without effect are made from the table, so a new number or switch is a field, a row, and its use.

use super::number;
use super::{Choice, ChoiceOption, Choosable, Parameter, ParameterError, Range};

mod typed;

/// What a setting is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A number.
    Number(&'static Parameter),
    /// On or off.
    Switch(&'static Switch),
    /// One of a few names.
    Choice(Choice, fn() -> Vec<ChoiceOption>),
    /// Anything else, such as a model or a list; its flag and its widget are written by hand.
    Text(&'static Entry),
}

impl Kind {
    /// The choice among the values of `C`.
    #[must_use]
    pub const fn of<C: Choosable>() -> Self {
        Self::Choice(C::CHOICE, super::options::<C>)
    }
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// Long flag on the command line, without the dashes.
    pub flag: &'static str,
    /// Whether the flag turns it off: `--no-normalise`.
    pub negated: bool,
    /// Name in the window.
    pub label: &'static str,
    /// What it does when it is on.
    pub about: &'static str,
}

/// A setting that is no number, switch or choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Long flag on the command line, without the dashes.
    pub flag: &'static str,
    /// Name in the window.
    pub label: &'static str,
    /// What it is.
    pub about: &'static str,
}

/// What a number may be instead of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Name on the command line.
    pub key: &'static str,
    /// Name in the window.
    pub label: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// On or off.
    Switch(bool),
    /// The key of an option.
    Choice(&'static str),
    /// Anything else, in words; empty when nothing is set.
    Text(String),
    /// No number, see [`Open`].
    Open,
}

/// What a change makes different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affects {
    /// Where a run begins: only a run that begins anew has it.
    Start,
    /// What is ascended, so objectives before and after cannot be compared.
    Aim,
    /// How an iteration moves a picture.
    Step,
    /// When a picture comes to rest, so those at rest are woken.
    Rest,
    /// What is asked for next; nothing that goes on changes.
    Plan,
}

/// How the window draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A field, a check box or a list.
    Plain,
    /// A slider.
    Slider,
    /// A row of buttons.
    Buttons,
}

/// Why a setting has no effect now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// Ends the sentence "it has no effect …".
    pub why: String,
    /// Whether the window leaves it out instead of drawing it grey.
    pub is_hidden: bool,
}

impl Idle {
    /// Drawn grey.
    pub const fn grey(why: String) -> Self {
        Self { why, is_hidden: false }
    }

    /// Not drawn.
    pub const fn hidden(why: String) -> Self {
        Self { why, is_hidden: true }
    }
}

/// A number that may be given as a share of another one: `0.1x`.
pub struct Relative<S: 'static> {
    /// Whether it is now.
    pub is: fn(&S) -> bool,
    /// Says whether the number is one; the number itself stays.
    pub make: fn(&mut S, bool),
    /// Of what, for the help.
    pub about: &'static str,
}

/// One setting of the settings type `S`.
pub struct Setting<S: 'static> {
    /// What it is.
    pub kind: Kind,
    /// What a change makes different.
    pub affects: &'static [Affects],
    /// How the window draws it.
    pub look: Look,
    /// Whether few need it: the window has it in a section that is closed at first.
    pub is_rare: bool,
    /// What the number may be instead.
    pub open: Option<&'static Open>,
    /// Flag that sets it too, when it has none of its own.
    pub set_by: Option<&'static str>,
    /// What else moves when the number is dragged.
    pub moved: fn(&mut S),
    get: fn(&S) -> Value,
    set: fn(&mut S, Value),
    idle: fn(&S) -> Option<Idle>,
    ranges: &'static [&'static Range],
    range: fn(&S) -> Option<&'static Range>,
    relative: Option<&'static Relative<S>>,
}

/// A row for a field of the settings type that it is written in: its name, and what the setting is.
macro_rules! setting {
    ($field:ident, $kind:expr) => {
        $crate::parameter::Setting::<Self>::new(
            $kind,
            |settings| $crate::parameter::Held::value(&settings.$field),
            |settings, value| $crate::parameter::Held::take(&mut settings.$field, value),
        )
    };
}
pub(crate) use setting;

impl<S> Setting<S> {
    /// A setting that always applies, and matters to what is asked for next.
    #[must_use]
    pub const fn new(kind: Kind, get: fn(&S) -> Value, set: fn(&mut S, Value)) -> Self {
        Self {
            kind,
            affects: &[Affects::Plan],
            look: Look::Plain,
            is_rare: false,
            open: None,
            set_by: None,
            moved: |_| {},
            get,
            set,
            idle: |_| None,
            ranges: &[],
            range: |_| None,
            relative: None,
        }
    }

    /// With a setter that keeps other settings in step.
    #[must_use]
    pub const fn by(self, set: fn(&mut S, Value)) -> Self {
        Self { set, ..self }
    }

    /// What a change makes different.
    #[must_use]
    pub const fn affecting(self, affects: &'static [Affects]) -> Self {
        Self { affects, ..self }
    }

    /// Says when and why it has no effect.
    #[must_use]
    pub const fn unless(self, idle: fn(&S) -> Option<Idle>) -> Self {
        Self { idle, ..self }
    }

    /// How the window draws it.
    #[must_use]
    pub const fn looks(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// Few need it.
    #[must_use]
    pub const fn rare(self) -> Self {
        Self { is_rare: true, ..self }
    }

    /// What the number may be instead.
    #[must_use]
    pub const fn or(self, open: &'static Open) -> Self {
        Self { open: Some(open), ..self }
    }

    /// It has no flag of its own: another one sets it too.
    #[must_use]
    pub const fn set_by(self, flag: &'static str) -> Self {
        Self { set_by: Some(flag), ..self }
    }

    /// What else moves when the number is dragged.
    #[must_use]
    pub const fn moving(self, moved: fn(&mut S)) -> Self {
        Self { moved, ..self }
    }

    /// Other ranges, and which of them is in force; `None` for the parameter's own. The help names those in `ranges`.
    #[must_use]
    pub const fn ranged(self, ranges: &'static [&'static Range], range: fn(&S) -> Option<&'static Range>) -> Self {
        Self { ranges, range, ..self }
    }

    /// The number may be a share of another one.
    #[must_use]
    pub const fn or_share(self, relative: &'static Relative<S>) -> Self {
        Self { relative: Some(relative), ..self }
    }

    /// Long flag on the command line, without the dashes.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        match (self.set_by, &self.kind) {
            (Some(flag), _) => flag,
            (None, Kind::Number(parameter)) => parameter.flag,
            (None, Kind::Switch(switch)) => switch.flag,
            (None, Kind::Choice(choice, _)) => choice.flag,
            (None, Kind::Text(entry)) => entry.flag,
        }
    }

    /// Name in the window.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match &self.kind {
            Kind::Number(parameter) => parameter.label,
            Kind::Switch(switch) => switch.label,
            Kind::Choice(choice, _) => choice.label,
            Kind::Text(entry) => entry.label,
        }
    }

    /// The value.
    #[must_use]
    pub fn value(&self, settings: &S) -> Value {
        (self.get)(settings)
    }

    /// Sets the value, unchecked; one of another kind changes nothing.
    pub fn put(&self, settings: &mut S, value: Value) {
        (self.set)(settings, value);
    }

    /// Why it has no effect now; `None` when it applies.
    #[must_use]
    pub fn idle(&self, settings: &S) -> Option<Idle> {
        (self.idle)(settings)
    }

    /// The number's description with the range that is in force; `None` for other kinds.
    #[must_use]
    pub fn parameter(&self, settings: &S) -> Option<Parameter> {
        let Kind::Number(parameter) = self.kind else { return None };
        Some((self.range)(settings).map_or(*parameter, |range| parameter.within(range)))
    }

    /// A value in words, as this setting has it: a label, `on`, or a number for a reader.
    #[must_use]
    pub fn words(&self, settings: &S, value: &Value) -> String {
        let is_share = self.relative.is_some_and(|relative| (relative.is)(settings));
        match (value, &self.kind) {
            (Value::Number(number), _) => format!("{}{}", number::show(*number), if is_share { "x" } else { "" }),
            (Value::Switch(on), _) => (if *on { "on" } else { "off" }).to_owned(),
            (Value::Choice(key), Kind::Choice(_, options)) => {
                options().iter().find(|option| option.key == *key).map_or(*key, |option| option.label).to_owned()
            }
            (Value::Choice(key), _) => (*key).to_owned(),
            (Value::Text(text), _) => text.clone(),
            (Value::Open, _) => self.open.map_or("none", |open| open.label).to_owned(),
        }
    }

    /// What a flag must be given to set the present value, to the last bit.
    #[must_use]
    pub fn typed(&self, settings: &S) -> String {
        let is_share = self.relative.is_some_and(|relative| (relative.is)(settings));
        match self.value(settings) {
            Value::Number(number) => format!("{}{}", number::exact(number), if is_share { "x" } else { "" }),
            Value::Switch(on) => {
                let negated = matches!(self.kind, Kind::Switch(switch) if switch.negated);
                (on != negated).to_string()
            }
            Value::Choice(key) => key.to_owned(),
            Value::Text(text) => text,
            Value::Open => self.open.map_or("", |open| open.key).to_owned(),
        }
    }

    /// Name and value in a few words: `ε = 3`, `norm L2`, `no random start`; nothing for an empty text.
    #[must_use]
    pub fn caption(&self, settings: &S) -> Option<String> {
        let value = self.value(settings);
        let (words, label) = (self.words(settings, &value), self.label().to_lowercase());
        match (&self.kind, value) {
            (Kind::Number(parameter), _) => Some(format!("{} = {words}", parameter.symbol)),
            (Kind::Switch(_), Value::Switch(false)) => Some(format!("no {label}")),
            (Kind::Switch(_), _) => Some(label),
            (Kind::Text(_), _) if words.is_empty() => None,
            (Kind::Choice(..) | Kind::Text(_), _) => Some(format!("{label} {words}")),
        }
    }

    /// Name and value in the words of the window: `radius 3`; else as [`Self::caption`], which has a paper's symbols.
    #[must_use]
    pub fn named(&self, settings: &S) -> Option<String> {
        match self.kind {
            Kind::Number(_) => {
                Some(format!("{} {}", self.label().to_lowercase(), self.words(settings, &self.value(settings))))
            }
            _ => self.caption(settings),
        }
    }

    /// What changed, in words: `radius 3 → 2`; `None` when nothing did.
    #[must_use]
    pub fn mark(&self, before: &S, after: &S) -> Option<String> {
        let (was, is) = (self.value(before), self.value(after));
        if was == is {
            return None;
        }
        let (mut from, mut to) = (self.words(before, &was), self.words(after, &is));
        if from == to {
            // They differ in digits that are not shown.
            (from, to) = (self.typed(before), self.typed(after));
        }
        let none = |words: String| if words.is_empty() { "none".to_owned() } else { words };
        Some(format!("{} {} → {}", self.label().to_lowercase(), none(from), none(to)))
    }
}

impl<S: Default> Setting<S> {
    /// Text of a tooltip: symbol, unit, effect and source, and why it has no effect now.
    #[must_use]
    pub fn tooltip(&self, settings: &S) -> String {
        let about = match (&self.kind, self.value(settings)) {
            (Kind::Number(parameter), _) => self.parameter(settings).unwrap_or(**parameter).tooltip(),
            (Kind::Switch(switch), _) => switch.about.to_owned(),
            (Kind::Choice(choice, options), Value::Choice(key)) => {
                let chosen = options().into_iter().find(|option| option.key == key);
                format!("{}\n{}", choice.about, chosen.map_or("", |option| option.about))
            }
            (Kind::Choice(choice, _), _) => choice.about.to_owned(),
            (Kind::Text(entry), _) => entry.about.to_owned(),
        };
        let open = self.open.map(|open| format!("{}: {}", open.label, open.about));
        let share = self.relative.map(|relative| {
            format!(
                "A number that is typed without a unit is in the unit that is chosen; {}, and choose that unit",
                relative.about
            )
        });
        let start = self.affects.contains(&Affects::Start).then(|| "Applies to where the next run starts".to_owned());
        let idle = self.idle(settings).map(|idle| format!("Has no effect {}", idle.why));
        [Some(about), share, open, start, idle].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// Text of `--help`: effect, symbol and unit, ranges and default.
    #[must_use]
    pub fn help(&self) -> String {
        let default = self.typed(&S::default());
        match &self.kind {
            Kind::Number(parameter) => {
                let about = parameter.help();
                let share = self.relative.map_or_else(String::new, |relative| format!("; {}", relative.about));
                let open = self.open.map_or_else(String::new, |open| format!(", or {}: {}", open.key, open.about));
                let range = |range: &&Range| {
                    let default = number::exact(range.default);
                    format!("; {}: {} to {}, default: {default}", range.name, range.min, range.max)
                };
                let ranges = self.ranges.iter().map(range).collect::<Vec<_>>().concat();
                let Parameter { min, max, .. } = parameter;
                format!("{about}{share} [{min} to {max}{open}; default: {default}{ranges}]")
            }
            Kind::Switch(switch) if switch.negated => {
                format!("Turns off {}. {}", switch.label.to_lowercase(), switch.about)
            }
            Kind::Switch(switch) => switch.about.to_owned(),
            Kind::Choice(choice, _) => choice.about.to_owned(),
            Kind::Text(entry) => entry.about.to_owned(),
        }
    }
}

/// Checks every number of the table against its widest range: what another version stored is never refused for the norm
/// that it goes with.
///
/// # Errors
/// The first [`ParameterError`] found.
pub fn check<S>(table: &[Setting<S>], settings: &S) -> Result<(), ParameterError> {
    for row in table {
        if let (Kind::Number(parameter), Value::Number(value)) = (row.kind, row.value(settings)) {
            parameter.check(value)?;
        }
    }
    Ok(())
}

/// Everything that differs, in words.
#[must_use]
pub fn marks<S>(table: &[Setting<S>], before: &S, after: &S) -> Vec<String> {
    table.iter().filter_map(|row| row.mark(before, after)).collect()
}

/// The captions of the settings that `wanted` names and that apply.
#[must_use]
pub fn captions<S>(table: &[Setting<S>], settings: &S, wanted: impl Fn(&Setting<S>) -> bool) -> Vec<String> {
    let rows = table.iter().filter(|row| wanted(row) && row.idle(settings).is_none());
    rows.filter_map(|row| row.caption(settings)).collect()
}

/// Likewise by [`Setting::named`].
#[must_use]
pub fn names<S>(table: &[Setting<S>], settings: &S, wanted: impl Fn(&Setting<S>) -> bool) -> Vec<String> {
    let rows = table.iter().filter(|row| wanted(row) && row.idle(settings).is_none());
    rows.filter_map(|row| row.named(settings)).collect()
}

/// Whether all settings that affect `what` are the same, or have no effect in both.
#[must_use]
pub fn same<S>(table: &[Setting<S>], a: &S, b: &S, what: Affects) -> bool {
    let is_idle = |row: &Setting<S>| row.idle(a).is_some() && row.idle(b).is_some();
    let mut rows = table.iter().filter(|row| row.affects.contains(&what));
    rows.all(|row| row.value(a) == row.value(b) || is_idle(row))
}
