//! Bottom: the iterations as a film: transport, traces, scrubbing.

use egui::{
    self, Align2, CornerRadius, Rect, Response, RichText, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2,
};

use super::theme;
use super::top_bar::verb_button;
use super::widgets::{digits, percent};
use crate::parameter::marks;
use crate::refiner::{Norm, RefineSettings};
use crate::session::{Action, Session, Verb};
use crate::trace::{Quantity, RunId, StateId, Trace, curve};

/// Curves with more values are drawn with this many points: more than one per point of the screen is lost work.
const MAX_POINTS: usize = 400;

/// Width of the numbers left of a plot, in points.
const AXIS: f32 = 42.0;

/// Origins, run, sample and its target.
type Owner = (u64, Option<RunId>, usize, usize);

/// The traces of one sample, computed again only when they changed.
#[derive(Default)]
pub struct Traces {
    /// What the values belong to, and the norm of distances.
    key: Option<(Owner, Norm)>,
    /// Places of the path that are computed.
    places: usize,
    /// Per quantity: its value at every place of the path.
    values: Vec<Vec<f32>>,
    /// Radius in force at every place of the path; NaN without a ball.
    radius: Vec<f32>,
    /// Places after which settings changed, or a branch began.
    marks: Vec<(usize, String)>,
}

impl Traces {
    fn update(&mut self, trace: &Trace, path: &[StateId], owner: Owner) {
        let (.., sample, target) = owner;
        let settings = |id: &StateId| trace.run(id.run).map(|run| run.settings_at(id.iteration));
        let norm = path.last().and_then(settings).map_or(Norm::L2, |settings| settings.norm);
        let key = (owner, norm);
        // A run only grows, and settings that change bear on the states that come after: what was computed stays.
        if self.key != Some(key) || self.places > path.len() {
            *self = Self { key: Some(key), values: vec![Vec::new(); Quantity::ALL.len()], ..Self::default() };
        }
        for place in self.places..path.len() {
            let id = &path[place];
            let numbers = trace.numbers(*id);
            for (quantity, values) in Quantity::ALL.iter().zip(&mut self.values) {
                values.push(numbers.map_or(f32::NAN, |numbers| quantity.value(numbers, sample, target, norm)));
            }
            let ball = settings(id).filter(|settings| settings.rule.has_ball());
            self.radius.push(ball.map_or(f32::NAN, |settings| settings.eps as f32));
            let Some(previous) = place.checked_sub(1) else { continue };
            let (Some(before), Some(after)) = (settings(&path[previous]), settings(id)) else { continue };
            // A state k is led to by the settings at k; state 0 by none.
            if previous > 0 && before != after {
                self.marks.push((previous, marks(RefineSettings::TABLE, before, after).join(", ")));
            } else if path[previous].run != id.run {
                self.marks.push((previous, "branch".to_owned()));
            }
        }
        self.places = path.len();
    }
}

/// Draws the timeline.
pub fn timeline_ui(ui: &mut Ui, session: &Session, traces: &mut Traces, actions: &mut Vec<Action>) {
    let path = session.path();
    let sample = session.focused();
    traces.update(session.trace(), path, (session.epoch(), session.shown_run(), sample, session.target(sample)));
    ui.add_space(2.0);
    transport_ui(ui, session, path, actions);
    ui.add_space(2.0);
    if path.is_empty() {
        ui.centered_and_justified(|ui| {
            ui.label(RichText::new("The traces of the iterations appear here").weak());
        });
        return;
    }
    let gap = 8.0;
    let area = ui.available_rect_before_wrap();
    let width = (area.width() - gap * (Quantity::ALL.len() - 1) as f32) / Quantity::ALL.len() as f32;
    for (i, quantity) in Quantity::ALL.into_iter().enumerate() {
        let min = pos2(area.left() + i as f32 * (width + gap), area.top());
        let rect = Rect::from_min_size(min, vec2(width, area.height() - 4.0));
        plot_ui(ui, rect, session, traces, quantity, actions);
    }
    ui.allocate_rect(area, Sense::hover());
}

