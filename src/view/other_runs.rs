//! The other runs of these pictures, drawn behind the one that is shown, so that runs can be compared.

use crate::refiner::RefineSettings;
use crate::session::Session;
use crate::trace::{Quantity, Run, RunId};

/// Runs that are drawn at most, the newest: more cannot be told apart. How many that are of how many is said.
const MOST: usize = 8;

/// What the curves were made for: origins, the run and the settings that are shown, the sample, and states of the others.
type Key = (u64, Option<RunId>, RefineSettings, usize, usize);

/// The curves of one sample in other runs, made again only when they changed.
#[derive(Default)]
pub struct OtherRuns {
    key: Option<Key>,
    curves: Vec<[Vec<f32>; Quantity::ALL.len()]>,
    /// Other runs that there are.
    count: usize,
}

impl OtherRuns {
    /// Brings the curves up to date; `settings` are those that led to the state that is shown.
    pub fn update(&mut self, session: &Session, settings: &RefineSettings) {
        let (trace, shown, sample) = (session.trace(), session.shown_run(), session.focused());
        let others = || trace.runs().filter(|run| Some(run.id) != shown);
        // States of a run only become more, and runs that are gone take theirs along.
        let states = others().map(|run| run.last_iteration().map_or(0, |last| last as usize + 1)).sum();
        let key = (session.epoch(), shown, settings.clone(), sample, states);
        if self.key.as_ref() == Some(&key) {
            return;
        }
        self.key = Some(key);
        let mut newest: Vec<&Run> = others().collect();
        self.count = newest.len();
        newest.reverse();
        newest.truncate(MOST);
        self.curves = newest.into_iter().map(|run| curves(session, run, settings)).collect();
    }

    /// What the curves are, in few words; nothing where there are none.
    pub fn words(&self) -> Option<String> {
        let (drawn, count) = (self.curves.len(), self.count);
        let some = if drawn < count { format!("{drawn} of {count} ") } else { String::new() };
        (count > 0).then(|| format!("blue: {some}other runs"))
    }

    /// Likewise in a sentence, and how those are seen that are not drawn.
    pub fn about(&self) -> Option<String> {
        let (drawn, count) = (self.curves.len(), self.count);
        let all = match count {
            1 => "Blue: the other run".to_owned(),
            n => format!("Blue: the {n} other runs"),
        };
        let some = format!(
            "Blue: the newest {drawn} of {count} other runs; each of them is shown when it is chosen in the list of runs"
        );
        (count > 0).then_some(if drawn < count { some } else { all })
    }

    /// The curves of a quantity, by its place in [`Quantity::ALL`].
    pub fn curves(&self, quantity: usize) -> impl Iterator<Item = &[f32]> {
        self.curves.iter().map(move |curves| curves[quantity].as_slice())
    }
}

/// Every quantity along a run, where its values compare with those that are shown.
fn curves(session: &Session, run: &Run, settings: &RefineSettings) -> [Vec<f32>; Quantity::ALL.len()] {
    let (trace, sample) = (session.trace(), session.focused());
    let labels = session.origins().map_or(&[][..], |origins| &origins.labels);
    let target = run.targets.as_deref().unwrap_or(labels).get(sample).copied().unwrap_or(0);
    let path = trace.path(run.id);
    Quantity::ALL.map(|quantity| {
        let value = |id: &crate::trace::StateId| {
            let compares = trace.settings(*id).is_some_and(|own| quantity.compares(own, settings));
            let numbers = trace.numbers(*id).filter(|_| compares);
            numbers.map_or(f32::NAN, |numbers| quantity.value(numbers, sample, target, settings.norm))
        };
        path.iter().map(value).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::origins::Origins;
    use crate::session::{Action, Verb, toy};

    #[test]
    fn of_many_runs_the_newest_are_drawn_and_it_is_said_of_how_many() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        let mut others = OtherRuns::default();
        let mut of = Some(of);
        let mut said = Vec::new();
        for count in 0..=MOST + 2 {
            // Its first value says which run it is.
            let (job, run) = of.take().unwrap_or_else(|| toy::begun(&mut session));
            toy::come(&mut session, (job, run), 0, &[count as f32, 0.0]);
            toy::come(&mut session, (job, run), 1, &[count as f32, 0.0]);
            others.update(&session, &RefineSettings::default());
            said.push((others.words(), others.about()));
            session.handle(Action::Do(Verb::Reset));
        }
        assert_eq!(said[0], (None, None));
        let told = |place: usize| said[place].0.clone().zip(said[place].1.clone()).unwrap();
        assert_eq!(told(1), ("blue: other runs".to_owned(), "Blue: the other run".to_owned()));
        assert_eq!(told(MOST).0, "blue: other runs");
        let (words, about) = told(MOST + 2);
        assert_eq!(words, "blue: 8 of 10 other runs");
        assert!(about.contains("the newest 8 of 10 other runs") && about.contains("in the list of runs"), "{about}");
        let energy = Quantity::ALL.iter().position(|quantity| *quantity == Quantity::Energy).unwrap();
        let firsts: Vec<f32> = others.curves(energy).map(|curve| -curve[0]).collect();
        assert_eq!(firsts, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0], "the newest first");
    }

    #[test]
    fn of_a_run_that_another_classifier_judged_only_lengths_are_drawn() {
        let images = ImageBatch::new([1, 1, 1, 1], vec![0.5]);
        let (mut session, of) = toy::about(Origins::opened(images, vec![0], Vec::new()));
        toy::come(&mut session, of, 0, &[1.0, 0.0]);
        let mut settings = session.settings().clone();
        settings.refine.classifier = "gtsrb12-robust".to_owned();
        session.handle(Action::Edit(Box::new(settings)));
        session.handle(Action::Do(Verb::RunOrPause));
        let second = toy::begun(&mut session);
        toy::come(&mut session, second, 0, &[1.0, 0.0]);
        let mut others = OtherRuns::default();
        others.update(&session, &session.settings().refine);
        for (place, quantity) in Quantity::ALL.into_iter().enumerate() {
            let is_drawn = others.curves(place).all(|curve| curve.iter().any(|value| value.is_finite()));
            assert_eq!(is_drawn, quantity == Quantity::Distance, "{quantity:?}");
        }
    }
}
