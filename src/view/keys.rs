//! One table from keys to verbs: shortcuts, tooltips and the help list are made from it.

use egui::{Event, Key, KeyboardShortcut, Modifiers};

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
const KEYS: &[(KeyboardShortcut, Verb)] = &[
    (command_shift(Key::S), Verb::SaveAs),
    (command_shift(Key::Z), Verb::Redo),
    (command(Key::Z), Verb::Undo),
    (command(Key::S), Verb::Save),
    (command(Key::O), Verb::Open),
    (command(Key::I), Verb::OpenImages),
    (command(Key::N), Verb::NewSession),
    (command(Key::G), Verb::Generate),
    (command(Key::Q), Verb::Quit),
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
    (plain(Key::Num0), Verb::ActualSize),
    (plain(Key::I), Verb::Smooth),
    (plain(Key::T), Verb::Theme),
    (plain(Key::Questionmark), Verb::Help),
];

/// Keys that a focused button or slider is worked with; Escape takes the focus away.
const OF_CONTROLS: [Key; 6] = [Key::Space, Key::ArrowLeft, Key::ArrowRight, Key::ArrowUp, Key::ArrowDown, Key::Escape];

/// Verbs that a held key repeats.
const MOVES: [Verb; 4] = [Verb::PreviousIteration, Verb::NextIteration, Verb::PreviousSample, Verb::NextSample];

/// The key of a verb, as text.
#[must_use]
pub fn text(verb: Verb) -> Option<String> {
    let (shortcut, _) = KEYS.iter().find(|(_, bound)| *bound == verb)?;
    Some(shortcut.format(&egui::ModifierNames::NAMES, false))
}

/// What an event may do to the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It may give the focus to what is clicked.
    Click,
    /// It gives the focus to the next control.
    Tab,
    /// It is for what has the focus.
    Typed,
}

impl Kind {
    const fn of(event: &Event) -> Option<Self> {
        match event {
            Event::PointerButton { .. } => Some(Self::Click),
            Event::Key { key: Key::Tab, pressed: true, .. } => Some(Self::Tab),
            Event::Key { pressed: true, .. } | Event::Text(_) | Event::Paste(_) | Event::Ime(_) => Some(Self::Typed),
            _ => None,
        }
    }
}

/// Whom the keyboard belongs to, from frame to frame.
#[derive(Default)]
pub struct Keyboard {
    /// What comes after a click, or after something that was typed: who has the focus then is known once that was drawn. In a
    /// slow frame all comes together.
    held: Vec<Event>,
    /// Text was being typed when the last frame ended: what comes next ends it at the most.
    is_typing: bool,
}

impl Keyboard {
    /// Before a frame takes its events: gives out what was held back, and as much of the rest as is of one kind.
    pub fn split(&mut self, ctx: &egui::Context, events: &mut Vec<Event>) {
        events.splice(0..0, self.held.drain(..));
        let (mut before, mut is_down, mut has_moved) = (None, None, false);
        let is_other = |event: &Event| {
            match event {
                // A click counts where it was, not where the pointer went then.
                Event::PointerMoved(_) => {
                    has_moved = true;
                    return is_down.is_some();
                }
                // What follows the pointer sees where it was pressed, and where it went, before it is let go.
                Event::PointerButton { pressed, .. } => {
                    let is_turn = is_down.replace(*pressed).is_some_and(|before| before != *pressed);
                    if is_turn || has_moved && !pressed {
                        return true;
                    }
                }
                _ => {}
            }
            let Some(kind) = Kind::of(event) else { return false };
            let before = before.replace(kind);
            before.is_some_and(|before| before != kind || kind == Kind::Tab)
        };
        if let Some(other) = events.iter().position(is_other) {
            self.held = events.split_off(other);
            ctx.request_repaint();
        }
    }

    /// Once everything is drawn: remembers whether text is typed.
    pub fn end(&mut self, ctx: &egui::Context) {
        self.is_typing = ctx.text_edit_focused();
    }

    /// The verbs whose keys were pressed; none while text is being typed, or was until this frame: a key that ends the typing
    /// is the text's own.
    pub fn pressed(&self, ctx: &egui::Context) -> Vec<Verb> {
        if self.is_typing || ctx.text_edit_focused() { Vec::new() } else { pressed(ctx) }
    }
}

