//! What belongs to the pictures: their names above, the legend of a difference below, and on them only the wipe handle.

use egui::{Align2, Color32, Painter, Pos2, Rect, Response, Stroke, TextStyle, Ui, Vec2, pos2, vec2};

use super::super::theme;
use crate::image::colour::{legend, signed_number};
use crate::image::quantise;
use crate::session::Compare;

/// Radius of the knob on the wipe handle, in points.
const KNOB_RADIUS: f32 = 7.0;
/// Space around words, in points.
const PADDING: Vec2 = vec2(8.0, 3.0);
/// Height of the strip with the names of the pictures, in points.
const LABEL_HEIGHT: f32 = 22.0;
/// Height of the strip with the legend of a difference, in points.
const LEGEND_HEIGHT: f32 = 50.0;
/// Size of the legend's bar, in points.
const LEGEND: Vec2 = vec2(180.0, 10.0);

/// What a canvas is made of: the strip with words above the pictures, the pictures, and below them the legend of a difference.
/// Nothing is written on the pictures.
pub(super) fn strips(whole: Rect, compare: Compare) -> (Rect, Rect, Rect) {
    let legend = if compare == Compare::Difference { LEGEND_HEIGHT } else { 0.0 };
    let (above, rest) = whole.split_top_bottom_at_y((whole.top() + LABEL_HEIGHT).min(whole.bottom()));
    let (pictures, below) = rest.split_top_bottom_at_y((rest.bottom() - legend).max(rest.top()));
    (above, pictures, below)
}

/// What is seen where: the names of the pictures, above them; of a difference also whether there is any.
pub(super) fn labels_ui(
    ui: &Ui,
    above: Rect,
    (compare, blink_after, is_same): (Compare, bool, bool),
    [before, after]: [&str; 2],
) {
    let tokens = theme::tokens(ui);
    let painter = ui.painter_at(above);
    let label = |share: f32, anchor: Align2, text: &str, color: Color32| {
        let x = egui::lerp(above.left() + PADDING.x..=above.right() - PADDING.x, share);
        painter.text(pos2(x, above.center().y), anchor, text, TextStyle::Body.resolve(ui.style()), color);
    };
    let middle = Align2::CENTER_CENTER;
    match compare {
        Compare::Side => {
            label(0.25, middle, before, tokens.before);
            label(0.75, middle, after, tokens.after);
        }
        Compare::Wipe => {
            label(0.0, Align2::LEFT_CENTER, before, tokens.before);
            label(1.0, Align2::RIGHT_CENTER, after, tokens.after);
        }
        Compare::Blink if blink_after => label(0.5, middle, after, tokens.after),
        Compare::Blink => label(0.5, middle, before, tokens.before),
        Compare::Difference if is_same => label(0.5, middle, "No difference: both pictures are the same", tokens.info),
        Compare::Difference => label(0.5, middle, &format!("{after} − {before}"), tokens.info),
    }
}

/// The cut with its knob: a light core in a dark rim, or the reverse, so that it shows on any picture.
pub(super) fn handle_ui(ui: &Ui, rect: Rect, wipe: f32, handle: &Response) {
    let painter = ui.painter_at(rect);
    let visuals = ui.visuals();
    let is_active = handle.hovered() || handle.dragged() || handle.has_focus();
    let core = if is_active { visuals.selection.stroke.color } else { visuals.strong_text_color() };
    let knob = pos2(egui::lerp(rect.left()..=rect.right(), wipe), rect.center().y);
    painter.vline(knob.x, rect.y_range(), Stroke::new(3.0, visuals.extreme_bg_color));
    painter.vline(knob.x, rect.y_range(), Stroke::new(1.0, core));
    painter.circle(knob, KNOB_RADIUS + 1.0, core, Stroke::new(1.0, visuals.extreme_bg_color));
    for side in [-2.0, 2.0] {
        let grip = Stroke::new(1.0, visuals.extreme_bg_color);
        painter.vline(knob.x + side, knob.y - 3.0..=knob.y + 3.0, grip);
    }
}

/// The scale of the difference below it, in picture values and in 8-bit levels; its ends stand for everything beyond them.
pub(super) fn legend_ui(ui: &Ui, below: Rect, gain: f32) {
    let painter = ui.painter_at(below);
    let line = ui.text_style_height(&TextStyle::Small);
    let top = pos2(below.center().x, below.top() + 2.0 * PADDING.y);
    let bar = Align2::CENTER_TOP.anchor_size(top, LEGEND);
    let stops = legend(gain);
    let reach = stops[2].value;
    let x_of = |value: f32| egui::remap(value, -reach..=reach, bar.left()..=bar.right());
    for pair in stops.windows(2) {
        let part = bar.with_min_x(x_of(pair[0].value)).with_max_x(x_of(pair[1].value));
        let ends = [opaque(pair[0].colour), opaque(pair[1].colour)];
        painter.add(egui::Shape::gradient_rect(part, egui::Direction::LeftToRight, ends));
    }
    let places = [(Align2::LEFT_TOP, "≤ "), (Align2::CENTER_TOP, ""), (Align2::RIGHT_TOP, "≥ ")];
    for (stop, (anchor, beyond)) in stops.iter().zip(places) {
        let below = pos2(x_of(stop.value), bar.bottom() + PADDING.y);
        text_ui(ui, &painter, below, anchor, &format!("{beyond}{}", signed_number(stop.value)));
        let levels = if stop.value == 0.0 { "0".to_owned() } else { signed_number(stop.value * 255.0) + "/255" };
        text_ui(ui, &painter, below + vec2(0.0, line), anchor, &levels);
    }
}

fn text_ui(ui: &Ui, painter: &Painter, pos: Pos2, anchor: Align2, text: &str) {
    painter.text(pos, anchor, text, TextStyle::Small.resolve(ui.style()), ui.visuals().strong_text_color());
}

fn opaque(colour: [f32; 3]) -> Color32 {
    let [r, g, b] = colour.map(quantise);
    Color32::from_rgb(r, g, b)
}
