//! The real pictures that a run is compared with in the window: seen by the judge, or what it saw of them before.

use std::path::{Path, PathBuf};

use super::eye::{Eye, PIECE};
use super::turn::Turn;
use crate::data::{
    Batch, PictureError, PictureSource, SeenKind, Sight, changed, is_session, read_features, read_statistics, seen_in,
};
use crate::metrics::{Anchor, Features, MetricError, Real};
use crate::units::counted;
use crate::worker::error::WorkError;

/// Real pictures that are looked at, at most: a window is no place to wait for an hour, and their features stay in memory until
/// all are there.
const MOST: usize = 20_000;
/// Digits of a hash that a message shows.
const SHOWN: usize = 12;
/// What a classifier does to the size of pictures, as `lapidary evaluate` writes it down.
const UNCHANGED: &str = "none";
const UNSAID: &str = "the file does not say which network its numbers are of, nor of pictures of which size: they are taken for the judge's, and mean nothing if they are not";

/// Why the real pictures serve no distance, each in one sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error(transparent)]
    Pictures(#[from] PictureError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error("the real pictures allow no Fréchet distance: {0}")]
    Metric(#[from] MetricError),
    #[error("this is a session, but real pictures are needed: choose a folder or an archive of them\n{}", path.display())]
    Session { path: PathBuf },
    #[error(
        "there are {count} real pictures, and the window looks at no more than {MOST}: let `lapidary evaluate --save-statistics` see them once, and choose the file that it writes\n{}", path.display()
    )]
    TooMany { path: PathBuf, count: usize },
    #[error(
        "this was seen by {found} (SHA-256 {found_hash}…), but the judge has SHA-256 {own_hash}…: choose that one as judge, or the pictures themselves\n{}", path.display()
    )]
    OtherJudge { path: PathBuf, found: String, found_hash: String, own_hash: String },
    #[error("this was seen otherwise than the window sees ({what}): choose the pictures themselves\n{}", path.display())]
    OtherProtocol { path: PathBuf, what: String },
    #[error(
        "these are of pictures of {found:?} (channels, height, width), but those of the run are of {own:?}: choose real pictures of that size\n{}", path.display()
    )]
    Shape { path: PathBuf, found: [usize; 3], own: [usize; 3] },
    #[error(
        "these have {found} numbers a picture, but the judge gives {own}: they are of another network, so choose what the judge saw, or the pictures themselves\n{}", path.display()
    )]
    Width { path: PathBuf, found: usize, own: usize },
    #[error("not one real picture can be read: choose others\n{}", path.display())]
    Empty { path: PathBuf },
    /// Newer numbers are wanted, or none any more.
    #[error("stopped before it was done")]
    Stopped,
}

/// What the real pictures are to fit: the judge by its hash and width, and the form of the run's pictures, `[C, H, W]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit<'a> {
    pub(super) sha256: &'a str,
    pub(super) width: usize,
    pub(super) shape: [usize; 3],
}

/// Real pictures that distances are taken to.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) anchor: Anchor,
    /// What else a reader of the distances must know, in one sentence.
    pub(super) note: Option<String>,
}

impl Reference {
    /// What lies at a path, as a distance needs it.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub(super) fn open(path: &Path, fit: Fit<'_>, eye: &Eye<'_>, turn: &mut dyn Turn) -> Result<Self, ReferenceError> {
        if is_session(path) {
            return Err(ReferenceError::Session { path: path.to_owned() });
        }
        let (real, note) = match seen_in(path)? {
            Some(SeenKind::Statistics | SeenKind::StatisticsAndPictures) => {
                let seen = read_statistics(path)?;
                seen.sight.as_ref().map_or(Ok(()), |sight| check(path, sight, fit))?;
                let note = seen.sight.is_none().then(|| UNSAID.to_owned());
                (Real::of_statistics(seen.statistics, None), note)
            }
            Some(SeenKind::Features) => {
                let seen = read_features(path)?;
                check(path, &seen.sight, fit)?;
                (Real::of(seen.features), None)
            }
            None => {
                let (features, fitted) = look(path, fit, eye, turn)?;
                (Real::of(features), fitted_note(fitted))
            }
        };
        if real.width() != fit.width {
            return Err(ReferenceError::Width { path: path.to_owned(), found: real.width(), own: fit.width });
        }
        let anchor = Anchor::of(&real)?;
        if turn.goes_on() { Ok(Self { anchor, note }) } else { Err(ReferenceError::Stopped) }
    }
}

/// What is to be said where pictures were changed to fit.
fn fitted_note(fitted: usize) -> Option<String> {
    (fitted > 0).then(|| {
        format!(
            "{} cropped or resized to fit, so distances compare only with those to pictures that were changed in the same way",
            if fitted == 1 { "1 real picture was".to_owned() } else { format!("{} were", counted(fitted, "real picture")) }
        )
    })
}

