//! Archives as guided-diffusion and other programs write them, and those that cannot be used.

use std::io::Write as _;

use npyz::{AutoSerialize, WriterBuilder as _};

use super::*;
use crate::data::PictureSource;

/// An array as `np.save` writes it.
fn npy<T: AutoSerialize>(shape: &[u64], values: Vec<T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::<T>::new().default_dtype().shape(shape);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
    bytes
}

fn write(path: &Path, arrays: &[(&str, Vec<u8>)], method: zip::CompressionMethod) {
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Five pictures of 2×2; level of picture i, pixel p, channel c: `40 i + 10 p + c`.
fn levels() -> Vec<u8> {
    (0..5_u8).flat_map(|i| (0..4).flat_map(move |p| (0..3).map(move |c| 40 * i + 10 * p + c))).collect()
}

fn batches(source: &PictureSource, range: Range<usize>, batch: usize) -> Vec<Batch> {
    let mut all = Vec::new();
    source
        .for_each_batch(range, ([3, 32, 32], batch), &mut |batch| {
            all.push(batch);
            Ok::<_, PictureError>(true)
        })
        .unwrap();
    all
}

#[test]
fn an_archive_of_a_refinement_holds_the_pictures_before_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.npz");
    let floats = |add: f32| (0..60).map(|i| i as f32 / 100.0 + add).collect::<Vec<f32>>();
    let open = |shape: &[u64], before: Vec<f32>, key: &str| {
        let arrays = [
            ("arr_0.npy", npy(&[5, 2, 2, 3], levels_of(&floats(0.0), f32::round))),
            (key, npy(&[5, 3, 2, 2], floats(0.0))),
            ("before.npy", npy(shape, before)),
            ("seeds.npy", npy(&[5], vec![0_u64, 1, 2, 3, 4])),
        ];
        write(&path, &arrays, zip::CompressionMethod::Stored);
        PictureSource::open(std::slice::from_ref(&path)).unwrap().before()
    };
    // Its levels are those of the pictures after it.
    let before = open(&[5, 3, 2, 2], floats(0.25), "after.npy").unwrap().expect("they are there");
    let all = batches(&before, 0..5, 5);
    assert_eq!(all[0].images.pixels(), floats(0.25));
    let text = open(&[4, 3, 2, 2], vec![0.5; 48], "after.npy").unwrap_err().to_string();
    assert!(text.contains("before and after are not of the same form"), "{text}");
    assert_eq!(open(&[5, 3, 2, 2], floats(0.25), "images.npy").unwrap(), None, "nothing was refined");
}

#[test]
fn labels_go_by_the_names_of_their_classes_where_an_archive_says_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.npz");
    let names = |names: [&str; 2]| {
        let mut bytes = Vec::new();
        let kind = npyz::DType::Plain("<U5".parse().unwrap());
        let options = npyz::WriteOptions::new_header_only().dtype(kind).shape(&[2]);
        let out = options.writer(&mut bytes).write_header_only().unwrap();
        for name in names {
            let padded = name.chars().map(u32::from).chain(std::iter::repeat(0)).take(5);
            out.write_all(&padded.flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
        }
        ("class_names.npy", bytes)
    };
    let pictures = ("arr_0.npy", npy(&[5, 2, 2, 3], levels()));
    let labels = ("arr_1.npy", npy(&[5], vec![1_i64, 0, 1, 1, 0]));
    let arrays = [pictures, labels, names(["stop", "yield"])];
    write(&path, &arrays, zip::CompressionMethod::Stored);
    let of = |model: &[&str]| {
        let mut source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        source.take_classes(&model.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        source
    };
    assert_eq!(of(&[]).labels(), Some(&[1, 0, 1, 1, 0][..]), "of no model");
    assert_eq!(of(&["stop", "yield", "go"]).labels(), Some(&[1, 0, 1, 1, 0][..]));
    assert_eq!(of(&["yield", "go", "stop"]).labels(), Some(&[0, 2, 0, 0, 2][..]));
    let foreign = of(&["cat", "dog"]);
    assert!(foreign.foreign().is_some() && foreign.labels().is_none(), "others are no classes of it");
    assert!(foreign.notes().iter().any(|note| note.contains("2 classes (stop, yield)")), "{:?}", foreign.notes());
    write(&path, &arrays[..2], zip::CompressionMethod::Stored);
    assert_eq!(of(&["cat", "dog"]).labels(), Some(&[1, 0, 1, 1, 0][..]), "numbers alone are numbers");
}

#[test]
fn levels_that_hardly_differ_from_black_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("masks.npz");
    for (largest, is_told) in [(0_u8, false), (1, true), (2, true), (3, false)] {
        let values = (0..24).map(|i| if i == 17 { largest } else { 0 }).collect();
        write(&path, &[("arr_0.npy", npy(&[2, 2, 2, 3], values))], zip::CompressionMethod::Stored);
        let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        let form = ([3, 2, 2], 1);
        let notes = source.for_each_batch(0..2, form, &mut |_| Ok::<_, PictureError>(true)).unwrap().concat();
        let told = notes.contains(&format!("the largest level of masks.npz is {largest} of 255: were these meant"));
        assert_eq!(told, is_told, "{largest}: {notes}");
    }
}

