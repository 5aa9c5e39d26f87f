//! The numbers beside a run in the window: what an independent judge sees, and how far the pictures are from real ones.
//!
//! They have a thread of their own, on the CPU, so that neither the window nor the compute thread waits for them. While something
//! else computes it takes at most a twentieth of the time ([`pace`]); of what is wished only the newest is done, and nothing
//! that happens here, be it a panic, reaches the work beside it.

mod eye;
mod kept;
pub mod message;
mod numbers;
pub mod pace;
mod reference;
mod turn;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError};

use self::eye::LiveError;
pub use self::message::{Against, Distance, Numbers, Subject, Told, Wish};
use self::numbers::Memory;
pub use self::reference::fault_of;
use self::turn::{At, Desk};
use super::{STACK, Wake, WakeOnDrop, panic_text};
use crate::error::error_chain;

/// Tidings that may wait; they are small.
const TIDINGS: usize = 64;

/// A handle to the thread; dropping it ends the thread after its current piece, without waiting for that.
#[derive(Debug)]
pub struct Live {
    wishes: Sender<Wish>,
    /// The thread's end of it, to take back a wish that nobody needs any more.
    waiting: Receiver<Wish>,
    told: Receiver<Told>,
    others_compute: Arc<AtomicBool>,
}

impl Live {
    /// Starts the thread. `cache` receives unpacked models; `wake` is called after everything that is told.
    ///
    /// # Errors
    /// When the system refuses a new thread.
    pub fn spawn(cache: PathBuf, wake: Wake) -> std::io::Result<Self> {
        let (wishes, waiting) = crossbeam::channel::bounded(1);
        let (teller, told) = crossbeam::channel::bounded(TIDINGS);
        let others_compute = Arc::new(AtomicBool::new(false));
        let taken = waiting.clone();
        let others = others_compute.clone();
        let body = move || {
            let _wake_at_end = WakeOnDrop(wake.clone());
            serve(&mut Desk::new(taken, teller, (wake, others)), &cache);
        };
        std::thread::Builder::new().name("lapidary-live".to_owned()).stack_size(STACK).spawn(body)?;
        Ok(Self { wishes, waiting, told, others_compute })
    }

    /// Asks for numbers, in place of what waits; never waits.
    pub fn ask(&self, mut wish: Wish) {
        while let Err(TrySendError::Full(newer)) = self.wishes.try_send(wish) {
            // The thread may have taken it meanwhile.
            drop(self.waiting.try_recv());
            wish = newer;
        }
    }

    /// Says whether something else computes, which must not be slowed down.
    pub fn beside(&self, others_compute: bool) {
        self.others_compute.store(others_compute, Ordering::Relaxed);
    }

    /// What was told next, if anything was; never waits.
    #[must_use]
    pub fn try_told(&self) -> Option<Told> {
        self.told.try_recv().ok()
    }
}

/// Does what is wished until nobody wishes any more.
fn serve(desk: &mut Desk, cache: &std::path::Path) {
    let mut memory = Memory::new(cache.to_owned());
    while let Some(wish) = desk.next() {
        let mut turn = At { desk: &mut *desk, of: &wish.of };
        let found = catch_unwind(AssertUnwindSafe(|| memory.numbers(&wish, &mut turn)));
        desk.count();
        let (state, found) = match found {
            Ok(Err(LiveError::Stopped)) => continue,
            Ok(Ok((state, numbers))) => (state, Ok(numbers)),
            Ok(Err(error)) => (wish.state, Err(error_chain(&error))),
            Err(panic) => {
                // What it held may be half done.
                memory = Memory::new(cache.to_owned());
                let what = "the live numbers crashed; everything else goes on".to_owned();
                (wish.state, Err(vec![what, panic_text(&*panic)]))
            }
        };
        desk.tell(Told::Numbers { of: wish.of, state, found });
    }
}
