//! Files of ours and of others that are given where pictures belong: they are known by their content, and refused by their name.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::PictureError;
use crate::checkpoint::{Content, sniff};

/// Bytes that tell what a file is.
const HEAD: u64 = 512;

/// Refuses what holds no pictures: a checkpoint, a session.
///
/// # Errors
/// [`PictureError::Checkpoint`] and [`PictureError::Session`]; what cannot be read is refused by whoever reads it.
pub(super) fn check(path: &Path) -> Result<(), PictureError> {
    crate::file::check(path)?;
    let (mut head, path_of) = (Vec::new(), || path.to_owned());
    let Ok(file) = File::open(path) else { return Ok(()) };
    let bytes = file.metadata().map_or(0, |meta| meta.len());
    if (&file).take(HEAD).read_to_end(&mut head).is_err() {
        return Ok(());
    }
    match sniff(&head, bytes) {
        Content::Safetensors | Content::Pickle | Content::Tar => Err(PictureError::Checkpoint { path: path_of() }),
        Content::Text if String::from_utf8_lossy(&head).contains("\"lapidary-session\"") => {
            Err(PictureError::Session { path: path_of() })
        }
        Content::Zip => {
            let Ok(archive) = zip::ZipArchive::new(file) else { return Ok(()) };
            let has = |end: &str| archive.file_names().flatten().any(|name| name.ends_with(end));
            match (has(".npy"), has("data.pkl"), has("session.json")) {
                (false, true, _) => Err(PictureError::Checkpoint { path: path_of() }),
                (false, false, true) => Err(PictureError::Session { path: path_of() }),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{BUNDLED, resolve};

    #[test]
    fn checkpoints_and_sessions_are_told_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |path: &Path| check(path).unwrap_err().to_string();
        for bundled in &BUNDLED {
            let model = resolve(bundled.name, folder.path()).unwrap();
            let text = refusal(&model.weights);
            assert!(text.starts_with("this is a checkpoint, not a picture: give it with --generator"), "{text}");
        }
        let session = folder.path().join("radius0.5");
        std::fs::write(&session, "{\n  \"format\": \"lapidary-session\"\n}").unwrap();
        assert!(refusal(&session).starts_with("this is a session, not a picture: give it with --session"));
        let picture = folder.path().join("a.pt");
        image::RgbImage::new(2, 2).save_with_format(&picture, image::ImageFormat::Png).unwrap();
        assert!(check(&picture).is_ok() && check(&folder.path().join("nothing")).is_ok());
    }
}
