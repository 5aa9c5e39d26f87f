//! Asking for a path: typed, or through the system's dialog. What it names is looked at before it is taken, so that nobody is
//! asked to give up work for a file that cannot be read, and what was typed stays until it is right.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam::channel::{Receiver, TryRecvError};
use egui::text::{CCursor, CCursorRange};
use egui::{Color32, ColorImage, RichText, Ui};

use super::browse::{Browsed, Browser, Filter, Kind};
use super::typed_path::{chosen, listed, with_ending};
use super::{theme, widgets};
use crate::data::{MAX_PICTURES, PictureError, PictureSource};
use crate::error::error_chain;
use crate::session::document::{Document, is_session};
use crate::session::notice::sentence;
use crate::session::{Detail, Export};
use crate::worker::live::{Against, fault_of};
use crate::zoo;

/// Why there is nothing to browse with.
const NO_DIALOG: &str = if cfg!(target_os = "linux") {
    "no file dialog can be shown here: type or paste the path, or install xdg-desktop-portal with one of its backends, or zenity"
} else {
    "no file dialog can be shown here: type or paste the path"
};
/// What is expected where nothing was typed.
const NO_PATH: &str = "no path is given: type or paste one, or choose it with Browse…";
/// Ending of session files.
const ENDING: &str = "lapidary";
/// Size that pictures are read in to see whether they can be.
const GLANCE: [usize; 3] = [3, 8, 8];
/// Width of the dialog, and of the field in it, in points.
const WIDTH: (f32, f32) = (560.0, 448.0);

/// What a path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A session to open.
    OpenSession,
    /// Pictures to open.
    OpenPictures,
    /// Real pictures for early stopping.
    References,
    /// Where to save.
    SaveSession,
    /// Where to put something that is taken out.
    Export(Export),
    /// Weights of a generator.
    Generator,
    /// A generator's folder, as diffusers writes it.
    GeneratorFolder,
    /// Weights of a classifier.
    Classifier,
    /// Weights of a classifier that judges.
    Judge,
    /// Real pictures for the numbers beside a run.
    Real,
    /// A folder of them.
    RealFolder,
    /// What describes a training.
    Training,
    /// The folder of a training.
    TrainingFolder,
}

