//! The window is opened: its size, and what it begins with.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ending::Ending;
use super::path_dialog::holds_session;
use super::{Workbench, canvas, theme};
use crate::session::host::Folders;
use crate::session::{Action, Host, Settings, Severity, Verb};

/// Size of the window's content at first, in points: with a title bar and the desktop's own it fits 1280 × 800.
const SIZE: [f32; 2] = [1232.0, 704.0];
/// The smallest size, in points, at which everything can be reached.
const MIN_SIZE: [f32; 2] = [960.0, 600.0];

/// What the files of the library that speaks with the window system have in their paths.
const WINDOWS: &str = "winit";

/// Opens the window with these settings and files, and stays until it is closed; the number of the signal that closed it, if
/// one did.
///
/// # Errors
/// When no window can be opened or the threads cannot be started.
pub fn run(settings: Settings, files: Vec<PathBuf>, folders: Folders) -> anyhow::Result<Option<u8>> {
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
) -> anyhow::Result<Option<u8>> {
    // First: threads inherit which signals they leave to another one.
    let ending = Ending::default();
    ending.listen();
    let viewport = egui::ViewportBuilder::default()
        .with_title("Lapidary")
        .with_app_id("lapidary")
        .with_inner_size(size)
        .with_min_inner_size(MIN_SIZE)
        .with_clamp_size_to_monitor_size(true)
        .with_drag_and_drop(true);
    let native = eframe::NativeOptions { viewport, ..Default::default() };
    let ending_of_app = ending.clone();
    let app = move |creation: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, Box<dyn std::error::Error + Send + Sync>> {
        theme::install(&creation.egui_ctx);
        if let Some(render_state) = &creation.wgpu_render_state {
            canvas::install(render_state);
        }
        ending_of_app.wakes(&creation.egui_ctx);
        let ctx = creation.egui_ctx.clone();
        let mut host = Host::start(settings, folders, Arc::new(move || ctx.request_repaint()))?;
        open_at_start(&mut host, files);
        let mut workbench = Workbench::new(host);
        workbench.ends_by(ending_of_app);
        workbench.adopt_theme(&creation.egui_ctx);
        Ok(wrap(workbench))
    };
    match until_gone(WINDOWS, || eframe::run_native("lapidary", native, Box::new(app))) {
        Some(result) => result.map_err(|error| anyhow::anyhow!("{error}"))?,
        None => {
            tracing::warn!(
                "the window system took the window away: what no file holds is in the autosave, and the next start offers it"
            );
        }
    }
    Ok(ending.signal())
}

/// Runs the window; `None` when the window system took it away, as it may at any moment. The code in files of `windows` panics
/// then, at the next thing that it asks of a window that is no more. The workbench is dropped all the same, and keeps its
/// autosave.
fn until_gone<T>(windows: &'static str, run: impl FnOnce() -> T) -> Option<T> {
    let is_gone = Arc::new(AtomicBool::new(false));
    let (gone, before) = (is_gone.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_some_and(|at| at.file().contains(windows)) {
            gone.store(true, Ordering::Relaxed);
        } else {
            before(panic);
        }
    }));
    match std::panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(_) if is_gone.load(Ordering::Relaxed) => None,
        Err(fault) => std::panic::resume_unwind(fault),
    }
}

/// Opens the files of the command line, or generates.
fn open_at_start(host: &mut Host, files: Vec<PathBuf>) {
    match files.iter().find(|path| holds_session(path)) {
        Some(session) => {
            if files.len() > 1 {
                let left = files.iter().filter(|path| *path != session).map(|path| path.display().to_string());
                let details = vec![format!("Not opened: {}", left.collect::<Vec<_>>().join(", "))];
                let what = format!(
                    "Only the session {} was opened: there is room for one, and for no pictures beside it",
                    session.display()
                );
                host.session.notices.add(Severity::Warning, what, details);
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
    fn a_window_that_is_gone_is_an_end_and_a_fault_of_ours_is_none() {
        assert_eq!(until_gone("nowhere", || 7), Some(7));
        assert_eq!(until_gone::<()>("start.rs", || panic!("there is no window any more")), None);
        let fault = std::panic::catch_unwind(|| until_gone::<()>("nowhere", || panic!("a fault, as it must be")));
        assert!(fault.is_err());
    }

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
