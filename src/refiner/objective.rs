//! What refinement ascends, per sample.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::parameter::{Choice, ChoiceOption, Choosable};

/// What refinement ascends. `f_y` is the logit of the target class, `s` the sigmoid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// `f_y`, the negative energy of the target class.
    TargetLogit,
    /// `log s(f_y)` = `-BCE(f_y, 1)`: the discriminator's score alone.
    Bce,
    /// `log softmax_y` = `-CE`: the classifier's score alone.
    Ce,
    /// The sum of the two scores.
    CeBce,
}

impl Choosable for Objective {
    const CHOICE: Choice = Choice {
        flag: "objective",
        label: "Objective",
        about: "What every iteration increases, for each picture on its own",
    };
    const ALL: &'static [Self] = &[Self::TargetLogit, Self::Bce, Self::Ce, Self::CeBce];

    fn option(self) -> ChoiceOption {
        match self {
            Self::TargetLogit => ChoiceOption {
                key: "target-logit",
                label: "Target logit",
                about: "f_y, the negative energy of the target class (Golan et al. 2024); never saturates",
            },
            Self::Bce => ChoiceOption {
                key: "bce",
                label: "BCE",
                about: "log s(f_y): the discriminator's belief that this is a real picture of the class",
            },
            Self::Ce => ChoiceOption {
                key: "ce",
                label: "CE",
                about: "log softmax_y: the classifier's belief in the class, as a robust classifier's baseline uses it (BIGRoC)",
            },
            Self::CeBce => ChoiceOption {
                key: "ce-bce",
                label: "CE + BCE",
                about: "log softmax_y + log s(f_y): classifier and discriminator together",
            },
        }
    }
}

impl Objective {
    /// Value per sample.
    ///
    /// # Shapes
    /// `logits`: `[N, K]`, one label below `K` per sample; returns `[N]`.
    ///
    /// # Panics
    /// When the number of labels differs from `N`.
    #[must_use]
    pub fn value(self, logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let [n, _] = logits.dims();
        assert_eq!(labels.len(), n, "one label per sample");
        let indices: Vec<i32> = labels.iter().map(|label| i32::try_from(*label).expect("small")).collect();
        let indices = Tensor::<2, Int>::from_data(TensorData::new(indices, [n, 1]), &logits.device());
        let target = |values: Tensor<2>| values.gather(1, indices.clone()).reshape([n]);
        match self {
            Self::TargetLogit => target(logits),
            Self::Bce => log_sigmoid(target(logits)),
            Self::Ce => target(log_softmax(logits, 1)),
            Self::CeBce => target(log_softmax(logits.clone(), 1)) + log_sigmoid(target(logits)),
        }
    }
}
