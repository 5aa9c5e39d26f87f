//! What is claimed, what is refused, and what is left of it.

mod full;
mod moved;
mod stash;

use super::index::Held;
use super::*;
use crate::session::Provenance;

const FILES: &[&str] = &["samples.npz", "images/*.png", "pair_*.png"];

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, name).unwrap();
        path
    }

    fn claim(&self, folder: &str, change: impl FnOnce(&mut Claim<'_>)) -> Result<Claimed, ExportError> {
        let folder = self.at(folder);
        let mut claim = plain(&folder);
        change(&mut claim);
        claim.claim()
    }

    fn begin(&self, folder: &str, change: impl FnOnce(&mut Claim<'_>)) -> OutFolder {
        match self.claim(folder, change) {
            Ok(Claimed::Begun(out)) => out,
            other => panic!("{other:?}"),
        }
    }

    /// A finished result of these files.
    fn finish(&self, folder: &str, names: &[&str]) {
        publish(&mut self.begin(folder, |claim| claim.earlier = Earlier::Overwrite), names, true);
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn plain(folder: &Path) -> Claim<'_> {
    Claim { folder, numbered: false, earlier: Earlier::Keep, recipe: "a", share: None, files: FILES, inputs: &[] }
}

fn publish(out: &mut OutFolder, names: &[&str], finished: bool) {
    let list = names.iter().map(|name| (*name).to_owned()).collect();
    let write = |folder: &Path| {
        for name in names {
            std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.join(name), "new").unwrap();
        }
        Ok(())
    };
    let extent = if finished { Extent::Whole } else { Extent::Part(1) };
    assert_eq!(out.publish(list, extent, write).unwrap(), None);
}

#[test]
fn files_of_others_are_never_in_the_way_of_their_owner() {
    for name in ["samples.npz", "images/000123.png", "images/photo.png", "pair_000001.png", "parts/mine.npz"] {
        let place = Place::new();
        let file = place.put(&format!("out/{name}"));
        let error = place.claim("out", |claim| claim.earlier = Earlier::Overwrite).unwrap_err();
        assert!(error.to_string().starts_with("the folder holds other files"), "{name}: {error}");
        assert!(file.exists() && !place.at("out/.lapidary.json").exists());
    }
    let place = Place::new();
    place.put("out/notes.txt");
    drop(place.begin("out", |_| {}));
    assert_eq!(place.names("out"), ["notes.txt"], "nothing came of it, so everything is as before");
}

#[test]
fn an_input_is_never_where_results_go() {
    let place = Place::new();
    place.finish("out", &["samples.npz", "images/000001.png"]);
    for name in ["out/samples.npz", "out/images/000001.png"] {
        let inputs = [place.at(name)];
        for earlier in [Earlier::Keep, Earlier::Overwrite, Earlier::Resume] {
            let folder = place.at("out");
            let claim = Claim {
                folder: &folder,
                numbered: false,
                earlier,
                recipe: "a",
                share: None,
                files: FILES,
                inputs: &inputs,
            };
            assert!(matches!(claim.look(), Err(ExportError::Input { .. })), "{name}");
        }
    }
}

#[test]
fn an_earlier_result_stays_unless_it_is_to_be_replaced() {
    let place = Place::new();
    place.finish("out", &["samples.npz", "images/000001.png", "images/000002.png"]);
    place.put("out/mine.txt");
    assert!(matches!(place.claim("out", |_| {}), Err(ExportError::Earlier { .. })));
    place.finish("out", &["samples.npz", "images/000002.png"]);
    assert_eq!(place.names("out/images"), ["000002.png"], "what the new one has not is gone");
    assert_eq!(place.names("out"), [".lapidary.json", "images", "mine.txt", "samples.npz"]);
}

#[test]
fn a_result_that_its_user_changed_is_not_replaced_however_long_it_is() {
    for (name, now) in [("samples.npz", "longer than before"), ("samples.npz", "NEW"), ("trace.csv", "NEW")] {
        let place = Place::new();
        place.finish("out", &["samples.npz", "trace.csv"]);
        let path = place.at("out").join(name);
        std::fs::write(&path, now).unwrap();
        for earlier in [Earlier::Overwrite, Earlier::Resume] {
            let error = place.claim("out", |claim| claim.earlier = earlier).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("changed") && text.ends_with(path.to_str().unwrap()), "{text}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), now);
        assert!(
            matches!(place.claim("out", |_| {}), Err(ExportError::Earlier { .. })),
            "where it stays, it is no matter"
        );
        // Copies are what they are copies of.
        std::fs::write(&path, "new").unwrap();
        place.finish("out", &["samples.npz"]);
    }
}

#[test]
fn an_index_without_hashes_knows_its_results_by_length_and_age() {
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    let mut index = Index::read(&place.at("out")).unwrap();
    index.files.insert("samples.npz".to_owned(), Held::Length(3));
    index.write(&place.at("out")).unwrap();
    let overwrite = || place.claim("out", |claim| claim.earlier = Earlier::Overwrite).map(drop);
    overwrite().unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options().append(true).open(place.at("out/samples.npz")).unwrap().set_modified(later).unwrap();
    assert!(matches!(overwrite(), Err(ExportError::Changed { .. })));
    let old = std::fs::read_to_string(place.at("out").join(INDEX)).unwrap().replace(": 3", ": null");
    std::fs::write(place.at("out").join(INDEX), old).unwrap();
    assert!(matches!(overwrite(), Err(ExportError::Changed { .. })), "of what was being written nothing is known");
}

#[test]
fn an_index_that_lists_what_is_never_written_is_refused_and_nothing_is_removed() {
    for name in ["../mine.txt", "images/../../mine.txt", "mysub/mine.txt", "mine.txt", "images/photo.png", "ABSOLUTE"] {
        let place = Place::new();
        place.finish("out", &["samples.npz"]);
        place.put("out/images/000001.png");
        let mine = place.at("mine.txt");
        let name = if name == "ABSOLUTE" { mine.to_str().unwrap() } else { name };
        let path = place.at("out").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let held = Held::Hash(crate::file::sha256_of(&path).unwrap());
        let index = Index::read(&place.at("out")).unwrap();
        let with = |index: &Index| {
            let mut index = index.clone();
            index.files.insert(name.to_owned(), held.clone());
            index
        };
        let mut next = index.clone();
        next.next = Some(Box::new(with(&index)));
        for index in [with(&index), next] {
            index.write(&place.at("out")).unwrap();
            for earlier in [Earlier::Keep, Earlier::Overwrite, Earlier::Resume] {
                let text = place.claim("out", |claim| claim.earlier = earlier).unwrap_err().to_string();
                assert!(text.contains("which Lapidary never writes, so nothing here is replaced"), "{name}: {text}");
            }
            assert!(path.exists() && place.at("out/samples.npz").exists(), "{name}");
        }
    }
}

#[test]
fn who_was_killed_while_results_were_moved_is_helped_by_the_next() {
    for earlier in [Earlier::Resume, Earlier::Overwrite] {
        let place = Place::new();
        place.finish("out", &["samples.npz", "images/1.png", "images/2.png"]);
        let mut out = place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b"));
        let path = out.path.clone();
        for name in ["samples.npz", "images/1.png"] {
            std::fs::create_dir_all(path.join(NEW).join(name).parent().unwrap()).unwrap();
            std::fs::write(path.join(NEW).join(name), "newer").unwrap();
        }
        let names = ["samples.npz", "images/1.png"].map(str::to_owned).to_vec();
        out.index.begin_moving(&path, names, Extent::Whole).unwrap();
        std::fs::rename(path.join(NEW).join("samples.npz"), path.join("samples.npz")).unwrap();
        // Killed here, its lock is nobody's.
        std::fs::remove_file(path.join(LOCK)).unwrap();
        std::mem::forget(out);
        let next = place.claim("out", |claim| (claim.earlier, claim.recipe) = (earlier, "b")).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("images/1.png")).unwrap(), "newer");
        assert!(!path.join("images/2.png").exists() && !path.join(NEW).exists());
        assert_eq!(matches!(next, Claimed::Finished(_)), earlier == Earlier::Resume, "{next:?}");
    }
}

