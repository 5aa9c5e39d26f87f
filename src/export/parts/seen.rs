//! What was seen in pictures, batch by batch: the parts of a measurement, which becomes numbers when it is whole.

use std::ops::Range;
use std::path::Path;

use super::{Part, Parts, path_of, read};
use crate::data::Digest;
use crate::export::{ExportError, npz};
use crate::metrics::pairs::PairNumbers;
use crate::metrics::{Features, MetricError};

/// Names of the numbers of pairs in a part.
const OF_PAIRS: [&str; 4] = ["psnr", "ssim", "flip", "lpips"];

/// What a network saw in some pictures, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenBatch {
    /// None where there is no picture.
    pub features: Option<Features>,
    /// Classes; fewer than pictures where not every one says its own.
    pub labels: Vec<usize>,
    /// What each picture is called.
    pub names: Vec<String>,
    /// Which picture each is.
    pub hashes: Vec<Digest>,
    /// How pictures were changed to fit, one line for each that was.
    pub fits: Vec<String>,
}

impl SeenBatch {
    /// Adds further pictures.
    ///
    /// # Errors
    /// [`MetricError::Width`] when another network saw them.
    pub fn append(&mut self, mut further: Self) -> Result<(), MetricError> {
        match (&mut self.features, further.features) {
            (Some(own), Some(more)) => own.append(&more)?,
            (own, Some(more)) => *own = Some(more),
            (_, None) => {}
        }
        self.labels.append(&mut further.labels);
        self.names.append(&mut further.names);
        self.hashes.append(&mut further.hashes);
        self.fits.append(&mut further.fits);
        Ok(())
    }
}

impl Parts {
    /// Adds what was seen in pictures, with the first place that they are of, and that of the first one behind them. There may be
    /// no picture, where none could be read.
    ///
    /// # Errors
    /// [`ExportError::Write`]
    pub fn add_seen(&mut self, places: (usize, usize), seen: &SeenBatch) -> Result<(), ExportError> {
        self.add(places, seen.hashes.len(), |archive| {
            let Some(features) = &seen.features else { return Ok(()) };
            let n = features.len();
            npz::array(archive, "features", &[n, features.width()], features.values().iter().copied())?;
            let logits = (0..n).flat_map(|place| features.logits(place).iter().copied());
            npz::array(archive, "logits", &[n, features.classes()], logits)?;
            if let Some(spatial) = features.spatial() {
                npz::array(archive, "spatial", &[n, spatial.width()], spatial.values().iter().copied())?;
            }
            npz::array(archive, "labels", &[seen.labels.len()], seen.labels.iter().map(|label| *label as i64))?;
            let hashes = seen.hashes.iter().flat_map(|Digest(numbers)| numbers.iter().copied());
            npz::array(archive, "hashes", &[seen.hashes.len(), 4], hashes)?;
            [("names", &seen.names), ("fits", &seen.fits)].iter().try_for_each(|(name, list)| {
                let bytes = serde_json::to_vec(list)?;
                npz::array(archive, name, &[bytes.len()], bytes.iter().copied())
            })
        })
    }

    /// Likewise, the numbers of pairs.
    ///
    /// # Errors
    /// [`ExportError::Write`]
    pub fn add_pairs(&mut self, places: (usize, usize), numbers: &PairNumbers) -> Result<(), ExportError> {
        self.add(places, numbers.len(), |archive| {
            OF_PAIRS
                .iter()
                .zip(numbers.of_each())
                .try_for_each(|(name, of_each)| npz::array(archive, name, &[of_each.len()], of_each.iter().copied()))
        })
    }

    /// What was seen in the pictures of these places, in order.
    ///
    /// # Errors
    /// [`ExportError::LostPart`] when a part of it is missing; [`ExportError::Read`]
    pub fn seen(&self, places: &Range<usize>) -> Result<SeenBatch, ExportError> {
        let mut all = SeenBatch::default();
        for Part { path, .. } in self.at(places)? {
            let further = self.told_of_lost(read_seen(path))?;
            all.append(further).map_err(|error| unreadable(path, error))?;
        }
        Ok(all)
    }

    /// Likewise, the numbers of the pairs.
    ///
    /// # Errors
    /// As [`Self::seen`].
    pub fn pairs(&self, places: &Range<usize>) -> Result<PairNumbers, ExportError> {
        let mut all = PairNumbers::default();
        for Part { path, .. } in self.at(places)? {
            let mut of_each = [const { Vec::new() }; 4];
            for (name, values) in OF_PAIRS.iter().zip(&mut of_each) {
                let found = self.told_of_lost(read::<f64>(path, name))?;
                *values = found.ok_or_else(|| unreadable(path, "these are no pairs"))?.1;
            }
            all.append(PairNumbers::from_each(of_each));
        }
        Ok(all)
    }

