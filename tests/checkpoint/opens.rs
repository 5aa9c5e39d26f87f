//! What holds the same weights opens, however it was packed, named or split; and what is wrong with weights is told.

use std::collections::BTreeMap;
use std::io::Read as _;

use lapidary::zoo::{ManifestKind, Opened, recognise};
use serde_json::{Value, json};

use super::*;

/// Tensors of a bundled model, by name.
fn tensors(name: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let checkpoint = open(&bundled(name));
    let read = |(name, info): (&String, &lapidary::checkpoint::TensorInfo)| {
        (name.clone(), info.shape.clone(), checkpoint.read(name).expect("a file of these tests"))
    };
    checkpoint.tensors().iter().map(read).collect()
}

type Tensors = [(String, Vec<usize>, Vec<f32>)];

fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes);
    let views = views.map(|((name, shape, _), bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a file of these tests"))
    });
    safetensors::serialize(views, None).expect("a file of these tests")
}

fn renamed(tensors: &Tensors, rename: impl Fn(&str) -> String) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    tensors.iter().map(|(name, shape, values)| (rename(name), shape.clone(), values.clone())).collect()
}

/// All of them are there, under the names of the network, with the same values.
fn assert_same(opened: &Opened, wanted: &Tensors) {
    for (name, _, values) in wanted {
        assert_eq!(&opened.checkpoint.read(name).expect("a file of these tests"), values, "{name}");
    }
}

fn classifier_error(path: &Path) -> CheckpointError {
    let model = resolve(path.to_str().expect("a file of these tests"), &cache()).expect("a file of these tests");
    Classifier::read(&model.manifest, Weights::new(&open(&model)), &Device::flex()).expect_err("it must be refused")
}

#[test]
fn values_that_cannot_be_are_found_when_weights_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = tensors("gtsrb12-joint");
    for (tensor, values, what) in [
        ("layer2.0.conv1.weight", vec![f32::NAN], "1 of the 41472 values of \"layer2.0.conv1.weight\" cannot be"),
        (
            "fc.bias",
            vec![f32::INFINITY, f32::NEG_INFINITY],
            "2 of the 12 values of \"fc.bias\" cannot be (not a number, or",
        ),
        ("bn1.running_var", vec![-1.0], "values of \"bn1.running_var\" cannot be (a negative variance)"),
    ] {
        let mut broken = whole.clone();
        let place = broken.iter().position(|(name, ..)| name == tensor).unwrap();
        broken[place].2[..values.len()].copy_from_slice(&values);
        let path = write(&folder, "broken.safetensors", &safetensors(&broken));
        let error = classifier_error(&path);
        assert_message(&error, &path, what);
        let mut report = Vec::new();
        let folders = lapidary::session::host::Folders { cache: cache(), autosave: cache() };
        lapidary::cli::inspect::run(&path, false, &folders, &mut report).unwrap_err();
        let report = String::from_utf8(report).unwrap();
        assert!(report.contains("opens           no: "), "{report}");
    }
    let mut unet = tensors("gtsrb12-cm");
    unet[3].2[0] = f32::NAN;
    let path = write(&folder, "unet.safetensors", &safetensors(&unet));
    let model = resolve(path.to_str().unwrap(), &cache()).unwrap();
    let error = lapidary::generator::Generator::read(&model.manifest, Weights::new(&open(&model)), &Device::flex())
        .unwrap_err();
    assert!(matches!(error, CheckpointError::Broken { count: 1, .. }), "{error:?}");
}

/// The entries of a zip archive.
fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a file of these tests");
    let read = |place: usize, archive: &mut zip::ZipArchive<_>| {
        let mut entry: zip::read::ZipFile<'_, std::io::Cursor<&[u8]>> =
            archive.by_index(place).expect("a file of these tests");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a file of these tests");
        (entry.name().expect("a file of these tests").into_owned(), bytes)
    };
    (0..archive.len()).map(|place| read(place, &mut archive)).collect()
}

