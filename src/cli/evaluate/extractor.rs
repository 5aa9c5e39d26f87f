//! What sees the pictures: a classifier, or Inception-2015 in one of its dialects.

use std::ops::Range;

use super::sets::{Kind, Pictures};
use super::{CliError, EvaluateOptions};
use crate::checkpoint::CheckpointError;
use crate::data::picture_size;
use crate::zoo::{self, InceptionDialect, Manifest, ManifestKind, published};

/// Digits of a hash that a sentence shows.
const SHOWN: usize = 12;

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

    /// What it does to the size of pictures, by a name that decides whether numbers compare: its dialect, or nothing.
    pub(super) const fn resize(&self) -> &'static str {
        match self.dialect {
            Some(dialect) => dialect.key(),
            None => "none",
        }
    }

    /// The pictures of a set, run by run of one size, `[C, H, W]`. A classifier sees all at the size that is compared. To
    /// Inception-2015 each comes at its own: what the network sees of it is its dialect's business.
    pub(super) fn runs(&self, set: &Pictures, shape: [usize; 3]) -> Vec<(Range<usize>, [usize; 3])> {
        if self.dialect.is_none() {
            return vec![(set.range.clone(), shape)];
        }
        let native = match &set.kind {
            Kind::Source(source) => source.native_shape(),
            Kind::Held(_) | Kind::Seen(_) => set.shape,
        };
        if let Some(native) = native {
            return vec![(set.range.clone(), native)];
        }
        let mut runs: Vec<(Range<usize>, [usize; 3])> = Vec::new();
        for place in set.range.clone() {
            // One that cannot be read is told of when it is, among its neighbours.
            let size = set.files.get(place).and_then(|file| picture_size(file).ok());
            let own = size.map(|[width, height]| [self.manifest.channels, height as usize, width as usize]);
            match runs.last_mut() {
                Some((run, known)) if own.is_none_or(|own| own == *known) => run.end = place + 1,
                _ => runs.push((place..place + 1, own.unwrap_or(shape))),
            }
        }
        runs
    }

    /// Of every set the size of its pictures, where they have one: what a classifier sees is fitted to that which is compared.
    pub(super) fn forms(&self, sets: &[Pictures], shape: [usize; 3]) -> Vec<Option<[usize; 3]>> {
        sets.iter().map(|set| if self.dialect.is_none() { Some(shape) } else { set.shape }).collect()
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

/// What the numbers are of: so many features of a network of that name and SHA-256, which sees pictures of `[H, W]`.
pub(super) fn in_words(
    (name, sha256, width): (&str, &str, usize),
    dialect: Option<InceptionDialect>,
    [height, width_of]: [usize; 2],
) -> String {
    let way = dialect.map_or_else(String::new, |dialect| {
        let (resize, scaling) = (dialect.resize_in_words(), dialect.scaling_in_words());
        format!(" in the dialect {}, {resize}, {scaling}", dialect.key())
    });
    let hash = sha256.get(..SHOWN).unwrap_or(sha256);
    format!("{width} features of {name}{way} (SHA-256 {hash}…) of {width_of}×{height} pictures of 8 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PictureSource;
    use crate::zoo::{BUNDLED, ExtractorManifest, bundled_manifest};

    #[test]
    fn files_come_to_inception_each_at_its_own_size() {
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
        assert_eq!(judge.runs(&set, [3, 5, 5]), [(0..4, [3, 5, 5])]);
        let spec = ExtractorManifest { dialect: InceptionDialect::Clean, scaled: true };
        let manifest = Manifest { kind: ManifestKind::Extractor(spec), resolution: 299, ..manifest };
        let inception = Extractor { manifest, dialect: Some(spec.dialect) };
        assert_eq!(inception.runs(&set, [3, 5, 5]), [(0..3, [3, 6, 4]), (3..4, [3, 2, 8])]);
        assert_eq!((judge.resize(), inception.resize()), ("none", "clean"));
        let sets = [set];
        assert_eq!(
            (judge.forms(&sets, [3, 5, 5]), inception.forms(&sets, [3, 5, 5])),
            (vec![Some([3, 5, 5])], vec![None])
        );
    }
}
