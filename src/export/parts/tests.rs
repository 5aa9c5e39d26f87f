//! What becomes of batches, whatever ended the program between them.

use super::*;
use crate::session::{Provenance, Settings};
use crate::trace::Trace;

/// What they are parts of.
const KEY: &str = "recipe";

fn document() -> Document {
    Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), None)
}

fn numbers(objective: f32) -> Numbers {
    let (logits, objective, delta_l2) = (vec![0.0; 4], vec![objective; 2], vec![1.5; 2]);
    Numbers { logits, objective, delta_l2, ..Default::default() }
}

fn origins(first: usize) -> Origins {
    let images = ImageBatch::new([2, 3, 1, 1], vec![0.25; 6]);
    let names = vec![format!("{first}.png"), "b, c.png".to_owned()];
    Origins { seeds: vec![first as u64, first as u64 + 1], ..Origins::opened(images, vec![0, 1], names) }
}

fn add(parts: &mut Parts, first: usize) {
    const LABELS: &[usize] = &[1, 1];
    let classes = ["stop", "yield"].map(str::to_owned);
    parts
        .add_refined(&RefinedBatch {
            places: (first, first + 2),
            origins: &origins(first),
            after: &ImageBatch::new([2, 3, 1, 1], vec![0.999; 6]),
            labels: (first == 10).then_some(LABELS),
            targets: &[1, 0],
            numbers_before: &numbers(-1.0),
            numbers_after: &numbers(2.0),
            iterations: &[15, 3],
            classes: &classes,
            levels: Levels::Truncated,
            sums: &[first as f64],
        })
        .unwrap();
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    LONG_REFINED.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
}

#[test]
fn batches_become_one_archive_and_one_table_however_often_it_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 10).unwrap();
    add(&mut parts, 10);
    add(&mut parts, 12);
    parts.write_refined(folder.path(), &document()).unwrap();
    let (shape, levels) = npz::read::<u8>(&folder.path().join("samples.npz"), "arr_0").unwrap().unwrap();
    assert_eq!((shape, levels), (vec![4, 1, 1, 3], vec![254; 12]), "truncated");
    let targets = npz::read::<i64>(&folder.path().join("samples.npz"), "arr_1").unwrap().unwrap().1;
    assert_eq!(targets, [1, 0, 1, 0]);
    let mut table = ::csv::Reader::from_path(folder.path().join("refined.csv")).unwrap();
    let rows: Vec<::csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[1].iter().take(7).collect::<Vec<_>>(), ["11", "1", "0", "-1.0", "2.0", "0.5", "0.5"]);
    assert_eq!(rows[1].iter().skip(11).collect::<Vec<_>>(), ["b, c.png", "yield", "stop", "11"]);
    assert_eq!([&rows[3][0], &rows[3][1], &rows[3][7], &rows[3][9]], ["13", "", "1.5", "3"]);

    // Another one, which was killed behind its first batch and while it wrote the second.
    let other = tempfile::tempdir().unwrap();
    add(&mut Parts::open(other.path(), KEY, 10).unwrap(), 10);
    std::fs::write(other.path().join("parts/00000012.npz"), "half of it").unwrap();
    let mut again = Parts::open(other.path(), KEY, 10).unwrap();
    assert_eq!((again.next(10), again.count()), (12, 2));
    let said = "00000012.npz is not what was written there, so it is kept as 00000012 (2).npz, and it is made anew";
    assert!(again.warnings().concat().ends_with(said));
    add(&mut again, 12);
    again.write_refined(other.path(), &document()).unwrap();
    assert!(contents(folder.path()) == contents(other.path()), "byte by byte");
    assert_eq!(again.sums().unwrap(), [vec![10.0], vec![12.0]]);
}

