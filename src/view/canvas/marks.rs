//! What lies over the pictures: plates with words, the wipe handle, the legend of a difference.

use egui::{Align2, Color32, Painter, Pos2, Rect, Response, Stroke, TextStyle, Ui, Vec2, pos2, vec2};

use crate::image::colour::{legend, signed_number};
use crate::image::quantise;

/// Radius of the knob on the wipe handle, in points.
const KNOB_RADIUS: f32 = 7.0;
/// Opacity of the plates behind text: readable, but the picture is seen.
const PLATE_OPACITY: f32 = 0.8;
/// Space within plates and between plates and edges, in points.
const PLATE_PADDING: Vec2 = vec2(6.0, 3.0);
/// Size of the legend's bar, in points.
const LEGEND: Vec2 = vec2(180.0, 10.0);

fn plate_color(ui: &Ui) -> Color32 {
    ui.visuals().extreme_bg_color.gamma_multiply(PLATE_OPACITY)
}

/// A word in a corner of a picture, on a plate, so that it can be read on any picture.
pub(super) fn plate_ui(ui: &Ui, clip: Rect, picture: Rect, corner: Align2, text: &str) {
    let painter = ui.painter_at(clip);
    let color = ui.visuals().strong_text_color();
    let galley = painter.layout_no_wrap(text.to_owned(), TextStyle::Small.resolve(ui.style()), color);
    let anchor = corner.pos_in_rect(&picture.shrink2(PLATE_PADDING));
    let plate = corner.anchor_size(anchor, galley.size() + 2.0 * PLATE_PADDING);
    painter.rect_filled(plate, 3.0, plate_color(ui));
    painter.galley(plate.min + PLATE_PADDING, galley, color);
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

/// The scale of the difference at the bottom right, in picture values and in 8-bit levels.
pub(super) fn legend_ui(ui: &Ui, rect: Rect, gain: f32) {
    let painter = ui.painter_at(rect);
    let line = ui.text_style_height(&TextStyle::Small);
    let plate_size = LEGEND + vec2(0.0, 2.0 * line) + 4.0 * PLATE_PADDING;
    let plate = Align2::RIGHT_BOTTOM.anchor_size(rect.max - 2.0 * PLATE_PADDING, plate_size);
    if !rect.contains_rect(plate) {
        return;
    }
    painter.rect_filled(plate, 3.0, plate_color(ui));
    let bar = Rect::from_min_size(plate.min + 2.0 * PLATE_PADDING, LEGEND);
    let stops = legend(gain);
    let reach = stops[2].value;
    let x_of = |value: f32| egui::remap(value, -reach..=reach, bar.left()..=bar.right());
    for pair in stops.windows(2) {
        let part = bar.with_min_x(x_of(pair[0].value)).with_max_x(x_of(pair[1].value));
        let ends = [opaque(pair[0].colour), opaque(pair[1].colour)];
        painter.add(egui::Shape::gradient_rect(part, egui::Direction::LeftToRight, ends));
    }
    for (stop, anchor) in stops.iter().zip([Align2::LEFT_TOP, Align2::CENTER_TOP, Align2::RIGHT_TOP]) {
        let below = pos2(x_of(stop.value), bar.bottom() + PLATE_PADDING.y);
        text_ui(ui, &painter, below, anchor, &signed_number(stop.value));
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
