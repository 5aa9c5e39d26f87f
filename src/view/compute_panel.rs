//! Left, at the bottom: where to compute, and how much memory that may take.

use egui::{RichText, Role, Ui};

use super::setting_row::{field_ui, setting_ui};
use super::{theme, widgets};
use crate::parameter::{Held, Kind, Parameter, Setting};
use crate::session::{Action, Session};
use crate::units::bytes;
use crate::worker::{ComputeSettings, DeviceChoice, MemoryEstimate};

/// Memory for iterates.
const BUDGET: Parameter = Parameter {
    flag: "iterate-memory",
    label: "Memory for iterates",
    symbol: "M",
    unit: "MiB",
    min: 1.0,
    max: 1_048_576.0,
    slider: (1.0, 16_384.0),
    default: 1024.0,
    integer: true,
    about: "Memory that iterates may take; beyond it older ones are read back from the autosave when they are shown",
    source: "Lapidary",
};
const BUDGET_ROW: Setting<f64> = Setting::new(Kind::Number(&BUDGET), <f64 as Held>::value, <f64 as Held>::take);

/// Draws where to compute; edits go into `settings`, a new memory budget for iterates into `actions`.
pub fn compute_panel_ui(ui: &mut Ui, session: &Session, settings: &mut ComputeSettings, actions: &mut Vec<Action>) {
    // Set once, if at all: what is tuned has the room.
    widgets::section(ui, "Compute", |ui| {
        widgets::grid("compute").show(ui, |ui| {
            device_ui(ui, settings);
            ui.end_row();
            for row in ComputeSettings::TABLE {
                setting_ui(ui, row, settings);
            }
            budget_ui(ui, session, actions);
            ui.end_row();
        });
    });
    if let Some(estimate) = session.estimate() {
        estimate_ui(ui, estimate);
    }
}

fn device_ui(ui: &mut Ui, settings: &mut ComputeSettings) {
    let about = "Where to compute. Auto takes a real GPU when there is one, else the CPU.\nTakes effect with the next Generate, Reset or Branch.";
    widgets::tip(ui.label("Device"), about);
    let combo = widgets::combo_box(ui, "device").selected_text(settings.device.to_string()).show_ui(ui, |ui| {
        let cuda = cfg!(feature = "cuda").then_some((DeviceChoice::Cuda, "An NVIDIA GPU through CUDA"));
        let usual = [
            (DeviceChoice::Auto, "A real GPU when there is one, else the CPU"),
            (DeviceChoice::Cpu, "The CPU"),
            (DeviceChoice::Gpu, "A GPU, even a software one; its first run tunes kernels"),
        ];
        for (choice, hint) in usual.into_iter().chain(cuda) {
            let text = choice.to_string();
            widgets::tip(ui.selectable_value(&mut settings.device, choice, text), hint);
        }
    });
    widgets::name(&widgets::tip(combo.response, about), Role::ComboBox, "Device");
}

/// How much memory the iterates may take before older ones live on disk only.
fn budget_ui(ui: &mut Ui, session: &Session, actions: &mut Vec<Action>) {
    const MEBI: f64 = 1024.0 * 1024.0;
    let iterates = session.iterates();
    let (kept, spilled) = iterates.counts();
    let about = format!(
        "{}.\nNow {} in use: {kept} states in memory, {spilled} on disk only.",
        BUDGET.about,
        bytes(iterates.bytes() as u64)
    );
    widgets::tip(ui.label("Iterates"), about);
    let before = iterates.budget() as f64 / MEBI;
    let mut budget = before;
    field_ui(ui, &BUDGET_ROW, &mut budget);
    if (budget - before).abs() >= 1.0 {
        actions.push(Action::SetBudget((budget * MEBI) as usize));
    }
}

/// What the next network call needs, before it is made.
fn estimate_ui(ui: &mut Ui, estimate: &MemoryEstimate) {
    let text = RichText::new(estimate.to_string()).small();
    let text = if estimate.is_tight() { text.color(theme::tokens(ui).warning) } else { text };
    ui.add(egui::Label::new(text).wrap()).on_hover_text(
        "Weights of the network, and its activations for each of the pictures that are computed at once.\nAbove the budget the step may fail: choose a smaller model, or raise the limit.",
    );
}