impl Purpose {
    /// The dialog's title, and what its button says.
    const fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenSession => ("Open session", "Open"),
            Self::OpenPictures => ("Open images as \"before\"", "Open"),
            Self::References => ("Open real pictures as references", "Open"),
            Self::SaveSession => ("Save session", "Save file"),
            Self::Export(Export::Pair(_)) => ("Save pair", "Save file"),
            Self::Export(Export::Trace) => ("Save trace", "Save file"),
            Self::Export(Export::Results) => ("Save results", "Save file"),
            Self::Export(_) => ("Save contact sheet", "Save file"),
            Self::Generator => ("Open generator weights", "Open"),
            Self::GeneratorFolder => ("Open generator folder", "Open"),
            Self::Classifier => ("Open classifier weights", "Open"),
            Self::Judge => ("Open judge weights", "Open"),
            Self::Real => ("Open real pictures to compare with", "Open"),
            Self::RealFolder => ("Open folder of real pictures to compare with", "Open"),
            Self::Training => ("Open the description of a training", "Open"),
            Self::TrainingFolder => ("Open the folder of a training", "Open"),
        }
    }

    /// What a path may be.
    const fn hint(self) -> &'static str {
        match self {
            Self::OpenPictures => {
                "Pictures, a folder of them, or an .npz file; several paths are separated by ;\nA copied picture is opened by Ctrl+V"
            }
            Self::References => {
                "Real pictures, paired with the generated ones by their order; several paths are separated by ;"
            }
            Self::Real => {
                "An .npz file: pictures, mean and covariance, or what lapidary evaluate saw and saved with the same judge"
            }
            Self::RealFolder => {
                "A folder with real pictures in it or below it; others than those of the run's size are fitted"
            }
            Self::Generator | Self::Classifier | Self::Judge => {
                "Weights in a file of PyTorch or safetensors, known by what they contain; a .toml manifest beside them decides where there is one"
            }
            Self::GeneratorFolder => "A folder that diffusers wrote, with unet/config.json or config.json",
            Self::Training => {
                "A TOML file; a new training gets a folder beside it that is called like it, and one that was begun there goes on"
            }
            Self::TrainingFolder => "A folder with the config.toml, the metrics.csv and the checkpoints of a training",
            Self::Export(_) => "A file that is there already stays; the new one gets a number",
            Self::OpenSession => "A .lapidary file, or the session.json that the command line writes",
            Self::SaveSession => "",
        }
    }

    const fn takes_several(self) -> bool {
        matches!(self, Self::OpenPictures | Self::References)
    }

    /// What the system's dialog is asked for, and which files it shows at first.
    const fn wish(self) -> (Kind, Option<Filter>) {
        const SESSION: &str = "Lapidary session";
        const WEIGHTS: &[&str] = &["safetensors", "pt", "pth", "ckpt", "bin", "pkl", "tar", "toml"];
        match self {
            Self::OpenSession => (Kind::File, Some((SESSION, &[ENDING, "json"]))),
            Self::SaveSession => (Kind::Save("session.lapidary"), Some((SESSION, &[ENDING]))),
            Self::Export(Export::Pair(_)) => (Kind::Save("pair.png"), None),
            Self::Export(Export::Trace) => (Kind::Save("trace.csv"), None),
            Self::Export(Export::Results) => (Kind::Save("result.npz"), None),
            Self::Export(_) => (Kind::Save("contact_sheet.png"), None),
            Self::Generator | Self::Classifier | Self::Judge => (Kind::File, Some(("Weights", WEIGHTS))),
            Self::Real => (Kind::File, Some(("Pictures or what was seen of them", &["npz"]))),
            Self::GeneratorFolder | Self::TrainingFolder | Self::RealFolder => (Kind::Folder, None),
            Self::Training => (Kind::File, Some(("Description of a training", &["toml"]))),
            Self::OpenPictures | Self::References => (Kind::Files, None),
        }
    }
}

/// What the user decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Files, or one to save to.
    Files(Purpose, Vec<PathBuf>, Detail),
    /// A model that is known by its manifest or by its shapes.
    Model(Purpose, String),
    /// No model: why not, from what happened to why.
    Refused(Vec<String>),
}

/// Asking for a path.
pub struct PathDialog {
    purpose: Option<Purpose>,
    /// The field is to get the focus.
    is_new: bool,
    text: String,
    /// Paths that [`Self::text`] lists, for as long as it is not typed over: a path may hold what a text cannot.
    picked: Vec<PathBuf>,
    detail: Detail,
    browser: Option<Browser>,
    /// What real pictures are to fit.
    against: Option<Against>,
    /// What was named is being looked at: that may take long.
    looking: Option<Receiver<Answer>>,
    /// Why nothing came of it: what happened, then why.
    refusal: Vec<String>,
}

impl Default for PathDialog {
    fn default() -> Self {
        Self {
            purpose: None,
            is_new: false,
            text: String::new(),
            picked: Vec::new(),
            detail: Detail::Full,
            browser: None,
            against: None,
            looking: None,
            refusal: Vec::new(),
        }
    }
}