fn packed(entries: &[(String, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(name.as_str(), options).expect("a file of these tests");
        archive.write_all(bytes).expect("a file of these tests");
    }
    archive.finish().expect("a file of these tests").into_inner()
}

#[test]
fn an_archive_that_was_packed_again_opens_and_an_unpacked_one_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = tensors("gtsrb12-robust");
    let entries = entries(&bytes_of("gtsrb12-robust"));
    let bytes = packed(&entries, zip::CompressionMethod::Deflated);
    assert!(bytes.len() < entries.iter().map(|(_, bytes)| bytes.len()).sum());
    assert_same(&zoo::open(&write(&folder, "again.pt", &bytes)).unwrap(), &wanted);
    for (name, bytes) in &entries {
        let path = folder.path().join("unpacked").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for path in
        [folder.path().join("unpacked"), folder.path().join("unpacked").join(entries[0].0.split('/').next().unwrap())]
    {
        let error = zoo::open(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Unpacked { .. }), "{error:?}");
        assert!(error.to_string().contains("`zip -0 -r "), "{error}");
    }
}

#[test]
fn a_history_beside_the_weights_does_not_hide_them() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = tensors("gtsrb12-robust");
    let with_history = |numbers: usize| {
        let mut entries = entries(&bytes_of("gtsrb12-robust"));
        let pickle = &mut entries.iter_mut().find(|(name, _)| name.ends_with("data.pkl")).unwrap().1;
        assert_eq!(pickle.pop(), Some(b'.'));
        pickle.extend_from_slice(b"X\x07\0\0\0history](");
        for number in 0..numbers {
            pickle.push(b'G');
            pickle.extend((number as f64).sqrt().to_be_bytes());
        }
        pickle.extend_from_slice(b"es.");
        packed(&entries, zip::CompressionMethod::Stored)
    };
    let path = write(&folder, "history.pt", &with_history(500_000));
    assert_same(&zoo::open(&path).unwrap(), &wanted);
    let path = write(&folder, "long.pt", &with_history(2_000_000));
    let error = refused(&path, "save the weights alone with torch.save(model.state_dict(), file)");
    assert!(matches!(error, CheckpointError::Crowded { .. }), "{error:?}");
}

#[test]
fn a_dictionary_with_defaults_beside_the_weights_does_not_hide_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut entries = entries(&bytes_of("gtsrb12-robust"));
    let pickle = &mut entries.iter_mut().find(|(name, _)| name.ends_with("data.pkl")).unwrap().1;
    assert_eq!(pickle.pop(), Some(b'.'));
    pickle.extend_from_slice(b"X\x05\0\0\0hooksccollections\ndefaultdict\nc__builtin__\nlist\n\x85RK\x01K\x02ss.");
    let path = write(&folder, "hooks.pt", &packed(&entries, zip::CompressionMethod::Stored));
    assert_same(&zoo::open(&path).unwrap(), &tensors("gtsrb12-robust"));
}

