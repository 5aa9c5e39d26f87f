//! The large view of one before/after pair: zoom, pan, wipe, difference, and the pixel under the pointer.
//!
//! The pictures are drawn by `shaders/canvas.wgsl` in a paint callback; labels, handle and legend are egui shapes over
//! it. Without a wgpu renderer the callback is never run and everything else still works.

mod controls;
mod gpu;
mod marks;
mod mask;
mod navigate;
mod twin;

use std::sync::Arc;

use eframe::egui_wgpu;
use egui::{CursorIcon, Rect, Response, Role, Sense, Ui, Vec2, WidgetInfo, vec2};

use self::gpu::Frame;
pub use self::gpu::{Pipeline, SHADER, install};
use self::marks::{handle_ui, labels_ui, legend_ui, strips};
pub use self::mask::{BRUSH_RADIUS, MaskBrush, inverted};
use self::twin::left_pane_width;
pub use self::twin::{Uniforms, shade, shows_after, smoothed};
use super::focus;
use crate::image::shown;
use crate::session::{Action, Compare};

/// Distance in points from which the wipe handle is grabbed.
const HANDLE_REACH: f32 = 12.0;
/// Part of the width that one press of an arrow key moves the wipe handle.
const WIPE_STEP: f32 = 0.02;
/// Strength of the pixel grid.
const GRID_STRENGTH: f32 = 0.25;
/// Values per texel: red, green, blue and an alpha that nobody reads.
const TEXEL: usize = 4;

/// Two pictures of one size to compare: planar `[C, H, W]`, in `[0, 1]`, sRGB-encoded.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Left, or what the other is compared with.
    pub before: &'a [f32],
    /// Right, or what came of it.
    pub after: &'a [f32],
    /// `[C, H, W]`; the colours are those of [`shown`].
    pub shape: [usize; 3],
    /// Another number whenever the picture before, or that after, is another one.
    pub keys: [u64; 2],
}

impl Pair<'_> {
    fn is_drawable(&self) -> bool {
        let len = self.shape.iter().product::<usize>();
        len > 0 && self.before.len() == len && self.after.len() == len
    }

    fn size(&self) -> Vec2 {
        vec2(self.shape[2] as f32, self.shape[1] as f32)
    }

    fn rgb(&self, values: &[f32], pixel: usize) -> [f32; 3] {
        let [channels, height, width] = self.shape;
        shown(channels).map(|channel| values[channel * height * width + pixel])
    }

    /// RGBA for the upload. Values out of range are clamped and NaN becomes black, as in files.
    fn packed(&self, values: &[f32]) -> Vec<f32> {
        let pixels = self.shape[1] * self.shape[2];
        let mut texels = Vec::with_capacity(pixels * TEXEL);
        for pixel in 0..pixels {
            let shown = |value: f32| if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
            texels.extend(self.rgb(values, pixel).map(shown));
            texels.push(1.0);
        }
        texels
    }
}

/// A pair in the layout of the textures; each picture is made once per key, for that before stays during a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Pictures {
    keys: [u64; 2],
    shape: [usize; 3],
    before: Arc<Vec<f32>>,
    after: Arc<Vec<f32>>,
}

impl Pictures {
    /// Packs a pair; `None` when its lengths do not fit its shape or it is empty.
    #[must_use]
    pub fn new(pair: &Pair<'_>) -> Option<Self> {
        Self::after(None, pair)
    }

    /// Likewise, with what an earlier pair has in common with it.
    fn after(earlier: Option<&Self>, pair: &Pair<'_>) -> Option<Self> {
        let earlier = earlier.filter(|earlier| earlier.shape == pair.shape);
        let kept = |place: usize| earlier.filter(|earlier| earlier.keys[place] == pair.keys[place]);
        pair.is_drawable().then(|| Self {
            keys: pair.keys,
            shape: pair.shape,
            before: kept(0).map_or_else(|| Arc::new(pair.packed(pair.before)), |earlier| earlier.before.clone()),
            after: kept(1).map_or_else(|| Arc::new(pair.packed(pair.after)), |earlier| earlier.after.clone()),
        })
    }
}

/// One pixel of both pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readout {
    /// Column, from the left.
    pub x: usize,
    /// Row, from the top.
    pub y: usize,
    /// RGB before; a grey picture repeats its value.
    pub before: [f32; 3],
    /// RGB after.
    pub after: [f32; 3],
}

/// How a pair is looked at.
pub struct Look<'a> {
    /// How it is compared.
    pub compare: Compare,
    /// Blinking shows "after" now.
    pub blink_after: bool,
    /// What the picture before is called.
    pub before: &'a str,
    /// What the picture after is called.
    pub after: &'a str,
    /// Paints on the picture, wherever it is seen.
    pub brush: Option<&'a mut MaskBrush>,
}

