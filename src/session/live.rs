//! The numbers beside a run: which judge and which real pictures the user chose, what is asked for, and what came of it.
//!
//! They are no part of the session that is saved: another judge changes no result.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Session;
use crate::data::MAX_PICTURES;
use crate::image::ImageBatch;
use crate::refiner::State;
use crate::trace::StateId;
use crate::worker::live::{Against, Numbers, Subject, Told, Wish};

/// The bundled classifier that no other bundled model was trained beside.
pub const JUDGE: &str = "gtsrb12-judge";

/// What the user chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveChoice {
    /// Whether the numbers are looked at; nothing is computed while they are not.
    pub is_on: bool,
    /// A bundled classifier's name, or the path of one.
    pub judge: String,
    /// Real pictures, or what `lapidary evaluate` saw of them.
    pub reference: Option<PathBuf>,
}

impl Default for LiveChoice {
    fn default() -> Self {
        Self { is_on: false, judge: JUDGE.to_owned(), reference: None }
    }
}

/// What was asked for last: which state of what, whether as every sample's best, and the targets.
type Asked = (Subject, StateId, bool, Vec<usize>);

/// What was found, of which state.
type Found = (Subject, StateId, Result<Numbers, Vec<String>>);

/// Choice, wish and answer.
#[derive(Debug, Default)]
pub struct Live {
    choice: LiveChoice,
    /// How often judge or real pictures were chosen, also the same again.
    choosing: u64,
    asked: Option<Asked>,
    found: Option<Found>,
    /// Real pictures that were looked at, of so many.
    looking: Option<(usize, usize)>,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LiveShown<'a> {
    /// There is nothing to be judged yet.
    Nothing,
    /// The first numbers are on their way; so many real pictures of so many were looked at.
    Awaited(Option<(usize, usize)>),
    /// There are none, from what happened to why.
    Refused(&'a [String]),
    /// The newest, and of which state; without a distance while so many real pictures of so many were looked at.
    Found(&'a Numbers, StateId, Option<(usize, usize)>),
}

impl Session {
    /// What the user chose.
    #[must_use]
    pub const fn live_choice(&self) -> &LiveChoice {
        &self.live.choice
    }

    /// Takes a choice; what was found for the old one is void, also where the same is chosen again: its files may be others.
    pub fn choose_live(&mut self, choice: LiveChoice) {
        if choice.is_on == self.live.choice.is_on {
            self.live.choosing += 1;
            self.live.looking = None;
        }
        if !choice.is_on {
            // What it was does not count when it is opened again: files may be others then.
            (self.live.asked, self.live.looking) = (None, None);
        }
        self.live.choice = choice;
    }

    /// What numbers belong to now.
    fn live_subject(&self) -> Subject {
        let LiveChoice { judge, reference, .. } = &self.live.choice;
        let choosing = self.live.choosing;
        Subject { epoch: self.epoch(), judge: judge.clone(), reference: reference.clone(), choosing }
    }

    /// What real pictures are to fit that are chosen now: the judge as far as it has judged already.
    #[must_use]
    pub fn live_against(&self) -> Option<Against> {
        let [_, shape @ ..] = self.origins()?.images.shape();
        let found = self.live.found.as_ref().filter(|(of, ..)| of.judge == self.live.choice.judge);
        let numbers = found.and_then(|(.., found)| found.as_ref().ok());
        Some(Against { judge: numbers.map(|numbers| (numbers.sha256.clone(), numbers.width)), shape })
    }

    /// What is to be asked for now that these pictures are shown; nothing while that is what was asked for last, or nobody looks.
    pub fn wish_live(&mut self, shown: Option<(StateId, &Arc<State>)>) -> Option<Wish> {
        let (state, after) = shown.filter(|_| self.live.choice.is_on)?;
        let before = &self.origins()?.images;
        if before.shape() != after.images.shape() || before.is_empty() {
            return None;
        }
        let targets: Vec<usize> = (0..self.count().min(MAX_PICTURES)).map(|sample| self.target(sample)).collect();
        let asked = (self.live_subject(), state, self.shows_best(), targets);
        if self.live.asked.as_ref() == Some(&asked) {
            return None;
        }
        let few = asked.3.len();
        let some = |images: &ImageBatch| {
            if images.len() == few { images.clone() } else { images.slice(0, few) }
        };
        let wish = Wish {
            of: asked.0.clone(),
            state,
            pictures: [some(before), some(&after.images)],
            targets: asked.3.clone(),
            classes: self.class_names().to_vec(),
            memory_mib: self.settings().compute.memory_mib,
        };
        self.live.asked = Some(asked);
        Some(wish)
    }

    /// Takes in what the thread of the numbers tells; what is not about what is shown now is stale.
    pub fn take_live(&mut self, told: Told) {
        match told {
            Told::Looking { of, done, all } if of == self.live_subject() => {
                self.live.looking = (done < all).then_some((done, all));
            }
            Told::Numbers { of, state, found } if of == self.live_subject() => {
                // Those that wait for their distance say nothing of how far the look at real pictures is.
                let awaits = of.reference.is_some() && found.as_ref().is_ok_and(|found| found.distance.is_none());
                self.live.looking = self.live.looking.filter(|_| awaits);
                self.live.found = Some((of, state, found));
            }
            Told::Looking { .. } | Told::Numbers { .. } => {}
        }
    }

    /// What is shown.
    #[must_use]
    pub fn live_shown(&self) -> LiveShown<'_> {
        let Live { asked, found, looking, .. } = &self.live;
        match found.as_ref().filter(|(of, ..)| *of == self.live_subject()) {
            Some((_, state, Ok(numbers))) => LiveShown::Found(numbers, *state, *looking),
            Some((.., Err(chain))) => LiveShown::Refused(chain),
            None if asked.as_ref().is_some_and(|(of, ..)| *of == self.live_subject()) => LiveShown::Awaited(*looking),
            None => LiveShown::Nothing,
        }
    }

    /// Whether the judge is the very classifier that refines, by the hash of its weights.
    #[must_use]
    pub fn judge_refines(&self, judge: &Numbers) -> bool {
        self.provenance().classifier.as_ref().is_some_and(|refines| refines.sha256 == judge.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::LoadReport;
    use crate::metrics::{Judged, Shift};
    use crate::origins::Origins;
    use crate::session::toy;
    use crate::session::{Action, Lookup, Verb};
    use crate::trace::RunId;
    use crate::worker::{Event, JobId, ModelInfo};

    fn numbers(sha256: &str) -> Numbers {
        let shift = Shift::of(&[0.5], &[0.75]);
        Numbers {
            judge: "a judge".to_owned(),
            sha256: sha256.to_owned(),
            width: 2,
            pictures: 1,
            judged: Ok(Judged { agreement: shift, confidence: shift }),
            distance: None,
        }
    }

    fn origins() -> Origins {
        Origins::opened(ImageBatch::new([1, 1, 1, 1], vec![0.5]), vec![2], Vec::new())
    }

    /// A session whose numbers are looked at, with two states.
    fn looked_at() -> (Session, (JobId, RunId)) {
        let (mut session, of) = toy::about(origins());
        toy::come(&mut session, of, 0, &[0.0, 1.0, 2.0]);
        toy::come(&mut session, of, 1, &[0.0, 1.0, 3.0]);
        session.choose_live(LiveChoice { is_on: true, ..LiveChoice::default() });
        (session, of)
    }

    /// What a frame does.
    fn frame(session: &mut Session) -> Option<Wish> {
        let id = session.shown_id();
        let shown = match session.shown_state() {
            Some(Lookup::Ready(state)) => id.map(|id| (id, state)),
            _ => None,
        };
        session.wish_live(shown.as_ref().map(|(id, state)| (*id, state)))
    }

    fn answer(wish: Wish) -> Told {
        Told::Numbers { of: wish.of, state: wish.state, found: Ok(numbers("aa")) }
    }

    #[test]
    fn every_state_is_asked_for_once_and_only_while_somebody_looks() {
        let (mut session, of) = looked_at();
        let wish = frame(&mut session).expect("the newest state is shown");
        assert_eq!((wish.state.iteration, wish.targets, wish.of.judge.as_str()), (1, vec![2], JUDGE));
        assert!(frame(&mut session).is_none(), "it was asked for");
        assert_eq!(session.live_shown(), LiveShown::Awaited(None));
        session.handle(Action::Show(0));
        assert_eq!(frame(&mut session).map(|wish| wish.state.iteration), Some(0), "another one is shown");
        toy::come(&mut session, of, 2, &[0.0, 1.0, 4.0]);
        assert!(frame(&mut session).is_none(), "who scrubs does not follow the run");
        session.handle(Action::Do(Verb::LastIteration));
        assert_eq!(frame(&mut session).map(|wish| wish.state.iteration), Some(2));
        session.choose_live(LiveChoice::default());
        session.handle(Action::Show(1));
        assert!(frame(&mut session).is_none(), "nobody looks");
    }

    #[test]
    fn an_answer_about_other_pictures_or_by_another_judge_is_stale() {
        let (mut session, _) = looked_at();
        let old = frame(&mut session).unwrap();
        let other = LiveChoice { judge: "other.pt".to_owned(), ..session.live_choice().clone() };
        session.choose_live(other);
        session.take_live(answer(old.clone()));
        assert_eq!(session.live_shown(), LiveShown::Nothing);
        let new = frame(&mut session).expect("the same state, for another judge");
        session.take_live(answer(old.clone()));
        assert_eq!(session.live_shown(), LiveShown::Awaited(None));
        session.take_live(answer(new.clone()));
        assert!(matches!(session.live_shown(), LiveShown::Found(_, state, _) if state == new.state));

        // Other pictures: what is on its way is about the old ones, and so is what was found.
        session.handle(Action::Do(Verb::NewSession));
        session.handle(Action::Confirm);
        assert!(session.origins().is_none() && session.epoch() != new.of.epoch);
        session.take_live(answer(new));
        assert_eq!(session.live_shown(), LiveShown::Nothing);
        assert_eq!(session.live_choice().judge, "other.pt", "what was chosen stays");
    }

    #[test]
    fn numbers_stay_until_newer_ones_come_and_say_of_which_state_they_are() {
        let (mut session, of) = looked_at();
        let first = frame(&mut session).unwrap();
        session.take_live(answer(first.clone()));
        toy::come(&mut session, of, 2, &[0.0, 1.0, 4.0]);
        let second = frame(&mut session).unwrap();
        assert!(matches!(session.live_shown(), LiveShown::Found(_, state, _) if state == first.state));
        session.take_live(answer(second.clone()));
        assert!(matches!(session.live_shown(), LiveShown::Found(_, state, _) if state == second.state));
    }

    #[test]
    fn a_refusal_is_shown_and_the_next_numbers_take_its_place() {
        let (mut session, of) = looked_at();
        let wish = frame(&mut session).unwrap();
        let found = Err(vec!["no judge".to_owned()]);
        session.take_live(Told::Numbers { of: wish.of, state: wish.state, found });
        assert_eq!(session.live_shown(), LiveShown::Refused(&["no judge".to_owned()]));
        assert!(session.notices.list().is_empty(), "it is no failure of the session");
        toy::come(&mut session, of, 2, &[0.0, 1.0, 4.0]);
        let wish = frame(&mut session).unwrap();
        session.take_live(answer(wish));
        assert!(matches!(session.live_shown(), LiveShown::Found(..)));
    }

    #[test]
    fn how_many_real_pictures_were_looked_at_is_told_until_all_were() {
        let (mut session, _) = looked_at();
        let of = frame(&mut session).unwrap().of;
        for (done, expected) in [(32, Some((32, 64))), (64, None)] {
            session.take_live(Told::Looking { of: of.clone(), done, all: 64 });
            assert_eq!(session.live_shown(), LiveShown::Awaited(expected));
        }
        session.take_live(Told::Looking { of: Subject { epoch: 77, ..of }, done: 1, all: 64 });
        assert_eq!(session.live_shown(), LiveShown::Awaited(None), "that is of other pictures");
    }

    #[test]
    fn whoever_chooses_the_same_again_wants_it_looked_at_again() {
        let (mut session, _) = looked_at();
        let choice = LiveChoice { reference: Some("real.npz".into()), ..session.live_choice().clone() };
        session.choose_live(choice.clone());
        let first = frame(&mut session).unwrap();
        session.take_live(answer(first.clone()));
        assert!(matches!(session.live_shown(), LiveShown::Found(..)));
        session.choose_live(choice);
        assert_eq!(session.live_shown(), LiveShown::Nothing, "what was found may be of other pictures");
        session.take_live(answer(first.clone()));
        let second = frame(&mut session).expect("it is asked for again");
        assert_eq!(session.live_shown(), LiveShown::Awaited(None), "the old answer is stale");
        assert_eq!((&second.of.reference, second.state), (&first.of.reference, first.state));
        session.take_live(answer(second));
        assert!(matches!(session.live_shown(), LiveShown::Found(..)));
    }

    #[test]
    fn numbers_without_a_distance_are_shown_while_real_pictures_are_looked_at() {
        let (mut session, _) = looked_at();
        session.choose_live(LiveChoice { reference: Some("real.npz".into()), ..session.live_choice().clone() });
        let wish = frame(&mut session).unwrap();
        let told = |distance| Told::Numbers {
            of: wish.of.clone(),
            state: wish.state,
            found: Ok(Numbers { distance, ..numbers("aa") }),
        };
        session.take_live(told(None));
        assert!(matches!(session.live_shown(), LiveShown::Found(_, _, None)), "nothing was looked at yet");
        session.take_live(Told::Looking { of: wish.of.clone(), done: 32, all: 64 });
        session.take_live(told(None));
        assert!(matches!(session.live_shown(), LiveShown::Found(_, _, Some((32, 64)))), "it goes on");
        session.take_live(told(Some(Err("too few".to_owned()))));
        assert!(matches!(session.live_shown(), LiveShown::Found(_, _, None)), "it is over, whatever came of it");
    }

    #[test]
    fn what_real_pictures_are_to_fit_is_known_as_far_as_the_judge_has_judged() {
        let (mut session, _) = looked_at();
        let shape = [1, 1, 1];
        assert_eq!(session.live_against(), Some(Against { judge: None, shape }));
        let wish = frame(&mut session).unwrap();
        session.take_live(answer(wish));
        assert_eq!(session.live_against(), Some(Against { judge: Some(("aa".to_owned(), 2)), shape }));
        session.choose_live(LiveChoice { judge: "other.pt".to_owned(), ..session.live_choice().clone() });
        assert_eq!(session.live_against(), Some(Against { judge: None, shape }), "another one, which nobody asked yet");
    }

    #[test]
    fn a_judge_that_refines_is_known_by_its_hash() {
        let (mut session, (job, _)) = looked_at();
        assert!(!session.judge_refines(&numbers("aa")), "nobody knows what refines");
        let info = ModelInfo {
            reference: "mine.pt".to_owned(),
            title: "Mine".to_owned(),
            sha256: "aa".to_owned(),
            classes: Vec::new(),
            sample_shape: [1, 1, 1],
            report: LoadReport::default(),
        };
        session.apply(Event::Classifier { job, info });
        assert!(session.judge_refines(&numbers("aa")) && !session.judge_refines(&numbers("bb")));
    }

    #[test]
    fn a_choice_survives_a_file_and_what_is_missing_takes_defaults() {
        let choice = LiveChoice { is_on: true, judge: "j.pt".to_owned(), reference: Some("real.npz".into()) };
        let text = serde_json::to_string(&choice).unwrap();
        assert_eq!(serde_json::from_str::<LiveChoice>(&text).unwrap(), choice);
        assert_eq!(serde_json::from_str::<LiveChoice>("{}").unwrap(), LiveChoice::default());
    }
}