#[test]
fn an_archive_comes_batch_by_batch_at_its_own_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.npz");
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let labels = npy(&[5], vec![7_i64, 1, 0, 3, 9]);
        write(&path, &[("arr_0.npy", npy(&[5, 2, 2, 3], levels())), ("arr_1.npy", labels)], method);
        let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        assert_eq!((source.count(), source.native_size(), source.has_labels()), (5, Some([2, 2]), true));
        let all = batches(&source, 1..9, 3);
        assert_eq!(all.iter().map(|batch| (batch.first, batch.images.len())).collect::<Vec<_>>(), [(1, 3), (4, 1)]);
        assert_eq!(all[0].labels, Some(vec![1, 0, 3]));
        assert_eq!(all[1].names, ["samples.npz #4"]);
        let value = all[0].images.get(1, 2, 1, 0).unwrap();
        assert_eq!(value, f32::from(40_u8 * 2 + 20 + 2) / 255.0, "picture 2, third pixel, blue");
        assert_eq!(all[1].fits, ["samples.npz #4: 2×2, pixels unchanged"]);
    }
}

#[test]
fn floats_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floats.npz");
    write(&path, &[("arr_0.npy", npy(&[1, 1, 1, 3], vec![0.125_f32, 0.5, 1.0]))], zip::CompressionMethod::Stored);
    let source = PictureSource::open(&[path]).unwrap();
    assert_eq!(batches(&source, 0..1, 1)[0].images.pixels(), [0.125, 0.5, 1.0]);
    assert!(!source.has_labels());
}

#[test]
fn pictures_have_any_form_and_up_to_four_channels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.npz");
    for channels in 1..=4_usize {
        let levels: Vec<u8> = (0..2 * 3 * channels).map(|level| level as u8).collect();
        write(&path, &[("arr_0.npy", npy(&[1, 2, 3, channels as u64], levels))], zip::CompressionMethod::Stored);
        let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        assert_eq!(source.native_size(), Some([2, 3]));
        let batch = batches(&source, 0..1, 1).remove(0);
        assert_eq!(batch.images.shape(), [1, channels, 2, 3]);
        let last = batch.images.get(0, channels - 1, 1, 0).unwrap();
        assert_eq!(last, (3 * channels + channels - 1) as f32 / 255.0);
        assert_eq!(batch.fits, ["wide.npz #0: 3×2, pixels unchanged"]);
    }
}

#[test]
fn labels_are_integers_of_any_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.npz");
    let arrays = [
        npy(&[5], vec![0_u8, 1, 2, 3, 200]),
        npy(&[5], vec![0_i16, 1, 2, 3, 200]),
        npy(&[5], vec![0_u32, 1, 2, 3, 200]),
        npy(&[5], vec![0_u64, 1, 2, 3, 200]),
    ];
    for labels in arrays {
        write(
            &path,
            &[("arr_0.npy", npy(&[5, 2, 2, 3], levels())), ("arr_1.npy", labels)],
            zip::CompressionMethod::Stored,
        );
        let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        assert_eq!(source.labels(), Some([0, 1, 2, 3, 200].as_slice()));
    }
    // The same of a data set.
    let set = [("images.npy", npy(&[5, 2, 2, 3], levels())), ("labels.npy", npy(&[5], vec![0_u8, 1, 2, 3, 200]))];
    write(&path, &set, zip::CompressionMethod::Stored);
    let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
    assert_eq!((source.count(), source.labels()), (5, Some([0, 1, 2, 3, 200].as_slice())));
    let alone = folder.path().join("alone.npy");
    std::fs::write(&alone, npy(&[5, 2, 2, 3], levels())).unwrap();
    assert!(PictureSource::open(&[alone]).unwrap_err().to_string().contains("np.savez"));
}

