//! What a network saw in pictures, as archives that `np.load` reads; `data` says their keys and reads them back.

use std::path::Path;

use super::ExportError;
use super::npz::{archive, array, texts};
use crate::data::{Digest, SeenFeatures, SeenStatistics};
use crate::metrics::Gaussian;

/// Most bytes of a list of names, at four a character; a longer one is left out, for nobody needs it to compare numbers.
const MAX_NAMES: usize = 32 << 20;

/// Writes the features of a set.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write_features(path: &Path, seen: &SeenFeatures) -> Result<(), ExportError> {
    let SeenFeatures { features, labels, classes, names, hashes, .. } = seen;
    let n = features.len();
    archive(path, |archive| {
        array(archive, "features", &[n, features.width()], features.values().iter().copied())?;
        let logits = (0..n).flat_map(|place| features.logits(place).iter().copied());
        array(archive, "logits", &[n, features.classes()], logits)?;
        if let Some(spatial) = features.spatial() {
            array(archive, "spatial", &[n, spatial.width()], spatial.values().iter().copied())?;
        }
        if let Some(labels) = labels {
            array(archive, "labels", &[n], labels.iter().map(|label| *label as i64))?;
        }
        let hashes = hashes.iter().flat_map(|Digest(numbers)| numbers.iter().copied());
        array(archive, "hashes", &[n, 4], hashes)?;
        for (key, list) in [("class_names", classes), ("names", names)] {
            let longest = list.iter().map(|name| name.chars().count()).max().unwrap_or(0);
            if !list.is_empty() && 4 * longest * list.len() <= MAX_NAMES {
                texts(archive, key, list)?;
            }
        }
        texts(archive, "lapidary", &[seen.about()])
    })
}

/// Writes mean and covariance as pytorch-fid does, and what is known of them beside.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write_statistics(path: &Path, seen: &SeenStatistics) -> Result<(), ExportError> {
    archive(path, |archive| {
        let spatial = seen.statistics.spatial.as_ref().map(|spatial| (["mu_s", "sigma_s"], spatial));
        for ([mu, sigma], Gaussian { mean, covariance }) in
            [(["mu", "sigma"], &seen.statistics.gaussian)].into_iter().chain(spatial)
        {
            array(archive, mu, &[mean.len()], mean.iter().copied())?;
            // It is symmetric, so its columns are its rows.
            array(archive, sigma, &[mean.len(), mean.len()], covariance.iter().copied())?;
        }
        seen.about().map_or(Ok(()), |about| texts(archive, "lapidary", &[about]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{SeenKind, Sight, is_seen_of_ours, read_features, read_statistics, seen_in};
    use crate::metrics::{Features, Statistics};

    fn seen() -> SeenFeatures {
        let mut features = Features::new(2, 3);
        features.extend(&[0.5, 1.0, -1.0, 0.25, 3.0, 1e-9], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let hashes = [7, 8, 9].map(|level| Digest::of([1, 1, 1], &[level])).to_vec();
        let sight = Sight {
            extractor: "jüdge".to_owned(),
            sha256: "ab".repeat(32),
            features: 2,
            shape: [1, 1, 1],
            levels: Sight::LEVELS,
            resize: "none".to_owned(),
            device: "a \"device\"".to_owned(),
            pictures: 3,
            pictures_sha256: Digest::sum(&hashes).digits(),
        };
        SeenFeatures {
            sight,
            features,
            labels: Some(vec![2, 0, 1]),
            classes: ["a", "süd", "c"].map(str::to_owned).to_vec(),
            names: vec!["a.png".to_owned(), "b/c.png".to_owned(), String::new()],
            hashes,
        }
    }

    #[test]
    fn what_was_seen_reads_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen.npz");
        let all = seen();
        write_features(&path, &all).unwrap();
        assert_eq!(seen_in(&path).unwrap(), Some(SeenKind::Features));
        assert_eq!(read_features(&path).unwrap(), all);
        assert!(is_seen_of_ours(&path, SeenKind::Features) && !is_seen_of_ours(&path, SeenKind::Statistics));
        let bare = SeenFeatures { labels: None, names: Vec::new(), classes: Vec::new(), ..all.clone() };
        write_features(&path, &bare).unwrap();
        assert_eq!(read_features(&path).unwrap(), bare);
        let mut placed = all.clone();
        placed.features.extend_spatial(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 3);
        write_features(&path, &placed).unwrap();
        assert_eq!(read_features(&path).unwrap(), placed, "place by place, too");
        let other = SeenFeatures { hashes: vec![Digest::default(); 3], ..all };
        write_features(&path, &other).unwrap();
        let text = read_features(&path).unwrap_err().to_string();
        assert!(text.contains("its hashes are not of the pictures"), "{text}");
    }

    #[test]
    fn statistics_read_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statistics.npz");
        let SeenFeatures { sight, features, .. } = seen();
        let spatial = Some(crate::metrics::Gaussian::of(&features.at(&[0, 1])).unwrap());
        let statistics = Statistics { spatial, ..Statistics::of(&features).unwrap() };
        let own = SeenStatistics { statistics: statistics.clone(), sight: Some(sight) };
        write_statistics(&path, &own).unwrap();
        let found = read_statistics(&path).unwrap();
        assert_eq!(found.statistics, statistics);
        assert_eq!(found.sight, own.sight);
        assert!(is_seen_of_ours(&path, SeenKind::Statistics) && !is_seen_of_ours(&path, SeenKind::Features));
        write_statistics(&path, &SeenStatistics { sight: None, ..own }).unwrap();
        let found = read_statistics(&path).unwrap();
        assert_eq!((found.statistics.count, found.sight), (None, None), "other programs do not say");
        assert!(!is_seen_of_ours(&path, SeenKind::Statistics), "so it is replaced by nobody");
    }
}