fn transport_ui(ui: &mut Ui, session: &Session, path: &[StateId], actions: &mut Vec<Action>) {
    ui.horizontal(|ui| {
        verb_button(ui, session, Verb::FirstIteration, "|◀", actions);
        verb_button(ui, session, Verb::PreviousIteration, "◀", actions);
        verb_button(ui, session, Verb::Play, if session.is_playing() { "Halt" } else { "Play" }, actions);
        verb_button(ui, session, Verb::NextIteration, "▶", actions);
        verb_button(ui, session, Verb::LastIteration, "▶|", actions);
        verb_button(ui, session, Verb::BestIteration, "Best", actions);
        verb_button(ui, session, Verb::Branch, "Branch here", actions);
        ui.separator();
        let last = path.len().saturating_sub(1);
        let mut place = session.shown();
        ui.spacing_mut().slider_width = (ui.available_width() - 330.0).max(36.0);
        let slider = egui::Slider::new(&mut place, 0..=last.max(1)).show_value(false);
        let response = ui.add_enabled(last > 0, slider).on_hover_text("Drag to scrub through the iterations (← →)");
        super::widgets::name(&response, Role::Slider, "Shown iteration");
        if response.changed() {
            actions.push(Action::Show(place.min(last)));
        }
        let following = if session.follows() && last > 0 { " (newest)" } else { "" };
        let text = format!("Iteration {} of {last}{following}", session.shown());
        ui.add_sized([158.0, 18.0], egui::Label::new(text))
            .on_hover_text("k iterations have k+1 states; 0 is the start");
        runs_ui(ui, session, actions);
    });
}

fn runs_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    let runs: Vec<_> = session.trace().runs().collect();
    let Some(shown) = session.shown_run() else { return };
    let title = |run: &crate::trace::Run| {
        let last = run.last_iteration().unwrap_or(run.first_iteration());
        match run.parent {
            None => format!("Run {}: 0 to {last}", run.id.0),
            Some(parent) => format!("Run {}: from {}@{} to {last}", run.id.0, parent.run.0, parent.iteration),
        }
    };
    let text = session.trace().run(shown).map_or_else(String::new, title);
    let combo = egui::ComboBox::from_id_salt("runs").width(132.0).truncate().selected_text(text).show_ui(ui, |ui| {
        for run in runs {
            if ui.selectable_label(run.id == shown, title(run)).clicked() {
                actions.push(Action::ShowRun(run.id));
            }
        }
    });
    let response = combo.response.on_hover_text("All runs of these pictures: Reset and Branch begin new ones");
    super::widgets::name(&response, Role::ComboBox, "Shown run");
}

const fn title(quantity: Quantity, norm: Norm) -> (&'static str, &'static str) {
    match (quantity, norm) {
        (Quantity::Objective, _) => ("Objective", "What refinement increases, at each state"),
        (Quantity::Probability, _) => ("Target probability", "Softmax probability of the target class, 0 to 1"),
        (Quantity::Energy, _) => ("Energy", "E(x, y) = −f_y(x); lower is more like a real picture of the class"),
        (Quantity::Distance, Norm::L2) => ("‖δ‖₂", "L2 distance from the generated picture; the line is the radius"),
        (Quantity::Distance, Norm::Linf) => ("‖δ‖∞", "L∞ distance from the generated picture; the line is the radius"),
    }
}

fn plot_ui(ui: &mut Ui, rect: Rect, session: &Session, traces: &Traces, quantity: Quantity, actions: &mut Vec<Action>) {
    let index = Quantity::ALL.iter().position(|other| *other == quantity).unwrap_or(0);
    let values = &traces.values[index];
    let (name, about) = title(quantity, traces.key.map_or(Norm::L2, |(_, norm)| norm));
    let tokens = theme::tokens(ui);
    let response = ui.interact(rect, ui.scope_id().with(("trace", index)), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Slider, true, format!("Trace: {name}")));

    let last = values.len().saturating_sub(1);
    let plot = Rect::from_min_max(rect.min + vec2(AXIS, 22.0), rect.max - vec2(8.0, 6.0));
    let bounds = curve::bounds(quantity, values, &traces.radius);
    let x = |place: usize| plot.left() + plot.width() * place as f32 / last.max(1) as f32;
    let y = |value: f32| plot.bottom() - plot.height() * (value - bounds.0) / (bounds.1 - bounds.0);

    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, CornerRadius::same(3), tokens.plate);
    if quantity == Quantity::Distance {
        painter.extend(line(&traces.radius, &x, &y, Stroke::new(1.0, tokens.limit)));
    }
    for (place, _) in &traces.marks {
        painter.vline(x(*place), plot.y_range(), Stroke::new(1.0, tokens.info.gamma_multiply(0.7)));
    }
    painter.extend(line(values, &x, &y, Stroke::new(1.6, tokens.after)));
    if values.len() == 1 && values[0].is_finite() {
        painter.circle_filled(pos2(x(0), y(values[0])), 2.5, tokens.after);
    }
    let shown = session.shown().min(last);
    painter.vline(x(shown), plot.y_range(), Stroke::new(1.0, ui.visuals().strong_text_color().gamma_multiply(0.6)));
    let now = values.get(shown).copied().unwrap_or(f32::NAN);
    if now.is_finite() {
        painter.circle_filled(pos2(x(shown), y(now)), 3.5, tokens.after);
    }
    let small = egui::FontId::proportional(11.0);
    let text = if quantity == Quantity::Probability { percent(now) } else { digits(now) };
    let text_color = ui.visuals().text_color();
    painter.text(rect.min + vec2(6.0, 3.0), Align2::LEFT_TOP, name, small.clone(), text_color);
    let value_at = pos2(rect.right() - 6.0, rect.top() + 3.0);
    painter.text(value_at, Align2::RIGHT_TOP, text, small.clone(), ui.visuals().strong_text_color());
    let weak = ui.visuals().weak_text_color();
    let tiny = egui::FontId::proportional(9.5);
    let axis = plot.left() - 5.0;
    painter.text(pos2(axis, plot.top() - 2.0), Align2::RIGHT_TOP, digits(bounds.1), tiny.clone(), weak);
    painter.text(pos2(axis, plot.bottom() + 2.0), Align2::RIGHT_BOTTOM, digits(bounds.0), tiny, weak);
    painter.vline(plot.left(), plot.y_range(), Stroke::new(1.0, tokens.grid));
    painter.hline(plot.x_range(), plot.bottom(), Stroke::new(1.0, tokens.grid));

    scrub(&response, plot, last, actions);
    let hover = response.hover_pos().map(|pos| place_at(pos.x, plot, last));
    response.on_hover_ui_at_pointer(|ui| {
        ui.label(RichText::new(name).strong());
        ui.label(about);
        if let Some(place) = hover {
            let value = values.get(place).copied().unwrap_or(f32::NAN);
            ui.label(format!("Iteration {place}: {}", digits(value)));
            if let Some((_, mark)) = traces.marks.iter().find(|(at, _)| *at == place) {
                ui.label(format!("After it: {mark}"));
            }
        }
    });
}

