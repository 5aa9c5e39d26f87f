//! The window: panels as small functions that read the session and push actions. Nothing else of the program names egui.

mod asked_files;
mod asking;
mod atlas;
mod browse;
pub mod canvas;
mod compare_view;
mod compute_panel;
mod edit_panel;
mod empty;
mod ending;
mod export_menu;
mod exports;
mod focus;
mod frame;
mod generate_panel;
mod grid_order;
mod keys;
mod live_panel;
mod other_runs;
mod overlays;
mod pair_grid;
mod path_dialog;
mod recent;
mod refine_panel;
mod run_list;
mod sample_panel;
mod setting_row;
mod settings_panel;
mod start;
mod steps_plot;
mod tallied;
pub mod theme;
mod timeline;
mod top_bar;
mod training_panel;
mod ts_field;
mod typed_path;
mod widgets;

use std::sync::Arc;

use crossbeam::channel::Receiver;
use egui::Ui;

use self::asking::Asking;
use self::canvas::{Canvas, MaskBrush};
use self::compare_view::CompareView;
pub use self::ending::Ending;
use self::exports::Exports;
use self::frame::Frame;
use self::keys::Keyboard;
use self::overlays::NoticeTimes;
use self::pair_grid::{After, PairGrid, Shown};
use self::path_dialog::{Answer, PathDialog, Purpose, look};
use self::recent::Recent;
use self::settings_panel::Typed;
pub use self::start::{run, run_in};
use self::tallied::Tallied;
use self::timeline::Traces;
use self::training_panel::TrainingPanel;
use crate::refiner::State;
use crate::session::training::{TrainAction, Training};
use crate::session::{Action, Cause, Detail, Host, Lookup, Severity, Verb};
use crate::trace::{RunId, StateId};
use crate::worker::Steer;

/// Iterations per second of the film.
const FILM_RATE: f64 = 10.0;
/// Seconds between two looks at the process's memory.
const MEMORY_SECS: f64 = 1.0;
/// Seconds between two looks at a busy compute thread that sends nothing: it may have died.
const WATCH_SECS: f32 = 0.5;

/// The window's content: session and threads, and what only the eye needs.
pub struct Workbench {
    host: Host,
    compare: CompareView,
    typed: Typed,
    grid: PairGrid,
    exports: Exports,
    tallied: Tallied,
    traces: Traces,
    training: TrainingPanel,
    notice_times: NoticeTimes,
    dialog: PathDialog,
    /// Files that were dropped or opened lately, while it is found out what they are.
    looking: Option<Receiver<Answer>>,
    /// Where the picture lies that was pasted last.
    pasted: Option<tempfile::TempDir>,
    /// Something was pasted since the key for it was last let go.
    has_pasted: bool,
    frame: Frame,
    ending: Ending,
    asking: Asking,
    keyboard: Keyboard,
    recent: Recent,
    help_open: bool,
    peeks: bool,
    memory: Option<usize>,
    memory_at: f64,
    film_at: f64,
    shown: Option<(StateId, Lookup)>,
    /// The last state that could be shown, with the count of its session: it stays while the next one is read from disk.
    last_ready: Option<(u64, StateId, Arc<State>)>,
    /// Pictures have been on the screen.
    has_shown: bool,
}

impl Workbench {
    /// Wraps a started host.
    #[must_use]
    pub fn new(mut host: Host) -> Self {
        let recent = Recent::of(&host.folders().autosave);
        if let Some(choice) = recent.live() {
            host.session.choose_live(choice);
        }
        Self {
            host,
            compare: CompareView::default(),
            typed: Typed::default(),
            grid: PairGrid::default(),
            exports: Exports::default(),
            tallied: Tallied::default(),
            traces: Traces::default(),
            training: TrainingPanel::default(),
            notice_times: NoticeTimes::default(),
            dialog: PathDialog::default(),
            looking: None,
            pasted: None,
            has_pasted: false,
            frame: Frame::default(),
            ending: Ending::default(),
            asking: Asking::default(),
            keyboard: Keyboard::default(),
            recent,
            help_open: false,
            peeks: false,
            memory: None,
            memory_at: f64::NEG_INFINITY,
            film_at: 0.0,
            shown: None,
            last_ready: None,
            has_shown: false,
        }
    }

    /// Session and threads.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Session and threads.
    pub const fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    /// The canvas.
    pub const fn canvas_mut(&mut self) -> &mut Canvas {
        &mut self.compare.canvas
    }

