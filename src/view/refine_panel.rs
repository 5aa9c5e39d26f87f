//! Left, below: how to refine.

use std::num::NonZeroU32;

use eframe::egui::{self, RichText, Role, Ui};

use super::generate_panel::{Wish, model_ui};
use super::top_bar::verb_button;
use super::{theme, widgets};
use crate::refiner::settings::{EPS, GRADIENT_DIVISOR, ITERATIONS, NOISE, RESTARTS, STEP_SIZE};
use crate::refiner::{Keep, Norm, Objective, PRESETS, RefineSettings, Rule, StepUnit, Target};
use crate::session::{Action, Session, Verb};

/// Height of the list of presets, in points.
const PRESETS_HEIGHT: f32 = 420.0;

/// Draws the panel; edits go into `settings`.
pub fn refine_panel_ui(
    ui: &mut Ui,
    session: &Session,
    settings: &mut RefineSettings,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let mut wish = None;
    widgets::heading_with(ui, "Refine", |ui| presets_ui(ui, settings));
    widgets::grid("refine").show(ui, |ui| {
        wish = model_ui(ui, "Classifier", "classifier", &mut settings.classifier);
        ui.end_row();
        rule_ui(ui, settings);
        ui.end_row();
        widgets::choice::<Objective>(ui, &mut settings.objective);
        ui.end_row();
        widgets::choice::<Target>(ui, &mut settings.target);
        ui.end_row();
        if settings.target == Target::PseudoLabel {
            debias_ui(ui, settings);
            ui.end_row();
        }
        let has_ball = settings.rule.has_ball();
        widgets::segments_if::<Norm>(ui, has_ball, &mut settings.norm);
        ui.end_row();
        widgets::slider_if(ui, has_ball, &EPS, &mut settings.eps);
        ui.end_row();
        widgets::slider(ui, &STEP_SIZE, &mut settings.step_size);
        ui.end_row();
        step_unit_ui(ui, settings);
        ui.end_row();
        if settings.rule == Rule::Sgld {
            widgets::number(ui, &NOISE, &mut settings.noise);
            ui.end_row();
            widgets::number(ui, &GRADIENT_DIVISOR, &mut settings.gradient_divisor);
            ui.end_row();
        }
        iterations_ui(ui, settings);
        ui.end_row();
    });
    reach_ui(ui, settings);
    widgets::section(ui, "More", |ui| more_ui(ui, session, settings, actions));
    wish
}

/// A list of published settings; the one that is in force is marked.
fn presets_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    let menu = ui.menu_button("Presets", |ui| {
        egui::ScrollArea::vertical().max_height(PRESETS_HEIGHT).show(ui, |ui| {
            for preset in PRESETS {
                let applied = preset.apply(settings);
                let is_chosen = applied == *settings;
                if ui.selectable_label(is_chosen, preset.label).on_hover_text(preset.tooltip()).clicked() {
                    *settings = applied;
                    ui.close();
                }
            }
        });
    });
    menu.response.on_hover_text("Published settings; they replace everything here but the classifier");
}

fn rule_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    let before = settings.rule;
    widgets::choice::<Rule>(ui, &mut settings.rule);
    if settings.rule != before && !settings.rule.has_ball() {
        // Without a ball there is no radius to measure a step by, and no random point of it to start from.
        settings.step_size = settings.step_length();
        settings.step_unit = StepUnit::Absolute;
        *settings = settings.clone().at_origin();
    }
}

fn debias_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    ui.label("");
    ui.checkbox(&mut settings.debias, "De-bias").on_hover_text(
        "Makes rare classes as likely as frequent ones: the mean logit of each class over all pictures is subtracted before the largest is taken (BIGRoC).\nA picture's class then depends on the others.",
    );
}

