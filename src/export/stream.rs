//! A refinement of more pictures than memory holds: every batch goes to disk when it is done, and the files are put together
//! at the end, each complete or not there at all.

use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::csv::{REFINED_COLUMNS, RefinedRow};
use super::{ExportError, atomically, npz, png, prepare_folder, write_document};
use crate::image::{ImageBatch, Levels};
use crate::refiner::Numbers;
use crate::session::document::Document;

/// Pairs on the contact sheet.
const SHEET: usize = 64;

/// A refined batch.
#[derive(Debug, Clone, Copy)]
pub struct RefinedBatch<'a> {
    /// Place of its first picture in the source.
    pub first: usize,
    /// The pictures before.
    pub before: &'a ImageBatch,
    /// The pictures after.
    pub after: &'a ImageBatch,
    /// Labels, if the source says them.
    pub labels: Option<&'a [usize]>,
    /// What each picture was refined towards.
    pub targets: &'a [usize],
    /// What is known of the pictures before.
    pub numbers_before: &'a Numbers,
    /// What is known of the pictures after.
    pub numbers_after: &'a Numbers,
    /// Iterations behind each picture after.
    pub iterations: &'a [u32],
}

/// Writes [`super::STREAMED_FILES`].
#[derive(Debug)]
pub struct StreamWriter {
    folder: PathBuf,
    levels: Levels,
    /// Levels of the pictures after, `[N, H, W, C]`; the file has no name and is gone with the program.
    spool: BufWriter<File>,
    /// Rows of the table, likewise.
    table: ::csv::Writer<File>,
    targets: Vec<usize>,
    /// Height and width of every picture.
    size: Option<[usize; 3]>,
    /// The first pairs.
    sheet: Vec<(ImageBatch, ImageBatch)>,
}

impl StreamWriter {
    /// Makes the folder and room for what is coming.
    ///
    /// # Errors
    /// [`ExportError`] when the folder cannot be written.
    pub fn begin(folder: &Path, levels: Levels) -> Result<Self, ExportError> {
        prepare_folder(folder)?;
        let fail = |source| ExportError::Folder { path: folder.to_owned(), source };
        let spool = BufWriter::new(tempfile::tempfile_in(folder).map_err(fail)?);
        let mut table = ::csv::Writer::from_writer(tempfile::tempfile_in(folder).map_err(fail)?);
        table.write_record(REFINED_COLUMNS).map_err(|error| fail(error.into()))?;
        let (targets, sheet) = (Vec::new(), Vec::new());
        Ok(Self { folder: folder.to_owned(), levels, spool, table, targets, size: None, sheet })
    }

    /// Pictures so far.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.targets.len()
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// [`ExportError::Folder`] when the disk is full.
    ///
    /// # Panics
    /// When pictures differ in size.
    pub fn push(&mut self, batch: &RefinedBatch<'_>) -> Result<(), ExportError> {
        let [n, channels, height, width] = batch.after.shape();
        let size = [height, width, channels];
        assert_eq!(*self.size.get_or_insert(size), size, "pictures of one size");
        let taken = self.count().min(SHEET);
        if taken < SHEET {
            let end = n.min(SHEET - taken);
            self.sheet.push((batch.before.slice(0, end), batch.after.slice(0, end)));
        }
        self.write(batch).map_err(|source| ExportError::Folder { path: self.folder.clone(), source })?;
        self.targets.extend_from_slice(batch.targets);
        Ok(())
    }

    fn write(&mut self, batch: &RefinedBatch<'_>) -> std::io::Result<()> {
        for sample in 0..batch.after.len() {
            let levels: Vec<u8> = self.levels.all(batch.after, sample).collect();
            self.spool.write_all(&levels)?;
            let row = RefinedRow {
                index: batch.first + sample,
                label: batch.labels.map(|labels| labels[sample]),
                target: batch.targets[sample],
                sample,
                before: batch.numbers_before,
                after: batch.numbers_after,
                iterations: batch.iterations[sample],
            };
            self.table.write_record(row.fields())?;
        }
        Ok(())
    }