#[test]
fn what_other_programs_write_is_converted_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.npz");
    let read = |arrays: &[(&str, Vec<u8>)]| {
        write(&path, arrays, zip::CompressionMethod::Deflated);
        let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        let batch = source.readable(1..5, [3, 2, 2]).0.unwrap();
        (batch, source.notes().join("; "))
    };
    let (wanted, none) = read(&[("arr_0.npy", npy(&[5, 2, 2, 3], levels()))]);
    assert_eq!(none, "");
    let fortran = || {
        // The first extent changes fastest.
        let at = |i: usize, y: usize, x: usize, c: usize| levels()[((i * 2 + y) * 2 + x) * 3 + c];
        let mut values = Vec::new();
        for place in 0..60 {
            values.push(at(place % 5, place / 5 % 2, place / 10 % 2, place / 20));
        }
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::<u8>::new().default_dtype().shape(&[5, 2, 2, 3]).order(Order::Fortran);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let wide: Vec<i64> = levels().into_iter().map(i64::from).collect();
    let double: Vec<f64> = levels().into_iter().map(|level| f64::from(level) / 255.0).collect();
    let turned = [fortran(), npy(&[5, 2, 2, 3], wide), npy(&[5, 2, 2, 3], double)];
    let said = ["in Fortran order", "'<i8' is read as levels", "'<f8' is read as float32"];
    for (pictures, said) in turned.into_iter().zip(said) {
        let (batch, notes) = read(&[("arr_0.npy", pictures)]);
        assert_eq!(batch.images, wanted.images, "{said}");
        assert!(notes.contains(said) && notes.contains("other.npz"), "{notes}");
    }
    let planes: Vec<u8> = (0..30).collect();
    let (batch, notes) = read(&[("arr_0.npy", npy(&[2, 3, 1, 5], planes))]);
    assert_eq!((batch.images.shape(), batch.images.get(0, 2, 0, 4)), ([1, 3, 1, 5], Some(29.0 / 255.0)));
    assert!(notes.contains("N×C×H×W"), "{notes}");
    let mut nearly: Vec<f32> = levels().into_iter().map(|level| f32::from(level) / 255.0).collect();
    nearly[13] = 1.000_000_1;
    let (batch, _) = read(&[("arr_0.npy", npy(&[5, 2, 2, 3], nearly))]);
    assert_eq!(batch.images.get(0, 1, 0, 0), Some(1.0));
    assert!(batch.fits.last().unwrap().contains("1 values of other.npz were outside of [0,1]"), "{:?}", batch.fits);

    let one_hot: Vec<f32> =
        [2, 0, 1, 1, 2].into_iter().flat_map(|class| (0..3).map(move |c| f32::from(u8::from(c == class)))).collect();
    for (labels, said) in [
        (npy(&[5, 1], vec![2_i64, 0, 1, 1, 2]), "N×1"),
        (npy(&[5, 3], one_hot), "one-hot"),
        (npy(&[5], vec![2.0_f64, 0.0, 1.0, 1.0, 2.0]), "whole numbers of type '<f8'"),
    ] {
        let (batch, notes) = read(&[("arr_0.npy", npy(&[5, 2, 2, 3], levels())), ("arr_1.npy", labels)]);
        assert_eq!(batch.labels, Some(vec![0, 1, 1, 2]), "{said}");
        assert!(notes.contains(said), "{notes}");
        let columns = PictureSource::open(std::slice::from_ref(&path)).unwrap().label_classes();
        assert_eq!(columns, (said == "one-hot").then_some(3));
    }
}

