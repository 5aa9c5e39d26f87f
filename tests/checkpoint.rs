//! Checkpoints that are broken, mistaken or hostile: each is refused with the right error, in one sentence that says
//! what to do, and nothing in it is executed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use lapidary::checkpoint::{Checkpoint, CheckpointError, Content, Weights, unwatched};
use lapidary::classifier::Classifier;
use lapidary::zoo::{self, Manifest, ManifestKind, Model, find, resolve};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use self::cache::cache;

#[path = "support/cache.rs"]
mod cache;
#[path = "checkpoint/opens.rs"]
mod opens;

fn bundled(name: &str) -> Model {
    resolve(name, &cache()).expect("bundled models unpack")
}

fn open(model: &Model) -> Checkpoint {
    let checkpoint = model.open().expect("a model file");
    let hash = checkpoint.sha256(&mut unwatched).expect("it can be read");
    model.confirm(hash).expect("it has the hash of its manifest");
    checkpoint
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(bundled(name).weights).expect("it was just unpacked")
}

/// The text of a bundled model's manifest.
fn manifest_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).with_extension("toml");
    std::fs::read_to_string(path).expect("every bundled model has a manifest")
}

fn write(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a writable folder");
    path
}

/// One sentence without full stop that contains the advice, then the path on a line of its own.
fn assert_message(error: &CheckpointError, path: &Path, advice: &str) {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(advice), "the advice {advice:?} is missing: {text}");
    assert!(!lines[0].contains(". ") && !lines[0].ends_with('.'), "one sentence: {text}");
    assert_eq!(Path::new(lines[1]), path, "{text}");
}

fn refused(path: &Path, advice: &str) -> CheckpointError {
    let error = zoo::open(path).expect_err("it must be refused");
    assert_message(&error, path, advice);
    error
}

/// A safetensors file with this header and so many bytes of data.
fn safetensors_with(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = u64::try_from(header.len()).expect("a short header").to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = refused(&folder.path().join("absent.pt"), "give the path of a .safetensors or .pt file");
    assert!(matches!(missing, CheckpointError::NotFound { .. }), "{missing:?}");
    let directory = refused(folder.path(), "give the .safetensors or .pt file inside it");
    assert!(matches!(directory, CheckpointError::Folder { .. }), "{directory:?}");
}

#[test]
fn a_file_of_another_kind_is_named_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 18429392\n";
    let cases: [(&str, &[u8], Content, &str); 6] = [
        ("empty.safetensors", b"", Content::Empty, "fetch it again"),
        (
            "page.pt",
            b"<!DOCTYPE html>\n<html><body>Sign in</body></html>",
            Content::Html,
            "open the address in a browser",
        ),
        ("pointer.safetensors", lfs, Content::GitLfsPointer, "git lfs pull"),
        ("picture.pt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Content::Picture, "Open images"),
        ("notes.pt", b"remember the milk", Content::Text, "check that this is the file you meant"),
        ("array.pt", b"\x93NUMPY\x01\0", Content::Numpy, "save the weights as .safetensors"),
    ];
    for (name, bytes, kind, advice) in cases {
        let error = refused(&write(&folder, name, bytes), advice);
        assert!(matches!(&error, CheckpointError::NotACheckpoint { found, .. } if *found == kind), "{name}: {error:?}");
    }
}

#[test]
fn a_download_that_was_cut_off_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let whole = bytes_of("gtsrb12-joint");
    for (name, end) in [("header.safetensors", 100), ("data.safetensors", whole.len() - 1)] {
        let error = refused(&write(&folder, name, &whole[..end]), "fetch it again");
        let CheckpointError::Truncated { expected, found, .. } = error else { panic!("{name}: {error:?}") };
        assert!(found < expected && found == end as u64, "{name}: {found} of {expected}");
    }
    let whole = bytes_of("gtsrb12-robust");
    for share in [1, 2, 3] {
        let path = write(&folder, "cut.pt", &whole[..whole.len() * share / 4]);
        let error = refused(&path, "fetch it again");
        assert!(!matches!(error, CheckpointError::NotACheckpoint { .. }), "{error:?}");
    }
}

