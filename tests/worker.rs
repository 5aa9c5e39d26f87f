//! What the compute thread promises: nothing is lost, nothing hangs, it stops at once, and a crash is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapidary::image::ImageBatch;
use lapidary::origins::Origins;
use lapidary::refiner::{RefineSettings, State};
use lapidary::trace::{RunId, Tag};
use lapidary::worker::{Command, ComputeSettings, DeviceChoice, Event, JobId, Rest, SendError, Wake, Worker};

use self::cache::cache;
use self::drive::drive;
use self::wait::wait;

#[path = "support/cache.rs"]
mod cache;
#[path = "support/drive.rs"]
mod drive;
#[path = "worker/labels.rs"]
mod labels;
#[path = "worker/live.rs"]
mod live;
#[path = "support/models.rs"]
mod models;
#[path = "worker/tasks.rs"]
mod tasks;
#[path = "support/tiny.rs"]
mod tiny;
#[path = "worker/training.rs"]
mod training;
#[path = "support/wait.rs"]
mod wait;

const JOB: JobId = JobId(7);
const RUN: RunId = RunId(3);
/// Events that the thread's queue holds; when so many were published and none taken, the thread waits.
const QUEUE: usize = 32;

/// Two pictures of soft stripes: any picture will do here.
fn origins() -> Arc<Origins> {
    let value = |i: usize| 0.5 + 0.3 * (i as f32 * 0.05).sin();
    let images = ImageBatch::new([2, 3, 32, 32], (0..2 * 3 * 32 * 32).map(value).collect());
    Arc::new(Origins::opened(images, vec![2, 5], Vec::new()))
}

fn refine(iterations: Option<u32>) -> Command {
    Command::Refine {
        job: JOB,
        run: RUN,
        origins: origins(),
        from: None,
        references: None,
        settings: RefineSettings::default(),
        iterations,
        compute: ComputeSettings { device: DeviceChoice::Cpu, ..Default::default() },
        chunk: None,
        tag: Tag::default(),
    }
}

/// A thread that nobody needs to wake.
fn worker() -> Worker {
    Worker::spawn(cache(), Arc::new(|| {})).expect("a thread")
}

/// A thread and the number of its events so far.
fn counted() -> (Worker, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let wake: Wake = Arc::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    (Worker::spawn(cache(), wake).expect("a thread"), count)
}

fn next(worker: &Worker) -> Event {
    let event = wait("the next event", || worker.try_event());
    assert!(!matches!(event, Event::Failed { .. }), "{event:?}");
    event
}

/// All events up to the first that is wanted, that one included.
fn events_until(worker: &Worker, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = next(worker);
        let last = wanted(&event);
        events.push(event);
        if last {
            return events;
        }
    }
}

fn is_state(event: &Event) -> bool {
    matches!(event, Event::State { .. })
}

fn rests(event: &Event) -> bool {
    matches!(event, Event::Resting { .. })
}

fn state(event: &Event) -> Option<&State> {
    let Event::State { job, run, state, .. } = event else { return None };
    assert_eq!((*job, *run), (JOB, RUN), "states name their job and run");
    Some(state.as_ref())
}

fn states(events: &[Event]) -> Vec<&State> {
    events.iter().filter_map(state).collect()
}

fn iterations(events: &[Event]) -> Vec<u32> {
    states(events).iter().map(|state| state.iteration).collect()
}

fn resting(rest: Rest) -> Event {
    Event::Resting { job: JOB, rest }
}

#[test]
fn a_stop_comes_before_the_next_iteration() {
    let events = drive(vec![refine(None)], |event, commands| {
        if matches!(event, Event::State { state, .. } if state.iteration == 1) {
            commands.send(Command::Stop).unwrap();
        }
        !rests(event)
    });
    assert_eq!(iterations(&events), [0, 1], "no iteration begins after the command is there");
    assert_eq!(events.last(), Some(&resting(Rest::Stopped)));
}

