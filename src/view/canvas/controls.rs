//! The controls of the canvas: how large a picture is drawn, how smoothly, and the scale of a difference.

use egui::{Button, Ui};

use super::super::{setting_row, top_bar};
use super::Canvas;
use crate::parameter::{Held, Kind, Parameter, Setting};
use crate::session::{Action, Compare, Session, Verb};

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
/// Width of its label and field, in points: they stay together.
const GAIN_WIDTH: f32 = 110.0;
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
        if session.compare() == Compare::Difference {
            if ui.available_size_before_wrap().x < GAIN_WIDTH {
                ui.end_row();
            }
            ui.label("Gain").on_hover_text(GAIN.about);
            let mut gain = f64::from(self.gain);
            setting_row::field_ui(ui, &GAIN_ROW, &mut gain);
            self.gain = gain as f32;
        }
    }
}
