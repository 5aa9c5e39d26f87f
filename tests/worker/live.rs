//! The numbers beside a run come from a thread of their own, the newest first, and to statistics that `lapidary evaluate` saved.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lapidary::data::{SeenStatistics, Sight};
use lapidary::export::write_statistics;
use lapidary::image::{ImageBatch, in_levels};
use lapidary::metrics::{Anchor, Features, Real, Statistics};
use lapidary::refiner::Chunks;
use lapidary::refiner::evaluate::features;
use lapidary::trace::{RunId, StateId};
use lapidary::worker::live::{Live, Numbers, Subject, Told, Wish};
use lapidary::zoo;

use crate::cache::cache;
use crate::models;
use crate::wait::wait;

const JUDGE: &str = "gtsrb12-judge";
const SHAPE: [usize; 3] = [3, 32, 32];
/// More pictures than the judge has features.
const ENOUGH: usize = 130;

/// Stripes; those of another pitch are other pictures.
fn pictures(n: usize, pitch: f32) -> ImageBatch {
    let [c, h, w] = SHAPE;
    let value = |i: usize| 0.5 + 0.4 * (i as f32 * pitch).sin();
    ImageBatch::new([n, c, h, w], (0..n * c * h * w).map(value).collect())
}

fn wish(n: usize, iteration: u32, reference: Option<PathBuf>) -> Wish {
    Wish {
        of: Subject { epoch: 1, judge: JUDGE.to_owned(), reference, choosing: 0 },
        state: StateId { run: RunId(1), iteration },
        pictures: [pictures(n, 0.37), pictures(n, 0.021)],
        targets: (0..n).map(|sample| sample % 12).collect(),
        classes: zoo::class_names(JUDGE).expect("it is bundled"),
        memory_mib: None,
    }
}

fn live() -> Live {
    Live::spawn(cache(), Arc::new(|| {})).expect("a thread")
}

/// The next numbers, and of which iteration.
fn next(live: &Live) -> (u32, Result<Numbers, Vec<String>>) {
    wait("numbers", || match live.try_told() {
        Some(Told::Numbers { state, found, .. }) => Some((state.iteration, found)),
        Some(Told::Looking { .. }) | None => None,
    })
}

/// What the judge sees in pictures.
fn seen(images: &ImageBatch) -> Features {
    let classifier = models::classifier(JUDGE);
    let seen = features(&classifier, &in_levels(images), Chunks::CPU, &burn::tensor::Device::flex());
    let [values, logits] = seen.expect("the CPU does not fail");
    let n = images.len();
    let mut features = Features::new(values.len() / n, logits.len() / n);
    features.extend(&values, &logits);
    features
}

/// Mean and covariance of pictures, as if a network of such weights had seen them.
fn statistics(path: &Path, features: &Features, sha256: String) {
    let sight = Sight {
        extractor: JUDGE.to_owned(),
        sha256,
        features: features.width(),
        shape: SHAPE,
        levels: Sight::LEVELS,
        resize: "none".to_owned(),
        device: String::new(),
        pictures: features.len(),
        pictures_sha256: String::new(),
    };
    let statistics = Statistics::of(features).expect("they differ");
    write_statistics(path, &SeenStatistics { statistics, sight: Some(sight) }).expect("room");
}

#[test]
fn the_newest_wish_is_answered_and_at_most_one_a_second() {
    let live = live();
    live.ask(wish(8, 0, None));
    let (first, found) = next(&live);
    assert_eq!(first, 0);
    let judged = found.expect("it can be judged").judged.expect("the classes are the judge's own");
    assert!(judged.confidence.change.interval.is_some(), "eight pictures are enough: {judged:?}");
    let since = Instant::now();
    (1..=5).for_each(|iteration| live.ask(wish(8, iteration, None)));
    assert_eq!(next(&live).0, 5, "the others were never computed");
    assert!(since.elapsed().as_secs_f64() > 0.5, "{:?}", since.elapsed());
}

#[test]
fn the_distance_to_saved_statistics_is_that_of_the_formulas() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("real.npz");
    let (real, sha256) = (seen(&pictures(200, 0.013)), zoo::find(JUDGE).expect("bundled").0.sha256);
    statistics(&path, &real, sha256.expect("bundled models have one"));
    let live = live();
    live.ask(wish(ENOUGH, 3, Some(path.clone())));
    let (state, found) = next(&live);
    assert!(
        state == 3 && found.expect("it can be judged").distance.is_none(),
        "what needs no real pictures comes first"
    );
    let found = next(&live).1.expect("it can be judged").distance.expect("it was asked for").expect("they compare");
    assert_eq!((found.features, found.real, &found.doubt), (128, Some(200), &None));
    let anchor = Anchor::of(&Real::of(real.clone())).expect("they differ");
    for (pitch, found) in [(0.37, found.of.before), (0.021, found.of.after)] {
        let expected = anchor.distance(&seen(&pictures(ENOUGH, pitch))).expect("they differ").distance;
        assert!((found - expected).abs() < 1e-6 * expected, "{found} {expected}");
    }
    let interval = found.of.change.interval.expect("there are enough");
    assert!(interval.holds(found.of.change.value) && interval.low < interval.high, "{interval:?}");

    // Of another network they would mean nothing.
    let other = folder.path().join("other.npz");
    statistics(&other, &real, "ab".repeat(32));
    live.ask(wish(ENOUGH, 4, Some(other)));
    let why = next(&live).1.expect("it can be judged").distance.expect("it was asked for").unwrap_err();
    assert!(why.contains("but the judge has SHA-256"), "{why}");
}

#[test]
fn a_judge_that_is_none_is_refused_and_the_next_one_judges() {
    let live = live();
    let mut asked = wish(8, 0, None);
    asked.of.judge = "/no/judge.pt".to_owned();
    live.ask(asked);
    let chain = next(&live).1.unwrap_err();
    assert_eq!(chain[0], "the judge cannot look at the pictures");
    assert!(chain.len() > 1, "{chain:?}");
    live.ask(wish(8, 0, None));
    assert!(next(&live).1.is_ok());
}
