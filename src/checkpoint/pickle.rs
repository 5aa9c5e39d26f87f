//! Pickles whose dictionaries have defaults, and those of programs of TorchScript, made plain: the reader of PyTorch's files
//! knows `dict` and `OrderedDict` only, and modules of Python.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Write as _};

use zip::ZipArchive;
use zip::result::ZipResult;

/// How a pickle names the class, and the one that it becomes.
const CLASS: &[u8] = b"ccollections\ndefaultdict\n";
const PLAIN: &[u8] = b"ccollections\nOrderedDict\n";
/// Operations between the class and its call: a class or nothing as the factory, a tuple of it, and where they are kept.
const MOST_BETWEEN: usize = 5;
/// First bytes of such operations: a class, one that was kept, none, a tuple, keeping.
const BETWEEN: &[u8] = b"chjN)\x85qr";
/// How TorchScript names the classes of a program; what they do lies elsewhere in the archive, and nobody reads it.
const SCRIPTED: &[u8] = b"c__torch__";

/// A copy of the archive whose pickles build plain dictionaries, in a file that vanishes when it is dropped; `None` when
/// none of its dictionaries has a default, and none of its objects is of a program.
pub(super) fn with_plain_dictionaries(file: File) -> ZipResult<Option<tempfile::NamedTempFile>> {
    let mut archive = ZipArchive::new(std::io::BufReader::new(file))?;
    let mut pickles = BTreeMap::new();
    for place in 0..archive.len() {
        let mut entry = archive.by_index(place)?;
        let name = entry.name()?.into_owned();
        if name.ends_with("data.pkl") {
            let mut pickle = Vec::new();
            entry.read_to_end(&mut pickle)?;
            let plain = without_objects(&pickle).or_else(|| plain(&pickle));
            pickles.extend(plain.map(|plain| (place, (name, plain))));
        }
    }
    if pickles.is_empty() {
        return Ok(None);
    }
    let mut copy = zip::ZipWriter::new(tempfile::NamedTempFile::new()?);
    for place in 0..archive.len() {
        match pickles.get(&place) {
            Some((name, plain)) => {
                copy.start_file(name.as_str(), zip::write::SimpleFileOptions::default())?;
                copy.write_all(plain)?;
            }
            None => copy.raw_copy_file(archive.by_index_raw(place)?)?,
        }
    }
    copy.finish().map(Some)
}

/// The pickle with `OrderedDict()` for every `defaultdict(factory)`; `None` where there is none, or it is written in a way
/// that `torch.save` does not write.
fn plain(pickle: &[u8]) -> Option<Vec<u8>> {
    if !pickle.windows(CLASS.len()).any(|window| window == CLASS) {
        return None;
    }
    let operations = operations(pickle)?;
    let mut classes: HashSet<&[u8]> = HashSet::new();
    let (mut out, mut place) = (Vec::with_capacity(pickle.len()), 0);
    while let Some(operation) = operations.get(place) {
        let kept = matches!(operation[0], b'h' | b'j') && classes.contains(&operation[1..]);
        out.extend_from_slice(if *operation == CLASS { PLAIN } else { operation });
        place += 1;
        if *operation != CLASS && !kept {
            continue;
        }
        if let Some(keeping) = operations.get(place).filter(|next| matches!(next[0], b'q' | b'r')) {
            classes.insert(&keeping[1..]);
        }
        let call = (place..operations.len()).take(MOST_BETWEEN + 1).find(|at| operations[*at] == b"R")?;
        let between = &operations[place..call];
        if !between.iter().all(|operation| BETWEEN.contains(&operation[0])) {
            return None;
        }
        out.extend(between.iter().copied().flatten());
        // Its arguments are dropped, and none given.
        out.extend_from_slice(b"0)");
        place = call;
    }
    Some(out)
}

/// The pickle with the dictionary of its attributes for every object of a program; `None` where there is none, or it is written
/// in a way that TorchScript does not write.
fn without_objects(pickle: &[u8]) -> Option<Vec<u8>> {
    if !pickle.windows(SCRIPTED.len()).any(|window| window == SCRIPTED) {
        return None;
    }
    let operations = operations(pickle)?;
    let mut classes: HashSet<&[u8]> = HashSet::new();
    let (mut out, mut place, mut begun) = (Vec::with_capacity(pickle.len()), 0, 0_usize);
    while let Some(operation) = operations.get(place) {
        place += 1;
        let kept = matches!(operation[0], b'h' | b'j') && classes.contains(&operation[1..]);
        if kept || operation.starts_with(SCRIPTED) {
            if let Some(keeping) = operations.get(place).filter(|next| matches!(next[0], b'q' | b'r')) {
                classes.insert(&keeping[1..]);
                place += 1;
            }
            // An object is made of no arguments, and its attributes follow.
            if !matches!(operations.get(place..), Some([b")", b"\x81", ..])) {
                return None;
            }
            (place, begun) = (place + 2, begun + 1);
        } else if *operation == b"b" {
            // It would take them over.
            begun = begun.checked_sub(1)?;
        } else {
            out.extend_from_slice(operation);
        }
    }
    (begun == 0).then_some(out)
}

