//! Left: everything that is set, and what is being typed there.

use egui::Ui;

use super::canvas::MaskBrush;
use super::generate_panel::{self, Wish};
use super::ts_field::TsField;
use super::{compute_panel, edit_panel, focus, refine_panel};
use crate::session::{Action, Session, Verb};

/// Text of the settings that is being typed and is no setting yet.
#[derive(Default)]
pub struct Typed {
    generate: TsField,
    edit: TsField,
}

impl Typed {
    /// Why a verb cannot be done: a text that it would use stands there in red.
    #[must_use]
    pub fn refusal(&self, session: &Session, verb: Verb) -> Option<String> {
        match verb {
            Verb::Generate => self.generate.refusal(),
            Verb::Edit if session.settings().edit.task.visits_grid() => self.edit.refusal(),
            _ => None,
        }
    }
}

/// Draws the settings and turns what was edited into one action.
pub fn settings_ui(
    ui: &mut Ui,
    session: &Session,
    typed: &mut Typed,
    brush: &mut MaskBrush,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let mut settings = session.settings().clone();
    let mut wish = None;
    egui::ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| {
        let ts = &mut typed.generate;
        let generate = generate_panel::generate_panel_ui(ui, session, &mut settings.generate, ts, actions);
        ui.add_space(4.0);
        ui.separator();
        edit_panel::edit_panel_ui(ui, session, &mut settings.edit, (&mut typed.edit, brush), actions);
        ui.separator();
        let refine = refine_panel::refine_panel_ui(ui, session, &mut settings.refine, actions);
        ui.separator();
        compute_panel::compute_panel_ui(ui, session, &mut settings.compute, actions);
        wish = generate.or(refine);
        focus::scroll_to(ui);
    });
    if settings != *session.settings() {
        actions.push(Action::Edit(Box::new(settings)));
    }
    wish
}