#[test]
fn a_part_with_a_wrong_byte_is_made_anew_with_all_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 10).unwrap();
    (10..16).step_by(2).for_each(|first| add(&mut parts, first));
    parts.write_refined(folder.path(), &document()).unwrap();
    let (whole, path) = (contents(folder.path()), folder.path().join("parts/00000012.npz"));
    let bytes = std::fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        std::fs::write(&path, wrong).unwrap();
        assert!(npz::check(&path, KEY).is_err(), "byte {at} of {}", bytes.len());
    }
    let mut wrong = bytes.clone();
    wrong[200] ^= 1;
    std::fs::write(&path, wrong).unwrap();
    let mut again = Parts::open(folder.path(), KEY, 10).unwrap();
    assert_eq!((again.next(10), again.count()), (12, 2));
    (12..16).step_by(2).for_each(|first| add(&mut again, first));
    again.write_refined(folder.path(), &document()).unwrap();
    assert!(whole == contents(folder.path()), "byte by byte");
}

#[test]
fn parts_that_change_places_or_come_from_elsewhere_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 10).unwrap();
    (10..16).step_by(2).for_each(|first| add(&mut parts, first));
    parts.write_refined(folder.path(), &document()).unwrap();
    let (whole, at) = (contents(folder.path()), |first| folder.path().join(format!("parts/{first:08}.npz")));
    let swap = |a, b| {
        std::fs::rename(at(a), at(99)).unwrap();
        std::fs::rename(at(b), at(a)).unwrap();
        std::fs::rename(at(99), at(b)).unwrap();
    };
    swap(10, 12);
    let mut again = Parts::open(folder.path(), KEY, 10).unwrap();
    assert_eq!((again.next(10), again.warnings().len()), (10, 2));
    (10..16).step_by(2).for_each(|first| add(&mut again, first));
    again.write_refined(folder.path(), &document()).unwrap();
    assert!(whole == contents(folder.path()), "byte by byte");
    // Of another command, and written again by another program, which knows no seal.
    assert_eq!(Parts::open(folder.path(), "another", 10).unwrap().count(), 0);
    let mut again = Parts::open(folder.path(), KEY, 10).unwrap();
    (10..16).step_by(2).for_each(|first| add(&mut again, first));
    let places = [12_i64, 14, 2];
    npz::archive(&at(12), |archive| npz::array(archive, "places", &[3], places.into_iter())).unwrap();
    let edited = Parts::open(folder.path(), KEY, 10).unwrap();
    assert_eq!((edited.count(), edited.warnings().len()), (2, 1));
}

#[test]
fn a_folder_that_was_moved_away_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(&folder.path().join("out"), KEY, 0).unwrap();
    add(&mut parts, 0);
    std::fs::rename(folder.path().join("out"), folder.path().join("elsewhere")).unwrap();
    let text = parts.add_made((2, 4), &origins(2)).unwrap_err().to_string();
    assert!(text.starts_with("this folder was moved or removed"), "{text}");
    assert!(Parts::open(&folder.path().join("elsewhere"), KEY, 0).unwrap().count() == 2, "what was finished stays");
}

#[test]
fn a_part_that_is_lost_before_the_end_is_said_to_be_made_anew_by_going_on() {
    for is_gone in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::open(folder.path(), KEY, 0).unwrap();
        (0..4).step_by(2).for_each(|first| add(&mut parts, first));
        let path = folder.path().join("parts/00000002.npz");
        if is_gone {
            std::fs::remove_file(&path).unwrap();
        } else {
            std::fs::write(&path, "half of it").unwrap();
        }
        let settings = Settings::default();
        let failures = [
            parts.sums().map(drop),
            parts.made(4, &settings.generate, None).map(drop),
            parts.write_refined(folder.path(), &document()),
            parts.write_made(folder.path(), &document(), &origins(0)),
        ];
        for failure in failures {
            let text = failure.unwrap_err().to_string();
            assert!(text.contains("the same command with --resume makes it and those behind it anew"), "{text}");
            assert!(text.ends_with(path.to_str().unwrap()), "{text}");
        }
        assert_eq!(Parts::open(folder.path(), KEY, 0).unwrap().next(0), 2, "so it does");
    }
    // All of them, with their folder, are somewhere else.
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 0).unwrap();
    add(&mut parts, 0);
    std::fs::rename(folder.path().join("parts"), folder.path().join("away")).unwrap();
    assert!(matches!(parts.sums(), Err(ExportError::Moved { .. })));
    let (origins, now) = (origins(2), ImageBatch::new([2, 3, 1, 1], vec![0.5; 6]));
    let state = UnderWay { origins: &origins, now: &now, numbers: &numbers(1.0), iteration: 7 };
    assert!(matches!(parts.keep_under_way(&state), Err(ExportError::Moved { .. })));
}

