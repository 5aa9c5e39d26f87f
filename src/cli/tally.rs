//! What the summary of a run is made of.

use crate::parameter::Choosable as _;
use crate::refiner::{Numbers, Objective, SampleState, Target};
use crate::session::Settings;
use crate::trace::RunId;
use crate::units::counted;

/// The run that the command line makes.
pub(super) const RUN: RunId = RunId(1);

/// Sums over pictures, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Tally {
    pictures: usize,
    /// Of the finite objectives: sum and number, before and after.
    objective: [(f64, usize); 2],
    /// Pictures whose top class is the target, before and after.
    agree: [usize; 2],
    /// Pictures that early stopping laid to rest.
    stopped: usize,
}

impl Tally {
    pub(super) fn of(before: &Numbers, after: &Numbers, targets: &[usize]) -> Self {
        let mut tally = Self::default();
        tally.add(before, after, targets);
        tally
    }

    pub(super) fn add(&mut self, before: &Numbers, after: &Numbers, targets: &[usize]) {
        self.pictures += targets.len();
        for (side, numbers) in [before, after].into_iter().enumerate() {
            for value in numbers.objective.iter().filter(|value| value.is_finite()) {
                self.objective[side].0 += f64::from(*value);
                self.objective[side].1 += 1;
            }
            let agrees = |(sample, target): &(usize, &usize)| numbers.top_class(*sample) == Some(**target);
            self.agree[side] += targets.iter().enumerate().filter(agrees).count();
        }
        self.stopped += stopped(after);
    }

    /// As numbers, to be kept with what they are about.
    pub(super) const fn to_sums(self) -> [f64; 8] {
        let Self { pictures, objective: [before, after], agree, stopped } = self;
        let [agree_before, agree_after] = agree;
        [
            pictures as f64,
            before.0,
            before.1 as f64,
            after.0,
            after.1 as f64,
            agree_before as f64,
            agree_after as f64,
            stopped as f64,
        ]
    }

    /// Adds what [`Self::to_sums`] made of another one.
    pub(super) fn add_sums(&mut self, sums: &[f64]) {
        let sum = |i: usize| sums.get(i).copied().unwrap_or(0.0);
        self.pictures += sum(0) as usize;
        for side in 0..2 {
            self.objective[side].0 += sum(1 + 2 * side);
            self.objective[side].1 += sum(2 + 2 * side) as usize;
            self.agree[side] += sum(5 + side) as usize;
        }
        self.stopped += sum(7) as usize;
    }

    /// The summary of a run.
    pub(super) fn describe(&self, iterations: u32, device: &str, settings: &Settings) -> String {
        let mean = |side: usize| self.objective[side].0 / self.objective[side].1 as f64;
        let share = |side: usize| 100.0 * self.agree[side] as f64 / self.pictures.max(1) as f64;
        let stopped = match self.stopped {
            0 => String::new(),
            1 => "\n1 picture became as real as its reference and stopped early".to_owned(),
            n => format!("\n{n} pictures became as real as their references and stopped early"),
        };
        // As the files have it: all rules ascend, so of what is descended it is the negative.
        let formula = formula(settings.refine.objective);
        let objective = match settings.refine.target {
            Target::Untargeted => format!("−({formula})"),
            Target::Label | Target::PseudoLabel => formula.to_owned(),
        };
        format!(
            "{}, {} on {device}\nmean objective {objective} {:.4} → {:.4}\nclassifier sees the {} class in {:.1} % → {:.1} %{stopped}",
            counted(self.pictures, "picture"),
            counted(iterations as usize, "iteration"),
            mean(0),
            mean(1),
            if settings.refine.target == Target::Untargeted { "avoided" } else { "target" },
            share(0),
            share(1),
        )
    }
}

/// Samples that early stopping laid to rest.
pub(super) fn stopped(numbers: &Numbers) -> usize {
    numbers.state.iter().filter(|state| **state == SampleState::Stopped).count()
}

/// An objective's formula: its description up to the words about it.
fn formula(objective: Objective) -> &'static str {
    let about = objective.option().about;
    about.split([':', ',']).next().unwrap_or(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_top_classes_and_leaves_out_what_is_no_number() {
        let numbers = |objective: [f32; 3]| Numbers {
            objective: objective.to_vec(),
            logits: vec![1.0, 2.0, 4.0, 3.0, 0.0, 1.0],
            state: vec![SampleState::Stopped, SampleState::Active, SampleState::Active],
            ..Default::default()
        };
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.add(&numbers([1.0, f32::NAN, 3.0]), &numbers([2.0, 4.0, 6.0]), &[1, 1, 1]);
        }
        let mut again = Tally::default();
        again.add_sums(&tally.to_sums());
        assert_eq!(again, tally);
        let text = tally.describe(15, "CPU", &Settings::default());
        assert!(text.starts_with("6 pictures, 15 iterations on CPU"), "{text}");
        assert!(text.contains("2.0000 → 4.0000") && text.contains("66.7 % → 66.7 %"), "{text}");
        assert!(text.contains("2 pictures became as real"), "{text}");
    }

    #[test]
    fn a_summary_names_what_is_ascended_with_the_sign_of_the_files() {
        let numbers = Numbers { objective: vec![-3.0], logits: vec![3.0, 0.0], ..Default::default() };
        let tally = Tally::of(&numbers, &numbers, &[0]);
        let mut settings = Settings::default();
        settings.refine.target = Target::Untargeted;
        let text = tally.describe(1, "CPU", &settings);
        assert!(text.starts_with("1 picture, 1 iteration on CPU"), "{text}");
        assert!(text.contains("mean objective −(f_y) -3.0000 → -3.0000") && text.contains("avoided class"), "{text}");
        let names: Vec<&str> = Objective::ALL.iter().map(|objective| formula(*objective)).collect();
        let expected = [
            "f_y",
            "log s(f_y)",
            "−log(1 − s(f_y))",
            "log softmax_y",
            "log softmax_y + log s(f_y)",
            "log softmax_y + log s(logsumexp_k f_k)",
        ];
        assert_eq!(names, expected);
    }
}
