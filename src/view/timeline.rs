//! Bottom: the iterations as a film: transport, traces, scrubbing.

use std::ops::Range;

use egui::{
    self, Align2, CornerRadius, Mesh, Rect, Response, RichText, Role, Sense, Shape, Stroke, Tooltip, Ui, WidgetInfo,
    pos2, vec2,
};

use super::other_runs::OtherRuns;
use super::run_list::{RunList, run_list_ui};
use super::top_bar::verb_button;
use super::widgets::{digits, percent};
use super::{focus, theme};
use crate::refiner::{Norm, RefineSettings};
use crate::session::{Action, Session, Verb};
use crate::trace::summary::{Spread, changes};
use crate::trace::{Quantity, RunId, StateId, Trace, curve};

/// Curves with more values are drawn with this many points: more than one per point of the screen is lost work.
const MAX_POINTS: usize = 400;
/// Width of the numbers left of a plot, in points.
const AXIS: f32 = 42.0;
/// Numbers along the axis of the iterations.
const TICKS: usize = 5;
/// Logits that are read per frame at most for what is drawn of all samples, one state at least: a few milliseconds.
const LOGITS_PER_FRAME: usize = 500_000;
/// Width that is left beside the buttons, in points, below which the slider has the room of words.
const NARROW: f32 = 480.0;
/// Width of the list of runs and of the gaps, at least and where there is room, in points.
const RUNS_WIDTH: (f32, f32) = (142.0, 232.0);

/// What values belong to: origins, run, norm of distances, and the settings at the start, under which it may be valued anew.
type Owner = (u64, Option<RunId>, Norm, RefineSettings);

/// The traces of one sample, and of all, computed again only when they changed.
#[derive(Default)]
pub struct Traces {
    /// What the values belong to: whose, of which sample, with which target.
    key: Option<(Owner, usize, usize)>,
    /// Per quantity: its value at every place of the path.
    values: [Vec<f32>; Quantity::ALL.len()],
    /// Radius in force at every place of the path; NaN without a ball in the norm of the distances.
    radius: Vec<f32>,
    /// Places after which settings changed, or a branch began.
    marks: Vec<(usize, String)>,
    crowd: Crowd,
    others: OtherRuns,
    /// Where the axis of the iterations ended last, and for which origins and run.
    axis: ((u64, Option<RunId>), usize),
    /// The list of runs.
    runs: RunList,
}

/// All samples at every place of the path.
#[derive(Default)]
struct Crowd {
    key: Option<Owner>,
    spreads: [Vec<Spread>; Quantity::ALL.len()],
}

impl Crowd {
    /// Takes in as many places as one frame's time allows; false when some are left.
    fn update(&mut self, trace: &Trace, path: &[StateId], owner: &Owner, targets: &[usize]) -> bool {
        if self.key.as_ref() != Some(owner) || self.spreads[0].len() > path.len() {
            *self = Self { key: Some(owner.clone()), ..Self::default() };
        }
        let mut left = LOGITS_PER_FRAME;
        for id in &path[self.spreads[0].len()..] {
            let Some(numbers) = trace.numbers(*id) else { return true };
            if left == 0 {
                return false;
            }
            left = left.saturating_sub(numbers.logits.len());
            for (quantity, spreads) in Quantity::ALL.iter().zip(&mut self.spreads) {
                let value = |(sample, target): (usize, &usize)| quantity.value(numbers, sample, *target, owner.2);
                spreads.push(Spread::of(targets.iter().enumerate().map(value)));
            }
        }
        true
    }
}

impl Traces {
    fn update(
        &mut self,
        trace: &Trace,
        path: &[StateId],
        (epoch, run): (u64, Option<RunId>),
        (sample, target): (usize, usize),
    ) {
        let norm = path.last().and_then(|id| trace.settings(*id)).map_or(Norm::L2, |settings| settings.norm);
        let start = run.and_then(|run| trace.run(run)).map(|run| run.settings.clone()).unwrap_or_default();
        let key = ((epoch, run, norm, start), sample, target);
        // A run only grows, and settings that change bear on the states that come after: what was computed stays.
        if self.key.as_ref() != Some(&key) || self.radius.len() > path.len() {
            let Self { crowd, others, axis, runs, .. } = std::mem::take(self);
            *self = Self { key: Some(key), crowd, others, axis, runs, ..Self::default() };
        }
        for place in self.radius.len()..path.len() {
            let id = &path[place];
            let numbers = trace.numbers(*id);
            for (quantity, values) in Quantity::ALL.iter().zip(&mut self.values) {
                values.push(numbers.map_or(f32::NAN, |numbers| quantity.value(numbers, sample, target, norm)));
            }
            // A radius in another norm is no length of this one.
            let ball = trace.settings(*id).filter(|settings| settings.rule.has_ball() && settings.norm == norm);
            self.radius.push(ball.map_or(f32::NAN, |settings| settings.eps as f32));
            let Some(previous) = place.checked_sub(1) else { continue };
            let (Some(before), Some(after)) = (trace.settings(path[previous]), trace.settings(*id)) else { continue };
            let mut changes = changes(before, after);
            let is_branch = path[previous].run != id.run;
            if is_branch {
                changes.insert(0, "branch".to_owned());
            }
            if !changes.is_empty() {
                // A branch begins with the state that it comes from.
                self.marks.push((if is_branch { place } else { previous }, changes.join(", ")));
            }
        }
    }

