//! What the user is told of what has happened to pictures, runs and models, and when that is past.

use super::notice::sentence;
use super::{Cause, Provenance, Session, Severity, changes};
use crate::origins::Origins;
use crate::refiner::SampleState;
use crate::units::counted;
use crate::worker::ModelInfo;

impl Session {
    pub(super) fn tell(&mut self, what: &str) {
        self.notices.add(Severity::Info, what, Vec::new());
    }

    pub(super) fn tell_failures(&mut self, failures: &[Vec<String>]) {
        for chain in failures {
            self.notices.failure_about(Cause::Opening, chain);
        }
    }

    /// Says how many pictures were made, where that was stopped before all were.
    pub(super) fn tell_fewer(&mut self, origins: &Origins) {
        let (made, asked) = (origins.labels.len(), origins.made_by.as_ref().map(|made_by| made_by.samples as usize));
        // Of edited pictures there are as many as were edited.
        if let Some(asked) = asked.filter(|asked| *asked > made && origins.edited.is_none()) {
            let title = format!("Stopped: {made} of {} were made", counted(asked, "picture"));
            self.notices.add(Severity::Info, title, Vec::new());
        }
    }

    /// Says why no picture moves any more.
    pub(super) fn tell_rest(&mut self) {
        let last =
            self.work.run().and_then(|run| self.trace().run(run)).and_then(|run| run.numbers(run.last_iteration()?));
        let stopped = last.is_some_and(|numbers| numbers.state.iter().all(|state| *state == SampleState::Stopped));
        let (severity, what, why) = if stopped {
            let why = "Early stop: the classifier believes in each more than in its reference.";
            (Severity::Info, "Every picture is as real as its reference", why)
        } else {
            let why = "The gradient vanished or is not a number in every picture, or early stop holds it. Choose another objective; the target logit never saturates.";
            (Severity::Warning, "No picture moves any more", why)
        };
        self.notices.add_about(Cause::Rest, severity, what, vec![why.to_owned()]);
    }

    /// Says which samples stopped at the newest state, and why; what was said of those before is past.
    pub(super) fn tell_moving(&mut self, states: &[SampleState]) {
        if states.contains(&SampleState::Active) {
            self.notices.settle(&[Cause::Rest]);
        }
        let stopped = frozen(states);
        let said = self.notices.list().iter().filter(|notice| notice.cause == Cause::Stopped);
        if said.map(|notice| (&notice.title, &notice.details)).eq(stopped.iter().map(|(title, why)| (title, why))) {
            return;
        }
        self.notices.settle(&[Cause::Stopped]);
        for (title, details) in stopped {
            self.notices.add_about(Cause::Stopped, Severity::Warning, title, details);
        }
    }

    /// The classifier whose numbers are shown, where it is not the one that is chosen.
    #[must_use]
    pub fn whose_numbers(&self) -> Option<&str> {
        let judge = &self.trace().settings(self.shown_id()?)?.classifier;
        Some(judge.as_str()).filter(|judge| *judge != self.settings().refine.classifier)
    }

    /// Another run is shown, or begins: what was said of the one before is past.
    pub(super) fn tell_other_run(&mut self) {
        self.notices.settle(&[Cause::Run, Cause::Rest, Cause::Stopped]);
    }

    /// Warns when a model that is loaded here is not the one that the opened session was made with.
    pub(super) fn compare_model(&mut self, info: &ModelInfo, of: impl FnOnce(&Provenance) -> Option<&ModelInfo>) {
        let then = self.made_with.as_ref().and_then(of);
        self.tell_differences(changes::model(then, (&info.reference, &info.title, &info.sha256)));
    }

    /// Warns of what is not as it was when the opened session was made.
    pub(super) fn tell_differences(&mut self, differences: impl IntoIterator<Item = String>) {
        for text in differences {
            let (title, details) = ("The session's results come out differently here", vec![sentence(&text)]);
            self.notices.add_about(Cause::Made, Severity::Warning, title, details);
        }
    }
}