#[test]
fn a_stop_from_another_thread_ends_an_endless_run_within_one_iteration() {
    let worker = worker();
    worker.send(refine(None)).unwrap();
    events_until(&worker, is_state);
    events_until(&worker, is_state);
    // What was published before the command does not count.
    while worker.try_event().is_some() {}
    worker.send(Command::Stop).unwrap();
    let after = events_until(&worker, rests);
    // One was being computed; one more may have been published between the two lines above.
    assert!(states(&after).len() <= 2, "it went on: {:?}", iterations(&after));
    assert_eq!(after.last(), Some(&resting(Rest::Stopped)));
}

#[test]
fn every_planned_state_arrives_and_then_the_rest() {
    let worker = worker();
    worker.send(refine(Some(4))).unwrap();
    let events = events_until(&worker, rests);
    assert_eq!(iterations(&events), [0, 1, 2, 3, 4]);
    assert_eq!(events.last(), Some(&resting(Rest::Finished)));
    assert!(is_state(&events[events.len() - 2]), "the last state comes before the rest");
}

#[test]
fn of_many_updates_that_wait_only_the_last_counts() {
    let (worker, published) = counted();
    worker.send(refine(None)).unwrap();
    // The queue is full, so the thread is held and cannot take commands one by one.
    wait("a full queue", || (published.load(Ordering::SeqCst) >= QUEUE).then_some(()));
    let radius = |n: i32| 1.0 + 0.01 * f64::from(n);
    for n in 1..=30 {
        let settings = RefineSettings { eps: radius(n), ..Default::default() };
        worker.send(Command::Update { run: RUN, settings }).unwrap();
    }
    let newest = |settings: &RefineSettings| (settings.eps - radius(30)).abs() < 1e-9;
    let events = events_until(&worker, |event| matches!(event, Event::Updated { settings, .. } if newest(settings)));
    let updates = events.iter().filter(|event| matches!(event, Event::Updated { .. })).count();
    // One; or two when the thread looked up just while they were being sent.
    assert!(updates <= 2, "{updates} updates took effect");
    worker.send(Command::Stop).unwrap();
    let rest = events_until(&worker, rests);
    assert!(!rest.iter().any(|event| matches!(event, Event::Updated { .. })), "none comes after the last");
}

#[test]
fn an_update_counts_from_the_next_iteration_on() {
    let events = drive(vec![refine(Some(4))], |event, commands| {
        if matches!(event, Event::State { state, .. } if state.iteration == 2) {
            let settings = RefineSettings { eps: 0.1, ..Default::default() };
            commands.send(Command::Update { run: RUN, settings }).unwrap();
        }
        !rests(event)
    });
    assert_eq!(iterations(&events), [0, 1, 2, 3, 4], "the plan goes on");
    let changed = events.iter().find_map(|event| match event {
        Event::Updated { iteration, .. } => Some(*iteration),
        _ => None,
    });
    assert_eq!(changed, Some(2));
    let radius = |state: &&State| state.numbers.delta_l2[0];
    let distances: Vec<f32> = states(&events).iter().map(radius).collect();
    assert!(distances[2] > 0.3 && distances[3] <= 0.1 + 1e-6, "{distances:?}");
}

#[test]
fn a_crash_is_told_once_and_a_new_thread_works() {
    let mut worker = worker();
    worker.send(Command::Panic).unwrap();
    let text = wait("the crash", || worker.take_crash());
    assert_eq!(text, "the compute thread was asked to panic");
    assert_eq!(worker.take_crash(), None, "it is told once");
    assert_eq!(worker.send(Command::Stop), Err(SendError::Ended));
    drop(worker);

    let worker = self::worker();
    worker.send(refine(Some(1))).unwrap();
    assert_eq!(iterations(&events_until(&worker, rests)), [0, 1]);
}

