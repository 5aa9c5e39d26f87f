//! Centre: one pair, large, with the controls above it.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;

use egui::{RichText, Ui};

use super::canvas::{Canvas, Look, MaskBrush, Pair};
use super::top_bar;
use crate::origins::Origins;
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
        let has_reference = reference(origins, sample).is_some() && session.shown() > 0;
        self.controls_ui(ui, session, has_reference, actions);
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
        // Until it is refined, an edited picture is compared with what it was edited from.
        let reference = reference(origins, sample).filter(|_| self.shows_reference || session.shown() == 0);
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
                (false, true) if session.shown() == 0 => "edited",
                _ => "after",
            },
            brush: paints.then_some(&mut self.brush),
        };
        actions.extend(self.canvas.ui(ui, &pair, look));
    }

    fn controls_ui(&mut self, ui: &mut Ui, session: &Session, has_reference: bool, actions: &mut Vec<Action>) {
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
            if has_reference {
                let about = "Show what the picture was edited from in place of the edited picture before refinement";
                ui.checkbox(&mut self.shows_reference, "Reference").on_hover_text(about);
            }
            ui.separator();
            self.canvas.controls_ui(ui, session, actions);
        });
    }
}

/// What an edited picture was made from, `[C, H, W]`, when it can be compared with it.
fn reference(origins: &Origins, sample: usize) -> Option<&[f32]> {
    let reference = &origins.edited.as_ref()?.reference;
    let is_comparable = reference.shape() == origins.images.shape();
    is_comparable.then(|| reference.sample(sample))
}

/// Another number for anything else.
fn number(name: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