/// The state of the view; the pictures come with each frame.
#[derive(Debug, Clone)]
pub struct Canvas {
    /// Screen points per picture pixel.
    pub zoom: f32,
    /// Picture point at the centre of each pane, in picture pixels.
    pub pan: Vec2,
    /// Where the wipe cuts, as a fraction of the width.
    pub wipe: f32,
    /// Factor on differences: at 4, a change of ±1/4 is the whole scale.
    pub gain: f32,
    /// Draw lines between picture pixels where they are large.
    pub grid: bool,
    /// Draw enlarged pictures smoothly between their pixels.
    pub smooth: bool,
    is_fitted: bool,
    pictures: Option<Arc<Pictures>>,
    readout: Option<Readout>,
}

impl Default for Canvas {
    fn default() -> Self {
        Self {
            zoom: 1.0,
            pan: Vec2::ZERO,
            wipe: 0.5,
            gain: 4.0,
            grid: false,
            smooth: false,
            is_fitted: true,
            pictures: None,
            readout: None,
        }
    }
}

impl Canvas {
    /// Shows the whole picture, and keeps doing so until the user zooms or pans.
    pub fn fit(&mut self) {
        self.is_fitted = true;
    }

    /// The picture pixel under the pointer in the last frame.
    #[must_use]
    pub const fn readout(&self) -> Option<Readout> {
        self.readout
    }

    /// Fills the available space with the pair and reacts to pointer and keys; returns what the brush changed.
    pub fn ui(&mut self, ui: &mut Ui, pair: &Pair<'_>, look: Look<'_>) -> Option<Action> {
        let Look { compare, blink_after, before, after, brush } = look;
        let response = ui.allocate_response(ui.available_size(), Sense::click_and_drag());
        let (above, rect, below) = strips(response.rect, compare);
        let read_before = self.readout.take();
        let label = compare.label();
        let [_, height, width] = pair.shape;
        response.widget_info(|| {
            WidgetInfo::labeled(Role::Canvas, ui.is_enabled(), format!("Canvas: {label}, {width}×{height} pixels"))
        });
        let is_new = self.adopt(pair);
        let is_visible = rect.is_finite() && rect.width() >= 1.0 && rect.height() >= 1.0;
        let pictures = self.pictures.clone().filter(|_| is_visible && pair.is_drawable())?;

        let handle = (compare == Compare::Wipe).then(|| self.wipe_handle(ui, rect));
        let pointer = response.hover_pos().or_else(|| handle.as_ref().and_then(Response::hover_pos));
        let pointer = pointer.filter(|pointer| rect.contains(*pointer));
        let drag_pans = brush.is_none() || MaskBrush::lets_pan(ui);
        self.navigate(ui, (&response, rect), pointer, compare, drag_pans);
        if brush.is_none() && response.double_clicked() {
            self.fit();
        }
        let zoom = self.zoom;
        self.settle(ui, rect, pair.size(), compare);
        if (self.zoom - zoom).abs() > 0.0 {
            // It stands above, where it was drawn before it was known.
            ui.ctx().request_repaint();
        }
        let uniforms = self.uniforms(ui, rect, pair, compare, blink_after);
        let pixel = pointer.and_then(|pointer| {
            let local = pointer.to_vec2() * ui.pixels_per_point() - Vec2::from(uniforms.corner);
            uniforms.picture_pixel(local.into())
        });
        self.readout = pixel.map(|[x, y]| Readout {
            x,
            y,
            before: pair.rgb(pair.before, y * width + x),
            after: pair.rgb(pair.after, y * width + x),
        });
        if is_new || self.readout != read_before {
            // The panel beside was drawn before it was known, and the pointer is found once other pictures lie below it.
            ui.ctx().request_repaint();
        }

        let painter = ui.painter_at(response.rect);
        painter.rect_filled(response.rect, 0.0, ui.visuals().extreme_bg_color);
        painter.add(egui_wgpu::Callback::new_paint_callback(rect, Frame { pictures, uniforms }));
        let painted = brush.and_then(|brush| {
            let cut = rect.left() + left_pane_width(uniforms.size[0]) / ui.pixels_per_point();
            let (left, right) = rect.split_left_right_at_x(cut);
            let panes: &[Rect] = if compare == Compare::Side { &[left, right] } else { &[rect] };
            brush.ui(ui, &response, &uniforms, panes)
        });
        // On the picture's upper edge, or above the canvas where that is out of sight.
        let drop = (uniforms.origin[1] / ui.pixels_per_point()).max(0.0);
        let is_same = compare == Compare::Difference && pair.before == pair.after;
        labels_ui(ui, above.translate(vec2(0.0, drop)), (compare, blink_after, is_same), [before, after]);
        match compare {
            Compare::Side => {
                let cut = rect.left() + left_pane_width(uniforms.size[0]) / ui.pixels_per_point();
                ui.painter_at(rect).vline(cut, rect.y_range(), ui.visuals().widgets.noninteractive.bg_stroke);
            }
            Compare::Difference => {
                legend_ui(ui, below, self.gain);
                self.gain_ui(ui, below);
            }
            Compare::Wipe | Compare::Blink => {}
        }
        if let Some(handle) = handle {
            handle_ui(ui, rect, self.wipe, &handle);
        }
        painted
    }

