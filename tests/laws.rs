//! What must hold of every refinement, whatever the numbers: checked with the demo's classifiers on stored pictures.

use burn::tensor::Device;
use lapidary::classifier::Classifier;
use lapidary::image::ImageBatch;
use lapidary::parameter::Choosable as _;
use lapidary::refiner::{
    Batch, Chunks, Norm, Objective, RefineError, RefineSettings, Refiner, SampleState, State, evaluate, logits,
};

use self::close::assert_close;
use self::golden::Golden;
use self::models::classifier;

#[path = "support/cache.rs"]
mod cache;
#[path = "support/close.rs"]
mod close;
#[path = "support/golden.rs"]
mod golden;
#[path = "support/models.rs"]
mod models;
#[path = "laws/rules.rs"]
mod rules;

/// The same arithmetic in batches of another size: sums may be taken in another order, five times in a row.
const ORDER: f32 = 1e-5;
/// Rounding of 3072 single-precision pixels.
const BALL: f32 = 1e-6;

const WHOLE: Chunks = Chunks { size: 64, pad: false, at_once: 1 };

/// What a refinement starts with.
#[derive(Clone)]
struct Start {
    origin: ImageBatch,
    from: Option<(u32, ImageBatch)>,
    labels: Vec<usize>,
    seeds: Vec<u64>,
    references: Vec<f64>,
    chunks: Chunks,
}

impl Start {
    /// The four stored pictures with their labels.
    fn stored() -> Self {
        let golden = Golden::open("demo/demo.safetensors");
        let labels = golden.indices("y").to_vec();
        Self {
            origin: golden.images("origin"),
            from: None,
            labels,
            seeds: vec![10, 11, 12, 13],
            references: Vec::new(),
            chunks: WHOLE,
        }
    }

    /// Only some of the pictures.
    fn only(&self, wanted: &[usize]) -> Self {
        let pictures: Vec<ImageBatch> = wanted.iter().map(|i| self.origin.slice(*i, *i + 1)).collect();
        Self {
            origin: ImageBatch::concat(&pictures),
            labels: wanted.iter().map(|i| self.labels[*i]).collect(),
            seeds: wanted.iter().map(|i| self.seeds[*i]).collect(),
            ..self.clone()
        }
    }

    fn try_begin(&self, classifier: &Classifier, settings: RefineSettings) -> Result<(Refiner, State), RefineError> {
        let Self { origin, from, labels, seeds, references, chunks } = self.clone();
        let batch = Batch { origin, from, labels, seeds, references };
        Refiner::start(classifier, batch, settings, (chunks, Device::flex()))
    }

    fn begin(&self, classifier: &Classifier, settings: RefineSettings) -> (Refiner, State) {
        self.try_begin(classifier, settings).expect("pictures and classifier fit")
    }

    /// All states of so many iterations.
    fn run(&self, classifier: &Classifier, settings: RefineSettings, iterations: usize) -> Vec<State> {
        let (mut refiner, first) = self.begin(classifier, settings);
        let mut states = vec![first];
        for _ in 0..iterations {
            states.push(refiner.step(classifier).expect("the CPU does not fail"));
        }
        states
    }
}

fn l2(eps: f64) -> RefineSettings {
    RefineSettings { eps, step_size: 0.3, ..Default::default() }
}

fn linf(eps: f64) -> RefineSettings {
    RefineSettings { norm: Norm::Linf, eps, step_size: eps / 3.0, ..Default::default() }
}

/// Distances of every picture from the origin, as measured here and as reported.
fn assert_in_ball(state: &State, origin: &ImageBatch, norm: Norm, eps: f64, moment: &str) {
    let reported = match norm {
        Norm::L2 => &state.numbers.delta_l2,
        Norm::Linf => &state.numbers.delta_linf,
    };
    for (i, reported) in reported.iter().enumerate() {
        let distance = norm.distance(state.images.sample(i), origin.sample(i));
        let k = state.iteration;
        assert!(distance <= eps + f64::from(BALL), "{moment}: picture {i} of state {k} is {distance} from its origin");
        assert!(
            (distance - f64::from(*reported)).abs() < 1e-6,
            "{moment}: state {k} reports {reported}, not {distance}"
        );
        let outside = state.images.sample(i).iter().filter(|value| !(0.0..=1.0).contains(*value)).count();
        assert_eq!(outside, 0, "{moment}: values of picture {i} of state {k} outside [0, 1]");
    }
}