#[test]
fn a_result_that_is_changed_while_new_ones_are_computed_gets_another_name() {
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    let mut out = place.begin("out", |claim| claim.earlier = Earlier::Overwrite);
    std::fs::write(place.at("out/samples.npz"), "mine").unwrap();
    publish(&mut out, &["samples.npz"], true);
    let warning = out.take_warnings().concat();
    assert!(warning.contains("samples.npz was changed while the results were computed, so it is kept as"), "{warning}");
    drop(out);
    assert_eq!(std::fs::read_to_string(place.at("out/samples.npz.yours-1")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(place.at("out/samples.npz")).unwrap(), "new");
}

#[test]
fn what_comes_to_nothing_leaves_the_earlier_result_as_it_was() {
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    drop(place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b")));
    assert!(matches!(place.claim("out", |_| {}), Err(ExportError::Earlier { .. })), "still a finished one");
    drop(place.begin("a/b/c", |_| {}));
    assert!(!place.at("a").exists(), "no empty folder stays");
    let other = place.claim("out", |claim| (claim.recipe, claim.earlier) = ("b", Earlier::Resume)).unwrap_err();
    assert!(other.to_string().starts_with("nothing is unfinished in this folder"), "{other}");
}

#[test]
fn without_a_choice_of_the_users_the_next_number_is_taken() {
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    place.put("out-2/pair_000009.png");
    let next = |earlier| {
        let folder = place.at("out");
        Claim { folder: &folder, numbered: true, earlier, recipe: "a", share: None, files: FILES, inputs: &[] }
            .look()
            .unwrap()
            .0
    };
    assert_eq!(next(Earlier::Keep), place.at("out-3"));
    assert_eq!(next(Earlier::Overwrite), place.at("out"));
    let busy = place.begin("out-3", |_| {});
    assert_eq!(next(Earlier::Keep), place.at("out-4"));
    drop(busy);
}

#[test]
fn two_do_not_work_in_one_folder() {
    let place = Place::new();
    let first = place.begin("out", |_| {});
    for earlier in [Earlier::Keep, Earlier::Overwrite, Earlier::Resume] {
        let error = place.claim("out", |claim| claim.earlier = earlier).unwrap_err();
        assert!(error.to_string().starts_with("another Lapidary works in this folder"), "{error}");
    }
    drop(first);
    drop(place.begin("out", |_| {}));
}

#[test]
fn what_is_unfinished_is_gone_on_with_by_the_same_command() {
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    let made_here = Provenance::new();
    out.set_provenance(&made_here).unwrap();
    part(&place, "out", 0, "a");
    drop(out);
    assert!(matches!(place.claim("out", |_| {}), Err(ExportError::Unfinished { .. })));
    let other = place.claim("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b"));
    assert!(matches!(other, Err(ExportError::OtherRecipe { .. })), "{other:?}");
    let mut out = place.begin("out", |claim| claim.earlier = Earlier::Resume);
    assert_eq!(out.provenance(), Some(&made_here));
    let elsewhere = Provenance { burn: "another".to_owned(), ..made_here };
    assert!(matches!(out.set_provenance(&elsewhere), Err(ExportError::OtherRecipe { .. })));
    publish(&mut out, &["samples.npz"], false);
    drop(out);
    assert!(place.at("out/parts/00000000.npz").exists(), "an interruption keeps it");
    let mut out = place.begin("out", |claim| claim.earlier = Earlier::Resume);
    publish(&mut out, &["samples.npz"], true);
    drop(out);
    assert_eq!(place.names("out"), [".lapidary.json", "samples.npz"]);
    // As if it were killed while it tidied up.
    std::fs::write(place.at("out").join(LOCK), LOCK_TEXT).unwrap();
    part(&place, "out", 0, "a");
    let again = place.claim("out", |claim| claim.earlier = Earlier::Resume).unwrap();
    assert_eq!(place.names("out"), [".lapidary.json", "samples.npz"]);
    assert!(matches!(again, Claimed::Finished(_)), "{again:?}");
}

#[test]
fn whoever_cannot_go_on_learns_what_is_not_as_before() {
    use crate::worker::{DeviceInfo, ModelInfo};
    let device = |name: &str, cpu| {
        let (name, backend, driver) = (name.to_owned(), String::new(), String::new());
        Some(DeviceInfo { name, backend, cpu, software: false, driver, untuned: false, checks: Vec::new() })
    };
    let model = |reference: &str, sha256: &str| {
        let (reference, title, sha256) = (reference.to_owned(), String::new(), sha256.to_owned());
        let (classes, report) = (Vec::new(), crate::checkpoint::LoadReport::default());
        Some(ModelInfo { reference, title, sha256, classes, sample_shape: [3, 32, 32], report })
    };
    let then = Provenance { device: device("GPU A", false), classifier: model("demo", "1"), ..Provenance::new() };
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    out.set_provenance(&then).unwrap();
    part(&place, "out", 0, "a");
    for (now, said) in [
        (Provenance { device: device("GPU B", false), ..then.clone() }, "was made on GPU A, not on GPU B: give all"),
        (Provenance { device: device("cpu", true), ..then.clone() }, "was made on GPU A, not on the CPU: give all"),
        (Provenance { classifier: model("mine", "2"), ..then.clone() }, "with the classifier demo, not mine: give all"),
        (
            Provenance { classifier: model("demo", "2"), ..then.clone() },
            "with the classifier demo, whose file is another one now: give all",
        ),
        (Provenance { generator: model("demo", "2"), ..then.clone() }, "with the generator none, not demo: give all"),
        (Provenance { lapidary: "9.9".to_owned(), ..then.clone() }, "and this is Lapidary 9.9 with burn"),
    ] {
        let text = out.set_provenance(&now).unwrap_err().to_string();
        assert!(text.starts_with("--resume goes on with the same command only") && text.contains(said), "{text}");
    }
    assert!(out.set_provenance(&then).is_ok());
    let resume = || place.claim("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b"));
    drop(out);
    let text = resume().unwrap_err().to_string();
    assert!(text.contains("was made by another command, or with other settings or inputs: give all"), "{text}");
    let mut index = Index::read(&place.at("out")).unwrap();
    index.provenance = Some(Provenance { lapidary: "0.0".to_owned(), ..then });
    index.write(&place.at("out")).unwrap();
    let text = resume().unwrap_err().to_string();
    assert!(text.contains("was made by Lapidary 0.0, and this is "), "{text}");
}

