//! What is set aside while work begins anew, and what only looks like ours.

use super::*;

#[test]
fn what_is_finished_comes_back_when_nothing_comes_of_what_takes_its_place() {
    let place = Place::new();
    let overwrite =
        |recipe: &'static str| place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, recipe));
    let resume =
        |recipe: &'static str| place.claim("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, recipe));
    let out = place.begin("out", |_| {});
    part(&place, "out", 0, "a");
    drop(out);
    place.put("out/parts/mine.txt");

    let out = overwrite("b");
    assert_eq!(place.names("out/parts"), ["mine.txt"]);
    drop(out);
    assert_eq!(place.names("out/parts"), ["00000000.npz", "mine.txt"], "stopped before anything came of it");
    drop(resume("a").unwrap());

    // A kill says nothing; who comes next finds it.
    let out = overwrite("b");
    std::fs::remove_file(place.at("out").join(LOCK)).unwrap();
    std::mem::forget(out);
    assert!(matches!(resume("a").unwrap(), Claimed::Begun(_)));
    assert_eq!(place.names("out/parts"), ["00000000.npz", "mine.txt"]);

    // Likewise in the middle of setting aside.
    part(&place, "out", 2, "a");
    let index = Index::read(&place.at("out")).unwrap();
    super::super::stash::put(&place.at("out"), &index).unwrap();
    part(&place, "out", 4, "a");
    assert!(matches!(resume("a").unwrap(), Claimed::Begun(_)));
    let all = ["00000000.npz", "00000002.npz", "00000004.npz", "mine.txt"];
    assert_eq!(place.names("out/parts"), all);

    // Something came of it: what was set aside is forgotten.
    let out = overwrite("b");
    part(&place, "out", 7, "b");
    drop(out);
    assert_eq!(place.names("out/parts"), ["00000007.npz", "mine.txt"]);
    assert!(place.names("out").iter().all(|name| !name.contains("-parts")), "{:?}", place.names("out"));
    assert!(matches!(resume("a"), Err(ExportError::OtherRecipe { .. })));
    publish(
        &mut place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b")),
        &["samples.npz"],
        true,
    );
    assert_eq!(place.names("out/parts"), ["mine.txt"]);
}

#[test]
fn what_only_has_the_name_of_a_part_or_of_something_unfinished_is_somebody_elses() {
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    let overwrite = || place.claim("out", |claim| claim.earlier = Earlier::Overwrite).map(drop);
    for name in ["out/parts/00000000.npz", "out/parts/under-way.npz"] {
        let path = place.put(name);
        assert!(matches!(overwrite(), Err(ExportError::Foreign { path: found }) if found == path));
        std::fs::remove_file(path).unwrap();
    }
    // One that was written into is no more as it was.
    let path = part(&place, "out", 0, "a");
    assert!(overwrite().is_ok() && path.exists());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(matches!(overwrite(), Err(ExportError::Foreign { .. })));

    let theirs = place.put("fresh/.lapidary-out-new/x");
    assert!(matches!(place.claim("fresh", |_| {}), Err(ExportError::Foreign { .. })));
    assert!(theirs.exists());
}
