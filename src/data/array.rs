//! Arrays of NumPy: their headers, their numbers of any type, and what these mean as colours and as classes.

use std::io::{Error, ErrorKind, Read};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

/// Longest header of an array in bytes; NumPy's own are below 200.
const MAX_HEADER: usize = 4096;
/// Most brackets in a header: those of a dictionary and of a shape, and a few to spare.
const MAX_BRACKETS: usize = 8;
/// Longest one-hot row.
const MAX_CLASSES: u64 = 100_000;

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    kind: Kind,
    /// From 1 to 8.
    bytes: usize,
    big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unsigned,
    Signed,
    Float,
}

impl Number {
    /// An integer, or a float of half, single or double precision; `None` for another type.
    pub(super) fn of(dtype: &DType) -> Option<Self> {
        let DType::Plain(plain) = dtype else { return None };
        let (kind, sizes): (_, &[u64]) = match plain.type_char() {
            TypeChar::Uint => (Kind::Unsigned, &[1, 2, 4, 8]),
            TypeChar::Int => (Kind::Signed, &[1, 2, 4, 8]),
            TypeChar::Float => (Kind::Float, &[2, 4, 8]),
            _ => return None,
        };
        let size = plain.size_field();
        let big_endian = plain.endianness() == Endianness::Big;
        sizes.contains(&size).then_some(Self { kind, bytes: size as usize, big_endian })
    }

    /// Bytes of one.
    pub(super) const fn bytes(self) -> usize {
        self.bytes
    }

    /// Whether it is a float of single precision.
    pub(super) fn is_single(self) -> bool {
        (self.kind, self.bytes) == (Kind::Float, 4)
    }

    /// Whether it is an integer, which as a colour is a level.
    pub(super) fn is_level(self) -> bool {
        self.kind != Kind::Float
    }

    /// What colours of this type are converted to, unless they are of one that pictures usually have.
    pub(super) fn conversion(self) -> Option<&'static str> {
        match (self.kind, self.bytes) {
            (Kind::Unsigned, 1) | (Kind::Float, 4) => None,
            (Kind::Float, _) => Some("float32"),
            _ => Some("levels from 0 to 255"),
        }
    }

    /// Its value.
    pub(super) fn value(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        let place = 8 - self.bytes;
        wide[place..].copy_from_slice(&bytes[..self.bytes]);
        if !self.big_endian {
            wide[place..].reverse();
        }
        // Its bytes stand at the upper end, so that a shift brings the sign along.
        let bits = u64::from_be_bytes(wide) << (8 * place);
        let shift = 8 * place as u32;
        match (self.kind, self.bytes) {
            (Kind::Unsigned, _) => (bits >> shift) as f64,
            (Kind::Signed, _) => (bits.cast_signed() >> shift) as f64,
            (Kind::Float, 2) => half::f16::from_bits((bits >> shift) as u16).to_f64(),
            (Kind::Float, 4) => f64::from(f32::from_bits((bits >> shift) as u32)),
            (Kind::Float, _) => f64::from_bits(bits),
        }
    }

    /// Its value as a colour: that of a float, the 255th part of a level.
    pub(super) fn colour(self, bytes: &[u8]) -> f32 {
        // The common case; single precision goes through the double unchanged.
        if self.bytes == 1 && self.kind == Kind::Unsigned {
            return f32::from(bytes[0]) / 255.0;
        }
        let value = self.value(bytes) as f32;
        if self.is_level() { value / 255.0 } else { value }
    }
}

/// Why an array holds no labels.
#[derive(Debug)]
pub(super) enum LabelFault {
    /// Its bytes are not there.
    Unreadable(Error),
    /// What it does instead.
    Odd(String),
}

/// The classes that an array says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) list: Vec<usize>,
    /// How many classes it speaks of, where it does: columns of one-hot rows.
    pub(super) columns: Option<usize>,
    /// What they were converted from, unless they are plain integers.
    pub(super) converted: Option<String>,
}