#[test]
fn a_header_of_absurd_length_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for claimed in [1_u64 << 40, u64::MAX] {
        let mut bytes = claimed.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"{\"a\": 1}");
        let error = refused(&write(&folder, "huge.safetensors", &bytes), "fetch it again from its source");
        let CheckpointError::HeaderTooLarge { found, .. } = error else { panic!("{error:?}") };
        assert_eq!(found, claimed);
    }
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("a shape of more bytes", r#"{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,8]}}"#, 8),
        (
            "an overlap",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
            12,
        ),
        (
            "a hole",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                "b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}"#,
            24,
        ),
        ("an end before its start", r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8),
        (
            "a product of extents that overflows",
            r#"{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,8]}}"#,
            8,
        ),
        ("an unknown type", r#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#, 8),
        ("no JSON", r#"{"a":{"dtype""#, 0),
    ];
    for (what, header, data) in cases {
        let error = refused(&write(&folder, "bad.safetensors", &safetensors_with(header, data)), "fetch it again");
        assert!(matches!(error, CheckpointError::Header { .. }), "{what}: {error:?}");
    }
}

/// A pickle that calls `os.system("touch <victim>")` when Python loads it.
fn hostile_pickle(victim: &Path) -> Vec<u8> {
    let command = format!("touch {}", victim.display());
    let length = u32::try_from(command.len()).expect("a short command");
    let mut bytes = b"\x80\x02cos\nsystem\nX".to_vec(); // protocol 2, GLOBAL, BINUNICODE
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(command.as_bytes());
    bytes.extend_from_slice(b"\x85R."); // TUPLE1, REDUCE, STOP
    bytes
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("a zip in memory");
        zip.write_all(bytes).expect("a zip in memory");
    }
    zip.finish().expect("a zip in memory").into_inner()
}

#[test]
fn code_in_a_pickle_is_refused_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("executed");
    let pickle = hostile_pickle(&victim);
    // Also as the value of an entry, where a dictionary of tensors is expected: {"weight": system(...)}.
    let mut entry = b"\x80\x02}X\x06\0\0\0weight".to_vec();
    entry.extend_from_slice(&pickle[2..pickle.len() - 1]);
    entry.extend_from_slice(b"s."); // SETITEM, STOP
    for (name, bytes) in [
        ("bare.pt", pickle.clone()),
        ("entry.pt", entry.clone()),
        ("zipped.pt", zip_of(&[("archive/data.pkl", &pickle), ("archive/version", b"3\n")])),
        ("zipped_entry.pt", zip_of(&[("archive/data.pkl", &entry), ("archive/version", b"3\n")])),
    ] {
        let error = refused(&write(&folder, name, &bytes), "torch.save(model.state_dict(), file)");
        let kind = matches!(error, CheckpointError::Pytorch { .. } | CheckpointError::NoTensors { .. });
        assert!(kind, "{name}: {error:?}");
        assert!(!victim.exists(), "{name} was executed");
    }
}

#[test]
fn an_archive_without_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "photos.pt", &zip_of(&[("photos/readme.txt", b"my holidays")]));
    let error = refused(&path, "a zip archive, but not PyTorch's");
    assert!(matches!(error, CheckpointError::ForeignZip { .. }), "{error:?}");
}

#[test]
fn a_pickle_that_unpacks_to_far_more_than_the_file_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let mut pickle = b"\x80\x02}(".to_vec();
    pickle.resize(5 << 20, b'N');
    let bytes = zip_of(&[("archive/data.pkl", &pickle), ("archive/version", b"3\n")]);
    assert!(bytes.len() < 1 << 16, "it is packed: {}", bytes.len());
    let error = refused(&write(&folder, "bomb.pt", &bytes), "fetch it again from its source");
    let CheckpointError::HeaderTooLarge { found, .. } = error else { panic!("{error:?}") };
    assert_eq!(found, 5 << 20);
    // Without the magic number of torch's legacy container a pickle is not parsed at all.
    pickle.truncate(1 << 16);
    let error = refused(&write(&folder, "bare.pt", &pickle), "torch.save(model.state_dict(), file)");
    assert!(matches!(error, CheckpointError::Pytorch { .. }), "{error:?}");
}

