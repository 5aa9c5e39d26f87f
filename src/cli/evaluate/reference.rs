//! The real pictures: from archives, folders and files, from what was seen of them before, or as mean and covariance alone.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::CliError;
use super::dumps::Protocol;
use super::error::EvaluateError;
use super::looking::Looked;
use super::sets::{Kind, Pictures, real_files};
use crate::data::{
    Digest, PictureError, PictureSource, SeenKind, SeenStatistics, Sight, is_session, read_statistics, seen_in,
};
use crate::file::sha256;
use crate::metrics::{Metric, Real};
use crate::zoo::{InceptionDialect, Manifest};

/// What sets are compared with; nothing, where a number is of them alone.
#[derive(Default)]
pub(super) struct Reference {
    /// The pictures, in as many parts as there are archives; none where there are statistics alone.
    pub(super) parts: Vec<Pictures>,
    /// Mean and covariance that are not of these.
    statistics: Option<SeenStatistics>,
    paths: Vec<PathBuf>,
}

/// What a table says of the real pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Their files.
    pub(super) files: String,
    /// Pictures whose features are there.
    pub(super) pictures: usize,
    /// Those of them that were cropped or resized.
    pub(super) fitted: usize,
    /// Whether mean and covariance are a file's, and not of these pictures.
    pub(super) is_statistics: bool,
    /// Pictures that mean and covariance are of, where that is known.
    pub(super) count: Option<usize>,
    /// Which pictures: the same for the same ones, from whatever file.
    pub(super) identity: String,
}

impl std::fmt::Display for Described {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { files, pictures, is_statistics, count, .. } = self;
        if !is_statistics {
            return write!(out, "{pictures} real ones ({files})");
        }
        let of = count.map_or_else(|| "nobody knows how many".to_owned(), |count| count.to_string());
        write!(out, "mean and covariance of {of} real ones")?;
        if *pictures > 0 {
            write!(out, ", and {pictures} of them")?;
        }
        write!(out, " ({files})")
    }
}

impl Reference {
    /// What the paths hold.
    ///
    /// # Errors
    /// What keeps them from being read, or from being joined.
    pub(super) fn open(paths: &[PathBuf], extractor: &Manifest) -> anyhow::Result<Self> {
        if let Some(path) = paths.iter().find(|path| is_session(path)) {
            return Err(EvaluateError::SessionAsReference { path: path.clone() }.told());
        }
        let kinds = paths.iter().map(|path| seen_in(path)).collect::<Result<Vec<_>, _>>()?;
        let is_statistics =
            |kind: &Option<SeenKind>| matches!(kind, Some(SeenKind::Statistics | SeenKind::StatisticsAndPictures));
        let statistics = match kinds.iter().position(is_statistics) {
            Some(place) if paths.len() > 1 => {
                return Err(EvaluateError::StatisticsAmongOthers { path: paths[place].clone() }.told());
            }
            Some(place) => Some(read_statistics(&paths[place])?),
            None => None,
        };
        let parts = match *kinds {
            [Some(SeenKind::Statistics)] => Vec::new(),
            _ => parts(paths, &kinds, extractor)?,
        };
        let mut files: Vec<Vec<PathBuf>> = Vec::new();
        for part in &parts {
            let own = real_files(&part.files);
            if files.contains(&own) {
                let path = part.files.first().cloned().unwrap_or_default();
                return Err(EvaluateError::SetTwice { first: path.clone(), path }.told());
            }
            files.push(own);
        }
        Ok(Self { parts, statistics, paths: paths.to_vec() })
    }

    /// `[C, H, W]` of the pictures, where they have one of their own.
    pub(super) fn shape(&self) -> Option<[usize; 3]> {
        let parts = self.parts.iter().find_map(|part| part.shape);
        parts.or_else(|| self.sight().map(|sight| sight.shape))
    }

    /// What the statistics say of themselves.
    fn sight(&self) -> Option<&Sight> {
        self.statistics.as_ref().and_then(|statistics| statistics.sight.as_ref())
    }

    fn path(&self) -> &Path {
        self.paths.first().map_or_else(|| Path::new(""), PathBuf::as_path)
    }

