//! The list of runs: where each goes, what sets it apart, its name; and what can be done with the one that is shown.

use std::collections::BTreeMap;

use egui::{RichText, Role, Ui};

use super::focus;
use super::generate_panel::short_name;
use super::widgets::{self, percent};
use crate::refiner::RefineSettings;
use crate::session::{Action, Activity, Export, MOST_LETTERS, Session};
use crate::trace::summary::{Spread, differences, in_words};
use crate::trace::{Quantity, Run, RunId, StateId, as_done};

/// Width of the list, in points: a line has room for what sets a run apart.
const WIDTH: f32 = 420.0;
/// Largest height of its lines, in points.
const ROWS_HEIGHT: f32 = 220.0;
/// Smallest and largest width of its button, in points.
const BUTTON_WIDTH: (f32, f32) = (110.0, 190.0);

/// What the list keeps from frame to frame.
#[derive(Default)]
pub struct RunList {
    /// The name that is being typed, and of which run.
    name: Option<(RunId, String)>,
    /// Mean probability of the targets at the end of each run that was listed: of which origins, and with how many iterations.
    means: BTreeMap<RunId, ((u64, u32), f32)>,
    /// The run whose line was scrolled to since the list was opened.
    sought: Option<RunId>,
}

/// Draws the button that opens the list.
pub fn run_list_ui(ui: &mut Ui, session: &Session, list: &mut RunList, actions: &mut Vec<Action>) {
    let Some(shown) = session.shown_run().and_then(|run| session.trace().run(run)) else { return };
    let combo = egui::ComboBox::from_id_salt("runs")
        .width(ui.available_width().clamp(BUTTON_WIDTH.0, BUTTON_WIDTH.1))
        .height(widgets::POPUP_HEIGHT)
        .truncate()
        .close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside)
        .selected_text(title(shown))
        .show_ui(ui, |ui| {
            ui.set_width(WIDTH);
            rows_ui(ui, session, shown, list, actions);
            ui.separator();
            shown_ui(ui, session, shown, list, actions);
        });
    if combo.inner.is_none() {
        list.sought = None;
    }
    // Closed in whatever way, what was typed is the name.
    if combo.inner.is_none()
        && let Some((run, text)) = list.name.take()
        && session.trace().run(run).is_some_and(|run| run.tag.label != text)
    {
        actions.push(Action::NameRun(run, text));
    }
    // The button may be too narrow for the title.
    let about = "All runs of these pictures, what sets them apart, and what can be done with the one that is shown";
    let response = combo.response.on_hover_text(format!("{}\n{about}", title(shown)));
    widgets::name(&response, Role::ComboBox, "Shown run");
}

/// A line for every run. However many there are, what can be done with the shown one stays in sight below them.
fn rows_ui(ui: &mut Ui, session: &Session, shown: &Run, list: &mut RunList, actions: &mut Vec<Action>) {
    let differences = differences(session.trace());
    let mut row = |ui: &mut Ui, run: &Run| {
        let apart = differences.iter().find(|(id, _)| *id == run.id).map_or("", |(_, words)| words.as_str());
        let mean = list.mean_probability(session, run);
        // A name that takes the whole line leaves half of it to what sets its run apart.
        let button = egui::Button::selectable(run.id == shown.id, title(run)).truncate();
        let chosen = ui.scope(|ui| {
            ui.set_max_width(0.5 * WIDTH);
            ui.add(button)
        });
        if run.id == shown.id && !ui.is_sizing_pass() && list.sought != Some(shown.id) {
            // In the middle when the list opens; what is chosen in it stays where it is.
            let place = list.sought.replace(shown.id).is_none().then_some(egui::Align::Center);
            ui.scroll_to_rect_animation(chosen.inner.rect, place, egui::style::ScrollAnimation::none());
        }
        if chosen.inner.on_hover_text(title(run)).clicked() {
            actions.push(Action::ShowRun(run.id));
        }
        // What runs are compared by is whole, whatever sets them apart.
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.label(RichText::new(mean).small());
            let words = egui::Label::new(RichText::new(apart).weak().small()).truncate();
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| ui.add(words));
        });
    };
    let rows = egui::ScrollArea::vertical().id_salt("rows").max_height(ROWS_HEIGHT).auto_shrink([false, true]);
    rows.show(ui, |ui| {
        session.trace().runs().for_each(|run| drop(ui.horizontal(|ui| row(ui, run))));
        focus::scroll_to(ui);
    });
}

/// What a run is called, and its iterations.
fn title(run: &Run) -> String {
    let last = run.last_iteration().unwrap_or(run.first_iteration());
    let name = if run.tag.label.is_empty() { format!("Run {}", run.id.0) } else { run.tag.label.clone() };
    match run.parent {
        None => format!("{name}: 0 to {last}"),
        Some(parent) => format!("{name}: from {} of run {} to {last}", parent.iteration, parent.run.0),
    }
}