impl PathDialog {
    /// Whether it waits for an answer.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.purpose.is_some()
    }

    /// What is asked for pictures for, while that goes on; without a dialog, they are opened.
    #[must_use]
    pub const fn wants_pictures(&self) -> Option<Purpose> {
        match self.purpose {
            None => Some(Purpose::OpenPictures),
            Some(purpose) if purpose.takes_several() => Some(purpose),
            Some(_) => None,
        }
    }

    /// Closes the dialog without an answer.
    pub fn close(&mut self) {
        *self = Self::default();
    }

    /// Opens the dialog with a suggestion.
    pub fn ask(&mut self, purpose: Purpose, suggestion: Option<PathBuf>) {
        *self = Self { purpose: Some(purpose), is_new: true, ..Self::default() };
        self.show(suggestion.into_iter().collect());
    }

    /// Opens the dialog for real pictures, which are to fit this.
    pub fn ask_real(&mut self, purpose: Purpose, against: Option<Against>) {
        self.ask(purpose, None);
        self.against = against;
    }

    fn show(&mut self, paths: Vec<PathBuf>) {
        self.text = listed(&paths);
        self.picked = paths;
        self.refusal.clear();
    }

    /// Draws the dialog while it is open; returns the answer once, and never a refusal: what was typed stays with it.
    pub fn ui(&mut self, ui: &Ui) -> Option<Answer> {
        let purpose = self.purpose?;
        match self.browser.as_ref().map(Browser::look) {
            None | Some(Browsed::Waiting) => {}
            Some(browsed) => {
                // Return takes what was chosen, and what is typed goes into the field.
                (self.browser, self.is_new) = (None, true);
                match browsed {
                    Browsed::Chosen(paths) if !paths.is_empty() => self.show(paths),
                    Browsed::Impossible => self.refusal = vec![NO_DIALOG.to_owned()],
                    _ => {}
                }
            }
        }
        match self.looking.as_ref().map(Receiver::try_recv) {
            Some(Ok(Answer::Refused(chain))) => (self.looking, self.refusal, self.is_new) = (None, chain, true),
            Some(Ok(answer)) => {
                (self.purpose, self.looking) = (None, None);
                return Some(answer);
            }
            Some(Err(TryRecvError::Disconnected)) => (self.looking, self.is_new) = (None, true),
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let mut done = false;
        let modal = widgets::modal("path").show(ui.ctx(), |ui| self.contents_ui(ui, purpose, &mut done));
        if modal.inner || modal.should_close() {
            (self.purpose, self.looking) = (None, None);
        } else if done && self.looking.is_none() && !self.text.trim().is_empty() {
            let paths = chosen(&self.text, &self.picked, purpose.takes_several());
            self.refusal.clear();
            let (detail, against) = (self.detail, self.against.clone());
            self.looking = find_out(ui.ctx().clone(), move || match against {
                Some(against) => answer_to_real(purpose, paths, &against),
                None => answer_to(Some(purpose), paths, detail),
            });
        }
        None
    }

    /// What stands in the dialog; true when it is to be closed. `done` becomes true when what was typed is confirmed.
    fn contents_ui(&mut self, ui: &mut Ui, purpose: Purpose, done: &mut bool) -> bool {
        let (title, action) = purpose.title();
        ui.set_width(WIDTH.0);
        ui.label(RichText::new(title).heading());
        ui.add_space(4.0);
        ui.add_enabled_ui(self.looking.is_none(), |ui| *done |= self.path_ui(ui, purpose));
        if purpose == Purpose::SaveSession {
            ui.radio_value(&mut self.detail, Detail::Full, "Every iterate");
            ui.radio_value(&mut self.detail, Detail::Small, "Small: origins, all numbers, and the last iterate");
        }
        let hint = if self.looking.is_some() { "Reading what this is…" } else { purpose.hint() };
        if !hint.is_empty() {
            ui.label(RichText::new(hint).weak());
        }
        for (depth, line) in self.refusal.iter().enumerate() {
            let text = RichText::new(sentence(line));
            ui.label(if depth == 0 { text.color(theme::tokens(ui).error) } else { text.small() });
        }
        ui.add_space(6.0);
        ui.horizontal(|ui| {
            let ready = !self.text.trim().is_empty() && self.looking.is_none();
            *done |= ui.add_enabled(ready, egui::Button::new(action)).clicked();
            ui.button("Cancel").clicked()
        })
        .inner
    }

    /// The field, and the way to the system's dialog; true when the text was confirmed.
    fn path_ui(&mut self, ui: &mut Ui, purpose: Purpose) -> bool {
        ui.horizontal(|ui| {
            let label = ui.label("Path");
            let edit = egui::TextEdit::singleline(&mut self.text).desired_width(WIDTH.1);
            let response = widgets::text_field(ui, edit).labelled_by(label.id);
            if self.is_new {
                // The click that led here would take the focus away again.
                self.is_new = ui.input(|input| input.pointer.any_released());
                ui.ctx().request_repaint();
                response.request_focus();
                select_name(ui.ctx(), response.id, &self.text);
            }
            let browse = ui.add_enabled(self.browser.is_none(), egui::Button::new("Browse…"));
            if browse.on_hover_text("Choose with the system's dialog").clicked() {
                let (kind, filter) = purpose.wish();
                self.browser = Browser::open(kind, filter, ui.ctx().clone());
            }
            if response.changed() {
                self.refusal.retain(|line| line != NO_PATH);
            }
            let is_confirmed = response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
            if is_confirmed && self.text.trim().is_empty() {
                // It is still what is to be typed into.
                response.request_focus();
                self.refusal = vec![NO_PATH.to_owned()];
            }
            is_confirmed
        })
        .inner
    }
}

