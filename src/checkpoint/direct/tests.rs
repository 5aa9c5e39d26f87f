use std::io::{Cursor, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use pytorch_reader::PytorchReader;
use zip::write::SimpleFileOptions;

use super::*;
use crate::checkpoint::{Checkpoint, CheckpointError, Element};

/// A tensor of a file of these tests.
#[derive(Clone, Copy)]
struct Saved {
    name: &'static str,
    storage: &'static str,
    first: u8,
    shape: &'static [u8],
    strides: &'static [u8],
}

const fn saved(
    (name, storage): (&'static str, &'static str),
    first: u8,
    shape: &'static [u8],
    strides: &'static [u8],
) -> Saved {
    Saved { name, storage, first, shape, strides }
}

/// All of storage "0", and parts of it; then what lies in storage "1" of as many values.
const TENSORS: [Saved; 6] = [
    saved(("all", "0"), 0, &[4, 3], &[3, 1]),
    saved(("end", "0"), 6, &[2, 3], &[3, 1]),
    saved(("one", "0"), 5, &[], &[]),
    saved(("turned", "0"), 0, &[3, 4], &[1, 3]),
    saved(("other", "1"), 0, &[12], &[1]),
    saved(("start", "1"), 0, &[5], &[1]),
];

/// As `torch.save` writes them.
fn pickle(tensors: &[Saved]) -> Vec<u8> {
    let text = |text: &str| [b"X".as_slice(), &[text.len() as u8, 0, 0, 0], text.as_bytes()].concat();
    let numbers = |numbers: &[u8]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| [b'K', *number]).collect();
        [b"(".as_slice(), &numbers, b"t"].concat()
    };
    let mut pickle = b"\x80\x02}(".to_vec();
    for tensor in tensors {
        pickle.extend(text(tensor.name));
        pickle.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend_from_slice(b"ctorch\nFloatStorage\n");
        pickle.extend([text(tensor.storage), text("cpu")].concat());
        pickle.extend_from_slice(&[b'K', 12, b't', b'Q', b'K', tensor.first]);
        pickle.extend([numbers(tensor.shape), numbers(tensor.strides)].concat());
        pickle.extend_from_slice(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend_from_slice(b"u.");
    pickle
}

fn storage(from: u8) -> Vec<u8> {
    (0..12).flat_map(|number| f32::from(from + number).to_le_bytes()).collect()
}

/// A file of the tensors, whose second storage is written with `options`.
fn archive(options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let plain = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let entries = [
        ("net/data.pkl", pickle(&TENSORS), plain),
        ("net/data/0", storage(0), plain),
        ("net/data/1", storage(100), options),
        ("net/version", b"3\n".to_vec(), plain),
    ];
    for (name, bytes, options) in entries {
        zip.start_file(name, options).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

/// Where a field of an entry of the directory lies: so many bytes behind its beginning, so long.
fn field(archive: &[u8], name: &str, behind: usize, length: usize) -> Range<usize> {
    let is_it =
        |at: &usize| archive[*at..].starts_with(b"PK\x01\x02") && archive[at + 46..].starts_with(name.as_bytes());
    let at = (0..archive.len() - 46).find(is_it).unwrap();
    at + behind..at + behind + length
}

const CHECKSUM: (usize, usize) = (16, 4);
const SIZES: (usize, usize) = (20, 8);
const HEADER: (usize, usize) = (42, 4);

fn written(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("net.pt");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Holds every tensor against what the reader of PyTorch's files reads or says, and returns those that were read without it.
fn read_directly(path: &Path) -> Vec<String> {
    let (checkpoint, reader) = (Checkpoint::open(path).unwrap(), PytorchReader::new(path).unwrap());
    let direct = Direct::of(File::open(path).unwrap()).unwrap();
    let mut names = Vec::new();
    for (name, info) in checkpoint.stored() {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let wanted = reader.get(name).unwrap().read().map(|bytes| bits(Element::F32.to_f32(&bytes).unwrap()));
        let found = direct.read(name, &info.shape).map(bits);
        match (checkpoint.read_stored(name).map(bits), &wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(&found, wanted, "{name}"),
            (Err(CheckpointError::Damaged { source, .. }), Err(wanted)) => {
                assert_eq!(source.to_string(), wanted.to_string(), "{name}");
            }
            (found, wanted) => panic!("{name}: {found:?} instead of {wanted:?}"),
        }
        if let Some(found) = found {
            assert_eq!(found, wanted.unwrap(), "{name}");
            names.push(name.clone());
        }
    }
    names
}

#[test]
fn files_of_torch_are_read_without_the_reader_and_give_the_same_bits() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/consistency_models");
    for file in ["imagenet64_shape_tiny.pt", "lsun_shape_tiny.pt"] {
        let path = golden.join(file);
        let all: Vec<String> = Checkpoint::open(&path).unwrap().stored().keys().cloned().collect();
        assert_eq!(read_directly(&path), all, "{file}");
        let names = Direct::of(File::open(&path).unwrap()).unwrap().names();
        assert!(names.is_some_and(|names| names.len() == all.len()), "{file}: its storages need not be searched");
    }
}

#[test]
fn parts_of_a_storage_are_read_and_a_turned_view_is_left_to_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    for options in [stored(), stored().large_file(true)] {
        let path = written(&folder, &archive(options));
        assert_eq!(read_directly(&path), ["all", "end", "one", "other", "start"]);
        let read = |name| Checkpoint::open(&path).unwrap().read_stored(name).unwrap();
        assert_eq!(read("end"), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(read("start"), [100.0, 101.0, 102.0, 103.0, 104.0]);
        assert_eq!(read("turned")[..5], [0.0, 3.0, 6.0, 9.0, 1.0]);
    }
}

#[test]
fn a_packed_storage_and_a_tensor_of_another_shape_are_left_to_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let packed = stored().compression_method(CompressionMethod::Deflated);
    let path = written(&folder, &archive(packed));
    assert_eq!(read_directly(&path), ["all", "end", "one"]);
    let direct = Direct::of(File::open(&path).unwrap()).unwrap();
    assert!(direct.read("all", &[4, 3]).is_some());
    assert!(direct.read("all", &[3, 4]).is_none() && direct.read("none", &[1]).is_none());
}

#[test]
fn a_flipped_bit_is_found_where_a_tensor_is_all_of_its_storage() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = archive(stored());
    let values = storage(0);
    let at = bytes.windows(values.len()).position(|window| window == values).unwrap();
    bytes[at + 47] ^= 1;
    // As it always was, nobody knows of a part whether it is what was written.
    assert_eq!(read_directly(&written(&folder, &bytes)), ["end", "one", "other", "start"]);
    let error = Checkpoint::open(&written(&folder, &bytes)).unwrap().read_stored("all").unwrap_err();
    assert!(chain(&error).contains("Invalid checksum"), "{error:?}");
    // `torch.save` without checksums writes zeros.
    let (behind, length) = CHECKSUM;
    let checksum = field(&bytes, "net/data/0", behind, length);
    bytes[checksum].fill(0);
    assert_eq!(read_directly(&written(&folder, &bytes)), ["all", "end", "one", "other", "start"]);
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map_or_else(String::new, chain);
    format!("{error}: {source}")
}

#[test]
fn an_entry_that_lies_outside_the_file_is_told_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let whole = archive(stored());
    // One at the very end of the file, in the comment of the archive, with nothing behind its header.
    let mut far = whole.clone();
    far[field(&whole, "net/data/1", HEADER.0, HEADER.1)].copy_from_slice(&(whole.len() as u32).to_le_bytes());
    let end = far.len();
    far[end - 2] = 30;
    far.extend([b"PK\x03\x04".as_slice(), &[0; 26]].concat());
    assert_eq!(read_directly(&written(&folder, &far)), ["all", "end", "one"]);
    let mut nowhere = whole.clone();
    nowhere[field(&whole, "net/data/1", HEADER.0, HEADER.1)].copy_from_slice(&[0, 0, 0, 0x70]);
    let error = Checkpoint::open(&written(&folder, &nowhere)).unwrap_err();
    assert!(matches!(error, CheckpointError::Archive { .. }), "{error:?}");
    // Longer than all that follows.
    let mut long = whole.clone();
    long[field(&whole, "net/data/1", SIZES.0, SIZES.1)].copy_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0]);
    let found = read_directly(&written(&folder, &long));
    assert_eq!(found, ["all", "end", "one", "other", "start"], "what a tensor needs of it is there");
    // Shorter than its tensors, and of two lengths.
    let mut short = whole.clone();
    short[field(&whole, "net/data/1", SIZES.0, SIZES.1)].copy_from_slice(&[40, 0, 0, 0, 40, 0, 0, 0]);
    assert_eq!(read_directly(&written(&folder, &short)), ["all", "end", "one", "start"]);
    short[field(&whole, "net/data/1", SIZES.0, SIZES.1)].copy_from_slice(&[48, 0, 0, 0, 40, 0, 0, 0]);
    assert_eq!(read_directly(&written(&folder, &short)), ["all", "end", "one"]);
}

#[test]
fn entries_that_lie_over_each_other_give_what_the_reader_gives() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = archive(stored());
    let place = bytes[field(&bytes, "net/data/0", HEADER.0, HEADER.1)].to_vec();
    let second = field(&bytes, "net/data/1", HEADER.0, HEADER.1);
    bytes[second].copy_from_slice(&place);
    // All of the second is not what its checksum was taken of, and a part has none.
    assert_eq!(read_directly(&written(&folder, &bytes)), ["all", "end", "one", "start"]);
}