    /// The brush that paints the mask for inpainting.
    pub const fn brush_mut(&mut self) -> &mut MaskBrush {
        &mut self.compare.brush
    }

    /// Takes the theme that was chosen last; without one, the system's.
    pub fn adopt_theme(&self, ctx: &egui::Context) {
        if let Some(theme) = self.recent.theme() {
            ctx.set_theme(theme);
        }
    }

    /// Shows the training in place of the settings, or the settings again.
    pub const fn show_training(&mut self, open: bool) {
        self.training.is_open = open;
    }

    /// Opens or closes the list of shortcuts.
    pub const fn show_help(&mut self, open: bool) {
        self.help_open = open;
    }

    /// Between frames, also while the window is hidden: takes in what happened.
    pub fn logic(&mut self, ctx: &egui::Context) {
        self.host.pump();
        self.exports.tell(&mut self.host.session.notices);
        if [Verb::Generate, Verb::Edit].iter().all(|verb| self.typed.refusal(&self.host.session, *verb).is_none()) {
            self.host.session.notices.settle(&[Cause::Typed]);
        }
        self.recent.see(self.host.session.file());
        // What cannot be read is nothing to come back to.
        let training = self.host.session.training().filter(|training| training.report.is_some());
        self.recent.see_training(training.map(Training::chosen_by));
        if self.ending.signal().is_some() && self.frame.end() {
            self.act(ctx, Action::Train(TrainAction::Steer(Steer::Stop)));
        }
        let session = &self.host.session;
        let is_saving = session.is_saving() || self.dialog.is_open() || session.question().is_some();
        let asked = self.asking.logic(session, is_saving);
        for action in self.frame.logic(ctx, session, is_saving).into_iter().chain(asked) {
            self.act(ctx, action);
        }
        let now = ctx.input(|input| input.time);
        if self.host.session.is_playing() {
            if now - self.film_at >= 1.0 / FILM_RATE {
                self.film_at = now;
                self.host.session.play_on();
            }
            ctx.request_repaint_after_secs((1.0 / FILM_RATE) as f32);
        }
        if self.host.session.is_busy() || self.host.session.is_training() {
            ctx.request_repaint_after_secs(WATCH_SECS);
        }
        if now - self.memory_at >= MEMORY_SECS {
            self.memory_at = now;
            self.memory = memory_stats::memory_stats().map(|stats| stats.physical_mem);
        }
    }

