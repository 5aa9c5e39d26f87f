//! Left, beside the settings: the training that goes on, live, and its checkpoints for the pictures on the screen.

use std::path::{Path, PathBuf};

use egui::{Button, ProgressBar, RichText, Role, Sense, Stroke, Ui, vec2};

use super::atlas::{Atlas, Batch};
use super::generate_panel::Wish;
use super::steps_plot::{Curve, Plot, loss_range, points, steps_plot_ui};
use super::widgets::{digits, percent};
use super::{focus, theme, widgets};
use crate::image::ImageBatch;
use crate::session::training::{TrainAction, TrainPhase, Training, Usage, network_label};
use crate::session::{Action, Session};
use crate::units::{counted, duration};
use crate::worker::Steer;
use crate::worker::train::{Snapshot, TrainReport};

/// What a training is for, before one is chosen.
const PURPOSE: &str = "Train a generator or a classifier, and watch what it makes and what refinement makes of it while it \
     learns. A file describes the training; `lapidary train --help` and the README show one.";
/// Side of the largest picture of a strip, in points.
const PICTURE: f32 = 64.0;
const GAP: f32 = 2.0;

/// What only the eye needs of a training.
#[derive(Default)]
pub struct TrainingPanel {
    /// Whether it is shown in place of the settings.
    pub is_open: bool,
    is_log: bool,
    /// The strips of pictures, each with the step that it is of.
    strips: Vec<(u64, Atlas)>,
}

impl TrainingPanel {
    /// The two words above the left side, one of which is shown there.
    pub fn tabs_ui(&mut self, ui: &mut Ui, session: &Session) {
        ui.horizontal(|ui| {
            let about = "What to generate, and how to edit and refine it";
            widgets::tip(ui.selectable_value(&mut self.is_open, false, "Settings"), about);
            let share = session.training().filter(|training| training.is_going()).map(|training| {
                let percent = 100 * training.step / training.steps().max(1);
                format!("Training, {percent} %")
            });
            let label = ui.selectable_value(&mut self.is_open, true, share.as_deref().unwrap_or("Training"));
            widgets::name(&label, Role::Button, "Training");
            widgets::tip(label, "Train a generator or a classifier, and use what it has learnt at once");
        });
        ui.separator();
    }

    /// Draws the training; `recent` are those that were chosen last.
    pub fn ui(
        &mut self,
        ui: &mut Ui,
        session: &Session,
        recent: &[PathBuf],
        actions: &mut Vec<Action>,
    ) -> Option<Wish> {
        let mut wish = None;
        egui::ScrollArea::vertical().id_salt("training").auto_shrink([false, true]).show(ui, |ui| {
            match session.training() {
                None => wish = choose_ui(ui, recent, actions),
                Some(training) => self.training_ui(ui, session, training, actions),
            }
            focus::scroll_to(ui);
        });
        wish
    }

    fn training_ui(&mut self, ui: &mut Ui, session: &Session, training: &Training, actions: &mut Vec<Action>) {
        let name = training.report.as_ref().map_or_else(|| file_name(training.chosen_by()), |it| it.name.clone());
        widgets::heading(ui, &name);
        if let Some(report) = &training.report {
            ui.add(egui::Label::new(RichText::new(&report.objective).small()).wrap());
        }
        steer_ui(ui, training, actions);
        progress_ui(ui, training);
        if !training.losses.is_empty() {
            self.loss_ui(ui, training);
        }
        if !training.judged.is_empty() {
            judged_ui(ui, training);
        }
        if !training.kept.is_empty() {
            self.checkpoints_ui(ui, session, training, actions);
        }
        match &training.report {
            Some(report) if training.step == 0 => report_ui(ui, training, report),
            Some(report) => widgets::section(ui, "What it is", |ui| report_ui(ui, training, report)),
            None => {}
        }
    }

