//! Right: this sample: class probabilities before and after, energy, budget.

use egui::{CornerRadius, Rect, RichText, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::canvas::Readout;
use super::widgets::{digits, percent, row};
use super::{theme, widgets};
use crate::classifier::probabilities;
use crate::metrics::{FEW, Sure};
use crate::parameter::Choosable as _;
use crate::refiner::{Numbers, RefineSettings, SampleState, Target};
use crate::session::{Action, Activity, Session};
use crate::trace::summary::{EDGE, OUTSIDE, Spread, Tally, used_share};
use crate::trace::{Quantity, StateId};

/// Height of what is said of a pixel, in points: always the same, so that nothing moves while one points.
pub const PIXEL_HEIGHT: f32 = 124.0;
/// Classes that are listed at first.
const TOP: usize = 5;

/// Draws the panel; `before` and `after` are the numbers of what is compared, at the start and at the shown state, `tally` those
/// of all samples. Without numbers before, something is compared of which nothing was computed.
pub fn sample_panel_ui(
    ui: &mut Ui,
    session: &Session,
    (before, after, tally): (Option<&Numbers>, Option<&Numbers>, Option<&Tally>),
    actions: &mut Vec<Action>,
) {
    let sample = session.focused();
    let Some(origins) = session.origins() else {
        widgets::heading(ui, "Sample");
        ui.label(RichText::new("Class probabilities, energy and the used share of the radius appear here.").weak());
        return;
    };
    ui.spacing_mut().item_spacing.y = 1.0;
    ui.spacing_mut().interact_size.y = 17.0;
    widgets::heading(ui, &format!("Sample {sample}"));
    let origin = origins.names.get(sample).map_or_else(|| format!("seed {}", origins.seeds[sample]), Clone::clone);
    ui.label(RichText::new(origin).weak().small());
    if let Some(edited) = &origins.edited {
        let task = edited.settings.task.option();
        row(ui, "Edited", task.label, task.about);
    }
    let target = session.target(sample);
    target_ui(ui, session, sample, target, actions);
    let Some(after) = after else {
        ui.label(RichText::new("Not evaluated yet").weak());
        return;
    };
    widgets::heading(ui, if before.is_some() { "Classes, before and after" } else { "Classes, right picture" });
    classes_ui(ui, session, (sample, target), (before, after));
    let settings = session.shown_id().and_then(|id| session.trace().settings(id)).cloned().unwrap_or_default();
    widgets::heading(ui, "Used radius");
    radius_ui(ui, after, sample, &settings);
    widgets::heading(ui, "Numbers");
    numbers_ui(ui, session, (before, after), sample, target);
    if let Some(tally) = tally.filter(|tally| tally.samples > 1) {
        all_ui(ui, tally);
    }
}

/// All samples together.
fn all_ui(ui: &mut Ui, tally: &Tally) {
    let Tally { samples, probability: [was, is], change, distance, improved, on_edge, outside } = *tally;
    let range = |spread: Spread, words: fn(f32) -> String| {
        format!("median {}, eight of ten from {} to {}", words(spread.median), words(spread.low), words(spread.high))
    };
    widgets::heading(ui, &format!("All {samples} samples"));
    let about =
        format!("Mean probability of the target class\nbefore: {}\nafter: {}", range(was, percent), range(is, percent));
    row(ui, "Mean p", format!("{} → {}", percent(was.mean), percent(is.mean)), &about);
    let about = format!(
        "Mean of every sample's own change; ± is half a 95 % interval (200 draws of the samples with repetition), which needs {FEW} samples: where it is wider than the change, that may be chance"
    );
    row(ui, "Change of p", in_points(change), &about);
    let about = "Samples whose target class became more likely, by however little; away from a class, less likely";
    row(ui, "Better", format!("{improved} of {samples}"), about);
    if let Some(count) = on_edge {
        row(ui, "On the edge", format!("{count} of {samples}"), "Samples that use the whole radius");
    }
    if outside > 0 {
        let about = "Samples that are farther away than this radius allows; the next step brings them back";
        row(ui, "Outside the ball", format!("{outside} of {samples}"), about);
    }
    row(ui, "Mean ‖δ‖", digits(distance.mean), &range(distance, digits));
}

/// A change of a share, in percentage points.
#[must_use]
pub fn in_points(change: Sure) -> String {
    let points = format!("{:+.1}", 100.0 * change.value);
    match change.interval {
        Some(interval) => format!("{points} ± {:.1} pp", 100.0 * (interval.high - change.value)),
        None => format!("{points} pp"),
    }
}

fn target_ui(ui: &mut Ui, session: &Session, sample: usize, target: usize, actions: &mut Vec<Action>) {
    let kind = session.settings().refine.target;
    let (title, about) = match kind {
        Target::Label => (
            "Target",
            "The class that refinement makes this picture more like. Another class starts a new run from the start.",
        ),
        Target::PseudoLabel => (
            "Target",
            "The class that the classifier sees in this picture before refinement. Another class makes these classes the labels, and starts a new run from the start.",
        ),
        Target::Untargeted => (
            "Away from",
            "The class that refinement makes this picture less like. Another class starts a new run from the start.",
        ),
    };
    ui.horizontal(|ui| {
        ui.label(title).on_hover_text(about);
        let names = session.class_names();
        let combo = egui::ComboBox::from_id_salt("target")
            .width(ui.available_width() - 8.0)
            .height(widgets::POPUP_HEIGHT)
            .truncate()
            .close_behavior(widgets::closing_of(names))
            .selected_text(session.class_name(target))
            .show_ui(ui, |ui| {
                widgets::class_rows(ui, names, |ui, class, name| {
                    if ui.selectable_label(class == target, name).clicked() {
                        actions.push(Action::SetTarget { sample, class });
                        ui.close();
                    }
                });
            });
        let response = combo.response.on_hover_text(about).on_disabled_hover_text(about);
        widgets::name(&response, Role::ComboBox, "Target class");
    });
}

/// The classes that are listed at first: the target, and those that are likely where the run starts or ends. They keep their
/// places while one scrubs.
fn likely(session: &Session, sample: usize, target: usize) -> Vec<usize> {
    let path = session.path();
    let ends = [path.first(), path.last()].into_iter().flatten().filter_map(|id| session.trace().numbers(*id));
    let mut most: Vec<f32> = Vec::new();
    for shares in ends.map(|numbers| probabilities(numbers.logits_of(sample))) {
        most.resize(shares.len().max(most.len()), 0.0);
        most.iter_mut().zip(shares).for_each(|(most, share)| *most = most.max(share));
    }
    let mut classes: Vec<usize> = (0..most.len()).collect();
    classes.sort_by(|a, b| (*b == target).cmp(&(*a == target)).then(most[*b].total_cmp(&most[*a])));
    classes.truncate(TOP);
    classes
}

fn classes_ui(
    ui: &mut Ui,
    session: &Session,
    (sample, target): (usize, usize),
    (before, after): (Option<&Numbers>, &Numbers),
) {
    let shares = |numbers: &Numbers| probabilities(numbers.logits_of(sample));
    let (was, is) = (before.map(shares), shares(after));
    let of = |shares: &Vec<f32>, class: usize| shares.get(class).copied().unwrap_or(0.0);
    let share = |class: usize| (was.as_ref().map(|was| of(was, class)), of(&is, class));
    let names = session.class_names();
    let id = egui::Id::unique("all classes");
    let mut is_open = ui.data(|data| data.get_temp::<bool>(id)).unwrap_or(false) && !names.is_empty();
    if is_open {
        widgets::class_rows(ui, names, |ui, class, name| words_ui(ui, name, class == target, share(class)));
    } else {
        for class in likely(session, sample, target) {
            let name = session.class_name(class);
            words_ui(ui, &name, class == target, share(class));
            bars_ui(ui, &name, share(class));
        }
    }
    if names.len() > TOP {
        let text = if is_open { "Likely classes only".to_owned() } else { format!("All {} classes", names.len()) };
        let about = "List every class that the classifier knows, or only those that are likely here";
        is_open ^= ui.small_button(text).on_hover_text(about).clicked();
        ui.data_mut(|data| data.insert_temp(id, is_open));
    }
}

/// Before and after in words; alone what came of it where nothing is known of what was.
fn change(was: Option<f32>, is: f32, words: fn(f32) -> String) -> String {
    was.map_or_else(|| words(is), |was| format!("{} → {}", words(was), words(is)))
}

/// A class and its probability before and after.
fn words_ui(ui: &mut Ui, name: &str, is_target: bool, (was, is): (Option<f32>, f32)) {
    ui.horizontal(|ui| {
        let text = RichText::new(name);
        let text = if is_target { text.strong() } else { text };
        let width = ui.available_width() - 112.0;
        ui.scope(|ui| {
            ui.set_max_width(width);
            ui.add(egui::Label::new(text).truncate());
        });
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let text = RichText::new(change(was, is, percent)).size(12.0);
            ui.label(text).on_hover_text("Probability of this class, before and after");
        });
    });
}

