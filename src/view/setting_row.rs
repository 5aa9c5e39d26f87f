//! One setting as a row of a grid: what is drawn follows from the setting's one description.

use std::cell::RefCell;

use egui::{Role, Ui};

use super::widgets;
use crate::parameter::{ChoiceOption, Kind, Look, Parameter, Setting, Value};

/// Points of the screen over which dragging a number crosses its slider's range.
const DRAG_POINTS: f64 = 200.0;
/// Whole numbers up to this are dragged one by one, larger ones faster.
const WHOLE_STEPS: f64 = 10_000.0;
/// Units of at most so many letters stand behind their number.
const UNIT_LENGTH: usize = 3;
/// Smallest and largest width of sliders, in points.
const SLIDER_WIDTH: (f32, f32) = (60.0, 118.0);
/// Width of the typed value beside a slider, with the space before it, in points; more letters need more.
const VALUE_WIDTH: f32 = 58.0;
/// Grey levels of a picture in a file.
const LEVELS: f64 = 255.0;
/// Seconds that are enough to read why a text was refused.
pub const REFUSAL_SECS: f64 = 10.0;
/// Width of a digit, in points.
const LETTER_WIDTH: f32 = 7.5;

/// A row of a grid for one setting: its label, and the widget that its kind asks for. Nothing while it is hidden, and
/// nothing for settings that are drawn by hand.
pub fn setting_ui<S: Clone + Default>(ui: &mut Ui, row: &Setting<S>, settings: &mut S) {
    let idle = row.idle(settings);
    if matches!(row.kind, Kind::Text(_)) || idle.as_ref().is_some_and(|idle| idle.is_hidden) {
        return;
    }
    let (enabled, tooltip) = (idle.is_none(), row.tooltip(settings));
    match (&row.kind, row.value(settings)) {
        (Kind::Switch(switch), Value::Switch(mut on)) => {
            ui.label("");
            let response = ui.add_enabled(enabled, egui::Checkbox::new(&mut on, switch.label));
            if widgets::tip(response, &tooltip).changed() {
                row.put(settings, Value::Switch(on));
            }
        }
        (Kind::Choice(choice, options), Value::Choice(key)) => {
            let mut chosen = key;
            label_if(ui, enabled, choice.label, choice.about);
            if row.look == Look::Buttons {
                ui.horizontal(|ui| {
                    if !enabled {
                        ui.disable();
                    }
                    options_ui(ui, &options(), &mut chosen);
                });
            } else {
                let text = row.words(settings, &Value::Choice(key));
                let list = |ui: &mut Ui| options_ui(ui, &options(), &mut chosen);
                let combo = widgets::combo_box(ui, choice.flag).selected_text(text).show_ui(ui, list);
                widgets::name(&widgets::tip(combo.response, tooltip), Role::ComboBox, choice.label);
            }
            if chosen != key {
                row.put(settings, Value::Choice(chosen));
            }
        }
        _ => {
            label_if(ui, enabled, row.label(), &tooltip);
            number_ui(ui, row, settings, (enabled, &tooltip));
        }
    }
    ui.end_row();
}

fn options_ui(ui: &mut Ui, options: &[ChoiceOption], chosen: &mut &'static str) {
    for option in options {
        widgets::tip(ui.selectable_value(chosen, option.key, option.label), option.about);
    }
}

/// The widgets of a number: a slider or a field, whether there is a number at all, and why what was typed is none.
fn number_ui<S: Clone + Default>(ui: &mut Ui, row: &Setting<S>, settings: &mut S, (enabled, tooltip): (bool, &str)) {
    let Some(parameter) = row.parameter(settings) else { return };
    let line = ui.horizontal(|ui| {
        let mut is_open = row.value(settings) == Value::Open;
        if let Value::Number(value) = row.value(settings) {
            value_ui(ui, row, settings, (&parameter, value), (enabled, tooltip));
        }
        if let Some(open) = row.open
            && widgets::tip(ui.checkbox(&mut is_open, open.label), open.about).changed()
        {
            row.put(settings, if is_open { Value::Open } else { Value::Number(parameter.default) });
        }
    });
    let id = refusal_of(row.label());
    let refusal = ui.data(|data| data.get_temp::<Refusal>(id));
    let now = ui.input(|input| input.time);
    // A value that came from elsewhere since, by undo or a preset, was not refused.
    let still = |refusal: &Refusal| refusal.beside == row.value(settings) && now < refusal.until;
    if let Some(Refusal { text, until, .. }) = refusal.filter(still) {
        widgets::refusal_ui(ui, id, line.response.rect, &text);
        ui.ctx().request_repaint_after_secs((until - now) as f32);
    }
}