#[test]
fn of_an_archive_of_ours_the_floats_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.npz");
    let floats: Vec<f32> = (0..60).map(|i| i as f32 / 60.0).collect();
    let pictures = |shape: &[u64]| ("images.npy", npy(shape, floats.clone()));
    let read_beside = |levels: Vec<u8>, more: &[(&str, Vec<u8>)]| {
        let arrays = [&[("arr_0.npy", npy(&[5, 2, 2, 3], levels))][..], more].concat();
        write(&path, &arrays, zip::CompressionMethod::Stored);
        let source = PictureSource::open(&[folder.path().to_owned()]).unwrap();
        (batches(&source, 1..3, 2).remove(0).images, source.notes().join("; "))
    };
    let read = |more: &[(&str, Vec<u8>)]| read_beside(levels(), more);
    let seeds = ("seeds.npy", npy(&[5], vec![0_u64; 5]));
    std::fs::write(folder.path().join("session.json"), "{\"format\": \"lapidary-session\"}").unwrap();
    image::RgbImage::new(2, 2).save(folder.path().join("contact_sheet.png")).unwrap();
    let (images, notes) = read_beside(levels_of(&floats, f32::round), &[pictures(&[5, 3, 2, 2]), seeds.clone()]);
    assert_eq!(images.pixels(), &floats[12..36]);
    assert!(notes.contains("the pictures of its samples.npz are taken"), "{notes}");
    assert!(notes.contains("as floats too (images), which are taken instead"), "{notes}");
    let level = |images: &ImageBatch| images.get(0, 1, 0, 0).unwrap() * 255.0;
    let (images, notes) = read(&[pictures(&[5, 3, 2, 2])]);
    assert_eq!((level(&images), notes.contains("floats")), (41.0, false), "another program's own array");
    // Seeds are told of to whoever starts at random from them alone, and nothing else is left out.
    let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
    assert!(source.notes_without_starts() == source.notes(), "it has no seeds");
    read_beside(levels_of(&floats, f32::round), &[pictures(&[5, 3, 2, 2]), seeds.clone()]);
    let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
    let (others, starts): (Vec<_>, Vec<_>) =
        source.notes().iter().cloned().partition(|note| !note.contains("random starts follow"));
    assert_eq!((source.notes_without_starts(), starts.len()), (others.clone(), 1));
    assert!(!others.is_empty());
    let (images, _) = read(&[pictures(&[5, 2, 2, 3]), seeds]);
    assert_eq!(level(&images), 41.0, "other pictures");
}

/// Levels, `[N, H, W, C]`, of floats, `[N, 3, 2, 2]`.
fn levels_of(floats: &[f32], round: fn(f32) -> f32) -> Vec<u8> {
    let level = |at: usize| round(255.0 * floats[at / 12 * 12 + at % 3 * 4 + at / 3 % 4]) as u8;
    (0..floats.len()).map(level).collect()
}

#[test]
fn an_archive_of_ours_whose_levels_are_not_those_of_its_floats_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result.npz");
    let floats: Vec<f32> = (0..60).map(|i| i as f32 / 60.0).collect();
    let read = |levels: Vec<u8>, range: Range<usize>| {
        let arrays = [
            ("arr_0.npy", npy(&[5, 2, 2, 3], levels)),
            ("after.npy", npy(&[5, 3, 2, 2], floats.clone())),
            ("seeds.npy", npy(&[5], vec![0_u64, 1, 2, 3, 4])),
        ];
        write(&path, &arrays, zip::CompressionMethod::Stored);
        let source = PictureSource::open(std::slice::from_ref(&path)).unwrap();
        let mut pixels = Vec::new();
        let read = source.for_each_batch(range, ([3, 2, 2], 2), &mut |batch| {
            pixels.extend_from_slice(batch.images.pixels());
            Ok::<_, PictureError>(true)
        });
        read.map(|_| pixels).map_err(|error| error.to_string())
    };
    for round in [f32::round, f32::floor] {
        let levels = levels_of(&floats, round);
        assert_eq!(read(levels.clone(), 0..5).unwrap(), floats, "rounded or cut, as they are written");
        for (place, range) in [(0, 0..5), (3, 0..5), (3, 3..4), (4, 1..5)] {
            let mut edited = levels.clone();
            edited[place * 12 + 7] ^= 4;
            let text = read(edited, range).unwrap_err();
            assert!(text.contains(&format!("picture {place} is another one in arr_0 than in after")), "{text}");
            assert!(
                text.contains("one of both was changed") && text.contains("write it again with np.savez"),
                "{text}"
            );
        }
        let mut edited = levels;
        edited[0] ^= 4;
        assert_eq!(read(edited, 1..5).unwrap(), floats[12..], "what is not read is not compared");
    }
}

