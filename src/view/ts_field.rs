//! A text field for time steps: "0,22,39/40", typed or taken from a list of published ones.

use egui::Ui;

use super::setting_row::REFUSAL_SECS;
use super::{theme, widgets};
use crate::generator::{TS_PRESETS, TimeSteps, TimeStepsError};

/// Width of the text, in points.
const TEXT_WIDTH: f32 = 80.0;
/// What the field is for.
const ABOUT: &str = "Noise levels as rising indices into a grid, as OpenAI's scripts write them: 0,22,39/40 are three of 40.\nEmpty: the steps decide.";

/// Time steps while they are typed: text that makes no sense changes nothing.
#[derive(Debug, Clone, Default)]
pub struct TsField {
    text: String,
    /// The steps that the text stands for.
    shown: Option<TimeSteps>,
    error: Option<TimeStepsError>,
    /// When the error was told long enough; the text stays red.
    told: f64,
}

impl TsField {
    /// Draws label and field, two cells of a grid; steps go into `value` when the typing is over.
    pub fn ui(&mut self, ui: &mut Ui, value: &mut Option<TimeSteps>) {
        // Changed elsewhere: by undo, or by a session that was opened.
        if self.shown != *value {
            self.set(value.clone());
        }
        widgets::tip(ui.label("Time steps"), ABOUT);
        ui.horizontal(|ui| {
            let edit = egui::TextEdit::singleline(&mut self.text).hint_text("0,22,39/40").desired_width(TEXT_WIDTH);
            let color = self.error.as_ref().map(|_| theme::tokens(ui).error);
            let response = widgets::text_field(ui, edit.text_color_opt(color)).accessible_name("Time steps");
            let now = ui.input(|input| input.time);
            let parsed = parse(&self.text);
            if response.changed() || response.lost_focus() {
                // Return asks for it to be taken: why it is not is said again.
                self.error = parsed.as_ref().err().cloned();
                self.told = now + REFUSAL_SECS;
            }
            match &self.error {
                Some(error) if now < self.told || response.has_focus() || response.hovered() => {
                    widgets::refusal_ui(ui, response.id.with("refusal"), response.rect, &error.to_string());
                    ui.ctx().request_repaint_after_secs((self.told - now).max(0.1) as f32);
                }
                _ => drop(widgets::tip(response.clone(), ABOUT)),
            }
            // An assistive program sets the text without the focus.
            let is_done = response.lost_focus() || (response.changed() && !response.has_focus());
            if let Some(steps) = parsed.ok().filter(|_| is_done) {
                self.shown.clone_from(&steps);
                *value = steps;
            }
            let menu = ui.menu_button("Papers", |ui| {
                for preset in TS_PRESETS {
                    let text = format!("{}: {}", preset.label, preset.ts);
                    if widgets::tip(ui.button(text), preset.source).clicked() {
                        self.set(Some(preset.time_steps()));
                        value.clone_from(&self.shown);
                        ui.close();
                    }
                }
            });
            widgets::tip(menu.response, "Time steps that were published for a model");
        });
    }

    /// Why the text that stands there is no list of steps, in one sentence.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.error.as_ref().map(ToString::to_string)
    }

    fn set(&mut self, steps: Option<TimeSteps>) {
        self.text = steps.as_ref().map_or_else(String::new, ToString::to_string);
        (self.shown, self.error) = (steps, None);
    }
}

fn parse(text: &str) -> Result<Option<TimeSteps>, TimeStepsError> {
    if text.trim().is_empty() { Ok(None) } else { text.parse().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_means_no_time_steps() {
        assert_eq!(parse("  "), Ok(None));
        assert_eq!(parse("0,22,39/40").unwrap().map(|steps| steps.calls()), Some(2));
        assert!(parse("0,22,39").is_err());
    }

    #[test]
    fn steps_that_were_changed_elsewhere_replace_the_text() {
        let mut field = TsField { text: "0,2".to_owned(), error: parse("0,2").err(), ..TsField::default() };
        let mut value = parse("0,22,39/40").unwrap();
        egui::__run_test_ui(|ui| field.ui(ui, &mut value));
        assert_eq!((field.text.as_str(), field.error), ("0,22,39/40", None));
    }
}
