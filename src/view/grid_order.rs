//! Which samples the grid shows, and in which order.

use egui::{Role, Ui};

use super::widgets;
use crate::classifier::probability_of;
use crate::refiner::Numbers;
use crate::session::Session;
use crate::trace::summary::gain;
use crate::trace::{Quantity, StateId};

/// What samples are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Key {
    #[default]
    Number,
    Seed,
    Gain,
    Distance,
    Class,
}

impl Key {
    const ALL: [Self; 5] = [Self::Number, Self::Seed, Self::Gain, Self::Distance, Self::Class];

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Number => ("number", "As they were made or opened"),
            Self::Seed => ("seed", "By the seed of each"),
            Self::Gain => ("Δp", "By how much more likely the target class became; away from a class, how much less"),
            Self::Distance => ("‖δ‖", "By the distance from the picture before"),
            Self::Class => ("class", "By target class"),
        }
    }
}

/// What the order was made for: origins, key, direction and class.
type Made = (u64, Key, bool, Option<usize>);
/// The state that it was made for, whether that was every sample's best, and whether there were numbers before and after it.
type At = (Option<StateId>, bool, bool);

/// Which samples are shown, in which order.
#[derive(Debug, Default)]
pub struct Order {
    key: Key,
    is_reversed: bool,
    /// The target class that is shown; none for all.
    class: Option<usize>,
    samples: Vec<usize>,
    made: Option<(Made, At)>,
}

impl Order {
    /// The samples that are shown, in their order.
    pub fn samples(&self) -> &[usize] {
        &self.samples
    }

    /// Orders anew by the numbers of the state `id`, which is on the screen; while a run goes on or one picture is on the canvas,
    /// only what was asked for meanwhile, so that no picture moves while it is looked at, and the next one is the one that
    /// stood behind it.
    pub fn update(
        &mut self,
        session: &Session,
        id: Option<StateId>,
        (before, after): (Option<&Numbers>, Option<&Numbers>),
    ) {
        let count = session.count();
        if !(0..count).any(|sample| self.class == Some(session.target(sample))) {
            self.class = None;
        }
        let made = (session.epoch(), self.key, self.is_reversed, self.class);
        let at = (id, session.shows_best(), before.is_some() && after.is_some());
        let stays = session.is_busy() || session.selected().is_some();
        let is_made = self.made.is_some_and(|(as_wished, then)| as_wished == made && (stays || then == at));
        if is_made && !self.samples.is_empty() {
            return;
        }
        self.made = Some((made, at));
        let chosen = |sample: &usize| self.class.is_none_or(|class| session.target(*sample) == class);
        self.samples = (0..count).filter(chosen).collect();
        let value = |sample: usize| -> f64 {
            let target = session.target(sample);
            let norm = session.settings().refine.norm;
            let probability = |numbers: &Numbers| probability_of(numbers.logits_of(sample), target);
            match self.key {
                Key::Number => sample as f64,
                Key::Seed => session.origins().map_or(0.0, |origins| origins.seeds[sample] as f64),
                Key::Class => target as f64,
                // The largest first.
                Key::Gain => match (before.map(probability), after.map(probability)) {
                    (Some(was), Some(is)) => f64::from(-gain(was, is, session.settings().refine.target)),
                    _ => 0.0,
                },
                Key::Distance => {
                    after.map_or(0.0, |numbers| f64::from(-Quantity::Distance.value(numbers, sample, target, norm)))
                }
            }
        };
        let mut valued: Vec<(f64, usize)> = self.samples.iter().map(|sample| (value(*sample), *sample)).collect();
        // Stable: equals stay in the order of their numbers.
        valued.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.samples = valued.into_iter().map(|(_, sample)| sample).collect();
        if self.is_reversed {
            self.samples.reverse();
        }
    }

