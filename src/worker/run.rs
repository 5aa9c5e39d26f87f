//! The loop: take commands, do one step, publish, look for commands again. The window and the command line both drive it.

use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;

use super::compare::Compare;
use super::edit::Edit;
use super::error::WorkError;
use super::generate::Generate;
use super::inbox::Inbox;
use super::make::Make;
use super::measure::{Asked, Measure};
use super::message::{Command, Event, JobId, Rest, Steer};
use super::refine::{Refine, Start};
use super::task::{Context, Sink, Step, Task};
use super::train::Train;
use crate::classifier::{Classifier, Extractor};
use crate::error::error_chain;
use crate::trace::RunId;

/// Serves commands until the channel closes or the sink refuses.
///
/// `cache` receives unpacked models.
pub fn serve(commands: &Receiver<Command>, cache: &Path, sink: &mut Sink<'_>) {
    Engine::new(Context::new(Inbox::new(commands), cache.to_owned(), sink)).serve();
}

/// For one part of time of a training, what is asked for has so many before the training goes on.
const ASKED_FIRST: u32 = 4;

/// The work that goes on, or rests and may go on.
struct Active {
    job: JobId,
    task: Box<dyn Task>,
    /// Steps still to do; `None` has no end.
    left: Option<u32>,
    resting: bool,
}

/// Which work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// What was asked for last.
    Asked,
    /// The training beside it.
    Training,
}

pub(super) struct Engine<'a, 'c> {
    context: Context<'a, 'c>,
    asked: Option<Active>,
    training: Option<Active>,
    /// Time that what is asked for has before the training takes its next step.
    ahead: Duration,
}

impl<'a, 'c> Engine<'a, 'c> {
    const fn new(context: Context<'a, 'c>) -> Self {
        Self { context, asked: None, training: None, ahead: Duration::ZERO }
    }

    fn serve(&mut self) {
        while self.context.inbox.is_open() && self.context.listening {
            let next = self.next();
            if let Some(command) = self.context.inbox.next(next.is_none()) {
                self.handle(command);
            } else if let Some(slot) = next {
                self.step(slot);
            }
        }
        // Nobody listens any more; what a training has learnt since its last checkpoint is kept all the same.
        if let Some(mut training) = self.training.take() {
            training.task.stop(&mut self.context);
            while matches!(training.task.step(&mut self.context), Ok(Step::Prepared)) {}
        }
    }

    const fn slot(&mut self, slot: Slot) -> &mut Option<Active> {
        match slot {
            Slot::Asked => &mut self.asked,
            Slot::Training => &mut self.training,
        }
    }

    /// What goes on next: what is asked for, and a training when nothing is, or when it has waited for long enough.
    fn next(&self) -> Option<Slot> {
        let moves = |active: &Option<Active>| active.as_ref().is_some_and(|active| !active.resting);
        match (moves(&self.asked), moves(&self.training)) {
            (true, learns) if !learns || !self.ahead.is_zero() => Some(Slot::Asked),
            (_, true) => Some(Slot::Training),
            _ => None,
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
            Command::Measure { job, classifier, dialect, images, compute, chunk } => {
                let chunk = chunk.map(|chunk| chunk.get() as usize);
                let asked = Asked { model: classifier, dialect, images, compute, chunk };
                if asked.is_of_an_extractor() {
                    self.begin(job, Measure::<Extractor>::new(asked), None);
                } else {
                    self.begin(job, Measure::<Classifier>::new(asked), None);
                }
            }
            Command::Compare { job, lpips, pairs, compute, chunk } => {
                let chunk = chunk.map(|chunk| chunk.get() as usize);
                self.begin(job, Compare::new(lpips, pairs, compute, chunk), None);
            }
            Command::Train { job, settings, waits } => {
                // The old one's memory, and its hold on its folder, first.
                self.training = None;
                let task: Box<dyn Task> = Box::new(Train::new(settings, waits));
                self.training = Some(Active { job, task, left: None, resting: false });
            }
            Command::Update { run, settings } => {
                if let Some(active) = self.asked.as_mut().filter(|active| active.task.run() == Some(run)) {
                    self.context.job = active.job;
                    if let Err(error) = active.task.update(settings, &mut self.context) {
                        self.end(Slot::Asked, Err(error));
                    }
                }
            }
            Command::Continue { job, run, iterations } => {
                self.go_on(job, run, iterations.map(std::num::NonZeroU32::get));
            }
            Command::Pause => self.rest(Slot::Asked, Rest::Paused),
            Command::Stop => {
                if let Some(active) = &mut self.asked {
                    self.context.job = active.job;
                    let may_go_on = active.task.stop(&mut self.context);
                    self.rest(Slot::Asked, Rest::Stopped);
                    self.asked = self.asked.take().filter(|_| may_go_on);
                }
            }
            Command::Steer(Steer::Pause) => self.rest(Slot::Training, Rest::Paused),
            Command::Steer(steer) => {
                if let Some(active) = &mut self.training {
                    if steer == Steer::Stop {
                        active.task.stop(&mut self.context);
                    }
                    active.resting = false;
                }
            }
            Command::InUse(files) => self.context.in_use = files,
            Command::Panic => panic!("the compute thread was asked to panic"),
        }
    }

