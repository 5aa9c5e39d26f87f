//! The 8-bit levels beside the floats of an archive of ours. Whoever changed one of both means one of them, and nobody knows which.

use std::fs::File;
use std::io::{BufReader, Read as _};

use zip::ZipArchive;
use zip::read::ZipFile;

use super::{ABOUT_BOTH, ABOUT_PICTURES, Archive, SAMPLES, array, broken, entry, refusal};
use crate::data::PictureError;
use crate::image::ImageBatch;

/// How far a level is from a float that it was rounded or cut from, at least, where it was not: cutting takes less than one, and
/// the multiplication rounds.
const APART: f32 = 1.001;

/// Levels that are read along with the floats.
pub(super) struct Levels<'a> {
    archive: &'a Archive,
    entry: ZipFile<'a, BufReader<File>>,
    /// One picture, `[H, W, C]`.
    picture: Vec<u8>,
}

impl<'a> Levels<'a> {
    /// Those of an archive, from picture `first` on.
    pub(super) fn open(
        archive: &'a Archive,
        zip: &'a mut ZipArchive<BufReader<File>>,
        first: usize,
    ) -> Result<Self, PictureError> {
        let path = &archive.path;
        let broken = |source| broken(path, SAMPLES.pictures, source);
        let absent = || refusal(path, format!("it has no {}", SAMPLES.pictures), ABOUT_PICTURES);
        let mut entry = entry(zip, path, SAMPLES.pictures)?.ok_or_else(absent)?;
        array::read_header(&mut entry).map_err(broken)?;
        let picture = vec![0; archive.shape.iter().product()];
        let before = first as u64 * picture.len() as u64;
        std::io::copy(&mut entry.by_ref().take(before), &mut std::io::sink()).map_err(broken)?;
        Ok(Self { archive, entry, picture })
    }

    /// Refuses the next pictures, the first of which is `first`, when their levels are not those of these floats.
    pub(super) fn compare(&mut self, images: &ImageBatch, first: usize) -> Result<(), PictureError> {
        let Archive { path, key, count, .. } = self.archive;
        let broken = |source| broken(path, SAMPLES.pictures, source);
        let [n, channels, height, width] = images.shape();
        for place in 0..n {
            self.entry.read_exact(&mut self.picture).map_err(broken)?;
            let floats = images.sample(place);
            let is_apart = |(at, level): (usize, &u8)| {
                let float = floats[at % channels * height * width + at / channels];
                (f32::from(*level) - 255.0 * float).abs() >= APART
            };
            if self.picture.iter().enumerate().any(is_apart) {
                let what = format!(
                    "picture {} is another one in {} than in {key}, so one of both was changed",
                    first + place,
                    SAMPLES.pictures
                );
                return Err(refusal(path, what, ABOUT_BOTH));
            }
        }
        if first + n == *count {
            // The end is where the checksum is compared.
            std::io::copy(&mut self.entry.by_ref().take(1), &mut std::io::sink()).map_err(broken)?;
        }
        Ok(())
    }
}
