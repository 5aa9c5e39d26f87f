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
    /// `-log(1 - s(f_y))` = `BCE(f_y, 0)`: the loss of "fake", which the attack on generated pictures ascends in training.
    BceFake,
    /// `log softmax_y` = `-CE`: the classifier's score alone.
    Ce,
    /// The sum of the two scores.
    CeBce,
    /// `log softmax_y + log s(logsumexp_k f_k)`: the class, and realness by the marginal energy.
    Joint,
}

impl Choosable for Objective {
    const CHOICE: Choice = Choice {
        flag: "objective",
        label: "Objective",
        about: "What every iteration increases, for each picture on its own",
    };
    const ALL: &'static [Self] = &[Self::TargetLogit, Self::Bce, Self::BceFake, Self::Ce, Self::CeBce, Self::Joint];

    fn option(self) -> ChoiceOption {
        match self {
            Self::TargetLogit => ChoiceOption {
                key: "target-logit",
                label: "Target logit",
                about: "f_y, the negative energy of the target class (Golan et al. 2024); never saturates",
            },
            Self::Bce => ChoiceOption {
                key: "bce",
                label: "BCE real",
                about: "log s(f_y): the discriminator's belief that this is a real picture of the class",
            },
            Self::BceFake => ChoiceOption {
                key: "bce-fake",
                label: "BCE fake",
                about: "−log(1 − s(f_y)): the loss of the verdict \"fake\", which the attack on generated pictures ascends in training (Golan et al. 2024); steep for pictures that look real, flat for those that look fake",
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
            Self::Joint => ChoiceOption {
                key: "joint",
                label: "Joint",
                about: "log softmax_y + log s(logsumexp_k f_k): the class, and realness by the marginal energy (JEM, DAT)",
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
            // 1 - s(f) = s(-f)
            Self::BceFake => -log_sigmoid(-target(logits)),
            Self::Ce => target(log_softmax(logits, 1)),
            Self::CeBce => target(log_softmax(logits.clone(), 1)) + log_sigmoid(target(logits)),
            Self::Joint => {
                let class = target(log_softmax(logits.clone(), 1));
                // log softmax_y = f_y - logsumexp_k f_k, and log_softmax is stable already.
                let logsumexp = target(logits) - class.clone();
                class + log_sigmoid(logsumexp)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Values and gradients of rows of three logits, target class 1.
    fn differentiate(objective: Objective, rows: &[[f32; 3]]) -> (Vec<f32>, Vec<f32>) {
        let data = TensorData::new(rows.concat(), [rows.len(), 3]);
        let logits = Tensor::<2>::from_data(data, &Device::flex()).autodiff().require_grad();
        let value = objective.value(logits.clone(), &vec![1; rows.len()]);
        let mut gradients = value.clone().sum().backward();
        let gradient = logits.grad_remove(&mut gradients).expect("a tracked leaf");
        let read = |data: TensorData| data.try_into_vec::<f32>().expect("single precision");
        (read(value.without_autodiff().into_data()), read(gradient.into_data()))
    }

    #[test]
    fn objectives_are_their_formulas_and_have_their_gradients() {
        let f = [0.3_f64, -1.2, 0.9];
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let sum: f64 = f.iter().map(|f| f.exp()).sum();
        let (log_softmax, logsumexp) = (f[1] - sum.ln(), sum.ln());
        let p: Vec<f64> = f.iter().map(|f| f.exp() / sum).collect();
        let class = [-p[0], 1.0 - p[1], -p[2]];
        let (up, down) = (sigmoid(-f[1]), sigmoid(f[1]));
        for (objective, value, gradient) in [
            (Objective::TargetLogit, f[1], [0.0, 1.0, 0.0]),
            (Objective::Bce, sigmoid(f[1]).ln(), [0.0, up, 0.0]),
            (Objective::BceFake, -(1.0 - sigmoid(f[1])).ln(), [0.0, down, 0.0]),
            (Objective::Ce, log_softmax, class),
            (Objective::CeBce, log_softmax + sigmoid(f[1]).ln(), [class[0], class[1] + up, class[2]]),
            (
                Objective::Joint,
                log_softmax + sigmoid(logsumexp).ln(),
                [0, 1, 2].map(|k| class[k] + sigmoid(-logsumexp) * p[k]),
            ),
        ] {
            let (values, gradients) = differentiate(objective, &[f.map(|f| f as f32)]);
            assert!((f64::from(values[0]) - value).abs() < 3e-6, "{objective:?}: {values:?}, expected {value}");
            for (found, expected) in gradients.iter().zip(gradient) {
                assert!((f64::from(*found) - expected).abs() < 3e-6, "{objective:?}: {gradients:?}, not {gradient:?}");
            }
        }
    }

    #[test]
    fn huge_logits_give_finite_values_and_gradients() {
        for objective in Objective::ALL {
            let (values, gradients) = differentiate(*objective, &[[0.0, 500.0, -500.0], [500.0, -500.0, 0.0]]);
            assert!(values.iter().chain(&gradients).all(|v| v.is_finite()), "{objective:?}: {values:?} {gradients:?}");
        }
        let (values, _) = differentiate(Objective::BceFake, &[[0.0, 500.0, 0.0], [0.0, -500.0, 0.0]]);
        assert_eq!(values, [500.0, 0.0]);
    }
}