    /// Where the axis of the iterations ends: at what is planned, as long as it is planned for the run that is shown.
    fn fit_axis(&mut self, session: &Session) {
        let (own, run) = (session.path().len().saturating_sub(1), session.shown_run());
        let lasts = session.trace().runs().filter_map(crate::trace::Run::last_iteration).map(|last| last as usize);
        let next = session.settings().refine.iterations.filter(|_| own == 0).map(std::num::NonZeroU32::get);
        let planned = session.shown_goal().or(next).map(|planned| planned as usize);
        let of = (session.epoch(), run);
        let before = if self.axis.0 == of { self.axis.1 } else { 0 };
        let last = curve::shown_last(own.max(planned.unwrap_or(0)), lasts);
        self.axis = (of, curve::axis_end(last, planned, before));
    }

    fn norm(&self) -> Norm {
        self.key.as_ref().map_or(Norm::L2, |((_, _, norm, _), ..)| *norm)
    }
}

/// Draws the timeline.
pub fn timeline_ui(ui: &mut Ui, session: &Session, traces: &mut Traces, actions: &mut Vec<Action>) {
    let (path, trace, sample) = (session.path(), session.trace(), session.focused());
    let epoch = session.epoch();
    traces.update(trace, path, (epoch, session.shown_run()), (sample, session.target(sample)));
    if let Some((owner, ..)) = &traces.key {
        let targets: Vec<usize> = (0..session.count()).map(|sample| session.target(sample)).collect();
        if !traces.crowd.update(trace, path, owner, &targets) {
            ui.ctx().request_repaint();
        }
    }
    traces.fit_axis(session);
    ui.add_space(2.0);
    transport_ui(ui, session, path, &mut traces.runs, actions);
    ui.add_space(2.0);
    if path.is_empty() {
        ui.centered_and_justified(|ui| {
            ui.label(RichText::new("The traces of the iterations appear here").weak());
        });
        return;
    }
    let settings = session.shown_id().and_then(|id| trace.settings(id)).unwrap_or(&session.settings().refine);
    traces.others.update(session, settings);
    let quantities = Quantity::plotted(settings);
    let gap = 8.0;
    let area = ui.available_rect_before_wrap();
    let width = (area.width() - gap * (quantities.len() - 1) as f32) / quantities.len() as f32;
    for (i, quantity) in quantities.into_iter().enumerate() {
        let min = pos2(area.left() + i as f32 * (width + gap), area.top());
        let rect = Rect::from_min_size(min, vec2(width, area.height() - 4.0));
        // Values of several objectives, or of several classifiers, are no one curve.
        let drawn = trace.stretch(path, session.shown(), quantity);
        plot_ui(ui, (rect, area, i), session, traces, (quantity, drawn), actions);
    }
    ui.allocate_rect(area, Sense::hover());
}

fn transport_ui(ui: &mut Ui, session: &Session, path: &[StateId], runs: &mut RunList, actions: &mut Vec<Action>) {
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
        let is_narrow = ui.available_width() < NARROW;
        let text_width = if is_narrow { 84.0 } else { 134.0 };
        let runs_width = if is_narrow { RUNS_WIDTH.0 } else { RUNS_WIDTH.1 };
        ui.spacing_mut().slider_width = (ui.available_width() - text_width - runs_width).max(36.0);
        let slider = egui::Slider::new(&mut place, 0..=last.max(1)).show_value(false);
        let response = ui.add_enabled(last > 0, slider).on_hover_text("Drag to scrub through the iterations (← →)");
        super::widgets::name(&response, Role::Slider, "Shown iteration");
        if response.changed() {
            actions.push(Action::Show(place.min(last)));
        }
        let following = if session.follows() && last > 0 { " (newest)" } else { "" };
        let head = if is_narrow { "" } else { "Shown: " };
        let text = format!("{head}{}{following}", session.shown());
        ui.add_sized([text_width, 18.0], egui::Label::new(text).truncate())
            .on_hover_text("The iteration that is shown; k iterations have k+1 states, 0 is the start");
        run_list_ui(ui, session, runs, actions);
    });
}

