//! Journals of version 2, read only: a record is its length (`u32`), the CRC-32 of its payload (`u32`), and the payload, a
//! postcard-encoded [`Record`]. The types here are what that version wrote, whatever those of today look like.

use std::io::{Read, Seek};
use std::sync::Arc;

use serde::Deserialize;

use super::entry::Entry;
use crate::image::ImageBatch;
use crate::origins::{Edited, Origins};
use crate::refiner::{Numbers, SampleState, State};
use crate::trace::{RunId, StateId};

/// First bytes of a journal.
pub(super) const MAGIC: &[u8; 20] = b"lapidary journal v2\n";
/// Bytes of a payload that name a state: variant, run and iteration.
const NAME: u64 = 32;

#[derive(Deserialize)]
enum Record {
    Fact(String),
    Origins(PackedOrigins),
    State(u64, PackedState),
    Numbers((u64, u32), PackedNumbers),
    References(Images),
}

#[derive(Deserialize)]
struct Images {
    shape: [usize; 4],
    pixels: Vec<f32>,
}

#[derive(Deserialize)]
struct PackedOrigins {
    images: Images,
    source: Option<Images>,
    /// JSON of what lies in the facts of origins today.
    facts: String,
}

#[derive(Deserialize)]
struct PackedState {
    iteration: u32,
    images: Images,
    numbers: PackedNumbers,
}

#[derive(Deserialize)]
struct PackedNumbers {
    logits: Vec<f32>,
    objective: Vec<f32>,
    gradient_l2: Vec<f32>,
    step_l2: Vec<f32>,
    delta_l2: Vec<f32>,
    delta_linf: Vec<f32>,
    clipped: Vec<f32>,
    state: Vec<PackedSampleState>,
}

#[derive(Deserialize)]
enum PackedSampleState {
    Active,
    ZeroGradient,
    NotFinite,
    Stopped,
}

impl Images {
    fn unpack(self) -> Option<ImageBatch> {
        let count = self.shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side))?;
        (count == self.pixels.len()).then(|| ImageBatch::new(self.shape, self.pixels))
    }
}

impl PackedNumbers {
    fn unpack(self) -> Numbers {
        let Self { logits, objective, gradient_l2, step_l2, delta_l2, delta_linf, clipped, state } = self;
        let state = state.into_iter().map(|state| match state {
            PackedSampleState::Active => SampleState::Active,
            PackedSampleState::ZeroGradient => SampleState::ZeroGradient,
            PackedSampleState::NotFinite => SampleState::NotFinite,
            PackedSampleState::Stopped => SampleState::Stopped,
        });
        Numbers { logits, objective, gradient_l2, step_l2, delta_l2, delta_linf, clipped, state: state.collect() }
    }
}

impl PackedOrigins {
    fn unpack(self) -> Option<Origins> {
        let super::entry::OriginFacts { labels, classes, seeds, names, made_by, edit, mask, is_of_one } =
            serde_json::from_str(&self.facts).ok()?;
        let source = match self.source {
            Some(source) => Some(source.unpack()?),
            None => None,
        };
        let edited = edit.zip(source);
        let edited = edited.map(|(settings, reference)| Edited { settings, reference, mask, is_of_one });
        Some(Origins { images: self.images.unpack()?, labels, classes, seeds, names, made_by, edited })
    }
}

impl Record {
    /// As an entry of today; `None` for what is not known today.
    fn unpack(self) -> Option<Entry> {
        Some(match self {
            Self::Fact(json) => Entry::Fact(serde_json::from_str(&json).ok()?),
            Self::Origins(origins) => Entry::Origins(Arc::new(origins.unpack()?)),
            Self::State(run, PackedState { iteration, images, numbers }) => {
                let (images, numbers) = (images.unpack()?, numbers.unpack());
                Entry::State(RunId(run), Arc::new(State { iteration, images, numbers }))
            }
            Self::Numbers((run, iteration), numbers) => {
                Entry::Numbers(StateId { run: RunId(run), iteration }, numbers.unpack())
            }
            Self::References(images) => Entry::References(images.unpack()?),
        })
    }
}