/// A number that is no setting of a table, as a field without a label.
pub fn field_ui<S: Clone + Default>(ui: &mut Ui, row: &Setting<S>, value: &mut S) {
    number_ui(ui, row, value, (true, &row.tooltip(value)));
}

/// Why the text of a number was refused, beside which value, and until when that is shown.
#[derive(Clone)]
struct Refusal {
    text: String,
    beside: Value,
    until: f64,
}

/// Nothing was refused in what is shown from now on, another session or the settings as they were.
pub fn forget_refusals(ctx: &egui::Context) {
    ctx.data_mut(egui::util::IdTypeMap::remove_by_type::<Refusal>);
}

/// Where a refusal is remembered; a number that is set, or entered anew, forgets it.
fn refusal_of(label: &'static str) -> egui::Id {
    egui::Id::unique(("refused number", label))
}

fn value_ui<S: Clone + Default>(
    ui: &mut Ui,
    row: &Setting<S>,
    settings: &mut S,
    (parameter, before): (&Parameter, f64),
    (enabled, tooltip): (bool, &str),
) {
    let mut value = before;
    let typed = RefCell::new(None);
    let words = |value: f64, _: std::ops::RangeInclusive<usize>| row.words(settings, &Value::Number(value));
    // What is typed is read below, as it is for flags but for the unit, which is chosen beside it.
    let read = |text: &str| {
        typed.replace(Some(text.trim().to_owned()));
        Some(before)
    };
    let (low, high) = parameter.slider;
    let (response, role) = if row.look == Look::Slider {
        // Beside a long label, a shorter slider: the panel does not grow.
        let letters = row.words(settings, &Value::Number(before)).chars().count();
        let value_width = VALUE_WIDTH.max(letters as f32 * LETTER_WIDTH + 24.0);
        ui.spacing_mut().slider_width = (ui.available_width() - value_width).clamp(SLIDER_WIDTH.0, SLIDER_WIDTH.1);
        let mut slider = egui::Slider::new(&mut value, low..=high);
        if in_levels(parameter) {
            // By keys too, or a step that is smaller than a level would lead nowhere.
            slider = slider.step_by(1.0 / LEVELS);
        }
        let slider = slider
            .clamping(egui::SliderClamping::Never)
            .update_while_editing(false)
            .logarithmic(true)
            .smallest_positive(parameter.min)
            .max_decimals(4)
            .custom_formatter(words)
            .custom_parser(read);
        (ui.add_enabled(enabled, slider), Role::Slider)
    } else {
        let speed = if parameter.integer { (high / WHOLE_STEPS).max(1.0) } else { (high - low) / DRAG_POINTS };
        let unit = Some(parameter.unit).filter(|unit| unit.len() <= UNIT_LENGTH);
        let drag = egui::DragValue::new(&mut value)
            .range(parameter.min..=parameter.max)
            .clamp_existing_to_range(false)
            .speed(speed)
            .max_decimals(if parameter.integer { 0 } else { 6 })
            .update_while_editing(false)
            .suffix(unit.map_or_else(String::new, |unit| format!(" {unit}")))
            .custom_formatter(words)
            .custom_parser(read);
        (ui.add_enabled(enabled, drag), Role::SpinButton)
    };
    let id = refusal_of(row.label());
    if response.gained_focus() {
        ui.data_mut(|data| data.remove::<Refusal>(id));
    }
    widgets::name(&widgets::tip(response, tooltip), role, parameter.label);
    match typed.into_inner() {
        // Text that was not edited changes nothing, however it was rounded.
        Some(text) if text == row.words(settings, &Value::Number(before)) => {}
        Some(text) => match row.type_into_field(settings, &text) {
            Ok(()) => ui.data_mut(|data| data.remove::<Refusal>(id)),
            Err(error) => {
                let (text, beside) = (error.to_string(), row.value(settings));
                let until = ui.input(|input| input.time) + REFUSAL_SECS;
                ui.data_mut(|data| data.insert_temp(id, Refusal { text, beside, until }));
            }
        },
        None if value != before => {
            let value = match parameter {
                Parameter { integer: true, .. } => value.round(),
                // What is dragged is what is shown: a whole number of levels.
                _ if in_levels(parameter) => (value * LEVELS).round() / LEVELS,
                _ => value,
            };
            row.put(settings, Value::Number(value.clamp(parameter.min, parameter.max)));
            (row.moved)(settings);
            ui.data_mut(|data| data.remove::<Refusal>(id));
        }
        None => {}
    }
}

