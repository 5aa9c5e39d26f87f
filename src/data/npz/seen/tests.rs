//! Statistics and features as other programs write them, and those that cannot be used.

use std::io::Write as _;

use npyz::{AutoSerialize, WriterBuilder as _};

use super::*;

/// An array as `np.save` writes it.
fn npy<T: AutoSerialize>(shape: &[u64], values: Vec<T>, order: npyz::Order) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::<T>::new().default_dtype().shape(shape).order(order);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
    bytes
}

fn rows<T: AutoSerialize>(shape: &[u64], values: Vec<T>) -> Vec<u8> {
    npy(shape, values, npyz::Order::C)
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kind = npyz::DType::Plain(format!("<U{}", text.chars().count()).parse().unwrap());
    npyz::WriteOptions::new_header_only().dtype(kind).shape(&[1]).writer(&mut bytes).write_header_only().unwrap();
    bytes.extend(text.chars().flat_map(|c| (c as u32).to_le_bytes()));
    bytes
}

fn write(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn mean_and_covariance_of_any_precision_and_order_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.npz");
    let read = |arrays: &[(&str, Vec<u8>)]| {
        write(&path, arrays);
        read_statistics(&path).unwrap()
    };
    let sigma = vec![2.0, 0.5, 0.5, 1.0];
    let double = read(&[("mu", rows(&[2], vec![0.25, -1.0])), ("sigma", rows(&[2, 2], sigma.clone()))]);
    assert_eq!(double.statistics.gaussian.mean.as_slice(), [0.25, -1.0]);
    assert_eq!(double.statistics.gaussian.covariance.as_slice(), sigma);
    assert_eq!((double.statistics.is_exact, double.statistics.count, double.sight), (true, None, None));
    let single: Vec<f32> = sigma.iter().map(|value| *value as f32).collect();
    let single = npy(&[2, 2], single, npyz::Order::Fortran);
    // What guided-diffusion has beside is read, or left aside.
    let found = read(&[
        ("mu", rows(&[1, 2], vec![0.25_f32, -1.0])),
        ("sigma", single),
        ("mu_s", rows(&[1], vec![3.0])),
        ("sigma_s", rows(&[1, 1], vec![4.0])),
        ("mu_clip", rows(&[1], vec![5.0])),
    ]);
    assert_eq!(found.statistics.gaussian, double.statistics.gaussian);
    assert_eq!(found.statistics.spatial.unwrap().covariance[(0, 0)], 4.0);
    assert!(!found.statistics.is_exact, "single precision does not tell a rank");
    let flat = read(&[("mu", rows(&[2], vec![0.0; 2])), ("sigma", rows(&[2, 2], vec![1.0, 2.0, 2.0, 4.0]))]);
    assert_eq!(flat.statistics.gaussian.rank(), 1);
}

#[test]
fn what_are_no_statistics_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.npz");
    let (mu, sigma) = (|| ("mu", rows(&[2], vec![0.0; 2])), |values| ("sigma", rows(&[2, 2], values)));
    for (arrays, says) in [
        (vec![mu()], "it has mu, but no sigma"),
        (vec![sigma(vec![1.0; 4])], "it has sigma, but no mu"),
        (vec![mu(), ("sigma", rows(&[2], vec![1.0; 2]))], "mu has the shape [2] and sigma [2], but [D] and [D, D]"),
        (vec![mu(), ("sigma", rows(&[3, 3], vec![1.0; 9]))], "sigma [3, 3]"),
        (vec![mu(), sigma(vec![1.0, f64::NAN, 0.0, 1.0])], "mu, sigma: the covariance has NaN"),
        (vec![mu(), sigma(vec![1.0, 0.5, 0.0, 1.0])], "is not symmetric"),
        (vec![mu(), sigma(vec![0.0; 4])], "the covariance is 0"),
        (vec![mu(), ("sigma", rows(&[2, 2], vec![1_i64, 0, 0, 1]))], "sigma is of type '<i8', not float"),
        (vec![mu(), sigma(vec![1.0, 0.0, 0.0, 1.0]), ("mu_s", rows(&[1], vec![0.0]))], "it has mu_s, but no sigma_s"),
        (vec![mu(), sigma(vec![1.0, 0.0, 0.0, 1.0]), ("lapidary", text("{}"))], "is not understood"),
    ] {
        write(&path, &arrays);
        let error = read_statistics(&path).unwrap_err().to_string();
        assert!(error.starts_with("the statistics of this archive cannot be used") && error.contains(says), "{error}");
        assert_eq!(seen_in(&path).unwrap(), Some(SeenKind::Statistics));
    }
    let cut = rows(&[2, 2], vec![1.0, 0.0, 0.0, 1.0]);
    write(&path, &[mu(), ("sigma", cut[..cut.len() - 8].to_vec())]);
    let error = read_statistics(&path).unwrap_err().to_string();
    assert!(error.contains("sigma cannot be read") && error.contains("damaged"), "{error}");
}