/// A state dictionary of tensors `a` and `b`, which are one number seen with a stride of zero.
fn expanded(extent: u16) -> Vec<u8> {
    let [low, high] = extent.to_le_bytes();
    let text = |text: &str| [b"X".as_slice(), &[text.len() as u8, 0, 0, 0], text.as_bytes()].concat();
    let mut pickle = b"\x80\x02}(".to_vec();
    for name in ["a", "b"] {
        pickle.extend(text(name));
        pickle.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend_from_slice(b"ctorch\nFloatStorage\n");
        pickle.extend(text("0"));
        pickle.extend(text("cpu"));
        // One element; then offset, shape, stride, requires_grad and hooks.
        pickle.extend_from_slice(&[b'K', 1, b't', b'Q', b'K', 0, b'M', low, high, 0x85, b'K', 0, 0x85, 0x89]);
        pickle.extend_from_slice(b"}tR");
    }
    pickle.extend_from_slice(b"u.");
    zip_of(&[("archive/data.pkl", &pickle), ("archive/data/0", &[0; 4]), ("archive/version", b"3\n")])
}

#[test]
fn a_tensor_that_is_larger_than_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&write(&folder, "expanded.pt", &expanded(60_000)), "no more than");
    let CheckpointError::Claim { claimed, .. } = error else { panic!("{error:?}") };
    assert_eq!(claimed, 240_000);

    // One alone fits, both do not.
    let bytes = expanded(0).len();
    let path = write(&folder, "both.pt", &expanded((bytes / 6) as u16));
    let checkpoint = Checkpoint::open(&path).unwrap();
    let extent = checkpoint.tensors()["a"].shape[0];
    let mut weights = Weights::new(&checkpoint);
    assert_eq!(weights.take("a", &[extent]).unwrap(), vec![0.0; extent]);
    let error = weights.take("b", &[extent]).unwrap_err();
    assert!(matches!(error, CheckpointError::Claim { .. }), "{error:?}");
}

#[test]
fn a_legacy_file_that_was_cut_off_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fp16/lsun_shape_tiny.fp16.legacy.pt");
    let whole = std::fs::read(golden).unwrap();
    for end in [18, 100, 170, 1000, 5001, whole.len() / 2, whole.len() - 1] {
        let error = refused(&write(&folder, "cut.pt", &whole[..end]), "damaged or was cut off: fetch it again");
        assert!(matches!(error, CheckpointError::Archive { .. }), "{end}: {error:?}");
    }
}

/// The joint classifier's manifest after a change of its text.
fn changed_manifest(from: &str, to: &str) -> Result<Manifest, CheckpointError> {
    changed("gtsrb12-joint", from, to)
}

fn changed(name: &str, from: &str, to: &str) -> Result<Manifest, CheckpointError> {
    let text = manifest_text(name);
    assert_eq!(text.matches(from).count(), 1, "{from:?} occurs once in the manifest of {name}");
    Manifest::parse(&text.replace(from, to), Path::new("changed.toml"))
}

#[test]
fn weights_that_do_not_fit_the_manifest_are_named() {
    let model = bundled("gtsrb12-joint");
    let checkpoint = open(&model);
    let load = |from: &str, to: &str| {
        let manifest = changed_manifest(from, to).unwrap();
        Classifier::read(&manifest, Weights::new(&checkpoint), &Device::flex()).unwrap_err()
    };

    let error = load("widths = [48, 96, 192]", "widths = [32, 96, 192]");
    assert_message(&error, &model.weights, "correct the manifest");
    let CheckpointError::Shape { tensor, expected, found, .. } = error else { panic!("{error:?}") };
    assert_eq!(tensor, "conv1.weight");
    assert_eq!((expected, found), (vec![32, 3, 3, 3], vec![48, 3, 3, 3]));

    let error = load("blocks = [1, 1, 1]", "blocks = [2, 1, 1]");
    assert_message(&error, &model.weights, "the architecture does not fit this file");
    let CheckpointError::Missing { tensor, nearest, .. } = error else { panic!("{error:?}") };
    assert_eq!(tensor, "layer1.1.conv1.weight");
    assert!(nearest.is_some_and(|name| name.contains("conv1.weight")));

    let error = load("stem_kernel = 3", "stem_kernel = 7");
    assert!(matches!(error, CheckpointError::Shape { .. }), "{error:?}");

    let generator = bundled("gtsrb12-cm").manifest;
    let error = Classifier::read(&generator, Weights::new(&checkpoint), &Device::flex()).unwrap_err();
    assert!(matches!(error, CheckpointError::Role { expected: "classifier", found: "generator", .. }), "{error:?}");
}

