//! Formats of pictures that are known and not read.

use std::path::Path;

/// Formats of pictures that are not read, by what stands at a place of the file.
const UNREAD: [(&str, usize, &[u8]); 10] = [
    // Pictures of phones in the container of AVIF.
    ("HEIC", 4, b"ftypheic"),
    ("HEIC", 4, b"ftypheix"),
    ("HEIC", 4, b"ftypmif1"),
    ("HEIC", 4, b"ftypmsf1"),
    ("JPEG 2000", 4, b"jP  \r\n\x87\n"),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XL", 0, b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("Photoshop", 0, b"8BPS"),
    ("ICNS", 0, b"icns"),
    ("XCF", 0, b"gimp xcf"),
];
/// Likewise by the endings of their names, where the content says too little.
const UNREAD_ENDINGS: [(&str, &[&str]); 5] = [
    ("JPEG XL", &["jxl"]),
    ("PCX", &["pcx"]),
    ("SGI", &["sgi", "rgb", "rgba", "bw"]),
    ("SVG", &["svg", "svgz"]),
    ("camera raw", &["arw", "cr3", "nef", "orf", "raf", "rw2"]),
];

/// By what stands in it.
pub(super) fn unread_by_content(head: &[u8]) -> Option<&'static str> {
    let is = |(_, place, mark): &&(&str, usize, &[u8])| head.get(*place..).is_some_and(|rest| rest.starts_with(mark));
    UNREAD.iter().find(is).map(|(format, ..)| *format)
}

/// The name of a picture's format that is not read, of a file whose format is not one of those that are.
pub(super) fn unread(path: &Path, head: &[u8]) -> Option<&'static str> {
    let ending = || path.extension()?.to_str().map(str::to_ascii_lowercase);
    let has = |endings: &[&str]| ending().is_some_and(|ending| endings.contains(&ending.as_str()));
    let by_name = || UNREAD_ENDINGS.iter().find(|(_, endings)| has(endings)).map(|(format, _)| *format);
    unread_by_content(head).or_else(by_name)
}
