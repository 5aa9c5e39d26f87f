//! Why sets do not compare with the real pictures, each in one sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

/// Why sets do not compare with the real pictures.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// One set by two names.
    #[error("{} and {} are the same pictures, so they have the same numbers: leave one out", first.display(), path.display())]
    SetTwice {
        /// As it was named first.
        first: PathBuf,
        /// And again.
        path: PathBuf,
    },
    /// Mean and covariance where pictures belong.
    #[error("this archive holds mean and covariance, which say nothing of single pictures: give it with --reference, or the pictures themselves as a set\n{}", path.display())]
    StatisticsAsSet {
        /// Which.
        path: PathBuf,
    },
    /// A session without its pictures.
    #[error("this session holds no pictures: give a .lapidary file that has some, or the folder of its results\n{}", path.display())]
    SetOfRecipe {
        /// Which.
        path: PathBuf,
    },
    /// A session where real pictures belong.
    #[error("this is a session, but sets are compared with real pictures: give a folder or an .npz of these with --reference\n{}", path.display())]
    SessionAsReference {
        /// Which.
        path: PathBuf,
    },
    /// Statistics among other real pictures.
    #[error("mean and covariance are of a whole set and cannot be joined with other real pictures: give this file alone with --reference, or leave it out\n{}", path.display())]
    StatisticsAmongOthers {
        /// Which.
        path: PathBuf,
    },
    /// Statistics of a layer that the extractor does not have.
    #[error("these statistics are of {found} numbers a picture{hint}, but {extractor} gives {own}: name the network that they are of with --extractor, or give the real pictures themselves\n{}", path.display())]
    StatisticsWidth {
        /// Which.
        path: PathBuf,
        /// Their width.
        found: usize,
        /// What has that width, in words behind a comma.
        hint: String,
        /// The extractor.
        extractor: String,
        /// Its width.
        own: usize,
    },
    /// Real pictures of which too little is known for a number.
    #[error("{metric} needs {what}, which this file does not hold: give the real pictures themselves, or choose another --metric\n{}", path.display())]
    Lacks {
        /// The number.
        metric: &'static str,
        /// What it needs.
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// A classifier where places are compared.
    #[error(
        "{metric} is of what Inception-2015 sees place by place, but {name} is a classifier: give --extractor a file of Inception-2015, or choose another --metric"
    )]
    NoPlaces {
        /// The number.
        metric: &'static str,
        /// The classifier.
        name: String,
    },
    /// What another network saw.
    #[error("this was seen by {found} (SHA-256 {found_hash}…), but the extractor is {extractor} (SHA-256 {own_hash}…): what two networks see does not compare, so name that one with --extractor, or give the pictures themselves\n{}", path.display())]
    OtherExtractor {
        /// Which.
        path: PathBuf,
        /// Name of the network that saw it.
        found: String,
        /// The beginning of its hash.
        found_hash: String,
        /// Name of the extractor.
        extractor: String,
        /// The beginning of its hash.
        own_hash: String,
    },
    /// What the same network saw otherwise.
    #[error("this was seen with {what} {found}, but now it is {expected}: the two do not compare, so give the pictures themselves\n{}", path.display())]
    OtherProtocol {
        /// Which.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it was.
        found: String,
        /// What it is.
        expected: String,
    },
    /// A file for numbers that is no archive by its name.
    #[error("--{flag} is {}, but an archive is written there: give a name that ends with .npz", path.display())]
    ArchiveName {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file of others where numbers would go.
    #[error("{} was not written by --{flag}, so it is not replaced: give another name", path.display())]
    NotKept {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// One file for several sets.
    #[error("--save-features names one file, {}, but there are {count} sets: name a folder, which gets a file for each of them", path.display())]
    OneFile {
        /// The file.
        path: PathBuf,
        /// How many sets.
        count: usize,
    },
    /// Files that no shard writes.
    #[error("--{flag} is what lapidary merge writes, once all shards are done: give it there, and leave it out here")]
    SavedByMerge {
        /// The flag.
        flag: &'static str,
    },
    /// Nothing that several runs could share.
    #[error("all of this was looked at before, so there is nothing that several runs could share: leave --shard out")]
    NothingToShare,
    /// Shards of other pictures, another network or version.
    #[error("the pictures, the extractor or this version of Lapidary are others than when the shards were made, so the table would not be that of what is there: put them back as they were, or make the shards anew with --overwrite\n{}", path.display())]
    OtherNow {
        /// One of the shards.
        path: PathBuf,
    },
    /// What a shard says of itself cannot be read.
    #[error("what this shard says of its measurement cannot be read, as of another version: make the shard anew with --overwrite\n{}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A disk that has no room for what is seen.
    #[error("the results need about {}, but only {} are free there: free some space, or give a --{flag} on another disk\n{}", crate::units::bytes(*needed), crate::units::bytes(*free), path.display())]
    Space {
        /// The flag that names the place.
        flag: &'static str,
        /// Bytes that what is seen needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The folder.
        path: PathBuf,
    },
    /// Statistics of statistics.
    #[error("--save-statistics writes mean and covariance of real pictures, but --reference gives these already: leave one of the two out, or give the pictures\n{}", path.display())]
    StatisticsOfStatistics {
        /// The reference.
        path: PathBuf,
    },
}

impl EvaluateError {
    /// As an error of the command line, which says its exit code.
    pub(super) fn told(self) -> anyhow::Error {
        super::CliError::from(self).into()
    }

    /// 2 for wrong usage, 1 for files that cannot be used.
    #[must_use]
    pub(in crate::cli) const fn exit_code(&self) -> u8 {
        match self {
            Self::SetTwice { .. }
            | Self::ArchiveName { .. }
            | Self::NotKept { .. }
            | Self::OneFile { .. }
            | Self::SavedByMerge { .. }
            | Self::NothingToShare
            | Self::NoPlaces { .. }
            | Self::StatisticsOfStatistics { .. } => 2,
            _ => 1,
        }
    }
}
