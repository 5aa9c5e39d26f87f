//! The room on the disk that features and statistics take, which is known as soon as one picture was seen.

use std::path::Path;

use super::dumps::{SAVE_FEATURES, SAVE_STATISTICS, is_archive};
use super::error::EvaluateError;
use super::sets::Pictures;
use super::subject::Subject;
use super::{EvaluateOptions, folder_of};
use crate::export::{ExportError, check_space};
use crate::file::place_of;
use crate::metrics::Features;

/// Bytes of an archive beside its arrays, about.
const FRAME: u64 = 4 << 10;
/// Bytes of a picture beside its numbers: which one it is, and its class.
const BESIDE: u64 = 4 * 8 + 8;

/// Most bytes of all names; an archive leaves more out.
const NAMES: u64 = 32 << 20;

/// How many numbers are seen of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Widths {
    features: u64,
    outputs: u64,
    /// Of features that know their place.
    places: u64,
    /// Characters of the longest name, of which an archive has all names.
    name: u64,
}

impl Widths {
    fn of(features: &Features, names: &[String]) -> Self {
        let name = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Self {
            features: features.width() as u64,
            outputs: features.classes() as u64,
            places: features.spatial().map_or(0, Features::width) as u64,
            name: name as u64,
        }
    }

    /// Bytes of a file with the features of so many pictures.
    const fn bytes_of_features(self, pictures: u64) -> u64 {
        let Self { features, outputs, places, name } = self;
        let names = 4 * name * pictures;
        let names = if names < NAMES { names } else { NAMES };
        FRAME + pictures * (4 * (features + outputs + places) + BESIDE) + names
    }

    /// Bytes of a file with means and covariances, in double precision.
    const fn bytes_of_statistics(self) -> u64 {
        let Self { features, places, .. } = self;
        FRAME + 8 * (features * (features + 1) + places * (places + 1))
    }
}

/// Checks that there is room for all that will be written of what is seen, by what was seen of some pictures and their names.
///
/// # Errors
/// [`EvaluateError::Space`], or what keeps files from being written there.
pub(super) fn check(
    options: &EvaluateOptions,
    subject: &Subject,
    (features, names): (&Features, &[String]),
) -> anyhow::Result<()> {
    let widths = Widths::of(features, names);
    // What is replaced, or is there already, gives its room for what comes.
    let of_file = |path: &Path, pictures: usize| {
        if path.exists() { 0 } else { widths.bytes_of_features(pictures as u64) }
    };
    let files = subject.files(options)?;
    let of_sets: u64 = files.sets.iter().zip(&subject.sets).map(|(path, set)| of_file(path, set.count())).sum();
    let real: usize = subject.reference.parts.iter().map(Pictures::count).sum();
    let of_real = files.reference.iter().filter(|_| real > 0).map(|path| of_file(path, real)).sum::<u64>();
    let needed = of_sets + of_real;
    let features_folder = options
        .save_features
        .as_deref()
        .map(|path| if is_archive(path) && !path.is_dir() { folder_of(path) } else { path });
    if let Some(folder) = features_folder {
        check_room(SAVE_FEATURES, folder, needed)?;
    }
    let Some(path) = options.save_statistics.as_deref().filter(|path| real > 0 && !path.exists()) else {
        return Ok(());
    };
    let beside = features_folder.filter(|folder| are_on_one_disk(folder, folder_of(path))).map_or(0, |_| needed);
    check_room(SAVE_STATISTICS, folder_of(path), beside + widths.bytes_of_statistics())
}

fn check_room(flag: &'static str, folder: &Path, needed: u64) -> anyhow::Result<()> {
    check_space(folder, needed).map_err(|error| match error {
        ExportError::Space { needed, free, path } => EvaluateError::Space { flag, needed, free, path }.told(),
        other => other.into(),
    })
}

#[cfg(unix)]
fn are_on_one_disk(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let disk = |folder: &Path| Some(place_of(folder)?.metadata().ok()?.dev());
    disk(a).is_some_and(|own| disk(b) == Some(own))
}

#[cfg(not(unix))]
fn are_on_one_disk(a: &Path, b: &Path) -> bool {
    let disk = |folder: &Path| place_of(folder)?.components().next().map(|first| first.as_os_str().to_owned());
    disk(a).is_some_and(|own| disk(b) == Some(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Digest, SeenFeatures, SeenStatistics, Sight};
    use crate::export::{write_features, write_statistics};
    use crate::metrics::Statistics;

    /// Features of `n` pictures with 24 numbers each, 5 outputs and 10 numbers of places.
    fn seen(n: usize) -> Features {
        let mut features = Features::new(24, 5);
        let values: Vec<f32> = (0..n * 24).map(|i| (i * i % 251) as f32).collect();
        features.extend(&values, &vec![0.5; n * 5]);
        features.extend_spatial(&values[..n * 10], 10);
        features
    }

    #[test]
    fn the_room_that_is_asked_for_is_what_the_files_take() {
        let folder = tempfile::tempdir().unwrap();
        let (n, features) = (300, seen(300));
        let names: Vec<String> = (0..n).map(|place| format!("{place:03}.png")).collect();
        let widths = Widths::of(&features, &names);
        assert_eq!(widths, Widths { features: 24, outputs: 5, places: 10, name: 7 });
        let hashes = vec![Digest::of([1, 1, 1], &[3]); n];
        let sight = Sight {
            extractor: "judge".to_owned(),
            sha256: "ab".repeat(32),
            features: 24,
            shape: [1, 1, 1],
            levels: Sight::LEVELS,
            resize: "none".to_owned(),
            device: "a device".to_owned(),
            pictures: n,
            pictures_sha256: Digest::sum(&hashes).digits(),
        };
        let statistics = SeenStatistics { statistics: Statistics::of(&features).unwrap(), sight: Some(sight.clone()) };
        let (labels, classes) = (Some(vec![2; n]), vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let [of_features, of_statistics] = ["f.npz", "s.npz"].map(|name| folder.path().join(name));
        write_features(&of_features, &SeenFeatures { sight, features, labels, classes, names, hashes }).unwrap();
        write_statistics(&of_statistics, &statistics).unwrap();
        for (path, asked) in
            [(of_features, widths.bytes_of_features(n as u64)), (of_statistics, widths.bytes_of_statistics())]
        {
            let taken = path.metadata().unwrap().len();
            assert!(taken <= asked && asked - taken < FRAME, "{}: {asked} for {taken}", path.display());
        }
    }

    #[test]
    fn a_disk_without_room_is_told_with_the_flag_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_room(SAVE_FEATURES, folder.path(), 1).is_ok());
        for flag in [SAVE_FEATURES, SAVE_STATISTICS] {
            let text = check_room(flag, &folder.path().join("new"), u64::MAX).unwrap_err().to_string();
            assert!(text.starts_with("the results need about 17179869184.00 GiB, but only "), "{text}");
            assert!(text.contains(&format!("or give a --{flag} on another disk")), "{text}");
        }
        assert!(are_on_one_disk(folder.path(), &folder.path().join("not/yet/there")));
    }
}
