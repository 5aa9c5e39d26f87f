//! What a command does when it is asked to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::Sender;

use super::Outcome;
use super::say::say_err;
use crate::export;
use crate::signals::{self, Wish};

/// Sends the number of the first signal. A later one ends the program, unless it `writes` results: then the one behind it does.
/// What is finished stays in `folder`, what is being written does not; a command without one leaves those of others alone.
pub(super) fn listen(heard: Sender<u8>, folder: Option<PathBuf>, writes: Arc<AtomicBool>) {
    let listener = move |wish, signal| match wish {
        Wish::Stop => {
            let _heard = heard.try_send(signal);
        }
        Wish::Same => {}
        Wish::Written => say_err("the results are being written, then it ends; Ctrl-C again ends at once"),
        Wish::End => {
            if let Some(folder) = &folder {
                export::abandon(folder);
            }
            say_err("ended at once: what was finished before stays, what was being computed is lost");
            std::process::exit(i32::from(Outcome::Interrupted(signal).exit_code()));
        }
    };
    signals::listen(move || writes.load(Ordering::SeqCst), listener);
}
