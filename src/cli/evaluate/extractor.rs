//! What sees the pictures: a classifier, or Inception-2015 in one of its dialects.

use std::ops::Range;

use super::sets::Pictures;
use super::{CliError, EvaluateOptions};
use crate::checkpoint::CheckpointError;
use crate::data::picture_size;
use crate::zoo::{self, InceptionDialect, Manifest, ManifestKind, published};

/// The network that was asked for, and the way that pictures take to it where there are several.
#[derive(Debug)]
pub(super) struct Extractor {
    pub(super) manifest: Manifest,
    /// None of a classifier.
    pub(super) dialect: Option<InceptionDialect>,
}

impl Extractor {
    pub(super) fn find(options: &EvaluateOptions) -> Result<Self, CliError> {
        let (manifest, _) = zoo::find(&options.extractor)?;
        let dialect = match &manifest.kind {
            ManifestKind::Extractor(spec) => Some(options.dialect.unwrap_or(spec.dialect)),
            ManifestKind::Classifier(_) if options.dialect.is_some() => {
                return Err(CliError::DialectOfClassifier { name: manifest.name });
            }
            ManifestKind::Classifier(_) => None,
            ManifestKind::Generator(_) => {
                let (expected, found) = ("classifier", manifest.role());
                return Err(CheckpointError::Role { name: manifest.name, expected, found }.into());
            }
        };
        Ok(Self { manifest, dialect })
    }

    /// The pictures of a set, run by run of one size, `[C, H, W]`. Where no archive has a size that is `fixed` for all, files are
    /// fitted to what a classifier was trained on, but come to Inception-2015 each at its own: what the network sees of it is its
    /// dialect's business.
    pub(super) fn runs(&self, set: &Pictures, fixed: Option<[usize; 3]>) -> Vec<(Range<usize>, [usize; 3])> {
        let whole = (set.range.clone(), fixed.unwrap_or_else(|| self.manifest.shape()));
        if fixed.is_some() || self.dialect.is_none() {
            return vec![whole];
        }
        let (files, channels) = (set.source.files(), self.manifest.channels);
        let mut runs: Vec<(Range<usize>, [usize; 3])> = Vec::new();
        for place in set.range.clone() {
            // One that cannot be read is told of when it is, among its neighbours.
            let size = files.get(place).and_then(|file| picture_size(file).ok());
            let shape = size.map(|[width, height]| [channels, height as usize, width as usize]);
            match runs.last_mut() {
                Some((run, known)) if shape.is_none_or(|shape| shape == *known) => run.end = place + 1,
                _ => runs.push((place..place + 1, shape.unwrap_or(whole.1))),
            }
        }
        runs
    }

    /// What a reader must know of a file whose content has this SHA-256.
    pub(super) fn note(&self, sha256: &str) -> Option<String> {
        self.dialect.filter(|_| published(sha256).is_none()).map(|_| {
            format!(
                "warning: {} is none of the published files of Inception-2015, so its numbers compare with no paper's: fetch the file again if you did not make it yourself",
                self.manifest.file
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PictureSource;
    use crate::zoo::{BUNDLED, ExtractorManifest, bundled_manifest};

    #[test]
    fn files_come_to_inception_at_their_own_sizes_unless_an_archive_has_one() {
        let folder = tempfile::tempdir().unwrap();
        for (name, [width, height]) in [("a", [4, 6]), ("b", [4, 6]), ("d", [8, 2])] {
            let picture = ::image::RgbImage::new(width, height);
            picture.save(folder.path().join(format!("{name}.png"))).unwrap();
        }
        std::fs::copy(folder.path().join("b.png"), folder.path().join("c.png")).unwrap();
        let manifest = bundled_manifest(&BUNDLED[1]);
        let source = PictureSource::open(&[folder.path().to_owned()]).unwrap();
        let set = Pictures::new("some".to_owned(), source, None, None, &manifest).unwrap();
        // One is broken only after it was found.
        std::fs::write(folder.path().join("b.png"), "no picture").unwrap();
        let judge = Extractor { manifest: manifest.clone(), dialect: None };
        assert_eq!(judge.runs(&set, None), [(0..4, manifest.shape())]);
        let spec = ExtractorManifest { dialect: InceptionDialect::Clean, scaled: true };
        let manifest = Manifest { kind: ManifestKind::Extractor(spec), resolution: 299, ..manifest };
        let inception = Extractor { manifest, dialect: Some(spec.dialect) };
        assert_eq!(inception.runs(&set, Some([3, 5, 5])), [(0..4, [3, 5, 5])]);
        assert_eq!(inception.runs(&set, None), [(0..3, [3, 6, 4]), (3..4, [3, 2, 8])]);
    }
}
