//! Asking for a path: typed, or through the system's dialog on a thread of its own.

use std::path::{Path, PathBuf};

use crossbeam::channel::{Receiver, Sender, TryRecvError};
use egui::{RichText, Ui};

use crate::error::error_chain;
use crate::session::{Detail, Export};
use crate::zoo;

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
        }
    }

    /// What a path may be.
    const fn hint(self) -> &'static str {
        match self {
            Self::OpenPictures => "Pictures or .npz files; several paths are separated by ;",
            Self::References => {
                "Real pictures, paired with the generated ones by their order; several paths are separated by ;"
            }
            Self::Generator | Self::Classifier => {
                "A .safetensors or .pt file; one that is not recognised needs a .toml manifest beside it (see README)"
            }
            Self::GeneratorFolder => "A folder that diffusers wrote, with unet/config.json or config.json",
            Self::Export(_) => "A file that is there already stays; the new one gets a number",
            Self::OpenSession | Self::SaveSession => "",
        }
    }

    const fn takes_several(self) -> bool {
        matches!(self, Self::OpenPictures | Self::References)
    }

    const fn is_model(self) -> bool {
        matches!(self, Self::Generator | Self::GeneratorFolder | Self::Classifier)
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

/// What a thread found out, and what it was asked for.
type Heard<T> = (Sender<(Purpose, T)>, Receiver<(Purpose, T)>);

/// Asking for a path.
pub struct PathDialog {
    purpose: Option<Purpose>,
    /// It was opened just now.
    is_new: bool,
    text: String,
    /// Paths that [`Self::text`] lists, for as long as it is not typed over: a path may hold what a text cannot.
    picked: Vec<PathBuf>,
    detail: Detail,
    /// Paths that the system's dialog gave.
    browsed: Heard<Vec<PathBuf>>,
    /// A model is being looked at: opening and recognising a file may take long.
    looking: Option<Receiver<Answer>>,
}

impl Default for PathDialog {
    fn default() -> Self {
        Self {
            purpose: None,
            is_new: false,
            text: String::new(),
            picked: Vec::new(),
            detail: Detail::Full,
            browsed: crossbeam::channel::bounded(4),
            looking: None,
        }
    }
}

impl PathDialog {
    /// Whether it waits for an answer.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.purpose.is_some()
    }

    /// Opens the dialog with a suggestion.
    pub fn ask(&mut self, purpose: Purpose, suggestion: Option<PathBuf>) {
        (self.purpose, self.is_new, self.looking) = (Some(purpose), true, None);
        self.show(suggestion.into_iter().collect());
    }

    fn show(&mut self, paths: Vec<PathBuf>) {
        self.text = listed(&paths);
        self.picked = paths;
    }

    /// Draws the dialog while it is open; returns the answer once.
    pub fn ui(&mut self, ui: &Ui) -> Option<Answer> {
        let purpose = self.purpose?;
        while let Ok((picked_for, paths)) = self.browsed.1.try_recv() {
            // The dialog of an earlier question may answer late.
            if picked_for == purpose {
                self.show(paths);
            }
        }
        match self.looking.as_ref().map(Receiver::try_recv) {
            Some(Ok(answer)) => {
                (self.purpose, self.looking) = (None, None);
                return Some(answer);
            }
            Some(Err(TryRecvError::Disconnected)) => self.looking = None,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let (title, action) = purpose.title();
        let mut done = false;
        let modal = egui::Modal::new(egui::Id::unique("path")).show(ui.ctx(), |ui| {
            ui.set_width(460.0);
            ui.label(RichText::new(title).heading());
            ui.add_space(4.0);
            ui.add_enabled_ui(self.looking.is_none(), |ui| done |= self.path_ui(ui, purpose));
            match purpose {
                Purpose::SaveSession => {
                    ui.radio_value(&mut self.detail, Detail::Full, "Every iterate");
                    ui.radio_value(
                        &mut self.detail,
                        Detail::Small,
                        "Small: origins, all numbers, and the last iterate",
                    );
                }
                Purpose::OpenSession => {}
                _ if self.looking.is_some() => drop(ui.label("Reading what this is…")),
                _ => drop(ui.label(RichText::new(purpose.hint()).weak())),
            }
            ui.add_space(6.0);
            ui.horizontal(|ui| {
                let ready = !self.text.trim().is_empty() && self.looking.is_none();
                done |= ui.add_enabled(ready, egui::Button::new(action)).clicked();
                ui.button("Cancel").clicked()
            })
            .inner
        });
        if modal.inner || modal.should_close() {
            (self.purpose, self.looking) = (None, None);
            return None;
        }
        if !done || self.text.trim().is_empty() {
            return None;
        }
        let paths = chosen(&self.text, &self.picked, purpose.takes_several());
        if purpose.is_model() {
            let path = paths.into_iter().next()?;
            self.looking = look(purpose, path, ui.ctx().clone());
            return None;
        }
        self.purpose = None;
        Some(Answer::Files(purpose, paths, self.detail))
    }

    /// The field, and the way to the system's dialog; true when the text was confirmed.
    fn path_ui(&mut self, ui: &mut Ui, purpose: Purpose) -> bool {
        ui.horizontal(|ui| {
            let label = ui.label("Path");
            let edit = egui::TextEdit::singleline(&mut self.text).desired_width(318.0);
            let response = ui.add(edit).labelled_by(label.id);
            if std::mem::take(&mut self.is_new) {
                response.request_focus();
            }
            if ui.button("Browse…").on_hover_text("Choose with the system's dialog").clicked() {
                browse(purpose, self.browsed.0.clone(), ui.ctx().clone());
            }
            response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter))
        })
        .inner
    }
}