/// Both probabilities as bars.
fn bars_ui(ui: &mut Ui, name: &str, (was, is): (Option<f32>, f32)) {
    let tokens = theme::tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 9.0), Sense::hover());
    let painter = ui.painter();
    let bars = [was.map(|was| (0.0, was, tokens.before)), Some((5.0, is, tokens.after))];
    for (top, share, color) in bars.into_iter().flatten() {
        let bar = Rect::from_min_size(rect.min + vec2(0.0, top), vec2(rect.width(), 4.0));
        painter.rect_filled(bar, CornerRadius::same(1), tokens.grid.gamma_multiply(0.6));
        let filled = bar.with_max_x(bar.left() + bar.width() * share.clamp(0.0, 1.0));
        painter.rect_filled(filled, CornerRadius::same(1), color);
    }
    let text = format!("{name}: {}", change(was, is, percent));
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, &text));
    response.on_hover_text(text);
}

/// Whether the state that is shown is where its run begins: no step led to it.
fn is_start(session: &Session) -> bool {
    let first = |id: StateId| session.trace().run(id.run).is_some_and(|run| run.first_iteration() == id.iteration);
    session.shown_id().is_some_and(first)
}

fn numbers_ui(
    ui: &mut Ui,
    session: &Session,
    (before, after): (Option<&Numbers>, &Numbers),
    sample: usize,
    target: usize,
) {
    let energy = |numbers: &Numbers| numbers.logits_of(sample).get(target).map_or(f32::NAN, |logit| -logit);
    let at = |list: &[f32]| list.get(sample).copied().unwrap_or(f32::NAN);
    let text = change(before.map(energy), energy(after), digits);
    row(ui, "Energy E(x, y)", text, "E(x, y) = −f_y(x), before and after; lower is more like a real picture");
    // Where it was another objective, no value of it compares.
    let was = before.map(|before| at(&session.comparable_start().unwrap_or(before).objective));
    let text = change(was, at(&after.objective), digits);
    let about = "What refinement increases, at the shown iteration and where it was first asked for: at the start, or when the objective was changed";
    row(ui, "Objective", text, about);
    let text = digits(at(&after.gradient_l2));
    row(ui, "‖gradient‖₂", text, "L2 length of the objective's gradient at the shown iteration");
    let is_start = is_start(session);
    let of_step = |list: &[f32], words: fn(f32) -> String| if is_start { "–".to_owned() } else { words(at(list)) };
    let about = "How far the last iteration of this run moved the picture, on [0,1] pixels";
    row(ui, "Last step, L2", of_step(&after.step_l2, digits), about);
    let about = "Share of values that the clamp to [0,1] changed in the last iteration of this run";
    row(ui, "Clipped", of_step(&after.clipped, percent), about);
    let state = after.state.get(sample).copied().unwrap_or_default();
    let label = match state {
        // Nothing moves while nothing runs.
        SampleState::Active if session.activity() != Activity::Running => "can move on",
        state => state.words().label,
    };
    row(ui, "Status", label, state.words().about);
}

