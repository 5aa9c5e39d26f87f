//! Boosting: one call learns what refinement gives.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::classifier::Classifier;
use crate::net::unet::Unet;
use crate::refiner::{Chunks, RefineSettings};
use crate::zoo::ClassifierManifest;

/// Pictures by name, and the names in the order in which they were put there.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<(String, Refined)>>>);

impl Memory {
    fn names(&self) -> Vec<String> {
        self.0.borrow().iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Shelf for Memory {
    fn take(&mut self, name: &str, shape: [usize; 4]) -> Option<Refined> {
        let found = self.0.borrow().iter().find(|(known, _)| known == name).map(|(_, refined)| refined.clone())?;
        assert_eq!(found.pictures.shape(), shape);
        Some(found)
    }

    fn put(&mut self, name: &str, refined: &Refined) -> Result<(), CheckpointError> {
        self.0.borrow_mut().push((name.to_owned(), refined.clone()));
        Ok(())
    }
}

fn boosting(bank: usize) -> Boosting {
    let refine =
        RefineSettings { eps: 2.0, step_size: 0.5, iterations: std::num::NonZeroU32::new(5), ..Default::default() };
    Boosting { bank, held_out: 10, refine, ..Boosting::default() }
}

/// A generator of grey pictures, which a classifier that knows better is to colour.
fn boosted(bank: usize, shelf: &Memory, first_weights: u64) -> GeneratorTrainer {
    let boosting = boosting(bank);
    let course = Course { batch: 4, steps: 100, averages: Vec::new(), seed: 1, ..Course::default() };
    let plan = plan(Objective::Boosted(boosting.clone()), course);
    let mut judge = classifier(&ClassifierObjective::Plain {}, 0);
    losses(&mut judge, 60);
    let kind = ClassifierManifest { resnet: resnet(), mean: vec![0.5], std: vec![0.25] };
    let judge = opened(&judge, ManifestKind::Classifier(kind), Classifier::read);
    let net = Unet::load(plan.config.clone(), &mut Initial::new(0), &Device::flex()).unwrap();
    let classes: Vec<String> = (0..CLASSES).map(|class| class.to_string()).collect();
    let generator = Generator::of(net, &plan.diffusion, [1, SIDE, SIDE], classes);
    let compute = (Chunks::CPU, Device::flex());
    let booster =
        Booster::new((generator, judge), boosting.refine.clone(), (0..CLASSES).collect(), plan.course.seed, compute);
    let bank = Bank::new(booster, Box::new(shelf.clone()), &boosting, plan.course.batch);
    let helpers = Helpers { bank: Some(bank), ..Helpers::default() };
    GeneratorTrainer::new(plan, &mut Initial::new(first_weights), helpers, &Device::flex()).unwrap()
}

/// Losses of so many steps.
fn taught(trainer: &mut GeneratorTrainer, steps: usize) -> Vec<f64> {
    (0..steps).map(|_| trainer.step(&none(), &[]).unwrap().loss).collect()
}

fn none() -> ImageBatch {
    ImageBatch::new([0, 1, SIDE, SIDE], Vec::new())
}

#[test]
fn one_call_learns_what_refinement_gives() {
    let shelf = Memory::default();
    let mut trainer = boosted(8, &shelf, 0);
    let recovered = |trainer: &mut GeneratorTrainer| {
        let found = trainer.validate(&none(), &[]).unwrap().unwrap();
        assert_eq!(found.pictures, 10);
        let [before, now, refined, share] = [0, 1, 2, 3].map(|i| found.numbers[i].1.unwrap());
        assert!(refined > before + 1.0, "refinement has something to give: {}", found.words());
        assert!((share - (now - before) / (refined - before)).abs() < 1e-12);
        share
    };
    let parts: Vec<_> = std::iter::from_fn(|| trainer.prepare().unwrap()).collect();
    assert_eq!(parts, [(4, 18), (8, 18), (12, 18), (16, 18), (18, 18)], "all are made before the first step");
    assert_eq!(recovered(&mut trainer), 0.0, "it begins as what it was");
    let losses = taught(&mut trainer, 60);
    assert!(mean(&losses[50..]) < 0.3 * mean(&losses[..5]), "{losses:?}");
    let share = recovered(&mut trainer);
    assert!(share > 0.5, "{share}");
    let names = shelf.names();
    assert_eq!(names, ["000000", "000001", "held_out_000000", "held_out_000001", "held_out_000002"]);
}

#[test]
fn refined_pictures_are_made_once_and_a_resumed_training_sees_the_same() {
    let shelf = Memory::default();
    let mut whole = boosted(8, &shelf, 0);
    let first = taught(&mut whole, 3);
    let stored = memory(&whole);
    let expected = taught(&mut whole, 3);
    let mut resumed = boosted(8, &shelf, 7);
    resumed.take(3, &mut |list, name, _| Ok(stored[&(list.to_owned(), name.to_owned())].clone())).unwrap();
    assert_eq!(taught(&mut resumed, 3), expected);
    assert_eq!(kept(&resumed), kept(&whole));
    assert_eq!(shelf.names(), ["000000", "000001"], "nothing is made twice");
    // Also where what was kept is lost.
    let mut again = boosted(8, &Memory::default(), 7);
    again.take(3, &mut |list, name, _| Ok(stored[&(list.to_owned(), name.to_owned())].clone())).unwrap();
    assert_eq!(taught(&mut again, 3), expected);
    // Without a bank the first steps are the same, and no later one is made of pictures that were seen.
    let endless = Memory::default();
    let found = taught(&mut boosted(0, &endless, 0), 3);
    assert_eq!((&found[..2], endless.names()), (&first[..2], Vec::new()));
    assert_ne!(found[2], first[2]);
}

#[test]
fn settings_of_refinement_are_read_with_every_mistake() {
    let read = |text: &str| toml::from_str::<Objective>(&format!("kind = 'boosted'\n{text}"));
    let Objective::Boosted(found) = read("bank = 64\n[refine]\neps = 1.5\niterations = 7").unwrap() else { panic!() };
    assert_eq!((found.bank, found.refine.eps, found.refine.step_size), (64, 1.5, 0.3));
    let text = toml::to_string(&Objective::Boosted(found.clone())).unwrap();
    assert_eq!(toml::from_str::<Objective>(&text).unwrap(), Objective::Boosted(found));
    let error = read("[refine]\nradius = 1.5").unwrap_err().to_string();
    assert!(error.contains("unknown field `radius`") && error.contains("`eps`"), "{error}");
    let problem = |boosting: Boosting| boosting.problem().map(|(what, _)| what);
    assert_eq!(problem(Boosting::default()), None);
    let course = Course { batch: 100, steps: 50, ..Course::default() };
    let learnt = |bank| Boosting { bank, ..Boosting::default() }.pictures(&course);
    assert_eq!([10, 4096, 9000, 0].map(learnt), [(100, 256), (4100, 256), (5000, 256), (5000, 256)]);
    let wide = RefineSettings { eps: -1.0, ..RefineSettings::default() };
    assert!(problem(Boosting { refine: wide, ..Boosting::default() }).unwrap().contains("Radius"));
    for (line, expected) in [
        ("consistency = nan", "consistency = NaN"),
        ("mean = nan", "mean = NaN"),
        ("deviation = nan", "deviation = NaN"),
        ("tightening.q = nan", "q = NaN"),
        ("tightening.k = -1.0", "k = -1"),
        ("tightening.b = nan", "b = NaN"),
        ("tightening.every = 0", "every = 0"),
        ("refine.eps = nan", "Radius = NaN"),
        ("metric = { kind = 'pseudo-huber', c = nan }", "c = NaN"),
    ] {
        let refused = read(line).unwrap().problem().map(|(what, _)| what).unwrap_or_default();
        assert!(refused.starts_with(expected), "{line}: {refused:?}");
    }
}
