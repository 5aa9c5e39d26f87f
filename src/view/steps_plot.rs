//! Curves over the steps of a training.

use egui::{Align2, CornerRadius, Rect, Response, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::theme;
use super::widgets::digits;
use crate::trace::curve;

/// Curves with more values are drawn with this many points.
const MAX_POINTS: usize = 240;
/// Height of a plot, in points.
const HEIGHT: f32 = 104.0;
/// Width of the numbers left of it, in points.
const AXIS: f32 = 40.0;
/// Numbers along the axis of the steps.
const TICKS: usize = 3;
/// By how much the axis of a loss goes above its running mean: what sticks out is cut.
const ROOM: f32 = 1.3;

/// A curve: its steps and values, and how it is drawn.
pub struct Curve {
    pub points: Vec<(u64, f32)>,
    pub stroke: Stroke,
}

/// What is drawn beside the curves.
pub struct Plot<'a> {
    pub title: &'a str,
    /// Its newest value, in words.
    pub now: String,
    /// Where the axis of the steps ends.
    pub end: u64,
    /// The range of values.
    pub range: (f32, f32),
    /// Whether equal distances are equal ratios.
    pub is_log: bool,
}

/// The points that are drawn of the values of successive steps, the last of which is `last`.
#[must_use]
pub fn points(values: &[f32], last: u64) -> Vec<(u64, f32)> {
    let first = (last + 1).saturating_sub(values.len() as u64);
    let places = curve::drawn_places(values, MAX_POINTS).into_iter();
    places.map(|place| (first + place as u64, values[place])).collect()
}

/// The range of a loss: from 0 to a little above the highest running mean, or from the smallest to the largest value that has a
/// logarithm.
#[must_use]
pub fn loss_range(losses: &[f32], smooth: &[f32], is_log: bool) -> (f32, f32) {
    let positive = |values: &[f32]| {
        let values = values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
        values.fold((f32::INFINITY, 0.0_f32), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((low, _), (_, high)) = (positive(losses), positive(smooth));
    match (high > 0.0, is_log) {
        (false, _) => (0.1, 1.0),
        (true, true) => (low.min(high / ROOM), high * ROOM),
        (true, false) => (0.0, high * ROOM),
    }
}

/// Draws a plot as wide as there is room.
pub fn steps_plot_ui(ui: &mut Ui, plot: &Plot<'_>, curves: &[Curve]) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), HEIGHT), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("{}: {}", plot.title, plot.now)));
    let tokens = theme::tokens(ui);
    let area = Rect::from_min_max(rect.min + vec2(AXIS, 20.0), rect.max - vec2(10.0, 16.0));
    let scaled = |value: f32| if plot.is_log { value.max(f32::MIN_POSITIVE).log10() } else { value };
    let (low, high) = (scaled(plot.range.0), scaled(plot.range.1));
    let x = |step: u64| area.left() + area.width() * step as f32 / plot.end.max(1) as f32;
    let y = |value: f32| {
        let share = (scaled(value) - low) / (high - low).max(f32::MIN_POSITIVE);
        area.bottom() - area.height() * share.clamp(0.0, 1.0)
    };
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, CornerRadius::same(3), tokens.plate);
    let weak = ui.visuals().weak_text_color();
    let (tiny, small) = (egui::FontId::proportional(9.5), egui::FontId::proportional(11.0));
    for tick in curve::ticks(plot.end.max(1) as usize, TICKS) {
        let at = x(tick as u64);
        painter.vline(at, area.bottom()..=area.bottom() + 3.0, Stroke::new(1.0, tokens.grid));
        painter.text(pos2(at, rect.bottom() - 1.0), Align2::CENTER_BOTTOM, tick, tiny.clone(), weak);
    }
    for curve in curves {
        let points = curve.points.iter().filter(|(_, value)| value.is_finite());
        let points: Vec<_> = points.map(|(step, value)| pos2(x(*step), y(*value))).collect();
        match points[..] {
            [] => {}
            [one] => drop(painter.circle_filled(one, 2.0, curve.stroke.color)),
            _ => drop(painter.add(Shape::line(points, curve.stroke))),
        }
    }
    let strong = ui.visuals().strong_text_color();
    painter.text(rect.min + vec2(6.0, 3.0), Align2::LEFT_TOP, plot.title, small.clone(), ui.visuals().text_color());
    painter.text(pos2(rect.right() - 6.0, rect.top() + 3.0), Align2::RIGHT_TOP, &plot.now, small, strong);
    let axis = area.left() - 5.0;
    painter.text(pos2(axis, area.top() - 2.0), Align2::RIGHT_TOP, digits(plot.range.1), tiny.clone(), weak);
    painter.text(pos2(axis, area.bottom() + 2.0), Align2::RIGHT_BOTTOM, digits(plot.range.0), tiny, weak);
    painter.vline(area.left(), area.y_range(), Stroke::new(1.0, tokens.grid));
    painter.hline(area.x_range(), area.bottom(), Stroke::new(1.0, tokens.grid));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_drawn_at_its_steps_within_a_range_that_one_outlier_does_not_spoil() {
        assert_eq!(points(&[0.5, 0.25], 7), [(6, 0.5), (7, 0.25)]);
        let long: Vec<f32> = (0..10_000_u16).map(f32::from).collect();
        let drawn = points(&long, 10_000);
        assert!(drawn.len() < 400 && drawn.first() == Some(&(1, 0.0)) && drawn.last() == Some(&(10_000, 9999.0)));
        let (losses, smooth) = ([0.5, 900.0, 0.1, f32::NAN], [0.5, 2.0, 1.0, 1.0]);
        assert_eq!(loss_range(&losses, &smooth, false), (0.0, 2.0 * ROOM));
        assert_eq!(loss_range(&losses, &smooth, true), (0.1, 2.0 * ROOM));
        assert!(loss_range(&[], &[], true).0 > 0.0);
    }
}