#[test]
fn what_a_file_holds_beside_tensors_is_told_or_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = safetensors(&tensors("gtsrb12-joint"));
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(whole[8..8 + length].to_vec()).unwrap();
    let header = header.replacen('{', r#"{"__metadata__":{"epoch":3,"notes":[1.5,null]},"#, 1);
    let mut bytes = safetensors_with(&header, 0);
    bytes.extend_from_slice(&whole[8 + length..]);
    assert_same(&zoo::open(&write(&folder, "numbers.safetensors", &bytes)).unwrap(), &tensors("gtsrb12-joint"));

    // {"weight": numpy.core.multiarray._reconstruct(...)}
    let numpy = b"\x80\x02}X\x06\0\0\0weightcnumpy.core.multiarray\n_reconstruct\n)Rs.";
    let bytes = packed(&[("net/data.pkl".to_owned(), numpy.to_vec())], zip::CompressionMethod::Stored);
    let error = refused(&write(&folder, "arrays.pt", &bytes), "torch.from_numpy");
    assert!(matches!(error, CheckpointError::NumpyArrays { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_and_never_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket.pt");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for (path, what) in [(path.as_path(), "this is a socket"), (Path::new("/dev/zero"), "this is a device")] {
        let error = refused(path, what);
        assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error:?}");
    }
}

#[test]
fn a_network_opens_after_any_prefix_that_stands_before_one_network_only() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = tensors("gtsrb12-joint");
    for prefix in
        ["backbone.", "_fsdp_wrapped_module.", "encoder.", "student.module.", "G.", "ema.shadow.", "params_ema."]
    {
        let path = write(&folder, "net.safetensors", &safetensors(&renamed(&wanted, |name| format!("{prefix}{name}"))));
        let opened = zoo::open(&path).unwrap();
        assert_eq!(opened.prefix(), prefix);
        assert_same(&opened, &wanted);
        recognise(&opened).unwrap();
    }
    let mut both = renamed(&wanted, |name| format!("student.{name}"));
    both.extend(renamed(&wanted, |name| format!("teacher.{name}")).into_iter().map(|(name, shape, mut values)| {
        for value in &mut values {
            *value *= 2.0;
        }
        (name, shape, values)
    }));
    let path = write(&folder, "both.safetensors", &safetensors(&both));
    let error = recognise(&zoo::open(&path).unwrap()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"student.\", \"teacher.\"") && text.contains("prefix = \"student.\""), "{text}");
    let manifest = manifest_text("gtsrb12-joint");
    let without: Vec<&str> = manifest.lines().filter(|line| !line.starts_with("sha256")).collect();
    let manifest = without.join("\n").replacen(
        "file = \"gtsrb12-joint.safetensors\"",
        "file = \"both.safetensors\"\nprefix = \"teacher\"",
        1,
    );
    for name in ["both.toml", "teacher.toml"] {
        let manifest = write(&folder, name, manifest.as_bytes());
        let model = resolve(manifest.to_str().unwrap(), &cache()).unwrap();
        let found = open(&model).read("fc.bias").unwrap();
        let original = &wanted.iter().find(|(name, ..)| name == "fc.bias").unwrap().2;
        assert!(found.iter().zip(original).all(|(found, original)| *found == 2.0 * original));
    }
    assert_eq!(zoo::open(&path).unwrap().prefix(), "teacher.", "the manifest beside it says so");
}

#[test]
fn averages_are_preferred_and_counters_raise_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = tensors("gtsrb12-joint");
    let is_statistic = |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
    let mut file = renamed(&wanted, |name| format!("model.{name}"));
    for (name, shape, values) in wanted.iter().filter(|(name, ..)| !is_statistic(name)) {
        file.push((format!("ema.shadow.{name}"), shape.clone(), values.iter().map(|value| value / 2.0).collect()));
    }
    for counter in ["n_averaged", "step", "initted"] {
        file.push((counter.to_owned(), Vec::new(), vec![3.0]));
    }
    let opened = zoo::open(&write(&folder, "ema.safetensors", &safetensors(&file))).unwrap();
    assert_eq!(opened.prefix(), "ema.shadow.");
    for (name, _, values) in &wanted {
        let half = if is_statistic(name) { 1.0 } else { 0.5 };
        let found = opened.checkpoint.read(name).unwrap();
        assert!(found.iter().zip(values).all(|(found, value)| *found == half * value), "{name}");
    }
    let recognised = recognise(&opened).unwrap();
    assert!(recognised.notes.iter().any(|note| note.contains("statistics of batch norms")), "{:?}", recognised.notes);
    let mut weights = Weights::new(&opened.checkpoint);
    for (name, shape, _) in &wanted {
        weights.take(name, shape).unwrap();
    }
    assert_eq!(weights.report().unused, Vec::<String>::new());

    // States of generators of random numbers are bytes.
    let state = [7_u8; 16];
    let floats: Vec<Vec<u8>> =
        wanted.iter().map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let mut views: Vec<(String, TensorView<'_>)> = wanted
        .iter()
        .zip(&floats)
        .map(|((name, shape, _), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
        .collect();
    views.push(("rng.cuda.0".to_owned(), TensorView::new(Dtype::U8, vec![16], &state).unwrap()));
    let path = write(&folder, "rng.safetensors", &safetensors::serialize(views, None).unwrap());
    assert_eq!(zoo::open(&path).unwrap().set_aside(), ["rng.cuda.0"]);
}

/// The names of transformers for those of torchvision.
fn of_transformers(name: &str) -> String {
    let kind = |conv: bool| if conv { "convolution" } else { "normalization" };
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["fc", leaf] => format!("classifier.1.{leaf}"),
        [module @ ("conv1" | "bn1"), leaf] => format!("resnet.embedder.embedder.{}.{leaf}", kind(*module == "conv1")),
        [layer, block, rest @ ..] => {
            let stage = layer["layer".len()..].parse::<usize>().expect("a file of these tests") - 1;
            let module = match rest {
                ["downsample", place, leaf] => format!("shortcut.{}.{leaf}", kind(*place == "0")),
                [module, leaf] => {
                    let place = module[module.len() - 1..].parse::<usize>().expect("a file of these tests") - 1;
                    format!("layer.{place}.{}.{leaf}", kind(module.starts_with("conv")))
                }
                _ => panic!("{name}"),
            };
            format!("resnet.encoder.stages.{stage}.layers.{block}.{module}")
        }
        _ => panic!("{name}"),
    }
}

/// A small network of torchvision's kind, with values that differ everywhere.
fn small_resnet() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let text = "name = \"r\"\ntitle = \"r\"\nfile = \"r\"\nresolution = 32\nclasses = [\"a\", \"b\", \"c\"]\nsource = \"\"\n\
                licence = \"\"\nkind = \"classifier\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n\
                [resnet]\nblocks = [2, 1]\nwidths = [8, 16]\nshortcut = \"conv\"\nstem_kernel = 7\nstem_stride = 2\nstem_pool = true\n";
    let manifest = Manifest::parse(text, Path::new("r.toml")).expect("a file of these tests");
    let mut first = 0;
    let fill = |(name, shape): (String, Vec<usize>)| {
        let count: usize = shape.iter().product();
        let values = (first..first + count).map(|number| number as f32).collect();
        first += count;
        (name, shape, values)
    };
    lapidary::zoo::expected(&manifest).into_iter().map(fill).collect()
}