    /// Closes the window when the system asks for it.
    pub fn ends_by(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Closes the window, whatever is unsaved: it stays in the autosave.
    pub fn close(&mut self, ctx: &egui::Context) {
        self.frame.close(ctx);
    }

    /// Draws everything and does what the user asks.
    pub fn ui(&mut self, ui: &mut Ui) {
        self.look_up();
        let mut actions = Vec::new();
        // Keys belong to what lies on top; Escape closes it.
        let has_modal =
            self.help_open || self.frame.asks() || self.dialog.is_open() || self.host.session.question().is_some();
        let covered = has_modal || egui::Popup::is_any_open(ui.ctx());
        if self.compare.brush.take_hovered() {
            // Held, it pans the picture that is painted on; it must not also run or pause.
            ui.input_mut(|input| input.consume_key(egui::Modifiers::NONE, egui::Key::Space));
        }
        // Held, it shows every picture as it was before; a button that has the focus does nothing with letters.
        let is_typing = ui.ctx().text_edit_focused();
        let is_held = ui.input(|input| input.key_down(egui::Key::V) && !input.modifiers.command);
        self.peeks = !covered && !is_typing && is_held;
        if covered && !ui.input(|input| input.events.is_empty()) {
            // They may close it, which is seen only in the next frame; until then it would keep the keys.
            ui.ctx().request_repaint();
        }
        if !covered {
            actions.extend(self.keyboard.pressed(ui.ctx()).into_iter().map(Action::Do));
        }
        self.unread_paste(ui);
        if self.dialog.is_open() || !has_modal {
            self.pasted_picture(ui);
        }
        if !covered && !is_typing {
            self.pasted_files(ui);
        }
        self.dropped_files(ui, &mut actions);
        // A tip lies neither over a dialog nor over what is being dragged.
        if has_modal || ui.input(|input| input.pointer.any_down()) {
            widgets::without_tips(ui);
        }
        self.panels_ui(ui, &mut actions);
        focus::frame_ui(ui);
        self.keyboard.end(ui.ctx());
        if !self.has_shown && self.shown.is_some() {
            self.has_shown = true;
            tracing::info!("the first pictures are drawn");
        }
        for action in actions {
            self.act(ui.ctx(), action);
        }
        // A control that was let go closes its step of undo.
        if !ui.input(|input| input.pointer.any_down()) {
            self.host.handle(Action::EndEdit);
        }
    }

    /// Finds the shown pictures.
    fn look_up(&mut self) {
        self.compare.notice_pictures(&self.host.session);
        let session = &mut self.host.session;
        self.shown = session.shown_id().and_then(|id| Some((id, session.shown_state()?)));
        let epoch = session.epoch();
        match &self.shown {
            Some((id, Lookup::Ready(state))) => self.last_ready = Some((epoch, *id, state.clone())),
            Some((_, Lookup::Loading)) => {
                if let Some((_, id, state)) = self.last_ready.as_ref().filter(|(of, ..)| *of == epoch) {
                    self.shown = Some((*id, Lookup::Ready(state.clone())));
                }
            }
            _ => {}
        }
        let ready = match &self.shown {
            Some((id, Lookup::Ready(state))) => Some((*id, state)),
            _ => None,
        };
        self.host.look_live(ready);
    }

    fn panels_ui(&mut self, ui: &mut Ui, actions: &mut Vec<Action>) {
        let session = &self.host.session;
        let memory = self.memory;
        egui::Panel::top("top")
            .exact_size(38.0)
            .show(ui, |ui| top_bar::top_bar_ui(ui, session, (memory, self.recent.sessions()), actions));
        if !session.orphans().is_empty() {
            egui::Panel::top("orphans").show(ui, |ui| overlays::orphans_ui(ui, session, actions));
        }
        let mut wish = None;
        // As high as the window: what is tuned stays in sight. And first, as the focus goes.
        egui::Panel::left("settings").resizable(false).exact_size(theme::SETTINGS_WIDTH).show(ui, |ui| {
            self.training.tabs_ui(ui, session);
            wish = if self.training.is_open {
                self.training.ui(ui, session, self.recent.trainings(), actions)
            } else {
                settings_panel::settings_ui(ui, session, &mut self.typed, &mut self.compare.brush, actions)
            };
        });
        egui::Panel::bottom("timeline").exact_size(theme::TIMELINE_HEIGHT).show(ui, |ui| {
            timeline::timeline_ui(ui, session, &mut self.traces, actions);
        });
        egui::Panel::bottom("messages").resizable(false).exact_size(theme::MESSAGES_HEIGHT).show(ui, |ui| {
            overlays::notices_ui(ui, session, &mut self.notice_times, actions);
        });
        // What an edit has on its way comes first, under a name that no state has.
        let name = |count: u64| StateId { run: RunId(u64::MAX), iteration: count as u32 };
        let preview = session.preview().map(|(count, state)| (name(count), Lookup::Ready(state.clone())));
        let shown = preview.as_ref().or(self.shown.as_ref());
        let path = session.path();
        let input = self.compare.input(session);
        let last = session.shown_id().filter(|_| input.is_none());
        let numbers_before = last.and_then(|last| session.trace().before(path, last));
        // Of the pictures that are shown: every sample's best, it may be, and not those of one state.
        let numbers_after = match &self.shown {
            _ if preview.is_some() => None,
            Some((_, Lookup::Ready(state))) => Some(&state.numbers),
            _ => session.shown_id().and_then(|id| session.trace().numbers(id)),
        };
        let id = self.shown.as_ref().map(|(id, _)| *id);
        let tally = self.tallied.of(session, id, (numbers_before, numbers_after));
        egui::Panel::right("sample").resizable(false).exact_size(theme::SAMPLE_WIDTH).show(ui, |ui| {
            if session.selected().is_some() {
                let pixel = egui::Panel::bottom("pixel").resizable(false).exact_size(sample_panel::PIXEL_HEIGHT);
                let pixel = pixel.frame(egui::Frame::NONE);
                pixel.show(ui, |ui| sample_panel::pixel_ui(ui, self.compare.canvas.readout()));
            }
            egui::ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| {
                sample_panel::sample_panel_ui(ui, session, (numbers_before, numbers_after, tally.as_ref()), actions);
                wish = wish.or(live_panel::live_panel_ui(ui, session, actions));
                focus::scroll_to(ui);
            });
        });
        egui::CentralPanel::default().show(ui, |ui| {
            if session.origins().is_none() {
                empty::empty_ui(ui, session, actions);
            } else if let Some(sample) = session.selected() {
                self.compare.ui(ui, session, sample, (shown, self.peeks), actions);
            } else {
                let after = After::of(session, shown, self.peeks);
                let shown = Shown { id, numbers_before, numbers_after, tally, after, peeks: self.peeks };
                pair_grid::pair_grid_ui(ui, session, &mut self.grid, &shown, actions);
            }
        });
        self.grid.keep_order(session, id, (numbers_before, numbers_after));
        self.asking.ui(ui, session, actions);
        self.frame.ui(ui, session, actions);
        overlays::help_ui(ui, &mut self.help_open);
        overlays::drop_hint_ui(ui);
        let marked = self.host.session.focused();
        self.host.session.arrange(self.grid.samples());
        if self.host.session.focused() != marked {
            // What stands beside the grid is about another picture now.
            ui.ctx().request_repaint();
        }
        self.dialogs(ui, wish, actions);
    }

