//! Event files as TensorBoard reads them: scalars of every step, and pictures.
//!
//! A file is a row of records: the length of what follows, its checksum, an `Event` of TensorBoard's protocol buffers, and its
//! checksum. The crates that write them bring a compiler of protocol buffers along, for six messages of a few numbers.
//!
//! # Source
//! tensorflow/tensorboard, `tensorboard/compat/proto/{event,summary}.proto`, `tensorboard/summary/writer/record_writer.py`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How the names of event files begin.
pub(super) const EVENTS: &str = "events.out.tfevents.";

/// The event file of one start of the program.
#[derive(Debug)]
pub(super) struct Events {
    file: File,
    path: PathBuf,
}

/// What an event tells.
enum What<'a> {
    /// Version of the format.
    Version,
    /// From this step on, what earlier files say does not hold any more.
    Start,
    /// Numbers by their names, below a common one.
    Scalars(&'a str, &'a [(&'a str, f64)]),
    /// A PNG file of `[width, height]` pixels.
    Picture(&'a str, [usize; 2], &'a [u8]),
}

impl Events {
    /// Begins a file in `folder` for the steps behind `done`.
    pub(super) fn begin(folder: &Path, done: u64) -> std::io::Result<Self> {
        // TensorBoard reads the files of a folder in the order of their names.
        let path = folder.join(format!("{EVENTS}{:010}.{done:08}.{}", now() as u64, std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut events = Self { file, path };
        events.write(0, &What::Version)?;
        events.write(done + 1, &What::Start)?;
        Ok(events)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Numbers of a step by their names, below a common one.
    pub(super) fn scalars(&mut self, step: u64, group: &str, numbers: &[(&str, f64)]) -> std::io::Result<()> {
        self.write(step, &What::Scalars(group, numbers))
    }

    /// A PNG file of a step, of `[width, height]` pixels.
    pub(super) fn picture(&mut self, step: u64, name: &str, size: [usize; 2], png: &[u8]) -> std::io::Result<()> {
        self.write(step, &What::Picture(name, size, png))
    }

    /// At once and whole, so that whoever looks on sees it.
    fn write(&mut self, step: u64, what: &What<'_>) -> std::io::Result<()> {
        self.file.write_all(&record(&event(now(), step, what)))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Data between its length and its checksums.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// A checksum that stays one where it is part of what another is computed of.
fn masked(data: &[u8]) -> [u8; 4] {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Castagnoli's checksum, bit by bit: pictures are small and seldom.
fn crc32c(data: &[u8]) -> u32 {
    let bit = |crc: u32, _| crc >> 1 ^ (crc & 1).wrapping_neg() & 0x82f6_3b78;
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

fn event(time: f64, step: u64, what: &What<'_>) -> Vec<u8> {
    let head = Message::default().double(1, time).number(2, step);
    let of_value = |value: Message| Message::default().bytes(1, &value.0);
    let event = match what {
        What::Version => head.bytes(3, b"brain.Event:2"),
        What::Start => head.bytes(7, &Message::default().number(1, 1).0),
        What::Scalars(group, numbers) => {
            let values = numbers.iter().map(|(name, number)| {
                of_value(Message::default().bytes(1, format!("{group}/{name}").as_bytes()).float(2, *number as f32)).0
            });
            head.bytes(5, &values.collect::<Vec<_>>().concat())
        }
        What::Picture(name, [width, height], png) => {
            let picture =
                Message::default().number(1, *height as u64).number(2, *width as u64).number(3, 3).bytes(4, png);
            head.bytes(5, &of_value(Message::default().bytes(1, name.as_bytes()).bytes(4, &picture.0)).0)
        }
    };
    event.0
}

/// A protocol buffer on its way; fields in the order of their numbers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// A whole number; 0 is left out, as protocol buffers do.
    fn number(self, field: u64, value: u64) -> Self {
        if value == 0 { self } else { self.varint(field << 3).varint(value) }
    }

    fn double(self, field: u64, value: f64) -> Self {
        let mut message = self.varint(field << 3 | 1);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn float(self, field: u64, value: f32) -> Self {
        let mut message = self.varint(field << 3 | 5);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        let mut message = self.varint(field << 3 | 2).varint(value.len() as u64);
        message.0.extend(value);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_those_of_tensorboards_own_code() {
        let expected: &[u8] =
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tensorboard/events.tfevents"));
        let png: Vec<u8> = (0..=255).collect();
        let found = [
            (0, What::Version),
            (301, What::Start),
            (301, What::Scalars("train", &[("loss", 0.5), ("gradient", 0.0)])),
            (400, What::Picture("samples", [300, 3], &png)),
        ];
        let found = found.map(|(step, what)| record(&event(1_700_000_000.25, step, &what))).concat();
        assert_eq!(found, expected);
        // RFC 3720, appendix B.4.
        assert_eq!([crc32c(&[0; 32]), crc32c(&[0xff; 32])], [0x8a91_36aa, 0x62a8_ab43]);
    }
}
