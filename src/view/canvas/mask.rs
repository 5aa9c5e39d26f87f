//! The brush that paints a mask on the picture, and the mask drawn over it.

use egui::{
    Color32, ColorImage, CursorIcon, Event, Key, Modifiers, PointerButton, Pos2, Rect, Response, Stroke, TextureHandle,
    TextureOptions, Ui, Vec2, pos2, vec2,
};

use super::super::theme;
use super::Uniforms;
use crate::generator::Mask;
use crate::parameter::Parameter;
use crate::session::Action;

/// Radius of the brush.
pub const BRUSH_RADIUS: Parameter = Parameter {
    flag: "brush",
    label: "Brush radius",
    symbol: "r",
    unit: "px",
    min: 0.5,
    max: 64.0,
    slider: (0.5, 64.0),
    default: 3.0,
    integer: false,
    about: "Radius of the brush in picture pixels (keys [ and ])",
    source: "Lapidary",
};
/// Opacity of the mask: what lies below is still seen.
const MASK_OPACITY: f32 = 0.55;
/// Discs of a stroke lie this part of the radius apart: its edge then looks straight.
const SPACING: f32 = 0.25;
/// Smallest distance of two discs, in picture pixels: no pixel between them is missed.
const MIN_SPACING: f32 = 0.5;
/// Smallest outline, in points: a small brush on a small picture can still be found.
const MIN_OUTLINE: f32 = 3.0;

/// The brush, and the mask as it was painted last.
pub struct MaskBrush {
    /// Dragging on the picture paints instead of panning.
    pub is_on: bool,
    /// The primary button takes away instead of adding; the secondary always does.
    pub erases: bool,
    /// Radius in picture pixels, within [`BRUSH_RADIUS`].
    pub radius: f32,
    mask: Mask,
    /// What the session holds, as far as it is known here.
    adopted: Option<Mask>,
    /// Where the stroke that goes on was last, in picture pixels.
    last: Option<Pos2>,
    /// The mask in one colour, and that colour; none when the mask has changed since.
    texture: Option<TextureHandle>,
    drawn_in: Option<Color32>,
    /// The pointer was above the picture in the last frame.
    is_hovered: bool,
    /// The pane that is painted in, where there are two: a stroke does not leap from one edge to the other.
    pane: usize,
    /// The button that paints, while it is held.
    held: Option<PointerButton>,
}

impl Default for MaskBrush {
    fn default() -> Self {
        Self {
            is_on: false,
            erases: false,
            radius: BRUSH_RADIUS.default as f32,
            mask: Mask::filled(1, 1, false),
            adopted: None,
            last: None,
            texture: None,
            drawn_in: None,
            is_hovered: false,
            pane: 0,
            held: None,
        }
    }
}

impl MaskBrush {
    /// Takes over the session's mask, in the size of the picture: `[width, height]` in pixels.
    pub fn adopt(&mut self, mask: Option<&Mask>, [width, height]: [u32; 2]) {
        let is_as_large = (self.mask.width(), self.mask.height()) == (width, height);
        if is_as_large && self.adopted.as_ref() == mask {
            return;
        }
        self.adopted = mask.cloned();
        self.mask = mask.map_or_else(|| Mask::filled(width, height, false), |mask| mask.resized(width, height));
        (self.last, self.drawn_in) = (None, None);
    }

    /// Whether the pointer was where it paints; the space key then pans. True once per frame that was drawn.
    pub const fn take_hovered(&mut self) -> bool {
        std::mem::replace(&mut self.is_hovered, false)
    }

    /// Whether dragging pans nevertheless: with the middle button, or while the space key is held.
    pub(super) fn lets_pan(ui: &Ui) -> bool {
        ui.input(|input| input.pointer.middle_down() || input.key_down(Key::Space))
    }

