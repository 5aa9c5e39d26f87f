//! Handing tensors to a network, one by one, with every shape checked.

use std::collections::BTreeSet;

use super::{Checkpoint, CheckpointError};

/// Takes tensors out of a checkpoint by name and keeps the account.
#[derive(Debug)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    taken: BTreeSet<String>,
    parameters: usize,
}

/// What became of the tensors of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LoadReport {
    /// Tensors that the network took.
    pub taken: usize,
    /// Numbers in them.
    pub parameters: usize,
    /// Tensors in the file that nothing asked for, by name; batch-norm counters are not listed.
    pub unused: Vec<String>,
}

impl<'a> Weights<'a> {
    /// Starts with every tensor of `checkpoint` untaken.
    #[must_use]
    pub const fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, taken: BTreeSet::new(), parameters: 0 }
    }

    /// Takes the tensor `name`, which must have exactly this shape.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is missing, of another shape, or unreadable.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let info =
            self.checkpoint.tensors().get(name).ok_or_else(|| CheckpointError::missing(self.checkpoint, name))?;
        if info.shape != shape {
            return Err(CheckpointError::Shape {
                path: self.checkpoint.path().to_owned(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: info.shape.clone(),
            });
        }
        let values = self.checkpoint.read(name)?;
        self.taken.insert(name.to_owned());
        self.parameters += values.len();
        Ok(values)
    }

    /// Closes the account.
    #[must_use]
    pub fn report(self) -> LoadReport {
        let unused = self
            .checkpoint
            .tensors()
            .keys()
            .filter(|name| !self.taken.contains(*name) && !name.ends_with("num_batches_tracked"))
            .cloned()
            .collect();
        LoadReport { taken: self.taken.len(), parameters: self.parameters, unused }
    }
}
