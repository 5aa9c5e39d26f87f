//! What a network saw in pictures, in archives: features of every picture, or mean and covariance of them.
//!
//! | key | type | shape | content |
//! |---|---|---|---|
//! | `mu` | a float | `[D]` | mean of the features |
//! | `sigma` | a float | `[D, D]` | their covariance, divided by N - 1 |
//! | `mu_s`, `sigma_s` | floats | `[S]`, `[S, S]` | likewise, of features that know their place (guided-diffusion) |
//! | `features` | a float | `[N, D]` | of every picture |
//! | `spatial` | a float | `[N, S]` | features that know their place, where the network has some |
//! | `logits` | a float | `[N, K]` | likewise |
//! | `labels` | an integer | `[N]` | its class, where that is known |
//! | `hashes` | uint64 | `[N, 4]` | [`Digest`] of each |
//! | `class_names`, `names` | unicode | `[K]`, `[N]` | of the classes and of the pictures |
//! | `lapidary` | unicode | `[1]` | JSON: [`Sight`] |
//!
//! pytorch-fid, clean-fid and guided-diffusion read and write `mu` and `sigma`, and leave other keys aside.

mod numbers;
mod sight;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::ZipArchive;

use self::numbers::numbers;
use self::sight::Written;
pub use self::sight::{Digest, Sight};
use super::array::{self, LabelFault};
use super::lists::read_list;
use super::{DAMAGED, DATA_SET, LISTED, PictureError, SAMPLES, entry, holds, is_archive, unzip};
use crate::metrics::{Features, Gaussian, Statistics};

/// What the archive says of itself, which only ours do.
const SIGHT: &str = "lapidary";
/// Names of its kinds.
const KINDS: [&str; 2] = ["lapidary-features", "lapidary-statistics"];

const STATISTICS: &str = "the statistics";
const FEATURES: &str = "the features";
const WRITE_STATISTICS: &str =
    "give an .npz with mu [D] and sigma [D, D] of floats, as pytorch-fid and --save-statistics write them";
const WRITE_FEATURES: &str = "let --save-features write them again, or give the pictures themselves";
const WRITE_ANY: &str = "give pictures as arr_0, statistics as mu and sigma (pytorch-fid's form), or what --save-features writes; arrays of other programs are to be renamed with np.savez";

/// What an archive holds of what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenKind {
    /// Features of every picture.
    Features,
    /// Mean and covariance alone.
    Statistics,
    /// Mean and covariance, and some of the pictures.
    StatisticsAndPictures,
}

/// Features of every picture of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenFeatures {
    /// What saw which pictures.
    pub sight: Sight,
    /// The features and logits.
    pub features: Features,
    /// Class of each, of [`Self::classes`], where that is known.
    pub labels: Option<Vec<usize>>,
    /// What the network calls its classes.
    pub classes: Vec<String>,
    /// What each picture is called; empty where nobody said.
    pub names: Vec<String>,
    /// Which picture each is.
    pub hashes: Vec<Digest>,
}

/// Mean and covariance of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenStatistics {
    /// The numbers.
    pub statistics: Statistics,
    /// What saw which pictures; none in files of other programs, which do not say.
    pub sight: Option<Sight>,
}

impl SeenFeatures {
    /// The text about it in a file.
    #[must_use]
    pub fn about(&self) -> String {
        self.sight.text(KINDS[0])
    }
}

impl SeenStatistics {
    /// The text about it in a file, where something is known.
    #[must_use]
    pub fn about(&self) -> Option<String> {
        self.sight.as_ref().map(|sight| sight.text(KINDS[1]))
    }
}

/// What a file holds of what was seen; `None` for pictures, for folders and for what is no archive.
///
/// # Errors
/// [`PictureError`] of an archive that cannot be read, or that holds neither pictures nor what was seen of them.
pub fn seen_in(path: &Path) -> Result<Option<SeenKind>, PictureError> {
    if !is_archive(path) {
        return Ok(None);
    }
    let zip = unzip(path)?;
    let has = |key: &str| holds(&zip, key);
    let has_pictures = has(SAMPLES.pictures) || has(DATA_SET.pictures);
    match (has("mu") || has("sigma"), has("features"), has_pictures) {
        (true, _, true) => Ok(Some(SeenKind::StatisticsAndPictures)),
        (true, ..) => Ok(Some(SeenKind::Statistics)),
        (_, true, false) => Ok(Some(SeenKind::Features)),
        (_, _, true) => Ok(None),
        // A session is an archive, too.
        _ if !zip.file_names().flatten().any(|name| name.ends_with(".npy")) => Ok(None),
        _ => Err(refusal(path, "the arrays", listed(&zip), WRITE_ANY)),
    }
}

