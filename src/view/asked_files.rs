//! Files that are chosen, dropped or pasted: what they are is found out first.

use std::path::{Path, PathBuf};

use egui::Ui;

use super::Workbench;
use super::generate_panel::Wish;
use super::path_dialog::{Answer, Purpose, look, look_at_pasted};
use super::typed_path::copied;
use crate::session::training::TrainAction;
use crate::session::{Action, Cause, Detail, LiveChoice, Severity};

impl Workbench {
    /// A picture that is pasted is opened like one in a file.
    pub(super) fn pasted_picture(&mut self, ui: &Ui) {
        let is_picture = |event: &egui::Event| match event {
            egui::Event::PasteImage(picture) => Some(picture.clone()),
            _ => None,
        };
        let pasted = ui.input(|input| input.events.iter().find_map(is_picture));
        let (Some(picture), Some(purpose)) = (pasted, self.dialog.wants_pictures()) else { return };
        match tempfile::tempdir() {
            Ok(folder) => {
                self.dialog.close();
                self.looking = look_at_pasted(purpose, picture, folder.path().to_owned(), ui.ctx().clone());
                self.pasted = Some(folder);
            }
            Err(error) => {
                let what = "there is no place for the picture in the clipboard: the folder for temporary files cannot be written to";
                self.host.session.notices.failure_about(Cause::Opening, &[what.to_owned(), error.to_string()]);
            }
        }
    }

    /// Files that were copied in a file manager, or their paths, are opened like dropped ones.
    pub(super) fn pasted_files(&mut self, ui: &Ui) {
        let text = |event: &egui::Event| match event {
            egui::Event::Paste(text) => Some(text.clone()),
            _ => None,
        };
        let Some(text) = ui.input(|input| input.events.iter().find_map(text)) else { return };
        let paths = copied(&text);
        if paths.is_empty() {
            let details = vec!["The clipboard holds a text that names no file: copy a picture or a file, or click a field that takes text first.".to_owned()];
            self.nothing_pasted(details);
        } else {
            self.looking = look(None, paths, Detail::Full, ui.ctx().clone());
        }
    }

    /// Says so where Ctrl+V brought nothing: the window system gives no event then, only that the key is let go.
    pub(super) fn unread_paste(&mut self, ui: &Ui) {
        let is_release = |event: &egui::Event| match event {
            egui::Event::Key { key: egui::Key::V, pressed: false, modifiers, .. } => modifiers.command_only(),
            _ => false,
        };
        let is_paste = |event: &egui::Event| matches!(event, egui::Event::Paste(_) | egui::Event::PasteImage(_));
        let has = |is: &dyn Fn(&egui::Event) -> bool| ui.input(|input| input.events.iter().any(is));
        self.has_pasted |= has(&is_paste);
        if has(&is_release) && !std::mem::take(&mut self.has_pasted) {
            let details = vec!["The clipboard holds no picture and no text, or a picture so large that it did not come in time: save that as a file, and open it with File, Open images.".to_owned()];
            self.nothing_pasted(details);
        }
    }

    fn nothing_pasted(&mut self, details: Vec<String>) {
        let (what, notices) = ("Nothing could be pasted", &mut self.host.session.notices);
        notices.add_about(Cause::Opening, Severity::Warning, what, details);
    }

    /// Dropped files are a session or pictures, which is found out first.
    pub(super) fn dropped_files(&mut self, ui: &Ui, actions: &mut Vec<Action>) {
        let dropped: Vec<PathBuf> =
            ui.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect());
        if !dropped.is_empty() {
            self.looking = look(None, dropped, Detail::Full, ui.ctx().clone());
        }
        if let Some(answer) = self.looking.as_ref().and_then(|looking| looking.try_recv().ok()) {
            self.looking = None;
            self.take(ui.ctx(), answer, actions);
        }
    }

    pub(super) fn dialogs(&mut self, ui: &Ui, wish: Option<Wish>, actions: &mut Vec<Action>) {
        match wish {
            Some(Wish::GeneratorFile) => self.dialog.ask(Purpose::Generator, None),
            Some(Wish::GeneratorFolder) => self.dialog.ask(Purpose::GeneratorFolder, None),
            Some(Wish::ClassifierFile) => self.dialog.ask(Purpose::Classifier, None),
            Some(Wish::JudgeFile) => self.dialog.ask(Purpose::Judge, None),
            Some(Wish::RealFile) => self.ask_real(Purpose::Real),
            Some(Wish::RealFolder) => self.ask_real(Purpose::RealFolder),
            Some(Wish::TrainingFile) => self.dialog.ask(Purpose::Training, None),
            Some(Wish::TrainingFolder) => self.dialog.ask(Purpose::TrainingFolder, None),
            None => {}
        }
        if let Some(answer) = self.dialog.ui(ui) {
            self.take(ui.ctx(), answer, actions);
        }
    }

    fn ask_real(&mut self, purpose: Purpose) {
        self.dialog.ask_real(purpose, self.host.session.live_against());
    }

    /// Does what files were asked for.
    fn take(&mut self, ctx: &egui::Context, answer: Answer, actions: &mut Vec<Action>) {
        let (purpose, paths, detail) = match answer {
            Answer::Files(purpose, paths, detail) => (purpose, paths, detail),
            // Everything stays as it was.
            Answer::Refused(chain) => return self.host.session.notices.failure_about(Cause::Opening, &chain),
            Answer::Model(Purpose::Judge, judge) => {
                let choice = LiveChoice { judge, ..self.host.session.live_choice().clone() };
                return actions.push(Action::ChooseLive(Box::new(choice)));
            }
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
            (Purpose::OpenSession, Some(file)) => self.host.handle(Action::OpenSession(file)),
            (Purpose::SaveSession, Some(file)) => actions.push(Action::SaveSession(file, detail)),
            (Purpose::Export(_), Some(file)) => self.exports.save(ctx, &mut self.host.session.notices, &file),
            (Purpose::Training | Purpose::TrainingFolder, Some(path)) => {
                actions.push(Action::Train(TrainAction::Choose(path)));
            }
            (Purpose::Real | Purpose::RealFolder, Some(path)) => {
                let choice = LiveChoice { reference: Some(path), ..self.host.session.live_choice().clone() };
                actions.push(Action::ChooseLive(Box::new(choice)));
            }
            (Purpose::References, Some(_)) => actions.push(Action::OpenReferences(paths)),
            (Purpose::OpenPictures, Some(_)) => actions.push(Action::OpenPictures(paths)),
            _ => {}
        }
    }

    /// Where to save: the whole path, so that it can be seen where that is. A new session is offered a name of its own.
    pub(super) fn suggestion(&self) -> PathBuf {
        let file = self.host.session.file();
        let named = file.unwrap_or(Path::new("session.lapidary"));
        let path = std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        if file.is_some() { path } else { crate::file::free_path(&path) }
    }
}
