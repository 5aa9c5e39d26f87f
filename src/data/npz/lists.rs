//! Lists beside pictures and labels: which pictures of a data set are held out, and what the classes are called.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use zip::ZipArchive;

use super::array::{self, LabelFault};
use super::{Archive, PictureError, broken, entry, keys_among, refusal, unzip};

/// Of a data set: whether a picture is for validation, `[N]`, and what the classes are called, `[K]`.
const HELD_OUT: &str = "is_val";
const NAMES: &str = "class_names";
/// Most bytes of a list beside pictures and labels.
const MAX_LIST: u64 = 64 << 20;

/// The bytes of a list beside pictures and labels, whose header can be read.
pub(super) fn read_list(
    zip: &mut ZipArchive<BufReader<File>>,
    path: &Path,
    key: &'static str,
) -> Result<Option<Vec<u8>>, PictureError> {
    let Some(mut entry) = entry(zip, path, key)? else { return Ok(None) };
    // One number or one name for every picture; what is longer is none of these.
    let mut bytes = Vec::new();
    entry.by_ref().take(MAX_LIST).read_to_end(&mut bytes).map_err(|source| broken(path, key, source))?;
    array::read_header(&mut bytes.as_slice()).map_err(|source| broken(path, key, source))?;
    Ok(Some(bytes))
}

/// What the classes are called; none where it does not say so.
pub(super) fn read_names(
    zip: &mut ZipArchive<BufReader<File>>,
    path: &Path,
) -> Result<Option<Vec<String>>, PictureError> {
    let names = |bytes: Vec<u8>| npyz::NpyFile::new(&bytes[..])?.into_vec::<String>();
    let names = read_list(zip, path, NAMES)?.map(names).transpose();
    names.map_err(|source| broken(path, NAMES, source))
}

/// An archive of a data set, or of samples to learn from, and what it says beside pictures and labels.
pub(in crate::data) struct Set {
    pub(in crate::data) archive: Archive,
    /// Whether each picture is held out for validation, if it says so.
    pub(in crate::data) held_out: Option<Vec<bool>>,
}

impl Set {
    /// Reads headers and labels.
    pub(in crate::data) fn open(path: &Path) -> Result<Self, PictureError> {
        let mut zip = unzip(path)?;
        let archive = Archive::open(path, keys_among(&zip))?;
        let held_out = read_list(&mut zip, path, HELD_OUT)?;
        let held_out = held_out.map(|bytes| marks(&bytes, path, archive.count)).transpose()?;
        Ok(Self { archive, held_out })
    }
}

/// A truth value for every picture, which may be written as the number 0 or 1.
fn marks(bytes: &[u8], path: &Path, count: usize) -> Result<Vec<bool>, PictureError> {
    let unread = |source| broken(path, HELD_OUT, source);
    let odd = |what: String| {
        refusal(path, format!("{HELD_OUT} {what}"), "write one truth value for every picture, or leave it out")
    };
    let file = npyz::NpyFile::new(bytes).map_err(unread)?;
    let marks = if matches!(file.dtype(), npyz::DType::Plain(kind) if kind.type_char() == npyz::TypeChar::Bool) {
        file.into_vec::<bool>().map_err(unread)?
    } else {
        let numbers = array::labels(bytes, count).map_err(|fault| match fault {
            LabelFault::Unreadable(source) => unread(source),
            LabelFault::Odd(what) => odd(what),
        })?;
        let mark = |number: &usize| match number {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(odd(format!("holds {other}, which is neither 0 nor 1"))),
        };
        numbers.list.iter().map(mark).collect::<Result<_, _>>()?
    };
    if marks.len() == count {
        Ok(marks)
    } else {
        Err(odd(format!("has {} values, but there are {count} pictures", marks.len())))
    }
}