/// What an archive has that nobody knows here.
fn listed(zip: &ZipArchive<BufReader<File>>) -> String {
    let names: Vec<String> = zip.file_names().flatten().map(|name| name.trim_end_matches(".npy").to_owned()).collect();
    let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
    let first = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("it has {first}{more}, but no pictures, features, or mu and sigma")
}

/// Whether a file was written here to hold what was seen, so that another of the same kind may replace it.
#[must_use]
pub fn is_seen_of_ours(path: &Path, kind: SeenKind) -> bool {
    let wanted = KINDS[usize::from(kind != SeenKind::Features)];
    let written = || {
        let mut zip = is_archive(path).then(|| unzip(path).ok()).flatten()?;
        written(&mut zip, path, STATISTICS).ok().flatten()
    };
    written().is_some_and(|written| written.format == wanted)
}

/// Reads mean and covariance, of floats of any precision.
///
/// # Errors
/// [`PictureError::Seen`] when they are none.
pub fn read_statistics(path: &Path) -> Result<SeenStatistics, PictureError> {
    let mut zip = unzip(path)?;
    let sight = written(&mut zip, path, STATISTICS)?.map(|written| written.sight);
    let Some((gaussian, is_exact)) = gaussian(&mut zip, path, ["mu", "sigma"])? else {
        return Err(refusal(path, STATISTICS, "it has neither mu nor sigma".to_owned(), WRITE_STATISTICS));
    };
    let spatial = gaussian_of_places(&mut zip, path)?;
    if let Some(other) = sight.as_ref().map(|sight| sight.features).filter(|width| *width != gaussian.width()) {
        let what = format!("it says that its features are {other}, but mu has {}", gaussian.width());
        return Err(refusal(path, STATISTICS, what, WRITE_STATISTICS));
    }
    let count = sight.as_ref().map(|sight| sight.pictures);
    Ok(SeenStatistics { statistics: Statistics { gaussian, spatial, count, is_exact }, sight })
}

fn gaussian_of_places(zip: &mut ZipArchive<BufReader<File>>, path: &Path) -> Result<Option<Gaussian>, PictureError> {
    Ok(gaussian(zip, path, ["mu_s", "sigma_s"])?.map(|(gaussian, _)| gaussian))
}

/// Mean and covariance by the names of their arrays, and whether they are of double precision; none where neither is there.
fn gaussian(
    zip: &mut ZipArchive<BufReader<File>>,
    path: &Path,
    [mu, sigma]: [&str; 2],
) -> Result<Option<(Gaussian, bool)>, PictureError> {
    let refuse = |what: String| refusal(path, STATISTICS, what, WRITE_STATISTICS);
    let about = (path, STATISTICS, WRITE_STATISTICS);
    let found = [numbers::<f64>(zip, mu, about)?, numbers::<f64>(zip, sigma, about)?];
    let [Some(mean), Some(covariance)] = found else {
        let [has_mean, has_covariance] = found.map(|array| array.is_some());
        return match (has_mean, has_covariance) {
            (true, _) => Err(refuse(format!("it has {mu}, but no {sigma}"))),
            (_, true) => Err(refuse(format!("it has {sigma}, but no {mu}"))),
            _ => Ok(None),
        };
    };
    let width = mean.values.len();
    if !matches!(*mean.shape, [_] | [1, _]) || covariance.shape != [width, width] {
        return Err(refuse(format!(
            "{mu} has the shape {:?} and {sigma} {:?}, but [D] and [D, D] are mean and covariance of D features",
            mean.shape, covariance.shape
        )));
    }
    let is_exact = mean.is_double && covariance.is_double;
    let gaussian = Gaussian::from_parts(&mean.values, &covariance.values);
    gaussian.map(|gaussian| Some((gaussian, is_exact))).map_err(|error| refuse(format!("{mu}, {sigma}: {error}")))
}