    /// What was seen before, with its file.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&Path, &Sight)> {
        self.parts.iter().filter_map(seen).chain(self.sight().map(|sight| (self.path(), sight)))
    }

    /// All pictures must have one form.
    pub(super) fn check(&self, shape: [usize; 3]) -> Result<(), CliError> {
        self.parts.iter().try_for_each(|part| part.check(shape))?;
        match self.sight().map(|sight| sight.shape).filter(|found| *found != shape) {
            Some(found) => {
                let name = "the pictures that the statistics are of".to_owned();
                Err(CliError::SetShape { name, found, expected: shape })
            }
            None => Ok(()),
        }
    }

    /// Statistics must be of what the extractor gives, which is known as soon as it has seen one picture.
    pub(super) fn check_width(&self, own: usize, extractor: &str) -> Result<(), CliError> {
        let found = self.statistics.as_ref().map(|seen| seen.statistics.gaussian.width());
        match found.filter(|found| *found != own) {
            Some(found) => Err(EvaluateError::StatisticsWidth {
                path: self.path().to_owned(),
                found,
                hint: usual(found).map_or_else(String::new, |what| format!(", as {what} gives")),
                extractor: extractor.to_owned(),
                own,
            }
            .into()),
            None => Ok(()),
        }
    }

    /// What one number needs of the real pictures must be in their files.
    pub(super) fn check_metric(&self, metric: Metric) -> Result<(), CliError> {
        let (what, lacks) = match metric {
            Metric::Frechet => return Ok(()),
            Metric::SpatialFrechet => {
                let is_bare =
                    |part: &&Pictures| matches!(&part.kind, Kind::Seen(seen) if seen.features.spatial().is_none());
                let part = self.parts.iter().find(is_bare).and_then(|part| part.files.first().map(PathBuf::as_path));
                let lacks = match &self.statistics {
                    Some(seen) => seen.statistics.spatial.is_none().then(|| self.path()),
                    None => part,
                };
                ("what is seen place by place", lacks)
            }
            _ => ("pictures and not only their mean and covariance", self.parts.is_empty().then(|| self.path())),
        };
        lacks.map_or(Ok(()), |path| {
            Err(EvaluateError::Lacks { metric: metric.label(), what, path: path.to_owned() }.into())
        })
    }

    /// Every file that is read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let statistics = self.statistics.iter().map(|_| self.path().to_owned());
        let mut files: Vec<PathBuf> =
            self.parts.iter().flat_map(|part| part.files.iter().cloned()).chain(statistics).collect();
        files.dedup();
        files
    }

    /// Statistics of these cannot be written where they were given.
    pub(super) fn check_statistics(&self) -> Result<(), CliError> {
        match self.statistics {
            Some(_) => Err(EvaluateError::StatisticsOfStatistics { path: self.path().to_owned() }.into()),
            None => Ok(()),
        }
    }

    /// What has to be assumed of statistics that do not say what they are of.
    pub(super) fn assumed(&self, protocol: &Protocol<'_>, [_, height, width]: [usize; 3]) -> Option<String> {
        let unsaid = self.statistics.as_ref().filter(|seen| seen.sight.is_none())?;
        let size = format!("{width}×{height} pictures");
        let taken = match InceptionDialect::of(protocol.resize) {
            Some(dialect) => format!("in the dialect {} of {size}", dialect.key()),
            None => format!("of {size} (resize: {})", protocol.resize),
        };
        Some(format!(
            "warning: {} does not say which network its {} numbers a picture are of, nor of how many pictures of which size: they are taken for those of {} {taken}, and distances to others mean nothing",
            self.path().display(),
            unsaid.statistics.gaussian.width(),
            protocol.extractor,
        ))
    }

    /// The real pictures as they are compared, and as a table says them; `whole` is what was seen of all parts.
    ///
    /// # Errors
    /// When there is neither a picture nor a mean and covariance.
    pub(super) fn real(&self, whole: Option<Looked>) -> anyhow::Result<(Real, Described)> {
        let hashes = whole.as_ref().map(|whole| Digest::sum(&whole.hashes).digits());
        let (pictures, fitted) = whole.as_ref().map_or((0, 0), |whole| (whole.features.len(), whole.fitted));
        let identity = match &self.statistics {
            Some(seen) => identity(seen, hashes.as_deref()),
            None => hashes.unwrap_or_default(),
        };
        let features = whole.map(|whole| whole.features);
        let real = match &self.statistics {
            Some(seen) => Real::of_statistics(seen.statistics.clone(), features),
            None => Real::of(features.context("the real pictures hold no picture")?),
        };
        let files: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        let (files, count, is_statistics) = (files.join(", "), real.count(), self.statistics.is_some());
        Ok((real, Described { files, pictures, fitted, is_statistics, count, identity }))
    }
}