    /// Does what needs the window here, and hands the rest to the session.
    fn act(&mut self, ctx: &egui::Context, action: Action) {
        if matches!(
            action,
            Action::Do(Verb::Undo | Verb::Redo | Verb::NewSession)
                | Action::Confirm
                | Action::OpenSession(_)
                | Action::Recover(_)
        ) {
            setting_row::forget_refusals(ctx);
        }
        match &action {
            Action::Do(Verb::Theme) => {
                let other = if ctx.theme() == egui::Theme::Dark { egui::Theme::Light } else { egui::Theme::Dark };
                ctx.set_theme(other);
                self.recent.keep_theme(other);
            }
            Action::Export(export) => {
                let shown = self.shown.as_ref().map(|(_, lookup)| lookup.clone());
                let state = if let Some(Lookup::Ready(state)) = shown { Some(state) } else { None };
                if let Some(path) = self.exports.begin(ctx, &mut self.host.session, *export, state) {
                    self.dialog.ask(Purpose::Export(*export), Some(path));
                }
            }
            Action::ChooseLive(choice) => {
                self.recent.keep_live(choice);
                self.host.handle(action);
            }
            Action::Do(Verb::Help) => self.help_open = !self.help_open,
            Action::Do(Verb::FitView) => self.compare.canvas.fit(),
            Action::Do(verb) if self.typed.refusal(&self.host.session, *verb).is_some() => {
                let why = self.typed.refusal(&self.host.session, *verb).into_iter().collect();
                let title = format!("{} waits for the time steps, which stand there in red", verb.label());
                self.host.session.notices.add_about(Cause::Typed, Severity::Warning, title, why);
            }
            Action::Do(Verb::ActualSize) => self.compare.canvas.actual_size(ctx.pixels_per_point()),
            Action::Do(Verb::Smooth) => self.compare.canvas.smooth = !self.compare.canvas.smooth,
            Action::OpenSession(path) => {
                self.looking = look(Some(Purpose::OpenSession), vec![path.clone()], Detail::Full, ctx.clone());
            }
            Action::Do(Verb::Quit) => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            Action::Do(Verb::Open) => self.dialog.ask(Purpose::OpenSession, None),
            Action::Do(Verb::OpenImages) => self.dialog.ask(Purpose::OpenPictures, None),
            Action::Do(Verb::OpenReferences) => self.dialog.ask(Purpose::References, None),
            Action::Do(Verb::Save) if self.host.session.can(Verb::Save) => match self.host.session.file() {
                Some(file) => {
                    let save = Action::SaveSession(file.to_owned(), crate::session::Detail::Full);
                    self.host.handle(save);
                }
                None => self.dialog.ask(Purpose::SaveSession, Some(self.suggestion())),
            },
            Action::Do(Verb::SaveAs) if self.host.session.can(Verb::SaveAs) => {
                self.dialog.ask(Purpose::SaveSession, Some(self.suggestion()));
            }
            _ => self.host.handle(action),
        }
        ctx.request_repaint();
    }
}

impl eframe::App for Workbench {
    fn raw_input_hook(&mut self, ctx: &egui::Context, input: &mut egui::RawInput) {
        self.keyboard.split(ctx, &mut input.events);
    }

    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        Self::logic(self, ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        Self::ui(self, ui);
    }
}