    /// Draws the controls.
    pub fn ui(&mut self, ui: &mut Ui, session: &Session) {
        let about = "The order of the pairs";
        ui.label("Sort").on_hover_text(about);
        let combo = egui::ComboBox::from_id_salt("sort").width(64.0).selected_text(self.key.words().0);
        let response = combo.show_ui(ui, |ui| {
            for key in Key::ALL {
                let (label, about) = key.words();
                ui.selectable_value(&mut self.key, key, label).on_hover_text(about);
            }
        });
        widgets::name(&response.response.on_hover_text(about), Role::ComboBox, "Sort by");
        let arrow = if self.is_reversed { "▲" } else { "▼" };
        let turn = ui.button(arrow).on_hover_text("The other way round");
        widgets::name(&turn, Role::Button, "Reverse the order");
        self.is_reversed ^= turn.clicked();
        let mut classes: Vec<usize> = (0..session.count()).map(|sample| session.target(sample)).collect();
        classes.sort_unstable();
        classes.dedup();
        if classes.len() < 2 {
            return;
        }
        let name =
            |class: Option<usize>| class.map_or_else(|| "all classes".to_owned(), |class| session.class_name(class));
        let combo = egui::ComboBox::from_id_salt("only").width(84.0).height(widgets::POPUP_HEIGHT).truncate();
        let response = combo.selected_text(name(self.class)).show_ui(ui, |ui| {
            for class in std::iter::once(None).chain(classes.into_iter().map(Some)) {
                ui.selectable_value(&mut self.class, class, name(class));
            }
        });
        let response = response.response.on_hover_text("Show the pictures of one target class only");
        widgets::name(&response, Role::ComboBox, "Show class");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageBatch;
    use crate::origins::Origins;
    use crate::session::{Action, Verb, toy};
    use crate::trace::RunId;
    use crate::worker::{Event, Rest};

    #[test]
    fn samples_are_sorted_and_filtered_by_what_is_known_of_them() {
        let (session, _) = toy::about(Origins {
            seeds: vec![9, 3, 5],
            ..Origins::opened(ImageBatch::new([3, 1, 1, 1], vec![0.0; 3]), vec![1, 0, 1], Vec::new())
        });
        let numbers = |logits: [f32; 3], delta: [f32; 3]| Numbers {
            logits: logits.into_iter().flat_map(|logit| [0.0, logit]).collect(),
            objective: vec![0.0; 3],
            delta_l2: delta.to_vec(),
            ..Default::default()
        };
        let (before, after) = (numbers([0.0; 3], [0.0; 3]), numbers([1.0, 2.0, 3.0], [0.5, 2.0, 1.0]));
        let mut order = Order::default();
        let mut sorted = |key, class, is_reversed| {
            (order.key, order.class, order.is_reversed, order.made) = (key, class, is_reversed, None);
            order.update(&session, None, (Some(&before), Some(&after)));
            order.samples().to_vec()
        };
        assert_eq!(sorted(Key::Number, None, false), [0, 1, 2]);
        assert_eq!(sorted(Key::Seed, None, false), [1, 2, 0]);
        assert_eq!(sorted(Key::Gain, None, false), [2, 0, 1], "what became less likely comes last");
        assert_eq!(sorted(Key::Distance, None, true), [0, 2, 1]);
        assert_eq!(sorted(Key::Class, None, false), [1, 0, 2]);
        assert_eq!(sorted(Key::Gain, Some(1), false), [2, 0]);
        assert_eq!(sorted(Key::Number, Some(7), false), [0, 1, 2], "a class that is not there shows all");
    }

    #[test]
    fn what_is_on_the_canvas_keeps_its_neighbours() {
        let images = ImageBatch::new([3, 1, 1, 1], vec![0.0; 3]);
        let (mut session, (job, _)) = toy::about(Origins::opened(images, vec![0; 3], Vec::new()));
        session.apply(Event::Resting { job, rest: Rest::Finished });
        let numbers = |delta: [f32; 3]| Numbers {
            logits: vec![0.0; 6],
            objective: vec![0.0; 3],
            delta_l2: delta.to_vec(),
            ..Default::default()
        };
        let (start, first, second) = (numbers([0.0; 3]), numbers([0.5, 2.0, 1.0]), numbers([3.0, 2.0, 1.0]));
        let at = |iteration| Some(StateId { run: RunId(1), iteration });
        let mut order = Order { key: Key::Distance, ..Order::default() };
        order.update(&session, at(1), (Some(&start), Some(&first)));
        assert_eq!(order.samples(), [1, 2, 0]);
        session.handle(Action::Select(1));
        order.update(&session, at(2), (Some(&start), Some(&second)));
        assert_eq!(order.samples(), [1, 2, 0], "the next one is the one that stood behind it");
        session.handle(Action::Do(Verb::Grid));
        order.update(&session, at(2), (Some(&start), Some(&second)));
        assert_eq!(order.samples(), [0, 1, 2]);
    }
}