/// The verbs whose keys were pressed, one per press and in their order.
///
/// Presses are counted and not frames: in a slow frame many come together. What a focused control does with a key comes
/// before what the key does elsewhere.
fn pressed(ctx: &egui::Context) -> Vec<Verb> {
    let has_focus = ctx.memory(|memory| memory.focused().is_some());
    ctx.input_mut(|input| {
        let mut verbs = Vec::new();
        input.events.retain(|event| {
            let Event::Key { key, pressed: true, repeat, modifiers, .. } = event else { return true };
            // Pressed fast, the question mark comes without the Shift that makes it one.
            let key = if *key == Key::Slash { &Key::Questionmark } else { key };
            let of_control = has_focus && modifiers.is_none() && OF_CONTROLS.contains(key);
            let is_it =
                |bound: &KeyboardShortcut| bound.logical_key == *key && modifiers.matches_logically(bound.modifiers);
            let Some((_, verb)) = KEYS.iter().find(|(bound, _)| !of_control && is_it(bound)) else { return true };
            // A key that is held goes on along samples and iterations; it does not run and pause in turn.
            if !repeat || MOVES.contains(verb) {
                verbs.push(*verb);
            }
            false
        });
        verbs
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

    fn verbs_of(events: Vec<Event>) -> Vec<Verb> {
        let ctx = egui::Context::default();
        let mut verbs = Vec::new();
        let input = egui::RawInput { events, ..Default::default() };
        drop(ctx.run_ui(input, |ui| verbs = pressed(ui.ctx())));
        verbs
    }

    const fn press(key: Key, modifiers: Modifiers, repeat: bool) -> Event {
        Event::Key { key, physical_key: None, pressed: true, repeat, modifiers }
    }

    #[test]
    fn every_press_counts_in_the_order_of_the_presses_however_slow_the_frame() {
        let keys = [Key::Home, Key::ArrowRight, Key::ArrowRight, Key::ArrowRight, Key::B];
        let verbs = verbs_of(keys.map(|key| press(key, Modifiers::NONE, false)).to_vec());
        let next = Verb::NextIteration;
        assert_eq!(verbs, [Verb::FirstIteration, next, next, next, Verb::Branch]);
        let save = |modifiers| press(Key::S, modifiers, false);
        let release =
            Event::Key { key: Key::S, physical_key: None, pressed: false, repeat: false, modifiers: Modifiers::NONE };
        let both = [save(Modifiers::COMMAND), release, save(Modifiers::COMMAND.plus(Modifiers::SHIFT))];
        let verbs = verbs_of(both.to_vec());
        assert_eq!(verbs, [Verb::Save, Verb::SaveAs]);
    }

    #[test]
    fn what_is_typed_into_a_number_in_one_slow_frame_is_no_shortcut() {
        let (ctx, mut keyboard) = (egui::Context::default(), Keyboard::default());
        let (mut value, mut at) = (15.0, egui::Pos2::ZERO);
        let mut frame = |events: Vec<Event>| {
            let (mut verbs, mut events) = (Vec::new(), events);
            keyboard.split(&ctx, &mut events);
            let input = egui::RawInput { events, ..Default::default() };
            drop(ctx.run_ui(input, |ui| {
                verbs.extend(keyboard.pressed(ui.ctx()));
                at = ui.add(egui::DragValue::new(&mut value).update_while_editing(false)).rect.center();
                keyboard.end(ui.ctx());
            }));
            (verbs, value, at)
        };
        let (.., pos) = frame(Vec::new());
        let button = |pressed| Event::PointerButton {
            pos,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        let release =
            |key| Event::Key { key, physical_key: None, pressed: false, repeat: false, modifiers: Modifiers::NONE };
        let typed =
            |key, text: &str| vec![press(key, Modifiers::NONE, false), Event::Text(text.to_owned()), release(key)];
        let click = [Event::PointerMoved(pos), button(true), button(false)];
        let keys = [typed(Key::Num2, "2"), typed(Key::Num4, "4")].concat();
        let enter = press(Key::Enter, Modifiers::NONE, false);
        let all = [click.to_vec(), keys.clone(), vec![enter, press(Key::Num1, Modifiers::NONE, false)]].concat();
        assert_eq!(frame(all).0, []);
        (0..2).for_each(|_| assert_eq!(frame(Vec::new()).0, [], "it is drawn while it is typed into"));
        let (verbs, now, _) = frame(Vec::new());
        assert_eq!((verbs, now), (Vec::new(), 24.0));
        // A click elsewhere comes after what was typed before it.
        let elsewhere = egui::pos2(900.0, 900.0);
        let away = [true, false].map(|pressed| Event::PointerButton {
            pos: elsewhere,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        });
        let typed_over = [typed(Key::Num3, "3"), vec![Event::PointerMoved(elsewhere)], away.to_vec()].concat();
        assert_eq!(frame([click.to_vec(), typed_over].concat()).0, []);
        (0..6).for_each(|_| assert_eq!(frame(Vec::new()).0, []));
        assert_eq!(frame(Vec::new()).1, 3.0);
        // Escape gives it up, and does nothing else.
        frame(click.to_vec());
        frame(Vec::new());
        assert_eq!(frame([keys.clone(), vec![press(Key::Escape, Modifiers::NONE, false)]].concat()).0, []);
        frame(Vec::new());
        assert_eq!(frame(keys), (vec![Verb::Wipe, Verb::Difference], 3.0, pos), "now they are shortcuts again");
    }

    #[test]
    fn a_stroke_is_seen_part_by_part_and_a_question_mark_without_its_shift() {
        let (ctx, mut keyboard) = (egui::Context::default(), Keyboard::default());
        let (here, there) = (egui::pos2(1.0, 1.0), egui::pos2(9.0, 9.0));
        let button = |pressed| Event::PointerButton {
            pos: here,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        // A stroke in one slow frame: where it begins, its way, and its end are seen one behind the other.
        let parts =
            [vec![Event::PointerMoved(here), button(true)], vec![Event::PointerMoved(there)], vec![button(false)]];
        let mut events = parts.concat();
        for part in parts {
            keyboard.split(&ctx, &mut events);
            assert_eq!(std::mem::take(&mut events), part);
        }
        keyboard.split(&ctx, &mut events);
        assert_eq!(events, []);
        let slash = |modifiers| verbs_of(vec![press(Key::Slash, modifiers, false)]);
        assert_eq!([slash(Modifiers::NONE), slash(Modifiers::SHIFT)], [[Verb::Help], [Verb::Help]]);
    }

    #[test]
    fn a_held_key_moves_on_and_runs_once() {
        let held = |key| (0..3).map(move |count| press(key, Modifiers::NONE, count > 0));
        let verbs = verbs_of(held(Key::ArrowRight).chain(held(Key::Space)).collect());
        let next = Verb::NextIteration;
        assert_eq!(verbs, [next, next, next, Verb::RunOrPause]);
    }
}