    /// Puts the files together.
    ///
    /// # Errors
    /// [`ExportError`] of the first file that fails; those before it stay.
    pub fn finish(self, document: &Document) -> Result<(), ExportError> {
        let Self { folder, spool, table, targets, size, sheet, .. } = self;
        let fail = |source| ExportError::Folder { path: folder.clone(), source };
        let rewind = |file: File| {
            let mut file = file;
            file.seek(SeekFrom::Start(0)).map(|_start| file)
        };
        let mut levels =
            spool.into_inner().map_err(|error| fail(error.into_error())).and_then(|f| rewind(f).map_err(fail))?;
        let rows = table.into_inner().map_err(|error| fail(error.into_error()))?;
        let mut rows = rewind(rows).map_err(fail)?;
        let [height, width, channels] = size.unwrap_or_default();
        let shape = [targets.len(), height, width, channels];
        npz::write_streamed(&folder.join("samples.npz"), shape, &mut levels, &targets)?;
        atomically(&folder.join("refined.csv"), |out| std::io::copy(&mut rows, out).map(drop))?;
        write_document(&folder.join(super::DOCUMENT.files), document)?;
        let (before, after): (Vec<_>, Vec<_>) = sheet.into_iter().unzip();
        if before.is_empty() {
            return Ok(());
        }
        let (before, after) = (ImageBatch::concat(&before), ImageBatch::concat(&after));
        png::contact_sheet(&before, Some(&after)).write(&folder.join(png::SHEET.files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Provenance, Settings};
    use crate::trace::Trace;

    #[test]
    fn batches_become_one_archive_and_one_table() {
        const LABELS: &[usize] = &[1, 1];
        let folder = tempfile::tempdir().unwrap();
        let mut writer = StreamWriter::begin(folder.path(), Levels::Truncated).unwrap();
        let numbers = |objective: f32| Numbers {
            objective: vec![objective; 2],
            logits: vec![0.0; 4],
            delta_l2: vec![1.5; 2],
            ..Default::default()
        };
        for first in [10, 12] {
            let before = ImageBatch::new([2, 3, 1, 1], vec![0.25; 6]);
            let after = ImageBatch::new([2, 3, 1, 1], vec![0.999; 6]);
            let batch = RefinedBatch {
                first,
                before: &before,
                after: &after,
                labels: (first == 10).then_some(LABELS),
                targets: &[1, 0],
                numbers_before: &numbers(-1.0),
                numbers_after: &numbers(2.0),
                iterations: &[15, 3],
            };
            writer.push(&batch).unwrap();
        }
        assert_eq!(writer.count(), 4);
        let document = Document::new(&Settings::default(), &Provenance::new(), None, &Trace::default(), None);
        writer.finish(&document).unwrap();

        let mut archive = zip::ZipArchive::new(File::open(folder.path().join("samples.npz")).unwrap()).unwrap();
        let levels = npyz::NpyFile::new(archive.by_name("arr_0.npy").unwrap()).unwrap();
        assert_eq!(levels.shape(), [4, 1, 1, 3]);
        assert_eq!(levels.into_vec::<u8>().unwrap(), [254; 12], "truncated");
        let targets = npyz::NpyFile::new(archive.by_name("arr_1.npy").unwrap()).unwrap();
        assert_eq!(targets.into_vec::<i64>().unwrap(), [1, 0, 1, 0]);
        let mut table = ::csv::Reader::from_path(folder.path().join("refined.csv")).unwrap();
        let rows: Vec<::csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[1].iter().take(7).collect::<Vec<_>>(), ["11", "1", "0", "-1.0", "2.0", "0.5", "0.5"]);
        assert_eq!([&rows[3][0], &rows[3][1], &rows[3][7], &rows[3][9]], ["13", "", "1.5", "3"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "nothing but the files");
    }
}
