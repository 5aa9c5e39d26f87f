//! Left, between generating and refining: what the generator makes of the pictures that are there.

use egui::{RichText, Ui};

use super::canvas::{BRUSH_RADIUS, MaskBrush, inverted};
use super::setting_row::{field_ui, setting_ui};
use super::top_bar::verb_button;
use super::ts_field::TsField;
use super::{theme, widgets};
use crate::generator::EditSettings;
use crate::generator::interpolation::frame_class_in_words;
use crate::parameter::{Held, Kind, Setting};
use crate::session::{Action, Session, Verb};

const BRUSH_ROW: Setting<f64> = Setting::new(Kind::Number(&BRUSH_RADIUS), <f64 as Held>::value, <f64 as Held>::take);

/// Height of what is said of the button, in points: two lines.
const HINT_HEIGHT: f32 = 28.0;
/// Likewise, of frames, whose class is said: three lines.
const FRAMES_HEIGHT: f32 = 42.0;

/// Draws the section; edits go into `settings`, what is painted into `actions`.
pub fn edit_panel_ui(
    ui: &mut Ui,
    session: &Session,
    settings: &mut EditSettings,
    (ts, brush): (&mut TsField, &mut MaskBrush),
    actions: &mut Vec<Action>,
) {
    widgets::section(ui, "Edit", |ui| {
        let (task, others) = EditSettings::TABLE.split_at(1);
        widgets::grid("edit task").show(ui, |ui| task.iter().for_each(|row| setting_ui(ui, row, settings)));
        // Above all that comes and goes with the task and with the mask: it stays where it is.
        let label = if settings.task.needs_reference() { Verb::Edit.label() } else { "Make frames" };
        verb_button(ui, session, Verb::Edit, label, actions);
        ui.scope(|ui| {
            ui.set_min_height(if settings.task.needs_reference() { HINT_HEIGHT } else { FRAMES_HEIGHT });
            ui.add(egui::Label::new(RichText::new(hint(session, settings)).weak().small()).wrap());
        });
        widgets::grid("edit").show(ui, |ui| {
            for row in others {
                match row.kind {
                    Kind::Text(_) if settings.task.visits_grid() => {
                        ts.ui(ui, &mut settings.ts);
                        ui.end_row();
                    }
                    _ => setting_ui(ui, row, settings),
                }
            }
        });
        if settings.task.needs_mask() {
            mask_ui(ui, session, brush, actions);
        }
    });
}

/// Painting the pixels that are to be generated.
fn mask_ui(ui: &mut Ui, session: &Session, brush: &mut MaskBrush, actions: &mut Vec<Action>) {
    let Some(origins) = session.origins() else { return };
    let [_, _, height, width] = origins.images.shape();
    ui.horizontal(|ui| {
        let about = "Drag on the picture to mark pixels that are to be generated; the secondary button erases.\nPan with the middle button or with space held.";
        widgets::tip(ui.checkbox(&mut brush.is_on, "Paint mask"), about);
        if brush.is_on {
            widgets::tip(ui.checkbox(&mut brush.erases, "Erase"), "The primary button takes pixels out of the mask");
        }
    });
    ui.horizontal(|ui| {
        let clear = ui.add_enabled(session.mask().is_some(), egui::Button::new("Clear"));
        if widgets::tip(clear, "Nothing is to be generated").clicked() {
            actions.push(Action::SetMask(None));
        }
        if widgets::tip(ui.button("Invert"), "Exchange what is generated and what is kept").clicked() {
            let size = [width as u32, height as u32];
            actions.push(Action::SetMask(Some(inverted(session.mask(), size))));
        }
        let text = session.mask().map(|mask| {
            let share = mask.count() as f32 / mask.missing().len().max(1) as f32;
            RichText::new(format!("{} masked", widgets::percent(share)))
        });
        let text = text.unwrap_or_else(|| RichText::new("nothing masked").color(theme::tokens(ui).warning));
        widgets::tip(ui.label(text.small()), "Share of the pixels that are to be generated");
    });
    if brush.is_on {
        if session.selected().is_none() {
            ui.label(RichText::new("Open a pair to paint on it").weak().small());
        }
        ui.horizontal(|ui| {
            widgets::tip(ui.label("Brush"), BRUSH_RADIUS.about);
            let mut radius = f64::from(brush.radius);
            field_ui(ui, &BRUSH_ROW, &mut radius);
            brush.radius = radius as f32;
        });
    }
}

/// What the button will act on. From one picture as many are made as there are samples, from several one each.
fn hint(session: &Session, settings: &EditSettings) -> String {
    let (generate, task) = (&session.settings().generate, settings.task);
    let samples = generate.samples;
    if !task.needs_reference() {
        let ends = (settings.seed_from, settings.seed_to);
        let class = frame_class_in_words(generate, ends, session.generator_classes());
        let class = class.map(|class| format!(": {class}; list another under Classes"));
        return format!("Makes {samples} frames{}", class.as_deref().unwrap_or("; needs no picture"));
    }
    let Some(origins) = session.origins() else { return "Open a picture first".to_owned() };
    if task.needs_mask() && session.mask().is_none() {
        return "Mark the pixels to be generated first: tick \"Paint mask\", or press Invert for all of them"
            .to_owned();
    }
    // A second edit starts from where the first did.
    match (&origins.edited, session.selected()) {
        (Some(_), Some(_)) => format!("Makes {samples} from what the picture on the canvas was edited from"),
        (Some(_), None) => "Starts from what these pictures were edited from".to_owned(),
        (None, Some(_)) => format!("Makes {samples} from the picture on the canvas"),
        (None, None) => match origins.labels.len() {
            1 => format!("Makes {samples} from the one picture"),
            n => format!("Makes one from each of all {n} pictures"),
        },
    }
}
