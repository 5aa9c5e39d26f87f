//! Ctrl-C, and what else asks the program to end: heard by a thread of its own, which tells whoever listens.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Number of SIGINT.
const INTERRUPT: u8 = 2;

/// What comes so soon behind another signal is the same wish: `timeout` sends its own to the program and to all of its group.
const SAME: Duration = Duration::from_millis(1500);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An end as soon as what is done is written.
    Stop,
    /// What was asked for just now.
    Same,
    /// An end while results are written, which is waited for.
    Written,
    /// An end at once.
    End,
}

/// When the last signal was heard that asked for something new.
#[derive(Debug, Default)]
struct Heard(Option<Instant>, bool);

impl Heard {
    fn take(&mut self, now: Instant, writes: bool) -> Wish {
        let Self(last, told) = self;
        let wish = match last {
            Some(last) if now.duration_since(*last) < SAME => return Wish::Same,
            // What is computed is never thrown away without a word.
            _ if writes && !*told => Wish::Written,
            Some(_) => Wish::End,
            None => Wish::Stop,
        };
        *told |= wish == Wish::Written;
        *last = Some(now);
        wish
    }
}

/// Told the number of a signal.
type Listener = Arc<dyn Fn(u8) + Send + Sync>;

/// What was heard since the program began, whoever listened then.
static HEARD: Mutex<Heard> = Mutex::new(Heard(None, false));
/// Who listens now.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);
/// The thread that hears is begun once.
static HEARS: Once = Once::new();

/// Tells SIGINT, SIGTERM and SIGHUP from now on to this listener, and no more to the one before: what each asks for, and its
/// number. `writes` says whether results are being written. To be called before other threads begin: they inherit which
/// signals they leave to the thread that hears them.
pub fn listen(writes: impl Fn() -> bool + Send + Sync + 'static, listener: impl Fn(Wish, u8) + Send + Sync + 'static) {
    let take = move |signal| {
        let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        listener(heard.take(Instant::now(), writes()), signal);
    };
    *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(take));
    HEARS.call_once(|| {
        #[cfg(unix)]
        wait_for_signals();
        // Where threads were begun before, the system may give it to them.
        if let Err(error) = ctrlc::set_handler(|| tell(INTERRUPT)) {
            tracing::warn!(%error, "Ctrl-C will end the program without writing what is done");
        }
    });
}

fn tell(signal: u8) {
    let listener = LISTENER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(listener) = listener {
        listener(signal);
    }
}

/// A thread takes the signals that the others block from now on, for it alone learns which they are.
#[cfg(unix)]
fn wait_for_signals() {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if !hangups_are_ignored() {
        signals.add(Signal::SIGHUP);
    }
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            tell(signal as i32 as u8);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signals_at_once_are_one_wish_and_what_is_computed_is_written() {
        let begun = Instant::now();
        let wishes = |heard: &[(u64, bool)]| {
            let mut known = Heard::default();
            let at = |millis| begun + Duration::from_millis(millis);
            heard.iter().map(|(millis, writes)| known.take(at(*millis), *writes)).collect::<Vec<_>>()
        };
        let computes = [(0, false), (1, false), (100, false), (1600, false)];
        assert_eq!(wishes(&computes), [Wish::Stop, Wish::Same, Wish::Same, Wish::End]);
        let writes = [(0, false), (100, true), (1600, true), (1700, true), (3200, true)];
        assert_eq!(wishes(&writes), [Wish::Stop, Wish::Same, Wish::Written, Wish::Same, Wish::End]);
        assert_eq!(wishes(&[(0, true), (9, true), (2000, true)]), [Wish::Written, Wish::Same, Wish::End]);
    }
}