/// Selects a file's name without its ending, so that another is typed over it.
fn select_name(ctx: &egui::Context, field: egui::Id, text: &str) {
    let path = Path::new(text);
    let count = |part: Option<&std::ffi::OsStr>| part.map_or(0, |part| part.to_string_lossy().chars().count());
    let begin = text.chars().count() - count(path.file_name());
    let range = CCursorRange::two(CCursor::new(begin), CCursor::new(begin + count(path.file_stem())));
    let mut state = egui::TextEdit::load_state(ctx, field).unwrap_or_default();
    state.cursor.set_char_range(Some(range));
    egui::TextEdit::store_state(ctx, field, state);
}

/// Finds out what `paths` are, on a thread of its own; `None` when the system refuses one. Without a purpose, they are a session
/// or pictures.
pub fn look(
    purpose: Option<Purpose>,
    paths: Vec<PathBuf>,
    detail: Detail,
    ctx: egui::Context,
) -> Option<Receiver<Answer>> {
    find_out(ctx, move || answer_to(purpose, paths, detail))
}

/// Likewise, of a picture from the clipboard, which becomes a file in `folder`.
pub fn look_at_pasted(
    purpose: Purpose,
    picture: Arc<ColorImage>,
    folder: PathBuf,
    ctx: egui::Context,
) -> Option<Receiver<Answer>> {
    find_out(ctx, move || {
        let path = folder.join("clipboard.png");
        let [width, height] = picture.size.map(|side| side as u32);
        let bytes: Vec<u8> = picture.pixels.iter().flat_map(Color32::to_srgba_unmultiplied).collect();
        match image::save_buffer(&path, &bytes, width, height, image::ExtendedColorType::Rgba8) {
            Ok(()) => answer_to(Some(purpose), vec![path], Detail::Full),
            Err(error) => {
                tracing::warn!(%error, "the picture in the clipboard could not be written");
                let what = "the picture in the clipboard cannot be put into a file: save it as a file, and open that";
                Answer::Refused(vec![what.to_owned()])
            }
        }
    })
}

/// Asks on a thread of its own.
fn find_out(ctx: egui::Context, ask: impl FnOnce() -> Answer + Send + 'static) -> Option<Receiver<Answer>> {
    let (sender, receiver) = crossbeam::channel::bounded(1);
    let spawned = std::thread::Builder::new().name("lapidary-look".to_owned()).spawn(move || {
        let answer = ask();
        if sender.try_send(answer).is_err() {
            tracing::debug!("nobody waits any more for what the files are");
        }
        ctx.request_repaint();
    });
    if let Err(error) = &spawned {
        tracing::error!(%error, "the files could not be looked at");
    }
    spawned.is_ok().then_some(receiver)
}

