//! Pictures of pictures as PNG files.

use std::path::Path;

use super::{ExportError, Exporter, Results, atomically};
use crate::image::ImageBatch;
use crate::image::sheet::{Picture, contact_sheet, native, pair};
use crate::origins::Origins;

/// All pictures on one sheet: those before beside those after, edited ones beside what they were edited from.
pub const SHEET: Exporter = Exporter {
    files: "contact_sheet.png",
    write: |folder, results| {
        write(&sheet_of(results.origins, results.refined.map(|refined| refined.after)), &folder.join(SHEET.files))
    },
};

/// See [`SHEET`].
pub(super) fn sheet_of(origins: &Origins, after: Option<&ImageBatch>) -> Picture {
    match (after, &origins.edited) {
        (Some(after), _) => contact_sheet(&origins.images, Some(after)),
        (None, Some(edited)) => contact_sheet(&edited.reference, Some(&origins.images)),
        (None, None) => contact_sheet(&origins.images, None),
    }
}

/// The pictures at their own size.
pub const IMAGES: Exporter = Exporter {
    files: "images/*.png",
    write: |folder, results| write_each(folder, IMAGES, results, |index| Some(native(&results.origins.images, index))),
};

/// Those before, likewise.
pub const BEFORE: Exporter = Exporter {
    files: "before/*.png",
    write: |folder, results| write_each(folder, BEFORE, results, |index| Some(native(&results.origins.images, index))),
};

/// Those after, likewise.
pub const AFTER: Exporter = Exporter {
    files: "after/*.png",
    write: |folder, results| write_each(folder, AFTER, results, |index| Some(native(results.refined?.after, index))),
};

/// Before and after side by side, enlarged.
pub const PAIRS: Exporter = Exporter {
    files: "pair_*.png",
    write: |folder, results| {
        let images = &results.origins.images;
        write_each(folder, PAIRS, results, |index| Some(pair(images, results.refined?.after, index)))
    },
};

/// Writes one file per picture, named after its seed.
fn write_each(
    folder: &Path,
    exporter: Exporter,
    results: &Results<'_>,
    picture: impl Fn(usize) -> Option<Picture>,
) -> Result<(), ExportError> {
    for (index, seed) in results.origins.seeds.iter().enumerate() {
        let path = folder.join(exporter.files.replace('*', &format!("{seed:06}")));
        if index == 0
            && let Some(folder) = path.parent()
        {
            let fail = |source| ExportError::Folder { path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        if let Some(picture) = picture(index) {
            write(&picture, &path)?;
        }
    }
    Ok(())
}

/// Writes a picture as a PNG file.
///
/// # Errors
/// [`ExportError::Write`]
pub fn write(picture: &Picture, path: &Path) -> Result<(), ExportError> {
    atomically(path, |out| picture.encode(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_picture_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels = (0..2 * 27).map(|i| i as f32 / 53.0).collect();
        let picture = native(&ImageBatch::new([2, 3, 3, 3], pixels), 1);
        write(&picture, &path).unwrap();
        assert_eq!(::image::open(&path).unwrap().to_rgb8().into_raw(), picture.levels().1);
        for channels in 1..=4_usize {
            let pixels = (0..6 * channels).map(|i| i as f32 / 255.0).collect();
            let images = ImageBatch::new([1, channels, 3, 2], pixels);
            write(&native(&images, 0), &path).unwrap();
            let read = ::image::open(&path).unwrap();
            assert_eq!(usize::from(read.color().channel_count()), channels);
            assert_eq!(ImageBatch::from_picture(&read, [channels, 3, 2]).0, images);
        }
    }
}
