//! The real pictures that a run is compared with in the window: seen by the judge, or what it saw of them before.

use std::path::{Path, PathBuf};

use super::eye::{Eye, PIECE};
use super::message::Against;
use super::turn::Turn;
use crate::data::{
    Batch, MAX_PICTURES, PictureError, PictureSource, SeenKind, Sight, changed, is_session, read_features,
    read_statistics, seen_in,
};
use crate::error::error_chain;
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
    Pictures(PictureError),
    #[error(
        "this is {found}, but real pictures are needed: give an .npz of pictures, of mean and covariance, or of what lapidary evaluate saw with the same judge, or a folder of pictures\n{}", path.display()
    )]
    NoPictures { path: PathBuf, found: String },
    #[error(
        "this is a single picture, but a distance needs many: give an .npz of pictures, or a folder of them\n{}", path.display()
    )]
    Single { path: PathBuf },
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

impl From<PictureError> for ReferenceError {
    /// Whoever chooses here has no flags, and no use for a single picture.
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::Checkpoint { path } => Self::NoPictures { path, found: "a checkpoint".to_owned() },
            PictureError::Session { path } => Self::Session { path },
            PictureError::NotAPicture { path, found } => Self::NoPictures { path, found: found.to_string() },
            other => Self::Pictures(other),
        }
    }
}

/// What the real pictures are to fit: the judge by its hash and width, where it is known, and the form of the run's pictures,
/// `[C, H, W]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit<'a> {
    pub(super) judge: Option<(&'a str, usize)>,
    pub(super) shape: [usize; 3],
}

/// Why what lies at a path serves no distance, from what happened to why, as far as that can be told without looking at its pictures
/// one by one; `None` where nothing speaks against it.
#[must_use]
pub fn fault_of(path: &Path, against: &Against) -> Option<Vec<String>> {
    let judge = against.judge.as_ref().map(|(sha256, width)| (sha256.as_str(), *width));
    glance(path, Fit { judge, shape: against.shape }).err().map(|error| error_chain(&error))
}

/// Likewise, for whoever has too few pictures to look at real ones.
///
/// # Errors
/// [`ReferenceError`]
pub(super) fn glance(path: &Path, fit: Fit<'_>) -> Result<(), ReferenceError> {
    if read_seen(path, fit)?.is_some() {
        return Ok(());
    }
    let (source, _) = pictures(path, fit)?;
    // One that can be read is enough: what is wrong with the others is found when they are looked at.
    let (one, errors) = source.readable(0..1, fit.shape);
    if one.is_some() || (source.count() > 1 && source.readable(1..MAX_PICTURES, fit.shape).0.is_some()) {
        return Ok(());
    }
    Err(errors.into_iter().next().map_or_else(|| ReferenceError::Empty { path: path.to_owned() }, Into::into))
}

/// Real pictures that distances are taken to.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) anchor: Anchor,
    /// What else a reader of the distances must know, in one sentence.
    pub(super) note: Option<String>,
    /// Pictures beside them that their data set holds out, and that are not looked at.
    pub(super) held_out: usize,
}

impl Reference {
    /// What lies at a path, as a distance needs it.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub(super) fn open(path: &Path, fit: Fit<'_>, eye: &Eye<'_>, turn: &mut dyn Turn) -> Result<Self, ReferenceError> {
        let (real, note, held_out) = match read_seen(path, fit)? {
            Some((real, note)) => (real, note, 0),
            None => {
                let Seen { features, fitted, held_out } = look(path, fit, eye, turn)?;
                (Real::of(features), fitted_note(fitted), held_out)
            }
        };
        check_width(path, &real, fit)?;
        let anchor = Anchor::of(&real)?;
        if turn.goes_on() { Ok(Self { anchor, note, held_out }) } else { Err(ReferenceError::Stopped) }
    }
}

/// What was seen of real pictures, and what is to be said of it; `None` for pictures that are still to be looked at.
fn read_seen(path: &Path, fit: Fit<'_>) -> Result<Option<(Real, Option<String>)>, ReferenceError> {
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
        None => return Ok(None),
    };
    check_width(path, &real, fit)?;
    Ok(Some((real, note)))
}

