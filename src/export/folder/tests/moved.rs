//! What is moved away by the user while the work goes on, and what lies where unfinished results would go.

use super::*;

/// Work that had something finished when its parts were moved away.
fn lose_parts(place: &Place, change: impl FnOnce(&mut Claim<'_>)) {
    let mut out = place.begin("out", change);
    part(place, "out", 0, "b");
    out.expect_parts();
    std::fs::rename(place.at("out/parts"), place.at("away")).unwrap();
}

#[test]
fn parts_that_were_moved_away_are_gone_on_with_when_they_are_back() {
    for is_finished in [false, true] {
        for is_back in [true, false] {
            let place = Place::new();
            if is_finished {
                place.finish("out", &["samples.npz"]);
            }
            lose_parts(&place, |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b"));
            assert!(place.at("out").join(INDEX).exists() && !place.at("out").join(LOCK).exists());
            let resume = || place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b"));
            if is_back {
                std::fs::rename(place.at("away"), place.at("out/parts")).unwrap();
                drop(resume());
                assert!(place.at("out/parts/00000000.npz").exists());
            }
            // Where they do not come back, it is begun anew.
            publish(&mut resume(), &["samples.npz"], true);
            assert_eq!(place.names("out"), [".lapidary.json", "samples.npz"]);
        }
    }
}

#[test]
fn how_far_work_had_come_is_known_though_all_its_parts_are_gone() {
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    assert_eq!(out.reached(), 0);
    part(&place, "out", 0, "a");
    out.set_reached(64).unwrap();
    drop(out);
    std::fs::remove_dir_all(place.at("out/parts")).unwrap();
    let mut again = place.begin("out", |claim| claim.earlier = Earlier::Resume);
    assert_eq!(again.reached(), 64);
    publish(&mut again, &["samples.npz"], true);
    assert_eq!((again.reached(), unfinished_in(again.path())), (0, place.at("out")), "finished work lacks nothing");
    drop(again);
    let other = place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b"));
    assert_eq!((other.reached(), unfinished_in(other.path())), (0, place.at("out/unfinished")));
}

#[test]
fn what_was_set_aside_comes_back_where_the_parts_that_took_its_place_do_not() {
    let place = Place::new();
    let out = place.begin("out", |_| {});
    part(&place, "out", 4, "a");
    drop(out);
    let overwrite = |claim: &mut Claim<'_>| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b");
    lose_parts(&place, overwrite);
    // Another command finds what was there before.
    drop(place.begin("out", |claim| claim.earlier = Earlier::Resume));
    assert_eq!(place.names("out/parts"), ["00000004.npz"]);
    std::fs::remove_dir_all(place.at("away")).unwrap();
    // The same one goes on, when they are back.
    lose_parts(&place, overwrite);
    std::fs::rename(place.at("away"), place.at("out/parts")).unwrap();
    drop(place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b")));
    assert_eq!(place.names("out/parts"), ["00000000.npz"]);
}

#[test]
fn a_folder_that_was_moved_away_is_called_so_before_its_disk_is() {
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    std::fs::rename(place.at("out"), place.at("away")).unwrap();
    assert!(matches!(out.set_provenance(&Provenance::new()), Err(ExportError::Moved { .. })));
}

#[test]
fn a_program_that_ends_at_once_leaves_the_index_of_parts_that_were_moved_away() {
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    out.set_provenance(&Provenance::new()).unwrap();
    part(&place, "out", 0, "a");
    std::fs::rename(place.at("out/parts"), place.at("away")).unwrap();
    abandon(out.path());
    std::mem::forget(out);
    std::fs::rename(place.at("away"), place.at("out/parts")).unwrap();
    drop(place.begin("out", |claim| claim.earlier = Earlier::Resume));
}

#[test]
fn files_of_others_where_unfinished_results_would_go_are_refused_before_the_work() {
    for name in ["samples.npz", "images/000123.png", "pair_000001.png"] {
        let place = Place::new();
        place.finish("out", &["samples.npz"]);
        let file = place.put(&format!("out/{UNFINISHED}/{name}"));
        place.put(&format!("out/{UNFINISHED}/notes.txt"));
        let folder = place.at("out");
        let claim = Claim { earlier: Earlier::Overwrite, recipe: "b", ..plain(&folder) };
        let refusals = [claim.look().map(drop), claim.claim().map(drop)];
        for refusal in refusals {
            assert!(matches!(refusal, Err(ExportError::Foreign { path }) if path == file), "{name}");
        }
        assert!(
            matches!(place.claim("out", |_| {}), Err(ExportError::Earlier { .. })),
            "where it stays, it is no matter"
        );
        std::fs::remove_file(&file).unwrap();
        let mut out = place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b"));
        publish(&mut out, &["samples.npz"], false);
        drop(out);
        // What we wrote there is ours until somebody writes into it.
        let resume = || place.claim("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b"));
        drop(resume().unwrap());
        std::fs::write(place.at("out").join(UNFINISHED).join("samples.npz"), "mine").unwrap();
        assert!(matches!(resume(), Err(ExportError::Changed { .. })));
    }
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    let file = place.put(&format!("out/{UNFINISHED}"));
    let refusal = place.claim("out", |claim| claim.earlier = Earlier::Overwrite);
    assert!(matches!(refusal, Err(ExportError::Foreign { path }) if path == file));
}