/// The verb behind the name of a set, which is one, or of the real pictures, which are many.
pub(in crate::cli) fn has(name: &str) -> &'static str {
    if name.starts_with("the ") && name.contains(" pictures") { "have" } else { "has" }
}

/// What was seen before of a set, with its file.
pub(super) fn seen(set: &Pictures) -> Option<(&Path, &Sight)> {
    match &set.kind {
        Kind::Seen(seen) => Some((set.files.first()?, &seen.sight)),
        Kind::Source(_) | Kind::Held(_) => None,
    }
}

/// Everything together, or each archive as a part of its own: only these cannot be read together.
fn parts(paths: &[PathBuf], kinds: &[Option<SeenKind>], extractor: &Manifest) -> anyhow::Result<Vec<Pictures>> {
    let together = "the real pictures".to_owned();
    if !kinds.contains(&Some(SeenKind::Features)) {
        match PictureSource::of_data_set(paths) {
            Err(PictureError::ArchiveAmongOthers { .. }) if paths.len() > 1 => {}
            opened => {
                let (source, held_out) = opened?;
                return Ok(vec![Pictures::new(together, source, held_out, None, extractor)?]);
            }
        }
    }
    let part = |(path, kind): (&PathBuf, &Option<SeenKind>)| -> anyhow::Result<Pictures> {
        let name = if paths.len() == 1 { together.clone() } else { format!("the real pictures of {}", path.display()) };
        if *kind == Some(SeenKind::Features) {
            return Pictures::of_seen(name, path, None, extractor);
        }
        let (source, held_out) = PictureSource::of_data_set(std::slice::from_ref(path))?;
        Ok(Pictures::new(name, source, held_out, None, extractor)?)
    };
    paths.iter().zip(kinds).map(part).collect()
}

/// All parts as one set; their classes are nobody's concern.
pub(super) fn joined(looked: Vec<Looked>) -> anyhow::Result<Option<Looked>> {
    let mut parts = looked.into_iter();
    let Some(mut whole) = parts.next() else { return Ok(None) };
    for part in parts {
        whole.features.append(&part.features).context("the real pictures cannot be joined")?;
        whole.labels = whole.labels.zip(part.labels).map(|(labels, more)| [labels, more].concat());
        whole.names.extend(part.names);
        whole.hashes.extend(part.hashes);
        whole.fitted += part.fitted;
    }
    Ok(Some(whole))
}

/// Which pictures statistics are of, where they say so, else which numbers they are; and the pictures beside them.
fn identity(seen: &SeenStatistics, pictures: Option<&str>) -> String {
    let numbers = || {
        let gaussian = &seen.statistics.gaussian;
        let values = gaussian.mean.iter().chain(&gaussian.covariance);
        sha256(&[&values.flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()])
    };
    let own = seen.sight.as_ref().map_or_else(numbers, |sight| sight.pictures_sha256.clone());
    pictures.map_or_else(|| own.clone(), |pictures| sha256(&[own.as_bytes(), pictures.as_bytes()]))
}

/// What usually has so many features.
const fn usual(width: usize) -> Option<&'static str> {
    match width {
        2048 => Some("the last pooling of Inception-v3 (pytorch-fid, clean-fid, guided-diffusion)"),
        64 | 192 | 768 => Some("an earlier layer of Inception-v3 (pytorch-fid with --dims)"),
        2023 => Some("the spatial layer of Inception-v3 (mu_s and sigma_s of guided-diffusion)"),
        512 => Some("CLIP's ViT-B/32 or a ResNet-18"),
        1024 => Some("DINOv2's ViT-L/14"),
        4096 => Some("the last but one layer of VGG-16"),
        _ => None,
    }
}

