//! The window: panels as small functions that read the session and push actions. Nothing else of the program names egui.

mod atlas;
pub mod canvas;
mod compare_view;
mod compute_panel;
mod edit_panel;
mod export_menu;
mod exports;
mod generate_panel;
mod grid_order;
mod keys;
mod other_runs;
mod overlays;
mod pair_grid;
mod path_dialog;
mod refine_panel;
mod run_list;
mod sample_panel;
mod setting_row;
mod tallied;
pub mod theme;
mod timeline;
mod top_bar;
mod ts_field;
mod widgets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::{RichText, Ui};

use self::canvas::{Canvas, MaskBrush};
use self::compare_view::CompareView;
use self::exports::Exports;
use self::generate_panel::Wish;
use self::overlays::NoticeTimes;
use self::pair_grid::{After, PairGrid, Shown};
use self::path_dialog::{Answer, PathDialog, Purpose};
use self::tallied::Tallied;
use self::timeline::Traces;
use self::ts_field::TsField;
use crate::refiner::State;
use crate::session::document::is_session;
use crate::session::host::Folders;
use crate::session::{Action, Activity, Host, Lookup, Settings, Severity, Verb};
use crate::trace::StateId;

/// Iterations per second of the film.
const FILM_RATE: f64 = 10.0;
/// Seconds between two looks at the process's memory.
const MEMORY_SECS: f64 = 1.0;
/// Seconds between two looks at a busy compute thread that sends nothing: it may have died.
const WATCH_SECS: f32 = 0.5;

/// Text of the settings that is being typed and is no setting yet.
#[derive(Default)]
struct Typed {
    generate: TsField,
    edit: TsField,
}