/// What is said of the samples that stopped, a title and its details for each reason.
fn frozen(states: &[SampleState]) -> Vec<(String, Vec<String>)> {
    let reasons = [
        (
            SampleState::ZeroGradient,
            "gradient vanished",
            "They stay where they are. Another objective, such as the target logit, moves them again.",
        ),
        (
            SampleState::NotFinite,
            "objective is not a number",
            "They stay at their last finite iterate. Use a smaller step, or check the classifier.",
        ),
    ];
    let told = |(wanted, what, hint): (SampleState, &str, &str)| {
        let found = states.iter().enumerate().filter(|(_, state)| **state == wanted);
        let found: Vec<String> = found.map(|(sample, _)| sample.to_string()).collect();
        let title = match found.len() {
            0 => return None,
            1 => format!("1 sample stopped: its {what}"),
            n => format!("{n} samples stopped: their {what}"),
        };
        Some((title, vec![format!("Samples {}", found.join(", ")), hint.to_owned()]))
    };
    reasons.into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::generator::GenerateSettings;
    use crate::image::ImageBatch;
    use crate::refiner::{Numbers, State};
    use crate::session::disk::{Detail, DiskEvent, DiskJob};
    use crate::session::{Action, Activity, Orphan, Verb, toy};
    use crate::trace::StateId;
    use crate::worker::{Command, Event, JobId, Rest};

    /// A session about one picture, with its first state.
    fn judged() -> (Session, (JobId, crate::trace::RunId)) {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        toy::come(&mut session, of, 0, &[0.0; 12]);
        (session, of)
    }

    fn titles(session: &Session) -> Vec<&str> {
        session.notices.list().iter().map(|notice| notice.title.as_str()).collect()
    }

    fn choose(session: &mut Session, classifier: &str) {
        let mut settings = session.settings().clone();
        settings.refine.classifier = classifier.to_owned();
        session.handle(Action::Edit(Box::new(settings)));
    }

    #[test]
    fn another_classifier_judges_the_start_anew_and_whose_numbers_are_shown_follows_from_what_is_shown() {
        const OTHER: &str = "gtsrb12-robust";
        let (mut session, (_, first)) = judged();
        let own = session.settings().refine.classifier.clone();
        assert_eq!(session.whose_numbers(), None);
        choose(&mut session, OTHER);
        assert_eq!(session.whose_numbers(), Some(own.as_str()));
        session.handle(Action::Do(Verb::Undo));
        assert_eq!(session.whose_numbers(), None);
        session.handle(Action::Do(Verb::Redo));
        assert_eq!(session.whose_numbers(), Some(own.as_str()));

        assert!(session.what_run_does().contains("begin a run from the pictures"), "{}", session.what_run_does());
        session.take_commands();
        session.handle(Action::Do(Verb::RunOrPause));
        let begun = session.take_commands().into_iter().find_map(|command| match command {
            Command::Refine { job, run, from, settings, .. } => Some(((job, run), from, settings.classifier)),
            _ => None,
        });
        let (of, from, classifier) = begun.expect("a run");
        assert_eq!(
            (from, classifier.as_str(), of.1 == first),
            (None, OTHER, false),
            "nothing of the other's is gone on with"
        );
        toy::come(&mut session, of, 0, &[1.0; 12]);
        assert_eq!(session.whose_numbers(), None, "now the numbers are its own");
        assert_eq!(session.shown_id(), Some(StateId { run: of.1, iteration: 0 }));

        session.handle(Action::ShowRun(first));
        assert_eq!(session.whose_numbers(), Some(own.as_str()), "those of the run that is shown are the other's");
        choose(&mut session, &own);
        assert_eq!(session.whose_numbers(), None);
        session.handle(Action::ShowRun(of.1));
        assert_eq!(session.whose_numbers(), Some(OTHER));
        assert!(titles(&session).is_empty(), "it is no message: {:?}", titles(&session));
    }

    #[test]
    fn within_a_run_that_another_classifier_went_on_with_it_is_the_iteration_that_says_whose_numbers_are_shown() {
        const OTHER: &str = "gtsrb12-robust";
        let (mut session, first) = judged();
        let own = session.settings().refine.classifier.clone();
        toy::come(&mut session, first, 1, &[0.0; 12]);
        choose(&mut session, OTHER);
        session.take_commands();
        session.handle(Action::Do(Verb::Branch));
        let second = toy::begun(&mut session);
        toy::come(&mut session, second, 1, &[1.0; 12]);
        assert_eq!((session.shown(), session.whose_numbers()), (1, None));
        session.handle(Action::Do(Verb::FirstIteration));
        assert_eq!((session.shown_run(), session.whose_numbers()), (Some(second.1), Some(own.as_str())));
    }

    /// A state of a run of one picture comes, which moves or does not.
    fn rest(session: &mut Session, (job, run): (JobId, crate::trace::RunId), iteration: u32, state: SampleState) {
        let list = vec![0.0];
        let numbers = Numbers { logits: vec![0.0; 12], objective: list, state: vec![state], ..Default::default() };
        let images = session.origins().expect("pictures").images.clone();
        session.apply(Event::State { job, run, state: Arc::new(State { iteration, images, numbers }), secs: 0.1 });
    }

    #[test]
    fn that_nothing_moves_is_said_until_something_does() {
        let (mut session, of) = judged();
        rest(&mut session, of, 1, SampleState::ZeroGradient);
        session.apply(Event::Resting { job: of.0, rest: Rest::NothingMoves });
        assert_eq!(titles(&session), ["1 sample stopped: its gradient vanished", "No picture moves any more"]);
        rest(&mut session, of, 2, SampleState::NotFinite);
        assert_eq!(titles(&session), ["No picture moves any more", "1 sample stopped: its objective is not a number"]);
        rest(&mut session, of, 3, SampleState::NotFinite);
        assert_eq!(session.notices.list()[1].count, 1, "it is not said at every state");
        rest(&mut session, of, 4, SampleState::Active);
        assert!(titles(&session).is_empty(), "{:?}", titles(&session));
        rest(&mut session, of, 5, SampleState::NotFinite);
        session.apply(Event::Resting { job: of.0, rest: Rest::NothingMoves });
        assert_eq!(titles(&session).len(), 2);
        session.handle(Action::Do(Verb::Reset));
        assert!(titles(&session).is_empty(), "it is another run: {:?}", titles(&session));
    }

    #[test]
    fn what_failed_is_said_until_it_does_not_fail_any_more() {
        let (mut session, of) = judged();
        toy::come(&mut session, of, 1, &[0.0; 12]);
        let chain = |what: &str| vec![what.to_owned(), "for a reason".to_owned()];

        let good = session.settings().clone();
        let mut bad = good.clone();
        bad.refine.eps = f64::NAN;
        session.handle(Action::Edit(Box::new(bad)));
        assert_eq!(titles(&session), ["A setting was not changed"]);
        let mut other = good;
        other.refine.eps *= 2.0;
        session.handle(Action::Edit(Box::new(other)));
        assert!(titles(&session).is_empty());

        session.apply(Event::Failed { job: of.0, chain: chain("it cannot be computed") });
        assert_eq!(titles(&session), ["It cannot be computed"]);
        session.take_commands();
        session.handle(Action::Do(Verb::Reset));
        assert_eq!(titles(&session), ["It cannot be computed"], "nothing has come yet");
        let begun = toy::begun(&mut session);
        toy::come(&mut session, begun, 0, &[0.0; 12]);
        assert!(titles(&session).is_empty());

        session.apply_disk(DiskEvent::Unwritten(chain("the autosave cannot be written")));
        session.apply_disk(DiskEvent::Failed(chain("the autosave may not survive a power cut")));
        let id = StateId { run: begun.1, iteration: 0 };
        session.apply_disk(DiskEvent::Stored { epoch: session.epoch(), id, offset: 20 });
        assert_eq!(titles(&session), ["The autosave may not survive a power cut"], "that is not mended by it");
        let id = session.notices.list()[0].id;
        session.handle(Action::Dismiss(id));

        let save = |session: &mut Session| {
            session.take_jobs();
            session.handle(Action::SaveSession("not there/a.lapidary".into(), Detail::Full));
            let saving = session.take_jobs().into_iter().find_map(|job| match job {
                DiskJob::Save(saving) => Some((saving.ticket, saving.path, saving.revision)),
                _ => None,
            });
            saving.expect("it is asked for")
        };
        let (ticket, ..) = save(&mut session);
        session.apply_disk(DiskEvent::Refused { ticket, chain: chain("the session file cannot be written") });
        assert_eq!(titles(&session), ["The session file cannot be written"]);
        let (ticket, path, revision) = save(&mut session);
        let (epoch, detail) = (session.epoch(), Detail::Full);
        session.apply_disk(DiskEvent::Saved { ticket, path, bytes: 9, epoch, revision, detail });
        assert!(titles(&session).iter().all(|title| title.starts_with("Saved ")), "{:?}", titles(&session));

        session.crashed("of a fault".to_owned());
        assert!(titles(&session).iter().any(|title| title.starts_with("The compute thread crashed")));
        session.restarted();
        assert!(!titles(&session).iter().any(|title| title.contains("crashed")), "{:?}", titles(&session));
    }

    fn opened(session: &mut Session, labels: Vec<usize>) {
        let images = Some(ImageBatch::new([labels.len(), 1, 1, 1], vec![0.5; labels.len()]));
        let names = vec!["signs.npz".to_owned(); labels.len()];
        let (epoch, fits, failures) = (session.epoch(), Vec::new(), Vec::new());
        let labels = Some(labels);
        session.apply_disk(DiskEvent::Images { epoch, images, names, labels, fits, failures, references: false });
    }

    #[test]
    fn labels_that_are_no_classes_are_left_aside_and_the_picture_is_named_until_others_are_there() {
        let mut session = Session::default();
        opened(&mut session, vec![3, 12, 99]);
        assert_eq!(titles(&session), ["The labels are left aside"]);
        let why = session.notices.list()[0].details.concat();
        assert!(why.starts_with("Picture 1 is of class 12, but the classifier knows 12 classes (0 to 11)"), "{why}");
        assert!(session.awaits_verdict() && session.count() == 3, "the classifier's verdict decides");
        assert_eq!(session.origins().expect("pictures").labels, [0; 3]);
        opened(&mut session, vec![3, 11]);
        assert!(titles(&session).is_empty() && !session.awaits_verdict());
        assert_eq!(session.origins().expect("pictures").labels, [3, 11]);
    }

    #[test]
    fn what_another_window_has_recovered_is_said_and_offered_no_more() {
        let mut session = Session::default();
        let orphan = |folder: &str| Orphan {
            folder: folder.into(),
            states: 3,
            file: None,
            is_painted: false,
            runs: 1,
            pictures: 2,
            what: String::new(),
            age_secs: 9,
        };
        session.apply_disk(DiskEvent::Orphans(vec![orphan("a"), orphan("b")]));
        session.take_jobs();
        session.handle(Action::Recover("a".into()));
        let jobs = session.take_jobs();
        let [DiskJob::Open { ticket, recovers: true, .. }] = jobs[..] else { panic!("{jobs:?}") };
        session.apply_disk(DiskEvent::Taken("a".into()));
        let chain = vec!["another window has recovered this already".to_owned()];
        session.apply_disk(DiskEvent::Refused { ticket, chain });
        assert_eq!(titles(&session), ["Another window has recovered this already"]);
        assert_eq!((session.orphans(), session.activity()), (&[orphan("b")][..], Activity::Idle));
    }

    #[test]
    fn how_many_pictures_were_made_is_told_when_that_was_stopped() {
        let told = |samples| {
            let images = ImageBatch::new([2, 1, 1, 1], vec![0.5; 2]);
            let made_by = Some(GenerateSettings { samples, ..Default::default() });
            let (session, _) = toy::about(Origins { made_by, ..Origins::opened(images, vec![0; 2], Vec::new()) });
            let titles = session.notices.list().iter().map(|notice| notice.title.clone());
            titles.filter(|title| title.starts_with("Stopped")).collect::<Vec<_>>()
        };
        assert_eq!(told(200), ["Stopped: 2 of 200 pictures were made"]);
        assert!(told(2).is_empty());
    }

    #[test]
    fn a_model_is_compared_with_the_one_that_lay_at_its_place() {
        let info = |reference: &str, title: &str, sha256: &str| ModelInfo {
            reference: reference.to_owned(),
            title: title.to_owned(),
            sha256: sha256.to_owned(),
            classes: Vec::new(),
            sample_shape: [3, 2, 2],
            report: crate::checkpoint::LoadReport::default(),
        };
        let warnings = |now: ModelInfo| {
            let classifier = Some(info("/a.pt", "one", "1"));
            let made_with = Some(Provenance { classifier, ..Provenance::new() });
            let mut session = Session { made_with, ..Session::default() };
            let job = session.work.job();
            session.apply(Event::Generator { job, info: info("/a.pt", "a generator", "3") });
            session.apply(Event::Classifier { job, info: now });
            session.notices.list().iter().map(|notice| notice.details.concat()).collect::<Vec<_>>()
        };
        assert!(warnings(info("/a.pt", "one", "1")).is_empty());
        assert!(warnings(info("/b.pt", "one", "2")).is_empty(), "another of its kind was chosen");
        let text = warnings(info("/a.pt", "two", "2")).concat();
        assert!(text.starts_with("Another model, two instead of one, is used here"), "{text}");
    }
}