const fn title(quantity: Quantity, norm: Norm) -> (&'static str, &'static str) {
    match (quantity, norm) {
        (Quantity::Objective, _) => ("Objective", "What refinement increases, at each state"),
        (Quantity::Probability, _) => ("Target probability", "Softmax probability of the target class, 0 to 1"),
        (Quantity::Energy, _) => ("Energy", "E(x, y) = −f_y(x); lower is more like a real picture of the class"),
        (Quantity::Gradient, _) => (
            "‖gradient‖₂",
            "L2 length of the objective's gradient. The energy is the objective with another sign here: E(x, y) = −f_y(x)",
        ),
        (Quantity::Distance, Norm::L2) => ("‖δ‖₂", "L2 distance from the generated picture; the line is the radius"),
        (Quantity::Distance, Norm::Linf) => ("‖δ‖∞", "L∞ distance from the generated picture; the line is the radius"),
    }
}

/// `values` where they are drawn, not a number elsewhere.
fn within(values: impl Iterator<Item = f32>, drawn: &Range<usize>) -> Vec<f32> {
    values.enumerate().map(|(place, value)| if drawn.contains(&place) { value } else { f32::NAN }).collect()
}

fn plot_ui(
    ui: &mut Ui,
    (rect, area, number): (Rect, Rect, usize),
    session: &Session,
    traces: &Traces,
    (quantity, drawn): (Quantity, Range<usize>),
    actions: &mut Vec<Action>,
) {
    let index = Quantity::ALL.iter().position(|other| *other == quantity).unwrap_or(0);
    let values = within(traces.values[index].iter().copied(), &drawn);
    let spreads = &traces.crowd.spreads[index];
    let of_all = |value: fn(&Spread) -> f32| within(spreads.iter().map(value), &drawn);
    // One picture is no crowd.
    let count = session.count();
    let (low, mean, high) = if count > 1 {
        (of_all(|spread| spread.low), of_all(|spread| spread.mean), of_all(|spread| spread.high))
    } else {
        Default::default()
    };
    let (name, about) = title(quantity, traces.norm());
    let tokens = theme::tokens(ui);
    let response = ui.interact(rect, ui.scope_id().with(("trace", number)), Sense::click_and_drag());
    let (last, end) = (values.len().saturating_sub(1), traces.axis.1.max(1));
    response.widget_info(|| WidgetInfo::slider(true, session.shown() as f64, format!("Trace: {name}")));
    focus::tell_range(ui, &response, (0.0, last as f64), 1.0);
    let steps = focus::key_steps(ui, &response);
    if steps != 0.0 {
        actions.push(Action::Show((session.shown() as f32 + steps).clamp(0.0, last as f32) as usize));
    }
    let plot = Rect::from_min_max(rect.min + vec2(AXIS, 22.0), rect.max - vec2(10.0, 16.0));
    let radius = match traces.radius.last() {
        // Radii that bind no more are not worth the room.
        Some(radius) if radius.is_finite() => traces.radius.as_slice(),
        _ => &[],
    };
    // As far as the axis goes: the end of a much longer run is seen when that is shown.
    let others: Vec<&[f32]> = traces.others.curves(index).map(|other| &other[..other.len().min(end + 1)]).collect();
    let all = [vec![values.as_slice(), &low, &high], others.clone()].concat().concat();
    let bounds = curve::bounds(quantity, &all, radius);
    let x = |place: usize| plot.left() + plot.width() * place as f32 / end as f32;
    let y = |value: f32| plot.bottom() - plot.height() * (value.min(bounds.1) - bounds.0) / (bounds.1 - bounds.0);

    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, CornerRadius::same(3), tokens.plate);
    let weak = ui.visuals().weak_text_color();
    let tiny = egui::FontId::proportional(9.5);
    for tick in curve::ticks(end, TICKS) {
        painter.vline(x(tick), plot.bottom()..=plot.bottom() + 3.0, Stroke::new(1.0, tokens.grid));
        painter.text(pos2(x(tick), rect.bottom() - 1.0), Align2::CENTER_BOTTOM, tick, tiny.clone(), weak);
    }
    painter.add(band(&low, &high, &x, &y, tokens.before.gamma_multiply(0.22)));
    painter.extend(line(&mean, &x, &y, Stroke::new(1.0, tokens.before)));
    for other in others {
        painter.extend(line(other, &x, &y, Stroke::new(1.0, tokens.info.gamma_multiply(0.6))));
    }
    if quantity == Quantity::Distance {
        painter.extend(line(&traces.radius, &x, &y, Stroke::new(1.0, tokens.limit)));
    }
    for (place, _) in &traces.marks {
        painter.vline(x(*place), plot.y_range(), Stroke::new(1.0, tokens.info.gamma_multiply(0.7)));
    }
    painter.extend(line(&values, &x, &y, Stroke::new(1.6, tokens.after)));
    let shown = session.shown().min(last);
    painter.vline(x(shown), plot.y_range(), Stroke::new(1.0, ui.visuals().strong_text_color().gamma_multiply(0.6)));
    let now = values.get(shown).copied().unwrap_or(f32::NAN);
    if now.is_finite() {
        painter.circle_filled(pos2(x(shown), y(now)), 3.5, tokens.after);
    }
    let small = egui::FontId::proportional(11.0);
    let words = |value: f32| if quantity == Quantity::Probability { percent(value) } else { digits(value) };
    let text_color = ui.visuals().text_color();
    let title = painter.text(rect.min + vec2(6.0, 3.0), Align2::LEFT_TOP, name, small.clone(), text_color);
    let value_at = pos2(rect.right() - 6.0, rect.top() + 3.0);
    let strong = ui.visuals().strong_text_color();
    let value = painter.text(value_at, Align2::RIGHT_TOP, words(now), small.clone(), strong);
    if number == 0 {
        let grey = [format!("sample {}; grey: all {count}", session.focused()), "grey: all".to_owned()];
        let [long, short] = grey.map(|grey| {
            let parts: Vec<_> = (count > 1).then_some(grey).into_iter().chain(traces.others.words()).collect();
            parts.join("; ")
        });
        let at = title.right_top() + vec2(8.0, 0.0);
        let laid_out = [long, short].map(|legend| painter.layout_no_wrap(legend, small.clone(), weak));
        if let Some(legend) = laid_out.into_iter().find(|legend| at.x + legend.size().x + 8.0 < value.left()) {
            painter.galley(at, legend, weak);
        }
    }
    let axis = plot.left() - 5.0;
    painter.text(pos2(axis, plot.top() - 2.0), Align2::RIGHT_TOP, digits(bounds.1), tiny.clone(), weak);
    painter.text(pos2(axis, plot.bottom() + 2.0), Align2::RIGHT_BOTTOM, digits(bounds.0), tiny, weak);
    painter.vline(plot.left(), plot.y_range(), Stroke::new(1.0, tokens.grid));
    painter.hline(plot.x_range(), plot.bottom(), Stroke::new(1.0, tokens.grid));

    scrub(&response, plot, (last, end), actions);
    let hover = response.hover_pos().map(|pos| place_at(pos.x, plot, (last, end)));
    // Beside all plots, over the end of the settings: one looks at curves and pictures here.
    let mut tip = Tooltip::for_enabled(&response).width(theme::SETTINGS_WIDTH - 4.0 * theme::GAP);
    tip.popup = tip.popup.anchor(area).align(egui::RectAlign::LEFT_END).align_alternatives(&[]);
    tip.show(|ui| {
        ui.label(RichText::new(name).strong());
        ui.label(about);
        let Some(place) = hover else { return };
        let value = values.get(place).copied().unwrap_or(f32::NAN);
        if value.is_finite() || drawn.contains(&place) {
            ui.label(format!("Iteration {place}, sample {}: {}", session.focused(), words(value)));
        } else {
            let what = if is_by_another(session, place) { "another classifier" } else { "another objective" };
            ui.label(format!("Iteration {place} has {what}: show it to see its values"));
        }
        if let Some(spread) = spreads.get(place).filter(|_| count > 1 && drawn.contains(&place)) {
            let Spread { mean, low, median, high } = *spread;
            let [mean, low, median, high] = [mean, low, median, high].map(words);
            ui.label(format!("All {count}: mean {mean}, median {median}, eight of ten from {low} to {high}"));
        }
        if let Some((_, mark)) = traces.marks.iter().find(|(at, _)| *at == place) {
            ui.label(format!("After it: {mark}"));
        }
        if let Some(about) = traces.others.about() {
            ui.label(about);
        }
    });
}