    fn loss_ui(&mut self, ui: &mut Ui, training: &Training) {
        let Training { losses, smooth, step, .. } = training;
        let tokens = theme::tokens(ui);
        let curves = [
            Curve { points: points(losses, *step), stroke: Stroke::new(1.0, tokens.before.gamma_multiply(0.45)) },
            Curve { points: points(smooth, *step), stroke: Stroke::new(1.8, tokens.after) },
        ];
        let plot = Plot {
            title: "Loss",
            now: smooth.last().map_or_else(String::new, |mean| digits(*mean)),
            end: axis_end(training),
            range: loss_range(losses, smooth, self.is_log),
            is_log: self.is_log,
        };
        let about = "Loss of every step, and its running mean, thick; the number is that mean";
        widgets::tip(steps_plot_ui(ui, &plot, &curves), about);
        let check = ui.checkbox(&mut self.is_log, "Logarithmic");
        widgets::tip(check, "Equal distances are equal ratios: what happens late is seen, too");
    }

    fn checkpoints_ui(&mut self, ui: &mut Ui, session: &Session, training: &Training, actions: &mut Vec<Action>) {
        widgets::heading(ui, "Checkpoints");
        widgets::grid("checkpoints").show(ui, |ui| {
            let about = "Which network of a checkpoint is used: averages over the steps are usually better";
            widgets::tip(ui.label("Network"), about);
            let now = training.network();
            let combo = widgets::combo_box(ui, "network").selected_text(network_label(now)).show_ui(ui, |ui| {
                for name in training.networks() {
                    if ui.selectable_label(name == now, network_label(name)).clicked() {
                        actions.push(Action::Train(TrainAction::Network(name.clone())));
                    }
                }
            });
            widgets::name(&widgets::tip(combo.response, about), Role::ComboBox, "Network");
            ui.end_row();
        });
        let mut follows = training.follows;
        let about = "At every checkpoint, as soon as nothing else is computed. A generator makes the pictures again, of the same seeds, once iterates of them are in a file; with a classifier they are refined again, in a run of its own";
        if widgets::tip(ui.checkbox(&mut follows, "Always use the newest"), about).changed() {
            actions.push(Action::Train(TrainAction::Follow(follows)));
        }
        if session.waits_for_saving() {
            let text = "The newest waits: its pictures would take the place of iterates that no file holds. Save the session, or press Use now.";
            ui.add(egui::Label::new(RichText::new(text).small().weak()).wrap());
        }
        for kept in training.kept.iter().rev() {
            ui.horizontal(|ui| {
                ui.label(format!("Step {}", kept.step));
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    use_ui(ui, kept, session.usage(kept), actions);
                });
            });
        }
        self.strips.retain(|(step, _)| training.samples.iter().any(|(other, _)| other == step));
        for (step, images) in training.samples.iter().rev() {
            if !self.strips.iter().any(|(other, _)| other == step) {
                self.strips.push((*step, Atlas::default()));
            }
            let Some((_, atlas)) = self.strips.iter_mut().find(|(other, _)| other == step) else { continue };
            let text = format!("What it makes after step {step}");
            ui.label(RichText::new(&text).small().weak());
            strip_ui(ui, (atlas, *step), images, &text);
        }
    }
}