fn answer_to(purpose: Option<Purpose>, mut paths: Vec<PathBuf>, detail: Detail) -> Answer {
    if let (Some(Purpose::OpenSession), Some(path)) = (purpose, paths.first_mut()) {
        // Saved as "mine", it became "mine.lapidary".
        let ended = with_ending(path.clone(), ENDING);
        if !path.exists() && ended.exists() {
            *path = ended;
        }
    }
    let session = paths.iter().position(|path| holds_session(path));
    let purpose = match (purpose, session) {
        (None | Some(Purpose::OpenPictures), Some(place)) => {
            paths = vec![paths.swap_remove(place)];
            Purpose::OpenSession
        }
        (purpose, _) => purpose.unwrap_or(Purpose::OpenPictures),
    };
    let Some(path) = paths.first() else { return Answer::Refused(Vec::new()) };
    let refusal = match purpose {
        Purpose::Generator | Purpose::GeneratorFolder | Purpose::Classifier | Purpose::Judge => {
            return model_of(purpose, path);
        }
        Purpose::OpenSession => Document::open(path).err().map(|error| error_chain(&error)),
        Purpose::OpenPictures | Purpose::References => unreadable(&paths).map(|error| error_chain(&error)),
        // Looking into it is another thread's work: it may read many pictures.
        Purpose::Training | Purpose::TrainingFolder | Purpose::Real | Purpose::RealFolder => {
            (!path.exists()).then(|| vec![nothing_at(path)])
        }
        Purpose::Export(_) => unwritable(path).map(|why| vec![why]),
        Purpose::SaveSession => {
            let why = unwritable(path);
            paths = vec![with_ending(path.clone(), ENDING)];
            why.map(|why| vec![why])
        }
    };
    refusal.map_or_else(|| Answer::Files(purpose, paths, detail), Answer::Refused)
}

/// Likewise, of real pictures: what would serve no distance is refused where it is typed.
fn answer_to_real(purpose: Purpose, paths: Vec<PathBuf>, against: &Against) -> Answer {
    let fault = paths.first().map_or_else(|| Some(Vec::new()), |path| fault_of(path, against));
    fault.map_or_else(|| Answer::Files(purpose, paths, Detail::Full), Answer::Refused)
}

/// Whether a file is a session, by its name or by what it holds.
#[must_use]
pub fn holds_session(path: &Path) -> bool {
    is_session(path) || (begins_like_one(path) && Document::open(path).is_ok())
}

/// Whether it is worth reading the whole file: a session is an archive or a description in JSON.
fn begins_like_one(path: &Path) -> bool {
    let mut head = [0; 2];
    let read = path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok();
    read && (head == *b"PK" || head[0] == b'{')
}

/// Why not one picture can be read.
fn unreadable(paths: &[PathBuf]) -> Option<PictureError> {
    let source = match PictureSource::find(paths) {
        Ok(source) => source,
        Err(error) => return Some(error),
    };
    // One that can be is enough: what is wrong with the others is told when they are read.
    let (one, errors) = source.readable(0..1, GLANCE);
    let is_readable = one.is_some() || (source.count() > 1 && source.readable(0..MAX_PICTURES, GLANCE).0.is_some());
    errors.into_iter().next().filter(|_| !is_readable)
}

fn nothing_at(path: &Path) -> String {
    format!("nothing is there: check the path\n{}", path.display())
}

/// Why no file can be made there.
fn unwritable(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(format!("this is a folder: give a name for the file in it\n{}", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    folder.map(|folder| format!("this folder is not there: choose another one, or make it first\n{}", folder.display()))
}

fn model_of(purpose: Purpose, path: &Path) -> Answer {
    let Some(reference) = path.to_str() else {
        let what = "the model's path is no Unicode text, so no session could name it: rename the file or its folder";
        return Answer::Refused(vec![format!("{what}\n{}", path.display())]);
    };
    match zoo::find(reference) {
        Ok(_) => Answer::Model(purpose, reference.to_owned()),
        Err(error) => Answer::Refused(error_chain(&error)),
    }
}
