//! What the extractor saw, kept in files: which are written, and whether one that is read was seen as all else is.

use std::path::{Path, PathBuf};

use super::CliError;
use super::error::EvaluateError;
use super::looking::Looked;
use crate::data::{Digest, SeenFeatures, SeenKind, Sight, is_seen_of_ours};
use crate::export::{ExportError, write_features};
use crate::zoo::InceptionDialect;

/// The flags that name these files.
pub(in crate::cli) const SAVE_FEATURES: &str = "save-features";
/// See [`SAVE_FEATURES`].
pub(in crate::cli) const SAVE_STATISTICS: &str = "save-statistics";
/// Digits of a hash that a message shows.
const SHOWN: usize = 12;
/// What the features of the real pictures are called in a folder.
const REFERENCE: &str = "reference";

/// How the extractor sees, apart from the pictures.
#[derive(Debug, Clone)]
pub(super) struct Protocol<'a> {
    pub(super) extractor: &'a str,
    /// SHA-256 of its weights.
    pub(super) sha256: &'a str,
    /// What it does to the size of pictures, or the key of its dialect, which says that.
    pub(super) resize: &'a str,
}

impl Protocol<'_> {
    /// Refuses what was seen by another network, or otherwise: the numbers would not compare.
    pub(super) fn check(&self, path: &Path, sight: &Sight) -> Result<(), CliError> {
        let (path, short) = (path.to_owned(), |hash: &str| hash.get(..SHOWN).unwrap_or(hash).to_owned());
        if sight.sha256 != self.sha256 {
            return Err(EvaluateError::OtherExtractor {
                path,
                found: sight.extractor.clone(),
                found_hash: short(&sight.sha256),
                extractor: self.extractor.to_owned(),
                own_hash: short(self.sha256),
            }
            .into());
        }
        if sight.resize != self.resize {
            let (found, expected) = (sight.resize.clone(), self.resize.to_owned());
            let what = if InceptionDialect::of(self.resize).is_some() { "the dialect" } else { "the resize" };
            return Err(EvaluateError::OtherProtocol { path, what, found, expected }.into());
        }
        if sight.levels != Sight::LEVELS {
            let (found, expected) = (format!("{} levels", sight.levels), format!("{} levels", Sight::LEVELS));
            return Err(EvaluateError::OtherProtocol { path, what: "colours of", found, expected }.into());
        }
        Ok(())
    }

    /// What is written of a set that a device looked at.
    pub(super) fn sight(&self, looked: &Looked, device: &str) -> Sight {
        Sight {
            extractor: self.extractor.to_owned(),
            sha256: self.sha256.to_owned(),
            features: looked.features.width(),
            shape: looked.shape,
            levels: Sight::LEVELS,
            resize: self.resize.to_owned(),
            device: device.to_owned(),
            pictures: looked.features.len(),
            pictures_sha256: Digest::sum(&looked.hashes).digits(),
        }
    }
}

/// Says what is wrong with a file that a flag names before an hour of computing shows it.
pub(super) fn check_file(flag: &'static str, path: &Path, overwrite: bool) -> Result<(), CliError> {
    if !is_archive(path) {
        return Err(EvaluateError::ArchiveName { flag, path: path.to_owned() }.into());
    }
    if !path.exists() {
        return Ok(());
    }
    let kind = if flag == SAVE_FEATURES { SeenKind::Features } else { SeenKind::Statistics };
    match (overwrite, is_seen_of_ours(path, kind)) {
        (false, _) => Err(CliError::TableExists { path: path.to_owned() }),
        (true, false) => Err(EvaluateError::NotKept { flag, path: path.to_owned() }.into()),
        (true, true) => Ok(()),
    }
}

/// By its name.
pub(super) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("npz"))
}

/// The files that features go to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// One for each set.
    pub(super) sets: Vec<PathBuf>,
    /// That of the real pictures, where there is a folder.
    pub(super) reference: Option<PathBuf>,
}

impl Files {
    /// In the folder or file that was named, for sets of these names.
    pub(super) fn of(named: Option<&Path>, names: &[&str], overwrite: bool) -> Result<Self, CliError> {
        let Some(named) = named else { return Ok(Self::default()) };
        if is_archive(named) && !named.is_dir() {
            if names.len() != 1 {
                return Err(EvaluateError::OneFile { path: named.to_owned(), count: names.len() }.into());
            }
            check_file(SAVE_FEATURES, named, overwrite)?;
            return Ok(Self { sets: vec![named.to_owned()], reference: None });
        }
        let mut taken = vec![REFERENCE.to_owned()];
        for name in names {
            let name = plain(name);
            let numbered = (2..).map(|number: u32| format!("{name}-{number}"));
            taken.extend(std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name)));
        }
        let mut files: Vec<PathBuf> = taken.iter().map(|name| named.join(format!("{name}.npz"))).collect();
        files.iter().try_for_each(|path| check_file(SAVE_FEATURES, path, overwrite))?;
        let reference = Some(files.remove(0));
        Ok(Self { sets: files, reference })
    }
}