    /// Takes over new pictures and settings that another panel may have changed; whether there are new ones.
    fn adopt(&mut self, pair: &Pair<'_>) -> bool {
        self.gain = self.gain.clamp(controls::GAIN.min as f32, controls::GAIN.max as f32);
        self.wipe = self.wipe.clamp(0.0, 1.0);
        let shown = self.pictures.as_ref().map(|pictures| (pictures.keys, pictures.shape));
        if shown == Some((pair.keys, pair.shape)) {
            return false;
        }
        if shown.is_none_or(|(_, shape)| shape[1..] != pair.shape[1..]) {
            self.fit();
        }
        self.pictures = Pictures::after(self.pictures.as_deref(), pair).map(Arc::new);
        true
    }

    /// A strip around the cut that takes the pointer before the canvas does.
    fn wipe_handle(&mut self, ui: &Ui, rect: Rect) -> Response {
        let x = egui::lerp(rect.left()..=rect.right(), self.wipe);
        let strip = rect.with_min_x(x - HANDLE_REACH).with_max_x(x + HANDLE_REACH).intersect(rect);
        let mut handle = ui.interact(strip, ui.make_persistent_id("wipe handle"), Sense::drag());
        let before = self.wipe;
        if let Some(pointer) = handle.interact_pointer_pos().filter(|_| handle.dragged()) {
            self.wipe = (pointer.x - rect.left()) / rect.width();
        }
        self.wipe = (self.wipe + WIPE_STEP * focus::key_steps(ui, &handle)).clamp(0.0, 1.0);
        if (self.wipe - before).abs() > 0.0 {
            handle.mark_changed();
        }
        let wipe = f64::from(self.wipe);
        handle.widget_info(|| WidgetInfo::slider(ui.is_enabled(), wipe, "Wipe handle"));
        focus::tell_range(ui, &handle, (0.0, 1.0), f64::from(WIPE_STEP));
        handle.on_hover_and_drag_cursor(CursorIcon::ResizeHorizontal)
    }

