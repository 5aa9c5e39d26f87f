//! Inception of 2015, by its shapes and the name of its file.

use super::{Facts, Hints, Recognised, Refusal, Shapes, dims};
use crate::net::inception::{FEATURES, OUTPUTS, SIDE};
use crate::zoo::{Dialect, ExtractorManifest, InceptionDialect, ManifestKind};

/// A tensor that the network has under pytorch-fid's names.
pub(super) const FIRST: &str = "Conv2d_1a_3x3.conv.weight";

pub(super) fn recognise(tensors: &Shapes, hints: Hints) -> Result<Recognised, Refusal> {
    let [outputs, features] = dims::<2>(tensors, "fc.weight")
        .ok_or_else(|| Refusal::Foreign("this Inception has no last layer fc".to_owned()))?;
    if [outputs, features] != [OUTPUTS, FEATURES] {
        return Err(Refusal::Foreign(format!(
            "this Inception has {outputs} outputs, as torchvision's, but pictures are compared by that of 2015, which has {OUTPUTS}"
        )));
    }
    let scaled = tensors.contains_key("Conv2d_1a_3x3.bn.weight");
    let mut notes = hints.notes.clone();
    let dialect = dialect_of(&hints, &mut notes);
    let title = "Inception-2015".to_owned();
    let kind = ManifestKind::Extractor(ExtractorManifest { dialect, scaled });
    let facts = Facts { resolution: SIDE, channels: 3, classes: Vec::new(), kind, licence: "Apache-2.0" };
    let manifest = hints.manifest(title, "recognised by its shapes".to_owned(), facts);
    Ok(Recognised { manifest, preset: None, notes })
}

/// The files of pytorch-fid and of torch-fidelity are the same but for their names.
fn dialect_of(hints: &Hints, notes: &mut Vec<String>) -> InceptionDialect {
    if hints.dialect == Dialect::NvidiaInception {
        return InceptionDialect::Clean;
    }
    if hints.file.starts_with("weights-") {
        return InceptionDialect::Tensorflow;
    }
    if !hints.file.starts_with("pt_") {
        notes.push("its name does not begin as that of torch-fidelity's file (weights-), so pictures come to it as to pytorch-fid's: --dialect says otherwise".to_owned());
    }
    InceptionDialect::PytorchFid
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::from_shapes;
    use super::*;
    use crate::checkpoint::{Element, TensorInfo};
    use crate::zoo::expected;

    fn shapes(scaled: bool) -> Shapes {
        let info = |shape| TensorInfo { shape, element: Element::F32 };
        let spec = ExtractorManifest { dialect: InceptionDialect::Clean, scaled };
        spec.tensors().into_iter().map(|(name, shape)| (name, info(shape))).collect()
    }

    #[test]
    fn the_name_of_the_file_says_whose_way_pictures_take() {
        let of = |shapes: &Shapes, name: &str, dialect| {
            let recognised = from_shapes(shapes, Hints::of_path(Path::new(name), dialect)).unwrap();
            assert_eq!((recognised.manifest.problem(), recognised.manifest.shape()), (None, [3, 299, 299]));
            assert_eq!(expected(&recognised.manifest).len(), shapes.len(), "{name}");
            (recognised.manifest.inception().unwrap(), recognised.notes.len())
        };
        let (with, without) = (shapes(true), shapes(false));
        for (name, dialect, notes) in [
            ("pt_inception-2015-12-05-6726825d.pth", InceptionDialect::PytorchFid, 0),
            ("weights-inception-2015-12-05-6726825d.pth", InceptionDialect::Tensorflow, 0),
            ("mine.pth", InceptionDialect::PytorchFid, 1),
        ] {
            assert_eq!(of(&with, name, Dialect::Inception), (ExtractorManifest { dialect, scaled: true }, notes));
        }
        let nvidia = ExtractorManifest { dialect: InceptionDialect::Clean, scaled: false };
        assert_eq!(of(&without, "inception-2015-12-05.pt", Dialect::NvidiaInception), (nvidia, 0));
    }

    #[test]
    fn a_manifest_that_is_printed_can_be_read_and_changed() {
        let hints = Hints::of_path(Path::new("pt_inception.pth"), Dialect::Inception);
        let manifest = from_shapes(&shapes(true), hints).unwrap().manifest;
        let text = toml::to_string(&manifest).unwrap();
        let parse = |text: &str| crate::zoo::Manifest::parse(text, Path::new("pt_inception.toml"));
        assert_eq!(parse(&text).unwrap(), manifest);
        let other = parse(&text.replace("pytorch-fid\"", "tensorflow\"")).unwrap();
        assert_eq!(other.inception().unwrap().dialect, InceptionDialect::Tensorflow);
        assert!(parse(&text.replace("resolution = 299", "resolution = 64")).is_err(), "it sees nothing else");
    }

    #[test]
    fn another_inception_is_refused() {
        let mut torchvision = shapes(true);
        let fc = TensorInfo { shape: vec![1000, 2048], element: Element::F32 };
        torchvision.insert("fc.weight".to_owned(), fc);
        let hints = Hints::of_path(Path::new("inception_v3.pth"), Dialect::Inception);
        let refusal = from_shapes(&torchvision, hints).unwrap_err();
        assert!(matches!(&refusal, Refusal::Foreign(what) if what.contains("1000 outputs")), "{refusal:?}");
    }
}