#[test]
fn work_that_was_begun_anew_and_stopped_earlier_never_takes_the_place_of_more() {
    let place = Place::new();
    for replaces in [false, true] {
        let folder = if replaces { "replaced" } else { "out" };
        if replaces {
            place.finish(folder, &["samples.npz"]);
        }
        let shown =
            if replaces { format!("{folder}/{UNFINISHED}/samples.npz") } else { format!("{folder}/samples.npz") };
        let stop = |earlier, done: u64| {
            let mut out = place.begin(folder, |claim| claim.earlier = earlier);
            let write = |new: &Path| {
                std::fs::write(new.join("samples.npz"), done.to_string()).unwrap();
                Ok(())
            };
            out.publish(vec!["samples.npz".to_owned()], Extent::Part(done), write).unwrap()
        };
        assert_eq!(stop(if replaces { Earlier::Overwrite } else { Earlier::Keep }, 60), None);
        assert_eq!(stop(Earlier::Resume, 3), Some(60));
        let held = || std::fs::read_to_string(place.at(&shown)).unwrap();
        assert_eq!(held(), "60");
        assert_eq!((stop(Earlier::Resume, 61), held().as_str()), (None, "61"));
        std::fs::remove_file(place.at(&shown)).unwrap();
        assert_eq!((stop(Earlier::Resume, 3), held().as_str()), (None, "3"), "what was taken away is no result");
        publish(&mut place.begin(folder, |claim| claim.earlier = Earlier::Resume), &["samples.npz"], true);
    }
}

