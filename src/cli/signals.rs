//! Ctrl-C, and what else asks the program to end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::Sender;

use super::Outcome;
use super::say::say_err;
use crate::export;

/// Number of SIGINT.
const INTERRUPT: u8 = 2;

/// Sends the number of the first signal. The second one ends the program: what is finished stays in `folder`, what is being
/// written does not.
pub(super) fn listen(heard: Sender<u8>, folder: PathBuf) {
    let heard_one = AtomicBool::new(false);
    let on_signal = std::sync::Arc::new(move |signal: u8| {
        if heard_one.swap(true, Ordering::SeqCst) {
            export::abandon(&folder);
            say_err("ended at once: what was finished before stays, what was being computed is lost");
            std::process::exit(i32::from(Outcome::Interrupted(signal).exit_code()));
        }
        let _heard = heard.try_send(signal);
    });
    #[cfg(unix)]
    wait_for_signals(std::sync::Arc::clone(&on_signal));
    // Where threads were begun before, the system may give it to them.
    if let Err(error) = ctrlc::set_handler(move || on_signal(INTERRUPT)) {
        tracing::warn!(%error, "Ctrl-C will end the program without writing what is done");
    }
}

/// A thread takes the signals that the others block from now on, for it alone learns which they are.
#[cfg(unix)]
fn wait_for_signals(on_signal: std::sync::Arc<impl Fn(u8) + Send + Sync + 'static>) {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if !hangups_are_ignored() {
        signals.add(Signal::SIGHUP);
    }
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            on_signal(signal as i32 as u8);
        }
    };
    let begun = signals
        .thread_block()
        .map_err(std::io::Error::from)
        .and_then(|()| std::thread::Builder::new().name("lapidary-signals".to_owned()).spawn(wait));
    if let Err(error) = begun {
        tracing::warn!(%error, "signals will end the program without writing what is done");
    }
}

/// A file that grows beyond what the system lets a program write (`ulimit -f`) is to end in an error that is told, and not in a
/// signal that ends the program without a word. Threads inherit it from the first one.
pub fn outlive_limits() {
    #[cfg(unix)]
    {
        use nix::sys::signal::{SigSet, Signal};
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGXFSZ);
        if let Err(error) = signals.thread_block() {
            tracing::debug!(%error, "a file that is too long will end the program");
        }
    }
}

/// Whether the program was begun with `nohup`, so that it outlives its terminal.
#[cfg(unix)]
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
