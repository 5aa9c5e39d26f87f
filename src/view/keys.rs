//! One table from keys to verbs: shortcuts, tooltips and the help list are made from it.

use egui::{Key, KeyboardShortcut, Modifiers};

use crate::session::Verb;

const fn plain(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::NONE, key)
}

const fn command(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND, key)
}

const fn command_shift(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), key)
}

/// Longer combinations come first: a shortcut with fewer modifiers would take their keys.
const KEYS: [(KeyboardShortcut, Verb); 29] = [
    (command_shift(Key::S), Verb::SaveAs),
    (command_shift(Key::Z), Verb::Redo),
    (command(Key::Z), Verb::Undo),
    (command(Key::S), Verb::Save),
    (command(Key::O), Verb::Open),
    (command(Key::I), Verb::OpenImages),
    (command(Key::N), Verb::NewSession),
    (command(Key::G), Verb::Generate),
    (plain(Key::Space), Verb::RunOrPause),
    (plain(Key::Period), Verb::Step),
    (plain(Key::X), Verb::Stop),
    (plain(Key::R), Verb::Reset),
    (plain(Key::B), Verb::Branch),
    (plain(Key::ArrowLeft), Verb::PreviousIteration),
    (plain(Key::ArrowRight), Verb::NextIteration),
    (plain(Key::Home), Verb::FirstIteration),
    (plain(Key::End), Verb::LastIteration),
    (plain(Key::M), Verb::BestIteration),
    (plain(Key::P), Verb::Play),
    (plain(Key::ArrowUp), Verb::PreviousSample),
    (plain(Key::ArrowDown), Verb::NextSample),
    (plain(Key::Escape), Verb::Grid),
    (plain(Key::Num1), Verb::Side),
    (plain(Key::Num2), Verb::Wipe),
    (plain(Key::Num3), Verb::Blink),
    (plain(Key::Num4), Verb::Difference),
    (plain(Key::F), Verb::FitView),
    (plain(Key::T), Verb::Theme),
    (plain(Key::Questionmark), Verb::Help),
];

/// The key of a verb, as text.
#[must_use]
pub fn text(verb: Verb) -> Option<String> {
    let (shortcut, _) = KEYS.iter().find(|(_, bound)| *bound == verb)?;
    Some(shortcut.format(&egui::ModifierNames::NAMES, false))
}

/// The verbs whose keys were pressed; nothing while text is being typed.
pub fn pressed(ctx: &egui::Context) -> Vec<Verb> {
    if ctx.egui_wants_keyboard_input() {
        return Vec::new();
    }
    ctx.input_mut(|input| {
        KEYS.iter().filter(|(shortcut, _)| input.consume_shortcut(shortcut)).map(|(_, verb)| *verb).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_verb_is_bound_twice() {
        for (i, (key, verb)) in KEYS.iter().enumerate() {
            assert!(KEYS[..i].iter().all(|(other_key, other)| other_key != key && other != verb), "{verb:?}");
        }
    }
}
