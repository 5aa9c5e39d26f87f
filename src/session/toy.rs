//! A session without threads, for tests: the compute thread's part is told by hand.

use std::sync::Arc;

use super::{Action, Session, Settings, Verb};
use crate::origins::Origins;
use crate::refiner::{Numbers, SampleState, State};
use crate::trace::RunId;
use crate::worker::{Command, Event, JobId, Rest};

/// A session about these pictures, and its first run, of which nothing has come yet.
pub(crate) fn about(origins: Origins) -> (Session, (JobId, RunId)) {
    let mut session = Session::new(Settings::default());
    session.handle(Action::Do(Verb::Generate));
    let Some(Command::Generate { job, .. }) = session.take_commands().pop() else { panic!("asked for") };
    session.apply(Event::Generated { job, origins: Arc::new(origins), secs: 0.0 });
    let Some(Command::Refine { job, run, .. }) = session.take_commands().pop() else { panic!("judged") };
    (session, (job, run))
}

/// A state of a run of one picture comes, and the work rests. The picture is the origin's, and takes half a second.
pub(crate) fn come(session: &mut Session, (job, run): (JobId, RunId), iteration: u32, logits: &[f32]) {
    let images = session.origins().expect("it is about pictures").images.clone();
    let list = vec![0.0];
    let numbers = Numbers {
        logits: logits.to_vec(),
        objective: list.clone(),
        gradient_l2: list.clone(),
        step_l2: list.clone(),
        delta_l2: list.clone(),
        delta_linf: list.clone(),
        clipped: list,
        state: vec![SampleState::Active],
    };
    session.apply(Event::State { job, run, state: Arc::new(State { iteration, images, numbers }), secs: 0.5 });
    session.apply(Event::Resting { job, rest: Rest::Finished });
}

/// The piece of work and the run that were begun last.
pub(crate) fn begun(session: &mut Session) -> (JobId, RunId) {
    let begun = session.take_commands().into_iter().rev().find_map(|command| match command {
        Command::Refine { job, run, .. } => Some((job, run)),
        _ => None,
    });
    begun.expect("a run is begun")
}
