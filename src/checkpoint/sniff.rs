//! What a file is, from its first bytes; and whether a word is anywhere in it.

use std::fs::File;
use std::io::Read as _;

/// Largest safetensors header, as in the reference implementation.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;
/// How much of a file is searched at a time.
const BLOCK: usize = 1 << 20;

/// Kind of content that the first bytes of a file announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Content {
    Safetensors,
    Zip,
    Pickle,
    Tar,
    Empty,
    Html,
    GitLfsPointer,
    Gzip,
    Picture,
    Numpy,
    Hdf5,
    Text,
    Unknown,
}

impl Content {
    /// What the user should do with a file of this kind that is no checkpoint.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Html => "open the address in a browser and download the file itself",
            Self::GitLfsPointer => "run `git lfs pull`, or download the file itself",
            Self::Gzip => "unpack it first",
            Self::Picture => "open it with \"Open images\", or give it to --input",
            Self::Empty => "the download failed, fetch it again",
            Self::Numpy => "save the weights as .safetensors",
            Self::Hdf5 => "convert the Keras/HDF5 weights to .safetensors",
            _ => "check that this is the file you meant",
        }
    }
}

impl std::fmt::Display for Content {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Safetensors => "a safetensors file",
            Self::Zip => "a zip archive",
            Self::Pickle => "a pickle",
            Self::Tar => "a tar archive",
            Self::Empty => "an empty file",
            Self::Html => "a web page (HTML)",
            Self::GitLfsPointer => "a Git LFS pointer, not the file it points to",
            Self::Gzip => "a gzip archive",
            Self::Picture => "a picture",
            Self::Numpy => "a NumPy array",
            Self::Hdf5 => "an HDF5 file",
            Self::Text => "a text file",
            Self::Unknown => "a file of unknown kind",
        })
    }
}

/// Decides by the first bytes (512 are enough) and the length of the file.
#[must_use]
pub fn sniff(head: &[u8], bytes: u64) -> Content {
    if bytes == 0 {
        return Content::Empty;
    }
    // First of all: the low bytes of the length may be those that a picture or an archive begins with.
    let brace = head.get(8) == Some(&b'{');
    if brace && head.first_chunk().is_some_and(|length| u64::from_le_bytes(*length) <= MAX_HEADER_BYTES) {
        return Content::Safetensors;
    }
    let starts = |prefix: &[u8]| head.starts_with(prefix);
    if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        return Content::Zip;
    }
    if starts(b"version https://git-lfs") {
        return Content::GitLfsPointer;
    }
    if starts(b"\x1f\x8b") {
        return Content::Gzip;
    }
    if starts(b"\x93NUMPY") {
        return Content::Numpy;
    }
    if starts(b"\x89HDF") {
        return Content::Hdf5;
    }
    if ::image::guess_format(head).is_ok_and(|format| format != ::image::ImageFormat::Tga) {
        return Content::Picture;
    }
    if head.len() > 262 && &head[257..262] == b"ustar" {
        return Content::Tar;
    }
    let text = String::from_utf8_lossy(&head[..head.len().min(256)]).to_lowercase();
    let trimmed = text.trim_start_matches('\u{feff}').trim_start();
    if trimmed.starts_with("<!doctype") || trimmed.starts_with("<html") || trimmed.starts_with("<head") {
        return Content::Html;
    }
    // A length that is too large, then JSON: damaged, but still that.
    if brace {
        return Content::Safetensors;
    }
    // Protocol 2 and later begin so; torch's legacy container is a sequence of such pickles.
    if head[0] == 0x80 && head.get(1).is_some_and(|protocol| (2..=5).contains(protocol)) {
        return Content::Pickle;
    }
    if std::str::from_utf8(head).is_ok_and(|text| !text.contains('\0')) {
        return Content::Text;
    }
    Content::Unknown
}

/// Whether a text has a word anywhere.
pub(super) fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Whether what is left of a file has one of the words anywhere.
pub(super) fn mentions(file: &mut File, words: &[&str]) -> std::io::Result<bool> {
    let overlap = words.iter().map(|word| word.len() - 1).max().unwrap_or(0);
    let mut text = Vec::new();
    loop {
        // A word may begin in one block and end in the next.
        text.drain(..text.len().saturating_sub(overlap));
        if file.by_ref().take(BLOCK as u64).read_to_end(&mut text)? == 0 {
            return Ok(false);
        }
        if words.iter().any(|word| contains(&text, word.as_bytes())) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_not_the_name() {
        let cases: [(&[u8], Content); 9] = [
            (b"", Content::Empty),
            (b"\n <!DOCTYPE html><html>", Content::Html),
            (b"PK\x03\x04rest", Content::Zip),
            (b"\x80\x02\x8a\x0alegacy", Content::Pickle),
            (b"version https://git-lfs.github.com/spec/v1", Content::GitLfsPointer),
            (b"\x10\0\0\0\0\0\0\0{\"a\":1}", Content::Safetensors),
            (b"\x89PNG\r\n\x1a\n", Content::Picture),
            (b"hello", Content::Text),
            (b"\0\x01\x02\xff\xfe", Content::Unknown),
        ];
        for (head, expected) in cases {
            assert_eq!(sniff(head, head.len() as u64), expected, "{head:?}");
        }
    }

    #[test]
    fn a_header_length_that_spells_another_format_is_still_a_length() {
        let magic: [&[u8]; 11] =
            [b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"BM", b"\x1f\x8b", b"\0\0\x01\0", b"\x80\x02"];
        for start in magic {
            let mut head = start.to_vec();
            head.resize(8, 0);
            head.extend_from_slice(b"{\"a\":1}");
            assert_eq!(sniff(&head, 1 << 20), Content::Safetensors, "{start:?}");
        }
        assert_eq!(sniff(b"P6\n2 2\n2{ picture", 19), Content::Picture);
    }
}