impl RunList {
    /// Mean probability of the targets at the end of a run, in words; nothing before its first state.
    fn mean_probability(&mut self, session: &Session, run: &Run) -> String {
        let Some(last) = run.last_iteration() else { return String::new() };
        let of = (session.epoch(), last);
        let mean = match self.means.get(&run.id) {
            Some((known, mean)) if *known == of => *mean,
            _ => mean_probability(session, run, last),
        };
        self.means.insert(run.id, (of, mean));
        format!("mean p {}", percent(mean))
    }
}

fn mean_probability(session: &Session, run: &Run, last: u32) -> f32 {
    let Some(numbers) = run.numbers(last) else { return f32::NAN };
    let labels = session.origins().map_or(&[][..], |origins| &origins.labels);
    let targets = run.targets.as_deref().unwrap_or(labels);
    let values = targets
        .iter()
        .enumerate()
        .map(|(sample, target)| Quantity::Probability.value(numbers, sample, *target, run.settings.norm));
    Spread::of(values).mean
}

/// The run and the iteration that are shown, with what led to it; an iteration before a branch is of the run before.
fn description(of: StateId, shown: RunId, settings: &RefineSettings) -> String {
    let whose = if of.run == shown { String::new() } else { format!(" (of run {})", of.run.0) };
    let (iteration, classifier) = (of.iteration, short_name(&settings.classifier));
    format!("Run {}, iteration {iteration}{whose}: {}, classifier {classifier}", shown.0, in_words(settings))
}

/// The run that is shown: its name, its settings, its end.
fn shown_ui(ui: &mut Ui, session: &Session, shown: &Run, list: &mut RunList, actions: &mut Vec<Action>) {
    let of = session.shown_id().unwrap_or(StateId { run: shown.id, iteration: shown.first_iteration() });
    let iteration = of.iteration;
    let settings = session.trace().settings(of).unwrap_or(&shown.settings);
    let text = description(of, shown.id, settings);
    ui.add(egui::Label::new(RichText::new(text).small()).wrap());
    ui.horizontal(|ui| {
        let label = ui.label("Name");
        let (id, text) = list.name.get_or_insert_with(|| (shown.id, shown.tag.label.clone()));
        if *id != shown.id {
            (*id, *text) = (shown.id, shown.tag.label.clone());
        }
        let hint = format!("Run {}", shown.id.0);
        let edit = egui::TextEdit::singleline(text).hint_text(hint).desired_width(150.0).char_limit(MOST_LETTERS);
        let field = widgets::text_field(ui, edit)
            .labelled_by(label.id)
            .on_hover_text("What to call this run, here and in session files");
        if field.lost_focus() {
            actions.push(Action::NameRun(shown.id, text.clone()));
        } else if !field.has_focus() {
            text.clone_from(&shown.tag.label);
        }
        let use_it = egui::Button::new("Use its settings");
        let own = &session.settings().refine;
        // The plan of what goes on, or is held, is not cut to what is done of it.
        let is_planned = matches!(session.activity(), Activity::Running | Activity::Paused);
        let done = if is_planned {
            RefineSettings { iterations: own.iterations, ..settings.clone() }
        } else {
            as_done(settings, iteration)
        };
        let differs = done != *own;
        let about = "Set what is on the left as it was for the iterate that is shown";
        if ui.add_enabled(differs, use_it).on_hover_text(about).on_disabled_hover_text("They are in force").clicked() {
            let mut all = session.settings().clone();
            all.refine = done;
            actions.push(Action::Edit(Box::new(all)));
        }
        if ui.button("Copy").on_hover_text("Copy these settings as text, for a caption").clicked() {
            actions.push(Action::Export(Export::CopySettings));
        }
        let kept = session.keeps_run(shown.id);
        let delete = ui.add_enabled(kept.is_none(), egui::Button::new("Delete…"));
        let delete = delete.on_hover_text("Delete this run and its iterates; you are asked first");
        if delete.on_disabled_hover_text(kept.unwrap_or_default()).clicked() {
            actions.push(Action::DeleteRun(shown.id));
            ui.close();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_described_with_the_run_and_the_classifier_that_it_is_of() {
        let settings = RefineSettings { classifier: "models/judge.pt".to_owned(), ..RefineSettings::default() };
        let of = StateId { run: RunId(1), iteration: 2 };
        let text = description(of, RunId(3), &settings);
        assert!(
            text.starts_with("Run 3, iteration 2 (of run 1): ") && text.ends_with(", classifier judge.pt"),
            "{text}"
        );
        assert!(description(of, RunId(1), &settings).starts_with("Run 1, iteration 2: "));
    }
}
