//! The journal: what a session remembers, record by record, in one append-only file.
//!
//! # Format
//! The file starts with [`MAGIC`]. A record is its length (`u32`, little-endian), the CRC-32 of its payload (`u32`), and the
//! payload: a postcard-encoded [`Record`]. Settings and other small facts are JSON inside it, so that later versions may add
//! fields. Reading stops at the first record that is incomplete or damaged: everything before it is good, which is what makes
//! the file survive `kill -9` and a full disk.

use std::io::{Read, Seek as _, SeekFrom, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::image::ImageBatch;
use crate::origins::Origins;
use crate::refiner::{Numbers, RefineSettings, State};
use crate::trace::{Change, RunId, StateId};
use crate::worker::{DeviceInfo, ModelInfo};

/// First bytes of a journal.
pub const MAGIC: &[u8; 20] = b"lapidary journal v2\n";

/// One thing that a session remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// Small facts, as JSON of a [`Fact`].
    Fact(String),
    /// The pictures that everything starts from.
    Origins(Arc<Origins>),
    /// A state with its pictures.
    State(RunId, Arc<State>),
    /// A state whose pictures were left out to save space.
    Numbers(StateId, Numbers),
    /// Real pictures that early stopping compares with.
    References(ImageBatch),
}

/// Small facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The settings are now these.
    Settings(Settings),
    /// A run begins.
    Run {
        /// Its name.
        id: RunId,
        /// Where it starts.
        parent: Option<StateId>,
        /// Its settings.
        settings: RefineSettings,
    },
    /// Settings of a run changed.
    Change {
        /// The run.
        run: RunId,
        /// The change.
        change: Change,
    },
    /// The class that every sample of a run is refined towards, when it is not its label.
    Targets {
        /// The run.
        run: RunId,
        /// One class per sample.
        targets: Vec<usize>,
    },
    /// What computed it.
    Provenance(Provenance),
}

/// What computed the results.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Version of this program.
    pub lapidary: String,
    /// Version of the tensor library.
    pub burn: String,
    /// The device.
    pub device: Option<DeviceInfo>,
    /// The generator's facts.
    pub generator: Option<ModelInfo>,
    /// The classifier's facts.
    pub classifier: Option<ModelInfo>,
}

impl Provenance {
    /// This program, nothing else known yet.
    #[must_use]
    pub fn new() -> Self {
        Self { lapidary: env!("CARGO_PKG_VERSION").to_owned(), burn: "0.22.1".to_owned(), ..Self::default() }
    }
}

impl Record {
    /// A fact as a record.
    ///
    /// # Panics
    /// Never: facts hold finite numbers and strings only.
    #[must_use]
    pub fn fact(fact: &Fact) -> Self {
        Self::Fact(serde_json::to_string(fact).expect("facts are plain values"))
    }

    /// Appends the record; returns the length of what was written.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<u64> {
        let payload = postcard::to_stdvec(self).map_err(std::io::Error::other)?;
        let length = u32::try_from(payload.len()).map_err(std::io::Error::other)?;
        let mut bytes = Vec::with_capacity(payload.len() + 8);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        // One call, so that a full disk leaves at most one torn record at the end.
        out.write_all(&bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Reads the record at the current place; `None` at the end of what is complete and undamaged.
    fn read(input: &mut impl Read) -> Option<(Self, u64)> {
        let mut head = [0; 8];
        input.read_exact(&mut head).ok()?;
        let length = u32::from_le_bytes(head[..4].try_into().ok()?);
        let checksum = u32::from_le_bytes(head[4..].try_into().ok()?);
        let mut payload = Vec::new();
        input.take(u64::from(length)).read_to_end(&mut payload).ok()?;
        if payload.len() as u64 != u64::from(length) || crc32fast::hash(&payload) != checksum {
            return None;
        }
        Some((postcard::from_bytes(&payload).ok()?, u64::from(length) + 8))
    }

    /// Reads the record that starts at `offset` of a file.
    pub(super) fn read_at(file: &mut std::fs::File, offset: u64) -> Option<Self> {
        file.seek(SeekFrom::Start(offset)).ok()?;
        Self::read(&mut std::io::BufReader::new(file)).map(|(record, _)| record)
    }
}

/// Reads a journal from its beginning, calling `each(record, offset)`; returns the length of the good part, or `None` when
/// it is no journal.
pub fn replay(input: &mut impl Read, mut each: impl FnMut(Record, u64)) -> Option<u64> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).ok()?;
    if &magic != MAGIC {
        return None;
    }
    let mut offset = MAGIC.len() as u64;
    while let Some((record, length)) = Record::read(input) {
        each(record, offset);
        offset += length;
    }
    Some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(iteration: u32) -> Record {
        let images = ImageBatch::new([1, 1, 1, 2], vec![0.25, f32::from(iteration as u16)]);
        let numbers = Numbers { objective: vec![f32::NAN], ..Default::default() };
        Record::State(RunId(1), Arc::new(State { iteration, images, numbers }))
    }

    fn journal() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        Record::fact(&Fact::Settings(Settings::default())).write(&mut bytes).unwrap();
        for k in 0..3 {
            state(k).write(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_journal_torn_anywhere_gives_every_record_before_the_tear() {
        let bytes = journal();
        let mut ends = Vec::new();
        let good = replay(&mut bytes.as_slice(), |_, offset| ends.push(offset)).unwrap();
        assert_eq!((good, ends.len()), (bytes.len() as u64, 4));
        ends.push(good);
        for cut in MAGIC.len()..=bytes.len() {
            let mut count = 0;
            replay(&mut &bytes[..cut], |_, _| count += 1).unwrap();
            assert_eq!(count, ends[1..].iter().filter(|end| **end <= cut as u64).count());
        }
    }

    #[test]
    fn a_damaged_record_ends_the_reading_and_nothing_panics() {
        let mut bytes = journal();
        let last = bytes.len() - 3;
        bytes[last] ^= 0xff;
        let mut count = 0;
        replay(&mut bytes.as_slice(), |_, _| count += 1).unwrap();
        assert_eq!(count, 3);
        assert_eq!(replay(&mut b"something else entirely".as_slice(), |_, _| ()), None);
    }
}
