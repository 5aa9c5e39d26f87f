//! Inception-2015 with hashed weights against the programs that papers use, and their ways to make a picture 299×299.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use lapidary::checkpoint::Weights;
use lapidary::classifier::Extractor;
use lapidary::image::ImageBatch;
use lapidary::image::resize::resized;
use lapidary::net::inception::Inception;
use lapidary::worker::{Command, ComputeSettings, DeviceChoice, Event, JobId, serve};
use lapidary::zoo::{InceptionDialect, find, open};

use crate::cache::cache;
use crate::close::assert_close;
use crate::golden::Golden;
use crate::networks::hashed::{self, Recipe, bits};

/// Height and width of the hashed pictures.
const SIZES: [(&str, [usize; 2]); 2] = [("small", [48, 64]), ("large", [401, 250])];
/// Every so manyth of the features, of the outputs and of the features place by place is in the file.
const EVERY: [(&str, usize); 3] = [("features", 8), ("logits", 9), ("spatial", 17)];

/// A picture of hashed levels of 8 bits.
fn picture(name: &str, [h, w]: [usize; 2]) -> ImageBatch {
    let name = format!("picture.{name}");
    let levels = bits(&name).take(3 * h * w).map(|k| (k / 65_536.0).floor());
    ImageBatch::new([1, 3, h, w], levels.map(|level| level / 255.0).collect())
}

/// A file of hashed weights under pytorch-fid's names.
fn weights(folder: &Path) -> PathBuf {
    let path = folder.join("pt_hashed.safetensors");
    hashed::write(&Inception::tensors(true), Recipe { conv_gain: 6.0, last_norm: None }, &path);
    path
}

fn extractor(path: &Path) -> Extractor {
    let (manifest, _) = find(path.to_str().expect("a plain name")).expect("it is recognised");
    let opened = open(path).expect("it opens");
    let weights = Weights::new(&opened.checkpoint);
    let (extractor, report) = Extractor::read(&manifest, weights, &Device::flex()).expect("the weights fit");
    assert_eq!(report.unused, Vec::<String>::new(), "every tensor is used");
    extractor
}

#[test]
fn pictures_are_resized_as_by_tensorflow_pytorch_and_pillow() {
    let golden = Golden::open("metrics/resized.safetensors");
    for name in ["up", "down", "mixed"] {
        let [h, w, to_h, to_w] = golden.indices(&format!("{name}.size")) else { panic!("two sizes") };
        let picture = picture(name, [*h, *w]);
        for dialect in InceptionDialect::ALL {
            let key = format!("{name}.{}", dialect.key());
            let made = resized(&picture, dialect.resize(), [*to_h, *to_w]);
            assert_close(&key, &made.sample(0)[..to_h * to_w], golden.values(&key), 1e-6, 0.0);
        }
    }
}

#[test]
fn features_are_those_of_torch_fidelity_pytorch_fid_and_clean_fid() {
    let golden = Golden::open("metrics/inception.safetensors");
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let extractor = extractor(&weights(folder.path()));
    assert_eq!(extractor.dialect(), InceptionDialect::PytorchFid, "its name begins with pt_");
    for dialect in InceptionDialect::ALL {
        for (name, size) in SIZES {
            let made = Extractor::prepare(&picture(name, size), dialect);
            let seen = extractor.features(made.to_tensor(&Device::flex()), dialect);
            for (seen, (kind, every)) in seen.into_iter().zip(EVERY) {
                let key = format!("{}.{name}.{kind}", dialect.key());
                let found = seen.into_data().try_into_vec::<f32>().expect("floats");
                let found: Vec<f32> = found.into_iter().step_by(every).collect();
                assert_close(&key, &found, golden.values(&key), 1e-4, 0.0);
            }
        }
    }
}

/// As on a GPU, where nothing is compiled.
#[test]
fn the_network_that_is_not_compiled_sees_the_same() {
    let golden = Golden::open("metrics/inception.safetensors");
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let opened = open(&weights(folder.path())).expect("it opens");
    let device = Device::flex();
    let net = Inception::load(true, &mut Weights::new(&opened.checkpoint), &device).expect("the weights fit");
    let (name, size) = SIZES[0];
    let made = Extractor::prepare(&picture(name, size), InceptionDialect::PytorchFid);
    let seen = net.forward(made.to_tensor(&device) * 2.0 - 1.0);
    for (seen, (kind, every)) in [seen.features, seen.logits, seen.spatial].into_iter().zip(EVERY) {
        let key = format!("pytorch-fid.{name}.{kind}");
        let found = seen.into_data().try_into_vec::<f32>().expect("floats");
        let found: Vec<f32> = found.into_iter().step_by(every).collect();
        assert_close(&key, &found, golden.values(&key), 1e-4, 0.0);
    }
}

#[test]
fn the_worker_looks_at_pictures_of_any_size_in_the_dialect_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("there is room for a temporary folder");
    let path = weights(folder.path());
    let images = picture("small", SIZES[0].1);
    let measured = |dialect| {
        let compute = ComputeSettings { device: DeviceChoice::Cpu, ..Default::default() };
        let classifier = path.to_str().expect("a plain name").to_owned();
        let images = images.clone();
        let command = Command::Measure { job: JobId(1), classifier, dialect, images, compute, chunk: None };
        let (sender, receiver) = crossbeam::channel::bounded(1);
        sender.send(command).expect("it listens");
        let mut found = Err(Vec::new());
        serve(&receiver, &cache(), &mut |event| match event {
            Event::Measured { values, logits, spatial, .. } => {
                found = Ok([values, logits, spatial]);
                false
            }
            Event::Failed { chain, .. } => {
                found = Err(chain);
                false
            }
            _ => true,
        });
        found.expect("it looks at them")
    };
    let (own, clean) = (measured(None), measured(Some(InceptionDialect::Clean)));
    assert_eq!([0, 1, 2].map(|kind: usize| own[kind].len()), [2048, 1008, 2023]);
    let golden = Golden::open("metrics/inception.safetensors");
    for (dialect, found) in [("pytorch-fid", own), ("clean", clean)] {
        let key = format!("{dialect}.small.features");
        let found: Vec<f32> = found[0].iter().step_by(EVERY[0].1).copied().collect();
        assert_close(&key, &found, golden.values(&key), 1e-4, 0.0);
    }
}
