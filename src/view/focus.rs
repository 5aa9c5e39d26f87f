//! The keyboard's focus can be seen: what has it is scrolled into view and framed. And what is dragged can be moved by keys.

use egui::accesskit::Action;
use egui::{CornerRadius, EventFilter, Id, Key, LayerId, Modifiers, Order, Response, Stroke, StrokeKind, Ui};

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

/// Steps to the right that keys and assistive programs ask of a control while it has the focus.
pub fn key_steps(ui: &Ui, control: &Response) -> f32 {
    let mut steps = ui.input(|input| {
        input.num_accesskit_action_requests(control.id, Action::Increment) as f32
            - input.num_accesskit_action_requests(control.id, Action::Decrement) as f32
    });
    if control.has_focus() {
        let filter = EventFilter { horizontal_arrows: true, ..Default::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(control.id, filter));
        // Consumed, so that one press does not move two things.
        steps += ui.input_mut(|input| {
            input.count_and_consume_key(Modifiers::NONE, Key::ArrowRight) as f32
                - input.count_and_consume_key(Modifiers::NONE, Key::ArrowLeft) as f32
        });
    }
    steps
}

/// Tells assistive programs from where to where a control goes, by which steps, and that they may move it.
pub fn tell_range(ui: &Ui, control: &Response, (low, high): (f64, f64), step: f64) {
    ui.accesskit_node_builder(control.id, |node| {
        node.set_min_numeric_value(low);
        node.set_max_numeric_value(high);
        node.set_numeric_value_step(step);
        node.add_action(Action::Increment);
        node.add_action(Action::Decrement);
    });
}