#[test]
fn half_a_batch_is_kept_unless_an_earlier_result_would_not_come_back_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 0).unwrap();
    assert!(parts.keeps_half(1, false) && !parts.keeps_half(0, false), "where there is something of it");
    assert!(!parts.keeps_half(1, true));
    let (origins, now) = (origins(0), ImageBatch::new([2, 3, 1, 1], vec![0.5; 6]));
    parts.keep_under_way(&UnderWay { origins: &origins, now: &now, numbers: &numbers(1.0), iteration: 7 }).unwrap();
    assert!(parts.keeps_half(8, true), "it was kept before");
    assert_eq!(parts.under_way(), Some((folder.path().join("parts").join(UNDER_WAY), 7)));
    add(&mut parts, 0);
    assert!(parts.under_way().is_none() && parts.keeps_half(8, true), "something is finished");
}

#[test]
fn values_with_a_wrong_byte_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 0).unwrap();
    add(&mut parts, 0);
    let path = folder.path().join("parts/00000000.npz");
    let mut bytes = std::fs::read(&path).unwrap();
    let levels = bytes.windows(6).position(|levels| levels == [254; 6]).unwrap();
    bytes[levels] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(read::<u8>(&path, "arr_0").is_err());
}

#[test]
fn what_is_under_way_can_be_looked_at_until_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 0).unwrap();
    let (origins, now) = (origins(0), ImageBatch::new([2, 3, 1, 1], vec![0.5; 6]));
    parts.keep_under_way(&UnderWay { origins: &origins, now: &now, numbers: &numbers(1.0), iteration: 7 }).unwrap();
    let path = folder.path().join("parts").join(UNDER_WAY);
    assert_eq!(pictures(&path, "after").unwrap().unwrap(), now);
    let known = numbers(1.0);
    let state = |iteration, now| UnderWay { origins: &origins, now, numbers: &known, iteration };
    parts.keep_under_way(&state(3, &origins.images)).unwrap();
    parts.forget_under_way(3).unwrap();
    assert_eq!(npz::read::<i64>(&path, "iteration").unwrap().unwrap().1, [7], "what came farther stays");
    assert_eq!(pictures(&path, "after").unwrap().unwrap(), now);
    parts.keep_under_way(&state(8, &now)).unwrap();
    assert_eq!(Parts::open(folder.path(), KEY, 0).unwrap().count(), 0, "it is begun anew");
    add(&mut parts, 0);
    assert!(!path.exists());
}

