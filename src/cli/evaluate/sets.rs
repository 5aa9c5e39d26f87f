//! Sets of pictures: where they come from, which of their pictures are taken, and of which classes these are.

use std::ops::Range;
use std::path::Path;

use super::CliError;
use crate::data::{Batch, Part, PictureSource};
use crate::zoo::Manifest;

/// A set on its way to be looked at.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) name: String,
    pub(super) source: PictureSource,
    pub(super) range: Range<usize>,
    /// Pictures that are left out.
    held_out: Option<Vec<bool>>,
    /// Whether it says its classes by numbers alone: neither by folders nor with a list of names.
    pub(super) has_numbers: bool,
    /// Their own, `[C, H, W]`; files are fitted to that of others.
    pub(super) shape: Option<[usize; 3]>,
}

impl Pictures {
    pub(super) fn new(
        name: String,
        mut source: PictureSource,
        held_out: Option<Vec<bool>>,
        limit: Option<usize>,
        extractor: &Manifest,
    ) -> Result<Self, CliError> {
        let has_numbers = source.has_labels() && !source.has_names();
        source.take_classes(&extractor.classes);
        let count = source.count();
        let range = Part { skip: 0, limit }.of(count).ok_or(CliError::Skip { skip: 0, count })?;
        Ok(Self { name, shape: source.native_shape(), source, range, held_out, has_numbers })
    }

    /// What lies at a path: of results of ours of a refinement, what was there before it, too, as a set of its own.
    pub(super) fn of(path: &Path, limit: Option<usize>, extractor: &Manifest) -> anyhow::Result<Vec<Self>> {
        let source = PictureSource::open(&[path.to_owned()])?;
        let name = path.display().to_string();
        let Some(before) = source.before()? else {
            return Ok(vec![Self::new(name, source, None, limit, extractor)?]);
        };
        let sets = [("before", before), ("after", source)];
        let sets = sets.map(|(when, source)| Self::new(format!("{name} {when}"), source, None, limit, extractor));
        Ok(sets.into_iter().collect::<Result<_, _>>()?)
    }

    /// Whether the picture at this place of the source is taken.
    pub(super) fn takes(&self, place: usize) -> bool {
        self.held_out.as_ref().is_none_or(|marks| !marks[place])
    }

    /// Pictures that are taken.
    pub(super) fn count(&self) -> usize {
        self.range.clone().filter(|place| self.takes(*place)).count()
    }

    /// All sets must have one form: other pixels are other pictures.
    pub(super) fn check(&self, expected: [usize; 3]) -> Result<(), CliError> {
        match self.shape.filter(|found| *found != expected) {
            Some(found) => Err(CliError::SetShape { name: self.name.clone(), found, expected }),
            None => Ok(()),
        }
    }
}

/// Labels of the pictures of a batch that are taken; none where it does not say them.
pub(super) fn labels_of(batch: &Batch, taken: &[usize]) -> Vec<usize> {
    batch.labels.as_ref().map_or_else(Vec::new, |labels| taken.iter().map(|i| labels[*i]).collect())
}