    /// Draws mask and brush within the `panes`, each of which shows the picture, and paints while a button is held; returns
    /// what the session must know when the mask has changed.
    pub(super) fn ui(&mut self, ui: &Ui, response: &Response, view: &Uniforms, panes: &[Rect]) -> Option<Action> {
        let scale = ui.pixels_per_point();
        let corner = Vec2::from(view.corner);
        let point = |pointer: Pos2| Pos2::from(view.picture_point((pointer.to_vec2() * scale - corner).into()));
        let pointer = response.interact_pointer_pos().or_else(|| response.hover_pos());
        let above = pointer.and_then(|at| Some((at, panes.iter().position(|pane| pane.contains(at))?)));
        self.is_hovered = above.is_some();
        self.radius_keys(ui);

        let action = self.paint(ui, response, panes, point);
        let picture = Vec2::from(view.picture.map(|side| side as f32)) * view.zoom;
        let rect = Rect::from_min_size(((corner + Vec2::from(view.origin)) / scale).to_pos2(), picture / scale);
        for pane in panes {
            self.draw(ui, rect.translate(vec2(pane.left() - panes[0].left(), 0.0)), *pane);
        }
        if let Some((pointer, pane)) = above {
            let is_panning = Self::lets_pan(ui);
            ui.set_cursor_icon(if is_panning { CursorIcon::Grab } else { CursorIcon::Crosshair });
            if !is_panning {
                outline_ui(ui, panes[pane], pointer, (self.radius * view.zoom / scale).max(MIN_OUTLINE));
            }
        }
        action
    }

    /// The square brackets make the brush smaller and larger.
    fn radius_keys(&mut self, ui: &Ui) {
        if ui.ctx().egui_wants_keyboard_input() {
            return;
        }
        let steps = ui.input_mut(|input| {
            input.count_and_consume_key(Modifiers::NONE, Key::CloseBracket) as f32
                - input.count_and_consume_key(Modifiers::NONE, Key::OpenBracket) as f32
        });
        let step = (self.radius / 4.0).round().max(0.5);
        let radius = self.radius + steps * step;
        self.radius = radius.clamp(BRUSH_RADIUS.min as f32, BRUSH_RADIUS.max as f32);
    }

    /// Where the button that paints was held since the last frame, in order, and whether a stroke begins there: a quick one is
    /// more than where the pointer is whenever a frame is drawn.
    fn way(&mut self, ui: &Ui) -> Vec<(Pos2, PointerButton, bool)> {
        let mut way = Vec::new();
        ui.input(|input| {
            for event in &input.events {
                match (event, self.held) {
                    (Event::PointerButton { pos, button, pressed: true, .. }, None)
                        if *button != PointerButton::Middle =>
                    {
                        self.held = Some(*button);
                        way.push((*pos, *button, true));
                    }
                    (Event::PointerMoved(pos), Some(held)) => way.push((*pos, held, false)),
                    (Event::PointerButton { pos, button, pressed: false, .. }, Some(held)) if *button == held => {
                        self.held = None;
                        way.push((*pos, held, false));
                    }
                    _ => {}
                }
            }
            // It may have been let go while nothing was painted on.
            self.held = self.held.filter(|held| input.pointer.button_down(*held));
            if let (Some(held), Some(pos), true) = (self.held, input.pointer.interact_pos(), way.is_empty()) {
                way.push((pos, held, false));
            }
        });
        way
    }

    /// Paints along the way of a held button within the `panes`; `point` is what lies there, in picture pixels.
    fn paint(&mut self, ui: &Ui, response: &Response, panes: &[Rect], point: impl Fn(Pos2) -> Pos2) -> Option<Action> {
        // A frame that is laid out again has the same events.
        if ui.ctx().current_pass_index() > 0 {
            return None;
        }
        let way = self.way(ui);
        // One that begins and ends within one frame was never held.
        let begins = way.iter().any(|(.., begins)| *begins) && response.contains_pointer();
        let is_held = response.is_pointer_button_down_on() || response.drag_stopped();
        let is_clicked = response.clicked() || response.secondary_clicked();
        if !(begins || is_held || is_clicked) || Self::lets_pan(ui) {
            self.last = None;
            return None;
        }
        let before = self.mask.clone();
        for (at, button, begins) in way {
            let pane = panes.iter().position(|pane| pane.contains(at));
            if begins || pane != Some(self.pane) {
                self.last = None;
            }
            if let Some(pane) = pane {
                self.pane = pane;
                self.stroke_to(point(at), !self.erases && button != PointerButton::Secondary);
            }
        }
        if self.held.is_none() {
            self.last = None;
        }
        if self.mask == before {
            return None;
        }
        self.drawn_in = None;
        // The session keeps no mask when nothing is painted.
        self.adopted = Some(self.mask.clone()).filter(|mask| !mask.is_empty());
        Some(Action::SetMask(self.adopted.clone()))
    }

