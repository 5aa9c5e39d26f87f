//! What a command does when it is asked to end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::Outcome;
use super::say::say_err;
use crate::export;
use crate::signals::{self, Wish};

/// What the program was asked for, whoever computed then: of a command with several pieces of work one may end just when a
/// signal comes.
static ASKED: LazyLock<Asked> = LazyLock::new(Asked::new);

/// That the program was asked to end.
struct Asked {
    sender: Sender<u8>,
    receiver: Receiver<u8>,
    /// The number of the first signal; 0 before there was one.
    signal: AtomicU8,
}

impl Asked {
    fn new() -> Self {
        let (sender, receiver) = bounded(1);
        Self { sender, receiver, signal: AtomicU8::new(0) }
    }

    /// Notes a signal; what computes now goes on, for it writes what it has.
    fn note(&self, signal: u8) {
        let _first = self.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Notes a signal, and tells what computes now.
    fn tell(&self, signal: u8) {
        self.note(signal);
        let _one_waits = self.sender.try_send(signal);
    }

    fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal > 0)
    }

    /// What a piece of work that begins hears: also what came before it, which no other one has acted on.
    fn heard(&self) -> Receiver<u8> {
        if let Some(signal) = self.signal() {
            self.tell(signal);
        }
        self.receiver.clone()
    }
}

/// The number of the first signal, as soon as it has come. A later one ends the program, unless it `writes` results: then the one
/// behind it does. What is finished stays in `folder`, what is being written does not; a command without one leaves those of
/// others alone.
pub(super) fn listen(folder: Option<PathBuf>, writes: Arc<AtomicBool>) -> Receiver<u8> {
    let listener = move |wish, signal| match wish {
        Wish::Stop => ASKED.tell(signal),
        Wish::Same => {}
        Wish::Written => {
            ASKED.note(signal);
            say_err("the results are being written, then it ends; Ctrl-C again ends at once");
        }
        Wish::End => {
            if let Some(folder) = &folder {
                export::abandon(folder);
            }
            say_err("ended at once: what was finished before stays, what was being computed is lost");
            std::process::exit(i32::from(Outcome::Interrupted(signal).exit_code()));
        }
    };
    signals::listen(move || writes.load(Ordering::SeqCst), listener);
    ASKED.heard()
}

/// The number of the signal that has asked for an end, for a command that goes on with another piece of work.
pub(super) fn asked() -> Option<u8> {
    ASKED.signal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_comes_between_two_pieces_of_work_is_heard_by_the_next() {
        const TERM: u8 = 15;
        let asked = Asked::new();
        drop(asked.heard());
        assert_eq!((asked.heard().try_recv().ok(), asked.signal()), (None, None));
        // Nobody computes now.
        asked.tell(TERM);
        asked.tell(2);
        let next = asked.heard();
        assert_eq!((next.try_recv().ok(), next.try_recv().ok()), (Some(TERM), None), "once, and the first");
        // It had done all when it heard of it, so that it goes on with the one behind it.
        assert_eq!((asked.heard().try_recv().ok(), asked.signal()), (Some(TERM), Some(TERM)));
        // While results are written nothing is ended.
        let writes = Asked::new();
        let now = writes.heard();
        writes.note(TERM);
        assert!(now.try_recv().is_err());
        assert_eq!(writes.heard().try_recv(), Ok(TERM));
    }
}