#[test]
fn a_renamed_copy_works_and_has_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    for (name, alias) in [("gtsrb12-joint", "weights.bin"), ("gtsrb12-robust", "model.safetensors")] {
        let copy = write(&folder, alias, &bytes_of(name));
        let model = resolve(copy.to_str().unwrap(), &cache()).unwrap();
        assert_eq!((model.manifest.name.as_str(), &model.weights), (name, &copy));
        let (copied, original) = (open(&model), open(&bundled(name)));
        assert_eq!(copied.tensors(), original.tensors());
        assert_eq!(copied.read("fc.weight").unwrap(), original.read("fc.weight").unwrap());
        Classifier::read(&model.manifest, Weights::new(&copied), &Device::flex()).unwrap();
    }
}

#[test]
fn a_file_that_differs_from_its_manifests_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = bytes_of("gtsrb12-joint");
    *bytes.last_mut().unwrap() ^= 1;
    let path = write(&folder, "gtsrb12-joint.safetensors", &bytes);
    write(&folder, "gtsrb12-joint.toml", manifest_text("gtsrb12-joint").as_bytes());
    let model = resolve(path.to_str().unwrap(), &cache()).unwrap();
    let hash = model.open().expect("a model file").sha256(&mut unwatched).expect("it can be read");
    let error = model.confirm(hash).unwrap_err();
    assert_message(&error, &path, "fetch the file again, or correct the manifest");
    let CheckpointError::Hash { expected, found, .. } = error else { panic!("{error:?}") };
    assert_eq!(Some(&expected), bundled("gtsrb12-joint").manifest.sha256.as_ref());
    assert_ne!(found, expected);
}

#[test]
fn a_file_that_is_not_recognised_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let path = write(&folder, "other.safetensors", &safetensors_with(header, 8));
    let error = find(path.to_str().unwrap()).unwrap_err();
    assert_message(&error, &path, "names of no known network (for example \"a\")");
    assert!(matches!(error, CheckpointError::Foreign { .. }), "{error:?}");

    let header = r#"{"time_embed.0.weight":{"dtype":"F32","shape":[128,32],"data_offsets":[0,16384]}}"#;
    let path = write(&folder, "mine.safetensors", &safetensors_with(header, 16_384));
    let error = find(path.to_str().unwrap()).unwrap_err();
    assert_message(&error, &path, "mine.toml beside it");
    assert!(matches!(error, CheckpointError::NoManifest { .. }), "{error:?}");

    let error = find("gtsrb99-joint").unwrap_err();
    assert!(matches!(error, CheckpointError::Unknown { .. }), "{error:?}");
    assert!(error.to_string().contains("gtsrb12-joint"), "it lists what there is: {error}");
}