#[cfg(test)]
impl Described {
    /// So many pictures of one file.
    pub(super) fn of_some(file: &str, count: usize) -> Self {
        let (files, identity) = (file.to_owned(), "cd".to_owned());
        Self { files, pictures: count, fitted: 0, is_statistics: false, count: Some(count), identity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Features, Statistics};

    fn looked(values: &[f32]) -> Looked {
        let mut features = Features::new(1, 1);
        features.extend(values, &vec![0.0; values.len()]);
        let hashes = values.iter().map(|value| Digest::of([1, 1, 1], &value.to_le_bytes())).collect();
        Looked { features, labels: None, names: Vec::new(), hashes, fitted: 0, shape: [1, 1, 1] }
    }

    fn reference(statistics: Option<SeenStatistics>) -> Reference {
        Reference { parts: Vec::new(), statistics, paths: vec!["real.npz".into()] }
    }

    #[test]
    fn a_set_has_and_the_real_pictures_have() {
        let names = ["a.npz", "r before", "the.npz", "the real pictures", "the real pictures of a.npz"];
        assert_eq!(names.map(has), ["has", "has", "has", "have", "have"]);
        assert_eq!(has("the pictures that the statistics are of"), "have");
    }

    #[test]
    fn parts_in_any_order_are_the_same_real_pictures() {
        let [a, b] = [&[1.0, 2.0][..], &[4.0]].map(looked);
        let real = |parts: Vec<Looked>| reference(None).real(joined(parts).unwrap());
        let (both, described) = real(vec![a.clone(), b.clone()]).unwrap();
        assert_eq!(both.features().unwrap().values(), [1.0, 2.0, 4.0]);
        assert_eq!((described.pictures, described.count, described.is_statistics), (3, Some(3), false));
        assert_eq!(real(vec![b, a.clone()]).unwrap().1.identity, described.identity);
        assert_ne!(real(vec![a]).unwrap().1.identity, described.identity, "fewer are others");
        assert!(real(Vec::new()).is_err());
    }

    #[test]
    fn statistics_that_do_not_say_what_they_are_of_are_told_of_and_have_the_right_width() {
        let statistics = Statistics { count: None, ..Statistics::of(&looked(&[1.0, 2.0]).features).unwrap() };
        let unsaid = reference(Some(SeenStatistics { statistics, sight: None }));
        let protocol = Protocol { extractor: "judge", sha256: "", resize: "none" };
        let note = unsaid.assumed(&protocol, [3, 8, 16]).unwrap();
        assert!(note.contains("taken for those of judge of 16×8 pictures (resize: none)"), "{note}");
        let inception = Protocol { extractor: "inception", resize: "tensorflow", ..protocol.clone() };
        let note = unsaid.assumed(&inception, [3, 8, 16]).unwrap();
        assert!(note.contains("those of inception in the dialect tensorflow of 16×8 pictures,"), "{note}");
        assert!(reference(None).assumed(&protocol, [3, 8, 16]).is_none());
        assert!(unsaid.check_width(1, "judge").is_ok());
        let text = unsaid.check_width(128, "judge").unwrap_err().to_string();
        assert!(text.contains("are of 1 numbers a picture, but judge gives 128"), "{text}");
        assert!(usual(2048).is_some_and(|what| what.contains("Inception-v3")) && usual(128).is_none());
        assert!(unsaid.check_statistics().is_err() && reference(None).check_statistics().is_ok());
        assert!(unsaid.check_metric(Metric::Frechet).is_ok() && unsaid.files() == [PathBuf::from("real.npz")]);
        for (metric, says) in [
            (Metric::Recall, "recall needs pictures and not only their mean and covariance"),
            (Metric::SpatialFrechet, "spatial Fréchet distance needs what is seen place by place"),
        ] {
            let text = unsaid.check_metric(metric).unwrap_err().to_string();
            assert!(text.starts_with(says) && text.ends_with("real.npz"), "{text}");
        }
        let (real, described) = unsaid.real(None).unwrap();
        assert!(real.features().is_none() && described.pictures == 0);
        assert!(described.is_statistics && described.count.is_none() && described.identity.len() == 64);
    }
}