fn check_width(path: &Path, real: &Real, fit: Fit<'_>) -> Result<(), ReferenceError> {
    let found = real.width();
    match fit.judge {
        Some((_, own)) if own != found => Err(ReferenceError::Width { path: path.to_owned(), found, own }),
        _ => Ok(()),
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
    if let Some((own, _)) = fit.judge.filter(|(own, _)| sight.sha256 != *own) {
        let (found, found_hash, own_hash) = (sight.extractor.clone(), short(&sight.sha256), short(own));
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

/// Real pictures that can be looked at, and which of them a data set holds out for validation.
fn pictures(path: &Path, fit: Fit<'_>) -> Result<(PictureSource, Option<Vec<bool>>), ReferenceError> {
    let (source, held_out) = PictureSource::of_data_set(&[path.to_owned()])?;
    let count = source.count() - held_out_of(held_out.as_deref());
    let path = || path.to_owned();
    if count > MOST {
        return Err(ReferenceError::TooMany { path: path(), count });
    }
    // Files are fitted to the run's pictures; those of an array are what they are.
    if let Some(found) = source.native_shape().filter(|found| *found != fit.shape) {
        return Err(ReferenceError::Shape { path: path(), found, own: fit.shape });
    }
    // What it is comes first: another file is no picture at all.
    if source.native_shape().is_none() && count == 1 && source.readable(0..1, fit.shape).0.is_some() {
        return Err(ReferenceError::Single { path: path() });
    }
    Ok((source, held_out))
}

fn held_out_of(marks: Option<&[bool]>) -> usize {
    marks.map_or(0, |marks| marks.iter().filter(|mark| **mark).count())
}

/// What the judge saw in pictures.
struct Seen {
    features: Features,
    /// How many were changed to fit.
    fitted: usize,
    /// How many the data set holds out: they are left out.
    held_out: usize,
}

/// What the judge sees in pictures, without those that a data set holds out for validation.
fn look(path: &Path, fit: Fit<'_>, eye: &Eye<'_>, turn: &mut dyn Turn) -> Result<Seen, ReferenceError> {
    let (source, marks) = pictures(path, fit)?;
    let held_out = held_out_of(marks.as_deref());
    let count = source.count() - held_out;
    let (mut all, mut fitted, mut stopped) = (None::<Features>, 0, false);
    let mut take = |batch: Batch| -> Result<bool, ReferenceError> {
        let is_taken = |i: &usize| marks.as_ref().is_none_or(|marks| !marks[batch.first + i]);
        let taken: Vec<usize> = (0..batch.images.len()).filter(is_taken).collect();
        if taken.is_empty() {
            return Ok(true);
        }
        let seen = eye.look(&batch.images)?;
        let features = all.get_or_insert_with(|| Features::new(seen.width(), seen.classes()));
        features.append(&seen.at(&taken))?;
        fitted += changed(&batch.fits).len();
        turn.looked_at(features.len(), count);
        stopped = !turn.goes_on();
        Ok(!stopped)
    };
    source.for_each_batch(0..source.count(), (fit.shape, PIECE), &mut take)?;
    match all {
        _ if stopped => Err(ReferenceError::Stopped),
        Some(features) if !features.is_empty() => Ok(Seen { features, fitted, held_out }),
        _ => Err(ReferenceError::Empty { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef";
    const FIT: Fit<'static> = Fit { judge: Some((HASH, 3)), shape: [3, 8, 8] };

    fn sight() -> Sight {
        Sight {
            extractor: "judge".to_owned(),
            sha256: HASH.to_owned(),
            features: 3,
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

    #[test]
    fn a_wrong_file_is_told_of_without_looking_at_pictures_and_asks_for_what_is_taken_here() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let fault =
            |name: &str| fault_of(&at(name), &Against { judge: None, shape: FIT.shape }).map(|why| why.join(": "));
        assert!(fault("none.npz").unwrap().contains("no file is there: check the path"));
        std::fs::write(at("notes.txt"), "not a picture, but some words").unwrap();
        let text = fault("notes.txt").unwrap();
        assert!(text.contains("give an .npz of pictures") && !text.contains("PNG"), "{text}");
        std::fs::create_dir(at("empty")).unwrap();
        assert!(fault("empty").unwrap().contains("no picture is in this folder"));
        image::RgbImage::new(8, 8).save(at("one.png")).unwrap();
        assert!(fault("one.png").unwrap().contains("a single picture"));
        std::fs::create_dir(at("some")).unwrap();
        std::fs::write(at("some/a.png"), "damaged").unwrap();
        std::fs::write(at("some/b.png"), "damaged").unwrap();
        assert!(fault("some").is_some(), "not one can be read");
        image::RgbImage::new(9, 7).save(at("some/b.png")).unwrap();
        assert_eq!(fault("some"), None, "one can be read, and is fitted");
    }
}
