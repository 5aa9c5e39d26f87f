//! The house widgets: controls made from a parameter's one description, and rows of numbers.

use eframe::egui::{self, Response, RichText, Role, Ui, WidgetInfo};

use super::theme;
use crate::parameter::{Choosable, Parameter};

/// A labelled slider with a typed value; returns whether the value changed.
pub fn slider(ui: &mut Ui, parameter: &Parameter, value: &mut f64) -> Response {
    ui.label(parameter.label).on_hover_text(parameter.tooltip());
    let (low, high) = parameter.slider;
    let mut slider = egui::Slider::new(value, low..=high)
        .clamping(egui::SliderClamping::Never)
        .update_while_editing(false)
        .max_decimals(4);
    if parameter.integer {
        slider = slider.integer();
    } else {
        slider = slider.logarithmic(true).smallest_positive(parameter.min);
    }
    let response = ui.add(slider).on_hover_text(parameter.tooltip());
    name(&response, Role::Slider, parameter.label);
    if response.changed() {
        *value = value.clamp(parameter.min, parameter.max);
    }
    response
}

/// A labelled number without a slider.
pub fn number(ui: &mut Ui, parameter: &Parameter, value: &mut f64) -> Response {
    ui.label(parameter.label).on_hover_text(parameter.tooltip());
    let response = ui
        .add(
            egui::DragValue::new(value)
                .range(parameter.min..=parameter.max)
                .max_decimals(if parameter.integer { 0 } else { 6 })
                .update_while_editing(false),
        )
        .on_hover_text(parameter.tooltip());
    name(&response, Role::SpinButton, parameter.label);
    if parameter.integer {
        *value = value.round();
    }
    response
}

/// A labelled list of the values of a choice.
pub fn choice<C: Choosable + std::fmt::Debug>(ui: &mut Ui, value: &mut C) {
    ui.label(C::CHOICE.label).on_hover_text(C::CHOICE.about);
    let combo = egui::ComboBox::from_id_salt(C::CHOICE.flag).selected_text(value.option().label).show_ui(ui, |ui| {
        for option in C::ALL {
            let about = option.option();
            ui.selectable_value(value, *option, about.label).on_hover_text(about.about);
        }
    });
    let response = combo.response.on_hover_text(format!("{}\n{}", C::CHOICE.about, value.option().about));
    name(&response, Role::ComboBox, C::CHOICE.label);
}

/// A row of buttons, one for every value of a choice.
pub fn segments<C: Choosable>(ui: &mut Ui, value: &mut C) {
    ui.label(C::CHOICE.label).on_hover_text(C::CHOICE.about);
    ui.horizontal(|ui| {
        for option in C::ALL {
            let about = option.option();
            ui.selectable_value(value, *option, about.label).on_hover_text(about.about);
        }
    });
}

/// Gives a widget its accessible name, which tests find it by.
pub fn name(response: &Response, kind: Role, label: &str) {
    response.widget_info(|| WidgetInfo::labeled(kind, true, label));
}

/// A title above a group of controls.
pub fn heading(ui: &mut Ui, text: &str) {
    ui.add_space(theme::GAP);
    ui.label(RichText::new(text).strong().size(14.0));
    ui.add_space(1.0);
}

/// A row: name on the left, value on the right.
pub fn row(ui: &mut Ui, label: &str, value: impl Into<egui::WidgetText>, tooltip: &str) {
    ui.horizontal(|ui| {
        ui.label(RichText::new(label).weak()).on_hover_text(tooltip);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.label(value).on_hover_text(tooltip);
        });
    });
}

/// A number with as many digits as a reader wants: four significant ones.
#[must_use]
pub fn digits(value: f32) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "not a number".to_owned()
    } else if size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 10.0 {
        format!("{value:.2}")
    } else if size >= 0.001 || value == 0.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    }
}

/// A share of one as a percentage.
#[must_use]
pub fn percent(value: f32) -> String {
    format!("{:.1} %", value * 100.0)
}

/// Seconds in words.
#[must_use]
pub fn duration(secs: f64) -> String {
    match secs {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Bytes in words.
#[must_use]
pub fn bytes(count: usize) -> String {
    let mebi = count as f64 / f64::from(1 << 20);
    if mebi >= 1024.0 { format!("{:.2} GiB", mebi / 1024.0) } else { format!("{mebi:.0} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_honest() {
        assert_eq!([0.0, 0.1234, 12.34, 123.4, 4321.0].map(digits), ["0.000", "0.123", "12.34", "123.4", "4321"]);
        assert_eq!(digits(f32::NAN), "not a number");
        assert_eq!(digits(1.5e-7), "1.5e-7");
        assert_eq!([3.21, 45.0, 600.0, 9000.0].map(duration), ["3.2 s", "45 s", "10 min", "2.5 h"]);
    }
}