/// A folder with these files.
fn folder_of(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a file of these tests");
    for (name, bytes) in files {
        write(&folder, name, bytes);
    }
    folder
}

fn text(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

#[test]
fn folders_of_hugging_face_classifiers_open_with_their_labels_and_normalisation() {
    let wanted = small_resnet();
    let transformers = safetensors(&renamed(&wanted, of_transformers));
    let config = json!({
        "architectures": ["ResNetForImageClassification"], "model_type": "resnet", "hidden_act": "relu",
        "id2label": { "0": "tabby, cat", "1": "dog", "2": "dog" },
    });
    let preprocessor =
        json!({ "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": { "shortest_edge": 64 } });
    let timm = json!({
        "architecture": "resnet18", "num_classes": 3, "label_names": ["tabby", "pug", "beagle"],
        "pretrained_cfg": { "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64] },
    });
    let plain = safetensors(&wanted);
    for (config, weights, names) in
        [(&config, &transformers, ["tabby", "dog (1)", "dog (2)"]), (&timm, &plain, ["tabby", "pug", "beagle"])]
    {
        let folder = folder_of(&[
            ("config.json", text(config)),
            ("preprocessor_config.json", text(&preprocessor)),
            ("model.safetensors", weights.clone()),
        ]);
        for path in [folder.path().to_owned(), folder.path().join("model.safetensors")] {
            let opened = zoo::open(&path).unwrap();
            assert_same(&opened, &wanted);
            let (manifest, _) = find(path.to_str().unwrap()).unwrap();
            assert_eq!((manifest.classes.as_slice(), manifest.resolution), (names.map(str::to_owned).as_slice(), 64));
            let ManifestKind::Classifier(spec) = &manifest.kind else { panic!("{manifest:?}") };
            assert_eq!((&spec.mean, &spec.std), (&vec![0.1, 0.2, 0.3], &vec![0.4, 0.5, 0.6]));
            Classifier::read(&manifest, Weights::new(&opened.checkpoint), &Device::flex()).unwrap();
        }
    }
    let vit =
        folder_of(&[("config.json", text(&json!({ "model_type": "vit" }))), ("model.safetensors", plain.clone())]);
    let error = zoo::open(vit.path()).unwrap_err();
    assert!(error.to_string().contains("model_type = \"vit\", but a classifier must be a ResNet"), "{error}");
    let bare = folder_of(&[("pytorch_model.bin", plain)]);
    assert_same(&zoo::open(bare.path()).unwrap(), &wanted);
    let empty = folder_of(&[("config.json", text(&config))]);
    let error = zoo::open(empty.path()).unwrap_err();
    assert!(error.to_string().contains("no weights (model.safetensors, pytorch_model.bin)"), "{error}");
}

#[test]
fn weights_in_several_files_are_read_as_one() {
    let wanted = small_resnet();
    let (first, second) = wanted.split_at(wanted.len() / 2);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let place = |tensors: &Tensors, file: &str| -> BTreeMap<String, Value> {
        tensors.iter().map(|(name, ..)| (name.clone(), json!(file))).collect()
    };
    let mut map = place(first, names[0]);
    map.extend(place(second, names[1]));
    map.insert("hostile".to_owned(), json!("../../etc/passwd"));
    let folder = folder_of(&[
        ("config.json", text(&json!({ "architecture": "resnet18" }))),
        ("model.safetensors.index.json", text(&json!({ "weight_map": map }))),
        (names[0], safetensors(first)),
        (names[1], safetensors(second)),
    ]);
    let mut hashes = std::collections::BTreeSet::new();
    for path in [folder.path().to_owned(), folder.path().join(names[0]), folder.path().join(names[1])] {
        let opened = zoo::open(&path).unwrap();
        assert_same(&opened, &wanted);
        assert_eq!(opened.checkpoint.files().len(), 2);
        let mut weights = Weights::new(&opened.checkpoint);
        for (name, shape, _) in &wanted {
            weights.take(name, shape).unwrap();
        }
        hashes.insert(opened.checkpoint.sha256(&mut unwatched).unwrap());
    }
    assert_eq!(hashes.len(), 1);
    std::fs::remove_file(folder.path().join(names[1])).unwrap();
    for path in [folder.path().to_owned(), folder.path().join(names[0])] {
        let error = zoo::open(&path).unwrap_err();
        assert_message(&error, &path, "of which model-00002-of-00002.safetensors is not there");
    }
}

#[test]
fn entries_that_a_manifest_does_not_have_and_names_that_occur_twice_are_refused() {
    for (from, to, what) in [
        ("resolution = 32", "resolution = 32\nresolutoin = 64", "the manifest says resolutoin, but"),
        (
            "kind = \"classifier\"",
            "kind = \"classifier\"\nsize = 3",
            "the manifest says size, but a classifier has no entries but",
        ),
        ("\"stop\"", "\"yield\"", "two classes named \"yield\", but every class needs a name of its own"),
    ] {
        let error = changed_manifest(from, to).unwrap_err();
        assert_message(&error, Path::new("changed.toml"), what);
    }
}

#[test]
fn bundled_models_are_unpacked_elsewhere_where_the_home_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder, "file", b"in the way");
    let inspect = |temporary: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lapidary"));
        let command = command.args(["inspect", "gtsrb12-joint"]).env("LAPIDARY_HOME", &file).env("TMPDIR", temporary);
        command.output().expect("the program starts")
    };
    let output = inspect(folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(entries.any(|path| path.join("models").is_dir()), "in a folder of the user's own");
    let text = String::from_utf8_lossy(&inspect(&file).stderr).into_owned();
    assert!(text.contains("XDG_CACHE_HOME"), "{text}");
}

#[test]
fn a_program_of_torchscript_opens_with_the_tensors_of_its_modules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics/scripted.pt");
    let checkpoint = Checkpoint::open(&path).expect("nothing in it is executed, and nothing has to be");
    let layer = |name: &str| ["beta", "mean", "weight"].map(|leaf| format!("{name}.{leaf}"));
    let names: Vec<String> = [layer("again"), layer("layers.conv"), layer("layers.conv_1")].concat();
    let names: Vec<String> = names.into_iter().chain(["output.bias", "output.weight"].map(str::to_owned)).collect();
    assert_eq!(checkpoint.tensors().keys().cloned().collect::<Vec<_>>(), names);
    assert_eq!(checkpoint.tensors()["layers.conv.weight"].shape, [3, 2, 1, 3]);
    let values = |name: &str| checkpoint.read(name).expect("it is there");
    // One module stands in two places, and the other's summands are the first two means of the first.
    assert_eq!(values("again.weight"), values("layers.conv.weight"));
    assert_eq!(values("layers.conv_1.beta"), values("layers.conv.mean")[..2]);
    assert!(values("output.weight").iter().all(|value| value.is_finite() && *value != 0.0));
}
