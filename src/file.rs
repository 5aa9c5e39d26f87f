//! What lies at a path that was given: a file that can be read, or something that would be waited for for ever; and what a file
//! holds, as one number.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::Digest as _;

/// Something at a path that is no file.
#[derive(Debug, thiserror::Error)]
#[error("this is {found}, not a file: {advice}\n{}", path.display())]
pub struct NotAFile {
    /// Where.
    pub path: PathBuf,
    /// What is there.
    pub found: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// Makes sure that a file is at `path`. What is not there at all is refused by whoever opens it.
///
/// # Errors
/// [`NotAFile`] for folders, named pipes, sockets and devices.
pub fn check(path: &Path) -> Result<(), NotAFile> {
    let Ok(meta) = path.metadata() else { return Ok(()) };
    let refuse = |(found, advice)| Err(NotAFile { path: path.to_owned(), found, advice });
    if meta.is_dir() {
        return refuse(("a folder", "give a file in it"));
    }
    special(meta.file_type()).map_or(Ok(()), refuse)
}

/// What is neither a file nor a folder, and what to do instead.
#[cfg(unix)]
fn special(kind: std::fs::FileType) -> Option<(&'static str, &'static str)> {
    use std::os::unix::fs::FileTypeExt as _;
    const SAVE: &str = "write what comes out of it into a file first, and give that";
    [
        (kind.is_fifo(), ("a pipe", SAVE)),
        (kind.is_socket(), ("a socket", "give the path of a file")),
        (kind.is_char_device(), ("a device", SAVE)),
        (kind.is_block_device(), ("a device", "give the path of a file on it")),
    ]
    .into_iter()
    .find_map(|(is, what)| is.then_some(what))
}

/// What is neither a file nor a folder, and what to do instead.
#[cfg(not(unix))]
fn special(kind: std::fs::FileType) -> Option<(&'static str, &'static str)> {
    (!kind.is_file()).then_some(("a device", "give the path of a file"))
}

/// What tells cheaply whether a file is still the one that it was: its length, and when it was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64, std::time::SystemTime);

impl Stamp {
    /// Of what lies at a path; `None` when nothing does, or where a file system does not say.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = path.metadata().ok()?;
        Some(Self(meta.len(), meta.modified().ok()?))
    }

    /// Of several files that belong together; `None` when one is missing.
    pub(crate) fn of_all(paths: &[PathBuf]) -> Option<Vec<Self>> {
        paths.iter().map(|path| Self::of(path)).collect()
    }

    /// Its length, in bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.0
    }
}

/// Entries of a folder that [`Contents`] knows, at most: a folder of more is not walked to its end again and again.
const ENTRIES: usize = 100_000;

/// What tells cheaply whether a file is still the one that it was, or a folder holds what it held: the SHA-256 of all names, lengths and
/// times below it, hidden ones left aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents(String);

impl Contents {
    /// Of what lies at a path; `None` when nothing does.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let (mut walk, mut folders) = (Vec::new(), BTreeSet::new());
        note(path, &path.metadata().ok()?, &mut walk);
        let mut waiting = vec![path.to_owned()];
        while let Some(folder) = waiting.pop().filter(|_| walk.len() < ENTRIES) {
            // A link may lead back to where it was met.
            let is_new = folder.canonicalize().is_ok_and(|real| folders.insert(real));
            let Some(entries) = std::fs::read_dir(&folder).ok().filter(|_| is_new) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                let Some(meta) = path.metadata().ok().filter(|_| !is_hidden) else { continue };
                note(&path, &meta, &mut walk);
                if meta.is_dir() {
                    waiting.push(path);
                }
            }
        }
        walk.sort_unstable();
        let parts: Vec<&[u8]> = walk.iter().map(Vec::as_slice).collect();
        Some(Self(sha256(&parts)))
    }
}

/// One entry: its path behind the length of that, its length and its time. A folder's own differ from system to system.
fn note(path: &Path, meta: &std::fs::Metadata, walk: &mut Vec<Vec<u8>>) {
    let name = path.as_os_str().as_encoded_bytes();
    let mut entry = [&name.len().to_le_bytes()[..], name].concat();
    if !meta.is_dir() {
        let since = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        entry.extend(meta.len().to_le_bytes());
        entry.extend(since.map_or(0, |since| since.as_nanos()).to_le_bytes());
    }
    walk.push(entry);
}

/// A path where nothing lies: `path` itself, or with a number behind its name.
#[must_use]
pub fn free_path(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let numbered = (2..).map(|number: u32| path.with_file_name(format!("{stem} ({number}).{ending}")));
    let mut paths = std::iter::once(path.to_owned()).chain(numbered);
    paths.find(|path| !path.exists()).unwrap_or_else(|| path.to_owned())
}

/// Bytes that are free where a folder is, or will be; `None` where the system does not say.
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    fs4::available_space(place_of(folder)?).ok()
}

/// The folder that is there and holds another one, or will.
pub(crate) fn place_of(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).map(Path::to_owned)
}

/// SHA-256 of a file, in lower-case hexadecimal digits.
///
/// # Errors
/// Whatever keeps it from being read.
pub(crate) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::default();
    hash.take(std::fs::File::open(path)?, &mut |_| true)?;
    Ok(hash.digits())
}

/// SHA-256 of what lies in memory, one part behind the other, in lower-case hexadecimal digits.
pub(crate) fn sha256(parts: &[&[u8]]) -> String {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

/// The SHA-256 of what is read, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Sha256 {
    hasher: sha2::Sha256,
    /// Bytes so far.
    done: u64,
}

