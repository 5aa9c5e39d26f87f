//! The window is opened: its size, and what it begins with.

use std::path::PathBuf;
use std::sync::Arc;

use super::path_dialog::holds_session;
use super::{Workbench, canvas, theme};
use crate::session::host::Folders;
use crate::session::{Action, Host, Settings, Severity, Verb};

/// Size of the window's content at first, in points: with a title bar and the desktop's own it fits 1280 × 800.
const SIZE: [f32; 2] = [1232.0, 704.0];
/// The smallest size, in points, at which everything can be reached.
const MIN_SIZE: [f32; 2] = [960.0, 600.0];

/// Opens the window with these settings and files, and stays until it is closed.
///
/// # Errors
/// When no window can be opened or the threads cannot be started.
pub fn run(settings: Settings, files: Vec<PathBuf>, folders: Folders) -> anyhow::Result<()> {
    run_in(SIZE, settings, files, folders, |workbench| Box::new(workbench))
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
        .with_min_inner_size(MIN_SIZE)
        .with_clamp_size_to_monitor_size(true)
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
        let workbench = Workbench::new(host);
        workbench.adopt_theme(&creation.egui_ctx);
        Ok(wrap(workbench))
    };
    eframe::run_native("lapidary", native, Box::new(app)).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Opens the files of the command line, or generates.
fn open_at_start(host: &mut Host, files: Vec<PathBuf>) {
    match files.iter().find(|path| holds_session(path)) {
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
