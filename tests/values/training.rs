//! Training of generators against PyTorch: losses sample by sample, gradients, schedules.

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use lapidary::generator::preconditioning::Preconditioning;
use lapidary::net::numbers::{gradients, named, numbers, with_numbers};
use lapidary::net::unet::Unet;
use lapidary::train::levels::Grid;
use lapidary::train::loss::{Aim, consistency, denoising};
use lapidary::train::metric::{Measure, Weighting};
use lapidary::zoo::{DiffusionManifest, PreconditioningName};

use crate::close::assert_close;
use crate::golden::Golden;
use crate::{CASES, Case, GRADIENT, largest, read};

/// Points of the grid that the reference's pairs of levels are of.
const POINTS: usize = 18;

fn golden() -> Golden {
    Golden::open("consistency_models/imagenet64_shape_tiny.losses.safetensors")
}

/// The preconditioned network of a case, for training.
struct Net {
    unet: Unet,
    preconditioning: Preconditioning,
    labels: Vec<usize>,
}

impl Net {
    fn new(name: PreconditioningName, golden: &Golden) -> Self {
        let unet = Case::open(CASES[0], name).unet().train();
        let preconditioning = Preconditioning::new(&DiffusionManifest::new(name));
        Self { unet, preconditioning, labels: golden.indices("y").to_vec() }
    }

    /// The same with every number of the network times 1.01, outside of training.
    fn scaled(&self) -> Self {
        let scaled: Vec<Tensor<1>> = numbers(&self.unet).into_iter().map(|values| values * 1.01).collect();
        let unet = with_numbers(self.unet.valid(), &scaled);
        Self { unet, preconditioning: self.preconditioning.clone(), labels: self.labels.clone() }
    }

    fn denoise(&self, x: Tensor<4>, sigmas: &[f64]) -> Tensor<4> {
        self.preconditioning.apply(x, sigmas, |x, times| self.unet.forward(x, times, Some(&self.labels)))
    }

    /// Compares losses, and the gradients of their mean that are stored.
    fn assert_loss(&self, key: &str, loss: Tensor<1>, golden: &Golden) {
        assert_close(key, &read(loss.clone()), golden.values(&format!("{key}.loss")), 1e-6, 1e-4);
        let tensors = Case::open(CASES[0], PreconditioningName::Edm).manifest.unet().expect("a generator").tensors();
        let mut found = loss.mean().backward();
        let found = gradients(&self.unet, &mut found);
        for ((name, _), gradient) in named(&self.unet, tensors).iter().zip(found) {
            if ["input_blocks.0.0.weight", "out.2.weight"].contains(&name.as_str()) && key != "edm" {
                let expected = golden.values(&format!("{key}.grad.{name}"));
                let found = read(gradient.expect("every parameter is reached"));
                assert_close(&format!("{key}, {name}"), &found, expected, GRADIENT * largest(expected), 0.0);
            }
        }
    }
}

fn pictures(golden: &Golden) -> [Tensor<4>; 2] {
    ["x", "noise"].map(|key| golden.images(key).to_tensor(&Device::flex()))
}

#[test]
fn the_loss_of_denoising_is_the_references() {
    let golden = golden();
    let net = Net::new(PreconditioningName::Edm, &golden);
    let sigmas: Vec<f64> = golden.values("sigmas").iter().map(|sigma| f64::from(*sigma)).collect();
    let weights: Vec<f64> = sigmas.iter().map(|sigma| Weighting::Karras.at([*sigma, 0.0], 0.5)).collect();
    let loss = denoising(&|x, sigmas| net.denoise(x, sigmas), pictures(&golden), &sigmas, &weights);
    net.assert_loss("edm", loss, &golden);
}

#[test]
fn losses_and_gradients_of_consistency_are_the_references() {
    let golden = golden();
    let net = Net::new(PreconditioningName::Consistency, &golden);
    let target = net.scaled();
    let edm = Net::new(PreconditioningName::Edm, &golden).scaled();
    let diffusion = DiffusionManifest::new(PreconditioningName::Consistency);
    let levels: Vec<[f64; 2]> =
        golden.indices("indices").iter().map(|place| Grid::pair_at(&diffusion, POINTS, *place)).collect();
    let weights = vec![1.0; levels.len()];
    let teach = |x: Tensor<4>, sigmas: &[f64]| edm.denoise(x, sigmas);
    for (key, measure, teacher) in
        [("ct", Measure::L2, false), ("ct_l1", Measure::L1, false), ("cd", Measure::L2, true)]
    {
        let aim = Aim { target: &|x, sigmas| target.denoise(x, sigmas), teacher: teacher.then_some(&teach) };
        let student = |x: Tensor<4>, sigmas: &[f64]| net.denoise(x, sigmas);
        let loss = consistency(&student, &aim, pictures(&golden), &levels, (&measure, &weights));
        net.assert_loss(key, loss, &golden);
    }
}

#[test]
fn grids_and_decays_are_the_references() {
    let golden = golden();
    let grid = Grid::Progressive { first: 2, last: 200, decay: 0.95, over: Some(800_000) };
    let steps = golden.indices("ct_schedule.step");
    for (i, step) in steps.iter().enumerate() {
        let (points, decay) = grid.at(*step as u64, 1);
        assert_eq!(points, golden.indices("ct_schedule.scales")[i], "step {step}");
        assert!((decay as f32 - golden.values("ct_schedule.ema")[i]).abs() < 1e-6, "step {step}: {decay}");
    }
}

#[test]
fn a_networks_numbers_have_its_names_and_come_back_as_they_were() {
    let case = Case::open(CASES[0], PreconditioningName::Edm);
    let net = case.unet();
    let tensors = case.manifest.unet().expect("a generator").tensors();
    let named = named(&net, tensors.clone());
    assert_eq!(named.len(), tensors.len());
    for ((name, shape), values) in named.iter().zip(numbers(&net)) {
        assert_eq!(values.dims(), [shape.iter().product::<usize>()], "{name}");
        assert_eq!(read(values), case.checkpoint.read(name).unwrap(), "{name}");
    }
    let zeros: Vec<Tensor<1>> = numbers(&net).into_iter().map(|values| values * 0.0).collect();
    let again = with_numbers(with_numbers(net.clone(), &zeros), &numbers(&net));
    for (one, other) in numbers(&net).into_iter().zip(numbers(&again)) {
        assert_eq!(read(one), read(other));
    }
}