/// Before a training is chosen.
fn choose_ui(ui: &mut Ui, recent: &[PathBuf], actions: &mut Vec<Action>) -> Option<Wish> {
    let mut wish = None;
    widgets::heading(ui, "Training");
    ui.add(egui::Label::new(PURPOSE).wrap());
    ui.add_space(theme::GAP);
    let button = widgets::primary(ui, "Open description…");
    if widgets::tip(ui.add(button), "A TOML file that describes a training; it is looked at first").clicked() {
        wish = Some(Wish::TrainingFile);
    }
    let about = "Go on with a training that was begun before, here or by `lapidary train`";
    if widgets::tip(ui.button("Go on with a folder…"), about).clicked() {
        wish = Some(Wish::TrainingFolder);
    }
    if !recent.is_empty() {
        widgets::heading(ui, "Recent");
    }
    for path in recent {
        let button = Button::new(file_name(path)).truncate();
        if widgets::tip(ui.add(button), path.display().to_string()).clicked() {
            actions.push(Action::Train(TrainAction::Choose(path.clone())));
        }
    }
    wish
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Start, hold, go on, end, and put away.
fn steer_ui(ui: &mut Ui, training: &Training, actions: &mut Vec<Action>) {
    let (phase, is_going) = (training.phase, training.is_going());
    ui.horizontal(|ui| {
        let mut button = |ui: &mut Ui, button: Button<'static>, is_on: bool, action: TrainAction, about: &str| {
            if widgets::tip(ui.add_enabled(is_on, button), about).clicked() {
                actions.push(Action::Train(action));
            }
        };
        let (pause, go_on) = (TrainAction::Steer(Steer::Pause), TrainAction::Steer(Steer::GoOn));
        match phase {
            TrainPhase::Waits if training.step > 0 => {
                button(ui, widgets::primary(ui, "Go on"), true, go_on, "Go on with the next step");
            }
            TrainPhase::Waits => button(ui, widgets::primary(ui, "Start"), true, go_on, "Begin with the first step"),
            TrainPhase::Runs => {
                let about = "Hold it after its current step; nothing is lost";
                button(ui, Button::new("Hold"), true, pause, about);
            }
            _ => {
                let can = !matches!(phase, TrainPhase::Prepares(..) | TrainPhase::Ends);
                let about =
                    "Go on with the next step; when all are done, with more of them in config.toml of its folder";
                button(ui, Button::new("Go on"), can, go_on, about);
            }
        }
        let can = matches!(phase, TrainPhase::Runs | TrainPhase::Paused | TrainPhase::Prepares(..));
        let about = "End it after its current step with a checkpoint, from which it can go on later";
        button(ui, Button::new("End"), can, TrainAction::Steer(Steer::Stop), about);
        let about = "Put it away, to choose another one; its folder stays";
        button(ui, Button::new("Close"), !is_going, TrainAction::Close, about);
    });
}

/// How far it is, how fast, and for how long.
fn progress_ui(ui: &mut Ui, training: &Training) {
    let (step, steps) = (training.step, training.steps());
    let (share, text) = match (training.phase, training.refined) {
        (TrainPhase::Prepares(done, of), _) => (done as f32 / of.max(1) as f32, training.words()),
        (_, Some((done, of))) => {
            (done as f32 / of.max(1) as f32, format!("{done} of {} refined", counted(of, "picture")))
        }
        _ => (step as f32 / steps.max(1) as f32, format!("Step {step} of {steps}")),
    };
    ui.add(ProgressBar::new(share).desired_width(ui.available_width()).text(text));
    let mut words = vec![training.words()];
    if training.is_going() {
        words.extend(training.secs.map(|secs| format!("{} steps/s", digits((1.0 / secs.max(1e-9)) as f32))));
        words.extend(training.eta_secs().map(|secs| format!("{} left", duration(secs))));
    }
    let about = "Speed and time are those of the training alone: what else is asked for comes first, and takes up to four times as long as a step before the next step";
    let label = ui.add(egui::Label::new(RichText::new(words.join(", ")).small().weak()).truncate());
    widgets::tip(label, about);
}

/// Where the axis of the steps ends: at the last of them, but what is done has half of it at least.
fn axis_end(training: &Training) -> u64 {
    training.steps().min(2 * training.step).max(training.step)
}