    /// Begins a task in place of whatever was asked for before.
    pub(super) fn begin(&mut self, job: JobId, task: impl Task + 'static, steps: Option<u32>) {
        // The old one's memory first.
        self.asked = None;
        let left = steps.map(|steps| steps.saturating_add(task.lead()));
        self.asked = Some(Active { job, task: Box::new(task), left, resting: false });
    }

    fn go_on(&mut self, job: JobId, run: Option<RunId>, steps: Option<u32>) {
        if let Some(active) = self.asked.as_mut().filter(|active| active.task.run() == run) {
            active.job = job;
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

    fn step(&mut self, slot: Slot) {
        let since = Instant::now();
        // Not by `slot`: the context is another part of the engine.
        let active = match slot {
            Slot::Asked => &mut self.asked,
            Slot::Training => &mut self.training,
        };
        let Some(Active { job, task, .. }) = active else { return };
        self.context.job = *job;
        let result = task.step(&mut self.context);
        self.ahead = match slot {
            Slot::Asked => self.ahead.saturating_sub(since.elapsed()),
            Slot::Training => since.elapsed() * ASKED_FIRST,
        };
        let Some(active) = self.slot(slot) else { return };
        match result {
            Ok(Step::Prepared) => {}
            Ok(step @ (Step::More | Step::Rest(_))) => {
                active.left = active.left.map(|left| left.saturating_sub(1));
                if active.left == Some(0) {
                    let why = active.task.end_of_plan();
                    self.rest(slot, why);
                } else if let Step::Rest(why) = step {
                    self.rest(slot, why);
                }
            }
            Ok(Step::Done) => self.end(slot, Ok(Rest::Finished)),
            Ok(Step::Stopped) => self.end(slot, Ok(Rest::Stopped)),
            Err(error) => self.end(slot, Err(error)),
        }
    }

    /// Rests until told to go on.
    fn rest(&mut self, slot: Slot, rest: Rest) {
        if let Some(active) = self.slot(slot).as_mut().filter(|active| !active.resting) {
            active.resting = true;
            let job = active.job;
            self.context.publish(Event::Resting { job, rest });
        }
    }

    /// The task is over.
    fn end(&mut self, slot: Slot, result: Result<Rest, WorkError>) {
        let Some(Active { job, .. }) = self.slot(slot).take() else { return };
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
        let mut engine = Engine::new(context);
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
    fn a_training_gives_way_to_what_is_asked_for_and_has_its_turn_all_the_same() {
        let (_sender, receiver) = crossbeam::channel::bounded(1);
        let mut sink = |_: Event| true;
        let mut engine = Engine::new(Context::new(Inbox::new(&receiver), std::path::PathBuf::new(), &mut sink));
        let task = || Box::new(Counting { pieces: 0, steps: 9 });
        assert_eq!(engine.next(), None);
        engine.training = Some(Active { job: JobId(2), task: task(), left: None, resting: false });
        engine.step(Slot::Training);
        assert_eq!(engine.next(), Some(Slot::Training), "nothing else is to be done");
        engine.begin(JobId(1), Counting { pieces: 0, steps: 9 }, None);
        engine.ahead = Duration::from_secs(3600);
        assert_eq!(engine.next(), Some(Slot::Asked));
        engine.step(Slot::Asked);
        assert!(engine.ahead < Duration::from_secs(3600), "its time runs");
        engine.ahead = Duration::ZERO;
        assert_eq!(engine.next(), Some(Slot::Training));
        engine.rest(Slot::Training, Rest::Paused);
        assert_eq!(engine.next(), Some(Slot::Asked), "a training that is held takes no turn");
        engine.rest(Slot::Asked, Rest::Paused);
        assert_eq!(engine.next(), None);
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