/// Whether another classifier judged the state at a place than the one that is shown.
fn is_by_another(session: &Session, place: usize) -> bool {
    let judge = |place: usize| {
        let id = session.path().get(place)?;
        session.trace().settings(*id).map(|settings| &settings.classifier)
    };
    judge(place) != judge(session.shown())
}

fn scrub(response: &Response, plot: Rect, (last, end): (usize, usize), actions: &mut Vec<Action>) {
    if (response.dragged() || response.clicked())
        && let Some(pos) = response.interact_pointer_pos()
    {
        actions.push(Action::Show(place_at(pos.x, plot, (last, end))));
    }
}

/// The place nearest to `x`, where places go to `last` and the axis to `end`.
fn place_at(x: f32, plot: Rect, (last, end): (usize, usize)) -> usize {
    let share = ((x - plot.left()) / plot.width().max(1.0)).clamp(0.0, 1.0);
    ((share * end as f32).round() as usize).min(last)
}

/// What lies between two curves.
fn band(low: &[f32], high: &[f32], x: &dyn Fn(usize) -> f32, y: &dyn Fn(f32) -> f32, color: egui::Color32) -> Mesh {
    let mut mesh = Mesh::default();
    let step = low.len().div_ceil(MAX_POINTS).max(1);
    let mut before = None;
    for place in (0..low.len()).step_by(step) {
        if !(low[place].is_finite() && high[place].is_finite()) {
            before = None;
            continue;
        }
        let next = mesh.vertices.len() as u32;
        mesh.colored_vertex(pos2(x(place), y(low[place])), color);
        mesh.colored_vertex(pos2(x(place), y(high[place])), color);
        if let Some(first) = before.replace(next) {
            mesh.add_triangle(first, first + 1, next);
            mesh.add_triangle(first + 1, next, next + 1);
        }
    }
    mesh
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
        let (mut traces, owner) = (Traces::default(), (1, Some(run)));
        traces.update(&trace, &trace.path(run), owner, (0, 1));
        // Would be overwritten if it were computed again.
        traces.values[0][1] = 42.0;
        let eps = 1.5;
        trace.change(run, Change { iteration: 2, settings: RefineSettings { eps, ..Default::default() } });
        traces.update(&trace, &trace.path(run), owner, (0, 1));
        push(&mut trace, 3);
        traces.update(&trace, &trace.path(run), owner, (0, 1));
        assert_eq!(traces.values[0], [0.0, 42.0, 2.0, 3.0]);
        assert_eq!((traces.radius[2], traces.radius[3], traces.marks.len()), (3.0, 1.5, 1));
        let settings = RefineSettings { norm: Norm::Linf, ..Default::default() };
        trace.change(run, Change { iteration: 3, settings });
        push(&mut trace, 4);
        traces.update(&trace, &trace.path(run), owner, (0, 1));
        assert_eq!(traces.values[0], [0.0, 1.0, 2.0, 3.0, 4.0], "distances in another norm are others");
        assert!(traces.radius[..4].iter().all(|radius| radius.is_nan()), "and so are radii: {:?}", traces.radius);
    }

    #[test]
    fn where_there_is_no_ball_no_radius_is_drawn_or_given_room() {
        let mut trace = Trace::default();
        let run = RunId(1);
        trace.begin(run, None, RefineSettings { rule: crate::refiner::Rule::Sgld, ..Default::default() });
        for iteration in 0..2 {
            let numbers = Numbers { delta_l2: vec![0.05], logits: vec![0.0, 1.0], ..Default::default() };
            assert!(trace.push(StateId { run, iteration }, numbers));
        }
        let mut traces = Traces::default();
        traces.update(&trace, &trace.path(run), (1, Some(run)), (0, 1));
        assert!(traces.radius.iter().all(|radius| radius.is_nan()), "{:?}", traces.radius);
    }

    #[test]
    fn the_pointer_finds_the_nearest_place() {
        let plot = Rect::from_min_max(pos2(100.0, 0.0), pos2(200.0, 50.0));
        assert_eq!([90.0, 100.0, 149.0, 151.0, 260.0].map(|x| place_at(x, plot, (10, 10))), [0, 0, 5, 5, 10]);
        assert_eq!([149.0, 260.0].map(|x| place_at(x, plot, (4, 20))), [4, 4], "beyond the run there is nothing");
    }
}