/// What it is worth on what it did not learn from: shares, and what else is known.
fn judged_ui(ui: &mut Ui, training: &Training) {
    let Some((_, last)) = training.judged.last() else { return };
    let tokens = theme::tokens(ui);
    let is_boosted = last.get("refined").is_some();
    let curve = |name: &str, color| Curve {
        points: training.judged.iter().filter_map(|(step, found)| Some((*step, found.get(name)? as f32))).collect(),
        stroke: Stroke::new(1.6, color),
    };
    let share = |name: &str| percent(last.get(name).unwrap_or(f64::NAN) as f32);
    let plot = |title, now| Plot { title, now, end: axis_end(training), range: (0.0, 1.0), is_log: false };
    let pictures = last.pictures;
    if is_boosted {
        let about = format!("How much of what refinement gives {pictures} held-out seeds one call gives them");
        let plot = plot("Gain recovered", share("recovered"));
        widgets::tip(steps_plot_ui(ui, &plot, &[curve("recovered", tokens.after)]), about);
    } else {
        let about = format!(
            "Share of {pictures} held-out pictures that are told right: as they are, grey, and attacked, green"
        );
        let plot = plot("Held out, right", format!("{}, attacked {}", share("clean"), share("attacked")));
        let curves = [curve("clean", tokens.before), curve("attacked", tokens.after)];
        widgets::tip(steps_plot_ui(ui, &plot, &curves), about);
    }
    if let Some(auc) = last.get("auc") {
        let about = "How often a held-out picture looks more real to it than a generated one";
        widgets::row(ui, "Real against generated", digits(auc as f32), about);
    }
}

fn use_ui(ui: &mut Ui, kept: &Snapshot, usage: Usage, actions: &mut Vec<Action>) {
    let (text, about) = match usage {
        Usage::Shown => ("In use", "What is shown comes from it"),
        Usage::Chosen => {
            ("Chosen", "The settings name it, but what is shown does not come from it yet: press to try again")
        }
        Usage::None => (
            "Use now",
            "Make it the network of the settings; a generator makes the pictures again, of the same seeds, and with a classifier they are refined again",
        ),
    };
    let button = ui.add_enabled(usage != Usage::Shown, Button::new(text).small());
    widgets::name(&button, Role::Button, &format!("{text}: step {}", kept.step));
    if widgets::tip(button, about).clicked() {
        actions.push(Action::Train(TrainAction::Use(kept.step)));
    }
}

/// A row of pictures as wide as the panel.
fn strip_ui(ui: &mut Ui, (atlas, step): (&mut Atlas, u64), images: &ImageBatch, text: &str) {
    let count = images.len();
    let side = ((ui.available_width() + GAP) / count.max(1) as f32 - GAP).min(PICTURE);
    let (row, response) = ui.allocate_exact_size(vec2(ui.available_width(), side), Sense::hover());
    widgets::name(&response, Role::Image, text);
    if !ui.is_rect_visible(row) {
        return;
    }
    let batch = Batch { epoch: step, key: 0, shape: images.shape() };
    let pixels = (side * ui.ctx().pixels_per_point()).round() as usize;
    atlas.update(ui.ctx(), batch, |sample| images.sample(sample), pixels, &(0..count).collect::<Vec<_>>());
    for sample in 0..count {
        let at = row.min + vec2(sample as f32 * (side + GAP), 0.0);
        atlas.paint(ui.painter(), egui::Rect::from_min_size(at, vec2(side, side)), sample);
    }
}

/// What it is: pictures, network, length, and where it lies.
fn report_ui(ui: &mut Ui, training: &Training, report: &TrainReport) {
    let TrainReport { pictures: (learnt, held_out), shape: [c, h, w], steps, batch, .. } = report;
    let rows = [
        ("Trained", report.role.word().to_owned(), "What is trained"),
        ("Pictures", learnt.to_string(), "Pictures that it learns from"),
        ("Held out", held_out.to_string(), "Pictures that it never learns from"),
        ("Size", format!("{w}×{h}, {}", counted(*c, "channel")), "Size of a picture"),
        ("Classes", report.classes.len().to_string(), "Classes of the pictures"),
        ("Network", format!("{:.2} million numbers", report.weights as f64 / 1e6), "Numbers that it learns"),
        ("Steps", format!("{} of {batch} pictures", steps.1), "Its length"),
        ("Computes on", report.device.name.clone(), "Its device; chosen when it is begun"),
        ("Folder", file_name(training.folder()), "Where its checkpoints and its tables lie"),
    ];
    for (label, value, about) in rows {
        let about =
            if label == "Folder" { format!("{about}: {}", training.folder().display()) } else { about.to_owned() };
        widgets::row(ui, label, value, &about);
    }
    for line in &report.data {
        ui.add(egui::Label::new(RichText::new(line).small().weak()).wrap());
    }
}