/// Reads features that were written here.
///
/// # Errors
/// [`PictureError::Seen`] when they are not, or contradict themselves.
pub fn read_features(path: &Path) -> Result<SeenFeatures, PictureError> {
    let refuse = |what: String| refusal(path, FEATURES, what, WRITE_FEATURES);
    let mut zip = unzip(path)?;
    let Some(Written { sight, .. }) = written(&mut zip, path, FEATURES)? else {
        return Err(refuse("it does not say which network saw them at which size".to_owned()));
    };
    let about = (path, FEATURES, WRITE_FEATURES);
    let values = numbers::<f32>(&mut zip, "features", about)?;
    let logits = numbers::<f32>(&mut zip, "logits", about)?;
    let (Some(values), Some(logits)) = (values, logits) else {
        return Err(refuse("it has no features, or no logits".to_owned()));
    };
    let (&[n, width], &[rows, classes]) = (&*values.shape, &*logits.shape) else {
        return Err(refuse(format!("features have the shape {:?} and logits {:?}", values.shape, logits.shape)));
    };
    if n == 0 || classes == 0 || (rows, width, sight.pictures) != (n, sight.features, n) {
        return Err(refuse(format!(
            "it says that it holds {} features of {} pictures, but features have the shape {:?} and logits {:?}",
            sight.features, sight.pictures, values.shape, logits.shape
        )));
    }
    let mut features = Features::new(width, classes);
    features.extend(&values.values, &logits.values);
    if let Some(spatial) = numbers::<f32>(&mut zip, "spatial", about)? {
        let &[rows, places] = &*spatial.shape else {
            return Err(refuse(format!("spatial has the shape {:?}", spatial.shape)));
        };
        if rows != n || places == 0 {
            return Err(refuse(format!("spatial has the shape {:?}, but there are {n} pictures", spatial.shape)));
        }
        features.extend_spatial(&spatial.values, places);
    }
    features.check().map_err(|error| refuse(error.to_string()))?;
    let labels = labels(&mut zip, path, n)?;
    let names = texts(&mut zip, path, "names")?;
    let names = Some(names).filter(|names| names.len() == n).unwrap_or_default();
    let classes = texts(&mut zip, path, "class_names")?;
    let hashes = hashes(&mut zip, path, n)?;
    if Digest::sum(&hashes).digits() != sight.pictures_sha256 {
        return Err(refuse("its hashes are not of the pictures that it names".to_owned()));
    }
    Ok(SeenFeatures { sight, features, labels, classes, names, hashes })
}

fn labels(
    zip: &mut ZipArchive<BufReader<File>>,
    path: &Path,
    count: usize,
) -> Result<Option<Vec<usize>>, PictureError> {
    let Some(entry) = entry(zip, path, "labels")? else { return Ok(None) };
    let labels = array::labels(BufReader::new(entry), count).map_err(|fault| match fault {
        LabelFault::Unreadable(source) => broken((path, FEATURES), "labels", source),
        LabelFault::Odd(what) => refusal(path, FEATURES, format!("labels {what}"), WRITE_FEATURES),
    })?;
    Ok(Some(labels.list))
}

fn hashes(zip: &mut ZipArchive<BufReader<File>>, path: &Path, count: usize) -> Result<Vec<Digest>, PictureError> {
    let refuse = |what: String| refusal(path, FEATURES, what, WRITE_FEATURES);
    let Some(bytes) = read_list(zip, path, "hashes")? else { return Err(refuse("it has no hashes".to_owned())) };
    let numbers = npyz::NpyFile::new(&bytes[..]).and_then(npyz::NpyFile::into_vec::<u64>);
    let numbers = numbers.map_err(|source| broken((path, FEATURES), "hashes", source))?;
    let (rows, rest) = numbers.as_chunks::<4>();
    if rows.len() != count || !rest.is_empty() {
        return Err(refuse(format!("hashes have {} numbers, but there are {count} pictures", numbers.len())));
    }
    Ok(rows.iter().copied().map(Digest).collect())
}

/// A list of texts; empty where it is not there.
fn texts(zip: &mut ZipArchive<BufReader<File>>, path: &Path, key: &'static str) -> Result<Vec<String>, PictureError> {
    let Some(bytes) = read_list(zip, path, key)? else { return Ok(Vec::new()) };
    let texts = npyz::NpyFile::new(&bytes[..]).and_then(npyz::NpyFile::into_vec::<String>);
    texts.map_err(|source| broken((path, FEATURES), key, source))
}

/// What an archive says of itself; `None` where it says nothing.
fn written(
    zip: &mut ZipArchive<BufReader<File>>,
    path: &Path,
    kind: &'static str,
) -> Result<Option<Written>, PictureError> {
    let Some(text) = texts(zip, path, SIGHT)?.into_iter().next() else { return Ok(None) };
    let odd = |_| {
        let what = format!("what {SIGHT} says of it is not understood, as of a later version");
        refusal(path, kind, what, "write it again with this version, or update Lapidary")
    };
    serde_json::from_str(&text).map(Some).map_err(odd)
}

fn refusal(path: &Path, kind: &'static str, what: String, advice: &'static str) -> PictureError {
    PictureError::Seen { path: path.to_owned(), kind, what, advice, source: None }
}

fn broken((path, kind): (&Path, &'static str), key: &str, source: std::io::Error) -> PictureError {
    let what = format!("{key} cannot be read");
    PictureError::Seen { path: path.to_owned(), kind, what, advice: DAMAGED, source: Some(source) }
}

#[cfg(test)]
mod tests;
