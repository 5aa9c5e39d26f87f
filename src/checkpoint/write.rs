//! Writing tensors to a `.safetensors` file.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use super::CheckpointError;

/// A tensor with its name: its shape, and its values row-major.
pub type Named = (String, Vec<usize>, Vec<f32>);

/// Writes tensors in single precision, and returns when they are on the disk.
///
/// # Errors
/// [`CheckpointError::Write`].
pub fn write(path: &Path, tensors: &[Named]) -> Result<(), CheckpointError> {
    let refuse = |source| CheckpointError::Write { path: path.to_owned(), source };
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    let written = views.and_then(|views| serialize_to_file(views, None, path));
    written.map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => refuse(source),
        other => refuse(std::io::Error::other(other)),
    })?;
    std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, Weights};

    #[test]
    fn what_is_written_is_read_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let values = vec![0.1, -0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, 1.0, 2.0];
        write(&path, &[("b".to_owned(), vec![2, 3], values.clone()), ("a".to_owned(), vec![1], vec![7.0])]).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let mut weights = Weights::new(&checkpoint);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&weights.take("b", &[2, 3]).unwrap()), bits(&values));
        assert_eq!(weights.take("a", &[1]).unwrap(), [7.0]);
        let error = write(&folder.path().join("no/such.safetensors"), &[]).unwrap_err().to_string();
        assert!(error.starts_with("the file cannot be written"), "{error}");
    }
}