fn head(input: &mut impl Read) -> Option<(u32, u32)> {
    let mut head = [0; 8];
    input.read_exact(&mut head).ok()?;
    let [a, b, c, d, e, f, g, h] = head;
    Some((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
}

/// Reads the record at the current place, and its length; `None` at the end of what is complete and undamaged.
pub(super) fn read(input: &mut impl Read) -> Option<(Option<Entry>, u64)> {
    let (length, crc) = head(input)?;
    let mut payload = Vec::new();
    input.take(u64::from(length)).read_to_end(&mut payload).ok()?;
    if payload.len() as u64 != u64::from(length) || crc32fast::hash(&payload) != crc {
        return None;
    }
    let record: Record = postcard::from_bytes(&payload).ok()?;
    Some((record.unpack(), u64::from(length) + 8))
}

/// What the record at the current place is worth to someone who lost it; skips its pictures where it can.
pub(super) fn glance(input: &mut (impl Read + Seek), end: u64) -> Option<super::raw::Worth> {
    let start = input.stream_position().ok()?;
    let (length, _) = head(input)?;
    let next = start + 8 + u64::from(length);
    if next > end {
        return None;
    }
    let mut name = Vec::new();
    input.by_ref().take(NAME.min(u64::from(length))).read_to_end(&mut name).ok()?;
    let mut worth = super::raw::Worth::default();
    match name.first() {
        Some(1) => {
            input.seek(std::io::SeekFrom::Start(start)).ok()?;
            if let (Some(Entry::Origins(origins)), _) = read(input)? {
                worth.is_edited = origins.edited.is_some();
                worth.origins = Some((origins.labels.len(), String::new()));
            }
        }
        Some(2) => {
            let ((_, run, iteration), _) = postcard::take_from_bytes::<(u32, u64, u32)>(&name).ok()?;
            worth.state = Some(StateId { run: RunId(run), iteration });
        }
        _ => {}
    }
    input.seek(std::io::SeekFrom::Start(next)).ok()?;
    Some(worth)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// A state of one sample with two pixels, as version 2 wrote it.
    fn state(iteration: u32) -> Vec<u8> {
        let numbers = (vec![1.0_f32, 2.0], [0.5_f32].as_slice(), [0.25_f32].as_slice(), [0.0_f32].as_slice());
        let rest = ([0.1_f32].as_slice(), [0.2_f32].as_slice(), [0.0_f32].as_slice(), [3_u32].as_slice());
        let images = ([1_usize, 1, 1, 2], [0.25_f32, 0.75].as_slice());
        record(&postcard::to_stdvec(&(2_u32, 7_u64, iteration, images, numbers, rest)).unwrap())
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_state_of_version_2_is_read_and_glanced_at() {
        let bytes = state(300);
        let (entry, length) = read(&mut bytes.as_slice()).unwrap();
        let Some(Entry::State(run, state)) = entry else { panic!("{entry:?}") };
        assert_eq!((run, state.iteration, length), (RunId(7), 300, bytes.len() as u64));
        assert_eq!((state.images.pixels(), state.numbers.delta_linf[0]), ([0.25, 0.75].as_slice(), 0.2));
        assert_eq!(state.numbers.state, [SampleState::Stopped]);
        let mut input = Cursor::new(&bytes);
        let worth = glance(&mut input, bytes.len() as u64).unwrap();
        let id = StateId { run: RunId(7), iteration: 300 };
        assert_eq!((worth.state, input.position()), (Some(id), bytes.len() as u64));
        let torn = bytes.len() as u64 - 1;
        assert!(glance(&mut Cursor::new(&bytes), torn).is_none() && read(&mut &bytes[..torn as usize]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(payload in prop::collection::vec(any::<u8>(), 0..200), variant in 0_u8..6) {
            let mut payload = payload;
            if let Some(first) = payload.first_mut() {
                *first = variant;
            }
            let bytes = record(&payload);
            for bytes in [&payload, &bytes] {
                drop(read(&mut bytes.as_slice()));
                let worth = glance(&mut Cursor::new(bytes), bytes.len() as u64);
                prop_assert!(worth.is_none_or(|worth| !worth.is_edited || variant == 1));
            }
        }
    }
}
