//! Pictures of every kind of source, in order and whole.

use super::*;

#[test]
fn a_folder_without_pictures_and_an_archive_among_others_are_refused() {
    let (folder, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let error = PictureSource::open(&[empty.path().to_owned()]).unwrap_err().to_string();
    assert!(error.starts_with("no picture is in this folder"), "{error}");
    let archive = folder.path().join("c.npz");
    std::fs::write(&archive, b"PK\x03\x04").unwrap();
    let error = PictureSource::open(&[folder.path().join("a.png"), archive]).unwrap_err().to_string();
    assert!(error.contains("is opened alone"), "{error}");
}

#[test]
fn several_folders_of_results_are_no_folders_without_pictures() {
    let place = tempfile::tempdir().unwrap();
    let folders = ["one", "two"].map(|name| place.path().join(name));
    for folder in &folders {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("samples.npz"), b"PK\x03\x04").unwrap();
        std::fs::write(folder.join(RESULTS_INDEX), "{}").unwrap();
        image::RgbImage::new(2, 2).save(folder.join("contact_sheet.png")).unwrap();
    }
    let text = PictureSource::open(&folders).unwrap_err().to_string();
    assert!(text.contains("is opened alone") && text.ends_with("samples.npz"), "{text}");
    // Where the same pictures lie one by one, these would have lost their classes.
    for folder in &folders {
        std::fs::create_dir(folder.join("images")).unwrap();
        image::RgbImage::new(2, 2).save(folder.join("images/000001.png")).unwrap();
    }
    assert_eq!(PictureSource::open(&folders).unwrap_err().to_string(), text);
}

#[test]
fn a_part_of_the_pictures_is_within_them() {
    let part = |skip, limit| Part { skip, limit };
    assert_eq!(part(0, None).of(5), Some(0..5));
    assert_eq!(part(3, Some(1)).of(5), Some(3..4));
    assert_eq!(part(3, Some(usize::MAX)).of(5), Some(3..5));
    assert_eq!([part(5, None).of(5), part(0, None).of(0)], [None, None]);
    assert!(part(0, None).is_all() && !part(0, Some(5)).is_all());
}

#[test]
fn one_bad_file_does_not_hide_the_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["stop/a.png", "stop/c.png", "yield/d.png", "yield/e.png"] {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        image::RgbImage::new(4, 2).save(at(name)).unwrap();
    }
    std::fs::write(at("stop/b.png"), "no picture").unwrap();
    let mut source = PictureSource::open(&[folder.path().to_owned()]).unwrap();
    source.take_classes(&["yield".to_owned(), "stop".to_owned()]);
    let (batch, errors) = source.readable(0..3, [3, 2, 2]);
    let batch = batch.unwrap();
    assert_eq!((batch.names.len(), errors.len(), batch.labels), (2, 1, Some(vec![1, 1])));
    assert_eq!(batch.fits[0], "stop/a.png: cropped 4×2 to its centre 2×2, pixels unchanged");
    let mut batches = Vec::new();
    let each = &mut |batch: Batch| {
        batches.push((batch.first, batch.names.concat(), batch.labels.unwrap()));
        Ok::<_, PictureError>(true)
    };
    let told = source.for_each_batch(0..9, ([3, 2, 2], 3), each).unwrap();
    let wanted = [(0, "stop/a.png", vec![1]), (2, "stop/c.png", vec![1]), (3, "yield/d.pngyield/e.png", vec![0, 0])];
    assert_eq!(batches, wanted.map(|(first, names, labels)| (first, names.to_owned(), labels)), "places stay");
    // Whoever begins later, even within one, has the batches of the whole.
    let mut later = Vec::new();
    let each = &mut |batch: Batch| {
        later.push((batch.first, batch.names.len()));
        Ok::<_, PictureError>(true)
    };
    source.for_each_batch_from(0, 2..9, ([3, 2, 2], 3), each).unwrap();
    assert_eq!(later, [(2, 1), (3, 2)]);
    assert!(told.len() == 1 && told[0].contains("b.png is left out: this is a text file"), "{told:?}");
    let strict = source.strictly(true);
    assert!(strict.for_each_batch(0..9, ([3, 2, 2], 2), &mut |_| Ok::<_, PictureError>(true)).is_err());
    assert!(strict.readable(0..9, [3, 2, 2]).0.is_none());
    let bad = PictureSource::open(&[at("stop/b.png")]).unwrap();
    assert!(bad.for_each_batch(0..1, ([3, 2, 2], 2), &mut |_| Ok::<_, PictureError>(true)).is_err());
}