/// The window's content: session and threads, and what only the eye needs.
pub struct Workbench {
    host: Host,
    compare: CompareView,
    typed: Typed,
    grid: PairGrid,
    exports: Exports,
    tallied: Tallied,
    traces: Traces,
    notice_times: NoticeTimes,
    dialog: PathDialog,
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
    pub fn new(host: Host) -> Self {
        Self {
            host,
            compare: CompareView::default(),
            typed: Typed::default(),
            grid: PairGrid::default(),
            exports: Exports::default(),
            tallied: Tallied::default(),
            traces: Traces::default(),
            notice_times: NoticeTimes::default(),
            dialog: PathDialog::default(),
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

    /// Opens or closes the list of shortcuts.
    pub const fn show_help(&mut self, open: bool) {
        self.help_open = open;
    }

    /// Between frames, also while the window is hidden: takes in what happened.
    pub fn logic(&mut self, ctx: &egui::Context) {
        self.host.pump();
        self.exports.tell(&mut self.host.session.notices);
        let now = ctx.input(|input| input.time);
        if self.host.session.is_playing() {
            if now - self.film_at >= 1.0 / FILM_RATE {
                self.film_at = now;
                self.host.session.play_on();
            }
            ctx.request_repaint_after_secs((1.0 / FILM_RATE) as f32);
        }
        if self.host.session.is_busy() {
            ctx.request_repaint_after_secs(WATCH_SECS);
        }
        if now - self.memory_at >= MEMORY_SECS {
            self.memory_at = now;
            self.memory = memory_stats::memory_stats().map(|stats| stats.physical_mem);
        }
    }

    /// Draws everything and does what the user asks.
    pub fn ui(&mut self, ui: &mut Ui) {
        self.look_up();
        let mut actions = Vec::new();
        // Keys belong to what lies on top; Escape closes it.
        let has_modal = self.help_open || self.dialog.is_open() || self.host.session.question().is_some();
        let covered = has_modal || egui::Popup::is_any_open(ui.ctx());
        if self.compare.brush.take_hovered() {
            // Held, it pans the picture that is painted on; it must not also run or pause.
            ui.input_mut(|input| input.consume_key(egui::Modifiers::NONE, egui::Key::Space));
        }
        // Held, it shows every picture as it was before.
        self.peeks =
            !covered && !ui.ctx().egui_wants_keyboard_input() && ui.input(|input| input.key_down(egui::Key::V));
        if !covered {
            actions.extend(keys::pressed(ui.ctx()).into_iter().map(Action::Do));
        }
        Self::dropped_files(ui, &mut actions);
        self.panels_ui(ui, &mut actions);
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
    }

    fn dropped_files(ui: &Ui, actions: &mut Vec<Action>) {
        let dropped: Vec<PathBuf> =
            ui.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect());
        match dropped.iter().find(|path| is_session(path)) {
            Some(session) => actions.push(Action::OpenSession(session.clone())),
            None if !dropped.is_empty() => actions.push(Action::OpenPictures(dropped)),
            None => {}
        }
    }

    fn panels_ui(&mut self, ui: &mut Ui, actions: &mut Vec<Action>) {
        let session = &self.host.session;
        let memory = self.memory;
        egui::Panel::top("top").exact_size(38.0).show(ui, |ui| top_bar::top_bar_ui(ui, session, memory, actions));
        if !session.orphans().is_empty() {
            egui::Panel::top("orphans").show(ui, |ui| overlays::orphans_ui(ui, session, actions));
        }
        egui::Panel::bottom("timeline").exact_size(theme::TIMELINE_HEIGHT).show(ui, |ui| {
            timeline::timeline_ui(ui, session, &mut self.traces, actions);
        });
        let mut wish = None;
        egui::Panel::left("settings").resizable(false).exact_size(theme::SETTINGS_WIDTH).show(ui, |ui| {
            wish = settings_ui(ui, &self.host, &mut self.typed, &mut self.compare.brush, actions);
        });
        let path = session.path();
        let numbers_before = path.first().and_then(|id| session.trace().numbers(*id));
        // Of the pictures that are shown: every sample's best, it may be, and not those of one state.
        let numbers_after = match &self.shown {
            Some((_, Lookup::Ready(state))) => Some(&state.numbers),
            _ => session.shown_id().and_then(|id| session.trace().numbers(id)),
        };
        let readout = session.selected().and_then(|_| self.compare.canvas.readout());
        let id = self.shown.as_ref().map(|(id, _)| *id);
        let tally = self.tallied.of(session, id, (numbers_before, numbers_after));
        egui::Panel::right("sample").resizable(false).exact_size(theme::SAMPLE_WIDTH).show(ui, |ui| {
            egui::ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| {
                sample_panel::sample_panel_ui(
                    ui,
                    session,
                    (numbers_before, numbers_after, tally.as_ref()),
                    readout,
                    actions,
                );
            });
        });
        egui::CentralPanel::default().show(ui, |ui| {
            if session.origins().is_none() {
                empty_ui(ui, &self.host, actions);
            } else if let Some(sample) = session.selected() {
                self.compare.ui(ui, session, sample, (self.shown.as_ref(), self.peeks), actions);
            } else {
                let after = After::of(session, self.shown.as_ref(), self.peeks);
                let shown = Shown { id, numbers_before, numbers_after, tally, after, peeks: self.peeks };
                pair_grid::pair_grid_ui(ui, session, &mut self.grid, &shown, actions);
            }
        });
        overlays::notices_ui(ui, session, &mut self.notice_times, theme::TIMELINE_HEIGHT, actions);
        overlays::question_ui(ui, session, actions);
        overlays::help_ui(ui, &mut self.help_open);
        overlays::drop_hint_ui(ui);
        self.dialogs(ui, wish, actions);
    }