#[test]
fn recording_gradients_does_not_change_the_logits() {
    let classifier = classifier("gtsrb12-joint");
    let x = Start::stored().origin.to_tensor(&Device::flex());
    let plain = classifier.logits(x.clone()).into_data().try_into_vec::<f32>().unwrap();
    let recorded = classifier.logits(x.autodiff().require_grad()).without_autodiff();
    let recorded = recorded.into_data().try_into_vec::<f32>().unwrap();
    // There is no training mode; only the order of summation could differ, on values below 20.
    assert_close("logits", &recorded, &plain, 1e-5, 0.0);
}

#[test]
fn refining_leaves_the_classifier_as_it_was() {
    let (start, device) = (Start::stored(), Device::flex());
    for name in ["gtsrb12-joint", "gtsrb12-robust"] {
        let classifier = classifier(name);
        let judge = |chunks| logits(&classifier, &start.origin, chunks, &device).expect("the CPU does not fail");
        let before = judge(Chunks::CPU);
        let states = start.run(&classifier, l2(2.0), 3);
        assert_eq!(judge(Chunks::CPU), before, "{name}");
        let padded = judge(Chunks { size: 3, pad: true, at_once: 1 });
        assert_close("logits without and with a gradient", &padded, &states[0].numbers.logits, 1e-4, 1e-4);
    }
}

#[test]
fn k_iterations_have_k_plus_one_states_and_the_first_is_the_origin() {
    let start = Start::stored();
    let states = start.run(&classifier("gtsrb12-joint"), l2(2.0), 3);
    assert_eq!(states.iter().map(|state| state.iteration).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(states[0].images, start.origin);
    assert_eq!(states[0].numbers.step_l2, [0.0; 4]);
    assert_eq!(states[0].numbers.delta_l2, [0.0; 4]);
}

#[test]
fn every_state_lies_in_the_ball_also_after_the_radius_shrinks() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    for (wide, narrow) in [(l2(1.2), l2(0.5)), (linf(0.06), linf(0.02))] {
        let (mut refiner, mut state) = start.begin(&classifier, wide.clone());
        for _ in 0..6 {
            assert_in_ball(&state, &start.origin, wide.norm, wide.eps, "before the change");
            state = refiner.step(&classifier).unwrap();
        }
        let furthest = |state: &State| {
            (0..4).map(|i| wide.norm.distance(state.images.sample(i), start.origin.sample(i))).fold(0.0, f64::max)
        };
        assert!(furthest(&state) > narrow.eps + 0.001, "the change has something to do: {}", furthest(&state));
        refiner.set_settings(&classifier, narrow.clone()).unwrap();
        for _ in 0..3 {
            state = refiner.step(&classifier).unwrap();
            assert_in_ball(&state, &start.origin, narrow.norm, narrow.eps, "after the change");
        }
    }
}

#[test]
fn a_branch_keeps_the_centre_of_the_ball() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    let states = start.run(&classifier, l2(1.2), 5);
    let branch = Start { from: Some((5, states[5].images.clone())), ..start.clone() };
    let settings = RefineSettings { objective: Objective::Ce, ..l2(1.2) };
    let branched = branch.run(&classifier, settings, 4);
    assert_eq!(branched[0].images, states[5].images, "it starts where the other run was");
    assert_eq!(branched.iter().map(|state| state.iteration).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
    for state in &branched {
        assert_in_ball(state, &start.origin, Norm::L2, 1.2, "in the branch");
    }
    assert!(branched[0].numbers.delta_l2.iter().all(|delta| *delta > 1.0), "distances count from the origin");
}

#[test]
fn results_do_not_depend_on_how_the_batch_is_cut() {
    let classifier = classifier("gtsrb12-joint");
    let cut = |chunks| Start { chunks, ..Start::stored() }.run(&classifier, l2(3.0), 5);
    let one = cut(Chunks::CPU);
    for (other, name) in [
        (cut(Chunks { size: 3, pad: false, at_once: 1 }), "chunks of 3"),
        (cut(Chunks { size: 3, pad: true, at_once: 1 }), "padded chunks of 3"),
    ] {
        for (k, (a, b)) in one.iter().zip(&other).enumerate() {
            assert_close(&format!("{name}, state {k}"), b.images.pixels(), a.images.pixels(), ORDER, 0.0);
            assert_close(&format!("{name}, logits {k}"), &b.numbers.logits, &a.numbers.logits, 1e-4, 1e-4);
            assert_eq!(b.numbers.state, a.numbers.state, "{name}, state {k}");
        }
    }
}