#[test]
fn a_manifest_with_impossible_values_is_refused() {
    let (joint, cm) = ("gtsrb12-joint", "gtsrb12-cm");
    for (name, from, to) in [
        (joint, "resolution = 32", "resolution = 0"),
        (joint, "resolution = 32", "resolution = 100000"),
        (joint, "channels = 3", "channels = 9"),
        (joint, "std = [0.25, 0.25, 0.25]", "std = [0.25, 0.0, 0.25]"),
        (joint, "std = [0.25, 0.25, 0.25]", "std = [0.25, nan, 0.25]"),
        (joint, "mean = [0.5, 0.5, 0.5]", "mean = [0.5]"),
        (joint, "widths = [48, 96, 192]", "widths = [48, 96]"),
        (joint, "blocks = [1, 1, 1]", "blocks = [1, 0, 1]"),
        (joint, "stem_kernel = 3", "stem_kernel = 4"),
        (joint, "stem_stride = 1", "stem_stride = 0"),
        (joint, "shortcut = \"pool\"", "shortcut = \"pool\"\nblock = \"bottleneck\"\nwidth_per_group = 1"),
        (joint, "file = \"gtsrb12-joint.safetensors\"", "file = \"../../secret\""),
        (joint, "file = \"gtsrb12-joint.safetensors\"", "file = \"..\""),
        (joint, "file = \"gtsrb12-joint.safetensors\"", "file = \"/secret\""),
        (joint, "file = \"gtsrb12-joint.safetensors\"", "file = \"deep/weights.pt\""),
        (cm, "resolution = 32", "resolution = 33"),
        (cm, "channel_mult = [1, 2]", "channel_mult = []"),
        (cm, "model_channels = 64", "model_channels = 65"),
        (cm, "num_head_channels = 64", "num_head_channels = 48"),
        (cm, "num_head_channels = 64", "num_head_channels = 0"),
        (cm, "num_head_channels = 64", "num_heads = 3"),
        (cm, "patch_size = 2", "patch_size = 0"),
        (cm, "sigma_min = 0.002", "sigma_min = 100.0"),
        (cm, "sigma_max = 80.0", "sigma_max = inf"),
        (cm, "sigma_data = 0.5", "sigma_data = -0.5"),
        (cm, "rho = 7.0", "rho = 0.0"),
        (cm, "rho = 7.0", "rho = 7.0\ntime_scale = 0.0"),
        (cm, "rho = 7.0", "rho = 7.0\ndiffusion_steps = 0"),
        (cm, "two_step_sigma = 1.2", "two_step_sigma = nan"),
    ] {
        let error = changed(name, from, to).expect_err(to);
        assert!(matches!(error, CheckpointError::ManifestValue { .. }), "{to}: {error:?}");
        assert!(error.to_string().starts_with("the manifest says "), "{to}: {error}");
    }
}

#[test]
fn dots_in_the_name_of_a_file_are_no_way_out() {
    let manifest = changed_manifest("gtsrb12-joint.safetensors", "my..weights.safetensors").unwrap();
    assert_eq!(manifest.file, "my..weights.safetensors");
}

#[test]
fn a_manifest_that_is_no_manifest_is_refused() {
    for (from, to) in [
        ("resolution = 32", "resolution = \"big\""),
        ("resolution = 32", "resolution = -32"),
        ("resolution = 32", "resolution = "),
        ("kind = \"classifier\"", "kind = \"oracle\""),
        ("shortcut = \"pool\"", "shortcut = \"pool\"\ndepth = 18"),
        ("shortcut = \"pool\"", "shortcut = \"none\""),
        ("shortcut = \"pool\"", "shortcut = \"pool\"\nblock = \"inverted\""),
        ("classes = [", "classes = \"animals\"\nnames = ["),
    ] {
        let error = changed_manifest(from, to).expect_err(to);
        assert!(matches!(error, CheckpointError::Manifest { .. }), "{to}: {error:?}");
        assert_message(&error, Path::new("changed.toml"), "correct it as the cause says");
    }
}

#[test]
fn enormous_numbers_in_a_manifest_are_refused_without_a_panic() {
    let levels = format!("channel_mult = {:?}", [1; 70]);
    for (from, to) in [
        ("channel_mult = [1, 2]", levels.as_str()),
        ("channel_mult = [1, 2]", "channel_mult = [1, 4611686018427387904]"),
        ("model_channels = 64", "model_channels = 4611686018427387904"),
        ("patch_size = 2", "patch_size = 4611686018427387904"),
    ] {
        let error = changed("gtsrb12-cm", from, to).expect_err(to);
        assert!(matches!(error, CheckpointError::ManifestValue { .. }), "{to}: {error:?}");
    }
}

