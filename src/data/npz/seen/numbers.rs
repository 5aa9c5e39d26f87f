//! Arrays of floats of any precision, at most matrices.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use npyz::Order;
use zip::ZipArchive;

use super::super::array::{self, Number};
use super::super::{PictureError, entry};
use super::{broken, refusal};

/// Most features of a picture: their covariance takes 2 GiB.
const MAX_WIDTH: usize = 1 << 14;
/// Most numbers of an array.
const MAX_NUMBERS: usize = 1 << 33;
/// Numbers that are read together.
const AT_ONCE: usize = 1 << 16;

/// An array of floats.
pub(super) struct Numbers<T> {
    pub(super) shape: Vec<usize>,
    /// Row-major.
    pub(super) values: Vec<T>,
    pub(super) is_double: bool,
}

/// A number that is read from a float of any precision.
pub(super) trait OfDouble: Copy {
    fn of_double(value: f64) -> Self;
}

impl OfDouble for f64 {
    fn of_double(value: f64) -> Self {
        value
    }
}

impl OfDouble for f32 {
    fn of_double(value: f64) -> Self {
        value as Self
    }
}

/// An array of floats of any precision; `None` when it is not there.
pub(super) fn numbers<T: OfDouble>(
    zip: &mut ZipArchive<BufReader<File>>,
    key: &str,
    (path, kind, advice): (&Path, &'static str, &'static str),
) -> Result<Option<Numbers<T>>, PictureError> {
    let refuse = |what: String| refusal(path, kind, what, advice);
    let broken = |source| broken((path, kind), key, source);
    let Some(mut entry) = entry(zip, path, key)? else { return Ok(None) };
    let header = array::read_header(&mut entry).map_err(broken)?;
    let number = Number::of(&header.dtype()).filter(|number| !number.is_level());
    let number = number.ok_or_else(|| refuse(format!("{key} is of type {}, not float", header.dtype().descr())))?;
    let shape: Vec<usize> = header.shape().iter().map(|extent| *extent as usize).collect();
    let count = shape.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
    let is_fitting = !shape.is_empty() && shape.len() < 3 && shape.last().is_some_and(|width| *width <= MAX_WIDTH);
    let Some(count) = count.filter(|count| is_fitting && *count <= MAX_NUMBERS) else {
        return Err(refuse(format!("{key} has the shape {shape:?}, but at most {MAX_WIDTH} features are read")));
    };
    let size = number.bytes();
    let (mut bytes, mut values) = (vec![0; AT_ONCE * size], Vec::new());
    while values.len() < count {
        // Grows with what is really there: the header may lie.
        let bytes = &mut bytes[..(count - values.len()).min(AT_ONCE) * size];
        entry.read_exact(bytes).map_err(broken)?;
        values.extend(bytes.chunks_exact(size).map(|bytes| T::of_double(number.value(bytes))));
    }
    // The end is where the checksum is compared.
    std::io::copy(&mut entry, &mut std::io::sink()).map_err(broken)?;
    if let (Order::Fortran, &[rows, columns]) = (header.order(), &*shape) {
        values = (0..count).map(|place| values[place % columns * rows + place / columns]).collect();
    }
    Ok(Some(Numbers { shape, values, is_double: size == size_of::<f64>() }))
}
