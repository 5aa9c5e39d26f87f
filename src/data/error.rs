//! Why pictures cannot be read, each in one sentence: what failed, why, what to do.

use std::path::PathBuf;

use super::MAX_PICTURES;

/// Why pictures cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
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
    #[error("no picture is in this folder: give one with PNG, JPEG, WebP or other common pictures\n{}", path.display())]
    EmptyFolder {
        /// Which.
        path: PathBuf,
    },
    /// An archive of pictures among others.
    #[error("an archive of pictures (.npz) is opened alone, but other pictures are given with it: leave them out\n{}", path.display())]
    ArchiveAmongOthers {
        /// Which.
        path: PathBuf,
    },
    /// An archive whose pictures cannot be used.
    #[error("the pictures of this archive cannot be used ({what}): give an .npz whose arr_0 holds pictures of 1 to 4 channels, N×H×W×C, as uint8 or as float32 in [0,1]\n{}", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
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
    /// It is no picture.
    #[error("the picture cannot be read: give a PNG, JPEG, WebP, TIFF, BMP or another common format\n{}", path.display())]
    Picture {
        /// Which.
        path: PathBuf,
        /// Why it failed.
        source: image::ImageError,
    },
}
