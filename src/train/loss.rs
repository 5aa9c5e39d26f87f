//! The losses of generators, sample by sample: tensors in, loss out. Pictures are in generator units, `[-1, 1]`.

use burn::tensor::{Tensor, TensorData};

use super::metric::Measure;

/// A preconditioned network `D(x, sigma)`: one noise level per sample; it knows the labels.
pub type Denoise<'a> = dyn Fn(Tensor<4>, &[f64]) -> Tensor<4> + 'a;

/// A number per sample as `[N, 1, 1, 1]`, beside `x`.
fn column(values: &[f64], x: &Tensor<4>) -> Tensor<4> {
    let data: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new(data, [values.len(), 1, 1, 1]), &x.device())
}

/// A loss times a number per sample.
fn weighted(loss: Tensor<1>, weights: &[f64]) -> Tensor<1> {
    let data: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    let weights = Tensor::from_data(TensorData::new(data, [weights.len()]), &loss.device());
    loss * weights
}

/// Denoising: the weighted mean square error of `D(x + sigma noise, sigma)`.
///
/// # Shapes
/// `x`, `noise`: `[N, C, H, W]`; one level and one weight per sample; returns `[N]`.
///
/// # Source
/// Karras et al. 2022; openai/consistency_models, `cm/karras_diffusion.py`, `training_losses`.
#[must_use]
pub fn denoising(net: &Denoise<'_>, [x, noise]: [Tensor<4>; 2], sigmas: &[f64], weights: &[f64]) -> Tensor<1> {
    let noisy = x.clone() + noise * column(sigmas, &x);
    weighted(Measure::L2.distance(net(noisy, sigmas), x), weights)
}

/// What a consistency model is to agree with.
pub struct Aim<'a> {
    /// The network at the smaller level; gradients end at what it gives.
    pub target: &'a Denoise<'a>,
    /// Who leads from the larger level to the smaller one by a step of Heun's method; without one the picture itself does.
    pub teacher: Option<&'a Denoise<'a>>,
}

/// Consistency: what the network makes of a picture at the larger of two levels is to be what the target makes of the same
/// path at the smaller one. At a smaller level of 0 the picture itself stands for the target.
///
/// # Shapes
/// `x`, `noise`: `[N, C, H, W]`; per sample two levels, larger first, and a weight; returns `[N]`.
///
/// # Source
/// Song et al. 2023, algorithms 2 and 3; openai/consistency_models, `cm/karras_diffusion.py`, `consistency_losses`.
#[must_use]
pub fn consistency(
    net: &Denoise<'_>,
    aim: &Aim<'_>,
    [x, noise]: [Tensor<4>; 2],
    levels: &[[f64; 2]],
    (measure, weights): (&Measure, &[f64]),
) -> Tensor<1> {
    let [larger, smaller]: [Vec<f64>; 2] = [0, 1].map(|i| levels.iter().map(|pair| pair[i]).collect());
    let noisy = x.clone() + noise.clone() * column(&larger, &x);
    let next = match aim.teacher {
        Some(teacher) => heun(teacher, noisy.clone(), &larger, &smaller),
        None => x.clone() + noise * column(&smaller, &x),
    };
    let found = net(noisy, &larger);
    let mut target = (aim.target)(next, &smaller).without_autodiff();
    if smaller.contains(&0.0) {
        let kept: Vec<f64> = smaller.iter().map(|level| if *level > 0.0 { 1.0 } else { 0.0 }).collect();
        let kept = column(&kept, &x);
        target = target * kept.clone() + x * (-kept + 1.0);
    }
    weighted(measure.distance(found, target), weights)
}

/// One step of Heun's method along the probability flow from level to level.
fn heun(teacher: &Denoise<'_>, x: Tensor<4>, from: &[f64], to: &[f64]) -> Tensor<4> {
    let step = column(to, &x) - column(from, &x);
    let first = slope(teacher, &x, from);
    let euler = x.clone() + first.clone() * step.clone();
    let second = slope(teacher, &euler, to);
    x + (first + second) * (step * 0.5)
}

/// `dx / d sigma` along the probability flow.
fn slope(teacher: &Denoise<'_>, x: &Tensor<4>, sigmas: &[f64]) -> Tensor<4> {
    (x.clone() - teacher(x.clone(), sigmas)) / column(sigmas, x)
}

