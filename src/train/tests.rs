//! Training as a whole: a few pictures are learnt by heart, and a step depends on nothing but its number and what is kept.

mod boosting;

use std::collections::HashMap;

use burn::tensor::Device;

use super::attack::Attack;
use super::levels::{Grid, Tightening};
use super::metric::{Metric, Weighting};
use super::*;
use crate::checkpoint::{Checkpoint, CheckpointError, LoadReport, Weights, write};
use crate::generator::Generator;
use crate::image::ImageBatch;
use crate::net::resnet::{ResnetConfig, ResnetManifest};
use crate::net::unet::{UnetConfig, UnetManifest};
use crate::noise::{Purpose, Stream};
use crate::zoo::{DiffusionManifest, GeneratorManifest, Manifest, ManifestKind};

const SIDE: usize = 8;
const CLASSES: usize = 4;

/// One picture of every class: a gradient in some direction.
fn pictures() -> (ImageBatch, Vec<usize>) {
    let value = |class: usize, y: usize, x: usize| {
        let along = [x, y, SIDE - 1 - x, SIDE - 1 - y][class];
        along as f32 / (SIDE - 1) as f32
    };
    let pixels = (0..CLASSES).flat_map(|class| (0..SIDE * SIDE).map(move |i| value(class, i / SIDE, i % SIDE)));
    (ImageBatch::new([CLASSES, 1, SIDE, SIDE], pixels.collect()), (0..CLASSES).collect())
}

fn unet() -> UnetManifest {
    toml::from_str(
        "model_channels = 32
         num_res_blocks = 1
         channel_mult = [1]
         attention_downsample = []
         num_heads = 1",
    )
    .unwrap()
}

fn plan(objective: Objective, course: Course) -> GeneratorPlan {
    GeneratorPlan {
        config: UnetConfig { arch: unet(), channels: 1, num_classes: Some(CLASSES) },
        diffusion: DiffusionManifest::new(objective.preconditioning()),
        objective,
        optimiser: OptimiserSettings {
            rule: Rule::Adam,
            rate: 3e-3,
            clip: Some(1.0),
            milestones: vec![50, 75],
            gamma: 0.4,
            ..Default::default()
        },
        course,
        dropout: 0.0,
        variety: Variety::default(),
    }
}

fn trainer(plan: GeneratorPlan, teacher: Option<Generator>) -> GeneratorTrainer {
    let helpers = Helpers { teacher, ..Helpers::default() };
    GeneratorTrainer::new(plan, &mut Initial::new(0), helpers, &Device::flex()).unwrap()
}