    fn dialogs(&mut self, ui: &Ui, wish: Option<Wish>, actions: &mut Vec<Action>) {
        match wish {
            Some(Wish::GeneratorFile) => self.dialog.ask(Purpose::Generator, None),
            Some(Wish::GeneratorFolder) => self.dialog.ask(Purpose::GeneratorFolder, None),
            Some(Wish::ClassifierFile) => self.dialog.ask(Purpose::Classifier, None),
            None => {}
        }
        let Some(answer) = self.dialog.ui(ui) else { return };
        let (purpose, paths, detail) = match answer {
            Answer::Files(purpose, paths, detail) => (purpose, paths, detail),
            // The old model stays.
            Answer::Refused(chain) => return self.host.session.notices.failure(&chain),
            Answer::Model(purpose, reference) => {
                let mut settings = self.host.session.settings().clone();
                match purpose {
                    Purpose::Classifier => settings.refine.classifier = reference,
                    _ => settings.generate.generator = reference,
                }
                return actions.push(Action::Edit(Box::new(settings)));
            }
        };
        match (purpose, paths.first().cloned()) {
            (Purpose::OpenSession, Some(file)) => actions.push(Action::OpenSession(file)),
            (Purpose::SaveSession, Some(file)) => {
                let named = if file.extension().is_none() { file.with_extension("lapidary") } else { file };
                actions.push(Action::SaveSession(named, detail));
            }
            (Purpose::Export(_), Some(file)) => self.exports.save(ui.ctx(), &mut self.host.session.notices, &file),
            (Purpose::References, Some(_)) => actions.push(Action::OpenReferences(paths)),
            (Purpose::OpenPictures, Some(_)) => actions.push(Action::OpenPictures(paths)),
            _ => {}
        }
    }

    /// Does what needs the window here, and hands the rest to the session.
    fn act(&mut self, ctx: &egui::Context, action: Action) {
        let suggestion =
            |host: &Host| Some(host.session.file().map_or_else(|| PathBuf::from("session.lapidary"), Path::to_owned));
        match &action {
            Action::Do(Verb::Theme) => {
                let dark = ctx.theme() == egui::Theme::Dark;
                ctx.set_theme(if dark { egui::Theme::Light } else { egui::Theme::Dark });
            }
            Action::Export(export) => {
                let shown = self.shown.as_ref().map(|(_, lookup)| lookup.clone());
                let state = if let Some(Lookup::Ready(state)) = shown { Some(state) } else { None };
                if let Some(path) = self.exports.begin(ctx, &mut self.host.session, *export, state) {
                    self.dialog.ask(Purpose::Export(*export), Some(path));
                }
            }
            Action::Do(Verb::Help) => self.help_open = !self.help_open,
            Action::Do(Verb::FitView) => self.compare.canvas.fit(),
            Action::Do(Verb::Open) => self.dialog.ask(Purpose::OpenSession, suggestion(&self.host)),
            Action::Do(Verb::OpenImages) => self.dialog.ask(Purpose::OpenPictures, None),
            Action::Do(Verb::OpenReferences) => self.dialog.ask(Purpose::References, None),
            Action::Do(Verb::Save) if self.host.session.can(Verb::Save) => match self.host.session.file() {
                Some(file) => {
                    let save = Action::SaveSession(file.to_owned(), crate::session::Detail::Full);
                    self.host.handle(save);
                }
                None => self.dialog.ask(Purpose::SaveSession, suggestion(&self.host)),
            },
            Action::Do(Verb::SaveAs) if self.host.session.can(Verb::SaveAs) => {
                self.dialog.ask(Purpose::SaveSession, suggestion(&self.host));
            }
            _ => self.host.handle(action),
        }
        ctx.request_repaint();
    }
}

impl eframe::App for Workbench {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        Self::logic(self, ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        Self::ui(self, ui);
    }
}

/// Draws the settings and turns what was edited into one action.
fn settings_ui(
    ui: &mut Ui,
    host: &Host,
    typed: &mut Typed,
    brush: &mut MaskBrush,
    actions: &mut Vec<Action>,
) -> Option<Wish> {
    let session = &host.session;
    let mut settings = session.settings().clone();
    let mut wish = None;
    egui::ScrollArea::vertical().auto_shrink([false, true]).show(ui, |ui| {
        let ts = &mut typed.generate;
        let generate = generate_panel::generate_panel_ui(ui, session, &mut settings.generate, ts, actions);
        ui.add_space(4.0);
        ui.separator();
        edit_panel::edit_panel_ui(ui, session, &mut settings.edit, (&mut typed.edit, brush), actions);
        ui.separator();
        let refine = refine_panel::refine_panel_ui(ui, session, &mut settings.refine, actions);
        ui.add_space(4.0);
        ui.separator();
        compute_panel::compute_panel_ui(ui, session, &mut settings.compute, actions);
        wish = generate.or(refine);
    });
    if settings != *session.settings() {
        actions.push(Action::Edit(Box::new(settings)));
    }
    wish
}