#[test]
fn made_pictures_come_back_with_all_that_is_known_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::open(folder.path(), KEY, 0).unwrap();
    let settings = Settings::default();
    let edited = |first| {
        let made = origins(first);
        let mask = Some(Mask::filled(1, 1, true));
        let made_by = Some(settings.generate.clone());
        let (settings, reference) = (settings.edit.clone(), made.images.clone());
        let edited = Edited { settings, reference, mask, is_of_one: None };
        Origins { made_by, edited: Some(edited), ..made }
    };
    parts.add_made((0, 2), &edited(0)).unwrap();
    parts.add_made((2, 4), &edited(2)).unwrap();
    let found = Parts::open(folder.path(), KEY, 0).unwrap().made(3, &settings.generate, Some(&settings.edit)).unwrap();
    assert_eq!(found.seeds, [0, 1, 2]);
    assert_eq!(found.names, ["0.png", "b, c.png", "2.png"]);
    assert!(
        found.is_consistent()
            && found.edited == edited(0).edited.map(|edited| Edited { reference: found.images.clone(), ..edited })
    );
    parts.write_made(folder.path(), &document(), &found).unwrap();
    let seeds = npz::read::<u64>(&folder.path().join("samples.npz"), "seeds").unwrap().unwrap().1;
    assert_eq!(seeds, [0, 1, 2, 3]);
    assert_eq!(npz::read::<u8>(&folder.path().join("samples.npz"), "mask").unwrap().unwrap().0, [1, 1]);
    parts.clear().unwrap();
    assert!(parts.made(3, &settings.generate, None).is_err());
}

#[test]
fn a_part_that_is_gone_is_told_of_and_one_that_was_changed_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join("parts").join(name);
    let mut parts = Parts::open(folder.path(), KEY, 10).unwrap();
    (10..16).step_by(2).for_each(|first| add(&mut parts, first));
    let open = || Parts::open(folder.path(), KEY, 10).unwrap();
    assert_eq!((open().lost(10, 16), finished(folder.path(), KEY, 10)), (None, 6));
    assert_eq!(finished(folder.path(), "another", 10), 0);
    for gone in ["00000014.npz", "00000012.npz", "00000010.npz"] {
        std::fs::remove_file(at(gone)).unwrap();
        let said = open().lost(10, 16).unwrap();
        assert!(said.starts_with("warning: ") && said.contains(&format!("{gone} was finished before")), "{said}");
    }
    assert_eq!(open().lost(10, 10), None, "nothing was finished");
    std::fs::write(at("00000010.npz"), "mine").unwrap();
    let changed = open();
    assert_eq!((changed.warnings().len(), changed.lost(10, 16)), (1, None));
    assert_eq!(finished(&folder.path().join("nothing"), KEY, 10), 0);
}

#[test]
fn batches_of_shares_come_to_what_those_of_one_run_come_to() {
    use crate::export::{Claim, Claimed, Earlier, SHARED, Shard, Share};
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    // More than are on the sheet.
    let all = 0..132;
    let mut whole = Parts::open(&at("whole"), KEY, 0).unwrap();
    all.clone().step_by(2).for_each(|first| add(&mut whole, first));
    whole.write_refined(&at("whole"), &document()).unwrap();
    // The first share has all of the sheet, or not even half of it.
    for n in [2, 5] {
        let share = |shard: Shard| {
            let (folder, share) = (at(&format!("{}-of-{n}", shard.k)), Share::new(shard, "refine", all.clone(), 2));
            let (earlier, recipe, share) = (Earlier::Keep, KEY, Some(&share));
            let claim = Claim { folder: &folder, numbered: false, earlier, recipe, share, files: &SHARED, inputs: &[] };
            let Claimed::Begun(out) = claim.claim().unwrap() else { panic!("nothing was there") };
            let own = out.share().unwrap().own.clone();
            let mut parts = Parts::open(&folder, KEY, own.start).unwrap();
            own.step_by(2).for_each(|first| add(&mut parts, first));
            ShareFolder::read(&folder).unwrap()
        };
        let shares: Vec<ShareFolder> = Shard::all(n).map(share).collect();
        assert_eq!(shares.iter().map(ShareFolder::pictures).sum::<usize>(), 132);
        assert!(shares.iter().all(|share| share.left() > 0), "nobody said that they are done");
        let parts = Parts::of_shares(&at("whole"), &shares);
        let merged = tempfile::tempdir().unwrap();
        parts.write_refined(merged.path(), &document()).unwrap();
        assert!(contents(&at("whole")) == contents(merged.path()), "{n}: byte by byte");
        assert_eq!(parts.sums().unwrap(), whole.sums().unwrap());
    }
}
