//! The loop: take commands, do one step, publish, look for commands again. The window and the command line both drive it.

use std::path::Path;

use crossbeam::channel::Receiver;

use super::edit::Edit;
use super::error::WorkError;
use super::generate::Generate;
use super::inbox::Inbox;
use super::make::Make;
use super::message::{Command, Event, JobId, Rest};
use super::refine::{Refine, Start};
use super::task::{Context, Sink, Step, Task};
use crate::error::error_chain;
use crate::trace::RunId;

/// Serves commands until the channel closes or the sink refuses.
///
/// `cache` receives unpacked models.
pub fn serve(commands: &Receiver<Command>, cache: &Path, sink: &mut Sink<'_>) {
    Engine { context: Context::new(Inbox::new(commands), cache.to_owned(), sink), active: None }.serve();
}

/// The work that goes on, or rests and may go on.
struct Active {
    task: Box<dyn Task>,
    /// Steps still to do; `None` has no end.
    left: Option<u32>,
    resting: bool,
}

pub(super) struct Engine<'a, 'c> {
    context: Context<'a, 'c>,
    active: Option<Active>,
}

impl Engine<'_, '_> {
    fn serve(&mut self) {
        while self.context.inbox.is_open() && self.context.listening {
            let moves = self.active.as_ref().is_some_and(|active| !active.resting);
            if let Some(command) = self.context.inbox.next(!moves) {
                self.handle(command);
            } else if moves {
                self.step();
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Generate { job, settings, compute } => {
                self.begin(job, Make::new(Generate::new(settings), compute), None);
            }
            Command::Edit { job, settings, edit, reference, mask, compute, previews } => {
                let make = Make::new(Edit::new(settings, edit, reference, mask), compute);
                self.begin(job, make.previewing(previews), None);
            }
            Command::Refine { job, run, origins, from, references, settings, iterations, compute, chunk, tag } => {
                tracing::debug!(run = run.0, label = tag.label, group = ?tag.group, "a run begins");
                let chunk = chunk.map(|chunk| chunk.get() as usize);
                let start = Start { run, origins, from, references, settings, compute, chunk };
                self.begin(job, Refine::new(start), iterations);
            }
            Command::Update { run, settings } => {
                if let Some(active) = self.active.as_mut().filter(|active| active.task.run() == Some(run))
                    && let Err(error) = active.task.update(settings, &mut self.context)
                {
                    self.end(Err(error));
                }
            }
            Command::Continue { job, run, iterations } => {
                self.go_on(job, run, iterations.map(std::num::NonZeroU32::get));
            }
            Command::Pause => self.rest(Rest::Paused),
            Command::Stop => {
                if let Some(active) = &mut self.active {
                    let may_go_on = active.task.stop(&mut self.context);
                    self.rest(Rest::Stopped);
                    self.active = self.active.take().filter(|_| may_go_on);
                }
            }
            Command::Panic => panic!("the compute thread was asked to panic"),
        }
    }

    /// Begins a task in place of whatever there was.
    pub(super) fn begin(&mut self, job: JobId, task: impl Task + 'static, steps: Option<u32>) {
        self.context.job = job;
        // The old one's memory first.
        self.active = None;
        let left = steps.map(|steps| steps.saturating_add(task.lead()));
        self.active = Some(Active { task: Box::new(task), left, resting: false });
    }

    fn go_on(&mut self, job: JobId, run: Option<RunId>, steps: Option<u32>) {
        self.context.job = job;
        if let Some(active) = self.active.as_mut().filter(|active| active.task.run() == run) {
            active.left = steps.map(|steps| steps.saturating_add(active.task.lead()));
            active.resting = false;
        } else {
            let chain = vec![
                "there is nothing to go on with".to_owned(),
                "the compute thread has given it up: run again, and it begins with the newest pictures".to_owned(),
            ];
            self.context.publish(Event::Failed { job, chain });
        }
    }

    fn step(&mut self) {
        let Some(active) = &mut self.active else { return };
        match active.task.step(&mut self.context) {
            Ok(Step::Prepared) => {}
            Ok(step @ (Step::More | Step::Rest(_))) => {
                active.left = active.left.map(|left| left.saturating_sub(1));
                if active.left == Some(0) {
                    let why = active.task.end_of_plan();
                    self.rest(why);
                } else if let Step::Rest(why) = step {
                    self.rest(why);
                }
            }
            Ok(Step::Done) => self.end(Ok(Rest::Finished)),
            Err(error) => self.end(Err(error)),
        }
    }

    /// Rests until told to go on.
    fn rest(&mut self, rest: Rest) {
        if let Some(active) = self.active.as_mut().filter(|active| !active.resting) {
            active.resting = true;
            self.context.publish(Event::Resting { job: self.context.job, rest });
        }
    }

    /// The task is over.
    fn end(&mut self, result: Result<Rest, WorkError>) {
        self.active = None;
        let job = self.context.job;
        self.context.publish(match result {
            Ok(rest) => Event::Resting { job, rest },
            Err(error) if error.is_interruption() => Event::Resting { job, rest: Rest::Stopped },
            Err(error) => Event::Failed { job, chain: error_chain(&error) },
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// Warms up in two pieces, then takes so many steps.
    struct Counting {
        pieces: u32,
        steps: u32,
    }

    impl Task for Counting {
        fn step(&mut self, context: &mut Context<'_, '_>) -> Result<Step, WorkError> {
            if self.pieces > 0 {
                self.pieces -= 1;
                context.publish(Event::Preparing { job: context.job, what: String::new(), step: self.pieces, of: 2 });
                return Ok(Step::Prepared);
            }
            self.steps -= 1;
            context.publish(Event::Generating { job: context.job, done: self.steps, of: 0, secs: 0.0 });
            Ok(if self.steps == 0 { Step::Done } else { Step::More })
        }

        fn stop(&mut self, context: &mut Context<'_, '_>) -> bool {
            context.publish(Event::Warning("handed over".to_owned()));
            false
        }
    }

    /// What a script of commands, sent when so many events were published, makes of a task.
    fn drive(task: Counting, script: &[(usize, Command)]) -> Vec<Event> {
        let (sender, receiver) = crossbeam::channel::bounded(8);
        let (mut events, mut script) = (Vec::new(), script.iter());
        let mut next = script.next();
        let mut sink = |event: Event| {
            let ends = matches!(event, Event::Resting { .. } | Event::Failed { .. });
            events.push(event);
            if let Some((_, command)) = next.filter(|(at, _)| *at == events.len()) {
                sender.send(command.clone()).expect("somebody takes it");
                next = script.next();
                return true;
            }
            next.is_some() || !ends
        };
        let context = Context::new(Inbox::new(&receiver), std::path::PathBuf::new(), &mut sink);
        let mut engine = Engine { context, active: None };
        engine.begin(JobId(1), task, None);
        engine.serve();
        drop(engine);
        events
    }

    fn warm(job: u64, step: u32) -> Event {
        Event::Preparing { job: JobId(job), what: String::new(), step, of: 2 }
    }

    fn step(job: u64, done: u32) -> Event {
        Event::Generating { job: JobId(job), done, of: 0, secs: 0.0 }
    }

    fn rests(job: u64, rest: Rest) -> Event {
        Event::Resting { job: JobId(job), rest }
    }

    fn go_on(job: u64, iterations: u32) -> Command {
        Command::Continue { job: JobId(job), run: None, iterations: NonZeroU32::new(iterations) }
    }

    #[test]
    fn any_task_can_be_paused_taken_step_by_step_and_finished_under_another_name() {
        let script = [(3, Command::Pause), (4, go_on(2, 1)), (6, go_on(3, 0))];
        let events = drive(Counting { pieces: 1, steps: 5 }, &script);
        let expected = [
            warm(1, 0),
            step(1, 4),
            step(1, 3),
            rests(1, Rest::Paused),
            step(2, 2),
            rests(2, Rest::Paused),
            step(3, 1),
            step(3, 0),
            rests(3, Rest::Finished),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn a_stop_ends_any_task_within_one_step_also_while_it_warms_up_or_is_held() {
        let handed_over = || Event::Warning("handed over".to_owned());
        let events = drive(Counting { pieces: 0, steps: 5 }, &[(2, Command::Stop)]);
        assert_eq!(events, [step(1, 4), step(1, 3), handed_over(), rests(1, Rest::Stopped)]);
        let events = drive(Counting { pieces: 2, steps: 5 }, &[(1, Command::Stop)]);
        assert_eq!(events, [warm(1, 1), handed_over(), rests(1, Rest::Stopped)]);
        // What is held rests already, and says no second time that it does; going on with it is answered all the same.
        let script = [(1, Command::Pause), (2, Command::Stop), (3, go_on(2, 0))];
        let events = drive(Counting { pieces: 0, steps: 5 }, &script);
        assert_eq!(events[..3], [step(1, 4), rests(1, Rest::Paused), handed_over()]);
        assert!(matches!(&events[3..], [Event::Failed { job: JobId(2), .. }]), "{events:?}");
    }
}