/// Refuses what another network saw, or the same one otherwise: such numbers do not compare.
fn check(path: &Path, sight: &Sight, fit: Fit<'_>) -> Result<(), ReferenceError> {
    let path = path.to_owned();
    let short = |hash: &str| hash.get(..SHOWN).unwrap_or(hash).to_owned();
    if sight.sha256 != fit.sha256 {
        let (found, found_hash, own_hash) = (sight.extractor.clone(), short(&sight.sha256), short(fit.sha256));
        return Err(ReferenceError::OtherJudge { path, found, found_hash, own_hash });
    }
    if sight.shape != fit.shape {
        return Err(ReferenceError::Shape { path, found: sight.shape, own: fit.shape });
    }
    if sight.levels != Sight::LEVELS {
        let what = format!("colours of {} levels in place of {}", sight.levels, Sight::LEVELS);
        return Err(ReferenceError::OtherProtocol { path, what });
    }
    if sight.resize != UNCHANGED {
        return Err(ReferenceError::OtherProtocol { path, what: format!("resize {}", sight.resize) });
    }
    Ok(())
}

/// What the judge sees in pictures, without those that a data set holds out for validation, and how many were changed to fit.
fn look(path: &Path, fit: Fit<'_>, eye: &Eye<'_>, turn: &mut dyn Turn) -> Result<(Features, usize), ReferenceError> {
    let (source, held_out) = PictureSource::of_data_set(&[path.to_owned()])?;
    let count = source.count();
    if count > MOST {
        return Err(ReferenceError::TooMany { path: path.to_owned(), count });
    }
    // Files are fitted to the run's pictures; those of an array are what they are.
    if let Some(found) = source.native_shape().filter(|found| *found != fit.shape) {
        return Err(ReferenceError::Shape { path: path.to_owned(), found, own: fit.shape });
    }
    let (mut all, mut fitted, mut stopped) = (None::<Features>, 0, false);
    let mut take = |batch: Batch| -> Result<bool, ReferenceError> {
        let end = batch.first + batch.images.len();
        let is_taken = |i: &usize| held_out.as_ref().is_none_or(|marks| !marks[batch.first + i]);
        let taken: Vec<usize> = (0..batch.images.len()).filter(is_taken).collect();
        let seen = eye.look(&batch.images)?;
        let features = all.get_or_insert_with(|| Features::new(seen.width(), seen.classes()));
        features.append(&seen.at(&taken))?;
        fitted += changed(&batch.fits).len();
        turn.looked_at(end, count);
        stopped = !turn.goes_on();
        Ok(!stopped)
    };
    source.for_each_batch(0..count, (fit.shape, PIECE), &mut take)?;
    match all {
        _ if stopped => Err(ReferenceError::Stopped),
        Some(features) if !features.is_empty() => Ok((features, fitted)),
        _ => Err(ReferenceError::Empty { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: Fit<'static> = Fit { sha256: "0123456789abcdef", width: 3, shape: [3, 8, 8] };

    fn sight() -> Sight {
        Sight {
            extractor: "judge".to_owned(),
            sha256: FIT.sha256.to_owned(),
            features: FIT.width,
            shape: FIT.shape,
            levels: Sight::LEVELS,
            resize: "none".to_owned(),
            device: String::new(),
            pictures: 5,
            pictures_sha256: String::new(),
        }
    }

    #[test]
    fn what_was_seen_otherwise_is_refused_by_what_differs() {
        let refused = |change: fn(&mut Sight)| {
            let mut sight = sight();
            change(&mut sight);
            check(Path::new("real.npz"), &sight, FIT).unwrap_err().to_string()
        };
        assert!(check(Path::new("real.npz"), &sight(), FIT).is_ok());
        let text = refused(|sight| sight.sha256 = "fedcba9876543210".to_owned());
        assert!(text.contains("judge (SHA-256 fedcba987654…), but the judge has SHA-256 0123456789ab…"), "{text}");
        assert!(refused(|sight| sight.shape = [3, 16, 16]).contains("[3, 16, 16]"));
        assert!(refused(|sight| sight.levels = 65_536).contains("65536 levels in place of 256"));
        assert!(refused(|sight| sight.resize = "clean".to_owned()).contains("resize clean"));
    }

    #[test]
    fn pictures_that_were_changed_to_fit_are_told_of() {
        assert_eq!(fitted_note(0), None);
        assert!(fitted_note(1).is_some_and(|note| note.starts_with("1 real picture was cropped")));
        assert!(fitted_note(7).is_some_and(|note| note.starts_with("7 real pictures were cropped")));
    }
}
