//! What a full disk leaves.

use super::*;

#[test]
fn earlier_results_stay_until_new_ones_are_whole() {
    let place = Place::new();
    place.finish("out", &["samples.npz", "images/1.png"]);
    let read = |name: &str| std::fs::read_to_string(place.at("out").join(name)).unwrap();
    let overwrite = |recipe| place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, recipe));
    let write = |text: &'static str| {
        move |folder: &Path| {
            std::fs::write(folder.join("samples.npz"), text)
                .map_err(|source| ExportError::Write { path: folder.join("samples.npz"), source })
        }
    };
    let names = || vec!["samples.npz".to_owned()];
    // A full disk.
    let mut out = overwrite("b");
    let full = |folder: &Path| {
        write("half")(folder)?;
        Err(ExportError::Write { path: folder.join("session.json"), source: std::io::ErrorKind::StorageFull.into() })
    };
    let text = out.publish(names(), Extent::Whole, full).unwrap_err().to_string();
    assert!(text.ends_with(place.at("out/session.json").to_str().unwrap()), "{text}");
    drop(out);
    assert_eq!(place.names("out"), [".lapidary.json", "images", "samples.npz"]);
    assert!(matches!(place.claim("out", |_| {}), Err(ExportError::Earlier { .. })), "all is as before");
    // A command that is stopped writes beside them.
    let mut out = overwrite("b");
    part(&place, "out", 0, "b");
    out.publish(names(), Extent::Part(1), write("so far")).unwrap();
    assert_eq!(out.place(false), place.at("out/unfinished"));
    drop(out);
    assert_eq!((read("samples.npz"), read("unfinished/samples.npz")), ("new".to_owned(), "so far".to_owned()));
    assert_eq!(read("images/1.png"), "new");
    // Finished, it takes their place, and no empty folder stays.
    let mut out = place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Resume, "b"));
    out.publish(names(), Extent::Whole, write("all")).unwrap();
    drop(out);
    assert_eq!(place.names("out"), [".lapidary.json", "samples.npz"]);
    assert_eq!(read("samples.npz"), "all");
}

#[test]
fn a_full_disk_leaves_what_it_has_room_for() {
    let place = Place::new();
    let names: Vec<String> = ["samples.npz", "images/1.png", "images/2.png"].map(str::to_owned).to_vec();
    let try_at = |out: &mut OutFolder, room: &[&str]| {
        let error = out.publish(names.clone(), Extent::Whole, |folder| {
            for name in room {
                std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
                std::fs::write(folder.join(name), "some").unwrap();
            }
            Err(ExportError::Write { path: folder.join("x"), source: std::io::ErrorKind::StorageFull.into() })
        });
        assert!(error.is_err());
        out.keep_what_fits(&names, 7)
    };
    let resume = || place.begin("out", |claim| claim.earlier = Earlier::Resume);
    let mut out = place.begin("out", |_| {});
    let some = |names: &[&str]| (names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), 7);
    assert_eq!(try_at(&mut out, &["images/2.png", "samples.npz"]), some(&["samples.npz", "images/2.png"]));
    drop(out);
    assert_eq!(place.names("out"), [".lapidary.json", "images", "samples.npz"]);
    assert!(matches!(place.claim("out", |_| {}), Err(ExportError::Unfinished { .. })), "it can be gone on with");
    // A second try that has room for less does not cost what the first one kept.
    let first = some(&["images/2.png", "samples.npz"]);
    assert_eq!(try_at(&mut resume(), &["images/1.png"]), first, "what is there is said");
    assert_eq!(place.names("out/images"), ["2.png"]);
    // Nor does one that has room for none.
    let mut out = resume();
    std::fs::write(place.at("out").join(NEW), "in the way of the folder").unwrap();
    assert!(out.publish(names.clone(), Extent::Whole, |_| Ok(())).is_err());
    assert_eq!(out.keep_what_fits(&names, 9), first);
    drop(out);
    assert_eq!(place.names("out"), [".lapidary.json", "images", "samples.npz"]);
    publish(&mut resume(), &["samples.npz", "images/1.png", "images/2.png"], true);
    assert_eq!(place.names("out/images"), ["1.png", "2.png"]);
    // Beside what is to be replaced, which stays.
    let mut out = place.begin("out", |claim| (claim.earlier, claim.recipe) = (Earlier::Overwrite, "b"));
    assert_eq!(try_at(&mut out, &["images/1.png"]), some(&["images/1.png"]));
    drop(out);
    let read = |name: &str| std::fs::read_to_string(place.at("out").join(name)).unwrap();
    assert_eq!((read("images/1.png"), read("unfinished/images/1.png")), ("new".to_owned(), "some".to_owned()));
}

#[test]
fn room_for_the_index_and_the_folders_is_held_while_results_are_written() {
    let place = Place::new();
    place.finish("out", &["samples.npz"]);
    let mut out = place.begin("out", |claim| claim.earlier = Earlier::Overwrite);
    let names: Vec<String> = ["samples.npz", "images/1.png", "images/2.png"].map(str::to_owned).to_vec();
    let held = |folder: &Path| -> Vec<u64> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
        entries.filter(std::fs::Metadata::is_file).map(|file| file.len()).collect()
    };
    let write = |folder: &Path| {
        let mut held = held(folder);
        held.sort_unstable();
        assert!(held.len() == 4 && held[0] == 4096 && held[3] > 4096, "index, images, and both beside: {held:?}");
        Err(ExportError::Write { path: folder.join("x"), source: std::io::ErrorKind::StorageFull.into() })
    };
    assert!(out.publish(names, Extent::Whole, write).is_err());
    assert!(held(&place.at("out").join(NEW)).is_empty(), "what comes behind them has it");
}

#[test]
fn what_a_full_disk_left_half_moved_is_no_empty_folder() {
    let place = Place::new();
    let mut out = place.begin("out", |_| {});
    let path = out.path.clone();
    for name in ["samples.npz", "images/1.png"] {
        std::fs::create_dir_all(path.join(NEW).join(name).parent().unwrap()).unwrap();
        std::fs::write(path.join(NEW).join(name), "new").unwrap();
    }
    let names = ["samples.npz", "images/1.png"].map(str::to_owned).to_vec();
    out.index.begin_moving(&path, names, Extent::Part(1)).unwrap();
    std::fs::rename(path.join(NEW).join("samples.npz"), path.join("samples.npz")).unwrap();
    out.written = true;
    drop(out);
    abandon(&path);
    assert!(matches!(place.claim("out", |_| {}), Err(ExportError::Unfinished { .. })));
    drop(place.begin("out", |claim| claim.earlier = Earlier::Resume));
    assert_eq!(place.names("out"), [".lapidary.json", "images", "samples.npz"]);
    assert_eq!(place.names("out/images"), ["1.png"]);
}

#[test]
fn a_disk_that_is_too_small_is_refused_with_numbers() {
    let place = Place::new();
    let text = crate::export::check_space(&place.at("not/yet/there"), u64::MAX).unwrap_err().to_string();
    assert!(text.starts_with("the results need about 17179869184.00 GiB, but only "), "{text}");
    assert!(crate::export::check_space(&place.at("out"), 1).is_ok());
}
