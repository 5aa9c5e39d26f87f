//! Commands that wait, and what they mean for the work that goes on.

use std::collections::VecDeque;

use crossbeam::channel::{Receiver, TryRecvError};

use super::message::Command;

/// Puts a command at the end of a queue. A dragged slider must not queue sixty steps: of updates of one run in a row only the
/// newest stays.
pub fn enqueue(waiting: &mut VecDeque<Command>, command: Command) {
    if let (Command::Update { run, .. }, Some(Command::Update { run: last, .. })) = (&command, waiting.back())
        && run == last
    {
        waiting.pop_back();
    }
    waiting.push_back(command);
}

/// Commands as they arrive.
pub(super) struct Inbox<'c> {
    commands: &'c Receiver<Command>,
    waiting: VecDeque<Command>,
    open: bool,
}

impl<'c> Inbox<'c> {
    pub(super) const fn new(commands: &'c Receiver<Command>) -> Self {
        Self { commands, waiting: VecDeque::new(), open: true }
    }

    /// Whether there are, or may be, more commands.
    pub(super) fn is_open(&self) -> bool {
        self.open || !self.waiting.is_empty()
    }

    /// Takes what has arrived.
    fn drain(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(command) => enqueue(&mut self.waiting, command),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.open = false;
                    return;
                }
            }
        }
    }

    /// The next command; waits for it when `wait`.
    pub(super) fn next(&mut self, wait: bool) -> Option<Command> {
        self.drain();
        if self.waiting.is_empty() && self.open && wait {
            match self.commands.recv() {
                Ok(command) => self.waiting.push_back(command),
                Err(_closed) => self.open = false,
            }
            self.drain();
        }
        self.waiting.pop_front()
    }

    /// Whether the current work should end early: a stop, or newer work, is waiting, or nobody could send any more.
    pub(super) fn interrupted(&mut self) -> bool {
        self.drain();
        !self.open
            || self.waiting.iter().any(|command| {
                matches!(
                    command,
                    Command::Stop
                        | Command::Generate { .. }
                        | Command::Edit { .. }
                        | Command::Refine { .. }
                        | Command::Measure { .. }
                        | Command::Compare { .. }
                        | Command::Panic
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refiner::RefineSettings;
    use crate::trace::RunId;

    #[test]
    fn of_updates_of_one_run_in_a_row_only_the_newest_stays() {
        let update =
            |run, eps| Command::Update { run: RunId(run), settings: RefineSettings { eps, ..Default::default() } };
        let mut waiting = VecDeque::new();
        for command in [update(1, 1.0), update(1, 2.0), update(2, 3.0), Command::Pause, update(2, 4.0), update(2, 5.0)]
        {
            enqueue(&mut waiting, command);
        }
        assert_eq!(Vec::from(waiting), [update(1, 2.0), update(2, 3.0), Command::Pause, update(2, 5.0)]);
    }

    #[test]
    fn whoever_waits_for_commands_hears_that_there_will_be_none() {
        let (sender, receiver) = crossbeam::channel::bounded(8);
        let mut inbox = Inbox::new(&receiver);
        sender.send(Command::Pause).unwrap();
        assert!(!inbox.interrupted() && inbox.is_open(), "a pause ends nothing");
        drop(sender);
        assert!(inbox.interrupted() && inbox.is_open(), "the pause still waits");
        assert_eq!(inbox.next(true), Some(Command::Pause));
        assert_eq!(inbox.next(true), None);
        assert!(!inbox.is_open());
    }
}
