//! Centre: one pair, large, with the controls above it.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use egui::{RichText, Ui};

use super::canvas::{Canvas, Look, MaskBrush, Pair};
use super::pair_grid::UNDER_WAY;
use super::top_bar;
use crate::image::ImageBatch;
use crate::refiner::State;
use crate::session::{Action, Compare, Lookup, Session, Verb};
use crate::trace::StateId;

/// Seconds that each picture of a blinking pair is shown.
const BLINK_SECS: f64 = 0.5;

/// The canvas and what lies on it.
#[derive(Default)]
pub struct CompareView {
    /// Zoom, pan and cut.
    pub canvas: Canvas,
    /// Paints the mask for inpainting.
    pub brush: MaskBrush,
    /// Edited pictures are compared with what they were edited from.
    shows_reference: bool,
    /// Names the pictures that were shown last.
    epoch: u64,
}

impl CompareView {
    /// Notices that there are other pictures: what was painted led to these, so its work is done.
    pub fn notice_pictures(&mut self, session: &Session) {
        if self.epoch != session.epoch() {
            self.epoch = session.epoch();
            self.brush.is_on &= session.origins().is_none_or(|origins| origins.edited.is_none());
        }
    }

    /// What edited pictures were made from, where that is compared with: until they are refined, and on the canvas when it is
    /// asked for. Nothing was computed of it, so no number stands beside it.
    pub fn input<'a>(&self, session: &'a Session) -> Option<&'a ImageBatch> {
        let is_asked = self.shows_reference && session.selected().is_some();
        session.origins()?.input().filter(|_| session.shown() == 0 || is_asked)
    }

    /// Draws the pair of one sample; `shown` is the state to compare with the picture before, unless one `peeks` at that for a
    /// moment on both sides.
    pub fn ui(
        &mut self,
        ui: &mut Ui,
        session: &Session,
        sample: usize,
        (shown, peeks): (Option<&(StateId, Lookup)>, bool),
        actions: &mut Vec<Action>,
    ) {
        let Some(origins) = session.origins() else { return };
        self.controls_ui(ui, session, actions);
        ui.add_space(2.0);
        let after: Option<&Arc<State>> = match shown {
            _ if peeks => None,
            Some((_, Lookup::Ready(state))) => Some(state),
            Some((id, Lookup::Missing)) => {
                ui.centered_and_justified(|ui| {
                    let text = format!("Iteration {} was not kept: the session was saved small.", id.iteration);
                    ui.label(RichText::new(text).weak());
                });
                return;
            }
            Some((_, Lookup::Loading)) | None => None,
        };
        let [_, c, h, w] = origins.images.shape();
        let origin = origins.images.sample(sample);
        let reference = self.input(session).map(|input| input.sample(sample));
        let shown_id = after.and(shown).map(|(id, _)| *id);
        let keys = [
            number((session.epoch(), sample, reference.is_some())),
            number((session.epoch(), sample, shown_id, session.shows_best())),
        ];
        let pair = Pair {
            before: reference.unwrap_or(origin),
            after: after.map_or(origin, |state| state.images.sample(sample)),
            shape: [c, h, w],
            keys,
        };
        let time = ui.input(|input| input.time);
        if session.compare() == Compare::Blink {
            let left = BLINK_SECS - time % BLINK_SECS;
            ui.ctx().request_repaint_after_secs(left.max(0.01) as f32);
        }
        let paints = self.brush.is_on && session.settings().edit.task.needs_mask();
        if paints {
            self.brush.adopt(session.mask(), [w as u32, h as u32]);
        }
        let look = Look {
            compare: session.compare(),
            blink_after: (time / BLINK_SECS) as u64 % 2 == 1,
            before: if reference.is_some() { "input" } else { "before" },
            after: match (peeks, reference.is_some()) {
                (true, _) => "before",
                _ if session.preview().is_some() => UNDER_WAY,
                (false, true) if session.shown() == 0 => "edited",
                _ => "after",
            },
            brush: paints.then_some(&mut self.brush),
        };
        actions.extend(self.canvas.ui(ui, &pair, look));
    }

    fn controls_ui(&mut self, ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
        // A line that is too narrow for everything is two lines.
        ui.horizontal_wrapped(|ui| {
            top_bar::verb_button(ui, session, Verb::Grid, "◀ All pairs", actions);
            top_bar::verb_button(ui, session, Verb::PreviousSample, "▲", actions);
            top_bar::verb_button(ui, session, Verb::NextSample, "▼", actions);
            ui.separator();
            for compare in Compare::ALL {
                let chosen = session.compare() == compare;
                if ui.selectable_label(chosen, compare.label()).on_hover_text(compare.about()).clicked() {
                    actions.push(Action::Compare(compare));
                }
            }
            if session.origins().is_some_and(|origins| origins.input().is_some()) {
                let about = "Show what the picture was edited from in place of the edited picture before refinement";
                // Grey until it is refined, and not gone: nothing moves while one scrubs.
                let can_choose = session.shown() > 0;
                let mut is_shown = self.shows_reference || !can_choose;
                let input = ui.add_enabled(can_choose, egui::Checkbox::new(&mut is_shown, "Input"));
                if input.on_hover_text(about).on_disabled_hover_text(about).changed() {
                    self.shows_reference = is_shown;
                }
            }
            ui.separator();
            self.canvas.controls_ui(ui, session, actions);
        });
    }
}

/// Another number for anything else.
fn number(name: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
