//! The worker's loop on the test's own thread: what happens is decided by the script alone, not by a scheduler.

use crossbeam::channel::Sender;
use lapidary::worker::{Command, Event, serve};

use crate::cache::cache;

/// Serves `commands`; the script sees every event as it is published, may send more commands, and ends it all by
/// returning false. Returns every event.
pub(crate) fn drive(commands: Vec<Command>, mut script: impl FnMut(&Event, &Sender<Command>) -> bool) -> Vec<Event> {
    let (sender, receiver) = crossbeam::channel::bounded(64);
    for command in commands {
        sender.send(command).expect("the receiver is alive");
    }
    let mut events = Vec::new();
    serve(&receiver, &cache(), &mut |event| {
        let go_on = script(&event, &sender);
        events.push(event);
        go_on
    });
    events
}