/// What few users need.
fn more_ui(ui: &mut Ui, session: &Session, settings: &mut RefineSettings, actions: &mut Vec<Action>) {
    let has_ball = settings.rule.has_ball();
    let about = "Every step has the length of the step size, along the gradient's direction (L2) or sign (L∞).\nOff: step size × gradient. SGLD and gradient ascent always take the raw gradient.";
    let normalise = egui::Checkbox::new(&mut settings.normalise, "Normalised steps");
    ui.add_enabled(has_ball, normalise).on_hover_text(about).on_disabled_hover_text(about);
    let about = "Start at a random point of the ball, drawn from each picture's seed, instead of at its centre.\nApplies to the next run from the start.";
    let random_start = egui::Checkbox::new(&mut settings.random_start, "Random start");
    ui.add_enabled(has_ball, random_start).on_hover_text(about).on_disabled_hover_text(about);
    widgets::grid("refine more").show(ui, |ui| {
        let mut restarts = f64::from(settings.restarts);
        widgets::number_if(ui, has_ball, &RESTARTS, &mut restarts);
        settings.restarts = restarts as u32;
        ui.end_row();
        widgets::segments::<Keep>(ui, &mut settings.keep);
        ui.end_row();
    });
    ui.checkbox(&mut settings.early_stop, "Early stop").on_hover_text(
        "A picture rests once the classifier believes in it more than in its reference, a real picture: max over k of s(f_k).\nReferences are paired with the pictures by their order.",
    );
    let text = match session.reference_count() {
        0 if settings.early_stop => RichText::new("No references yet: nothing stops").color(theme::tokens(ui).warning),
        0 => RichText::new("No references").weak(),
        1 => RichText::new("1 reference"),
        n => RichText::new(format!("{n} references")),
    };
    ui.label(text.small());
    verb_button(ui, session, Verb::OpenReferences, Verb::OpenReferences.label(), actions);
}

fn step_unit_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    let before = settings.step_unit;
    widgets::segments_if::<StepUnit>(ui, settings.rule.has_ball(), &mut settings.step_unit);
    // The step keeps its length when only its unit changes.
    match (before, settings.step_unit) {
        (StepUnit::Absolute, StepUnit::Ratio) => settings.step_size /= settings.eps,
        (StepUnit::Ratio, StepUnit::Absolute) => settings.step_size *= settings.eps,
        _ => {}
    }
}

fn iterations_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    let mut open_ended = settings.iterations.is_none();
    if open_ended {
        ui.label(ITERATIONS.label).on_hover_text(ITERATIONS.tooltip());
    } else {
        let mut count = settings.iterations.map_or(ITERATIONS.default, |n| f64::from(n.get()));
        ui.label(ITERATIONS.label).on_hover_text(ITERATIONS.tooltip());
        ui.horizontal(|ui| {
            let drag = egui::DragValue::new(&mut count).range(ITERATIONS.min..=ITERATIONS.max).max_decimals(0);
            let response = ui.add(drag.update_while_editing(false)).on_hover_text(ITERATIONS.tooltip());
            widgets::name(&response, Role::SpinButton, ITERATIONS.label);
            settings.iterations = NonZeroU32::new(count.round() as u32);
            ui.checkbox(&mut open_ended, "no end").on_hover_text("Run until you pause or stop");
        });
        if open_ended {
            settings.iterations = None;
        }
        return;
    }
    ui.checkbox(&mut open_ended, "no end").on_hover_text("Run until you pause or stop");
    if !open_ended {
        settings.iterations = NonZeroU32::new(ITERATIONS.default as u32);
    }
}

/// Whether the planned steps can use the radius at all.
fn reach_ui(ui: &mut Ui, settings: &RefineSettings) {
    let tokens = theme::tokens(ui);
    let pixel = match settings.norm {
        Norm::L2 => String::new(),
        Norm::Linf => format!("ε = {:.2}/255, ", settings.eps * 255.0),
    };
    let Some(reach) = settings.reach() else { return };
    let text = if reach < 1.0 {
        RichText::new(format!("{pixel}unreachable: T × α is {:.0} % of ε", reach * 100.0)).color(tokens.warning)
    } else {
        RichText::new(format!("{pixel}reachable: T × α is {reach:.1} × ε"))
    };
    ui.label(text.small()).on_hover_text(
        "Iterations × step size ÷ radius. Below 1 the picture cannot get to the edge of the ball; above, projection may hold it back.",
    );
}
