//! The two files of LPIPS, which are not Lapidary's to ship, told apart by what is in them.

use std::path::{Path, PathBuf};

use super::CliError;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::net::lpips::Lpips;
use crate::worker::LpipsFiles;

/// What LPIPS is computed by.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) files: LpipsFiles,
    /// SHA-256 of `vgg` and of `linear`.
    pub(super) sha256: [String; 2],
}

impl Network {
    /// The files among those that are given, or in folders that are; `watch` hears how many bytes of how many were read, and may
    /// end it: `None`.
    pub(super) fn find(paths: &[PathBuf], watch: &mut dyn FnMut(u64, u64) -> bool) -> anyhow::Result<Option<Self>> {
        let (vgg, linear) = find(paths)?;
        let mut sha256 = [String::new(), String::new()];
        for (file, sha256) in [&vgg, &linear].into_iter().zip(&mut sha256) {
            let hashed = file.sha256(watch);
            *sha256 = match hashed {
                Err(CheckpointError::Cancelled) => return Ok(None),
                hashed => hashed?,
            };
        }
        let [vgg, linear] = [vgg, linear].map(|file| file.files()[0].clone());
        Ok(Some(Self { files: LpipsFiles { vgg, linear }, sha256 }))
    }
}

/// VGG16 and the weights behind its stages.
fn find(paths: &[PathBuf]) -> anyhow::Result<(Checkpoint, Checkpoint)> {
    let mut opened = Vec::new();
    for path in paths {
        if path.is_dir() {
            // Other files may lie there.
            opened.extend(listed(path)?.iter().filter_map(|file| Checkpoint::open(file).ok()));
        } else {
            opened.push(Checkpoint::open(path)?);
        }
    }
    let files = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let refused = |what: &'static str| CliError::LpipsFiles { what, files: files.clone() };
    let (vgg, mut rest): (Vec<_>, Vec<_>) = opened.into_iter().partition(|file| widths(file).is_some());
    let Ok([vgg]) = <[Checkpoint; 1]>::try_from(vgg) else {
        return Err(refused("not one file of VGG16, as torchvision names its tensors").into());
    };
    let widths = widths(&vgg).unwrap_or_default();
    rest.retain(|file| is_behind(file, &widths));
    let Ok([linear]) = <[Checkpoint; 1]>::try_from(rest) else {
        return Err(refused("not one file of weights for its five stages").into());
    };
    Ok((vgg, linear))
}

/// Files of a folder, by name.
fn listed(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

/// Channels of every stage, if it is a VGG16.
fn widths(file: &Checkpoint) -> Option<Vec<usize>> {
    Lpips::widths().iter().map(|name| file.tensors().get(name)?.shape.first().copied()).collect()
}

/// Whether it has one weight for every channel of these stages, and of no others: networks of other kinds have such files, too.
fn is_behind(file: &Checkpoint, widths: &[usize]) -> bool {
    let heads = Lpips::heads();
    let fits =
        |(name, width): (&String, &usize)| file.tensors().get(name).is_some_and(|info| info.shape == [1, *width, 1, 1]);
    heads.iter().zip(widths).all(fits) && file.tensors().len() == heads.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
    }

    #[test]
    fn the_two_files_are_known_by_their_tensors_in_a_folder_or_in_any_order() {
        let folder = golden("lpips");
        let [vgg, heads] = ["vgg", "heads"].map(|name| folder.join(name).with_extension("safetensors"));
        for paths in [vec![folder.clone()], vec![vgg.clone(), heads.clone()], vec![heads.clone(), vgg.clone()]] {
            let (found, linear) = find(&paths).unwrap();
            assert_eq!((&found.files()[0], &linear.files()[0]), (&vgg, &heads));
        }
        for (paths, says) in [
            (vec![heads.clone()], "not one file of VGG16"),
            (vec![vgg.clone()], "not one file of weights for its five stages"),
            (vec![folder, vgg.clone()], "not one file of VGG16"),
            (vec![vgg, golden("lpips/values.safetensors")], "not one file of weights"),
        ] {
            let error = find(&paths).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(find(&[golden("none.pth")]).is_err());
    }
}
