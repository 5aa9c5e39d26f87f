//! Paths as people type and paste them: `~`, quotes, addresses of a file manager, several with `;` between them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Paths as a field shows them.
#[must_use]
pub fn listed(paths: &[PathBuf]) -> String {
    let list: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    list.join("; ")
}

/// What a field means: the picked paths while it lists them, for a path may hold what a text cannot; else what was typed, which
/// names one file before it names several.
#[must_use]
pub fn chosen(text: &str, picked: &[PathBuf], several: bool) -> Vec<PathBuf> {
    if !picked.is_empty() && text == listed(picked) {
        return picked.to_owned();
    }
    let one = path_of(text);
    if !several || one.exists() {
        return vec![one];
    }
    parts(text).map(path_of).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// Files that a text from the clipboard names, a line each, as file managers copy them; none unless all of them are there.
#[must_use]
pub fn copied(text: &str) -> Vec<PathBuf> {
    // GNOME's file manager says on the first line what is to be done with them; a list of addresses may hold comments.
    let is_name = |line: &&str| !line.is_empty() && !line.starts_with('#') && !matches!(*line, "copy" | "cut");
    let paths: Vec<PathBuf> = text.lines().map(str::trim).filter(is_name).map(path_of).collect();
    if paths.iter().all(|path| path.is_absolute() && path.exists()) { paths } else { Vec::new() }
}

/// The same with `.ending` behind it, unless it has that: a dot in a name, as in `radius0.5`, begins no ending.
#[must_use]
pub fn with_ending(path: PathBuf, ending: &str) -> PathBuf {
    if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending)) {
        return path;
    }
    let mut name = path.into_os_string();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Text between semicolons that do not stand in quotes.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut quote = None;
    text.split(move |letter| {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
        quote.is_none() && letter == ';'
    })
}

/// One path: without blanks and quotes around it, with the user's folder for `~`, and as a path where it is an address.
fn path_of(text: &str) -> PathBuf {
    let text = text.trim();
    // What is there under just this name is meant, whatever the name looks like.
    if Path::new(text).exists() {
        return PathBuf::from(text);
    }
    let unquoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let text = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(text);
    if let Some(address) = text.strip_prefix("file://") {
        return PathBuf::from(decoded(address));
    }
    let below_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with(['/', '\\']));
    match (below_home, directories::UserDirs::new()) {
        (Some(rest), Some(user)) => user.home_dir().join(rest.trim_start_matches(['/', '\\'])),
        _ => PathBuf::from(text),
    }
}

/// An address with its `%20` and the like decoded; what is no code stays.
fn decoded(address: &str) -> OsString {
    let bytes = address.as_bytes();
    let mut found = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%').then(|| address.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                found.push(code);
                at += 3;
            }
            None => {
                found.push(*byte);
                at += 1;
            }
        }
    }
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(found);
    #[cfg(not(unix))]
    return String::from_utf8_lossy(&found).trim_start_matches('/').into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths<const N: usize>(names: [&str; N]) -> Vec<PathBuf> {
        names.map(PathBuf::from).to_vec()
    }

    #[test]
    fn what_was_picked_is_opened_whatever_its_name_holds() {
        let odd = paths(["one; two.png", "three.png"]);
        assert_eq!(chosen(&listed(&odd), &odd, true), odd, "no name is cut at its semicolon");
        assert_eq!(chosen("four.png", &odd, true), paths(["four.png"]), "typed over");
    }

    #[cfg(unix)]
    #[test]
    fn a_picked_name_that_is_no_text_is_opened() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = vec![PathBuf::from(OsString::from_vec(b"pict\xff.png".to_vec()))];
        assert_eq!(chosen(&listed(&odd), &odd, true), odd);
    }

    #[test]
    fn files_that_were_copied_are_named_and_other_texts_name_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a b.png", "c.png"].map(|name| folder.path().join(name));
        for file in &files {
            std::fs::write(file, "").unwrap();
        }
        let [one, other] = files.each_ref().map(|file| file.display().to_string());
        let address = format!("file://{}", one.replace(' ', "%20"));
        assert_eq!(copied(&format!("copy\n{address}\nfile://{other}\n")), files);
        assert_eq!(copied(&format!("# a comment\r\n{one}\r\n")), [files[0].clone()]);
        for text in ["", "0.5", "c.png", &format!("{one}\n{other}.not")] {
            assert!(copied(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_typed_names_one_file_before_it_names_several() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one; two.png", "'quoted'.png"] {
            let odd = folder.path().join(name);
            std::fs::write(&odd, "").unwrap();
            assert_eq!(chosen(&format!(" {} ", odd.display()), &[], true), [odd]);
        }
        assert_eq!(chosen("a.png;b.png ; ", &[], true), paths(["a.png", "b.png"]));
        assert_eq!(chosen("a;b.lapidary", &[], false), paths(["a;b.lapidary"]));
    }

    #[test]
    fn pasted_paths_are_understood() {
        let home = directories::UserDirs::new().unwrap().home_dir().to_owned();
        assert_eq!(chosen("~/x y.pt", &[], false), [home.join("x y.pt")]);
        assert_eq!(chosen("~", &[], true), [home]);
        assert_eq!(chosen("~other/x.pt", &[], false), paths(["~other/x.pt"]));
        assert_eq!(chosen("'/no/a b.pt'", &[], false), paths(["/no/a b.pt"]));
        assert_eq!(chosen("\"/no/a;b.png\"; '/no/c.png'", &[], true), paths(["/no/a;b.png", "/no/c.png"]));
        assert_eq!(chosen("file:///no/a%20b%C3%BC.png", &[], true), paths(["/no/a bü.png"]));
        assert_eq!(chosen("file:///no/100%", &[], false), paths(["/no/100%"]));
    }

    #[test]
    fn a_number_in_a_name_is_no_ending() {
        let named = |name: &str| with_ending(PathBuf::from(name), "lapidary");
        assert_eq!(named("/no/radius0.5"), Path::new("/no/radius0.5.lapidary"));
        assert_eq!(named("plain"), Path::new("plain.lapidary"));
        assert_eq!(named("A.LAPIDARY"), Path::new("A.LAPIDARY"));
    }
}
