//! Reference values, stored as safetensors below `tests/golden`.

use std::collections::BTreeMap;
use std::path::Path;

use lapidary::image::ImageBatch;
use safetensors::{Dtype, SafeTensors};

/// The tensors of one file.
pub(crate) struct Golden {
    floats: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    integers: BTreeMap<String, Vec<usize>>,
}

impl Golden {
    /// Reads `tests/golden/<file>`.
    pub(crate) fn open(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).expect("golden files are sound");
        let mut golden = Self { floats: BTreeMap::new(), integers: BTreeMap::new() };
        for (name, view) in tensors.tensors() {
            match view.dtype() {
                Dtype::F32 => {
                    let chunks = view.data().as_chunks::<4>().0;
                    let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                    golden.floats.insert(name, (view.shape().to_vec(), values));
                }
                Dtype::I64 => {
                    let chunks = view.data().as_chunks::<8>().0;
                    let index = |bytes: &[u8; 8]| usize::try_from(i64::from_le_bytes(*bytes)).expect("an index");
                    golden.integers.insert(name, chunks.iter().map(index).collect());
                }
                other => panic!("{name} has type {other:?}"),
            }
        }
        golden
    }

    /// A floating-point tensor, row-major.
    pub(crate) fn values(&self, name: &str) -> &[f32] {
        &self.tensor(name).1
    }

    /// A four-dimensional tensor.
    pub(crate) fn images(&self, name: &str) -> ImageBatch {
        let (shape, _) = self.tensor(name);
        let shape = shape.as_slice().try_into().expect("four dimensions");
        ImageBatch::new(shape, self.values(name).to_vec())
    }

    /// A tensor of labels.
    pub(crate) fn indices(&self, name: &str) -> &[usize] {
        self.integers.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn tensor(&self, name: &str) -> &(Vec<usize>, Vec<f32>) {
        self.floats.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }
}
