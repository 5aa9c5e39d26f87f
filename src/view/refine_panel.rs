//! Left, below: how to refine, and where to compute.

use std::num::NonZeroU32;

use eframe::egui::{self, RichText, Role, Ui};

use super::generate_panel::{Wish, model_ui};
use super::{theme, widgets};
use crate::refiner::settings::{EPS, ITERATIONS, STEP_SIZE};
use crate::refiner::{Norm, Objective, RefineSettings, StepUnit};
use crate::session::settings::BATCH;
use crate::session::{Action, Session};
use crate::worker::{ComputeSettings, DeviceChoice};

/// Draws the panel; edits go into `settings`.
pub fn refine_panel_ui(ui: &mut Ui, settings: &mut RefineSettings) -> Option<Wish> {
    let mut wish = None;
    widgets::heading(ui, "Refine");
    egui::Grid::new("refine").num_columns(2).show(ui, |ui| {
        if model_ui(ui, "Classifier", "classifier", &mut settings.classifier) {
            wish = Some(Wish::ClassifierFile);
        }
        ui.end_row();
        widgets::choice::<Objective>(ui, &mut settings.objective);
        ui.end_row();
        widgets::segments::<Norm>(ui, &mut settings.norm);
        ui.end_row();
        widgets::slider(ui, &EPS, &mut settings.eps);
        ui.end_row();
        widgets::slider(ui, &STEP_SIZE, &mut settings.step_size);
        ui.end_row();
        step_unit_ui(ui, settings);
        ui.end_row();
        iterations_ui(ui, settings);
        ui.end_row();
    });
    ui.horizontal(|ui| {
        switches_ui(ui, settings);
    });
    reach_ui(ui, settings);
    wish
}

fn switches_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    ui.checkbox(&mut settings.normalise, "Normalised steps").on_hover_text(
        "Every step has the length of the step size, along the gradient's direction (L2) or sign (L∞).\nOff: step size × gradient, as in plain gradient ascent.",
    );
    ui.checkbox(&mut settings.random_start, "Random start").on_hover_text(
        "Start at a random point of the ball, drawn from each picture's seed, instead of at its centre.\nApplies to the next run from the start.",
    );
}

fn step_unit_ui(ui: &mut Ui, settings: &mut RefineSettings) {
    let before = settings.step_unit;
    widgets::segments::<StepUnit>(ui, &mut settings.step_unit);
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

/// How much memory the iterates may take before older ones live on disk only.
fn budget_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    const MEBI: f64 = 1024.0 * 1024.0;
    let iterates = session.iterates();
    let (kept, spilled) = iterates.counts();
    let about = format!(
        "Memory for iterates, in MiB; beyond it older ones are read back from the autosave when they are shown.\n\
         Now {} in use: {kept} states in memory, {spilled} on disk only.",
        widgets::bytes(iterates.bytes())
    );
    ui.label("Iterates").on_hover_text(&about);
    let before = iterates.budget() as f64 / MEBI;
    let mut budget = before;
    let drag = egui::DragValue::new(&mut budget).range(1.0..=1_048_576.0).speed(8.0).max_decimals(0).suffix(" MiB");
    let response = ui.add(drag.update_while_editing(false)).on_hover_text(about);
    widgets::name(&response, Role::SpinButton, "Memory for iterates");
    if (budget - before).abs() >= 1.0 {
        actions.push(Action::SetBudget((budget * MEBI) as usize));
    }
}

/// Draws where to compute; edits go into `settings`, a new memory budget for iterates into `actions`.
pub fn compute_panel_ui(ui: &mut Ui, session: &Session, settings: &mut ComputeSettings, actions: &mut Vec<Action>) {
    widgets::heading(ui, "Compute");
    egui::Grid::new("compute").num_columns(2).show(ui, |ui| {
        let about = "Where to compute. Auto takes a real GPU when there is one, else the CPU.\nTakes effect with the next Generate, Reset or Branch.";
        ui.label("Device").on_hover_text(about);
        let combo = egui::ComboBox::from_id_salt("device").selected_text(settings.device.to_string()).show_ui(ui, |ui| {
            for (choice, hint) in [
                (DeviceChoice::Auto, "A real GPU when there is one, else the CPU"),
                (DeviceChoice::Cpu, "The CPU"),
                (DeviceChoice::Gpu, "A GPU, even a software one; its first run tunes kernels"),
            ] {
                let text = choice.to_string();
                ui.selectable_value(&mut settings.device, choice, text).on_hover_text(hint);
            }
        });
        widgets::name(&combo.response.on_hover_text(about), Role::ComboBox, "Device");
        ui.end_row();
        let mut batch = f64::from(settings.batch);
        widgets::number(ui, &BATCH, &mut batch);
        settings.batch = batch as u32;
        ui.end_row();
        budget_ui(ui, session, actions);
        ui.end_row();
    });
}
