//! The controls of the canvas: how large a picture is drawn, how smoothly, and the scale of a difference.

use egui::{Button, Rect, Ui, UiBuilder, vec2};

use super::super::{setting_row, top_bar};
use super::Canvas;
use crate::parameter::{Held, Kind, Parameter, Setting};
use crate::session::{Action, Session, Verb};

/// Factor on a difference: at 255 one 8-bit level is the whole scale.
pub(super) const GAIN: Parameter = Parameter {
    flag: "gain",
    label: "Gain",
    symbol: "g",
    unit: "×",
    min: 0.25,
    max: 255.0,
    slider: (1.0, 64.0),
    default: 4.0,
    integer: false,
    about: "Scale of the difference: a change of 1/g is full colour; display only",
    source: "Lapidary",
};
/// Size of its label and field, in points.
const GAIN_SIZE: egui::Vec2 = vec2(104.0, 22.0);
const GAIN_ROW: Setting<f64> = Setting::new(Kind::Number(&GAIN), <f64 as Held>::value, <f64 as Held>::take);

impl Canvas {
    /// Draws the controls, for the line above the canvas.
    pub fn controls_ui(&mut self, ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
        top_bar::verb_button(ui, session, Verb::FitView, "Fit", actions);
        top_bar::verb_button(ui, session, Verb::ActualSize, "1:1", actions);
        let zoom = self.zoom * ui.pixels_per_point();
        let text = if zoom >= 9.95 { format!("×{zoom:.0}") } else { format!("×{zoom:.1}") };
        ui.add_sized([34.0, 18.0], egui::Label::new(text)).on_hover_text("Screen pixels per picture pixel");
        let smooth = Button::selectable(self.smooth, Verb::Smooth.label());
        top_bar::verb_ui(ui, session, (Verb::Smooth, smooth), actions);
    }

    /// Draws the scale of a difference, at the left of the strip `below` where its legend is: the line above the canvas is
    /// the same for every way to compare.
    pub(super) fn gain_ui(&mut self, ui: &mut Ui, below: Rect) {
        let place = Rect::from_min_size(below.left_top() + vec2(8.0, 2.0), GAIN_SIZE);
        let layout = egui::Layout::left_to_right(egui::Align::Center);
        ui.scope_builder(UiBuilder::new().max_rect(place).layout(layout), |ui| {
            ui.label("Gain").on_hover_text(GAIN.about);
            let mut gain = f64::from(self.gain);
            setting_row::field_ui(ui, &GAIN_ROW, &mut gain);
            self.gain = gain as f32;
        });
    }
}