/// The operations of a pickle of any protocol, each with its argument; `None` where they are no pickle's.
pub(super) fn operations(mut pickle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut operations = Vec::new();
    while let Some((code, argument)) = pickle.split_first() {
        let lines = |count: usize| {
            let ends = argument.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1);
            ends.take(count).nth(count - 1)
        };
        // A length of so many bytes, little-endian, then as much.
        let counted = |bytes: usize| {
            let length = argument.get(..bytes)?.iter().rev().fold(0_usize, |all, byte| (all << 8) | usize::from(*byte));
            length.checked_add(bytes)
        };
        let length = match code {
            b'K' | b'q' | b'h' | 0x80 | 0x82 => 1,
            b'M' | 0x83 => 2,
            b'J' | b'r' | b'j' | 0x84 => 4,
            b'G' | 0x95 => 8,
            b'I' | b'L' | b'F' | b'S' | b'V' | b'g' | b'p' | b'P' => lines(1)?,
            b'c' | b'i' => lines(2)?,
            b'U' | b'C' | 0x8a | 0x8c => counted(1)?,
            b'T' | b'B' | b'X' | 0x8b => counted(4)?,
            0x8d | 0x8e | 0x96 => counted(8)?,
            _ => 0,
        };
        let (operation, rest) = pickle.split_at_checked(length.checked_add(1)?)?;
        operations.push(operation);
        pickle = rest;
        if *code == b'.' {
            break;
        }
    }
    Some(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_with_defaults_become_plain_ones() {
        // {"a": defaultdict(list, {1: 2}), "b": defaultdict(None), "c": defaultdict()}
        let pickle = b"\x80\x02}q\0(X\x01\0\0\0aq\x01ccollections\ndefaultdict\nq\x02c__builtin__\nlist\nq\x03\x85q\x04Rq\x05K\x01K\x02s\
            X\x01\0\0\0bh\x02N\x85RX\x01\0\0\0ch\x02)Ru.";
        let wanted = b"\x80\x02}q\0(X\x01\0\0\0aq\x01ccollections\nOrderedDict\nq\x02c__builtin__\nlist\nq\x03\x85q\x040)Rq\x05K\x01K\x02s\
            X\x01\0\0\0bh\x02N\x850)RX\x01\0\0\0ch\x02)0)Ru.";
        assert_eq!(plain(pickle).as_deref(), Some(wanted.as_slice()));
        assert_eq!(plain(b"\x80\x02}."), None);
        // The name inside a text is a text, and a factory that is made by a call is left alone.
        let text = b"\x80\x02X\x19\0\0\0ccollections\ndefaultdict\n.";
        assert_eq!(plain(text).as_deref(), Some(text.as_slice()));
        assert_eq!(plain(b"\x80\x02ccollections\ndefaultdict\n(K\x01tR."), None);
        assert_eq!(plain(b"ccollections\ndefaultdict\nX\xff\xff\xff\xff"), None);
    }

    #[test]
    fn objects_of_a_program_become_their_attributes() {
        // Net(conv=Layer(size=3), again=that, other=Layer(size=4)), as TorchScript keeps what comes again.
        let pickle = b"\x80\x02c__torch__\nNet\nq\0)\x81}(X\x04\0\0\0convq\x01c__torch__.deep\nLayer\nq\x02)\x81}(X\x04\0\0\0sizeq\x03K\x03\
            ubq\x04X\x05\0\0\0againh\x04X\x05\0\0\0otherh\x02)\x81}(h\x03K\x04ububq\x05.";
        let wanted = b"\x80\x02}(X\x04\0\0\0convq\x01}(X\x04\0\0\0sizeq\x03K\x03\
            uq\x04X\x05\0\0\0againh\x04X\x05\0\0\0other}(h\x03K\x04uuq\x05.";
        assert_eq!(without_objects(pickle).as_deref(), Some(wanted.as_slice()));
        assert_eq!(without_objects(b"\x80\x02}."), None);
        // One that is made with arguments, and attributes of no object.
        assert_eq!(without_objects(b"\x80\x02c__torch__\nNet\nK\x01\x85\x81}b."), None);
        assert_eq!(without_objects(b"\x80\x02c__torch__\nNet\n)\x81}bb."), None);
        assert_eq!(without_objects(b"\x80\x02c__torch__\nNet\n)\x81}."), None);
    }
}