#[test]
fn features_that_do_not_say_what_they_are_of_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.npz");
    let refusal = |arrays: &[(&str, Vec<u8>)]| {
        write(&path, arrays);
        assert_eq!(seen_in(&path).unwrap(), Some(SeenKind::Features));
        read_features(&path).unwrap_err().to_string()
    };
    let features = |values| ("features", rows(&[2, 1], values));
    let logits = || ("logits", rows(&[2, 1], vec![0.0_f32; 2]));
    let hashes = || ("hashes", rows(&[2, 4], vec![0_u64; 8]));
    let sight = |features: usize| {
        let sight = Sight {
            extractor: "judge".to_owned(),
            sha256: String::new(),
            features,
            shape: [1, 1, 1],
            levels: Sight::LEVELS,
            resize: "none".to_owned(),
            device: String::new(),
            pictures: 2,
            pictures_sha256: Digest::default().digits(),
        };
        ("lapidary", text(&sight.text(KINDS[0])))
    };
    assert!(refusal(&[features(vec![0.0, 1.0])]).contains("does not say which network saw them"));
    let error = refusal(&[features(vec![0.0, 1.0]), logits(), hashes(), sight(3)]);
    assert!(error.contains("holds 3 features of 2 pictures, but features have the shape [2, 1]"), "{error}");
    let error = refusal(&[features(vec![0.0, f64::NAN]), logits(), hashes(), sight(1)]);
    assert!(error.contains("picture 1 of 2 has features that are not finite"), "{error}");
    let few = ("hashes", rows(&[1, 4], vec![0_u64; 4]));
    assert!(refusal(&[features(vec![0.0, 1.0]), logits(), few, sight(1)]).contains("but there are 2 pictures"));
    let label = ("labels", rows(&[2], vec![0_i64, -1]));
    let error = refusal(&[features(vec![0.0, 1.0]), logits(), hashes(), sight(1), label]);
    assert!(error.contains("labels holds the label -1 for picture 1"), "{error}");
    let columns = ("features", npy(&[2, 2], vec![0.0, 1.0, 2.0, 3.0], npyz::Order::Fortran));
    write(&path, &[columns, logits(), hashes(), sight(2)]);
    assert_eq!(read_features(&path).unwrap().features.values(), [0.0, 2.0, 1.0, 3.0], "row by row");
}

#[test]
fn what_an_archive_holds_is_told_by_its_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let some = |key| (key, rows(&[1], vec![0.0]));
    for (arrays, kind) in [
        (vec![some("mu"), some("sigma"), some("arr_0")], Some(SeenKind::StatisticsAndPictures)),
        (vec![some("arr_0"), some("features")], None),
        (vec![some("images"), some("labels")], None),
    ] {
        write(&path, &arrays);
        assert_eq!(seen_in(&path).unwrap(), kind);
    }
    write(&path, &[some("m"), some("s")]);
    let error = seen_in(&path).unwrap_err().to_string();
    assert!(error.contains("it has m, s, but no pictures, features, or mu and sigma"), "{error}");
    assert_eq!(seen_in(folder.path()).unwrap(), None);
    assert_eq!(seen_in(&folder.path().join("not there")).unwrap(), None);
}

#[test]
fn pictures_are_known_in_any_order_and_by_their_form() {
    let own = |level| Digest::of([1, 1, 2], &[level, 0]);
    let [a, b] = [own(1), own(2)];
    assert_eq!(Digest::sum(&[a, b]), Digest::sum(&[b, a]));
    assert!(a != b && a != Digest::of([1, 2, 1], &[1, 0]) && Digest::sum(&[a, a]) != a);
    assert_eq!((a.digits().len(), Digest::default().digits()), (64, "0".repeat(64)));
}