#[test]
fn a_picture_is_refined_alike_in_any_company() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    let settings = RefineSettings { random_start: true, ..l2(2.0) };
    let all = start.run(&classifier, settings.clone(), 4);
    let some = start.only(&[3, 1]).run(&classifier, settings, 4);
    for (k, (all, some)) in all.iter().zip(&some).enumerate() {
        assert_close(&format!("picture 3 of state {k}"), some.images.sample(0), all.images.sample(3), ORDER, 0.0);
        assert_close(&format!("picture 1 of state {k}"), some.images.sample(1), all.images.sample(1), ORDER, 0.0);
    }
}

#[test]
fn random_starts_lie_in_the_ball_repeat_and_differ_between_seeds() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    for settings in [l2(1.0), linf(0.03)] {
        let settings = RefineSettings { random_start: true, ..settings };
        let (_, first) = start.begin(&classifier, settings.clone());
        let (_, again) = start.begin(&classifier, settings.clone());
        assert_in_ball(&first, &start.origin, settings.norm, settings.eps, "at the start");
        assert_eq!(first.images, again.images);
        for i in 0..4 {
            let distance = settings.norm.distance(first.images.sample(i), start.origin.sample(i));
            assert!(distance > 0.5 * settings.eps, "picture {i} moved by {distance} only");
        }
        let other = Start { seeds: vec![20, 11, 12, 13], ..start.clone() };
        let (_, other) = other.begin(&classifier, settings);
        assert_ne!(other.images.sample(0), first.images.sample(0), "another seed, another start");
        assert_eq!(other.images.sample(1), first.images.sample(1), "the other pictures keep theirs");
    }
}

/// The robust classifier is made so sure of picture 3 that its cross-entropy is flat to the last bit; picture 0 has a
/// target that it does not believe in.
fn sure_and_unsure(classifier: &Classifier) -> Start {
    let stored = Start::stored();
    let settings = RefineSettings { eps: 12.0, step_size: 0.5, ..Default::default() };
    let sure = stored.only(&[3]).run(classifier, settings, 30).pop().expect("31 states");
    let pictures = [sure.images, stored.origin.slice(0, 1)];
    Start {
        origin: ImageBatch::concat(&pictures),
        labels: vec![stored.labels[3], (stored.labels[0] + 1) % 12],
        seeds: vec![0, 1],
        ..stored
    }
}

#[test]
fn a_vanished_gradient_stops_its_own_picture_only_until_the_objective_changes() {
    let classifier = classifier("gtsrb12-robust");
    let start = sure_and_unsure(&classifier);
    let settings = RefineSettings { objective: Objective::Ce, ..l2(2.0) };

    let (mut refiner, first) = start.begin(&classifier, settings.clone());
    assert_eq!(
        first.numbers.state,
        [SampleState::ZeroGradient, SampleState::Active],
        "{:?}",
        first.numbers.gradient_l2
    );
    let alone = start.only(&[1]).run(&classifier, settings.clone(), 3);
    let mut state = first;
    for (k, alone) in alone.iter().enumerate().skip(1) {
        state = refiner.step(&classifier).unwrap();
        assert_eq!(state.images.sample(0), start.origin.sample(0), "it stays at state {k}");
        assert_eq!(state.numbers.state[0], SampleState::ZeroGradient);
        assert_close(
            &format!("its neighbour at state {k}"),
            state.images.sample(1),
            alone.images.sample(0),
            ORDER,
            0.0,
        );
    }
    assert!(state.numbers.step_l2[1] > 0.01, "the neighbour moves: {:?}", state.numbers.step_l2);

    let awake = RefineSettings { objective: Objective::TargetLogit, ..settings };
    refiner.set_settings(&classifier, awake).unwrap();
    state = refiner.step(&classifier).unwrap();
    assert_eq!(state.numbers.state, [SampleState::Active, SampleState::Active]);
    assert!(state.numbers.step_l2[0] > 0.01, "it moves again: {:?}", state.numbers.step_l2);
}