/// The centre before there are pictures.
fn empty_ui(ui: &mut Ui, host: &Host, actions: &mut Vec<Action>) {
    let session = &host.session;
    ui.vertical_centered(|ui| {
        ui.add_space((ui.available_height() * 0.34).max(20.0));
        match session.activity() {
            Activity::Generating { .. } | Activity::Preparing { .. } | Activity::Loading { .. } => {
                ui.spinner();
                ui.add_space(6.0);
                ui.label(RichText::new("The first pictures are on their way").heading());
            }
            Activity::Failed => {
                ui.label(RichText::new("That did not work").heading());
                ui.label("The message below says why. Change the setting it names and press Generate.");
            }
            Activity::Crashed(_) => {
                ui.label(RichText::new("The compute thread crashed").heading());
                ui.label("Press Restart compute above; your settings are still here.");
            }
            _ => {
                ui.label(RichText::new("No pictures yet").heading());
                ui.add_space(4.0);
                ui.label("Generate some with the settings on the left,");
                ui.label("or drop your own picture files here to refine them.");
                ui.add_space(10.0);
                let button = egui::Button::new(RichText::new("Generate pictures").strong());
                if ui.add_enabled(session.can(Verb::Generate), button).clicked() {
                    actions.push(Action::Do(Verb::Generate));
                }
            }
        }
    });
}

/// Opens the window with these settings and files, and stays until it is closed.
///
/// # Errors
/// When no window can be opened or the threads cannot be started.
pub fn run(settings: Settings, files: Vec<PathBuf>, folders: Folders) -> anyhow::Result<()> {
    run_in([1280.0, 800.0], settings, files, folders, |workbench| Box::new(workbench))
}

/// Likewise, of a size in points, around whatever `wrap` makes of the workbench.
///
/// # Errors
/// As [`run`].
pub fn run_in(
    size: [f32; 2],
    settings: Settings,
    files: Vec<PathBuf>,
    folders: Folders,
    wrap: impl FnOnce(Workbench) -> Box<dyn eframe::App> + 'static,
) -> anyhow::Result<()> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("Lapidary")
        .with_app_id("lapidary")
        .with_inner_size(size)
        .with_min_inner_size([960.0, 600.0])
        .with_drag_and_drop(true);
    let native = eframe::NativeOptions { viewport, ..Default::default() };
    let app = move |creation: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, Box<dyn std::error::Error + Send + Sync>> {
        theme::install(&creation.egui_ctx);
        if let Some(render_state) = &creation.wgpu_render_state {
            canvas::install(render_state);
        }
        let ctx = creation.egui_ctx.clone();
        let mut host = Host::start(settings, folders, Arc::new(move || ctx.request_repaint()))?;
        open_at_start(&mut host, files);
        Ok(wrap(Workbench::new(host)))
    };
    eframe::run_native("lapidary", native, Box::new(app)).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Opens the files of the command line, or generates.
fn open_at_start(host: &mut Host, files: Vec<PathBuf>) {
    match files.iter().find(|path| is_session(path)) {
        Some(session) => {
            if files.len() > 1 {
                let details = vec!["Only the session was opened.".to_owned()];
                host.session.notices.add(Severity::Warning, "Sessions and pictures cannot be opened together", details);
            }
            host.handle(Action::OpenSession(session.clone()));
        }
        None if files.is_empty() => host.handle(Action::Do(Verb::Generate)),
        None => host.handle(Action::OpenPictures(files)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_opened_at_the_start_whatever_the_case_of_its_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("A.LAPIDARY");
        std::fs::write(&path, "no session").unwrap();
        let folders = Folders { cache: root.path().join("cache"), autosave: root.path().join("autosave") };
        let mut host = Host::start(Settings::default(), folders, Arc::new(|| ())).unwrap();
        open_at_start(&mut host, vec![path]);
        for _ in 0..2000 {
            host.pump();
            if !host.session.notices.list().is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let title = &host.session.notices.list()[0].title;
        assert!(title.contains("no Lapidary session"), "it is not taken for a picture: {title}");
    }
}
