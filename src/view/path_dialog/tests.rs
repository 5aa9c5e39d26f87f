//! What a path names is looked at before it is taken.

use super::*;

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text_names_no_model() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = PathBuf::from(std::ffi::OsString::from_vec(b"weights\xff.pt".to_vec()));
    let Answer::Refused(why) = model_of(Purpose::Classifier, &odd) else { panic!("refused") };
    assert!(why[0].contains("rename the file"), "{why:?}");
}

fn answer(purpose: Option<Purpose>, paths: &[&Path]) -> Result<(Purpose, Vec<PathBuf>), String> {
    match answer_to(purpose, paths.iter().map(|path| path.to_path_buf()).collect(), Detail::Full) {
        Answer::Files(purpose, paths, _) => Ok((purpose, paths)),
        Answer::Model(_, reference) => Err(reference),
        Answer::Refused(chain) => Err(chain.join(" ")),
    }
}

#[test]
fn what_cannot_be_read_is_refused_before_anything_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (good, bad) = (file("good.png"), file("bad.png"));
    image::RgbImage::new(4, 2).save(&good).unwrap();
    std::fs::write(&bad, "no picture").unwrap();
    let pictures = Some(Purpose::OpenPictures);
    assert!(answer(pictures, &[&bad]).unwrap_err().contains("bad.png"));
    assert!(answer(pictures, &[&file("none.png")]).unwrap_err().contains("none.png"));
    let both = [bad.as_path(), good.as_path()];
    assert_eq!(answer(pictures, &both).unwrap().1, both, "the good one is opened, the other is told of then");
    assert!(answer(pictures, &[&bad, &file("none.png")]).is_err());
    assert!(answer(Some(Purpose::OpenSession), &[&good]).unwrap_err().contains("no Lapidary session"));
    let missing = file("no folder").join("x");
    assert!(answer(Some(Purpose::SaveSession), &[&missing]).unwrap_err().contains("this folder is not there"));
    assert!(answer(Some(Purpose::SaveSession), &[folder.path()]).unwrap_err().contains("this is a folder"));
    let saved = answer(Some(Purpose::SaveSession), &[&file("radius0.5")]).unwrap().1;
    assert_eq!(saved, [file("radius0.5.lapidary")]);
}

#[test]
fn a_session_is_known_by_what_it_holds_wherever_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("radius0.5");
    let settings = crate::session::Settings::default();
    let trace = crate::trace::Trace::default();
    let document = Document::new(&settings, &crate::session::Provenance::new(), None, &trace, None);
    std::fs::write(&session, document.to_json()).unwrap();
    let ended = folder.path().join("mine.lapidary");
    std::fs::copy(&session, &ended).unwrap();
    let opened = answer(Some(Purpose::OpenSession), &[&folder.path().join("mine")]);
    assert_eq!(opened, Ok((Purpose::OpenSession, vec![ended])), "as it was called when it was saved");
    for purpose in [None, Some(Purpose::OpenPictures), Some(Purpose::OpenSession)] {
        assert_eq!(answer(purpose, &[&session]), Ok((Purpose::OpenSession, vec![session.clone()])), "{purpose:?}");
    }
}

#[test]
fn the_systems_dialog_offers_every_file_of_weights() {
    for purpose in [Purpose::Generator, Purpose::Classifier] {
        let (kind, filter) = purpose.wish();
        let (_, endings) = filter.unwrap();
        assert_eq!(kind, Kind::File);
        for ending in ["ckpt", "bin", "pkl", "tar", "pt", "pth", "safetensors", "toml"] {
            assert!(endings.contains(&ending), "{ending}");
        }
    }
}

#[test]
fn real_pictures_that_serve_no_distance_are_refused_in_the_dialog() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let against = Against { judge: None, shape: [3, 8, 8] };
    let answer = |name: &str| answer_to_real(Purpose::Real, vec![at(name)], &against);
    std::fs::write(at("notes.txt"), "some words").unwrap();
    let Answer::Refused(why) = answer("notes.txt") else { panic!("refused") };
    assert!(why[0].starts_with("this is a text file, but real pictures are needed: give an .npz"), "{why:?}");
    let Answer::Refused(why) = answer("none.npz") else { panic!("refused") };
    assert!(why[0].contains("check the path"), "{why:?}");
    std::fs::create_dir(at("real")).unwrap();
    for name in ["real/a.png", "real/b.png"] {
        image::RgbImage::new(8, 8).save(at(name)).unwrap();
    }
    assert_eq!(answer("real"), Answer::Files(Purpose::Real, vec![at("real")], Detail::Full));
}