/// Losses of so many steps with all pictures.
fn losses(trainer: &mut dyn Trainer, steps: usize) -> Vec<f64> {
    let (pictures, labels) = pictures();
    (0..steps).map(|_| trainer.step(&pictures, &labels).unwrap().loss).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Every list, to the bit.
fn kept(trainer: &dyn Trainer) -> Vec<(String, Vec<Vec<u32>>)> {
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    let list = |list: Kept| {
        let tensors = list.tensors.into_iter().map(|(_, _, tensor)| bits(learner::read(tensor).unwrap()));
        (list.name, tensors.collect())
    };
    trainer.kept().into_iter().map(list).collect()
}

/// Everything that was kept, to be taken over.
fn memory(trainer: &dyn Trainer) -> HashMap<(String, String), Vec<f32>> {
    let lists = trainer.kept().into_iter();
    let tensors = lists.flat_map(|list| {
        let name = list.name;
        list.tensors
            .into_iter()
            .map(move |(tensor, _, values)| ((name.clone(), tensor), learner::read(values).unwrap()))
    });
    tensors.collect()
}

/// A network that was trained, opened like any other.
fn opened<M>(
    trainer: &dyn Trainer,
    kind: ManifestKind,
    read: impl Fn(&Manifest, Weights<'_>, &Device) -> Result<(M, LoadReport), CheckpointError>,
) -> M {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let model = trainer.kept().into_iter().find(|list| list.is_network).unwrap();
    let tensors: Vec<_> =
        model.tensors.into_iter().map(|(name, shape, tensor)| (name, shape, learner::read(tensor).unwrap())).collect();
    write(&path, &tensors).unwrap();
    let manifest = Manifest {
        name: "model".to_owned(),
        title: "model".to_owned(),
        file: "model.safetensors".to_owned(),
        sha256: None,
        prefix: None,
        resolution: SIDE,
        width: None,
        channels: 1,
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        source: "a test".to_owned(),
        licence: "none".to_owned(),
        kind,
    };
    let checkpoint = Checkpoint::open(&path).unwrap();
    let (model, report) = read(&manifest, Weights::new(&checkpoint), &Device::flex()).unwrap();
    assert_eq!(report.unused, Vec::<String>::new(), "a trained network is a network like any other");
    model
}

fn edm() -> Objective {
    Objective::Edm { mean: -1.2, deviation: 1.2, weighting: Weighting::Karras }
}

fn training() -> Objective {
    let grid = Grid::Progressive { first: 2, last: 4, decay: 0.9, over: None };
    Objective::ConsistencyTraining { grid, metric: Metric::L2 {}, weighting: Weighting::Uniform }
}

#[test]
fn denoising_and_consistency_learn_a_few_pictures_by_heart_and_a_teacher_teaches_them() {
    const STEPS: usize = 100;
    let course = || Course { steps: STEPS as u64, averages: Vec::new(), ..Course::default() };
    let mut teacher = trainer(plan(edm(), course()), None);
    let tuning = Tightening { every: 40, ..Tightening::default() };
    let easy = Objective::EasyConsistency {
        mean: -1.1,
        deviation: 2.0,
        tightening: tuning,
        metric: Metric::PseudoHuber { c: None },
        weighting: Weighting::Karras,
    };
    let assert_learnt = |what: &str, found: &[f64], part: f64| {
        let (first, last) = (mean(&found[..5]), mean(&found[STEPS - 10..]));
        assert!(last < part * first, "{what}: from {first} to {last}");
    };
    assert_learnt("denoising", &losses(&mut teacher, STEPS), 0.2);
    assert_learnt("training", &losses(&mut trainer(plan(training(), course()), None), STEPS), 0.15);
    assert_learnt("easy", &losses(&mut trainer(plan(easy, course()), None), STEPS), 0.1);

    let halving = Objective::ProgressiveDistillation {
        first: 2,
        every: STEPS as u64,
        metric: Metric::L2 {},
        weighting: Weighting::Uniform,
    };
    let (mut student, taught) = (trainer(plan(halving, course()), None), memory(&teacher));
    let begins = |list: &str, name: &str, shape: &[usize]| match list {
        "model" | "target" => taught[&("model".to_owned(), name.to_owned())].clone(),
        _ => vec![0.0; shape.iter().product()],
    };
    student.take(0, &mut |list, name, shape| Ok(begins(list, name, shape))).unwrap();
    assert_learnt("halving", &losses(&mut student, STEPS), 0.5);

    let diffusion = plan(edm(), course()).diffusion;
    let teacher =
        opened(&teacher, ManifestKind::Generator(GeneratorManifest { unet: unet(), diffusion }), Generator::read);
    let distillation = Objective::ConsistencyDistillation {
        teacher: String::new(),
        grid: Grid::Fixed { points: 4, decay: 0.9 },
        metric: Metric::L2 {},
        weighting: Weighting::Uniform,
    };
    assert_learnt("distillation", &losses(&mut trainer(plan(distillation, course()), Some(teacher)), STEPS), 0.4);
}

#[test]
fn a_resumed_training_goes_on_to_the_identical_next_step() {
    let course = || Course { steps: 10, parts: 2, averages: vec![0.9, 0.99], seed: 3, ..Course::default() };
    let plan = || GeneratorPlan {
        optimiser: OptimiserSettings { rate: 1e-3, weight_decay: 0.01, warm_up: 2, ..Default::default() },
        variety: Variety { flip: true, shift: 1 },
        ..plan(training(), course())
    };
    let mut whole = trainer(plan(), None);
    losses(&mut whole, 2);
    let stored = memory(&whole);
    let expected = losses(&mut whole, 3);
    // Other first weights, which are overwritten.
    let mut resumed =
        GeneratorTrainer::new(plan(), &mut Initial::new(77), Helpers::default(), &Device::flex()).unwrap();
    resumed.take(2, &mut |list, name, _| Ok(stored[&(list.to_owned(), name.to_owned())].clone())).unwrap();
    assert_eq!(losses(&mut resumed, 3), expected);
    assert_eq!(kept(&resumed), kept(&whole));
    let names: Vec<String> = whole.kept().into_iter().map(|list| list.name).collect();
    assert_eq!(names, ["model", "ema_0.9", "ema_0.99", "first_moment", "second_moment", "target"]);
    let mut again = trainer(plan(), None);
    losses(&mut again, 5);
    assert_eq!(kept(&again), kept(&whole), "the same seed, the same training");
    let other = Course { seed: 4, ..course() };
    let mut other = trainer(GeneratorPlan { course: other, ..plan() }, None);
    losses(&mut other, 5);
    assert_ne!(kept(&other), kept(&whole));
}

#[test]
fn at_the_end_of_a_stage_the_network_becomes_its_own_teacher_also_when_resumed_there() {
    let halving =
        Objective::ProgressiveDistillation { first: 4, every: 2, metric: Metric::L2 {}, weighting: Weighting::Uniform };
    let plan = || plan(halving.clone(), Course { steps: 9, averages: vec![0.9], ..Course::default() });
    let mut whole = trainer(plan(), None);
    let numbers = |trainer: &GeneratorTrainer, list: &str| {
        kept(trainer).into_iter().find(|(name, _)| name == list).map(|(_, numbers)| numbers).unwrap()
    };
    losses(&mut whole, 1);
    assert_ne!(numbers(&whole, "target"), numbers(&whole, "model"), "the teacher stays");
    losses(&mut whole, 1);
    assert_eq!(numbers(&whole, "target"), numbers(&whole, "model"));
    let stored = memory(&whole);
    let expected = losses(&mut whole, 5);
    let mut resumed = trainer(plan(), None);
    resumed.take(2, &mut |list, name, _| Ok(stored[&(list.to_owned(), name.to_owned())].clone())).unwrap();
    assert_eq!(losses(&mut resumed, 5), expected);
    assert_eq!(kept(&resumed), kept(&whole));
}

#[test]
fn a_batch_in_parts_is_the_same_batch() {
    let step = |parts| {
        let course = Course { parts, averages: Vec::new(), ..Course::default() };
        let mut trainer = trainer(plan(edm(), course), None);
        let (pictures, labels) = pictures();
        trainer.step(&pictures, &labels).unwrap()
    };
    let (whole, parts) = (step(1), step(3));
    assert!((whole.loss - parts.loss).abs() < 1e-5 * whole.loss, "{whole:?}, {parts:?}");
    assert!((whole.gradient - parts.gradient).abs() < 1e-4 * whole.gradient, "{whole:?}, {parts:?}");
}

fn resnet() -> ResnetManifest {
    toml::from_str(
        "blocks = [1]
         widths = [8]
         shortcut = 'pool'
         stem_kernel = 3
         stem_stride = 1",
    )
    .unwrap()
}

fn classifier(objective: &ClassifierObjective, seed: u64) -> ClassifierTrainer<'static> {
    let plan = ClassifierPlan {
        config: ResnetConfig { arch: resnet(), channels: 1, num_classes: CLASSES },
        normalisation: [vec![0.5], vec![0.25]],
        objective: objective.clone(),
        optimiser: OptimiserSettings { rule: Rule::Adam, rate: 3e-2, ..Default::default() },
        course: Course { averages: vec![0.5], ..Course::default() },
        dropout: 0.0,
        variety: Variety::default(),
    };
    let fakes = matches!(objective, ClassifierObjective::Joint { .. }).then(|| {
        // Noise of every class.
        let made = |step: u64, count: usize| {
            let mut stream = Stream::new(9, Purpose::Sampling(step as u32));
            let pixels = (0..count * SIDE * SIDE).map(|_| stream.uniform() as f32).collect();
            Ok((ImageBatch::new([count, 1, SIDE, SIDE], pixels), (0..count).map(|i| i % CLASSES).collect()))
        };
        Box::new(made) as Box<Fakes<'static>>
    });
    ClassifierTrainer::new(plan, &mut Initial::new(seed), fakes, &Device::flex()).unwrap()
}

fn joint(terms: Terms) -> ClassifierObjective {
    let real = Attack { eps: 0.5, step_size: 0.25, steps: 2, grows_every: None, random_start: true };
    let fake = Attack { eps: 1.0, step_size: 0.2, steps: 2, grows_every: Some(2), random_start: false };
    ClassifierObjective::Joint { terms, real, fake, early_stop: true, fakes: String::new() }
}

#[test]
fn classifiers_learn_a_few_pictures_by_heart_attacked_or_not() {
    let attack = Attack { eps: 0.5, step_size: 0.25, steps: 2, grows_every: None, random_start: false };
    for (objective, part) in [
        (ClassifierObjective::Plain {}, 0.01),
        (ClassifierObjective::Robust { attack }, 0.01),
        (joint(Terms::Bce), 0.1),
        (joint(Terms::Joint), 0.1),
    ] {
        let found = losses(&mut classifier(&objective, 0), 60);
        let (first, last) = (mean(&found[..3]), mean(&found[50..]));
        assert!(last < part * first, "{objective:?}: from {first} to {last}");
    }
}

#[test]
fn a_kind_without_settings_takes_none() {
    let read = |text: &str| toml::from_str::<ClassifierObjective>(text);
    assert_eq!(read("kind = 'plain'").unwrap(), ClassifierObjective::Plain {});
    let error = read("kind = 'plain'\neps = 1.0").unwrap_err().to_string();
    assert!(error.contains("unknown field `eps`"), "{error}");
}

#[test]
fn a_resumed_classifier_goes_on_to_the_identical_next_step_with_its_statistics() {
    let mut whole = classifier(&joint(Terms::Joint), 0);
    losses(&mut whole, 3);
    let stored = memory(&whole);
    let expected = losses(&mut whole, 2);
    let mut resumed = classifier(&joint(Terms::Joint), 5);
    resumed.take(3, &mut |list, name, _| Ok(stored[&(list.to_owned(), name.to_owned())].clone())).unwrap();
    assert_eq!(losses(&mut resumed, 2), expected);
    assert_eq!(kept(&resumed), kept(&whole));
    let moved = |name: &str| stored[&("model".to_owned(), name.to_owned())].clone();
    assert!(moved("bn1.running_mean").iter().all(|mean| *mean != 0.0), "batches have left their statistics");
    assert!(moved("bn1.running_var").iter().all(|var| *var > 0.0));
}