#[test]
fn what_did_not_move_is_not_evaluated_again() {
    let classifier = classifier("gtsrb12-robust");
    let start = sure_and_unsure(&classifier);
    let settings = RefineSettings { objective: Objective::Ce, ..l2(2.0) };
    for chunks in [Chunks::CPU, Chunks::gpu(2)] {
        let (mut refiner, first) = Start { chunks, ..start.clone() }.begin(&classifier, settings.clone());
        assert_eq!(first.numbers.state, [SampleState::ZeroGradient, SampleState::Active]);
        // Another judge would see it at once, if it were asked.
        let state = refiner.step(&models::classifier("gtsrb12-joint")).unwrap();
        assert_eq!(state.numbers.logits_of(0), first.numbers.logits_of(0), "{chunks:?}");
        assert_ne!(state.numbers.logits_of(1), first.numbers.logits_of(1), "{chunks:?}");
    }
}

#[test]
fn state_0_shares_the_pixels_of_the_origin() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    let (_, first) = start.begin(&classifier, l2(2.0));
    assert!(std::ptr::eq(first.images.pixels(), start.origin.pixels()), "no copy");
    // Where it cannot, it is clamped as any other state.
    let pixels = start.origin.pixels().iter().map(|value| value + 0.5).collect();
    let (_, first) =
        Start { origin: ImageBatch::new(start.origin.shape(), pixels), ..start }.begin(&classifier, l2(2.0));
    assert!(first.images.pixels().iter().all(|value| *value <= 1.0));
    assert!(first.numbers.clipped.iter().all(|share| *share > 0.0));
}

#[test]
fn a_picture_that_is_not_a_number_stops_and_touches_no_other() {
    let classifier = classifier("gtsrb12-joint");
    let start = Start::stored();
    let mut pixels = start.origin.pixels().to_vec();
    pixels[start.origin.sample_len() + 500] = f32::NAN;
    let broken = Start { origin: ImageBatch::new(start.origin.shape(), pixels), ..start.clone() };
    for settings in [l2(2.0), linf(0.03)] {
        let whole = start.run(&classifier, settings.clone(), 3);
        let states = broken.run(&classifier, settings, 3);
        for (k, (state, whole)) in states.iter().zip(&whole).enumerate() {
            assert_eq!(state.numbers.state[1], SampleState::NotFinite, "state {k}");
            for i in [0, 2, 3] {
                assert_eq!(state.numbers.state[i], SampleState::Active, "picture {i} of state {k}");
                let name = format!("picture {i} of state {k}");
                assert_close(&name, state.images.sample(i), whole.images.sample(i), ORDER, 0.0);
            }
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    /// Half the distance of the two points: large enough that rounding of the logits (about 1e-6) is divided down to
    /// 1e-4, small enough that few `ReLU`s change sides in between.
    const STEP: f32 = 5e-3;
    let classifier = classifier("gtsrb12-joint");
    let start = Start::stored();
    let device = Device::flex();
    let value = |objective: Objective, pixels: Vec<f32>| {
        let images = ImageBatch::new(start.origin.shape(), pixels);
        evaluate(&classifier, &images, &start.labels, objective, WHOLE, &device).unwrap().objective
    };
    for objective in Objective::ALL.iter().copied() {
        let here = evaluate(&classifier, &start.origin, &start.labels, objective, WHOLE, &device).unwrap();
        let len = start.origin.sample_len();
        for i in 0..4 {
            let gradient = &here.gradient[i * len..(i + 1) * len];
            let mut order: Vec<usize> = (0..len).collect();
            order.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()));
            // The steepest pixels, where the difference stands out of the rounding.
            for pixel in &order[..3] {
                let moved = |by: f32| {
                    let mut pixels = start.origin.pixels().to_vec();
                    pixels[i * len + pixel] += by;
                    value(objective, pixels)[i]
                };
                let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                // 5e-4 for rounding; 8 % for the kinks and the curvature between the two points.
                let name = format!("{objective:?}, picture {i}, value {pixel}");
                assert_close(&name, &[gradient[*pixel]], &[slope], 5e-4, 0.08);
            }
        }
    }
}