    /// Where everything lies. Snapped to whole pixels, because a picture pixel's edge must not run through the centre
    /// of a screen pixel, where rounding would show.
    fn uniforms(&self, ui: &Ui, rect: Rect, pair: &Pair<'_>, compare: Compare, blink_after: bool) -> Uniforms {
        let scale = ui.pixels_per_point();
        let corner = (rect.min.to_vec2() * scale).round();
        let size = (rect.max.to_vec2() * scale).round() - corner;
        let is_split = compare == Compare::Side;
        let pane = vec2(if is_split { left_pane_width(size.x) } else { size.x }, size.y);
        let zoom = self.zoom * scale;
        Uniforms {
            corner: corner.into(),
            size: size.into(),
            origin: (pane * 0.5 - self.pan * zoom).round().into(),
            picture: [pair.shape[2] as u32, pair.shape[1] as u32],
            background: ui.visuals().extreme_bg_color.to_normalized_gamma_f32(),
            zoom,
            wipe: self.wipe,
            gain: self.gain,
            mode: compare as u32,
            blink_after: u32::from(blink_after),
            linear_target: 0,
            grid: if self.grid { GRID_STRENGTH } else { 0.0 },
            smoothing: u32::from(self.smooth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIXELS: [f32; 6] = [0.0, 0.1, 0.2, 0.3, 0.4, f32::NAN];

    fn pair(key: u64) -> Pair<'static> {
        Pair { before: &PIXELS, after: &PIXELS, shape: [1, 2, 3], keys: [0, key] }
    }

    #[test]
    fn grey_is_packed_as_rgba_without_holes() {
        let pictures = Pictures::new(&pair(0)).expect("a drawable pair");
        assert_eq!(pictures.before.len(), 2 * 3 * TEXEL);
        assert_eq!(pictures.before[4..8], [0.1, 0.1, 0.1, 1.0]);
        assert_eq!(pictures.before[20..], [0.0, 0.0, 0.0, 1.0], "NaN is black");
    }

    #[test]
    fn a_pair_that_does_not_fit_its_shape_is_not_drawn() {
        let broken = Pair { shape: [3, 2, 3], ..pair(0) };
        assert!(Pictures::new(&broken).is_none(), "six values are no RGB picture of 2×3");
        assert!(Pictures::new(&Pair { before: &[], after: &[], shape: [0, 2, 3], keys: [0; 2] }).is_none(), "empty");
    }

    #[test]
    fn every_mode_is_laid_out_without_a_gpu_and_packs_once() {
        let mut canvas = Canvas::default();
        for compare in Compare::ALL {
            egui::__run_test_ui(|ui| {
                let mut brush = MaskBrush::default();
                brush.adopt(None, [3, 2]);
                let look =
                    Look { compare, blink_after: true, before: "before", after: "after", brush: Some(&mut brush) };
                assert_eq!(canvas.ui(ui, &pair(1), look), None, "nobody paints");
            });
        }
        let first = canvas.pictures.clone().expect("packed");
        canvas.adopt(&pair(1));
        assert!(Arc::ptr_eq(&first, canvas.pictures.as_ref().expect("packed")), "same key, same bytes");
        canvas.adopt(&pair(2));
        let second = canvas.pictures.as_ref().expect("packed");
        assert!(!Arc::ptr_eq(&first.after, &second.after), "another key, other bytes");
        assert!(Arc::ptr_eq(&first.before, &second.before), "the picture before is the same all along");
    }

    #[test]
    fn a_canvas_that_has_the_focus_is_panned_and_zoomed_by_keys() {
        let (ctx, mut canvas) = (egui::Context::default(), Canvas::default());
        let mut frame = |key: Option<egui::Key>| {
            let screen_rect = Some(Rect::from_min_size(egui::Pos2::ZERO, vec2(640.0, 400.0)));
            let modifiers = egui::Modifiers::NONE;
            let press = |key| egui::Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers };
            let events = key.map(press).into_iter().collect();
            let input = egui::RawInput { screen_rect, events, ..Default::default() };
            drop(ctx.run_ui(input, |ui| {
                let look = Look { compare: Compare::Side, blink_after: false, before: "b", after: "a", brush: None };
                assert_eq!(canvas.ui(ui, &pair(1), look), None);
            }));
            (canvas.pan, canvas.zoom)
        };
        frame(None);
        let fitted = frame(None);
        assert_eq!([frame(Some(egui::Key::ArrowRight)), frame(Some(egui::Key::Plus))], [fitted; 2], "others' keys");
        frame(Some(egui::Key::Tab));
        frame(None);
        let (pan, zoom) = frame(Some(egui::Key::ArrowRight));
        assert!(pan.x > fitted.0.x && (pan.y, zoom) == (fitted.0.y, fitted.1), "{pan:?} {zoom}");
        let (pan, zoom) = frame(Some(egui::Key::ArrowUp));
        assert!(pan.y < fitted.0.y && zoom == fitted.1, "{pan:?} {zoom}");
        let (centre, larger) = frame(Some(egui::Key::Plus));
        assert!(centre == pan && larger > zoom, "about its centre: {centre:?} {larger}");
        assert!(frame(Some(egui::Key::Minus)).1 < larger);
    }

    #[test]
    fn what_is_below_a_pointer_that_rests_is_read_and_shown_when_other_pictures_come() {
        let (ctx, mut canvas) = (egui::Context::default(), Canvas::default());
        let mut moves = vec![egui::Event::PointerMoved(egui::pos2(160.0, 200.0))];
        let mut frame = |key: u64, values: &[f32; 6]| {
            let rect = Rect::from_min_size(egui::Pos2::ZERO, vec2(640.0, 400.0));
            // Every event is a reason to draw again.
            let events = std::mem::take(&mut moves);
            let input = egui::RawInput { screen_rect: Some(rect), events, ..Default::default() };
            drop(ctx.run_ui(input, |ui| {
                let look = Look { compare: Compare::Side, blink_after: false, before: "b", after: "a", brush: None };
                let pair = Pair { after: values, shape: [1, 2, 3], ..pair(key) };
                assert_eq!(canvas.ui(ui, &pair, look), None);
            }));
            (canvas.readout(), ctx.has_requested_repaint())
        };
        for _ in 0..6 {
            frame(1, &PIXELS);
        }
        let (Some(first), false) = frame(1, &PIXELS) else { panic!("it is read, and nothing changes any more") };
        let (second, is_drawn_again) = frame(2, &[0.5; 6]);
        assert!(second.is_some_and(|second| second != first) && is_drawn_again);
    }
}