    /// Discs from where the stroke was last to `to`, in picture pixels, without holes between them.
    fn stroke_to(&mut self, to: Pos2, missing: bool) {
        let from = self.last.replace(to).unwrap_or(to);
        let spacing = (self.radius * SPACING).max(MIN_SPACING);
        let steps = ((to - from).length() / spacing).ceil().max(1.0);
        for step in 0..=steps as usize {
            let at = from.lerp(to, step as f32 / steps);
            self.mask.paint_disc(at.x, at.y, self.radius, missing);
        }
    }

    /// One texel per picture pixel, made anew only when the mask or its colour has changed.
    fn draw(&mut self, ui: &Ui, rect: Rect, clip: Rect) {
        if self.mask.is_empty() {
            return;
        }
        let color = theme::tokens(ui).after.gamma_multiply(MASK_OPACITY);
        if self.drawn_in != Some(color) {
            let size = [self.mask.width() as usize, self.mask.height() as usize];
            let texel = |missing: &bool| if *missing { color } else { Color32::TRANSPARENT };
            let image = ColorImage::new(size, self.mask.missing().iter().map(texel).collect());
            match &mut self.texture {
                Some(texture) => texture.set(image, TextureOptions::NEAREST),
                None => self.texture = Some(ui.ctx().load_texture("mask", image, TextureOptions::NEAREST)),
            }
            self.drawn_in = Some(color);
        }
        if let Some(texture) = &self.texture {
            let whole = Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0));
            ui.painter_at(clip).image(texture.id(), rect, whole, Color32::WHITE);
        }
    }
}

/// The mask with known and missing pixels exchanged; all missing when there was none. `[width, height]` in pixels.
#[must_use]
pub fn inverted(mask: Option<&Mask>, [width, height]: [u32; 2]) -> Mask {
    let all = Mask::filled(width, height, true);
    let Some(mask) = mask else { return all };
    let missing = mask.missing().iter().map(|missing| !missing).collect();
    Mask::new(mask.width(), mask.height(), missing).unwrap_or(all)
}

/// A light circle on a dark one: it shows on any picture.
fn outline_ui(ui: &Ui, clip: Rect, centre: Pos2, radius: f32) {
    let painter = ui.painter_at(clip);
    painter.circle_stroke(centre, radius, Stroke::new(3.0, ui.visuals().extreme_bg_color));
    painter.circle_stroke(centre, radius, Stroke::new(1.0, ui.visuals().strong_text_color()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brush(radius: f32, side: u32) -> MaskBrush {
        let mut brush = MaskBrush { radius, ..MaskBrush::default() };
        brush.adopt(None, [side, side]);
        brush
    }

    #[test]
    fn a_fast_stroke_has_no_holes() {
        for (radius, to) in [(0.5, pos2(63.5, 40.2)), (0.5, pos2(63.5, 63.5)), (4.0, pos2(60.0, 9.0))] {
            let mut brush = brush(radius, 64);
            brush.stroke_to(pos2(0.5, 0.5), true);
            brush.stroke_to(to, true);
            let is_missing = |x: u32, y: u32| brush.mask.missing()[(y * 64 + x) as usize];
            for x in 1..to.x as u32 {
                let row = (0..64).find(|y| is_missing(x, *y)).expect("every column is painted");
                let touches = (0..64).any(|y| is_missing(x - 1, y) && y.abs_diff(row) <= 1 + 2 * radius as u32);
                assert!(touches, "column {x} hangs together with the one before, radius {radius}");
            }
        }
    }

    #[test]
    fn the_sessions_mask_is_taken_over_in_the_pictures_size() {
        let mut brush = brush(1.0, 8);
        brush.stroke_to(pos2(1.0, 1.0), true);
        let painted = brush.mask.clone();
        brush.adopt(None, [8, 8]);
        assert_eq!(brush.mask, painted, "what is being painted is not lost while the session holds nothing new");
        brush.adopt(Some(&Mask::filled(4, 4, true)), [8, 8]);
        assert_eq!(brush.mask.count(), 64);
        brush.adopt(None, [8, 8]);
        assert!(brush.mask.is_empty(), "cleared");
        brush.adopt(None, [16, 4]);
        assert_eq!((brush.mask.width(), brush.mask.height()), (16, 4));
    }

    #[test]
    fn inverting_twice_changes_nothing() {
        let mut mask = Mask::filled(5, 3, false);
        mask.paint_disc(2.0, 1.0, 1.0, true);
        let once = inverted(Some(&mask), [5, 3]);
        assert_eq!(once.count(), 15 - mask.count());
        assert_eq!(inverted(Some(&once), [5, 3]), mask);
        assert_eq!(inverted(None, [5, 3]).count(), 15);
    }
}
