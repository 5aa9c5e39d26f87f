//! The keyboard's focus can be seen: what has it is scrolled into view and framed.

use egui::{CornerRadius, Id, Key, LayerId, Order, Stroke, StrokeKind, Ui};

use super::theme;

/// Space between a control and its frame, in points.
const FRAME_GAP: f32 = 2.0;

/// Called at the end of a scrolled area's content: scrolls to the control in it that has just got the focus.
pub fn scroll_to(ui: &Ui) {
    let Some(id) = ui.memory(egui::Memory::focused) else { return };
    if ui.memory(|memory| memory.had_focus_last_frame(id)) {
        return;
    }
    let response = ui.ctx().read_response(id).filter(|response| response.layer_id == ui.layer_id());
    let Some(response) = response else { return };
    let seen = ui.clip_rect();
    // What is seen outside of this area is not of it, wherever its content would be if it were not clipped.
    let is_elsewhere = response.interact_rect.is_positive() && !seen.contains_rect(response.interact_rect);
    let is_ours = !is_elsewhere && ui.min_rect().contains_rect(response.rect);
    if is_ours && !seen.contains_rect(response.rect) {
        let at_once = egui::style::ScrollAnimation::none();
        ui.scroll_to_rect_animation(response.rect.expand(theme::GAP), None, at_once);
    }
}

/// Frames what the keyboard has given the focus, until the pointer is used: not every control shows it by itself.
pub fn frame_ui(ui: &Ui) {
    let memory = Id::unique("focus by key");
    let (tabbed, pressed) = ui.input(|input| {
        let keys = [Key::Tab, Key::ArrowLeft, Key::ArrowRight, Key::ArrowUp, Key::ArrowDown];
        (keys.iter().any(|key| input.key_pressed(*key)), input.pointer.any_pressed())
    });
    let was_by_key = ui.data(|data| data.get_temp(memory).unwrap_or(false));
    let by_key = (was_by_key || tabbed) && !pressed;
    ui.data_mut(|data| data.insert_temp(memory, by_key));
    let Some(response) = ui.memory(egui::Memory::focused).and_then(|id| ui.ctx().read_response(id)) else { return };
    if !by_key || !response.interact_rect.is_positive() {
        return;
    }
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Foreground, Id::unique("focus frame")));
    let painter = painter.with_clip_rect(response.interact_rect.expand(2.0 * FRAME_GAP));
    let stroke = Stroke::new(1.5, theme::tokens(ui).after);
    painter.rect_stroke(response.rect.expand(FRAME_GAP), CornerRadius::same(4), stroke, StrokeKind::Outside);
}
