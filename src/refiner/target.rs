//! Which class every sample is refined towards.

use serde::{Deserialize, Serialize};

use super::evaluate::rows;
use super::state::first_highest;
use crate::classifier::{LabelError, translation};
use crate::parameter::{Choice, ChoiceOption, Choosable};

/// Which class every sample is refined towards, or away from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Towards the sample's label: the generator's, or one chosen by hand.
    Label,
    /// Towards the class that the classifier sees in the origin.
    PseudoLabel,
    /// Away from the label: the objective is descended.
    Untargeted,
}

impl Choosable for Target {
    const CHOICE: Choice =
        Choice { flag: "target", label: "Target", about: "Which class a picture is refined towards" };
    const ALL: &'static [Self] = &[Self::Label, Self::PseudoLabel, Self::Untargeted];

    fn option(self) -> ChoiceOption {
        match self {
            Self::Label => ChoiceOption {
                key: "label",
                label: "Label",
                about: "The picture's label: the generator's class, or the one that you chose (BIGRoC's \"GT\")",
            },
            Self::PseudoLabel => ChoiceOption {
                key: "pseudo-label",
                label: "Pseudo-label",
                about: "The class with the largest logit in the picture before refinement (BIGRoC's \"PL\"), for generators without classes",
            },
            Self::Untargeted => ChoiceOption {
                key: "untargeted",
                label: "Untargeted",
                about: "Away from the label: the objective is descended, as untargeted attacks do",
            },
        }
    }
}

/// Why the target is not the one that was asked for.
const PSEUDO_LABELLED: &str = "the generator knows no classes, so each picture is refined towards the class that the classifier sees in it: the target is pseudo-label";

impl Target {
    /// Becomes one that generated pictures have: `made` are the generator's class names, `seen` the classifier's. Where the
    /// generator knows no classes, the pseudo-label takes the label's place; then a sentence says so.
    ///
    /// # Errors
    /// [`LabelError`] when the labels of the pictures mean nothing to the classifier.
    pub fn suit(&mut self, made: &[String], seen: &[String]) -> Result<Option<&'static str>, LabelError> {
        match self {
            Self::PseudoLabel => Ok(None),
            Self::Label if made.is_empty() => {
                *self = Self::PseudoLabel;
                Ok(Some(PSEUDO_LABELLED))
            }
            Self::Label | Self::Untargeted => translation(made, seen).map(|_all_are_known| None),
        }
    }
}

/// The class with the largest logit of every row, the first of equals; 0 for a row without a finite logit.
///
/// `logits`: `[N, K]`, row-major, of `n` pictures. With `debias`, `d_k = 1 - mean_i f_k(x_i)` is added to the logits of class k
/// before, which makes rare classes as likely as frequent ones (BIGRoC, notebook for unconditional generators). The mean runs
/// over the batch, so a picture's label then depends on its company; rows that are not finite do not count, and below two
/// others there is nothing that pictures could have in common.
#[must_use]
pub fn pseudo_labels(logits: &[f32], n: usize, debias: bool) -> Vec<usize> {
    let classes = logits.len() / n.max(1);
    let mut mean = vec![0.0_f64; classes];
    if debias {
        let finite: Vec<&[f32]> = rows(logits, n).filter(|row| row.iter().all(|logit| logit.is_finite())).collect();
        for (k, mean) in mean.iter_mut().enumerate().filter(|_| finite.len() > 1) {
            *mean = finite.iter().map(|row| f64::from(row[k])).sum::<f64>() / finite.len() as f64;
        }
    }
    // The 1 of `d_k` is common to all classes.
    let unbiased = |row: &[f32], k: usize| (f64::from(row[k]) - mean[k]) as f32;
    rows(logits, n).map(|row| first_highest((0..classes).map(|k| unbiased(row, k))).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 8] = [5.0, 4.0, 5.0, 1.0, 6.0, 2.0, 4.0, 4.0];

    #[test]
    fn without_labels_the_target_is_what_the_classifier_sees() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (none, signs, pets) = (list(&[]), list(&["stop", "yield"]), list(&["cat", "dog"]));
        let suited = |mut target: Target, made: &[String], seen: &[String]| {
            target.suit(made, seen).map(|note| (target, note.is_some()))
        };
        assert_eq!(suited(Target::Label, &none, &signs), Ok((Target::PseudoLabel, true)));
        assert_eq!(suited(Target::Untargeted, &none, &signs), Err(LabelError::Unlabelled));
        assert_eq!(suited(Target::Label, &signs, &signs), Ok((Target::Label, false)));
        assert!(matches!(suited(Target::Label, &signs, &pets), Err(LabelError::Foreign { .. })));
        assert_eq!(suited(Target::PseudoLabel, &signs, &pets), Ok((Target::PseudoLabel, false)));
    }

    #[test]
    fn a_pseudo_label_is_the_first_largest_logit() {
        assert_eq!(pseudo_labels(&LOGITS, 4, false), [0, 0, 0, 0]);
        assert_eq!(pseudo_labels(&[f32::NAN, 1.0, f32::NAN, f32::NAN], 2, false), [1, 0]);
    }

    #[test]
    fn de_biasing_subtracts_what_all_pictures_have_in_common() {
        // Means 5 and 2.75, so class 1 gains 2.25.
        assert_eq!(pseudo_labels(&LOGITS, 4, true), [1, 0, 0, 1]);
        assert_eq!(pseudo_labels(&[1.0, 3.0], 1, true), [1], "one picture has nothing in common with itself");
        let with_broken: Vec<f32> = LOGITS.into_iter().chain([f32::NAN, 100.0]).collect();
        assert_eq!(
            pseudo_labels(&with_broken, 5, true)[..4],
            [1, 0, 0, 1],
            "a broken picture changes no other's label"
        );
    }
}
