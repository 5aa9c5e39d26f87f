//! How large the picture is drawn, and which part of it is seen.

use egui::{CursorIcon, EventFilter, Key, Modifiers, Pos2, Rect, Response, Ui, Vec2, vec2};

use super::Canvas;
use crate::session::Compare;

/// Largest zoom, in screen points per picture pixel.
const MAX_ZOOM: f32 = 256.0;
/// Smallest zoom as a share of the one that fits.
const LEAST_OF_FIT: f32 = 0.5;
/// Change of the zoom's logarithm per point of wheel travel.
const WHEEL_SPEED: f32 = 0.005;
/// How far a press of an arrow pans, in points, and by which factor a press of + or − zooms.
const KEY_PAN: f32 = 40.0;
const KEY_ZOOM: f32 = 1.25;
/// Space around a fitted picture, in points.
const FIT_MARGIN: f32 = 12.0;

impl Canvas {
    /// One screen pixel per picture pixel, until another zoom is asked for; `scale` in pixels per point.
    pub fn actual_size(&mut self, scale: f32) {
        (self.zoom, self.is_fitted) = (1.0 / scale, false);
    }

    /// Zooms at the pointer and pans, where `rect` shows the pictures.
    pub(super) fn navigate(
        &mut self,
        ui: &Ui,
        (response, rect): (&Response, Rect),
        pointer: Option<Pos2>,
        compare: Compare,
        drag_pans: bool,
    ) {
        let (left, right) = rect.split_left_right_at_fraction(0.5);
        if let Some(pointer) = pointer {
            let pane = match compare {
                Compare::Side if pointer.x >= right.left() => right,
                Compare::Side => left,
                _ => rect,
            };
            let (travel, pinch) = ui.input(|input| (input.smooth_scroll_delta().y, input.zoom_delta()));
            let factor = (travel * WHEEL_SPEED).exp() * pinch;
            if (factor - 1.0).abs() > f32::EPSILON {
                self.zoom_about(pointer - pane.center(), factor);
            }
        }
        let (travel, factor) = keyed(ui, response);
        if factor != 1.0 {
            self.zoom_about(Vec2::ZERO, factor);
        }
        if travel != Vec2::ZERO {
            self.pan += travel / self.zoom;
            self.is_fitted = false;
        }
        if !drag_pans || !response.dragged() {
            return;
        }
        if response.drag_delta() != Vec2::ZERO {
            self.pan -= response.drag_delta() / self.zoom;
            self.is_fitted = false;
        }
        ui.set_cursor_icon(CursorIcon::Grabbing);
    }

    /// Fits the picture until the user zooms or pans, and keeps it in sight.
    pub(super) fn settle(&mut self, ui: &Ui, rect: Rect, size: Vec2, compare: Compare) {
        let (left, _) = rect.split_left_right_at_fraction(0.5);
        let pane = if compare == Compare::Side { left } else { rect };
        let scale = ui.pixels_per_point();
        let fitted = fitted_zoom(pane.size(), size, scale, self.smooth);
        if self.is_fitted {
            (self.zoom, self.pan) = (fitted, size * 0.5);
        }
        // Half as large as the canvas, or as large as the file: what is smaller shows nothing.
        let least = (fitted * LEAST_OF_FIT).min(1.0 / scale);
        self.zoom = self.zoom.clamp(least, MAX_ZOOM);
        self.pan = self.pan.clamp(Vec2::ZERO, size);
    }

    /// Zooms so that the picture point at `offset` points from a pane's centre stays where it is.
    fn zoom_about(&mut self, offset: Vec2, factor: f32) {
        let zoom = (self.zoom * factor).min(MAX_ZOOM);
        self.pan += offset * (1.0 / self.zoom - 1.0 / zoom);
        self.zoom = zoom;
        self.is_fitted = false;
    }
}

/// How far keys pan, in points, and by which factor they zoom, while the canvas has the focus.
fn keyed(ui: &Ui, response: &Response) -> (Vec2, f32) {
    if !response.has_focus() {
        return (Vec2::ZERO, 1.0);
    }
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    ui.input_mut(|input| {
        let mut presses = |key| input.count_and_consume_key(Modifiers::NONE, key) as f32;
        let x = presses(Key::ArrowRight) - presses(Key::ArrowLeft);
        let y = presses(Key::ArrowDown) - presses(Key::ArrowUp);
        let zoom = presses(Key::Plus) + presses(Key::Equals) - presses(Key::Minus);
        (KEY_PAN * vec2(x, y), KEY_ZOOM.powf(zoom))
    })
}

/// The zoom, in points, at which a picture fits a pane; whole screen pixels per picture pixel when it is enlarged and drawn as
/// squares, which are then all of one size.
fn fitted_zoom(pane: Vec2, picture: Vec2, scale: f32, smooth: bool) -> f32 {
    let room = (pane - Vec2::splat(2.0 * FIT_MARGIN)).max(Vec2::splat(1.0)) * scale;
    let zoom = (room / picture).min_elem();
    let zoom = if zoom >= 1.0 && !smooth { zoom.floor() } else { zoom };
    (zoom / scale).min(MAX_ZOOM)
}

#[cfg(test)]
mod tests {
    use egui::vec2;

    use super::*;

    #[test]
    fn zooming_keeps_the_point_under_the_pointer() {
        let mut canvas = Canvas { zoom: 8.0, pan: vec2(10.0, 5.0), ..Canvas::default() };
        let offset = vec2(40.0, -16.0);
        let before = canvas.pan + offset / canvas.zoom;
        canvas.zoom_about(offset, 1.7);
        let after = canvas.pan + offset / canvas.zoom;
        assert!((before - after).length() < 1e-4, "{before} moved to {after}");
        assert!(!canvas.is_fitted, "the user's zoom is kept");
    }

    #[test]
    fn an_enlarged_fit_has_whole_screen_pixels_per_picture_pixel() {
        let zoom = fitted_zoom(vec2(500.0, 400.0), Vec2::splat(32.0), 1.5, false);
        assert!((zoom * 1.5 - 17.0).abs() < 1e-4, "564 pixels hold 32 times 17, not {}", zoom * 1.5);
        let zoom = fitted_zoom(vec2(500.0, 400.0), Vec2::splat(32.0), 1.5, true);
        assert!((zoom * 32.0 - 376.0).abs() < 1e-3, "drawn smoothly, it fills the pane: {}", zoom * 32.0);
        let zoom = fitted_zoom(vec2(124.0, 400.0), Vec2::splat(200.0), 1.0, false);
        assert!((zoom - 0.5).abs() < 1e-4, "a large picture is reduced to fit, not to {zoom}");
    }

    #[test]
    fn a_picture_is_not_zoomed_out_of_sight() {
        egui::__run_test_ui(|ui| {
            let rect = Rect::from_min_size(Pos2::ZERO, vec2(800.0, 424.0));
            let mut canvas = Canvas { zoom: 1e-3, is_fitted: false, ..Canvas::default() };
            canvas.settle(ui, rect, Vec2::splat(32.0), Compare::Wipe);
            assert_eq!(canvas.zoom, 1.0, "a small picture is drawn at its own size at least");
            canvas.zoom = 1e-3;
            canvas.settle(ui, rect, Vec2::splat(4000.0), Compare::Wipe);
            assert!((canvas.zoom - 0.05).abs() < 1e-6, "a large one at half of what fits: {}", canvas.zoom);
            canvas.actual_size(2.0);
            canvas.settle(ui, rect, Vec2::splat(4000.0), Compare::Wipe);
            assert_eq!(canvas.zoom, 0.5, "actual size is that of the screen's pixels");
        });
    }
}