#[test]
fn archives_that_cannot_be_used_are_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.npz");
    let refused = |arrays: &[(&str, Vec<u8>)]| {
        write(&path, arrays, zip::CompressionMethod::Stored);
        let source = match PictureSource::open(std::slice::from_ref(&path)) {
            Ok(source) => source,
            Err(error) => return error.to_string(),
        };
        let (batch, errors) = source.readable(0..256, [3, 32, 32]);
        assert!(batch.is_none());
        errors[0].to_string()
    };
    let pictures = || ("arr_0.npy", npy(&[5, 2, 2, 3], levels()));
    let other = [("pictures.npy", npy(&[1], vec![1_u8])), ("seeds.npy", npy(&[1], vec![1_u8]))];
    assert!(refused(&other).contains("it has pictures, seeds, but no arr_0"));
    assert!(refused(&[("net/data.pkl", Vec::new())]).contains("this is a checkpoint, not a picture"));
    for channels in [0, 5] {
        let text = refused(&[("arr_0.npy", npy(&[1, 6, 2, channels], vec![0_u8; 12 * channels as usize]))]);
        assert!(text.contains(&format!("arr_0 has the shape [1, 6, 2, {channels}]")), "{text}");
    }
    let text = refused(&[("arr_0.npy", npy(&[1, 1, 1, 3], vec![3_i64, 256, 0]))]);
    assert!(text.contains("arr_0 holds 256, which is no level"), "{text}");
    let text = refused(&[("arr_0.npy", npy(&[1, 1, 1, 3], vec![0.5_f32, -0.5, 1.0]))]);
    assert!(text.contains("arr_0 holds -0.5") && text.contains("(x + 1) / 2"), "{text}");
    let text = refused(&[("arr_0.npy", npy(&[1, 1, 1, 3], vec![0.5_f32, 254.0, 1.0]))]);
    assert!(text.contains("arr_0 holds 254") && text.contains("x / 255"), "{text}");
    let text = refused(&[pictures(), ("arr_1.npy", npy(&[5], vec![0.5_f32; 5]))]);
    assert!(text.contains("arr_1 holds the label 0.5") && text.contains("name classes with --classes"), "{text}");
    let text = refused(&[pictures(), ("arr_1.npy", npy(&[5], vec![true; 5]))]);
    assert!(text.contains("arr_1 is of type '|b1', but labels are integers"), "{text}");
    let text = refused(&[pictures(), ("arr_1.npy", npy(&[5, 2], vec![1_u8; 10]))]);
    assert!(text.contains("arr_1 holds a row that is not one-hot"), "{text}");
    let text = refused(&[pictures(), ("arr_1.npy", npy(&[4], vec![0_i64; 4]))]);
    assert!(text.contains("arr_1 has the shape [4], but there are 5 pictures"), "{text}");
    let text = refused(&[pictures(), ("arr_1.npy", npy(&[5], vec![0_i32, 1, 2, 3, -1]))]);
    assert!(text.contains("arr_1 holds the label -1"), "{text}");
    let mut short = npy(&[5, 2, 2, 3], levels());
    short.truncate(short.len() - 1);
    let text = refused(&[("arr_0.npy", short)]);
    assert!(text.contains("it ends before its 5 pictures do") && text.contains("write or copy it again"), "{text}");
    let mut long = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec();
    long.extend([b' '; 64]);
    assert!(refused(&[("arr_0.npy", long)]).contains("the header of arr_0 cannot be read"));
    let nested = [b"\x93NUMPY\x01\x00\x40\x00".to_vec(), vec![b'('; 64]].concat();
    assert!(refused(&[("arr_0.npy", nested)]).contains("the header of arr_0 cannot be read"));
    write(&path, &[pictures()], zip::CompressionMethod::Stored);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let text = PictureSource::open(std::slice::from_ref(&path)).unwrap_err().to_string();
    assert!(text.contains("damaged or was cut off"), "{text}");
}

#[test]
fn an_archive_that_is_packed_in_an_odd_way_is_to_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.npz");
    write(&path, &[("arr_0.npy", npy(&[5, 2, 2, 3], levels()))], zip::CompressionMethod::Stored);
    let mut bytes = std::fs::read(&path).unwrap();
    // Bzip2, in the header of the array and in the list of arrays.
    for (header, method) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
        let at = bytes.windows(4).position(|four| four == header).unwrap();
        bytes[at + method] = 12;
    }
    std::fs::write(&path, bytes).unwrap();
    let text = PictureSource::open(&[path]).unwrap_err().to_string();
    assert!(text.contains("is packed in a way that is not read") && text.contains("np.savez"), "{text}");
}
