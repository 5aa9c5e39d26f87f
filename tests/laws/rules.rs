//! Laws of the rules without a ball, of targets, restarts and early stopping.

use burn::tensor::Device;
use lapidary::classifier::top_classes;
use lapidary::image::ImageBatch;
use lapidary::noise::{Purpose, Stream, normal_noise};
use lapidary::refiner::{
    Chunks, Norm, Objective, RefineError, RefineSettings, Rule, SampleState, State, Target, evaluate, langevin_step,
    pseudo_labels, reality,
};

use crate::close::assert_close;
use crate::models::classifier;
use crate::{ORDER, Start, WHOLE, l2, linf, sure_and_unsure};

fn sgld(noise: f64) -> RefineSettings {
    RefineSettings { rule: Rule::Sgld, step_size: 0.5, gradient_divisor: 5.0, noise, ..Default::default() }
}

/// One picture at a time, so that results are equal to the last bit in any company.
fn one_by_one() -> Start {
    Start { chunks: Chunks::CPU, ..Start::stored() }
}

#[test]
fn langevin_states_are_the_clamped_path_that_the_samples_seeds_draw() {
    let (start, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    // Enough noise to leave [0, 1] often.
    let settings = sgld(0.2);
    let states = start.run(&classifier, settings.clone(), 4);
    let mut x = start.origin.pixels().to_vec();
    for (k, state) in (0..).zip(&states) {
        let clamped: Vec<f32> = x.iter().map(|value| value.clamp(0.0, 1.0)).collect();
        assert_eq!(state.images.pixels(), clamped, "state {k}");
        let images = ImageBatch::new(start.origin.shape(), x.clone());
        let objective = settings.objective;
        let here = evaluate(&classifier, &images, &start.labels, objective, start.chunks, &Device::flex()).unwrap();
        assert_eq!(state.numbers.objective, here.objective, "state {k}: before the clamp");
        let draw = normal_noise(&start.seeds, Purpose::Langevin(k), start.origin.sample_len());
        langevin_step(&mut x, &here.gradient, 0.1, &draw, 0.2);
    }
    assert_eq!(states[0].numbers.clipped, [0.0; 4]);
    assert!(states[4].numbers.clipped.iter().all(|share| *share > 0.05), "{:?}", states[4].numbers.clipped);
}

#[test]
fn gradient_ascent_takes_raw_steps_and_knows_no_ball() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    let settings = RefineSettings { rule: Rule::Ascent, eps: 0.01, step_size: 0.2, ..Default::default() };
    let device = Device::flex();
    let here = evaluate(&classifier, &start.origin, &start.labels, settings.objective, WHOLE, &device).unwrap();
    let states = start.run(&classifier, settings, 1);
    let moved = start.origin.pixels().iter().zip(&here.gradient);
    let expected: Vec<f32> = moved.map(|(x, g)| (x + 0.2 * g).clamp(0.0, 1.0)).collect();
    assert_close("state 1", states[1].images.pixels(), &expected, 1e-6, 0.0);
    assert!(states[1].numbers.delta_l2.iter().all(|delta| *delta > 0.05), "{:?}", states[1].numbers.delta_l2);
}