    /// The parts of these places, which must be all of them.
    fn at(&self, places: &Range<usize>) -> Result<Vec<&Part>, ExportError> {
        let is_there = |part: &&Part| part.first >= places.start && part.end <= places.end;
        let parts: Vec<&Part> = self.list.iter().filter(is_there).collect();
        let mut next = places.start;
        for part in &parts {
            if part.first != next {
                break;
            }
            next = part.end;
        }
        if next == places.end { Ok(parts) } else { Err(ExportError::LostPart { path: path_of(&self.folder, next) }) }
    }
}

fn unreadable(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ExportError {
    ExportError::Read { path: path.to_owned(), source: std::io::Error::other(why) }
}

fn read_seen(path: &Path) -> Result<SeenBatch, ExportError> {
    let odd = || unreadable(path, "this is not what was seen in pictures");
    let Some((shape, values)) = read::<f32>(path, "features")? else { return Ok(SeenBatch::default()) };
    let (of_logits, logits) = read::<f32>(path, "logits")?.ok_or_else(odd)?;
    let (&[n, width], &[rows, classes]) = (&*shape, &*of_logits) else { return Err(odd()) };
    if n == 0 || rows != n {
        return Err(odd());
    }
    let mut features = Features::new(width, classes);
    features.extend(&values, &logits);
    if let Some((shape, values)) = read::<f32>(path, "spatial")? {
        let &[rows, places] = &*shape else { return Err(odd()) };
        if rows != n || places == 0 {
            return Err(odd());
        }
        features.extend_spatial(&values, places);
    }
    let labels = read::<i64>(path, "labels")?.map_or_else(Vec::new, |(_, labels)| labels);
    let (_, hashes) = read::<u64>(path, "hashes")?.ok_or_else(odd)?;
    let texts = |name| -> Result<Vec<String>, ExportError> {
        let (_, bytes) = read::<u8>(path, name)?.ok_or_else(odd)?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(path, error))
    };
    Ok(SeenBatch {
        features: Some(features),
        labels: labels.into_iter().map(|label| label as usize).collect(),
        names: texts("names")?,
        hashes: hashes.as_chunks::<4>().0.iter().copied().map(Digest).collect(),
        fits: texts("fits")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(first: usize, n: usize) -> SeenBatch {
        let values: Vec<f32> = (first..first + n).map(|place| place as f32 + 0.1).collect();
        let mut features = Features::new(1, 2);
        features.extend(&values, &values.iter().flat_map(|value| [-value, 1.0 / value]).collect::<Vec<_>>());
        features.extend_spatial(&values.repeat(3), 3);
        SeenBatch {
            features: Some(features),
            labels: (first..first + n).collect(),
            names: (first..first + n).map(|place| format!("süd {place}")).collect(),
            hashes: (first..first + n).map(|place| Digest::of([1, 1, 1], &[place as u8])).collect(),
            fits: vec![format!("{first}: cropped")],
        }
    }

    #[test]
    fn what_was_seen_comes_back_place_by_place_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::open(folder.path(), "key", 0).unwrap();
        parts.add_seen((0, 1), &seen(0, 2)).unwrap();
        // Nothing of the places from 1 to 3 could be read.
        parts.add_seen((1, 3), &SeenBatch::default()).unwrap();
        parts.add_seen((3, 4), &seen(2, 3)).unwrap();
        let numbers = PairNumbers::from_each([vec![20.5, f64::INFINITY], vec![0.5, 1.0], Vec::new(), vec![0.25, 0.0]]);
        parts.add_pairs((4, 5), &numbers).unwrap();
        let parts = Parts::open(folder.path(), "key", 0).unwrap();
        assert_eq!((parts.next(0), parts.count()), (5, 2 + 3 + 2));
        let mut all = seen(0, 2);
        all.append(seen(2, 3)).unwrap();
        assert_eq!(parts.seen(&(0..4)).unwrap(), all);
        assert_eq!(parts.seen(&(1..3)).unwrap(), SeenBatch::default());
        assert_eq!(parts.pairs(&(4..5)).unwrap(), numbers);
        assert!(matches!(parts.seen(&(0..2)), Err(ExportError::LostPart { .. })), "it ends within a part");
        assert!(matches!(parts.pairs(&(4..6)), Err(ExportError::LostPart { path }) if path.ends_with("00000005.npz")));
        assert!(matches!(parts.pairs(&(0..1)), Err(ExportError::Read { .. })), "features are no pairs");
        // Of another key, or damaged, it is nothing.
        assert_eq!(Parts::open(folder.path(), "other", 0).unwrap().count(), 0);
    }
}