/// Whether a number is dragged in whole grey levels: where its slider begins and ends with one.
fn in_levels(parameter: &Parameter) -> bool {
    let (low, high) = parameter.slider;
    let is_level = |end: f64| (end * LEVELS).fract() == 0.0;
    high < 1.0 && is_level(low) && is_level(high)
}

fn label_if(ui: &mut Ui, enabled: bool, text: &str, tooltip: &str) {
    widgets::tip(ui.add_enabled(enabled, egui::Label::new(text)), tooltip);
}

#[cfg(test)]
mod tests {
    use egui::{Key, Modifiers};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable as _;

    use super::*;
    use crate::generator::{EditSettings, EditTask, GenerateSettings};
    use crate::parameter::Choosable as _;
    use crate::refiner::{Norm, RefineSettings, Rule, StepUnit, Target};
    use crate::worker::ComputeSettings;

    fn draw<S>(harness: &mut Harness<'static, S>) {
        (0..3).for_each(|_| harness.step());
    }

    fn harness<S: Clone + Default>(table: &'static [Setting<S>], settings: S) -> Harness<'static, S> {
        let mut harness = Harness::builder().with_size(egui::vec2(500.0, 900.0)).build_ui_state(
            move |ui, settings: &mut S| {
                widgets::grid("all").show(ui, |ui| {
                    for row in table {
                        setting_ui(ui, row, settings);
                    }
                });
            },
            settings,
        );
        draw(&mut harness);
        harness
    }

    /// How many of the rows have a control, found by the label that the table gives it.
    fn controls<S: Clone + Default>(table: &'static [Setting<S>], settings: &S) -> Vec<&'static str> {
        let harness = harness(table, settings.clone());
        let mut found = Vec::new();
        for row in table.iter().filter(|row| !matches!(row.kind, Kind::Text(_))) {
            let is_there = match (&row.kind, row.value(settings), row.look) {
                (Kind::Number(_), Value::Open, _) => {
                    let label = row.open.unwrap().label;
                    harness.query_by_role_and_label(Role::CheckBox, label).is_some()
                }
                (Kind::Number(_), _, Look::Slider) => {
                    harness.query_all_by_role_and_label(Role::Slider, row.label()).next().is_some()
                }
                (Kind::Number(_), ..) => harness.query_by_role_and_label(Role::SpinButton, row.label()).is_some(),
                (Kind::Switch(_), ..) => harness.query_by_role_and_label(Role::CheckBox, row.label()).is_some(),
                (Kind::Choice(_, options), _, Look::Buttons) => {
                    let there = |label| harness.query_by_role_and_label(Role::Button, label).is_some();
                    options().iter().all(|option| there(option.label))
                }
                (Kind::Choice(..), ..) => harness.query_by_role_and_label(Role::ComboBox, row.label()).is_some(),
                (Kind::Text(_), ..) => false,
            };
            let is_hidden = row.idle(settings).is_some_and(|idle| idle.is_hidden);
            assert_eq!(is_there, !is_hidden, "{} is drawn unless it is hidden", row.label());
            found.extend(is_there.then_some(row.label()));
        }
        found
    }

    #[test]
    fn every_setting_has_a_widget_with_its_label() {
        let mut found = controls(GenerateSettings::TABLE, &GenerateSettings::default());
        found.extend(controls(ComputeSettings::TABLE, &ComputeSettings::default()));
        for task in EditTask::ALL {
            found.extend(controls(EditSettings::TABLE, &EditSettings { task: *task, ..Default::default() }));
        }
        for rule in [Rule::Pgd, Rule::Sgld] {
            let settings = RefineSettings { rule, target: Target::PseudoLabel, ..Default::default() };
            found.extend(controls(RefineSettings::TABLE, &settings));
        }
        let labels = (GenerateSettings::TABLE.iter().map(|row| (row.label(), row.kind)))
            .chain(EditSettings::TABLE.iter().map(|row| (row.label(), row.kind)))
            .chain(RefineSettings::TABLE.iter().map(|row| (row.label(), row.kind)))
            .chain(ComputeSettings::TABLE.iter().map(|row| (row.label(), row.kind)));
        for (label, _) in labels.filter(|(_, kind)| !matches!(kind, Kind::Text(_))) {
            assert!(found.contains(&label), "{label} has no widget");
        }
    }

    /// Opens the number with the keyboard, types unless there is nothing to type, and leaves it.
    fn type_into<S: Clone + Default>(harness: &mut Harness<'static, S>, role: Role, label: &str, text: Option<&str>) {
        // The second of a slider's two parts is its number.
        harness.get_all_by_role_and_label(role, label).last().expect("a number").focus();
        draw(harness);
        if let Some(text) = text {
            harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
            draw(harness);
            harness.event(egui::Event::Text(text.to_owned()));
            draw(harness);
        }
        harness.key_press(Key::Enter);
        draw(harness);
    }

    #[test]
    fn numbers_are_typed_as_in_flags_and_refused_in_one_sentence() {
        let start = RefineSettings { rule: Rule::Sgld, noise: 8.0 / 255.0 / 7.0, ..Default::default() };
        let mut harness = harness(RefineSettings::TABLE, start.clone());
        type_into(&mut harness, Role::SpinButton, "Langevin noise", None);
        assert_eq!(*harness.state(), start, "opened and left: not even rounded");
        type_into(&mut harness, Role::SpinButton, "Langevin noise", Some("8/255"));
        assert_eq!(harness.state().noise, 8.0 / 255.0);
        for bad in ["1/0", "wide", "-1", "10%", "0.1x"] {
            type_into(&mut harness, Role::SpinButton, "Langevin noise", Some(bad));
            assert_eq!(harness.state().noise, 8.0 / 255.0, "{bad} changes nothing");
            harness.get_by_label_contains("but must be a number from 0 to 10");
        }
        harness.state_mut().noise = 0.25;
        draw(&mut harness);
        assert!(harness.query_by_label_contains("but must be").is_none(), "it was not this value that was refused");
        type_into(&mut harness, Role::SpinButton, "Iterations", Some("0"));
        harness.get_by_label_contains("but must be");
        // A step is a quarter of a second.
        (0..=4 * REFUSAL_SECS as usize).for_each(|_| harness.step());
        assert!(harness.query_by_label_contains("but must be").is_none(), "it was read long ago");
        type_into(&mut harness, Role::SpinButton, "Langevin noise", Some("wide"));
        harness.get_by_label_contains("but must be");
        harness.get_all_by_role_and_label(Role::SpinButton, "Langevin noise").last().expect("a number").focus();
        draw(&mut harness);
        assert!(harness.query_by_label_contains("but must be").is_none(), "it is typed anew");
        harness.key_press(Key::Enter);
        draw(&mut harness);
        type_into(&mut harness, Role::SpinButton, "Langevin noise", Some("wide"));
        forget_refusals(&harness.ctx);
        draw(&mut harness);
        assert!(harness.query_by_label_contains("but must be").is_none(), "this is another session");
        type_into(&mut harness, Role::SpinButton, "Langevin noise", Some("0.1 + 1/5"));
        assert!(harness.query_by_label_contains("but must be").is_none(), "what is right takes the sentence away");
        assert_eq!(harness.state().noise, 0.1 + 1.0 / 5.0);
        type_into(&mut harness, Role::SpinButton, "Iterations", Some("2*8"));
        assert_eq!(harness.state().iterations.map(std::num::NonZeroU32::get), Some(16));
    }

    #[test]
    fn a_radius_in_grey_levels_is_dragged_by_whole_ones() {
        let start = RefineSettings { norm: Norm::Linf, eps: 8.0 / 255.0, ..Default::default() };
        let mut harness = harness(RefineSettings::TABLE, start);
        let slider = |harness: &Harness<'static, RefineSettings>, value: f64| {
            harness
                .get_all_by_role_and_label(Role::Slider, "Radius")
                .next()
                .expect("a slider")
                .set_value_accesskit(value);
        };
        for (moved, shown) in [(0.0200, "5/255"), (0.0479, "12/255"), (0.0042, "1/255")] {
            slider(&harness, moved);
            draw(&mut harness);
            let eps = harness.state().eps;
            assert_eq!(
                RefineSettings::TABLE
                    .iter()
                    .find(|row| row.label() == "Radius")
                    .unwrap()
                    .words(harness.state(), &Value::Number(eps)),
                shown
            );
        }
        harness.get_all_by_role_and_label(Role::Slider, "Radius").next().expect("a slider").focus();
        draw(&mut harness);
        harness.key_press(Key::ArrowRight);
        draw(&mut harness);
        assert_eq!(harness.state().eps, 2.0 / 255.0);
    }

    #[test]
    fn a_slider_keeps_what_it_does_not_show_and_takes_shares() {
        let start = RefineSettings { norm: Norm::Linf, eps: 0.1 / 3.0, step_size: 0.01, ..Default::default() };
        let mut harness = harness(RefineSettings::TABLE, start.clone());
        type_into(&mut harness, Role::SpinButton, "Radius", None);
        assert_eq!(*harness.state(), start);
        type_into(&mut harness, Role::SpinButton, "Radius", Some("8/255"));
        assert_eq!(harness.state().eps, 8.0 / 255.0);
        type_into(&mut harness, Role::SpinButton, "Step size", Some("0.1x"));
        assert_eq!((harness.state().step_size, harness.state().step_unit), (0.1, StepUnit::Ratio));
        harness.get_by_role_and_label(Role::Button, StepUnit::Absolute.option().label).click();
        draw(&mut harness);
        type_into(&mut harness, Role::SpinButton, "Step size", Some("2/255"));
        assert_eq!((harness.state().step_size, harness.state().step_unit), (2.0 / 255.0, StepUnit::Absolute));
    }

    #[test]
    fn a_number_without_a_unit_is_in_the_unit_that_is_chosen_and_the_tip_says_so() {
        let start = RefineSettings { step_unit: StepUnit::Ratio, step_size: 0.2, ..Default::default() };
        let mut harness = harness(RefineSettings::TABLE, start);
        let step = |harness: &Harness<'static, RefineSettings>| (harness.state().step_size, harness.state().step_unit);
        type_into(&mut harness, Role::SpinButton, "Step size", Some("0.1"));
        assert_eq!(step(&harness), (0.1, StepUnit::Ratio));
        type_into(&mut harness, Role::SpinButton, "Step size", Some("1/4"));
        assert_eq!(step(&harness), (0.25, StepUnit::Ratio));
        harness.get_by_role_and_label(Role::Button, StepUnit::Absolute.option().label).click();
        draw(&mut harness);
        assert_eq!(step(&harness), (0.75, StepUnit::Absolute), "a quarter of the radius 3");
        type_into(&mut harness, Role::SpinButton, "Step size", Some("0.1"));
        assert_eq!(step(&harness), (0.1, StepUnit::Absolute));
        type_into(&mut harness, Role::SpinButton, "Step size", Some("10%"));
        assert_eq!(step(&harness), (0.1, StepUnit::Ratio), "a unit that is typed is chosen");
        let row = RefineSettings::TABLE.iter().find(|row| row.label() == "Step size").unwrap();
        let tip = row.tooltip(harness.state());
        assert!(tip.contains("without a unit is in the unit that is chosen") && tip.contains("0.1x"), "{tip}");
    }

    #[test]
    fn another_norm_brings_its_own_radius() {
        let mut harness = harness(RefineSettings::TABLE, RefineSettings::default());
        harness.get_by_role_and_label(Role::Button, Norm::Linf.option().label).click();
        draw(&mut harness);
        assert_eq!((harness.state().norm, harness.state().eps), (Norm::Linf, 8.0 / 255.0));
    }
}