#[test]
fn noise_and_restarts_are_each_pictures_own() {
    let (start, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    let restarts = RefineSettings { restarts: 3, ..l2(1.0) };
    for settings in [sgld(0.01), restarts.clone(), RefineSettings { random_start: true, ..restarts }] {
        let all = start.only(&[0, 1, 2]).run(&classifier, settings.clone(), 3);
        let alone = start.only(&[2]).run(&classifier, settings.clone(), 3);
        for (k, (all, alone)) in all.iter().zip(&alone).enumerate() {
            assert_eq!(alone.images.sample(0), all.images.sample(2), "{:?}, state {k}", settings.rule);
            assert_eq!(alone.numbers.objective[0], all.numbers.objective[2], "{:?}, state {k}", settings.rule);
        }
    }
}

#[test]
fn noise_moves_a_picture_whose_gradient_vanished() {
    let classifier = classifier("gtsrb12-robust");
    let start = sure_and_unsure(&classifier);
    for (noise, expected) in [(0.0, SampleState::ZeroGradient), (0.01, SampleState::Active)] {
        let settings = RefineSettings { objective: Objective::Ce, ..sgld(noise) };
        let states = start.run(&classifier, settings, 1);
        assert_eq!(states[0].numbers.state, [expected, SampleState::Active]);
        assert_eq!(states[1].numbers.step_l2[0] > 0.0, noise > 0.0, "noise {noise}");
    }
}

#[test]
fn with_restarts_every_state_shows_the_best_of_runs_in_lockstep() {
    let (start, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    for settings in [l2(1.0), linf(0.03)] {
        let together = start.run(&classifier, RefineSettings { restarts: 3, ..settings.clone() }, 3);
        let runs: Vec<Vec<State>> = (0..3)
            .map(|copy| {
                let start_of = |sample: usize| {
                    let (origin, mut stream) =
                        (start.origin.sample(sample), Stream::new(start.seeds[sample], Purpose::Restart(copy)));
                    if copy == 0 {
                        origin.to_vec()
                    } else {
                        settings.norm.random_start(origin, settings.eps, &mut stream)
                    }
                };
                let pixels = (0..4).flat_map(start_of).collect();
                let from = Some((0, ImageBatch::new(start.origin.shape(), pixels)));
                Start { from, ..start.clone() }.run(&classifier, settings.clone(), 3)
            })
            .collect();
        for (k, state) in together.iter().enumerate() {
            for i in 0..4 {
                let objective = |run: &&Vec<State>| run[k].numbers.objective[i];
                let best = runs.iter().max_by(|a, b| objective(a).total_cmp(&objective(b))).unwrap();
                assert_eq!(state.numbers.objective[i], objective(&best), "picture {i} of state {k}");
                assert_eq!(state.images.sample(i), best[k].images.sample(i), "picture {i} of state {k}");
                assert_eq!(state.numbers.logits_of(i), best[k].numbers.logits_of(i), "picture {i} of state {k}");
            }
        }
    }
}

#[test]
fn the_number_of_restarts_is_that_of_the_start() {
    let (start, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    let settings = RefineSettings { restarts: 2, ..l2(1.0) };
    let undisturbed = start.run(&classifier, settings.clone(), 2);
    let (mut refiner, _) = start.begin(&classifier, settings.clone());
    refiner.set_settings(&classifier, RefineSettings { restarts: 5, ..settings.clone() }).unwrap();
    refiner.step(&classifier).unwrap();
    assert_eq!(refiner.step(&classifier).unwrap(), undisturbed[2]);

    let branch = Start { from: Some((2, undisturbed[2].images.clone())), ..start };
    let branched = branch.run(&classifier, settings, 0);
    assert_eq!(branched[0].images, undisturbed[2].images, "a branch goes on with what was shown");
}

#[test]
fn a_picture_as_real_as_its_reference_stops_alone() {
    let (start, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    let free = start.run(&classifier, l2(2.0), 4);
    let real: Vec<Vec<f64>> = free.iter().map(|state| reality(&state.numbers.logits, 4)).collect();
    let before = real[0][1].max(real[1][1]);
    assert!(real[2][1] > before, "picture 1 becomes more real: {real:?}");
    // Picture 0 is real enough from the start, picture 1 from state 2 on; nothing is more real than 1.
    let references = vec![0.0, f64::midpoint(before, real[2][1]), 1.0, 1.0];
    let watched = Start { references, ..start.clone() };
    let settings = RefineSettings { early_stop: true, ..l2(2.0) };
    let states = watched.run(&classifier, settings.clone(), 4);
    for (k, state) in states.iter().enumerate() {
        let second = if k < 2 { SampleState::Active } else { SampleState::Stopped };
        let expected = [SampleState::Stopped, second, SampleState::Active, SampleState::Active];
        assert_eq!(state.numbers.state, expected, "state {k}");
        assert_eq!(state.images.sample(0), start.origin.sample(0), "state {k}");
        assert_eq!(state.images.sample(1), free[k.min(2)].images.sample(1), "state {k}");
        for i in [2, 3] {
            assert_eq!(state.images.sample(i), free[k].images.sample(i), "picture {i} of state {k}");
        }
    }

    let (mut refiner, _) = watched.begin(&classifier, settings);
    refiner.set_settings(&classifier, l2(2.0)).unwrap();
    let state = refiner.step(&classifier).unwrap();
    assert_eq!(state.images, free[1].images, "without the rule all move again");
}

#[test]
fn early_stopping_pairs_references_in_turn_and_without_any_nothing_stops() {
    let (start, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    let settings = RefineSettings { early_stop: true, ..l2(2.0) };
    let paired = Start { references: vec![0.0, 1.0], ..start.clone() };
    let (_, first) = paired.begin(&classifier, settings.clone());
    let (stopped, active) = (SampleState::Stopped, SampleState::Active);
    assert_eq!(first.numbers.state, [stopped, active, stopped, active]);

    let (_, first) = start.begin(&classifier, settings);
    assert_eq!(first.numbers.state, [active; 4]);
}

#[test]
fn untargeted_refinement_leads_away_from_the_label() {
    let (start, classifier) = (Start::stored(), classifier("gtsrb12-joint"));
    let settings = RefineSettings { target: Target::Untargeted, ..l2(2.0) };
    let states = start.run(&classifier, settings, 5);
    for (i, label) in start.labels.iter().enumerate() {
        let logit = |k: usize| states[k].numbers.logits_of(i)[*label];
        assert!(logit(5) < logit(0) - 0.5, "picture {i}: {} to {}", logit(0), logit(5));
        for k in [0, 5] {
            assert_eq!(states[k].numbers.objective[i], -logit(k), "what is ascended is the negative");
        }
    }
}

#[test]
fn pseudo_labels_are_what_the_classifier_sees_in_the_origin() {
    let (stored, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    let logits = stored.begin(&classifier, l2(2.0)).1.numbers.logits;
    let seen: Vec<usize> = logits.chunks(12).map(|row| top_classes(row, 1)[0]).collect();
    // Labels that no classifier could mean, and a start far from the origin.
    let start = Start { labels: vec![usize::MAX; 4], ..stored.clone() };
    let settings = RefineSettings { target: Target::PseudoLabel, random_start: true, ..l2(2.0) };
    let (refiner, state) = start.begin(&classifier, settings.clone());
    assert_eq!(refiner.targets(), seen);
    let objective: Vec<f32> = seen.iter().enumerate().map(|(i, class)| state.numbers.logits_of(i)[*class]).collect();
    assert_eq!(state.numbers.objective, objective);

    let (refiner, _) = start.begin(&classifier, RefineSettings { debias: true, ..settings });
    assert_eq!(refiner.targets(), pseudo_labels(&logits, 4, true));
    let refused = start.try_begin(&classifier, l2(2.0)).unwrap_err();
    assert!(matches!(refused, RefineError::Label { .. }), "{refused}");
}

#[test]
fn another_target_or_rule_takes_effect_with_the_next_iteration() {
    let (stored, classifier) = (one_by_one(), classifier("gtsrb12-joint"));
    // Wrong labels, so that a pseudo-label is another class.
    let labels: Vec<usize> = stored.labels.iter().map(|label| (label + 1) % 12).collect();
    let start = Start { labels: labels.clone(), ..stored };
    for settings in [
        RefineSettings { target: Target::PseudoLabel, ..l2(2.0) },
        RefineSettings { target: Target::Untargeted, ..l2(2.0) },
        RefineSettings { rule: Rule::Ascent, ..l2(2.0) },
        sgld(0.01),
    ] {
        let (mut refiner, _) = start.begin(&classifier, l2(2.0));
        refiner.set_settings(&classifier, settings.clone()).unwrap();
        let changed = refiner.step(&classifier).unwrap();
        let afresh = start.run(&classifier, settings.clone(), 1);
        assert_eq!(changed, afresh[1], "{settings:?}");
        assert_ne!(changed.images, start.run(&classifier, l2(2.0), 1)[1].images, "{settings:?}");
        refiner.set_settings(&classifier, l2(2.0)).unwrap();
        assert_eq!(refiner.targets(), labels);
        let distance = |state: &State, i: usize| Norm::L2.distance(state.images.sample(i), start.origin.sample(i));
        let back = refiner.step(&classifier).unwrap();
        assert!((0..4).all(|i| distance(&back, i) <= 2.0 + f64::from(ORDER)), "back in the ball");
    }
}
