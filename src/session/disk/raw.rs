//! How an entry lies in a journal.
//!
//! # Format
//! The file starts with [`MAGIC`]. An entry is a head of 24 bytes, a JSON header and a block of floats:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | kind, four letters |
//! | 4 | length of the header |
//! | 8 | length of the block |
//! | 4 | CRC-32 of the block |
//! | 4 | CRC-32 of the head before it and of the header |
//!
//! All numbers are little-endian. The header is `{"facts": .., "columns": [{"name": .., "shape": [..]}, ..]}`; the columns lie in
//! the block one after another as raw `f32`. Kinds, facts and columns that are not known are skipped, so later versions may add
//! some. Kind and lengths lie outside of what is long, so counting entries needs no floats. Reading stops at the first entry that
//! is incomplete or damaged: everything before it is good, which is what makes the file survive `kill -9` and a full disk.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::trace::{RunId, StateId};

/// First bytes of a journal.
pub(super) const MAGIC: &[u8; 20] = b"lapidary journal v3\n";
/// Bytes of a head.
const HEAD: usize = 24;

/// An entry as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) kind: [u8; 4],
    pub(super) header: Vec<u8>,
    pub(super) block: Vec<u8>,
}

/// An entry whose block was not read yet.
#[derive(Debug)]
pub(super) struct Head {
    raw: Raw,
    block: u64,
    crc: u32,
}

/// What every header looks like.
#[derive(Serialize, Deserialize)]
pub(super) struct Header<F> {
    pub(super) facts: F,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub(super) columns: Vec<Column>,
}

/// Columns by name: their shapes and their bytes.
pub(super) type Columns<'a> = BTreeMap<String, (Vec<usize>, &'a [u8])>;

#[derive(Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
}

impl Raw {
    pub(super) fn new(kind: [u8; 4], facts: &impl Serialize, columns: &[(&str, &[usize], &[f32])]) -> Self {
        let mut block = Vec::with_capacity(columns.iter().map(|(.., values)| size_of_val(*values)).sum());
        for (.., values) in columns {
            push_floats(&mut block, values);
        }
        let columns = columns.iter().map(|(name, shape, _)| Column { name: (*name).to_owned(), shape: shape.to_vec() });
        let header = Header { facts, columns: columns.collect() };
        let header = serde_json::to_vec(&header).expect("facts are plain values");
        Self { kind, header, block }
    }

    /// Bytes in the file.
    pub(super) const fn len(&self) -> u64 {
        (HEAD + self.header.len() + self.block.len()) as u64
    }

    /// Writes it; returns its length.
    ///
    /// # Errors
    /// Those of the writer, and an entry of more than 4 GiB of facts.
    pub(super) fn write(&self, out: &mut impl Write) -> std::io::Result<u64> {
        let header = u32::try_from(self.header.len()).map_err(std::io::Error::other)?;
        let mut head = Vec::with_capacity(HEAD + self.header.len());
        head.extend_from_slice(&self.kind);
        head.extend_from_slice(&header.to_le_bytes());
        head.extend_from_slice(&(self.block.len() as u64).to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&self.block).to_le_bytes());
        let crc = head_crc(&head, &self.header);
        head.extend_from_slice(&crc.to_le_bytes());
        head.extend_from_slice(&self.header);
        out.write_all(&head)?;
        out.write_all(&self.block)?;
        Ok(self.len())
    }

    /// Reads the entry at the current place; `None` at the end of what is complete and undamaged.
    pub(super) fn read(input: &mut impl Read) -> Option<Self> {
        Head::read(input)?.block(input)
    }

    pub(super) fn facts<F: DeserializeOwned>(&self) -> Result<F, serde_json::Error> {
        serde_json::from_slice::<Header<F>>(&self.header).map(|header| header.facts)
    }

    /// The columns that fit the block, by name.
    pub(super) fn columns(&self) -> Option<Columns<'_>> {
        let header: Header<IgnoredAny> = serde_json::from_slice(&self.header).ok()?;
        let mut rest = self.block.as_slice();
        let mut columns = BTreeMap::new();
        for Column { name, shape } in header.columns {
            let bytes = shape.iter().try_fold(size_of::<f32>(), |product, side| product.checked_mul(*side))?;
            let (column, after) = rest.split_at_checked(bytes)?;
            rest = after;
            columns.insert(name, (shape, column));
        }
        Some(columns)
    }
}

impl Head {
    /// Reads everything of an entry but its block.
    pub(super) fn read(input: &mut impl Read) -> Option<Self> {
        let mut head = [0; HEAD];
        input.read_exact(&mut head).ok()?;
        let u32_at =
            |place: usize| u32::from_le_bytes([head[place], head[place + 1], head[place + 2], head[place + 3]]);
        let length = u32_at(4);
        let mut header = Vec::new();
        input.take(u64::from(length)).read_to_end(&mut header).ok()?;
        if header.len() as u64 != u64::from(length) || head_crc(&head[..HEAD - 4], &header) != u32_at(HEAD - 4) {
            return None;
        }
        let block = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
        let kind = [head[0], head[1], head[2], head[3]];
        Some(Self { raw: Raw { kind, header, block: Vec::new() }, block, crc: u32_at(16) })
    }

    /// Reads the block too.
    pub(super) fn block(self, input: &mut impl Read) -> Option<Raw> {
        let Self { mut raw, block, crc } = self;
        // Not reserved before: a damaged length must not take memory.
        input.take(block).read_to_end(&mut raw.block).ok()?;
        (raw.block.len() as u64 == block && crc32fast::hash(&raw.block) == crc).then_some(raw)
    }

    /// The entry without its block, and the length of that.
    pub(super) const fn parts(&self) -> (&Raw, u64) {
        (&self.raw, self.block)
    }
}

fn head_crc(head: &[u8], header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(header);
    crc.finalize()
}

fn push_floats(block: &mut Vec<u8>, values: &[f32]) {
    if cfg!(target_endian = "little") {
        block.extend_from_slice(bytemuck::cast_slice(values));
    } else {
        block.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

/// Values of a column.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0_f32; bytes.len() / size_of::<f32>()];
    bytemuck::cast_slice_mut::<f32, u8>(&mut values).copy_from_slice(bytes);
    if cfg!(target_endian = "big") {
        for value in &mut values {
            *value = f32::from_bits(value.to_bits().swap_bytes());
        }
    }
    values
}

/// What an entry is worth to someone who lost it.
#[derive(Debug, Default)]
pub(super) struct Worth {
    /// The state that it is, if it is one with pictures.
    pub(super) state: Option<StateId>,
    /// Whether it holds pictures that were edited: a painted mask or an opened picture does not come again by itself.
    pub(super) is_edited: bool,
    /// Whether a mask is painted from here on, if it says so.
    pub(super) is_painted: Option<bool>,
    /// Whether it begins a run.
    pub(super) begins_run: bool,
    /// The run that it deletes, with all of its states.
    pub(super) ends_run: Option<RunId>,
    /// The session file that holds everything before it, and its size then.
    pub(super) saved: Option<(String, u64)>,
    /// How many pictures everything starts from, and what they are, if it is these.
    pub(super) origins: Option<(usize, String)>,
}
