//! The system asks the program to end: the window closes without a question, and keeps what it has.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::signals::{self, Wish};

/// Whether the system asks the program to end.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// The number of the signal; 0 before there was one.
    signal: AtomicU8,
    /// What draws the window, once there is one.
    window: OnceLock<egui::Context>,
}

impl Ending {
    /// Takes the signals that come from now on. The first one is for the window to see; what comes later, when it may hang or
    /// wait for a long step, ends the program at once.
    pub fn listen(&self) {
        let asked = self.clone();
        signals::listen(
            || false,
            move |wish, signal| match wish {
                Wish::Stop => asked.ask(signal),
                Wish::Same | Wish::Written => {}
                // As shells say it.
                Wish::End => std::process::exit(128 + i32::from(signal)),
            },
        );
    }

    /// A signal has come.
    pub fn ask(&self, signal: u8) {
        let Self(asked) = self;
        asked.signal.store(signal, Ordering::SeqCst);
        if let Some(window) = asked.window.get() {
            window.request_repaint();
        }
    }

    /// Has the window look as soon as a signal comes.
    pub fn wakes(&self, window: &egui::Context) {
        let _first = self.0.window.set(window.clone());
    }

    /// The number of the signal that has come.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        Some(self.0.signal.load(Ordering::SeqCst)).filter(|signal| *signal > 0)
    }
}