/// Used and allowed share of the ball.
fn radius_ui(ui: &mut Ui, after: &Numbers, sample: usize, settings: &RefineSettings) {
    let at = |list: &[f32]| list.get(sample).copied().unwrap_or(f32::NAN);
    let (l2, linf) = (at(&after.delta_l2), at(&after.delta_linf));
    match used_share(after, sample, settings) {
        Some(share) => ball_ui(ui, (Quantity::Distance.value(after, sample, 0, settings.norm), share), settings),
        None => drop(ui.label(RichText::new("No ball: this rule may go any distance").weak().small())),
    }
    row(ui, "‖δ‖₂", digits(l2), "L2 length of after − before, over C·H·W values in [0,1]");
    row(ui, "‖δ‖∞", format!("{} = {:.1}/255", digits(linf), linf * 255.0), "Largest change of a single value");
}

/// A gauge of the radius.
fn ball_ui(ui: &mut Ui, (used, share): (f32, f32), settings: &RefineSettings) {
    let tokens = theme::tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(2), tokens.grid.gamma_multiply(0.6));
    let full = share >= EDGE;
    let color = if full { tokens.limit } else { tokens.after };
    painter.rect_filled(
        rect.with_max_x(rect.left() + rect.width() * share.clamp(0.0, 1.0)),
        CornerRadius::same(2),
        color,
    );
    // Where the planned steps can get at most.
    if let Some(reach) = settings.reach().filter(|reach| *reach < 1.0) {
        let x = rect.left() + rect.width() * reach as f32;
        painter.line_segment([pos2(x, rect.top()), pos2(x, rect.bottom())], Stroke::new(1.5, tokens.warning));
    }
    let text = format!("Radius: {} of {} used", digits(used), digits(settings.eps as f32));
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, &text));
    response.on_hover_text("Distance from the generated picture, as a share of the radius");
    let verdict = if share > OUTSIDE {
        RichText::new("outside the ball: the next step brings it back").color(tokens.limit)
    } else if full {
        RichText::new("on the edge of the ball: the whole radius is used").color(tokens.limit)
    } else if let Some((reach, true)) = settings.reach_in_words() {
        RichText::new(reach).color(tokens.warning)
    } else {
        RichText::new("inside the ball")
    };
    ui.horizontal(|ui| {
        ui.label(format!("{} / {}, {}", digits(used), digits(settings.eps as f32), percent(share)));
    });
    ui.label(verdict.small());
}