fn scrub(response: &Response, plot: Rect, last: usize, actions: &mut Vec<Action>) {
    if (response.dragged() || response.clicked())
        && let Some(pos) = response.interact_pointer_pos()
    {
        actions.push(Action::Show(place_at(pos.x, plot, last)));
    }
}

fn place_at(x: f32, plot: Rect, last: usize) -> usize {
    let share = ((x - plot.left()) / plot.width().max(1.0)).clamp(0.0, 1.0);
    (share * last as f32).round() as usize
}

/// A curve with gaps where values are not numbers. Where there are more values than points on the screen, each stretch is
/// drawn by its smallest and largest value, so that no peak is lost.
fn line(values: &[f32], x: &dyn Fn(usize) -> f32, y: &dyn Fn(f32) -> f32, stroke: Stroke) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut points = Vec::new();
    let mut flush = |points: &mut Vec<egui::Pos2>| {
        if points.len() > 1 {
            shapes.push(Shape::line(std::mem::take(points), stroke));
        }
        points.clear();
    };
    for place in curve::drawn_places(values, MAX_POINTS) {
        if values[place].is_finite() {
            points.push(pos2(x(place), y(values[place])));
        } else {
            flush(&mut points);
        }
    }
    flush(&mut points);
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::Numbers;
    use crate::trace::Change;

    #[test]
    fn settings_that_change_during_a_run_cost_no_state_again() {
        let mut trace = Trace::default();
        let run = RunId(1);
        trace.begin(run, None, RefineSettings::default());
        let push = |trace: &mut Trace, iteration| {
            let numbers = Numbers { objective: vec![iteration as f32], logits: vec![0.0, 1.0], ..Default::default() };
            assert!(trace.push(StateId { run, iteration }, numbers));
        };
        (0..3).for_each(|iteration| push(&mut trace, iteration));
        let (mut traces, owner) = (Traces::default(), (1, Some(run), 0, 1));
        traces.update(&trace, &trace.path(run), owner);
        // Would be overwritten if it were computed again.
        traces.values[0][1] = 42.0;
        let eps = 1.5;
        trace.change(run, Change { iteration: 2, settings: RefineSettings { eps, ..Default::default() } });
        traces.update(&trace, &trace.path(run), owner);
        push(&mut trace, 3);
        traces.update(&trace, &trace.path(run), owner);
        assert_eq!(traces.values[0], [0.0, 42.0, 2.0, 3.0]);
        assert_eq!((traces.radius[2], traces.radius[3], traces.marks.len()), (3.0, 1.5, 1));
        let settings = RefineSettings { norm: Norm::Linf, ..Default::default() };
        trace.change(run, Change { iteration: 3, settings });
        push(&mut trace, 4);
        traces.update(&trace, &trace.path(run), owner);
        assert_eq!(traces.values[0], [0.0, 1.0, 2.0, 3.0, 4.0], "distances in another norm are others");
    }

    #[test]
    fn the_pointer_finds_the_nearest_place() {
        let plot = Rect::from_min_max(pos2(100.0, 0.0), pos2(200.0, 50.0));
        assert_eq!([90.0, 100.0, 149.0, 151.0, 260.0].map(|x| place_at(x, plot, 10)), [0, 0, 5, 5, 10]);
    }
}
