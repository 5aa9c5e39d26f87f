//! The system's own file dialog, on a thread of its own: the window goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, TryRecvError};

/// A dialog that says no sooner than this was never shown: nobody answers so fast.
const SHOWN: Duration = Duration::from_millis(400);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file that is there.
    File,
    /// Files that are there.
    Files,
    /// A folder that is there.
    Folder,
    /// A file to write, with a suggestion.
    Save(&'static str),
}

/// Files that the dialog shows at first, by their endings without the dot; it offers all others too.
pub type Filter = (&'static str, &'static [&'static str]);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Browsed {
    /// It was not answered yet.
    Waiting,
    /// These were chosen; none when it was cancelled.
    Chosen(Vec<PathBuf>),
    /// There is no dialog to be had.
    Impossible,
}

/// A dialog that is shown.
#[derive(Debug)]
pub struct Browser(Receiver<Browsed>);

impl Browser {
    /// Shows the dialog; `None` when the system refuses a thread.
    #[must_use]
    pub fn open(kind: Kind, filter: Option<Filter>, ctx: egui::Context) -> Option<Self> {
        let (sender, receiver) = crossbeam::channel::bounded(1);
        let spawned = std::thread::Builder::new().name("lapidary-dialog".to_owned()).spawn(move || {
            let start = Instant::now();
            let browsed = outcome(ask(kind, filter), start.elapsed());
            if sender.try_send(browsed).is_err() {
                tracing::debug!("the question was closed before a file was chosen");
            }
            ctx.request_repaint();
        });
        if let Err(error) = &spawned {
            tracing::error!(%error, "the system's dialog could not be opened");
        }
        spawned.is_ok().then_some(Self(receiver))
    }

    /// What came of it so far.
    #[must_use]
    pub fn look(&self) -> Browsed {
        self.0.try_recv().unwrap_or_else(|error| match error {
            TryRecvError::Empty => Browsed::Waiting,
            TryRecvError::Disconnected => Browsed::Impossible,
        })
    }
}

/// The library says the same of a dialog that was cancelled and of one that could not be shown, so time tells them apart.
fn outcome(chosen: Option<Vec<PathBuf>>, took: Duration) -> Browsed {
    match chosen.filter(|paths| !paths.is_empty()) {
        Some(paths) => Browsed::Chosen(paths),
        None if took < SHOWN => Browsed::Impossible,
        None => Browsed::Chosen(Vec::new()),
    }
}

fn ask(kind: Kind, filter: Option<Filter>) -> Option<Vec<PathBuf>> {
    let mut dialog = rfd::AsyncFileDialog::new();
    // There, filters are no choice of the user's but a wall.
    if let Some((name, endings)) = filter.filter(|_| !cfg!(target_os = "macos")) {
        dialog = dialog.add_filter(name, endings).add_filter("All files", &["*"]);
    }
    let one = |file: rfd::FileHandle| vec![file.path().to_owned()];
    match kind {
        Kind::File => pollster::block_on(dialog.pick_file()).map(one),
        Kind::Files => pollster::block_on(dialog.pick_files())
            .map(|files| files.iter().map(|file| file.path().to_owned()).collect()),
        Kind::Folder => pollster::block_on(dialog.pick_folder()).map(one),
        Kind::Save(name) => pollster::block_on(dialog.set_file_name(name).save_file()).map(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_that_could_not_be_shown_is_told_from_one_that_was_cancelled() {
        assert_eq!(outcome(None, Duration::from_millis(20)), Browsed::Impossible);
        assert_eq!(outcome(Some(Vec::new()), Duration::from_millis(20)), Browsed::Impossible);
        assert_eq!(outcome(None, Duration::from_secs(2)), Browsed::Chosen(Vec::new()));
        let paths = vec![PathBuf::from("a.png")];
        assert_eq!(outcome(Some(paths.clone()), Duration::from_millis(20)), Browsed::Chosen(paths));
    }
}