impl Sha256 {
    /// Reads to the end, or until `watch`, which hears of the bytes so far, says no; whether it came to the end.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub(crate) fn take(&mut self, mut input: impl Read, watch: &mut dyn FnMut(u64) -> bool) -> std::io::Result<bool> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = input.read(&mut buffer)?;
            if read == 0 {
                return Ok(true);
            }
            self.hasher.update(&buffer[..read]);
            self.done += read as u64;
            if !watch(self.done) {
                return Ok(false);
            }
        }
    }

    /// In lower-case hexadecimal digits.
    pub(crate) fn digits(self) -> String {
        hex(&self.hasher.finalize())
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// A place in a text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    line: usize,
    column: usize,
}

impl Place {
    /// Where a parser gave up.
    pub(crate) const fn new(line: usize, column: usize) -> Self {
        Self { line, column }
    }

    /// Behind so many bytes of a text.
    pub(crate) fn behind(bytes: &[u8]) -> Self {
        let is_end = |byte: &u8| *byte == b'\n';
        let last = bytes.rsplit(is_end).next().unwrap_or_default();
        Self { line: bytes.split(is_end).count(), column: 1 + String::from_utf8_lossy(last).chars().count() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What an editor saved as a text: UTF-8, perhaps behind a byte order mark, which Windows' editors write and parsers do not take.
///
/// # Errors
/// Where it is no UTF-8.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Place> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| Place::behind(&bytes[..error.valid_up_to()]))
}

/// A word or a number that is not allowed where it stands, and what is; from what the reader of JSON says of it.
#[must_use]
pub fn expected_instead(text: &str) -> Option<(String, String)> {
    let (found, expected) = text.split_once(", expected ")?;
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let word = quoted(found).into_iter().next()?;
    if found.starts_with("unknown variant ") {
        return Some((format!("{word:?}"), format!("one of {}", quoted(expected).join(", "))));
    }
    let lowest = u32::from(expected.starts_with("a nonzero"));
    let kind = expected.trim_start_matches("a nonzero ").split(' ').next();
    let largest = [("u32", u64::from(u32::MAX)), ("u64", u64::MAX)].into_iter().find(|(name, _)| kind == Some(name))?.1;
    found.starts_with("invalid value").then(|| (word, format!("a whole number from {lowest} to {largest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_what_is_not_there_pass_and_a_folder_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pt");
        assert!(check(&file).is_ok(), "whoever opens it says that it is not there");
        std::fs::write(&file, "").unwrap();
        assert!(check(&file).is_ok());
        assert!(check(folder.path()).unwrap_err().to_string().starts_with("this is a folder"));
    }

    #[test]
    fn a_text_is_utf8_behind_any_mark_or_is_wrong_somewhere() {
        assert_eq!(text_of(b"\xef\xbb\xbf{}"), Ok("{}"));
        assert_eq!(text_of("a\ncafé = \"".as_bytes()).unwrap(), "a\ncafé = \"");
        let place = text_of(b"a\n\xc3\xa9 caf\xe9\n").unwrap_err();
        assert_eq!(place.to_string(), "line 2, column 6");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_and_devices_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe.pt"), folder.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, found) in [(pipe.as_path(), "a pipe"), (&socket, "a socket"), (Path::new("/dev/zero"), "a device")] {
            let text = check(path).unwrap_err().to_string();
            assert!(text.starts_with(&format!("this is {found}, not a file: ")), "{text}");
        }
    }

    #[test]
    fn a_file_is_another_when_its_length_or_its_time_differs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one").unwrap();
        let first = Stamp::of(file.path()).unwrap();
        assert_eq!(Stamp::of(file.path()), Some(first));
        file.as_file().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(Stamp::of(file.path()), Some(first), "another time");
        std::fs::write(file.path(), "three").unwrap();
        file.as_file().set_modified(first.1).unwrap();
        assert_ne!(Stamp::of(file.path()), Some(first), "another length");
        assert_eq!(Stamp::of_all(&[file.path().to_owned(), "not there".into()]), None);
    }

    #[test]
    fn a_folder_is_another_when_a_file_below_it_came_went_or_was_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (deep, file) = (folder.path().join("deep"), folder.path().join("deep/a.png"));
        assert_eq!(Contents::of(&file), None, "nothing is there");
        std::fs::create_dir(&deep).unwrap();
        let mut seen = vec![Contents::of(folder.path())];
        let mut differs = || {
            let now = Contents::of(folder.path());
            assert_eq!(now, Contents::of(folder.path()), "nothing happened between the two");
            let is_new = now.is_some() && !seen.contains(&now);
            seen.push(now);
            is_new
        };
        std::fs::write(&file, "one").unwrap();
        assert!(differs(), "it came");
        std::fs::write(&file, "three").unwrap();
        assert!(differs(), "another length");
        let times = std::fs::File::options().write(true).open(&file).unwrap();
        times.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert!(differs(), "another time");
        std::fs::rename(&file, deep.join("b.png")).unwrap();
        assert!(differs(), "another name");
        std::fs::remove_file(deep.join("b.png")).unwrap();
        assert_eq!(Contents::of(folder.path()), seen[0], "it went, and all is as before");
        assert_ne!(Contents::of(&deep), Contents::of(folder.path()));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_holds_a_way_back_to_itself_is_walked_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "a").unwrap();
        let alone = Contents::of(folder.path());
        std::os::unix::fs::symlink(folder.path(), folder.path().join("back")).unwrap();
        let both = Contents::of(folder.path());
        assert!(both.is_some() && both != alone);
    }
}