#[test]
fn what_was_computed_before_a_crash_still_arrives() {
    let (mut worker, published) = counted();
    worker.send(refine(Some(2))).unwrap();
    // Device, model, estimate, three states, rest: they all fit the queue.
    wait("the whole run", || (published.load(Ordering::SeqCst) >= 7).then_some(()));
    worker.send(Command::Panic).unwrap();
    wait("the end", || (published.load(Ordering::SeqCst) >= 8).then_some(()));
    assert_eq!(iterations(&events_until(&worker, rests)), [0, 1, 2]);
    assert!(wait("the crash", || worker.take_crash()).contains("asked to panic"));
}

#[test]
fn dropping_a_thread_that_waits_on_a_full_queue_does_not_hang() {
    let (worker, published) = counted();
    worker.send(refine(None)).unwrap();
    wait("a full queue", || (published.load(Ordering::SeqCst) >= QUEUE).then_some(()));
    let (done, dropped) = crossbeam::channel::bounded(1);
    let dropper = std::thread::Builder::new().spawn(move || {
        drop(worker);
        done.send(()).expect("somebody waits");
    });
    dropped.recv_timeout(Duration::from_secs(60)).expect("dropping ends after the current iteration");
    dropper.unwrap().join().unwrap();
}

#[test]
fn whoever_is_woken_finds_an_event() {
    let (sender, wakes) = crossbeam::channel::bounded(1024);
    let worker = Worker::spawn(cache(), Arc::new(move || assert!(sender.try_send(()).is_ok()))).unwrap();
    worker.send(refine(Some(3))).unwrap();
    let mut taken = 0;
    loop {
        wakes.recv_timeout(Duration::from_secs(120)).expect("a wake for every event");
        // One event per wake: if waking came before publishing, there would be none to take.
        let event = worker.try_event().expect("an event behind every wake");
        taken += 1;
        if rests(&event) {
            break;
        }
    }
    assert!(taken >= 5, "four states and the rest: {taken}");
    drop(worker);
    assert!(wakes.try_recv().is_ok(), "the end of the thread wakes too");
}

#[test]
fn a_paused_run_holds_and_goes_on_with_the_number_that_continue_gives() {
    let worker = worker();
    worker.send(refine(Some(1000))).unwrap();
    let mut before = events_until(&worker, is_state);
    before.extend(events_until(&worker, is_state));
    worker.send(Command::Pause).unwrap();
    before.extend(events_until(&worker, rests));
    assert_eq!(before.last(), Some(&resting(Rest::Paused)));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(worker.try_event(), None, "nothing goes on while it is paused");

    worker.send(Command::Continue { job: JOB, run: Some(RUN), iterations: std::num::NonZeroU32::new(2) }).unwrap();
    let after = events_until(&worker, rests);
    assert_eq!(after.last(), Some(&resting(Rest::Finished)));
    let last = *iterations(&before).last().unwrap();
    assert_eq!(iterations(&after), [last + 1, last + 2]);
}

#[test]
fn newer_work_replaces_older_work() {
    let events = drive(vec![refine(None)], |event, commands| {
        if matches!(event, Event::State { state, .. } if state.iteration == 1) {
            commands.send(refine(Some(0))).unwrap();
        }
        !rests(event)
    });
    assert_eq!(iterations(&events), [0, 1, 0], "the endless run is over");
    assert_eq!(events.last(), Some(&resting(Rest::Finished)));
}

#[test]
fn looking_late_changes_no_bit_of_the_results() {
    let run = |late: bool| {
        let (worker, published) = counted();
        worker.send(refine(Some(5))).unwrap();
        if late {
            // Device, two about the model, six states, rest: they all fit the queue.
            wait("the whole run", || (published.load(Ordering::SeqCst) >= 10).then_some(()));
            std::thread::sleep(Duration::from_millis(200));
        }
        let events = events_until(&worker, rests);
        let bits = |state: &&State| state.images.pixels().iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        states(&events).iter().map(bits).collect::<Vec<_>>()
    };
    let (early, late) = (run(false), run(true));
    assert_eq!(early.len(), 6);
    assert!(early == late, "the iterates differ");
}