#[test]
fn what_a_killed_program_was_writing_is_swept_up() {
    let place = Place::new();
    let out = place.begin("out", |_| {});
    place.put("out/.lapidary-out-new/images/000001.png");
    place.put("out/parts/.lapidary-out-abc");
    place.put("out/parts/00000000.npz");
    std::fs::remove_file(place.at("out").join(LOCK)).unwrap();
    std::mem::forget(out);
    let out = place.begin("out", |claim| claim.earlier = Earlier::Resume);
    assert_eq!(
        (place.names("out/parts"), place.at("out").join(NEW).exists()),
        (vec!["00000000.npz".to_owned()], false)
    );
    drop(out);
}

#[test]
fn who_ends_at_once_leaves_what_is_finished() {
    let place = Place::new();
    let out = place.begin("out", |_| {});
    place.put("out/.lapidary-out-abc");
    abandon(out.path());
    assert!(!place.at("out").exists(), "there was nothing");
    std::mem::forget(out);
    let out = place.begin("out", |_| {});
    place.put("out/parts/00000000.npz");
    abandon(out.path());
    std::mem::forget(out);
    assert_eq!(place.names("out"), [".lapidary.json", "parts"]);
}

#[test]
fn what_lies_among_the_results_but_is_of_others_stays() {
    let place = Place::new();
    place.finish("o", &["samples.npz", "images/1.png", "trace.csv"]);
    // An input that this command would not write, but an earlier one has written.
    let input = place.at("o/trace.csv");
    let folder = place.at("o");
    let overwrite = |input: &[PathBuf]| {
        let claim = Claim { earlier: Earlier::Overwrite, inputs: input, ..plain(&folder) };
        claim.claim().map(drop)
    };
    assert!(matches!(overwrite(std::slice::from_ref(&input)), Err(ExportError::Input { .. })));
    assert!(input.exists());
    // A file of others in the folder of parts.
    let other = place.put("o/parts/mine.txt");
    let numbered = place.put("o/parts/notes.npz");
    place.finish("o", &["samples.npz"]);
    assert!(other.exists() && numbered.exists());
}