/// The last part of a set's name, as a file may be called: `out/result.npz before` is `result-before`.
fn plain(name: &str) -> String {
    let last = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(name).replace(".npz", "");
    let name: String = last.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "set".to_owned() } else { name.to_owned() }
}

/// Writes a file as `write` does; or, with `resume`, is content with one that is there and holds the very same.
///
/// # Errors
/// What keeps it from being written, also that another one is there.
pub(super) fn put(
    path: &Path,
    resume: bool,
    write: impl FnOnce(&Path) -> Result<(), ExportError>,
) -> anyhow::Result<()> {
    if !resume || !path.exists() {
        return Ok(write(path)?);
    }
    let fail = |source| ExportError::Write { path: path.to_owned(), source };
    let beside = tempfile::tempdir_in(super::folder_of(path)).map_err(fail)?;
    let new = beside.path().join(path.file_name().unwrap_or_default());
    write(&new)?;
    let is_same = std::fs::read(&new).map_err(fail)? == std::fs::read(path).map_err(fail)?;
    if is_same { Ok(()) } else { Err(CliError::TableExists { path: path.to_owned() }.into()) }
}

/// Writes the features of a set.
pub(super) fn write(path: &Path, looked: &Looked, (sight, classes): (Sight, &[String])) -> Result<(), ExportError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| ExportError::Write { path: path.to_owned(), source })?;
    }
    let Looked { features, labels, names, hashes, .. } = looked.clone();
    write_features(path, &SeenFeatures { sight, features, labels, classes: classes.to_vec(), names, hashes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Features;

    #[test]
    fn every_set_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let named = |names: &[&str]| -> Vec<String> {
            let files = Files::of(Some(folder.path()), names, false).unwrap();
            assert_eq!(files.reference, Some(folder.path().join("reference.npz")));
            files.sets.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(
            named(&["r before", "out/r.npz after", "../a", "b/a/", "reference", ".."]),
            ["r-before.npz", "r-after.npz", "a.npz", "a-2.npz", "reference-2.npz", "set.npz"]
        );
        assert_eq!(Files::of(None, &["a"], false).unwrap(), Files::default());
        let file = folder.path().join("one.NPZ");
        assert_eq!(Files::of(Some(&file), &["a"], false).unwrap().sets, std::slice::from_ref(&file));
        let error = Files::of(Some(&file), &["a", "b"], false).unwrap_err();
        assert!(error.to_string().contains("but there are 2 sets") && error.exit_code() == 2, "{error}");
    }

    #[test]
    fn going_on_is_content_with_the_same_file_and_replaces_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let with = |text: &'static str| {
            move |path: &Path| {
                std::fs::write(path, text).unwrap();
                Ok(())
            }
        };
        put(&path, true, with("one")).unwrap();
        put(&path, true, with("one")).unwrap();
        let error = put(&path, true, with("two")).unwrap_err();
        assert!(error.to_string().contains("t.csv is there already"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        put(&path, false, with("two")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else stays");
    }

    #[test]
    fn nothing_of_others_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        std::fs::write(&path, "mine").unwrap();
        for flag in [SAVE_FEATURES, SAVE_STATISTICS] {
            assert!(check_file(flag, &path, false).unwrap_err().to_string().contains("is there already"));
            let error = check_file(flag, &path, true).unwrap_err();
            assert!(error.to_string().contains(&format!("was not written by --{flag}")), "{error}");
            assert!(check_file(flag, &folder.path().join("a.csv"), true).is_err());
        }
        let mut features = Features::new(1, 1);
        features.extend(&[1.0], &[2.0]);
        let hashes = vec![Digest::of([1, 1, 1], &[3])];
        let looked = Looked { features, labels: None, names: Vec::new(), hashes, fitted: 0, shape: [1, 1, 1] };
        let protocol = Protocol { extractor: "judge", sha256: "0123456789abcdef", resize: "none" };
        let sight = protocol.sight(&looked, "a device");
        let path = folder.path().join("new/a.npz");
        write(&path, &looked, (sight.clone(), &[])).unwrap();
        assert!(check_file(SAVE_FEATURES, &path, true).is_ok() && check_file(SAVE_STATISTICS, &path, true).is_err());
        assert!(protocol.check(&path, &sight).is_ok());
        let other = Protocol { sha256: "fedcba9876543210", extractor: "other", ..protocol.clone() };
        let text = other.check(&path, &sight).unwrap_err().to_string();
        assert!(
            text.contains("by judge (SHA-256 0123456789ab…), but the extractor is other (SHA-256 fedcba"),
            "{text}"
        );
        let other = Protocol { resize: "bilinear", ..protocol.clone() };
        let text = other.check(&path, &sight).unwrap_err().to_string();
        assert!(text.contains("seen with the resize none, but now it is bilinear"), "{text}");
        let other = Protocol { resize: "clean", ..protocol.clone() };
        let text = other.check(&path, &Sight { resize: "tensorflow".to_owned(), ..sight.clone() }).unwrap_err();
        assert!(text.to_string().contains("with the dialect tensorflow, but now it is clean"), "{text}");
        let other = Sight { levels: 65536, ..sight };
        assert!(protocol.check(&path, &other).unwrap_err().to_string().contains("colours of 65536 levels"));
    }
}
