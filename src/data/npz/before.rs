//! The pictures before a refinement, which our archive of it holds as floats beside those after it.

use npyz::Order;

use super::array::{self, Number};
use super::{Archive, DAMAGED, FLOATS, PictureError, broken, entry, holds, refusal, unzip};

/// What they are called.
const BEFORE: &str = "before";

impl Archive {
    /// The pictures that those of an archive of ours were before they were refined.
    pub(in crate::data) fn before(&self) -> Result<Option<Self>, PictureError> {
        let mut archive = unzip(&self.path)?;
        if self.key != FLOATS[0] || !holds(&archive, BEFORE) {
            return Ok(None);
        }
        let Some(mut entry) = entry(&mut archive, &self.path, BEFORE)? else { return Ok(None) };
        let header = array::read_header(&mut entry);
        let header = header.map_err(|source| broken(&self.path, &format!("the header of {BEFORE}"), source))?;
        let is_alike = header.shape().iter().map(|extent| *extent as usize).eq(self.layout.extents)
            && Number::of(&header.dtype()) == Some(self.layout.number)
            && (header.order() == Order::Fortran) == self.layout.fortran;
        if !is_alike {
            let what = format!("{BEFORE} and {} are not of the same form", self.key);
            return Err(refusal(&self.path, what, DAMAGED));
        }
        Ok(Some(Self { key: BEFORE, has_levels: false, ..self.clone() }))
    }
}
