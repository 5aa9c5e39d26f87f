//! Handing tensors to a network, one by one, with every shape checked.

use std::collections::BTreeSet;

use super::{Checkpoint, CheckpointError, Watch};

/// Takes tensors out of a checkpoint by name and keeps the account.
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    taken: BTreeSet<String>,
    parameters: usize,
    /// Who hears of the progress.
    watch: Option<&'a mut Watch<'a>>,
    /// Bytes read so far.
    done: u64,
    /// Bytes of all tensors.
    of: u64,
}

impl std::fmt::Debug for Weights<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.checkpoint.path();
        out.debug_struct("Weights").field("path", &path).field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// What became of the tensors of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LoadReport {
    /// Tensors that the network took.
    pub taken: usize,
    /// Numbers in them.
    pub parameters: usize,
    /// Tensors in the file that nothing asked for, by name; those that are known and not needed are not listed.
    pub unused: Vec<String>,
}

impl<'a> Weights<'a> {
    /// Starts with every tensor of `checkpoint` untaken.
    #[must_use]
    pub const fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, taken: BTreeSet::new(), parameters: 0, watch: None, done: 0, of: 0 }
    }

    /// Likewise, and tells `watch` after every tensor how many bytes of all were read.
    #[must_use]
    pub fn watched(checkpoint: &'a Checkpoint, watch: &'a mut Watch<'a>) -> Self {
        let of = checkpoint.tensors().keys().map(|name| checkpoint.bytes_of(name)).sum();
        Self { watch: Some(watch), of, ..Self::new(checkpoint) }
    }

    /// Takes the tensor `name`, which must have exactly this shape.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is missing, of another shape, or unreadable, when it holds values that cannot be
    /// ([`CheckpointError::Broken`]), when all that was taken would be larger than the file, and when the watch cancels.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let mut done = self.done;
        self.checkpoint.claim(name, shape, &mut done)?;
        let values = self.checkpoint.read(name)?;
        self.check(name, &values)?;
        self.taken.insert(name.to_owned());
        self.parameters += values.len();
        self.done = done;
        if let Some(watch) = &mut self.watch
            && !watch(self.done, self.of)
        {
            return Err(CheckpointError::Cancelled);
        }
        Ok(values)
    }

    /// Refuses values that no network can have: one of them makes every result of it worthless, and none would say so.
    fn check(&self, name: &str, values: &[f32]) -> Result<(), CheckpointError> {
        let count = |is_odd: fn(&f32) -> bool| values.iter().filter(|value| is_odd(value)).count();
        let (count, what) = match count(|value| !value.is_finite()) {
            0 if name.ends_with(".running_var") => (count(|value| *value < 0.0), "a negative variance"),
            odd => (odd, "not a number, or infinite"),
        };
        if count == 0 {
            return Ok(());
        }
        let (path, tensor) = (self.checkpoint.path().to_owned(), name.to_owned());
        Err(CheckpointError::Broken { path, tensor, count, of: values.len(), what })
    }

    /// Closes the account.
    #[must_use]
    pub fn report(self) -> LoadReport {
        let unused = self.checkpoint.tensors().keys().filter(|name| !self.taken.contains(*name)).cloned().collect();
        LoadReport { taken: self.taken.len(), parameters: self.parameters, unused }
    }
}
