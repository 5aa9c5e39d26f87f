//! Why pictures cannot be read, each in one sentence: what failed, why, what to do.

use std::path::PathBuf;

use super::{MAX_BYTES, MAX_PICTURES, MAX_PIXELS, MAX_SIDE, npz};
use crate::checkpoint::Content;

/// Why pictures cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// A data set that contradicts itself or what is asked of it.
    #[error("this data set cannot be used: {what}; {advice}\n{}", path.display())]
    Set {
        /// The archive, or the first folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// There are too many pictures.
    #[error(
        "{count} pictures were given, but at most {MAX_PICTURES} can be opened together: the first {MAX_PICTURES} were taken"
    )]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// A folder cannot be read.
    #[error("the folder cannot be read: check its permissions\n{}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A folder without pictures.
    #[error("no picture is in this folder or below it: give one with PNG, JPEG, WebP or other common pictures\n{}", path.display())]
    EmptyFolder {
        /// Which.
        path: PathBuf,
    },
    /// A folder without pictures, but with an archive.
    #[error("no picture is in this folder or below it, but this archive is: give it by its own name if its pictures are meant\n{}", path.display())]
    ArchiveInFolder {
        /// The archive.
        path: PathBuf,
    },
    /// An archive of pictures among others.
    #[error("an archive of pictures (.npz) is opened alone, but other pictures are given with it: leave them out\n{}", path.display())]
    ArchiveAmongOthers {
        /// Which.
        path: PathBuf,
    },
    /// An archive whose pictures cannot be used.
    #[error("the pictures of this archive cannot be used ({what}): {advice}\n{}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        advice: &'static str,
        /// Why it failed, where the system or a library says so.
        source: Option<std::io::Error>,
    },
    /// What a network saw in pictures, in an archive that cannot be used.
    #[error("{kind} of this archive cannot be used ({what}): {advice}\n{}", path.display())]
    Seen {
        /// Which.
        path: PathBuf,
        /// The features, or the statistics.
        kind: &'static str,
        /// What is wrong with it.
        what: String,
        /// What to do.
        advice: &'static str,
        /// Why it failed, where the system or a library says so.
        source: Option<std::io::Error>,
    },
    /// A single array, which knows no other beside it.
    #[error("this is a single NumPy array (.npy), but an archive (.npz) is needed: np.savez(\"samples.npz\", pictures) makes one, with the pictures as arr_0\n{}", path.display())]
    SingleArray {
        /// Which.
        path: PathBuf,
    },
    /// It is no file.
    #[error(transparent)]
    NotAFile(#[from] crate::file::NotAFile),
    /// It is a checkpoint.
    #[error("this is a checkpoint, not a picture: give it with --generator or --classifier, or open it in the window's lists of models; `lapidary inspect` says what it is\n{}", path.display())]
    Checkpoint {
        /// Which.
        path: PathBuf,
    },
    /// It is a session.
    #[error("this is a session, not a picture: give it with --session, or open it in the window as a session\n{}", path.display())]
    Session {
        /// Which.
        path: PathBuf,
    },
    /// There is nothing.
    #[error("no file is there: check the path\n{}", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// The system does not give it.
    #[error("the file cannot be read: check its permissions and the disk\n{}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("this is {found}, but no picture: {}\n{}", advice(*found), path.display())]
    NotAPicture {
        /// Which.
        path: PathBuf,
        /// What it is.
        found: Content,
    },
    /// A format that is known and not read.
    #[error("this is a picture of the format {format}, which is not read: convert it to PNG, whatever its name says\n{}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Its name.
        format: String,
    },
    /// A format that is read, but in a form that is not.
    #[error("this picture has a form of {format} that is not read: save it as PNG with another program\n{}", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// The format's name.
        format: String,
    },
    /// More pixels than are read.
    #[error("the picture is too large{size}, for a side may have at most {MAX_SIDE} pixels and the whole {} million of them, or {} in memory: make it smaller\n{}", MAX_PIXELS / 1_000_000, crate::units::bytes(MAX_BYTES), path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Width and height in brackets, as far as known.
        size: String,
    },
    /// Its end is missing.
    #[error("the picture was cut off, for its end is missing: fetch or copy it again\n{}", path.display())]
    CutOff {
        /// Which.
        path: PathBuf,
    },
    /// It cannot be decoded.
    #[error("the picture is damaged or was cut off: fetch or copy it again, or save it as PNG with a program that opens it\n{}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: image::ImageError,
    },
}

impl PictureError {
    /// The same for whoever learns from the pictures: there are no flags, but a configuration.
    #[must_use]
    pub(super) fn of_data_set(self) -> Self {
        let refuse = |path, what: &str| {
            let advice = "name an .npz, IDX files or folders of pictures in pictures of [data]";
            Self::Set { path, what: what.to_owned(), advice }
        };
        match self {
            Self::Archive { path, what, advice, source } => {
                Self::Archive { path, what, advice: npz::without_flags(advice), source }
            }
            Self::Checkpoint { path } => refuse(path, "it is a checkpoint, not pictures"),
            Self::Session { path } => refuse(path, "it is a session, not pictures"),
            Self::NotAPicture { path, found } => refuse(path, &format!("it is {found}, but no picture")),
            other => other,
        }
    }

    /// A warning in one line, for a file that is left out.
    #[must_use]
    pub fn left_out(&self) -> String {
        let text = self.to_string();
        let (sentence, path) = text.split_once('\n').unwrap_or((&text, "a picture"));
        format!("warning: {path} is left out: {sentence}")
    }
}

const fn advice(found: Content) -> &'static str {
    match found {
        Content::Safetensors | Content::Pickle => "give it to --classifier or --generator",
        Content::Gzip => "unpack it first",
        Content::Empty => "fetch or copy it again",
        Content::Html => "open the address in a browser and download the picture itself",
        Content::GitLfsPointer => "run `git lfs pull`, or download the file itself",
        _ => "give a PNG, JPEG, WebP, TIFF, BMP or another common format",
    }
}