/// The pixel below the pointer, in a place of its own: what is read while one points cannot be scrolled to.
pub fn pixel_ui(ui: &mut Ui, readout: Option<Readout>) {
    ui.spacing_mut().item_spacing.y = 1.0;
    ui.spacing_mut().interact_size.y = 17.0;
    widgets::heading(ui, "Pixel");
    let Some(Readout { x, y, before, after }) = readout else {
        ui.label(RichText::new("Point at a pixel of the canvas").weak());
        return;
    };
    ui.label(format!("x {x}, y {y}"));
    egui::Grid::new("pixel").num_columns(4).min_col_width(30.0).show(ui, |ui| {
        for (name, values) in [("before", before), ("after", after)] {
            ui.label(RichText::new(name).weak()).on_hover_text("Red, green and blue, from 0 to 1");
            for value in values {
                ui.label(RichText::new(format!("{value:>6.3}")).monospace());
            }
            ui.end_row();
            ui.label(RichText::new("k/255").weak()).on_hover_text("The same in grey levels of a file, from 0 to 255");
            for value in values {
                ui.label(RichText::new(format!("{:>6.1}", value * 255.0)).monospace());
            }
            ui.end_row();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::origins::Origins;
    use crate::session::toy;

    #[test]
    fn classes_keep_their_places_while_one_scrubs() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![3], Vec::new()));
        for (iteration, logits) in [(0, [0.0, 4.0, 1.0, 0.0]), (1, [5.0, 2.0, 1.0, 3.0])] {
            toy::come(&mut session, of, iteration, &logits);
        }
        let listed = [0, 1].map(|place| {
            session.handle(Action::Show(place));
            assert_eq!(is_start(&session), place == 0, "no step led to the start");
            likely(&session, 0, 3)
        });
        assert_eq!(listed, [[3, 1, 0, 2]; 2], "the target, then what is likely at either end");
    }
}