/// The classes that an array of `[count]`, `[count, 1]` or one-hot `[count, K]` says.
pub(super) fn labels(mut input: impl Read, count: usize) -> Result<Labels, LabelFault> {
    let odd = LabelFault::Odd;
    let header = read_header(&mut input).map_err(LabelFault::Unreadable)?;
    let (shape, descr) = (header.shape(), header.dtype().descr());
    let width = match *shape {
        [n] if n == count as u64 => 1,
        [n, width] if n == count as u64 && (1..=MAX_CLASSES).contains(&width) => width as usize,
        _ => return Err(odd(format!("has the shape {shape:?}, but there are {count} pictures"))),
    };
    if width > 1 && header.order() == Order::Fortran {
        return Err(odd("is one-hot in Fortran order".to_owned()));
    }
    let number = Number::of(&header.dtype());
    let number = number.ok_or_else(|| odd(format!("is of type {descr}, but labels are integers")))?;
    let mut row = vec![0; width * number.bytes()];
    let mut labels = Vec::new();
    for place in 0..count {
        input.read_exact(&mut row).map_err(LabelFault::Unreadable)?;
        let values = row.chunks_exact(number.bytes()).map(|bytes| number.value(bytes));
        labels.push(label(values).map_err(|what| odd(format!("holds {what} for picture {place}")))?);
    }
    let mut converted = Vec::new();
    converted.extend((shape.len() == 2).then(|| if width > 1 { "one-hot rows".to_owned() } else { "N×1".to_owned() }));
    converted.extend((!number.is_level()).then(|| format!("whole numbers of type {descr}")));
    let converted = (!converted.is_empty()).then(|| converted.join(", "));
    Ok(Labels { list: labels, columns: (width > 1).then_some(width), converted })
}

/// The class that a row means: its only number, or the place of the one in a one-hot row; or what is odd about it.
fn label(mut row: impl ExactSizeIterator<Item = f64>) -> Result<usize, String> {
    if row.len() == 1 {
        let value = row.next().unwrap_or(-1.0);
        let whole = value >= 0.0 && value.fract() == 0.0 && value < 1e15;
        return if whole { Ok(value as usize) } else { Err(format!("the label {value}")) };
    }
    let mut found = None;
    for (class, value) in row.enumerate() {
        match value {
            0.0 => {}
            1.0 if found.is_none() => found = Some(class),
            _ => return Err("a row that is not one-hot".to_owned()),
        }
    }
    found.ok_or_else(|| "a row without a one".to_owned())
}

/// Reads the header of an array, within limits: a damaged one may claim any length, or be nested without end.
pub(super) fn read_header(input: &mut impl Read) -> std::io::Result<NpyHeader> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut head = vec![0; 10];
    input.read_exact(&mut head)?;
    // Bytes 6 and 7 are the version. The first has a length of 16 bits, later ones of 32.
    if head[6] > 1 {
        head.resize(12, 0);
        input.read_exact(&mut head[10..])?;
    }
    let length = head[8..].iter().rev().fold(0, |length, byte| (length << 8) | usize::from(*byte));
    if length > MAX_HEADER {
        return Err(invalid("its header is too long"));
    }
    let start = head.len();
    head.resize(start + length, 0);
    input.read_exact(&mut head[start..])?;
    let brackets = head[start..].iter().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count();
    if brackets > MAX_BRACKETS {
        return Err(invalid("its header is nested"));
    }
    NpyHeader::from_reader(head.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_and_order_are_read() {
        let number = |kind, bytes, big_endian| Number { kind, bytes, big_endian };
        for big in [false, true] {
            let ordered = |mut bytes: Vec<u8>| {
                if big {
                    bytes.reverse();
                }
                bytes
            };
            for (found, wanted) in [
                (number(Kind::Signed, 8, big).value(&ordered((-5_i64).to_le_bytes().to_vec())), -5.0),
                (number(Kind::Signed, 2, big).value(&ordered((-300_i16).to_le_bytes().to_vec())), -300.0),
                (number(Kind::Unsigned, 4, big).value(&ordered(4_000_000_000_u32.to_le_bytes().to_vec())), 4e9),
                (number(Kind::Float, 4, big).value(&ordered(0.1_f32.to_le_bytes().to_vec())), f64::from(0.1_f32)),
                (number(Kind::Float, 8, big).value(&ordered(0.1_f64.to_le_bytes().to_vec())), 0.1),
                (number(Kind::Float, 2, big).value(&ordered(0x3800_u16.to_le_bytes().to_vec())), 0.5),
            ] {
                assert_eq!(found, wanted);
            }
        }
        assert_eq!(number(Kind::Signed, 1, false).value(&[0xff]), -1.0);
        assert_eq!(number(Kind::Signed, 2, false).colour(&[51, 0]), 0.2);
        let bits = f32::from_bits(0x0000_0001);
        assert_eq!(number(Kind::Float, 4, false).colour(&bits.to_le_bytes()).to_bits(), 1, "to the bit");
    }

    #[test]
    fn a_class_is_a_number_or_the_place_of_a_one() {
        let of = |row: &[f64]| label(row.iter().copied());
        assert_eq!((of(&[7.0]), of(&[0.0, 0.0, 1.0])), (Ok(7), Ok(2)));
        for row in [&[0.5][..], &[-1.0], &[f64::NAN], &[0.0, 0.0], &[1.0, 1.0], &[0.25, 0.75]] {
            assert!(of(row).is_err(), "{row:?}");
        }
    }
}