/// Paths as the field shows them.
fn listed(paths: &[PathBuf]) -> String {
    let list: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    list.join("; ")
}

/// What the field means: the picked paths while it lists them, else what was typed, which names one file before it names several.
fn chosen(text: &str, picked: &[PathBuf], several: bool) -> Vec<PathBuf> {
    if !picked.is_empty() && text == listed(picked) {
        return picked.to_owned();
    }
    let text = text.trim();
    if !several || Path::new(text).exists() {
        return vec![PathBuf::from(text)];
    }
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(PathBuf::from).collect()
}

/// Finds out what a model is, on a thread of its own; `None` when the system refuses one.
fn look(purpose: Purpose, path: PathBuf, ctx: egui::Context) -> Option<Receiver<Answer>> {
    let (sender, receiver) = crossbeam::channel::bounded(1);
    let spawned = std::thread::Builder::new().name("lapidary-look".to_owned()).spawn(move || {
        let answer = model_of(purpose, &path);
        if sender.try_send(answer).is_err() {
            tracing::debug!("the dialog was closed before the model was known");
        }
        ctx.request_repaint();
    });
    if let Err(error) = &spawned {
        tracing::error!(%error, "the model could not be looked at");
    }
    spawned.is_ok().then_some(receiver)
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

/// The system's dialog, on a thread of its own: the window goes on.
fn browse(purpose: Purpose, picked: Sender<(Purpose, Vec<PathBuf>)>, ctx: egui::Context) {
    let spawned = std::thread::Builder::new().name("lapidary-dialog".to_owned()).spawn(move || {
        let dialog = rfd::AsyncFileDialog::new();
        let session = ["lapidary", "json"];
        let weights = ["safetensors", "pt", "pth", "toml"];
        let one = |file: rfd::FileHandle| vec![file.path().to_owned()];
        let paths = match purpose {
            Purpose::OpenSession => {
                pollster::block_on(dialog.add_filter("Lapidary session", &session).pick_file()).map(one)
            }
            Purpose::SaveSession => {
                let dialog = dialog.add_filter("Lapidary session", &session[..1]).set_file_name("session.lapidary");
                pollster::block_on(dialog.save_file()).map(one)
            }
            Purpose::Export(_) => pollster::block_on(dialog.save_file()).map(one),
            Purpose::Generator | Purpose::Classifier => {
                pollster::block_on(dialog.add_filter("Weights", &weights).pick_file()).map(one)
            }
            Purpose::GeneratorFolder => pollster::block_on(dialog.pick_folder()).map(one),
            Purpose::OpenPictures | Purpose::References => pollster::block_on(dialog.pick_files())
                .map(|files| files.iter().map(|file| file.path().to_owned()).collect()),
        };
        if let Some(paths) = paths {
            if picked.try_send((purpose, paths)).is_err() {
                tracing::warn!("the dialog was closed before a file was chosen");
            }
            ctx.request_repaint();
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "the system's dialog could not be opened");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_picked_is_opened_whatever_its_name_holds() {
        let odd = vec![PathBuf::from("one; two.png"), PathBuf::from("three.png")];
        assert_eq!(chosen(&listed(&odd), &odd, true), odd, "no name is cut at its semicolon");
        assert_eq!(chosen("four.png", &odd, true), ["four.png"].map(PathBuf::from), "typed over");
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_no_text_is_opened_but_names_no_model() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = vec![PathBuf::from(std::ffi::OsString::from_vec(b"pict\xff.png".to_vec()))];
        assert_eq!(chosen(&listed(&odd), &odd, true), odd);
        let Answer::Refused(why) = model_of(Purpose::Classifier, &odd[0]) else { panic!("refused") };
        assert!(why[0].contains("rename the file"), "{why:?}");
    }

    #[test]
    fn what_is_typed_names_one_file_before_it_names_several() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("one; two.png");
        std::fs::write(&odd, "").unwrap();
        assert_eq!(chosen(&format!(" {} ", odd.display()), &[], true), [odd]);
        assert_eq!(chosen("a.png;b.png ; ", &[], true), ["a.png", "b.png"].map(PathBuf::from));
        assert_eq!(chosen("a;b.lapidary", &[], false), ["a;b.lapidary"].map(PathBuf::from));
    }
}