#[test]
fn a_pickle_with_source_code_in_it_is_sent_to_the_converter() {
    let folder = tempfile::tempdir().unwrap();
    // {"ema": torch_utils.persistence._reconstruct_persistent_obj(...)}, as NVlabs' EDM begins.
    let pickle = b"\x80\x04\x95\x00\x10\x00\x00\x00\x00\x00\x00}\x94(\x8c\x03ema\x94\x8c\x17torch_utils.persistence\x94\x8c\x1b_reconstruct_persistent_obj\x94\x93\x94}\x94\x85\x94R\x94u.";
    let error = refused(&write(&folder, "edm-imagenet-64x64-cond-adm.pkl", pickle), "models/convert_edm.py");
    assert!(matches!(error, CheckpointError::PersistentPickle { .. }), "{error:?}");
    // The same behind a long text, the words across the border of two blocks.
    let mut late = b"\x80\x04}(".to_vec();
    late.resize((1 << 20) - 10, b'x');
    late.extend_from_slice(b"torch_utils.persistence\n");
    let error = refused(&write(&folder, "late.pkl", &late), "models/convert_edm.py");
    assert!(matches!(error, CheckpointError::PersistentPickle { .. }), "{error:?}");
    // A training state is a zip, which the converter does not take.
    let state = zip_of(&[("archive/data.pkl", pickle), ("archive/version", b"3\n")]);
    let error = refused(&write(&folder, "training-state-000100.pt", &state), "network-snapshot-*.pkl");
    assert!(matches!(error, CheckpointError::TrainingState { .. }), "{error:?}");
}

/// Nearest half-precision number, ties to even; for values below 65504, which weights are.
fn to_half(value: f32) -> u16 {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = f64::from(value.abs());
    // Spacing of half-precision numbers around the value: 2^-24 below 2^-14, else 2^-10 of its power of two.
    let exponent = if magnitude < 2.0_f64.powi(-14) { -14 } else { magnitude.log2().floor() as i32 };
    let units = (magnitude / 2.0_f64.powi(exponent - 10)).round_ties_even() as u16;
    // Units of 1024 and more carry the hidden bit, which is the lowest bit of the exponent field; 2048 carries over.
    sign | (((exponent + 14) as u16) << 10).wrapping_add(units)
}

#[test]
fn half_precision_weights_load_to_the_nearest_half() {
    assert_eq!([1.0, -2.0, 65504.0, 5.960_464_5e-8, 0.1].map(to_half), [0x3c00, 0xc000, 0x7bff, 0x0001, 0x2e66]);
    let folder = tempfile::tempdir().unwrap();
    let bytes = bytes_of("gtsrb12-joint");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let halved: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            if view.dtype() != Dtype::F32 {
                return (name, view.dtype(), shape, view.data().to_vec());
            }
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            (name, Dtype::F16, shape, values.flat_map(|value| to_half(value).to_le_bytes()).collect())
        })
        .collect();
    let views = halved
        .iter()
        .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    let path = write(&folder, "half.safetensors", &safetensors::serialize(views, None).unwrap());

    let (half, full) = (zoo::open(&path).unwrap().checkpoint, open(&bundled("gtsrb12-joint")));
    let mut compared = 0;
    for (name, info) in full.tensors() {
        assert_eq!(half.tensors()[name].shape, info.shape, "{name}");
        for (half, full) in half.read(name).unwrap().iter().zip(full.read(name).unwrap()) {
            // Half a unit in the last place: 2^-11 of the value, or 2^-25 where numbers are denormal.
            let bound = full.abs() * 2.0_f32.powi(-11) + 2.0_f32.powi(-25);
            assert!((half - full).abs() <= bound, "{name}: {half} for {full}");
            compared += 1;
        }
    }
    assert!(compared > 600_000, "the whole network was compared: {compared}");
    let manifest = bundled("gtsrb12-joint").manifest;
    assert!(matches!(manifest.kind, ManifestKind::Classifier(_)));
    Classifier::read(&manifest, Weights::new(&half), &Device::flex()).unwrap();
}