/// Progressive distillation: one step of Euler's method with the network is to lead where two with the teacher lead.
///
/// # Shapes
/// `x`, `noise`: `[N, C, H, W]`; per sample three levels, falling, and a weight; returns `[N]`.
///
/// # Source
/// Salimans and Ho 2022; openai/consistency_models, `cm/karras_diffusion.py`, `progdist_losses`.
#[must_use]
pub fn halving(
    net: &Denoise<'_>,
    teacher: &Denoise<'_>,
    [x, noise]: [Tensor<4>; 2],
    levels: &[[f64; 3]],
    (measure, weights): (&Measure, &[f64]),
) -> Tensor<1> {
    let [from, middle, to]: [Vec<f64>; 3] = [0, 1, 2].map(|i| levels.iter().map(|level| level[i]).collect());
    let noisy = x.clone() + noise * column(&from, &x);
    let euler = |x: Tensor<4>, from: &[f64], to: &[f64]| {
        let slope = slope(teacher, &x, from);
        x.clone() + slope * (column(to, &x) - column(from, &x))
    };
    let end = euler(euler(noisy.clone(), &from, &middle), &middle, &to);
    // What a network would have to say for one step to end there.
    let step = column(&to, &x) - column(&from, &x);
    let target = noisy.clone() - (end - noisy.clone()) * column(&from, &x) / step;
    weighted(measure.distance(net(noisy, &from), target.without_autodiff()), weights)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn of(values: [f32; 2]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 1, 1, 1]), &Device::flex())
    }

    fn read(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn a_smaller_level_of_0_is_the_picture_itself() {
        let half = |x: Tensor<4>, _: &[f64]| x * 0.5;
        let aim = Aim { target: &half, teacher: None };
        let (pictures, levels) = ([of([0.5, -1.0]), of([1.0, 2.0])], [[2.0, 0.0], [3.0, 1.0]]);
        let found = read(consistency(&half, &aim, pictures, &levels, (&Measure::L2, &[1.0, 10.0])));
        // (0.5 + 2) / 2 against 0.5; (-1 + 6) / 2 against (-1 + 2) / 2, ten times.
        assert_eq!(found, [0.5625, 40.0]);
    }

    #[test]
    fn one_step_is_to_lead_where_two_lead() {
        // By hand for D(x, sigma) = x / (1 + sigma²), and a network that says 0.
        let denoised = |x: f64, sigma: f64| x / (1.0 + sigma * sigma);
        let teacher = |x: Tensor<4>, sigmas: &[f64]| {
            let kept: Vec<f64> = sigmas.iter().map(|sigma| 1.0 / (1.0 + sigma * sigma)).collect();
            x.clone() * column(&kept, &x)
        };
        let zero = |x: Tensor<4>, _: &[f64]| x * 0.0;
        let (pictures, levels) = ([of([3.0, -0.5]), of([0.5, 1.0])], [[2.0, 1.5, 1.0], [1.0, 0.25, 0.125]]);
        let found = read(halving(&zero, &teacher, pictures, &levels, (&Measure::L1, &[1.0, 2.0])));
        for (i, (x, weight)) in [(4.0, 1.0), (0.5, 2.0)].into_iter().enumerate() {
            let [from, middle, to] = levels[i];
            let euler = |x: f64, from: f64, to: f64| x + (x - denoised(x, from)) / from * (to - from);
            let end = euler(euler(x, from, middle), middle, to);
            // Whoever says so comes to the same end in one step.
            let said = x - from * (end - x) / (to - from);
            assert!((x + (x - said) / from * (to - from) - end).abs() < 1e-12);
            assert!((f64::from(found[i]) - weight * said.abs()).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn a_teacher_leads_by_a_step_of_heuns_method() {
        // By hand for D(x, sigma) = x / (1 + sigma²): dx/dsigma = x sigma / (1 + sigma²).
        let slope = |x: f64, sigma: f64| x * sigma / (1.0 + sigma * sigma);
        let teacher = |x: Tensor<4>, sigmas: &[f64]| {
            let kept: Vec<f64> = sigmas.iter().map(|sigma| 1.0 / (1.0 + sigma * sigma)).collect();
            x.clone() * column(&kept, &x)
        };
        let found = heun(&teacher, of([3.0, -0.5]), &[2.0, 1.0], &[1.5, 0.25]).reshape([2]);
        for ((found, x), [from, to]) in read(found).into_iter().zip([3.0, -0.5]).zip([[2.0, 1.5], [1.0, 0.25]]) {
            let euler = x + slope(x, from) * (to - from);
            let expected = x + 0.5 * (slope(x, from) + slope(euler, to)) * (to - from);
            assert!((f64::from(found) - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }
}