#[cfg(unix)]
#[test]
fn what_lies_behind_a_link_stays() {
    let place = Place::new();
    place.finish("o", &["samples.npz", "images/1.png"]);
    std::fs::remove_file(place.at("o/images/1.png")).unwrap();
    std::fs::remove_dir(place.at("o/images")).unwrap();
    let kept = place.put("kept/1.png");
    std::os::unix::fs::symlink(place.at("kept"), place.at("o/images")).unwrap();
    let overwrite = place.claim("o", |claim| claim.earlier = Earlier::Overwrite);
    assert!(matches!(overwrite, Err(ExportError::Foreign { .. })));
    assert!(kept.exists());
}

#[test]
fn a_finished_result_of_which_something_is_gone_is_not_called_finished() {
    let place = Place::new();
    place.finish("o", &["samples.npz", "images/1.png"]);
    let resume = || place.claim("o", |claim| claim.earlier = Earlier::Resume);
    assert!(matches!(resume(), Ok(Claimed::Finished(_))));
    std::fs::remove_file(place.at("o/images/1.png")).unwrap();
    assert!(matches!(resume(), Err(ExportError::Incomplete { .. })));
}

#[test]
fn what_only_has_the_name_of_an_index_or_a_lock_is_left_alone() {
    for name in [INDEX, LOCK] {
        let place = Place::new();
        let path = place.put(&format!("o/{name}"));
        assert!(matches!(place.claim("o", |_| {}), Err(ExportError::Foreign { .. })));
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("o/{name}"));
    }
}

#[test]
fn a_lost_index_does_not_hide_what_is_finished() {
    use super::super::npz;
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    out.written = true;
    std::fs::create_dir(place.at("out/parts")).unwrap();
    let part = place.at("out/parts/00000000.npz");
    npz::archive(&part, |archive| npz::array(archive, "places", &[3], [0_i64, 1, 1].into_iter())).unwrap();
    drop(out);
    std::fs::write(place.at("out/.lapidary.json"), "{\"format\": \"lapid").unwrap();
    let refused = || place.claim("out", |claim| claim.earlier = Earlier::Resume).unwrap_err().to_string();
    let text = refused();
    assert!(text.starts_with("the index of this folder, .lapidary.json, cannot be read"), "{text}");
    assert!(text.contains("finished batches are in parts"), "{text}");
    std::fs::remove_file(place.at("out/.lapidary.json")).unwrap();
    assert!(refused().contains(".lapidary.json, is missing"));
    assert!(place.at("out/parts/00000000.npz").exists());
}

/// A finished part of the work of a recipe.
fn part(place: &Place, folder: &str, first: usize, recipe: &str) -> PathBuf {
    let path = place.at(folder).join(PARTS).join(format!("{first:08}.npz"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    super::super::npz::sealed(&path, recipe, |archive| {
        super::super::npz::array(archive, "places", &[3], [0_i64, 2, 2].into_iter())
    })
    .unwrap();
    path
}
