//! Right: this sample: class probabilities before and after, energy, budget.

use egui::{CornerRadius, Rect, RichText, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::canvas::Readout;
use super::widgets::{digits, percent, row};
use super::{theme, widgets};
use crate::classifier::{probabilities, top_classes};
use crate::parameter::Choosable as _;
use crate::refiner::{Norm, Numbers, RefineSettings, Target};
use crate::session::{Action, Session};

/// Classes that are listed.
const TOP: usize = 4;
/// Share of the radius from which the ball counts as full.
const SATURATED: f32 = 0.999;

/// Draws the panel; `before` and `after` are the numbers at the start and at the shown state.
pub fn sample_panel_ui(
    ui: &mut Ui,
    session: &Session,
    (before, after): (Option<&Numbers>, Option<&Numbers>),
    readout: Option<Readout>,
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
    let (Some(before), Some(after)) = (before, after) else {
        ui.label(RichText::new("Not evaluated yet").weak());
        return;
    };
    widgets::heading(ui, "Classes, before and after");
    classes_ui(ui, session, (before.logits_of(sample), after.logits_of(sample)), target);
    let settings = session
        .shown_id()
        .and_then(|id| session.trace().run(id.run).map(|run| run.settings_at(id.iteration).clone()))
        .unwrap_or_default();
    widgets::heading(ui, "Budget");
    budget_ui(ui, after, sample, &settings);
    widgets::heading(ui, "Numbers");
    numbers_ui(ui, (before, after), sample, target);
    widgets::heading(ui, "Pixel");
    pixel_ui(ui, readout);
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

fn classes_ui(ui: &mut Ui, session: &Session, (before, after): (&[f32], &[f32]), target: usize) {
    let tokens = theme::tokens(ui);
    let (p_before, p_after) = (probabilities(before), probabilities(after));
    let mut classes = top_classes(after, TOP);
    if !classes.contains(&target) {
        classes.pop();
        classes.push(target);
    }
    for class in classes {
        let (was, is) = (p_before.get(class).copied().unwrap_or(0.0), p_after.get(class).copied().unwrap_or(0.0));
        let name = session.class_name(class);
        ui.horizontal(|ui| {
            let text = RichText::new(&name);
            let text = if class == target { text.strong() } else { text };
            let width = ui.available_width() - 112.0;
            ui.scope(|ui| {
                ui.set_max_width(width);
                ui.add(egui::Label::new(text).truncate());
            });
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.label(RichText::new(format!("{} → {}", percent(was), percent(is))).size(12.0));
            });
        });
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 9.0), Sense::hover());
        let painter = ui.painter();
        for (top, share, color) in [(0.0, was, tokens.before), (5.0, is, tokens.after)] {
            let bar = Rect::from_min_size(rect.min + vec2(0.0, top), vec2(rect.width(), 4.0));
            painter.rect_filled(bar, CornerRadius::same(1), tokens.grid.gamma_multiply(0.6));
            let filled = bar.with_max_x(bar.left() + bar.width() * share.clamp(0.0, 1.0));
            painter.rect_filled(filled, CornerRadius::same(1), color);
        }
        let text = format!("{name}: {} before, {} after", percent(was), percent(is));
        response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, &text));
        response.on_hover_text(text);
    }
}

fn numbers_ui(ui: &mut Ui, (before, after): (&Numbers, &Numbers), sample: usize, target: usize) {
    let energy = |numbers: &Numbers| numbers.logits_of(sample).get(target).map_or(f32::NAN, |logit| -logit);
    let at = |list: &[f32]| list.get(sample).copied().unwrap_or(f32::NAN);
    let change = |was: f32, is: f32| format!("{} → {}", digits(was), digits(is));
    let text = change(energy(before), energy(after));
    row(ui, "Energy E(x, y)", text, "E(x, y) = −f_y(x), before and after; lower is more like a real picture");
    let text = change(at(&before.objective), at(&after.objective));
    row(ui, "Objective", text, "What refinement increases, at the start and at the shown iteration");
    let text = digits(at(&after.gradient_l2));
    row(ui, "‖gradient‖₂", text, "L2 length of the objective's gradient at the shown iteration");
    row(
        ui,
        "Last step, L2",
        digits(at(&after.step_l2)),
        "How far the last iteration moved the picture, on [0,1] pixels",
    );
    let text = percent(at(&after.clipped));
    row(ui, "Clipped", text, "Share of values that the clamp to [0,1] changed in the last iteration");
    let words = after.state.get(sample).copied().unwrap_or_default().words();
    row(ui, "Status", words.label, words.about);
}

/// Used and allowed share of the ball.
fn budget_ui(ui: &mut Ui, after: &Numbers, sample: usize, settings: &RefineSettings) {
    let at = |list: &[f32]| list.get(sample).copied().unwrap_or(f32::NAN);
    let (l2, linf) = (at(&after.delta_l2), at(&after.delta_linf));
    let used = match settings.norm {
        Norm::L2 => l2,
        Norm::Linf => linf,
    };
    if settings.rule.has_ball() {
        ball_ui(ui, used, settings);
    } else {
        ui.label(RichText::new("No ball: this rule may go any distance").weak().small());
    }
    row(ui, "‖δ‖₂", digits(l2), "L2 length of after − before, over C·H·W values in [0,1]");
    row(ui, "‖δ‖∞", format!("{} = {:.1}/255", digits(linf), linf * 255.0), "Largest change of a single value");
}

/// A gauge of the radius.
fn ball_ui(ui: &mut Ui, used: f32, settings: &RefineSettings) {
    let tokens = theme::tokens(ui);
    let share = used / settings.eps as f32;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(2), tokens.grid.gamma_multiply(0.6));
    let full = share >= SATURATED;
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
    let text = format!("Budget: {} of {} used", digits(used), digits(settings.eps as f32));
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, &text));
    response.on_hover_text("Distance from the generated picture, as a share of the radius");
    let verdict = if full {
        RichText::new("saturated: on the edge of the ball").color(tokens.limit)
    } else if let Some((reach, true)) = settings.reach_in_words() {
        RichText::new(format!("edge {reach}")).color(tokens.warning)
    } else {
        RichText::new("inside the ball")
    };
    ui.horizontal(|ui| {
        ui.label(format!("{} / {}, {}", digits(used), digits(settings.eps as f32), percent(share)));
    });
    ui.label(verdict.small());
}

fn pixel_ui(ui: &mut Ui, readout: Option<Readout>) {
    let Some(Readout { x, y, before, after }) = readout else {
        ui.label(RichText::new("Open a pair and point at a pixel").weak());
        return;
    };
    ui.label(format!("x {x}, y {y}"));
    egui::Grid::new("pixel").num_columns(4).min_col_width(30.0).show(ui, |ui| {
        for (name, values) in [("before", before), ("after", after)] {
            ui.label(RichText::new(name).weak());
            for value in values {
                ui.label(RichText::new(format!("{value:.3}")).monospace());
            }
            ui.end_row();
            ui.label(RichText::new("  k/255").weak());
            for value in values {
                ui.label(RichText::new(format!("{:.1}", value * 255.0)).monospace());
            }
            ui.end_row();
        }
    });
}
